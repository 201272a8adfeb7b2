"""A variational autoencoder on MNIST, as one script that reads like the blog post it reproduces.

The post is Hamidreza Saghir's "An intuitive understanding of variational autoencoders without any formula".
Its story: behind each image x there is a hidden code z. To generate, draw z from the prior p(z) = N(0, I) and
let the decoder turn it into p(x|z), one Bernoulli probability for each pixel. To infer, let the encoder turn x
into q(z|x) = N(z_mean, exp(z_log_var)), a whole distribution rather than one code, and draw z from that:

    x (784) -> 256 relu -> z_mean (2), z_log_var (2) -> z (2) -> 256 relu -> 784 sigmoid

Training maximises the ELBO, a lower bound on log p(x), the evidence. Its negative is the loss, in nats per image
(a nat is the unit of natural logarithms, as a bit is of logarithms to base 2):

    loss = -ELBO = reconstruction_loss + kl_loss
    reconstruction_loss = E_q[-log p(x|z)]     784 * (mean binary crossentropy of the pixels)
    kl_loss             = KL(q(z|x) || p(z))   closed form; it keeps q close to the prior

Run it:

    python vae_mnist.py            # trains on MNIST; pictures, model and record go to figures/; --help has more

Sources: the post; Kingma & Welling, "Auto-Encoding Variational Bayes" (arXiv:1312.6114), called AEVB below.
The model is plain Keras 3 and runs unchanged on TensorFlow, JAX and PyTorch (KERAS_BACKEND=jax or torch).
What a reader of the post may skip is in the folder seevae/; seevae/__init__.py lists it.
"""

import math
import sys
from pathlib import Path

if (here := Path(__file__).resolve().parent) not in map(Path, sys.path):
    sys.path.insert(0, str(here))  # through a link, or with python -P, Python does not look beside this script
if not (here / "seevae").is_dir():
    print("vae_mnist: the folder seevae/ is missing beside this script: fetch the whole project.", file=sys.stderr)
    sys.exit(2)

from seevae.machine.startup import import_keras
from seevae.run import before_keras

if __name__ == "__main__":  # before the slow imports: Ctrl-C, --help and mistakes in the options are answered at once
    before_keras.begin(sys.argv[1:])
import_keras(announce=__name__ == "__main__")

import keras
import numpy as np
from keras import layers, ops

from seevae.images import data
from seevae.results import evidence, explorer, pictures
from seevae.run import console, options, saved
from seevae.run.session import running
from seevae.training.batches import Batches, for_fit
from seevae.training.callbacks import KLLossInLogs, SeedEachEpoch, StopIfDiverged
from seevae.training.initial_weights import spread_weights
from seevae.training.input_noise import StochasticBinarisation
from seevae.training.optimizers import check_learning_rate, compile_options, make_optimizer
from seevae.training.recipes import RECIPES

INPUT_SIZE = data.IMAGE_DIM  # 784 pixels, the post's input_size


# ---------------------------------------------------------------------------------------------------------------
# Network: the post's `network`, line by line
# ---------------------------------------------------------------------------------------------------------------


def build_encoder(latent_dim=2, hidden_dim=256):
    """The inference network: x (batch, 784) -> z_mean, z_log_var, each (batch, latent_dim).

    The post's `z_variance` is the logarithm of the variance, as its exp(z_variance / 2) shows; hence the name here.
    """
    encoder_x = keras.Input((INPUT_SIZE,), name="encoder_x")
    encoder_h = layers.Dense(hidden_dim, activation="relu", name="encoder_h")(encoder_x)
    z_mean = layers.Dense(latent_dim, name="z_mean")(encoder_h)
    z_log_var = layers.Dense(latent_dim, name="z_log_var")(encoder_h)
    return keras.Model(encoder_x, [z_mean, z_log_var], name="encoder")


@keras.saving.register_keras_serializable(package="vae_mnist")
def sample_latent(q, seed):
    """Draw z from q(z|x) by the re-parameterisation trick: all randomness is in epsilon, so gradients reach q.

    q: the pair z_mean, z_log_var, each (batch, latent_dim). seed: a keras.random.SeedGenerator, which gives fresh
    noise at each call; an integer would give the same noise each time. Returns z (batch, latent_dim).
    Source: the post's `z_sample`; AEVB, section 2.4.
    """
    z_mean, z_log_var = q  # each (batch, latent_dim)
    epsilon = keras.random.normal(ops.shape(z_mean), dtype=z_mean.dtype, seed=seed)  # (batch, latent_dim)
    return z_mean + ops.exp(z_log_var / 2) * epsilon  # (batch, latent_dim)


def build_decoder(latent_dim=2, hidden_dim=256):
    """The generative network: z (batch, latent_dim) -> pixel probabilities (batch, 784). Alone, it generates."""
    z = keras.Input((latent_dim,), name="z")
    decoder_h = layers.Dense(hidden_dim, activation="relu", name="decoder_h")(z)
    decoder_output = layers.Dense(INPUT_SIZE, activation="sigmoid", name="decoder_output")(decoder_h)
    return keras.Model(z, decoder_output, name="decoder")


