"""The explorer in a real browser: what it computes against Keras, and every control as a reader would use it."""

import base64
import json
import math
import re
import sys
import time
import zlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, TWO_EPOCHS, decode, encode, learn
from keras import ops

import vae_mnist
from seevae.images import data
from seevae.results import evidence, explorer, pictures
from seevae.results.replay import Replay
from seevae.training.recipes import RECIPES

sys.path.insert(0, str(ROOT / "notebooks"))
import lab

COLOURS = pictures.CLASS_COLOURS


@pytest.fixture(scope="module")
def open_page(browser, tmp_path_factory):
    """Open a page from its HTML; what it says on the console, and its errors, are gathered in page.said.

    spacings: of the posterior's grids, one after the other; the page's own last one takes seconds of a processor.
    """
    main = (explorer.HERE / "main.js").read_text(encoding="utf-8")

    def open_page(html, spacings="[0.1]", **settings):
        coarser = main.replace("[0.05, 0.025, 0.0125]", spacings)
        assert main in html
        assert coarser != main
        html = html.replace(main, coarser).replace(explorer.digest(main), explorer.digest(coarser))
        path = tmp_path_factory.mktemp("page") / "explorer.html"
        path.write_text(html, encoding="utf-8")
        settings = {"viewport": {"width": 1300, "height": 900}, "reduced_motion": "reduce"} | settings
        page = browser.new_context(**settings).new_page()
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.said.append(request.url) if request.url[:4] == "http" else None)
        page.goto(path.as_uri())
        return page

    return open_page


@pytest.fixture
def visit(open_page):
    """Open pages for one test: an open page goes on computing."""
    pages = []

    def visit(html, **settings):
        pages.append(open_page(html, **settings))
        return pages[-1]

    yield visit
    for page in pages:
        page.context.close()


@pytest.fixture(scope="module")
def trained(sample):
    """A VAE as in conftest.py, of a quarter of its units: a page computes its posterior in a quarter of the time."""
    vae_mnist.keras.utils.set_random_seed(0)
    return learn(TWO_EPOCHS, sample.x_train, sample.x_test, hidden_dim=64)


@pytest.fixture(scope="module")
def replay(sample):
    """What the callback records of two epochs of a small model on 1,000 images."""
    vae_mnist.keras.utils.set_random_seed(0)
    recorder = Replay(sample.x_test[:300], sample.y_test[:300], vae_mnist.evaluate_elbo)
    recipe = TWO_EPOCHS._replace(batch_size=20)
    recorder.trained, _ = learn(recipe, sample.x_train[:1000], callbacks=[recorder], hidden_dim=16)
    return recorder


@pytest.fixture(scope="module")
def html(trained, sample, replay):
    return explorer.page(*vae_mnist.halves(trained[0]), sample, COLOURS, replay, origin="trained on the sample")


SPACING = 0.05  # of the finest grid of the pages here


@pytest.fixture(scope="module")
def learner(open_page, html):
    """The page of the trained model, its posterior on the finest grid: q is so wide yet that a coarser one will do."""
    page = open_page(html, f"[0.1, {SPACING}]")
    until(page, "explorer.refined", 90)
    return page


@pytest.fixture
def page(learner):
    """The learner's page, back at its first digit."""
    learner.locator("#pick-class button").nth(3).click()
    learner.locator("#pick-digit button").nth(6).click()
    settle(learner)
    yield learner
    assert learner.said == [], "the console stays silent, and nothing is loaded"


def until(page, condition, seconds=10):
    """Wait until a JavaScript expression holds. (Playwright's own way needs eval, which the page's policy forbids.)"""
    end = time.monotonic() + seconds
    while not page.evaluate(condition):
        assert time.monotonic() < end, f"not within {seconds} s: {condition}"
        page.wait_for_timeout(50)


def settle(page):
    """Let the page draw what has changed."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def number(page, selector):
    return float(page.locator(selector).text_content().replace("\N{MINUS SIGN}", "-"))


def pixels(page, selector, index=0, side=28):
    """What is on a canvas, shrunk to (side, side, 4), 0 to 255. Read from a copy: the page's own is drawn for speed."""
    flat = (
        page.locator(selector)
        .nth(index)
        .evaluate(
            """(canvas, side) => {
          const context = new OffscreenCanvas(side, side).getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0, side, side);
          return [...context.getImageData(0, 0, side, side).data];
        }""",
            side,
        )
    )
    return np.array(flat).reshape(side, side, 4)


def drawn(page, selector, index=0):
    """The ink on a canvas that shows a digit (784,), from 0 to 1, on white paper and with the light theme's ink."""
    return (255 - pixels(page, selector, index)[:, :, 0].ravel()) / (255 - 0x1B)


