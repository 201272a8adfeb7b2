"""The arithmetic of the explorer against Keras and NumPy, in a real browser, on a page that holds no panels."""

import base64
import gzip
import http.server
import io
import json
import math
import re
import sys
import threading
import zipfile
import zlib

import keras
import numpy as np
import pytest
from conftest import ROOT, TWO_EPOCHS, decode, encode, gradients_of, learn
from explorer_pages import COLOURS, blank_page, until
from explorer_pages import replay as replay
from explorer_pages import visit as visit
from keras import ops
from PIL import Image, ImageDraw

import vae_mnist
from seevae.images import data
from seevae.images.converting import convert_images
from seevae.images.shapes import as_images, axes_of
from seevae.results import evidence, explorer
from seevae.results.explorer import kernel
from seevae.results.replay import Replay
from seevae.training.recipes import RECIPES

sys.path.insert(0, str(ROOT / "notebooks"))
import lab

SPACING = 0.05  # of the finest grid of the evidence here: q is so wide yet that it will do

BOOT = """
  const contents = JSON.parse(document.getElementById("contents").textContent);
  const { layers, epsilons, halfWidth } = contents;
  window.explorer = { model: new Model(unpackLayers(layers), epsilons), halfWidth };
"""


def without_panels(html, boot=BOOT):
    """The page of the scripts that compute, with their contents and their policy, and a few lines that start it."""
    texts = explorer.scripts()

    def with_needs(name):
        needed = re.match(r"// needs: (.*)", texts[f"{name}.js"])[1].split(", ")
        return {name}.union(*(with_needs(one) for one in needed if one != "nothing"))

    names = set().union(*map(with_needs, ("posterior", "aggregate", "own_images", "saving")))
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', html)[1]
    policy = policy.replace("script-src ", f"script-src {explorer.digest(boot)} ")
    contents = re.search(r'<script type="application/json" id="contents">.*?</script>', html, re.DOTALL)[0]
    scripts = "".join(f'<script id="{name}">{text}</script>' for name, text in texts.items() if name[:-3] in names)
    return (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<body>{contents}{scripts}<script id="boot.js">{boot}</script>'
    )


@pytest.fixture(scope="module")
def open_page(browser, tmp_path_factory):
    """Open such a page; what it says on the console, and its errors, are gathered in page.said."""

    def open_page(html, before=None, address=None, whole=False):
        path = tmp_path_factory.mktemp("page") / "engine.html"
        path.write_text(html if whole else without_panels(html), encoding="utf-8")
        page = blank_page(browser, before)
        page.goto(address(path) if address else path.as_uri())
        return page

    return open_page


@pytest.fixture(scope="module")
def trained(sample):
    """A VAE as in conftest.py, of a quarter of its units: a page computes its posterior in a quarter of the time."""
    vae_mnist.keras.utils.set_random_seed(0)
    return learn(TWO_EPOCHS, sample.x_train, sample.x_test, hidden_dim=64)


@pytest.fixture(scope="module")
def html(trained, sample, replay):
    return explorer.page(*vae_mnist.halves(trained[0]), sample, COLOURS, replay, origin="trained on the sample")


@pytest.fixture(scope="module")
def small_html(replay, sample):
    """The page of a model of 16 units, which trained for two epochs."""
    return explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS)


@pytest.fixture(scope="module")
def learner(open_page, html):
    """The page of the trained model, with its posterior on a fine grid."""
    page = open_page(html)
    page.evaluate(
        f"void preparePosterior(explorer.model, explorer.halfWidth, [{SPACING}], (ready) => explorer.posterior = ready)"
    )
    until(page, "explorer.posterior !== undefined")
    yield page
    assert page.said == [], "the console stays silent"


@pytest.fixture(scope="module")
def small(open_page, small_html):
    """The page of the small model."""
    page = open_page(small_html)
    yield page
    assert page.said == []


def in_page(page, x, body):
    """Run `body` in the page for each image of x (n, 784), as `image`; returns its results."""
    return page.evaluate(
        f"(images) => images.map((values) => {{ const image = Float32Array.from(values); {body} }})", x.tolist()
    )


@pytest.mark.slow
def test_encoder_decoder_and_kl_are_those_of_keras(learner, trained, sample):
    x = sample.x_test[:200]
    found = in_page(
        learner, x, "const q = explorer.model.encode(image);"
        "return { ...q, kl: klDivergence(q), decoded: [...explorer.model.decode(q.mean)] };",
    )  # fmt: skip
    z_mean, z_log_var = encode(trained[0], x)
    np.testing.assert_allclose([one["mean"] for one in found], z_mean, atol=1e-3)
    np.testing.assert_allclose([one["logVar"] for one in found], z_log_var, atol=1e-3)
    kl = ops.convert_to_numpy(vae_mnist.kl_divergence(z_mean, z_log_var))
    np.testing.assert_allclose([one["kl"] for one in found], kl, atol=1e-3)
    np.testing.assert_allclose([one["decoded"] for one in found], decode(trained[0], z_mean), atol=1e-3)


def keras_reconstruction(vae, x, epsilon, weights=None):
    """E_q[-log p(x|z)] of images x (n, 784) over draws epsilon (k, 2), with Keras; (n,)."""
    z_mean, z_log_var = encode(vae, x)
    z = z_mean[:, None] + np.exp(z_log_var / 2)[:, None] * epsilon  # (n, k, 2)
    x_hat = decode(vae, z.reshape(-1, 2)).reshape(*z.shape[:2], 784)
    loss = [
        ops.convert_to_numpy(vae_mnist.reconstruction_loss(np.repeat(x[i : i + 1], len(epsilon), axis=0), x_hat[i]))
        for i in range(len(x))
    ]
    return np.average(np.array(loss, "float64"), axis=1, weights=weights)


@pytest.mark.slow
def test_reconstruction_by_fixed_draws_is_that_of_keras(learner, trained, sample):
    x = sample.x_test[:200]
    found = in_page(learner, x, "return explorer.model.loss(image, explorer.model.encode(image));")
    epsilon = np.array(learner.evaluate("explorer.model.epsilons"), "float32")
    expected = keras_reconstruction(trained[0], x, epsilon)
    np.testing.assert_allclose([one["reconstruction"] for one in found], expected, atol=0.02)
    for one in found:
        assert one["elbo"] == pytest.approx(-(one["reconstruction"] + one["kl"]))


