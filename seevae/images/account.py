"""An account of what a path was found to hold: everything is taken, or left out for a reason, and the sums agree."""

from seevae.basics import UserError, printable

UNITS = ("files", "arrays", "images")  # a page of a picture file, and a row of a table or an array, is an image


def some(names, most=6):
    """The first of some names, and how many others there are, in words."""
    names = [*names]
    shown = [printable(str(name)) for name in names[:most]]
    shown = [name if len(name) <= 60 else f"{name[:28]}...{name[-28:]}" for name in shown]
    return ", ".join(shown) + (f" and {len(names) - most:,} others" if len(names) > most else "")


class Account:
    """What became of all Items that were found, by unit: {reason, "" for what is taken: [how many, the first's name]}.

    lost: how many pictures, or files that may have been some, could not be read; see check.
    """

    def __init__(self, items=()):
        self.fates, self.lost = {unit: {} for unit in UNITS}, 0
        for item in items:
            self.add(item.unit, item.title, item.out, lost=item.lost)
            for n, reason, lost in item.images():
                self.add("images", item.title, reason, n, lost)
        files = {}
        for item in items:
            if item.unit == "arrays":  # the file is taken if one of them is
                files.setdefault(item.path, []).append(item.out)
        for path, reasons in files.items():
            self.add("files", path.name, "" if "" in reasons else reasons[0])

    def add(self, unit, name, reason="", n=1, lost=False):
        """Write down n of a unit as taken, or as left out for a reason; lost: as they could not be read."""
        if n:
            self.fates[unit].setdefault(reason, [0, some([name])])[0] += n
            self.lost += n * lost

    def check(self, source):
        """Raise UserError where more than a tenth of the pictures of a source is lost."""
        if self.lost * 10 > self.lost + self.fates["images"].get("", [0])[0]:
            raise UserError(f"More than a tenth of {source} is lost: {self}; mend what is named, or move it away.")

    def record(self):
        """The account as it is kept: {unit: {"found", "taken", "left_out": {reason: how many}}}."""
        counts = {unit: {why: n for why, (n, _) in fates.items()} for unit, fates in self.fates.items() if fates}
        return {
            unit: {"found": sum(of.values()), "taken": of.pop("", 0), "left_out": of} for unit, of in counts.items()
        }

    def sentences(self):
        """The accounts of the units of which something was left out, a clause each."""
        told = []
        for unit, counts in self.record().items():
            firsts = [(why, *self.fates[unit][why]) for why in counts["left_out"]]
            reasons = [f"{why}: {f'{n:,}, such as ' if n > 1 else ''}{first}" for why, n, first in firsts]
            out = f"{sum(counts['left_out'].values()):,} left out ({'; '.join(reasons)})"
            told += [f"{counts['found']:,} {unit} found: {counts['taken']:,} taken, {out}"] if reasons else []
        return told

    def __str__(self):
        return "; ".join(self.sentences())
