"""The tabs of the explorer, its tour and its address, in a real browser."""

import base64
import json
import re
import zlib

import numpy as np
import pytest
from conftest import ROOT, decode
from explorer_pages import COLOURS, drawn, hear, middle_of, pixels, settle, show, until
from explorer_pages import open_page as open_page
from explorer_pages import page as page
from explorer_pages import page_html as page_html
from explorer_pages import replay as replay
from explorer_pages import shared_page as shared_page
from explorer_pages import visit as visit

import vae_mnist
from seevae.results import explorer


def test_new_digits_are_draws_of_the_prior_and_their_letters_stand_in_the_plane(page, replay):
    page.evaluate("explorer.lettered = false")
    settle(page)
    assert page.locator("#prior-tray figcaption").first.text_content() == ""
    before = page.evaluate("explorer.prior")
    page.locator("#prior-fresh").click()
    settle(page)
    z = page.evaluate("explorer.prior")
    assert len(z) == 12
    assert z != before
    expected = decode(replay.trained, [z[3]])[0]
    np.testing.assert_allclose(drawn(page, "#prior-tray canvas", 3), expected, atol=0.02)
    assert page.locator("#prior-tray figcaption").all_text_contents() == list("abcdefghijkl")


def test_prior_samples_follow_the_normal_distribution(page):
    z = np.array(page.evaluate("Array.from({ length: 20000 }, normal)"))
    assert abs(z.mean()) < 5 / 20000**0.5
    assert abs(z.var() - 1) < 5 * (2 / 20000) ** 0.5
    assert (np.abs(z) < 1).mean() == pytest.approx(0.6827, abs=0.02)


def test_a_walk_goes_from_the_first_place_to_the_second(page, replay):
    show(page, "walk")
    x, y, _ = middle_of(page, "#plane")
    codes = []
    for dx, dy in ((-90, -40), (100, 60)):
        page.mouse.click(x + dx, y + dy)
        settle(page)
        codes.append(page.evaluate("explorer.z"))
    assert page.locator("#walk canvas").count() == 12
    for index in (0, 5, 11):
        z = np.array(codes[0]) + index / 11 * (np.array(codes[1]) - codes[0])
        expected = decode(replay.trained, [z])[0]
        np.testing.assert_allclose(drawn(page, "#walk canvas", index), expected, atol=0.02)


@pytest.mark.slow
def test_the_replay_goes_through_the_training_in_the_one_plane(page, replay):
    show(page, "replay")
    moment = page.locator("#replay-moment")
    assert int(moment.get_attribute("max")) == len(replay.moments) - 1 == 11
    said = "document.getElementById('replay-numbers').textContent"
    assert page.evaluate(said) == f"after epoch 2: held-out loss {replay.loss[-1]:.1f} nats"
    moment.press("Home")
    settle(page)
    assert page.evaluate(said) == f"before the first step: held-out loss {replay.loss[0]:.1f} nats"
    first = pixels(page, "#plane-dots", side=100)
    moment.press("ArrowRight")
    settle(page)
    assert "10 % of the first epoch" in page.evaluate(said)
    assert (pixels(page, "#plane-dots", side=100) != first).any()
    shown = np.array(page.evaluate("[...explorer.replay.frames[1]]")).reshape(-1, 2)
    np.testing.assert_allclose(shown, replay.z[1], atol=1e-3)
    moment.press("Home")
    page.locator("#replay-play").click()
    until(page, "byId('replay-moment').value === '11' && byId('replay-play').textContent === 'Play'")


def test_without_a_replay_its_tab_is_left_out(visit, replay, sample):
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS))
    assert "replay" not in page.evaluate("explorer.tabs")
    assert page.locator("#plane").is_visible()
    assert page.said == []


