"""`examine`: its numbers against independent ones, each finding on a network that is broken so, and what it refuses."""

import functools
import json
import math
import re
import string
import threading
from dataclasses import replace

import keras
import numpy as np
import pytest
from PIL import Image
from threadpoolctl import threadpool_limits

import vae_mnist
from seevae.basics import UserError
from seevae.diagnosis import dense, findings, sentences
from seevae.diagnosis.examine import compare, examine, phase
from seevae.diagnosis.given import Given, images_of
from seevae.diagnosis.network import Network
from seevae.diagnosis.report import as_pictures
from seevae.images import data
from seevae.results import evidence, explorer
from seevae.run import folder

PIXELS = 196  # of the digits at half their size, on which the networks here train


# ---------------------------------------------------------------------------------------------------------------
# Networks in NumPy
# ---------------------------------------------------------------------------------------------------------------


def sigmoid(logits):
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))


class Numpy:
    """A VAE in NumPy, trained by Adam: x -> h relu -> z_mean, z_log_var; z -> h relu -> sigmoid.

    beta: the weight of the KL loss. shared: one epsilon for all images and steps. scale: that of the reconstruction.
    """

    @threadpool_limits.wrap(limits=1)  # the products are small
    def __init__(self, x, latent_dim=2, hidden=32, steps=600, beta=1.0, shared=False, scale=1.0, seed=0):
        rng, pixels = np.random.default_rng(seed), x.shape[1]
        sizes = [(pixels, hidden), (hidden, latent_dim), (hidden, latent_dim), (latent_dim, hidden), (hidden, pixels)]
        limits = [math.sqrt(6 / sum(size)) for size in sizes]
        self.layers = [
            [rng.uniform(-limit, limit, size).astype("float32"), np.zeros(size[1], "float32")]
            for size, limit in zip(sizes, limits, strict=True)
        ]
        epsilon = rng.standard_normal((1, latent_dim), "float32")
        moments = [[[0 * part, 0 * part] for part in layer] for layer in self.layers]
        for step in range(1, steps + 1):
            batch = x[rng.integers(0, len(x), 100)]
            noise = epsilon if shared else rng.standard_normal((100, latent_dim), "float32")
            rate = 3e-3 * math.sqrt(1 - 0.999**step) / (1 - 0.9**step)
            gradients = self.gradients(batch, noise, beta, scale)
            for layer, kept, gradient in zip(self.layers, moments, gradients, strict=True):
                for part, (m, v), g in zip(layer, kept, gradient, strict=True):
                    m += 0.1 * (g - m)
                    v += 0.001 * (g * g - v)
                    part -= rate * m / (np.sqrt(v) + 1e-7)

    def gradients(self, x, noise, beta, scale):
        (w1, b1), (w2, b2), (w3, b3), (w4, b4), (w5, b5) = self.layers
        h = np.maximum(x @ w1 + b1, 0)
        z_mean, z_log_var = h @ w2 + b2, h @ w3 + b3
        sigma = np.exp(z_log_var / 2)
        z = z_mean + sigma * noise
        h_decoder = np.maximum(z @ w4 + b4, 0)
        to_x = scale * (sigmoid(h_decoder @ w5 + b5) - x) / len(x)
        to_h = (to_x @ w5.T) * (h_decoder > 0)
        to_z = to_h @ w4.T
        to_mean = to_z + beta * z_mean / len(x)
        to_log_var = to_z * noise * sigma / 2 + beta * (sigma**2 - 1) / 2 / len(x)
        back = (to_mean @ w2.T + to_log_var @ w3.T) * (h > 0)
        pairs = ((x, back), (h, to_mean), (h, to_log_var), (z, to_h), (h_decoder, to_x))
        return [(left.T @ right, right.sum(axis=0)) for left, right in pairs]

    def encode(self, x):
        h = np.maximum(x.reshape(len(x), -1) @ self.layers[0][0] + self.layers[0][1], 0)
        return tuple(h @ kernel + bias for kernel, bias in self.layers[1:3])

    def logits(self, z):
        (w4, b4), (w5, b5) = self.layers[3:]
        return np.maximum(z @ w4 + b4, 0) @ w5 + b5

    def decode(self, z):
        return sigmoid(self.logits(z))

    def draw(self, x, rng=None, epsilon=None):
        z_mean, z_log_var = self.encode(x)
        epsilon = rng.standard_normal(z_mean.shape, "float32") if epsilon is None else epsilon
        return z_mean, z_log_var, z_mean + np.exp(z_log_var / 2) * epsilon


def halved(x):
    """Images (n, 784) at half their size, (n, 196)."""
    return x[:].reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).reshape(-1, PIXELS)