def middle_of(page, selector):
    """The middle of an element on the screen, after scrolling to it."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, box


def paint(page, *strokes):
    """Paint with the mouse; strokes are lists of places on the paper, each from 0 to 1."""
    _, _, box = middle_of(page, "#paper")
    for stroke in strokes:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=4)
        page.mouse.up()
    settle(page)


SEVEN = [(0.3, 0.2), (0.6, 0.2), (0.45, 0.5)]


def in_page(page, x, body):
    """Run `body` in the page for each image of x (n, 784), as `image`; returns its results."""
    return page.evaluate(
        f"(images) => images.map((values) => {{ const image = Float32Array.from(values); {body} }})", x.tolist()
    )


# What it computes, against Keras


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
        "const rows = Array.from({ length: 21 }, (_, r) => [...logPartitionRow(model, grid, -1 + 0.1 * r)]);"
        "const posterior = new Posterior(model, grid, Float32Array.from(rows.flat()));"
        "const box = { row: 0, column: 0, rows: 21, columns: 21, stride: 1 };"
        "const joint = posterior.logJoint(image, box);"
        "const { low, mixed } = posterior.sortByClipping([0, 1, 2, 400], box);"
        "const off = [...joint.values].map((value, k) => {"
        "  const z = [-1 + 0.1 * (k % 21), -1 + 0.1 * Math.floor(k / 21)];"
        "  const prior = -Math.log(2 * Math.PI) - (z[0] ** 2 + z[1] ** 2) / 2;"
        "  return Math.abs(value - model.logLikelihood(image, z) - prior); });"
        "return { off: Math.max(...off), low, mixed: mixed.filter((i) => i !== 400) };",
    )[0]  # fmt: skip
    assert worst["low"] == [0]
    assert worst["mixed"] == [1, 2]
    assert worst["off"] < 2e-3


def ascend(vae, image, steps=300):
    """The best ELBO of one image, by Adam in NumPy from the encoder's q, over 121 weighed draws."""
    first, last = (vae.get_layer("decoder").get_layer(name) for name in ("decoder_h", "decoder_output"))
    weights = [
        ops.convert_to_numpy(part).astype("float64") for part in (first.kernel, first.bias, last.kernel, last.bias)
    ]
    axis = np.linspace(-3.5, 3.5, 11)
    epsilon = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    share = np.exp(-0.5 * (epsilon**2).sum(axis=1, keepdims=True))
    share /= share.sum()
    q = np.concatenate([part[0].astype("float64") for part in encode(vae, image[None])])
    image, speed, size, best = image.astype("float64"), 0, 0, -np.inf
    for step in range(1, steps + 1):
        sigma = np.exp(q[2:] / 2)
        z = q[:2] + sigma * epsilon
        hidden = np.maximum(z @ weights[0] + weights[1], 0)
        logits = hidden @ weights[2] + weights[3]
        log_likelihood = logits @ image - np.logaddexp(0, logits).sum(axis=1)
        elbo = log_likelihood @ share[:, 0] + 0.5 * (1 + q[2:] - q[:2] ** 2 - sigma**2).sum()
        best = max(best, elbo)
        at_hidden = (image - 1 / (1 + np.exp(-logits))) @ weights[2].T * (hidden > 0)
        at_z = share * (at_hidden @ weights[0].T)
        gradient = np.concatenate([at_z.sum(axis=0) - q[:2], (at_z * sigma * epsilon / 2).sum(axis=0)])
        gradient[2:] += 0.5 * (1 - sigma**2)
        speed, size = 0.9 * speed + 0.1 * gradient, 0.99 * size + 0.01 * gradient**2
        rate = 0.01 * (1 - step / steps)
        q = q + rate * speed / (1 - 0.9**step) / (np.sqrt(size / (1 - 0.99**step)) + 1e-9)
    return best


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


# The controls, as a reader uses them


def test_painting_brings_the_digit_to_mnists_form(page, trained):
    page.locator("#clear").click()
    paint(page, SEVEN)
    x = np.array(page.evaluate("[...explorer.digit.x]"))
    np.testing.assert_allclose(drawn(page, "#seen"), x, atol=0.01)
    image = x.reshape(28, 28)
    rows, columns = np.flatnonzero(image.sum(axis=1) > 0.1), np.flatnonzero(image.sum(axis=0) > 0.1)
    assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21, "its longer side fills the box of 20"
    places = np.arange(28) + 0.5
    assert image.sum(axis=1) @ places / image.sum() == pytest.approx(14, abs=0.15)
    assert image.sum(axis=0) @ places / image.sum() == pytest.approx(14, abs=0.15)
    z_mean, z_log_var = encode(trained[0], x[None].astype("float32"))
    shown = re.findall(r"[−\d.]+", page.locator("#q-numbers").text_content())
    expected = [f"{value:.2f}".replace("-", "−") for value in (*z_mean[0], *z_log_var[0])]
    assert shown == expected
    elbo = number(page, "#loss-elbo")
    assert elbo == pytest.approx(-number(page, "#loss-reconstruction") - number(page, "#loss-kl"), abs=0.02)
    assert number(page, "#loss-gap") == pytest.approx(number(page, "#loss-evidence") - elbo, abs=0.02)


def test_each_stroke_is_followed_and_can_be_undone(page):
    page.locator("#clear").click()
    settle(page)
    assert page.evaluate("explorer.digit.x.every((value) => value === 0)")
    paint(page, SEVEN)
    one = page.evaluate("[...explorer.digit.x]")
    paint(page, [(0.35, 0.45), (0.6, 0.45)])
    two = page.evaluate("[...explorer.digit.x]")
    assert two != one
    page.locator("#undo").click()
    settle(page)
    assert page.evaluate("[...explorer.digit.x]") == one


def test_picking_shows_a_held_out_digit(page, trained, sample):
    page.locator("#pick-class button", has_text="7").click()
    page.locator("#pick-digit button").nth(2).click()
    settle(page)
    x = np.array(page.evaluate("[...explorer.digit.x]"))
    distance = np.abs(sample.x_test - x).max(axis=1)
    assert distance.min() < 0.003
    assert sample.y_test[distance.argmin()] == 7
    assert page.locator("#pick-digit button").nth(2).get_attribute("aria-pressed") == "true"
    z_mean, _ = encode(trained[0], x[None].astype("float32"))
    np.testing.assert_allclose(drawn(page, "#sample-mean"), decode(trained[0], z_mean)[0], atol=0.02)
    losses = [float(x) for x in in_page(page, picks_of(page, 7), "const { model } = explorer;"
              "return -model.logLikelihood(image, model.encode(image).mean);")]  # fmt: skip
    assert losses == sorted(losses), "from the best to the worst"


