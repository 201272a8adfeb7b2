"""Model files: what a vae.keras must be before Keras builds anything of it.

A model file may come from anywhere, and Keras builds whatever its config.json names. So the file is first read as data:
an archive of Keras's three members, a network that is the post's, weights that are numbers and that it really holds.
"""

import io
import json
import warnings
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from parts import UserError, is_there
from parts.data import IMAGE_DIM

MEMBERS = ["config.json", "metadata.json", "model.weights.h5"]
CONFIG_LIMIT = 1_000_000  # bytes; ours takes 10,000
WEIGHT_LIMIT = 1e4  # a trained weight is some units at most

# All that our models are made of: module, class_name and registered_name, by which Keras finds a class.
KERAS_CLASSES = {
    ("keras.src.models.functional", "Functional", "Functional"),
    ("keras.layers", "InputLayer", None),
    ("keras.layers", "Dense", None),
    ("keras.layers", "Lambda", None),
    ("keras", "DTypePolicy", None),
    ("keras.initializers", "GlorotUniform", None),
    ("keras.initializers", "Zeros", None),
    ("keras.random", "SeedGenerator", None),
    ("keras.optimizers", "Adam", None),
    ("keras.src.backend.torch.optimizers.torch_adam", "Adam", "Adam"),
    ("keras.optimizers.schedules", "PolynomialDecay", None),
    (None, "__keras_tensor__", None),
}
OUR_CLASSES = {"AddKLLoss", "StochasticBinarisation", "NadamWithHeadStep"}
OUR_MODULES = {None, "vae_mnist", "parts.recipes"}  # None: saved by the script itself
OUR_FUNCTIONS = {"vae_mnist>sample_latent", "vae_mnist>reconstruction_loss"}


class NotOursError(Exception):
    """What in a file is not as this script writes it, in a few words."""


def load(path):
    """Load a VAE that this script saved, with its optimizer. Raises UserError for any other file.

    Nothing of a file is built before `check` has passed it.
    """
    path = Path(path)
    is_there(path, "model file", "give --load a vae.keras that this script wrote")
    with warnings.catch_warnings(action="ignore"):  # of Keras, about what it finds in the file
        try:
            saved_by = check(path)
        except NotOursError as error:
            advice = "give --load a vae.keras that it wrote"
            raise UserError(f"{path} is no VAE that this script saved ({error}): {advice}.") from error
        try:
            # On PyTorch, Keras writes down a class of its own that needs PyTorch, and its public one loads as well.
            return keras.models.load_model(path, custom_objects={"Adam": keras.optimizers.Adam})
        except Exception as error:  # a value that Keras refuses, or a version that writes its models otherwise
            versions = f"Keras {saved_by} saved it and Keras {keras.__version__} is to load it"
            raise UserError(f"{path} cannot be loaded ({versions}): train again, or take that version.") from error


def check(path):
    """See that the file at `path` is a VAE as build_vae makes it; returns the version of Keras that saved it.

    Raises NotOursError where it is none. Builds and runs nothing of it; the memory it takes is bounded by the file.
    """
    if path.suffix != ".keras":
        raise NotOursError("its name does not end in .keras")
    try:
        members = read_members(path)
        config = json.loads(members["config.json"])
        latent_dim, hidden_dim = check_network(config)
        with h5py.File(io.BytesIO(members["model.weights.h5"]), "r") as weights:
            check_weights(weights, latent_dim, hidden_dim)
        return str(json.loads(members["metadata.json"])["keras_version"])[:20]
    except NotOursError:
        raise
    except Exception as error:  # a damaged file fails in many ways, all of which mean the same to the user
        raise NotOursError("it is damaged or of another format") from error


def read_members(path):
    """The three members of the archive, {name: bytes}; none of them may be packed, so none can be a bomb."""
    with zipfile.ZipFile(path) as archive:
        if sorted(archive.namelist()) != MEMBERS:
            raise NotOursError(f"it does not hold {', '.join(MEMBERS)} and nothing else")
        if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
            raise NotOursError("it holds packed files")
        if max(archive.getinfo(name).file_size for name in MEMBERS[:2]) > CONFIG_LIMIT:
            raise NotOursError("its configuration is too long")
        return {name: archive.read(name) for name in MEMBERS}


def check_network(config):
    """See that config.json describes the network of build_vae and names no other class; returns its two sizes."""
    check_classes(config)
    network = describe(config)
    _, encoder, _ = network["encoder"]
    latent_dim, hidden_dim = (encoder[name][1][0] for name in ("z_mean", "encoder_h"))
    if type(latent_dim) is not int or type(hidden_dim) is not int:
        raise NotOursError("its sizes are no whole numbers")
    if not any(network == the_vae(latent_dim, hidden_dim, noisy) for noisy in (True, False)):
        raise NotOursError("its network is another")
    return latent_dim, hidden_dim


def check_classes(config):
    """See that no class or function is named anywhere in config.json but those of our models, in float32."""
    if isinstance(config, list):
        for part in config:
            check_classes(part)
    elif isinstance(config, dict):
        if "class_name" in config or "module" in config or "registered_name" in config:
            check_class(*(config.get(key) for key in ("module", "class_name", "registered_name", "config")))
        if not (config.get("dtype") is None or isinstance(config["dtype"], dict) or config["dtype"] == "float32"):
            raise NotOursError("its numbers are not float32")
        for part in config.values():
            check_classes(part)


