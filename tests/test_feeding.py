"""The way of the images into the training: each image once an epoch, scaled, in Keras's order."""

import numpy as np
import pytest
from conftest import TWO_EPOCHS, build
from keras import ops

import vae_mnist
from parts import feeding
from parts.data import Images

PIXELS = np.random.default_rng(0).integers(0, 256, (130, 784)).astype("uint8")
WHOLE = (PIXELS / 255).astype("float32")


@pytest.mark.parametrize("x", [Images(PIXELS), WHOLE], ids=["bytes", "floats"])
@pytest.mark.parametrize("make", [feeding.tensorflow_batches, feeding.Batches])
def test_an_epoch_is_each_image_once_beside_itself(make, x):
    vae_mnist.keras.utils.set_random_seed(0)
    batches = make(x, 50)
    if make is feeding.Batches:
        batches.on_epoch_begin()
        parts = [batches[number] for number in range(len(batches))]
    else:
        parts = [tuple(map(ops.convert_to_numpy, pair)) for pair in batches]
    assert [len(images) for images, _ in parts] == [50, 50, 30]
    assert len(batches) == 3
    images, targets = map(np.concatenate, zip(*parts, strict=True))
    np.testing.assert_array_equal(images, targets)
    assert images.dtype == np.float32
    assert not (images == WHOLE).all(), "shuffled"
    np.testing.assert_array_equal(images[np.lexsort(images.T)], WHOLE[np.lexsort(WHOLE.T)])


def test_a_training_is_that_of_keras_own_arrays():
    """The same seed, the same order, the same last bits as fit(x, x), of bytes as of floats."""
    histories = []
    for x in (None, WHOLE, Images(PIXELS)):
        vae_mnist.keras.utils.set_random_seed(0)
        vae = build(TWO_EPOCHS, 130, hidden_dim=4)
        if x is None:
            histories.append(vae.fit(WHOLE, WHOLE, epochs=2, batch_size=100, verbose=0).history["loss"])
        else:
            histories.append(vae_mnist.train(vae, x, None, TWO_EPOCHS, verbose=0)["loss"])
    assert histories[0] == histories[1] == histories[2]
