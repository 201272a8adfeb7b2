"""The command `python vae_mnist.py`: its options, its files, its record, its words, and its answers to bad input."""

import base64
import hashlib
import json
import re
import shutil

import keras
import numpy as np
import pytest
from conftest import build, encode

import vae_mnist
from seevae.images import data
from seevae.machine import devices, startup
from seevae.results.replay import Replay
from seevae.run import console, folder, options
from seevae.training.recipes import RECIPES

FILES = sorted([*folder.PICTURES, "explorer.html", "metrics.json", "replay.npz", "vae.keras"])


def run_command(line, data_file, output):
    """Run the command in this process on a data file, with the options of one string; returns its exit status."""
    return vae_mnist.main([*line.split(), "--data", str(data_file), "--output", str(output)])


@pytest.fixture(scope="module")
def finished(small_npz, tmp_path_factory):
    """A finished run on the small data file: its folder and its record."""
    output = tmp_path_factory.mktemp("run")
    line = "--epochs 2 --batch-size 50 --hidden-dim 16 --learning-rate 0.005 --seed 5"
    assert run_command(line, small_npz, output) == 0
    return output, json.loads((output / "metrics.json").read_text())


def test_run_writes_its_files_and_nothing_else(finished):
    output, _ = finished
    assert sorted(path.name for path in output.iterdir()) == FILES
    for name in folder.PICTURES:
        assert (output / name).read_bytes().startswith(b"\x89PNG")


def test_record_says_what_was_run(finished):
    output, record = finished
    assert record["dataset"] == "small.npz"
    assert record["full_mnist"] is False
    assert record["model"] is None
    assert record["stopped"] is None
    assert record["backend"] == keras.backend.backend()
    assert record["device"]
    assert record["versions"]["keras"] == keras.__version__
    assert record["seed"] == 5
    assert record["epochs"] == 2
    assert record["seconds"] > 0
    recipe = RECIPES["default"]._asdict() | {"epochs": 2, "batch_size": 50, "learning_rate": 0.005}
    assert record["settings"] == {"recipe": recipe, "latent_dim": 2, "hidden_dim": 16}
    vae = vae_mnist.load_vae(output / "vae.keras")
    assert vae.get_layer("encoder").get_layer("encoder_h").units == 16
    assert vae.optimizer.get_config()["learning_rate"]["config"]["initial_learning_rate"] == pytest.approx(0.005)
    assert int(vae.optimizer.iterations) == 2 * 200 / 50


def test_record_holds_the_elbo_and_its_parts(finished, small_npz):
    output, record = finished
    held_out = record["held_out"]
    assert held_out["elbo"] < 0 < min(held_out["reconstruction_loss"], held_out["kl_loss"])
    vae = vae_mnist.load_vae(output / "vae.keras")
    again = vae_mnist.evaluate_elbo(vae, data.load_data(small_npz).x_test, samples=10, seed=5)
    assert again["elbo"] == pytest.approx(held_out["elbo"], rel=1e-5)


def test_record_holds_the_evidence(finished):
    known = finished[1]["evidence"]
    assert known["images"] == 60, "all there are, when there are fewer than asked for"
    assert known["elbo"] < known["importance_weighted"] < known["exact"] < 0
    assert known["importance_samples"] == 100
    assert known["exact_error"] < 0.01


@pytest.mark.slow
def test_author_recipe_and_number_of_evidence_images(small_npz, tmp_path):
    line = f"--recipe author --epochs 1 --hidden-dim 8 --evidence-images 7 --data {small_npz} --output {tmp_path}"
    record = vae_mnist.run(options.parse_args(line.split()))
    assert record == json.loads((tmp_path / "metrics.json").read_text())
    assert record["settings"]["recipe"] == RECIPES["author"]._asdict() | {"epochs": 1}
    assert record["evidence"]["images"] == 7
    vae = vae_mnist.load_vae(tmp_path / "vae.keras")
    assert float(vae.optimizer.learning_rate) == pytest.approx(0.001)
    assert "StochasticBinarisation" not in {type(layer).__name__ for layer in vae.layers}
    assert options.parse_args(["--recipe", "author"]).recipe == RECIPES["author"]


