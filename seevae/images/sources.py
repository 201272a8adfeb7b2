"""What a file is: it is looked at once, and known by its first bytes, or by its name where these do not tell."""

import contextlib
import zipfile
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from seevae.basics import UserError
from seevae.images.reading import (
    header,
    hold_in_memory,
    idx_header,
    list_arrays,
    open_file,
    opened_unpacked,
    read_arrays,
    read_idx,
    read_npy,
)

STRONG = "AVIF BLP BMP DDS GIF ICNS ICO JPEG JPEG2000 MSP PCX PNG PPM PSD QOI SGI SUN TIFF WEBP"  # by first bytes
FORMATS = (
    *STRONG.split(),
    "DIB",
    "IM",
    "SPIDER",
    "TGA",
    "XBM",
)  # the others by name; of Pillow, those that run nothing
TABLES = (".csv", ".tsv", ".txt", ".amat")
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".7z", ".rar")
# What is not read here, and two lines of Python that convert it; FILE stands for the path, FOLDER for its folder.
NPZ = 'numpy.savez("mine.npz", '
NAMES = '"x_train y_train x_val y_val x_test y_test".split()'
FLAT = f"{NPZ}**dict(found if isinstance(found, dict) else zip({NAMES}, [array for part in found for array in"
FLAT += " (part if isinstance(part, (list, tuple)) and len(part) == 2 else [part])])))"
PICKLE = ('import gzip, numpy, pickle; found = pickle.load(OPEN("FILE", "rb"), encoding="latin1")', FLAT)
CIFAR = (
    'import glob, numpy, pickle; parts = {key: [pickle.load(open(file, "rb"), encoding="bytes") for name in names for'
    ' file in sorted(glob.glob("FOLDER/" + name))] for key, names in dict(train=["data_batch_*", "train"],'
    ' test=["test_batch", "test"]).items()}',
    f'{NPZ}**{{f"x_{{key}}": numpy.concatenate([part[b"data"] for part in parts[key]]).reshape(-1, 3, 32, 32) for key'
    ' in parts}, **{f"y_{key}": numpy.concatenate([part.get(b"labels", part.get(b"coarse_labels")) for part in'
    " parts[key]])"
    " for key in parts})",
)
PARQUET = (
    "import glob, io, numpy, pandas, PIL.Image; tables = {part: pandas.concat([pandas.read_parquet(file) for file in"
    ' sorted(files)]) for part in ("train", "test") if (files := glob.glob("FOLDER/" + part + "*.parquet") or'
    ' (part == "train" and ["FILE"]))}; picture = lambda cell: numpy.array(PIL.Image.open(io.BytesIO(cell["bytes"]))'
    '.convert("L").resize((28, 28)))',
    f'{NPZ}**{{"x_" + part: [picture(cell) for name in rows if isinstance(rows[name].iloc[0], dict) for cell in'
    ' rows[name]] for part, rows in tables.items()}, **{"y_" + part: rows[[name for name in rows if "label" in'
    " name][0]] for part, rows in tables.items()})",
)
TO_CONVERT = {
    "data_batch_1": CIFAR,
    "test_batch": CIFAR,
    ".pkl": (PICKLE[0].replace("OPEN", "open"), FLAT),
    ".pkl.gz": (PICKLE[0].replace("OPEN", "gzip.open"), FLAT),
    ".pt": ('import numpy, torch; found = torch.load("FILE")', FLAT),
    ".tfrecord": (
        "import numpy, tensorflow as tf; rows = [tf.train.Example.FromString(row.numpy()).features.feature"
        ' for row in tf.data.TFRecordDataset("FILE")]',
        f'{NPZ}images=[tf.io.decode_image(row["image"].bytes_list.value[0]) for row in rows],'
        ' labels=[row["label"].int64_list.value[0] for row in rows])',
    ),
    ".parquet": PARQUET,
    ".xlsx": ("import pandas", 'pandas.read_excel("FILE").to_csv("mine.csv", index=False)'),
}
TO_CONVERT |= {".pickle": TO_CONVERT[".pkl"], ".pth": TO_CONVERT[".pt"], ".xls": TO_CONVERT[".xlsx"]}
PICKLES = (".pkl", ".pkl.gz", ".pickle", ".pt", ".pth", "_batch_1", "_batch")


class Array(NamedTuple):
    """One array in a file: its name there, shape and dtype, and a function that reads it."""

    name: str
    shape: tuple
    dtype: np.dtype
    read: object


class Source(NamedTuple):
    """A file. kind: "npz", "npy", "idx", "hdf5", "mat", "table", "picture", "foreign", "archive", "unreadable",
    "other".

    arrays: an Array each; reason: why it cannot be read.
    """

    path: Path
    kind: str
    arrays: tuple = ()
    reason: str = ""


def look(path):
    """The Source that a file is. What cannot be opened is one too, with the reason."""
    try:
        with opened_unpacked(path) as file:
            start = file.read(600)
        kind = kind_of(start, path)
        return Source(path, kind, tuple(ARRAYS[kind](path)) if kind in ARRAYS else ())
    except (OSError, ValueError) as error:
        kind = "picture" if is_picture(b"", path) else "unreadable"  # one that is lost counts as one
        return Source(path, kind, (), getattr(error, "strerror", None) or str(error))


