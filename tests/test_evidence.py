"""log p(x): closed forms, the order of the three estimates, and the gap as a KL divergence."""

import functools
import math
import sys

import numpy as np
import pytest
from conftest import ROOT, encode
from keras import ops

import vae_mnist
from seevae.results import evidence
from seevae.training.recipes import RECIPES

sys.path.insert(0, str(ROOT / "notebooks"))
import lab


@pytest.fixture(scope="module")
def some(sample):
    return sample.x_test[:60]


def constant_vae(latent_dim, probability=0.3):
    """A VAE whose decoder ignores z and draws every pixel with one probability, and whose q(z|x) is the prior."""
    vae = vae_mnist.build_vae(RECIPES["author"], latent_dim, hidden_dim=4)
    for weight in vae.trainable_weights:
        weight.assign(ops.zeros(weight.shape))
    bias = vae.get_layer("decoder").get_layer("decoder_output").bias
    bias.assign(ops.full(bias.shape, math.log(probability / (1 - probability))))
    return vae


@pytest.mark.parametrize("latent_dim", [1, 5])
def test_importance_weighted_is_exact_when_q_is_the_true_posterior(latent_dim, some):
    estimate = evidence.importance_weighted(*vae_mnist.halves(constant_vae(latent_dim)), some, samples=3)
    ink = some.sum(axis=-1)
    np.testing.assert_allclose(estimate, ink * math.log(0.3) + (784 - ink) * math.log(0.7), rtol=1e-4)


def test_exact_of_a_decoder_that_ignores_z(some):
    log_p, change = evidence.exact_log_evidence(constant_vae(2).get_layer("decoder"), some)
    ink = some.sum(axis=-1)
    np.testing.assert_allclose(log_p, ink * math.log(0.3) + (784 - ink) * math.log(0.7), rtol=1e-4)
    assert change.max() < 0.01


def gaussian_log_likelihood(x, mean, sigma=0.2):
    """log N(x; mean, sigma^2 I) for x (n, pixels) and mean (m, pixels) -> (n, m)."""
    squares = ops.sum(ops.square(ops.expand_dims(ops.convert_to_tensor(x), 1) - mean), axis=-1)
    return -0.5 * squares / sigma**2 - 0.5 * x.shape[-1] * math.log(2 * math.pi * sigma**2)


def test_exact_of_a_linear_gaussian_decoder():
    """x = W z + b + noise: log p(x) is that of N(b, W W' + sigma^2 I)."""
    rng = np.random.default_rng(0)
    weights, bias = rng.standard_normal((2, 5)).astype("float32"), rng.standard_normal(5).astype("float32")
    z = rng.standard_normal((40, 2))
    x = (z @ weights + bias + 0.2 * rng.standard_normal((40, 5))).astype("float32")
    log_p, change = evidence.exact_log_evidence(
        lambda codes: ops.matmul(codes, weights) + bias, x, tolerance=1e-4, log_likelihood=gaussian_log_likelihood
    )
    covariance = weights.T.astype("float64") @ weights + 0.2**2 * np.eye(5)
    off = x - bias.astype("float64")
    distance = np.sum(off * np.linalg.solve(covariance, off.T).T, axis=1)
    closed_form = -0.5 * (distance + np.linalg.slogdet(covariance)[1] + 5 * math.log(2 * math.pi))
    assert change.mean() < 1e-4
    np.testing.assert_allclose(log_p, closed_form, atol=2e-3)


def test_exact_agrees_with_the_prior_by_monte_carlo(trained, some):
    """log E_p(z)[p(x|z)] from 40,000 draws of the prior: the definition, with nothing of the grid.

    For the images with the most central codes, as draws of the prior hardly reach the others.
    """
    decoder = trained[0].get_layer("decoder")
    z_mean, _ = encode(trained[0], some)
    x = some[np.argsort((z_mean**2).sum(axis=1))[:5]]
    z = np.random.default_rng(3).standard_normal((40_000, 2)).astype("float32")
    blocks = [np.array(evidence.bernoulli_log_likelihood(x, decoder(z[i : i + 4000]))) for i in range(0, 40_000, 4000)]
    log_likelihood = np.concatenate(blocks, axis=1).astype("float64")
    top = log_likelihood.max(axis=1, keepdims=True)
    weights = np.exp(log_likelihood - top)
    estimate = np.log(weights.mean(axis=1)) + top[:, 0]
    error = weights.std(axis=1) / weights.mean(axis=1) / math.sqrt(40_000)
    log_p, _ = evidence.exact_log_evidence(decoder, x)
    assert (np.abs(log_p - estimate) < 5 * error + 0.01).all()


def test_elbo_importance_weighted_and_exact_stand_in_order(trained, some):
    vae, few = trained[0], some[:20]
    elbo = vae_mnist.evaluate_elbo(vae, few, samples=50)
    weighted = [evidence.importance_weighted(*vae_mnist.halves(vae), few, samples).mean() for samples in (10, 1000)]
    exact = evidence.exact_log_evidence(vae.get_layer("decoder"), few)[0].mean()
    values = [elbo["elbo"] - 4 * elbo["standard_error"], *weighted, exact + 0.02]
    assert values == sorted(values)
    assert weighted[1] == pytest.approx(exact, abs=1.0), "many samples come close"


