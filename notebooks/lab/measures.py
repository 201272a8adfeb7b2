"""What is measured of models and images; in nats per image, unless another unit is named."""

import math
from typing import NamedTuple

import keras
import numpy as np
from keras import ops

import vae_mnist
from lab.models import SMOKE, few, first
from seevae.results import evidence


def standard_error(values, axis=-1):
    """That of the mean of values along an axis."""
    return np.std(values, axis=axis, ddof=1) / math.sqrt(np.shape(values)[axis])


def encode(model, x):
    """z_mean and z_log_var of images x (n, 784), NumPy float32 (n, latent_dim)."""
    return model.get_layer("encoder").predict(x, batch_size=1000, verbose=0)


def decode(model, z):
    """The pixel probabilities (n, 784) of codes z (n, latent_dim), NumPy float32."""
    return model.get_layer("decoder").predict(np.asarray(z, "float32"), batch_size=1000, verbose=0)


def kl_of(z_mean, z_log_var):
    """KL(N(z_mean, exp(z_log_var)) || N(0, I)) of arrays or tensors (n, latent_dim): NumPy (n,), nats."""
    return evidence.kl_of_latents(z_mean, z_log_var).sum(axis=-1)


def reconstruction(model, x, x_input=None):
    """-log p(x|z) at the z_mean of x_input (by default x itself): NumPy (n,), nats per image."""
    x_hat = decode(model, encode(model, x if x_input is None else x_input)[0])
    return evidence.reconstruction_loss(x, x_hat)


def log_evidence(decoder, x, tolerance=0.02):
    """log p(x) of images x (n, 784) for z from N(0, I): NumPy (n,), nats; all NaN where no grid resolves them."""
    try:
        return evidence.exact_log_evidence(decoder, x, tolerance)[0]
    except evidence.ResolutionError:
        return np.full(len(x), np.nan)


def codes(model, x, seed=0):
    """One draw of z from q(z|x) for each image of x (n, 784): NumPy float32 (n, latent_dim)."""
    z_mean, z_log_var = encode(model, x)
    noise = np.random.default_rng(seed).standard_normal(z_mean.shape, "float32")
    return z_mean + np.exp(z_log_var / 2) * noise


def on_own_codes(decoder, z):
    """A copy of the decoder for which N(0, I) is the Gaussian of codes z (n, latent_dim): their mean and covariance.

    It decodes `standard` as the decoder does mean + standard @ root, with root the Cholesky factor of the covariance:
    an affine map, which goes into the weights of the first layer.
    """
    mean, root = z.mean(axis=0), np.linalg.cholesky(np.cov(z.T)).T
    kernel, bias, *rest = decoder.get_weights()
    copy = vae_mnist.build_decoder(*kernel.shape)
    copy.set_weights([root @ kernel, bias + mean @ kernel, *rest])
    return copy


def classes_from_codes(model, dataset, neighbours=15):
    """The share of held-out images whose class is that of most of the nearest codes of 10,000 training images."""
    from sklearn.neighbors import KNeighborsClassifier

    known = slice(0, 10_000)
    judge = KNeighborsClassifier(neighbours).fit(encode(model, dataset.x_train[known])[0], dataset.y_train[known])
    return float(judge.score(encode(model, dataset.x_test)[0], dataset.y_test))


def terms_of_loss(decoder, x, q, loss=vae_mnist.reconstruction_loss, draws=5):
    """The reconstruction loss by `loss` and the KL loss of images x (n, 784) whose codes are drawn from their q.

    q: z_mean and z_log_var, each (n, latent_dim). Means over images and draws, which are the same at each call.
    """
    q, seed = [ops.convert_to_tensor(np.asarray(part, "float32")) for part in q], keras.random.SeedGenerator(0)
    costs = [loss(x, decoder(vae_mnist.sample_latent(q, seed))) for _ in range(draws)]
    return float(np.mean([ops.convert_to_numpy(cost).mean() for cost in costs])), float(kl_of(*q).mean())


def own_elbo(model, x, loss):
    """The ELBO of images x (n, 784) when the likelihood is that of `loss`; the mean, nats per image."""
    return -sum(terms_of_loss(model.get_layer("decoder"), x, encode(model, x), loss))


ONE_SIGMA, TWO_SIGMA = 1 - math.exp(-0.5), 1 - math.exp(-2)  # 39 % and 86 %: what one and two sigma hold of a Gaussian
AXIS = np.linspace(-5, 5, 101 if SMOKE else 401)  # z1, and z2, of the grid; a spacing of 0.025