def test_loss_that_is_shown_is_the_whole_expectation(learner, trained, sample):
    """Against Keras on 961 codes an image, weighed by q: an integral over q of its own."""
    x = sample.x_test[:30]
    axis = np.linspace(-5, 5, 31)
    epsilon = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2).astype("float32")
    expected = keras_reconstruction(trained[0], x, epsilon, weights=np.exp(-0.5 * (epsilon**2).sum(axis=1)))
    found = in_page(learner, x, "return explorer.posterior.loss(image, explorer.model.encode(image)).reconstruction;")
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.slow
def test_log_evidence_is_the_exact_one_and_bounds_the_elbo(learner, trained, sample):
    x = sample.x_test[:200]
    found = in_page(
        learner, x, "const { logEvidence, coarseness } = explorer.posterior.of(image);"
        "return { logEvidence, coarseness, ...explorer.posterior.loss(image, explorer.model.encode(image)) };",
    )  # fmt: skip
    log_p = np.array([one["logEvidence"] for one in found])
    expected, _ = evidence.exact_log_evidence(trained[0].get_layer("decoder"), x)
    np.testing.assert_allclose(log_p, expected, atol=0.02)
    assert (np.array([one["elbo"] for one in found]) <= log_p + 0.005).all()
    assert max(one["coarseness"] for one in found) < 0.1


def test_fixed_draws_have_the_moments_of_the_prior():
    draws = explorer.fixed_draws(2)
    assert draws.shape == (32, 2)
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(draws.T @ draws / 32, np.eye(2), atol=1e-12)


@pytest.mark.slow
def test_posterior_is_the_true_one_and_its_contours_hold_their_mass(learner, trained, sample):
    image = sample.x_test[123]
    truth = in_page(
        learner, image[None], "const { box, levels, logEvidence, extent } = explorer.posterior.of(image);"
        "const lines = levels.map((level) => contour(box, level));"
        "return { ...box, values: [...box.values], levels, logEvidence, extent, lines, half: explorer.halfWidth };",
    )[0]  # fmt: skip
    density = np.exp(np.array(truth["values"]) - truth["logEvidence"]).reshape(truth["rows"], truth["columns"])
    step = SPACING * truth["stride"]
    assert density.sum() * step**2 == pytest.approx(1, abs=1e-3)
    for level, line, share in zip(truth["levels"], truth["lines"], (1 - math.exp(-0.5), 1 - math.exp(-2)), strict=True):
        inside = density >= math.exp(level - truth["logEvidence"])
        assert density[inside].sum() * step**2 == pytest.approx(share, abs=density.max() * step**2)
        places = np.array(line).reshape(-1, 2)  # columns and rows of the contour lie where the density is the level
        nearest = density[places[:, 1].round().astype(int), places[:, 0].round().astype(int)]
        assert (np.abs(np.log(nearest) + truth["logEvidence"] - level) < 0.8).mean() > 0.9
    z1 = -truth["half"] + SPACING * (truth["column"] + truth["stride"] * np.arange(truth["columns"]))
    z2 = -truth["half"] + SPACING * (truth["row"] + truth["stride"] * np.arange(truth["rows"]))
    peak = np.unravel_index(density.argmax(), density.shape)
    axis = np.arange(-truth["half"], truth["half"] + 0.02, 0.04)
    expected = lab.log_joint(trained[0].get_layer("decoder"), image[None], axis, axis)[0]
    expected_peak = np.unravel_index(expected.argmax(), expected.shape)
    assert z2[peak[0]] == pytest.approx(axis[expected_peak[0]], abs=0.04)
    assert z1[peak[1]] == pytest.approx(axis[expected_peak[1]], abs=0.04)
    assert truth["extent"][0][0] <= z1[peak[1]] <= truth["extent"][0][1]


def test_clipped_pixels_count_on_the_grid_as_they_do_in_the_loss(learner, sample):
    """Three stray pixels: one clipped everywhere, one at the limit, and one at the upper limit. Against the loss of the
    model at each place, one by one.
    """
    worst = in_page(
        learner, sample.x_test[[7]], "const old = explorer.model.layers; const output = { ...old.decoder_output };"
        "output.kernel = output.kernel.slice(); output.bias = output.bias.slice();"
        "[[0, -70, 1], [1, -16, 0.8], [2, 16, 0.4]].forEach(([pixel, bias, ink]) => {"
        "  output.bias[pixel] = bias; image[pixel] = ink;"
        "  for (let j = 0; j < old.decoder_h.bias.length; j++)"
        "    output.kernel[j * 784 + pixel] = output.kernel[j * 784 + 400]; });"
        "const model = new Model({ ...old, decoder_output: output }, []); const grid = makeGrid(1, 0.1);"
        "const partition = new LogPartition(model, 21);"
        "const rows = Array.from({ length: 21 }, (_, r) => [...partition.row(grid, -1 + 0.1 * r)]);"
        "const posterior = new Posterior(model, grid, Float32Array.from(rows.flat()));"
        "const box = { row: 0, column: 0, rows: 21, columns: 21, stride: 1 };"
        "const joint = posterior.logJoint(image, box);"
        "const clipped = posterior.clippedIn(box, [0, 1, 2, 400]);"
        "const off = [...joint.values].map((value, k) => {"
        "  const z = [-1 + 0.1 * (k % 21), -1 + 0.1 * Math.floor(k / 21)];"
        "  const prior = -Math.log(2 * Math.PI) - (z[0] ** 2 + z[1] ** 2) / 2;"
        "  return Math.abs(value - model.logLikelihood(image, z) - prior); });"
        "return { off: Math.max(...off), clipped };",
    )[0]  # fmt: skip
    assert worst["clipped"][:3] == [0, 1, 2]
    assert worst["off"] < 2e-3


def test_gradient_of_the_elbo_is_its_slope(learner, sample):
    """Back-propagation in the page against differences of the loss itself, for the mean and the variance of q."""
    found = in_page(
        learner, sample.x_test[[5, 250]], "const { model } = explorer; const q = model.encode(image);"
        "const { mean, logVar } = model.elboGradient(image, q); const by = 1e-5; const slope = (part, i) => {"
        "  const at = (side) => model.loss(image, { ...q, [part]: q[part].with(i, q[part][i] + side * by) }).elbo;"
        "  return (at(1) - at(-1)) / (2 * by); };"
        "return { found: [...mean, ...logVar], expected: [slope('mean', 0), slope('mean', 1), slope('logVar', 0),"
        " slope('logVar', 1)] };",
    )  # fmt: skip
    for one in found:
        np.testing.assert_allclose(one["found"], one["expected"], rtol=1e-3, atol=1e-3)


