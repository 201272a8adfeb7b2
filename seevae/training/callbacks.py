"""What watches a training: its seeds, its numbers, and the KL loss in its logs. All are Keras callbacks."""

import keras
import numpy as np
from keras import ops

from seevae.basics import UserError
from seevae.machine import devices

DIVERGED = "Training diverged{}: choose a smaller --learning-rate, or a larger --batch-size."


class SeedEachEpoch(keras.callbacks.Callback):
    """Draws the order of the batches and all noise of an epoch from the seed and the epoch's number, and nothing else.

    So an epoch is the same whether or not the training was cut off before it. batches: a batches.Batches.
    """

    def __init__(self, batches, seed):
        super().__init__()
        self.batches, self.seed = batches, seed

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.shuffle(epoch)
        states = [v for v in self.model.non_trainable_variables if v.path.endswith("seed_generator_state")]
        for number, state in enumerate(states):
            devices.assign_on_each(state, lambda device, number=number: noise_state(self.seed, epoch, number, device))


def noise_state(*key):
    """The state at which a keras.random.SeedGenerator begins an epoch, (2,) integers below 2^30, from whole numbers.

    Other numbers give a state that has nothing to do with it: neighbouring ones would share draws (on PyTorch, the sum
    of both numbers is the seed of a draw, and each draw adds one).
    """
    return np.random.SeedSequence(key).generate_state(2) >> 2


class StopIfDiverged(keras.callbacks.Callback):
    """Raises UserError as soon as the loss, the held-out loss or a weight is NaN or infinite, at whichever step."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        self.check("loss", (logs or {}).get("loss", 0.0))

    def on_epoch_end(self, epoch, logs=None):
        self.check("held-out loss", (logs or {}).get("val_loss", 0.0))
        for weight in self.model.trainable_variables:  # the last step of all may have spoiled them
            self.check("weights", ops.convert_to_numpy(weight))

    def check(self, what, values):
        """Raise UserError unless all values, a number or an array, are finite."""
        if not np.isfinite(values).all():
            where = f" in epoch {self.epoch}, its {what} became NaN or infinite"
            raise UserError(DIVERGED.format(where))


class KLLossInLogs(keras.callbacks.Callback):
    """Puts `kl_loss` and `val_kl_loss` into the logs of batches and epochs, for later callbacks and the history.

    The loss is reconstruction_loss + kl_loss, so the difference of the two that Keras tracks is the KL divergence.
    """

    def on_train_batch_end(self, batch, logs=None):
        for which in ("", "val_"):
            if f"{which}loss" in (logs or {}):
                logs[f"{which}kl_loss"] = logs[f"{which}loss"] - logs[f"{which}reconstruction_loss"]

    on_epoch_end = on_train_batch_end