@pytest.fixture(scope="module", autouse=True)
def fast():
    """As on a fast machine: nothing that is tested here depends on the time that a decoding takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seevae.diagnosis.network.SLOW", math.inf)
        for name in ("SECONDS", "GRID_SECONDS"):
            patch.setattr(f"seevae.diagnosis.given.{name}", math.inf)
        yield


@pytest.fixture(scope="module")
def digits(sample):
    return halved(sample.x_train)


@pytest.fixture(scope="module")
def held_out(sample):
    return halved(sample.x_test)[:500]


@pytest.fixture(scope="module")
def sound(digits):
    return Numpy(digits)


def quickly(encode, decode, x, **options):
    """The quick part, which writes nothing; each finding is one sentence, and rests on a number."""
    record = examine(encode, decode, x, folder=None, **options)
    for sentence in record.findings:
        assert re.fullmatch(r"(?!.*\. ).*\d.*\.", sentence), sentence
        assert sentence.severity in ("wrong", "look", "note")
    return record


def said(record):
    """What was found, but for notes; silent latents are told as well."""
    return [finding for finding in record.findings if finding.severity != "note" or finding.name == "silent-latents"]


def one(found, start):
    """The one sentence that was found."""
    assert len(found) == 1, found
    assert found[0].startswith(start), found
    return found[0]


# ---------------------------------------------------------------------------------------------------------------
# The numbers
# ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def examined(trained, sample, tmp_path_factory):
    """Our own VAE, two epochs old, as keras models that somebody gives: its record, and the folder."""
    vae, place = trained[0], tmp_path_factory.mktemp("examined") / "mine"
    halves = vae.get_layer("encoder"), vae.get_layer("decoder")
    return examine(*halves, sample.x_test[:100], sample.y_test[:100], folder=place), place


def test_the_numbers_are_those_of_our_own_run(examined, trained, sample):
    record, _ = examined
    vae, x = trained[0], sample.x_test[:100]
    ours = vae_mnist.evaluate_evidence(vae, x)
    known = record["evidence"]
    assert known["importance_weighted"] == pytest.approx(ours["importance_weighted"], abs=1e-3), "the same draws"
    assert known["exact"] == pytest.approx(ours["exact"], abs=1e-3)
    assert known["kl_loss"] == pytest.approx(ours["kl_loss"], rel=1e-5)
    assert known["elbo"] == pytest.approx(ours["elbo"], abs=4 * math.sqrt(2) * ours["standard_error"])
    assert known["standard_error"] == pytest.approx(ours["standard_error"], rel=0.2)
    assert known["gap"] == pytest.approx(known["exact"] - known["elbo"])
    assert record["held_out"]["elbo"] == known["elbo"], "of 100 images, the first 1,000 are all"


def test_the_kl_of_each_latent_by_hand(examined, trained, sample):
    z_mean, z_log_var = (keras.ops.convert_to_numpy(q) for q in trained[0].get_layer("encoder")(sample.x_test[:100]))
    by_hand = [np.mean(0.5 * (np.exp(v) + m**2 - 1 - v)) for m, v in zip(z_mean.T, z_log_var.T, strict=True)]
    assert examined[0]["kl_of_latents"] == pytest.approx(by_hand, rel=1e-4)
    assert examined[0]["latents_in_use"] == 2


def test_its_files_are_pictures_a_record_and_the_explorer(examined):
    record, place = examined
    pictures = ["latent_scatter.png", "manifold.png", "prior_samples.png", "reconstructions.png"]
    pages = [folder.EXPLORER, folder.REPORT]
    assert sorted(path.name for path in place.iterdir()) == sorted([*pages, *pictures, folder.RECORD])
    assert json.loads((place / folder.RECORD).read_text()) == record
    assert record["left_out"] == []


def test_log_evidence_of_a_toy_by_brute_force(tmp_path):
    """Six pixels whose logits are linear in z: log p(x) is the mean of p(x|z) over 200,000 draws of the prior."""
    rng = np.random.default_rng(1)
    weights, x = rng.standard_normal((2, 6)), rng.integers(0, 2, (20, 6)).astype("float32")
    q = np.zeros((2, 2)), np.log(0.5)

    def encode(rows):
        return 0 * rows[:, :2] + 0.3, 0 * rows[:, :2] + np.float32(q[1])

    record = examine(encode, lambda z: sigmoid(z @ weights), x, folder=tmp_path)
    probabilities = sigmoid(rng.standard_normal((200_000, 2)) @ weights)  # (draws, 6)
    likelihood = np.exp(np.log(probabilities) @ x.T + np.log(1 - probabilities) @ (1 - x).T)  # (draws, 20)
    log_p = np.log(likelihood.mean(axis=0)).mean()
    error = (likelihood.std(axis=0) / likelihood.mean(axis=0)).mean() / math.sqrt(200_000)
    assert record["evidence"]["exact"] == pytest.approx(log_p, abs=0.01 + 4 * error)
    z = 0.3 + math.sqrt(0.5) * rng.standard_normal((200_000, 2))
    reconstruction = (
        -np.log(sigmoid(z @ weights)).mean(axis=0) @ x.T - np.log(sigmoid(-z @ weights)).mean(0) @ (1 - x).T
    )
    kl = 2 * 0.5 * (0.5 + 0.3**2 - 1 - math.log(0.5))
    held_out = record["held_out"]
    assert held_out["kl_loss"] == pytest.approx(kl, rel=1e-5)
    assert held_out["reconstruction_loss"] == pytest.approx(reconstruction.mean(), abs=4 * held_out["standard_error"])


def test_the_standard_errors_are_those_of_repetition(sound, held_out):
    """Of drawing z: the spread of the ELBO over seeds. Of the images: the spread over as many other ones."""
    network = Network(sound.encode, sound.decode, (PIXELS,))
    runs = [
        evidence.elbo_of(*evidence.elbo_terms(network.encode, network.decode, held_out[:50], seed=seed))
        for seed in range(40)
    ]
    spread = np.std([run["elbo"] for run in runs], ddof=1)
    assert runs[0]["standard_error"] == pytest.approx(spread, rel=0.45)  # 40 runs know it to 11 %
    shuffled = np.random.default_rng(0).permutation(held_out)
    others = [
        evidence.elbo_of(*evidence.elbo_terms(network.encode, network.decode, shuffled[i::10])) for i in range(10)
    ]
    spread = np.std([run["elbo"] for run in others], ddof=1)
    assert np.mean([run["standard_error_of_images"] for run in others]) == pytest.approx(spread, rel=0.7)


def test_a_function_is_given_a_thousand_rows_at_most(tmp_path):
    encode, decode, x = coloured((6,), n=1200)
    rows = []

    def counted(function):
        return lambda given: rows.append(len(given)) or function(given)

    record = examine(counted(encode), counted(decode), x, folder=tmp_path)
    assert max(rows) == 1000
    assert (record["images"], record["evidence"]["images"]) == (1200, 1000)
    assert record["held_out"]["elbo"] != record["evidence"]["elbo"]


def test_a_slow_decoder_is_asked_less_and_that_is_told(sound, held_out, tmp_path, monkeypatch):
    """Every decoder is slow, and no grid fits: what is made is counted, and what is left out is said."""
    codes = []

    def decode(z):
        codes.append(len(z))
        return sound.decode(z)

    examine(sound.encode, decode, held_out, folder=tmp_path / "fast")
    usual, codes[:] = sum(codes), []
    monkeypatch.setattr("seevae.diagnosis.network.SLOW", -1)
    monkeypatch.setattr("seevae.diagnosis.given.GRID_SECONDS", 0)
    monkeypatch.setattr("seevae.diagnosis.given.SECONDS", 0)
    record = examine(sound.encode, decode, held_out, folder=tmp_path / "slow")
    assert sum(codes) < usual / 3
    assert record["findings"] == []
    assert (record["measured"]["images"], record["evidence"]["images"], record["evidence"]["exact"]) == (250, 100, None)
    assert re.search(
        r"Decoding is slow, .* on 250 images at most, the ELBO on 3 draws .*exact log p", record["left_out"][0]
    )


def test_what_takes_long_is_told_and_told_again(monkeypatch):
    """It lasts until the second word has come; there is no time between them."""
    said, again = [], threading.Event()

    def tell(words, **_):
        said.append(words)
        if len(said) > 1:
            again.set()

    monkeypatch.setattr("seevae.diagnosis.examine.FIRST_WORD", 0.0)
    monkeypatch.setattr("seevae.diagnosis.examine.NEXT_WORD", 0.0)
    monkeypatch.setattr("seevae.diagnosis.examine.print", tell, raising=False)
    with phase("the diagnosis"):
        assert again.wait(60)
    assert re.fullmatch(r"examine: the diagnosis, \d+ s so far \.\.\.", said[0])


# ---------------------------------------------------------------------------------------------------------------
# What looks wrong
# ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sentences.KNOWN)
def test_every_sentence_is_one(key):
    """With its severity and all its parts; numbers keep their places, text needs none."""

    class Any(str):
        def __format__(self, how):
            return "7" if how else "seven"

    _, words = sentences.KNOWN[key]
    names = {name for _, name, _, _ in string.Formatter().parse(words) if name}
    said = sentences.Finding(key, **dict.fromkeys(names, Any()))
    assert said.severity in ("wrong", "look", "note")
    assert re.fullmatch(r"[A-Za-z_7].*[^.]\.", said), said
    assert not re.search(r"\. |[<>{}]|  ", said), said


RNG = np.random.default_rng(0)
BROKEN = {  # name: which half of a sound network is otherwise, how, and how each sentence that is said starts
    "logits": ("decode", Numpy.logits, "The decoder's output goes from -"),
    "clip": ("decode", lambda vae, z: np.clip(vae.decode(z), 0.1, 0.9), "The decoder's output is never below 0.1, and"),
    "a clip that log needs": ("decode", lambda vae, z: np.clip(vae.decode(z), 1e-4, 1 - 1e-4)),
    "means that leave the unit interval": ("decode", lambda vae, z: 1.2 * vae.decode(z) - 0.1),  # but for notes
    "noise on z": ("decode", lambda vae, z: vae.decode(z + 0.1 * noise(z)), "Probabilities differ between two calls"),
    "noise on x": ("encode", lambda vae, x: vae.encode(x * (RNG.random(x.shape) < 0.9)), "z_mean differs between two"),
    "one sigma": ("encode", lambda vae, x: one_sigma(vae, x), "z_log_var is the same for all images (-2 to -1.5)"),
    "right draws": ("encode", lambda vae, x: vae.draw(x, RNG)),
    "wide draws": ("encode", lambda vae, x: vae.draw(x, epsilon=5 * noise(x[:, :2])), "The draws z do not fit z_mean"),
    "draws of a seed": ("encode", lambda vae, x: vae.draw(x, np.random.default_rng(7)), "Two calls of encode draw the"),
    "one draw": ("encode", lambda vae, x: vae.draw(x, epsilon=noise(x[:1, :2])), "The draws z of all images share one"),
    "one draw, and the variance": (
        *("encode", lambda vae, x: as_read("a variance", vae.draw(x, epsilon=noise(x[:1, :2])))),
        *("The draws z of all images share one epsilon", "z_log_var is a variance"),
    ),
}


def noise(like):
    return RNG.standard_normal(like.shape, "float32")


def one_sigma(vae, x):
    z_mean, z_log_var = vae.encode(x)
    return z_mean, 0 * z_log_var + np.array([-2, -1.5])


def as_read(name, q):
    """z_mean, z_log_var and perhaps z, with z_log_var given as another reading has it."""
    return q[0], READ[name](q[1]), *q[2:]


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named(name, sound, held_out):
    """By so many sentences; where the weight of the KL loss is still read, it is about 1."""
    half, way, *starts = BROKEN[name]
    halves = {"encode": sound.encode, "decode": sound.decode} | {half: functools.partial(way, sound)}
    record = quickly(**halves, x=held_out)
    assert [sentence[: len(start)] for sentence, start in zip(said(record), starts, strict=True)] == starts
    assert record["measured"]["beta"] in (None, pytest.approx(1, abs=0.5))


def test_latents_that_went_silent(sound, held_out):
    """A third and a fourth latent that say nothing: q is the prior, and the decoder does not look."""
    encode = lambda x: [np.concatenate([part, 0 * part], axis=1) for part in sound.encode(x)]  # noqa: E731
    record = quickly(encode, lambda z: sound.decode(z[:, :2]), held_out)
    one(said(record), "2 of 4 latents went silent (z3, z4): their KL is 0.0000 nats at most")
    assert record["measured"]["beta"] == pytest.approx(1, abs=0.5)


def test_posterior_collapse_from_a_mean_over_pixels(digits, held_out):
    vae = Numpy(digits, scale=1 / PIXELS)
    record = quickly(vae.encode, vae.decode, held_out)
    assert f"a mean over the {PIXELS} pixels" in one(said(record), "Posterior collapse: no latent is used")
    assert record["measured"]["beta"] is None


READ = {
    "a variance": np.exp,
    "a standard deviation": lambda v: np.exp(v / 2),
    "the log of a standard deviation": lambda v: v / 2,
}


@pytest.mark.parametrize(
    ("name", "draws"),
    [*((name, True) for name in READ), *((name, False) for name in READ if "log" not in name)],  # draws alone tell that
)
def test_another_reading_of_z_log_var(name, draws, sound, held_out):
    plain = quickly(sound.encode, sound.decode, held_out)
    record = quickly(lambda x: as_read(name, sound.draw(x, RNG))[: 3 if draws else 2], sound.decode, held_out)
    sentence = one(said(record), f"z_log_var is {name}: ")
    assert re.search("noise of z has a mean square of (1.0|0.9)" if draws else "the ELBO is .* nats higher", sentence)
    assert record["read_as"]["z_log_var"] == name
    assert record["measured"]["beta"] == pytest.approx(plain["measured"]["beta"], rel=1e-3)
    assert record["kl_of_latents"] == pytest.approx(plain["kl_of_latents"], rel=1e-4)


def test_draws_that_are_z_mean(sound, held_out):
    """As in evaluation: a note, wherever z stands; the decoder does know the noise, and the numbers are the same."""
    plain = quickly(sound.encode, sound.decode, held_out)
    for order in ((0, 1, 0), (0, 0, 1)):
        record = quickly(lambda x, order=order: [sound.encode(x)[i] for i in order], sound.decode, held_out)
        assert [(f.name, f.severity) for f in record.notes] == [("no-noise", "note")]
        assert (len(record.findings), record["held_out"]) == (1, plain["held_out"])


def test_logits_are_decoded_as_probabilities(sound, held_out):
    plain, logits = (quickly(sound.encode, decode, held_out) for decode in (sound.decode, sound.logits))
    assert logits["read_as"]["decode"] == "logits"
    assert logits["held_out"]["elbo"] == pytest.approx(plain["held_out"]["elbo"], abs=1e-3)


def test_a_sigma_that_cannot_be(sound, held_out):
    """A million, or a millionth; what is left over is 0.2."""
    for sigma, names in ((1e6, ["sigma"]), (1e-6, ["sigma"]), (1, []), ("learned", [])):
        record = quickly(sound.encode, sound.decode, held_out, likelihood="gaussian", sigma=sigma)
        assert [name for name in record["finding_names"] if name == "sigma"] == names
        assert not names or record["finding_names"] == names


@pytest.mark.parametrize(("beta", "latent_dim"), [(4, 2), (0.2, 10)])
@pytest.mark.slow
def test_two_scales_are_read_off_a_trained_network(beta, latent_dim, digits, held_out):
    vae = Numpy(digits, latent_dim, beta=beta, steps=1200)
    record = quickly(vae.encode, vae.decode, held_out)
    found, measured = record.findings, record["measured"]
    assert measured["beta"] == pytest.approx(beta, rel=0.35)
    weighs = f"The KL loss weighs {measured['beta']:.3g} ± {measured['beta_error']:.2g} times"
    assert any(weighs in finding for finding in found), "a note, where a squared error would weigh so too"


def templates(n, seed=0):
    """Images of one of two kinds, which differ in all their 784 pixels: to know the kind is worth some 400 nats."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(0, 2, (n, 1))
    return np.where(rng.random((n, 784)) < 0.03, 1 - kind, kind).astype("float32")


