"""The tables of benchmarks/README.md and docs/recipe.md as Markdown lines, each from its record: nothing is measured.

The programs in benchmarks/ print them, and the tests hold the pages against them.
"""

import re
import statistics
from itertools import product


def table(columns, rows):
    """A table's Markdown lines; rows: lists of text, a cell for each of the columns."""
    return [f"| {' | '.join(columns)} |", f"{'|---' * len(columns)}|", *(f"| {' | '.join(row)} |" for row in rows)]


# -- seeds.json --------------------------------------------------------------------------------------------------------

OURS = (0, 1, 2, 3, 4, 7, 11, 13)
SEEDS = {"default": OURS, "jax": OURS, "torch": (0, 1, 2)}  # of a run; of each other one:
FIVE = (0, 1, 2, 3, 4)
BACKENDS = {"default": "tensorflow", "jax": "jax", "torch": "torch"}  # of the default recipe
RUN_NAMES = {
    "default": "`python vae_mnist.py`, 30 epochs",
    "jax": "the same on JAX",
    "torch": "the same on PyTorch",
    "six": "`--epochs 6`",
    "author": "`--recipe author`, 50 epochs",
    "sample": "`--data sample`, 30 epochs",
    "all": "`python vae_mnist.py`, 30 epochs",
}


def spread_of_seeds(values):
    """The range of values and their mean, as the table shows them; nothing where there are none."""
    return f"{min(values):.1f} to {max(values):.1f} (mean {statistics.mean(values):.2f})" if values else ""


def seeds_table(results):
    """The table, as Markdown lines: the range over the seeds of each number, nats per image."""
    rows = []
    for name in (name for name in RUN_NAMES if name in results):
        held_out = [run["held_out"] for run in results[name]["runs"]]
        numbers = [[-numbers["elbo"] for numbers in held_out]]
        numbers += [[numbers[key] for numbers in held_out] for key in ("reconstruction_loss", "kl_loss")]
        numbers.append([run["evidence"]["exact"] for run in results[name]["runs"] if run["evidence"]])
        rows.append([RUN_NAMES[name], str(len(held_out)), *map(spread_of_seeds, numbers)])
    losses = ("loss = -ELBO", "reconstruction loss", "KL loss")
    return table(["run", "seeds", *losses, "log p(x), 1,000 images"], rows)


def pooled(results):
    """All runs of the default recipe, on each backend, as if they were one recipe's: what the README calls right."""
    return {"all": {"runs": [run for name in BACKENDS if name in results for run in results[name]["runs"]]}}


def seeds_tables(results):
    """Both tables, as Markdown lines."""
    return [*seeds_table(results), "", *seeds_table(pooled(results))]


# -- race.json ---------------------------------------------------------------------------------------------------------

TARGET_COLUMNS = {"total": ".0f", "test_loss": ".2f"}


