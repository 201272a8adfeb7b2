"""The second notebook's plumbing: closed forms, Monte Carlo, and other ways to the same number."""

import math
import sys

import keras
import numpy as np
import pytest
from conftest import ROOT, encode, learn
from keras import ops

import vae_mnist
from seevae.results import evidence

sys.path.append(str(ROOT / "notebooks"))

import lab
from lab import directions, gap, gradients, grey, own_q, posteriors

LINE = np.linspace(-6, 6, 241)


@pytest.fixture(scope="module")
def vae(sample):
    """A VAE after two epochs of the default recipe, whose codes lie on the grid."""
    keras.utils.set_random_seed(0)
    return learn(lab.DEFAULT._replace(epochs=2), sample.x_train)[0]


@pytest.fixture(scope="module")
def decoder(vae):
    return vae.get_layer("decoder")


@pytest.fixture(scope="module")
def digits(vae, sample):
    """Twelve held-out digits, measured."""
    return lab.measure(vae, sample.x_test[:12], sample.y_test[:12])


def gaussian(mean, variance, axis=LINE):
    """The masses of an axis-aligned Gaussian on a grid, indexed [z2, z1]."""
    parts = [np.exp(-0.5 * (axis - m) ** 2 / v) for m, v in zip(mean, variance, strict=True)]
    mass = parts[1][:, None] * parts[0][None, :]
    return mass / mass.sum()


def quadratic_decoder(z):
    """Codes (n, 2) -> (n, 2), the code itself: with a Gaussian likelihood everything has a closed form."""
    return ops.convert_to_tensor(z)


def squared(x, x_hat):
    """-log N(x; x_hat, I / 4), without its constant: (n,)."""
    return 2 * ops.sum(ops.square(x - x_hat), axis=-1)


# Numbers as text


@pytest.mark.parametrize(
    ("value", "text"), [(24743, "25,000"), (6.43, "6.4"), (0.0123, "0.012"), (99.6, "100"), (11, "11")]
)
def test_significant_figures(value, text):
    assert lab.significant(value) == text


def test_mean_with_its_error():
    assert lab.mean_error(np.array([1.0, 2.0, 3.0, 6.0])) == "3.0 ± 1.1"  # sqrt(14 / 3 / 4)
    assert lab.mean_error(np.array([-1000.0, -3000.0]), 0) == "\N{MINUS SIGN}2,000 ± 1,000"


def test_share_and_its_error():
    """Shares of equal numbers are those of a coin: the error is sqrt(p (1 - p) / n)."""
    part = (np.arange(400) < 100).astype(float)
    share, error = lab.share_error(part, np.ones(400))
    assert share == 0.25
    assert error == pytest.approx(math.sqrt(0.25 * 0.75 / 400), rel=0.1)
    assert lab.percent(share, error) == "25 ± 2 %"


# Densities on a grid


@pytest.mark.parametrize(("share", "radius"), [(lab.ONE_SIGMA, 1), (lab.TWO_SIGMA, 2)])
def test_contours_are_the_sigmas_of_a_gaussian(share, radius):
    """The height of a plane's Gaussian at radius r is e^(-r^2 / 2) of its top, and within it lies 1 - e^(-r^2 / 2)."""
    mass = gaussian((0.3, -0.5), (0.4, 1.1))
    assert lab.level_that_holds(mass, share) / mass.max() == pytest.approx(math.exp(-(radius**2) / 2), rel=0.02)
    held = posteriors.mass_within(mass, LINE, (0.3, -0.5), np.log((0.4, 1.1)), radius)
    assert held == pytest.approx(1 - math.exp(-(radius**2) / 2), abs=0.01)


def test_moments_of_a_gaussian_by_axis():
    mean, variance = lab.mean_and_variance(gaussian((1.0, -2.0), (0.25, 0.5)), LINE)
    np.testing.assert_allclose(mean, (1.0, -2.0), atol=1e-3)
    np.testing.assert_allclose(variance, np.array([0.25, 0.5]) + 0.05**2 / 12, atol=1e-3)


