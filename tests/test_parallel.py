"""Several devices and several processes: what they learn is what one device learns, from the batch as a whole.

The devices are simulated on the CPU, in processes of their own; the processes meet on the loopback address.
"""

import json
import os
import re
import signal
import socket
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import Command, results

from seevae.basics import UserError
from seevae.machine import devices, processes
from seevae.training.batches import Batches

TWO_CPUS = """
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""
BEFORE = {"tensorflow": TWO_CPUS, "jax": ""}
FLAGS = {"tensorflow": "", "jax": "--xla_force_host_platform_device_count=2"}

# -- Two devices in one process --------------------------------------------------------------------------------------

TWO_DEVICES = """
import json
import keras, numpy as np
import vae_mnist
from conftest import TWO_EPOCHS, build, encode
from seevae.images import data
from seevae.machine import devices
from seevae.run import saved
from seevae.training.batches import Batches
from seevae.training.callbacks import SeedEachEpoch
from seevae.training import recipes
from keras import ops

x = data.load_sample().x_train[:]
found = {"available": devices.available(), "sharing outside": devices.sharing()}

def learn(recipe, x, steps=0):
    keras.utils.set_random_seed(0)
    vae = build(recipe, len(x), hidden_dim=16)
    if steps:  # next to no noise in z: the losses and gradients are those of z_mean
        kernel, bias = vae.get_layer("encoder").get_layer("z_log_var").get_weights()
        vae.get_layer("encoder").get_layer("z_log_var").set_weights([0 * kernel, 0 * bias - 40])
    return vae, vae_mnist.train(vae, x, x[:61], recipe, verbose=0)

noiseless = TWO_EPOCHS._replace(epochs=6, batch_size=60, learning_rate=0.01)
one, history_one = learn(noiseless, x[:60], 6)
still = TWO_EPOCHS._replace(learning_rate=1e-30, batch_size=10)

with devices.all_devices():
    found["sharing"], found["steps"] = devices.sharing(), len(Batches(x[:61], 20))
    found["rounded"] = Batches(x[:61], 11).batch_size
    two, history_two = learn(noiseless, x[:60], 6)
    found["losses"] = [history_one["loss"], history_two["loss"]]
    vae, history = learn(still, x[:404])  # 404 = 40 * 10 + 4, and two for each device in the last batch
    found["elbo while shared"] = vae_mnist.evaluate_elbo(vae, x[:61])["elbo"]
    drawn = vae.predict(np.repeat(x[:1], 4, axis=0), verbose=0)
    found["draws"] = len(np.unique(drawn.round(5), axis=0))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        default = build(recipes.RECIPES["default"], 100, hidden_dim=4)
        seed = SeedEachEpoch(Batches(x[:60], 20, 0), 0)
        seed.set_model(default)
        seed.on_epoch_begin(0)
        grey, layer = np.full((1, 784), 0.5, "float32"), default.get_layer("noisy_x")
        strategy = tf.distribute.get_strategy()
        noisy = strategy.run(lambda: layer(grey, training=True))
        first, second = (ops.convert_to_numpy(part)[0] for part in strategy.experimental_local_results(noisy))
        found["binarised alike"] = float((first == second).mean())
