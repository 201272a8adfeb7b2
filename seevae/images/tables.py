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

from seevae.basics import UserError, say
from seevae.images.account import some
from seevae.images.converting import MOST_CLASSES, flat_shapes
from seevae.images.reading import free_memory, opened_unpacked
from seevae.images.words import role

LINE = 2**20  # characters that a row of a table may have
BLANK = 10_000  # empty rows that may follow each other
LIST = 10**6  # rows that a table may have which names files


class Columns(NamedTuple):
    """How the columns of a table lie.

    cutting: what cuts them apart (None: spaces); names, or None; pixels: their places, or that of a column of which
    each cell holds an image; length: how many values an image has; label: the place of the labels, or None.
    """

    cutting: str | None
    count: int  # type: ignore[assignment] # tuple has a method of this name
    names: list | None
    pixels: list
    length: int
    label: int | None

    @property
    def others(self):
        """The names of the columns that are not used."""
        used = {*self.pixels, self.label}
        return [self.names[k] or f"column {k + 1}" for k in range(self.count) if self.names and k not in used]


def read_table(path):
    """The images (n, height, width) or (n, values), the labels (n,), text, or None, and the Columns of a table.

    Raises UserError for another table, and MemoryError for one that is too large.
    """
    free, pixels, labels, done = free_memory(), [], [], 0
    try:
        with opened_unpacked(path) as file:
            rows = rows_of(file)
            columns, block = begin_table(rows)
            while block:
                cells = (
                    None
                    if len(columns.pixels) > 1 and columns.label is None
                    else [cut(row, columns) for _, row in block]
                )
                pixels.append(numbers_of(block, cells, columns))
                if columns.label is not None:
                    labels += [row[columns.label] for row in cells]
                free -= 2 * pixels[-1].nbytes  # once in blocks, once together
                if free < 0:
                    raise MemoryError
                done += len(block)
                if done % 100_000 == 0:
                    say(f"Reading {path}: {done:,} rows so far")
                block = [*islice(rows, 1000)]
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable table of images ({error}): give one row an image.") from error
    if not pixels:
        raise UserError(f"{path} holds no rows below the names of its columns: give one row an image.")
    return np.concatenate(pixels), np.array(labels) if labels else None, columns


def has_pixels(path):
    """Whether a table has rows that may be images."""
    try:
        with opened_unpacked(path) as file:
            return begin_table(islice(rows_of(file), 2))[0].length > 0
    except (OSError, ValueError):
        return False


def rows_of(file):
    """The rows of a table, with the number of each line, without empty ones. Raises ValueError for what is no table."""
    number, blank = 0, 0
    while line := file.readline(LINE):
        number += 1
        if len(line) == LINE or b"\0" in line:
            raise ValueError(f"row {number:,} is no text, or has more than a million characters")
        if row := line.decode("utf-8-sig", "replace").strip("\r\n "):
            blank = 0
            yield number, row
        elif (blank := blank + 1) > BLANK:
            raise ValueError(f"more than {BLANK:,} rows are empty, from row {number - BLANK:,} on")


def cut(row, columns):
    """The cells of a row, without the quotes."""
    if '"' in row:
        return next(csv.reader([row], delimiter=columns.cutting or " ", skipinitialspace=True))
    return [cell.strip("' ") for cell in row.split(columns.cutting)]


def begin_table(rows):
    """The Columns of a table, from an iterator over its numbered rows, and its first 1,000 rows below their names."""
    block = [*islice(rows, 1000)]
    columns = columns_like(block[0][1] if block else "")
    cells = [cut(row, columns) for _, row in block[:2]]
    if titled(cells):
        columns = columns._replace(names=[name.strip() for name in cells[0]])
        block, cells = [*block[1:], *islice(rows, 1)], cells[1:]
    columns = find_pixels(columns, cells)
    label = label_column(columns, block)
    return columns._replace(label=label, pixels=[k for k in columns.pixels if k != label]), block


def columns_like(first):
    """The Columns of a table with this first row: how it is cut, and into how many."""
    cutting = max(",;\t| ", key=first.count)
    columns = Columns(None if cutting == " " else cutting, 0, None, [], 0, None)
    return columns._replace(count=len(cut(first, columns)))


def label_column(columns, block):
    """The place of the labels: of a name that says so, or of the only column that is none of pixels."""
    left = [k for k in range(columns.count) if k not in {*columns.pixels}]
    for k in left if columns.names else ():
        if role(columns.names[k]).kind == "labels":
            return k
    within = len(columns.pixels) > 1 and len(columns.pixels) > columns.length
    places = columns.pixels if within else [] if columns.names else left
    if not block or not places:
        return None
    return places[-1] if first_or_last(block, columns, places) else places[0]


def titled(cells):
    """Whether the first of two rows names the columns."""
    if not cells:
        return False
    text = sum(not is_number(cell) for cell in cells[0])
    if text > 1 or (text == len(cells[0]) == 1):
        return True
    numbers = [cell for cell in cells[0] if is_number(cell)]
    counted = [*map(str, range(len(numbers)))] == numbers
    different = [len({*row}) == len(row) for row in cells]
    return len(cells[0]) >= 16 and (counted or different == [True, False])


