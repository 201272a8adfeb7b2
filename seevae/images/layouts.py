"""The layouts in which people keep images: which files, arrays and pictures of a path are taken, and which are not.

One walk finds all files; each is looked at and becomes Items (sources.py). The names of folders, files and arrays put
them into parts and classes (places.py). Then they are read (taking.py), and what became of each is the account.
"""

import contextlib
import filecmp
import os
import warnings
from collections import Counter
from itertools import groupby
from pathlib import Path

from seevae.basics import UserError, say
from seevae.images.account import COPY, some
from seevae.images.lists import by_lists
from seevae.images.places import by_folders, by_names, choose_parts, live
from seevae.images.reading import require_file
from seevae.images.shapes import is_picture
from seevae.images.sources import Item, foreign, look, refuse, runnable
from seevae.images.taking import take_arrays, take_pictures
from seevae.images.words import in_order, role

FAMILIES = {"picture": "pictures", "table": "arrays"}
UNREAD = {
    "array": "no images",
    "unreadable": "cannot be opened",
    "archive": "an archive",
    "foreign": "of a format that is not read here",
}


def find(path):
    """What a file or a folder holds: pairs of images and labels, what was done on the way, and all Items, a list each.

    The pairs, in any form, are of the part that trains and perhaps of that held out; labels may be None. Nothing is
    ever unpickled. Raises UserError with what was found, and what to do, and MemoryError for what is too large.
    """
    if not isinstance(path, (str, os.PathLike)) or not isinstance(os.fspath(path), str):
        raise UserError(f"The data are {path!r:.60}: give the path of a file or of a folder of images, as text.")
    if not os.fspath(path) or "://" in str(path):
        what = "an address, which is not read: download it, and" if str(path) else "empty:"
        raise UserError(f"The path of the data is {what} give a file or a folder of images.")
    path = Path(os.path.expanduser(path))
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of pictures that are large or damaged
        items, said = items_at(path), {}
    family = choose_family(path, items, said)
    chosen = [item for item in items if item.family == family]
    by_folders(chosen, f"{path} holds", said)
    if family == "pictures":
        by_lists(live(chosen), [item for item in items if item.kind == "list"], said)
    else:
        by_names(path, chosen, said)
    take = take_pictures if family == "pictures" else take_arrays
    with runnable(path, chosen):
        pairs = take(path, choose_parts(chosen), said, items)
    return pairs, [*said], items


# -- The walk ----------------------------------------------------------------------------------------------------------


def items_at(path):
    """All that lies at a path: in a folder, in one file, or in the IDX files that go together."""
    if os.path.isdir(path):
        items = []
        for item in walk(path, (), set()):
            items.append(item)
            if len(items) % 10_000 == 0:
                say(f"Reading {path}: {len(items):,} files so far")
        leave_copies(items)
        return items
    together = files_of_set(path)
    if path in together or not together:
        names = "'mnist', 'sample', 'fashion_mnist'"
        require_file(path, "data file", f"give {names}, or the path of a file or of a folder of images")
    return [item for file in together for item in look(file)]


def leave_copies(items):
    """Leave out files that are there twice: packed, or in the same folders but for one."""
    paths = {item.path for item in items}
    places = {(item.folders, item.path.name.replace("-", ".")): item.path for item in items}
    for item in items:
        name, of = item.path.name.replace("-", "."), item.folders
        others = {places.get(((*of[:k], *of[k + 1 :]), name)) for k in range(len(of))} - {None}
        with contextlib.suppress(OSError):
            same = any(filecmp.cmp(item.path, other, shallow=False) for other in others)
            item.out = item.out or COPY * (same or (item.path.suffix == ".gz" and item.path.with_suffix("") in paths))


def files_of_set(path):
    """A file, and of an IDX file the other one of its pair; or the IDX files of a set, such as gzip/emnist-letters."""
    own = role(path.name)
    with contextlib.suppress(OSError, ValueError):
        beside = [file for file in in_order(path.parent.iterdir()) if path.name and "ubyte" in file.name]
        if not os.path.lexists(path):
            return [file for file in beside if file.name.startswith(f"{path.name}-")]
        if own.kind and path in beside:
            alike = [file for file in beside if role(file.name)[:2] == own[:2] and role(file.name).kind != own.kind]
            return [path, *alike[:1]]
    return [path]


def walk(folder, names, seen):
    """What lies in a folder and in those below it, in the order of their names; names: of the folders that lead to it.

    Hidden files, and folders that a link leads back to, are left out. Raises UserError for one that cannot be read.
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
            yield Item(path, "hidden", out="hidden")
        elif os.path.isdir(path):
            folders.append(path)
        else:
            for item in look(path):
                item.folders = names
                yield item
    for path in folders:
        state = os.stat(path)
        if (state.st_dev, state.st_ino) in seen:
            yield Item(path, "link", out="a link to a folder that is walked already")
        else:
            yield from walk(path, (*names, path.name), seen)


# -- Which kind of file ------------------------------------------------------------------------------------------------


def choose_family(path, items, said):
    """That of "pictures" and "arrays" (or tables) to which most images belong; the others are left out."""
    single_images(items, said)
    weights = Counter()
    for _, of in groupby(live(items), key=lambda item: item.path):
        of = [*of]
        family = family_of(of, of[0].path == path and len(of) == len(items))
        for item in of:
            item.family = family
            weights[family] += item.shape[0] if item.fits and item.shape else 1
    del weights[None]
    if not weights:
        say_what_is_there(path, items)
    most = max(weights, key=weights.get)
    leave_others(most, [item for item in live(items) if item.family != most])
    return most


def family_of(of, alone):
    """Which family the Items of a file belong to, or None. One that is given alone is read for what it says it is."""
    kind = of[0].kind
    if kind == "array":
        labels = len(of) == 1 and of[0].named_labels
        return "arrays" if labels or alone or any(item.fits for item in of) else None
    if alone and kind not in FAMILIES:
        refuse(of[0])
    return FAMILIES.get(kind)


def leave_others(most, items):
    """Leave out what is not of the chosen family, but for tables of labels beside tables of images."""
    for item in items:
        if most == "arrays" and item.kind == "unreadable":  # it may have been a part or a class
            refuse(item)
        elif most == "arrays" and item.kind == "list" and item.named_labels:
            item.family = most
        else:
            item.out = f"beside the {most}" if item.family else UNREAD.get(item.kind, "of no format that is read here")


def single_images(items, said):
    """Know files that hold one image each, an array (height, width) or with colours: several, all of one shape."""
    alone = [item for item in items if item.kind == "array" and item.unit == "files" and len(item.shape) in (2, 3)]
    if len(alone) > 2 and len({item.shape for item in alone}) == 1 and is_picture(alone[0].shape, len(alone) > 10):
        said["each file holds one image"] = None
        for item in alone:
            item.single, item.shape = True, (1, *item.shape)


def say_what_is_there(path, items):
    """Raise UserError for a folder that holds nothing to take."""
    if others := [item for item in items if item.kind in ("foreign", "archive")]:
        refuse(min(others, key=lambda item: [*foreign().values(), None].index(item.how)))
    for item in items:
        if item.kind == "list" and item.path.suffix != ".txt":
            refuse(item)
    inside = some(dict.fromkeys(str(item.path.relative_to(path)) for item in items if not item.out))
    holds = f"holds nothing that is read here, but {inside}" if inside else "is empty"
    raise UserError(f"The folder {path} {holds}: give another one.")
