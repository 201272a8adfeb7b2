"""What a model really knows: log p(x), the evidence, next to the ELBO that bounds it.

    ELBO  <=  importance-weighted estimate  <=  log p(x)          (the middle one in expectation)

The post's side note 1 says that the gap between the first and the last is KL(q(z|x) || p(z|x)), the distance from
the approximate to the true posterior. With two latents log p(x) can be summed over a grid of z, so that the gap is
a number and not only a letter. All values are natural logarithms, nats per image, for any VAE as two functions:

    encode: x (n, ...) -> z_mean, z_log_var, each (n, latent_dim)
    decode: z (n, latent_dim) -> Bernoulli probabilities (n, pixels)

They may be Keras models, or functions of NumPy arrays that give arrays of any library. All else here is NumPy, and
needs no backend. The decodings that are made (a grid's, or 100 for each image) would fill the memory, all at once:
they are made and used block by block.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from seevae.images.converting import to_numpy

LOG_2_PI = math.log(2 * math.pi)
NOTHING = 30  # nats below the sum, where a part of it is left out
EPSILON = np.float32(1e-7)  # to which probabilities are clipped, as in Keras's crossentropy


class ResolutionError(Exception):
    """No grid that is tried gives log p(x) as exactly as asked for: the posterior is too narrow, or too far out."""


def batches(x: np.ndarray, batch_size: int = 1000) -> list:
    """Cut an array (n, ...) into consecutive pieces of at most `batch_size` rows."""
    return [x[start : start + batch_size] for start in range(0, len(x), batch_size)]


def in_batches(function, *arrays):
    """What function(*arrays) gives, (n, ...) as a NumPy array, computed on 1,000 of their n rows at a time.

    A tuple of arrays, if it gives several. All rows at once would fill the memory.
    """
    parts = [function(*rows) for rows in zip(*map(batches, arrays), strict=True)]
    if isinstance(parts[0], list | tuple):
        return tuple(np.concatenate([*map(to_numpy, each)]) for each in zip(*parts, strict=True))
    return np.concatenate([*map(to_numpy, parts)])


# -- The ELBO ----------------------------------------------------------------------------------------------------------


def log_odds(x_hat):
    """log(x_hat / (1 - x_hat)) and log(1 - x_hat) of probabilities, clipped as in the loss; new arrays."""
    x_hat = np.clip(to_numpy(x_hat), EPSILON, 1 - EPSILON)
    log_0 = np.log(1 - x_hat)  # as exact as log1p but for 2e-8, and four times as fast
    odds = np.log(x_hat)
    odds -= log_0
    return odds, log_0


def reconstruction_loss(x: np.ndarray, x_hat: Any) -> np.ndarray:
    """-log p(x|z) of Bernoulli pixels, x and probabilities x_hat (n, pixels): (n,) float64, nats."""
    terms, log_0 = log_odds(x_hat)
    terms *= x
    terms += log_0
    return -terms.sum(axis=-1, dtype="float64")


def kl_of_latents(z_mean: Any, z_log_var: Any) -> np.ndarray:
    """KL(q(z|x) || N(0, 1)) of each image and latent: (n, latent_dim) float64, nats. Their sum is that of the image."""
    z_mean, z_log_var = (to_numpy(part).astype("float64") for part in (z_mean, z_log_var))
    return 0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var)


def elbo_terms(
    encode: Callable,
    decode: Callable,
    x: np.ndarray,
    samples: int = 10,
    seed: int = 0,
    loss: Callable = reconstruction_loss,
) -> tuple[np.ndarray, np.ndarray]:
    """The two terms of the loss of images x (n, ...), float64, nats: the ELBO is minus their sum.

    Returns the reconstruction loss of so many draws of z (samples, n), and the KL of each latent (n, latent_dim).
    """
    rng, losses, kl = np.random.default_rng(seed), [], []
    for images in batches(x):
        z_mean, z_log_var = (to_numpy(part) for part in encode(images))
        losses.append(losses_of_draws(decode, images, z_mean, z_log_var, samples, rng, loss))
        kl.append(kl_of_latents(z_mean, z_log_var))
    return np.concatenate(losses, axis=1), np.concatenate(kl)


def losses_of_draws(decode, x, z_mean, z_log_var, samples, rng, loss=reconstruction_loss):
    """-log p(x|z) of images x (n, ...), for so many draws of z from q of each: (samples, n) float64, nats."""
    flat, sigma, losses = x.reshape(len(x), -1), np.exp(z_log_var / 2), []
    for _ in range(samples):
        z = z_mean + sigma * rng.standard_normal(z_mean.shape, "float32")
        losses.append(in_batches(lambda rows, codes: loss(rows, decode(codes)), flat, z))
    return np.stack(losses)


def elbo_of(losses, kl):
    """The ELBO and its parts from what elbo_terms gives: means over images, nats.

    Two standard errors: of drawing z (None for one draw), and of the choice of images.
    """
    kl = kl.sum(axis=1)
    loss = {"reconstruction_loss": float(losses.mean()), "kl_loss": float(kl.mean())}
    variance = losses.var(axis=0, ddof=1) / len(losses) if len(losses) > 1 else None
    drawing = None if variance is None else math.sqrt(variance.sum()) / len(kl)
    _, choice = mean_and_error(losses.mean(axis=0) + kl)
    return {"elbo": -sum(loss.values()), **loss, "standard_error": drawing, "standard_error_of_images": choice}


def mean_and_error(values):
    """The mean of one value for each image (n,), and its standard error over the images."""
    return float(values.mean()), float(values.std(ddof=1) / len(values) ** 0.5)


# -- log p(x) ----------------------------------------------------------------------------------------------------------


def log_sum_exp(values: np.ndarray) -> np.ndarray:
    """log of the sum of exp(values) over the last axis, without overflow."""
    top = values.max(axis=-1, keepdims=True)
    return np.log(np.exp(values - top).sum(axis=-1, dtype="float64")) + top[..., 0]


def bernoulli_log_likelihood(x: np.ndarray, x_hat: Any) -> np.ndarray:
    """log p(x|z) of every image under every code: x (n, pixels) in [0, 1], x_hat (m, pixels) -> (n, m), nats.

    The sum over pixels of x log x_hat + (1 - x) log(1 - x_hat), as one matrix product. Probabilities are clipped
    as in the loss, so that all estimates here and the training loss agree.
    """
    odds, log_0 = log_odds(x_hat)
    return x @ odds.T + log_0.sum(axis=-1)


class Likelihood(NamedTuple):
    """What decode's output says of pixels. loss(x, output): -log p(x|z) of each, (n,); pairs(x, output): log p(x|z) of
    every image under every code, (n, m); sigma: that of a Gaussian."""

    name: str
    loss: Callable
    pairs: Callable
    sigma: float | None = None


BERNOULLI = Likelihood("bernoulli", reconstruction_loss, bernoulli_log_likelihood)


def gaussian(sigma):
    """The Likelihood of pixels N(mean, sigma^2), with the decoder's output as the mean."""

    def loss(x, mean):
        squares = np.square((x - to_numpy(mean)) / sigma).sum(axis=-1, dtype="float64")
        return 0.5 * squares + x.shape[-1] * (math.log(sigma) + 0.5 * LOG_2_PI)

    def pairs(x, mean):
        mean = to_numpy(mean)
        squares = (x**2).sum(axis=1)[:, None] + (mean**2).sum(axis=1) - 2 * x @ mean.T
        return -0.5 * squares / sigma**2 - x.shape[-1] * (math.log(sigma) + 0.5 * LOG_2_PI)

    return Likelihood("gaussian", loss, pairs, sigma)


