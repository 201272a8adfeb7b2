"""The layouts in which people keep images: which files, arrays and pictures of a path are taken, and which are not.

One walk finds all files; each is looked at and becomes Items (sources.py). The names of folders, files and arrays put
them into parts and classes (places.py). Then they are read (taking.py), and what became of each is the account.
"""

import filecmp
import os
import warnings
from collections import Counter
from itertools import groupby
from pathlib import Path

from seevae.basics import UserError, say
from seevae.images.account import some
from seevae.images.converting import in_order
from seevae.images.places import by_folders, by_lists, by_names, choose_parts, live
from seevae.images.reading import require_file
from seevae.images.sources import Item, known_format, look, refuse
from seevae.images.taking import take_arrays, take_pictures
from seevae.images.words import role

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
    if not str(path):
        raise UserError("The path of the data is empty: give a file or a folder of images.")
    path = Path(os.path.expanduser(path))
    with warnings.catch_warnings(action="ignore"):  # Pillow's, of pictures that are large or damaged
        items, said = items_at(path), {}
    family = choose_family(path, items, said)
    chosen = [item for item in items if item.family == family]
    by_folders(chosen, f"{path} holds", said)
    if family == "pictures":
        by_lists(chosen, [item for item in items if item.kind == "list"], said)
    else:
        by_names(path, chosen, said)
    take = take_pictures if family == "pictures" else take_arrays
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
    if not os.path.lexists(path) and (together := named_after(path)):
        return [item for file in together for item in look(file)]
    names = "'mnist', 'sample', 'fashion_mnist'"
    require_file(path, "data file", f"give {names}, or the path of a file or of a folder of images")
    return [item for file in [path, *partner_of(path)] for item in look(file)]


def leave_copies(items):
    """Leave out files of arrays that are there twice, packed or in folders of their own."""
    paths, known = {item.path for item in items}, {}
    for item in items:
        if item.path.suffix == ".gz" and item.path.with_suffix("") in paths:
            item.out = "a packed copy"
        elif item.kind == "array" and item.unit == "files":
            other = known.setdefault((role(item.path.name), item.shape), item)
            if other is not item and filecmp.cmp(item.path, other.path, shallow=False):
                item.out = "a copy"


def partner_of(path):
    """The IDX file of labels that goes with one of images, or the other way round, a list."""
    own = role(path.name)
    if not own.kind or "ubyte" not in path.name:
        return []
    beside = [other for other in in_order(path.parent.iterdir()) if "ubyte" in other.name]
    return [other for other in beside if role(other.name)[:2] == own[:2] and role(other.name).kind != own.kind][:1]


def named_after(path):
    """The IDX files of one data set among others in a folder, such as gzip/emnist-letters, where that is no file."""
    try:
        files = in_order(path.parent.iterdir())
        return [file for file in files if path.name and file.name.startswith(f"{path.name}-") and "ubyte" in file.name]
    except (OSError, ValueError):
        return []


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
    """That of "pictures" and "arrays" (or tables) to which most images belong; what is of no other use is left out.

    Raises UserError where there is none, or where the other has more than a tenth.
    """
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
    if 10 * (weights.total() - weights[most]) > weights.total():
        names = {family: {item.path.name: None for item in live(items) if item.family == family} for family in weights}
        told = " and ".join(f"{some(of, 2)} ({family})" for family, of in names.items())
        raise UserError(f"{path} holds {told}, and it cannot be told which to take: give one, or move the others away.")
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
    """Know files that hold one image each, an array (height, width) or with colours: all are of one square shape."""
    alone = [item for item in items if item.unit == "files" and len(item.shape) in (2, 3)]
    square = [item for item in alone if item.shape[0] == item.shape[1] and item.shape[2:] in ((), (1,), (3,), (4,))]
    if len(square) > 2 and len({item.shape for item in square}) == 1:
        said["each file holds one image"] = None
        for item in square:
            item.single, item.shape = True, (1, *item.shape)


def say_what_is_there(path, items):
    """Raise UserError for a folder that holds nothing to take."""
    if others := [item for item in items if item.kind in ("foreign", "archive")]:
        refuse(min(others, key=known_format))
    inside = some(dict.fromkeys(str(item.path.relative_to(path)) for item in items if not item.out))
    holds = f"holds nothing that is read here, but {inside}" if inside else "is empty"
    raise UserError(f"The folder {path} {holds}: give another one.")
