"""The layouts in which people keep images: which arrays of images and labels a path holds.

An .npz or .npy file, IDX files (MNIST's own format), a table of text with one row an image, or a folder of pictures.
Nothing is converted here (see seevae/images/converting.py). Names say what an array is: "x_train", "test_labels" and
"emnist-letters-train-images-idx3-ubyte.gz" are read by their words.
"""

import contextlib
import math
import os
import re
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seevae.basics import UserError, printable, say
from seevae.images.converting import MOST_CLASSES, in_order, read_picture
from seevae.images.reading import (
    free_memory,
    is_there,
    list_arrays,
    open_file,
    opened_unpacked,
    read_arrays,
    read_idx,
    read_npy,
)

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "t10k": "test"}
PARTS |= dict.fromkeys(("val", "valid", "validation", "dev"), "val")
KINDS = dict.fromkeys(("x", "image", "images", "img", "imgs", "data", "pixels"), "images")
KINDS |= dict.fromkeys(("y", "label", "labels", "target", "targets", "class", "classes"), "labels")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
TABLES = (".csv", ".tsv", ".txt", ".amat")
LINE = 2**20  # characters that a row of a table may have
# What is not read here, and two lines of Python that make an .npz file of it; FILE stands for the path.
MAKE = 'numpy.savez("mine.npz", '
TO_CONVERT = {
    ".mat": ("import numpy, scipy.io", MAKE + '**{k: v for k, v in scipy.io.loadmat("FILE").items() if k[0] != "_"})'),
    ".pkl": ("import numpy, pickle", MAKE + '**dict(zip(["images", "labels"], pickle.load(open("FILE", "rb")))))'),
    ".pkl.gz": (
        'import gzip, numpy, pickle; train, _, test = pickle.load(gzip.open("FILE"), encoding="latin1")',
        MAKE + "x_train=train[0], y_train=train[1], x_test=test[0], y_test=test[1])",
    ),
    ".pt": ("import numpy, torch", MAKE + '**dict(zip(["images", "labels"], torch.load("FILE")[:2])))'),
    ".tfrecord": (
        "import numpy, tensorflow as tf; rows = [tf.train.Example.FromString(row.numpy()).features.feature"
        ' for row in tf.data.TFRecordDataset("FILE")]',
        MAKE + 'images=[tf.io.decode_image(row["image"].bytes_list.value[0]) for row in rows],'
        ' labels=[row["label"].int64_list.value[0] for row in rows])',
    ),
    ".parquet": (
        'import io, numpy, pandas, PIL.Image; rows = pandas.read_parquet("FILE")',
        MAKE + 'images=[PIL.Image.open(io.BytesIO(image["bytes"])) for image in rows["image"]], labels=rows["label"])',
    ),
    ".h5": ("import h5py, numpy", MAKE + '**{name: array[()] for name, array in h5py.File("FILE").items()})'),
}
TO_CONVERT |= {".pickle": TO_CONVERT[".pkl"], ".pth": TO_CONVERT[".pt"], ".hdf5": TO_CONVERT[".h5"]}
PICKLES = (".pkl", ".pkl.gz", ".pickle", ".pt", ".pth")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".7z", ".rar")


class Found(NamedTuple):
    """What a path holds: train and test, each a pair of images and labels, in any form; test and labels may be None.

    said: what was left out or done on the way, in some words each.
    """

    train: tuple
    test: tuple | None = None
    said: tuple = ()


class Role(NamedTuple):
    """What a name says of an array: its set ("emnist-letters"), part ("train", "test", "val") and kind, or None."""

    set: str
    part: str | None
    kind: str | None


def role(name):
    """The Role that the words of a name give it."""
    name = re.sub(r"[-.]idx\d-ubyte|\.(gz|npz|npy|csv|tsv|txt|amat)$", "", name.removesuffix(".gz"))
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+", name)
    part = next((PARTS[word.lower()] for word in words if word.lower() in PARTS), None)
    kind = next((KINDS[word.lower()] for word in words if word.lower() in KINDS), None)
    return Role("-".join(word for word in words if word.lower() not in PARTS | KINDS), part, kind)