def test_islands_are_the_separate_pieces():
    mass = 0.7 * gaussian((-2.0, 0.0), (0.1, 0.1)) + 0.27 * gaussian((2.0, 1.0), (0.1, 0.2))
    mass += 0.03 * gaussian((0.0, -4.0), (0.01, 0.01))  # too light to count
    first, second = own_q.islands(mass, LINE)
    assert first[0] + second[0] == pytest.approx(lab.TWO_SIGMA, abs=0.04)
    np.testing.assert_allclose(first[1], (-2.0, 0.0), atol=0.02)
    np.testing.assert_allclose(second[1], (2.0, 1.0), atol=0.02)
    assert (second[2] < (0.1, 0.2)).all(), "an island lacks the Gaussian's tails"
    assert len(own_q.islands(gaussian((0, 0), (1, 1)), LINE)) == 1


def test_log_joint_sums_to_the_evidence(decoder, digits):
    """The grid's own sum against evidence.exact_log_evidence."""
    cell = (lab.AXIS[1] - lab.AXIS[0]) ** 2
    sums = [np.log(np.exp(joint - joint.max()).sum() * cell) + joint.max() for joint in digits.joints]
    np.testing.assert_allclose(sums, evidence.exact_log_evidence(decoder, digits.x)[0], atol=0.05)


def test_log_joint_is_indexed_by_z2_then_z1(decoder, digits):
    z1, z2 = np.array([0.5]), np.array([-1.0, 2.0])
    joint = lab.log_joint(decoder, digits.x[:1], z1, z2)
    assert joint.shape == (1, 2, 1)
    z = np.array([[0.5, 2.0]], "float32")
    log_likelihood = -float(vae_mnist.reconstruction_loss(digits.x[:1], decoder(z))[0])
    assert joint[0, 1, 0] == pytest.approx(log_likelihood - 0.5 * (0.25 + 4) - math.log(2 * math.pi), abs=1e-3)


def test_divergences_of_two_gaussians():
    """Against the closed form; the "posterior" is N((0.5, -0.3), diag(0.3, 0.6))."""
    means, variances = np.array([[0.2, 0.0], [0.5, -0.3]]), np.array([[0.2, 0.4], [0.3, 0.6]])

    def closed_form(a, b):
        ratio = variances[a] / variances[b]
        return 0.5 * np.sum(ratio + (means[a] - means[b]) ** 2 / variances[b] - 1 - np.log(ratio))

    joint = np.log(gaussian(means[1], variances[1])) - 80.0  # any constant: only its shape counts
    both = gap.divergences(joint, LINE, means[0], np.log(variances[0]))
    np.testing.assert_allclose(both, (closed_form(0, 1), closed_form(1, 0)), atol=1e-4)


# Evidence, ELBO, Jensen


@pytest.mark.slow
def test_moments_are_measured_after_so_many_steps(sample):
    """Before the first step, and after ten: the weights are those of a training of ten steps."""
    moments = gap.Moments(sample.x_test[:5], sample.y_test[:5])
    x = sample.x_train[:1000]
    vae, _ = lab.train_vae(x, lab.AUTHOR._replace(epochs=1), callbacks=[moments], steps_in_a_call=5)
    assert list(moments.digits) == [0, 10]
    keras.utils.set_random_seed(0)
    untrained = vae_mnist.build_vae(lab.AUTHOR)
    for step, model in ((0, untrained), (10, vae)):
        np.testing.assert_allclose(moments.digits[step].q[0], encode(model, sample.x_test[:5])[0], atol=1e-5)


def test_the_gap_is_the_divergence(digits):
    """For each digit: log p(x) - ELBO by draws against KL(q || p(z|x)) on the grid."""
    qs = zip(digits.joints, *digits.q, strict=True)
    divergence = [gap.divergences(joint, lab.AXIS, *q)[0] for joint, *q in qs]
    np.testing.assert_allclose(digits.gap, divergence, atol=1.5)  # of 100 draws each, which differ by some nats
    assert digits.gap.mean() == pytest.approx(np.mean(divergence), abs=0.2)


