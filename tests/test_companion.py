"""notebooks/README.md, the learner's companion: its links and numbers, and its snippets, run as a reader runs them."""

import ast
import json
import math
import re
import sys

import keras
import matplotlib.image
import numpy as np
import pytest
from conftest import ROOT, decode, encode, learn
from PIL import Image

import vae_mnist
from seevae.images import data
from seevae.results import pictures
from seevae.training.recipes import RECIPES

sys.path.insert(0, str(ROOT / "notebooks"))
import lab

FOLDER = ROOT / "notebooks"
PAGE = (FOLDER / "README.md").read_text()
ONE_LINE = " ".join(PAGE.split())
AUTHOR = 150.44  # nats per image: the author's notebook, epoch 50


def blocks(heading, language="python"):
    """The code blocks of the page below a heading, as far as the next heading."""
    section = re.search(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", mask_code(PAGE), flags=re.M | re.S)
    return re.findall(rf"```{language}\n(.*?)```", PAGE[section.start() : section.end()], flags=re.S)


def mask_code(text):
    """The text with each # inside a code block replaced, so that what starts with one is a heading."""
    return re.sub(r"```.*?```", lambda code: code[0].replace("#", "."), text, flags=re.S)


def changed(program, change):
    """The program with a change applied as the page states it: lines with - go, lines with + come in their place."""
    pairs = re.findall(r"((?:^-.*\n)+)((?:^\+.*\n)+)", change, flags=re.M)
    assert sum(part.count("\n") for pair in pairs for part in pair) == change.count("\n"), "no line is left over"
    for old, new in pairs:
        old, new = (re.sub(r"^.", "", part, flags=re.M) for part in (old, new))
        assert program.count(old) == 1, old
        program = program.replace(old, new)
    return program


(BLOCK,) = blocks("Build your own")
BETA, DENOISING, CONVOLUTIONS, CONDITION, COLOURS, WARM_UP = blocks("Build your own", "diff")
(BEGIN, KL_OF_EACH), (ANY_ARRAY,), (WALK,) = map(
    blocks, ("The KL of each latent", "Other images", "A place, and a walk")
)


# ---------------------------------------------------------------------------------------------------------------
# Build your own
# ---------------------------------------------------------------------------------------------------------------

# Runs {name}.py for each name, with the images of a file as Keras's own, and leaves what it `found` in {name}.npz.
RUN = """
import sys
import keras
import numpy as np

given = np.load(sys.argv[1])
parts = tuple((given[f"x_{part}"], given[f"y_{part}"]) for part in ("train", "test"))
keras.datasets.mnist.load_data = keras.datasets.cifar10.load_data = lambda: parts
for name in sys.argv[2:]:
    keras.utils.set_random_seed(0)
    made = {"np": np}
    exec(open(f"{name}.py").read(), made)
    np.savez(name, loss=made["vae"].history.history["loss"], new=made["new"], **made["found"])
"""
FOUND = """
given = ops.convert_to_numpy(globals().get("told_test", x_test))  # with the label, where it is a condition
found = {"x": x_test}
for key, model in (("x_hat", vae), ("x_hat_again", again)):
    z_mean, z_log_var = model.get_layer("encoder").predict(given, verbose=0)
    codes = np.concatenate([z_mean, given[:, 784:]], axis=1)
    found |= {"z_mean": z_mean, "z_log_var": z_log_var, key: model.get_layer("decoder").predict(codes, verbose=0)}
found["reconstruction"] = ops.convert_to_numpy(reconstruction_loss(x_test, found["x_hat"]))
vae(given)
found["kl"] = [float(loss) for loss in vae.losses]
"""
TOLD = """
codes = np.concatenate([np.zeros((10, 2)), np.eye(10)], axis=1)
found["told"] = again.get_layer("decoder").predict(codes, verbose=0)
"""
EVALUATED = """
rng = np.random.default_rng(0)  # the same weights in both programs, and, just loaded, the same noise
again.set_weights([rng.normal(0, 0.1, weight.shape) for weight in again.get_weights()])
found["evaluated"] = again.evaluate(x_test, x_test, batch_size=len(x_test), verbose=0)
"""


@pytest.fixture
def run_blocks(run_python, small_npz, tmp_path):
    """Run programs, {name: text}, in one other process; returns what each made, {name: arrays}."""

    def run(programs, images=small_npz, **how):
        for name, text in {"run": RUN, **programs}.items():
            (tmp_path / f"{name}.py").write_text(text)
        done = run_python("run.py", images, *programs, **how)
        assert done.returncode == 0, done.stderr
        return {name: dict(np.load(tmp_path / f"{name}.npz")) for name in programs}

    return run


def kl_of_each(made):
    """KL(N(z_mean, exp(z_log_var)) || N(0, I)) of each latent, the mean: 0.5 * (m^2 + s^2 - log s^2 - 1)."""
    mean, log_var = made["z_mean"].astype("float64"), made["z_log_var"].astype("float64")
    return (0.5 * (mean**2 + np.exp(log_var) - log_var - 1)).mean(axis=0)


def closed_form(made):
    """The KL loss, summed over the latents."""
    return kl_of_each(made).sum()


def check(made, beta=1):
    """What holds for the block and for each change of it."""
    assert np.isfinite(made["loss"]).all()
    assert made["loss"][-1] < 0.95 * made["loss"][0]
    assert made["new"].shape == (10, 784)
    np.testing.assert_array_equal(made["x_hat"], made["x_hat_again"], "the loaded model is the saved one")
    x, x_hat = made["x"].astype("float64"), np.clip(made["x_hat"].astype("float64"), 1e-7, 1 - 1e-7)
    by_hand = -(x * np.log(x_hat) + (1 - x) * np.log(1 - x_hat)).sum(axis=1)
    np.testing.assert_allclose(made["reconstruction"], by_hand, rtol=1e-4)
    np.testing.assert_allclose(made["kl"], [beta * closed_form(made)], rtol=1e-4)


def check_loads_here(path, made):
    """In this process the file loads once its three definitions are registered, as the page says."""
    with pytest.raises((TypeError, ValueError), match=r"sample_latent|AddKLLoss|reconstruction_loss"):
        keras.models.load_model(path)
    definitions = [node for node in ast.parse(BLOCK).body if getattr(node, "decorator_list", [])]
    assert len(definitions) == 3
    known = dict(keras.saving.get_custom_objects())
    try:
        module = ast.unparse(ast.Module(definitions, []))
        exec(module, {"keras": keras, "layers": keras.layers, "ops": keras.ops})
        loaded = keras.models.load_model(path)
    finally:
        keras.saving.get_custom_objects().clear()
        keras.saving.get_custom_objects().update(known)
    np.testing.assert_allclose(decode(loaded, encode(loaded, made["x"])[0]), made["x_hat"], atol=1e-4)


def check_beta(plain, with_beta):
    """The same weights and noise: the loss differs by three times the KL, and the reconstruction loss not at all."""
    loss, reconstruction = plain["evaluated"]
    loss_with_beta, same_reconstruction = with_beta["evaluated"]
    kl = loss - reconstruction
    assert kl > 1
    np.testing.assert_allclose(same_reconstruction, reconstruction, rtol=1e-5)
    np.testing.assert_allclose(loss_with_beta - loss, 3 * kl, rtol=1e-3)


def check_condition(told):
    """The pictures (10, 784) of one z, told the digits 0 to 9, all differ; a 1 takes less ink than a 0."""
    assert told.shape == (10, 784)
    assert min(np.abs(told[i] - told[j]).max() for i in range(10) for j in range(i)) > 0.02
    assert told[1].sum() < told[0].sum()


@pytest.mark.slow
def test_block(run_blocks, tmp_path):
    made = run_blocks({"block": BLOCK + FOUND})["block"]
    check(made)
    check_loads_here(tmp_path / "my_vae.keras", made)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_warm_up_and_free_bits(backend, run_blocks):
    """At the end the weight is 1, and each latent costs its KL, but what is free at least: 0.1 nats, or 50 here."""
    pytest.importorskip(backend)
    text = changed(BLOCK, WARM_UP) + FOUND
    made = run_blocks({"warm": text, "free": text.replace("(kl, 0.1)", "(kl, 50.0)")}, KERAS_BACKEND=backend)
    for name, free in (("warm", 0.1), ("free", 50)):
        each = kl_of_each(made[name])
        np.testing.assert_allclose(made[name]["kl"], [np.maximum(each, free).sum()], rtol=1e-4)


@pytest.mark.slow
def test_block_and_its_changes(run_blocks, tmp_path):
    programs = {
        "unscaled": BLOCK.replace(" / 255", "") + FOUND,
        "convolutions": changed(BLOCK, CONVOLUTIONS) + FOUND,
        "condition": changed(BLOCK, CONDITION) + FOUND + TOLD,
        "beta": changed(BLOCK, BETA) + FOUND + EVALUATED,
        "block": BLOCK + FOUND + EVALUATED,
    }
    made = run_blocks(programs)
    assert "pixels up to 255 do that in the first epoch" in ONE_LINE
    assert np.isnan(made.pop("unscaled")["loss"]).all()
    for name in made:
        check(made[name], beta=4 if name == "beta" else 1)
    check_beta(made["block"], made["beta"])
    check_condition(made["condition"]["told"])
    check_loads_here(tmp_path / "my_vae.keras", made["block"])


DENOISED = """
assert vae.losses == [] and again.get_layer("encoder").output_shape == (None, 2)
found = {f"pass_{i}": ops.convert_to_numpy(vae(x_test, training=i > 0)) for i in range(3)}
found["again"] = again.predict(x_test)
"""


@pytest.mark.slow
def test_a_denoising_autoencoder_has_fresh_noise_in_training_alone(run_blocks):
    made = run_blocks({"denoising": changed(BLOCK, DENOISING) + DENOISED})["denoising"]
    assert made["loss"][-1] < 0.95 * made["loss"][0]
    assert made["new"].shape == (10, 784)
    np.testing.assert_allclose(made["again"], made["pass_0"], atol=1e-5)
    first, second = (np.abs(made[f"pass_{i}"] - made[f"pass_{j}"]).max() for i, j in ((0, 1), (1, 2)))
    assert min(first, second) > 1e-3


@pytest.mark.slow
def test_block_on_jax(run_blocks, tmp_path):
    pytest.importorskip("jax")
    made = run_blocks({"block": BLOCK + FOUND}, own_process=True, KERAS_BACKEND="jax")["block"]
    check(made)
    check_loads_here(tmp_path / "my_vae.keras", made)


COLOURED = """
x_hat = vae.predict(x_test, verbose=0)
by_hand = ((x_test - x_hat) ** 2).sum(axis=1) / 0.1  # of a Gaussian whose variance is 0.05, without its constant
found = {"x_hat": x_hat, "by_hand": by_hand, "found": ops.convert_to_numpy(reconstruction_loss(x_test, x_hat))}
"""


@pytest.mark.slow
def test_colours_of_another_size(run_blocks, tmp_path):
    """120 images of one colour each."""
    shades = np.random.default_rng(0).integers(0, 256, (120, 1, 1, 3)).astype("uint8")
    x = np.broadcast_to(shades, (120, 32, 32, 3))
    np.savez(tmp_path / "shades", x_train=x[:100], x_test=x[100:], y_train=np.zeros(100), y_test=np.zeros(20))
    made = run_blocks({"colours": changed(BLOCK, COLOURS) + COLOURED}, tmp_path / "shades.npz")["colours"]
    assert (made["x_hat"].shape, made["new"].shape) == ((20, 3072), (10, 3072))
    np.testing.assert_allclose(made["found"], made["by_hand"], rtol=1e-4)
    assert made["loss"][-1] < made["loss"][0] < 3072


def test_block_is_short_and_needs_keras_alone():
    assert BLOCK.count("\n") <= 40
    assert "a variational autoencoder in 40 lines that you can change" in ONE_LINE
    imported = [node for node in ast.walk(ast.parse(BLOCK)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [getattr(node, "module", None) or node.names[0].name for node in imported] == ["keras", "keras"]


# ---------------------------------------------------------------------------------------------------------------
# The other snippets
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_snippets_run_and_do_what_they_say(run_python, trained, sample, tmp_path):
    vae, _ = trained
    (tmp_path / "figures").mkdir()
    vae.save(tmp_path / "figures" / "vae.keras")
    programs = [BEGIN, KL_OF_EACH, WALK, ANY_ARRAY]
    (tmp_path / "snippets.py").write_text("\n".join(programs))
    done = run_python("snippets.py")
    assert done.returncode == 0, done.stderr

    printed = re.findall(r"\[(\d[\d. e+-]*)\]", done.stdout)[-1]
    each = [float(number) for number in printed.split()]
    assert len(each) == 2
    assert math.isclose(sum(each), vae_mnist.evaluate_elbo(vae, sample.x_test)["kl_loss"], rel_tol=1e-4)

    steps = np.linspace(0, 1, 12)[:, None]
    walk = decode(vae, (1 - steps) * [0.6, -1.8] + steps * [0.4, 2.0])
    drawn = matplotlib.image.imread(tmp_path / "walk.png")
    assert drawn.shape == (28, 12 * 28, 4)
    ink = pictures.tile(walk[None])
    assert np.corrcoef(1 - drawn[..., 0].ravel(), ink.ravel())[0, 1] > 0.95  # Greys: dark where there is ink
    np.testing.assert_array_equal(matplotlib.image.imread(tmp_path / "digit.png"), drawn[:, -28:])

    small = data.load_data(tmp_path / "small.npz")
    assert (small.x_train.shape, small.x_test.shape, small.classes) == ((1498, 784), (299, 784), data.DIGITS)
    inked = [images[:].mean() for images in (small.x_train, small.x_test)]
    assert inked == pytest.approx([0.305, 0.305], abs=0.01), "the mean of scikit-learn's digits is 4.88 of 16"


SEVENS, PICTURE, EXPORT = (
    blocks(rf"How do I {what}\?")[0]
    for what in ("draw a 7", "put a picture of my own through it", "use it in another program")
)
WITHOUT_US = """
import json
import keras
import numpy as np

try:
    keras.models.load_model("figures/vae.keras")
except TypeError:
    print(json.dumps(keras.models.load_model("decoder.keras").predict(np.eye(2), verbose=0).tolist()))
"""


@pytest.fixture
def asked(trained, sample, tmp_path, monkeypatch):
    """The names that a reader has after the lines of the walk, in a folder with a trained model."""
    (tmp_path / "figures").mkdir()
    trained[0].save(tmp_path / "figures" / "vae.keras")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "load_data", lambda: sample)
    made = {}
    exec(BEGIN + WALK, made)
    return made


def test_a_digit_is_drawn_from_where_the_encoder_puts_it(asked, sample, tmp_path):
    exec(SEVENS, asked)
    assert asked["drawn"].shape == (12, 784)
    z_mean, z_log_var = encode(asked["vae"], sample.x_test[sample.y_test == 7])
    np.testing.assert_allclose(asked["drawn"][:1], decode(asked["vae"], z_mean.mean(axis=0)[None]), atol=1e-4)
    noise = (asked["draws"] - z_mean[0]) / np.exp(z_log_var[0] / 2)  # eleven draws of N(0, I)
    np.testing.assert_allclose(noise, np.random.default_rng(0).standard_normal((11, 2)), atol=1e-3)
    assert np.corrcoef(asked["drawn"][1:]).min() > 0.8, "look alike"
    assert matplotlib.image.imread(tmp_path / "sevens.png").shape == (28, 12 * 28, 4)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_drawn_is_a_7(seed, asked, sample):
    """After eight epochs: most of the real digits that look most like it are 7s."""
    vae_mnist.keras.utils.set_random_seed(seed)
    recipe = RECIPES["default"]._replace(epochs=8)
    asked["vae"], _ = learn(recipe, sample.x_train, hidden_dim=64, seed=seed)
    asked["decoder"] = asked["vae"].get_layer("decoder")
    exec(SEVENS, asked)
    nearest = np.argsort(((sample.x_train[:] - asked["drawn"][0]) ** 2).sum(axis=1))[:15]
    assert np.bincount(sample.y_train[nearest], minlength=10).argmax() == 7


def test_a_picture_of_ones_own_goes_through_the_network(asked, sample, tmp_path):
    """Dark on light, transparent, and with 16 bits: each comes as the digit it shows."""
    x = sample.x_test[7]
    ink = Image.fromarray((255 * x.reshape(28, 28)).astype("uint8")).resize((112, 112), Image.Resampling.NEAREST)
    values = np.asarray(ink)
    black = np.zeros_like(values)
    pictures_of_it = {
        "dark on light inverted": Image.fromarray(255 - values),
        "transparent places made white": Image.fromarray(np.stack([black, black, black, values], axis=-1)),
        "values to 65,535 taken as 0 to 65,535": Image.fromarray(257 * values.astype("uint16")),
    }
    for what, picture in pictures_of_it.items():
        picture.save(tmp_path / "my_picture.png")
        exec(PICTURE, asked)
        assert what in asked["done"]
        np.testing.assert_allclose(asked["x"], x[None], atol=1 / 255)
        np.testing.assert_allclose(asked["z_mean"], encode(asked["vae"], x[None])[0], atol=0.1)
        assert matplotlib.image.imread(tmp_path / "pair.png").shape == (28, 2 * 28, 4)


def test_a_latent_moves_and_all_are_mapped(asked, sample, tmp_path):
    """Of three latents: one image, whose first goes from -3 to 3; and the two widest axes of PCA."""
    made = {}
    exec(BEGIN, made)
    made["vae"] = vae_mnist.build_vae(latent_dim=3)
    exec(blocks("More latents")[0], made)
    z_mean = encode(made["vae"], sample.x_test)[0]
    expected = [[first, *z_mean[0, 1:]] for first in (-3, 3)]
    np.testing.assert_allclose(made["codes"][[0, -1]], expected, atol=1e-4)
    variances = np.linalg.eigvalsh(np.cov(z_mean.T))[:0:-1]  # of the axes of PCA, falling
    np.testing.assert_allclose(np.cov(made["flat"].T), np.diag(variances), atol=1e-4)
    assert matplotlib.image.imread(tmp_path / "traversal.png").shape == (28, 12 * 28, 4)
    assert (tmp_path / "map.png").stat().st_size > 1000


@pytest.mark.slow
def test_log_p_is_estimated_and_the_nearest_training_image_found(asked, sample, tmp_path):
    (program,) = blocks(r"How do I estimate log p\(x\), and does it copy\?")
    exec(program.replace("[:1000], samples=1000", "[:20], samples=200"), asked)
    exact = lab.log_evidence(asked["decoder"], sample.x_test[:20], tolerance=0.01)
    elbo = -sum(
        part.mean(axis=0) for part in vae_mnist.elbo_terms(asked["vae"], sample.x_test[:20], samples=200)
    ).mean()
    assert elbo < asked["log_p"].mean() < exact.mean() + 0.1
    to_each = np.linalg.norm(sample.x_train[:][None] - asked["new"][:3, None], axis=-1)  # (3, n)
    np.testing.assert_array_equal(asked["nearest"][:3], sample.x_train[:][to_each.argmin(axis=1)])
    assert matplotlib.image.imread(tmp_path / "nearest.png").shape == (2 * 28, 10 * 28, 4)


def test_colour_pictures_of_a_folder_are_read(tmp_path, monkeypatch):
    (tmp_path / "photos" / "july").mkdir(parents=True)
    shades = np.random.default_rng(0).integers(0, 256, (12, 3))
    for i, shade in enumerate(shades):
        Image.new("RGB", (60, 40), tuple(map(int, shade))).save(tmp_path / "photos" / "july" / f"{i}.PNG")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    made = {}
    exec(blocks("Colour pictures of your own")[0], made)
    assert (made["x"].shape, made["x_test"].shape, made["x"].dtype) == ((10, 32, 32, 3), (2, 32, 32, 3), "uint8")
    read = np.concatenate([made["x"], made["x_test"]])
    assert sorted(map(tuple, read[:, 5, 7].tolist())) == sorted(map(tuple, shades.tolist()))
    assert (read == read[:, :1, :1]).all()


def test_a_model_of_ones_own_is_trained_in_code(sample, monkeypatch):
    monkeypatch.setattr(data, "load_data", lambda: sample._replace(x_train=sample.x_train[:300]))
    (program,) = blocks(r"How do I train it in my own code\?")
    made = {}
    exec(
        changed(
            program,
            '-recipe = RECIPES["default"]._replace(epochs=12)\n+recipe = RECIPES["default"]._replace(epochs=1)\n',
        ),
        made,
    )
    assert made["images"].shape == (300, 784)
    assert (len(made["history"]["loss"]), made["vae"].get_layer("encoder").output_shape[0]) == (1, (None, 2))


@pytest.mark.slow
def test_letters_are_compared_with_digits(asked, sample, capsys):
    """26 letters, each with ink of its own, in the middle; the printed numbers are those of log p(x)."""
    exec(blocks(r"Is this a digit\?")[0], asked)
    *letters, empty = asked["letters"]
    letters = np.stack(letters)
    assert (letters.shape, empty.any()) == ((26, 784), False)
    assert len({tuple(letter) for letter in letters}) == 26
    places = np.argwhere(letters.reshape(26, 28, 28) > 0.5)[:, 1:].mean(axis=0)
    np.testing.assert_allclose(places, 13.5, atol=1)
    ours, theirs = asked["digits_log_p"], asked["letters_log_p"]
    *expected, of_empty = lab.log_evidence(asked["decoder"], np.stack([*sample.x_test[:5], empty]), tolerance=0.001)
    np.testing.assert_allclose(ours[:5], expected, atol=0.1)
    share = np.mean([letter < digit for letter in theirs for digit in ours])
    printed = [float(number) for number in capsys.readouterr().out.split()[-5:]]
    assert printed == pytest.approx([np.median(theirs), np.median(ours), share, of_empty, ours.max()], abs=0.1)


@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated")
@pytest.mark.slow
def test_the_decoder_goes_elsewhere_and_the_whole_does_not(asked):
    """ONNX was tried by hand, with onnx 1.23.2, tf2onnx 1.17.0 and onnxruntime 1.32.0: its packages are not ours."""
    tf = pytest.importorskip("tensorflow")
    *lines, onnx = EXPORT.splitlines()
    assert 'format="onnx"' in onnx
    exec("\n".join(lines), asked)
    codes = np.eye(2, dtype="float32")
    expected = decode(asked["vae"], codes)

    def interpreted(path, **given):
        return next(iter(tf.lite.Interpreter(path).get_signature_runner()(**given).values()))

    np.testing.assert_allclose(interpreted("decoder.tflite", z=codes), expected, atol=1e-6)
    asked["vae"].export("whole.tflite", format="litert", verbose=False)
    with pytest.raises(RuntimeError, match="FlexStatelessRandom"):
        interpreted("whole.tflite", x=np.zeros((1, 784), "float32"))


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_plain_keras_loads_the_decoder_on_any_backend_and_not_the_whole(backend, asked, run_python):
    pytest.importorskip(backend)
    exec(EXPORT.splitlines()[0], asked)
    done = run_python("-c", WITHOUT_US, own_process=True, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), decode(asked["vae"], np.eye(2)), atol=1e-5)


def test_colab_runs_the_command_in_the_clone():
    (lines,) = blocks(r"How do I run it in Colab\?", "text")
    unpack, enter, install, run = lines.splitlines()
    assert unpack.removeprefix("!unzip -q ") == enter.removeprefix("%cd ") + ".zip"
    for line in (install, run):
        assert (ROOT / line.split()[-1]).exists(), line


# ---------------------------------------------------------------------------------------------------------------
# Links and numbers
# ---------------------------------------------------------------------------------------------------------------


def slugs(path):
    """The anchors that a Markdown file has on GitHub."""
    headings = re.findall(r"^#+ (.*)$", mask_code(path.read_text()), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere():
    definitions = dict(re.findall(r"^\[([^\]]+)\]: (\S+)$", PAGE, flags=re.M))
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.S)
    used = re.findall(r"\]\[([^\]]+)\]|\[(explorer)\](?![\[(:])", prose)
    assert {first or second for first, second in used} == set(definitions)
    targets = [*re.findall(r"\]\(([^)]+)\)", prose), *definitions.values()]
    assert len(targets) > 10
    for target in (target for target in targets if not target.startswith("https://")):
        name, _, anchor = target.partition("#")
        path = (FOLDER / name).resolve() if name else FOLDER / "README.md"
        assert path.exists(), target
        assert not anchor or anchor in slugs(path), target


def test_every_section_and_panel_it_names_exists():
    panels = re.findall(r"<h2[^>]*>(.*?)</h2>", (ROOT / "seevae" / "results" / "explorer" / "page.html").read_text())
    named = re.findall(r"\[explorer\], ([A-Z][^;,.)]*)", ONE_LINE)
    assert len(named) >= 3
    assert [name for name in named if name not in panels] == []
    for notebook, definition in (("intuition", "intuition"), ("side_notes", "side notes")):
        cells = json.loads((FOLDER / f"{notebook}.ipynb").read_text())["cells"]
        lines = [
            line for cell in cells if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).split("\n")
        ]
        headings = [line.removeprefix("## ").replace(".", "", 1) for line in lines if line.startswith("## ")]
        places = re.findall(rf"\[`{notebook}.ipynb`\]\[{definition}\], (\d [^);,]*)", ONE_LINE)
        sections = [section for place in places for section in re.split(r" and (?=\d)", place)]
        assert sections, notebook
        assert [name for name in sections if not any(heading.startswith(name) for heading in headings)] == []


