"""A fair race: this project's training against the ways that people train the same network.

    python benchmarks/race.py [--data FILE.npz] [speed to_target images batches]

Every contestant trains the post's network (784-256-2-256-784, Adam 1e-3, batches of 100, shuffled anew each epoch) on
the 60,000 training images, in a process of its own. The contestants take turns, round after round, and only ratios
within a round count: the machine's noise then meets all of them. Each shows the loss that it reached.
Writes benchmarks/race.json and benchmarks/race.png, and prints the tables. About 20 minutes on two cores.
"""

import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import record
from tables import race_tables

HERE = Path(__file__).resolve().parent
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from seevae.images import data as mnist

BATCH, HIDDEN, LATENT, PIXELS = 100, 256, 2, 784
ROUNDS = 3
EPOCHS = 5  # of which the first, with compilation, is not in the epoch time
TARGET = 150.44  # the author's test loss after 50 epochs, nats per image
TARGET_EPOCHS = 6  # of the default recipe: their loss is below it in the mean of five seeds (seeds.json)

# Multiply-adds an image in the four layers, forward; backward costs the same twice, but for the gradient of the pixels.
FORWARD = PIXELS * HIDDEN + HIDDEN * 2 * LATENT + LATENT * HIDDEN + HIDDEN * PIXELS
FLOP_PER_IMAGE = 2 * (3 * FORWARD - PIXELS * HIDDEN)

SPEED = {  # contestant: (Keras backend or None, packages that it needs)
    "ours, TensorFlow": ("tensorflow", ["tensorflow"]),
    "ours, JAX": ("jax", ["jax"]),
    "ours, PyTorch": ("torch", ["torch"]),
    "Keras fit as it comes": ("tensorflow", ["tensorflow"]),
    "PyTorch, eager loop": (None, ["torch"]),
    "pure JAX, one scan an epoch": (None, ["jax"]),
    "matrix products alone": (None, ["tensorflow"]),
}
TO_TARGET = ("ours to the author's loss", "author's recipe, fit as it comes")
COPIES = (1, 2, 4, 8, 34)  # of the 60,000 images: up to 2,040,000


# -- The contestants: each returns (seconds of each epoch, training loss of the last epoch, Keras model or None) -----


def ours(x, batch=BATCH, recipe="author", epochs=EPOCHS):
    """vae_mnist.train, on the Keras backend of this process."""
    import vae_mnist
    from seevae.training.recipes import RECIPES

    keras = vae_mnist.keras

    clock = epoch_clock(keras)
    keras.utils.set_random_seed(0)
    how = RECIPES[recipe]._replace(epochs=epochs, batch_size=batch)
    vae = vae_mnist.build_vae(how)
    vae_mnist.compile_vae(vae, how, len(x))
    history = vae_mnist.train(vae, x, None, how, verbose=0, callbacks=[clock])
    return clock.seconds, history["loss"][-1], vae


def fit_as_it_comes(x, epochs=EPOCHS):
    """The same Keras model with Keras's own settings: compile(optimizer, loss), fit(x, x)."""
    import vae_mnist
    from seevae.training.recipes import RECIPES

    keras = vae_mnist.keras

    clock = epoch_clock(keras)
    keras.utils.set_random_seed(0)
    vae = vae_mnist.build_vae(RECIPES["author"])
    vae.compile(keras.optimizers.Adam(1e-3), loss=vae_mnist.reconstruction_loss)
    history = vae.fit(x, x, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[clock])
    return clock.seconds, history.history["loss"][-1], vae


def epoch_clock(keras):
    """A callback that keeps the seconds of each epoch."""

    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.seconds = []

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.start)

    return Clock()


