"""What became of the queries that moved: judged quality, refusals, cost and abandonment, beside the other ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_monitoring.errors import ConfigError
from llm_monitoring.intervals import mean_t
from llm_monitoring.results import unknown

if TYPE_CHECKING:
    import pandas as pd

    from llm_monitoring.drift.queries import Queries

#: measure -> columns of the table of topics; each value is known for some queries and null for the others
COLUMNS = {
    "quality": ["n_judged", "quality_after", "quality_low", "quality_high", "quality_rest"],
    "refusal": ["refusal_after", "refusal_rest"],
    "cost": ["cost_usd_after", "cost_usd_rest"],
    "abandoned": ["abandoned_after", "abandoned_rest"],
}


def measured(now: Queries | None, judgements: Any, signals: pd.DataFrame | None) -> dict[str, np.ndarray]:
    """Value of each query per measure (NaN where unknown), for the measures that the input knows of.

    Parameters
    ----------
    now : Queries or None
        The current queries; None where too few were there to be tested.
    judgements : DataFrame, log or None
        With a log its signals are used too.
    signals : DataFrame or None
        Of a request the signal ``abandoned`` counts.

    Raises
    ------
    ConfigError
        Where judgements or signals are given and the current queries have no request_id.
    """
    if hasattr(judgements, "judgements"):
        signals = judgements.signals if signals is None else signals
        judgements = judgements.judgements
    details = {} if now is None else now.details
    found: dict[str, np.ndarray] = {}
    if judgements is not None:
        found["quality"] = _of_ids(now, _scores(judgements), "judgements")
    if "finish_reason" in details:
        reasons = details["finish_reason"]
        found["refusal"] = np.array([np.nan if unknown(r) else float(r == "refusal") for r in reasons])
    if "cost_usd" in details:
        found["cost"] = np.array([np.nan if unknown(cost) else float(cost) for cost in details["cost_usd"]])
    if signals is not None and len(signals):
        left = set(signals.loc[signals["signal_type"] == "abandoned", "request_id"].astype(str))
        ids = _ids(now, "signals")
        found["abandoned"] = np.array([float(name in left) for name in ids])
    return {name: values for name, values in found.items() if name == "quality" or np.isfinite(values).any()}


def columns_of(values: dict[str, np.ndarray]) -> list[str]:
    """Columns that `compared` gives for these measures."""
    return [column for name in values for column in COLUMNS[name]]


def compared(values: dict[str, np.ndarray], places: np.ndarray) -> dict[str, Any]:
    """The measures of some current queries, beside the mean of all other current ones."""
    row: dict[str, Any] = {}
    for name, all_values in values.items():
        inside = np.zeros(len(all_values), bool)
        inside[places] = True
        own, rest = (part[np.isfinite(part)] for part in (all_values[inside], all_values[~inside]))
        rest_mean = math.fsum(rest) / len(rest) if len(rest) else None
        if name == "quality":
            numbers = [len(own), *mean_t(own), rest_mean]
        else:
            numbers = [math.fsum(own) / len(own) if len(own) else None, rest_mean]
        row |= dict(zip(COLUMNS[name], numbers, strict=True))
    return row


def sentence(topic: Any) -> str:
    """What a table row says of its queries, in words; nothing where too little is known."""
    said = []
    if topic.get("n_judged", 0) >= 5 and topic["quality_rest"] is not None:
        ends = f"95 % interval {topic['quality_low']:.1f} to {topic['quality_high']:.1f}"
        said.append(
            f"judged quality of these is {topic['quality_after']:.1f} ({topic['n_judged']:,} judged, {ends}) against "
            f"{topic['quality_rest']:.1f} of the others"
        )
    for name, words in (("refusal", "are refused"), ("abandoned", "end in an abandoned session")):
        after, rest = topic.get(f"{name}_after"), topic.get(f"{name}_rest")
        if after is not None and rest is not None and abs(after - rest) >= 0.05:
            said.append(f"{_percent(after)} of them {words} against {_percent(rest)} of the others")
    after, rest = topic.get("cost_usd_after"), topic.get("cost_usd_rest")
    if after and rest and not 0.8 < after / rest < 1.25:
        said.append(f"one costs {after / rest:.1f} times as much as another query")
    return f" {'; '.join(said)[0].upper()}{'; '.join(said)[1:]}." if said else ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 or share == 0 else f"{100 * share:.1f} %"


def _scores(judgements: pd.DataFrame) -> dict[str, float]:
    """Score of a request: the latest that succeeded, of the judge with most judgements (ties by name)."""
    if "quality_score" not in judgements.columns:
        return {}
    judged = judgements.dropna(subset=["quality_score"])
    if "judge_model" in judged.columns and judged["judge_model"].nunique() > 1:
        counts = judged["judge_model"].value_counts()
        judged = judged[judged["judge_model"] == min(counts[counts == counts.max()].index)]
    if "judged_at" in judged.columns:
        judged = judged.sort_values(["judged_at", "quality_score"], kind="stable")
    judged = judged.drop_duplicates("request_id", keep="last")
    return dict(zip(judged["request_id"].astype(str), judged["quality_score"].astype(float), strict=True))


def _ids(now: Queries | None, name: str) -> list[str]:
    if now is None:
        return []
    if "request_id" not in now.details:
        raise ConfigError(f"explain({name}): the current queries have no request_id; test a table that has one")
    return [str(name) for name in now.details["request_id"]]


def _of_ids(now: Queries | None, scores: dict[str, float], name: str) -> np.ndarray:
    return np.array([scores.get(ident, np.nan) for ident in _ids(now, name)])
