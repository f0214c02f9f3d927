"""Latency and volume: the fixed limits of the infrastructure layer with a fault in their windows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import windows
from llm_monitoring.alerts import infrastructure
from llm_monitoring.alerts.infrastructure import QUANTILES, stretches
from llm_monitoring.backtesting.injection import Injection
from llm_monitoring.backtesting.planting import touched_log
from llm_monitoring.backtesting.replay import Replay

FOUND = ["trial", "feature_id", "metric", "fired_at"]
METRICS = {"latency": tuple(QUANTILES), "volume": ("request_count",)}


class Limits:
    """The windows of the infrastructure layer of a log, counted once, and again with a fault in them."""

    def __init__(self, replay: Replay):
        self.replay, self.plan = replay, replay.plan
        self.limits = infrastructure._limits(replay.log, self.plan, replay.span)
        self.counts = infrastructure._counts(replay.log, self.plan, self.limits)

    def hit(self, injection: Injection, seed: int) -> pd.DataFrame:
        """Counts of every window as if the fault were in it, of the features that it hits."""
        log, inside = self.replay.log, touched_log(self.replay.log, injection, seed)
        part = self.counts if inside is log else infrastructure._counts(inside, self.plan, self.limits)
        keys = ["feature_id", "window_start"]
        full = self.counts[self.counts["feature_id"].isin(part["feature_id"].unique())].set_index(keys)
        if injection.what == "latency":
            names = list(QUANTILES)
            scaled = self.limits.assign(**{f"{m}_limit": self.limits[f"{m}_limit"] / injection.size for m in names})
            moved = infrastructure._counts(inside, self.plan, scaled)
        else:
            names = ["requests"]
            moved = part.assign(requests=_volume(part["requests"].to_numpy(), injection.size, seed))
        change = moved.set_index(keys)[names] - part.set_index(keys)[names]
        full[names] += change.reindex(full.index, fill_value=0)
        return full.reset_index()

    def seen(self, hit: pd.DataFrame, starts: list[pd.Timestamp], days: float, what: str, up: bool) -> pd.DataFrame:
        """When each limit fires if the fault begins at each of the starts; columns as `Replay.seen` has them."""
        rows: list[tuple] = []
        for feature, own in hit.groupby("feature_id", sort=True):
            base = self.counts[self.counts["feature_id"] == feature]
            rows += self._of_feature(str(feature), base, own, starts, days, METRICS[what], up)
        return pd.DataFrame(rows, columns=FOUND)

    def _of_feature(
        self, feature: str, base: pd.DataFrame, hit: pd.DataFrame, starts: list, days: float, metrics: tuple, up: bool
    ) -> list[tuple]:
        plan, span = self.plan, self.replay.span
        width = infrastructure._width(base, plan, span)
        size = windows.width(width)
        tables = [infrastructure._merged(part, width, span) for part in (base, _before(base, hit, span))]
        limit = dict(self.limits.loc[feature])
        quiet, loud = ({row[0]: row[1:] for row in infrastructure._judged(t, plan, span, limit)} for t in tables)
        first = pd.DatetimeIndex(tables[0]["window_start"])
        rows = []
        for metric in metrics:
            for number, start in enumerate(starts if metric in quiet and metric in loud else []):
                inside = (first >= start) & (first < start + pd.Timedelta(days=days))
                over, clear, seen = (np.where(inside, a, b) for a, b in zip(loud[metric], quiet[metric]))
                if metric == "request_count":
                    usual = tables[1]["usual"].to_numpy()
                    more = (tables[1]["requests"].to_numpy() > usual) == up
                    over = over & more
                at = np.flatnonzero(inside)
                if not len(at):
                    continue
                part = slice(max(at[0] - plan.infrastructure.for_windows, 0), at[-1] + 1)
                for _, fired, _ in stretches(over[part], clear[part], seen[part], plan.infrastructure.for_windows):
                    when = first[part][fired]
                    if when >= start:
                        rows.append((number, feature, metric, when + size))
                        break
        return rows


def _before(base: pd.DataFrame, hit: pd.DataFrame, span) -> pd.DataFrame:
    """The counts with the fault after the baseline only: what is usual stays what it was."""
    early = base["window_start"] < span.split
    return pd.concat([base[early], hit[hit["window_start"] >= span.split]], ignore_index=True)


def _volume(requests: np.ndarray, factor: float, seed: int) -> np.ndarray:
    """Requests of each window when their number is multiplied, at random as requests come."""
    u = np.random.default_rng([seed, 12]).random(len(requests))
    if factor < 1:
        return stats.binom.ppf(u, requests, factor)
    return requests + stats.poisson.ppf(u, (factor - 1) * requests)
