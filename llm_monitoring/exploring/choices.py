"""What is chosen in the explorer, as a plan for the charts and as code that makes them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from llm_monitoring import times
from llm_monitoring.alerts.plan import Plan, read_plan
from llm_monitoring.errors import ConfigError, one_of, quote
from llm_monitoring.measures import Measure, as_table
from llm_monitoring.results import iso

if TYPE_CHECKING:
    import pandas as pd

    from llm_monitoring.log import Log

WINDOWS = ("auto", "1h", "6h", "1d")
FIRST = ("flagged_rate", "mean_quality")


@dataclass(frozen=True)
class Choices:
    """The state of the explorer.

    Parameters
    ----------
    feature : str or None
        None where a chart is of all features together.
    metric : str or None
        None takes the first chart that alarmed, else the first.
    window : {"auto", "1h", "6h", "1d"}
        Auto is the shortest with enough answers.
    baseline : int or None
        Days from the log's start that are taken as normal; None leaves it to the plan.
    until : str or None
        The log as it was known then.
    false_alarms_per_month : float
        Over all charts together.
    point : str or None
        Start of the window whose answers are read.
    """

    feature: str | None = None
    metric: str | None = None
    window: str = "auto"
    baseline: int | None = None
    until: str | None = None
    false_alarms_per_month: float = 1.0
    point: str | None = None

    def __post_init__(self) -> None:
        one_of("window", self.window, WINDOWS)
        if self.baseline is not None and (not isinstance(self.baseline, int) or self.baseline < 1):
            raise ConfigError(f"baseline={quote(self.baseline)}; expected days, 1 or more, or None for the plan's")
        rate = self.false_alarms_per_month
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not rate > 0:
            raise ConfigError(f"false_alarms_per_month={quote(rate)}; expected a number above 0")
        for name in ("until", "point"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, iso(times.moment(getattr(self, name), name)))

    @property
    def state(self) -> dict[str, Any]:
        """The choices by name, ready for JSON."""
        return asdict(self)

    def plan(self, base: Plan) -> Plan:
        """The plan that `base` becomes: keys that were not chosen stay as they are.

        >>> Choices(window="1d", baseline=14).plan(Plan()).baseline.days
        14
        """
        return read_plan(self.keys(base))

    def keys(self, base: Plan) -> dict[str, Any]:
        """The plan as a dict of the keys that differ from the built-in ones."""
        keys = base.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        chosen: dict[str, dict[str, Any]] = {"baseline": {}, "quality": {}, "cost": {}}
        if self.baseline is not None:
            chosen["baseline"]["days"] = self.baseline
        for section, of in (("quality", base.quality), ("cost", base.cost)):
            if self.window not in (of.window, base.quality.window):
                chosen[section]["window"] = self.window
        if self.false_alarms_per_month != base.quality.false_alarms_per_month:
            chosen["quality"]["false_alarms_per_month"] = self.false_alarms_per_month
        merged = {name: {**keys.get(name, {}), **given} for name, given in chosen.items()}
        return {**keys, **{name: given for name, given in merged.items() if given}}

    def code(self, log: Log, base: Plan, own: Iterable[Measure] = ()) -> str:
        """Public calls that draw the same chart and list the answers of the chosen window."""
        plan = self.keys(base)
        if own := list(own):
            plan["measures"] = as_table(own)
        options = [f"plan={plan!r}"] if plan else []
        options += [f"until={self.until!r}"] if self.until else []
        lines = ["import llm_monitoring as lm", "", *_opening(log)]
        lines += [
            f"charts = lm.control_charts({', '.join(['log', *options])})",
            f"charts.plot(feature={self.feature!r}, metric={self.metric!r})",
        ]
        return "\n".join([*lines, *self._reading(log)]) + "\n"

    def _reading(self, log: Log) -> list[str]:
        if self.point is None:
            return []
        feature = "" if self.feature is None else f' & (table["feature_id"] == {self.feature!r})'
        return [
            "",
            "table = charts.to_frame()",
            f'window = table[(table["metric"] == {self.metric!r}) & (table["window_start"] == {self.point!r}){feature}].iloc[0]',
            "requests = " + (f"log.until({self.until!r})" if self.until else "log") + ".requests",
            'inside = requests["timestamp"].between(window["window_start"], window["window_end"], inclusive="left")',
            "answers = requests[inside" + (f' & (requests["feature_id"] == {self.feature!r})' if feature else "") + "]",
        ]


def _opening(log: Log) -> list[str]:
    opening: Mapping[str, Any] = log.opening
    if not opening:
        return ["# log: the log that the explorer was given"]
    options = [repr(opening["source"]), *(f"{name}={value!r}" for name, value in opening.items() if name != "source")]
    return [f"log = lm.open_log({', '.join(options)})"]


def charted(frame: pd.DataFrame) -> dict[tuple[str | None, str], bool]:
    """The charts of a table of `lm.control_charts`, (feature, metric) -> whether it alarmed; those that did first."""
    found: dict[tuple[str | None, str], bool] = {}
    for feature, metric, alarm in frame[["feature_id", "metric", "alarm"]].itertuples(index=False, name=None):
        key = (feature if isinstance(feature, str) else None, metric)
        found[key] = found.get(key, False) or bool(alarm)
    return dict(sorted(found.items(), key=lambda item: (not item[1], _rank(item[0][1]), str(item[0][0]), item[0][1])))


def _rank(metric: str) -> int:
    """What people ask about first: quality as the judge sees it, then everything else."""
    return FIRST.index(metric) if metric in FIRST else len(FIRST)