@pytest.mark.slow
def test_the_kl_summed_over_a_batch_of_100():
    vae = Numpy(templates(5000), hidden=16, beta=100, steps=2000)
    record = quickly(vae.encode, vae.decode, templates(500, seed=1))
    assert record["measured"]["beta"] == pytest.approx(100, abs=4 * record["measured"]["beta_error"])
    assert any(sentence.startswith("The KL loss weighs") for sentence in said(record))


def test_a_weight_is_wrong_where_both_readings_say_so(monkeypatch):
    """By more than four errors, on the same side; a negative one is of a network that is not there yet."""
    sound = [(1.0, 0.1), (1.9, 0.01), (-2.7, 0.2), (0.6, 0.01)]
    wrong = {"sum the reconstruction": [(101, 8)], "a beta of 2.5 stands": [(2.5, 0.1)]}
    wrong["add the KL"] = [(0.2, 0.01), (0.0, 0.01), (-0.02, 0.001)]
    monkeypatch.setattr(findings, "squared_error", lambda subject: None)
    row = np.zeros((1, 784), "float32")
    subject = findings.Subject(row, row[:, :2], row[:, :2], None)
    said = lambda *readings: " ".join(findings.two_scales(*readings, subject))  # noqa: E731
    for reading in (*sound, (2.5, 0.2), (0.4, 0.03)):
        assert said(reading, reading) == ""
    for advice, readings in wrong.items():
        for reading in readings:
            assert advice in said(reading, reading)
            for other in sound:
                for pair in ((reading, other), (other, reading)):
                    assert not said(*pair) or ("holds z_mean" in said(*pair) and pair[0][0] < 0.1 < pair[1][0])
    assert "and not sigma (0.003 ± 0.0001)" in said((0.003, 1e-4), (0.8, 0.07))
    assert said((0.003, 1e-4), (0.37, 0.27)) == ""


