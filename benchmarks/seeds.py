"""The numbers of "Is my run right?": each recipe with five seeds, and the default one on three backends.

    python benchmarks/seeds.py [--data FILE.npz] [--only default six author sample]
    KERAS_BACKEND=jax python benchmarks/seeds.py --only jax       # and so with torch, of fewer seeds: it is slow

Runs `vae_mnist.py` itself, gathers what it records into benchmarks/seeds.json, and prints the tables (with --tables,
only those). About 15 minutes on two cores, and 8 more for JAX.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import vae_mnist
from seevae.images import data
from seevae.run import folder, options

SEEDS = {"torch": range(2)}  # all others: five
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


def main():
    """Run the chosen recipes and keep the results of the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=["default", "six", "author", "sample"])
    parser.add_argument("--tables", action="store_true", help="only print the table of the recorded results")
    args = parser.parse_args()
    path = HERE / "seeds.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in [] if args.tables else args.only:
        runs = []
        for seed in SEEDS.get(name, range(5)):
            with tempfile.TemporaryDirectory() as output:
                line = f"--data {args.data} --seed {seed} --output {output} {RUNS[name]}"
                record = vae_mnist.run(options.parse_args(line.split()))
            runs.append({key: record[key] for key in KEPT})
        expected = data.MNIST_SAMPLE if name == "sample" else data.MNIST
        assert record["dataset"] == expected, f"{name} needs {expected}: give --data"
        common = {key: record[key] for key in ("dataset", "backend", "device", "versions", "settings")}
        assert record["backend"] == BACKENDS.get(name, "tensorflow"), f"{name} needs KERAS_BACKEND={BACKENDS[name]}"
        results[name] = {**common, "runs": runs}
        text = json.dumps(results, indent=1) + "\n"
        folder.write_whole(path, lambda file, text=text: file.write(text.encode()))
    print("\n".join([*table(results), "", *table(pooled(results))]))


if __name__ == "__main__":
    main()
