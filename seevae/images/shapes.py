"""The shapes of arrays of images: which axis counts the images, which holds colours, what flat images were before.

A word says what the axes are: n counts the images, h and w are height and width, c the colours, v the values of flat
images.
"""

import math

from seevae.basics import UserError

AXES = ("hwn", "nhw", "hwcn", "nhwc", "nchw", "nv", "vn")  # the first that fits is taken
FLAT = {560: (28, 20)}  # of flat images that are not square: Frey's faces
SLIM = 10  # times as long as wide: no pictures are


def axes_of(shape, labels=None):
    """The word for the axes of an array, or "" if it cannot hold images; labels: how many there are, or None."""
    found = [axes for axes in AXES if len(axes) == len(shape) and fits(axes, shape, labels)]
    found = found[::-1] if len(shape) == 2 and shape[0] == 28 * 28 != shape[1] else found
    return next((axes for axes in found if shape[axes.index("n")] == labels), found[0] if found else "")


def fits(axes, shape, labels):
    """Whether the axes of an array may be such: (n, 3, h, w), say, or (h, w, n) as in MATLAB's files."""
    size = dict(zip(axes, shape, strict=True))
    if size.get("c", 1) not in ((1, 3) if axes == "nchw" else (1, 3, 4)) or (
        "v" in size and not flat_shapes(size["v"])
    ):
        return False
    if axes == "nhw" and size["w"] in (3, 4) and size["w"] != size["h"]:
        return False  # one picture in colour
    square = size.get("h") == size.get("w") != size["n"] and size["n"] not in (1, 3, 4)
    return axes[0] != "h" or square or size["n"] == labels != size["h"]


def is_picture(shape, oblong=True):
    """Whether an array may be one picture, and no flat images: with colours, or square, or, if so allowed, oblong."""
    height, width, *colours = shape
    oblong = oblong and max(height, width) < 2 * min(height, width) and 784 not in (height, width)
    return colours in ([1], [3], [4]) or (not colours and (height == width or oblong))


def flat_shapes(length):
    """The shapes that a flat image of so many values may have: (height, width), or with colours first or last."""
    if length in FLAT:
        return [FLAT[length]]
    for colours in (1, 3):
        side = math.isqrt(length // colours)
        if side >= 4 and side**2 * colours == length:
            return [(side, side)] if colours == 1 else [(3, side, side), (side, side, 3)]
    return []


def as_images(x, axes, source):
    """An array of images as (n, height, width), or with a last axis of 3 or 4 colours, if possible without a copy.

    source: where it is from, for the sentences. Raises UserError for what holds no images, or has two readings.
    """
    what = f"The images of {source}"
    if x.dtype.kind not in "biuf":
        raise UserError(f"{what} have dtype {x.dtype}: they must be integers from 0 to 255 or floats from 0 to 1.")
    if x.size == 0:
        raise UserError(f"{source} has a part without images (its shape is {x.shape}): give it at least one.")
    if not axes:
        advice = "images must have shape (n, height, width), perhaps with 1 or 3 channels, or (n, 784)"
        raise UserError(f"{what} have shape {x.shape}: {advice}.")
    images = x.transpose([axes.index(axis) for axis in "nhwcv" if axis in axes])
    if "v" in axes:
        shape, *others = flat_shapes(images.shape[1])
        if others:
            two = f"`x = x{reshape(shape)}` if the reds come first (CIFAR), `x = x{reshape(others[0])}`"
            raise UserError(
                f"{what} have {images.shape[1]:,} values each, with two readings: {two} if the colours of a pixel do."
            )
        images = images.reshape(-1, *shape)
    height, width = images.shape[1:3]
    if max(height, width) > SLIM * min(height, width):
        sides = flat_shapes(x.shape[0])
        turn = f"; if its first axis holds pixels, `x = x.T{reshape(sides[0])}`" if sides else ""
        raise UserError(f"{what} would be {height:,} x {width:,}, of shape {x.shape}: give (n, height, width){turn}.")
    return images[..., 0] if images.shape[3:] == (1,) else images


def reshape(shape):
    """What makes flat images those of a shape, in Python."""
    return f".reshape(-1, {', '.join(map(str, shape))})"
