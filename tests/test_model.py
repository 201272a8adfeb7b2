"""The network: its structure, its noise, its training, and what comes back after saving."""

import importlib.util
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import two_epochs
from keras import layers

import vae_mnist

ENCODER_PARAMETERS = (784 * 256 + 256) + 2 * (256 * 2 + 2)
DECODER_PARAMETERS = (2 * 256 + 256) + (256 * 784 + 784)


def test_structure_is_that_of_the_post():
    vae = vae_mnist.build_vae()
    encoder, decoder = vae.get_layer("encoder"), vae.get_layer("decoder")
    assert isinstance(vae, keras.Model)
    assert type(vae) is type(keras.Model(vae.inputs, vae.outputs)), "a functional model, not a subclass"
    assert [type(layer).__name__ for layer in vae.layers] == [
        "InputLayer",
        "BinaryNoise",
        "Functional",
        "KLDivergence",
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
    vae = vae_mnist.build_vae(input_noise=False)
    vae(np.zeros((4, 784), "float32"))
    lambdas = [layer for layer in vae._flatten_layers() if isinstance(layer, layers.Lambda)]
    assert len(lambdas) == 1
    assert len(vae.losses) == 1
    assert len(vae.non_trainable_variables) == 1, "the state of the one seed generator"


def test_added_loss_is_the_mean_kl_of_the_batch(trained, sample):
    vae, _ = trained
    x = sample.x_test[:7]
    vae(x)
    z_mean, z_log_var = vae_mnist.encode(vae, x)
    expected = np.mean(np.sum(0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var), axis=-1))
    assert float(vae.losses[0]) == pytest.approx(expected, rel=1e-4)


def test_sizes_are_arguments():
    vae = vae_mnist.build_vae(latent_dim=5, hidden_dim=7)
    encoder, decoder = 784 * 7 + 7 + 2 * (7 * 5 + 5), 5 * 7 + 7 + 7 * 784 + 784
    assert sum(np.prod(w.shape) for w in vae.trainable_weights) == encoder + decoder
    assert vae(np.zeros((3, 784), "float32")).shape == (3, 784)


def test_decoder_generates_probabilities_alone():
    vae = vae_mnist.build_vae()
    images = vae_mnist.decode(vae, np.random.default_rng(0).standard_normal((6, 2)))
    assert images.shape == (6, 784)
    assert 0 < images.min() < images.max() < 1


def test_reconstruction_alone_moves_the_encoder(sample):
    vae = vae_mnist.build_vae()
    x = tf.constant(sample.x_test[:50])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(vae_mnist.reconstruction_loss(x, vae(x, training=True)))
    kernel = vae.get_layer("encoder").get_layer("encoder_h").kernel.value
    assert float(tf.norm(tape.gradient(loss, kernel))) > 0


def test_noise_is_fresh_at_every_training_step(sample):
    """With weights that do not move and the same batch at each step, only noise can change the loss."""
    vae = vae_mnist.build_vae(input_noise=False)
    same_batch = np.repeat(sample.x_train[:1], 60, axis=0)
    still = two_epochs(learning_rate=1e-30)
    history = vae_mnist.train(vae, same_batch, None, still, batch_size=60, verbose=0)
    assert history["reconstruction"][0] != history["reconstruction"][1]
    assert np.ptp(history["kl"]) == pytest.approx(0, abs=1e-3)


def train_from(seed, sample):
    keras.utils.set_random_seed(seed)
    vae = vae_mnist.build_vae(hidden_dim=32, seed=seed)
    return vae_mnist.train(vae, sample.x_train[:1000], sample.x_test[:200], two_epochs(), verbose=0)


def test_same_seed_same_history_and_another_seed_another(sample):
    first = train_from(0, sample)
    assert train_from(0, sample) == first
    assert train_from(1, sample)["loss"] != first["loss"]


def test_history_holds_three_numbers_that_add_up(trained):
    _, history = trained
    for prefix in ("", "val_"):
        loss, reconstruction, kl = (np.array(history[prefix + name]) for name in ("loss", "reconstruction", "kl"))
        np.testing.assert_allclose(loss, reconstruction + kl, rtol=1e-6)
        assert (kl > 0).all()
        assert loss[1] < loss[0] < 784 * np.log(2), "better than a coin for each pixel, and learning"


