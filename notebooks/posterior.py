"""What the notebook of the side notes uses: true posteriors, each digit's own q, two ways to a gradient, pictures.

All values are in nats. A density on a grid is an array (k, k), indexed [z2, z1], over one axis (k,) for z1 and z2.
A Gaussian q is a pair z_mean, z_log_var, each (2,) or, for n images, (n, 2).
"""

import io
import math
import time
from typing import NamedTuple

import lab  # before the rest: it makes the script importable
import numpy as np
import PIL.Image
from lab import keras, ops
from matplotlib import patches
from scipy import ndimage, optimize

import vae_mnist
from parts import evidence, learning, pictures
from parts.data import IMAGE_SHAPE

BLUE, ORANGE, GREY, RED = lab.BLUE, lab.ORANGE, lab.GREY, lab.RED
LIGHT = "#c9ccd1"
ONE_SIGMA, TWO_SIGMA = 1 - math.exp(-0.5), 1 - math.exp(-2)  # 39 % and 86 %: what one and two sigma hold of a Gaussian
AXIS = np.linspace(-5, 5, 101 if lab.SMOKE else 401)  # z1, and z2, of the grid; a spacing of 0.025


# ---------------------------------------------------------------------------------------------------------------
# Numbers as text
# ---------------------------------------------------------------------------------------------------------------


def number(value, digits=1):
    """A number with so many decimals, commas between thousands and a true minus sign."""
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def significant(value, figures=2):
    """A number rounded to so many significant figures: 24,743 becomes 25,000."""
    digits = figures - 1 - math.floor(math.log10(abs(value)))
    return number(round(value, digits), max(0, digits))


def percent(share, error=None, digits=0):
    """A share as "12 %" or "12 ± 3 %"."""
    return number(100 * share, digits) + ("" if error is None else f" ± {number(100 * error, digits)}") + " %"


def mean_error(values, digits=1):
    """The mean of values (n,) and its standard error, as "5.6 ± 0.5"."""
    return f"{number(np.mean(values), digits)} ± {number(np.std(values, ddof=1) / math.sqrt(len(values)), digits)}"


def share_error(part, whole, draws=2000, seed=0):
    """sum(part) / sum(whole), both (n,), and its standard error by the bootstrap: images drawn with replacement."""
    chosen = np.random.default_rng(seed).integers(len(part), size=(draws, len(part)))
    return part.sum() / whole.sum(), float((part[chosen].sum(axis=1) / whole[chosen].sum(axis=1)).std(ddof=1))


def table_of_runs(experiment, by, columns):
    """lab.recorded_table in the words of this notebook: "held out", not "test", and yes or no, not True or False.

    A column may be a difference, "a - b".
    """
    words, groups = {"test": "held out", True: "yes", False: "no"}, {}
    for run in lab.recorded(experiment):
        groups.setdefault(tuple(run[key] for key in by), []).append(run)
    rows = []
    for group, runs in groups.items():
        names = [words.get(part, part) if isinstance(part, bool | str) else part for part in group]
        rows.append([*names, *(lab.over_seeds([difference(run, column) for run in runs]) for column in columns)])
    lab.table([*by.values(), *columns.values()], rows)


def difference(run, column):
    """The value "a", or the difference of the values "a - b", of a run (see lab.look_up)."""
    first, *others = (lab.look_up(run, key) for key in column.split(" - "))
    return first - others[0] if others else first


# ---------------------------------------------------------------------------------------------------------------
# Evidence, ELBO and gap
# ---------------------------------------------------------------------------------------------------------------


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


def first(x, labels, number=500):
    """The first so many images and labels of a set."""
    return x[: lab.few(number, 20)], labels[: lab.few(number, 20)]


def measure(vae, x, labels, on_grid=True):
    """The Digits of images x (n, 784) and labels (n,) under a VAE; without `on_grid` their joints are left out."""
    decoder, q = vae.get_layer("decoder"), lab.encode(vae, x)
    joints = log_joint(decoder, x, AXIS, AXIS) if on_grid else None
    return Digits(x, labels, q, lab.log_evidence(decoder, x), elbo_of(decoder, x, *q)[0], joints)


def elbo_of(decoder, x, z_mean, z_log_var, draws=100, seed=0):
    """The ELBO of each image of x (n, 784) under its own q, and the standard error of its draws: two arrays (n,)."""
    q = [ops.convert_to_tensor(np.asarray(part, "float32")) for part in (z_mean, z_log_var)]
    epsilon_seed, images, losses = keras.random.SeedGenerator(seed), ops.convert_to_tensor(x), []
    for _ in range(lab.few(draws, 10)):
        x_hat = decoder(vae_mnist.sample_latent(q, epsilon_seed))
        losses.append(ops.convert_to_numpy(vae_mnist.reconstruction_loss(images, x_hat)).astype("float64"))
    elbo = -np.mean(losses, axis=0) - ops.convert_to_numpy(vae_mnist.kl_divergence(*q))
    return elbo, np.std(losses, axis=0, ddof=1) / math.sqrt(len(losses))


class Moments(keras.callbacks.Callback):
    """Follows log p(x) and the ELBO of images x (n, 784) through a training: after some epochs.

    Afterwards `epochs` lists them, and `digits` holds the Digits of each (without joints).
    """

    def __init__(self, x, labels, epochs=(1, 2, 3, 5, 8, 12, 20, 30)):
        super().__init__()
        self.x, self.labels, self.wanted, self.epochs, self.digits = x, labels, epochs, [], []

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 in self.wanted:
            self.epochs.append(epoch + 1)
            self.digits.append(measure(self.model, self.x, self.labels, on_grid=False))


def plot_moments(moments):
    """log p(x) and the ELBO against the epoch, the gap between them shaded; and the gap alone, with standard errors."""
    figure = pictures.new_figure(9, 4.2, "log p(x) and the ELBO while the model trains")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    epochs, gap = moments.epochs, np.stack([digits.gap for digits in moments.digits])
    log_p, elbo = ([getattr(digits, name).mean() for digits in moments.digits] for name in ("log_p", "elbo"))
    left.plot(epochs, log_p, "o-", color=BLUE, linewidth=2, label="evidence log p(x)")
    left.plot(epochs, elbo, "s-", color=RED, linewidth=2, label="ELBO")
    left.fill_between(epochs, elbo, log_p, color=ORANGE, alpha=0.35, label="the gap")
    left.set_ylabel("nats per image")
    error = gap.std(axis=1, ddof=1) / math.sqrt(gap.shape[1])
    right.errorbar(epochs, gap.mean(axis=1), error, color=ORANGE, fmt="o-", capsize=4, linewidth=2, label="mean")
    right.plot(epochs, np.median(gap, axis=1), "^--", color=GREY, linewidth=2, label="median")
    right.set(ylabel="gap, nats per image", ylim=(0, None))
    for axes in (left, right):
        axes.set(xscale="log", xlabel="epoch (logarithmic scale)")
        axes.set_xticks(epochs, [str(epoch) for epoch in epochs])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=11)
    return figure