def test_every_question_is_answered_and_leads_to_a_place():
    section = re.search(r"## Questions people ask\n(.*?)\n### The KL of each latent", PAGE, flags=re.S)[1]
    questions = re.findall(r"^- \*\*(.*?)\*\* (.*?)(?=^- |^###|\Z)", section, flags=re.M | re.S)
    assert len(questions) >= 45
    for question, answer in questions:
        assert question.endswith("?")
        assert "](" in answer or "][" in answer or "[explorer]" in answer, question


def test_authors_number_beside_the_five_seeds():
    runs = json.loads((ROOT / "benchmarks" / "seeds.json").read_text())["author"]["runs"]
    losses = [-run["held_out"]["elbo"] for run in runs]
    mean = sum(losses) / 5
    deviation = math.sqrt(sum((loss - mean) ** 2 for loss in losses) / 4)
    assert f"{AUTHOR} and `--recipe author` about {mean:.1f} on average?" in ONE_LINE
    assert (
        f"end between {min(losses):.1f} and {max(losses):.1f}, at {mean:.2f} on average, with a standard deviation of"
        f" {deviation:.2f}. His run lies among them, {(mean - AUTHOR) / deviation:.1f} standard deviations under"
    ) in ONE_LINE
    assert min(losses) < AUTHOR < max(losses)