def picks_of(page, label):
    return np.array(
        page.evaluate(f"explorer.picks.filter((p) => p.label === {label}).map((p) => [...p.image])"), "float32"
    )


def test_moving_over_the_plane_decodes_the_place(page, trained):
    x, y, _ = middle_of(page, "#plane")
    page.mouse.move(x, y)
    settle(page)
    first = page.evaluate("explorer.pointer")
    np.testing.assert_allclose(first, [0, 0], atol=0.02)
    page.mouse.move(x + 80, y - 50)
    settle(page)
    z = page.evaluate("explorer.pointer")
    assert z[0] > 0.3, "z1 grows to the right"
    assert z[1] > 0.2, "z2 grows upwards"
    expected = decode(trained[0], [z])[0]
    np.testing.assert_allclose(drawn(page, "#under-pointer"), expected, atol=0.02)


def test_a_walk_goes_from_the_first_place_to_the_second(page, trained):
    x, y, _ = middle_of(page, "#plane")
    codes = []
    for dx, dy in ((-90, -40), (100, 60)):
        page.mouse.click(x + dx, y + dy)
        settle(page)
        codes.append(page.evaluate("explorer.pointer"))
    assert page.locator("#walk canvas").count() == 11
    for index, share in ((0, 0.0), (5, 0.5), (10, 1.0)):
        z = (1 - share) * np.array(codes[0]) + share * np.array(codes[1])
        np.testing.assert_allclose(drawn(page, "#walk canvas", index), decode(trained[0], [z])[0], atol=0.02)


def test_the_plane_pans_and_zooms(page):
    page.locator("#plane-whole").click()
    x, y, _ = middle_of(page, "#plane")  # after the click, which scrolls to the button
    page.mouse.move(x + 50, y)
    settle(page)
    whole = page.evaluate("explorer.pointer")
    page.mouse.down()
    page.mouse.move(x - 50, y, steps=5)
    page.mouse.up()
    page.mouse.move(x - 49, y)
    settle(page)
    np.testing.assert_allclose(page.evaluate("explorer.pointer"), whole, atol=0.2, err_msg="the plane came along")
    page.locator("#plane-whole").click()
    page.locator("#plane-in").click()
    x, y, _ = middle_of(page, "#plane")
    page.mouse.move(x + 50, y)
    settle(page)
    np.testing.assert_allclose(page.evaluate("explorer.pointer"), np.array(whole) / 1.5, atol=0.03)
    page.locator("#plane-whole").click()


def test_the_manifold_lies_under_the_dots(page):
    before = (pixels(page, "#plane-dots", side=120)[:, :, 3] > 0).sum()
    page.locator("#manifold").check()
    page.wait_for_timeout(1500)
    with_digits = (pixels(page, "#plane-dots", side=120)[:, :, 3] > 0).sum()
    page.locator("#manifold").uncheck()
    settle(page)
    assert with_digits > 1.5 * before


def test_draw_again_takes_a_new_epsilon(page, trained):
    def table():
        cells = page.locator("#sample-numbers td").all_text_contents()[1:]
        return np.array([float(cell.replace("−", "-")) for cell in cells]).reshape(4, 2)

    before = table()
    page.locator("#draw-again").click()
    settle(page)
    mean, sigma, epsilon, z = table()
    np.testing.assert_array_equal(before[:2], [mean, sigma])
    assert (before[2] != epsilon).any()
    np.testing.assert_allclose(mean + sigma * epsilon, z, atol=0.01)
    np.testing.assert_allclose(drawn(page, "#sample-drawn"), decode(trained[0], [z])[0], atol=0.03)
    np.testing.assert_allclose(drawn(page, "#sample-shelf canvas"), drawn(page, "#sample-drawn"), atol=1e-6)


def test_the_ellipse_is_moved_by_its_middle_and_stretched_by_its_rim(page):
    _, _, box = middle_of(page, "#game")
    page.locator("#give-back").click()
    page.locator("#game-fit").click()
    settle(page)
    q = page.evaluate("explorer.mine")
    place = game_place(page, q["mean"], box)
    drag(page, place, (40, 0))
    mine = page.evaluate("explorer.mine")
    assert mine["mean"][0] > q["mean"][0]
    assert mine["mean"][1] == pytest.approx(q["mean"][1], abs=1e-9)
    assert mine["logVar"] == q["logVar"]
    rim = [mine["mean"][0] + 2 * math.exp(mine["logVar"][0] / 2), mine["mean"][1]]
    drag(page, game_place(page, rim, box), (30, 0))
    wider = page.evaluate("explorer.mine")
    assert wider["mean"] == mine["mean"]
    assert wider["logVar"][0] > mine["logVar"][0] + 0.02
    assert wider["logVar"][1] == pytest.approx(mine["logVar"][1], abs=0.02)
    found = page.evaluate("explorer.posterior.loss(explorer.digit.x, explorer.mine)")
    assert number(page, "#mine-elbo") == pytest.approx(found["elbo"], abs=0.006)
    assert number(page, "#mine-elbo") < number(page, "#mine-evidence")
    assert number(page, "#mine-gap") == pytest.approx(number(page, "#mine-evidence") - found["elbo"], abs=0.011)
    page.locator("#give-back").click()
    settle(page)
    assert page.evaluate("explorer.mine") == page.evaluate("explorer.digit.q")
    assert number(page, "#mine-elbo") == number(page, "#encoder-elbo")
    assert "level with the encoder" in page.locator("#verdict").text_content()


