"""How to train: the two recipes, as a table.

A recipe changes how the post's network is trained, never the network: initial weights, noise on the input, the
optimizer. `author` is the notebook of the post's author; `default` reaches his result in a fraction of his epochs.
The options --epochs, --batch-size and --learning-rate replace those of a recipe. What the words mean to the network is
in seevae/training/initial_weights.py and input_noise.py; the loss and the call of `fit` are in vae_mnist.py.
"""

from typing import NamedTuple


class Recipe(NamedTuple):
    """One way to train."""

    name: str
    epochs: int
    batch_size: int
    optimizer: str  # "adam", or "nadam": Adam that looks one step ahead, and the only one with a head_step
    learning_rate: float
    linear_decay: bool  # the learning rate falls linearly to 0 over the whole training
    beta_2: float  # how long the optimizer remembers the size of the gradients
    head_step: float  # nadam's: the step of z_mean and z_log_var, in units of the other layers' step
    spread_weights: bool  # initial weights whose relu units cover the data and the prior
    binarised_input: bool  # StochasticBinarisation before the encoder


RECIPES = {
    # Ten times the author's step, made safe by a linear decay, by an optimizer that looks ahead and forgets large
    # gradients ten times sooner, and by smaller steps for the heads, whose weights move the codes; initial weights that
    # suit relu layers; noise on the input. Chosen on the last 10,000 training images, never on the test set
    # (benchmarks/recipe.py tells what each part earns).
    "default": Recipe(
        name="default", epochs=30, batch_size=100, optimizer="nadam", learning_rate=1e-2, linear_decay=True,
        beta_2=0.99, head_step=0.15, spread_weights=True, binarised_input=True,
    ),
    # The author's notebook: Keras's defaults of 2016.
    "author": Recipe(
        name="author", epochs=50, batch_size=100, optimizer="adam", learning_rate=1e-3, linear_decay=False,
        beta_2=0.999, head_step=1.0, spread_weights=False, binarised_input=False,
    ),
}  # fmt: skip
