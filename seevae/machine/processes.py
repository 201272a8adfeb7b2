"""One training on several machines, a process on each: JAX alone, told by Keras's own environment variables.

`together` stands around a run, which knows only that its plan is `agreed`. The first process prints; each one writes.
"""

import base64
import contextlib
import importlib
import io
import json
import os

import keras
import numpy as np

from seevae.basics import UserError, complain, in_thread, say

NAMES = [f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")]
VARIABLES = ", ".join(NAMES)
PATIENCE = 240  # seconds to wait for the others
MAY_DIFFER = ("device", "version of python", "version of matplotlib")  # in the plans of machines that train together


def rank_and_size():
    """The number of this process, from 0, and how many there are."""
    if keras.backend.backend() != "jax" or not any(name in os.environ for name in NAMES):
        return 0, 1
    jax = importlib.import_module("jax")
    return jax.process_index(), jax.process_count()


@contextlib.contextmanager
def together(args):
    """A context around a run with the command's options, in which all processes train that the environment names."""
    if not any(name in os.environ for name in NAMES):
        yield
        return
    if keras.backend.backend() != "jax" or not args.trains:
        raise UserError(f"Several processes can only train, and on JAX: set KERAS_BACKEND=jax, or unset {VARIABLES}.")
    meet(os.environ.get(NAMES[0], ""))
    if number := rank_and_size()[0]:
        say(f"This is process {number}: process 0 prints all there is.")
        args.output = os.path.join(args.output or "figures", f"process-{number}")
    try:
        with contextlib.redirect_stdout(io.StringIO()) if number else contextlib.nullcontext():
            yield
    except Exception as error:
        complain(" ".join(str(error).split())[:1000])
        let_go(10)  # what all find, all should have the time to say
        os._exit(2)


def meet(addresses):
    """Wait until all processes are there. Raises UserError where their devices are not as many."""
    os.environ.setdefault("no_grpc_proxy", ",".join(name.rpartition(":")[0] for name in addresses.split(",")))
    say(f"Waiting for the other processes ({addresses}).")
    failure = in_thread(keras.distribution.initialize, PATIENCE)
    if not isinstance(failure, TimeoutError):  # Keras fails without a word where their devices are not as many
        owners = [device.process_index for device in importlib.import_module("jax").devices()]
        if len({owners.count(owner) for owner in owners}) > 1:
            raise UserError("The processes have different numbers of devices: hide some, with CUDA_VISIBLE_DEVICES.")
    if failure:
        why = " ".join(str(failure).split())[:200] or type(failure).__name__
        complain(f"The processes did not come together ({why}): check {VARIABLES}.")
        os._exit(2)  # JAX would wait longer, and then end without a sentence


def let_go(patience=PATIENCE):
    """Let the other processes go, which would end when this one does."""
    if rank_and_size()[1] > 1:
        in_thread(importlib.import_module("jax").distributed.shutdown, patience)


def own_share(rows):
    """The part of a batch's rows that this process feeds to its devices; all of them where it is the only one."""
    number, count = rank_and_size()
    return rows[number * (len(rows) // count) :][: len(rows) // count]


def agreed(plan, file=None):
    """The first process's plan, a dict, in all of them; and its `file`, where it has one with which they go on."""
    number, count = rank_and_size()
    if count == 1:
        return plan
    content = base64.b64encode(file.read_bytes() if file and file.exists() else b"").decode()
    message = json.dumps([plan, content]).encode()
    broadcast = importlib.import_module("jax.experimental.multihost_utils").broadcast_one_to_all
    size = int(broadcast(np.int32(len(message))))
    first, content = json.loads(np.asarray(broadcast(np.frombuffer(message.ljust(size)[:size], "uint8"))).tobytes())
    if other := [name for name in plan if name not in MAY_DIFFER and plan[name] != first.get(name)]:
        raise UserError(f"The processes differ in {other[0]}: start all of them with the same.")
    if number and content:
        file.write_bytes(base64.b64decode(content))
    return first
