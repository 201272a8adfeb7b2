"""The explorer's one screen in a real browser: the state, the digit, the plane, the lens, and who uses it how."""

import math

import numpy as np
import pytest
from conftest import decode, encode
from explorer_pages import (
    COLOURS,
    SEVEN,
    drag,
    drawn,
    hear,
    middle_of,
    number,
    paint,
    pick,
    pixels,
    scroll,
    settle,
    show,
    swipe,
    until,
)
from explorer_pages import open_page as open_page
from explorer_pages import page as page
from explorer_pages import page_html as page_html
from explorer_pages import replay as replay
from explorer_pages import shared_page as shared_page
from explorer_pages import visit as visit
from keras import ops

import vae_mnist
from seevae.images import data
from seevae.results import evidence, explorer, pictures


@pytest.fixture(scope="module")
def trained(replay):
    return replay.trained


def table(page):
    """The numbers of q and z: rows z_mean, sigma, epsilon, z."""
    cells = page.locator("#sample-numbers td").all_text_contents()[1:]
    return np.array([float(cell.replace("−", "-")) for cell in cells]).reshape(4, -1)


def picks_of(page, label):
    found = page.evaluate(f"explorer.picks.filter((p) => p.label === {label}).map((p) => [...p.image])")
    return np.array(found, "float32")


# The state


def test_a_name_that_the_state_does_not_have_is_an_error(page):
    for wrong in (
        "explorer.imgae",
        "explorer.imgae = 1",
        "explorer.decoded = 1",
        "explorer.changed('imgae')",
        "explorer.panel({ place: 'stage', needs: ['model', 'imgae'], draw() {} })",
        "makeState({ a: 1 }, { b: { needs: ['c'], from() {} } })",
    ):
        caught = f"() => {{ try {{ {wrong}; }} catch (error) {{ return error.message; }} }}"
        assert "The state has no" in page.evaluate(caught), wrong


def test_what_follows_is_computed_when_asked_for_and_once(page):
    found = page.evaluate(
        """async () => {
          const asked = [];
          const state = makeState({ a: 1, b: 10 }, {
            twice: { needs: ["a"], from: ({ a }) => (asked.push(a), 2 * a) },
            all: { needs: ["twice", "b"], from: ({ twice, b }) => twice + b },
          });
          const drawn = [];
          state.panel({ place: "stage", needs: ["all"], draw: () => drawn.push(state.all) });
          const frame = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
          await frame();
          state.b = 20;
          await frame();
          [state.a, state.a] = [2, 3];
          await frame();
          state.a = 3;
          await frame();
          return { asked, drawn };
        }"""
    )
    assert found == {"asked": [1, 3], "drawn": [12, 22, 26]}


# Your digit, the sample


def test_painting_brings_the_digit_to_mnists_form(page, trained):
    page.locator("#clear").click()
    paint(page, SEVEN)
    x = np.array(page.evaluate("[...explorer.image.x]"))
    np.testing.assert_allclose(drawn(page, "#seen"), x, atol=0.01)
    image = x.reshape(28, 28)
    rows, columns = np.flatnonzero(image.sum(axis=1) > 0.1), np.flatnonzero(image.sum(axis=0) > 0.1)
    assert 19 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21, "its longer side fills the box of 20"
    places = np.arange(28) + 0.5
    assert image.sum(axis=1) @ places / image.sum() == pytest.approx(14, abs=0.15)
    assert image.sum(axis=0) @ places / image.sum() == pytest.approx(14, abs=0.15)
    z_mean, z_log_var = encode(trained, x[None].astype("float32"))
    mean, sigma, *_ = table(page)
    np.testing.assert_allclose(mean, z_mean[0], atol=0.006)
    np.testing.assert_allclose(sigma, np.exp(z_log_var[0] / 2), atol=0.001)
    assert number(page, "#loss-total") == pytest.approx(
        number(page, "#loss-reconstruction") + number(page, "#loss-kl"), abs=0.11
    )
    assert number(page, "#loss-gap") == pytest.approx(
        number(page, "#loss-total") - number(page, "#loss-evidence"), abs=0.11
    )


