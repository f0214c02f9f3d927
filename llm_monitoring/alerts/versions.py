"""Versions at the same hours: where two serve a feature side by side, the one whose answers are worse alerts.

Every day at midnight the answers of the last seven days that are judged by then are compared, each version with all
others of its feature, hour by hour (day by day where traffic is thin), so that what a day does to all of them cancels.
A look rests on what was known at its moment alone, so a longer log only adds looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import engines, windows
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.measurements import DAY, HOUR, SUMS, TIME, WEEK, judged_hours
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.alerts.spells import QUIET
from llm_monitoring.charts.portfolio import MONTH
from llm_monitoring.intervals import wilson
from llm_monitoring.log import as_table
from llm_monitoring.measures import measure
from llm_monitoring.wording import NBSP, amount, number, one_line, span

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from llm_monitoring.log import Log

FEWEST_ANSWERS, FEWEST_DAYS = 20, 3  # of a version and of the others; days that must be shared where hours are not
METRICS = {"flagged_rate": "up", "mean_quality": "down"}  # what is compared, and which way is worse
OF = ["metric", "feature_id", "look", "version"]
NAMES = ["metric", "feature_id", "version"]
LOOKS = [
    *OF, "column", "n", "n_others", "weight", "value", "expected", "low", "high", "p", "since", "other", "part", "old",
]  # fmt: skip


def version_looks(log: Log, plan: Plan, end: pd.Timestamp, days: int = 14) -> pd.DataFrame:
    """Every comparison of a version with the others of its feature, day by day.

    Parameters
    ----------
    log : Log
    plan : Plan
        `[quality] versions` names the columns.
    end : Timestamp
        The last moment known.
    days : int
        Days from the first judgement of a feature in which its first judge is chosen; its judgements count.

    Returns
    -------
    DataFrame
        `LOOKS`, one row per metric, feature, look, column and version with 20 judged answers on both sides: `value` of the
        version, `expected` (the others at the same hours), `low`, `high`, `p` (one-sided: worse), `since` (its first
        shared hour of the week), `other` (the version beside it; null where there are several), `part` (of the requests
        on the days that it served), `old` (whether it served in its feature's first week: then it is no change).
    """
    names: list[str] = [name for name in METRICS if plan.quality.enabled and name in plan.quality.metrics]
    there = as_table(log, "requests").present
    columns = [name for name in plan.quality.versions if name in there]
    parts = []
    for column, served in _served(log, columns) if names and columns and log.has("judgements") else ():
        beside = _side_by_side(served) if len(served) else {}
        if beside:
            cells = _cells(log, names, column, days, beside)
            found = _compared(cells, served[served["feature_id"].isin(list(beside))], end)
            parts.append(found.assign(column=column))
    full = [part[LOOKS] for part in parts if len(part)]
    return pd.concat(full, ignore_index=True) if full else pd.DataFrame(columns=LOOKS)


def version_tests(looks: pd.DataFrame) -> dict[tuple, tuple[pd.Timestamp, bool]]:
    """The tests that take a share of the budget's reserve: one per feature and column, from its first look on."""
    first: Any = looks.groupby(["feature_id", "column"])["look"].min().items()
    return {(feature, _test(column)): (at, False) for (feature, column), at in first}


def _test(column: str) -> str:
    return f"versions of {column}"


def version_events(looks: pd.DataFrame, shares: dict[tuple, float], end: pd.Timestamp) -> list[Alert]:
    """Versions that are worse than the others at the same hours, one event for each look that says so.

    `shares` has the number of false alarms a month that the tests of a feature and column may give; each day's part is
    divided by the number of its tests. Of two columns that split the answers alike the first one speaks. A version is no
    longer worse once two days to `end`, the last moment known, did not say so, also where it serves no more.
    """
    events: list[Alert] = []
    told: set[tuple] = set()
    group = ["look", "feature_id", "column"]
    tests = looks.groupby(group)["p"].transform("size")
    given = [
        shares.get((feature, _test(str(column))), 0.0) for feature, column in zip(looks["feature_id"], looks["column"])
    ]
    alphas = np.array(given) * (DAY / MONTH) / tests
    worse = looks.assign(alpha=alphas)[looks["p"] <= alphas]
    look: Any
    for look in worse.itertuples(index=False):
        split = (
            look.metric,
            look.feature_id,
            look.look,
            look.n,
            look.n_others,
            round(look.value, 9),
            round(look.expected, 9),
        )
        if split not in told:
            over = look.look if look.look + QUIET * DAY <= end else None
            events.append(replace(_event(look, look.alpha * (MONTH / DAY)), over=over))
        told.add(split)
    return events


def _event(look: Any, designed: float) -> Alert:
    flagged = look.metric == "flagged_rate"
    unit = "share" if flagged else "score"
    others = "those of the other versions" if look.other is None else f"those of {one_line(look.other)}"
    words = (
        f"{one_line(look.feature_id)}: answers of {one_line(look.column)} {one_line(look.version)} "
        f"({amount(look.part, 'share')} of the traffic) {'are flagged' if flagged else 'score'} "
        f"{amount(look.value, unit)} {span(look.low, look.high, unit, like=look.value)}, {others} in the same hours "
        f"{amount(look.expected, unit)} ({number(look.n)} and {number(look.n_others)}{NBSP}judged answers of seven days)"
    )
    return Alert(
        look.metric, look.look, METRICS[look.metric], look.feature_id, look.since, layer="quality", value=look.value,
        expected=look.expected, low=look.low, high=look.high, n=round(look.n), rule="test", words=words,
        version=look.version, version_column=look.column, began=look.since, began_low=look.since, began_by=look.look,
        ended=look.look, kind="standing" if look.old else "change", designed_false_alarms_per_month=designed,
    )  # fmt: skip


def _served(log: Log, columns: list[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Requests per feature, version and hour, column by column; one query for all of them."""
    rows = as_table(log, "requests").rows
    names = {f"__lm_version_{i}": rows[column].cast("string") for i, column in enumerate(columns)}
    keyed, keys = windows.keyed(rows.select("feature_id", "timestamp", **names), "timestamp", "1h", ["feature_id"])
    found = engines.run(keyed.group_by([*keys, *names]).aggregate(n=keyed.count())).to_pandas()
    found = windows.labelled(found, "1h", ["feature_id"]).rename(columns={"window_start": "hour"})
    for name, column in zip(names, columns):
        yield (
            column,
            found.groupby(["feature_id", name, "hour"])["n"].sum().rename_axis(index={name: "version"}).reset_index(),
        )


def _side_by_side(served: pd.DataFrame) -> dict[Any, tuple[pd.Timestamp, pd.Timestamp]]:
    """Features of which two versions served enough in shared hours or days, with the first and the end of the last such day."""
    enough: set = set()
    days = _shared(served, DAY)
    for table, fewest in ((_shared(served, HOUR), 1), (days, FEWEST_DAYS)):
        count = table.groupby(["feature_id", "version"]).agg(n=("n", "sum"), shared=("at", "nunique"))
        able = count[(count["n"] >= FEWEST_ANSWERS) & (count["shared"] >= fewest)].reset_index()
        enough |= set(able["feature_id"])
    spans = days[days["feature_id"].isin(list(enough))].groupby("feature_id")["at"].agg(["min", "max"])
    return {feature: (first, last + DAY) for feature, first, last in spans.itertuples()}


def _shared(served: pd.DataFrame, step: pd.Timedelta) -> pd.DataFrame:
    cells = served.assign(at=served["hour"].dt.floor(step))
    cells = cells.groupby(["feature_id", "at", "version"])["n"].sum().reset_index()
    return cells[cells.groupby(["feature_id", "at"])["version"].transform("size") > 1]


def _cells(log: Log, names: list[str], column: str, days: int, beside: dict) -> pd.DataFrame:
    """Hourly sums of judged answers per metric, feature and version, each with the moment from which it was known."""
    requests = as_table(log, "requests").rows
    requests = requests.mutate(version=requests[column].cast("string"))
    # Of judged requests alone: an engine that takes the filters below for narrow would hold all of them in memory.
    requests = requests.semi_join(as_table(log, "judgements").rows, "request_id")
    first, last = min(start for start, _ in beside.values()), max(end for _, end in beside.values())

    def kept(rows: Any) -> Any:
        at = engines.microseconds(rows["timestamp"])
        inside = (at >= int(first.value // 1000)) & (at < int(last.value // 1000))
        return rows.filter(rows["feature_id"].isin([str(each) for each in beside]), rows["version"].notnull(), inside)

    several = [measure(name) for name in names]
    found = judged_hours(log, requests, several, days, ["version"], kept)
    found = found[found["__lm_series"] == ""]
    parts = []
    for i, name in enumerate(names):
        sums = found.rename(columns={f"__lm_{i}_{each}": each for each in SUMS})
        parts.append(sums[["feature_id", "version", "hour", "known", *SUMS]].assign(metric=name))
    cells = pd.concat(parts, ignore_index=True)
    cells[SUMS] = cells[SUMS].astype(float).fillna(0.0)
    return cells.sort_values([*cells.columns], ignore_index=True)  # sums to the last digit whatever the engine's order


def _in_parts(cells: pd.DataFrame, most: int = 40_000) -> Iterator[pd.DataFrame]:
    """Whole features of so many cells together: each cell stands in memory seven times while it is looked at."""
    part = cells.groupby("feature_id", observed=True).size().cumsum() // most
    return (own for _, own in cells.groupby(cells["feature_id"].map(part).astype(int), sort=True))


def _by_look(cells: pd.DataFrame, end: pd.Timestamp) -> pd.DataFrame:
    """Each cell once for every look at whose moment it was known and not older than seven days."""
    day = cells["hour"].dt.floor("D")
    known = cells["known"].dt.ceil("D")
    keys = ["metric", "feature_id", "version", "hour"]
    daily = cells.assign(first=known.where(known > day, day + DAY), day=day)
    daily = daily.groupby([*keys, "day", "first"], as_index=False, observed=True)[SUMS].sum()
    looks = [daily.assign(look=daily["day"] + k * DAY) for k in range(1, 8)]
    every = pd.concat(looks, ignore_index=True)
    every = every[(every["look"] >= every["first"]) & (every["look"] <= end)]
    return every.groupby([*keys, "look"], as_index=False, observed=True)[SUMS].sum()


def _compared(cells: pd.DataFrame, served: pd.DataFrame, end: pd.Timestamp) -> pd.DataFrame:
    """Each version against the others of its feature, in the hours that they share, or in the days."""
    if cells.empty:
        return pd.DataFrame(columns=LOOKS)
    looks = (_by_look(part, end) for part in _in_parts(cells.astype(dict.fromkeys(NAMES, "category"))))
    by_hour, by_day = (pd.concat(each) for each in zip(*((_strata(part, HOUR), _strata(part, DAY)) for part in looks)))
    hourly = by_hour["n"].reindex(by_day.index, fill_value=0.0)
    thin = (by_day["strata"] >= FEWEST_DAYS) & (hourly < by_day["n"] / 2)
    sums = pd.concat([by_day[thin], by_hour[~by_hour.index.isin(by_day.index[thin])]]).sort_index()
    sums = sums[(sums["n"] >= FEWEST_ANSWERS) & (sums["n_others"] >= FEWEST_ANSWERS)]
    if sums.empty:
        return pd.DataFrame(columns=LOOKS)
    table = sums.assign(value=sums["total"] / sums["weight"], expected=sums["hoped"] / sums["weight"]).reset_index()
    table[NAMES] = table[NAMES].astype("str")
    table["low"], table["high"], table["p"] = _tested(table)
    return _described(table, served, end)


def _strata(cells: pd.DataFrame, step: pd.Timedelta) -> pd.DataFrame:
    """Sums over the hours (days) in which a version and the others were both judged, the others' with its weights.

    `hoped` is what the version's answers would have summed to at the others' level of each hour.
    """
    cells = cells.assign(at=cells["hour"].dt.floor(step))
    own = cells.groupby(["metric", "feature_id", "look", "at", "version"], observed=True)[SUMS].sum()
    rest = own.groupby(["metric", "feature_id", "look", "at"], observed=True).transform("sum") - own
    both = (own["n"] > 0.5) & (rest["n"] > 0.5) & (own["weight"] > 0) & (rest["weight"] > 1e-6)
    own, rest = own[both], rest[both]
    level = rest["total"] / rest["weight"]
    inverse = (rest["weight2"] / rest["weight"] ** 2).clip(upper=1.0)
    sums = own[["n", "weight", "weight2", "total"]].assign(
        n_others=rest["n"],
        hoped=own["weight"] * level,
        error=own["weight"] ** 2 * inverse,
        apart=own["squares"] - 2 * level * own["total"] + level**2 * own["weight"],
        within=(rest["squares"] - level**2 * rest["weight"]).clip(lower=0),
        freedom=rest["weight"] * (1 - inverse),
        strata=1.0,
        since=own.index.get_level_values("at"),
    )
    added = sums.drop(columns="since").groupby(OF, observed=True).sum()
    return added.assign(since=sums.groupby(OF, observed=True)["since"].min())


def _tested(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """95 % interval of every version's value, and the probability of one so bad were it like the others."""
    from scipy import special

    names = ("value", "expected", "weight", "weight2", "error", "apart", "within", "freedom")
    value, expected, weight, weight2, error, apart, within, freedom = (table[name].to_numpy(float) for name in names)
    n, n_others = weight**2 / weight2, weight**2 / error
    with np.errstate(divide="ignore", invalid="ignore"):
        others = np.where(freedom > 1e-9, within / freedom, 0.0)
        own = np.where(n > 1, np.maximum(apart / weight - (value - expected) ** 2, 0.0) * n / (n - 1), np.nan)
        spread = np.where(np.isnan(own) | (own >= others), own, others)
        reach = special.stdtrit(n - 1, 0.975) * np.sqrt(spread / n)
        wrong, fall = np.sqrt(spread / n + others / n_others), expected - value
        p = np.where(wrong > 0, special.stdtr(n - 1, -fall / wrong), (~(fall > 1e-9)).astype(float))
    low, high = value - reach, value + reach
    rate = (table["metric"] == "flagged_rate").to_numpy()
    low[rate], high[rate] = wilson(value[rate] * n[rate], n[rate])
    p[rate] = _rate_above(value[rate], n[rate], expected[rate], n_others[rate])
    return low, high, p


def _rate_above(rate: ArrayLike, n: ArrayLike, others: ArrayLike, n_others: ArrayLike) -> np.ndarray:
    """Fisher's exact one-sided probability, in the form of beta distributions that holds for weighted counts too.

    >>> from scipy import stats
    >>> exact = stats.fisher_exact([[7, 18], [10, 190]], alternative="greater").pvalue
    >>> (_rate_above([7 / 25], [25], [10 / 200], [200]) / exact).round(6).tolist()
    [1.0]
    """
    from scipy import special

    rate, n, others, n_others = (np.asarray(each, float) for each in (rate, n, others, n_others))
    hits, a, b = rate * n, others * n_others + 1, n_others - others * n_others
    out = np.ones(len(rate))
    tried = ~((rate <= others) | (n - hits < 0) | (b < 1e-9))
    hits, n, a, b = hits[tried, None], n[tried, None], a[tried, None], b[tried, None]
    start, end = special.betaincinv(a, b, 1e-13), 1 - special.betaincinv(b, a, 1e-13)
    node, mass = np.polynomial.legendre.leggauss(100)
    at = start + (end - start) * (node + 1) / 2
    density = np.exp(special.xlogy(a - 1, at) + special.xlog1py(b - 1, -at) - special.betaln(a, b))
    out[tried] = (density * special.betainc(hits, n - hits + 1, at)) @ (mass / 2) * (end - start)[:, 0]
    return out


def _described(table: pd.DataFrame, served: pd.DataFrame, end: pd.Timestamp) -> pd.DataFrame:
    """The looks with the version's part of the requests on the days that it served, and the one version beside it."""
    daily = served.assign(day=served["hour"].dt.floor("D"))
    daily = daily.groupby(["feature_id", "version", "day"])["n"].sum().reset_index()
    daily["all"] = daily.groupby(["feature_id", "day"])["n"].transform("sum")
    looks = pd.concat([daily.assign(look=daily["day"] + k * DAY) for k in range(1, 8)], ignore_index=True)
    asked = looks[looks["look"] <= end].groupby(["feature_id", "look", "version"])[["n", "all"]].sum()
    part = asked["n"] / asked["all"]
    table["look"] = table["look"].astype(TIME)
    table["since"] = table["since"].astype(TIME)
    table["part"] = part.reindex(pd.MultiIndex.from_frame(table[OF[1:]])).to_numpy(float)
    names = asked.reset_index().groupby(["feature_id", "look"])["version"].agg(list).to_dict()
    first = served.groupby(["feature_id", "version"])["hour"].min()
    old = (first < first.groupby("feature_id").transform("min").dt.floor("D") + WEEK).to_dict()
    table["old"] = [bool(old[f, v]) for f, v in table[["feature_id", "version"]].itertuples(index=False)]
    table["other"] = pd.Series(
        [_beside(names.get((f, at), []), v) for f, at, v in table[OF[1:]].itertuples(index=False)],
        index=table.index,
        dtype=object,
    )
    return table


def _beside(names: list[str], version: str) -> str | None:
    others = [name for name in names if name != version]
    return others[0] if len(others) == 1 else None
