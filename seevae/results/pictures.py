"""The pictures of a run: `draw` makes them from a model and the data, the plot functions from arrays.

Nothing here trains or writes. Each plot function returns a matplotlib Figure of its own, or draws into the `axes`
that it is given; `caption` is a small line below a figure of its own.
"""

import contextlib
import functools
import math
import statistics
import textwrap
from collections.abc import Callable

import numpy as np
from matplotlib import color_sequences, font_manager, patches, patheffects, style
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from seevae.basics import printable
from seevae.images.classes import MOST_CLASSES
from seevae.images.data import DIGITS, IMAGE_DIM, IMAGE_SHAPE, Dataset
from seevae.results.evidence import in_batches

# Ten colours, from 0 to 9, that stay apart for colour-blind readers: Petroff's (arXiv:2107.02270). Two of them are at
# least 17.3 apart by CIEDE2000, and 12.6, 11.9 and 13.3 as deuteranopes, protanopes and tritanopes see them.
CLASS_COLOURS = tuple(map(to_hex, color_sequences["petroff10"]))
SHADES = (0, -0.4, 0.3, -0.65, -0.2, 0.15, -0.8)  # of the ten colours, where there are more classes: -1 is black
TRAIN_COLOUR, HELD_OUT_COLOUR = "#94a4a2", "#3f90da"
LABEL_BOX = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
SAMPLES = 3  # draws of z that the reconstructions show
COLUMNS = 12  # images that the reconstructions show at most


class Picture(Figure):
    """A Figure that looks the same whatever matplotlibrc the user has."""

    @style.context("default")
    def savefig(self, *args, **kwargs):
        super().savefig(*args, **kwargs)


@style.context("default")
def draw(
    encode: Callable,
    decode: Callable,
    dataset: Dataset,
    history: dict | None = None,
    origin: str = "",
    seed: int = 0,
    stopped: str = "",
    thing: str | None = None,
) -> dict[str, Figure]:
    """The pictures of a model: returns {file name: Figure}.

    encode: images (n, ...) as dataset.x_test holds them -> z_mean, z_log_var, each (n, latent_dim); decode: z -> images
    as `tile` takes them, from 0 to 1. Both are given 1,000 rows at most, and may be Keras models.
    `origin` says where the model is from, for the captions of what the decoder draws alone; `stopped` where its
    training was cut short, if it was, for the others. `seed` is that of the draws of z, `thing` what the images show,
    where the classes do not tell. Without a history (see vae_mnist.train) there are no training curves; the scatter and
    the manifold need two latents and are left out otherwise.
    """
    stopped = f"; {stopped}" if stopped else ""
    thing = thing or ("digit" if dataset.classes == DIGITS else "image")
    labels = dataset.y_test if dataset.classes else None
    held_out = f"{dataset.name}, {len(dataset.x_test):,} held out{stopped}"
    x = dataset.x_test[some_of_each(labels, len(dataset.x_test))]
    z_mean, z_log_var = in_batches(encode, x)
    latent_dim = z_mean.shape[-1]
    rng, sigma = np.random.default_rng(seed), np.exp(z_log_var / 2)
    draws = [z_mean + sigma * rng.standard_normal(z_mean.shape, "float32") for _ in range(SAMPLES)]
    reconstructions, *samples = (in_batches(decode, z) for z in (z_mean, *draws))
    figures = {"reconstructions.png": plot_reconstructions(x, reconstructions, samples, held_out, thing=thing)}
    if latent_dim == 2:
        z_values = prior_quantiles()
        z_mean, _ = in_batches(encode, dataset.x_test[:])
        manifold = in_batches(decode, manifold_codes(z_values))
        names = {"names": dataset.classes, "thing": thing}
        figures["latent_scatter.png"] = plot_latent_scatter(z_mean, labels, held_out, **names)
        figures["manifold.png"] = plot_manifold(manifold, z_values, origin, thing=thing)

    z_prior = np.random.default_rng(seed).standard_normal((100, latent_dim), "float32")
    figures["prior_samples.png"] = plot_prior_samples(in_batches(decode, z_prior), origin, thing=thing)
    if history:
        caption = f"{dataset.name}; train: mean over the epoch while the weights move, held out: after it{stopped}"
        figures["training_curves.png"] = plot_training_curves(history, caption)
    return figures


