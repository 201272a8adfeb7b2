"""Ctrl-C and SIGTERM, in another process, as a user sends them."""

import json
import os
import re
import signal

import keras
import pytest
from conftest import Command

from seevae.basics import in_thread
from seevae.run import stopping

LONG = "--epochs 100000 --batch-size 50 --hidden-dim 8 --evidence-images 0 --output run"
FILES = ["explorer.html", "metrics.json", "replay.npz", "unfinished.npz", "vae.keras"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.slow
def test_in_training_what_was_learned_is_evaluated_saved_and_marked(number, status, small_npz, tmp_path):
    command = Command(f"{LONG} --data {small_npz}", tmp_path)
    command.wait_for("Epoch 3/")
    command.send(number)
    returned, out, err = command.end()
    assert returned == status
    record = json.loads((tmp_path / "run" / "metrics.json").read_text())
    said = re.search(r"stopped after epoch (\d+) of 100000", record["stopped"])
    assert int(said[1]) == record["epochs"] == len(record["history"]["loss"]) >= 2
    assert said[0] in out, "the summary says it"
    assert "stopping after this step" in err
    assert re.search(r"vae_mnist: stopped early; all files of this run are in run\.\n$", err)
    assert said[0] in (tmp_path / "run" / "explorer.html").read_text()
    assert set(FILES) <= {path.name for path in (tmp_path / "run").iterdir()}

    if number == signal.SIGINT:
        command = Command(f"{LONG} --data {small_npz} --resume", tmp_path)
        command.wait_for(f"Epoch {record['epochs'] + 1}/100000")
        command.kill()
        command.end()


# Something that takes a minute, to be put at the place that a test names.
WAIT = """
import time
def wait(*arguments, **options):
    print('waiting', flush=True)
    for _ in range(600):  # in naps: a signal that another thread takes does not end the main thread's sleep
        time.sleep(0.1)
"""

RESUME_1 = "--resume goes on after epoch 1 of 1"


@pytest.mark.slow
def test_a_second_signal_leaves_at_once(small_npz, tmp_path):
    before = WAIT + "from seevae.results import pictures; pictures.draw = wait"
    command = Command(f"{LONG} --data {small_npz}", tmp_path, before)
    command.wait_for("Epoch 3/")
    command.send(signal.SIGINT)
    command.wait_for("waiting")
    command.send(signal.SIGINT)
    returned, _, err = command.end()
    assert returned == 130
    assert re.search(
        r"vae_mnist: stopped; --resume goes on after epoch \d+ of 100000, which is in run.unfinished\.npz\.\n$", err
    )
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["unfinished.npz"]


@pytest.mark.parametrize(
    ("place", "number", "left"),
    [
        ("from seevae.images import data; data.load_data = wait", signal.SIGTERM, "nothing was written"),
        ("from seevae.results import evidence; evidence.evaluate = wait", signal.SIGINT, RESUME_1),
        ("from seevae.run import files; files.AllOrNothing.replace = wait", signal.SIGTERM, RESUME_1),
        ("from seevae.run import console; console.summary = wait", signal.SIGTERM, "all files of this run are in run"),
        ("import atexit; atexit.register(wait)", signal.SIGTERM, "all files of this run are in run"),
    ],
    ids=["loading", "evaluating", "saving", "summing up", "leaving"],
)
@pytest.mark.slow
def test_elsewhere_it_ends_at_once_with_one_sentence(place, number, left, small_npz, tmp_path):
    command = Command(f"--data {small_npz} --epochs 1 --hidden-dim 8 --output run", tmp_path, WAIT + place)
    command.wait_for("waiting")
    command.send(number)
    returned, _, err = command.end()
    assert returned == 128 + number
    assert re.fullmatch(rf"\nvae_mnist: stopped; .*{re.escape(left)}.*\.\n", err)


def test_while_it_imports_it_ends_at_once_with_one_sentence(tmp_path):
    """In the midst of the backend's import, whose own lines are hidden."""
    slow = f"""
class Finder:
    find_spec = staticmethod(lambda name, *rest: wait() if name == {keras.backend.backend()!r} else None)
sys.meta_path.insert(0, Finder)
"""
    command = Command("--data sample", tmp_path, WAIT + slow, own_process=True)
    command.wait_for("waiting")
    command.send(signal.SIGINT)
    returned, _, err = command.end()
    assert (returned, err) == (130, "\nvae_mnist: stopped; nothing was written.\n")


@pytest.mark.slow
def test_a_signal_waits_for_the_end_of_the_moves(small_npz, tmp_path):
    """Each move takes a fifth of a second here; other threads of the process are there to take the signal."""
    slow = """
import os, time
replace = os.replace
def slowly(source, target):
    if ".vae_mnist" in str(source) and "journal" not in str(source):
        print("moving", flush=True)
        time.sleep(0.2)
    replace(source, target)
os.replace = slowly
"""
    command = Command(f"--data {small_npz} --epochs 1 --hidden-dim 8 --evidence-images 0 --output run", tmp_path, slow)
    command.wait_for("moving")
    command.send(signal.SIGINT)
    returned, _, err = command.end()
    assert (returned, err) == (130, "\nvae_mnist: stopped; all files of this run are in run.\n")
    assert not (tmp_path / "run" / ".vae_mnist").exists()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 1


def test_a_signal_that_the_process_was_told_to_ignore_is_ignored(run_python):
    """So a shell starts a program in the background: its Ctrl-C is for another."""
    program = "import signal; signal.signal(2, signal.SIG_IGN); from seevae.run import stopping\n"
    program += "with stopping.Signals().answered(): signal.raise_signal(2); print('goes on')"
    assert run_python("-c", program).stdout == "goes on\n"


def test_main_in_a_thread_leaves_no_stream_open(monkeypatch):
    signals, closed, close = stopping.Signals(), [], os.close
    monkeypatch.setattr(stopping.os, "close", lambda descriptor: closed.append(descriptor) or close(descriptor))

    def use():
        with signals.answered():
            pass

    assert in_thread(use, 60) is None
    assert signals.stderr in closed


@pytest.mark.slow
def test_an_error_after_the_training_says_where_the_model_is(small_npz, tmp_path):
    fails = """
from seevae.basics import UserError
from seevae.results import pictures
def fail(*arguments):
    raise UserError("The pictures failed.")
pictures.draw = fail
"""
    options = f"--data {small_npz} --epochs 2 --batch-size 50 --hidden-dim 8 --evidence-images 0 --output run"
    returned, _, err = Command(options, tmp_path, fails).end()
    where = "What was learned is in run/unfinished.npz, epoch 2 of 2: --resume goes on from there."
    assert (returned, err) == (2, f"vae_mnist: The pictures failed. {where}\n")
    returned, out, err = Command(f"{options} --resume", tmp_path).end()
    assert (returned, err) == (0, "")
    assert "Epoch" not in out, "no epoch is trained twice"
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 2
    assert not (tmp_path / "run" / "unfinished.npz").exists()
    returned, _, err = Command(f"{options} --resume", tmp_path).end()
    assert returned == 2
    assert err == "vae_mnist: The run in run is finished, there is nothing to resume: leave --resume out.\n"
