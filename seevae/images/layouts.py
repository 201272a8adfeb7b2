"""The layouts in which people keep images: which files, arrays and pictures of a path are taken, and which are not.

One walk finds all files (see sources.py for what each is); then arrays, tables or pictures are chosen by the words of
their names (words.py) and are read. Whatever is not taken stands in the account. Nothing is converted here, apart from
pictures (converting.py).
"""

import math
import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from seevae.basics import UserError, say
from seevae.images.account import some
from seevae.images.converting import counts_last, finish_pages, in_order, is_images, read_pages, reason_of
from seevae.images.reading import hold_in_memory, require_file
from seevae.images.sources import ARRAYS, Array, Source, look, refuse
from seevae.images.tables import has_pixels, labels_by_file, read_table
from seevae.images.words import Role, choose_parts, only_set, role

COLUMNS_FIRST = ("emnist", "silhouettes", "chardata")  # data sets whose authors wrote the columns of an image first
LEFT_OUT = {"unreadable": "cannot be opened", "archive": "an archive", "foreign": "of a format that is not read"}


class Found(NamedTuple):
    """What a path holds: train and test, each a pair of images and labels, in any form; test and labels may be None.

    said: what was done on the way, in some words each. labels: what holds the labels, a unit of the account and a name
    each; that is taken, or left out, when they are converted.
    """

    train: tuple
    test: tuple | None = None
    said: tuple = ()
    labels: tuple = ()


def found(pairs, said, holders=()):
    """The Found of one pair of images and labels, or of two."""
    return Found(pairs[0], pairs[1] if len(pairs) > 1 else None, tuple(said), tuple(holders))


def find(path, account):
    """What a file or a folder holds, as a Found; what there was goes into the account.

    Raises UserError with what was found, and what to do, and MemoryError for what does not fit into the memory. Nothing
    is ever unpickled.
    """
    if not str(path):
        raise UserError("The path of the data is empty: give a file or a folder of images.")
    path = Path(os.path.expanduser(path))
    sources = sources_at(path, account)
    account.find("files", len(sources))
    alone = len(sources) == 1 and sources[0].path == path
    if alone and sources[0].kind not in ("picture", "table", *ARRAYS):
        refuse(sources[0])
    families = [family_of(source, alone) for source in sources]
    weights = Counter()
    for source, family in zip(sources, families, strict=True):
        weights[family] += weight(source, family)
    del weights[None]
    if not weights:
        say_what_is_there(path, sources)
    family = max(weights, key=weights.get)
    if 10 * (weights.total() - weights[family]) > weights.total():
        told = " and ".join(
            f"{some([s.path.name for s, f in zip(sources, families, strict=True) if f == name], 2)} ({name})"
            for name in weights
        )
        raise UserError(f"{path} holds {told}, and it cannot be told which to take: give one, or move the others away.")
    chosen = [source for source, own in zip(sources, families, strict=True) if own == family]
    lists = [source for source in sources if source.kind == "table" and family == "pictures" and source not in chosen]
    for source, own in zip(sources, families, strict=True):
        if own != family and source not in lists:
            account.leave(
                "files", f"beside the {family}" if own else LEFT_OUT.get(source.kind, "not read here"), source
            )
    return FAMILIES[family](path, chosen, lists, account)


def family_of(source, alone=False):
    """Which of FAMILIES a file belongs to, or None. One that is given alone is read for what it says it is."""
    if source.kind == "picture":
        return "pictures"
    if source.kind == "table":
        return "tables" if alone or has_pixels(source.path) else None
    labels = len(source.arrays) == 1 and role(source.path.name).kind == "labels"
    images = any(is_images(array.shape, array.dtype) for array in source.arrays)
    return "arrays" if labels or images or (alone and source.kind in ARRAYS) else None


def weight(source, family):
    """About how many images a file holds."""
    if family == "tables":
        return 1 + source.path.stat().st_size // 2000
    return max([1, *(array.shape[0] for array in source.arrays if is_images(array.shape, array.dtype))])


