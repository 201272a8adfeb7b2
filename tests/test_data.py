"""The data: what is loaded, what is refused and how, and what happens without a network."""

import gzip
import json
import os
import re
import shutil
import socket
import threading
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import vae_mnist
from parts import UserError, data, devices
from parts.data import load_data


def test_sample_is_balanced_split_and_always_the_same(sample):
    assert sample.name == "MNIST sample, 5,000 images"
    assert sample.x_train.shape == (4000, 784)
    assert sample.x_test.shape == (1000, 784)
    assert np.bincount(sample.y_train).tolist() == [400] * 10
    assert np.bincount(sample.y_test).tolist() == [100] * 10
    assert sample.x_train.dtype == np.float32
    assert sample.x_train[:].min() == 0
    assert sample.x_train[:].max() == 1
    images = {row.tobytes() for row in np.concatenate([sample.x_train, sample.x_test])}
    assert len(images) == 5000, "no image is on both sides of the split"


def test_sample_labels_belong_to_their_images(sample):
    """The nearest class mean, computed on one part, names most images of the other."""
    means = np.stack([sample.x_train[sample.y_train == digit].mean(axis=0) for digit in range(10)])
    nearest = np.argmin(((sample.x_test[:, None] - means) ** 2).sum(axis=-1), axis=1)
    assert np.mean(nearest == sample.y_test) > 0.7


def test_npz_of_ones_own_is_named_after_its_file(small_npz, small_arrays):
    dataset = load_data(str(small_npz))
    assert dataset.name == "small.npz"
    np.testing.assert_allclose(dataset.x_test, small_arrays["x_test"].reshape(60, 784) / 255, rtol=1e-6)
    np.testing.assert_array_equal(dataset.y_train, small_arrays["y_train"])


def test_float_images_are_taken_as_they_are(small_arrays, tmp_path):
    floats = {key: a / 255.0 if key.startswith("x") else a for key, a in small_arrays.items()}
    np.savez(tmp_path / "floats.npz", **floats)
    dataset = load_data(tmp_path / "floats.npz")
    np.testing.assert_allclose(dataset.x_train, small_arrays["x_train"].reshape(200, 784) / 255, rtol=1e-6)


def test_mnist_is_recognised_by_the_md5_of_its_idx_files(small_arrays, small_npz, monkeypatch):
    """The sums of the small arrays, over hand-written IDX headers, stand in for those of MNIST."""
    import hashlib

    sums = {}
    for key, array in small_arrays.items():
        n = len(array)
        header = bytes([0, 0, 8, array.ndim, 0, 0, 0, n]) + (bytes([0, 0, 0, 28] * 2) if array.ndim == 3 else b"")
        sums[key] = hashlib.md5(header + array.tobytes()).hexdigest()
    monkeypatch.setattr(data, "MNIST_IDX_MD5", sums)
    assert load_data(small_npz).name == "MNIST"
    monkeypatch.setitem(sums, "y_test", "0" * 32)
    assert load_data(small_npz).name == "small.npz"


def broken(arrays, **changes):
    return {key: changes.get(key, array) for key, array in arrays.items()}


