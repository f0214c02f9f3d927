"""Has the hit slice recovered? A sequential non-inferiority test since the fix, valid however often somebody looks.

Wald's test between "as before" and "worse by the margin", on the difference between the answers since the fix and those of
before. The error of the old level and the effects of days are part of the model, so that a short past or a lucky day does
not pass for a recovery.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import wording as say
from llm_monitoring.incident.inference.causes import VERSION_OF, declared_scope, in_scope
from llm_monitoring.incident.inference.comparison import LEAST_TO_TELL
from llm_monitoring.incident.inference.inquiry import Inquiry
from llm_monitoring.incident.inference.observations import Observations
from llm_monitoring.incident.inference.slices import Slice, counts, last_time

if TYPE_CHECKING:
    from llm_monitoring.log import Log

FALSELY, MISSED, POWER, LEVEL = 0.05, 0.10, 0.8, 0.05
MARGINS = {"score": (0.1, 0.25), "share": (0.025, 0.0625), "log": (np.log(1.1), np.log(1.1))}
DAY_SCALE = {"score": 0.08, "share": 0.02, "log": 0.06}
NEAR, NEXT = pd.Timedelta("1D"), pd.Timedelta("1us")
FIXED_BY = VERSION_OF | {"deployment": "prompt_version"}


@dataclass(frozen=True)
class Baseline:
    """The level of before on the scale where more is worse, and what the test takes as known.

    Attributes
    ----------
    level, variance : float
        Mean, and the variance of that mean with the effects of days in it.
    row_variance : float
        Of a single answer at the edge of what would still be accepted.
    day_variance : float
        Of the effect of a day.
    margin : float
        The harm that would still be too much.
    """

    level: float
    variance: float
    row_variance: float
    day_variance: float
    margin: float


def recovery(log: Log, inquiry: Inquiry, group: Slice) -> dict[str, Any]:
    """Test whether a slice is back at the earlier level.

    Parameters
    ----------
    log : Log
        The fix is the last change recorded after the alert whose scope reaches the slice, or the moment since which the version that
        came with the cause is not served any more.
    inquiry : Inquiry
    group : Slice
        The slice that was hit.

    Returns
    -------
    dict
        test (in words), needed_n (answers after which a full recovery is shown with probability 0.8; None where the
        past is too short for any number), expected_n (on average), days and by (how long that takes at this traffic, and
        by when: from the fix, or from the end of the log where there is none yet), days_if_all_judged (where that is
        quicker), margin, n (answers since the fix that
        count), left_out (those of another judge or rubric), recovered (True, False or None: not decided), because, change with
        low and high (95 % at any number of looks), decided_at and fix (change_id, at; the
        change_id is None where the version that came with the cause left the traffic, and nobody recorded why).

    Notes
    -----
    With x the harm of an answer (a flag, minus the score, the logarithm of a cost), D the difference of the mean since
    the fix and the mean before, and V its variance, the log likelihood ratio of "no harm" to "harm of the margin m" is
    m (m / 2 - D) / V [1]_. Recovered: it has passed log(1 / 0.05) at some answer and does not stand below log(0.1) now.
    By Ville's inequality that happens with probability 0.05 at most, over all looks together, where the harm is m or
    more [2]_. A latency quantile is tested as the share of answers above the old quantile.

    References
    ----------
    .. [1] Wald, Sequential tests of statistical hypotheses, Ann. Math. Stat. 16 (1945).
    .. [2] Ramdas, Gruenwald, Vovk, Shafer, Game-theoretic statistics and safe anytime-valid inference, Stat. Sci. 38 (2023).
    """
    seen = inquiry.seen
    rows, judge, left_out = _same_judge(log, seen, seen.frame[seen.mask(group)], inquiry.since)
    rows, scale = _harm(seen, rows, inquiry.since)
    before = rows[rows["timestamp"] < inquiry.since]
    if len(before) < 2:
        because = "Too few earlier answers to compare with."
        return {**untested(because), "test": "too few answers before"}
    fix = _fix(log, inquiry, group)
    at = None if fix is None else fix["at"]
    since = rows["timestamp"] >= inquiry.since
    hit = rows[since] if at is None else rows[since & (rows["timestamp"] < at)]
    after = rows.iloc[:0] if at is None else rows[rows["timestamp"] >= at]
    base = _baseline(before, hit, scale, seen.step)
    per_day = _per_day(rows[since])
    needed = _planned(base, per_day, _information(POWER))
    state: dict[str, Any] = {
        "needed_n": needed,
        "expected_n": _planned(base, per_day, 2 * np.log(1 / FALSELY)),
        "margin": base.margin,
        "fix": fix,
    }
    now = last_time(seen.requests)
    days = None if needed is None else needed / per_day
    requests = seen.asked(inquiry.since)
    asked = _per_day(requests[group.mask(requests) & (requests["timestamp"] >= inquiry.since)])
    quicker = days is not None and seen.alert.judged and asked > 1.5 * per_day
    state |= {"days": days, "by": None if days is None else (at if at is not None else now) + pd.Timedelta(days=days)}
    state["days_if_all_judged"] = needed / asked if quicker and needed is not None else None
    since_fix = left_out if at is None else left_out[left_out["timestamp"] >= at]
    state |= {"test": _test_words(seen, group, base, scale, state), "left_out": len(since_fix)}
    if fix is None:
        because = f"No change that reaches {group.label} is recorded after the alert: nothing to test yet."
        return {**untested(because), **state}
    return {
        **state,
        **_decide(seen, after, base, scale, (fixed_by(fix, inquiry), fix["at"]), judge, len(since_fix), state, now),
    }


def while_harmed(log: Log, inquiry: Inquiry) -> Observations:
    """The answers until the fix: what the change did, and what waiting costs, is read from these."""
    return until_fix(inquiry.seen, _fix(log, inquiry, inquiry.slice))


def until_fix(seen: Observations, fix: dict[str, Any] | None) -> Observations:
    """The answers before a fix; all of them where there is none."""
    return seen if fix is None else seen.before(fix["at"])


def untested(because: str) -> dict[str, Any]:
    """The state of a recovery that was not tested."""
    unknown = (
        "needed_n",
        "expected_n",
        "days",
        "by",
        "margin",
        "recovered",
        "change",
        "low",
        "high",
        "decided_at",
        "fix",
    )
    return {"test": "none", **dict.fromkeys(unknown), "n": 0, "left_out": 0, "because": because}


def log_ratios(after: pd.DataFrame, base: Baseline) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Difference from before, its variance and the log likelihood ratio of recovery, after each answer.

    Parameters
    ----------
    after : DataFrame
        timestamp and harm, in the order of time.
    base : Baseline
    """
    day, harm = _day(after), after["harm"].to_numpy(float)
    place = np.arange(len(harm))
    first = np.searchsorted(day, day)
    total = np.cumsum(harm)
    n = place - first + 1
    mean = (total - np.where(first > 0, total[first - 1], 0.0)) / n
    weight = 1 / (base.day_variance + base.row_variance / n)
    closed = np.cumsum(np.where(np.append(day[1:] != day[:-1], True), weight, 0.0))
    closed_mean = np.cumsum(np.where(np.append(day[1:] != day[:-1], True), weight * mean, 0.0))
    before, before_mean = (np.where(first > 0, part[first - 1], 0.0) for part in (closed, closed_mean))
    total = before + weight
    change = (before_mean + weight * mean) / total - base.level
    variance = (1 / total + base.variance) * _wider(harm, base.row_variance)
    return change, variance, base.margin * (base.margin / 2 - change) / variance


