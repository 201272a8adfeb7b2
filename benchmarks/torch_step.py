"""Where the time of a training step goes on PyTorch: Keras's layers against the same operations without them.

    python benchmarks/torch_step.py

The network of the post, batches of 100, Adam. Each part is timed in turns with its twin, and the medians are written to
benchmarks/torch_step.json; the table is printed. About a minute on two cores.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

PARTS = {
    "forward": "forward: two networks, the sample, the KL",
    "loss": "reconstruction loss, from probabilities",
    "metric": "the same once more, to show it apart",
    "backward": "backward",
    "optimizer": "Adam, all variables at once",
    "step": "whole step",
    "fit": "whole step in `fit`, with its data, logs and callbacks",
    "eager": "step of the eager loop: from logits, nothing shown apart",
}
PIXELS, EPSILON = 784, 1e-7
FIT_STEPS = 100
RATE = 1e-9  # the weights stay where they are, as old gradients are applied again and again


def ours(x):
    """The parts of a step as Keras takes it: {part: a function to time}."""
    import keras
    import numpy as np
    import torch

    import vae_mnist
    from seevae.training.recipes import RECIPES

    recipe = RECIPES["author"]._replace(epochs=1, learning_rate=RATE)
    vae = vae_mnist.build_vae(recipe)
    vae_mnist.compile_vae(vae, recipe, 60_000)
    vae.train_on_batch(x, x)  # builds all that there is
    weights = vae.trainable_weights[:]

    def loss_of(x_hat):
        return vae.compute_loss(x=x, y=x, y_pred=x_hat)

    def optimizer():
        with torch.no_grad():
            vae.optimizer.apply([weight.value.grad for weight in weights], weights)

    def fit():  # one epoch of a hundred steps, by the project's own `train`
        vae_mnist.train(vae, images, None, recipe, verbose=0)

    images = np.tile(x.numpy(), (FIT_STEPS, 1))
    x_hat = vae(x, training=True).detach()
    return {
        "fit": fit,
        "forward": lambda: vae(x, training=True),
        "loss": lambda: keras.ops.mean(vae_mnist.reconstruction_loss(x, x_hat)),
        "metric": lambda: vae.compute_metrics(x, x, x_hat),
        "until backward": lambda: loss_of(vae(x, training=True)),
        "with backward": lambda: loss_of(vae(x, training=True)).backward(),
        "optimizer": optimizer,
        "step": lambda: vae.train_step((x, x)),
    }


def plain(x):
    """The same operations, one after the other, in PyTorch alone."""
    import torch
    from torch.nn import functional

    shapes = [(784, 256), (256,), (256, 2), (2,), (256, 2), (2,), (2, 256), (256,), (256, 784), (784,)]
    weights = [torch.nn.Parameter(0.05 * torch.randn(shape)) for shape in shapes]
    adam = torch.optim.Adam(weights, lr=RATE, foreach=True)

    def network(logits=False):
        w1, b1, w_mean, b_mean, w_var, b_var, w3, b3, w4, b4 = weights
        h = torch.relu(x @ w1 + b1)
        z_mean, z_log_var = h @ w_mean + b_mean, h @ w_var + b_var
        kl = torch.mean(-0.5 * torch.sum(1 + z_log_var - torch.square(z_mean) - torch.exp(z_log_var), dim=-1))
        z = z_mean + torch.exp(z_log_var / 2) * torch.randn_like(z_mean)
        x_hat = torch.relu(z @ w3 + b3) @ w4 + b4
        return (x_hat if logits else torch.sigmoid(x_hat)), kl

    def loss_of(x_hat, kl=0.0):
        x_hat = torch.clip(x_hat, EPSILON, 1 - EPSILON)
        pixels = functional.binary_cross_entropy(x_hat, x, reduction="none")
        return torch.mean(PIXELS * torch.mean(pixels, dim=-1)) + kl

    def step():
        adam.zero_grad()
        x_hat, kl = network()
        loss_of(x_hat, kl).backward()
        adam.step()
        with torch.no_grad():
            loss_of(x_hat)

    def eager():
        adam.zero_grad()
        logits, kl = network(logits=True)
        (functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x) + kl).backward()
        adam.step()

    x_hat = network()[0].detach()
    step()
    return {
        "forward": network,
        "loss": lambda: loss_of(x_hat),
        "metric": lambda: loss_of(x_hat),
        "until backward": lambda: loss_of(*network()),
        "with backward": lambda: loss_of(*network()).backward(),
        "optimizer": adam.step,
        "step": step,
        "eager": eager,
    }


def milliseconds(functions, rounds=15, calls=40):
    """The median over the rounds of a step's milliseconds, {name: ms}; in a round, all take turns."""
    found = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            turns, steps = (1, FIT_STEPS) if name[1] == "fit" else (calls, 1)
            function()
            start = time.perf_counter()
            for _ in range(turns):
                function()
            found[name].append(1000 * (time.perf_counter() - start) / (turns * steps))
    return {name: statistics.median(times) for name, times in found.items()}


def table(record):
    """The table of benchmarks/README.md, as Markdown lines."""
    lines = ["| part of a step | by Keras, ms | the same operations, ms |", "|---|---|---|"]
    for part, name in PARTS.items():
        cells = [f"{record[way][part]:.1f}" if part in record[way] else "" for way in ("keras", "plain")]
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    return lines


def main():
    """Time both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    os.environ["KERAS_BACKEND"] = "torch"
    import vae_mnist  # noqa: F401, I001 - first: it makes the start quiet
    import torch

    x = torch.rand(100, PIXELS)
    both = {("keras", name): function for name, function in ours(x).items()}
    both |= {("plain", name): function for name, function in plain(x).items()}
    record = {"torch": torch.__version__, "cores": os.cpu_count(), "keras": {}, "plain": {}}
    for (way, name), time_of_call in milliseconds(both).items():
        record[way][name] = time_of_call
    for times in (record["keras"], record["plain"]):
        times["backward"] = times.pop("with backward") - times.pop("until backward")
    (HERE / "torch_step.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table(record)))


if __name__ == "__main__":
    main()
