"""What the user reads: the lines that a run prints, its error sentences, its exit status."""

import contextlib
import sys
from collections.abc import Sequence

from seevae.basics import UserError, complain
from seevae.machine import devices, processes, startup
from seevae.results.evidence import numbers
from seevae.run.before_keras import status_with, steady
from seevae.training.callbacks import DIVERGED


def verbosity():
    """How much `fit` prints: a bar that moves (1), in a log file a line an epoch (2), or nothing (0) without stdout."""
    if sys.stdout is None:
        return 0
    return 1 if sys.stdout.isatty() else 2


def exit_status(run, args):
    """Call run(args), a command, and return its exit status: 2 for a UserError, which is printed as one sentence.

    No output device stops the command. Where its lines could not all be written, the status is 2 as well, unless the
    reader closed the pipe.
    """
    out = steady(sys.stdout)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(steady(sys.stderr)):
        try:
            with processes.together(args):
                run(args)
            status = 0
        except UserError as error:
            complain(str(error))
            status = 2
        except SystemExit as stop:  # a signal stopped the training (see seevae/run/session.py)
            status = stop.code
        finally:
            out.flush()
        return status_with(out, status)


def what_to_do(error):
    """What the user can do about an exception, in one sentence, or None."""
    if startup.TOO_MANY_FILES in str(error):
        return f"{startup.TOO_MANY_FILES}: {startup.MORE_FILES}."
    if isinstance(error, UserError):
        return str(error)
    if devices.is_out_of_memory(error):
        return "This does not fit into the memory: choose a smaller --batch-size or --hidden-dim, or fewer images."
    return DIVERGED.format("") if "should be between 0 and 1" in str(error) else None  # PyTorch, of a loss from NaN


def opening(device, dataset):
    """The first lines of a run: what computes (see devices.describe), on which images, and what was done to them."""
    backend, versions = device["backend"], device["versions"]
    lines = [
        f"Keras {versions['keras']} on {backend} {versions.get(backend, '')}, {device['device']}",
        f"{dataset.name}: {len(dataset.x_train):,} training and {len(dataset.x_test):,} held-out images",
    ]
    if dataset.said:
        lines.append(f"On the way: {'; '.join(dataset.said)}")
    return lines


def summary(record: dict, files: Sequence) -> list[str]:
    """The last lines of a run: the held-out ELBO and its parts, the evidence, and the files (paths) written."""
    lines = numbers(record)
    if not any(path.name == "manifold.png" for path in files):
        lines.append("latent_scatter.png and manifold.png need two latent dimensions: this model has another number.")
    return [*lines, "Wrote " + ", ".join(map(str, files))]