def find(path):
    """What a file or a folder holds, as a Found. Raises UserError with what was found, and what to do.

    MemoryError for what does not fit into the memory. Nothing is ever unpickled.
    """
    path = Path(os.path.expanduser(path))
    if os.path.isdir(path):
        return in_folder(path)
    if together := named_after(path):
        return in_files(path, together)
    names = "'mnist', 'sample', 'fashion_mnist'"
    is_there(path, "data file", f"give {names}, or the path of a file or of a folder of images")
    refuse_other_formats(path)
    try:
        with open_file(path) as file:
            start = file.read(4)
        if start == b"PK\3\4":
            return in_npz(path)
        if start == b"\x93NUM":
            return Found((read_npy(path, free_memory()), None))
        with opened_unpacked(path) as file:
            start = file.read(4)
        if start[:3] == b"\0\0\x08":
            return in_idx(path)
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if path.suffix.lower() in TABLES or path.name.lower().endswith(".csv.gz"):
        images, labels = read_table(path)
        return Found((images, labels))
    if path.suffix.lower() in PICTURES:
        raise UserError(
            f"{path} is one picture, and there is nothing to learn from one: give a folder of pictures;"
            " notebooks/README.md shows how a trained model encodes a picture of yours."
        )
    raise unreadable(path, "it is of no format that is known here")


def named_after(path):
    """The IDX files of one data set among others in a folder, such as gzip/emnist-letters, where that is no file."""
    with contextlib.suppress(OSError, ValueError):
        if path.name and not os.path.lexists(path):
            files = path.parent.iterdir()
            return [file for file in files if file.name.startswith(f"{path.name}-") and "ubyte" in file.name]
    return []


def unreadable(path, reason):
    advice = "give an .npz, .npy, .csv or IDX file, or a folder of pictures"
    return UserError(f"{path} is not a readable file of images ({reason}): {advice}.")


def refuse_other_formats(path):
    """Raise UserError for a file of another format, with what makes one of ours of it."""
    name = path.name.lower()
    for suffix, (first, second) in TO_CONVERT.items():
        if name.endswith((suffix, f"{suffix}-00000-of-00001")):
            lines = f"`{first}` and `{second}`".replace("FILE", path.as_posix())
            trust = ", if you trust it, as a pickle can run any program" if suffix in PICKLES else ""
            raise UserError(f"{path} is not read here: convert it{trust}, with {lines}, and give mine.npz.")
    if name.endswith(ARCHIVES):
        raise UserError(f"{path} is an archive: unpack it, and give the folder.")


# -- Arrays in one .npz file, or in several files ----------------------------------------------------------------------


def is_images(shape, dtype):
    """Whether an array may hold images: (n, height * width), with or without a channel, of numbers or truths."""
    if dtype.kind not in "biuf" or len(shape) not in (2, 3, 4):
        return False
    if len(shape) == 2:
        return shape[1] >= 16 and math.isqrt(shape[1]) ** 2 == shape[1]
    return len(shape) == 3 or shape[-1] in (1, 3, 4) or shape[1] in (1, 3)


