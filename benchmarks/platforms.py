"""What the requirements install on each platform and Python: the backend, its version, and Keras's.

    python benchmarks/platforms.py [--tables]

Resolves requirements.txt and requirements-dev.txt with `uv pip compile`, for platforms that need not be at hand:
released versions alone, and wheels alone, as nobody should have to build a backend. Where there is no solution, it
looks for the packages that have no wheel. Writes benchmarks/platforms.json and prints the table. Needs the network,
and uv (on the PATH, or `pip install uv`). A minute.
"""

import argparse
import concurrent.futures
import datetime
import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PLATFORMS = {  # name: uv's name
    "Linux, x86-64": "x86_64-unknown-linux-gnu",
    "Linux, ARM": "aarch64-unknown-linux-gnu",
    "macOS, Apple silicon": "aarch64-apple-darwin",
    "macOS, Intel": "x86_64-apple-darwin",
    "Windows, x86-64": "x86_64-pc-windows-msvc",
    "Windows, ARM": "aarch64-pc-windows-msvc",
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
# What has wheels of its own for each platform: the backends (JAX's are those of jaxlib), and what Keras stands on.
COMPILED = {"tensorflow": "TensorFlow", "jaxlib": "JAX", "torch": "PyTorch", "h5py": "h5py", "optree": "optree"}
COMPILED |= {name: name for name in ("ml-dtypes", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib")}
KEPT = (*BACKENDS, *COMPILED, "keras", "keras-nightly", "mlxtend")  # in the record, of all that is installed
FILES = ("requirements.txt", "requirements-dev.txt")
AT_ONCE = 6  # resolutions


def uv():
    """The command of uv, as a list of words."""
    if found := shutil.which("uv"):
        return [found]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv"]
    raise SystemExit("platforms: there is no uv: pip install uv")


def resolve(source, platform, python, requirements=None):
    """What a file of requirements installs, or those lines from standard input where `source` is "-".

    Returns {package: version} of those KEPT, or None where there is no solution of released wheels. Raises
    RuntimeError where uv fails for another reason.
    """
    options = ["--quiet", "--no-config", "--no-header", "--no-annotate", "--prerelease=disallow", "--only-binary=:all:"]
    options += ["--python-platform", PLATFORMS[platform], "--python-version", python]
    options += ["--python", sys.executable, "--no-python-downloads"]  # which runs nothing of what it resolves
    done = subprocess.run(
        [*uv(), "pip", "compile", *options, source],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "UV_PRERELEASE"},
        input=requirements,
        capture_output=True,
        text=True,
    )
    if done.returncode == 0:
        installed = dict(line.split("==") for line in done.stdout.splitlines())
        return {name: version for name, version in installed.items() if name in KEPT}
    if "No solution found" not in done.stderr:
        raise RuntimeError(f"uv failed for {source} on {platform}, Python {python}:\n{done.stderr}")
    return None


def missing(platform, python):
    """The COMPILED packages that have no released wheel there, each asked for alone."""
    return [name for name in COMPILED if resolve("-", platform, python, name) is None]


def measure(platform, python):
    """What both files install, {"requirements.txt": {package: version} or None, ...}, and what is "missing"."""
    found = {name: resolve(name, platform, python) for name in FILES}
    return found | {"missing": [] if all(found.values()) else missing(platform, python)}


def cells(found):
    """The columns of the table after the first two, of what measure() returns."""
    installed = found["requirements.txt"]
    if installed is None:
        names = [COMPILED[name] for name in found["missing"]]
        return f"none: no wheel of {', '.join(names)}", "", "no"
    backends = [f"{BACKENDS[name]} {installed[name]}" for name in BACKENDS if name in installed]
    return " and ".join(backends), installed["keras"], "yes" if found["requirements-dev.txt"] else "no"


def table(record):
    """The table of benchmarks/README.md, as Markdown lines: a row for neighbouring Pythons that get the same."""
    lines = ["| platform | Python | backend | Keras | requirements-dev.txt |", "|---|---|---|---|---|"]
    for platform in (name for name in PLATFORMS if name in record["platforms"]):
        for columns, group in itertools.groupby(record["platforms"][platform].items(), lambda item: cells(item[1])):
            pythons = [python for python, _ in group]
            span = pythons[0] if len(pythons) == 1 else f"{pythons[0]} to {pythons[-1]}"
            lines.append(f"| {platform} | {span} | {' | '.join(columns)} |")
    return lines


def main():
    """Resolve for all platforms and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", action="store_true", help="only print the table of the recorded results")
    args = parser.parse_args()
    path = HERE / "platforms.json"
    if not args.tables:
        version = subprocess.run([*uv(), "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        record = {"date": str(datetime.date.today()), "uv": version, "platforms": {}}
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:  # each waits for the network, mostly
            asked = {name: {python: pool.submit(measure, name, python) for python in PYTHONS} for name in PLATFORMS}
            for name, pythons in asked.items():
                record["platforms"][name] = {python: answer.result() for python, answer in pythons.items()}
                print(f"{name}: done", flush=True)
        path.write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table(json.loads(path.read_text()))))


if __name__ == "__main__":
    main()
