"""The recipes: initial weights, stochastic binarisation, the optimizer."""

import keras
import numpy as np
import pytest
from conftest import build, encode, learn
from keras import ops

import vae_mnist
from seevae.basics import UserError
from seevae.training.input_noise import StochasticBinarisation
from seevae.training.optimizers import check_learning_rate, make_optimizer
from seevae.training.recipes import RECIPES


def test_binarisation_draws_pixels_in_training_only():
    layer = StochasticBinarisation(seed=1)
    x = np.repeat(np.array([[0.0, 0.2, 0.9, 1.0]], "float32"), 50_000, axis=0)
    drawn, again = (ops.convert_to_numpy(layer(x, training=True)) for _ in range(2))
    assert set(np.unique(drawn)) == {0, 1}
    assert (drawn != again).any(), "fresh draws at each call"
    np.testing.assert_allclose(drawn.mean(axis=0), x[0], atol=4 * 0.5 / np.sqrt(50_000))
    assert drawn[:, [0, 3]].tolist() == x[:, [0, 3]].tolist(), "black stays black, white stays white"
    np.testing.assert_array_equal(ops.convert_to_numpy(layer(x)), x)


@pytest.mark.slow
def test_binarisation_draws_the_pixels_of_an_image_independently():
    """Of 500 pixels of grey 0.5, Binomial(500, 0.5) are white: over many calls, the counts have its variance."""
    layer = StochasticBinarisation(seed=2)
    x = np.full((1, 500), 0.5, "float32")
    counts = np.array([ops.convert_to_numpy(layer(x, training=True)).sum() for _ in range(600)])
    variance = 500 * 0.5 * 0.5
    assert counts.mean() == pytest.approx(250, abs=4 * np.sqrt(variance / 600))
    assert counts.var() == pytest.approx(variance, rel=4 * np.sqrt(2 / 600))


def test_spread_weights_let_the_decoder_bend_all_over_the_prior():
    """The distance of each relu unit's line w.z + b = 0 from the origin is |b| / |w|."""
    keras.utils.set_random_seed(0)
    for recipe in RECIPES.values():
        vae = vae_mnist.build_vae(recipe)
        kernel, bias = vae.get_layer("decoder").get_layer("decoder_h").get_weights()
        distance = np.abs(bias) / np.linalg.norm(kernel, axis=0)
        encoder_h = vae.get_layer("encoder").get_layer("encoder_h").kernel
        if recipe.spread_weights:
            assert np.abs(kernel).max() == pytest.approx(np.sqrt(3 * 8 / 2), rel=0.02)
            assert 0.2 < np.median(distance) < 1 < distance.max()
            assert np.abs(encoder_h).max() == pytest.approx(np.sqrt(6 / 784), rel=0.02), "He"
        else:
            assert distance.max() == 0
            assert np.abs(encoder_h).max() == pytest.approx(np.sqrt(6 / (784 + 256)), rel=0.02), "Glorot, Keras's own"


def test_spread_weights_follow_the_seed():
    def weights(seed):
        keras.utils.set_random_seed(seed)
        return vae_mnist.build_vae().get_layer("decoder").get_layer("decoder_h").get_weights()[0]

    np.testing.assert_array_equal(weights(0), weights(0))
    assert np.abs(weights(0) - weights(1)).max() > 0.1


def test_author_trains_as_in_his_notebook():
    author = make_optimizer(RECIPES["author"], steps=1000)
    assert type(author).__name__ == "Adam"
    assert author.get_config() == keras.optimizers.Adam(1e-3, name=author.name).get_config()


def test_default_learning_rate_falls_linearly_to_zero():
    recipe = RECIPES["default"]
    config = make_optimizer(recipe, steps=1000).get_config()
    schedule = keras.optimizers.schedules.deserialize(config["learning_rate"])
    values = [float(schedule(step)) / recipe.learning_rate for step in (0, 500, 1000)]
    assert values == pytest.approx([1, 0.5, 0], abs=1e-6)


# Nadam's first step, in learning rates, whatever the gradient: momentum 0.9 (1 - 0.96^t / 2) at steps 1 and 2, and a
# running mean of a tenth of the gradient (Dozat, 2016, algorithm 8, in Keras's schedule).
U_1, U_2 = 0.9 * (1 - 0.96 / 2), 0.9 * (1 - 0.96**2 / 2)
FIRST_STEP = U_2 * 0.1 / (1 - U_1 * U_2) + (1 - U_1) / (1 - U_1)


