"""How many broken lines of the program the tests catch: one line is broken at a time, at random.

    python benchmarks/broken_lines.py [--lines 100] [--seed 0] [--project FOLDER]

First all tests of the README's command run once in a copy of the project, each of whose statements notes which test has
run it, in other processes too. Then a line is broken in a copy: a comparison turned round, `and` for `or`, a number
that is one more, a call left out, None returned. The tests that have run the line run again, those of its module's own
file first, then file by file, until one fails; for what runs when a module is imported, the files that name the module.
Two copies at a time. What they let pass is printed, to be looked at: some of it changes nothing, as a limit that no
test can reach. --project measures another version. Writes benchmarks/broken_lines.json. It takes most of an hour on two
cores.
"""

import argparse
import ast
import collections
import concurrent.futures
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIMIT = 1800  # seconds for the tests of one line
OTHERS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
OTHERS |= {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And}
OTHERS |= {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}
LEFT_OUT = ["test_readme"]  # counts lines: it would tell any change

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


def breaks(tree):
    """Every way to break a line of a module: a list of (line, what it does, a function that does it to the tree)."""
    found = []
    for node in ast.walk(tree):
        line = getattr(node, "lineno", None)
        match node:
            case ast.Compare(ops=[op]) if type(op) in OTHERS:
                found.append((line, "comparison", lambda n=node, op=op: setattr(n, "ops", [OTHERS[type(op)]()])))
            case ast.BoolOp(op=op) | ast.BinOp(op=op) if type(op) in OTHERS:
                found.append((line, type(op).__name__, lambda n=node, op=op: setattr(n, "op", OTHERS[type(op)]())))
            case ast.Constant(value=bool() as value):
                found.append((line, f"{not value}", lambda n=node, v=value: setattr(n, "value", not v)))
            case ast.Constant(value=int() | float() as value):
                found.append((line, f"{value} + 1", lambda n=node, v=value: setattr(n, "value", v + 1)))
            case ast.If(test=test) | ast.IfExp(test=test):
                turned = ast.UnaryOp(ast.Not(), test)
                found.append((line, "not", lambda n=node, t=turned: setattr(n, "test", t)))
            case ast.Expr(value=ast.Call()):
                found.append((line, "left out", lambda n=node: setattr(n, "value", ast.Constant(None))))
            case ast.Return(value=ast.expr()):
                found.append((line, "return None", lambda n=node: setattr(n, "value", ast.Constant(None))))
    return found


def modules(project):
    """The paths of the program's modules in the project."""
    return [Path("vae_mnist.py"), *sorted(path.relative_to(project) for path in project.glob("seevae/**/*.py"))]


def choose(project, number, seed):
    """So many lines to break, at random: a list of (module's path in the project, line, number of the break)."""
    lines = {}  # {(module, line): the breaks in it}
    for module in modules(project):
        for i, (line, *_) in enumerate(breaks(ast.parse((project / module).read_text()))):
            lines.setdefault((module, line), []).append(i)
    chance = random.Random(seed)
    return [(*place, chance.choice(lines[place])) for place in chance.sample(sorted(lines), number)]


def copy_of(project, folder):
    """A copy of the project in a folder, without what is made anew."""
    leave_out = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".hypothesis")
    return Path(shutil.copytree(project, Path(folder) / "project", ignore=leave_out))


def pytest(copy, *arguments):
    """Run the tests in a copy: what they print, and their exit status; None where they do not end."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    how = {"cwd": copy, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, start_new_session=True, **how) as process:
        try:
            return process.communicate(timeout=LIMIT)[0], process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return "", None


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


def who_runs(project, folder):
    """Which tests run which statement: {(module, line of the statement): {test: None}}, in the order they ran."""
    copy, notes = copy_of(project, folder), Path(folder) / "notes"
    (copy / "noting.py").write_text(NOTING.format(path=str(notes)))
    for module in modules(project):
        tree = Noting(module).visit(ast.parse((copy / module).read_text()))
        tree.body[1:1] = ast.parse("import noting").body  # after the docstring
        (copy / module).write_text(ast.unparse(ast.fix_missing_locations(tree)))
    out, _ = pytest(copy, *(f"--deselect=tests/{name}.py" for name in LEFT_OUT))
    print(*out.splitlines()[-8:], sep="\n", flush=True)
    found = collections.defaultdict(dict)
    for note in notes.read_text().splitlines():
        place, _, test = note.partition(" ")
        module, _, line = place.rpartition(":")
        if test:
            found[Path(module), int(line)][test] = None
    return found


def tests_of(project, module, line, ran):
    """Tests that have run a line, those of its module's own file first; where it runs at an import, files."""
    tree = ast.parse((project / module).read_text())
    name = module.parent.name if module.stem == "__init__" else module.stem
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = [node for node in functions if node.body[0].lineno <= line <= node.end_lineno]
    own = f"tests/test_{name}.py"
    if not inside:
        files = [path for path in project.glob("tests/test_*.py") if path.stem not in LEFT_OUT]
        naming = [f"tests/{path.name}" for path in files if re.search(rf"\b{name}\b", path.read_text())]
        return sorted(naming, key=lambda file: (file != own, (project / file).stat().st_size))
    statements = [node for node in ast.walk(inside[-1]) if isinstance(node, ast.stmt)]
    holding = [node.lineno for node in statements if node.lineno <= line <= node.end_lineno and node != inside[-1]]
    tests = ran.get((module, max(holding)), {})
    of_file = collections.Counter(test.partition("::")[0] for test in tests)
    files = sorted(of_file, key=lambda file: (file != own, of_file[file]))
    return sorted(tests, key=lambda test: files.index(test.partition("::")[0]))


def broken(project, module, line, number, ran):
    """Break one line in a copy of the project, and run the tests: what was done, and which test tells of it."""
    with tempfile.TemporaryDirectory(prefix="broken") as folder:
        copy = copy_of(project, folder)
        tree = ast.parse((copy / module).read_text())
        _, what, act = breaks(tree)[number]
        act()
        (copy / module).write_text(ast.unparse(ast.fix_missing_locations(tree)))
        tests = tests_of(project, module, line, ran)
        out, status = pytest(copy, "-x", "-n0", *tests) if tests else ("", 0)
    if "ERROR: not found" in out:
        raise RuntimeError(out)
    told = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", out, flags=re.M)
    caught = told[1] if told else {None: "the tests did not end", 0: None}.get(status, "the tests did not start")
    return {"module": str(module), "line": line, "break": what, "tests": len(tests), "caught by": caught}


def main():
    """Break lines, and count those that a test tells of."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--project", type=Path, default=HERE.parent)
    parser.add_argument("--record", type=Path, default=HERE / "broken_lines.json")
    args = parser.parse_args()
    chosen = choose(args.project, args.lines, args.seed)
    with tempfile.TemporaryDirectory(prefix="noting") as folder:
        ran = who_runs(args.project, folder)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = []
        for result in pool.map(lambda place: broken(args.project, *place, ran), chosen):
            results.append(result)
            print(json.dumps(result), flush=True)
    caught = sum(result["caught by"] is not None for result in results)
    print(f"{caught} of {len(results)} broken lines were caught.")
    args.record.write_text(json.dumps({"caught": caught, "lines": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
