"""What the notebooks use and their reader may skip: models with one part changed, measures, and pictures.

The models are those of vae_mnist.py; here are the ones that the experiments compare it with. benchmarks/claims.py
trains them with three seeds each. With VAE_SMOKE set, everything is small and quick, for the tests.
"""

import functools
import io
import json
import logging
import math
import os
import sys
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import vae_mnist  # noqa: E402  before Keras: it keeps TensorFlow's start-up lines off the screen
from parts import data, evidence, feeding, learning, pictures, recipes  # noqa: E402

# isort: split
import keras  # noqa: E402
import numpy as np  # noqa: E402
import PIL.Image  # noqa: E402
from IPython.display import IFrame, Image, Markdown, display  # noqa: E402
from keras import ops  # noqa: E402
from matplotlib import patches  # noqa: E402

logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of the many models that predict here
SMOKE = "VAE_SMOKE" in os.environ  # the tests' short run: the sample data, one epoch, few images
DEFAULT = recipes.RECIPES["default"]
AUTHOR = recipes.RECIPES["author"]
CLEAN = DEFAULT._replace(binarised_input=False)  # no noise on the input
PLAIN = CLEAN._replace(spread_weights=False)  # and Keras's own initial weights
GREY, BLUE, ORANGE, RED = "#717581", "#3f90da", "#ffa90e", "#bd1f01"


# ---------------------------------------------------------------------------------------------------------------
# Data and models
# ---------------------------------------------------------------------------------------------------------------


def load(name=None):
    """The data set `name` (see parts.data), or what VAE_DATA names, or the full MNIST, as a parts.data.Dataset.

    When SMOKE, the 5,000-image sample. Ends the notebook on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        sys.exit(
            "The notebooks take gradients with TensorFlow: set KERAS_BACKEND to tensorflow, and start the kernel anew."
        )
    dataset = data.load_data("sample" if SMOKE else name or os.environ.get("VAE_DATA", "mnist"))
    return dataset._replace(x_train=dataset.x_train[:])  # all of them as floats


def few(number, smoke):
    """`number`, or `smoke` in the tests' short run."""
    return min(number, smoke) if SMOKE else number


def train_vae(x, recipe=DEFAULT, seed=0, latent_dim=2, x_test=None, callbacks=()):
    """A VAE trained on images x (n, 784) float32 in [0, 1], and its history (see vae_mnist.train)."""
    keras.utils.set_random_seed(seed)
    recipe = recipe._replace(epochs=few(recipe.epochs, 2))
    vae = vae_mnist.build_vae(recipe, latent_dim=latent_dim, seed=seed)
    vae_mnist.compile_vae(vae, recipe, len(x))
    return vae, vae_mnist.train(vae, x, x_test, recipe, seed, verbose=0, callbacks=callbacks)


def train_autoencoder(x, recipe=PLAIN, seed=0, noise=None):
    """The VAE's network without its sample and its KL divergence, trained to give back images x (n, 784).

    `noise`: a Keras layer before the encoder that is active in training only. Returns a model with the layers
    `encoder` and `decoder`, as a VAE has them; the encoder's z_log_var is left untrained.
    """
    keras.utils.set_random_seed(seed)
    encoder, decoder = vae_mnist.build_encoder(), vae_mnist.build_decoder()
    if recipe.spread_weights:
        learning.spread_weights(encoder, decoder)
    image = keras.Input((vae_mnist.INPUT_SIZE,))
    z_mean, _ = encoder(noise(image) if noise else image)
    autoencoder = keras.Model(image, decoder(z_mean), name="autoencoder")
    return fit(autoencoder, x, vae_mnist.reconstruction_loss, recipe, seed)


def variant(sample=vae_mnist.sample_latent, kl=True, recipe=DEFAULT, latent_dim=2, seed=0):
    """The VAE of vae_mnist with one part changed, not trained: how z is drawn (`sample`, like sample_latent), or
    whether the KL divergence is in its loss at all."""
    keras.utils.set_random_seed(seed)
    encoder, decoder = vae_mnist.build_encoder(latent_dim), vae_mnist.build_decoder(latent_dim)
    if recipe.spread_weights:
        learning.spread_weights(encoder, decoder)
    x = keras.Input((vae_mnist.INPUT_SIZE,))
    q = encoder(learning.StochasticBinarisation(seed)(x) if recipe.binarised_input else x)
    if kl:
        q = vae_mnist.AddKLLoss()(q)
    epsilon_seed = keras.random.SeedGenerator(seed)
    draw = keras.layers.Lambda(sample, arguments={"seed": epsilon_seed}, output_shape=(latent_dim,), name="z_sample")
    return keras.Model(x, decoder(draw(q)))


def fit(model, x, loss, recipe, seed=0):
    """Train a model to give back images x (n, 784) by a loss of its own, with the recipe's optimizer; returns it.

    The seed decides the order of the batches and all noise, as in vae_mnist.train.
    """
    epochs, steps = few(recipe.epochs, 2), math.ceil(len(x) / recipe.batch_size)
    optimizer = learning.make_optimizer(recipe, steps * epochs)
    model.compile(optimizer, loss, **({} if SMOKE else learning.compile_options(steps)))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gradients do not exist")  # a part may be cut off on purpose
        batches = feeding.Batches(x, recipe.batch_size, seed)
        anew = learning.SeedEachEpoch(batches, seed)
        model.fit(batches, shuffle=False, epochs=epochs, callbacks=[anew], verbose=0)
    return model


def new_encoder(decoder, x, recipe, seed=0):
    """A VAE around a decoder that stays as it is, with an encoder trained by the ELBO on images x (n, 784).

    Importance weighting needs a q that knows the posterior; a model trained without the KL divergence has none.
    """
    keras.utils.set_random_seed(seed)
    vae = vae_mnist.build_vae(recipe, latent_dim=decoder.input_shape[-1], seed=seed)
    vae.get_layer("decoder").set_weights(decoder.get_weights())
    vae.get_layer("decoder").trainable = False
    vae_mnist.compile_vae(vae, recipe, len(x))
    vae_mnist.train(vae, x, None, recipe._replace(epochs=few(recipe.epochs, 1)), seed, verbose=0)
    return vae


