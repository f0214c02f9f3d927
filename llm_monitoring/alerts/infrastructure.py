"""The infrastructure layer: fixed limits on errors, latency and volume, window by window and per feature.

A window is over its limit where the exact interval's lower end is: the interval of a share for errors, of the order
statistic for a quantile (a p95 is over a limit where significantly more than 5 % of the requests are), of a Poisson
count for volume. So one error of two requests never alarms. Windows that hold too few requests to be judged are put
together, one after the other, until there are enough: at night a limit takes as many requests as by day, not as many windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import special

from llm_monitoring import answers, engines, windows
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.holidays import on_holiday
from llm_monitoring.alerts.lots import pools, together
from llm_monitoring.alerts.measurements import DAY, HOUR, WEEK
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.scopes import Span, baselines
from llm_monitoring.charts.portfolio import MONTH
from llm_monitoring.distributions import binomial_at_least, binomial_quantile, poisson_least, poisson_most
from llm_monitoring.intervals import clopper_pearson
from llm_monitoring.measures import measure
from llm_monitoring.wording import NBSP, amount, moment, number, one_line, span

if TYPE_CHECKING:
    from llm_monitoring.log import Log

DOUBTFUL = 0.1  # chance of a window so far out were the rate at its limit: of each of those that are judged together
QUANTILES = {"latency_p95_ms": 0.95, "latency_p99_ms": 0.99}


def infrastructure_events(log: Log, plan: Plan, span_: Span) -> list[Alert]:
    """Stretches of windows beyond a limit.

    Parameters
    ----------
    log : Log
    plan : Plan
    span_ : Span
        Limits on latency and volume rest on its baseline and count from there; the limit on errors counts always.

    Returns
    -------
    list of Alert
        One per stretch, fired at the end of the window that made it `for` windows in a row.
    """
    if not plan.infrastructure.enabled:
        return []
    scopes = scopes_of(log, plan)
    limits = usual_limits(log, plan, scopes)
    counts = window_counts(log, plan, limits)
    events: list[Alert] = []
    for feature, own in counts.groupby("feature_id", sort=True):
        line: Any = scopes.loc[str(feature)]
        start, fit_end = line["start"], line["fit_end"]
        first_day = start + DAY
        early = Stage(start, fit_end, window_width(own, plan, start, first_day), first_day)
        later = Stage(fit_end, None, window_width(own, plan, start, fit_end), fit_end)
        limit = dict(limits.loc[str(feature)])
        for stage, decide in ((early, decided), *looks(later, plan)):
            table = closed_windows(own, stage, start, span_)
            for one in decide(table, plan, stage, limit):
                found = runs(one.over, one.clear, one.seen, plan.infrastructure.for_windows, one.together)
                for first, fired, last, cleared in found:
                    place = (one.begin[first], one.begin[fired], fired, last)
                    event = _event(log, plan, str(feature), one.metric, table, place, limit, stage)
                    left = stage.before is not None and stage.before <= span_.asked  # other windows go on from there
                    events.append(replace(event, over=event.ended if cleared or left else None))
    return events


@dataclass(frozen=True)
class Stage:
    """Windows of one width: until the baseline is over those of the first day, then those that the baseline fills."""

    since: pd.Timestamp
    before: pd.Timestamp | None
    width: str
    known: pd.Timestamp


def scopes_of(log: Log, plan: Plan) -> pd.DataFrame:
    """By feature the first day and the end of its baseline."""
    rows = log.table("requests")
    found = engines.run(rows.group_by("feature_id").aggregate(first=rows["timestamp"].min())).to_pandas()
    return baselines(found.set_index("feature_id")["first"], plan)


def stretches(
    over: np.ndarray, clear: np.ndarray, seen: np.ndarray, needed: int, together: np.ndarray | None = None
) -> list[tuple[int, int, int]]:
    """Alarms with hysteresis: first window over, the window in which it fired, last window over.

    >>> over = np.array([0, 1, 1, 0, 1, 0, 0, 0, 1], bool)
    >>> stretches(over, ~over, np.ones(9, bool), 2)
    [(1, 2, 4)]
    """
    return [run[:3] for run in runs(over, clear, seen, needed, together)]


def runs(
    over: np.ndarray, clear: np.ndarray, seen: np.ndarray, needed: int, together: np.ndarray | None = None
) -> list[tuple[int, int, int, bool]]:
    """The same, and whether each was seen to end.

    Fires when `needed` seen windows in a row are over, or are so `together` in the last of them; ends when `needed` in a
    row are clear; unseen ones count for neither.

    >>> over = np.array([0, 1, 1, 0, 0, 1, 1, 0], bool)
    >>> runs(over, ~over, np.ones(8, bool), 2)
    [(1, 2, 2, True), (5, 6, 6, False)]
    """
    found: list[tuple[int, int, int, bool]] = []
    jointly = np.zeros(len(over), bool) if together is None else together
    if over.sum() < needed and not jointly.any():
        return found
    first = fired = last = -1
    hits = quiet = 0
    judged = np.flatnonzero(seen).tolist()
    for place, i in enumerate(judged):
        if fired < 0:
            hits = hits + 1 if over[i] else 0
            first = i if hits == 1 else first
            if jointly[i] and hits < needed:
                hits, first = needed, judged[place - needed + 1]
            fired = last = i if hits == needed else -1
            quiet = 0
        else:
            last = i if over[i] or jointly[i] else last
            quiet = quiet + 1 if clear[i] else 0
            if quiet == needed:
                found.append((first, fired, last, True))
                fired, hits = -1, 0
    return [*found, (first, fired, last, False)] if fired >= 0 else found


def usual_limits(log: Log, plan: Plan, scopes: pd.DataFrame) -> pd.DataFrame:
    """Per feature: usual error rate and latency of the baseline, and the limits on latency; NaN where not known."""
    import ibis
    import pyarrow as pa

    rows = answers.view_of(log, "requests")
    micro = scopes.apply(lambda column: column.map(lambda at: at.value // 1000)).reset_index()
    joined = rows.join(ibis.memtable(pa.Table.from_pandas(micro, preserve_index=False)), "feature_id")
    at = engines.microseconds(joined["timestamp"])
    before = joined.filter(at >= joined["start"], at < joined["fit_end"])
    asked = {metric: engines.quantile(before.latency_ms, share) for metric, share in QUANTILES.items()}
    usual = engines.run(
        before.group_by("feature_id").aggregate(error_rate=before["__lm_error"].cast("float64").mean(), **asked)
    ).to_pandas()
    features = scopes.reset_index()[["feature_id"]]
    table = features.merge(usual, how="left", on="feature_id").set_index("feature_id").astype(float)
    settings = plan.infrastructure
    for metric in QUANTILES:
        fixed = getattr(settings, metric)
        table[f"{metric}_limit"] = fixed if fixed is not None else table[metric] * settings.latency_factor
    return table


def window_counts(log: Log, plan: Plan, limits: pd.DataFrame) -> pd.DataFrame:
    """Requests, errors and slow requests per feature and window, by one query."""
    import ibis
    import pyarrow as pa

    names = [f"{metric}_limit" for metric in QUANTILES]
    rows = answers.view_of(log, "requests").select("feature_id", "timestamp", "__lm_error", "latency_ms")
    rows = rows.join(ibis.memtable(pa.Table.from_pandas(limits[names].reset_index())), "feature_id")
    window = plan.infrastructure.window
    rows, keys = windows.keyed(rows, "timestamp", window, ["feature_id"])
    slow = {metric: (rows.latency_ms > rows[f"{metric}_limit"]).ifelse(1, 0).sum() for metric in QUANTILES}
    sums = {
        "requests": rows.count(),
        "known": rows["__lm_error"].count(),
        "errors": rows["__lm_error"].sum(),
        "timed": rows.latency_ms.count(),
        **slow,
    }
    found = engines.run(rows.group_by(keys).aggregate(**sums)).to_pandas().fillna(dict.fromkeys(sums, 0))
    return windows.labelled(found, window, ["feature_id"]).sort_values(
        ["feature_id", "window_start"], ignore_index=True
    )


def window_width(own: pd.DataFrame, plan: Plan, start: pd.Timestamp, end: pd.Timestamp) -> str:
    """The plan's window, or the shortest of 1 h, 6 h, 1 d above it that most often holds enough requests."""
    before = ((own["window_start"] >= start) & (own["window_start"] < end)).to_numpy()
    begin, requests = pd.DatetimeIndex(own["window_start"])[before], own["requests"].to_numpy(float)[before]
    shortest = plan.infrastructure.window
    choices = [shortest, *(w for w in ("1h", "6h", "1d") if windows.width(w) > windows.width(shortest))]
    for width in choices[:-1]:
        _, place = np.unique(windows.places(begin, windows.ANCHOR, width), return_inverse=True)
        enough = (np.bincount(place, requests) >= plan.infrastructure.min_requests).sum()
        if enough > 0.5 * ((end - start) / windows.width(width)):
            return width
    return choices[-1]


