"""What is lost without each part of the default recipe: three seeds of each, 30 epochs.

    python benchmarks/recipe.py [--data FILE.npz] [--only PART ...]

Each part is taken out alone. The judge is, as when the recipe was chosen, the last 10,000 *training* images, after
training on the others. Writes benchmarks/recipe.json, and prints the table (with --tables, only that).
About 20 minutes on two cores.
"""

import argparse
import json
import math
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import vae_mnist  # noqa: E402, I001 - first: it makes the start quiet
import keras  # noqa: E402
from parts import data, folder, learning  # noqa: E402
from parts.recipes import RECIPES  # noqa: E402

SEEDS = (0, 1, 2)
HELD_OUT = 10_000
WITHOUT = {  # what the recipe has: what it has instead
    "nothing, the default recipe": {},
    "the look ahead: Adam in place of Nadam": {"optimizer": "adam"},
    "the fall of the learning rate: constant": {"linear_decay": False},
    "the shorter steps of the heads": {"head_step": 1.0},
    "the spread initial weights: Keras's": {"spread_weights": False},
    "the noise on the input": {"binarised_input": False},
    "with `beta_2` 0.99 (it had it once) in place of 0.999": {"beta_2": 0.99},
}


class AdamWithHeadStep(learning.HeadStep, keras.optimizers.Adam):
    """The default recipe's optimizer without the look ahead."""


def loss_without(changes, x, seed):
    """The held-out loss, -ELBO in nats per image, of one training on the images x (n, 784) but the last 10,000."""
    fields = {name: value for name, value in changes.items() if name != "beta_2"}
    recipe = RECIPES["default"]._replace(**fields)
    keras.utils.set_random_seed(seed)
    vae = vae_mnist.build_vae(recipe, seed=seed)
    vae_mnist.compile_vae(vae, recipe, len(x) - HELD_OUT)
    if {"optimizer", "beta_2"} & {*changes}:  # an optimizer that no recipe has
        steps = math.ceil((len(x) - HELD_OUT) / recipe.batch_size)
        rate = keras.optimizers.schedules.PolynomialDecay(recipe.learning_rate, steps * recipe.epochs, 0.0)
        kind = AdamWithHeadStep if "optimizer" in changes else learning.NadamWithHeadStep
        optimizer = kind(rate, recipe.head_step, beta_2=changes.get("beta_2", 0.999))
        loss = vae_mnist.reconstruction_loss
        vae.compile(optimizer, loss=loss, metrics=[loss], **learning.compile_options(steps))
    vae_mnist.train(vae, data.Images(x.pixels[:-HELD_OUT]), None, recipe, seed, verbose=0)
    return -vae_mnist.evaluate_elbo(vae, x[-HELD_OUT:], samples=10)["elbo"]


def table(record):
    """The table of benchmarks/README.md, as Markdown lines: what is lost, in nats per image, of the same seed."""
    rows = record["losses"]
    default = rows["nothing, the default recipe"]
    lines = ["| without | loss = -ELBO, seeds 0, 1, 2 | mean | lost, nats per image |", "|---|---|---|---|"]
    for name, losses in rows.items():
        lost = [loss - best for loss, best in zip(losses, default, strict=True)]
        error = statistics.stdev(lost) / len(lost) ** 0.5
        cell = f"{statistics.mean(lost):+.2f} ± {error:.2f}" if any(lost) else ""
        lines.append(
            f"| {name} | {', '.join(f'{loss:.2f}' for loss in losses)} | {statistics.mean(losses):.2f} | {cell} |"
        )
    return lines


def main():
    """Train with each part taken out and keep the results of the others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--only", nargs="+", choices=WITHOUT, default=list(WITHOUT))
    parser.add_argument("--tables", action="store_true", help="only print the table of the recorded results")
    args = parser.parse_args()
    path = HERE / "recipe.json"
    record = json.loads(path.read_text()) if path.exists() else {"recipe": RECIPES["default"]._asdict(), "losses": {}}
    if not args.tables:
        dataset = data.load_data(args.data)
        assert dataset.full, "the recipe is one for the full MNIST: give --data"
        for name in args.only:
            record["losses"][name] = [loss_without(WITHOUT[name], dataset.x_train, seed) for seed in SEEDS]
            print(name, record["losses"][name], flush=True)
            text = json.dumps(record, indent=1) + "\n"
            folder.write_whole(path, lambda file, text=text: file.write(text.encode()))
    print("\n".join(table(record)))


if __name__ == "__main__":
    main()