@functools.cache
def gaussian_loss(variance):
    """-log N(x; x_hat, variance * I) of images (n, 784): the squared error as a log-likelihood, nats per image."""

    def loss(x, x_hat):
        square = ops.sum(ops.square(x - x_hat), axis=-1)
        return 0.5 * (square / variance + x.shape[-1] * math.log(2 * math.pi * variance))

    return loss


# ---------------------------------------------------------------------------------------------------------------
# Measures
# ---------------------------------------------------------------------------------------------------------------


def encode(model, x):
    """z_mean and z_log_var of images x (n, 784), NumPy float32 (n, latent_dim)."""
    return model.get_layer("encoder").predict(x, batch_size=1000, verbose=0)


def decode(model, z):
    """The pixel probabilities (n, 784) of codes z (n, latent_dim), NumPy float32."""
    return model.get_layer("decoder").predict(np.asarray(z, "float32"), batch_size=1000, verbose=0)


def reconstruction(model, x, x_input=None):
    """-log p(x|z) at the z_mean of x_input (by default x itself): NumPy (n,), nats per image."""
    x_hat = decode(model, encode(model, x if x_input is None else x_input)[0])
    return ops.convert_to_numpy(vae_mnist.reconstruction_loss(x, x_hat))


def log_evidence(decoder, x, tolerance=0.02):
    """log p(x) of images x (n, 784) for z from N(0, I): NumPy (n,), nats; NaN where no grid resolves it."""
    try:
        return evidence.exact_log_evidence(decoder, x, tolerance)[0]
    except evidence.ResolutionError:
        return np.full(len(x), np.nan)


def on_own_codes(decoder, z):
    """The decoder, told to take N(0, I) for the Gaussian with the mean and covariance of the codes z (n, 2)."""
    mean, root = z.mean(axis=0), np.linalg.cholesky(np.cov(z.T)).T.astype("float32")
    return lambda standard: decoder(mean + ops.matmul(standard, root))


def classes_from_codes(model, dataset, neighbours=15):
    """The share of held-out images whose class is that of most of the nearest codes of 10,000 training images."""
    from sklearn.neighbors import KNeighborsClassifier

    known = slice(0, 10_000)
    judge = KNeighborsClassifier(neighbours).fit(encode(model, dataset.x_train[known])[0], dataset.y_train[known])
    return float(judge.score(encode(model, dataset.x_test)[0], dataset.y_test))


def own_elbo(model, x, loss, samples=5, seed=0):
    """The ELBO of images x (n, 784) when the likelihood is that of `loss`; the mean, nats per image."""
    q = [ops.convert_to_tensor(part) for part in encode(model, x)]
    epsilon_seed = keras.random.SeedGenerator(seed)
    draws = [decode(model, ops.convert_to_numpy(vae_mnist.sample_latent(q, epsilon_seed))) for _ in range(samples)]
    cost = np.mean([ops.convert_to_numpy(loss(x, x_hat)).mean() for x_hat in draws])
    return -float(cost + ops.convert_to_numpy(vae_mnist.kl_divergence(*q)).mean())


# ---------------------------------------------------------------------------------------------------------------
# Pictures and tables
# ---------------------------------------------------------------------------------------------------------------


def strip(axes, rows, names):
    """Draw images (rows, columns, 784) as a strip, each row with its name."""
    axes.imshow(pictures.tile(np.asarray(rows)), cmap="Greys", vmin=0, vmax=1)
    axes.set_yticks(28 * np.arange(len(names)) + 13.5, names, fontsize=11)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def class_legend(figure):
    """The ten digits and their colours, to the right of all axes."""
    handles = [patches.Patch(color=colour, label=str(digit)) for digit, colour in enumerate(pictures.CLASS_COLOURS)]
    figure.legend(handles=handles, loc="outside right center", frameon=False, title="digit")


def show(figure, alt, dpi=100):
    """Show a Figure as a PNG, with a description (`alt`) for those who cannot see it."""
    png, small = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi)
    picture = PIL.Image.open(png).convert("RGB")
    if np.ptp(np.asarray(picture), axis=-1).max() == 0:  # no colour: a third of the bytes
        picture = picture.convert("L")
    picture.save(small, format="png", optimize=True)
    display(Image(small.getvalue(), alt=alt))


