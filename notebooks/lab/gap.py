"""Section 1 of the side notes: log p(x), the ELBO, and the gap between them."""

import math

import keras
import numpy as np
from keras import ops

from lab.drawing import BLUE, GREY, ORANGE, RED, by_case, number, table
from lab.measures import AXIS, encode, log_evidence, log_gaussian, masses, measure, standard_error
from lab.models import few
from seevae.results import evidence, pictures

MOMENTS = (0, 10, 60, 300, 600, 1800, 6000, 18000)  # steps; 600 are an epoch of MNIST


class Moments(keras.callbacks.Callback):
    """Follows log p(x) and the ELBO of images x (n, 784) through a training: after so many steps, and before the first.

    Afterwards `digits` holds, for each of the MOMENTS, the Digits (without joints).
    """

    def __init__(self, x, labels):
        super().__init__()
        self.x, self.labels, self.digits = x, labels, {}

    def on_train_begin(self, logs=None):
        self.look()

    def on_train_batch_end(self, batch, logs=None):
        self.look()

    def look(self):
        """Measure, where the step is one of MOMENTS."""
        step = int(ops.convert_to_numpy(self.model.optimizer.iterations))
        if step in MOMENTS:
            self.digits[step] = measure(self.model, self.x, self.labels, on_grid=False)


def plot_moments():
    """log p(x) and the ELBO at each of the MOMENTS, by the default recipe, and the gap by both: the record's."""
    caption = "Three seeds, bars: standard errors. 600 steps are an epoch. The start lies below the left picture."
    figure = pictures.new_figure(10, 4.2, "log p(x) and the ELBO while the model trains", caption)
    left, right = figure.subplots(1, 2)
    places = range(len(MOMENTS))
    log_p, elbo = (by_moment("default", key).mean(axis=1) for key in ("log_p", "elbo"))
    left.plot(places, log_p, "o-", color=BLUE, linewidth=2, label="evidence log p(x)")
    left.plot(places, elbo, "s-", color=RED, linewidth=2, label="ELBO")
    left.fill_between(places, elbo, log_p, color=ORANGE, alpha=0.35, label="the gap")
    left.set(ylabel="nats per image", ylim=(-260, -130))
    for recipe, colour, marker in (("default", ORANGE, "o"), ("author", GREY, "^")):
        gap = by_moment(recipe, "gap")
        error = standard_error(gap)
        right.errorbar(
            places,
            gap.mean(axis=1),
            error,
            color=colour,
            fmt=f"{marker}-",
            capsize=4,
            linewidth=2,
            label=f"{recipe} recipe",
        )
    right.set(ylabel="gap, nats per image (logarithmic scale)", yscale="log")
    right.set_yticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
    right.minorticks_off()
    for axes in (left, right):
        axes.set_xticks(places, [f"{step:,}" for step in MOMENTS])
        axes.set_xlabel("steps")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=11)
    return figure


def by_moment(recipe, key):
    """A value of the recorded experiment "gap" by a recipe, for each of the MOMENTS and each seed: (moments, seeds)."""
    return np.stack([*by_case("gap", "steps", key, recipe=recipe).values()])


def divergences(joint, axis, z_mean, z_log_var):
    """KL(q || p(z|x)) and KL(p(z|x) || q) as sums over the grid, from log p(x, z) (k, k) and a Gaussian q; nats."""
    cell = (axis[1] - axis[0]) ** 2
    log_q, p = log_gaussian(axis, z_mean, z_log_var), masses(joint)
    log_p = joint - joint.max() - math.log(np.exp(joint.astype("float64") - joint.max()).sum() * cell)
    q = np.exp(log_q) * cell
    return float(np.sum(q * (log_q - log_p))), float(np.sum(p * (log_p - log_q)))


