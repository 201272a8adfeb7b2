"""Model files: a vae.keras gives its settings and its numbers, for a network that is built anew.

A model file may come from anywhere, and Keras would build whatever its config.json names. Here the script builds its
own network, and Keras puts the file's numbers into it, where they fit.
"""

import contextlib
import io
import json
import math
import os
import tempfile
import warnings
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import ops

from seevae.basics import UserError
from seevae.images.reading import open_file
from seevae.results import evidence
from seevae.run import folder
from seevae.run.files import reason
from seevae.run.options import LARGEST
from seevae.training.callbacks import DIVERGED
from seevae.training.recipes import RECIPES

ADVICE = "give --load a vae.keras that this script wrote"
MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]
CONFIG_LIMIT = 1_000_000  # bytes; ours takes 10,000
WEIGHT_LIMIT = 1e4  # a trained weight is some units at most
ARRAYS_LIMIT = 2**30  # bytes
CODE_LIMIT, LOG_VAR_LIMIT = 100, 60  # |z_mean| and |z_log_var|; the prior's codes lie within 5
OPTIMIZERS = {"Adam": "adam", "NadamWithHeadStep": "nadam"}


class NotOursError(Exception):
    """What in a file is not as this script writes it, in a few words."""


def expect(true, otherwise):
    """Raise NotOursError unless something is true; otherwise: what is the matter."""
    if not true:
        raise NotOursError(otherwise)


