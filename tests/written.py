"""Data sets of strokes, written in the ways in which people keep images; two files of tests read them."""

import gzip
import struct

import numpy as np
from PIL import Image


def strokes():
    """Strokes in ten classes: x_train (40, 28, 28), y_train (40,), x_test (20, 28, 28), y_test (20,), all uint8."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 10
    images = np.zeros((60, 28, 28), "uint8")
    for image, label in zip(images, labels, strict=True):
        image[4 + label : 8 + label, 6:22] = rng.integers(100, 256, (4, 16))
    images[:, 5, 5] = 255
    return {"x_train": images[:40], "y_train": labels[:40], "x_test": images[40:], "y_test": labels[40:]}


def colour(x):
    return np.repeat(x[..., None], 3, axis=-1)


def idx(array):
    sizes = b"".join(struct.pack(">I", size) for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype("uint8").tobytes()


X, Y, T, S = strokes().values()  # the images and labels of the training and the test part


# A writer writes a data set, strokes() if it has a choice, to a folder, and returns the path to give.


def npz(**arrays):
    return lambda _, place: np.savez(place / "a.npz", **arrays) or place / "a.npz"


def npz_of(images=lambda x: x, labels=lambda y: y):
    """What writes the four arrays, changed."""
    return npz(x_train=images(X), y_train=labels(Y), x_test=images(T), y_test=labels(S))


def npy(array, name="a.npy"):
    return lambda _, place: np.save(place / name, array) or place / name


def file(name, content):
    """What writes text or bytes."""

    def write(_, place):
        (place / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return place / name

    return write


def table(*rows):
    """What writes a table: a row is a list, or text of which each character is a cell."""
    return file("a.csv", "\n".join(",".join(map(str, row)) for row in rows))


def several(*writers):
    """What writes all of it, for the folder to be given."""

    def write(a, place):
        for one in writers:
            one(a, place)
        return place

    return write


def picture(name):
    return lambda a, place: Image.fromarray(X[0]).save(place / name) or place / name


def write_idx(prefix="", pack=bytes, ending="", dash="-"):
    def write(a, place):
        turn = 1 if prefix else 0  # EMNIST's columns come first
        for part, name in (("train", "train"), ("test", "t10k" if not prefix else "test")):
            x = a[f"x_{part}"].swapaxes(1, 2) if turn else a[f"x_{part}"]
            (place / f"{prefix}{name}-images{dash}idx3-ubyte{ending}").write_bytes(pack(idx(x)))
            (place / f"{prefix}{name}-labels{dash}idx1-ubyte{ending}").write_bytes(pack(idx(a[f"y_{part}"])))
        return place

    return write


def write_four_npz(a, place):
    for part in ("train", "test"):
        np.savez(place / f"k49-{part}-imgs.npz", a[f"x_{part}"])
        np.savez(place / f"k49-{part}-labels.npz", a[f"y_{part}"])
    return place


def write_four_npy(a, place):
    for key, array in a.items():
        np.save(place / f"{key}.npy", array)
    return place


def write_pictures(suffix, **how):
    def write(a, place):
        for part in ("train", "test"):
            for number, (x, y) in enumerate(zip(a[f"x_{part}"], a[f"y_{part}"], strict=True)):
                folder = place / ("training" if part == "train" else "testing") / str(y)
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(x).save(folder / f"{number}{suffix}", **how)
        return place

    return write


def write_tables(a, place, separator=",", titled=True, last=False):
    for part in ("train", "test"):
        x, y = a[f"x_{part}"].reshape(-1, 784), a[f"y_{part}"][:, None]
        rows = np.concatenate([x, y] if last else [y, x], axis=1)
        pixels = [f"pixel{i}" for i in range(784)]
        names = separator.join([*pixels, '"label"'] if last else ['"label"', *pixels])
        np.savetxt(place / f"{part}.csv", rows, "%d", separator, header=names if titled else "", comments="")
    return place


MEDMNIST = {"train_images": X, "val_images": T, "test_images": T, "train_labels": Y, "val_labels": S, "test_labels": S}
MEDMNIST = {name: colour(of) if of.ndim == 3 else of[:, None] for name, of in MEDMNIST.items()}
WHOLE = {  # how each writes the four arrays, and what is said of it
    "Keras": (npz_of(), ""),
    "flat": (npz_of(lambda x: x.reshape(len(x), -1)), ""),
    "channel last": (npz_of(lambda x: x[..., None]), ""),
    "channel first": (npz_of(lambda x: x[:, None]), ""),
    "capitals": (npz(X_train=X, y_train=Y, X_test=T, y_test=S), ""),
    "words joined": (npz(trainX=X, trainY=Y, testX=T, testY=S), ""),
    "colour": (npz_of(colour), "colour made grey"),
    "MedMNIST": (
        npz(**MEDMNIST),
        "6 arrays found: 4 taken, 2 left out (a validation part: 2, such as val_images);"
        " 80 images found: 60 taken, 20 left out (a validation part: 20, such as val_images); colour made grey",
    ),
    "labels in a column": (npz_of(labels=lambda y: y[:, None]), ""),
    "labels one-hot": (npz_of(labels=lambda y: np.eye(10)[y]), ""),
    "labels as floats": (npz_of(labels=lambda y: y.astype("f4")), ""),
    "labels as text": (npz_of(labels=lambda y: y.astype(str)), ""),
    "labels as bytes": (npz_of(labels=lambda y: y.astype("S")), ""),
    "floats to 255": (npz_of(lambda x: x.astype("f4")), "floats from 0 to 255 taken as whole grey values"),
    "IDX": (write_idx(), ""),
    "IDX packed": (write_idx(pack=gzip.compress, ending=".gz"), ""),
    "IDX with a dot": (write_idx(dash="."), ""),
    "EMNIST": (
        write_idx("emnist-digits-", gzip.compress, ".gz"),
        "EMNIST's transposed images turned"
        " (if they were upright, `x = x.reshape(-1, 28, 28).swapaxes(1, 2)` before saving them undoes it)",
    ),
    "Kuzushiji-49": (write_four_npz, ""),
    "four npy": (write_four_npy, ""),
    "PNG in folders": (write_pictures(".png"), ""),
    "BMP in folders": (write_pictures(".bmp"), ""),
    "tables": (write_tables, ""),
    "tables without names": (lambda a, place: write_tables(a, place, titled=False), "labels: column 1 of 785"),
    "tables, label last": (lambda a, place: write_tables(a, place, ";", last=True), ""),
    "tables, label last, no names": (
        lambda a, place: write_tables(a, place, "\t", titled=False, last=True),
        "labels: column 785 of 785",
    ),
    "tables cut by spaces": (lambda a, place: write_tables(a, place, " ", titled=False), "labels: column 1 of 785"),
}


def write_paths(paths):
    """What writes a picture to each of some paths."""

    def write(a, place):
        for number, path in enumerate(paths):
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(a["x_train"][number % 40]).save(place / path)
        return place

    return write


def write_list(text):
    """What writes thirty pictures, and beside them a table with a row for each; text: its rows, the last for a file."""

    def write(a, place):
        write_paths([f"images/{number}.png" for number in range(30)])(a, place)
        *head, row = text.splitlines(keepends=True)
        rows = [row.format(n, ("cat", "dog")[n % 2]) for n in range(30)]
        (place / "labels.csv").write_text("".join([*head, *rows]))
        return place

    return write


def write_stacks(suffix, **how):
    """What writes a file of thirty pages for each of two classes."""

    def write(a, place):
        for number, name in enumerate("ab"):
            pages = [Image.fromarray(x) for x in a["x_train"][number * 10 :][:30]]
            (place / name).mkdir()
            pages[0].save(place / name / f"all{suffix}", save_all=True, append_images=pages[1:], **how)
        return place

    return write


def write_layers(a, place):
    """Photoshop's pictures of two layers each, as its specification has them."""
    for number, x in enumerate(a["x_train"][:30]):
        layer = (
            struct.pack(">4iHhI", 0, 0, 28, 28, 1, 0, 2 + x.size) + b"8BIMnorm" + struct.pack(">4BI8x", 255, 0, 0, 0, 8)
        )
        layers = struct.pack(">h", 2) + 2 * layer + 2 * (b"\0\0" + x.tobytes())
        section = struct.pack(">I", len(layers)) + layers + bytes(4)
        head = b"8BPS" + struct.pack(">H6xH2I2H8x", 1, 1, 28, 28, 8, 1)
        (place / f"{number}.psd").write_bytes(head + struct.pack(">I", len(section)) + section + b"\0\0" + x.tobytes())
    return place


