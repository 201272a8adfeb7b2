"""How many kills at random moments leave a folder whole and a training that resumes bit for bit: writes kills.json.

    python benchmarks/kills.py                          100 kills on TensorFlow, and 100 on JAX
    python benchmarks/kills.py "keeping the state"      only what keeping the state of a training costs

Each kill (SIGKILL) meets the real command, over the files of an earlier complete run, at a random moment of one of its
phases. Then: what the next start makes of the folder is of one run, the earlier or the new one, with nothing left over;
and where an epoch had finished, it is not lost: --resume ends with the very bytes of a run that was not killed. Some
are killed a second time while they resume. Anything else fails at once. Needs two cores for 40 minutes.
"""

import concurrent.futures
import hashlib
import io
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

import h5py
from record import ROOT, main, write_images

KILLS = 100  # on each backend
EPOCHS = 12
OPTIONS = f"--data images.npz --epochs {EPOCHS} --hidden-dim 32 --evidence-images 0 --output run"
PHASES = ("starting", "opening", "compiling", "training", "evaluating", "saving", "moving", "ended")
SHARES = {"starting": 3, "opening": 10, "compiling": 7, "training": 25, "evaluating": 12, "saving": 13, "moving": 18}
SHARES["resuming"] = 12
BACKENDS = ("tensorflow", "jax")
CHANGING = ("metadata.json", "config.json", "seconds.npy")  # a date, the ids of objects, a time


def start(backend, place, *options):
    """The command in a process of its own, in the folder `place`; its output goes to a file there."""
    command = [sys.executable, "-u", str(ROOT / "vae_mnist.py"), *OPTIONS.split(), *options]
    with open(place / "out.txt", "w") as out:
        return subprocess.Popen(
            command, cwd=place, stdout=out, stderr=subprocess.STDOUT, env=os.environ | {"KERAS_BACKEND": backend}
        )


def phase(place):
    """Which phase a run is in, from what can be seen of it.

    In two of them, of some milliseconds each, the earlier run's files are out of their places: while it is opening the
    folder, where it tries whether they can be moved, and while it is moving them at the end.
    """
    said, aside = (place / "out.txt").read_text(), place / "run" / ".vae_mnist"
    if "Held-out ELBO" in said:
        return "ended"
    if "loss:" in said.partition(f"Epoch {EPOCHS}/{EPOCHS}")[2]:
        if (aside / "journal.json").exists():
            return "moving"
        return "saving" if aside.exists() else "evaluating"
    if "loss:" in said:
        return "training"
    if "held-out images" in said:
        return "compiling"
    return "opening" if aside.exists() else "starting"


def digest(run):
    """What a folder holds of a run, without times: {file: a digest of its content}, hidden files included."""
    found = {}
    for path in sorted(run.iterdir()):
        content = path.read_bytes() if path.is_file() else b"folder"
        if path.name == "metrics.json":
            record = json.loads(content)
            content = json.dumps({**record, "seconds": 0}).encode()
        if path.suffix in (".keras", ".npz") and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                members = [name for name in archive.namelist() if name not in CHANGING]
                content = b"".join(plain(name, archive.read(name)) for name in members)
        found[path.name] = hashlib.sha256(content).hexdigest()
    return found


def plain(name, content):
    """The content of a member of an archive, without the times that HDF5 keeps in it."""
    if not name.endswith(".h5"):
        return content
    arrays = []
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(
            lambda path, item: arrays.append((path, item[()].tobytes())) if hasattr(item, "shape") else None
        )
    return repr(sorted(arrays)).encode()


def settled(place):
    """What the next start makes of the folder `run` in `place`, looked at in a copy; and whether epochs are kept."""
    from seevae.run import folder

    copy = place / "copy"
    shutil.copytree(place / "run", copy)
    folder.settle(copy)
    found = digest(copy)
    shutil.rmtree(copy)
    kept = found.pop(folder.UNFINISHED, None)
    return found, kept is not None


def kill_one(number, backend, place, moments, old, new):
    """One kill, the next start, and the end of the run; returns (the phase it was in, what came of it)."""
    rng = random.Random(number)
    wanted = rng.choices(list(SHARES), SHARES.values())[0]
    where = place / f"kill{number}"
    shutil.copytree(place / "earlier", where)
    again, hits = [], []
    if wanted == "resuming":  # a run that is killed once in its training, and then again
        hits.append(kill_in(start(backend, where), where, "training", rng.random() * moments["training"]))
        again, wanted = ["--resume"], rng.choice(PHASES[:-1])
    hits.append(kill_in(start(backend, where, *again), where, wanted, rng.random() * moments[wanted]))
    found, kept = settled(where)
    assert found in (old, new), (number, hits, found)
    finished = any(PHASES.index(hit) >= PHASES.index("training") for hit in hits)  # an epoch
    assert kept or found == new or not finished, (number, hits, "lost")
    assert not (kept and found == new), (number, hits, "the state of a training that has ended")
    aside = where / "run" / ".vae_mnist"
    if found == new:  # it may have come further after the last look at it
        hits[-1] = "moving" if aside.exists() else "ended"
    if kept:
        outcome = resumed(backend, where, new)
    elif hits[-1] == "moving":
        outcome = moved(backend, where, new)
    elif any(aside.glob("old/*")):
        outcome = "the earlier run's files were out of their places, and the next start put them back"
    else:
        outcome = "the new run was there" if found == new else "the earlier run was there, no epoch was finished"
    shutil.rmtree(where)
    return f"{hits[-1]}, in a resumed run" if again else hits[-1], outcome


