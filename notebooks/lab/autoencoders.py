"""Sections 2 and 3 of the first notebook: where autoencoders put their codes, and noise on the input."""

import numpy as np

from lab.drawing import class_legend, plot_codes, strip
from lab.measures import decode, encode
from seevae.results import pictures


def plot_starts(models, dataset, columns=6):
    """Where models {name: model} put the held-out digits, each on axes of its own, and what N(0, I) decodes to."""
    caption = f"{dataset.name}, held out; black: 1, 2 and 3 sigma of N(0, I); the axes differ"
    figure = pictures.new_figure(11, 7.6, "Where the codes are, and what N(0, I) decodes to", caption)
    z_prior = np.random.default_rng(3).standard_normal((columns**2, 2))
    panels = figure.subplots(2, len(models))
    for (top, bottom), (name, model) in zip(panels.T, models.items(), strict=True):
        z, _ = encode(model, dataset.x_test[:3000])
        plot_codes(top, z, dataset.y_test[:3000], max(3.5, float(np.quantile(np.abs(z), 0.999))))
        top.set_title(name, fontsize=12)
        images = decode(model, z_prior).reshape(columns, columns, -1)
        bottom.imshow(pictures.tile(images), cmap="Greys", vmin=0, vmax=1)
        bottom.set(xticks=[], yticks=[])
    panels[1, 0].set_ylabel("decoded codes from N(0, I)", fontsize=12)
    class_legend(figure)
    return figure


def plot_denoising(x, models, noise=0.5):
    """Images x (n, 784), with noise, and what models {name: model} make of the noisy ones."""
    noisy = x + noise * np.random.default_rng(1).standard_normal(x.shape, "float32")
    rows = {"clean": x, "with noise": noisy} | {name: decode(m, encode(m, noisy)[0]) for name, m in models.items()}
    figure = pictures.new_figure(9, 3.6, "What comes back from noisy digits", "held out; noise of 0.5 grey values")
    strip(figure.add_subplot(), list(rows.values()), list(rows))
    return figure
