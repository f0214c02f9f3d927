"""What goes into a chart: one row per window, checked. A Series, a list or a DataFrame in, a DataFrame out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.errors import ConfigError, quote

COLUMNS = ["window", "window_start", "window_end", "position", "value", "n", "sd"]


def read_windows(
    data: pd.Series | pd.DataFrame | Sequence[float],
    name: str = "stream",
    *,
    windows: int = 0,
    distinct: int = 0,
    chart: str = "the chart",
    origin: Any = None,
    period: pd.Timedelta | None = None,
    after: int = -1,
) -> pd.DataFrame:
    """One row per window in time order, whatever came in.

    Parameters
    ----------
    data : Series, list of numbers, or DataFrame
        A DataFrame has `value` and, where known, `n` (answers in the window), `sd` (within the window),
        `window_start`, `window_end`, or a whole number `window`. A Series with a DatetimeIndex gives `window_start`.
    name : str
        How errors call the data: baseline or stream.
    windows, distinct : int
        Windows with a value, and distinct values, that the chart needs at least.
    chart : str
        The chart's name for the error.
    origin, period : Timestamp and Timedelta, optional
        First window and spacing that positions are counted by; taken from the data where not given.
    after : int
        Position of the window before the first one, where the data tell no time.

    Returns
    -------
    DataFrame
        `window` (as given, or its number), `window_start`, `window_end` (NaT where unknown), `position` (whole
        windows since `origin`), `value`, `n`, `sd` (NaN where unknown). A window without a value stays, as NaN.

    Raises
    ------
    ConfigError
        Names the window, the value, and what was expected.

    >>> read_windows([4.1, 4.0])[["window", "value"]].values.tolist()
    [[0.0, 4.1], [1.0, 4.0]]
    """
    frame = _as_frame(data, name)
    table = pd.DataFrame({"value": _numbers(frame, "value", name)})
    for column in ("n", "sd"):
        table[column] = _numbers(frame, column, name, least=0) if column in frame else np.nan
    for column in ("window_start", "window_end"):
        table[column] = pd.to_datetime(frame[column]).to_numpy(copy=True) if column in frame else pd.NaT
        if column in frame and getattr(frame[column].dtype, "tz", None) is not None:
            table[column] = frame[column].to_numpy()
            table[column] = pd.DatetimeIndex(frame[column])
    timed = "window_start" in frame
    numbered = not timed and "window" in frame
    table["window"] = table["window_start"] if timed else _numbers(frame, "window", name) if numbered else np.nan
    if timed or numbered:
        _check_times(table, "window_start" if timed else "window", name)
        table = table.sort_values("window", ignore_index=True)
    table["position"] = _positions(table, timed, numbered, origin, period, after)
    if not (timed or numbered):
        table["window"] = table["position"]
    _check_enough(table["value"], name, windows, distinct, chart)
    return table[COLUMNS]


def spacing(starts: pd.Series) -> pd.Timedelta | None:
    """The usual distance of neighbouring windows, None below two windows."""
    steps = starts.dropna().sort_values().diff().dropna()
    return None if steps.empty else pd.Timedelta(steps.median())


def _as_frame(data: Any, name: str) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        if "value" not in data:
            raise ConfigError(
                f"{name}: no column 'value'; the columns are {', '.join(map(str, data.columns)) or 'none'}. "
                "Rename the measure's column, for example frame.rename(columns={'mean_quality': 'value', 'n_judged': 'n'})"
            )
        return data.reset_index(drop=True)
    if isinstance(data, pd.Series):
        timed = {"window_start": data.index} if isinstance(data.index, pd.DatetimeIndex) else {}
        return pd.DataFrame({"value": data.to_numpy(), **timed})
    if isinstance(data, str | bytes | dict) or not hasattr(data, "__len__"):
        raise ConfigError(f"{name}: {quote(data)}; expected a Series, a list of numbers, or a DataFrame with 'value'")
    return pd.DataFrame({"value": np.asarray(data, dtype=object)})


def _numbers(frame: pd.DataFrame, column: str, name: str, least: float = -np.inf) -> np.ndarray:
    given = frame[column].astype(object)
    numbers = pd.to_numeric(given, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = (np.isnan(numbers) & given.notna().to_numpy()) | np.isinf(numbers) | (numbers < least)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        bound = "" if least == -np.inf else f" >= {least:g}"
        raise ConfigError(
            f"{name} row {row}, {column}: {quote(given.iloc[row])}; expected a finite number{bound}, "
            f"or null where unknown ({int(wrong.sum())} faults in all)"
        )
    return numbers


def _check_times(table: pd.DataFrame, column: str, name: str) -> None:
    if table[column].isna().any():
        row = int(np.flatnonzero(table[column].isna())[0])
        raise ConfigError(f"{name} row {row}, {column}: null; expected the window of every row")
    twice = table[column][table[column].duplicated()]
    if len(twice):
        raise ConfigError(
            f"{name}, {column}: {twice.iloc[0]} stands there {int((table[column] == twice.iloc[0]).sum())} times; "
            "expected one row per window. Chart one feature and metric at a time, or use ChartPortfolio"
        )


def _positions(table: pd.DataFrame, timed: bool, numbered: bool, origin: Any, period: Any, after: int) -> np.ndarray:
    if timed and len(table):
        first = table["window_start"].iloc[0] if origin is None else origin
        step = period or spacing(table["window_start"]) or pd.Timedelta(days=1)
        return np.round((table["window_start"] - first) / step).to_numpy(dtype=int)
    if numbered:
        return table["window"].to_numpy(dtype=int)
    return np.arange(after + 1, after + 1 + len(table))


def _check_enough(value: pd.Series, name: str, windows: int, distinct: int, chart: str) -> None:
    found = value.dropna()
    if len(found) < windows:
        raise ConfigError(
            f"{name}: {len(found)} windows with a value; {chart} needs {windows}. Give earlier windows, or shorter ones"
        )
    if distinct > 1 and found.nunique() < distinct:
        raise ConfigError(
            f"{name}: {len(found)} windows, all of them {found.iloc[0]}; {chart} needs {distinct} distinct values. "
            "Give earlier windows, or kind='proportion' of ControlChart for rare events"
        )
