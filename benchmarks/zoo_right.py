"""Right networks, as their authors write them: what examine may say nothing bad of.

`NETWORKS`: name: (make, packages, names that examine may use, as they are true). make(place, x, seed) trains on x
(n, 784), or takes kept weights from `place`, and gives encode, decode, and a function of images (n, 784) that gives
what examine gets: x and options.

pythae's networks are pythae's own code. The others are rebuilt in our words, from github.com/pytorch/examples (vae),
google/flax (examples/vae), jax-ml/jax (examples/mnist_vae.py), pyro-ppl/pyro (examples/vae), 1Konny/Beta-VAE,
keras.io/examples/generative/vae and tensorflow.org/tutorials/generative/cvae.
"""

from itertools import pairwise

import numpy as np
from zoo_networks import Change, kept, kl_terms, order, trained

RATE = 2e-3
STEPS = Change(steps=300)
FEW, MORE = Change(steps=200), Change(steps=400)  # of convolutions; beta 4 leaves a code no room at first


def plain(x):
    """The images as they are, and no options."""
    return x, {}


def shaped(*shape):
    """Images of a shape, and no options."""
    return lambda x: (x.reshape(-1, *shape), {})


def binary(x):
    """Images drawn once, black or white."""
    return (np.random.default_rng(0).random(x.shape) < x).astype("float32")


def doubled(x):
    """28 x 28 as 64 x 64, with channels first."""
    return np.pad(x.reshape(-1, 1, 28, 28), ((0, 0), (0, 0), (2, 2), (2, 2))).repeat(2, 2).repeat(2, 3)


# -- PyTorch -----------------------------------------------------------------------------------------------------------


def torch_trained(module, loss_of, how=STEPS, images=lambda x: x):
    """A module with a `train_on` that makes loss_of(batch) small by Adam."""
    import torch

    def train_on(x):
        optimizer = torch.optim.Adam(module.parameters(), RATE)
        module.train()
        for rows in order(len(x), how, 0):
            optimizer.zero_grad()
            loss_of(torch.from_numpy(images(x[rows]))).backward()
            optimizer.step()

    module.train_on = train_on
    return module


def kl_of(mean, log_var):
    return -0.5 * (1 + log_var - mean**2 - log_var.exp()).sum(1)


def pytorch_examples(place, x, seed):
    """784-400-20-400-784; both losses are sums over the batch."""
    import torch
    from torch import nn

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc21, self.fc22 = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)
            self.fc3, self.fc4 = nn.Linear(20, 400), nn.Linear(400, 784)

        def encode(self, x):
            h = torch.relu(self.fc1(x))
            return self.fc21(h), self.fc22(h)

        def decode(self, z):
            return torch.sigmoid(self.fc4(torch.relu(self.fc3(z))))

    def loss_of(x):
        mean, log_var = vae.encode(x)
        x_hat = vae.decode(mean + torch.exp(log_var / 2) * torch.randn_like(mean))
        return nn.functional.binary_cross_entropy(x_hat, x, reduction="sum") + kl_of(mean, log_var).sum()

    torch.manual_seed(seed)
    vae = VAE()
    kept(place, torch_trained(vae, loss_of), x).eval()
    return vae.encode, vae.decode, plain


def pythae(kind, config, loss, options, fields=False):
    """pythae's own class, with its default layers; `fields`: its encoder and decoder are given as they are."""

    def make(place, x, seed):
        import torch
        from pythae import models

        torch.manual_seed(seed)
        chosen = getattr(models, config)(
            input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss=loss, **options.get("config", {})
        )
        vae = getattr(models, kind)(chosen)
        images = lambda x: x.reshape(-1, 1, 28, 28)  # noqa: E731
        kept(place, torch_trained(vae, lambda batch: vae({"data": batch}).loss, images=images), x).eval()
        given = lambda x: (images(x), options.get("examine", {}))  # noqa: E731
        if fields:
            return vae.encoder, vae.decoder, given

        def encode(x):
            output = vae.encoder(x)
            return output.embedding, output.log_covariance

        return encode, lambda z: vae.decoder(z).reconstruction, given

    return make