def build_vae(recipe=RECIPES["default"], latent_dim=2, hidden_dim=256, seed=0):
    """The whole network: x (batch, 784) -> x_hat (batch, 784), by way of a random z. `halves` gives its two halves.

    The recipe (see seevae/training/recipes.py) chooses the initial weights, and whether the encoder learns from
    noisy images: each pixel 1 or 0, with its grey level as the probability of 1. `seed` seeds all noise; for the
    initial weights call keras.utils.set_random_seed.
    """
    encoder, decoder = build_encoder(latent_dim, hidden_dim), build_decoder(latent_dim, hidden_dim)
    if recipe.spread_weights:
        spread_weights(encoder, decoder)

    x = keras.Input((INPUT_SIZE,), name="x")
    noisy_x = StochasticBinarisation(seed, name="noisy_x")(x) if recipe.binarised_input else x
    q = AddKLLoss(name="kl_loss")(encoder(noisy_x))  # z_mean and z_log_var; see the cost below
    epsilon_seed = keras.random.SeedGenerator(seed)
    z_sample = layers.Lambda(sample_latent, arguments={"seed": epsilon_seed}, name="z_sample")(q)
    x_hat = decoder(z_sample)
    return keras.Model(x, x_hat, name="vae")


def halves(vae):
    """The two functions that a VAE is made of, with its weights: x -> z_mean, z_log_var, and z -> x_hat."""
    return vae.get_layer("encoder"), vae.get_layer("decoder")


# ---------------------------------------------------------------------------------------------------------------
# Cost: the post's `cost`
# ---------------------------------------------------------------------------------------------------------------


@keras.saving.register_keras_serializable(package="vae_mnist")
def reconstruction_loss(x, x_hat):
    """Negative log-likelihood -log p(x|z) of Bernoulli pixels, the post's `reconstruction_loss`.

    x and x_hat: (batch, 784), float32 in [0, 1], the image and the decoder's probabilities.
    Returns (batch,), nats per image. Keras's crossentropy is a mean over pixels: times 784 it is their sum, the
    log-likelihood of a whole image, on the same scale as the KL divergence (AEVB, appendix C.1).
    """
    return INPUT_SIZE * keras.losses.binary_crossentropy(x, x_hat)


def kl_divergence(z_mean, z_log_var):
    """KL(N(z_mean, exp(z_log_var)) || N(0, I)), the post's `kl_loss`.

    z_mean and z_log_var: (batch, latent_dim). Returns (batch,), nats per image (AEVB, appendix B).
    """
    return -0.5 * ops.sum(1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var), axis=-1)


@keras.saving.register_keras_serializable(package="vae_mnist")
class AddKLLoss(layers.Layer):
    """Adds the mean KL divergence of a batch to the loss of the model it is in; passes q through unchanged.

    Call it with [z_mean, z_log_var], each (batch, latent_dim); it returns the same pair. The mean over the batch
    is taken here: Keras would take the sum.
    """

    def call(self, q):
        z_mean, z_log_var = q
        self.add_loss(ops.mean(kl_divergence(z_mean, z_log_var)))
        return z_mean, z_log_var


# ---------------------------------------------------------------------------------------------------------------
# Training
# ---------------------------------------------------------------------------------------------------------------


def compile_vae(vae, recipe, n_images):
    """Give the VAE its cost and the recipe's optimizer; n_images: how many images an epoch trains on.

    `fit` then minimises the post's `cost_total`, the negative ELBO: the reconstruction loss that is given here, and
    the KL loss that AddKLLoss added in build_vae.
    """
    steps = math.ceil(n_images / recipe.batch_size)
    vae.compile(
        optimizer=make_optimizer(recipe, steps * recipe.epochs),
        loss=reconstruction_loss,
        metrics=[keras.metrics.MeanMetricWrapper(reconstruction_loss, "reconstruction_loss")],  # shown beside the loss
        **compile_options(steps),  # for speed: XLA, and several steps in one call
    )
    vae.optimizer.build(vae.trainable_variables)  # made in the first step, they would have that compiled twice


def train(vae, x_train, x_test=None, recipe=RECIPES["default"], seed=0, verbose="auto", callbacks=(), initial_epoch=0):
    """Train a compiled VAE to reproduce its own input; x_train and x_test are (n, 784) floats in [0, 1].

    Both may also be data.Images, which are kept in bytes until their turn comes. `seed` decides the order of the
    batches and all noise, in each epoch anew. `callbacks` are Keras callbacks of your own; their logs hold all that the
    history holds. To go on with a training that was cut off, give `initial_epoch`, the number of its finished epochs.
    Returns the history, {name: one number per epoch}, in nats per image: `loss`, `reconstruction_loss` and `kl_loss`,
    and the same with `val_` for the held-out x_test. Each is a mean over images, with one noise sample an image.
    Raises UserError for images of another form; for a learning rate at its end, as that of a trained model is
    (compile_vae gives it a new one); and when the loss or a weight becomes NaN or infinite.
    """
    if verbose == "auto":
        verbose = console.verbosity()
    batches = Batches(x_train, recipe.batch_size, seed)
    check_learning_rate(vae.optimizer, len(batches) * (recipe.epochs - initial_epoch), callbacks)
    ours = [SeedEachEpoch(batches, seed), StopIfDiverged(), KLLossInLogs()]
    fitted = vae.fit(
        for_fit(batches),
        shuffle=False,  # the batches are shuffled already
        validation_data=None if x_test is None else for_fit(Batches(x_test, batch_size=1000)),
        epochs=recipe.epochs,
        initial_epoch=initial_epoch,
        callbacks=[*ours, *callbacks],
        verbose=verbose,
    )
    return {name: [float(value) for value in values] for name, values in fitted.history.items()}