class Digits(NamedTuple):
    """What is known of n images under a model: the images, the encoder's q, and log p(x) and ELBO of each."""

    x: np.ndarray  # (n, 784)
    labels: np.ndarray  # (n,)
    q: list  # z_mean and z_log_var, each (n, 2)
    log_p: np.ndarray  # (n,), nats
    elbo: np.ndarray  # (n,), nats; a mean over 100 draws of z
    joints: np.ndarray | None = None  # log p(x, z) on the grid over AXIS: (n, k, k)

    @property
    def gap(self):
        """What the ELBO leaves out of log p(x): (n,), nats."""
        return self.log_p - self.elbo


MEASURED = {}  # by model: the notebooks' sections share it, and any of them may come first


def measured(vae, dataset):
    """The Digits of the first 500 held-out images, measured once for each model."""
    if vae not in MEASURED:
        MEASURED[vae] = measure(vae, *first(dataset.x_test, dataset.y_test))
    return MEASURED[vae]


def measure(vae, x, labels, on_grid=True):
    """The Digits of images x (n, 784) and labels (n,) under a VAE; without `on_grid` their joints are left out."""
    decoder, q = vae.get_layer("decoder"), encode(vae, x)
    joints = log_joint(decoder, x, AXIS, AXIS) if on_grid else None
    return Digits(x, labels, q, log_evidence(decoder, x), elbo_of(decoder, x, *q)[0], joints)


def elbo_of(decoder, x, z_mean, z_log_var, draws=100, seed=0):
    """The ELBO of each image of x (n, 784) under its own q, and the standard error of its draws: two arrays (n,)."""
    q = [np.asarray(part, "float32") for part in (z_mean, z_log_var)]
    losses = evidence.losses_of_draws(decoder, x, *q, few(draws, 10), np.random.default_rng(seed))
    return -losses.mean(axis=0) - kl_of(*q), standard_error(losses, axis=0)


def log_joint(decoder, x, z1, z2, log_likelihood=evidence.bernoulli_log_likelihood):
    """log p(x, z) = log p(x|z) + log p(z) of images x (n, 784) on the grid of z1 (k,) and z2 (m,).

    Returns (n, m, k), float32. log_likelihood as in evidence.exact_log_evidence.
    """
    codes = np.stack(np.meshgrid(z1, z2), axis=-1).reshape(-1, 2).astype("float32")
    parts = []
    for block in evidence.batches(codes, 4096):
        log_prior = -0.5 * np.sum(block**2 + evidence.LOG_2_PI, axis=-1)
        parts.append(log_likelihood(x, decoder(block)) + log_prior)
    return np.concatenate(parts, axis=1).reshape(len(x), len(z2), len(z1))


def masses(joint):
    """The share of p(z|x) in each cell of a grid, from log p(x, z) (m, k): float64, sums to 1."""
    weight = np.exp(joint.astype("float64") - joint.max())
    return weight / weight.sum()


def level_that_holds(mass, share):
    """The height of the contour inside which `share` of the mass lies: the smallest cell that is still inside."""
    falling = np.sort(mass, axis=None)[::-1]
    return falling[np.searchsorted(np.cumsum(falling), share * falling.sum())]


def mean_and_variance(mass, axis):
    """The mean and the variance of a density's mass (k, k) along z1 and z2: two arrays (2,).

    Within a cell the mass is taken as even, which adds spacing^2 / 12 to the variance.
    """
    along = [mass.sum(axis=0) / mass.sum(), mass.sum(axis=1) / mass.sum()]
    mean = np.array([axis @ part for part in along])
    variance = np.array([(axis - m) ** 2 @ part for m, part in zip(mean, along, strict=True)])
    return mean, variance + (axis[1] - axis[0]) ** 2 / 12


def log_gaussian(axis, z_mean, z_log_var):
    """log N(z; z_mean, exp(z_log_var)), both (2,), on a square grid over `axis` (k,): (k, k), float64."""
    parts = [
        -0.5 * ((axis - mean) ** 2 / np.exp(log_var) + log_var + evidence.LOG_2_PI)
        for mean, log_var in zip(np.asarray(z_mean, "float64"), np.asarray(z_log_var, "float64"), strict=True)
    ]
    return parts[1][:, None] + parts[0][None, :]
