"""The README, docs/ and benchmarks/README.md against the repository: their numbers, files and first commands."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tables
from conftest import ROOT

import vae_mnist
from seevae.results import pictures
from seevae.run import console, folder
from seevae.training import recipes

README = (ROOT / "README.md").read_text()
MEASURED = (ROOT / "benchmarks" / "README.md").read_text()
DOCS = {path.stem: path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))}
RECORD = json.loads((ROOT / "figures" / "metrics.json").read_text())


def recorded(name):
    return json.loads((ROOT / "benchmarks" / f"{name}.json").read_text())


SEEDS, BACKENDS, PARTS, KILLS, ZOO = map(recorded, ("seeds", "backends", "recipe", "kills", "zoo"))
FILES = sorted([*folder.PICTURES, folder.EXPLORER, folder.MODEL, folder.RECORD, folder.REPLAY])
AUTHOR = 150.44  # nats per image: his notebook, epoch 50


def test_pictures_are_those_of_the_default_run_on_the_full_set():
    default = recipes.RECIPES["default"]
    assert (RECORD["dataset"], RECORD["seed"], RECORD["epochs"]) == ("MNIST", 0, default.epochs)
    assert RECORD["settings"] == {"recipe": default._asdict(), "latent_dim": 2, "hidden_dim": 256}


def test_the_lines_that_it_shows_are_those_that_the_recorded_run_printed():
    printed = "\n".join(console.summary(RECORD, [Path("figures") / name for name in FILES]))
    assert f"```text\n{printed}\n```" in README


def test_evidence_table_is_that_of_the_record():
    known = RECORD["evidence"]
    rows = dict(re.findall(r"^\| (.*?) \| (-?\d+\.\d\d) \|$", README, flags=re.M))
    assert rows == {
        "ELBO, the bound (ten draws of z an image)": f"{known['elbo']:.2f}",
        "importance-weighted estimate, 100 samples": f"{known['importance_weighted']:.2f}",
        "log p(x), to 0.01": f"{known['exact']:.2f}",
        "the gap, what the bound leaves out": f"{known['exact'] - known['elbo']:.2f}",
    }


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (tables.seeds_table(tables.pooled(SEEDS)), README),
        (tables.seeds_table(SEEDS), MEASURED),
        (tables.race_tables(recorded("race")), MEASURED),
        (tables.explorer_table(recorded("explorer")), MEASURED),
        (tables.backends_tables(BACKENDS), MEASURED),
        (tables.right_table(ZOO), MEASURED),
        (tables.fault_table(ZOO), MEASURED),
        (tables.recipe_table(PARTS), DOCS["recipe"]),
    ],
    ids=["README", "seeds", "race", "explorer", "backends", "right networks", "faults", "recipe"],
)
def test_tables_are_those_of_the_recorded_results(lines, text):
    assert [line for line in lines if line not in text.splitlines()] == []


def losses(name):
    """The held-out losses of the recorded runs of a recipe: of the seeds that are asked for."""
    assert [run["seed"] for run in SEEDS[name]["runs"]] == [*tables.SEEDS.get(name, tables.FIVE)]
    return [-run["held_out"]["elbo"] for run in SEEDS[name]["runs"]]


def test_table_of_seeds_redone_by_hand():
    values = losses("default")
    cell = f"{min(values):.1f} to {max(values):.1f} (mean {sum(values) / len(values):.2f})"
    assert f"30 epochs | {len(values)} | {cell} |" in MEASURED


def test_no_run_that_is_right_is_called_wrong():
    """All lie in the range that the README gives, as does what is within 2.5 deviations of their mean."""
    low, high = map(float, re.search(r"lies between \*\*(\d+(?:\.\d)?) and (\d+(?:\.\d)?)\*\*", README).groups())
    values = np.array([loss for name in tables.BACKENDS if name in SEEDS for loss in losses(name)])
    assert f"All {len(values)} runs did" in " ".join(README.split())
    others = [run["loss"] for run in recorded("claims")["latents"]["runs"] if run["latents"] == 2]  # on JAX
    assert [value for value in [*values, *others] if not low < value < high] == []
    reach = 2.5 * values.std(ddof=1)
    assert low <= values.mean() - reach < values.mean() + reach <= high
    assert high - low < 4, "so wide a range would tell nothing"
    offline = re.search(r"with 5,000 digits: (\d+(?:\.\d)?) to (\d+(?:\.\d)?)", " ".join(README.split()))
    assert float(offline[1]) < min(losses("sample")) < max(losses("sample")) < float(offline[2])


def test_recorded_runs_are_of_the_recipes_as_they_are():
    assert {*SEEDS} <= {*tables.RUN_NAMES}
    for name in SEEDS:
        recipe = recipes.RECIPES["author" if name == "author" else "default"]
        settings = SEEDS[name]["settings"]["recipe"]
        assert settings | {"epochs": recipe.epochs} == recipe._asdict(), name


def test_epochs_to_the_authors_loss_are_as_the_readme_says():
    epochs = int(re.search(r"passes his loss in (\d+) epochs", " ".join(README.split()))[1])
    (name,) = [name for name in SEEDS if SEEDS[name]["runs"][0]["epochs"] == epochs]
    assert sum(losses(name)) / 5 < AUTHOR
    assert np.mean(losses("default")) < 146.6


def test_two_devices_end_where_one_does():
    """Within a nat, the spread of the seeds; the record is of one version of the recipe."""
    assert set(BACKENDS["ways"]) == set(tables.WAYS)
    means = {}
    for name, runs in BACKENDS["ways"].items():
        assert [run["seed"] for run in runs] == [0, 1, 2]
        assert {run["dataset"] for run in runs} == {"MNIST"}
        means[name] = sum(-run["held_out"]["elbo"] for run in runs) / 3
    assert max(means.values()) - min(means.values()) < 1


def test_a_model_has_the_same_elbo_on_each_backend_in_the_record():
    """What is saved on one backend, by its standard errors; the KL has none."""
    for found in BACKENDS["exchange"].values():
        first, *others = found.values()
        for other in others:
            error = (first["standard_error"] ** 2 + other["standard_error"] ** 2) ** 0.5
            assert abs(other["elbo"] - first["elbo"]) < 4 * error
            assert abs(other["kl_loss"] - first["kl_loss"]) < 1e-4


def test_damaged_files_are_counted_as_recorded():
    kinds = recorded("mutants")["mutants"].values()
    loaded, refused = (sum(kind[outcome] for kind in kinds) for outcome in ("loaded", "refused"))
    text = " ".join(MEASURED.split())
    assert {outcome for kind in kinds for outcome in kind} == {"loaded", "refused"}
    assert f"{loaded + refused:,} mutants" in text
    assert f"Of these {loaded:,} were still loaded, as what they still were, and {refused:,} were refused" in text


def test_unfriendly_cases_are_counted_as_recorded():
    record = recorded("unfriendly")
    assert record["cases"] == record["held"] + len(record["fell"]) >= 150
    text = " ".join(MEASURED.split())
    assert f"in {record['cases']} cases: " in text
    assert f"{record['held']} of {record['cases']} held." in text


def test_broken_lines_are_counted_as_recorded():
    record = recorded("broken_lines")
    caught = sum(line["caught by"] is not None for line in record["lines"])
    assert caught == record["caught"]
    assert f"{caught} of {len(record['lines'])} were caught. Of the other {len(record['lines']) - caught}, " in MEASURED


def test_kills_are_counted_as_recorded():
    """They met each phase, also the two, of some milliseconds each, in which files are out of their places."""
    out = 0
    for backend in ("tensorflow", "jax"):
        counts = KILLS[backend]
        assert counts["kills"] == sum(counts["killed while"].values()) == sum(counts["then"].values()) == 100
        phases = {"starting", "opening", "compiling", "training", "evaluating", "saving", "moving"}
        assert phases <= {*counts["killed while"]}
        assert any("in a resumed run" in phase for phase in counts["killed while"])
        assert all(re.search("run was there|put them back", outcome) for outcome in counts["then"])
        out += sum(n for phase, n in counts["killed while"].items() if phase.split(",")[0] in ("opening", "moving"))
    measured = " ".join(MEASURED.split())
    assert f"{out} of these kills came while the files were tried or moved" in measured
    share = f"{100 * KILLS['keeping the state']['share']:.1f} %"
    assert f"Keeping the state of the training takes {share} of its time" in measured


def test_the_zoo_counts_a_name_only_where_it_is_the_cause():
    """A name of another fault is wrong, also beside the right one; so is a sentence that does not hold the cause."""
    right, other = ["logits", "look", "Sigmoid."], ["no-noise", "wrong", "Noise."]
    note = ["gaussian", "note", "Sigma."]
    for said, outcome in (
        ([], "silent"),
        ([note], "silent"),
        ([right, note], "named"),
        ([other], "wrong"),
        ([right, other], "wrong"),
        ([["refused", "wrong", "divide by 255"]], "wrong"),
        ([["traceback", "wrong", "ValueError"]], "wrong"),
    ):
        assert tables.outcome(said, {"logits"}) == outcome
    assert tables.outcome([right], {"logits"}, says="expit|Softmax") == "wrong"
    assert tables.outcome([right, other], {"logits"}, {"no-noise"}, says="Sigm") == "named"
    assert tables.outcome([["refused", "wrong", "divide by 255"]], refused="255") == "named"


PAGES = [(README, ROOT), (MEASURED, ROOT / "benchmarks"), *((text, ROOT / "docs") for text in DOCS.values())]


@pytest.mark.parametrize(("text", "base"), PAGES, ids=["README", "measured", *DOCS])
def test_every_file_it_shows_or_links_exists(text, base):
    names = re.findall(r'(?:\]\(|src=")([^):#"]+)["):#]', text)
    local = [name for name in names if not name.startswith("http")]
    assert local
    assert [name for name in local if not (base / name).exists()] == []


def test_quick_start_is_the_first_two_bash_blocks():
    run, test = re.findall(r"```bash\n(.*?)```", README, flags=re.S)[:2]
    assert run.strip().endswith("python vae_mnist.py")
    assert test.strip().endswith("python -m pytest")


def test_it_is_read_in_one_sitting_and_leads_to_every_page_of_docs():
    """In one step, or in two."""
    assert len(README.split()) <= 1300
    linked = {name for name in DOCS if README.count(f"](docs/{name}.md") == 1}
    assert len(linked) >= 7
    linked |= {name for name in DOCS if any(f"]({name}.md" in DOCS[page] for page in linked)}
    assert linked == {*DOCS}


def test_the_first_screen_says_what_it_is_and_what_a_minute_gives():
    first, *_, last = README.split("## ")[0].strip().split("\n\n")[1:]
    assert first.startswith("A variational autoencoder (VAE) is a network that ")
    for minutes, target in (("In one minute", "figures/explorer.html"), ("In ten minutes", "#train-it")):
        assert re.search(rf"\*\*{minutes}:\*\* [^*]*\]\({target}\)", README)
    assert "<!-- /online -->" in last


def test_every_part_of_the_recipe_earns_its_place():
    """Without it, at least one of the trainings loses 0.2 nats, and more than twice the error over the seeds."""
    assert PARTS["recipe"] == recipes.RECIPES["default"]._asdict()
    earned = dict.fromkeys(name for name in PARTS["losses"]["30 epochs"] if name != tables.NOTHING)
    for losses in PARTS["losses"].values():
        assert [*losses] == [tables.NOTHING, *earned]
        for name in earned:
            differences = np.subtract(losses[name], losses[tables.NOTHING])
            assert len(differences) == 3
            if differences.mean() > max(0.2, 2 * differences.std(ddof=1) / 3**0.5):
                earned[name] = True
    assert all(earned.values())


def test_script_is_as_long_as_it_says():
    lines = (ROOT / "vae_mnist.py").read_text().count("\n")
    assert "is the post in about 300 lines" in README
    assert lines <= 300


def test_every_name_it_gives_of_the_code_is_there():
    calls = {*re.findall(r"\b((?:build|plot|evaluate|compile|sample)_\w+)", README)}
    assert {"build_vae", "sample_latent", "plot_manifold"} <= calls
    assert [name for name in calls if not any(hasattr(module, name) for module in (vae_mnist, pictures))] == []
