"""What a file is: it is looked at once, and known by its first bytes, or by its name where these do not tell."""

import contextlib
import math
import re
import tomllib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

from seevae.basics import UserError
from seevae.images import reading, tables
from seevae.images.converting import FORMATS, STRONG, read_pages, reason_of
from seevae.images.reading import open_file, opened_unpacked
from seevae.images.shapes import axes_of
from seevae.images.words import NO_ROLE, Role, role

STARTS = {rb"\x93NUMPY": "npy", rb"\0\0[\x08\x09\x0b-\x0e][\1-\4]": "idx", rb"MATLAB 5\.0": "mat"}
STARTS |= {rb"(.{512})?\x89HDF\r\n\x1a\n": "hdf5"}
PIXELS = {
    rb"....ftyp(hei|hev|mif)": "HEIC",
    rb"\xff\n|....JXL ": "JPEG XL",
    rb".{128}DICM": "DICOM",
    rb"SIMPLE  =": "FITS",
    rb"\s*(<\?xml.{,200}>\s*)?<svg": "SVG",
}  # pictures that Pillow does not read
PIXELS = {pattern: f"{name} is not read here: make it PNG" for pattern, name in PIXELS.items()}
WRONG = {rb"version https://git-lfs": "`git lfs pull` brings it", rb"\s*<(!doctype|html)": "it is a web page"}
NUMBERS = re.compile(rb"[\d\s.,;eE+-]{60}")  # as a table begins whose name does not tell that it is one
TEXTUAL = re.compile(rb"[\t-\r -~]*")
TEXT = (".csv", ".tsv", ".txt", ".amat")
BYTES = np.dtype("uint8")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".7z", ".rar")


@dataclass(eq=False, slots=True)
class Item:
    """One thing that was found: a file, or an array in a file of several; what it is, and what becomes of it.

    kind: "picture", "array", "table" (of images), "list" (a table of something else), or why nothing of it is read.
    form: of a file of arrays. name, shape, dtype: of an array. read: a function that gives what it holds. columns: of a
    table. pages, other: of a picture, see read_pages. how: to convert it, see foreign(). reason: why it cannot be read.
    folders: the names of those that lead to it. single: whether it is one image.

    The rest is written by layouts, places and taking: to which family of files it belongs; its role (see words.py); the
    part and the class (label) of its images; the Item that holds their labels; whether it is such a one; out: why it is
    left out; and whether it is lost.
    """

    path: Path
    kind: str
    form: str = ""
    name: str = ""
    shape: tuple = ()
    dtype: np.dtype = BYTES
    read: Callable | None = None
    columns: tables.Columns | None = None
    pages: list | tuple = ()
    other: tuple = (0, "")
    how: tuple | None = None
    reason: str = ""
    unit: str = "files"
    folders: tuple = ()
    single: bool = False
    family: str | None = None
    role: Role = NO_ROLE
    part: str = ""
    label: str | None = None
    labels: "Item | None" = None
    is_labels: bool = False
    out: str = ""
    lost: bool = False

    @property
    def title(self):
        """Its name in the account."""
        why = f" ({self.reason})" if self.kind == "unreadable" else ""
        return self.name if self.unit == "arrays" else "/".join([*self.folders, self.path.name]) + why

    @property
    def size(self):
        """How many bytes an array has."""
        return math.prod(self.shape) * self.dtype.itemsize if self.kind == "array" else 0

    @property
    def fits(self):
        """Whether it may hold images."""
        of_numbers = self.kind == "array" and self.dtype.kind in "biuf"
        return self.kind in ("picture", "table") or (of_numbers and axes_of(self.shape) != "")

    @property
    def named_labels(self):
        """Whether a file or one of its folders is called so."""
        return any(role(name).kind == "labels" for name in (*self.folders, self.path.name))

    @property
    def labels_inside(self):
        """Whether it is a table with a column of labels."""
        return self.columns is not None and self.columns.label is not None

    @property
    def labelled(self):
        """Whether its images have a class, or labels that may become classes."""
        return self.labels_inside or self.label is not None or self.labels is not None

    def images(self):
        """What became of the images in it: (how many, why they are left out) each."""
        if self.lost or not self.fits or self.role.kind == "labels":
            return []
        if self.kind == "picture":
            if self.out:
                return [(len(self.pages) + self.other[0], self.out)]
            return [of for of in ((len(self.pages), ""), self.other) if of[0]]
        return [(self.shape[axes_of(self.shape).index("n")], self.out)]


def look(path):
    """The Items that a file is, or that it holds. What cannot be opened is one too, with the reason."""
    try:
        with opened_unpacked(path) as file:
            kind = kind_of(start := file.read(600), path)
            if kind == "picture":
                return [picture(path, file, start)]
        if kind in ARRAYS:
            return arrays_in(path, kind)
        if kind == "table":
            return [table(path)]
        how = lines_for(start, path) if kind == "foreign" else None
        return [Item(path, kind, how=how, reason=first_match(WRONG, start))]
    except ImportError as error:
        return [Item(path, "unreadable", reason=f"{error.name} is missing: `pip install {error.name}`")]
    except (OSError, ValueError) as error:
        kind = "picture" if is_called_picture(path) else "unreadable"  # one that is lost counts as one
        return [Item(path, kind, reason=getattr(error, "strerror", None) or str(error))]


