"""`examine` before right networks and before broken ones: is it silent where it should be, and does it name the fault?

    pip install torch flax optax pythae; python benchmarks/zoo.py [--data FILE.npz] [--only RIGHT PyTorch JAX Keras]

Right networks: those that others published (pythae's own code; the rest rebuilt in our words, zoo_right.py), with three
seeds. Faults: each as people make it (zoo_faults.py), in three frameworks, with 2 and with 20 latents. All see the full
MNIST and are judged on its first 1,000 held-out images by the quick part of examine. Weights stay in --kept.
Writes benchmarks/zoo.json, and prints the tables (with --tables, only those).
"""

import argparse
import contextlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path[1:1] = [os.environ.get("SEEVAE", str(HERE.parent)), str(HERE)]
PATH = HERE / "zoo.json"
BACKENDS = {"RIGHT": "tensorflow", "PyTorch": "torch", "JAX": "jax", "Keras": "tensorflow"}
RIGHT = "RIGHT"
LOUD = ("wrong", "look")


def slug(name):
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


# -- One network -------------------------------------------------------------------------------------------------------


def said_of(encode, decode, x, options):
    """What examine's quick part says: [name, severity, sentence] of each finding; a refusal is one named "refused"."""
    from seevae import UserError, examine

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            record = examine(encode, decode, x, folder=None, **options)
    except UserError as error:
        return [["refused", "wrong", str(error)]]
    except Exception as error:
        traceback.print_exc()
        return [["traceback", "wrong", f"{type(error).__name__}: {error}"]]
    details = zip(record["finding_details"], record["findings"], strict=True)
    return [[one["name"], one["severity"], sentence] for one, sentence in details]


def outcome(said, names=(), also=(), says="", refused=""):
    """named, silent, or wrong (another fault's name, or a cause that does not fit), from what examine said."""
    if said and said[0][0] == "refused":
        return "named" if refused and re.search(refused, said[0][2]) else "wrong"
    named = [sentence for name, _, sentence in said if name in names]
    other = [name for name, severity, _ in said if severity in LOUD and name not in {*names, *also}]
    if other or (named and says and not any(re.search(says, sentence) for sentence in named)):
        return "wrong"
    return "named" if named else "silent"


def fault_runs(framework, args, x_train, x_test):
    """Each fault with each number of latents: rows of the record, one at a time."""
    from zoo_faults import BOTH, FAULTS
    from zoo_networks import Change, trained

    def made(change, latents, seed=0, name="right"):
        network = trained(framework, latents, Change(**change), args.kept, slug(name), x_train, seed)
        other = lambda: made({}, latents, seed + 1)  # noqa: E731
        return SimpleNamespace(network=network, encode=network.encode, decode=network.decode, o=network.o, other=other)

    for fault in FAULTS:
        for latents in BOTH if args.match in fault.what else ():
            name = fault.what if fault.change else "right"
            start = time.perf_counter()
            encode, decode = fault.wrap(made(fault.change, latents, name=name))
            ready = time.perf_counter()
            said = said_of(encode, decode, fault.x(x_test), fault.options(x_train))
            judged = outcome(said, fault.names, fault.also, fault.says, fault.refused)
            row = {"what": fault.what, "framework": framework, "latents": latents, "outcome": judged}
            row |= {"trace": latents in fault.trace, "said": said, "seconds": round(time.perf_counter() - ready, 1)}
            print(f"({ready - start:.0f} s)", file=sys.stderr, end=" ")
            yield row


def right_runs(args, x_train, x_test):
    """Each right network with each seed: rows of the record."""
    from zoo_right import NETWORKS

    for name, (make, packages, names) in NETWORKS.items():
        if args.match not in name:
            continue
        if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
            print(f"{name} is left out: {', '.join(missing)} is not installed.", file=sys.stderr)
            continue
        for seed in range(3):
            start = time.perf_counter()
            encode, decode, given = make(args.kept / RIGHT / f"{slug(name)}-{seed}.npz", x_train, seed)
            ready = time.perf_counter()
            x, options = given(x_test)
            said = said_of(encode, decode, x, options)
            judged = {"silent": "silent", "named": "silent"}.get(outcome(said, names), "wrong")
            row = {"what": name, "framework": RIGHT, "seed": seed, "outcome": judged, "said": said}
            print(f"({ready - start:.0f} s)", file=sys.stderr, end=" ")
            yield row | {"seconds": round(time.perf_counter() - ready, 1)}


