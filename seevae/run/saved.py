"""Model files: the numbers of a vae.keras, for a network that is built anew.

A model file may come from anywhere, and Keras would build whatever its config.json names. Here the script builds its
own network, and the file gives numbers alone, each of which is checked.
"""

import contextlib
import io
import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import h5py
import keras
import numpy as np
from keras import ops

from seevae.basics import UserError
from seevae.images.reading import open_file, parse_json, require_file
from seevae.results import evidence
from seevae.run import folder
from seevae.run.options import LARGEST
from seevae.training.callbacks import DIVERGED
from seevae.training.recipes import RECIPES, Recipe

WANTED = ("model file", "give --load a vae.keras that this script wrote")
MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]
CONFIG_LIMIT = 1_000_000  # bytes; ours takes 10,000
WEIGHT_LIMIT = 1e4  # a trained weight is some units at most
CODE_LIMIT, LOG_VAR_LIMIT = 100, 60  # |z_mean| and |z_log_var|; the prior's codes lie within 5
SETTINGS = {"learning_rate": (0, 1e30), "epochs": (1, 1e12), "beta_2": (0, 1), "head_step": (0, 1e3)}  # from, to
OPTIMIZERS = {"Adam": "adam", "NadamWithHeadStep": "nadam"}
# Where Keras puts encoder_h, z_mean, z_log_var; decoder_h, decoder_output.
DENSE = ["/layers/dense", "/layers/dense_1", "/layers/dense_2", "_1/layers/dense", "_1/layers/dense_1"]
WEIGHTS = [f"layers/functional{layer}/vars/{i}" for layer in DENSE for i in (0, 1)]  # a kernel and a bias each


class Saved(NamedTuple):
    """What a model file holds, in numbers that `read` has checked."""

    path: Path
    recipe: Recipe  # its optimizer, and whether its input is noisy; an epoch is one step
    latent_dim: int
    hidden_dim: int
    layers: list  # see `outline`
    weights: list  # NumPy float32, in the order of the model's trainable_variables
    optimizer: list  # NumPy float32 and a whole number, in the order of the optimizer's variables


class NotOursError(Exception):
    """What in a file is not as this script writes it, in a few words."""


def expect(true, otherwise):
    """Raise NotOursError unless something is true; otherwise: what is the matter."""
    if not true:
        raise NotOursError(otherwise)


@contextlib.contextmanager
def told(path):
    """A context that tells the user, in one sentence, why a file is not ours."""
    try:
        yield
    except Exception as error:  # a damaged file fails in many ways, all of which mean the same to the user
        reason = error if isinstance(error, NotOursError) else "it is damaged or of another format"
        advice = "give --load a vae.keras that it wrote"
        raise UserError(f"{path} is no VAE that this script saved ({reason}): {advice}.") from error


def read(path):
    """Read a model file; returns a Saved. The file is opened once, and its size bounds the memory that this takes.

    What a killed run left to be done in the folder is done first. Raises UserError where there is no file, and where
    it is not as this script writes it: its members, its settings, the place of its arrays, their types and values.
    """
    path = Path(path)
    folder.finish(path.parent)
    require_file(path, *WANTED)
    with told(path):
        config, metadata, arrays = read_members(path)
        layers = [*outline(config["config"])]
        recipe = read_recipe(config["compile_config"]["optimizer"], "noisy_x" in [name for _, name, _ in layers])
        versions = f"Keras {str(metadata['keras_version'])[:20]} saved it, and this is Keras {keras.__version__}"
        expect({*WEIGHTS} <= arrays.keys(), f"its arrays are others; {versions}")
        weights = [arrays.pop(name) for name in WEIGHTS]
        optimizer = [arrays[f"optimizer/vars/{i}"] for i in range(len(arrays))]
        expect(max(np.abs(weight).max() for weight in weights) <= WEIGHT_LIMIT, "its weights are far too large")
        (_, hidden_dim), (_, latent_dim) = weights[0].shape, weights[2].shape
        sizes_fit = hidden_dim <= LARGEST["hidden_dim"] and latent_dim <= LARGEST["latent_dim"]
        expect(sizes_fit, "its sizes are beyond those of --help")
        return Saved(path, recipe, latent_dim, hidden_dim, layers, weights, optimizer)


def start_of(path):
    """What a record says of the model file from which a training goes on: its name and its digest.

    What a killed run left to be done in the folder is done first. Raises UserError where there is no file.
    """
    path = Path(path)
    folder.finish(path.parent)
    require_file(path, *WANTED)
    return {"model": path.name, "sha256": folder.digest(path)}


