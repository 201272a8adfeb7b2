"""The network: its structure, its noise, its training, and what comes back after saving."""

import importlib.util
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
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
    vae = vae_mnist.build_vae()
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
    vae = vae_mnist.build_vae(learning_rate=1e-30)
    same_batch = np.repeat(sample.x_train[:1], 60, axis=0)
    history = vae_mnist.train(vae, same_batch, epochs=4, batch_size=60, verbose=0)
    assert len(set(history["reconstruction"])) == 4
    assert np.ptp(history["kl"]) == pytest.approx(0, abs=1e-3)


def train_from(seed, sample):
    keras.utils.set_random_seed(seed)
    vae = vae_mnist.build_vae(hidden_dim=32, seed=seed)
    return vae_mnist.train(vae, sample.x_train[:1000], sample.x_test[:200], epochs=2, verbose=0)


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
    vae = vae_mnist.build_vae(learning_rate=1e30)
    with pytest.raises(vae_mnist.UserError, match="learning-rate"):
        vae_mnist.train(vae, sample.x_train[:500], epochs=1, verbose=0)


def test_elbo_is_a_sum_over_all_images_divided_by_their_number(trained, sample):
    """Checked with batches that do not divide the set: a mean of batch means would differ."""
    vae, _ = trained
    x = sample.x_test[:250]
    whole = vae_mnist.evaluate_elbo(vae, x, batch_size=250)
    assert whole["elbo"] == pytest.approx(-(whole["reconstruction"] + whole["kl"]))
    z_mean, z_log_var = vae_mnist.encode(vae, x)
    kl = np.mean(np.sum(0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var), axis=-1))
    for batch_size in (250, 100, 249):
        assert vae_mnist.evaluate_elbo(vae, x, batch_size=batch_size)["kl"] == pytest.approx(kl, rel=1e-4)


def test_elbo_against_its_definition(trained, sample):
    """E_q[log p(x|z)] - KL by NumPy: 400 draws of z for each of 20 images, within four standard errors."""
    vae, _ = trained
    x = np.repeat(sample.x_test[:20], 400, axis=0)
    elbo = vae_mnist.evaluate_elbo(vae, x, seed=1)["elbo"]
    z_mean, z_log_var = vae_mnist.encode(vae, x)
    z = z_mean + np.exp(z_log_var / 2) * np.random.default_rng(2).standard_normal(z_mean.shape)
    p = np.clip(vae_mnist.decode(vae, z).astype("float64"), 1e-7, 1 - 1e-7)
    log_likelihood = np.sum(x * np.log(p) + (1 - x) * np.log(1 - p), axis=-1)
    kl = np.sum(0.5 * (z_mean**2 + np.exp(z_log_var) - 1 - z_log_var), axis=-1)
    spread = log_likelihood.reshape(20, 400).std(axis=1)
    standard_error = np.sqrt(2 * np.mean(spread**2) / len(x))  # two independent estimates
    assert elbo == pytest.approx(np.mean(log_likelihood - kl), abs=4 * standard_error)


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
    more = vae_mnist.train(loaded, sample.x_train, epochs=1, verbose=0)
    assert more["loss"][0] < history["loss"][-1]
    assert more["kl"][0] > 0


OTHER_BACKEND = """
import json
import keras, numpy as np
import vae_mnist
x = np.tile(np.linspace(0, 1, 784, dtype="float32"), (60, 1))
keras.utils.set_random_seed(0)
still = vae_mnist.build_vae(hidden_dim=16, learning_rate=1e-30)
steps = vae_mnist.train(still, x, epochs=4, batch_size=60, verbose=0)["reconstruction"]
def learn():
    keras.utils.set_random_seed(1)
    vae = vae_mnist.build_vae(hidden_dim=16, seed=1)
    return vae, vae_mnist.train(vae, x, x, epochs=3, batch_size=20, verbose=0)
vae, history = learn()
vae.save("vae.keras")
loaded = vae_mnist.load_vae("vae.keras")
same = np.abs(vae_mnist.encode(loaded, x)[0] - vae_mnist.encode(vae, x)[0]).max()
print(json.dumps({"backend": keras.backend.backend(), "steps": steps, "history": history,
    "repeats": learn()[1] == history, "same": float(same), "elbo": vae_mnist.evaluate_elbo(loaded, x)["elbo"]}))
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
    assert result["elbo"] == pytest.approx(-history["val_loss"][-1], rel=0.1)
