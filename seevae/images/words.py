"""What a name says of images: "x_train", "seg_train" and "emnist-letters-train-images" by their words."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from seevae.basics import UserError
from seevae.images.account import some

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "t10k": "test"}
PARTS |= dict.fromkeys(("val", "valid", "validation", "dev"), "val")
KINDS = dict.fromkeys(
    ("x", "image", "images", "img", "imgs", "data", "pixels", "picture", "pictures", "photos"), "images"
)
KINDS |= dict.fromkeys(("y", "label", "labels", "target", "targets", "class", "classes", "emotion", "digit"), "labels")
KINDS |= dict.fromkeys(("letter", "character", "category", "species", "mask", "masks", "annotations"), "labels")
PLAIN = ("set", "sets", "dataset", "split", "folder", "files")  # words that tell nothing apart


COLUMNS_FIRST = ("emnist", "silhouettes", "chardata")  # data sets whose authors wrote the columns of an image first


class Found(NamedTuple):
    """What a path holds: pairs of images and labels, in any form, of the part that trains and perhaps of that held out.

    Labels may be None. said: what was done on the way, in some words each. labels: what holds the labels, a unit of the
    account and a name each; it is taken, or left out, when they are converted.
    """

    pairs: list
    said: Sequence = ()
    labels: Sequence = ()


class Role(NamedTuple):
    """What a name says: its set ("emnist-letters"), part ("train", "test", "val"), kind ("images", "labels")."""

    set: str
    part: str | None
    kind: str | None


def role(name):
    """The Role that the words of a name give it."""
    name = re.sub(r"[-.]idx\d-ubyte|\.(gz|npz|npy|csv|tsv|txt|amat|h5|hdf5|mat)$", "", name.removesuffix(".gz"))
    part = kind = None
    words = []
    for word in re.findall(r"[A-Z]?[^\W_A-Z]+|[A-Z]+", name):
        start, end = halves(word.lower())
        part, kind = part or PARTS.get(start) or PARTS.get(end), kind or KINDS.get(start) or KINDS.get(end)
        if not {start, end} & {*PARTS, *KINDS, *PLAIN}:
            words.append(word)
    return Role("-".join(words), part, kind)


def halves(word):
    """A word, or the two that stand there as one: "testdata", "xtrain", "test1"."""
    for cut in range(1, len(word)):
        start, end = word[:cut], word[cut:]
        if (start in PARTS and (end in (*KINDS, *PLAIN) or end.isdecimal())) or (start in KINDS and end in PARTS):
            return start, end
    return word, ""


def choose_parts(labelled):
    """Which parts are taken: that which trains, and that which is held out, if there is one; a list.

    labelled: {"train", "test", "val" or "" for a part without a name: whether it has labels}. The validation part is
    held out where there is no test part, or where that one lacks the labels that the training has.
    """
    train = next(part for part in ("train", "", "val", "test") if part in labelled)
    others = [part for part in ("test", "val") if part in labelled and part != train]
    return [train, *[part for part in others if labelled[part] or not labelled[train]][:1]]


def only_set(sets, holds):
    """Raise UserError where names are those of several sets."""
    if len({*sets}) > 1:
        told = some(sorted({*sets}, key=str))
        raise UserError(f"{holds}: it cannot be told which of {told} to take; give one alone.")


def known_as_turned(path, name=""):
    """The data set with the columns first that a file, its folder or an array in it is named after, or None."""
    names = f"{path.parent.name}/{path.name}/{name}".lower()
    return "emnist" if name.startswith("dataset/") else next((known for known in COLUMNS_FIRST if known in names), None)