def pytorch_eager(x, epochs=EPOCHS):
    """The loop of the common PyTorch example, on tensors in memory instead of its slow loader."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    encoder_h, head = nn.Linear(PIXELS, HIDDEN), nn.Linear(HIDDEN, 2 * LATENT)
    decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS))
    parameters = [*encoder_h.parameters(), *head.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    data, seconds = torch.from_numpy(x), []
    for _ in range(epochs):
        start, total = time.perf_counter(), 0.0
        for indices in torch.randperm(len(data)).split(BATCH):
            batch = data[indices]
            z_mean, z_log_var = head(torch.relu(encoder_h(batch))).chunk(2, dim=-1)
            logits = decoder(z_mean + torch.exp(z_log_var / 2) * torch.randn_like(z_mean))
            reconstruction = nn.functional.binary_cross_entropy_with_logits(logits, batch, reduction="sum")
            kl = -0.5 * torch.sum(1 + z_log_var - z_mean**2 - z_log_var.exp())
            loss = (reconstruction + kl) / len(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        loss = float(total) / len(data)
        seconds.append(time.perf_counter() - start)
    return seconds, loss, None


def pure_jax(x, epochs=EPOCHS):
    """Everything by hand in JAX: an epoch is one compiled scan over its batches."""
    import jax
    import jax.numpy as jnp

    random = np.random.default_rng(0)

    def dense(inputs, outputs):
        limit = np.sqrt(6 / (inputs + outputs))
        return random.uniform(-limit, limit, (inputs, outputs)).astype("float32"), np.zeros(outputs, "float32")

    sizes = [(PIXELS, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, PIXELS)]
    weights = [dense(*size) for size in sizes]
    data = jnp.asarray(x)

    def loss_of(weights, batch, epsilon):
        (w1, b1), (w2, b2), (w3, b3), (w4, b4) = weights
        z_mean, z_log_var = jnp.split(jax.nn.relu(batch @ w1 + b1) @ w2 + b2, 2, axis=-1)
        z = z_mean + jnp.exp(z_log_var / 2) * epsilon
        logits = jax.nn.relu(z @ w3 + b3) @ w4 + b4
        reconstruction = jnp.sum(jax.nn.softplus(logits) - batch * logits, axis=-1)
        kl = -0.5 * jnp.sum(1 + z_log_var - z_mean**2 - jnp.exp(z_log_var), axis=-1)
        return jnp.mean(reconstruction + kl)

    def step(state, indices):
        weights, m, v, t, key = state
        key, subkey = jax.random.split(key)
        epsilon = jax.random.normal(subkey, (BATCH, LATENT))
        loss, gradient = jax.value_and_grad(loss_of)(weights, data[indices], epsilon)
        t = t + 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, gradient)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, m, v)
        return (weights, m, v, t, key), loss

    epoch = jax.jit(lambda state, order: jax.lax.scan(step, state, order), donate_argnums=0)
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = (jax.tree.map(jnp.asarray, weights), zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(()), jax.random.key(0))
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        state, losses = epoch(state, random.permutation(len(x)).reshape(-1, BATCH))
        loss = float(losses.mean())
        seconds.append(time.perf_counter() - start)
    return seconds, loss, None


def matrix_products(x):
    """No training: the epoch's multiply-adds at the best rate that this machine reaches in a matrix product."""
    import tensorflow as tf

    best = 0.0
    for size in (1024, 2048, 4096):
        a = tf.random.uniform((size, size))
        for _ in range(4):
            start = time.perf_counter()
            tf.matmul(a, a).numpy()
            best = max(best, 2 * size**3 / (time.perf_counter() - start))
    return [FLOP_PER_IMAGE * len(x) / best] * 2, None, None


