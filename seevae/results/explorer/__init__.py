"""The explorer: one HTML page in which a trained VAE can be played with, in any browser, from a file.

`page` writes the trained weights, some held-out digits and the codes of all of them into page.html, together with
style.css and the scripts beside it, and returns a string. Whoever opens it needs no server and no network. The scripts
do the model's arithmetic themselves (model.js, posterior.js); nothing is computed here that they could compute.

`Replay` is a Keras callback that records how the latent plane forms during training, for the page to show again.
"""

import base64
import hashlib
import json
import math
import re
import statistics
import zlib
from graphlib import TopologicalSorter
from pathlib import Path

import keras
import numpy as np
from keras import ops

from seevae.images.converting import MOST_CLASSES
from seevae.images.data import DIGITS
from seevae.images.reading import read_arrays
from seevae.results import evidence

HERE = Path(__file__).resolve().parent
PICKS_PER_CLASS = 24
PAGE_LIMIT = 3_500_000  # bytes, which decide how many images the page carries to train on
HELD_OUT = 1000  # images that show what such a training learns
SHOWN_CODES = 10_000
# The arrays of a replay, as reading.read_arrays wants them declared; n images have codes z (moments, n, 2).
REPLAY_PARTS = {"moments": ("f", (None,)), "z": ("f", (None, None, None)), "loss": ("f", (None,))}
SAMPLES = 32  # draws of epsilon with which the page takes an expectation over q


def page(vae, dataset, colours, replay=None, origin="", seed=0):
    """The explorer of a trained VAE as one self-contained HTML document, a string.

    vae: a functional model with the layers `encoder` (x (batch, 784) -> z_mean, z_log_var, each (batch, latent_dim))
    and `decoder` (z -> probabilities (batch, 784)). dataset: name, x_test (n, 784) float32 in [0, 1], y_test (n,),
    whole numbers that index `colours`, the CSS colours "#rrggbb" of the classes, and classes, their names, if they
    have classes. replay: a Replay that has seen the training of a model with two latents, or None. origin: where the
    model is from, in words. seed: which of the held-out images are shown, where there are many, and in which order.
    """
    encoder, decoder = vae.get_layer("encoder"), vae.get_layer("decoder")
    shown = np.random.default_rng(seed).permutation(len(dataset.x_test))[:SHOWN_CODES]
    x, labels = dataset.x_test[shown], dataset.y_test[shown]
    z_mean, redrawn_loss = encode_and_redraw(encoder, decoder, x)
    picks = pick_digits(labels, redrawn_loss)
    layers = {layer.name: layer for half in (encoder, decoder) for layer in half.layers if layer.weights}
    plane = z_mean.shape[-1] == 2
    contents = {
        "dataset": dataset.name,
        "thing": "digit" if tuple(dataset.classes) == DIGITS else "image",
        "origin": origin,
        "heldOut": len(dataset.x_test),
        "colours": list(colours),
        "names": list(dataset.classes) or ["image"],
        "layers": {
            name: {part: encoded(getattr(layer, part), "<f4") for part in ("kernel", "bias")}
            for name, layer in layers.items()
        },
        "epsilons": fixed_draws(z_mean.shape[-1]).tolist(),
        "picks": {"images": encoded(255 * x[picks], "u1"), "labels": labels[picks].tolist()},
        "codes": packed_codes(z_mean, labels) if plane else None,
        "halfWidth": max(6, math.ceil(np.abs(z_mean).max() + 1)),
        "replay": replay.contents() if plane and replay is not None else None,
    }
    html = assemble(contents | {"training": None})
    contents["training"] = training_images(dataset, shown, PAGE_LIMIT - len(html.encode()))
    return assemble(contents)


def encode_and_redraw(encoder, decoder, x):
    """z_mean (n, latent_dim) of images x (n, 784), and -log p(x|z_mean) (n,), nats: how badly each comes back."""
    z_mean, _ = encoder.predict(x, batch_size=1000, verbose=0)
    x_hat = decoder.predict(z_mean, batch_size=1000, verbose=0)
    return z_mean, x.shape[-1] * evidence.in_batches(keras.losses.binary_crossentropy, x, x_hat)


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
    return base64.b64encode(zlib.compress(np.round(255 * images).astype("uint8").tobytes())).decode()


