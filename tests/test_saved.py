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
def good(tmp_path_factory):
    """The members of a small model file, {name: bytes}, from a VAE of the default recipe, and its name."""
    path = tmp_path_factory.mktemp("good") / "vae.keras"
    vae = build(RECIPES["default"], 100, hidden_dim=8)
    vae.optimizer.build(vae.trainable_variables)
    vae.save(path)
    return members_of(path)


def members_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


def changed(good, change):
    """The members with a changed config.json."""
    config = json.loads(good["config.json"])
    change(config)
    return good | {"config.json": json.dumps(config)}


def refused(path, reason=""):
    with pytest.raises(UserError, match=f"no VAE that this script saved .*{reason}"):
        vae_mnist.load_vae(path)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_a_vae_of_any_recipe_and_size_comes_back_with_all_its_numbers(recipe, latent_dim, tmp_path):
    recipe = RECIPES[recipe]._replace(learning_rate=0.003)
    vae = build(recipe, 5000, latent_dim=latent_dim, hidden_dim=5)
    vae.optimizer.build(vae.trainable_variables)
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


def test_what_was_read_is_what_comes_back_whatever_becomes_of_the_file(good, tmp_path):
    path = write(tmp_path / "vae.keras", good)
    stored = saved.read(path)
    path.write_text("another file")
    vae = build(stored.recipe, 1, hidden_dim=8)
    saved.fill(vae, stored)
    with h5py.File(io.BytesIO(good["model.weights.h5"])) as file:
        np.testing.assert_array_equal(vae.get_layer("encoder").get_layer("encoder_h").kernel, file[KERNEL])