def table(header, rows):
    """Show a Markdown table; all columns but the first are aligned to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    display(Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)))


def recorded(experiment):
    """The runs of an experiment of benchmarks/claims.py, a list of dicts."""
    return json.loads((ROOT / "benchmarks" / "claims.json").read_text())[experiment]["runs"]


def recorded_table(experiment, by, columns, digits=1):
    """Show an experiment of benchmarks/claims.py: one row for each combination of the keys of `by`.

    by and columns: {key of a run: heading}; a key like "log_p.test" looks inside. Each cell is the mean over the seeds
    and its standard error.
    """
    groups = {}
    for run in recorded(experiment):
        groups.setdefault(tuple(look_up(run, key) for key in by), []).append(run)
    rows = []
    for group, runs in groups.items():
        cells = [over_seeds([look_up(run, key) for run in runs], digits) for key in columns]
        rows.append([*(f"{part:,}" if type(part) is int else part for part in group), *cells])
    table([*by.values(), *columns.values()], rows)


def look_up(run, key):
    """The value of "a", "a.b" or "a.0" in a run."""
    for part in key.split("."):
        run = run[int(part) if part.isdigit() else part]
    return run


def over_seeds(values, digits=1):
    """Mean and standard error of one value for each seed, as text; a dash where a value is not known."""
    if None in values:
        return "–"
    mean, error = np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))
    return f"{mean:.{digits}f} ± {error:.{digits}f}".replace("-", "\N{MINUS SIGN}")


# ---------------------------------------------------------------------------------------------------------------
# The first notebook's experiments
# ---------------------------------------------------------------------------------------------------------------


def one_of_each(labels):
    """The index of the first image of each class in labels (n,): (10,)."""
    return np.array([np.flatnonzero(labels == digit)[0] for digit in range(10)])


def milestones(history, x_train, x_test):
    """Show the loss and its parts: a decoder without any code, and the training's first and last epoch.

    Without a code, the best that a decoder can draw is the average training digit.
    """
    average = np.broadcast_to(x_train.mean(axis=0), x_test.shape)
    no_code = float(ops.convert_to_numpy(vae_mnist.reconstruction_loss(x_test, average)).mean())
    rows = [["no code: the average digit", f"{no_code:.1f}", f"{no_code:.1f}", "0.0"]]
    for epoch in (1, len(history["loss"])):
        parts = [history[f"val_{name}"][epoch - 1] for name in ("loss", "reconstruction_loss", "kl_loss")]
        rows.append([f"after epoch {epoch}", *(f"{part:.1f}" for part in parts)])
    last, kl = history["val_reconstruction_loss"][-1], history["val_kl_loss"][-1]
    rows.append(["reconstruction gained by the code, for each nat of KL", "", f"{(no_code - last) / kl:.0f}", ""])
    table(["held out, nats per image", "loss", "reconstruction loss", "KL loss"], rows)


def network_table(vae):
    """Show the post's pseudo-code beside the layers of the VAE and their numbers of weights."""
    lines = {
        "encoder_x = Input_layer(...)": ("encoder", "encoder_x"),
        "encoder_h = Dense_layer(...)": ("encoder", "encoder_h"),
        "z_mean = Dense(...)": ("encoder", "z_mean"),
        "z_variance = Dense(...)": ("encoder", "z_log_var"),
        "kl_loss = -0.5 * sum(...)": (None, "kl_loss"),
        "z_sample = z_mean + exp(z_variance / 2) * epsilon": (None, "z_sample"),
        "decoder_h = Dense_layer(...)": ("decoder", "decoder_h"),
        "decoder_output = Dense_layer(...)": ("decoder", "decoder_output"),
    }
    rows = []
    for line, (part, name) in lines.items():
        layer = (vae.get_layer(part) if part else vae).get_layer(name)
        output = layer.output[0] if isinstance(layer.output, list | tuple) else layer.output
        rows.append([f"`{line}`", f"`{name}`", output.shape[-1], f"{layer.count_params():,}"])
    total = sum(math.prod(weight.shape) for weight in vae.trainable_weights)
    table(["the post's pseudo-code", "layer", "outputs", "weights"], [*rows, ["together", "", "", f"{total:,}"]])


def rate_starts(models, dataset):
    """Show where models {name: model} put their codes, and the evidence of 200 held-out digits, two ways."""
    test, rows = dataset.x_test[: few(200, 20)], []
    for name, model in models.items():
        z, _ = encode(model, dataset.x_train[: few(20_000, 500)])
        decoder = model.get_layer("decoder")
        numbers = [
            reconstruction(model, test),
            log_evidence(decoder, test),
            log_evidence(on_own_codes(decoder, z), test),
        ]
        spread = ", ".join(f"{value:.1f}" for value in z.std(axis=0))
        rows.append([name, spread, *(f"{number.mean():.1f}" for number in numbers)])
    columns = ["spread of the codes (z1, z2)", "reconstruction loss", "log p(x), z from N(0, I)"]
    table(["model", *columns, "log p(x), z from the codes' own Gaussian"], rows)


def covariance_with(images, pixel):
    """The covariance of one pixel with all others, over images (n, 784): (784,), squared grey values."""
    return (images - images.mean(axis=0)).T @ (images[:, pixel] - images[:, pixel].mean()) / len(images)


def covariance_explained(images, x):
    """How much of the covariances between different pixels of x (n, 784) the generated images (m, 784) have.

    1 - (their squared distance) / (the square of those of x): 1 for a perfect generator, 0 for one without any.
    """
    pairs = ~np.eye(x.shape[-1], dtype=bool)
    theirs, truth = (np.cov(part.T)[pairs] for part in (images, x))
    return float(1 - np.sum((theirs - truth) ** 2) / np.sum(truth**2))


def generators(vae, autoencoder, dataset, number=10_000):
    """Generated images {name: (number, 784)}: by the VAE and an autoencoder from N(0, I), and copies of the average."""
    z = np.random.default_rng(0).standard_normal((few(number, 1000), 2))
    average = np.broadcast_to(dataset.x_train.mean(axis=0), (len(z), vae_mnist.INPUT_SIZE))
    return {"VAE": decode(vae, z), "autoencoder": decode(autoencoder, z), "always the average digit": average}


def rate_generators(images, models, dataset):
    """Show how close generated images {name: (m, 784)} are to the data: average, covariances, log p(x)."""
    test, rows = dataset.x_test[: few(200, 20)], []
    for name, drawn in images.items():
        distance = np.sqrt(np.mean((drawn.mean(axis=0) - dataset.x_train.mean(axis=0)) ** 2))
        if name in models:
            log_p = log_evidence(models[name].get_layer("decoder"), test).mean()
        else:
            log_p = -ops.convert_to_numpy(vae_mnist.reconstruction_loss(test, drawn[: len(test)])).mean()
        shared = covariance_explained(drawn, dataset.x_train[: few(10_000, 1000)])
        rows.append([name, f"{distance:.3f}", f"{100 * shared:.0f} %".replace("-", "\N{MINUS SIGN}"), f"{log_p:.1f}"])
    table(["generator", "distance of the averages, grey values", "covariances explained", "log p(x), held out"], rows)


