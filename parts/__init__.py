"""What supports vae_mnist.py: everything that a reader of the post would skip, one room a purpose.

    data       the images: MNIST, its 5,000-image sample, a file of one's own; loaded and checked
    feeding    the way of the images into the training, batch by batch
    recipes    how to train: initial weights, stochastic binarisation, the optimizer, what the logs hold
    evidence   log p(x), the evidence, next to the ELBO that bounds it
    pictures   the figures: each takes the model and the data, or arrays, and returns a matplotlib Figure
    folder     where the files of a run go, all at once
    resume     a training that was cut off goes on, bit for bit
    stopping   Ctrl-C and SIGTERM
    saved      model files: checked before Keras builds anything of them, and loaded
    devices    the backend: its quiet start, its device, memory and versions
    parallel   one training over several devices, or several machines, and how it compiles
    console    the options, the lines that a run prints, its error sentences
    explorer   a page to play with the trained model in a browser, and the replay of its training

A room is handed what it needs and gives back a result. None imports vae_mnist.py.
"""

import os
import stat

# First of all, as any room may be the first imported: the answer to Ctrl-C, and Keras, quietly.
from parts import stopping as stopping  # isort: skip
from parts import devices as devices


class UserError(Exception):
    """Something the user can mend; the message is one sentence that says what was wrong and what to do."""

    def __init__(self, sentence):
        super().__init__(printable(sentence))


def printable(text):
    """`text` on one line that any file and page can hold: line breaks and bytes that are no text become escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_there(path, what, advice):
    """Raise UserError unless `path` is a regular file that can be read; `what` it is, and what else to do."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UserError(f"There is no {what} {path}, but something else of that name: {advice}.")
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:
        raise UserError(
            f"There is no {what} {path} that can be read ({getattr(error, 'strerror', error)}): {advice}."
        ) from error
