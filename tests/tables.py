"""The tables of benchmarks/README.md and docs/recipe.md as Markdown lines, each from its record: nothing is measured.

The programs in benchmarks/ print them, and the tests hold the pages against them.
"""

import re
import statistics
from itertools import product

# -- seeds.json --------------------------------------------------------------------------------------------------------

SEEDS = {"default": (0, 1, 2, 3, 4, 7, 11, 13), "torch": (0, 1, 2)}  # of a run; of each other one:
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
    if not values:
        return ""
    return f"{min(values):.1f} to {max(values):.1f} (mean {sum(values) / len(values):.2f})"


def seeds_table(results):
    """The table, as Markdown lines: the range over the seeds of each number, nats per image."""
    lines = [
        "| run | seeds | loss = -ELBO | reconstruction loss | KL loss | log p(x), 1,000 images |",
        "|---|---|---|---|---|---|",
    ]
    for name in (name for name in RUN_NAMES if name in results):
        held_out = [run["held_out"] for run in results[name]["runs"]]
        cells = [str(len(held_out)), spread_of_seeds([-numbers["elbo"] for numbers in held_out])]
        cells += [spread_of_seeds([numbers[key] for numbers in held_out]) for key in ("reconstruction_loss", "kl_loss")]
        cells.append(spread_of_seeds([run["evidence"]["exact"] for run in results[name]["runs"] if run["evidence"]]))
        lines.append(f"| {RUN_NAMES[name]} | {' | '.join(cells)} |")
    return lines


def pooled(results):
    """All runs of the default recipe, on each backend, as if they were one recipe's: what the README calls right."""
    return {"all": {"runs": [run for name in BACKENDS if name in results for run in results[name]["runs"]]}}


def seeds_tables(results):
    """Both tables, as Markdown lines."""
    return [*seeds_table(results), "", *seeds_table(pooled(results))]


# -- race.json ---------------------------------------------------------------------------------------------------------


def ratios(turns, rival_turns):
    """Seconds an epoch in units of a rival's in the same round, in words: the median over the rounds, and the range."""
    found = [mine["epoch"] / other["epoch"] for mine, other in zip(turns, rival_turns, strict=True)]
    return f"{statistics.median(found):.2f} ({min(found):.2f} to {max(found):.2f})"


def race_tables(results):
    """The tables of benchmarks/README.md, as Markdown lines."""
    lines = ["| contestant | seconds an epoch | of Keras fit as it comes | loss after 5 epochs |", "|---|---|---|---|"]
    for name, turns in results["speed"].items():
        seconds = statistics.median(t["epoch"] for t in turns)
        loss = "" if turns[0]["train_loss"] is None else f"{statistics.median(t['train_loss'] for t in turns):.1f}"
        lines.append(
            f"| {name} | {seconds:.2f} | {ratios(turns, results['speed']['Keras fit as it comes'])} | {loss} |"
        )
    lines += ["", "| to the author's 150.44 | seconds, with compilation | test loss |", "|---|---|---|"]
    for name, turns in results["to_target"].items():
        seconds = statistics.median(t["total"] for t in turns)
        lines.append(f"| {name} | {seconds:.0f} | {statistics.median(t['test_loss'] for t in turns):.2f} |")
    lines += ["", "| images | seconds an epoch | peak memory, MiB |", "|---|---|---|"]
    for copies, t in results["images"].items():
        lines.append(f"| {60_000 * int(copies):,} | {t['epoch']:.2f} | {t['peak_mib']:,.0f} |")
    sizes = [60_000 * int(copies) for copies in results["images"]]
    peaks = [2**20 * t["peak_mib"] for t in results["images"].values()]
    further = (peaks[-1] - peaks[0]) / (sizes[-1] - sizes[0])
    lines += ["", f"A further image takes {further:,.0f} bytes: 784 are its pixels."]
    lines += ["", "| batch | seconds an epoch | peak memory, MiB |", "|---|---|---|"]
    lines += [f"| {batch} | {t['epoch']:.2f} | {t['peak_mib']:,.0f} |" for batch, t in results["batches"].items()]
    return lines


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
    lines = ["| backend, devices | loss = -ELBO, three seeds | mean | seconds an epoch | peak memory, MiB |"]
    lines += ["|---|---|---|---|---|"]
    for name in (name for name in WAYS if name in results["ways"]):
        runs = results["ways"][name]
        losses = [-run["held_out"]["elbo"] for run in runs]
        seconds = statistics.median(run["epoch"] for run in runs)
        peak, before = max(run["peak_mib"] for run in runs), results["importing"][WAYS[name][0]]
        lines.append(
            f"| {name} | {', '.join(f'{loss:.2f}' for loss in losses)} | {statistics.mean(losses):.2f}"
            f" | {seconds:.1f} | {peak:,.0f} ({peak - before:,.0f} beyond importing) |"
        )
    exchanged = results["exchange"]
    lines += ["", f"| saved on | {' | '.join(f'loaded on {BACKEND_NAMES[name]}' for name in exchanged)} |"]
    lines += ["|---" * (1 + len(exchanged)) + "|"]
    for saved, by in exchanged.items():
        cells = [f"{-held['elbo']:.3f} ± {held['standard_error']:.3f}" for held in by.values()]
        lines.append(f"| {BACKEND_NAMES[saved]} | {' | '.join(cells)} |")
    return lines


