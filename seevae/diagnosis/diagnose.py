"""The diagnosis: the tests of findings.py in their order, each step barring those that rest on it."""

import contextlib
from dataclasses import replace

import numpy as np

from seevae.basics import UserError
from seevae.diagnosis import findings
from seevae.diagnosis.findings import Subject, better
from seevae.diagnosis.network import AS_GIVEN, DECODED
from seevae.diagnosis.sentences import Finding
from seevae.results.evidence import mean_and_error

JUDGED, FEW = 500, 250  # images on which the findings rest; with a slow decoder
UNSEEN = (  # of benchmarks/zoo.py, what leaves little trace
    "a weight of the KL loss between half and twice the one meant, and with two latents a KL that is their mean",
    "noise that repeats from batch to batch; a bound on z_mean, as tanh; with two latents, sigma for its logarithm",
    "images that were all transposed, where many latents draw those as well",
)
LATER = (  # numbers that are None where what was found bars their test
    *("exchange_cost", "exchange_error", "shared_epsilon_gain", "shared_epsilon_error"),
    *("beta", "beta_error", "beta_of_width", "beta_of_z_mean"),
)
BARS = (
    "random-output",
    "overfitting",
    "gaussian",
    "partly-known",
    "clipped",
    "sigma",
)  # not wrong, and later tests mean nothing


class Case:
    """A Network before the images of a Given: the Subject, as it is meant by now, and what encode is given for them.

    draws: z of two calls, where encode gives its own. floor: whether z_log_var or z_mean never goes below some number.
    """

    def __init__(self, network, given):
        self.network, self.given, self.draws, self.floor = network, given, [], False
        few = FEW if network.slow else JUDGED
        x, self.inputs = given.flat[:few], given.into[:few]
        numbers = {"images": len(x)} | dict.fromkeys(LATER)
        decode = lambda z, rows: network.decode(z, rows)  # noqa: E731
        self.subject = Subject(x, x, x, decode, given.likelihood, given.beta, given.seed, numbers)


def diagnose(network, given):
    """What looks wrong with a Network, from the images of a Given: findings, {name: number}, and how far it came.

    From here on the network's outputs are taken for what they turned out to be.
    """
    case, found, came = Case(network, given), [], []
    for name, (_, step) in STEPS.items():
        if given.assumed and name in RESTS_ON_SIGMA:
            continue
        said = step(case)
        found, came = found + said, [*came, name]
        if any(finding.severity == "wrong" or finding.name in BARS for finding in said):
            break
    return found, case.subject.numbers, came


# -- Does it run, and what was meant? ----------------------------------------------------------------------------------


def runs(case):
    """Findings about what the two functions give: of what kind, in which order, and whether the same each time."""
    network, x = case.network, case.inputs
    found = in_order(network, x)
    z_mean, z_log_var, *draws = network.outputs(x)
    case.subject = replace(case.subject, z_mean=z_mean, z_log_var=z_log_var)
    if draws and np.array_equal(draws[0], z_mean):
        found.append(Finding("no-noise/z", images=len(x)))
    elif draws:
        case.draws = [*draws, network.outputs(x)[2]]
    kind = network.meaning["encode"]
    for start, key in (("fields", "fields"), ("one array", "one-array"), ("a forward pass", "forward")):
        found += [Finding(key, what=kind, latents=network.latent_dim)] if kind.startswith(start) else []
    rows = np.arange(len(x))
    encode = lambda part: network.outputs(x[part], rows[part])[0]  # noqa: E731
    decode = lambda part: network.decoded(z_mean[:100][part], rows[:100][part])  # noqa: E731
    codes = decode(slice(None))
    sizes = float(z_mean.std()) or 1.0, float(np.ptp(codes)) or 1.0
    return found + findings.repeats({"encode": (encode, z_mean, sizes[0]), "decode": (decode, codes, sizes[1])})


