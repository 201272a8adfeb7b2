"""Tables of text: one row an image, with or without names of the columns; or rows that name picture files.

The first row names the columns if it is text, or if its values are all different and those of the next row are not, as
pandas writes 0, 1, 2. Pixels are then the columns of one name with other numbers ("pixel0", "1x1", "0"), as many as a
picture has, or one column whose cells hold many numbers (FER2013).
"""

import codecs
import csv
import math
import re
from collections import Counter
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from seevae.basics import say
from seevae.images.account import some
from seevae.images.converting import MOST_CLASSES, name_order
from seevae.images.reading import free_memory, opened_unpacked
from seevae.images.shapes import flat_shapes
from seevae.images.words import role

LINE = 2**20  # characters that a row of a table may have
BLANK = 10_000  # empty rows that may follow each other
ROWS = 1000  # that are read at a time
LIST = 10**6  # rows that a table may have which names files
SPLITS = ("split", "splits", "set", "subset", "partition", "fold", "usage")  # columns that tell parts, and no classes


class Columns(NamedTuple):
    """How the columns of a table lie.

    cut: the sign between them; names: of all, or None; pixels: their places, or that of a column of which each cell
    holds an image; length: how many values an image has; label: the place of the labels, or None.
    """

    count: int  # type: ignore[assignment] # tuple has a method of this name
    cut: str
    names: list | None
    pixels: list
    length: int
    label: int | None = None

    @property
    def others(self):
        """The names of the columns that are not used."""
        used = {*self.pixels, self.label}
        return [self.names[k] or f"column {k + 1}" for k in range(self.count) if self.names and k not in used]


# -- Lines, cells and numbers ------------------------------------------------------------------------------------------


def lines_of(file):
    """The lines of a table, bytes, each with its number, without empty ones. Raises ValueError for what is no text."""
    number, blank = 0, 0
    while line := file.readline(LINE):
        number += 1
        if len(line) == LINE or b"\0" in line:
            raise ValueError(f"row {number:,} is no UTF-8 text, or has more than a million characters")
        if line := line.removeprefix(codecs.BOM_UTF8).strip(b"\r\n "):
            blank = 0
            yield number, line
        elif (blank := blank + 1) > BLANK:
            raise ValueError(f"more than {BLANK:,} rows are empty, from row {number - BLANK:,} on")


def cut_of(block):
    """The sign that cuts the lines of a block: the one that the first has most of."""
    return max(",;\t| ", key=block[0][1].decode("latin1").count) if block else ","


def cells_of(line, cut):
    """The cells of a line, a list of text."""
    return next(csv.reader([line.decode("utf-8", "replace")], delimiter=cut, skipinitialspace=True))


def whole_numbers(lines, cut):
    """The numbers in lines of text, uint16 (lines, numbers), or None if not all have as many of 1 to 3 digits each."""
    text = np.frombuffer(b"\n".join([*lines, b""]), "uint8")
    digits = text - np.uint8(48)
    ends = np.flatnonzero(digits > 9)
    signs = text[ends].reshape(len(lines), -1) if len(ends) % len(lines) == 0 else text[:1, None]
    lengths = np.diff(ends, prepend=-1) - 1
    if (signs[:, -1] != 10).any() or (signs[:, :-1] != ord(cut)).any() or lengths.min() < 1 or lengths.max() > 3:
        return None
    if ((lengths > 1) & (digits[ends - lengths] == 0)).any():  # a label "07" is not "7"
        return None
    numbers = digits[ends - 1].astype("uint16")
    for place in (2, 3):
        numbers += digits[ends - place] * (lengths >= place) * np.uint16(10 ** (place - 1))
    return numbers.reshape(len(lines), -1)


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


# -- Tables of images --------------------------------------------------------------------------------------------------


def columns_of(path):
    """The Columns of a table. Raises OSError, or ValueError where its rows are no images."""
    with opened_unpacked(path) as file:
        return begin_table(lines_of(file))[0]


def count_rows(path):
    """How many rows a table of images has below the names of its columns."""
    with opened_unpacked(path) as file:
        lines = lines_of(file)
        return len(begin_table(lines)[1]) + sum(1 for _ in lines)


def read_table(path):
    """The images (n, values) and the labels (n,), text, or None, of a table.

    Raises OSError, ValueError for another table, and MemoryError for one that is too large.
    """
    free, pixels, labels, done = free_memory(), [], [], 0
    with opened_unpacked(path) as file:
        lines = lines_of(file)
        columns, block = begin_table(lines)
        while block:
            x, y = read_block(block, columns)
            pixels.append(x)
            labels += y
            free -= 2 * x.nbytes  # once in blocks, once together
            if free < 0:
                raise MemoryError
            done += len(block)
            if done % 100_000 == 0:
                say(f"Reading {path}: {done:,} rows so far")
            block = [*islice(lines, ROWS)]
    if not pixels:
        raise ValueError("it holds no rows below the names of its columns")
    return np.concatenate(pixels), np.array(labels) if labels else None


