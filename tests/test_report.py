"""The page report.html in a real browser: what it shows against arithmetic, and every way to use it."""

import base64
import io
import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from seevae.diagnosis import report


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def seen_of(latents=2, n=60, shape=(784,), names=("cat", "<b>dog</b>"), seed=0):
    """What examine saw of a toy: pixels whose logits are linear in z, and codes near the prior."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 1, (latents, math.prod(shape))).astype("float32")
    z_mean = rng.normal(0, 0.9, (n, latents)).astype("float32")
    x = sigmoid(z_mean @ weights) * rng.uniform(0.3, 1, (n, 1)).astype("float32")
    labels = rng.integers(0, len(names), n) if names else np.zeros(n, int)
    given = {"x": x, "shape": shape, "labels": labels, "names": names, "z_mean": z_mean, "z_log_var": 0 * z_mean - 2}
    losses = np.arange(n, dtype="float64")[::-1] + 100  # the last image comes back best
    return SimpleNamespace(**given, losses=losses, decode=lambda z, of=None: sigmoid(z @ weights), seed=0)


def record_of(seen, verdict="wrong"):
    """A record as examine returns it."""
    kl = [0.5 * float((m**2 + math.exp(-2) + 1).mean()) for m in seen.z_mean.T]
    return {
        "verdict": verdict, "dataset": "60 images", "images": len(seen.x), "latent_dim": len(kl),
        "latents_in_use": len(kl),
        "findings": ["Something <i>odd</i>: 12.5 nats."], "finding_details": [{"name": "odd", "severity": "wrong"}],
        "finding_names": ["odd"], "read_as": {"decode": "probabilities", "sigma": None},
        "held_out": {"elbo": -321.25, "reconstruction_loss": 316.0, "kl_loss": 5.25, "standard_error": 0.034,
                     "standard_error_of_images": 1.75},
        "evidence": {"importance_weighted": -318.5, "importance_samples": 100, "images": 60, "exact": -317.125,
                     "exact_error": 0.004, "gap": 4.125},
        "kl_of_latents": kl, "tested": ["the noise"], "unseen": ["softplus"], "left_out": [],
    }  # fmt: skip


@pytest.fixture
def visit(browser, tmp_path):
    """Open a page from its HTML; errors, messages and requests are gathered in page.said."""
    opened = []

    def visit(html, **settings):
        path = tmp_path / f"report{len(opened)}.html"
        path.write_text(html, encoding="utf-8")
        page = browser.new_context(**{"viewport": {"width": 1300, "height": 900}} | settings).new_page()
        opened.append(page)
        page.said = []
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        page.on("request", lambda request: page.said.append(request.url) if request.url[:4] == "http" else None)
        page.goto(path.as_uri())
        page.wait_for_load_state()
        return page

    yield visit
    for page in opened:
        assert page.said == []
        page.context.close()


def pixels(page, selector, mode="L"):
    """The pixels of an <img> or <canvas> of the page: (h, w) grey levels, or (h, w, 3)."""
    address = page.evaluate("s => { const e = document.querySelector(s); return e.src ?? e.toDataURL(); }", selector)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert(mode))


def at(page):
    return [float(page.locator(f"#at{i}").text_content()) for i in (1, 2)]


def test_it_says_what_the_record_says(visit):
    seen = seen_of()
    page = visit(report.page(record_of(seen), seen))
    text = page.locator("main").inner_text()
    for words in (
        "Something is wrong.",
        "Something <i>odd</i>: 12.5 nats.",
        "-321.25 ± 1.75",
        "-318.50",
        "-317.12 ± 0.004",
    ):
        assert words in text, words
    assert "4.12" in text
    kl = [sum(0.5 * (m * m + math.exp(-2) + 1) for m in row) for row in seen.z_mean.tolist()]
    assert f"5.25 ± {np.std(kl, ddof=1) / math.sqrt(60):.2f}" in text
    assert "<b>dog</b>" in text, "names are text"
    assert page.locator("li.wrong").count() == 1


def test_log_p_of_fewer_images_stands_beside_their_elbo():
    seen = seen_of()
    record = record_of(seen)
    assert "ELBO of the first" not in report.page(record, seen)
    record["evidence"] |= {"images": 40, "elbo": -319.5, "standard_error_of_images": 2.5}
    assert re.search(r"ELBO of the first 40</th><td>-319\.50 ± 2\.50<", report.page(record, seen))


def test_the_bars_are_as_high_as_the_kl(visit):
    seen = seen_of(latents=5)
    record = record_of(seen)
    page = visit(report.page(record, seen))
    heights = np.array([box.bounding_box()["height"] for box in page.locator(".bars div").all()])
    np.testing.assert_allclose(
        heights / heights.max(), np.array(record["kl_of_latents"]) / max(record["kl_of_latents"]), atol=0.02
    )
    assert page.locator(".latents figure").count() == 5


def test_the_best_the_middle_and_the_worst_images(visit):
    """The losses fall with the row: row 59 comes back best, row 0 worst."""
    seen = seen_of()
    page = visit(report.page(record_of(seen), seen))
    captions = page.locator(".images figcaption").all_inner_texts()
    losses = [float(re.search(r"([\d.]+) nats", words)[1]) for words in captions]
    assert losses == [100, 101, 102, 103, 104, 105, 127, 128, 129, 130, 131, 132, 154, 155, 156, 157, 158, 159]
    assert captions[0].startswith(seen.names[seen.labels[59]])
    image = pixels(page, ".images figure:nth-child(1) img:nth-child(1)")
    np.testing.assert_allclose(255 - image, 255 * seen.x[59].reshape(28, 28), atol=1)
    back = pixels(page, ".images figure:nth-child(1) img:nth-child(2)")
    np.testing.assert_allclose(255 - back, 255 * seen.decode(seen.z_mean[59:]).reshape(28, 28), atol=1)


def test_the_plane_draws_what_the_decoder_draws_there(visit):
    """By the mouse and by the keyboard; the picture is that of the nearest code of the grid."""
    seen = seen_of()
    page = visit(report.page(record_of(seen), seen))
    told = json.loads(page.locator("#seen").text_content())
    axis = np.linspace(-told["limit"], told["limit"], told["side"])

    def right():
        nearest = np.array([[axis[np.abs(axis - z).argmin()] for z in at(page)]], "float32")
        np.testing.assert_allclose(255 - pixels(page, "#drawn"), 255 * seen.decode(nearest).reshape(28, 28), atol=1)

    right()
    size = page.locator("#plane").bounding_box()["width"]
    page.locator("#plane").hover(position={"x": 0.8 * size, "y": 0.3 * size})
    assert at(page) == pytest.approx([0.6 * told["limit"], 0.4 * told["limit"]], abs=0.06)
    right()
    before = at(page)
    page.locator("#z1").focus()
    for _ in range(11):  # of 0.05
        page.keyboard.press("ArrowLeft")
    assert at(page) == pytest.approx([before[0] - 0.55, before[1]], abs=0.011)
    right()
    empty = pixels(page, "#plane").mean()
    page.locator("#under").focus()
    page.keyboard.press("Space")
    assert pixels(page, "#plane").mean() != empty


def test_the_points_lie_at_their_codes_in_the_colours_of_their_classes(visit):
    seen = seen_of(n=6, names=("a", "b"))
    seen.z_mean = np.array([[-2, 2], [2, 2], [-2, -2], [2, -2], [1, 0.5], [-1, -0.5]], "float32")
    page = visit(report.page(record_of(seen), seen))
    told = json.loads(page.locator("#seen").text_content())
    plane = pixels(page, "#plane", "RGB")
    for z, label in zip(seen.z_mean, seen.labels, strict=True):
        column, row = ((z * [1, -1] / told["limit"] + 1) / 2 * 1000).astype(int)
        assert "#{:02x}{:02x}{:02x}".format(*plane[row, column]) == told["colours"][label]
    assert page.locator(".legend li").all_inner_texts() == ["a", "b"]


def test_the_way_of_a_latent(visit):
    """Three latents: rows of images with one latent from -3 to 3, the others at the code of the middle image."""
    seen = seen_of(latents=3, names=())
    page = visit(report.page(record_of(seen), seen))
    assert page.locator("#plane").count() == 0
    rows = page.locator("figure:has(img.strip)")
    kl = (seen.z_mean**2).mean(axis=0)
    assert [words[:2] for words in rows.locator("figcaption").all_inner_texts()] == [
        f"z{i + 1}" for i in np.argsort(-kl)
    ]
    z = np.repeat(seen.z_mean[29:30], 11, axis=0)  # of 60, falling losses: the 31st best is row 29
    z[:, np.argmax(kl)] = np.linspace(-3, 3, 11)
    wanted = 255 * seen.decode(z).reshape(11, 28, 28).transpose(1, 0, 2).reshape(28, -1)
    np.testing.assert_allclose(255 - pixels(page, "figure img.strip"), wanted, atol=1)


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [((1, 10, 12), (10, 12)), ((3, 10, 12), (10, 12, 3)), ((10, 12, 3), (10, 12, 3)), ((300, 200), (100, 66))],
)
def test_images_of_other_shapes(shape, wanted):
    assert report.as_bytes(np.zeros((2, math.prod(shape))), shape).shape == (2, *wanted)


def test_images_that_are_no_pictures(visit):
    seen = seen_of(shape=(196,))
    page = visit(report.page(record_of(seen, "look"), seen))
    assert "No pictures" in page.locator("main").inner_text()
    assert page.locator("img").count() == 0


CONTRAST = """() => [...document.querySelectorAll("main *")].filter((e) => e.getClientRects().length
    && [...e.childNodes].some((c) => c.nodeType === 3 && c.textContent.trim())).map((e) => { let ground = e;
    while (getComputedStyle(ground).backgroundColor === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
    return [e.outerHTML.slice(0, 80), getComputedStyle(e).color, getComputedStyle(ground).backgroundColor]; })"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("verdict", list(report.VERDICTS))
@pytest.mark.slow
def test_every_text_has_contrast(visit, scheme, verdict):
    def luminance(colour):
        rgb = np.array([int(part) for part in re.findall(r"\d+", colour)[:3]]) / 255
        return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]

    seen = seen_of(n=12)
    record = record_of(seen, verdict)
    record["finding_details"] = [{"severity": kind} for kind in ("wrong", "look", "note")]
    record["findings"] = 3 * record["findings"]
    texts = visit(report.page(record, seen), color_scheme=scheme).evaluate(CONTRAST)
    assert len(texts) > 40
    for what, text, ground in texts:
        low, high = sorted((luminance(text), luminance(ground)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (what, text, ground)


@pytest.mark.parametrize("latents", [2, 64])
def test_a_phone_shows_it_without_scrolling_sideways(visit, latents):
    seen = seen_of(latents=latents)
    page = visit(report.page(record_of(seen), seen), viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1


def test_only_its_own_script_runs_and_nothing_is_loaded(visit):
    seen = seen_of(names=("</script><script>window.taken = 1</script>",))
    page = visit(report.page(record_of(seen), seen))
    assert page.evaluate("window.taken") is None
    assert page.evaluate("fetch('http://127.0.0.1:9/').then(() => 'loaded', () => 'refused')") == "refused"
    assert all("Content Security Policy" in text for text in page.said)
    page.said.clear()
