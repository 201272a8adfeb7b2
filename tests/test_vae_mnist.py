"""The script: its network, its cost, its training, its ELBO, and what comes back after saving."""

import json
import math

import keras
import numpy as np
import pytest
from conftest import TWO_EPOCHS, build, decode, encode, learn
from keras import layers, ops
from lab.gradients import gradient

import vae_mnist
from seevae.basics import UserError
from seevae.run.options import LARGEST
from seevae.training.recipes import RECIPES
from vae_mnist import kl_divergence, reconstruction_loss, sample_latent

ENCODER_PARAMETERS = (784 * 256 + 256) + 2 * (256 * 2 + 2)
DECODER_PARAMETERS = (2 * 256 + 256) + (256 * 784 + 784)
STILL = TWO_EPOCHS._replace(learning_rate=1e-30)  # weights that do not move


# -- The network -----------------------------------------------------------------------------------------------------


def test_structure_is_that_of_the_post():
    vae = vae_mnist.build_vae()
    encoder, decoder = vae.get_layer("encoder"), vae.get_layer("decoder")
    assert isinstance(vae, keras.Model)
    assert type(vae) is type(keras.Model(vae.inputs, vae.outputs)), "a functional model, not a subclass"
    assert [type(layer).__name__ for layer in vae.layers] == [
        "InputLayer",
        "StochasticBinarisation",
        "Functional",
        "AddKLLoss",
        "Lambda",
        "Functional",
    ]
    assert [layer.name for layer in encoder.layers] == ["encoder_x", "encoder_h", "z_mean", "z_log_var"]
    assert [layer.name for layer in decoder.layers] == ["z", "decoder_h", "decoder_output"]
    assert encoder.get_layer("encoder_h").activation is keras.activations.relu
    assert decoder.get_layer("decoder_h").activation is keras.activations.relu
    assert decoder.get_layer("decoder_output").activation is keras.activations.sigmoid
    assert encoder.count_params() == ENCODER_PARAMETERS
    assert decoder.count_params() == DECODER_PARAMETERS
    assert sum(np.prod(w.shape) for w in vae.trainable_weights) == ENCODER_PARAMETERS + DECODER_PARAMETERS


def test_one_lambda_one_added_loss_one_seed_generator():
    vae = vae_mnist.build_vae(RECIPES["author"])
    vae(np.zeros((4, 784), "float32"))
    lambdas = [layer for layer in vae._flatten_layers() if isinstance(layer, layers.Lambda)]
    assert len(lambdas) == 1
    assert len(vae.losses) == 1
    assert len(vae.non_trainable_variables) == 1, "the state of the one seed generator"


def test_sizes_are_arguments():
    vae = vae_mnist.build_vae(latent_dim=5, hidden_dim=7)
    encoder, decoder = 784 * 7 + 7 + 2 * (7 * 5 + 5), 5 * 7 + 7 + 7 * 784 + 784
    assert sum(np.prod(w.shape) for w in vae.trainable_weights) == encoder + decoder
    assert vae(np.zeros((3, 784), "float32")).shape == (3, 784)


def test_decoder_generates_probabilities_alone():
    images = decode(vae_mnist.build_vae(), np.random.default_rng(0).standard_normal((6, 2)))
    assert images.shape == (6, 784)
    assert 0 < images.min() < images.max() < 1


def test_sample_has_the_mean_and_spread_of_q():
    z_mean, z_log_var = ops.full((200_000, 2), 1.5), ops.full((200_000, 2), math.log(0.25))
    z = ops.convert_to_numpy(sample_latent((z_mean, z_log_var), keras.random.SeedGenerator(0)))
    assert z.mean(axis=0) == pytest.approx([1.5, 1.5], abs=4 * 0.5 / math.sqrt(200_000))
    assert z.std(axis=0) == pytest.approx([0.5, 0.5], abs=4 * 0.5 / math.sqrt(2 * 200_000))
    assert np.corrcoef(z.T)[0, 1] == pytest.approx(0, abs=4 / math.sqrt(200_000))


