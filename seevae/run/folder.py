"""The folder of a run: its pictures, model and record are always those of one run, whatever happens when.

A finished run writes all its files into .vae_mnist/ inside its folder, then a journal of what is to be moved, and then
it moves them, the earlier files aside first. A move that fails undoes all of them. Whoever cuts a run off before the
journal leaves the earlier run as it was; after it, `settle` finishes the moves at the next start, or before a model is
loaded from there.
"""

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import NamedTuple

from seevae.basics import UserError
from seevae.images.data import MNIST_SAMPLE
from seevae.images.reading import open_file, read_json

try:
    import fcntl
except ImportError:  # Windows has none: two runs at once are not told apart there
    fcntl = None

MODEL, RECORD, EXPLORER, REPLAY = "vae.keras", "metrics.json", "explorer.html", "replay.npz"
PICTURES = ("latent_scatter.png", "manifold.png", "prior_samples.png", "reconstructions.png", "training_curves.png")
FILES = (MODEL, RECORD, EXPLORER, REPLAY, *PICTURES)
UNFINISHED = "unfinished.npz"  # a training after its last finished epoch (see seevae/run/resume.py)
ASIDE, JOURNAL, OLD = ".vae_mnist", "journal.json", "old"


@contextlib.contextmanager
def opened(output, dataset, loaded=False, together=contextlib.nullcontext, start=None):
    """Choose the folder of a run, make it, and keep other runs out of it; a context that gives a Place.

    output: what --output says, or None; dataset: a data.Dataset; loaded: whether the model is one trained before;
    together: see replace_all; start: see `choose`.
    What a killed run left is settled first. A folder that was made for the run, and in which it wrote nothing, goes
    again. Raises UserError where the folder cannot be used, or a file in it cannot be replaced.
    """
    if (year := time.localtime().tm_year) < 1980:
        raise UserError(f"The clock of this machine says {year}, which no archive can hold: set it.")
    folder = Path(output or "figures")
    with contextlib.ExitStack() as stack:
        try:
            before = None
            while folder != before:  # what a killed run left there decides where this run goes
                finish(folder)
                folder, before = choose(output, dataset, loaded, start), folder
            new = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
            folder.mkdir(parents=True, exist_ok=True)
            stack.callback(remove_if_empty, new)
            descriptor = stack.enter_context(locked(folder, wait=False))
            with together():
                settle(folder)
                try_to_replace(folder)
        except BlockingIOError as error:
            advice = "wait for its end, or choose another --output"
            raise UserError(f"Another run is writing into the folder {folder}: {advice}.") from error
        except (OSError, ValueError) as error:  # a name with a NUL
            what = named_in(error, folder) or f"the folder {folder}"
            raise UserError(f"Cannot write {what} ({reason(error)}): move it, or choose another --output.") from error
        yield Place(folder, descriptor)


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


