"""Pictures and arrays of any form become 28 x 28 grey images; each conversion is said.

An image becomes small and grey by Pillow, in the same way from a file and from an array: transparent places are paper,
colours become their brightness (ITU-R 601), and what is not square is centred on paper. Which value is white is decided
by `full_scale` alone, for both.
"""

import math
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from seevae.basics import UserError
from seevae.images.account import VIEWS
from seevae.images.reading import open_file

SIDE = 28
LARGEST_PICTURE = 2**26  # bytes, unpacked
WHITE = 255
FAINT = 32  # of 255: on white paper of so little contrast, nothing is to be seen
CONTRAST = 4  # of 255: what differs by less is one grey
ROUNDING = 0.0019  # of white, less than half a step of 255: what goes so far beyond 0 or white does not show
DEPTHS = (WHITE, 2**10 - 1, 2**12 - 1, 2**14 - 1, 2**16 - 1)  # the largest values of whole numbers
CENTRED = {0.5: "x + 0.5", 1: "(x + 1) / 2"}  # what makes of values from -0.5 to 0.5, or -1 to 1, those from 0 to 1
CLIPPED = {1: "x.clip(0, 1)", WHITE: "x.clip(0, 255) / 255"}
STRONG = "PNG JPEG GIF TIFF BMP WEBP AVIF BLP DDS ICNS ICO JPEG2000 MSP PCX PPM PSD QOI SGI SUN".split()  # noqa: SIM905
FORMATS = (*STRONG, "DIB", "IM", "SPIDER", "TGA", "XBM")  # of Pillow's formats, those that run nothing
BLOCK = 2**23  # values that are looked at, or converted, at a time


def to_numpy(value: Any) -> np.ndarray:
    """An array of any library as a NumPy array."""
    if hasattr(value, "detach"):  # PyTorch
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value  # NumPy has no bfloat16
    return np.asarray(value)


# -- Which value is white ----------------------------------------------------------------------------------------------


class Span(NamedTuple):
    """The values of all images of one kind: the smallest, the largest, whether all are whole, and their type."""

    low: float
    high: float
    whole: bool
    dtype: np.dtype


def span_of(x):
    """The Span of an array of numbers, looked at block by block."""
    low, high, floats = x.min(), x.max(), x.dtype.kind == "f"
    whole = not floats or (high > 1 and all(np.array_equal(rows, np.round(rows)) for rows in blocks(x)))
    return Span(low, high, whole, x.dtype)


def common_span(spans):
    """The Span of several."""
    low, high, whole, dtypes = zip(*spans, strict=True)
    return Span(np.min(low), np.max(high), all(whole), np.result_type(*dtypes))  # NaN, if one is


def full_scale(span, what):
    """The value that is white, and the words that say so, a list. Raises UserError where it cannot be known."""
    low, high, whole, dtype = span
    full = known_white(span)
    if not full:
        told = f"{what} have values from {low:.4g} to {high:.4g}{', not whole' if high > 1 and not whole else ''}"
        (first, line), *others = readings(span).items()
        told += ", which have two readings" if others else ""
        also = [f"; if {when}, `x = {other}`" for when, other in others]
        raise UserError(f"{told}: if {first}, take `x = {line}`{''.join(also)}.")
    dark = [f"the largest value is {high:.4g} of {full:,}: they may want a scale"] if high < full / 2 else []
    if full == 1:
        return 1, dark if dtype.kind == "f" or is_deep(dtype) else ["0 and 1 made 0 and 255"]
    if full == WHITE:
        return WHITE, ["floats from 0 to 255 taken as whole grey values"] * (dtype.kind == "f") + dark
    return full, [f"values to {high:,.0f} taken as 0 to {full:,}"]


def is_deep(dtype):
    """Whether a type is that of 16-bit pictures."""
    return dtype.kind == "u" and dtype.itemsize == 2


def known_white(span):
    """The value that is white, or None where the values leave it open.

    It is 1 or 255, or of whole numbers the largest of 10, 12, 14 or 16 bits, where they reach its upper half; the type
    of 16-bit pictures says it from the values that 12 bits do not hold. Of 255 they reach a quarter.
    """
    low, high, whole, dtype = span
    if low < -ROUNDING:
        return None
    if low == high <= WHITE:
        return WHITE  # see check_contrast
    if high <= 1 + ROUNDING:
        return 1 if high >= CONTRAST / WHITE else None
    for full in DEPTHS if whole else ():
        least = WHITE // 4 if full == WHITE else 2**12 if full == DEPTHS[-1] and is_deep(dtype) else full // 2
        if least < high <= full:
            return full
    return None


