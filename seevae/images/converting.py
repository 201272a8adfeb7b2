"""Images and labels in other forms become 28 x 28 grey images and classes with names; each conversion is said.

An image becomes small and grey by Pillow, in the same way from a file and from an array: transparent places are paper,
colours become their brightness (ITU-R 601), and what is not square is centred on paper.
"""

import math
import re
import warnings

import numpy as np
from PIL import Image, ImageOps

from seevae.basics import UserError, printable
from seevae.images.reading import open_file

SIDE = 28
MOST_CLASSES = 62
LARGEST_PICTURE = 2**26  # pixels
WHITE = 255
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
BLOCK = 10_000  # images that are looked at, or converted, at a time


def to_numpy(value):
    """An array of any library as a NumPy array."""
    if hasattr(value, "detach"):  # PyTorch
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value  # NumPy has no bfloat16
    return np.asarray(value)


def in_order(paths):
    """Paths in the order of their names, with 2 before 10."""
    return sorted(paths, key=lambda path: name_order(path.name))


def name_order(name):
    """A key to sort names by, in which 2 comes before 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


# -- Pictures ----------------------------------------------------------------------------------------------------------


def read_picture(path):
    """A picture file as an image, uint8 (28, 28), and what was done to it, a list of words; None if it is no picture.

    Ink is 1 in our images, as in MNIST: a picture on light paper is inverted.
    """
    try:
        with open_file(path) as file, warnings.catch_warnings(action="ignore"):
            picture = Image.open(file, formats=FORMATS)
            if math.prod(picture.size) > LARGEST_PICTURE:
                return None
            picture.draft("L", (2 * SIDE, 2 * SIDE))  # a large JPEG is read at a fraction of its size
            grey, said = as_grey(ImageOps.exif_transpose(picture))
    except Exception:  # a damaged file fails in many ways
        return None
    if paper_of(grey) > WHITE // 2:
        grey, said = ImageOps.invert(grey), [*said, "dark on light inverted"]
    if grey.size != (SIDE, SIDE):
        said = [*said, "pictures of other sizes made 28 x 28"]
    return np.asarray(small(grey)), said


def as_grey(picture):
    """A Pillow image as one of mode L, and what was done to it."""
    if picture.mode.startswith("I"):  # 16 bits
        values = np.asarray(picture, "int64")
        return Image.fromarray((values.clip(0, 65535) // 257).astype("uint8")), ["16 bits made 8"]
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(paper, picture).convert("L"), ["transparent places made white"]
    return picture.convert("L"), [] if picture.mode in ("L", "1") else ["colour made grey"]


def paper_of(grey):
    """The grey value that most of the rim of an image has: the median of its four edges."""
    values = np.asarray(grey)
    return int(np.median(np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])))


def small(grey):
    """A Pillow image of mode L as one of 28 x 28, averaged over areas, and centred on paper if it is not square."""
    if grey.size == (SIDE, SIDE):
        return grey
    way = Image.Resampling.BOX if max(grey.size) > SIDE else Image.Resampling.BILINEAR
    return ImageOps.pad(grey, (SIDE, SIDE), way, color=paper_of(grey))


# -- Arrays of images --------------------------------------------------------------------------------------------------


def convert_images(parts, source):
    """Arrays of images in any form as (n, 28, 28), uint8 from 0 to 255 or float32 from 0 to 1.

    parts: the arrays of one data set, converted alike; source: where they are from, for the sentences. Returns the
    list of arrays, and what was done, a list of words. Nothing is copied that is as it should be. Raises UserError.
    """
    shaped = [with_channel_last(x, source) for x in parts]
    if len({x.shape[1:] for x in shaped}) > 1:
        one, other = (x.shape[1:] for x in shaped)
        raise UserError(f"{source} has training images of {one} and test images of {other}: give both one size.")
    change, said = grey_values(shaped, f"The images of {source}")
    height, width, *colours = shaped[0].shape[1:]
    if colours:
        said.append("colour made grey")
    if (height, width) != (SIDE, SIDE):
        said.append(f"{height} x {width} made 28 x 28")
    if not colours and (height, width) == (SIDE, SIDE):
        return [change(x) for x in shaped], said
    return [in_blocks(lambda rows: made_small(change(rows)), x) for x in shaped], said


def with_channel_last(x, source):
    """An array of images as (n, height, width), or with a last axis of 3 or 4 colours, without a copy."""
    n, *shape = x.shape or (0,)
    side = math.isqrt(shape[0]) if len(shape) == 1 else 0
    if x.size == 0:
        raise UserError(f"{source} has a part without images (its shape is {x.shape}): give it at least one.")
    if len(shape) == 1 and side**2 == shape[0]:
        return x.reshape(n, side, side)
    if len(shape) == 2:
        return x
    if len(shape) == 3 and shape[-1] in (1, 3, 4):
        return x[..., 0] if shape[-1] == 1 else x
    if len(shape) == 3 and shape[0] in (1, 3):
        return x[:, 0] if shape[0] == 1 else np.moveaxis(x, 1, -1)
    advice = "images must have shape (n, height, width), perhaps with 1 or 3 channels, or (n, 784)"
    raise UserError(f"The images of {source} have shape {x.shape}: {advice}.")


def grey_values(parts, what):
    """How numbers become grey values: a function of an array, and the words that say so, a list.

    parts: arrays of one data set. Raises UserError for what can be read in more than one way, or in none.
    """
    kinds = {x.dtype.kind for x in parts}
    if not kinds <= set("biuf"):
        raise UserError(
            f"{what} have dtype {parts[0].dtype}: they must be integers from 0 to 255 or floats from 0 to 1."
        )
    low, high = min(x.min() for x in parts), max(x.max() for x in parts)
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UserError(f"{what} hold NaN or infinite values: replace them by numbers from 0 to 1.")
    if low == high == 0:
        raise UserError(f"{what} hold nothing but 0: they are empty.")
    if low < 0:
        raise UserError(
            f"{what} have values from {low:.4g} to {high:.4g}, which have two readings: if they go from -1 to 1, take"
            " `x = (x + 1) / 2`; if a mean was taken off and a deviation divided out, `x = x * deviation + mean`."
        )
    if high > 255:
        raise UserError(f"{what} have values from {low:.4g} to {high:.4g}: scale them with `x = x / {high:.6g}`.")
    if "f" in kinds:
        if high <= 1:
            return as_float32, []
        if not all(in_whole_numbers(x) for x in parts):
            raise UserError(
                f"{what} have values from {low:.4g} to {high:.4g}, not whole: scale with `x = x / {high:.6g}`."
            )
        return as_bytes, ["floats from 0 to 255 taken as whole grey values"]
    if high <= 1:
        return lambda x: as_bytes(x) * np.uint8(255), ["0 and 1 made 0 and 255"]
    return as_bytes, [f"the largest value is {high} of 255: they may want a scale"] if high < 64 else []


def check_unit(x, what, divide="divide them by 255"):
    """Raise UserError unless an array holds floats from 0 to 1, without a copy; divide: the advice for those to 255."""
    if x.dtype.kind != "f":
        raise UserError(f"{what} have dtype {x.dtype}, not floats from 0 to 1: if they go to 255, {divide}.")
    low, high = (x.min(), x.max()) if x.size else (0, 0)  # NaN, if one of them is
    if not 0 <= low <= high <= 1:
        advice = divide if low >= 0 and high <= 255 else "scale them"
        raise UserError(f"{what} have values from {low:.4g} to {high:.4g}, and must be from 0 to 1: {advice}.")


def as_float32(x):
    return x.astype("float32", copy=False)


def as_bytes(x):
    return x.astype("uint8", copy=False)


def in_whole_numbers(x):
    """Whether an array of floats holds whole numbers alone, looked at block by block."""
    return all(np.array_equal(rows, np.round(rows)) for rows in blocks(x))


def blocks(x):
    return (x[start : start + BLOCK] for start in range(0, len(x), BLOCK))


def in_blocks(function, x):
    return np.concatenate([function(rows) for rows in blocks(x)])


def made_small(images):
    """Images (n, height, width[, colours]), uint8 or float32 from 0 to 1, as uint8 (n, 28, 28)."""
    pixels = images if images.dtype == np.uint8 else (255 * images).round().astype("uint8")
    return np.stack([np.asarray(small(as_grey(Image.fromarray(image))[0])) for image in np.ascontiguousarray(pixels)])


# -- Labels ------------------------------------------------------------------------------------------------------------


def convert_labels(parts, lengths, source):
    """Labels in any form as whole numbers from 0 on, int64 (n,), and the names of the classes, a tuple.

    parts: the labels of one data set: (n,), (n, 1) or (1, n) whole numbers, floats that are whole, truths or text, or
    one-hot (n, classes); or None for all, which gives zeros and no names. lengths: how many images each part has;
    source: where they are from, for the sentences. Raises UserError.
    """
    if all(y is None for y in parts):
        return [np.zeros(length, "int64") for length in lengths], ()
    if any(y is None for y in parts):
        raise UserError(f"{source} has labels of one part alone, training or test: give those of the other, or none.")
    flat = [flat_labels(y, source) for y in parts]
    if [*map(len, flat)] != lengths:
        there = " and ".join(
            f"{len(y):,} labels for {length:,} images" for y, length in zip(flat, lengths, strict=True)
        )
        raise UserError(f"There are {there} in {source}: give one label for each.")
    values = np.unique(np.concatenate(flat)).tolist()
    if len(values) > MOST_CLASSES:
        raise UserError(f"The labels of {source} are {len(values):,} classes: give {MOST_CLASSES} at most, or none.")
    values.sort(key=lambda value: name_order(value) if isinstance(value, str) else value)
    order = np.array(sorted(range(len(values)), key=values.__getitem__))
    numbers = [order[np.searchsorted(np.array(values)[order], y)].astype("int64") for y in flat]
    return numbers, tuple(printable(str(value))[:40] for value in values)


def flat_labels(y, source):
    """Labels as (n,) whole numbers or text. Raises UserError for what are none."""
    if is_one_hot(y):
        return y.argmax(axis=1)
    if y.ndim == 2 and 1 in y.shape:
        y = y.ravel()
    whole = y.dtype.kind in "biu" or (y.dtype.kind == "f" and np.isfinite(y).all() and (y == y.round()).all())
    if y.ndim != 1 or not (whole or y.dtype.kind in "US"):
        advice = "labels must be (n,) whole numbers or text, or one-hot (n, classes)"
        raise UserError(f"The labels of {source} have shape {y.shape} and dtype {y.dtype}: {advice}.")
    if y.dtype.kind == "S":
        return np.char.decode(y, "utf-8", "backslashreplace")
    return y.astype("int64") if whole else y


def is_one_hot(y):
    """Whether labels are rows of 0 with a single 1, (n, classes)."""
    if y.ndim != 2 or y.shape[1] == 1 or y.dtype.kind not in "biuf":
        return False
    return ((y == 0) | (y == 1)).all() and (y.sum(axis=1) == 1).all()