def evaluate(
    encode: Callable,
    decode: Callable,
    x: np.ndarray,
    samples: int = 100,
    seed: int = 0,
    likelihood: Likelihood = BERNOULLI,
) -> dict:
    """Both estimates of log p(x) for images x (n, ...): means over the images, nats per image.

    Returns {"importance_weighted", "importance_samples", "exact", "exact_error"}. The last two are None for another
    number of latents than two, and for a model so poor that no grid resolves it: the rest of a run still counts.
    """
    weighted = importance_weighted(encode, decode, x, samples, seed, likelihood.loss)
    report: dict = {"importance_weighted": float(weighted.mean()), "importance_samples": samples}
    report |= {"exact": None, "exact_error": None}
    if in_batches(encode, x[:1])[0].shape[-1] == 2:
        with contextlib.suppress(ResolutionError):
            flat = x.reshape(len(x), -1)
            log_p, change = exact_log_evidence(decode, flat, log_likelihood=likelihood.pairs)
            report |= {"exact": float(log_p.mean()), "exact_error": float(change.mean())}
    return report


def importance_weighted(
    encode: Callable,
    decode: Callable,
    x: np.ndarray,
    samples: int = 100,
    seed: int = 0,
    loss: Callable = reconstruction_loss,
) -> np.ndarray:
    """Estimate log p(x) of images x (n, ...) as log mean_k p(x, z_k) / q(z_k|x), with z_k drawn from q(z|x).

    Works for any number of samples and any latent size. Returns (n,), nats; in expectation a lower bound that
    rises with `samples`, from the ELBO at one sample to log p(x) (Burda, Grosse & Salakhutdinov,
    "Importance Weighted Autoencoders", arXiv:1509.00519, equation 8).
    """
    rng, estimates = np.random.default_rng(seed), []
    for batch in batches(x, max(1, 10_000 // samples)):
        q = (np.repeat(to_numpy(part), samples, axis=0) for part in encode(batch))
        z_mean, z_log_var = q  # each (batch * samples, latent_dim)
        epsilon = rng.standard_normal(z_mean.shape, "float32")
        z = z_mean + np.exp(z_log_var / 2) * epsilon
        images = np.repeat(batch.reshape(len(batch), -1), samples, axis=0)  # (batch * samples, pixels)
        losses = in_batches(lambda rows, codes: loss(rows, decode(codes)), images, z)
        log_prior = -0.5 * (z.astype("float64") ** 2 + LOG_2_PI).sum(axis=-1)
        log_q = -0.5 * (epsilon.astype("float64") ** 2 + z_log_var + LOG_2_PI).sum(axis=-1)
        log_weight = (log_prior - losses - log_q).reshape(len(batch), samples)
        estimates.append(log_sum_exp(log_weight) - math.log(samples))
    return np.concatenate(estimates)


def squares(start, stop, spacing):
    """The points of a square grid over [start, stop)^2: (points, 2)."""
    axis = start + spacing * np.arange(round((stop - start) / spacing))
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


def tile_sums(
    corners: np.ndarray, points: np.ndarray, decode: Callable, x: np.ndarray, log_likelihood: Callable
) -> np.ndarray:
    """log sum_j p(x|z_j) N(z_j; 0, I) over the points of each tile, (tiles, 2) + (points, 2), for images x (n, pixels).

    Returns (n, tiles), float64. Memory is bounded: 4,096 codes by 1,000 images at a time, whatever the numbers of both.
    """
    sums = np.full((len(x), len(corners)), -np.inf)
    for some in batches(points, 4096):
        at_once = 4096 // len(some)
        for first in range(0, len(corners), at_once):
            codes = (corners[first : first + at_once, None] + some).reshape(-1, 2).astype("float32")
            log_prior = -0.5 * np.sum(codes.astype("float64") ** 2 + LOG_2_PI, axis=-1).astype("float32")
            x_hat = decode(codes)
            for start in range(0, len(x), 1000):
                each = to_numpy(log_likelihood(x[start : start + 1000], x_hat)) + log_prior
                part = sums[start : start + 1000, first : first + at_once]
                part[:] = np.logaddexp(part, log_sum_exp(each.reshape(*part.shape, len(some))))
    return sums


def exact_log_evidence(
    decode: Callable, x: np.ndarray, tolerance: float = 0.01, log_likelihood: Callable = bernoulli_log_likelihood
) -> tuple[np.ndarray, np.ndarray]:
    """log p(x) = log of the integral of p(x|z) N(z; 0, I) over both latents, summed over a grid that refines itself.

    decode: codes (m, 2) -> what log_likelihood(x, output) needs; x: images (n, pixels).
    The grid starts with a spacing of 0.1 over [-5, 5]^2. It is widened by rings of 1 until one adds less than a tenth
    of `tolerance` nats, and its spacing is halved until the results change by less than `tolerance`, both in the
    mean over images. A halving keeps the points that there are, leaves out images that have settled, and tiles of
    1 by 1 that hold less than exp(-30) of the sum of each image.
    Returns (log_p, change), each (n,), nats: the result, and what the last halving changed, an upper estimate of
    the grid's error. Raises ValueError for another number of latents than two, and ResolutionError where a spacing of
    0.00625 is too coarse or a half-width of 30 too narrow.
    """
    if getattr(decode, "input_shape", (None, 2))[-1] != 2:
        raise ValueError("The exact evidence needs two latents: use importance_weighted for any other number.")
    spacing, half_width, grown = 0.1, 5, np.inf
    corners, points = squares(-half_width, half_width, 1), squares(0, 1, spacing)
    sums = tile_sums(corners, points, decode, x, log_likelihood)
    while grown >= tolerance / 10:
        half_width += 1
        if half_width > 30:
            raise ResolutionError(f"log p(x) does not settle to {tolerance} nats: there are codes further out than 30.")
        ring = squares(-half_width, half_width, 1)
        ring = ring[np.abs(ring + 0.5).max(axis=1) > half_width - 1]
        wider = np.concatenate([sums, tile_sums(ring, points, decode, x, log_likelihood)], axis=1)
        grown = (log_sum_exp(wider) - log_sum_exp(sums)).mean()
        corners, sums = np.concatenate([corners, ring]), wider
    log_p = log_sum_exp(sums) + 2 * math.log(spacing)
    change, rows = np.full(len(x), np.inf), np.arange(len(x))
    while change.mean() >= tolerance:
        unsettled = change[rows] >= tolerance
        rows, sums = rows[unsettled], sums[unsettled]
        holds = (sums > log_sum_exp(sums)[:, None] - NOTHING).any(axis=0)
        corners, sums, spacing = corners[holds], sums[:, holds], spacing / 2
        if spacing < 0.00625:
            raise ResolutionError(f"A grid of spacing {2 * spacing} does not give log p(x) to {tolerance} nats.")
        between = [points + spacing * np.array(step) for step in ((1, 0), (0, 1), (1, 1))]
        new = tile_sums(corners, np.concatenate(between), decode, x[rows], log_likelihood)
        points, sums = np.concatenate([points, *between]), np.logaddexp(sums, new)
        refined = log_sum_exp(sums) + 2 * math.log(spacing)
        change[rows] = np.abs(refined - log_p[rows])
        log_p[rows] = refined
    return log_p, change


def numbers(record):
    """The held-out ELBO of a record and its parts, and the evidence: a line each, in a list."""
    held_out, known = record["held_out"], record["evidence"]
    lines = [
        f"Held-out ELBO {held_out['elbo']:.2f} nats per image"
        f" = -(reconstruction loss {held_out['reconstruction_loss']:.2f} + KL loss {held_out['kl_loss']:.2f}),"
        f" {record['dataset']}" + (f"; {record['stopped']}" if record["stopped"] else "")
    ]
    if known:
        line = f"The first {known['images']:,} of them: ELBO {known['elbo']:.2f}"
        line += f", importance-weighted log p(x) {known['importance_weighted']:.2f}"
        line += f" ({known['importance_samples']} samples)"
        if known["exact"] is not None:
            gap = known["exact"] - known["elbo"]
            line += f", exact log p(x) {known['exact']:.2f}; the gap of {gap:.2f} nats is KL(q(z|x) || p(z|x))"
        lines.append(line)
    return lines