def in_npz(path):
    """The images and labels of an .npz file, known by the names of its arrays; or its one array of images."""
    arrays = list_arrays(path)
    roles = {name: role(name) for name in arrays}
    named = {name: r for name, r in roles.items() if r.kind == "images"}
    images = {name: r for name, r in named.items() if is_images(*arrays[name])}
    sets = {r.set for r in images.values()}
    wrong = [name for name, r in named.items() if name not in images and (r.set in sets or not images)]
    if not named:  # none has such a name: one that can be nothing else
        images = {name: r for name, r in roles.items() if r.kind is None and is_images(*arrays[name])}
    shapes = ", ".join(f"{name} {shape} {dtype}" for name, (shape, dtype) in [*arrays.items()][:12])
    holds = f"{path} holds {shapes or 'no arrays'}"
    if wrong or not images:
        advice = "images are numbers from 0 to 255, or from 0 to 1, in an array (n, 28, 28), such as x_train"
        raise UserError(f"{holds}: {advice} (beside y_train, x_test and y_test).")
    labels = {name: r for name, r in roles.items() if r.kind == "labels" and len(arrays[name][0]) <= 2}
    if [*images] == ["arr_0"] and "arr_1" in arrays:  # numpy.savez(file, images, labels)
        labels = {"arr_1": images["arr_0"]}
    wanted = {name: r._replace(kind="images") for name, r in images.items()}
    pairs = {r[:2] for r in images.values()}
    wanted |= {name: r._replace(kind="labels") for name, r in labels.items() if r[:2] in pairs}
    found = by_role(wanted, holds, lambda names: read_arrays(path, dict.fromkeys(names), free_memory()).__getitem__)
    others = [name for name in arrays if name not in wanted or wanted[name].part == "val"]
    return found._replace(said=(f"{', '.join(others[:6])} left out",) if others else ())


def by_role(roles, holds, get):
    """The Found of named sources, {name: Role}. get: names -> a function that reads one of them.

    holds: what there is, the beginning of the sentence where it cannot be told what to take.
    """
    sets = {r.set for r in roles.values() if r.kind == "images"}
    if len(sets) > 1:
        raise UserError(f"{holds}: it cannot be told which of {', '.join(sorted(sets))} to take; give one alone.")
    chosen = {}
    for name, r in roles.items():
        if r.set in sets and r.part != "val":
            chosen.setdefault((r.part or "train", r.kind), name)
    if ("train", "images") not in chosen:  # a test part alone
        chosen = {("train", kind): name for (_, kind), name in chosen.items()}
    read = get([*chosen.values()])
    pairs = {
        part: tuple(read(chosen[part, kind]) if (part, kind) in chosen else None for kind in ("images", "labels"))
        for part in dict.fromkeys(part for part, kind in chosen if kind == "images")
    }
    return Found(pairs["train"], pairs.get("test"))


def in_files(folder, files):
    """The data set in several files, one for images or labels of a part, known by their names."""
    files = sorted(files, key=lambda path: (len(path.name), path.name))  # a file before the one that gzip made of it
    roles = {}
    for path in files:
        if (r := role(path.name)) not in roles.values():
            roles[path] = r
    holds = f"{folder} holds {', '.join(printable(path.name) for path in files[:8])}"
    found = by_role(roles, holds, lambda paths: read_member)
    if any(r.set.startswith("emnist") for r in roles.values()):  # its authors wrote the columns first
        turned = [None if pair is None else (pair[0].swapaxes(1, 2), pair[1]) for pair in found[:2]]
        found = Found(*turned, ("EMNIST's transposed images turned",))
    return found


def read_member(path):
    """The array of an IDX file, an .npy file, or an .npz file that holds one alone. Raises UserError."""
    try:
        if path.suffix == ".npy":
            return read_npy(path, free_memory())
        if path.suffix != ".npz":
            return read_idx(path, free_memory())
        (array,) = read_arrays(path, dict.fromkeys(list_arrays(path)), free_memory()).values()
        return array
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error


def in_idx(path):
    """The images of one IDX file, with the labels of the file that goes with it, if there is one."""
    own = role(path.name)
    beside = [other for other in path.parent.iterdir() if "ubyte" in other.name and role(other.name)[:2] == own[:2]]
    if own.kind and len({role(other.name).kind for other in beside}) == 2:
        return in_files(path, [path, *(other for other in beside if role(other.name).kind != own.kind)])
    return Found((read_idx(path, free_memory()), None))


