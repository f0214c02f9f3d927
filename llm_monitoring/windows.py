"""Which window a row is in: left-closed spans of equal width in UTC, weeks from Monday. pandas and engines agree."""

from __future__ import annotations

import re

import pandas as pd

from llm_monitoring.errors import ConfigError

ANCHOR = pd.Timestamp("1970-01-05", tz="UTC")  # a Monday; every width that divides a week starts there
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800}


def width(window: str) -> pd.Timedelta:
    """Width of a window written as ``"1h"``, ``"5min"``, ``"6h"``, ``"1d"`` or ``"1w"``.

    >>> width("6h")
    Timedelta('0 days 06:00:00')
    >>> width("1 month")
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: window='1 month'; expected a whole number of s, min, h, d or w, such as '1h'
    """
    match = re.fullmatch(r"\s*([1-9]\d{0,6})\s*(s|min|h|d|w)\s*", str(window).lower())
    if not match:
        raise ConfigError(f"window={window!r}; expected a whole number of s, min, h, d or w, such as '1h'")
    return pd.Timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def floor(timestamps: pd.Series, window: str) -> pd.Series:
    """Start of the window that each time is in.

    Parameters
    ----------
    timestamps : Series
        Times with a zone; NaT stays NaT.
    window : str
        Width, such as ``"1h"`` or ``"1d"``.

    Returns
    -------
    Series
        Window starts, UTC, same index.

    Examples
    --------
    >>> floor(pd.Series([pd.Timestamp("2026-05-13 10:31", tz="UTC")]), "1w").iloc[0]
    Timestamp('2026-05-11 00:00:00+0000', tz='UTC')
    """
    utc = pd.to_datetime(timestamps, utc=True)
    return utc - (utc - ANCHOR) % width(window)


def number(times, window: str):
    """Number of the window of each time of an Ibis column, counted from the anchor; `start` turns it into a time."""
    size = int(width(window).total_seconds())
    return ((epoch_seconds(times) - int(ANCHOR.timestamp())) / size).floor().cast("int64")


def epoch_seconds(times):
    """Seconds since 1970 of an Ibis time column, fraction included, by the engine's fastest exact road."""
    return times.epoch_seconds()


def start(numbers: pd.Series, window: str) -> pd.Series:
    """Window starts (UTC) of the window numbers that `number` gave."""
    seconds = numbers.astype("int64") * int(width(window).total_seconds())
    return ANCHOR.as_unit("us") + pd.to_timedelta(seconds, unit="s").astype("timedelta64[us]")
