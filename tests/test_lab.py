"""The notebooks' module against closed forms, and against what its experiments take away."""

import json
import math
import re
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import ROOT, decode, encode
from keras import ops

import vae_mnist

sys.path.insert(0, str(ROOT / "notebooks"))
import lab
from lab import beta, bugs, causes, controls, trick

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


def test_variant_weighs_the_kl_or_leaves_it_out(sample):
    x = sample.x_test[:50]
    for weight in (0, 1, 4):
        model = lab.variant(beta=weight, recipe=lab.PLAIN)
        model(x)
        expected = weight * ops.convert_to_numpy(vae_mnist.kl_divergence(*encode(model, x))).mean()
        assert [float(part) for part in model.losses] == pytest.approx([expected] if weight else [], rel=1e-5)


@pytest.mark.slow
def test_without_the_trick_no_gradient_reaches_the_encoder(sample):
    model = lab.variant(trick.drawn_by_numpy, beta=0, recipe=lab.PLAIN)
    halves = [model.get_layer(name) for name in ("encoder", "decoder")]
    before = [half.get_weights() for half in halves]
    lab.fit(model, sample.x_train[:200], vae_mnist.reconstruction_loss, SHORT)
    still = [all(np.array_equal(*pair) for pair in zip(start, half.get_weights(), strict=True))
             for start, half in zip(before, halves, strict=True)]  # fmt: skip
    assert still == [True, False]


@pytest.mark.parametrize("of", ["z_mean", "z_log_var"])
def test_the_shown_gradients_are_those_of_finite_differences(of, trained, sample, monkeypatch):
    shown = []
    monkeypatch.setattr(trick, "table", lambda header, rows: shown.extend(rows))
    trick.trick_on_and_off(trained[0], sample.x_test[1], of)
    with_trick, without, differences = ([float(cell.replace("−", "-")) for cell in row[1:]] for row in shown)
    assert with_trick == pytest.approx(differences, abs=0.15, rel=0.02)  # both are shown with one decimal
    assert any(with_trick)
    assert without == [0.0, 0.0]


@pytest.mark.slow
def test_new_encoder_leaves_the_decoder_alone(autoencoder, sample):
    decoder = autoencoder.get_layer("decoder")
    vae = lab.new_encoder(decoder, sample.x_train[:200], SHORT, encoder_units=300)
    for old, new in zip(decoder.get_weights(), vae.get_layer("decoder").get_weights(), strict=True):
        assert np.array_equal(old, new)
    assert vae.get_layer("encoder").get_layer("encoder_h").units == 300


def test_new_encoder_can_start_from_another(autoencoder, sample):
    decoder, encoder = autoencoder.get_layer("decoder"), autoencoder.get_layer("encoder")
    still = SHORT._replace(learning_rate=0.0)
    vae = lab.new_encoder(decoder, sample.x_train[:200], still, start=encoder)
    for old, new in zip(encoder.get_weights(), vae.get_layer("encoder").get_weights(), strict=True):
        assert np.array_equal(old, new)


def test_gaussian_loss_is_the_density_of_each_pixel_multiplied():
    x, x_hat = rng.random((2, 3, 5)).astype("float32")
    density = np.exp(-((x - x_hat) ** 2) / (2 * 0.3)) / math.sqrt(2 * math.pi * 0.3)
    assert ops.convert_to_numpy(lab.gaussian_loss(0.3)(x, x_hat)) == pytest.approx(
        -np.log(density.prod(axis=1)), rel=1e-4
    )


@pytest.mark.slow
def test_evidence_on_own_codes_does_not_depend_on_their_units(trained, sample):
    """A decoder whose codes are ten times as large knows the images just as well, under its own codes' Gaussian."""
    decoder, x = trained[0].get_layer("decoder"), sample.x_test[:5]
    z, _ = encode(trained[0], sample.x_test)
    large = vae_mnist.build_decoder()
    kernel, *rest = decoder.get_weights()
    large.set_weights([kernel / 10, *rest])
    own, own_large = lab.on_own_codes(decoder, z), lab.on_own_codes(large, 10 * z)
    assert lab.log_evidence(own_large, x) == pytest.approx(lab.log_evidence(own, x), abs=0.05)


def test_on_own_codes_decodes_the_codes_of_the_gaussian(trained, sample):
    """The prior's mean becomes the mean of the codes, and one sigma along the first latent is that of the codes."""
    decoder, z = trained[0].get_layer("decoder"), np.random.default_rng(0).normal((3, -1), (0.5, 2), (1000, 2))
    own = lab.on_own_codes(decoder, z)
    mean, cov = z.mean(axis=0), np.cov(z.T)
    places = np.array([mean, mean + np.linalg.cholesky(cov)[:, 0]], "float32")
    standard = np.array([[0, 0], [1, 0]], "float32")
    assert np.allclose(ops.convert_to_numpy(own(standard)), ops.convert_to_numpy(decoder(places)), atol=1e-5)


