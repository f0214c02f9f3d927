"""Times as the log reads them: one moment that a caller names, and a column of texts, numbers or clock times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llm_monitoring import engines
from llm_monitoring.errors import ConfigError, quote

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0.001}
EARLIEST, LATEST = "2000-01-01", "2100-01-01"
EXAMPLE = "2026-05-12T09:31Z"
_ZONED = r"\d{2}:\d{2}.*(Z| ?UTC| ?GMT|[+-]\d{2}(:?\d{2})?| [A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$"
_NUMBER = r"^\s*-?\d+(\.\d+)?(e\+?\d+)?\s*$"


def moment(value: Any, name: str = "when", tz: str | None = None) -> pd.Timestamp:
    """A moment that a caller names, in UTC. The one reader of such times in the package.

    Parameters
    ----------
    value : str, datetime or Timestamp
    name : str
        The parameter's name, for the error.
    tz : str, optional
        Zone of a time that names none; without it such a time is refused.

    Raises
    ------
    ConfigError
        Where it is no time, or names no zone.

    Examples
    --------
    >>> moment("2026-05-12T09:31+02:00")
    Timestamp('2026-05-12 07:31:00+0000', tz='UTC')
    >>> moment("2026-05-12 09:31", "until")
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: until='2026-05-12 09:31' has no time zone; write it with one, such as '2026-05-12T09:31Z'
    """
    import pandas as pd

    try:
        when = pd.Timestamp(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ConfigError(f"{name}={quote(value)} is not a time; expected one such as {EXAMPLE!r}") from error
    if when is pd.NaT:
        raise ConfigError(f"{name}={quote(value)} is not a time; expected one such as {EXAMPLE!r}")
    if when.tzinfo is None:
        if tz is None:
            raise ConfigError(f"{name}={quote(value)} has no time zone; write it with one, such as {EXAMPLE!r}")
        when = _of_zone(when, name, tz)
    return when.tz_convert("UTC")


def _of_zone(when: pd.Timestamp, name: str, tz: str) -> pd.Timestamp:
    import pandas as pd

    # NaT instead of an error, whose class pandas 2 takes from pytz
    found = when.tz_localize(tz, ambiguous="NaT", nonexistent="NaT")
    if not isinstance(found, pd.Timestamp) or pd.isna(found):
        words = f"is a time that the clocks of {tz} showed twice or never; write it with its offset, such as"
        raise ConfigError(f"{name}={quote(str(when))} {words} '2026-10-25T02:30+01:00'")
    return found


def zone(tz: str) -> str:
    """Check the name of a time zone and return it."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError) as error:
        raise ConfigError(f"tz={tz!r}; expected the name of a time zone, such as 'Europe/Berlin' or 'UTC'") from error
    return tz


def of_number(raw: ir.NumericValue, unit: str) -> ir.Value:
    """Numbers since 1970 as moments, null where they cannot be one."""
    import ibis

    if raw.type().is_integer() and unit == "us":
        microseconds = raw * 1
    else:
        scaled = raw.cast("float64") * UNITS[unit]
        microseconds = scaled if unit == "ns" and raw.type().is_integer() else scaled.round()
    possible = (microseconds > -6.2e16) & (microseconds < 4.1024448e15)
    return engines.from_microseconds(ibis.ifelse(possible, microseconds, ibis.null("float64")).cast("int64"))


def tidy(raw: ir.StringValue) -> ir.StringValue:
    """A time as the engines read it: with seconds, the Z in capitals, no blank before the offset, no zone in brackets."""
    text = raw.strip().re_replace(r"([zZ]|[+-]\d{2}:?\d{2})\[[A-Za-z0-9_/+-]+\]$", r"\1")
    text = text.re_replace(r" ?[zZ]$", "Z").re_replace(r"(\d{2}:\d{2}(:\d{2}([.]\d+)?)?) ([+-]\d{2})", r"\1\4")
    return text.re_replace(r"([T ]\d{2}:\d{2})(Z|[+-]\d| |$)", r"\1:00\2")


def kinds_of_text(text: ir.StringValue) -> tuple[ir.BooleanValue, ...]:
    """Where a tidy text names its zone, is a bare number, names no zone, and where it is no time (``infinity``, ``now``)."""
    zoned = text.re_search(_ZONED).fill_null(False)
    bare = text.re_search(_NUMBER).fill_null(False)
    rest = text.notnull() & (text != "") & ~zoned & ~bare
    dated = text.re_search(r"^\d{4}").fill_null(False)
    return zoned, bare, rest & dated, rest & ~dated


def named_zone(text: ir.StringValue) -> ir.StringValue:
    """The zone that a text names by its city, null where it names none."""
    return text.re_extract(r" ([A-Za-z_]+(/[A-Za-z0-9_+-]+)+)$", 1).nullif("")


def skipped(value: ir.TimestampValue, naive: ir.TimestampValue, tz: Any) -> ir.BooleanValue | None:
    """Where a clock time never was: the clocks went forward over it."""
    shown = engines.clock(value, tz)
    return None if shown is None else (shown != naive).fill_null(False)


def doubled(value: ir.TimestampValue, naive: ir.TimestampValue, tz: Any) -> ir.BooleanValue | None:
    """Where a clock time was twice: the clocks went back over it."""
    import ibis

    others = [
        engines.clock(value + sign * ibis.interval(minutes=minutes), tz) for minutes in (60, 30) for sign in (1, -1)
    ]
    if others[0] is None:
        return None
    return ibis.or_(*[(other == naive).fill_null(False) for other in others])
