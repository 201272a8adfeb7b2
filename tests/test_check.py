"""seevae.check: right answers pass, each deliberate mistake is told apart, and the command's exit status says which."""

import itertools
import re
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from conftest import ROOT
from keras import ops

import seevae
import vae_mnist
from seevae import UserError, check
from seevae.diagnosis.sentences import Finding

RIGHT = {"reconstruction_loss": vae_mnist.reconstruction_loss, "sample_latent": vae_mnist.sample_latent}


def kl_of(change=lambda mean, log_var: 0.5 * (mean**2 + ops.exp(log_var) - log_var - 1), over=ops.sum):
    return {"kl_loss": lambda mean, log_var: over(change(ops.convert_to_tensor(mean), log_var), axis=-1)}


def with_a_key(q, key):
    """As JAX's users write it: `key` is an array, not a SeedGenerator."""
    if isinstance(key, keras.random.SeedGenerator):
        raise TypeError("unexpected PRNG key type")
    return q[0] + ops.exp(q[1] / 2) * np.random.default_rng(np.asarray(key)).standard_normal(q[0].shape, "float32")


def test_what_is_right_passes():
    assert check.check_reconstruction(RIGHT) is None
    assert check.check_draw(RIGHT) is None
    assert check.check_draw({"sample_latent": with_a_key}) is None
    assert check.check_kl(kl_of(), None) is None
    assert check.check_kl({"kl_loss": vae_mnist.kl_divergence}, None) is None


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (keras.losses.binary_crossentropy, "the mean over the pixels"),
        (lambda x, x_hat: 784 * keras.losses.mean_squared_error(x, x_hat), "a squared error, without its variance"),
        (keras.losses.mean_squared_error, "a mean of squared errors"),
        (lambda x, x_hat: -vae_mnist.reconstruction_loss(x, x_hat), "its sign is wrong"),
        (lambda x, x_hat: vae_mnist.reconstruction_loss(x, ops.sigmoid(x_hat)), "for logits"),
        (lambda x, x_hat: vae_mnist.reconstruction_loss(x_hat, x), "have changed places"),
        (lambda x, x_hat: 2 * vae_mnist.reconstruction_loss(x, x_hat), "would be right"),
        (lambda x, x_hat: x - x_hat, "an array of shape (50, 784)"),
        (lambda x, x_hat: ops.log(0 * x_hat[:, 0] - 1), "NaN"),
    ],
)
def test_mistakes_in_the_reconstruction_loss_are_told_apart(loss, said):
    assert said in check.check_reconstruction({"reconstruction_loss": loss})


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (kl_of(over=ops.mean), "the mean over the 3 latents"),
        (kl_of(lambda m, v: -0.5 * (m**2 + ops.exp(v) - v - 1)), "its sign is wrong"),
        (kl_of(lambda m, v: m**2 + ops.exp(v) - v - 1), "the factor 1/2"),
        (kl_of(lambda m, v: 0.5 * (m**2 + ops.exp(2 * v) - 2 * v - 1)), "the log of the standard deviation"),
        (kl_of(lambda m, v: 0.5 * (v + (1 + m**2) / ops.exp(v) - 1)), "the other way round"),
        (kl_of(lambda m, v: 0.5 * (m + ops.exp(v) - v - 1)), "z_mean is not squared"),
        (kl_of(lambda m, v: 0.5 * (m**2 + ops.exp(v) - v)), "the 1 in it is missing"),
        (kl_of(lambda m, v: 0.5 * (m**2 + ops.exp(v) - 1)), "the logarithm of the variance is missing"),
        (kl_of(lambda m, v: 0.7 * (m**2 + ops.exp(v) - v - 1)), "would be right"),
    ],
)
def test_mistakes_in_the_kl_loss_are_told_apart(file, said):
    assert said in check.check_kl(file, None)


def kl_of_latents(mean, log_var):
    """The KL of each latent, (n, d)."""
    return 0.5 * (ops.square(mean) + ops.exp(log_var) - log_var - 1)


def kl_of_draws(mean, log_var, seeds=keras.random.SeedGenerator(0)):  # noqa: B008
    """Estimated from one draw of z an image: log q(z|x) - log p(z)."""
    z = vae_mnist.sample_latent((mean, log_var), seeds)
    return 0.5 * ops.mean(ops.sum(ops.square(z) - ops.square(z - mean) / ops.exp(log_var) - log_var, axis=-1))


def model_that_adds(kl, **price):
    """A VAE of three latents, untrained, in which a layer adds kl(z_mean, z_log_var) to the loss."""

    class Adds(keras.layers.Layer):
        def call(self, q):
            self.add_loss(kl(*q))
            return q

    keras.utils.set_random_seed(0)
    encoder, decoder = vae_mnist.build_encoder(3, 8), vae_mnist.build_decoder(3, 8)
    x = keras.Input((784,))
    q = Adds()(encoder(x))
    return {"vae": keras.Model(x, decoder(keras.layers.Dense(3, **price)(q[0]))), "encoder": encoder}