def test_the_two_parts_of_the_kl_loss_are_it_together(trained, sample):
    told, apart = beta.kl_in_two(trained[0], sample.x_test)
    kl = ops.convert_to_numpy(vae_mnist.kl_divergence(*encode(trained[0], sample.x_test))).mean()
    assert told + apart == pytest.approx(kl, abs=0.15)  # of 1,000 draws, whose log-ratios vary by about 1
    assert 0 < told < np.log(len(sample.x_test)), "no more than which of the images it is"


def test_codes_apart_tell_which_image_and_equal_ones_tell_nothing():
    """Narrow q far from one another: I = log n. The same q for all: I = 0."""
    far = np.array([[-30.0, 0.0], [0.0, 30.0], [30.0, 0.0], [0.0, -30.0]])
    for z_mean, told in ((far, np.log(4)), (np.full((4, 2), 0.5), 0.0)):
        model = fixed_encoder(z_mean, np.full((4, 2), -2.0))
        found, _ = beta.kl_in_two(model, np.zeros((4, 784), "float32"))
        assert found == pytest.approx(told, abs=1e-6)


def fixed_encoder(z_mean, z_log_var):
    """What kl_in_two asks of a model: an encoder that predicts these."""
    encoder = SimpleNamespace(predict=lambda x, **options: (z_mean, z_log_var))
    return SimpleNamespace(get_layer=lambda name: encoder)


def test_the_correct_network_is_among_the_bugs(sample):
    """Without a bug the numbers are those of the script; and each bug changes the loss that is trained, or the draw."""
    x = sample.x_test[:100]
    right = bugs.BUGS["no bug"]
    model = lab.variant(right.sample, right.beta, lab.PLAIN, scale=right.scale)
    known = vae_mnist.evaluate_elbo(model, x, samples=30)
    found = bugs.rate_bug(right, model, x, draws=30)
    assert found["elbo"] == pytest.approx(known["elbo"], abs=0.5)
    assert found["kl"] == pytest.approx(known["kl_loss"], rel=1e-4)
    assert len(set(bugs.BUGS.values())) == 12, "no two are the same"


def test_bugs_of_the_pixels_and_the_noise():
    x, x_hat = rng.random((2, 3, 784)).astype("float32")
    sigmoid = 1 / (1 + np.exp(-x_hat))
    twice = -np.sum(x * np.log(sigmoid) + (1 - x) * np.log(1 - sigmoid), axis=1)
    assert ops.convert_to_numpy(bugs.sigmoid_twice(x, x_hat)) == pytest.approx(twice, rel=1e-4)
    large = -np.sum(255 * x * np.log(x_hat) + (1 - 255 * x) * np.log(1 - x_hat), axis=1)
    assert ops.convert_to_numpy(bugs.bytes_as_pixels(x, x_hat)) == pytest.approx(large, rel=1e-3)
    q = [np.zeros((5, 2), "float32")] * 2
    seed = keras.random.SeedGenerator(0)
    first, second = (ops.convert_to_numpy(bugs.noise_repeated(q, seed)) for _ in range(2))
    assert np.array_equal(first, second)


def test_covariances_explained_by_the_data_and_by_their_average():
    x = rng.random((200, 30)) @ rng.random((30, 30))
    assert causes.covariance_explained(x, x) == pytest.approx(1)
    assert causes.covariance_explained(np.broadcast_to(x.mean(axis=0), x.shape), x) == pytest.approx(0)
    assert causes.covariance_with(x, 3) == pytest.approx(np.cov(x.T, bias=True)[3])


def test_pca_keeps_the_largest_variances_and_draws_their_covariances():
    x = rng.standard_normal((4000, 3)) @ np.array([[3.0, 0, 0], [0, 2.0, 1.0], [0, 0, 0.1]])
    found = controls.PCA(x, 2)
    codes = found.encode(x)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(2), atol=1e-6)
    lost = ((found.decode(codes) - x) ** 2).sum(axis=1).mean()
    assert lost == pytest.approx(np.linalg.eigvalsh(np.cov(x.T))[0], rel=1e-3), "the smallest variance"
    assert causes.covariance_explained(found.decode(rng.standard_normal((4000, 2))), x) == pytest.approx(1, abs=0.02)


def test_half_way_on_a_line_and_on_a_sphere():
    start, end = np.array([[2.0, 0.0]]), np.array([[0.0, 4.0]])
    np.testing.assert_allclose(controls.between(start, end, 0.5, on_sphere=False), [[1, 2]])
    np.testing.assert_allclose(controls.between(start, end, 0.5, on_sphere=True), [[3 / 2**0.5, 3 / 2**0.5]])
    for share, place in ((0, start), (1, end)):
        np.testing.assert_allclose(controls.between(start, end, share, on_sphere=True), place, atol=1e-12)


