"""What looks wrong with a VAE, by name: each test is a number, its error, and a limit that sound networks keep.

The limits come from sound networks of 2, 10, 20 and 50 latents, trained on MNIST for 200 steps to 12,000 (convolutions
from 20 on), judged on 1,000 held-out images; the comment beside a limit says what they gave, and what broken ones gave.
A number is called wrong where it is beyond its limit by more than ERRORS standard errors. All is NumPy: x is
(n, pixels), z_mean and z_log_var are (n, latent_dim), float32; losses are nats per image.
"""

from typing import NamedTuple

import numpy as np

from seevae.results.evidence import kl_of_latents, mean_and_error, reconstruction_loss

ERRORS = 4  # standard errors
DRAWS = 4  # of epsilon for each image
SILENT = 0.01  # nats of KL; of MNIST, latents in use have 0.2 and more, those that went silent 0.001 and less
# Two readings, off q's width and off z_mean. Sound: 0.7 to 1.5 and -0.5 to 2.7, both within 0.9 to 1.1 where trained
# well. Convolutions read -3.3 and 1.0 after 360 steps, 1.9 and -2.9 after 625: one reading alone may be off. Trained
# with beta = 0.01: 0.02 and 0.03; 0.25: 0.28 and 0.21; 4: 4.2 and 3.9; 100: 101 and 107.
BETA = (0.5, 2.0)
EXCHANGE = 0.1  # of the KL; sound: 4.7 and more; a decoder that ignores z: 0
MISMATCH = 5.0  # nats a latent; sound: 3.7 after 200 steps, then below 1; without the KL loss: 72, with beta = 0.01: 24
SHARED = 8.0  # of the KL; sound: below 0.4, of convolutions 2.7 after 120 steps; trained with one epsilon: 25 and more
LEARNED = 0.05  # of the average image's loss, which a code must save before slopes say anything; 150 steps do
SAME = 1e-3  # of a standard deviation: draws that are the same but for rounding
OUTSIDE = 1e-4  # by which a probability may leave [0, 1] in rounding
STEP_LOG_VAR, STEP_MEAN, STEP_EPSILON = 0.2, 0.05, 0.3  # how far q is widened, stretched and moved, for a slope
READINGS = {  # what z_log_var may be, and the log variance that it then means
    "a log variance": lambda given: given,
    "a variance": lambda given: np.log(np.maximum(given, 1e-12)),
    "a standard deviation": lambda given: 2 * np.log(np.maximum(given, 1e-6)),
    "the log of a standard deviation": lambda given: 2 * given,
}
AS_GIVEN = "a log variance"
MENDED = {
    "a variance": "log(z_log_var)",
    "a standard deviation": "2 * log(z_log_var)",
    "the log of a standard deviation": "2 * z_log_var",
}


class Subject(NamedTuple):
    """What the tests look at: images x, their q, decode: z (m, latent_dim) -> probabilities (m, pixels), and a seed."""

    x: np.ndarray
    z_mean: np.ndarray
    z_log_var: np.ndarray
    decode: callable
    seed: int = 0

    def epsilons(self):
        """DRAWS of N(0, I) for each image, (n, latent_dim) each: the same each time, so that differences are exact."""
        rng = np.random.default_rng(self.seed)
        return [rng.standard_normal(self.z_mean.shape, "float32") for _ in range(DRAWS)]

    def loss_at(self, z, rows=slice(None)):
        """-log p(x|z) of the images in `rows` at codes z, one for each: (rows,), nats."""
        return reconstruction_loss(self.x[rows], self.decode(z))

    def drawn(self, epsilon):
        """z of q with one epsilon for each image, (n, latent_dim)."""
        return self.z_mean + np.exp(self.z_log_var / 2) * epsilon


