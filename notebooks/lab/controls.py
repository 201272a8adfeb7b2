"""Controls: what else does what the post claims for the VAE, and the halves of the VAE apart."""

import functools
import math
import string

import keras
import numpy as np
from keras import ops

import vae_mnist
from lab.measures import decode, encode
from lab.models import DEFAULT, few, fit
from seevae.results import evidence
from seevae.training.initial_weights import spread_weights
from seevae.training.input_noise import StochasticBinarisation


class PCA:
    """Principal components of images x (n, 784), as an encoder, a decoder and a Gaussian to draw from: no training."""

    def __init__(self, x, components):
        self.mean = x.mean(axis=0, dtype="float64")
        variances, directions = np.linalg.eigh(np.cov(x.T))  # rising
        self.sigma, self.directions = np.sqrt(variances[-components:]), directions[:, -components:]

    def encode(self, x):
        """Images (n, 784) -> codes (n, components), each with a variance of 1 over the training images."""
        return (x - self.mean) @ self.directions / self.sigma

    def decode(self, z):
        """Codes (n, components) -> grey values (n, 784), which may leave [0, 1]."""
        return self.mean + (z * self.sigma) @ self.directions.T


def mean_alone(q, seed):
    """The code without its draw: z_mean, of q as sample_latent takes it."""
    return q[0]


def digit_judge(dataset, seed=0):
    """A classifier of digits, 784 - 512 relu - 10, trained for 4 epochs on the training digits of a data set.

    Returns a function: images (n, 784) -> the probability of each class, (n, 10).
    """
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Dense(512, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(10, "softmax")]
    judge = keras.Sequential([keras.Input((784,)), *layers])
    judge.compile("adam", "sparse_categorical_crossentropy")
    judge.fit(dataset.x_train, dataset.y_train, batch_size=500, epochs=few(4, 1), verbose=0)
    return functools.partial(judge.predict, batch_size=1000, verbose=0)


def with_few_labels(known, labels, test, truth, number=100, draws=20):
    """The share of `test` (n, d) whose class, truth (n,), is that of most of the 3 nearest of `number` labelled codes.

    These are drawn from `known` (m, d), whose classes are `labels` (m,); the mean over so many draws.
    """
    from sklearn.neighbors import KNeighborsClassifier

    rng = np.random.default_rng(0)
    chosen = [rng.choice(len(known), number, replace=False) for _ in range(draws)]
    return float(np.mean([KNeighborsClassifier(3).fit(known[c], labels[c]).score(test, truth) for c in chosen]))


def capital_letters():
    """The 26 capital letters in Pillow's own font, as light ink on black: (26, 784), float32 in [0, 1]."""
    from PIL import Image, ImageDraw, ImageFont

    pictures, font = [], ImageFont.load_default(22)
    for letter in string.ascii_uppercase:
        picture = Image.new("L", (28, 28))
        ImageDraw.Draw(picture).text((14, 14), letter, fill=255, font=font, anchor="mm")
        pictures.append(np.asarray(picture, "float32").reshape(784) / 255)
    return np.stack(pictures)


def between(start, end, share, on_sphere):
    """The code a share of the way from codes `start` to `end`, both (n, d): on a line, or on a sphere (slerp).

    On a sphere the angle moves evenly, and so does the radius, from that of one code to that of the other.
    """
    if not on_sphere:
        return (1 - share) * start + share * end
    radius_1, radius_2 = (np.linalg.norm(z, axis=-1, keepdims=True) for z in (start, end))
    cosine = np.sum(start * end, axis=-1, keepdims=True) / (radius_1 * radius_2)
    angle = np.arccos(np.clip(cosine, -0.9999, 0.9999))
    unit = np.sin((1 - share) * angle) * start / radius_1 + np.sin(share * angle) * end / radius_2
    return unit / np.sin(angle) * ((1 - share) * radius_1 + share * radius_2)


class AgainstPrior(keras.layers.Layer):
    """Adds log q(z|x) - log p(z) of the drawn z to the loss: a KL by one draw, so that p may be any prior.

    components: of a mixture of axis-aligned Gaussians, which is trained; 0 for N(0, I). Call it with [z_mean,
    z_log_var, z], each (batch, d); it returns z.
    """

    def __init__(self, components, seed=0):
        super().__init__()
        self.components, self.seed = components, seed

    def build(self, shapes):
        """The mixture's weights, means and variances: at the start, means from N(0, I) and a sigma of 0.6."""
        if not self.components:
            return
        shape = (self.components, shapes[0][-1])
        self.means = self.add_weight(shape=shape, initializer=keras.initializers.RandomNormal(0, 1, self.seed))
        self.log_vars = self.add_weight(shape=shape, initializer=keras.initializers.Constant(2 * math.log(0.6)))
        self.logits = self.add_weight(shape=shape[:1], initializer="zeros")

    def log_prior(self, z):
        """log p(z) of codes z (n, d): (n,), nats."""
        if not self.components:
            return -0.5 * ops.sum(ops.square(z) + evidence.LOG_2_PI, axis=-1)
        square = ops.square(z[:, None] - self.means) / ops.exp(self.log_vars)
        each = -0.5 * ops.sum(square + self.log_vars + evidence.LOG_2_PI, axis=-1)  # (n, components)
        return ops.logsumexp(each + ops.log_softmax(self.logits), axis=-1)

    def divergence(self, z_mean, z_log_var, z):
        """log q(z|x) - log p(z): (n,), nats; in the mean over draws, the KL."""
        square = ops.square(z - z_mean) / ops.exp(z_log_var)
        return -0.5 * ops.sum(square + z_log_var + evidence.LOG_2_PI, axis=-1) - self.log_prior(z)

    def call(self, given):
        """Passes z through."""
        self.add_loss(ops.mean(self.divergence(*given)))
        return given[2]


def train_with_prior(x, components, recipe=DEFAULT, seed=0):
    """The VAE with a prior that is trained with it (see AgainstPrior), and that layer."""
    keras.utils.set_random_seed(seed)
    encoder, decoder = vae_mnist.build_encoder(), vae_mnist.build_decoder()
    if recipe.spread_weights:
        spread_weights(encoder, decoder)
    image = keras.Input((vae_mnist.INPUT_SIZE,))
    q = encoder(StochasticBinarisation(seed)(image) if recipe.binarised_input else image)
    draw = keras.layers.Lambda(vae_mnist.sample_latent, arguments={"seed": keras.random.SeedGenerator(seed)})
    prior = AgainstPrior(components, seed)
    model = keras.Model(image, decoder(prior([*q, draw(q)])))
    return fit(model, x, vae_mnist.reconstruction_loss, recipe, seed), prior


def elbo_with_prior(model, prior, x, samples=10, seed=0):
    """The ELBO of images x (n, 784) under a model of train_with_prior, the mean; nats per image."""
    q = [ops.convert_to_tensor(part) for part in encode(model, x)]
    noise, losses = keras.random.SeedGenerator(seed), []
    for _ in range(samples):
        z = vae_mnist.sample_latent(q, noise)
        cost = vae_mnist.reconstruction_loss(x, decode(model, ops.convert_to_numpy(z)))
        losses.append(ops.convert_to_numpy(cost + prior.divergence(*q, z)).mean())
    return -float(np.mean(losses))