def write_single_arrays(a, place):
    """An array of one image a file, in folders of two classes."""
    for number, x in enumerate(a["x_train"]):
        (place / "ab"[number % 2]).mkdir(exist_ok=True)
        np.save(place / "ab"[number % 2] / f"{number}.npy", x)
    return place


def write_arrays_of_classes(a, place):
    for number, name in enumerate(("bird", "cat", "dog")):
        np.save(place / f"full_numpy_bitmap_{name}.npy", a["x_train"][number::3].reshape(-1, 784))
    return place


def write_tables_apart(a, place):
    """Images in a table, and labels in another."""
    for part in ("train", "test"):
        np.savetxt(place / f"{part}_images.csv", a[f"x_{part}"].reshape(-1, 784), "%d", ",")
        np.savetxt(place / f"{part}_labels.csv", a[f"y_{part}"], "%d")
    return place


PATHS = {  # relative paths: the parts, the classes, and how many are left out
    "subfolders inside a class": (
        [f"{c}/{sub}{i}.png" for c in "ab" for sub in ("", "old/") for i in range(3)],
        "a b",
        0,
    ),
    "pictures beside a subfolder": ([*(f"{i}.png" for i in range(9)), "old/9.png", "old/10.png"], "", 0),
    "a stray picture": ([*(f"{c}/{i}.png" for c in "ab" for i in range(9)), "sample.png"], "a b", 1),
    "Omniglot": (
        [f"images_background/{a}/character0{c}/{i}.png" for a in ("Greek", "Latin") for c in "12" for i in "12"],
        "Greek Latin",
        0,
    ),
    "Omniglot, both parts": (
        [
            f"images_{p}/{a}/character0{c}/{i}-{'test' * (p == 'evaluation')}.png"
            for p in ("background", "evaluation")
            for a in ("Greek", "Latin")
            for c, i in ("12", "21")
        ],
        "Greek Latin",
        0,
    ),
    "Tiny ImageNet": (
        [
            *(f"train/{c}/images/{i}.png" for c in ("n01", "n02") for i in range(9)),
            *(f"val/images/{i}.png" for i in range(4)),
        ],
        "n01 n02",
        4,
    ),
    "a logo beside the folder": (["logo.png", *(f"data/imgs/{i}.png" for i in range(19))], "", 0),
    "Intel's scenes": (
        [f"seg_{p}/seg_{p}/{c}/{i}.png" for p in ("train", "test") for c in ("sea", "street") for i in "12"],
        "sea street",
        0,
    ),
    "Kaggle's words": ([f"{p}/{c}/{i}.png" for p in ("trainingSet", "testSet") for c in "01" for i in "12"], "0 1", 0),
    "Train and training": (
        [f"{p}/{c}/{i}.png" for p in ("Train", "training", "test") for c in "ab" for i in "12"],
        "a b",
        0,
    ),
    "test pictures without classes": (
        [*(f"train/{c}/{i}.png" for c in "ab" for i in range(9)), "test/1.png"],
        "a b",
        1,
    ),
    "a class named train": ([f"{c}/{i}.png" for c in ("bus", "car", "train") for i in "123"], "bus car train", 0),
    "masks": ([f"{kind}/{i}.png" for kind in ("images", "masks") for i in range(9)], "", 9),
    "an archive's own folder": ([f"data/data/{c}/{i}.png" for c in "ab" for i in "123"], "a b", 0),
    "classes above parts": ([f"{c}/{p}/{i}.png" for c in "ab" for p in ("train", "test") for i in "123"], "a b", 0),
}

LISTS = {
    "label": "file_name,label\n{}.png,{}\n",
    "stems": "id,breed\n{},{}\n",
    "no names of columns": "{}.png {}\n",
    "paths": "path,species,age\nimages/{}.png,{},7\n",
}

ALL = {name: write for name, (write, _) in WHOLE.items()}  # every layout: what writes it
ALL |= {
    name: write_paths([p.replace(".png", f"-{n}.png") for p in paths for n in range(4)])
    for name, (paths, _, _) in PATHS.items()
}
ALL |= {f"a table beside pictures, {name}": write_list(text) for name, text in LISTS.items()}
ALL |= {f"pages of {s}": write_stacks(s) for s in (".tif", ".gif", ".png", ".webp")}
ALL |= {"views of a photo": write_stacks(".mpo"), "layers of Photoshop": write_layers}
ALL |= {"an array a picture": write_single_arrays, "an array a class": write_arrays_of_classes}
ALL |= {"tables of images and of labels": write_tables_apart}