vae, two = saved.copied(vae), saved.copied(two)
z_mean, z_log_var = encode(vae, x[:404])
kl = np.sum(0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var), axis=-1)
found["kl"] = [history["kl_loss"][0], float(kl.mean())]
found["val_kl"] = [history["val_kl_loss"][0], float(kl[:60].mean())]  # the 61st has no even share
found["elbo"] = vae_mnist.evaluate_elbo(vae, x[:61])["elbo"]
weights = [np.abs(a - b).max() for a, b in zip(one.get_weights(), two.get_weights())]
found |= {"weights": float(max(weights)), "sharing afterwards": devices.sharing()}
found |= {"iterations": int(two.optimizer.iterations)}
print(json.dumps(found))
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_learn_what_one_learns(backend, run_python):
    how = {"KERAS_BACKEND": backend, "XLA_FLAGS": FLAGS[backend], "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = run_python("-c", BEFORE[backend] + TWO_DEVICES, **how)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["available"], found["sharing"], found["rounded"]) == (2, 2, 12)
    assert found["sharing outside"] == found["sharing afterwards"] == 1
    assert found["weights"] < 1e-4, "the gradient is that of the whole batch, and the step is the recipe's"
    np.testing.assert_allclose(*found["losses"], rtol=1e-4)
    assert found["iterations"] == 6, "the optimizer is copied, too"
    assert found["elbo while shared"] == pytest.approx(found["elbo"], rel=1e-5), "as the replay asks for it"
    assert found["kl"][0] == pytest.approx(found["kl"][1], abs=1e-3), "a mean over all images"
    assert found["val_kl"][0] == pytest.approx(found["val_kl"][1], abs=1e-3)
    assert found["draws"] == 4, "each device has noise of its own"
    if backend == "tensorflow":
        assert 0.4 < found["binarised alike"] < 0.6, "two coins fall alike half of the time"
    assert found["steps"] == 3, "of 20 images each: the 61st has no even share"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_the_command_takes_both_devices_and_resumes_on_them(backend, small_npz, tmp_path):
    """A batch of 19 has no even shares; the resumed run ends with the bytes of one that nobody cut off."""
    options = f"--data {small_npz} --epochs 8 --batch-size 19 --hidden-dim 8 --evidence-images 0"
    how = {"KERAS_BACKEND": backend, "XLA_FLAGS": FLAGS[backend], "TF_CPP_MIN_LOG_LEVEL": "3"}
    whole = Command(f"{options} --output whole", tmp_path, BEFORE[backend], **how)
    cut = Command(f"{options} --output cut", tmp_path, BEFORE[backend], **how)
    cut.wait_for("Epoch 4/8")
    cut.send(signal.SIGKILL)
    cut.end()
    status, out, err = whole.end()
    assert status == 0, err
    assert re.match(rf"Keras .* on {backend} .*, 2 x CPU \(\d+ cores\), 20 images a step, 10 on each\n", out)
    assert json.loads((tmp_path / "whole" / "metrics.json").read_text())["settings"]["recipe"]["batch_size"] == 20
    status, out, err = Command(f"{options} --output cut --resume", tmp_path, BEFORE[backend], **how).end()
    assert status == 0, err
    assert "Epoch 3/8" not in out
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    further = f"--data {small_npz} --load cut/vae.keras --epochs 2 --batch-size 19 --evidence-images 0 --output further"
    status, out, err = Command(further, tmp_path, BEFORE[backend], **how).end()
    assert status == 0, err
    assert "20 images a step, 10 on each\n" in out


def test_fewer_images_than_devices_are_refused(monkeypatch):
    monkeypatch.setattr(devices, "sharing", lambda: 8)
    batches = Batches(np.zeros((17, 784), "float32"), 8)
    assert (batches.n, len(batches)) == (16, 2)
    with pytest.raises(UserError, match="7 images are fewer than the 8 devices that would share them"):
        Batches(np.zeros((7, 784), "float32"), 8)


def test_one_device_changes_nothing():
    assert devices.round_up(11, 1) == 11
    assert devices.round_up(100, 8) == 104
    assert Batches(np.zeros((17, 784), "float32"), 11).batch_size == 11
    assert processes.own_share(range(5)) == range(5)


def test_several_torch_gpus_are_one_with_a_word_about_it(monkeypatch):
    torch = pytest.importorskip("torch")

    def described_on(kind):
        monkeypatch.setattr(devices.ops, "zeros", lambda shape: SimpleNamespace(device=torch.device(kind)))
        return devices.name("torch")

    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "GPU")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert described_on("cuda") == "GPU, one of 4: with PyTorch, Keras trains on one"
    assert described_on("mps") == "Apple GPU"
    assert described_on("cpu") == f"CPU ({os.cpu_count()} cores)"


# -- Two processes ---------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    """Start the command in two processes that train together; a function of their two command lines."""

    def start(*lines, before=("", ""), flags=("", "")):
        """before: a program that comes first in each, as in Command; flags: XLA's, in each."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        environment = {"KERAS_BACKEND": "jax", "JAX_COORDINATOR_BIND_ADDRESS": address}
        environment |= {processes.NAMES[0]: address, processes.NAMES[1]: "2"}
        started = []
        for number, (line, program, xla) in enumerate(zip(lines, before, flags, strict=True)):
            own = {processes.NAMES[2]: str(number), "XLA_FLAGS": xla}
            started.append(Command(line, tmp_path, program, **environment, **own))
        return started

    return start


# The first process draws when the second has ended: what becomes of it after the training is no matter any more.
DRAWS_LATER = """
import time
from pathlib import Path
from seevae.results import pictures
draw = pictures.draw
def later(*arguments):
    while not Path("the second has ended").exists():
        time.sleep(0.1)
    return draw(*arguments)
