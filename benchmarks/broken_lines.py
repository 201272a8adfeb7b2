"""How many broken lines of the program the tests catch: one line is broken at a time, at random.

    python benchmarks/broken_lines.py [--lines 100] [--seed 0] [--project FOLDER]

First all tests of the README's command run once, to note which test runs which line (tools/tests_of.py). Then a line is
broken in a copy: a comparison turned round, `and` for `or`, a number that is one more, a call left out, None returned.
The tests that have run the line run again, those of its module's own file first, then file by file, until one fails;
for what runs when a module is imported, all that run a line of it.
Two copies at a time. What they let pass is printed, to be looked at: some of it changes nothing, as a limit that no
test can reach. --project measures another version. Writes benchmarks/broken_lines.json. It takes most of an hour on two
cores.
"""

import argparse
import ast
import concurrent.futures
import json
import random
import re
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tools"))

from tests_of import copy_of, find_tests, modules, pytest, record_of

LIMIT = 1800  # seconds for the tests of one line
OTHERS = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
OTHERS |= {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And}
OTHERS |= {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}


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


def choose(project, number, seed):
    """So many lines to break, at random: a list of (module's path in the project, line, number of the break)."""
    lines = {}  # {(module, line): the breaks in it}
    for module in modules(project):
        for i, (line, *_) in enumerate(breaks(ast.parse((project / module).read_text()))):
            lines.setdefault((module, line), []).append(i)
    chance = random.Random(seed)
    return [(*place, chance.choice(lines[place])) for place in chance.sample(sorted(lines), number)]


def broken(project, module, line, number, record):
    """Break one line in a copy of the project, and run the tests: what was done, and which test tells of it."""
    with tempfile.TemporaryDirectory(prefix="broken") as folder:
        copy = copy_of(project, folder)
        tree = ast.parse((copy / module).read_text())
        _, what, act = breaks(tree)[number]
        act()
        (copy / module).write_text(ast.unparse(ast.fix_missing_locations(tree)))
        tests = find_tests(record, project, module, line)
        out, status = pytest(copy, "-x", "-n0", *tests, limit=LIMIT) if tests else ("", 0)
    if "ERROR: not found" in out:
        raise RuntimeError(out)
    told = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", out, flags=re.M)
    caught = told[1] if told else {None: "the tests did not end", 0: None}.get(status, "the tests did not start")
    return {"module": module, "line": line, "break": what, "tests": len(tests), "caught by": caught}


def main():
    """Break lines, and count those that a test tells of."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--project", type=Path, default=HERE.parent)
    parser.add_argument("--record", type=Path, default=HERE / "broken_lines.json")
    args = parser.parse_args()
    chosen = choose(args.project, args.lines, args.seed)
    record = record_of(args.project)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        results = []
        for result in pool.map(lambda place: broken(args.project, *place, record), chosen):
            results.append(result)
            print(json.dumps(result), flush=True)
    caught = sum(result["caught by"] is not None for result in results)
    print(f"{caught} of {len(results)} broken lines were caught.")
    args.record.write_text(json.dumps({"caught": caught, "lines": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