@pytest.mark.slow
def test_load_draws_the_pictures_of_a_trained_model(finished, small_npz, tmp_path):
    output, record = finished
    assert run_command(f"--seed 5 --load {output / 'vae.keras'}", small_npz, tmp_path) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {*FILES} - {"training_curves.png", "replay.npz", "vae.keras"}
    )
    loaded = json.loads((tmp_path / "metrics.json").read_text())
    assert loaded["epochs"] == 0
    assert loaded["model"] == "vae.keras"
    assert loaded["held_out"]["elbo"] == pytest.approx(record["held_out"]["elbo"], rel=1e-5)
    for name in ("latent_scatter.png", "reconstructions.png"):
        assert (tmp_path / name).read_bytes() == (output / name).read_bytes(), "the same seed draws the same"


@pytest.mark.slow
def test_load_with_epochs_trains_the_model_further(finished, small_npz, tmp_path, capsys):
    """With another recipe than its own, into a folder below its own: its file stays as it is."""
    output = shutil.copytree(finished[0], tmp_path / "run")
    content = (output / "vae.keras").read_bytes()
    line = f"--load {output / 'vae.keras'} --recipe author --epochs 2 --batch-size 50 --seed 5 --evidence-images 0"
    assert run_command(line, small_npz, output) == 0
    assert "vae.keras has noise on its input, unlike --recipe author, and stays as it is.\n" in capsys.readouterr().out
    assert (output / "vae.keras").read_bytes() == content
    further = output / "loaded"
    assert sorted(path.name for path in further.iterdir()) == FILES
    record = json.loads((further / "metrics.json").read_text())
    assert record["started_from"] == {"model": "vae.keras", "sha256": hashlib.sha256(content).hexdigest()}
    assert (record["model"], record["epochs"], len(record["history"]["loss"])) == (None, 2, 2)
    recipe = RECIPES["author"]._asdict() | {"epochs": 2, "batch_size": 50, "binarised_input": True}
    assert record["settings"] == {"recipe": recipe, "latent_dim": 2, "hidden_dim": 16}
    assert shown(further)["origin"] == "trained on small.npz; going on from vae.keras"

    before, after = (vae_mnist.load_vae(folder / "vae.keras") for folder in (output, further))
    x = data.load_data(small_npz).x_test
    replay = Replay.load(further / "replay.npz")
    np.testing.assert_allclose(replay.z[0], encode(before, x)[0], atol=0.01)  # it began with the weights of the file
    assert np.abs(encode(after, x)[0] - encode(before, x)[0]).max() > 0.01
    assert (type(after.optimizer).__name__, int(after.optimizer.iterations)) == ("Adam", 2 * 200 / 50)
    assert "StochasticBinarisation" in {type(layer).__name__ for layer in after.layers}