def test_at_first_there_are_two_ellipses_to_see(page):
    """The reader's lies beside the encoder's, both in sight, and it is worse."""
    assert "The orange ellipse is yours" in page.locator("#verdict").text_content()
    mine, theirs = page.evaluate("[explorer.game.q, explorer.digit.q]")
    for i in range(2):
        sigma = math.exp(theirs["logVar"][i] / 2)
        assert abs(mine["mean"][i] - theirs["mean"][i]) == pytest.approx(3 * sigma)
        assert mine["logVar"][i] == pytest.approx(theirs["logVar"][i] + 2 * math.log(1.5))
    assert page.evaluate("[explorer.game.q, explorer.digit.q].every((q) => explorer.game.isInside(sidesOf(q)))")
    assert number(page, "#mine-elbo") < number(page, "#encoder-elbo")
    _, _, box = middle_of(page, "#game")
    drag(page, game_place(page, mine["mean"], box), (20, 0))
    assert page.evaluate("explorer.mine !== null")
    assert "orange ellipse" not in page.locator("#verdict").text_content()


def game_place(page, z, box):
    """Where a code lies on the screen in "be the encoder"."""
    x, y = page.evaluate("(z) => explorer.game.view.toScreen(z)", z)
    return box["x"] + x, box["y"] + y


def drag(page, place, by):
    page.mouse.move(*place)
    page.mouse.down()
    page.mouse.move(place[0] + by[0], place[1] + by[1], steps=6)
    page.mouse.up()
    settle(page)


@pytest.mark.parametrize("pick", [6, 21])
def test_the_climb_ends_where_a_numpy_ascent_ends(page, trained, pick):
    page.locator("#pick-digit button").nth(pick).click()
    settle(page)
    image = np.array(page.evaluate("[...explorer.digit.x]"), "float32")
    page.locator("#give-back").click()
    settle(page)
    before = number(page, "#mine-elbo")
    page.locator("#climb").click()
    page.wait_for_timeout(300)
    until(page, "document.getElementById('climb').textContent === 'Climb from here'", 20)
    settle(page)
    assert number(page, "#mine-elbo") == pytest.approx(ascend(trained[0], image), abs=0.05)
    assert before < number(page, "#mine-elbo") < number(page, "#mine-evidence")
    assert "The climb beats the encoder" in page.locator("#verdict").text_content()


def test_a_climb_that_ends_far_below_the_wall_says_so(page):
    """Its steps are taken away, so that it ends where it begins."""
    page.evaluate("explorer.model.climb = () => null; explorer.mine = { mean: [-5, 5], logVar: [-6, -6] }")
    page.locator("#climb").click()
    until(page, "byId('verdict').textContent.includes('stuck on a lower hill')")
    assert number(page, "#mine-gap") > 1
    page.evaluate("delete explorer.model.climb")
    page.locator("#game").press("ArrowUp")  # a move of one's own is no climb
    settle(page)
    assert "stuck" not in page.locator("#verdict").text_content()


def test_the_view_follows_the_ellipse_and_the_digit_at_its_middle_is_shown(page, trained):
    page.evaluate("explorer.mine = { mean: [4, -4], logVar: [-4, -4] }; explorer.changed('mine')")
    page.locator("#game-fit").click()
    settle(page)
    centre, span = page.evaluate("[explorer.game.view.centre, explorer.game.view.span]")
    assert max(abs(centre[0] - 4), abs(centre[1] + 4)) < span / 2
    assert np.abs(drawn(page, "#game-mean") - decode(trained[0], [[4, -4]])[0]).max() < 0.02


def test_an_empty_paper_is_named(page):
    page.locator("#clear").click()
    settle(page)
    assert "The paper is empty" in page.locator("#loss-note").text_content()
    assert page.locator("#undo").is_disabled()


def test_a_new_digit_ends_the_readers_own_q(page):
    page.locator("#game").press("ArrowUp")
    settle(page)
    assert page.evaluate("explorer.mine !== null")
    page.locator("#pick-digit button").nth(1).click()
    settle(page)
    assert page.evaluate("explorer.mine") is None


def test_a_hard_digit_is_one_that_the_encoder_fits_worse_than_most(page, trained, sample):
    page.locator("#hard-digit").click()
    settle(page)
    assert page.locator("#pick-digit [aria-pressed=true]").count() == 1
    picks = page.evaluate("explorer.picks.map(({ image }) => [...image])")
    known, _ = evidence.exact_log_evidence(trained[0].get_layer("decoder"), np.array(picks, "float32"))
    reconstruction, kl = vae_mnist.elbo_terms(trained[0], np.array(picks, "float32"), samples=20)
    gaps = known + reconstruction.mean(axis=0) + kl
    assert number(page, "#encoder-gap") > np.median(gaps)


def test_prior_samples_are_decoded_and_marked(page, trained):
    page.locator("#prior-fresh").click()
    settle(page)
    before = page.evaluate("explorer.prior")
    page.locator("#prior-fresh").click()
    settle(page)
    z = page.evaluate("explorer.prior")
    assert len(z) == 12
    assert z != before
    np.testing.assert_allclose(drawn(page, "#prior-tray canvas", 3), decode(trained[0], [z[3]])[0], atol=0.02)


def test_prior_samples_follow_the_normal_distribution(page):
    z = np.array(page.evaluate("Array.from({ length: 20000 }, normal)"))
    assert abs(z.mean()) < 5 / math.sqrt(20000)
    assert abs(z.var() - 1) < 5 * math.sqrt(2 / 20000)
    assert (np.abs(z) < 1).mean() == pytest.approx(0.6827, abs=0.02)


