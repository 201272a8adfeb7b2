"""The diagnosis: the tests of findings.py in their order, each step barring those that rest on it."""

from functools import partial

import numpy as np

from seevae.basics import UserError
from seevae.diagnosis import findings
from seevae.diagnosis.findings import Finding, Subject, better
from seevae.diagnosis.network import AS_GIVEN

JUDGED = 500  # images on which the findings rest
OTHER_INPUTS = {  # what encode may have been trained on, of images x from 0 to 1, in words and as a function
    "2 * x - 1": lambda x: 2 * x - 1,
    "(x - 0.1307) / 0.3081": lambda x: (x - 0.1307) / 0.3081,
    "255 * x": lambda x: 255 * x,
}
TESTED = (
    ("run", "that two calls, and rows alone, give the same; that the network stays as it was"),
    ("readings", "what the outputs mean: their order, logits, log variance, the range of x"),
    ("images", "that it knows these images better than their average"),
    ("draws", "that draws of q are as good as q says"),
    ("code", "collapse, silent latents, exchange of codes, repeated noise, weight of the KL loss, codes on the prior"),
)
UNSEEN = (
    "a KL loss of another formula and the same optimum, or a weight of it between half and twice the one meant",
    "noise that repeats from batch to batch, images that were all transposed or mirrored, bounds that q does not meet",
)


def diagnose(network, x, likelihood, beta=1.0, x_train=None, own=(), seed=0):
    """What looks wrong with a Network, from images x (n, ...): findings, {name: number}, and how far it came.

    own: the x_input given, in place of x, or none: () or ((n, ...),). From here on the network's outputs are taken for
    what they turned out to be.
    """
    x, inputs = x[:JUDGED], (own[0] if own else x)[:JUDGED]
    flat = x.reshape(len(x), -1)
    z_mean, given, draws, found = first_look(network, inputs)
    if any(f.name in ("batch-dependent", "random-output") for f in found):
        return found, {}, ["run"]
    output = network.decoded(z_mean, np.arange(len(x)))
    network.meaning["decode"], said = findings.reading_of_decoder(flat, output, likelihood)
    found += said
    if network.condition is None and network.meaning["decode"] == "as it is":
        found += findings.thresholded(output)
    if any(f.name in ("softmax", "thresholded") for f in found):
        return found, {}, ["run", "readings"]
    decode = partial(decoded_as, network)
    subject = Subject(flat, z_mean, given, decode, likelihood, beta, seed)
    subject, said = meant(network, subject, inputs, given, draws, own)
    found += said
    subject = subject._replace(z_log_var=network.log_var(subject.z_log_var)) if subject.z_log_var is given else subject
    said, numbers, came = knows(network, subject, inputs, x_train)
    return found + said, numbers, ["run", "readings", *came]


def decoded_as(network, z, rows):
    return network.decode(z, rows)


def first_look(network, x):
    """z_mean, what z_log_var is given as, draws, and findings of the first two steps about encode's outputs."""
    found = in_order(network, x)
    z_mean, given, *draws = network.outputs(x)
    if network.meaning["encode"].startswith("fields"):
        words = (
            f"encode gives an object, of which the {network.meaning['encode']} are taken ({network.latent_dim} latents)"
        )
        found.append(Finding("fields", "note", f"{words}."))
    if network.meaning["encode"].startswith("one array"):
        words = f"encode gives {network.meaning['encode']}, taken as z_mean and z_log_var side by side"
        found.append(Finding("one-array", "note", f"{words}, {network.latent_dim} each."))
    decode = lambda z: network.decoded(z, np.zeros(len(z), int))  # noqa: E731
    encode = lambda rows: network.outputs(rows, np.arange(len(rows)))[0]  # noqa: E731
    found += findings.repeats(encode, decode, x, z_mean, z_mean)
    if draws:
        draws.append(network.outputs(x)[2])
    return z_mean, given, draws, found


def in_order(network, x):
    """Put z last where encode gives three outputs: it is the one that differs between two calls."""
    first, second = network.outputs(x), network.outputs(x)
    if len(first) < 3:
        return []
    differs = [float(np.abs(a - b).max()) > 1e-6 for a, b in zip(first, second, strict=True)]
    if differs not in ([True, False, False], [False, True, False]):
        return []
    z = differs.index(True)
    network.order = (*(i for i in range(3) if i != z), z)
    place = "first" if z == 0 else "second"
    words = f"encode gives z {place} of three: output {z + 1} alone differs between two calls"
    return [Finding("order", "look", f"{words}; taken so, but give z_mean, z_log_var, z.", place=z + 1)]


