"""What our own run says of a VAE, for one that somebody wrote elsewhere: `examine` takes its two functions.

    encode: x (n, ...) -> z_mean, z_log_var, each (n, latent_dim), and z, the network's own draws, if it has any
    decode: z (n, latent_dim) -> Bernoulli probabilities in the shape of x, or means of a Gaussian

They may be Keras models, PyTorch modules or methods of one, or functions that take NumPy arrays, or else PyTorch's
tensors, and give arrays of any library (network.py). What looks wrong is said by diagnose.py and findings.py.
"""

import contextlib
import hashlib
import math
import operator
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from seevae.basics import UserError, say
from seevae.diagnosis import dense, findings
from seevae.diagnosis.diagnose import TESTED, UNSEEN, diagnose
from seevae.diagnosis.network import Kept, Network
from seevae.diagnosis.report import page as report_page
from seevae.images import data
from seevae.images.converting import check_unit, convert_labels, to_numpy
from seevae.images.reading import read_json
from seevae.results import evidence
from seevae.run import folder as run_folder  # `folder` is an argument of examine

FIRST = 1000  # images of which log p(x) is computed
SAMPLES = 10  # draws of z an image for the ELBO
SECONDS = 8  # that the estimate of log p(x) may take, about: else it is of fewer images
EXAMINED = "examine"  # in the place of a model file's name in the record
NOTHING_WRONG = "nothing wrong seen"


class Record(dict):
    """What examine returns: the record as a dict, and its findings by severity, for a test: assert not result.wrong."""

    findings: list | tuple = ()
    each: object = None

    def of(self, severity):
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def wrong(self):
        return self.of("wrong")

    @property
    def look(self):
        return self.of("look")

    @property
    def notes(self):
        return self.of("note")

    @property
    def verdict(self):
        return self["verdict"]

    @property
    def report(self):
        return report(self)


class Seen(NamedTuple):
    """What report.page shows of the images: see examine_api in docs/examine.md."""

    x: np.ndarray  # (n, pixels) float32
    shape: tuple
    labels: np.ndarray  # (n,)
    names: tuple
    z_mean: np.ndarray  # (n, latent_dim)
    z_log_var: np.ndarray
    losses: np.ndarray  # (n,), nats, at z_mean
    decode: Callable  # z (m, latent_dim), of (m,): whose condition is used -> (m, pixels)
    seed: int


def examine(
    encode: Callable,
    decode: Callable,
    x: Any,
    labels: Any = None,
    folder: str | os.PathLike = "figures/mine",
    layers: dict | None = None,
    seed: int = 0,
    *,
    likelihood: str | None = None,
    sigma: Any = None,
    beta: Any = 1.0,
    inputs: Any = None,
    condition: Any = None,
    x_train: Any = None,
) -> Record:
    """Examine a trained VAE on images that it was not trained on; print a report, and write it with pictures.

    encode, decode: see above. x: (n, 784), (n, h, w), (n, h, w, 1), (n, 1, h, w), (n, h, w, 3) or of another shape,
    floats in [0, 1] or in [-1, 1]; a Dataset or loader of PyTorch's, (image, label) pairs. labels: (n,) whole numbers
    or text, or None. folder: where pictures, record and pages go, all at once; it may hold what an earlier call wrote,
    and no run; None: a few seconds, nothing is printed or written, and there is no log p(x). layers: {"encoder_h":
    (kernel, bias), ...}, kernels (in, out), for the explorer of a dense network that is no Keras model. seed: of draws.
    What only you know: likelihood "bernoulli" or "gaussian" (then sigma, a number or "learned"); beta, the weight of
    the KL loss that was meant; inputs, what encode is given for x, (n, ...) or a function of x; condition, rows of it
    that go to both functions as well; x_train, images of the training.
    Returns the Record, a dict that metrics.json holds too; all losses are nats per image. Its "findings" are
    sentences, "finding_names" their names. Raises UserError, one sentence, for what cannot be taken.
    """
    start = time.perf_counter()
    given = Given(x, labels, seed, likelihood, sigma, beta, inputs, condition, x_train)
    with opened(folder) as place, np.errstate(all="ignore"), Kept(encode, decode) as kept:
        network = given.network(encode, decode)
        with phase("the diagnosis"):
            said, measured, came = given.diagnose(network)
        record = Record({"model": EXAMINED, "dataset": f"{len(given.x):,} images of shape {given.x.shape[1:]}"})
        with phase("the ELBO and log p(x)"):
            record |= given.numbers(network, quick=place is None)
        record.findings = [*of_the_state(kept, said), *given.found, *said]
        record.each = given.each
        record |= told(record.findings, came) | {"measured": measured, "read_as": given.read_as(network)}
        record |= {"classes": list(given.names), "seed": given.seed, "left_out": []}
        record["seconds"] = round(time.perf_counter() - start, 1)
        if place is not None:
            with phase("the pictures and pages"):
                files = write(network, given, place, layers, record)
            say(*report(record, files).split("\n"))
    return record


