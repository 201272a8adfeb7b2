"""A training that was cut off goes on from its last finished epoch, as if nothing had happened.

`Progress` is a Keras callback that writes all that the next epoch depends on into unfinished.npz after each epoch:
weights, optimizer, the number of epochs, and what was recorded so far. The order of the batches and the noise depend on
the seed and the epoch alone (see callbacks.SeedEachEpoch). It is one file, written whole: Keras's own BackupAndRestore
writes two in place, so that a kill between them resumes another training.
"""

import contextlib
import errno
import hashlib
import json
import sys
import time
import types
from pathlib import Path

import keras
import numpy as np
from keras import ops

import seevae
from seevae.basics import UserError, complain
from seevae.images.reading import read_arrays, read_json
from seevae.run import folder
from seevae.run.files import reason, write_whole

PACKAGE = Path(seevae.__file__).parent
DIGESTS = ("program", "content of the data", "model at the start")  # the entries of a plan that say nothing to a reader
REPLAY = ("moments", "z", "loss")  # what a Replay records
LOSSES = [f"{part}{name}" for part in ("", "val_") for name in ("loss", "reconstruction_loss", "kl_loss")]
NO_TRAINING = types.SimpleNamespace(history={}, stopped=None, epochs=0, seconds=0.0, kept=0)  # in a Progress's place


class NothingLearned(Exception):  # noqa: N818
    """A training was stopped before the end of its first epoch."""


