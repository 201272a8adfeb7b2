"""Own images in the explorer: from a folder to a trained model, what is taken home, and that page opened again."""

import io
import zipfile

import numpy as np
import pytest
from explorer_pages import drawn, settle, show, until
from explorer_pages import open_page as open_page
from explorer_pages import page_html as page_html
from explorer_pages import replay as replay
from explorer_pages import visit as visit
from PIL import Image


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three classes of 60 pictures, each class in a folder of its own: bars, discs and crosses, somewhere."""
    place = tmp_path_factory.mktemp("own") / "shapes"
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:28, 0:28]
    for name in ("bars", "discs", "crosses"):
        (place / name).mkdir(parents=True)
        for number in range(60):
            y, x = rng.uniform(9, 19, 2)
            high, wide = np.abs(rows - y), np.abs(columns - x)
            ink = {"bars": (wide < 2) & (high < 9), "discs": high**2 + wide**2 < 40}.get(
                name, np.minimum(high, wide) < 1.5
            )
            Image.fromarray((255 * ink).astype("uint8")).save(place / name / f"{number:02}.png")
    return place


@pytest.mark.slow
def test_a_folder_is_learned_saved_and_opened_again(visit, page_html, folder, tmp_path):
    page = visit(page_html)
    show(page, "own")
    assert "Nothing leaves your machine" in page.locator("#tab-own").inner_text()
    page.locator("#own-folder").set_input_files(folder)
    until(page, "explorer.data !== explorer.home && explorer.training.last?.steps > 20")
    assert page.evaluate("explorer.data.names") == ["bars", "crosses", "discs"]
    assert page.locator("#pick-class button").all_inner_texts() == ["bars", "crosses", "discs"]
    assert page.locator("#own-account li").count() > 0
    assert page.evaluate("explorer.codes.labels.length * 2 === explorer.codes.z.length")
    assert page.evaluate("Math.max(...explorer.codes.labels)") == 2
    x = np.array(page.evaluate("[...explorer.image.x]"))
    pictures = [np.asarray(Image.open(path)).ravel() / 255 for path in folder.glob("*/*.png")]
    assert min(np.abs(picture - x).mean() for picture in pictures) < 0.01, "the paper shows one of them"
    page.locator("#train-start").click()
    until(page, "!explorer.training.running && explorer.posterior !== null")
    place = "[...explorer.model.decode([0.5, -0.5])]"
    saved = {}
    for button, count in (("save-page", 1), ("save-weights", 1), ("save-pictures", 2)):
        gathered = []

        def gather(download, gathered=gathered):
            gathered.append(download)

        page.on("download", gather)
        page.locator(f"#{button}").click()
        until(page, lambda gathered=gathered, count=count: len(gathered) == count)
        page.remove_listener("download", gather)
        for one in gathered:
            one.save_as(tmp_path / one.suggested_filename)
            saved[one.suggested_filename] = tmp_path / one.suggested_filename
    assert sorted(saved) == ["latent_scatter.png", "manifold.png", "my-vae.html", "vae.npy"]
    with Image.open(saved["manifold.png"]) as manifold:
        assert manifold.size == (1120, 1120)
    weights = np.load(saved["vae.npy"])
    hidden = np.maximum([0.5, -0.5] @ weights["decoder_h.kernel"] + weights["decoder_h.bias"], 0)
    logits = hidden @ weights["decoder_output.kernel"] + weights["decoder_output.bias"]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), page.evaluate(place), atol=1e-5)
    other = page.context.new_page()
    other.goto(saved["my-vae.html"].as_uri())
    assert other.evaluate("explorer.data.names") == ["bars", "crosses", "discs"]
    np.testing.assert_allclose(other.evaluate(place), page.evaluate(place), atol=0.002)
    codes = "[...explorer.codes.z]"
    np.testing.assert_allclose(other.evaluate(codes), page.evaluate(codes), atol=0.01)
    assert "replay" not in other.evaluate("explorer.tabs")
    other.locator("#train-start").click()
    until(other, "explorer.training.last?.steps > 1")
    page.locator("#train-back").click()
    settle(page)
    assert page.evaluate("explorer.data === explorer.home")
    assert len(page.locator("#pick-class button").all_inner_texts()) == 10
    assert page.said == []


def test_one_drawn_digit_becomes_the_digit_and_bad_files_are_told(visit, page_html, tmp_path):
    page = visit(page_html)
    one = np.full((300, 400), 250, "uint8")
    one[60:240, 190:215] = 30
    Image.fromarray(one).save(tmp_path / "one.png")
    (tmp_path / "text.txt").write_text("no picture")
    with zipfile.ZipFile(tmp_path / "broken.zip", "w") as archive:
        archive.writestr("a/1.png", b"nothing")
    show(page, "own")
    page.locator("#own-files").set_input_files(tmp_path / "one.png")
    until(page, "explorer.image.pick === null")
    assert 18 <= np.ptp(np.flatnonzero(seen(page)[0])) + 1 <= 21, "it fills the box of 20"
    np.testing.assert_allclose(drawn(page, "#paper"), page.evaluate("[...explorer.image.x]"), atol=0.05)
    model = page.evaluate("[...explorer.model.decode([0, 0])]")
    for name in ("text.txt", "broken.zip"):
        page.evaluate("byId('own-said').textContent = ''")
        page.locator("#own-files").set_input_files(tmp_path / name)
        until(page, "byId('own-said').textContent.length > 20 && byId('own-progress').hidden")
        assert page.evaluate("[...explorer.model.decode([0, 0])]") == model, "nothing that was there is lost"
        assert page.evaluate("explorer.data === explorer.home")
    assert page.said == []


def own_arrays(page, path, **arrays):
    """Let the page read arrays, and stop the training that begins."""
    np.savez(path, **arrays)
    show(page, "own")
    page.locator("#own-files").set_input_files(path)
    until(page, "explorer.data !== explorer.home && explorer.training.last !== null")
    page.locator("#train-start").click()
    until(page, "!explorer.training.running")


def test_images_without_classes_have_one_colour_and_a_few_to_pick(visit, page_html, tmp_path):
    page = visit(page_html)
    noise = np.random.default_rng(0).integers(0, 256, (180, 28, 28)).astype("uint8")
    own_arrays(page, tmp_path / "plain.npz", images=noise)
    names, colours, picks = page.evaluate("[explorer.data.names, explorer.data.colours, explorer.data.picks.length]")
    assert (names, len(colours), picks) == (["image"], 1, 24)
    assert page.evaluate("contentsOf(explorer).then(({ picks, names }) => [picks.labels.length, names])") == [24, names]
    assert page.said == []


def test_the_held_out_images_that_are_shown_are_of_all_classes(visit, page_html, tmp_path):
    """Folders, and many files, hold one class after the other; the training is judged by the first 500."""
    page = visit(page_html)
    noise = np.random.default_rng(0).integers(0, 256, (1500, 28, 28)).astype("uint8")
    labels = np.repeat([3, 5], 750)
    own_arrays(page, tmp_path / "own.npz", x_train=noise[:200], y_train=labels[-200:], x_test=noise, y_test=labels)
    shown = page.evaluate("explorer.training.images.then(({ labels }) => [...labels])")
    assert len(shown) == 1000
    assert 200 < sum(shown[:500]) < 300
    assert "1,000 are shown" in page.locator("#own-account").inner_text()
    assert page.said == []


def test_of_files_that_are_dropped_the_last_are_taken(visit, page_html):
    page = visit(page_html)
    pictures = []
    for shape in ((20, 3), (3, 20)):
        buffer = io.BytesIO()
        Image.fromarray(np.pad(np.zeros(shape, "uint8"), 20, constant_values=255)).save(buffer, "PNG")
        pictures.append(list(buffer.getvalue()))
    page.evaluate(
        """(pictures) => pictures.forEach((bytes) => {
          const data = new DataTransfer();
          data.items.add(new File([Uint8Array.from(bytes)], "one.png", { type: "image/png" }));
          dispatchEvent(new DragEvent("dragover", { dataTransfer: data, cancelable: true }));
          dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
        })""",
        pictures,
    )
    until(page, "explorer.image.pick === null && byId('own-progress').hidden")
    tall, wide = (np.ptp(np.flatnonzero(x)) for x in seen(page))
    assert wide > 15 > tall, "the one that lies"
    assert page.evaluate("explorer.tab") == "own"
    assert page.said == []


def seen(page):
    """Which rows, and which columns, of the image that the encoder sees hold ink."""
    x = np.array(page.evaluate("[...explorer.image.x]")).reshape(28, 28)
    return x.sum(axis=1) > 0.5, x.sum(axis=0) > 0.5
