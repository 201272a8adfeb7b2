"""Files that may come from anywhere: what is asked for is read, within bounds, and nothing else happens.

A file that is read here is an ordinary one (a pipe would wait for ever), and opened once. The arrays of an .npz file
are looked at before they are read: a small file may claim to hold more than the memory.
"""

import errno
import json
import math
import os
import stat
import warnings
import zipfile

import numpy as np
from numpy.lib import format as npy

from parts import UserError


def open_file(path):
    """Open an ordinary file to read its bytes. Raises OSError, also for a folder, a pipe or a device."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return open(descriptor, "rb")


def is_there(path, what, advice):
    """Raise UserError unless `path` is an ordinary file that can be read; `what` it should be, and what else to do."""
    try:
        open_file(path).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UserError(f"There is no {what} {path} that can be read ({reason}): {advice}.") from error


def read_json(path, at_most=2**24):
    """What a JSON file of at most so many bytes holds. Raises OSError or ValueError."""
    with open_file(path) as file:
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise ValueError(f"it has more than {at_most:,} bytes")
    return parse_json(content)


def parse_json(text):
    """What a JSON text, str or bytes, holds. Raises ValueError."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it has too many brackets") from error


def read_arrays(path, wanted, at_most=2**30):
    """The arrays of an .npz file that are wanted, {name: array}, without those that it lacks.

    wanted: {name: (kinds, shape)}: the letters of the dtypes that an array may have ("f" for floats, "iu" for whole
    numbers, "U" for text), and its shape, with None for any length; or None for any array that can be read.
    at_most: bytes of all of them together. Raises OSError or ValueError for what is not as it should be, also for NaN
    and infinity where a kind is declared, and MemoryError for what is larger.
    """
    arrays = {}
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive, warnings.catch_warnings(action="ignore"):
            members = {member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")}
            for name in members & {*wanted}:
                with archive.open(f"{name}.npy") as member:
                    at_most -= check_header(member, name, wanted[name])
                if at_most < 0:
                    raise MemoryError
                with archive.open(f"{name}.npy") as member:
                    arrays[name] = npy.read_array(member, allow_pickle=False)
                if wanted[name] is not None and arrays[name].dtype.kind == "f" and not np.isfinite(arrays[name]).all():
                    raise ValueError(f"{name} is not finite")
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:  # a damaged or encrypted archive fails in many ways
        raise ValueError(f"it is damaged: {error}") from error
    return arrays


def check_header(file, name, declared):
    """How many bytes an array in an open .npy file says to take. Raises ValueError unless it is as declared."""
    version = npy.read_magic(file)
    shape, _, dtype = npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
    if declared is not None:
        kinds, expected = declared
        fits = len(shape) == len(expected) and all(b in (None, a) for a, b in zip(shape, expected, strict=True))
        if dtype.kind not in kinds or not fits:
            raise ValueError(f"{name} has dtype {dtype} and shape {shape}")
    return math.prod(shape) * dtype.itemsize
