"""What looks wrong with a VAE, by name: each test is a number, its error, and a limit that sound networks keep.

The order is that of `diagnose`: what the outputs mean, whether the decoder knows the images, whether draws of q are as
good as q says, and only then what rests on a trained network. A number is beyond its limit where it is so by more than
ERRORS standard errors. A test gives a list of Findings, whose words stand in sentences.toml, and leaves its numbers in
the Subject. All is NumPy; losses are nats per image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from seevae.diagnosis.network import AS_GIVEN, DECODED, READINGS
from seevae.diagnosis.sentences import Finding
from seevae.results.evidence import BERNOULLI, EPSILON, gaussian, kl_of_latents, mean_and_error

ERRORS = 4  # standard errors
DRAWS = 4  # of epsilon for each image
ENOUGH = 100  # images
SILENT = 0.01  # nats of KL; of MNIST, latents in use have 0.2 and more, those that went silent 0.001 and less
BETA = (0.5, 2.0)  # times the weight that was meant; both readings, off q's width and off z_mean, must be beyond
HOME = (0.6, 1.8)  # times the weight that was meant, where q is read rightly; as sigma = exp(z_log_var): 0.5
EXCHANGE = 0.1  # of the KL; sound: 4.7 and more; a decoder that ignores z: 0
MISMATCH = 5.0  # nats a latent; sound: 3.7 after 200 steps, then below 1; without the KL loss: 72, with beta = 0.01: 24
OFFSET = 0.25  # of the KL, that the mean of all codes makes; sound: 0.07 at most, and 0.6 nats
SHARED = 8.0  # of the KL; sound: below 0.4, of convolutions 2.7 after 120 steps; trained with one epsilon: 25 and more
LEARNED = 0.05  # of the average image's loss, which a code must save before slopes say anything; 150 steps do
LOST = 0.8  # of what z_mean gains; without noise draws lose 1.0 and more, sound after 200 steps 0.5, then 0.1
SAME = 1e-3  # of a standard deviation: draws that are the same but for rounding
FOREIGN = 1.5  # times its average image's loss, that an image of another kind costs
SATURATED = 0.3  # of the loss; sound: 0
PILE = 0.02  # of all values, that are the lowest: 10 of 500 images
CLIP = (0.005, 0.4)  # between these the lowest probability may be a clip's
OUTSIDE = 1e-4  # by which a probability may leave [0, 1] in rounding
STEP_LOG_VAR, STEP_MEAN, STEP_EPSILON = 0.2, 0.05, 0.3  # how far q is widened, stretched and moved, for a slope
MOST_USED = 100  # latents along which one epsilon is looked for
TEMPERATURES = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)
SURE = 0.3  # a temperature below which all logits are far too sure
CAUSES = (  # of codes that no image needs, the likeliest first
    "the KL loss weighs too much (as beside a mean over the {pixels} pixels: sum them)",
    "the encoder is not trained (its gradient cut by detach or stop_gradient, its weights not in the optimizer)",
    "the targets are other images than the inputs (shuffled)",
    "z does not reach the decoder",
)
MENDED = {
    "a variance": ("variance", "log(z_log_var)"),
    "a standard deviation": ("deviation", "2 * log(z_log_var)"),
    "the log of a standard deviation": ("log-deviation", "2 * z_log_var"),
}


@dataclass(frozen=True)
class Subject:
    """What the tests look at: images x (n, pixels), their q, decode: z, rows -> (m, pixels), and what was meant.

    numbers: {name: number} behind the findings; all Subjects that are made of one share them.
    """

    x: np.ndarray
    z_mean: np.ndarray
    z_log_var: np.ndarray
    decode: Callable
    likelihood: NamedTuple = BERNOULLI
    beta: float = 1.0
    seed: int = 0
    numbers: dict = field(default_factory=dict)

    def loss_at(self, z):
        """-log p(x|z) of the first images at codes z, one for each: (len(z),), nats."""
        rows = np.arange(len(z))
        return self.likelihood.loss(self.x[rows], self.decode(z, rows))

    @cached_property
    def epsilons(self):
        """DRAWS of N(0, I) for each image, (n, latent_dim) each: the same each time, so that differences are exact."""
        rng = np.random.default_rng(self.seed)
        return [rng.standard_normal(self.z_mean.shape, "float32") for _ in range(DRAWS)]

    def drawn(self, epsilon):
        """z of q with one epsilon for each image, (n, latent_dim)."""
        return self.z_mean + np.exp(self.z_log_var / 2) * epsilon

    @cached_property
    def at_mean(self):
        """The loss at z_mean: (n,)."""
        return self.loss_at(self.z_mean)

    @cached_property
    def at_draws(self):
        """The mean loss of draws of q: (n,)."""
        return np.mean([self.loss_at(self.drawn(epsilon)) for epsilon in self.epsilons], axis=0)

    @cached_property
    def average(self):
        """What the average image, drawn for each, would cost: (n,)."""
        return self.likelihood.loss(self.x, np.broadcast_to(self.x.mean(axis=0), self.x.shape))

    @cached_property
    def kl(self):
        """(n, latent_dim), nats."""
        return kl_of_latents(self.z_mean, self.z_log_var)

    @property
    def used(self):
        """Which latents are not silent, (latent_dim,)."""
        return self.kl.mean(axis=0) >= SILENT

    @property
    def elbo(self):
        """Of each image, with `beta` times the KL: (n,)."""
        return -self.at_draws - self.beta * self.kl.sum(axis=1)

    def knows(self, losses, least=LEARNED):
        """Whether losses (n,) are lower than the average image's by so much that slopes say something."""
        return losses.mean() < (1 - least) * self.average[: len(losses)].mean()

    def read_as(self, given, reading):
        """The same, with what z_log_var is given as read in one of READINGS."""
        return replace(self, z_log_var=np.clip(READINGS[reading](given), -60, 60))

    def first(self, n):
        """The same of the first n images, with the same draws, and the losses that are known of them."""
        some = replace(self, x=self.x[:n], z_mean=self.z_mean[:n], z_log_var=self.z_log_var[:n])
        known = {name: self.__dict__[name][:n] for name in ("at_mean", "at_draws") if name in self.__dict__}
        some.__dict__.update(known, epsilons=[epsilon[:n] for epsilon in self.epsilons])
        return some