# -- What is given -----------------------------------------------------------------------------------------------------


class Given:
    """What examine was given, checked: images x and what encode is given for them, and what their owner knows."""

    def __init__(self, x, labels, seed, likelihood, sigma, beta, inputs, condition, x_train):
        self.seed, self.beta = whole(seed), positive(beta, "beta")
        self.x, own, self.found = images_of(x)
        self.into = self.x if own is None else own
        if inputs is not None:
            self.into = rows_of(inputs(self.x) if callable(inputs) else inputs, "inputs", len(self.x))
        self.own = self.into is not self.x
        self.condition = None if condition is None else rows_of(condition, "condition", len(self.x))
        self.x_train = None if x_train is None else images_of(x_train)[0]
        if self.x_train is not None and (self.own or self.condition is not None):
            raise UserError("x_train is taken alone: without inputs= and condition=, which say nothing of its images.")
        if self.x_train is not None and self.x_train.shape[1:] != self.x.shape[1:]:
            raise UserError(
                f"x_train has images of {self.x_train.shape[1:]}, x of {self.x.shape[1:]}: give both alike."
            )
        self.labels, self.names = classes_of(labels, len(self.x))
        if likelihood not in (None, "bernoulli", "gaussian") or (likelihood == "bernoulli" and sigma is not None):
            words = 'give "bernoulli", or "gaussian" with sigma= a number or "learned"'
            raise UserError(f"likelihood={likelihood!r} and sigma={sigma!r} do not fit: {words}.")
        self.learned = sigma in (None, "learned")
        self.likelihood = evidence.BERNOULLI
        if likelihood == "gaussian" or sigma is not None:
            self.likelihood = evidence.gaussian(1.0 if self.learned else positive(sigma, "sigma"))

    def network(self, encode, decode):
        """The Network, which is asked once; for a learned sigma, the Likelihood is found now."""
        is_bernoulli = self.likelihood.name == "bernoulli"
        network = Network(encode, decode, self.x.shape[1:], self.condition, is_bernoulli, self.into.shape[1:])
        if not is_bernoulli and self.learned:
            x, rows = self.x[:FIRST].reshape(-1, network.pixels), np.arange(len(self.x[:FIRST]))
            left = x - network.decode(network.encode(self.into[:FIRST], rows)[0], rows)
            self.likelihood = evidence.gaussian(max(float(np.sqrt(np.mean(left**2))), 1e-3))
        return network

    def diagnose(self, network):
        own = (self.into,) if self.own else ()
        return diagnose(network, self.x, self.likelihood, self.beta, self.x_train, own, self.seed)

    def read_as(self, network):
        return network.meaning | {"likelihood": self.likelihood.name, "sigma": self.likelihood.sigma, "beta": self.beta}

    def groups(self):
        """Indices of images of one condition each: all of them, where there is none."""
        if self.condition is None:
            return [np.arange(len(self.x))]
        _, kind = np.unique(self.condition.reshape(len(self.x), -1), axis=0, return_inverse=True)
        return [np.flatnonzero(kind.ravel() == one) for one in range(kind.max() + 1)]

    def functions(self, network, of):
        """encode, decode and the Likelihood of rows that hold images beside their inputs, all of one condition."""
        pixels = network.pixels

        def rows_of_condition(rows):
            return np.full(len(rows), of)

        likelihood = self.likelihood._replace(
            loss=lambda rows, output: self.likelihood.loss(rows[:, :pixels], output),
            pairs=lambda rows, output: self.likelihood.pairs(rows[:, :pixels], output),
        )
        begin = pixels if self.own else 0
        encode = lambda rows: network.encode(rows[:, begin:], rows_of_condition(rows))  # noqa: E731
        return encode, lambda z: network.decode(z, rows_of_condition(z)), likelihood

    def numbers(self, network, quick):
        """The numbers of the record: the ELBO, log p(x) of the first images, and the KL of each latent."""
        n = len(self.x[:FIRST]) if quick else len(self.x)
        parts = [self.x.reshape(len(self.x), -1), *([self.into.reshape(len(self.x), -1)] if self.own else [])]
        rows = np.concatenate(parts, axis=1)
        start = time.perf_counter()
        losses, kl = np.zeros((SAMPLES, n)), None
        for group in (group[group < n] for group in self.groups()):
            if len(group):
                encode, decode, likelihood = self.functions(network, group[0])
                losses[:, group], each = evidence.elbo_terms(
                    encode, decode, rows[group], SAMPLES, self.seed, likelihood.loss
                )
                kl = np.zeros((n, each.shape[1])) if kl is None else kl
                kl[group] = each
        rate = (time.perf_counter() - start) / losses.size  # seconds a decoding
        self.each = -(losses.mean(axis=0) + kl.sum(axis=1))
        known = None if quick else self.log_p(network, rows, losses, kl, rate)
        each = kl.mean(axis=0)
        return {
            "images": len(self.x),
            "shape": list(self.x.shape[1:]),
            "digest": hashlib.sha256(np.ascontiguousarray(self.x)).hexdigest()[:16],
            "latent_dim": network.latent_dim,
            "stopped": None,
            "held_out": evidence.elbo_of(losses, kl),
            "evidence": known,
            "kl_of_latents": each.tolist(),
            "latents_in_use": int((each > findings.SILENT).sum()),
        }

    def log_p(self, network, rows, losses, kl, rate):
        """log p(x) of the first images: FIRST of them, or as many as SECONDS allow at `rate` seconds a decoding."""
        n = min(FIRST, len(rows), max(50, int(SECONDS / (100 * rate))))
        total, known = dict.fromkeys(("importance_weighted", "exact", "exact_error"), 0.0), {"images": n}
        for group in (group[group < n] for group in self.groups()):
            if len(group):
                encode, decode, likelihood = self.functions(network, group[0])
                some = evidence.evaluate(encode, decode, rows[group], seed=self.seed, likelihood=likelihood)
                for name, value in total.items():
                    total[name] = None if None in (value, some[name]) else value + some[name] * len(group) / n
        known |= evidence.elbo_of(losses[:, :n], kl[:n]) | total | {"importance_samples": 100}
        return known | {"gap": None if known["exact"] is None else known["exact"] - known["elbo"]}

    def seen(self, network):
        """What the report page shows."""
        n = len(self.x)
        z_mean, z_log_var = network.encode(self.into, np.arange(n))
        flat = self.x.reshape(n, -1)
        losses = np.concatenate([
            self.likelihood.loss(flat[of], network.decode(z_mean[of], of)) for of in evidence.batches(np.arange(n))
        ])  # fmt: skip

        def decode(z, of=None):
            return np.clip(network.decode(z, np.zeros(len(z), int) if of is None else of), 0, 1)

        return Seen(flat, self.x.shape[1:], self.labels, self.names, z_mean, z_log_var, losses, decode, self.seed)