def test_each_stroke_is_followed_and_can_be_undone(page):
    page.locator("#clear").click()
    settle(page)
    assert page.evaluate("explorer.image.x.every((value) => value === 0)")
    assert "No ink" in page.locator("#loss-note").text_content()
    assert page.locator("#undo").is_disabled()
    paint(page, SEVEN)
    one = page.evaluate("[...explorer.image.x]")
    paint(page, [(0.35, 0.45), (0.6, 0.45)])
    assert page.evaluate("[...explorer.image.x]") != one
    page.locator("#undo").click()
    settle(page)
    assert page.evaluate("[...explorer.image.x]") == one


def test_picking_shows_a_held_out_digit(page, sample):
    pick(page, 7, 2)
    x = np.array(page.evaluate("[...explorer.image.x]"))
    distance = np.abs(sample.x_test - x).max(axis=1)
    assert distance.min() < 0.003
    assert sample.y_test[distance.argmin()] == 7
    assert page.locator("#pick-digit button").nth(2).get_attribute("aria-pressed") == "true"
    losses = page.evaluate(
        "explorer.picks.filter((p) => p.label === 7).map(({ image }) =>"
        " -explorer.model.logLikelihood(image, explorer.model.encode(image).mean))"
    )
    assert losses == sorted(losses), "from the best to the worst"


def test_what_is_painted_is_no_longer_of_the_class_that_was_picked(page):
    pressed = "document.querySelectorAll('#pick-class [aria-pressed=true], #pick-digit [aria-pressed=true]').length"
    assert page.evaluate(pressed) == 2
    page.locator("#paper").click(position={"x": 60, "y": 60})
    settle(page)
    assert page.evaluate(pressed) == 0


def test_draw_again_takes_a_new_epsilon(page, trained):
    before = table(page)
    page.locator("#draw-again").click()
    settle(page)
    mean, sigma, epsilon, z = table(page)
    np.testing.assert_array_equal(before[:2], [mean, sigma])
    assert (before[2] != epsilon).any()
    np.testing.assert_allclose(mean + sigma * epsilon, z, atol=0.01)
    np.testing.assert_allclose(drawn(page, "#out"), decode(trained, [z])[0], atol=0.03)
    np.testing.assert_allclose(drawn(page, "#sample-shelf canvas"), drawn(page, "#out"), atol=1e-6)
    page.locator("#at-mean").click()
    settle(page)
    mean = page.evaluate("explorer.q.mean")
    np.testing.assert_allclose(drawn(page, "#out"), decode(trained, [mean])[0], atol=0.01)


def test_a_decoded_digit_is_shown_as_probabilities_tossed_or_as_a_difference(page):
    page.locator("#as-tossed").click()
    settle(page)
    assert set(np.unique(drawn(page, "#out").round(2))) <= {0.0, 1.0}
    page.locator("#as-difference").click()
    settle(page)
    shown = pixels(page, "#out").reshape(784, 4)[:, :3]
    lost = np.array(page.evaluate("[...explorer.image.x].map((value, i) => value - explorer.decoded[i])"))
    worst, most = lost.argmin(), lost.argmax()
    assert shown[most][2] > shown[most][0], "what is lost is blue"
    assert shown[worst][0] > shown[worst][2], "what is added is orange"


# The plane


def test_dragging_z_decodes_the_place(page, trained):
    page.locator("#plane-whole").click()
    x, y, _ = middle_of(page, "#plane")
    page.mouse.click(x, y)
    settle(page)
    np.testing.assert_allclose(page.evaluate("explorer.z"), [0, 0], atol=0.03)
    hear(page)
    drag(page, (x, y), (80, -50))
    z = page.evaluate("explorer.z")
    assert z[0] > 0.3, "z1 grows to the right"
    assert z[1] > 0.2, "z2 grows upwards"
    np.testing.assert_allclose(drawn(page, "#out"), decode(trained, [z])[0], atol=0.02)
    until(page, "heard.some((words) => words.includes('among codes of'))")
    page.locator("#draw-again").click()
    settle(page)
    assert page.evaluate("explorer.hand") is None, "the next draw is one of q again"


def test_the_plane_pans_and_zooms(page):
    page.locator("#plane-whole").click()
    x, y, _ = middle_of(page, "#plane")
    page.mouse.click(x + 50, y)
    whole = page.evaluate("explorer.z")
    page.keyboard.down("Shift")
    drag(page, (x + 50, y), (-100, 0))
    page.keyboard.up("Shift")
    page.mouse.click(x - 50, y)
    np.testing.assert_allclose(page.evaluate("explorer.z"), whole, atol=0.2, err_msg="the plane came along")
    page.locator("#plane-whole").click()
    page.locator("#plane-in").click()
    page.mouse.click(x + 50, y)
    np.testing.assert_allclose(page.evaluate("explorer.z"), np.array(whole) / 1.5, atol=0.03)
    page.locator("#plane-whole").click()


