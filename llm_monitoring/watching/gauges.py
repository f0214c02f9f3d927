"""What a watch shows as numbers: the last closed windows of each feature, the alerts that are open, and the watch itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring import answers, engines, windows
from llm_monitoring.alerts.lots import pools
from llm_monitoring.alerts.measurements import DAY
from llm_monitoring.alerts.plan import Plan
from llm_monitoring.distributions import binomial_quantile, poisson_least, poisson_most
from llm_monitoring.intervals import clopper_pearson
from llm_monitoring.log import Log
from llm_monitoring.watching.levels import QUANTILES, Levels
from llm_monitoring.watching.state import State

FRONT = "llm_monitoring_"
#: Gauge -> what it says. `_low` and `_high` are the ends of the plan's interval: the lowest and the highest of as many
#: windows as must be over a limit in a row, so that a rule on them fires where the plan's does.
HELP = {
    "request_count": "Requests in the last closed window.",
    "request_count_low": "Lower end of the interval of the request count, the lowest of the last windows.",
    "request_count_high": "Upper end of the interval of the request count, the highest of the last windows.",
    "request_count_usual": "Requests of the same hours of the week in the baseline.",
    "error_rate": "Share of requests with an error in the last closed window or windows that hold enough requests.",
    "error_rate_low": "Lower end of its interval, the lowest of the last windows.",
    "latency_p95_ms": "95 % quantile of the latency in the last closed window or windows that hold enough requests.",
    "latency_p95_ms_low": "Lower end of its interval, the lowest of the last windows.",
    "latency_p99_ms": "99 % quantile of the latency in the last closed window or windows that hold enough requests.",
    "latency_p99_ms_low": "Lower end of its interval, the lowest of the last windows.",
    "total_cost_usd": "Cost of the requests of the last closed window.",
    "window_end_timestamp_seconds": "End of the last closed window.",
    "alert_open": "1 for each alert that is open.",
    "log_end_timestamp_seconds": "The last request of the log.",
    "read_timestamp_seconds": "When the log was last read, or seen to hold nothing new.",
    "log_readable": "Whether the last look could read the log.",
    "deliveries_waiting": "Messages and lines that a sink has not taken yet.",
}


@dataclass(frozen=True)
class Gauge:
    """One number with its labels."""

    name: str
    value: float
    labels: dict[str, str]


def of_features(log: Log, plan: Plan, levels: Levels) -> list[Gauge]:
    """The last closed windows of every feature; what rests on too few requests even over a day is left out.

    Rates and latency of windows that hold too few requests are those of several windows, back from the last one, that hold
    enough together: so an error burst that goes on at night stays on the page, as the plan's limits go on with it.
    """
    _, end = log.span("requests")
    if end is None or levels.features.empty:
        return []
    rows = _recent(log, plan, levels, end)
    found = []
    for feature, level in levels.features.iterrows():
        closed = _closed(plan, str(level["width"]), end)
        own = rows[(rows["feature_id"] == feature) & (rows["timestamp"] < closed[-1][1])]
        usual = levels.usual_requests(str(feature), closed[-1][0])
        values = _values(own, closed, plan, usual) | {"window_end_timestamp_seconds": closed[-1][1].timestamp()}
        labels = {"feature_id": str(feature), "window": str(level["width"])}
        found += [Gauge(name, float(value), labels) for name, value in values.items() if np.isfinite(value)]
    return found


def _closed(plan: Plan, width: str, end: pd.Timestamp) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
    """The last closed windows, as many as the plan wants over a limit in a row."""
    step, last = windows.width(width), windows.floor(pd.Series([end]), width).iloc[0]
    return [(last - (i + 1) * step, last - i * step) for i in reversed(range(plan.infrastructure.for_windows))]


def _recent(log: Log, plan: Plan, levels: Levels, end: pd.Timestamp) -> pd.DataFrame:
    """The requests of these windows, a day at least, and of no other feature's longer ones."""
    rows = answers.view_of(log, "requests").select("feature_id", "timestamp", "__lm_error", "latency_ms", "cost_usd")
    parts = []
    for width, features in levels.features.groupby("width").groups.items():
        closed = _closed(plan, str(width), end)
        start = min(closed[0][0], closed[-1][1] - DAY)
        inside = rows.filter(
            rows.feature_id.isin(list(features)), rows.timestamp >= start, rows.timestamp < closed[-1][1]
        )
        parts.append(engines.run(inside).to_pandas())
    return pd.concat(parts, ignore_index=True)


