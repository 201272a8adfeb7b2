"""What the model really knows: log p(x), the evidence, next to the ELBO that bounds it.

    ELBO  <=  importance-weighted estimate  <=  log p(x)          (the middle one in expectation)

The post's side note 1 says that the gap between the first and the last is KL(q(z|x) || p(z|x)), the distance from
the approximate to the true posterior. With two latents log p(x) can be summed over a grid of z, so that the gap is
a number and not only a letter. All values are natural logarithms, nats per image, for any model of vae_mnist.py's
shape: an encoder that gives z_mean and z_log_var, and a decoder that gives Bernoulli probabilities.

The decodings that are made here would fill the memory, all at once (a grid's, or 100 for each image): they are made
and used block by block on the device, where `predict` would gather them all as NumPy arrays.
"""

import contextlib
import math

import keras
import numpy as np
from keras import ops

LOG_2_PI = math.log(2 * math.pi)


class ResolutionError(Exception):
    """No grid that is tried gives log p(x) as exactly as asked for: the posterior is too narrow, or too far out."""


def evaluate(vae, x, samples=100, seed=0):
    """Both estimates of log p(x) for images x (n, 784): means over the images, nats per image.

    Returns {"importance_weighted", "importance_samples", "exact", "exact_error"}. The last two are None for another
    number of latents than two, and for a model so poor that no grid resolves it: the rest of a run still counts.
    """
    weighted = importance_weighted(vae, x, samples, seed)
    report = {"importance_weighted": float(weighted.mean()), "importance_samples": samples}
    report |= {"exact": None, "exact_error": None}
    decoder = vae.get_layer("decoder")
    if decoder.input_shape[-1] == 2:
        with contextlib.suppress(ResolutionError):
            log_p, change = exact_log_evidence(decoder, x)
            report |= {"exact": float(log_p.mean()), "exact_error": float(change.mean())}
    return report


def batches(x, batch_size=1000):
    """Cut an array (n, ...) into consecutive pieces of at most `batch_size` rows."""
    return [x[start : start + batch_size] for start in range(0, len(x), batch_size)]


def in_batches(function, *arrays):
    """What function(*arrays) gives, (n,) as a NumPy array, computed on 1,000 of their n rows at a time.

    Without a compiler each operation on the way keeps an array of its own: of all rows, they would fill the memory.
    """
    parts = zip(*map(batches, arrays), strict=True)
    return np.concatenate([ops.convert_to_numpy(function(*rows)) for rows in parts])


def bernoulli_log_likelihood(x, x_hat):
    """log p(x|z) of every image under every code: x (n, pixels) in [0, 1], x_hat (m, pixels) -> (n, m), nats.

    The sum over pixels of x log x_hat + (1 - x) log(1 - x_hat), as one matrix product. Probabilities are clipped
    as in the loss (keras.config.epsilon), so that all estimates here and the training loss agree.
    """
    x = ops.convert_to_tensor(x)
    x_hat = ops.clip(x_hat, keras.config.epsilon(), 1 - keras.config.epsilon())
    log_0 = ops.log(1 - x_hat)
    return ops.matmul(x, ops.transpose(ops.log(x_hat) - log_0)) + ops.sum(log_0, axis=-1)