def test_divergence_is_an_error_with_one_sentence(sample):
    with pytest.raises(vae_mnist.UserError, match="learning-rate"):
        vae_mnist.train(vae_mnist.build_vae(), sample.x_train[:500], None, two_epochs(learning_rate=1e30), verbose=0)


def test_elbo_is_a_sum_over_all_images_divided_by_their_number(trained, sample):
    """1,250 images, whose last batch is not full: a mean of batch means would differ."""
    vae, _ = trained
    x = sample.x_train[:1250]
    whole = vae_mnist.evaluate_elbo(vae, x)
    assert whole["elbo"] == pytest.approx(-(whole["reconstruction"] + whole["kl"]))
    z_mean, z_log_var = vae_mnist.encode(vae, x)
    kl = np.sum(0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var), axis=-1)
    assert whole["kl"] == pytest.approx(kl.mean(), rel=1e-5)
    assert abs(kl.mean() - (kl[:1000].mean() + kl[1000:].mean()) / 2) > 1e-4 * kl.mean()


def log_likelihood_in_numpy(vae, x, seed):
    """log p(x|z) for one draw of z an image, by NumPy alone; (n,)."""
    z_mean, z_log_var = vae_mnist.encode(vae, x)
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(seed).standard_normal(z_mean.shape)
    p = np.clip(vae_mnist.decode(vae, z).astype("float64"), 1e-7, 1 - 1e-7)
    return np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=-1)


def test_elbo_and_its_standard_error_against_their_definitions(trained, sample):
    """E_q[log p(x|z)] - KL by NumPy, from 400 draws for each of 20 images."""
    vae, _ = trained
    x = sample.x_test[:20]
    elbo = vae_mnist.evaluate_elbo(vae, x, samples=400, seed=1)
    draws = log_likelihood_in_numpy(vae, np.repeat(x, 400, axis=0), seed=2).reshape(20, 400)
    standard_error = np.sqrt(np.sum(draws.var(axis=1) / 400)) / 20
    assert elbo["standard_error"] == pytest.approx(standard_error, rel=0.2)
    assert elbo["reconstruction"] == pytest.approx(-draws.mean(), abs=4 * np.sqrt(2) * standard_error)


def test_binary_noise_draws_pixels_in_training_only():
    layer = vae_mnist.BinaryNoise(seed=1)
    x = np.repeat(np.array([[0.0, 0.2, 0.9, 1.0]], "float32"), 50_000, axis=0)
    noisy, again = (vae_mnist.to_numpy(layer(x, training=True)) for _ in range(2))
    assert set(np.unique(noisy)) == {0, 1}
    assert (noisy != again).any(), "fresh noise at each call"
    np.testing.assert_allclose(noisy.mean(axis=0), x[0], atol=4 * 0.5 / np.sqrt(50_000))
    assert noisy[:, [0, 3]].tolist() == x[:, [0, 3]].tolist(), "black stays black, white stays white"
    np.testing.assert_array_equal(vae_mnist.to_numpy(layer(x)), x)


def test_input_noise_leaves_the_target_clean(sample):
    """An image of grey 0.5 everywhere: with noise on the target too, no decoder could predict it as well."""
    vae = vae_mnist.build_vae()
    for weight in vae.trainable_weights:
        weight.assign(np.zeros(weight.shape))
    x = np.full((100, 784), 0.5, "float32")
    history = vae_mnist.train(vae, x, None, two_epochs(learning_rate=1e-30), verbose=0)
    assert history["reconstruction"][0] == pytest.approx(784 * np.log(2), rel=1e-6)


def test_spread_init_lets_the_decoder_bend_all_over_the_prior():
    """The distance of each relu unit's line w.z + b = 0 from the origin is |b| / |w|."""
    keras.utils.set_random_seed(0)
    for spread in (True, False):
        kernel, bias = vae_mnist.build_decoder(spread_init=spread).get_layer("decoder_h").get_weights()
        distance = np.abs(bias) / np.linalg.norm(kernel, axis=0)
        if spread:
            assert np.abs(kernel).max() == pytest.approx(np.sqrt(3 * 8 / 2), rel=0.02)
            assert 0.2 < np.median(distance) < 1 < distance.max()
        else:
            assert distance.max() == 0


