"""The pictures in a folder: their parts and classes, by the folders that they are in or by a table beside them."""

import os
from typing import NamedTuple

import numpy as np

from seevae.basics import UserError, say
from seevae.images.account import some
from seevae.images.converting import finish_pages, read_pages, reason_of
from seevae.images.tables import labels_by_file
from seevae.images.words import Found, choose_parts, only_set, role


class Place(NamedTuple):
    """Where a picture belongs: its part, its class, or why it is left out."""

    part: str
    label: str | None = None
    reason: str = ""


def in_pictures(path, sources, lists, account):
    """The Found of picture files; lists: tables beside them, which may name their classes."""
    root = path if os.path.isdir(path) else path.parent
    said, holders = {}, []
    places = arrange([source.path.relative_to(root).parts[:-1] for source in sources], f"{path} holds", said)
    if any(place.label for place in places):
        for source in lists:
            account.leave("files", "a table beside folders of classes", source)
    else:
        places, holders = from_lists(root, sources, places, lists, account)
    parts = by_part(sources, places, account)
    chosen = chosen_parts(parts, account)
    if (total := sum(len(parts[part]) for part in chosen)) > 5000:
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
    return Found(pairs, [*said, *done], holders)


def by_part(sources, places, account):
    """The pictures that have a Place: {part: (Source, label) pairs}."""
    parts = {}
    for source, place in zip(sources, places, strict=True):
        if place.reason:
            account.leave("files", place.reason, source)
        else:
            parts.setdefault(place.part, []).append((source, place.label))
    return parts


def chosen_parts(parts, account):
    """The names of the parts that are taken; the others are left out."""
    chosen = choose_parts({part: labelled(of) for part, of in parts.items()})
    for part in parts.keys() - {*chosen}:
        for source, _ in parts[part]:
            account.leave("files", "a validation part" if part == "val" else "a part without classes", source)
    return chosen


def arrange(folders, holds, said):
    """The Place of each picture, from the names of the folders that it is in, a tuple each.

    The first level of folders that is not for parts, for masks or for nothing (see what_level) is that of the classes.
    """
    rest, parts, reasons = [[*names] for names in folders], [""] * len(folders), [""] * len(folders)
    depth = 0
    while (live := [k for k, reason in enumerate(reasons) if not reason]) and all(len(rest[k]) > depth for k in live):
        level = what_level({rest[k][depth]: role(rest[k][depth]) for k in live}, holds, said)
        if level is None:
            depth += 1
            continue
        for k in live:
            part, reasons[k] = level[rest[k].pop(depth)]
            parts[k] = parts[k] or part
    if any(len(names) > 1 for names in rest):
        said["folders lie in folders: the upper ones are the classes"] = None
    return [
        Place(part, *([*names, None][:1]), reason) for part, names, reason in zip(parts, rest, reasons, strict=True)
    ]


def what_level(roles, holds, said):
    """What a level of folders is for: {name: (part, why its pictures are left out)}, or None for classes.

    It is for parts if several parts are named, or parts alone; for nothing if there is one name.
    """
    parts = [r.part for r in roles.values() if r.part]
    if len({*parts}) > 1 or len(parts) == len(roles):
        return level_of_parts(roles, holds, said)
    if {r.kind for r in roles.values()} == {"images", "labels"}:
        return {name: ("", "" if r.kind == "images" else "masks beside the images") for name, r in roles.items()}
    return dict.fromkeys(roles, ("", "")) if len(roles) == 1 else None


def level_of_parts(roles, holds, said):
    """See what_level. Raises UserError where the parts are those of several sets."""
    parts = {name: r.part for name, r in roles.items() if r.part}
    only_set({roles[name].set for name in parts}, f"{holds} {some(roles)}")
    if several := [name for name, part in parts.items() if [*parts.values()].count(part) > 1]:
        said[f"{some(several)} taken together"] = None
    return {name: (parts.get(name, ""), "" if name in parts else "beside the parts") for name in roles}


def labelled(pictures):
    """Whether at least nine of ten pictures have a class."""
    return 10 * sum(label is not None for _, label in pictures) >= 9 * len(pictures)


def file_names(root, sources):
    """What each file may be called, {name: its place, or None for a name of two}."""
    names = {}
    for number, source in enumerate(sources):
        for name in {source.path.relative_to(root).as_posix(), source.path.name, source.path.stem}:
            names[name] = None if name in names else number
    return names


def from_lists(root, sources, places, lists, account):
    """The Places with the classes that tables beside the pictures name, and these tables, as Found.labels has them."""
    names = file_names(root, sources) if lists else {}
    holders = []
    for source in lists:
        labels, reason = labels_by_file(source.path, names)
        part = role(source.path.name).part or ""
        own = [Place(p.part or part, labels.get(k), p.reason) if k in labels else p for k, p in enumerate(places)]
        train = [(None, place.label) for place in own if place.part in ("", "train") and not place.reason]
        if labels and (part == "test" or labelled(train)):
            places = own
            holders.append(("files", source.path.name))
        else:
            reason = reason or f"names {len(labels):,} of {len(sources):,} pictures"
            account.leave("files", f"a table that {reason}", source)
    return places, holders


def read_pictures(path, pictures, account, said):
    """The Pages of (Source, label) pairs, and their labels, an array, or None. Raises UserError for a lost class."""
    with_labels = labelled(pictures)
    pages, labels = [], []
    for source, label in pictures:
        if with_labels and label is None:
            account.leave("files", "beside the pictures with a class", source)
            continue
        own = read_picture(source, account)
        pages += own
        labels += [label] * len(own)
    lost = {label for _, label in pictures if label is not None} - {*labels}
    if not pages or (with_labels and lost):
        what = f"the class {some(sorted(lost))}" if pages else "a part"
        raise UserError(f"No picture of {what} in {path} can be read: {account.words('files')}.")
    if not with_labels and any(label is not None for _, label in pictures):
        said["pictures beside folders: all taken, without classes"] = None
    return pages, np.array(labels) if with_labels and labels[0] is not None else None


def read_picture(source, account):
    """The Pages of a picture file, as far as they can be read."""
    try:
        if source.reason:
            raise ValueError(source.reason)
        pages, count, reason = read_pages(source.path)
    except Exception as error:  # a damaged file fails in many ways
        account.leave("files", f"cannot be read ({reason_of(error)})", source, lost=True)
        return []
    account.take("files")
    account.find("images", count)
    account.take("images", len(pages))
    if reason:
        account.leave("images", reason, source, count - len(pages), lost=True)
    return pages
