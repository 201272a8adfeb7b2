"""A variational autoencoder on MNIST, as one script that reads like the blog post it reproduces.

The post is Hamidreza Saghir's "An intuitive understanding of variational autoencoders without any formula".
Its story: behind each image x there is a hidden code z. To generate, draw z from the prior p(z) = N(0, I) and
let the decoder turn it into p(x|z), one Bernoulli probability for each pixel. To infer, let the encoder turn x
into q(z|x) = N(z_mean, exp(z_log_var)), a whole distribution rather than one code, and draw z from that:

    x (784) -> 256 relu -> z_mean (2), z_log_var (2) -> z (2) -> 256 relu -> 784 sigmoid

Training maximises the ELBO, a lower bound on log p(x), the evidence. Its negative is the loss, in nats per image:

    loss = -ELBO = reconstruction + KL divergence
    reconstruction = E_q[-log p(x|z)]       784 * (mean binary crossentropy of the pixels)
    KL divergence  = KL(q(z|x) || p(z))     closed form; it keeps q close to the prior

Run it:

    python vae_mnist.py            # trains on MNIST; pictures, model and record go to figures/
    python vae_mnist.py --help

Sources: the post; Kingma & Welling, "Auto-Encoding Variational Bayes" (arXiv:1312.6114), called AEVB below.
The model is plain Keras 3 and runs unchanged on TensorFlow, JAX and PyTorch (KERAS_BACKEND=jax or torch).
"""

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple


