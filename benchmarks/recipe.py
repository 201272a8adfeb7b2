"""What is lost without each part of the default recipe: three seeds of each, in three trainings.

    python benchmarks/recipe.py --data FILE.npz [TRAINING ...]

Each part is taken out alone. The judge is, as when the recipe was chosen, the last sixth of the *training* images (of
MNIST, 10,000), after training on the others. Writes benchmarks/recipe.json, and prints the table (with --tables, only
that). About 35 minutes on two cores.
"""

import math

import record
from tables import NOTHING, recipe_table

import vae_mnist
from seevae.images.data import Images, load_data
from seevae.training.optimizers import HeadStep, compile_options
from seevae.training.recipes import RECIPES
from vae_mnist import keras

SEEDS = (0, 1, 2)
TRAININGS = {"30 epochs": 30, "6 epochs": 6, "the sample, 30 epochs": 30}
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
    vae_mnist.train(vae, Images(x.pixels[:n]), None, recipe, seed, verbose=0)
    return -vae_mnist.evaluate_elbo(vae, x[n:], samples=10)["elbo"]


def measure(results, training, path):
    """Train with each part of the recipe taken out, with each seed."""
    dataset = load_data("sample" if "sample" in training else path)
    assert dataset.full or "sample" in training, "the recipe is one for the full MNIST: give --data"
    results["recipe"] = RECIPES["default"]._asdict()
    losses = results.setdefault("losses", {})[training] = {}
    for name, changes in WITHOUT.items():
        losses[name] = [loss_without(changes, dataset.x_train, TRAININGS[training], seed) for seed in SEEDS]
        print(f"{training}: without {name}", losses[name], flush=True)


if __name__ == "__main__":
    record.main(__file__, __doc__, TRAININGS, measure, recipe_table)
