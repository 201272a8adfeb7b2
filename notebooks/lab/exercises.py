"""The checks of exercises.ipynb: each prints whether an answer is right, or what is wrong with it.

They are closed forms, known mistakes and `examine`, as in seevae/check.py.
"""

import functools

import numpy as np
from keras import ops

from lab.measures import AXIS, decode, elbo_of, encode, kl_of, log_evidence, masses, reconstruction
from lab.measures import log_joint as joint_on_grid
from seevae import UserError, check

BLANK = "Not yet: replace each ... in the cell above."


class NotYetError(Exception):
    """There is still a blank."""


def checked(look):
    """A check that prints what look(...) finds wrong (a sentence, or None), also where it fails."""

    @functools.wraps(look)
    def run(*answers):
        try:
            given(*answers)
            wrong = look(*answers)
        except NotYetError:
            print(BLANK)
            return
        except UserError as error:
            wrong = str(error)
        except Exception as error:
            wrong = f"it ends in {type(error).__name__}: {check.first_line(error)}"
        print(f"Wrong: {wrong.removesuffix('.')}." if wrong else "Right.")

    return run


def given(*answers):
    """Raise NotYetError where an answer is a blank."""
    if any(answer is None or answer is ... for answer in answers):
        raise NotYetError


def called(function, *arguments):
    """What an answer's function gives. Raises NotYetError where it gives a blank."""
    found = function(*arguments)
    if found is ...:
        raise NotYetError
    return found


def one_an_image(function):
    """An answer's function, which is to give a number for each image."""

    def run(*arguments):
        found = check.numbers(called(function, *arguments))
        if found.shape == ():
            raise UserError("it gives one number for all images: give one for each, (n,)")
        return found

    return run


@checked
def check_draw(sample_latent):
    """Task 1."""
    return check.check_draw({"sample_latent": functools.partial(called, sample_latent)})


@checked
def check_kl(kl_loss):
    """Task 2."""
    return check.check_kl({"kl_loss": one_an_image(kl_loss)}, None)


@checked
def check_reconstruction(reconstruction_loss):
    """Task 3."""
    return check.check_reconstruction({"reconstruction_loss": one_an_image(reconstruction_loss)})


@checked
def check_loss(loss, vae, x):
    """Task 4: the loss of images x, -ELBO, one number; within four errors of a single draw an image."""
    if np.shape(loss) != ():
        return f"it has shape {np.shape(loss)}: give one number, the mean over the images"
    q = encode(vae, x)
    elbo, error = elbo_of(vae.get_layer("decoder"), x, *q, draws=10)
    kl, right = kl_of(*q).mean(), -elbo.mean()
    wrong = {
        "it is the loss at z_mean: draw z": reconstruction(vae, x).mean() + kl,
        "this is the ELBO: the loss is minus that": -right,
        "the KL loss is missing": right - kl,
        "the KL loss was subtracted: it is added": right - 2 * kl,
        "the reconstruction loss is missing": kl,
        "it is the sum over the images: take the mean": len(x) * right,
        "the reconstruction loss is a mean over the pixels": (right - kl) / 784 + kl,
    }
    tolerance = 2 * 10**0.5 * np.linalg.norm(error) / len(x) / right
    return check.compared(np.float64(loss), right, wrong, tolerance)


@checked
def check_new(z, new, vae, x):
    """Task 5: 100 codes from the prior, not those of images x, and what they decode to."""
    z, new = np.asarray(ops.convert_to_numpy(z), "float32"), ops.convert_to_numpy(new)
    if z.shape != (100, 2):
        return f"z has shape {z.shape}: give (100, 2), a row a code"
    places = encode(vae, x)[0]
    if np.median(np.abs(z[:, None] - places).sum(axis=-1).min(axis=1)) < 1e-4:
        return "z are codes of images, by the encoder: draw from the prior, which knows no image"
    if np.abs(z.mean(axis=0)).max() > 0.5 or not 0.7 < z.std() < 1.3:
        return f"z has mean {z.mean():.2f} and standard deviation {z.std():.2f}: the prior has 0 and 1"
    if np.abs(z).max() < 2:  # of 200 numbers from N(0, 1), nine lie beyond 2; none does in 1 case of 12,000
        return "no number in z lies beyond 2: draw from a Gaussian, not evenly between two ends"
    if new.shape != (100, 784):
        return f"new has shape {new.shape}: give (100, 784)"
    return None if np.allclose(new, decode(vae, z), atol=1e-3) else "new is not what the decoder draws at z"