def say_what_is_there(path, sources):
    """Raise UserError for a folder that holds nothing to take."""
    for source in sources:
        if source.kind in ("foreign", "archive"):
            refuse(source)
    inside = some([str(source.path.relative_to(path)) for source in sources]) or "nothing"
    raise UserError(f"The folder {path} holds no data file and no picture, but {inside}: give another one.")


# -- The walk ----------------------------------------------------------------------------------------------------------


def sources_at(path, account):
    """All files at a path, a Source each: of a folder, of one file, or of the IDX files that go together."""
    if os.path.isdir(path):
        return [*walk(path, account, set())]
    if not os.path.lexists(path) and (together := named_after(path)):
        return [look(file) for file in together]
    names = "'mnist', 'sample', 'fashion_mnist'"
    require_file(path, "data file", f"give {names}, or the path of a file or of a folder of images")
    source = look(path)
    if source.kind == "idx":
        own = role(path.name)
        beside = [other for other in in_order(path.parent.iterdir()) if "ubyte" in other.name]
        partners = [other for other in beside if role(other.name)[:2] == own[:2] and role(other.name).kind != own.kind]
        return [source, *map(look, partners[:1])] if own.kind else [source]
    return [source]


def named_after(path):
    """The IDX files of one data set among others in a folder, such as gzip/emnist-letters, where that is no file."""
    try:
        files = in_order(path.parent.iterdir())
        return [file for file in files if path.name and file.name.startswith(f"{path.name}-") and "ubyte" in file.name]
    except (OSError, ValueError):
        return []


def walk(folder, account, seen):
    """The files in a folder and in those below it, in the order of their names, each as a Source.

    Hidden files, and folders that a link leads back to, are left out. Raises UserError for a folder that one may not read.
    """
    try:
        state = os.stat(folder)
        inside = in_order(folder.iterdir())
    except OSError as error:
        raise UserError(f"The folder {folder} cannot be read ({error.strerror}): give another one.") from error
    seen.add((state.st_dev, state.st_ino))
    folders = []
    for path in inside:
        if path.name.startswith((".", "__MACOSX")) or path.name in ("Thumbs.db", "desktop.ini"):
            account.find("files")
            account.leave("files", "hidden", path.name)
        elif not os.path.isdir(path):
            yield look(path)
        elif (os.stat(path).st_dev, os.stat(path).st_ino) in seen:
            account.find("files")
            account.leave("files", "a link to a folder that is walked already", path.name)
        else:
            folders.append(path)
    for path in folders:
        yield from walk(path, account, seen)


# -- Arrays ------------------------------------------------------------------------------------------------------------


class Named(NamedTuple):
    """An array, its file, and the Role that the names of both give it."""

    source: Source
    array: Array
    role: Role

    @property
    def part(self):
        return self.role.part or ""

    @property
    def unit(self):
        return "files" if len(self.source.arrays) == 1 else "arrays"

    @property
    def title(self):
        return self.source.path.name if self.unit == "files" else self.array.name

    @property
    def fits(self):
        return is_images(self.array.shape, self.array.dtype)


def named_arrays(sources):
    """All arrays of some files, as Named ones: a file before the one that gzip made of it."""
    for source in sorted(sources, key=lambda source: (len(source.path.name), source.path.name)):
        of_file = role(source.path.name)
        for array in source.arrays:
            own = role(array.name)
            names = [of_file.set if len(sources) > 1 else "", own.set if len(source.arrays) > 1 else ""]
            beside = of_file if len(sources) > 1 or len(source.arrays) == 1 else Role("", None, None)
            kind = (own.kind or beside.kind) if len(source.arrays) > 1 else (of_file.kind or own.kind)
            yield Named(source, array, Role("-".join(filter(None, names)), own.part or beside.part, kind))


