"""The start of the program: Keras is imported quietly, on a backend that is installed.

Importing this module imports nothing heavy; `import_keras` does.
"""

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import sys
import warnings
from pathlib import Path

from seevae.basics import UserError, complain, say

BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
TOO_MANY_FILES, MORE_FILES = "Too many open files", "let this process open more, as with `ulimit -n 1024`"
FEWEST_FILES, USUAL_FILES = 64, 1024  # with fewer, TensorFlow aborts; macOS allows 256 until one asks for more
OLDEST_KERAS = (3, 14)  # older ones cannot load a model safely (see requirements.txt)
INSTALL = (
    "install what is needed with `pip install -r requirements.txt` or `pip install 'seevae[tensorflow]'`, "
    "and run with that Python"
)


def import_keras(announce: bool = False) -> None:
    """Import Keras on the backend that is chosen (see chosen_backend), without the lines that its libraries print.

    announce: this is the command: say on stdout what it is waiting for, and see calm_warnings. Where the import fails,
    the program ends with one sentence and exit status 2: an import has no caller that could tell the user.
    """
    if announce:
        allow_files()
        calm_warnings()
    if "keras" not in sys.modules:
        backend = chosen_backend()
        os.environ["KERAS_BACKEND"] = backend
        if announce:
            say(f"Starting Keras on {BACKENDS.get(backend, backend)}, which takes some seconds.")
    with starting("matplotlib", lambda _: "mend MPLBACKEND or your matplotlibrc"):  # before Keras, which imports it too
        import matplotlib as matplotlib
    with starting("Keras", what_to_mend), quiet():
        import keras

        if keras.backend.backend() not in BACKENDS:
            raise ImportError(f"the backend {keras.backend.backend()} cannot train")
        if keras.backend.backend() == "tensorflow":
            share_gpus()
        if keras.backend.backend() == "torch":
            keras.ops.zeros(())  # fails where KERAS_TORCH_DEVICE names a device that is not there


def what_to_mend(reason):
    """What a failed start of Keras, for some reason in words, is to be blamed on: its backend, or another setting."""
    backend = os.environ.get("KERAS_BACKEND")
    if TOO_MANY_FILES in reason:
        return MORE_FILES
    if backend not in BACKENDS or not importlib.util.find_spec(backend):
        or_install = f", or `pip install {backend}`" if backend in BACKENDS else ""
        return f"set KERAS_BACKEND to one of {', '.join(BACKENDS)} that is installed{or_install}"
    others = [name for name in os.environ if name.startswith("KERAS_") and name != "KERAS_BACKEND"]
    named = [name for name in others if os.environ[name] in reason.replace("'", " ").split()]
    return f"look at {', '.join(named or others) or 'your keras.json'}"


def chosen_backend():
    """The name of the backend: that of KERAS_BACKEND, else of keras.json, else TensorFlow, if it is installed.

    Where the last two are not installed, it is the first that is. Ends the program with one sentence where Keras is
    missing or too old, or where there is no backend.
    """
    with starting("Keras", lambda _: INSTALL):
        version = importlib.metadata.version("keras")
        if tuple(map(int, version.split(".")[:2])) < OLDEST_KERAS:
            oldest = ".".join(map(str, OLDEST_KERAS))
            raise ImportError(f"its version {version} is too old, {oldest} or newer is needed")
        if chosen := os.environ.get("KERAS_BACKEND"):
            return chosen
        settings = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras", "keras.json")
        with contextlib.suppress(OSError, ValueError, AttributeError):  # Keras says what is wrong with it
            chosen = json.loads(settings.read_text()).get("backend")
        wanted = [chosen] if chosen not in (None, *BACKENDS) else [chosen or "tensorflow", *BACKENDS]
        installed = [backend for backend in wanted if backend not in BACKENDS or importlib.util.find_spec(backend)]
        if not installed:
            raise ImportError(f"no backend is installed, neither {' nor '.join(BACKENDS.values())}")
        return installed[0]


def check_settings() -> None:
    """Raise UserError where Keras is set to other numbers than ours: its losses, and log p(x), would be others."""
    config = sys.modules["keras"].config
    ours = {"floatx": "float32", "epsilon": 1e-7, "dtype_policy": "float32"}
    ours |= {"max_epochs": None, "max_steps_per_epoch": None}
    for name, value in ours.items():
        found = getattr(config, name)()
        found = getattr(found, "name", found)
        if found != value:
            where = f"keras.json, KERAS_{name.upper()} or the program that calls this one"
            raise UserError(f"Keras is set to {name} {found}, and this needs {value}: mend {where}.")


@contextlib.contextmanager
def quiet():
    """Hide what the C++ libraries of TensorFlow and JAX print while they load: no setting reaches those first lines.

    With TF_CPP_MIN_LOG_LEVEL=0 someone wants to read them, and nothing is hidden; nor with flags of XLA, as a wrong one
    ends the process there, with such a line.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0" or "XLA_FLAGS" in os.environ or "TF_XLA_FLAGS" in os.environ:
        yield
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    try:
        stderr = os.dup(2)
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
    except OSError:  # stderr is closed, or no file can be opened: nothing is hidden
        yield
        return
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def allow_files():
    """Let this process open as many files as systems usually allow, if it may; where it is next to none, end it."""
    try:
        import resource
    except ImportError:  # Windows
        return
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = USUAL_FILES if most == resource.RLIM_INFINITY else min(USUAL_FILES, most)
    if now != resource.RLIM_INFINITY and now < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
    if allowed < FEWEST_FILES:
        complain(f"This process may open {allowed} files, and needs {FEWEST_FILES}: {MORE_FILES}.")
        raise SystemExit(2)


def calm_warnings():
    """Let no warning of the libraries end a run, as `python -W error` would: for theirs, Python's own rules hold.

    Nor is it shown that Keras goes on without XLA where there is none, as with TF_DETERMINISTIC_OPS=1.
    """
    if any(action == "error" for action, *_ in warnings.filters):
        theirs = r"(?!(__main__|vae_mnist|seevae)\b)"  # the names of all modules but ours
        warnings.filterwarnings("default", module=theirs)
        for quiet_kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.filterwarnings("ignore", category=quiet_kind, module=theirs)
    warnings.filterwarnings("ignore", "Model doesn't support `jit_compile=True`", module="keras")


@contextlib.contextmanager
def starting(package, advice):
    """Import a package in this context: where that fails, the program ends with one sentence and exit status 2.

    advice: a function of the reason, in words, that says what to do.
    """
    try:
        yield
    except Exception as error:  # ImportError, ValueError, AttributeError, ...: as the package sees fit
        reason = " ".join(str(error).split())[:200]
        missing = isinstance(error, ModuleNotFoundError) and error.name != os.environ.get("KERAS_BACKEND")
        words = INSTALL if missing else advice(reason)
        complain(f"{package} does not start ({reason}): {words}.")
        raise SystemExit(2) from error


def share_gpus():
    """Let TensorFlow take a GPU's memory as it needs it: left alone, it takes all of every card at once."""
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # they are in use already, by a program that imports this one
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