def test_sample_is_fresh_at_each_call_and_repeats_from_the_seed():
    q = (ops.zeros((5, 2)), ops.zeros((5, 2)))
    rng = keras.random.SeedGenerator(3)
    first, second = sample_latent(q, rng), sample_latent(q, rng)
    again = sample_latent(q, keras.random.SeedGenerator(3))
    assert np.abs(ops.convert_to_numpy(first - second)).min() > 0
    np.testing.assert_array_equal(ops.convert_to_numpy(first), ops.convert_to_numpy(again))


def test_gradient_passes_through_the_sample_to_q():
    q = ops.convert_to_tensor([[[0.3, -2.0]], [[-1.0, 0.5]]])  # z_mean and z_log_var, each (1, 2)
    by_mean, by_log_var = ops.convert_to_numpy(gradient(lambda q: ops.sum(draw(q)), q))
    np.testing.assert_allclose(by_mean, [[1, 1]])  # dz / dz_mean = 1
    by_hand = 0.5 * ops.convert_to_numpy(draw(q) - q[0])  # dz / dz_log_var = sigma * epsilon / 2
    np.testing.assert_allclose(by_log_var, by_hand, rtol=1e-5)


def draw(q):
    """The draw of z that the seed 1 gives."""
    return sample_latent((q[0], q[1]), keras.random.SeedGenerator(1))


def test_reconstruction_alone_moves_the_encoder(sample):
    vae, x = vae_mnist.build_vae(), ops.convert_to_tensor(sample.x_test[:50])
    kernel = vae.get_layer("encoder").get_layer("encoder_h").kernel

    def loss_with(value):
        with keras.StatelessScope([(kernel, value)]):
            return ops.mean(reconstruction_loss(x, vae(x, training=True)))

    assert np.linalg.norm(ops.convert_to_numpy(gradient(loss_with, ops.copy(kernel.value)))) > 0


# -- The cost --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mean", "variance", "nats"),
    [((0, 0), 1, 0), ((1, 2), 1, (1**2 + 2**2) / 2), ((0,), 4, (4 - 1 - math.log(4)) / 2)],
    ids=["prior", "shifted", "scaled"],
)
def test_kl_in_closed_form(mean, variance, nats):
    q = ops.array([mean], "float32"), ops.full((1, len(mean)), math.log(variance))
    assert ops.convert_to_numpy(kl_divergence(*q)) == pytest.approx([nats])


def test_kl_against_monte_carlo():
    z_mean, z_log_var = np.array([0.7, -1.2]), np.array([-1.5, 0.4])
    sigma = np.exp(z_log_var / 2)
    epsilon = np.random.default_rng(0).standard_normal((400_000, 2))
    z = z_mean + sigma * epsilon
    log_ratio = np.sum(-0.5 * epsilon**2 - np.log(sigma) + 0.5 * z**2, axis=-1)  # log q(z) - log p(z)
    standard_error = log_ratio.std() / math.sqrt(len(z))
    closed_form = float(kl_divergence(ops.array(z_mean[None]), ops.array(z_log_var[None]))[0])
    assert closed_form == pytest.approx(log_ratio.mean(), abs=4 * standard_error)


@pytest.mark.parametrize(
    ("pixel", "probability", "nats"),
    [
        (1.0, 0.25, 784 * math.log(4)),
        (0.0, 0.5, 784 * math.log(2)),
        (0.3, 0.2, 784 * -(0.3 * math.log(0.2) + 0.7 * math.log(0.8))),  # a grey pixel
    ],
)
def test_reconstruction_is_a_sum_over_pixels_for_each_image(pixel, probability, nats):
    loss = reconstruction_loss(ops.full((2, 784), pixel), ops.full((2, 784), probability))
    assert ops.convert_to_numpy(loss) == pytest.approx([nats, nats], rel=1e-5)


