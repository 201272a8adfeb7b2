"""Which tests run a file of the program, or a line of it: what to run after a change.

    python tools/tests_of.py seevae/run/folder.py:120           their names, those of the file's own tests first
    python tools/tests_of.py seevae/run/folder.py --run         run them, as many as fit into a minute (--seconds)
    python tools/tests_of.py --record                           learn it anew: all tests run once

For the record, the tests run in a copy of the project each of whose statements notes which test has run it, in other
processes too. It lies outside the project ($XDG_CACHE_HOME or ~/.cache, in seevae/), and stays useful while the code
changes: a line that has moved is found again, and a new one counts as the function that it is in. What runs when
a module is imported counts as the whole module; without a record, the test files that import it are named.
"""

import argparse
import ast
import collections
import difflib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 7200  # seconds for all tests, the slow ones too
LEFT_OUT = ("test_readme",)  # counts lines: it would tell any change

# Goes into the copy whose statements note who runs them, once for each test in each process. By one write each, as a
# process may be killed. pytest itself sets the variable, and other processes inherit it.
NOTING = """
import os
known = set()
def ran(place):
    test = os.environ.get("PYTEST_CURRENT_TEST", " ").rpartition(" ")[0]
    if (test, place) not in known:
        known.add((test, place))
        file = os.open({path!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{{place}} {{test}}\\n".encode(errors="backslashreplace"))
        os.close(file)
"""


class Record(NamedTuple):
    """Which tests ran which statement, and for how long."""

    sources: dict  # {module: its text then}
    ran: dict  # {module: {the line of a statement: [tests, in the order they ran]}}
    seconds: dict  # {test: seconds}

    @classmethod
    def load(cls, path):
        """The record in a file, or None where there is none."""
        if not path.exists():
            return None
        record = cls(**json.loads(path.read_text()))
        lines = {module: {int(line): tests for line, tests in by.items()} for module, by in record.ran.items()}
        return record._replace(ran=lines)


def modules(project):
    """The paths of the program's modules in the project, as text."""
    paths = [project / "vae_mnist.py", *sorted(project.glob("seevae/**/*.py"))]
    return [path.relative_to(project).as_posix() for path in paths]


def copy_of(project, folder):
    """A copy of the project in a folder, without what is made anew."""
    leave_out = shutil.ignore_patterns(".git", ".venv*", "__pycache__", ".*_cache", ".hypothesis")
    return Path(shutil.copytree(project, Path(folder) / "project", ignore=leave_out))


def pytest(copy, *arguments, limit=LIMIT):
    """Run the tests in a copy: what they print, and their exit status; None where they do not end."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider", *arguments]
    how = {"cwd": copy, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, start_new_session=True, **how) as process:
        try:
            return process.communicate(timeout=limit)[0], process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "", None


# -- The record ------------------------------------------------------------------------------------------------------


class Noting(ast.NodeTransformer):
    """Lets each statement inside a function note that it runs."""

    def __init__(self, module):
        self.module, self.depth = module, 0

    def visit_FunctionDef(self, node):
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1
        return node

    def generic_visit(self, node):
        super().generic_visit(node)
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if self.depth and isinstance(statements, list):
                setattr(node, name, [part for one in statements for part in (*self.note(one), one)])
        return node

    def note(self, statement):
        match statement:
            case ast.Expr(value=ast.Constant()):  # a docstring has to stay the first
                return []
        return ast.parse(f"noting.ran('{self.module}:{statement.lineno}')").body


def record_of(project, *arguments):
    """Run all tests once, or those that pytest's arguments choose, and return the Record."""
    with tempfile.TemporaryDirectory(prefix="noting") as folder:
        copy, notes, times = copy_of(project, folder), Path(folder) / "notes", Path(folder) / "times.xml"
        (copy / "noting.py").write_text(NOTING.format(path=str(notes)))
        sources = {module: (copy / module).read_text() for module in modules(project)}
        for module, source in sources.items():
            tree = Noting(module).visit(ast.parse(source))
            tree.body[1:1] = ast.parse("import noting").body  # after the docstring
            (copy / module).write_text(ast.unparse(ast.fix_missing_locations(tree)))
        left_out = (f"--deselect=tests/{name}.py" for name in LEFT_OUT)
        out, _ = pytest(copy, f"--junitxml={times}", *left_out, *arguments)
        print(*out.splitlines()[-8:], sep="\n", file=sys.stderr, flush=True)
        ran = {module: collections.defaultdict(dict) for module in sources}
        for note in notes.read_text().splitlines():
            place, _, test = note.partition(" ")
            module, _, line = place.rpartition(":")
            if test:
                ran[module][int(line)][test] = None
        seconds = dict(seconds_of(times))
    return Record(
        sources, {module: {line: [*tests] for line, tests in by.items()} for module, by in ran.items()}, seconds
    )


def seconds_of(path):
    """Each test's name and seconds in pytest's report for machines."""
    for case in xml.etree.ElementTree.parse(path).iter("testcase"):
        yield f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}", float(case.get("time"))


# -- The tests of a line, or of a file -------------------------------------------------------------------------------


def functions_of(tree):
    """Every function of a module: (its name with those that it is in, the node); the inner after the outer."""

    def walk(node, name):
        for child in ast.iter_child_nodes(node):
            inner = f"{name}.{child.name}" if isinstance(child, (ast.FunctionDef, ast.ClassDef)) else name
            if isinstance(child, ast.FunctionDef):
                yield inner, child
            yield from walk(child, inner)

    return [*walk(tree, "")]


