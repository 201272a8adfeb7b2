"""The loss and the sampler, against arithmetic, Monte Carlo estimates and finite differences."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import vae_mnist
from vae_mnist import kl_divergence, reconstruction_loss, sample_latent


def test_kl_is_zero_when_q_is_the_prior():
    assert vae_mnist.to_numpy(kl_divergence(ops.zeros((3, 2)), ops.zeros((3, 2)))) == pytest.approx([0, 0, 0])


def test_kl_of_a_shifted_and_of_a_scaled_gaussian():
    shifted = kl_divergence(ops.array([[1.0, 2.0]]), ops.zeros((1, 2)))
    assert float(shifted[0]) == pytest.approx(0.5 * (1**2 + 2**2))
    scaled = kl_divergence(ops.zeros((1, 1)), ops.array([[math.log(4.0)]]))
    assert float(scaled[0]) == pytest.approx(0.5 * (4 - 1 - math.log(4)))


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
    assert vae_mnist.to_numpy(loss) == pytest.approx([nats, nats], rel=1e-5)


def test_sample_has_the_mean_and_spread_of_q():
    z_mean, z_log_var = ops.full((200_000, 2), 1.5), ops.full((200_000, 2), math.log(0.25))
    z = vae_mnist.to_numpy(sample_latent((z_mean, z_log_var), keras.random.SeedGenerator(0)))
    assert z.mean(axis=0) == pytest.approx([1.5, 1.5], abs=4 * 0.5 / math.sqrt(200_000))
    assert z.std(axis=0) == pytest.approx([0.5, 0.5], abs=4 * 0.5 / math.sqrt(2 * 200_000))
    assert np.corrcoef(z.T)[0, 1] == pytest.approx(0, abs=4 / math.sqrt(200_000))


def test_sample_is_fresh_at_each_call_and_repeats_from_the_seed():
    q = (ops.zeros((5, 2)), ops.zeros((5, 2)))
    noise = keras.random.SeedGenerator(3)
    first, second = sample_latent(q, noise), sample_latent(q, noise)
    again = sample_latent(q, keras.random.SeedGenerator(3))
    assert np.abs(vae_mnist.to_numpy(first - second)).min() > 0
    np.testing.assert_array_equal(vae_mnist.to_numpy(first), vae_mnist.to_numpy(again))


def test_gradient_passes_through_the_sample_to_q():
    z_mean, z_log_var = tf.constant([[0.3, -2.0]]), tf.constant([[-1.0, 0.5]])
    with tf.GradientTape() as tape:
        tape.watch([z_mean, z_log_var])
        z = sample_latent((z_mean, z_log_var), keras.random.SeedGenerator(1))
        total = tf.reduce_sum(z)
    by_mean, by_log_var = tape.gradient(total, [z_mean, z_log_var])
    np.testing.assert_allclose(by_mean, [[1, 1]])  # dz / dz_mean = 1
    np.testing.assert_allclose(by_log_var, 0.5 * (z - z_mean), rtol=1e-5)  # dz / dz_log_var = sigma * epsilon / 2
