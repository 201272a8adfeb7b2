"""Names for the arrays in what somebody pickled, saved with torch, or wrote as JSON: foreign.toml's second line.

Who trusts such a file opens it in a program of his own; this writes what was found there to an .npz file.
"""

import numpy as np

SIDE = 28  # of images that came in many sizes


def save(held, file="mine.npz"):
    """Write the arrays in something to an .npz file, under names that `load_data` knows."""
    np.savez(file, **named_arrays(held))


def named_arrays(held, name=""):
    """The arrays in something, {name: array}, named by the keys or columns that lead to each, else x."""
    held = getattr(held, "tensors", held)  # of a TensorDataset
    if isinstance(held, list | tuple):
        held = parts_of(held)
    if isinstance(held, dict) or hasattr(held, "columns"):
        inside = [(key.decode() if isinstance(key, bytes) else key, held[key]) for key in held]
        return {n: array for key, part in inside for n, array in named_arrays(part, f"{name}{key}_").items()}
    return {name[:-1] or "x": np.array([*held] if str(getattr(held, "dtype", "")) == "object" else held)}


def parts_of(held):
    """A list or tuple as one array, where its parts are alike; else the parts, {name: part}, named by their places.

    Pairs are (image, label) where there are many, and the (images, labels) of a part where there are two or three.
    """
    first = held[0]
    is_list, is_array = isinstance(first, list | tuple), hasattr(first, "shape")
    if isinstance(first, int | float | str) or (is_list and not hasattr(first[0], "shape")):
        return np.array(held)
    if is_array and len({np.shape(part) for part in held}) == 1:
        return np.array([*held])
    if len(held) > 6 and all(hasattr(part, "shape") and np.ndim(part) > 1 for part in held):
        return np.array([made_small(part) for part in held])
    if isinstance(first, dict):
        return {key: [row[key] for row in held] for key in first}
    if is_list and len(first) == 2:
        if len(held) > 3:
            return dict(zip("xy", zip(*held, strict=True), strict=True))
        return dict(zip(("train", "val", "test") if len(held) == 3 else ("train", "test"), held, strict=True))
    parts = [part for part in held if not isinstance(part, dict)]  # which would tell about the others
    return dict(zip(("x", "y", "test_x", "test_y"), parts, strict=False))


def made_small(image):
    from PIL import Image  # here, not above: few need it

    return np.asarray(Image.fromarray(np.asarray(image)).resize((SIDE, SIDE)))