def moments_table(moments):
    """Show log p(x), ELBO and gap at each moment, and what changed from the first to the last, image by image."""
    first, last = moments.digits[0], moments.digits[-1]
    now = [(digits.log_p, digits.elbo, digits.gap) for digits in moments.digits]
    now.append((last.log_p - first.log_p, last.elbo - first.elbo, last.gap - first.gap))
    rows = [
        [epoch, *map(mean_error, values), number(np.median(values[-1]))]
        for epoch, values in zip([*moments.epochs, "change"], now, strict=True)
    ]
    lab.table(["epoch", "log p(x)", "ELBO", "gap, mean", "gap, median"], rows)


# ---------------------------------------------------------------------------------------------------------------
# The true posterior on a grid
# ---------------------------------------------------------------------------------------------------------------


def log_joint(decoder, x, z1, z2, log_likelihood=evidence.bernoulli_log_likelihood):
    """log p(x, z) = log p(x|z) + log p(z) of images x (n, 784) on the grid of z1 (k,) and z2 (m,).

    Returns (n, m, k), float32. log_likelihood as in evidence.log_sum_over.
    """
    codes = np.stack(np.meshgrid(z1, z2), axis=-1).reshape(-1, 2).astype("float32")
    parts = []
    for block in evidence.batches(codes, 4096):
        log_prior = -0.5 * np.sum(block**2 + evidence.LOG_2_PI, axis=-1)
        parts.append(ops.convert_to_numpy(log_likelihood(x, decoder(block))) + log_prior)
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


def islands(mass, axis, share=TWO_SIGMA, smallest=0.05):
    """The separate pieces of the region that holds `share` of the mass (k, k), heaviest first.

    Pieces touch where cells share a side or a corner; those with less than `smallest` of all mass are left out.
    Returns a list of (mass of the piece, mean (2,), variance (2,)).
    """
    label, count = ndimage.label(mass >= level_that_holds(mass, share), structure=np.ones((3, 3)))
    found = []
    for i in range(1, count + 1):
        piece = np.where(label == i, mass, 0.0)
        if piece.sum() >= smallest:
            found.append((piece.sum(), *mean_and_variance(piece, axis)))
    return sorted(found, key=lambda piece: -piece[0])


def log_gaussian(axis, z_mean, z_log_var):
    """log N(z; z_mean, exp(z_log_var)), both (2,), on a square grid over `axis` (k,): (k, k), float64."""
    parts = [
        -0.5 * ((axis - mean) ** 2 / np.exp(log_var) + log_var + evidence.LOG_2_PI)
        for mean, log_var in zip(np.asarray(z_mean, "float64"), np.asarray(z_log_var, "float64"), strict=True)
    ]
    return parts[1][:, None] + parts[0][None, :]


def divergences(joint, axis, z_mean, z_log_var):
    """KL(q || p(z|x)) and KL(p(z|x) || q) as sums over the grid, from log p(x, z) (k, k) and a Gaussian q; nats."""
    cell = (axis[1] - axis[0]) ** 2
    log_q, p = log_gaussian(axis, z_mean, z_log_var), masses(joint)
    log_p = joint - joint.max() - math.log(np.exp(joint.astype("float64") - joint.max()).sum() * cell)
    q = np.exp(log_q) * cell
    return float(np.sum(q * (log_q - log_p))), float(np.sum(p * (log_p - log_q)))


def mass_within(mass, axis, z_mean, z_log_var, radius=2.0):
    """The share of a density's mass (k, k) inside q's ellipse of so many sigma; q's own would be 86 % for two."""
    parts = [
        (axis - mean) ** 2 / np.exp(log_var)
        for mean, log_var in zip(np.asarray(z_mean, "float64"), np.asarray(z_log_var, "float64"), strict=True)
    ]
    return float(mass[parts[1][:, None] + parts[0][None, :] <= radius**2].sum() / mass.sum())


# ---------------------------------------------------------------------------------------------------------------
# The identity, and Jensen's step
# ---------------------------------------------------------------------------------------------------------------


def log_weights(vae, image, draws, seed=0):
    """log w = log p(x, z) - log q(z|x) of one image (pixels,), for draws of z from q: float64 (draws,).

    The mean of log w is the ELBO, and the logarithm of the mean of w estimates log p(x) (AEVB, section 2.2).
    """
    z_mean, z_log_var = (part[0].astype("float64") for part in lab.encode(vae, image[None]))
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(seed).standard_normal((draws, 2))
    log_likelihood = [
        ops.convert_to_numpy(evidence.bernoulli_log_likelihood(image[None], vae.get_layer("decoder")(block)))[0]
        for block in evidence.batches(z.astype("float32"), 4096)
    ]
    log_prior = -0.5 * np.sum(z**2 + evidence.LOG_2_PI, axis=-1)
    log_q = -0.5 * np.sum((z - z_mean) ** 2 / np.exp(z_log_var) + z_log_var + evidence.LOG_2_PI, axis=-1)
    return np.concatenate(log_likelihood).astype("float64") + log_prior - log_q


def jensen(log_w):
    """The mean of log w, and the logarithm of the mean of w, of log w (draws,): each with its standard error."""
    top = log_w.max()
    w = np.exp(log_w - top)
    error = w.std(ddof=1) / w.mean() / math.sqrt(len(w))  # of a logarithm: the relative error
    return (log_w.mean(), log_w.std(ddof=1) / math.sqrt(len(w))), (math.log(w.mean()) + top, error)


def identity_table(vae, digits, kinds=(0, 1, 2, 4, 5, 8), draws=20_000):
    """Show log p(x) - ELBO beside KL(q || p(z|x)), a sum over the grid, for the first of the Digits of each kind."""
    chosen = [int(np.flatnonzero(digits.labels == kind)[0]) for kind in kinds if kind in digits.labels]
    log_p = lab.log_evidence(vae.get_layer("decoder"), digits.x[chosen], tolerance=0.002)
    rows = []
    for exact, i in zip(log_p, chosen, strict=True):
        (elbo, error), _ = jensen(log_weights(vae, digits.x[i], lab.few(draws, 500)))
        divergence, _ = divergences(digits.joints[i], AXIS, *(part[i] for part in digits.q))
        left = number(exact, 2), number(elbo, 2), f"{number(exact - elbo, 2)} ± {number(error, 2)}"
        rows.append([f"a {digits.labels[i]}", *left, number(divergence, 2)])
    lab.table(["held-out digit", "log p(x)", "ELBO", "log p(x) − ELBO", "KL(q ‖ true posterior), on the grid"], rows)


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
    lab.table(["one held-out digit", "nats"], [*rows, ["log p(x), from the grid", number(log_p, 2)]])


