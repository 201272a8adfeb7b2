"""What looks wrong with a VAE, by name: each test is a number, its error, and a limit that sound networks keep.

The order is that of `diagnose`: what the outputs mean, whether the decoder knows the images, whether draws of q are as
good as q says, and only then what rests on a trained network. A step that fails bars those after it. A number is called
wrong where it is beyond its limit by more than ERRORS standard errors. All is NumPy; losses are nats per image.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from seevae.diagnosis.network import AS_GIVEN, DECODED, READINGS
from seevae.results.evidence import BERNOULLI, gaussian, kl_of_latents, mean_and_error

ERRORS = 4  # standard errors
DRAWS = 4  # of epsilon for each image
SILENT = 0.01  # nats of KL; of MNIST, latents in use have 0.2 and more, those that went silent 0.001 and less
BETA = (0.5, 2.0)  # times the weight that was meant; both readings, off q's width and off z_mean, must be beyond
EXCHANGE = 0.1  # of the KL; sound: 4.7 and more; a decoder that ignores z: 0
MISMATCH = 5.0  # nats a latent; sound: 3.7 after 200 steps, then below 1; without the KL loss: 72, with beta = 0.01: 24
SHARED = 8.0  # of the KL; sound: below 0.4, of convolutions 2.7 after 120 steps; trained with one epsilon: 25 and more
LEARNED = 0.05  # of the average image's loss, which a code must save before slopes say anything; 150 steps do
SAME = 1e-3  # of a standard deviation: draws that are the same but for rounding
OUTSIDE = 1e-4  # by which a probability may leave [0, 1] in rounding
STEP_LOG_VAR, STEP_MEAN, STEP_EPSILON = 0.2, 0.05, 0.3  # how far q is widened, stretched and moved, for a slope
SURE = 0.3  # a temperature below which all logits are far too sure
MENDED = {
    "a variance": ("variance", "log(z_log_var)"),
    "a standard deviation": ("deviation", "2 * log(z_log_var)"),
    "the log of a standard deviation": ("log-deviation", "2 * z_log_var"),
}


class Finding(str):
    """A sentence, with a short name that stays, a severity ("wrong", "look" or "note") and its numbers."""

    def __new__(cls, name, severity, sentence, **numbers):
        self = super().__new__(cls, sentence)
        self.name, self.severity = name, severity
        self.numbers = {key: float(value) for key, value in numbers.items()}
        return self


class Subject(NamedTuple):
    """What the tests look at: images x (n, pixels), their q, decode: z, rows -> (m, pixels), and what was meant."""

    x: np.ndarray
    z_mean: np.ndarray
    z_log_var: np.ndarray
    decode: Callable
    likelihood: NamedTuple = BERNOULLI
    beta: float = 1.0
    seed: int = 0

    def epsilons(self):
        """DRAWS of N(0, I) for each image, (n, latent_dim) each: the same each time, so that differences are exact."""
        rng = np.random.default_rng(self.seed)
        return [rng.standard_normal(self.z_mean.shape, "float32") for _ in range(DRAWS)]

    def loss_at(self, z, rows=None):
        """-log p(x|z) of the images in `rows` at codes z, one for each: (rows,), nats."""
        rows = np.arange(len(self.x))[: len(z)] if rows is None else rows
        return self.likelihood.loss(self.x[rows], self.decode(z, rows))

    def drawn(self, epsilon):
        """z of q with one epsilon for each image, (n, latent_dim)."""
        return self.z_mean + np.exp(self.z_log_var / 2) * epsilon

    def drawn_loss(self):
        """The mean loss of draws of q: (n,)."""
        return np.mean([self.loss_at(self.drawn(epsilon)) for epsilon in self.epsilons()], axis=0)

    def average_loss(self):
        """What the average image, drawn for each, would cost: (n,)."""
        return self.likelihood.loss(self.x, np.broadcast_to(self.x.mean(axis=0), self.x.shape))

    def kl(self):
        """(n, latent_dim), nats."""
        return kl_of_latents(self.z_mean, self.z_log_var)

    def first(self, n):
        """The same of the first n images."""
        return self._replace(x=self.x[:n], z_mean=self.z_mean[:n], z_log_var=self.z_log_var[:n])


def better(old, new, least=0.0):
    """Whether losses `new` (n,) are lower than `old`, by more than their error and by `least` nats; gain and error."""
    gain, error = mean_and_error(old - new)
    return gain > max(ERRORS * error, least), gain, error


# -- What the two functions give --------------------------------------------------------------------------------------


def reading_of_decoder(x, output, likelihood=BERNOULLI):
    """What the decoder's output (n, pixels) for images x is, a name of DECODED, and findings.

    Each reading that the range allows is tried; one that is not as it is must be better beyond the error.
    """
    low, high = float(output.min()), float(output.max())
    found = softmaxed(output)
    if found or (likelihood.name == "gaussian" and low >= -2 and high <= 3):
        return "as it is", found
    inside = low >= -OUTSIDE and high <= 1 + OUTSIDE
    allowed = {
        "logits": not inside,
        "from -1 to 1": -1 - OUTSIDE <= low < -OUTSIDE and high <= 1 + OUTSIDE,
        "from 0 to 255": low >= -OUTSIDE and 2 < high <= 255.01,
        "a sigmoid too many": low >= 0.5 - OUTSIDE and high <= 0.7311 + OUTSIDE,
    }
    losses = {
        name: likelihood.loss(x, np.clip(DECODED[name](output), 0, 1)) for name in DECODED if allowed.get(name, 1)
    }
    best = min(losses, key=lambda name: losses[name].mean())
    is_better, gain, error = better(losses["as it is"], losses[best])
    said = f"The decoder's output goes from {low:.3g} to {high:.3g}"
    by = f"the reconstruction loss is {gain:.1f} ± {error:.1f} nats lower"
    numbers = {"low": low, "high": high, "gain": gain, "error": error}
    if is_better:
        name, severity, words = {
            "logits": (
                "logits",
                "look",
                f"as logits {by} than clipped; give their sigmoid, with which this report goes on",
            ),
            "from -1 to 1": (
                "outside-unit",
                "note",
                f"read as -1 to 1 {by}, and so this report goes on: (output + 1) / 2",
            ),
            "from 0 to 255": ("bytes", "look", f"divided by 255 {by}, and so this report goes on; divide it by 255"),
            "a sigmoid too many": (
                "double-sigmoid",
                "wrong",
                f"that of a sigmoid twice: with one taken off {by}, and so this report goes on; use it once",
            ),
        }[best]
        return best, [Finding(name, severity, f"{said}, where probabilities lie in [0, 1]: {words}.", **numbers)]
    if inside:
        return "as it is", []
    severity = "note" if low > -0.5 and high < 1.5 else "look"
    words = "a Gaussian decoder's means do so (say likelihood='gaussian'), probabilities end in a sigmoid"
    words += "; clipped here, as the other readings fit no better"
    return "as it is", [Finding("outside-unit", severity, f"{said}, outside [0, 1]: {words}.", **numbers)]


def softmaxed(output):
    """A finding where the pixels of each image sum to 1."""
    sums = output.sum(axis=1)
    if output.shape[1] < 10 or output.min() < -OUTSIDE or np.abs(sums - 1).max() > 1e-3:
        return []
    said = f"The {output.shape[1]} outputs of the decoder sum to 1 in each image ({sums.min():.4f} to {sums.max():.4f})"
    return [Finding("softmax", "wrong", f"{said}: a softmax over the pixels; end in a sigmoid.", sum=sums.mean())]


def thresholded(output):
    """A finding where the outputs are nothing but 0 and 1."""
    if not np.isin(output, (0, 1)).all() or np.ptp(output) == 0:
        return []
    said = "The decoder gives nothing but 0 and 1 (2 values in all)"
    why = "so they were rounded or compared with a threshold, and log p(x|z) means nothing"
    return [Finding("thresholded", "wrong", f"{said}, {why}; give the probabilities before that.", values=2)]


def too_sure(subject):
    """A finding where all logits, made smaller alike, fit far better: they are far too sure of each pixel."""
    x_hat = np.clip(subject.decode(subject.z_mean, np.arange(len(subject.x))), 1e-7, 1 - 1e-7).astype("float64")
    logit = np.log(x_hat) - np.log1p(-x_hat)
    losses = {
        t: subject.likelihood.loss(subject.x, DECODED["logits"](t * logit)) for t in (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
    }
    best = min(losses, key=lambda t: losses[t].mean())
    is_better, gain, error = better(losses[1.0], losses[best])
    share = float((np.abs(logit) > 7).mean())
    if not is_better or best > SURE or share < 0.9:
        return []
    said = (
        f"The decoder is far too sure: {share:.0%} of its outputs are within 0.001 of 0 or 1, and with logits {best:g}"
    )
    said += f" times as large the reconstruction loss is {gain:.1f} ± {error:.1f} nats lower"
    why = "most often a sigmoid twice in the training's loss (probabilities given as logits), or the crossentropy's two"
    test = "compute the loss by hand for one image"
    return [
        Finding(
            "double-sigmoid",
            "wrong",
            f"{said}; {why} arguments exchanged: {test}.",
            gain=gain,
            error=error,
            share=share,
        )
    ]


def reading_by_draws(subject, given, draws):
    """Which of the READINGS of z_log_var (`given`) fits draws z of two calls, and findings: name, findings.

    In units of the right sigma their noise has a mean square of 1, or is one and the same in all images.
    """
    noise = {}
    for name, meaning in READINGS.items():
        if "log" in name or (given > 0).all():
            noise[name] = (np.stack(draws) - subject.z_mean) / np.exp(np.clip(meaning(given), -60, 60) / 2)
    as_given = noise[AS_GIVEN]
    if (largest := np.abs(as_given).max()) < SAME:
        said = f"The draws z are z_mean itself, to {largest:.0e} of sigma: nothing is drawn from q"
        words = "add exp(z_log_var / 2) * epsilon to z_mean in training"
        return AS_GIVEN, [Finding("no-noise", "wrong", f"{said}; {words}.", largest=largest)]
    new = "draw epsilon anew for each image and each step"
    shared = min(noise, key=lambda name: max(SAME, spread(noise[name])))  # the first of equals: as given
    if spread(noise[shared]) <= SAME:
        said = f"The draws z of all images share one epsilon (it differs by {spread(noise[shared]):.0e} between them)"
        why = f"as given, epsilon differs by {spread(as_given):.2g} between images, and read that way it does not"
        first = Finding("repeated-draws", "wrong", f"{said}: {new}.", spread=spread(noise[shared]))
        return shared, [first, *wrong_reading(shared, why)]
    found, (one, two) = [], as_given
    if (apart := np.abs(one - two).max()) < SAME:
        said = f"Two calls of encode draw the same z (to {apart:.0e} of sigma), so the noise repeats"
        found = [Finding("repeated-draws", "wrong", f"{said}: {new}, not from a fixed seed or key.", apart=apart)]
    squares = {name: float(np.mean(np.square(each, dtype="float64"))) for name, each in noise.items()}
    limit = 0.1 + ERRORS * (2 / as_given[len(found) :].size) ** 0.5  # sound: 0.03 at most, of 1,000 images
    if abs(squares[AS_GIVEN] - 1) < limit:
        return AS_GIVEN, found
    best = min(squares, key=lambda name: abs(squares[name] - 1))
    is_so = f"read that way, the noise of z has a mean square of {squares[best]:.2f}, as given {squares[AS_GIVEN]:.2f}"
    if abs(squares[best] - 1) >= limit:
        said = f"The draws z do not fit z_mean and z_log_var: their noise has a mean square of {squares[AS_GIVEN]:.2f}"
        words = f"{said} and not of 1 ± {limit:.2f}; draw z_mean + exp(z_log_var / 2) * epsilon."
        return AS_GIVEN, [*found, Finding("z-unlike-q", "look", words, square=squares[AS_GIVEN])]
    if reading_by_elbo(subject, given, only=best)[0] != best and "log" in best:  # the draws are so, and q is not
        words = f"The draws z have sigma = exp(z_log_var): {is_so}, and the images want it as given; use z_log_var / 2."
        return AS_GIVEN, [*found, Finding("sigma-exp", "wrong", words, square=squares[AS_GIVEN])]
    return best, found + wrong_reading(best, is_so)


def spread(noise):
    """By how much noise (calls, n, latent_dim) differs between the images of one call, at most."""
    return float(noise.std(axis=1).max())


def elbos(subject):
    """The ELBO of each image, with `beta` times the KL: (n,)."""
    return -subject.drawn_loss() - subject.beta * subject.kl().sum(axis=1)


def reading_by_elbo(subject, given, only=None):
    """Which of the READINGS of z_log_var gives the best ELBO: a name, and findings where it is not as given.

    Where all of it is positive, variance and deviation are tried too; `only` names one that is tried alone.
    """
    names = [name for name in READINGS if only in (None, name) or name == AS_GIVEN]
    names = [name for name in names if "log" in name or (given > 0).all()]
    elbo = {}
    for name in names:
        read = subject._replace(z_log_var=np.clip(READINGS[name](given), -60, 60))
        elbo[name] = elbos(read)
    best = max(elbo, key=lambda name: elbo[name].mean())
    if best == AS_GIVEN:
        return best, []
    if only is not None:
        return best, []
    others = [better(-elbo[name], -elbo[best], 2.0 * (name == AS_GIVEN)) for name in elbo if name != best]
    if not all(is_better for is_better, _, _ in others):
        return AS_GIVEN, []
    if "log" in best:
        return log_or_exp(subject, given, elbo[best] - elbo[AS_GIVEN])
    average = subject.average_loss().mean()
    of_use = (average - read_as_given(subject, given).drawn_loss().mean()) / (
        average - subject.loss_at(subject.z_mean).mean()
    )
    if of_use > 0.75:  # draws as given keep most of what z_mean saves: q is wide, and not misread
        return AS_GIVEN, []
    if noise_of_training(subject._replace(z_log_var=READINGS[best](given)))[0]:  # nor is that what draws had
        return AS_GIVEN, []
    gain, error = mean_and_error(elbo[best] - elbo[AS_GIVEN])
    why = f"all of it is positive, and read that way the ELBO is {gain:.1f} ± {error:.1f} nats higher"
    return best, wrong_reading(best, why)


def read_as_given(subject, given):
    return subject._replace(z_log_var=np.clip(given, -60, 60))


def log_or_exp(subject, given, gains):
    """Where sigma = exp(z_log_var) fits better: whether it is a log deviation, or was drawn so by mistake.

    By mistake, the KL loss held it as a log variance, and z_mean is at the optimum of the narrower q, but q's width is
    not: its weight reads about half.
    """
    read = subject._replace(z_log_var=2 * given)
    wide, stretched = (beta_of(read, *step) for step in ((STEP_LOG_VAR, 0), (0, STEP_MEAN)))
    gain, error = mean_and_error(gains)
    is_so = f"with sigma = exp(z_log_var) the ELBO is {gain:.1f} ± {error:.1f} nats higher than with exp(z_log_var / 2)"
    numbers = {"gain": gain, "error": error, "wide": wide[0], "stretched": stretched[0]}
    if not 0.6 < stretched[0] < 1.6:  # z_mean is at home in neither: another weight of the KL may do that
        return AS_GIVEN, []
    if wide[0] + ERRORS * wide[1] < 0.8:
        words = f"Sigma was exp(z_log_var) in the training: {is_so}; draw with exp(z_log_var / 2), and train anew."
        return AS_GIVEN, [Finding("sigma-exp", "wrong", words, **numbers)]
    if wide[0] - ERRORS * wide[1] > 0.7:
        return "the log of a standard deviation", wrong_reading("the log of a standard deviation", is_so, **numbers)
    return AS_GIVEN, []


def wrong_reading(name, why, **numbers):
    """The finding, in a list, that z_log_var is something else."""
    if name == AS_GIVEN:
        return []
    short, mended = MENDED[name]
    return [
        Finding(short, "look", f"z_log_var is {name}: {why}; give {mended}, with which this report goes on.", **numbers)
    ]


SWITCH_OFF = "switch off what is random in evaluation, as dropout, or noise on the input (in PyTorch, model.eval())"


def repeats(encode, decode, x, z_mean, z):
    """Findings where a second call gives something else, or where rows alone are not what they are in a batch."""
    found = []
    scale, first = float(z_mean.std()) or 1.0, decode(z[:100])
    apart = float(np.abs(encode(x) - z_mean).max())  # sound: 1e-6
    if apart > SAME * scale:
        said = f"z_mean differs between two calls of encode, by up to {apart:.2g}: {SWITCH_OFF}."
        found.append(Finding("random-output", "look", said, apart=apart))
    again = float(np.abs(decode(z[:100]) - first).max())
    if again > SAME:
        said = f"Probabilities differ between two calls of decode, by up to {again:.2g}: {SWITCH_OFF}."
        found.append(Finding("random-output", "look", said, apart=again))
    if found:
        return found
    words = "an image's output must not depend on the others in its batch; in PyTorch call model.eval(), in Keras take"
    words += " training=False, and normalise by numbers of the training"
    batch = f"alone than in a batch of {len(x)}, by up to"
    for what, function, rows, whole, size in (
        ("Images get other codes", encode, x, z_mean, scale),
        ("Codes are decoded otherwise", decode, z, first, float(np.ptp(first)) or 1.0),
    ):
        parts = [slice(0, 10), *(slice(i, i + 1) for i in range(5))]
        alone = max(float(np.abs(function(rows[part]) - whole[part]).max()) for part in parts)
        if alone > 0.005 * size:  # sound: 1e-6
            said = f"{what} {batch} {alone:.2g}: {words}."
            found.append(Finding("batch-dependent", "wrong", said, apart=alone))
    return found


# -- Does it know the images? ------------------------------------------------------------------------------------------


def one_epsilon(subject):
    """The best single epsilon for all images: its values (latent_dim,), and the losses of images there (n,).

    The slope at z_mean, from pairs of one step to both sides along each latent, gives a direction, and the best of some
    lengths is taken; three times.
    """
    n, latent_dim = subject.z_mean.shape
    some = subject.first(min(n, max(100, 5000 // latent_dim)))
    sigma, best = np.exp(some.z_log_var / 2), np.zeros(latent_dim)
    here = some.loss_at(some.z_mean)

    def loss_at(epsilon):
        return some.loss_at(some.z_mean + sigma * epsilon.astype("float32"))

    for _ in range(3):
        slope = np.array([(loss_at(best + s) - loss_at(best - s)).mean() for s in STEP_EPSILON * np.eye(latent_dim)])
        direction = -slope / (np.linalg.norm(slope) or 1.0)
        tried = [(best + length * direction) for length in (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0)]
        losses = [loss_at(epsilon) for epsilon in tried]
        i = int(np.argmin([loss.mean() for loss in losses]))
        if losses[i].mean() > here.mean() - 0.1:
            break
        best, here = tried[i], losses[i]
    return best, here


def repeated_noise(subject):
    """A finding where one epsilon for all images is far better than none, and numbers."""
    epsilon, losses = one_epsilon(subject)
    some = subject.first(len(losses))
    gain, error = mean_and_error(some.loss_at(some.z_mean) - losses)
    numbers = {"shared_epsilon_gain": gain, "shared_epsilon_error": error}
    learned = losses.mean() < (1 - LEARNED) * some.average_loss().mean()
    if not learned or gain - ERRORS * error <= max(
        SHARED * some.kl().sum(axis=1).mean() * some.beta, 0.1 * losses.mean()
    ):
        return uniform_noise(some, epsilon, gain, error) if learned else [], numbers
    length = float(np.linalg.norm(epsilon))
    said = (
        f"The noise of the training repeats: with one epsilon in all images, {length:.1f} long, the reconstruction loss"
    )
    words = f"{said} is {gain:.1f} ± {error:.1f} nats lower than at z_mean; draw epsilon anew for each image and step."
    uniform = uniform_noise(some, epsilon, gain, error)
    return uniform or [Finding("repeated-noise", "wrong", words, gain=gain, error=error, length=length)], numbers


def uniform_noise(subject, epsilon, gain, error):
    """A finding where the best place is half a sigma up in each latent that is used: noise from 0 to 1."""
    used = subject.kl().mean(axis=0) > SILENT
    places = epsilon[used]
    if not len(places) or gain < max(ERRORS * error, 3.0) or abs(np.median(places) - 0.5) > 0.2 or (places < 0.1).any():
        return []
    said = f"The noise of the training lay around {np.median(places):.2f} sigma in all {len(places)} latents in use"
    words = f"{said}, where the loss is {gain:.1f} ± {error:.1f} nats lower than at z_mean: uniform noise from 0 to 1"
    return [Finding("uniform-noise", "wrong", f"{words}; draw it from N(0, 1).", gain=gain, error=error)]


def unknown_images(subject, whole_decoder):
    """The finding for images that come back no better than as the average image: what is it that fails?"""
    at_mean, average = subject.loss_at(subject.z_mean), subject.average_loss()
    worse, error = mean_and_error(at_mean - average)
    said = f"At z_mean the images cost {at_mean.mean():.1f} nats, and the average image alone would cost"
    said += f" {average.mean():.1f} ({worse:+.1f} ± {error:.1f})"
    numbers = {"at_z_mean": at_mean.mean(), "average": average.mean(), "worse": worse, "error": error}
    own, best = whole_decoder
    if best.mean() < (1 - 2 * LEARNED) * average.mean() and own.mean() > 1.15 * best.mean():
        words = f"yet the decoder has better codes for them ({best.mean():.1f}): encoder and decoder do not belong"
        words += " together: two runs, or latents in another order; load both from one training"
        return Finding("halves-apart", "wrong", f"{said}, {words}.", best=best.mean(), **numbers)
    words = "the network is not trained (or not its decoder), was trained on other images, on another range or another"
    words += " crossentropy (its arguments exchanged), or knows its training images alone: try images of the training"
    return Finding("untrained", "wrong", f"{said}: {words}.", **numbers)


def by_squares(subject):
    """A finding where the images do come back by their squared error: it is the crossentropy that does not fit."""
    squares = np.square(subject.x - subject.decode(subject.z_mean, np.arange(len(subject.x)))).sum(axis=1)
    average = np.square(subject.x - subject.x.mean(axis=0)).sum(axis=1)
    if not better(average, squares, 0.2 * average.mean())[0] or subject.likelihood.name == "gaussian":
        return []
    said = (
        f"The images do come back (a squared error of {squares.mean():.1f}, and {average.mean():.1f} as their average),"
    )
    why = "means of a Gaussian, trained with a squared error (say likelihood='gaussian'), or a network that knows its"
    words = f"{said} but not by the crossentropy: {why} training images by heart."
    return [Finding("gaussian", "note", words, squares=squares.mean(), average=average.mean())]


def best_of_all(subject, images=100):
    """The losses of some images at their own z_mean, and at the best of all codes: of all images and of the prior."""
    rng, some = np.random.default_rng(subject.seed), subject.first(images)
    prior = rng.standard_normal((1000, subject.z_mean.shape[1]), "float32")
    codes = np.concatenate([subject.z_mean, prior, 0.5 * prior])
    x_hat = subject.decode(codes, np.zeros(len(codes), int))
    return some.loss_at(some.z_mean), -some.likelihood.pairs(some.x, x_hat).max(axis=1)


# -- Are draws of q as good as it says? --------------------------------------------------------------------------------


def noise_of_training(subject):
    """A finding where draws of q cost so much more than z_mean that the training cannot have had them.

    A network that was trained on draws is never worse at them than the average image, which costs no code.
    """
    at_mean, drawn, average = subject.loss_at(subject.z_mean), subject.drawn_loss(), subject.average_loss()
    cost, error = mean_and_error(drawn - at_mean)
    small = np.mean(
        [subject.loss_at(subject.z_mean + 0.1 * (subject.drawn(e) - subject.z_mean)) for e in subject.epsilons()]
    )
    due = subject.beta * 0.5 * float(np.maximum(1 - np.exp(subject.z_log_var), 0).sum(axis=1).mean())  # at the optimum
    saved = (average - at_mean).mean()
    numbers = {"cost": cost, "error": error, "due": due, "at_z_mean": at_mean.mean(), "at_a_tenth": small}
    if cost - ERRORS * error < 6 * due + 2 or cost < 0.4 * saved:
        return [], numbers
    said = (
        f"Draws of q cost {cost:.1f} ± {error:.1f} nats more than z_mean, and {due:.1f} are due at the ELBO's optimum"
    )
    why = "the noise was not there in the training, or far smaller than sigma = exp(z_log_var / 2)"
    words = f"{said}: {why}; add exp(z_log_var / 2) * epsilon to z_mean, with epsilon from N(0, 1)."
    return [Finding("no-noise", "wrong", words, **numbers)], numbers


# -- What the network has learned -------------------------------------------------------------------------------------


def floors(subject, collapsed=False):
    """Findings where z_log_var or z_mean never goes below some number: relu, softplus or a clip on it."""
    found, used = [], subject.z_mean.var(axis=0) > 0.05
    low = float(subject.z_log_var.min())
    pile = float((subject.z_log_var == low).mean())
    soft = low > -0.01 and used.any() and not collapsed
    if (pile > 0.02 and low > -6 and (low == 0 or not collapsed)) or soft:
        at = f"{pile:.0%} of it are {low:.3g} exactly" if pile > 0.02 else f"it goes from {low:.3g} up"
        why = "a relu, softplus or clip on it, which keeps sigma large: let it be the layer's own output"
        other = "; or it is a variance or a standard deviation: give its logarithm" if low > 0 else ""
        words = f"z_log_var never goes below {low:.3g} ({at}): most often {why}{other}."
        found.append(Finding("log-var-floor", "look", words, low=low, share=pile))
    low = float(subject.z_mean.min())
    pile = float((subject.z_mean == low).mean())
    if pile > 0.02 and low == 0 and not collapsed:
        words = f"z_mean never goes below 0 ({pile:.0%} of it are 0 exactly): a relu on it, while N(0, 1) has two sides"
        found.append(Finding("mean-floor", "look", f"{words}; let it be the layer's own output.", share=pile))
    return found


def silent(kl, pixels, decodes_alike=False):
    """Findings about latents whose KL (latent_dim,) is next to none, and whether that is all of them."""
    which = np.flatnonzero(kl < SILENT)
    if len(which) == len(kl):
        said = f"Posterior collapse: no latent is used, the largest KL is {kl.max():.4f} nats (below {SILENT})"
        causes = [
            f"the KL loss weighs too much (as beside a mean over the {pixels} pixels: sum them)",
            "the gradient to the encoder is cut (detach, stop_gradient)",
            "the targets are other images than the inputs (shuffled)",
            "z does not reach the decoder",
        ]
        if decodes_alike:
            causes = [f"{causes[3]}, whose output is the same for all codes", *causes[:3]]
        words = (
            f"{said}; it may be that {', or '.join(causes)}; train with no KL loss: if a code is used then, it weighed"
        )
        return [Finding("collapse", "wrong", f"{words} too much.", largest=kl.max())], True
    if not len(which):
        return [], False
    names = ", ".join(f"z{i + 1}" for i in which[:8]) + (", ..." if len(which) > 8 else "")
    said = f"{len(which)} of {len(kl)} latents went silent ({names}): their KL is {kl[which].max():.4f} nats at most"
    words = f"{said}, below {SILENT}; fewer latents do the same."
    return [Finding("silent-latents", "note", words, silent=len(which))], False


def exchange(subject):
    """What decoding with the code of another image costs, and its error, nats per image.

    At least the KL less the gap, for a decoder that is as good as it can be: the exchanged codes are draws of a prior.
    """
    z = subject.drawn(subject.epsilons()[0])
    order = np.random.default_rng(subject.seed).permutation(len(z))  # neighbours may be of one class
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    return mean_and_error(subject.loss_at(z[other]) - subject.loss_at(z))


def ignores_z(subject):
    """A finding where the codes of other images do as well, and numbers."""
    (cost, error), kl = exchange(subject), subject.kl().sum(axis=1).mean()
    numbers = {"exchange_cost": cost, "exchange_error": error}
    if cost + ERRORS * error >= EXCHANGE * kl:
        return [], numbers
    said = f"The decoder ignores z: with the code of another image it loses {cost:.2f} ± {error:.2f} nats"
    words = f"{said}, for a code that costs {kl:.1f}; look whether z reaches its output."
    return [Finding("ignores-z", "wrong", words, cost=cost, error=error, kl=kl)], numbers


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
    fall = -(up.kl() - down.kl()).sum(axis=1)
    beta = rise.mean() / fall.mean()
    return float(beta), mean_and_error(rise - beta * fall)[1] / abs(float(fall.mean()))


def weight_of_kl(subject):
    """Findings about the weight of the KL loss, and numbers; "beta" is None where its two readings contradict.

    Both must be beyond BETA: before q has come to its optimum, and where the decoder knows its training images too
    well, they differ.
    """
    wide, stretched = beta_of(subject, STEP_LOG_VAR, 0), beta_of(subject, 0, STEP_MEAN)
    numbers = {"beta_of_width": wide[0], "beta_of_z_mean": stretched[0], "beta": None, "beta_error": None}
    (value, error), apart = wide, abs(wide[0] - stretched[0])
    if apart < max(0.5 * max(wide[0], stretched[0]), ERRORS * math.hypot(error, stretched[1])) and 0.005 < value < 2000:
        numbers |= {"beta": value, "beta_error": error}
    return two_scales(wide, stretched, subject), numbers


def two_scales(wide, stretched, subject):
    """The finding about a weight of the KL loss that is not `beta`, by two readings, (beta, error) each."""
    (low, high), meant, pixels = BETA, subject.beta, subject.x.shape[1]
    (value, error), readings = wide, (wide, stretched)
    said = (
        f"The KL loss weighs {value / meant:.3g} ± {error / meant:.2g} times what it should beside the reconstruction"
    )
    said += " loss" + (f" and beta = {meant:g}" if meant != 1 else "")
    numbers = {"beta": value, "error": error, "beta_of_z_mean": stretched[0]}
    if all(one - ERRORS * its > high * meant for one, its in readings):
        name, words = (
            "kl-weight-high",
            f"sum the reconstruction loss over the {pixels} pixels, take the mean of both over the batch",
        )
    elif all(one + ERRORS * its < low * meant and one > -low * meant for one, its in readings):
        name, words = "kl-weight-low", "add the KL loss, summed over the latents and with the same mean over the batch"
    else:
        return []
    if (sigma := squared_error(subject)) is not None:
        words = (
            f"so it is if a crossentropy was meant ({words}); with a squared error it reads as a Gaussian decoder of"
        )
        words += f" sigma = {sigma:.2g}, and then nothing is wrong: say likelihood='gaussian', sigma={sigma:.2g}"
        return [Finding(name, "note", f"{said}; {words}.", sigma=sigma, **numbers)]
    return [Finding(name, "look", f"{said}; {words}; or say what was meant, as beta={value:.2g}.", **numbers)]


def squared_error(subject):
    """The sigma of a Gaussian decoder with which the KL loss would weigh what it should, where one is likely, or None.

    Likely is what loss functions of squared errors have (1, or 0.71 without the half), or about what is left over.
    """
    if subject.likelihood.name != "bernoulli":
        return None
    read = subject._replace(likelihood=gaussian(1.0))
    wide, stretched = (beta_of(read, *step)[0] / subject.beta for step in ((STEP_LOG_VAR, 0), (0, STEP_MEAN)))
    if min(wide, stretched) <= 0 or max(wide, stretched) > 2 * min(wide, stretched):
        return None
    sigma = math.sqrt(wide)
    left = math.sqrt(np.mean((subject.x - subject.decode(subject.z_mean, np.arange(len(subject.x)))) ** 2))
    usual = any(abs(sigma / one - 1) < 0.15 for one in (1.0, math.sqrt(0.5)))
    return sigma if usual or 0.5 < sigma / left < 1.5 else None


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
    """Findings about latents whose codes, of all images together, are not where the prior is."""
    far = np.flatnonzero(mismatches[0] - ERRORS * mismatches[1] > MISMATCH)
    if not len(far):
        return []
    worst = far[np.argmax(mismatches[0][far])]
    said = f"The codes leave the prior in {len(far)} of {len(mismatches[0])} latents: those of z{worst + 1} are"
    nats = f"{mismatches[0][worst]:.1f} ± {mismatches[1][worst]:.1f} nats from N(0, 1) (at most {MISMATCH:g})"
    words = f"{said} {nats}, so draws of the prior are not what the decoder knows; look at the KL loss: its weight, and"
    return [Finding("off-prior", "look", f"{words} the term z_mean^2.", nats=mismatches[0][worst])]


def overfitting(subject, trained_on):
    """A finding where images of the training gain far more than these, which it has not seen."""
    gains = [-elbos(each) + 0.0 for each in (subject, trained_on)]
    (held, e1), (known, e2) = (mean_and_error(gain) for gain in gains)
    average = float(subject.average_loss().mean())
    gap, error = held - known, math.hypot(e1, e2)
    numbers = {"generalisation_gap": gap, "generalisation_gap_error": error}
    if gap < ERRORS * error or average - held > 0.6 * (average - known):
        return [], numbers
    said = f"The loss of the training images is {known:.1f} nats, of these {held:.1f}: a gap of {gap:.1f} ± {error:.1f}"
    words = "the network knows its training images by heart (more images, fewer steps or a smaller network)"
    return [Finding("overfitting", "look", f"{said}; {words}.", **numbers)], numbers
