"""One training on several machines, a process on each: JAX alone, told by Keras's own environment variables.

The first process prints and writes; the others help it to train. `join` brings them together before the run, and `part`
lets them go after the training. All else is as in one process with several devices (see seevae/machine/devices.py).
"""

import hashlib
import inspect
import json
import os
import sys
from collections import Counter

import keras
import numpy as np

from seevae.basics import UserError, in_thread

ADDRESSES, NUMBER, RANK = (f"KERAS_DISTRIBUTION_{n}" for n in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID"))
VARIABLES = f"{ADDRESSES}, {NUMBER}, {RANK}"
PATIENCE = 240  # seconds to wait for the other processes at the start
GOODBYE = 10  # seconds to wait for the others to have read what is wrong, before JAX ends them for our absence
HEARTBEAT = 20  # seconds of silence after which a process counts as lost


def wanted():
    """Whether the environment tells of several processes."""
    return any(variable in os.environ for variable in (ADDRESSES, NUMBER, RANK))


def count():
    """How many processes train together."""
    if keras.backend.backend() != "jax" or not wanted():
        return 1
    import jax

    return jax.process_count()


def join():
    """Wait for the other processes, if the environment tells of any; returns whether this is the first of them.

    Raises UserError where they cannot come together.
    """
    if not wanted():
        return True
    if keras.backend.backend() != "jax":
        raise UserError(f"Several machines train together on JAX alone: set KERAS_BACKEND=jax, or unset {VARIABLES}.")
    import jax

    addresses = os.environ.get(ADDRESSES, "").split(",")
    for port in (address.rpartition(":")[2] for address in addresses):
        if port and not (port.isdecimal() and 0 < int(port) < 2**16):
            raise UserError(f"{ADDRESSES} has the port {port}: give a number from 1 to 65535.")
    if any(name.lower() in ("http_proxy", "https_proxy", "grpc_proxy") for name in os.environ):
        hosts = [address.rpartition(":")[0] for address in addresses]
        os.environ.setdefault("no_grpc_proxy", ",".join(hosts))  # a proxy for the web would not reach them
    print(f"Waiting for the other processes ({','.join(addresses)}).", flush=True)

    times = {"heartbeat_timeout_seconds": HEARTBEAT, "shutdown_timeout_seconds": PATIENCE}
    known = inspect.signature(jax.distributed.initialize).parameters  # JAX 0.4 has neither

    def initialize():
        jax.distributed.initialize(
            coordinator_address=addresses[0],
            num_processes=int(os.environ.get(NUMBER, len(addresses))),
            process_id=int(os.environ.get(RANK, 0)),
            **{name: seconds for name, seconds in times.items() if name in known},
        )

    failure = in_thread(initialize, PATIENCE)
    if isinstance(failure, TimeoutError):  # JAX would have some more patience, and then end without a sentence
        advice = f"start each of them, with a number of its own, and check {VARIABLES}"
        print(f"vae_mnist: not all processes came within {PATIENCE} seconds: {advice}.", file=sys.stderr, flush=True)
        os._exit(2)
    if failure:
        reason = " ".join(str(failure).split())[:200]
        raise UserError(f"The processes did not come together ({reason}): check {VARIABLES}.") from failure
    if len({*Counter(device.process_index for device in jax.devices()).values()}) > 1:
        raise UserError("The processes have different numbers of devices: hide some, with CUDA_VISIBLE_DEVICES.")
    if jax.process_index():
        print(f"This is process {jax.process_index()}: process 0 prints and writes all there is.", flush=True)
    return jax.process_index() == 0


def part():
    """Let the other processes go, which wait for this one at their ends: JAX would end it when one of them dies."""
    if count() > 1:
        import jax

        in_thread(jax.distributed.shutdown, PATIENCE)


def own_share(rows):
    """The part of a batch's rows that this process feeds to its devices; all of them where it is the only one."""
    if count() == 1:
        return rows
    import jax

    size = len(rows) // count()
    return rows[jax.process_index() * size :][:size]


def check_same_everywhere(facts):
    """Raise UserError unless all processes of this training have the same facts, a dict that JSON can hold."""
    if count() == 1:
        return
    import jax
    from jax.experimental import multihost_utils

    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
    digests = multihost_utils.process_allgather(np.frombuffer(digest, "uint8"))
    if (digests != digests[jax.process_index()]).any():
        raise UserError("The processes differ in data, options or versions: start all of them with the same.")


def is_lost(error):
    """Tell whether an exception means that another process of this training is gone."""
    if count() == 1:
        return False
    import jax

    return isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)  # Gloo's come as ValueError, too


def exit_now(status):
    """End this process, which fails, without waiting for the others for long: they are told by its absence.

    Who finds what all find (another number of devices, other data) leaves together with them. Where this process left
    first, JAX would end the others before they could say it.
    """
    import jax

    in_thread(jax.distributed.shutdown, GOODBYE)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
