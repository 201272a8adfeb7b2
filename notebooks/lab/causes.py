"""Section 4 of the first notebook: generated images beside the data."""

import numpy as np
from matplotlib import patches

from lab.drawing import BLUE
from lab.measures import decode
from seevae.images import data
from seevae.results import pictures


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


def distance_of_averages(images, x):
    """How far the average of generated images (m, 784) is from that of x (n, 784): root mean square, grey values."""
    return float(np.sqrt(np.mean((images.mean(axis=0) - x.mean(axis=0)) ** 2)))


def generate(model, number=10_000):
    """Images (number, 784) that a model's decoder draws from codes of N(0, I)."""
    latents = model.get_layer("decoder").input_shape[-1]
    return decode(model, np.random.default_rng(0).standard_normal((number, latents)))


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


def plot_covariances(images, dataset, pixel=14 * 28 + 14):
    """The covariance of the middle pixel with all others: of the data, and of generated images {name: (m, 784)}."""
    maps = {"held-out digits": covariance_with(dataset.x_test, pixel)}
    maps |= {name: covariance_with(drawn, pixel) for name, drawn in images.items()}
    caption = "covariance of grey values; the pixel with itself is left out, as in the table"
    figure = pictures.new_figure(11, 3.5, "How each pixel goes with the middle one (ringed)", caption)
    for values in maps.values():
        values[pixel] = 0
    limit = float(np.abs(maps["held-out digits"]).max())
    panels = figure.subplots(1, len(maps))
    for axes, (name, values) in zip(panels, maps.items(), strict=True):
        picture = axes.imshow(values.reshape(data.IMAGE_SHAPE), cmap="PuOr", vmin=-limit, vmax=limit)
        axes.add_patch(patches.Circle((14, 14), 1.6, fill=False, linewidth=2))
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=12)
    figure.colorbar(picture, ax=panels, shrink=0.8, label="squared grey values")
    return figure
