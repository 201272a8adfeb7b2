"""A training that was cut off goes on from its last finished epoch, as if nothing had happened.

`Progress` is a Keras callback that writes all that the next epoch depends on into unfinished.npz after each epoch:
weights, optimizer, the states of the noise and of the batches' order, and what was recorded so far. Keras's own
BackupAndRestore leaves out the noise and the order, so that a resumed training would be another one.
"""

import contextlib
import hashlib
import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
from keras import ops

from parts import UserError, folder, parallel, stopping

HERE = Path(__file__).resolve().parent
DIGESTS = ("program", "content of the data")  # the entries of a plan that say nothing to a reader
MAY_DIFFER = ("device", "version of python", "version of matplotlib")  # between machines that train together
REPLAY_PARTS = ("moments", "z", "loss")
# What the record says of the training of a model that was loaded.
NO_TRAINING = {"settings": {}, "epochs": 0, "stopped": None, "seconds": 0.0, "history": {}}


def plan_of(settings, seed, device, dataset):
    """All that decides the numbers of a training, {name: value}; two trainings with equal plans are the same.

    settings: a dict, as run makes it; device: what devices.describe says; dataset: a data.Dataset.
    """
    content, program = hashlib.sha256(), hashlib.sha256()
    x_train = getattr(dataset.x_train, "pixels", dataset.x_train)
    for part in (x_train, dataset.y_train, dataset.x_test, dataset.y_test):
        content.update(np.ascontiguousarray(part))
    for path in (HERE.parent / "vae_mnist.py", *sorted(HERE.glob("*.py"))):
        program.update(path.read_bytes())
    recipe = {name.replace("_", " "): value for name, value in settings["recipe"].items() if name != "name"}
    sizes = {name.replace("_", " "): value for name, value in settings.items() if name != "recipe"}
    versions = {f"version of {name}": value for name, value in device["versions"].items()}
    where = {"backend": device["backend"], "device": device["device"], "data": dataset.name}
    where["floatx"] = keras.config.floatx()
    digests = dict(zip(DIGESTS, (program.hexdigest(), content.hexdigest()), strict=True))
    return {"recipe": settings["recipe"]["name"], **where, **recipe, **sizes, "seed": seed, **versions, **digests}


def check(kept, variables):
    """Raise ValueError unless the arrays of a file, {name: array}, are such as Progress.save writes them."""
    plan, history = (json.loads(str(kept[name])) for name in ("plan", "history"))
    lengths = {len(numbers) for numbers in history.values()}
    moments = {len(kept[f"replay {name}"]) for name in REPLAY_PARTS}
    fits = len(lengths) == len(moments) == 1 and "loss" in history and np.isfinite(float(kept["seconds"]))
    fits = fits and 0 < len(history["loss"]) <= plan["epochs"]
    fits = fits and kept["order"].dtype == get_order().dtype and kept["order"].shape == get_order().shape
    for name, variable in variables.items():
        value = kept[name]
        fits = fits and value.shape == tuple(variable.shape) and value.dtype == ops.convert_to_numpy(variable).dtype
        fits = fits and np.isfinite(value).all()
    if not fits:
        raise ValueError("this is not what Progress.save writes")