# ---------------------------------------------------------------------------------------------------------------
# Pictures of posteriors
# ---------------------------------------------------------------------------------------------------------------


def draw_posterior(axes, decoder, image, joint, gaussians, equal=True, points=241):
    """The truth as two filled regions, with 86 % and 39 % of p(z|x), and Gaussians as ellipses of 2 and 1 sigma.

    joint (k, k): log p(x, z) of the image (pixels,) on the grid over AXIS, to find the place; it is drawn on a finer
    grid of its own. gaussians: [(z_mean, z_log_var, colour)]. `equal`: one scale for both axes.
    """
    mass = masses(joint)
    corners = [AXIS[np.argwhere(mass >= level_that_holds(mass, TWO_SIGMA))[:, ::-1]]]
    for z_mean, z_log_var, colour in gaussians:
        sigma = np.exp(np.asarray(z_log_var) / 2)
        for size in (2 * sigma, 4 * sigma):  # the diameters of 1 and 2 sigma
            axes.add_patch(patches.Ellipse(z_mean, *size, fill=False, edgecolor=colour, linewidth=2, zorder=3))
        corners.append(np.stack([z_mean - 2 * sigma, z_mean + 2 * sigma]))
    low, high = (getattr(np.concatenate(corners), end)(axis=0) for end in ("min", "max"))
    half = 0.6 * ((high - low).max() * np.ones(2) if equal else high - low) + 0.02
    z1, z2 = (np.linspace(middle - h, middle + h, points) for middle, h in zip((low + high) / 2, half, strict=True))
    mass = masses(log_joint(decoder, image[None], z1, z2)[0])
    levels = [level_that_holds(mass, share) for share in (TWO_SIGMA, ONE_SIGMA)]
    axes.contourf(z1, z2, mass, [*levels, mass.max()], colors=[LIGHT, GREY])
    axes.set(xlim=z1[[0, -1]], ylim=z2[[0, -1]], aspect="equal" if equal else "auto")
    axes.locator_params(nbins=3)


def at_equal_steps(gap, count=8):
    """The images at equal steps of rank, from a small gap to a large one: indices (count,) into gap (n,)."""
    return np.argsort(gap)[np.round(np.linspace(0.02, 0.98, count) * (len(gap) - 1)).astype(int)]