def in_arrays(path, sources, _, account):
    """The data set in the arrays of one file or of several, known by their names."""
    named = [*named_arrays(sources)]
    account.find("arrays", sum(n.unit == "arrays" for n in named))
    images, labels, classes = choose_arrays(path, named)
    parts = {part: [n for n in images if n.part == part] for part in {n.part: None for n in images}}
    own = {part: next((n for n in labels if goes_with(n, of[0])), None) for part, of in parts.items()}
    chosen = choose_parts({part: bool(classes or own[part]) for part in parts})
    used = {part: parts[part] if classes else parts[part][:1] for part in chosen}
    hold_in_memory(sum(size(n) for part, of in used.items() for n in [*of, own[part]] if n))
    said = {}
    pairs = [read_part(of, own[part], classes, said) for part, of in used.items()]
    holders = [own[part] for part in used if own[part]]
    settle(named, [n for of in used.values() for n in of], holders, images, account)
    return found(pairs, said, [(n.unit, n.title) for n in holders])


def choose_arrays(path, named):
    """The arrays of images, those of labels, and whether each is a class of its own. Raises UserError."""
    images = [n for n in named if n.role.kind == "images" and n.fits]
    sets = {n.role.set for n in images}
    wrong = [n for n in named if n.role.kind == "images" and not n.fits and (not images or n.role.set in sets)]
    images = images or [n for n in named if n.role.kind is None and n.fits]
    holds = f"{path} holds {some([f'{n.title} {n.array.shape} {n.array.dtype}' for n in named], 12) or 'no arrays'}"
    if wrong or not images:
        advice = "images are numbers from 0 to 255, or from 0 to 1, in an array (n, 28, 28), such as x_train"
        raise UserError(f"{holds}: {advice} (beside y_train, x_test and y_test).")
    labels = [n for n in named if n.role.kind == "labels" and n.array.dtype.kind != "O"]
    if images[0].array.name == "arr_0" and not labels:  # numpy.savez(file, images, labels)
        labels = [n for n in named if n.array.name == "arr_1" and not n.fits]
        images = images[:1] if labels else images
    sets = {n.role.set for n in images}
    one_each = len({n.source.path for n in images}) == len(images) == len(named)
    classes = len(sets) > 1 and one_each and not labels and not any(n.role.kind for n in images)
    if not classes:
        only_set(sets, holds)
    return images, labels, classes


def goes_with(labels, images):
    return labels.array.name == "arr_1" or labels.role[:2] == images.role[:2]


def size(named):
    return math.prod(named.array.shape) * named.array.dtype.itemsize


def read_part(images, labels, classes, said):
    """The images and labels of a part, read from their arrays; labels may be None."""
    y = read(labels) if labels else None
    x = [upright(n, read(n), y, said) for n in images]
    if y is not None and y.ndim == 2 and len(y) > 1 and len(y) != len(x[0]) == y.shape[1]:
        y = y.T
    if classes:
        shared = len(os.path.commonprefix([f"{n.role.set}-".split("-") for n in images]))
        y = np.repeat(["-".join(n.role.set.split("-")[shared:]) for n in images], [len(rows) for rows in x])
        said["each file is a class"] = None
    return np.concatenate(x) if len(x) > 1 else x[0], y


def read(named):
    try:
        return named.array.read()
    except (OSError, ValueError) as error:
        refuse(named.source._replace(kind="unreadable", reason=str(error)))


def upright(named, x, labels, said):
    """An array of images with the images first, and upright where its data set is known to have the columns first."""
    number = max(labels.shape, default=0) if labels is not None and labels.ndim < 3 else None
    if counts_last(x.shape, number):
        said["the last axis counts the images"] = None
        x = np.moveaxis(x, -1, 0)
    known = known_as_turned(named.source, named.array.name)
    return turned(x, known, said) if known else x


def known_as_turned(source, name=""):
    """The name of the data set, in the names of a file, of its folder and of an array, whose columns come first."""
    if name.startswith("dataset/"):  # so its .mat files have it, and no others
        return "emnist"
    names = f"{source.path.parent.name}/{source.path.name}/{name}".lower()
    return next((known for known in COLUMNS_FIRST if known in names), None)


