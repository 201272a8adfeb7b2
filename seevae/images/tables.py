"""Tables of text: one row an image, with or without names of the columns; or rows that name picture files.

The first row names the columns if it is text, or if its values are all different and those of the next row are not, as
pandas writes 0, 1, 2. Pixels are then the columns of one name with other numbers ("pixel0", "1x1", "0"), as many as a
picture has, or one column whose cells hold many numbers (FER2013).
"""

import csv
import math
import re
from collections import Counter
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from seevae.basics import say
from seevae.images.converting import MOST_CLASSES, flat_shapes
from seevae.images.reading import free_memory, opened_unpacked
from seevae.images.words import role

LINE = 2**20  # characters that a row of a table may have
BLANK = 10_000  # empty rows that may follow each other
GREY = {str(value): value for value in range(256)}
LIST = 10**6  # rows that a table may have which names files


class Columns(NamedTuple):
    """How the columns of a table lie.

    names: of all, or None; pixels: their places, or that of a column of which each cell holds an image; length: how
    many values an image has; label: the place of the labels, or None.
    """

    count: int  # type: ignore[assignment] # tuple has a method of this name
    names: list | None
    pixels: list
    length: int
    label: int | None = None

    @property
    def others(self):
        """The names of the columns that are not used."""
        used = {*self.pixels, self.label}
        return [self.names[k] or f"column {k + 1}" for k in range(self.count) if self.names and k not in used]


def columns_of(path):
    """The Columns of a table. Raises OSError, or ValueError where its rows are no images."""
    with opened_unpacked(path) as file:
        return begin_table(rows_of(file))[0]


def count_rows(path):
    """How many rows a table of images has below the names of its columns."""
    with opened_unpacked(path) as file:
        rows = rows_of(file)
        return len(begin_table(rows)[1]) + sum(1 for _ in rows)


def read_table(path):
    """The images (n, values) and the labels (n,), text, or None, of a table.

    Raises OSError, ValueError for another table, and MemoryError for one that is too large.
    """
    free, pixels, labels, done = free_memory(), [], [], 0
    with opened_unpacked(path) as file:
        rows = rows_of(file)
        columns, block = begin_table(rows)
        while block:
            pixels.append(numbers_of(block, columns))
            if columns.label is not None:
                labels += [cells[columns.label].strip("' ") for _, cells in block]
            free -= 2 * pixels[-1].nbytes  # once in blocks, once together
            if free < 0:
                raise MemoryError
            done += len(block)
            if done % 100_000 == 0:
                say(f"Reading {path}: {done:,} rows so far")
            block = [*islice(rows, 1000)]
    if not pixels:
        raise ValueError("it holds no rows below the names of its columns")
    return np.concatenate(pixels), np.array(labels) if labels else None


def read_labels(path):
    """The labels (n,), text, in the last column of a table of a few columns."""
    labels = columns_in(path)[-1]
    number = [*map(is_number, labels[:2])]
    return np.array(labels[1:] if number == [False, True] or role(labels[0]).kind == "labels" else labels)


def rows_of(file):
    """The rows of a table, lists of text, with the number of each line, without empty ones.

    They are cut where the first one has most of a sign. Raises ValueError for what is no table.
    """
    number, blank, cutting = 0, 0, ""
    while line := file.readline(LINE):
        number += 1
        if len(line) == LINE or b"\0" in line:
            raise ValueError(f"row {number:,} is no text, or has more than a million characters")
        if row := line.decode("utf-8-sig", "replace").strip("\r\n "):
            blank, cutting = 0, cutting or max(",;\t| ", key=row.count)
            yield number, next(csv.reader([row], delimiter=cutting, skipinitialspace=True))
        elif (blank := blank + 1) > BLANK:
            raise ValueError(f"more than {BLANK:,} rows are empty, from row {number - BLANK:,} on")


def begin_table(rows):
    """The Columns of a table, from an iterator over its numbered rows, and its first 1,000 rows below their names."""
    block, names = [*islice(rows, 1000)], None
    if titled([cells for _, cells in block[:2]]):
        names = [name.strip("' ") for name in block[0][1]]
        block = [*block[1:], *islice(rows, 1)]
    columns = find_pixels(names, block[0][1] if block else names or [])
    label = label_column(columns, [cells for _, cells in block if len(cells) == columns.count])
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


