"""The layouts in which people keep images: which files, arrays and pictures of a path are taken, and which are not.

One walk finds all files (see sources.py for what each is); arrays, tables or pictures are then chosen by the words of
their names (words.py) and read. Whatever is not taken stands in the account. Nothing is converted here, apart from
pictures (converting.py).
"""

import os
from collections import Counter
from pathlib import Path

from seevae.basics import UserError
from seevae.images.account import some
from seevae.images.arrays import in_arrays
from seevae.images.converting import in_order, is_images, turned
from seevae.images.folders import in_pictures
from seevae.images.reading import require_file
from seevae.images.sources import ARRAYS, look, refuse, refuse_unread
from seevae.images.tables import has_pixels, read_table
from seevae.images.words import Found, choose_parts, known_as_turned, role

LEFT_OUT = {"unreadable": "cannot be opened", "archive": "an archive", "foreign": "of a format that is not read here"}


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
    if alone:
        refuse_unread(sources[0])
    families = [(source, family_of(source, alone)) for source in without_copies(sources, account)]
    family = choose_family(path, families)
    chosen = [source for source, own in families if own == family]
    lists = leave_others(families, family, account)
    if family == "pictures":
        return in_pictures(path, chosen, lists, account)
    return in_tables(path, chosen, account) if family == "tables" else in_arrays(path, chosen, account)


def leave_others(families, family, account):
    """Leave the files out that are not of a family, but for tables beside pictures, which are returned."""
    lists = []
    for source, own in families:
        if family == "pictures" and source.kind == "table" and not own:
            lists.append(source)
        elif own != family:
            reason = f"beside the {family}" if own else LEFT_OUT.get(source.kind, "of no format that is read here")
            account.leave("files", reason, source)
    return lists


def without_copies(sources, account):
    """The sources without the files that gzip made of another that is there."""
    paths = {source.path for source in sources}
    for source in sources:
        if source.path.suffix == ".gz" and source.path.with_suffix("") in paths:
            account.leave("files", "a packed copy", source)
        else:
            yield source


def choose_family(path, families):
    """That of "pictures", "arrays" and "tables" to which most images of (Source, family) pairs belong.

    Raises UserError where there is none, or where another has more than a tenth.
    """
    weights = Counter()
    for source, family in families:
        if family:
            weights[family] += weight(source, family)
    if not weights:
        say_what_is_there(path, [source for source, _ in families])
    most = max(weights, key=weights.get)
    if 10 * (weights.total() - weights[most]) > weights.total():
        told = [f"{some([s.path.name for s, own in families if own == name], 2)} ({name})" for name in weights]
        told = " and ".join(told)
        raise UserError(f"{path} holds {told}, and it cannot be told which to take: give one, or move the others away.")
    return most


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
    inside = some([str(source.path.relative_to(path)) for source in sources])
    holds = f"holds nothing that is read here, but {inside}" if inside else "is empty"
    raise UserError(f"The folder {path} {holds}: give another one.")


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


# -- Tables ------------------------------------------------------------------------------------------------------------


def in_tables(path, sources, account):
    """The Found of one table, or of one for training and one that is held out, known by their names."""
    parts = parts_of_tables(path, sources)
    tables = {part: read_table(source.path) for part, source in parts.items()}
    chosen = choose_parts({part: labels is not None for part, (_, labels, _) in tables.items()})
    for part, (images, labels, _) in tables.items():
        reason = "a validation part" if part == "val" and labels is not None else "a part without labels"
        account.find("images", len(images))
        for unit, n in (("files", 1), ("images", len(images))):
            account.take(unit, n) if part in chosen else account.leave(unit, reason, parts[part], n)
    said, pairs = {}, []
    for images, labels, columns, source in [(*tables[part], parts[part]) for part in chosen]:
        pairs.append((turned(images, known_as_turned(source.path), said), labels))
        if columns.others:
            said[f"columns left over: {some(columns.others)}"] = None
    return Found(pairs, said)


def parts_of_tables(path, sources):
    """The tables, {part: Source}. Raises UserError where it cannot be told which is which."""
    parts = {role(source.path.name).part or "": source for source in sources} if len(sources) > 1 else {"": sources[0]}
    if len(parts) < len(sources) or (len(parts) > 1 and "" in parts):
        names = some([source.path.name for source in sources])
        raise UserError(f"{path} holds {names}, and it cannot be told which to take: give one of them.")
    return parts