def test_one_sample_gives_the_elbo(trained, some):
    vae, _ = trained
    elbo = vae_mnist.evaluate_elbo(vae, some, samples=50)
    halves = vae_mnist.halves(vae)
    single = [evidence.importance_weighted(*halves, some, samples=1, seed=seed).mean() for seed in range(20)]
    error = np.std(single) / math.sqrt(len(single)) + elbo["standard_error"]
    assert np.mean(single) == pytest.approx(elbo["elbo"], abs=4 * error)


@pytest.mark.slow
def test_gap_is_the_kl_from_q_to_the_true_posterior(trained, some):
    """log p(x) - ELBO against sum q log(q / p(z|x)), both on a fine grid, for one image at a time."""
    vae, _ = trained
    decoder = vae.get_layer("decoder")
    for image in some[:2]:
        z_mean, z_log_var = (t[0].astype("float64") for t in encode(vae, image[None]))
        axis = np.linspace(-9, 9, 181)  # a spacing of 0.1
        posterior = lab.masses(lab.log_joint(decoder, image[None], axis, axis)[0]) / 0.1**2
        z = np.stack(np.meshgrid(axis, axis), axis=-1)
        log_q = -0.5 * np.sum((z - z_mean) ** 2 / np.exp(z_log_var) + z_log_var + math.log(2 * math.pi), axis=-1)
        q = np.exp(log_q)
        divergence = np.sum(q * (log_q - np.log(np.maximum(posterior, 1e-300)))) * 0.1**2
        log_p, _ = evidence.exact_log_evidence(decoder, image[None], tolerance=1e-3)
        reconstruction, kl = vae_mnist.elbo_terms(vae, np.repeat(image[None], 4000, axis=0))
        elbo, error = -(reconstruction.mean() + kl.mean()), reconstruction.std() / math.sqrt(4000)
        assert log_p[0] - elbo == pytest.approx(divergence, abs=4 * error + 0.02)


def first_latent(codes):
    """A decoder of one pixel: x = z1 + noise, so that p(x) = N(x; 0, 1 + sigma^2)."""
    return ops.convert_to_tensor(codes)[:, :1]


@pytest.mark.parametrize(
    ("x", "sigma", "tolerance"),
    [([0.05, 0.77], 0.03, 1e-3), ([9.0], 0.2, 0.01)],
    ids=["narrower than the first grid", "explained by a code 9 standard deviations out"],
)
def test_grid_is_refined_and_widened_until_it_holds_the_posterior(x, sigma, tolerance):
    x, likelihood = np.array(x, "float32")[:, None], functools.partial(gaussian_log_likelihood, sigma=sigma)
    log_p, change = evidence.exact_log_evidence(first_latent, x, tolerance, likelihood)
    variance = 1 + sigma**2
    closed_form = -0.5 * (x[:, 0] ** 2 / variance + math.log(2 * math.pi * variance))
    np.testing.assert_allclose(log_p, closed_form, atol=5 * tolerance)
    assert change.mean() < tolerance


def test_memory_is_bounded(some):
    sizes = []

    def spy(x, x_hat):
        sizes.append((len(x), len(x_hat)))
        return ops.zeros((len(x), len(x_hat)))

    many = np.zeros((2500, 1), "float32")
    evidence.exact_log_evidence(lambda codes: codes, many, log_likelihood=spy)
    assert max(n for n, _ in sizes) == 1000
    assert 3000 < max(m for _, m in sizes) <= 4096


def test_exact_needs_two_latents(some):
    decoder = vae_mnist.build_decoder(latent_dim=3, hidden_dim=4)
    with pytest.raises(ValueError, match="two latents"):
        evidence.exact_log_evidence(decoder, some)


def test_a_posterior_too_narrow_for_any_grid_is_an_error():
    spike, x = functools.partial(gaussian_log_likelihood, sigma=1e-4), np.array([[0.01, 0.02]], "float32")
    with pytest.raises(evidence.ResolutionError, match="spacing"):
        evidence.exact_log_evidence(ops.convert_to_tensor, x, log_likelihood=spike)


def test_report_is_none_where_there_is_no_exact_value(some):
    vae = constant_vae(3)
    report = evidence.evaluate(*vae_mnist.halves(vae), some, samples=5)
    assert report["exact"] is None
    assert report["importance_samples"] == 5
    elbo = vae_mnist.evaluate_elbo(vae, some)["elbo"]
    assert elbo == pytest.approx(report["importance_weighted"], rel=1e-4), "q is the true posterior"


def test_report_holds_the_means_of_both_estimates(trained, some):
    vae, _ = trained
    given = {"samples": 20, "seed": 3}
    report = evidence.evaluate(*vae_mnist.halves(vae), some, **given)
    assert report["importance_weighted"] == evidence.importance_weighted(*vae_mnist.halves(vae), some, **given).mean()
    log_p, change = evidence.exact_log_evidence(vae.get_layer("decoder"), some)
    assert (report["exact"], report["exact_error"]) == (log_p.mean(), change.mean())


def test_report_survives_a_model_that_no_grid_resolves_and_hides_no_other_error(some, monkeypatch):
    """A trained model must not be lost to its evaluation; but Keras reports wrong shapes as a ValueError too."""

    def fail(decoder, x, **options):
        raise errors.pop()("it says why")

    errors, halves = [ValueError, evidence.ResolutionError], vae_mnist.halves(constant_vae(2))
    monkeypatch.setattr(evidence, "exact_log_evidence", fail)
    report = evidence.evaluate(*halves, some, samples=5)
    assert report["exact"] is None
    assert report["importance_weighted"] < 0
    with pytest.raises(ValueError, match="it says why"):
        evidence.evaluate(*halves, some, samples=5)