def _wider(harm: np.ndarray, known: float) -> np.ndarray:
    """How much more the answers so far vary than those of before, at least 1; known from 20 answers on."""
    n = np.arange(1, len(harm) + 1)
    off = harm - harm[0]
    so_far = (np.cumsum(off**2) - np.cumsum(off) ** 2 / n) / np.maximum(n - 1, 1)
    return np.where(n >= LEAST_TO_TELL, np.maximum(so_far / known, 1.0), 1.0)


def _decide(
    seen: Observations, after: pd.DataFrame, base: Baseline, scale: str, fix: tuple[str, pd.Timestamp], judge: str, left_out: int,
    state: dict[str, Any], now: pd.Timestamp,
) -> dict[str, Any]:  # fmt: skip
    since = f"since {fix[0]} ({say.moment(fix[1])})"
    other = f" {left_out:,} answers {since} were scored by another judge or rubric than {judge} and do not count."
    other = other if left_out else ""
    unknown = {"change": None, "low": None, "high": None, "decided_at": None, "recovered": None, "n": len(after)}
    if not len(after):
        return {**unknown, "because": f"No answer {since} yet.{other}"}
    change, variance, ratio = log_ratios(after, base)
    passed = (ratio >= np.log(1 / FALSELY)) & (np.arange(1, len(ratio) + 1) >= LEAST_TO_TELL)
    worse = bool(ratio[-1] <= np.log(MISSED)) and len(ratio) >= LEAST_TO_TELL
    recovered = False if worse else True if passed.any() else None
    low, high = (change[-1] + side * _reach(variance[-1], base.margin) for side in (-1, 1))
    decided = after["timestamp"].iloc[int(np.argmax(passed))] if passed.any() else None
    told = (
        f"{_amount(seen, change[-1], scale)} {_span(seen, low, high, scale)} {since} against before, n {len(after):,}"
    )
    word = {True: "Recovered", False: "Not recovered", None: "Not decided"}[recovered]
    if recovered is None and state["by"] is not None:
        told += _to_go(state["by"], now)
    return {
        **unknown,
        "recovered": recovered,
        "change": _signed(seen, change[-1]),
        "low": min(_signed(seen, low), _signed(seen, high)),
        "high": max(_signed(seen, low), _signed(seen, high)),
        "decided_at": decided if recovered else None,
        "because": f"{word}: {told}.{other}",
    }