class Progress(keras.callbacks.Callback):
    """Keeps a training in a file after each epoch, and stops it after the step in which it is asked to.

    output: the Path of the run's folder; plan: see plan_of; replay: the explorer.Replay that records this training.
    Hand it to `fit` as the last callback, after a call of `restore` where the training is to go on. `history` then
    holds the numbers of all finished epochs, {name: one float per epoch}, those before the cut included.
    """

    def __init__(self, output, plan, replay):
        super().__init__()
        parallel.agree({name: value for name, value in plan.items() if name not in MAY_DIFFER})
        self.path, self.plan, self.replay = output / folder.UNFINISHED, plan, replay
        self.history, self.stopped, self.seconds = {}, None, 0.0
        self.order = None  # that of the batches; of the first epoch after `restore`
        self.kept, self.saving = None, parallel.first()  # which epoch the file holds; whether the disk took all so far

    def restore(self, vae):
        """Put the state that the file holds into a VAE that was built and compiled anew; returns the epochs done.

        Raises UserError where there is none, or where it is that of another training; the VAE is then as it was.
        """
        self.set_model(vae)
        try:
            with self.path.open("rb") as file, np.load(file) as archive:  # which unpickles nothing
                kept = {name: archive[name] for name in archive.files}
            self.compare(dict(json.loads(str(kept["plan"]))))
            check(kept, self.variables())
        except FileNotFoundError as error:
            raise UserError(self.nothing_there()) from error
        except UserError:
            raise
        except Exception as error:  # a damaged archive fails in many ways
            raise UserError(f"{self.path} cannot be read: leave --resume out to train from the start.") from error
        parallel.agree({"history": str(kept["history"])})
        for name, variable in self.variables().items():
            variable.assign(kept[name])
        for name in REPLAY_PARTS:
            part = kept[f"replay {name}"]
            setattr(self.replay, name, list(part) if part.ndim > 1 else part.tolist())
        self.history, self.seconds = json.loads(str(kept["history"])), float(kept["seconds"])
        self.order = kept["order"]
        self.note_kept()
        return len(self.history["loss"])

    def compare(self, plan):
        """Raise UserError, naming the first difference, where the `plan` of a file is not that of this training."""
        for name in {**self.plan, **plan}:
            before, here = plan.get(name), self.plan.get(name)
            if before != here and (parallel.first() or name not in MAY_DIFFER):  # the plan is that of the first process
                other = "another" if name in DIGESTS else f"{before}, not {here}"
                raise UserError(
                    f"The training in {self.path} cannot go on here: its {name} is {other};"
                    " give what it was begun with, or leave --resume out."
                )

    def record(self):
        """What the record says of the training (see NO_TRAINING)."""
        epochs = len(self.history.get("loss", []))
        seconds = round(self.seconds, 1)
        return {"epochs": epochs, "stopped": self.stopped, "seconds": seconds, "history": self.history}

    def nothing_there(self):
        """Why there is nothing to resume."""
        where = self.path.parent
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            record = json.loads((where / folder.RECORD).read_text(encoding="utf-8"))
            ended = "was stopped in its first epoch" if record["stopped"] else "is finished"
            return f"The run in {where} {ended}, there is nothing to resume: leave --resume out."
        return f"There is no interrupted training in {where} that had finished an epoch: leave --resume out."

    def variables(self):
        """All variables of the model and of its optimizer, {name in the file: variable}."""
        self.model.optimizer.build(self.model.trainable_variables)
        both = [*self.model.variables, *self.model.optimizer.variables]
        return {f"variable {i}": variable for i, variable in enumerate(both)}

    def on_train_begin(self, logs=None):
        stopping.now.training = parallel.processes() == 1  # others could not know that this one stops
        self.start = time.perf_counter() - self.seconds

    def on_train_end(self, logs=None):
        stopping.now.training = False
        if self.kept:
            stopping.now.trained = f"What was learned is in {self.path}, {self.kept}: --resume goes on from there."

    def on_epoch_begin(self, epoch, logs=None):
        if self.order is not None:  # here, as Keras draws a batch before the first epoch
            set_order(self.order)
            self.order = None

    def on_train_batch_end(self, batch, logs=None):
        if stopping.now.asked and batch + 1 < self.params["steps"]:
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self.start
        if not self.model.stop_training:  # else the epoch was broken off
            for name, value in (logs or {}).items():
                self.history.setdefault(name, []).append(float(value))
            self.save()
        if stopping.now.asked:
            self.model.stop_training = True
            done = len(self.history.get("loss", []))
            self.stopped = f"stopped after epoch {done} of {self.plan['epochs']}"

    def save(self):
        """Write the state after an epoch; where the disk refuses, say so and go on without."""
        if not self.saving:
            return
        arrays = {name: ops.convert_to_numpy(variable) for name, variable in self.variables().items()}
        arrays |= {f"replay {name}": np.array(getattr(self.replay, name)) for name in REPLAY_PARTS}
        arrays |= {"plan": json.dumps(self.plan), "history": json.dumps(self.history)}
        arrays |= {"seconds": self.seconds, "order": get_order()}
        try:
            folder.write_whole(self.path, lambda file: np.savez(file, **arrays))
        except OSError as error:
            self.saving = False
            if self.kept is None:  # the file is of an earlier training
                self.path.unlink(missing_ok=True)
            print(
                f"vae_mnist: {self.path} could not be written ({folder.reason(error)}):"
                " the training goes on, and cannot be resumed if it is cut off.",
                file=sys.stderr,
            )
            return
        self.note_kept()

    def note_kept(self):
        """Let whoever ends the run early say what the file holds."""
        self.kept = f"epoch {len(self.history['loss'])} of {self.plan['epochs']}"
        stopping.now.left = f"--resume goes on after {self.kept}, which is in {self.path}"


def get_order():
    """The state of NumPy's global generator, from which JAX and PyTorch get the order of an epoch's batches.

    On TensorFlow a seed gives one order, the same in each epoch (see parts/feeding.py).
    """
    _, state, place, *_ = np.random.get_state()
    return np.append(state, np.uint32(place))


def set_order(state):
    """Put back a state that get_order returned."""
    np.random.set_state(("MT19937", state[:-1], int(state[-1])))