def work(args):
    """All networks of one framework, in this process; prints a line of JSON for each."""
    import numpy as np

    from seevae import load_data

    np.random.seed(0)
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)
    dataset = load_data(args.data)
    x_train, x_test = np.asarray(dataset.x_train[:]), np.asarray(dataset.x_test[:1000])
    rows = right_runs if args.work == RIGHT else lambda *given: fault_runs(args.work, *given)
    for row in rows(args, x_train, x_test):
        print(json.dumps(row), flush=True)


# -- All of them -------------------------------------------------------------------------------------------------------


def tables(rows):
    """The two tables, as Markdown lines."""
    lines = ["| right network | seeds | said of it |", "|---|---|---|"]
    for what in dict.fromkeys(row["what"] for row in rows if row["framework"] == RIGHT):
        runs = [row for row in rows if row["what"] == what and row["framework"] == RIGHT]
        names = sorted({f"{name} ({severity})" for run in runs for name, severity, _ in run["said"]})
        wrong = sum(run["outcome"] == "wrong" for run in runs)
        lines.append(f"| {what} | {len(runs)} | {', '.join(names) or 'nothing'}{f'; {wrong} WRONG' if wrong else ''} |")
    columns = [(framework, latents) for framework in ("PyTorch", "JAX", "Keras") for latents in (2, 20)]
    heads = " | ".join(f"{framework}, {latents}" for framework, latents in columns)
    lines += ["", f"| fault | {heads} |", "|---|" + "---|" * len(columns)]
    broken = [row for row in rows if row["framework"] != RIGHT]
    for what in dict.fromkeys(row["what"] for row in broken):
        cells = []
        for framework, latents in columns:
            here = [r for r in broken if (r["what"], r["framework"], r["latents"]) == (what, framework, latents)]
            cells.append(" ".join(r["outcome"] + ("" if r["trace"] else " *") for r in here))
        lines.append(f"| {what} | {' | '.join(cells)} |")
    seen = [row for row in broken if row["trace"]]
    named, wrong = (sum(row["outcome"] == word for row in seen) for word in ("named", "wrong"))
    silent = len(seen) - named - wrong
    lines += ["", f"Of {len(seen)} faults that can be seen {named} named, {wrong} wrong, {silent} silent."]
    unseen = [row["outcome"] for row in broken if not row["trace"]]
    lines += [f"Of {len(unseen)} that leave little trace (*): {unseen.count('wrong')} wrong."]
    alarms = [row for row in rows if row["framework"] == RIGHT]
    lines += [f"Of {len(alarms)} right networks {sum(r['outcome'] == 'wrong' for r in alarms)} blamed."]
    return lines


def key(row):
    return tuple(row.get(name) for name in ("what", "framework", "latents", "seed"))


def main():
    """Judge the chosen networks, keep the results of the others, and print what differs from the record before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--only", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--match", default="", help="only networks whose name holds this")
    parser.add_argument("--kept", type=Path, default=Path.home() / ".cache" / "seevae-zoo", help="where weights stay")
    parser.add_argument("--tables", action="store_true", help="only print the tables of the recorded results")
    parser.add_argument("--record", type=Path, default=PATH)
    parser.add_argument("--work", choices=BACKENDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args)
        return
    rows = {key(row): row for row in json.loads(args.record.read_text())} if args.record.exists() else {}
    for name in [] if args.tables else args.only:
        command = [sys.executable, __file__, "--work", name, "--data", args.data, "--kept", args.kept]
        environment = os.environ | {"KERAS_BACKEND": BACKENDS[name], "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*command, "--match", args.match], env=environment, stdout=subprocess.PIPE, text=True
        )
        for line in process.stdout:
            row = json.loads(line)
            rows[key(row)] = row
            print(
                row["outcome"].upper(),
                *filter(None, key(row)),
                *(f"\n    {s[0]}: {s[2]}" for s in row["said"]),
                flush=True,
            )
            args.record.write_text(json.dumps(list(rows.values()), indent=1) + "\n")
        if process.wait():
            sys.exit(f"{name} ended with status {process.returncode}.")
    print("\n".join(tables(rows.values())))


if __name__ == "__main__":
    main()
