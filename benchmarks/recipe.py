"""What is lost without each part of the default recipe: three seeds of each, in three trainings.

    python benchmarks/recipe.py --data FILE.npz [--only TRAINING ...]

Each part is taken out alone. The judge is, as when the recipe was chosen, the last sixth of the *training* images (of
MNIST, 10,000), after training on the others. Writes benchmarks/recipe.json, and prints the table (with --tables, only
that). About 35 minutes on two cores.
"""

import argparse
import json
import math
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import vae_mnist  # noqa: I001 - first: it makes the start quiet
import keras
from seevae.images import data
from seevae.run.files import write_whole
from seevae.training.optimizers import HeadStep, compile_options
from seevae.training.recipes import RECIPES

SEEDS = (0, 1, 2)
TRAININGS = {"30 epochs": 30, "6 epochs": 6, "the sample, 30 epochs": 30}
NOTHING = "nothing: the default recipe"
WITHOUT = {  # what the recipe has: what it has instead
    NOTHING: {},
    "the look ahead: Adam in place of Nadam": {"optimizer": "adam"},
    "the fall of the learning rate: constant": {"linear_decay": False},
    "the shorter memory: `beta_2` 0.999": {"beta_2": 0.999},
    "the shorter steps of the heads": {"head_step": 1.0},
    "the spread initial weights: Keras's": {"spread_weights": False},
    "the noise on the input": {"binarised_input": False},
}


class AdamWithHeadStep(HeadStep, keras.optimizers.Adam):
    """The default recipe's optimizer without the look ahead."""


def loss_without(changes, x, epochs, seed):
    """The held-out loss, -ELBO in nats per image, of one training on the images x (n, 784) but for the last sixth."""
    recipe = RECIPES["default"]._replace(epochs=epochs, **changes)
    n = len(x) - len(x) // 6
    keras.utils.set_random_seed(seed)
    vae = vae_mnist.build_vae(recipe, seed=seed)
    vae_mnist.compile_vae(vae, recipe, n)
    if recipe.optimizer == "adam":  # the recipe's own Adam has no shorter steps for the heads
        optimizer = AdamWithHeadStep.from_config(vae.optimizer.get_config() | {"head_step": recipe.head_step})
        loss = vae_mnist.reconstruction_loss
        steps = math.ceil(n / recipe.batch_size)
        vae.compile(optimizer, loss=loss, metrics=[loss], **compile_options(steps))
    vae_mnist.train(vae, data.Images(x.pixels[:n]), None, recipe, seed, verbose=0)
    return -vae_mnist.evaluate_elbo(vae, x[n:], samples=10)["elbo"]


def lost(losses, default):
    """What is lost, nats per image, seed by seed: the mean and its standard error over the seeds."""
    differences = [loss - best for loss, best in zip(losses, default, strict=True)]
    return statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5


def table(record):
    """The table of docs/recipe.md, as Markdown lines, nats per image."""
    columns = record["losses"]
    lines = [f"| without | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    cells = [f"loss {statistics.mean(losses[NOTHING]):.2f}" for losses in columns.values()]
    lines.append(f"| {NOTHING} | {' | '.join(cells)} |")
    for name in [name for name in WITHOUT if name != NOTHING]:
        cells = ["{:+.2f} ± {:.2f}".format(*lost(losses[name], losses[NOTHING])) for losses in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main():
    """Train with each part taken out, and keep the results of the trainings that are not asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--only", nargs="+", choices=TRAININGS, default=list(TRAININGS))
    parser.add_argument("--tables", action="store_true", help="only print the table of the recorded results")
    args = parser.parse_args()
    path = HERE / "recipe.json"
    record = json.loads(path.read_text()) if path.exists() else {"losses": {}}
    record["recipe"] = RECIPES["default"]._asdict()
    for training in [] if args.tables else args.only:
        dataset = data.load_data("sample" if "sample" in training else args.data)
        assert dataset.full or "sample" in training, "the recipe is one for the full MNIST: give --data"
        losses = record["losses"][training] = {}
        for name, changes in WITHOUT.items():
            losses[name] = [loss_without(changes, dataset.x_train, TRAININGS[training], seed) for seed in SEEDS]
            print(f"{training}: without {name}", losses[name], flush=True)
        text = json.dumps(record, indent=1) + "\n"
        write_whole(path, lambda file, text=text: file.write(text.encode()))
    print("\n".join(table(record)))


if __name__ == "__main__":
    main()
