"""Model files: one of ours is loaded, and nothing of any other is built or executed."""

import importlib.metadata
import io
import json
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest
from conftest import ROOT, build, encode

import vae_mnist
from parts import UserError, folder, saved
from parts.recipes import RECIPES


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """The members of a small model file, {name: bytes}, from a VAE of the default recipe."""
    path = tmp_path_factory.mktemp("good") / "vae.keras"
    vae = build(RECIPES["default"], 100, hidden_dim=8)
    vae.optimizer.build(vae.trainable_variables)
    vae.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("latent_dim", [1, 3])
def test_a_vae_of_any_recipe_and_size_is_loaded_with_its_weights(recipe, latent_dim, tmp_path):
    vae = build(RECIPES[recipe], 100, latent_dim=latent_dim, hidden_dim=5)
    vae.save(tmp_path / "vae.keras")
    x = np.random.default_rng(0).random((4, 784), "float32")
    np.testing.assert_array_equal(encode(folder.load_vae(tmp_path / "vae.keras"), x), encode(vae, x))


WITHOUT_TORCH = """
import sys
class NoTorch:
    @staticmethod
    def find_spec(name, *rest):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTorch)
import vae_mnist
from parts import folder
print(folder.load_vae("vae.keras").optimizer.__module__)
"""