def read_labels(path):
    """The labels (n,), text, in the last column of a table of a few columns."""
    labels = columns_in(path)[-1]
    number = [*map(is_number, labels[:2])]
    return np.array(labels[1:] if number == [False, True] or role(labels[0]).kind == "labels" else labels)


def begin_table(lines):
    """The Columns of a table, from an iterator over its numbered lines, and its first lines below their names."""
    block, names = [*islice(lines, ROWS)], None
    if block and block[0][1].startswith(b"#"):  # as numpy.savetxt writes what it is told to say
        block = block[1:]
    cut = cut_of(block)
    if titled([cells_of(line, cut) for _, line in block[:2]]):
        names = [name.strip("' ") for name in cells_of(block[0][1], cut)]
        block = [*block[1:], *islice(lines, 1)]
    rows = [cells_of(line, cut) for _, line in block]
    columns = find_pixels(cut, names, rows[0] if rows else names or [])
    label = label_column(columns, [cells for cells in rows if len(cells) == columns.count])
    return columns._replace(label=label, pixels=[k for k in columns.pixels if k != label]), block


def titled(rows):
    """Whether the first of two rows names the columns."""
    if not rows:
        return False
    numbers = [cell for cell in rows[0] if is_number(cell)]
    text = len(rows[0]) - len(numbers)
    if text > 1 or (text == len(rows[0]) == 1):
        return True
    counted = [*map(str, range(len(numbers)))] == numbers
    different = [len({*row}) == len(row) for row in rows]
    return len(rows[0]) >= 16 and (counted or different == [True, False])


def find_pixels(cut, names, row):
    """The Columns with the places of the pixels, perhaps with one for a label among them. Raises ValueError."""
    count = len(names or row)
    packed = [k for k, cell in enumerate(row) if len(cell.split()) >= 16]
    if len(packed) == 1 and count > 1 and flat_shapes(length := len(row[packed[0]].split())):
        return Columns(count, cut, names, packed, length)
    pixels = [*range(count)]
    if names:
        forms = [re.sub(r"[\d.]+", "#", name.lower()) for name in names]
        form = Counter(forms).most_common(1)[0][0]
        pixels = [k for k in pixels if forms[k] == form]
        if form.count("#") == 1:  # pixel1, pixel10, pixel2: sorted as text
            pixels.sort(key=lambda k: name_order(names[k]))
    for length in (len(pixels), len(pixels) - 1):
        if length >= 16 and flat_shapes(length):
            return Columns(count, cut, names, pixels, length)
    alike = f", of which {len(pixels):,} are named alike" if names else ""
    raise ValueError(f"its first row has {count:,} columns{alike}, and 28 x 28 pixels are 784, or 785 with a label")


def label_column(columns, rows):
    """The place of the labels: of a name that says so, or of the only column that is none of pixels."""
    left = [k for k in range(columns.count) if k not in {*columns.pixels}]
    for k in left if columns.names else ():
        if role(columns.names[k]).kind == "labels":
            return k
    within = len(columns.pixels) > 1 and len(columns.pixels) > columns.length
    places = columns.pixels if within else [] if columns.names else left
    return first_or_last(rows, places) if rows and places else None


def first_or_last(rows, places):
    """The first of some places, or the last where it alone can hold the labels, by its text or its values."""
    first, last = ({row[place] for row in rows} for place in (places[0], places[-1]))
    text = [not any(map(is_number, values)) for values in (first, last)]
    numbers = (len(first) == 1 or len(first) > MOST_CLASSES) and 1 < len(last) <= MOST_CLASSES
    return places[-1] if text == [False, True] or (text == [False, False] and numbers) else places[0]


def read_block(block, columns):
    """The pixels in numbered lines of a table, uint8 if they are whole grey values, else float32; and their labels."""
    label = columns.label
    numbers = whole_numbers([line for _, line in block], columns.cut)
    if numbers is not None and numbers.shape[1] == columns.count:
        pixels = numbers[:, columns.pixels]
        if pixels.shape[1] == columns.length and pixels.max() < 256:
            return pixels.astype("uint8"), [] if label is None else [*map(str, numbers[:, label].tolist())]
    rows = [(number, cells_of(line, columns.cut)) for number, line in block]
    pixels = pixels_in(rows, columns)
    return pixels, [] if label is None else [cells[label].strip("' ") for _, cells in rows]


