"""The course of a metric over time, window by window, for what no single answer has. Windows out; no cause is weighed here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.incident.inference.cells import requests_of
from llm_monitoring.incident.inference.shifts import log_harm
from llm_monitoring.incident.inference.slices import Slice, feature_slice
from llm_monitoring.intervals import wilson
from llm_monitoring.keeping import once

if TYPE_CHECKING:
    from llm_monitoring.log import Log

WIDTHS = {"1h": pd.Timedelta("1h"), "6h": pd.Timedelta("6h"), "1d": pd.Timedelta("1D")}
PER = {"1h": " an hour", "6h": " in six hours", "1d": " a day"}
COUNTED = {"1h": "hours", "6h": "stretches of six hours", "1d": "days"}
LEVELS = ("before", "before_low", "before_high", "after", "after_low", "after_high")
FEWEST_BEFORE = 4  # windows before the alert below which no step is weighed
USUAL_SD = {"amount": 0.1, "share": 0.03}
SIZES = {"amount": (0.15, 0.4, 1.0), "share": (0.05, 0.15, 0.4)}  # of a step: in logarithms of an amount, in shares


@dataclass(frozen=True)
class Course:
    """Windows of a metric: `window_start`, `value`, `n`, and `y`, the value on the scale on which a step adds.

    Attributes
    ----------
    windows : DataFrame
        Closed windows in order; empty where there are none.
    scale : str
        amount (y is a logarithm, without the hour or weekday) or share (y is the value).
    step : Timedelta or None
        Width of a window.
    per, counted : str
        How a value and a number of windows are said: `` a day``, ``days``.
    drift : float or None
        p-value of the test, where the alert is one on the questions.
    why : str
        Why there are no windows; empty where there are.
    notes : list of str
    """

    windows: pd.DataFrame
    scale: str = "amount"
    step: pd.Timedelta | None = None
    per: str = ""
    counted: str = "windows"
    drift: float | None = None
    why: str = ""
    notes: list[str] = field(default_factory=list)
    model: str | None = None

    def starts(self) -> pd.DatetimeIndex:
        """Starts of the windows; none where there are too few to weigh a step."""
        if len(self.windows) < FEWEST_BEFORE + 1:
            return pd.DatetimeIndex([], tz="UTC")
        return pd.DatetimeIndex(self.windows["window_start"])

    def log_step(self, at: pd.Timestamp, alert: Alert) -> float:
        """Log Bayes factor of a step at a time, towards where the alert says, against none; windows until the alert."""
        seen = self.windows[self.windows["window_start"] < alert.fired_at]
        late = (seen["window_start"] >= at).to_numpy()
        y = seen["y"].to_numpy(float)
        if late.sum() < 1 or (~late).sum() < FEWEST_BEFORE:
            return -np.log(2.0)
        before, after = y[~late], y[late]
        variance = max(float(before.var(ddof=1)), USUAL_SD[self.scale] ** 2)
        sign = 1 if alert.direction == "up" else -1
        error = variance * (1 / len(before) + 1 / len(after))
        return float(log_harm(sign * float(after.mean() - before.mean()), error, SIZES[self.scale]))

    def drift_evidence(self) -> float:
        """Log of the most that a p-value can speak against chance (Sellke, Bayarri and Berger); 0 where there is none."""
        if self.drift is None or not 0 < self.drift < 1 / np.e:
            return 0.0
        return float(-np.log(-np.e * self.drift * np.log(self.drift)))

    def change(self, since: pd.Timestamp, ended: pd.Timestamp | None) -> dict[str, Any]:
        """Levels before and since with 95 % intervals from the spread of windows; None where there are no windows."""
        nothing: dict[str, Any] = {**dict.fromkeys(("estimate", "low", "high", *LEVELS)), "n_before": 0, "n_after": 0}
        if not len(self.windows):
            return nothing
        start, value = self.windows["window_start"], self.windows["value"].to_numpy(float)
        late = (start >= since).to_numpy() & (True if ended is None else (start < ended).to_numpy())
        before, after = value[(start < since).to_numpy()], value[late]
        if not len(before) or not len(after):
            return nothing
        sd = float(before.std(ddof=1)) if len(before) > 1 else float("nan")
        half = 1.96 * sd / np.sqrt(len(before)), 1.96 * sd / np.sqrt(len(after))
        a, b = float(before.mean()), float(after.mean())
        apart = float(np.hypot(*half))
        ends = {"before": (a - half[0], a + half[0]), "after": (b - half[1], b + half[1])}
        found = {"estimate": b - a, "low": b - a - apart, "high": b - a + apart, "before": a, "after": b}
        found |= {f"{side}_{end}": value for side, pair in ends.items() for end, value in zip(("low", "high"), pair)}
        known = {name: one if np.isfinite(one) else None for name, one in found.items()}
        floor = {n: max(0.0, v) for n, v in known.items() if v is not None and n.startswith(("before", "after"))}
        return {**known, **floor, "n_before": len(before), "n_after": len(after)}

    def back(self, since: pd.Timestamp, alert: Alert) -> pd.Timestamp | None:
        """When the level was back: the split of the windows since into two that fits best, the second near the old level."""
        start, y = self.windows.get("window_start"), self.windows.get("y")
        if start is None or y is None or not len(y):
            return None
        before = y[(start < since).to_numpy()]
        late = self.windows[(start >= since).to_numpy()]
        if len(before) < FEWEST_BEFORE or len(late) < 4:
            return None
        sign = 1 if alert.direction == "up" else -1
        off = sign * (late["y"].to_numpy(float) - float(before.mean()))
        first = max(int((late["window_start"] < alert.fired_at).sum()), 1)
        size = float(off[:first].mean())
        splits = range(first, len(off) - 2)
        if size <= 0 or not splits:
            return None
        best = max(splits, key=lambda k: k * off[:k].mean() ** 2 + (len(off) - k) * off[k:].mean() ** 2)
        over = off[best:].mean() < 0.3 * size <= 0.5 * off[:best].mean()
        return late["window_start"].iloc[best] if over else None

    def told_around(self, at: pd.Timestamp) -> str:
        """The windows on both sides of a moment, in words."""
        late = (self.windows["window_start"] >= at).to_numpy()
        value = self.windows["value"].to_numpy(float)
        if not late.any() or late.all():
            return "There are no windows on both sides of it."
        a, b = value[~late].mean(), value[late].mean()
        return f"Before it {say.number(a, _digits(a))}{self.per} over {(~late).sum()} {self.counted}, after it {say.number(b, _digits(b))} over {late.sum()}."

    def chart(self) -> list[dict[str, Any]]:
        """The windows as rows of a control chart without limits."""
        if not len(self.windows):
            return []
        rows = self.windows.assign(
            window_end=self.windows["window_start"] + (self.step or pd.Timedelta("1D")),
            center=None, lower=None, upper=None, alarm=None,
        )  # fmt: skip
        names = ["window_start", "window_end", "value", "n", "center", "lower", "upper", "alarm"]
        told = rows[names].astype(object).where(rows[names].notna(), None)
        return [{name: row[name] for name in names} for row in told.to_dict("records")]


def _digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 1 else 3


def course_of(log: Log, alert: Alert) -> Course:
    """The course of the alert's metric."""
    if alert.metric == "query_drift":
        return _drift(alert)
    if alert.metric == "probe_distance":
        return _distances(log, alert)
    if alert.measure.of == "probes":
        return _passes(log, alert)
    if alert.measure.total:
        return _totals(log, alert)
    few = f"Fewer than 20 answers have {say.metric_words(alert.metric)}, or fewer than 10 of them before the alert: too few to compare."
    return Course(pd.DataFrame(), why=few)


