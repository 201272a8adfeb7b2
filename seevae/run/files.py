"""Files that change together: all of them or none, whatever happens when.

`AllOrNothing` knows their names, and nothing of what is in them. The new files are written into a folder inside theirs,
then a journal that says what is to be moved; then they are moved, the earlier ones aside first. A move that fails
undoes all of them. A kill before the journal leaves the earlier files; after it, `settle` finishes the moves.
"""

import contextlib
import errno
import json
import os
import shutil

from seevae.images.reading import read_json

ASIDE, JOURNAL = ".vae_mnist", "journal.json"


class AllOrNothing:
    """The files of these names in a folder. `new`: where they are written first; `tried`, `earlier`: where those that
    are there go meanwhile, in a trial and in earnest. Each method raises OSError where the system refuses.
    """

    def __init__(self, folder, names):
        self.folder, self.names, self.new = folder, {*names}, folder / ASIDE
        self.journal, self.tried, self.earlier = self.new / JOURNAL, self.new / "old", self.new / "earlier"

    def replace(self, writers, gone=(), together=contextlib.nullcontext):
        """Call each write(path) of writers, {name: write}, then put all the files in place and take `gone` away.

        Nothing changes before all are written, and then all of it does. The moves are made in a context together(), in
        which no signal should cut them in two. An OSError names the file that could not be written.
        """
        path = None
        try:
            if self.new.exists():
                shutil.rmtree(self.new)
            self.new.mkdir(parents=True)
            for name, write in writers.items():
                path = self.folder / name
                write(self.new / name)
                to_disk(self.new / name)
            path = None
            journal = self.new / f"{JOURNAL}.new"
            journal.write_text(json.dumps({"files": [*writers], "gone": [*gone]}))
            to_disk(journal)
            with together():
                os.replace(journal, self.journal)  # from here on the new files are those that count
                self.move()
        except OSError as error:
            if path is None:
                raise
            raise OSError(error.errno, reason(error), str(path)) from error
        finally:
            if not self.journal.exists():
                shutil.rmtree(self.new, ignore_errors=True)

    def move(self):
        """Carry out the journal: all its moves or, where one raises OSError, none.

        Safe to repeat after a kill: moves that are already done are skipped. Where undoing fails, too, the journal
        stays, for the next start.
        """
        try:
            journal = read_json(self.journal)
            files, gone = self.names & {*journal["files"]}, self.names & {*journal["gone"]}
        except (ValueError, TypeError, KeyError):  # none that `replace` wrote
            return
        try:
            to_disk(self.new)
            self.earlier.mkdir(exist_ok=True)
            for name in files | gone:
                comes = (self.new / name).exists()
                if comes or name in gone:
                    self.move_aside(name, self.earlier)
                if comes:
                    os.replace(self.new / name, self.folder / name)
            to_disk(self.folder)
        except OSError:
            for name in files:
                if os.path.lexists(self.folder / name) and not os.path.lexists(self.new / name):
                    os.replace(self.folder / name, self.new / name)
            self.put_back(self.earlier)
            self.journal.unlink()
            raise
        self.journal.unlink()
        shutil.rmtree(self.new, ignore_errors=True)

    def move_aside(self, name, place):
        """Move an earlier file out of the way, if there is one."""
        if (self.folder / name).is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(self.folder / name))
        if os.path.lexists(self.folder / name):
            os.replace(self.folder / name, place / name)

    def put_back(self, place):
        """Undo what `move_aside` did."""
        for name in () if place.is_symlink() else self.names:  # a link is none that we made
            if os.path.lexists(place / name):
                os.replace(place / name, self.folder / name)

    def is_settled(self):
        return not (self.journal.exists() or self.tried.exists())

    def settle(self):
        """Finish the moves that a kill cut in two, or undo them, and clear away what was written before them."""
        if os.path.lexists(self.new) and (self.new.is_symlink() or not self.new.is_dir()):
            raise NotADirectoryError(errno.ENOTDIR, "it is no folder of ours", str(self.new))
        if self.journal.exists():
            self.move()
        self.put_back(self.tried)
        shutil.rmtree(self.new, ignore_errors=True)

    def try_moving(self):
        """Raise OSError unless files can be written, and each earlier one can be moved away. It is there afterwards."""
        self.tried.mkdir(parents=True)
        try:
            (self.new / max(self.names, key=len)).touch()
            for name in self.names:
                self.move_aside(name, self.tried)
        finally:
            self.put_back(self.tried)
            shutil.rmtree(self.new, ignore_errors=True)


def write_whole(path, write):
    """Call write(file) with an open binary file, and let it take the place of `path` when all of it is on the disk."""
    beside = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(beside, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        to_disk(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def to_disk(path):
    """Wait until a file, or the names in a folder, are on the disk, so that a power cut leaves them as they are."""
    with contextlib.suppress(OSError) if path.is_dir() else contextlib.nullcontext():  # not every system does folders
        place = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows wants a file that can be written
        try:
            os.fsync(place)
        finally:
            os.close(place)


def reason(error):
    """What the system says of an OSError or a ValueError, in its words."""
    return getattr(error, "strerror", None) or str(error)