BAD_ARRAYS = {
    "wrong image shape": lambda a: broken(a, x_train=a["x_train"].reshape(200, 784)),
    "wrong image size": lambda a: broken(a, x_test=np.zeros((60, 32, 32), "uint8")),
    "text for images": lambda a: broken(a, x_train=np.full((200, 28, 28), "a")),
    "complex images": lambda a: broken(a, x_train=a["x_train"].astype(complex)),
    "NaN": lambda a: broken(a, x_train=np.where(a["x_train"] > 250, np.nan, a["x_train"] / 255.0)),
    "floats up to 255": lambda a: broken(a, x_train=a["x_train"].astype("float32")),
    "negative": lambda a: broken(a, x_train=a["x_train"].astype(int) - 1),
    "too large": lambda a: broken(a, x_train=a["x_train"].astype(int) + 1),
    "integers of 0 and 1": lambda a: broken(a, x_train=a["x_train"] // 200),
    "more images than labels": lambda a: broken(a, y_train=a["y_train"][:-1]),
    "empty": lambda a: broken(a, x_test=a["x_test"][:0], y_test=a["y_test"][:0]),
    "labels of another class": lambda a: broken(a, y_test=a["y_test"] + 9),
    "negative labels": lambda a: broken(a, y_test=a["y_test"].astype(int) - 1),
    "labels one-hot": lambda a: broken(a, y_train=np.eye(10, dtype=int)[a["y_train"]]),
    "labels as floats": lambda a: broken(a, y_train=a["y_train"].astype(float)),
    "a missing key": lambda a: {key: array for key, array in a.items() if key != "y_test"},
    "pickled objects": lambda a: broken(a, y_train=a["y_train"].astype(object)),
    "spans of time for images": lambda a: broken(a, x_train=a["x_train"].astype("m8[s]")),
    "dates for images": lambda a: broken(a, x_train=a["x_train"].astype("M8[s]")),
    "spans of time for labels": lambda a: broken(a, y_train=a["y_train"].astype("m8[s]")),
    "truths for images": lambda a: broken(a, x_train=a["x_train"] > 100),
    "records": lambda a: broken(a, x_train=a["x_train"].view([("grey", "u1")])),
    "one number": lambda a: broken(a, x_train=np.uint8(3)),
    "infinity": lambda a: broken(a, x_test=np.full((60, 28, 28), np.inf, "float32")),
}


@pytest.mark.parametrize("change", BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_bad_arrays_are_refused_in_one_sentence(change, small_arrays, tmp_path):
    path = tmp_path / "bad.npz"
    np.savez(path, **change(small_arrays))
    with pytest.raises(UserError) as error:
        load_data(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("change", [np.asfortranarray, lambda x: x.astype(">i8"), lambda x: x.astype("<u2")])
def test_any_order_and_size_of_whole_numbers_gives_the_same_images(change, small_arrays, small_npz, tmp_path):
    np.savez(tmp_path / "small.npz", **{key: change(array) for key, array in small_arrays.items()})
    for one, other in zip(load_data(tmp_path / "small.npz"), load_data(small_npz), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_member_that_is_no_array_is_refused(small_arrays, tmp_path):
    np.savez(tmp_path / "bad.npz", **{key: a for key, a in small_arrays.items() if key != "y_test"})
    with zipfile.ZipFile(tmp_path / "bad.npz", "a") as archive:
        archive.writestr("y_test", b"no array")
    with pytest.raises(UserError, match="lacks y_test"):
        load_data(tmp_path / "bad.npz")


def test_a_set_that_no_memory_holds_is_refused(small_npz, small_arrays, tmp_path, monkeypatch):
    """Too little for the file as it is; then for images as float32: half-precision floats, and held-out integers."""
    halves = {key: (a / 255).astype("float16") if key.startswith("x") else a for key, a in small_arrays.items()}
    np.savez(tmp_path / "half.npz", **halves)
    turned = {"x_train": "x_test", "y_train": "y_test", "x_test": "x_train", "y_test": "y_train"}
    np.savez(tmp_path / "turned.npz", **{turned[key]: array for key, array in small_arrays.items()})
    refused = {small_npz: 200 * 784, tmp_path / "half.npz": 200 * 784 * 3, tmp_path / "turned.npz": 200 * 784 * 3}
    for path, free in refused.items():
        monkeypatch.setattr(devices, "free_memory", lambda free=free: free)
        with pytest.raises(UserError, match=rf"{path.name} does not fit into the memory"):
            load_data(path)


def test_free_memory_is_what_the_system_says():
    with open("/proc/meminfo") as file:
        total = 1024 * int(file.readline().split()[1])
    assert 0.01 * total < devices.free_memory() < total


PEAK = """
from parts import data
def kilobytes(name):  # of this program alone; resource.getrusage may give its parent's peak
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name))
for name in ("uint8.npz", "float32.npz"):  # the peak only rises: the one with the larger bound comes last
    before = kilobytes("VmRSS")
    dataset = data.load_data(name)
    print(1024 * (kilobytes("VmHWM") - before) / len(dataset.x_train))
    del dataset
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the peak of a program's memory")
def test_loading_takes_the_memory_of_the_file_and_of_the_result_only(run_python, tmp_path):
    """Of an image, 784 bytes, or 4 * 784 as float32: nothing is copied."""
    for kind, top in (("uint8", 255), ("float32", 1)):
        x = np.zeros((60_000, 28, 28), kind)
        x[:, 3, 4] = top
        y = np.zeros(60_000, "uint8")
        np.savez(tmp_path / f"{kind}.npz", x_train=x, y_train=y, x_test=x[:1], y_test=y[:1])
    whole, floats = map(float, run_python("-c", PEAK).stdout.split())
    assert floats < 1.15 * 4 * 784
    assert whole < 1.15 * 784


def test_integers_stay_bytes_and_are_floats_where_they_are_looked_at(small_arrays, tmp_path):
    for kind in ("uint8", "int64"):
        np.savez(tmp_path / "whole.npz", **{key: array.astype(kind) for key, array in small_arrays.items()})
        images = load_data(tmp_path / "whole.npz").x_train
        assert images.pixels.dtype == np.uint8
        expected = (small_arrays["x_train"].reshape(200, 784) / 255).astype("float32")
        for part in (images[:], np.asarray(images)):
            assert part.dtype == np.float32
            np.testing.assert_array_equal(part, expected)
        np.testing.assert_array_equal(images[[5, 3]], expected[[5, 3]])
        assert images.shape == expected.shape


def test_a_wrong_shape_is_told_with_the_right_one(small_arrays, tmp_path):
    np.savez(tmp_path / "flat.npz", **broken(small_arrays, x_train=small_arrays["x_train"].reshape(200, 784)))
    with pytest.raises(UserError, match=r"has shape \(200, 784\): images must have shape \(n, 28, 28\)\."):
        load_data(tmp_path / "flat.npz")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 half an archive", b"\x93NUMPY\x01\x00"])
def test_files_that_are_no_npz_are_refused(content, tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not a readable"):
        load_data(path)


def test_a_truncated_npz_is_refused(small_npz, tmp_path):
    path = tmp_path / "cut.npz"
    path.write_bytes(small_npz.read_bytes()[:-1000])
    with pytest.raises(UserError, match="not a readable"):
        load_data(path)


def test_an_npy_file_is_refused(tmp_path):
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(UserError, match="not a readable"):
        load_data(tmp_path / "array.npy")


@pytest.mark.parametrize(
    "path",
    ["nowhere.npz", ".", "a" * 300 + ".npz", "nul\0.npz", "/dev/zero", b"\xe9".decode("utf8", "surrogateescape")],
)
def test_a_path_without_a_file_is_refused(path):
    with pytest.raises(UserError, match="no data file") as error:
        load_data(path)
    str(error.value).encode()


def test_a_folder_that_one_may_not_enter_is_told(small_npz, monkeypatch):
    """Whoever runs the tests may enter all folders, so os.stat plays the system."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(UserError, match=r"no data file .*small\.npz that can be read \(Permission denied\): give"):
        load_data(small_npz)


@pytest.mark.parametrize(
    ("name", "shown"), [("$x$", "$x$"), ("a\nb", "a\\nb"), ("caf\udce9", "caf\\udce9"), ("数字", "数字")]
)
def test_a_set_is_named_on_one_line_that_any_file_can_hold(name, shown, small_npz, tmp_path):
    path = tmp_path / f"{name}.npz"
    path.write_bytes(small_npz.read_bytes())
    assert load_data(path).name == f"{shown}.npz"


@pytest.fixture
def fresh_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))


def test_a_network_that_swallows_packets_does_not_hang(fresh_cache, monkeypatch):
    """A proxy that takes the connection and never answers: a test that hangs would show it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UserError, match="could not be downloaded"):
            data.load_mnist(timeout=0.3)


def test_a_name_server_that_never_answers_does_not_hang(fresh_cache, monkeypatch):
    never = threading.Event()

    def look_up(*args, **kwargs):
        never.wait()
        raise socket.gaierror("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.delenv("https_proxy", raising=False)
    with pytest.raises(UserError, match="could not be downloaded"):
        data.load_mnist(timeout=0.3)
    never.set()


@pytest.fixture
def cached(fresh_cache, tmp_path):
    """Where Keras keeps MNIST."""
    path = tmp_path / "keras" / "datasets" / "mnist.npz"
    path.parent.mkdir(parents=True)
    return path


def test_a_cached_archive_is_known_by_its_content(cached, small_npz, small_arrays, monkeypatch):
    """Packed, it has another checksum than Keras expects, which would delete it and download again."""
    monkeypatch.setattr(data, "is_mnist", lambda arrays: all((arrays[k] == a).all() for k, a in small_arrays.items()))
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: pytest.fail("Keras was asked"))
    np.savez_compressed(cached, **small_arrays)
    before = cached.read_bytes()
    dataset = load_data("mnist")
    assert dataset.name == "MNIST"
    assert dataset.x_train.shape == (200, 784)
    assert cached.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"half an archive"])
def test_a_cached_file_that_is_not_mnist_is_left_alone(content, cached, small_npz, sample, capsys, monkeypatch):
    monkeypatch.setattr(data, "load_sample", lambda: sample)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: pytest.fail("Keras was asked"))
    content = small_npz.read_bytes() if content is None else content
    cached.write_bytes(content)
    assert load_data("mnist").name == "MNIST sample, 5,000 images"
    assert cached.read_bytes() == content
    assert re.search(r"mnist\.npz is not .* [Mm]ove it away", capsys.readouterr().out)


def test_any_failure_of_keras_loader_becomes_the_sample(fresh_cache, monkeypatch, capsys):
    def fail(path="mnist.npz"):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(data, "host_answers", lambda url, timeout: True)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    assert load_data("mnist").name == "MNIST sample, 5,000 images"
    assert "MNIST could not be downloaded" in capsys.readouterr().out
    assert socket.getdefaulttimeout() is None, "the time limit does not outlive the download"


def test_keras_loader_is_used_where_there_is_a_network(monkeypatch, small_arrays, fresh_cache):
    a = small_arrays
    monkeypatch.setattr(data, "host_answers", lambda url, timeout: True)
    monkeypatch.setattr(
        keras.datasets.mnist, "load_data", lambda: ((a["x_train"], a["y_train"]), (a["x_test"], a["y_test"]))
    )
    dataset = load_data("mnist")
    assert dataset.name == "MNIST"
    assert dataset.x_train.shape == (200, 784)


@pytest.fixture
def garments(small_arrays, tmp_path):
    """Keras's cache with Fashion-MNIST, made of 200 and 60 digits: four files as they are published."""
    cache = tmp_path / "home" / ".keras" / "datasets" / "fashion-mnist"
    cache.mkdir(parents=True)
    for part, name in (("train", "train"), ("test", "t10k")):
        for key, kind, header in (("x", "images-idx3", 16), ("y", "labels-idx1", 8)):
            with gzip.open(cache / f"{name}-{kind}-ubyte.gz", "wb") as file:
                file.write(bytes(header) + small_arrays[f"{key}_{part}"].tobytes())
    return cache


def test_fashion_mnist_comes_through_keras_with_the_names_of_its_classes(garments, run_python, tmp_path):
    done = run_python(vae_mnist.__file__, "--data", "fashion_mnist", "--epochs", "1", "--evidence-images", "0")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Fashion-MNIST: 200 training and 60 held-out images" in done.stdout
    record = json.loads((tmp_path / "figures" / "Fashion-MNIST" / "metrics.json").read_text())
    assert (record["dataset"], record["full_mnist"]) == ("Fashion-MNIST", False)
    page = (tmp_path / "figures" / "Fashion-MNIST" / "explorer.html").read_text()
    assert '"names": ["T-shirt", "trousers"' in page


def spoil(cache):
    (cache / "t10k-labels-idx1-ubyte.gz").write_bytes(b"x")


@pytest.mark.parametrize("damage", [spoil, shutil.rmtree])
def test_fashion_mnist_that_cannot_be_had_is_told_in_one_sentence(damage, garments, run_python):
    damage(garments)
    done = run_python(vae_mnist.__file__, "--data", "fashion_mnist", "--epochs", "1")
    assert done.returncode == 2
    sentence = r"vae_mnist: Fashion-MNIST could not be downloaded.* delete the folder .*fashion-mnist\.\n"
    assert re.fullmatch(sentence, done.stderr)
    assert done.stdout == ""
