"""Files that may come from anywhere: each that is not as declared is refused, before it is read."""

import io
import json
import os
import zipfile

import numpy as np
import pytest

from seevae.images import reading
from seevae.results.replay import load_replay

WANTED = {"x": ("f", (None, 2)), "n": ("iu", ()), "text": ("U", ())}
GOOD = {"x": np.ones((3, 2), "float32"), "n": np.int64(7), "text": np.array('{"a": 1}')}


def npz(path, **arrays):
    np.savez(path, **GOOD | arrays)
    return path


def test_what_is_as_declared_is_read_and_nothing_else(tmp_path):
    path = npz(tmp_path / "a.npz", other=np.array([None], dtype=object))
    found = reading.read_arrays(path, WANTED | {"absent": None})
    assert found.keys() == GOOD.keys()
    for name, array in GOOD.items():
        np.testing.assert_array_equal(found[name], array)


BAD = {
    "other kind": {"x": np.ones((3, 2), "int64")},
    "other shape": {"x": np.ones((3, 3), "float32")},
    "no dimension": {"x": np.float32(1)},
    "text": {"x": np.array([["a", "b"]])},
    "bytes": {"x": np.array([[b"a", b"b"]])},
    "NaN": {"x": np.full((3, 2), np.nan)},
    "infinity": {"x": np.full((3, 2), -np.inf)},
    "complex": {"x": np.ones((3, 2), complex)},
    "an object": {"x": np.full((3, 2), None, dtype=object)},
    "a record": {"x": np.zeros((3, 2), [("a", "f4")])},
    "a number for text": {"text": np.array(5)},
    "several texts": {"text": np.array(["a", "b"])},
}


@pytest.mark.parametrize("change", BAD.values(), ids=BAD)
def test_what_is_not_as_declared_is_refused(change, tmp_path):
    with pytest.raises(ValueError, match=r"dtype|finite|plain|allow_pickle"):
        reading.read_arrays(npz(tmp_path / "a.npz", **change), WANTED)


def claim(shape, dtype="<f4"):
    """The bytes of an .npy file that says to hold an array of this shape, and holds nothing."""
    np.lib.format.write_array_header_1_0(file := io.BytesIO(), {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("shape", [(2**40, 2), (2**29, 2), (2**62, 2**62)])
def test_what_claims_to_be_larger_than_allowed_is_not_read(shape, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", claim(shape))
    with pytest.raises(MemoryError):
        reading.read_arrays(tmp_path / "a.npz", {"x": None})


def test_several_arrays_share_the_limit(tmp_path):
    path = npz(tmp_path / "a.npz", x=np.ones((1000, 2)), y=np.ones((1000, 2)))
    assert len(reading.read_arrays(path, {"x": None, "y": None}, at_most=32_000)) == 2
    with pytest.raises(MemoryError):
        reading.read_arrays(path, {"x": None, "y": None}, at_most=31_999)


def test_a_header_that_claims_more_than_follows_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", claim((100, 2)))
    with pytest.raises(ValueError, match="EOF"):
        reading.read_arrays(tmp_path / "a.npz", WANTED)


def test_an_encrypted_archive_is_refused(tmp_path):
    """The bit that says so, in both headers of the first member."""
    content = bytearray(npz(tmp_path / "a.npz").read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        reading.read_arrays(tmp_path / "a.npz", WANTED)


@pytest.mark.parametrize("content", [b"", b"x", b"PK\3\4 damaged", b"[" * 100_000])
def test_files_that_are_neither_are_refused(content, tmp_path):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=r"."):
        reading.read_arrays(tmp_path / "a", WANTED)
    with pytest.raises(ValueError, match=r"."):
        reading.read_json(tmp_path / "a")


def test_json_is_read_up_to_a_limit(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"a": 1}))
    assert reading.read_json(tmp_path / "a.json", at_most=8) == {"a": 1}
    with pytest.raises(ValueError, match="more than 7 bytes"):
        reading.read_json(tmp_path / "a.json", at_most=7)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in its folders")
def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, "/dev/zero"):
        with pytest.raises(OSError, match=r"ordinary|directory"):
            reading.open_file(path)


REPLAY = {"moments": np.arange(3.0), "loss": np.ones(3), "z": np.zeros((3, 5, 2), "float16"), "labels": np.arange(5)}
NOT_A_REPLAY = {
    "no moments": {"moments": np.zeros(0), "loss": np.zeros(0), "z": np.zeros((0, 5, 2))},
    "lengths": {"loss": np.ones(4)},
    "labels too few": {"labels": np.arange(4)},
    "labels too large": {"labels": np.full(5, 62)},
    "labels below zero": {"labels": np.full(5, -1)},
    "no labels": {"z": np.zeros((3, 0, 2)), "labels": np.zeros(0, int)},
    "NaN": {"z": np.full((3, 5, 2), np.nan)},
    "one dimension": {"z": np.zeros(3)},
}


@pytest.mark.parametrize("change", NOT_A_REPLAY.values(), ids=NOT_A_REPLAY)
def test_a_replay_that_no_training_recorded_is_left_out(change, tmp_path):
    np.savez(tmp_path / "replay.npz", **REPLAY)
    assert load_replay(tmp_path / "vae.keras").moments == [0, 1, 2]
    np.savez(tmp_path / "replay.npz", **REPLAY | change)
    assert load_replay(tmp_path / "vae.keras") is None