def better(old, new, least=0.0):
    """Whether losses `new` (n,) are lower than `old`, by more than their error and by `least` nats; gain and error."""
    gain, error = mean_and_error(old - new)
    return gain > max(ERRORS * error, least), {"gain": gain, "error": error}


# -- What the two functions give --------------------------------------------------------------------------------------


def repeats(halves):
    """Findings where a second call gives something else, or else where rows alone are not what they are in a batch.

    halves: {name: (function of a slice of rows, what it gave for all of them, how large that is)}.
    """
    n = min(5, *(len(whole) for _, whole, _ in halves.values()))
    alone = [slice(0, 10), *(slice(i, i + 1) for i in range(n))]
    for name, parts, limit in (
        ("random-output", [slice(None)], SAME),
        ("batch-dependent", alone, 0.005),
    ):  # sound: 1e-6
        found = []
        for half, (function, whole, size) in halves.items():
            apart = max(float(np.abs(function(part) - whole[part]).max()) for part in parts)
            if apart > limit * size:
                found.append(Finding(f"{name}/{half}", apart=apart, batch=len(whole)))
        if found:
            return found
    return []


def reading_of_decoder(x, output, likelihood=BERNOULLI):
    """What the decoder's output (n, pixels) for images x is, a name of DECODED, and findings.

    Each reading that the range allows is tried; one that is not as it is must be better beyond the error.
    """
    low, high = float(output.min()), float(output.max())
    if likelihood.name == "gaussian" and low >= -2 and high <= 3:
        return "as it is", []
    inside = low >= -OUTSIDE and high <= 1 + OUTSIDE
    allowed = {
        "as it is": True,
        "logits": not inside,
        "from -1 to 1": -1 - OUTSIDE <= low < -OUTSIDE and high <= 1 + OUTSIDE,
        "from 0 to 255": low >= -OUTSIDE and 2 < high <= 255.01,
        "a sigmoid too many": low >= 0.5 - OUTSIDE and high <= 0.7311 + OUTSIDE,
    }
    losses = {name: likelihood.loss(x, np.clip(DECODED[name](output), 0, 1)) for name in DECODED if allowed[name]}
    best = min(losses, key=lambda name: losses[name].mean())
    is_better, numbers = better(losses["as it is"], losses[best])
    keys = ("", "logits", "outside-unit/tanh", "bytes", "double-sigmoid/range")
    if is_better:
        return best, [Finding(dict(zip(DECODED, keys, strict=True))[best], low=low, high=high, **numbers)]
    key = "outside-unit/near" if low > -0.5 and high < 1.5 else "outside-unit"
    return "as it is", [] if inside else [Finding(key, low=low, high=high)]