def closed_windows(own: pd.DataFrame, stage: Stage, start: pd.Timestamp, span_: Span) -> pd.DataFrame:
    """The counts of all closed windows of one feature from its start to the stage's end, empty ones included."""
    step = windows.width(stage.width)
    end = span_.asked if stage.before is None else min(span_.asked, stage.before)
    first, after = (windows.begin(at, stage.width) for at in (start, end))
    grid = pd.date_range(first, after - step, freq=step)
    place = windows.places(own["window_start"], first, stage.width)
    inside = (place >= 0) & (place < len(grid))
    place, rows = place[inside], own[inside]
    numbers = {
        name: np.bincount(place, rows[name].to_numpy(float), minlength=len(grid))
        for name in ("requests", "known", "errors", "timed", *QUANTILES)
    }
    return pd.DataFrame({"window_start": grid, **numbers})


@dataclass(frozen=True)
class Decided:
    """Which windows are beyond one limit.

    Attributes
    ----------
    metric : str
    direction : str
        up or down.
    over, clear, seen : array of bool
        Beyond the limit, clearly within it, and judged at all. Windows put together are judged in their last one.
    begin : array of int
        Place of the first of the windows that are judged together with this one.
    together : array of bool
        Beyond the limit with those before it that make it `for` windows, each of them most likely over: as unlikely as
        each of them by itself is.
    """

    metric: str
    direction: str
    over: np.ndarray
    clear: np.ndarray
    seen: np.ndarray
    begin: np.ndarray
    together: np.ndarray