def around(functions, line):
    """The innermost function whose body has the line: (name, node), or None."""
    inside = [found for found in functions if found[1].body[0].lineno <= line <= found[1].end_lineno]
    return max(inside, key=lambda found: found[1].lineno, default=None)


def of_line(record, project, module, line):
    """The tests that ran a line of a module, as it is now; None for what runs at its import."""
    old, new = record.sources.get(module, ""), (project / module).read_text()
    function = around(functions_of(ast.parse(new)), line) if module in record.sources else None
    if function is None:
        return None
    then, ran = functions_of(ast.parse(old)), record.ran.get(module, {})
    before = line_then(old, new, line)
    if before and (found := around(then, before)):
        statements = [node for node in ast.walk(found[1]) if isinstance(node, ast.stmt) and node is not found[1]]
        return ran.get(max(node.lineno for node in statements if node.lineno <= before <= node.end_lineno), [])
    inside = [node for name, node in then if name == function[0]]  # the line is new: all that run its function
    return unique(tests for line, tests in ran.items() for node in inside if node.lineno <= line <= node.end_lineno)


def line_then(old, new, line):
    """The number that a line of the text `new` had in the text `old`, or None."""
    blocks = difflib.SequenceMatcher(None, old.splitlines(), new.splitlines(), autojunk=False).get_matching_blocks()
    return next((a + line - b for a, b, size in blocks if b < line <= b + size), None)


def unique(lists):
    return [*dict.fromkeys(test for tests in lists for test in tests)]


def naming(project, path):
    """The test files that name a file of the project, the smallest first: as a module, or by its name."""
    *rooms, name = path.with_suffix("").parts if path.stem != "__init__" else path.parent.parts
    wanted = rf"\b{name}\b"
    if rooms and path.suffix == ".py":
        room = r"\.".join(rooms)
        wanted = rf"\b{room}\.{name}\b|\bfrom {room} import .*\b{name}\b"
    files = [file for file in project.glob("tests/test_*.py") if file.stem not in LEFT_OUT]
    found = [file for file in files if re.search(wanted, file.read_text())]
    return [f"tests/{file.name}" for file in sorted(found, key=lambda file: file.stat().st_size)]


def find_tests(record, project, module, line=None):
    """The tests of a line, or of a whole file: those of its own file first, then file by file, the smallest first."""
    path, tests = Path(module), None
    if record is not None and line is not None:
        tests = of_line(record, project, module, line)
    if tests is None:  # a whole file, or what runs when it is imported
        tests = unique(record.ran.get(module, {}).values()) if record is not None else []
        tests = tests or naming(project, path)
    own = f"tests/test_{path.parent.name if path.stem == '__init__' else path.stem}.py"
    of_file = collections.Counter(test.partition("::")[0] for test in tests)
    files = sorted(of_file, key=lambda file: (file != own, of_file[file]))
    return sorted(tests, key=lambda test: files.index(test.partition("::")[0]))


def within(tests, seconds, at_most):
    """The quickest of the tests that fit into so many seconds together, in the order given."""
    chosen, left = set(), at_most
    for test in sorted(tests, key=lambda test: seconds.get(test, 0)):
        left -= seconds.get(test, 0)
        if left >= 0 or not chosen:
            chosen.add(test)
    return [test for test in tests if test in chosen]


def main():
    """Name the tests of a file or a line, or run them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("place", nargs="?", metavar="FILE[:LINE]", help="a file of the project, and a line of it")
    parser.add_argument("--run", action="store_true", help="run them")
    parser.add_argument("--seconds", type=float, default=60, help="of tests to run at most (default: 60)")
    parser.add_argument("--record", action="store_true", help="run all tests once, and note what they run")
    args = parser.parse_args()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "seevae")
    path = cache / f"tests-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}.json"
    if args.record:
        cache.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(record_of(ROOT)._asdict()))
    if args.place is None:
        return
    name, _, line = args.place.partition(":")
    if not Path(name).is_file() or not Path(name).resolve().is_relative_to(ROOT) or not (line or "1").isdigit():
        parser.error(f"{args.place!r} is no file of this project, nor a line of one")
    module, record = Path(name).resolve().relative_to(ROOT).as_posix(), Record.load(path)
    if record is None:
        print("No record of the tests yet (--record): these files name it.", file=sys.stderr)
    tests = find_tests(record, ROOT, module, int(line) if line else None)
    name_or_run(tests, record.seconds if record else {}, args.seconds if args.run else None)


def name_or_run(tests, seconds, at_most):
    """Print the tests, or run so many seconds of them; at_most: None for printing."""
    chosen = tests if at_most is None else within(tests, seconds, at_most)
    print(f"{len(tests)} tests, {sum(seconds.get(test, 0) for test in tests):.0f} s; ", end="", file=sys.stderr)
    print("named below" if at_most is None else f"run: {len(chosen)}", file=sys.stderr, flush=True)
    if at_most is not None and chosen:
        sys.exit(subprocess.run([sys.executable, "-m", "pytest", "-n0", "-q", "-m", "", *chosen], cwd=ROOT).returncode)
    print(*chosen, sep="\n")


if __name__ == "__main__":
    main()