# -- Tables ------------------------------------------------------------------------------------------------------------


class Columns(NamedTuple):
    """How the columns of a table lie: what cuts them apart (None: spaces), how many, and which holds the labels."""

    cutting: str | None
    count: int
    label: int | None

    @property
    def side(self):
        return math.isqrt(self.count)


def read_table(path):
    """The images (n, side, side) and labels (n,), text, of a table with one row an image; labels may be None.

    The first row may name the columns. A column of labels is the one that is named so, else the first or the last.
    Raises UserError for another table, and MemoryError for one that is too large.
    """
    free, pixels, labels = free_memory(), [], []
    try:
        with opened_unpacked(path) as file:
            rows = rows_of(file)
            columns, block = begin_table(rows)
            while block:
                pixels.append(numbers_of(block, columns))
                if columns.label is not None:
                    labels += [unquoted(row.split(columns.cutting)[columns.label]) for row in block]
                free -= 2 * pixels[-1].nbytes  # once in blocks, once together
                if free < 0:
                    raise MemoryError
                block = [*islice(rows, 1000)]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable table of images ({error}): give one row an image.") from error
    if not pixels:
        raise UserError(f"{path} holds no rows below the names of its columns: give one row an image.")
    return np.concatenate(pixels).reshape(-1, columns.side, columns.side), np.array(labels) if labels else None


def rows_of(file):
    """The rows of a table, as text, without empty ones. Raises ValueError for one that is too long, or no text."""
    while line := file.readline(LINE):
        if len(line) == LINE or b"\0" in line:
            raise ValueError("it is no text, or has a row of more than a million characters")
        if row := line.decode("utf-8-sig", "replace").strip():
            yield row


def begin_table(rows):
    """The Columns of a table, from an iterator over its rows, and its first 1,000 rows below their names."""
    first = next(rows, "")
    separator = max(",;\t ", key=first.count)
    cutting = None if separator == " " else separator
    names = [unquoted(name) for name in first.split(cutting)]
    columns = Columns(cutting, len(names), None)
    if columns.side < 4 or columns.count - columns.side**2 not in (0, 1):
        expected = "28 x 28 pixels are 784, or 785 with a label"
        raise ValueError(f"its first row has {columns.count} columns, and {expected}")
    titled = sum(not is_number(name) for name in names) > 1  # a label alone may be text
    block = [*islice(rows, 1000)] if titled else [first, *islice(rows, 999)]
    if block and columns.count > columns.side**2:
        named = [column for column, name in enumerate(names) if titled and role(name).kind == "labels"]
        columns = columns._replace(label=named[0] if named else first_or_last(block, cutting))
    return columns, block


def first_or_last(rows, cutting):
    """Which column of rows of a table holds the labels: the last one if it alone can, by its text or its values."""
    first, last = ({unquoted(row.split(cutting)[column]) for row in rows} for column in (0, -1))
    text = [not all(map(is_number, values)) for values in (first, last)]
    numbers = (len(first) == 1 or len(first) > MOST_CLASSES) and 1 < len(last) <= MOST_CLASSES
    return len(rows[0].split(cutting)) - 1 if text == [False, True] or (text == [False, False] and numbers) else 0


def numbers_of(rows, columns):
    """The pixels in rows of a table, (rows, pixels), uint8 if they are whole grey values, else float32."""
    if any(len(row.split(columns.cutting)) != columns.count for row in rows):
        raise ValueError("its rows differ in length")
    used = [column for column in range(columns.count) if column != columns.label]
    numbers = np.loadtxt(rows, "float32", None, columns.cutting, usecols=used, quotechar='"', ndmin=2)
    whole = ((numbers == numbers.round()) & (numbers >= 0) & (numbers <= 255)).all()
    return numbers.astype("uint8") if whole else numbers


def unquoted(text):
    return text.strip("\"'")


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


# -- Folders -----------------------------------------------------------------------------------------------------------