def readings(span):
    """What values may mean whose white is not known, and what makes of x numbers from 0 to 1, in Python: {when: it}."""
    low, high = (int(end) if end == int(end) else float(end) for end in span[:2])
    near = {f"they go a little beyond 0 and {white}": line for white, line in CLIPPED.items() if is_near(span, white)}
    if low >= -ROUNDING:
        full = [full for full in DEPTHS if span.whole and CONTRAST <= high <= full][:1]
        return near | {f"{of:.6g} is white": f"x / {of}" for of in (high, *full)}
    return near or signed_readings(low, high, span.dtype == np.int8)


def signed_readings(low, high, bytewise):
    """The readings of values that go far below 0; bytewise: whether a byte each holds them."""
    between = {f"{low:.4g} is black and {high:.4g} white": f"(x + {-float(low)}) / {float(high) - float(low)}"}
    for reach, line in CENTRED.items():
        if 0.9 * reach < -low <= reach * (1 + ROUNDING) and high <= reach * (1 + ROUNDING):
            between = {f"they go from -{reach} to {reach}": line}
    if bytewise:
        return {"they were bytes from 0 to 255": 'x.view("uint8")'} | between
    return between | {"a mean was taken off and a deviation divided out": "x * deviation + mean"}


def is_near(span, white):
    """Whether values go a little beyond 0 and white, as those of pictures do that were made larger or smaller."""
    return -0.2 * white < span.low and 0.8 * white < span.high < 1.2 * white and not (span.whole and span.low >= 0)


def check_contrast(parts, what, done):
    """Raise UserError for images (n, ...) that are one grey all over; done: what was done to them, in words."""
    white = WHITE if parts[0].dtype == np.uint8 else 1
    low, high = min(x.min() for x in parts), max(x.max() for x in parts)
    if float(high) - float(low) < CONTRAST * white / WHITE:
        made = "; ".join(word for word in done if " made " in word)
        why = f" ({made})" if made else ""
        raise UserError(f"{what} are one grey all over{why}: there is nothing to learn from them.")


def to_bytes(values, full):
    """Values from 0 to `full` as grey values from 0 to 255, uint8."""
    if full == WHITE:
        return values.astype("uint8", copy=False)
    return np.multiply(values, np.float32(WHITE / full), dtype="float32", casting="unsafe").round().astype("uint8")


# -- Pictures ----------------------------------------------------------------------------------------------------------


class Page(NamedTuple):
    """A picture as (28, 28): uint8, or float32 in the units of its file; and what was done to it.

    span: of the float32 ones, that of all pixels in the file; else None.
    """

    values: np.ndarray
    done: list
    span: Span | None


def read_pages(file):
    """The Pages of an open picture file, and of how many others it has nothing: (how many, why).

    Raises Exception of many kinds for a damaged file.
    """
    picture = Image.open(file, formats=FORMATS)
    count, views = getattr(picture, "n_frames", 1), VIEWS.get(picture.format)
    check_size(picture, 1 if views else count, os.fstat(file.fileno()).st_size)
    pages: list = []
    if views:  # of a PSD they come beside the picture as a whole
        return [page_of(picture)], (count - (picture.format != "PSD"), views)
    try:
        for number in range(count):
            if number:
                picture.seek(number)
            pages.append(page_of(picture))
    except Exception as error:
        if not pages:
            raise
        return pages, (count - len(pages), reason_of(error))
    return pages, (0, "")


def check_size(picture, pages, size):
    """Raise ValueError for a picture file of `size` bytes that would unpack to far more than pictures have."""
    values = {"P": 4, "PA": 4, "I": 4, "F": 4, "1": 1 / 8}.get(picture.mode, len(picture.getbands()))
    length = math.prod(picture.size) * values
    length /= 4 if picture.format in ("JPEG", "MPO") else 1  # they are read at a fraction of their size
    if length >= LARGEST_PICTURE:
        raise ValueError(f"too large, {picture.width:,} x {picture.height:,} pixels")
    if length * pages > LARGEST_PICTURE / 4 + 250 * size:
        raise ValueError("it unpacks to far more than the file holds")