def on_a_border(vae, x):
    """The index of an image of x (n, 784) that comes back well, and whose q(z|x) holds the most different pictures.

    The difference of the decoded codes two sigma before and after the mean, on either axis, in units of their size.
    """
    z_mean, z_log_var = encode(vae, x)
    most = np.zeros(len(x))
    for axis in 2 * np.eye(2):
        before, after = (decode(vae, z_mean + sign * axis * np.exp(z_log_var / 2)) for sign in (-1, 1))
        sizes = np.square(before).sum(axis=1) + np.square(after).sum(axis=1)
        most = np.maximum(most, np.square(before - after).sum(axis=1) / sizes)
    loss = reconstruction(vae, x)
    return int(np.argmax(np.where(loss < np.median(loss), most, 0)))


def gradients(function, *inputs):
    """The gradients of function(*inputs), a scalar, with respect to its inputs; None where none flows.

    TensorFlow's own tape: JAX has no None, and would give zeros.
    """
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        value = function(*inputs)
    return tape.gradient(value, inputs)


def drawn_by_numpy(q, seed):
    """A sample of q as a plain number: the same values as sample_latent, cut off from q."""
    return ops.stop_gradient(vae_mnist.sample_latent(q, seed))


def trick_on_and_off(vae, image, draws=1000):
    """Show the gradient of one image's reconstruction loss with respect to z_mean: with the trick, without it, and by
    finite differences with the same epsilon."""
    x = np.repeat(image[None], few(draws, 50), axis=0)
    q = [ops.repeat(ops.convert_to_tensor(part), len(x), axis=0) for part in encode(vae, image[None])]
    decoder = vae.get_layer("decoder")

    def loss(sample):
        def at(z_mean, z_log_var):
            z = sample((z_mean, z_log_var), keras.random.SeedGenerator(0))
            return ops.mean(vae_mnist.reconstruction_loss(x, decoder(z)))

        return at

    step, rows = 1e-3, []
    with_trick, without = (gradients(loss(sample), *q)[0] for sample in (vae_mnist.sample_latent, drawn_by_numpy))
    rows.append(["with the trick", *(f"{value:.1f}" for value in ops.convert_to_numpy(with_trick).sum(axis=0))])
    rows.append(["without it", *[str(without)] * 2])
    moved = []
    for latent in (0, 1):
        move = step * np.eye(2, dtype="float32")[latent]
        up, down = (float(loss(vae_mnist.sample_latent)(q[0] + sign * move, q[1])) for sign in (1, -1))
        moved.append(f"{(up - down) / (2 * step):.1f}")
    rows.append(["finite differences, the same epsilon", *moved])
    table(["gradient, nats per unit of z", "with respect to z_mean 1", "z_mean 2"], rows)


def train_cut_off(x):
    """Show how far an epoch of training moves the encoder's and the decoder's weights, with the trick and without."""
    rows = []
    for name, sample in (("with the trick", vae_mnist.sample_latent), ("without it", drawn_by_numpy)):
        model = variant(sample, kl=False, recipe=PLAIN)
        halves = [model.get_layer(half) for half in ("encoder", "decoder")]
        before = [half.get_weights() for half in halves]
        fit(model, x, vae_mnist.reconstruction_loss, PLAIN._replace(epochs=1))
        moves = [
            max(float(np.abs(new - old).max()) for new, old in zip(half.get_weights(), start, strict=True))
            for half, start in zip(halves, before, strict=True)
        ]
        rows.append([name, *(f"{move:.2f}" for move in moves)])
    table(["reconstruction loss alone, one epoch", "largest move of an encoder's weight", "of a decoder's"], rows)


def terms_around(vae, x, scale=1.0, pull=1.0, draws=4):
    """Mean reconstruction and KL loss of images x when q's sigma is multiplied by `scale` and its mean by `pull`."""
    z_mean, z_log_var = encode(vae, x)
    moved = (pull * z_mean, z_log_var + 2 * np.log(scale))
    q = [ops.convert_to_tensor(part.astype("float32")) for part in moved]
    seed = keras.random.SeedGenerator(0)  # the same noise for all
    drawn = [decode(vae, ops.convert_to_numpy(vae_mnist.sample_latent(q, seed))) for _ in range(draws)]
    cost = np.mean([ops.convert_to_numpy(vae_mnist.reconstruction_loss(x, x_hat)).mean() for x_hat in drawn])
    return float(cost), float(ops.convert_to_numpy(vae_mnist.kl_divergence(*q)).mean())


def mean_and_sum(vae, x):
    """Show the reconstruction loss of images x as a mean over pixels and as their sum, beside the KL loss."""
    z_mean, z_log_var = encode(vae, x)
    x_hat = decode(vae, z_mean)
    per_pixel = float(ops.convert_to_numpy(keras.losses.binary_crossentropy(x, x_hat)).mean())
    kl = float(ops.convert_to_numpy(vae_mnist.kl_divergence(z_mean, z_log_var)).mean())
    rows = [["mean over the pixels", f"{per_pixel:.3f}"], ["sum of the 784 pixels", f"{784 * per_pixel:.1f}"]]
    table(["reconstruction loss, at z_mean", "nats"], [*rows, ["KL loss, for comparison", f"{kl:.1f}"]])


def two_forms(vae, x, draws=100):
    """Show both forms of the ELBO of images x (n, 784) from the same draws, and what a plus sign would make of it."""
    z_mean, z_log_var = (part.astype("float64") for part in encode(vae, x))
    rng = np.random.default_rng(0)
    log_px_z, log_ratio = np.zeros((2, few(draws, 10), len(x)))
    for draw in range(len(log_px_z)):
        epsilon = rng.standard_normal(z_mean.shape)
        z = z_mean + np.exp(z_log_var / 2) * epsilon
        log_px_z[draw] = -ops.convert_to_numpy(vae_mnist.reconstruction_loss(x, decode(vae, z)))
        log_ratio[draw] = 0.5 * (z**2 - epsilon**2 - z_log_var).sum(axis=1)  # log q(z|x) - log p(z)
    kl = float(ops.convert_to_numpy(vae_mnist.kl_divergence(z_mean, z_log_var)).mean())
    joint, split = float((log_px_z - log_ratio).mean()), float(log_px_z.mean()) - kl
    error = float(np.sqrt((log_ratio.var(axis=0, ddof=1) / len(log_ratio)).sum()) / len(x))
    rows = [
        ["E_q[−log q(z\\|x) + log p(x, z)]", f"{joint:.3f}"],
        ["E_q[log p(x\\|z)] − KL(q(z\\|x) ‖ p(z))", f"{split:.3f}"],
        ["their difference", f"{joint - split:+.3f} ± {error:.3f}"],
        ["with the side note's plus: E_q[log p(x\\|z)] + KL", f"{split + 2 * kl:.3f}"],
    ]
    table([f"{len(x):,} held-out digits, {len(log_px_z)} draws each", "nats per image"], rows)


