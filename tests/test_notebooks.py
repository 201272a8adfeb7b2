"""The notebooks: as committed, their numbers against their outputs; and run from top to bottom in smoke mode."""

import ast
import contextlib
import itertools
import json
import os
import re
import socket
import subprocess
import sys

import nbclient
import nbformat
import pytest
from conftest import NO_NETWORK, ROOT

import vae_mnist
from seevae.images import data
from seevae.results import evidence, explorer, pictures
from seevae.run import folder
from seevae.training import recipes

NAMES = ["intuition", "side_notes"]  # the exercises have tests of their own
NOTEBOOKS = [ROOT / "notebooks" / f"{name}.ipynb" for name in NAMES]
FOLDERS = (ROOT, ROOT / "notebooks")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
SOLUTION = re.compile(r"<details>.*?```python\n(.*?)```\n\n</details>", flags=re.S)
both = pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)


def read(path):
    """The notebook at `path` and its code cells."""
    notebook = nbformat.read(path, as_version=4)
    return notebook, [cell for cell in notebook.cells if cell.cell_type == "code"]


def sections(notebook):
    """The cells of a notebook by section: {heading: cells}; what comes before the first is under ""."""
    found, heading = {"": []}, ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (title := re.match(r"## (.*)", cell.source)):
            heading = title[1]
        found.setdefault(heading, []).append(cell)
    return found


