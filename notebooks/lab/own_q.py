"""Section 3 of the side notes: a q of its own for each image."""

import time

import keras
import numpy as np
from keras import ops
from scipy import ndimage

import vae_mnist
from lab.drawing import BLUE, GREY, ORANGE, table
from lab.measures import AXIS, TWO_SIGMA, elbo_of, level_that_holds, masses, mean_and_variance
from lab.models import compile_options, few
from seevae.results import pictures


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
    steps, trainable = few(steps, 20), decoder.trainable
    decoder.trainable = False
    own = OwnQ(decoder, x, np.asarray(z_mean, "float32"), np.asarray(z_log_var, "float32"), seed)
    row = keras.Input((), dtype="int32")
    model = keras.Model(row, own(row))
    rate = keras.optimizers.schedules.PolynomialDecay(learning_rate, steps, end_learning_rate=0.0)
    model.compile(keras.optimizers.Adam(rate), lambda _, loss: loss, **compile_options(steps))
    rows = np.tile(np.arange(len(x), dtype="int32"), steps)
    model.fit(rows, rows, batch_size=len(x), shuffle=False, verbose=0)
    decoder.trainable = trainable
    return ops.convert_to_numpy(own.z_mean), ops.convert_to_numpy(own.z_log_var)


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
    """The gap of the Digits with the encoder's q, with its sigma at the best z_mean of each, and with their best q.

    own: a pair z_mean, z_log_var. Returns {name: gap (n,)}.
    """
    qs = {"its best z_mean, the encoder's sigma": (own[0], digits.q[1]), "its best q": own}
    gaps = {name: digits.log_p - elbo_of(decoder, digits.x, *q, seed=seed)[0] for name, q in qs.items()}
    return {"the encoder's q": digits.gap, **gaps}


def plot_split(parts):
    """The gaps of {digits: split_gap's result}, each kind sorted by size, on a logarithmic scale."""
    caption = "Gaps below 0.01 are drawn at 0.01: there the draws of z decide."
    figure = pictures.new_figure(4.6 * max(2, len(parts)), 4.4, "What the ELBO leaves out, digit by digit", caption)
    panels = figure.subplots(1, len(parts), sharey=True, squeeze=False)[0]
    for axes, (digits, gaps) in zip(panels, parts.items(), strict=True):
        share = 100 * (np.arange(len(gaps["its best q"])) + 0.5) / len(gaps["its best q"])
        for (name, gap), colour, style in zip(gaps.items(), (BLUE, GREY, ORANGE), ("-", "--", "-"), strict=True):
            axes.plot(share, np.maximum(np.sort(gap), 0.01), style, color=colour, linewidth=2.5, label=name)
        axes.set(yscale="log", ylim=(0.01, 200), xlabel="digits, sorted by their gap: %", title=digits)
        axes.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("gap, nats (logarithmic scale)")
    figure.axes[0].legend(frameon=False, loc="upper left", fontsize=11)
    return figure


def price_table(vae, digits, seconds):
    """Show what the search for the best q of each of the Digits took, `seconds`, beside one pass of the encoder.

    In powers of ten, up to 100: the search's time includes its compilation.
    """
    images, encoder = ops.convert_to_tensor(digits.x), vae.get_layer("encoder")
    ops.convert_to_numpy(encoder(images)[0])
    start = time.perf_counter()
    for _ in range(20):
        ops.convert_to_numpy(encoder(images)[0])  # until it is there
    ratio = seconds / ((time.perf_counter() - start) / 20)
    floor = max((power for power in (1, 10, 100) if power <= ratio), default=1)
    rows = [["one pass of the encoder", "1"], ["a search of its own", f"more than {floor}"]]
    table(["a digit's q by", "time, in passes of the encoder"], rows)


def clocked(function, *arguments):
    """The result of function(*arguments), and the seconds that it took."""
    start = time.perf_counter()
    return function(*arguments), time.perf_counter() - start
