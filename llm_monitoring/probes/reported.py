"""What else moved between two sets of probe runs: latency, length, and what the provider reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_monitoring.distributions import student_quantile
from llm_monitoring.results import jsonable

if TYPE_CHECKING:
    import pandas as pd


def measures_of(chosen: pd.DataFrame, paired: set[str]) -> list[dict[str, Any]]:
    """Latency and length as factors over the paired probes, reported model and fingerprint before and now."""
    measures = []
    sizes = {"latency_ms": chosen.get("latency_ms")}
    if "output" in chosen:
        sizes["output_characters"] = chosen["output"].astype("string").str.len()
    inside = chosen["probe_id"].astype(str).isin(paired)
    for name, values in sizes.items():
        if values is not None:
            measures.append(_factor(name, chosen[inside], values[inside].astype("Float64")))
    for name in ("response_model", "system_fingerprint"):
        if name in chosen:
            before, after = (
                sorted(set(chosen.loc[side, name].dropna())) for side in (~chosen["after"], chosen["after"])
            )
            changed = None if not before or not after else not set(before) & set(after)
            row = {"measure": name, "before": ", ".join(before) or None, "after": ", ".join(after) or None}
            measures.append(
                row | {"factor": None, "low": None, "high": None, "p_value": None, "n": None, "changed": changed}
            )
    return measures


def _factor(name: str, chosen: pd.DataFrame, values: pd.Series) -> dict[str, Any]:
    """Mean change of the logarithm per probe, as a factor; unknown where fewer than six probes tell."""
    logs = values[values > 0].astype(float).map(np.log)
    keys = chosen.loc[logs.index, ["probe_id", "after"]]
    mean = keys.assign(log=logs).pivot_table(index="probe_id", columns="after", values="log")
    change = (mean[True] - mean[False]).dropna().to_numpy() if {True, False} <= set(mean.columns) else np.array([])
    row: dict[str, Any] = {"measure": name, "n": len(change), "changed": None}
    sides = [float(values[chosen["after"] == side].astype(float).median()) for side in (False, True)]
    row |= {"before": jsonable(sides[0]), "after": jsonable(sides[1])}
    if len(change) < 6:
        return row | dict.fromkeys(("factor", "low", "high", "p_value"))
    from scipy import stats

    half = student_quantile(0.975, len(change) - 1) * change.std(ddof=1) / np.sqrt(len(change))
    ends = np.exp([change.mean(), change.mean() - half, change.mean() + half])
    p = float(stats.wilcoxon(change).pvalue) if np.any(change) else 1.0
    return row | {"factor": float(ends[0]), "low": float(ends[1]), "high": float(ends[2]), "p_value": p}