def remove_if_empty(folders):
    """Remove the folders, from the innermost on, as long as they are empty."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def choose(output, dataset, loaded=False, start=None):
    """The folder to write to: nothing but a training on the full MNIST replaces one, and no loaded model a trained one.

    Without --output it is figures/ for MNIST, and folders below it for other data and for a model that is loaded. An
    --output is taken as it is, unless it holds what may not be replaced; then it is a folder below it.
    start: of a loaded model that is trained further, the `digest` of its file. Such a training replaces one that
    started there, too, and no other.
    """
    folder = Path(output or "figures")  # --output "" is what a shell makes of a variable that is not set
    below = "sample" if dataset.name == MNIST_SAMPLE else folder_name(dataset.name)
    if not output and not dataset.full:
        folder /= below
    if not output and loaded:
        folder /= "loaded"
    while not dataset.full and not loaded and holds_trained(folder, full_mnist=True):
        folder /= below
    while loaded and holds_trained(folder) and not started_from(folder, start):
        folder /= "loaded"
    return folder


def folder_name(file_name):
    """The name of the folder for a data file: its stem, or its whole name if the stem is hidden or one of ours."""
    stem = Path(file_name).stem
    return file_name if stem in ("sample", "loaded", "notebook") or stem.startswith(".") else stem


def holds_trained(folder, full_mnist=False):
    """Tell whether `folder` holds a run that trained (on the full MNIST), or one of which no record tells."""
    try:
        record = read_json(folder / RECORD)
        return record["model"] is None and (record["full_mnist"] or not full_mnist)
    except (OSError, ValueError, KeyError, TypeError):
        return any((folder / name).is_file() for name in FILES)


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
def locked(folder, wait=True):
    """Keep other runs out of a folder in this context, which gives its file descriptor. The lock ends with the process.

    With wait=False, raises BlockingIOError where another run has it. A file system without locks has none.
    """
    if fcntl is None:
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield descriptor
    finally:
        os.close(descriptor)


def settle(folder):
    """Finish the moves that a killed run began in `folder`, or undo them, and clear away what it wrote before them."""
    aside = folder / ASIDE
    if os.path.lexists(aside) and (aside.is_symlink() or not aside.is_dir()):
        raise NotADirectoryError(errno.ENOTDIR, "it is no folder of ours", str(aside))
    if (aside / JOURNAL).exists():
        move(folder)
    put_back(folder)
    shutil.rmtree(aside, ignore_errors=True)
    aside_of(folder / UNFINISHED).unlink(missing_ok=True)


def try_to_replace(folder):
    """Raise OSError unless files can be written, and each file of an earlier run in `folder` can be moved away.

    It is there again afterwards.
    """
    (folder / ASIDE / OLD).mkdir(parents=True)
    try:
        (folder / ASIDE / max(FILES, key=len)).touch()
        for name in (*FILES, UNFINISHED):
            move_aside(folder, name)
    finally:
        put_back(folder)
        shutil.rmtree(folder / ASIDE, ignore_errors=True)


def finish(folder):
    """Settle a folder in which a killed run had begun its moves; one that cannot be written into stays as it is."""
    with contextlib.suppress(OSError):
        if any((folder / ASIDE / name).exists() for name in (JOURNAL, OLD)):
            with locked(folder):
                settle(folder)


def save(folder, figures, page, vae, replay, record, together=contextlib.nullcontext):
    """Put the files of a run into its folder, all at once; those that an earlier run had beyond them go.

    figures: {file name: Figure}; page: the explorer's HTML, or None; vae and replay: the model and its
    Replay, which are written if they were trained in this run; record: a dict, as session.Session makes it.
    The state of a training goes when that training has ended. together: see replace_all. Returns the paths of the
    files. Raises UserError when the disk refuses; the earlier files are then still there.
    """
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    writers = {name: figure.savefig for name, figure in figures.items()}
    if page is not None:
        writers[EXPLORER] = lambda path: path.write_text(page, encoding="utf-8")
    writers[RECORD] = lambda path: path.write_text(text, encoding="utf-8")
    if record["model"] is None:
        writers |= {MODEL: vae.save, REPLAY: replay.save}
    gone = [name for name in FILES if name not in writers]
    if record["model"] is None and not (record["stopped"] and record["epochs"]):
        gone.append(UNFINISHED)
    replace_all(folder, writers, gone, together)
    return [folder / name for name in sorted(writers)]


def replace_all(folder, writers, gone=(), together=contextlib.nullcontext):
    """Call each write(path) of writers, {file name: write}, then put all the files into `folder` and take `gone` away.

    Each name is one of FILES. Nothing changes before all are written, and then all of it does: see `settle`. The moves
    are made in a context together(), in which no signal should cut them in two.
    """
    aside = folder / ASIDE
    name = JOURNAL
    try:
        aside.mkdir(parents=True, exist_ok=True)
        for name, write in writers.items():
            write(aside / name)
            to_disk(aside / name)
        name = JOURNAL
        journal = aside / f"{JOURNAL}.new"
        journal.write_text(json.dumps({"files": [*writers], "gone": [*gone], "token": os.urandom(4).hex()}))
        to_disk(journal)
        with together():
            os.replace(journal, aside / JOURNAL)  # from here on the new run is the one that counts
            move(folder)
    except OSError as error:
        path = folder / name if name in writers else named_in(error, folder) or folder
        raise UserError(
            f"{path} could not be written ({reason(error)}): make room or choose another --output."
        ) from error
    finally:
        if not (aside / JOURNAL).exists():
            shutil.rmtree(aside, ignore_errors=True)


def move(folder):
    """Carry out the journal of `folder`: all its moves or, where one raises OSError, none.

    Safe to repeat after a kill: moves that are already done are skipped. The last one, of all earlier files at once,
    says that nothing is to be undone any more. Where undoing fails, too, the journal stays, for the next start.
    """
    aside = folder / ASIDE
    try:
        journal = read_json(aside / JOURNAL)
        files, gone = {*FILES} & {*journal["files"]}, {*FILES, UNFINISHED} & {*journal["gone"]}
        replaced = aside / f"{OLD}-{re.sub(r'[^0-9a-f]', '', str(journal.get('token')))}"
    except (ValueError, TypeError, KeyError, AttributeError):  # none that a run wrote
        return
    if not replaced.exists():
        begun = (aside / OLD).exists()  # before a kill
        brought = {n for n in files if begun and os.path.lexists(folder / n) and not os.path.lexists(aside / n)}
        try:
            to_disk(aside)
            (aside / OLD).mkdir(exist_ok=True)
            for name in files | gone:
                new = (aside / name).exists()
                if new or name in gone:
                    move_aside(folder, name)
                if new:
                    os.replace(aside / name, folder / name)
                    brought.add(name)
            to_disk(folder)
            os.replace(aside / OLD, replaced)
        except OSError:
            put_back(folder, brought)
            (aside / JOURNAL).unlink()
            raise
    (aside / JOURNAL).unlink()
    shutil.rmtree(aside, ignore_errors=True)


def move_aside(folder, name):
    """Move a file of an earlier run out of the way, if there is one. Raises OSError where it cannot be."""
    if (folder / name).is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(folder / name))
    if os.path.lexists(folder / name):
        os.replace(folder / name, folder / ASIDE / OLD / name)


def put_back(folder, brought=()):
    """Undo what `move` and `move_aside` did in `folder`; brought: the names of the files that came into it."""
    old = folder / ASIDE / OLD
    for name in brought:
        os.replace(folder / name, folder / ASIDE / name)
    for name in () if old.is_symlink() else (*FILES, UNFINISHED):  # a link is none that a run made
        if os.path.lexists(old / name):
            os.replace(old / name, folder / name)


def named_in(error, folder):
    """The path of the file of a run that an OSError is about, or None."""
    paths = (getattr(error, "filename", None), getattr(error, "filename2", None))
    names = {Path(str(path)).name for path in paths} & {*FILES, UNFINISHED, ASIDE}
    return folder / min(names) if names else None


def write_whole(path, write):
    """Call write(file) with an open binary file, and let it take the place of `path` when all of it is on the disk."""
    aside = aside_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(aside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
        to_disk(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def aside_of(path):
    """Where write_whole writes a file first."""
    return path.with_name(f".{path.name}")


def to_disk(path):
    """Wait until a file, or the names in a folder, are on the disk, so that a power cut leaves them as they are."""
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():  # not every system does folders
        place = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows wants a file that can be written
        try:
            os.fsync(place)
        finally:
            os.close(place)


def reason(error):
    """What the system says of an OSError or a ValueError, in its words."""
    return getattr(error, "strerror", None) or str(error)
