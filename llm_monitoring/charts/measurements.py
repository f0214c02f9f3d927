"""What goes into a chart: one row per window, checked. A Series, a list or a DataFrame in, a DataFrame out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from llm_monitoring.errors import ConfigError, quote

COLUMNS = ["window", "window_start", "window_end", "position", "value", "n", "sd"]


class Windows(NamedTuple):
    """Windows in time order as arrays: what `read_windows` returns as a table."""

    window: Any
    window_start: pd.DatetimeIndex
    window_end: pd.DatetimeIndex
    position: np.ndarray
    value: np.ndarray
    n: np.ndarray
    sd: np.ndarray

    @property
    def timed(self) -> bool:
        """Whether the windows say when they were."""
        return bool(self.window_start.notna().any())

    def between(self, first: int, after: int) -> Windows:
        """From one window to another, by their numbers."""
        return self.at(slice(first, after))

    def at(self, places: Any) -> Windows:
        """Those in a slice, or where a mask is true."""
        return Windows._make(part[places] for part in self)


def read_windows(data: Any, name: str = "stream", **options: Any) -> pd.DataFrame:
    """What `as_windows` reads, as a table.

    >>> read_windows([4.1, 4.0])[["window", "value"]].values.tolist()
    [[0.0, 4.1], [1.0, 4.0]]
    """
    return pd.DataFrame(as_windows(data, name, **options)._asdict(), columns=COLUMNS)


def as_windows(
    data: pd.Series | pd.DataFrame | Sequence[float] | Windows,
    name: str = "stream",
    *,
    windows: int = 0,
    distinct: int = 0,
    chart: str = "the chart",
    origin: Any = None,
    period: pd.Timedelta | None = None,
    after: int | None = None,
) -> Windows:
    """One row per window in time order, whatever came in.

    Parameters
    ----------
    data : Series, list of numbers, or DataFrame
        A DataFrame has `value` and, where known, `n` (answers in the window), `sd` (within the window),
        `window_start`, `window_end`, or a `window` (a whole number or a time). A Series with a DatetimeIndex gives `window_start`.
        Windows that were read already, with times, are only counted anew.
    name : str
        How errors call the data: baseline or stream.
    windows, distinct : int
        Windows with a value, and distinct values, that the chart needs at least.
    chart : str
        The chart's name for the error.
    origin, period : Timestamp and Timedelta, optional
        First window of a baseline and its spacing, which positions are counted by.
    after : int, optional
        Of a stream: the position that it follows where the data have no time, or the baseline had none. None for a
        baseline, whose positions are counted by its own first window and spacing.

    Returns
    -------
    Windows
        `window` (as given, or its number), `window_start`, `window_end` (NaT where unknown), `position` (whole
        windows since `origin`), `value`, `n`, `sd` (NaN where unknown). A window without a value stays, as NaN.

    Raises
    ------
    ConfigError
        Names the window, the value, and what was expected.
    """
    if isinstance(data, Windows):
        position = _positions(data.window_start, True, False, origin, period, after)
        _check_enough(data.value, name, windows, distinct, chart)
        return data._replace(position=position)
    frame = _as_frame(data, name)
    nowhere = np.full(len(frame), np.nan)
    columns: dict[str, Any] = {
        "value": _numbers(frame, "value", name),
        "n": _numbers(frame, "n", name, least=0) if "n" in frame else nowhere,
        "sd": _numbers(frame, "sd", name, least=0) if "sd" in frame else nowhere,
    }
    for column in ("window_start", "window_end"):
        columns[column] = read_times(frame, column, name)
    if after is not None and isinstance(origin, pd.Timestamp) and not {"window", "window_start"} & set(frame):
        step = period or pd.Timedelta(days=1)
        columns["window_start"] = pd.DatetimeIndex([origin + (after + 1 + i) * step for i in range(len(frame))])
        frame = frame.assign(window_start=columns["window_start"])
    timed = "window_start" in frame
    numbered = not timed and "window" in frame
    label = columns["window_start"] if timed else pd.Index(_whole(frame, name) if numbered else nowhere)
    if timed or numbered:
        _check_times(label, "window_start" if timed else "window", name)
        if not label.is_monotonic_increasing:
            order = np.argsort(label.asi8 if timed else label.to_numpy(), kind="stable")  # type: ignore[attr-defined]
            columns = {key: column[order] for key, column in columns.items()}
            label = label[order]
    position = _positions(label, timed, numbered, origin, period, after)
    _check_enough(columns["value"], name, windows, distinct, chart)
    return Windows(window=label if timed else position, position=position, **columns)


def spacing(starts: pd.Index) -> pd.Timedelta | None:
    """The usual distance of neighbouring windows, None below two windows."""
    known = starts.asi8[starts.notna()] if starts.hasnans else starts.asi8  # type: ignore[attr-defined]
    steps = np.diff(np.unique(known))
    return None if not len(steps) else pd.Timedelta(int(np.median(steps)), unit=starts.unit)  # type: ignore[attr-defined]


def _as_frame(data: Any, name: str) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        return _with_times(data, name)
    if isinstance(data, pd.Series):
        timed = {"window_start": data.index} if isinstance(data.index, pd.DatetimeIndex) else {}
        return pd.DataFrame({"value": data.to_numpy(), **timed})
    wanted = "expected a Series, a list of numbers, or a DataFrame with 'value'"
    if isinstance(data, str | bytes | dict | set) or not hasattr(data, "__len__") or getattr(data, "ndim", 1) == 0:
        raise ConfigError(f"{name}: {quote(data)}; {wanted}")
    nested = any(isinstance(one, list | tuple | dict | np.ndarray | pd.Series) for one in data)
    if nested or getattr(data, "ndim", 1) != 1:
        raise ConfigError(f"{name}: {quote(' '.join(str(data).split()))}; expected one number per window")
    return pd.DataFrame({"value": np.asarray(data, dtype=object)})


def _with_times(data: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with `window_start` where its `window` is a time."""
    unique = data.columns.is_unique
    twice = [] if unique else sorted({str(c) for c in data.columns[data.columns.duplicated()]} & set(COLUMNS))
    if twice:
        raise ConfigError(f"{name}: the column {twice[0]!r} is there more than once; expected one of each name")
    if "value" not in data:
        raise ConfigError(
            f"{name}: no column 'value'; the columns are {', '.join(map(str, data.columns)) or 'none'}. "
            "Rename the measure's column, for example frame.rename(columns={'mean_quality': 'value', 'n_judged': 'n'})"
        )
    if "window" in data and "window_start" not in data and holds_times(data["window"]):
        return data.rename(columns={"window": "window_start"})
    return data