def test_replay_records_the_start_ten_moments_and_each_epoch(replay, sample):
    np.testing.assert_allclose(replay.moments, [*np.arange(0, 1.05, 0.1), 2])
    z_mean, _ = encode(replay.trained, sample.x_test[:300])
    np.testing.assert_allclose(replay.z[-1], z_mean, rtol=1e-5, atol=1e-6)
    assert np.abs(replay.z[1] - replay.z[2]).max() > 1e-3, "the weights of the moment, not of the epoch's start"
    expected = vae_mnist.evaluate_elbo(replay.trained, sample.x_test[: replay.LOSS_IMAGES])["elbo"]
    assert replay.loss[-1] == pytest.approx(-expected, rel=1e-5)
    assert replay.loss[0] > replay.loss[-1]


def test_recording_leaves_no_trace_in_the_training(replay):
    """Neither the weights nor the state of any generator of noise, so that the same seed gives the same model."""
    keras = vae_mnist.keras
    recorder = Replay(replay.x, replay.labels, vae_mnist.evaluate_elbo)
    recorder.set_model(replay.trained)
    generators = [layer.seed_generator for layer in replay.trained.layers if hasattr(layer, "seed_generator")]
    generators.append(replay.trained.get_layer("z_sample").arguments["seed"])
    watched = [*replay.trained.variables, *(generator.state for generator in generators)]
    before = [ops.convert_to_numpy(variable).copy() for variable in watched]
    keras.utils.set_random_seed(5)
    expected = ops.convert_to_numpy(keras.random.uniform((3,)))
    keras.utils.set_random_seed(5)
    recorder.record(0.5)
    np.testing.assert_array_equal(ops.convert_to_numpy(keras.random.uniform((3,))), expected)
    for variable, value in zip(watched, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)


def test_replay_is_saved_and_loaded(replay, tmp_path):
    replay.save(tmp_path / "replay.npz")
    loaded = Replay.load(tmp_path / "replay.npz")
    assert loaded.moments == replay.moments
    assert loaded.loss == replay.loss
    np.testing.assert_allclose(loaded.z, np.array(replay.z), rtol=2**-11, atol=1e-6)  # half precision
    np.testing.assert_array_equal(loaded.labels, replay.labels)
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(KeyError):
        Replay.load(tmp_path / "other.npz")


def test_the_page_is_one_file_of_a_limited_size(sample, replay):
    html = explorer.page(
        *vae_mnist.halves(vae_mnist.build_vae()), sample, COLOURS, replay, origin="trained on the sample"
    )
    assert len(html.encode()) < 3_500_000
    assert re.search(r'(?:src|href)="(?!#|data:)', html) is None


def test_json_cannot_leave_its_element():
    hostile = "</script><!-- & \u2028"
    text = explorer.json_for_html({"name": hostile})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["name"] == hostile


# Gradients of one batch, and the layers after so many steps on it; layers as {name: {kernel, bias}}, lists of numbers.
LEARN = """([x, input, epsilon, beta, steps]) => {
  const learner = new Learner(copyOfLayers(explorer.model.layers));
  const [pixels, seen, draws] = [x, input, epsilon].map((values) => Float32Array.from(values));
  const plain = (layers) => Object.fromEntries(LAYERS.map((name) => [name,
    { kernel: [...layers[name].kernel], bias: [...layers[name].bias] }]));
  const losses = learner.gradient(pixels, seen, draws, beta);
  const { reconstruction, kl } = losses;
  const gradients = plain(losses.gradients); // the arrays are used again
  for (let k = 0; k < steps; k++) learner.apply(learner.gradient(pixels, seen, draws, beta).gradients);
  return { reconstruction, kl, gradients, layers: plain(learner.layers) };
}"""


def flat(layers, names):
    """Kernel and bias of each layer in turn, one list of arrays."""
    return [np.array(layers[name][part]).ravel() for name in names for part in ("kernel", "bias")]


CASES = {"vae": (1.0, True), "beta": (2.5, True), "autoencoder": (0.0, False)}


@pytest.mark.parametrize(("beta", "noise"), CASES.values(), ids=CASES)
@pytest.mark.slow
def test_the_pages_gradients_and_steps_are_those_of_keras(beta, noise, small, replay, sample):
    """With beta 0 and no noise on z, it is Keras's plain autoencoder: the decoder's crossentropy at z_mean."""
    vae, rng, steps = vae_mnist.build_vae(hidden_dim=16), np.random.default_rng(0), 10
    for variable, value in zip(vae.trainable_variables, replay.trained.trainable_variables, strict=True):
        variable.assign(value)
    encoder, decoder = vae.get_layer("encoder"), vae.get_layer("decoder")
    x = sample.x_test[:20]
    seen = (rng.uniform(size=x.shape) < x).astype("float32")
    epsilon = rng.standard_normal((20, 2)).astype("float32") * noise
    optimizer = vae_mnist.make_optimizer(RECIPES["default"]._replace(linear_decay=False), 1)
    optimizer.learning_rate = keras.optimizers.schedules.PolynomialDecay(0.01, 2700, end_learning_rate=0.001)
    optimizer.build(vae.trainable_variables)

    def losses():
        z_mean, z_log_var = encoder(seen)
        x_hat = decoder(z_mean + ops.exp(z_log_var / 2) * epsilon if noise else z_mean)
        kl = ops.mean(vae_mnist.kl_divergence(z_mean, z_log_var))
        return ops.mean(vae_mnist.reconstruction_loss(x, x_hat)), kl

    def gradients():
        return gradients_of(lambda: losses()[0] + beta * losses()[1], vae.trainable_variables)

    arguments = [x.ravel().tolist(), seen.ravel().tolist(), epsilon.ravel().tolist(), beta, steps]
    found = small.evaluate(LEARN, arguments)
    assert (found["reconstruction"], found["kl"]) == pytest.approx([*map(float, losses())], rel=1e-5)
    names = ("encoder_h", "z_mean", "z_log_var", "decoder_h", "decoder_output")
    for own, theirs in zip(flat(found["gradients"], names), gradients(), strict=True):
        np.testing.assert_allclose(own, theirs.ravel(), atol=1e-4 * max(np.abs(theirs).max(), 1e-12))
    before = [ops.convert_to_numpy(variable) for variable in vae.trainable_variables]
    for _ in range(steps):
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in gradients()], vae.trainable_variables)
    for own, variable, start in zip(flat(found["layers"], names), vae.trainable_variables, before, strict=True):
        moved = np.abs(variable - start).max()
        np.testing.assert_allclose(own, ops.convert_to_numpy(variable).ravel(), atol=1e-3 * max(moved, 1e-6))
        if beta or "log_var" not in variable.path:
            assert moved > 1e-3
    assert small.evaluate("explorer.model.layers.z_mean.bias[0]") == pytest.approx(float(before[3][0]), rel=1e-6)


