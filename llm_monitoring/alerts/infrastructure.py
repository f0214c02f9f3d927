"""The infrastructure layer: errors, latency and volume against fixed limits, window by window, never on one of two requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import engines, windows
from llm_monitoring.alerts.events import Event
from llm_monitoring.alerts.measurements import Span
from llm_monitoring.alerts.plan import InfrastructurePlan
from llm_monitoring.intervals import wilson

if TYPE_CHECKING:
    from llm_monitoring.log import Log

WIDER = ("1h", "6h", "1d")
TAILS = {"latency_p95_ms": 0.05, "latency_p99_ms": 0.01}
MONTH = pd.Timedelta("30D")


def infrastructure_events(log: Log, plan: InfrastructurePlan, span: Span) -> list[Event]:
    """What passed a limit in the watched time.

    A window counts where it holds `min_requests` and the interval's end is beyond the limit: Wilson's for the share of
    errors and for the share of requests slower than the latency limit (p95 is over a limit where more than 5 % are),
    the exact Poisson interval for volume. `for` windows in a row fire; the event ends where the value is back by the
    hysteresis.
    """
    if not plan.enabled:
        return []
    events: list[Event] = []
    limits = _latency_limits(log, plan, span)
    for width, features in _widths(log, plan, span).items():
        cells = _cells(log, width, features, limits)
        cells = cells[cells["window_end"] <= span.end]
        for feature, own in cells.groupby("feature_id", sort=True):
            events += _of_feature(str(feature), own, plan, span, limits, width)
    return events


def _widths(log: Log, plan: InfrastructurePlan, span: Span) -> dict[str, list[str]]:
    """Feature -> the shortest width, from the plan's on, in which a usual window holds `min_requests`."""
    requests = log.table("requests")
    before = requests.filter(requests.timestamp < span.split)
    counts = engines.run(before.group_by("feature_id").aggregate(n=before.count())).to_pandas()
    found: dict[str, list[str]] = {}
    for feature, n in zip(counts["feature_id"], counts["n"]):
        a_second = n / (span.split - span.start).total_seconds()
        fits = (w for w in (plan.window, *WIDER) if a_second * windows.width(w).total_seconds() >= plan.min_requests)
        width = next(fits, None)
        if width is not None:
            found.setdefault(width, []).append(feature)
    return found


def _latency_limits(log: Log, plan: InfrastructurePlan, span: Span) -> dict[tuple[str, str], float]:
    """(feature, metric) -> limit in ms: the plan's, or its multiple of the baseline's quantile."""
    requests = log.table("requests")
    before = requests.filter(requests.timestamp < span.split)
    quantiles = {name: before.latency_ms.quantile(1 - tail) for name, tail in TAILS.items()}
    base = engines.run(before.group_by("feature_id").aggregate(**quantiles)).to_pandas()
    fixed = {"latency_p95_ms": plan.latency_p95_ms, "latency_p99_ms": plan.latency_p99_ms}
    return {
        (row["feature_id"], name): float(fixed[name] or plan.latency_factor * row[name])
        for row in base.to_dict("records")
        for name in TAILS
        if fixed[name] or pd.notna(row[name])
    }


def _cells(log: Log, width: str, features: list[str], limits: dict) -> pd.DataFrame:
    """Per feature and window: requests, errors, latencies known, and those over each limit; empty windows with n 0."""
    import ibis

    requests = log.table("requests")
    rows, keys = windows.keyed(requests.filter(requests.feature_id.isin(features)), "timestamp", width, ["feature_id"])
    sums = {"n": rows.count(), "errors": rows.error.count(), "timed": rows.latency_ms.count()}
    for name in TAILS:
        own = [(rows.feature_id == f, limits[f, name]) for f in features if (f, name) in limits]
        limit = ibis.cases(*own) if own else ibis.null("float64")
        sums[f"over_{name}"] = (rows.latency_ms > limit).sum()
    found = engines.run(rows.group_by(keys).aggregate(**sums)).to_pandas()
    cells = windows.labelled(found, width, ["feature_id"]).drop(columns="_window")
    cells = windows.filled(cells, width, ["feature_id"])
    numbers = ["n", "errors", "timed", *(f"over_{name}" for name in TAILS)]
    return cells.assign(**{name: cells[name].fillna(0) for name in numbers})


