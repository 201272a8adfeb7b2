"""The notebooks' module against closed forms, and against what its experiments take away."""

import json
import math
import sys

import numpy as np
import pytest
from conftest import ROOT, decode, encode
from keras import ops

import vae_mnist

sys.path.insert(0, str(ROOT / "notebooks"))
sys.path.insert(0, str(ROOT / "benchmarks"))
import claims
import lab

rng = np.random.default_rng(0)
SHORT = lab.PLAIN._replace(epochs=1)


@pytest.fixture(scope="module")
def autoencoder(sample):
    return lab.train_autoencoder(sample.x_train[:500], SHORT)


def test_an_autoencoder_is_the_vae_without_sample_and_kl(autoencoder, sample):
    x = sample.x_test[:20]
    assert np.allclose(autoencoder.predict(x, verbose=0), decode(autoencoder, encode(autoencoder, x)[0]), atol=1e-5)
    assert autoencoder.losses == []
    encoder = vae_mnist.build_encoder()
    assert autoencoder.get_layer("encoder").count_params() == encoder.count_params()


def test_starts_differ_in_the_decoder_units_they_spread():
    bias = {
        recipe.spread_weights: lab.variant(recipe=recipe).get_layer("decoder").get_layer("decoder_h").bias
        for recipe in (lab.PLAIN, lab.CLEAN)
    }
    assert np.ptp(ops.convert_to_numpy(bias[False])) == 0
    assert np.ptp(ops.convert_to_numpy(bias[True])) > 3


def test_variant_leaves_out_the_kl_and_nothing_else(sample):
    x = sample.x_test[:50]
    for kl in (True, False):
        model = lab.variant(kl=kl, recipe=lab.PLAIN)
        model(x)
        expected = ops.convert_to_numpy(vae_mnist.kl_divergence(*encode(model, x))).mean()
        assert [float(part) for part in model.losses] == pytest.approx([expected] if kl else [], rel=1e-5)


def test_without_the_trick_no_gradient_reaches_the_encoder(sample):
    model = lab.variant(lab.drawn_by_numpy, kl=False, recipe=lab.PLAIN)
    halves = [model.get_layer(name) for name in ("encoder", "decoder")]
    before = [half.get_weights() for half in halves]
    lab.fit(model, sample.x_train[:200], vae_mnist.reconstruction_loss, SHORT)
    still = [all(np.array_equal(*pair) for pair in zip(start, half.get_weights(), strict=True))
             for start, half in zip(before, halves, strict=True)]  # fmt: skip
    assert still == [True, False]


def test_new_encoder_leaves_the_decoder_alone(autoencoder, sample):
    decoder = autoencoder.get_layer("decoder")
    vae = lab.new_encoder(decoder, sample.x_train[:200], SHORT)
    for old, new in zip(decoder.get_weights(), vae.get_layer("decoder").get_weights(), strict=True):
        assert np.array_equal(old, new)


def test_gaussian_loss_is_the_density_of_each_pixel_multiplied():
    x, x_hat = rng.random((2, 3, 5)).astype("float32")
    density = np.exp(-((x - x_hat) ** 2) / (2 * 0.3)) / math.sqrt(2 * math.pi * 0.3)
    assert ops.convert_to_numpy(lab.gaussian_loss(0.3)(x, x_hat)) == pytest.approx(
        -np.log(density.prod(axis=1)), rel=1e-4
    )


def test_evidence_on_own_codes_does_not_depend_on_their_units(trained, sample):
    """A decoder whose codes are ten times as large knows the images just as well, under its own codes' Gaussian."""
    decoder, x = trained[0].get_layer("decoder"), sample.x_test[:5]
    z, _ = encode(trained[0], sample.x_test)
    large = lab.on_own_codes(lambda codes: decoder(codes / 10), 10 * z)
    assert lab.log_evidence(large, x) == pytest.approx(lab.log_evidence(lab.on_own_codes(decoder, z), x), abs=0.05)


def test_covariances_explained_by_the_data_and_by_their_average():
    x = rng.random((200, 30)) @ rng.random((30, 30))
    assert lab.covariance_explained(x, x) == pytest.approx(1)
    assert lab.covariance_explained(np.broadcast_to(x.mean(axis=0), x.shape), x) == pytest.approx(0)
    assert lab.covariance_with(x, 3) == pytest.approx(np.cov(x.T, bias=True)[3])


def test_own_elbo_is_that_of_the_script_for_bernoulli_pixels(trained, sample):
    x = sample.x_test[:300]
    known = vae_mnist.evaluate_elbo(trained[0], x, samples=40)  # its standard error is about 0.1
    assert lab.own_elbo(trained[0], x, vae_mnist.reconstruction_loss) == pytest.approx(known["elbo"], abs=0.5)


def test_classes_from_codes_by_counting(trained, sample):
    known, z = (encode(trained[0], x)[0] for x in (sample.x_train, sample.x_test))
    right = 0
    for code, label in zip(z, sample.y_test, strict=True):
        nearest = np.argsort(((known - code) ** 2).sum(axis=1))[:15]
        right += np.bincount(sample.y_train[nearest], minlength=10).argmax() == label
    assert lab.classes_from_codes(trained[0], sample) == pytest.approx(right / len(z), abs=0.01)


def test_mean_over_seeds_and_its_error():
    assert lab.over_seeds([1.0, 2.0, 3.0], digits=2) == "2.00 ± 0.58"  # 1 / sqrt(3)
    assert lab.over_seeds([-4.0, -4.0]) == "−4.0 ± 0.0"
    assert lab.over_seeds([1.0, None]) == "–"


def test_recorded_claims_are_of_the_full_set_and_three_seeds():
    record = json.loads(claims.RECORD.read_text())
    assert set(record) == set(claims.EXPERIMENTS)
    for name, experiment in record.items():
        assert experiment["dataset"] == "MNIST", name
        seeds = [run["seed"] for run in experiment["runs"]]
        assert {seed: seeds.count(seed) for seed in seeds} == dict.fromkeys(claims.SEEDS, len(seeds) // 3), name