def shown(output):
    """What the explorer in a folder was filled with."""
    page = (output / "explorer.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="contents">(.*?)</script>', page)[1])


@pytest.mark.slow
def test_explorer_holds_the_model_and_the_replay_beside_it(finished, small_npz, tmp_path):
    output, record = finished
    trained = shown(output)
    kernel = np.frombuffer(base64.b64decode(trained["layers"]["decoder_h"]["kernel"]), "<f4").reshape(2, 16)
    vae = vae_mnist.load_vae(output / "vae.keras")
    np.testing.assert_array_equal(kernel, vae.get_layer("decoder").get_layer("decoder_h").kernel)
    assert trained["origin"] == "trained on small.npz"
    assert trained["replay"]["moments"] == pytest.approx([0, 0.25, 0.5, 0.75, 1, 2]), "four steps an epoch"
    assert trained["replay"]["losses"][-2:] == pytest.approx(record["history"]["val_loss"]), "the numbers of the record"

    assert run_command(f"--load {output / 'vae.keras'} --evidence-images 0", small_npz, tmp_path / "loaded") == 0
    loaded = shown(tmp_path / "loaded")
    assert loaded["layers"] == trained["layers"]
    assert loaded["replay"]["moments"] == trained["replay"]["moments"]
    for name in ("vae.keras", "replay.npz"):
        shutil.copy(output / name, tmp_path)
    (tmp_path / "metrics.json").write_text(json.dumps(record | {"classes": ["shirt", "shoe"]}))
    assert run_command(f"--load {tmp_path / 'vae.keras'} --evidence-images 0", small_npz, tmp_path / "others") == 0
    assert shown(tmp_path / "others")["replay"] is None, "its codes would have the names of digits"


@pytest.mark.slow
def test_other_latent_sizes_run_and_say_what_they_leave_out(small_npz, tmp_path, capsys):
    line = "--epochs 1 --hidden-dim 8 --latent-dim 3 --evidence-images 0"
    assert run_command(line, small_npz, tmp_path) == 0
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == sorted({*FILES} - {"latent_scatter.png", "manifold.png"})
    assert json.loads((tmp_path / "metrics.json").read_text())["evidence"] is None
    assert "two latent dimensions" in capsys.readouterr().out


RECORD = {
    "dataset": "MNIST",
    "stopped": None,
    "held_out": {"elbo": -147.5, "reconstruction_loss": 141.25, "kl_loss": 6.25},
    "evidence": {
        "images": 1000,
        "elbo": -146.0,
        "importance_weighted": -144.0,
        "importance_samples": 100,
        "exact": -140.5,
    },
}


def test_summary_gives_each_number_its_own_name(tmp_path):
    lines = console.summary(RECORD, [tmp_path / "manifold.png"])
    assert lines == [
        "Held-out ELBO -147.50 nats per image = -(reconstruction loss 141.25 + KL loss 6.25), MNIST",
        "The first 1,000 of them: ELBO -146.00, importance-weighted log p(x) -144.00 (100 samples), "
        "exact log p(x) -140.50; the gap of 5.50 nats is KL(q(z|x) || p(z|x))",
        f"Wrote {tmp_path / 'manifold.png'}",
    ]
    unresolved = RECORD | {"evidence": RECORD["evidence"] | {"exact": None}}
    assert console.summary(unresolved, [])[1].endswith("(100 samples)")


@pytest.mark.slow
def test_console_in_another_process_agrees_with_the_record(small_npz, tmp_path, run_python):
    """What a user reads: each number is that of the record, under its own name, and every file is named."""
    line = f"--data {small_npz} --epochs 2 --hidden-dim 8 --output out"
    done = run_python(vae_mnist.__file__, *line.split(), own_process=True)
    assert (done.returncode, done.stderr) == (0, "")
    record = json.loads((tmp_path / "out" / "metrics.json").read_text())
    lines = done.stdout.splitlines()
    backend = keras.backend.backend()
    version = devices.describe()["versions"][backend]
    assert lines.pop(0) == f"Starting Keras on {startup.BACKENDS[backend]}, which takes some seconds."
    assert lines[0] == f"Keras {keras.__version__} on {backend} {version}, {record['device']}"
    assert lines[1] == "small.npz: 200 training and 60 held-out images"
    epochs = [line for line in lines if "kl_loss" in line]
    for i, epoch in enumerate(epochs):
        printed = {name: float(value) for name, value in re.findall(r"(\w+): ([\d.e-]+)", epoch)}
        assert printed == pytest.approx({name: values[i] for name, values in record["history"].items()}, abs=1e-3)
    assert len(epochs) == 2
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d\d", lines[-3])]
    held_out = record["held_out"]
    assert numbers == pytest.approx([held_out[key] for key in ("elbo", "reconstruction_loss", "kl_loss")], abs=0.006)
    known = record["evidence"]
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d\d", lines[-2])]
    expected = [known["elbo"], known["importance_weighted"], known["exact"], known["exact"] - known["elbo"]]
    assert numbers == pytest.approx(expected, abs=0.006)
    assert lines[-1] == "Wrote " + ", ".join(f"out/{name}" for name in FILES)


WITHOUT_KERAS = """
import runpy, sys
class Heavy:
    @staticmethod
    def find_spec(name, *rest):
        if name.partition(".")[0] in ("keras", "tensorflow", "jax", "torch", "numpy", "matplotlib"):
            sys.exit(f"{name} was imported")
sys.meta_path.insert(0, Heavy)
script, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = script
sys.path.insert(0, script.rpartition("/")[0])
runpy.run_path(script, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("line", "status", "printed"),
    [
        ("--help", 0, "usage: vae_mnist.py"),
        ("--version", 0, rf"vae_mnist [\d.]+ \(Python [\d.]+, keras {re.escape(keras.__version__)}, [tj]"),
        ("--epochs 0", 2, "vae_mnist: argument --epochs: must be a whole number from 1 to 1,000,000, not '0' .*\n$"),
    ],
)
def test_options_are_answered_before_anything_heavy_is_imported(line, status, printed, run_python):
    done = run_python("-c", WITHOUT_KERAS, vae_mnist.__file__, *line.split(), own_process=True)
    assert done.returncode == status
    assert re.match(printed, done.stdout or done.stderr)


def test_the_script_without_its_folder_says_what_is_missing(run_python, tmp_path):
    shutil.copy(vae_mnist.__file__, tmp_path)
    done = run_python("vae_mnist.py", PYTHONPATH="", own_process=True)
    sentence = "vae_mnist: the folder seevae/ is missing beside this script: fetch the whole project.\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)


def test_main_in_a_notebook_does_not_read_the_options_of_the_kernel(monkeypatch):
    given = []
    monkeypatch.setattr(vae_mnist, "run", lambda args: given.append(args))
    monkeypatch.setattr("sys.argv", ["ipykernel_launcher.py", "-f", "kernel-123.json"])
    assert vae_mnist.main() == 0
    assert vars(given[0]) == vars(options.parse_args([]))


@pytest.mark.slow
def test_without_network_the_sample_is_used_and_named_everywhere(run_python, tmp_path):
    """The command as a user gives it, in another process with an empty HOME; nothing on stderr, full set untouched."""
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "metrics.json").write_text('{"dataset": "MNIST"}')
    (figures / "manifold.png").write_bytes(b"the picture of the full set")
    done = run_python(vae_mnist.__file__, *["--epochs", "1", "--hidden-dim", "8", "--evidence-images", "20"])
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "MNIST could not be downloaded" in done.stdout
    assert "MNIST sample, 5,000 images: 4,000 training and 1,000 held-out" in done.stdout
    assert (figures / "manifold.png").read_bytes() == b"the picture of the full set"
    assert json.loads((figures / "sample" / "metrics.json").read_text())["dataset"] == "MNIST sample, 5,000 images"
    assert sorted(path.name for path in (figures / "sample").iterdir()) == FILES


WHOLE, NO_EFFECT, UNKNOWN = "must be a whole number from", "has no effect", "unrecognized arguments"
BAD_OPTIONS = [
    *((f"--epochs {n}", f"{WHOLE} 1 to 1,000,000, not '{n}'") for n in ("0", "-1", "1.5", "many", "1000001")),
    *((f"--batch-size {n}", f"{WHOLE} 1 to 65,536, not '{n}'") for n in (0, 65537)),
    *((f"--latent-dim {n}", f"{WHOLE} 1 to 1,024, not '{n}'") for n in (0, 1025)),
    *((f"--hidden-dim {n}", f"{WHOLE} 1 to 16,384, not '{n}'") for n in (-3, 16385)),
    *((f"--seed {n}", f"{WHOLE} 0 to 2,147,483,647, not '{n}'") for n in (-1, 2147483648)),
    *((f"--learning-rate {n}", f"must be a number above 0, not '{n}'") for n in ("0", "-0.1", "nan", "inf")),
    *((f"--load x.keras {option}", NO_EFFECT) for option in ("--batch-size 5", "--learning-rate 0.1", "--resume")),
    *((f"--load x.keras {option}", NO_EFFECT) for option in ("--recipe author", "--latent-dim 3")),
    ("--load x.keras --epochs 3 --latent-dim 3", f"of --load has its own sizes, so --latent-dim {NO_EFFECT}"),
    ("--evidence-images -1", f"{WHOLE} 0 to 1,000,000,000, not '-1'"),
    ("--recipe hers", "invalid choice: 'hers'"),
    *((option, UNKNOWN) for option in ("--no-such-option", "--ep 3")),
]


@pytest.mark.parametrize(("line", "words"), BAD_OPTIONS)
def test_bad_options_end_with_one_sentence_and_status_2(line, words, capsys):
    with pytest.raises(SystemExit) as stopped:
        vae_mnist.main(line.split())
    assert stopped.value.code == 2
    assert re.fullmatch(rf"vae_mnist: [^\n]*{re.escape(words)}[^\n]* \(see --help\)\n", capsys.readouterr().err)


BAD_RUNS = {  # case: (options, a word that the message holds)
    "no folder": ("--output {folder}/a_file", "--output"),
    "below a file": ("--output {folder}/a_file/below", "--output"),
    "a folder in the way": ("--output {folder}/blocked", "vae.keras (it is a folder)"),
    "a long name": (f"--output {{folder}}/{'x' * 300}", "(File name too long)"),
    "a NUL": ("--output {folder}/x\0", "(embedded null byte)"),
    "no data": ("--data {folder}/text.keras", "not a readable file of images"),
    "missing data": ("--data {folder}/none.npz", "no data file"),
    "beside the images": ("--data {folder}/images --output {folder}/images/out", "the next would read them"),
    "missing model": ("--load {folder}/none.keras", "no model file"),
    "no model": ("--load {folder}/text.keras", "no VAE"),
}


@pytest.mark.parametrize(("line", "word"), BAD_RUNS.values(), ids=BAD_RUNS)
def test_bad_input_ends_with_one_sentence_status_2_and_nothing_trained(
    line, word, tmp_path, small_npz, capsys, monkeypatch
):
    monkeypatch.setattr(vae_mnist, "train", lambda *a, **k: pytest.fail("trained before the input was checked"))
    (tmp_path / "text.keras").write_text("no model")
    (tmp_path / "a_file").write_text("no folder")
    (tmp_path / "blocked" / "vae.keras").mkdir(parents=True)
    (tmp_path / "images").mkdir()
    shutil.copy(small_npz, tmp_path / "images")
    before = {*tmp_path.rglob("*")}
    monkeypatch.chdir(tmp_path)  # where figures/ would be
    assert vae_mnist.main(["--data", str(small_npz), *line.format(folder=tmp_path).split()]) == 2
    assert re.fullmatch(rf"vae_mnist: [^\n]*{re.escape(word)}[^\n]*\n", capsys.readouterr().err)
    assert (tmp_path / "a_file").read_text() == "no folder"
    assert {*tmp_path.rglob("*")} == before, "no empty folder is left"


def test_diverging_training_loses_nothing(small_npz, capsys, tmp_path, eagerly):
    kept = {name: name.encode() for name in FILES} | {"metrics.json": b'{"model": null, "full_mnist": false}'}
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    assert run_command("--epochs 1 --hidden-dim 8 --learning-rate 1e30", small_npz, tmp_path) == 2
    assert re.fullmatch(r"vae_mnist: Training diverged in epoch 1, .*--learning-rate.*\n", capsys.readouterr().err)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept


def test_a_model_whose_codes_cannot_be_drawn_gives_no_files(small_npz, capsys, tmp_path):
    vae = build(RECIPES["default"], 100, hidden_dim=8)
    vae.get_layer("encoder").get_layer("z_mean").bias.assign([0, -120])
    vae.save(tmp_path / "far.keras")
    (tmp_path / "out").mkdir()
    assert run_command(f"--load {tmp_path / 'far.keras'}", small_npz, tmp_path / "out") == 2
    assert "this model's weights or codes are far too large" in capsys.readouterr().err
    assert [*(tmp_path / "out").iterdir()] == []


def test_help_shows_each_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as stopped:
        vae_mnist.main(["--help"])
    assert stopped.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    described = dict(re.findall(r"--([\w-]+) (?:[A-Z_]+|\{[\w,]+\}) (.*?\))(?= -|$)", text.split("help message")[1]))
    defaults = {option: re.search(r"\(default: (.*)\)", words)[1] for option, words in described.items()}
    ours, author = RECIPES["default"], RECIPES["author"]
    assert defaults == {
        "data": "mnist",
        "recipe": "default",
        "epochs": f"{ours.epochs}; author: {author.epochs}",
        "batch-size": f"{ours.batch_size}",
        "learning-rate": f"{ours.learning_rate}; author: {author.learning_rate}",
        "latent-dim": "2",
        "hidden-dim": "256",
        "seed": "0",
        "evidence-images": "1000",
        "output": "figures, or a folder below it for other data",
        "load": "a new model",
    }
