"""The notebooks: as committed, and run from top to bottom in smoke mode, where their own assertions hold."""

import ast

import nbclient
import nbformat
import pytest
from conftest import NO_NETWORK, ROOT

import vae_mnist
from parts import data, evidence, explorer, folder, pictures, recipes

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
NAMES = [path.stem for path in NOTEBOOKS]
FOLDERS = (ROOT, ROOT / "notebooks")


def read(path):
    """The notebook at `path` and its code cells."""
    notebook = nbformat.read(path, as_version=4)
    return notebook, [cell for cell in notebook.cells if cell.cell_type == "code"]


def complaints(cells):
    """The outputs of cells that are errors or stderr."""
    outputs = [output for cell in cells for output in cell.outputs]
    return [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def test_both_are_there():
    assert NAMES == ["intuition", "side_notes"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_committed_outputs_are_whole_and_clean(path):
    _, cells = read(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run from top to bottom"
    assert complaints(cells) == []
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert "MNIST sample" not in str(cells[0].outputs), "run on the full set"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_they_redefine_nothing_of_the_script(path):
    _, cells = read(path)
    tree = ast.parse("\n".join(cell.source for cell in cells))
    defined = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    modules = (vae_mnist, data, evidence, explorer, folder, pictures, recipes)
    taken = {name for module in modules for name in vars(module) if callable(getattr(module, name))}
    assert defined & taken == set()


@pytest.mark.parametrize(("path", "folder"), list(zip(NOTEBOOKS, FOLDERS, strict=True)), ids=NAMES)
def test_smoke_run(path, folder, monkeypatch):
    """One is run from the root, the other from its own folder; without a network."""
    for name, value in {**NO_NETWORK, "VAE_SMOKE": "1"}.items():
        monkeypatch.setenv(name, value)
    notebook, cells = read(path)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    assert complaints(cells) == []
