"""What the programs that measure share: their options, and a record that keeps what is not measured anew.

Importing it makes the project importable, wherever a program is called from.
"""

import argparse
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]


def load(path):
    """The record in a file, a dict; empty where there is none."""
    return json.loads(path.read_text()) if path.exists() else {}


def save(path, record):
    """Write a record as a whole: who is cut off leaves the earlier one."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(new, path)


def write_images(path, train, test):
    """Some digits of the sample as a data file: so many to train on, and so many held out."""
    import numpy as np

    from seevae.images import data

    sample = data.load_sample()
    images = {"x_train": sample.x_train[:train], "x_test": sample.x_test[:test]}
    arrays = {name: (255 * x).round().astype("uint8").reshape(-1, 28, 28) for name, x in images.items()}
    np.savez(path, **arrays, y_train=sample.y_train[:train], y_test=sample.y_test[:test])


def main(file, about, names, measure, tables=lambda record: [], default=()):
    """Measure the chosen of `names`, and print the tables of the record beside the program `file`.

    about: the program's docstring. measure(record, name, data): puts what it finds into the record, a dict, which is
    kept after each; data is what --data says. tables(record): Markdown lines. default: the names if none is chosen.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}; {', '.join(default) or 'all'}"
    )
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--tables", action="store_true", help="only print the tables of the recorded results")
    args = parser.parse_args()
    if unknown := {*args.names} - {*names}:
        parser.error(f"there is no {unknown.pop()!r}")
    path = Path(file).with_suffix(".json")
    record = load(path)
    for name in [] if args.tables else args.names or default or names:
        measure(record, name, args.data)
        save(path, record)
    print(*tables(record), sep="\n")