def test_few_labels_tell_groups_apart_that_lie_apart_and_no_others():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 10, 1000)
    apart, together = 100.0 * classes[:, None] + rng.standard_normal((1000, 1)), rng.standard_normal((1000, 1))
    known, test = slice(0, 500), slice(500, None)
    shares = [
        controls.with_few_labels(code[known], classes[known], code[test], classes[test]) for code in (apart, together)
    ]
    assert shares[0] > 0.99
    assert shares[1] == pytest.approx(0.1, abs=0.03)


def test_letters_are_26_different_pictures_of_light_ink():
    letters = controls.capital_letters()
    assert letters.shape == (26, 784)
    assert (letters.min(), letters.max()) == (0, 1)
    assert len(np.unique(letters, axis=0)) == 26
    assert (letters.reshape(-1, 28, 28)[:, [0, -1]] == 0).all(), "in the middle"


def test_divergence_from_the_normal_prior_and_from_a_mixture():
    """In the mean over draws of q it is the closed form; of a mixture of one Gaussian, that of two Gaussians."""
    mean, log_var = np.array([[0.5, -1.0]], "float32"), np.array([[-1.0, 0.5]], "float32")
    z = mean + np.exp(log_var / 2) * rng.standard_normal((40_000, 2)).astype("float32")
    normal, mixture = controls.AgainstPrior(0), controls.AgainstPrior(3)
    for layer in (normal, mixture):
        layer.build([(None, 2)] * 3)
    expected = 0.5 * (mean**2 + np.exp(log_var) - log_var - 1).sum()
    assert float(ops.mean(normal.divergence(mean, log_var, z))) == pytest.approx(expected, abs=0.03)
    mixture.means.assign(np.tile([[0.3, 0.0]], (3, 1)))
    mixture.log_vars.assign(np.full((3, 2), np.log(4.0)))
    expected = 0.5 * ((np.exp(log_var) + (mean - [0.3, 0]) ** 2) / 4 - log_var + np.log(4) - 1).sum()
    assert float(ops.mean(mixture.divergence(mean, log_var, z))) == pytest.approx(expected, abs=0.03)


def test_the_model_in_the_box_knows_digits(sample):
    """It is the committed run: 300 real digits cost it what they should, though it was trained on them."""
    vae = lab.default_model()
    assert 138 < -vae_mnist.evaluate_elbo(vae, sample.x_test[:300])["elbo"] < 152
    assert len(lab.default_history()["val_loss"]) == lab.DEFAULT.epochs


def test_own_elbo_is_that_of_the_script_for_bernoulli_pixels(trained, sample):
    x = sample.x_test[:300]
    known = vae_mnist.evaluate_elbo(trained[0], x, samples=10)  # its standard error is about 0.1
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


def test_a_recorded_table_has_a_row_for_each_case(monkeypatch):
    cases = [(True, -1), (True, -3), (False, 0), (False, -2)]
    runs = [{"kl": kl, "log_p": {"test": log_p, "train": 0}} for kl, log_p in cases]
    shown = []
    monkeypatch.setattr(lab.drawing, "recorded", lambda experiment: runs)
    monkeypatch.setattr(lab.drawing, "table", lambda header, rows: shown.append((header, rows)))
    lab.recorded_table("any", {"kl": "KL term"}, {"log_p.test": "held out", "log_p.train - log_p.test": "difference"})
    lab.recorded_means("any", {"log_p.test": "held out"})
    assert shown[0] == (
        ["KL term", "held out", "difference"], [["yes", "−2.0 ± 1.0", "2.0 ± 1.0"], ["no", "−1.0 ± 1.0", "1.0 ± 1.0"]]
    )  # fmt: skip
    assert shown[1][1] == [["held out", "−1.50 ± 0.65"]]  # of -1, -3, 0, -2


def test_recorded_claims_are_of_the_full_set_and_three_seeds():
    """And the table of benchmarks/README.md names each of them, and no other. All cases have the same seeds."""
    record = json.loads((ROOT / "benchmarks" / "claims.json").read_text())
    page = (ROOT / "benchmarks" / "README.md").read_text().partition("| experiment |")[2].split("\n\n")[0]
    named = [name for line in page.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(named) == sorted(record)
    for name, experiment in record.items():
        assert experiment["dataset"] == "MNIST", name
        seeds = [run["seed"] for run in experiment["runs"]]
        assert {0, 1, 2} <= {*seeds}, name
        assert len({seeds.count(seed) for seed in seeds}) == 1, name
