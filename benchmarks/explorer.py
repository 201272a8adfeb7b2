"""How fast the explorer is: its frames while someone paints, its opening, its training, and what the replay costs.

    python benchmarks/explorer.py [--data FILE.npz] [--epochs N]
    python benchmarks/explorer.py --page figures/explorer.html
    python benchmarks/explorer.py --learning figures/explorer.html

Trains a default model with a Replay, opens its page in headless Chromium, paints five digits with the mouse, and writes
benchmarks/explorer.json. Needs playwright and Chromium or Chrome. A few minutes on two cores.

A frame is timed in the page, from the browser's call for it until it has drawn, laid out and painted: that is when a
message posted in the frame arrives. Everything is on the page: all panels, the exact loss, and the true posterior.
While the page trains, what counts is how long a reader waits from one frame to the next: 16.7 ms are 60 a second.

The steps are timed in the whole page, from "New weights" on, in Chromium and in Firefox (where it is installed), with
the kernel in WebAssembly and, for comparison, without it: SECONDS each. --page measures all but the recording, with the
weights and images of a page that there is and the scripts as they are. --learning measures how far new weights come in
a page, and the script on the page's images. On an otherwise idle machine.
"""

import argparse
import base64
import functools
import http.server
import itertools
import json
import math
import queue
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import types
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = HERE / "explorer.json"
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]

import numpy as np
from tables import NAMED

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


# Presses "New weights" and notes each report: [seconds since then, steps, held-out loss]; posts them all after a while.
PRESS = """
  let start;
  const reports = [];
  explorer.panel({ place: "train-panel", needs: ["training"], draw() {
    const { last, running } = explorer.training;
    if (last && running) reports.push([(performance.now() - start) / 1000, last.steps, sumOf(last.held)]);
  } });
  setTimeout(() => {
    start = performance.now();
    byId("train-new").click();
  }, 2000);
  setTimeout(() => {
    const browser = /(Chrome|Firefox)[/][0-9.]+/.exec(navigator.userAgent)[0];
    fetch("/found", { method: "POST", body: JSON.stringify({ browser, reports }) });
  }, 2000 + SECONDS);
"""
SECONDS = 10  # for which each browser trains


class Host(http.server.BaseHTTPRequestHandler):
    """Gives a page to a browser, and keeps what the page posts."""

    def __init__(self, body, found, *more):
        self.body, self.found = body, found
        super().__init__(*more)

    def do_GET(self):
        self.answer(self.body)

    def do_POST(self):
        self.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(b"")

    def answer(self, content):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words):
        pass


def browsers():
    """The commands of the browsers that are installed, to be followed by the folder of a profile and an address."""
    names = [("chromium", "chromium-browser", "google-chrome"), ("firefox-esr", "firefox")]
    found = [next(filter(None, map(shutil.which, some)), None) for some in names]
    alone = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--user-data-dir"]
    return [
        [path, "--headless", *options]
        for path, options in zip(found, (alone, ["--no-remote", "--profile"]), strict=True)
        if path
    ]


def measure_steps(html, browser, seconds=SECONDS, kernel=True):
    """The reports of a training from new weights in a browser; the page is without its policy, as it posts them."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy" content="[^"]*">', "", html)
    if not kernel:
        html = html.replace("WebAssembly.instantiate(", "WebAssembly.refused(")
    body = html.replace("</body>", f"<script>{PRESS.replace('SECONDS', str(1000 * seconds))}</script></body>").encode()
    found = queue.Queue()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Host, body, found))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        place = [f"{browser[-1]}={profile}"] if browser[-1] == "--user-data-dir" else [browser[-1], profile]
        command = [*browser[:-1], *place, f"http://127.0.0.1:{server.server_port}/"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return found.get(timeout=seconds + 60)
        finally:
            process.terminate()
            process.wait()
            server.shutdown()


def pace(reports):
    """What reports say of a training: the time of a step (a median over the pairs of reports), and how far it came."""
    times = [1000 * (b[0] - a[0]) / (b[1] - a[1]) for a, b in itertools.pairwise(reports) if b[1] > a[1]]
    named = min((moment for moment, steps, _ in reports if steps >= NAMED), default=None)
    seconds, steps, loss = reports[-1]
    return {
        "step_ms": statistics.median(times or [math.nan]),
        f"until_step_{NAMED}_s": named,
        "end": {"seconds": seconds, "steps": steps, "held_out_loss": loss},
    }


def step_times(html):
    """What measure_steps finds in each browser, with the kernel and without it."""
    times = []
    for browser in browsers():
        found = {way: measure_steps(html, browser, kernel=way == "kernel") for way in ("kernel", "javascript")}
        paces = {way: pace(one["reports"]) for way, one in found.items()}
        times.append({"browser": found["kernel"]["browser"]} | paces)
    return times


MOMENTS = (30, 180)  # seconds of training in the page


def measure_learning(contents, html):
    """Held-out losses, nats: of new weights in the page by MOMENTS, and of the default recipe on the page's images."""
    reports = measure_steps(html, browsers()[0], seconds=MOMENTS[-1])["reports"]
    page = [dict(zip(("seconds", "steps", "loss"), max(r for r in reports if r[0] <= s), strict=True)) for s in MOMENTS]
    packed = (zlib.decompress(base64.b64decode(contents["training"][name])) for name in ("images", "heldOut"))
    x_train, x_test = (np.frombuffer(one, "uint8").reshape(-1, 784).astype("float32") / 255 for one in packed)
    labels = np.array(contents["training"]["labels"])
    vae, _, _ = train(types.SimpleNamespace(x_train=x_train, x_test=x_test, y_test=labels), RECIPES["default"].epochs)
    script = -vae_mnist.evaluate_elbo(vae, x_test)["elbo"]
    return {"images": len(x_train), "page": page, "script": {"epochs": RECIPES["default"].epochs, "loss": script}}


def main():
    """Measure everything and keep the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--page", type=Path, help="measure this page, with the scripts as they are; train none")
    parser.add_argument("--learning", type=Path, help="measure how far new weights come in this page, for 3 minutes")
    args = parser.parse_args()
    if path := args.page or args.learning:
        text = path.read_text(encoding="utf-8")
        contents = json.loads(re.search(r'id="contents">(.*?)</script>', text, re.DOTALL)[1])
        record, html = json.loads(RECORD.read_text()), explorer.assemble(contents)
        return keep(record | (page_times(html) if args.page else {"learning": measure_learning(contents, html)}))
    dataset = data.load_data(args.data)
    vae, replay, recording = train(dataset, args.epochs)
    html = explorer.page(*vae_mnist.halves(vae), dataset, pictures.CLASS_COLOURS, replay, f"trained on {dataset.name}")
    record = {"device": devices.describe()["device"], "dataset": dataset.name, "recording": recording}
    keep(record | page_times(html))


def page_times(html):
    return {"page": measure_page(html), "steps": step_times(html)}


def keep(record):
    """Write the record."""
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