def sigmoid(logits):
    """The probability that belongs to a logit, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


# -- What the two functions give --------------------------------------------------------------------------------------


def reading_of_decoder(x, output):
    """What the decoder's output (n, pixels) for images x is, and what looks wrong: name, sentences.

    Outside [0, 1] it may be logits; means of a Gaussian are outside too, but clipped they fit better than by a sigmoid.
    """
    low, high = float(output.min()), float(output.max())
    if low >= -OUTSIDE and high <= 1 + OUTSIDE:
        return "probabilities", []
    losses = [reconstruction_loss(x, x_hat) for x_hat in (np.clip(output, 0, 1), sigmoid(output))]
    gain, error = mean_and_error(losses[0] - losses[1])
    said = f"The decoder's output goes from {low:.3g} to {high:.3g}, where probabilities lie in [0, 1]"
    by = f"the reconstruction loss is {abs(gain):.1f} ± {error:.1f} nats lower"
    if gain > 0:
        return "logits", [f"{said}: as logits {by} than clipped; give their sigmoid, with which this report goes on."]
    return "probabilities", [f"{said}: clipped, as this report goes on, {by} than as logits; end in a sigmoid."]


def reading_by_draws(z_mean, given, draws):
    """Which of the READINGS of z_log_var (`given`) fits draws z of two calls, and what looks wrong: name, sentences.

    In units of the right sigma their noise has a mean square of 1, or is one and the same in all images.
    """
    noise = {}
    for name, meaning in READINGS.items():
        if "log" in name or (given > 0).all():
            noise[name] = (np.stack(draws) - z_mean) / np.exp(np.clip(meaning(given), -60, 60) / 2)
    as_given = noise[AS_GIVEN]
    if np.abs(as_given).max() < SAME:
        said = f"The draws z are z_mean itself, to {np.abs(as_given).max():.0e} of sigma: nothing is drawn from q"
        return AS_GIVEN, [f"{said}; add exp(z_log_var / 2) * epsilon to z_mean in training."]
    new = "draw epsilon anew for each image and each step"
    shared = min(noise, key=lambda name: max(SAME, spread(noise[name])))  # the first of equals: as given
    if spread(noise[shared]) <= SAME:
        said = f"The draws z of all images share one epsilon (it differs by {spread(noise[shared]):.0e} between them)"
        why = f"as given, epsilon differs by {spread(as_given):.2g} between images, and read that way it does not"
        return shared, [f"{said}: {new}.", *wrong_reading(shared, why)]
    found, (first, second) = [], as_given
    if (apart := np.abs(first - second).max()) < SAME:
        said = f"Two calls of encode draw the same z (to {apart:.0e} of sigma), so the noise repeats"
        found = [f"{said}: {new}, not from a fixed seed or key."]
    squares = {name: float(np.mean(np.square(each, dtype="float64"))) for name, each in noise.items()}
    limit = 0.1 + ERRORS * (2 / as_given[len(found) :].size) ** 0.5  # sound: 0.03 at most, of 1,000 images
    if abs(squares[AS_GIVEN] - 1) < limit:
        return AS_GIVEN, found
    best = min(squares, key=lambda name: abs(squares[name] - 1))
    is_so = f"read that way, the noise of z has a mean square of {squares[best]:.2f}, as given {squares[AS_GIVEN]:.2f}"
    if abs(squares[best] - 1) < limit:
        return best, found + wrong_reading(best, is_so)
    said = f"The draws z do not fit z_mean and z_log_var: their noise has a mean square of {squares[AS_GIVEN]:.2f}"
    return AS_GIVEN, [*found, f"{said} and not of 1 ± {limit:.2f}; draw z_mean + exp(z_log_var / 2) * epsilon."]


def spread(noise):
    """By how much noise (calls, n, latent_dim) differs between the images of one call, at most."""
    return float(noise.std(axis=1).max())


def reading_by_elbo(subject):
    """Which of the READINGS of z_log_var gives the best ELBO, where all of it is positive: name, sentences."""
    given = subject.z_log_var
    if not (given > 0).all():
        return AS_GIVEN, []
    elbo = {}
    for name in ("a log variance", "a variance", "a standard deviation"):
        read = subject._replace(z_log_var=np.clip(READINGS[name](given), -60, 60))
        losses = [read.loss_at(read.drawn(epsilon)) for epsilon in subject.epsilons()]
        elbo[name] = -np.mean(losses, axis=0) - kl_of_latents(read.z_mean, read.z_log_var).sum(axis=1)
    best = max(elbo, key=lambda name: elbo[name].mean())
    gains = [mean_and_error(elbo[best] - elbo[name]) for name in elbo if name != best]
    if best == AS_GIVEN or any(gain <= ERRORS * error for gain, error in gains):
        return AS_GIVEN, []
    gain, error = mean_and_error(elbo[best] - elbo[AS_GIVEN])
    why = f"all of it is positive, and read that way the ELBO is {gain:.1f} ± {error:.1f} nats higher"
    return best, wrong_reading(best, why)


def wrong_reading(name, why):
    """The sentence, in a list, that z_log_var is something else."""
    if name == AS_GIVEN:
        return []
    return [f"z_log_var is {name}: {why}; give {MENDED[name]}, with which this report goes on."]


def repeats(encode, decode, x, z_mean):
    """Sentences where a second call of encode, or of decode, gives something else: dropout or sampling left on."""
    found = []
    scale = float(z_mean.std()) or 1.0
    if (apart := float(np.abs(encode(x) - z_mean).max())) > SAME * scale:  # sound: 1e-6
        found.append(f"z_mean differs between two calls of encode, by up to {apart:.2g}: {SWITCH_OFF}.")
    z = z_mean[:100]
    if (apart := float(np.abs(decode(z) - decode(z)).max())) > SAME:
        found.append(f"Probabilities differ between two calls of decode, by up to {apart:.2g}: {SWITCH_OFF}.")
    return found


SWITCH_OFF = "switch off what is random in evaluation, as dropout (in PyTorch, model.eval())"


# -- What the network has learned -------------------------------------------------------------------------------------


def look(subject):
    """Every test of a trained network that applies. Returns sentences, and the numbers {name: number} behind them."""
    kl = kl_of_latents(subject.z_mean, subject.z_log_var)
    found, collapsed = silent(kl.mean(axis=0), subject.x.shape[1])
    mismatches = mismatch(subject.z_mean, subject.z_log_var)
    found += codes_off_the_prior(mismatches)
    numbers = {"prior_mismatch": float(mismatches[0].max())}
    numbers |= dict.fromkeys(("exchange_cost", "exchange_error", "shared_epsilon_gain", "shared_epsilon_error"))
    numbers |= dict.fromkeys(("beta", "beta_error", "beta_of_z_mean"))
    if collapsed:
        return found, numbers
    cost, error = exchange(subject)
    numbers |= {"exchange_cost": cost, "exchange_error": error}
    if cost + ERRORS * error < EXCHANGE * kl.sum(axis=1).mean():
        said = f"The decoder ignores z: with the code of another image it loses {cost:.2f} ± {error:.2f} nats"
        found.append(f"{said}, for a code that costs {kl.sum(axis=1).mean():.1f}; look at how z reaches its output.")
        return found, numbers
    place, gain, error, left = shared_epsilon(subject)
    numbers |= {"shared_epsilon_gain": gain, "shared_epsilon_error": error}
    if left < 1 - LEARNED and gain - ERRORS * error > SHARED * kl.sum(axis=1).mean():
        said = (
            f"The noise of the training repeats: with one epsilon in all images, {place:.1f} long, the reconstruction"
        )
        found.append(f"{said} loss is {gain:.1f} ± {error:.1f} nats lower than at z_mean; draw epsilon anew each time.")
        return found, numbers
    beta, stretched = beta_of(subject, STEP_LOG_VAR, 0), beta_of(subject, 0, STEP_MEAN)
    numbers |= {"beta": beta[0], "beta_error": beta[1], "beta_of_z_mean": stretched[0]}
    if share_left(subject.x, subject.loss_at(subject.z_mean)) < 1 - LEARNED:
        found += two_scales(beta, stretched, subject.x.shape[1])
    return found, numbers


def share_left(x, losses):
    """The reconstruction losses (n,) of images x as a share of what the average image, drawn for each, would cost."""
    return float(losses.mean() / reconstruction_loss(x, x.mean(axis=0)).mean())


def silent(kl, pixels):
    """Sentences about latents whose KL (latent_dim,) is next to none, and whether that is all of them."""
    which = np.flatnonzero(kl < SILENT)
    if len(which) == len(kl):
        said = f"Posterior collapse: no latent is used, the largest KL of one is {kl.max():.4f} nats (below {SILENT})"
        mean = f"as beside a mean over the {pixels} pixels: sum the reconstruction loss over them"
        return [f"{said}; most often the KL loss weighs too much, {mean}, or let the KL loss come in slowly."], True
    if not len(which):
        return [], False
    names = ", ".join(f"z{i + 1}" for i in which[:8]) + (", ..." if len(which) > 8 else "")
    said = f"{len(which)} of {len(kl)} latents went silent ({names}): their KL is {kl[which].max():.4f} nats at most"
    return [f"{said}, below {SILENT}; fewer latents do the same, or let the KL loss come in slowly."], False


def exchange(subject):
    """What decoding with the code of another image costs, and its error, nats per image.

    At least the KL less the gap, for a decoder that is as good as it can be: the exchanged codes are draws of a prior.
    """
    z = subject.drawn(subject.epsilons()[0])
    order = np.random.default_rng(subject.seed).permutation(len(z))  # neighbours may be of one class
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    return mean_and_error(subject.loss_at(z[other]) - subject.loss_at(z))


def beta_of(subject, wider, farther):
    """The weight of the KL loss with which the encoder was trained, and its error, from one small change of all q.

    At the optimum of reconstruction + beta * KL no small change of q helps, so that beta = -dR / dKL, with the same
    epsilons on both sides. wider: what is added to z_log_var; farther: by how much z_mean is stretched.
    """
    up, down = (
        subject._replace(z_mean=subject.z_mean * (1 + side * farther), z_log_var=subject.z_log_var + side * wider)
        for side in (1, -1)
    )
    pairs = [(up.loss_at(up.drawn(e)), down.loss_at(down.drawn(e))) for e in subject.epsilons()]
    rise = np.mean([above - below for above, below in pairs], axis=0)
    fall = -(kl_of_latents(*up[1:3]) - kl_of_latents(*down[1:3])).sum(axis=1)
    beta = rise.mean() / fall.mean()
    return float(beta), mean_and_error(rise - beta * fall)[1] / abs(float(fall.mean()))


def two_scales(beta, stretched, pixels):
    """Sentences about a weight of the KL loss that is not 1, by two readings, (beta, error) each.

    Both must say so: before q has come to its optimum, and where the decoder knows its training images too well, they
    differ.
    """
    (low, high), (value, error) = BETA, beta
    said = f"The KL loss weighs {value:.3g} ± {error:.2g} times what it should beside the reconstruction loss"
    if all(one - ERRORS * its > high for one, its in (beta, stretched)):
        return [f"{said}; sum the reconstruction loss over the {pixels} pixels, take the mean of both over the batch."]
    if all(one + ERRORS * its < low and one > -low for one, its in (beta, stretched)):
        return [f"{said}; add the KL loss, summed over the latents and with the same mean over the batch."]
    return []


def mismatch(z_mean, z_log_var):
    """KL(N(m, v) || N(0, 1)) of each latent and its error, (latent_dim,) each, nats: m and v are those of all q.

    The error is that of the choice of images, to first order.
    """
    z_mean, variance = z_mean.astype("float64"), np.exp(z_log_var.astype("float64"))
    mean = z_mean.mean(axis=0)
    spread_of = variance + (z_mean - mean) ** 2  # (n, latent_dim), v is its mean
    v = spread_of.mean(axis=0)
    influence = 0.5 * (1 - 1 / v) * (spread_of - v) + mean * (z_mean - mean)
    return 0.5 * (v + mean**2 - 1 - np.log(v)), influence.std(axis=0, ddof=1) / len(z_mean) ** 0.5


def codes_off_the_prior(mismatches):
    """Sentences about latents whose codes, of all images together, are not where the prior is."""
    far = np.flatnonzero(mismatches[0] - ERRORS * mismatches[1] > MISMATCH)
    if not len(far):
        return []
    worst = far[np.argmax(mismatches[0][far])]
    said = f"The codes leave the prior in {len(far)} of {len(mismatches[0])} latents: those of z{worst + 1} are"
    nats = f"{mismatches[0][worst]:.1f} ± {mismatches[1][worst]:.1f} nats from N(0, 1) (at most {MISMATCH:g})"
    return [f"{said} {nats}, so draws of the prior are not what the decoder knows; look at the KL loss."]


def shared_epsilon(subject):
    """How much one epsilon for all images lowers the reconstruction loss below that at z_mean.

    Returns its length, the nats, their error, and share_left there. A network that was trained with one epsilon has its
    best place there, and codes that cost next to no KL. The slope at z_mean, from pairs of one step
    to both sides along each latent, gives the direction, and the best of some lengths is taken.
    """
    n, latent_dim = subject.z_mean.shape
    rows = slice(min(n, max(100, 10_000 // latent_dim)))
    mean, sigma = subject.z_mean[rows], np.exp(subject.z_log_var[rows] / 2)

    def loss_at(epsilon):
        return subject.loss_at(mean + sigma * epsilon.astype("float32"), rows)

    pairs = STEP_EPSILON * np.eye(latent_dim)
    slope = np.array([(loss_at(step) - loss_at(-step)).mean() for step in pairs])
    direction = -slope / (np.linalg.norm(slope) or 1.0)
    here = loss_at(np.zeros(latent_dim))
    gains = {length: here - loss_at(length * direction) for length in (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0)}
    best = max(gains, key=lambda length: gains[length].mean())
    return best, *mean_and_error(gains[best]), share_left(subject.x[rows], here - gains[best])