def pyro_style(place, x, seed):
    """784-400-50-400-784 with softplus; the encoder gives z_loc and z_scale."""
    import torch
    from torch import nn

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1, self.fc21, self.fc22 = nn.Linear(784, 400), nn.Linear(400, 50), nn.Linear(400, 50)
            self.fc3, self.fc4 = nn.Linear(50, 400), nn.Linear(400, 784)

        def encoder(self, x):
            h = nn.functional.softplus(self.fc1(x))
            return self.fc21(h), torch.exp(self.fc22(h))

        def decoder(self, z):
            return torch.sigmoid(self.fc4(nn.functional.softplus(self.fc3(z))))

    def loss_of(x):
        loc, scale = vae.encoder(x)
        q, p = torch.distributions.Normal(loc, scale), torch.distributions.Normal(0.0, 1.0)
        p_x = torch.distributions.Bernoulli(vae.decoder(q.rsample()), validate_args=False)
        return (torch.distributions.kl_divergence(q, p).sum(1) - p_x.log_prob(x).sum(1)).mean()

    torch.manual_seed(seed)
    vae = VAE()
    kept(place, torch_trained(vae, loss_of), x).eval()
    return vae.encoder, vae.decoder, plain


def beta_vae(place, x, seed):
    """Four strided convolutions each way on 64 x 64, ten latents in one array, logits, beta 4."""
    import torch
    from torch import nn

    def strided(kind, sizes):
        parts = [part for a, b in pairwise(sizes) for part in (kind(a, b, 4, 2, 1), nn.ReLU())]
        return nn.Sequential(*parts[:-1])

    torch.manual_seed(seed)
    encoder = nn.Sequential(
        strided(nn.Conv2d, (1, 32, 32, 64, 64)),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(1024, 256),
        nn.ReLU(),
        nn.Linear(256, 20),
    )
    decoder = nn.Sequential(
        nn.Linear(10, 256), nn.ReLU(), nn.Linear(256, 1024), nn.ReLU(), nn.Unflatten(1, (64, 4, 4)),
        strided(nn.ConvTranspose2d, (64, 64, 32, 32, 1)),
    )  # fmt: skip

    def loss_of(x):
        mean, log_var = encoder(x).chunk(2, dim=1)
        logits = decoder(mean + torch.exp(log_var / 2) * torch.randn_like(mean))
        cross = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        return cross + 4 * kl_of(mean, log_var).mean()

    both = torch_trained(nn.ModuleList([encoder, decoder]), loss_of, MORE, doubled)
    kept(place, both, x).eval()
    return encoder, decoder, lambda x: (doubled(x), {"beta": 4})