def no_probabilities(x, output):
    """The finding where the pixels of each image sum to 1, or are nothing but 0 and 1."""
    sums = output.sum(axis=1)
    if output.shape[1] >= 10 and output.min() >= -OUTSIDE and np.abs(sums - 1).max() < 1e-3:
        return [Finding("softmax", pixels=output.shape[1], low=sums.min(), high=sums.max())]
    if not np.isin(output, (0, 1)).all() or np.ptp(output) == 0:
        return []
    comes_back, squares, average = by_squares(x, output)
    key = "thresholded" if comes_back else "untrained/binary"
    return [Finding(key, squares=squares.mean(), average=average.mean())]


def held_in(subject, output):
    """Findings where a clip holds the decoder's output, or where sigma is not of the size of what is left over."""
    low, share = pile(output)
    if subject.likelihood.name == "bernoulli":
        return [Finding("clipped", low=low, share=share)] if CLIP[0] < low < CLIP[1] and 0.2 < share < 1 else []
    sigma, left = subject.likelihood.sigma, math.sqrt(np.mean(np.square(subject.x - output)))
    largest, least = 10 * math.sqrt(np.mean(np.square(subject.x - subject.x.mean(axis=0)))), left / 100
    return [] if least < sigma < largest else [Finding("sigma", sigma=sigma, left=left)]


def by_squares(x, output):
    """Whether images come back by their squared error; that error, and that of their average image, (n,) each."""
    squares, average = (np.square(x - other).sum(axis=1) for other in (output, x.mean(axis=0)))
    return better(average, squares, 0.2 * average.mean())[0], squares, average


def too_sure(subject, z):
    """The finding where all logits at codes z, made smaller alike, fit far better: they are far too sure."""
    x_hat = np.clip(subject.decode(z, np.arange(len(z))), 1e-7, 1 - 1e-7).astype("float64")
    logit = np.log(x_hat) - np.log1p(-x_hat)
    losses = {t: subject.likelihood.loss(subject.x, DECODED["logits"](t * logit)) for t in TEMPERATURES}
    best = min(losses, key=lambda t: losses[t].mean())
    is_better, numbers = better(losses[1.0], losses[best])
    share = float((np.abs(logit) > 7).mean())
    if not is_better or best > SURE or share < 0.9:
        return []
    return [Finding("double-sigmoid", share=share, best=best, **numbers)]


# -- What z_log_var is -------------------------------------------------------------------------------------------------


def possible(given):
    """The READINGS that z_log_var may have."""
    return [name for name in READINGS if "log" in name or (given > 0).all()]


