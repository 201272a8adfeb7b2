"""Files that may come from anywhere: what is asked for is read, within bounds, and nothing else happens.

A file that is read here is an ordinary one (a pipe would wait for ever). Arrays are looked at before they are read: a
small file may claim to hold more than the memory.
"""

import contextlib
import errno
import gzip
import json
import math
import os
import re
import stat
import warnings
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from seevae.basics import UserError

IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # by the third byte of the file


def free_memory():
    """How many bytes a program can still take here, as far as Linux tells; infinity elsewhere."""
    free = math.inf
    with contextlib.suppress(OSError, TypeError, ValueError):
        free = 1024 * int(re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
        free = min(free, int(Path("/sys/fs/cgroup/memory.max").read_text()))  # a container's own limit, or "max"
    return free


def hold_in_memory(size):
    """Raise MemoryError unless so many bytes fit into the memory."""
    if size > free_memory():
        raise MemoryError


def open_file(path):
    """Open an ordinary file to read its bytes. Raises OSError, also for a folder, a pipe or a device."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return open(descriptor, "rb")


@contextlib.contextmanager
def damage_as_value_error():
    """A context in which whatever a library raises for a damaged file becomes a ValueError."""
    try:
        yield
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:  # in many ways: of zlib, of a header that is no Python, of an encrypted archive
        raise ValueError(f"it is damaged: {' '.join(str(error).split())[:100]}") from error


@contextlib.contextmanager
def opened_unpacked(path):
    """A context that opens an ordinary file to read its bytes, unpacked if gzip packed them.

    Raises OSError, and ValueError for what happens in the context with a damaged file.
    """
    with damage_as_value_error(), open_file(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        yield gzip.GzipFile(fileobj=file) if packed else file


def require_file(path, what, advice):
    """Raise UserError unless `path` is an ordinary file that can be read; `what` it should be, and what else to do."""
    try:
        open_file(path).close()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", error)
        raise UserError(f"There is no {what} {path!s:.300} that can be read ({reason}): {advice}.") from error


def read_json(path, at_most=2**24):
    """What a JSON file of at most so many bytes holds. Raises OSError or ValueError."""
    with open_file(path) as file:
        content = file.read(at_most + 1)
    if len(content) > at_most:
        raise ValueError(f"it has more than {at_most:,} bytes")
    try:
        return json.loads(content)
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
    with opened_npz(path) as (archive, members):
        for name in members & {*wanted}:
            with archive.open(f"{name}.npy") as member:
                shape, dtype = header(member)
                if wanted[name] and not is_as_declared(shape, dtype, *wanted[name]):
                    raise ValueError(f"{name} has dtype {dtype} and shape {shape}")
                at_most -= math.prod(shape) * dtype.itemsize
                if at_most < 0:
                    raise MemoryError
                member.seek(0)
                arrays[name] = npy.read_array(member, allow_pickle=False)
            if wanted[name] and dtype.kind == "f" and not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} is not finite")
    return arrays


@contextlib.contextmanager
def opened_npz(path):
    """A context that opens an .npz file: its ZipFile, and the names of its arrays. Raises OSError or ValueError."""
    quiet = warnings.catch_warnings(action="ignore")
    with damage_as_value_error(), open_file(path) as file, zipfile.ZipFile(file) as archive, quiet:
        yield archive, {member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")}


def header(file):
    """The shape and the dtype that an open .npy file claims to hold. Raises ValueError."""
    version = npy.read_magic(file)
    shape, _, dtype = npy.read_array_header_1_0(file) if version == (1, 0) else npy.read_array_header_2_0(file)
    return shape, dtype


def is_as_declared(shape, dtype, kinds, expected):
    """Whether an array has one of the kinds, and the shape that is expected; see read_arrays."""
    fits = len(shape) == len(expected) and all(b in (None, a) for a, b in zip(shape, expected, strict=True))
    return dtype.kind in kinds and fits


def read_npy(path):
    """The array of an .npy file. Raises OSError or ValueError. Never unpickles."""
    with opened_unpacked(path) as file, warnings.catch_warnings(action="ignore"):
        return npy.read_array(file, allow_pickle=False)


def read_idx(path, at_most=math.inf):
    """The array of an IDX file, packed with gzip or not, the format of MNIST's own four files.

    Raises OSError or ValueError for a file of another kind or length, and MemoryError for more than `at_most` bytes.
    """
    with opened_unpacked(path) as file:
        shape, dtype = idx_header(file)
        claimed = math.prod(shape) * dtype.itemsize
        if claimed > at_most:
            raise MemoryError
        content = np.empty(claimed, "uint8")  # takes memory as far as it is filled
        if file.readinto(content) != claimed or file.read(1):
            raise ValueError(f"it claims to hold {claimed:,} bytes after its header, and does not")
        return content.view(dtype).reshape(shape)


def idx_header(file):
    """The shape and the dtype that an open IDX file claims to hold. Raises ValueError."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES or not 1 <= start[3] <= 4:
        raise ValueError("it does not begin as an IDX file")
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise ValueError("its header is cut short")
    return tuple(np.frombuffer(sizes, ">u4").tolist()), np.dtype(IDX_TYPES[start[2]])
