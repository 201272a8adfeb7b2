"""How a run ends early: by Ctrl-C (SIGINT) or SIGTERM, and what it says of its files.

The first signal in a training is only noted, and the training stops after its step. Any other ends the command at once,
without unwinding: the files are safe from any kill (see files.py), and an exception would be swallowed where no Python
code is there to pass it on, so that a run that was told to stop would go on. A program that calls main() is not ended:
there it is a KeyboardInterrupt.
"""

import builtins
import contextlib
import os
import signal
import sys
import threading

from seevae.basics import printable

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """The answer of one run to Ctrl-C and SIGTERM.

    what_is_left: a function that says what a run that ends now leaves, in some words.
    asked: the signal that asked the training to stop, or 0. in_training: whether a signal may wait for the end of a
    step; the training sets it. ends_the_process: whether this process is the command, which `listen_early` says.
    """

    ends_the_process = False

    def __init__(self, what_is_left=lambda: "nothing was written"):
        self.what_is_left = what_is_left
        self.asked, self.in_training = 0, False
        self.deferring, self.deferred = False, 0
        try:
            self.stderr = os.dup(2)  # a start that hides the lines of other programs moves descriptor 2
        except OSError:  # stderr is closed
            self.stderr = 2

    def answer(self, number, frame=None):
        """Answer a signal: the first one in training is only noted; any other ends the process with one sentence."""
        if self.deferring:
            self.deferred = number
            return
        again, self.asked = self.asked, number
        if self.in_training and not again:
            self.tell("stopping after this step, to evaluate and save what was learned; once more to leave at once")
            return
        self.tell(f"stopped; {self.what_is_left()}")
        if not Signals.ends_the_process:
            raise KeyboardInterrupt
        os._exit(128 + number)

    def tell(self, words):
        """Write one sentence to stderr, past Python's buffers: a signal may come while they are in use."""
        with contextlib.suppress(OSError):
            os.write(self.stderr, f"\nvae_mnist: {printable(words)}.\n".encode(errors="backslashreplace"))

    def listen_early(self):
        """Answer the signals before there is a run, in the command; not in a session of Python, which is to live on."""
        if not (hasattr(sys, "ps1") or sys.flags.interactive or hasattr(builtins, "__IPYTHON__")):
            Signals.ends_the_process = True
            self.listen()

    def listen(self):
        """Answer the signals from now on, except those that this process was told to ignore.

        Returns the handlers before, {signal: handler}, of those that are answered now.
        """
        before = {number: signal.getsignal(number) for number in NUMBERS}
        heard = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
        for number in heard:
            signal.signal(number, self.answer)
        return heard

    @contextlib.contextmanager
    def answered(self):
        """Answer the signals in this context; in a program that goes on, they then mean what they meant before."""
        in_main = threading.current_thread() is threading.main_thread()  # only there may a program answer them
        before = self.listen() if in_main else {}
        try:
            yield
        finally:
            if not Signals.ends_the_process:  # else this run alone knows until the end what it has written
                for number, handler in before.items():
                    signal.signal(number, handler)
                if self.stderr != 2:
                    os.close(self.stderr)

    @contextlib.contextmanager
    def wait(self):
        """Let signals wait in this context, which takes a few milliseconds and should not be cut in two."""
        self.deferring = True  # and not a mask of signals: other threads would take them
        try:
            yield
        finally:
            self.deferring = False
            if self.deferred:
                self.answer(self.deferred)
