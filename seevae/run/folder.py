"""The folder of a run: where it is, that no other run writes there, and that its files are always those of one run.

What a killed run left is settled at the next start, or before a model is loaded from there (see files.py).
"""

import contextlib
import hashlib
import itertools
import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from seevae.basics import UserError
from seevae.images.data import MNIST_SAMPLE
from seevae.images.reading import open_file, read_json
from seevae.run.files import ASIDE, AllOrNothing, reason

try:
    import fcntl
except ImportError:  # Windows has none: two runs at once are not told apart there
    fcntl = None  # type: ignore[assignment]

MODEL, RECORD, EXPLORER, REPLAY = "vae.keras", "metrics.json", "explorer.html", "replay.npz"
REPORT = "report.html"  # of examine
PICTURES = ("latent_scatter.png", "manifold.png", "prior_samples.png", "reconstructions.png", "training_curves.png")
FILES = (MODEL, RECORD, EXPLORER, REPORT, REPLAY, *PICTURES)
UNFINISHED = "unfinished.npz"  # a training after its last finished epoch (see seevae/run/resume.py)


@contextlib.contextmanager
def opened(output, dataset, loaded=False, start=None, together=contextlib.nullcontext):
    """Choose the folder of a run, make it, and keep other runs out of it; a context that gives a Place.

    output, dataset, loaded, start: see `choose`; together: see AllOrNothing.replace.
    What a killed run left is settled first. A folder that was made for the run, and in which it wrote nothing, goes
    again. Raises UserError where the folder cannot be used, or a file in it cannot be replaced.
    """
    if not 1980 <= (year := time.localtime().tm_year) < 2108:
        raise UserError(f"The clock of this machine says {year}, which no archive can hold: set it.")
    folder = Path(output or "figures")
    with contextlib.ExitStack() as stack:
        try:
            place = None
            while place is None:  # where another run ended meanwhile, this one may belong elsewhere
                folder = choose(output, dataset, loaded, start)
                place = stack.enter_context(held(folder))
                if not place.is_still_there() or choose(output, dataset, loaded, start) != folder:
                    stack.close()
                    place = None
            with together():
                settle(folder)
                files_in(folder).try_moving()
        except BlockingIOError as error:
            advice = "wait for its end, or choose another --output"
            raise UserError(f"Another run is writing into the folder {folder}: {advice}.") from error
        except (OSError, ValueError) as error:  # a name with a NUL
            what = named_in(error, folder) or f"the folder {folder}"
            raise UserError(f"Cannot write {what} ({reason(error)}): move it, or choose another --output.") from error
        yield place


class Place(NamedTuple):
    """The folder of a run, which it has opened and locked."""

    path: Path
    descriptor: int | None  # None where the system has no locks

    def is_still_there(self):
        """Whether the path still leads to the folder that was opened: not deleted, nor replaced by another one."""
        if self.descriptor is None:
            return True
        try:
            return os.path.samestat(os.stat(self.path), os.fstat(self.descriptor))
        except OSError:
            return False


def beside(folder):
    """The path of a new folder: this one if it is gone, else its name with the first number from 2 on that is free."""
    paths = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(2))
    return next(path for path in itertools.chain([folder], paths) if not os.path.lexists(path))


@contextlib.contextmanager
def held(folder):
    """Make a folder and lock it; a context that gives a Place. What it made, and nothing was written into, goes again.

    Raises BlockingIOError where another run has it, and other OSErrors.
    """
    new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder) as descriptor:
        try:
            yield Place(folder, descriptor)
        finally:
            with contextlib.suppress(OSError):
                for path in new:  # from the innermost on, as long as they are empty
                    path.rmdir()


def choose(output, dataset, loaded=False, start=None):
    """The folder to write to: nothing but a training on the full MNIST replaces one, and no loaded model a trained one.

    output: what --output says, or None: then it is figures/ for MNIST, and folders below it for other data and for a
    model that is loaded. An --output is taken as it is, unless it holds what may not be replaced; then it is a folder
    below it. dataset: a data.Dataset; loaded: whether the model is one trained before. start: of such a model that is
    trained further, the `digest` of its file. Such a training replaces one that started there, too, and no other.
    """
    folder = Path(output or "figures")  # --output "" is what a shell makes of a variable that is not set
    below = "sample" if dataset.name == MNIST_SAMPLE else folder_name(dataset.name)
    if not output:
        folder = folder.joinpath(*[below] * (not dataset.full), *["loaded"] * loaded)
    while is_kept(folder, dataset, loaded, start):
        folder /= "loaded" if loaded else below
    return folder