def work(name, data, copies, batch, epochs=EPOCHS):
    """One contestant's turn, in this process; prints its result as a line of JSON."""
    dataset = mnist.load_data(data)
    x = dataset.x_train  # bytes, as our runs take them; floats for the others
    if copies > 1:
        x = mnist.Images(np.tile(x.pixels, (copies, 1)))
    if not name.startswith("ours"):
        x = x[:]
    contestants = {
        TO_TARGET[0]: lambda: ours(x, recipe="default", epochs=TARGET_EPOCHS),
        TO_TARGET[1]: lambda: fit_as_it_comes(x, epochs=50),
        "Keras fit as it comes": lambda: fit_as_it_comes(x),
        "PyTorch, eager loop": lambda: pytorch_eager(x),
        "pure JAX, one scan an epoch": lambda: pure_jax(x),
        "matrix products alone": lambda: matrix_products(x),
    }
    seconds, loss, vae = contestants.get(name, lambda: ours(x, batch, epochs=epochs))()
    result = {"epoch": statistics.median(seconds[1:]), "first_epoch": seconds[0], "total": sum(seconds)}
    result["train_loss"] = loss
    result["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if name in TO_TARGET:
        import vae_mnist

        result["test_loss"] = -vae_mnist.evaluate_elbo(vae, dataset.x_test, samples=10)["elbo"]
    print(json.dumps(result))


# -- The race --------------------------------------------------------------------------------------------------------


def turn(name, data, copies=1, batch=BATCH, epochs=EPOCHS):
    """One contestant's turn in a process of its own; returns its result. epochs: for ours alone."""
    backend = SPEED.get(name, ("tensorflow",))[0] or "tensorflow"
    command = [sys.executable, "-c", f"import race; race.work{(name, str(data), copies, batch, epochs)}"]
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(HERE)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr}")
    result = json.loads(done.stdout.splitlines()[-1])
    seconds = f"{result['epoch']:.2f} s an epoch, {result['total']:.1f} s in all"
    print(f"{name:32} x{copies} batch {batch:4}: {seconds}", flush=True)
    return result


def measure(results, part, data):
    """One part of the record; in "speed" and "to_target", everyone has a turn within a round."""
    present = [name for name, (_, needs) in SPEED.items() if all(map(importlib.util.find_spec, needs))]
    match part:
        case "speed":
            rounds = [{name: turn(name, data) for name in present} for _ in range(ROUNDS)]
        case "to_target":
            rounds = [{name: turn(name, data) for name in TO_TARGET} for _ in range((ROUNDS + 1) // 2)]
        case "images":
            results[part] = {str(n): turn("ours, TensorFlow", data, copies=n, epochs=2) for n in COPIES}
        case "batches":
            results[part] = {str(n): turn("ours, TensorFlow", data, batch=n) for n in (50, 100, 200, 400, 800)}
    if part in ("speed", "to_target"):
        results[part] = {name: [one[name] for one in rounds] for name in rounds[0]}
    results["cores"] = os.cpu_count()


def picture(results):
    """Bars of the epoch times, and the growth with images and batch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.8), dpi=150, layout="constrained")
    bars, images, batches = figure.subplots(1, 3, width_ratios=(1.7, 1, 1))
    names = list(results["speed"])[::-1]
    for place, name in enumerate(names):
        seconds = [t["epoch"] for t in results["speed"][name]]
        colour = "#3f90da" if name.startswith("ours") else "#94a4a2"
        bars.barh(place, statistics.median(seconds), color=colour)
        bars.plot(seconds, [place] * len(seconds), "k.", markersize=4)
    bars.set_yticks(range(len(names)), names)
    bars.set(xlabel="seconds an epoch (dots: the rounds)", title="One epoch of 60,000 images")
    for axes, part, scale, label in ((images, "images", 60_000, "images"), (batches, "batches", 1, "batch size")):
        size = [scale * int(key) for key in results[part]]
        axes.plot(size, [t["epoch"] for t in results[part].values()], "o-", color="#3f90da", label="seconds an epoch")
        gib = [t["peak_mib"] / 1024 for t in results[part].values()]
        axes.plot(size, gib, "s--", color="#e76300", label="peak memory, GiB")
        axes.set(xscale="log", xlabel=label, title=f"ours, by {label}")
        axes.set_xticks(
            size,
            [f"{s / 1e6:.0f}M" if s >= 1e6 else f"{s // 1000}k" if s >= 1000 else str(s) for s in size],
            minor=False,
        )
        axes.minorticks_off()
        axes.set_ylim(0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    record.main(__file__, __doc__, ("speed", "to_target", "images", "batches"), measure, race_tables)
    picture(record.load(HERE / "race.json")).savefig(HERE / "race.png")
