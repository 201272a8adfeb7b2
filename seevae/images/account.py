"""An account of what a path was found to hold: everything is taken, or left out for a reason, and the sums agree."""

from statistics import fmean

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

    classes: whether labels, where there are any, were taken as classes. lost: how many pages of pictures could not be
    read; a file of which nothing can be has as many as those that end as it does.
    """

    def __init__(self, items=(), classes=True):
        self.fates, self.lost = {unit: {} for unit in UNITS}, 0
        pages, files = {}, {}
        for item in items:
            unused = "labels that are no classes" if item.is_labels and not classes else ""
            self.add(item.unit, item.title, item.out or unused)
            for n, reason, lost in item.images():
                self.add("images", item.title, reason, n)
                self.lost += n * lost
                pages.setdefault(item.path.suffix, []).append(n)
            if item.unit == "arrays":
                files.setdefault(item.path, []).append(item.out)
        for path, reasons in files.items():  # a file is taken if one of its arrays is
            self.add("files", path.name, "" if "" in reasons else reasons[0])
        self.lost += sum(fmean(pages.get(item.path.suffix, [1])) for item in items if item.lost)

    def add(self, unit, name, reason="", n=1):
        """Write down n of a unit as taken, or as left out for a reason; name: of the first."""
        if n:
            before, first = self.fates[unit].get(reason) or (0, some([name]))
            self.fates[unit][reason] = before + n, first

    def check(self, source):
        """Raise UserError where more than a tenth of the pictures of a source is lost."""
        if self.lost * 10 > self.lost + self.fates["images"].get("", (0, ""))[0]:
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
