"""Programs in other processes, by fork or anew: their output as it comes, signals, and an end to every wait."""

import atexit
import contextlib
import functools
import importlib.util
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATHS = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"  # where another process finds the project, and what its tests share
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
CACHE = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))}  # matplotlib's list of fonts

# Seconds until a process is killed, and its test fails: before a line has come, and before it has ended.
LINE, END = 120, 240

# What is read while the libraries are imported, so that a process which has imported them already cannot obey it; Keras
# sets one of TensorFlow's itself.
AT_IMPORT = r"KERAS_(?!BACKEND$|DISTRIBUTION_)|MPL|TF_(?!FORCE_GPU_)|JAX_(?!COORDINATOR_)|PYTHON(?!PATH$)|OMP_|CUDA_"
SETTINGS = (".keras", ".config/matplotlib")  # and in a user's home

# Python, as a shell in the foreground starts it: Ctrl-C and SIGTERM are not ignored, whatever the tests inherited.
HEARS = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
os.execv(sys.argv[1], sys.argv[1:])
"""

# The environment that a process to fork from is started in; the level is what importing `seevae` makes of it.
AT_FIRST = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3")}

running = []  # the processes that a test has started


class Program:
    """A Python program in another process, which leads a process group of its own. Its output goes to files."""

    def __init__(self, arguments, folder, environment, own_process=False, xla=False):
        """arguments: what comes after `python`: "-u" or not, then "-c" and a program, or a script's path, and its own.

        own_process: whether it has to be a new process, where the imports themselves are the subject; else a fork of
        one that has imported everything. xla: whether a fork compiles TensorFlow's models by XLA, as new ones do.
        """
        self.out, self.err = (tempfile.NamedTemporaryFile() for _ in range(2))  # noqa: SIM115
        self.read, self.status = 0, None  # how much of stdout was looked at; the exit status, once there is one
        arguments = [str(argument) for argument in arguments]
        backend = None if own_process else can_fork(environment)
        if backend:
            request = {"arguments": arguments, "folder": str(folder), "environment": dict(environment), "xla": xla}
            ask = zygote(backend).ask
            self.pid = ask(request | {"streams": [self.out.name, self.err.name]})
            self.poll = functools.partial(ask, self.pid)
        else:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", HEARS, sys.executable, *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=self.out,
                stderr=self.err,
                start_new_session=True,
            )
            self.pid, self.poll = process.pid, process.poll
        running.append(self)

    def has_ended(self):
        if self.status is None:
            self.status = self.poll()
        return self.status is not None

    def wait_for(self, text):
        """Read stdout until a line has the text in it."""
        until = time.monotonic() + LINE
        while time.monotonic() < until:
            ended = self.has_ended()
            for line in written(self.out, self.read).splitlines(keepends=True):
                if line.endswith(b"\n"):
                    self.read += len(line)
                    if text.encode() in line:
                        return
            if ended:
                self.fail(f"{text!r} never came.")
            time.sleep(0.02)
        self.fail(f"{text!r} did not come within {LINE} seconds.")

    def finish(self, seconds=END):
        """Its exit status, once it has ended, and what it still printed on stdout and stderr."""
        if not self.ends_within(seconds):
            self.fail(f"It did not end within {seconds} seconds.")
        return self.status, shown(self.out, self.read), shown(self.err)

    def ends_within(self, seconds):
        until = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < until:
            time.sleep(0.02)
        return self.has_ended()

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """End it, and all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def fail(self, what):
        """End it, and fail the test with all that it has printed."""
        self.kill()
        self.ends_within(5)
        raise AssertionError(f"{what}\nstdout:\n{shown(self.out)}\nstderr:\n{shown(self.err)}")


def written(file, start=0):
    """The bytes in a file from a place on. It is not moved: the process that writes has the same place in it."""
    return os.pread(file.fileno(), max(0, os.fstat(file.fileno()).st_size - start), start)


def shown(file, start=0):
    return written(file, start).decode(errors="backslashreplace")


def kill_what_runs():
    """End what a test has left running."""
    for program in running:
        program.kill()
        program.ends_within(20)
        program.out.close()
        program.err.close()
    running.clear()


# -- Forks -----------------------------------------------------------------------------------------------------------


def can_fork(environment):
    """The backend of the process to fork from for this environment, or None where it needs a new process."""
    backend = environment.get("KERAS_BACKEND", "tensorflow")
    known = backend in ("tensorflow", "jax", "torch") and importlib.util.find_spec(backend)
    changed = [name for name, _ in environment.items() ^ AT_FIRST.items() if re.match(AT_IMPORT, name)]
    home = Path(environment["HOME"])
    settings = str(home) != empty_home() and any((home / name).exists() for name in SETTINGS)
    return backend if sys.platform == "linux" and known and not changed and not settings else None


@functools.cache
def zygote(backend):
    return Zygote(backend)


@functools.cache
def empty_home():
    """A home without settings or caches, for this process's programs."""
    home = tempfile.TemporaryDirectory(prefix="vae_mnist_home")
    atexit.register(home.cleanup)
    return home.name


class Zygote:
    """The process of zygote.py for one backend, as long as this process lives."""

    def __init__(self, backend):
        self.log, self.alone = tempfile.TemporaryFile("w+"), threading.Lock()  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-c", "import zygote; exec(zygote.serve())"],
            cwd=ROOT,
            env=AT_FIRST | {"HOME": empty_home(), "KERAS_BACKEND": backend, "PYTHONPATH": PATHS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            start_new_session=True,
        )
        atexit.register(self.process.communicate, timeout=20)  # which closes its stdin

    def ask(self, request):
        """The answer to a request (see zygote.serve)."""
        with self.alone, contextlib.suppress(BrokenPipeError):
            print(json.dumps(request), file=self.process.stdin, flush=True)
            if select.select([self.process.stdout], [], [], LINE)[0] and (answer := self.process.stdout.readline()):
                return json.loads(answer)
        self.log.seek(0)
        raise AssertionError(f"The process to fork from is gone, or does not answer: {self.log.read()}")


# -- What the tests use ----------------------------------------------------------------------------------------------


class Command(Program):
    """The script in another process, with its output as it comes. What a test leaves running is killed after it."""

    def __init__(self, line, folder, before="", own_process=False, xla=False, **environment):
        """line: the options, as text or as a list; before: a program that comes first, in the same process.

        own_process and xla: as for Program.
        """
        script, words = str(ROOT / "vae_mnist.py"), line.split() if isinstance(line, str) else line
        program = f"import sys, runpy; sys.argv = {[script, *words]}; sys.path.insert(0, {str(ROOT)!r})\n"
        program += f"{before}\nrunpy.run_path({script!r}, run_name='__main__')"
        settings = os.environ | {"HOME": empty_home()} | CACHE | NO_NETWORK | environment
        super().__init__(["-u", "-c", program], folder, settings, own_process, xla)

    def end(self):
        """As `finish`, and no traceback is printed."""
        status, out, err = self.finish()
        assert "Traceback" not in err, err
        return status, out, err


def run_python(arguments, folder, own_process=False, xla=False, **environment):
    """Run a Python program in a folder to its end, with no network and an empty HOME below the folder."""
    (folder / "home").mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}
    settings = inherited | {"HOME": str(folder / "home"), "PYTHONPATH": PATHS} | CACHE | NO_NETWORK | environment
    return subprocess.CompletedProcess(arguments, *Program(arguments, folder, settings, own_process, xla).finish())
