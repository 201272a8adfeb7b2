"""How the program meets careless users and hostile files: one run for each case, and how many of them held.

    python benchmarks/unfriendly.py [--only WORD ...]

A case starts the real command on 200 digits, in a process and a folder of its own, with something wrong around it: in
the folder, in a file that it reads, in the model, in the environment. It holds when the command ends in time, with
status 0 and all files of this one run; or with status 2, one sentence, no traceback, and the earlier files as they
were. Writes benchmarks/unfriendly.json. Linux; about 8 minutes on two cores.
"""

import argparse
import concurrent.futures
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import record

RECORD = Path(__file__).with_suffix(".json")
import processes

import vae_mnist
from seevae.run import folder

TRAIN = "--data ../small.npz --epochs 2 --hidden-dim 8 --evidence-images 5 --output out"
LOAD = "--data ../small.npz --load out/vae.keras --evidence-images 5 --output loaded"
RESUME = f"{TRAIN} --epochs 3 --resume"
FILES = sorted(folder.FILES)


# -- What is wrong: each function does it in the folder of a case -----------------------------------------------------


def content(name, what):
    """A file holds these bytes."""

    def act(place):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).unlink(missing_ok=True)
        (place / name).write_bytes(what)

    return act


def arrays(name, **changes):
    """Some arrays in an .npz file are others; None takes one away."""

    def act(place):
        with np.load(place / name) as file:
            found = {key: file[key] for key in file.files} | changes
        np.savez(place / name, **{key: array for key, array in found.items() if array is not None})

    return act


def odd(name, kind):
    """No ordinary file stands in the place of a file."""

    def act(place):
        path = place / name
        path.unlink(missing_ok=True)
        match kind:
            case "a folder":
                (path / "own").mkdir(parents=True)
            case "a pipe":
                os.mkfifo(path)
            case "a link to nothing":
                path.symlink_to("nowhere")
            case "a link to itself":
                path.symlink_to(path.name)
            case "a link to a device":
                path.symlink_to("/dev/zero")
            case "a link to a file":
                (place / "elsewhere").write_text("the user's own")
                path.symlink_to(place / "elsewhere")

    return act


def model(change):
    """The model is another, which this program saved."""

    def act(place):
        vae = vae_mnist.load_vae(place / "out" / "vae.keras")
        change(vae)
        vae.save(place / "out" / "vae.keras")

    return act


def bias(layer, value):
    return model(lambda vae: vae.get_layer("encoder").get_layer(layer).bias.assign([value, value]))


