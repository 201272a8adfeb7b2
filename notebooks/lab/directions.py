"""Section 6 of the side notes: which way round the KL."""

import math
from typing import NamedTuple

import numpy as np
from scipy import optimize

from lab.drawing import BLUE, GREY, RED, draw_posterior, number, table
from lab.gap import divergences
from lab.measures import AXIS, masses, mean_and_variance
from lab.own_q import islands, optimise_q
from seevae.results import evidence, pictures

LINE = np.linspace(-16, 16, 6401)


def two_modes(half_distance):
    """log p on LINE of an equal mixture of N(-half_distance, 1) and N(half_distance, 1)."""
    log_parts = -0.5 * (LINE[:, None] + half_distance * np.array([-1, 1])) ** 2
    return np.logaddexp(*log_parts.T) - math.log(2) - 0.5 * evidence.LOG_2_PI


def line_divergence(log_p, mean, sigma):
    """KL(N(mean, sigma^2) || p) on LINE, nats."""
    log_q = -0.5 * ((LINE - mean) / sigma) ** 2 - math.log(sigma) - 0.5 * evidence.LOG_2_PI
    return float(np.sum(np.exp(log_q) * (log_q - log_p)) * (LINE[1] - LINE[0]))


def seek_mode(half_distance, start):
    """The Gaussian at the minimum of KL(q || p) near a start (mean, sigma): mean, sigma and the divergence, nats."""
    log_p = two_modes(half_distance)
    found = optimize.minimize(
        lambda v: line_divergence(log_p, v[0], math.exp(v[1])),
        (start[0], math.log(start[1])),
        method="Nelder-Mead",
        options={"xatol": 1e-6, "fatol": 1e-10},
    )
    return found.x[0], math.exp(found.x[1]), found.fun


def cover_modes(half_distance):
    """The Gaussian at the minimum of KL(p || q): p's mean and standard deviation, and the divergence, nats."""
    log_p, sigma = two_modes(half_distance), math.sqrt(1 + half_distance**2)
    log_q = -0.5 * (LINE / sigma) ** 2 - math.log(sigma) - 0.5 * evidence.LOG_2_PI
    return 0.0, sigma, float(np.sum(np.exp(log_p) * (log_p - log_q)) * (LINE[1] - LINE[0]))


def crossing():
    """The distance of the modes from which on one mode alone beats covering both, for KL(q || p); by bisection."""

    def advantage(distance):
        one = seek_mode(distance / 2, (distance / 2, 1.0))[2]
        log_p = two_modes(distance / 2)
        both = optimize.minimize_scalar(lambda v: line_divergence(log_p, 0.0, math.exp(v)), bounds=(0, 2)).fun
        return both - one

    return optimize.bisect(advantage, 5.0, 6.5, xtol=1e-3)


def count_islands(digits):
    """In how many islands 86 % of each true posterior lies: (n,)."""
    return np.array([len(islands(masses(joint), AXIS)) for joint in digits.joints])


class TwoModes(NamedTuple):
    """A digit whose true posterior has two islands, and Gaussians for it: {name: (z_mean, z_log_var)}."""

    index: int
    gaussians: dict


def two_modes_of(decoder, digits):
    """The digit whose two islands are heavy and far apart (the first, where none has two), as TwoModes.

    Its Gaussians: the minima of KL(q || p) from both islands, the minimum of KL(p || q), and the encoder's q.
    """
    best, score = 0, -1.0
    for i, joint in enumerate(digits.joints):
        (_, *first), (lighter, *second) = (islands(masses(joint), AXIS) * 2)[
            :2
        ]  # a lone one beside itself: no distance
        distance = np.linalg.norm(first[0] - second[0]) / np.sqrt(max(*first[1], *second[1]))
        if lighter * distance > score:
            best, score, pair = i, lighter * distance, (first, second)
    start = np.stack([mean for mean, _ in pair]), np.log([variance for _, variance in pair])
    seek = optimise_q(decoder, digits.x[[best, best]], *start)
    mean, variance = mean_and_variance(masses(digits.joints[best]), AXIS)
    gaussians = {
        f"smallest KL(q ‖ p), {name} island": (seek[0][i], seek[1][i]) for i, name in enumerate(("first", "second"))
    }
    gaussians["smallest KL(p ‖ q)"] = mean, np.log(variance)
    gaussians["the encoder's q"] = tuple(part[best] for part in digits.q)
    return TwoModes(best, gaussians)


def line_table():
    """Show the Gaussians at the minima of both divergences for two modes at -3 and 3, and where they change places."""
    found = {"smallest KL(p ‖ q)": cover_modes(3), "smallest KL(q ‖ p)": seek_mode(3, (3, 1))}
    found["a further minimum of KL(q ‖ p)"] = seek_mode(3, (0, 3))
    rows = [[name, *(number(abs(value), 2) for value in values)] for name, values in found.items()]
    table(["best q for modes at −3 and 3", "distance of its mean from 0", "sigma", "divergence, nats"], rows)
    table(["KL(q ‖ p) prefers one mode from", "sigmas apart"], [["a distance of", number(crossing(), 2)]])


def direction_table(digits, example):
    """Show both divergences of the Gaussians of a TwoModes."""
    joint = digits.joints[example.index]
    rows = [[name, *(number(v, 2) for v in divergences(joint, AXIS, *q))] for name, q in example.gaussians.items()]
    table(["axis-aligned Gaussian q", "KL(q ‖ p), nats", "KL(p ‖ q), nats"], rows)


def plot_directions(decoder, digits, example):
    """Both directions of the KL for two modes on a line, and for the real posterior of a TwoModes."""
    caption = "Right: grey holds 39 % and 86 % of the truth; ellipses: 1 and 2 sigma, colours as on the left."
    figure = pictures.new_figure(10, 4.6, "KL(p ‖ q) covers, KL(q ‖ p) seeks a mode", caption)
    left, right = figure.subplots(1, 2)
    left.fill_between(LINE, np.exp(two_modes(3)), color=GREY, alpha=0.45, linewidth=0, label="p: two modes")
    found = [
        (cover_modes(3), RED, "q of the smallest KL(p ‖ q)"),
        (seek_mode(3, (-3, 1)), BLUE, "q of the smallest KL(q ‖ p)"),
    ]
    for (mean, sigma, _), colour, name in [*found, (seek_mode(3, (3, 1)), BLUE, None)]:
        q = np.exp(-0.5 * ((LINE - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
        left.plot(LINE, q, "-" if name else "--", color=colour, linewidth=2.5, label=name)
    left.set(xlim=(-9, 9), ylim=(0, 0.6), xlabel="z", ylabel="density", title="two modes on a line")
    left.legend(frameon=False, loc="upper left", fontsize=11)
    qs = [(*q, colour) for q, colour in zip(example.gaussians.values(), (BLUE, BLUE, RED), strict=False)]
    draw_posterior(right, decoder, digits.x[example.index], digits.joints[example.index], qs, equal=False)
    right.set(xlabel="z1", ylabel="z2", title=f"the true posterior of a held-out {digits.labels[example.index]}")
    return figure
