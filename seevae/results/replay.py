"""How the latent plane forms while a model trains: recorded by a Keras callback, for the explorer to show again."""

import math
import os
from pathlib import Path

import keras
import numpy as np
from keras import ops

from seevae.images.classes import MOST_CLASSES
from seevae.images.reading import read_arrays
from seevae.results.explorer import packed_codes

# The arrays of a replay, as reading.read_arrays wants them declared; n images have codes z (moments, n, 2).
REPLAY_PARTS = {"moments": ("f", (None,)), "z": ("f", (None, None, None)), "loss": ("f", (None,))}


class Replay(keras.callbacks.Callback):
    """Records the codes of some held-out images while a model trains: the start, ten moments of the first epoch,
    then the end of each epoch.

    x (n, 784) and labels (n,): the images to follow, 1,000 are plenty. The loss at the end of an epoch is the
    validation loss of `fit`, where there is one; else `evaluate` is asked, about the first 250 images: a function of
    (model, x) that returns a dict with the "elbo" in nats per image. Hand a Replay to `fit` as a callback, and
    afterwards to `page`; `save` and `load` keep it in a file.
    """

    MOMENTS = 10  # in the first epoch
    LOSS_IMAGES = 250  # enough for a curve, and cheap beside an epoch

    def __init__(self, x, labels, evaluate):
        super().__init__()
        self.x, self.labels, self.evaluate = x, labels, evaluate
        self.moments, self.z, self.loss = [], [], []

    def on_train_begin(self, logs=None):
        if not self.moments:  # else a training is resumed
            self.record(0.0)

    def on_train_batch_end(self, batch, logs=None):
        steps = self.params["steps"]
        if batch + 1 >= steps:
            return  # the end of an epoch is recorded by on_epoch_end
        if (batch + 1) * self.MOMENTS // steps > math.floor(self.moments[-1] * self.MOMENTS + 1e-6):
            if keras.backend.backend() == "jax":
                self.model.jax_state_sync()  # until then the layers hold the weights of the epoch's start
            self.record((batch + 1) / steps)

    def on_epoch_end(self, epoch, logs=None):
        if not self.model.stop_training:  # else the epoch was broken off
            self.record(epoch + 1.0, (logs or {}).get("val_loss"))

    def record(self, moment, loss=None):
        """Keep what the model makes of the images now; moment: epochs since the start; loss: where it is known."""
        if loss is None:
            loss = -self.evaluate(self.model, self.x[: self.LOSS_IMAGES])["elbo"]
        z_mean, _ = self.model.get_layer("encoder")(self.x)
        self.moments.append(moment)
        self.z.append(ops.convert_to_numpy(z_mean))
        self.loss.append(float(loss))

    def save(self, path):
        """Write the record to a small .npz file, for `load`."""
        np.savez_compressed(
            path, moments=self.moments, z=np.array(self.z, "float16"), loss=self.loss, labels=self.labels
        )

    @classmethod
    def load(cls, path):
        """Read what `save` wrote. Raises OSError, ValueError, KeyError or MemoryError for any other file."""
        record = read_arrays(path, REPLAY_PARTS | {"labels": ("iu", (None,))}, at_most=2**28)
        replay = cls(None, record["labels"], None)
        replay.moments, replay.loss = record["moments"].tolist(), record["loss"].tolist()
        replay.z = list(record["z"].astype("float32"))
        n, labels = len(replay.moments), replay.labels
        if not n or {n} != {len(replay.loss), len(replay.z)} or record["z"].shape[1:] != (len(labels), 2):
            raise ValueError(f"{path} is not a record of a training: its parts differ in length.")
        if labels.min() < 0 or labels.max() >= MOST_CLASSES:
            raise ValueError(f"{path} is not a record of a training: its labels are none.")
        return replay

    def contents(self):
        """The record as the page wants it; codes (moments, n, 2)."""
        return {**packed_codes(np.array(self.z), self.labels), "moments": self.moments, "losses": self.loss}


def load_replay(model_path: str | os.PathLike) -> Replay | None:
    """The Replay in the folder of a trained model, or None where there is none that can be read."""
    try:
        return Replay.load(Path(model_path).with_name("replay.npz"))
    except (OSError, ValueError, KeyError, MemoryError):
        return None
