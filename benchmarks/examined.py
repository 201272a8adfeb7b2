"""`examine` on networks that nobody here wrote: three published VAEs, rebuilt in our words and trained for a while.

    python benchmarks/examined.py [--data FILE.npz] [--only keras.io PyTorch Flax]

Each network trains and is examined in a process of its own, on the backend that it was written for, with the first
1,000 held-out images of the full MNIST. Gathers what examine says into benchmarks/examined.json, and prints the table
(with --tables, only that); --output FOLDER keeps the pictures. About 5 minutes on two cores.

Sources: keras.io/examples/generative/vae, github.com/pytorch/examples (vae), github.com/google/flax (examples/vae).
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

BATCH = 128  # in all three
LATENTS = 20
KEPT = (
    "held_out",
    "evidence",
    "latent_dim",
    "latents_in_use",
    "measured",
    "findings",
    "left_out",
    "read_as",
    "seconds",
)


def keras_io(x, seed=0):
    """Two strided convolutions, Dense 16, two latents; the decoder mirrors them. z is the encoder's third output."""
    import keras
    from keras import layers, ops

    class Draw(layers.Layer):
        """z from z_mean and z_log_var; their KL divergence goes to the loss."""

        def __init__(self):
            super().__init__()
            self.seed = keras.random.SeedGenerator(seed)

        def call(self, q):
            z_mean, z_log_var = q
            kl = -0.5 * ops.sum(1 + z_log_var - z_mean**2 - ops.exp(z_log_var), axis=1)
            self.add_loss(ops.mean(kl))
            return z_mean + ops.exp(z_log_var / 2) * keras.random.normal(ops.shape(z_mean), seed=self.seed)

    keras.utils.set_random_seed(seed)
    image, z = keras.Input((28, 28, 1)), keras.Input((2,))
    convolved = image
    for filters in (32, 64):
        convolved = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(convolved)
    h = layers.Dense(16, activation="relu")(layers.Flatten()(convolved))
    q = [layers.Dense(2)(h), layers.Dense(2)(h)]
    encoder = keras.Model(image, [*q, Draw()(q)])
    drawn = layers.Reshape((7, 7, 64))(layers.Dense(7 * 7 * 64, activation="relu")(z))
    for filters in (64, 32):
        drawn = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu")(drawn)
    decoder = keras.Model(z, layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid")(drawn))
    vae = keras.Model(image, decoder(encoder(image)[2]))

    def loss(x, x_hat):
        return ops.sum(keras.losses.binary_crossentropy(x, x_hat), axis=(1, 2))  # a sum over pixels

    vae.compile(keras.optimizers.Adam(), loss)
    x = x.reshape(-1, 28, 28, 1)
    vae.fit(x, x, batch_size=BATCH, epochs=EPOCHS["keras.io"], verbose=0)
    return {"encode": encoder, "decode": decoder}, (28, 28, 1)


def pytorch(x, seed=0):
    """784-400-20-400-784 in plain PyTorch; both losses are sums over the batch."""
    import torch
    from torch import nn

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.to_h, self.to_mean, self.to_log_var = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
            self.from_z, self.to_x = nn.Linear(20, 400), nn.Linear(400, 784)

        def encode(self, x):
            h = torch.relu(self.to_h(x))
            return self.to_mean(h), self.to_log_var(h)

        def decode(self, z):
            return torch.sigmoid(self.to_x(torch.relu(self.from_z(z))))

    torch.manual_seed(seed)
    vae = VAE()
    optimizer = torch.optim.Adam(vae.parameters(), 1e-3)
    for _ in range(EPOCHS["PyTorch"]):
        for batch in torch.from_numpy(x)[torch.randperm(len(x))].split(BATCH):
            z_mean, z_log_var = vae.encode(batch)
            x_hat = vae.decode(z_mean + torch.exp(z_log_var / 2) * torch.randn_like(z_mean))
            loss = nn.functional.binary_cross_entropy(x_hat, batch, reduction="sum")
            loss = loss - 0.5 * torch.sum(1 + z_log_var - z_mean**2 - z_log_var.exp())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    modules = (vae.to_h, vae.to_mean, vae.to_log_var, vae.from_z, vae.to_x)
    names = ("encoder_h", "z_mean", "z_log_var", "decoder_h", "decoder_output")
    layers = {name: (module.weight.T, module.bias) for name, module in zip(names, modules, strict=True)}
    return {"encode": vae.encode, "decode": vae.decode, "layers": layers}, (784,)


def flax(x, seed=0):
    """784-500-20-500-784 in Flax; the decoder ends in logits, as published. Needs flax and optax."""
    import jax
    import numpy as np
    import optax
    from flax import linen as nn
    from jax import numpy as jnp

    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.relu(nn.Dense(500)(x))
            return nn.Dense(LATENTS)(h), nn.Dense(LATENTS)(h)

    class Decoder(nn.Module):
        @nn.compact
        def __call__(self, z):
            h = nn.relu(nn.Dense(500)(z))
            return nn.Dense(784)(h)

    encoder, decoder, optimizer = Encoder(), Decoder(), optax.adam(1e-3)

    def loss_of(params, batch, key):
        z_mean, z_log_var = encoder.apply(params[0], batch)
        z = z_mean + jnp.exp(z_log_var / 2) * jax.random.normal(key, z_mean.shape)
        reconstruction = optax.sigmoid_binary_cross_entropy(decoder.apply(params[1], z), batch).sum(axis=-1)
        kl = -0.5 * jnp.sum(1 + z_log_var - z_mean**2 - jnp.exp(z_log_var), axis=-1)
        return jnp.mean(reconstruction + kl)

    @jax.jit
    def step(params, state, batch, key):
        updates, state = optimizer.update(jax.grad(loss_of)(params, batch, key), state)
        return optax.apply_updates(params, updates), state

    keys = iter(jax.random.split(jax.random.key(seed), 100_000))
    params = encoder.init(next(keys), x[:1]), decoder.init(next(keys), jnp.zeros((1, LATENTS)))
    state, order = optimizer.init(params), np.random.default_rng(seed)
    for _ in range(EPOCHS["Flax"]):
        shuffled = x[order.permutation(len(x))]
        for start in range(0, len(x) - BATCH + 1, BATCH):
            params, state = step(params, state, shuffled[start : start + BATCH], next(keys))
    parts = [params[0]["params"][f"Dense_{i}"] for i in range(3)] + [
        params[1]["params"][f"Dense_{i}"] for i in range(2)
    ]
    names = ("encoder_h", "z_mean", "z_log_var", "decoder_h", "decoder_output")
    layers = {name: (part["kernel"], part["bias"]) for name, part in zip(names, parts, strict=True)}
    encode, decode = jax.jit(encoder.apply), jax.jit(decoder.apply)
    return {"encode": lambda x: encode(params[0], x), "decode": lambda z: decode(params[1], z), "layers": layers}, (
        784,
    )


# Name: how it is made, Keras's backend beside it, the packages it needs. Epochs, over so many training images.
NETWORKS = {
    "keras.io": (keras_io, "tensorflow", ["tensorflow"]),
    "PyTorch": (pytorch, "torch", ["torch"]),
    "Flax": (flax, "jax", ["jax", "flax", "optax"]),
}
EPOCHS = {"keras.io": 4, "PyTorch": 4, "Flax": 4}
IMAGES = {"keras.io": 20_000, "PyTorch": 60_000, "Flax": 60_000}


def work(name, data, output):
    """Train and examine one network in this process; prints the result as a line of JSON."""
    from seevae.diagnosis.examine import examine
    from seevae.images import data as mnist

    dataset = mnist.load_data(data)
    make, backend, packages = NETWORKS[name]
    start = time.perf_counter()
    functions, shape = make(dataset.x_train[: IMAGES[name]])
    seconds = time.perf_counter() - start
    x = dataset.x_test[:1000].reshape(-1, *shape)
    record = examine(x=x, labels=dataset.y_test[:1000], folder=Path(output) / name, **functions)
    versions = {package: importlib.metadata.version(package) for package in packages}
    told = {"dataset": dataset.name, "epochs": EPOCHS[name], "train_images": IMAGES[name], "backend": backend}
    told |= {"versions": versions, "train_seconds": round(seconds, 1)}
    print(json.dumps(told | {key: record[key] for key in KEPT}))


def table(results):
    """The table, as Markdown lines; losses in nats per image, and the time that examine took."""
    lines = [
        "| network | loss = -ELBO | KL loss | importance-weighted log p(x) | latents in use | beta, as read | seconds"
        " | findings |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in (name for name in NETWORKS if name in results):
        run = results[name]
        held_out, measured = run["held_out"], run["measured"]
        cells = [f"{-held_out['elbo']:.1f} ± {held_out['standard_error_of_images']:.1f}", f"{held_out['kl_loss']:.1f}"]
        cells += [f"{run['evidence']['importance_weighted']:.1f}", f"{run['latents_in_use']} of {run['latent_dim']}"]
        cells += [f"{measured['beta']:.2f} ± {measured['beta_error']:.2f}", f"{run['seconds']:.0f}"]
        cells.append("; ".join(finding.split(":")[0] for finding in run["findings"]) or "none")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main():
    """Train and examine the chosen networks whose packages are there, and keep the results of the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--output", help="where the pictures stay (default: nowhere)")
    parser.add_argument("--tables", action="store_true", help="only print the table of the recorded results")
    parser.add_argument("--work", choices=NETWORKS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work, args.data, args.output)
        return
    path = HERE / "examined.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    with tempfile.TemporaryDirectory() as nowhere:
        for name in [] if args.tables else args.only:
            _, backend, packages = NETWORKS[name]
            if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
                print(f"{name} is left out: {', '.join(missing)} is not installed.")
                continue
            command = [
                sys.executable,
                __file__,
                "--work",
                name,
                "--data",
                args.data,
                "--output",
                args.output or nowhere,
            ]
            environment = os.environ | {"KERAS_BACKEND": backend}
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            *lines, result = done.stdout.splitlines()
            print(f"-- {name}", *lines, sep="\n", flush=True)
            results[name] = json.loads(result)
            path.write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
