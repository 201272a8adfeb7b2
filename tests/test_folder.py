"""The folder of a run: where it is, that its files are written whole or not at all, and what may be loaded."""

import signal
from types import SimpleNamespace

import keras
import pytest

import vae_mnist
from parts import UserError, folder
from parts.data import MNIST_SAMPLE


def test_the_pictures_of_the_full_set_are_kept(tmp_path):
    choose = folder.choose
    assert str(choose(None, "MNIST")) == "figures"
    assert str(choose(None, MNIST_SAMPLE)) == "figures/sample"
    assert str(choose(None, "mine.npz")) == "figures/mine"
    assert str(choose(None, "MNIST", loaded=True)) == "figures/loaded"
    assert choose(str(tmp_path), MNIST_SAMPLE) == tmp_path
    (tmp_path / "metrics.json").write_text('{"dataset": "MNIST"}')
    assert choose(str(tmp_path), MNIST_SAMPLE) == tmp_path / "sample"
    assert choose(str(tmp_path), "MNIST") == tmp_path
    (tmp_path / "metrics.json").write_text("no JSON")
    assert choose(str(tmp_path), MNIST_SAMPLE) == tmp_path


def test_no_file_is_replaced_before_all_are_written(tmp_path):
    (tmp_path / "a.txt").write_text("old a")
    (tmp_path / "b.txt").write_text("old b")

    def fail_half_way(path):
        path.write_text("half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"b\.txt could not be written \(No space left"):
        folder.write_whole(tmp_path, {"a.txt": lambda path: path.write_text("new a"), "b.txt": fail_half_way})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "old a", "b.txt": "old b"}
    folder.write_whole(tmp_path, {name: lambda path: path.write_text("new") for name in ("a.txt", "b.txt")})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "new", "b.txt": "new"}


KILLED = """
import os, signal
from parts import folder
def write(path):
    path.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
folder.write_whole(".", {"metrics.json": write})
"""


def test_a_killed_run_leaves_the_earlier_file(run_python, tmp_path):
    (tmp_path / "metrics.json").write_text("old")
    assert run_python("-c", KILLED).returncode == -signal.SIGKILL
    assert (tmp_path / "metrics.json").read_text() == "old"


REPLAY = SimpleNamespace(save=lambda path: path.write_bytes(b"moments"))


def test_a_trained_model_is_kept_until_its_run_is_saved(trained, tmp_path):
    vae, history = trained
    (tmp_path / "vae.keras").write_text("the earlier model")
    folder.keep_model(tmp_path, vae)
    assert (tmp_path / "vae.keras").read_text() == "the earlier model"
    assert folder.load_vae(tmp_path / "unfinished.keras").count_params() == vae.count_params()
    files = folder.save(tmp_path, {}, "<html>", REPLAY, {"history": history})
    assert [path.name for path in files] == ["explorer.html", "metrics.json", "replay.npz", "vae.keras"]
    assert sorted(tmp_path.iterdir()) == files
    assert (tmp_path / "explorer.html").read_text() == "<html>"
    assert (tmp_path / "replay.npz").read_bytes() == b"moments"
    assert folder.load_vae(tmp_path / "vae.keras").count_params() == vae.count_params()


def test_a_loaded_models_run_takes_no_model_that_an_earlier_run_left(tmp_path):
    (tmp_path / "unfinished.keras").write_text("of another run")
    files = folder.save(tmp_path, {}, "<html>", None, {"history": {}})
    assert [path.name for path in files] == ["explorer.html", "metrics.json"]
    assert (tmp_path / "unfinished.keras").read_text() == "of another run"


def text_file(path):
    path.write_text("no model")


def dense_model(path):
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(path)


def unsafe_model(path):
    """A model file may carry Python code in a lambda; Keras's safe mode refuses it, and so do we."""
    x = keras.Input((784,))
    keras.Model(x, keras.layers.Lambda(lambda t: t, output_shape=(784,))(x)).save(path)


def model_without_draws(path):
    """The VAE's halves, but no layer that draws z."""
    x, encoder, decoder = keras.Input((784,)), vae_mnist.build_encoder(), vae_mnist.build_decoder()
    keras.Model(x, decoder(encoder(x)[0])).save(path)


@pytest.mark.parametrize("write", [text_file, dense_model, unsafe_model, model_without_draws])
def test_a_file_that_holds_no_vae_of_ours_is_refused(write, tmp_path):
    write(tmp_path / "other.keras")
    with pytest.raises(UserError, match="no VAE that this script saved"):
        folder.load_vae(tmp_path / "other.keras")


def test_a_model_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="no model file"):
        folder.load_vae(tmp_path / "none.keras")
