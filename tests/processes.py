"""Programs in other processes, by fork or anew: their output as it comes, signals, and an end to every wait."""

import atexit
import contextlib
import functools
import importlib.util
import json
import os
import queue
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
CACHE = {"XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))}  # matplotlib's list of fonts

# Seconds until a process is killed, and its test fails: before a line has come, and before it has ended.
LINE, END = 120, 240

# What is read while the libraries are imported, so that a process which has imported them already cannot obey it.
AT_IMPORT = re.compile(r"KERAS_(?!BACKEND$|DISTRIBUTION_)|MPL|TF_|JAX_(?!COORDINATOR_)|PYTHON(?!PATH$)|OMP_|CUDA_")
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


class Process:
    """A Python program in another process, which leads a process group of its own."""

    def __init__(self, arguments, folder, environment, own_process=False, xla=False):
        """arguments: what comes after `python`: "-u" or not, then "-c" and a program, or a script's path, and its own.

        own_process: whether it has to be a new process, where the imports themselves are the subject; else a fork of
        one that has imported everything. xla: whether a fork compiles TensorFlow's models by XLA, as new ones do.
        """
        (out, outlet), (err, errlet) = os.pipe(), os.pipe()
        self.lines, self.printed, self.errors, self.status = queue.SimpleQueue(), [], [], None
        arguments = [str(argument) for argument in arguments]
        backend = None if own_process else can_fork(environment)
        if backend:
            self.pid, self.end_of = zygote(backend).fork(arguments, folder, environment, xla, outlet, errlet)
        else:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", HEARS, sys.executable, *arguments],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=outlet,
                stderr=errlet,
                start_new_session=True,
            )
            self.pid, self.end_of = process.pid, functools.partial(end_of_popen, process)
        running.append(self)
        os.close(outlet)
        os.close(errlet)
        self.readers = [
            threading.Thread(target=read, args=arguments, daemon=True)
            for arguments in ((out, self.lines.put), (err, self.errors.append))
        ]
        for reader in self.readers:
            reader.start()

    def next_line(self, until):
        """The next line on stdout, or None after the last; a TimeoutError when it has not come in time."""
        try:
            line = self.lines.get(timeout=max(0, until - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if line is not None:
            self.printed.append(line)
        return line

    def wait(self, until):
        """What is still to come on stdout, once the process has ended; a TimeoutError when it has not in time."""
        lines = []
        while (line := self.next_line(until)) is not None:
            lines.append(line)
        self.readers[1].join(max(0, until - time.monotonic()))
        if self.readers[1].is_alive():
            raise TimeoutError
        self.status = self.end_of(until)
        return "".join(lines)

    def stderr(self):
        return "".join(part for part in self.errors if part is not None)

    def send(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """End it, and all that it has started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def fail(self, what):
        """End it, and fail the test with all that it has printed."""
        self.kill()
        with contextlib.suppress(TimeoutError):
            self.wait(time.monotonic() + 5)
        raise AssertionError(f"{what}\nstdout:\n{''.join(self.printed)}\nstderr:\n{self.stderr()}")


def read(pipe, put):
    """Hand on the lines of a pipe as they come, and None at the end."""
    with open(pipe, encoding="utf-8", errors="backslashreplace") as stream:
        for line in stream:
            put(line)
    put(None)


def end_of_popen(process, until):
    try:
        return process.wait(max(0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None


def kill_what_runs():
    """End what a test has left running."""
    for process in running:
        process.kill()
        if process.status is None:
            with contextlib.suppress(TimeoutError):
                process.wait(time.monotonic() + 20)
    running.clear()


# -- Forks -----------------------------------------------------------------------------------------------------------


def can_fork(environment):
    """The backend of the process to fork from for this environment, or None where it needs a new process."""
    backend = environment.get("KERAS_BACKEND", "tensorflow")
    known = backend in ("tensorflow", "jax", "torch") and importlib.util.find_spec(backend)
    changed = [name for name, _ in environment.items() ^ AT_FIRST.items() if AT_IMPORT.match(name)]
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
        self.requests, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        program = f"import zygote; exec(zygote.serve({other.fileno()}))"
        paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=AT_FIRST | {"HOME": empty_home(), "KERAS_BACKEND": backend, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            pass_fds=[other.fileno()],
            start_new_session=True,
        )
        other.close()
        atexit.register(self.end)

    def fork(self, arguments, folder, environment, xla, out, err):
        """Start a child; returns its number, and a function that waits for its exit status."""
        told, teller = os.pipe()
        request = {"arguments": arguments, "folder": str(folder), "environment": dict(environment), "xla": xla}
        socket.send_fds(self.requests, [json.dumps(request).encode()], [out, err, teller])
        os.close(teller)
        return self.number(told, time.monotonic() + LINE), functools.partial(self.number, told)

    def number(self, pipe, until):
        """The next number that comes through a pipe."""
        if not select.select([pipe], [], [], max(0, until - time.monotonic()))[0]:
            raise TimeoutError
        digits = b""
        while not digits.endswith(b"\n"):
            part = os.read(pipe, 1)
            if not part:
                self.log.seek(0)
                raise AssertionError(f"The process to fork from is gone: {self.log.read()}")
            digits += part
        return int(digits)

    def end(self):
        self.requests.close()
        self.process.wait(20)


# -- What the tests use ----------------------------------------------------------------------------------------------


class Command:
    """The script in another process, with its output as it comes. What a test leaves running is killed after it."""

    def __init__(self, line, folder, before="", own_process=False, xla=False, **environment):
        """line: the options, as text or as a list; before: a program that comes first, in the same process.

        own_process and xla: as for Process.
        """
        script, words = str(ROOT / "vae_mnist.py"), line.split() if isinstance(line, str) else line
        program = f"import sys, runpy; sys.argv = {[script, *words]}; sys.path.insert(0, {str(ROOT)!r})\n"
        program += f"{before}\nrunpy.run_path({script!r}, run_name='__main__')"
        settings = os.environ | {"HOME": empty_home()} | CACHE | NO_NETWORK | environment
        self.process = Process(["-u", "-c", program], folder, settings, own_process, xla)

    def wait_for(self, text):
        """Read stdout until a line has the text in it."""
        until = time.monotonic() + LINE
        try:
            while (line := self.process.next_line(until)) is not None:
                if text in line:
                    return
        except TimeoutError:
            self.process.fail(f"{text!r} did not come within {LINE} seconds.")
        self.process.fail(f"{text!r} never came.")

    def send(self, number):
        self.process.send(number)

    def kill(self):
        self.process.kill()

    def end(self):
        """Its exit status, and what it still printed on stdout and stderr."""
        try:
            out = self.process.wait(time.monotonic() + END)
        except TimeoutError:
            self.process.fail(f"It did not end within {END} seconds.")
        err = self.process.stderr()
        assert "Traceback" not in err, err
        return self.process.status, out, err


def run_python(arguments, folder, own_process=False, xla=False, **environment):
    """Run a Python program in a folder to its end, with no network and an empty HOME below the folder."""
    (folder / "home").mkdir(exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}
    settings = inherited | {"HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)} | CACHE | NO_NETWORK | environment
    process = Process(arguments, folder, settings, own_process, xla)
    try:
        out = process.wait(time.monotonic() + END)
    except TimeoutError:
        process.fail(f"It did not end within {END} seconds.")
    return subprocess.CompletedProcess(arguments, process.status, out, process.stderr())