def test_the_replay_goes_through_the_training(page, replay):
    moment = page.locator("#replay-moment")
    assert int(moment.get_attribute("max")) == len(replay.moments) - 1 == 11
    assert f"after epoch 2: held-out loss {replay.loss[-1]:.1f}" in page.locator("#replay-numbers").text_content()
    moment.press("Home")
    settle(page)
    assert (
        f"before the first step: held-out loss {replay.loss[0]:.1f}" in page.locator("#replay-numbers").text_content()
    )
    moment.press("ArrowRight")
    settle(page)
    assert "10 % of the first epoch" in page.locator("#replay-numbers").text_content()
    shown = np.array(page.evaluate("[...explorer.replay.frames[1]]")).reshape(-1, 2)
    np.testing.assert_allclose(shown, replay.z[1], atol=1e-3)
    moment.press("Home")
    page.locator("#replay-play").click()
    until(page, "document.getElementById('replay-moment').value === '11'", 10)
    until(page, "document.getElementById('replay-play').textContent === 'Play'")


# The keyboard, small screens, other models


def test_all_is_reached_and_used_by_the_keyboard(page):
    reached = set()
    page.locator("h1").click()
    page.keyboard.press("Tab")
    for _ in range(120):
        reached.add(page.evaluate("document.activeElement.id"))
        page.keyboard.press("Tab")
    controls = page.evaluate(
        "[...document.querySelectorAll('button[id]:enabled, input[id], canvas[tabindex]')]"
        ".filter((e) => e.checkVisibility()).map((e) => e.id)"
    )
    assert {"paper", "plane", "game", "climb", "replay-moment", "draw-again"} <= set(controls)
    assert set(controls) - reached == set()
    page.locator("#clear").click()
    page.locator("#paper").focus()
    for key in [" ", *["ArrowDown"] * 6, " "]:
        page.keyboard.press(key)
    settle(page)
    assert page.evaluate("explorer.digit.x.reduce((sum, value) => sum + value, 0)") > 15, "a one is painted"
    page.locator("#plane").focus()
    before = page.evaluate("explorer.pointer")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    settle(page)
    after = page.evaluate("explorer.pointer")
    assert after[0] > before[0]
    assert after[1] > before[1]
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("#walk").is_visible()


def test_the_ellipse_is_moved_by_the_keyboard(page):
    q = page.evaluate("explorer.digit.q")
    page.locator("#game").focus()
    page.keyboard.press("e")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    page.keyboard.press(">")
    settle(page)
    mine = page.evaluate("explorer.mine")
    assert mine["mean"][0] > q["mean"][0]
    assert mine["logVar"][0] == pytest.approx(q["logVar"][0] + 0.2)
    assert mine["logVar"][1] == pytest.approx(q["logVar"][1])
    page.keyboard.press("e")
    settle(page)
    assert page.evaluate("explorer.mine") == q


def test_a_phone(visit, html):
    page = visit(html, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "[...document.querySelectorAll('button, summary, label, input[type=range]')].filter((e) => e.checkVisibility())"
        ".filter((e) => { const box = e.getBoundingClientRect(); return box.width < 44 || box.height < 43.5; })"
        ".map((e) => e.id || e.textContent)"
    )
    assert small == []
    page.locator("#clear").tap()
    touch_stroke(page, "#paper", [(0.5, 0.2), (0.5, 0.8)])
    assert page.evaluate("explorer.digit.x.reduce((sum, value) => sum + value, 0)") > 15
    x, y, _ = middle_of(page, "#plane")
    page.touchscreen.tap(x - 60, y)
    page.touchscreen.tap(x + 60, y)
    settle(page)
    assert page.locator("#walk").is_visible()
    for plane, needed in (("#game", ("#gauge", "#verdict")), ("#train-plane", ("#train-start", "#train-what"))):
        top = page.locator(plane).bounding_box()["y"]
        for name in needed:
            box = page.locator(name).bounding_box()
            assert box["y"] + box["height"] - top < 740, f"{name} is on the screen with {plane}"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.said == []


def touch_stroke(page, selector, places):
    """Draw with a finger, by the browser's own touch events."""
    _, _, box = middle_of(page, selector)
    session = page.context.new_cdp_session(page)
    points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in places]
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
    for point in points[1:]:
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    settle(page)


@pytest.mark.parametrize("latent_dim", [1, 10])
def test_other_latent_sizes_have_sliders(visit, sample, latent_dim):
    vae = vae_mnist.build_vae(latent_dim=latent_dim, hidden_dim=16)
    page = visit(explorer.page(*vae_mnist.halves(vae), sample, COLOURS))
    settle(page)
    for name in ("#plane-panel", "#game-panel", "#replay-panel", "#loss-evidence"):
        assert not page.locator(name).is_visible(), name
    assert "exactly two latents" in page.locator("#latents-why").text_content()
    sliders = page.locator("#latents input")
    assert sliders.count() == latent_dim
    sliders.first.press("End")
    settle(page)
    z, _ = encode(vae, np.array(page.evaluate("[...explorer.digit.x]"), "float32")[None])
    z = np.clip(z, -4, 4)
    z[0, 0] = 4.0
    np.testing.assert_allclose(drawn(page, "#latents-digit"), decode(vae, z)[0], atol=0.02)
    found = page.evaluate("explorer.digit.loss")
    assert number(page, "#loss-elbo") == pytest.approx(-found["reconstruction"] - found["kl"], abs=0.006)
    assert page.locator("#sample-numbers td").count() == 1 + 4 * latent_dim
    assert page.said == []


def test_a_hostile_name_stays_text(visit, sample):
    name = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>&\u2028<!--style-->.npz"
    vae = vae_mnist.build_vae(latent_dim=3, hidden_dim=4)
    page = visit(explorer.page(*vae_mnist.halves(vae), sample._replace(name=name), COLOURS, origin=name))
    settle(page)
    assert page.title() == "A variational autoencoder to play with"
    assert name in page.locator("#origin").text_content()
    assert page.locator("img").count() == 0
    assert page.said == []


