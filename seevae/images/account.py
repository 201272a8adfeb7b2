"""An account of what a path was found to hold: everything is taken, or left out for a reason, and the sums agree."""

from statistics import fmean

from seevae.basics import UserError, printable

UNITS = ("files", "arrays", "images")  # a page of a picture file, and a row of a table or an array, is an image
COPY, MASKS, NOT_TAKEN = "a copy", "masks, or the like, beside the images", "not of the images that are taken"
VIEWS = {"MPO": "another view of a photo", "PSD": "a layer of a picture"}  # pages of a format that are no pictures
LEFT_PARTS = {"val": "a validation part", "test": "a part without labels", "extra": "an extra part"}
MANY = {COPY, MASKS, NOT_TAKEN, *VIEWS.values(), *LEFT_PARTS.values()}  # may be most of what is there: docs/images.md


def some(names, most=6):
    """The first of some names, and how many others there are, in words."""
    names = [*names]
    shown = [printable(str(name)) for name in names[:most]]
    shown = [name if len(name) <= 60 else f"{name[:28]}...{name[-28:]}" for name in shown]
    return ", ".join(shown) + (f" and {len(names) - most:,} others" if len(names) > most else "")


class Account:
    """What became of all Items that were found, by unit: {reason, "" for what is taken: [how many, the first Item]}.

    classes: whether labels, where there are any, were taken as classes.
    """

    def __init__(self, items=(), classes=True):
        self.items, self.fates = items, {unit: {} for unit in UNITS}
        files = {}
        for item in items:
            self.add(item.unit, item, "labels that are no classes" if item.is_labels and not classes else item.out)
            for n, reason in item.images():
                self.add("images", item, reason, n)
            if item.unit == "arrays":
                files.setdefault(item.path, []).append(item)
        for of in files.values():  # a file is taken if one of its arrays is
            self.add("files", of[0], "" if any(not item.out for item in of) else of[0].out)

    def add(self, unit, item, reason="", n=1):
        """Write down n of a unit as taken, or as left out for a reason."""
        if n:
            self.fates[unit].setdefault(reason, [0, item])[0] += n

    def check(self, source):
        """Raise UserError where more than a tenth of the images of a source is left out, but for what MANY names.

        A file of which nothing can be read counts as one with as many pages as those that end as it does.
        """
        pages, images = {}, self.fates["images"]
        for item in self.items:
            if item.pages:
                pages.setdefault(item.path.suffix, []).append(len(item.pages))
        lost = sum(n for reason, (n, _) in images.items() if reason not in ("", *MANY))
        lost += sum(fmean(pages.get(item.path.suffix, [1])) for item in self.items if item.lost)
        if lost * 10 > lost + images.get("", [0])[0]:
            advice = "mend or move away what is named, or give the folder of the rest alone"
            raise UserError(f"More than a tenth of {source} would be left out: {self}; {advice}.")

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
            reasons = []
            for why, n in counts["left_out"].items():
                item = self.fates[unit][why][1]
                first = some([item.path.name if unit == "files" and item.unit == "arrays" else item.title])
                reasons.append(f"{why}: {f'{n:,}, such as ' if n > 1 else ''}{first}")
            out = f"{sum(counts['left_out'].values()):,} left out ({'; '.join(reasons)})"
            told += [f"{counts['found']:,} {unit} found: {counts['taken']:,} taken, {out}"] if reasons else []
        return told

    def __str__(self):
        return "; ".join(self.sentences())
