"""The numbers of "Is my run right?": each recipe with five seeds, and the default one on other backends with fewer.

    python benchmarks/seeds.py [--data FILE.npz] [--only default six author sample]
    KERAS_BACKEND=jax python benchmarks/seeds.py --only jax       # and so with torch, which is slow

Runs `vae_mnist.py` itself, gathers what it records into benchmarks/seeds.json, and prints the tables (with --tables,
only those). About 15 minutes on two cores, and 4 more for JAX.
"""

import tempfile

import record

import vae_mnist
from seevae.images import data
from seevae.run import options

SEEDS = {"jax": range(3), "torch": range(2)}  # all others: five
RUNS = {
    "default": "",
    "jax": "",
    "torch": "",
    "six": "--epochs 6",
    "author": "--recipe author",
    "sample": "--data sample",
}
BACKENDS = {"default": "tensorflow", "jax": "jax", "torch": "torch"}  # of the default recipe
NAMES = {
    "default": "`python vae_mnist.py`, 30 epochs",
    "jax": "the same on JAX",
    "torch": "the same on PyTorch",
    "six": "`--epochs 6`",
    "author": "`--recipe author`, 50 epochs",
    "sample": "`--data sample`, 30 epochs",
    "all": "`python vae_mnist.py`, 30 epochs",
}
KEPT = ("seed", "epochs", "seconds", "held_out", "evidence")


def spread(values):
    """The range of values and their mean, as the table shows them."""
    return f"{min(values):.1f} to {max(values):.1f} (mean {sum(values) / len(values):.2f})"


def table(results):
    """The table, as Markdown lines: the range over the seeds of each number, nats per image."""
    lines = [
        "| run | loss = -ELBO | reconstruction loss | KL loss | log p(x), 1,000 images |",
        "|---|---|---|---|---|",
    ]
    for name in (name for name in NAMES if name in results):
        held_out = [run["held_out"] for run in results[name]["runs"]]
        cells = [spread([-numbers["elbo"] for numbers in held_out])]
        cells += [spread([numbers[key] for numbers in held_out]) for key in ("reconstruction_loss", "kl_loss")]
        cells.append(spread([run["evidence"]["exact"] for run in results[name]["runs"]]))
        lines.append(f"| {NAMES[name]} | {' | '.join(cells)} |")
    return lines


def pooled(results):
    """All runs of the default recipe, on each backend, as if they were one recipe's: what the README calls right."""
    return {"all": {"runs": [run for name in BACKENDS if name in results for run in results[name]["runs"]]}}


def tables(results):
    """Both tables, as Markdown lines."""
    return [*table(results), "", *table(pooled(results))]


def measure(results, name, path):
    """Run one of the RUNS with each of its seeds."""
    runs = []
    for seed in SEEDS.get(name, range(5)):
        with tempfile.TemporaryDirectory() as output:
            line = f"--data {path} --seed {seed} --output {output} {RUNS[name]}"
            found = vae_mnist.run(options.parse_args(line.split()))
        runs.append({key: found[key] for key in KEPT})
    expected = data.MNIST_SAMPLE if name == "sample" else data.MNIST
    assert found["dataset"] == expected, f"{name} needs {expected}: give --data"
    backend = BACKENDS.get(name, "tensorflow")
    assert found["backend"] == backend, f"{name} needs KERAS_BACKEND={backend}"
    common = {key: found[key] for key in ("dataset", "backend", "device", "versions", "settings")}
    results[name] = {**common, "runs": runs}


if __name__ == "__main__":
    record.main(__file__, __doc__, RUNS, measure, tables, default=["default", "six", "author", "sample"])
