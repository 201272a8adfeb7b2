"""Section 4 of the side notes: two ways to a gradient."""

import math

import keras
import numpy as np
from keras import ops

import vae_mnist
from lab.drawing import BLUE, ORANGE, RED, percent, significant, table
from lab.measures import encode
from lab.models import AUTHOR, DEFAULT, compile_options, few
from seevae.results import evidence, pictures
from seevae.training.optimizers import make_optimizer

ESTIMATORS = ("score function", "score function, baseline", "re-parameterised")


def gradient(function, z):
    """The gradient at z, a tensor, of a function that returns one number, by the backend; the shape of z.

    Zeros where nothing leads from the number back to z.
    """
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                tape.watch(z)
                value = function(z)
            return tape.gradient(value, z, unconnected_gradients="zero")
        case "jax":
            import jax

            return jax.grad(function)(z)
        case "torch":
            z = z.detach().clone().requires_grad_()
            (function(z) + 0 * ops.sum(z)).backward()  # else an error, where nothing leads back
            return z.grad
        case other:
            raise ValueError(f"No gradient is known for the backend {other!r}.")


def gradient_draws(decoder, x, z_mean, z_log_var, draws, loss=vae_mnist.reconstruction_loss, seed=0):
    """What one draw of z says about the gradient of E_q[log p(x|z)] by (z_mean, z_log_var), for many draws.

    x (n, 784), z_mean and z_log_var (n, 2); loss (x, x_hat) -> (batch,) is -log p(x|z). Float64 arrays:
    "pathwise" (n, draws, 4), the derivative through z = z_mean + exp(z_log_var / 2) * epsilon; "score" (n, draws, 4),
    the derivative of log q(z|x) with z held fixed; "value" (n, draws), log p(x|z).
    """
    rng, results = np.random.default_rng(seed), []
    for image, mean, log_var in zip(x, z_mean.astype("float64"), z_log_var.astype("float64"), strict=True):
        epsilon, sigma = rng.standard_normal((draws, 2)), np.exp(log_var / 2)
        z = ops.convert_to_tensor((mean + sigma * epsilon).astype("float32"))
        images = ops.convert_to_tensor(np.repeat(image[None], draws, axis=0))
        through_z = ops.convert_to_numpy(gradient(lambda z, images=images: -ops.sum(loss(images, decoder(z))), z))
        value = -ops.convert_to_numpy(loss(images, decoder(z))).astype("float64")
        pathwise = np.concatenate([through_z, through_z * sigma * epsilon / 2], axis=-1)
        score = np.concatenate([epsilon / sigma, (epsilon**2 - 1) / 2], axis=-1)
        results.append({"pathwise": pathwise, "score": score, "value": value})
    return {name: np.stack([result[name] for result in results]) for name in results[0]}


def draws_of(vae, x, images=50, draws=4000):
    """gradient_draws for the first images of x (n, 784), at the q that the VAE's encoder gives them."""
    x = x[: few(images, 3)]
    return gradient_draws(vae.get_layer("decoder"), x, *encode(vae, x), few(draws, 100))


def untrained_vae(seed=1):
    """A VAE of the default recipe before its first step."""
    keras.utils.set_random_seed(seed)
    return vae_mnist.build_vae(DEFAULT, seed=seed)


def estimates(drawn, estimator, group=10):
    """Estimates of the gradient from gradient_draws, each the mean over `group` draws: (n, draws / group, 4).

    The baseline of a draw is the mean log p(x|z) of the other draws of its group, which leaves no bias.
    """
    shape = (*drawn["value"].shape[:1], -1, group)
    if estimator == "re-parameterised":
        return drawn["pathwise"].reshape(*shape, 4).mean(axis=2)
    value = drawn["value"].reshape(shape)
    if estimator == "score function, baseline":
        value = (value - value.mean(axis=2, keepdims=True)) * group / (group - 1)
    elif estimator != "score function":
        raise ValueError(f"No estimator is called {estimator!r}.")
    return (value[..., None] * drawn["score"].reshape(*shape, 4)).mean(axis=2)


def variance_ratios(drawn, estimator, group=10):
    """How many times the variance of the re-parameterised gradient by z_mean an estimator has: (n,), one an image."""
    own, path = (
        estimates(drawn, name, group)[..., :2].var(axis=1, ddof=1).sum(axis=-1) for name in (estimator, ESTIMATORS[2])
    )
    return own / path