def as_meant(reading, why, **numbers):
    """The finding that z_log_var is something else."""
    name, mended = MENDED[reading]
    return Finding(name, reading=reading, why=why, mended=mended, **numbers)


def reading_by_draws(subject, given, draws):
    """Which of the READINGS of z_log_var (`given`) fits draws z of two calls, and findings: name, findings.

    In units of the right sigma their noise has a mean square of 1, or is one and the same in all images.
    """
    away = np.stack(draws) - subject.z_mean
    noise = {name: away / np.exp(subject.read_as(given, name).z_log_var / 2) for name in possible(given)}
    apart = {name: max(SAME, float(each.std(axis=1).max())) for name, each in noise.items()}  # between images
    if apart[shared := min(apart, key=apart.get)] <= SAME:  # the first of equals: as given
        why = f"as given, epsilon differs by {apart[AS_GIVEN]:.2g} between images, and read that way it does not"
        first = Finding("repeated-draws/images", apart=noise[shared].std(axis=1).max())
        return shared, [first] + ([as_meant(shared, why)] if shared != AS_GIVEN else [])
    one, two = noise[AS_GIVEN]
    found = [Finding("repeated-draws/calls", apart=d)] if (d := np.abs(one - two).max()) < SAME else []
    squares = {name: float(np.mean(np.square(each, dtype="float64"))) for name, each in noise.items()}
    limit = 0.1 + ERRORS * (2 / one.size / (1 if found else 2)) ** 0.5  # sound: 0.03 at most, of 1,000 images
    if abs(squares[AS_GIVEN] - 1) < limit:
        return AS_GIVEN, found
    best = min(squares, key=lambda name: abs(squares[name] - 1))
    if abs(squares[best] - 1) >= limit:
        return AS_GIVEN, [*found, Finding("z-unlike-q", square=squares[AS_GIVEN], limit=limit)]
    why = f"read that way, the noise of z has a mean square of {squares[best]:.2f}, as given {squares[AS_GIVEN]:.2f}"
    as_is, as_read = (subject.read_as(given, name).elbo.mean() for name in (AS_GIVEN, best))
    if "log" in best and as_is > as_read:  # the draws are so, and q is not
        return AS_GIVEN, [*found, Finding("sigma-exp/z", why=why, square=squares[AS_GIVEN])]
    return best, [*found, as_meant(best, why)]


def reading_by_elbo(subject, given):
    """Which of the READINGS of z_log_var gives the best ELBO: a name, and findings where it is not as given.

    subject: with z_log_var as `given`. The reading must be at home there too: the KL loss reads about its weight, both
    off sigma and off z_mean. Where sigma was drawn as exp(z_log_var) by mistake, the KL loss held it as a log variance,
    and off sigma it reads half of that.
    """
    read = {name: subject if name == AS_GIVEN else subject.read_as(given, name) for name in possible(given)}
    elbo = {name: each.elbo for name, each in read.items()}
    best = max(elbo, key=lambda name: elbo[name].mean())
    others = [better(-elbo[name], -elbo[best], 2.0 * (name == AS_GIVEN))[0] for name in elbo if name != best]
    if best == AS_GIVEN or not all(others):
        return AS_GIVEN, []
    (gain, error), weights = mean_and_error(elbo[best] - elbo[AS_GIVEN]), weights_of(read[best])
    wide, stretched = (value / subject.beta for value, _ in weights)
    numbers = {"gain": gain, "error": error, "wide": wide, "stretched": stretched}
    numbers["why"] = f"read that way the ELBO is {gain:.1f} ± {error:.1f} nats higher"
    if HOME[0] < stretched < HOME[1] and HOME[0] < wide < HOME[1]:
        return best, [as_meant(best, **numbers)]
    if HOME[0] < stretched < HOME[1] and HOME[0] / 2 < wide <= HOME[0] and "log" in best:
        return AS_GIVEN, [Finding("sigma-exp", **numbers)]
    return AS_GIVEN, []


