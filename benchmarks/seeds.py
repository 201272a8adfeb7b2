"""The numbers of the README's table "Is my run right?": each recipe with five seeds.

    python benchmarks/seeds.py [--data FILE.npz] [--only default author twelve sample]

Runs `vae_mnist.py` itself and gathers what it records into benchmarks/seeds.json. About 15 minutes on two cores.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import vae_mnist  # noqa: E402

SEEDS = range(5)
RUNS = {
    "default": [],
    "author": ["--recipe", "author"],
    "twelve": ["--epochs", "12"],
    "sample": [],
}
KEPT = ("seed", "epochs", "seconds", "held_out", "evidence")


def main():
    """Run the chosen recipes and keep the results of the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    args = parser.parse_args()
    path = HERE / "seeds.json"
    results = json.loads(path.read_text()) if path.exists() else {}
    for name in args.only:
        data = "sample" if name == "sample" else args.data
        runs = []
        for seed in SEEDS:
            with tempfile.TemporaryDirectory() as folder:
                options = vae_mnist.parse_args(["--data", data, "--seed", str(seed), "--output", folder, *RUNS[name]])
                record = vae_mnist.run(options)
            runs.append({key: record[key] for key in KEPT})
        expected = vae_mnist.MNIST_SAMPLE if name == "sample" else vae_mnist.MNIST
        assert record["dataset"] == expected, f"{name} needs {expected}: give --data"
        common = {key: record[key] for key in ("dataset", "backend", "device", "versions", "settings")}
        results[name] = {**common, "runs": runs}
        vae_mnist.write_whole(path, lambda whole: whole.write_text(json.dumps(results, indent=1) + "\n"))


if __name__ == "__main__":
    main()