def _drift(alert: Alert) -> Course:
    p = alert.value if alert.value is not None and 0 < alert.value <= 1 else None
    n = "" if alert.n is None else f", {alert.n:,} questions of that week"
    told = "The questions of a week are held against those of the baseline (permutation test"
    note = f"{told}, p = {say.probability(p)}{n})." if p is not None else f"{told}{n})."
    return Course(pd.DataFrame(), drift=p or 0.05, notes=[note])


def width_of(alert: Alert) -> str:
    """Width of the windows that an alert was raised on, as far as its times tell: 1h, 6h or 1d."""
    if alert.window_start is None:
        return "1d"
    span = alert.fired_at - alert.window_start
    return "1h" if span <= pd.Timedelta("2h") else "6h" if span <= pd.Timedelta("12h") else "1d"


def _totals(log: Log, alert: Alert) -> Course:
    """Requests, or money, per window; the last window only where it is over."""
    name = width_of(alert)
    table = windows_of(log, alert, name)
    value = table["value"].to_numpy(float)
    floor = 0.5 if alert.metric == "request_count" else max(float(np.median(value)) / 100, 1e-9)
    y = np.log(np.maximum(value, floor))
    slot = table["window_start"].dt.day_of_week * 24 + table["window_start"].dt.hour
    early = (table["window_start"] < alert.fired_at - pd.Timedelta("8D")).to_numpy()
    counts = slot[early].value_counts()
    if name != "1d" and early.any() and (counts < 2).any():
        slot = table["window_start"].dt.hour
        counts = slot[early].value_counts()
    if early.any() and len(counts) and (counts >= 2).all() and set(slot) <= set(counts.index):
        usual = pd.Series(y[early]).groupby(slot[early].to_numpy()).mean()
        y = y - slot.map(usual).to_numpy(float) + float(y[early].mean())
    made = table.assign(y=y)
    return Course(made, "amount", WIDTHS[name], PER[name], COUNTED[name])


