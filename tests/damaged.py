"""Damaged and hostile files: {kind of file: its good bytes} x {kind of change}, and how each meets its loader.

The files are a model, a data file, and the four small ones that a run leaves: replay.npz, unfinished.npz, metrics.json
and the journal. hypothesis makes each mutant from a good file, by one change or several: of bytes, of an archive's
members, of the headers of arrays, of values in JSON, of weights. A loader must then either give back something that
works, or refuse it, with a UserError of one line where a user asked for the file; nothing may be executed, and the
memory stays bounded. Anything else fails at once. test_mutants.py tries some, benchmarks/mutants.py thousands.
"""

import copy
import functools
import io
import json
import os
import shutil
import sys
import types
import warnings
import zipfile
from collections import Counter

import h5py
import keras
import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import vae_mnist
from seevae.basics import UserError
from seevae.images import data
from seevae.results.replay import Replay, load_replay
from seevae.run import folder, resume
from seevae.run.files import JOURNAL
from seevae.training import recipes

MEMORY_LIMIT = 1024  # MiB that the process may grow by, over all mutants
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect")
FORBIDDEN += ("pickle.find_class",)
EVIL = (
    {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"},
    {"module": "subprocess", "class_name": "Popen", "config": {"args": ["true"]}, "registered_name": None},
    {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "function"},
    {"module": "keras.layers", "class_name": "TFSMLayer", "config": {"filepath": "evil"}, "registered_name": None},
    {"module": "keras.utils", "class_name": "function", "config": "get_file", "registered_name": "function"},
    {"class_name": "__lambda__", "config": {"value": "4wAAAAA=", "defaults": None, "closure": None}},
)
VALUES = (None, True, False, -1, 0, 1, 3, 8, 10**9, 2**70, 1e308, float("nan"), "", "relu", "tanh", "os.system")
VALUES += ("float16", [], {}, [[]])
NUMBERS = (0.0, -1.0, 99.0, 1e4, -1e5, 1e38, float("inf"), float("-inf"), float("nan"))
HEADERS = ("(20, 28, 28)", "(20, 28, 29)", "(-1, 28, 28)", "()", "(15680,)")
HEADERS += ("(10**9, 28, 28)", "(1000000000000, 28, 28)")
TYPES = "|u1 <u2 >i8 <f8 <f2 |b1 |O <M8[s] <m8[D] <c8 <U5 |V3 |x9".split()  # noqa: SIM905
TYPES += ["[('a', '|u1')]"]


def good_files(path):
    """A good file of each kind, written into the folder `path`, read and removed: {file name: content}."""
    recipe = recipes.RECIPES["default"]
    keras.utils.set_random_seed(0)
    vae = vae_mnist.build_vae(recipe, hidden_dim=8)
    vae_mnist.compile_vae(vae, recipe, 100)
    vae.optimizer.build(vae.trainable_variables)
    vae.save(path / "vae.keras")
    images = np.random.default_rng(0).integers(0, 256, (30, 28, 28)).astype("uint8")
    labels = (np.arange(30) % 10).astype("uint8")
    np.savez(path / "data.npz", x_train=images[:20], y_train=labels[:20], x_test=images[20:], y_test=labels[20:])
    progress = training(path)
    progress.set_model(vae)
    progress.history = {name: [150.0, 149.0] for name in resume.LOSSES}
    progress.save()
    progress.replay.save(path / "replay.npz")
    record = {"model": None, "full_mnist": False, "stopped": None, "epochs": 2, "held_out": {"elbo": -150.0}}
    (path / "metrics.json").write_text(json.dumps(record))
    (path / "journal.json").write_text(json.dumps({"files": ["manifold.png"], "gone": ["prior_samples.png"]}))
    contents = {name: (path / name).read_bytes() for name in CHANGES}
    for name in CHANGES:
        (path / name).unlink()
    return contents


def training(path):
    """The Progress of a training whose state is in a folder, and whose replay has three moments of ten images."""
    replay = Replay(np.zeros((10, 784)), np.arange(10), None)
    replay.moments, replay.loss = [0.0, 1.0, 2.0], [200.0, 150.0, 149.0]
    replay.z = list(np.zeros((3, 10, 2), "float32"))
    return resume.Progress(folder.Place(path, None), {"epochs": 2, "seed": 0, "latent dim": 2}, replay)


def bytes_changed(draw, content):
    """The content with some bytes replaced, put in or cut out; often near the end, where a zip keeps its directory."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, max(0, len(changed) - 1)) | st.integers(max(0, len(changed) - 600), len(changed)))
        end = start + draw(st.sampled_from((0, 1, 1, 1, 4, 100, len(content))))
        changed[start:end] = draw(st.binary(max_size=8))
    return bytes(changed)


def members_changed(draw, content):
    """The archive with a member dropped, renamed, doubled, emptied, packed, or one more that lies outside."""
    members = [[name, body] for name, body in unzipped(content).items()]
    place = draw(st.integers(0, len(members) - 1))
    packing = zipfile.ZIP_STORED
    match draw(st.sampled_from(("drop", "rename", "double", "empty", "pack", "outside", "swap", "bomb"))):
        case "drop":
            del members[place]
        case "rename":
            members[place][0] = draw(st.sampled_from(("x", "config.json", "x_train", "y_test.npy", "a\nb", "/etc/x")))
        case "double":
            members.append(list(members[place]))
        case "empty":
            members[place][1] = b""
        case "pack":
            packing = draw(st.sampled_from((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
        case "outside":
            members.append([draw(st.sampled_from(("../evil", "/evil", "assets/../../evil"))), b"evil"])
        case "swap":
            members[place][1] = draw(st.sampled_from(members))[1]
        case "bomb":
            members[place][1], packing = bytes(30_000_000), zipfile.ZIP_DEFLATED
    return zipped(members, packing)


def headers_changed(draw, content):
    """The .npz with the shape, type or order in the header of one of its arrays replaced."""
    members = unzipped(content)
    name = draw(st.sampled_from(sorted(members)))
    array = np.load(io.BytesIO(members[name]))
    shape = draw(st.sampled_from((*HEADERS, str(array.shape))))
    kind = draw(st.sampled_from((*TYPES, array.dtype.str)))
    kind = kind if kind.startswith("[") else repr(kind)
    header = f"{{'descr': {kind}, 'fortran_order': {draw(st.booleans())}, 'shape': {shape}, }}"
    header = header.ljust(draw(st.sampled_from((117, 117, 20_000)))).encode() + b"\n"
    version = draw(st.sampled_from((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x09\x00")))
    members[name] = b"\x93NUMPY" + version + len(header).to_bytes(2, "little") + header + array.tobytes()
    return zipped(members.items())


def config_changed(draw, content):
    """The .keras with its config.json changed, some of its values into code."""
    members = unzipped(content)
    return zipped((members | {"config.json": json_changed(draw, members["config.json"], EVIL)}).items())


def json_changed(draw, content, others=(["../up"], ["manifold.png", 3], ["vae.keras"])):
    """The JSON with some values replaced or left out, or within brackets."""
    tree = [json.loads(content)]
    for _ in range(draw(st.integers(1, 2))):
        parent, key = draw(st.sampled_from(list(places(tree))))
        value = draw(st.sampled_from((*VALUES, *others, ...)))
        if value is not ...:
            parent[key] = copy.deepcopy(value)  # a list may be changed, too
        elif isinstance(parent, dict):
            parent.pop(key, None)
    brackets = draw(st.sampled_from((0, 0, 0, 1, 100_000)))
    return ("[" * brackets + json.dumps(tree[0]) + "]" * brackets).encode()


def weights_changed(draw, content):
    """The .keras with one of its arrays replaced: a value, its shape, its type, or where it lies."""
    members = unzipped(content)
    file = io.BytesIO(members["model.weights.h5"])
    with h5py.File(file, "r+") as weights:
        names = []
        weights.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = draw(st.sampled_from(names))
        array = weights[name][()]
        kind = draw(st.sampled_from(("value", "value", "shape", "type", "external", "link", "virtual", "bomb", "gone")))
        if kind == "value":
            values = st.sampled_from(NUMBERS) if array.dtype.kind == "f" else st.integers(-5, 5)
            array = np.array(array, copy=True)
            array.flat[draw(st.integers(0, array.size - 1))] = draw(values)
            weights[name][...] = array
        else:
            del weights[name]
        match kind:
            case "shape":
                weights[name] = np.zeros(draw(st.sampled_from(((), (1,), (8, 8), (784, 9)))), "float32")
            case "type":
                weights[name] = array.astype(draw(st.sampled_from(("float16", "float64", "int32", "complex64", "S4"))))
            case "external":
                weights.create_dataset(name, array.shape, "float32", external=[("/etc/hostname", 0, array.nbytes)])
            case "link":
                links = (h5py.ExternalLink("/etc/hostname", "/"), h5py.SoftLink("/layers"), h5py.SoftLink("/nowhere"))
                weights[name] = draw(st.sampled_from(links))
            case "virtual":
                layout = h5py.VirtualLayout(array.shape, "float32")
                weights.create_virtual_dataset(name, layout)
            case "bomb":
                weights.create_dataset(name, (10**6, 10**6), "float32", chunks=(1000, 1000), compression="gzip")
    return zipped((members | {"model.weights.h5": file.getvalue()}).items())


def places(tree):
    """Each (container, key) in a tree of lists and dicts."""
    for key, value in list(enumerate(tree) if isinstance(tree, list) else tree.items()):
        yield tree, key
        if isinstance(value, (list, dict)):
            yield from places(value)


def unzipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(members, packing=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(file, "w", packing) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return file.getvalue()


CHANGES = {
    "data.npz": (bytes_changed, members_changed, headers_changed),
    "vae.keras": (bytes_changed, members_changed, config_changed, weights_changed),
    "replay.npz": (bytes_changed, members_changed, headers_changed),
    "unfinished.npz": (bytes_changed, members_changed, headers_changed),
    "metrics.json": (bytes_changed, json_changed),
    "journal.json": (bytes_changed, json_changed),
}


class Watch:
    """Notes each event of Python's that would show that something in a file was executed."""

    def __init__(self):
        self.on, self.seen = False, []
        sys.addaudithook(self)  # for the rest of the process: hence `on`

    def __call__(self, event, arguments):
        written = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        written = written and not str(arguments[0]).endswith("/model.weights.h5")  # Keras asks for it
        if self.on and (event.startswith(FORBIDDEN) or written):
            self.seen.append((event, arguments))


def meet(path, watch):
    """Load a mutant and use what it holds, as a run does; returns "loaded" or "refused". Any other end raises."""
    watch.on = True
    try:
        return "loaded" if MEET[path.name](path) else "refused"
    except UserError as error:
        return "refused" if len(str(error).splitlines()) == 1 else f"refused in many lines: {error}"
    finally:
        watch.on = False
        assert not watch.seen, watch.seen


def meet_data(path):
    dataset = data.load_data(path)
    assert dataset.x_train.dtype == np.float32
    assert 0 <= dataset.x_train[:].min() <= dataset.x_train[:].max() <= 1
    return True


def meet_model(path):
    vae = vae_mnist.load_vae(path)
    assert tuple(vae(np.full((2, 784), 0.5, "float32")).shape) == (2, 784)
    keras.backend.clear_session()
    return True


def meet_replay(path):
    """As the page shows it: codes that fit together, numbers that JSON can hold, labels that have a colour."""
    replay = load_replay(path.with_name("vae.keras"))
    if replay is not None:
        contents = replay.contents()
        json.dumps(contents, allow_nan=False)
        assert len(contents["moments"]) == len(contents["losses"]) == len(replay.z) > 0
        assert {*replay.labels.tolist()} <= {*range(10)}
        assert all(z.shape == (len(replay.labels), 2) for z in replay.z)
    return replay is not None


@functools.cache
def model_to_resume():
    vae = vae_mnist.build_vae(recipes.RECIPES["default"], hidden_dim=8)
    vae_mnist.compile_vae(vae, recipes.RECIPES["default"], 100)
    return vae


def meet_unfinished(path):
    progress, vae = training(path.parent), model_to_resume()
    done = progress.restore(vae)
    assert 0 < done == len(progress.history["loss"]) <= 2
    assert all(np.isfinite(weight).all() for weight in vae.get_weights())
    return True


def meet_record(path):
    """As the choice of a folder asks it, and --resume where there is no training."""
    dataset = types.SimpleNamespace(name="MNIST", full=True)
    assert folder.choose(str(path.parent), dataset) == path.parent
    said = training(path.parent).nothing_there()
    assert said.endswith("leave --resume out.")
    return said.startswith("The run")


def meet_journal(path):
    """As the next start finds it, in a folder with a run; what it did is undone for the next mutant."""
    place = path.parent / "run"
    (place / folder.ASIDE).mkdir(parents=True)
    files = {"manifold.png": "old", "prior_samples.png": "old", "own.txt": "own", ".vae_mnist/manifold.png": "new"}
    for name, text in files.items():
        descriptor = os.open(place / name, os.O_WRONLY | os.O_CREAT)  # the watch looks for what a mutant opens
        os.write(descriptor, text.encode())
        os.close(descriptor)
    path.replace(place / folder.ASIDE / JOURNAL)
    folder.settle(place)
    found = {file.name: file.read_text() for file in place.iterdir()}
    shutil.rmtree(place)
    assert found.pop("own.txt") == "own"
    assert {*found} <= {"manifold.png", "prior_samples.png"}
    return found != {"manifold.png": "old", "prior_samples.png": "old"}


MEET = {
    "data.npz": meet_data,
    "vae.keras": meet_model,
    "replay.npz": meet_replay,
    "unfinished.npz": meet_unfinished,
    "metrics.json": meet_record,
    "journal.json": meet_journal,
}


def try_mutants(path, count, watch, change, content, **options):
    """Let `count` mutants of a good file's content meet the loader of `path`; returns a Counter of the outcomes."""
    outcomes = Counter()

    @seed(0)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck), **options)
    @given(st.composite(change)(content))
    def each(mutant):
        path.write_bytes(mutant)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # they would come before the sentence
            warnings.filterwarnings("ignore", "__array__ implementation")
            outcome = meet(path, watch)
        assert outcome in ("loaded", "refused")
        outcomes[outcome] += 1

    each()
    return outcomes
