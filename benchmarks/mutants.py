"""How many damaged or hostile files the loaders meet with success or with one sentence: writes mutants.json.

    python benchmarks/mutants.py [how many]     1,600 of each file if not told otherwise: some minutes

The files, the changes and the loaders are those of tests/damaged.py.
"""

import resource
import sys
import tempfile
from pathlib import Path

import record

RECORD = Path(__file__).with_suffix(".json")
import damaged
from hypothesis import Phase

from seevae.machine import devices


def main(count):
    watch = damaged.Watch()
    found = {"versions": devices.describe()["versions"], "mutants": {}}
    with tempfile.TemporaryDirectory() as temporary:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for name, content in damaged.good_files(Path(temporary)).items():
            path = Path(temporary) / name
            for change in damaged.CHANGES[name]:
                each = count // len(damaged.CHANGES[name])
                outcomes = damaged.try_mutants(path, each, watch, change, content, phases=[Phase.generate])
                found["mutants"][f"{name} {change.__name__}"] = dict(sorted(outcomes.items()))
                assert {*Path(temporary).iterdir()} <= {path}, "nothing else was written"
            path.unlink(missing_ok=True)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert grown < damaged.MEMORY_LIMIT, f"{grown} MiB"
    found["grown_mib"] = round(grown)
    record.save(RECORD, found)
    print(found)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1600)
