"""The images and labels in arrays of one file or of several, known by the names of both."""

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from seevae.basics import UserError
from seevae.images.account import some
from seevae.images.converting import counts_last, is_images, turned
from seevae.images.reading import hold_in_memory
from seevae.images.sources import Array, Source, refuse
from seevae.images.words import Found, Role, choose_parts, known_as_turned, only_set, role


class Named(NamedTuple):
    """An array, its file, and the Role that the names of both give it. fits: whether it may hold images."""

    source: Source
    array: Array
    role: Role
    fits: bool

    @property
    def unit(self):
        """That of the account: a file with one array is one thing."""
        return "files" if len(self.source.arrays) == 1 else "arrays"

    @property
    def title(self):
        return self.source.path.name if self.unit == "files" else self.array.name

    @property
    def size(self):
        return math.prod(self.array.shape) * self.array.dtype.itemsize

    def read(self):
        try:
            return self.array.read()
        except (OSError, ValueError) as error:
            refuse(self.source._replace(kind="unreadable", reason=str(error)))


def named_arrays(sources):
    """All arrays of some files, as Named ones."""
    for source in sources:
        of_file = role(source.path.name) if len(sources) > 1 or len(source.arrays) == 1 else Role("", None, None)
        for array in source.arrays:
            own = role(array.name)
            first, second = (of_file, own) if len(source.arrays) == 1 else (own, of_file)
            names = [of_file.set if len(sources) > 1 else "", own.set if len(source.arrays) > 1 else ""]
            both = Role("-".join(filter(None, names)), own.part or of_file.part, first.kind or second.kind)
            yield Named(source, array, both, is_images(array.shape, array.dtype))


def in_arrays(path, sources, account):
    """The Found of files with arrays."""
    named = [*named_arrays(sources)]
    account.find("arrays", sum(n.unit == "arrays" for n in named))
    images = image_arrays(path, named)
    images, labels = with_labels(named, images)
    classes = check_sets(named, images, labels, path)
    parts = by_part(images)
    own = {part: labels_for(of[0], labels) for part, of in parts.items()}
    chosen = choose_parts({part: bool(classes or own[part]) for part in parts})
    used = [(parts[part] if classes else parts[part][:1], own[part]) for part in chosen]
    holders = [y for _, y in used if y]
    flat = [n for of, _ in used for n in of]
    hold_in_memory(sum(n.size for n in [*flat, *holders]))
    said = {}
    pairs = [read_part(*pair, classes, said) for pair in used]
    settle(named, images, flat, holders, account)
    total = sum(len(x) for x, _ in pairs)
    account.find("images", total)
    account.take("images", total)
    return Found(pairs, said, [(n.unit, n.title) for n in holders])


def by_part(images):
    parts = {}
    for n in images:
        parts.setdefault(n.role.part or "", []).append(n)
    return parts


def with_labels(named, images):
    """The arrays of images, and those of labels."""
    labels = [n for n in named if n.role.kind == "labels" and n.array.dtype.kind != "O"]
    if images[0].array.name == "arr_0" and not labels:  # numpy.savez(file, images, labels)
        labels = [n._replace(role=images[0].role) for n in named if n.array.name == "arr_1"]
        images = images[:1] if labels else images
    return images, labels


def labels_for(images, labels):
    """Those of some named arrays of labels that belong to an array of images, or None."""
    same = [n for n in labels if n.role.part == images.role.part and n.role.set in (images.role.set, "")]
    return max(same, key=lambda n: n.role.set == images.role.set, default=None)


def image_arrays(path, named):
    """The arrays of images: those named so, or else those that can be nothing else. Raises UserError for none."""
    called = [n for n in named if n.role.kind == "images"]
    images = [n for n in called if n.fits]
    sets = {n.role.set for n in images or called}
    if not called:
        images = [n for n in named if n.role.kind is None and n.fits]
    if not images or any(not n.fits and n.role.set in sets for n in called):
        advice = "images are numbers from 0 to 255, or from 0 to 1, in an array (n, 28, 28), such as x_train"
        raise UserError(f"{what_holds(path, named)}: {advice} (beside y_train, x_test and y_test).")
    return images


def what_holds(path, named):
    return f"{path} holds {some([f'{n.title} {n.array.shape} {n.array.dtype}' for n in named], 12) or 'no arrays'}"


def check_sets(named, images, labels, path):
    """Whether each file is a class, named by what its name alone has. Raises UserError where there are several sets."""
    sets = {n.role.set for n in images}
    files = Counter(n.source.path for n in named)
    if len(sets) > 1 and not labels and len(files) == len(named) and not any(n.role.kind for n in images):
        return True
    only_set(sets, what_holds(path, named))
    return False


def read_part(images, labels, classes, said):
    """The images and labels of a part, read from their arrays; labels may be None."""
    y = labels.read() if labels else None
    x = [upright(n, y, said) for n in images]
    if y is not None and y.ndim == 2 and len(y) != len(x[0]) == y.shape[1] > 1 < len(y):
        y = y.T
    if classes:
        words = [n.role.set.split("-") for n in images]
        shared = next(k for k in range(99) if len({tuple(of[k : k + 1]) for of in words}) > 1)
        y = np.repeat(["-".join(of[shared:]) for of in words], [len(rows) for rows in x])
        said["each file is a class"] = None
    return np.concatenate(x) if len(x) > 1 else x[0], y


def upright(named, labels, said):
    """The array with its images first, and upright where its data set is known to have the columns first."""
    x = named.read()
    if counts_last(x.shape, None if labels is None or labels.ndim > 2 else max(labels.shape, default=0)):
        said["the last axis counts the images"] = None
        x = np.moveaxis(x, -1, 0)
    return turned(x, known_as_turned(named.source.path, named.array.name), said)


def settle(named, images, used, holders, account):
    """Write into the account what became of each array and of its file; of those with labels, later."""
    taken = {n.source.path for n in [*used, *holders]}
    for n in named:
        if n in used:
            account.take(n.unit)
        elif not any(n.array is other.array for other in holders):
            account.leave(n.unit, why_not(n), n.title)
            if n in images:
                count = n.array.shape[-1 if counts_last(n.array.shape) else 0]
                account.find("images", count)
                account.leave("images", why_not(n), n.title, count)
    for source in {n.source.path: n.source for n in named if n.unit == "arrays"}.values():
        if source.path in taken:
            account.take("files")
        else:
            account.leave("files", "no images of this set", source)


def why_not(named):
    if named.array.dtype.kind == "O":
        return "Python objects, which are not read"
    return "a validation part" if named.role.part == "val" else "not of the images that are taken"
