"""The folder of a run: where it is, that its files are of one run whatever happens when, and what may be loaded."""

import errno
import itertools
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import keras
import pytest
from conftest import ROOT

import vae_mnist
from seevae.basics import UserError
from seevae.images.data import MNIST_SAMPLE
from seevae.results import explorer, pictures
from seevae.run import folder, resume


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


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"files": 3}', '{"files": [["x"]], "gone": []}', "null"])
def test_a_journal_that_no_run_wrote_is_cleared(text, earlier):
    (earlier / ".vae_mnist").mkdir()
    (earlier / ".vae_mnist" / "journal.json").write_text(text)
    with folder.opened(str(earlier), FULL):
        assert contents(earlier) == OLD


def test_another_run_is_replaced_by_training_but_not_by_loading(tmp_path):
    assert folder.choose(str(tmp_path), MINE) == tmp_path, "empty"
    assert folder.choose(str(tmp_path), MINE, loaded=True) == tmp_path
    put_run(tmp_path, full_mnist=False)
    assert folder.choose(str(tmp_path), SAMPLE) == tmp_path
    assert folder.choose(str(tmp_path), MINE, loaded=True) == tmp_path / "loaded"
    put_run(tmp_path, model="vae.keras")
    assert folder.choose(str(tmp_path), MINE, loaded=True) == tmp_path, "drawings of a loaded model may be drawn anew"


OLD = {"metrics.json": "old record", "manifold.png": "old picture", "training_curves.png": "old curves"}
NEW = {"metrics.json": "new record", "manifold.png": "new picture", "vae.keras": "new model"}
GONE = ["training_curves.png", "unfinished.npz"]


@pytest.fixture
def earlier(tmp_path):
    """A folder with the files of an earlier run."""
    place = tmp_path / "run"
    place.mkdir()
    put_old(place)
    return place


def put_old(place):
    """Leave in a folder the files of an earlier run, and no other."""
    for path in place.iterdir():
        path.unlink()
    for name, text in OLD.items():
        (place / name).write_text(text)


def contents(place):
    return {path.name: path.read_text() for path in place.iterdir()}


def replace(place):
    folder.replace_all(place, {name: lambda path, text=text: path.write_text(text) for name, text in NEW.items()}, GONE)


def test_files_are_put_in_place_and_what_the_new_run_lacks_is_taken_away(earlier):
    (earlier / "notes.txt").write_text("the user's own")
    replace(earlier)
    assert contents(earlier) == NEW | {"notes.txt": "the user's own"}


# For number after number: a process replaces files as above in the folder argv[1] and is killed before the call of that
# number of the function of os that argv[2] names. Prints what the next start makes of the folder each time, as JSON.
KILLED = """
import itertools, json, os, signal, sys
from pathlib import Path
from seevae.run import folder
import test_folder
place, name, seen = Path(sys.argv[1]), sys.argv[2], []
function = getattr(os, name)
for number in itertools.count():
    test_folder.put_old(place)
    if (child := os.fork()) == 0:
        counter = itertools.count()
        def killed(*arguments, **options):
            if next(counter) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        setattr(os, name, killed)
        test_folder.replace(place)
        os._exit(0)
    if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        break
    folder.settle(place)
    seen.append(test_folder.contents(place))
print(json.dumps(seen))
"""