def kind_of(start, path):
    """What a file is, from its first bytes, unpacked if they were packed by gzip."""
    name = path.name.lower()
    if start[:4] in (b"PK\3\4", b"PK\5\6"):
        return kind_of_zip(path, name)
    if begins_as_picture(start):
        return "picture"
    if kind := first_match(STARTS, start):
        return kind
    if name.endswith(".mat"):
        return "mat"
    if name.endswith(ARCHIVES):
        return "archive"
    if lines_for(start, path) and not first_match(WRONG, start):
        return "foreign"
    if is_called_picture(path) or first_match(PIXELS, start):
        return "picture"
    return "table" if name.removesuffix(".gz").endswith(TEXT) or NUMBERS.match(start) else "other"


def kind_of_zip(path, name):
    if name.endswith((".xlsx", ".pt", ".pth")):
        return "foreign"
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        if any(member.endswith(".npy") for member in archive.namelist()):
            return "npz"
    return "npz" if name.endswith(".npz") else "archive"


def first_match(known, start):
    """What a dict of patterns has for the first bytes of a file, or ""."""
    return next((what for pattern, what in known.items() if re.match(pattern, start, re.DOTALL)), "")


def begins_as_picture(start):
    """Whether a file begins as a picture does, and not with text ("BMI,age" begins as a BMP)."""
    return not TEXTUAL.fullmatch(start[:16]) and any(accept(start[:16]) for accept in picture_formats()[0])


def is_called_picture(path):
    return path.suffix.lower() in picture_formats()[1]


@cache
def picture_formats():
    """What tells a picture: functions of its first 16 bytes, and suffixes."""
    Image.init()
    known = [Image.OPEN[name][1] for name in STRONG if name in Image.OPEN]
    named = Image.registered_extensions().items()
    return known, {".spi", *(suffix for suffix, name in named if name in (*FORMATS, "MPO"))}


def picture(path, file, start):
    """An open picture file, and its first bytes, as an Item."""
    file.seek(0)
    try:
        pages, other = read_pages(file)
    except Exception as error:  # a damaged file fails in many ways
        return Item(path, "picture", reason=first_match(PIXELS | WRONG, start) or reason_of(error))
    return Item(path, "picture", pages=pages, other=other)


def table(path):
    """A table as an Item: of images, or a list of something else."""
    try:
        columns, count = tables.look_at_table(path)
    except ValueError as error:
        read = partial(tables.read_labels, path)
        return Item(path, "list", "table", dtype=np.dtype("U"), read=read, reason=str(error))
    read = partial(tables.read_table, path)
    return Item(path, "table", "table", shape=(count, columns.length), read=read, columns=columns)


# -- Arrays ------------------------------------------------------------------------------------------------------------


def arrays_in(path, kind):
    """The arrays of a file, an Item each."""
    found = [*ARRAYS[kind](path)]
    if not found:
        raise ValueError("it holds no arrays")
    unit = "files" if len(found) == 1 else "arrays"
    items = [Item(path, "array", kind, name, shape, dtype, read, unit=unit) for name, shape, dtype, read in found]
    for item in items:
        item.how = lines_for(b"", Path(f"{path} object")) if item.dtype.kind == "O" else None
    return items


def npz_arrays(path):
    with reading.opened_npz(path) as (archive, members):
        for name in sorted(members):
            with archive.open(f"{name}.npy") as member:
                yield name, *reading.header(member), partial(read_array, path, name)


def read_array(path, name):
    return reading.read_arrays(path, {name: None}, math.inf)[name]


def npy_array(path):
    with opened_unpacked(path) as file:
        yield "", *reading.header(file), partial(reading.read_npy, path)


def idx_array(path):
    with opened_unpacked(path) as file:
        yield "", *reading.idx_header(file), partial(reading.read_idx, path)


def hdf5_arrays(path):
    import h5py  # here, not above: few have such a file

    def read(name):
        with open_file(path) as opened, h5py.File(opened, "r") as file:
            data = file[name]
            array = data.asstr()[()].astype("U") if h5py.check_string_dtype(data.dtype) else data[()]
            return array.T if turned else array

    with open_file(path) as opened, h5py.File(opened, "r") as file:
        turned = opened.seek(0) == 0 and opened.read(10) == b"MATLAB 7.3"  # its last axis comes first
        inside = []
        file.visititems(lambda name, thing: inside.append((name, thing)) if isinstance(thing, h5py.Dataset) else None)
        for name, data in inside:
            if data.shape is not None and not (data.external or data.is_virtual):  # those would read other files
                dtype = np.dtype("U") if h5py.check_string_dtype(data.dtype) else data.dtype
                yield name, data.shape[::-1] if turned else data.shape, dtype, partial(read, name)