def test_new_weights_learn_in_the_page_to_a_loss_by_steps(small):
    """The page's own network of 32 units, from new weights, on the images that it carries: 150 steps."""
    loss = small.evaluate(
        """async () => {
          const { images, heldOut } = JSON.parse(document.getElementById("contents").textContent).training;
          const [bytes, held] = await Promise.all([unpackDeflated(images), unpackDeflated(heldOut)]);
          const server = new TrainingServer({ images: bytes, heldOut: held, layers: newLayers(32, 2, true) });
          const grey = Float32Array.from(held, (value) => value / 255);
          const before = server.learner.evaluate(grey);
          for (let k = 0; k < 150; k++) server.learner.step(server.batch());
          const after = server.learner.evaluate(grey);
          return [before, after].map(({ reconstruction, kl }) => reconstruction + kl);
        }"""
    )
    assert loss[0] > 400
    assert 150 < loss[1] < 195, "the average digit alone costs 206"


@pytest.mark.slow
def test_the_dots_do_what_the_presets_say(learner):
    """From Keras's weights a plain autoencoder leaves the prior, and the KL brings it back. From ours it stays."""
    outside = learner.evaluate(
        """async () => {
          const training = JSON.parse(document.getElementById("contents").textContent).training;
          const [images, heldOut] = [await unpackDeflated(training.images), await unpackDeflated(training.heldOut)];
          const x = Float32Array.from(heldOut, (value) => value / 255);
          const found = {};
          for (const spread of [false, true]) {
            const server = new TrainingServer({ images, heldOut, layers: newLayers(64, 2, spread) });
            server.learner.headStep = spread ? RECIPE.headStep : 1;
            const presets = {
              autoencoder: { beta: 0, sampleNoise: false, inputNoise: false },
              vae: { beta: 1, sampleNoise: true, inputNoise: true },
            };
            for (const preset of spread ? ["autoencoder"] : ["autoencoder", "vae"]) {
              Object.assign(server.learner.switches, presets[preset]);
              for (let k = 0; k < 100; k++) server.learner.step(server.batch());
              const { mean } = server.learner.evaluate(x);
              let far = 0;
              for (let i = 0; i < mean.length; i += 2) if (Math.hypot(mean[i], mean[i + 1]) > 3) far++;
              found[`${spread ? "ours" : "keras"} ${preset}`] = (2 * far) / mean.length;
            }
          }
          return found;
        }"""
    )
    assert outside["keras autoencoder"] > 0.5
    assert outside["keras vae"] < 0.4
    assert outside["ours autoencoder"] < outside["keras autoencoder"] - 0.1


def test_the_page_carries_images_to_train_on_and_others_that_are_held_out(learner, sample):
    training = json.loads(learner.locator("#contents").text_content())["training"]
    unpacked = [zlib.decompress(base64.b64decode(training[name])) for name in ("images", "heldOut")]
    images, held_out = (np.frombuffer(part, "u1").reshape(-1, 784) for part in unpacked)
    places = np.linspace(0, len(sample.x_train) - 1, training["count"]).astype(int)
    np.testing.assert_array_equal(images, (255 * sample.x_train[:][places]).round())
    whole = (255 * sample.x_test).round().astype("u1")
    place = {image.tobytes(): label for image, label in zip(whole, sample.y_test, strict=True)}
    assert [place[image.tobytes()] for image in held_out] == training["labels"]


def test_a_page_grows_to_its_limit_and_not_beyond(replay, sample, monkeypatch):
    few = sample._replace(x_train=sample.x_train[:800], x_test=sample.x_test[:100], y_test=sample.y_test[:100])
    size = len(explorer.page(*vae_mnist.halves(replay.trained), few, COLOURS).encode())
    monkeypatch.setattr(explorer, "PAGE_LIMIT", size - 40_000)
    html = explorer.page(*vae_mnist.halves(replay.trained), few, COLOURS)
    assert size - 65_000 < len(html.encode()) <= size - 40_000
    monkeypatch.setattr(explorer, "PAGE_LIMIT", 10_000)
    assert '"training": null' in explorer.page(*vae_mnist.halves(replay.trained), few, COLOURS)


def test_all_q_together_are_their_mean_and_its_distance_from_the_prior(small):
    """One q alone has a closed form, and two far apart have its mean less log 2, as each holds half of the mass."""
    found = small.evaluate(
        """() => {
          const one = { mean: [0.5, -1], logVar: [-0.5, 0.3] };
          const two = { mean: [3, 0, -3, 0], logVar: [-3, -3, -3, -3] };
          const kl = (q) => new Aggregate(q, 8, 400).klToPrior;
          return [kl(one), klDivergence(one), kl(two), klDivergence({ mean: [3, 0], logVar: [-3, -3] })];
        }"""
    )
    assert found[0] == pytest.approx(found[1], abs=0.01)
    assert found[2] == pytest.approx(found[3] - math.log(2), abs=0.02)


# The kernel in WebAssembly, against the same in JavaScript