def plot_posteriors(vae, digits):
    """The true posteriors of eight Digits and the encoder's q, from a small gap to a large one."""
    figure = pictures.new_figure(10, 6.3, "The true posterior (grey) and the encoder's q (blue), for eight digits")
    for axes, i in zip(figure.subplots(2, 4).flat, at_equal_steps(digits.gap), strict=True):
        q = [(digits.q[0][i], digits.q[1][i], BLUE)]
        draw_posterior(axes, vae.get_layer("decoder"), digits.x[i], digits.joints[i], q)
        axes.set_title(f"gap {number(max(digits.gap[i], 0))} nats", loc="left", fontsize=12, y=1.02)
        axes.set(xlabel="z1", ylabel="z2")
        inset = axes.inset_axes([0.75, 1.0, 0.25, 0.25])
        inset.imshow(digits.x[i].reshape(IMAGE_SHAPE), cmap="Greys")
        inset.set_axis_off()
    handles = [patches.Patch(color=GREY, label="39 % of the truth"), patches.Patch(color=LIGHT, label="86 % of it")]
    handles.append(patches.Patch(fill=False, edgecolor=BLUE, linewidth=2, label="39 % and 86 % of q (1 and 2 sigma)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=12)
    return figure


def held_by_q(digits):
    """The share of each true posterior inside the 2-sigma ellipse of the encoder's q: (n,)."""
    return np.array([mass_within(masses(joint), AXIS, *q) for joint, *q in zip(digits.joints, *digits.q, strict=True)])


def held_table(digits):
    """Show how much of the gap falls to the Digits whose q holds little of the truth; its errors by the bootstrap."""
    held, gap, rows = held_by_q(digits), digits.gap, []
    for name, low, high in (("less than 1 %", 0, 0.01), ("1 % to 50 %", 0.01, 0.5), ("more than 50 %", 0.5, 1.1)):
        there = (held >= low) & (held < high)
        mean = mean_error(gap[there], 2) if there.sum() > 1 else "–"
        rows.append([name, there.sum(), percent(there.mean()), mean, percent(*share_error(gap * there, gap))])
    header = ["of the truth inside q's ellipse of 2 sigma", "digits", "of all digits", "their gap, nats", "of all gap"]
    lab.table(header, rows)


def keep(figure, dataset, name="side_notes.png"):
    """Write a figure into figures/, for the head of the notebook; not from a short run, or from another data set."""
    if lab.SMOKE or not dataset.full:
        return
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    small = PIL.Image.open(png).convert("RGB").quantize(64, dither=PIL.Image.Dither.NONE)
    small.save(lab.ROOT / "figures" / name, optimize=True)


# ---------------------------------------------------------------------------------------------------------------
# A q of its own for each image
# ---------------------------------------------------------------------------------------------------------------


def compile_options(steps):
    """learning.compile_options; nothing in the tests' short run, where compiling would take longest."""
    return {} if lab.SMOKE else learning.compile_options(steps)


class OwnQ(keras.layers.Layer):
    """A table in place of the encoder: its weights are one z_mean and one z_log_var (n, 2) for each image x (n, 784).

    Called with row numbers (batch,), it returns the loss -ELBO of these images (batch,), with one draw of z each, by
    the same functions as vae_mnist.py.
    """

    def __init__(self, decoder, x, z_mean, z_log_var, seed=0):
        super().__init__()
        self.decoder, self.x = decoder, ops.convert_to_tensor(x)
        self.z_mean = self.add_weight(z_mean.shape, keras.initializers.Constant(z_mean), name="z_mean")
        self.z_log_var = self.add_weight(z_log_var.shape, keras.initializers.Constant(z_log_var), name="z_log_var")
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, rows):
        q = [ops.take(part, rows, axis=0) for part in (self.z_mean, self.z_log_var)]
        x_hat = self.decoder(vae_mnist.sample_latent(q, self.seed_generator))
        return vae_mnist.reconstruction_loss(ops.take(self.x, rows, axis=0), x_hat) + vae_mnist.kl_divergence(*q)


def optimise_q(decoder, x, z_mean, z_log_var, steps=1000, learning_rate=0.02, seed=0):
    """Improve the q of each image of x (n, 784) for that image alone, from a start (n, 2) each, decoder fixed.

    Adam, `steps` of one draw of z each, with a rate that falls linearly to 0. Returns z_mean, z_log_var (n, 2).
    """
    steps, trainable = lab.few(steps, 20), decoder.trainable
    decoder.trainable = False
    table = OwnQ(decoder, x, np.asarray(z_mean, "float32"), np.asarray(z_log_var, "float32"), seed)
    row = keras.Input((), dtype="int32")
    model = keras.Model(row, table(row))
    rate = keras.optimizers.schedules.PolynomialDecay(learning_rate, steps, end_learning_rate=0.0)
    model.compile(keras.optimizers.Adam(rate), lambda _, loss: loss, **compile_options(steps))
    rows = np.tile(np.arange(len(x), dtype="int32"), steps)
    model.fit(rows, rows, batch_size=len(x), shuffle=False, verbose=0)
    decoder.trainable = trainable
    return ops.convert_to_numpy(table.z_mean), ops.convert_to_numpy(table.z_log_var)


def starts_for(digits):
    """Where the search for each digit's q begins: the encoder's q, the truth's moments, and each of its islands.

    Returns digit (m,), z_mean (m, 2), z_log_var (m, 2), with m at least twice the number of Digits.
    """
    found = []
    for i, (joint, *q) in enumerate(zip(digits.joints, *digits.q, strict=True)):
        mass = masses(joint)
        pieces = [piece[1:] for piece in islands(mass, AXIS)]
        places = [mean_and_variance(mass, AXIS), *(pieces if len(pieces) > 1 else [])]
        found += [(i, *q), *((i, mean, np.log(variance)) for mean, variance in places)]
    return (np.array(part) for part in zip(*found, strict=True))


def best_own_q(decoder, digits):
    """The best axis-aligned Gaussian that is found for each of the Digits: z_mean and z_log_var, each (n, 2).

    The best of the starts is judged by other draws than those that measure it later (see split_gap).
    """
    digit, *start = starts_for(digits)
    own = optimise_q(decoder, digits.x[digit], *start)
    elbo, _ = elbo_of(decoder, digits.x[digit], *own, seed=1)
    best = [max(np.flatnonzero(digit == i), key=lambda row: elbo[row]) for i in range(len(digits.x))]
    return own[0][best], own[1][best]


def split_gap(decoder, digits, own, seed=2):
    """The gap of the Digits with the encoder's q, with its width at their own place, and with their own q.

    own: a pair z_mean, z_log_var. Returns {name: gap (n,)}.
    """
    qs = {"own place, the encoder's width": (own[0], digits.q[1]), "own q": own}
    gaps = {name: digits.log_p - elbo_of(decoder, digits.x, *q, seed=seed)[0] for name, q in qs.items()}
    return {"the encoder's q": digits.gap, **gaps}


def split_table(parts):
    """Show the gaps of {digits: split_gap's result}: means with standard errors, and medians."""
    rows = []
    for digits, gaps in parts.items():
        rows += [[digits, name, mean_error(gap, 2), number(np.median(gap), 2)] for name, gap in gaps.items()]
        encoders = gaps["the encoder's q"] - gaps["own q"]
        rows.append([digits, "the encoder's part", mean_error(encoders, 2), number(np.median(encoders), 2)])
    lab.table(["digits", "gap left with", "mean, nats", "median, nats"], rows)


def share_table(parts):
    """Show the encoder's share of the gap, and how much of it is place, for {digits: split_gap's result}."""
    rows = []
    for digits, gaps in parts.items():
        encoder, place, own = gaps.values()
        shares = [percent(*share_error(encoder - part, encoder), digits=1) for part in (own, place)]
        rows.append([digits, *shares])
    lab.table(["digits", "the encoder's share of the gap", "its place alone"], rows)


def plot_split(parts):
    """The gaps of {digits: split_gap's result}, each kind sorted by size, on a logarithmic scale."""
    caption = "Gaps below 0.01 are drawn at 0.01: there the draws of z decide."
    figure = pictures.new_figure(9, 4.4, "What the ELBO leaves out, digit by digit", caption)
    for axes, (digits, gaps) in zip(figure.subplots(1, 2, sharey=True), parts.items(), strict=True):
        share = 100 * (np.arange(len(gaps["own q"])) + 0.5) / len(gaps["own q"])
        for (name, gap), colour, style in zip(gaps.items(), (BLUE, GREY, ORANGE), ("-", "--", "-"), strict=True):
            axes.plot(share, np.maximum(np.sort(gap), 0.01), style, color=colour, linewidth=2.5, label=name)
        axes.set(yscale="log", ylim=(0.01, 200), xlabel="digits, sorted by their gap: %", title=digits)
        axes.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("gap, nats (logarithmic scale)")
    figure.axes[0].legend(frameon=False, loc="upper left", fontsize=11)
    return figure


def price_table(vae, digits, seconds):
    """Show what the search for own q's of the Digits took, `seconds`, beside one pass of the encoder."""
    images, encoder = ops.convert_to_tensor(digits.x), vae.get_layer("encoder")
    encoder(images)
    start = time.perf_counter()
    for _ in range(20):
        encoder(images)
    ratio = seconds / ((time.perf_counter() - start) / 20)
    floor = max((power for power in (1, 10, 100, 1000) if power <= ratio), default=1)
    rows = [["one pass of the encoder", "1"], ["a search of its own", f"more than {floor:,}"]]
    lab.table(["a digit's q by", "time, in passes of the encoder"], rows)


def clocked(function, *arguments):
    """The result of function(*arguments), and the seconds that it took."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start


# ---------------------------------------------------------------------------------------------------------------
# Two ways to a gradient
# ---------------------------------------------------------------------------------------------------------------

ESTIMATORS = ("score function", "score function, baseline", "re-parameterised")


def gradient(function, z):
    """The gradient at z, a tensor, of a function that returns one number, by the backend; the shape of z."""
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(z)
                value = function(z)
            return tape.gradient(value, z)
        case "jax":
            import jax

            return jax.grad(function)(z)
        case "torch":
            z = z.clone().requires_grad_()
            function(z).backward()
            return z.grad
        case other:
            raise ValueError(f"No gradient is known for the backend {other!r}.")


def gradient_draws(decoder, x, z_mean, z_log_var, draws, loss=vae_mnist.reconstruction_loss, seed=0):
    """What one draw of z says about the gradient of E_q[log p(x|z)] by (z_mean, z_log_var), for many draws.

    x (n, 784), z_mean and z_log_var (n, 2); loss (x, x_hat) -> (batch,) is -log p(x|z). Float64 arrays:
    "pathwise" (n, draws, 4), the derivative through z = z_mean + exp(z_log_var / 2) * epsilon; "score" (n, draws, 4),
    the derivative of log q(z|x) with z held fixed; "value" (n, draws), log p(x|z); "radius" (n, draws), |epsilon|.
    """
    rng, results = np.random.default_rng(seed), []
    for image, mean, log_var in zip(x, z_mean.astype("float64"), z_log_var.astype("float64"), strict=True):
        epsilon, sigma = rng.standard_normal((draws, 2)), np.exp(log_var / 2)
        z = ops.convert_to_tensor((mean + sigma * epsilon).astype("float32"))
        images = ops.convert_to_tensor(np.repeat(image[None], draws, axis=0))
        through_z = ops.convert_to_numpy(gradient(lambda z, images=images: -ops.sum(loss(images, decoder(z))), z))
        value = -ops.convert_to_numpy(loss(images, decoder(z))).astype("float64")
        pathwise = np.concatenate([through_z, through_z * sigma * epsilon / 2], axis=-1)
        score = np.concatenate([epsilon / sigma, (epsilon**2 - 1) / 2], axis=-1)
        results.append({"pathwise": pathwise, "score": score, "value": value, "radius": np.hypot(*epsilon.T)})
    return {name: np.stack([result[name] for result in results]) for name in results[0]}


def draws_of(vae, x, images=50, draws=4000):
    """gradient_draws for the first images of x (n, 784), at the q that the VAE's encoder gives them."""
    x = x[: lab.few(images, 3)]
    return gradient_draws(vae.get_layer("decoder"), x, *lab.encode(vae, x), lab.few(draws, 100))


def untrained_vae(seed=1):
    """A VAE of the default recipe before its first step."""
    keras.utils.set_random_seed(seed)
    return vae_mnist.build_vae(lab.DEFAULT, seed=seed)


def estimates(drawn, estimator, group=10):
    """Estimates of the gradient from gradient_draws, each the mean over `group` draws: (n, draws / group, 4).

    The baseline of a draw is the mean log p(x|z) of the other draws of its group, which leaves no bias.
    """
    shape = (*drawn["value"].shape[:1], -1, group)
    if estimator == "re-parameterised":
        return drawn["pathwise"].reshape(*shape, 4).mean(axis=2)
    value = drawn["value"].reshape(shape)
    if estimator == "score function, baseline":
        value = (value - value.mean(axis=2, keepdims=True)) * group / (group - 1)
    elif estimator != "score function":
        raise ValueError(f"No estimator is called {estimator!r}.")
    return (value[..., None] * drawn["score"].reshape(*shape, 4)).mean(axis=2)


def variance_ratios(drawn, estimator, group=10):
    """How many times the variance of the re-parameterised gradient by z_mean an estimator has: (n,), one an image."""
    own, path = (
        estimates(drawn, name, group)[..., :2].var(axis=1, ddof=1).sum(axis=-1) for name in (estimator, ESTIMATORS[2])
    )
    return own / path


def beyond_two_sigma(drawn):
    """The share of the score function's variance by z_mean that draws beyond two sigma carry, over all images.

    Returns it without and with a baseline (the mean of log p(x|z) over the draws), each as (share, standard error).
    """
    far, shares = drawn["radius"] > 2, []
    for baseline in (0.0, drawn["value"].mean(axis=1, keepdims=True)):
        terms = (drawn["value"] - baseline)[..., None] * drawn["score"][..., :2]
        square = ((terms - terms.mean(axis=1, keepdims=True)) ** 2).sum(axis=-1)
        by_image = (square * far).sum(axis=1) / square.sum(axis=1)
        shares.append((by_image.mean(), by_image.std(ddof=1) / math.sqrt(len(by_image))))
    return shares


def ratio_table(models):
    """Show the variance ratios of {name: gradient_draws' result}: median and quartiles over the images."""
    rows = []
    for name, drawn in models.items():
        for estimator in ESTIMATORS[:2]:
            median, low, high = (
                significant(q) for q in np.quantile(variance_ratios(drawn, estimator), (0.5, 0.25, 0.75))
            )
            rows.append([name, estimator, median, f"{low} to {high}"])
    lab.table(["model", "estimator", "times the variance, median", "middle half of the digits"], rows)


def beyond_table(drawn):
    """Show what draws beyond two sigma carry of the score function's variance, without and with a baseline."""
    shares = [percent(*share, digits=1) for share in beyond_two_sigma(drawn)]
    rows = [["of all draws", percent((drawn["radius"] > 2).mean(), digits=1)]]
    rows += [
        [f"of the variance, {name}", share]
        for name, share in zip(("no baseline", "with a baseline"), shares, strict=True)
    ]
    lab.table(["beyond two sigma", "share"], rows)


def plot_gradients(drawn):
    """The estimates of the gradient by z_mean, each from 10 draws, as points, for the image with the median ratio."""
    figure = pictures.new_figure(10, 4.3, "One gradient, estimated again and again: each point is a mean over 10 draws")
    ratios = variance_ratios(drawn, ESTIMATORS[0])
    image, first = np.argsort(ratios)[len(ratios) // 2], None
    centre = drawn["pathwise"][image, :, :2].mean(axis=0)
    for axes, estimator, colour in zip(figure.subplots(1, 3), ESTIMATORS, (RED, ORANGE, BLUE), strict=True):
        points = estimates(drawn, estimator)[image, :, :2]
        half = 1.05 * np.abs(points - centre).max()
        axes.scatter(*points.T, s=9, alpha=0.6, linewidths=0, color=colour)
        axes.plot(*centre, "+", color="black", markersize=16, markeredgewidth=2.5)
        zoom = f"seen {significant(first / half)} times closer" if first else "the cross: the right one"
        axes.set_title(f"{estimator}\n({zoom})", fontsize=12)
        axes.set(xlim=centre[0] + half * np.array([-1, 1]), ylim=centre[1] + half * np.array([-1, 1]), aspect="equal")
        axes.set_xlabel("for z_mean of z1, nats per unit")
        axes.locator_params(nbins=4)
        first = first or half
    figure.axes[0].set_ylabel("for z_mean of z2, nats per unit")
    return figure


def gradient_by_differences(decoder, image, z_mean, z_log_var, loss=vae_mnist.reconstruction_loss, points=71):
    """The gradient of E_q[log p(x|z)] by (z_mean, z_log_var) of one image (pixels,): (4,), without any draw.

    The expectation is a sum over points x points codes within six sigma, which stay where they are; the weights q are
    moved by central differences.
    """
    z_mean, z_log_var = z_mean.astype("float64"), z_log_var.astype("float64")
    ruler = np.linspace(-6, 6, points)
    z = z_mean + np.exp(z_log_var / 2) * np.stack(np.meshgrid(ruler, ruler), axis=-1).reshape(-1, 2)
    images = np.repeat(image[None], len(z), axis=0)
    value = -ops.convert_to_numpy(loss(images, decoder(z.astype("float32")))).astype("float64")

    def expectation(change):
        mean, log_var = z_mean + change[:2], z_log_var + change[2:]
        q = np.exp(-0.5 * np.sum((z - mean) ** 2 / np.exp(log_var) + log_var, axis=-1))
        return q @ value / q.sum()

    steps = 1e-3 * np.diag([*np.exp(z_log_var / 2), 1, 1])
    return np.array([(expectation(step) - expectation(-step)) / (2 * step.sum()) for step in steps])


def deviations(drawn, estimator, right):
    """How many standard errors the mean of all estimates is away from the right gradients (n, 4): (n, 4)."""
    each = estimates(drawn, estimator)
    return (each.mean(axis=1) - right) / (each.std(axis=1, ddof=1) / math.sqrt(each.shape[1]))


def black_box_table(decoder, digits, losses, draws=10_000):
    """Show how often each estimator, under each of {name: loss}, is right: within two standard errors of differences.

    For the first 20 of the Digits, all four parts of the gradient of each.
    """
    x, z_mean, z_log_var = (part[: lab.few(20, 2)] for part in (digits.x, *digits.q))
    rows = []
    for name, loss in losses.items():
        qs = zip(x, z_mean, z_log_var, strict=True)
        right = np.stack([gradient_by_differences(decoder, image, *q, loss) for image, *q in qs])
        drawn = gradient_draws(decoder, x, z_mean, z_log_var, lab.few(draws, 100), loss)
        near = [percent((np.abs(deviations(drawn, estimator, right)) < 2).mean()) for estimator in ESTIMATORS]
        rows.append([name, *near])
    lab.table(["likelihood of a pixel", *ESTIMATORS], rows)


# ---------------------------------------------------------------------------------------------------------------
# Training with each estimator
# ---------------------------------------------------------------------------------------------------------------


class TwoDraws(keras.layers.Layer):
    """The reconstruction loss of images (batch, 784) with two draws of z each, and a gradient by one of ESTIMATORS.

    Called with [x, z_mean, z_log_var]. For the score function z is cut off from the encoder; instead the layer adds
    the mean of cost * log q(z|x), with the cost held fixed, whose gradient is that estimator. The baseline of a draw is
    the cost of the other.
    """

    def __init__(self, decoder, estimator, seed=0):
        super().__init__()
        self.decoder, self.estimator = decoder, estimator
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        x, *q = inputs
        z = [vae_mnist.sample_latent(q, self.seed_generator) for _ in range(2)]
        if self.estimator != "re-parameterised":
            z = [ops.stop_gradient(draw) for draw in z]
        costs = [vae_mnist.reconstruction_loss(x, self.decoder(draw)) for draw in z]
        if self.estimator != "re-parameterised":
            fixed = [ops.stop_gradient(cost) for cost in costs]
            if self.estimator == "score function, baseline":
                fixed = [fixed[0] - fixed[1], fixed[1] - fixed[0]]
            surrogate = [ops.mean(cost * log_q(draw, *q)) for cost, draw in zip(fixed, z, strict=True)]
            self.add_loss((surrogate[0] + surrogate[1]) / 2)
        return (costs[0] + costs[1]) / 2


def log_q(z, z_mean, z_log_var):
    """log N(z; z_mean, exp(z_log_var)), tensors (batch, latent_dim); returns (batch,)."""
    squares = ops.square(z - z_mean) / ops.exp(z_log_var)
    return -0.5 * ops.sum(squares + z_log_var + evidence.LOG_2_PI, axis=-1)


def train_by(estimator, x, x_test, seed=0, epochs=3):
    """Train a new VAE on images x (n, 784) with one of ESTIMATORS; its held-out loss before and after each epoch.

    Returns a list of epochs + 1 numbers, nats per image. The optimizer is the author's.
    """
    keras.utils.set_random_seed(seed)
    recipe = lab.AUTHOR._replace(epochs=lab.few(epochs, 1))
    vae = vae_mnist.build_vae(recipe, seed=seed)
    image = keras.Input((vae_mnist.INPUT_SIZE,))
    q = vae_mnist.AddKLLoss()(vae.get_layer("encoder")(image))
    trainer = keras.Model(image, TwoDraws(vae.get_layer("decoder"), estimator, seed)([image, *q]))
    steps = math.ceil(len(x) / recipe.batch_size)
    optimizer = learning.make_optimizer(recipe, steps * recipe.epochs)
    trainer.compile(optimizer, lambda _, cost: cost, **compile_options(steps))
    losses = []
    follow = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: losses.append(-vae_mnist.evaluate_elbo(vae, x_test, samples=5)["elbo"]),
        on_epoch_end=lambda epoch, logs: losses.append(-vae_mnist.evaluate_elbo(vae, x_test, samples=5)["elbo"]),
    )
    trainer.fit(x, x, batch_size=recipe.batch_size, epochs=recipe.epochs, verbose=0, callbacks=[follow])
    return losses


def train_by_each(dataset, images=10_000, seeds=(0, 1, 2)):
    """Train with each estimator and seed on the first images of a data set: {estimator: losses (seeds, epochs + 1)}."""
    x, x_test = dataset.x_train[: lab.few(images, 300)], dataset.x_test[: lab.few(1000, 50)]
    return {name: np.array([train_by(name, x, x_test, seed) for seed in seeds[: lab.few(3, 2)]]) for name in ESTIMATORS}


def plot_training(runs):
    """The held-out loss after each epoch, of {estimator: losses (seeds, epochs + 1)}: one line a seed."""
    figure = pictures.new_figure(8, 4.2, "The same training with three estimators of the gradient")
    axes = figure.add_subplot()
    for (name, losses), colour, marker in zip(runs.items(), (RED, ORANGE, BLUE), "os^", strict=True):
        epochs = np.arange(1, losses.shape[1])
        lines = axes.plot(epochs, losses[:, 1:].T, marker=marker, color=colour, linewidth=1.8)
        lines[0].set_label(name)
    axes.set(xlabel="epoch (10,000 images each)", ylabel="held-out loss = −ELBO, nats per image")
    axes.set_xticks(epochs)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=11)
    return figure