def test_the_authors_recipe_saved_on_pytorch_loads_where_there_is_none(tmp_path, run_python):
    """Keras writes the name of its optimizer for PyTorch into the file, in a module that imports PyTorch."""
    build(RECIPES["author"], 100, hidden_dim=5).save(tmp_path / "tensorflow.keras")
    with zipfile.ZipFile(tmp_path / "tensorflow.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    optimizer = config["compile_config"]["optimizer"]
    optimizer |= {"module": "keras.src.backend.torch.optimizers.torch_adam", "registered_name": "Adam"}
    write(tmp_path / "vae.keras", members | {"config.json": json.dumps(config)})
    done = run_python("-c", WITHOUT_TORCH)
    assert (done.stdout, done.stderr) == ("keras.src.optimizers.adam\n", "")


def layer(config, *names):
    """The config.json part of a layer, by the names that lead to it."""
    for name in names:
        config = next(layer for layer in config["config"]["layers"] if layer["name"] == name)
    return config


def put(value, *path):
    """A change of a config.json: put a value at a layer's path; the last two names are a dict's and its key."""

    def change(config):
        layer(config, *path[:-1])["config"][path[-1]] = value

    return change


def without(name):
    """A change of a config.json: a layer is bypassed."""

    def change(config):
        before = {"kl_loss": "encoder", "noisy_x": "x"}[name]
        config["config"]["layers"].remove(layer(config, name))
        text = json.dumps(config).replace(f'["{name}", 0', f'["{before}", {int(before == "encoder")}')
        config.clear()
        config.update(json.loads(text))

    return change


def compiled(config):
    layer(config, "decoder")["compile_config"] = {"loss": "mse", "steps_per_execution": 10**9}


def swapped(config):
    layer(config, "kl_loss")["inbound_nodes"][0]["args"][0].reverse()


SYSTEM = {"module": "os", "class_name": "function", "config": "system", "registered_name": "function"}
LAMBDA = {"class_name": "__lambda__", "config": {"code": "4wAA", "defaults": None, "closure": None}}
STRANGE = {"module": "evil", "class_name": "AddKLLoss", "config": {}, "registered_name": "vae_mnist>AddKLLoss"}
CONFIGS = {
    "a function of Python's": put(SYSTEM, "z_sample", "function"),
    "a lambda": put(LAMBDA, "z_sample", "function"),
    "a class of ours from a module that is not": put(STRANGE, "z_sample", "function"),
    "a regularizer": put({"class_name": "L2", "config": {"l2": 1}}, "encoder", "encoder_h", "kernel_regularizer"),
    "another function of Keras's": put({"module": "keras.utils", "class_name": "get_file"}, "noisy_x", "seed"),
    "no KL loss": without("kl_loss"),
    "z_mean and z_log_var changed round": swapped,
    "a linear decoder": put("linear", "decoder", "decoder_output", "activation"),
    "another hidden layer": put("tanh", "encoder", "encoder_h", "activation"),
    "no biases": put(False, "decoder", "decoder_h", "use_bias"),
    "half the precision": put("float16", "decoder", "decoder_h", "dtype"),
    "more units than weights": put(10**12, "encoder", "encoder_h", "units"),
    "units that are no number": put("8", "encoder", "encoder_h", "units"),
    "a latent of two axes": put([None, 2, 2], "decoder", "z", "batch_shape"),
    "images of another size": put([None, 100], "x", "batch_shape"),
    "other arguments for the noise": put({"seed": 0, "q": 1}, "z_sample", "arguments"),
    "a half that is compiled": compiled,
}


@pytest.mark.parametrize("change", CONFIGS.values(), ids=CONFIGS)
def test_another_config_is_refused_before_keras_builds_anything(change, good, tmp_path, monkeypatch):
    config = json.loads(good["config.json"])
    change(config)
    path = write(tmp_path / "other.keras", good | {"config.json": json.dumps(config)})
    monkeypatch.setattr(keras.models, "load_model", lambda path: pytest.fail("Keras was handed the file"))
    with pytest.raises(UserError, match="no VAE that this script saved"):
        folder.load_vae(path)


def test_a_model_without_noise_on_its_input_is_still_ours(good, tmp_path):
    """The change that is made to remove a layer is itself a good one: noise on the input is the recipe's choice."""
    config = json.loads(good["config.json"])
    without("noisy_x")(config)
    vae = folder.load_vae(write(tmp_path / "vae.keras", good | {"config.json": json.dumps(config)}))
    assert "noisy_x" not in {layer.name for layer in vae.layers}


def weights(good, change):
    """The model.weights.h5 of the good model, changed."""
    file = io.BytesIO(good["model.weights.h5"])
    with h5py.File(file, "r+") as opened:
        change(opened)
    return {"model.weights.h5": file.getvalue()}


KERNEL = "layers/functional/layers/dense/vars/0"  # of encoder_h, (784, 8)
MOMENT = "optimizer/vars/1"


def filled(name, value):
    def change(file):
        file[name][3, 5] = value

    return change


def replaced(name, make):
    def change(file):
        del file[name]
        make(file, name)

    return change


BOMB = {"shape": (784, 8), "dtype": "float32", "chunks": (784, 8), "compression": "gzip"}
WEIGHTS = {
    "NaN": filled(KERNEL, np.nan),
    "infinity": filled(KERNEL, -np.inf),
    "an absurd weight": filled(KERNEL, 1e30),
    "NaN in the optimizer": filled(MOMENT, np.nan),
    "a missing kernel": replaced(KERNEL, lambda file, name: None),
    "another shape": replaced(KERNEL, lambda file, name: file.create_dataset(name, data=np.zeros((784, 9), "float32"))),
    "float64": replaced(KERNEL, lambda file, name: file.create_dataset(name, data=np.zeros((784, 8)))),
    "an array that is not there": replaced(KERNEL, lambda file, name: file.create_dataset(name, (784, 8), "float32")),
    "a packed array": replaced(KERNEL, lambda file, name: file.create_dataset(name, **BOMB)),
    "an array in another file": replaced(
        KERNEL, lambda file, name: file.create_dataset(name, (784, 8), "f4", external=[("/etc/hostname", 0, 25088)])
    ),
    "a link to another file": replaced(
        KERNEL, lambda file, name: file.__setitem__(name, h5py.ExternalLink("/etc/hostname", "/"))
    ),
}


@pytest.mark.parametrize("change", WEIGHTS.values(), ids=WEIGHTS)
def test_other_weights_are_refused(change, good, tmp_path):
    path = write(tmp_path / "other.keras", good | weights(good, change))
    with pytest.raises(UserError, match="no VAE that this script saved"):
        folder.load_vae(path)


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
    with pytest.raises(UserError, match="no VAE that this script saved"):
        folder.load_vae(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_bomb_is_refused(good, tmp_path):
    path = write(tmp_path / "bomb.keras", good | {"model.weights.h5": bytes(10**8)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(UserError, match="packed"):
        folder.load_vae(path)


def test_other_files_of_keras_are_refused(good, tmp_path):
    write(tmp_path / "vae.h5", good)
    (tmp_path / "vae.weights.h5").write_bytes(good["model.weights.h5"])
    (tmp_path / "weights.keras").write_bytes(good["model.weights.h5"])
    for name in ("vae.h5", "vae.weights.h5", "weights.keras"):
        with pytest.raises(UserError, match="no VAE that this script saved"):
            folder.load_vae(tmp_path / name)


def test_a_value_that_keras_refuses_is_told_with_both_versions_and_without_its_warnings(good, tmp_path, recwarn):
    config = json.loads(good["config.json"])
    config["compile_config"]["optimizer"]["config"]["no_such_option"] = 1
    members = good | {"config.json": json.dumps(config), "metadata.json": '{"keras_version": "3.99.0"}'}
    with pytest.raises(UserError, match=rf"Keras 3\.99\.0 saved it and Keras {re.escape(keras.__version__)} is to"):
        folder.load_vae(write(tmp_path / "newer.keras", members))
    without_moments = weights(good, lambda file: file.__delitem__("optimizer/vars/1"))
    folder.load_vae(write(tmp_path / "vae.keras", good | without_moments))  # Keras warns, and starts the optimizer anew
    assert not recwarn.list


EVIL = """
import sys, threading
import vae_mnist
ran = []
sys.addaudithook(lambda event, arguments: ran.append(event) if event in ("os.system", "subprocess.Popen") else None)
status = vae_mnist.main(["--load", sys.argv[1], "--data", "sample"])
print(status, ran)
"""


def test_a_model_file_that_names_code_ends_the_command_with_one_sentence(good, tmp_path, run_python):
    """As a user meets it, in another process: the model is the one that ran os.system with Keras 3.8."""
    config = json.loads(good["config.json"])
    put(SYSTEM, "z_sample", "function")(config)
    layer(config, "z_sample")["config"]["arguments"] = {"command": "touch executed"}
    write(tmp_path / "evil.keras", good | {"config.json": json.dumps(config)})
    done = run_python("-c", EVIL, "evil.keras")
    assert done.stdout == "2 []\n"
    assert re.fullmatch(r"vae_mnist: evil\.keras is no VAE [^\n]+os\.function[^\n]+\n", done.stderr)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil.keras", "home"]


def test_the_oldest_keras_that_is_admitted_is_one_without_known_holes():
    """CVE-2025-1550 (3.9), -8747 (3.11), -9905 (3.11.3), -12058 (3.12), 2026-1462 (3.14): names of code that ran."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    bound = next(re.match(r"keras>=(\d+)\.(\d+)", line) for line in lines if line.startswith("keras"))
    assert tuple(map(int, bound.groups())) >= (3, 14)
    assert tuple(map(int, importlib.metadata.version("keras").split(".")[:2])) >= (3, 14)


def test_weights_that_overflow_are_told_and_nothing_is_written(good, tmp_path, capsys, small_npz):
    """Each weight is within the limits, and yet exp(z_log_var) has no float32."""
    bias = "layers/functional/layers/dense_2/vars/1"
    path = write(
        tmp_path / "vae.keras", good | weights(good, lambda file: file[bias].write_direct(np.float32([99, 99])))
    )
    arguments = ["--load", str(path), "--data", str(small_npz), "--output", str(tmp_path / "out")]
    assert vae_mnist.main(arguments) == 2
    assert re.fullmatch(r"vae_mnist: The held-out ELBO is no number[^\n]+\n", capsys.readouterr().err)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_room_says_what_it_admits():
    assert all(module is None or module.startswith("keras") for module, _, _ in saved.KERAS_CLASSES)
