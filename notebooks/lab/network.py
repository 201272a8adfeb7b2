"""Section 1 of the first notebook: the words, the network, and its training."""

import math

import numpy as np
from keras import ops
from matplotlib import patches

import vae_mnist
from lab.drawing import BLUE, ORANGE, draw_posterior, table
from lab.measures import AXIS, decode, encode, log_joint
from seevae.images import data
from seevae.results import pictures


def milestones(history, x_train, x_test):
    """Show the loss and its parts: a decoder without any code, and the training's first and last epoch.

    Without a code, the best that a decoder can draw is the average training digit.
    """
    average = np.broadcast_to(x_train.mean(axis=0), x_test.shape)
    no_code = float(ops.convert_to_numpy(vae_mnist.reconstruction_loss(x_test, average)).mean())
    rows = [["no code: the average digit", f"{no_code:.1f}", f"{no_code:.1f}", "0.0"]]
    for epoch in (1, len(history["loss"])):
        parts = [history[f"val_{name}"][epoch - 1] for name in ("loss", "reconstruction_loss", "kl_loss")]
        rows.append([f"after epoch {epoch}", *(f"{part:.1f}" for part in parts)])
    last, kl = history["val_reconstruction_loss"][-1], history["val_kl_loss"][-1]
    rows.append(["reconstruction gained by the code, for each nat of KL", "", f"{(no_code - last) / kl:.0f}", ""])
    table(["held out, nats per image", "loss", "reconstruction loss", "KL loss"], rows)


def network_table(vae):
    """Show the post's pseudo-code beside the layers of the VAE and their numbers of weights."""
    lines = {
        "encoder_x = Input_layer(...)": ("encoder", "encoder_x"),
        "encoder_h = Dense_layer(...)": ("encoder", "encoder_h"),
        "z_mean = Dense(...)": ("encoder", "z_mean"),
        "z_variance = Dense(...)": ("encoder", "z_log_var"),
        "kl_loss = -0.5 * sum(...)": (None, "kl_loss"),
        "z_sample = z_mean + exp(z_variance / 2) * epsilon": (None, "z_sample"),
        "decoder_h = Dense_layer(...)": ("decoder", "decoder_h"),
        "decoder_output = Dense_layer(...)": ("decoder", "decoder_output"),
    }
    rows = []
    for line, (part, name) in lines.items():
        layer = (vae.get_layer(part) if part else vae).get_layer(name)
        output = layer.output[0] if isinstance(layer.output, list | tuple) else layer.output
        rows.append([f"`{line}`", f"`{name}`", output.shape[-1], f"{layer.count_params():,}"])
    total = sum(math.prod(weight.shape) for weight in vae.trainable_weights)
    table(["the post's pseudo-code", "layer", "outputs", "weights"], [*rows, ["together", "", "", f"{total:,}"]])