def reason_of(error):
    words = " ".join(str(getattr(error, "strerror", None) or error).split())[:80] or type(error).__name__
    return "damaged" if "cannot identify" in words else words


def page_of(picture):
    """A Pillow image as a Page."""
    picture.draft("L", (2 * SIDE, 2 * SIDE))  # a large JPEG is read at a fraction of its size
    picture.load()
    told = picture.format == "TIFF" or any(re.search("exif|xmp", str(key).lower()) for key in picture.info)
    if told and picture.getexif().get(0x0112, 1) != 1:  # the camera was turned
        picture = ImageOps.exif_transpose(picture)
    if math.prod(picture.size) > LARGEST_PICTURE // 8 and picture.mode not in ("1", "P", "PA", "I;16", "I;16B"):
        picture = picture.reduce(max(1, min(picture.size) // (4 * SIDE)))  # less memory for what follows
    span = span_of(np.asarray(picture)[None]) if picture.mode[0] in "IF" else None  # 16 or 32 bits
    if span and not (np.isfinite(span.low) and np.isfinite(span.high)):
        raise ValueError("it holds NaN or infinite values")
    grey, done = as_grey(picture)
    if grey.size != (SIDE, SIDE):
        done = [*done, "pictures of other sizes made 28 x 28"]
    return Page(np.asarray(small(grey)), done, span)


def as_grey(picture):
    """A Pillow image as one of mode L, or F in its own units, and what was done to it."""
    if picture.mode[0] in "IF":
        return Image.fromarray(np.asarray(picture).astype("float32")), []
    keyed = "transparency" in picture.info and picture.mode != "L"  # a grey that is declared transparent stays
    if keyed or picture.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        picture = picture.convert("RGBA")
        alpha = picture.getchannel("A")
        if alpha.getextrema()[0] < WHITE:
            grey = picture.convert("L")
            on_white, on_black = (Image.composite(grey, Image.new("L", grey.size, k), alpha) for k in (WHITE, 0))
            if np.ptp(on_white.getextrema()) < FAINT <= np.ptp(on_black.getextrema()):
                return on_black, ["transparent places made black"]
            return on_white, ["transparent places made white"]
    if picture.mode == "LAB":
        return picture.getchannel("L"), ["colour made grey"]
    if picture.mode == "HSV":
        picture = picture.convert("RGB")
    return (
        (picture, []) if picture.mode == "L" else (picture.convert("L"), ["colour made grey"] * (picture.mode != "1"))
    )


def small(grey):
    """A Pillow image of mode L or F as one of 28 x 28, averaged over areas, and centred on paper if not square."""
    if grey.size == (SIDE, SIDE):
        return grey
    way = Image.Resampling.BOX if max(grey.size) > SIDE else Image.Resampling.BILINEAR
    paper = float(np.median(rims(np.asarray(grey)[None])))
    return ImageOps.pad(grey, (SIDE, SIDE), way, color=paper if grey.mode == "F" else int(paper))


def rims(images):
    """The values in the four edges of images (n, height, width), (n, values)."""
    return np.concatenate([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], axis=1)


def finish_pages(pages, source, said):
    """Pages as uint8 (n, 28, 28); what was done to them goes to said. Raises UserError where no scale is known.

    Ink is 1 in our images, as in MNIST: a picture on light paper, which most of its rim shows, is inverted.
    """
    said |= dict.fromkeys(word for page in pages for word in page.done)
    full = WHITE
    if spans := [page.span for page in pages if page.span]:
        span = common_span(spans)
        full, words = full_scale(span, f"The pictures of {source}")
        said |= dict.fromkeys(words or [f"values to {span.high:.4g} taken as 0 to {full}"])
    images = np.stack([to_bytes(page.values, full if page.span else WHITE) for page in pages])
    light = (rims(images) > WHITE // 2).mean(axis=1) > 0.5
    if light.any():
        images[light] = WHITE - images[light]
        which = "" if light.all() else f"{light.sum():,} of {len(light):,} pictures, "
        said[f"{which}dark on light inverted"] = None
    return images


def read_picture(path: str | Path) -> tuple[np.ndarray, list]:
    """A picture file of one page as `load_data` would take it: uint8 (28, 28), and what was done to it, in words.

    Raises UserError, OSError or ValueError where it holds no picture.
    """
    said: dict = {}
    with open_file(path) as file:
        images = finish_pages(read_pages(file)[0], path, said)
    return images[0], [*said]


# -- Arrays of images --------------------------------------------------------------------------------------------------


def convert_images(parts, source):
    """Arrays of images as (n, 28, 28), uint8 from 0 to 255 or float32 from 0 to 1.

    parts: the arrays of one data set, (n, height, width) or with a last axis of colours, converted alike; source: where
    they are from, for the sentences. Returns the list of arrays, and what was done, a list of words. Nothing is copied
    that is as it should be. Raises UserError.
    """
    what = f"The images of {source}"
    if len({x.shape[1:] for x in parts}) > 1:
        one, other = (x.shape[1:] for x in parts)
        raise UserError(f"{source} has training images of {one} and test images of {other}: give both one size.")
    check_finite(parts, source)
    check_one_scale(parts, source)
    full, said = full_scale(common_span(map(span_of, parts)), what)
    height, width, *colours = parts[0].shape[1:]
    if colours or (height, width) != (SIDE, SIDE):
        done: dict = {}
        parts = [in_blocks(lambda rows: made_small(to_bytes(rows, full), done), x) for x in parts]
        said += [*done, *[f"{height} x {width} made 28 x 28"] * ((height, width) != (SIDE, SIDE))]
        return parts, said
    if full == 1 and parts[0].dtype.kind == "f":
        return [without_rounding(x.astype("float32", copy=False)) for x in parts], said
    return [
        x if x.dtype == np.uint8 and full == WHITE else in_blocks(lambda y: to_bytes(y, full), x) for x in parts
    ], said


def check_finite(parts, source):
    """Raise UserError for NaN or infinite values, with the first image that has one, and how many do."""
    for part, x in zip(("training ", "held-out ") if len(parts) > 1 else ("",), parts, strict=True):
        floats = blocks(x) if x.dtype.kind == "f" else [x[:1]]
        bad = np.concatenate([~np.isfinite(rows.reshape(len(rows), -1)).all(axis=1) for rows in floats])
        if bad.any():
            which = f"{bad.sum():,} of {len(x):,} {part}images of {source} hold NaN or infinite values, the first"
            advice = "`x = numpy.nan_to_num(x, posinf=0, neginf=0)` makes them 0"
            raise UserError(f"{which} x[{bad.argmax()}]: {advice}.")


def check_one_scale(parts, source):
    """Raise UserError for arrays from 0 to 1 beside others that go beyond 1."""
    spans = [span_of(x) for x in parts] if len(parts) > 1 else []
    whites = {known_white(span): span.high for span in spans if span.low < span.high}
    if 1 in whites and {*whites} - {1, None}:
        others = f"others from 0 to {max(whites.values()):,}"
        raise UserError(f"{source} has images from 0 to 1, and {others}: give all one scale.")


def without_rounding(x):
    """Floats from 0 to 1 without what rounding left beyond them, without a copy if there is nothing."""
    return x if x.min() >= 0 and x.max() <= 1 else x.clip(0, 1)


def check_unit(x, what, divide="divide them by 255"):
    """Raise UserError unless an array holds floats from 0 to 1, without a copy; divide: the advice for those to 255."""
    if x.dtype.kind != "f":
        raise UserError(f"{what} have dtype {x.dtype}, not floats from 0 to 1: if they go to 255, {divide}.")
    low, high = (x.min(), x.max()) if x.size else (0, 0)  # NaN, if one of them is
    if not 0 <= low <= high <= 1:
        advice = divide if low >= 0 and high <= 255 else "scale them"
        raise UserError(f"{what} have values from {low:.4g} to {high:.4g}, and must be from 0 to 1: {advice}.")


def blocks(x):
    """Views of some images each, of 8 million values together, so that what is made of them stays small."""
    step = max(1, BLOCK // x[0].size)
    return (x[start : start + step] for start in range(0, len(x), step))


def in_blocks(function, x):
    return np.concatenate([function(rows) for rows in blocks(x)])


def made_small(images, done):
    """Images (n, height, width[, colours]), uint8, as uint8 (n, 28, 28); what was done to colours goes to done."""
    greys = [as_grey(Image.fromarray(image)) for image in np.ascontiguousarray(images)]
    done |= dict.fromkeys(word for _, words in greys for word in words)
    return np.stack([np.asarray(small(grey)) for grey, _ in greys])