def follow_the_prior(vae, dataset):
    """Show which share of one draw z for each held-out digit lies within 1, 2 and 3 sigma of N(0, I)."""
    z_mean, z_log_var = encode(vae, dataset.x_test)
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(0).standard_normal(z_mean.shape)
    radius = np.hypot(*z.T)
    rows = [
        ["one z for each held-out digit", *(f"{100 * np.mean(radius < sigma):.0f} %" for sigma in (1, 2, 3))],
        ["N(0, I)", *(f"{100 * (1 - math.exp(-(sigma**2) / 2)):.0f} %" for sigma in (1, 2, 3))],
    ]
    table(["share within", "1 sigma", "2 sigma", "3 sigma"], rows)


def embed(page):
    """Write an explorer's page beside the figures and show it in the notebook."""
    folder = ROOT / "figures" / "notebook"
    folder.mkdir(exist_ok=True)
    (folder / "explorer.html").write_text(page, encoding="utf-8")
    return IFrame("../figures/notebook/explorer.html", width="100%", height=900)


def noise_too_small(q, seed):
    """A bug: the noise is a hundred times too small."""
    return q[0] + 0.01 * (vae_mnist.sample_latent(q, seed) - q[0])


def log_var_as_sigma(q, seed):
    """A bug: z_log_var is taken for the standard deviation."""
    return q[0] + q[1] * keras.random.normal(ops.shape(q[0]), seed=seed)


def mean_crossentropy(x, x_hat):
    """A bug: the mean over pixels, without the 784."""
    return keras.losses.binary_crossentropy(x, x_hat)


def squared_error(x, x_hat):
    """A bug: the sum of squared errors, which is a Gaussian likelihood with a variance of 1/2, far too large."""
    return vae_mnist.INPUT_SIZE * keras.losses.mean_squared_error(x, x_hat)


def same(log_var):
    """The logarithm of q's variance, where nothing is wrong with the sample."""
    return log_var


# name: the reconstruction loss, how z is drawn, whether there is a KL loss, and log sigma^2 of the q that z came from
BUGS = {
    "no bug": (vae_mnist.reconstruction_loss, vae_mnist.sample_latent, True, same),
    "mean, not sum": (mean_crossentropy, vae_mnist.sample_latent, True, same),
    "noise times 0.01": (
        vae_mnist.reconstruction_loss,
        noise_too_small,
        True,
        lambda log_var: log_var + 2 * np.log(0.01),
    ),
    "no KL": (vae_mnist.reconstruction_loss, vae_mnist.sample_latent, False, same),
    "squared error": (squared_error, vae_mnist.sample_latent, True, same),
    "z_log_var as sigma": (vae_mnist.reconstruction_loss, log_var_as_sigma, True, lambda sigma: np.log(sigma**2)),
}


def train_bugs(x, epochs=10):
    """A VAE for each of BUGS, trained with it on images x (n, 784): {name: model}."""
    recipe = DEFAULT._replace(epochs=epochs)
    return {name: fit(variant(draw, kl, recipe), x, loss, recipe) for name, (loss, draw, kl, _) in BUGS.items()}


def rate_bugs(models, x):
    """Show the correct ELBO of images x (n, 784) under each model of train_bugs, for the q its decoder has seen."""
    rows = []
    for name, model in models.items():
        z_mean, second = encode(model, x)
        z_log_var = BUGS[name][3](second)
        q = [ops.convert_to_tensor(z_mean), ops.convert_to_tensor(z_log_var.astype("float32"))]
        z = [ops.convert_to_numpy(vae_mnist.sample_latent(q, keras.random.SeedGenerator(draw))) for draw in range(3)]
        costs = [ops.convert_to_numpy(vae_mnist.reconstruction_loss(x, decode(model, codes))).mean() for codes in z]
        cost, kl = float(np.mean(costs)), float(ops.convert_to_numpy(vae_mnist.kl_divergence(*q)).mean())
        spread = ", ".join(f"{value:.1f}" for value in z_mean.std(axis=0))
        sigma = f"{np.median(np.exp(z_log_var / 2)):.1g}"
        rows.append(
            [name, f"{-cost - kl:.0f}".replace("-", "\N{MINUS SIGN}"), f"{cost:.0f}", f"{kl:.0f}", spread, sigma]
        )
    columns = ["ELBO", "reconstruction loss", "KL loss", "spread of z_mean (z1, z2)", "median sigma of q"]
    table(["bug", *columns], rows)


# ---------------------------------------------------------------------------------------------------------------
# The first notebook's pictures
# ---------------------------------------------------------------------------------------------------------------