def test_the_authors_recipe_saved_on_pytorch_loads_where_there_is_none(tmp_path, monkeypatch):
    """Keras writes the name of its optimizer for PyTorch into the file, in a module that imports PyTorch."""
    build(RECIPES["author"], 100, hidden_dim=5).save(tmp_path / "vae.keras")
    on_pytorch = put("keras.src.backend.torch.optimizers.torch_adam", "compile_config", "optimizer", "module")
    write(tmp_path / "vae.keras", changed(members_of(tmp_path / "vae.keras"), on_pytorch))
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
        *(put(steps, *OPTIMIZER, "learning_rate", "config", "decay_steps") for steps in (0, 10**13, [1])),
        put(float("inf"), *OPTIMIZER, "head_step"),
        put(2, *OPTIMIZER, "beta_2"),
    ],
    "of another format": [
        put("SGD", "compile_config", "optimizer", "class_name"),
        put([], "compile_config", "optimizer", "class_name"),
        put(None, "compile_config"),
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


@pytest.mark.parametrize("steps", [1, 10**12])
def test_a_loaded_model_runs_one_step_a_call_however_long_it_trained(steps, good, tmp_path):
    members = changed(good, put(steps, *OPTIMIZER, "learning_rate", "config", "decay_steps"))
    members = changed(members, put(10**9, "compile_config", "steps_per_execution"))
    vae = vae_mnist.load_vae(write(tmp_path / "vae.keras", members))
    assert vae.optimizer.get_config()["learning_rate"]["config"]["decay_steps"] == steps
    assert vae.steps_per_execution == compile_options(1)["steps_per_execution"] == 1


# -- model.weights.h5 ------------------------------------------------------------------------------------------------


def weights(good, change):
    """The members with a changed model.weights.h5."""
    file = io.BytesIO(good["model.weights.h5"])
    with h5py.File(file, "r+") as opened:
        change(opened)
    return good | {"model.weights.h5": file.getvalue()}


KERNEL = "layers/functional/layers/dense/vars/0"  # of encoder_h, (784, 8)
MOMENT = "optimizer/vars/1"


def filled(name, value, place=(3, 5)):
    def change(file):
        file[name][place] = value

    return change


def replaced(name, *array, **options):
    """A change: another array, made as create_dataset makes it, or, for one object, that one."""

    def change(file):
        del file[name]
        if options:
            file.create_dataset(name, *array, **options)
        elif array:
            file[name] = array[0]

    return change


FLOATS = {"shape": (784, 8), "dtype": "float32"}
WEIGHTS = {
    "NaN": (filled(KERNEL, np.nan), "not finite"),
    "infinity": (filled(KERNEL, -np.inf), "not finite"),
    "an absurd weight": (filled(KERNEL, -1e30), "too large"),
    "NaN in the optimizer": (filled(MOMENT, np.nan), "not finite"),
    "a step before the first": (filled("optimizer/vars/0", -1, ()), "count of steps"),
    "a missing kernel": (replaced(KERNEL), "arrays are others"),
    "an array too many": (lambda file: file.create_dataset("more", data=np.float32([1])), "of another format"),
    "another shape": (replaced(KERNEL, np.zeros((784, 9), "float32")), "network is another"),
    "an axis too many": (replaced(KERNEL, np.zeros((784, 8, 1), "float32")), "of another format"),
    "float64": (replaced(KERNEL, np.zeros((784, 8))), "plain"),
    "one float64": (replaced("optimizer/vars/21", np.float64(1)), "plain"),
    "an array that is not there": (replaced(KERNEL, **FLOATS), "plain"),
    "a packed array": (replaced(KERNEL, **FLOATS, chunks=(784, 8), compression="gzip"), "plain"),
    "an array in parts": (replaced(KERNEL, data=np.ones((784, 8), "float32"), chunks=(784, 8)), "plain"),
    "an array in another file": (replaced(KERNEL, **FLOATS, external=[("/etc/hostname", 0, 25088)]), "plain"),
    "a link to another file": (replaced(KERNEL, h5py.ExternalLink("/etc/hostname", "/")), "arrays are others"),
    "a link within": (replaced(KERNEL, h5py.SoftLink("/" + MOMENT)), "arrays are others"),
}


@pytest.mark.parametrize(("change", "reason"), WEIGHTS.values(), ids=WEIGHTS)
def test_other_weights_are_refused(change, reason, good, tmp_path):
    refused(write(tmp_path / "other.keras", weights(good, change)), reason)


def test_arrays_that_share_their_bytes_are_refused():
    """They would take more memory than the file."""
    file = io.BytesIO()
    with h5py.File(file, "w") as opened:
        place = opened.create_dataset("a", data=np.ones(1000, "float32")).id.get_offset()
        opened.create_dataset("b", 1000, "float32")  # has no place yet
    nowhere, size = b"\xff" * 8, (4000).to_bytes(8, "little")
    content = file.getvalue().replace(nowhere + size, place.to_bytes(8, "little") + size)
    with pytest.raises(saved.NotOursError, match="overlap"):
        saved.read_arrays(content)


def test_a_network_beyond_the_limits_is_not_built(good, tmp_path, monkeypatch):
    for sizes in ({"hidden_dim": 7, "latent_dim": 2}, {"hidden_dim": 8, "latent_dim": 1}):
        monkeypatch.setattr(saved, "LARGEST", sizes)
        refused(write(tmp_path / "vae.keras", good), "its sizes")


@pytest.mark.parametrize("change", [replaced("optimizer/vars/21"), replaced(MOMENT, np.zeros((8, 784), "float32"))])
def test_an_optimizer_that_does_not_fit_begins_anew(change, good, tmp_path):
    moved = weights(good, filled("optimizer/vars/0", 9, ()))
    assert int(vae_mnist.load_vae(write(tmp_path / "vae.keras", moved)).optimizer.iterations) == 9
    vae = vae_mnist.load_vae(write(tmp_path / "vae.keras", weights(moved, change)))
    assert int(vae.optimizer.iterations) == 0


def test_another_place_of_the_weights_is_told_with_both_versions(good, tmp_path):
    members = weights(good, replaced(KERNEL)) | {"metadata.json": '{"keras_version": "3.99.0"}'}
    versions = rf"Keras 3\.99\.0 saved it, and this is Keras {re.escape(keras.__version__)}"
    refused(write(tmp_path / "newer.keras", members), versions)


def test_weights_that_overflow_are_told_and_nothing_is_written(good, tmp_path, capsys, small_npz):
    """Each weight is within the limits, and yet exp(z_log_var) has no float32."""
    members = weights(good, filled("layers/functional/layers/dense_2/vars/1", 99, slice(None)))
    path = write(tmp_path / "vae.keras", members)
    arguments = ["--load", str(path), "--data", str(small_npz), "--output", str(tmp_path / "out")]
    assert vae_mnist.main(arguments) == 2
    assert re.fullmatch(r"vae_mnist: Training diverged, this model's weights or codes[^\n]+\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


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
    bomb = good | {"model.weights.h5": bytes(10**8)}
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
def test_a_model_that_would_be_refused_or_cannot_be_drawn_is_no_result(spoil, sample):
    vae = build(RECIPES["default"], 100, hidden_dim=8)
    vae.optimizer.build(vae.trainable_variables)
    saved.check(vae, sample.x_test[:20])
    spoil(vae)
    with pytest.raises(UserError, match="Training diverged, this model's weights or codes are far too large"):
        saved.check(vae, sample.x_test[:20])
