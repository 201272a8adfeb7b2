"""Resuming: a training that was cut off ends bit for bit as one that was not; anything else is refused."""

import json
import shutil
import signal

import numpy as np
import pytest
from conftest import Command, build, results

import vae_mnist
from seevae.basics import UserError
from seevae.machine import devices
from seevae.results.replay import Replay
from seevae.run import folder, resume, stopping
from seevae.training.recipes import RECIPES

RECIPE = RECIPES["default"]._replace(epochs=4, batch_size=50)
SETTINGS = {"recipe": RECIPE._asdict(), "latent_dim": 2, "hidden_dim": 16}


def run_of(dataset, output, signals=None):
    """A VAE built for RECIPE, its Replay and its Progress, as a session makes them."""
    vae_mnist.keras.utils.set_random_seed(0)
    vae = vae_mnist.build_vae(RECIPE, hidden_dim=16)
    vae_mnist.compile_vae(vae, RECIPE, len(dataset.x_train))
    replay = Replay(dataset.x_test, dataset.y_test, vae_mnist.evaluate_elbo)
    plan = resume.plan_of(SETTINGS, 0, devices.describe(), dataset)
    return vae, replay, resume.Progress(folder.Place(output, None), plan, replay, signals)


def state_of(progress, output):
    """The Progress of the same training, whose state lies in another folder."""
    return resume.Progress(folder.Place(output, None), progress.plan, progress.replay)


def train(dataset, parts, done=0, callbacks=()):
    vae, replay, progress = parts
    calls = [replay, progress, *callbacks]
    vae_mnist.train(vae, dataset.x_train, dataset.x_test, RECIPE, verbose=0, callbacks=calls, initial_epoch=done)


