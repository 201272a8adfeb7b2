"""Section 2 of the side notes: true posteriors, and how much of them q holds."""

import numpy as np
from matplotlib import patches

from lab.drawing import BLUE, GREY, LIGHT, draw_posterior, mean_error, number, percent, share_error, table
from lab.gap import divergences
from lab.measures import AXIS, masses
from seevae.images.data import IMAGE_SHAPE
from seevae.results import pictures


def mass_within(mass, axis, z_mean, z_log_var, radius=2.0):
    """The share of a density's mass (k, k) inside q's ellipse of so many sigma; q's own would be 86 % for two."""
    parts = [
        (axis - mean) ** 2 / np.exp(log_var)
        for mean, log_var in zip(np.asarray(z_mean, "float64"), np.asarray(z_log_var, "float64"), strict=True)
    ]
    return float(mass[parts[1][:, None] + parts[0][None, :] <= radius**2].sum() / mass.sum())


def at_equal_steps(gap, count=8):
    """The images at equal steps of rank, from a small gap to a large one: indices (count,) into gap (n,)."""
    return np.argsort(gap)[np.round(np.linspace(0.02, 0.98, count) * (len(gap) - 1)).astype(int)]


def exact_gap(digits):
    """KL(q || p(z|x)) of each of the Digits, as a sum over the grid: (n,), nats. Unlike `gap` it has no noise."""
    return np.array([divergences(joint, AXIS, *q)[0] for joint, *q in zip(digits.joints, *digits.q, strict=True)])


def plot_posteriors(vae, digits):
    """The true posteriors of eight Digits and the encoder's q, from a small gap to a large one."""
    gap = exact_gap(digits)
    figure = pictures.new_figure(10, 6.3, "The true posterior (grey) and the encoder's q (blue), for eight digits")
    for axes, i in zip(figure.subplots(2, 4).flat, at_equal_steps(gap), strict=True):
        q = [(digits.q[0][i], digits.q[1][i], BLUE)]
        draw_posterior(axes, vae.get_layer("decoder"), digits.x[i], digits.joints[i], q)
        axes.set_title(f"gap {number(gap[i])} nats", loc="left", fontsize=12, y=1.02)
        axes.set(xlabel="z1", ylabel="z2")
        inset = axes.inset_axes([0.75, 1.0, 0.25, 0.25])
        inset.imshow(digits.x[i].reshape(IMAGE_SHAPE), cmap="Greys")
        inset.set_axis_off()
    handles = [patches.Patch(color=GREY, label="39 % of the truth"), patches.Patch(color=LIGHT, label="86 % of it")]
    handles.append(patches.Patch(fill=False, edgecolor=BLUE, linewidth=2, label="39 % and 86 % of q (1 and 2 sigma)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=12)
    return figure


def held_by_q(digits):
    """The share of each true posterior inside the 2-sigma ellipse of the encoder's q: (n,)."""
    return np.array([mass_within(masses(joint), AXIS, *q) for joint, *q in zip(digits.joints, *digits.q, strict=True)])


def held_table(digits):
    """Show how much of the gap falls to the Digits whose q holds little of the truth; its last error by bootstrap."""
    held, gap, rows = held_by_q(digits), digits.gap, []
    for name, low, high in (("less than 1 %", 0, 0.01), ("1 % to 50 %", 0.01, 0.5), ("more than 50 %", 0.5, 1.1)):
        there = (held >= low) & (held < high)
        mean = mean_error(gap[there], 2) if there.sum() > 1 else "–"
        rows.append([name, there.sum(), percent(there.mean()), mean, percent(*share_error(gap * there, gap))])
    header = ["of the truth inside q's ellipse of 2 sigma", "digits", "of all digits", "their gap, nats", "of all gap"]
    table(header, rows)