def windows_of(log: Log, alert: Alert, name: str, chosen: Slice | None = None) -> pd.DataFrame:
    """`window_start`, `value` and `n` of a total over the feature that alerted, windows without a request included; `chosen` is a value of a column."""
    column, one = (None, None) if chosen is None else chosen.where[0]
    rows = _by_window(log, alert.feature_id, name, column)
    rows = (rows if chosen is None else rows[rows[column] == one]).set_index("window_start")
    step = WIDTHS[name]
    begin, end = log.span("requests")
    assert begin is not None
    assert end is not None
    first, last = begin.floor(step), max(end, alert.fired_at)
    starts = pd.date_range(first, last.floor(step), freq=step)
    starts = starts[starts + step <= last + pd.Timedelta("1min")]
    n = rows["n"].reindex(starts, fill_value=0)
    value = n if alert.metric == "request_count" else rows["usd"].reindex(starts)
    value = value.astype(float).fillna(0.0)
    table = pd.DataFrame({"window_start": starts, "value": value.to_numpy(float), "n": n.to_numpy()})
    began = table.index[table["n"] > 0]
    return table.iloc[began[0] :].reset_index(drop=True) if len(began) else table


@once
def _by_window(log: Log, feature_id: str | None, name: str, column: str | None) -> pd.DataFrame:
    return requests_of(log).by_window(feature_slice(feature_id), name, column)


def _passes(log: Log, alert: Alert) -> Course:
    """Share of probes passed, run by run, of the model that the alert is about."""
    results = log.probe_results
    results = results[results["passed"].notna()]
    if not len(results):
        return Course(pd.DataFrame(), "share", why="The log holds no probe result.")
    run = results["run_at"].dt.floor("D")
    passed = results["passed"].astype(bool)
    table = passed.groupby([results["model_id"], run]).agg(["sum", "size"])
    table.index.names = ["model_id", "window_start"]
    table = table.reset_index()
    model = _model_of(alert, table.assign(value=table["sum"] / table["size"]))
    own = table[table["model_id"] == model].reset_index(drop=True)
    value = own["sum"] / own["size"]
    made = pd.DataFrame({"window_start": own["window_start"], "value": value, "n": own["size"], "y": value})
    few = "" if len(made) > FEWEST_BEFORE else f"Only {len(made)} runs of the probes of {model} are in the log."
    last = own.iloc[-1]
    low, high = wilson(last["sum"], last["size"])
    note = f"Last run of {model}: {say.amount(last['sum'] / last['size'], 'share')} {say.span(float(low), float(high), 'share')} of {last['size']:,} probe results pass."
    return Course(made, "share", pd.Timedelta("1D"), "", "runs", why=few, notes=[note], model=str(model))


def _model_of(alert: Alert, table: pd.DataFrame) -> str:
    """The model whose runs moved most the way that the alert says; the one that its message names where there is one."""
    for model in sorted(table["model_id"].unique(), key=len, reverse=True):
        if alert.version == model or (alert.message and alert.message.startswith(str(model))):
            return str(model)
    sign = 1 if alert.direction == "up" else -1
    at = alert.window_start if alert.window_start is not None else alert.fired_at - pd.Timedelta("1D")
    late = table["window_start"] >= at.floor("D")
    moved = {}
    for model, own in table.groupby("model_id", sort=True):
        before, after = own.loc[~late[own.index], "value"], own.loc[late[own.index], "value"]
        moved[str(model)] = sign * (after.mean() - before.mean()) if len(before) and len(after) else -np.inf
    return max(sorted(moved), key=lambda model: moved[model])


def _distances(log: Log, alert: Alert) -> Course:
    """Distance of the border probes from their reference, day by day."""
    from llm_monitoring.probes.daily import REFERENCE_BATCHES, probe_distances

    results = log.probe_results
    at = alert.window_start if alert.window_start is not None else alert.fired_at
    days = results.loc[results["run_at"] < at, "run_at"].dt.floor("D").nunique() if len(results) else 0
    reference = min(
        REFERENCE_BATCHES, max(days - FEWEST_BEFORE - 1, 5)
    )  # some quiet days after it, to see how they spread
    found = probe_distances(results, reference=reference) if len(results) else pd.DataFrame()
    if not len(found):
        return Course(pd.DataFrame(), "share", why="The log holds too few days of border probes for a distance.")
    model = _model_of(alert, found[["model_id", "window_start", "value"]])
    own = found[found["model_id"] == model].reset_index(drop=True)
    at = own["run_at"].dt.floor("D")
    made = pd.DataFrame({"window_start": at, "value": own["value"], "n": own["n"], "y": own["value"]})
    return Course(made, "share", pd.Timedelta("1D"), "", "days", model=str(model))