@pytest.mark.parametrize(
    ("kl", "said"),
    [
        (lambda *q: ops.mean(vae_mnist.kl_divergence(*q)), None),
        (lambda *q: ops.mean(vae_mnist.kl_divergence(*q)) / 3, "the mean over the 3 latents"),
        (lambda *q: ops.sum(vae_mnist.kl_divergence(*q)), "summed over the batch"),
        (lambda *q: vae_mnist.kl_divergence(*q), "summed over the batch"),
        (lambda *q: ops.mean(ops.sum(kl_of_latents(*q), axis=0)), "over the images, axis 0, and not over the latents"),
        (lambda *q: -ops.mean(vae_mnist.kl_divergence(*q)), "its sign is wrong"),
        (lambda *q: 4 * ops.mean(vae_mnist.kl_divergence(*q)), "would be right"),
        (kl_of_draws, None),
        (lambda *q: kl_of_draws(*q) / 3, "the mean over the 3 latents"),
    ],
)
def test_a_kl_that_a_layer_adds_is_held_against_the_closed_form(kl, said, sample):
    found = check.check_kl(model_that_adds(kl, kernel_regularizer="l2"), sample.x_test[:40])
    assert found is None if said is None else said in found


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (lambda *q: ops.mean(vae_mnist.kl_divergence(*q)) / 3, "the model adds another: it is the mean over the 3 lat"),
        (lambda *q: 100 + ops.mean(vae_mnist.kl_divergence(*q)), None),  # its whole loss, perhaps
    ],
)
def test_what_a_model_adds_beside_a_right_kl_is_wrong_only_where_the_mistake_is_known(added, said, sample):
    found = check.check_kl(kl_of() | model_that_adds(added), sample.x_test[:40])
    assert found is None if said is None else said in found


def test_an_encoder_that_gives_one_array_is_told_so():
    with pytest.raises(UserError, match=r"gives one array, \(5, 4\): give a pair"):
        check.q_of(lambda x: np.zeros((len(x), 4)), np.zeros((5, 784)))


@pytest.mark.parametrize(
    ("seed", "said"), [(keras.random.SeedGenerator(0), None), (0, "the model draws the same at each call")]
)
def test_a_model_whose_draw_has_a_whole_number_as_its_seed_repeats_it(seed, said, sample):
    encoder, decoder = vae_mnist.build_encoder(3, 8), vae_mnist.build_decoder(3, 8)
    x = keras.Input((784,))
    z = keras.layers.Lambda(vae_mnist.sample_latent, arguments={"seed": seed})(encoder(x))
    file = {"vae": keras.Model(x, decoder(z)), "encoder": encoder, "decoder": decoder}
    found = check.check_fresh(file, sample.x_test[:10])
    assert found is None if said is None else said in found


def test_a_model_that_takes_z_mean_when_it_is_called_or_cannot_be_called_is_no_fault(sample):
    encoder, decoder = vae_mnist.build_encoder(3, 8), vae_mnist.build_decoder(3, 8)
    x = keras.Input((784,))
    for vae in (keras.Model(x, decoder(encoder(x)[0])), keras.Model()):
        assert check.check_fresh({"vae": vae, "encoder": encoder, "decoder": decoder}, sample.x_test[:10]) is None


def even(seed):
    """Numbers of mean 0 and variance 1 that are no Gaussian's."""
    return keras.random.uniform((20_000, 2), -(3**0.5), 3**0.5, seed=seed)


@pytest.mark.parametrize(
    ("draw", "said"),
    [
        (lambda q, seed: q[0] + ops.exp(q[1]) * keras.random.normal(ops.shape(q[0]), seed=seed), "is the variance"),
        (lambda q, seed: q[0] + q[1] * keras.random.normal(ops.shape(q[0]), seed=seed), "taken for the standard dev"),
        (lambda q, seed: vae_mnist.sample_latent(q[::-1], seed), "have changed places"),
        (lambda q, seed: vae_mnist.sample_latent(q, 1), "two calls draw the same"),
        (lambda q, seed: q[0], "all images get the same epsilon, or none"),
        (lambda q, seed: q[0] + keras.random.normal((1, 2), seed=seed), "all images get the same epsilon"),
        (lambda q, seed: q[0] + ops.exp(q[1] / 2) * keras.random.normal((20_000, 1), seed=seed), "all latents get"),
        (lambda q, seed: q[0] + ops.exp(q[1] / 2) * even(seed), "not drawn from a Gaussian"),
        (lambda q, seed: ops.exp(q[1] / 2) * keras.random.normal(ops.shape(q[0]), seed=seed), "around z_mean"),
        (lambda q, seed: q[0] + 0.01 * (vae_mnist.sample_latent(q, seed) - q[0]), "would be right"),
        (lambda q, seed: vae_mnist.sample_latent(q, seed)[:, 0], "gives shape"),
    ],
)
def test_mistakes_in_the_draw_are_told_apart(draw, said):
    assert said in check.check_draw({"sample_latent": draw})


STUDENT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import vae_mnist
from keras import ops

