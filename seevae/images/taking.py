"""Items that were chosen are read: pictures, or arrays and tables, as pairs of images and labels, one for each part."""

import re

import numpy as np

from seevae.basics import UserError
from seevae.images.account import Account, some
from seevae.images.converting import check_one_scale, finish_pages
from seevae.images.places import mostly
from seevae.images.reading import hold_in_memory
from seevae.images.shapes import as_images, axes_of, flat_shapes, is_picture, reshape
from seevae.images.sources import refuse

COLUMNS_FIRST = re.compile(r"(?<!f)emnist|silhouettes|chardata")  # whose authors wrote the columns of an image first
EMNIST_SIZES = {697_932, 116_323, 112_800, 18_800, 124_800, 20_800, 88_800, 14_800, 240_000}  # of its parts
UNDO = "`x = x.reshape(-1, 28, 28).swapaxes(1, 2)`"
CLEAR = 1.15  # times as tall as wide: MNIST's digits are 1.42 times


# -- Pictures ----------------------------------------------------------------------------------------------------------


def take_pictures(path, parts, said, items):
    """The pairs of the parts, lists of picture files; items: all that was found.

    Raises UserError where a whole class or part is lost, and for a single picture.
    """
    read = [read_pictures(of, said) for of in parts]
    check_lost(path, parts, read, items)
    if len(items) == 1 == len(read[0][0]) and path == items[0].path:
        raise UserError(
            f"{path} is one picture, and there is nothing to learn from one: give a folder of pictures;"
            " notebooks/README.md shows how a trained model encodes a picture of yours."
        )
    images = finish_pages([page for pages, _ in read for page in pages], path, said)
    ends = np.cumsum([len(pages) for pages, _ in read])[:-1]
    return [*zip(np.split(images, ends), [np.array(labels) if labels else None for _, labels in read], strict=True)]


def check_lost(path, parts, read, items):
    """Raise UserError where a whole class or part was lost."""
    for of, (pages, labels) in zip(parts, read, strict=True):
        lost = {item.label for item in of if item.label is not None} - {*labels} if labels else ()
        if lost or not pages:
            what = f" of the class {some(sorted(lost))}" if lost else f" of the part {of[0].part}" * bool(of[0].part)
            raise UserError(f"No picture{what} in {path} can be read: {Account(items)}.")


def read_pictures(items, said):
    """The Pages of picture files, and their labels, a list, empty where there are none."""
    labelled = mostly(item.label is not None for item in items)
    pages, labels = [], []
    for item in items:
        if labelled and item.label is None:
            item.out = "beside the pictures with a class"
            continue
        if item.reason:
            item.reason, item.out, item.lost = "", f"cannot be read ({item.reason})", True
        pages += item.pages
        labels += [item.label] * len(item.pages) if labelled else []
    if not labelled and any(item.label is not None for item in items):
        said["pictures beside folders: all taken, without classes"] = None
    return pages, labels


# -- Arrays and tables -------------------------------------------------------------------------------------------------


def take_arrays(path, parts, said, _):
    """The pairs of the parts, lists of arrays and tables."""
    used = [item for of in parts for item in of]
    hold_in_memory(sum(item.size for item in [*used, *(item.labels for item in used if item.labels)]))
    pairs = [read_part(path, of, said) for of in parts]
    for item in used:
        if item.columns and item.columns.others:
            said[f"columns left over: {some(item.columns.others)}"] = None
        if item.labels_inside and not item.columns.names:
            said[f"labels: column {item.columns.label + 1:,} of {item.columns.count:,}"] = None
    return upright(pairs, used, said)


def read_part(path, items, said):
    """The images and the labels of a part, or None."""
    rows, y = [], None
    for item in items:
        x, y = read(item) if item.kind == "table" else (read(item), None)
        y = read(item.labels) if item.labels else y
        rows.append(images_of(path, item, x, y, said))
        item.shape = (len(rows[-1]), *item.shape[1:]) if item.kind == "table" else item.shape  # now it is known
    check_one_scale(rows, path)
    if y is not None and y.ndim == 2 and len(y) != len(rows[0]) == y.shape[1] > 1 < len(y):
        y = y.T
    if items[0].label is not None:
        y = np.repeat([item.label for item in items], [*map(len, rows)])
    return np.concatenate(rows) if len(rows) > 1 else rows[0], y


