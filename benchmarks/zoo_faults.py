"""What people get wrong in a VAE, one at a time: how each is made, and by which names examine may call it.

A fault is made in the training (`change`, see zoo_networks.Change), or in what examine is given (`wrap`, `x`,
`options`).
"""

from typing import NamedTuple

import numpy as np
from zoo_networks import crossentropy, kl_terms

BOTH = (2, 20)
SILENT, WEIGHT_HIGH, WEIGHT_LOW = {"silent-latents"}, {"collapse", "kl-weight-high"}, {"kl-weight-low", "off-prior"}


class Fault(NamedTuple):
    """names: of the findings that name its cause. says: what one of their sentences must hold, where a name alone does
    not tell the cause. also: names that may come beside it, as they are true too. refused: what a UserError may hold
    instead. trace: the numbers of latents with which it can be seen."""

    what: str
    names: set = frozenset()
    change: dict = {}  # noqa: RUF012
    wrap: callable = lambda net: (net.encode, net.decode)
    x: callable = lambda x: x
    options: callable = lambda x_train: {}
    says: str = ""
    also: set = frozenset()
    refused: str = ""
    trace: tuple = BOTH


def scaled(weight):
    """The KL loss with a weight."""
    return {"kl": lambda o, mean, log_var: weight * o.mean(o.sum(kl_terms(o, mean, log_var), 1))}


def of_kl(terms):
    """A KL loss of other terms of an image and latent."""
    return {"kl": lambda o, mean, log_var: o.mean(o.sum(0.5 * terms(o, mean, log_var), 1))}


def squared(o, x, x_hat):
    return (x - x_hat) * (x - x_hat)


def flipped(x):
    """Rows of 784 as images on their side."""
    return x.reshape(-1, 28, 28).transpose(0, 2, 1).reshape(-1, 784)


def only_ones(x):
    """The images whose ink lies in the middle columns: mostly the digit 1."""
    share = x.reshape(-1, 28, 28)[:, :, 10:18].sum((1, 2)) / x.sum(1)
    return x[share > np.quantile(share, 0.9)]


def with_draws(draw):
    """encode gives z as well, as `draw` of o, z_mean and z_log_var."""

    def wrap(net):
        def encode(x):
            mean, log_var = net.encode(x)
            return mean, log_var, draw(net.o, mean, log_var)

        return encode, net.decode

    return wrap


def outputs(change):
    """encode gives change(o, z_mean, z_log_var)."""
    return lambda net: (lambda x: change(net.o, *net.encode(x)), net.decode)


def decoded(change):
    """decode gives change(o, x_hat)."""
    return lambda net: (net.encode, lambda z: change(net.o, net.decode(z)))


def encoded(change):
    """encode is given change(o, x)."""
    return lambda net: (lambda x: net.encode(change(net.o, x)), net.decode)


def noisy(o, x):
    return x + 0.3 * o.normal(x)


def drawn(o, mean, log_var):
    return mean + o.exp(log_var / 2) * o.normal(mean)


def once(o, mean, log_var):
    noise = np.random.default_rng(0).standard_normal(tuple(mean.shape)).astype("float32")
    return mean + o.exp(log_var / 2) * type_of(mean, noise)


def type_of(like, array):
    """A NumPy array as what `like` is."""
    return like.new_tensor(array) if hasattr(like, "new_tensor") else array


