"""The batches: each image once an epoch, scaled, in an order that the seed and the epoch decide on every backend."""

import itertools
import tracemalloc

import keras
import numpy as np
import pytest
from conftest import learn

from seevae.basics import UserError
from seevae.images.data import Images
from seevae.training.batches import Batches
from seevae.training.callbacks import noise_state
from seevae.training.recipes import RECIPES

PIXELS = np.random.default_rng(0).integers(0, 256, (130, 784)).astype("uint8")
WHOLE = (PIXELS / 255).astype("float32")


@pytest.mark.parametrize("x", [Images(PIXELS), WHOLE], ids=["bytes", "floats"])
def test_an_epoch_is_each_image_once_beside_itself(x):
    batches = Batches(x, 50, seed=0)
    batches.shuffle(epoch=3)
    parts = [batches[number] for number in range(len(batches))]
    assert [len(images) for images, _ in parts] == [50, 50, 30]
    images, targets = map(np.concatenate, zip(*parts, strict=True))
    np.testing.assert_array_equal(images, targets)
    assert images.dtype == np.float32
    assert not (images == WHOLE).all(), "shuffled"
    np.testing.assert_array_equal(images[np.lexsort(images.T)], WHOLE[np.lexsort(WHOLE.T)])


OTHERS = {
    "bytes": (PIXELS, r"dtype uint8, not floats from 0 to 1: .* divide them by 255, or give data\.Images"),
    "0 and 1": (PIXELS > 99, "dtype bool, not floats"),
    "up to 255": (255 * WHOLE, "values from 0 to 255, and must be from 0 to 1: divide them by 255, or give"),
    "below 0": (2 * WHOLE - 1, "values from -1 to 1, and must be from 0 to 1: scale them"),
    "NaN": (np.where(PIXELS == 7, np.nan, WHOLE), "values from nan to nan"),
    "infinity": (np.where(PIXELS == 7, np.inf, WHOLE), "values from 0 to inf"),
    "squares": (WHOLE.reshape(-1, 28, 28), r"shape \(130, 28, 28\), not \(n, 784\): call reshape\(-1, 784\)"),
    "one image": (WHOLE[0], r"shape \(784,\), not \(n, 784\): call reshape\(-1, 784\)"),
    "another size": (WHOLE[:, :100], r"shape \(130, 100\), not \(n, 784\): make them 28 by 28"),
    "squares in bytes": (Images(PIXELS.reshape(-1, 28, 28)), r"shape .* call reshape\(-1, 784\)"),
}


@pytest.mark.parametrize(("x", "sentence"), OTHERS.values(), ids=OTHERS)
def test_other_images_are_refused_in_one_sentence(x, sentence):
    with pytest.raises(UserError, match=f"^The images have {sentence}.*\\.$"):
        Batches(x, 50)


def test_looking_at_the_images_makes_no_copy_of_them():
    """Two million rows would be 6 GB as float32; here all are the same row, which takes no room."""
    for x in (Images(np.broadcast_to(PIXELS[:1], (2_000_000, 784))), np.broadcast_to(WHOLE[:1], (100_000, 784))):
        tracemalloc.start()
        batches = Batches(x, 50)
        assert tracemalloc.get_traced_memory()[1] < 9 * len(x), "a place in the order takes 8 bytes"
        tracemalloc.stop()
        assert batches.x is x


def test_floats_of_another_size_come_as_float32():
    (x, _) = Batches(WHOLE.astype("float64"), 50)[0]
    np.testing.assert_array_equal(x, WHOLE[:50], strict=True)


@pytest.mark.parametrize(("size", "number"), [(50, 3), (131, 1)])
def test_held_out_images_keep_their_order(size, number):
    batches = Batches(WHOLE, size)
    assert len(batches) == number
    np.testing.assert_array_equal(np.concatenate([batches[number][0] for number in range(len(batches))]), WHOLE)


def test_every_epoch_trains_on_a_new_order(monkeypatch):
    """What `fit` really draws, against NumPy. A backend may look at some batches before the first epoch."""
    rows, drawn, draw = np.zeros((70, 784), "float32"), [], Batches.__getitem__
    rows[:, 0] = np.arange(70) / 70

    def noted(batches, number):
        pair = draw(batches, number)
        drawn.extend((70 * pair[0][:, 0]).round().astype(int).tolist())
        return pair

    monkeypatch.setattr(Batches, "__getitem__", noted)
    mark = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: drawn.append("epoch"))
    learn(RECIPES["author"]._replace(epochs=3, batch_size=32), rows, None, [mark], seed=5, hidden_dim=4)
    starts = [place for place, number in enumerate(drawn) if number == "epoch"]
    epochs = [drawn[start + 1 :][:70] for start in starts]
    assert epochs == [np.random.default_rng((5, epoch)).permutation(70).tolist() for epoch in range(3)]


def test_noise_starts_elsewhere_for_each_epoch_generator_and_device():
    keys = [*itertools.product((0, 1), (0, 1, 70_000), (0, 1), (0, 1))]
    states = [noise_state(*key) for key in keys]
    assert len({int(state[0]) for state in states}) == len({int(state.sum()) for state in states}) == len(keys)
    assert max(state.max() for state in states) < 2**30, "what a 32-bit counter can go on from"
    np.testing.assert_array_equal(states[0], noise_state(*keys[0]))