def importance_weighted(vae, x, samples=100, seed=0):
    """Estimate log p(x) of images x (n, 784) as log mean_k p(x, z_k) / q(z_k|x), with z_k drawn from q(z|x).

    Works for any number of samples and any latent size. Returns (n,), nats; in expectation a lower bound that
    rises with `samples`, from the ELBO at one sample to log p(x) (Burda, Grosse & Salakhutdinov,
    "Importance Weighted Autoencoders", arXiv:1509.00519, equation 8).
    """
    encoder, decoder = vae.get_layer("encoder"), vae.get_layer("decoder")
    sample_latent = vae.get_layer("z_sample").function  # the model's own, with a seed of ours
    epsilon_seed = keras.random.SeedGenerator(seed)
    estimates = []
    for batch in batches(x, max(1, 10_000 // samples)):
        images = ops.repeat(ops.convert_to_tensor(batch), samples, axis=0)  # (batch * samples, 784)
        z_mean, z_log_var = (ops.repeat(tensor, samples, axis=0) for tensor in encoder(batch))
        z = sample_latent((z_mean, z_log_var), epsilon_seed)
        losses = in_batches(lambda rows, codes: keras.losses.binary_crossentropy(rows, decoder(codes)), images, z)
        log_likelihood = -x.shape[-1] * ops.convert_to_tensor(losses)
        log_prior = -0.5 * ops.sum(ops.square(z) + LOG_2_PI, axis=-1)
        squares = ops.square(z - z_mean) / ops.exp(z_log_var)
        log_q = -0.5 * ops.sum(squares + z_log_var + LOG_2_PI, axis=-1)
        log_weight = ops.reshape(log_likelihood + log_prior - log_q, (len(batch), samples))
        estimates.append(ops.convert_to_numpy(ops.logsumexp(log_weight, axis=-1)) - math.log(samples))
    return np.concatenate(estimates).astype("float64")


def grid_codes(spacing, half_width, offset=(0.0, 0.0)):
    """The points of a square grid over [-half_width, half_width]^2 as codes (points, 2), moved by `offset`."""
    steps = round(2 * half_width / spacing)
    axis = -half_width + spacing * np.arange(steps + 1)
    z1, z2 = np.meshgrid(axis + offset[0], axis + offset[1])
    return np.stack([z1.ravel(), z2.ravel()], axis=-1).astype("float32")


def log_sum_over(codes, decoder, x, log_likelihood=bernoulli_log_likelihood):
    """log sum_j p(x|z_j) N(z_j; 0, I) over codes z_j (points, 2), for images x (n, pixels). Returns (n,), float64.

    Memory is bounded: 4,096 codes by 1,000 images at a time, whatever the numbers of both.
    """
    total = np.full(len(x), -np.inf)
    for block in batches(codes, 4096):
        log_prior = -0.5 * np.sum(block.astype("float64") ** 2 + LOG_2_PI, axis=-1).astype("float32")
        x_hat = decoder(block)
        log_prior = ops.convert_to_tensor(log_prior)
        sums = [ops.logsumexp(log_likelihood(images, x_hat) + log_prior, axis=-1) for images in batches(x)]
        total = np.logaddexp(total, np.concatenate([ops.convert_to_numpy(part) for part in sums]))
    return total


def exact_log_evidence(decoder, x, tolerance=0.01, log_likelihood=bernoulli_log_likelihood):
    """log p(x) = log of the integral of p(x|z) N(z; 0, I) over both latents, summed over a grid that refines itself.

    decoder: codes (m, 2) -> what log_likelihood(x, output) needs; x: images (n, pixels).
    The grid starts with a spacing of 0.1 over [-6, 6]^2. It is widened until a further ring adds less than a tenth
    of `tolerance` nats, and its spacing is halved until the results change by less than `tolerance`, both in the
    mean over images; a halving keeps the points that there are, and leaves out images that have settled.
    Returns (log_p, change), each (n,), nats: the result, and what the last halving changed, an upper estimate of
    the grid's error. Raises ValueError for another number of latents than two, and ResolutionError where a spacing of
    0.00625 is too coarse or a half-width of 30 too narrow.
    """
    if getattr(decoder, "input_shape", (None, 2))[-1] != 2:
        raise ValueError("The exact evidence needs two latents: use importance_weighted for any other number.")
    spacing, half_width, ring = 0.1, 6.0, 2.0
    total = log_sum_over(grid_codes(spacing, half_width), decoder, x, log_likelihood)
    grown = np.inf
    while grown >= tolerance / 10:
        codes = grid_codes(spacing, half_width + ring)
        outside = codes[np.abs(codes).max(axis=1) > half_width + spacing / 2]
        wider = np.logaddexp(total, log_sum_over(outside, decoder, x, log_likelihood))
        grown, total = (wider - total).mean(), wider
        if grown >= tolerance / 10:
            half_width += ring
        if half_width > 30:
            raise ResolutionError(f"log p(x) does not settle to {tolerance} nats: there are codes further out than 30.")
    log_p = total + 2 * math.log(spacing)
    change = np.full(len(x), np.inf)
    while change.mean() >= tolerance:
        unsettled = np.flatnonzero(change >= tolerance)
        spacing /= 2
        if spacing < 0.00625:
            raise ResolutionError(f"A grid of spacing {2 * spacing} does not give log p(x) to {tolerance} nats.")
        for offset in ((spacing, 0.0), (0.0, spacing), (spacing, spacing)):
            codes = grid_codes(2 * spacing, half_width, offset)
            new = log_sum_over(codes, decoder, x[unsettled], log_likelihood)
            total[unsettled] = np.logaddexp(total[unsettled], new)
        refined = total[unsettled] + 2 * math.log(spacing)
        change[unsettled] = np.abs(refined - log_p[unsettled])
        log_p[unsettled] = refined
    return log_p, change
