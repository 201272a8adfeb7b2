"""How a run ends early: by Ctrl-C (SIGINT), SIGTERM, or an error after the training; and what it says of its files.

The first signal in a training is only noted, and the training stops after its step. Any other ends the process at once,
without unwinding: the files are safe from any kill (see parts/folder.py), and an exception would be swallowed where no
Python code is there to pass it on, so that a run that was told to stop would go on.
"""

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# asked: the signal that asked the training to stop, or 0; held, late: whether signals wait, and which one does.
# left: what a stopped run says of its files; trained: what is said after an error, once there is a trained model.
# stderr: where it is said.
START = {"asked": 0, "training": False, "held": False, "late": 0, "left": "nothing was written", "trained": ""}
now = SimpleNamespace(**START, stderr=2)


def answer(number, frame=None):
    """Answer a signal: the first one in training is only noted; any other ends the process with one sentence."""
    if now.held:
        now.late = number
        return
    again, now.asked = now.asked, number
    if now.training and not again:
        tell("stopping after this step, to evaluate and save what was learned; once more to leave at once")
        return
    tell(f"stopped; {now.left}")
    os._exit(128 + number)


def tell(words):
    """Write one sentence to stderr, past Python's buffers: a signal may come while they are in use."""
    with contextlib.suppress(OSError):
        os.write(now.stderr, f"\nvae_mnist: {words}.\n".encode(errors="backslashreplace"))


@contextlib.contextmanager
def held_back():
    """Let signals wait in this context, which takes a few milliseconds and should not be cut in two."""
    now.held = True  # and not a mask of signals: other threads would take them
    try:
        yield
    finally:
        now.held = False
        if now.late:
            answer(now.late)


@contextlib.contextmanager
def answered():
    """Answer the signals in this context; afterwards they mean what they meant before."""
    vars(now).update(START)
    if threading.current_thread() is not threading.main_thread():  # only there may a program answer them
        yield
        return
    before = listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def listen():
    """Answer the signals from now on, but for those that this process was told to ignore; returns {signal: handler}."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in heard:
        signal.signal(number, answer)
    return heard


if Path(sys.argv[0]).name == "vae_mnist.py":  # the command, whose imports take seconds; a library leaves signals alone
    listen()
