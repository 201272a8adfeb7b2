"""Model files: one of ours comes back bit for bit; of any other, nothing is built and nothing is executed."""

import importlib.metadata
import io
import json
import re
import sys
import zipfile

import damaged
import h5py
import keras
import numpy as np
import pytest
from conftest import ROOT, build

import vae_mnist
from seevae.basics import UserError
from seevae.run import saved
from seevae.training.optimizers import compile_options
from seevae.training.recipes import RECIPES


@pytest.fixture(scope="module")
def small():
    """A small VAE of the default recipe; who changes its numbers has them put back."""
    return build(RECIPES["default"], 100, hidden_dim=8)


@pytest.fixture(scope="module")
def good(small, tmp_path_factory):
    """The members of its model file, {name: bytes}."""
    path = tmp_path_factory.mktemp("good") / "vae.keras"
    small.save(path)
    return damaged.unzipped(path.read_bytes())


def write(path, members, packing=zipfile.ZIP_STORED):
    path.write_bytes(damaged.zipped(members.items(), packing))
    return path


def changed(good, change):
    """The members with a changed config.json."""
    config = json.loads(good["config.json"])
    change(config)
    return good | {"config.json": json.dumps(config)}


def refused(path, reason=""):
    with pytest.raises(UserError, match=f"no VAE that this script saved .*{reason}"):
        vae_mnist.load_vae(path)


@pytest.mark.parametrize(("recipe", "latent_dim"), [("default", 1), ("author", 3)])
def test_a_vae_of_any_recipe_and_size_comes_back_with_all_its_numbers(recipe, latent_dim, tmp_path):
    recipe = RECIPES[recipe]._replace(learning_rate=0.003)
    vae = build(recipe, 5000, latent_dim=latent_dim, hidden_dim=5)
    draws = np.random.default_rng(0)
    for variable in [*vae.trainable_variables, *vae.optimizer.variables]:
        variable.assign(7 if variable.dtype.startswith("int") else draws.random(variable.shape, "float32"))
    vae.save(tmp_path / "vae.keras")
    loaded = vae_mnist.load_vae(tmp_path / "vae.keras")
    name = {"name": loaded.optimizer.name}
    assert loaded.optimizer.get_config() == vae.optimizer.get_config() | name
    assert type(loaded.optimizer) is type(vae.optimizer)
    assert loaded.get_config()["layers"][1] == vae.get_config()["layers"][1], "noise on the input, or none"
    for part, other in ((loaded, vae), (loaded.optimizer, vae.optimizer)):
        for ours, theirs in zip(part.variables, other.variables, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)


