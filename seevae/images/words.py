"""What a name says of images: "x_train", "test_labels", "seg_train" and "emnist-letters-train-images" by their words."""

import re
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


class Role(NamedTuple):
    """What a name says: its set ("emnist-letters"), part ("train", "test", "val") and kind ("images", "labels"), or None."""

    set: str
    part: str | None
    kind: str | None


def role(name):
    """The Role that the words of a name give it."""
    name = re.sub(r"[-.]idx\d-ubyte|\.(gz|npz|npy|csv|tsv|txt|amat|h5|hdf5|mat)$", "", name.removesuffix(".gz"))
    part = kind = None
    words = []
    for word in re.findall(r"[A-Z]?[^\W_A-Z]+|[A-Z]+", name):
        low = word.lower()
        start = next(
            (p for p in PARTS if low.startswith(p) and low[len(p) :] in (*KINDS, *PLAIN, *"123456789", "")), ""
        )
        end = low[len(start) :]
        part, kind = part or PARTS.get(start), kind or KINDS.get(end)
        if not start and end not in (*KINDS, *PLAIN):
            words.append(word)
    return Role("-".join(words), part, kind)


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
