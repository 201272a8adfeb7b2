"""Section 5 of the side notes: maximum likelihood alone, without the KL term."""

import numpy as np

import vae_mnist
from lab.drawing import BLUE, RED, by_case, seed_table
from lab.measures import encode
from lab.models import AUTHOR, fit, train_vae, variant
from seevae.results import pictures


def with_and_without_kl(x, seed=0):
    """Two models of the post's network, trained on images x (n, 784) for 12 epochs, with and without the KL term."""
    recipe = AUTHOR._replace(epochs=12)
    with_kl, _ = train_vae(x, recipe, seed)
    without = fit(variant(beta=0, recipe=recipe, seed=seed), x, vae_mnist.reconstruction_loss, recipe, seed)
    return {"with the KL term": with_kl, "without": without}


def widths_of_q(models, x):
    """The sigma of q(z|x), the geometric mean over the latents, for images x (n, 784): {name: (n,)}."""
    return {name: np.exp(encode(model, x)[1].mean(axis=-1) / 2) for name, model in models.items()}


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


def change_table():
    """Show what leaving out the KL term changes, seed by seed, of the recorded experiment "kl_term"."""
    rows = {}
    for key, name in (("log_p", "log p(x) from N(0, I)"), ("log_p_own_codes", "log p(x) from its own codes")):
        for part, digits in (("train", "training"), ("test", "held out")):
            both = by_case("kl_term", "loss", f"{key}.{part}")
            rows[f"{name}, {digits}"] = both["without"] - both["with the KL term"]
    seed_table("without the KL term, less with it; nats", rows)