def plot_words(vae, image):
    """The words on one picture: an image, its q(z|x) and true posterior over the prior, and what z decodes to."""
    (z_mean,), (z_log_var,) = encode(vae, image[None])
    sigma = np.exp(z_log_var / 2)
    z = z_mean + sigma * np.array([1.3, -0.9])
    caption = "a trained model; the draw z is at 1.3 and −0.9 sigma, the rest is computed"
    figure = pictures.new_figure(12, 4.6, "The words, on one digit", caption)
    left, middle, near, right = figure.subplots(1, 4, width_ratios=(0.8, 1.25, 1.25, 0.8))
    for axes, picture, title in ((left, image, "image x"), (right, decode(vae, z[None])[0], "decoded z")):
        axes.imshow(picture.reshape(data.IMAGE_SHAPE), cmap="Greys", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=13)
    left.set_xlabel("784 grey values\n\nencoder: q(z|x)  →", fontsize=11)
    right.set_xlabel("784 probabilities\n\n→  decoder: p(x|z)", fontsize=11)
    for radius in (1, 2, 3):
        middle.add_patch(patches.Circle((0, 0), radius, fill=False, edgecolor="0.5", linestyle=(0, (4, 3))))
        middle.text(0, -radius, f"{radius}σ", ha="center", va="center", fontsize=9, bbox=pictures.LABEL_BOX)
    middle.plot(*z_mean, "o", color=BLUE)
    middle.annotate("this digit's q(z|x)", z_mean, (-2.9, 2.9), color=BLUE, fontsize=11, arrowprops={"arrowstyle": "-"})
    middle.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4))
    middle.set_title("latent plane, with the prior N(0, I)", fontsize=13)
    axis, density = true_posterior(vae.get_layer("decoder"), image)
    plot_posterior(near, axis, density, z_mean, z_log_var)
    near.plot(*z, "o", color=ORANGE, zorder=4)
    near.annotate("one draw z", z, xytext=(8, -14), textcoords="offset points", color="black", fontsize=11)
    near.set_title("closer: true posterior, and q", fontsize=13)
    for axes in (middle, near):
        axes.set(aspect="equal", xlabel="z1", ylabel="z2")
    return figure


def true_posterior(decoder, image, spacing=0.02, half_width=4.0, log_likelihood=evidence.bernoulli_log_likelihood):
    """The true posterior p(z|x) of one image (pixels,) on a grid, by Bayes' rule.

    Returns (axis, density): axis (k,) for z1 and z2, and density (k, k), indexed [z2, z1], which sums to
    1 / spacing^2 where all of p(z|x) lies on the grid.
    """
    codes = evidence.grid_codes(spacing, half_width)
    joint = [
        ops.convert_to_numpy(log_likelihood(image[None], decoder(block)))[0] - 0.5 * np.sum(block**2, axis=-1)
        for block in evidence.batches(codes, 4096)
    ]
    joint = np.concatenate(joint).astype("float64")
    density = np.exp(joint - joint.max())
    side = math.isqrt(len(codes))
    axis = codes[:side, 0].astype("float64")
    return axis, density.reshape(side, side) / (density.sum() * spacing**2)


def plot_posterior(axes, axis, density, z_mean, z_log_var):
    """The true posterior (see true_posterior) with contours around 39 % and 86 % of it, under q's ellipses."""
    ranked = np.sort(density.ravel())[::-1]
    mass = np.cumsum(ranked) / ranked.sum()
    levels = [ranked[np.searchsorted(mass, share)] for share in (1 - math.exp(-2), 1 - math.exp(-0.5))]
    axes.contourf(axis, axis, density, [*levels, ranked[0] * 1.01], colors=["0.85", "0.65"])
    axes.contour(axis, axis, density, levels, colors="0.3", linewidths=1)
    for sigmas in (1, 2):
        size = 2 * sigmas * np.exp(z_log_var / 2)
        axes.add_patch(patches.Ellipse(z_mean, *size, fill=False, edgecolor=BLUE, linewidth=2, zorder=3))
    inside = np.argwhere(density >= levels[0])
    low, high = axis[inside.min(axis=0)][::-1], axis[inside.max(axis=0)][::-1]
    low, high = np.minimum(low, z_mean - size / 2), np.maximum(high, z_mean + size / 2)
    centre, half = (low + high) / 2, 0.65 * (high - low).max()
    axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))


def plot_network():
    """The VAE's layers, their sizes, and where the two terms of the loss come in."""
    boxes = {  # name: size and place
        "x": ("784 pixels", 0.0, 0.0),
        "encoder_h": ("256, relu", 2.0, 0.0),
        "z_mean": ("2", 4.0, 1.4),
        "KL loss": ("to N(0, I)", 4.0, 0.0),
        "z_log_var": ("2", 4.0, -1.4),
        "epsilon": ("2, from N(0, I)", 6.2, -1.4),
        "z_sample": ("2", 6.2, 0.0),
        "decoder_h": ("256, relu", 8.2, 0.0),
        "x_hat": ("784, sigmoid", 10.2, 0.0),
        "reconstruction loss": ("x_hat against x", 10.2, 1.4),
    }
    arrows = (
        "x encoder_h, encoder_h z_mean, encoder_h z_log_var, z_mean KL_loss, z_log_var KL_loss, z_mean z_sample,"
        " z_log_var z_sample, epsilon z_sample, z_sample decoder_h, decoder_h x_hat, x_hat reconstruction_loss"
    )
    fills = {"epsilon": "#ffe3b3", "z_sample": "#ffe3b3", "KL loss": "#d6e7f8", "reconstruction loss": "#d6e7f8"}
    caption = "orange: random     blue: the two terms of the loss     z_variance is the post's name for z_log_var"
    figure = pictures.new_figure(11, 4.2, "The network: layers, sizes, and where the loss comes in", caption)
    axes = figure.add_subplot()
    axes.set(xlim=(-1.0, 11.4), ylim=(-1.9, 1.9), aspect="equal")
    axes.set_axis_off()
    alias = {"KL_loss": "KL loss", "reconstruction_loss": "reconstruction loss"}
    for pair in arrows.split(","):
        start, end = (boxes[alias.get(name, name)][1:] for name in pair.split())
        style = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "facecolor": "black"}
        axes.annotate("", edge_of_box(end, start), edge_of_box(start, end), arrowprops=style)
    for name, (size, x, y) in boxes.items():
        box = patches.FancyBboxPatch(
            (x - 0.75, y - 0.3), 1.5, 0.6, boxstyle="round,pad=0.05", facecolor=fills.get(name, "white")
        )
        axes.add_patch(box)
        axes.text(x, y, f"{name}\n{size}", ha="center", va="center", fontsize=9)
    return figure