def _to_go(by: pd.Timestamp, now: pd.Timestamp) -> str:
    """How long the test still takes, in words."""
    if by <= now:
        return "; longer than a full recovery mostly takes: look at the next day's answers"
    return f"; about {_days_words((by - now) / pd.Timedelta('1D'))} more at this traffic, by {say.day(by)}"


def _reach(variance: float, margin: float) -> float:
    """Half width of the interval that holds at any number of looks (Robbins' normal mixture, tightest near the plan)."""
    time, width = 1 / variance, -2 * np.log(LEVEL)
    tuned = _information(POWER) / margin**2 / (width + np.log(width) + 1)
    return float(np.sqrt((time + tuned) * np.log((time + tuned) / (tuned * LEVEL**2))) / time)


@cache
def _information(power: float) -> float:
    """m^2 / V by which the ratio passes its limit with this probability after a full recovery.

    The ratio is then a Brownian motion with drift one half, and its first passage inverse Gaussian.
    """
    limit = np.log(1 / FALSELY)
    return float(stats.invgauss.ppf(power, 2 / limit, scale=limit**2))


def _planned(base: Baseline, per_day: float, information: float) -> int | None:
    """Answers since the fix that bring this information; None where the error of the old level alone is too large."""
    left = base.margin**2 / information - base.variance
    if left <= 0:
        return None
    n = (per_day * base.day_variance + base.row_variance) / left
    if n < per_day:  # within a day: its effect stands whole
        n = base.row_variance / (left - base.day_variance)
    return max(int(np.ceil(n)), LEAST_TO_TELL)


def _baseline(before: pd.DataFrame, hit: pd.DataFrame, scale: str, step: float) -> Baseline:
    old = before["harm"].to_numpy(float)
    low, high = (step * end for end in MARGINS[scale])
    fall = (hit["harm"].mean() - old.mean()) / 3 if len(hit) else 0.0
    margin = float(np.clip(fall, low, high))
    n, mean, within = _days(before)
    if scale == "share":
        level = (old.sum() + 0.5) / (len(old) + 1)
        edge = min(level + margin, max(0.5, level))
        single, edge_variance = level * (1 - level), edge * (1 - edge)
    else:
        single = edge_variance = max(within, 1e-9)
    day = _day_variance(n, mean, single, step * DAY_SCALE[scale])
    weight = 1 / (day + single / n)
    return Baseline(float(mean @ weight / weight.sum()), float(1 / weight.sum()), float(edge_variance), day, margin)