def check(vae, x):
    """Raise UserError for a model that `read` would refuse, or whose codes of images x (n, 784) nothing could draw."""
    encoder, n = vae.get_layer("encoder"), len(WEIGHTS)
    numbers = [ops.convert_to_numpy(v) for v in (*vae.trainable_variables, *vae.optimizer.variables)]
    z_mean, z_log_var = evidence.in_batches(lambda rows: ops.stack(encoder(rows), axis=1), x).swapaxes(0, 1)
    bounded = [*((weight, WEIGHT_LIMIT) for weight in numbers[:n]), *((moment, np.inf) for moment in numbers[n:])]
    for array, limit in (*bounded, (z_mean, CODE_LIMIT), (z_log_var, LOG_VAR_LIMIT)):
        if not (np.isfinite(array).all() and np.abs(array).max() <= limit):
            raise UserError(DIVERGED.format(", this model's weights or codes are far too large"))


def read_members(path):
    """The three members of the archive, read. None of them may be packed, so none can be a bomb."""
    with open_file(path) as file, zipfile.ZipFile(file) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.filename)
        names, sizes = [info.filename for info in infos], [info.file_size for info in infos]
        expect(names == MEMBERS, f"it does not hold {', '.join(MEMBERS)} and nothing else")
        packed = any(info.compress_type for info in infos) or sum(sizes) > os.fstat(file.fileno()).st_size
        expect(not packed, "it holds packed files")
        expect(max(sizes[:2]) <= CONFIG_LIMIT, "its configuration is too long")
        config, metadata, weights = map(archive.read, infos)
    return parse_json(config), parse_json(metadata), read_arrays(weights)


def read_arrays(content):
    """The arrays in the bytes of an HDF5 file, {name: array}, each float32 or one whole number, and finite.

    All of them lie in the file itself, unpacked and apart. (visititems follows no link to elsewhere.)
    """
    arrays = {}
    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(lambda name, item: arrays.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        for array in arrays.values():
            inside = array.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS and array.external is None
            inside = inside and array.id.get_storage_size() == array.nbytes
            numbers = array.dtype == np.float32 or (array.dtype.kind == "i" and array.shape == ())
            expect(inside and numbers, "its weights are not in it as plain float32 numbers")
        expect(sum(array.nbytes for array in arrays.values()) <= len(content), "its weights overlap")
        arrays = {name: array[()] for name, array in arrays.items()}
    for array in arrays.values():
        expect(np.isfinite(array).all(), "its weights are not finite")
        expect(array.dtype == np.float32 or 0 <= array < 2**31, "its count of steps is out of range")
    return arrays


def outline(network):
    """What a network is made of, as Keras describes it: (class, name, activation) of each layer, its halves' too."""
    for layer in network["layers"]:
        yield layer["class_name"], layer["config"]["name"], layer["config"].get("activation")
        yield from outline(layer["config"]) if "layers" in layer["config"] else ()


def read_recipe(optimizer, noisy):
    """The Recipe for an optimizer as config.json describes it; noisy: whether the encoder learns from noisy images."""
    config, steps = optimizer["config"], 1
    learning_rate = config["learning_rate"]
    if decay := isinstance(learning_rate, dict):
        learning_rate, steps = (learning_rate["config"][name] for name in ("initial_learning_rate", "decay_steps"))
    numbers = {"learning_rate": learning_rate, "epochs": steps}
    numbers |= {"beta_2": config["beta_2"], "head_step": config.get("head_step", 1.0)}
    for name, value in numbers.items():
        least, most = SETTINGS[name]
        expect(type(value) in (int, float) and least <= value <= most, f"its {name} is no number within the limits")
    kind = {"optimizer": OPTIMIZERS[optimizer["class_name"]], "linear_decay": decay, "binarised_input": noisy}
    return RECIPES["default"]._replace(name="loaded", batch_size=1, spread_weights=False, **kind, **numbers)


def fill(vae, saved):
    """Put the numbers of a Saved into a VAE that was built and compiled for it, bit for bit.

    The optimizer begins anew where the file has no arrays that fit it: one that was saved before it had trained.
    Raises UserError where the network is another than the file's; the VAE is then as it was.
    """

    def fits(arrays, variables):
        shapes = [(tuple(variable.shape), np.dtype(variable.dtype).kind) for variable in variables]
        return [(array.shape, array.dtype.kind) for array in arrays] == shapes

    same = saved.layers == [*outline(vae.get_config())] and fits(saved.weights, vae.trainable_variables)
    with told(saved.path):
        expect(same, "its network is another")
    vae.optimizer.build(vae.trainable_variables)
    pairs = [*zip(vae.trainable_variables, saved.weights, strict=True)]
    if fits(saved.optimizer, vae.optimizer.variables):
        pairs += zip(vae.optimizer.variables, saved.optimizer, strict=True)
    for variable, array in pairs:
        variable.assign(array)