def edge_of_box(place, other):
    """Where an arrow between two boxes of plot_network meets the first: its side, or its top or bottom."""
    (x, y), (x_other, y_other) = place, other
    return (x, y + 0.37 * np.sign(y_other - y)) if x == x_other else (x + 0.82 * np.sign(x_other - x), y)


def plot_graphical_model():
    """The post's graphical model: z causes x, the encoder infers z, in a plate of N images."""
    figure = pictures.new_figure(
        6.4, 4.2, "The graphical model", "solid: generation   dashed: inference   shaded: observed"
    )
    axes = figure.add_subplot()
    axes.set(xlim=(0, 6.4), ylim=(0, 3.6), aspect="equal")
    axes.set_axis_off()
    axes.add_patch(patches.FancyBboxPatch((2.1, 0.2), 2.2, 3.2, boxstyle="round,pad=0.05", fill=False, linewidth=1.4))
    axes.text(4.18, 0.28, "N images", ha="right", fontsize=10)
    for y, label, colour in ((2.7, "$z_i$", "white"), (1.0, "$x_i$", "0.8")):
        axes.add_patch(patches.Circle((3.2, y), 0.36, facecolor=colour, edgecolor="black", linewidth=1.4, zorder=2))
        axes.text(3.2, y, label, ha="center", va="center", fontsize=15, zorder=3)
    for x, y, text in ((0.9, 1.45, "$\\phi$\nencoder's weights"), (5.5, 2.25, "decoder's weights\n$\\theta$")):
        axes.plot(x, 1.85, "s", color="black", markersize=7)
        axes.text(x, y, text, ha="center", va="center", fontsize=11)
    arrow = {"arrowstyle": "-|>", "mutation_scale": 16, "linewidth": 1.5, "color": "black"}
    dashed = {**arrow, "linestyle": (0, (4, 3)), "color": BLUE}
    axes.add_patch(patches.FancyArrowPatch((3.32, 2.36), (3.32, 1.34), **arrow))
    axes.add_patch(patches.FancyArrowPatch((3.0, 1.3), (3.0, 2.4), connectionstyle="arc3,rad=-0.35", **dashed))
    axes.add_patch(patches.FancyArrowPatch((5.38, 1.8), (3.58, 1.05), **arrow))
    axes.add_patch(patches.FancyArrowPatch((1.02, 1.92), (2.85, 2.66), **dashed))
    return figure


def plot_codes(axes, z, labels, limit, size=4):
    """Codes z (n, 2) in the colours of their classes, over the circles of N(0, I), on axes of [-limit, limit]."""
    axes.scatter(*z.T, c=np.array(pictures.CLASS_COLOURS)[labels], s=size, linewidths=0, rasterized=True)
    for radius in (1, 2, 3):
        axes.add_patch(patches.Circle((0, 0), radius, fill=False, edgecolor="0.3", linestyle=(0, (4, 3))))
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="z1", ylabel="z2")


def plot_starts(models, dataset, columns=6):
    """Where models {name: model} put the held-out digits, each on axes of its own, and what N(0, I) decodes to."""
    caption = f"{dataset.name}, held out; dashed: 1, 2 and 3 sigma of N(0, I); note the axes"
    figure = pictures.new_figure(11, 7.6, "Where the codes are, and what N(0, I) decodes to", caption)
    z_prior = np.random.default_rng(3).standard_normal((columns**2, 2))
    for (top, bottom), (name, model) in zip(figure.subplots(2, len(models)).T, models.items(), strict=True):
        z, _ = encode(model, dataset.x_test[:3000])
        plot_codes(top, z, dataset.y_test[:3000], max(3.5, float(np.quantile(np.abs(z), 0.999))))
        top.set_title(name, fontsize=12)
        images = decode(model, z_prior).reshape(columns, columns, -1)
        bottom.imshow(pictures.tile(images), cmap="Greys", vmin=0, vmax=1)
        bottom.set_axis_off()
    class_legend(figure)
    return figure


def plot_denoising(x, models, noise=0.5):
    """Images x (n, 784), with noise, and what models {name: model} make of the noisy ones."""
    noisy = x + noise * np.random.default_rng(1).standard_normal(x.shape, "float32")
    rows = {"clean": x, "with noise": noisy} | {name: decode(m, encode(m, noisy)[0]) for name, m in models.items()}
    figure = pictures.new_figure(9, 3.6, "What comes back from noisy digits", "held out; noise of 0.5 grey values")
    strip(figure.add_subplot(), list(rows.values()), list(rows))
    return figure


def plot_covariances(images, dataset, pixel=14 * 28 + 14):
    """The covariance of the middle pixel with all others: of the data, and of generated images {name: (m, 784)}."""
    maps = {"held-out digits": covariance_with(dataset.x_test, pixel)}
    maps |= {name: covariance_with(drawn, pixel) for name, drawn in images.items()}
    figure = pictures.new_figure(11, 3.5, "How each pixel goes with the middle one (cross)", "covariance")
    limit = float(np.abs(maps["held-out digits"]).max())
    panels = figure.subplots(1, len(maps))
    for axes, (name, values) in zip(panels, maps.items(), strict=True):
        picture = axes.imshow(values.reshape(data.IMAGE_SHAPE), cmap="PuOr", vmin=-limit, vmax=limit)
        axes.plot(14, 14, "+", color="black")
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=12)
    figure.colorbar(picture, ax=panels, shrink=0.8, label="squared grey values")
    return figure


