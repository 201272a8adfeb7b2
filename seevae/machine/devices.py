"""The device that computes, or several that share each batch of a training.

Each step's batch is cut into equal shares, one for each device, and all copies of the weights move by the mean of the
gradients (data parallelism):

    JAX         keras.distribution.DataParallel, over the devices of all processes (see seevae/machine/processes.py)
    TensorFlow  tf.distribute.MirroredStrategy (keras.distribution has no working TensorFlow backend)
    PyTorch     one device: Keras has nothing for more

After the training, a copy of the model on one device does all the rest (saved.copied).
"""

import contextlib
import importlib.metadata
import math
import os
import sys

import keras
from keras import ops

from seevae.basics import UserError
from seevae.machine import processes, startup


def describe() -> dict:
    """The backend, its device and the versions that decide the numbers: {"backend", "device", "versions"}."""
    backend = keras.backend.backend()
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in ("keras", backend, "numpy", "matplotlib"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    with startup.quiet():
        return {"backend": backend, "device": name(backend), "versions": versions}


def name(backend):
    """Name the device that the Keras `backend` computes on: a GPU by its name, or "CPU (n cores)"."""
    gpu = None
    match backend:
        case "tensorflow":
            import tensorflow as tf

            gpus = tf.config.list_physical_devices("GPU")
            gpu = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else None
        case "jax":
            import jax

            device = jax.devices()[0]
            gpu = device.device_kind if device.platform != "cpu" else None
        case "torch":
            import torch

            kind = ops.zeros(()).device.type  # where Keras puts its tensors
            gpu = {"cpu": None, "mps": "Apple GPU"}.get(kind, kind)
            if kind == "cuda":
                number = torch.cuda.device_count()
                alone = f", one of {number}: with PyTorch, Keras trains on one" if number > 1 else ""
                gpu = torch.cuda.get_device_name() + alone
    return gpu or f"CPU ({os.cpu_count()} cores)"


def chosen(recipe, trains):
    """What computes a run, as `describe` has it, and its recipe, with a batch that all devices can share if it trains.

    Raises UserError where no device answers.
    """
    try:
        described, number = describe(), available()
    except Exception as error:  # the environment names a device that is not there: JAX raises anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"No device answers ({reason}): look at JAX_PLATFORMS and CUDA_VISIBLE_DEVICES.") from error
    if number > 1 and trains:
        batch = round_up(recipe.batch_size, number)
        recipe = recipe._replace(batch_size=batch)
        described["device"] = f"{number} x {described['device']}, {batch} images a step, {batch // number} on each"
    return described, recipe


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception is that of Python or of a backend that finds no memory."""
    words = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "out of memory", "can't allocate memory")
    text = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or any(word in text for word in words)


# -- Several devices -------------------------------------------------------------------------------------------------


def available() -> int:
    """How many devices a training takes here: all of the kind that the backend prefers, in all processes."""
    match keras.backend.backend():
        case "tensorflow":
            return len(tensorflow_devices())
        case "jax":
            return keras.distribution.get_device_count()
        case _:
            return 1


def tensorflow_devices():
    """TensorFlow's GPUs, or its CPUs if it has none. (Only tests have several CPUs.)"""
    import tensorflow as tf

    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


def round_up(batch_size: int, number: int) -> int:
    """The smallest multiple of `number` that is at least `batch_size`."""
    return number * math.ceil(batch_size / number)


@contextlib.contextmanager
def all_devices():
    """A context in which a model is built and trained on all devices. It changes nothing where there is one."""
    if available() == 1:
        yield
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.distribute.MirroredStrategy([device.name for device in tensorflow_devices()]).scope():
            yield
    else:
        with keras.distribution.DataParallel(auto_shard_dataset=False).scope():  # each process feeds its own share
            yield
        processes.let_go()


def sharing():
    """How many devices share a batch of what is trained now: 1 outside of the context `all_devices`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy().num_replicas_in_sync
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.device_mesh.devices.size


def assign_on_each(variable, value):
    """Assign value(number) to the copy of a Keras variable on each device, numbered from 0.

    TensorFlow alone has copies that may differ. JAX draws the noise of a whole batch at once, from one state.
    """
    if sharing() == 1 or keras.backend.backend() != "tensorflow":
        variable.assign(value(0))
        return
    import tensorflow as tf

    for number, copy in enumerate(tf.distribute.get_strategy().experimental_local_results(variable.value)):
        copy.assign(value(number))
