"""Names of a plan that its log does not have: a slip of the pen that would else switch something off in silence."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llm_monitoring import engines
from llm_monitoring.alerts.plan import Plan, QualityPlan, SlicesPlan
from llm_monitoring.errors import ConfigError, nearest, quote
from llm_monitoring.log import Log
from llm_monitoring.measures import measure

USUAL = QualityPlan.model_fields["versions"].default


def not_in_log(log: Log, plan: Plan) -> list[str]:
    """A sentence for each name that the plan takes from the log and the log does not have (yet).

    Parameters
    ----------
    log : Log
        Opened with the plan: several names of one feature are one already.
    plan : Plan

    Returns
    -------
    list of str
        Features of `[[sinks]]`, `[[silence]]` and `[features]`, metrics of `[[silence]]`, columns of `[quality] versions`
        and `[slices]`.
    """
    if not (
        plan.sinks or plan.silence or plan.features or plan.slices != SlicesPlan() or plan.quality.versions != USUAL
    ):
        return []
    features = features_of(log)
    named = [("[[sinks]] features", name) for sink in plan.sinks for name in sink.features]
    named += [("[[silence]] feature", each.feature) for each in plan.silence if each.feature is not None]
    groups = {name: group for group, names in plan.features.items() for name in names if name != group}
    said = [_feature(where, name, features, groups) for where, name in named if name not in features]
    said += [
        f"[features] {group}: the log has none of {', '.join(map(quote, names))}{nearest(names[0], features, 0.5)}"
        for group, names in plan.features.items()
        if names and group not in features
    ]
    columns = [("[quality] versions", name) for name in plan.quality.versions if name not in USUAL]
    columns += [("[slices] question", name) for name in plan.slices.question]
    columns += [("[slices] service", name) for name in plan.slices.service]
    said += _strange(columns, log.table("requests").columns, "a column of requests")
    return list(dict.fromkeys([*said, *_metrics(log, plan)]))


def features_of(log: Log) -> list[str]:
    """The features that the requests of a log are of, by name."""
    rows = log.table("requests")
    return sorted(engines.run(rows.select("feature_id").distinct())["feature_id"].drop_null().to_pylist())


def _feature(where: str, name: str, features: Sequence[str], groups: dict[str, str]) -> str:
    if name in groups:
        return f"{where}: {quote(name)} is a name of the feature {quote(groups[name])} ([features]); write that"
    return _strange([(where, name)], features, "a feature of the log")[0]


def _strange(named: Iterable[tuple[str, str]], known: Sequence[str], what: str) -> list[str]:
    return [
        f"{where}: {quote(name)} is not {what}{nearest(name, known, 0.5)}" for where, name in named if name not in known
    ]


def _metrics(log: Log, plan: Plan) -> list[str]:
    said = []
    for each in plan.silence:
        try:
            measure(each.metric or "mean_quality", plan.own_measures(log))
        except ConfigError as error:
            said.append(f"[[silence]] {error}")
    return said
