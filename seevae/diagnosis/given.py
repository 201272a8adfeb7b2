"""What examine is given, checked and in one form: images, what encode gets for them, and what their owner knows."""

import contextlib
import hashlib
import math
import operator
import time

import numpy as np

from seevae.basics import UserError
from seevae.diagnosis.diagnose import FEW
from seevae.diagnosis.findings import ENOUGH, SILENT, better
from seevae.diagnosis.network import DECODED, Network, in_words, size_of
from seevae.diagnosis.report import Seen
from seevae.diagnosis.sentences import Finding
from seevae.images.classes import convert_labels
from seevae.images.converting import check_unit, to_numpy
from seevae.results import evidence

FIRST = 1000  # images of which log p(x) is computed
SAMPLES, FEW_SAMPLES = 10, 3  # draws of z an image for the ELBO; with a slow decoder
IMPORTANCE_SAMPLES, SECONDS = 100, 1  # the same for log p(x), and what this may take, about: else it is of fewer images
ROUNDING = 1e-4  # by which a pixel may leave its range
MOST = 2**30  # bytes that are gathered, at most, of something that tells no length
IMAGES = ("image", "images", "img", "pixel_values", "x")  # names in the parts of a loader
GRID, GRID_SECONDS = 40_000, 4  # codes that the exact log p(x) takes, about, and what decoding them may take

OTHER_INPUTS = {  # what encode may have been trained on, of images x from 0 to 1, in words and as a function
    "2 * x - 1": lambda x: 2 * x - 1,
    "(x - 0.1307) / 0.3081": lambda x: (x - 0.1307) / 0.3081,
    "255 * x": lambda x: 255 * x,
}
FROM_MINUS = {"(x + 1) / 2": lambda x: (x + 1) / 2}  # the same, of images that are given from -1 to 1


