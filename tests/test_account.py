"""The account: whatever lies in a folder is found once, and is taken or left out for a reason."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from written import ALL, LISTS, PATHS, strokes, write_arrays_of_classes, write_list, write_paths, write_stacks

from seevae.basics import UserError
from seevae.images.data import load_data


def folder_of_classes(root):
    root.mkdir()
    write_paths([f"{'abc'[number % 3]}/{number}.png" for number in range(60)])(strokes(), root)


def write(path, content):
    path.write_bytes(content)


ADDED = [
    lambda place, rng: write(place / "README.md", b"about"),
    lambda place, rng: write(place / "page.pdf", b"%PDF-1.4"),
    lambda place, rng: write(place / ".DS_Store", b"x"),
    lambda place, rng: write(place / "more.zip", b"PK\3\4"),
    lambda place, rng: write(place / "cut.bmp", b"\x89PNG\r\n\x1a\n"),
    lambda place, rng: write(place / "empty.jpg", b""),
    lambda place, rng: write(place / "notes.csv", b"a,b\n1,2\n"),
    lambda place, rng: np.savez(place / "weights.npz", w=np.ones(3), b=np.ones(2)),
    lambda place, rng: (place / "gone.jpg").symlink_to(place / "nowhere"),
    lambda place, rng: picture().save(place / "extra.webp"),
    lambda place, rng: write(place / "run.py", b"print(1)"),
]


def picture():
    return Image.fromarray(strokes()["x_train"][0])


def pages_of(path):
    """How many pages a picture file has, and 0 for others; of a PSD, the whole and its layers."""
    try:
        with Image.open(path) as file:
            file.load()
            return getattr(file, "n_frames", 1) + (file.format == "PSD")
    except (OSError, SyntaxError):
        return 0


def counted(folder):
    """What lies in a folder: files, arrays in .npz files of several, and pages of pictures."""
    files = [Path(top, name) for top, _, names in os.walk(folder) for name in names]
    arrays = [len(np.load(path, allow_pickle=False).files) for path in files if path.suffix == ".npz"]
    return {"files": len(files), "arrays": sum(n for n in arrays if n > 1), "pages": sum(map(pages_of, files))}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("layout", ALL)
def test_found_is_taken_and_left_out_reason_by_reason(layout, seed, tmp_path):
    """In every layout, three files of other kinds in folders drawn at random; what is there is counted on its own."""
    (tmp_path / "set").mkdir()
    ALL[layout](strokes(), tmp_path / "set")
    rng = np.random.default_rng([seed, *layout.encode()])
    places = [Path(place) for place, _, _ in os.walk(tmp_path / "set")]
    for add in rng.choice(len(ADDED), 3, replace=False):
        ADDED[add](places[rng.integers(len(places))], rng)
    there = counted(tmp_path / "set")
    dataset = load_data(tmp_path / "set")
    account = dataset.account
    assert account["files"]["found"] == there["files"]
    assert account.get("arrays", {"found": 0})["found"] == there["arrays"]
    for unit, counts in account.items():
        assert counts["found"] == counts["taken"] + sum(counts["left_out"].values()), unit
        said = [words for words in dataset.said if words.startswith(f"{counts['found']:,} {unit} found: ")]
        assert bool(said) == bool(counts["left_out"])
        assert all(f"{reason}: " in said[0] for reason in counts["left_out"])
    assert account["images"]["taken"] == len(dataset.x_train) + len(dataset.x_test)
    in_arrays = 0 if there["pages"] >= 12 else {"MedMNIST": 80}.get(layout, 40 if "an array" in layout else 60)
    assert account["images"]["found"] == there["pages"] + in_arrays
    json.dumps(account)


def test_more_than_a_tenth_lost_is_a_refusal_and_less_is_a_remark(tmp_path):
    folder_of_classes(tmp_path / "set")
    for number in range(0, 18, 3):
        path = tmp_path / "set" / "a" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:40])
    assert load_data(tmp_path / "set").account["files"]["left_out"] == {"cannot be read (damaged)": 6}
    path = tmp_path / "set" / "b" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        UserError, match=r"More than a tenth .* 7 left out \(cannot be read \(damaged\): 7, such as a/0\.png\)"
    ):
        load_data(tmp_path / "set")


def test_a_stack_that_is_cut_counts_as_all_its_pages(tmp_path):
    write_stacks(".tif")(strokes(), tmp_path)
    (tmp_path / "a" / "more.tif").write_bytes((tmp_path / "a" / "all.tif").read_bytes()[:300])
    with pytest.raises(UserError, match=r"More than a tenth .* 3 files found: 2 taken"):
        load_data(tmp_path)


def test_a_class_or_a_part_of_which_nothing_can_be_read_is_a_refusal(tmp_path):
    folder_of_classes(tmp_path / "set")
    (tmp_path / "set" / "d").mkdir()
    (tmp_path / "set" / "d" / "one.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match="No picture of the class d"):
        load_data(tmp_path / "set")
    (tmp_path / "set" / "d" / "one.png").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(UserError, match=r"No picture of the class d .*HEIC is not read here: make it PNG"):
        load_data(tmp_path / "set")


def test_a_text_that_begins_as_a_picture_is_a_text(tmp_path):
    folder_of_classes(tmp_path / "set")
    for number, text in enumerate(("Python is needed", "BMI,age\n1,2\n", "P5 is a class")):
        (tmp_path / "set" / f"{number}.txt").write_text(text)
    assert load_data(tmp_path / "set").account["files"]["left_out"] == {
        "a table that lies beside folders of classes": 3
    }


def test_a_file_of_arrays_that_cannot_be_read_is_a_refusal(tmp_path):
    write_arrays_of_classes(strokes(), tmp_path)
    (tmp_path / "full_numpy_bitmap_cat.npy").write_bytes(b"\x93NUMPY\1\0")
    with pytest.raises(UserError, match=r"cat\.npy is not a readable file"):
        load_data(tmp_path)


@pytest.mark.parametrize(("paths", "classes", "left_out"), PATHS.values(), ids=PATHS)
def test_parts_and_classes_are_read_off_the_paths(paths, classes, left_out, tmp_path):
    write_paths(paths)(strokes(), tmp_path)
    dataset = load_data(tmp_path)
    assert dataset.classes == tuple(classes.split())
    assert len(dataset.x_train) + len(dataset.x_test) == len(paths) - left_out
    test = Counter("test" in path.lower() for path in paths)[True]
    assert not test or left_out or len(dataset.x_test) == test


@pytest.mark.parametrize("layout", LISTS.values(), ids=LISTS)
def test_a_table_beside_pictures_names_their_classes(layout, tmp_path):
    write_list(layout)(strokes(), tmp_path)
    dataset = load_data(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.account["files"] == {"found": 31, "taken": 31, "left_out": {}}
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join(rows[:16]))
    dataset = load_data(tmp_path)  # it names a half: all are taken, without classes
    assert (dataset.classes, len(dataset.x_train) + len(dataset.x_test)) == ((), 30)
