"""The sentences of examine, which stand in sentences.toml: each finding has a name, a severity and words."""

import re
import tomllib
from pathlib import Path

WRITTEN = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
SHARED = WRITTEN["shared"]
KNOWN = {  # key: severity, words with places for numbers
    key: (severity, " ".join(re.sub("<(.*?)>", lambda part: SHARED[part[1]], words).split()))
    for key, (severity, words) in WRITTEN["findings"].items()
}


class Finding(str):
    """A sentence, with a short name that stays, a severity ("wrong", "look" or "note") and its numbers."""

    key: str  # in sentences.toml: the name, and perhaps which of its sentences
    name: str
    severity: str
    numbers: dict

    def __new__(cls, key: str, **values):
        """The one of KNOWN with this key, with these values in their places."""
        severity, words = KNOWN[key]
        self = super().__new__(cls, words.format(**values))
        self.key, self.name, self.severity = key, key.split("/")[0], severity
        self.numbers = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
        return self
