"""The README against the repository: its numbers, its files and its first commands."""

import json
import re

import keras
from conftest import ROOT

import mnist_data
import vae_mnist

README = (ROOT / "README.md").read_text()
RECORD = json.loads((ROOT / "figures" / "metrics.json").read_text())


def test_numbers_are_those_of_the_record():
    held_out = RECORD["held_out"]
    row = next(line for line in README.splitlines() if "seed 0 |" in line)
    numbers = [float(cell) for cell in row.split("|")[2:5]]
    assert numbers == [round(-held_out["elbo"], 2), round(held_out["reconstruction"], 2), round(held_out["kl"], 2)]
    assert (RECORD["dataset"], RECORD["seed"], RECORD["epochs"]) == ("MNIST", 0, 50)


def test_every_file_it_shows_or_links_exists():
    names = re.findall(r'(?:\]\(|src=")([^):#"]+)["):]', README)
    local = [name for name in names if not name.startswith("http")]
    assert "figures/latent_scatter.png" in local
    assert [name for name in local if not (ROOT / name).exists()] == []


def test_quick_start_is_the_first_two_bash_blocks():
    run, test = re.findall(r"```bash\n(.*?)```", README, flags=re.S)[:2]
    assert run.strip().endswith("python vae_mnist.py")
    assert test.strip().endswith("python -m pytest")


def test_every_name_it_gives_of_the_code_is_there():
    calls = set(re.findall(r"\b((?:build|plot|evaluate|sample|load)_\w+)", README))
    modules = (vae_mnist, mnist_data, keras.models)
    assert {"build_vae", "sample_latent", "plot_manifold"} <= calls
    assert [name for name in calls if not any(hasattr(module, name) for module in modules)] == []
