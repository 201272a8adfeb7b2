"""Two functions that somebody wrote, as encode and decode on NumPy arrays: called, understood, and left as they were.

What they give is used where its meaning is sure; where it is not, one sentence says what came.
"""

import contextlib
import functools
import inspect
import math
import random
import sys
import time
from collections.abc import Mapping

import numpy as np

from seevae.basics import UserError
from seevae.images.converting import to_numpy
from seevae.results.evidence import batches

ROWS = 1000  # that a function is given at a time
SLOW = 3e-4  # seconds a decoding, from which on fewer are made; dense networks take a tenth of it
LARGEST_LOG_VAR, LARGEST_CODE = 60, 1e3
MEANS = ("z_mean", "mu", "loc", "mean", "embedding", "latent_mean", "means", "z_mu")
LOG_VARS = ("z_log_var", "log_var", "logvar", "log_covariance", "log_variance", "z_logvar", "lv")
DEVIATIONS = ("scale", "sigma", "std", "stddev", "z_scale", "z_std")
IMAGES = ("reconstruction", "recon_x", "recon", "x_hat", "x_recon", "sample", "output", "probs", "mean", "logits")
SAME = {"probs", "mean", "logits"}  # of one distribution
KINDS = ("a NumPy array", "a tensor")
AS_GIVEN = "a log variance"
READINGS = {  # what z_log_var may be, and the log variance that it then means
    AS_GIVEN: lambda given: given,
    "a variance": lambda given: np.log(np.maximum(given, 1e-12)),
    "a standard deviation": lambda given: 2 * np.log(np.maximum(given, 1e-6)),
    "the log of a standard deviation": lambda given: 2 * given,
}
DECODED = {  # what decode may give, and the probabilities, or means, that it then means
    "as it is": lambda given: given,
    "logits": lambda given: 0.5 * (1 + np.tanh(0.5 * given)),
    "from -1 to 1": lambda given: (given + 1) / 2,
    "from 0 to 255": lambda given: given / 255,
    "a sigmoid too many": lambda given: -np.log(1 / np.clip(given, 1e-6, 1 - 1e-6) - 1),
}


