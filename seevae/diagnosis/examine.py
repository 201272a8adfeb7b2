"""What our own run says of a VAE, for one that somebody wrote elsewhere: `examine` takes its two functions.

    encode: x (n, ...) -> z_mean, z_log_var, each (n, latent_dim), and z, the network's own draws, if it has any
    decode: z (n, latent_dim) -> Bernoulli probabilities in the shape of x

They may be Keras models, PyTorch modules or methods of one, or functions that take NumPy arrays, or else PyTorch's
tensors, and give arrays of any library. `Network` makes a VAE of them as evidence.py, pictures.py and the explorer want
it. What looks wrong is said by findings.py.
"""

import contextlib
import math
import sys
import time
from pathlib import Path

import numpy as np

from seevae.basics import UserError
from seevae.machine import startup

startup.import_keras()

import keras

from seevae.diagnosis import dense, findings
from seevae.images import data
from seevae.images.converting import check_unit, convert_labels, to_numpy
from seevae.images.reading import read_json
from seevae.results import evidence, explorer, pictures
from seevae.run import console
from seevae.run import folder as run_folder  # `folder` is an argument of examine

FIRST = 1000  # images of which log p(x) is computed, and on which the findings rest
SAMPLES = 10  # draws of z an image for the ELBO
ROWS = 1000  # that a function is given at a time
LARGEST_LOG_VAR = 60
EXAMINED = "examine"  # in the place of a model file's name in the record


def examine(encode, decode, x, labels=None, folder="figures/mine", layers=None, seed=0):
    """Examine a trained VAE on images that it was not trained on; print a report, and write it with pictures.

    encode, decode: see above. x: (n, 784), (n, h, w), (n, h, w, 1), (n, 1, h, w), (n, h, w, 3) or of another shape,
    floats in [0, 1]. labels: (n,) whole numbers or text, or None. folder: where pictures, record and explorer go, all
    at once; it may hold what an earlier call wrote, and no run. layers: {"encoder_h": (kernel, bias), "z_mean": ...,
    "z_log_var": ..., "decoder_h": ..., "decoder_output": ...}, kernels (in, out), for the explorer of a dense network
    that is no Keras model. seed: of all draws.
    Returns the record, a dict that metrics.json holds too; all losses are nats per image. record["findings"] says in
    sentences what looks wrong. Raises UserError, one sentence, for what cannot be taken.
    """
    start = time.perf_counter()
    startup.check_settings()
    x = images_of(x)
    classes, names = classes_of(labels, len(x))
    with opened(folder) as place:
        network = Network(encode, decode, x.shape[1:])
        found, measured = judge(network, x[:FIRST], seed)
        record = measure(network, x, seed) | {"measured": measured, "findings": found}
        record |= {"read_as": network.meaning, "classes": list(names), "seed": seed}
        dataset = data.Dataset("the images given", x[:0], classes[:0], x, classes, classes=names)
        figures, no_pictures = draw(network, dataset, seed)
        page, no_explorer = make_page(network, dataset, layers, seed)
        record |= {"left_out": [word for word in (no_pictures, no_explorer) if word]}
        record |= {"seconds": round(time.perf_counter() - start, 1)}
        files = run_folder.save(place, figures, page, None, None, record)
    print(report(record, files))
    return record


# -- What is given -----------------------------------------------------------------------------------------------------


def images_of(x):
    """The images as float32 of the same shape. Raises UserError where they are not floats in [0, 1], n at least 2."""
    x = to_numpy(x)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise UserError(f"x has shape {x.shape}: give (n, ...) floats in [0, 1], a row an image.")
    if len(x) < 2:
        raise UserError(f"x holds {len(x)} images, too few to judge by: give at least 2, better {FIRST:,}.")
    check_unit(x, "The images of x")
    return x.astype("float32")


def classes_of(labels, n):
    """Labels in any form as whole numbers from 0 on, (n,), and the names of the classes; none without labels."""
    labels = None if labels is None else to_numpy(labels)
    if labels is not None and labels.dtype == object and all(isinstance(label, str) for label in labels.flat):
        labels = labels.astype(str)
    (numbers,), names = convert_labels([labels], [n], "this call")
    return numbers, names


