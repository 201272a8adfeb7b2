"""What every room uses: an error that the user can mend, text that fits on one line, and a thread with an end."""

import sys
import threading
import time
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend; the message is one sentence that says what was wrong and what to do."""

    def __init__(self, sentence):
        super().__init__(printable(sentence))


def printable(text: str) -> str:
    """`text` on one line that any file and page can hold: line breaks and bytes that are no text become escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def say(*lines):
    """Print lines. All that the package prints comes through here or `complain`: no name in it can steer a terminal."""
    print(*map(printable, lines), sep="\n", flush=True)


def complain(sentence):
    """Print one sentence to stderr."""
    if sys.stderr is not None:
        print(f"vae_mnist: {printable(sentence)}", file=sys.stderr, flush=True)


def in_thread(act: Callable[[], object], seconds: float) -> Exception | None:
    """Call act() in a thread, so that Ctrl-C is answered; returns what it raised, a TimeoutError, or None."""
    failures = []

    def attempt():
        try:
            act()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    until = time.monotonic() + seconds
    while thread.is_alive() and time.monotonic() < until:
        thread.join(0.2)
    late = TimeoutError(f"it took longer than {seconds} seconds") if thread.is_alive() else None
    return failures[0] if failures else late