def conditional(place, x, seed):
    """The class of a digit goes to both halves, as ten zeros and ones; here, whether there is much ink, three ways."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(787, 200), nn.ReLU(), nn.Linear(200, 16))
    decoder = nn.Sequential(nn.Linear(11, 200), nn.ReLU(), nn.Linear(200, 784), nn.Sigmoid())

    def kind(x):
        ink = np.digitize(np.asarray(x).mean(1), (0.1, 0.15))
        return np.eye(3, dtype="float32")[ink]

    def encode(x, c):
        return encoder(torch.cat([x, c], 1)).chunk(2, dim=1)

    def decode(z, c):
        return decoder(torch.cat([z, c], 1))

    def loss_of(x):
        c = torch.from_numpy(kind(x))
        mean, log_var = encode(x, c)
        x_hat = decode(mean + torch.exp(log_var / 2) * torch.randn_like(mean), c)
        return nn.functional.binary_cross_entropy(x_hat, x, reduction="sum") / len(x) + kl_of(mean, log_var).mean()

    kept(place, torch_trained(nn.ModuleList([encoder, decoder]), loss_of), x).eval()
    return encode, decode, lambda x: (x, {"condition": kind(x)})


# -- JAX and Flax ------------------------------------------------------------------------------------------------------


class JaxTrained:
    """Parameters, and a `train_on` that makes loss_of(params, batch, key) small by Adam."""

    def __init__(self, params, loss_of, images=lambda x: x):
        self.params, self.loss_of, self.images = params, loss_of, images

    def train_on(self, x):
        import jax
        import optax

        optimizer = optax.adam(RATE)

        @jax.jit
        def step(params, state, batch, key):
            updates, state = optimizer.update(jax.grad(self.loss_of)(params, batch, key), state)
            return optax.apply_updates(params, updates), state

        state = optimizer.init(self.params)
        for i, rows in enumerate(order(len(x), STEPS, 0)):
            self.params, state = step(self.params, state, self.images(x[rows]), jax.random.key(i))


def flax_linen(place, x, seed):
    """784-500-20-500-784; the decoder gives logits."""
    import jax
    import optax
    from flax import linen as nn
    from jax import numpy as jnp

    class Encoder(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.relu(nn.Dense(500, name="fc1")(x))
            return nn.Dense(20, name="fc2_mean")(h), nn.Dense(20, name="fc2_logvar")(h)

    class Decoder(nn.Module):
        @nn.compact
        def __call__(self, z):
            return nn.Dense(784, name="fc2")(nn.relu(nn.Dense(500, name="fc1")(z)))

    encoder, decoder, (one, two) = Encoder(), Decoder(), jax.random.split(jax.random.key(seed))

    def loss_of(params, batch, key):
        mean, log_var = encoder.apply(params[0], batch)
        logits = decoder.apply(params[1], mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape))
        kl = 0.5 * (mean**2 + jnp.exp(log_var) - 1 - log_var).sum(-1)
        return (optax.sigmoid_binary_cross_entropy(logits, batch).sum(-1) + kl).mean()

    start = encoder.init(one, x[:1]), decoder.init(two, jnp.zeros((1, 20)))
    params = kept(place, JaxTrained(start, loss_of), x).params
    return lambda x: encoder.apply(params[0], x), lambda z: decoder.apply(params[1], z), plain


def flax_nnx(place, x, seed):
    """The same in Flax's newer style, with a sigmoid in `generate`."""
    import jax
    import optax
    from flax import nnx
    from jax import numpy as jnp

    class VAE(nnx.Module):
        def __init__(self, rngs):
            self.fc1, self.mean, self.log_var = (
                nnx.Linear(784, 500, rngs=rngs),
                *(nnx.Linear(500, 20, rngs=rngs) for _ in "mv"),
            )
            self.fc3, self.fc4 = nnx.Linear(20, 500, rngs=rngs), nnx.Linear(500, 784, rngs=rngs)

        def encode(self, x):
            h = jax.nn.relu(self.fc1(x))
            return self.mean(h), self.log_var(h)

        def logits(self, z):
            return self.fc4(jax.nn.relu(self.fc3(z)))

        def generate(self, z):
            return jax.nn.sigmoid(self.logits(z))

    graph, state = nnx.split(VAE(nnx.Rngs(seed)))

    def loss_of(state, batch, key):
        vae = nnx.merge(graph, state)
        mean, log_var = vae.encode(batch)
        logits = vae.logits(mean + jnp.exp(log_var / 2) * jax.random.normal(key, mean.shape))
        kl = 0.5 * (mean**2 + jnp.exp(log_var) - 1 - log_var).sum(-1)
        return (optax.sigmoid_binary_cross_entropy(logits, batch).sum(-1) + kl).mean()

    vae = nnx.merge(graph, kept(place, JaxTrained(state, loss_of), x).params)
    return vae.encode, vae.generate, plain


def jax_stax(place, x, seed):
    """784-512-512-10 and back, binarised images; the encoder gives mu and sigma^2 by softplus, the decoder logits."""
    import jax
    from jax import numpy as jnp
    from jax.example_libraries.stax import Dense, FanOut, Relu, Softplus, parallel, serial

    hidden = Dense(512), Relu, Dense(512), Relu
    start_e, encode = serial(*hidden, FanOut(2), parallel(Dense(10), serial(Dense(10), Softplus)))
    start_d, decode = serial(*hidden, Dense(784))
    one, two = jax.random.split(jax.random.key(seed))
    start = start_e(one, (-1, 784))[1], start_d(two, (-1, 10))[1]

    def loss_of(params, batch, key):
        mu, sigmasq = encode(params[0], batch)
        logits = decode(params[1], mu + jnp.sqrt(sigmasq) * jax.random.normal(key, mu.shape))
        log_p = -jnp.logaddexp(0.0, jnp.where(batch > 0.5, -1.0, 1.0) * logits).sum(-1)
        kl = -0.5 * (1.0 + jnp.log(sigmasq) - mu**2.0 - sigmasq).sum(-1)
        return (kl - log_p).mean()

    images = lambda x: (np.random.random(x.shape) < x).astype("float32")  # noqa: E731
    params = kept(place, JaxTrained(start, loss_of, images), x).params
    return lambda x: encode(params[0], x), lambda z: decode(params[1], z), lambda x: (binary(x), {})


# -- Keras and TensorFlow ----------------------------------------------------------------------------------------------


