"""Section 9 of the first notebook: bugs, made on purpose."""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

import vae_mnist
from lab.drawing import BLUE, GREY, plot_plane
from lab.measures import encode, terms_of_loss
from lab.models import DEFAULT, fit, variant
from seevae.results import pictures

EPOCHS = 10


def noise_too_small(q, seed):
    """A bug: the noise is a hundred times too small."""
    return q[0] + 0.01 * (vae_mnist.sample_latent(q, seed) - q[0])


def log_var_as_sigma(q, seed):
    """A bug: z_log_var is taken for the standard deviation."""
    return q[0] + q[1] * keras.random.normal(ops.shape(q[0]), seed=seed)


def noise_repeated(q, seed):
    """A bug: a whole number as the seed, which gives the same noise at each call."""
    return q[0] + ops.exp(q[1] / 2) * keras.random.normal(ops.shape(q[0]), seed=1)


def mean_crossentropy(x, x_hat):
    """A bug: the mean over pixels, without the 784."""
    return keras.losses.binary_crossentropy(x, x_hat)


def squared_error(x, x_hat):
    """A bug: the sum of squared errors, which is a Gaussian likelihood with a variance of 1/2, far too large."""
    return vae_mnist.INPUT_SIZE * keras.losses.mean_squared_error(x, x_hat)


def sigmoid_twice(x, x_hat):
    """A bug: probabilities are taken for logits. (Of from_logits=True on a sigmoid, Keras warns on TensorFlow.)"""
    return vae_mnist.reconstruction_loss(x, ops.sigmoid(x_hat))


def bytes_as_pixels(x, x_hat):
    """A bug: grey values from 0 to 255. (PyTorch refuses them with an error; here it is NaN there, too.)"""
    if keras.backend.backend() == "torch":
        return ops.sum(x_hat, axis=-1) * float("nan")
    return vae_mnist.reconstruction_loss(255 * x, x_hat)


class Bug(NamedTuple):
    """What differs from the correct network."""

    loss: object = vae_mnist.reconstruction_loss
    sample: object = vae_mnist.sample_latent  # how z is drawn
    beta: float = 1  # the weight of the KL loss
    log_var: object = lambda second: second  # log sigma^2 of the q that z came from, of the encoder's second output
    scale: float = 1  # of the encoder's pixels


BUGS = {
    "no bug": Bug(),
    "no KL": Bug(beta=0),
    "KL with the wrong sign": Bug(beta=-1),
    "KL averaged over latents": Bug(beta=1 / 2),
    "KL summed over the batch": Bug(beta=DEFAULT.batch_size),
    "mean over pixels, not sum": Bug(mean_crossentropy),
    "squared error": Bug(squared_error),
    "sigmoid used twice": Bug(sigmoid_twice),
    "pixels from 0 to 255": Bug(bytes_as_pixels, scale=255),
    "noise times 0.01": Bug(sample=noise_too_small, log_var=lambda log_var: log_var + 2 * np.log(0.01)),
    "z_log_var as sigma": Bug(sample=log_var_as_sigma, log_var=lambda sigma: np.log(np.square(sigma) + 1e-12)),
    "a whole number as the seed": Bug(sample=noise_repeated),
}

SHOWN = ("no bug", "no KL", "KL summed over the batch", "sigmoid used twice", "noise times 0.01", "z_log_var as sigma")


def train_bug(bug, x, seed=0):
    """A VAE with a Bug, trained on images x (n, 784); its `history` has the loss that a learner would see."""
    recipe = DEFAULT._replace(epochs=EPOCHS)
    return fit(variant(bug.sample, bug.beta, recipe, seed=seed, scale=bug.scale), x, bug.loss, recipe, seed)


def rate_bug(bug, model, x, draws=3):
    """What is correct of images x (n, 784) under a model of train_bug, for the q that its decoder got its codes from.

    Returns {"elbo", "reconstruction", "kl"}, means in nats per image, and "sigma", the median of q's.
    """
    z_mean, second = encode(model, bug.scale * x)
    log_var = bug.log_var(second)
    cost, kl = terms_of_loss(model.get_layer("decoder"), x, (z_mean, log_var), draws=draws)
    return {"elbo": -cost - kl, "reconstruction": cost, "kl": kl, "sigma": float(np.median(np.exp(log_var / 2)))}


def plot_losses(models):
    """The training loss that a learner sees, for each {name of a bug: model}, each on a scale of its own."""
    figure = pictures.new_figure(11, 6.4, "What the log of the training shows (each on a scale of its own)")
    for axes, (name, model) in zip(figure.subplots(3, 4).flat, models.items(), strict=True):
        losses = model.history.history["loss"]
        axes.plot(range(1, len(losses) + 1), losses, "o-", color=BLUE if name == "no bug" else GREY, markersize=4)
        if not np.isfinite(losses).any():
            axes.text(0.5, 0.5, "NaN, from the first epoch on", ha="center", va="center", transform=axes.transAxes)
        axes.set_title(name, fontsize=11)
        axes.set_xlim(0.5, len(losses) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.locator_params(nbins=4)
        axes.grid(alpha=0.3)
    figure.supxlabel("epoch", fontsize=11)
    figure.supylabel("training loss, as the log gives it", fontsize=11)
    return figure


def plot_bugs(models, dataset):
    """The codes of held-out digits, and the manifold, for SHOWN of {name of a bug: model}."""
    caption = f"{dataset.name}, held out; left: z_mean, dashed: N(0, I), on axes of +-3.5; right: the manifold"
    figure = pictures.new_figure(11, 10.5, "What five of the bugs do to the plane and to the manifold", caption)
    for part, name in zip(figure.subfigures(3, 2).flat, SHOWN, strict=True):
        part.suptitle(name, fontsize=14)
        plot_plane(part.subplots(1, 2), models[name], dataset, scale=BUGS[name].scale)
    return figure
