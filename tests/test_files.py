"""Files that change together: all of them or none, whatever happens when. Of what is in them, nothing is known."""

import errno
import itertools
import json
import os
from pathlib import Path

import pytest

from seevae.run import files
from seevae.run.files import AllOrNothing, write_whole

NAMES = ("a.txt", "b.txt", "c.txt", "d.txt")
OLD = {"a.txt": "old a", "b.txt": "old b", "c.txt": "old c"}
NEW = {"a.txt": "new a", "b.txt": "new b", "d.txt": "new d"}
GONE = ["c.txt"]
JOURNAL = json.dumps({"files": [*NEW], "gone": GONE})


@pytest.fixture
def place(tmp_path):
    """A folder with earlier files, and the user's own."""
    place = tmp_path / "place"
    place.mkdir()
    put_old(place)
    return place


def put_old(place, files=OLD):
    """Leave in a folder the earlier files, {name: text}, and no other but the user's own."""
    for path in place.iterdir():
        path.unlink()
    for name, text in (files | {"own.txt": "own"}).items():
        (place / name).write_text(text)


def left(folder, **texts):
    """Leave the folder in which a killed process was writing; texts: file, without .txt, and what is in it."""
    (folder / ".vae_mnist").mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / ".vae_mnist" / f"{name}.txt").write_text(text)
    return folder / ".vae_mnist"


def contents(place):
    found = {path.name: path.read_text() for path in place.iterdir()}
    assert found.pop("own.txt") == "own"
    return found


def replace(place):
    writers = {name: lambda path, text=text: path.write_text(text) for name, text in NEW.items()}
    AllOrNothing(place, NAMES).replace(writers, GONE)


def settle(place):
    AllOrNothing(place, NAMES).settle()
    return contents(place)


def test_new_files_take_the_place_of_the_old_and_what_goes_is_gone(place):
    replace(place)
    assert contents(place) == NEW


# For number after number: a process replaces files as above in the folder argv[1] and is killed before the call of that
# number of a function of os. Prints what the next start makes of the folder each time, as JSON: {function: [files]}.
KILLED = """
import itertools, json, os, signal, sys
from pathlib import Path
import test_files
place, seen = Path(sys.argv[1]), {"replace": [], "unlink": []}
for name in seen:
    function = getattr(os, name)
    for number in itertools.count():
        test_files.put_old(place)
        if (child := os.fork()) == 0:
            counter = itertools.count()
            def killed(*arguments, **options):
                if next(counter) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*arguments, **options)
            setattr(os, name, killed)
            test_files.replace(place)
            os._exit(0)
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            break
        seen[name].append(test_files.settle(place))
print(json.dumps(seen))
"""


def test_a_kill_before_any_step_leaves_old_or_new_after_the_next_start(place, run_python):
    """Before the journal is there, it undoes; later, it finishes."""
    done = run_python("-c", KILLED, place, own_process=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "replace": [OLD] + [NEW] * (len(OLD) + len(NEW)),  # the journal, each file that goes, each that comes
        "unlink": [NEW] * (1 + len(OLD)),  # the journal, and the old files
    }


@pytest.mark.parametrize("function", ["fsync", "replace", "mkdir"])
def test_whatever_the_disk_refuses_the_old_files_are_whole(function, place, monkeypatch):
    """Each call in turn fails, as on a full disk."""
    real, refused = getattr(os, function), 0
    for number in itertools.count():
        counter = itertools.count()

        def full(*arguments, counter=counter, number=number, **options):
            if next(counter) == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments, **options)

        put_old(place)
        monkeypatch.setattr(os, function, full)
        try:
            replace(place)
            break
        except OSError:
            refused += 1
        finally:
            monkeypatch.setattr(os, function, real)
        assert contents(place) == OLD, "as it was, with nothing left over"
    assert refused
    assert contents(place) == NEW


def refuse(monkeypatch, stuck, times=99):
    """Let the system move nothing from, or to, this path, so many times."""
    real, refusals = os.replace, []

    def replace_others(path, to):
        if stuck in (Path(path), Path(to)) and len(refusals) < times:
            refusals.append(stuck)
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path), None, str(to))
        real(path, to)

    monkeypatch.setattr(os, "replace", replace_others)


@pytest.mark.parametrize("name", [*OLD, "d.txt"])
def test_a_file_that_cannot_be_moved_is_named_and_all_stay_as_they_were(name, place, monkeypatch):
    refuse(monkeypatch, place / name, times=1)
    with pytest.raises(PermissionError, match=name):
        replace(place)
    assert contents(place) == OLD