@contextlib.contextmanager
def quiet_startup():
    """Hide what TensorFlow's C++ libraries print while they load: no setting reaches those first lines.

    With TF_CPP_MIN_LOG_LEVEL=0 someone wants to read them, and nothing is hidden.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        stderr = os.dup(2)
    except OSError:  # stderr is closed: there is nothing to hide
        yield
        return
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


os.environ.setdefault("KERAS_BACKEND", "tensorflow")
with quiet_startup():
    import keras
    import numpy as np
    from keras import layers, ops
    from matplotlib import patheffects
    from matplotlib.figure import Figure

    import evidence
    from mnist_data import CLASSES, IMAGE_DIM, IMAGE_SHAPE, MNIST, MNIST_SAMPLE, UserError, batches, load_data


# ---------------------------------------------------------------------------------------------------------------
# Math: the post's `cost` and its re-parameterised sample
# ---------------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="vae_mnist")
def reconstruction_loss(x, x_hat):
    """Negative log-likelihood -log p(x|z) of Bernoulli pixels, the post's `reconstruction_loss`.

    x and x_hat: (batch, 784), float32 in [0, 1], the image and the decoder's probabilities.
    Returns (batch,), nats per image. Keras's crossentropy is a mean over pixels: times 784 it is their sum, the
    log-likelihood of a whole image, on the same scale as the KL divergence (AEVB, appendix C.1).
    """
    return IMAGE_DIM * keras.losses.binary_crossentropy(x, x_hat)


def kl_divergence(z_mean, z_log_var):
    """KL(N(z_mean, exp(z_log_var)) || N(0, I)), the post's `kl_loss`.

    z_mean and z_log_var: (batch, latent_dim). Returns (batch,), nats per image (AEVB, appendix B).
    """
    return -0.5 * ops.sum(1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var), axis=-1)


@keras.saving.register_keras_serializable(package="vae_mnist")
def sample_latent(q, seed):
    """Draw z from q(z|x) by the re-parameterisation trick: all randomness is in epsilon, so gradients reach q.

    q: the pair z_mean, z_log_var, each (batch, latent_dim). seed: a keras.random.SeedGenerator, which gives fresh
    noise at each call; an integer would give the same noise each time. Returns z (batch, latent_dim).
    Source: the post's `z_sample`; AEVB, section 2.4.
    """
    z_mean, z_log_var = q
    epsilon = keras.random.normal(ops.shape(z_mean), dtype=z_mean.dtype, seed=seed)
    return z_mean + ops.exp(z_log_var / 2) * epsilon


@keras.saving.register_keras_serializable(package="vae_mnist")
class KLDivergence(layers.Layer):
    """Adds the mean KL divergence of a batch to the loss of the model it is in; passes q through unchanged.

    Call it with [z_mean, z_log_var], each (batch, latent_dim); it returns the same pair. The mean over the batch
    is taken here, as Keras would sum a loss that is not a scalar.
    """

    def call(self, q):
        z_mean, z_log_var = q
        self.add_loss(ops.mean(kl_divergence(z_mean, z_log_var)))
        return z_mean, z_log_var


@keras.saving.register_keras_serializable(package="vae_mnist")
class BinaryNoise(layers.Layer):
    """In training, replaces each grey value by 1 with that probability, else 0; afterwards, passes x through.

    The noise on the input that the post recommends, with nothing to tune: its mean is the image itself, and the
    target stays clean. It keeps the encoder from learning images by heart. x: (batch, 784) in [0, 1].
    The pixels of an image are drawn independently. Drawing each of a batch's 78,400 would take longer than the rest
    of the training step, so the images share their draws, each moved by a draw of its own (modulo 1).
    """

    def __init__(self, seed=0, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        if not training:
            return x
        for_image = keras.random.uniform((ops.shape(x)[0], 1), dtype=x.dtype, seed=self.seed_generator)
        for_pixel = keras.random.uniform((1, x.shape[1]), dtype=x.dtype, seed=self.seed_generator)
        threshold = (for_image + for_pixel) % 1.0
        return ops.cast(threshold < x, x.dtype)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}


# ---------------------------------------------------------------------------------------------------------------
# Network: the post's `network`, line by line
# ---------------------------------------------------------------------------------------------------------------


def build_encoder(latent_dim=2, hidden_dim=256, spread_init=True):
    """The inference network: x (batch, 784) -> z_mean, z_log_var, each (batch, latent_dim).

    The post's `z_variance` is the logarithm of the variance, as its exp(z_variance / 2) shows; hence the name here.
    spread_init starts the relu layer at He's scale; without it, at Keras's default, which was the author's.
    """
    kernel = "he_uniform" if spread_init else "glorot_uniform"
    encoder_x = keras.Input((IMAGE_DIM,), name="encoder_x")
    encoder_h = layers.Dense(hidden_dim, "relu", kernel_initializer=kernel, name="encoder_h")(encoder_x)
    z_mean = layers.Dense(latent_dim, name="z_mean")(encoder_h)
    z_log_var = layers.Dense(latent_dim, name="z_log_var")(encoder_h)
    return keras.Model(encoder_x, [z_mean, z_log_var], name="encoder")


def build_decoder(latent_dim=2, hidden_dim=256, spread_init=True):
    """The generative network: z (batch, latent_dim) -> pixel probabilities (batch, 784). Alone, it generates.

    A relu unit bends its output along a line in the latent plane. With biases of zero, all these lines start through
    the origin; spread_init scatters them over the prior, so that the decoder can bend where the digits are.
    """
    kernel, bias = "glorot_uniform", "zeros"
    if spread_init:
        kernel = keras.initializers.VarianceScaling(8.0, "fan_in", "uniform")  # twice He's scale
        bias = keras.initializers.RandomUniform(-2.0, 2.0)
    z = keras.Input((latent_dim,), name="z")
    hidden = layers.Dense(hidden_dim, "relu", kernel_initializer=kernel, bias_initializer=bias, name="decoder_h")
    decoder_h = hidden(z)
    decoder_output = layers.Dense(IMAGE_DIM, activation="sigmoid", name="decoder_output")(decoder_h)
    return keras.Model(z, decoder_output, name="decoder")


def build_vae(latent_dim=2, hidden_dim=256, spread_init=True, input_noise=True, seed=0):
    """The whole network: x (batch, 784) -> x_hat (batch, 784), by way of a random z.

    `vae.get_layer("encoder")` and `vae.get_layer("decoder")` are its halves, with the same weights. The KL
    divergence is an added loss; compile_vae adds the reconstruction term: their sum is -ELBO. `input_noise` binarises
    what the encoder sees in training. `seed` seeds all noise; for the initial weights and the order of the batches
    call keras.utils.set_random_seed.
    """
    encoder = build_encoder(latent_dim, hidden_dim, spread_init)
    decoder = build_decoder(latent_dim, hidden_dim, spread_init)
    noise = keras.random.SeedGenerator(seed)

    x = keras.Input((IMAGE_DIM,), name="x")
    encoder_x = BinaryNoise(seed, name="binary_noise")(x) if input_noise else x
    q = KLDivergence(name="kl_divergence")(encoder(encoder_x))
    z_sample = layers.Lambda(sample_latent, arguments={"seed": noise}, name="z_sample")(q)
    x_hat = decoder(z_sample)
    return keras.Model(x, x_hat, name="vae")


def compile_vae(vae, optimizer, steps_per_execution=1):
    """Give the VAE its reconstruction loss and its optimizer; have XLA compile the training step, several for a call.

    PyTorch runs step by step instead: Keras takes no several steps there, and its compiler longer than the training.
    """
    compiled = keras.backend.backend() != "torch"
    vae.compile(
        optimizer=optimizer,
        loss=reconstruction_loss,
        metrics=[keras.metrics.MeanMetricWrapper(reconstruction_loss, name="reconstruction")],
        jit_compile=compiled,
        steps_per_execution=steps_per_execution if compiled else 1,
    )


# ---------------------------------------------------------------------------------------------------------------
# Training and evaluation
# ---------------------------------------------------------------------------------------------------------------


class ReportKL(keras.callbacks.Callback):
    """Puts `kl` and `val_kl` into the logs, so that the progress bar and the history show all three numbers.

    The loss is reconstruction + KL, so the difference of the two that Keras tracks is the KL divergence exactly.
    """

    def on_train_batch_end(self, batch, logs=None):
        if logs:
            logs["kl"] = logs["loss"] - logs["reconstruction"]

    def on_epoch_end(self, epoch, logs=None):
        logs["kl"] = logs["loss"] - logs["reconstruction"]
        if "val_loss" in logs:
            logs["val_kl"] = logs["val_loss"] - logs["val_reconstruction"]


class Recipe(NamedTuple):
    """How to train. The network has the same weights in all of them."""

    epochs: int
    learning_rate: float
    decay: bool  # the learning rate falls linearly to 0 over the whole training
    beta_2: float  # Adam's: how long it remembers the size of the gradients
    spread_init: bool  # initial weights whose relu units cover the data and the prior
    input_noise: bool  # BinaryNoise before the encoder


RECIPES = {
    # Seven times the author's step, made safe by a linear decay and by an Adam that forgets large gradients ten times
    # sooner; initial weights that suit relu layers; and noise on the input, which closes the gap between training and
    # held-out images. Chosen on the last 10,000 training images, never on the test set.
    "default": Recipe(30, 7e-3, decay=True, beta_2=0.99, spread_init=True, input_noise=True),
    # The author's notebook: Keras's defaults of 2016.
    "author": Recipe(50, 1e-3, decay=False, beta_2=0.999, spread_init=False, input_noise=False),
}


def make_optimizer(recipe, steps):
    """Adam as the recipe wants it, for a training of `steps` steps."""
    learning_rate = recipe.learning_rate
    if recipe.decay:
        learning_rate = keras.optimizers.schedules.PolynomialDecay(learning_rate, steps, end_learning_rate=0.0)
    return keras.optimizers.Adam(learning_rate, beta_2=recipe.beta_2)


def train(vae, x_train, x_test=None, recipe=RECIPES["default"], batch_size=100, verbose="auto", callbacks=()):
    """Train the VAE to reproduce its own input; x_train and x_test are (n, 784) float32 in [0, 1].

    `callbacks` are Keras callbacks of your own; ReportKL runs before them, so that they see all three numbers.
    Returns the history, {name: one number per epoch}, in nats per image: `loss`, `reconstruction` and `kl`, and
    the same with `val_` for the held-out x_test. Each is a mean over images, with one noise sample an image.
    Raises UserError when the loss becomes NaN.
    """
    steps = math.ceil(len(x_train) / batch_size)
    compile_vae(vae, make_optimizer(recipe, steps * recipe.epochs), steps_per_execution=max(1, steps // 10))
    if verbose == "auto":
        verbose = 1 if sys.stdout.isatty() else 2  # a bar that moves, or a line an epoch in a log file
    record = vae.fit(
        x_train,
        x_train,
        epochs=recipe.epochs,
        batch_size=batch_size,
        validation_data=None if x_test is None else (x_test, x_test),
        validation_batch_size=1000,
        callbacks=[keras.callbacks.TerminateOnNaN(), ReportKL(), *callbacks],
        verbose=verbose,
    )
    if not all(math.isfinite(loss) for loss in record.history["loss"]):
        raise UserError("Training diverged, its loss is no longer a number: choose a smaller --learning-rate.")
    return {name: [float(value) for value in values] for name, values in record.history.items()}


def evaluate_elbo(vae, x, samples=1, seed=0):
    """The ELBO of images x (n, 784) and its two parts: a sum over all images divided by their number.

    The expectation over q(z|x) is a mean over `samples` draws of z an image, from a generator of its own: the same
    seed, the same number. Returns {"elbo", "reconstruction", "kl", "standard_error"}, nats per image;
    elbo = -(reconstruction + kl) is negative. standard_error is that of the noise, None for one sample.
    """
    reconstruction, kl = elbo_terms(vae, x, samples, seed)
    mean_reconstruction, mean_kl = float(reconstruction.mean()), float(kl.mean())
    error = math.sqrt((reconstruction.var(axis=0, ddof=1) / samples).sum()) / len(x) if samples > 1 else None
    elbo = -(mean_reconstruction + mean_kl)
    return {"elbo": elbo, "reconstruction": mean_reconstruction, "kl": mean_kl, "standard_error": error}


def elbo_terms(vae, x, samples=1, seed=0):
    """The two terms of the loss for each image of x (n, 784): reconstruction (samples, n) and KL (n,), float64."""
    encoder, decoder = vae.get_layer("encoder"), vae.get_layer("decoder")
    noise = keras.random.SeedGenerator(seed)
    reconstruction, kl = [], []
    for batch in batches(x):
        q, x_batch = encoder(batch), ops.convert_to_tensor(batch)
        draws = [reconstruction_loss(x_batch, decoder(sample_latent(q, noise))) for _ in range(samples)]
        reconstruction.append([to_numpy(draw) for draw in draws])
        kl.append(to_numpy(kl_divergence(*q)))
    return np.concatenate(reconstruction, axis=1).astype("float64"), np.concatenate(kl).astype("float64")


def evaluate_evidence(vae, x, samples=100, seed=0):
    """The ELBO beside log p(x) of images x (n, 784): what the bound leaves out.

    Returns a dict of means over the images, nats per image: `images`, `elbo` with its `reconstruction`, `kl` and
    `standard_error` (ten draws an image), `importance_weighted` with `importance_samples`, and for two latents
    `exact` with `exact_error` (None for other latent sizes, and where no grid is fine enough).
    exact - elbo is the mean KL(q(z|x) || p(z|x)); see evidence.py.
    """
    report = {"images": len(x), **evaluate_elbo(vae, x, samples=10, seed=seed)}
    report["importance_weighted"] = float(evidence.importance_weighted(vae, x, samples, seed).mean())
    report["importance_samples"] = samples
    report["exact"] = report["exact_error"] = None
    decoder = vae.get_layer("decoder")
    if decoder.input_shape[-1] == 2:
        with contextlib.suppress(ValueError):  # a model so poor that no grid resolves it: its pictures still count
            log_p, change = evidence.exact_log_evidence(decoder, x)
            report["exact"], report["exact_error"] = float(log_p.mean()), float(change.mean())
    return report


def encode(vae, x):
    """Return z_mean and z_log_var of images x (n, 784), each a NumPy array (n, latent_dim)."""
    encoder = vae.get_layer("encoder")
    pairs = [[to_numpy(tensor) for tensor in encoder(batch)] for batch in batches(x)]
    z_mean, z_log_var = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    return z_mean, z_log_var


def decode(vae, z):
    """Return the pixel probabilities (n, 784) of codes z (n, latent_dim), NumPy arrays."""
    decoder = vae.get_layer("decoder")
    return np.concatenate([to_numpy(decoder(batch)) for batch in batches(np.asarray(z, "float32"))])


def to_numpy(tensor):
    """A tensor of any backend as a NumPy array."""
    return ops.convert_to_numpy(tensor)


# ---------------------------------------------------------------------------------------------------------------
# Pictures: each takes arrays and returns a matplotlib Figure; none trains, decodes or writes
# ---------------------------------------------------------------------------------------------------------------

# Ten colours that stay apart for colour-blind readers (M. Petroff, arXiv:2107.02270), from 0 to 9; digits that look
# alike, and so lie side by side (3-5-8, 4-7-9), have those that differ most, the two greys go to 0 and 1.
CLASS_COLOURS = (
    "#717581", "#94a4a2", "#b9ac70", "#3f90da", "#832db6", "#bd1f01", "#a96b59", "#e76300", "#ffa90e", "#92dadd",
)  # fmt: skip
TRAIN_COLOUR, HELD_OUT_COLOUR = "#94a4a2", "#3f90da"
LABEL_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}


def new_figure(width, height, title, caption):
    """An empty figure of `width` x `height` inches with a title above it and a small caption below."""
    figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=15)
    figure.supxlabel(caption, fontsize=9.5, color="0.35")
    return figure


def plot_latent_scatter(z_mean, labels, caption=""):
    """The post's first picture: z_mean (n, 2) of images coloured by their labels (n,), over the prior N(0, I)."""
    figure = new_figure(7, 7.3, "The latent space: where the encoder puts each digit", caption)
    axes = figure.add_subplot()
    limit = max(3.4, 1.04 * float(np.abs(z_mean).max()))
    for radius in (1, 2, 3):
        ring = np.exp(1j * np.linspace(0, 2 * np.pi, 200)) * radius
        axes.plot(ring.real, ring.imag, color="0.55", linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"{radius}σ", (0, -radius), ha="center", va="center", fontsize=9, color="0.25", zorder=4, bbox=LABEL_BOX
        )
    shuffled = np.random.default_rng(0).permutation(len(z_mean))  # so that no class lies on top of all others
    colours = np.array(CLASS_COLOURS)[labels]
    axes.scatter(*z_mean[shuffled].T, c=colours[shuffled], s=5, alpha=0.75, linewidths=0, zorder=2, rasterized=True)
    for digit in np.unique(labels):
        place = label_position(z_mean, labels, digit)
        text = axes.text(*place, str(digit), fontsize=19, weight="bold", ha="center", va="center", zorder=5)
        text.set_color(CLASS_COLOURS[digit])
        text.set_path_effects([patheffects.withStroke(linewidth=4, foreground="white")])
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.set_xlabel("z1", fontsize=12)
    axes.set_ylabel("z2", fontsize=12)
    return figure