pictures.draw = later
"""


@pytest.mark.slow
def test_two_processes_and_two_devices_learn_what_one_learns_and_the_first_alone_prints(pair, small_npz, tmp_path):
    options = f"--data {small_npz} --epochs 3 --batch-size 50 --hidden-dim 16 --evidence-images 0"
    pytest.importorskip("jax")
    first, second = pair(f"{options} --output run", f"{options} --output run", before=(DRAWS_LATER, ""))
    status, out, err = second.end()
    assert status == 0, err
    assert out.endswith("This is process 1: process 0 prints all there is.\n")
    (tmp_path / "the second has ended").touch()
    status, out, err = first.end()
    assert status == 0, err
    assert "2 x CPU" in out
    assert "50 images a step, 25 on each" in out
    record, other = (json.loads((tmp_path / place / "metrics.json").read_text()) for place in ("run", "run/process-1"))
    assert record["history"] == other["history"]

    for flags in ("", FLAGS["jax"]):  # one device, and two
        environment = {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags}
        assert Command(f"{options} --output alone", tmp_path, **environment).end()[0] == 0
        alone = json.loads((tmp_path / "alone" / "metrics.json").read_text())
        assert ("2 x CPU" in alone["device"]) == bool(flags)
        for name, numbers in alone["history"].items():
            np.testing.assert_allclose(record["history"][name], numbers, rtol=1e-4, err_msg=name)
        assert record["held_out"]["elbo"] == pytest.approx(alone["held_out"]["elbo"], rel=1e-4)


@pytest.mark.slow
def test_two_processes_of_which_one_is_stopped_resume_together(pair, small_npz, tmp_path):
    """The second one is another kind of machine, as far as it knows; SIGTERM ends it, and with it the first."""
    options = f"--data {small_npz} --epochs 8 --hidden-dim 8 --evidence-images 0 --output run"
    other = "from seevae.machine import devices as d; said = d.describe\n"
    other += "d.describe = lambda: said() | {'device': 'CPU (99 cores)'}"
    first, second = pair(options, options)
    first.wait_for("Epoch 4/8")
    second.send(signal.SIGTERM)
    status, _, err = second.end()
    assert status == 128 + signal.SIGTERM
    assert re.search(r"vae_mnist: stopped; --resume goes on after epoch \d of 8, which is in run/process-1/unf", err)
    status, _, err = first.end()
    assert status == 2
    assert re.search(r"^vae_mnist: .+$", err, flags=re.M)
    first, second = pair(f"{options} --resume", f"{options} --resume", before=["", other])
    (status, out, err), (helped, _, err_of_second) = first.end(), second.end()
    assert (status, helped) == (0, 0), err + err_of_second
    assert "Epoch 3/8" not in out
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 8


ALONE = dict(zip(processes.NAMES, ("127.0.0.1:9", "2", "1"), strict=True))


@pytest.mark.slow
def test_ctrl_c_ends_a_process_that_waits(small_npz, tmp_path):
    command = Command(f"--data {small_npz}", tmp_path, KERAS_BACKEND="jax", **ALONE)
    command.wait_for("Waiting for the other processes")
    command.send(signal.SIGINT)
    status, _, err = command.end()
    assert status == 130
    assert err.endswith("vae_mnist: stopped; nothing was written.\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other", "flags", "sentence"),
    [
        ("--seed 1", ("", ""), "The processes differ in seed: start all of them with the same.\n"),
        ("", (FLAGS["jax"], ""), "The processes have different numbers of devices: hide some, "),
    ],
)
def test_processes_that_do_not_fit_are_told_in_what_they_differ(other, flags, sentence, pair, small_npz):
    options = f"--data {small_npz} --epochs 3 --output run"
    first, second = pair(options, f"{options} {other}", flags=flags)
    status, _, err = second.end()
    assert (status, first.end()[0]) == (2, 2)
    assert f"vae_mnist: {sentence}" in err


@pytest.mark.slow
def test_a_process_that_waits_in_vain_says_so(small_npz, tmp_path):
    impatient = "from seevae.machine import processes; processes.PATIENCE = 1"
    command = Command(f"--data {small_npz}", tmp_path, impatient, KERAS_BACKEND="jax", **ALONE)
    status, out, err = command.end()
    assert (status, out) == (2, "Waiting for the other processes (127.0.0.1:9).\n")
    sentence = r"^vae_mnist: The processes did not come together \(it took longer than 1 sec.*\.$"
    assert re.search(sentence, err, flags=re.M)