def turned(x, known, said):
    """Images (n, height, width) or flat with rows and columns exchanged."""
    if x.ndim == 2:
        side = math.isqrt(x.shape[1])
        x = x.reshape(-1, side, side)
    said[f"{known.upper() if known == 'emnist' else known}'s transposed images turned"] = None
    return x.swapaxes(1, 2)


def settle(named, used, holders, images, account):
    """Write into the account what became of each array, of its images, and of its file."""
    for n in named:
        reason = {"val": "a validation part"}.get(
            n.role.part, "not of this set" if n in images else "no images of this set"
        )
        count = n.array.shape[0] if n in images else 0
        account.find("images", count)
        if n in used:
            account.take(n.unit)
            account.take("images", count)
        elif n not in holders:
            account.leave(n.unit, reason, n.title)
            if count:
                account.leave("images", reason, n.title, count)
    for source in {n.source.path: n.source for n in named if n.unit == "arrays"}.values():
        if any(n.source is source for n in [*used, *holders]):
            account.take("files")
        else:
            account.leave("files", "no images of this set", source)


# -- Tables ------------------------------------------------------------------------------------------------------------


def in_tables(path, sources, _, account):
    """The data set in one table, or in one for training and one that is held out, known by their names."""
    parts = {}
    for source in sources:
        parts.setdefault(role(source.path.name).part or "" if len(sources) > 1 else "", []).append(source)
    if len(sources) > 1 and ("" in parts or any(len(of) > 1 for of in parts.values())):
        names = some([source.path.name for source in sources])
        raise UserError(f"{path} holds {names}, and it cannot be told which to take: give one of them.")
    tables = {part: read_table(of[0].path) for part, of in parts.items()}
    chosen = choose_parts({part: labels is not None for part, (_, labels, _) in tables.items()})
    said, pairs = {}, []
    for part, (images, labels, columns) in sorted(tables.items(), key=lambda item: item[0] != chosen[0]):
        account.find("images", len(images))
        source = parts[part][0]
        if part not in chosen:
            reason = "a validation part" if part == "val" and labels is not None else "a part without labels"
            account.leave("files", reason, source)
            account.leave("images", reason, source, len(images))
            continue
        account.take("files")
        account.take("images", len(images))
        known = known_as_turned(source)
        pairs.append((turned(images, known, said) if known else images, labels))
        if columns.others:
            said[f"columns left over: {some(columns.others)}"] = None
    return found(pairs, said)


# -- Pictures ----------------------------------------------------------------------------------------------------------


def in_pictures(path, sources, lists, account):
    """The pictures in a folder, in parts and classes by the names of the folders below it, or by a table beside them."""
    root = path if os.path.isdir(path) else path.parent
    places = arrange([source.path.relative_to(root).parts[:-1] for source in sources], f"{path} holds")
    said, holders = {}, []
    if not any(place.label for place in places):
        places, holders = from_lists(root, sources, places, lists, account)
    else:
        for source in lists:
            account.leave("files", "a table beside folders of classes", source)
    parts = {}
    for source, place in zip(sources, places, strict=True):
        if place.reason:
            account.leave("files", place.reason, source)
        else:
            parts.setdefault(place.part or "", []).append((source, place.label))
    chosen = choose_parts({part: labelled(of) for part, of in parts.items()})
    for part, of in parts.items():
        for source, _ in of if part not in chosen else ():
            account.leave("files", "a validation part" if part == "val" else "a part without classes", source)
    total = sum(len(parts[part]) for part in chosen)
    if total > 5000:
        say(f"Reading {total:,} pictures")
    read = [read_pictures(path, parts[part], account, said) for part in chosen]
    account.check(path)
    images, done = finish_pages([page for pages, _ in read for page in pages], path)
    if len(images) == 1 and path == sources[0].path:
        raise UserError(
            f"{path} is one picture, and there is nothing to learn from one: give a folder of pictures;"
            " notebooks/README.md shows how a trained model encodes a picture of yours."
        )
    first = len(read[0][0])
    pairs = [(images[:first], read[0][1]), (images[first:], read[-1][1])][: len(read)]
    return found(pairs, (*said, *done), holders)


