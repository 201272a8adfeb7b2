"""The layouts in which people keep images: each, written as its public data sets have it, gives the same images."""

import gzip
import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image
from written import (
    WHOLE,
    S,
    T,
    X,
    Y,
    colour,
    expand,
    file,
    idx,
    npy,
    npz,
    picture,
    several,
    strokes,
    table,
    write_idx,
    write_paths,
    write_pictures,
    write_single_arrays,
    write_tables,
    write_tables_apart,
)

import vae_mnist
from seevae.basics import UserError
from seevae.images import tables, words
from seevae.images.converting import read_picture
from seevae.images.data import DIGITS, load_data
from seevae.images.words import Role


@pytest.fixture
def arrays():
    return strokes()


@pytest.mark.parametrize(("write", "said"), [*WHOLE.values(), (write_tables_apart, "")], ids=[*WHOLE, "tables apart"])
def test_a_whole_data_set_is_read_in_every_layout(write, said, arrays, tmp_path):
    dataset = load_data(write(arrays, tmp_path))
    assert (dataset.classes, "; ".join(dataset.said)) == (DIGITS, said)
    for part in ("train", "test"):
        images, labels = getattr(dataset, f"x_{part}"), getattr(dataset, f"y_{part}")
        order = np.lexsort((*(255 * images[:]).round().T, labels))  # pictures come in the order of their classes
        expected = arrays[f"x_{part}"].reshape(-1, 784)
        first = np.lexsort((*expected.T.astype(float), arrays[f"y_{part}"]))
        np.testing.assert_array_equal((255 * images[:]).round()[order], expected[first])
        np.testing.assert_array_equal(labels[order], arrays[f"y_{part}"][first])


@pytest.mark.parametrize(("columns_first", "said"), [(True, "transposed images turned"), (False, "upright already")])
@pytest.mark.parametrize("ending", [".npz", ".npy", ".h5", ".csv"])
def test_emnist_in_a_file_that_somebody_made_is_turned_if_it_lies(columns_first, said, ending, sample, tmp_path):
    """Real digits: upright ones are taller than wide."""
    digits = (255 * sample.x_train[:300]).round().astype("u1").reshape(-1, 28, 28)
    written = digits.swapaxes(1, 2) if columns_first else digits
    path = tmp_path / f"emnist-letters{ending}"
    if ending == ".h5":
        with h5py.File(path, "w") as file:
            file["train/images"] = written
    elif ending == ".csv":
        np.savetxt(path, written.reshape(-1, 784), "%d", ",")
    else:
        (np.savez if ending == ".npz" else np.save)(path, written)
    dataset = load_data(path)
    assert any(said in words for words in dataset.said)
    taken = np.concatenate([dataset.x_train[:], dataset.x_test])
    assert {row.tobytes() for row in (255 * taken).round().astype("u1")} == {row.tobytes() for row in digits}


def test_letters_are_known_by_the_numbers_of_images(arrays, tmp_path):
    np.save(tmp_path / "letters.npy", np.resize(arrays["x_train"], (20_800, 784)))
    assert any("EMNIST" in words for words in load_data(tmp_path / "letters.npy").said)
    np.save(tmp_path / "letters.npy", np.resize(arrays["x_train"], (20_801, 784)))
    assert not any("EMNIST" in words for words in load_data(tmp_path / "letters.npy").said)


def test_labels_in_folders_and_single_arrays_belong_to_their_images(arrays, tmp_path):
    for kind, key in (("images", "x"), ("labels", "y")):
        (tmp_path / "set" / kind).mkdir(parents=True)
        for part in ("train", "test"):
            np.save(tmp_path / "set" / kind / f"{part}.npy", arrays[f"{key}_{part}"])
    dataset = load_data(tmp_path / "set")
    assert (dataset.classes, dataset.said) == (DIGITS, ())
    np.testing.assert_array_equal(dataset.y_test, arrays["y_test"])
    (tmp_path / "singles").mkdir()
    dataset = load_data(write_single_arrays(arrays, tmp_path / "singles"))
    assert (dataset.classes, len(dataset.x_train) + len(dataset.x_test)) == (("a", "b"), 40)


def test_matlabs_flat_images_that_fit_either_way_are_refused(tmp_path):
    """Olivetti's faces: (4096, 400) may be 400 images of 64 x 64, or 4,096 of 20 x 20."""
    scipy.io.savemat(tmp_path / "faces.mat", {"faces": np.arange(256 * 36, dtype="u1").reshape(256, 36)})
    with pytest.raises(UserError, match=r"two readings: 256 images of 36 values, or the other way round"):
        load_data(tmp_path / "faces.mat")


def test_a_small_picture_that_unpacks_to_much_is_not_unpacked(tmp_path):
    Image.new("L", (5000, 5000)).save(tmp_path / "0.png")
    assert (tmp_path / "0.png").stat().st_size < 2**15
    with pytest.raises(UserError, match=r"No picture in .* unpacks to far more than the file holds"):
        load_data(tmp_path)


def a_torchvision_root(a, place):
    (place / "MNIST" / "raw").mkdir(parents=True)
    write_idx()(a, place / "MNIST" / "raw")
    write_idx(pack=gzip.compress, ending=".gz")(a, place / "MNIST" / "raw")
    return place


def test_torchvision_keeps_each_file_twice_in_a_folder_of_its_own(arrays, tmp_path):
    dataset = load_data(a_torchvision_root(arrays, tmp_path))
    assert (len(dataset.x_train), len(dataset.x_test)) == (40, 20)


def test_one_of_several_data_sets_in_a_folder_is_named_by_its_files(arrays, tmp_path):
    for name in ("emnist-letters-", "emnist-digits-"):
        write_idx(name)(arrays, tmp_path)
    with pytest.raises(UserError, match=r"cannot be told which of emnist-digits, emnist-letters to take"):
        load_data(tmp_path)
    assert len(load_data(tmp_path / "emnist-letters").x_train) == 40