def test_decoded_digits_lie_under_the_dots_and_are_of_one_model_only(page, page_html):
    def inked():
        return (pixels(page, "#plane-dots", side=120)[:, :, 3] > 0).sum()

    before = inked()
    page.locator("#manifold").check()
    until(page, lambda: inked() > 1.5 * before)
    tiles = page.evaluate(
        """() => {
          const manifold = new Manifold();
          const context = document.createElement("canvas").getContext("2d");
          const toCode = ([x, y]) => [x / 40 - 2.5, 2.5 - y / 40];
          const view = { scale: 40, width: 200, height: 200, toCode, screenX: Number, screenY: Number };
          while (manifold.draw(context, view, { decode: () => new Float32Array(784) })) ;
          const count = manifold.tiles.size;
          manifold.forget();
          return [count, manifold.tiles.size];
        }"""
    )
    assert tiles[0] > 10
    assert tiles[1] == 0, "no tile of the model before is shown beside those of the next one"
    page.locator("#manifold").uncheck()
    until(page, lambda: inked() == before)


@pytest.mark.slow
def test_dots_are_seen_on_both_grounds_in_every_colour(visit, page_html):
    """Each class's colour has a contrast of 3 in the theme, and stays as it is where it has."""
    for scheme in ("light", "dark"):
        page = visit(page_html, color_scheme=scheme)
        found = page.evaluate(
            "['#3f90da', '#ffa90e', '#bd1f01', '#92dadd', '#832db6', '#b9ac70'].map((colour) =>"
            " [colour, classColour(colour), contrast(rgbOf(colour), themeRgb('card')),"
            "  contrast(classColour(colour).match(/\\d+/g).map(Number), themeRgb('card'))])"
        )
        for colour, seen, own, mended in found:
            assert mended >= 3, (scheme, colour)
            assert (own >= 3) == (seen == f"rgb({','.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})")
        assert page.said == []


# The lens: be the encoder


def lens_place(page, z):
    """Where a code lies on the screen in the lens."""
    _, _, box = middle_of(page, "#lens")
    x, y = page.evaluate("(z) => explorer.lens.toScreen(z)", z)
    return box["x"] + x, box["y"] + y


def test_the_ellipse_is_moved_by_its_middle_and_stretched_by_its_rim(page):
    show(page, "game")
    page.locator("#lens-fit").click()
    settle(page)
    assert "Yours is the encoder’s until you move it" in page.locator("#verdict").text_content()
    q = page.evaluate("explorer.q")
    drag(page, lens_place(page, q["mean"]), (40, 0))
    mine = page.evaluate("explorer.mine")
    assert mine["mean"][0] > q["mean"][0]
    assert mine["mean"][1] == pytest.approx(q["mean"][1], abs=1e-9)
    assert mine["logVar"] == q["logVar"]
    rim = [mine["mean"][0] + 2 * math.exp(mine["logVar"][0] / 2), mine["mean"][1]]
    drag(page, lens_place(page, rim), (30, 0))
    wider = page.evaluate("explorer.mine")
    assert wider["mean"] == mine["mean"]
    assert wider["logVar"][0] > mine["logVar"][0] + 0.02
    assert wider["logVar"][1] == pytest.approx(mine["logVar"][1], abs=0.02)
    settle(page)
    loss = page.evaluate("explorer.posterior.loss(explorer.image.x, explorer.mine)")
    evidence_found = page.evaluate("explorer.truth.logEvidence")
    shown = page.evaluate("explorer.loss")  # over other draws than the posterior's
    assert shown["reconstruction"] == pytest.approx(loss["reconstruction"], abs=0.1)
    assert number(page, "#mine-reconstruction") == pytest.approx(shown["reconstruction"], abs=0.006)
    assert number(page, "#mine-gap") == pytest.approx(evidence_found - shown["elbo"], abs=0.011)
    assert number(page, "#loss-total") == pytest.approx(-shown["elbo"], abs=0.06), "the dock's loss is that of this q"
    assert page.locator("#loss-whose").text_content() == "loss of your q"
    page.locator("#give-back").click()
    settle(page)
    assert page.evaluate("explorer.mine") is None
    assert number(page, "#mine-gap") == number(page, "#encoder-gap")


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


