"""A training that was cut off goes on from its last finished epoch, as if nothing had happened.

`Progress` is a Keras callback that writes all that the next epoch depends on into unfinished.npz after each epoch:
weights, optimizer, the number of epochs, and what was recorded so far. The order of the batches and the noise depend on
the seed and the epoch alone (see learning.SeedEachEpoch). It is one file, written whole: Keras's own BackupAndRestore
writes two in place, so that a kill between them resumes another training.
"""

import contextlib
import errno
import hashlib
import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import ops

from seevae.basics import UserError
from seevae.images.reading import parse_json, read_arrays, read_json
from seevae.results.replay import REPLAY_PARTS
from seevae.run import folder

PROJECT = Path(__file__).resolve().parent.parent.parent
DIGESTS = ("program", "content of the data", "model at the start")  # the entries of a plan that say nothing to a reader
MAY_DIFFER = ("device", "version of python", "version of matplotlib")  # between machines that train together


def plan_of(settings, seed, device, dataset, start=None):
    """All that decides the numbers of a training, {name: value}; two trainings with equal plans are the same.

    settings: a dict, as session.Session makes it; device: what devices.describe says; dataset: a data.Dataset; start:
    the digest of the model file from which the training goes on, or None.
    """
    content, program = hashlib.sha256(), hashlib.sha256()
    x_train = getattr(dataset.x_train, "pixels", dataset.x_train)
    for part in (x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        content.update(np.ascontiguousarray(part))
    for path in (PROJECT / "vae_mnist.py", *sorted(PROJECT.glob("seevae/**/*.py"))):
        program.update(path.read_bytes())
    recipe = {name.replace("_", " "): value for name, value in settings["recipe"].items() if name != "name"}
    sizes = {name.replace("_", " "): value for name, value in settings.items() if name != "recipe"}
    versions = {f"version of {name}": value for name, value in device["versions"].items()}
    where = {"backend": device["backend"], "device": device["device"], "data": dataset.name}
    where["floatx"] = keras.config.floatx()
    digests = dict(zip(DIGESTS, (program.hexdigest(), content.hexdigest(), start), strict=True))
    return {"recipe": settings["recipe"]["name"], **where, **recipe, **sizes, "seed": seed, **versions, **digests}


class Progress(keras.callbacks.Callback):
    """Keeps a training in a file after each epoch, and stops it after the step in which it is asked to.

    path: of the file; plan: see plan_of; replay: the Replay that records this training; signals: the
    stopping.Signals that ask it to stop, or None; place: the folder.Place of the file, or None to write none.
    Hand it to `fit` as the last callback, after a call of `restore` where the training is to go on. `history` then
    holds the numbers of all finished epochs, {name: one float per epoch}, those before the cut included; `stopped` says
    after which epoch it was stopped, or is None; `kept` is the epoch that the file holds, or 0.
    """

    def __init__(self, path, plan, replay, signals=None, place=None):
        super().__init__()
        self.path, self.plan, self.replay, self.signals, self.place = path, plan, replay, signals, place
        self.history, self.stopped, self.seconds, self.kept = {}, None, 0.0, 0

    @property
    def epochs(self):
        """How many epochs are finished."""
        return len(self.history.get("loss", []))

    def restore(self, vae, may_differ=()):
        """Put the state that the file holds into a VAE that was built and compiled anew; returns the epochs done.

        may_differ: the names of what may differ in the plan. Raises UserError if there is no state or it belongs to
        another training. The VAE is unchanged then.
        """
        self.set_model(vae)
        try:
            plan = read_arrays(self.path, {"plan": ("U", ())})["plan"]
            self.compare(dict(parse_json(str(plan))), may_differ)
            wanted = self.wanted()
            state = read_arrays(self.path, wanted)
            if state.keys() != wanted.keys():
                raise ValueError("some of it is missing")
            self.check(state)
        except FileNotFoundError as error:
            raise UserError(self.nothing_there()) from error
        except UserError:
            raise
        except Exception as error:  # a damaged archive fails in many ways
            raise UserError(f"{self.path} cannot be read: leave --resume out to train from the start.") from error
        for name, variable in self.variables().items():
            variable.assign(state[name])
        for name in REPLAY_PARTS:
            part = state[f"replay {name}"]
            setattr(self.replay, name, list(part) if part.ndim > 1 else part.tolist())
        self.history, self.seconds = parse_json(str(state["history"])), float(state["seconds"])
        self.kept = self.epochs
        return self.epochs

    def compare(self, plan, may_differ=()):
        """Raise UserError, naming the first difference, where the `plan` of a file is not that of this training."""
        for name in {**self.plan, **plan}:
            before, here = plan.get(name), self.plan.get(name)
            if before != here and name not in may_differ:
                other = "another" if name in DIGESTS else f"{before}, not {here}"
                raise UserError(
                    f"The training in {self.path} cannot go on here: its {name} is {other};"
                    " give what it was begun with, or leave --resume out."
                )

    def check(self, state):
        """Raise ValueError unless `state`, {name: array}, is such as `save` writes it."""
        plan, history = (parse_json(str(state[name])) for name in ("plan", "history"))
        lengths = {len(numbers) for numbers in history.values()}
        moments = {len(state[f"replay {name}"]) for name in REPLAY_PARTS}
        fits = len(lengths) == len(moments) == 1 and "loss" in history
        if not fits or not 0 < len(history["loss"]) <= plan["epochs"] or not np.isfinite([*history.values()]).all():
            raise ValueError("this is not what Progress.save writes")

    def wanted(self):
        """The arrays of the file, as reading.read_arrays wants them declared."""
        wanted = {f"replay {name}": declared for name, declared in REPLAY_PARTS.items()}
        wanted |= {"plan": ("U", ()), "history": ("U", ()), "seconds": ("f", ())}
        for name, variable in self.variables().items():
            wanted[name] = np.dtype(variable.dtype).kind, tuple(variable.shape)
        return wanted

    def nothing_there(self):
        """Why there is nothing to resume."""
        where = self.path.parent
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = read_json(where / folder.RECORD)
            ended = "was stopped in its first epoch" if record["stopped"] else "is finished"
            return f"The run in {where} {ended}, there is nothing to resume: leave --resume out."
        return f"There is no interrupted training in {where} that had finished an epoch: leave --resume out."

    def variables(self):
        """The weights of the model and the variables of its optimizer, {name in the file: variable}."""
        self.model.optimizer.build(self.model.trainable_variables)
        both = [*self.model.trainable_variables, *self.model.optimizer.variables]
        return {f"variable {i}": variable for i, variable in enumerate(both)}

    def is_asked_to_stop(self):
        return self.signals is not None and self.signals.asked

    def on_train_begin(self, logs=None):
        self.start = time.perf_counter() - self.seconds
        if self.signals is not None:
            self.signals.in_training = True

    def on_train_end(self, logs=None):
        if self.signals is not None:
            self.signals.in_training = False

    def on_train_batch_end(self, batch, logs=None):
        if self.is_asked_to_stop() and batch + 1 < self.params["steps"]:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start
        if not self.model.stop_training:  # else the epoch was broken off
            for name, value in (logs or {}).items():
                self.history.setdefault(name, []).append(float(value))
            self.save()
        if self.is_asked_to_stop():
            self.model.stop_training = True
            self.stopped = f"stopped after epoch {self.epochs} of {self.plan['epochs']}"

    def save(self):
        """Write the state after an epoch; where the disk refuses, say so and go on without."""
        if self.place is None:
            return
        state = {name: ops.convert_to_numpy(variable) for name, variable in self.variables().items()}
        state |= {f"replay {name}": np.array(getattr(self.replay, name)) for name in REPLAY_PARTS}
        state |= {"plan": json.dumps(self.plan), "history": json.dumps(self.history), "seconds": self.seconds}
        try:
            if not self.place.is_still_there():
                self.kept = 0
                raise OSError(errno.ESTALE, "its folder was deleted or replaced")
            folder.write_whole(self.path, lambda file: np.savez(file, **state))
            self.kept = self.epochs
        except OSError as error:
            if not self.kept and self.place.is_still_there():  # the file is of an earlier training
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
            self.place = None
            print(
                f"vae_mnist: {self.path} could not be written ({folder.reason(error)}):"
                " the training goes on, and cannot be resumed if it is cut off.",
                file=sys.stderr,
            )
