"""The folder of a run: where it is, that its files are of one run whatever happens when, and what may be loaded."""

import json
import os
import re
import shutil
import signal
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from test_files import contents, put_old

import vae_mnist
from seevae.basics import UserError
from seevae.images import data
from seevae.images.data import MNIST_SAMPLE
from seevae.results import pictures
from seevae.results.replay import Replay
from seevae.run import folder, resume, saved


def data_called(name, full=False):
    return SimpleNamespace(name=name, full=full)


FULL, SAMPLE, MINE = data_called("MNIST", full=True), data_called(MNIST_SAMPLE), data_called("mine.npz")


def put_run(place, **record):
    """Files of a run in a folder, whose record says so."""
    place.mkdir(exist_ok=True)
    (place / "metrics.json").write_text(json.dumps({"model": None, "full_mnist": True} | record))
    (place / "manifold.png").write_text("a picture")
    return place


def test_without_an_output_each_kind_of_run_has_its_place():
    for dataset, loaded, place in [
        (FULL, False, "figures"),
        (SAMPLE, False, "figures/sample"),
        (MINE, False, "figures/mine"),
        (FULL, True, "figures/loaded"),
        (SAMPLE, True, "figures/sample/loaded"),
        (data_called("MNIST"), False, "figures/MNIST"),
        (data_called("sample.npz"), False, "figures/sample.npz"),
        (data_called("loaded.npz"), False, "figures/loaded.npz"),
        (data_called("vae.keras.npz"), False, "figures/vae.keras.npz"),
        (data_called("...npz"), False, "figures/...npz"),
        (data_called(".vae_mnist.npz"), False, "figures/.vae_mnist.npz"),
    ]:
        assert str(folder.choose(None, dataset, loaded)) == place
        assert str(folder.choose("", dataset, loaded)) == place, "a variable of the shell that is not set"


@pytest.mark.parametrize("spoil", [None, "no JSON", "[]", "{}", "delete"])
def test_the_full_set_is_replaced_by_none_but_the_full_set(spoil, tmp_path):
    put_run(tmp_path)
    if spoil == "delete":
        (tmp_path / "metrics.json").unlink()
    elif spoil:
        (tmp_path / "metrics.json").write_text(spoil)
    assert folder.choose(str(tmp_path), FULL) == tmp_path
    assert folder.choose(str(tmp_path), SAMPLE) == tmp_path / "sample"
    assert folder.choose(str(tmp_path), data_called("MNIST")) == tmp_path / "MNIST"
    for dataset in (FULL, SAMPLE, MINE):
        assert folder.choose(str(tmp_path), dataset, loaded=True) == tmp_path / "loaded"


def test_a_folder_below_is_no_more_replaced_than_the_one_above(tmp_path):
    put_run(tmp_path)
    put_run(tmp_path / "loaded")
    put_run(tmp_path / "sample")
    assert folder.choose(str(tmp_path), MINE, loaded=True) == tmp_path / "loaded" / "loaded"
    assert folder.choose(str(tmp_path), SAMPLE) == tmp_path / "sample" / "sample"


def test_a_model_that_is_trained_further_replaces_only_what_started_from_it(tmp_path):
    put_run(tmp_path)
    (tmp_path / "vae.keras").write_text("the model")
    own = folder.digest(tmp_path / "vae.keras")

    def chosen(start):
        return folder.choose(str(tmp_path), MINE, True, start)

    below = tmp_path / "loaded"
    assert chosen(own) == below
    put_run(below, started_from={"model": "vae.keras", "sha256": own})
    (below / "vae.keras").write_text("what came of it")
    assert chosen(own) == below, "the same again, or a training that was stopped and goes on"
    assert chosen("0" * 64) == chosen(folder.digest(below / "vae.keras")) == chosen(None) == below / "loaded"
    shutil.copy(tmp_path / "vae.keras", below)
    assert chosen(own) == below / "loaded", "never over the model itself"