@pytest.mark.slow
def test_the_climb_ends_where_a_numpy_ascent_ends(page, trained):
    show(page, "game")
    image = np.array(page.evaluate("[...explorer.image.x]"), "float32")
    before = page.evaluate("explorer.loss.elbo")
    page.locator("#climb").click()
    until(page, "byId('verdict').textContent.startsWith('The climb')")
    found = page.evaluate("explorer.loss.elbo")
    assert found > ascend(trained, image) - 0.05, "it may end on a better hill"
    assert before < found < page.evaluate("explorer.truth.logEvidence")
    assert "The climb beats the encoder" in page.locator("#verdict").text_content()


def test_a_climb_that_ends_far_below_the_wall_says_so(page):
    """Its steps are taken away, so that it ends where it begins."""
    show(page, "game")
    page.evaluate("explorer.model.climb = () => null; explorer.mine = { mean: [-5, 5], logVar: [-6, -6] }")
    page.locator("#climb").click()
    until(page, "byId('verdict').textContent.includes('stuck on a lower hill')")
    page.evaluate("delete explorer.model.climb")
    page.locator("#lens").press("ArrowUp")  # a move of one's own is no climb
    settle(page)
    assert "stuck" not in page.locator("#verdict").text_content()
    pick(page, 3, 1)
    assert page.evaluate("explorer.mine") is None, "a new digit ends the reader's own q"


@pytest.mark.slow
def test_a_hard_digit_is_one_that_the_encoder_fits_worse_than_most(page, trained):
    show(page, "game")
    page.locator("#hard-digit").click()
    settle(page)
    assert page.locator("#pick-digit [aria-pressed=true]").count() == 1
    assert page.locator("#verdict").text_content().startswith("Yours is the encoder’s until you move it")
    picks = np.array(page.evaluate("explorer.picks.map(({ image }) => [...image])"), "float32")
    known, _ = evidence.exact_log_evidence(trained.get_layer("decoder"), picks)
    reconstruction, kl = vae_mnist.elbo_terms(trained, picks, samples=20)
    gaps = known + reconstruction.mean(axis=0) + kl
    assert number(page, "#encoder-gap") > np.median(gaps)


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


# The network


def test_a_unit_shows_the_weights_with_which_it_paints(page):
    for key in ("Tab", "ArrowRight", "ArrowRight"):
        page.locator("#decoder").focus() if key == "Tab" else page.keyboard.press(key)
    settle(page)
    caption = page.locator("#unit figcaption").text_content()
    unit = int(caption.split(":")[0].removeprefix("unit ")) - 1
    weights = np.array(
        page.evaluate(f"[...explorer.model.layers.decoder_output.kernel.slice({unit} * 784, {unit + 1} * 784)]")
    )
    expected = 0.5 + weights / np.abs(weights).max() / 2
    np.testing.assert_allclose(drawn(page, "#unit canvas"), expected, atol=0.01)
    page.locator("#paper").focus()
    settle(page)
    assert page.locator("#unit").is_hidden()


# The keyboard, small screens, other models