def mat_arrays(path):
    import scipy.io  # here, not above: few have such a file

    with open_file(path) as file:
        reading.hold_in_memory(sum(8 * math.prod(map(float, shape)) for _, shape, _ in scipy.io.whosmat(file)))
        file.seek(0)
        found = scipy.io.loadmat(file, simplify_cells=True)
    stack = [(name, value) for name, value in found.items() if not name.startswith("__")]
    while stack:
        name, value = stack.pop(0)
        if isinstance(value, dict):
            stack += [(f"{name}/{key}", inner) for key, inner in value.items()]
        elif isinstance(value, np.ndarray):
            if value.dtype.kind == "O" and len({np.shape(cell) for cell in value.flat}) == 1:  # cells of one kind
                value = np.stack([*value.flat])
            yield name, value.shape, value.dtype, lambda value=value: value


ARRAYS = {"npz": npz_arrays, "npy": npy_array, "idx": idx_array, "hdf5": hdf5_arrays, "mat": mat_arrays}


# -- What is not read --------------------------------------------------------------------------------------------------


@cache
def written():
    """What foreign.toml holds, a dict."""
    return tomllib.loads(Path(__file__).with_name("foreign.toml").read_text(encoding="utf-8"))


@cache
def foreign():
    """The formats of foreign.toml: {form of names: (first line, second line, the file that they make)}."""
    known = written()
    formats = [(of["names"], [*of["lines"], known["second"]], of.get("made", "mine.npz")) for of in known["format"]]
    return {names: (*lines[:2], made) for names, lines, made in formats}


def lines_for(start, path):
    """How to convert a file of another format, as foreign() has it, or None."""
    name = "/".join(path.parts[-2:]).lower()
    if start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5":
        name = f"{name} pickle"
    if start[:4] == b"PAR1":
        name = f"{name}.parquet"
    return next((lines for names, lines in foreign().items() if re.search(names, name)), None)


@contextlib.contextmanager
def runnable(path, items):
    """A context in which a UserError that names lines for an array, such as `x = x / 16`, names lines for what is here.

    items: those of which some are pictures or tables; a line then writes all of them to pictures, or to an .npz file.
    """
    try:
        yield
    except UserError as error:
        frame, made = owner_frame(Path(path), [item for item in items if item.fits and not item.out])
        if not frame or "`x = " not in str(error):
            raise
        sentence = re.sub(r"`x = (.*?)`", lambda line: f"`{frame.replace('EXPRESSION', line[1])}`", str(error))
        raise UserError(f"{sentence.removesuffix('.')}; then give {made}.") from error


def owner_frame(path, items):
    """The line of foreign.toml that reads pictures or tables as x and writes EXPRESSION of it, and where to; or ""."""
    frames, kinds = written()["frames"], {item.kind for item in items}
    if kinds == {"picture"}:
        suffix = next((item.path.suffix for item in items if any(page.span for page in item.pages)), "")
        folder, names = (path, f"*{suffix}") if path.is_dir() else (path.parent, path.name)
        return filled(frames["picture"], {"FOLDER": folder.as_posix(), "NAMES": names}), "mine"
    columns = items[0].columns if kinds == {"table"} else None
    pixels = columns.pixels if columns else []
    if len(pixels) < 2 or pixels != [*range(pixels[0], pixels[-1] + 1)]:
        return "", ""
    cut, files = columns.cut.replace(" ", r"\s+"), {item.part or "train": item.path.as_posix() for item in items}
    label = "" if columns.label is None else f', "y_" + part: table.iloc[:, {columns.label}].to_numpy().astype(str)'
    words = {"FILES": files, "CUT": repr(cut), "HEADER": 0 if columns.names else None, "LABEL": label}
    return filled(frames["table"], words | {"PIXELS": f"{pixels[0]}:{pixels[-1] + 1}"}), "mine.npz"


def filled(line, words):
    """A line of foreign.toml with something in place of each word in capitals."""
    for word, value in words.items():
        line = line.replace(word, str(value))
    return line


def refuse(item):
    """Raise UserError for an Item that holds no images that can be read here, and say what makes some of it."""
    path, what, advice = item.path, "file", "give an .npz, .npy, .csv or IDX file, or a folder of pictures"
    if item.kind == "archive":
        raise UserError(f"{path} is an archive: unpack it, and give the folder.")
    if item.how:
        first, second, made = item.how
        places = {"HERE": Path(__file__).parents[2], "FILE": path, "FOLDER": path.parent, "UPPER": path.parent.parent}
        lines = filled(f"`{first}` and `{second}`", {word: place.as_posix() for word, place in places.items()})
        trust = ", if you trust it, as a pickle can run any program" if "pickle" in first or "torch" in first else ""
        raise UserError(f"{path} is not read here: convert it{trust}, with {lines}, and give {made}.")
    if item.form == "table":
        what, advice = "table", "give one row an image"
    reason = item.reason or "it is of no format that is known here"
    raise UserError(f"{path} is not a readable {what} of images ({reason}): {advice}.")