def plot_gradients(drawn):
    """The estimates of the gradient by z_mean, each from 10 draws, as points, for the image with the median ratio."""
    figure = pictures.new_figure(10, 4.3, "One gradient, estimated again and again: each point is a mean over 10 draws")
    ratios = variance_ratios(drawn, ESTIMATORS[0])
    image, first = np.argsort(ratios)[len(ratios) // 2], None
    centre = drawn["pathwise"][image, :, :2].mean(axis=0)
    for axes, estimator, colour in zip(figure.subplots(1, 3), ESTIMATORS, (RED, ORANGE, BLUE), strict=True):
        points = estimates(drawn, estimator)[image, :, :2]
        half = 1.05 * np.abs(points - centre).max()
        axes.scatter(*points.T, s=9, alpha=0.6, linewidths=0, color=colour)
        axes.plot(*centre, "+", color="black", markersize=16, markeredgewidth=2.5)
        zoom = f"seen {significant(first / half)} times closer" if first else "the cross: the right one"
        axes.set_title(f"{estimator}\n({zoom})", fontsize=12)
        axes.set(xlim=centre[0] + half * np.array([-1, 1]), ylim=centre[1] + half * np.array([-1, 1]), aspect="equal")
        axes.set_xlabel("for z_mean of z1, nats per unit")
        axes.locator_params(nbins=4)
        first = first or half
    figure.axes[0].set_ylabel("for z_mean of z2, nats per unit")
    return figure


def gradient_by_differences(decoder, image, z_mean, z_log_var, loss=vae_mnist.reconstruction_loss, points=71):
    """The gradient of E_q[log p(x|z)] by (z_mean, z_log_var) of one image (pixels,): (4,), without any draw.

    The expectation is a sum over points x points codes within six sigma, which stay where they are; the weights q are
    moved by central differences.
    """
    z_mean, z_log_var = z_mean.astype("float64"), z_log_var.astype("float64")
    ruler = np.linspace(-6, 6, points)
    z = z_mean + np.exp(z_log_var / 2) * np.stack(np.meshgrid(ruler, ruler), axis=-1).reshape(-1, 2)
    images = np.repeat(image[None], len(z), axis=0)
    value = -ops.convert_to_numpy(loss(images, decoder(z.astype("float32")))).astype("float64")

    def expectation(change):
        mean, log_var = z_mean + change[:2], z_log_var + change[2:]
        q = np.exp(-0.5 * np.sum((z - mean) ** 2 / np.exp(log_var) + log_var, axis=-1))
        return q @ value / q.sum()

    steps = 1e-3 * np.diag([*np.exp(z_log_var / 2), 1, 1])
    return np.array([(expectation(step) - expectation(-step)) / (2 * step.sum()) for step in steps])


def deviations(drawn, estimator, right):
    """How many standard errors the mean of all estimates is away from the right gradients (n, 4): (n, 4)."""
    each = estimates(drawn, estimator)
    return (each.mean(axis=1) - right) / (each.std(axis=1, ddof=1) / math.sqrt(each.shape[1]))


def black_box_table(decoder, digits, losses, draws=2000):
    """Show how often each estimator, under each of {name: loss}, is right: within two standard errors of differences.

    For the first 20 of the Digits, all four parts of the gradient of each.
    """
    x, z_mean, z_log_var = (part[: few(20, 2)] for part in (digits.x, *digits.q))
    rows = []
    for name, loss in losses.items():
        qs = zip(x, z_mean, z_log_var, strict=True)
        right = np.stack([gradient_by_differences(decoder, image, *q, loss) for image, *q in qs])
        drawn = gradient_draws(decoder, x, z_mean, z_log_var, few(draws, 100), loss)
        near = [percent((np.abs(deviations(drawn, estimator, right)) < 2).mean()) for estimator in ESTIMATORS]
        rows.append([name, *near])
    table(["likelihood of a pixel", *ESTIMATORS], rows)


class TwoDraws(keras.layers.Layer):
    """The reconstruction loss of images (batch, 784) with two draws of z each, and a gradient by one of ESTIMATORS.

    Called with [x, z_mean, z_log_var]. For the score function z is cut off from the encoder; instead the layer adds
    the mean of cost * log q(z|x), with the cost held fixed, whose gradient is that estimator. The baseline of a draw is
    the cost of the other.
    """

    def __init__(self, decoder, estimator, seed=0):
        super().__init__()
        self.decoder, self.estimator = decoder, estimator
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        x, *q = inputs
        z = [vae_mnist.sample_latent(q, self.seed_generator) for _ in range(2)]
        if self.estimator != "re-parameterised":
            z = [ops.stop_gradient(draw) for draw in z]
        costs = [vae_mnist.reconstruction_loss(x, self.decoder(draw)) for draw in z]
        if self.estimator != "re-parameterised":
            fixed = [ops.stop_gradient(cost) for cost in costs]
            if self.estimator == "score function, baseline":
                fixed = [fixed[0] - fixed[1], fixed[1] - fixed[0]]
            surrogate = [ops.mean(cost * log_q(draw, *q)) for cost, draw in zip(fixed, z, strict=True)]
            self.add_loss((surrogate[0] + surrogate[1]) / 2)
        return (costs[0] + costs[1]) / 2


def log_q(z, z_mean, z_log_var):
    """log N(z; z_mean, exp(z_log_var)), tensors (batch, latent_dim); returns (batch,)."""
    squares = ops.square(z - z_mean) / ops.exp(z_log_var)
    return -0.5 * ops.sum(squares + z_log_var + evidence.LOG_2_PI, axis=-1)


def train_by(estimator, x, x_test, seed=0, epochs=3):
    """Train a new VAE on images x (n, 784) with one of ESTIMATORS; its held-out loss before and after each epoch.

    Returns a list of epochs + 1 numbers, nats per image. The optimizer is the author's.
    """
    keras.utils.set_random_seed(seed)
    recipe = AUTHOR._replace(epochs=few(epochs, 1))
    vae = vae_mnist.build_vae(recipe, seed=seed)
    image = keras.Input((vae_mnist.INPUT_SIZE,))
    q = vae_mnist.AddKLLoss()(vae.get_layer("encoder")(image))
    trainer = keras.Model(image, TwoDraws(vae.get_layer("decoder"), estimator, seed)([image, *q]))
    steps = math.ceil(len(x) / recipe.batch_size)
    optimizer = make_optimizer(recipe, steps * recipe.epochs)
    trainer.compile(optimizer, lambda _, cost: cost, **compile_options(steps))
    losses = []
    follow = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: losses.append(-vae_mnist.evaluate_elbo(vae, x_test, samples=5)["elbo"]),
        on_epoch_end=lambda epoch, logs: losses.append(-vae_mnist.evaluate_elbo(vae, x_test, samples=5)["elbo"]),
    )
    trainer.fit(x, x, batch_size=recipe.batch_size, epochs=recipe.epochs, verbose=0, callbacks=[follow])
    return losses