def decided(table: pd.DataFrame, plan: Plan, stage: Stage, limit: dict) -> Iterator[Decided]:
    """Per metric and direction: which windows are over the limit, which are clearly under it, and which can be judged."""
    settings = plan.infrastructure
    tail, ease = (1 - settings.level) / 2, 1 - settings.hysteresis
    watched = (table["window_start"] >= stage.since).to_numpy()
    shares = [("error_rate", "errors", "known", settings.error_rate)]
    if stage.before is None:
        known = [metric for metric in QUANTILES if np.isfinite(limit[f"{metric}_limit"])]
        shares += [(metric, metric, "timed", 1 - QUANTILES[metric]) for metric in known]
    for metric, events, of, share in shares:
        all_n, all_k = (np.where(watched, table[name].to_numpy(float), 0.0) for name in (of, events))
        seen, begin = pools(all_n, settings.min_requests)
        n, k = together(all_n, begin), together(all_k, begin)
        likely = binomial_at_least(k, n, share)  # below the tail where Clopper-Pearson's end is over the limit
        several, since = _in_a_row(seen & (likely < DOUBTFUL), seen, begin, settings.for_windows)
        in_all = binomial_at_least(together(all_k, since), together(all_n, since), share)
        with np.errstate(divide="ignore", invalid="ignore"):
            clear = k / n < ease * share
        jointly = several & (in_all < tail**settings.for_windows)
        yield Decided(metric, "up", seen & (likely < tail), clear, seen, begin, jointly)
    if stage.before is None and watched.any() and not watched.all():
        yield _surges(table, plan, stage, watched, tail)


def _in_a_row(likely: np.ndarray, seen: np.ndarray, begin: np.ndarray, needed: int) -> tuple[np.ndarray, np.ndarray]:
    """Where so many judged windows in a row are `likely`, and where the first of them begins.

    >>> _in_a_row(np.array([1, 1, 0, 1], bool), np.array([1, 1, 0, 1], bool), np.array([0, 1, 2, 2]), 2)
    (array([False,  True, False,  True]), array([0, 0, 2, 1]))
    """
    at = np.flatnonzero(seen)[needed - 1 :]
    first = np.flatnonzero(seen)[: len(at)]
    counted = np.cumsum(likely[seen])
    there, since = np.zeros(len(seen), bool), begin.copy()
    there[at] = counted[needed - 1 :] - np.r_[0, counted[: max(len(at) - 1, 0)]][: len(at)] == needed
    since[at] = begin[first]
    return there, since


