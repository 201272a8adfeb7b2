"""What comes before the slow imports, and imports no Keras: streams that nothing stops, Ctrl-C, and the options."""

import contextlib
import io
import os
import sys

from seevae.basics import complain
from seevae.run import options, stopping


class SteadyOutput:
    """A text stream that a closed pipe or a full device does not stop: what cannot be written is left out.

    stream: a text file, or None, which Python has where standard output is closed. `error`: the first OSError, or None.
    """

    def __init__(self, stream):
        self.stream = io.StringIO() if stream is None else stream
        self.error = None
        if hasattr(self.stream, "reconfigure"):
            self.stream.reconfigure(errors="backslashreplace")  # a folder's name that the console cannot spell

    def write(self, text):
        self.attempt(self.stream.write, text)
        return len(text)

    def flush(self):
        self.attempt(self.stream.flush)

    def attempt(self, act, *arguments):
        try:
            act(*arguments)
        except OSError as error:
            self.error = self.error or error
            with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), self.stream.fileno())  # for what is still to come, and left in buffers

    def __getattr__(self, name):
        return getattr(self.stream, name)


def steady(stream):
    """The stream itself if it is steady, or else a SteadyOutput of it."""
    return stream if isinstance(stream, SteadyOutput) else SteadyOutput(stream)


def status_with(out, status=0):
    """The exit status of a command whose lines went to a SteadyOutput: 2 where they could not all be written.

    Where the reader closed the pipe, it wanted no more of them.
    """
    out.flush()
    if out.error and not isinstance(out.error, BrokenPipeError):
        complain(f"its lines could not all be written ({out.error.strerror}); files are not affected.")
        return status or 2
    return status


def begin(argv):
    """Begin the command: no output device stops it from now on, Ctrl-C does, and so does a mistake in its options."""
    sys.stdout, sys.stderr = steady(sys.stdout), steady(sys.stderr)
    stopping.Signals().listen_early()
    try:
        options.parse_args(argv)
    except SystemExit as stop:  # of --help, too
        sys.exit(status_with(sys.stdout, stop.code))
