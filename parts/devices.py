"""The Keras backend: its quiet start, the device it computes on, its versions, and how it compiles the training.

Importing this room imports Keras, on the backend that KERAS_BACKEND or ~/.keras/keras.json chooses (TensorFlow
where neither does).
"""

import contextlib
import importlib.metadata
import os
import sys


@contextlib.contextmanager
def quiet_startup():
    """Hide what TensorFlow's C++ libraries print while they load: no setting reaches those first lines.

    With TF_CPP_MIN_LOG_LEVEL=0 someone wants to read them, and nothing is hidden.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0":
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        stderr = os.dup(2)
    except OSError:  # stderr is closed: there is nothing to hide
        yield
        return
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


with quiet_startup():
    import keras


def describe():
    """The backend, its device and the versions that decide the numbers: {"backend", "device", "versions"}."""
    backend = keras.backend.backend()
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in ("keras", backend, "numpy", "matplotlib"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {"backend": backend, "device": device_name(backend), "versions": versions}


def device_name(backend):
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

            gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        case other:
            return f"{other}'s default device"
    return gpu or f"CPU ({os.cpu_count()} cores)"


def compile_options(steps):
    """How to compile a model that trains `steps` steps an epoch: keyword arguments of `keras.Model.compile`.

    XLA compiles the training step, and one call runs a tenth of an epoch. On PyTorch each call runs one step, as it
    is written: Keras runs no more than one there.
    """
    if keras.backend.backend() == "torch":
        return {"jit_compile": False, "steps_per_execution": 1}
    return {"jit_compile": True, "steps_per_execution": max(1, steps // 10)}