def whole(seed):
    try:
        if (number := operator.index(seed)) >= 0:
            return number
    except TypeError:
        pass
    raise UserError(f"seed={seed!r} is no whole number from 0 on: give one.")


def positive(number, name):
    with contextlib.suppress(TypeError, ValueError):
        if math.isfinite(float(number)) and float(number) > 0:
            return float(number)
    raise UserError(f"{name}={number!r} is no number above 0: give one.")


def images_of(x):
    """The images as float32 in [0, 1], what encode is given in their place, or None, and findings."""
    x = array_of_images(x)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise UserError(f"x has shape {x.shape}: give (n, ...) floats in [0, 1], a row an image.")
    if len(x) < 2:
        raise UserError(f"x holds {len(x)} images, too few to judge by: give at least 2, better {FIRST:,}.")
    own, found = None, []
    if x.dtype.kind == "f" and -1 - 1e-4 < x.min() < -0.99 and 0.9 < x.max() < 1 + 1e-4:
        own, x = np.clip(x, -1, 1).astype("float32"), np.clip((x + 1) / 2, 0, 1)
        words = "The images go from -1 to 1: encode is given them as they are, and they are compared as (x + 1) / 2"
        found = [findings.Finding("input-range", "note", f"{words}, from 0 to 1.", low=-1)]
    elif x.dtype.kind == "f" and x.size and x.min() < 0 and np.isfinite(x).all():
        words = f"The images of x have values from {x.min():.4g} to {x.max():.4g}, and must be from 0 to 1"
        advice = "scale them ((x + 1) / 2 if they go from -1 to 1), and give what encode was trained on as inputs="
        raise UserError(f"{words}: {advice}.")
    check_unit(x, "The images of x")
    if len(x) > 1 and (x == x[:1]).all():
        raise UserError(
            f"The {len(x):,} images of x are one and the same (from {x.min():.3g} to {x.max():.3g}): give others."
        )
    return x.astype("float32"), own, found


