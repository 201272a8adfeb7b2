"""Training in the explorer, its faults, slow motion, and what the page bears, in a real browser."""

import json
import re

import numpy as np
import pytest
from conftest import ROOT
from explorer_pages import COLOURS, number, numbers, settle, show, until
from explorer_pages import open_page as open_page
from explorer_pages import page as page
from explorer_pages import page_html as page_html
from explorer_pages import replay as replay
from explorer_pages import shared_page as shared_page
from explorer_pages import visit as visit

import vae_mnist
from seevae.results import explorer


@pytest.mark.slow
def test_training_moves_the_whole_page_and_leads_back(visit, page_html):
    page = visit(page_html)
    until(page, "explorer.truth !== null")
    evidence = page.locator("#loss-evidence").text_content()
    start = page.evaluate("[...explorer.model.decode([0, 0])]")
    codes = page.evaluate("explorer.codes.z.length")
    page.locator("#train-start").click()
    until(page, "explorer.training.last?.steps > 5")
    assert page.locator("#train-start").inner_text() == "Pause"
    assert page.locator("#loss-evidence").text_content() == "…", "that of other weights is never shown"
    assert page.locator("#loss-gap").text_content() == "…"
    assert page.evaluate("[...explorer.model.decode([0, 0])]") != start
    page.locator("#train-start").click()
    until(page, "explorer.posterior !== null")
    assert page.evaluate("explorer.posterior.model.layers.z_mean.bias[0] === explorer.model.layers.z_mean.bias[0]")
    assert page.evaluate("explorer.codes.z.length") == 2 * min(1000, codes // 2)
    assert page.evaluate("() => { byId('train-back').click(); return explorer.truth; }") is None
    assert page.evaluate("explorer.training.curves.every(({ steps }) => steps === 0)")
    assert page.evaluate("[...explorer.model.decode([0, 0])]") == start
    assert page.evaluate("explorer.codes.z.length") == codes
    assert page.locator("#train-numbers").text_content() == "The page’s own weights."
    until(page, f"byId('loss-evidence').textContent === '{evidence}'")
    assert page.said == []


@pytest.mark.slow
def test_the_last_of_fast_commands_wins(visit, page_html):
    page = visit(page_html)
    page.evaluate("() => { for (const id of ['train-new', 'train-back']) byId(id).click(); }")
    page.wait_for_timeout(1500)
    assert page.locator("#train-start").inner_text() == "Train"
    assert page.evaluate("[explorer.whose.at, explorer.training.running]") == ["page", False]
    page.evaluate("() => { for (let k = 0; k < 21; k++) byId(k % 3 ? 'train-start' : 'train-new').click(); }")
    until(page, "explorer.training.last?.steps > 2")
    assert page.locator("#train-start").inner_text() == "Pause"
    page.evaluate("() => { for (const id of ['train-back', 'train-new', 'train-start']) byId(id).click(); }")
    until(page, "explorer.training.last !== null && !explorer.training.running")
    steps = page.evaluate("explorer.training.last.steps")
    page.wait_for_timeout(800)
    assert page.evaluate("explorer.training.last.steps") == steps, "nothing trains behind a button that says Train"
    assert page.said == []


@pytest.mark.slow
def test_weights_that_overflow_are_told_and_the_page_can_begin_anew(visit, page_html):
    page = visit(page_html)
    page.evaluate("explorer.model.layers.z_log_var.bias.fill(1e4)")
    page.locator("#train-start").click()
    until(page, "byId('train-note').textContent.includes('overflowed')")
    assert page.locator("#train-start").inner_text() == "Train"
    page.locator("#train-new").click()
    until(page, "explorer.training.last?.steps > 3")
    assert page.locator("#train-note").inner_text() == ""
    assert page.locator("#train-start").inner_text() == "Pause"
    assert page.said == []


@pytest.mark.slow
def test_a_page_of_more_latents_trains_too(visit, sample):
    page = visit(explorer.page(*vae_mnist.halves(vae_mnist.build_vae(latent_dim=5, hidden_dim=16)), sample, COLOURS))
    page.locator("#train-new").click()
    until(page, "explorer.training.last?.steps > 5")
    assert "held out" in page.locator("#train-numbers").inner_text()
    page.locator("#train-start").click()
    until(page, "!explorer.training.running && explorer.training.waiting === null")
    steps = page.evaluate("SLOW_PAUSES.fill(1) && explorer.training.last.steps")
    page.locator("#train-slow").click()
    until(page, f"explorer.training.last.steps === {steps + 1} && explorer.slow === null")
    assert page.said == []


# Faults


def test_beta_goes_to_100_on_a_logarithmic_slider(page):
    found = page.evaluate("[0, 1, 25, 50, 75, 100].map(betaAt)")
    assert found == pytest.approx([0, 0.011, 0.1, 1, 10, 100], rel=0.01)
    assert page.evaluate("[0, 0.1, 1, 10, 100].map(placeOf)") == pytest.approx([0, 25, 50, 75, 100])
    page.locator("#train-beta").press("End")
    assert page.evaluate("explorer.switches.beta") == 100
    settle(page)
    assert page.locator("#train-beta-number").text_content() == "100"


@pytest.mark.slow
def test_each_fault_is_one_click_and_the_text_is_of_what_trains(visit, page_html):
    page = visit(page_html)
    sentences = (ROOT / "seevae" / "diagnosis" / "sentences.toml").read_text(encoding="utf-8")
    for name, words in page.evaluate("FINDINGS").items():
        assert re.search(rf'^"?{name}[/"\w-]* = ', sentences, re.MULTILINE), name
        assert words in " ".join(sentences.split()), "what examine says is not made up"
    show(page, "faults")
    page.evaluate("explorer.training.set({ beta: 0, sampleNoise: false })")
    settle(page)
    assert page.locator("#train-what").text_content().startswith("Set for the next training"), "the page's are a VAE's"
    for button in page.locator("#presets button, #mistakes button").all():
        button.click()
        settle(page)
        assert button.get_attribute("aria-pressed") == "true"
        assert page.locator("#tab-faults [aria-pressed=true]").count() == 1
        assert page.evaluate("[explorer.training.running, explorer.whose.from]") == [True, "new weights"]
        assert len(page.locator("#train-what").text_content()) > 60
        assert "examine" in page.locator("#train-examine").text_content()
        assert not page.locator("#train-what").text_content().startswith("Set for")
    page.locator("#train-input-noise").uncheck()
    settle(page)
    assert page.locator("#train-what").text_content() == "A setting of your own."
    page.locator("#fault-from").select_option("now")
    until(page, "explorer.training.last?.steps > 2")
    steps = page.evaluate("explorer.training.last.steps")
    page.locator("#preset-vae").click()
    until(page, f"explorer.training.last.steps > {steps}")
    assert page.said == []


def test_the_collapse_is_a_collapse(page):
    """With beta 100 all codes fall on one place, and q is the prior: as the preset says."""
    page.evaluate("beginSetting(explorer, 'Collapse', 'now')")
    until(page, "explorer.training.last?.held.kl < 0.1")
    q = page.evaluate("explorer.encoderQ")
    assert np.abs(q["mean"]).max() < 0.3
    assert np.abs(q["logVar"]).max() < 0.5


def test_all_q_together_are_shown_before_and_while_training(page):
    show(page, "faults")
    page.locator("#train-clouds").check()
    until(page, "byId('train-clouds-numbers').textContent.startsWith('The mean of 1000 clouds is')")
    page.locator("#train-clouds").uncheck()
    until(page, "byId('train-clouds-numbers').textContent === ''")


# Slow motion


@pytest.mark.slow
def test_one_update_in_slow_motion_has_four_states_with_true_numbers(visit, page_html):
    page = visit(page_html)
    until(page, "explorer.posterior !== null")
    page.evaluate("SLOW_PAUSES.fill(1e6)")
    before = page.evaluate("explorer.loss.elbo")
    q = page.evaluate("explorer.q")
    page.locator("#train-slow").click()
    until(page, "explorer.slow?.step === 1")
    settle(page)
    assert numbers(page.locator("#slow-steps .on").text_content())[1:3] == pytest.approx(q["mean"], abs=0.006)
    page.locator("#slow-steps").click()
    until(page, "explorer.slow?.step === 2")
    settle(page)
    assert numbers(page.locator("#slow-steps .on").text_content())[1:3] == pytest.approx(
        page.evaluate("explorer.z"), abs=0.006
    )
    page.locator("#slow-steps").click()
    until(page, "explorer.slow?.step === 3")
    settle(page)
    pull = page.evaluate("explorer.slow.pull")
    both = page.evaluate("explorer.model.elboGradient(explorer.image.x, explorer.q)")
    np.testing.assert_allclose(np.add(pull["reconstruction"], pull["kl"]), both["mean"], atol=1e-6)
    np.testing.assert_allclose(np.add(pull["widen"], pull["klWiden"]), both["logVar"], atol=1e-6)
    scale = page.locator("#loss-scale").text_content()
    page.locator("#slow-steps").click()
    until(page, "explorer.slow?.step === 4")
    settle(page)
    text = page.locator("#slow-steps .on").text_content()
    shown = numbers(text)[1:]
    assert shown[0] == pytest.approx(-before, abs=0.06)
    assert shown[1] == pytest.approx(-page.evaluate("explorer.loss.elbo"), abs=0.3)
    held = page.evaluate("sumOf(explorer.training.last.held)")
    assert shown[3] == pytest.approx(held, abs=0.06)
    assert page.evaluate("explorer.slow.old") == q
    assert page.locator("#loss-scale").text_content() == scale, "the scale stays"
    page.locator("#slow-steps").click()
    until(page, "explorer.slow === null")
    assert page.evaluate("explorer.training.last.steps") == 1
    assert page.said == []


# What the page bears


REFUSED = {
    "workers": "window.Worker = class { constructor() { throw new Error('refused'); } };",
    "workers, by an event": "window.Worker = class { postMessage() {} terminate() {}"
    " constructor() { setTimeout(() => this.onerror?.(new Event('error'))); } };",
    "blobs": "window.Blob = class { constructor() { throw new Error('refused'); } };",
    "WebAssembly": "delete window.WebAssembly; delete window.Worker;",  # a worker would have its own
    "DecompressionStream": "delete window.DecompressionStream;",
    "canvas contexts": "HTMLCanvasElement.prototype.getContext = () => null;",
    "IntersectionObserver": "delete window.IntersectionObserver;",
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.slow
def test_what_cannot_work_says_so_and_the_rest_plays_on(visit, page_html, what):
    page = visit(page_html, before=REFUSED[what])
    settle(page)
    page.locator("#pick-class button").nth(2).click()
    page.locator("#draw-again").click()
    settle(page)
    assert number(page, "#loss-total") > 0, "the numbers are there"
    page.locator("#train-new").click()
    until(page, "explorer.training.last?.steps > 1 || byId('train-note').textContent.length > 20")
    trains = page.evaluate("explorer.training.last?.steps > 1")
    assert trains or page.locator("#train-start").inner_text() == "Train"
    if what == "canvas contexts":
        assert page.locator(".cannot").count() > 3
        assert "the browser gives no canvas" in page.locator("#plane-panel .cannot").text_content()
    else:
        assert page.locator(".cannot").count() == 0


@pytest.mark.parametrize("share", [0.5, 0.995])
@pytest.mark.slow
def test_a_page_that_is_cut_says_so(visit, page_html, share, tmp_path):
    path = tmp_path / "cut.html"
    path.write_text(page_html[: int(share * len(page_html))], encoding="utf-8")
    page = visit(page_html)
    page.goto(path.as_uri())
    until(page, "document.getElementById('broken').getBoundingClientRect().height > 10")
    assert "incomplete" in page.locator("#broken").inner_text()
    assert page.evaluate("document.querySelector('main').inert"), "its buttons cannot be pressed"
    whole = visit(page_html)
    assert whole.locator("#broken").count() == 0


@pytest.mark.slow
def test_a_frame_without_a_size_and_many_resizes(visit, page_html):
    page = visit(page_html)
    for width, height in [(1, 1), (1360, 900), (300, 2000), (2500, 300)] * 4:
        page.set_viewport_size({"width": width, "height": height})
        settle(page)
    frame = "<!doctype html><iframe id='inner' style='width: 0; height: 0; border: 0'></iframe>"
    outer = page.context.new_page()
    errors = []
    outer.on("pageerror", lambda error: errors.append(str(error)))
    outer.set_content(frame)
    outer.evaluate("(text) => { document.getElementById('inner').srcdoc = text; }", page_html)
    inside = "document.getElementById('inner').contentWindow"
    until(outer, f"{inside}.explorer !== undefined")
    outer.evaluate("document.getElementById('inner').style.cssText = 'width: 900px; height: 700px'")
    until(outer, f"{inside}.document.getElementById('plane').width > 100")
    assert errors == []
    assert page.said == []


CLICKS = """async ([count, seed]) => {
  const random = () => ((seed = (seed * 16807) % 2147483647) - 1) / 2147483646;
  const errors = [];
  addEventListener("error", (event) => errors.push(event.message));
  addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
  for (const id of ["own-files", "own-folder"]) byId(id).click = () => {}; // the browser opens no dialog for a script
  for (let k = 0; k < count; k++) {
    const every = document.querySelectorAll("button, input, select, summary, canvas[tabindex]");
    const all = [...every].filter((e) => e.checkVisibility());
    const one = all[Math.floor(random() * all.length)];
    const box = one.getBoundingClientRect();
    const [clientX, clientY] = [box.left + random() * box.width, box.top + random() * box.height];
    if (one.tagName === "CANVAS") {
      one.setPointerCapture = one.releasePointerCapture = () => {};
      one.hasPointerCapture = () => true;
      for (const type of ["pointerdown", "pointermove", "pointerup"]) {
        const [x, y] = [clientX + 30 * random(), clientY + 30 * random()];
        const more = { pointerId: 1, bubbles: true, shiftKey: random() < 0.2 };
        one.dispatchEvent(new PointerEvent(type, { ...more, clientX: x, clientY: y }));
      }
      const keys = ["ArrowUp", "ArrowLeft", "Enter", "+", "-", "0", "c", "e", "d", " ", "<", ">"];
      one.dispatchEvent(new KeyboardEvent("keydown", { key: keys[Math.floor(random() * keys.length)], bubbles: true }));
    } else if (one.type === "range") {
      one.value = Number(one.min) + random() * (one.max - one.min);
      one.dispatchEvent(new Event("input"));
    } else if (one.id !== "link") {
      one.click();
    }
    if (k % 50 === 0) document.documentElement.style.width = `${300 + Math.floor(random() * 1200)}px`;
    if (k % 5 === 0) await new Promise((done) => setTimeout(done));
    if (k % 100 === 0) {
      explorer.changed("theme");
      await new Promise((done) => requestAnimationFrame(done));
    }
  }
  const broken = [...document.querySelectorAll(".cannot")].map((note) => note.textContent);
  return { errors, broken };
}"""


@pytest.mark.slow
def test_ten_thousand_random_clicks_make_no_error_and_leave_no_untrue_button(visit, page_html):
    page = visit(page_html)
    for seed in range(1, 11):
        assert page.evaluate(CLICKS, [1000, seed]) == {"errors": [], "broken": []}
    page.evaluate("byId('train-back').click()")
    until(page, "!explorer.training.running && explorer.whose.at === 'page'")
    assert page.locator("#train-start").inner_text() == "Train"
    assert page.said == []


@pytest.mark.slow
def test_the_policy_forbids_all_loading(visit, sample):
    page = visit(explorer.page(*vae_mnist.halves(vae_mnist.build_vae(latent_dim=3, hidden_dim=4)), sample, COLOURS))
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'loaded', () => 'refused')") == "refused"
    added = "const s = document.createElement('script'); s.textContent = 'window.taken = 1'; document.body.append(s);"
    page.evaluate(f"() => {{ {added} }}")
    assert page.evaluate("window.taken") is None
    assert all("Content Security Policy" in text for text in page.said)
    assert len(page.said) >= 2


def test_the_page_carries_labels_of_the_images_that_it_holds_out(page_html):
    text = page_html.split('id="contents">', 1)[1].split("</script>", 1)[0]
    training = json.loads(text)["training"]
    assert len(training["labels"]) == min(1000, explorer.HELD_OUT)
