"""Where each Item belongs: its part and its class, by the names of folders, files and arrays, or by a table beside it.

Each function writes into the Items what it finds: part, label, labels, and out for what is not taken.
"""

from collections import Counter

from seevae.basics import UserError
from seevae.images.account import some
from seevae.images.converting import name_order, plain_label
from seevae.images.sources import refuse
from seevae.images.tables import labels_by_file
from seevae.images.words import MASKED, Role, role

MASKS = "masks, or the like, beside the images"
LEFT_PARTS = {"val": "a validation part", "test": "a part without labels"}
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
    if len({*parts.values()}) > 1 or len(parts) == len(roles) or (parts and {*parts} == deeper):
        only_set({name: roles[name].set for name in parts}, f"{holds} {some(roles)}")
        tell_those_together(parts, said)
        return {name: (parts.get(name, ""), "" if name in parts else "beside the parts") for name in roles}
    if second := masks_among(roles, inside, holds):
        return {name: ("", MASKS * (name in second)) for name in roles}
    return dict.fromkeys(roles, ("", "")) if len(roles) == 1 else None


def masks_among(roles, inside, holds):
    """The names of folders that hold masks, or the like, of pictures in others: their files have the same names."""
    second = {name for name, r in roles.items() if r.kind == "labels"}
    named = {r.kind for r in roles.values()} == {"images", "labels"}
    if not named and not (len(roles) == 2 and len([*filter(MASKED.search, second)]) == 1):
        return set()
    masks, shown = ({stem(item) for name in names for item in inside[name]} for names in (second, {*roles} - second))
    if inside[min(second)][0].kind == "picture" and (not named or 2 * len(masks & shown) < len(masks)):
        told = f"{some(sorted(second))} may hold masks, or the like, of the others, or pictures of their own"
        raise UserError(f"{holds} {some(roles)}, which has two readings: {told}; move it away, or call it otherwise.")
    return second


def stem(item):
    """The name of a picture file without what tells a mask from its picture."""
    return MASKED.sub("", item.path.stem.lower()).strip("_- ")


def tell_those_together(parts, said):
    """Say which of {name: part or class} are one."""
    counts = Counter(parts.values())
    if several := [name for name, part in parts.items() if counts[part] > 1]:
        said[f"{some(several)} taken together"] = None


# -- Tables beside pictures --------------------------------------------------------------------------------------------


def by_lists(items, lists, said):
    """The classes of pictures by the tables beside them, where their folders name none."""
    items = live(items)
    in_folders, told_by = all(item.label for item in items), {}
    for table in sorted(lists, key=lambda table: role(table.path.name).part in (None, "train")):  # which name the rest
        reason = "lies beside folders of classes" if in_folders else by_list(items, table, said, told_by)
        table.out, table.is_labels = f"a table that {reason}" if reason else "", not reason


def by_list(items, table, said, told_by):
    """The classes and parts of the pictures below a table's folder, or of all. Returns why it is not used, or "".

    told_by: {picture: the table, and its column in words, that gave it its class}; the pictures of this one come to it.
    """
    part = role(table.path.name).part or ""
    if "submission" in table.path.name.lower():  # Kaggle's, with an answer of no meaning for each
        return "is for answers"
    below = [item for item in items if item.folders[: len(table.folders)] == table.folders] or items
    bare = [item for item in below if not item.label]
    bare = [item for item in bare if item.part == part] or bare
    try:
        if not bare:
            return told_twice([item for item in below if item in told_by], table, told_by)
        named, told = labels_by_file(table.path, file_names(bare))
    except (OSError, ValueError) as error:
        return str(error)
    rest = [item.label for place, item in enumerate(bare) if place not in named and item.part in ("", "train")]
    if part in ("", "train") and not mostly([True] * len(named) + rest):
        return f"names {len(named):,} of {len(bare):,} pictures"
    for place, (label, own) in named.items():
        bare[place].label, bare[place].part = label, bare[place].part or own or part
        told_by[bare[place]] = table, told.partition(" of ")[0]
    said[told] = None
    return ""


def told_twice(items, table, told_by):
    """Why a table is not used whose pictures have classes by another. Raises UserError where both may be meant."""
    named, told = labels_by_file(table.path, file_names(items))
    other = [items[place] for place, (label, _) in named.items() if label != items[place].label]
    if not other:
        return "gives the same classes as another"
    first, column = told_by[other[0]]
    if column == told.partition(" of ")[0]:
        both = f"{first.title} and {table.title} give {len(other):,} pictures different classes"
        raise UserError(f"{both}, such as {other[0].title}: keep the one that is right, and move the other away.")
    return f"gives other classes than {first.title}"


def file_names(items):
    """What each picture may be called, {name: its place, or None for a name of two}."""
    names = {}
    for number, item in enumerate(items):
        paths = {"/".join([*item.folders[k:], item.path.name]) for k in range(len(item.folders) + 1)}
        for name in {*paths, item.path.stem}:
            names[name] = None if name in names else number
    return names


# -- Arrays ------------------------------------------------------------------------------------------------------------


def by_names(path, items, said):
    """What arrays are by their names and those of their files: images, with labels or each file a class, and others."""
    name_roles(items)
    images = images_among(path, items)
    labels = [item for item in items if item.role.kind == "labels" and item.dtype.kind != "O"]
    paths = {item.path for item in images}
    others = [item for item in items if item.fits and item.path not in paths and item.role.kind != "labels"]
    if 10 * sum(item.shape[0] for item in others) > sum(item.shape[0] for item in images):
        only_set({item.path.name: item.path in paths for item in (*images, *others)}, what_holds(path, items))
    for item in {*items}.difference(images):
        reason = "a validation part" if item.part == "val" else "not of the images that are taken"
        item.out = "Python objects, which are not read" if item.dtype.kind == "O" else reason
    if labels or any(item.labels_inside for item in images) or not have_classes(images, items, said):
        pair(path, items, images, labels)


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
    """Those of some arrays of labels that belong to an array of images, or None."""
    same = [item for item in labels if item.part == images.part and item.role.set in (images.role.set, "")]
    return max(same, key=lambda item: (item.role.set == images.role.set, item.kind == "array"), default=None)


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
    train, *others = [part for part in ("train", "", "val", "test") if part in parts]
    labelled = {part: mostly(item.labelled for item in of) for part, of in parts.items()}
    fit = [part for part in ("test", "val") if part in others and (labelled[part] or not labelled[train])]
    chosen = [train, *fit[:1]]
    for item in live(items):
        if item.part not in chosen:
            item.out = LEFT_PARTS.get(item.part, "beside the parts")
        elif item.labels:
            item.labels.out, item.labels.is_labels = "", True
    return [parts[part] for part in chosen]