def test_recipes_set_up_the_optimizer():
    author = vae_mnist.make_optimizer(vae_mnist.RECIPES["author"], steps=1000)
    assert isinstance(author, keras.optimizers.Adam)
    assert float(author.learning_rate) == pytest.approx(1e-3)
    defaults = keras.optimizers.Adam(1e-3, name=author.name)
    assert author.get_config() == defaults.get_config(), "as in his notebook"
    recipe = vae_mnist.RECIPES["default"]
    schedule = keras.optimizers.schedules.deserialize(
        vae_mnist.make_optimizer(recipe, steps=1000).get_config()["learning_rate"]
    )
    values = [float(schedule(step)) / recipe.learning_rate for step in (0, 500, 1000)]
    assert values == pytest.approx([1, 0.5, 0], abs=1e-6)


LOAD = """
import json, sys
import numpy as np
import vae_mnist
vae = vae_mnist.keras.models.load_model(sys.argv[1])
z_mean, _ = vae_mnist.encode(vae, np.load(sys.argv[2]))
draws = [vae.predict(np.load(sys.argv[2]), verbose=0).sum() for _ in range(2)]
print(json.dumps({"z_mean": z_mean.tolist(), "fresh": bool(draws[0] != draws[1])}))
"""


def test_saved_model_loads_in_another_process_in_safe_mode(trained, sample, tmp_path, run_python):
    vae, _ = trained
    vae.save(tmp_path / "vae.keras")
    np.save(tmp_path / "x.npy", sample.x_test[:5])
    done = run_python("-c", LOAD, tmp_path / "vae.keras", tmp_path / "x.npy")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    np.testing.assert_allclose(result["z_mean"], vae_mnist.encode(vae, sample.x_test[:5])[0], rtol=1e-4, atol=1e-5)
    assert result["fresh"], "the loaded model still draws fresh noise"


def test_a_loaded_model_trains_on(trained, sample, tmp_path):
    vae, history = trained
    vae.save(tmp_path / "vae.keras")
    loaded = vae_mnist.load_vae(tmp_path / "vae.keras")
    more = vae_mnist.train(loaded, sample.x_train, None, two_epochs(), verbose=0)
    assert more["loss"][0] < history["loss"][-1]
    assert more["kl"][0] > 0


OTHER_BACKEND = """
import json
import keras, numpy as np
import evidence, vae_mnist
x = np.tile(np.linspace(0, 1, 784, dtype="float32"), (60, 1))
keras.utils.set_random_seed(0)
still = vae_mnist.build_vae(hidden_dim=16, input_noise=False)
recipe = vae_mnist.RECIPES["author"]._replace(epochs=4, learning_rate=1e-30)
steps = vae_mnist.train(still, x, None, recipe, batch_size=60, verbose=0)["reconstruction"]
def learn():
    keras.utils.set_random_seed(1)
    vae = vae_mnist.build_vae(hidden_dim=16, seed=1)
    recipe = vae_mnist.RECIPES["default"]._replace(epochs=3)
    return vae, vae_mnist.train(vae, x, x, recipe, batch_size=2, verbose=0)  # 30 steps: 3 a call
vae, history = learn()
vae.save("vae.keras")
loaded = vae_mnist.load_vae("vae.keras")
same = np.abs(vae_mnist.encode(loaded, x)[0] - vae_mnist.encode(vae, x)[0]).max()
print(json.dumps({"backend": keras.backend.backend(), "steps": steps, "history": history,
    "repeats": learn()[1] == history, "same": float(same),
    "evidence": vae_mnist.evaluate_evidence(loaded, x[:5], samples=50)}))
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_train_with_fresh_noise_repeat_and_load(backend, run_python):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    done = run_python("-c", OTHER_BACKEND, KERAS_BACKEND=backend)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["backend"] == backend
    assert len(set(result["steps"])) == 4, "fresh noise at each step"
    assert result["repeats"], "the same seed gives the same history"
    assert result["same"] < 1e-5, "the loaded model is the saved one"
    history = result["history"]
    np.testing.assert_allclose(history["loss"], np.add(history["reconstruction"], history["kl"]), rtol=1e-6)
    known = result["evidence"]
    assert known["elbo"] == pytest.approx(-history["val_loss"][-1], rel=0.1)
    assert known["elbo"] - 1 < known["importance_weighted"] < known["exact"] + 1