def plan_of(settings, seed, device, dataset, started_from=None):
    """All that decides the numbers of a training, {name: value}; two trainings with equal plans are the same.

    settings: a dict, as session.Session makes it; device: what devices.describe says; dataset: a data.Dataset;
    started_from: what saved.start_of says of the model file from which the training goes on, or None.
    """
    content, program = hashlib.sha256(), hashlib.sha256()
    x_train = getattr(dataset.x_train, "pixels", dataset.x_train)
    for part in (x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        content.update(np.ascontiguousarray(part))
    script = sys.modules.get("vae_mnist") or sys.modules["__main__"]
    for path in (Path(script.__file__), *sorted(PACKAGE.rglob("*.py"))):
        program.update(path.read_bytes())
    recipe = {name.replace("_", " "): value for name, value in settings["recipe"].items() if name != "name"}
    sizes = {name.replace("_", " "): value for name, value in settings.items() if name != "recipe"}
    versions = {f"version of {name}": value for name, value in device["versions"].items()}
    where = {"backend": device["backend"], "device": device["device"], "data": dataset.name}
    where["floatx"] = keras.config.floatx()
    start = started_from and started_from["sha256"]
    digests = dict(zip(DIGESTS, (program.hexdigest(), content.hexdigest(), start), strict=True))
    return {"recipe": settings["recipe"]["name"], **where, **recipe, **sizes, "seed": seed, **versions, **digests}


class Progress(keras.callbacks.Callback):
    """Keeps a training in a file after each epoch, and stops it after the step in which it is asked to.

    place: the folder.Place of the file; plan: see plan_of; replay: the Replay that records this training;
    signals: the stopping.Signals that ask it to stop, or None.
    Hand it to `fit` as the last callback, after a call of `restore` where the training is to go on. `history` then
    holds the numbers of all finished epochs, {name: one float per epoch}, those before the cut included; `stopped` says
    after which epoch it was stopped, or is None; `kept` is the epoch that the file holds, or 0. Raises NothingLearned
    at the end of a training that was stopped before its first epoch was finished.
    """

    def __init__(self, place, plan, replay, signals=None):
        super().__init__()
        self.path, self.place, self.plan = place.path / folder.UNFINISHED, place, plan
        self.replay, self.signals = replay, signals or types.SimpleNamespace(asked=0)
        self.history, self.stopped, self.seconds, self.kept = {}, None, 0.0, 0

    @property
    def epochs(self):
        """How many epochs are finished."""
        return len(self.history.get("loss", []))

    @property
    def kept_epoch(self):
        return f"epoch {self.kept} of {self.plan['epochs']}"

    def restore(self, vae):
        """Put the state that the file holds into a VAE that was built and compiled anew; returns the epochs done.

        Raises UserError if there is no state or it belongs to another training. The VAE is unchanged then.
        """
        self.set_model(vae)
        here = self.state()
        try:
            state = read_arrays(self.path, dict.fromkeys(here))
            self.compare(dict(json.loads(str(state["plan"]))))
            history = json.loads(str(state["history"]))
            self.check(state, here, history)
        except FileNotFoundError as error:
            raise UserError(self.nothing_there()) from error
        except UserError:
            raise
        except Exception as error:  # a damaged archive fails in many ways
            raise UserError(f"{self.path} cannot be read: leave --resume out to train from the start.") from error
        for name, variable in self.variables().items():
            variable.assign(state[name])
        self.replay.moments, self.replay.loss = (state[f"replay {name}"].tolist() for name in ("moments", "loss"))
        self.replay.z = list(state["replay z"])
        self.history, self.seconds = history, float(state["seconds"])
        self.kept = self.epochs
        return self.epochs

    def compare(self, plan):
        """Raise UserError, naming the first difference, where the `plan` of a file is not that of this training."""
        for name in {**self.plan, **plan}:
            before, here = plan.get(name), self.plan.get(name)
            if before != here:
                words = f"its {name} is {'another' if name in DIGESTS else f'{before}, not {here}'}"
                advice = "give what it was begun with, or leave --resume out"
                raise UserError(f"The training in {self.path} cannot go on here: {words}; {advice}.")

    def check(self, state, here, history):
        """Raise ValueError unless `state` is such as this training would write it; here: what it would write now."""
        moments, codes = len(state["replay moments"]), (len(self.replay.x), self.plan["latent dim"])
        shapes = {"replay moments": (moments,), "replay loss": (moments,), "replay z": (moments, *codes)}
        for name, array in here.items():
            fits = state[name].dtype.kind == array.dtype.kind and state[name].shape == shapes.get(name, array.shape)
            if not fits or (array.dtype.kind == "f" and not np.isfinite(state[name]).all()):
                raise ValueError(f"{name} is not what this training would write")
        numbers = np.array([history[name] for name in LOSSES], float)  # raises ValueError where they differ in length
        if {*history} != {*LOSSES} or not (0 < numbers.shape[1] <= self.plan["epochs"] and np.isfinite(numbers).all()):
            raise ValueError("the history is not what this training would write")

    def nothing_there(self):
        """Why there is nothing to resume."""
        where = self.path.parent
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if read_json(where / folder.RECORD)["stopped"] is None:
                return f"The run in {where} is finished, there is nothing to resume: leave --resume out."
        return f"There is no interrupted training in {where} that had finished an epoch: leave --resume out."

    def variables(self):
        """The weights of the model and the variables of its optimizer, {name in the file: variable}."""
        self.model.optimizer.build(self.model.trainable_variables)
        both = [*self.model.trainable_variables, *self.model.optimizer.variables]
        return {f"variable {i}": variable for i, variable in enumerate(both)}

    def on_train_begin(self, logs=None):
        self.start = time.perf_counter() - self.seconds
        self.signals.in_training = True

    def on_train_end(self, logs=None):
        self.signals.in_training = False
        if self.stopped and not self.epochs:
            raise NothingLearned

    def on_train_batch_end(self, batch, logs=None):
        if self.signals.asked and batch + 1 < self.params["steps"]:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start
        if not self.model.stop_training:  # else the epoch was broken off
            for name, value in (logs or {}).items():
                self.history.setdefault(name, []).append(float(value))
            self.save()
        if self.signals.asked:
            self.model.stop_training = True
            self.stopped = f"stopped after epoch {self.epochs} of {self.plan['epochs']}"

    def state(self):
        """All that the next epoch depends on, and what was recorded so far, {name in the file: array}."""
        state = {name: ops.convert_to_numpy(variable) for name, variable in self.variables().items()}
        state |= {f"replay {name}": np.array(getattr(self.replay, name)) for name in REPLAY}
        numbers = {"plan": json.dumps(self.plan), "history": json.dumps(self.history), "seconds": float(self.seconds)}
        return state | {name: np.array(value) for name, value in numbers.items()}

    def save(self):
        """Write the state after an epoch; where the disk refuses, say so and go on without."""
        if self.place is None:
            return
        state = self.state()
        try:
            if not self.place.is_still_there():
                self.kept = 0
                raise OSError(errno.ESTALE, "its folder was deleted or replaced")
            write_whole(self.path, lambda file: np.savez(file, **state))
            self.kept = self.epochs
        except OSError as error:
            if not self.kept and self.place.is_still_there():  # the file is of an earlier training
                with contextlib.suppress(OSError):
                    self.path.unlink(missing_ok=True)
            self.place = None
            advice = "the training goes on, and cannot be resumed if it is cut off"
            complain(f"{self.path} could not be written ({reason(error)}): {advice}.")