def test_the_policy_forbids_all_loading(visit, sample):
    page = visit(explorer.page(*vae_mnist.halves(vae_mnist.build_vae(latent_dim=3, hidden_dim=4)), sample, COLOURS))
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'loaded', () => 'refused')") == "refused"
    added = "const s = document.createElement('script'); s.textContent = 'window.taken = 1'; document.body.append(s);"
    page.evaluate(f"() => {{ {added} }}")
    assert page.evaluate("window.taken") is None
    assert all("Content Security Policy" in text for text in page.said)
    assert len(page.said) >= 2


def test_without_a_replay_its_panel_is_left_out(visit, trained, sample):
    page = visit(explorer.page(*vae_mnist.halves(trained[0]), sample, COLOURS))
    assert not page.locator("#replay-panel").is_visible()
    assert page.locator("#plane-panel").is_visible()


def test_something_moves_at_first_unless_motion_is_unwelcome(visit, html):
    lively = visit(html, reduced_motion="no-preference")
    lively.locator("#plane").scroll_into_view_if_needed()
    before = lively.evaluate("explorer.pointer")
    lively.wait_for_timeout(400)
    assert lively.evaluate("explorer.pointer") != before
    x, y, _ = middle_of(lively, "#plane")
    lively.mouse.move(x, y)
    settle(lively)
    assert not lively.locator("#wander").is_checked(), "it stops for the reader's own pointer"
    still = visit(html)
    before = still.evaluate("explorer.pointer")
    still.wait_for_timeout(300)
    assert still.evaluate("explorer.pointer") == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(visit, sample, scheme):
    vae = vae_mnist.build_vae(hidden_dim=4)
    page = visit(explorer.page(*vae_mnist.halves(vae), sample, COLOURS), color_scheme=scheme)
    pairs = page.evaluate(
        "['ink', 'quiet', 'mine', 'encoder', 'lost', 'added'].flatMap((text) => ['paper', 'card']"
        ".map((ground) => [themeRgb(text), themeRgb(ground)]))"
    )

    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(rgb) / 255]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for text, ground in pairs:
        low, high = sorted((luminance(text), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5


# The record of a training, and the file


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


def test_many_classes_have_buttons_by_their_names_and_none_has_no_button(visit, replay, sample):
    names = tuple(f"<b>{number}</b>" for number in range(47))
    many = sample._replace(x_test=sample.x_test[:94], y_test=np.arange(94) % 47, classes=names)
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), many, pictures.COLOURS))
    assert tuple(page.locator("#pick-class button").all_inner_texts()) == names
    page.locator("#pick-class button").nth(46).click()
    page.locator("#pick-digit button").nth(1).click()
    assert page.locator("#pick-digit button").nth(1).get_attribute("aria-label") == "Held-out <b>46</b>, number 2"
    none = visit(
        explorer.page(*vae_mnist.halves(replay.trained), many._replace(y_test=np.zeros(94, int), classes=()), COLOURS)
    )
    assert none.locator("#pick-class button").count() == none.locator("#plane-legend .key").count() == 0
    assert none.locator("#pick-digit button").count() == explorer.PICKS_PER_CLASS
    assert page.said == none.said == []


# ---------------------------------------------------------------------------------------------------------------
# Training in the page
# ---------------------------------------------------------------------------------------------------------------

# Gradients of one batch, and the layers after so many steps on it; layers as {name: {kernel, bias}}, lists of numbers.
LEARN = """([x, input, epsilon, beta, steps]) => {
  const learner = new Learner(copyOfLayers(explorer.model.layers));
  const [pixels, seen, draws] = [x, input, epsilon].map((values) => Float32Array.from(values));
  const plain = (layers) => Object.fromEntries(LAYERS.map((name) => [name,
    { kernel: [...layers[name].kernel], bias: [...layers[name].bias] }]));
  const { reconstruction, kl, gradients } = learner.gradient(pixels, seen, draws, beta);
  for (let k = 0; k < steps; k++) learner.apply(learner.gradient(pixels, seen, draws, beta).gradients);
  return { reconstruction, kl, gradients: plain(gradients), layers: plain(learner.layers) };
}"""


def flat(layers, names):
    """Kernel and bias of each layer in turn, one list of arrays."""
    return [np.array(layers[name][part]).ravel() for name in names for part in ("kernel", "bias")]


@pytest.fixture(scope="module")
def small(open_page, replay, sample):
    """The page of a model of 16 units, which trained for two epochs."""
    return open_page(explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS))


CASES = {"vae": (1.0, True), "beta": (2.5, True), "autoencoder": (0.0, False)}


@pytest.mark.parametrize(("beta", "noise"), CASES.values(), ids=CASES)
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

    def gradients():
        with tf.GradientTape() as tape:
            z_mean, z_log_var = encoder(seen)
            x_hat = decoder(z_mean + ops.exp(z_log_var / 2) * epsilon if noise else z_mean)
            reconstruction = ops.mean(vae_mnist.reconstruction_loss(x, x_hat))
            kl = ops.mean(vae_mnist.kl_divergence(z_mean, z_log_var))
            loss = reconstruction + beta * kl
        wanted = tape.gradient(loss, vae.trainable_variables, unconnected_gradients="zero")
        return [ops.convert_to_numpy(gradient) for gradient in wanted], float(reconstruction), float(kl)

    arguments = [x.ravel().tolist(), seen.ravel().tolist(), epsilon.ravel().tolist(), beta, steps]
    found = small.evaluate(LEARN, arguments)
    expected, reconstruction, kl = gradients()
    assert (found["reconstruction"], found["kl"]) == pytest.approx((reconstruction, kl), rel=1e-5)
    names = ("encoder_h", "z_mean", "z_log_var", "decoder_h", "decoder_output")
    for own, theirs in zip(flat(found["gradients"], names), expected, strict=True):
        np.testing.assert_allclose(own, theirs.ravel(), atol=1e-4 * max(np.abs(theirs).max(), 1e-12))
    before = [ops.convert_to_numpy(variable) for variable in vae.trainable_variables]
    for _ in range(steps):
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in gradients()[0]], vae.trainable_variables)
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
          const { images, heldOut } = JSON.parse(byId("contents").textContent).training;
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