FAULTS = [
    # -- the two scales
    Fault(
        "mean over pixels",
        WEIGHT_HIGH,
        {"reconstruction": lambda o, x, p: o.mean(crossentropy(o, x, p))},
        also=SILENT,
    ),
    Fault(
        "squared error, mean",
        WEIGHT_HIGH,
        {"reconstruction": lambda o, x, p: o.mean(squared(o, x, p))},
        also=SILENT,
    ),
    Fault(
        "squared error, mean, 0.1 of a mean KL",
        WEIGHT_HIGH,
        {
            "reconstruction": lambda o, x, p: o.mean(squared(o, x, p)),
            "kl": lambda o, m, v: 0.1 * o.mean(kl_terms(o, m, v)),
        },
        also=SILENT,
    ),
    Fault("KL: mean over latents", WEIGHT_LOW, {"kl": lambda o, m, v: o.mean(kl_terms(o, m, v))}, trace=(20,)),
    Fault("KL left out", WEIGHT_LOW, scaled(0.0)),
    Fault("KL times 0.00025", WEIGHT_LOW, scaled(0.00025)),
    Fault("KL: mean of the batch, reconstruction: sum", WEIGHT_LOW, scaled(1 / 128)),
    Fault("KL: sum of the batch, reconstruction: mean", WEIGHT_HIGH, scaled(128.0), also=SILENT),
    Fault("KL times 4, undeclared", {"kl-weight-high"}, scaled(4.0), also=SILENT),
    Fault("KL without 1/2", {"kl-weight-high"}, scaled(2.0), trace=()),
    Fault("KL: wrong sign", {"kl-sign"}, scaled(-1.0), refused="sign"),
    Fault("KL without z_mean^2", WEIGHT_LOW, of_kl(lambda o, m, v: o.exp(v) - 1 - v)),
    Fault("KL without log_var", WEIGHT_LOW, of_kl(lambda o, m, v: m * m + o.exp(v) - 1), trace=()),
    Fault("KL alone", {"collapse", "untrained"}, {"reconstruction": lambda o, x, p: 0 * o.mean(p)}, also={"ignores-z"}),
    # -- the noise
    Fault("noise forgotten", {"no-noise"}, {"noise": "none"}, also={"off-prior"}),
    Fault("a tenth of the noise", {"little-noise", "no-noise"}, {"sigma": lambda o, v: 0.1 * o.exp(v / 2)}),
    Fault("sigma = exp(log_var)", {"sigma-exp"}, {"sigma": lambda o, v: o.exp(v)}),
    Fault(
        "sigma = log_var", {"sigma-exp", "little-noise", "no-noise", "deviation"}, {"sigma": lambda o, v: v}, trace=()
    ),
    Fault(
        "sigma = exp(-log_var / 2)",
        {"sigma-exp", "little-noise", "no-noise"},
        {"sigma": lambda o, v: o.exp(-v / 2)},
        trace=(),
    ),
    Fault("uniform noise", {"uniform-noise", "repeated-noise"}, {"noise": "uniform"}, says="uniform"),
    Fault("one epsilon for all", {"repeated-noise"}, {"noise": "one"}),
    Fault("the same noise in each batch", {"repeated-noise"}, {"noise": "fixed"}, trace=()),
    # -- heads and gradients
    Fault(
        "relu on log_var", {"log-var-floor"}, {"log_var": lambda o, v: o.relu(v)}, also={"silent-latents", "collapse"}
    ),
    Fault("softplus on log_var", {"log-var-floor"}, {"log_var": lambda o, v: o.softplus(v)}, also=SILENT),
    Fault("log_var clamped at -1", {"log-var-floor"}, {"log_var": lambda o, v: o.clip(v, -1, 1)}, also=SILENT),
    Fault("relu on z_mean", {"mean-floor", "off-prior"}, {"mean": lambda o, m: o.relu(m)}, also=SILENT),
    Fault("tanh on z_mean", {"mean-bound", "off-prior"}, {"mean": lambda o, m: o.tanh(m)}, trace=()),
    Fault("z detached", {"collapse"}, {"code": lambda o, z: o.stop(z)}, says="detach|stop_gradient|cut"),
    Fault(
        "targets shuffled",
        {"collapse"},
        {"target": lambda o, x: o.roll(x, 1, 0)},
        says="target|pair|shuffl|other image|own image",
    ),
    Fault("decoder is not given z", {"collapse", "ignores-z"}, {"code": lambda o, z: 0 * z}, says="reach|ignore|cut"),
    Fault(  # no code gets through: that is a collapse, of this cause
        "encoder not in the optimizer",
        {"collapse", "untrained"},
        {"trained": "decoder"},
        says="optimizer|not trained",
        trace=(),
    ),
    Fault("decoder not in the optimizer", {"untrained"}, {"trained": "encoder"}),
    Fault("not trained", {"untrained"}, {"steps": 0}),
    Fault("five steps", {"untrained", "collapse"}, {"steps": 5}),
    Fault("learning rate of 1", {"untrained", "collapse"}, {"rate": 1.0, "steps": 300}, refused="diverged"),
    # -- the decoder's end
    Fault("sigmoid twice in the loss", {"double-sigmoid"}, {"seen": lambda o, p: o.sigmoid(p)}),
    Fault("sigmoid twice", {"double-sigmoid"}, wrap=decoded(lambda o, p: o.sigmoid(p))),
    Fault("softmax over pixels", {"softmax"}, {"end": lambda o, a: o.softmax(a)}),
    Fault(
        "crossentropy's arguments exchanged",
        {"untrained", "double-sigmoid"},
        {"reconstruction": lambda o, x, p: o.mean(o.sum(crossentropy(o, p, x), 1))},
        says="exchange|swap|argument",
    ),
    Fault("logits", {"logits"}, {"end": lambda o, a: a, "seen": lambda o, a: o.sigmoid(a)}),
    Fault(
        "decode gives 0 to 255",
        {"outside-unit", "bytes"},
        wrap=decoded(lambda o, p: 255 * p),
        says="255",
        refused="255",
    ),
    Fault(
        "decode thresholds",
        {"untrained", "double-sigmoid", "thresholded"},
        wrap=decoded(lambda o, p: (numpy(p) > 0.5).astype("float32")),
        says="threshold|round|0 or 1|0 and 1",
    ),
    Fault(  # the largest of a batch of digits is nearly 1
        "decode divides by the largest of the batch",
        {"batch-dependent"},
        wrap=decoded(lambda o, p: p / o.max(p)),
        trace=(),
    ),
    # -- the images
    Fault(  # which ends in NaN
        "encoder wants 0 to 255",
        {"input-range"},
        {"inputs": lambda o, x: 255 * x, "rate": 3e-4},
        refused="diverged",
    ),
    Fault("encoder wants -1 to 1", {"input-range"}, {"inputs": lambda o, x: 2 * x - 1}),
    Fault("encoder wants normalised images", {"input-range"}, {"inputs": lambda o, x: (x - 0.1307) / 0.3081}),
    Fault(
        "trained on inverted images",
        {"input-range", "other-images", "untrained"},
        {"images": lambda x: 1 - x},
        says="invert|1 - x|other images",
    ),
    Fault("trained on transposed images", {"other-images", "untrained"}, {"images": flipped}, trace=()),
    Fault("trained on one class", {"other-images", "untrained"}, {"images": only_ones}, says="other images", trace=()),
    Fault(
        "decode transposes",
        {"halves-apart", "transposed"},
        wrap=lambda net: (net.encode, lambda z: flipped(numpy(net.decode(z)))),
    ),
    Fault(
        "300 images to train on", {"overfitting"}, {"images": lambda x: x[:300]}, options=lambda x: {"x_train": x[:300]}
    ),
    Fault("x from 0 to 255", refused="255", x=lambda x: 255 * x),
    # -- evaluation
    Fault("dropout left on", {"random-output", "training-mode"}, {"dropout": 0.3}, wrap=lambda net: in_training(net)),
    Fault(
        "batch norm left in training",
        {"batch-dependent", "training-mode"},
        {"norm": True},
        wrap=lambda net: in_training(net),
    ),
    Fault(
        "input standardised by batch",
        {"batch-dependent"},
        {"inputs": lambda o, x: 2 * (x - o.mean(x, 0))},
        wrap=encoded(lambda o, x: 2 * (x - o.mean(x, 0))),
    ),
    Fault("noise on the input left on", {"random-output"}, wrap=encoded(noisy)),
    # -- what the two functions are
    Fault("decoder of another run", {"halves-apart"}, wrap=lambda net: (net.encode, net.other().decode)),
    Fault(
        "latents in another order",
        {"halves-apart"},
        wrap=lambda net: (net.encode, lambda z: net.decode(net.o.roll(z, 1, 1))),
    ),
    Fault("encode gives the variance", {"variance"}, wrap=outputs(lambda o, m, v: (m, o.exp(v)))),
    Fault("encode gives sigma", {"deviation"}, wrap=outputs(lambda o, m, v: (m, o.exp(v / 2)))),
    Fault("encode gives log sigma, and z", {"log-deviation"}, wrap=outputs(lambda o, m, v: (m, v / 2, drawn(o, m, v)))),
    Fault(
        "encode gives log sigma", {"log-deviation", "little-noise"}, wrap=outputs(lambda o, m, v: (m, v / 2)), trace=()
    ),
    Fault("log_var before z_mean", {"order"}, wrap=outputs(lambda o, m, v: (v, m))),
    Fault("z before z_mean and log_var", {"order"}, wrap=outputs(lambda o, m, v: (drawn(o, m, v), m, v))),
    Fault("z is z_mean", {"no-noise"}, wrap=with_draws(lambda o, m, v: m)),
    Fault(
        "z of sigma = exp(log_var)",
        {"sigma-exp", "z-unlike-q"},
        wrap=with_draws(lambda o, m, v: m + o.exp(v) * o.normal(m)),
    ),
    Fault("z of a fixed seed", {"repeated-draws"}, wrap=with_draws(once)),
    Fault("encoder and decoder exchanged", refused="encode|decode", wrap=lambda net: (net.decode, net.encode)),
    Fault("NaN", refused="NaN", wrap=decoded(lambda o, p: o.log(p - 0.5))),
]


def numpy(tensor):
    """A tensor of any framework as NumPy."""
    return tensor.detach().numpy() if hasattr(tensor, "detach") else np.asarray(tensor)


def in_training(net):
    """The two functions as in training: PyTorch's mode, Keras's argument; JAX's network here is always so."""
    network = net.network
    if hasattr(network, "state_dict"):
        network.train()
    elif hasattr(network, "decoder"):
        return lambda x: network.encode(x, training=True), lambda z: network.decode(z, training=True)
    return network.encode, network.decode
