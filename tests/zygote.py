"""A process that has imported everything and started nothing; for each program it is sent, it forks a child to run it.

A child is as a new process would be after `import vae_mnist`, without the seconds which that import takes. Started by
processes.py, which sends the programs, as `python -c "import zygote; exec(zygote.serve(SOCKET))"`.
"""

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys


def use_xla(wanted):
    """Let TensorFlow compile models by XLA, or not: compiling takes longer than the trainings of most tests do.

    JAX has no other way, and PyTorch does not compile here.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    if wanted and "jit_compile" in vars(keras.Model):
        del keras.Model.jit_compile
    if not wanted:
        keras.Model.jit_compile = property(lambda model: False, lambda model, value: None)


def draw_small():
    """Save pictures in a few pixels: to draw them takes a sixth of a small run, and few tests look at them."""
    from seevae.results.pictures import Picture

    save = Picture.savefig
    Picture.savefig = lambda figure, *place, **options: save(figure, *place, **{"dpi": 50} | options)


def serve(number):
    """Fork a child for each request that comes through a socket (its file descriptor), until that is closed.

    Returns in the children alone: the program, as text, which a child is to execute.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in a shell's background
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    import vae_mnist  # noqa: F401  # first: it makes the start quiet

    with contextlib.suppress(ImportError):
        import tensorflow  # noqa: F401  # Keras imports it when it sets the seed, on each backend
    import matplotlib.backends.backend_agg  # noqa: F401  # what a run imports sooner or later

    draw_small()
    gc.collect()
    gc.freeze()  # the collector of a child leaves the shared pages alone
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    requests = socket.socket(fileno=number)
    running = {}  # {process: the pipe that its end is told through}
    while True:
        ready, _, _ = select.select([requests, wake], [], [])
        if wake in ready:
            os.read(wake, 1000)
            for process in list(running):
                ended, status = os.waitpid(process, os.WNOHANG)
                if ended:
                    tell(running.pop(process), os.waitstatus_to_exitcode(status), last=True)
        if requests not in ready:
            continue
        message, streams, _, _ = socket.recv_fds(requests, 2**20, 3)
        if not message:  # the tests are over, or gone
            for process in running:
                os.killpg(process, signal.SIGKILL)
            os._exit(0)
        if (process := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for one in (number, wake, waker, *running.values()):
                os.close(one)
            requests.detach()
            return become(json.loads(message), streams)
        os.setpgid(process, process)
        running[process] = streams[2]
        for stream in streams[:2]:
            os.close(stream)
        tell(running[process], process)


def tell(pipe, number, last=False):
    """Write a number, as a line, into a pipe, whose reader may be gone."""
    with contextlib.suppress(OSError):
        os.write(pipe, b"%d\n" % number)
    if last:
        os.close(pipe)


def become(request, streams):
    """Make this child the process that was asked for; returns its program.

    request: {"arguments": as after `python`, "folder", "environment", "xla"}; streams: of stdout, stderr, and a spare.
    """
    os.setpgid(0, 0)
    for number, stream in enumerate(streams[:2], 1):
        os.dup2(stream, number)
    for stream in streams:
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    first, *rest = request["arguments"]
    unbuffered = first == "-u"
    if unbuffered:
        first, *rest = rest
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", buffering=1 if unbuffered else -1, closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    if first == "-c":
        program, sys.argv, sys.path[0] = rest[0], ["-c", *rest[1:]], ""
    else:
        program, sys.argv = f"import runpy; runpy.run_path({first!r}, run_name='__main__')", [first, *rest]
        sys.path[0] = os.path.dirname(os.path.abspath(first))
    sys.path[1:1] = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    import numpy as np

    np.random.seed()  # else all children would draw the same
    use_xla(request["xla"])
    return program
