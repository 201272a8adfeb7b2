"""The way of the images into the training: batch by batch, scaled to [0, 1] when their turn comes.

Keras would hold an array several times, as float32. The order of the batches is that in which it draws them.
"""

import math

import keras
import numpy as np

from parts.data import Images, scaled


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
        return math.ceil(len(self.x) / self.batch_size)

    def __getitem__(self, number):
        x = self.x[self.order[number * self.batch_size : (number + 1) * self.batch_size]]
        return x, x

    def on_epoch_begin(self):
        self.order = np.random.permutation(len(self.x))


def tensorflow_batches(x, batch_size):
    """The pairs (x, x) of shuffled batches of images x as a tf.data.Dataset, which works beside the training.

    As in Keras's own, a seed gives one order, the same in each epoch. Pixels are scaled by a table: a division would be
    made a multiplication, with other last bits.
    """
    import tensorflow as tf

    n, full = len(x), len(x) // batch_size

    def draw_order(_):
        indices = tf.range(n, dtype=tf.int64)
        return tf.random.shuffle(indices)

    def split(order):
        parts = tf.data.Dataset.from_tensor_slices(tf.reshape(order[: full * batch_size], [full, batch_size]))
        return parts.concatenate(tf.data.Dataset.from_tensors(order[full * batch_size :])) if n % batch_size else parts

    def pick(places, images):
        images = tf.gather(images, places)
        if isinstance(x, Images):
            images = tf.gather(scaled(np.arange(256, dtype="uint8")), tf.cast(images, tf.int32))
        return images, images

    orders = tf.data.Dataset.range(1).map(draw_order).prefetch(1)
    images = tf.data.Dataset.from_tensors(x.pixels if isinstance(x, Images) else x).repeat()
    pairs = tf.data.Dataset.zip((orders.flat_map(split), images)).map(pick, num_parallel_calls=tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.experimental_external_state_policy = tf.data.experimental.ExternalStatePolicy.IGNORE
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    pairs = pairs.with_options(options).prefetch(tf.data.AUTOTUNE)
    return pairs.apply(tf.data.experimental.assert_cardinality(math.ceil(n / batch_size)))
