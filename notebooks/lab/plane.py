"""Sections 7 and 8 of the first notebook: the latent plane, walks in it, and the explorer."""

import numpy as np
from IPython.display import IFrame
from matplotlib import patches
from matplotlib.colors import to_rgba_array

from lab import ROOT
from lab.drawing import class_legend, strip
from lab.measures import decode, encode
from seevae.results import pictures


def embed(page):
    """Write an explorer's page beside the figures and show it in the notebook.

    (In the notebook as committed, the frame leads to the committed page, which is of the same model.)
    """
    folder = ROOT / "figures" / "notebook"
    folder.mkdir(exist_ok=True)
    (folder / "explorer.html").write_text(page, encoding="utf-8")
    return IFrame("../figures/notebook/explorer.html", width="100%", height=900)


def plot_overlay(vae, dataset, edge=3.2, cells=27):
    """The post's two pictures in one: the digits that the decoder draws, each on the colour of the classes there."""
    z_mean, _ = encode(vae, dataset.x_test)
    ticks = np.linspace(-edge, edge, cells)
    drawn = pictures.tile(decode(vae, pictures.manifold_codes(ticks)).reshape(cells, cells, -1)[::-1])
    ink = np.zeros((*drawn.shape, 4))
    ink[..., 3] = drawn  # black ink, as opaque as the pixel is dark
    edge += (ticks[1] - ticks[0]) / 2
    caption = f"{dataset.name}, held out; white: no code; pale: several classes; dashed: 1, 2, 3 sigma"
    figure = pictures.new_figure(9.2, 9, "The latent plane, with the decoder's digits on it", caption)
    axes = figure.add_subplot()
    where = {"extent": (-edge, edge, -edge, edge)}
    axes.imshow(class_colours(z_mean, dataset.y_test, edge, cells), origin="lower", interpolation="nearest", **where)
    axes.imshow(ink, zorder=3, interpolation="bilinear", **where)
    for radius in (1, 2, 3):
        axes.add_patch(patches.Circle((0, 0), radius, fill=False, edgecolor="0.3", linestyle=(0, (4, 3)), zorder=4))
    axes.set(xlim=(-edge, edge), ylim=(-edge, edge), aspect="equal", xlabel="z1", ylabel="z2")
    class_legend(figure)
    return figure


def class_colours(z, labels, edge, cells):
    """The colour of each cell of a square [-edge, edge]^2, from below: (cells, cells, 4).

    That of the class with most of the codes z (n, 2) in it, paler where its share is small; transparent without codes.
    """
    bins = np.linspace(-edge, edge, cells + 1)
    counts = np.stack([np.histogram2d(*z[labels == digit].T[::-1], bins=[bins, bins])[0] for digit in range(10)])
    colours = to_rgba_array(pictures.CLASS_COLOURS)[counts.argmax(axis=0)]
    colours[..., 3] = 0.75 * counts.max(axis=0) / np.maximum(counts.sum(axis=0), 1)
    return colours


def plot_walk(vae, start, end, steps=12):
    """Decode a straight walk in equal steps between the codes of two images (784,), with both at its ends."""
    codes, _ = encode(vae, np.stack([start, end]))
    share = np.linspace(0, 1, steps)[:, None]
    line = decode(vae, (1 - share) * codes[0] + share * codes[1])
    figure = pictures.new_figure(11, 1.6, "A walk between two held-out digits", "first and last: the digits themselves")
    strip(figure.add_subplot(), [np.stack([start, *line, end])], [""])
    return figure