def _of_feature(
    feature: str, own: pd.DataFrame, plan: InfrastructurePlan, span: Span, limits, width
) -> Iterator[Event]:
    own = own.sort_values("window_start", ignore_index=True)
    late = own[own["window_start"] >= span.split].reset_index(drop=True)
    if late.empty:
        return
    yield from _shares(feature, late, "error_rate", late["errors"], late["n"], plan.error_rate, None, plan, width)
    for name, tail in TAILS.items():
        if (feature, name) in limits:
            over = late[f"over_{name}"]
            yield from _shares(feature, late, name, over, late["timed"], tail, limits[feature, name], plan, width)
    yield from _volume(feature, own, late, plan, span, width)


def _shares(feature, late, metric, k, n, share, shown, plan: InfrastructurePlan, width) -> Iterator[Event]:
    """A share above its limit. `shown` is the latency limit that the share is about."""
    low, high = wilson(k, n, plan.level)
    enough = (n >= plan.min_requests).to_numpy()
    beyond = enough & (np.nan_to_num(low) > share)
    back = enough & (k / n.where(n > 0) < share * (1 - plan.hysteresis)).to_numpy()
    for start, last in _runs(beyond, back, plan.for_windows):
        fired = late["window_end"][start + plan.for_windows - 1]
        part = slice(start, start + plan.for_windows)
        kk, nn = float(k[part].sum()), float(n[part].sum())
        ends = wilson(kk, nn, plan.level)
        words = None
        if shown is not None:
            from llm_monitoring.wording import amount, metric_words, number

            words = (
                f"{feature}: {metric_words(metric)} is over {amount(shown, 'ms')}, "
                f"{amount(kk / nn, 'share')} of {number(nn)} requests were slower"
            )
        yield _event(feature, metric, late, start, fired, last, kk / nn, share, float(ends[0]), float(ends[1]), "up",
                     round(nn), share, plan, width, words)  # fmt: skip


def _volume(feature, own, late, plan: InfrastructurePlan, span: Span, width) -> Iterator[Event]:
    """Requests against the mean of the same hour of the week in the baseline (of the same hour of the day under two weeks)."""
    step = windows.width(width)
    week = span.split - span.start >= pd.Timedelta("14D")
    cycle = pd.Timedelta("7D") if week else pd.Timedelta("1D")
    slot = ((own["window_start"] - windows.ANCHOR) % cycle) // max(step, pd.Timedelta("1h"))
    before = own["window_start"] < span.split
    usual = slot.map(own["n"][before].groupby(slot[before]).mean())[~before].reset_index(drop=True)
    n, a = late["n"].to_numpy(float), (1 - plan.level) / 2
    low = np.where(n > 0, stats.chi2.ppf(a, 2 * n) / 2, 0.0)
    high = stats.chi2.ppf(1 - a, 2 * (n + 1)) / 2
    enough = (usual >= plan.min_requests).to_numpy()
    for direction, beyond, limit in (
        ("down", enough & (high < plan.volume_low * usual), plan.volume_low),
        ("up", enough & (low > plan.volume_high * usual), plan.volume_high),
    ):
        inside = (
            (usual * limit * (1 + plan.hysteresis) < n)
            if direction == "down"
            else (usual * limit * (1 - plan.hysteresis) > n)
        )
        for start, last in _runs(np.asarray(beyond), np.asarray(inside), plan.for_windows):
            i = start + plan.for_windows - 1
            yield _event(feature, "request_count", late, start, late["window_end"][i], last, n[i], float(usual[i]), float(low[i]),
                         float(high[i]), direction, round(n[i]), float(limit * usual[i]), plan, width, None)  # fmt: skip


def _runs(beyond: np.ndarray, back: np.ndarray, needed: int) -> Iterator[tuple[int, int]]:
    """First and last window of each run: `needed` windows beyond in a row begin it, a window that is back ends it."""
    i = 0
    while i + needed <= len(beyond):
        if beyond[i : i + needed].all():
            later = np.flatnonzero(back[i + needed :])
            end = i + needed + int(later[0]) if len(later) else len(beyond)
            outside = np.flatnonzero(beyond[i:end])
            yield i, i + int(outside[-1])
            i = end
        i += 1


def _event(
    feature, metric, late, start, fired, last, value, expected, low, high, direction, n, limit, plan, width, words
) -> Event:
    a_month = MONTH / windows.width(width) * ((1 - plan.level) / 2) ** plan.for_windows
    return Event(
        layer="infrastructure", metric=metric, feature_id=feature, fired_at=fired, window_start=late["window_start"][start],
        began=late["window_start"][start], began_low=late["window_start"][start], began_by=fired, ended=late["window_end"][last],
        value=value, expected=expected, low=low, high=high, direction=direction, n=n, designed=float(a_month), limit=limit,
        words=words,
    )  # fmt: skip