def test_optimizers_forget_gradients_as_fast_as_the_recipe_says():
    for recipe in RECIPES.values():
        assert make_optimizer(recipe._replace(beta_2=0.5), steps=10).get_config()["beta_2"] == 0.5


def test_a_step_of_the_heads_is_shorter(sample):
    recipe = RECIPES["default"]._replace(epochs=1, batch_size=500, learning_rate=1e-3, linear_decay=False)
    vae = build(recipe, 500)
    before = {weight.path: ops.convert_to_numpy(weight) for weight in vae.trainable_weights}
    vae_mnist.train(vae, sample.x_train[:500], None, recipe, verbose=0)
    moved = {w.path: np.abs(ops.convert_to_numpy(w) - before[w.path]).max() for w in vae.trainable_weights}
    assert len(moved) == 10
    for path, distance in moved.items():
        share = recipe.head_step if path.startswith(("z_mean", "z_log_var")) else 1.0
        assert distance == pytest.approx(share * FIRST_STEP * 1e-3, rel=1e-2), path


def test_a_training_longer_than_its_schedule_is_refused():
    """A schedule of 100 steps; a training that was cut off after 60 of them has 40 left."""
    optimizer = make_optimizer(RECIPES["default"], steps=100)
    spent = "has run out"
    for done, steps, sentence in ((100, 1, spent), (101, 1, spent), (60, 41, "runs out after 40 of 41")):
        optimizer.iterations.assign(done)
        with pytest.raises(UserError, match=f"learning rate {sentence}"):
            check_learning_rate(optimizer, steps)
    for done, steps in ((0, 100), (60, 40), (99, 1), (100, 0)):
        optimizer.iterations.assign(done)
        check_learning_rate(optimizer, steps)
    steady = make_optimizer(RECIPES["author"], steps=1)
    check_learning_rate(steady, 10**9, [keras.callbacks.ReduceLROnPlateau()])


def test_an_unknown_optimizer_is_an_error():
    with pytest.raises(ValueError, match="'sgd'"):
        make_optimizer(RECIPES["default"]._replace(optimizer="sgd"), steps=10)


def test_recipes_build_the_same_network(sample):
    """A recipe changes the training alone: the same weights give the same codes."""
    ours, author = (vae_mnist.build_vae(recipe) for recipe in RECIPES.values())
    assert [w.shape for w in ours.trainable_weights] == [w.shape for w in author.trainable_weights]
    for mine, his in zip(ours.trainable_weights, author.trainable_weights, strict=True):
        his.assign(ops.convert_to_numpy(mine))
    x = sample.x_test[:9]
    np.testing.assert_allclose(encode(ours, x), encode(author, x), rtol=1e-6)


class Spoil(keras.callbacks.Callback):
    """Puts a number into one weight at the end of a step."""

    def __init__(self, value, epoch, step):
        super().__init__()
        self.value, self.epoch, self.step = value, epoch, step

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch + 1

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.step):
            bias = self.model.get_layer("decoder").get_layer("decoder_output").bias
            bias.assign(np.full(bias.shape, self.value))


@pytest.mark.parametrize(
    ("value", "epoch", "step", "held_out", "what"),
    [
        (np.nan, 1, 0, 50, "loss"),
        (np.nan, 2, 0, 50, "loss"),
        (np.nan, 2, 1, 50, "held-out loss"),  # the last step of all: its own loss was good
        (np.nan, 2, 1, 0, "weights"),
        (np.inf, 2, 1, 0, "weights"),  # it makes a probability of 1, whose loss Keras bounds
    ],
)
def test_divergence_at_any_step_is_told_with_its_epoch(value, epoch, step, held_out, what, sample, eagerly):
    """Two epochs of two steps."""
    x_test, spoil = sample.x_test[:held_out] if held_out else None, [Spoil(value, epoch, step)]
    sentence = f"diverged in epoch {epoch}, its {what} became NaN or infinite: .*--learning-rate"
    with pytest.raises(UserError, match=sentence):
        learn(RECIPES["author"]._replace(epochs=2), sample.x_train[:200], x_test, spoil, hidden_dim=4)