def pile(values):
    """The lowest of some values, and the share of them that are the same where that is many: after a relu or a clip."""
    count = int((values == values.min()).sum())
    return float(values.min()), count / values.size if count > max(4, PILE * values.size) else 0.0


def floors(subject):
    """Findings where z_log_var or z_mean never goes below some number: relu, softplus or a clip on it."""
    found, used = [], subject.used.any()
    (low, share), (lowest, share_of_mean) = pile(subject.z_log_var), pile(subject.z_mean)
    if np.ptp(subject.z_log_var, axis=0).max() < SAME and (low == 0 or used):
        found.append(Finding("log-var-floor/fixed", low=low, high=subject.z_log_var.max()))
    elif share and low > -6 and (low == 0 or used):
        found.append(Finding("log-var-floor", low=low, at=f"{share:.0%} of it are {low:.3g} exactly"))
    elif -0.01 < low < 0.05 and used:
        found.append(Finding("log-var-floor/positive", low=low, at=f"it goes from {low:.3g} up"))
    if share_of_mean and lowest == 0 and used:
        found.append(Finding("mean-floor", share=share_of_mean))
    return found


# -- Does it know the images? ------------------------------------------------------------------------------------------


def grey(subject):
    """What one even grey, the mean of all pixels, would cost: (n,)."""
    return subject.likelihood.loss(subject.x, np.full_like(subject.x, subject.x.mean()))


def unknown_images(subject, shuffled=""):
    """The finding for images that come back no better than as the average image: what is it that fails?

    shuffled: one more cause of halves that do not fit, in words.
    """
    come_back, squares, of_average = by_squares(subject.x, subject.decode(subject.z_mean, np.arange(len(subject.x))))
    unknown = (subject.at_mean > FOREIGN * subject.average) & (squares > of_average)
    if 0 < unknown.mean() <= 0.5:
        cost, known = (subject.at_mean[which].mean() for which in (unknown, ~unknown))
        if known < (1 - 2 * LEARNED) * subject.average[~unknown].mean():
            return [Finding("partly-known", count=unknown.sum(), images=len(unknown), cost=cost, known=known)]
    if come_back and subject.likelihood.name == "bernoulli":
        return [Finding("gaussian", squares=squares.mean(), average=of_average.mean())]
    (worse, error), average = mean_and_error(subject.at_mean - subject.average), subject.average.mean()
    numbers = {"at_z_mean": subject.at_mean.mean(), "average": average, "worse": worse, "error": error}
    own, best = best_of_all(subject)
    if best < (1 - 2 * LEARNED) * average and own > 1.15 * best:
        return [Finding("halves-apart", best=best, shuffled=shuffled, **numbers)]
    return [Finding("untrained", **numbers)]


def saturated(subject):
    """The finding where outputs that are exactly 0 or 1, and are not the pixel's, make much of a Bernoulli's loss."""
    x_hat = subject.decode(subject.z_mean, np.arange(len(subject.x)))
    wrong = np.abs(subject.x - x_hat).sum(axis=1, where=(x_hat <= 0) | (x_hat >= 1)) * -math.log(EPSILON)
    share = float(wrong.mean() / subject.at_mean.mean())
    if subject.likelihood.name != "bernoulli" or share < SATURATED or not by_squares(subject.x, x_hat)[0]:
        return []
    return [Finding("saturated", share=share, cost=wrong.mean())]


def best_of_all(subject, images=100):
    """The mean loss of some images at their own z_mean, and at the best code of all images and of the prior."""
    rng, some = np.random.default_rng(subject.seed), subject.first(images)
    prior = rng.standard_normal((1000, subject.z_mean.shape[1]), "float32")
    codes = np.concatenate([subject.z_mean, prior, 0.5 * prior])
    x_hat = subject.decode(codes, np.zeros(len(codes), int))
    return some.at_mean.mean(), -some.likelihood.pairs(some.x, x_hat).max(axis=1).mean()