class Given:
    """Images x and what encode is given for them, and what their owner knows; and what is computed of them."""

    def __init__(
        self, x, labels=None, seed=0, likelihood=None, sigma=None, beta=1.0, inputs=None, condition=None, x_train=None
    ):
        self.seed, self.beta = whole(seed), positive(beta, "beta")
        self.x, own, self.found = images_of(x)
        self.into = self.x if own is None else own
        if inputs is not None:
            self.into = rows_of(inputs, "inputs", self.x)
        self.own = self.into is not self.x
        self.others = {} if inputs is not None else OTHER_INPUTS if own is None else FROM_MINUS
        if len(self.x) < ENOUGH:
            self.found.append(Finding("few-images", images=len(self.x)))
        self.condition = None if condition is None else rows_of(condition, "condition", self.x)
        self.x_train = None if x_train is None else images_of(x_train, "x_train")[0]
        self.labels, self.names = classes_of(labels, len(self.x))
        self.likelihood, self.learned = likelihood_of(likelihood, sigma)
        self.assumed = self.learned and sigma is None
        if self.x_train is not None and (self.own or self.condition is not None):
            raise UserError("x_train is taken alone: without inputs= and condition=, which say nothing of its images.")
        if self.x_train is not None and self.x_train.shape[1:] != self.x.shape[1:]:
            shapes = f"x_train has images of {self.x_train.shape[1:]}, x of {self.x.shape[1:]}"
            raise UserError(f"{shapes}: give both alike.")

    @property
    def flat(self):
        return self.x.reshape(len(self.x), -1)

    def network(self, encode, decode):
        """The Network, which is asked once; for a Gaussian, the range of its means and its sigma are found now."""
        is_bernoulli = self.likelihood.name == "bernoulli"
        network = Network(encode, decode, self.x.shape[1:], self.condition, is_bernoulli, self.into.shape[1:])
        network.time(self.into[:100])
        if not is_bernoulli:
            self.read_means(network)
        if self.assumed:
            self.found.append(Finding("sigma-assumed", sigma=self.likelihood.sigma))
        return network

    def read_means(self, network):
        """Read a Gaussian decoder's means as 0 to 1, or as -1 to 1 and with half the sigma; find a learned one."""
        rows = np.arange(len(self.x[:FIRST]))
        output = network.decoded(network.encode(self.into[:FIRST], rows)[0], rows)
        squares = {name: np.square(self.flat[:FIRST] - DECODED[name](output)) for name in ("as it is", "from -1 to 1")}
        as_is, as_minus = (each.sum(axis=1) for each in squares.values())
        is_better, numbers = better(as_is, as_minus)
        if is_better and output.min() < -0.5:
            network.meaning["decode"] = "from -1 to 1"
            self.found.append(Finding("outside-unit/means", low=output.min(), high=output.max(), **numbers))
            self.likelihood = evidence.gaussian(self.likelihood.sigma / 2)
        if self.learned:
            left = math.sqrt(float(np.mean(squares[network.meaning["decode"]])))
            self.likelihood = evidence.gaussian(max(left, 1e-3))

    def read_as(self, network):
        return network.meaning | {"likelihood": self.likelihood.name, "sigma": self.likelihood.sigma, "beta": self.beta}

    def functions(self, network):
        """encode, decode and loss for the tools of `evidence`, of images by their numbers (n, 1), with any condition.

        What their decode gives is the code, as only the loss knows of which image it is.
        """

        def loss(rows, z):
            return self.likelihood.loss(self.flat[rows[:, 0]], network.decode(z, rows[:, 0]))

        return (lambda rows: network.encode(self.into[rows[:, 0]], rows[:, 0])), (lambda z: z), loss

    def numbers(self, network, quick):
        """The numbers of the record: the ELBO, log p(x) of the first images, and the KL of each latent.

        And the ELBO of each image, (n,).
        """
        n, start = len(self.x[:FIRST] if quick else self.x), time.perf_counter()
        encode, decode, loss = self.functions(network)
        samples = FEW_SAMPLES if network.slow else SAMPLES
        losses, kl = evidence.elbo_terms(encode, decode, np.arange(n)[:, None], samples, self.seed, loss)
        rate = (time.perf_counter() - start) / losses.size  # seconds a decoding and its loss
        each = kl.mean(axis=0)
        return {
            "images": len(self.x),
            "shape": list(self.x.shape[1:]),
            "digest": hashlib.sha256(np.ascontiguousarray(self.x)).hexdigest()[:16],
            "latent_dim": network.latent_dim,
            "stopped": None,
            "held_out": evidence.elbo_of(losses, kl),
            "evidence": None if quick else self.log_p(network, losses, kl, rate),
            "kl_of_latents": each.tolist(),
            "latents_in_use": int((each > SILENT).sum()),
        }, -(losses.mean(axis=0) + kl.sum(axis=1))

    def log_p(self, network, losses, kl, rate):
        """log p(x) of the first images: FIRST of them, or half, a quarter or a tenth, as SECONDS allow at this rate."""
        there = min(FIRST, len(self.x))
        n = next((n for n in (there, 500, 250) if n * IMPORTANCE_SAMPLES * rate < SECONDS), 100)
        n = min(n, there)
        encode, decode, loss = self.functions(network)
        rows, known = np.arange(n)[:, None], {"images": n} | evidence.elbo_of(losses[:, :n], kl[:n])
        weighted = evidence.importance_weighted(encode, decode, rows, IMPORTANCE_SAMPLES, self.seed, loss)
        known |= dict(
            zip(("importance_weighted", "importance_weighted_error"), evidence.mean_and_error(weighted), strict=True)
        )
        known |= {"importance_samples": IMPORTANCE_SAMPLES, "exact": None, "exact_error": None, "gap": None}
        if network.latent_dim == 2 and GRID * network.rate < GRID_SECONDS:
            with contextlib.suppress(evidence.ResolutionError):
                exact, error = self.exact(network, n)
                known |= {"exact": exact, "exact_error": error, "gap": exact - known["elbo"]}
        return known

    def fewer(self, network):
        """What is left out as decoding is slow, in words, in a list."""
        if not network.slow:
            return []
        words = f"Decoding is slow, {1000 * network.rate:.1f} ms an image: the findings rest on {FEW} images at most"
        words += f", the ELBO on {FEW_SAMPLES} draws of each"
        exact = network.latent_dim == 2 and GRID * network.rate >= GRID_SECONDS
        return [words + exact * f"; the exact log p(x) would take about {GRID * network.rate:.0f} seconds" + "."]

    def exact(self, network, n):
        """The exact log p(x) of the first n images and its error, means; images of one condition at a time."""
        kinds = np.zeros(n, int)
        if self.condition is not None:
            kinds = np.unique(self.condition[:n].reshape(n, -1), axis=0, return_inverse=True)[1].ravel()
        found = np.zeros((2, n))
        for of in (np.flatnonzero(kinds == kind) for kind in range(kinds.max() + 1)):
            decode = lambda z, one=of[0]: network.decode(z, np.full(len(z), one))  # noqa: E731
            found[:, of] = evidence.exact_log_evidence(decode, self.flat[of], log_likelihood=self.likelihood.pairs)
        return tuple(found.mean(axis=1).tolist())

    def seen(self, network):
        """What the report page shows."""
        rows = np.arange(len(self.x))
        z_mean, z_log_var = network.encode(self.into, rows)
        _, _, loss = self.functions(network)
        losses = evidence.in_batches(lambda some, z: loss(some[:, None], z), rows, z_mean)

        def decode(z, of=None):
            return np.clip(network.decode(z, np.zeros(len(z), int) if of is None else of), 0, 1)

        return Seen(self.flat, self.x.shape[1:], self.labels, self.names, z_mean, z_log_var, losses, decode, self.seed)