def test_no_kl_loss_at_all(digits, held_out):
    """The codes leave the prior, and the weight of the KL loss reads 0."""
    vae = Numpy(digits, beta=0)
    record = quickly(vae.encode, vae.decode, held_out)
    assert sorted(sentence[:22] for sentence in said(record)) == ["The KL loss weighs 0.0", "The codes leave the pr"]
    z_mean, z_log_var = vae.encode(held_out)
    v, m = np.exp(z_log_var).mean(axis=0) + z_mean.var(axis=0), z_mean.mean(axis=0)
    by_hand = np.max(0.5 * (v + m**2 - 1 - np.log(v)))
    assert record["measured"]["prior_mismatch"] == pytest.approx(by_hand, rel=1e-3)


def test_the_worst_latent_is_named_with_its_distance_from_the_prior():
    """Codes N(m, 0.5) beside q of 0.5: all together N(m, 1), m^2 / 2 nats from the prior."""
    means = np.array([0.4, 4.2, 5.3, 3.2])
    codes = np.random.default_rng(0).standard_normal((100, 4))
    codes = means + math.sqrt(0.5) * (codes - codes.mean(axis=0)) / codes.std(axis=0)
    subject = findings.Subject(codes, codes, np.full_like(codes, math.log(0.5)), None)
    (said,) = findings.off_prior(subject)
    assert "in 2 of 4 latents: those of z3 are 14.0 ± 0.4 nats from N(0, 1) (at most 5)" in said
    assert subject.numbers["prior_mismatch"] == pytest.approx(5.3**2 / 2)
    nearer = replace(subject, z_mean=codes - means + [2.4, -2.4, 0, 0])  # 2 * 2.4^2 / 2, and 4 * 0.35 of the rest
    (said,) = findings.off_prior(nearer)
    assert "this alone makes 5.8 of the 7.1 nats" in said


def test_outputs_that_are_cut_off_by_hand(held_out):
    """Pixels below 0.3 become 0, at log(1e-7) a nat of ink."""
    cut, codes = np.where(held_out < 0.3, 0, held_out), np.zeros((500, 2))
    (said,) = findings.saturated(findings.Subject(held_out, codes, codes, lambda z, rows: cut[rows]))
    assert said.numbers["cost"] == pytest.approx(7 * math.log(10) * held_out[held_out < 0.3].sum() / 500)


def test_a_decoder_that_ignores_z(sound, held_out):
    average = held_out.mean(axis=0)
    record = quickly(sound.encode, lambda z: np.tile(average, (len(z), 1)), held_out)
    one(said(record), "The decoder ignores z: with the code of another image it loses 0.00 ± 0.00 nats")
    assert record["measured"]["exchange_cost"] == 0


@pytest.mark.parametrize("latent_dim", [2, 10])
def test_one_epsilon_in_all_the_training(latent_dim, digits, held_out):
    vae = Numpy(digits, latent_dim, shared=True)
    one(said(quickly(vae.encode, vae.decode, held_out)), "The noise of the training repeats: with one epsilon")


@pytest.mark.parametrize("steps", [50, 100])
def test_a_network_that_knows_next_to_nothing_yet(steps, digits, held_out):
    """It draws worse than the average image: that is all that is said of it, though half the images are not worse."""
    vae = Numpy(digits, steps=steps)
    record = quickly(vae.encode, vae.decode, held_out)
    assert record["finding_names"] == ["untrained"]
    assert "the network is not trained" in record.findings[0]


def test_a_few_images_blame_no_sound_network(sound, digits, held_out):
    """The average of two images is nearer to them than any network is; one that is not trained is seen all the same."""
    new = Numpy(digits, steps=1)
    for n in (2, 5, 20):
        assert not quickly(sound.encode, sound.decode, held_out[:n]).wrong
        assert [finding.name for finding in quickly(new.encode, new.decode, held_out[:n]).wrong] == ["untrained"]


def test_a_young_network_whose_sigma_is_still_wide_had_its_noise(sound, held_out):
    """Where z_mean gains little, or draws lose a part of it, noise was there; where they lose all of much, none was."""
    average = held_out.mean(axis=0)

    def names(share, wider):
        encode = lambda x: (sound.encode(x)[0], sound.encode(x)[1] + wider)  # noqa: E731
        decode = lambda z: (1 - share) * average + share * sound.decode(z)  # noqa: E731
        return quickly(encode, decode, held_out)["finding_names"]

    assert "no-noise" not in names(0.5, 5)
    assert "no-noise" not in names(0.7, 2.5)
    assert "no-noise" in names(0.7, 5)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("latent_dim", "steps"), [(2, 200), (2, 1500), (2, 20_000), (10, 200), (10, 800), (10, 10_000), (20, 2000)]
)
def test_sound_networks_raise_nothing(latent_dim, steps, seed, digits, held_out):
    vae = Numpy(digits, latent_dim, steps=steps, seed=seed)
    record = quickly(vae.encode, vae.decode, held_out)
    print(latent_dim, steps, seed, record["measured"])
    assert {*record["finding_names"]} <= {"silent-latents"}, "small digits need few latents"
    assert steps not in (800, 1500) or 0.6 < record["measured"]["beta"] < 1.6


# ---------------------------------------------------------------------------------------------------------------
# Whatever it was written in
# ---------------------------------------------------------------------------------------------------------------