def complaints(cells):
    """The outputs of cells that are errors or stderr, or lines that warn."""
    outputs = [output for cell in cells for output in cell.outputs]
    bad = [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    return bad + [output for output in outputs if "warning" in output.get("text", "").lower()]


def printed(cell):
    """The text of a code cell's outputs."""
    return "\n".join(
        output.get("text", "") or output.get("data", {}).get("text/markdown", "") for output in cell.outputs
    )


def decimals(number):
    return len(number.partition(".")[2])


def value(number):
    return float(number.replace(",", ""))


def bold_numbers(cell):
    return [number for part in re.findall(r"\*\*(.+?)\*\*", cell.source, flags=re.S) for number in NUMBER.findall(part)]


@both
def test_they_are_short(path):
    words = sum(len(cell.source.split()) for cell in read(path)[0].cells if cell.cell_type == "markdown")
    assert words <= 3300


@both
def test_committed_outputs_are_whole_and_clean(path):
    _, cells = read(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run from top to bottom"
    assert complaints(cells) == []
    assert "MNIST sample" not in str(cells[0].outputs), "run on the full set"


@both
def test_every_picture_has_a_description(path):
    notebook, cells = read(path)
    shown = [output for cell in cells for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(shown) >= 7
    assert all(len(output.metadata["image/png"]["alt"]) > 20 for output in shown)
    linked = re.findall(r"!\[(.*?)\]\((.*?)\)", "\n".join(cell.source for cell in notebook.cells))
    assert linked
    assert all(len(alt) > 20 and (path.parent / name).is_file() for alt, name in linked)


def test_the_frame_as_committed_leads_to_the_committed_page():
    _, cells = read(ROOT / "notebooks" / "intuition.ipynb")
    frames = re.findall(r'src="([^"]+)"', "".join(str(cell.outputs) for cell in cells if "embed" in cell.source))
    assert frames == ["../figures/explorer.html"], "write it so after running the notebook: git holds no other page"
    assert (ROOT / "notebooks" / frames[0]).resolve().is_file()


@both
def test_code_is_short_and_plumbing_is_elsewhere(path):
    _, cells = read(path)
    assert [cell.source for cell in cells[1:] if len(cell.source.splitlines()) > 15] == []
    assert len(cells[0].source.splitlines()) <= 22, "it finds the project, too"
    assert [cell.source for cell in cells if re.search(r"\bassert\b|\bdef\b|SMOKE", cell.source)] == []


@both
def test_each_section_asks_and_answers(path):
    for heading, cells in sections(read(path)[0]).items():
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        if re.match(r"\d+\. (?!Play|What goes wrong)", heading):
            parts = ("The post", "What do you expect?", "**Result.**", "Try:", "<summary>Solution</summary>")
            assert [part for part in parts if part not in text] == [], heading
            assert text.count("Try:") == text.count("<details>") == len(SOLUTION.findall(text)), heading
            assert re.search(r"\d+ s of processor time", text), heading


@both
def test_every_number_in_bold_is_in_an_output_above_it(path):
    checked = 0
    for heading, cells in sections(read(path)[0]).items():
        outputs = ""
        for cell in cells:
            if cell.cell_type == "code":
                outputs += "\n" + printed(cell)
                continue
            known = [value(number) for number in NUMBER.findall(outputs)]
            for number in bold_numbers(cell):
                half = 0.5 * 10 ** -decimals(number) + 1e-9
                assert any(abs(value(number) - other) <= half for other in known), (heading, number)
                checked += 1
    assert checked > 15


@both
def test_the_findings_at_the_top_are_those_of_the_sections(path):
    found = sections(read(path)[0])
    rows = [line for cell in found[""] for line in cell.source.splitlines() if re.match(r"\| \[?\d", line)]
    assert rows
    for row in rows:
        cells = [part.strip() for part in row.strip("|").split("|")]
        number = re.search(r"\d+", cells[0])[0]
        (heading,) = [heading for heading in found if heading.startswith(f"{number}. ")]
        bold = itertools.chain(*(bold_numbers(cell) for cell in found[heading] if cell.cell_type == "markdown"))
        assert set(NUMBER.findall(cells[-1])) <= set(bold), row


@both
def test_they_redefine_nothing_of_the_script(path):
    _, cells = read(path)
    tree = ast.parse("\n".join(cell.source for cell in cells))
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    modules = (vae_mnist, data, evidence, explorer, folder, pictures, recipes)
    taken = {name for module in modules for name in vars(module) if callable(getattr(module, name))}
    assert defined & taken == set()


BEFORE = """
import sys, types
system, sys.modules["IPython.display"] = [], types.ModuleType("IPython.display")
for name in ("IFrame", "Image", "Markdown", "display"):
    setattr(sys.modules["IPython.display"], name, print)
def get_ipython():
    return types.SimpleNamespace(system=system.append)
"""


@both
@pytest.mark.slow
def test_the_first_cell_finds_the_project_from_a_folder_inside_it(path, tmp_path, run_python):
    inside = ROOT / "figures"
    cell = read(path)[1][0].source
    program = (
        f"{BEFORE}\nimport os; os.chdir({str(inside)!r}); os.environ['VAE_DATA'] = 'sample'\n{cell}\nprint(system)"
    )
    done = run_python("-c", program, PYTHONPATH="")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MNIST sample")
    assert done.stdout.endswith("[]\n"), "nothing is fetched"


@both
def test_a_notebook_alone_says_what_it_needs(path, run_python):
    cell = re.sub(r'CODE = ".*?"', 'CODE = ""', read(path)[1][0].source)
    done = run_python("-c", BEFORE + cell, own_process=True, PYTHONPATH="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "This notebook needs the project around it: fetch all of it, and open it from there.\n"


CLONE = "git clone -q https://github.com/alice/vae vae && pip install -q -r vae/requirements.txt"


@both
def test_on_colab_the_project_is_fetched(path, run_python):
    """As far as it can be tried without Colab: the command that gets it."""
    colab = "sys.modules['google.colab'] = types.ModuleType('google.colab')\n"
    cell = read(path)[1][0].source.replace("if not found:", "print(system)\nif not found:")
    for code, fetched in {"": [], "https://github.com/alice/vae": [CLONE]}.items():
        with_code = re.sub(r'CODE = ".*?"', f'CODE = "{code}"', cell)
        done = run_python("-c", BEFORE + colab + with_code, own_process=True, PYTHONPATH="")
        assert done.stdout == f"{fetched}\n"


def with_solutions(notebook):
    """The notebook's cells, and each folded solution as a cell of its own after the text that holds it."""
    cells = []
    for cell in notebook.cells:
        cells += [cell, *map(nbformat.v4.new_code_cell, SOLUTION.findall(cell.source))]
    return cells


ALONE = r"""
import json, os, sys
import IPython.display
IPython.display.display = lambda *shown: None
first, *sections = json.load(open(sys.argv[1]))
os.chdir(sys.argv[2])  # the first cell looks for the project from here
begun = {}
exec("\n".join(first), begun)
for cells in sections:
    exec("\n".join(cells), dict(begun))
print("ended")
"""


@pytest.mark.slow
@both
def test_each_section_runs_by_itself_after_the_first_cell(path, tmp_path):
    parts = [[cell.source for cell in cells if cell.cell_type == "code"] for cells in sections(read(path)[0]).values()]
    (tmp_path / "parts.json").write_text(json.dumps([part for part in parts if part]))
    environment = os.environ | NO_NETWORK | {"VAE_SMOKE": "1", "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    command = [sys.executable, "-c", ALONE, tmp_path / "parts.json", ROOT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1200)
    assert done.stdout.endswith("ended\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize(("path", "folder"), list(zip(NOTEBOOKS, FOLDERS, strict=True)), ids=NAMES)
def test_smoke_run(path, folder, backend, monkeypatch):
    """With all solutions. One is run from the root, the other from its own folder; without a network."""
    pytest.importorskip(backend)
    for name, setting in {**NO_NETWORK, "VAE_SMOKE": "1", "KERAS_BACKEND": backend}.items():
        monkeypatch.setenv(name, setting)
    notebook, _ = read(path)
    notebook.cells = with_solutions(notebook)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    assert complaints([cell for cell in notebook.cells if cell.cell_type == "code"]) == []


@pytest.fixture(scope="module")
def jupyterlab(tmp_path_factory):
    """A JupyterLab that was started in the repository's folder, as the README says; its address."""
    pytest.importorskip("jupyterlab")
    home = tmp_path_factory.mktemp("home")
    settings = home / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')  # all cells at once
    named = {"HOME": home, "JUPYTERLAB_SETTINGS_DIR": home / "settings", "JUPYTER_RUNTIME_DIR": home / "runtime"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", f"--port={port}", "--IdentityProvider.token=", "--allow-root"]
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        cwd=ROOT,
        env=os.environ | {name: str(place) for name, place in named.items()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


@pytest.mark.slow
@both
def test_jupyterlab_shows_every_picture(path, jupyterlab, browser):
    page = browser.new_page()
    for _ in range(60):  # until it listens
        with contextlib.suppress(Exception):
            page.goto(f"{jupyterlab}/lab/tree/notebooks/{path.name}?reset")
            break
        page.wait_for_timeout(500)
    page.wait_for_selector(".jp-Notebook img", timeout=60_000)
    expected = sum(cell.source.count("![") for cell in read(path)[0].cells)
    expected += sum("image/png" in output.get("data", {}) for cell in read(path)[1] for output in cell.outputs)
    page.wait_for_function(f"document.querySelectorAll('.jp-Notebook img').length >= {expected}", timeout=60_000)
    sizes = page.evaluate(
        "Promise.all([...document.querySelectorAll('.jp-Notebook img')].map(async (image) => {"
        "  await image.decode().catch(() => 0); return [image.naturalWidth, image.alt]; }))"
    )
    assert [alt for width, alt in sizes if not width] == []
    assert len(sizes) == expected
