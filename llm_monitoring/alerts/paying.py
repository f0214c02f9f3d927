"""What is paid since a change: the plain mean with a bootstrap interval, and how few requests carry it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from llm_monitoring import answers, engines
from llm_monitoring.measures import Measure
from llm_monitoring.wording import amount

if TYPE_CHECKING:
    from llm_monitoring.log import Log

DRAWS, MOST_REQUESTS = 2_000, 20_000
HOUR = 3_600_000_000  # microseconds
ENOUGH = 30  # requests that say what is usual at an hour of the day; the hours around it help fewer
FAR, FEW, MUCH = 3.0, 0.1, 0.3  # how far above the usual a request is told apart, and when they are few and cost much


def paid(
    log: Log, each: Measure, feature: str, own: tuple[Measure, ...], before: tuple, after: tuple
) -> tuple[float, float, float, float, int, str | None]:
    """Plain mean since a change with its 95 % interval, the mean before, n, and a sentence on the split where few pay.

    The mean before is that of the same hours of the day: dear nights are no rise.

    Parameters
    ----------
    before, after : tuple of Timestamp
        From and to: of the baseline, and since the change.
    """
    (hours, usual), (asked, now) = _values(log, each, feature, own, before, after)
    if not len(now) or not len(usual):
        return np.nan, np.nan, np.nan, np.nan, len(now), None
    low, high = _bootstrap(now)
    there = np.isin(hours, asked)
    like = usual[there] if there.sum() >= ENOUGH else usual
    return float(now.mean()), low, high, _at_hours(usual, hours, asked), len(now), _split(like, now, each)


def _at_hours(usual: np.ndarray, hours: np.ndarray, asked: np.ndarray) -> float:
    """Mean of what was usual at the hours of the day at which requests came, each as often as it came.

    >>> float(_at_hours(np.repeat([1.0, 7.0], 40), np.repeat([12, 3], 40), np.array([3, 3, 12])))
    5.0
    """
    apart = np.abs(hours - np.arange(24)[:, None])
    apart = np.minimum(apart, 24 - apart)
    total = 0.0
    for hour, count in zip(*np.unique(asked, return_counts=True)):
        held = np.cumsum(np.bincount(apart[hour], minlength=13))
        near = apart[hour] <= min(int(np.searchsorted(held, ENOUGH)), 12)
        total += count * float(usual[near].mean())
    return total / len(asked)


def _values(
    log: Log, each: Measure, feature: str, own: tuple[Measure, ...], before: tuple, after: tuple
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The hour of the day and the cost of each request in two stretches of time, by cost, by one query."""
    rows = answers.view_of(log, "requests", own)
    rows = rows.filter(rows["feature_id"] == feature).mutate(__lm_at=engines.microseconds(rows["timestamp"]))
    stretches = [tuple(end.value // 1000 for end in when) for when in (before, after)]
    either = [(rows["__lm_at"] >= start) & (rows["__lm_at"] < end) for start, end in stretches]
    inside = rows.filter(either[0] | either[1])
    found = engines.run(inside.select("__lm_at", value=answers.value(inside, each).cast("float64"))).to_pandas()
    at, value = found["__lm_at"].to_numpy(), found["value"].to_numpy(float)
    for start, end in stretches:
        there = (at >= start) & (at < end) & ~np.isnan(value)
        hour = at[there] // HOUR % 24
        order = np.lexsort((hour, value[there]))
        yield hour[order], value[there][order]


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    """Of many values the normal interval: resampling would say the same."""
    if len(values) > MOST_REQUESTS:
        reach = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
        return float(values.mean() - reach), float(values.mean() + reach)
    rng = np.random.default_rng([0, len(values)])
    n, draws = len(values), max(200, min(DRAWS, 4_000_000 // len(values)))
    blocks = np.diff(np.r_[0 : draws : max(100_000 // n, 1), draws])  # draws at a time
    means = np.concatenate([values[rng.integers(n, size=(block, n))].mean(axis=1) for block in blocks])
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _split(usual: np.ndarray, now: np.ndarray, each: Measure) -> str | None:
    far = now > FAR * np.quantile(usual, 0.99)
    few, much = far.mean(), now[far].sum() / (now.sum() or 1.0)
    if not (0 < few <= FEW and much >= MUCH):
        return None
    typical, then = np.median(now), np.median(usual)
    same = abs(typical / then - 1) < 0.15 if then else False
    told = "unchanged" if same else f"{amount(typical, each.shown_in)}, usual {amount(then, each.shown_in)}"
    of = "the bill" if each.unit == "usd" else "the total"
    return f"{amount(few, 'share')} of the requests make {amount(much, 'share')} of {of}; the typical request is {told}"
