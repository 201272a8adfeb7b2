"""Section 6 of the first notebook: what the two terms of the loss want, and their units."""

import functools

import keras
import numpy as np
from keras import ops

import vae_mnist
from lab.drawing import BLUE, ORANGE, number, table
from lab.measures import decode, encode, kl_of, terms_of_loss
from lab.models import PLAIN, few, variant
from seevae.results import pictures


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
    kl = float(kl_of(z_mean, z_log_var).mean())
    joint, split = float((log_px_z - log_ratio).mean()), float(log_px_z.mean()) - kl
    error = float(np.sqrt((log_ratio.var(axis=0, ddof=1) / len(log_ratio)).sum()) / len(x))
    rows = [
        ["E_q[−log q(z\\|x) + log p(x, z)]", f"{joint:.3f}"],
        ["E_q[log p(x\\|z)] − KL(q(z\\|x) ‖ p(z))", f"{split:.3f}"],
        ["their difference", f"{joint - split:+.3f} ± {error:.3f}"],
        ["with the side note's plus: E_q[log p(x\\|z)] + KL", f"{split + 2 * kl:.3f}"],
    ]
    table([f"{len(x):,} held-out digits, {len(log_px_z)} draws each", "nats per image"], rows)


def plot_pulls(vae, x):
    """Both terms of the loss of images x when q is made wider or narrower, or its mean is pulled to zero."""
    (z_mean, z_log_var), decoder = encode(vae, x), vae.get_layer("decoder")
    scales, pulls = np.geomspace(0.1, 10, few(17, 3)), np.linspace(0.0, 1.5, few(16, 4))
    figure = pictures.new_figure(11, 4.2, "What the two terms want", "held-out digits; dotted: as trained")
    panels = figure.subplots(1, 2)
    changes = (
        (scales, [(z_mean, z_log_var + 2 * np.log(scale)) for scale in scales], "q's sigma, times"),
        (pulls, [(pull * z_mean, z_log_var) for pull in pulls], "q's mean, times"),
    )
    for axes, (values, qs, label) in zip(panels, changes, strict=True):
        terms = np.array([terms_of_loss(decoder, x, q, draws=4) for q in qs])
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


def signed_loss(sign, x, x_hat):
    """The reconstruction loss, or with a sign of -1 its negative."""
    return sign * vae_mnist.reconstruction_loss(x, x_hat)


def descent_and_ascent(x):
    """Show the decoder's weights, summed, after plain steps down the loss, and up its negative; x (n, 784)."""
    rows = []
    for name, sign in (("down the loss", 1), ("up the ELBO", -1)):
        model = variant(recipe=PLAIN, beta=0)
        signed = functools.partial(signed_loss, sign)
        model.compile(keras.optimizers.SGD(sign * 1e-3), signed)
        model.fit(x, x, batch_size=100, shuffle=False, verbose=0)
        rows.append([name, *(number(np.abs(part).sum(), 3) for part in model.get_layer("decoder").get_weights())])
    table(["steps", "first weights", "biases", "last weights", "biases"], rows)
