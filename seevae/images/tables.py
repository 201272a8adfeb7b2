"""Tables of text, one row an image, with or without names of the columns.

The first row names the columns if it is text, or if its values are all different and those of the next row are not, as
pandas writes 0, 1, 2. Pixels are then the columns of one name with other numbers ("pixel0", "1x1", "0"), as many as a
picture has, or one column whose cells hold many numbers (FER2013).
"""

import codecs
import contextlib
import csv
import math
import re
import warnings
from collections import Counter
from itertools import islice
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from seevae.basics import say
from seevae.images.classes import MOST_CLASSES
from seevae.images.reading import free_memory, opened_unpacked
from seevae.images.shapes import flat_shapes
from seevae.images.words import role

LINE = 2**20  # characters that a row of a table may have
BLANK = 10_000  # empty rows that may follow each other
ROWS = 1000  # that are read at a time
LIST = 10**6  # rows that a table may have which names files


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
            raise ValueError(f"row {number:,} is no UTF-8 text (save it so), or has more than a million characters")
        if line := line.removeprefix(codecs.BOM_UTF8).strip(b"\r\n "):
            blank = 0
            yield number, line
        elif (blank := blank + 1) > BLANK:
            raise ValueError(f"more than {BLANK:,} rows are empty, from row {number - BLANK:,} on")


def cut_of(block):
    """The sign that cuts the lines of a block: the one that the first has most of, or semicolons beside 0,5 and 1,5."""
    first = block[0][1].decode("latin1") if block else ""
    return ";" if first.count(";") >= 15 else max(",;\t| ", key=first.count)


def cells_of(line, cut):
    """The cells of a line, a list of text."""
    return next(csv.reader([line.decode("utf-8", "replace")], delimiter=cut, skipinitialspace=True))


def numbers_in(text, sign, count):
    """So many numbers in text that a sign parts, int64 if all are whole, else float64; or None."""
    for dtype in ("int64", "float64"):
        with contextlib.suppress(ValueError), warnings.catch_warnings(action="ignore"):
            numbers = np.fromstring(text, dtype, sep=sign)
            if len(numbers) == count and np.isfinite(numbers).all():
                return numbers
    return None


def values_of(cell):
    """The numbers in a cell, text: "0 1 2", or a list as Python writes it."""
    return re.sub(r"[\[\],]", " ", cell).split()


def is_number(text):
    try:
        return math.isfinite(float(text.replace(",", ".")))
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


def columns_in(path):
    """The columns of a table of text, tuples, without the rows that are not as long as the first."""
    with opened_unpacked(path) as file:
        lines = [*islice(lines_of(file), LIST)]
    cut = cut_of(lines)
    rows = [[cell.strip("' ") for cell in cells_of(line, cut)] for _, line in lines]
    return [*zip(*(row for row in rows if len(row) == len(rows[0])), strict=True)]


def begin_table(lines):
    """The Columns of a table, from an iterator over its numbered lines, and its first lines below their names."""
    block, names = [*islice(lines, ROWS)], None
    if block and block[0][1].startswith((b"#", b"sep=")):  # as numpy.savetxt writes what it is told to say, and Excel
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
    packed = [k for k, cell in enumerate(row) if len(values_of(cell)) >= 16]
    if len(packed) == 1 and count > 1 and flat_shapes(length := len(values_of(row[packed[0]]))):
        return Columns(count, cut, names, packed, length)
    pixels = [*range(count)]
    if names:
        forms = [re.sub(r"[\d.]+", "#", name.lower()) for name in names]
        form = Counter(forms).most_common(1)[0][0]
        pixels = [k for k in pixels if forms[k] == form]
        pixels = in_order_of_names(pixels, names, form)
    for length in (len(pixels), len(pixels) - 1):
        if length >= 16 and flat_shapes(length):
            return Columns(count, cut, names, pixels, length)
    alike = f", of which {len(pixels):,} are named alike" if names else ""
    raise ValueError(f"its first row has {count:,} columns{alike}, and 28 x 28 pixels are 784, or 785 with a label")


def in_order_of_names(pixels, names, form):
    """The places of pixels in the order of the numbers in their names, where these tell it; form: that of the names.

    Somebody may have sorted the names as text (pixel1, pixel10, pixel2), or counted across before down (x0y1).
    """
    numbers = {k: [*map(int, re.findall(r"\d+", names[k]))] for k in pixels}
    if re.search(r"x\W?_?#.*y\W?_?#", form):
        return sorted(pixels, key=lambda k: numbers[k][::-1])
    as_text = [*pixels] == sorted(pixels, key=names.__getitem__)
    return sorted(pixels, key=numbers.__getitem__) if form.count("#") == 1 or as_text else pixels


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
    lines, cut = [line for _, line in block], columns.cut.encode()
    numbers, label = None, columns.label
    if {line.count(cut) for line in lines} == {columns.count - 1}:
        numbers = numbers_in(cut.join(lines), columns.cut, len(lines) * columns.count)
    if numbers is not None and len(columns.pixels) == columns.length:
        pixels = numbers.reshape(len(lines), -1)[:, columns.pixels]
        labels = [] if label is None else [line.split(cut)[label].decode() for line in lines]
    else:
        rows = [(number, cells_of(line, columns.cut)) for number, line in block]
        pixels = pixels_in(rows, columns)
        labels = [] if label is None else [cells[label].strip("' ") for _, cells in rows]
    whole = ((pixels == np.round(pixels)) & (pixels >= 0) & (pixels <= 255)).all()
    return pixels.astype("uint8" if whole else "float32"), labels


def pixels_in(block, columns):
    """The pixels in numbered rows of cells. Raises ValueError for a row that is not as the first."""
    packed, pick = len(columns.pixels) == 1, itemgetter(*columns.pixels)
    rows = []
    for number, cells in block:
        if len(cells) != columns.count:
            raise ValueError(f"row {number:,} has {len(cells):,} columns, and the first has {columns.count:,}")
        values = values_of(pick(cells)) if packed else pick(cells)
        rows.append([value.replace(",", ".") for value in values] if columns.cut == ";" else values)
        if len(values) != columns.length:
            raise ValueError(f"row {number:,} has {len(values):,} values, and the first has {columns.length:,}")
    numbers = numbers_in(" ".join(map(" ".join, rows)), " ", len(rows) * columns.length)
    if numbers is None:
        cells = [(number, cell) for (number, _), row in zip(block, rows, strict=True) for cell in row]
        number, cell = next((of for of in cells if not is_number(of[1])), cells[0])
        raise ValueError(f"row {number:,} has {cell!r}, which is no number")
    return numbers.reshape(len(rows), -1)
