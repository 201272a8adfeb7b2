"""The folder of a run: where its files go, how they are written whole, and how a model is loaded back."""

import json
import os
from pathlib import Path

from parts import UserError, saved
from parts.data import MNIST, MNIST_SAMPLE

MODEL, RECORD, EXPLORER, REPLAY = "vae.keras", "metrics.json", "explorer.html", "replay.npz"
PICTURES = (
    "latent_scatter.png",
    "manifold.png",
    "prior_samples.png",
    "reconstructions.png",
    "training_curves.png",
)
UNFINISHED = "unfinished.keras"  # a trained model whose run has not written its pictures yet


def prepare(output, dataset_name, loaded=False):
    """Choose and make the folder of a run, and see that it can be written into. Returns its Path.

    Raises UserError where it cannot.
    """
    folder = choose(output, dataset_name, loaded)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe.{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"Cannot write into the folder {folder} ({reason}): choose another --output.") from error
    for name in (MODEL, RECORD, EXPLORER, REPLAY, UNFINISHED, *PICTURES):
        if (folder / name).is_dir():
            path = folder / name
            raise UserError(f"{path} is a folder, and a file must go there: move it or choose another --output.")
    return folder


def choose(output, dataset_name, loaded=False):
    """The folder to write to: the pictures of another data set never replace those of the full MNIST.

    Without --output it is figures/ for MNIST and a folder below it otherwise. An --output is taken as it is, unless
    it holds a run on MNIST and this is none; then it is a folder below it.
    """
    folder = Path(output or "figures")
    if dataset_name != MNIST:
        below = folder / ("sample" if dataset_name == MNIST_SAMPLE else Path(dataset_name).stem)
        if output is None or recorded_dataset(folder) == MNIST:
            folder = below
    if loaded and output is None:
        folder = folder / "loaded"  # figures/ keeps the record of the run that trained
    return folder


def recorded_dataset(folder):
    """The data set of the run that wrote into `folder`, or None where no record tells."""
    try:
        return json.loads((folder / RECORD).read_text(encoding="utf-8"))["dataset"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_model(folder, vae):
    """Write a trained model beside an earlier run's files: whatever fails before `save`, it is not lost."""
    write_whole(folder, {UNFINISHED: vae.save})


def save(folder, figures, page, replay, record):
    """Put the files of a run into its folder: all that it is given, and the model kept before.

    figures: {file name: Figure}; page: the explorer's HTML; replay: an explorer.Replay, written for a model that was
    trained here; record: a dict, as run makes it. Returns the paths of the files. Raises UserError when the disk
    refuses; an earlier run's files are then still there.
    """
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    writers = {name: figure.savefig for name, figure in figures.items()}
    writers[EXPLORER] = lambda path: path.write_text(page, encoding="utf-8")
    writers[RECORD] = lambda path: path.write_text(text, encoding="utf-8")
    trained = bool(record["history"])  # and not loaded
    if trained:
        writers[REPLAY] = replay.save
    write_whole(folder, writers)
    if trained:
        os.replace(folder / UNFINISHED, folder / MODEL)
    return [folder / name for name in sorted([*writers, MODEL] if trained else writers)]


def write_whole(folder, writers):
    """Call each write(path) of writers, {file name: write}, with a path aside; then move all the files into `folder`.

    Nothing is moved before all are written. Raises UserError when the disk refuses; whatever was there before is then
    still there.
    """
    folder = Path(folder)
    aside = {name: folder / f".{Path(name).stem}.{os.getpid()}{Path(name).suffix}" for name in writers}
    try:
        for name, write in writers.items():
            write(aside[name])
        for name, path in aside.items():
            os.replace(path, folder / name)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder / name} could not be written ({reason}): choose another --output.") from error
    finally:
        for path in aside.values():
            path.unlink(missing_ok=True)


def load_vae(path):
    """Load a VAE that this script saved (see saved.load). Raises UserError for any other file."""
    return saved.load(path)