def overfitting(subject, trained_on):
    """The finding where images of the training gain far more than these, which it has not seen."""
    (held, e1), (known, e2) = (mean_and_error(-each.elbo) for each in (subject, trained_on))
    average = float(subject.average.mean())
    gap, error = held - known, math.hypot(e1, e2)
    subject.numbers.update(generalisation_gap=gap, generalisation_gap_error=error)
    if gap < ERRORS * error or average - held > 0.6 * (average - known):
        return []
    return [Finding("overfitting", known=known, held=held, gap=gap, error=error)]


# -- Are draws of q as good as it says? --------------------------------------------------------------------------------


def no_noise(subject):
    """The finding where draws of q cost so much more than z_mean that the training cannot have had them.

    A network that was trained on draws is never worse at them than the average image, which costs no code.
    """
    at_mean, drawn, average = subject.at_mean, subject.at_draws, subject.average
    cost, error = mean_and_error(drawn - at_mean)
    due = subject.beta * 0.5 * float(np.maximum(1 - np.exp(subject.z_log_var), 0).sum(axis=1).mean())  # at the optimum
    numbers = {"cost": cost, "error": error, "due": due, "at_z_mean": at_mean.mean()}
    subject.numbers.update(numbers)
    lost, gained = cost / (average - at_mean).mean(), subject.knows(at_mean, 2 * LEARNED)
    if not gained or cost - ERRORS * error < 6 * due + 2 or lost < LOST:
        return []
    return [Finding("no-noise/positive" if (subject.z_log_var > 0).all() else "no-noise", **numbers)]