@pytest.mark.parametrize("loaded", [False, True], ids=["trained", "loaded"])
def test_what_a_kill_cut_in_two_is_finished_before_the_place_is_chosen(loaded, tmp_path):
    """The first run ever in a folder, of the full set, whose files have not moved yet."""
    put_run(tmp_path / ".vae_mnist")
    journal = {"files": ["metrics.json", "manifold.png"], "gone": []}
    (tmp_path / ".vae_mnist" / "journal.json").write_text(json.dumps(journal))
    with folder.opened(str(tmp_path), SAMPLE, loaded) as place:
        assert place.path == tmp_path / ("loaded" if loaded else "sample")
        assert (tmp_path / "manifold.png").read_text() == "a picture"
        assert not (tmp_path / ".vae_mnist").exists()


def test_a_run_writes_nothing_into_the_folder_of_its_images(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    for place in (tmp_path, tmp_path / "figures", tmp_path / "mnist" / ".." / "new"):
        with pytest.raises(UserError, match=r"and so into --data .*: choose an --output beside the images"):
            folder.check_apart(place, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for place, images in (("mnist", "mnist"), ("figures", "mnist/../mnist"), ("figures", "figures.npz"), ("a", "b")):
        folder.check_apart(Path(place), images)
    with pytest.raises(UserError, match=r"would go into figures/x, and so into --data \.,"):
        folder.check_apart(Path("figures/x"), ".")


def test_another_run_is_replaced_by_training_but_not_by_loading(tmp_path):
    assert folder.choose(str(tmp_path), MINE) == tmp_path, "empty"
    assert folder.choose(str(tmp_path), MINE, loaded=True) == tmp_path
    put_run(tmp_path, full_mnist=False)
    assert folder.choose(str(tmp_path), SAMPLE) == tmp_path
    assert folder.choose(str(tmp_path), MINE, loaded=True) == tmp_path / "loaded"
    put_run(tmp_path, model="vae.keras")
    assert folder.choose(str(tmp_path), MINE, loaded=True) == tmp_path, "drawings of a loaded model may be drawn anew"


OLD = {"metrics.json": "old record", "manifold.png": "old picture", "training_curves.png": "old curves"}


@pytest.fixture
def earlier(tmp_path):
    """A folder with the files of an earlier run."""
    place = tmp_path / "run"
    place.mkdir()
    put_old(place, OLD)
    return place


def test_loading_a_model_finishes_what_a_kill_cut_off(tmp_path):
    (tmp_path / "vae.keras").write_text("the old model")
    (tmp_path / ".vae_mnist").mkdir()
    (tmp_path / ".vae_mnist" / "vae.keras").write_text("the new model")
    (tmp_path / ".vae_mnist" / "journal.json").write_text(json.dumps({"files": ["vae.keras"], "gone": []}))
    with saved.opened(tmp_path / "vae.keras") as file:
        assert file.read() == b"the new model"
    assert [path.name for path in tmp_path.iterdir()] == ["vae.keras"]


def test_the_record_beside_a_model_is_of_the_same_run(tmp_path):
    """Also where a kill came before the files had moved."""
    put_run(tmp_path, seed=1)
    put_run(tmp_path / ".vae_mnist", seed=2)
    (tmp_path / ".vae_mnist" / "journal.json").write_text(json.dumps({"files": ["metrics.json"], "gone": []}))
    assert folder.record_beside(tmp_path / "vae.keras")["seed"] == 2
    for text in ("[]", "no JSON"):
        (tmp_path / "metrics.json").write_text(text)
        assert folder.record_beside(tmp_path / "vae.keras") == {}


def test_a_run_stopped_in_its_first_epoch_replaces_nothing(small_npz, tmp_path, capsys, monkeypatch, eagerly):
    begin = resume.Progress.on_train_begin

    def ask(progress, logs=None):
        begin(progress, logs)
        progress.signals.asked = signal.SIGINT

    monkeypatch.setattr(resume.Progress, "on_train_begin", ask)
    put_run(tmp_path, full_mnist=False)
    line = f"--data {small_npz} --epochs 2 --batch-size 50 --hidden-dim 4 --output {tmp_path}"
    assert vae_mnist.main(line.split()) == 128 + signal.SIGINT
    assert capsys.readouterr().err.endswith(f"vae_mnist: stopped early; {tmp_path} is as it was.\n")
    assert {path.name for path in tmp_path.iterdir()} == {"metrics.json", "manifold.png"}
    assert (tmp_path / "manifold.png").read_text() == "a picture"


def test_leftovers_of_killed_runs_are_cleared_and_nothing_else(earlier):
    for name in (".unfinished.npz", ".hidden", ".vae.mine.keras"):
        (earlier / name).write_text("x")
    (earlier / ".vae_mnist").mkdir()
    (earlier / ".vae_mnist" / "manifold.png").write_text("half a pic")
    folder.settle(earlier)
    assert contents(earlier) == OLD | {".hidden": "x", ".vae.mine.keras": "x"}


# Another user's files in a folder that everybody may write into, but only delete in what is one's own.
TWO_USERS = """
import os, sys
from seevae.basics import UserError
from seevae.run import folder
from test_folder import FULL
os.setuid(65534)
try:
    with folder.opened(sys.argv[1], FULL):
        pass
except UserError as error:
    print(error)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can be two users")
def test_another_users_files_are_seen_before_the_training(run_python):
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to other users
        put_old(Path(place), OLD)
        Path(place).chmod(0o1777)
        done = run_python("-c", TWO_USERS, place)
        assert re.fullmatch(r"Cannot write \S+ \(Operation not permitted\): move it, or .*\.\n", done.stdout), done
        assert contents(Path(place)) == OLD


@pytest.mark.slow
def test_a_disk_that_takes_only_some_of_the_files_changes_nothing(trained, sample, earlier):
    """A limit on the size of files, below the size of each in turn."""
    resource = pytest.importorskip("resource")
    vae, history = trained
    replay = Replay(sample.x_test[:9], sample.y_test[:9], None)
    record = {"model": None, "stopped": None, "history": history}
    figures = pictures.draw(*vae_mnist.halves(vae), sample, history)
    files = folder.save(earlier.with_name("other"), figures, "<html>" * 9999, vae, replay, record)
    before, (_, hard) = contents(earlier), resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in sorted({path.stat().st_size for path in files}):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, hard))
        try:
            with pytest.raises(UserError, match="could not be written"):
                folder.save(earlier, figures, "<html>" * 9999, vae, replay, record)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        assert contents(earlier) == before


@pytest.mark.parametrize("way", ["deleted", "replaced by a link"])
@pytest.mark.slow
def test_a_folder_that_goes_in_the_training_takes_no_other_run_with_it(
    way, small_npz, tmp_path, monkeypatch, capsys, earlier
):
    """After the first epoch, which is kept; what is in the way then stays as it is."""

    def act(progress, epoch, logs=None):
        if epoch == 1:
            (tmp_path / "new").rename(tmp_path / "away")
            if way != "deleted":
                (tmp_path / "new").symlink_to(earlier)

    monkeypatch.setattr(resume.Progress, "on_epoch_begin", act, raising=False)
    line = f"--data {small_npz} --epochs 3 --hidden-dim 4 --evidence-images 0 --output {tmp_path / 'new'}"
    assert vae_mnist.main(line.split()) == 0
    said = capsys.readouterr()
    assert "unfinished.npz could not be written (its folder was deleted or replaced)" in said.err
    assert f"The folder {tmp_path / 'new'} was deleted or replaced during this run" in said.out
    place = tmp_path / ("new" if way == "deleted" else "new-2")
    assert json.loads((place / "metrics.json").read_text())["epochs"] == 3
    assert sorted(path.name for path in place.iterdir()) == sorted({*folder.FILES} - {folder.REPORT})
    assert contents(earlier) == OLD


@pytest.mark.parametrize("year", [1979, 2108])
def test_a_clock_that_no_archive_can_hold_is_told(year, tmp_path, monkeypatch):
    monkeypatch.setattr(folder.time, "localtime", lambda: SimpleNamespace(tm_year=year))
    with pytest.raises(UserError, match=f"clock of this machine says {year}, "), folder.opened(str(tmp_path), FULL):
        pass


def test_a_second_run_is_told_that_there_is_one_and_takes_nothing_away(tmp_path):
    new = tmp_path / "new"
    with folder.opened(str(new), MINE) as first:
        assert first.path == new
        with pytest.raises(UserError, match="Another run is writing"), folder.opened(str(new), MINE):
            pass
        assert first.is_still_there()
    with folder.opened(str(new), MINE):
        assert list(new.iterdir()) == [], "the lock leaves no file"


REPLAY, VAE = (SimpleNamespace(save=lambda path, text=text: path.write_text(text)) for text in ("moments", "weights"))


def test_a_run_takes_the_state_of_its_training_away_unless_it_was_stopped(tmp_path):
    for stopped in ("stopped after epoch 1 of 2", None):
        (tmp_path / "unfinished.npz").write_text("a training")
        files = folder.save(tmp_path, {}, "<html>", VAE, REPLAY, {"model": None, "stopped": stopped})
        wrote = {path.name: path.read_text() for path in files}
        assert json.loads(wrote.pop("metrics.json")) == {"model": None, "stopped": stopped}
        assert wrote == {"explorer.html": "<html>", "replay.npz": "moments", "vae.keras": "weights"}
        assert (tmp_path / "unfinished.npz").exists() == bool(stopped)


def test_a_loaded_models_run_writes_no_model_and_leaves_a_training_alone(tmp_path):
    (tmp_path / "unfinished.npz").write_text("a training")
    files = folder.save(tmp_path, {}, "<html>", None, None, {"model": "vae.keras", "history": {}})
    assert [path.name for path in files] == ["explorer.html", "metrics.json"]
    assert (tmp_path / "unfinished.npz").read_text() == "a training"


def test_held_out_images_that_the_model_was_trained_on_are_told(tmp_path):
    """Of data without a held-out part, the seed draws one; the record beside the model knows which."""
    drawn = "no held-out part: 10 of 60 held out, drawn by the seed {}"
    put_run(tmp_path, dataset="mine.npz", seed=3, converted=[drawn.format(3)])
    model = tmp_path / "vae.keras"

    def told(seed, **changes):
        dataset = data.Dataset("mine.npz", *[None] * 4, said=(drawn.format(seed),))._replace(**changes)
        return folder.held_out_anew(model, dataset, seed).said[len(dataset.said) :]

    assert told(4) == ("vae.keras has seen most of them, as it was trained with --seed 3",)
    assert told(3) == told(4, name="other.npz") == told(4, said=("60 images",)) == ()
    put_run(tmp_path, dataset="mine.npz", seed=3, converted=[])
    assert told(4) == ()


def test_a_run_that_ends_while_another_begins_is_not_replaced_by_it(tmp_path, monkeypatch):
    """Both chose the same folder; the other one's files are there when the lock is free."""
    real, chosen = folder.choose, []

    def choose(*given):
        chosen.append(real(*given))
        if len(chosen) == 1:
            put_run(chosen[0], full_mnist=True)
        return chosen[-1]

    monkeypatch.setattr(folder, "choose", choose)
    with folder.opened(str(tmp_path / "out"), MINE) as place:
        assert place.path == tmp_path / "out" / "mine"
    assert (tmp_path / "out" / "manifold.png").read_text() == "a picture"
