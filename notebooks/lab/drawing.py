"""Numbers as text, tables, and what several pictures are made of."""

import io
import json
import math

import numpy as np
import PIL.Image
from IPython.display import Image, Markdown, display
from matplotlib import patches

from lab import ROOT
from lab.measures import AXIS, ONE_SIGMA, TWO_SIGMA, decode, encode, level_that_holds, log_joint, masses, standard_error
from lab.models import SMOKE
from seevae.results import pictures

GREY, LIGHT, BLUE, ORANGE, RED = "#717581", "#c9ccd1", "#3f90da", "#ffa90e", "#bd1f01"
WORDS = {"train": "training", "test": "held out", True: "yes", False: "no"}  # of a record, in a table


def strip(axes, rows, names):
    """Draw images (rows, columns, 784) as a strip, each row with its name."""
    axes.imshow(pictures.tile(np.asarray(rows)), cmap="Greys", vmin=0, vmax=1)
    axes.set_yticks(28 * np.arange(len(names)) + 13.5, names, fontsize=11)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def class_legend(figure):
    """The ten digits and their colours, to the right of all axes."""
    handles = [patches.Patch(color=colour, label=str(digit)) for digit, colour in enumerate(pictures.CLASS_COLOURS)]
    figure.legend(handles=handles, loc="outside right center", frameon=False, title="digit")


def show(figure, alt, dpi=100):
    """Show a Figure as a PNG, with a description (`alt`) for those who cannot see it."""
    png, small = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=dpi)
    picture = PIL.Image.open(png).convert("RGB")
    if np.ptp(np.asarray(picture), axis=-1).max() == 0:  # no colour: a third of the bytes
        picture = picture.convert("L")
    picture.save(small, format="png", optimize=True)
    display(Image(small.getvalue(), alt=alt))


