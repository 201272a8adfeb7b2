"""What the tests of the explorer's page share: a small model, pages in a real browser, and ways to use them."""

import itertools
import re
import time

import numpy as np
import pytest
from conftest import TWO_EPOCHS, learn

import vae_mnist
from seevae.results import explorer, pictures
from seevae.results.replay import Replay

COLOURS = pictures.CLASS_COLOURS
PATIENCE = 120  # seconds: a test fails by what a page does, not by how fast a machine is
SEVEN = [(0.3, 0.2), (0.6, 0.2), (0.45, 0.5)]


def blank_page(browser, before=None, **settings):
    """A page that gathers what is said on its console, and its errors; before: a script that runs before its own."""
    context = browser.new_context(**settings)
    context.set_default_timeout(1000 * PATIENCE)
    page = context.new_page()
    page.said = []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    if before:
        page.add_init_script(before)
    return page


@pytest.fixture(scope="module")
def open_page(browser, tmp_path_factory):
    """Open a page from its HTML; what it says on the console, and its errors, are gathered in page.said.

    spacings: of the posterior's grids, one after the other; the page's own last one takes seconds of a processor.
    before: a script that runs before the page's own.
    """
    main = (explorer.HERE / "main.js").read_text(encoding="utf-8")

    def open_page(html, spacings="[0.1]", before=None, address="", **settings):
        coarser = main.replace("[0.05, 0.025, 0.0125]", spacings)
        assert coarser != main
        html = html.replace(main, coarser).replace(explorer.digest(main), explorer.digest(coarser))
        path = tmp_path_factory.mktemp("page") / "explorer.html"
        path.write_text(html, encoding="utf-8")
        settings = {"viewport": {"width": 1360, "height": 900}, "reduced_motion": "reduce"} | settings
        page = blank_page(browser, before, **settings)
        page.on("request", lambda request: page.said.append(request.url) if request.url[:4] == "http" else None)
        page.goto(path.as_uri() + address)
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


@pytest.fixture(scope="session")
def replay(sample):
    """What the callback records of two epochs of a small model on 1,000 images; the model is its `trained`."""
    vae_mnist.keras.utils.set_random_seed(0)
    recorder = Replay(sample.x_test[:300], sample.y_test[:300], vae_mnist.evaluate_elbo)
    recipe = TWO_EPOCHS._replace(batch_size=20)
    recorder.trained, _ = learn(recipe, sample.x_train[:1000], callbacks=[recorder], hidden_dim=16)
    return recorder


@pytest.fixture(scope="session")
def page_html(replay, sample):
    """The page of that model."""
    return explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS, replay, origin="trained on the sample")


@pytest.fixture(scope="module")
def shared_page(open_page, page_html):
    """One page for the tests of a file."""
    page = open_page(page_html)
    until(page, "explorer.posterior !== null")
    return page


@pytest.fixture
def page(shared_page):
    """The shared page with its own weights, back at a first digit, on the first tab."""
    shared_page.evaluate(
        "() => { explorer.tab = 'new'; explorer.shown = 'probability'; explorer.under = false; scrollTo(0, 0);"
        " explorer.switches = { ...VAE }; if (explorer.training.worker) explorer.training.goBack(); }"
    )
    pick(shared_page, 3, 6)
    yield shared_page
    assert shared_page.said == [], "the console stays silent, and nothing is loaded"


def pick(page, label, place):
    """Pick a held-out digit of the class."""
    page.locator("#pick-class button").nth(label).click()
    page.locator("#pick-digit button").nth(place).click()
    settle(page)


def show(page, tab):
    page.locator(f"#show-{tab}").click()
    settle(page)


def until(page, condition):
    """Wait until a JavaScript expression holds, or a function returns true; then let the page draw what has changed.

    (Playwright's own way needs eval, which the page's policy forbids.)
    """
    end = time.monotonic() + PATIENCE
    while not (condition() if callable(condition) else page.evaluate(condition)):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {condition}"
        page.wait_for_timeout(50)
    settle(page)


def settle(page):
    """Let the page draw what has changed."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def hear(page):
    """Keep in `heard` what a screen reader is told from now on: a later sentence takes the place of an earlier one."""
    page.evaluate("""() => {
      window.heard = [];
      new MutationObserver(() => heard.push(byId("spoken").textContent)).observe(byId("spoken"), { childList: true });
    }""")


def number(page, selector):
    return float(page.locator(selector).text_content().replace("\N{MINUS SIGN}", "-"))


def numbers(text):
    return [float(value.replace("\N{MINUS SIGN}", "-")) for value in re.findall(r"[−\d][\d.]*", text)]


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


def drag(page, place, by):
    page.mouse.move(*place)
    page.mouse.down()
    page.mouse.move(place[0] + by[0], place[1] + by[1], steps=6)
    page.mouse.up()
    settle(page)


def swipe(page, selector, places):
    """Draw with a finger, by the browser's own touch events; places: from 0 to 1 in the element."""
    box = page.locator(selector).bounding_box()
    session = page.context.new_cdp_session(page)
    points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in places]
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:1]})
    for start, end in itertools.pairwise(points):
        for share in (0.25, 0.5, 0.75, 1):
            point = {key: start[key] + share * (end[key] - start[key]) for key in "xy"}
            session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    settle(page)


def scroll(page, act):
    """Do what scrolls the page, and wait until it is at rest: it rolls on after a quick finger, whatever comes next."""
    page.evaluate("() => { window.atRest = false; document.onscrollend = () => (window.atRest = true); }")
    act()
    until(page, "atRest")