def plot_words(vae, image):
    """The words on one picture: an image, its q(z|x) and true posterior over the prior, and what z decodes to."""
    (z_mean,), (z_log_var,) = encode(vae, image[None])
    sigma = np.exp(z_log_var / 2)
    z = z_mean + sigma * np.array([1.3, -0.9])
    caption = "a trained model; grey: 39 % and 86 % of the true posterior; blue: 1 and 2 sigma of q; orange: the draw z"
    figure = pictures.new_figure(12, 4.6, "The words, on one digit", caption)
    left, middle, near, right = figure.subplots(1, 4, width_ratios=(0.8, 1.25, 1.25, 0.8))
    for axes, picture, title in ((left, image, "1  image x"), (right, decode(vae, z[None])[0], "4  decoder: p(x|z)")):
        axes.imshow(picture.reshape(data.IMAGE_SHAPE), cmap="Greys", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=13)
    left.set_xlabel("784 grey values", fontsize=11)
    right.set_xlabel("784 probabilities", fontsize=11)
    for radius in (1, 2, 3):
        middle.add_patch(patches.Circle((0, 0), radius, fill=False, edgecolor="0.5", linestyle=(0, (4, 3))))
        middle.text(0, -radius, f"{radius}σ", ha="center", va="center", fontsize=9, bbox=pictures.LABEL_BOX)
    middle.plot(*z_mean, "o", color=BLUE)
    middle.annotate("this digit's q(z|x)", z_mean, (-2.9, 2.9), color=BLUE, fontsize=11, arrowprops={"arrowstyle": "-"})
    middle.set(xlim=(-3.4, 3.4), ylim=(-3.4, 3.4))
    middle.set_title("2  encoder: q(z|x), and the prior", fontsize=13)
    decoder, axis = vae.get_layer("decoder"), AXIS[::4]  # enough to find the place
    joint = log_joint(decoder, image[None], axis, axis)[0]
    draw_posterior(near, decoder, image, joint, [(z_mean, z_log_var, BLUE)], axis=axis)
    near.plot(*z, "o", color=ORANGE, zorder=4)
    near.annotate("one draw z", z, xytext=(8, -14), textcoords="offset points", color="black", fontsize=11)
    near.set_title("3  closer: true posterior, q, a draw", fontsize=13)
    for axes in (middle, near):
        axes.set(aspect="equal", xlabel="z1", ylabel="z2")
    return figure


def plot_network():
    """The VAE's layers, their sizes, and where the two terms of the loss come in."""
    boxes = {  # name: size and place
        "x": ("784 pixels", 0.0, 0.0),
        "encoder_h": ("256, relu", 2.0, 0.0),
        "z_mean": ("2", 4.0, 1.4),
        "KL loss": ("to N(0, I)", 4.0, 0.0),
        "z_log_var": ("2", 4.0, -1.4),
        "epsilon": ("2, from N(0, I)", 6.2, -1.4),
        "z_sample": ("2", 6.2, 0.0),
        "decoder_h": ("256, relu", 8.2, 0.0),
        "x_hat": ("784, sigmoid", 10.2, 0.0),
        "reconstruction loss": ("x_hat against x", 10.2, 1.4),
    }
    arrows = (
        "x encoder_h, encoder_h z_mean, encoder_h z_log_var, z_mean KL_loss, z_log_var KL_loss, z_mean z_sample,"
        " z_log_var z_sample, epsilon z_sample, z_sample decoder_h, decoder_h x_hat, x_hat reconstruction_loss"
    )
    fills = {"epsilon": "#ffe3b3", "z_sample": "#ffe3b3", "KL loss": "#d6e7f8", "reconstruction loss": "#d6e7f8"}
    caption = "orange: random     blue: the two terms of the loss     z_variance is the post's name for z_log_var"
    figure = pictures.new_figure(11, 4.2, "The network: layers, sizes, and where the loss comes in", caption)
    axes = figure.add_subplot()
    axes.set(xlim=(-1.0, 11.4), ylim=(-1.9, 1.9), aspect="equal")
    axes.set_axis_off()
    alias = {"KL_loss": "KL loss", "reconstruction_loss": "reconstruction loss"}
    for pair in arrows.split(","):
        start, end = (boxes[alias.get(name, name)][1:] for name in pair.split())
        style = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "facecolor": "black"}
        axes.annotate("", edge_of_box(end, start), edge_of_box(start, end), arrowprops=style)
    for name, (size, x, y) in boxes.items():
        box = patches.FancyBboxPatch(
            (x - 0.75, y - 0.3), 1.5, 0.6, boxstyle="round,pad=0.05", facecolor=fills.get(name, "white")
        )
        axes.add_patch(box)
        axes.text(x, y, f"{name}\n{size}", ha="center", va="center", fontsize=9)
    return figure


def edge_of_box(place, other):
    """Where an arrow between two boxes of plot_network meets the first: its side, or its top or bottom."""
    (x, y), (x_other, y_other) = place, other
    return (x, y + 0.37 * np.sign(y_other - y)) if x == x_other else (x + 0.82 * np.sign(x_other - x), y)