def _day(rows: pd.DataFrame) -> np.ndarray:
    return rows["timestamp"].dt.floor("D").dt.as_unit("s").astype("int64").to_numpy()


def _days(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, float]:
    """Answers and mean of each day, and the variance of a single answer within its day."""
    harm = rows["harm"].to_numpy(float)
    _, code = np.unique(_day(rows), return_inverse=True)
    n = np.bincount(code)
    mean = np.bincount(code, weights=harm) / n
    freedom = len(harm) - len(n)
    return n, mean, float(((harm - mean[code]) ** 2).sum() / freedom) if freedom > 0 else float(harm.var())


def _day_variance(n: np.ndarray, mean: np.ndarray, single: float, usual: float) -> float:
    """Variance of a day's effect, on the safe side: the upper quartile of what the answers of before leave possible.

    A few days do not say how much days differ; taken too small, a lucky day would pass for a recovery. Prior: half-normal
    of one and a half times the usual scale; likelihood: the days' means with their common level integrated out.
    """
    scale = np.linspace(0, 6, 241)[:, None] * usual
    variance = scale**2 + single / n
    precision = (1 / variance).sum(axis=1)
    level = (mean / variance).sum(axis=1) / precision
    fit = -0.5 * (
        np.log(variance).sum(axis=1) + np.log(precision) + ((mean - level[:, None]) ** 2 / variance).sum(axis=1)
    )
    belief = fit - 0.5 * (scale[:, 0] / (1.5 * usual)) ** 2
    weight = np.cumsum(np.exp(belief - belief.max()))
    return float(scale[np.searchsorted(weight, 0.75 * weight[-1]), 0] ** 2)


def _per_day(rows: pd.DataFrame) -> float:
    if not len(rows):
        return 1.0
    days = (last_time(rows) - rows["timestamp"].min()) / pd.Timedelta("1D")
    return float(counts(rows).sum() / max(days, 1.0))


def _harm(seen: Observations, rows: pd.DataFrame, since: pd.Timestamp) -> tuple[pd.DataFrame, str]:
    """The rows with `harm`, on the scale of the test where more is worse."""
    sign = seen.sign if seen.alert.harmful else -seen.sign
    value = rows["value"].to_numpy(float)
    if seen.alert.metric.startswith("latency_p"):
        old = value[(rows["timestamp"] < since).to_numpy()]
        limit = np.quantile(old, float(seen.alert.metric.split("_")[1][1:]) / 100) if len(old) else np.nan
        return rows.assign(harm=(value > limit).astype(float)), "share"
    if seen.scale == "log":
        return rows.assign(harm=sign * np.log(np.maximum(value, 1e-12))), "log"
    harm = value if seen.scale == "share" and sign > 0 else 1 - value if seen.scale == "share" else sign * value
    return rows.assign(harm=harm), seen.scale


def _same_judge(
    log: Log, seen: Observations, rows: pd.DataFrame, since: pd.Timestamp
) -> tuple[pd.DataFrame, str, pd.DataFrame]:
    """The rows scored by the judge and rubric of before, in words which, and the rows of others."""
    columns = [name for name in ("judge_model", "rubric_version") if name in seen.frame]
    if not seen.alert.judged or not columns:
        return rows, "", rows.iloc[:0]
    of_row, *more = (rows[name].astype("string").fillna("").astype(object) for name in columns)
    for one in more:
        of_row = of_row + ", " + one
    old = of_row[rows["timestamp"] < since]
    if not len(old):
        return rows, "", rows.iloc[:0]
    judge = old.iloc[-1]
    same = of_row == judge
    return rows[same], judge.strip(", ") or "the unnamed one", rows[~same]


def _fix(log: Log, inquiry: Inquiry, group: Slice) -> dict[str, Any] | None:
    """The last change after the alert that reaches the slice, with the moment when it went live; else, the end of the bad version.

    What went live before the answers got worse has mended nothing.
    """
    seen = inquiry.seen
    requests = seen.requests[group.mask(seen.requests)]
    later = log.changes[log.changes["timestamp"] > seen.alert.fired_at].sort_values(["timestamp", "change_id"])
    for row in reversed(later.to_dict("records")):
        if in_scope(declared_scope(row, seen), requests).any():
            at = _live(row, group, inquiry)
            if at > inquiry.since:
                return {"change_id": row["change_id"], "at": at}
    if inquiry.left is None:
        return None
    return {"change_id": None, "at": inquiry.left[1]}


