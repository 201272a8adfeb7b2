"""The rooms of the package: who may use whom, as each room's `__init__` says; and the face, which imports nothing."""

import ast
import functools
import graphlib
import re
import subprocess
import sys

import pytest
from processes import ROOT

import seevae

PACKAGE = ROOT / "seevae"
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
HEAVY = ("keras", "numpy", "matplotlib", "PIL", "tensorflow", "jax", "torch")


@functools.cache
def may_use(room):
    """The rooms that a room's docstring names after "May use:"."""
    text = " ".join(ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text())).split())
    (named,) = re.findall(r"May use: ([^.]*(?:\.\w[^.]*)*)\.", text)
    return {other for other in re.findall(r"\w+", named) if other in ROOMS}


def imported(path):
    """All modules that a file imports, wherever in it: {"seevae.images.data", "numpy", ...}."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: the whole name of a module says its room"
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def rooms_of(names):
    return {part for name in names for part in name.split(".")[1:2] if name.startswith("seevae.") and part in ROOMS}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_those_alone_that_its_docstring_names(room):
    """Each of them, too: a permission that nobody needs is no part of the map."""
    used = {}
    for path in (PACKAGE / room).rglob("*.py"):
        names = {*imported(path)}
        assert not {"vae_mnist", "__main__"} & {name.split(".")[0] for name in names}, path
        used |= dict.fromkeys(rooms_of(names) - {room}, path)
    assert {*used} == may_use(room), used


def test_the_arrows_go_one_way():
    """In the order in which the face lists the rooms, from the lowest to the highest."""
    listed = re.findall(r"^    (\w+) {2,}\w", seevae.__doc__, flags=re.M)
    order = [name for name in listed if name in ROOMS]
    assert sorted(order) == ROOMS
    graphlib.TopologicalSorter({room: may_use(room) for room in ROOMS}).prepare()  # an error for a circle
    for room in ROOMS:
        assert may_use(room) <= {*order[: order.index(room)]}


def test_the_map_for_contributors_shows_these_arrows():
    lines = (ROOT / "CONTRIBUTING.md").read_text().splitlines()
    drawn = [
        match for line in lines if (match := re.fullmatch(r"  (\w+)/ .*?(?:--> (.*)|\(uses no other room\))", line))
    ]
    assert {match[1]: {*re.findall(r"\w+", match[2] or "")} for match in drawn} == {
        room: may_use(room) for room in ROOMS
    }


def test_what_all_rooms_use_imports_none():
    for path in PACKAGE.glob("*.py"):
        assert not rooms_of(imported(path)), path


def test_the_face_imports_nothing_heavy_and_has_every_name_it_lists():
    program = f"import sys, seevae; print(*{{*{HEAVY}}} & sys.modules.keys(), *dir(seevae))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {*done.stdout.split()} >= {*seevae.__all__}
    assert not {*done.stdout.split()} & {*HEAVY}
    for name in seevae.__all__:
        assert getattr(seevae, name) is not None
        assert re.search(rf"^    (\w+, )*{name}\b", seevae.__doc__, flags=re.M), f"{name} is not on the face's list"
    with pytest.raises(AttributeError, match="nothing"):
        seevae.nothing  # noqa: B018