def kl_in_numpy(vae, x):
    """KL(q(z|x) || N(0, I)) of each image, by NumPy alone; (n,), nats."""
    z_mean, z_log_var = encode(vae, x)
    return np.sum(0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var), axis=-1)


def test_added_loss_is_the_mean_kl_of_the_batch(trained, sample):
    vae, _ = trained
    x = sample.x_test[:7]
    vae(x)
    assert float(vae.losses[0]) == pytest.approx(kl_in_numpy(vae, x).mean(), rel=1e-4)


# -- Training --------------------------------------------------------------------------------------------------------


def test_noise_is_fresh_at_every_training_step(sample):
    """With weights that do not move and the same batch at each step, only noise can change the loss."""
    same_batch = np.repeat(sample.x_train[:1], 60, axis=0)
    _, history = learn(STILL._replace(batch_size=60), same_batch)
    assert history["reconstruction_loss"][0] != history["reconstruction_loss"][1]
    assert np.ptp(history["kl_loss"]) == pytest.approx(0, abs=1e-3)


def train_from(seed, sample):
    keras.utils.set_random_seed(seed)
    recipe = RECIPES["default"]._replace(epochs=2)
    return learn(recipe, sample.x_train[:300], sample.x_test[:100], hidden_dim=8, seed=seed)[1]


def test_the_training_step_is_traced_once(sample, monkeypatch):
    """TensorFlow traces a step again that has made variables: they are all there when it begins."""
    traced = []
    step = keras.Model.train_step
    monkeypatch.setattr(keras.Model, "train_step", lambda vae, *data: traced.append(vae) or step(vae, *data))
    learn(RECIPES["default"]._replace(epochs=1), sample.x_train[:200], hidden_dim=4)
    assert len(traced) == 1


def test_same_seed_same_history_and_another_seed_another(sample):
    last = LARGEST["seed"]
    first = train_from(last, sample)
    assert train_from(last, sample) == first
    assert train_from(1, sample)["loss"] != first["loss"]


def test_training_learns(trained):
    _, history = trained
    for prefix in ("", "val_"):
        first, second = history[prefix + "loss"]
        assert second < first < 784 * np.log(2), "better than a coin for each pixel, and learning"


@pytest.mark.parametrize(
    ("images", "steps", "a_call"),
    [
        (100, 10, 1),
        (405, 41, 4),  # 10 calls of 4 steps, and one of the last 5 images
    ],
)
def test_history_holds_the_closed_form_kl_of_all_images(images, steps, a_call, trained, sample):
    """With weights that do not move, in batches of 10. Of 405 images, a mean of batch means would differ."""
    x, recipe = sample.x_train[:images], STILL._replace(batch_size=10)
    vae = build(recipe, images)
    vae.set_weights(trained[0].get_weights())
    history = vae_mnist.train(vae, x, x[:50], recipe, verbose=0)
    assert vae.steps_per_execution == a_call
    assert int(vae.optimizer.iterations) == 2 * steps
    kl = kl_in_numpy(vae, x)
    assert history["kl_loss"] == pytest.approx([kl.mean()] * 2, abs=1e-3)
    assert history["val_kl_loss"] == pytest.approx([kl[:50].mean()] * 2, abs=1e-3)
    if images % 10:
        batch_means = [kl[start : start + 10].mean() for start in range(0, images, 10)]
        assert abs(np.mean(batch_means) - kl.mean()) > 5e-3


class Spy(keras.callbacks.Callback):
    """Keeps the names of the numbers that a callback of one's own sees."""

    def __init__(self):
        super().__init__()
        self.seen = {"batch": set(), "epoch": set()}

    def on_train_batch_end(self, batch, logs=None):
        self.seen["batch"] |= set(logs)

    def on_epoch_end(self, epoch, logs=None):
        self.seen["epoch"] |= set(logs)