def encoded(values, dtype):
    """An array of any backend, or of NumPy, as the base64 text of its little-endian bytes, row after row."""
    array = ops.convert_to_numpy(values)
    array = array.round() if np.dtype(dtype).kind in "iu" else array
    return base64.b64encode(np.ascontiguousarray(array, dtype=dtype)).decode()


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


class Replay(keras.callbacks.Callback):
    """Records the codes of some held-out images while a model trains: the start, ten moments of the first epoch,
    then the end of each epoch.

    x (n, 784) and labels (n,): the images to follow, 1,000 are plenty. The loss at the end of an epoch is the
    validation loss of `fit`, where there is one; else `evaluate` is asked, about the first 250 images: a function of
    (model, x) that returns a dict with the "elbo" in nats per image. Hand a Replay to `fit` as a callback, and
    afterwards to `page`; `save` and `load` keep it in a file.
    """

    MOMENTS = 10  # in the first epoch
    LOSS_IMAGES = 250  # enough for a curve, and cheap beside an epoch

    def __init__(self, x, labels, evaluate):
        super().__init__()
        self.x, self.labels, self.evaluate = x, labels, evaluate
        self.moments, self.z, self.loss = [], [], []

    def on_train_begin(self, logs=None):
        if not self.moments:  # else a training is resumed
            self.record(0.0)

    def on_train_batch_end(self, batch, logs=None):
        steps = self.params["steps"]
        if batch + 1 >= steps:
            return  # the end of an epoch is recorded by on_epoch_end
        if (batch + 1) * self.MOMENTS // steps > math.floor(self.moments[-1] * self.MOMENTS + 1e-6):
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()  # until then the layers hold the weights of the epoch's start
            self.record((batch + 1) / steps)

    def on_epoch_end(self, epoch, logs=None):
        if not self.model.stop_training:  # else the epoch was broken off
            self.record(epoch + 1.0, (logs or {}).get("val_loss"))

    def record(self, moment, loss=None):
        """Keep what the model makes of the images now; moment: epochs since the start; loss: where it is known."""
        if loss is None:
            loss = -self.evaluate(self.model, self.x[: self.LOSS_IMAGES])["elbo"]
        z_mean, _ = self.model.get_layer("encoder")(self.x)
        self.moments.append(moment)
        self.z.append(ops.convert_to_numpy(z_mean))
        self.loss.append(float(loss))

    def save(self, path):
        """Write the record to a small .npz file, for `load`."""
        np.savez_compressed(
            path, moments=self.moments, z=np.array(self.z, "float16"), loss=self.loss, labels=self.labels
        )

    @classmethod
    def load(cls, path):
        """Read what `save` wrote. Raises OSError, ValueError, KeyError or MemoryError for any other file."""
        record = read_arrays(path, REPLAY_PARTS | {"labels": ("iu", (None,))}, at_most=2**28)
        replay = cls(None, record["labels"], None)
        replay.moments, replay.loss = record["moments"].tolist(), record["loss"].tolist()
        replay.z = list(record["z"].astype("float32"))
        n, labels = len(replay.moments), replay.labels
        if not n or {n} != {len(replay.loss), len(replay.z)} or record["z"].shape[1:] != (len(labels), 2):
            raise ValueError(f"{path} is not a record of a training: its parts differ in length.")
        if labels.min() < 0 or labels.max() >= MOST_CLASSES:
            raise ValueError(f"{path} is not a record of a training: its labels are none.")
        return replay

    def contents(self):
        """The record as the page wants it; codes (moments, n, 2)."""
        return {**packed_codes(np.array(self.z), self.labels), "moments": self.moments, "losses": self.loss}


def load_replay(model_path):
    """The Replay in the folder of a trained model, or None where there is none that can be read."""
    try:
        return Replay.load(Path(model_path).with_name("replay.npz"))
    except (OSError, ValueError, KeyError, MemoryError):
        return None
