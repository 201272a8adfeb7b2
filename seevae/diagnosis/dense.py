"""Whether a network is the one that the explorer can play: dense, with the layers of vae_mnist.py under any names.

    x (784) -> relu -> z_mean, z_log_var;  z -> relu -> 784 sigmoid

Its layers are found in Keras models, or given; either way they must give what the network gives, in numbers.
"""

from itertools import permutations

import keras
import numpy as np
from keras import ops

from seevae.diagnosis import findings
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
    if given is None:
        halves = [keras_layers(function) for function in network.functions.values()]
        tried = [[*first, *second] for first in permutations(halves[0]) for second in permutations(halves[1])]
    elif {*given} != {*LAYERS}:
        raise NotDenseError(f"layers= must hold {', '.join(LAYERS)}")
    else:
        tried = [[given[name] for name in LAYERS]]
    try:
        tried = [[tuple(to_numpy(part).astype("float32") for part in layer) for layer in layers] for layers in tried]
        chained = [layers for layers in tried if chain(layers, network.latent_dim)]
    except (TypeError, ValueError) as error:
        raise NotDenseError("layers= must hold a kernel (in, out) and a bias (out,) each") from error
    if given is not None and not chained:
        shapes = ", ".join(f"{name} {layer[0].shape}" for name, layer in zip(LAYERS, tried[0], strict=True))
        raise NotDenseError(f"the kernels do not chain as (in, out): {shapes}; PyTorch's weights want .T")
    for layers in chained:
        if reproduce(layers, network, x):
            return dict(zip(LAYERS, layers, strict=True))
    raise NotDenseError("its dense layers, with relu between them, do not give what encode and decode give")


def keras_layers(model):
    """(kernel, bias) of all Dense layers of a Keras model. Raises NotDenseError where it has other weights as well."""
    if not isinstance(model, keras.Model):
        raise NotDenseError(f"{SHOWS}; give its layers= where it is no Keras model")
    found = []
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found += keras_layers(layer)
        elif isinstance(layer, keras.layers.Dense):
            bias = np.zeros(layer.units) if layer.bias is None else ops.convert_to_numpy(layer.bias)
            found.append((ops.convert_to_numpy(layer.kernel), bias))
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
    pairs += ((findings.sigmoid(logits), network.decode(z_mean)),)
    return all(np.allclose(ours, theirs, rtol=1e-3, atol=1e-3) for ours, theirs in pairs)