def test_elbo_of_q_agrees_with_the_script(vae, digits):
    reconstruction, kl = vae_mnist.elbo_terms(vae, digits.x, samples=20, seed=5)
    elbo, error = lab.elbo_of(vae.get_layer("decoder"), digits.x, *digits.q, draws=200)
    both = np.hypot(error, reconstruction.std(axis=0, ddof=1) / math.sqrt(20))
    assert (np.abs(elbo + reconstruction.mean(axis=0) + kl) < 5 * both).all()


def test_jensens_two_means(vae, digits):
    """The mean of log w is the ELBO, and the logarithm of the mean comes close to log p(x), never far above it."""
    log_w = gap.log_weights(vae, digits.x[2], 20_000)
    (elbo, elbo_error), (log_mean, error) = gap.jensen(log_w)
    assert elbo == pytest.approx(digits.elbo[2], abs=1.0)
    assert elbo < log_mean < digits.log_p[2] + 5 * error + 0.05
    assert 0 < elbo_error < 0.1
    (low, _), (high, _) = gap.jensen(np.log([1.0, 3.0]))
    assert (low, high) == pytest.approx((0.5 * math.log(3), math.log(2)))


# A q of its own


@pytest.mark.slow
def test_own_q_finds_the_posterior_where_it_is_a_gaussian(monkeypatch):
    """x_hat = z and -log p(x|z) = 2 |x - z|^2: the posterior is N(0.8 x, 0.2 I), as 4 / (4 + 1) = 0.8."""
    monkeypatch.setattr(vae_mnist, "reconstruction_loss", squared)
    code = keras.Input((2,))
    identity = keras.Model(code, keras.layers.Rescaling(1.0)(code))
    x = np.array([[1.0, -0.5], [0.0, 2.0]], "float32")
    start = np.zeros((2, 2)), np.zeros((2, 2))
    z_mean, z_log_var = own_q.optimise_q(identity, x, *start, steps=2000)
    np.testing.assert_allclose(z_mean, 0.8 * x, atol=0.05)
    np.testing.assert_allclose(np.exp(z_log_var), 0.2, atol=0.04)
    assert identity.trainable, "as it was before"


