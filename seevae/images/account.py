"""An account of what a path was found to hold: everything is taken, or left out for a reason, and the sums agree."""

from collections import defaultdict

from seevae.basics import UserError, printable

UNITS = ("files", "arrays", "images")  # a page of a picture file, and a row of a table or an array, is an image


def some(names, most=6):
    """The first of some names, and how many others there are, in words."""
    names = [printable(str(name)) for name in names]
    names = [name if len(name) <= 60 else f"{name[:28]}...{name[-28:]}" for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} others" if len(names) > most else "")


class Account:
    """By unit, how much was found and taken, and what was left out: {reason: [how many, the first name]}.

    lost: how many pictures, or files that may have been some, could not be read; see check.
    """

    def __init__(self):
        self.found, self.taken, self.lost = dict.fromkeys(UNITS, 0), dict.fromkeys(UNITS, 0), 0
        self.left_out = {unit: defaultdict(lambda: [0, ""]) for unit in UNITS}

    def find(self, unit, n=1):
        self.found[unit] += n

    def take(self, unit, n=1):
        self.taken[unit] += n

    def leave(self, unit, reason, source, n=1, lost=False):
        """Leave n of a unit out; source: the first of them, a Source or a name; lost: it could not be read."""
        entry = self.left_out[unit][reason]
        name = source if isinstance(source, str) else source.path.name + f" ({source.reason})" * bool(source.reason)
        entry[:] = entry[0] + n, entry[1] or some([name])
        self.lost += n if lost else 0

    def check(self, source):
        """Raise UserError where more than a tenth of the pictures of a source is lost."""
        if self.lost * 10 > self.lost + self.taken["images"]:
            told = "; ".join(self.sentences())
            raise UserError(f"More than a tenth of {source} is lost: {told}; mend what is named, or move it away.")

    def words(self, unit):
        """The account of a unit as a clause."""
        reasons = [f"{why}: {f'{n:,}, such as ' * (n > 1)}{first}" for why, (n, first) in self.left_out[unit].items()]
        out = sum(n for n, _ in self.left_out[unit].values())
        told = f"{self.found[unit]:,} {unit} found: {self.taken[unit]:,} taken, {out:,} left out"
        return told + (f" ({'; '.join(reasons)})" if reasons else "")

    def sentences(self):
        """The accounts of the units of which something was left out."""
        return [self.words(unit) for unit in UNITS if self.left_out[unit]]

    def record(self):
        """The account as it is kept: {unit: {"found", "taken", "left_out": {reason: how many}}}."""
        record = {}
        for unit in filter(self.found.get, UNITS):
            out = {reason: n for reason, (n, _) in self.left_out[unit].items()}
            assert self.found[unit] == self.taken[unit] + sum(out.values()), (unit, self.words(unit))
            record[unit] = {"found": self.found[unit], "taken": self.taken[unit], "left_out": out}
        return record
