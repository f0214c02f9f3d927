"""Faults planted into a log's own answers, at seeded times: seen how often, how late, by which alert."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring import answers, engines
from llm_monitoring import wording as say
from llm_monitoring.alerts.grouping import _safe
from llm_monitoring.alerts.measurements import HOUR, KEYS
from llm_monitoring.backtesting import operating
from llm_monitoring.backtesting.frontier import counted
from llm_monitoring.backtesting.injection import Injection
from llm_monitoring.backtesting.limits import METRICS as LIMITED
from llm_monitoring.backtesting.limits import Limits
from llm_monitoring.backtesting.planting import (
    METRICS,
    in_cells,
    judged_answers,
    judged_sums,
    planted,
    touched_log,
    worse,
)
from llm_monitoring.backtesting.prices import Prices
from llm_monitoring.backtesting.replay import Replay, quiet_starts
from llm_monitoring.backtesting.runaways import Runaways
from llm_monitoring.charts.portfolio import MONTH

TRIALS = 20
SHORTER = (1.0, 0.5, 0.25)  # parts of the time asked for that a fault lasts, tried in turn
JUDGED = ("quality", "pass_fail")
INJECTIONS: dict[str, Any] = {
    "what": object,
    "size": "float64",
    "where": object,
    **dict.fromkeys(["share", "days"], "float64"),
    "n": "int64",
    **dict.fromkeys(["found_rate", "low", "high", "median_delay_hours", "judge_cost_usd_per_month"], "float64"),
    "note": object,
}
INCIDENTS: dict[str, Any] = {
    "incident_id": object,
    "found": "boolean",
    "delay_hours": "float64",
    "alert_id": object,
    **dict.fromkeys(["started_at", "ended_at"], "datetime64[us, UTC]"),
    **dict.fromkeys(["feature_id", "metric"], object),
    "injected": bool,
}


class Trials:
    """Every fault of a list, planted and looked for; what a fault needs of the log is read once."""

    def __init__(self, replay: Replay, seed: int):
        self.replay, self.seed = replay, seed
        self._limits: Limits | None = None
        self._runaways: Runaways | None = None
        self._prices: Prices | None = None
        self._judged: pd.DataFrame | None = None
        self._sums: dict[tuple[tuple[str, ...], tuple[str, ...]], pd.DataFrame] = {}
        self._columns: tuple[str, ...] = ()

    def run(self, injections: list[Injection]) -> tuple[pd.DataFrame, pd.DataFrame]:
        """A row for each injection, and a row for each time that one was planted."""
        self._columns = tuple(dict.fromkeys(name for each in injections if each.what in JUDGED for name in each.where))
        rows, planted_rows = [], []
        for number, asked in enumerate(injections):
            injection, starts, found, note = self._longest(asked)
            own = _incidents(number, injection, starts, found)
            planted_rows += own
            rows.append(self._row(injection, own, note))
        return _typed(rows, INJECTIONS), _typed(planted_rows, INCIDENTS)

    def _longest(self, asked: Injection) -> tuple[Injection, list[pd.Timestamp], pd.DataFrame, str | None]:
        """The fault for as long as it is asked, or for a half or a quarter of it where the log is not quiet for longer."""
        days = self.replay.lasting(asked.days)
        for part in SHORTER:
            injection = replace(asked, days=days * part)
            starts, found, note = self._try(injection)
            if starts or note != _no_room(injection):
                break
        if starts and part < 1:
            note = f"for {say.number(injection.days, 1)} days: the log is not quiet for longer"
        return injection, starts, found, note

    def _try(self, injection: Injection) -> tuple[list[pd.Timestamp], pd.DataFrame, str | None]:
        if injection.what in JUDGED:
            return self._quality(injection)
        if injection.what in LIMITED:
            return self._operation(injection)
        base = self.replay.hourly(METRICS[injection.what])
        hit = planted(self.replay.log, base, injection, self.seed, self.replay.own)
        features = sorted(hit["feature_id"].unique())
        keys = self.replay.keys(METRICS[injection.what], features)
        direction = "down" if injection.what == "cost" and injection.size < 1 else "up"
        starts, found, note = self._seen(injection, keys, base, hit, dict.fromkeys(METRICS[injection.what], direction))
        if starts and injection.what == "cost" and direction == "up":
            self._runaways = self._runaways or Runaways(self.replay, *METRICS["cost"])
            self._prices = self._prices or Prices(self.replay, *METRICS["cost"])
            more = [
                self._runaways.seen(hit, starts, injection, self.seed),
                self._prices.seen(starts, injection, self.seed),
            ]
            found = pd.concat([each for each in (found, *more) if len(each)] or [found], ignore_index=True)
        return starts, found, note

    def _quality(self, injection: Injection):
        if not self.replay.log.has("judgements"):
            return [], pd.DataFrame(), "no judged answers in the log"
        touched_log(self.replay.log, injection, self.seed)  # refuses a slice that is not there
        if self._judged is None:
            self._judged = in_cells(judged_answers(self.replay.log, more=self._columns))
        rows = self._judged
        hit = worse(rows, injection, self.seed)
        changed = (hit["score"] != rows["score"]) & rows["score"].notna()
        changed |= (hit["flagged"] != rows["flagged"]) & rows["flagged"].notna()
        features = sorted(rows.loc[changed, "feature_id"].unique())
        metrics = self._metrics(rows, scores=injection.what == "quality")
        keys = self.replay.keys(tuple(metrics), features)
        asked = (tuple(features), metrics)
        if asked not in self._sums:  # without a fault they are the same for every size of it
            self._sums[asked] = judged_sums(rows[rows["feature_id"].isin(features)], list(metrics))
        base = self._sums[asked]
        worse_base = judged_sums(hit[hit["feature_id"].isin(features)], list(metrics))
        falls = injection.what == "pass_fail" or injection.size < 0 or rows["score"].isna().all()
        down, up = ("down", "up") if falls else ("up", "down")
        directions = {name: up if name == "flagged_rate" else down for name in metrics}
        return self._seen(injection, keys, base, worse_base, directions)

    def _metrics(self, rows: pd.DataFrame, scores: bool) -> tuple[str, ...]:
        if not scores or rows["score"].isna().all():
            return ("flagged_rate",)
        dimensions = answers.dimension_names(self.replay.log.table("judgements"))
        return ("mean_quality", "flagged_rate", *(f"mean_{name}" for name in dimensions))

    def _seen(
        self, injection: Injection, keys: list, base: pd.DataFrame, hit: pd.DataFrame, directions: dict[str, str]
    ):
        if not keys:
            return [], pd.DataFrame(), "no chart watches it"
        since = min(self.replay.run_of(key).begin for key in keys)
        starts = self._starts(injection, list(self.replay.loud(keys).values()), since)
        own, own_hit = (table[pd.MultiIndex.from_frame(table[KEYS]).isin(keys)] for table in (base, hit))
        found = self.replay.seen(own, own_hit, starts, injection.days, directions)
        return starts, found, None if starts else _no_room(injection)

    def _operation(self, injection: Injection):
        if not self.replay.plan.infrastructure.enabled:
            return [], pd.DataFrame(), "the infrastructure layer is off"
        self._limits = self._limits or Limits(self.replay)
        hit = self._limits.hit(injection, self.seed)
        features = sorted(hit["feature_id"].unique())
        loud = self._limits.loud(injection.what, features)
        keys = operating.charts_of(self.replay, injection, features)
        charts = self.replay.loud(keys)
        every = [loud[name] + [at for key in keys if key[0] == name for at in charts[key]] for name in features]
        starts = self._starts(injection, every, self._limits.scopes.loc[features, "fit_end"].min())
        parts = [
            self._limits.seen(hit, loud, starts, injection),
            operating.seen(self.replay, keys, self._limits.counts, hit, starts, injection),
        ]
        found = pd.concat([each for each in parts if len(each)] or parts[:1], ignore_index=True)
        return starts, found, None if starts else _no_room(injection)

    def _starts(self, injection: Injection, loud: list, since: pd.Timestamp) -> list[pd.Timestamp]:
        """When the fault begins: not before the first of its charts does."""
        return quiet_starts(since, self.replay.span.end, injection.days, loud, TRIALS, self.seed)

    def _row(self, injection: Injection, own: list[dict[str, Any]], note: str | None) -> dict[str, Any]:
        delays = [row["delay_hours"] for row in own if row["found"]]
        return {
            "what": injection.what, "size": float(injection.size), "where": dict(injection.where),
            "share": float(injection.share), "days": float(injection.days), "note": note,
            "judge_cost_usd_per_month": judge_cost(self.replay)[1] if injection.what in JUDGED else 0.0,
            **counted(len(own), delays, injection.days, self.replay),
        }  # fmt: skip


def judge_cost(replay: Replay) -> tuple[float, float]:
    """USD that one judgement costs on average, and that all cost in a month; NaN where the log does not say."""
    if not replay.log.has("judgements"):
        return np.nan, np.nan
    rows = replay.log.table("judgements")
    found = engines.run(rows.aggregate(n=rows.count(), known=rows["cost_usd"].count(), usd=rows["cost_usd"].sum()))
    n, known, usd = (found[name].to_pylist()[0] for name in ("n", "known", "usd"))
    months = (replay.span.end - replay.span.start) / MONTH
    return (float(usd) / known, float(usd) / known * n / months) if known else (np.nan, np.nan)


def _no_room(injection: Injection) -> str:
    return f"no {say.number(injection.days, 1)} quiet days in a row after the baseline"


def _incidents(
    number: int, injection: Injection, starts: list[pd.Timestamp], found: pd.DataFrame
) -> list[dict[str, Any]]:
    """A row for each time that a fault was planted, with the first alert that tells of it, named as `check` names one."""
    first: dict[Any, Any] = {}
    if len(found):
        order = found.sort_values(["fired_at", "feature_id", "metric"], kind="stable")
        first = {row.trial: row for row in order.drop_duplicates("trial").itertuples()}
    rows = []
    for i, start in enumerate(starts):
        hit = first.get(i)
        row = dict.fromkeys(INCIDENTS) | {
            "incident_id": f"injected-{number + 1:02d}-{injection.what}-{i + 1:02d}",
            "found": hit is not None,
            "started_at": start,
            "ended_at": start + pd.Timedelta(days=injection.days),
            "injected": True,
        }
        if hit is not None:
            row |= {"delay_hours": (hit.fired_at - start) / HOUR, "feature_id": hit.feature_id, "metric": hit.metric}
            row["alert_id"] = f"{hit.fired_at:%Y%m%d}-{_safe(hit.feature_id)}-{_safe(hit.metric)}"
        rows.append(row)
    return rows


def _typed(rows: list[dict[str, Any]], kinds: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)
