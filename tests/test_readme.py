"""The README against the repository: its numbers, its files and its first commands."""

import json
import re
import sys

import keras
import pytest
from conftest import ROOT

import evidence
import mnist_data
import vae_mnist

sys.path.insert(0, str(ROOT / "benchmarks"))
import race
import seeds

README = (ROOT / "README.md").read_text()
RECORD = json.loads((ROOT / "figures" / "metrics.json").read_text())
SEEDS = json.loads((ROOT / "benchmarks" / "seeds.json").read_text())
RACE = json.loads((ROOT / "benchmarks" / "race.json").read_text())


def test_pictures_are_those_of_the_default_run_on_the_full_set():
    recipe = vae_mnist.RECIPES["default"]
    assert (RECORD["dataset"], RECORD["seed"], RECORD["epochs"]) == ("MNIST", 0, recipe.epochs)
    assert RECORD["settings"]["recipe"] == "default"


def test_evidence_table_is_that_of_the_record():
    known = RECORD["evidence"]
    rows = [line for line in README.splitlines() if line.startswith("| ")]
    for value in ("elbo", "importance_weighted", "exact"):
        assert any(f"| {known[value]:.2f} |" in row for row in rows), value
    assert any(f"| {known['exact'] - known['elbo']:.2f} |" in row for row in rows)


@pytest.mark.parametrize("lines", [seeds.table(SEEDS), race.tables(RACE)], ids=["seeds", "race"])
def test_tables_are_those_of_the_recorded_results(lines):
    assert [line for line in lines if line not in README.splitlines()] == []


def test_table_of_seeds_redone_by_hand():
    losses = [-run["held_out"]["elbo"] for run in SEEDS["default"]["runs"]]
    assert len(losses) == 5
    assert sorted({run["seed"] for run in SEEDS["default"]["runs"]}) == [0, 1, 2, 3, 4]
    cell = f"{min(losses):.1f} to {max(losses):.1f} (mean {sum(losses) / 5:.2f})"
    assert f"30 epochs | {cell} |" in README


def test_recorded_runs_reach_the_targets():
    """What the README says of the recipes: his loss in at most 12 epochs, 148.5 by default (means of five seeds)."""

    def mean_loss(name):
        return -sum(run["held_out"]["elbo"] for run in SEEDS[name]["runs"]) / len(SEEDS[name]["runs"])

    assert mean_loss("twelve") < 150.44
    assert mean_loss("default") < 148.5
    assert abs(mean_loss("author") - 150.44) < 1.5


def test_race_counts_the_multiplications_of_an_image():
    """Forward, weights' gradients, and activations' gradients but for the pixels': 2 operations each."""
    layers = [784 * 256, 256 * 4, 2 * 256, 256 * 784]
    assert 2 * (sum(layers) + sum(layers) + sum(layers[1:])) == race.FLOP_PER_IMAGE


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
    calls = set(re.findall(r"\b((?:build|plot|evaluate|compile|sample|load)_\w+)", README))
    modules = (vae_mnist, mnist_data, evidence, keras.models)
    assert {"build_vae", "sample_latent", "plot_manifold"} <= calls
    assert [name for name in calls if not any(hasattr(module, name) for module in modules)] == []
