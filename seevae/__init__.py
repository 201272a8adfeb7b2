"""Seeing variational autoencoders: the public face of the package. `import seevae` imports no Keras and no NumPy.

What a program of your own needs is here, and each name is fetched from its room when it is first asked for:

    load_data           MNIST, its 5,000-image sample, or images in almost any file or folder, as a Dataset
    Dataset, Images     what load_data gives; Images keeps bytes, and a slice of it is float32
    examine             what a run says of our network, said of any VAE: it takes two functions
    compare             which of two networks that examine saw is better, and whether by more than the error
    exact_log_evidence  log p(x) of a decoder with two latents, on a grid that refines itself
    RECIPES             the two ways to train, as a table
    pictures, explorer  the figures of a run, and its page for a browser
    UserError           what all of these raise: one sentence that says what was wrong and what to do

The network itself, line by line the post's, is the script vae_mnist.py beside this package. The rooms, from the lowest
to the highest; each imports those below it alone, and its `__init__` says what it is for (tests/test_rooms.py):

    images     files of any layout, read within bounds, and made small, grey and labelled
    machine    Keras on its backend, quietly; the devices, and several machines
    training   how to train: recipes, initial weights, optimizer, callbacks, batches
    results    what a trained model shows: evidence, pictures, the explorer
    run        one run of the command: options, folder, resuming, stopping, what it prints
    diagnosis  a VAE that somebody wrote elsewhere: its numbers, and what looks wrong

What is inside a room may change at any time; the names above stay.
"""

import importlib

__version__ = "2.1"
HOME_OF = {  # name: where it lives
    "UserError": "seevae.basics",
    "Dataset": "seevae.images.data",
    "Images": "seevae.images.data",
    "load_data": "seevae.images.data",
    "RECIPES": "seevae.training.recipes",
    "exact_log_evidence": "seevae.results.evidence",
    "explorer": "seevae.results",
    "pictures": "seevae.results",
    "examine": "seevae.diagnosis.examine",
    "compare": "seevae.diagnosis.examine",
}
__all__ = [*HOME_OF]


def __getattr__(name):
    if name not in HOME_OF:
        raise AttributeError(f"module 'seevae' has no attribute {name!r}")
    if name in ("explorer", "pictures"):
        return importlib.import_module(f"{HOME_OF[name]}.{name}")
    return getattr(importlib.import_module(HOME_OF[name]), name)


def __dir__():
    return [*globals(), *HOME_OF]
