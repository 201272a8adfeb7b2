"""Where each Item belongs: its part and its class, by the names of folders, files and arrays.

Each function writes into the Items what it finds: part, label, labels, and out for what is not taken.
"""

import math
from collections import Counter

import numpy as np

from seevae.basics import UserError
from seevae.images.account import COPY, LEFT_PARTS, MASKS, NOT_TAKEN, some
from seevae.images.classes import plain_label
from seevae.images.shapes import axes_of
from seevae.images.sources import refuse
from seevae.images.words import MASKED, Role, name_order, role

SAVEZ = {"arr_0": "images", "arr_1": "labels"}  # numpy.savez(file, images, labels, test images, test labels)
SAVEZ |= {"arr_2": "test_images", "arr_3": "test_labels"}


def live(items):
    """Those that are not left out."""
    return [item for item in items if not item.out]


def mostly(truths):
    """Whether at least nine of ten are true."""
    truths = [*map(bool, truths)]
    return 10 * sum(truths) >= 9 * len(truths)


def only_set(sets, holds):
    """Raise UserError for several sets; sets: the set of each thing, by its name."""
    if len({*sets.values()}) > 1:
        told = some(sorted({name or "one without a name" for name in sets}))
        raise UserError(f"{holds}: it cannot be told which of {told} to take; give one alone.")


# -- Folders -----------------------------------------------------------------------------------------------------------


def by_folders(items, holds, said):
    """Parts and classes by the names of the folders that Items are in.

    The first level of folders that is not for parts, for masks or for nothing (see what_level) is that of the classes.
    Folders called "images", alone in theirs, tell nothing; so does a level that less than nine of ten Items have.
    """
    rest, depth = told_by_folders(items), 0
    while deep := at_depth(items, rest, depth):
        inside = {}
        for item in deep:
            inside.setdefault(rest[item][depth], []).append(item)
        level = what_level(inside, {rest[item][depth] for item in deep if rest[item][depth + 1 :]}, holds, said)
        depth += not level
        for item in deep if level else ():
            part, reason = level[rest[item].pop(depth)]
            item.part = item.part or part
            item.out = "" if reason == MASKS and item.kind != "picture" else reason
    if any(len(rest[item]) > 1 for item in live(items)):
        said["folders lie in folders: the upper ones are the classes"] = None
    for item, names in rest.items():
        item.label = names[0] if names else None
    tell_those_together({item.label: plain_label(item.label) for item in live(items) if item.label}, said)


def at_depth(items, rest, depth):
    """The Items that have a name at a depth, if nine of ten have; else none."""
    deep = [item for item in live(items) if rest[item][depth:]]
    return deep if 10 * len(deep) >= 9 * len(live(items)) else []


def told_by_folders(items):
    """The names of the folders of each Item that may tell something: {item: list}."""
    beside, told = {}, {}
    paths = {item.folders for item in items}
    for folders in paths:
        for k, name in enumerate(folders):
            beside.setdefault(folders[:k], set()).add(name)
    idle = {upper for upper, names in beside.items() if len(names) == 1 and role(*names) == Role("", None, "images")}
    for folders in paths:
        told[folders] = [name for k, name in enumerate(folders) if folders[:k] not in idle]
    return {item: [*told[item.folders]] for item in items}


def what_level(inside, deeper, holds, said):
    """What a level of folders is for: {name: (part, why its pictures are left out)}, or None for classes.

    inside: {name: Items}; deeper: the names of those that hold folders. It is for parts if several parts are named, or
    parts alone, or a part with folders beside others without; for nothing if there is one name.
    """
    roles = {name: role(name) for name in sorted(inside, key=name_order)}
    parts = {name: r.part for name, r in roles.items() if r.part}
    second = {name for name, r in roles.items() if r.kind == "labels"}
    if len({*parts.values()}) > 1 or len(parts) == len(roles) or (parts and {*parts} == deeper):
        only_set({name: roles[name].set for name in parts}, f"{holds} {some(roles)}")
        tell_those_together(parts, said)
        masks = share_names(second - {*parts}, inside)
        out = {name: MASKS if masks and name in second else "beside the parts" for name in {*roles} - {*parts}}
        return {name: (parts.get(name, ""), out.get(name, "")) for name in roles}
    if are_masks(second, roles, inside, holds):
        return {name: ("", MASKS * (name in second)) for name in roles}
    return dict.fromkeys(roles, ("", "")) if len(roles) == 1 else None


def are_masks(second, roles, inside, holds):
    """Whether folders that are called so hold masks, or the like, of the pictures in others."""
    named = {r.kind for r in roles.values()} == {"images", "labels"}
    if not named and not (len(roles) == 2 and len([*filter(MASKED.search, second)]) == 1):
        return False
    if inside[min(second)][0].kind == "picture" and not (named and share_names(second, inside)):
        told = f"{some(sorted(second))} may hold masks, or the like, of the others, or pictures of their own"
        raise UserError(f"{holds} {some(roles)}, which has two readings: {told}; move it away, or call it otherwise.")
    return True


def share_names(second, inside):
    """Whether half of the files in some folders are called as files in others."""
    masks, shown = ({stem(item) for name in of for item in inside[name]} for of in (second, {*inside} - second))
    return 2 * len(masks & shown) >= len(masks)


def stem(item):
    """The name of a picture file without what tells a mask from its picture."""
    return MASKED.sub("", item.path.stem.lower()).strip("_- ")


def tell_those_together(parts, said):
    """Say which of {name: part or class} are one."""
    counts = Counter(parts.values())
    if several := [name for name, part in parts.items() if counts[part] > 1]:
        said[f"{some(several)} taken together"] = None


