"""The options of the command. Importing this module imports no Keras, so that a mistake is told at once."""

import argparse
import contextlib
import importlib.metadata
import math
import sys
from collections.abc import Sequence

from seevae import __version__
from seevae.basics import printable
from seevae.training.recipes import RECIPES

# What may be asked for at most; seeds from 2**31 have no place in PyTorch's.
LARGEST = {"epochs": 10**6, "batch_size": 2**16, "latent_dim": 2**10, "hidden_dim": 2**14}
LARGEST |= {"seed": 2**31 - 1, "evidence_images": 10**9}
# Of the options about a training: those of the network, and those that --load takes together with --epochs alone.
SIZES, TRAINING_OPTIONS = ("latent_dim", "hidden_dim"), ("recipe", "batch_size", "learning_rate", "resume")


def parse_args(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the options, a list of strings; exits with status 2 and one sentence for what is wrong in them.

    Returns the options as attributes. `recipe` is a whole Recipe, with the epochs, batch size and learning rate that
    were asked for. `trains` tells whether there is a training: of a model of its own, or of the one that is loaded.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    args.trains = args.load is None or args.epochs is not None
    if args.load is not None:
        refuse(SIZES, args, parser, "the model of --load has its own sizes, so {} has no effect: leave it out")
    if not args.trains:
        why = "--load without --epochs does not train, so {} has no effect: give --epochs too, or leave it out"
        refuse(TRAINING_OPTIONS, args, parser, why)
    changes = {name: getattr(args, name) for name in ("epochs", "batch_size", "learning_rate")}
    args.recipe = RECIPES[args.recipe]._replace(**{name: value for name, value in changes.items() if value is not None})
    return args


def refuse(names, args, parser, sentence):
    """Exit with a sentence, in which {} is the option, if one of the options `names` was given."""
    for name in names:
        if getattr(args, name) != parser.get_default(name):
            parser.error(sentence.format(f"--{name.replace('_', '-')}"))


def make_parser():
    """The parser of the command's options."""
    ours, author = RECIPES["default"], RECIPES["author"]
    epochs, rate = (f"(default: {getattr(ours, n)}; author: {getattr(author, n)})" for n in ("epochs", "learning_rate"))
    sets = "'mnist', 'sample' (5,000 digits, no download), 'fashion_mnist' or a file or folder of images"
    parser = OneSentenceParser(
        prog="vae_mnist.py",
        description="Train the post's variational autoencoder on MNIST and save its pictures.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--data", default="mnist", help=f"{sets} (default: %(default)s)")
    add("--recipe", choices=RECIPES, default=ours.name, help="how to train (default: %(default)s)")
    add("--epochs", type=whole_number("epochs"), help=f"passes over the images {epochs}")
    add("--batch-size", type=whole_number("batch_size"), help=f"images in a step (default: {ours.batch_size})")
    add("--learning-rate", type=positive_number, help=f"the optimizer's step size {rate}")
    needs = "size of z; the plane's pictures need 2 (default: %(default)s)"
    add("--latent-dim", type=whole_number("latent_dim"), default=2, help=needs)
    both = "size of both hidden layers (default: %(default)s)"
    add("--hidden-dim", type=whole_number("hidden_dim"), default=256, help=both)
    add("--seed", type=whole_number("seed", 0), default=0, help="of weights, batches, noise (default: %(default)s)")
    known = "held-out images whose log p(x) is computed (default: %(default)s)"
    add("--evidence-images", metavar="N", type=whole_number("evidence_images", 0), default=1000, help=known)
    add("--resume", action="store_true", help="go on with a training that was cut off, with the options it had")
    add("--output", metavar="FOLDER", help="where to write (default: figures, or a folder below it for other data)")
    pictures = "draw the pictures of this trained vae.keras; with --epochs, train it further (default: a new model)"
    add("--load", metavar="FILE", help=pictures)
    add("--version", action="version", version=versions())
    return parser


def versions():
    """The versions of this program and of what it runs on, as one line."""
    found = [f"Python {sys.version.split()[0]}"]
    for package in ("keras", "tensorflow", "jax", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{package} {importlib.metadata.version(package)}")
    return f"vae_mnist {__version__} ({', '.join(found)})"


class OneSentenceParser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, without the usage before it."""

    def error(self, message):
        self.exit(2, f"vae_mnist: {printable(message)} (see --help)\n")


def whole_number(option, at_least=1):
    """An argparse type: a whole number from `at_least` to the LARGEST of an option."""
    at_most = LARGEST[option]

    def parse(text):
        with contextlib.suppress(ValueError):
            if at_least <= int(text) <= at_most:
                return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number from {at_least} to {at_most:,}, not {text!r}")

    return parse


def positive_number(text):
    """An argparse type: a finite number above 0."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
