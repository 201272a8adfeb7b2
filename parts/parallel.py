"""One training over several devices: all accelerators of a machine, and on JAX those of several machines.

Each step's batch is cut into even shares, one for each device, and all copies of the weights move by the mean of the
gradients: data parallelism, by what exists.

    JAX         keras.distribution.DataParallel, over the devices of all processes
    TensorFlow  tf.distribute.MirroredStrategy, as the source of Keras's own library says "DO NOT USE" there
    PyTorch     one device: Keras has nothing for more

All else, from the replay to the pictures, is done on one device by a copy of the model that is at home there.
"""

import contextlib
import functools
import hashlib
import json
import math
import os
import sys
import threading
import time
import weakref
from collections import Counter

import keras
import numpy as np
from keras import ops

from parts import UserError, devices, stopping

PROCESSES = tuple(f"KERAS_DISTRIBUTION_{name}" for name in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID"))
NAMES = ", ".join(PROCESSES)
PATIENCE = 240  # seconds to wait for the other processes at the start
HEARTBEAT = 20  # seconds of silence after which a process counts as lost
DAY = 24 * 3600  # seconds for which a process that has helped waits for the first one to draw and write
COPIES = weakref.WeakKeyDictionary()  # {a model on several devices: its copy at home}


# -- What there is -----------------------------------------------------------------------------------------------


def start(args):
    """Choose the devices of a run, joining its other processes if it has any; returns what devices.describe does.

    args: the command's options, of which the recipe's batch is made one of even shares. Raises UserError where the
    processes cannot come together.
    """
    if any(name in os.environ for name in PROCESSES):
        join(args)
    described, number = devices.describe(), count()
    if number > 1 and args.load is None:
        even = round_up(args.recipe.batch_size, number)
        args.recipe = args.recipe._replace(batch_size=even)
        where = f" in {processes()} processes" if processes() > 1 else ""
        described["device"] = f"{number} x {described['device']}{where}, {even} images a step, {even // number} on each"
    return described


def count():
    """How many devices a training takes here: all of the kind that the backend prefers, in all processes."""
    match keras.backend.backend():
        case "tensorflow":
            return len(tensorflow_devices())
        case "jax":
            return keras.distribution.get_device_count()
        case _:
            return 1


def tensorflow_devices():
    """The GPUs that TensorFlow sees, or its CPUs, of which there are several only in tests."""
    import tensorflow as tf

    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")


def round_up(number, unit):
    """The smallest multiple of `unit` that is at least `number`."""
    return unit * math.ceil(number / unit)


# -- Training over all of them -----------------------------------------------------------------------------------


def on_all_devices(train):
    """Decorate a function of the command's options (and more) that builds, trains and returns a model (and more).

    It then trains on all devices, and the model that comes back is at home. A process that is not the first ends here:
    it has helped.
    """

    @functools.wraps(train)
    def train_on_all(args, *rest):
        if count() == 1:
            return train(args, *rest)
        # first of all: from here to the data, which `resume` compares, processes with other options would not meet
        agree({name: str(value) for name, value in vars(args).items() if name not in ("data", "output")})
        use(everything())
        try:
            model, *more = train(args, *rest)
        finally:
            use(None)
        if not first():
            raise SystemExit(0)
        return copy_of(model, optimizer=True), *more

    return train_on_all


def everything():
    """The distribution over all devices, in the backend's own terms."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.MirroredStrategy([device.name for device in tensorflow_devices()])
    return keras.distribution.DataParallel(auto_shard_dataset=False)  # feeding gives each process its own share


def use(distribution):
    """Let what is built and trained from now on lie on a distribution's devices, or, for None, on one."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.distribute.experimental_set_strategy(distribution)
    else:
        keras.distribution.set_distribution(distribution)


def in_use():
    """The distribution in use, or None."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
    return keras.distribution.distribution()


def shares():
    """Into how many shares a batch is cut."""
    distribution = in_use()
    if distribution is None:
        return 1
    if keras.backend.backend() == "tensorflow":
        return distribution.num_replicas_in_sync
    return distribution.device_mesh.devices.size


def compile_options(steps):
    """How to compile a model that trains `steps` steps an epoch: keyword arguments of `keras.Model.compile`.

    XLA compiles the training step, and one call runs a tenth of an epoch. Each call runs one step, as it is written, on
    PyTorch, where Keras runs no more, and where several TensorFlow devices share a batch, as both would fail there.
    """
    backend = keras.backend.backend()
    if backend == "torch" or (backend == "tensorflow" and shares() > 1):
        return {"jit_compile": False, "steps_per_execution": 1}
    return {"jit_compile": True, "steps_per_execution": max(1, steps // 10)}


def own_share(rows):
    """The part of an array's rows that this process feeds to its devices; all of them where it is the only one."""
    if processes() == 1:
        return rows
    import jax

    size = len(rows) // processes()
    return rows[jax.process_index() * size :][:size]


def part_noise(vae):
    """Give each device noise of its own, before a training.

    On JAX and on one device it has: noise is drawn for a whole batch. Each copy that TensorFlow makes has a seed
    generator of its own, and all would draw the same.
    """
    if keras.backend.backend() != "tensorflow" or shares() == 1:
        return
    import tensorflow as tf

    def move(states):
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        for state in states:
            state.assign_add(tf.stack([1_000_003 * tf.cast(replica, state.dtype), 0]))

    states = [v.value for v in vae.non_trainable_variables if "seed_generator_state" in v.path]
    tf.function(lambda: in_use().run(move, args=(states,)))()


@contextlib.contextmanager
def at_home(vae):
    """A context that gives a model on one device with the weights that `vae` has now: itself, where it is on one."""
    distribution = in_use()
    if distribution is None:
        yield vae
        return
    use(None)
    try:
        yield copy_of(vae)
    finally:
        use(distribution)


def copy_of(vae, optimizer=False):
    """A copy on one device of a model on several, with the weights it has now; with its optimizer, too, if asked.

    Called while no distribution is in use. The copy is made once.
    """
    if vae not in COPIES:
        COPIES[vae] = type(vae).from_config(vae.get_config())
    home = COPIES[vae]
    pairs = [*zip(home.variables, vae.variables, strict=True)]
    if optimizer:
        home.compile_from_config(vae.get_compile_config())
        home.optimizer.build(home.trainable_variables)
        pairs += zip(home.optimizer.variables, vae.optimizer.variables, strict=True)
    for ours, theirs in pairs:
        ours.assign(ops.convert_to_numpy(theirs))
    return home


# -- Several processes, on several machines ----------------------------------------------------------------------


def join(args):
    """Wait for the other processes of this training, as Keras's environment variables tell of them (JAX alone).

    Raises UserError where they cannot come together.
    """
    if keras.backend.backend() != "jax":
        raise UserError(f"Several machines train together on JAX alone: set KERAS_BACKEND=jax, or unset {NAMES}.")
    if args.load is not None:
        raise UserError(f"--load does not train, so one process is enough: unset {NAMES}.")
    import jax

    def meet():
        keras.utils.set_random_seed(args.seed)  # of this thread; else Keras computes a common one on all devices
        keras.distribution.initialize()

    hosts = [address.rpartition(":")[0] for address in os.environ.get(PROCESSES[0], "").split(",")]
    if any(name.lower() in ("http_proxy", "https_proxy", "grpc_proxy") for name in os.environ):
        os.environ.setdefault("no_grpc_proxy", ",".join(hosts))  # a proxy for the web would not reach them
    print(f"Waiting for the other processes ({os.environ.get(PROCESSES[0])}).", flush=True)
    # Keras has no arguments for these: JAX would notice a loss after 100 seconds, and at the end wait for 300 at most.
    times = {"heartbeat_timeout_seconds": HEARTBEAT, "shutdown_timeout_seconds": DAY}
    initialize = jax.distributed.initialize
    jax.distributed.initialize = functools.partial(initialize, **times)
    failures = waiting(meet)
    jax.distributed.initialize = initialize
    stopping.listen()  # again, as JAX has taken SIGTERM for itself
    if failures:
        reason = " ".join(str(failures[0]).split())[:200]
        raise UserError(f"The processes did not come together ({reason}): check {NAMES}.")
    if len({*Counter(device.process_index for device in jax.devices()).values()}) > 1:
        raise UserError("The processes have different numbers of devices: hide some, with CUDA_VISIBLE_DEVICES.")
    if not first():
        print(f"This is process {jax.process_index()}: process 0 prints and writes all there is.", flush=True)
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def waiting(act):
    """Call act() in a thread, so that Ctrl-C is answered meanwhile; returns what it raised, in a list.

    Ends the process where that takes too long. (JAX has some patience of its own, and then ends it without a sentence.)
    """
    failures = []

    def attempt():
        try:
            act()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    until = time.monotonic() + PATIENCE
    while thread.is_alive():
        thread.join(0.2)
        if time.monotonic() > until:
            stopping.tell(f"not all processes came within {PATIENCE} seconds: start each of them, and check {NAMES}")
            os._exit(2)
    return failures


def processes():
    """How many processes train together."""
    if keras.backend.backend() != "jax" or not any(name in os.environ for name in PROCESSES):
        return 1
    import jax

    return jax.process_count()


def first():
    """Whether this process is the one that prints and writes."""
    if processes() == 1:
        return True
    import jax

    return jax.process_index() == 0


def agree(facts):
    """Raise UserError unless all processes of this training have the same facts, a dict that JSON can hold."""
    if processes() == 1:
        return
    import jax
    from jax.experimental import multihost_utils

    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).digest()
    digests = multihost_utils.process_allgather(np.frombuffer(digest, "uint8"))
    if (digests != digests[jax.process_index()]).any():
        raise UserError("The processes differ in data, options or versions: start all of them with the same.")


def is_lost(error):
    """Tell whether an exception means that another process of this training is gone."""
    if processes() == 1:
        return False
    import jax

    return isinstance(error, jax.errors.JaxRuntimeError)


def leave(status):
    """End this process at once where it fails and others train with it: JAX's own end would wait for them."""
    if status and processes() > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