@pytest.mark.slow
def test_own_q_is_better_and_stays_below_the_evidence(decoder, digits):
    before = [weight.numpy().copy() for weight in decoder.weights]
    own = own_q.best_own_q(decoder, digits)
    gaps = own_q.split_gap(decoder, digits, own)
    assert gaps["its best q"].mean() < 0.5 * gaps["the encoder's q"].mean()
    assert gaps["its best q"].mean() < gaps["its best z_mean, the encoder's sigma"].mean()
    assert (gaps["its best q"] > -0.5).all()
    for weight, old in zip(decoder.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_searches_start_at_the_encoder_the_moments_and_the_islands():
    mass = 0.5 * gaussian((-2.0, 0.0), (0.1, 0.1), lab.AXIS)
    mass += 0.5 * gaussian((2.0, 1.0), (0.1, 0.1), lab.AXIS)
    q = [np.array([[0.3, 0.4]]), np.array([[-1.0, -2.0]])]
    two = lab.Digits(None, None, q, None, None, np.log(mass[None] + 1e-300))
    digit, z_mean, z_log_var = own_q.starts_for(two)
    assert digit.tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(z_mean[:2], [[0.3, 0.4], [0.0, 0.5]], atol=1e-3)
    np.testing.assert_allclose(sorted(z_mean[2:].tolist()), [[-2, 0], [2, 1]], atol=0.01)
    np.testing.assert_allclose(np.exp(z_log_var[1]), [4.1, 0.35], atol=0.01)


# Gradients


@pytest.fixture(scope="module")
def drawn():
    """Gradient draws of E_q[-2 |x - z|^2], which is -2 |x - z_mean|^2 - 2 sum exp(z_log_var)."""
    x = np.array([[1.0, -0.5]], "float32")
    q = np.array([[0.4, 0.1]], "float32"), np.array([[-1.0, -0.2]], "float32")
    right = np.concatenate([4 * (x - q[0]), -2 * np.exp(q[1])], axis=-1)
    return x, q, right, gradients.gradient_draws(quadratic_decoder, x, *q, 100_000, loss=squared)


@pytest.mark.parametrize("estimator", gradients.ESTIMATORS)
def test_every_estimator_finds_the_gradient(drawn, estimator):
    _, _, right, draws = drawn
    each = gradients.estimates(draws, estimator)
    assert each.shape == (1, 10_000, 4)
    assert np.abs(gradients.deviations(draws, estimator, right)).max() < 4
    assert np.abs(each.mean(axis=1) - right).max() < 0.1


def test_finite_differences_find_the_gradient(drawn):
    x, q, right, _ = drawn
    found = gradients.gradient_by_differences(quadratic_decoder, x[0], q[0][0], q[1][0], squared)
    np.testing.assert_allclose(found, right[0], rtol=1e-3)


def test_variance_of_the_re_parameterised_gradient(drawn):
    """By z_mean it is 4 (x - z), whose variance is 16 exp(z_log_var); a mean over 10 draws has a tenth of it."""
    _, q, _, draws = drawn
    variance = gradients.estimates(draws, "re-parameterised")[..., :2].var(axis=1, ddof=1)
    np.testing.assert_allclose(variance, 1.6 * np.exp(q[1]), rtol=0.05)
    ratio = gradients.variance_ratios(draws, "score function")
    own = gradients.estimates(draws, "score function")[..., :2].var(axis=1, ddof=1)
    np.testing.assert_allclose(ratio, own.sum() / variance.sum())


def test_unknown_estimator_is_an_error(drawn):
    with pytest.raises(ValueError, match="No estimator"):
        gradients.estimates(drawn[3], "score")


@pytest.mark.parametrize("estimator", gradients.ESTIMATORS)
def test_two_draws_costs_and_adds_a_surrogate(estimator, vae, sample):
    """The surrogate's gradient is the estimator's; its value is a mean of cost * log q over draws and images."""
    x = ops.convert_to_tensor(sample.x_test[:4])
    layer = gradients.TwoDraws(vae.get_layer("decoder"), estimator, seed=3)
    cost = layer([x, *vae.get_layer("encoder")(x)])
    assert cost.shape == (4,)
    assert len(layer.losses) == (estimator != "re-parameterised")
    q, seeds = vae.get_layer("encoder")(x), keras.random.SeedGenerator(3)
    z = [vae_mnist.sample_latent(q, seeds) for _ in range(2)]
    costs = [ops.convert_to_numpy(vae_mnist.reconstruction_loss(x, vae.get_layer("decoder")(draw))) for draw in z]
    np.testing.assert_allclose(ops.convert_to_numpy(cost), (costs[0] + costs[1]) / 2, rtol=1e-5)
    log_q = [ops.convert_to_numpy(gradients.log_q(draw, *q)) for draw in z]
    weights = {"score function": costs, "score function, baseline": [costs[0] - costs[1], costs[1] - costs[0]]}
    if estimator in weights:
        expected = np.mean([weight * part for weight, part in zip(weights[estimator], log_q, strict=True)])
        assert float(layer.losses[0]) == pytest.approx(expected, rel=1e-4)


def test_log_q_is_the_density():
    value = float(
        gradients.log_q(*(ops.convert_to_tensor([part]) for part in ([1.0, 2.0], [0.5, 2.0], [0.2, -1.0])))[0]
    )
    closed = -0.5 * (0.25 / math.exp(0.2) + 0.2 - 1.0) - math.log(2 * math.pi)
    assert value == pytest.approx(closed, rel=1e-5)


# Which way round the KL


def test_covering_takes_over_mean_and_variance():
    mean, sigma, divergence = directions.cover_modes(3)
    assert (mean, sigma) == (0.0, math.sqrt(10))
    log_p = directions.two_modes(3)
    assert np.exp(log_p).sum() * (directions.LINE[1] - directions.LINE[0]) == pytest.approx(1)
    z = np.random.default_rng(0).standard_normal(400_000) + 3 * np.where(np.arange(400_000) % 2, 1, -1)
    log_p = np.logaddexp(-0.5 * (z - 3) ** 2, -0.5 * (z + 3) ** 2) - math.log(2)
    log_q = -0.5 * z**2 / 10 - 0.5 * math.log(10)
    assert divergence == pytest.approx(np.mean(log_p - log_q), abs=0.01)


def test_seeking_finds_one_far_mode():
    """Far apart, q is one of the modes, and the divergence log 2."""
    found = directions.seek_mode(6, (5.0, 2.0))
    np.testing.assert_allclose(found, (6.0, 1.0, math.log(2)), atol=1e-3)


def test_below_the_crossing_covering_is_the_better_minimum():
    distance = directions.crossing()
    assert 5.5 < distance < 5.7
    for d, better in ((distance - 0.2, "both"), (distance + 0.2, "one")):
        one, both = directions.seek_mode(d / 2, (d / 2, 1.0))[2], directions.seek_mode(d / 2, (0.0, 2.5))[2]
        assert (both < one) == (better == "both")


# Grey pixels


def test_entropy_of_grey_values():
    x = np.array([[0.0, 1.0, 0.5, 0.5], [0.25, 0.0, 0.0, 0.0]])
    quarter = -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    np.testing.assert_allclose(grey.grey_entropy(x), [2 * math.log(2), quarter], atol=1e-9)


def test_drawn_pixels_have_the_grey_values_as_mean():
    x = np.tile(np.array([[0.0, 0.2, 0.9, 1.0]], "float32"), (20_000, 1))
    drawn = grey.draw_pixels(x, seed=1)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0), x[0], atol=0.02)


