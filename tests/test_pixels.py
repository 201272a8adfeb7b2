"""Pixels are what the file holds: the mean grey of what arrives is that of the picture or array that was written."""

import numpy as np
import pytest
from PIL import Image

from seevae.basics import UserError
from seevae.images.data import load_data

RAMP = (np.add.outer(np.arange(28), np.arange(28)) * 4).astype("uint8")  # dark at its rim: it is not inverted
RAMP[0] = RAMP[:, 0] = RAMP[-1] = RAMP[:, -1] = 0
GREY = RAMP.mean() / 255

LOSSLESS = "BMP DIB GIF ICO IM PCX PNG PPM QOI SGI SPIDER TGA TIFF WEBP JPEG2000 DDS ICNS".split()  # noqa: SIM905
MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I;16", "I", "F"]
SUFFIXES = {"JPEG2000": "jp2", "SPIDER": "spi", "TIFF": "tif"}


def in_mode(mode):
    """A picture of a mode, and the mean grey that it shows, by Pillow's own conversion to RGB."""
    if mode in ("I;16", "I", "F"):
        values = RAMP.astype({"I;16": "uint16", "I": "int32", "F": "float32"}[mode])
        return Image.fromarray(values / 255 if mode == "F" else values), GREY
    colours = np.stack([RAMP, RAMP // 2, RAMP // 3], axis=-1)
    picture = Image.fromarray(colours)
    if mode == "LAB":
        picture = Image.fromarray(np.stack([RAMP, np.full_like(RAMP, 128), np.full_like(RAMP, 128)], -1), mode="LAB")
        return picture, GREY
    picture = picture.convert("P").convert("PA") if mode == "PA" else picture.convert(mode)
    seen = picture.convert("RGBA" if mode in ("PA", "LA") else "RGB").convert("L")
    return picture, np.asarray(seen).mean() / 255


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.filterwarnings("ignore:IM image format is deprecated:DeprecationWarning")
def test_the_mean_grey_of_a_picture_arrives_from_every_mode_and_format(mode, tmp_path):
    tried = []
    for name in LOSSLESS:
        picture, expected = in_mode(mode)
        folder = tmp_path / name
        folder.mkdir()
        try:
            for copy in range(2):
                path = folder / f"{copy}.{SUFFIXES.get(name, name.lower())}"
                picture.save(path, name, **({"lossless": True} if name == "WEBP" else {}))
        except (OSError, KeyError, ValueError, SystemError):
            continue  # Pillow writes no such picture
        with Image.open(path) as file:
            if file.size != (28, 28):  # an icon has sizes of its own
                continue
            if mode in ("I", "F", "I;16") and file.mode[0] not in "IF":  # Pillow cut its values off
                continue
            if file.mode != mode and mode not in ("I", "F", "I;16"):  # what the format made of it
                expected = np.asarray(file.convert("RGB").convert("L")).mean() / 255
        if name == "SPIDER" and mode != "F" and (np.asarray(picture.convert("F")) % 1).any():  # floats up to 255
            with pytest.raises(UserError, match=r"not whole.*: if .*; then give mine"):
                load_data(folder)
            continue
        dataset = load_data(folder)
        assert dataset.x_train[:].mean() == pytest.approx(expected, abs=2 / 255), name
        tried.append(name)
    assert tried


def test_light_ink_on_nothing_is_ink(tmp_path):
    """White ink on a transparent ground, and black ink, show the same, and so does light ink on a declared grey.

    A sticker, ink and its paper, keeps the paper around it; a picture with an infinite value is left out.
    """
    Image.fromarray(RAMP).save(tmp_path / "3.png", transparency=0)
    sticker = np.dstack([255 - RAMP] * 3 + [np.pad(np.full((26, 26), 255, "uint8"), 1)])
    Image.fromarray(np.where(sticker[..., 3:] > 0, sticker, [9, 9, 9, 0]).astype("uint8")).save(tmp_path / "4.png")
    for copy, ink in enumerate((255, 0, 255)):
        picture = np.full((28, 28, 4), ink, "uint8")
        picture[..., 3] = RAMP
        Image.fromarray(picture).save(tmp_path / f"{copy}.png")
    images = load_data(tmp_path).x_train[:]
    np.testing.assert_allclose(images, np.stack([RAMP.ravel() / 255] * len(images)), atol=1 / 255)
    Image.fromarray(np.full((28, 28), np.inf, "float32")).save(tmp_path / "0.tif")
    with pytest.raises(UserError, match=r"NaN or infinite values\): 0\.tif"):
        load_data(tmp_path)


@pytest.mark.parametrize("top", [255, 4095, 65535])
def test_deep_pictures_and_arrays_are_scaled_by_one_rule(top, tmp_path):
    deep = (RAMP.astype("float64") * top / RAMP.max()).round().astype("uint16")
    expected = deep.mean() / top
    (tmp_path / "pictures").mkdir()
    for copy in range(2):
        Image.fromarray(deep).save(tmp_path / "pictures" / f"{copy}.png")
    np.save(tmp_path / "array.npy", np.stack([deep, deep]))
    for name in ("pictures", "array.npy"):
        assert load_data(tmp_path / name).x_train[:].mean() == pytest.approx(expected, abs=1 / 255)


HALVES = np.stack([RAMP, RAMP.T // 2]) / RAMP.max()
OPEN = {  # values whose white is not known: the two images, or pictures, and what makes the same of them as of HALVES
    "whole, to 15": ((HALVES * 15).round(), ["x / 15", "x / 255"]),
    "whole, to 3": ((HALVES * 3).round().astype("uint8"), ["x / 3"]),
    "whole, to 1,530": ((HALVES * 1530).round().astype("int32"), ["x / 1530", "x / 4095"]),
    "whole, to 1,234,567": ((HALVES * 1234567).round(), ["x / 1234567"]),
    "an odd largest value": (HALVES * 399.1234567, ["x / 399.1234567"]),
    "an odd largest value, float32": ((HALVES * 5.4321987).astype("float32"), ["x / 5.432198524475098"]),
    "made smaller": (HALVES * 254.6685, ["x.clip(0, 255) / 255", "x / 254.6685"]),
    "a little beyond 0 and 1": (HALVES * 1.07 - 0.03, ["x.clip(0, 1)"]),
    "a little beyond 0 and 255": ((HALVES * 272).round().astype("int16") - 8, ["x.clip(0, 255) / 255"]),
    "divided twice": (HALVES / 255, ["x / 0.00392156862745098"]),
    "from -1 to 1": (HALVES * 2 - 1, ["(x + 1) / 2", "x * deviation + mean"]),
    "from -0.5 to 0.5": (HALVES - 0.5, ["x + 0.5", "x * deviation + mean"]),
    "wrapped bytes": ((HALVES * 255).round().astype("uint8").view("int8"), ['x.view("uint8")', "(x + 128.0) / 253.0"]),
    "from -1,024 on": ((HALVES * 3000).astype("int16") - 1024, ["(x + 1024.0) / 3000.0", "x * deviation + mean"]),
}


@pytest.mark.parametrize(("values", "lines"), OPEN.values(), ids=OPEN)
def test_values_of_unknown_scale_are_refused_with_lines_that_are_taken_when_run(values, lines, tmp_path):
    """What the first line makes is what was written, and what any of them makes is taken."""
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(UserError, match="two readings" if len(lines) > 1 else "values from") as error:
        load_data(tmp_path / "a.npy")
    found = str(error.value).split("`")[1::2]
    assert found == [f"x = {line}" for line in lines]
    for line in found:
        kept = {"x": values, "deviation": 0.31, "mean": 0.43}
        exec(line, kept)
        np.save(tmp_path / "b.npy", kept["x"].clip(0, 1) if "mean" in line else kept["x"])
        dataset = load_data(tmp_path / "b.npy")
        images = np.concatenate([dataset.x_train[:], dataset.x_test])
        if line == found[0]:
            images = images[np.argsort(-images.sum(axis=1))]
            tolerance = 0.2 if values.max() == 3 else 0.04
            np.testing.assert_allclose(images, HALVES.reshape(2, -1), atol=tolerance)


def test_what_rounding_leaves_beyond_0_and_1_is_cut(tmp_path):
    np.save(tmp_path / "a.npy", np.where(HALVES == 0, -1e-9, HALVES) * 1.000001)
    images = load_data(tmp_path / "a.npy").x_train[:]
    assert (images.min(), images.max()) in ((0, 1), (0, pytest.approx(0.5, abs=0.01)))


def write_folders(place):
    for name, values in zip("ab", HALVES, strict=True):
        (place / "own" / name).mkdir(parents=True)
        Image.fromarray((values * 1530).round().astype("uint16")).save(place / "own" / name / "1.tif")
    return place / "own"


def write_stack(place):
    first, *others = (Image.fromarray((values * 7.3).astype("float32")) for values in HALVES)
    first.save(place / "own.tif", save_all=True, append_images=others)
    return place / "own.tif"


def write_table(place):
    pytest.importorskip("pandas")
    flat = (HALVES * 15).round().astype("int64").reshape(2, -1)
    rows = [
        ["label", *(f"pixel{k}" for k in range(784))],
        *([name, *row] for name, row in zip("ab", flat, strict=True)),
    ]
    (place / "own.csv").write_text("\n".join(";".join(map(str, row)) for row in rows))
    return place / "own.csv"


def write_flat_colours(place):
    pytest.importorskip("pandas")
    rows = np.repeat((HALVES * 255).round().astype("uint8").reshape(2, -1), 3, axis=1)
    rows[:, -1] = [0, 1]
    np.savetxt(place / "own.csv", rows, "%d", ",", header=",".join(f"pixel{k}" for k in range(2352)), comments="")
    return place / "own.csv"


LINES = {"own.tif": 1}  # that are named; else two
OWNED = {  # what writes what one has, and which line makes what was written; whether there are classes
    "folders of pictures": (write_folders, 0, ("a", "b")),
    "a stack of pages": (write_stack, 0, ()),
    "a table": (write_table, 0, ("a", "b")),
    "a table of colours": (write_flat_colours, 1, ()),
}
OWNED = [pytest.param(*of, id=name, marks=[pytest.mark.slow] * ("table" in name)) for name, of in OWNED.items()]


@pytest.mark.parametrize(("write", "right", "classes"), OWNED)
def test_the_lines_for_pictures_and_tables_run_as_they_stand(write, right, classes, tmp_path, monkeypatch):
    own = write(tmp_path)
    with pytest.raises(UserError, match=r"; then give mine(\.npz)?\.$") as error:
        load_data(own)
    monkeypatch.chdir(tmp_path)
    lines = str(error.value).split("`")[1::2]
    assert len(lines) == LINES.get(own.name, 2)
    for number, line in enumerate(lines):
        exec(line, {})
        dataset = load_data(str(error.value).removesuffix(".").split(" give ")[-1])
        assert dataset.classes == classes
        images = np.concatenate([dataset.x_train[:], dataset.x_test])
        if number == right:
            images = images[np.argsort(-images.sum(axis=1))]
            np.testing.assert_allclose(images, HALVES.reshape(2, -1), atol=0.04)


def test_colours_of_one_brightness_leave_nothing_to_learn(tmp_path):
    """Red ink on a green ground, 76 both."""
    for copy in range(2):
        ink = np.roll(RAMP, copy) > 99
        picture = np.where(ink[..., None], (255, 0, 0), (0, 130, 0)).astype("uint8")
        Image.fromarray(picture).save(tmp_path / f"{copy}.png")
    with pytest.raises(UserError, match=r"one grey all over \(colour made grey\): there is nothing"):
        load_data(tmp_path)