def pixels_in(block, columns):
    """The pixels in numbered rows of cells. Raises ValueError for a row that is not as the first."""
    packed = len(columns.pixels) == 1
    pick = itemgetter(*columns.pixels)
    rows = []
    for number, cells in block:
        if len(cells) != columns.count:
            raise ValueError(f"row {number:,} has {len(cells):,} columns, and the first has {columns.count:,}")
        rows.append(pick(cells).split() if packed else pick(cells))
        if len(rows[-1]) != columns.length:
            raise ValueError(f"row {number:,} has {len(rows[-1]):,} values, and the first has {columns.length:,}")
    whole = whole_numbers([" ".join(row).encode() for row in rows], " ")
    if whole is not None and whole.max() < 256:
        return whole.astype("uint8")
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(rows, "float32")
        if not np.isfinite(numbers).all():
            raise ValueError
    except ValueError:
        pairs = zip(block, rows, strict=True)
        number, cell = next((n, cell) for (n, _), row in pairs for cell in row if not is_number(cell))
        raise ValueError(f"row {number:,} has {cell!r}, which is no number") from None
    whole = ((numbers == numbers.round()) & (numbers >= 0) & (numbers <= 255)).all()
    return numbers.astype("uint8") if whole else numbers


# -- Tables that name files --------------------------------------------------------------------------------------------


def labels_by_file(path, names):
    """What a table says of picture files, {place in names: (label, part)}, and which columns say it, in words.

    names: {what a file may be called: place}. The column of files is that in which most of them are found. Raises
    ValueError, with the reason, for a table that does not tell their classes.
    """
    columns, rows = files_in(columns_in(path), names)
    splits = [of for of in columns if of[0].lower() in SPLITS]
    label, used = class_of([of for of in columns if of not in splits], rows)
    part = next((of for of in splits if all(role(cell).part for cell in of[1:])), None)
    named = {}
    double = {place for row, place in rows.items() if named.setdefault(place, (label(row), row))[0] != label(row)}
    if double:
        raise ValueError(f"gives more than one class to a picture, {len(double):,} times")
    told = f"classes by {path.name}"
    if used and 0 not in rows:  # the first row names the columns
        over = [of[0] for of in columns if of is not part and of[0] != used]
        told = f"classes by the column {used} of {path.name}" + (f", of which {some(over)} left over" if over else "")
    return {place: (own, role(part[row]).part if part else "") for place, (own, row) in named.items()}, told


def files_in(columns, names):
    """The columns beside that of files, in which most of the names are found, and the rows of these, {row: place}."""
    places = [[names.get(file_name(cell, names)) for cell in column] for column in columns]
    files = min(range(len(places)), key=lambda k: places[k].count(None), default=0)
    rows = {row: place for row, place in enumerate(places[files]) if place is not None} if len(columns) > 1 else {}
    if not rows:
        raise ValueError("names no pictures that want a class")
    return columns[:files] + columns[files + 1 :], rows


def file_name(cell, names):
    """A cell as one of the names of files, if it can be one: without the folders or the suffix of another computer."""
    cell = cell.replace("\\", "/").removeprefix("./")
    bare = cell.rpartition("/")[2]
    return next((form for form in (cell, bare, re.sub(r"\.[A-Za-z]+$", "", bare)) if form in names), cell)


def columns_in(path):
    """The columns of a table of text, tuples, without the rows that are not as long as the first."""
    with opened_unpacked(path) as file:
        lines = [*islice(lines_of(file), LIST)]
    cut = cut_of(lines)
    rows = [[cell.strip("' ") for cell in cells_of(line, cut)] for _, line in lines]
    return [*zip(*(row for row in rows if len(row) == len(rows[0])), strict=True)]


def class_of(columns, rows):
    """A function of a row's number that gives its class, and the name of the column that it is from, if it is one.

    It is in the column named so (but y beside x is a place), or in the only one, or the only one of text, or is the
    name of the only one that is 1. Raises ValueError where the columns do not tell.
    """
    titles = {of[0].lower() for of in columns}
    called = [of for of in columns if names_class(of[0], titles)]
    text = [of for of in columns if not any(is_number(of[k]) for k in rows)]
    if found := next((of[0] for of in (called[:1], columns, text) if len(of) == 1), None):
        return found.__getitem__, found[0]
    ones = {k: [of for of in columns if is_number(of[k]) and float(of[k])] for k in rows}
    if columns and all(len(of) == 1 and float(of[0][k]) == 1 for k, of in ones.items()):
        return lambda k: ones[k][0][0], ""
    told = f"which of {some(of[0] for of in columns)} is the class: name it label" if columns else "classes"
    raise ValueError(f"does not tell {told}")


def names_class(title, titles):
    """Whether a column is called as labels are, and not y_1 beside x_1."""
    across = "x".join(title.lower().rsplit("y", 1))
    return role(title).kind == "labels" and (across == title.lower() or across not in titles)