@checked
def check_kl_of_each(kl_of_each, vae, x):
    """Task 6: the KL of each latent, the mean over images x."""
    z_mean, z_log_var = encode(vae, x)
    each = 0.5 * (z_mean**2 + np.exp(z_log_var) - z_log_var - 1)
    found, right = np.asarray(ops.convert_to_numpy(kl_of_each), "float64"), each.mean(axis=0)
    if found.shape != right.shape:
        return f"it has shape {found.shape}: give one number for each of the {len(right)} latents"
    wrong = {
        "these are sums over the images: take the mean": each.sum(axis=0),
        "the factor 1/2 is missing": 2 * right,
        "the sign is wrong": -right,
        "the latents have changed places": right[::-1],
        "each is the KL of both latents together": np.full(len(right), right.sum()),
    }
    return check.compared(found, right, wrong)


@checked
def check_posterior(posterior, log_p, vae, image):
    """Task 7: p(z|x) of one image on the grid of AXIS, which sums to 1, and log p(x)."""
    joint = joint_on_grid(vae.get_layer("decoder"), image[None], AXIS, AXIS)[0]
    found, truth = np.asarray(posterior, "float64"), masses(joint)
    cell = float(AXIS[1] - AXIS[0]) ** 2
    if found.shape != joint.shape:
        return f"posterior has shape {found.shape}: give {joint.shape}, that of log_joint"
    if not np.isfinite(found).all():
        return "posterior is not finite: take the largest log_joint away before exp"
    if abs(found.sum() * cell - 1) < 1e-3:
        return "posterior is a density, for a cell of area 1: give the share of each cell, which sums to 1"
    if abs(found.sum() - 1) > 1e-3:
        return f"posterior sums to {found.sum():.3g}, not to 1: divide by its sum"
    if not np.allclose(found, truth, atol=1e-3):
        turned = np.allclose(found, truth.T, atol=1e-3)
        return "posterior is transposed" if turned else "posterior is not proportional to exp(log_joint)"
    right, largest = log_evidence(vae.get_layer("decoder"), image[None])[0], float(joint.max())
    wrong = {
        "log_p lacks the area of a cell": right - np.log(cell),
        "log_p lacks the largest log_joint, which was taken away before exp: add it": right - largest,
        "log_p is the mean over the cells: it is their sum, times the area of one": right - np.log(cell * joint.size),
        "log_p is that of the best place alone: sum over all places": largest,
        "log_p has the wrong sign": -right,
        "log_p is p(x): take the logarithm": np.exp(right),
    }
    return check.compared(np.float64(log_p), right, wrong, 1e-3, "log_p is")


@checked
def check_vae(vae, encoder, decoder, reconstruction_loss, sample_latent, x):
    """Task 8: all that seevae.check looks at; the first thing that is wrong."""
    file = {"vae": vae, "encoder": encoder, "decoder": decoder}
    file |= {"reconstruction_loss": reconstruction_loss, "sample_latent": sample_latent}
    wrong = [f"{what}: {sentence}" for what, sentence in check.judge(file, x) if sentence]
    return wrong[0] if wrong else None


def grid_of(vae, image):
    """log p(x, z) of one image (784,) on the grid over AXIS: (k, k); and the area of a cell."""
    return joint_on_grid(vae.get_layer("decoder"), image[None], AXIS, AXIS)[0], float(AXIS[1] - AXIS[0]) ** 2
