"""Section 7 of the side notes: grey pixels and cross-entropy."""

import keras
import numpy as np
from keras import ops

import vae_mnist
from lab.drawing import BLUE, GREY, ORANGE, RED, mean_error, number, table
from lab.measures import decode, encode
from seevae.results import pictures


def grey_entropy(x):
    """The entropy of independent coins with the grey values x (n, 784) as probabilities, summed: (n,), nats."""
    p = np.clip(x.astype("float64"), 1e-12, 1 - 1e-12)
    return -np.sum(p * np.log(p) + (1 - p) * np.log(1 - p), axis=-1)


def draw_pixels(x, seed):
    """Each pixel of x (n, 784) drawn once: 1 with its grey value as probability, else 0; float32."""
    return (np.random.default_rng(seed).random(x.shape) < x).astype("float32")


def log_normaliser(x_hat):
    """log of the integral of x_hat^x (1 - x_hat)^(1 - x) over grey x in [0, 1], summed over pixels (n, 784): (n,).

    For one pixel it is (2 x_hat - 1) / (log x_hat - log(1 - x_hat)), and 1/2 at 1/2; a density would have log 1 = 0
    (Loaiza-Ganem & Cunningham, "The continuous Bernoulli", arXiv:1907.06845).
    """
    p = np.clip(x_hat.astype("float64"), keras.config.epsilon(), 1 - keras.config.epsilon())
    p = np.where(np.abs(p - 0.5) < 1e-4, 0.5 + 1e-4, p)  # its value there is 1/2 to nine digits
    return np.sum(np.log((2 * p - 1) / (np.log(p) - np.log(1 - p))), axis=-1)


def plot_pixel_loss(greys=(0.0, 0.25, 0.5, 1.0)):
    """The cross-entropy of one pixel against the decoder's x_hat, for some grey values; its minimum is at x_hat = x."""
    figure = pictures.new_figure(8, 4.2, "The loss of one pixel: a grey one never costs 0")
    axes, x_hat = figure.add_subplot(), np.linspace(0.002, 0.998, 499)
    for x, colour, style in zip(greys, (GREY, ORANGE, RED, BLUE), ("-", "--", "-.", ":"), strict=True):
        axes.plot(x_hat, -x * np.log(x_hat) - (1 - x) * np.log(1 - x_hat), style, color=colour, linewidth=2.5)
        floor = float(grey_entropy(np.array([[x]]))[0])
        axes.plot(x, floor, "o", color=colour, markersize=10, clip_on=False, label=f"x = {x:g}, floor {floor:.2f} nats")
    axes.set(xlabel="x_hat, the decoder's probability of ink", ylabel="loss of the pixel, nats", ylim=(0, 2.5))
    axes.set_xlim(0, 1)
    axes.legend(frameon=False, loc="upper center", fontsize=11)
    return figure


def draws_table(vae, digits, images=200, drawings=100):
    """Show the loss of grey Digits at z_mean, its mean over drawn black and white ones, and that it is no density."""
    x = digits.x[:images]
    x_hat = decode(vae, digits.q[0][:images])
    grey = ops.convert_to_numpy(vae_mnist.reconstruction_loss(x, x_hat))
    drawn = [ops.convert_to_numpy(vae_mnist.reconstruction_loss(draw_pixels(x, i), x_hat)) for i in range(drawings)]
    rows = [
        ["grey digits", number(grey.mean(), 2)],
        ["drawn digits, mean over drawings", mean_error(np.mean(drawn, axis=1), 2)],
    ]
    rows.append(["log of the integral over all grey images (0 for a density)", number(log_normaliser(x_hat).mean(), 0)])
    table([f"{len(x)} held-out digits, decoded z_mean", "nats per image"], rows)


def floor_table(vae, x):
    """Show the smallest loss that images x (n, 784) allow, and the reconstruction loss that the VAE has."""
    x_hat = decode(vae, encode(vae, x)[0])
    loss = ops.convert_to_numpy(vae_mnist.reconstruction_loss(x, x_hat)).astype("float64")
    rows = [["floor: the entropy of the grey values", mean_error(grey_entropy(x))]]
    rows += [
        ["reconstruction loss at z_mean", mean_error(loss)],
        ["above the floor", mean_error(loss - grey_entropy(x))],
    ]
    table([f"{len(x):,} held-out digits", "nats per image"], rows)