class Place(NamedTuple):
    """Where a picture belongs: its part, its class, or why it is left out."""

    part: str | None
    label: str | None = None
    reason: str = ""


def arrange(folders, holds):
    """The Place of each picture, from the names of the folders that it is in, a tuple each.

    A level of folders is for parts if several parts are named there, or parts alone; it is for nothing if there is one
    name alone. The first other level is that of the classes.
    """
    rest, parts, reasons = [[*names] for names in folders], [None] * len(folders), [""] * len(folders)
    depth = 0
    while (live := [k for k, reason in enumerate(reasons) if not reason]) and all(len(rest[k]) > depth for k in live):
        roles = {name: role(name) for name in {rest[k][depth]: None for k in live}}
        named = {r.part for r in roles.values() if r.part}
        masks = {r.kind for r in roles.values()} == {"images", "labels"}
        if len(named) > 1 or (named and all(r.part for r in roles.values())):
            only_set({r.set for r in roles.values() if r.part}, f"{holds} {some(roles)}")
        elif len(roles) > 1 and not masks:
            depth += 1
            continue
        for k in live:
            own = roles[rest[k].pop(depth)]
            parts[k] = parts[k] or own.part
            reasons[k] = "beside the parts" if named and not own.part else ""
            if masks and own.kind == "labels":
                reasons[k] = "masks or labels beside the images"
    return [
        Place(part, names[0] if names else None, reason)
        for part, names, reason in zip(parts, rest, reasons, strict=True)
    ]


def labelled(pictures):
    """Whether at least nine of ten pictures have a class."""
    return 10 * sum(label is not None for _, label in pictures) >= 9 * len(pictures)


def from_lists(root, sources, places, lists, account):
    """The Places with the classes that tables beside the pictures name, and these tables, as Found.labels has them."""
    names = {}
    for number, source in enumerate(sources):
        for name in {source.path.relative_to(root).as_posix(), source.path.name, source.path.stem}:
            names[name] = None if name in names else number  # two of one name cannot be told apart
    holders = []
    for source in lists:
        labels, reason = labels_by_file(source.path, names)
        part = role(source.path.name).part
        told = [
            Place(place.part or part, labels[k], place.reason) if k in labels else place
            for k, place in enumerate(places)
        ]
        own = [label for k, label in labels.items()]
        train = [k for k, place in enumerate(told) if place.part in (None, "train") and not place.reason]
        if own and 10 * sum(k in labels for k in train) >= 9 * len(train):
            places = told
            holders.append(("files", source.path.name))
        else:
            account.leave(
                "files", f"a table that {reason or f'names {len(own):,} of {len(sources):,} pictures'}", source
            )
    return places, holders


def read_pictures(path, pictures, account, said):
    """The Pages of (Source, label) pairs, and their labels, an array, or None. Raises UserError where a class is lost."""
    with_labels = labelled(pictures)
    pages, labels = [], []
    for source, label in pictures:
        if with_labels and label is None:
            account.leave("files", "beside the folders of the classes", source)
            continue
        try:
            if source.reason:
                raise ValueError(source.reason)
            own, count, reason = read_pages(source.path)
        except Exception as error:  # a damaged file fails in many ways
            account.leave("files", f"cannot be read ({reason_of(error)})", source, lost=True)
            continue
        account.take("files")
        account.find("images", count)
        account.take("images", len(own))
        if count > len(own):
            account.leave("images", f"cannot be read ({reason})", source, count - len(own), lost=True)
        pages += own
        labels += [label] * len(own)
    lost = {label for _, label in pictures} - {*labels}
    if not pages or (with_labels and lost - {None}):
        what = f"the class {some(sorted(lost))}" if with_labels and pages else "a part"
        raise UserError(f"No picture of {what} in {path} can be read: {account.words('files')}.")
    if not with_labels and any(label is not None for _, label in pictures):
        said["pictures beside folders: all taken, without classes"] = None
    return pages, np.array(labels) if with_labels and labels[0] is not None else None


FAMILIES = {"pictures": in_pictures, "arrays": in_arrays, "tables": in_tables}