def plot_draws(vae, image, z_all):
    """One digit's q(z|x) in the plane, closer, and what its draws decode to; z_all (n, 2): the other digits' codes."""
    z_mean, z_log_var = (part[0] for part in encode(vae, image[None]))
    sigma = np.exp(z_log_var / 2)
    draws = z_mean + sigma * np.random.default_rng(0).standard_normal((60, 2))
    figure = pictures.new_figure(11, 4.4, "One digit, its q(z|x), and draws from it", "grey: all other held-out digits")
    left, middle, right = figure.subplots(1, 3)
    for axes, centre, half, size in ((left, np.zeros(2), 3.6, 1), (middle, z_mean, 5 * sigma.max(), 6)):
        axes.scatter(*z_all.T, s=size, color="0.8", linewidths=0, rasterized=True)
        axes.scatter(*draws.T, s=8, color=ORANGE, linewidths=0, zorder=2)
        for sigmas in (1, 2):
            size = 2 * sigmas * sigma
            axes.add_patch(patches.Ellipse(z_mean, *size, fill=False, edgecolor=BLUE, linewidth=2, zorder=3))
        axes.set(xlim=(centre[0] - half, centre[0] + half), ylim=(centre[1] - half, centre[1] + half))
        axes.set(aspect="equal", xlabel="z1", ylabel="z2")
    left.set_title("in the latent plane")
    middle.set_title("closer: 1 and 2 sigma, 60 draws")
    shown = np.concatenate([image[None], decode(vae, draws[:15])]).reshape(4, 4, -1)
    right.imshow(pictures.tile(shown), cmap="Greys", vmin=0, vmax=1)
    right.add_patch(patches.Rectangle((0, 0), 27.5, 27.5, fill=False, edgecolor=BLUE, linewidth=2))
    right.set_title("the digit (framed), 15 decoded draws")
    right.set_axis_off()
    return figure


def plot_pulls(vae, x):
    """Both terms of the loss of images x when q is made wider or narrower, or its mean is pulled to zero."""
    scales, pulls = np.geomspace(0.1, 10, few(17, 3)), np.linspace(0.0, 1.5, few(16, 4))
    figure = pictures.new_figure(11, 4.2, "What the two terms want", "held-out digits; dotted: as trained")
    panels = figure.subplots(1, 2)
    changes = (
        (scales, [{"scale": s} for s in scales], "q's sigma, times"),
        (pulls, [{"pull": p} for p in pulls], "q's mean, times"),
    )
    for axes, (values, settings, label) in zip(panels, changes, strict=True):
        terms = np.array([terms_around(vae, x, **setting) for setting in settings])
        loss = terms.sum(axis=1)
        axes.plot(values, loss - loss.min(), color="black", linewidth=2.5, label="loss")
        for part, colour, style, name in ((0, ORANGE, "--", "reconstruction loss"), (1, BLUE, "-.", "KL loss")):
            above = terms[:, part] - terms[:, part].min()
            axes.plot(values, above, color=colour, linewidth=2, linestyle=style, label=name)
        axes.axvline(1, color="0.4", linestyle=":")
        axes.set(xlabel=label, ylabel="nats per image above its lowest", ylim=(0, 30))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    panels[0].set_xscale("log")
    panels[0].set_xticks([0.1, 0.3, 1, 3, 10], ["0.1", "0.3", "1", "3", "10"])
    return figure


def plot_overlay(vae, dataset, edge=3.2, cells=27):
    """The post's two pictures on one another: held-out codes, and the digits that the decoder draws at their place."""
    z_mean, _ = encode(vae, dataset.x_test)
    ticks = np.linspace(-edge, edge, cells)
    drawn = pictures.tile(decode(vae, pictures.manifold_codes(ticks)).reshape(cells, cells, -1)[::-1])
    ink = np.zeros((*drawn.shape, 4))
    ink[..., 3] = drawn  # black ink, as opaque as the pixel is dark
    edge += (ticks[1] - ticks[0]) / 2
    caption = f"{dataset.name}, held out; dashed: 1, 2 and 3 sigma of the prior"
    figure = pictures.new_figure(9.2, 9, "The latent plane, with the decoder's digits on it", caption)
    axes = figure.add_subplot()
    for radius in (1, 2, 3):
        axes.add_patch(patches.Circle((0, 0), radius, fill=False, edgecolor="0.5", linestyle=(0, (4, 3))))
    colours = np.array(pictures.CLASS_COLOURS)[dataset.y_test]
    axes.scatter(*z_mean.T, c=colours, s=10, alpha=0.45, linewidths=0, rasterized=True)
    axes.imshow(ink, extent=(-edge, edge, -edge, edge), zorder=3, interpolation="bilinear")
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal", xlabel="z1", ylabel="z2")
    class_legend(figure)
    return figure


def plot_walk(vae, start, end, steps=12):
    """Decode a straight walk in equal steps between the codes of two images (784,), with both at its ends."""
    codes, _ = encode(vae, np.stack([start, end]))
    share = np.linspace(0, 1, steps)[:, None]
    line = decode(vae, (1 - share) * codes[0] + share * codes[1])
    figure = pictures.new_figure(11, 1.6, "A walk between two held-out digits", "first and last: the digits themselves")
    strip(figure.add_subplot(), [np.stack([start, *line, end])], [""])
    return figure


def plot_bugs(models, dataset, cells=10):
    """The codes of held-out digits, and the manifold, for each model of train_bugs."""
    figure = pictures.new_figure(14, 5.2, "Five bugs and what they do", f"{dataset.name}, held out; dashed: N(0, I)")
    z_values = pictures.prior_quantiles(cells)
    for (top, bottom), (name, model) in zip(figure.subplots(2, len(models)).T, models.items(), strict=True):
        z, _ = encode(model, dataset.x_test[:2000])
        plot_codes(top, z, dataset.y_test[:2000], 3.5, size=2)
        top.set_title(name)
        images = decode(model, pictures.manifold_codes(z_values)).reshape(cells, cells, -1)
        bottom.imshow(pictures.tile(images[::-1]), cmap="Greys", vmin=0, vmax=1)
        bottom.set_axis_off()
    class_legend(figure)
    return figure