def training_table(runs):
    """Show the held-out loss after each epoch of plot_training's runs: mean over the seeds and its standard error."""
    epochs = range(1, next(iter(runs.values())).shape[1])
    rows = [[name, *(mean_error(losses[:, epoch]) for epoch in epochs)] for name, losses in runs.items()]
    lab.table(["estimator", *(f"epoch {epoch}" for epoch in epochs)], rows)


# ---------------------------------------------------------------------------------------------------------------
# Maximum likelihood alone
# ---------------------------------------------------------------------------------------------------------------


def with_and_without_kl(dataset, images=10_000, epochs=12):
    """Two models of the post's network, trained on the first images of a data set, with and without the KL term."""
    x, recipe = dataset.x_train[: lab.few(images, 300)], lab.AUTHOR._replace(epochs=epochs)
    with_kl, _ = lab.train_vae(x, recipe)
    without = lab.fit(lab.variant(kl=False, recipe=recipe), x, vae_mnist.reconstruction_loss, recipe)
    return {"with the KL term": with_kl, "without": without}


def widths_of_q(models, x):
    """The sigma of q(z|x), the geometric mean over the latents, for images x (n, 784): {name: (n,)}."""
    return {name: np.exp(lab.encode(model, x)[1].mean(axis=-1) / 2) for name, model in models.items()}


