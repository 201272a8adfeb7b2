"""Section 10 of the first notebook: what the KL loss is made of, and how much of it is best."""

import math

import numpy as np
from scipy.special import logsumexp

from lab.drawing import BLUE, GREY, ORANGE, RED, by_case, class_legend, mean_error, plot_plane, seed_table, table
from lab.measures import encode, standard_error
from seevae.results import evidence, pictures

BETAS = (0.25, 0.5, 1, 2, 4, 8)


def kl_in_two(model, x, seed=0):
    """The two parts of the mean KL loss of images x (n, 784): what the code tells, and how all codes lie.

    KL(q(z|x) || p(z)) = I(x; z) + KL(q(z) || p(z)), in the mean over x, with q(z) the mean of all n q(z|x) (Hoffman &
    Johnson, "ELBO surgery", 2016). Both are means over one draw of z for each image, nats.
    """
    z_mean, z_log_var = (part.astype("float64") for part in encode(model, x))
    noise = np.random.default_rng(seed).standard_normal(z_mean.shape)
    log_own, log_all, log_prior = [], [], []
    for row, epsilon in enumerate(noise):
        z = z_mean[row] + np.exp(z_log_var[row] / 2) * epsilon
        log_q = -0.5 * np.sum((z - z_mean) ** 2 / np.exp(z_log_var) + z_log_var + evidence.LOG_2_PI, axis=-1)  # (n,)
        log_own.append(log_q[row])
        log_all.append(logsumexp(log_q) - math.log(len(x)))
        log_prior.append(-0.5 * np.sum(z**2 + evidence.LOG_2_PI))
    return float(np.mean(log_own) - np.mean(log_all)), float(np.mean(log_all) - np.mean(log_prior))


def by_beta(key):
    """A value of the recorded experiment "beta", for each of BETAS and each seed: (betas, seeds)."""
    return np.stack([*by_case("beta", "beta", key).values()])


def mean_and_error(values):
    """Both, over the seeds, of by_beta's result: two arrays (betas,)."""
    return values.mean(axis=-1), standard_error(values)


def price_table():
    """Show what one more nat of KL buys between two neighbouring betas, of the record: nats of reconstruction."""
    rate, distortion = by_beta("kl"), by_beta("reconstruction")
    prices = (distortion[1:] - distortion[:-1]) / (rate[:-1] - rate[1:])  # (pairs, seeds)
    rows = [
        [f"{low:g} and {high:g}", f"{math.sqrt(low * high):.2f}", mean_error(price, 2)]
        for low, high, price in zip(BETAS, BETAS[1:], prices, strict=False)
    ]
    table(["between beta", "their geometric mean", "reconstruction bought by a nat of KL, nats"], rows)


def prior_table():
    """Show what a prior wins that is trained with the network, a mixture of ten Gaussians: of the record, in pairs."""
    normal, mixture = by_case("mixture_prior", "components", "elbo").values()
    rows = {"N(0, I)": normal, "a mixture of ten Gaussians, trained": mixture, "what it wins": mixture - normal}
    seed_table("ELBO with the prior", rows)


def plot_rate_distortion():
    """Reconstruction against KL loss for each beta; and the ELBO and the exact log p(x) against beta: the record's."""
    caption = "default recipe, 12 epochs, held out; means over three seeds, bars: standard errors"
    figure = pictures.new_figure(11, 4.6, "A heavier or lighter KL loss, and where the model is best", caption)
    left, right = figure.subplots(1, 2)
    (rate, rate_error), (distortion, error) = (mean_and_error(by_beta(key)) for key in ("kl", "reconstruction"))
    left.errorbar(rate, distortion, error, rate_error, "o-", color=BLUE, capsize=3, linewidth=2)
    for beta, place in zip(BETAS, zip(rate, distortion, strict=True), strict=True):
        left.annotate(f"beta {beta:g}", place, (8, 6), textcoords="offset points", fontsize=11)
    ends = np.array([rate.min(), rate.max() + 1])
    best = BETAS.index(1)
    left.plot(ends, distortion[best] + rate[best] - ends, "--", color=GREY, label="the same ELBO as beta 1")
    left.set(xlabel="KL loss (rate), nats per image", ylabel="reconstruction loss (distortion), nats per image")
    left.set(xlim=(ends[0] - 0.5, ends[1] + 0.5), ylim=(distortion.min() - 2.5, distortion.max() + 2))
    for key, name, colour, marker in (("log_p", "exact log p(x)", BLUE, "o"), ("elbo", "ELBO", RED, "s")):
        mean, error = mean_and_error(by_beta(key))
        right.errorbar(BETAS, mean, error, fmt=f"{marker}-", color=colour, capsize=3, linewidth=2, label=name)
    right.set(xscale="log", xlabel="beta (logarithmic scale)", ylabel="nats per image, 1,000 images")
    right.set_xticks(BETAS, [f"{beta:g}" for beta in BETAS])
    right.minorticks_off()
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=11)
    return figure


def plot_kl_in_two():
    """The KL loss for each beta as a bar of its two parts: the record's."""
    caption = "default recipe, 12 epochs, held out; means over three seeds, bars: of both together"
    figure = pictures.new_figure(8.5, 4.4, "What the KL loss is made of", caption)
    axes, places = figure.add_subplot(), np.arange(len(BETAS))
    told, apart = by_beta("information"), by_beta("apart")
    axes.bar(places, told.mean(axis=1), color=BLUE, label="what the code tells of the image, I(x; z)")
    axes.bar(
        places, apart.mean(axis=1), 0.8, told.mean(axis=1), yerr=standard_error(told + apart), capsize=4, color=ORANGE,
        label="how far all q together are from N(0, I)",
    )  # fmt: skip
    axes.set_xticks(places, [f"{beta:g}" for beta in BETAS])
    axes.set(xlabel="beta", ylabel="KL loss, nats per image")
    axes.legend(frameon=False, fontsize=11, loc="upper right")
    return figure


def plot_betas(models, dataset):
    """The plane of codes, and the manifold, of models {beta: model}."""
    caption = f"{dataset.name}, held out; above: z_mean, dashed: N(0, I), on axes of +-3.5; below: the manifold"
    figure = pictures.new_figure(9, 5.6, "The plane and the manifold with larger and larger beta", caption)
    for part, (beta, model) in zip(figure.subfigures(1, len(models)), models.items(), strict=True):
        part.suptitle(f"beta {beta:g}", fontsize=13)
        plot_plane(part.subplots(2, 1), model, dataset, cells=9)
    class_legend(figure)
    return figure