class Network:
    """Two functions as encode: images (m, ...) -> z_mean, z_log_var, and decode: z -> (m, pixels), all NumPy float32.

    Each output is checked. shape: that of an image. meaning: what the outputs are taken for (see find_meaning).
    """

    def __init__(self, encode, decode, shape):
        self.functions, self.shape, self.pixels = {"encode": encode, "decode": decode}, shape, math.prod(shape)
        self.meaning = {"z_log_var": findings.AS_GIVEN, "decode": "probabilities"}
        self.latent_dim = None

    def encode(self, rows):
        """z_mean and z_log_var of images (m, ...), (m, latent_dim) each, with z_log_var as it is meant."""
        z_mean, given = self.outputs(rows)[:2]
        z_log_var = findings.READINGS[self.meaning["z_log_var"]](given)
        if (largest := float(np.abs(z_log_var).max())) > LARGEST_LOG_VAR:
            raise UserError(f"z_log_var reaches {largest:.3g}, which no sound q does: train anew, more slowly.")
        return z_mean, z_log_var

    def decode(self, z):
        """Probabilities (m, pixels) of codes z (m, latent_dim)."""
        given = self.decoded(z)
        if self.meaning["decode"] == "logits":
            given = findings.sigmoid(given)
        return np.clip(given, 0, 1)

    def outputs(self, rows):
        """What encode gives for images (m, ...): z_mean, z_log_var and perhaps z, as it gives them, checked."""
        parts = []
        for some in evidence.batches(to_numpy(rows).reshape(-1, *self.shape), ROWS):
            part = called(self.functions["encode"], "encode", some)
            if not isinstance(part, list | tuple) or len(part) not in (2, 3):
                raise UserError("encode must give z_mean, z_log_var and perhaps z: give these two or three as a tuple.")
            part = [to_numpy(output) for output in part]
            self.latent_dim = self.latent_dim or (part[0].shape[-1] if part[0].ndim == 2 else 0)
            for name, output in zip(("z_mean", "z_log_var", "z"), part, strict=False):
                check(output, f"encode's {name}", (len(some), self.latent_dim or "latent_dim"))
            parts.append(part)
        return [np.concatenate(output).astype("float32") for output in zip(*parts, strict=True)]

    def decoded(self, z):
        """What decode gives for codes z (m, latent_dim), as it gives it, (m, pixels), checked."""
        parts = []
        for some in evidence.batches(to_numpy(z).astype("float32"), ROWS):
            part = to_numpy(called(self.functions["decode"], "decode", some))
            check(part, "decode's output", (len(some), *self.shape))
            parts.append(part.reshape(len(some), self.pixels).astype("float32"))
        return np.concatenate(parts)

    def find_meaning(self, x, seed):
        """Find out what the outputs mean, from images x; returns sentences where they are not what was asked for.

        From here on `encode` and `decode` go by what was found.
        """
        z_mean, given, *draws = self.outputs(x)
        found = findings.repeats(lambda rows: self.outputs(rows)[0], self.decoded, x, z_mean)
        flat = x.reshape(len(x), -1)
        self.meaning["decode"], said = findings.reading_of_decoder(flat, self.decoded(z_mean))
        if draws:
            draws.append(self.outputs(x)[2])
            self.meaning["z_log_var"], wrong = findings.reading_by_draws(z_mean, given, draws)
        else:
            subject = findings.Subject(flat, z_mean, given, self.decode, seed)
            self.meaning["z_log_var"], wrong = findings.reading_by_elbo(subject)
        return found + said + wrong


def called(function, name, rows):
    """What a function gives for rows, a NumPy array; a PyTorch module, or a method of one, is given a tensor.

    So is another function for which the array is of the wrong type, where PyTorch is there.
    """
    torch, owner = sys.modules.get("torch"), getattr(function, "__self__", function)
    if torch and isinstance(owner, torch.nn.Module) and not isinstance(owner, keras.Layer):
        weight = next(owner.parameters(), torch.zeros(()))
        rows = torch.from_numpy(rows).to(weight.device, weight.dtype)
    try:
        return function(rows)
    except Exception as error:
        if torch and isinstance(rows, np.ndarray) and isinstance(error, TypeError | AttributeError):
            return called(function, name, torch.from_numpy(rows))
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        what = f"a NumPy array {rows.shape} of float32" if isinstance(rows, np.ndarray) else f"a tensor {rows.shape}"
        raise UserError(f"{name} fails on {what} ({reason}): give a function that takes it.") from error