def plot_widths(widths):
    """How wide q is: {name: sigma (n,)} as histograms over a logarithmic scale."""
    figure = pictures.new_figure(8, 3.8, "Without the KL term, q shrinks towards a point")
    axes = figure.add_subplot()
    bins = np.geomspace(min(np.quantile(width, 0.001) for width in widths.values()), 1, 70)
    for (name, width), colour in zip(widths.items(), (BLUE, RED), strict=True):
        axes.hist(np.maximum(width, bins[0]), bins, color=colour, alpha=0.65, label=name)
    axes.set(xscale="log", xlabel="sigma of q (logarithmic scale; the prior's is 1)", ylabel="held-out digits")
    axes.legend(frameon=False, loc="upper left", fontsize=11)
    return figure


def likelihood_table(models, training, held_out):
    """Show q's median sigma and mean KL, and log p(x) from the grid, under {name: model}, of two sets of Digits.

    The last row is the change of log p(x) from the first model to the last, image by image.
    """
    rows, found = [], []
    for name, model in models.items():
        z_mean, z_log_var = lab.encode(model, held_out.x)
        sigma = number(np.median(widths_of_q({name: model}, held_out.x)[name]), 3)
        kl = number(ops.convert_to_numpy(vae_mnist.kl_divergence(z_mean, z_log_var)).mean())
        found.append([lab.log_evidence(model.get_layer("decoder"), digits.x) for digits in (training, held_out)])
        rows.append([name, sigma, kl, *map(mean_error, found[-1])])
    change = [mean_error(last - first) for first, last in zip(found[0], found[-1], strict=True)]
    header = ["loss", "sigma of q, median", "KL(q ‖ prior)", "log p(x), training digits", "log p(x), held out"]
    lab.table(header, [*rows, ["change", "", "", *change]])


