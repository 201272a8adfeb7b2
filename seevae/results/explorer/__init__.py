"""The explorer: one HTML page in which a trained VAE can be played with, in any browser, from a file.

`page` writes the trained weights, some held-out digits and the codes of all of them into page.html, together with
style.css and the scripts beside it, and returns a string. Whoever opens it needs no server and no network. The scripts
do the model's arithmetic themselves (model.js, posterior.js); nothing is computed here that they could compute.

How the latent plane formed during training is in a Replay (seevae/results/replay.py), for the page to show again.
"""

import base64
import hashlib
import json
import math
import re
import statistics
import zlib
from collections.abc import Callable, Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np

from seevae.images.converting import to_numpy
from seevae.images.data import DIGITS, Dataset
from seevae.results import evidence

HERE = Path(__file__).resolve().parent
PICKS_PER_CLASS = 24
PAGE_LIMIT = 3_500_000  # bytes, which decide how many images the page carries to train on
HELD_OUT = 1000  # images that show what such a training learns
SHOWN_CODES = 10_000
SAMPLES = 32  # draws of epsilon with which the page takes an expectation over q


def page(
    encode: Callable,
    decode: Callable,
    dataset: Dataset,
    colours: Sequence[str],
    replay: Any = None,
    origin: str = "",
    seed: int = 0,
    layers: dict | None = None,
) -> str:
    """The explorer of a trained VAE as one self-contained HTML document, a string.

    encode: x (n, 784) -> z_mean, z_log_var, each (n, latent_dim); decode: z -> probabilities (n, 784). layers: what
    they are made of, {name: (kernel (in, out), bias (out,))}, with the names that model.js knows; Keras models are
    asked for them. dataset: name, x_test (n, 784) float32 in [0, 1], y_test (n,),
    whole numbers that index `colours`, the CSS colours "#rrggbb" of the classes, and classes, their names, if they
    have classes. replay: a Replay that has seen the training of a model with two latents, or None. origin: where the
    model is from, in words. seed: which of the held-out images are shown, where there are many, and in which order.
    """
    shown = np.random.default_rng(seed).permutation(len(dataset.x_test))[:SHOWN_CODES]
    x, labels = dataset.x_test[shown], dataset.y_test[shown]
    z_mean, redrawn_loss = encode_and_redraw(encode, decode, x)
    picks = pick_digits(labels, redrawn_loss)
    layers = layers or layers_of(encode, decode)
    plane = z_mean.shape[-1] == 2
    contents = {
        "dataset": dataset.name,
        "thing": "digit" if tuple(dataset.classes) == DIGITS else "image",
        "origin": origin,
        "heldOut": len(dataset.x_test),
        "colours": list(colours),
        "names": list(dataset.classes) or ["image"],
        "layers": {
            name: {"kernel": packed_kernel(kernel), "bias": encoded(bias, "<f4")}
            for name, (kernel, bias) in layers.items()
        },
        "epsilons": fixed_draws(z_mean.shape[-1]).tolist(),
        "picks": {"images": encoded(255 * x[picks], "u1"), "labels": labels[picks].tolist()},
        "ordered": True,  # the picks of a class, by how badly these weights reconstruct them
        "codes": packed_codes(z_mean, labels) if plane else None,
        "halfWidth": max(6, math.ceil(np.abs(z_mean).max() + 1)),
        "replay": replay.contents() if plane and replay is not None else None,
    }
    html = assemble(contents | {"training": None})
    contents["training"] = training_images(dataset, shown, PAGE_LIMIT - len(html.encode()))
    return assemble(contents)


def layers_of(encoder, decoder):
    """The dense layers of the two Keras models that build_vae makes, {name: (kernel, bias)}."""
    return {
        layer.name: (layer.kernel, layer.bias) for half in (encoder, decoder) for layer in half.layers if layer.weights
    }


def encode_and_redraw(encode, decode, x):
    """z_mean (n, latent_dim) of images x (n, 784), and -log p(x|z_mean) (n,), nats: how badly each comes back."""
    z_mean, _ = evidence.in_batches(encode, x)
    return z_mean, evidence.in_batches(lambda rows, z: evidence.reconstruction_loss(rows, decode(z)), x, z_mean)


def pick_digits(labels, loss):
    """Indices of up to PICKS_PER_CLASS images of each class, from the one with the smallest loss to the largest."""
    picks = []
    for label in np.unique(labels):
        ranked = np.flatnonzero(labels == label)
        ranked = ranked[np.argsort(loss[ranked])]
        places = np.linspace(0, len(ranked) - 1, min(PICKS_PER_CLASS, len(ranked)))
        picks.extend(ranked[places.round().astype(int)])
    return np.array(picks)


