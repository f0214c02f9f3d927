"""Which window a row is in: left-closed spans of equal width in UTC, weeks from Monday. pandas and engines agree."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from llm_monitoring import engines
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.schema import RESERVED

if TYPE_CHECKING:
    import ibis.expr.types as ir

ANCHOR = pd.Timestamp("1970-01-05", tz="UTC")  # a Monday; every width that divides a week starts there
EARLIEST = (
    2**52
)  # microseconds before the anchor, 142 years: with today's times still exact where an engine divides floats
WINDOW, FIRST, LAST = f"{RESERVED}window", f"{RESERVED}first", f"{RESERVED}last"
LONGEST_S = 3_653 * 86_400
LONGEST = pd.Timedelta(seconds=LONGEST_S)
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
    found = _width(str(window))
    if found is None:
        raise ConfigError(f"window={window!r}; expected a whole number of s, min, h, d or w, such as '1h'")
    if found > LONGEST:
        raise ConfigError(f"window={window!r}; expected ten years at most")
    return found


@lru_cache(maxsize=256)
def _width(window: str) -> pd.Timedelta | None:
    match = re.fullmatch(r"\s*([1-9]\d{0,6})\s*(s|min|h|d|w)\s*", window.lower())
    if match is None:
        return None
    seconds = int(match[1]) * _SECONDS[match[2]]
    return pd.Timedelta(seconds=min(seconds, LONGEST_S + 1))  # older pandas refuses millions of weeks


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
    return utc - (utc - ANCHOR) % width(window)  # type: ignore[operator]


def begin(at: pd.Timestamp, window: str) -> pd.Timestamp:
    """Start of the window that one moment is in.

    >>> begin(pd.Timestamp("2026-05-13 10:31", tz="UTC"), "1w")
    Timestamp('2026-05-11 00:00:00+0000', tz='UTC')
    """
    return at - (at - ANCHOR) % width(window)


def places(timestamps: pd.Series | pd.DatetimeIndex, start: pd.Timestamp, window: str) -> np.ndarray:
    """How many windows after the one that begins at `start` each time is in, below 0 before it.

    >>> places(pd.Series(pd.to_datetime(["2026-05-13T10:31Z", "2026-05-12T23:00Z"])), pd.Timestamp("2026-05-13T00:00Z"), "6h")
    array([ 1, -1])
    """
    return (microseconds(timestamps) - int(start.value // 1000)) // int(width(window).value // 1000)


def microseconds(timestamps: pd.Series | pd.DatetimeIndex) -> np.ndarray:
    """Whole microseconds since 1970 of times with a zone."""
    return pd.DatetimeIndex(timestamps).as_unit("us").asi8


def keyed(rows: ir.Table, time: str, window: str | None, by: list[str]) -> tuple[ir.Table, list[str]]:
    """Rows with the number of their window (counted from the anchor) as `WINDOW`, and the keys to group by."""
    for column in by:
        if column not in rows.columns:
            one_of("by", column, tuple(name for name in rows.columns if not name.startswith(RESERVED)))
    if window is None:
        return rows, by
    size = int(width(window).total_seconds()) * 1_000_000
    before = (
        EARLIEST // size + 1
    )  # windows, so that what is divided is never below 0: engines round that in several ways
    shifted = engines.microseconds(rows[time]) - int(ANCHOR.timestamp()) * 1_000_000 + before * size
    return rows.mutate(**{WINDOW: engines.whole_parts(shifted, size) - before}), [WINDOW, *by]


def labelled(frame: pd.DataFrame, window: str | None, by: list[str]) -> pd.DataFrame:
    """The cells with ``window_start`` and ``window_end`` for their number, in the order of time, then of `by`.

    Without a window the ends are the first and the last row (columns `FIRST` and `LAST`).
    """
    if window is None:
        ends = {"window_start": frame[FIRST], "window_end": frame[LAST]}
        frame = frame.assign(**{name: pd.to_datetime(times, utc=True) for name, times in ends.items()})
    else:
        frame = frame.dropna(subset=[WINDOW])
        start = ANCHOR.as_unit("us") + pd.to_timedelta(frame[WINDOW].astype("int64") * width(window).as_unit("us"))
        frame = frame.assign(window_start=start, window_end=start + width(window).as_unit("us"))
    for name in ("window_start", "window_end"):
        frame[name] = frame[name].astype("datetime64[us, UTC]")
    order = by if window is None else ["window_start", *by]
    return frame.sort_values(order, kind="stable", ignore_index=True) if order else frame


def filled(frame: pd.DataFrame, window: str | None, by: list[str]) -> pd.DataFrame:
    """The cells with those added in which nothing happened, for every group from the first window to the last."""
    if window is None or frame.empty:
        return frame
    size = width(window).as_unit("us")
    starts = pd.DataFrame(
        {"window_start": pd.date_range(frame["window_start"].min(), frame["window_start"].max(), freq=size)}
    )
    starts["window_start"] = starts["window_start"].astype("datetime64[us, UTC]")
    every = starts.merge(frame[by].drop_duplicates(), how="cross") if by else starts
    full = every.merge(frame, how="left", on=["window_start", *by])
    full["window_end"] = full["window_start"] + size
    counted = [name for name in full.columns if name.endswith("_count") or name.startswith("n_")]
    full[counted] = full[counted].fillna(0).astype("int64")
    return full.sort_values(["window_start", *by], kind="stable", ignore_index=True)