# ---------------------------------------------------------------------------------------------------------------
# Which way round the KL
# ---------------------------------------------------------------------------------------------------------------

LINE = np.linspace(-16, 16, 6401)


def two_modes(half_distance):
    """log p on LINE of an equal mixture of N(-half_distance, 1) and N(half_distance, 1)."""
    log_parts = -0.5 * (np.abs(LINE)[:, None] + half_distance * np.array([-1, 1])) ** 2
    return np.logaddexp(*log_parts.T) - math.log(2) - 0.5 * evidence.LOG_2_PI


def line_divergence(log_p, mean, sigma):
    """KL(N(mean, sigma^2) || p) on LINE, nats."""
    log_q = -0.5 * ((LINE - mean) / sigma) ** 2 - math.log(sigma) - 0.5 * evidence.LOG_2_PI
    return float(np.sum(np.exp(log_q) * (log_q - log_p)) * (LINE[1] - LINE[0]))


def seek_mode(half_distance, start):
    """The Gaussian at the minimum of KL(q || p) near a start (mean, sigma): mean, sigma and the divergence, nats."""
    log_p = two_modes(half_distance)
    found = optimize.minimize(
        lambda v: line_divergence(log_p, v[0], math.exp(v[1])),
        (start[0], math.log(start[1])),
        method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-10},
    )
    return found.x[0], math.exp(found.x[1]), found.fun


def cover_modes(half_distance):
    """The Gaussian at the minimum of KL(p || q): p's mean and standard deviation, and the divergence, nats."""
    log_p, sigma = two_modes(half_distance), math.sqrt(1 + half_distance**2)
    log_q = -0.5 * (LINE / sigma) ** 2 - math.log(sigma) - 0.5 * evidence.LOG_2_PI
    return 0.0, sigma, float(np.sum(np.exp(log_p) * (log_p - log_q)) * (LINE[1] - LINE[0]))


def crossing():
    """The distance of the modes from which on one mode alone beats covering both, for KL(q || p); by bisection."""

    def advantage(distance):
        one = seek_mode(distance / 2, (distance / 2, 1.0))[2]
        log_p = two_modes(distance / 2)
        both = optimize.minimize_scalar(lambda v: line_divergence(log_p, 0.0, math.exp(v)), bounds=(0, 2)).fun
        return both - one

    return optimize.bisect(advantage, 5.0, 6.5, xtol=1e-3)


def count_islands(digits):
    """In how many islands 86 % of each true posterior lies: (n,)."""
    return np.array([len(islands(masses(joint), AXIS)) for joint in digits.joints])


def island_table(digits, own_gap):
    """Show how many of the Digits have one island or several, and the gap that their own q leaves, own_gap (n,)."""
    counts, rows = count_islands(digits), []
    for name, there in (("one", counts == 1), ("several", counts > 1)):
        error = math.sqrt(there.mean() * (1 - there.mean()) / len(there))
        gap = mean_error(own_gap[there], 2) if there.sum() > 1 else "–"
        rows.append([name, there.sum(), percent(there.mean(), error, 1), gap, number((own_gap * there).mean(), 3)])
    header = [
        "islands",
        "digits",
        "share of the digits",
        "gap with own q, nats",
        "its part of the mean over all digits",
    ]
    lab.table(header, rows)


class TwoModes(NamedTuple):
    """A digit whose true posterior has two islands, and Gaussians for it: {name: (z_mean, z_log_var)}."""

    index: int
    gaussians: dict


def two_modes_of(decoder, digits):
    """The digit whose two islands are heavy and far apart (the first, where none has two), as TwoModes.

    Its Gaussians: the minima of KL(q || p) from both islands, the minimum of KL(p || q), and the encoder's q.
    """
    best, score = 0, -1.0
    for i, joint in enumerate(digits.joints):
        (_, *first), (lighter, *second) = (islands(masses(joint), AXIS) * 2)[:2]
        distance = np.linalg.norm(first[0] - second[0]) / np.sqrt(max(*first[1], *second[1]))
        if lighter * distance > score:
            best, score, pair = i, lighter * distance, (first, second)
    start = np.stack([mean for mean, _ in pair]), np.log([variance for _, variance in pair])
    seek = optimise_q(decoder, digits.x[[best, best]], *start)
    mean, variance = mean_and_variance(masses(digits.joints[best]), AXIS)
    gaussians = {
        f"smallest KL(q ‖ p), {name} island": (seek[0][i], seek[1][i]) for i, name in enumerate(("first", "second"))
    }
    gaussians["smallest KL(p ‖ q)"] = mean, np.log(variance)
    gaussians["the encoder's q"] = tuple(part[best] for part in digits.q)
    return TwoModes(best, gaussians)


def line_table():
    """Show the Gaussians at the minima of both divergences for two modes at -3 and 3, and where they change places."""
    found = {"smallest KL(p ‖ q)": cover_modes(3), "smallest KL(q ‖ p)": seek_mode(3, (3, 1))}
    found["a further minimum of KL(q ‖ p)"] = seek_mode(3, (0, 3))
    rows = [[name, *(number(abs(value), 2) for value in values)] for name, values in found.items()]
    lab.table(["best q for modes at −3 and 3", "distance of its mean from 0", "sigma", "divergence, nats"], rows)
    lab.table(["KL(q ‖ p) prefers one mode from", "sigmas apart"], [["a distance of", number(crossing(), 2)]])