def array_of_images(x):
    """Images of an array of any library, of a Dataset, of a loader of batches, or of (image, label) pairs."""
    try:
        if not hasattr(x, "shape") and not isinstance(x, str | bytes | dict):
            loader = hasattr(x, "batch_size") and hasattr(x, "dataset")
            parts = [x[i] for i in range(len(x))] if hasattr(x, "__getitem__") and not loader else [*x]
            if parts and all(
                isinstance(part, list | tuple) and 2 <= len(part) <= 3 and hasattr(part[0], "shape") for part in parts
            ):
                parts = [part[0] for part in parts]
            if parts and hasattr(parts[0], "shape"):
                x = (np.concatenate if loader else np.stack)([*map(to_numpy, parts)])
        return to_numpy(x)
    except Exception as error:
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"x is a {type(x).__name__} that gives no array of images ({reason}): give (n, ...) floats."
        ) from error


def rows_of(value, name, n):
    """inputs or condition as a float32 array of n rows; whole numbers stay so."""
    array = to_numpy(value)
    if array.dtype.kind not in "fiub" or array.shape[:1] != (n,):
        raise UserError(
            f"{name} has shape {array.shape} and dtype {array.dtype}: give numbers, a row for each of {n} images."
        )
    return array.astype("float32") if array.dtype.kind in "fb" else array


def classes_of(labels, n):
    """Labels in any form as whole numbers from 0 on, (n,), and the names of the classes; none without labels."""
    try:
        labels = None if labels is None else to_numpy(labels)
        if labels is not None and labels.dtype == object and all(isinstance(label, str) for label in labels.flat):
            labels = labels.astype(str)
        (numbers,), names = convert_labels([labels], [n], "this call")
    except UserError:
        raise
    except Exception as error:
        words = "labels must be (n,) whole numbers or short text"
        raise UserError(f"The labels cannot be read ({type(error).__name__}): {words}.") from error
    return numbers, names


# -- What is told ------------------------------------------------------------------------------------------------------


def told(found, came):
    """The keys of the record that say what was found, and what was not tested."""
    severities = {finding.severity for finding in found}
    verdict = "wrong" if "wrong" in severities else "look" if "look" in severities else NOTHING_WRONG
    barred = [words for name, words in TESTED if name not in came]
    return {
        "verdict": verdict,
        "findings": [*found],
        "finding_names": [finding.name for finding in found],
        "finding_details": [{"name": f.name, "severity": f.severity, "numbers": f.numbers} for f in found],
        "tested": [words for name, words in TESTED if name in came],
        "unseen": [f"not tested, as what was found bars it: {words}" for words in barred] + [*UNSEEN],
    }