def settled_after_kills(function, place, run_python):
    """What the next start makes of a folder, for a kill before each call of os.`function` in turn."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return json.loads(run_python("-c", KILLED, place, function, PYTHONPATH=path).stdout.splitlines()[-1])


def test_a_kill_before_any_rename_leaves_one_run_after_the_next_start(earlier, run_python):
    """The renames: the journal, each file that goes, each that comes, and at last all that went."""
    seen = settled_after_kills("replace", earlier, run_python)
    expected = [OLD] + [NEW] * (len(OLD) + len(NEW) + 1)
    assert seen == expected, "a kill before the journal is there undoes, any later one finishes"


def test_a_kill_before_any_deletion_is_finished_by_the_next_start(earlier, run_python):
    """The deletions are those of the files of the earlier run, and that of the journal."""
    assert settled_after_kills("unlink", earlier, run_python) == [NEW] * (len(OLD) + 1)


def test_loading_a_model_finishes_what_a_kill_cut_off(trained, tmp_path):
    trained[0].save(tmp_path / "vae.keras")
    model = (tmp_path / "vae.keras").read_bytes()
    (tmp_path / "vae.keras").write_text("the old model")
    (tmp_path / ".vae_mnist").mkdir()
    (tmp_path / ".vae_mnist" / "vae.keras").write_bytes(model)
    (tmp_path / ".vae_mnist" / "journal.json").write_text(json.dumps({"files": ["vae.keras"], "gone": []}))
    assert vae_mnist.load_vae(tmp_path / "vae.keras").count_params() == trained[0].count_params()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["vae.keras"]


def test_a_journal_moves_nothing_but_files_of_a_run(tmp_path):
    (tmp_path / ".vae_mnist").mkdir()
    (tmp_path / ".vae_mnist" / "mine.txt").write_text("x")
    (tmp_path / "own.txt").write_text("the user's own")
    journal = {"files": ["mine.txt", "../up.txt", "/etc/passwd"], "gone": ["own.txt"]}
    (tmp_path / ".vae_mnist" / "journal.json").write_text(json.dumps(journal))
    folder.settle(tmp_path)
    assert contents(tmp_path) == {"own.txt": "the user's own"}


def test_leftovers_of_killed_runs_are_cleared_and_nothing_else(earlier):
    for name in (".unfinished.npz", ".hidden", ".vae.mine.keras"):
        (earlier / name).write_text("x")
    (earlier / ".vae_mnist").mkdir()
    (earlier / ".vae_mnist" / "manifold.png").write_text("half a pic")
    folder.settle(earlier)
    assert contents(earlier) == OLD | {".hidden": "x", ".vae.mine.keras": "x"}


@pytest.mark.parametrize("function", ["fsync", "replace", "mkdir"])
def test_whatever_the_disk_refuses_the_earlier_run_is_whole(function, earlier, monkeypatch):
    """Each call in turn fails, as on a full disk."""
    real, said = getattr(os, function), []
    for number in itertools.count():
        counter = itertools.count()

        def full(*arguments, counter=counter, number=number, **options):
            if next(counter) == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        put_old(earlier)
        monkeypatch.setattr(os, function, full)
        try:
            replace(earlier)
            break
        except UserError as error:
            said.append(str(error))
        finally:
            monkeypatch.setattr(os, function, real)
        assert contents(earlier) == OLD, "as it was, with nothing left over"
    assert said
    assert all("could not be written (No space left on device)" in sentence for sentence in said)
    assert contents(earlier) == NEW


@pytest.mark.parametrize(("way", "name"), [*(("goes", name) for name in OLD), *(("comes", name) for name in NEW)])
def test_a_file_that_cannot_be_replaced_is_named_and_all_stay_as_they_were(way, name, earlier, monkeypatch):
    real, stuck, refused = os.replace, earlier / name, []

    def replace_others(path, to):
        if not refused and stuck == (path if way == "goes" else to):
            refused.append(name)
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path), None, str(to))
        real(path, to)

    monkeypatch.setattr(os, "replace", replace_others)
    with pytest.raises(UserError, match=rf"{name} could not be written \(Operation not permitted\)"):
        replace(earlier)
    assert contents(earlier) == OLD


def refuse(monkeypatch, stuck):
    """Let the system move nothing from, or to, this path."""
    real = os.replace

    def replace_others(path, to):
        if stuck in (Path(path), Path(to)):
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path), None, str(to))
        real(path, to)

    monkeypatch.setattr(os, "replace", replace_others)


def test_where_undoing_fails_too_the_next_start_goes_on(earlier, monkeypatch):
    """The moves stop at a file that has come, when all others of the earlier run are aside, and stay there."""

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(folder, "to_disk", lambda path: fail() if path == earlier else None)
    monkeypatch.setattr(folder, "put_back", fail)
    with pytest.raises(UserError, match="could not be written"):
        replace(earlier)
    monkeypatch.undo()
    folder.settle(earlier)
    assert contents(earlier) == NEW


def test_moves_that_a_kill_cut_in_two_are_undone_as_a_whole_where_they_cannot_go_on(earlier, monkeypatch):
    """The model, which the earlier run did not have, had come already."""
    aside = earlier / ".vae_mnist"
    (aside / "old").mkdir(parents=True)
    (earlier / "vae.keras").write_text("new model")
    for name in ("metrics.json", "manifold.png"):
        (aside / name).write_text(NEW[name])
    (aside / "journal.json").write_text(json.dumps({"files": [*NEW], "gone": GONE, "token": "ab12"}))
    refuse(monkeypatch, earlier / "manifold.png")
    with pytest.raises(PermissionError):
        folder.settle(earlier)
    monkeypatch.undo()
    folder.settle(earlier)
    assert contents(earlier) == OLD


def test_what_a_full_folder_of_old_files_leaves_behind_is_no_reason_to_undo(earlier, monkeypatch):
    monkeypatch.setattr(folder.shutil, "rmtree", lambda path, ignore_errors=False: None)
    replace(earlier)
    monkeypatch.undo()
    assert {name: (earlier / name).read_text() for name in NEW} == NEW
    replace(earlier)
    folder.settle(earlier)
    assert contents(earlier) == NEW


def test_nothing_but_files_of_a_run_is_put_back(earlier, tmp_path):
    own = tmp_path / "thesis"
    own.mkdir()
    (own / "manifold.png").write_text("the user's own")
    (earlier / ".vae_mnist").mkdir()
    (earlier / ".vae_mnist" / "old").symlink_to(own)
    folder.settle(earlier)
    assert (contents(earlier), contents(own)) == (OLD, {"manifold.png": "the user's own"})
    (earlier / "notes.txt").write_text("the user's own")
    (earlier / ".vae_mnist" / "old").mkdir(parents=True)
    (earlier / ".vae_mnist" / "old" / "notes.txt").write_text("another's")
    folder.settle(earlier)
    assert contents(earlier) == OLD | {"notes.txt": "the user's own"}


def test_a_kill_in_the_folder_below_is_finished_before_the_place_is_chosen(tmp_path):
    below = tmp_path / "sample"
    put_run(tmp_path)
    below.mkdir()
    put_run(below / ".vae_mnist")
    journal = {"files": ["metrics.json", "manifold.png"], "gone": [], "token": ""}
    (below / ".vae_mnist" / "journal.json").write_text(json.dumps(journal))
    with folder.opened(str(tmp_path), SAMPLE) as place:
        assert place.path == below / "sample", "the one that was killed is of the full set"
    assert (below / "manifold.png").read_text() == "a picture"


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
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to other users
        put_old(Path(place))
        Path(place).chmod(0o1777)
        done = run_python("-c", TWO_USERS, place, PYTHONPATH=paths)
        assert re.fullmatch(r"Cannot write \S+ \(Operation not permitted\): move it, or .*\.\n", done.stdout), done
        assert contents(Path(place)) == OLD


def test_a_folder_in_the_place_of_a_file_is_told_and_stays(earlier):
    (earlier / "vae.keras").mkdir()
    (earlier / "vae.keras" / "own.txt").write_text("the user's own")
    with (
        pytest.raises(UserError, match=r"Cannot write .*vae\.keras \(it is a folder\)"),
        folder.opened(str(earlier), FULL),
    ):
        pass
    with pytest.raises(UserError, match=r"vae\.keras could not be written \(it is a folder\)"):
        replace(earlier)
    assert (earlier / "vae.keras" / "own.txt").read_text() == "the user's own"
    (earlier / "vae.keras" / "own.txt").unlink()
    (earlier / "vae.keras").rmdir()
    assert contents(earlier) == OLD


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a file"])
def test_what_stands_in_the_place_of_our_own_folder_is_told_and_stays(kind, earlier, tmp_path):
    elsewhere = put_run(tmp_path / "elsewhere")
    (elsewhere / "journal.json").write_text(json.dumps({"files": ["manifold.png"], "gone": ["metrics.json"]}))
    there, aside = contents(elsewhere), earlier / ".vae_mnist"
    match kind:
        case "a link":
            aside.symlink_to(elsewhere)
        case "a pipe":
            os.mkfifo(aside)
        case "a file":
            aside.write_text("the user's own")
    sentence = r"Cannot write \S+\.vae_mnist \(it is no folder of ours\): move it"
    with pytest.raises(UserError, match=sentence), folder.opened(str(earlier), FULL):
        pass
    assert os.path.lexists(aside)
    aside.unlink()
    assert (contents(earlier), contents(elsewhere)) == (OLD, there)


def test_a_disk_that_takes_only_some_of_the_files_changes_nothing(trained, sample, earlier):
    """A limit on the size of files, below the size of each in turn."""
    resource = pytest.importorskip("resource")
    vae, history = trained
    replay = explorer.Replay(sample.x_test[:9], sample.y_test[:9], None)
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


def test_a_folder_that_vanished_is_made_again(earlier):
    for path in earlier.iterdir():
        path.unlink()
    earlier.rmdir()
    replace(earlier)
    assert contents(earlier) == NEW


@pytest.mark.parametrize("way", [pytest.param("deleted", marks=pytest.mark.slow), "replaced by a link"])
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
    assert sorted(path.name for path in place.iterdir()) == sorted(folder.FILES)
    assert contents(earlier) == OLD


def test_a_clock_before_the_first_archives_is_told(tmp_path, monkeypatch):
    real = folder.time.localtime
    monkeypatch.setattr(folder.time, "localtime", lambda: real(0))
    with pytest.raises(UserError, match=r"clock of this machine says 19(69|70), "), folder.opened(str(tmp_path), FULL):
        pass


def test_a_second_run_is_told_that_there_is_one(tmp_path):
    with folder.opened(str(tmp_path), MINE) as first:
        assert first.path == tmp_path
        with pytest.raises(UserError, match="Another run is writing"), folder.opened(str(tmp_path), MINE):
            pass
    with folder.opened(str(tmp_path), MINE):
        assert list(tmp_path.iterdir()) == [], "the lock leaves no file"


REPLAY = SimpleNamespace(save=lambda path: path.write_bytes(b"moments"))


def test_a_run_takes_the_state_of_its_training_away_unless_it_was_stopped(trained, tmp_path):
    vae, history = trained
    for stopped, epochs in (("stopped after epoch 1 of 2", 1), ("stopped after epoch 0 of 2", 0), (None, 2)):
        (tmp_path / "unfinished.npz").write_text("a training")
        record = {"model": None, "stopped": stopped, "epochs": epochs, "history": history}
        files = folder.save(tmp_path, {}, "<html>", vae, REPLAY, record)
        assert [path.name for path in files] == ["explorer.html", "metrics.json", "replay.npz", "vae.keras"]
        assert (tmp_path / "unfinished.npz").exists() == (epochs == 1), "that of another training is not kept"
        assert (tmp_path / "explorer.html").read_text() == "<html>"
        assert (tmp_path / "replay.npz").read_bytes() == b"moments"
        assert vae_mnist.load_vae(tmp_path / "vae.keras").count_params() == vae.count_params()


def test_a_loaded_models_run_writes_no_model_and_leaves_a_training_alone(tmp_path):
    (tmp_path / "unfinished.npz").write_text("a training")
    files = folder.save(tmp_path, {}, "<html>", None, None, {"model": "vae.keras", "history": {}})
    assert [path.name for path in files] == ["explorer.html", "metrics.json"]
    assert (tmp_path / "unfinished.npz").read_text() == "a training"


def text_file(path):
    path.write_text("no model")


def save(model, path):
    model.compile("adam", "mse")
    model.save(path)


def dense_model(path):
    save(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]), path)


def unsafe_model(path):
    """A model file may carry Python code in a lambda."""
    x = keras.Input((784,))
    save(keras.Model(x, keras.layers.Lambda(lambda t: t, output_shape=(784,))(x)), path)


def model_without_draws(path):
    """The VAE's halves, but no layer that draws z: all arrays are there."""
    x, encoder, decoder = keras.Input((784,)), vae_mnist.build_encoder(), vae_mnist.build_decoder()
    save(keras.Model(x, decoder(encoder(x)[0])), path)


def larger_images(path):
    """The VAE's layers, for images of another size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vae_mnist, "INPUT_SIZE", 1024)
        save(vae_mnist.build_vae(), path)


@pytest.mark.parametrize("write", [text_file, dense_model, unsafe_model, model_without_draws, larger_images])
def test_a_file_that_holds_no_vae_of_ours_is_refused(write, tmp_path):
    write(tmp_path / "other.keras")
    with pytest.raises(UserError, match="no VAE that this script saved"):
        vae_mnist.load_vae(tmp_path / "other.keras")


def test_a_model_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="no model file"):
        vae_mnist.load_vae(tmp_path / "none.keras")
