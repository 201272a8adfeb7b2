"""What the user types and reads: the options of the command, and the lines that a run prints."""

import argparse
import contextlib
import math

from parts.recipes import RECIPES

# The options that decide what is trained, beside the data and the seed.
TRAINING_OPTIONS = ("recipe", "epochs", "batch_size", "learning_rate", "latent_dim", "hidden_dim")


def parse_args(argv=None):
    """Parse the command line; exits with status 2 and one sentence for what is wrong in it.

    Returns the options as attributes. `recipe` is a whole Recipe, with the epochs, batch size and learning rate that
    were asked for.
    """
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.load is not None:
        given = [name for name in TRAINING_OPTIONS if getattr(args, name) != parser.get_default(name)]
        if given:
            parser.error(f"--load does not train, so --{given[0].replace('_', '-')} has no effect: leave it out")
    changes = {name: getattr(args, name) for name in ("epochs", "batch_size", "learning_rate")}
    args.recipe = RECIPES[args.recipe]._replace(**{name: value for name, value in changes.items() if value is not None})
    return args


def make_parser():
    """The parser of the command's options."""
    ours, author = RECIPES["default"], RECIPES["author"]
    parser = OneSentenceParser(
        prog="vae_mnist.py",
        description="Train the post's variational autoencoder on MNIST and save its pictures.",
        allow_abbrev=False,
    )
    count, add = whole_number(at_least=1), parser.add_argument
    add(
        "--data",
        default="mnist",
        help="'mnist', 'sample' (5,000 digits, no download) or a path to an .npz file (default: %(default)s)",
    )
    add("--recipe", choices=RECIPES, default=ours.name, help="how to train (default: %(default)s)")
    add("--epochs", type=count, help=f"passes over the images (default: {ours.epochs}; author: {author.epochs})")
    add("--batch-size", type=count, help=f"images in a training step (default: {ours.batch_size})")
    add(
        "--learning-rate",
        type=positive_number,
        help=f"the optimizer's step size (default: {ours.learning_rate}; author: {author.learning_rate})",
    )
    add("--latent-dim", type=count, default=2, help="size of z; the plane's pictures need 2 (default: %(default)s)")
    add("--hidden-dim", type=count, default=256, help="size of both hidden layers (default: %(default)s)")
    add("--seed", type=whole_number(at_least=0), default=0, help="of weights, batches, noise (default: %(default)s)")
    add(
        "--evidence-images",
        metavar="N",
        type=whole_number(at_least=0),
        default=1000,
        help="held-out images whose log p(x) is computed (default: %(default)s)",
    )
    add("--output", metavar="FOLDER", help="where to write (default: figures, or a folder below it for other data)")
    add("--load", metavar="FILE", help="draw the pictures of this trained vae.keras; do not train (default: train)")
    return parser


class OneSentenceParser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, without the usage before it."""

    def error(self, message):
        self.exit(2, f"vae_mnist: {message} (see --help)\n")


def whole_number(at_least):
    """An argparse type: a whole number of at least `at_least`, below 2**32."""

    def parse(text):
        with contextlib.suppress(ValueError):
            if at_least <= int(text) < 2**32:
                return int(text)
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {at_least}, not {text!r}")

    return parse


def positive_number(text):
    """An argparse type: a finite number above 0."""
    with contextlib.suppress(ValueError):
        if 0 < float(text) < math.inf:
            return float(text)
    raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")


def opening(device, dataset):
    """The first two lines of a run: what computes (see devices.describe), and on which images."""
    backend, versions = device["backend"], device["versions"]
    return (
        f"Keras {versions['keras']} on {backend} {versions.get(backend, '')}, {device['device']}\n"
        f"{dataset.name}: {len(dataset.x_train):,} training and {len(dataset.x_test):,} held-out images"
    )


def summary(record, files):
    """The last lines of a run: the held-out ELBO and its parts, the evidence, and the files (paths) written."""
    held_out, known = record["held_out"], record["evidence"]
    lines = [
        f"Held-out ELBO {held_out['elbo']:.2f} nats per image"
        f" = -(reconstruction loss {held_out['reconstruction_loss']:.2f} + KL loss {held_out['kl_loss']:.2f}),"
        f" {record['dataset']}"
    ]
    if known:
        line = f"The first {known['images']:,} of them: ELBO {known['elbo']:.2f}"
        line += f", importance-weighted log p(x) {known['importance_weighted']:.2f}"
        line += f" ({known['importance_samples']} samples)"
        if known["exact"] is not None:
            gap = known["exact"] - known["elbo"]
            line += f", exact log p(x) {known['exact']:.2f}; the gap of {gap:.2f} nats is KL(q(z|x) || p(z|x))"
        lines.append(line)
    if not any(path.name == "manifold.png" for path in files):
        lines.append("latent_scatter.png and manifold.png need two latent dimensions: this model has another number.")
    lines.append("Wrote " + ", ".join(map(str, files)))
    return "\n".join(lines)
