"""What our own run says of a VAE, for one that somebody wrote elsewhere: `examine` takes its two functions.

    encode: x (n, ...) -> z_mean, z_log_var, each (n, latent_dim) or feature maps (n, a, b, c), and z, if it draws
    decode: z (n, latent_dim) -> Bernoulli probabilities in the shape of x, or means of a Gaussian

They may be Keras models, PyTorch modules or methods of one, or functions that take NumPy arrays, or else PyTorch's
tensors, and give arrays of any library (network.py). What looks wrong is said by diagnose.py and findings.py.
"""

import contextlib
import importlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seevae.basics import UserError, say
from seevae.diagnosis import dense, findings
from seevae.diagnosis.diagnose import STEPS, UNSEEN, diagnose
from seevae.diagnosis.given import Given
from seevae.diagnosis.network import Kept
from seevae.diagnosis.report import as_pictures
from seevae.diagnosis.report import page as report_page
from seevae.diagnosis.sentences import Finding
from seevae.images import data
from seevae.images.reading import read_json
from seevae.results import evidence
from seevae.run import folder as run_folder  # `folder` is an argument of examine

EXAMINED = "examine"  # in the place of a model file's name in the record
NOTHING_WRONG = "nothing wrong seen"
FIRST_WORD, NEXT_WORD = 3.0, 10.0  # seconds until what takes so long is told, and told again


class Record(dict):
    """What examine returns: the record as a dict, and its findings by severity, for a test: assert not result.wrong."""

    findings: list | tuple = ()
    each: object = None

    def of(self, severity):
        return [finding for finding in self.findings if finding.severity == severity]

    wrong = property(lambda self: self.of("wrong"))
    look = property(lambda self: self.of("look"))
    notes = property(lambda self: self.of("note"))
    verdict = property(lambda self: self["verdict"])
    report = property(lambda self: report(self))


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
    and no run; None: a few seconds, no report is printed, nothing is written, and there is no log p(x). What takes
    long is told on stderr. layers: {"encoder_h": (kernel, bias), ...}, kernels (in, out), for the explorer of a dense
    network that is no Keras model. seed: of draws.
    What only you know: likelihood "bernoulli" or "gaussian" (then sigma, a number or "learned"); beta, the weight of
    the KL loss that was meant; inputs, what encode is given for x, (n, ...) or a function of x; condition, rows of it
    that go to both functions as well; x_train, images of the training.
    Returns the Record, a dict that metrics.json holds too; all losses are nats per image. Its "findings" are
    sentences, "finding_names" their names. Raises UserError, one sentence, for what cannot be taken.
    """
    start = time.perf_counter()
    with phase("the images"):
        given = Given(x, labels, seed, likelihood, sigma, beta, inputs, condition, x_train)
    with opened(folder) as place, np.errstate(all="ignore"), Kept(encode, decode) as kept:
        if place is not None:  # matplotlib comes in while other things are computed
            threading.Thread(target=importlib.import_module, args=("seevae.results.pictures",)).start()
        with phase("the diagnosis"):
            network = given.network(encode, decode)
            said, measured, came = diagnose(network, given)
        record = Record({"model": EXAMINED, "dataset": f"{len(given.x):,} images of shape {given.x.shape[1:]}"})
        with phase("the ELBO and log p(x)"):
            numbers, record.each = given.numbers(network, quick=place is None)
        kinds = ", ".join(kept.training)
        state = [Finding("training-mode", layers=kinds, count=len(kept.training))] if kinds else []
        record.findings = [*state, *given.found, *said]
        record |= numbers
        record |= told(record.findings, came) | {"measured": measured, "read_as": given.read_as(network)}
        record |= {"classes": list(given.names), "seed": given.seed, "left_out": given.fewer(network)}
        record["seconds"] = round(time.perf_counter() - start, 1)
        if place is not None:
            with phase("the pictures and pages"):
                files = write(network, given, place, layers, record)
            say(*report(record, files).split("\n"))
    return record


# -- What is told ------------------------------------------------------------------------------------------------------


def told(found, came):
    """The keys of the record that say what was found, and what was not tested."""
    severities = {finding.severity for finding in found}
    verdict = "wrong" if "wrong" in severities else "look" if "look" in severities else NOTHING_WRONG
    barred = [words for name, (words, _) in STEPS.items() if name not in came]
    return {
        "verdict": verdict,
        "findings": [*found],
        "finding_names": [finding.name for finding in found],
        "finding_details": [{"name": f.name, "severity": f.severity, "numbers": f.numbers} for f in found],
        "tested": [words for name, (words, _) in STEPS.items() if name in came],
        "unseen": [f"not tested, as what was found bars it: {words}" for words in barred] + [*UNSEEN],
    }


def compare(a, b):
    """Which of two records of examine, of the same images, is better: {"better", "by", "difference", "error", ...}.

    "better" is "a", "b" or None, where the difference is within four standard errors. Raises UserError where images,
    likelihood or sigma differ: such numbers are of different things.
    """
    try:
        alike = [("images", a["digest"], b["digest"])]
        alike += [(name, a["read_as"][name], b["read_as"][name]) for name in ("likelihood", "sigma")]
    except (TypeError, KeyError) as missing:
        raise UserError(
            f"compare takes two records of examine, and one has no {missing}: give what it returned."
        ) from missing
    for name, one, other in alike:
        if one != other:
            words = f"their {name} differ ({one} and {other}); examine both alike"
            raise UserError(f"The two records cannot be compared: {words}.")
    difference = a["held_out"]["elbo"] - b["held_out"]["elbo"]
    error = math.hypot(*(record["held_out"]["standard_error_of_images"] for record in (a, b)))
    each = [getattr(record, "each", None) for record in (a, b)]  # records from files have none
    if all(one is not None for one in each) and len(each[0]) == len(each[1]):
        difference, error = evidence.mean_and_error(each[0] - each[1])
    better = None if abs(difference) <= findings.ERRORS * error else "a" if difference > 0 else "b"
    words = f"{better} is better" if better else "Neither is better beyond the error"
    sentence = f"{words}: the ELBO of a is {difference:+.2f} ± {error:.2f} nats from that of b."
    return {"better": better, "by": "elbo", "difference": difference, "error": error, "sentence": sentence}


# -- Pictures and explorer ---------------------------------------------------------------------------------------------


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
    record["left_out"] += [word for word in (no_pictures, no_explorer) if word]
    return run_folder.save(place, figures, page, None, None, record, report=report_page(record, seen))


@contextlib.contextmanager
def opened(path):
    """Open a folder for the files, as folder.opened does; one that holds anything but what examine wrote is refused."""
    if path is None:
        yield None
        return
    if not isinstance(path, str | os.PathLike) or not str(path):
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
    """A context that says what takes so long, on stderr: after some seconds, and again and again."""
    done, start = threading.Event(), time.perf_counter()

    def tell():
        wait = FIRST_WORD
        while not done.wait(wait):
            seconds, wait = time.perf_counter() - start, NEXT_WORD
            print(f"examine: {words}, {seconds:.0f} s so far ...", file=sys.stderr, flush=True)

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


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