def fixed_by(fix: dict[str, Any], inquiry: Inquiry) -> str:
    """A fix within a sentence: the change that was recorded, or the version that left the traffic without a record."""
    return fix["change_id"] or f"{inquiry.left[0]} left the traffic"  # type: ignore[index]


def _live(row: dict[str, Any], group: Slice, inquiry: Inquiry) -> pd.Timestamp:
    """The first answer, within a day of the logged time, of a version that the incident did not have; else that time."""
    column, at, fired_at = FIXED_BY.get(row["kind"]), row["timestamp"], inquiry.seen.alert.fired_at
    if column is None or column not in inquiry.seen.requests:
        return at
    first, after = max(at - NEAR, fired_at + NEXT), at + NEAR + NEXT
    requests = inquiry.seen.asked(inquiry.since, fired_at + NEXT, first, after)
    requests = requests[group.mask(requests)]
    bad = requests["timestamp"].between(inquiry.since, fired_at)
    near = (requests["timestamp"] >= first) & (requests["timestamp"] < after)
    other = requests.loc[near & ~requests[column].isin(set(requests.loc[bad, column])), "timestamp"]
    return other.min() if bad.any() and len(other) else at


def _test_words(seen: Observations, group: Slice, base: Baseline, scale: str, state: dict[str, Any]) -> str:
    metric = say.metric_words(seen.alert.metric)
    of = f"{metric} of {group.label}"
    if seen.alert.metric.startswith("latency_p"):
        of = f"the share of answers of {group.label} above the earlier {metric}"
    elif scale == "log":
        of = f"the geometric mean of {of}"
    expected = state["expected_n"]
    words = (
        f"Recovered when {of} since the fix is shown to be less than {_amount(seen, base.margin, scale).lstrip('+−')} "
        f"worse than {_level(seen, base, scale)}: Wald's sequential test, false in 5 % of cases however often you look."
    )
    if expected is None:
        return (
            f"{words} The earlier answers are too few for that: their level is not known well enough, whatever comes."
        )
    if state["days"] is None:
        return words
    start = "from the fix" if state["fix"] is not None else "if it is fixed now"
    plan = f" A full recovery is shown after about {_days_words(state['days'])} at this traffic, by {say.day(state['by'])} {start}"
    if state["days_if_all_judged"] is not None:
        plan += f"; after {_days_words(state['days_if_all_judged'])} if every answer is judged"
    return f"{words}{plan} (in 8 of 10 cases)."


def _days_words(days: float) -> str:
    return "a day" if days <= 1 else f"{say.number(np.ceil(days))} days"


def _level(seen: Observations, base: Baseline, scale: str) -> str:
    if scale == "share":
        level = base.level if _rises(seen) else 1 - base.level
        return say.amount(level, "share")
    if scale == "log":
        return say.amount(float(np.exp(_signed(seen, base.level))), seen.alert.unit)
    return say.amount(_signed(seen, base.level), seen.alert.unit)


def _rises(seen: Observations) -> bool:
    """Whether a rise of the metric is the harm."""
    return seen.alert.metric.startswith("latency_p") or (seen.sign if seen.alert.harmful else -seen.sign) > 0


def _signed(seen: Observations, harm: float) -> float:
    """A difference of harm as a difference of the metric."""
    return float(harm if _rises(seen) else -harm)


def _amount(seen: Observations, harm: float, scale: str) -> str:
    if scale == "log":
        return f"{say.number(100 * (np.exp(_signed(seen, harm)) - 1))}{say.NBSP}%"
    return say.difference(_signed(seen, harm), "share" if scale == "share" else seen.alert.unit)


def _span(seen: Observations, low: float, high: float, scale: str) -> str:
    first, last = sorted((_signed(seen, low), _signed(seen, high)))
    if scale == "log":
        return f"({say.number(100 * (np.exp(first) - 1))} to {say.number(100 * (np.exp(last) - 1))})"
    return say.span(first, last, "share" if scale == "share" else seen.alert.unit, sign=True)