# ---------------------------------------------------------------------------------------------------------------
# Evaluation: the ELBO of held-out images
# ---------------------------------------------------------------------------------------------------------------


def elbo_terms(vae, x, samples=1, seed=0):
    """The two terms of the loss of each image of x (n, 784), NumPy float64, nats: the ELBO is minus their sum.

    Returns reconstruction_loss (samples, n), of draws of z from q(z|x) that the seed decides, and kl_loss (n,).
    """
    encoder, decoder = halves(vae)
    epsilon_seed = keras.random.SeedGenerator(seed)
    reconstruction, kl = [], []
    for images in evidence.batches(x):  # (1000, 784): all at once would fill the memory
        q = encoder(images)  # z_mean and z_log_var, each (1000, latent_dim)
        draws = (decoder(sample_latent(q, epsilon_seed)) for _ in range(samples))  # x_hat, each (1000, 784)
        reconstruction.append([ops.convert_to_numpy(reconstruction_loss(images, x_hat)) for x_hat in draws])
        kl.append(ops.convert_to_numpy(kl_divergence(*q)))  # (1000,)
    return np.concatenate(reconstruction, axis=1).astype("float64"), np.concatenate(kl).astype("float64")


def evaluate_elbo(vae, x, samples=1, seed=0):
    """The ELBO of images x (n, 784) and its two parts: means over all images, and over `samples` draws of z for each.

    Returns {"elbo", "reconstruction_loss", "kl_loss", "standard_error"}, nats per image;
    elbo = -(reconstruction_loss + kl_loss) is negative. standard_error is that of drawing z, not of the choice of
    images; None for one sample.
    """
    reconstruction, kl = elbo_terms(vae, x, samples, seed)
    loss = {"reconstruction_loss": float(reconstruction.mean()), "kl_loss": float(kl.mean())}
    error = math.sqrt((reconstruction.var(axis=0, ddof=1) / samples).sum()) / len(x) if samples > 1 else None
    return {"elbo": -sum(loss.values()), **loss, "standard_error": error}


def evaluate_evidence(vae, x, seed=0):
    """The ELBO of images x (n, 784) beside log p(x), which it bounds: see evidence.evaluate. None for no images."""
    if not len(x):
        return None
    elbo = evaluate_elbo(vae, x, samples=10, seed=seed)
    return {"images": len(x), **elbo, **evidence.evaluate(*halves(vae), x, seed=seed)}


# ---------------------------------------------------------------------------------------------------------------
# Loading
# ---------------------------------------------------------------------------------------------------------------


def load_vae(path):
    """The VAE in a file that this script saved, with its optimizer. Raises UserError for any other file.

    The network is built anew, and the file gives its numbers: nothing in it is run, wherever it comes from. Its
    optimizer is where it was, at the end of its learning rate; to train further, call compile_vae for a new one.
    """
    return saved.load(path, build_vae, compile_vae)


# ---------------------------------------------------------------------------------------------------------------
# The command
# ---------------------------------------------------------------------------------------------------------------


def run(args):
    """Load, build, train, evaluate, draw, save: what one command does. Returns the record (metrics.json)."""
    with running(args) as session:  # its devices, its folder, --resume, Ctrl-C, the record: seevae/run/session.py
        dataset = session.begin(data.load_data(args.data, args.seed))
        with session.all_devices():
            if args.load is not None:
                vae = load_vae(args.load)
            else:
                vae = build_vae(session.recipe, args.latent_dim, args.hidden_dim, args.seed)
            if args.trains:  # also a loaded model, with --epochs
                compile_vae(vae, session.recipe, len(dataset.x_train))
                saving = session.saving_each_epoch(vae, evaluate_elbo)  # callbacks; with --resume, where to go on
                train(vae, dataset.x_train, dataset.x_test, session.recipe, args.seed, **saving)
        vae = session.checked(vae)  # on one device; its numbers are finite, and not far too large

        held_out = evaluate_elbo(vae, dataset.x_test, samples=10, seed=args.seed)
        known = evaluate_evidence(vae, dataset.x_test[: args.evidence_images], args.seed)
        figures = pictures.draw(*halves(vae), dataset, session.history, session.origin, args.seed, session.stopped)
        page = explorer.page(*halves(vae), dataset, pictures.COLOURS, session.replay, session.origin, args.seed)
        return session.save(vae, figures, page, held_out, known)


def main(argv=()):
    """The command `python vae_mnist.py`; argv: its options, a list of strings. Returns its exit status."""
    return console.exit_status(run, options.parse_args(argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
