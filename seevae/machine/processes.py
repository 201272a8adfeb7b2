"""One training on several machines, a process on each: JAX alone, told by Keras's own environment variables.

`together` stands around a run, which knows only that its plan is `agreed`. Each process trains on its own share of a
batch, and writes into a folder of its own; the first one prints. What else goes wrong, JAX says.
"""

import collections
import contextlib
import io
import json
import os
import sys
from pathlib import Path

import keras
import numpy as np

from seevae.basics import UserError, in_thread

NAMES = [f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")]
PATIENCE = 240  # seconds to wait for the others
MAY_DIFFER = ("device", "version of python", "version of matplotlib")  # in the plans of machines that train together


def place():
    """The number of this process, from 0, and how many there are."""
    if keras.backend.backend() != "jax" or not any(name in os.environ for name in NAMES):
        return 0, 1
    import jax

    return jax.process_index(), jax.process_count()


@contextlib.contextmanager
def together(args):
    """A context around a run with the command's options, in which all processes train that the environment names."""
    if not any(name in os.environ for name in NAMES):
        yield
        return
    if keras.backend.backend() != "jax" or not args.trains:
        raise UserError(f"Several processes train, on JAX alone: set KERAS_BACKEND=jax, or unset {', '.join(NAMES)}.")
    with contextlib.ExitStack() as silent:
        try:
            if number := join(os.environ.get(NAMES[0], "")):
                print(f"This is process {number}: process 0 prints all there is.", flush=True)
                args.output = str(Path(args.output or "figures", f"process-{number}"))
                silent.enter_context(contextlib.redirect_stdout(io.StringIO()))
            yield
        except Exception as error:  # leave, but not at once: what all find, all should have the time to say
            words = (
                error if isinstance(error, UserError) else " ".join(f"{type(error).__name__}: {error}".split())[:300]
            )
            print(f"vae_mnist: {words[:1000]}", file=sys.stderr, flush=True)
            part(10)
            os._exit(2)


def join(addresses):
    """Wait for the other processes; returns the number of this one. Raises UserError where they cannot join."""
    os.environ.setdefault("no_grpc_proxy", ",".join(name.rpartition(":")[0] for name in addresses.split(",")))
    print(f"Waiting for the other processes ({addresses}).", flush=True)
    if failure := in_thread(keras.distribution.initialize, PATIENCE):
        reason = " ".join(str(failure).split())[:200]
        raise UserError(f"The processes did not come together ({reason}): check {', '.join(NAMES)}.")
    import jax

    if len({*collections.Counter(device.process_index for device in jax.devices()).values()}) > 1:
        raise UserError("The processes have different numbers of devices: hide some, with CUDA_VISIBLE_DEVICES.")
    return jax.process_index()


def part(patience=PATIENCE):
    """Let the other processes go, which would end when this one does."""
    if place()[1] > 1:
        import jax

        in_thread(jax.distributed.shutdown, patience)


def own_share(rows):
    """The part of a batch's rows that this process feeds to its devices; all of them where it is the only one."""
    number, count = place()
    return rows[number * (len(rows) // count) :][: len(rows) // count]


def agreed(plan, file=None):
    """The first process's plan, a dict, in all of them; and its `file`, where it has one with which they go on."""
    number, count = place()
    if count == 1:
        return plan
    first = json.loads(from_first(json.dumps(plan).encode()))
    if other := [name for name in plan if name not in MAY_DIFFER and plan[name] != first.get(name)]:
        raise UserError(f"The processes differ in {other[0]}: start all of them with the same.")
    content = from_first(file.read_bytes() if file and file.exists() else b" ")
    if number and content != b" ":
        file.write_bytes(content)
    return first


def from_first(content):
    """The bytes that the first process gives, in all of them."""
    from jax.experimental.multihost_utils import broadcast_one_to_all

    size = int(broadcast_one_to_all(np.int32(len(content))))
    return np.asarray(broadcast_one_to_all(np.frombuffer(content.ljust(size)[:size], "uint8"))).tobytes()