class Network:
    """encode: images (m, ...) -> z_mean, z_log_var, and decode: z -> (m, pixels), NumPy float32, checked.

    shape: that of an image; in_shape: of what encode is given. meaning: what the outputs are taken for. order: which of
    encode's outputs is which. code_shape: (latent_dim,), or that of feature maps, which are flat here. condition: rows
    (n, ...) that go to both functions as well, or None; `of` says which. rate: seconds a decoding takes, once `time`
    has found it.
    """

    def __init__(self, encode, decode, shape, condition=None, clips=True, in_shape=None):
        self.functions, self.shape, self.pixels = {"encode": encode, "decode": decode}, shape, math.prod(shape)
        self.meaning = {"encode": "z_mean, z_log_var", "z_log_var": AS_GIVEN, "decode": "as it is", "inputs": "x"}
        self.condition, self.clips, self.latent_dim, self.in_shape = condition, clips, None, in_shape or shape
        self.order, self.inputs, self.code_shape = (0, 1, 2), (lambda rows: rows), ()
        self.rate = 0.0

    @property
    def slow(self):
        return self.rate > SLOW

    def time(self, rows):
        """Find the rate, the seconds that a decoding takes: the better of two calls, as the first one may compile."""
        z, spent = self.outputs(rows)[0], []
        try:
            self.decoded(z)
        except UserError as error:
            raise self.told_apart(error) from error
        codes = np.resize(z, (ROWS // 4, z.shape[1]))
        for _ in range(2):
            start = time.perf_counter()
            self.decoded(codes)
            spent.append(time.perf_counter() - start)
        self.rate = min(spent) / len(codes)

    def told_apart(self, error):
        """The error of a decoder that does not take the codes; where one array was split, that may be the reason."""
        if not self.meaning["encode"].startswith("one array"):
            return error
        split = f"encode gives {self.meaning['encode']}, {self.latent_dim} columns each as z_mean and z_log_var"
        failed = str(error).rsplit(": give", 1)[0]
        return UserError(f"{split}, but {failed}: give both, as without a variance it is an autoencoder and no VAE.")

    def encode(self, rows, of=None):
        """z_mean and z_log_var of images (m, ...), (m, latent_dim) each, with z_log_var as it is meant."""
        z_mean, given = self.outputs(rows, of)[:2]
        return z_mean, self.log_var(given)

    def log_var(self, given):
        z_log_var = READINGS[self.meaning["z_log_var"]](given)
        if abs(farthest := float(max(z_log_var.max(), z_log_var.min(), key=abs))) > LARGEST_LOG_VAR:
            why = "has the wrong sign" if farthest > 0 else "is missing"
            why = f"look whether the KL loss {why}, or the training diverged"
            raise UserError(f"z_log_var reaches {farthest:.3g}, which no sound q does: {why}.")
        return z_log_var

    def decode(self, z, of=None):
        """Probabilities (m, pixels) of codes z (m, latent_dim); means, where the likelihood is Gaussian."""
        given = DECODED[self.meaning["decode"]](self.decoded(z, of))
        return np.clip(given, 0, 1) if self.clips else given

    def outputs(self, rows, of=None):
        """What encode gives for images (m, ...): z_mean, z_log_var and perhaps z, checked, in the order found."""
        rows, parts = to_numpy(rows).reshape(-1, *self.in_shape), []
        for n, given in self.calls("encode", self.inputs(rows), of):
            part, self.meaning["encode"], kind = codes_of(given, n, self.pixels)
            if kind and self.meaning["z_log_var"] == AS_GIVEN:
                self.meaning["z_log_var"] = kind
            self.code_shape = self.code_shape or part[0].shape[1:]
            self.latent_dim = math.prod(self.code_shape)
            for name, output in zip(("z_mean", "z_log_var", "z"), part, strict=False):
                check(output, f"encode's {name}", (n, *self.code_shape))
            parts.append([output.reshape(n, -1) for output in part])
        joined = [np.concatenate(output).astype("float32") for output in zip(*parts, strict=True)]
        joined = [joined[i] for i in self.order if i < len(joined)]
        if (largest := float(np.abs(joined[0]).max())) > LARGEST_CODE:
            why = "the KL loss has the wrong sign, the training diverged, or encode is given other inputs than its own"
            raise UserError(f"z_mean reaches {largest:.3g}, where N(0, 1) is meant: look whether {why}.")
        return joined

    def decoded(self, z, of=None):
        """What decode gives for codes z (m, latent_dim), as it gives it, (m, pixels), checked."""
        z, parts = to_numpy(z).astype("float32"), []
        for n, given in self.calls("decode", z.reshape(len(z), *(self.code_shape or z.shape[1:])), of):
            part = in_layout(image_of(given, n * self.pixels), self.shape)
            if part.shape[:1] != (n,) or part.size != n * self.pixels or part.ndim < 2:
                check(part, "decode's output", (n, *self.shape))
            check(part, "decode's output", part.shape)
            parts.append(part.reshape(n, self.pixels).astype("float32", copy=False))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def calls(self, name, rows, of):
        """How many rows a function is given, and what it gives for them: ROWS at a time, each with its condition."""
        of = np.arange(len(rows)) if of is None else np.asarray(of)
        for some, which in zip(batches(rows, ROWS), batches(of, ROWS), strict=True):
            more = () if self.condition is None else (self.condition[which % len(self.condition)],)
            yield len(some), called(self.functions[name], name, some, more)


# -- Calling -----------------------------------------------------------------------------------------------------------


WRONG_TYPE = TypeError | AttributeError  # what a function raises that was given arrays of another library


def called(function, name, rows, more=()):
    """What a function gives for rows, a NumPy array of its own; a PyTorch module, or a method of one, gets a tensor.

    So does another function that fails on the array, where PyTorch is there.
    """
    torch, owner = sys.modules.get("torch"), getattr(function, "__self__", function)
    modules, failed = torch is not None and isinstance(owner, torch.nn.Module), []
    for tensors in (True,) if modules else (False, True) if torch else (False,):
        given = [np.array(each) for each in (rows, *more)]
        if tensors:
            given = as_tensors(given, next(owner.parameters(), None) if modules else None)
        try:
            with torch.no_grad() if torch else contextlib.nullcontext():
                return function(*given)
        except Exception as error:
            failed.append((error, " and ".join(f"{KINDS[tensors]} {tuple(each.shape)}" for each in given)))
    told = [pair for pair in failed if not isinstance(pair[0], WRONG_TYPE)] or failed
    cause, what = told[-1]
    reason = f"{type(cause).__name__}: {' '.join(str(cause).split())[:200]}"
    advice = "give a function that takes it" + ", or condition=, of a conditional VAE" * (" missing " in reason)
    raise UserError(f"{name} fails on {what} of float32 ({reason}): {advice}.") from cause


def as_tensors(arrays, like=None):
    """NumPy arrays as PyTorch's tensors, floats as those of `like`."""
    tensors = [sys.modules["torch"].from_numpy(array) for array in arrays]
    if like is None:
        return tensors
    return [each.to(like.device, like.dtype if each.is_floating_point() else each.dtype) for each in tensors]


def check(output, what, shape):
    """Raise UserError unless an output has a shape and is finite."""
    if output.shape != tuple(shape):
        raise UserError(f"{what} has shape {output.shape} and not {tuple(shape)}: give it in that shape.")
    if not np.isfinite(output).all():
        raise UserError(f"{what} holds values that are NaN or infinite: the training diverged, or a logarithm met 0.")


def array_of(output, what):
    """An output as a NumPy array of real numbers, a copy."""
    try:
        array = np.array(to_numpy(output))
    except Exception as error:
        raise UserError(f"{what} is {kind_of(output)}, which is no array: give one of numbers.") from error
    if array.dtype.kind not in "fiub":
        raise UserError(f"{what} is {kind_of(output)} of dtype {array.dtype}: give an array of real numbers.")
    return array


def kind_of(thing):
    """What came, in words: its type, and what it holds."""
    if inspect.iscoroutine(thing):
        thing.close()
        return "a coroutine (of an async function)"
    if fields := fields_of(thing):
        return f"{type(thing).__name__} with the fields {', '.join(map(str, fields))}"
    if isinstance(thing, list | tuple):
        shapes = ", ".join(str(tuple(getattr(part, "shape", ()))) or "?" for part in thing[:6])
        return f"a {type(thing).__name__} of {len(thing)}, of shapes {shapes}"
    shape = getattr(thing, "shape", None)
    return type(thing).__name__ + ("" if shape is None else f" of shape {tuple(shape)}")


def fields_of(thing):
    """{name: value} of a mapping, a named tuple, a dataclass or a plain object; empty for all else."""
    if isinstance(thing, Mapping):
        return dict(thing)
    if hasattr(thing, "_asdict"):
        return thing._asdict()
    if hasattr(thing, "shape") or isinstance(thing, list | tuple | str | bytes | int | float | complex):
        return {}
    names = [*getattr(thing, "__dict__", {}), *(n for n in (*MEANS, *DEVIATIONS, "probs") if hasattr(type(thing), n))]
    values = {name: getattr(thing, name, None) for name in names if not name.startswith("_")}
    return {name: value() if inspect.ismethod(value) else value for name, value in values.items()}  # as mean() of TFP's


def in_words(value):
    """An argument as it was given, or of what kind it is where that is long."""
    return text if len(text := repr(value)) <= 60 else kind_of(value)


def codes_of(given, n, pixels):
    """z_mean, z_log_var and perhaps z from what encode gave for n images; what it was, and the reading, if it says."""
    fields = fields_of(given)
    if found := codes_in(fields):
        return found
    parts = [*given] if not fields and isinstance(given, list | tuple) else []
    codes = [part for part in parts if size_of(part) != n * pixels]
    kind = "a forward pass: " * (1 < len(codes) < len(parts))  # the others are images
    parts = codes if kind else parts
    if len(parts) in (2, 3):
        names = ("z_mean", "z_log_var", "z")[: len(parts)]
        parts = [array_of(part, f"encode's {name}") for part, name in zip(parts, names, strict=True)]
        if parts[0].ndim not in (2, 4):  # 4: feature maps
            shape = f"{parts[0].shape} and not ({n}, latent_dim)"
            raise UserError(f"encode's z_mean has shape {shape}: give it in that shape.")
        return parts, kind + ", ".join(names), None
    shape = () if fields else getattr(given, "shape", ())
    if len(shape) == 2 and shape[0] == n and shape[1] % 2 == 0:
        array = array_of(given, "encode's output")
        return np.split(array, 2, axis=1), f"one array {array.shape}", None
    raise UserError(f"encode gives {kind_of(given)}: give z_mean, z_log_var and perhaps z, as a tuple.")


def size_of(part):
    """How many numbers an array holds; 0 for all else."""
    return math.prod(getattr(part, "shape", ()) or (0,))


def codes_in(fields):
    """What codes_of gives, of fields whose names say which they are, or None."""
    mean = next((name for name in MEANS if name in fields), None)
    for names, reading in ((LOG_VARS, None), (DEVIATIONS, "a standard deviation")):
        second = next((name for name in names if name in fields), None)
        if mean and second:
            parts = [array_of(fields[name], f"encode's {name}") for name in (mean, second)]
            if reading and parts[1].min() < 0:
                raise UserError(f"encode's {second} has values below 0, as no deviation has: give z_mean, z_log_var.")
            return parts, f"fields {mean} and {second}", reading
    return None


def image_of(given, size):
    """The images in what decode gave, an array: itself, or the one part that has their size."""
    fields = fields_of(given)
    if not fields and isinstance(given, list | tuple) and any(hasattr(part, "shape") for part in given):
        fields = dict(enumerate(given))
    if not fields:
        return array_of(given, "decode's output")
    fits = [name for name, part in fields.items() if size_of(part) == size]
    named = [name for name in IMAGES if name in fits]
    if {*named} <= SAME:  # as a distribution has them
        named = named[:1]
    chosen = fits if len(fits) == 1 else named
    if len(chosen) != 1:
        raise UserError(f"decode gives {kind_of(given)}: give the probabilities of the pixels, or the means, alone.")
    return array_of(fields[chosen[0]], "decode's output")


def in_layout(images, shape):
    """Images (n, ...) with their colours first or last, as an image of this shape has them; as they are elsewhere."""
    for source, to in ((1, -1), (-1, 1)) if images.ndim == 4 and images.shape[1:] != shape else ():
        if (moved := np.moveaxis(images, source, to)).shape[1:] == shape:
            return moved
    return images


# -- Left as it was ----------------------------------------------------------------------------------------------------


def parts_behind(*functions):
    """The PyTorch modules and Keras models that functions use, as far as can be seen: a list."""
    torch, keras = sys.modules.get("torch"), sys.modules.get("keras")
    kinds = tuple(filter(None, (torch and torch.nn.Module, getattr(keras, "Model", None))))
    found, seen, ahead = [], set(), [(function, 0) for function in functions]
    while ahead:
        thing, depth = ahead.pop()
        if id(thing) in seen or depth > 4:
            continue
        seen.add(id(thing))
        if kinds and isinstance(thing, kinds):
            found.append(thing)
        else:
            ahead += [(part, depth + 1) for part in parts_of(thing)]
    return found


def parts_of(thing):
    """What a function closes over, is bound to, or names; what an object of somebody's own holds."""
    if isinstance(thing, functools.partial):
        return [thing.func, *thing.args, *thing.keywords.values()]
    if inspect.ismethod(thing):
        return [thing.__self__, thing.__func__]
    if inspect.isfunction(thing):
        named = [thing.__globals__.get(name) for name in thing.__code__.co_names]
        values = [*map(inside, thing.__closure__ or ()), *named, *(thing.__defaults__ or ())]
        return [value for value in values if not inspect.ismodule(value)]
    if isinstance(thing, list | tuple):
        return thing[:20]
    if isinstance(thing, type | np.ndarray) or inspect.isbuiltin(thing):
        return []
    return [*getattr(thing, "__dict__", {}).values()][:50]


def inside(cell):
    """What a cell of a closure holds, or None while it is empty."""
    with contextlib.suppress(ValueError):
        return cell.cell_contents


class Kept:
    """A context that puts networks into evaluation, and leaves them as they were: modes, buffers, moving statistics.

    So are the random numbers of Python, NumPy and PyTorch, which a training goes on to draw. training: kinds of layers
    that were in training and behave otherwise there.
    """

    def __init__(self, *functions):
        self.parts, self.training, self.modes, self.kept = parts_behind(*functions), [], [], []
        self.random = [(random.setstate, random.getstate()), (np.random.set_state, np.random.get_state())]
        if torch := sys.modules.get("torch"):
            self.random.append((torch.random.set_rng_state, torch.random.get_rng_state()))

    def __enter__(self):
        for part in self.parts:
            if hasattr(part, "named_buffers"):
                self.modes += [(module, module.training) for module in part.modules()]
                self.kept += [(buffer, buffer.detach().clone()) for buffer in part.buffers()]
                apart = [type(m).__name__ for m in part.modules() if m.training and differs_in_training(m)]
                self.training += [name for name in dict.fromkeys(apart) if name not in self.training]
                part.eval()
            else:
                weights = [w for w in part.non_trainable_variables if w.dtype.startswith("float")]
                self.kept += [(weight, to_numpy(weight).copy()) for weight in weights]
        return self

    def __exit__(self, *error):
        for now, before in self.kept:
            if not np.array_equal(to_numpy(now), to_numpy(before), equal_nan=True):
                now.assign(before) if hasattr(now, "assign") else now.data.copy_(before)
        for module, training in self.modes:
            module.training = training
        for put_back, state in self.random:
            put_back(state)


def differs_in_training(module):
    kind = type(module).__name__
    return "Dropout" in kind or getattr(module, "running_mean", None) is not None
