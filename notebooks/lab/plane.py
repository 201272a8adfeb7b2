"""Sections 7 and 8 of the first notebook: the latent plane, walks in it, and the explorer."""

import numpy as np
from IPython.display import IFrame
from matplotlib import patches

from lab import ROOT
from lab.drawing import class_legend, strip
from lab.measures import decode, encode
from seevae.results import pictures


def embed(page):
    """Write an explorer's page beside the figures and show it in the notebook.

    (In the notebook as committed, the frame leads to the committed page: the default run's, which is the same model.)
    """
    folder = ROOT / "figures" / "notebook"
    folder.mkdir(exist_ok=True)
    (folder / "explorer.html").write_text(page, encoding="utf-8")
    return IFrame("../figures/notebook/explorer.html", width="100%", height=900)


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