def holds_times(column: pd.Series) -> bool:
    """Whether a column of windows names them by times (texts too) and not by numbers."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiub":
        return False
    known = column.dropna()
    return len(known) > 0 and bool(pd.to_numeric(known.map(_without_time), errors="coerce").isna().all())


def _without_time(window: Any) -> Any:
    return None if isinstance(window, date | np.datetime64) else window


def read_times(frame: pd.DataFrame, column: str, name: str) -> pd.DatetimeIndex:
    if column not in frame:
        return pd.DatetimeIndex(np.full(len(frame), np.datetime64("NaT", "ns")))
    given = frame[column]
    wanted = "expected times, such as '2026-05-12T00:00Z', all with a time zone or all without"
    if isinstance(given.dtype, np.dtype) and given.dtype.kind in "fiub" and given.notna().any():
        raise ConfigError(
            f"{name} row {int(given.notna().argmax())}, {column}: {quote(given.dropna().iloc[0])}; {wanted}"
        )
    found = _parsed(given)
    if found is not None:
        return found
    for row, value in enumerate(given):
        if _parsed(pd.Series([given.iloc[0], value])) is None:
            raise ConfigError(f"{name} row {row}, {column}: {quote(value)}; {wanted}")
    raise ConfigError(f"{name}, {column}: {quote(given.iloc[0])}; {wanted}")


def _parsed(given: pd.Series) -> pd.DatetimeIndex | None:
    if pd.api.types.is_datetime64_any_dtype(given):
        return pd.DatetimeIndex(given)
    try:
        texts = any(isinstance(at, str) for at in given)
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)  # what pandas 2 says of zones that differ
            return pd.DatetimeIndex(pd.to_datetime(given, format="ISO8601") if texts else given)
    except (ValueError, TypeError, OverflowError, FutureWarning):
        return None


def _numbers(frame: pd.DataFrame, column: str, name: str, least: float = -np.inf) -> np.ndarray:
    given = frame[column]
    if isinstance(given.dtype, np.dtype) and given.dtype.kind in "fiu":
        numbers = given.to_numpy(dtype=float)
        wrong = np.isinf(numbers) | (numbers < least)
    else:
        loose = given.astype(object)
        numbers = pd.to_numeric(loose, errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        wrong = (np.isnan(numbers) & loose.notna().to_numpy()) | np.isinf(numbers) | (numbers < least)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        bound = "" if least == -np.inf else f" >= {least:g}"
        raise ConfigError(
            f"{name} row {row}, {column}: {quote(given.iloc[row])}; expected a finite number{bound}, "
            f"or null where unknown ({int(wrong.sum())} faults in all)"
        )
    return numbers


def _whole(frame: pd.DataFrame, name: str) -> np.ndarray:
    numbers = _numbers(frame, "window", name)
    broken = np.nan_to_num(numbers) % 1 != 0
    if broken.any():
        row = int(np.flatnonzero(broken)[0])
        raise ConfigError(
            f"{name} row {row}, window: {quote(frame['window'].iloc[row])}; expected a whole number, or a time"
        )
    return numbers


def _check_times(label: pd.Index, column: str, name: str) -> None:
    if label.hasnans:
        row = int(np.flatnonzero(label.isna())[0])
        raise ConfigError(f"{name} row {row}, {column}: null; expected the window of every row")
    if not label.is_unique:
        twice = label[label.duplicated()][0]
        raise ConfigError(
            f"{name}, {column}: {twice} occurs {int((label == twice).sum())} times; "
            "expected one row per window. Chart one feature and metric at a time, or use ChartPortfolio"
        )


def _positions(
    label: pd.Index, timed: bool, numbered: bool, origin: Any, period: pd.Timedelta | None, after: int | None
) -> np.ndarray:
    """Whole windows since the first of the baseline. Those of a stream do not depend on its later windows."""
    if numbered:
        return label.to_numpy().astype(int)
    if not timed or not len(label) or (origin is None and after is not None):
        first = 0 if after is None else after + 1
        return np.arange(first, first + len(label))
    start = label[0] if origin is None else origin
    if (label.tz is None) != (start.tz is None):  # type: ignore[attr-defined]
        raise ConfigError(
            f"stream, window_start: {label[0]}; expected times {'without' if start.tz is None else 'with'} a time zone, "
            f"as in the baseline ({start})"
        )
    step = period or (spacing(label) if after is None else None) or pd.Timedelta(days=1)
    whole = pd.Timedelta(step).as_unit(label.unit)  # type: ignore[attr-defined]
    if whole == step and start.unit == label.unit:  # type: ignore[attr-defined]
        since = label.asi8 - start.asm8.astype("int64")  # type: ignore[attr-defined]
        return np.round(since / whole.asm8.astype("int64")).astype(int)
    return np.round(np.asarray((label - start) / step)).astype(int)


def check_values(windows: Windows, kind: str, bounds: tuple[float, float], name: str) -> None:
    """Refuse what a chart of this kind cannot hold; `bounds` are the ends of a value's scale."""
    value, n, (least, most) = windows.value, windows.n, bounds
    there = ~np.isnan(value) & ~(n == 0)
    slack = 1e-9 * (most - least) if np.isfinite(most - least) else 0.0  # a weighted mean of the best scores is rounded
    rules: dict[str, list[tuple[np.ndarray, str, str]]] = {
        "mean": []
        if not np.isfinite(least)
        else [((value < least - slack) | (value > most + slack), "value", f"a score from {least:g} to {most:g}")],
        "positive": [(value <= 0, "value", "a number above 0 for kind='positive'")],
        "count": [(value < 0, "value", "a count of at least 0")],
        "proportion": [
            (np.isnan(n), "n", "the number of answers: kind='proportion' needs it in every window"),
            ((value < -slack) | (value > 1 + slack), "value", "a share between 0 and 1"),
        ],
    }
    for broken, column, words in rules[kind]:
        if (there & broken).any():
            row = int(np.flatnonzero(there & broken)[0])
            raise ConfigError(f"{name} row {row}, {column}: {quote(getattr(windows, column)[row])}; expected {words}")


def _check_enough(value: np.ndarray, name: str, windows: int, distinct: int, chart: str) -> None:
    found = value[~np.isnan(value)]
    if len(found) < windows:
        raise ConfigError(
            f"{name}: {len(found)} windows with a value; {chart} needs {windows}. Give earlier windows, or shorter ones"
        )
    if distinct > 1 and len(np.unique(found)) < distinct:
        raise ConfigError(
            f"{name}: {len(found)} windows, all of them {found[0]}; {chart} needs {distinct} distinct values. "
            "Give earlier windows, or kind='proportion' of ControlChart for rare events"
        )
