"""Whether a network is the one that the explorer can play: dense, with the layers of vae_mnist.py under any names.

    x (784) -> relu -> z_mean, z_log_var;  z -> relu -> 784 sigmoid

Its layers are found in Keras models, or given; either way they must give what the network gives, in numbers.
"""

import sys
from collections.abc import Mapping
from itertools import permutations

import numpy as np

from seevae.diagnosis.network import DECODED
from seevae.images import data
from seevae.images.converting import to_numpy

LAYERS = ("encoder_h", "z_mean", "z_log_var", "decoder_h", "decoder_output")
SHOWS = f"it shows a dense network of {data.IMAGE_DIM} pixels, one hidden relu layer on each side, and sigmoid outputs"


class NotDenseError(Exception):
    """Why a network has no explorer, in some words."""


def find(network, given, x):
    """The layers of a network, as given or as its Keras models have them: {name of LAYERS: (kernel, bias)}.

    Raises NotDenseError unless they give what encode and decode give for images x (n, 784), but for rounding.
    """
    if network.pixels != data.IMAGE_DIM:
        raise NotDenseError(f"{SHOWS}, and these images have {network.pixels:,}")
    chained = [layers for layers in candidates(network, given) if chain(layers, network.latent_dim)]
    if given is not None and not chained:
        shapes = ", ".join(str(kernel.shape) for kernel, _ in pairs_in(given)) or "none"
        words = "layers= must hold five layers, a kernel (in, out) and a bias (out,) each, which chain"
        raise NotDenseError(f"{words}: those found are {shapes}; PyTorch's weights want .T")
    for layers in chained:
        if reproduce(layers, network, x):
            return dict(zip(LAYERS, layers, strict=True))
    raise NotDenseError("its dense layers, with relu between them, do not give what encode and decode give")


def candidates(network, given):
    """Lists of layers to try: those given by name, all orders of those given otherwise, or of the Keras models'."""
    if given is None:
        first, second = (keras_layers(function) for function in network.functions.values())
        return [[*one, *two] for one in permutations(first) for two in permutations(second)]
    if isinstance(given, Mapping) and {*given} == {*LAYERS}:
        return [[pair for name in LAYERS for pair in pairs_in(given[name])]]
    return permutations(pairs_in(given)[:6])


def pairs_in(thing):
    """All (kernel, bias) inside nested dicts, lists and tuples, as Flax and PyTorch's state_dict hold them."""
    if isinstance(thing, Mapping):
        if pairs := [*named_pairs(thing)]:
            return pairs
        thing = [*thing.values()]
    elif isinstance(thing, list | tuple) and [getattr(part, "ndim", None) for part in thing] == [2, 1]:
        return [floats(*thing)]
    return [pair for part in thing for pair in pairs_in(part)] if isinstance(thing, list | tuple) else []


def named_pairs(mapping):
    """The pairs of a mapping whose names end in kernel or weight, each with its bias; PyTorch's weights are turned."""
    for name, value in mapping.items():
        last = str(name).split(".")[-1]
        if last in ("kernel", "weight"):
            kernel, bias = floats(value, mapping.get(str(name)[: -len(last)] + "bias"))
            if kernel.ndim == 2 and bias.ndim == 1:
                yield (kernel if last == "kernel" else kernel.T), bias


def floats(kernel, bias):
    try:
        return tuple(to_numpy(part).astype("float32") for part in (kernel, bias))
    except (TypeError, ValueError):
        return np.zeros(0), np.zeros(0)


def keras_layers(model):
    """(kernel, bias) of all Dense layers of a Keras model. Raises NotDenseError where it has other weights as well."""
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model):
        raise NotDenseError(f"{SHOWS}; give its layers= where it is no Keras model")
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += keras_layers(layer)
        elif isinstance(layer, keras.layers.Dense):
            bias = np.zeros(layer.units, "float32") if layer.bias is None else to_numpy(layer.bias)
            found.append((to_numpy(layer.kernel), bias))
        elif layer.weights:
            raise NotDenseError(f"{SHOWS}, and here is a {type(layer).__name__}")
    if len(found) > 3:
        raise NotDenseError(f"{SHOWS}, and here are more layers")
    return found


def chain(layers, latent_dim):
    """Whether layers (kernel, bias) can be those of LAYERS, by their shapes."""
    if len(layers) != len(LAYERS):
        return False
    (encoder_h, _), *_, (decoder_h, _), _ = layers
    pixels, h, h_decoder = data.IMAGE_DIM, encoder_h.shape[-1], decoder_h.shape[-1]
    sizes = ((pixels, h), (h, latent_dim), (h, latent_dim), (latent_dim, h_decoder), (h_decoder, pixels))
    return [(kernel.shape, bias.shape) for kernel, bias in layers] == [(size, size[1:]) for size in sizes]


def reproduce(layers, network, x):
    """Whether layers (kernel, bias) give what encode and decode give for images x (n, 784), but for rounding."""

    def dense(rows, layer):
        return rows @ layer[0] + layer[1]

    encoder_h, to_mean, to_log_var, decoder_h, decoder_output = layers
    h = np.maximum(dense(x, encoder_h), 0)
    z_mean, z_log_var = network.encode(x)
    logits = dense(np.maximum(dense(z_mean, decoder_h), 0), decoder_output)
    pairs = ((dense(h, to_mean), z_mean), (dense(h, to_log_var), z_log_var))
    pairs += ((DECODED["logits"](logits), network.decode(z_mean)),)
    return all(np.allclose(ours, theirs, rtol=1e-3, atol=1e-3) for ours, theirs in pairs)
