"""Latency and volume: the fixed limits of the infrastructure layer with a fault in their windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import windows
from llm_monitoring.alerts import infrastructure
from llm_monitoring.alerts.infrastructure import QUANTILES, Stage, stretches
from llm_monitoring.backtesting.injection import Injection
from llm_monitoring.backtesting.planting import touched_log
from llm_monitoring.backtesting.replay import FOUND, Replay, Stretches, is_loud

METRICS = {"latency": tuple(QUANTILES), "volume": ("request_count",)}


@dataclass
class _Windows:
    """The windows of one feature and limit: when they start, and which are over it, clear of it, judged, over it together."""

    width: pd.Timedelta
    starts: pd.DatetimeIndex
    told: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Limits:
    """The windows of the infrastructure layer of a log, counted once, and again with a fault in them."""

    def __init__(self, replay: Replay):
        self.replay, self.plan = replay, replay.plan
        self.scopes = infrastructure.scopes_of(replay.log, self.plan)
        self.limits = infrastructure.usual_limits(replay.log, self.plan, self.scopes)
        self.counts = infrastructure.window_counts(replay.log, self.plan, self.limits)
        self._quiet: dict[str, dict[tuple[str, str], _Windows]] = {}

    def hit(self, injection: Injection, seed: int) -> pd.DataFrame:
        """Counts of every window as if the fault were in it, of the features that it hits."""
        inside = touched_log(self.replay.log, injection, seed)
        whole = inside is self.replay.log
        part = self.counts if whole else infrastructure.window_counts(inside, self.plan, self.limits)
        moved: dict[str, Any]
        if injection.what == "latency":
            names = list(QUANTILES)
            lower = {f"{name}_limit": self.limits[f"{name}_limit"] / injection.size for name in names}
            counted = infrastructure.window_counts(inside, self.plan, self.limits.assign(**lower))
            moved = {name: counted[name].astype(float) for name in names}
        else:
            moved = {"requests": _volume(part["requests"].to_numpy(float), injection.size, seed)}
        if whole:  # the same windows in the same order
            return self.counts.assign(**moved)
        keys = ["feature_id", "window_start"]
        full = self.counts[self.counts["feature_id"].isin(part["feature_id"].unique())]
        change = part[keys].assign(**{f"{name}_more": values - part[name] for name, values in moved.items()})
        both = full.merge(change, how="left", on=keys)
        more = {name: both[name] + both[f"{name}_more"].fillna(0.0) for name in moved}
        return full.assign(**{name: values.to_numpy() for name, values in more.items()})

    def loud(self, what: str, features: list[str]) -> dict[str, Stretches]:
        """When a limit of each feature was passed without any fault being planted."""
        found: dict[str, Stretches] = {}
        for feature in features:
            found[feature] = [
                (own.starts[first], own.starts[last] + own.width)
                for (metric, _), own in self._base(feature).items()
                if metric in METRICS[what]
                for first, _, last in _stretches(own.told, self.plan.infrastructure.for_windows)
            ]
        return found

    def seen(
        self, hit: pd.DataFrame, loud: dict[str, Stretches], starts: list[pd.Timestamp], injection: Injection
    ) -> pd.DataFrame:
        """When each limit fires if the fault begins at each of the starts; columns as `Replay.seen` has them."""
        rows: list[tuple] = []
        for feature, own in hit.groupby("feature_id", sort=True):
            name = str(feature)
            for number, metric, when in self._of_feature(name, own, loud[name], starts, injection):
                rows.append((number, name, metric, when))
        return pd.DataFrame(rows, columns=FOUND)

    def _of_feature(self, feature: str, hit: pd.DataFrame, loud: Stretches, starts: list, injection: Injection):
        quiet, needed = self._base(feature), self.plan.infrastructure.for_windows
        fitted = self.scopes.loc[feature, "fit_end"]
        early = self.counts[(self.counts["feature_id"] == feature) & (self.counts["window_start"] < fitted)]
        late = hit[hit["window_start"] >= fitted]  # what is usual stays what it was
        faulty = self._decided(feature, pd.concat([early, late], ignore_index=True))
        direction = "up" if injection.size > 1 else "down"
        for metric in METRICS[injection.what]:
            key = metric, direction
            if key not in quiet or key not in faulty:
                continue
            usual, told = quiet[key], faulty[key].told
            for number, start in enumerate(starts):
                inside = (usual.starts >= start) & (usual.starts < start + pd.Timedelta(days=injection.days))
                places = np.flatnonzero(inside)
                if is_loud(loud, start, injection.days) or not len(places):
                    continue
                part = slice(max(places[0] - needed, 0), places[-1] + 1)
                over, clear, seen, jointly = (np.where(inside, a, b)[part] for a, b in zip(told, usual.told))
                jointly &= inside[part] & np.r_[np.zeros(needed - 1, bool), inside[part][: len(jointly) - needed + 1]]
                for _, fired, _ in _stretches((over, clear, seen, jointly), needed):
                    yield number, metric, usual.starts[part][fired] + usual.width
                    break

    def _base(self, feature: str) -> dict[tuple[str, str], _Windows]:
        if feature not in self._quiet:
            self._quiet[feature] = self._decided(feature, self.counts[self.counts["feature_id"] == feature])
        return self._quiet[feature]

    def _decided(self, feature: str, counts: pd.DataFrame) -> dict[tuple[str, str], _Windows]:
        start, fitted = (self.scopes[name][feature] for name in ("start", "fit_end"))
        base = self.counts[self.counts["feature_id"] == feature]
        stage = Stage(fitted, None, infrastructure.window_width(base, self.plan, start, fitted), fitted)
        limit = dict(self.limits.loc[feature])
        found: dict[tuple[str, str], _Windows] = {}
        for part, decide in infrastructure.looks(stage, self.plan):
            table = infrastructure.closed_windows(counts, part, start, self.replay.span)
            at, size = pd.DatetimeIndex(table["window_start"]), windows.width(part.width)
            for one in decide(table, self.plan, part, limit):
                found[one.metric, one.direction] = _Windows(size, at, (one.over, one.clear, one.seen, one.together))
        return found


def _stretches(told: tuple[np.ndarray, ...], needed: int) -> list[tuple[int, int, int]]:
    over, clear, seen, jointly = told
    return stretches(over, clear, seen, needed, jointly)


def _volume(requests: np.ndarray, factor: float, seed: int) -> np.ndarray:
    """Requests of each window when their number is multiplied, at random as requests come."""
    u = np.random.default_rng([seed, 12]).random(len(requests))
    if factor < 1:
        return stats.binom.ppf(u, requests, factor)
    return requests + stats.poisson.ppf(u, (factor - 1) * requests)
