"""What supports vae_mnist.py: everything that a reader of the post would skip, one room a purpose.

    data       the images: MNIST, its 5,000-image sample, a file of one's own; loaded and checked
    recipes    how to train: initial weights, stochastic binarisation, the optimizer, what the logs hold
    evidence   log p(x), the evidence, next to the ELBO that bounds it
    pictures   the figures: each takes the model and the data, or arrays, and returns a matplotlib Figure
    folder     where the files of a run go, written whole
    devices    the backend: its device and versions, its quiet start, how it compiles
    console    the options, the lines that a run prints, its error sentences
    explorer   a page to play with the trained model in a browser, and the replay of its training

A room is handed what it needs and gives back a result. None imports vae_mnist.py.
"""

from parts import devices as devices  # first of all: it imports Keras quietly, and any room may be the first imported


class UserError(Exception):
    """Something the user can mend; the message is one sentence that says what was wrong and what to do."""
