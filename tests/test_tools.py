"""tools/tests_of.py: the tests that run a line, also after it has moved, and through other processes."""

import sys

import pytest
from processes import ROOT

sys.path.insert(0, str(ROOT / "tools"))

import tests_of

PROGRAM = """'''A program.'''
LIMIT = 3


def first(n):
    if n > LIMIT:
        return "large"
    return "small"


def second():
    return 2
"""
TESTS = """
import subprocess, sys

import pytest
import vae_mnist


@pytest.mark.parametrize("n", [1, 9])
def test_first(n):
    assert vae_mnist.first(n)


def test_elsewhere():
    subprocess.run([sys.executable, "-c", "import vae_mnist; vae_mnist.second()"], check=True)
"""
FILE = "tests/test_vae_mnist.py"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of one program and one file of tests, and the record of these: (its folder, the Record)."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in {"vae_mnist.py": PROGRAM, FILE: TESTS}.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    return folder, tests_of.record_of(folder)


SMALL, LARGE, ELSEWHERE = f"{FILE}::test_first[1]", f"{FILE}::test_first[9]", f"{FILE}::test_elsewhere"


@pytest.mark.parametrize(
    ("line", "tests"),
    [
        (2, [SMALL, LARGE, ELSEWHERE]),  # it runs when the module is imported
        (6, [SMALL, LARGE]),
        (7, [LARGE]),
        (8, [SMALL]),
        (12, [ELSEWHERE]),
        (None, [SMALL, LARGE, ELSEWHERE]),
    ],
)
@pytest.mark.parametrize("above", [0, 7])
def test_each_line_has_the_tests_that_ran_it(line, tests, above, project):
    """Also when it stands lower than at the time of the record."""
    folder, record = project
    head, limit, *rest = PROGRAM.splitlines()
    (folder / "vae_mnist.py").write_text("\n".join([head, *["# new"] * above, limit, *rest]))
    assert tests_of.find_tests(record, folder, "vae_mnist.py", line and line + above) == tests


def test_a_new_line_has_the_tests_of_its_function(project):
    folder, record = project
    (folder / "vae_mnist.py").write_text(PROGRAM.replace("    return 2", "    two = 2\n    return two"))
    assert tests_of.find_tests(record, folder, "vae_mnist.py", 12) == [ELSEWHERE]


def test_without_a_record_the_files_that_name_the_module_are_named(project):
    folder, _ = project
    assert tests_of.find_tests(None, folder, "vae_mnist.py", 6) == [FILE]
    (folder / "tests" / "test_other.py").write_text("x = 1")
    assert tests_of.find_tests(None, folder, "seevae/room/x.py") == []
    (folder / "tests" / "test_other.py").write_text("from seevae.room import x")
    assert tests_of.find_tests(None, folder, "seevae/room/x.py") == ["tests/test_other.py"]


def test_what_takes_longest_is_left_out_first():
    seconds = {"a": 30.0, "b": 0.5, "c": 40.0, "d": 20.0}
    assert tests_of.within(["a", "b", "c", "d"], seconds, 60) == ["a", "b", "d"]
    assert tests_of.within(["c"], seconds, 10) == ["c"], "one at least"