def convolutions(heads, end, start=16):
    """keras.io's and TensorFlow's layers: two strided convolutions each way; the encoder's heads, the decoder's end."""
    import keras
    from keras import layers

    image, z = keras.Input((28, 28, 1)), keras.Input((2,))
    h = image
    for filters in (32, 64):
        h = layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(h)
    h = layers.Flatten()(h)
    h = layers.Dense(start, activation="relu")(h) if start else h
    encoder = keras.Model(image, [layers.Dense(size)(h) for size in heads])
    drawn = layers.Reshape((7, 7, 32))(layers.Dense(7 * 7 * 32, activation="relu")(z))
    for filters in (64, 32):
        drawn = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu")(drawn)
    decoder = keras.Model(z, layers.Conv2DTranspose(1, 3, padding="same", activation=end)(drawn))
    return encoder, decoder


class KerasTrained:
    """An encoder and a decoder, and a `train_on` that fits them with loss_of(x)."""

    def __init__(self, halves, loss_of, images=lambda x: x):
        self.halves, self.loss_of, self.images = halves, loss_of, images

    def get_weights(self):
        return [array for half in self.halves for array in half.get_weights()]

    def set_weights(self, arrays):
        first = len(self.halves[0].weights)
        self.halves[0].set_weights(arrays[:first])
        self.halves[1].set_weights(arrays[first:])

    def train_on(self, x):
        import keras

        outer = self

        class VAE(keras.Model):
            def __init__(self):
                super().__init__()
                self.encoder, self.decoder = outer.halves

            def call(self, x):
                self.add_loss(outer.loss_of(x))
                return x

        vae = VAE()
        vae.compile(keras.optimizers.Adam(RATE))
        rows = order(len(x), FEW, 0).ravel()
        vae.fit(self.images(x[rows]).reshape(-1, 28, 28, 1), batch_size=64, shuffle=False, verbose=0)


def keras_io(place, x, seed):
    """Convolutions and two latents; encode gives z_mean, z_log_var and z."""
    import keras
    from keras import ops

    keras.utils.set_random_seed(seed)
    halves = convolutions((2, 2), "sigmoid")
    noise = keras.random.SeedGenerator(seed)

    def encode(x):
        mean, log_var = halves[0](x)
        return mean, log_var, mean + ops.exp(log_var / 2) * keras.random.normal(ops.shape(mean), seed=noise)

    def loss_of(x):
        mean, log_var, z = encode(x)
        cross = ops.mean(ops.sum(keras.losses.binary_crossentropy(x, halves[1](z)), axis=(1, 2)))
        return cross + ops.mean(ops.sum(-0.5 * (1 + log_var - ops.square(mean) - ops.exp(log_var)), axis=1))

    kept(place, KerasTrained(halves, loss_of), x)
    return encode, halves[1], shaped(28, 28, 1)


def tensorflow_cvae(place, x, seed):
    """One array of both heads, logits, and black and white images; the KL is one draw of log q(z|x) - log p(z)."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    halves = convolutions((4,), None, start=0)

    def log_normal(z, mean, log_var):
        return tf.reduce_sum(-0.5 * ((z - mean) ** 2 * tf.exp(-log_var) + log_var + np.log(2 * np.pi)), axis=1)

    def one_array(x):
        return halves[0](x)[0] if isinstance(halves[0](x), list) else halves[0](x)

    def loss_of(x):
        mean, log_var = tf.split(one_array(x), num_or_size_splits=2, axis=1)
        z = tf.random.normal(tf.shape(mean)) * tf.exp(log_var * 0.5) + mean
        cross = tf.nn.sigmoid_cross_entropy_with_logits(logits=halves[1](z), labels=x)
        log_p = -tf.reduce_sum(cross, axis=[1, 2, 3])
        return -tf.reduce_mean(log_p + log_normal(z, 0.0, 0.0) - log_normal(z, mean, log_var))

    kept(place, KerasTrained(halves, loss_of, lambda x: np.where(x > 0.5, 1.0, 0.0).astype("float32")), x)
    given = lambda x: (np.where(x > 0.5, 1.0, 0.0).astype("float32").reshape(-1, 28, 28, 1), {})  # noqa: E731
    return one_array, halves[1], given


# -- One thing otherwise, and right all the same -----------------------------------------------------------------------


def ours(framework, latents, given=plain, **change):
    """The dense network of zoo_networks, with a change that is right."""

    def make(place, x, seed):
        network = trained(framework, latents, Change(**change), place.parent, place.stem, x, seed)
        return network.encode, network.decode, given

    return make


def gaussian(sigma):
    """Minus the log likelihood of pixels with a fixed sigma, without its constant."""
    return lambda o, x, p: o.mean(o.sum((x - p) * (x - p), 1)) / (2 * sigma**2)


def learned_sigma(o, x, p):
    """The same at the sigma that fits best (Rybkin, Daniilidis & Levine, "Simple and Effective VAE Training")."""
    return 784 / 2 * o.log(o.mean((x - p) * (x - p)))


def free_bits(o, mean, log_var):
    """A latent's mean KL counts from 0.5 nats on (Kingma et al., "Improving Variational Inference with IAF")."""
    return o.sum(o.clip(o.mean(kl_terms(o, mean, log_var), 0), 0.5, 1e6), 0)