def fixed_draws(latent_dim, count=SAMPLES):
    """The draws of N(0, I) with which the page takes expectations: (count, latent_dim), the same each time.

    A low-discrepancy sequence (Roberts's R, from a generalised golden ratio) with its mirror image, scaled to mean 0
    and variance 1; where they are many enough, to a covariance of 0 as well. So they integrate a parabola exactly.
    """
    ratio = 2.0
    for _ in range(60):  # the root of ratio^(latent_dim + 1) = ratio + 1
        ratio = (1 + ratio) ** (1 / (latent_dim + 1))
    places = (0.5 + np.outer(np.arange(1, count // 2 + 1), ratio ** -np.arange(1.0, latent_dim + 1))) % 1
    half = np.vectorize(statistics.NormalDist().inv_cdf)(places)
    draws = np.concatenate([half, -half])
    if 4 * latent_dim <= count:
        return np.linalg.solve(np.linalg.cholesky(draws.T @ draws / count), draws.T).T
    return draws / np.sqrt(np.mean(draws**2, axis=0))


def training_images(dataset, shown, room):
    """What the page can train on: images, as many as fit into so many bytes, and held-out ones with their labels.

    shown: indices of the held-out images, in the order in which they are taken. None where there is no room.
    """
    held_out = shown[:HELD_OUT]
    rest = deflated(dataset.x_test[held_out])
    room -= len(rest) + 10_000  # for the labels, and the names of all

    def some(count):
        return deflated(dataset.x_train[np.linspace(0, len(dataset.x_train) - 1, count).astype(int)])  # some are sorted

    count = len(dataset.x_train)
    tried = min(count, 500)
    count = min(count, int(0.97 * room * tried / len(some(tried))))
    while count >= 100 and len(images := some(count)) > room:
        count = int(0.97 * count)
    if count < 100:
        return None
    labels = dataset.y_test[held_out].tolist()
    return {"images": images, "count": count, "heldOut": rest, "labels": labels}


def deflated(images):
    """Images (n, 784) from 0 to 1 as base64 text of their bytes, packed with zlib."""
    pixels = np.round(255 * images).astype("uint8").tobytes()
    return base64.b64encode(zlib.compress(pixels, 7)).decode()  # of digits 0.6 % longer than 9, in a tenth of its time


def encoded(values, dtype):
    """An array of any backend, or of NumPy, as the base64 text of its little-endian bytes, row after row."""
    array = to_numpy(values)
    array = array.round() if np.dtype(dtype).kind in "iu" else array
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype)).decode()


def packed_kernel(kernel):
    """A kernel (in, out) as float32; a large one as the square roots of its numbers, with their signs, in 16 bits.

    Each column has a unit of its own: a number is unit * root * |root|. By roots small numbers, which are most, keep
    more of their digits: no number of the page moves by more than 0.01 nats (test_explorer_engine.py).
    """
    kernel = to_numpy(kernel)
    if kernel.size <= 2**16:
        return encoded(kernel, "<f4")
    units = (np.maximum(np.abs(kernel).max(axis=0), 1e-30) / 32767**2).astype("float32")
    roots = np.sign(kernel) * np.sqrt(np.abs(kernel) / units)
    return {"units": encoded(units, "<f4"), "roots": encoded(roots.clip(-32767, 32767), "<i2")}


def packed_codes(z, labels):
    """Codes (..., n, 2) as 16-bit whole numbers, with the size of their unit, and their labels (n,)."""
    unit = max(float(np.abs(z).max()), 1e-6) / 32767
    return {"unit": unit, "z": encoded(z / unit, "<i2"), "labels": encoded(labels, "u1")}


def scripts():
    """The scripts beside this file, {name: text}, each after those that its first line says it needs."""
    texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.js"))}
    needs = {name: re.match(r"// needs: (.*)\n", text)[1].split(", ") for name, text in texts.items()}
    order = TopologicalSorter({name: [one for one in needed if one != "nothing"] for name, needed in needs.items()})
    return {f"{name}.js": texts[name] for name in order.static_order()}


def assemble(contents):
    """Fill page.html with the style, the scripts and the contents, under a policy that allows these and no others."""
    style = (HERE / "style.css").read_text(encoding="utf-8")
    texts = scripts()
    policy = (
        f"default-src 'none'; style-src {digest(style)}; script-src {' '.join(map(digest, texts.values()))}"
        " 'wasm-unsafe-eval'; worker-src blob:; img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "style": f"<style>{style}</style>",
        "contents": f'<script type="application/json" id="contents">{json_for_html(contents)}</script>',
        "scripts": "\n".join(f'<script id="{name}">{text}</script>' for name, text in texts.items()),
    }
    template = (HERE / "page.html").read_text(encoding="utf-8")
    return re.sub(r"<!--(policy|style|contents|scripts)-->", lambda place: parts[place[1]], template)


def digest(text):
    """The source expression by which a Content-Security-Policy allows exactly this inline style or script."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def json_for_html(contents):
    """JSON that cannot end the script element it stands in, whatever its strings hold."""
    return json.dumps(contents).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