def ratios(turns, rival_turns):
    """Seconds an epoch in units of a rival's in the same round, in words: the median over the rounds, and the range."""
    found = [mine["epoch"] / other["epoch"] for mine, other in zip(turns, rival_turns, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def race_tables(results):
    """The tables of benchmarks/README.md, as Markdown lines."""
    rows, fit = [], results["speed"]["Keras fit as it comes"]
    for name, turns in results["speed"].items():
        loss = "" if turns[0]["train_loss"] is None else f"{statistics.median(t['train_loss'] for t in turns):.1f}"
        rows.append([name, f"{statistics.median(t['epoch'] for t in turns):.2f}", ratios(turns, fit), loss])
    lines = table(["contestant", "seconds an epoch", "of Keras fit as it comes", "loss after 5 epochs"], rows)
    rows = [
        [name, *(f"{statistics.median(t[key] for t in turns):{form}}" for key, form in TARGET_COLUMNS.items())]
        for name, turns in results["to_target"].items()
    ]
    lines += ["", *table(["to the author's 150.44", "seconds, with compilation", "test loss"], rows), ""]
    images = {60_000 * int(copies): t for copies, t in results["images"].items()}
    lines += growth("images", images)
    (fewest, first), *_, (most, last) = images.items()
    further = 2**20 * (last["peak_mib"] - first["peak_mib"]) / (most - fewest)
    lines += ["", f"A further image takes {further:,.0f} bytes: 784 are its pixels.", ""]
    return lines + growth("batch", {int(batch): t for batch, t in results["batches"].items()})


def growth(what, turns):
    """How time and memory grow with a number; turns: {number: its turn}."""
    rows = [[f"{n:,}", f"{t['epoch']:.2f}", f"{t['peak_mib']:,.0f}"] for n, t in turns.items()]
    return table([what, "seconds an epoch", "peak memory, MiB"], rows)


# -- backends.json -----------------------------------------------------------------------------------------------------

BACKEND_NAMES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "PyTorch"}
WAYS = {  # name: (backend, devices in each process, processes)
    "TensorFlow, one device": ("tensorflow", 1, 1),
    "TensorFlow, two devices": ("tensorflow", 2, 1),
    "JAX, one device": ("jax", 1, 1),
    "JAX, two devices": ("jax", 2, 1),
    "JAX, two processes": ("jax", 1, 2),
    "PyTorch, one device": ("torch", 1, 1),
}


def backends_tables(results):
    """The tables of benchmarks/README.md, as Markdown lines."""
    rows = []
    for name in (name for name in WAYS if name in results["ways"]):
        runs = results["ways"][name]
        losses = [-run["held_out"]["elbo"] for run in runs]
        peak, before = max(run["peak_mib"] for run in runs), results["importing"][WAYS[name][0]]
        cells = [", ".join(f"{loss:.2f}" for loss in losses), f"{statistics.mean(losses):.2f}"]
        cells.append(f"{statistics.median(run['epoch'] for run in runs):.1f}")
        rows.append([name, *cells, f"{peak:,.0f} ({peak - before:,.0f} beyond importing)"])
    columns = ["loss = -ELBO, three seeds", "mean", "seconds an epoch", "peak memory, MiB"]
    lines = table(["backend, devices", *columns], rows)
    rows = [
        [BACKEND_NAMES[saved], *(f"{-held['elbo']:.3f} ± {held['standard_error']:.3f}" for held in by.values())]
        for saved, by in results["exchange"].items()
    ]
    return [*lines, "", *table(["saved on", *(f"loaded on {BACKEND_NAMES[n]}" for n in results["exchange"])], rows)]


# -- explorer.json -----------------------------------------------------------------------------------------------------

NAMED = 85  # steps after which one can name the new digits, by eye: it took 64 to 85


def explorer_table(record):
    """The table of benchmarks/README.md, as Markdown lines."""
    page, steps = record["page"], record.get("steps", ())
    painting, between = page["painting"], page["training"]["between_frames"]
    rows = {
        "size of the page, MB": f"{page['bytes'] / 1e6:.2f}",
        "seconds until it can be used": f"{page['usable_s']:.1f}",
        "seconds until the posterior is there": f"{page['posterior_s']:.1f}",
        "seconds until it is on its finest grid": f"{page['finest_grid_s']:.1f}",
        "a frame while painting, ms, median": f"{painting['median_ms']:.1f}",
        "a frame while painting, ms, 95th percentile": f"{painting['percentile_95_ms']:.1f}",
    }
    for one in steps:
        both = f"{one['kernel']['step_ms']:.1f}, {one['javascript']['step_ms']:.0f}"
        rows[f"a step from new weights, {one['browser']}: kernel, JavaScript, ms"] = both
    for one in steps:
        seconds = f"{one['kernel'][f'until_step_{NAMED}_s']:.1f}"
        rows[f"until the digits can be named, {one['browser']}: {NAMED} steps, s"] = seconds
    rows["from frame to frame while it trains, ms, median"] = f"{between['median_ms']:.1f}"
    rows["the same, 95th percentile"] = f"{between['percentile_95_ms']:.1f}"
    learning = record["learning"]
    for one in learning["page"]:
        rows[f"loss of new weights after {one['seconds']:.0f} s, nats"] = f"{one['loss']:.1f} ({one['steps']:,} steps)"
    of = f"{learning['script']['epochs']} epochs of `vae_mnist.py` on the page's {learning['images']:,} images"
    rows[f"loss after {of}, nats"] = f"{learning['script']['loss']:.1f}"
    rows["recording the replay, share of the training time"] = f"{100 * record['recording']['share']:.1f} %"
    return table(["what", "measured"], rows.items())


# -- recipe.json -------------------------------------------------------------------------------------------------------

NOTHING = "nothing: the default recipe"


def lost(losses, default):
    """What is lost, nats per image, seed by seed: the mean and its standard error over the seeds."""
    differences = [loss - best for loss, best in zip(losses, default, strict=True)]
    return statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5


def recipe_table(results):
    """The table of docs/recipe.md, as Markdown lines, nats per image."""
    columns = results["losses"]
    rows = [[NOTHING, *(f"loss {statistics.mean(losses[NOTHING]):.2f}" for losses in columns.values())]]
    for name in [name for name in columns["30 epochs"] if name != NOTHING]:
        rows.append([name, *("{:+.2f} ± {:.2f}".format(*lost(by[name], by[NOTHING])) for by in columns.values())])
    return table(["without", *columns], rows)


# -- zoo.json ----------------------------------------------------------------------------------------------------------

RIGHT, COLUMNS = "RIGHT", ("PyTorch", "JAX", "Keras")
LOUD = ("wrong", "look")


def outcome(said, names=(), also=(), says="", refused=""):
    """named, silent, or wrong (another fault's name, or a cause that does not fit), from what examine said."""
    if said and said[0][0] == "refused":
        return "named" if refused and re.search(refused, said[0][2]) else "wrong"
    named = [sentence for name, _, sentence in said if name in names]
    other = [name for name, severity, _ in said if severity in LOUD and name not in {*names, *also}]
    if other or (named and says and not any(re.search(says, sentence) for sentence in named)):
        return "wrong"
    return "named" if named else "silent"


def right_table(rows):
    """The right networks, as Markdown lines: their ELBO and KL over the seeds, and what was said of any."""
    rows, cells = [row for row in rows if row["framework"] == RIGHT], []
    for what in dict.fromkeys(row["what"] for row in rows):
        runs = [row for row in rows if row["what"] == what]
        names = sorted({f"{name} ({severity})" for run in runs for name, severity, _ in run["said"]})
        wrong = sum(run["outcome"] == "wrong" for run in runs)
        numbers = (lowest_to_highest(runs, name) for name in ("elbo", "kl_loss"))
        said = (", ".join(names) or "nothing") + (f"; {wrong} blamed" if wrong else "")
        cells.append([what, str(len(runs)), *numbers, said])
    blamed = sum(row["outcome"] == "wrong" for row in rows)
    lines = table(["right network", "seeds", "ELBO", "KL", "said of it"], cells)
    return [*lines, "", f"Of {len(rows)} right networks {blamed} were blamed."]


def lowest_to_highest(runs, name):
    """From the lowest to the highest of some runs."""
    values = [run[name] for run in runs if name in run]
    if not values:
        return ""
    return f"{min(values):.1f}" + (f" to {max(values):.1f}" if len(values) > 1 else "")


def fault_table(rows):
    """The faults, as Markdown lines; a star where a fault leaves little trace."""
    rows, cells = [row for row in rows if row["framework"] != RIGHT], []
    columns = [column for column in product(COLUMNS, (2, 20)) if any(column_of(row) == column for row in rows)]
    for what in dict.fromkeys(row["what"] for row in rows):
        here = {column_of(row): row["outcome"] + ("" if row["trace"] else " *") for row in rows if row["what"] == what}
        cells.append([what, *(here.get(column, "") for column in columns)])
    lines = table(["fault", *(f"{framework}, {latents}" for framework, latents in columns)], cells)
    seen, unseen = ([row["outcome"] for row in rows if row["trace"] == trace] for trace in (True, False))
    counted = ", ".join(f"{seen.count(word)} {word}" for word in ("named", "silent", "wrong"))
    lines += ["", f"Of {len(seen)} that can be seen: {counted}."]
    counted = ", ".join(f"{unseen.count(word)} {word}" for word in ("named", "silent", "wrong"))
    return [*lines, f"Of {len(unseen)} that leave little trace (*): {counted}."]


def column_of(row):
    return row["framework"], row["latents"]