COMPARE = """async ([hidden, drawn, latent, rows]) => {
  const random = (count, scale = 1) => Float32Array.from({ length: count }, () => scale * normal());
  const layer = (inputs, outputs) => {
    return { kernel: random(inputs * outputs, Math.sqrt(2 / inputs)), bias: random(outputs, 0.1) };
  };
  const layers = { encoder_h: layer(784, hidden), z_mean: layer(hidden, latent), z_log_var: layer(hidden, latent),
    decoder_h: layer(latent, drawn), decoder_output: layer(drawn, 784) };
  const both = [new Learner(layers), new Learner(layers, await loadKernel(roomOf(layers)))];
  const x = Float32Array.from({ length: rows * 784 }, () => Math.random() < 0.7 ? 0 : Math.random());
  const seen = x.map((share) => Number(share > 0 && Math.random() < share));
  const epsilon = random(rows * latent);
  const found = { kernel: both[1].arithmetic instanceof KernelArithmetic, off: {} };
  const compare = (name, [a, b]) => {
    let [off, most] = [0, 0];
    for (let i = 0; i < a.length; i++) {
      [off, most] = [Math.max(off, Math.abs(a[i] - b[i])), Math.max(most, Math.abs(a[i]))];
    }
    found.off[name] = off / (most || 1);
  };
  const parts = LAYERS.flatMap((name) => PARTS.map((part) => [name, part]));
  const losses = both.map((one) => one.gradient(x, seen, epsilon, 1.5));
  compare("losses", losses.map(({ reconstruction, kl }) => [reconstruction, kl]));
  for (const [name, part] of parts) {
    compare(`gradient of ${name} ${part}`, losses.map(({ gradients }) => gradients[name][part]));
    both[1].gradients[name][part].set(both[0].gradients[name][part]);
  }
  for (const one of both) for (let k = 0; k < 5; k++) one.apply();
  for (const [name, part] of parts) compare(`${name} ${part}`, both.map(({ layers }) => layers[name][part]));
  const more = Float32Array.from({ length: 230 * 784 }, Math.random);
  for (const part of ["mean", "logVar"]) compare(part, both.map((one) => one.evaluate(more)[part]));
  both.forEach((one) => one.switches.sampleNoise = false);
  compare("evaluate", both.map((one) => one.evaluate(more, 100)).map(({ reconstruction, kl }) => [reconstruction, kl]));
  return found;
}"""


@pytest.mark.parametrize("sizes", [(64, 64, 2, 100), (27, 30, 3, 7), (5, 1, 1, 1)], ids=str)
def test_the_kernel_computes_what_the_javascript_does_for_any_width(small, sizes):
    found = small.evaluate(COMPARE, sizes)
    assert found["kernel"]
    assert max(found["off"].values()) < 1e-4, found["off"]


def test_each_grey_value_is_tossed_by_its_own_share(small):
    shares = small.evaluate(
        """async () => {
          const found = [];
          for (const arithmetic of [new PlainArithmetic(), await loadKernel(200000)]) {
            const [x, out] = [arithmetic.room(78400), arithmetic.room(78400)];
            x.forEach((_, i) => x[i] = (i % 5) / 4);
            arithmetic.toss(x, out);
            if (out.some((value) => value !== 0 && value !== 1)) throw new Error("not tossed");
            found.push([0, 1, 2, 3, 4].map((k) => out.filter((_, i) => i % 5 === k).reduce((a, b) => a + b) / 15680));
          }
          return found;
        }"""
    )
    for found in shares:  # a share of 15,680 tosses has a standard error of 0.004
        np.testing.assert_allclose(found, [0, 0.25, 0.5, 0.75, 1], atol=0.025)
        assert (found[0], found[-1]) == (0, 1)


def test_the_kernel_sums_the_evidence_as_the_javascript_does(learner):
    off = learner.evaluate(
        """async () => {
          const { model } = explorer;
          const grid = makeGrid(6, 0.05);
          const kernel = await loadKernel(LogPartition.room(model, grid.size));
          const both = [kernel, undefined].map((arithmetic) => new LogPartition(model, grid.size, arithmetic));
          const off = [-5.9, -0.31, 0, 2.2, 6].map((z2) => {
            const [fast, plain] = both.map((one) => one.row(grid, z2));
            return Math.max(...plain.map((value, i) => Math.abs(value - fast[i]) / value));
          });
          return Math.max(...off);
        }"""
    )
    assert off < 2e-6


@pytest.mark.slow
def test_a_fresh_build_of_the_kernel_gives_the_bytes_that_are_committed():
    pytest.importorskip("ziglang", reason="the kernel is built by ziglang")
    assert kernel.build() == kernel.TARGET.read_text(encoding="utf-8")


# The training and its worker

# Starts a training in the page, of so many images that are noise; its reports are gathered.
TRAIN = """(count) => {
  window.reports = [];
  const dot = () => (Math.random() < 0.8 ? 0 : 255 * Math.random());
  const noise = (count) => Uint8Array.from({ length: count * 784 }, dot);
  window.images = { images: noise(count), heldOut: noise(40) };
  const first = { ...window.images, layers: explorer.model.layers, turn: 0 };
  window.training = startTraining(first, (report) => reports.push(report), (sentence) => window.failed = sentence);
}"""


@pytest.fixture(params=["a worker", "refused", "forbidden", "no WebAssembly"])
def training(request, visit, small_html):
    """A page that trains: in a worker; where there are none, or a host's policy forbids them; without WebAssembly."""
    before, address, server = None, None, None
    if request.param == "refused":
        before = "delete window.Worker"
    if request.param == "no WebAssembly":
        before = "delete window.WebAssembly; delete window.Worker"  # a worker would have its own
    if request.param == "forbidden":
        address, server = serve_with_policy("default-src 'self' 'unsafe-inline' data:")
    page = visit(small_html, before=before, address=address)
    page.evaluate(TRAIN, 350)
    until(page, "reports.length > 0")
    page.case = request.param
    yield page
    if server:
        server.shutdown()
        server.server_close()


def serve_with_policy(policy):
    """A function that gives the address of a file, and the server behind it, which sends a policy of its own along."""
    body = {}

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", policy)
            self.send_header("Content-Length", str(len(body["text"])))
            self.end_headers()
            self.wfile.write(body["text"])

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def address(path):
        body["text"] = path.read_bytes()
        return f"http://127.0.0.1:{server.server_port}/"

    return address, server


