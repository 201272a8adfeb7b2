"""The real command on each backend, on one device, two devices and in two processes: ELBO, time and memory.

    python benchmarks/backends.py [--data FILE.npz] ["JAX, two devices" ...]

Each way trains with --epochs 6 and the seeds 0 to 2. The devices are simulated on the CPU, where two of them share its
cores: the table shows that the numbers are right, and what the sharing costs, not what it gains. "exchange": each
backend loads the model that each has saved. Writes benchmarks/backends.json and prints the tables. About 25 minutes on
two cores.
"""

import itertools
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import record
from record import ROOT
from tables import BACKEND_NAMES, WAYS, backends_tables

SEEDS = (0, 1, 2)
EPOCHS = 6
SIMULATED = """
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
"""


def start(backend, options, devices=1, **environment):
    """The command in a process of its own, so many CPU devices simulated; its standard output is a pipe."""
    script = str(ROOT / "vae_mnist.py")
    program = SIMULATED if (backend, devices) == ("tensorflow", 2) else ""
    program += f"import runpy, sys; sys.argv = {[script, *options]!r}; sys.path.insert(0, {str(ROOT)!r})\n"
    program += f"runpy.run_path({script!r}, run_name='__main__')"
    environment |= {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if (backend, devices) == ("jax", 2):
        environment["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program], env=os.environ | environment, stdout=subprocess.PIPE, text=True
    )


def finish(process):
    """Read a process to its end; returns (the times at which its epochs began, its peak memory in MiB)."""
    begun, said = [], ""
    for line in process.stdout:
        said += line
        if line.startswith("Epoch ") or line.startswith("Held-out"):
            begun.append(time.perf_counter())
    _, status, usage = os.wait4(process.pid, 0)
    if os.waitstatus_to_exitcode(status) == -signal.SIGABRT:
        raise AbortedError(said)
    if status:
        raise RuntimeError(f"the command failed:\n{said}")
    return begun, usage.ru_maxrss / 1024


class AbortedError(Exception):
    """A library has ended the process."""


def run(name, data, seed, place, attempts=4):
    """One training in one of the WAYS; returns what the record keeps of it. Its files are in `place`.

    Two simulated JAX devices sometimes wait for each other for ever, as both need threads of the same two cores: XLA
    then ends the process after 40 seconds, and the training is begun anew.
    """
    for _ in range(attempts - 1):
        try:
            return run_once(name, data, seed, place)
        except AbortedError:
            print(f"{name}, seed {seed}: begun anew", flush=True)
            shutil.rmtree(place, ignore_errors=True)
    return run_once(name, data, seed, place)


def run_once(name, data, seed, place):
    """One attempt of `run`. Raises AbortedError where a library has ended the process."""
    backend, devices, processes = WAYS[name]
    options = ["--data", data, "--epochs", str(EPOCHS), "--seed", str(seed), "--output", str(place)]
    others, environment = [], {}
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        environment = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "JAX_COORDINATOR_BIND_ADDRESS": address}
        environment["KERAS_DISTRIBUTION_NUM_PROCESSES"] = str(processes)
        number = "KERAS_DISTRIBUTION_PROCESS_ID"
        others = [start(backend, options, devices, **environment, **{number: str(i)}) for i in range(1, processes)]
        environment[number] = "0"
    begun, peak = finish(start(backend, options, devices, **environment))
    for other in others:
        finish(other)
    said = json.loads((place / "metrics.json").read_text())
    epochs = [end - begin for begin, end in itertools.pairwise(begun[1:-1])]  # not the first, which compiles
    found = {"seed": seed, "epoch": statistics.median(epochs), "peak_mib": peak, "device": said["device"]}
    return found | {key: said[key] for key in ("held_out", "versions", "dataset")}


def importing(backend):
    """Peak memory in MiB of a process that only imports vae_mnist."""
    environment = os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", "import vae_mnist"], env=environment)
    return os.wait4(process.pid, 0)[2].ru_maxrss / 1024


def exchange(data, scratch):
    """Each backend's ELBO of the model that each has saved: {saved on: {loaded on: held_out}}."""
    found = {}
    for name, (saved, *alone) in WAYS.items():
        if alone != [1, 1]:
            continue
        place, found[saved] = scratch / saved, {}
        run(name, data, 0, place)
        for loaded in BACKEND_NAMES:
            options = ["--data", data, "--load", str(place / "vae.keras"), "--evidence-images", "0"]
            finish(start(loaded, [*options, "--output", str(scratch / "loaded")]))
            found[saved][loaded] = json.loads((scratch / "loaded" / "metrics.json").read_text())["held_out"]
            shutil.rmtree(scratch / "loaded")
    return found


def measure(results, name, data):
    """One of the WAYS with each seed, or the exchange of models."""
    with tempfile.TemporaryDirectory() as scratch:
        if name == "exchange":
            results[name] = exchange(data, Path(scratch))
            return
        runs = [run(name, data, seed, Path(scratch) / str(seed)) for seed in SEEDS]
    print(f"{name}: {runs}", flush=True)
    results.setdefault("ways", {})[name] = runs
    results.setdefault("importing", {})[WAYS[name][0]] = importing(WAYS[name][0])


if __name__ == "__main__":
    record.main(__file__, __doc__, [*WAYS, "exchange"], measure, backends_tables)
