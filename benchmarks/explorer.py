"""How fast the explorer is: its frames while someone paints, its opening, its training, and what the replay costs.

    python benchmarks/explorer.py [--data FILE.npz] [--epochs N]

Trains a default model with a Replay, opens its page in headless Chromium, paints five digits with the mouse, and writes
benchmarks/explorer.json. Needs playwright and Chromium or Chrome. A few minutes on two cores.

A frame is timed in the page, from the browser's call for it until it has drawn, laid out and painted: that is when a
message posted in the frame arrives. Everything is on the page: all panels, the exact loss, and the true posterior.
While the page trains, what counts is how long a reader waits from one frame to the next: 16.7 ms are 60 a second.
"""

import argparse
import itertools
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np

import vae_mnist
from seevae.images import data
from seevae.machine import devices
from seevae.results import explorer, pictures
from seevae.results.replay import Replay
from seevae.training.recipes import RECIPES

FRAME_TIMES = """
  window.frames_taken = [];
  const nextFrame = window.requestAnimationFrame.bind(window);
  const channel = new MessageChannel();
  let begin = 0;
  channel.port1.onmessage = () => { frames_taken.push(performance.now() - begin); begin = 0; };
  window.requestAnimationFrame = (draw) => nextFrame((time) => {
    if (begin === 0) { begin = performance.now(); channel.port2.postMessage(0); }
    draw(time);
  });
"""


class TimedReplay(Replay):
    """A Replay that knows how long its recording took."""

    seconds = 0.0

    def record(self, moment, loss=None):
        start = time.perf_counter()
        super().record(moment, loss)
        self.seconds += time.perf_counter() - start


def train(dataset, epochs):
    """Train the default model; returns it, its replay, and what recording took of the training time."""
    vae_mnist.keras.utils.set_random_seed(0)
    replay = TimedReplay(dataset.x_test[:1000], dataset.y_test[:1000], vae_mnist.evaluate_elbo)
    recipe = RECIPES["default"]._replace(epochs=epochs)
    vae = vae_mnist.build_vae(recipe)
    vae_mnist.compile_vae(vae, recipe, len(dataset.x_train))
    start = time.perf_counter()
    vae_mnist.train(vae, dataset.x_train, dataset.x_test, recipe, verbose=0, callbacks=[replay])
    seconds = time.perf_counter() - start
    return vae, replay, {"epochs": epochs, "seconds": seconds, "share": replay.seconds / (seconds - replay.seconds)}


def wait_for(page, condition):
    """Wait until a JavaScript expression holds; returns the seconds since the page was opened."""
    while not page.evaluate(condition):
        page.wait_for_timeout(20)
    return page.evaluate("performance.now() / 1000")


# A 3, a 7, an 8, a 4 and a 0: strokes through a few places on the paper, each from 0 to 1.
DIGITS = [
    [[(0.3, 0.2), (0.6, 0.15), (0.7, 0.3), (0.5, 0.45), (0.7, 0.6), (0.6, 0.8), (0.3, 0.8)]],
    [[(0.3, 0.2), (0.7, 0.2), (0.5, 0.5), (0.4, 0.85)]],
    [[(0.6, 0.2), (0.4, 0.3), (0.6, 0.6), (0.5, 0.8), (0.4, 0.6), (0.6, 0.3), (0.6, 0.2)]],
    [[(0.4, 0.2), (0.35, 0.5), (0.65, 0.5)], [(0.65, 0.2), (0.6, 0.85)]],
    [[(0.5, 0.2), (0.3, 0.5), (0.45, 0.8), (0.65, 0.6), (0.6, 0.25), (0.5, 0.2)]],
]
MOVES = 20  # of the mouse, between two of these places


def paint(page, digits):
    """Paint digits with the mouse, about 60 movements a second; returns the frames' times in ms."""
    box = page.locator("#paper").bounding_box()
    page.evaluate("frames_taken.length = 0")
    for strokes in digits:
        page.locator("#clear").click()
        for stroke in strokes:
            places = np.array(stroke) * (box["width"], box["height"]) + (box["x"], box["y"])
            page.mouse.move(*places[0])
            page.mouse.down()
            for start, end in itertools.pairwise(places):
                for move in range(1, MOVES + 1):
                    page.mouse.move(*(start + (end - start) * move / MOVES))
                    page.wait_for_timeout(16)
            page.mouse.up()
    return page.evaluate("frames_taken")


BETWEEN_FRAMES = """
  (count) => new Promise((done) => {
    const moments = [];
    const look = (time) => {
      moments.push(time);
      if (moments.length <= count) requestAnimationFrame(look);
      else done(moments.slice(1).map((moment, i) => moment - moments[i]));
    };
    requestAnimationFrame(look);
  })
"""


def train_in_page(page, frames=900):
    """Train the page's model for so many frames; returns steps a second, and the times from frame to frame in ms."""
    page.locator("#train-start").click()
    wait_for(page, "explorer.training.last?.steps > 20")
    steps, start = page.evaluate("[explorer.training.last.steps, performance.now()]")
    times = page.evaluate(BETWEEN_FRAMES, frames)
    now, end = page.evaluate("[explorer.training.last.steps, performance.now()]")
    page.locator("#train-start").click()
    return {"steps_per_s": 1000 * (now - steps) / (end - start), "between_frames": spread(times)}


def spread(times):
    return {
        "frames": len(times),
        "median_ms": statistics.median(times),
        "percentile_95_ms": statistics.quantiles(times, n=20)[-1],
        "largest_ms": max(times),
    }


def measure_page(html):
    """Open the page in headless Chromium and time it."""
    from playwright.sync_api import sync_playwright  # here, not above: the tables need no browser

    browser_path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = Path(folder) / "explorer.html"
        path.write_text(html, encoding="utf-8")
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000}, reduced_motion="reduce")
        page.add_init_script(FRAME_TIMES)
        page.goto(path.as_uri())
        usable = wait_for(page, "window.explorer !== undefined && frames_taken.length > 0")
        first = wait_for(page, "explorer.posterior !== null")
        preparing = spread(paint(page, DIGITS[:1]))
        finest = wait_for(page, "explorer.refined")
        painting = spread(paint(page, DIGITS))
        training = train_in_page(page)
        version = browser.version
        browser.close()
    return {
        "chromium": version,
        "bytes": len(html.encode()),
        "usable_s": usable,
        "posterior_s": first,
        "finest_grid_s": finest,
        "painting": painting,
        "painting_while_preparing": preparing,
        "training": training,
    }


def main():
    """Measure everything and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--epochs", type=int, default=30)
    args = parser.parse_args()
    dataset = data.load_data(args.data)
    vae, replay, recording = train(dataset, args.epochs)
    html = explorer.page(*vae_mnist.halves(vae), dataset, pictures.CLASS_COLOURS, replay, f"trained on {dataset.name}")
    record = {"device": devices.describe()["device"], "dataset": dataset.name, "recording": recording}
    record["page"] = measure_page(html)
    (HERE / "explorer.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
