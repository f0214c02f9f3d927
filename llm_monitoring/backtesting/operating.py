"""Latency and volume: the charts beside the fixed limits, with a fault in their windows."""

from __future__ import annotations

import numpy as np
import pandas as pd

from llm_monitoring.alerts.operation import NOBODY, QUANTILES
from llm_monitoring.backtesting.injection import Injection
from llm_monitoring.backtesting.replay import FOUND, HourlySums, Key, Replay, WatchedChart, hours_of, is_loud


def charts_of(replay: Replay, injection: Injection, features: list[str]) -> list[Key]:
    """The charts that a fault can be tried on: of latency only where it hits every answer of a feature."""
    if injection.what == "volume":
        return replay.keys(("request_count",), features)
    every = injection.share == 1 and set(injection.where) <= {"feature_id"}
    return replay.keys(tuple(QUANTILES), features) if every else []


def seen(
    replay: Replay,
    keys: list[Key],
    counts: pd.DataFrame,
    hit: pd.DataFrame,
    starts: list[pd.Timestamp],
    fault: Injection,
) -> pd.DataFrame:
    """When each chart alarms if the fault begins at each of the starts; columns as `Replay.seen` has them.

    Parameters
    ----------
    counts, hit : DataFrame
        Requests of each window of the infrastructure layer, without the fault and with it from beginning to end.
    """
    rows: list[tuple] = []
    loud = replay.loud(keys)
    direction = "up" if fault.size > 1 else "down"
    for key in keys:
        chart = replay.watched(key)
        hours = _requests(counts, hit, key[0]) if fault.what == "volume" else None
        for number, start in enumerate(starts):
            end = start + pd.Timedelta(days=fault.days)
            touched = None if is_loud(loud[key], start, fault.days) else chart.touched(start, end)
            if touched is None:
                continue
            values = (
                _slower(chart, touched, start, end, fault.size)
                if hours is None
                else _asked(chart, hours, touched, start, end)
            )
            fired = chart.alarm_from(touched[0], values[0], values[1], direction)
            if fired is not None:
                rows.append((number, *key, fired))
    return pd.DataFrame(rows, columns=FOUND)


def _requests(counts: pd.DataFrame, hit: pd.DataFrame, feature: str) -> HourlySums:
    """Requests of a feature hour by hour, without and with the fault."""
    tables = [table[table["feature_id"] == feature] for table in (counts, hit)]
    places = [hours_of(table["window_start"]) for table in tables]
    first, last = min(at.min() for at in places), max(at.max() for at in places)
    both = [
        np.bincount(at - first, table["requests"].to_numpy(float), last - first + 1)[:, None]
        for at, table in zip(places, tables)
    ]
    return HourlySums(int(first), *both)


def _asked(chart: WatchedChart, hours: HourlySums, touched: tuple[int, int], start: pd.Timestamp, end: pd.Timestamp):
    """Requests of the windows that the fault reaches, and n, as `operation_windows` has them."""
    sums = chart.sums(hours, *touched, *hours_of([start, end]))[:, 0]
    return np.maximum(sums, NOBODY).tolist(), [float("nan")] * len(sums)


def _slower(chart: WatchedChart, touched: tuple[int, int], start: pd.Timestamp, end: pd.Timestamp, factor: float):
    """Latency of those windows, and n: a window that the fault fills is so many times as slow, others stay as they are."""
    opens, (begins, ends) = chart.opens[slice(*touched)], hours_of([start, end])
    filled = (opens >= begins) & (opens + chart.size <= ends)
    value, n = (chart.table[name].to_numpy(float)[slice(*touched)] for name in ("value", "n"))
    return (value * np.where(filled, factor, 1.0)).tolist(), n.tolist()