# -- Checks ------------------------------------------------------------------------------------------------------------


def whole(seed):
    try:
        if (number := operator.index(seed)) >= 0:
            return number
    except TypeError:
        pass
    raise UserError(f"seed={in_words(seed)} is no whole number from 0 on: give one.")


def positive(number, name):
    with contextlib.suppress(TypeError, ValueError):
        if math.isfinite(float(number)) and float(number) > 0:
            return float(number)
    raise UserError(f"{name}={in_words(number)} is no number above 0: give one.")


def likelihood_of(likelihood, sigma):
    """The Likelihood that is meant, and whether its sigma is still to be found."""
    if likelihood not in (None, "bernoulli", "gaussian") or (likelihood == "bernoulli" and sigma is not None):
        words = 'give "bernoulli", or "gaussian" with sigma= a number or "learned"'
        raise UserError(f"likelihood={in_words(likelihood)} and sigma={in_words(sigma)} do not fit: {words}.")
    if likelihood != "gaussian" and sigma is None:
        return evidence.BERNOULLI, False
    learned = sigma is None or (isinstance(sigma, str) and sigma == "learned")
    return evidence.gaussian(1.0 if learned else positive(sigma, "sigma")), learned


def images_of(x, name="x"):
    """The images as float32 in [0, 1], what encode is given in their place, or None, and findings."""
    x = array_of_images(x, name)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise UserError(f"{name} has shape {x.shape}: give (n, ...) floats in [0, 1], a row an image.")
    if len(x) < 2:
        raise UserError(f"{name} holds {len(x)} images, too few to judge by: give at least 2, better {FIRST:,}.")
    own, found, x = None, [], x.astype("float32") if x.dtype == bool else x
    if x.dtype.kind == "f" and x.min() > -ROUNDING and x.max() < 1 + ROUNDING:
        x = np.clip(x, 0, 1)
    elif x.dtype.kind == "f" and -1 - ROUNDING < x.min() < -0.99 and 0.9 < x.max() < 1 + ROUNDING:
        own, x = np.clip(x, -1, 1).astype("float32"), np.clip((x + 1) / 2, 0, 1)
        found = [Finding("input-range/minus")]
    elif x.dtype.kind == "f" and x.size and x.min() < 0 and np.isfinite(x).all():
        words = f"The images of {name} have values from {x.min():.4g} to {x.max():.4g}, and must be from 0 to 1"
        advice = "scale them ((x + 1) / 2 if they go from -1 to 1), and give what encode was trained on as inputs="
        raise UserError(f"{words}: {advice}.")
    check_unit(x, f"The images of {name}")
    if len(x) > 1 and (x == x[:1]).all():
        raise UserError(
            f"The {len(x):,} images of {name} are one and the same (from {x.min():.3g} to {x.max():.3g}): give others."
        )
    return x.astype("float32"), own, found


