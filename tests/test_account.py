"""The account: whatever lies in a folder is found once, and is taken or left out for a reason."""

import json
import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from seevae.basics import UserError
from seevae.images.data import load_data

RNG_SEEDS = range(6)


def stroke(rng):
    image = np.zeros((28, 28), "uint8")
    image[rng.integers(3, 20) :][:4, 6:22] = 255
    return Image.fromarray(image)


def folder_of_classes(root, rng):
    for number in range(60):
        (root / "abc"[number % 3]).mkdir(parents=True, exist_ok=True)
        stroke(rng).save(root / "abc"[number % 3] / f"{number}.png")


def parts(root, rng):
    folder_of_classes(root / "train_images", rng)
    folder_of_classes(root / "test_images", rng)


def stacks(root, rng):
    for name in "ab":
        (root / name).mkdir(parents=True)
        pages = [stroke(rng) for _ in range(30)]
        pages[0].save(root / name / "all.tif", save_all=True, append_images=pages[1:])


def files_of_arrays(root, rng):
    root.mkdir(exist_ok=True)
    for part, n in (("train", 60), ("test", 20)):
        np.savez(root / f"{part}.npz", x=rng.integers(0, 256, (n, 28, 28), "uint8"), y=np.arange(n) % 3)


LAYOUTS = [folder_of_classes, parts, stacks, files_of_arrays]


def write(path, content):
    path.write_bytes(content)


ADDED = [
    lambda place, rng: write(place / "README.md", b"about"),
    lambda place, rng: write(place / "page.pdf", b"%PDF-1.4"),
    lambda place, rng: write(place / ".DS_Store", b"x"),
    lambda place, rng: write(place / "more.zip", b"PK\3\4"),
    lambda place, rng: write(place / "cut.png", b"\x89PNG\r\n\x1a\n"),
    lambda place, rng: write(place / "empty.jpg", b""),
    lambda place, rng: write(place / "notes.csv", b"a,b\n1,2\n"),
    lambda place, rng: np.savez(place / "weights.npz", w=np.ones(3), b=np.ones(2)),
    lambda place, rng: (place / "gone.png").symlink_to(place / "nowhere"),
    lambda place, rng: stroke(rng).save(place / "extra.webp"),
]


@pytest.mark.parametrize("seed", RNG_SEEDS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_found_is_taken_and_left_out_reason_by_reason(layout, seed, tmp_path):
    """Files of every kind are put into folders drawn at random; os.walk counts them independently."""
    rng = np.random.default_rng(seed)
    layout(tmp_path / "set", rng)
    places = [place for place, _, _ in os.walk(tmp_path / "set")]
    for add in rng.choice(len(ADDED), 3, replace=False):
        ADDED[add](type(tmp_path)(rng.choice(places)), rng)
    there = sum(len(files) for _, _, files in os.walk(tmp_path / "set"))
    dataset = load_data(tmp_path / "set")
    account = dataset.account
    assert account["files"]["found"] == there
    for unit, counts in account.items():
        assert counts["found"] == counts["taken"] + sum(counts["left_out"].values()), unit
        said = [words for words in dataset.said if words.startswith(f"{counts['found']:,} {unit} found: ")]
        assert bool(said) == bool(counts["left_out"])
        assert all(f"{reason}: " in said[0] for reason in counts["left_out"])
    assert account["images"]["taken"] == len(dataset.x_train) + len(dataset.x_test)
    json.dumps(account)


def test_more_than_a_tenth_lost_is_a_refusal_and_less_is_a_remark(tmp_path):
    folder_of_classes(tmp_path / "set", np.random.default_rng(0))
    for number in range(0, 18, 3):
        path = tmp_path / "set" / "a" / f"{number}.png"
        path.write_bytes(path.read_bytes()[:40])
    assert load_data(tmp_path / "set").account["files"]["left_out"] == {"cannot be read (damaged)": 6}
    path = tmp_path / "set" / "b" / "1.png"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        UserError, match=r"More than a tenth .* 7 left out \(cannot be read \(damaged\): 7, such as 0\.png\)"
    ):
        load_data(tmp_path / "set")


def test_a_class_or_a_part_of_which_nothing_can_be_read_is_a_refusal(tmp_path):
    folder_of_classes(tmp_path / "set", np.random.default_rng(0))
    (tmp_path / "set" / "d").mkdir()
    (tmp_path / "set" / "d" / "one.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(UserError, match="No picture of the class d"):
        load_data(tmp_path / "set")


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


@pytest.mark.parametrize(("paths", "classes", "left_out"), PATHS.values(), ids=PATHS)
def test_parts_and_classes_are_read_off_the_paths(paths, classes, left_out, tmp_path):
    rng = np.random.default_rng(0)
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        stroke(rng).save(tmp_path / path)
    dataset = load_data(tmp_path)
    assert dataset.classes == tuple(classes.split())
    assert len(dataset.x_train) + len(dataset.x_test) == len(paths) - left_out
    test = Counter("test" in path.lower() for path in paths)[True]
    assert not test or left_out or len(dataset.x_test) == test


LISTS = {
    "label": "file_name,label\n{}.png,{}\n",
    "stems": "id,breed\n{},{}\n",
    "no names of columns": "{}.png {}\n",
    "paths": "path,species,age\nimages/{}.png,{},7\n",
}


@pytest.mark.parametrize("layout", LISTS.values(), ids=LISTS)
def test_a_table_beside_pictures_names_their_classes(layout, tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(12):
        stroke(np.random.default_rng(number)).save(tmp_path / "images" / f"{number}.png")
    *head, row = layout.splitlines(keepends=True)
    (tmp_path / "labels.csv").write_text(
        "".join(head) + "".join(row.format(n, ("cat", "dog")[n % 2]) for n in range(12))
    )
    dataset = load_data(tmp_path)
    assert dataset.classes == ("cat", "dog")
    assert dataset.account["files"] == {"found": 13, "taken": 13, "left_out": {}}
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    (tmp_path / "labels.csv").write_text("\n".join(rows[:6]))
    dataset = load_data(tmp_path)  # it names a half: all are taken, without classes
    assert (dataset.classes, len(dataset.x_train) + len(dataset.x_test)) == ((), 12)
