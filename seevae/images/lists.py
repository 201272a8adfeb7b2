"""Tables beside pictures, with a row for each file: which pictures they name, and which columns tell what of them."""

import re

from seevae.basics import UserError
from seevae.images.account import some
from seevae.images.tables import columns_in, is_number
from seevae.images.words import role

SPLITS = ("split", "splits", "set", "subset", "partition", "fold", "usage")  # columns that tell parts, and no classes


def by_lists(items, lists, said):
    """The classes and parts of pictures by the tables beside them, where their folders name no classes."""
    in_folders, told_by = all(item.label for item in items), {}
    for table in sorted(lists, key=lambda table: role(table.path.name).part in (None, "train")):  # which name the rest
        try:
            if in_folders:
                raise ValueError("lies beside folders of classes")
            by_list(table, items, said, told_by)
            table.out, table.is_labels = "", True
        except (OSError, ValueError) as error:
            table.out = f"a table that {error}"


def by_list(table, items, said, told_by):
    """The classes and parts of the pictures below a table's folder, or of all. Raises ValueError where it is not used.

    told_by: {picture: the table, and its column, that gave it its class}; the pictures of this one come to it.
    """
    part = role(table.path.name).part or ""
    if "submission" in table.path.name.lower():  # Kaggle's, with an answer of no meaning for each
        raise ValueError("is for answers")
    below = [item for item in items if item.folders[: len(table.folders)] == table.folders] or items
    bare = without_class(below, part)
    if not bare:
        refuse_second(table, [item for item in below if item in told_by], told_by)
    named, column, told = read_list(table.path, bare)
    rest = [item for item in bare if item not in named and item.part in ("", "train")]
    if part in ("", "train") and len(named) < 9 * len(rest):
        raise ValueError(f"names {len(named):,} of {len(bare):,} pictures")
    for item, (label, own) in named.items():
        item.label, item.part = label, item.part or own or part
        told_by[item] = table, column
    said[told] = None


def without_class(items, part):
    """The pictures that have no class, of a part if there are some."""
    bare = [item for item in items if not item.label]
    return [item for item in bare if item.part == part] or bare


def refuse_second(table, items, told_by):
    """Raise ValueError for a table whose pictures have classes by another, and UserError where both may be meant."""
    named, column, _ = read_list(table.path, items)
    other = [item for item, (label, _) in named.items() if label != item.label]
    if not other:
        raise ValueError("gives the same classes as another")
    first, used = told_by[other[0]]
    if column == used:
        both = f"{first.path} and {table.path} give {len(other):,} pictures different classes"
        raise UserError(f"{both}, such as {other[0].title}: keep the one that is right, and move the other away.")
    raise ValueError(f"gives other classes than {first.title}")


def read_list(path, items):
    """What a table says of pictures, {Item: (class, part)}, the name of the column of classes, and words that say so.

    Raises ValueError, with the reason, for a table that does not tell their classes.
    """
    columns, rows = files_in(columns_in(path), file_names(items))
    part, splits = split_column(columns)
    label, column = class_of([of for of in columns if of not in splits], rows)
    told = {row: (label(row), (role(part[row]).part or "other") if part else "") for row in rows}
    named = {}
    for row, item in rows.items():
        named.setdefault(item, told[row])
    if double := {item for row, item in rows.items() if named[item][0] != told[row][0]}:
        raise ValueError(f"gives more than one class to a picture, {len(double):,} times")
    if not column or 0 in rows:  # the first row does not name the columns
        return named, column, f"labels by {path.name}"
    over = some(of[0] for of in columns if of is not part and of[0] != column)
    left = f", of which {over} left over" if over else ""
    return named, column, f"labels by the column {column} of {path.name}{left}"


def split_column(columns):
    """The column whose words tell parts, or None, and all that are called so, which are no classes."""
    splits = [of for of in columns if of[0].lower() in SPLITS]
    return next((of for of in splits if any(role(cell).part for cell in of[1:])), None), splits


def files_in(columns, names):
    """The columns beside that of files, in which most of the names are found, and the rows of these, {row: Item}."""
    found = [[names.get(file_name(cell, names)) for cell in column] for column in columns]
    files = min(range(len(found)), key=lambda k: found[k].count(None), default=0)
    rows = {row: item for row, item in enumerate(found[files]) if item is not None} if len(columns) > 1 else {}
    if not rows:
        raise ValueError("names no pictures that want a class")
    return columns[:files] + columns[files + 1 :], rows


def file_names(items):
    """What each picture may be called, {name: Item, or None for a name of two}."""
    names = {}
    for item in items:
        paths = {"/".join([*item.folders[k:], item.path.name]) for k in range(len(item.folders) + 1)}
        for name in {*paths, item.path.stem}:
            names[name] = None if name in names else item
    return names


def file_name(cell, names):
    """A cell as one of the names of files, if it can be one: without the folders or the suffix of another computer."""
    cell = cell.replace("\\", "/").removeprefix("./")
    bare = cell.rpartition("/")[2]
    return next((form for form in (cell, bare, re.sub(r"\.[A-Za-z]+$", "", bare)) if form in names), cell)


def class_of(columns, rows):
    """A function of a row's number that gives its class, and the name of the column that it is from, if it is one.

    It is in the column named so (but y beside x is a place), or in the only one, or the only one of text, or is the
    name of the only one that is 1. Raises ValueError where the columns do not tell.
    """
    titles = {of[0].lower() for of in columns}
    called = [of for of in columns if names_class(of[0], titles)]
    text = [of for of in columns if not any(is_number(of[row]) for row in rows)]
    if found := next((of[0] for of in (called[:1], columns, text) if len(of) == 1), None):
        return found.__getitem__, found[0]
    if columns and all(is_one_hot([of[row] for of in columns]) for row in rows):
        return lambda row: next(of[0] for of in columns if float(of[row])), ""
    told = f"which of {some(of[0] for of in columns)} is the class: name it label" if columns else "classes"
    raise ValueError(f"does not tell {told}")


def names_class(title, titles):
    """Whether a column is called as labels are, and not y_1 beside x_1."""
    across = "x".join(title.lower().rsplit("y", 1))
    return role(title).kind == "labels" and (across == title.lower() or across not in titles)


def is_one_hot(cells):
    """Whether one of some cells is 1 and the others are 0."""
    return all(map(is_number, cells)) and sorted(map(float, cells)) == [*[0] * (len(cells) - 1), 1]