def images_of(path, item, x, y, said):
    """The images of an array, see as_images; y: its labels, or None."""
    x = x[None] if item.single else x
    if y is None and x.ndim == 2 and 784 not in x.shape:
        check_matrix(item, x.shape)
    axes = axes_of(x.shape, None if y is None or y.ndim > 2 else max(y.shape, default=0))
    if axes[-1:] == "n":
        said["the last axis counts the images"] = None
    elif axes == "nhw" and len({*x.shape}) == 1 and not item.single:
        said["the first axis of three equal ones counts the images"] = None
    return as_images(x, axes, path)


def check_matrix(item, shape):
    """Raise UserError for a matrix that may be turned, in MATLAB's files, or one picture."""
    turns = [(turn, n) for turn, n in (("", shape[1]), (".T", shape[0])) if flat_shapes(n)]
    lines = [f"`x = x{turn}{reshape(flat_shapes(n)[0])}`" for turn, n in turns]
    holds = f"{item.path} holds {item.title} {shape}, which has two readings:"
    if item.form == "mat" and len(turns) == 2:
        told = f"{shape[0]:,} images of {shape[1]:,} values, or the other way round"
        raise UserError(f"{holds} {told}: {lines[0]} makes the former, {lines[1]} the latter.")
    if turns and is_picture(shape):
        told = f"one picture, or images of {turns[0][1]:,} values"
        raise UserError(f"{holds} {told}: there is nothing to learn from one; {lines[0]} makes the latter.")


def read(item):
    try:
        return item.read()
    except (OSError, ValueError) as error:
        item.reason = str(error)
        refuse(item)


def upright(pairs, items, said):
    """The pairs with rows and columns of the images exchanged, where their data set is known to have them so.

    It is known by its name, or EMNIST by its numbers of images. In a file that somebody made of EMNIST, they may be
    upright already: letters and digits are taller than wide, but less than twice.
    """
    name = next(filter(None, map(known_as_turned, items)), None)
    if not name and not any(len(x) in EMNIST_SIZES and x[0].size == 784 for x, _ in pairs):
        return pairs
    name = name or "EMNIST"
    tall = tallness(pairs[0][0]) if name == "EMNIST" else 1
    if CLEAR < tall < 2:
        said[f"{name}'s images are {tall:.2f} times as tall as wide: upright already, not turned"] = None
        return pairs
    doubt = "" if tall < 1 / CLEAR else f" (if they were upright, {UNDO} before saving them undoes it)"
    said[f"{name}'s transposed images turned{doubt}"] = None
    return [(x.swapaxes(1, 2), y) for x, y in pairs]


def known_as_turned(item):
    """The data set with the columns first that a file, its folder or an array in it is named after, or None."""
    found = COLUMNS_FIRST.search(f"{item.path.parent.name}/{item.path.name}/{item.name}".lower())
    if found or item.name.startswith("dataset/"):
        return found[0].replace("emnist", "EMNIST") if found else "EMNIST"
    return None


def tallness(x):
    """The deviation of the ink of images (n, height, width, ...) along the rows, by that along the columns."""
    ink = x[:: len(x) // 1000 + 1].astype("float32")
    ink = ink.reshape(*ink.shape[:3], -1).mean(axis=3)

    def deviation(weights):
        places, total = np.arange(weights.shape[1]), np.maximum(weights.sum(axis=1), 1e-9)
        means = weights @ places / total
        return np.sqrt(np.maximum(weights @ places**2 / total - means**2, 0)).mean()

    return float(deviation(ink.sum(axis=2)) / max(deviation(ink.sum(axis=1)), 1e-9))