def claim(shape):
    """A .npz file of a few bytes that says to hold an array of this shape, under each name that is asked for."""
    np.lib.format.write_array_header_1_0(head := io.BytesIO(), {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(whole := io.BytesIO(), "w") as archive:
        for name in ("x_train", "moments", "z", "loss", "labels", "plan", "variable 0"):
            archive.writestr(f"{name}.npy", head.getvalue())
    return whole.getvalue()


SPOILT = {
    "nothing": b"",
    "one byte": b"x",
    "half an archive": b"PK\3\4 damaged",
    "a pickle": b"\x80\x04\x95\x0e\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94.",
    "brackets": b"[" * 100_000,
    "a list": b"[]",
    "null": b"null",
    "a number": b"1e999",
    "no UTF-8": b"\xff\xfe{",
    "a giant": claim((2**40, 2)),
    "a large one": claim((2**33,)),
    "zero times a giant": claim((2**40, 0, 28)),
}
# Variables that only a new process obeys.
OWN = {"HOME", "LC_ALL", "XLA_FLAGS", "TF_XLA_FLAGS", "KERAS_TORCH_DEVICE"}
KINDS = ("a folder", "a pipe", "a link to nothing", "a link to itself", "a link to a device", "a link to a file")


def limit(number, value):
    return (
        f"import resource; resource.setrlimit(resource.{number}, ({value}, resource.getrlimit(resource.{number})[1]))"
    )


def cases():
    """All cases: (name, options, what is done in the folder or None, a program that comes first, environment)."""
    for name in FILES:
        for kind in ("a folder", "a pipe", "a link to nothing", "a link to a file"):
            yield f"folder: {kind} for {name}", TRAIN, odd(f"out/{name}", kind), "", {}
    for name, what in SPOILT.items():
        yield f"folder: {name} as journal", TRAIN, content("out/.vae_mnist/journal.json", what), "", {}
        yield f"trust: {name} as metrics.json", TRAIN, content("out/metrics.json", what), "", {}
        yield f"trust: {name} as replay.npz", LOAD, content("out/replay.npz", what), "", {}
        yield f"trust: {name} as vae.keras", LOAD, content("out/vae.keras", what), "", {}
        yield f"trust: {name} as unfinished.npz", RESUME, content("out/unfinished.npz", what), "", {}
        yield f"trust: {name} as data", TRAIN.replace("../small", "small"), content("small.npz", what), "", {}
    for kind in KINDS:
        yield f"folder: {kind} for our own folder", TRAIN, odd("out/.vae_mnist", kind), "", {}
        yield f"trust: {kind} as replay.npz", LOAD, odd("out/replay.npz", kind), "", {}
        yield f"trust: {kind} as vae.keras", LOAD, odd("out/vae.keras", kind), "", {}
        yield f"trust: {kind} as unfinished.npz", RESUME, odd("out/unfinished.npz", kind), "", {}
    labels = {"labels of 200": np.full(60, 200), "labels below 0": np.full(60, -1), "no labels": None}
    shapes = {"text": np.array(["a"] * 60), "a dimension less": np.array(3), "NaN": np.full(60, np.nan)}
    for name, what in (labels | shapes).items():
        yield f"trust: {name} in replay.npz", LOAD, arrays("out/replay.npz", labels=what), "", {}
    for name in ("moments", "loss", "z"):
        yield f"trust: NaN as {name} in replay.npz", LOAD, arrays("out/replay.npz", **{name: np.array(np.nan)}), "", {}
    for output in ("x" * 256, "x" * 300, "a\0b", "/dev/null", "/proc/x", "a\nb", "'$HOME'", "ü中", "d/" * 2040, "."):
        options = [*TRAIN.split()[:-1], output]
        yield f"line: --output {output[:20]!r}", options, None, "", {}
    yield "folder: another user's files", TRAIN, sticky, "import os; os.setuid(65534)", {}
    yield "folder: nothing may be written", TRAIN, sticky, "import os; os.setuid(65534); os.umask(0o777)", {}
    for number, values in {"RLIMIT_FSIZE": (0, 1000, 50_000, 100_000, 200_000), "RLIMIT_NOFILE": (12, 20)}.items():
        for value in values:
            yield f"folder: {number} of {value}", TRAIN, None, limit(number, value), {}
    for layer in ("z_mean", "z_log_var"):
        for value in (100, 9_000, -5_000, 80):
            yield f"broken: {layer} at {value}", LOAD, bias(layer, value), "", {}
    for backend in ("tensorflow", "jax", "torch"):
        for rate in (0.5, 3, 30, 1000, 1e30):
            yield (
                f"broken: a rate of {rate} on {backend}",
                f"{TRAIN} --learning-rate {rate}",
                None,
                "",
                {"KERAS_BACKEND": backend},
            )
    for setting in ("floatx('float64')", "floatx('float16')", "epsilon(1e-3)", "dtype_policy('mixed_bfloat16')"):
        yield f"broken: {setting}", TRAIN, None, f"import keras; keras.config.set_{setting}", {}
    for setting in ("max_epochs(1)", "max_steps_per_epoch(1)"):
        yield f"broken: {setting}", TRAIN, None, f"import keras; keras.config.set_{setting}", {}
    for name, value in {
        "JAX_PLATFORMS": "cuda",
        "KERAS_TORCH_DEVICE": "cuda",
        "KERAS_MAX_EPOCHS": "x",
        "KERAS_BACKEND": "nonsense",
        "KERAS_HOME": "/dev/null/x",
        "HOME": "/nowhere",
        "MPLBACKEND": "nonsense",
        "MPLCONFIGDIR": "/dev/null",
        "LC_ALL": "C",
        "PYTHONIOENCODING": "ascii",
        "COLUMNS": "0",
        "TMPDIR": "/nowhere",
        "TZ": "Nowhere/Nowhere",
        "XLA_FLAGS": "--no_such_flag=1",
        "TF_XLA_FLAGS": "--no_such_flag=1",
        "TF_DETERMINISTIC_OPS": "1",
    }.items():
        backend = {"JAX_PLATFORMS": "jax", "KERAS_TORCH_DEVICE": "torch"}.get(name, "tensorflow")
        yield f"line: {name}={value}", TRAIN, None, "", {"KERAS_BACKEND": backend} | {name: value}
    for backend in ("tensorflow", "jax", "torch"):
        environment = {"KERAS_BACKEND": backend, "PYTHONWARNINGS": "error"}
        yield f"line: warnings are errors on {backend}", TRAIN, None, "", environment
        yield f"line: warnings are errors on {backend}, for a model", LOAD, None, "", environment
    for number in (1, 2):
        full = f"import os; os.dup2(os.open('/dev/full', os.O_WRONLY), {number})"
        yield f"line: descriptor {number} is full", TRAIN, None, full, {}
        yield f"line: descriptor {number} is closed", TRAIN, None, f"import os; os.close({number})", {}
    past = "import time; real = time.localtime; time.localtime = lambda *seconds: real(0)"
    yield "line: a clock of 1970", TRAIN, None, past, {}


def sticky(place):
    """Everybody may write into the folder, but take away only what is their own."""
    for path in (place, *place.parents[:1]):
        path.chmod(0o755)
    (place / "out").chmod(0o1777)
    for path in (place / "out").iterdir():
        path.chmod(0o644)


# -- Whether it held --------------------------------------------------------------------------------------------------


def seen(place):
    """What is in the folder of a case: {path: its content's digest, or what else it is}."""
    found = {}
    for path in place.rglob("*"):
        kind = "link" if path.is_symlink() else "file" if path.is_file() else "folder"
        found[str(path.relative_to(place))] = hashlib.md5(path.read_bytes()).hexdigest() if kind == "file" else kind
    return found


def judge(status, out, err, before, after, place):
    """What is not as it should be, or None."""
    if "Traceback" in err or "Traceback" in out:
        return "a traceback"
    if re.search(r"\w+Warning: ", err):
        return "a warning of a library"
    unknown_flag = "Unknown flag" in err and "FLAGS" in place.name
    if unknown_flag or "its files are not affected" in err:
        return None
    if status == 0:
        new = [name for name in after if name.endswith(folder.RECORD) and before.get(name) != after[name]]
        if len(new) != 1:
            return f"status 0, and new records {new}"
        where = (place / new[0]).parent
        left = [path.name for path in where.iterdir() if path.name in (folder.ASIDE, folder.UNFINISHED)]
        written = json.loads((where / folder.RECORD).read_text())
        if left or not np.isfinite(written["held_out"]["elbo"]):
            return f"status 0, and {left or 'no number'}"
        vae_mnist.load_vae(where / folder.MODEL if written["model"] is None else place / "out" / folder.MODEL)
        return None
    if status != 2:
        return f"status {status}: {err[-200:]}"
    sentences = [line for line in err.splitlines() if line.startswith("vae_mnist: ")]
    if not sentences:
        return f"status 2 without a sentence: {err[-200:]}"
    lost = {
        name
        for name, was in before.items()
        if after.get(name) != was and not re.search(r"vae_mnist$|unfini|journal", name)
    }
    return f"changed or lost: {sorted(lost)[:3]}" if lost else None


def run(case, source, base):
    """Run one case: (its name, what is wrong, its status and last words)."""
    name, options, act, first, environment = case
    place = Path(tempfile.mkdtemp(prefix=re.sub(r"\W", "_", name)[:60], dir=base))
    shutil.copytree(source, place, dirs_exist_ok=True)
    if act:
        act(place)
    before = seen(place)
    own = bool(OWN & environment.keys()) or environment.get("KERAS_BACKEND") == "nonsense"
    try:
        status, out, err = processes.Command(options, place, first, own_process=own, **environment).finish(100)
        wrong = judge(status, out, err, before, seen(place), place)
    except AssertionError as error:
        status, err, wrong = None, str(error), "it did not end"
    shutil.rmtree(place, ignore_errors=True)
    return name, wrong, f"{status}: {err.strip()[-300:]}"


def main():
    """Run all cases, two at a time, and count those that held."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[""], help="words of which a case's name has one")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="unfriendly") as base:
        Path(base).chmod(0o755)
        record.write_images(Path(base) / "small.npz", 200, 60)
        source = Path(base) / "source"
        source.mkdir()
        vae_mnist.main([*TRAIN.replace("../small", f"{base}/small").split()[:-1], str(source / "out")])
        chosen = [case for case in cases() if any(word in case[0] for word in args.only)]
        results = {}
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for name, wrong, words in pool.map(lambda case: run(case, source, base), chosen):
                results[name] = wrong
                print(f"{'FELL' if wrong else 'held'}  {name}  [{wrong or ''}]  {words}", flush=True)
    held = sum(wrong is None for wrong in results.values())
    print(f"{held} of {len(results)} cases held.")
    if args.only == [""]:
        fell = {name: wrong for name, wrong in results.items() if wrong}
        record.save(RECORD, {"cases": len(results), "held": held, "fell": fell})


if __name__ == "__main__":
    main()