def of_the_state(kept, said):
    """Findings about modes and buffers, which were put back; what else was found may say the same."""
    found = []
    if kept.training:
        words = (
            f"The network was in training mode, with {', '.join(kept.training)}: it was put into evaluation for this"
        )
        advice = "and back; call model.eval() before you use it"
        found.append(
            findings.Finding("training-mode", "look", f"{words} ({len(kept.training)} kinds of layers), {advice}.")
        )
    return found


def compare(a, b):
    """Which of two records of examine, of the same images, is better: {"better", "by", "difference", "error", ...}.

    "better" is "a", "b" or None, where the difference is within four standard errors. Raises UserError where images,
    likelihood or sigma differ: such numbers are of different things.
    """
    for name, one, other in (
        ("images", a["digest"], b["digest"]),
        *((key, a["read_as"][key], b["read_as"][key]) for key in ("likelihood", "sigma")),
    ):
        if one != other:
            raise UserError(
                f"The two records cannot be compared: their {name} differ ({one} and {other}); examine both alike."
            )
    each = [getattr(record, "each", None) for record in (a, b)]
    difference = a["held_out"]["elbo"] - b["held_out"]["elbo"]
    error = math.hypot(*(record["held_out"]["standard_error_of_images"] for record in (a, b)))
    if None not in (type(e) if e is not None else None for e in each) and len(each[0]) == len(each[1]):
        difference, error = evidence.mean_and_error(each[0] - each[1])
    better = None if abs(difference) <= findings.ERRORS * error else "a" if difference > 0 else "b"
    words = f"{better} is better" if better else "Neither is better beyond the error"
    sentence = f"{words}: the ELBO of a is {difference:+.2f} ± {error:.2f} nats from that of b."
    return {"better": better, "by": "elbo", "difference": difference, "error": error, "sentence": sentence}


# -- Pictures and explorer ---------------------------------------------------------------------------------------------


def as_pictures(rows, shape):
    """Images (m, pixels) as pictures.tile takes them, or None where images of such a shape are no pictures."""
    images = rows.reshape(len(rows), *shape)
    if shape == (data.IMAGE_DIM,) or len(shape) == 2 or (len(shape) == 3 and shape[-1] == 3):
        return images
    if len(shape) == 3 and 1 in (shape[0], shape[-1]):
        return images.squeeze(1 if shape[0] == 1 else 3)
    if len(shape) == 3 and shape[0] == 3:
        return np.moveaxis(images, 1, 3)
    return None


def as_images(pictures, shape):
    """What as_pictures made, as images again."""
    moved = len(shape) == 3 and shape[0] == 3 != shape[-1]
    return (np.moveaxis(pictures, 3, 1) if moved else pictures).reshape(-1, *shape)


def draw(network, given, z, dataset):
    """The pictures {file name: Figure}, and a word where there are none, or not all; z: the q of all images."""
    shown = as_pictures(dataset.x_test, network.shape)
    if shown is None:
        words = "is not image-shaped, as (n, h, w) or (n, h, w, 3) is"
        return {}, f"No pictures: x of shape {dataset.x_test.shape} {words}."
    if given.condition is not None:
        return {}, "No pictures: they know no condition; report.html shows the images."
    places = {image.tobytes(): i for i, image in enumerate(shown)}

    def encode(images):
        rows = [places[image.tobytes()] for image in images]
        return [part[rows] for part in z]

    from seevae.results import pictures  # here, not above: matplotlib takes a while

    figures = pictures.draw(
        encode,
        lambda codes: as_pictures(np.clip(network.decode(codes), 0, 1), network.shape),
        dataset._replace(x_test=shown),
        origin="the decoder given to examine",
        seed=given.seed,
        thing="image",
    )
    plane = "latent_scatter.png, manifold.png and the exact log p(x) need two latents: this network has"
    return figures, None if network.latent_dim == 2 else f"{plane} {network.latent_dim}."