def is_kept(folder, dataset, loaded, start):
    """Whether `folder` holds what such a run may not replace, once what a killed run left there is settled."""
    finish(folder)
    if loaded:
        return holds_trained(folder) and not started_from(folder, start)
    return not dataset.full and holds_trained(folder, full_mnist=True)


def folder_name(file_name):
    """The name of the folder for a data file: its stem, or its whole name if the stem is hidden or one of ours."""
    stem = Path(file_name).stem
    return file_name if stem in ("sample", "loaded", "notebook", *FILES) or stem.startswith(".") else stem


def holds_trained(folder, full_mnist=False):
    """Tell whether `folder` holds a run that trained (on the full MNIST), or one of which no record tells."""
    try:
        record = read_json(folder / RECORD)
        return record["model"] is None and (record["full_mnist"] or not full_mnist)
    except (OSError, ValueError, KeyError, TypeError):
        return any((folder / name).is_file() for name in FILES)


def record_beside(model):
    """The record in the folder of a model file, a dict; empty where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        record = read_json(Path(model).with_name(RECORD))
        return record if isinstance(record, dict) else {}
    return {}


def held_out_anew(model, dataset, seed):
    """The dataset, which says so where its held-out images are others than those of the training of a `model` file."""
    with contextlib.suppress(KeyError, TypeError):
        record = record_beside(model)
        drawn = [any("drawn by the seed" in word for word in said) for said in (record["converted"], dataset.said)]
        if all(drawn) and record["model"] is None and record["dataset"] == dataset.name and record["seed"] != seed:
            words = f"{Path(model).name} has seen most of them, as it was trained with --seed {record['seed']}"
            return dataset._replace(said=(*dataset.said, words))
    return dataset


def digest(path):
    """The SHA-256 of a file, as hexadecimal digits. Raises OSError."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def started_from(folder, start):
    """Tell whether `folder` holds what was trained further from the model file with the digest `start`, and not it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        record = read_json(folder / RECORD)
        return record["started_from"]["sha256"] == start != digest(folder / MODEL)
    return False


@contextlib.contextmanager
def locked(folder):
    """Keep other runs out of a folder in this context, which gives its file descriptor. The lock ends with the process.

    Raises BlockingIOError where another run has it. A file system without locks has none.
    """
    if fcntl is None:
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield descriptor
    finally:
        os.close(descriptor)


def files_in(folder):
    """All that a run may write into its folder, as files that change together."""
    return AllOrNothing(folder, {*FILES, UNFINISHED})


def settle(folder):
    """Put right what a killed run left in `folder`."""
    files_in(folder).settle()
    folder.joinpath(f".{UNFINISHED}").unlink(missing_ok=True)  # where write_whole was


def finish(folder):
    """Settle a folder in which a killed run had begun its moves; one that cannot be written into stays as it is."""
    with contextlib.suppress(OSError):
        while not files_in(folder).is_settled():
            try:
                with locked(folder):
                    settle(folder)
                return
            except BlockingIOError:  # another run is moving its files, which takes some milliseconds
                time.sleep(0.02)


def save(folder, figures, page, vae, replay, record, together=contextlib.nullcontext, report=None):
    """Put the files of a run into its folder, all at once; those that an earlier run had beyond them go.

    figures: {file name: Figure}; page, report: the HTML of the explorer and of examine's page, or None; vae and replay:
    the model and its Replay, which are written if they were trained in this run; record: a dict, as session.Session
    makes it.
    The state of a training goes when that training has ended. together: see AllOrNothing.replace. Returns the paths of
    the files. Raises UserError when the disk refuses; the earlier files are then still there.
    """
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    writers = {name: figure.savefig for name, figure in figures.items()}
    for name, html in ((EXPLORER, page), (REPORT, report)):
        if html is not None:
            writers[name] = lambda path, html=html: path.write_text(html, encoding="utf-8")
    writers[RECORD] = lambda path: path.write_text(text, encoding="utf-8")
    if record["model"] is None:
        writers |= {MODEL: vae.save, REPLAY: replay.save}
    gone = [name for name in FILES if name not in writers]
    if record["model"] is None and not (record["stopped"] and record["epochs"]):
        gone.append(UNFINISHED)
    try:
        files_in(folder).replace(writers, gone, together)
    except OSError as error:
        what = f"{named_in(error, folder) or folder} could not be written ({reason(error)})"
        raise UserError(f"{what}: make room or choose another --output.") from error
    return [folder / name for name in sorted(writers)]


def named_in(error, folder):
    """The path of the file of a run that an OSError is about, or None."""
    paths = (getattr(error, "filename", None), getattr(error, "filename2", None))
    names = {Path(str(path)).name for path in paths} & {*FILES, UNFINISHED, ASIDE}
    return folder / min(names) if names else None
