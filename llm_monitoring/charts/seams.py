"""Seams: changes of judge or rubric that move the centre line by a known offset with a known error."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.charts.arguments import is_number
from llm_monitoring.errors import ConfigError, quote

COLUMNS = ["time", "offset", "se"]


def read_seams(seams: Any, origin: pd.Timestamp | None) -> list[dict[str, Any]]:
    """Seams in order, their times in the form that the windows have.

    Parameters
    ----------
    seams : DataFrame or list of dict, optional
        `time` (first window concerned), `offset` (new minus old instrument), `se`.
    origin : Timestamp, optional
        First window of the baseline; None where windows are numbered.

    Raises
    ------
    ConfigError
        A seam without one of the three, or with a time of the other form.
    """
    if seams is None:
        return []
    if not isinstance(seams, pd.DataFrame | list | tuple):
        raise ConfigError(f"seams: {quote(seams)}; expected a list of dicts or a DataFrame with time, offset and se")
    read = [_seam(row, origin) for row in (seams.to_dict("records") if isinstance(seams, pd.DataFrame) else seams)]
    return sorted(read, key=lambda row: row["time"])


def seams_table(seams: list[dict[str, Any]]) -> pd.DataFrame:
    """Seams as a table."""
    return pd.DataFrame(seams, columns=COLUMNS) if seams else _no_seams().copy()


@cache
def _no_seams() -> pd.DataFrame:
    return pd.DataFrame([], columns=COLUMNS)


def _seam(row: Any, origin: pd.Timestamp | None) -> dict[str, Any]:
    lacking = {"time", "offset", "se"} - set(row if isinstance(row, dict) else ())
    if lacking:
        raise ConfigError(
            f"seams: {quote(row)}; expected time, offset and se in each, {', '.join(sorted(lacking))} is not there"
        )
    if not (is_number(row["offset"]) and is_number(row["se"], least=0)):
        raise ConfigError(
            f"seams: offset {quote(row['offset'])}, se {quote(row['se'])}; expected finite numbers, se at least 0"
        )
    return {"time": _time(row["time"], origin), "offset": float(row["offset"]), "se": float(row["se"])}


def _time(time: Any, origin: pd.Timestamp | None) -> Any:
    if origin is None:
        if not isinstance(time, int | float | np.number):
            raise ConfigError(
                f"seams, time: {quote(time)}; expected the number of a window, as the baseline has no times"
            )
        return time
    when = pd.to_datetime(time, errors="coerce") if not isinstance(time, int | float | np.number) else pd.NaT
    if not isinstance(when, pd.Timestamp):
        raise ConfigError(f"seams, time: {quote(time)}; expected a time, as the windows have")
    if (when.tz is None) != (origin.tz is None):
        zone = "with a time zone" if origin.tz is not None else "without a time zone"
        raise ConfigError(f"seams, time: {quote(time)}; expected a time {zone}, as the windows have")
    return when