def log_weights(vae, image, draws, seed=0):
    """log w = log p(x, z) - log q(z|x) of one image (pixels,), for draws of z from q: float64 (draws,).

    The mean of log w is the ELBO, and the logarithm of the mean of w estimates log p(x) (AEVB, section 2.2).
    """
    z_mean, z_log_var = (part[0].astype("float64") for part in encode(vae, image[None]))
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(seed).standard_normal((draws, 2))
    log_likelihood = [
        evidence.bernoulli_log_likelihood(image[None], vae.get_layer("decoder")(block))[0]
        for block in evidence.batches(z.astype("float32"), 4096)
    ]
    log_prior = -0.5 * np.sum(z**2 + evidence.LOG_2_PI, axis=-1)
    log_q = -0.5 * np.sum((z - z_mean) ** 2 / np.exp(z_log_var) + z_log_var + evidence.LOG_2_PI, axis=-1)
    return np.concatenate(log_likelihood).astype("float64") + log_prior - log_q


def jensen(log_w):
    """The mean of log w, and the logarithm of the mean of w, of log w (draws,): each with its standard error."""
    top = log_w.max()
    w = np.exp(log_w - top)
    error = standard_error(w) / w.mean()  # of a logarithm: the relative error
    return (log_w.mean(), standard_error(log_w)), (math.log(w.mean()) + top, error)


def identity_table(vae, digits, kinds=(0, 1, 2, 4, 5, 8), draws=20_000):
    """Show log p(x) - ELBO beside KL(q || p(z|x)), a sum over the grid, for the first of the Digits of each kind."""
    chosen = [int(np.flatnonzero(digits.labels == kind)[0]) for kind in kinds if kind in digits.labels]
    log_p = log_evidence(vae.get_layer("decoder"), digits.x[chosen], tolerance=0.002)
    rows = []
    for exact, i in zip(log_p, chosen, strict=True):
        (elbo, error), _ = jensen(log_weights(vae, digits.x[i], few(draws, 500)))
        divergence, _ = divergences(digits.joints[i], AXIS, *(part[i] for part in digits.q))
        left = number(exact, 2), number(elbo, 2), f"{number(exact - elbo, 2)} ± {number(error, 2)}"
        rows.append([f"a {digits.labels[i]}", *left, number(divergence, 2)])
    table(["held-out digit", "log p(x)", "ELBO", "log p(x) − ELBO", "KL(q ‖ true posterior), on the grid"], rows)


def plot_jensen(log_w, log_p):
    """The log w of an image's draws (draws,) as a histogram, with their mean, and the logarithm of the mean of w."""
    (elbo, _), (log_mean, _) = jensen(log_w)
    figure = pictures.new_figure(9, 3.8, "Jensen's step: the mean of the logs lies below the log of the mean")
    axes = figure.add_subplot()
    low, high = np.quantile(log_w, (0.005, 0.9995))
    axes.hist(log_w, np.linspace(low, high, 80), color=GREY, alpha=0.6, label="log w of one draw of z from q")
    axes.axvline(elbo, color=RED, linewidth=3, label="mean of log w: the ELBO")
    axes.axvline(log_mean, color=BLUE, linewidth=4, label="log of the mean of w")
    axes.axvline(log_p, color="black", linewidth=2, linestyle=(0, (2, 2)), label="log p(x), from the grid")
    axes.set(xlabel="log w = log p(x, z) − log q(z|x), nats", ylabel="draws", xlim=(low, high + 0.35 * (high - low)))
    axes.legend(frameon=False, loc="upper right", fontsize=11)
    return figure


def jensen_table(log_w, log_p):
    """Show both sides of Jensen's inequality for an image's log w (draws,), and log p(x) from the grid."""
    names = "mean of log w: the ELBO", "log of the mean of w"
    rows = [[name, f"{number(v, 2)} ± {number(e, 3)}"] for name, (v, e) in zip(names, jensen(log_w), strict=True)]
    table(["one held-out digit", "nats"], [*rows, ["log p(x), from the grid", number(log_p, 2)]])