def direction_table(digits, example):
    """Show both divergences of the Gaussians of a TwoModes."""
    joint = digits.joints[example.index]
    rows = [[name, *(number(v, 2) for v in divergences(joint, AXIS, *q))] for name, q in example.gaussians.items()]
    lab.table(["axis-aligned Gaussian q", "KL(q ‖ p), nats", "KL(p ‖ q), nats"], rows)


def plot_directions(decoder, digits, example):
    """Both directions of the KL for two modes on a line, and for the real posterior of a TwoModes."""
    caption = "Right: grey holds 39 % and 86 % of the truth; ellipses: 1 and 2 sigma, colours as on the left."
    figure = pictures.new_figure(10, 4.6, "KL(p ‖ q) covers, KL(q ‖ p) seeks a mode", caption)
    left, right = figure.subplots(1, 2)
    left.fill_between(LINE, np.exp(two_modes(3)), color=GREY, alpha=0.45, linewidth=0, label="p: two modes")
    found = [
        (cover_modes(3), RED, "q of the smallest KL(p ‖ q)"),
        (seek_mode(3, (-3, 1)), BLUE, "q of the smallest KL(q ‖ p)"),
    ]
    for (mean, sigma, _), colour, name in [*found, (seek_mode(3, (3, 1)), BLUE, None)]:
        q = np.exp(-0.5 * ((LINE - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        left.plot(LINE, q, "-" if name else "--", color=colour, linewidth=2.5, label=name)
    left.set(xlim=(-9, 9), ylim=(0, 0.6), xlabel="z", ylabel="density", title="two modes on a line")
    left.legend(frameon=False, loc="upper left", fontsize=11)
    qs = [(*q, colour) for q, colour in zip(example.gaussians.values(), (BLUE, BLUE, RED), strict=False)]
    draw_posterior(right, decoder, digits.x[example.index], digits.joints[example.index], qs, equal=False)
    right.set(xlabel="z1", ylabel="z2", title=f"the true posterior of a held-out {digits.labels[example.index]}")
    return figure


def blur_table(x, models):
    """Show the entropy of the pixels of images x (n, 784), and of what each {name: model} decodes at their z_mean."""
    rows = [["the held-out digits themselves", mean_error(grey_entropy(x))]]
    rows += [
        [name, mean_error(grey_entropy(lab.decode(model, lab.encode(model, x)[0])))] for name, model in models.items()
    ]
    lab.table(["pictures", "entropy of the pixels, nats"], rows)


# ---------------------------------------------------------------------------------------------------------------
# Grey pixels
# ---------------------------------------------------------------------------------------------------------------


def grey_entropy(x):
    """The entropy of independent coins with the grey values x (n, 784) as probabilities, summed: (n,), nats."""
    p = np.clip(x.astype("float64"), 1e-12, 1 - 1e-12)
    return -np.sum(p * np.log(p) + (1 - p) * np.log(1 - p), axis=-1)


def draw_pixels(x, seed):
    """Each pixel of x (n, 784) drawn once: 1 with its grey value as probability, else 0; float32."""
    return (np.random.default_rng(seed).random(x.shape) < x).astype("float32")


def log_normaliser(x_hat):
    """log of the integral of x_hat^x (1 - x_hat)^(1 - x) over grey x in [0, 1], summed over pixels (n, 784): (n,).

    For one pixel it is (2 x_hat - 1) / (log x_hat - log(1 - x_hat)), and 1/2 at 1/2; a density would have log 1 = 0
    (Loaiza-Ganem & Cunningham, "The continuous Bernoulli", arXiv:1907.06845).
    """
    p = np.clip(x_hat.astype("float64"), keras.config.epsilon(), 1 - keras.config.epsilon())
    p = np.where(np.abs(p - 0.5) < 1e-4, 0.5 + 1e-4, p)  # its value there is 1/2 to nine digits
    return np.sum(np.log((2 * p - 1) / (np.log(p) - np.log(1 - p))), axis=-1)


def plot_pixel_loss(greys=(0.0, 0.25, 0.5, 1.0)):
    """The cross-entropy of one pixel against the decoder's x_hat, for some grey values; its minimum is at x_hat = x."""
    figure = pictures.new_figure(8, 4.2, "The loss of one pixel: a grey one never costs 0")
    axes, x_hat = figure.add_subplot(), np.linspace(0.002, 0.998, 499)
    for x, colour, style in zip(greys, (GREY, ORANGE, RED, BLUE), ("-", "--", "-.", ":"), strict=True):
        axes.plot(x_hat, -x * np.log(x_hat) - (1 - x) * np.log(1 - x_hat), style, color=colour, linewidth=2.5)
        floor = float(grey_entropy(np.array([[x]]))[0])
        axes.plot(x, floor, "o", color=colour, markersize=10, clip_on=False, label=f"x = {x:g}, floor {floor:.2f} nats")
    axes.set(xlabel="x_hat, the decoder's probability of ink", ylabel="loss of the pixel, nats", ylim=(0, 2.5))
    axes.set_xlim(0, 1)
    axes.legend(frameon=False, loc="upper center", fontsize=11)
    return figure


def draws_table(vae, digits, images=200, drawings=100):
    """Show the loss of grey Digits at z_mean, its mean over drawn black and white ones, and that it is no density."""
    x = digits.x[:images]
    x_hat = lab.decode(vae, digits.q[0][:images])
    grey = ops.convert_to_numpy(vae_mnist.reconstruction_loss(x, x_hat))
    drawn = [ops.convert_to_numpy(vae_mnist.reconstruction_loss(draw_pixels(x, i), x_hat)) for i in range(drawings)]
    rows = [
        ["grey digits", number(grey.mean(), 2)],
        ["drawn digits, mean over drawings", mean_error(np.mean(drawn, axis=1), 2)],
    ]
    rows.append(["log of the integral over all grey images (0 for a density)", number(log_normaliser(x_hat).mean(), 0)])
    lab.table([f"{len(x)} held-out digits, decoded z_mean", "nats per image"], rows)


def floor_table(vae, x):
    """Show the smallest loss that images x (n, 784) allow, and the reconstruction loss that the VAE has."""
    x_hat = lab.decode(vae, lab.encode(vae, x)[0])
    loss = ops.convert_to_numpy(vae_mnist.reconstruction_loss(x, x_hat)).astype("float64")
    rows = [["floor: the entropy of the grey values", mean_error(grey_entropy(x))]]
    rows += [
        ["reconstruction loss at z_mean", mean_error(loss)],
        ["above the floor", mean_error(loss - grey_entropy(x))],
    ]
    lab.table([f"{len(x):,} held-out digits", "nats per image"], rows)