def kind_of(start, path):
    """What a file is, from its first bytes, unpacked if they were packed by gzip."""
    name = path.name.lower()
    if start[:4] == b"PK\3\4":
        return kind_of_zip(path, name)
    if start[:6] == b"\x93NUMPY":
        return "npy"
    if start[:2] == b"\0\0" and start[2:3] in b"\x08\x09\x0b\x0c\x0d\x0e" and 1 <= start[3] <= 4:
        return "idx"
    if b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:520]):
        return "hdf5"
    if start[:10] == b"MATLAB 5.0" or name.endswith(".mat"):
        return "mat"
    if name.endswith(ARCHIVES):
        return "archive"
    if to_convert(start, name):
        return "foreign"
    if is_picture(start, path):
        return "picture"
    return "table" if Path(name.removesuffix(".gz")).suffix in TABLES else "other"


def kind_of_zip(path, name):
    if name.endswith((".xlsx", ".pt", ".pth")):
        return "foreign"
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        if not name.endswith(".npz") and not any(member.endswith(".npy") for member in archive.namelist()):
            return "archive"
    return "npz"


def is_picture(start, path):
    known, suffixes = picture_formats()
    return path.suffix.lower() in suffixes or any(accept(start[:16]) for accept in known)


@cache
def picture_formats():
    """What tells a picture: functions of its first 16 bytes, and suffixes."""
    Image.init()
    known = [Image.OPEN[name][1] for name in STRONG.split() if name in Image.OPEN]
    named = Image.registered_extensions().items()
    return known, {".spi", *(suffix for suffix, name in named if name in (*FORMATS, "MPO"))}


# -- Arrays ------------------------------------------------------------------------------------------------------------


def npz_arrays(path):
    for name, (shape, dtype) in list_arrays(path).items():
        yield Array(name, shape, dtype, lambda name=name: read_arrays(path, {name: None}, np.inf)[name])


def npy_array(path):
    with opened_unpacked(path) as file:
        shape, dtype = header(file)
    yield Array("", shape, dtype, partial(read_npy, path, np.inf))


def idx_array(path):
    with opened_unpacked(path) as file:
        shape, dtype = idx_header(file)
    yield Array("", shape, dtype, partial(read_idx, path, np.inf))


def hdf5_arrays(path):
    import h5py  # here, not above: few have such a file

    def read(name):
        with open_file(path) as opened, h5py.File(opened, "r") as file:
            return file[name][()].T if turned else file[name][()]

    with open_file(path) as opened, h5py.File(opened, "r") as file:
        turned = opened.seek(0) == 0 and opened.read(10) == b"MATLAB 7.3"  # its last axis comes first
        inside = []
        file.visititems(lambda name, thing: inside.append((name, thing)) if isinstance(thing, h5py.Dataset) else None)
        for name, data in inside:
            if data.shape is not None and not (data.external or data.is_virtual):  # those would read other files
                shape = data.shape[::-1] if turned else data.shape
                yield Array(name, shape, data.dtype, partial(read, name))


def mat_arrays(path):
    import scipy.io  # here, not above: few have such a file

    with open_file(path) as file:
        hold_in_memory(sum(8 * int(np.prod(shape, dtype=float)) for _, shape, _ in scipy.io.whosmat(file)))
        file.seek(0)
        found = scipy.io.loadmat(file, simplify_cells=True)
    stack = [(name, value) for name, value in found.items() if not name.startswith("__")]
    while stack:
        name, value = stack.pop(0)
        if isinstance(value, dict):
            stack += [(f"{name}/{key}", inner) for key, inner in value.items()]
        elif isinstance(value, np.ndarray):
            yield Array(name, value.shape, value.dtype, lambda value=value: value)


ARRAYS = {"npz": npz_arrays, "npy": npy_array, "idx": idx_array, "hdf5": hdf5_arrays, "mat": mat_arrays}


# -- What is not read --------------------------------------------------------------------------------------------------


def to_convert(start, name):
    """The lines that convert a file of another format, or None."""
    for ending, lines in TO_CONVERT.items():
        if name.endswith(ending) or f"{ending}-0" in name:
            return lines
    if start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5":
        return TO_CONVERT[".pkl.gz" if name.endswith(".gz") else ".pkl"]
    return TO_CONVERT[".parquet"] if start[:4] == b"PAR1" else None


def refuse_unread(source):
    """Raise UserError for a file of which nothing is read here."""
    if source.kind not in ("picture", "table", *ARRAYS):
        refuse(source)


def refuse(source):
    """Raise UserError for a file that holds no images that can be read here, and say what makes some of it."""
    path, name = source.path, source.path.name.lower()
    if source.kind == "archive":
        raise UserError(f"{path} is an archive: unpack it, and give the folder.")
    if source.kind == "foreign":
        with open_file(path) as file:
            first, second = to_convert(file.read(4), name)
        lines = f"`{first}` and `{second}`".replace("FILE", path.as_posix()).replace("FOLDER", path.parent.as_posix())
        trust = ", if you trust it, as a pickle can run any program" if "pickle." in first or "torch." in first else ""
        made = "mine.csv" if "mine.csv" in second else "mine.npz"
        raise UserError(f"{path} is not read here: convert it{trust}, with {lines}, and give {made}.")
    advice = "give an .npz, .npy, .csv or IDX file, or a folder of pictures"
    reason = source.reason or "it is of no format that is known here"
    raise UserError(f"{path} is not a readable file of images ({reason}): {advice}.")
