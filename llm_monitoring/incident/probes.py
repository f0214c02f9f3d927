"""What the probes say: passes before and since a moment, for each feature, check and model. No cause is weighed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring.incident.inference.cells import requests_of
from llm_monitoring.incident.inference.comparison import LEAST_TO_TELL
from llm_monitoring.intervals import wilson
from llm_monitoring.probes.comparison import compare_probes

if TYPE_CHECKING:
    from llm_monitoring.log import Log

COLUMNS = [
    "label", "feature_id", "check", "model", "before", "before_low", "before_high", "after", "after_low", "after_high",
    "change", "low", "high", "n_before", "n_after", "p_value", "verdict",
]  # fmt: skip
ALPHA = 0.05


def probes_since(log: Log, since: Any) -> pd.DataFrame:
    """Shares of probes passed before and since a moment, one row for each feature, check and model that has both.

    Parameters
    ----------
    log : Log
        Its table `probe_results`; columns `feature_id` and `check` are used where it has them, and a model is followed
        over its versions.
    since : time
        The first moment of now.

    Returns
    -------
    DataFrame
        label, feature_id, check, model, before, after (shares passed, with Wilson intervals), change with low and high
        (95 %, paired by probe), n_before, n_after, p_value (exact, paired) and verdict: passes less, passes more, no
        change seen, or too few to tell (below 20 answers). Less and more are held to a false discovery rate of 0.05
        over all rows (Benjamini and Hochberg). Largest loss first; empty where no probe has answers on both sides.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> probes_since(lm.open_log("sample_data"), "2026-05-18T00:00Z").columns[:2].tolist()
    ['label', 'feature_id']
    """
    probes = log.probe_results
    since = pd.Timestamp(since)
    family = requests_of(log).family
    probes = probes.assign(model=probes["model_id"].map(lambda name: family.get(name, name)))
    columns = [name for name in ("feature_id", "check") if name in probes and probes[name].notna().any()]
    found = []
    values: Any
    for values, part in probes.groupby([*columns, "model"], dropna=False, observed=True, sort=True):
        late = (part["run_at"] >= since).to_numpy()
        if late.any() and not late.all():
            where = {name: None if pd.isna(value) else value for name, value in zip([*columns, "model"], values)}
            found.append(_row(where, part, late))
    frame = pd.DataFrame([row for row in found if row is not None], columns=COLUMNS)
    frame["verdict"] = _readings(frame)
    return frame.sort_values(["change", "label"], ignore_index=True)


def _row(where: dict[str, Any], part: pd.DataFrame, late: np.ndarray) -> dict[str, Any] | None:
    compared = compare_probes(part, ~late, late)
    passed = part["passed"].astype("boolean")
    row: dict[str, Any] = {"label": _label(where), **where}
    for side, chosen in (("before", ~late), ("after", late)):
        told = passed[chosen].dropna()
        if not len(told):
            return None
        low, high = wilson(int(told.sum()), len(told))
        row |= {
            side: float(told.mean()),
            f"{side}_low": float(low),
            f"{side}_high": float(high),
            f"n_{side}": len(told),
        }
    return {**row, "change": compared.change, "low": compared.low, "high": compared.high, "p_value": compared.p_value}


def _label(where: dict[str, Any]) -> str:
    model = str(where["model"]).rsplit("/", 1)[-1]
    of = ", ".join(str(value) for value in (where.get("feature_id"), model) if value is not None)
    check = where.get("check")
    return f"{of}: {str(check).replace('_', ' ')}" if check is not None else of


def _readings(frame: pd.DataFrame) -> list[str]:
    p = frame["p_value"].to_numpy(float)
    order = np.argsort(p)
    limit = ALPHA * (np.arange(len(p)) + 1) / max(np.isfinite(p).sum(), 1)
    passing = np.flatnonzero(p[order] <= limit)
    shown = set(order[: passing[-1] + 1]) if len(passing) else set()
    told = []
    for i, row in enumerate(frame.to_dict("records")):
        if min(row["n_before"], row["n_after"]) < LEAST_TO_TELL:
            told.append("too few to tell")
        else:
            told.append("no change seen" if i not in shown else "passes less" if row["change"] < 0 else "passes more")
    return told
