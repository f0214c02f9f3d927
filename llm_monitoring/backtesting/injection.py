"""A fault of known size that is planted into a quiet log: what it hits, how hard, in which answers, for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_monitoring.charts.arguments import is_number
from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.wording import MINUS, NBSP, number

#: What can be hit -> what `size` is, in words, and whether a number is one.
SIZES: dict[str, tuple[str, Any]] = {
    "quality": ("points of the judge's scale, such as -0.2", lambda size: is_number(size) and size != 0),
    "pass_fail": ("the share of answers turned to fail, such as 0.1", lambda size: is_number(size, above=0, below=1)),
    "refusal": ("the added share of refusals, such as 0.05", lambda size: is_number(size, above=0, below=1)),
    "abandonment": ("the added share of answers, such as 0.05", lambda size: is_number(size, above=0, below=1)),
    "cost": ("a factor, such as 1.5", lambda size: is_number(size, above=0) and size != 1),
    "latency": ("a factor, such as 2", lambda size: is_number(size, above=0) and size != 1),
    "volume": ("a factor, such as 0.5", lambda size: is_number(size, least=0) and size != 1),
}


@dataclass(frozen=True)
class Injection:
    """A fault of known size, planted at seeded times into the log's own answers.

    Parameters
    ----------
    what : {"quality", "pass_fail", "refusal", "abandonment", "cost", "latency", "volume"}
    size : float
        quality: points of the judge's scale (of a judge that says pass or fail: the share of answers turned to fail);
        pass_fail, refusal, abandonment: added share of answers; cost, latency, volume: a factor.
    where : dict
        Column of `requests` -> value, or list of values: the slice that is hit. Empty: every answer.
    share : float
        Share of the slice that is hit, above 0, at most 1.
    days : float
        How long it lasts. Seen later than that counts as not seen.

    Raises
    ------
    ConfigError
        With a line for every parameter that cannot be used.

    Examples
    --------
    >>> print(Injection("quality", -0.2, {"feature_id": "search"}).words)
    quality −0.2 in search
    >>> Injection("qualty", -0.2)
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: Injection(what)='qualty'; expected one of 'quality', 'pass_fail', 'refusal', 'abandonment', 'cost', 'latency', 'volume'; the nearest is 'quality'
    """

    what: str
    size: float
    where: Mapping[str, Any] = field(default_factory=dict)
    share: float = 1.0
    days: float = 7

    def __post_init__(self) -> None:
        one_of("Injection(what)", self.what, tuple(SIZES))
        expected, fits = SIZES[self.what]
        faults = [
            f"Injection({name}={quote(value)}); expected {wanted}"
            for name, value, wanted, fine in (
                (f"{self.what!r}, size", self.size, expected, fits(self.size)),
                ("where", self.where, "a dict of column -> value or list of values", isinstance(self.where, Mapping)),
                ("share", self.share, "a share above 0, at most 1", is_number(self.share, above=0, most=1)),
                ("days", self.days, "a number above 0", is_number(self.days, above=0)),
            )
            if not fine
        ]
        if faults:
            raise ConfigError("\n".join(faults))

    @property
    def slice_words(self) -> str:
        """The slice in words: the feature by its name, everything else as column = value."""
        parts = [
            _several(values) if column == "feature_id" else f"{column} = {_several(values)}"
            for column, values in self.where.items()
        ]
        shown = " and ".join(parts) or "all answers"
        return shown if self.share == 1 else f"{number(100 * self.share)}{NBSP}% of {shown}"

    @property
    def size_words(self) -> str:
        """The size with its sign or as a factor."""
        if self.what in ("cost", "latency", "volume"):
            return f"× {self.size:g}"
        sign = "+" if self.size > 0 else MINUS
        return (
            f"{sign}{abs(self.size):g}"
            if self.what == "quality"
            else f"+{number(100 * self.size, _places(self.size))}{NBSP}points"
        )

    @property
    def words(self) -> str:
        """What is planted, how large and where."""
        return f"{self.what.replace('_', ' / ')} {self.size_words} in {self.slice_words}"


def default_injections(where: Mapping[str, Any] | None = None) -> list[Injection]:
    """Faults of the kinds and sizes that teams ask about, small to large.

    Parameters
    ----------
    where : dict, optional
        The slice that all of them hit, such as ``{"feature_id": "search"}``. Default: every answer.

    Returns
    -------
    list of Injection

    Examples
    --------
    >>> sorted({each.what for each in default_injections()})
    ['abandonment', 'cost', 'latency', 'quality', 'refusal', 'volume']
    """
    sizes: dict[str, tuple[float, ...]] = {
        "quality": (-0.1, -0.2, -0.3, -0.5),
        "refusal": (0.02, 0.05, 0.1),
        "abandonment": (0.05, 0.1),
        "cost": (1.2, 1.5, 2),
        "latency": (1.5, 2.5, 4),
        "volume": (0.5, 0.1, 6),
    }
    made = [Injection(what, size, dict(where or {})) for what, several in sizes.items() for size in several]
    tenth = Injection("quality", -2, dict(where or {}), share=0.1)
    return [*made[:4], tenth, *made[4:]]


def read_injections(inject: Any) -> list[Injection]:
    """What `backtest(inject=...)` was given as a list: an injection, several, True for the default ones, None for none."""
    if inject is None or inject is False:
        return []
    if inject is True:
        return default_injections()
    several = [inject] if isinstance(inject, Injection) else list(inject) if isinstance(inject, list | tuple) else None
    if several is None or not all(isinstance(each, Injection) for each in several):
        raise ConfigError(
            f"backtest(inject={quote(inject)}); expected a list of Injection, such as lm.default_injections()"
        )
    return several


def _several(values: Any) -> str:
    return " or ".join(map(str, values)) if isinstance(values, list | tuple | set) else str(values)


def _places(share: float) -> int:
    return 0 if float(100 * share).is_integer() else 1
