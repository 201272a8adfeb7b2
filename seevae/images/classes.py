"""Labels in any form become whole numbers from 0 on, and classes with names that are short and different."""

import re
import unicodedata

import numpy as np

from seevae.basics import UserError, printable
from seevae.images.words import name_order

MOST_CLASSES = 62


class NoClassesError(UserError):
    """Labels that are no classes with a name and a colour each; the images can do without them."""


def convert_labels(parts, lengths, source):
    """Labels in any form as whole numbers from 0 on, int64 (n,), and the names of the classes, a tuple.

    parts: the labels of one data set: (n,), (n, 1) or (1, n) numbers, truths, dates, text, or one-hot (n, classes); or
    None for all, which gives zeros and no names. lengths: how many images each part has; source: where they are from,
    for the sentences. Raises UserError, and NoClassesError for labels that are not the name of one class each.
    """
    if all(y is None for y in parts):
        return [np.zeros(length, "int64") for length in lengths], ()
    if any(y is None for y in parts):
        raise NoClassesError(
            f"{source} has labels of one part alone, training or test: give those of the other, or none."
        )
    flat = [flat_labels(y, source) for y in parts]
    if [*map(len, flat)] != lengths:
        pairs = zip(flat, lengths, strict=True)
        there = " and ".join(f"{len(y):,} labels for {length:,} images" for y, length in pairs)
        raise UserError(f"There are {there} in {source}: give one label for each.")
    return numbered(flat, source)


def numbered(flat, source):
    """Labels (n,) of the parts as whole numbers from 0 on, and the names of the classes."""
    parts = [[plain_label(value) for value in y.tolist()] for y in flat]
    values = {value for labels in parts for value in labels}
    texts = {value for value in values if isinstance(value, str)}
    if len(values) > MOST_CLASSES:
        most = f"give {MOST_CLASSES} at most, or none"
        raise NoClassesError(f"The labels of {source} are {len(values):,} classes: {most}.")
    values = [*sorted(values - texts), *sorted(texts, key=name_order)]
    place = {value: number for number, value in enumerate(values)}
    return [np.array([place[value] for value in labels], "int64") for labels in parts], names_of(values)


def plain_label(value):
    """A label as a whole number or as text."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?\d{1,9}\.0*(e[+-]?\d{1,2})?\s*", value):
        return unicodedata.normalize("NFC", value).strip()
    return int(float(value)) if isinstance(value, str) else int(value)


def names_of(values):
    """The names of classes, a tuple: on one line, not too long, and different."""
    names = []
    for value in values:
        name = printable(str(value)[:200] + str(value)[200:][-200:]) or "(blank)"
        name = name if len(name) <= 40 else f"{name[:19]}…{name[-20:]}"
        names.append(name if name not in names else f"{name[:36]} ({len(names)})")
    return tuple(names)


def flat_labels(y, source):
    """Labels as (n,) numbers or text. Raises NoClassesError for what are none."""
    if is_one_hot(y):
        return y.argmax(axis=1)
    if y.ndim > 1 and sum(length > 1 for length in y.shape) <= 1:
        y = y.ravel()
    if y.dtype.kind == "M":
        y = y.astype(str)
    whole = y.dtype.kind in "biuUS" or (y.dtype.kind == "f" and np.isfinite(y).all() and (y == y.round()).all())
    if y.ndim != 1 or not whole:
        advice = "labels must be (n,) whole numbers or text, or one-hot (n, classes)"
        raise NoClassesError(f"The labels of {source} have shape {y.shape} and dtype {y.dtype}: {advice}.")
    return y


def is_one_hot(y):
    """Whether labels are rows of 0 with a single 1, (n, classes)."""
    if y.ndim != 2 or y.shape[1] == 1 or y.dtype.kind not in "biuf":
        return False
    return ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()