def find_pixels(names, row):
    """The Columns with the places of the pixels, perhaps with one for a label among them. Raises ValueError."""
    count = len(names or row)
    packed = [k for k, cell in enumerate(row) if len(cell.split()) >= 16]
    if len(packed) == 1 and count > 1 and flat_shapes(length := len(row[packed[0]].split())):
        return Columns(count, names, packed, length)
    pixels = [*range(count)]
    if names:
        forms = [re.sub(r"[\d.]+", "#", name.lower()) for name in names]
        form = Counter(forms).most_common(1)[0][0]
        pixels = [k for k in pixels if forms[k] == form]
    for length in (len(pixels), len(pixels) - 1):
        if length >= 16 and flat_shapes(length):
            return Columns(count, names, pixels, length)
    raise ValueError(f"its first row has {count} columns, and 28 x 28 pixels are 784, or 785 with a label")


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


def numbers_of(block, columns):
    """The pixels in numbered rows of a table, (rows, values), uint8 if they are whole grey values, else float32."""
    packed = len(columns.pixels) == 1
    pick = itemgetter(*columns.pixels)
    rows = []
    for number, cells in block:
        if len(cells) != columns.count:
            raise ValueError(f"row {number:,} has {len(cells):,} columns, and the first has {columns.count:,}")
        rows.append(pick(cells).split() if packed else pick(cells))
        if len(rows[-1]) != columns.length:
            raise ValueError(f"row {number:,} has {len(rows[-1]):,} values, and the first has {columns.length:,}")
    try:
        grey = b"".join(bytes(map(GREY.__getitem__, row)) for row in rows)
        return np.frombuffer(grey, "uint8").reshape(len(rows), -1)
    except KeyError:
        return other_numbers(block, rows)


def other_numbers(block, rows):
    """The pixels in rows where not all are written as whole grey values."""
    try:
        with np.errstate(over="ignore"):
            numbers = np.array(rows, "float32")
    except ValueError:
        pairs = zip(block, rows, strict=True)
        number, cell = next((n, cell) for (n, _), row in pairs for cell in row if not is_number(cell))
        raise ValueError(f"row {number:,} has {cell!r}, which is no number") from None
    whole = ((numbers == numbers.round()) & (numbers >= 0) & (numbers <= 255)).all()
    return numbers.astype("uint8") if whole else numbers


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


# -- Tables that name files --------------------------------------------------------------------------------------------


def labels_by_file(path, names):
    """What a table says of picture files: {place in names: label}. names: {what a file may be called: place}.

    The column of files is that in which most names are found. Empty where it says nothing, with the reason.
    """
    try:
        columns = columns_in(path)
    except (OSError, ValueError) as error:
        return {}, f"cannot be read ({error})"
    places = [[names.get(cell.removeprefix("./").replace("\\", "/")) for cell in column] for column in columns]
    files = min(range(len(places)), key=lambda k: places[k].count(None), default=None)
    if len(columns) < 2 or not any(place is not None for place in places[files]):
        return {}, "names no pictures here"
    named = {place: k for k, place in enumerate(places.pop(files)) if place is not None}
    columns.pop(files)
    label = class_of(columns, named.values())
    if label is None:
        told = ", ".join(column[0] for column in columns[:6])
        return {}, f"does not tell which of {told} is the class: name it label"
    return {place: label(k) for place, k in named.items()}, ""


def columns_in(path):
    """The columns of a table of text, tuples, without the rows that are not as long as the first."""
    with opened_unpacked(path) as file:
        rows = [[cell.strip("' ") for cell in cells] for _, cells in islice(rows_of(file), LIST)]
    return [*zip(*(row for row in rows if len(row) == len(rows[0])), strict=True)]


def class_of(columns, rows):
    """A function of a row's number that gives its class, or None where the columns do not tell.

    It is in the column named so, or in the only one, or is the name of the only one that is 1.
    """
    if called := [column for column in columns if role(column[0]).kind == "labels"] or columns * (len(columns) == 1):
        return called[0].__getitem__
    for k in rows:
        if sorted(column[k] for column in columns if is_number(column[k]) and float(column[k])) not in (["1"], ["1.0"]):
            return None
    return lambda k: next(column[0] for column in columns if float(column[k]))