def _values(
    own: pd.DataFrame, closed: list[tuple[pd.Timestamp, pd.Timestamp]], plan: Plan, usual: float
) -> dict[str, float]:
    settings, at = plan.infrastructure, own["timestamp"]
    tail = (1 - settings.level) / 2
    counts = np.array([((at >= start) & (at < stop)).sum() for start, stop in closed])
    lows = poisson_least(counts, tail)
    found = {
        "request_count": counts[-1],
        "request_count_low": lows.min(),
        "request_count_high": poisson_most(counts, tail).max(),
        "request_count_usual": usual,
        "total_cost_usd": own.loc[at >= closed[-1][0], "cost_usd"].sum(min_count=1),
    }
    errors = _lots(own, "__lm_error", closed[-1], plan)
    if errors:
        found["error_rate"] = errors[-1].mean()
        found["error_rate_low"] = min(float(clopper_pearson(e.sum(), len(e), settings.level)[0]) for e in errors)
    times = [np.sort(each) for each in _lots(own, "latency_ms", closed[-1], plan)]
    if times:
        for name, share in QUANTILES.items():
            found[name] = np.quantile(times[-1], share)
            found[f"{name}_low"] = min(_low_quantile(each, share, tail) for each in times)
    return found


def _lots(own: pd.DataFrame, column: str, last: tuple[pd.Timestamp, pd.Timestamp], plan: Plan) -> list[np.ndarray]:
    """Known values of the last lots, as many as must be over a limit in a row; none where there are not so many.

    A lot is a closed window, or several back from the last one that hold enough requests together only.
    """
    rows = own[own[column].notna()]
    ago = (last[1] - rows["timestamp"]).dt.total_seconds().to_numpy()
    place = np.ceil(ago / (last[1] - last[0]).total_seconds()).astype(int) - 1  # 0 is the last window
    values = rows[column].to_numpy(float)
    counts = np.bincount(place) if len(place) else np.zeros(0, dtype=int)
    full, begin = pools(counts, plan.infrastructure.min_requests)
    ends = np.flatnonzero(full)[: plan.infrastructure.for_windows]
    if len(ends) < plan.infrastructure.for_windows:
        return []
    return [values[(place >= begin[end]) & (place <= end)] for end in reversed(ends)]


def _low_quantile(values: np.ndarray, share: float, tail: float) -> float:
    """Lower end of the interval of an order statistic."""
    at = int(binomial_quantile(tail, len(values), share)) - 1
    return float(values[at]) if at >= 0 else float("nan")


def of_watch(state: State, wanted: Any, waiting: int) -> Iterator[Gauge]:
    """The alerts that are open (of those that a sink wants), and how the watch itself is."""
    for known in state.alerts().values():
        if not known.over and wanted(known.row):
            names = ("alert_id", "layer", "metric", "feature_id", "severity")
            yield Gauge("alert_open", 1, {name: str(known.row[name] or "") for name in names})
    for fact, name in (("log_end", "log_end_timestamp_seconds"), ("read_at", "read_timestamp_seconds")):
        when = state.fact(fact)
        if when:
            yield Gauge(name, pd.Timestamp(when).timestamp(), {})
    yield Gauge("log_readable", float(not state.fact("fault")), {})
    yield Gauge("deliveries_waiting", waiting, {})


def exposition(gauges: Iterable[Gauge]) -> str:
    """Gauges in the text format of Prometheus.

    >>> print(exposition([Gauge("error_rate", 0.25, {"feature_id": 'a"b'})]), end="")
    # HELP llm_monitoring_error_rate Share of requests with an error in the last closed window or windows that hold enough requests.
    # TYPE llm_monitoring_error_rate gauge
    llm_monitoring_error_rate{feature_id="a\\"b"} 0.25
    """
    lines = []
    by_name: dict[str, list[Gauge]] = {}
    for gauge in gauges:
        by_name.setdefault(gauge.name, []).append(gauge)
    for name, several in by_name.items():
        lines += [f"# HELP {FRONT}{name} {HELP[name]}", f"# TYPE {FRONT}{name} gauge"]
        lines += [f"{FRONT}{name}{_labels(one.labels)} {one.value:.15g}" for one in several]
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    escaped = {
        name: text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, text in labels.items()
    }
    inside = ",".join(f'{name}="{text}"' for name, text in escaped.items())
    return f"{{{inside}}}" if inside else ""