def inside(write, name):
    """What writes a folder, for something inside to be given."""
    return lambda a, place: write(a, place) / name


PARTS_ALONE = {
    "one array": (npz(arr_0=X), False),
    "savez of two": (npz(arr_0=X, arr_1=Y), True),
    "Keras's, no labels": (npz(x_train=X, more=np.zeros(3)), False),
    "images and labels": (npz(images=X, labels=Y), True),
    "dSprites": (npz(imgs=X // 128, latents_classes=np.zeros((40, 6)), metadata=np.array({})), False),
    "Quick, Draw!": (npy(X.reshape(-1, 784), "cat.npy"), False),
    "one IDX file": (file("x.idx", idx(X)), False),
    "images of a pair": (inside(write_idx(), "train-images-idx3-ubyte"), True),
    "labels of a pair": (inside(write_idx(), "train-labels-idx1-ubyte"), True),
    "a table of another name": (
        file("zip.train", "\n".join(" ".join(map(str, [y, *x.flat])) for x, y in zip(X, Y, strict=True))),
        True,
    ),
    "one table": (inside(write_tables, "train.csv"), True),
    "classes in folders": (inside(write_pictures(".png"), "training"), True),
    "a folder of one class": (inside(write_pictures(".png"), "training/3"), False),
}


@pytest.mark.parametrize(("write", "labelled"), PARTS_ALONE.values(), ids=PARTS_ALONE)
def test_without_a_held_out_part_a_sixth_is_drawn_by_the_seed(write, labelled, arrays, tmp_path):
    path = write(arrays, tmp_path)
    one, other = load_data(path), load_data(path, seed=1)
    n = len(one.x_train) + len(one.x_test)
    assert len(one.x_test) == max(1, n // 6)
    assert f"no held-out part: {n // 6 or 1} of {n} held out, drawn by the seed 0" in one.said
    assert bool(one.classes) == bool(labelled)
    assert ("no labels: one colour" in one.said) == (not labelled)
    whole = [{row.tobytes() for row in np.concatenate([d.x_train[:], d.x_test])} for d in (one, other)]
    assert whole[0] == whole[1], "each image is there once, whatever the seed"
    assert len(whole[0]) == n
    if n > 10:
        assert not np.array_equal(one.x_test, other.x_test)
    if labelled:  # a label stays with its image
        rows = 4 + one.y_train
        assert all(image.reshape(28, 28)[row + 2, 6] > 0 for image, row in zip(one.x_train[:], rows, strict=True))


def test_kaggles_test_table_without_labels_is_left_out(arrays, tmp_path):
    write_tables(arrays, tmp_path)
    rows = (tmp_path / "test.csv").read_text().splitlines()
    (tmp_path / "test.csv").write_text("\n".join(row.split(",", 1)[1] for row in rows))
    assert load_data(tmp_path).said[0] == "2 files found: 1 taken, 1 left out (a part without labels: test.csv)"


@pytest.mark.parametrize(
    ("first", "last", "chosen"),
    [
        ("0", "0 1 2", 1),  # a pixel in the corner, and classes
        ("3 1 2", "0", 0),
        ("3 1 2", "0 9 5", 0),  # both may be: the first
        ("7 80 9", "round square", 1),  # text
        ("cat dog", "7 80 9", 0),
        (" ".join(map(str, range(200))), "0 1 2", 1),  # more values than classes
        ("0", " ".join(map(str, range(200))), 0),
    ],
)
def test_the_column_of_labels_without_a_name(first, last, chosen):
    first, last = first.split(), last.split()
    rows = [[first[k % len(first)], "5", last[k % len(last)]] for k in range(200)]
    assert tables.first_or_last(rows, [0, 1, 2]) == (2 if chosen else 0)


def test_names_of_classes_are_those_of_folders_or_labels(arrays, tmp_path):
    for name in ("cat", "dog", "10", "9"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(arrays["x_train"][number]).save(tmp_path / name / f"{number}.jpg")
    (tmp_path / "9" / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "dog" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / ".DS_Store").write_bytes(b"")
    dataset = load_data(tmp_path)
    assert dataset.classes == ("9", "10", "cat", "dog")
    assert [*dataset.account["files"]["left_out"].values()] == [2, 1, 1]  # hidden; a table; damaged
    np.savez(tmp_path / "two.npz", images=arrays["x_train"], labels=np.where(arrays["y_train"] > 4, 7, -3))
    assert load_data(tmp_path / "two.npz").classes == ("-3", "7")


def test_pictures_of_every_kind_show_ink_on_paper(tmp_path):
    """A black square on white, as a file of each kind; and on nothing, in 16 bits, in the colours of a palette."""
    square = np.full((56, 56), 255, "uint8")
    square[14:42, 14:42] = 0
    expected = np.zeros((28, 28))
    expected[7:21, 7:21] = 1
    grey = Image.fromarray(square)
    clear = Image.new("RGBA", (56, 56), (0, 0, 0, 0))
    clear.paste((0, 0, 0, 255), (14, 14, 42, 42))
    wide = Image.new("L", (112, 56), 255)
    wide.paste(0, (42, 14, 70, 42))  # centred, at half the size
    pictures = {
        "grey.png": grey,
        "colour.png": grey.convert("RGB"),
        "palette.gif": grey.convert("P"),
        "bits.png": grey.convert("1"),
        "clear.png": clear,
        "deep.png": Image.fromarray(square.astype("uint16") * 257),
        "grey.jpg": grey,
        "light.png": Image.fromarray(255 - square),  # light on dark already
    }
    for name, written in pictures.items():
        written.save(tmp_path / name)
        image, _ = read_picture(tmp_path / name)
        assert np.abs(image / 255 - expected).max() < (0.2 if name.endswith("jpg") else 0.01), name
    wide.save(tmp_path / "wide.png")
    image, _ = read_picture(tmp_path / "wide.png")
    assert np.abs(image / 255 - np.pad(expected[::2, ::2], 7)).mean() < 0.03
    bar = Image.new("L", (56, 56), 255)
    bar.paste(0, (8, 8, 16, 48))  # at the left; the camera was turned, so it is at the top
    bar.save(tmp_path / "turned.jpg", exif=exif_turned(bar))
    image, _ = read_picture(tmp_path / "turned.jpg")
    assert image[4:8, 4:24].min() > 200
    assert image[10:].max() < 50
    said = [read_picture(tmp_path / name)[1] for name in ("clear.png", "deep.png", "colour.png", "light.png")]
    small = "pictures of other sizes made 28 x 28"
    assert said == [
        ["transparent places made white", small, "dark on light inverted"],
        [small, "values to 65,535 taken as 0 to 65,535", "dark on light inverted"],
        ["colour made grey", small, "dark on light inverted"],
        [small],
    ]


def exif_turned(picture):
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was turned
    return exif


def test_a_large_image_is_averaged_and_a_small_one_grows(tmp_path):
    checks = np.zeros((4, 112, 112), "uint8")
    checks[:, 4::2] = 255  # finer than 28 x 28 can show: grey, below a black edge
    np.save(tmp_path / "large.npy", checks)
    large = load_data(tmp_path / "large.npy")
    np.testing.assert_allclose(large.x_test[0].reshape(28, 28)[1:-1, 1:-1], 0.5, atol=0.02)
    assert large.said[0] == "112 x 112 made 28 x 28"
    eight = np.zeros((4, 64), "uint8")
    eight[:, :32] = 255  # the upper half
    np.save(tmp_path / "small.npy", eight)
    grown = load_data(tmp_path / "small.npy").x_test[0].reshape(28, 28)
    assert grown[:12].min() == 1
    assert grown[16:].max() == 0


def test_truths_and_zeros_and_ones_become_black_and_white(arrays, tmp_path):
    for name, x in (("bool", arrays["x_train"] > 99), ("ones", (arrays["x_train"] > 99).astype("int64"))):
        np.save(tmp_path / f"{name}.npy", x)
        dataset = load_data(tmp_path / f"{name}.npy")
        assert dataset.said[0] == "0 and 1 made 0 and 255"
        assert set(np.unique(dataset.x_train[:])) == {0, 1}


def png(image):
    Image.fromarray(image).save(made := io.BytesIO(), "png")
    return made.getvalue()


def write_tfrecord(path):
    import tensorflow as tf

    features = tf.train.Feature
    with tf.io.TFRecordWriter(str(path)) as writer:
        for x, y in zip(X, Y, strict=True):
            row = {
                "image": features(bytes_list=tf.train.BytesList(value=[png(x)])),
                "label": features(int64_list=tf.train.Int64List(value=[y])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=row)).SerializeToString())


def write_parquet(path):
    import pandas

    for part, n in (("train", 40), ("test", 9)):
        pictures = [{"bytes": png(x), "path": ""} for x in X[:n]]
        rows = pandas.DataFrame({"image": pictures, "label": Y[:n]})
        rows.to_parquet(path.with_name(path.name.replace("train", part)))


def write_excel(path):
    import pandas

    pandas.DataFrame(X.reshape(-1, 784)).assign(label=Y).to_excel(path, index=False)


def write_arff(path):
    head = [
        "@RELATION mnist",
        *(f"@ATTRIBUTE pixel{k} REAL" for k in range(784)),
        "@ATTRIBUTE class {0,1,2,3,4,5,6,7,8,9}",
    ]
    rows = [",".join(map(str, [*x.flat, y])) for x, y in zip(X, Y, strict=True)]
    path.write_text("\n".join([*head, "@DATA", *rows]))


def write_pickle(path):
    path.write_bytes(gzip.compress(pickle.dumps(((X, Y),) * 3)))
    path.with_name("about.json").write_text("{}")


def write_cifar(path):
    for k, name in enumerate(("data_batch_1", "data_batch_2", "test_batch")):
        rows = {b"data": WIDE[k * 10 :][:20], b"labels": Y[k * 10 :][:20].tolist()}
        path.with_name(name).write_bytes(pickle.dumps(rows))


def write_cifar_100(path):
    path.write_bytes(pickle.dumps({b"data": WIDE, b"fine_labels": [*range(40)], b"coarse_labels": Y.tolist()}))


CIFAR = (write_cifar, write_cifar_100)
WIDE = np.repeat(X.reshape(-1, 784), 4, axis=1)[:, :3072]
CONVERTED = {  # files as public data sets have them: what writes each; what that needs; how many images arrive
    "mnist.pkl.gz": (write_pickle, "", 80),
    "data_batch_1": (write_cifar, "", 60),
    "train": (write_cifar_100, "", 40),
    "mine.tfrecord": (write_tfrecord, "tensorflow", 40),
    "train-00000-of-00001.parquet": (write_parquet, "pyarrow", 49),
    "mine.xlsx": (write_excel, "openpyxl", 40),
    "mnist_784.arff": (write_arff, "", 40),
    "mine.json": (lambda path: path.write_text(json.dumps({"x": X.tolist(), "y": Y.tolist()})), "", 40),
}


@pytest.mark.parametrize("name", CONVERTED)
@pytest.mark.slow
def test_other_formats_are_refused_with_lines_that_convert_them(name, tmp_path, monkeypatch):
    """The lines are run as they stand in the sentence, for the file and for its folder."""
    write, needs, count = CONVERTED[name]
    if needs:
        pytest.importorskip(needs)
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / name)
    for path in (tmp_path / "set" / name, tmp_path / "set"):
        trust = taken_by_the_lines(path, None if write in CIFAR else X, count, monkeypatch)
        assert trust == (write in CIFAR or "pkl" in name)


PICKLED = {  # what people pickle, of images and labels; and how many images arrive
    "Udacity's": (lambda x, y: {"train_dataset": x, "train_labels": y}, 40),
    "traffic signs": (lambda x, y: {"features": x, "labels": y, "sizes": np.stack([y, y + 1], axis=1)}, 40),
    "an array": (lambda x, y: x, 40),
    "a list of arrays": (lambda x, y: [*x], 40),
    "pairs of an image and a label": (lambda x, y: [*zip(x, y.tolist(), strict=True)], 40),
    "rows by name": (lambda x, y: [{"image": a, "label": b} for a, b in zip(x, y.tolist(), strict=True)], 40),
    "lists of images and of labels": (lambda x, y: ([*x], y.tolist()), 40),
    "images, labels, and their names": (lambda x, y: (x, y, {"classes": [*DIGITS]}), 40),
    "labels one-hot, in lists": (lambda x, y: (x, np.eye(10)[y].tolist()), 40),
    "four arrays": (lambda x, y: [x, y, x[:9], y[:9]], 49),
    "two pairs": (lambda x, y: ((x, y), (x[:9], y[:9])), 49),
    "three pairs": (lambda x, y: ((x, y), (x, y), (x[:9], y[:9])), 49),
    "a dict of bytes": (lambda x, y: {b"data": x, b"labels": y.tolist()}, 40),
    "a dict of parts": (lambda x, y: {"train": {"x": x, "y": y}, "test": {"x": x[:9], "y": y[:9]}}, 49),
    "images of many sizes": (lambda x, y: {"x": [a[: k % 2 + 27] for k, a in enumerate(x)], "y": y}, 40),
    "nested lists": (lambda x, y: {"x": x.tolist(), "y": y.tolist()}, 40),
}


@pytest.mark.parametrize("kind", PICKLED)
def test_the_lines_for_pickles_take_what_people_pickle(kind, tmp_path, monkeypatch):
    make, count = PICKLED[kind]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(make(X, Y)))
    process = kind == "an array"  # one of them as a user does
    taken_by_the_lines(tmp_path / "a.pkl", None if "sizes" in kind else X, count, monkeypatch, process)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*PICKLED, "a TensorDataset", "a tensor"])
