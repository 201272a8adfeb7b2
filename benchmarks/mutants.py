"""How many damaged or hostile files the loaders meet with success or with one sentence: writes mutants.json.

    python benchmarks/mutants.py [FILE ...]     1,600 of each file: some minutes

The files, the changes and the loaders are those of tests/damaged.py.
"""

import functools
import resource
import tempfile
from pathlib import Path

import record  # first: it makes the tests importable

# isort: split
import damaged
from hypothesis import Phase

from seevae.machine import devices

COUNT = 1600  # of each file
WATCH = damaged.Watch()


@functools.cache
def good_files():
    with tempfile.TemporaryDirectory() as folder:
        return damaged.good_files(Path(folder))


def measure(found, name, data):
    """Let a file's mutants meet its loader."""
    content, changes = good_files()[name], damaged.CHANGES[name]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        for change in changes:
            path, each = Path(folder) / name, COUNT // len(changes)
            outcomes = damaged.try_mutants(path, each, WATCH, change, content, phases=[Phase.generate])
            found.setdefault("mutants", {})[f"{name} {change.__name__}"] = dict(sorted(outcomes.items()))
            assert {*Path(folder).iterdir()} <= {path}, "nothing else was written"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < damaged.MEMORY_LIMIT, f"{grown} MiB"
    found |= {"versions": devices.describe()["versions"], "grown_mib": max(found.get("grown_mib", 0), round(grown))}


if __name__ == "__main__":
    record.main(__file__, __doc__, damaged.CHANGES, measure)