@pytest.mark.slow
def test_a_training_runs_with_and_without_a_worker_and_the_last_command_wins(training):
    page = training
    # the policy of the page itself lets the kernel run in the worker; a host's own may forbid it
    assert page.evaluate("reports[0].kernel") == (page.case in ("a worker", "refused"))
    assert page.evaluate("[reports[0].turn, reports[0].steps, reports[0].running]") == [0, 0, False]
    page.evaluate("training.postMessage({ turn: 1, running: true })")
    until(page, "reports.at(-1).steps > 5")
    assert page.evaluate("reports.at(-1).running")
    page.evaluate(
        """() => {
          let turn = 1;
          for (let k = 0; k < 200; k++) {
            training.postMessage({ turn: ++turn, running: k % 2 === 0, switches: { beta: k } });
          }
          window.fresh = newLayers(16, 2, true);
          training.postMessage({ turn: ++turn, layers: fresh, headStep: 1, running: false });
        }"""
    )
    until(page, "reports.at(-1).turn === 202")
    page.wait_for_timeout(300)
    last = page.evaluate("(({ turn, steps, running, trained }) => [turn, steps, running, trained])(reports.at(-1))")
    assert last == [202, 0, False, None]
    assert page.evaluate(
        "LAYERS.every((name) => reports.at(-1).layers[name].kernel.every((w, i) => w === fresh[name].kernel[i]))"
    )
    turns = page.evaluate("reports.map(({ turn }) => turn)")
    assert turns == sorted(turns)
    page.evaluate("training.terminate()")
    assert page.evaluate("window.failed") is None


def test_one_step_is_taken_on_a_batch_whose_first_image_is_the_readers(visit, small_html):
    page = visit(small_html)
    page.evaluate(TRAIN, 1)  # the batch is that image alone
    until(page, "reports.length > 0")
    page.evaluate("window.x = grey(images.heldOut.subarray(0, 784)); training.postMessage({ turn: 1, step: x })")
    until(page, "reports.at(-1).turn === 1")
    before, after, steps, running = page.evaluate(
        """() => {
          const loss = (layers) => {
            const model = new Model(layers, explorer.model.epsilons);
            return model.loss(x, model.encode(x)).elbo;
          };
          return [loss(reports[0].layers), loss(reports.at(-1).layers), reports.at(-1).steps, reports.at(-1).running];
        }"""
    )
    assert after > before
    assert (steps, running) == (1, False)