def weighed(beta):
    return lambda o, mean, log_var: beta * o.mean(o.sum(kl_terms(o, mean, log_var), 1))


def normalised(x):
    return (x - 0.1307) / 0.3081


GIVEN = {"likelihood": "gaussian"}
SILENT = {"silent-latents"}
NETWORKS = {
    "pytorch/examples": (pytorch_examples, ["torch"], set()),
    "pythae, crossentropy": (pythae("VAE", "VAEConfig", "bce", {}, fields=True), ["pythae"], set()),
    "pythae, squared error": (pythae("VAE", "VAEConfig", "mse", {}), ["pythae"], set()),
    "pythae, BetaVAE 4, declared": (
        pythae("BetaVAE", "BetaVAEConfig", "bce", {"config": {"beta": 4.0}, "examine": {"beta": 4}}), ["pythae"], set(),
    ),
    "pythae, IWAE": (pythae("IWAE", "IWAEConfig", "bce", {"config": {"number_samples": 5}}), ["pythae"], set()),
    "pyro's": (pyro_style, ["torch"], {"deviation"}),
    "1Konny's beta-VAE, 64 x 64, declared": (beta_vae, ["torch"], {"one-array", "logits"}),
    "flax, linen": (flax_linen, ["flax", "optax"], {"logits"}),
    "flax, nnx": (flax_nnx, ["flax", "optax"], set()),
    "jax": (jax_stax, ["jax", "optax"], {"variance", "logits"}),
    "keras.io": (keras_io, ["keras"], set()),
    "TensorFlow's CVAE": (tensorflow_cvae, ["tensorflow"], {"one-array", "logits"}),
    "conditional, declared": (conditional, ["torch"], set()),
    "PyTorch, 2 latents": (ours("PyTorch", 2), ["torch"], set()),
    "JAX, 2 latents": (ours("JAX", 2), ["jax"], set()),
    "Keras, 2 latents": (ours("Keras", 2), ["keras"], set()),
    "64 latents": (ours("PyTorch", 64), ["torch"], set()),
    "binarised": (
        ours("JAX", 20, lambda x: (binary(x), {}), images=binary), ["jax"], set(),
    ),
    "free bits": (ours("Keras", 20, kl=free_bits), ["keras"], set()),
    "Gaussian, sigma 0.1, declared": (
        ours("PyTorch", 20, lambda x: (x, GIVEN | {"sigma": 0.1}), reconstruction=gaussian(0.1)), ["torch"], set(),
    ),
    "Gaussian, sigma 0.1": (ours("PyTorch", 20, reconstruction=gaussian(0.1)), ["torch"], set()),
    "Gaussian, learned sigma, declared": (
        ours("JAX", 20, lambda x: (x, GIVEN | {"sigma": "learned"}), reconstruction=learned_sigma), ["jax"], set(),
    ),
    "batch norm in evaluation": (ours("PyTorch", 20, norm=True), ["torch"], set()),
    "dropout in evaluation": (ours("PyTorch", 20, dropout=0.2), ["torch"], set()),
    "beta 0.5, declared": (ours("Keras", 20, lambda x: (x, {"beta": 0.5}), kl=weighed(0.5)), ["keras"], set()),
    "beta 4, declared": (ours("JAX", 20, lambda x: (x, {"beta": 4}), kl=weighed(4.0)), ["jax"], set()),
    "normalised input, declared": (
        ours("PyTorch", 20, lambda x: (x, {"inputs": normalised}), inputs=lambda o, x: normalised(x)), ["torch"], set(),
    ),
}  # fmt: skip