# -- explorer.json -----------------------------------------------------------------------------------------------------

NAMED = 85  # steps after which one can name the new digits, by eye: it took 64 to 85


def explorer_table(record):
    """The table of benchmarks/README.md, as Markdown lines."""
    page = record["page"]
    return [
        "| what | measured |",
        "|---|---|",
        f"| size of the page, MB | {page['bytes'] / 1e6:.2f} |",
        f"| seconds until it can be used | {page['usable_s']:.1f} |",
        f"| seconds until the posterior is there | {page['posterior_s']:.1f} |",
        f"| seconds until it is on its finest grid | {page['finest_grid_s']:.1f} |",
        f"| a frame while painting, ms, median | {page['painting']['median_ms']:.1f} |",
        f"| a frame while painting, ms, 95th percentile | {page['painting']['percentile_95_ms']:.1f} |",
        *(
            f"| a step from new weights, {one['browser']}: kernel, JavaScript, ms"
            f" | {one['kernel']['step_ms']:.1f}, {one['javascript']['step_ms']:.0f} |"
            for one in record.get("steps", ())
        ),
        *(
            f"| until the digits can be named, {one['browser']}: {NAMED} steps, s"
            f" | {one['kernel'][f'until_step_{NAMED}_s']:.1f} |"
            for one in record.get("steps", ())
        ),
        f"| from frame to frame while it trains, ms, median | {page['training']['between_frames']['median_ms']:.1f} |",
        f"| the same, 95th percentile | {page['training']['between_frames']['percentile_95_ms']:.1f} |",
        f"| recording the replay, share of the training time | {100 * record['recording']['share']:.1f} % |",
    ]


# -- recipe.json -------------------------------------------------------------------------------------------------------

NOTHING = "nothing: the default recipe"


def lost(losses, default):
    """What is lost, nats per image, seed by seed: the mean and its standard error over the seeds."""
    differences = [loss - best for loss, best in zip(losses, default, strict=True)]
    return statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5


def recipe_table(results):
    """The table of docs/recipe.md, as Markdown lines, nats per image."""
    columns = results["losses"]
    lines = [f"| without | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|"]
    cells = [f"loss {statistics.mean(losses[NOTHING]):.2f}" for losses in columns.values()]
    lines.append(f"| {NOTHING} | {' | '.join(cells)} |")
    for name in [name for name in columns["30 epochs"] if name != NOTHING]:
        cells = ["{:+.2f} ± {:.2f}".format(*lost(losses[name], losses[NOTHING])) for losses in columns.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


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
    rows = [row for row in rows if row["framework"] == RIGHT]
    lines = ["| right network | seeds | ELBO | KL | said of it |", "|---|---|---|---|---|"]
    for what in dict.fromkeys(row["what"] for row in rows):
        runs = [row for row in rows if row["what"] == what]
        names = sorted({f"{name} ({severity})" for run in runs for name, severity, _ in run["said"]})
        wrong = sum(run["outcome"] == "wrong" for run in runs)
        cells = [what, str(len(runs)), *(lowest_to_highest(runs, name) for name in ("elbo", "kl_loss"))]
        cells.append((", ".join(names) or "nothing") + (f"; {wrong} blamed" if wrong else ""))
        lines.append(f"| {' | '.join(cells)} |")
    blamed = sum(row["outcome"] == "wrong" for row in rows)
    return [*lines, "", f"Of {len(rows)} right networks {blamed} were blamed."]


def lowest_to_highest(runs, name):
    """From the lowest to the highest of some runs."""
    values = [run[name] for run in runs if name in run]
    if not values:
        return ""
    return f"{min(values):.1f}" + (f" to {max(values):.1f}" if len(values) > 1 else "")


def fault_table(rows):
    """The faults, as Markdown lines; a star where a fault leaves little trace."""
    rows = [row for row in rows if row["framework"] != RIGHT]
    columns = [column for column in product(COLUMNS, (2, 20)) if any(column_of(row) == column for row in rows)]
    lines = [f"| fault | {' | '.join(f'{framework}, {latents}' for framework, latents in columns)} |"]
    lines.append("|---" * (1 + len(columns)) + "|")
    for what in dict.fromkeys(row["what"] for row in rows):
        here = {column_of(row): row["outcome"] + ("" if row["trace"] else " *") for row in rows if row["what"] == what}
        lines.append(f"| {what} | {' | '.join(here.get(column, '') for column in columns)} |")
    seen, unseen = ([row["outcome"] for row in rows if row["trace"] == trace] for trace in (True, False))
    counted = ", ".join(f"{seen.count(word)} {word}" for word in ("named", "silent", "wrong"))
    lines += ["", f"Of {len(seen)} that can be seen: {counted}."]
    return [*lines, f"Of {len(unseen)} that leave little trace (*): {unseen.count('wrong')} wrong."]


def column_of(row):
    return row["framework"], row["latents"]