def check(output, what, shape):
    """Raise UserError unless an output has a shape and is finite."""
    if output.ndim != len(shape) or any(a != b for a, b in zip(output.shape, shape, strict=True)):
        wanted = "(" + ", ".join(map(str, shape)) + ")"
        raise UserError(f"{what} has shape {output.shape} and not {wanted}: give it in that shape.")
    if not np.isfinite(output).all():
        raise UserError(f"{what} holds values that are NaN or infinite: the training diverged, or a logarithm met 0.")


# -- The numbers -------------------------------------------------------------------------------------------------------


def judge(network, x, seed=0):
    """What looks wrong with a Network, from images x (n, ...): sentences, and the numbers that findings.look gives.

    From here on the network's outputs are taken for what they turned out to be.
    """
    found = network.find_meaning(x, seed)
    wrong, measured = findings.look(findings.Subject(x.reshape(len(x), -1), *network.encode(x), network.decode, seed))
    return found + wrong, measured


def measure(network, x, seed):
    """The numbers of the record: the ELBO of images x (n, ...), log p(x) of the first, and the KL of each latent."""
    losses, kl = evidence.elbo_terms(network.encode, network.decode, x, SAMPLES, seed)
    first = slice(FIRST)
    known = {"images": len(x[first]), **evidence.elbo_of(losses[:, first], kl[first])}
    known |= evidence.evaluate(network.encode, network.decode, x[first], seed=seed)
    known["gap"] = None if known["exact"] is None else known["exact"] - known["elbo"]
    each = kl.mean(axis=0)
    return {
        "model": EXAMINED,
        "dataset": f"{len(x):,} images of shape {x.shape[1:]}",
        "images": len(x),
        "shape": list(x.shape[1:]),
        "latent_dim": network.latent_dim,
        "stopped": None,
        "held_out": evidence.elbo_of(losses, kl),
        "evidence": known,
        "kl_of_latents": each.tolist(),
        "latents_in_use": int((each > findings.SILENT).sum()),
    }


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


def draw(network, dataset, seed):
    """The pictures {file name: Figure}, and a word where there are none, or not all."""
    shown = as_pictures(dataset.x_test, network.shape)
    if shown is None:
        return (
            {},
            f"No pictures: x of shape {dataset.x_test.shape} is not image-shaped, as (n, h, w) or (n, h, w, 3) is.",
        )
    origin = "the decoder given to examine"
    figures = pictures.draw(
        lambda rows: network.encode(as_images(rows, network.shape)),
        lambda z: as_pictures(network.decode(z), network.shape),
        dataset._replace(x_test=shown),
        origin=origin,
        seed=seed,
        thing="image",
    )
    plane = "latent_scatter.png, manifold.png and the exact log p(x) need two latents: this network has"
    return figures, None if network.latent_dim == 2 else f"{plane} {network.latent_dim}."


def make_page(network, dataset, layers, seed):
    """The explorer as HTML, or None with a word why there is none."""
    flat = dataset.x_test.reshape(-1, network.pixels)
    try:
        layers = dense.find(network, layers, flat[:100])
    except dense.NotDenseError as error:
        return None, f"No explorer: {error}."
    dataset = dataset._replace(x_test=flat, x_train=flat[:0])
    return explorer.page(network.encode, network.decode, dataset, pictures.COLOURS, seed=seed, layers=layers), None


# -- The folder and the report -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(path):
    """Open a folder for the files, as folder.opened does; one that holds anything but what examine wrote is refused."""
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


def report(record, files):
    """The lines that examine prints: what looks wrong, the numbers, the latents, what is left out, the files."""
    lines = console.numbers(record)
    held_out, kl, found = record["held_out"], record["kl_of_latents"], record["findings"]
    error, of_images = held_out["standard_error"], held_out["standard_error_of_images"]
    lines[0] += f"; standard error {error:.2f} of drawing z, {of_images:.2f} of the choice of images"
    shown = ", ".join(f"{nats:.2f}" for nats in kl[:10]) + (", ..." if len(kl) > 10 else "")
    lines.append(f"KL of each latent: {shown} nats; {record['latents_in_use']} of {len(kl)} in use")
    if record["measured"]["beta"] is not None:
        beta, error = (record["measured"][name] for name in ("beta", "beta_error"))
        lines.append(f"Weight of the KL loss, as the network shows it: {beta:.2f} ± {error:.2f} (1 is the ELBO)")
    lines = [f"Looks wrong: {finding}" for finding in found] + lines + ([] if found else ["Nothing looks wrong."])
    lines += record["left_out"]
    lines.append("Wrote " + ", ".join(map(str, files)))
    return "\n".join(lines)