def test_callbacks_of_ones_own_see_every_number(sample, eagerly):
    spy = Spy()
    _, history = learn(STILL, sample.x_train[:200], sample.x_test[:50], callbacks=[spy], hidden_dim=4)
    assert spy.seen["batch"] == {"loss", "reconstruction_loss", "kl_loss"}
    assert spy.seen["epoch"] == set(history) == spy.seen["batch"] | {"val_" + name for name in spy.seen["batch"]}


def test_keras_own_callbacks_work_beside_ours(sample, tmp_path, eagerly):
    """Nothing gets better by 1e9 nats: EarlyStopping ends after two epochs, and each epoch halves the rate."""
    calls = keras.callbacks
    never = {"monitor": "val_loss", "min_delta": 1e9}
    checkpoint = calls.ModelCheckpoint(tmp_path / "best.keras", monitor="val_loss", save_best_only=True)
    halve = calls.ReduceLROnPlateau(factor=0.5, patience=1, **never)
    stop = calls.EarlyStopping(patience=2, **never)
    x, x_test = sample.x_train[:100], sample.x_test[:50]
    steady = RECIPES["default"]._replace(linear_decay=False, epochs=9)
    vae, history = learn(steady, x, x_test, [halve, stop, checkpoint], hidden_dim=4)
    assert len(history["loss"]) == 3
    assert history["learning_rate"] == pytest.approx([0.01, 0.01, 0.005]), "what each epoch had"
    assert float(vae.optimizer.learning_rate) == pytest.approx(0.0025)
    assert vae_mnist.load_vae(tmp_path / "best.keras").count_params() == vae.count_params()
    with pytest.raises(UserError, match=r"ReduceLROnPlateau cannot set .* recipe._replace\(linear_decay=False\)\.$"):
        learn(steady._replace(linear_decay=True), x, x_test, [halve], hidden_dim=4)


def test_binarised_input_leaves_the_target_clean(eagerly):
    """An image of grey 0.5 everywhere: with a binarised target too, no decoder could predict it as well."""
    recipe = RECIPES["default"]._replace(epochs=1, learning_rate=1e-30)
    x = np.full((100, 784), 0.5, "float32")
    vae = build(recipe, len(x))
    for weight in vae.trainable_weights:
        weight.assign(np.zeros(weight.shape))
    history = vae_mnist.train(vae, x, None, recipe, verbose=0)
    assert history["reconstruction_loss"][0] == pytest.approx(784 * np.log(2), rel=1e-6)


# -- The held-out ELBO -----------------------------------------------------------------------------------------------


def test_elbo_is_a_sum_over_all_images_divided_by_their_number(trained, sample):
    """1,250 images, whose last batch is not full: a mean of batch means would differ."""
    vae, _ = trained
    x = sample.x_train[:1250]
    whole = vae_mnist.evaluate_elbo(vae, x)
    assert whole["elbo"] == pytest.approx(-(whole["reconstruction_loss"] + whole["kl_loss"]))
    kl = kl_in_numpy(vae, x)
    assert whole["kl_loss"] == pytest.approx(kl.mean(), rel=1e-5)
    assert abs(kl.mean() - (kl[:1000].mean() + kl[1000:].mean()) / 2) > 1e-4 * kl.mean()


def log_likelihood_in_numpy(vae, x, seed):
    """log p(x|z) for one draw of z an image, by NumPy alone; (n,)."""
    z_mean, z_log_var = encode(vae, x)
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(seed).standard_normal(z_mean.shape)
    p = np.clip(decode(vae, z).astype("float64"), 1e-7, 1 - 1e-7)
    return np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=-1)


def test_elbo_and_its_standard_error_against_their_definitions(trained, sample):
    """E_q[log p(x|z)] - KL by NumPy, from 400 draws for each of 20 images."""
    vae, _ = trained
    x = sample.x_test[:20]
    elbo = vae_mnist.evaluate_elbo(vae, x, samples=400, seed=1)
    draws = log_likelihood_in_numpy(vae, np.repeat(x, 400, axis=0), seed=2).reshape(20, 400)
    standard_error = np.sqrt(np.sum(draws.var(axis=1) / 400)) / 20
    assert elbo["standard_error"] == pytest.approx(standard_error, rel=0.2)
    assert elbo["reconstruction_loss"] == pytest.approx(-draws.mean(), abs=4 * np.sqrt(2) * standard_error)