def find_pixels(columns, cells):
    """The Columns with the places of the pixels, perhaps with one for a label among them. Raises ValueError."""
    row = cells[0] if cells else []
    packed = [k for k, cell in enumerate(row) if len(cell.split()) >= 16]
    if len(packed) == 1 and columns.count > 1 and flat_shapes(length := len(row[packed[0]].split())):
        return columns._replace(pixels=packed, length=length)
    pixels = [*range(columns.count)]
    if columns.names:
        forms = [re.sub(r"[\d.]+", "#", name.lower()) for name in columns.names]
        form = Counter(forms).most_common(1)[0][0]
        pixels = [k for k in pixels if forms[k] == form]
    for length in (len(pixels), len(pixels) - 1):
        if length >= 16 and flat_shapes(length):
            return columns._replace(pixels=pixels, length=length)
    raise ValueError(f"its first row has {columns.count} columns, and 28 x 28 pixels are 784, or 785 with a label")


def first_or_last(rows, columns, places):
    """Whether the last of some places holds the labels: if it alone can, by its text or its values."""
    rows = [cells for _, row in rows if len(cells := cut(row, columns)) == columns.count]
    first, last = ({row[place] for row in rows} for place in (places[0], places[-1]))
    text = [not any(map(is_number, values)) for values in (first, last)]
    numbers = (len(first) == 1 or len(first) > MOST_CLASSES) and 1 < len(last) <= MOST_CLASSES
    return text == [False, True] or (text == [False, False] and numbers)


def numbers_of(block, cells, columns):
    """The pixels in numbered rows of a table, (rows, values), uint8 if they are whole grey values, else float32."""
    for number, row in block:
        count = row.count(columns.cutting) + 1 if columns.cutting and '"' not in row else len(cut(row, columns))
        if count != columns.count:
            raise ValueError(f"row {number:,} has {count:,} columns, and the first has {columns.count:,}")
    packed = len(columns.pixels) == 1 and columns.count > 1
    rows = [row[columns.pixels[0]] for row in cells] if packed else [row for _, row in block]
    how = {"usecols": None if packed else columns.pixels, "delimiter": None if packed else columns.cutting}
    how |= {"dtype": "float32", "comments": None, "quotechar": '"', "ndmin": 2}
    try:
        numbers = np.loadtxt(rows, **how)
    except ValueError as error:
        raise ValueError(which_row(block, rows, how)) from error
    if numbers.shape[1] != columns.length:
        raise ValueError(f"row {block[0][0]:,} has {numbers.shape[1]:,} values, and the first has {columns.length:,}")
    whole = ((numbers == numbers.round()) & (numbers >= 0) & (numbers <= 255)).all()
    return numbers.astype("uint8") if whole else numbers


def which_row(block, rows, how):
    """Which row of a block is no row of numbers, and why."""
    for (number, _), row in zip(block, rows, strict=True):
        try:
            np.loadtxt([row], **how)
        except ValueError as error:
            return f"row {number:,}: {str(error).split(' at row')[0]}"
    return f"a row of the {len(rows):,} from row {block[0][0]:,} on has another number of values"


def is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


# -- Tables that name files --------------------------------------------------------------------------------------------


def read_list(path):
    """The names of the columns, and the rows below, of a small table, lists of text. Raises ValueError."""
    with opened_unpacked(path) as file:
        numbered = [*islice(rows_of(file), LIST)]
    columns = columns_like(numbered[0][1] if numbered else "")
    rows = [cells for _, row in numbered if len(cells := cut(row, columns)) == columns.count]
    return rows[0] if rows else [], rows


def labels_by_file(path, names):
    """What a table says of picture files: {place in names: label}. names: {what a file may be called: place}.

    The column of files is that in which most names are found, that of labels the one named so, or the only other one,
    or several of which one alone is 1. Empty where it says nothing, with the reason.
    """
    try:
        titles, rows = read_list(path)
    except (OSError, ValueError) as error:
        return {}, f"cannot be read ({error})"
    places = [
        [names.get(cell.strip().removeprefix("./").replace("\\", "/")) for cell in column]
        for column in zip(*rows, strict=True)
    ]
    hits = [len(found) - found.count(None) for found in places]
    if len(titles) < 2 or not max(hits):
        return {}, "names no pictures here"
    files = hits.index(max(hits))
    others = [k for k in range(len(titles)) if k != files]
    body = [(place, row) for place, row in zip(places[files], rows, strict=True) if place is not None]
    label = class_of(titles, others, [row for _, row in body])
    if label is None:
        return {}, f"does not tell which of {some([titles[k] for k in others])} is the class: name it label"
    return {place: label(row) for place, row in body}, ""


def class_of(titles, others, rows):
    """A function of a row that gives its class, or None: from a column named so, the only one, or the one that is 1."""
    named = [k for k in others if role(titles[k]).kind == "labels"]
    if named or len(others) == 1:
        return itemgetter((named or others)[0])
    cells = [[row[k] for k in others] for row in rows]
    if all(all(map(is_number, row)) and sorted(map(float, row)) == [0.0] * (len(row) - 1) + [1.0] for row in cells):
        return lambda row: next(titles[k] for k in others if float(row[k]) == 1)
    return None