def test_pytorch_gives_what_numpy_gives(sound, held_out):
    """A module's methods, tensors with a gradient, in half precision too, and functions that take NumPy, or tensors."""
    torch = pytest.importorskip("torch")

    class VAE(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = torch.nn.ParameterList(torch.from_numpy(part) for layer in sound.layers for part in layer)

        def dense(self, rows, layer):
            return rows @ self.parts[2 * layer] + self.parts[2 * layer + 1]

        def encode(self, x):
            h = torch.relu(self.dense(x, 0))
            return self.dense(h, 1), self.dense(h, 2)

        def decode(self, z):
            return torch.sigmoid(self.dense(torch.relu(self.dense(z, 3)), 4))

    vae, x = VAE(), held_out[:50]
    assert vae.encode(torch.from_numpy(x))[0].requires_grad
    for encode, decode in (
        (vae.encode, vae.decode),
        (lambda x: vae.encode(torch.from_numpy(x)), lambda z: vae.decode(torch.from_numpy(z)).bfloat16()),
        (lambda x: vae.encode(x), lambda z: torch.sigmoid(torch.logit(vae.decode(z)))),  # functions of tensors
    ):
        network = Network(encode, decode, x.shape[1:])
        for ours, theirs in zip(network.encode(x), sound.encode(x), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-4)
        z = network.encode(x)[0]
        np.testing.assert_allclose(network.decode(z), sound.decode(z), atol=0.01)
    np.testing.assert_array_equal(images_of(torch.from_numpy(x))[0], x)
    np.testing.assert_array_equal(images_of(x > 0.5)[0], (x > 0.5).astype("float32"))
    broken = Network(lambda x: vae.encode(x[:, :3]), vae.decode, x.shape[1:])  # a function of tensors, with a fault
    with pytest.raises(UserError, match=r"encode fails on a tensor .* \(RuntimeError: mat1 and mat2"):
        broken.encode(x)
    fixed = Network(lambda x: vae.encode(x.view(7, 196)), vae.decode, x.shape[1:])  # NumPy's view is another
    with pytest.raises(UserError, match=r"encode fails on a tensor .* \(RuntimeError: shape '\[7, 196\]' is invalid"):
        fixed.encode(x)


def test_distributions_in_the_place_of_arrays(sound, held_out):
    """With methods, as TensorFlow Probability's, or fields that say the same, as PyTorch's; a deviation is read so."""

    class Normal:
        def __init__(self, z_mean, z_log_var):
            self.parameters = z_mean, z_log_var

        def mean(self):
            return self.parameters[0]

        def stddev(self):
            return np.exp(self.parameters[1] / 2)

    class Bernoulli:
        def __init__(self, logits):
            self.logits, self.probs = logits, sigmoid(logits)
            self.mean = self.probs

        def log_prob(self, x):
            return x * np.log(self.probs) + (1 - x) * np.log(1 - self.probs)

    plain = quickly(sound.encode, sound.decode, held_out)
    record = quickly(lambda x: Normal(*sound.encode(x)), lambda z: Bernoulli(sound.logits(z)), held_out)
    assert record["finding_names"] == ["fields"]
    assert record["held_out"]["elbo"] == pytest.approx(plain["held_out"]["elbo"], abs=1e-3)


def test_jax_gives_what_numpy_gives(sound, held_out):
    jax = pytest.importorskip("jax")
    encode = jax.jit(
        lambda x: tuple(jax.nn.relu(x @ sound.layers[0][0] + sound.layers[0][1]) @ k + b for k, b in sound.layers[1:3])
    )
    network = Network(encode, sound.decode, (PIXELS,))
    np.testing.assert_allclose(network.encode(held_out)[0], sound.encode(held_out)[0], atol=1e-4)


@pytest.fixture
def quick(monkeypatch):
    """No log p(x), which takes the time of a short test."""
    monkeypatch.setattr(Given, "log_p", lambda *arguments: None)


def coloured(shape, n=30):
    """An encoder and a decoder of two latents for images of any shape, whose pixels follow z1, and such images."""

    def decode(z):
        return np.tile(sigmoid(z[:, :1]), (1, math.prod(shape))).reshape(-1, *shape)

    def encode(x):
        mean = x.reshape(len(x), -1).mean(axis=1, keepdims=True) * np.array([[2, -2]])
        return mean, 0 * mean - 2

    return encode, decode, np.random.default_rng(0).random((n, *shape))


@pytest.mark.parametrize("shape", [(10, 12), (10, 12, 1), (1, 10, 12), (10, 12, 3), (3, 10, 12)])
@pytest.mark.slow
def test_pictures_of_other_sizes_and_colours(shape, quick, tmp_path):
    encode, decode, x = coloured(shape)
    names = np.array([f"kind {i % 15}" for i in range(30)])
    record = examine(encode, decode, x, names, folder=tmp_path)
    assert record["classes"] == [f"kind {i}" for i in range(15)], "in their order, 2 before 10"
    pictures = {path.stem: np.asarray(Image.open(path).convert("RGB")) for path in tmp_path.glob("*.png")}
    assert {*pictures} == {"latent_scatter", "manifold", "prior_samples", "reconstructions"}
    colourful = np.ptp(pictures["reconstructions"].astype(int), axis=-1).max() > 100
    assert colourful == (3 in shape)
    (word,) = record["left_out"]
    assert word.startswith("No explorer: it shows a dense network of 784 pixels")


def test_the_channels_of_a_picture_come_last():
    image = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)  # as in PyTorch
    picture = as_pictures(image.reshape(2, -1), (3, 4, 5))
    assert picture.shape == (2, 4, 5, 3)
    assert picture[1, 2, 4, 0] == image[1, 0, 2, 4]
    assert as_pictures(image.reshape(2, -1), (60, 1, 1, 1)) is None
    for shape in ((3, 4, 5), (4, 5, 3)):  # a decoder that has them first, whatever the images have
        network = Network(None, lambda z: image, shape)
        np.testing.assert_array_equal(as_pictures(network.decoded(np.zeros((2, 2))), shape), picture)


def test_the_report_names_what_looks_wrong(quick, digits, held_out, tmp_path, capsys):
    vae = Numpy(digits, 3, steps=300, beta=0)
    record = examine(vae.encode, vae.logits, held_out, folder=tmp_path)
    lines = capsys.readouterr().out.splitlines()
    count, held, measured = len(record["findings"]), record["held_out"], record["measured"]
    assert count >= 3
    for line, sentence in zip(lines, record["findings"], strict=False):  # before the numbers of the network so read
        assert line.endswith(sentence)
    assert lines[count].startswith(f"Held-out ELBO {held['elbo']:.2f} nats per image")
    assert f"{held['standard_error_of_images']:.2f} of the choice of images" in lines[count]
    assert any(f"{measured['beta']:.2f} ± {measured['beta_error']:.2f}" in line for line in lines[count:])
    assert lines[-1].startswith(f"Wrote {tmp_path / 'metrics.json'}")


# ---------------------------------------------------------------------------------------------------------------
# The explorer
# ---------------------------------------------------------------------------------------------------------------


def contents(page):
    """What the explorer's page holds."""
    return json.loads(re.search(r'id="contents">(.*?)</script>', page, flags=re.S)[1])


def test_the_explorer_is_that_of_our_own_run(examined, trained, sample):
    vae, (record, place) = trained[0], examined
    dataset = sample._replace(x_test=sample.x_test[:100], y_test=sample.y_test[:100], x_train=sample.x_train[:0])
    ours, theirs = (
        contents(explorer.page(*vae_mnist.halves(vae), dataset, ["#000000"] * 62)),
        contents((place / "explorer.html").read_text()),
    )
    for key in ("layers", "picks", "codes", "names", "epsilons", "halfWidth"):
        assert theirs[key] == ours[key], key
    assert record["left_out"] == []


@pytest.fixture(scope="module")
def big(sample):
    """A network of 784 pixels and three latents, with hidden layers of two sizes, and its layers by name."""
    vae = Numpy(sample.x_train[:500], 3, hidden=16, steps=50)
    vae.layers[3], vae.layers[4] = [part[..., :9] for part in vae.layers[3]], [vae.layers[4][0][:9], vae.layers[4][1]]
    return vae, dict(zip(dense.LAYERS, vae.layers, strict=True))


def made(vae, layers, x=None, **functions):
    """The page's layers, or the word why there is none."""
    network = Network(functions.get("encode", vae.encode), functions.get("decode", vae.decode), (784,))
    network.latent_dim = 3
    try:
        return list(dense.find(network, layers, x))
    except dense.NotDenseError as error:
        return str(error)