def test_elbo_against_keras_own_evaluate(trained, sample):
    """Keras's evaluate draws z once an image; 1,250 images, whose last batch is not full."""
    vae, _ = trained
    x = sample.x_train[:1250]
    elbo = vae_mnist.evaluate_elbo(vae, x, samples=10)
    by_keras = vae.evaluate(x, x, batch_size=1000, verbose=0, return_dict=True)
    error = elbo["standard_error"] * math.sqrt(11)  # of one draw against ten
    assert by_keras["loss"] == pytest.approx(-elbo["elbo"], abs=4 * error)
    assert by_keras["reconstruction_loss"] == pytest.approx(elbo["reconstruction_loss"], abs=4 * error)


@pytest.mark.parametrize("spoil", [lambda x: x.reshape(-1, 28, 28), lambda x: 255 * x])
def test_images_of_another_kind_are_refused_before_the_training(spoil, sample):
    """See test_feeding; here that both parts are looked at."""
    vae, x = build(TWO_EPOCHS, 10, hidden_dim=4), sample.x_train[:10]
    for parts in ((spoil(x), x), (x, spoil(x))):
        with pytest.raises(UserError, match="The images have"):
            vae_mnist.train(vae, *parts, TWO_EPOCHS, verbose=0)
    assert int(vae.optimizer.iterations) == 0


# -- Saving and loading ----------------------------------------------------------------------------------------------


LOAD = """
import json, sys
import numpy as np
import vae_mnist
vae = vae_mnist.keras.models.load_model(sys.argv[1])
x = np.load(sys.argv[2])
z_mean, _ = vae.get_layer("encoder").predict(x, verbose=0)
draws = [vae.predict(x, verbose=0).sum() for _ in range(2)]
print(json.dumps({"z_mean": z_mean.tolist(), "fresh": bool(draws[0] != draws[1])}))
"""


def test_saved_model_loads_in_another_process_in_safe_mode(trained, sample, tmp_path, run_python):
    vae, _ = trained
    vae.save(tmp_path / "vae.keras")
    np.save(tmp_path / "x.npy", sample.x_test[:5])
    done = run_python("-c", LOAD, tmp_path / "vae.keras", tmp_path / "x.npy")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    np.testing.assert_allclose(result["z_mean"], encode(vae, sample.x_test[:5])[0], rtol=1e-4, atol=1e-5)
    assert result["fresh"], "the loaded model still draws fresh noise"


def test_a_loaded_model_has_its_optimizer_and_trains_on_with_a_new_schedule(sample, tmp_path):
    recipe, x, steps = RECIPES["default"]._replace(epochs=2), sample.x_train[:1000], 2 * 10
    vae, history = learn(recipe, x, hidden_dim=32)
    assert int(vae.optimizer.iterations) == steps
    vae.save(tmp_path / "vae.keras")
    loaded = vae_mnist.load_vae(tmp_path / "vae.keras")
    assert int(loaded.optimizer.iterations) == steps
    assert (loaded.optimizer.head_step, loaded.optimizer.beta_2) == (recipe.head_step, recipe.beta_2)
    for before, after in zip(vae.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(before), ops.convert_to_numpy(after))
    with pytest.raises(UserError, match=r"learning rate has run out: call compile_vae\(.*\) first"):
        vae_mnist.train(loaded, x, None, recipe, verbose=0)
    vae_mnist.compile_vae(loaded, recipe, len(x))
    more = vae_mnist.train(loaded, x, None, recipe, verbose=0)
    assert int(loaded.optimizer.iterations) == steps
    assert more["loss"][0] < history["loss"][0]
    assert more["kl_loss"][0] > 0