def meant(network, subject, inputs, given, draws, own):
    """The subject with its codes as they are meant, and findings: order, range of x, log variance."""
    found = []
    if not own:
        subject, found = of_other_range(network, subject, inputs)
        given = subject.z_log_var
    if not draws:
        subject, said = exchanged(network, subject)
        found += said
        given = subject.z_log_var
    trusted = np.abs(given).max() < 60
    if network.meaning["z_log_var"] != AS_GIVEN:  # its own field says so
        said = []
    elif draws:
        network.meaning["z_log_var"], said = findings.reading_by_draws(subject, given, draws)
    elif trusted:
        network.meaning["z_log_var"], said = findings.reading_by_elbo(subject, given)
    else:
        said = []
    return subject._replace(z_log_var=network.log_var(given)), found + said


def of_other_range(network, subject, inputs):
    """The subject for the inputs with which the images come back best, where that is not x, and a finding."""
    here, found = subject.loss_at(subject.z_mean), []
    tried, before = {}, network.inputs
    for name, change in OTHER_INPUTS.items():
        network.inputs = change
        try:
            z_mean, given = network.outputs(inputs)[:2]
        except UserError:  # codes beyond all bounds
            continue
        finally:
            network.inputs = before
        tried[name] = (subject.loss_at(z_mean), z_mean, given)
    best = min(tried, key=lambda name: tried[name][0].mean(), default=None)
    is_better, gain, error = better(here, tried[best][0], 0.05 * here.mean()) if best else (False, 0, 0)
    if is_better and tried[best][0].mean() < (1 - findings.LEARNED) * subject.average_loss().mean():
        network.inputs, network.meaning["inputs"] = OTHER_INPUTS[best], best
        words = (
            f"encode knows another range: given {best} the reconstruction loss is {gain:.1f} ± {error:.1f} nats lower"
        )
        words = f"{words} than given x, and so this report goes on; give inputs= as in the training (normalised)"
        found = [Finding("input-range", "look", f"{words}.", gain=gain, error=error)]
        subject = subject._replace(z_mean=tried[best][1], z_log_var=tried[best][2])
    return subject, found


def exchanged(network, subject):
    """The subject with z_mean and z_log_var exchanged, where that is better in both ways, and a finding."""
    other = subject._replace(z_mean=subject.z_log_var, z_log_var=np.clip(subject.z_mean, -60, 60))
    if np.abs(other.z_mean).max() > 60:
        return subject, []
    at_mean, drawn = subject.loss_at(subject.z_mean), -findings.elbos(_bounded(subject))
    is_better, gain, error = better(at_mean, other.loss_at(other.z_mean), 0.1 * at_mean.mean())
    too, _, _ = better(drawn, -findings.elbos(other), 0.1 * at_mean.mean())
    if not (is_better and too):
        return subject, []
    network.order = (1, 0)
    words = f"encode gives z_log_var before z_mean: exchanged, the reconstruction loss is {gain:.1f} ± {error:.1f} nats"
    found = [Finding("order", "look", f"{words} lower; taken so, but give z_mean, z_log_var.", gain=gain, error=error)]
    return other, found


def _bounded(subject):
    return subject._replace(z_log_var=np.clip(subject.z_log_var, -60, 60))


# -- From the third step on --------------------------------------------------------------------------------------------


def knows(network, subject, inputs, x_train):
    """Findings and numbers of the third step and those after it, and the names of the steps that were taken."""
    at_mean, average = subject.loss_at(subject.z_mean), subject.average_loss()
    kl = subject.kl()
    numbers = {"at_z_mean": float(at_mean.mean()), "average_image": float(average.mean())}
    numbers |= dict.fromkeys(("exchange_cost", "exchange_error", "shared_epsilon_gain", "shared_epsilon_error"))
    numbers |= dict.fromkeys(("beta", "beta_error", "beta_of_width", "beta_of_z_mean"))
    found, more = [], {}
    if x_train is not None:
        found, more = findings.overfitting(subject, training_subject(network, subject, x_train))
        numbers |= more
    if found:
        return found, numbers, ["images"]
    sure = findings.too_sure(subject) if subject.likelihood.name == "bernoulli" else []
    if sure:
        return sure, numbers, ["images"]
    collapsed = (kl.mean(axis=0) < findings.SILENT).all()
    if at_mean.mean() > (2 if collapsed else 1) * average.mean():
        return [not_known(network, subject, inputs, numbers)], numbers, ["images"]
    said, more, came = of_the_code(subject, collapsed)
    return said, numbers | more, ["images", *came]