def resumed(backend, where, new):
    """Let --resume end what a kill cut off, and compare all bytes; returns what came of it."""
    status, said = start(backend, where, "--resume").wait(timeout=600), (where / "out.txt").read_text()
    assert (status, digest(where / "run")) == (0, new), (where, status, said)
    cut = "within the training" if "Epoch " in said else "after the training"
    return f"the earlier run was there, and --resume, cut off {cut}, ended with the new run's bytes"


def moved(backend, where, new):
    """Let a start find what a kill between the moves left: there is nothing to resume; returns what came of it."""
    status, said = start(backend, where, "--resume").wait(timeout=600), (where / "out.txt").read_text()
    assert (status, digest(where / "run")) == (2, new), (where, status, said)
    assert "is finished, there is nothing to resume" in said, (where, said)
    return "the next start finished the moves, and the new run was there"


def kill_in(process, place, wanted, seconds):
    """Kill a run so many seconds after it came into a phase; returns the phase that it was in."""
    while process.poll() is None and PHASES.index(phase(place)) < PHASES.index(wanted):
        time.sleep(0.0005)
    time.sleep(seconds)
    hit = phase(place)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return hit


def measure(backend, place):
    """The earlier run's folder and the new run's files: how long each phase takes, and both digests.

    A phase is as long as in the fastest of three runs: a kill at a moment within that meets it, also in a slower run.
    """
    assert start(backend, place / "earlier", "--seed", "1").wait() == 0
    old = digest(place / "earlier" / "run")
    runs = []
    for number in range(3):
        new = place / f"new{number}"
        shutil.copytree(place / "earlier", new)
        process, entered = start(backend, new), {}
        while process.poll() is None:
            entered.setdefault(phase(new), time.perf_counter())
            time.sleep(0.0002)
        entered.setdefault("ended", time.perf_counter())
        assert process.returncode == 0
        for name, after in reversed([*itertools.pairwise(PHASES)]):
            entered.setdefault(name, entered[after])  # it was too short to be seen
        runs.append({name: entered[after] - entered[name] for name, after in itertools.pairwise(PHASES)})
    return {name: min(run[name] for run in runs) for name in PHASES[:-1]}, old, digest(new / "run")


def cost_of_keeping(data_file, epochs=10):
    """What keeping the state takes of the time of the default training: {"epochs", "seconds", "share"}."""
    import vae_mnist
    from seevae.run import options, resume

    spent = []

    def timed(function):
        def call(*arguments):
            start = time.perf_counter()
            result = function(*arguments)
            spent.append(time.perf_counter() - start)
            return result

        return call

    resume.Progress.save, resume.plan_of = timed(resume.Progress.save), timed(resume.plan_of)
    with tempfile.TemporaryDirectory(dir=ROOT) as place:  # on a disk, not in memory
        line = f"--data {data_file} --epochs {epochs} --output {place} --evidence-images 0"
        record = vae_mnist.run(options.parse_args(line.split()))
    seconds = record["seconds"]
    return {
        "dataset": record["dataset"],
        "epochs": epochs,
        "seconds": seconds,
        "share": sum(spent) / (seconds - sum(spent)),
    }


def kill(record, name, data):
    """Kill, look, resume, on one of the BACKENDS, and keep the counts; or what keeping the state costs."""
    if name not in BACKENDS:
        record[name] = cost_of_keeping(data)
        return
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        place = Path(folder)
        (place / "earlier").mkdir()
        write_images(place / "earlier" / "images.npz", 1000, 200)
        moments, old, new = measure(name, place)
        print(name, {phase: round(seconds, 2) for phase, seconds in moments.items()}, flush=True)
        jobs = [pool.submit(kill_one, number, name, place, moments, old, new) for number in range(KILLS)]
        try:
            ends = [job.result() for job in jobs]
        finally:
            pool.shutdown(cancel_futures=True)
    counts = [dict(Counter(end).most_common()) for end in zip(*ends, strict=True)]
    record[name] = {"kills": KILLS, "killed while": counts[0], "then": counts[1]}


if __name__ == "__main__":
    main(__file__, __doc__, (*BACKENDS, "keeping the state"), kill)
