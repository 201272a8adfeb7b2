"""The data: what is loaded, what is refused and how, and what happens without a network."""

import contextlib
import gzip
import hashlib
import http.server
import json
import os
import re
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import vae_mnist
from seevae.basics import UserError
from seevae.images import data, reading
from seevae.images.data import load_data

KEYS = ("x_train", "y_train", "x_test", "y_test")


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


def idx(array):
    """An array of fewer than 256 bytes or images as an IDX file, with the header written by hand."""
    return bytes([0, 0, 8, array.ndim, 0, 0, 0, len(array), *([0, 0, 0, 28] * (array.ndim - 1))]) + array.tobytes()


@pytest.fixture
def small_is_mnist(small_arrays, monkeypatch):
    """The small arrays stand in for MNIST."""

    def sum_of_sums(x, y):
        rows = [[*image.ravel().tolist(), label] for image, label in zip(x, y, strict=True)]
        sums = [hashlib.md5(bytes(row)).digest() for row in rows]
        return hashlib.md5(b"".join(sorted(sums))).hexdigest()

    a = small_arrays
    monkeypatch.setattr(data, "MNIST_SIZES", (len(a["x_train"]), len(a["x_test"])))
    sums = sum_of_sums(a["x_train"], a["y_train"]), sum_of_sums(a["x_test"], a["y_test"])
    monkeypatch.setattr(data, "MNIST_FINGERPRINTS", sums)


def test_mnist_is_recognised_by_its_images_in_any_order(small_is_mnist, small_arrays, tmp_path):
    def name(**changes):
        np.savez(tmp_path / "some.npz", **{**small_arrays, **changes})
        return load_data(tmp_path / "some.npz").name

    backwards = {key: small_arrays[key][::-1] for key in ("x_train", "y_train")}
    assert name() == name(**backwards) == "MNIST"
    assert name(y_train=backwards["y_train"]) == name(x_test=255 - small_arrays["x_test"]) == "some.npz"


def test_mnist_in_one_piece_is_parted_as_it_is(small_is_mnist, small_arrays, tmp_path):
    images, labels = (np.concatenate([small_arrays[f"{kind}_{part}"] for part in ("train", "test")]) for kind in "xy")
    np.savez(tmp_path / "whole.npz", data=images.reshape(-1, 784), target=labels.astype(str))
    dataset = load_data(tmp_path / "whole.npz")
    assert (dataset.full, len(dataset.x_train), dataset.said) == (True, len(small_arrays["x_train"]), ())


NO_CLASSES = {
    "two columns": lambda y: np.stack([y, y], axis=1),
    "not whole": lambda y: y + 0.5,
    "200 classes": lambda y: np.arange(len(y)),
    "several diseases": lambda y: np.ones((len(y), 14)),
    "NaN": lambda y: np.where(y == 1, np.nan, y),
    "objects": lambda y: y.astype(object),
    "spans of time": lambda y: y.astype("m8[s]"),
}


@pytest.mark.parametrize("change", NO_CLASSES.values(), ids=NO_CLASSES)
def test_labels_that_are_no_classes_are_left_out_and_told(change, small_arrays, tmp_path):
    changed = {key: change(array) if key[0] == "y" else array for key, array in small_arrays.items()}
    np.savez(tmp_path / "a.npz", **changed)
    dataset = load_data(tmp_path / "a.npz")
    assert (dataset.classes, len(dataset.x_train), len(dataset.x_test)) == ((), 200, 60)
    assert dataset.account["arrays"]["taken"] == 2
    assert sum(dataset.account["arrays"]["left_out"].values()) == 2
    assert "y_t" in dataset.said[0]


NAMES = {
    "blanks": (["", " ", "a", "a "], ("(blank)", "a")),
    "numbers of 5,000 digits": (["1" * 5000, "2" * 5000], (f"{'1' * 19}…{'1' * 20}", f"{'2' * 19}…{'2' * 20}")),
    "beyond int64": (np.array([0, 2**63], "uint64"), ("0", "9223372036854775808")),
    "dates": (np.array([0, 1], "M8[D]"), ("1970-01-01", "1970-01-02")),
    "the same until the 40th": ([f"{'a' * 45} {k}" for k in "xyz"], tuple(f"{'a' * 19}…{'a' * 18} {k}" for k in "xyz")),
    "the same at both ends": (
        [f"{'a' * 30}{k}{'a' * 30}" for k in "xy"],
        (f"{'a' * 19}…{'a' * 20}", f"{'a' * 19}…{'a' * 16} (1)"),
    ),
}


