"""The numbers of "Is my run right?": each recipe with five seeds, the default one with more and on each backend.

    python benchmarks/seeds.py [--data FILE.npz] [default six author sample]
    KERAS_BACKEND=jax python benchmarks/seeds.py jax       # and so with torch, which is slow

Runs `vae_mnist.py` itself, gathers what it records into benchmarks/seeds.json, and prints the tables (with --tables,
only those). A seed that the record holds is not run again: to measure it anew, take it out. Up to two minutes a
seed on two cores, on PyTorch five.
"""

import tempfile
from pathlib import Path

import record
from tables import BACKENDS, FIVE, SEEDS, seeds_tables

import vae_mnist
from seevae.images import data
from seevae.run import options

RUNS = {
    "default": "",
    "jax": "",
    "torch": "",
    "six": "--epochs 6",
    "author": "--recipe author",
    "sample": "--data sample",
}
KEPT = ("seed", "epochs", "seconds", "held_out", "evidence")


def measure(results, name, path):
    """Run one of the RUNS with each of its seeds that the record does not hold, and keep each when it is done."""
    runs = results.get(name, {}).get("runs", [])
    for seed in sorted({*SEEDS.get(name, FIVE)} - {run["seed"] for run in runs}):
        with tempfile.TemporaryDirectory() as output:
            line = f"--data {path} --seed {seed} --output {output} {RUNS[name]}"
            found = vae_mnist.run(options.parse_args(line.split()))
        expected = data.MNIST_SAMPLE if name == "sample" else data.MNIST
        assert found["dataset"] == expected, f"{name} needs {expected}: give --data"
        backend = BACKENDS.get(name, "tensorflow")
        assert found["backend"] == backend, f"{name} needs KERAS_BACKEND={backend}"
        runs = sorted([*runs, {key: found[key] for key in KEPT}], key=lambda run: run["seed"])
        common = {key: found[key] for key in ("dataset", "backend", "device", "versions", "settings")}
        results[name] = {**results.get(name, {}), **common, "runs": runs}
        record.save(Path(__file__).with_suffix(".json"), results)


if __name__ == "__main__":
    record.main(__file__, __doc__, RUNS, measure, seeds_tables, default=["default", "six", "author", "sample"])