def test_a_model_that_was_never_compiled_is_taken(tmp_path):
    """As its own code may save it: without an optimizer, which begins anew."""
    vae = vae_mnist.build_vae(RECIPES["author"], hidden_dim=8)
    vae.save(tmp_path / "vae.keras")
    loaded = vae_mnist.load_vae(tmp_path / "vae.keras")
    for ours, theirs in zip(loaded.variables, vae.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (int(loaded.optimizer.iterations), len(loaded.layers)) == (0, len(vae.layers))


def test_the_authors_recipe_saved_on_pytorch_loads_where_there_is_none(tmp_path, monkeypatch):
    """Keras writes the name of its optimizer for PyTorch into the file, in a module that imports PyTorch."""
    build(RECIPES["author"], 100, hidden_dim=5).save(tmp_path / "vae.keras")
    on_pytorch = put("keras.src.backend.torch.optimizers.torch_adam", "compile_config", "optimizer", "module")
    write(tmp_path / "vae.keras", changed(damaged.unzipped((tmp_path / "vae.keras").read_bytes()), on_pytorch))
    monkeypatch.setitem(sys.modules, "torch", None)
    assert vae_mnist.load_vae(tmp_path / "vae.keras").optimizer.__module__ == "keras.src.optimizers.adam"


# -- config.json -----------------------------------------------------------------------------------------------------


def put(value, *path):
    """A change of a config.json: put a value at the end of a path of layers and keys."""

    def change(config):
        for name in path[:-1]:
            layers = {layer["name"]: layer for layer in config.get("config", {}).get("layers", ())}
            config = layers[name] if name in layers else config[name]
        config[path[-1]] = value

    return change


def without_kl_loss(config):
    config["config"]["layers"] = [layer for layer in config["config"]["layers"] if layer["name"] != "kl_loss"]


OPTIMIZER = ("compile_config", "optimizer", "config")
OTHERS = {
    "network is another": [
        without_kl_loss,
        put("linear", "decoder", "decoder_output", "config", "activation"),
        put("tanh", "encoder", "encoder_h", "config", "activation"),
        put({}, "encoder", "encoder_h", "config", "activation"),
        put("Lambda", "kl_loss", "class_name"),
        put("noise", "noisy_x", "config", "name"),
        put([], "config", "layers"),
    ],
    "no number within": [
        *(put(rate, *OPTIMIZER, "learning_rate") for rate in (-1e-3, float("nan"), 1e99, 10**400, True, None, "1")),
        put([1], *OPTIMIZER, "learning_rate", "config", "decay_steps"),
        put(float("inf"), *OPTIMIZER, "head_step"),
    ],
    "sizes are beyond": [put(10**6, "encoder", "encoder_h", "config", "units")],
    "of another format": [
        put("SGD", "compile_config", "optimizer", "class_name"),
        put([], "compile_config", "optimizer", "class_name"),
        put(0, *OPTIMIZER, "learning_rate", "config", "decay_steps"),
        put({}, "config"),
    ],
}
CHANGES = [(reason, change) for reason, changes in OTHERS.items() for change in changes]


@pytest.mark.parametrize(("reason", "change"), CHANGES)
def test_a_config_of_another_network_or_optimizer_is_refused(reason, change, good, tmp_path):
    refused(write(tmp_path / "other.keras", changed(good, change)), reason)


def test_a_network_that_a_reader_has_changed_loads_where_it_is_the_same(good, tmp_path, monkeypatch):
    relu = write(tmp_path / "relu.keras", good)
    dense = keras.layers.Dense
    monkeypatch.setattr(vae_mnist.layers, "Dense", lambda *sizes, **kw: dense(*sizes, **kw | {"activation": "tanh"}))
    build(RECIPES["author"], 100, hidden_dim=8).save(tmp_path / "tanh.keras")
    vae_mnist.load_vae(tmp_path / "tanh.keras")
    refused(relu, "network is another")


def test_code_that_a_config_names_is_not_executed(good, tmp_path):
    """The first two changes are the model that ran os.system with Keras 3.8."""
    system, popen, *_, code = damaged.EVIL
    changes = [
        put(system, "z_sample", "config", "function"),
        put({"command": f"touch {tmp_path / 'executed'}"}, "z_sample", "config", "arguments"),
        put(system, "compile_config", "loss"),
        put(code, "encoder", "encoder_h", "config", "kernel_initializer"),
        put(popen, "noisy_x", "config", "seed"),
    ]
    path = write(tmp_path / "vae.keras", changed(good, lambda config: [change(config) for change in changes]))
    assert damaged.meet(path, damaged.Watch()) == "loaded"
    assert list(tmp_path.iterdir()) == [path]


def test_a_loaded_model_runs_one_step_a_call_however_long_it_trained(good, tmp_path):
    members = changed(good, put(10**12, *OPTIMIZER, "learning_rate", "config", "decay_steps"))
    members = changed(members, put(10**9, "compile_config", "steps_per_execution"))
    vae = vae_mnist.load_vae(write(tmp_path / "vae.keras", members))
    assert vae.optimizer.get_config()["learning_rate"]["config"]["decay_steps"] == 10**12
    assert vae.steps_per_execution == compile_options(1)["steps_per_execution"] == 1


# -- model.weights.h5 ------------------------------------------------------------------------------------------------


def weights(good, change):
    """The members with a changed model.weights.h5."""
    file = io.BytesIO(good["model.weights.h5"])
    with h5py.File(file, "r+") as opened:
        change(opened)
    return good | {"model.weights.h5": file.getvalue()}


def kernel(file, part="layers"):
    """The place of the kernel of encoder_h in an HDF5 file of Keras's, wherever that has it; or of its moment."""
    found = []
    file[part].visititems(lambda name, item: found.append(name) if getattr(item, "shape", None) == (784, 8) else None)
    return f"{part}/{found[0]}"


def filled(value, part="layers"):
    def change(file):
        file[kernel(file, part)][3, 5] = value

    return change


def replaced(*array, part="layers", **options):
    """A change of the kernel: another array, made as create_dataset makes it, or, for one object, that one."""

    def change(file):
        name = kernel(file, part)
        old = file[name][()]
        del file[name]
        if options:
            file.create_dataset(name, *array, **options)
        elif array:
            file[name] = array[0](old) if callable(array[0]) else array[0]

    return change


FLOATS = {"shape": (784, 8), "dtype": "float32"}
SOUND, ELSEWHERE = "not finite, or far too large", "elsewhere or too large"
WEIGHTS = {
    "NaN": (filled(np.nan), SOUND),
    "infinity": (filled(-np.inf), SOUND),
    "an absurd weight": (filled(-1e30), SOUND),
    "NaN in the optimizer": (filled(np.nan, "optimizer"), SOUND),
    "a missing kernel": (replaced(), "arrays are others"),
    "another shape": (replaced(np.zeros((784, 9), "float32")), "arrays are others"),
    "an axis too many": (replaced(np.zeros((784, 8, 1), "float32")), "arrays are others"),
    "text": (replaced(np.full((784, 8), b"x")), "arrays are others"),
    "another optimizer's": (replaced(np.zeros((8, 784), "float32"), part="optimizer"), "arrays are others"),
    "an array of 100 TB": (replaced(shape=(10**7, 10**7), dtype="u1", chunks=(9, 9), compression="gzip"), ELSEWHERE),
    "an array in another file": (replaced(**FLOATS, external=[("/etc/hostname", 0, 25088)]), "arrays are others"),
    "a link to another file": (replaced(h5py.ExternalLink("/etc/hostname", "/")), ELSEWHERE),
    "a link within": (replaced(h5py.SoftLink("/optimizer/vars/1")), ELSEWHERE),
}


@pytest.mark.parametrize(("change", "reason"), WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.slow
def test_other_weights_are_refused(change, reason, good, tmp_path):
    refused(write(tmp_path / "other.keras", weights(good, change)), reason)


def test_the_same_numbers_written_otherwise_are_taken(good, tmp_path):
    """In twice the bytes, and packed."""

    def change(file):
        name = kernel(file)
        numbers = file[name][()].astype("float64")
        del file[name]
        file.create_dataset(name, data=numbers, chunks=(784, 8), compression="gzip")

    loaded = vae_mnist.load_vae(write(tmp_path / "vae.keras", weights(good, change)))
    with h5py.File(io.BytesIO(good["model.weights.h5"])) as file:
        np.testing.assert_array_equal(loaded.get_layer("encoder").get_layer("encoder_h").kernel, file[kernel(file)])


def test_an_optimizer_that_does_not_fit_begins_anew(good, tmp_path):
    def moved(file):
        file["optimizer/vars/0"][()] = 9

    def cut(file):
        moved(file)
        del file["optimizer/vars/21"]

    for change, iterations in ((moved, 9), (cut, 0)):
        vae = vae_mnist.load_vae(write(tmp_path / "vae.keras", weights(good, change)))
        assert int(vae.optimizer.iterations) == iterations


def test_another_place_of_the_weights_is_told_with_both_versions(good, tmp_path):
    members = weights(good, replaced()) | {"metadata.json": '{"keras_version": "3.99.0"}'}
    versions = rf"Keras 3\.99\.0 saved it, and this is Keras {re.escape(keras.__version__)}"
    refused(write(tmp_path / "newer.keras", members), versions)


# -- The archive -----------------------------------------------------------------------------------------------------


MEMBERS = {
    "a member outside the archive": lambda good: good | {"../evil": b"evil"},
    "a member too many": lambda good: good | {"assets/x": b""},
    "no weights": lambda good: {name: body for name, body in good.items() if not name.endswith("h5")},
    "no configuration": lambda good: {name: body for name, body in good.items() if name != "config.json"},
    "a configuration of 2 MB": lambda good: good | {"config.json": good["config.json"] + b" " * 2_000_000},
    "a configuration that is no JSON": lambda good: good | {"config.json": good["config.json"][:-9]},
    "a configuration of 100,000 brackets": lambda good: good | {"config.json": b"[" * 100_000},
    "weights that are none": lambda good: good | {"model.weights.h5": b"\x89HDF\r\n\x1a\n"},
}


@pytest.mark.parametrize("change", MEMBERS.values(), ids=MEMBERS)
def test_other_members_are_refused_and_written_nowhere(change, good, tmp_path):
    path = write(tmp_path / "inner.keras", change(good))
    refused(path)
    assert list(tmp_path.iterdir()) == [path]


def test_packed_members_are_refused(good, tmp_path):
    """A bomb, a member so small that packing it gains nothing, and one that is longer than its file."""
    bomb = good | {"model.weights.h5": bytes(10**7)}
    refused(write(tmp_path / "bomb.keras", bomb, zipfile.ZIP_DEFLATED), "packed")
    one = write(tmp_path / "one.keras", {name: body for name, body in good.items() if name != "metadata.json"})
    with zipfile.ZipFile(one, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", good["metadata.json"])
    refused(one, "packed")
    path = write(tmp_path / "long.keras", good)
    size = len(good["model.weights.h5"]).to_bytes(4, "little")
    path.write_bytes(path.read_bytes().replace(2 * size, 2 * (10**9).to_bytes(4, "little")))
    refused(path, "packed")


def test_other_files_are_refused(good, tmp_path):
    (tmp_path / "weights.keras").write_bytes(good["model.weights.h5"])
    refused(tmp_path / "weights.keras")
    with pytest.raises(UserError, match="There is no model file"):
        vae_mnist.load_vae(tmp_path)


def test_a_disk_without_room_is_not_told_as_a_wrong_model(good, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, "No space left on device")

    path = write(tmp_path / "vae.keras", good)
    monkeypatch.setattr(saved.Path, "write_bytes", full)
    sentence = r"^A model is .* of 1 MB, .* \(No space left on device\): make room, or set TMP"
    with pytest.raises(UserError, match=sentence):
        vae_mnist.load_vae(path)


def test_the_oldest_keras_that_is_admitted_is_one_without_known_holes():
    """For those who load with Keras itself. CVE-2025-1550 (3.9), -8747 (3.11), -9905 (3.11.3), -12058 (3.12),
    2026-1462 (3.14): names of code that ran.
    """
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    bound = next(re.match(r"keras>=(\d+)\.(\d+)", line) for line in lines if line.startswith("keras"))
    assert tuple(map(int, bound.groups())) >= (3, 14)
    assert tuple(map(int, importlib.metadata.version("keras").split(".")[:2])) >= (3, 14)


BEYOND = {
    "NaN": lambda vae: vae.get_layer("decoder").get_layer("decoder_h").bias.assign(np.full(8, np.nan)),
    "a weight": lambda vae: vae.get_layer("decoder").get_layer("decoder_h").bias.assign(np.full(8, 1.1e4)),
    "a moment": lambda vae: vae.optimizer.variables[3].assign(np.full(vae.optimizer.variables[3].shape, np.inf)),
    "z_mean": lambda vae: vae.get_layer("encoder").get_layer("z_mean").bias.assign([0, -120]),
    "z_log_var": lambda vae: vae.get_layer("encoder").get_layer("z_log_var").bias.assign([80, 0]),
}


@pytest.mark.parametrize("spoil", BEYOND.values(), ids=BEYOND)
def test_a_model_that_would_be_refused_or_cannot_be_drawn_is_no_result(spoil, small, sample):
    variables = [*small.variables, *small.optimizer.variables]
    before = [np.array(variable) for variable in variables]
    saved.check(small, sample.x_test[:20])
    spoil(small)
    with pytest.raises(UserError, match="Training diverged, this model's weights or codes are far too large"):
        saved.check(small, sample.x_test[:20])
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