def in_folder(folder):
    """What a folder holds: data files that go together, or pictures, perhaps in a folder for each class."""
    try:
        folders, files = listed(folder)
        while not files and (inner := [path for path in folders if len(folders) == 1 or path.name == "raw"]):
            folder = inner[0]  # that of an archive, or of torchvision
            folders, files = listed(folder)
        if data := [path for path in files if is_data(path)]:
            tables = [path for path in data if role(path.name).kind is None]
            if len(data) == 1:
                return find(data[0])
            return in_tables(folder, tables) if len(tables) == len(data) else in_files(folder, data)
        return in_pictures(folder, folders)
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read ({error.strerror}): give another one.") from error


def listed(folder):
    """The folders and the files in a folder, both in the order of their names, without hidden ones."""
    inside = in_order(path for path in folder.iterdir() if not path.name.startswith((".", "__MACOSX")))
    return [path for path in inside if path.is_dir()], [path for path in inside if not path.is_dir()]


def is_data(path):
    name = path.name.lower().removesuffix(".gz")
    return name.endswith((".npz", ".npy", "ubyte", ".csv", ".tsv"))


def in_tables(folder, paths):
    """The data set in a table for training and one for testing, known by their names."""
    parts = {role(path.name).part: path for path in paths if path.suffix.lower() in TABLES}
    if {*parts} - {"val"} not in ({"train"}, {"train", "test"}):
        names = ", ".join(printable(path.name) for path in paths[:8])
        raise UserError(f"{folder} holds {names}, and it cannot be told which to take: give one of them.")
    train, test = read_table(parts["train"]), read_table(parts["test"]) if "test" in parts else None
    if test and train[1] is not None and test[1] is None:  # as Kaggle has it
        return Found(train, None, (f"{parts['test'].name}, which has no labels, left out",))
    return Found(train, test)


def in_pictures(folder, folders):
    """The pictures of a folder, in parts if it has folders "train" and "test", and in classes if it has folders."""
    parts = {PARTS[path.name.lower()]: path for path in folders if path.name.lower() in PARTS}
    chosen = {part: parts[part] for part in ("train", "test") if part in parts}
    if "train" not in chosen:
        chosen, parts = {"train": folder}, {}
    pairs, said, others = {}, {}, 0
    for part, place in chosen.items():
        *pair, left_out, done = read_pictures(place)
        pairs[part], others = tuple(pair), others + left_out
        said |= dict.fromkeys(done)
    if "val" in parts:
        said[f"{parts['val'].name} left out"] = None
    if others:
        said[f"{others:,} file{'s' * (others > 1)} left out that {'are' if others > 1 else 'is'} no picture"] = None
    return Found(pairs["train"], pairs.get("test"), tuple(said))


def read_pictures(folder):
    """The pictures of a folder as uint8 (n, 28, 28), and their classes, the names of its folders, or None.

    Also how many files were left out that are no pictures, and what was done with the others, {words}.
    """
    folders, files = listed(folder)
    classes = [(path.name, listed(path)[1]) for path in folders]
    if not any(paths for _, paths in classes):
        classes = [(None, files)]
    images, labels, said = [], [], {}
    left_out = 0 if classes[0][0] is None else len(files)
    total = sum(len(paths) for _, paths in classes)
    if total > 5000:
        say(f"Reading {total:,} pictures")
    for name, paths in classes:
        for path in paths:
            picture = read_picture(path) if path.suffix.lower() in PICTURES else None
            if picture is None:
                left_out += 1
                continue
            images.append(picture[0])
            labels.append(name)
            said |= dict.fromkeys(picture[1])
    if not images:
        inside = ", ".join(printable(path.name) for path in [*folders, *files][:8]) or "nothing"
        raise UserError(f"The folder {folder} holds no data file and no picture, but {inside}: give another one.")
    return np.stack(images), None if labels[0] is None else np.array(labels), left_out, said