def table(header, rows):
    """Show a Markdown table; all columns but the first are aligned to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    display(Markdown("\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)))


def recorded(experiment):
    """The runs of an experiment of benchmarks/claims.py, a list of dicts."""
    return json.loads((ROOT / "benchmarks" / "claims.json").read_text())[experiment]["runs"]


def by_case(experiment, case, value, **only):
    """A value of an experiment of benchmarks/claims.py for each case, {value of that key: (seeds,)} (see look_up).

    only: keys and their values, of the runs that count.
    """
    found = {}
    for run in recorded(experiment):
        if only.items() <= run.items():
            found.setdefault(run[case], []).append(look_up(run, value))
    return {name: np.array(values) for name, values in found.items()}


def recorded_table(experiment, by, columns, digits=1):
    """Show an experiment of benchmarks/claims.py: one row for each combination of the keys of `by`.

    by and columns: {key of a run: heading}. A key like "log_p.test" looks inside, and a column may be a difference,
    "a - b". Each cell is the mean over the seeds and its standard error, with so many digits, or {key: digits}.
    """
    groups = {}
    for run in recorded(experiment):
        groups.setdefault(tuple(look_up(run, key) for key in by), []).append(run)
    rows = []
    for group, runs in groups.items():
        names = [WORDS.get(part, part) if isinstance(part, bool | str) else f"{part:,}" for part in group]
        rows.append([*names, *(cell(runs, key, digits) for key in columns)])
    table([*by.values(), *columns.values()], rows)


def recorded_means(experiment, values, heading="three seeds", digits=2):
    """Show values of an experiment of benchmarks/claims.py, {key of a run: name}, one a row: mean and its error."""
    runs = recorded(experiment)
    rows = [[name, cell(runs, key, digits)] for key, name in values.items()]
    table([heading, "mean ± standard error over seeds"], rows)


def seed_table(heading, rows):
    """Show {name: values, one for each seed from 0 on}, with the mean of each row and its standard error."""
    seeds = [f"seed {seed}" for seed in range(len(next(iter(rows.values()))))]
    lines = [[name, *map(number, values), mean_error(values)] for name, values in rows.items()]
    table([heading, *seeds, "mean ± standard error"], lines)


def cell(runs, key, digits):
    """The mean of a value over runs, and its error (see over_seeds); digits: a number, or {key: number}, else 1."""
    values = [difference(run, key) for run in runs]
    return over_seeds(values, digits.get(key, 1) if isinstance(digits, dict) else digits)


def look_up(run, key):
    """The value of "a", "a.b" or "a.0" in a run."""
    for part in key.split("."):
        run = run[int(part) if part.isdigit() else part]
    return run


def difference(run, column):
    """The value "a", or the difference of the values "a - b", of a run (see look_up)."""
    first, *others = (look_up(run, key) for key in column.split(" - "))
    return first - others[0] if others else first


def over_seeds(values, digits=1):
    """mean_error of one value for each seed; a dash where a value is not known, or beyond a million."""
    return "–" if None in values or max(map(abs, values)) > 1e6 else mean_error(values, digits)


def one_of_each(labels):
    """The index of the first image of each class in labels (n,): (10,)."""
    return np.array([np.flatnonzero(labels == digit)[0] for digit in range(10)])


def plot_codes(axes, z, labels, limit, size=4):
    """Codes z (n, 2) in the colours of their classes, over the circles of N(0, I), on axes of [-limit, limit]."""
    axes.scatter(*z.T, c=np.array(pictures.CLASS_COLOURS)[labels], s=size, linewidths=0, rasterized=True)
    for radius in (1, 2, 3):
        axes.add_patch(patches.Circle((0, 0), radius, fill=False, linewidth=1.2, linestyle=(0, (4, 3)), zorder=3))
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="z1", ylabel="z2")


def number(value, digits=1):
    """A number with so many decimals, commas between thousands and a true minus sign."""
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def significant(value, figures=2):
    """A number rounded to so many significant figures: 24,743 becomes 25,000."""
    digits = figures - 1 - math.floor(math.log10(abs(value)))
    return number(round(value, digits), max(0, digits))


def percent(share, error=None, digits=0):
    """A share as "12 %" or "12 ± 3 %"."""
    return number(100 * share, digits) + ("" if error is None else f" ± {number(100 * error, digits)}") + " %"


def mean_error(values, digits=1):
    """The mean of values (n,) and its standard error, as "5.6 ± 0.5"."""
    return f"{number(np.mean(values), digits)} ± {number(standard_error(values), digits)}"


def share_error(part, whole, draws=2000, seed=0):
    """sum(part) / sum(whole), both (n,), and its standard error by the bootstrap: images drawn with replacement."""
    chosen = np.random.default_rng(seed).integers(len(part), size=(draws, len(part)))
    return part.sum() / whole.sum(), float((part[chosen].sum(axis=1) / whole[chosen].sum(axis=1)).std(ddof=1))


def plot_plane(axes, model, dataset, scale=1, cells=7, limit=3.5):
    """Two axes: the codes of held-out digits under a model, and its manifold, of cells x cells digits.

    scale: that of the pixels that its encoder gets. Codes beyond `limit` are drawn at the rim.
    """
    left, right = axes
    z, _ = encode(model, scale * dataset.x_test[:2000])
    plot_codes(left, np.clip(z, -limit, limit), dataset.y_test[:2000], limit, size=2)
    left.set(xlabel="", ylabel="", xticks=[], yticks=[])
    images = decode(model, pictures.manifold_codes(pictures.prior_quantiles(cells))).reshape(cells, cells, -1)
    right.imshow(pictures.tile(images[::-1]), cmap="Greys", vmin=0, vmax=1)
    right.set(xticks=[], yticks=[])


def draw_posterior(axes, decoder, image, joint, gaussians, equal=True, axis=AXIS, points=241):
    """The truth as two filled regions, with 86 % and 39 % of p(z|x), and Gaussians as ellipses of 2 and 1 sigma.

    joint (k, k): log p(x, z) of the image (pixels,) on the grid over `axis`, to find the place; it is drawn on a finer
    grid of its own. gaussians: [(z_mean, z_log_var, colour)]. `equal`: one scale for both axes.
    """
    mass = masses(joint)
    corners = [axis[np.argwhere(mass >= level_that_holds(mass, TWO_SIGMA))[:, ::-1]]]
    for z_mean, z_log_var, colour in gaussians:
        sigma = np.exp(np.asarray(z_log_var) / 2)
        for size in (2 * sigma, 4 * sigma):  # the diameters of 1 and 2 sigma
            axes.add_patch(patches.Ellipse(z_mean, *size, fill=False, edgecolor=colour, linewidth=2, zorder=3))
        corners.append(np.stack([z_mean - 2 * sigma, z_mean + 2 * sigma]))
    low, high = (getattr(np.concatenate(corners), end)(axis=0) for end in ("min", "max"))
    half = 0.6 * ((high - low).max() * np.ones(2) if equal else high - low) + 0.02
    z1, z2 = (np.linspace(middle - h, middle + h, points) for middle, h in zip((low + high) / 2, half, strict=True))
    mass = masses(log_joint(decoder, image[None], z1, z2)[0])
    levels = [level_that_holds(mass, share) for share in (TWO_SIGMA, ONE_SIGMA)]
    axes.contourf(z1, z2, mass, [*levels, mass.max()], colors=[LIGHT, GREY])
    axes.set(xlim=z1[[0, -1]], ylim=z2[[0, -1]], aspect="equal" if equal else "auto")
    axes.locator_params(nbins=3)


def keep(figure, dataset, name, colours=None):
    """Write a figure into figures/, for the head of a notebook; not in a short run, nor of other data."""
    if SMOKE or not dataset.full:
        return
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    small = PIL.Image.open(png).convert("RGB")
    if colours:  # fewer bytes; MAXCOVERAGE keeps colours of few pixels, as those of a legend
        small = small.quantize(colours, method=PIL.Image.Quantize.MAXCOVERAGE, dither=PIL.Image.Dither.NONE)
    small.save(ROOT / "figures" / name, optimize=True)
