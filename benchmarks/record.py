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


def main(file, about, names, measure, tables, default=None):
    """Measure the chosen of `names`, and print the tables of the record beside the program `file`.

    about: the program's docstring. measure(record, name, data): puts what it finds into the record, a dict, which is
    kept after each; data is what --data says. tables(record): Markdown lines. default: the names if none is chosen.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--only", nargs="+", choices=names, default=list(default or names))
    parser.add_argument("--tables", action="store_true", help="only print the tables of the recorded results")
    args = parser.parse_args()
    path = Path(file).with_suffix(".json")
    record = load(path)
    for name in [] if args.tables else args.only:
        measure(record, name, args.data)
        save(path, record)
    print("\n".join(tables(record)))
