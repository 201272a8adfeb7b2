"""The numbers of "Is my run right?": each recipe with five seeds.

    python benchmarks/seeds.py [--data FILE.npz] [--only default six author sample]

Runs `vae_mnist.py` itself, gathers what it records into benchmarks/seeds.json, and prints the table (with --tables,
only that). About 15 minutes on two cores.
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
from seevae.run import options
from seevae.run.files import write_whole

SEEDS = range(5)
RUNS = {
    "default": "",
    "six": "--epochs 6",
    "author": "--recipe author",
    "sample": "--data sample",
}
NAMES = {
    "default": "`python vae_mnist.py`, 30 epochs",
    "six": "`--epochs 6`",
    "author": "`--recipe author`, 50 epochs",
    "sample": "`--data sample`, 30 epochs",
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


def main():
    """Run the chosen recipes and keep the results of the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--tables", action="store_true", help="only print the table of the recorded results")
    args = parser.parse_args()
    path = HERE / "seeds.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in [] if args.tables else args.only:
        runs = []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as output:
                line = f"--data {args.data} --seed {seed} --output {output} {RUNS[name]}"
                record = vae_mnist.run(options.parse_args(line.split()))
            runs.append({key: record[key] for key in KEPT})
        expected = data.MNIST_SAMPLE if name == "sample" else data.MNIST
        assert record["dataset"] == expected, f"{name} needs {expected}: give --data"
        common = {key: record[key] for key in ("dataset", "backend", "device", "versions", "settings")}
        results[name] = {**common, "runs": runs}
        text = json.dumps(results, indent=1) + "\n"
        write_whole(path, lambda file, text=text: file.write(text.encode()))
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