@pytest.mark.parametrize("p", [0.001, 0.3, 0.5, 0.97])
def test_normaliser_of_one_pixel(p):
    x = (np.arange(100_000) + 0.5) / 100_000
    integral = np.mean(p**x * (1 - p) ** (1 - x))
    assert grey.log_normaliser(np.array([[p]]))[0] == pytest.approx(math.log(integral), abs=1e-6)


# Pictures


def test_posterior_is_drawn_where_it_is(decoder, digits):
    figure = lab.drawing.pictures.new_figure(3, 3, "one")
    axes = figure.add_subplot()
    joint, z_mean, z_log_var = digits.joints[0], digits.q[0][0], digits.q[1][0]
    lab.draw_posterior(axes, decoder, digits.x[0], joint, [(z_mean, z_log_var, "blue")], points=61)
    ellipses = [(patch.center, patch.width, patch.height) for patch in axes.patches]
    sigma = np.exp(z_log_var / 2)
    for (centre, width, height), radius in zip(ellipses, (1, 2), strict=True):
        np.testing.assert_allclose(centre, z_mean)
        np.testing.assert_allclose((width, height), 2 * radius * sigma, rtol=1e-6)
    low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
    mass = lab.masses(joint)
    heavy = lab.AXIS[np.argwhere(mass >= lab.level_that_holds(mass, lab.TWO_SIGMA))[:, ::-1]]
    assert (heavy >= low).all()
    assert (heavy <= high).all()


def test_digits_at_equal_steps_rise():
    gap = np.random.default_rng(0).exponential(size=101)
    chosen = gap[posteriors.at_equal_steps(gap)]
    assert (np.diff(chosen) > 0).all()
    assert (gap < chosen[0]).sum() == 2
    assert (gap > chosen[-1]).sum() == 2


@pytest.mark.slow
def test_training_by_each_estimator_learns(sample):
    losses = gradients.train_by("score function, baseline", sample.x_train[:400], sample.x_test[:50], epochs=1)
    assert len(losses) == 2
    assert losses[1] < losses[0]
