"""Data and models: those of vae_mnist.py, and the ones that the experiments compare them with.

With VAE_SMOKE set, everything is small and quick, for the tests.
"""

import functools
import json
import math
import os
import warnings

import keras
from keras import ops

import vae_mnist
from lab import ROOT
from seevae.images import data
from seevae.training import optimizers, recipes
from seevae.training.batches import Batches
from seevae.training.callbacks import SeedEachEpoch
from seevae.training.initial_weights import spread_weights
from seevae.training.input_noise import StochasticBinarisation
from seevae.training.optimizers import make_optimizer

SMOKE = "VAE_SMOKE" in os.environ  # the tests' short run: the sample data, one epoch, few images
DEFAULT = recipes.RECIPES["default"]
AUTHOR = recipes.RECIPES["author"]
CLEAN = DEFAULT._replace(binarised_input=False)  # no noise on the input
FEW_STEPS = 4  # in one call
PLAIN = CLEAN._replace(spread_weights=False)  # and Keras's own initial weights


def load(name=None):
    """The data set `name` (see seevae.images.data), or what VAE_DATA names, or the full MNIST, as a seevae.Dataset.

    When SMOKE, the 5,000-image sample.
    """
    dataset = data.load_data("sample" if SMOKE else name or os.environ.get("VAE_DATA", "mnist"))
    return dataset._replace(x_train=dataset.x_train[:])  # all of them as floats


def few(number, smoke):
    """`number`, or `smoke` in the tests' short run."""
    return min(number, smoke) if SMOKE else number


def default_model():
    """The model of the committed run, `python vae_mnist.py`, so that nothing must be trained first.

    notebooks/default.weights.h5 holds its weights, without its optimizer: vae.save_weights wrote them.
    """
    vae = vae_mnist.build_vae()
    vae.load_weights(ROOT / "notebooks" / "default.weights.h5")
    return vae


def default_history():
    """The losses of each epoch of that run, {name: [nats per image]}, as vae_mnist.train returns them."""
    return json.loads((ROOT / "figures" / "metrics.json").read_text())["history"]


def train_vae(x, recipe=DEFAULT, seed=0, latent_dim=2, x_test=None, callbacks=(), steps_in_a_call=None):
    """A VAE trained on images x (n, 784) float32 in [0, 1], and its history (see vae_mnist.train).

    `steps_in_a_call`: after how many steps the callbacks are called.
    """
    keras.utils.set_random_seed(seed)
    recipe = recipe._replace(epochs=few(recipe.epochs, 2))
    vae = vae_mnist.build_vae(recipe, latent_dim=latent_dim, seed=seed)
    vae_mnist.compile_vae(vae, recipe, len(x))
    vae.steps_per_execution = min(steps_in_a_call or FEW_STEPS, vae.steps_per_execution)  # 1 on PyTorch
    return vae, vae_mnist.train(vae, x, x_test, recipe, seed, verbose=0, callbacks=callbacks)


def train_autoencoder(x, recipe=PLAIN, seed=0, noise=None, latent_dim=2):
    """The VAE's network without its sample and its KL divergence, trained to give back images x (n, 784).

    `noise`: a Keras layer before the encoder that is active in training only. Returns a model with the layers
    `encoder` and `decoder`, as a VAE has them; the encoder's z_log_var is left untrained.
    """
    keras.utils.set_random_seed(seed)
    encoder, decoder = vae_mnist.build_encoder(latent_dim), vae_mnist.build_decoder(latent_dim)
    if recipe.spread_weights:
        spread_weights(encoder, decoder)
    image = keras.Input((vae_mnist.INPUT_SIZE,))
    z_mean, _ = encoder(noise(image) if noise else image)
    autoencoder = keras.Model(image, decoder(z_mean), name="autoencoder")
    return fit(autoencoder, x, vae_mnist.reconstruction_loss, recipe, seed)


class AddWeightedKLLoss(vae_mnist.AddKLLoss):
    """AddKLLoss with the KL divergence `beta` times as heavy (beta-VAE: Higgins et al., 2017)."""

    def __init__(self, beta):
        super().__init__()
        self.beta = beta

    def call(self, q):
        self.add_loss(self.beta * ops.mean(vae_mnist.kl_divergence(*q)))
        return q