vae = vae_mnist.build_vae()
vae.load_weights({str(ROOT / "notebooks" / "default.weights.h5")!r})
encoder, decoder = vae.get_layer("encoder"), vae.get_layer("decoder")
reconstruction_loss, sample_latent = vae_mnist.reconstruction_loss, vae_mnist.sample_latent
"""
AVERAGED = "kl_loss = lambda mean, log_var: vae_mnist.kl_divergence(mean, log_var) / mean.shape[1]\n"


COMMAND = "import sys; from seevae import check; sys.exit(check.main(sys.argv[1:]))"


def judged(run_python, tmp_path, text):
    (tmp_path / "my_vae.py").write_text(text)
    return run_python("-c", COMMAND, "my_vae.py")


def test_it_is_a_command(run_python):
    done = run_python("-m", "seevae.check", "nothing.py", own_process=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "There is no file nothing.py" in done.stderr


@pytest.mark.slow
def test_the_command_judges_a_file(run_python, tmp_path):
    done = judged(run_python, tmp_path, STUDENT)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "my_vae.py: PASS"), done.stderr
    assert re.findall(r"^(\w+)  (.*)$", done.stdout, flags=re.M) == [
        ("pass", "reconstruction loss"),
        ("pass", "KL loss"),
        ("pass", "draw of z"),
        ("pass", "draw in the model"),
        ("pass", "trained network"),
    ]


@pytest.mark.slow
def test_a_kl_averaged_over_latents_fails(run_python, tmp_path):
    done = judged(run_python, tmp_path, STUDENT + AVERAGED)
    assert done.returncode == 1
    assert "FAIL  KL loss: it is the mean over the 3 latents: sum over them\n" in done.stdout
    assert done.stdout.endswith("my_vae.py: FAIL, 1 of these are wrong\n")


@pytest.mark.parametrize(
    ("text", "name", "status", "said"),
    [
        (None, "my_vae.py", 2, "There is no file my_vae.py"),
        ("{}", "my_vae.ipynb", 2, "is a notebook: write it as a file first, `jupyter nbconvert --to script"),
        ("encoder = 1", "my_vae.py", 2, "my_vae.py has no decoder: give your two networks these names."),
        ("x = 1\n1 / 0\n", "my_vae.py", 2, "my_vae.py, line 2 ends in ZeroDivisionError: division by zero"),
        ("import argparse; argparse.ArgumentParser().parse_args()", "my_vae.py", 2, "my_vae.py has no encoder"),
        ("raise KeyboardInterrupt", "my_vae.py", 130, "Stopped: my_vae.py is not judged."),
    ],
)
def test_what_cannot_be_judged_is_told_in_a_sentence(text, name, status, said, tmp_path, monkeypatch, capsys):
    if text:
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["pytest"])
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert check.main([name]) == status
    printed, told = capsys.readouterr()
    assert printed == ""
    assert said in told
    assert "Traceback" not in told


def test_what_is_missing_is_said(sample):
    file = {"encoder": None, "decoder": None}
    assert dict(itertools.islice(check.judge(file, sample.x_test), 3)) == {
        "reconstruction loss": "reconstruction_loss is not in the file: define it",
        "KL loss": "kl_loss or vae is not in the file: define it",
        "draw of z": "sample_latent is not in the file: define it",
    }
    assert np.shape(check.numbers([1.0, 2.0])) == (2,)


def test_a_function_that_fails_is_wrong_and_the_others_are_still_judged(sample):
    file = {"reconstruction_loss": lambda x, x_hat: 1 / 0, **kl_of(), "sample_latent": lambda q, key: key.folded}
    found = dict(itertools.islice(check.judge(file, sample.x_test), 3))
    assert "with two arrays (50, 784), it ends in ZeroDivisionError: division by zero" in found["reconstruction loss"]
    assert found["KL loss"] is None
    assert "a keras.random.SeedGenerator, it ends in AttributeError" in found["draw of z"]


def test_a_relu_on_a_head_is_wrong_and_a_fixed_sigma_is_not(monkeypatch):
    relu, fixed = Finding("mean-floor", share=0.5), Finding("log-var-floor/fixed", low=0, high=0)
    monkeypatch.setattr(seevae, "examine", lambda *given, **how: SimpleNamespace(wrong=["x"], look=[fixed, relu]))
    file = {"encoder": lambda x: np.zeros((2, 5, 3)).tolist(), "decoder": None}
    assert check.check_trained(file, np.zeros((5, 784))) == ["x", relu]


def test_a_tanh_on_a_head_is_seen_and_plain_layers_are_not(sample):
    plain = vae_mnist.build_encoder(3, 8)
    assert check.bounded_heads(plain, sample.x_test[:40]) == []
    (said,) = check.bounded_heads(lambda x: [plain(x)[0], ops.tanh(plain(x)[1])], sample.x_test[:40])
    assert said.startswith("z_log_var stays within 1")


def test_a_network_that_cannot_be_examined_is_wrong(sample):
    (sentence,) = check.check_trained({"encoder": lambda x: x, "decoder": lambda z: z[:, :5]}, sample.x_test[:40])
    assert "Traceback" not in sentence
    file = {"encoder": 3, "decoder": "x", "sample_latent": 4, "vae": 5}
    assert all(sentence for _, sentence in check.judge(file, sample.x_test[:40]))
