"""The Keras backend: its quiet start, its device, memory and versions.

Importing this room imports Keras, on the backend that KERAS_BACKEND or ~/.keras/keras.json chooses (TensorFlow
where neither does).
"""

import contextlib
import importlib.metadata
import math
import os
import sys
from pathlib import Path

from parts import stopping


@contextlib.contextmanager
def quiet_startup():
    """Hide what the C++ libraries of TensorFlow and JAX print while they load: no setting reaches those first lines.

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
    stopping.now.stderr = stderr  # for whoever presses Ctrl-C meanwhile
    try:
        yield
    finally:
        stopping.now.stderr = 2
        os.dup2(stderr, 2)
        os.close(stderr)


@contextlib.contextmanager
def starting(package, advice):
    """Import a package in this context: where it fails, the program ends with one sentence and exit status 2.

    An import has no caller that could tell the user; whatever it raises, a traceback would not help.
    """
    try:
        yield
    except Exception as error:  # ImportError, ValueError, AttributeError, ...: as the package sees fit
        reason = " ".join(str(error).split())[:200]
        print(f"vae_mnist: {package} does not start ({reason}): {advice}.", file=sys.stderr)
        raise SystemExit(2) from error


with starting("matplotlib", "mend MPLBACKEND or your matplotlibrc"):  # before Keras, which imports it too
    import matplotlib as matplotlib

BACKENDS = ("tensorflow", "jax", "torch")


def share_gpus(tensorflow):
    """Let TensorFlow take a GPU's memory as it needs it: left alone, it takes all of every card at once."""
    with contextlib.suppress(RuntimeError):  # they are in use already, by a program that imports this one
        for gpu in tensorflow.config.list_physical_devices("GPU"):
            tensorflow.config.experimental.set_memory_growth(gpu, True)


with starting("Keras", f"set KERAS_BACKEND to one of {', '.join(BACKENDS)} that is installed"), quiet_startup():
    import keras

    if keras.backend.backend() not in BACKENDS:
        raise ImportError(f"the backend {keras.backend.backend()} cannot train")
    with contextlib.suppress(ImportError):  # Keras's fit imports it on each backend, and it talks then
        import tensorflow as tensorflow

    if keras.backend.backend() == "tensorflow":
        share_gpus(tensorflow)


def describe():
    """The backend, its device and the versions that decide the numbers: {"backend", "device", "versions"}."""
    backend = keras.backend.backend()
    versions = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in ("keras", backend, "numpy", "matplotlib"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    with quiet_startup():
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

            kind = keras.ops.zeros(()).device.type  # where Keras puts its tensors
            if kind == "cuda":
                number = torch.cuda.device_count()
                alone = f", one of {number}: with PyTorch, Keras trains on one" if number > 1 else ""
                gpu = torch.cuda.get_device_name() + alone
            elif kind != "cpu":
                gpu = "Apple GPU" if kind == "mps" else kind
        case other:
            return f"{other}'s default device"
    return gpu or f"CPU ({os.cpu_count()} cores)"


def free_memory():
    """How many bytes a program can still take here, as far as the system tells; infinity where it does not."""
    limits = [math.inf]
    with contextlib.suppress(OSError, ValueError):  # Linux; what files hold in memory counts as free
        lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        limits.append(1024 * int(lines["MemAvailable"].split()[0]))
    with contextlib.suppress(OSError, ValueError):  # a container with a limit of its own
        group = Path("/sys/fs/cgroup")
        limits.append(int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return min(limits)


def is_out_of_memory(error):
    """Tell whether an exception is that of Python or of a backend that finds no memory."""
    words = ("RESOURCE_EXHAUSTED", "ResourceExhausted", "out of memory", "can't allocate memory")
    text = f"{type(error).__name__} {error}"
    return isinstance(error, MemoryError) or any(word in text for word in words)