def label_position(z, labels, digit, bins=24):
    """Where to write the label of a class: the middle of the cell in which it is both frequent and mostly alone."""
    edges = [np.linspace(z[:, axis].min() - 1e-6, z[:, axis].max() + 1e-6, bins + 1) for axis in (0, 1)]
    everything = np.histogram2d(*z.T, bins=edges)[0]
    own = np.histogram2d(*z[labels == digit].T, bins=edges)[0]
    row, column = np.unravel_index(np.argmax(own**2 / np.maximum(everything, 1)), own.shape)
    inside = (labels == digit) & (np.digitize(z[:, 0], edges[0]) == row + 1)
    inside &= np.digitize(z[:, 1], edges[1]) == column + 1
    return z[inside].mean(axis=0)


def prior_quantiles(count=20, low=0.05, high=0.95):
    """The codes of one axis of the manifold: `count` quantiles of N(0, 1), from `low` to `high`; (count,)."""
    return np.array([statistics.NormalDist().inv_cdf(p) for p in np.linspace(low, high, count)])


def manifold_codes(z_values):
    """All pairs of z_values (n,) as codes (n * n, 2); z1 changes fastest, both rise. Reshapes to (n, n, ...)."""
    z1, z2 = np.meshgrid(z_values, z_values)
    return np.stack([z1.ravel(), z2.ravel()], axis=-1)