def test_steps_of_the_manifold_are_as_it_says():
    z = pictures.prior_quantiles()
    middle, rim = np.diff(z).min(), np.diff(z).max()
    assert f"({z[0]:.2f} to {z[-1]:.2f})" in ONE_LINE
    assert f"{middle:.2f} wide in the middle and {rim:.2f} at the rim" in ONE_LINE


PAIR = re.compile(r"([-−]?\d[\d,]*(?:\.\d+)?) ± (\d[\d,]*(?:\.\d+)?)")


def pairs(text):
    """Each mean and its error in a text: [(mean, error)], as written."""
    return [tuple(part.replace("−", "-").replace(",", "") for part in pair) for pair in PAIR.findall(text)]


def test_every_mean_and_error_is_one_that_a_notebook_prints():
    """Rounded as the page has it. (The table of latents has a test of its own.)"""
    printed = []
    for name in ("intuition", "side_notes"):
        cells = json.loads((FOLDER / f"{name}.ipynb").read_text())["cells"]
        tables = [output["data"] for cell in cells for output in cell.get("outputs", []) if "data" in output]
        printed += pairs("\n".join("".join(table.get("text/markdown", "")) for table in tables))
    said = pairs(PAGE.partition("\n### More latents")[0])
    assert len(said) >= 8
    for pair in said:
        digits = [len(part.partition(".")[2]) for part in pair]
        rounded = [[f"{float(part):.{n}f}" for part, n in zip(known, digits, strict=True)] for known in printed]
        assert [*pair] in rounded, pair