def training_subject(network, subject, x_train):
    z_mean, z_log_var = network.encode(x_train)
    flat = x_train.reshape(len(x_train), -1)
    return subject._replace(x=flat, z_mean=z_mean, z_log_var=z_log_var)


def not_known(network, subject, inputs, numbers):
    """The finding for images that come back worse than as their average: the surest cause that is found."""
    if other := other_images(network, subject, inputs):
        return other
    said, more = findings.repeated_noise(subject)
    numbers |= more
    if said := said or findings.by_squares(subject):
        return said[0]
    own, best = findings.best_of_all(subject) if network.condition is None else (np.zeros(1), np.full(1, np.inf))
    return findings.unknown_images(subject, (own, best))


def other_images(network, subject, inputs):
    """The finding where images that are changed come back far better: inverted, or on their side."""
    here, n = subject.loss_at(subject.z_mean), len(subject.x)
    turned = {"1 - x": lambda rows: 1 - rows}
    sides = [side for side in network.shape if side > 3]
    if network.pixels == 784 or (len(sides) == 2 and sides[0] == sides[1] and network.pixels == sides[0] ** 2):
        side = round(network.pixels**0.5)
        turned["the transposed x"] = lambda rows: rows.reshape(n, side, side).swapaxes(1, 2).reshape(n, -1)
    tried = []
    for name, change in turned.items():
        x = change(subject.x).astype("float32")
        z_mean = network.outputs(change(inputs.reshape(n, -1)).reshape(inputs.shape))[0]
        for drawn, codes in ((False, z_mean), (True, subject.z_mean)):
            tried.append((subject._replace(x=x).loss_at(codes), name, drawn))
    losses, name, drawn = min(tried, key=lambda one: one[0].mean())
    is_better, gain, error = better(here, losses, 0.3 * here.mean())
    if not is_better:
        return None
    if drawn:
        words = f"decode draws {name}: against that the loss is {gain:.1f} ± {error:.1f} nats lower"
        return Finding("transposed", "wrong", f"{words}; give its pixels in the order of x.", gain=gain, error=error)
    words = f"The network knows other images: given {name}, it draws that with {gain:.1f} ± {error:.1f} nats less"
    return Finding("other-images", "wrong", f"{words}; give it images as in the training.", gain=gain, error=error)


def of_the_code(subject, collapsed):
    """Findings and numbers of the steps that rest on a network that knows the images."""
    kl, found = subject.kl(), []
    if kl.sum(axis=1).mean() > 1000 and np.median(subject.z_log_var) > 3:
        words = f"The KL loss is {kl.sum(axis=1).mean():.3g} nats with sigma far above 1: it may have the wrong sign"
        return [Finding("kl-sign", "wrong", f"{words}; it is added to the loss, and never negative.")], {}, ["draws"]
    found += (floor := findings.floors(subject, collapsed))
    alike = collapsed and findings_alike(subject)
    said, _ = findings.silent(kl.mean(axis=0), subject.x.shape[1], alike)
    found += said
    if collapsed or floor:
        return found, {}, ["draws", "code"]
    said, numbers = findings.noise_of_training(subject)
    if said:
        again, more = findings.repeated_noise(subject)
        return found + (again or said), numbers | more, ["draws"]
    if np.mean(subject.drawn_loss()) < (1 - findings.LEARNED) * subject.average_loss().mean():
        said, more = findings.repeated_noise(subject)
        numbers |= more
        if said:
            return found + said, numbers, ["draws"]
    said, more = findings.ignores_z(subject)
    numbers |= more
    if said:
        return found + said, numbers, ["draws", "code"]
    if np.mean(subject.loss_at(subject.z_mean)) < (1 - findings.LEARNED) * subject.average_loss().mean():
        said, more = findings.weight_of_kl(subject)
        found, numbers = found + said, numbers | more
    mismatches = findings.mismatch(subject.z_mean, subject.z_log_var)
    numbers["prior_mismatch"] = float(mismatches[0].max())
    return found + findings.codes_off_the_prior(mismatches), numbers, ["draws", "code"]


def findings_alike(subject):
    """Whether the decoder gives the same for all codes, also far out."""
    codes = np.concatenate([np.zeros((1, subject.z_mean.shape[1])), 3 * np.eye(subject.z_mean.shape[1])])
    output = subject.decode(codes.astype("float32"), np.zeros(len(codes), int))
    return float(np.ptp(output, axis=0).max()) < 1e-6