def one_epsilon(subject):
    """The best single epsilon for all images: its values (latent_dim,), and the losses of images there (n,).

    The slope at z_mean, from pairs of one step to both sides along each latent, gives a direction, and the best of some
    lengths is taken; three times. Of many latents the MOST_USED move, and a slope rests on fewer images.
    """
    n, latent_dim = subject.z_mean.shape
    moved = np.argsort(-subject.kl.mean(axis=0), kind="stable")[:MOST_USED]
    some, fewer = subject.first(max(100, min(n // 2, 5000 // latent_dim))), max(20, 10_000 // latent_dim)
    sigma, best, here = np.exp(some.z_log_var / 2), np.zeros(latent_dim), some.at_mean

    def loss_at(epsilon, rows=None):
        return some.loss_at((some.z_mean + sigma * epsilon.astype("float32"))[:rows])

    for _ in range(3):
        slope = np.zeros(latent_dim)
        for latent in moved:
            step = STEP_EPSILON * np.eye(1, latent_dim, latent)[0]
            slope[latent] = (loss_at(best + step, fewer) - loss_at(best - step, fewer)).mean()
        direction = -slope / (np.linalg.norm(slope) or 1.0)
        tried = [(best + length * direction) for length in (0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0, 3.0)]
        losses = [loss_at(epsilon) for epsilon in tried]
        i = int(np.argmin([loss.mean() for loss in losses]))
        if losses[i].mean() > here.mean() - 0.1:
            break
        best, here = tried[i], losses[i]
    return best, here


def repeated_noise(subject):
    """The finding where one epsilon for all images, or one half a sigma up, is far better than none."""
    epsilon, losses = one_epsilon(subject)
    some = subject.first(len(losses))
    known = min(some.at_mean, some.at_draws, key=np.mean)  # draws are no worse where fresh ones were in the training
    gain, error = mean_and_error(known - losses)
    subject.numbers.update(shared_epsilon_gain=gain, shared_epsilon_error=error)
    places, numbers = epsilon[some.used], {"gain": gain, "error": error}
    if not some.knows(losses):
        return []
    if len(places) and gain > max(ERRORS * error, 3.0) and abs(np.median(places) - 0.5) < 0.2 and places.min() > 0.1:
        return [Finding("uniform-noise", place=np.median(places), count=len(places), **numbers)]
    if gain - ERRORS * error > max(SHARED * some.kl.sum(axis=1).mean() * some.beta, 0.1 * losses.mean()):
        return [Finding("repeated-noise", length=np.linalg.norm(epsilon), **numbers)]
    return []


# -- What the network has learned -------------------------------------------------------------------------------------


def exchange(subject):
    """What decoding with the code of another image costs, and its error, nats per image.

    At least the KL less the gap, for a decoder that is as good as it can be: the exchanged codes are draws of a prior.
    """
    z = subject.drawn(subject.epsilons[0])
    order = np.random.default_rng(subject.seed).permutation(len(z))  # neighbours may be of one class
    other = np.empty_like(order)
    other[order] = np.roll(order, 1)
    return mean_and_error(subject.loss_at(z[other]) - subject.loss_at(z))


def unused(subject):
    """The finding where no code reaches the images: all latents are silent, or the codes of others do as well."""
    (cost, error), kl = exchange(subject), subject.kl.sum(axis=1).mean()
    subject.numbers.update(exchange_cost=cost, exchange_error=error)
    silent = not subject.used.any()
    in_vain = cost + ERRORS * error < EXCHANGE * kl
    if not (silent or in_vain or (kl < 1 and not subject.knows(subject.at_mean))):
        return []
    key = "collapse" if silent else "ignores-z" if kl > 2 else "collapse/nearly"
    far = np.concatenate([np.zeros((1, subject.kl.shape[1])), 3 * np.eye(subject.kl.shape[1])]).astype("float32")
    alike = np.ptp(subject.decode(far, np.zeros(len(far), int)), axis=0).max() < 1e-6
    causes = [words.format(pixels=subject.x.shape[1]) for words in CAUSES]
    if alike or key == "ignores-z":
        causes.insert(0, causes.pop() + ", whose output is the same for all codes" * bool(alike))
    told = {"cost": cost, "error": error, "kl": kl, "largest": subject.kl.mean(axis=0).max(), "silent": SILENT}
    return [Finding(key, causes=", or ".join(causes), **told)]


def silent_latents(subject):
    """The note about latents whose KL is next to none."""
    kl = subject.kl.mean(axis=0)
    which = np.flatnonzero(kl < SILENT)
    names = ", ".join(f"z{i + 1}" for i in which[:8]) + (", ..." if len(which) > 8 else "")
    numbers = {"silent": len(which), "latents": len(kl), "names": names, "limit": SILENT}
    return [Finding("silent-latents", most=kl[which].max(), **numbers)] if len(which) else []


def weight_of_kl(subject, wider, farther):
    """The weight of the KL loss with which the encoder was trained, and its error, from one small change of all q.

    At the optimum of reconstruction + beta * KL no small change of q helps, so that beta = -dR / dKL, with the same
    epsilons on both sides. wider: what is added to z_log_var; farther: by how much z_mean is stretched.
    """
    up, down = (
        replace(subject, z_mean=subject.z_mean * (1 + side * farther), z_log_var=subject.z_log_var + side * wider)
        for side in (1, -1)
    )
    pairs = [(up.loss_at(up.drawn(e)), down.loss_at(down.drawn(e))) for e in subject.epsilons]
    rise = np.mean([above - below for above, below in pairs], axis=0)
    fall = -(up.kl - down.kl).sum(axis=1)
    beta = rise.mean() / fall.mean()
    return float(beta), mean_and_error(rise - beta * fall)[1] / abs(float(fall.mean()))


def weights_of(subject):
    """The two readings of the weight of the KL loss, (beta, error) each: off the width of q, and off z_mean."""
    return weight_of_kl(subject, STEP_LOG_VAR, 0), weight_of_kl(subject, 0, STEP_MEAN)


def weight(subject):
    """The finding about the weight of the KL loss; the number "beta" is None where its two readings contradict.

    Both must be beyond BETA: before q has come to its optimum, and where the decoder knows its training images too
    well, they differ.
    """
    wide, stretched = weights_of(subject)
    subject.numbers.update(beta_of_width=wide[0], beta_of_z_mean=stretched[0])
    (value, error), apart = wide, abs(wide[0] - stretched[0])
    if apart < max(0.5 * max(wide[0], stretched[0]), ERRORS * math.hypot(error, stretched[1])) and 0.005 < value < 2000:
        subject.numbers.update(beta=value, beta_error=error)
    return two_scales(wide, stretched, subject)


def two_scales(wide, stretched, subject):
    """The finding about a weight of the KL loss that is not `beta`, by two readings, (beta, error) each.

    A high one is believed where both are alike: what else makes q too wide, as sigma drawn wrongly, does so in one.
    """
    (low, high), (value, error), meant = BETA, wide, subject.beta
    alike = max(value, stretched[0]) < 2 * min(value, stretched[0])
    if alike and all(one - ERRORS * its > high * meant for one, its in (wide, stretched)):
        key = "kl-weight-high/beta" if value / meant < 15 else "kl-weight-high"
    elif all(one + ERRORS * its < low * meant and one > -low * meant for one, its in (wide, stretched)):
        key = "kl-weight-low"
    elif wide[0] + ERRORS * wide[1] < 0.1 * meant and 0.5 < (stretched[0] - stretched[1]) / meant < 2:
        key = "kl-weight-low/sigma"
    else:
        return []
    numbers = {"beta": value, "times": value / meant, "error": error / meant, "stretched": stretched[0] / meant}
    if key != "kl-weight-low/sigma" and (sigma := squared_error(subject)) is not None:
        key, numbers = key.split("/")[0] + "/gaussian", numbers | {"sigma": sigma}
    words = f" and beta = {meant:g}" if meant != 1 else ""
    return [Finding(key, meant=words, pixels=subject.x.shape[1], **numbers)]


def squared_error(subject):
    """The sigma of a Gaussian decoder with which the KL loss would weigh what it should, where one is likely, or None.

    Likely is what loss functions of squared errors have (1, or 0.71 without the half), or about what is left over where
    that was not said.
    """
    wide, stretched = (beta / subject.beta for beta, _ in weights_of(replace(subject, likelihood=gaussian(1.0))))
    if min(wide, stretched) <= 0 or max(wide, stretched) > 2 * min(wide, stretched):
        return None
    sigma = math.sqrt(wide)
    left = math.sqrt(np.mean((subject.x - subject.decode(subject.z_mean, np.arange(len(subject.x)))) ** 2))
    usual = any(abs(sigma / one - 1) < 0.15 for one in (1.0, math.sqrt(0.5)))
    fits = subject.likelihood.name == "bernoulli" and 0.5 < sigma / left < 1.5
    return sigma if usual or fits else None


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


def off_prior(subject):
    """The finding about codes that, of all images together, are far from the prior."""
    nats, errors = mismatch(subject.z_mean, subject.z_log_var)
    subject.numbers.update(prior_mismatch=float(nats.max()))
    far = np.flatnonzero(nats - ERRORS * errors > MISMATCH)
    offset, kl = 0.5 * float(np.square(subject.z_mean.mean(axis=0)).sum()), subject.kl.sum(axis=1).mean()
    if not len(far) and offset > max(MISMATCH, OFFSET * kl):
        return [Finding("off-prior/mean", offset=offset, kl=kl)]
    if not len(far):
        return []
    worst = far[np.argmax(nats[far])]
    numbers = {"nats": nats[worst], "error": errors[worst], "limit": MISMATCH, "latents": len(nats)}
    return [Finding("off-prior", count=len(far), worst=worst + 1, **numbers)]