def over_seeds(values, digits=1):
    """The mean of one value for each seed, and its standard error."""
    if len(set(values)) == 1 and isinstance(values[0], int):
        return f"{values[0]}"
    mean = sum(values) / len(values)
    error = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def table(record):
    """What the page says about more latents, as Markdown lines, from a record of benchmarks/claims.py."""
    runs = record["latents"]["runs"]
    columns = {
        "loss = -ELBO": "loss",
        "KL loss": "kl_loss",
        "importance-weighted log p(x), 1,000 images": "log_p",
        "latents used": "used",
    }
    lines = ["| latents | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for latents in sorted({run["latents"] for run in runs}):
        same = [run for run in runs if run["latents"] == latents]
        assert [run["seed"] for run in same] == [0, 1, 2]
        cells = [over_seeds([run[key] for run in same]) for key in columns.values()]
        lines.append(f"| {latents} | {' | '.join(cells)} |")
    return [
        "Three seeds of the default recipe, mean and standard error, held out, in nats per image. log p(x) is",
        "estimated from 1,000 draws of z: a lower bound, and so below the exact one of the [README][log p(x)].",
        "A latent counts as used when its KL is above 0.01 nats.",
        "",
        *lines,
        "",
        "![Ten held-out digits, and what comes back from 2, 5, 10 and 20 latents](../figures/latents.png)",
    ]


CLAIMS = json.loads((ROOT / "benchmarks" / "claims.json").read_text())


def test_table_of_latents_is_that_of_the_record():
    assert "\n".join(table(CLAIMS)) in PAGE


def test_table_of_jobs_is_that_of_the_record():
    """A row a model: the mean and the error over its seeds, redone here."""
    columns = {"clean": 1, "noisy": 1, "covariances": 2, "few_labels": 2, "letters": 2}
    runs = CLAIMS["jobs"]["runs"]
    for latents, kind in {(run["latents"], run["kind"]): None for run in runs}:
        same = [run for run in runs if (run["latents"], run["kind"]) == (latents, kind)]
        assert [run["seed"] for run in same] == [0, 1, 2]
        cells = [over_seeds([run[key] for run in same], digits) for key, digits in columns.items()]
        assert f"| {kind}, {latents} latents | {' | '.join(cells)} |".replace("-", "−") in PAGE
    (pixels,) = {f"{run['few_labels_pixels']:.2f}" for run in runs}
    assert f"| the pixels themselves | | | | {pixels} | |" in PAGE