def test_the_explorer_of_layers_that_are_given(big, sample):
    vae, layers = big
    x = sample.x_test[:50]
    assert made(vae, layers, x) == list(dense.LAYERS)
    assert "784 pixels" in made(vae, None, x)
    assert made(vae, {"z_mean": ()}, x).startswith("layers= must hold five layers, a kernel")
    transposed = layers | {"encoder_h": (layers["encoder_h"][0].T, layers["encoder_h"][1])}
    assert "those found are (16, 784)" in made(vae, transposed, x)
    assert "PyTorch's weights want .T" in made(vae, transposed, x)
    for name in dense.LAYERS:
        other = layers | {name: (layers[name][0], layers[name][1] + 0.1)}
        assert "do not give what encode and decode give" in made(vae, other, x), name
    assert "a kernel (in, out) and a bias (out,)" in made(vae, layers | {"z_mean": 3}, x)


def test_the_explorer_of_keras_models_under_any_names(big, sample):
    """The heads in either order, a hidden layer inside another model, images that are not flat."""
    vae, _ = big
    image, z = keras.Input((28, 28)), keras.Input((3,))
    flat = keras.layers.Flatten()(image)
    inner = keras.Sequential([keras.Input((784,)), keras.layers.Dense(16, "relu")])
    second, first = keras.layers.Dense(3)(h := inner(flat)), keras.layers.Dense(3)(h)
    encoder = keras.Model(image, [first, second])
    drawn = keras.layers.Dense(784, "sigmoid")(keras.layers.Dense(9, "relu")(z))
    decoder = keras.Model(z, keras.layers.Reshape((28, 28))(drawn))
    x = sample.x_test[:30]
    network = Network(encoder, decoder, (28, 28))
    network.outputs(x)
    found = dense.find(network, None, x)
    assert [kernel.shape for kernel, _ in found.values()] == [part.shape for part, _ in vae.layers]
    z_mean, z_log_var = network.encode(x)
    h = np.maximum(x @ found["encoder_h"][0] + found["encoder_h"][1], 0)
    np.testing.assert_allclose(h @ found["z_mean"][0] + found["z_mean"][1], z_mean, atol=1e-4)
    np.testing.assert_allclose(h @ found["z_log_var"][0] + found["z_log_var"][1], z_log_var, atol=1e-4)

    class Subclassed(keras.Model):
        """The same, with its layers in another order."""

        def __init__(self):
            super().__init__()
            self.heads, self.inner = [second_head, first_head], inner

        def call(self, x):
            h = self.inner(keras.ops.reshape(x, (-1, 784)))
            return self.heads[1](h), self.heads[0](h)

    first_head, second_head = encoder.layers[-2:] if encoder.layers[-2].output is first else encoder.layers[:-3:-1]
    subclassed = Network(Subclassed(), decoder, (28, 28))
    subclassed.outputs(x)
    assert dense.keras_layers(subclassed.functions["encode"])[0][0].shape == (16, 3), "a head comes first"
    again = dense.find(subclassed, None, x)
    assert all(np.array_equal(again[name][0], found[name][0]) for name in dense.LAYERS)
    tanh = keras.Sequential([keras.Input((3,)), keras.layers.Dense(9, "tanh"), *decoder.layers[2:]])
    tanh_network = Network(encoder, tanh, (28, 28))
    tanh_network.outputs(x)
    with pytest.raises(dense.NotDenseError, match="do not give what"):
        dense.find(tanh_network, None, x)
    convolved = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(2, 3)])
    with pytest.raises(dense.NotDenseError, match="here is a Conv2D"):
        dense.keras_layers(convolved)


# ---------------------------------------------------------------------------------------------------------------
# What only its owner knows
# ---------------------------------------------------------------------------------------------------------------


def test_a_gaussian_decoder_by_hand(sound, held_out):
    """-log N(x; mean, sigma^2) of a decoder that draws 0.5 always; a learned sigma is that of what is left over."""
    decode = lambda z: np.full((len(z), PIXELS), 0.5, "float32")  # noqa: E731
    left = np.mean((held_out - 0.5) ** 2)
    for options, sigma in (({"sigma": 0.2}, 0.2), ({"sigma": "learned"}, math.sqrt(left)), ({}, math.sqrt(left))):
        record = quickly(sound.encode, decode, held_out, likelihood="gaussian", **options)
        by_hand = PIXELS * (math.log(sigma) + 0.5 * math.log(2 * math.pi) + 0.5 * left / sigma**2)
        assert record["held_out"]["reconstruction_loss"] == pytest.approx(by_hand, rel=1e-4)
        assert record["read_as"]["sigma"] == pytest.approx(sigma, rel=1e-4)


def test_a_weight_that_was_meant_is_no_finding(digits, held_out):
    vae = Numpy(digits, beta=4, steps=1200)
    assert "kl-weight-high" in quickly(vae.encode, vae.decode, held_out)["finding_names"]
    meant = quickly(vae.encode, vae.decode, held_out, beta=4)
    assert not meant.wrong
    assert not meant.look
    assert "kl-weight-low" in quickly(vae.encode, vae.decode, held_out, beta=30)["finding_names"]


def test_what_encode_is_given_in_place_of_x(sound, held_out):
    """An encoder of other inputs, given as an array or by a function of x; without them it is told."""
    encode = lambda rows: sound.encode((rows + 1) / 2)  # noqa: E731
    plain = quickly(sound.encode, sound.decode, held_out)
    for inputs in (2 * held_out - 1, lambda x: 2 * x - 1):
        record = quickly(encode, sound.decode, held_out, inputs=inputs)
        assert record["findings"] == []
        assert record["held_out"]["elbo"] == pytest.approx(plain["held_out"]["elbo"], abs=1e-3)
    told = quickly(encode, sound.decode, held_out)
    assert told["finding_names"] == ["input-range"]
    assert told["read_as"]["inputs"] == "2 * x - 1"
    twice = np.concatenate([held_out[::-1], held_out], axis=1)  # in another order, and wider than x
    shuffled = quickly(lambda x: sound.encode(x[:, :PIXELS]), sound.decode, held_out, inputs=twice)
    assert shuffled["finding_names"] == ["halves-apart"]
    assert "not in one order" in shuffled.findings[0]


def test_images_of_another_kind_among_the_others(sound, held_out):
    x = held_out.copy()
    x[::20] = 1
    record = quickly(sound.encode, sound.decode, x)
    assert record["finding_names"] == ["partly-known"]
    assert record.findings[0].startswith("Of 500 images 25 are not known at all")


def test_images_from_minus_one_for_an_encoder_of_others(sound, held_out):
    """Its own range is found for it, and no other fault is."""
    record = quickly(sound.encode, sound.decode, 2 * held_out - 1)
    assert record["finding_names"] == ["input-range", "input-range"]
    assert record["read_as"]["inputs"] == "(x + 1) / 2"
    plain = quickly(sound.encode, sound.decode, held_out)
    assert record["held_out"]["elbo"] == pytest.approx(plain["held_out"]["elbo"], abs=1e-2)


def test_means_from_minus_one_with_a_sigma_of_that_range(sound, held_out):
    """All in the range of the training: the numbers are those of 0 to 1 and half the sigma."""
    encode, decode = (lambda x: sound.encode((x + 1) / 2)), (lambda z: 2 * sound.decode(z) - 1)
    for sigma in (0.5, "learned"):
        said = {"likelihood": "gaussian", "sigma": sigma}
        minus = quickly(encode, decode, 2 * held_out - 1, **said)
        plain = quickly(sound.encode, sound.decode, held_out, **said | ({"sigma": 0.25} if sigma == 0.5 else {}))
        assert minus["held_out"]["elbo"] == pytest.approx(plain["held_out"]["elbo"], abs=1e-2)
        assert {*minus["finding_names"]} == {"input-range", "outside-unit", *plain["finding_names"]}