def test_a_file_that_cannot_be_written_is_named(place):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match=r"No space left on device: '.*b\.txt'"):
        AllOrNothing(place, NAMES).replace({"a.txt": lambda path: path.write_text("new"), "b.txt": full})
    assert contents(place) == OLD


def test_where_undoing_fails_too_the_next_start_goes_on(place, monkeypatch):
    """The moves stop when all are done but the last word, and the old files stay aside."""

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "to_disk", lambda path: fail() if path == place else None)
    monkeypatch.setattr(AllOrNothing, "put_back", fail)
    with pytest.raises(OSError, match="Input/output error"):
        replace(place)
    monkeypatch.undo()
    assert settle(place) == NEW


def test_moves_that_a_kill_cut_in_two_are_undone_as_a_whole_where_they_cannot_go_on(place, monkeypatch):
    """The file that is new had come already, and the first had gone."""
    aside = left(place, a="new a", b="new b")
    (aside / "earlier").mkdir()
    os.replace(place / "a.txt", aside / "earlier" / "a.txt")
    (place / "d.txt").write_text("new d")
    (aside / "journal.json").write_text(JOURNAL)
    refuse(monkeypatch, place / "b.txt")
    with pytest.raises(PermissionError):
        settle(place)
    monkeypatch.undo()
    assert settle(place) == OLD


def test_old_files_that_could_not_be_cleared_away_are_no_reason_to_undo(place, monkeypatch):
    monkeypatch.setattr(files.shutil, "rmtree", lambda path, ignore_errors=False: None)
    replace(place)
    monkeypatch.undo()
    replace(place)
    assert settle(place) == NEW


@pytest.mark.parametrize("text", ["", "garbage", "[]", '{"files": 3}', '{"files": [["x"]], "gone": []}', "null"])
def test_a_journal_that_nobody_wrote_is_cleared(text, place):
    (left(place, a="new a") / "journal.json").write_text(text)
    assert settle(place) == OLD


def test_nothing_but_these_files_is_moved_or_put_back(place, tmp_path):
    elsewhere = tmp_path / "thesis"
    elsewhere.mkdir()
    (elsewhere / "a.txt").write_text("the user's own")
    journal = {"files": ["mine.txt", "../up.txt", "/etc/passwd"], "gone": ["own.txt"]}
    (left(place, mine="x") / "journal.json").write_text(json.dumps(journal))
    assert settle(place) == OLD
    (left(place) / "old").symlink_to(elsewhere)
    assert settle(place) == OLD
    assert (elsewhere / "a.txt").read_text() == "the user's own"
    (left(place) / "old").mkdir()
    (place / ".vae_mnist" / "old" / "own.txt").write_text("another's")
    assert settle(place) == OLD


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a file"])
def test_what_stands_in_the_place_of_our_own_folder_is_told_and_stays(kind, place, tmp_path):
    elsewhere, aside = tmp_path / "elsewhere", place / ".vae_mnist"
    elsewhere.mkdir()
    (elsewhere / "journal.json").write_text(JOURNAL)
    match kind:
        case "a link":
            aside.symlink_to(elsewhere)
        case "a pipe":
            os.mkfifo(aside)
        case "a file":
            aside.write_text("the user's own")
    with pytest.raises(NotADirectoryError, match="it is no folder of ours"):
        settle(place)
    assert os.path.lexists(aside)
    aside.unlink()
    assert contents(place) == OLD
    assert [path.name for path in elsewhere.iterdir()] == ["journal.json"]


def test_a_folder_in_the_place_of_a_file_is_told_and_stays(place):
    (place / "d.txt").mkdir()
    (place / "d.txt" / "note").write_text("the user's own")
    for act in (AllOrNothing(place, NAMES).try_moving, lambda: replace(place)):
        with pytest.raises(IsADirectoryError, match=r"it is a folder.*d\.txt"):
            act()
    assert (place / "d.txt" / "note").read_text() == "the user's own"
    (place / "d.txt" / "note").unlink()
    (place / "d.txt").rmdir()
    assert contents(place) == OLD


def test_a_folder_that_vanished_is_made_again(tmp_path):
    replace(tmp_path / "vanished")
    assert {path.name: path.read_text() for path in (tmp_path / "vanished").iterdir()} == NEW


def test_one_file_is_written_whole_or_not_at_all(tmp_path):
    def half(file):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    write_whole(tmp_path / "a", lambda file: file.write(b"all of it"))
    with pytest.raises(OSError, match="No space"):
        write_whole(tmp_path / "a", half)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"all of it"}