def make_page(network, given, dataset, layers):
    """The explorer as HTML, or None with a word why there is none."""
    from seevae.results import explorer, pictures

    flat = dataset.x_test.reshape(-1, network.pixels)
    try:
        if given.own or given.condition is not None:
            raise dense.NotDenseError("it knows neither inputs nor a condition")
        layers = dense.find(network, layers, flat[:100])
    except dense.NotDenseError as error:
        return None, f"No explorer: {error}."
    dataset = dataset._replace(x_test=flat, x_train=flat[:0])
    page = explorer.page(network.encode, network.decode, dataset, pictures.COLOURS, seed=given.seed, layers=layers)
    return page, None


# -- The folder and the report -----------------------------------------------------------------------------------------


def write(network, given, place, layers, record):
    """Draw, and put all files into the folder at once; returns their paths."""
    dataset = data.Dataset(
        "the images given", given.x[:0], given.labels[:0], given.x, given.labels, classes=given.names
    )
    seen = given.seen(network)
    figures, no_pictures = draw(network, given, (seen.z_mean, seen.z_log_var), dataset)
    page, no_explorer = make_page(network, given, dataset, layers)
    record["left_out"] = [word for word in (no_pictures, no_explorer) if word]
    return run_folder.save(place, figures, page, None, None, record, report=report_page(record, seen))


@contextlib.contextmanager
def opened(path):
    """Open a folder for the files, as folder.opened does; one that holds anything but what examine wrote is refused."""
    if path is None:
        yield None
        return
    if not isinstance(path, str | Path) or not str(path):
        raise UserError(f"folder={path!r} is no folder: give the path of one, or None to write nothing.")
    nothing = data.Dataset("examined", *[np.zeros(0)] * 4)
    try:
        with run_folder.opened(path, nothing, loaded=True) as place:
            if place.path != Path(path) or not is_ours(place.path):
                raise UserError(f"{path} holds the files of a run, which stay: give another folder.")
            yield place.path
    except UserError as error:
        raise UserError(str(error).replace("--output", "folder")) from error


def is_ours(path):
    """Whether a folder holds what examine wrote and no model, or none of the files of a run."""
    there = {name for name in run_folder.FILES if (path / name).exists()}
    if not there or there & {run_folder.MODEL, run_folder.REPLAY}:
        return not there
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return read_json(path / run_folder.RECORD)["model"] == EXAMINED
    return False


@contextlib.contextmanager
def phase(words):
    """A context that says what takes so long, on stderr, after three seconds."""
    timer = threading.Timer(3, lambda: print(f"examine: {words} ...", file=sys.stderr, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def report(record, files=()):
    """The lines that examine prints: what looks wrong, the numbers, the latents, what is left out, the files."""
    starts = {"wrong": "Looks wrong: ", "look": "Look at this: ", "note": "Note: "}
    lines = [starts[d["severity"]] + f for d, f in zip(record["finding_details"], record["findings"], strict=True)]
    numbers = evidence.numbers(record)
    held_out, kl, beta = record["held_out"], record["kl_of_latents"], record["measured"].get("beta")
    error, of_images = held_out["standard_error"], held_out["standard_error_of_images"]
    lines += [
        f"{numbers[0]}; standard error {error:.2f} of drawing z, {of_images:.2f} of the choice of images",
        *numbers[1:],
    ]
    shown = ", ".join(f"{nats:.2f}" for nats in kl[:10]) + (", ..." if len(kl) > 10 else "")
    lines.append(f"KL of each latent: {shown} nats; {record['latents_in_use']} of {len(kl)} in use")
    if beta is not None:
        error = record["measured"]["beta_error"]
        lines.append(f"Weight of the KL loss, as the network shows it: {beta:.2f} ± {error:.2f} (1 is the ELBO)")
    if record["verdict"] == NOTHING_WRONG:
        lines.append(f"Nothing looks wrong. Tested: {'; '.join(record['tested'])}.")
    lines += [f"Cannot be seen: {'; '.join(record['unseen'])}.", *record["left_out"]]
    if files:
        lines.append("Wrote " + ", ".join(map(str, files)))
    return "\n".join(lines)