def test_what_rests_on_a_sigma_that_nobody_said_is_not_tested(sound, held_out):
    """A network of a crossentropy: beside sigma = 0.2 its KL loss weighs too little, which would be no fault of it."""
    record = quickly(sound.encode, sound.decode, held_out, likelihood="gaussian")
    assert record["finding_names"] == ["sigma-assumed"]
    assert record["measured"]["beta"] is None
    assert any(words.startswith("not tested") and "draws of q" in words for words in record["unseen"])


def test_images_in_other_things(sound, held_out):
    """A Dataset of load_data, parts with names, batches, pixels that rounding took below 0, and what has no end."""
    plain = quickly(sound.encode, sound.decode, held_out)["held_out"]
    dataset = data.Dataset("mine", held_out[:0], held_out[:0], held_out, np.zeros(500))
    named = [{"label": 1, "image": image} for image in held_out]
    labelled, uneven = ([(part, np.zeros(len(part))) for part in evidence.batches(held_out, n)] for n in (100, 64))
    rounded = held_out - np.float32(1e-5) * (held_out == 0)
    for x in (dataset, named, iter(named), labelled, iter(uneven), [part for part, _ in uneven], rounded):
        assert quickly(sound.encode, sound.decode, x)["held_out"] == plain
    with pytest.raises(UserError, match=r"more than [\d,]+ parts, which may have no end: give the first ones"):
        quickly(sound.encode, sound.decode, (held_out for _ in iter(int, 1)))
    for nothing in (None, 3, {"x": held_out}, "x.npz"):
        with pytest.raises(UserError, match=r"^x=.* holds no images: give"):
            quickly(sound.encode, sound.decode, nothing)


def test_a_learned_sigma_that_was_fixed_in_the_training():
    """A linear decoder with the posterior of sigma = 0.71 in closed form, while pixels are left 0.1 apart."""
    rng = np.random.default_rng(0)
    directions = np.where(rng.random((2, PIXELS)) < 0.5, 0.1, -0.1)
    x = np.clip(0.5 + rng.standard_normal((500, 2)) @ directions + 0.1 * rng.standard_normal((500, PIXELS)), 0, 1)
    precision = directions @ directions.T / 0.5 + np.eye(2)

    def encode(rows):
        z_mean = (rows - 0.5) @ directions.T / 0.5 @ np.linalg.inv(precision)
        return z_mean, -np.log(np.diag(precision)) + 0.01 * rows[:, :2]

    learned = quickly(encode, lambda z: 0.5 + z @ directions, x, likelihood="gaussian", sigma="learned")
    (said,) = [finding for finding in learned.findings if finding.name.startswith("kl-weight")]
    assert said.severity == "note"
    assert "a Gaussian decoder of sigma = 0.7" in said
    known = quickly(encode, lambda z: 0.5 + z @ directions, x, likelihood="gaussian", sigma=0.71)
    assert not [name for name in known["finding_names"] if name.startswith("kl-weight")]


def test_each_image_meets_its_own_condition(sound, held_out):
    """More images than are judged; a wrong row would add 9 to a code, or another image's number to a pixel."""
    x = np.concatenate([held_out, held_out])[:700]
    of = np.arange(len(x))

    def encode(rows, c):
        np.testing.assert_allclose(rows[:, :5], x[c[:, 0].astype(int), :5])
        return sound.encode(rows)

    record = quickly(encode, lambda z, c: sound.decode(z), x, condition=of[:, None])
    assert record["findings"] == []
    plain = quickly(sound.encode, sound.decode, x)
    assert record["held_out"] == plain["held_out"]


def test_the_exact_log_p_of_a_conditional_one(tmp_path, monkeypatch):
    """The condition moves all logits: the mean over both kinds is that of two calls without a condition."""
    rng = np.random.default_rng(0)
    weights, x, kind = rng.standard_normal((2, 6)), rng.integers(0, 2, (20, 6)).astype("float32"), np.arange(20) % 2
    encode = lambda rows, c=None: (0 * rows[:, :2], 0 * rows[:, :2])  # noqa: E731
    record = examine(encode, lambda z, c: sigmoid(z @ weights + c), x, condition=kind[:, None], folder=tmp_path / "a")
    apart = [
        examine(encode, lambda z, one=one: sigmoid(z @ weights + one), x[kind == one], folder=tmp_path / str(one))
        for one in (0, 1)
    ]
    exact = [each["evidence"]["exact"] for each in (record, *apart)]
    assert exact[0] == pytest.approx((exact[1] + exact[2]) / 2, abs=1e-4)
    assert abs(exact[1] - exact[2]) > 0.1


def test_images_of_the_training_show_what_it_knows_by_heart(digits, held_out):
    vae = Numpy(digits[:60], 10, hidden=128, steps=1500)
    record = quickly(vae.encode, vae.decode, held_out, x_train=digits[:60])
    assert record["finding_names"] == ["overfitting"]
    elbo = [quickly(vae.encode, vae.decode, x)["held_out"]["elbo"] for x in (digits[:60], held_out)]
    assert record["measured"]["generalisation_gap"] == pytest.approx(elbo[0] - elbo[1], abs=3)


def test_a_forward_pass_in_the_place_of_encode(sound, held_out):
    """As a model's own call gives it: the images come first, or first and second, and draws of z perhaps last."""
    plain = quickly(sound.encode, sound.decode, held_out)
    rng = np.random.default_rng(0)

    def forward(x, images, draws):
        z_mean, z_log_var, z = sound.draw(x, rng)
        return [*[sound.decode(z), x][:images], z_mean, z_log_var, *[z][:draws]]

    for images, draws in ((1, 0), (2, 0), (1, 1)):
        record = quickly(lambda x, how=(images, draws): forward(x, *how), sound.decode, held_out)
        assert (record["finding_names"], record["held_out"]) == (["forward"], plain["held_out"])


def test_the_draws_are_those_of_the_seed(sound, held_out):
    one, again, other = (quickly(sound.encode, sound.decode, held_out[:50], seed=seed) for seed in (1, 1, 2))
    assert one["held_out"] == again["held_out"]
    assert one["held_out"]["elbo"] != other["held_out"]["elbo"]


def test_feature_maps_as_codes(sound, held_out):
    """As convolutions have them: (n, 1, 2, 1) in place of (n, 2)."""
    plain = quickly(sound.encode, sound.decode, held_out)
    maps = quickly(
        lambda x: [part.reshape(-1, 1, 2, 1) for part in sound.encode(x)],
        lambda z: sound.decode(z[:, 0, :, 0]),
        held_out,
    )
    assert (maps["findings"], maps["held_out"], maps["latent_dim"]) == ([], plain["held_out"], 2)


def test_the_random_numbers_of_a_training_stay(sound, held_out):
    """An encoder that draws from the global ones, in the midst of a training."""

    def encode(x):
        z_mean, z_log_var = sound.encode(x)
        return z_mean, z_log_var, z_mean + np.exp(z_log_var / 2) * np.random.standard_normal(z_mean.shape)

    np.random.seed(7)
    expected = np.random.standard_normal(3)
    np.random.seed(7)
    assert not quickly(encode, sound.decode, held_out[:200]).wrong
    np.testing.assert_array_equal(np.random.standard_normal(3), expected)