def shade(number):
    """The colour "#rrggbb" of a class. Beyond ten, they come back in other shades, which written names tell apart."""
    colour, towards = np.array(to_rgb(CLASS_COLOURS[number % 10])), SHADES[number // 10]
    return to_hex(colour + towards * (1 - colour) if towards > 0 else colour * (1 + towards))


COLOURS = tuple(shade(number) for number in range(MOST_CLASSES))


def ink(colour):
    """A colour, "#rrggbb", made so dark that text of it is read on white: a contrast of 4.5 (WCAG 2.2, 1.4.3)."""
    rgb = np.array(to_rgb(colour))
    while 1.05 / (0.05 + luminance(rgb)) < 4.5:
        rgb = 0.95 * rgb
    return to_hex(rgb)


def luminance(rgb):
    """The relative luminance of a colour, (3,) from 0 to 1 (WCAG 2.2)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def some_of_each(labels, n):
    """Indices of the images that the reconstructions show, of n: the first of each class, of COLUMNS classes at most.

    labels: (n,) whole numbers; None: there are no classes, and they are the first images.
    """
    if labels is None:
        return np.arange(min(n, COLUMNS))
    _, first = np.unique(labels, return_index=True)
    return first[np.linspace(0, len(first) - 1, min(len(first), COLUMNS)).round().astype(int)]


def new_figure(width, height, title, caption=""):
    """An empty figure of `width` x `height` inches with a title above it and a small caption below."""
    figure = Picture(figsize=(width, height), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=15)
    below = figure.supxlabel(readable(caption, 10 * width), fontsize=9.5, color="0.35", parse_math=False)
    below.set_fontfamily(fonts_of(below.get_text()))
    return figure


@functools.cache
def font_with(character):
    """The family of an installed font that has a character, DejaVu Sans before others; None where none has it."""
    fonts = (font for font in font_manager.fontManager.ttflist if "resort" not in font.name.lower())  # that has boxes
    for font in sorted(fonts, key=lambda font: font.name != "DejaVu Sans"):
        with contextlib.suppress(RuntimeError, OSError):  # a font that was there when matplotlib looked
            if font_manager.get_font(font.fname).get_char_index(ord(character)):
                return font.name
    return None


def fonts_of(text):
    """The families that draw a text, DejaVu Sans first."""
    return [*dict.fromkeys(["DejaVu Sans", *filter(None, map(font_with, text))])]


def readable(text, columns):
    """`text` in lines of at most so many columns, with an escape for each character that no installed font has."""
    known = "".join(c if c.isspace() or font_with(c) else ascii(c)[1:-1] for c in printable(text))
    return "\n".join(textwrap.wrap(known, int(columns)))


def plot_latent_scatter(z_mean, labels, caption="", axes=None, size=5, names=DIGITS, thing="digit"):
    """The post's first picture: z_mean (n, 2) of images coloured by their labels (n,), over the prior N(0, I).

    The square is the part of the plane that the manifold shows (see plot_manifold). `size` is that of the points,
    `names` those of the classes, and `thing` says what the images show. Without labels, None, there is one colour.
    """
    title = f"The latent space: where the encoder puts each {thing}"
    axes = axes or new_figure(7, 7.3, title, caption).add_subplot()
    limit = max(3.4, 1.04 * float(np.abs(z_mean).max()))
    for radius in (1, 2, 3):
        axes.add_patch(patches.Circle((0, 0), radius, fill=False, edgecolor="0.55", linestyle=(0, (4, 3)), zorder=1))
        axes.annotate(
            f"{radius}σ", (0, -radius), ha="center", va="center", fontsize=9, color="0.25", zorder=4, bbox=LABEL_BOX
        )
    edge = prior_quantiles()[-1]
    axes.add_patch(patches.Rectangle((-edge, -edge), 2 * edge, 2 * edge, fill=False, edgecolor="black", zorder=3))
    axes.annotate("manifold", (-edge, edge), va="center", fontsize=9, color="0.25", zorder=4, bbox=LABEL_BOX)
    shuffled = np.random.default_rng(0).permutation(len(z_mean))  # so that no class lies on top of all others
    colours = np.full(len(z_mean), HELD_OUT_COLOUR) if labels is None else np.array(COLOURS)[labels]
    axes.scatter(*z_mean[shuffled].T, c=colours[shuffled], s=size, alpha=0.75, linewidths=0, zorder=2, rasterized=True)
    places = {} if labels is None else label_positions(z_mean, labels)
    for label, place in places.items():
        name = readable(names[label], 100)
        fontsize = (19 if len(name) == 1 else 13) if len(places) <= 10 else 11
        fonts = fonts_of(name)
        weight = "bold" if len(fonts) == 1 else "normal"  # of other fonts there may be none, as matplotlib would say
        text = axes.text(*place, name, fontsize=fontsize, weight=weight, ha="center", va="center", zorder=5)
        text.set(color=ink(COLOURS[label]), parse_math=False, fontfamily=fonts)
        text.set_path_effects([patheffects.withStroke(linewidth=4, foreground="white")])
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal")
    axes.set_xlabel("z1", fontsize=12)
    axes.set_ylabel("z2", fontsize=12)
    return axes.figure


def label_positions(z, labels, bins=40, apart=2):
    """Where to write the label of each class of labels (n,) among its codes z (n, 2): {digit: place}.

    It is the middle of the cell in which the class is both frequent and mostly alone, of bins x bins cells; no two
    labels are within `apart` cells of each other, as long as the class has codes elsewhere.
    """
    edges = [np.linspace(z[:, axis].min() - 1e-6, z[:, axis].max() + 1e-6, bins + 1) for axis in (0, 1)]
    cells = np.stack([np.digitize(z[:, axis], edges[axis]) - 1 for axis in (0, 1)], axis=-1)  # (n, 2)
    everything = np.histogram2d(*z.T, bins=edges)[0]
    free, places = np.ones((bins, bins)), {}
    for digit in np.unique(labels):
        own = np.histogram2d(*z[labels == digit].T, bins=edges)[0]
        score = own**2 / np.maximum(everything, 1)
        if (score * free).any():
            score = score * free
        row, column = np.unravel_index(np.argmax(score), score.shape)
        free[max(0, row - apart) : row + apart + 1, max(0, column - apart) : column + apart + 1] = 0
        places[digit] = z[(labels == digit) & (cells == (row, column)).all(axis=1)].mean(axis=0)
    return places


def prior_quantiles(count=20, low=0.05, high=0.95):
    """The codes of one axis of the manifold: `count` quantiles of N(0, 1), from `low` to `high`; (count,)."""
    return np.array([statistics.NormalDist().inv_cdf(p) for p in np.linspace(low, high, count)])


def manifold_codes(z_values):
    """All pairs of z_values (n,) as codes (n * n, 2); z1 changes fastest, both rise. Reshapes to (n, n, ...)."""
    z1, z2 = np.meshgrid(z_values, z_values)
    return np.stack([z1.ravel(), z2.ravel()], axis=-1).astype("float32")


def plot_manifold(images, z_values, caption="", axes=None, thing="digit"):
    """The post's second picture: images (n * n, ...) decoded at manifold_codes(z_values), z_values (n,).

    z1 runs to the right and z2 upwards, as in the scatter, so one can be laid over the other.
    """
    n = len(z_values)
    title = f"The manifold: the {thing} that the decoder draws at each code"
    axes = axes or new_figure(7, 7.3, title, caption).add_subplot()
    picture = tile(images.reshape(n, n, *images.shape[1:])[::-1])
    axes.imshow(picture, cmap="Greys", extent=(0, n, 0, n), vmin=0, vmax=1)
    ticks = (-1.5, -1, -0.5, 0, 0.5, 1, 1.5)
    places = np.interp(ticks, z_values, np.arange(n) + 0.5)
    labels = [f"{z:g}".replace("-", "\N{MINUS SIGN}") for z in ticks]
    axes.set_xticks(places, labels)
    axes.set_yticks(places, labels)
    axes.set_xlabel("z1  (steps of equal prior probability)", fontsize=12)
    axes.set_ylabel("z2", fontsize=12)
    return axes.figure


def tile(images):
    """Lay images (rows, columns, ...) out as one picture, first row on top.

    An image is (784,), (height, width) or (height, width, 3); the picture is (rows * height, columns * width) or has 3
    colours as well.
    """
    rows, columns, *shape = images.shape
    height, width, *colours = IMAGE_SHAPE if shape == [IMAGE_DIM] else shape
    apart = images.reshape(rows, columns, height, width, *colours)
    return apart.swapaxes(1, 2).reshape(rows * height, columns * width, *colours)


def plot_training_curves(history, caption="", axes=None):
    """Loss, reconstruction and KL against the epoch, for training and held-out images; history as train gives it.

    `axes`: three of them.
    """
    if axes is None:
        axes = new_figure(11, 4, "Training: the loss and its two parts", caption).subplots(1, 3)
    titles = {"loss": "loss = −ELBO", "reconstruction_loss": "reconstruction loss", "kl_loss": "KL loss"}
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        for key, colour, label in ((name, TRAIN_COLOUR, "train"), (f"val_{name}", HELD_OUT_COLOUR, "held out")):
            if key in history:
                epochs = np.arange(1, len(history[key]) + 1)
                marker = "o" if len(epochs) < 3 else None  # a line through one point shows nothing
                ax.plot(epochs, history[key], color=colour, linewidth=2, marker=marker, label=label)
        ax.set_title(title)
        ax.set_xlabel("epoch")
        ax.set_ylabel("nats per image")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    return axes[0].figure


def plot_reconstructions(images, reconstructions, samples, caption="", axes=None, thing="digit"):
    """Images (n, ...), their decoded z_mean (n, ...), and decoded draws from q(z|x), samples (draws, n, ...)."""
    rows = np.stack([images, reconstructions, *samples])
    height = 0.8 + 6.6 * len(rows) / max(len(images), 5)
    axes = axes or new_figure(8, height, f"Held-out {thing}s and what comes back", caption).add_subplot()
    axes.imshow(tile(rows), cmap="Greys", vmin=0, vmax=1)
    names = ["image x", "decoded z_mean"] + [f"decoded draw {i + 1}" for i in range(len(samples))]
    row_height = axes.images[0].get_array().shape[0] // len(rows)
    axes.set_yticks((np.arange(len(rows)) + 0.5) * row_height - 0.5, names, fontsize=11)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.axhline(row_height - 0.5, color="0.6", linewidth=1)
    return axes.figure


def plot_prior_samples(images, caption="", axes=None, thing="digit"):
    """Decoded codes from the prior: images (n, ...), n a square number, in a square."""
    side = math.isqrt(len(images))
    axes = axes or new_figure(7, 7.3, f"New {thing}s: z drawn from the prior, decoded", caption).add_subplot()
    square = images[: side * side].reshape(side, side, *images.shape[1:])
    axes.imshow(tile(square), cmap="Greys", vmin=0, vmax=1)
    axes.set_axis_off()
    return axes.figure