def in_order(network, x):
    """Put z last where encode gives three outputs: it is the one that differs between two calls, or equals z_mean."""
    first, second = network.outputs(x), network.outputs(x)
    differs = [float(np.abs(a - b).max()) > 1e-6 for a, b in zip(first, second, strict=True)]
    if differs in ([True, False, False], [False, True, False]):
        z = differs.index(True)
        network.order = (*(i for i in range(3) if i != z), z)
        return [Finding("order/z", where=("first", "second")[z], place=z + 1)]
    if len(first) == 3 and np.array_equal(first[0], first[1]) and not any(differs):  # z is z_mean in evaluation
        network.order = (0, 2, 1)
    return []


def meant(case):
    """Findings about what the outputs mean: probabilities, the range of x, the order of the heads, log variance."""
    network, subject = case.network, case.subject
    output = network.decoded(subject.z_mean, np.arange(len(subject.x)))
    read = DECODED[network.meaning["decode"]](output)
    if found := findings.no_probabilities(subject.x, output) or findings.held_in(subject, read):
        return found
    if network.meaning["decode"] == "as it is":
        network.meaning["decode"], found = findings.reading_of_decoder(subject.x, output, subject.likelihood)
    if subject.used.any():
        ways = {name: (change, network.order) for name, change in case.given.others.items()}
        found += reread(case, "input-range", ways)
    if not case.draws:
        found += reread(case, "order/heads", {network.meaning["inputs"]: (network.inputs, (1, 0))})
    given, said = case.subject.z_log_var, []
    if case.draws:
        network.meaning["z_log_var"], said = findings.reading_by_draws(case.subject, given, case.draws)
    elif network.meaning["z_log_var"] == AS_GIVEN and not findings.pile(given)[1] and not case.given.assumed:
        network.meaning["z_log_var"], said = findings.reading_by_elbo(case.subject, given)
    if not np.array_equal(z_log_var := network.log_var(given), given):
        case.subject = replace(case.subject, z_log_var=z_log_var)
    floor = findings.floors(case.subject)
    case.floor = bool(floor)
    return found + said + floor


def reread(case, key, ways):
    """Read encode in the best of other ways, {words: (inputs, order of outputs)}, and say so in a finding, in a list.

    One is taken only where the images then come back far better than as read before, and than their average.
    """
    network, before, tried = case.network, (case.network.inputs, case.network.order), {}
    for words, way in ways.items():
        network.inputs, network.order = way
        try:
            z_mean, given = network.outputs(case.inputs)[:2]
            tried[words] = replace(case.subject, z_mean=z_mean, z_log_var=given)
        except UserError:  # codes beyond all bounds
            continue
        finally:
            network.inputs, network.order = before
    losses = {words: subject.at_mean for words, subject in tried.items()}
    best = min(losses, key=lambda words: losses[words].mean(), default=None)
    if best is None or not case.subject.knows(losses[best], 2 * findings.LEARNED):
        return []
    here = case.subject.at_mean
    is_better, numbers = better(here, losses[best], findings.LEARNED * here.mean())
    elbos = [subject.read_as(subject.z_log_var, AS_GIVEN).elbo for subject in (tried[best], case.subject)]
    if not is_better or not better(*elbos)[0]:
        return []
    case.subject, (network.inputs, network.order) = tried[best], ways[best]
    network.meaning["inputs"] = best
    return [Finding(key, inputs=best, **numbers)]


# -- What it has learned -----------------------------------------------------------------------------------------------