def test_the_quick_part_prints_and_writes_nothing(sound, held_out, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record = quickly(sound.encode, sound.decode, held_out[:50])
    assert record["evidence"] is None
    assert capsys.readouterr().out == ""
    assert [*tmp_path.iterdir()] == []


def test_two_records_side_by_side(sound, digits, held_out, tmp_path):
    """By the ELBO of the same images, in pairs; with records from a file, by the errors of both."""
    poor = Numpy(digits, steps=100)
    a, b = (quickly(vae.encode, vae.decode, held_out) for vae in (poor, sound))
    result, back = compare(a, b), compare(b, a)
    assert (result["better"], back["better"], compare(a, a)["better"]) == ("b", "a", None)
    assert result["difference"] == pytest.approx(a["held_out"]["elbo"] - b["held_out"]["elbo"])
    from_file = compare(json.loads(json.dumps(a)), json.loads(json.dumps(b)))
    assert from_file["difference"] == pytest.approx(result["difference"])
    assert from_file["error"] == pytest.approx(
        math.hypot(a["held_out"]["standard_error_of_images"], b["held_out"]["standard_error_of_images"])
    )
    assert result["error"] < from_file["error"], "in pairs"
    others = {"x": held_out[1:]}, {"likelihood": "gaussian", "sigma": 1}
    for options, words in zip(others, ("images", "likelihood"), strict=True):
        other = quickly(sound.encode, sound.decode, **({"x": held_out} | options))
        with pytest.raises(UserError, match=f"their {words} differ"):
            compare(b, other)


# ---------------------------------------------------------------------------------------------------------------
# What is refused, and the folder
# ---------------------------------------------------------------------------------------------------------------


def refused(tmp_path, encode, decode, x, **options):
    """The sentence with which examine refuses; no folder is left."""
    with pytest.raises(UserError) as caught:
        examine(encode, decode, x, folder=tmp_path / "new", **options)
    assert not (tmp_path / "new").exists()
    sentence = str(caught.value)
    assert re.fullmatch(r"\S.*: .*\.", sentence), sentence
    assert "--output" not in sentence
    return sentence


def test_outputs_that_are_refused(sound, tmp_path):
    x = np.random.default_rng(0).random((10, PIXELS))
    mean, log_var = sound.encode(x)
    for encode, decode, words in (
        (lambda x: np.ones((10, 3)), None, r"encode gives ndarray of shape \(10, 3\): give z_mean, z_log_var"),
        (lambda x: (mean, log_var, mean, mean), None, "encode gives a tuple of 4"),
        (
            lambda x: np.repeat(mean[:, :1], 6, 1),
            None,
            r"one array \(10, 6\), 3 columns each .*, but decode fails .* VAE",
        ),
        (lambda x: (mean, log_var[:, :1]), None, r"z_log_var has shape \(10, 1\) and not \(10, 2\)"),
        (lambda x: (mean[:9], log_var), None, r"z_mean has shape \(9, 2\) and not \(10, 2\)"),
        (lambda x: (mean[:, 0], log_var), None, r"z_mean has shape \(10,\) and not \(10, latent_dim\)"),
        (lambda x: (mean, log_var, mean[:, :1]), None, r"encode's z has shape \(10, 1\)"),
        (lambda x: (mean * np.nan, log_var), None, "encode's z_mean holds values that are NaN"),
        (lambda x: {"mean": mean, "std": log_var - 9}, None, "encode's std has values below 0"),
        (lambda x: (mean[: len(x)], 0 * log_var[: len(x)] - 100), None, "z_log_var reaches -100"),
        (
            lambda x: 1 / 0,
            None,
            r"encode fails on a NumPy array \(10, 196\) of float32 \(ZeroDivisionError: division by",
        ),
        (None, lambda z: sound.decode(z)[:, :5], r"decode's output has shape \(10, 5\) and not \(10, 196\)"),
        (None, lambda z: np.inf * sound.decode(z), "decode's output holds values that are NaN"),
        (None, lambda z: z @ mean, "decode fails on a NumPy array"),
    ):
        assert re.search(words, refused(tmp_path, encode or sound.encode, decode or sound.decode, x))


def test_arguments_that_are_refused(sound, tmp_path):
    good = np.random.default_rng(0).random((70, PIXELS))
    for x, options, words in (
        (255 * good, {}, r"values from 0\.\d+ to 25\d.*: divide them by 255\."),
        ((255 * good).astype("uint8"), {}, r"dtype uint8, not floats .*: if they go to 255, divide them by 255\."),
        (2 * good - 0.5, {}, r"values from -0\.4.* to .*: scale them \(\(x \+ 1\) / 2 if"),
        (np.where(good > 0.9, np.nan, good), {}, "values from nan to nan"),
        (good[:1], {}, "x holds 1 images, too few"),
        (good[0], {}, r"x has shape \(196,\)"),
        (good[:, :0], {}, r"x has shape \(70, 0\)"),
        (good.astype(str), {}, "dtype"),
        (good, {"labels": np.arange(9)}, "There are 9 labels for 70 images"),
        (good, {"labels": np.arange(70)}, "are 70 classes: give 62 at most"),
        (good, {"labels": np.linspace(0, 1, 70)}, "labels must be"),
        (good, {"labels": 3}, "labels must be"),
        (good, {"sigma": np.ones(PIXELS)}, r"^sigma=ndarray of shape \(196,\) is no number above 0: give one.$"),
    ):
        assert re.search(words, refused(tmp_path, sound.encode, sound.decode, x, **options))


def test_a_run_of_ours_is_never_replaced(quick, sound, held_out, tmp_path):
    """Neither a trained one, nor one with --load, nor pictures of which no record tells; other files stay."""
    for record in ({"model": None, "full_mnist": True}, {"model": "vae.keras", "full_mnist": False}, None):
        place = tmp_path / str(record and record["model"])
        place.mkdir(exist_ok=True)
        (place / "vae.keras").write_text("a model")
        if record:
            (place / "metrics.json").write_text(json.dumps(record))
        before = {path.name: path.read_bytes() for path in place.iterdir()}
        with pytest.raises(UserError, match="holds the files of a run, which stay: give another folder"):
            examine(sound.encode, sound.decode, held_out, folder=place)
        assert {path.name: path.read_bytes() for path in place.iterdir()} == before


def test_a_second_call_replaces_the_first_and_keeps_other_files(quick, sound, held_out, tmp_path, capsys):
    """Of images that are no pictures, which is told."""
    encode, decode, x = coloured((8, 8))
    examine(encode, decode, x, folder=tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    word = examine(sound.encode, sound.decode, held_out, folder=tmp_path)["left_out"][0]
    assert word.startswith("No pictures: x of shape (500, 196) is not image-shaped")
    assert word in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", folder.RECORD, folder.REPORT}
    (tmp_path / folder.MODEL).write_text("a model that somebody put there")
    with pytest.raises(UserError, match="give another folder"):
        examine(sound.encode, sound.decode, held_out, folder=tmp_path)


def test_what_was_there_stays_when_it_fails_midway(quick, sound, held_out, tmp_path, monkeypatch):
    examine(sound.encode, sound.decode, held_out, folder=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    encode, decode, x = coloured((8, 8))

    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("seevae.results.pictures.Picture.savefig", full)
        with pytest.raises(UserError, match=r"could not be written .*choose another folder"):
            examine(encode, decode, x, folder=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    with pytest.raises(UserError, match="decode fails"):
        examine(encode, lambda z: decode(z) if len(z) < 100 else 1 / 0, x, folder=tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