def array_of_images(x, name):
    """Images of an array of any library, a Dataset, a loader of batches, (image, label) pairs, or images and labels."""
    x = getattr(x, "x_test", x)  # as load_data's Dataset has it
    if isinstance(x, str | bytes | dict) or not (hasattr(x, "__iter__") or hasattr(x, "__getitem__")):
        raise UserError(f"{name}={in_words(x)} holds no images: give (n, ...) floats.")
    try:
        return to_numpy(x[:] if hasattr(x, "shape") else images_in(x))
    except UserError:
        raise
    except Exception as error:
        kind, reason = type(x).__name__, " ".join(str(error).split())[:150]
        raise UserError(
            f"{name} is a {kind} that gives no array of images ({reason}): give (n, ...) floats."
        ) from error


def images_in(x):
    """The images in something that holds them one by one, in batches, or in pairs."""
    loads = hasattr(x, "batch_size") and hasattr(x, "dataset")
    by_number = hasattr(x, "__len__") and hasattr(x, "__getitem__") and not loads
    parts = [x[i] for i in range(len(x))] if by_number else within_bounds(x)
    shapes = [getattr(part, "shape", ()) for part in parts]
    if len(parts) == 2 and len(shapes[0]) > 1 and shapes[1] == shapes[0][:1]:  # all images, and their labels
        return parts[0]
    images = [to_numpy(image_in(part)) for part in parts]
    return np.concatenate(images) if loads or are_batches(parts, images) else np.stack(images)


def are_batches(parts, images):
    """Whether the images in some parts are batches: of 4 axes, with as many labels, or with a shorter one last."""
    shape, (*lengths, last) = images[0].shape, map(len, images)
    labels = parts[0][1] if isinstance(parts[0], list | tuple) and len(parts[0]) > 1 else ()
    labelled = len(shape) > 1 and np.shape(labels) == shape[:1]
    rest = math.prod(shape[1:]) > shape[0] and len({*lengths}) == 1 and last < lengths[0]  # no image that is less high
    return len(shape) > 3 or labelled or rest


def within_bounds(x):
    """The parts of something that tells no length, in a list. Raises UserError where it may have no end."""
    parts, room = [], MOST
    for part in x:
        parts.append(part)
        room -= 4 * size_of(image_in(part)) + 1000
        if room < 0:
            words = f"x is a {type(x).__name__} with more than {len(parts):,} parts, which may have no end"
            raise UserError(f"{words}: give the first ones, as a list or an array.")
    return parts


def image_in(part):
    """The image, or images, of one part of a loader or Dataset: itself, the first of a pair, or by its name."""
    if isinstance(part, list | tuple) and len(part) in (1, 2, 3) and hasattr(part[0], "shape"):
        return part[0]
    return next((part[name] for name in IMAGES if name in part), part) if isinstance(part, dict) else part


def rows_of(value, name, x):
    """inputs or condition, an array or a function of x, as a float32 array of its n rows; whole numbers stay so."""
    try:
        array = to_numpy(value(x.copy()) if callable(value) else value)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
        raise UserError(f"{name} gives no array ({reason}): give numbers, a row for each image.") from error
    if array.dtype.kind not in "fiub" or array.shape[:1] != (len(x),):
        is_so = f"{name} has shape {array.shape} and dtype {array.dtype}"
        raise UserError(f"{is_so}: give numbers, a row for each of {len(x)} images.")
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
