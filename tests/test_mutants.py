"""Damaged and hostile files, made by hypothesis: each is loaded or refused, and nothing of it is executed."""

import json
import os
import resource

import damaged
import pytest
from conftest import ROOT
from hypothesis import Phase

WATCH = damaged.Watch()


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    return damaged.good_files(tmp_path_factory.mktemp("good"))


CHANGES = [(name, change) for name, changes in damaged.CHANGES.items() for change in changes]


@pytest.mark.parametrize(("name", "change"), CHANGES, ids=[name + " " + c.__name__ for name, c in CHANGES])
@pytest.mark.slow
def test_a_mutant_is_loaded_or_refused(name, change, contents, tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    path = tmp_path / name
    outcomes = damaged.try_mutants(path, 5, WATCH, change, contents[name], phases=[Phase.generate])
    assert outcomes.total() == 5
    assert {*tmp_path.iterdir()} <= {path}, "nothing else was written"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < damaged.MEMORY_LIMIT


@pytest.mark.parametrize("act", [lambda path: os.system("true"), lambda path: path.write_text("evil")])
def test_the_watch_sees_what_a_file_must_not_do(act, tmp_path, monkeypatch):
    monkeypatch.setattr(damaged.vae_mnist, "load_vae", lambda path: act(tmp_path / "evil"))
    with pytest.raises(AssertionError, match=r"os\.system|open"):
        damaged.meet(tmp_path / "vae.keras", WATCH)
    WATCH.seen.clear()


def test_the_record_holds_a_thousand_of_each_kind_of_file():
    record = json.loads((ROOT / "benchmarks" / "mutants.json").read_text())
    for name, changes in damaged.CHANGES.items():
        outcomes = [record["mutants"][f"{name} {change.__name__}"] for change in changes]
        assert sum(sum(outcome.values()) for outcome in outcomes) >= 1000
        assert all(set(outcome) <= {"loaded", "refused"} and outcome.get("refused", 0) > 0 for outcome in outcomes)
    assert record["grown_mib"] < damaged.MEMORY_LIMIT
