"""What a fault is and how it is worded. Both errors are ValueErrors whose text is one line per fault."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SHOWN = 20


@dataclass(frozen=True)
class Fault:
    """One thing wrong with the input: where it stands, what stands there, what was expected and how to mend it.

    `place` names the row as people count it: ``line 7`` counts from 1 in text files, ``row 6`` from 0 elsewhere.
    """

    table: str
    file: str | None = None
    place: str | None = None
    column: str | None = None
    value: object = None
    expected: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        where = " ".join(part for part in (self.file or self.table, self.place) if part)
        if self.column:
            where = f"{where}, {self.column}"
        quoted = "" if self.value is None else f"{quote(self.value)}; "
        remedy = f". {self.remedy}" if self.remedy else ""
        return f"{where}: {quoted}{self.expected}{remedy}"


class LogError(ValueError):
    """The log cannot be read as it stands.

    Attributes
    ----------
    faults : tuple of Fault
        The faults that are printed (at most 20).
    count : int
        All faults, printed or not.
    """

    def __init__(self, faults: Fault | Iterable[Fault], count: int | None = None):
        self.faults = (faults,) if isinstance(faults, Fault) else tuple(faults)
        self.count = len(self.faults) if count is None else count
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [str(fault) for fault in self.faults[:SHOWN]]
        if self.count > len(lines):
            lines.append(f"... {self.count} faults in all, the first {len(lines)} shown")
        return "\n".join(lines)


class ConfigError(ValueError):
    """A parameter or a plan says something that cannot be done; the text says what can."""


def quote(value: object, most: int = 80) -> str:
    """The value as it is shown in an error: quoted, control characters escaped, cut at `most` characters.

    >>> quote("a" * 100, most=5)
    "'aaaaa...'"
    """
    if isinstance(value, str):
        return repr(value if len(value) <= most else value[:most] + "...")
    text = str(value)
    return text if len(text) <= most else text[:most] + "..."


def one_of(name: str, given: object, choices: Sequence[str]) -> str:
    """Check that `given` is one of the choices and return it.

    >>> one_of("DriftTest(method)", "mdm", ["panel", "mmd"])
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: DriftTest(method)='mdm'; expected one of 'panel', 'mmd'; the nearest is 'mmd'
    """
    if given in choices:
        return str(given)
    listed = ", ".join(repr(choice) for choice in choices)
    raise ConfigError(f"{name}={quote(given)}; expected one of {listed}{nearest(given, choices, 0.5)}")


def nearest(given: object, known: Iterable[object], alike: float = 0.0) -> str:
    """The end of a message that names the nearest of what is known; nothing where none is as much `alike` (0 to 1).

    >>> nearest("mean_qualty", ["mean_quality", "refusal_rate"]), nearest("x", ["mean_quality"], 0.5)
    ("; the nearest is 'mean_quality'", '')
    """
    close = difflib.get_close_matches(str(given), [str(one) for one in known], n=1, cutoff=alike)
    return f"; the nearest is {close[0]!r}" if close else ""
