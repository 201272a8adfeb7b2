"""What supports vae_mnist.py: everything that a reader of the post would skip, one module a purpose.

    recipes    how to train: two recipes, as a table
    learning   what the recipes are made of: initial weights, noise on the input, the optimizer, callbacks
    data       the images: MNIST, its 5,000-image sample, images of your own
    layouts    the files and folders in which people keep images: what is in them
    converting images of any form made small and grey, and labels made classes
    reading    files that may come from anywhere, read within bounds
    feeding    the batches of an epoch, in an order that the seed and the epoch decide
    evidence   log p(x), the evidence, next to the ELBO that bounds it
    pictures   the figures: each function takes the model and the data, or arrays, and returns a Figure
    explorer   a page to play with the trained model in a browser, and the replay of its training
    examine    what a run says of our network, of one that somebody wrote elsewhere: it takes two functions
    findings   what looks wrong with a network, by name: tests with limits that sound networks keep
    dense      whether a network is one that the explorer can play
    saved      model files: the numbers are read, checked, and put into a network that is built anew

    session    one run of the command, from its first line to its last, with the modules below
    options    the command's options
    startup    Keras is imported quietly, on a backend that is installed
    devices    the device that computes, or several that share each batch
    processes  one training on several machines (JAX)
    folder     where the files of a run go, all at once
    resume     a training that was cut off goes on, bit for bit
    stopping   Ctrl-C and SIGTERM
    console    the lines that a run prints, its error sentences, its exit status

A module is handed what it needs and gives back a result. None imports vae_mnist.py, and importing one starts nothing;
`examine` alone imports Keras as the script does.
"""

import threading
import time


class UserError(Exception):
    """Something the user can mend; the message is one sentence that says what was wrong and what to do."""

    def __init__(self, sentence):
        super().__init__(printable(sentence))


def printable(text):
    """`text` on one line that any file and page can hold: line breaks and bytes that are no text become escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def in_thread(act, seconds):
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
