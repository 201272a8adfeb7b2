"""Sections 7 and 8 of the first notebook: the latent plane, walks in it, and the explorer."""

import statistics

import numpy as np
from IPython.display import IFrame
from matplotlib.colors import to_rgba_array

from lab import ROOT
from lab.drawing import by_case, class_legend, mean_error, number, strip, table
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


def plot_overlay(vae, dataset, cells=19):
    """The post's two pictures in one: the digits that the decoder draws, each on the colour of the classes there.

    Both axes have steps of equal prior probability, as the manifold has: the middle, with most codes, is large.
    """
    normal = statistics.NormalDist()
    z_mean, _ = encode(vae, dataset.x_test)
    steps = np.vectorize(normal.cdf)(z_mean)  # where each code lies on the axes, from 0 to 1
    centres = pictures.prior_quantiles(cells, 0.5 / cells, 1 - 0.5 / cells)
    drawn = pictures.tile(decode(vae, pictures.manifold_codes(centres)).reshape(cells, cells, -1)[::-1])
    ink = np.zeros((*drawn.shape, 4))
    ink[..., 3] = drawn  # black ink, as opaque as the pixel is dark
    caption = f"{dataset.name}, held out; white: no code; pale: several classes; dashed: 0.5, 1, 2 sigma"
    figure = pictures.new_figure(9.2, 9, "The latent plane, with the decoder's digits on it", caption)
    axes = figure.add_subplot()
    axes.imshow(
        class_colours(steps, dataset.y_test, cells), origin="lower", interpolation="nearest", extent=(0, 1, 0, 1)
    )
    axes.imshow(ink, zorder=3, interpolation="bilinear", extent=(0, 1, 0, 1))
    turn = np.linspace(0, 2 * np.pi, 200)
    for radius in (0.5, 1, 2):
        circle = np.vectorize(normal.cdf)(radius * np.array([np.cos(turn), np.sin(turn)]))
        axes.plot(*circle, color="0.25", linestyle=(0, (4, 3)), linewidth=1, zorder=4)
    ticks = (-2, -1, -0.5, 0, 0.5, 1, 2)
    places = [normal.cdf(tick) for tick in ticks]
    axes.set_xticks(places, [f"{tick:g}" for tick in ticks])
    axes.set_yticks(places, [f"{tick:g}" for tick in ticks])
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xlabel="z1, in steps of equal prior probability", ylabel="z2")
    class_legend(figure)
    return figure


def class_colours(places, labels, cells):
    """The colour of each cell of the square [0, 1]^2, from below: (cells, cells, 4).

    That of the class with most of the places (n, 2) in it, paler where its share is small; transparent where none is.
    """
    bins = np.linspace(0, 1, cells + 1)
    counts = np.stack([np.histogram2d(*places[labels == digit].T[::-1], bins=[bins, bins])[0] for digit in range(10)])
    colours = to_rgba_array(pictures.CLASS_COLOURS)[counts.argmax(axis=0)]
    colours[..., 3] = 0.6 * counts.max(axis=0) / np.maximum(counts.sum(axis=0), 1)
    return colours


def plot_walk(vae, start, end, steps=12):
    """Decode a straight walk in equal steps between the codes of two images (784,), with both at its ends."""
    codes, _ = encode(vae, np.stack([start, end]))
    share = np.linspace(0, 1, steps)[:, None]
    line = decode(vae, (1 - share) * codes[0] + share * codes[1])
    figure = pictures.new_figure(11, 1.6, "A walk between two held-out digits", "first and last: the digits themselves")
    strip(figure.add_subplot(), [np.stack([start, *line, end])], [""])
    return figure


def drawn_table(labels):
    """Show which digits are drawn from the prior, in percent, of the recorded "samples"; and those of labels (n,)."""
    real = [number(100 * np.mean(labels == digit), 0) for digit in range(10)]
    rows = [["held-out digits", *real, "–"]]
    shares = [by_case("samples", "latents", f"shares.network.{digit}") for digit in range(10)]
    shares.append(by_case("samples", "latents", "unsure"))
    for latents in (2, 20):
        cells = [mean_error(100 * share[latents], 0) for share in shares]
        rows.append([f"draws, {latents} latents", *cells])
    table(["class, %", *range(10), "unsure"], rows)


def between_table():
    """Show what lies half way between the codes of two digits, of the recorded experiment "samples"."""
    rows, places = [], {"end": "a digit's code", "line": "middle, straight line", "sphere": "middle, sphere"}
    for latents in (2, 20):
        for way, name in places.items():
            values = [by_case("samples", "latents", f"between.{way}.{key}") for key in ("radius", "entropy", "sure")]
            cells = [mean_error(each[latents], digits) for each, digits in zip(values, (2, 1, 2), strict=True)]
            rows.append([f"{name}, {latents} latents", *cells])
    table(["where", "distance from 0", "blur: entropy of the pixels, nats", "how sure the classifier is"], rows)