def check_class(module, name, registered, config):
    """See that one class or function of config.json, as Keras writes it, is among those of our models."""
    ours = module in OUR_MODULES and name in OUR_CLASSES and registered == f"vae_mnist>{name}"
    function = name == registered == "function" and module == "builtins" and config in OUR_FUNCTIONS
    if not (ours or function or (module, name, registered) in KERAS_CLASSES):
        raise NotOursError(f"it names {str(module)[:40]}.{str(name)[:40]}, which is not part of one")
    if name == "DTypePolicy" and config != {"name": "float32"}:
        raise NotOursError("its numbers are not float32")


def describe(model):
    """What a Functional config computes: {layer: (what it is, its own, [(layer before, output), ...])}.

    A layer's own is what decides its output beside the weights: of a half of the VAE, its layers in turn.
    """
    if model["class_name"] != "Functional":
        raise NotOursError("its network is another")
    layers = {}
    for layer in model["config"]["layers"]:
        name, config = layer["config"]["name"], layer["config"]
        own = None
        if layer["class_name"] == "Dense":
            own = (config["units"], config["activation"], config["use_bias"])
        elif layer["class_name"] == "InputLayer":
            own = tuple(config["batch_shape"])
        elif layer["class_name"] == "Lambda":
            own = (config["function"]["config"], list(config["arguments"]))
        elif layer["class_name"] == "Functional":
            own = describe(layer)
        options = [value for node in layer["inbound_nodes"] for value in node["kwargs"].values()]
        if name in layers or layer["name"] != name or layer.get("compile_config") or any(options):
            raise NotOursError("its network is another")
        layers[name] = (layer["class_name"], own, sources([node["args"] for node in layer["inbound_nodes"]]))
    layers["output"] = sources(model["config"]["output_layers"])
    return layers


def sources(nested):
    """The outputs of layers that are named in a part of a Functional config: [(layer, which of its outputs), ...]."""
    if isinstance(nested, dict):
        return sources(list(nested.values()))
    if not isinstance(nested, list):
        return []
    if len(nested) == 3 and isinstance(nested[0], str):  # [layer, which of its calls, which output]
        return [(nested[0], nested[2])]
    return [source for part in nested for source in sources(part)]


def the_vae(latent_dim, hidden_dim, noisy):
    """What `describe` says of a VAE that build_vae made, with or without the noise on its input."""

    def dense(units, activation, before):
        return ("Dense", (units, activation, True), [(before, 0)])

    encoder = {
        "encoder_x": ("InputLayer", (None, IMAGE_DIM), []),
        "encoder_h": dense(hidden_dim, "relu", "encoder_x"),
        "z_mean": dense(latent_dim, "linear", "encoder_h"),
        "z_log_var": dense(latent_dim, "linear", "encoder_h"),
        "output": [("z_mean", 0), ("z_log_var", 0)],
    }
    decoder = {
        "z": ("InputLayer", (None, latent_dim), []),
        "decoder_h": dense(hidden_dim, "relu", "z"),
        "decoder_output": dense(IMAGE_DIM, "sigmoid", "decoder_h"),
        "output": [("decoder_output", 0)],
    }
    noise = {"noisy_x": ("StochasticBinarisation", None, [("x", 0)])} if noisy else {}
    return {
        "x": ("InputLayer", (None, IMAGE_DIM), []),
        **noise,
        "encoder": ("Functional", encoder, [("noisy_x" if noisy else "x", 0)]),
        "kl_loss": ("AddKLLoss", None, [("encoder", 0), ("encoder", 1)]),
        "z_sample": ("Lambda", ("vae_mnist>sample_latent", ["seed"]), [("kl_loss", 0), ("kl_loss", 1)]),
        "decoder": ("Functional", decoder, [("z_sample", 0)]),
        "output": [("decoder", 0)],
    }


def check_weights(file, latent_dim, hidden_dim):
    """See that an open HDF5 file holds the weights of a VAE of these sizes, all there and all numbers."""
    arrays = {}
    file.visititems(lambda name, item: arrays.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    for array in arrays.values():
        inside = array.external is None and not array.is_virtual and array.id.get_storage_size() == array.nbytes
        if not inside or (array.dtype != np.float32 and array.shape != ()):
            raise NotOursError("its weights are not in it as plain float32 numbers")
    dense = [
        (IMAGE_DIM, hidden_dim),
        *2 * [(hidden_dim, latent_dim)],
        (latent_dim, hidden_dim),
        (hidden_dim, IMAGE_DIM),
    ]
    expected = sorted(shape for kernel in dense for shape in (kernel, kernel[1:]))
    if sorted(array.shape for name, array in arrays.items() if name.startswith("layers/")) != expected:
        raise NotOursError("its weights are not those of its network")
    for name, array in arrays.items():
        limit = WEIGHT_LIMIT if name.startswith("layers/") else np.inf
        if not (np.isfinite(array[()]).all() and np.abs(array[()]).max() <= limit):
            raise NotOursError("its weights are not finite, or far too large")