def _surges(table: pd.DataFrame, plan: Plan, stage: Stage, watched: np.ndarray, tail: float) -> Decided:
    """A rise of volume is looked for in each window."""
    settings = plan.infrastructure
    aside, _, total, size = _usual(table, plan, stage, watched)
    watched = watched & ~aside
    count, share, ease = table["requests"].to_numpy(float), settings.volume_high, settings.hysteresis
    calm = count < share * (1 - ease) * np.nan_to_num(total / size)
    surged = poisson_least(count, tail) > share * poisson_most(total, tail) / size
    alone = np.zeros(len(table), bool)
    return Decided("request_count", "up", watched & surged, calm, watched, np.arange(len(table)), alone)


def _usual(table: pd.DataFrame, plan: Plan, stage: Stage, watched: np.ndarray) -> tuple[np.ndarray, ...]:
    """What windows are aside (holidays), and what `learnt_volume` says; the table gets a column `usual`."""
    aside = on_holiday(table["window_start"], table["window_start"] + windows.width(stage.width), plan)
    slot, total, size = learnt_volume(table, watched, aside)
    table["usual"] = total / size
    return np.asarray(aside), slot, total, size


def looks(later: Stage, plan: Plan) -> tuple[tuple[Stage, Any], ...]:
    """The windows of a feature after its baseline, each with the function that decides over them."""
    return (later, decided), (_fall_stage(later, plan), falls)


def _fall_stage(later: Stage, plan: Plan) -> Stage:
    """The windows in which volume is counted where it may fall: of an hour where those of the feature are wider.

    They stand together until enough is missing, so that traffic that stops in the evening is not told six hours later than it
    could be.
    """
    hour = windows.width(later.width) > HOUR >= windows.width(plan.infrastructure.window)
    return replace(later, width="1h") if hour else later


def falls(table: pd.DataFrame, plan: Plan, stage: Stage, limit: dict) -> Iterator[Decided]:
    """A fall of volume is looked for in lots of windows that usually hold so many requests that none at all would be one."""
    settings, tail = plan.infrastructure, (1 - plan.infrastructure.level) / 2
    watched = (table["window_start"] >= stage.since).to_numpy()
    if not watched.any() or watched.all():
        return
    step, ease, count = windows.width(stage.width), settings.hysteresis, table["requests"].to_numpy(float)
    aside, slot, total, size = _usual(table, plan, stage, watched)
    watched = watched & ~aside
    known, share = watched & (size > 0), settings.volume_low  # hours that had none count: the others overstate the rate
    if not known.any() or not share:
        return
    count, usual, sd = (np.where(known, each, 0.0) for each in (count, total / size, np.sqrt(total) / size))
    hours = float(np.nanmin(size)) * min(step / HOUR, 1.0)  # windows of one hour are learnt from together
    seen, begin = pools(usual, -np.log(tail) / (hours * np.log1p(share / hours)))  # none of so many is a fall

    def fallen(begin: np.ndarray, tail: float) -> np.ndarray:
        """Of so many requests in the baseline and now, so few are from now less often than that at the limit (Przyborowski and Wilenski 1940)."""
        expected, variance = together(usual, begin), _variance(sd, slot, begin)
        with np.errstate(divide="ignore", invalid="ignore"):
            learnt, times = expected**2 / variance, expected / variance
            return seen & (special.betainc(learnt, together(count, begin) + 1, times / (share + times)) < tail)

    several, since = _in_a_row(fallen(begin, DOUBTFUL), seen, begin, settings.for_windows)
    jointly = several & fallen(since, tail**settings.for_windows)
    clear = together(count, begin) > share * (1 + ease) * together(usual, begin)
    yield Decided("request_count", "down", fallen(begin, tail), clear, seen, begin, jointly)


def _variance(sd: np.ndarray, slot: np.ndarray, begin: np.ndarray) -> np.ndarray:
    """Of the usual requests of each lot: windows of one hour of the week share their error, those of different hours do not."""
    place = np.arange(len(slot))
    hour = np.maximum.accumulate(np.where((place == begin) | (slot != np.roll(slot, 1)), place, 0))
    so_far = together(sd, hour)
    return together(so_far**2 - (so_far - sd) ** 2, begin)


