"""One dense VAE in PyTorch, JAX and Keras, with one thing changed at a time: what zoo.py breaks.

x (784) -> 100 relu -> z_mean, z_log_var (latent_dim); z -> 100 relu -> 784. A Change says what is otherwise; its
functions take `o`, the operations of the framework under common names. Weights are kept outside the repository (see
`kept`); as they do not depend on the framework, JAX trains those of all three, which is fastest. The moving numbers of
batch normalisation are then those of a hundred batches.
"""

import importlib
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

HIDDEN, BATCH = 100, 64
SMALL = 1e-7


def crossentropy(o, x, x_hat):
    """Of each pixel."""
    x_hat = o.clip(x_hat, SMALL, 1 - SMALL)
    return -(x * o.log(x_hat) + (1 - x) * o.log(1 - x_hat))


def kl_terms(o, mean, log_var):
    """Of each image and latent."""
    return 0.5 * (mean * mean + o.exp(log_var) - 1 - log_var)


class Change(NamedTuple):
    """How a network is trained; the defaults are right. All functions of `o` stand in the training and after it."""

    mean: callable = lambda o, a: a  # what becomes of the first head
    log_var: callable = lambda o, a: a
    sigma: callable = lambda o, log_var: o.exp(log_var / 2)
    noise: str = "normal"  # uniform, fixed (the same for each batch), one (the same for each image), none
    code: callable = lambda o, z: z  # what the decoder is given of z
    end: callable = lambda o, a: o.sigmoid(a)
    seen: callable = lambda o, x_hat: x_hat  # what the loss is given of the decoder's output
    target: callable = lambda o, x: x
    inputs: callable = lambda o, x: x  # what the encoder is given of a batch
    reconstruction: callable = lambda o, x, x_hat: o.mean(o.sum(crossentropy(o, x, x_hat), 1))
    kl: callable = lambda o, mean, log_var: o.mean(o.sum(kl_terms(o, mean, log_var), 1))
    trained: str = "both"  # or one half alone: encoder, decoder
    images: callable = lambda x: x  # NumPy: what it is trained on
    steps: int = 1000
    rate: float = 3e-3
    norm: bool = False  # batch normalisation of both hidden layers
    dropout: float = 0.0


def losses(change, o, network, x, training=True):
    """The loss of one batch x (batch, 784), a number; network: encode, decode and epsilon of the framework."""
    mean, log_var = network.encode(change.inputs(o, x), training)
    z = mean if change.noise == "none" else mean + change.sigma(o, log_var) * network.epsilon(mean)
    x_hat = change.seen(o, network.decode(change.code(o, z), training))
    return change.reconstruction(o, change.target(o, x), x_hat) + change.kl(o, mean, log_var)


