"""A process that has imported everything and started nothing; for each program it is sent, it forks a child to run it.

A child is as a new process would be after `import vae_mnist`, without the seconds which that import takes. Started by
processes.py, which sends the programs, as `python -c "import zygote; exec(zygote.serve())"`.
"""

import contextlib
import gc
import json
import os
import signal
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


def serve():
    """Answer requests, a line of JSON each on stdin, on stdout, until stdin is closed: of a child, a dict (see become),
    by its number; of its number, by its exit status, or null before its end.

    Returns in the children alone: the program, as text, which a child is to execute.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in a shell's background
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    requests, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what the imports print goes where it can be read when they fail
    import vae_mnist  # noqa: F401  # first: it makes the start quiet

    with contextlib.suppress(ImportError):
        import tensorflow  # noqa: F401  # Keras imports it when it sets the seed, on each backend
    import matplotlib.backends.backend_agg  # noqa: F401  # what a run imports sooner or later

    draw_small()
    gc.collect()
    gc.freeze()  # the collector of a child leaves the shared pages alone
    running = set()
    for line in requests:
        request = json.loads(line)
        if isinstance(request, int):
            ended, status = os.waitpid(request, os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
            running -= {ended}
        elif (answer := os.fork()) == 0:
            requests.close()
            replies.close()
            return become(request)
        else:
            os.setpgid(answer, answer)
            running.add(answer)
        print(json.dumps(answer), file=replies, flush=True)
    for process in running:  # the tests are over, or gone
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
    os._exit(0)


def become(request):
    """Make this child the process that was asked for; returns its program.

    request: {"arguments": as after `python`, "folder", "environment", "xla", "streams": paths of stdout and stderr}.
    """
    os.setpgid(0, 0)
    for number, path in enumerate(request["streams"], 1):
        os.dup2(os.open(path, os.O_WRONLY), number)
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