def plot_manifold(images, z_values, caption=""):
    """The post's second picture: images (n * n, 784) decoded at manifold_codes(z_values), z_values (n,).

    z1 runs to the right and z2 upwards, as in the scatter, so one can be laid over the other.
    """
    n = len(z_values)
    figure = new_figure(7, 7.3, "The manifold: the digit that the decoder draws at each code", caption)
    axes = figure.add_subplot()
    axes.imshow(tile(images.reshape(n, n, IMAGE_DIM)[::-1]), cmap="Greys", extent=(0, n, 0, n), vmin=0, vmax=1)
    ticks = (-1.5, -1, -0.5, 0, 0.5, 1, 1.5)
    places = np.interp(ticks, z_values, np.arange(n) + 0.5)
    labels = [f"{z:g}".replace("-", "\N{MINUS SIGN}") for z in ticks]
    axes.set_xticks(places, labels)
    axes.set_yticks(places, labels)
    axes.set_xlabel("z1  (steps of equal prior probability)", fontsize=12)
    axes.set_ylabel("z2", fontsize=12)
    return figure


def tile(images):
    """Lay images (rows, columns, 784) out as one picture (rows * 28, columns * 28), first row on top."""
    rows, columns, _ = images.shape
    return images.reshape(rows, columns, *IMAGE_SHAPE).swapaxes(1, 2).reshape(rows * 28, columns * 28)