def variant(sample=vae_mnist.sample_latent, beta=1, recipe=DEFAULT, latent_dim=2, seed=0, scale=1, encoder_units=256):
    """The VAE of vae_mnist with one part changed, not trained.

    What can be changed: how z is drawn (`sample`, like sample_latent), the weight `beta` of the KL divergence in the
    loss (0 leaves it out), the `scale` of the pixels that the encoder gets, and its hidden units.
    """
    keras.utils.set_random_seed(seed)
    encoder, decoder = vae_mnist.build_encoder(latent_dim, encoder_units), vae_mnist.build_decoder(latent_dim)
    if recipe.spread_weights:
        spread_weights(encoder, decoder)
    x = keras.Input((vae_mnist.INPUT_SIZE,))
    noisy_x = StochasticBinarisation(seed)(x) if recipe.binarised_input else x
    q = encoder(keras.layers.Rescaling(scale)(noisy_x) if scale != 1 else noisy_x)
    if beta:
        q = AddWeightedKLLoss(beta)(q)
    epsilon_seed = keras.random.SeedGenerator(seed)
    draw = keras.layers.Lambda(sample, arguments={"seed": epsilon_seed}, output_shape=(latent_dim,), name="z_sample")
    return keras.Model(x, decoder(draw(q)))


def compile_options(steps):
    """optimizers.compile_options, with few steps in a call: these trainings are short, and JAX compiles each of them.

    Nothing in the tests' short run, where compiling would take longest.
    """
    if SMOKE:
        return {}
    options = optimizers.compile_options(steps)
    return options | {"steps_per_execution": min(FEW_STEPS, options["steps_per_execution"])}


def fit(model, x, loss, recipe, seed=0):
    """Train a model to give back images x (n, 784) by a loss of its own, with the recipe's optimizer; returns it.

    The seed decides the order of the batches and all noise, as in vae_mnist.train. `model.history` then has the loss of
    each epoch, as Keras leaves it there.
    """
    epochs, steps = few(recipe.epochs, 2), math.ceil(len(x) / recipe.batch_size)
    optimizer = make_optimizer(recipe, steps * epochs)
    model.compile(optimizer, loss, **compile_options(steps))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradients do not exist")  # a part may be cut off on purpose
        batches = Batches(x, recipe.batch_size, seed)
        anew = SeedEachEpoch(batches, seed)
        model.fit(batches, shuffle=False, epochs=epochs, callbacks=[anew], verbose=0)
    return model


def new_encoder(decoder, x, recipe, seed=0, start=None, encoder_units=256):
    """A VAE around a decoder that stays as it is, with an encoder trained by the ELBO on images x (n, 784).

    Importance weighting needs a q that knows the posterior; a model trained without the KL divergence has none.
    `start`: an encoder whose weights are the first ones.
    """
    vae = variant(recipe=recipe, latent_dim=decoder.input_shape[-1], seed=seed, encoder_units=encoder_units)
    if start:
        vae.get_layer("encoder").set_weights(start.get_weights())
    vae.get_layer("decoder").set_weights(decoder.get_weights())
    vae.get_layer("decoder").trainable = False
    vae_mnist.compile_vae(vae, recipe, len(x))
    vae_mnist.train(vae, x, None, recipe._replace(epochs=few(recipe.epochs, 1)), seed, verbose=0)
    return vae


@functools.cache
def gaussian_loss(variance):
    """-log N(x; x_hat, variance * I) of images (n, 784): the squared error as a log-likelihood, nats per image."""

    def loss(x, x_hat):
        square = ops.sum(ops.square(ops.subtract(x, x_hat)), axis=-1)
        return 0.5 * (square / variance + x.shape[-1] * math.log(2 * math.pi * variance))

    return loss


def first(x, labels):
    """The first 500 images and labels of a set."""
    return x[: few(500, 20)], labels[: few(500, 20)]
