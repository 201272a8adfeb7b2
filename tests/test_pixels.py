"""Pixels are what the file holds: the mean grey of what arrives is that of the picture or array that was written."""

import numpy as np
import pytest
from PIL import Image

from seevae.basics import UserError
from seevae.images.data import load_data

RAMP = (np.add.outer(np.arange(28), np.arange(28)) * 4).astype("uint8")  # dark at its rim: it is not inverted
RAMP[0] = RAMP[:, 0] = RAMP[-1] = RAMP[:, -1] = 0
GREY = RAMP.mean() / 255

LOSSLESS = [
    "BMP",
    "DIB",
    "GIF",
    "ICO",
    "IM",
    "PCX",
    "PNG",
    "PPM",
    "QOI",
    "SGI",
    "SPIDER",
    "TGA",
    "TIFF",
    "WEBP",
    "JPEG2000",
    "DDS",
    "ICNS",
]
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
            with pytest.raises(UserError, match=r"not whole: scale with `x = x / "):
                load_data(folder)
            continue
        dataset = load_data(folder)
        assert dataset.x_train[:].mean() == pytest.approx(expected, abs=2 / 255), name
        tried.append(name)
    assert tried


def test_light_ink_on_nothing_is_ink(tmp_path):
    """White ink on a transparent ground, and black ink, show the same; a picture with an infinite value is left out."""
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


@pytest.mark.parametrize(("values", "sentence"), [(RAMP / 127.5 - 1, "two readings"), (RAMP * 9.5, r"x = x / ")])
def test_a_scale_that_cannot_be_known_is_refused_for_pictures_and_arrays(values, sentence, tmp_path):
    (tmp_path / "pictures").mkdir()
    for copy in range(2):
        Image.fromarray(values.astype("float32")).save(tmp_path / "pictures" / f"{copy}.tif")
    np.save(tmp_path / "array.npy", np.stack([values, values]))
    for name in ("pictures", "array.npy"):
        with pytest.raises(UserError, match=sentence):
            load_data(tmp_path / name)