class Cut(vae_mnist.keras.callbacks.Callback):
    """Cuts a training off in its third epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 2:
            raise InterruptedError


@pytest.fixture(scope="module")
def small(sample):
    """200 training and 60 held-out digits, as a Dataset."""
    return sample._replace(
        x_train=sample.x_train[:200], y_train=sample.y_train[:200], x_test=sample.x_test[:60], y_test=sample.y_test[:60]
    )


@pytest.fixture(scope="module")
def left(small, tmp_path_factory):
    """What a training that was cut off after two of four epochs left, and nothing else."""
    output = tmp_path_factory.mktemp("cut")
    with pytest.raises(InterruptedError):
        train(small, run_of(small, output), callbacks=[Cut()])
    (file,) = output.iterdir()
    return file


@pytest.fixture
def cut_off(left, tmp_path):
    """The folder of a training that was cut off after two of four epochs."""
    (tmp_path / "cut").mkdir()
    shutil.copy(left, tmp_path / "cut" / "unfinished.npz")
    return tmp_path / "cut"


@pytest.fixture(scope="module")
def begun(small, tmp_path_factory):
    """A VAE of this training, and its Progress: for all that refuse to go on, as they change nothing of it."""
    vae, _, progress = run_of(small, tmp_path_factory.mktemp("begun"))
    return vae, progress


def numbers(parts):
    vae, replay, progress = parts
    weights = [np.asarray(variable) for variable in (*vae.variables, *vae.optimizer.variables)]
    return [*weights, np.array(replay.z), np.array(replay.loss), np.array(replay.moments)], progress.history


@pytest.mark.slow
def test_a_resumed_training_ends_bit_for_bit_as_one_that_was_not_cut_off(small, cut_off, tmp_path):
    whole = run_of(small, tmp_path)
    train(small, whole)
    resumed = run_of(small, cut_off)
    done = resumed[2].restore(resumed[0])
    assert done == 2
    train(small, resumed, done)
    (expected, history), (found, again) = numbers(whole), numbers(resumed)
    assert len(history["loss"]) == 4
    assert again == history
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_an_epoch_depends_on_the_seed_and_its_number(small, cut_off, tmp_path):
    """The control: with the order and the noise of other epochs, or of another seed, the numbers are others."""
    whole = run_of(small, tmp_path)
    train(small, whole)
    losses = whole[2].history["loss"]
    for shift, seed in ((1, 0), (0, 1)):
        vae, replay, progress = run_of(small, cut_off)
        done = progress.restore(vae)
        progress.place = None
        later = RECIPE._replace(epochs=4 + shift)
        calls = [replay, progress]
        vae_mnist.train(vae, small.x_train, None, later, seed, verbose=0, callbacks=calls, initial_epoch=done + shift)
        assert progress.history["loss"][:2] == losses[:2]
        assert progress.history["loss"][2:4] != losses[2:4]


def test_the_state_is_kept_after_each_epoch_and_told_in_a_plan(small, cut_off):
    with np.load(cut_off / "unfinished.npz") as file:
        plan, history = json.loads(str(file["plan"])), json.loads(str(file["history"]))
    assert len(history["val_loss"]) == 2
    assert plan["epochs"] == 4
    assert plan["learning rate"] == RECIPE.learning_rate
    assert plan["version of keras"] == vae_mnist.keras.__version__


OTHERWISE = {  # sentence: what is other than in the training that was cut off
    "its latent dim is 2, not 3": {"latent_dim": 3},
    "its hidden dim is 16, not 8": {"hidden_dim": 8},
    "its learning rate is 0.01, not 0.5": {"recipe": RECIPE._replace(learning_rate=0.5)._asdict()},
    "its epochs is 4, not 5": {"recipe": RECIPE._replace(epochs=5)._asdict()},
    "its recipe is default, not author": {"recipe": RECIPES["author"]._asdict()},
    "its seed is 0, not 1": {"seed": 1},
    f"its version of numpy is {np.__version__}, not 99.0": {"numpy": "99.0"},
    "its data is MNIST sample.*, not x.npz": {"name": "x.npz"},
    "its content of the data is another": {"x_train": np.ones((200, 784), "float32")},
}


@pytest.mark.parametrize(("sentence", "changes"), OTHERWISE.items())
def test_another_training_is_refused_by_what_differs(sentence, changes, small, cut_off, begun):
    progress = state_of(begun[1], cut_off)
    settings = SETTINGS | {name: value for name, value in changes.items() if name in SETTINGS}
    dataset = small._replace(**{name: value for name, value in changes.items() if name in small._fields})
    device = devices.describe()
    device["versions"]["numpy"] = changes.get("numpy", np.__version__)
    progress.plan = resume.plan_of(settings, changes.get("seed", 0), device, dataset)
    unchanged(begun[0], progress, sentence)


def unchanged(vae, progress, sentence):
    """A training that is refused leaves the model as it was."""
    before = vae.get_weights()
    with pytest.raises(UserError, match=sentence):
        progress.restore(vae)
    for one, other in zip(before, vae.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_where_there_is_nothing_to_resume_it_is_said_why(begun, tmp_path):
    vae, progress = begun[0], state_of(begun[1], tmp_path)
    unchanged(vae, progress, "no interrupted training")
    (tmp_path / "metrics.json").write_text(json.dumps({"stopped": None}))
    unchanged(vae, progress, "is finished, there is nothing to resume")
    (tmp_path / "unfinished.npz").write_bytes(b"PK\3\4 damaged")
    unchanged(vae, progress, "cannot be read")


def history(epochs, **changes):
    """A history of so many epochs as a file holds it, with other numbers under some names."""
    return {"history": json.dumps({name: [1.0] * epochs for name in resume.LOSSES} | changes)}


SPOILED = {
    "weight of another shape": {"variable 1": np.zeros((2, 2), "float32")},
    "weight of text": {"variable 1": np.full((784, 16), "x")},
    "NaN": {"variable 2": np.full(16, np.nan, "float32")},
    "seconds of text": {"seconds": "soon"},
    "history of text": {"history": '"abc"'},
    "history of two lengths": history(2, val_loss=[1.0]),
    "history of text in lists": history(2, loss=["a", "b"]),
    "history of no epoch": history(0),
    "history longer than the training": history(5),
    "history of other numbers": history(2, accuracy=[1.0, 2.0]),
    "history of one number": {"history": '{"loss": [1.0, 2.0]}'},
    "replay of another length": {"replay loss": np.zeros(3)},
    "replay of other images": {"replay z": np.zeros((13, 59, 2))},
    "replay of other latents": {"replay z": np.zeros((13, 60, 3))},
    "plan that is none": {"plan": "[1]"},
}


@pytest.mark.parametrize("change", SPOILED.values(), ids=SPOILED)
def test_a_file_that_this_program_did_not_write_is_refused(change, begun, cut_off):
    with np.load(cut_off / "unfinished.npz") as file:
        arrays = dict(file)
    np.savez(cut_off / "unfinished.npz", **arrays | change)
    unchanged(begun[0], state_of(begun[1], cut_off), "cannot be read")


@pytest.mark.slow
def test_a_full_disk_stops_no_training(small, tmp_path, monkeypatch, capsys):
    def full(file, **arrays):
        file.write(b"half of the f")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    (tmp_path / "unfinished.npz").write_text("of an earlier training, which this one replaces")
    run = run_of(small, tmp_path)
    train(small, run)
    assert len(run[2].history["loss"]) == 4
    assert list(tmp_path.iterdir()) == [], "what was begun takes no room"
    assert capsys.readouterr().err.count("could not be written (No space left on device): the training goes on") == 1


@pytest.mark.slow
def test_a_disk_that_fills_up_later_leaves_the_epoch_that_it_took(small, tmp_path, monkeypatch):
    write, asked = np.savez, []

    def once(file, **arrays):
        asked.append(file)
        if len(asked) > 1:
            raise OSError(28, "No space left on device")
        write(file, **arrays)

    monkeypatch.setattr(np, "savez", once)
    train(small, run_of(small, tmp_path))
    vae, _, progress = run_of(small, tmp_path)
    assert progress.restore(vae) == 1


def test_a_stop_breaks_off_the_epoch_and_leaves_it_out_of_the_numbers(small, tmp_path, eagerly):
    """The signal comes after the first of four steps of the second epoch."""

    class Ask(vae_mnist.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 5:
                assert signals.in_training
                signals.asked = 2

    signals = stopping.Signals()
    vae, replay, progress = run_of(small, tmp_path, signals)
    train_with = [Ask(), replay, progress]
    vae_mnist.train(vae, small.x_train, small.x_test, RECIPE, verbose=0, callbacks=train_with)
    assert int(vae.optimizer.iterations) == 5, "four steps are an epoch"
    assert not signals.in_training
    assert progress.stopped == "stopped after epoch 1 of 4"
    assert progress.epochs == progress.kept == len(progress.history["val_loss"]) == 1
    assert replay.moments[-1] == 1.0


@pytest.mark.slow
def test_a_model_that_is_trained_further_is_stopped_and_goes_on(small_npz, tmp_path, monkeypatch, capsys, eagerly):
    """Stopped in the third of four epochs, as by Ctrl-C, and resumed, it ends bit for bit as one that was not."""
    training = vae_mnist.train
    monkeypatch.setattr(vae_mnist.pictures, "draw", lambda *given: {})
    monkeypatch.setattr(vae_mnist.explorer, "page", lambda *given: "")

    def stopped(*given, callbacks, **rest):
        def ask(batch, logs):
            if callbacks[-1].epochs == 2:
                callbacks[-1].signals.asked = signal.SIGINT

        ask = vae_mnist.keras.callbacks.LambdaCallback(on_train_batch_begin=ask)
        return training(*given, callbacks=[ask, *callbacks], **rest)

    def further(model, output, *more):
        line = f"--epochs 4 --batch-size 100 --evidence-images 0 --data {small_npz}"
        paths = ["--load", str(tmp_path / model), "--output", str(tmp_path / output)]
        return vae_mnist.main([*line.split(), *paths, *more])

    for name in ("one", "other"):
        build(RECIPE, 200, hidden_dim=8).save(tmp_path / f"{name}.keras")
    assert further("one.keras", "whole") == 0
    monkeypatch.setattr(vae_mnist, "train", stopped)
    assert further("one.keras", "cut") == 128 + signal.SIGINT
    monkeypatch.setattr(vae_mnist, "train", training)
    assert json.loads((tmp_path / "cut" / "metrics.json").read_text())["stopped"] == "stopped after epoch 2 of 4"
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "cut" / "unfinished.npz", tmp_path / "copy")
    capsys.readouterr()
    assert further("other.keras", "copy", "--resume") == 2
    assert "cannot go on here: its model at the start is another; give" in capsys.readouterr().err
    assert further("one.keras", "cut", "--resume") == 0
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_a_killed_run_and_one_that_was_not_write_the_same_bytes(backend, small_npz, tmp_path):
    """In three processes, so that two runs of the same seed are the same as well."""
    pytest.importorskip(backend)
    options = f"--data {small_npz} --epochs 9 --batch-size 20 --hidden-dim 16 --evidence-images 0"
    assert Command(f"{options} --output whole", tmp_path, KERAS_BACKEND=backend).end()[0] == 0
    killed = Command(f"{options} --output cut", tmp_path, KERAS_BACKEND=backend)
    killed.wait_for("Epoch 4/9")
    killed.send(signal.SIGKILL)
    assert killed.end()[0] == -signal.SIGKILL
    status, out, err = Command(f"{options} --output cut --resume", tmp_path, KERAS_BACKEND=backend).end()
    assert (status, err) == (0, "")
    assert "Epoch 3/9" not in out, "what was learned is not learned again"
    assert "Epoch 9/9" in out
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
