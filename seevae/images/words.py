"""What a name says of images: "x_train", "seg_train" and "emnist-letters-train-images" by their words."""

import re
from typing import NamedTuple

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "t10k": "test"}
PARTS |= {"evaluation": "test", "eval": "test", "labeled": "train", "labelled": "train"}
PARTS |= dict.fromkeys("extra unlabeled unlabelled unsup unsupervised".split(), "extra")  # noqa: SIM905 # SVHN, STL-10
PARTS |= dict.fromkeys("val valid validation dev".split(), "val")  # noqa: SIM905
KINDS = dict.fromkeys("x image images img imgs data pixels picture pictures photos".split(), "images")  # noqa: SIM905
LABELS = "y label labels target targets class classes emotion digit letter character category species"
SECOND = "mask masks annotations segmentation segmentations thumbnail thumbnails thumbs trimaps gt groundtruth truth"
KINDS |= dict.fromkeys([*LABELS.split(), *SECOND.split()], "labels")
MASKED = re.compile(rf"(?<![^\W_])({SECOND.replace(' ', '|')})(?![^\W_])", re.IGNORECASE)
PLAIN = "set sets dataset split folder files name names small".split()  # noqa: SIM905 # words that tell nothing apart


class Role(NamedTuple):
    """What a name says: its set ("emnist-letters"), part ("train", "test", "val"), kind ("images", "labels")."""

    set: str
    part: str | None
    kind: str | None


NO_ROLE = Role("", None, None)


def role(name):
    """The Role that the words of a name give it."""
    name = re.sub(r"[-.]idx\d-(ubyte|int)|\.(gz|npz|npy|csv|tsv|txt|amat|h5|hdf5|mat)$", "", name.removesuffix(".gz"))
    name = name.replace("images_background", "images_train")  # Omniglot's
    part = kind = None
    words = []
    for word in re.findall(r"[A-Z]?[^\W_A-Z]+|[A-Z]+", name):
        start, end = halves(word.lower())
        part, kind = part or PARTS.get(start) or PARTS.get(end), kind or KINDS.get(start) or KINDS.get(end)
        if not {start, end} & {*PARTS, *KINDS, *PLAIN} and not re.fullmatch(r"\d+x\d+", word):
            words.append(word)
    return Role("-".join(words), part, kind)


def halves(word):
    """A word, or the two that stand there as one: "testdata", "xtrain", "test1"."""
    for cut in range(1, len(word)):
        start, end = word[:cut], word[cut:]
        if (start in PARTS and (end in (*KINDS, *PLAIN) or end.isdecimal())) or (start in KINDS and end in PARTS):
            return start, end
    return word, ""


def in_order(paths):
    """Paths in the order of their names, with 2 before 10."""
    return sorted(paths, key=lambda path: name_order(path.name))


def name_order(name):
    """A key to sort names by, in which 2 comes before 10, however many digits there are."""
    pieces = [(piece, piece.lstrip("0")) for piece in re.split(r"(\d+)", name) if piece]
    return [(0, len(short), short, whole) if whole.isdecimal() else (1, 0, whole, "") for whole, short in pieces]