def test_the_lines_for_torch_take_what_people_save(kind, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    x, y = torch.tensor(X), torch.tensor(Y)
    others = {"a TensorDataset": lambda x, y: torch.utils.data.TensorDataset(x, y), "a tensor": lambda x, y: x}
    make, count = PICKLED.get(kind) or (others[kind], 40)
    torch.save(make(x, y), tmp_path / "a.pt")
    taken_by_the_lines(tmp_path / "a.pt", None if "sizes" in kind else X, count, monkeypatch)


@pytest.mark.parametrize("labels", [1, 2])
def test_the_lines_for_the_binary_cifar_take_it(labels, arrays, tmp_path, monkeypatch):
    """CIFAR-100's rows begin with two labels. Its grey images arrive as they would from an array."""
    folder = tmp_path / "cifar"
    folder.mkdir()
    colours = np.repeat(np.pad(arrays["x_train"], ((0, 0), (2, 2), (2, 2)))[:, None], 3, 1).reshape(40, -1)
    rows = np.concatenate([*[arrays["y_train"][:, None]] * labels, colours], axis=1).astype("uint8")
    for name, part in {1: {"data_batch_1": 20, "data_batch_2": 20, "test_batch": 9}, 2: {"train": 40, "test": 9}}[
        labels
    ].items():
        rows[20 * name.endswith("2") :][:part].tofile(folder / f"{name}.bin")
    np.save(tmp_path / "x.npy", colours.reshape(-1, 3, 32, 32))
    expected = load_data(tmp_path / "x.npy")
    expected = (255 * np.concatenate([expected.x_train[:], expected.x_test])).round().astype("u1")
    for path in (folder, folder / "test_batch.bin" if labels == 1 else folder / "test.bin"):
        taken_by_the_lines(path, expected, 49, monkeypatch)


def taken_by_the_lines(path, images, count, monkeypatch, process=False):
    """Refuse a path, run the lines of the sentence, and take what they make: so many images, of these, with classes.

    Returns whether the sentence speaks of trust.
    """
    with pytest.raises(UserError, match=" is not read here: convert it") as error:
        load_data(path)
    monkeypatch.chdir(path.parent)
    lines = "\n".join(str(error.value).split("`")[1::2])
    if process:
        subprocess.run([sys.executable, "-c", lines], check=True)
    else:
        exec(lines, {})
    made = Path(str(error.value).removesuffix(".").split(" give ")[-1])
    dataset = load_data(made)
    assert len(dataset.x_train) + len(dataset.x_test) == count
    if images is not None:
        taken = (255 * np.concatenate([dataset.x_train[:], dataset.x_test])).round().astype("u1")
        assert {row.tobytes() for row in taken} == {row.tobytes() for row in images.reshape(len(images), -1)}
    alone = made.suffix == ".npz" and np.load(made).files == ["x"]
    assert dataset.classes == (() if alone else DIGITS)
    made.unlink()
    return "if you trust it" in str(error.value)


def mat(name, **arrays):
    return lambda place: scipy.io.savemat(place / name, arrays) or place / name


def hdf5(name, **arrays):
    def write(place):
        with h5py.File(place / name, "w") as of:
            for key, array in arrays.items():
                of[key.replace("_", "/")] = array
        return place / name

    return write


def cells(items):
    made = np.empty(len(items), object)
    made[:] = [*items]
    return made


FLAT, TURNED, HOT = X.reshape(-1, 784), X.transpose(0, 2, 1).reshape(-1, 784), np.eye(10)[Y]
LETTERS = {part: {"images": TURNED, "labels": Y[:, None], "writers": Y[:, None]} for part in ("train", "test")}
READ = {  # .mat and .h5 files, written as the best-known ones are: how many images arrive
    "EMNIST": (mat("emnist-letters.mat", dataset=LETTERS | {"mapping": np.ones((5, 2))}), 80),
    "MNIST": (mat("mnist-original.mat", data=FLAT.T, label=Y[None].astype(float)), 40),
    "SVHN": (mat("svhn.mat", X=np.moveaxis(colour(X), 0, -1), y=Y[:, None]), 40),
    "chardata": (mat("chardata.mat", data=TURNED.T, target=HOT.T, testdata=TURNED.T, testtarget=HOT.T), 80),
    "USPS": (hdf5("usps.h5", train_data=FLAT / 255, train_target=Y, test_data=FLAT / 255, test_target=Y), 80),
    "Yale": (mat("Yale_28x28.mat", fea=FLAT, gnd=Y[:, None] + 1), 40),
    "AffNIST": (mat("1.mat", affNISTdata={"image": FLAT.T, "label_int": Y[None], "id": np.arange(40)[None]}), 40),
    "MATLAB's cells": (mat("c.mat", images=cells(X), labels=cells(Y.astype(str))), 40),
    "one's own": (hdf5("mine.h5", images=X, labels=Y), 40),
}


@pytest.mark.parametrize(("write", "count"), READ.values(), ids=READ)
def test_matlabs_and_hdf5_files_are_read_as_they_are_published(write, count, tmp_path):
    dataset = load_data(write(tmp_path))
    assert (len(dataset.x_train) + len(dataset.x_test), len(dataset.classes)) == (count, 10)
    taken = (255 * np.concatenate([dataset.x_train[:], dataset.x_test])).round().astype("u1")
    assert {row.tobytes() for row in FLAT} == {row.tobytes() for row in taken}


def test_freys_faces_are_read(tmp_path):
    faces = np.random.default_rng(0).integers(0, 256, (30, 560), "uint8")
    scipy.io.savemat(tmp_path / "frey_rawface.mat", {"ff": faces.T})
    dataset = load_data(tmp_path / "frey_rawface.mat")
    assert "28 x 20 made 28 x 28" in dataset.said
    first = dataset.x_test[0].reshape(28, 28)[:, 4:24]
    assert any(np.allclose(first, face.reshape(28, 20) / 255, atol=1e-6) for face in faces)


def test_a_pickle_inside_is_never_run(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    np.savez(tmp_path / "bomb.npz", images=np.array([Bomb()] * 3, dtype=object))
    np.save(tmp_path / "bomb.npy", np.array([Bomb()] * 3, dtype=object))
    for name in ("bomb.npz", "bomb.npy"):
        with pytest.raises(UserError):
            load_data(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def npy_that_claims(shape):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode()


def beside(text, name="list.csv", paths=expand("{0-29}.png")):  # noqa: B008
    """What writes pictures, and beside them a table; text: its rows, the last for a picture."""

    def write(a, place):
        write_paths(paths)(a, place)
        *head, row = text.splitlines(keepends=True)
        mine = [n for n, path in enumerate(paths) if (place / path).is_relative_to((place / name).parent)]
        rows = [row.format(n, n % 3, part=("train", "test")[n % 5 == 0]) + "\n" for n in mine]
        (place / name).write_text("".join([*head, *rows]))
        return place

    return write


REFUSED = {  # what writes it, and what is said
    "one picture": (picture("a.png"), "is one picture"),
    "one image": (npy(X[:1]), "holds one image"),
    "one picture in a folder": (several(picture("a.png")), "holds one image"),
    "an empty folder": (several(), "is empty: give another one"),
    "a folder of texts": (several(file("a.txt", "x")), "but a.txt"),
    "a folder of tables": (several(file("a.csv", "1,2"), file("b.csv", "1,2")), "a.csv is not .* row has 2 columns"),
    "a zip": (file("a.zip", b"PK\5\6" + bytes(18)), "is an archive: unpack it"),
    "latents alone": (npz(z=np.zeros((3, 2))), r"holds a\.npz \(3, 2\) float64"),
    "two arrays of images": (npz(images=X, pixels=T), "several arrays .* which of a.npz images, a.npz pixels to take"),
    "two sets of images": (npz(cats=X, dogs=T), "cannot be told which of cats, dogs to take"),
    "images without pixels": (npy(np.zeros((5, 0, 28))), r"its shape is \(5, 0"),
    "a table of flowers": (file("a.csv", "5.1,3.5,1.4,0.2,setosa\n"), "has 5 columns"),
    "a table of names alone": (table(["label", *("p" * 784)]), "no rows below"),
    "commas at the end": (table(["1"] * 785 + [""] * 3, ["2"] * 785 + [""] * 3), "its first row has 788 columns"),
    "a row too short": (table("0" * 785, "0" * 700), "row 2 has 700 columns, and the first has 785"),
    "a word among numbers": (table("1" * 785, "1" + "2" * 782 + "x2"), "row 2 has 'x', which is no number"),
    "a row without an end": (file("a.csv", b"1," * 2**20), "million characters"),
    "half a packed table": (file("a.csv.gz", gzip.compress(b"1," * 999)[:-9]), "not a"),
    "NaN in a table": (table("1" * 784, [*"2" * 783, "nan"]), "row 2 has 'nan', which is no number"),
    "a pointer of git-lfs": (file("a.npz", "version https://git-lfs.github.com/spec/v1"), "`git lfs pull` brings it"),
    "masks or more pictures": (
        write_paths("images/i{0-8}.png masks/m{0-8}.png"),
        "two readings: masks may hold masks, or the like, of the others, or pictures of their own",
    ),
    "masks or a class": (write_paths("{hats,masks}/{0-8}.png"), "two readings: masks may hold masks"),
    "two tables": (
        several(beside("file,label\n{}.png,{}"), beside("file,label\n{0}.png,{0}", "more.csv")),
        r"list\.csv and .*more\.csv give 27 pictures different classes, such as 3\.png",
    ),
    "images in two files of other kinds": (
        several(npz(x=X, y=Y), npy(T, "cats.npy")),
        r"More than a tenth .* \(beside the images: 20, such as cats\.npy\); mend or move away what is named",
    ),
    "parts beside more": (
        write_paths("{train,test,raw}/{0-8}.png"),
        r"More than a tenth .* \(beside the parts: 9, such as raw/0\.png\).* or give the folder of the rest alone",
    ),
    "an IDX file cut short": (file("a", idx(X)[:-1]), "claims to hold 31,360"),
    "an IDX file too long": (file("a", idx(X) + b"x"), "claims to hold 31,360"),
    "an IDX file of 2^40 bytes": (file("a", b"\0\0\x08\2\x7f\xff\xff\xff\0\0\x03\x10"), "memory"),
    "an array of 2^60 bytes": (file("a.npy", npy_that_claims((2**40, 28, 28))), "does not fit into the memory"),
    "a picture in colour": (npy(colour(X[0])), r"holds a\.npy \(28, 28, 3\) uint8: images are numbers"),
    "a picture, or flat images": (
        npy(np.resize(X, (64, 80))),
        r"two readings: one picture, or images of 64 values: .*; `x = x\.T\.reshape\(-1, 8, 8\)` makes the latter",
    ),
    "two scales": (npz(x_train=X > 99, x_test=T), "has images from 0 to 1, and others from 0 to 255: give all one"),
    "two scales, in files": (several(npy(X / 1, "a.npy"), npy(X / 255, "b.npy")), "give all one scale"),
    "NaN": (npy(X / np.where(Y == 7, np.nan, 1)[:, None, None]), r"4 of 40 .* infinite values, the first x\[7\]: `x ="),
    "infinity": (npz(x_train=X, x_test=np.full(T.shape, np.inf)), r"20 of 20 held-out images .* the first x\[0\]"),
    "one grey": (npy(0 * X + 7), "one grey all over"),
    "pixels by images by classes": (
        npy(np.resize(X, (784, 600, 10))),
        r"600 x 10, of shape .*`x = x\.T\.reshape\(-1, 28, 28\)`",
    ),
    "a part without images": (npz(x_train=X, x_test=T[:0]), r"a part without images \(its shape is \(0, 28, 28\)\)"),
    "labels that lack one": (npz(x_train=X, y_train=Y[:-1], x_test=T, y_test=S), "39 labels for 40 images and 20 lab"),
    "below 0": (
        npz(x_train=X.astype(int) - 1),
        "from -1 to 254: if they go a little beyond 0 and 255, take `x = x.clip",
    ),
    "beyond 255": (npz(x_train=X.astype(int) + 1), "from 1 to 256, which have two readings"),
    "sizes that differ": (
        npz(x_train=X, x_test=np.full((20, 8, 8), 9, "u1")),
        r"training images of \(28, 28\) and test images of \(8, 8\)",
    ),
}


ODD = {
    "wrong shape": X.reshape(40, 14, 2, 28),
    "too many axes": X.reshape(40, 8, 98, 1, 1),
    "text": np.full(X.shape, "a"),
    "complex numbers": X.astype(complex),
    "spans of time": X.astype("m8[s]"),
    "dates": X.astype("M8[s]"),
    "records": X.view([("grey", "u1")]),
    "one number": np.uint8(3),
}
FOUND = r"holds x_test \(20, 28, 28\) uint8, x_train .*: images are numbers from 0 to 255"
REFUSED |= {name: (npz(x_train=x, x_test=T), FOUND) for name, x in ODD.items()}
REFUSED |= {
    str(start): (file("a.npz", start), "not a readable") for start in (b"", b"hello", b"PK\3\4", b"\x93NUMPY\1\0")
}


@pytest.mark.parametrize(("write", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_taken_is_told_as_it_was_found(write, sentence, arrays, tmp_path):
    with pytest.raises(UserError, match=sentence) as error:
        load_data(write(arrays, tmp_path))
    assert str(tmp_path) in str(error.value)


def write_csv(change):
    """What writes a table of pixels; change: of the names of its columns, and its rows."""

    def write(a, place):
        rows = np.concatenate([a["y_train"][:, None], a["x_train"].reshape(-1, 784)], axis=1).tolist()
        names, rows = change(["label", *(f"pixel{k}" for k in range(784))], rows)
        (place / "a.csv").write_text("\n".join(",".join(map(str, row)) for row in [names, *rows]))
        return place / "a.csv"

    return write


def sorted_as_text(names, rows):
    order = sorted(range(785), key=names.__getitem__)
    return [names[k] for k in order], [[row[k] for k in order] for row in rows]


def across_first(_, rows):
    """Names of columns and rows in which the pixels of an image come column by column, x0y0, x0y1, ..."""
    order = [28 * y + x + 1 for x in range(28) for y in range(28)]
    names = ["label", *(f"x{x}y{y}" for x in range(28) for y in range(28))]
    return names, [[row[0], *(row[k] for k in order)] for row in rows]


def of_europe(_, rows):
    return ["sep=;"], [";".join(f"{value / 255:.4f}".replace(".", ",") for value in row[1:]).split(",") for row in rows]


def the_same_labels_in_both_parts(a, place):
    for part in ("train", "test"):
        (place / part).mkdir()
        np.save(place / part / "images.npy", a[f"x_{part}"][:20])
        np.save(place / part / "labels.npy", a[f"y_{part}"][:20])
    return place


def qmnist(a, place):
    """Its labels have eight columns."""
    write_idx()(a, place)
    for part, y in (("train", Y), ("t10k", S)):
        head = bytes([0, 0, 12, 2]) + struct.pack(">2I", len(y), 8)
        (place / f"{part}-labels-idx2-int").write_bytes(head + np.repeat(y, 8).astype(">i4").tobytes())
        (place / f"{part}-labels-idx1-ubyte").unlink()
    return place


def a_copy_in_a_folder(a, place):
    write_idx(dash=".")(a, place)
    for path in [*place.iterdir()]:
        (place / path.name.replace(".", "-")).mkdir()
        shutil.copy(path, place / path.name.replace(".", "-"))
    return place


HALF = [f"{part}/{n}.png" for n in range(30) for part in (("train", "test")[n % 5 == 0],)]
LABELS = "file,label\n{}.png,{}"
INFERRED = {  # what was found so in public data sets: what writes it; the classes, the images held out, what is said
    "a box": (
        beside("image,x_1,y_1,width\n{}.png,3,{},5"),
        "",
        5,
        "which of x_1, y_1, width is the class: name it label",
    ),
    "parts": (
        beside("file,split,label,age\n{}.png,{part},{},7"),
        "012",
        6,
        "column label of list.csv, of which age left",
    ),
    "another computer": (beside("file,label\nC:\\mine\\{}.JPG,{}"), "012", 5, "labels by the column label of list.csv"),
    "two classes a picture": (
        beside("file,label\n0.png,5\n{}.png,{}"),
        "",
        5,
        "more than one class to a picture, 1 times",
    ),
    "the only column of text": (beside("{}.png\tk{}\t0\t0\t62", "b.txt"), ["k0", "k1", "k2"], 5, "labels by b.txt"),
    "parts of other classes": (
        write_paths("{train/a,train/b,test/c}/{0-2}.png"),
        "abc",
        3,
        "parts have no class in common",
    ),
    "parts by numbers alone": (beside("file,partition\n{}.png,{}"), "", 5, "does not tell classes"),
    "one-hot": (beside("file,cat,dog\n{}.png,1,0"), ["cat"], 5, "labels by list.csv"),
    "a table of other classes": (
        several(beside(LABELS), beside("file,family\n{0}.png,{0}", "more.csv")),
        "012",
        5,
        "gives other classes than list.csv: more.csv",
    ),
    "a table for each part": (
        several(*(beside("file_name,label\n{}.png,{}", f"{p}/metadata.csv", HALF) for p in ("train", "test"))),
        "012",
        6,
        "labels by the column label of metadata.csv",
    ),
    "labels of one part": (beside(LABELS, "val.csv", expand("{0-8}.png")), "012", 1, "column label of val.csv"),
    "answers of no meaning": (beside("id,label\n{},0", "submission.csv"), "", 5, "a table that is for answers"),
    "masks of classes": (
        write_paths("{images,gt}/{a,b}/{0-8}.png"),
        "ab",
        3,
        "masks, or the like, beside the images: 18",
    ),
    "masks beside parts": (
        write_paths("{train/good,test/good,test/cut,ground_truth}/{0-2}.png"),
        ["cut", "good"],
        6,
        "masks, or the like, beside the images: 3, such as ground_truth/0.png",
    ),
    "a lone part with folders": (write_paths("train/{a,b}/{0-8}.png more/{0-1}.png"), "ab", 3, "the parts: 2,"),
    "unlabelled beside labelled": (
        write_paths("{labeled/a,labeled/b,unlabeled}/{0-8}.png"),
        "ab",
        3,
        "an extra part: 9, such as un",
    ),
    "a folder with a blank": (
        write_paths([f"{c}/{n}.png" for c in ("cat", "dog", "dog ") for n in range(6)]),
        ["cat", "dog"],
        3,
        "dog, dog  taken together",
    ),
    "names of the classes": (
        several(npy(X, "images.npy"), npy(Y, "labels.npy"), file("classes.txt", "zero\none\n")),
        DIGITS,
        6,
        "not of the images that are taken: classes.txt",
    ),
    "class_names": (npz(x=X, y=Y, class_names=np.array([*"abcdefghij"])), DIGITS, 6, "are taken: class_names"),
    "scikit-learn's": (npz(data=X.reshape(40, -1), images=X, target=Y), DIGITS, 6, "a copy: 40, such as data"),
    "turned": (npy(np.resize(X, (100, 784)).T), "", 16, "the last axis counts the images"),
    "QMNIST": (qmnist, "", 20, "labels that are no classes: 2"),
    "copies in the test": (npz(x_train=X, x_test=X[:9]), "", 9, "9 of the 9 held-out images train, too"),
    "copies in folders": (a_copy_in_a_folder, DIGITS, 20, "a copy: 4, such as t10k-images-idx3-ubyte/"),
    "the same labels in both parts": (the_same_labels_in_both_parts, DIGITS, 20, ""),
    "savez of four": (npz(arr_0=X, arr_1=Y, arr_2=T, arr_3=S), DIGITS, 20, ""),
    "columns sorted as text": (write_csv(sorted_as_text), DIGITS, 6, ""),
    "columns across before down": (write_csv(across_first), DIGITS, 6, ""),
    "lists in cells": (
        write_csv(lambda _, rows: (["label", "x"], [[r[0], f'"{r[1:]}"'] for r in rows])),
        DIGITS,
        6,
        "",
    ),
    "Excel's, of Europe": (write_csv(of_europe), "", 6, "no labels"),
    "a comment first": (write_csv(lambda _, rows: (["# mine, my own"], [row[1:] for row in rows])), "", 6, "no labels"),
    "floats": (write_csv(lambda names, rows: (names, [[f"{r[0]:.8e}", *r[1:]] for r in rows])), DIGITS, 6, ""),
}


@pytest.mark.parametrize(("write", "classes", "held_out", "said"), INFERRED.values(), ids=INFERRED)
def test_what_is_inferred_is_right_and_told(write, classes, held_out, said, arrays, tmp_path):
    dataset = load_data(write(arrays, tmp_path))
    assert (dataset.classes, len(dataset.x_test)) == (tuple(classes), held_out)
    assert said in "; ".join(dataset.said)
    written = {row.tobytes() for row in np.concatenate([arrays["x_train"], arrays["x_test"]]).reshape(-1, 784)}
    taken = (255 * np.concatenate([dataset.x_train[:], dataset.x_test])).round().astype("u1")
    assert {row.tobytes() for row in taken} <= written


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_among_pictures_is_left_out_and_a_link_in_circles_ends(arrays, tmp_path):
    write_pictures(".png")(arrays, tmp_path)
    os.mkfifo(tmp_path / "training" / "3" / "pipe.png")
    (tmp_path / "training" / "3" / "loop").symlink_to(tmp_path, target_is_directory=True)
    dataset = load_data(tmp_path)
    assert len(dataset.x_train) == 40
    assert dataset.account["files"]["found"] == 62
    assert [*dataset.account["files"]["left_out"].values()] == [1, 1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x_train", Role("", "train", "images")),
        ("trainY", Role("", "train", "labels")),
        ("emnist-letters-train-images-idx3-ubyte.gz", Role("emnist-letters", "train", "images")),
        ("t10k-labels.idx1-ubyte", Role("", "test", "labels")),
        ("k49-test-imgs.npz", Role("k49", "test", "images")),
        ("val_images", Role("", "val", "images")),
        ("latents_classes", Role("latents", None, "labels")),
    ],
)
def test_a_name_says_what_an_array_is(name, expected):
    assert words.role(name) == expected


@pytest.mark.slow
def test_a_home_is_found_and_each_conversion_is_said_and_recorded(run_python, tmp_path):
    """Letters in colour, of 32 x 32, in a folder below the home: as a user sees it."""
    for number, letter in enumerate("ABCDEFGHIJKLM"):
        (tmp_path / "letters" / letter).mkdir(parents=True)
        for copy in range(4):
            picture = Image.fromarray(colour(np.roll(X[number], copy))).resize((32, 32))
            picture.save(tmp_path / "letters" / letter / f"{copy}.png")
    options = ("--epochs", "1", "--hidden-dim", "8", "--evidence-images", "0")
    done = run_python(vae_mnist.__file__, "--data", "~/letters", *options, HOME=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    said = [
        "colour made grey",
        "pictures of other sizes made 28 x 28",
        "no held-out part: 8 of 52 held out, drawn by the seed 0",
    ]
    assert f"letters: 44 training and 8 held-out images\nOn the way: {'; '.join(said)}\n" in done.stdout
    record = json.loads((tmp_path / "figures" / "letters" / "metrics.json").read_text())
    assert (record["converted"], record["classes"]) == (said, list("ABCDEFGHIJKLM"))
    assert Path(tmp_path / "figures" / "letters" / "latent_scatter.png").exists()


def damaged(content, rng):
    """A file's content with some bytes changed, most often near its start, cut out, put in, or left out at the end."""
    content = bytearray(content)
    place, length = int(rng.integers(len(content))), int(rng.integers(1, 100))
    match rng.integers(5):
        case 0:
            for _ in range(rng.integers(1, 8)):
                content[rng.integers(min(400, len(content)))] = rng.integers(256)
        case 1:
            for _ in range(rng.integers(1, 50)):
                content[rng.integers(len(content))] = rng.integers(256)
        case 2:
            del content[place:]
        case 3:
            del content[place : place + 20 * length]
        case 4:
            content[place:place] = rng.bytes(length)
    return bytes(content)


FILES = {
    "a.npy": lambda a, path: np.save(path, a["x_train"]),
    "a.npz": lambda a, path: np.savez_compressed(path, **a),
    "a.idx": lambda a, path: path.write_bytes(idx(a["x_train"])),
    "a.gz": lambda a, path: path.write_bytes(gzip.compress(idx(a["x_train"]))),
    "a.csv": lambda a, path: np.savetxt(path, a["x_train"].reshape(-1, 784), "%d", ","),
    "a.png": lambda a, path: Image.fromarray(a["x_train"][0]).save(path),
    "a.jpg": lambda a, path: Image.fromarray(a["x_train"][0]).save(path),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.slow
def test_damaged_files_load_or_are_refused_in_a_sentence(name, arrays, tmp_path):
    """150 of each kind, of which most are refused; none ends in anything else, or waits."""
    FILES[name](arrays, tmp_path / name)
    good, rng = (tmp_path / name).read_bytes(), np.random.default_rng(0)
    if picture := name.endswith(("png", "jpg")):
        for number in range(3):
            (tmp_path / f"{number}-{name}").write_bytes(good)
    sentences = []
    for _ in range(150):
        (tmp_path / name).write_bytes(damaged(good, rng))
        try:
            load_data(tmp_path if picture else tmp_path / name)
        except UserError as error:
            sentences.append(str(error))
    assert picture or len(sentences) > 30
    assert not any("\n" in sentence for sentence in sentences)