@pytest.mark.slow
def test_the_straight_axes_are_those_of_a_singular_value_decomposition(page, sample):
    """The two axes span the plane that NumPy finds, and its picture of a digit is the same."""
    show(page, "axes")
    until(page, "byId('axes-numbers').textContent.includes('held-out')")
    found, x = page.evaluate(
        """async () => {
          const axes = await principalAxes((await explorer.training.images).images);
          const { x } = explorer.image;
          return [[...straight(axes, along(axes, x))], [...x]];
        }"""
    )
    training = json.loads(page.locator("#contents").text_content())["training"]
    images = np.frombuffer(zlib.decompress(base64.b64decode(training["images"])), "u1").reshape(-1, 784) / 255
    x = np.array(x)
    count = min(1000, len(images))
    rows = images[(np.arange(count) * (len(images) // count))]
    mean = rows.mean(axis=0)
    axes = np.linalg.svd(rows - mean, full_matrices=False)[2][:2]
    expected = np.clip(mean + (x - mean) @ axes.T @ axes, 0, 1)
    np.testing.assert_allclose(found, expected, atol=0.02)
    np.testing.assert_allclose(drawn(page, "#axes-straight"), expected, atol=0.02)
    kept = np.clip(found, 0.01, 0.99)
    loss = -(x * np.log(kept) + (1 - x) * np.log(1 - kept)).sum()
    assert f"straight axes {loss:.1f} nats" in page.locator("#axes-numbers").text_content()


# The tour


@pytest.mark.slow
def test_the_tour_goes_from_place_to_place_and_leaves_all_as_it_was(visit, replay, sample):
    page = visit(explorer.page(*vae_mnist.halves(replay.trained), sample, COLOURS))
    assert page.locator("#tour").is_hidden()
    start = page.evaluate("[...explorer.model.decode([0, 0])]")
    page.locator("#tour-start").click()
    titles = []
    while True:
        titles.append(page.locator("#tour-title").inner_text())
        settle(page)
        assert page.locator(".on-tour").count() == 1
        places = "['.on-tour', '#tour', '#dock'].map((name) => document.querySelector(name).getBoundingClientRect())"
        box, tour, dock = page.evaluate(f"{places}.map((box) => box.toJSON())")
        assert box["y"] >= tour["bottom"], f"the box does not hide what it speaks of: {titles[-1]}"
        if page.evaluate("!byId('dock').contains(document.querySelector('.on-tour'))"):
            assert box["y"] + min(box["height"], 150) <= dock["y"], titles[-1]
        assert page.evaluate("document.activeElement.id") == "tour-next"
        if page.locator("#tour-next").inner_text() == "End the tour":
            break
        page.locator("#tour-next").click()
    assert [title[:8] for title in titles] == [f"{number} of 7. " for number in range(1, 8)]
    assert page.evaluate("explorer.switches.beta === 0 && !explorer.switches.sampleNoise")
    until(page, "explorer.training.last?.steps > 5")
    page.keyboard.press("Escape")
    assert page.locator("#tour").is_hidden()
    until(page, "!explorer.training.running && explorer.switches.beta === 1")
    assert page.evaluate("[...explorer.model.decode([0, 0])]") == start
    assert page.evaluate("document.activeElement.id") == "tour-start"
    assert page.said == []


def test_the_walk_of_the_tour_joins_the_middles_of_two_classes(page, sample):
    found = page.evaluate("walkOfTour(explorer)")
    z, labels = page.evaluate("[[...explorer.codes.z], [...explorer.codes.labels]]")
    z, labels = np.array(z).reshape(-1, 2), np.array(labels)
    for label in (0, 1):
        low, high = np.percentile(z[labels == label], [40, 60], axis=0)
        assert ((low <= found[label]) & (found[label] <= high)).all()


@pytest.mark.slow
def test_a_tour_without_a_plane_leaves_its_steps_out(visit, sample):
    page = visit(explorer.page(*vae_mnist.halves(vae_mnist.build_vae(latent_dim=5, hidden_dim=16)), sample, COLOURS))
    page.locator("#tour-start").click()
    assert page.locator("#tour-title").inner_text().startswith("1 of 3.")
    for _ in range(3):
        page.locator("#tour-next").click()
    assert page.locator("#tour").is_hidden()
    assert page.said == []


# The address


@pytest.mark.slow
def test_the_address_holds_the_state_and_a_link_brings_it_back(visit, page_html):
    page = visit(page_html)
    page.locator("#pick-class button").nth(7).click()
    page.locator("#pick-digit button").nth(2).click()
    page.evaluate("explorer.hand = [0.5, -1.25]; explorer.training.set({ beta: 4, oneNoise: true })")
    show(page, "walk")
    page.evaluate("explorer.walk = [[0, 0], [1, 1.5]]")
    until(page, "location.hash.includes('from=')")
    expected = "#digit=7.2&at=0.50,-1.25&tab=walk&from=0.00,0.00&to=1.00,1.50&beta=4&mistake=oneNoise"
    assert page.evaluate("location.hash") == expected
    link = page.url
    other = page.context.new_page()
    other.goto(link)
    assert other.evaluate("[explorer.hand, explorer.tab, explorer.walk]") == [[0.5, -1.25], "walk", [[0, 0], [1, 1.5]]]
    assert other.locator("#pick-class [aria-pressed=true]").inner_text() == "7"
    assert other.evaluate("explorer.switches.beta === 4 && explorer.switches.oneNoise")
    other.locator("#paper").click(position={"x": 60, "y": 60})  # a painting is no part of a link
    until(other, "!location.hash.includes('digit=')")
    empty = "#beta=&at=&digit=&tab=&z-noise=&from=,&to="
    for wrong in (empty, "#at=x,y&digit=99.1&beta=-3&tab=nowhere&beta=1e9", "#at=1", "#=&&=", "#walking"):
        other.goto("about:blank")
        other.goto(link.split("#")[0] + wrong)
        assert other.evaluate("explorer.switches.beta") == 1, wrong
        assert other.evaluate("[explorer.hand, explorer.tab, explorer.walk.length]") == [None, "new", 0]
    assert page.said == []


def test_the_address_is_written_while_z_moves_by_itself(visit, page_html):
    page = visit(page_html, reduced_motion="no-preference")
    page.locator("#pick-class button").nth(4).click()
    assert page.locator("#wander").is_checked()
    until(page, "location.hash.startsWith('#digit=4.')")


@pytest.mark.slow
def test_a_link_can_be_copied_and_where_that_is_refused_it_stands_there(visit, page_html):
    page = visit(page_html, before="navigator.clipboard.writeText = async (text) => { window.copied = text; };")
    show(page, "replay")
    hear(page)
    page.locator("#copy-link").click()
    until(page, "window.copied?.includes('tab=replay')")
    until(page, "heard.includes('The link is copied.')")
    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('no'); }; }")
    page.locator("#copy-link").click()
    until(page, "!byId('link').hidden")
    assert "tab=replay" in page.locator("#link").input_value()
    assert page.evaluate("document.activeElement.id") == "link"
    assert page.said == []


def test_ten_states_for_teachers_are_in_the_page_and_in_the_docs_and_each_leads_there(page):
    found = page.evaluate("STATES")
    assert len(found) == 10
    text = (ROOT / "docs" / "explorer-links.md").read_text(encoding="utf-8")
    links = re.findall(r"^\d+\. \[(.*?)\]\(\S*?explorer\.html#(\S*?)\)", text, flags=re.M)
    assert links == [tuple(pair) for pair in found]
    tabs = page.evaluate("explorer.tabs")
    for _, address in found:
        page.evaluate("(address) => goTo(explorer, readAddress('#' + address.replace(/&train=\\w+/, '')))", address)
        settle(page)
        parts = dict(part.split("=") for part in address.split("&"))
        assert page.evaluate("explorer.tab") == parts["tab"]
        assert parts["tab"] in tabs
        if "digit" in parts:
            assert page.evaluate("addressOf(explorer)").startswith(f"#digit={parts['digit']}")
    page.evaluate("explorer.training.goBack()")
    assert json.dumps(page.evaluate("explorer.switches.beta")) == "1"