def test_the_dots_do_what_the_presets_say(page):
    """From Keras's weights a plain autoencoder leaves the prior, and the KL brings it back. From ours it stays."""
    outside = page.evaluate(
        """async () => {
          const training = JSON.parse(document.getElementById("contents").textContent).training;
          const [images, heldOut] = [await unpackDeflated(training.images), await unpackDeflated(training.heldOut)];
          const x = Float32Array.from(heldOut, (value) => value / 255);
          const found = {};
          for (const spread of [false, true]) {
            const server = new TrainingServer({ images, heldOut, layers: newLayers(64, 2, spread) });
            server.learner.headStep = spread ? RECIPE.headStep : 1;
            for (const preset of spread ? ["autoencoder"] : ["autoencoder", "vae"]) {
              Object.assign(server.learner.switches, PRESETS[preset].switches);
              for (let k = 0; k < 100; k++) server.learner.step(server.batch());
              const { mean } = encodeBatch(server.learner.layers, x);
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


def test_the_page_carries_images_to_train_on_and_others_that_are_held_out(page, sample):
    training = json.loads(page.locator("#contents").text_content())["training"]
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


def test_training_moves_the_whole_page_and_leads_back(visit, replay, sample):
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS))
    start = page.evaluate("[...explorer.model.decode([0, 0])]")
    codes = page.evaluate("explorer.codes.z.length")
    encoded = page.locator("#q-numbers").inner_text()
    page.locator("#train-start").click()
    until(page, "explorer.training.last?.steps > 20", 60)
    assert page.locator("#train-start").inner_text() == "Pause"
    for preset, beta, noise in (("autoencoder", "0", False), ("strong", "4", True), ("vae", "1", True)):
        page.locator(f"#preset-{preset}").click()
        until(page, f"byId('train-beta').value === '{beta}'")
        assert page.locator("#train-sample-noise").is_checked() == noise
        assert page.locator(f"#preset-{preset}").get_attribute("aria-pressed") == "true"
    page.locator("#train-input-noise").uncheck()
    until(page, "byId('train-what').textContent === 'A setting of your own.'")
    assert page.evaluate("[...explorer.model.decode([0, 0])]") != start
    page.locator("#train-start").click()
    until(page, "explorer.posterior !== null", 90)  # that of the model as it is now
    assert page.locator("#q-numbers").inner_text() != encoded
    assert page.evaluate("explorer.codes.z.length") == 2 * min(1000, codes // 2)
    page.locator("#train-back").click()
    until(page, f"explorer.codes.z.length === {codes}")
    assert page.evaluate("[...explorer.model.decode([0, 0])]") == start
    until(page, f"byId('q-numbers').textContent === '{encoded}'")
    assert page.said == []


def test_a_page_of_more_latents_trains_too(visit, sample):
    vae = vae_mnist.build_vae(latent_dim=5, hidden_dim=16)
    page = visit(explorer.page(*vae_mnist.halves(vae), sample, COLOURS))
    assert page.locator("#train-plane").is_hidden()
    page.locator("#train-new").click()
    until(page, "explorer.training.last?.steps > 5", 60)
    assert "held out" in page.locator("#train-numbers").inner_text()
    assert page.said == []


def test_the_tour_goes_from_panel_to_panel_and_leaves_all_as_it_was(visit, replay, sample):
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS))
    assert page.locator("#tour").is_hidden()
    start = page.evaluate("[...explorer.model.decode([0, 0])]")
    page.locator("#tour-start").click()
    titles = []
    while True:
        titles.append(page.locator("#tour-title").inner_text())
        panel = page.locator("section.on-tour")
        assert panel.count() == 1
        box = panel.bounding_box()
        assert box["y"] < 300 < box["y"] + box["height"], "it is in sight"
        assert page.evaluate("document.activeElement.id") == "tour-next"
        if page.locator("#tour-next").inner_text() == "End the tour":
            break
        page.locator("#tour-next").click()
        settle(page)
        if titles[-1].startswith("3"):  # now the fourth: the walk is above the tour
            walk, tour = (page.locator(name).bounding_box() for name in ("#walk", "#tour"))
            assert 0 < walk["y"] < walk["y"] + walk["height"] < tour["y"]
    assert [title[:8] for title in titles] == [f"{number} of 6. " for number in range(1, 7)]
    assert page.locator("#walk").is_visible(), "a step has walked"
    assert page.evaluate("explorer.training.switches") == {"beta": 0, "sampleNoise": False, "inputNoise": False}
    until(page, "explorer.training.last?.steps > 5", 60)
    page.keyboard.press("Escape")
    assert page.locator("#tour").is_hidden()
    assert page.locator("section.on-tour").count() == 0
    until(page, "!explorer.training.running && explorer.training.switches.beta === 1")
    until(page, f"explorer.model.decode([0, 0])[400] === {start[400]}")
    assert page.evaluate("document.activeElement.id") == "tour-start"
    assert page.said == []


def test_a_tour_without_a_plane_leaves_its_steps_out(visit, sample):
    page = visit(explorer.page(*vae_mnist.halves(vae_mnist.build_vae(latent_dim=5, hidden_dim=16)), sample, COLOURS))
    page.locator("#tour-start").click()
    assert page.locator("#tour-title").inner_text() == "1 of 2. A digit becomes a cloud"
    page.locator("#tour-next").click()
    page.locator("#tour-next").click()
    assert page.locator("#tour").is_hidden()
    assert page.said == []


def test_contours_are_round_where_the_grid_is_coarse(page):
    """Of a tilted Gaussian on a grid of one sigma: each piece lies on the ellipse, as its density says there."""
    lines = page.evaluate(
        """() => {
          const [rows, columns] = [13, 13];
          const values = Float32Array.from({ length: 169 }, (_, k) => {
            const [u, v] = [(k % 13) - 6, Math.floor(k / 13) - 6];
            return k === 0 ? -Infinity : -0.5 * (u * u + u * v + v * v);
          });
          const box = { row: 0, column: 0, rows, columns, stride: 1, values };
          const at = (factor) => contour(refine(box, factor), -2).map((piece) => piece.map((k) => k / factor - 6));
          return [at(1), at(8)];
        }"""
    )
    errors = []
    for pieces in lines:
        u, v = np.array(pieces).reshape(-1, 2, 2).mean(axis=1).T  # the middle of each piece
        errors.append(np.abs(np.sqrt((u**2 + u * v + v**2) / 4) - 1).max())
    assert errors[0] > 0.05, "a polygon"
    assert errors[1] < 0.01


def test_a_group_of_buttons_is_one_stop_of_the_tab_key_and_arrows_move_inside(page):
    stops = "[...document.querySelectorAll('#pick-class button, #pick-digit button')].filter((b) => b.tabIndex === 0)"
    assert page.evaluate(f"{stops}.length") == 2
    page.locator("#pick-class button").nth(3).focus()
    for key, label in (("ArrowRight", "4"), ("ArrowLeft", "3"), ("Home", "0"), ("ArrowLeft", "9"), ("ArrowDown", "0")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.textContent") == label
    assert page.evaluate(f"{stops}[0].textContent") == "0"


def test_what_is_painted_is_no_longer_of_the_class_that_was_picked(page):
    pressed = "document.querySelectorAll('#pick-class [aria-pressed=true], #pick-digit [aria-pressed=true]').length"
    assert page.evaluate(pressed) == 2
    paper = page.locator("#paper")
    paper.click(position={"x": 60, "y": 60})
    assert page.evaluate(pressed) == 0


def test_a_number_that_is_rounded_to_0_has_no_minus(page):
    assert page.evaluate("[formatted(-0.001), formatted(-0.01), formatted(0), formatted(NaN)]") == [
        "0.00",
        "−0.01",
        "0.00",
        "–",
    ]


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


def test_the_clouds_are_shown_before_and_after_training(visit, replay, sample):
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS))
    page.locator("#train-clouds").check()
    until(page, "byId('train-clouds-numbers').textContent.startsWith('The mean of 1000 clouds is')", 60)
    page.locator("#train-clouds").uncheck()
    until(page, "byId('train-clouds-numbers').textContent === ''")
    assert page.said == []


def test_the_address_holds_the_state_and_a_link_brings_it_back(visit, replay, sample):
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS))
    page.locator("#pick-class button").nth(7).click()
    page.locator("#pick-digit button").nth(2).click()
    page.locator("#preset-strong").click()
    page.evaluate("explorer.pointer = [0.5, -1.25], explorer.changed('pointer')")
    page.locator("#train-panel").scroll_into_view_if_needed()
    until(page, "location.hash.includes('beta=4') && location.hash.includes('digit=7.2')")
    assert "at=0.50,-1.25&digit=7.2&beta=4&z-noise=1&input-noise=1" in page.evaluate("location.hash")
    link = page.url
    other = page.context.new_page()
    other.goto(link.replace("beta=4", "beta=0.5") + "&panel=loss-panel")
    assert other.evaluate("explorer.pointer") == [0.5, -1.25]
    assert other.locator("#pick-class [aria-pressed=true]").inner_text() == "7"
    assert other.locator("#train-beta").input_value() == "0.5"
    assert 0 <= other.locator("#loss-panel").bounding_box()["y"] < 900
    other.locator("#paper").click(position={"x": 60, "y": 60})  # a painting is no part of a link
    until(other, "!location.hash.includes('digit=')")
    for wrong in ("#at=x,y&digit=99.1&beta=-3&panel=nowhere", "#at=1", "#=&&="):
        other.goto("about:blank")
        other.goto(link.split("#")[0] + wrong)
        assert other.locator("#train-beta").input_value() == "1"
    assert page.said == []


def test_a_page_of_clothes_speaks_of_images(visit, replay, sample):
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), sample._replace(classes=data.GARMENTS), COLOURS))
    page.locator("#paper").click(position={"x": 60, "y": 60})
    for button in ("#preset-autoencoder", "#preset-vae"):
        page.locator(button).click()
    words = page.evaluate(
        "document.body.innerText + [...document.querySelectorAll('[aria-label]')].map((e) => e.ariaLabel)"
    )
    assert "digit" not in words.lower()
    assert "an image" in words
    assert " a image" not in words
    assert "Pick a held-out image" in words
    assert page.said == []


def test_weights_that_overflow_are_told_and_the_page_can_begin_anew(visit, replay, sample):
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS))
    page.evaluate("explorer.model.layers.z_log_var.bias.fill(1e4)")
    page.locator("#train-start").click()
    until(page, "byId('train-note').textContent.includes('overflowed')", 60)
    assert page.locator("#train-start").inner_text() == "Train"
    page.locator("#train-new").click()
    until(page, "explorer.training.last?.steps > 3", 60)
    assert page.locator("#train-note").inner_text() == ""
    assert page.locator("#train-start").inner_text() == "Pause"
    assert page.said == []