def test_other_images_take_the_place_of_the_first_ones(visit, small_html):
    page = visit(small_html)
    page.evaluate(TRAIN, 250)
    until(page, "reports.length > 0")
    assert page.evaluate("reports[0].mean.length") == 80
    page.evaluate("training.postMessage({ turn: 1, images: images.heldOut, heldOut: images.images, running: true })")
    until(page, "reports.at(-1).turn === 1 && reports.at(-1).steps > 2")
    assert page.evaluate("reports.at(-1).mean.length") == 500
    found, expected = page.evaluate(
        """() => {
          const { layers, mean } = reports.at(-1); // the training goes on, and reports
          const first = grey(images.images.subarray(0, 784));
          return [[...mean.subarray(0, 2)], new Model(layers, []).encode(first).mean];
        }"""
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_faults_that_learners_make_do_to_the_gradient_what_they_say(small):
    """A mean over pixels divides the reconstruction's part by 784; sigma for variance is the slope of its own loss."""
    found = small.evaluate(
        """() => {
          const learner = new Learner(explorer.model.layers);
          const x = Float32Array.from({ length: 3 * 784 }, () => Math.random() < 0.8 ? 0 : Math.random());
          const epsilon = learner.epsilon(3);
          const slope = (beta) => learner.gradient(x, x, epsilon, beta).gradients.z_log_var.bias.slice();
          const [whole, kl] = [slope(1), slope(1).map((value, i) => value - slope(0)[i])];
          learner.switches.meanOverPixels = true;
          const mean = slope(1);
          learner.switches.meanOverPixels = false;
          learner.switches.sigmaForVariance = true;
          const found = slope(1);
          const by = 1e-3;
          const differences = [0, 1].map((i) => {
            const at = (side) => {
              learner.layers.z_log_var.bias[i] += side * by;
              const { reconstruction, kl } = learner.gradient(x, x, epsilon, 1);
              learner.layers.z_log_var.bias[i] -= side * by;
              return reconstruction + kl;
            };
            return (at(1) - at(-1)) / (2 * by);
          });
          learner.switches.oneNoise = true;
          const one = [...learner.epsilon(4)];
          return { whole: [...whole], kl: [...kl], mean: [...mean], found: [...found], differences, one };
        }"""
    )
    whole, kl, mean = (np.array(found[name]) for name in ("whole", "kl", "mean"))
    np.testing.assert_allclose(mean - kl, (whole - kl) / 784, rtol=1e-2, atol=1e-5)
    np.testing.assert_allclose(found["found"], found["differences"], rtol=0.03, atol=0.03)
    assert found["one"] == found["one"][:2] * 4
    assert found["one"][0] != found["one"][1]


def test_scripts_stand_after_those_that_they_need():
    names = [name.removesuffix(".js") for name in explorer.scripts()]
    assert sorted(names) == sorted(path.stem for path in explorer.HERE.glob("*.js"))
    for name, text in explorer.scripts().items():
        needed = re.match(r"// needs: (.*)\n", text)[1].split(", ")
        if needed != ["nothing"]:
            assert max(map(names.index, needed)) < names.index(name.removesuffix(".js")), name


@pytest.mark.slow
def test_sixteen_bits_move_no_number_by_more_than_a_hundredth_nat(open_page, sample):
    """A model of 256 units, whose large kernels the page keeps as roots in 16 bits."""
    vae_mnist.keras.utils.set_random_seed(1)
    vae, _ = learn(TWO_EPOCHS._replace(epochs=1), sample.x_train, hidden_dim=256)
    x = sample.x_test[:200]
    page = open_page(explorer.page(*vae_mnist.halves(vae), sample, COLOURS))
    found = in_page(page, x, "return explorer.model.loss(image, explorer.model.encode(image));")
    epsilon = np.array(page.evaluate("explorer.model.epsilons"), "float32")
    kl = ops.convert_to_numpy(vae_mnist.kl_divergence(*encode(vae, x)))
    np.testing.assert_allclose([one["kl"] for one in found], kl, atol=0.01)
    expected = keras_reconstruction(vae, x, epsilon)
    np.testing.assert_allclose([one["reconstruction"] for one in found], expected, atol=0.01)
    off = page.evaluate(
        """() => {
          const { layers } = explorer.model;
          const again = unpackLayers(packLayers(layers));
          const most = (name) =>
            layers[name].kernel.reduce((most, value, i) => Math.max(most, Math.abs(value - again[name].kernel[i])), 0);
          return [Object.keys(packLayers(layers).decoder_output.kernel), Math.max(...LAYERS.map(most))];
        }"""
    )
    assert off[0] == ["units", "roots"]
    assert off[1] < 1e-6, "the page packs as Python does"
    page.context.close()


# Images of one's own, against what --data makes of them


def read_in_page(page, files):
    """What the page makes of files {path: bytes}: its answer with arrays as lists, or the sentence of a refusal."""
    return page.evaluate(
        """async (files) => {
          const blob = (text) => new Blob([unpack(text, Uint8Array)]);
          const given = Object.entries(files).map(([path, text]) => ({ path, file: blob(text) }));
          const shares = [];
          const answer = await new Promise((done) => readOwnImages(given, (share) => shares.push(share), done, done));
          if (typeof answer === "string") return answer;
          for (const name of ["images", "heldOut", "labels", "x"]) if (answer[name]) answer[name] = [...answer[name]];
          return { ...answer, shares };
        }""",
        {path: base64.b64encode(content).decode() for path, content in files.items()},
    )


def images_in(found):
    """All images of an answer, (n, 784), in no particular order."""
    return np.array(found["images"] + found["heldOut"]).reshape(-1, 784)


def picture(values, mode=None, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(values, mode).save(file, kind)
    return file.getvalue()


def same_images(found, expected, within=2):
    """Whether each image has its like among the expected ones, to a few grey values, and the other way round."""
    off = np.abs(found[:, None] - expected.reshape(len(expected), -1)[None].astype(int)).max(axis=2)
    return (off.min(axis=0) <= within).all() and (off.min(axis=1) <= within).all()


def blobs(rng, height, width, colours=0):
    """A dark stroke on light paper, with a little noise."""
    image = Image.new("L", (width, height), 230)
    places = (rng.uniform(0.2, 0.8, (4, 2)) * (width, height)).ravel().tolist()
    ImageDraw.Draw(image).line(places, fill=30, width=max(2, width // 9))
    values = np.asarray(image) - rng.integers(0, 20, (height, width)).astype("uint8")
    if not colours:
        return values
    rest = np.clip(values[:, :, None] * np.array([1, 0.8, 0.6]), 0, 255).astype("uint8")
    return rest if colours == 3 else np.dstack([rest, rng.integers(0, 256, (height, width)).astype("uint8")])


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_folder_of_pictures_becomes_what_data_makes_of_it(small, tmp_path, form):
    rng = np.random.default_rng(0)
    sizes = [(28, 28, 0), (60, 40, 0), (33, 90, 3), (12, 20, 0), (200, 150, 4), (57, 57, 3), (28, 28, 3)]
    files = {}
    for name in ("2", "10"):
        for k, (height, width, colours) in enumerate(sizes):
            files[f"mine/{name}/{k}.png"] = picture(blobs(rng, height, width, colours))
    files |= {"mine/2/broken.png": b"no picture", "mine/2/notes.txt": b"words", "mine/.hidden/a.png": b""}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(content)
    known = data.load_data(str(tmp_path / "mine"))
    expected = (255 * np.concatenate([known.x_train[:], known.x_test])).round()
    if form == "zip":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        files = {"mine.zip": packed.getvalue()}
    found = read_in_page(small, files)
    assert found["names"] == ["2", "10"]
    assert same_images(images_in(found), expected)
    assert len(found["heldOut"]) == 784 * (len(expected) // 6)
    assert (
        sorted(np.bincount(found["labels"], minlength=2).tolist()) == [0, 2] or sum(np.bincount(found["labels"])) == 2
    )
    told = " ".join(found["account"])
    for words in ("12 images to learn from, 2 held out, 2 classes", "2 files left out that are no picture"):
        assert words in told
    for words in ("colour made grey", "transparent places made white", "dark on light inverted", "made 28 x 28"):
        assert words in told
    assert (np.concatenate([known.y_train, known.y_test]) == 1).sum() == 7


ARRAYS = {
    "bytes": lambda rng: rng.integers(0, 256, (30, 28, 28)).astype("uint8"),
    "flat": lambda rng: rng.integers(0, 256, (30, 784)).astype("int64"),
    "truths": lambda rng: rng.uniform(size=(30, 28, 28)) < 0.3,
    "floats": lambda rng: rng.uniform(size=(30, 28, 28)).astype("float32"),
    "large": lambda rng: rng.integers(0, 256, (30, 64, 48)).astype("uint8"),
    "colours": lambda rng: rng.integers(0, 256, (30, 32, 32, 3)).astype("uint8"),
    "channels first": lambda rng: rng.integers(0, 256, (30, 3, 20, 20)).astype("uint8"),
}


@pytest.mark.parametrize("form", ARRAYS)
@pytest.mark.slow
def test_arrays_become_what_data_makes_of_them(small, form):
    x = ARRAYS[form](np.random.default_rng(0))
    (expected,), _ = convert_images([as_images(x, axes_of(x.shape), "them")], "them")
    expected = expected if expected.dtype == np.uint8 else (255 * expected).round().astype("uint8")
    file = io.BytesIO()
    labels = np.array(["b", "a", "c"])[np.arange(30) % 3]
    np.savez_compressed(file, x_train=x[:20], y_train=labels[:20], x_test=x[20:], y_test=labels[20:], x_val=x[:3])
    found = read_in_page(small, {"mine.npz": file.getvalue()})
    assert found["names"] == ["a", "b", "c"]
    np.testing.assert_allclose(np.array(found["images"]).reshape(20, 784), expected[:20].reshape(20, 784), atol=1)
    np.testing.assert_allclose(np.array(found["heldOut"]).reshape(10, 784), expected[20:].reshape(10, 784), atol=1)
    assert [found["names"][k] for k in found["labels"]] == labels[20:].tolist()


def test_idx_files_become_what_they_hold(small):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (40, 28, 28)).astype("uint8"), (np.arange(40) % 10).astype("uint8")

    def idx(array):
        head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
        return gzip.compress(head + array.tobytes())

    files = {"raw/train-images-idx3-ubyte.gz": idx(x[:30]), "raw/train-labels-idx1-ubyte.gz": idx(y[:30])}
    files |= {"raw/t10k-images-idx3-ubyte.gz": idx(x[30:]), "raw/t10k-labels-idx1-ubyte.gz": idx(y[30:])}
    found = read_in_page(small, files)
    np.testing.assert_array_equal(found["images"], x[:30].ravel())
    np.testing.assert_array_equal(found["heldOut"], x[30:].ravel())
    assert found["labels"] == y[30:].tolist()


def arrays(**named):
    file = io.BytesIO()
    np.savez(file, **named)
    return file.getvalue()


SHADES = np.tile(np.arange(28, dtype="uint8"), (9, 28, 1))
REFUSALS = {
    "a folder of text": ({"notes/a.txt": b"a", "notes/b.md": b"b"}, "holds no picture"),
    "a broken picture": ({"photo.jpg": b"broken"}, "is no picture that this browser can read"),
    "a broken archive": ({"mine.zip": b"PK\3\4 and no more"}, "is damaged"),
    "a cut file": ({"mine.npz": arrays(x=np.ones((9, 28, 28)))[:5000]}, "is damaged"),
    "NaN": (
        {"mine.npz": arrays(x=np.where(np.arange(9)[:, None, None] > 6, np.nan, np.ones((9, 28, 28))))},
        "first x[7]",
    ),
    "two scales": ({"mine.npz": arrays(x_train=np.eye(784).reshape(-1, 28, 28), x_test=SHADES)}, "give all one scale"),
    "one picture": ({"mine.npz": arrays(image=np.ones((60, 80, 3)))}, "holds image (60, 80, 3)"),
    "a broken fifth": ({f"{k}.png": b"" if k == 4 else picture(SHADES[0]) for k in range(5)}, "than a tenth of"),
    "standardised": ({"mine.npz": arrays(x=np.linspace(-1, 1, 7056).reshape(9, 28, 28))}, "two readings"),
    "two sets": ({"mine.npz": arrays(red_images=np.ones((9, 28, 28)), blue_images=np.ones((9, 28, 28)))}, "which of"),
    "no images": ({"mine.npz": arrays(weights=np.ones(9))}, "holds weights (9)"),
    "objects": ({"mine.npz": arrays(x_train=np.ones((9, 28, 28), "complex64"))}, "no plain numbers"),
    "an empty picture": ({"empty.png": picture(np.full((50, 50), 255, "uint8"))}, "nothing drawn"),
    "nothing": ({}, "nothing"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_taken_is_told_in_a_sentence(small, case):
    files, words = REFUSALS[case]
    found = read_in_page(small, files)
    assert isinstance(found, str)
    assert words in found
    assert found.endswith(".")


@pytest.mark.parametrize("size", [(400, 300), (4000, 3000)], ids=str)
def test_one_drawn_digit_becomes_one_in_mnists_form(learner, size):
    """A 1 on grey paper that is darker on one side, as in a photo: of a small picture, and of one of 12 megapixels."""
    width, height = size
    paper = np.tile(np.linspace(210, 150, width), (height, 1)).astype("uint8")
    image = Image.fromarray(paper)
    line = [(0.62 * width, 0.2 * height), (0.55 * width, 0.75 * height)]
    ImageDraw.Draw(image).line(line, fill=40, width=width // 40)
    found = read_in_page(learner, {"one.jpg": picture(np.asarray(image), kind="JPEG")})
    assert found["kind"] == "digit"
    x = np.array(found["x"]).reshape(28, 28)
    rows, columns = (np.flatnonzero(x.max(axis=axis) > 0.1) for axis in (1, 0))
    assert 19 <= np.ptp(rows) + 1 <= 20
    assert 2 <= np.ptp(columns) + 1 <= 8, "nothing is left of the ground"
    assert x.max() > 0.9
    places = np.arange(28) + 0.5
    for axis in (0, 1):
        assert x.sum(axis=axis) @ places / x.sum() == pytest.approx(14, abs=0.6)
    shrunk = np.asarray(image.resize((28, 21))) / 255
    shrunk = 1 - np.pad(shrunk, ((3, 4), (0, 0)), mode="edge")
    loss = in_page(
        learner, np.stack([x.ravel(), shrunk.ravel()]),
        "return explorer.model.loss(image, explorer.model.encode(image)).elbo;",
    )  # fmt: skip
    assert -loss[0] < 0.4 * -loss[1]


# What a visitor takes home


def test_the_page_is_saved_with_other_weights_and_opens_again(visit, small_html):
    page = visit(small_html)
    saved = page.evaluate(
        """async () => {
          window.fresh = newLayers(16, 2, true);
          const codes = { z: Float32Array.from({ length: 20 }, normal), labels: new Uint8Array(10).map((_, i) => i) };
          const bytes = Uint8Array.from({ length: 300 * 784 }, (_, i) => i % 251);
          const training = { images: bytes, heldOut: bytes.subarray(0, 20 * 784), labels: new Uint8Array(20) };
          const picks = picksOf(bytes.subarray(0, 20 * 784), training.labels);
          const names = ["</script><b>"];
          return pageWith(await contentsWith({ layers: fresh, codes, training, picks, names, origin: "made here" }));
        }"""
    )
    assert "</script><b>" not in saved
    contents = json.loads(re.search(r'id="contents">(.*?)</script>', saved, re.DOTALL)[1])
    assert contents["names"] == ["</script><b>"]
    assert contents["origin"] == "made here"
    assert contents["training"]["count"] == 300
    again = visit(saved, whole=True)
    assert again.evaluate("explorer.model.layers.decoder_output.kernel[5]") == page.evaluate(
        "fresh.decoder_output.kernel[5]"
    )
    assert again.evaluate("pageWith(contents)") == saved, "and saved once more, it is the same"
    assert again.evaluate("unpackDeflated(contents.training.images).then((bytes) => bytes[252])") == 1
    assert again.said == page.said == [], "the policy allows its scripts, and these alone"


def test_the_weights_are_saved_for_numpy(small):
    data = small.evaluate("weightsNpy(explorer.model.layers).arrayBuffer().then((all) => pack(new Uint8Array(all)))")
    weights = np.load(io.BytesIO(base64.b64decode(data)))
    layers = small.evaluate(
        "Object.fromEntries(LAYERS.flatMap((name) => PARTS.map((part) => "
        "[`${name}.${part}`, [...explorer.model.layers[name][part]]])))"
    )
    assert set(weights.dtype.names) == set(layers)
    assert weights["encoder_h.kernel"].shape == (784, 16)
    for name, values in layers.items():
        np.testing.assert_array_equal(weights[name].ravel(), np.array(values, "float32"))