def test_all_is_reached_and_used_by_the_keyboard(page):
    reached = set()
    show(page, "game")
    page.locator("h1").click()
    for _ in range(90):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    controls = page.evaluate(
        "[...document.querySelectorAll('button[id]:enabled, input[id], canvas[tabindex]')]"
        ".filter((e) => e.checkVisibility() && e.tabIndex === 0).map((e) => e.id)"
    )
    assert {"paper", "plane", "lens", "climb", "train-start", "draw-again", "show-game"} <= set(controls)
    assert set(controls) - reached == set()
    page.locator("#clear").click()
    page.locator("#paper").focus()
    for key in [" ", *["ArrowDown"] * 6, " "]:
        page.keyboard.press(key)
    settle(page)
    assert page.evaluate("explorer.image.x.reduce((sum, value) => sum + value, 0)") > 15, "a one is painted"
    show(page, "walk")
    page.locator("#plane").focus()
    before = page.evaluate("explorer.z")
    for key in ("ArrowRight", "ArrowUp", "Enter", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    settle(page)
    assert page.evaluate("explorer.z")[1] > before[1]
    assert page.locator("#walk").is_visible()
    until(page, "byId('spoken').textContent.length > 0")


def test_the_ellipse_is_moved_by_the_keyboard(page):
    q = page.evaluate("explorer.encoderQ")
    page.locator("#lens").focus()
    for key in ("e", "ArrowRight", "+", ">"):
        page.keyboard.press(key)
    settle(page)
    mine = page.evaluate("explorer.mine")
    assert mine["mean"][0] > q["mean"][0]
    assert mine["logVar"][0] == pytest.approx(q["logVar"][0] + 0.2)
    assert mine["logVar"][1] == pytest.approx(q["logVar"][1])
    page.keyboard.press("e")
    assert page.evaluate("explorer.mine") is None


def test_a_group_of_buttons_is_one_stop_of_the_tab_key_and_arrows_move_inside(page):
    stops = "[...document.querySelectorAll('#pick-class button, #pick-digit button')].filter((b) => b.tabIndex === 0)"
    assert page.evaluate(f"{stops}.length") == 2
    page.locator("#pick-class button").nth(3).focus()
    for key, label in (("ArrowRight", "4"), ("ArrowLeft", "3"), ("Home", "0"), ("ArrowLeft", "9"), ("ArrowDown", "0")):
        page.keyboard.press(key)
        assert page.evaluate("document.activeElement.textContent") == label
    assert page.evaluate(f"{stops}[0].textContent") == "0"


def test_the_whole_machine_is_on_one_screen_and_the_loss_always_in_sight(page):
    for name in ("#paper", "#encoder", "#sample-numbers", "#plane", "#lens", "#decoder", "#out", "#tabs", "#bars"):
        box = page.locator(name).bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 900, name
    for tab in page.evaluate("explorer.tabs"):
        place = page.locator("#plane-stage").bounding_box()
        show(page, tab)
        assert page.locator("#plane-stage").bounding_box() == place, "a tab changes a layer, never the place"
        assert page.locator(f"#tab-{tab}").is_visible()


def test_a_phone(visit, page_html):
    page = visit(page_html, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    small = page.evaluate(
        "[...document.querySelectorAll('button, summary, label, select')].filter((e) => e.checkVisibility())"
        ".filter((e) => { const box = e.getBoundingClientRect(); return box.width < 28 || box.height < 40; })"
        ".map((e) => e.id || e.textContent)"
    )
    assert small == []
    page.locator("#clear").tap()
    assert page.locator("#paper").bounding_box()["width"] > 250, "the paper is large while one paints"
    swipe(page, "#paper", [(0.5, 0.2), (0.5, 0.8)])
    assert page.evaluate("explorer.image.x.reduce((sum, value) => sum + value, 0)") > 15
    page.locator("#clear").tap()
    assert page.locator("#clear").text_content() == "Paint a new one"
    assert page.evaluate("explorer.image.x.some((value) => value > 0)"), "what was painted stays"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.said == []


def test_a_swipe_over_the_plane_scrolls_but_a_finger_on_z_holds_it(visit, page_html):
    page = visit(page_html, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator("#plane-whole").tap()
    page.evaluate("scrollTo(0, 0)")
    x, y, box = middle_of(page, "#plane")
    page.touchscreen.tap(x - 60, y - 60)
    settle(page)
    z = page.evaluate("explorer.z")
    before = page.evaluate("scrollY")
    scroll(page, lambda: swipe(page, "#plane", [(0.2, 0.8), (0.2, 0.2)]))
    assert page.evaluate("scrollY") > before + 50
    assert page.evaluate("explorer.z") == z
    scroll(page, lambda: page.evaluate(f"scrollTo(0, {before})"))
    assert page.locator("#plane").bounding_box() == box
    at = [(x - 60 - box["x"]) / box["width"], (y - 60 - box["y"]) / box["height"]]
    swipe(page, "#plane", [at, (at[0], at[1] + 0.3)])
    assert page.evaluate("explorer.z")[1] < z[1] - 0.3
    assert page.evaluate("scrollY") == before
    assert page.said == []


@pytest.mark.parametrize("latent_dim", [1, 10])
@pytest.mark.slow
def test_other_latent_sizes_have_sliders(visit, sample, latent_dim):
    vae = vae_mnist.build_vae(latent_dim=latent_dim, hidden_dim=16)
    page = visit(explorer.page(*vae_mnist.halves(vae), sample, COLOURS))
    settle(page)
    for name in ("#plane-stage", "#lens", "#show-game", "#show-walk", "#show-replay", "#loss-evidence"):
        assert not page.locator(name).is_visible(), name
    assert "exactly two latents" in page.locator("#latents-why").text_content()
    sliders = page.locator("#latents input")
    assert sliders.count() == latent_dim
    sliders.first.press("End")
    settle(page)
    z = page.evaluate("explorer.z")
    assert z[0] == 4
    np.testing.assert_allclose(drawn(page, "#out"), decode(vae, [z])[0], atol=0.02)
    loss = page.evaluate("explorer.loss")
    assert number(page, "#loss-total") == pytest.approx(loss["reconstruction"] + loss["kl"], abs=0.06)
    assert page.locator("#sample-numbers td").count() == 1 + 4 * latent_dim
    assert page.said == []


@pytest.mark.slow
def test_something_moves_at_first_unless_motion_is_unwelcome(visit, page_html):
    lively = visit(page_html, reduced_motion="no-preference")
    before = lively.evaluate("explorer.z")
    until(lively, f"explorer.z[0] !== {before[0]}")
    x, y, _ = middle_of(lively, "#plane")
    lively.mouse.click(x, y)
    settle(lively)
    assert not lively.locator("#wander").is_checked(), "it stops for the reader's own hand"
    still = visit(page_html)
    before = still.evaluate("explorer.z")
    still.wait_for_timeout(1300)
    assert still.evaluate("explorer.z") == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_text_has_contrast(visit, sample, scheme):
    page = visit(
        explorer.page(*vae_mnist.halves(vae_mnist.build_vae(hidden_dim=4)), sample, COLOURS), color_scheme=scheme
    )
    pairs = page.evaluate(
        "[...['ink', 'quiet', 'lost', 'added'].flatMap((text) => ['paper', 'card', 'hand'].map((on) => [text, on])),"
        " ['ink', 'reconstruction']].map((pair) => [...pair, ...pair.map(themeRgb)])"
    )

    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(rgb) / 255]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for name, on, text, ground in pairs:
        low, high = sorted((luminance(text), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (name, on)


def test_forced_colours_and_print_keep_the_key_of_the_classes_and_the_bars(visit, page_html):
    page = visit(page_html, forced_colors="active")
    for media in ("screen", "print"):
        page.emulate_media(media=media, forced_colors="active" if media == "screen" else "none")
        border = "getComputedStyle(document.querySelectorAll('#pick-class button')[2]).borderBottomColor"
        assert page.evaluate(border) == page.evaluate("classColour(explorer.data.colours[2]).replaceAll(',', ', ')")
        bar = "getComputedStyle(byId('bar-reconstruction')).backgroundColor"
        assert page.evaluate(bar) == page.evaluate("`rgb(${themeRgb('reconstruction').join(', ')})`")
        assert page.locator("#bars").bounding_box()["width"] > 200


@pytest.mark.slow
def test_a_page_of_clothes_speaks_of_images(visit, replay, sample):
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), sample._replace(classes=data.GARMENTS), COLOURS))
    page.locator("#paper").click(position={"x": 60, "y": 60})
    for tab in page.evaluate("explorer.tabs"):
        show(page, tab)
    words = page.evaluate(
        "document.querySelector('main').textContent"
        " + [...document.querySelectorAll('[aria-label], [title]')].map((e) => `${e.ariaLabel} ${e.title}`)"
    )
    assert "digit" not in words.lower()
    assert "an image" in words
    assert " a image" not in words
    assert page.said == []


@pytest.mark.slow
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
    assert none.locator("#pick-class button").count() == 0
    assert none.locator("#pick-digit button").count() == explorer.PICKS_PER_CLASS
    assert page.said == none.said == []


def test_a_hostile_name_stays_text(visit, sample):
    name = "</script><script>document.title = 'taken'</script><img src=x onerror=alert(1)>&\u2028<!--style-->.npz"
    vae = vae_mnist.build_vae(latent_dim=3, hidden_dim=4)
    page = visit(explorer.page(*vae_mnist.halves(vae), sample._replace(name=name), COLOURS, origin=name))
    settle(page)
    assert page.title() == "A variational autoencoder to play with"
    assert name in page.locator("#origin").text_content()
    assert page.locator("img").count() == 0
    assert page.said == []


def test_a_number_that_is_rounded_to_0_has_no_minus(page):
    assert page.evaluate("[formatted(-0.001), formatted(-0.01), formatted(0), formatted(NaN)]") == [
        "0.00",
        "−0.01",
        "0.00",
        "–",
    ]
