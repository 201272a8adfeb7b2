"""Batches for `fit`: shuffled anew in each epoch, the same on every backend, scaled to [0, 1] one batch at a time."""

import math

import keras
import numpy as np

from seevae.basics import UserError
from seevae.images.converting import check_unit
from seevae.images.data import IMAGE_DIM, Images
from seevae.machine import devices, processes


class Batches(keras.utils.PyDataset):
    """The pairs (x, x) of batches of images x, data.Images or (n, 784) floats in [0, 1], for `fit`: float32.

    With a seed, `shuffle` gives each epoch an order that the seed and the epoch's number decide; without one, the
    images keep their order. Where several devices share a batch, each has as many images of it, and the few images
    that are left over at the end have no turn.
    Raises UserError where there are fewer images than devices, and for an x of another kind.
    """

    def __init__(self, x, batch_size, seed=None):
        super().__init__()
        x, shared_by = checked(x), devices.sharing()
        if len(x) < shared_by:
            raise UserError(f"{len(x)} images are fewer than the {shared_by} devices that would share them: give more.")
        self.x, self.seed = x, seed
        self.n = len(x) - len(x) % shared_by
        self.batch_size = devices.round_up(batch_size, shared_by)
        self.order = np.arange(self.n)

    def __len__(self):
        return math.ceil(self.n / self.batch_size)

    def __getitem__(self, number):
        places = self.order[number * self.batch_size :][: self.batch_size]
        x = self.x[processes.own_share(places)].astype("float32", copy=False)
        return x, x

    def shuffle(self, epoch):
        """Draw the order of an epoch, counted from 0."""
        self.order = np.random.default_rng((self.seed, epoch)).permutation(len(self.x))[: self.n]


def checked(x):
    """The images x themselves; raises UserError unless they are data.Images or (n, 784) floats in [0, 1]."""
    x = x if isinstance(x, Images) else np.asarray(x)
    if len(x.shape) != 2 or x.shape[1] != IMAGE_DIM:
        flat = IMAGE_DIM in (math.prod(x.shape[1:]), math.prod(x.shape))  # of many images, or of one
        advice = f"call reshape(-1, {IMAGE_DIM})" if flat else "make them 28 by 28 pixels"
        raise UserError(f"The images have shape {x.shape}, not (n, {IMAGE_DIM}): {advice}.")
    if not isinstance(x, Images):
        check_unit(x, "The images", "divide them by 255, or give data.Images(x), which does that batch by batch")
    return x


def for_fit(batches):
    """A Batches for `fit`: itself or, on TensorFlow, a tf.data.Dataset that asks it for each batch beside the training.

    In Keras's own way from a PyDataset, TensorFlow waits for each batch.
    """
    if keras.backend.backend() != "tensorflow":
        return batches
    import tensorflow as tf

    def pick(number):
        x = tf.numpy_function(lambda number: batches[number][0], [number], "float32")
        x = tf.ensure_shape(x, (None, batches.x.shape[1]))
        return x, x

    options = tf.data.Options()
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    options.autotune.enabled = False  # it would hold up the start of every few epochs by a second
    return tf.data.Dataset.range(len(batches)).map(pick).with_options(options).prefetch(8)