def learnt_volume(
    table: pd.DataFrame, watched: np.ndarray, aside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The hour of the week of each window, the requests of such windows in the baseline, and how many windows those were.

    Below two weeks of baseline the hour of the day is taken. Windows `aside` (holidays) are not learnt from.
    """
    start = table["window_start"]
    period = WEEK if (~watched).sum() * (start.iloc[1] - start.iloc[0]) >= 2 * WEEK else DAY
    slot = windows.places(start, windows.ANCHOR, "1h") % int(period / HOUR)
    learnt = ~watched & ~aside
    size = np.bincount(slot[learnt], minlength=slot.max() + 1).astype(float)
    total = np.bincount(slot[learnt], table["requests"].to_numpy(float)[learnt], minlength=len(size))
    total[size == 0] = size[size == 0] = np.nan
    return slot, total[slot], size[slot]


def _event(
    log: Log,
    plan: Plan,
    feature: str,
    metric: str,
    table: pd.DataFrame,
    found: tuple[int, int, int, int],
    limit: dict,
    stage: Stage,
) -> Alert:
    """`found`: the first window, the first and the last of those that fired, and the last one outside."""
    first, begin, fired, last = found
    step, rows = windows.width(stage.width), table.iloc[first : fired + 1]
    start, end = rows["window_start"].iloc[0], rows["window_start"].iloc[-1] + step
    settings = plan.infrastructure
    if stage.before is not None:  # nothing is usual yet but what came before
        limit = limit | {"error_rate": _rate_before(table.iloc[:first])}
    level, threshold, expected = _level(log, plan, feature, metric, rows, limit, (start, end))
    value, low, high, n = level
    direction = "down" if metric == "request_count" and value < expected else "up"
    unit, named = measure(metric).shown_in, measure(metric).words
    per = f" in windows of {stage.width}" if metric == "request_count" else ""
    words = (
        f"{one_line(feature)}: {named} {amount(value, unit)} {span(low, high, unit, like=value)} from {moment(start)} "
        f"to {moment(end)}, limit {amount(threshold, unit, like=value)}, usual {amount(expected, unit, like=value)}{per} ({number(n)}{NBSP}requests)"
    )
    tail, needed = (1 - settings.level) / 2, settings.for_windows
    ways = 2 if needed > 1 else 1  # each window over, or all of them together
    standing = np.isfinite(expected) and not (value < threshold) and expected >= threshold
    return Alert(
        metric, max(end, stage.known), direction, feature, table["window_start"].iloc[begin], layer="infrastructure",
        value=value, expected=expected, low=low, high=high, n=n, rule="limit", limit=threshold, words=words,
        kind="standing" if standing else "change", began=start, began_low=start, began_by=end,
        ended=table["window_start"].iloc[last] + step,
        designed_false_alarms_per_month=ways * tail**needed * (MONTH / step),
    )  # fmt: skip


def _rate_before(table: pd.DataFrame) -> float:
    known = table["known"].sum()
    return float(table["errors"].sum() / known) if known else float("nan")


def _level(log: Log, plan: Plan, feature: str, metric: str, rows: pd.DataFrame, limit: dict, when: tuple):
    """Value with its 95 % interval and n over the stretch that fired, the limit, and what is usual."""
    settings = plan.infrastructure
    if metric == "error_rate":
        k, n = float(rows["errors"].sum()), float(rows["known"].sum())
        return (k / n, *clopper_pearson(k, n), int(n)), settings.error_rate, limit["error_rate"]
    if metric == "request_count":
        k, parts = float(rows["requests"].sum()), len(rows)
        low, high = poisson_least(k, 0.025) / parts, poisson_most(k, 0.025) / parts
        expected = float(rows["usual"].mean())
        factor = settings.volume_low if k / parts < expected else settings.volume_high
        return (k / parts, low, high, int(k)), factor * expected, expected
    requests = log.table("requests")
    inside = requests.filter(
        requests.feature_id == feature, requests.timestamp >= when[0], requests.timestamp < when[1]
    ).select("latency_ms")
    values = np.sort(engines.run(inside).to_pandas()["latency_ms"].dropna().to_numpy(float))
    share, n = QUANTILES[metric], len(values)
    ends = [int(np.clip(binomial_quantile(p, n, share), 0, n - 1)) for p in (0.025, 0.975)]
    level = (float(np.quantile(values, share)), float(values[ends[0]]), float(values[ends[1]]), n)
    return level, float(limit[f"{metric}_limit"]), float(limit[metric])