def order(n, change, seed):
    """The rows of each batch, (steps, BATCH), with `n` images shuffled anew each epoch."""
    rng, batch = np.random.default_rng(seed), min(BATCH, n)
    epochs = -(-change.steps // (n // batch))
    rows = [rng.permutation(n)[: n // batch * batch].reshape(-1, batch) for _ in range(epochs)]
    return np.concatenate(rows)[: change.steps]


# -- PyTorch -----------------------------------------------------------------------------------------------------------


def torch_network(latent_dim, change, seed=0):
    """An nn.Module, not trained."""
    import torch
    from torch import nn
    from torch.nn import functional

    o = SimpleNamespace(
        exp=torch.exp, log=torch.log, sum=torch.sum, mean=torch.mean, sigmoid=torch.sigmoid, relu=torch.relu,
        tanh=torch.tanh, clip=torch.clip, roll=torch.roll, softplus=functional.softplus, abs=torch.abs,
        softmax=lambda a: torch.softmax(a, -1), stop=lambda a: a.detach(), max=torch.max, normal=torch.randn_like,
    )  # fmt: skip

    class VAE(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = nn.Linear(784, HIDDEN)
            self.fc21, self.fc22 = nn.Linear(HIDDEN, latent_dim), nn.Linear(HIDDEN, latent_dim)
            self.fc3, self.fc4 = nn.Linear(latent_dim, HIDDEN), nn.Linear(HIDDEN, 784)
            self.bn1, self.bn3 = (nn.BatchNorm1d(HIDDEN) if change.norm else nn.Identity() for _ in "ed")
            self.drop = nn.Dropout(change.dropout)
            self.o = o

        def encode(self, x, training=None):
            h = self.drop(torch.relu(self.bn1(self.fc1(x))))
            return change.mean(o, self.fc21(h)), change.log_var(o, self.fc22(h))

        def decode(self, z, training=None):
            return change.end(o, self.fc4(self.drop(torch.relu(self.bn3(self.fc3(z))))))

        def take(self, layers):
            dense = (self.fc1, self.fc21, self.fc22, self.fc3, self.fc4)
            for layer, (kernel, bias) in zip(dense, layers, strict=True):
                layer.weight.data, layer.bias.data = torch.tensor(kernel.T.copy()), torch.tensor(bias)

    torch.manual_seed(seed)
    return VAE().eval()


# -- JAX ---------------------------------------------------------------------------------------------------------------


def jax_network(latent_dim, change, seed=0):
    """Functions of parameters; params is a list of (kernel, bias)."""
    import jax
    import optax
    from jax import numpy as jnp

    o = SimpleNamespace(
        exp=jnp.exp, log=jnp.log, sum=jnp.sum, mean=jnp.mean, sigmoid=jax.nn.sigmoid, relu=jax.nn.relu, tanh=jnp.tanh,
        clip=jnp.clip, roll=jnp.roll, softplus=jax.nn.softplus, abs=jnp.abs, softmax=jax.nn.softmax,
        stop=jax.lax.stop_gradient, max=jnp.max,
        normal=lambda like: jax.random.normal(jax.random.key(np.random.randint(2**31)), like.shape),
    )  # fmt: skip

    class Step:
        """The network with some params, and a key for its noise."""

        def __init__(self, params, key):
            self.params, self.key = params, key

        def hidden(self, h, training):
            if change.norm:  # the statistics of the batch, always, as with use_running_average=False
                h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5)
            h = jax.nn.relu(h)
            if change.dropout and training:
                self.key, key = jax.random.split(self.key)
                h = h * jax.random.bernoulli(key, 1 - change.dropout, h.shape) / (1 - change.dropout)
            return h

        def encode(self, x, training=False):
            (w1, b1), (wm, bm), (wv, bv) = self.params[0]
            h = self.hidden(x @ w1 + b1, training)
            return change.mean(o, h @ wm + bm), change.log_var(o, h @ wv + bv)

        def decode(self, z, training=False):
            (w3, b3), (w4, b4) = self.params[1]
            return change.end(o, self.hidden(z @ w3 + b3, training) @ w4 + b4)

        def epsilon(self, like):
            if change.noise in ("fixed", "one"):
                return jax.random.normal(jax.random.key(0), like.shape[change.noise == "one" :])
            kind = jax.random.uniform if change.noise == "uniform" else jax.random.normal
            return kind(self.key, like.shape)

    class VAE:
        def __init__(self):
            self.o, keys = o, iter(jax.random.split(jax.random.key(seed), 9))
            sizes = [(784, HIDDEN), (HIDDEN, latent_dim), (HIDDEN, latent_dim), (latent_dim, HIDDEN), (HIDDEN, 784)]
            layers = [(jax.random.normal(next(keys), size) / size[0] ** 0.5, jnp.zeros(size[1])) for size in sizes]
            self.params, self.key = (layers[:3], layers[3:]), jax.random.key(1)
            self.encoded = lambda params, x, key: Step(params, key).encode(x, True)
            self.decoded = lambda params, z, key: Step(params, key).decode(z, True)

        def fresh(self):
            self.key, key = jax.random.split(self.key)
            return key

        def encode(self, x):
            return self.encoded(self.params, x, self.fresh())

        def decode(self, z):
            return self.decoded(self.params, z, self.fresh())

        def train_on(self, x):
            optimizer, x = optax.adam(change.rate), change.images(x)
            trains = [change.trained in ("both", half) for half in ("encoder", "decoder")]

            def step(state, given):
                batch, key = given
                params, kept = state
                slopes = jax.grad(lambda params: losses(change, o, Step(params, key), batch))(params)
                slopes = tuple(jax.tree.map(lambda g, on=on: g * on, s) for s, on in zip(slopes, trains, strict=True))
                updates, kept = optimizer.update(slopes, kept)
                return (optax.apply_updates(params, updates), kept), None

            rows = order(len(x), change, seed)
            keys = jax.random.split(jax.random.key(seed + 1), len(rows))
            run = jax.jit(lambda state, batches: jax.lax.scan(step, state, batches)[0])
            self.params, _ = run((self.params, optimizer.init(self.params)), (x[rows], keys))

    return VAE()


# -- Keras -------------------------------------------------------------------------------------------------------------


def keras_network(latent_dim, change, seed=0):
    """Two functional models, not trained."""
    import keras
    from keras import layers, ops

    o = SimpleNamespace(
        exp=ops.exp, log=ops.log, sum=ops.sum, mean=ops.mean, sigmoid=ops.sigmoid, relu=ops.relu, tanh=ops.tanh,
        clip=ops.clip, roll=ops.roll, softplus=ops.softplus, abs=ops.abs, softmax=ops.softmax,
        stop=ops.stop_gradient, max=ops.max,
        normal=lambda like: keras.random.normal(ops.shape(like)),
    )  # fmt: skip

    class Apply(layers.Layer):
        """A function of `o` as a layer."""

        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, a):
            return self.function(o, a)

    dense = [layers.Dense(size) for size in (HIDDEN, latent_dim, latent_dim, HIDDEN, 784)]

    def hidden(first, inputs):
        h = first(inputs)
        h = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(h) if change.norm else h)
        return layers.Dropout(change.dropout)(h) if change.dropout else h

    class VAE:
        def __init__(self):
            x, z = keras.Input((784,)), keras.Input((latent_dim,))
            h = hidden(dense[0], x)
            heads = [Apply(f)(layer(h)) for f, layer in zip((change.mean, change.log_var), dense[1:3], strict=True)]
            self.encoder = keras.Model(x, heads)
            self.decoder = keras.Model(z, Apply(change.end)(dense[4](hidden(dense[3], z))))
            self.o = o

        def encode(self, x, training=False):
            return self.encoder(x, training=training)

        def decode(self, z, training=False):
            return self.decoder(z, training=training)

        def take(self, given):
            for layer, weights in zip(dense, given, strict=True):
                layer.set_weights(weights)

    keras.utils.set_random_seed(seed)
    return VAE()


FRAMEWORKS = {"PyTorch": torch_network, "JAX": jax_network, "Keras": keras_network}


# -- Kept weights ------------------------------------------------------------------------------------------------------


def weights_of(network):
    """The arrays of a network of any framework, in its order."""
    if hasattr(network, "state_dict"):
        return [tensor.detach().numpy() for tensor in network.state_dict().values()]
    if hasattr(network, "get_weights"):
        return network.get_weights()
    return [np.asarray(leaf) for leaf in importlib.import_module("jax").tree.leaves(network.params)]


def put(network, arrays):
    """Give a network the arrays that weights_of gave."""
    if hasattr(network, "state_dict"):
        import torch

        network.load_state_dict(
            {key: torch.from_numpy(array) for key, array in zip(network.state_dict(), arrays, strict=True)}
        )
    elif hasattr(network, "set_weights"):
        network.set_weights(arrays)
    else:
        jax = importlib.import_module("jax")
        network.params = jax.tree.unflatten(jax.tree.structure(network.params), arrays)


def kept(path, network, x):
    """The network trained on x: from the file `path`, or now, and then written there."""
    if path.exists():
        with np.load(path) as file:
            put(network, [file[f"arr_{i}"] for i in range(len(file.files))])
    else:
        network.train_on(x)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, *weights_of(network))
    return network


def trained(framework, latent_dim, change, folder, name, x, seed=0):
    """A network of a framework, trained on x as a Change says, by JAX."""
    network, source = (FRAMEWORKS[one](latent_dim, change, seed) for one in (framework, "JAX"))
    if change.steps == 0:
        return network
    kept(folder / "JAX" / f"{name}-{latent_dim}-{seed}.npz", source, x)
    if framework == "JAX":
        return source
    network.take([[np.array(part) for part in layer] for half in source.params for layer in half])
    if change.norm:
        settle(network, change, x[order(len(x), change, seed)[:100]])
    return network


def settle(network, change, batches):
    """Give batch normalisation the moving numbers of batches (m, BATCH, 784), as in a training."""
    is_torch, o = hasattr(network, "state_dict"), network.o
    if is_torch:
        network.train()
    for x in batches:
        mean, log_var = network.encode(network.fc1.bias.new_tensor(x) if is_torch else x, training=True)
        network.decode(mean + change.sigma(o, log_var) * o.normal(mean), training=True)
    if is_torch:
        network.eval()
