"""The way of the images into the training: batch by batch, scaled to [0, 1] when their turn comes.

Keras would hold an array several times, as float32. The order of the batches is that in which it draws them. Where
several devices train, each batch is cut into even shares, and the few images that are left over have no turn.
"""

import math

import keras
import numpy as np

from parts import UserError, parallel

VALIDATION_BATCH = 1000


def even(n, what="training"):
    """How many of n images come to their turn in an epoch. Raises UserError where that is none of them."""
    devices = parallel.shares()
    if n < devices:
        raise UserError(f"{n} {what} images are fewer than the {devices} devices that would share them: give more.")
    return n - n % devices


def steps(n, batch_size):
    """How many batches an epoch of n images has."""
    return math.ceil(even(n) / batch_size)


def validation(x):
    """The arguments with which `fit` evaluates held-out images x (n, 784) after each epoch; none for None.

    On several devices, those at the end that have no even share are left out of it.
    """
    if x is None:
        return {}
    batch = range(parallel.round_up(VALIDATION_BATCH, parallel.shares()))
    x = parallel.own_share(x[: even(len(x), "held-out")])
    return {"validation_data": (x, x), "validation_batch_size": len(parallel.own_share(batch))}


def batches(x, batch_size):
    """What `fit` trains on: the pairs (x, x) of shuffled batches of images x, Images or (n, 784) float32.

    Returns a tf.data.Dataset on TensorFlow, and a keras.utils.PyDataset on JAX and PyTorch; each pass is an epoch.
    """
    if keras.backend.backend() == "tensorflow":
        return tensorflow_batches(x, batch_size)
    return Batches(x, batch_size)


class Batches(keras.utils.PyDataset):
    """The pairs (x, x) of shuffled batches of images x, in an order drawn from NumPy's global generator."""

    def __init__(self, x, batch_size):
        super().__init__()
        self.x, self.batch_size, self.order = x, batch_size, None

    def __len__(self):
        return steps(len(self.x), self.batch_size)

    def __getitem__(self, number):
        places = self.order[number * self.batch_size : (number + 1) * self.batch_size]
        x = self.x[parallel.own_share(places)]
        return x, x

    def on_epoch_begin(self):
        self.order = np.random.permutation(len(self.x))[: even(len(self.x))]


def tensorflow_batches(x, batch_size):
    """The pairs (x, x) of shuffled batches of images x as a tf.data.Dataset, which works beside the training.

    As in Keras's own, a seed gives one order, the same in each epoch. The images stay in NumPy: TensorFlow would hold
    them once more.
    """
    import tensorflow as tf

    n = even(len(x))
    full = n // batch_size

    def draw_order(_):
        indices = tf.range(len(x), dtype=tf.int64)
        return tf.random.shuffle(indices)[:n]

    def split(order):
        parts = tf.data.Dataset.from_tensor_slices(tf.reshape(order[: full * batch_size], [full, batch_size]))
        return parts.concatenate(tf.data.Dataset.from_tensors(order[full * batch_size :])) if n % batch_size else parts

    def pick(places):
        images = tf.ensure_shape(tf.numpy_function(lambda rows: x[rows], [places], x.dtype), (None, x.shape[1]))
        return images, images

    orders = tf.data.Dataset.range(1).map(draw_order).prefetch(1)
    pairs = orders.flat_map(split).map(pick)
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    options.autotune.enabled = False  # it would hold up the start of every few epochs by a second
    pairs = pairs.with_options(options).prefetch(8)
    return pairs.apply(tf.data.experimental.assert_cardinality(steps(n, batch_size)))
