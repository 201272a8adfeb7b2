"""docs/examine.md: every block of it run as a reader would, and each remedy against arithmetic."""

import json
import math
import re

import keras
import numpy as np
import pytest
from conftest import ROOT

import vae_mnist
from seevae import examine
from seevae.diagnosis import examine as module

PAGE = (ROOT / "docs" / "examine.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)


def block(words):
    """The one block that holds these words."""
    (found,) = [text for text in BLOCKS if words in text]
    return found


@pytest.fixture(scope="module")
def digits(sample):
    return {"x": sample.x_test[:40], "y": sample.y_test[:40]}


def torch_vae(base=None):
    """A VAE of two latents with the names of the page, as a module of PyTorch or Lightning."""
    torch = pytest.importorskip("torch")

    class VAE(base or torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.to_q, self.to_x = torch.nn.Linear(784, 4), torch.nn.Linear(2, 784)

        def encode(self, x):
            return self.to_q(x.flatten(1)).chunk(2, dim=1)

        def decode(self, z):
            return torch.sigmoid(self.to_x(z))

        def training_step(self, batch, _):
            z_mean, z_log_var = self.encode(batch[0])
            x_hat = self.decode(z_mean + torch.exp(z_log_var / 2) * torch.randn_like(z_mean))
            kl = 0.5 * (z_mean**2 + z_log_var.exp() - 1 - z_log_var).sum(1).mean()
            return torch.nn.functional.binary_cross_entropy(x_hat, batch[0], reduction="sum") / len(x_hat) + kl

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters())

    torch.manual_seed(0)
    return VAE


def given_for(library, folder):
    """What the reader of a block has, by the names that the block uses."""
    if library == "Keras":
        return {"encoder": vae_mnist.build_encoder(hidden_dim=4), "decoder": vae_mnist.build_decoder(hidden_dim=4)}
    if library == "PyTorch":
        return {"model": torch_vae()()}
    if library == "JAX":
        linen, jax = pytest.importorskip("flax.linen"), pytest.importorskip("jax")

        class Encoder(linen.Module):
            @linen.compact
            def __call__(self, x):
                return linen.Dense(2)(x), linen.Dense(2)(x)

        halves = Encoder(), linen.Sequential([linen.Dense(784), linen.sigmoid])
        inputs = np.zeros((1, 784), "float32"), np.zeros((1, 2), "float32")
        params = [half.init(jax.random.key(0), some) for half, some in zip(halves, inputs, strict=True)]
        return {"encoder": halves[0], "decoder": halves[1], "params": params}
    if library == "pythae":
        models = pytest.importorskip("pythae.models")
        return {"model": models.VAE(models.VAEConfig(input_dim=(1, 28, 28), latent_dim=2))}
    lightning = pytest.importorskip("lightning")
    vae = torch_vae(lightning.LightningModule)
    trainer = lightning.Trainer(
        max_epochs=0, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu"
    )
    trainer.strategy.connect(vae())
    trainer.save_checkpoint(folder / "vae.ckpt")
    return {"VAE": vae}


@pytest.fixture
def no_figures(monkeypatch):
    """The pictures and the explorer are tested elsewhere; log p(x) takes the time of a short test."""
    monkeypatch.setattr(module.Given, "log_p", lambda *_: None)
    monkeypatch.setattr(module, "draw", lambda *_: ({}, None))
    monkeypatch.setattr(module, "make_page", lambda *_: (None, None))


@pytest.mark.filterwarnings("default")  # those of other libraries
@pytest.mark.parametrize("library", ["Keras", "PyTorch", "JAX", "pythae", "Lightning"])
def test_the_lines_for_each_library_run(library, digits, no_figures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = digits | given_for(library, tmp_path)
    exec(block(f"import examine  # {library}"), names)
    record = json.loads((tmp_path / "figures/mine/metrics.json").read_text())
    assert record["images"] == 40
    assert record["finding_names"] == names["result"]["finding_names"]
    page = (tmp_path / "figures/mine/report.html").read_text()
    assert f"{record['held_out']['elbo']:.2f}" in page


def test_the_arguments_of_the_table_are_taken(digits):
    """Each, as it stands in the table, changes what it should."""
    arguments = [
        cell for cells in re.findall(r"^\| .* \| (.*) \|$", PAGE, flags=re.M) for cell in re.findall("`(.*?)`", cells)
    ]
    model, x = torch_vae()(), digits["x"]
    plain = examine(model.encode, model.decode, x, folder=None)
    for text in ('likelihood="gaussian", sigma=1', "beta=4", "inputs=lambda x: (x - 0.1307) / 0.3081"):
        assert text in arguments
        other = eval(f"examine(model.encode, model.decode, x, folder=None, {text})", locals() | {"examine": examine})
        assert ("beta=" in text) == (other["held_out"] == plain["held_out"]), text
    assert "condition=c" in arguments
    encode, decode = (lambda x, c: model.encode(x + 0 * c[:, :1])), (lambda z, c: model.decode(z * c[:, :1]))
    torch = pytest.importorskip("torch")
    given = {"condition": torch.ones(40, 3)}
    same = examine(encode, decode, torch.from_numpy(np.asarray(x)), folder=None, **given)
    assert same["held_out"]["elbo"] == pytest.approx(plain["held_out"]["elbo"], abs=1e-3)


def test_the_test_for_pytest_fails_for_a_network_that_was_not_trained(digits):
    names = digits | {"model": torch_vae()()}
    exec(block("for pytest"), names)
    with pytest.raises(AssertionError, match="average image"):
        names["test_nothing_is_wrong_with_the_vae"]()


@pytest.mark.slow
def test_the_keras_callback_prints_at_every_fifth_epoch(digits, capsys):
    vae = vae_mnist.build_vae(hidden_dim=4)
    vae_mnist.compile_vae(vae, vae_mnist.RECIPES["default"], 40)
    names = {**digits, "vae": vae, "x_train": digits["x"]}
    names |= {half: vae.get_layer(half) for half in ("encoder", "decoder")}
    exec(block("keras.callbacks.Callback):\n    def __init__(self, encoder"), names)
    lines = re.findall(r"epoch (\d+): (.*)\n", capsys.readouterr().out)  # Keras calls its own Epoch
    assert [number for number, _ in lines] == ["5", "10"]
    assert {verdict for _, verdict in lines} == {"wrong"}


@pytest.mark.filterwarnings("default")
def test_the_lightning_callback_logs_after_every_epoch(digits, tmp_path, monkeypatch, capsys):
    lightning = pytest.importorskip("lightning")
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names = dict(digits)
    exec(block("class Examine(lightning.Callback)").replace("max_epochs=10", "max_epochs=2, accelerator='cpu'"), names)
    model, trainer = torch_vae(lightning.LightningModule)(), names["trainer"]
    images = torch.utils.data.TensorDataset(torch.from_numpy(np.asarray(digits["x"])))
    trainer.fit(model, torch.utils.data.DataLoader(images, batch_size=20))
    assert re.findall(r"^epoch (\d): wrong", capsys.readouterr().out, flags=re.M) == ["1", "2"]
    assert trainer.callback_metrics["wrong"] >= 1


@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_the_kl_comes_in_slowly():
    """Nothing but the KL, of z_mean = 2 in both latents: 4 nats. Its weight is 0, 1/2, 1 and 1 in four epochs."""
    names = {}
    exec(block("class WarmUp"), names)
    x = keras.Input((2,))
    layer = names["AddKLLoss"]()
    vae = keras.Model(x, layer([x, keras.ops.zeros_like(x)])[0])
    vae.compile("sgd")
    x = np.full((6, 2), 2.0, "float32")
    history = vae.fit(x, epochs=4, batch_size=3, verbose=0, callbacks=[names["WarmUp"](layer, epochs=2)]).history
    np.testing.assert_allclose(history["loss"], [0, 2, 4, 4], rtol=1e-5)


def test_free_bits_count_from_their_floor_on():
    torch = pytest.importorskip("torch")
    names = {}
    exec(block("kl_with_free_bits"), names)
    z_mean = torch.tensor([[2.0, 0.1], [0.0, 0.1]], requires_grad=True)  # KL: 2 and 0, mean 1; 0.005 each
    loss = names["kl_with_free_bits"](z_mean, torch.zeros(2, 2))
    assert loss.item() == pytest.approx(1 + 0.1)
    loss.backward()
    np.testing.assert_allclose(z_mean.grad, [[1, 0], [0, 0]], atol=1e-6)  # the silent latent is left in peace


def test_the_sums_over_pixels():
    torch = pytest.importorskip("torch")
    names = {}
    exec(block("reconstruction_loss_keras"), names)
    x, x_hat = np.ones((2, 784), "float32"), np.full((2, 784), 0.5, "float32")
    np.testing.assert_allclose(names["reconstruction_loss_keras"](x, x_hat), 784 * math.log(2), rtol=1e-5)
    shaped = [torch.from_numpy(part.reshape(2, 1, 28, 28)) for part in (x, x_hat)]
    assert names["reconstruction_loss_torch"](*shaped).item() == pytest.approx(784 * math.log(2), rel=1e-5)


def test_the_learned_sigma_finds_that_of_the_pixels():
    torch = pytest.importorskip("torch")
    names = {}
    exec(block("class GaussianLoss"), names)
    loss, x = (
        names["GaussianLoss"](),
        torch.from_numpy(np.random.default_rng(0).normal(0, 0.2, (50, 784)).astype("float32")),
    )
    assert loss(x, 0 * x).item() == pytest.approx(784 * (0.5 * math.log(2 * math.pi) + 0.5 * 0.04), rel=1e-3)
    optimizer = torch.optim.Adam(loss.parameters(), 0.1)
    for _ in range(100):
        optimizer.zero_grad()
        loss(x, 0 * x).backward()
        optimizer.step()
    assert loss.log_sigma.exp().item() == pytest.approx(0.2, rel=0.02)


def test_the_line_of_the_companion_runs(digits, no_figures, tmp_path, monkeypatch):
    (line,) = re.findall(r"`(from seevae import examine; .*?)`", (ROOT / "notebooks" / "README.md").read_text())
    monkeypatch.chdir(tmp_path)
    exec(line, {**given_for("Keras", tmp_path), "x_test": digits["x"]})
    assert (tmp_path / "figures/mine/report.html").exists()