def knows(case):
    """Findings where the images are not known: at z_mean and at draws of q they cost more than their average would."""
    subject, kl = case.subject, case.subject.kl.sum(axis=1).mean()
    subject.numbers.update(at_z_mean=float(subject.at_mean.mean()), average_image=float(subject.average.mean()))
    if (x := case.given.x_train) is not None:
        z_mean, z_log_var = case.network.encode(x)
        known = replace(subject, x=x.reshape(len(x), -1), z_mean=z_mean, z_log_var=z_log_var)
        if found := findings.overfitting(subject, known):
            return found
    if kl > 1000 and np.median(subject.z_log_var) > 3:
        return [Finding("kl-sign", kl=kl)]
    worse, error = mean_and_error(min(subject.at_mean, subject.at_draws, key=np.mean) - subject.average)
    few = len(subject.x) < findings.ENOUGH  # of which the average image, made of them, knows too much
    return findings.saturated(subject) if worse < (findings.ERRORS * error if few else 0) else not_known(case)


def not_known(case):
    """The finding, in a list, about images that are not known: the surest cause that is found."""
    subject = case.subject
    is_bernoulli = subject.likelihood.name == "bernoulli"
    for z in (subject.z_mean, subject.drawn(subject.epsilons[0])) if is_bernoulli else ():
        if found := findings.too_sure(subject, z):
            return found
    if found := findings.saturated(subject) or other_images(case.network, subject, case.inputs):
        return found
    if subject.used.any() and (found := findings.repeated_noise(subject)):
        return found
    if (found := findings.unused(subject)) and subject.at_mean.mean() < findings.grey(subject).mean():
        return found
    given = case.given
    apart = ", or x and what goes with it (inputs=, condition=) are not in one order, as after a loader that shuffles"
    return findings.unknown_images(subject, apart * (given.own or given.condition is not None))


def other_images(network, subject, inputs):
    """The finding where images that are changed come back far better: inverted, or on their side."""
    here, n = subject.at_mean, len(subject.x)
    turned, sides = {"1 - x": lambda rows: 1 - rows}, [side for side in network.shape if side > 3]
    if network.pixels == 784 or (len(sides) == 2 and sides[0] == sides[1] and network.pixels == sides[0] ** 2):
        side = round(network.pixels**0.5)
        turned["the transposed x"] = lambda rows: rows.reshape(n, side, side).swapaxes(1, 2).reshape(n, -1)
    tried = []
    for name, change in turned.items():
        other = replace(subject, x=change(subject.x).astype("float32"))
        tried.append((other.loss_at(subject.z_mean), name, "transposed"))
        with contextlib.suppress(UserError, ValueError):  # codes beyond all bounds, inputs of another size
            z_mean = network.outputs(change(inputs.reshape(n, -1)).reshape(inputs.shape))[0]
            tried.append((other.loss_at(z_mean), name, "other-images"))
    losses, name, key = min(tried, key=lambda one: one[0].mean())
    is_better, numbers = better(here, losses, 0.3 * here.mean())
    return [Finding(key, images=name, **numbers)] if is_better else []


def draws(case):
    """Findings where draws of q are not what the decoder knows: repeated, uniform, or no noise in the training."""
    subject = case.subject
    if case.floor or not subject.used.any():
        return []
    found = findings.no_noise(subject)
    return findings.repeated_noise(subject) or found


def code(case):
    """Findings about the codes of a network that knows the images, and draws them as q says."""
    subject = case.subject
    if found := findings.unused(subject):
        return found
    found = findings.silent_latents(subject)
    if case.floor:
        return found
    if not case.given.assumed and subject.knows(min(subject.at_mean, subject.at_draws, key=np.mean)):
        found += findings.weight(subject)
    return found + findings.off_prior(subject)


RESTS_ON_SIGMA = {"draws"}  # beside the weight of the KL loss
STEPS = {  # name: what is tested, in words, and the test
    "run": ("that two calls, and rows alone, give the same; that the network stays as it was", runs),
    "readings": ("what the outputs mean: their order, logits, log variance, the range of x", meant),
    "images": ("that it knows these images better than their average", knows),
    "draws": ("that draws of q are as good as q says, and their noise new each time", draws),
    "code": ("collapse, silent latents, exchange of codes, weight of the KL loss, codes on the prior", code),
}