@contextlib.contextmanager
def refusing(path):
    """A context that tells the user, in one sentence, why a file is not ours."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # a damaged file fails in many ways, all of which mean the same to the user
        why = reason(error) if getattr(error, "errno", None) else "it is damaged or of another format"
        why = error if isinstance(error, NotOursError) else why
        raise UserError(f"{path} is no VAE that this script saved ({why}): {ADVICE}.") from error


@contextlib.contextmanager
def opened(path):
    """Open a model file, after what a killed run left to do in its folder. Raises UserError where there is none."""
    folder.finish(Path(path).parent)
    try:
        file = open_file(path)
    except (OSError, ValueError) as error:
        raise UserError(f"There is no model file {path} that can be read ({reason(error)}): {ADVICE}.") from error
    with file:
        yield file


def start_of(path):
    """What a record says of the model file from which a training goes on: its name and its digest."""
    with opened(path):
        return {"model": Path(path).name, "sha256": folder.digest(path)}


def load(path, build, compile_anew):
    """The VAE in a model file: the file gives the numbers, bit for bit, of a network that is built anew.

    It is built by build(recipe, latent_dim, hidden_dim), and compile_anew(vae, recipe, images) makes its optimizer. The
    file knows the steps of its training, not its epochs: here an epoch is one step of one image. The optimizer begins
    anew where the file has none, as before its first step. Raises UserError where there is no file, and where its
    members, its settings, its network or its numbers are not as this script writes them.
    """
    with opened(path) as file, refusing(path):
        config, metadata, weights = read_members(file)
        layers = [*outline(config["config"])]
        units = {name: units for _, name, _, units in layers}
        sizes = latent_dim, hidden_dim = units.get("z_mean"), units.get("encoder_h")
        expect(all(type(size) is int for size in sizes), "its network is another")
        fit = 1 <= latent_dim <= LARGEST["latent_dim"] and 1 <= hidden_dim <= LARGEST["hidden_dim"]
        expect(fit, "its sizes are beyond those of --help")
        recipe = read_recipe((config.get("compile_config") or {}).get("optimizer"), "noisy_x" in units)
        vae = build(recipe, latent_dim, hidden_dim)
        compile_anew(vae, recipe, 1)
        expect(layers == [*outline(vae.get_config())], "its network is another")
        versions = f"Keras {str(metadata['keras_version'])[:20]} saved it, and this is Keras {keras.__version__}"
        fill(vae, weights, versions)
    return vae


def read_members(file):
    """The three members of an archive: two of JSON, and bytes. None of them may be packed, so none can be a bomb."""
    with zipfile.ZipFile(file) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.filename)
        names, sizes = [info.filename for info in infos], [info.file_size for info in infos]
        expect(names == MEMBERS, f"it does not hold {', '.join(MEMBERS)} and nothing else")
        packed = any(info.compress_type for info in infos) or sum(sizes) > os.fstat(file.fileno()).st_size
        expect(not packed, "it holds packed files")
        expect(max(sizes[:2]) <= CONFIG_LIMIT, "its configuration is too long")
        config, metadata, weights = map(archive.read, infos)
    return json.loads(config), json.loads(metadata), weights


def outline(network):
    """What a network is made of, as Keras describes it: (class, name, activation, units) of each layer, also inside."""
    for layer in network["layers"]:
        config = layer["config"]
        yield layer["class_name"], config["name"], config.get("activation"), config.get("units")
        yield from outline(config) if "layers" in config else ()


def read_recipe(optimizer, noisy):
    """The Recipe for an optimizer as config.json describes it; noisy: whether the encoder learns from noisy images.

    Without an optimizer, as in a model that was never compiled, it is the default one's.
    """
    recipe = RECIPES["default"]._replace(name="loaded", epochs=1, batch_size=1, spread_weights=False)
    if optimizer is None:
        return recipe._replace(binarised_input=noisy)
    config, steps = optimizer["config"], 1
    learning_rate = config["learning_rate"]
    if decay := isinstance(learning_rate, dict):
        learning_rate, steps = (learning_rate["config"][name] for name in ("initial_learning_rate", "decay_steps"))
    numbers = {"learning_rate": learning_rate, "epochs": steps}
    numbers |= {"beta_2": config["beta_2"], "head_step": config.get("head_step", 1.0)}
    for name, value in numbers.items():
        expect(type(value) in (int, float) and 0 <= value <= 1e30, f"its {name} is no number within the limits")
    kind = {"optimizer": OPTIMIZERS[optimizer["class_name"]], "linear_decay": decay, "binarised_input": noisy}
    return recipe._replace(**kind, **numbers)


def fill(vae, weights, versions):
    """Let Keras put the numbers in an HDF5 file, given as bytes, into a VAE; versions: of Keras, in words."""
    found, links = [], []
    with h5py.File(io.BytesIO(weights)) as file:
        file.visititems(lambda _, item: found.append(getattr(item, "nbytes", 0)))
        file.visititems_links(lambda _, link: links.append(type(link)))
    expect({*links} <= {h5py.HardLink} and sum(found) <= ARRAYS_LIMIT, "its weights are elsewhere or too large")
    with on_disk(weights) as file, warnings.catch_warnings(action="ignore"):  # of an optimizer begun anew
        try:
            vae.load_weights(file)
        except ValueError as error:
            raise NotOursError(f"its arrays are others; {versions}") from error
    expect(is_sound(vae), "its weights are not finite, or far too large")


@contextlib.contextmanager
def on_disk(weights):
    """The numbers in a temporary file, which is all that Keras reads."""
    with contextlib.ExitStack() as stack:
        try:
            file = Path(stack.enter_context(tempfile.TemporaryDirectory()), MEMBERS[-1])
            file.write_bytes(weights)
        except OSError as error:
            size = math.ceil(len(weights) / 2**20)
            needs = f"A model is loaded by way of a temporary file of {size} MB, which cannot be written"
            raise UserError(f"{needs} ({reason(error)}): make room, or set TMPDIR to another folder.") from error
        yield file


def is_sound(vae):
    """Whether all numbers of a VAE and its optimizer are finite, and its weights such as a training leaves."""
    weights, moments = (map(ops.convert_to_numpy, part) for part in (vae.trainable_variables, vae.optimizer.variables))
    return all(np.abs(array).max() <= WEIGHT_LIMIT for array in weights) and all(map(np.all, map(np.isfinite, moments)))


def check(vae, x):
    """Raise UserError for a model that `fill` would refuse, or whose codes of images x (n, 784) nothing could draw."""
    z_mean, z_log_var = (np.abs(codes).max() for codes in evidence.in_batches(vae.get_layer("encoder"), x))
    if not (is_sound(vae) and z_mean <= CODE_LIMIT and z_log_var <= LOG_VAR_LIMIT):
        raise UserError(DIVERGED.format(", this model's weights or codes are far too large"))


def copied(vae):
    """A copy of a VAE with its optimizer, on one device, where it was trained on several."""
    copy = type(vae).from_config(vae.get_config())
    copy.compile_from_config(vae.get_compile_config())
    copy.optimizer.build(copy.trainable_variables)
    variables = [*copy.variables, *copy.optimizer.variables]
    for ours, theirs in zip(variables, [*vae.variables, *vae.optimizer.variables], strict=True):
        ours.assign(ops.convert_to_numpy(theirs))
    return copy
