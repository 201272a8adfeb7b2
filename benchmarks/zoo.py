"""`examine` before right networks and before broken ones: is it silent where it should be, and does it name the fault?

    pip install torch flax optax pythae; python benchmarks/zoo.py [--data FILE.npz] [--only RIGHT PyTorch JAX Keras]

Right networks: those that others published (pythae's own code; the rest rebuilt in our words, zoo_right.py), with three
seeds. Faults: each as people make it (zoo_faults.py), in three frameworks, with 2 and with 20 latents. All see the full
MNIST and are judged on its first 500 held-out images by the quick part of examine. Weights stay in --kept.
Writes benchmarks/zoo.json, and prints the tables (with --tables, only those). With --missing it goes on where it ended.
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
from itertools import product
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent), str(HERE.parent / "tests")]  # behind PYTHONPATH, which may hold another version to judge
from tables import RIGHT, fault_table, outcome, right_table

PATH = HERE / "zoo.json"
BACKENDS = {"RIGHT": "tensorflow", "PyTorch": "torch", "JAX": "jax", "Keras": "tensorflow"}


def slug(name):
    return re.sub(r"[^a-z0-9]+", "-", name.lower())


# -- One network -------------------------------------------------------------------------------------------------------


def said_of(encode, decode, x, options):
    """What examine's quick part says: [name, severity, sentence] of each finding; a refusal is one named "refused".

    And its ELBO and KL, nats per image, rounded; none where it refused.
    """
    from seevae import UserError, examine

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            record = examine(encode, decode, x, folder=None, **options)
    except UserError as error:
        return [["refused", "wrong", str(error)]], {}
    except Exception as error:
        traceback.print_exc()
        return [["traceback", "wrong", f"{type(error).__name__}: {error}"]], {}
    details = zip(record["finding_details"], record["findings"], strict=True)
    numbers = {name: round(record["held_out"][name], 1) for name in ("elbo", "kl_loss")}
    return [[one["name"], one["severity"], sentence] for one, sentence in details], numbers


def fault_runs(framework, args, x_train, x_test, known):
    """Each fault with each number of latents, but for those known: rows of the record, one at a time."""
    from zoo_faults import BOTH, FAULTS
    from zoo_networks import Change, trained

    def made(change, latents, seed=0, name="right"):
        network = trained(framework, latents, Change(**change), args.kept, slug(name), x_train, seed)
        other = lambda: made({}, latents, seed + 1)  # noqa: E731
        return SimpleNamespace(network=network, encode=network.encode, decode=network.decode, o=network.o, other=other)

    for fault, latents in product(FAULTS, BOTH):
        if re.search(args.match, fault.what) and (fault.what, framework, latents, None) not in known:
            name = fault.what if fault.change else "right"
            start = time.perf_counter()
            encode, decode = fault.wrap(made(fault.change, latents, name=name))
            ready = time.perf_counter()
            said, numbers = said_of(encode, decode, fault.x(x_test), fault.options(x_train))
            judged = outcome(said, fault.names, fault.also, fault.says, fault.refused)
            row = {"what": fault.what, "framework": framework, "latents": latents, "outcome": judged}
            row |= {
                "trace": latents in fault.trace,
                "said": said,
                **numbers,
                "seconds": round(time.perf_counter() - ready, 1),
            }
            print(f"({ready - start:.0f} s)", file=sys.stderr, end=" ")
            yield row


def right_runs(args, x_train, x_test, known):
    """Each right network with each seed, but for those known: rows of the record."""
    from zoo_right import NETWORKS

    there = {}
    for name, (make, packages, names) in NETWORKS.items():
        if missing := [package for package in packages if importlib.util.find_spec(package) is None]:
            print(f"{name} is left out: {', '.join(missing)} is not installed.", file=sys.stderr)
        elif re.search(args.match, name):
            there[name] = make, names
    for seed, (name, (make, names)) in product(range(3), there.items()):
        if (name, RIGHT, None, seed) in known:
            continue
        start = time.perf_counter()
        encode, decode, given = make(args.kept / RIGHT / f"{slug(name)}-{seed}.npz", x_train, seed)
        ready = time.perf_counter()
        x, options = given(x_test)
        said, numbers = said_of(encode, decode, x, options)
        judged = "wrong" if outcome(said, names) == "wrong" else "silent"
        row = {"what": name, "framework": RIGHT, "seed": seed, "outcome": judged, "said": said}
        print(f"({ready - start:.0f} s)", file=sys.stderr, end=" ")
        yield row | numbers | {"seconds": round(time.perf_counter() - ready, 1)}


def work(args):
    """All networks of one framework, in this process; prints a line of JSON for each."""
    import numpy as np

    from seevae import load_data

    np.random.seed(0)
    with contextlib.suppress(ImportError):
        import torch

        torch.set_num_threads(1)
    dataset = load_data(args.data)
    x_train, x_test = np.asarray(dataset.x_train[:]), np.asarray(dataset.x_test[:500])
    rows = right_runs if args.work == RIGHT else lambda *given: fault_runs(args.work, *given)
    known = {key(row) for row in recorded(args.record)} if args.missing else ()
    for row in rows(args, x_train, x_test, known):
        print(json.dumps(row), flush=True)


# -- All of them -------------------------------------------------------------------------------------------------------


def key(row):
    return tuple(row.get(name) for name in ("what", "framework", "latents", "seed"))


def recorded(path):
    return json.loads(path.read_text()) if path.exists() else []


def main():
    """Judge the chosen networks, keep the results of the others, and print what differs from the record before."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="mnist", help="the full MNIST, as vae_mnist.py takes it")
    parser.add_argument("--only", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--match", default="", help="only networks whose name matches this")
    parser.add_argument("--kept", type=Path, default=Path.home() / ".cache" / "seevae-zoo", help="where weights stay")
    parser.add_argument("--missing", action="store_true", help="only networks that the record does not have")
    parser.add_argument("--tables", action="store_true", help="only print the tables of the recorded results")
    parser.add_argument("--record", type=Path, default=PATH)
    parser.add_argument("--work", choices=BACKENDS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args)
        return
    rows = {key(row): row for row in recorded(args.record)}
    for name in [] if args.tables else args.only:
        command = [sys.executable, __file__, "--work", name, "--match", args.match, *["--missing"] * args.missing]
        command += ["--data", args.data, "--kept", args.kept, "--record", args.record]
        environment = os.environ | {"KERAS_BACKEND": BACKENDS[name], "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
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
    print("\n".join([*right_table(rows.values()), "", *fault_table(rows.values())]))


if __name__ == "__main__":
    main()
