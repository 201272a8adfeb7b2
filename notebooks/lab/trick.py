"""Section 5 of the first notebook: the re-parameterisation trick, and the network without it."""

import keras
import numpy as np
from keras import ops
from matplotlib import patches

import vae_mnist
from lab.drawing import BLUE, ORANGE, number, table
from lab.gradients import gradient
from lab.measures import decode, encode
from lab.models import PLAIN, few, fit, variant
from seevae.results import pictures


def drawn_by_numpy(q, seed):
    """A sample of q as a plain number: the same values as sample_latent, cut off from q."""
    return ops.stop_gradient(vae_mnist.sample_latent(q, seed))


def trick_on_and_off(vae, image, of="z_mean", draws=1000):
    """Show the gradient of one image's reconstruction loss with respect to z_mean, or to z_log_var: with the trick,
    without it, and by finite differences with the same epsilon."""
    x, which = np.repeat(image[None], few(draws, 50), axis=0), ("z_mean", "z_log_var").index(of)
    q = [ops.repeat(ops.convert_to_tensor(part), len(x), axis=0) for part in encode(vae, image[None])]
    decoder = vae.get_layer("decoder")

    def loss(part, sample=vae_mnist.sample_latent):
        z = sample((part, q[1]) if which == 0 else (q[0], part), keras.random.SeedGenerator(0))
        return ops.mean(vae_mnist.reconstruction_loss(x, decoder(z)))

    step, rows = 1e-3, []
    for name, sample in (("with the trick", vae_mnist.sample_latent), ("without it", drawn_by_numpy)):
        found = gradient(lambda part, sample=sample: loss(part, sample), q[which])
        rows.append([name, *(number(value) for value in ops.convert_to_numpy(found).sum(axis=0))])
    moves = step * np.eye(2, dtype="float32")
    moved = [ops.convert_to_numpy(loss(q[which] + move) - loss(q[which] - move)) / (2 * step) for move in moves]
    rows.append(["finite differences, the same epsilon", *map(number, moved)])
    table([f"gradient, nats per unit of {'z' if which == 0 else of}", f"with respect to {of} 1", f"{of} 2"], rows)


def train_cut_off(x):
    """Show how far an epoch of training moves the encoder's and the decoder's weights, with the trick and without."""
    rows = []
    for name, sample in (("with the trick", vae_mnist.sample_latent), ("without it", drawn_by_numpy)):
        model = variant(sample, beta=0, recipe=PLAIN)
        halves = [model.get_layer(half) for half in ("encoder", "decoder")]
        before = [half.get_weights() for half in halves]
        fit(model, x, vae_mnist.reconstruction_loss, PLAIN._replace(epochs=1))
        moves = [
            max(float(np.abs(new - old).max()) for new, old in zip(half.get_weights(), start, strict=True))
            for half, start in zip(halves, before, strict=True)
        ]
        rows.append([name, *(f"{move:.2f}" for move in moves)])
    table(["reconstruction loss alone, one epoch", "largest move of an encoder's weight", "of a decoder's"], rows)


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