# -- Arrays ------------------------------------------------------------------------------------------------------------


def by_names(path, items, said):
    """What arrays are by their names and those of their files: images, with labels or each file a class, and others."""
    name_roles(items)
    leave_flat_copies(items)
    items = live(items)
    images = images_among(path, items)
    labels = [item for item in items if item.role.kind == "labels" and item.dtype.kind != "O"]
    paths = {item.path for item in images}
    for item in {*items}.difference(images):
        reason = NOT_TAKEN if item.path in paths or not item.fits else "beside the images"
        reason = LEFT_PARTS["val"] if item.part == "val" else reason
        item.out = "Python objects, which are not read" if item.dtype.kind == "O" else reason
    if labels or any(item.labels_inside for item in images) or not have_classes(images, items, said):
        pair(path, items, images, labels)


def leave_flat_copies(items):
    """Leave out arrays that hold the images of another flat, as those of scikit-learn do (data beside images)."""
    for item in items:
        for other in items:
            alike = len(item.shape) == 2 < len(other.shape) and (item.path, item.size) == (other.path, other.size)
            if alike and item.shape[0] == other.shape[0] and np.array_equal(item.read().ravel(), other.read().ravel()):
                item.out = COPY


def pair(path, items, images, labels):
    """Give each array of images its labels, if there are any. Raises UserError where there are several sets."""
    sets = {"-".join(filter(None, (item.label, item.role.set))) for item in images}
    only_set({name: name for name in sets}, what_holds(path, items))
    for item in images:
        same = [other for other in images if other.part == item.part and not other.single]
        only_set(
            {f"{other.path.name} {other.name}".strip(): other for other in same},
            f"{path} holds several arrays of images",
        )
        item.label, item.labels = None, labels_for(item, labels)


def name_roles(items):
    """Write what the names of arrays, of their files and folders say into them."""
    several = len({item.path for item in items}) > 1
    for item in items:
        of_file = role(item.path.name)
        if item.unit == "files":
            own = role(item.name)
            roles, names = [of_file, own], [of_file.set * several]
        else:
            own = role(" ".join(reversed(SAVEZ.get(item.name, item.name).split("/"))))  # the last tells most
            roles, names = [own, of_file][: 1 + several], [of_file.set * several, own.set]
        kinds = ["images"] if item.kind == "table" else [r.kind for r in [*roles, *map(role, item.folders)]]
        if not item.single:
            item.part = next(filter(None, [item.part, own.part, *(r.part for r in roles)]), "")
            item.role = Role("-".join(filter(None, names)), item.part, next(filter(None, kinds), None))


def images_among(path, items):
    """The arrays of images: those named so, or else those that can be nothing else. Raises UserError for none."""
    called = [item for item in items if item.role.kind == "images"]
    images = [item for item in called or items if item.fits and item.role.kind != "labels"]
    sets = {item.role.set for item in images}
    if not images or any(not item.fits and item.role.set in sets for item in called):
        for item in items:
            if item.how:
                refuse(item)
        advice = "images are numbers from 0 to 255, or from 0 to 1, in an array (n, 28, 28), such as x_train"
        raise UserError(f"{what_holds(path, items)}: {advice} (beside y_train, x_test and y_test).")
    return images


def what_holds(path, items):
    told = [f"{item.title} {item.shape} {item.dtype}" if item.kind == "array" else item.title for item in items]
    return f"{path} holds {some(told, 12)}"


def labels_for(images, labels):
    """Those of some arrays of labels that belong to an array of images, as many if there are such, or None."""
    n = images.shape[axes_of(images.shape).index("n")]
    mine = [item for item in labels if item.part == images.part]
    same = [item for item in mine if item.role.set in (images.role.set, "")]
    same = same or [item for item in mine if n == math.prod(item.shape)]
    fit = lambda item: (n in item.shape, item.role.set == images.role.set, item.kind == "array")  # noqa: E731
    return max(same, key=fit, default=None)


def have_classes(images, items, said):
    """Whether the folders are classes, or files with one array each, named by what the names of these alone have."""
    if all(item.label for item in images):
        return True
    words = {item: item.role.set.split("-") for item in images}
    alone = all(item.unit == "files" for item in items) and not any(item.role.kind == "images" for item in images)
    if not alone or [""] in words.values() or len({*map(tuple, words.values())}) < 2:
        return False
    shared = next(k for k in range(99) if len({tuple(of[k : k + 1]) for of in words.values()}) > 1)
    for item, of in words.items():
        item.label = "-".join(of[shared:])
    said["each file is a class"] = None
    return True


# -- Parts -------------------------------------------------------------------------------------------------------------


def choose_parts(items):
    """The Items of the part that trains and of that held out, if there is one; those of other parts are left out.

    The validation part is held out where there is no test part, or where that one lacks the labels of the training.
    """
    parts = {}
    for item in live(items):
        parts.setdefault(item.part, []).append(item)
    train, *others = [part for part in ("train", "", "val", "test", "extra", "other") if part in parts]
    labelled = {part: mostly(item.labelled for item in of) for part, of in parts.items()}
    fit = [part for part in ("test", "val") if part in others and (labelled[part] or not labelled[train])]
    chosen = [train, *fit[:1]]
    for item in live(items):
        if item.part not in chosen:
            item.out = LEFT_PARTS.get(item.part, "beside the parts")
        elif item.labels:
            item.labels.out, item.labels.is_labels = "", True
    return [parts[part] for part in chosen]