@pytest.mark.parametrize(("labels", "names"), NAMES.values(), ids=NAMES)
def test_every_class_has_a_name_of_its_own(labels, names, small_arrays, tmp_path):
    labels = np.resize(np.array(labels), 60)
    np.savez(tmp_path / "a.npz", x=small_arrays["x_test"], y=labels)
    assert load_data(tmp_path / "a.npz").classes == names


@pytest.mark.parametrize("change", [np.asfortranarray, lambda x: x.astype(">i8"), lambda x: x.astype("<u2")])
def test_any_order_and_size_of_whole_numbers_gives_the_same_images(change, small_arrays, small_npz, tmp_path):
    np.savez(tmp_path / "small.npz", **{key: change(array) for key, array in small_arrays.items()})
    for one, other in zip(load_data(tmp_path / "small.npz"), load_data(small_npz), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_member_that_is_no_array_is_refused(small_arrays, tmp_path):
    np.savez(tmp_path / "bad.npz", **{key: a for key, a in small_arrays.items() if key != "y_test"})
    with zipfile.ZipFile(tmp_path / "bad.npz", "a") as archive:
        archive.writestr("y_test", b"no array")
    assert load_data(tmp_path / "bad.npz").account["images"]["left_out"] == {"a part without labels": 60}


def test_an_archive_that_claims_more_than_the_memory_is_refused(small_npz, small_arrays, tmp_path, monkeypatch):
    """Only the four arrays count, as nothing else is read."""
    monkeypatch.setattr(reading, "free_memory", lambda: 260 * 784 + 5000)
    np.savez(tmp_path / "more.npz", **small_arrays, more=np.zeros(10_000))
    assert len(load_data(tmp_path / "more.npz").x_train) == 200
    monkeypatch.setattr(reading, "free_memory", lambda: 260 * 784)
    with pytest.raises(UserError, match=r"small\.npz does not fit into the memory"):
        load_data(small_npz)


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux tells it")
def test_free_memory_is_what_the_system_says():
    total = 1024 * int(Path("/proc/meminfo").read_text().split()[1])
    assert 0.01 * total < reading.free_memory() < total


PEAK = """
from seevae.images import data
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


@pytest.mark.parametrize(
    "path",
    [
        "nowhere.npz",
        "fashion-mnist",
        "a" * 300 + ".npz",
        "nul\0.npz",
        "/dev/zero",
        b"\xe9".decode("utf8", "surrogateescape"),
    ],
)
def test_a_path_without_a_file_is_refused(path):
    with pytest.raises(
        UserError, match=r"no data file .* give 'mnist', 'sample', 'fashion_mnist', or the path"
    ) as error:
        load_data(path)
    str(error.value).encode()


@pytest.mark.parametrize("path", [b"mnist.npz", 3, None, ["a"], "https://example.org/mnist.npz", ""])
def test_what_is_no_path_is_told(path):
    with pytest.raises(UserError, match=r"give (a|the path of a) file or (of )?a folder of images"):
        load_data(path)


def test_a_folder_that_one_may_not_enter_is_told(small_npz, monkeypatch):
    """Whoever runs the tests may enter all folders, so os.open plays the system."""

    def refuse(path, *how):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(UserError, match=r"no data file .*small\.npz that can be read \(Permission denied\): give"):
        load_data(small_npz)


@pytest.mark.parametrize(
    ("name", "shown"), [("$x$", "$x$"), ("a\nb", "a\\nb"), ("caf\udce9", "caf\\udce9"), ("数字", "数字")]
)
def test_a_set_is_named_on_one_line_that_any_file_can_hold(name, shown, small_npz, tmp_path):
    path = tmp_path / f"{name}.npz"
    path.write_bytes(small_npz.read_bytes())
    assert load_data(path).name == f"{shown}.npz"


def whole(request, content, length=None, status=200):
    """Answer a request with a content, and its true length if no other is given."""
    request.send_response(status)
    request.send_header("Content-Length", str(len(content) if length is None else length))
    request.end_headers()
    request.wfile.write(content)


@pytest.fixture
def host(small_is_mnist, small_npz, small_arrays, monkeypatch, tmp_path):
    """A host on this machine instead of Keras's, which has the small arrays as MNIST and as Fashion-MNIST.

    answer: what it does with a request and the file, in bytes; asked: for which files; ended: whether the test is over;
    folder: where the files go to.
    """
    files = {"mnist.npz": small_npz.read_bytes()}
    files |= {name: gzip.compress(idx(small_arrays[key])) for name, key in zip(data.FASHION_HASHES, KEYS, strict=True)}
    hashes = {name: f"md5:{hashlib.md5(file).hexdigest()}" for name, file in files.items()}
    host = SimpleNamespace(answer=whole, asked=[], ended=threading.Event(), folder=tmp_path / "keras" / "datasets")

    class Request(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            host.asked.append(self.path[1:])
            with contextlib.suppress(ConnectionError):  # the other side may have left
                host.answer(self, files[self.path[1:]])

        def log_message(self, *args):
            pass

    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KERAS_HOME", "~/keras")
    monkeypatch.setattr(data, "MNIST_HASH", hashes.pop("mnist.npz"))
    monkeypatch.setattr(data, "FASHION_HASHES", hashes)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Request) as server:
        monkeypatch.setattr(data, "HOST", f"http://127.0.0.1:{server.server_port}/")
        threading.Thread(target=server.serve_forever, args=[0.02]).start()
        host.server = server
        yield host
        host.ended.set()
        server.shutdown()


def fails(host, reason):
    """MNIST cannot be had, for that reason, and no part of it is at its place."""
    with pytest.raises(UserError) as error:
        data.load_mnist()
    assert re.fullmatch(rf"MNIST could not be downloaded \((?:{reason})\)\.", str(error.value))
    assert not os.path.lexists(host.folder / "mnist.npz")


def works(host):
    host.answer = whole
    assert data.load_mnist().full


def test_mnist_is_downloaded_once_to_where_keras_keeps_it(host, capfd):
    for _ in range(2):
        assert load_data("mnist").full
    assert host.asked == os.listdir(host.folder) == ["mnist.npz"]
    assert (host.folder / "mnist.npz").stat().st_mode & 0o777 == 0o644
    assert capfd.readouterr() == (f"Downloading {data.HOST}mnist.npz\n", "")


LOGIN = b"<html>Welcome to our hotel</html>"
ANSWERS = {
    "half a body": (
        lambda r, file: whole(r, file[: len(file) // 2], len(file)),
        r"it was cut off, .* bytes before its end",
    ),
    "a wrong length": (lambda r, file: whole(r, file, len(file) - 1), "something else came, maybe a login page"),
    "a login page": (lambda r, file: whole(r, LOGIN), "something else came, maybe a login page"),
    "an empty body": (lambda r, file: whole(r, b""), "something else came, maybe a login page"),
    "an error": (lambda r, file: whole(r, b"", status=503), "HTTP Error 503: Service Unavailable: .*"),
    "nothing": (lambda r, file: None, "Remote end closed connection without response"),
}


@pytest.mark.parametrize(("answer", "reason"), ANSWERS.values(), ids=ANSWERS.keys())
def test_a_bad_answer_is_told_and_leaves_nothing(answer, reason, host):
    host.answer = answer
    fails(host, reason)
    assert list(host.folder.iterdir()) == []
    works(host)


@pytest.mark.parametrize("case", ["no name", "no answer", "a byte now and then", "no end"])
def test_a_host_that_takes_too_long_is_left(case, host, monkeypatch):
    """Were it not left, the wait would end all the same, and something else would be told."""
    piece, pieces = (bytes(2**14), 1000) if case == "no end" else (b"x", 200)

    def pour(request, file):
        request.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        for _ in range(pieces):
            request.wfile.write(piece)
            if host.ended.wait(0.01):
                return

    host.answer = (lambda *args: host.ended.wait(20)) if case == "no answer" else pour
    with monkeypatch.context() as patch:
        if case == "no name":
            patch.setattr(socket, "getaddrinfo", lambda *args: host.ended.wait(20))
        patch.setattr(data, "PATIENCE", 0.1)
        fails(host, "it took longer than 0.1 seconds")
    works(host)


def test_what_the_system_says_is_told(host, monkeypatch):
    for place, reason in ((data.HOST.replace("http", "https"), r"\[SSL.*"), ("http://127.0.0.1:1/", ".* refused")):
        with monkeypatch.context() as patch:
            patch.setattr(data, "HOST", place)
            fails(host, reason)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))  # half the file: as good as a full disk
    try:
        fails(host, "File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    host.folder.rmdir()  # it is empty
    host.folder.write_bytes(b"")
    fails(host, f"Not a directory: {host.folder}.*")
    host.folder.unlink()
    works(host)


@pytest.fixture
def own_certificate(tmp_path):
    """A certificate that this machine alone has made, and trusts by SSL_CERT_FILE: the paths of it and of its key."""
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    paths = tmp_path / "own.pem", tmp_path / "key.pem"
    names = "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1".split()  # noqa: SIM905
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    subprocess.run([*command, "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


def test_what_the_machine_trusts_is_trusted(host, own_certificate, monkeypatch):
    """A host with a certificate of its own, as behind a company's proxy."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*own_certificate)
    host.server.socket = context.wrap_socket(host.server.socket, server_side=True)
    monkeypatch.setattr(data, "HOST", data.HOST.replace("http:", "https:"))
    fails(host, ".*certificate verify failed.*")
    monkeypatch.setenv("SSL_CERT_FILE", str(own_certificate[0]))
    works(host)


def test_a_file_without_an_end_is_left(host, monkeypatch):
    monkeypatch.setattr(data, "LONGEST", 2**18)

    def pour(request, file):
        request.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
        while not host.ended.is_set():
            request.wfile.write(bytes(2**14))

    host.answer = pour
    fails(host, "it has more than 262,144 bytes")
    works(host)


def test_two_at_once_both_get_it(host):
    both = threading.Barrier(2, timeout=60)
    host.answer = lambda request, file: (both.wait(), whole(request, file))
    with ThreadPoolExecutor(2) as pool:
        assert [one.full for one in pool.map(lambda _: data.load_mnist(), range(2))] == [True, True]


def test_a_kill_leaves_nothing_at_the_place(host):
    halfway = threading.Event()

    def half(request, file):
        whole(request, file[: len(file) // 2], len(file))
        halfway.set()
        host.ended.wait(60)

    host.answer = half
    program = f"from seevae.images import data; data.HOST = {data.HOST!r}; data.load_mnist()"
    with subprocess.Popen([sys.executable, "-c", program], cwd=Path(vae_mnist.__file__).parent) as process:
        assert halfway.wait(200)
        for _ in range(2000):
            if any(part.stat().st_size for part in host.folder.glob("*")):
                break
            host.ended.wait(0.01)
        process.kill()
    assert not os.path.lexists(host.folder / "mnist.npz")
    works(host)


def test_without_mnist_the_sample_is_taken(host, sample, capsys, monkeypatch):
    monkeypatch.setattr(data, "load_sample", lambda: sample)
    host.answer = ANSWERS["a login page"][0]
    assert load_data("mnist").name == "MNIST sample, 5,000 images"
    assert re.search(r"\nMNIST could not be downloaded \(.*\)\. Going on with the", capsys.readouterr().out)


def test_a_file_in_keras_folder_is_known_by_its_content(host, small_arrays):
    """Packed, it has another hash than the one that Keras knows; in another order, it is not MNIST."""
    path = host.folder / "mnist.npz"
    path.parent.mkdir(parents=True)
    np.savez_compressed(path, **small_arrays)
    assert load_data("mnist").full
    np.savez(path, **small_arrays | {"y_test": small_arrays["y_test"][::-1]})
    for content in (path.read_bytes(), b"", b"half an archive"):
        path.write_bytes(content)
        with pytest.raises(
            UserError, match=r"mnist\.npz is not .*\. Move it away, and MNIST is downloaded to its place"
        ):
            data.load_mnist()
        assert path.read_bytes() == content
    assert host.asked == []


def test_fashion_mnist_is_downloaded_once_and_a_damaged_file_is_told(host, small_arrays):
    host.answer = ANSWERS["an error"][0]
    with pytest.raises(UserError, match=r"^Fashion-MNIST could not be downloaded \(HTTP Error 503.*\)\.$"):
        load_data("fashion_mnist")
    host.answer, host.asked[:] = whole, []
    for _ in range(2):
        dataset = load_data("fashion_mnist")
    assert sorted(host.asked) == sorted(os.listdir(host.folder / "fashion-mnist"))
    np.testing.assert_array_equal(dataset.x_train.pixels, small_arrays["x_train"].reshape(200, 784))
    np.testing.assert_array_equal(dataset.y_test, small_arrays["y_test"])
    path = host.folder / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz"
    for content in (b"x", b"", path.read_bytes()[:-9], gzip.compress(b""), gzip.compress(idx(np.zeros(9, "u1"))[:-1])):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{path} is damaged: move it away, and it is downloaded again"):
            load_data("fashion_mnist")


@pytest.mark.slow
def test_fashion_mnist_has_its_own_folder_and_the_names_of_its_classes(host, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "MNIST_FINGERPRINTS", None)  # else the stand-in for both would be known as MNIST
    line = "--data fashion_mnist --epochs 1 --hidden-dim 8 --evidence-images 0"
    assert vae_mnist.main(line.split()) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "Fashion-MNIST: 200 training and 60 held-out images" in out
    record = json.loads((tmp_path / "figures" / "Fashion-MNIST" / "metrics.json").read_text())
    assert (record["dataset"], record["full_mnist"]) == ("Fashion-MNIST", False)
    page = (tmp_path / "figures" / "Fashion-MNIST" / "explorer.html").read_text()
    assert '"names": ["T-shirt", "trousers"' in page
