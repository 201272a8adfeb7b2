"""What the user types and reads: the options of the command, and the lines that a run prints."""

import argparse
import contextlib
import functools
import io
import math
import os
import sys
import traceback

from parts import UserError, devices, parallel, printable, stopping
from parts.data import IMAGE_DIM
from parts.recipes import RECIPES

# What may be asked for at most; seeds from 2**31 have no place in PyTorch's.
LARGEST = {"epochs": 10**6, "batch_size": 2**16, "latent_dim": 2**10, "hidden_dim": 2**14, "seed": 2**31 - 1}
# The options about what is trained, beside the data and the seed.
TRAINING_OPTIONS = ("recipe", "epochs", "batch_size", "learning_rate", "latent_dim", "hidden_dim", "resume")


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
    needed, free = memory_needed(args), devices.free_memory()
    if needed > free:
        sizes = f"--batch-size {args.recipe.batch_size}, --hidden-dim {args.hidden_dim}, --latent-dim {args.latent_dim}"
        parser.error(
            f"{sizes} take about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} are free: choose smaller ones"
        )
    return args


def memory_needed(args):
    """About how many bytes a training of these sizes takes beside its images, in float32."""
    dim, hidden, latent = IMAGE_DIM, args.hidden_dim, args.latent_dim
    weights = 2 * dim * hidden + 3 * hidden * latent  # each with its gradient, two moments, and a copy in the explorer
    values = 4 * dim + 2 * hidden + 6 * latent  # of one image: of the layers, with their gradients
    return 4 * (5 * weights + 2 * args.recipe.batch_size * values)


def make_parser():
    """The parser of the command's options."""
    ours, author = RECIPES["default"], RECIPES["author"]
    parser = OneSentenceParser(
        prog="vae_mnist.py",
        description="Train the post's variational autoencoder on MNIST and save its pictures.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--data",
        default="mnist",
        help="'mnist', 'sample' (5,000 digits, no download), 'fashion_mnist' or the path of an .npz file"
        " (default: %(default)s)",
    )
    add("--recipe", choices=RECIPES, default=ours.name, help="how to train (default: %(default)s)")
    add(
        "--epochs",
        type=whole_number(1, LARGEST["epochs"]),
        help=f"passes over the images (default: {ours.epochs}; author: {author.epochs})",
    )
    add(
        "--batch-size",
        type=whole_number(1, LARGEST["batch_size"]),
        help=f"images in a training step (default: {ours.batch_size})",
    )
    add(
        "--learning-rate",
        type=positive_number,
        help=f"the optimizer's step size (default: {ours.learning_rate}; author: {author.learning_rate})",
    )
    add(
        "--latent-dim",
        type=whole_number(1, LARGEST["latent_dim"]),
        default=2,
        help="size of z; the plane's pictures need 2 (default: %(default)s)",
    )
    add(
        "--hidden-dim",
        type=whole_number(1, LARGEST["hidden_dim"]),
        default=256,
        help="size of both hidden layers (default: %(default)s)",
    )
    add(
        "--seed",
        type=whole_number(0, LARGEST["seed"]),
        default=0,
        help="of weights, batches, noise (default: %(default)s)",
    )
    add(
        "--evidence-images",
        metavar="N",
        type=whole_number(0, 10**9),
        default=1000,
        help="held-out images whose log p(x) is computed (default: %(default)s)",
    )
    add("--resume", action="store_true", help="go on with a training that was cut off, with the options it had")
    add("--output", metavar="FOLDER", help="where to write (default: figures, or a folder below it for other data)")
    add("--load", metavar="FILE", help="draw the pictures of this trained vae.keras; do not train (default: train)")
    return parser


class OneSentenceParser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence, without the usage before it."""

    def error(self, message):
        self.exit(2, f"vae_mnist: {printable(message)} (see --help)\n")


def whole_number(at_least, at_most):
    """An argparse type: a whole number from `at_least` to `at_most`."""

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


class SteadyOutput:
    """A text stream that a closed pipe or a full device does not stop: what cannot be written is left out.

    stream: a text file, or None, which Python has where standard output is closed. `error`: the first OSError, or None.
    """

    def __init__(self, stream):
        self.stream = io.StringIO() if stream is None else stream
        self.error = None
        if hasattr(self.stream, "reconfigure"):
            self.stream.reconfigure(errors="backslashreplace")  # a folder's name that the console cannot spell

    def write(self, text):
        self.attempt(self.stream.write, text)
        return len(text)

    def flush(self):
        self.attempt(self.stream.flush)

    def attempt(self, act, *arguments):
        try:
            act(*arguments)
        except OSError as error:
            self.error = self.error or error
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())  # for what is still to come, and left in buffers

    def __getattr__(self, name):
        return getattr(self.stream, name)


def steady(main):
    """Decorate a command, which then returns its exit status, after one sentence where it is not 0.

    It is 2 for a UserError and for what no memory holds, and 128 plus the number of a signal that cut the training
    short (see stopping). No output device stops the command.
    """

    @functools.wraps(main)
    def steady_main(*arguments):
        before = sys.stdout
        sys.stdout = output = SteadyOutput(before)
        status = 0
        try:
            with stopping.answered():
                main(*arguments)
                if stopping.now.asked:
                    print(f"vae_mnist: stopped early; {stopping.now.left}.", file=sys.stderr)
                    status = 128 + stopping.now.asked
        except UserError as error:
            status = complain(error)
        except Exception as error:
            if devices.is_out_of_memory(error):
                advice = "choose a smaller --batch-size or --hidden-dim, or fewer images"
                status = complain(f"This does not fit into the memory: {advice}.")
            elif parallel.is_lost(error):
                reason = " ".join(str(error).split())[:120]
                advice = f"start all of them anew; {stopping.now.left}"
                status = complain(f"Another process of this training is gone ({reason}): {advice}.")
            else:
                if stopping.now.trained:
                    complain("the program failed.")
                if parallel.processes() > 1:
                    traceback.print_exc()
                    parallel.leave(1)
                raise
        finally:
            output.flush()
            sys.stdout = before
        parallel.leave(status)
        if output.error and not isinstance(output.error, BrokenPipeError):  # a closed pipe is the reader's choice
            what = "the lines of this run could not all be written"
            print(f"vae_mnist: {what} ({output.error.strerror}); its files are not affected.", file=sys.stderr)
            return status or 2
        return status

    return steady_main


def complain(sentence):
    """Print what is wrong, and where a trained model is left, if there is one; returns exit status 2."""
    print(" ".join(filter(None, [f"vae_mnist: {sentence}", stopping.now.trained])), file=sys.stderr)
    return 2


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
        f" {record['dataset']}" + (f"; {record['stopped']}" if record["stopped"] else "")
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