def plot_training_curves(history, caption=""):
    """Loss, reconstruction and KL against the epoch, for training and held-out images; history as train gives it."""
    figure = new_figure(11, 4, "Training: the loss and its two parts", caption)
    titles = {"loss": "loss = −ELBO", "reconstruction": "reconstruction", "kl": "KL divergence"}
    for axes, (name, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        epochs = np.arange(1, len(history[name]) + 1)
        marker = "o" if len(epochs) < 3 else None  # a line through one point shows nothing
        axes.plot(epochs, history[name], color=TRAIN_COLOUR, linewidth=2, marker=marker, label="train")
        if "val_" + name in history:
            axes.plot(
                epochs, history["val_" + name], color=HELD_OUT_COLOUR, linewidth=2, marker=marker, label="held out"
            )
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.set_ylabel("nats per image")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


def plot_reconstructions(images, reconstructions, samples, caption=""):
    """Images (n, 784), their decoded z_mean (n, 784), and decoded draws from q(z|x), samples (draws, n, 784)."""
    figure = new_figure(
        8, 0.8 + 6.6 * (2 + len(samples)) / max(len(images), 5), "Held-out digits and what comes back", caption
    )
    axes = figure.add_subplot()
    rows = np.concatenate([images[None], reconstructions[None], samples])
    axes.imshow(tile(rows), cmap="Greys", vmin=0, vmax=1)
    names = ["image x", "decoded z_mean"] + [f"decoded draw {i + 1}" for i in range(len(samples))]
    axes.set_yticks(np.arange(len(rows)) * 28 + 13.5, names, fontsize=11)
    axes.set_xticks([])
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.axhline(27.5, color="0.6", linewidth=1)
    return figure


def plot_prior_samples(images, caption=""):
    """Decoded codes from the prior: images (n, 784), n a square number, in a square."""
    side = math.isqrt(len(images))
    figure = new_figure(7, 7.3, "New digits: z drawn from the prior, decoded", caption)
    axes = figure.add_subplot()
    axes.imshow(tile(images[: side * side].reshape(side, side, IMAGE_DIM)), cmap="Greys", vmin=0, vmax=1)
    axes.set_axis_off()
    return figure


def draw_pictures(vae, dataset, origin="", seed=0):
    """Decode and encode what the pictures show; returns {file name: Figure}.

    `origin` says where the model is from, for the captions of what the decoder draws alone. The scatter and the
    manifold need two latents and are left out otherwise.
    """
    figures = {}
    held_out = f"{dataset.name}, {len(dataset.x_test):,} held out"
    random = np.random.default_rng(seed)
    z_mean, z_log_var = encode(vae, dataset.x_test)
    latent_dim = z_mean.shape[-1]
    if latent_dim == 2:
        z_values = prior_quantiles()
        figures["latent_scatter.png"] = plot_latent_scatter(z_mean, dataset.y_test, held_out)
        figures["manifold.png"] = plot_manifold(decode(vae, manifold_codes(z_values)), z_values, origin)

    first = [np.flatnonzero(dataset.y_test == digit)[:1] for digit in range(CLASSES)]
    chosen = np.concatenate(first)  # one image of each class there is
    epsilon = random.standard_normal((3, len(chosen), latent_dim))
    z = z_mean[chosen] + np.exp(z_log_var[chosen] / 2) * epsilon
    samples = decode(vae, z.reshape(-1, latent_dim)).reshape(3, len(chosen), IMAGE_DIM)
    figures["reconstructions.png"] = plot_reconstructions(
        dataset.x_test[chosen], decode(vae, z_mean[chosen]), samples, held_out
    )
    figures["prior_samples.png"] = plot_prior_samples(decode(vae, random.standard_normal((100, latent_dim))), origin)
    return figures


# ---------------------------------------------------------------------------------------------------------------
# Saving and loading
# ---------------------------------------------------------------------------------------------------------------


def write_whole(path, write):
    """Call write(temporary path), then move the result to `path`: the file is written whole or not at all.

    Raises UserError when the disk refuses; whatever was at `path` before is then still there.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"{path} could not be written ({error.strerror or error}): choose another --output.") from error
    finally:
        temporary.unlink(missing_ok=True)


def load_vae(path):
    """Load a VAE that this script saved, in Keras's safe mode. Raises UserError for any other file."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"There is no model file {path}: give --load a vae.keras that this script wrote.")
    not_ours = f"{path} is no VAE that this script saved: give --load a vae.keras that it wrote."
    try:
        vae = keras.models.load_model(path)
        encoder, decoder = vae.get_layer("encoder"), vae.get_layer("decoder")
        shapes = [
            tuple(tensor.shape) for tensor in (*encoder.inputs, *encoder.outputs, *decoder.inputs, *decoder.outputs)
        ]
    except Exception as error:  # a foreign file fails in many ways, all of which mean the same to the user
        raise UserError(not_ours) from error
    latent = shapes[1:2]
    if shapes != [(None, IMAGE_DIM), *latent * 3, (None, IMAGE_DIM)]:
        raise UserError(not_ours)
    return vae


def choose_output(output, dataset_name, loaded=False):
    """The folder to write to: the pictures of another data set never replace those of the full MNIST.

    Without --output it is figures/ for MNIST and a folder below it otherwise. An --output is taken as it is, unless
    it holds a run on MNIST and this is none; then it is a folder below it.
    """
    folder = Path(output or "figures")
    if dataset_name != MNIST:
        below = folder / ("sample" if dataset_name == MNIST_SAMPLE else Path(dataset_name).stem)
        if output is None or recorded_dataset(folder) == MNIST:
            folder = below
    if loaded and output is None:
        folder = folder / "loaded"  # figures/ keeps the record of the run that trained
    return folder


def recorded_dataset(folder):
    """The data set of the run that wrote into `folder`, or None where no record tells."""
    try:
        return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["dataset"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def prepare_output(folder, names):
    """Make the folder and see that each of `names` can be written in it. Raises UserError where not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"Cannot write into the folder {folder} ({reason}): choose another --output.") from error
    for name in names:
        if (folder / name).is_dir():
            raise UserError(
                f"{folder / name} is a folder, and a file must go there: move it or choose another --output."
            )


# ---------------------------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------------------------


def describe_device():
    """Name the device that the Keras backend computes on: a GPU by its name, or "CPU (n cores)"."""
    gpu = None
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            gpus = tf.config.list_physical_devices("GPU")
            gpu = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else None
        case "jax":
            import jax

            device = jax.devices()[0]
            gpu = device.device_kind if device.platform != "cpu" else None
        case "torch":
            import torch

            gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        case other:
            return f"{other}'s default device"
    return gpu or f"CPU ({os.cpu_count()} cores)"


def package_versions():
    """Versions of Python and of the packages that decide the numbers."""
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in ("keras", keras.backend.backend(), "numpy", "matplotlib"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions


def whole_number(at_least):
    """An argparse type: a whole number of at least `at_least`, below 2**32."""

    def parse(text):
        with contextlib.suppress(ValueError):
            if at_least <= int(text) < 2**32:
                return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {at_least}, not {text!r}")

    return parse


def positive_number(text):
    """An argparse type: a finite number above 0."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")


class OneSentenceParser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, without the usage before it."""

    def error(self, message):
        self.exit(2, f"vae_mnist: {message} (see --help)\n")


# The options that decide what is trained, beside the data and the seed.
TRAINING_OPTIONS = ("recipe", "epochs", "batch_size", "learning_rate", "latent_dim", "hidden_dim")


def parse_args(argv=None):
    """Parse the command line; exits with status 2 and one sentence for what is not in order."""
    ours, author = RECIPES["default"], RECIPES["author"]
    parser = OneSentenceParser(
        prog="vae_mnist.py",
        description="Train the post's variational autoencoder on MNIST and save its pictures.",
        allow_abbrev=False,
    )
    count, add = whole_number(at_least=1), parser.add_argument
    add(
        "--data",
        default="mnist",
        help="'mnist', 'sample' (5,000 digits, no download) or a path to an .npz file (default: %(default)s)",
    )
    add("--recipe", choices=RECIPES, default="default", help="how to train: ours, or as in the author's notebook")
    add("--epochs", type=count, help=f"passes over the images (default: {ours.epochs}, author: {author.epochs})")
    add(
        "--learning-rate",
        type=positive_number,
        help=f"Adam's step size (default: {ours.learning_rate}, author: {author.learning_rate})",
    )
    add("--batch-size", type=count, default=100, help="images in a training step (default: %(default)s)")
    add(
        "--latent-dim", type=count, default=2, help="size of z; the pictures of the plane need 2 (default: %(default)s)"
    )
    add("--hidden-dim", type=count, default=256, help="size of both hidden layers (default: %(default)s)")
    add("--seed", type=whole_number(at_least=0), default=0, help="of weights, batches, noise (default: %(default)s)")
    add(
        "--evidence-images",
        metavar="N",
        type=whole_number(at_least=0),
        default=1000,
        help="held-out images whose log p(x) is computed (default: %(default)s)",
    )
    add("--output", metavar="FOLDER", help="where to write (default: figures, or a folder below it for other data)")
    add("--load", metavar="FILE", help="draw the pictures of this trained vae.keras; do not train (default: train)")
    args = parser.parse_args(argv)
    if args.load is not None:
        given = [name for name in TRAINING_OPTIONS if getattr(args, name) != parser.get_default(name)]
        if given:
            parser.error(f"--load does not train, so --{given[0].replace('_', '-')} has no effect: leave it out")
    recipe = RECIPES[args.recipe]
    args.epochs = args.epochs or recipe.epochs
    args.learning_rate = args.learning_rate or recipe.learning_rate
    return args


def run(args):
    """Load the data, train or load a model, report, draw and save. Returns the record (metrics.json)."""
    backend = keras.backend.backend()
    device, versions = describe_device(), package_versions()
    print(f"Keras {versions['keras']} on {backend} {versions.get(backend, '')}, {device}")
    loaded = load_vae(args.load) if args.load is not None else None
    dataset = load_data(args.data)
    images = f"{len(dataset.x_train):,} training and {len(dataset.x_test):,} held-out images of 28 x 28 pixels"
    print(f"{dataset.name}: {images}", flush=True)
    if loaded is None and len(dataset.x_train) < args.batch_size:
        raise UserError(f"{len(dataset.x_train)} training images do not fill a batch: choose a smaller --batch-size.")
    folder = choose_output(args.output, dataset.name, loaded is not None)
    names = ["latent_scatter.png", "manifold.png", "reconstructions.png", "prior_samples.png", "metrics.json"]
    prepare_output(folder, names if loaded else [*names, "training_curves.png", "vae.keras"])

    keras.utils.set_random_seed(args.seed)
    vae, history, seconds = loaded, {}, 0.0
    if vae is None:
        recipe = RECIPES[args.recipe]._replace(epochs=args.epochs, learning_rate=args.learning_rate)
        vae = build_vae(args.latent_dim, args.hidden_dim, recipe.spread_init, recipe.input_noise, args.seed)
        start = time.perf_counter()
        history = train(vae, dataset.x_train, dataset.x_test, recipe, args.batch_size)
        seconds = time.perf_counter() - start
        write_whole(folder / "vae.keras", vae.save)

    held_out = evaluate_elbo(vae, dataset.x_test, samples=10, seed=args.seed)
    x_evidence = dataset.x_test[: args.evidence_images]
    record = {
        "dataset": dataset.name,
        "backend": backend,
        "device": device,
        "versions": versions,
        "settings": {name: getattr(args, name) for name in TRAINING_OPTIONS} if history else {},
        "seed": args.seed,
        "epochs": len(history.get("loss", [])),
        "seconds": round(seconds, 1),
        "held_out": held_out,
        "evidence": evaluate_evidence(vae, x_evidence, seed=args.seed) if len(x_evidence) else None,
        "history": history,
    }
    origin = f"trained on {dataset.name}" if history else f"model {Path(args.load).name}"
    figures = draw_pictures(vae, dataset, origin, args.seed)
    if history:
        curves_caption = f"{dataset.name}; train: mean over the epoch while the weights move, held out: after it"
        figures["training_curves.png"] = plot_training_curves(history, curves_caption)
    for name, figure in figures.items():
        write_whole(folder / name, figure.savefig)
    write_whole(folder / "metrics.json", lambda path: path.write_text(json.dumps(record, indent=1) + "\n"))
    report(record, folder, [*figures, "metrics.json"] + (["vae.keras"] if history else []))
    return record


def report(record, folder, names):
    """Print the held-out numbers, the evidence, and the files written."""
    numbers, known = record["held_out"], record["evidence"]
    print(
        f"Held-out ELBO {numbers['elbo']:.2f} nats per image"
        f" = -(reconstruction {numbers['reconstruction']:.2f} + KL {numbers['kl']:.2f}), {record['dataset']}"
    )
    if known:
        print(
            f"The first {known['images']:,} held-out images: ELBO {known['elbo']:.2f},"
            f" importance-weighted log p(x) {known['importance_weighted']:.2f} ({known['importance_samples']} samples)",
            end="",
        )
        exact = known["exact"]
        gap = None if exact is None else f"{exact - known['elbo']:.2f} nats of gap are KL(q(z|x) || p(z|x))"
        print("" if exact is None else f", exact log p(x) {exact:.2f}; the {gap}")
    if "manifold.png" not in names:
        print("latent_scatter.png and manifold.png need two latent dimensions, and this model has another number.")
    print("Wrote " + ", ".join(str(folder / name) for name in sorted(names)))


def main(argv=None):
    """The command `python vae_mnist.py`; returns its exit status."""
    args = parse_args(argv)
    try:
        run(args)
    except UserError as error:
        print(f"vae_mnist: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nvae_mnist: stopped; what was written before is still there.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
