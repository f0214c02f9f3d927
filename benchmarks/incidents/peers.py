"""Other ways to scope and blame, given the same rows: what a person, and the open tools, would have said.

Each takes a world and gives a `where` (column -> value) and the change that it would blame. wise-pizza and SliceLine get
what they do best with: how far each answer since the alert's window lies below the mean of its finest slice before.
"""

from __future__ import annotations

import logging
import re
import warnings

import numpy as np
import pandas as pd
from scipy import stats
from worlds import World

COLUMNS = ("feature_id", "category", "model")


def rows_of(world: World) -> tuple[pd.DataFrame, np.ndarray]:
    """One row an answer with `value` (higher is worse) and the slice columns; True for those since the alert's window."""
    requests = world.tables["requests"]
    requests = requests.assign(model=requests["model_id"].str.replace(r"-2026.*", "", regex=True))
    value = {
        "mean_quality": lambda: -world.tables["judgements"].set_index("request_id")["quality_score"],
        "avg_cost_per_request_usd": lambda: np.log(requests.set_index("request_id")["cost_usd"]),
        "latency_p95_ms": lambda: np.log(requests.set_index("request_id")["latency_ms"]),
        "error_rate": lambda: requests.set_index("request_id")["error"].notna() * 1.0,
    }[world.alert["metric"]]()
    rows = requests[["request_id", "timestamp", *COLUMNS]].assign(value=requests["request_id"].map(value))
    rows = rows.dropna(subset="value")
    return rows, (rows["timestamp"] >= world.alert["window_start"]).to_numpy()


def latest_change(world: World) -> tuple[dict, str | None]:
    """The change nearest before the alert, and the feature that alerted."""
    return {"feature_id": world.alert["feature_id"]}, _latest(world, {})


def before_after(world: World) -> tuple[dict, str | None]:
    """Welch's test before and since for every value of every column; the smallest p, the latest change in its scope."""
    rows, late = rows_of(world)
    found = [({}, _welch(rows["value"], late))]
    for column in COLUMNS:
        for name in sorted(rows[column].unique()):
            part = (rows[column] == name).to_numpy()
            if min(late[part].sum(), (~late[part]).sum()) > 5:
                found.append(({column: name}, _welch(rows.loc[part, "value"], late[part])))
    where = min(found, key=lambda pair: pair[1])[0]
    return where, _latest(world, where)


def wise_pizza(world: World) -> tuple[dict, str | None]:
    """explain_levels of wise-pizza with one segment of up to two columns."""
    from wise_pizza import explain_levels

    rows = _shortfall(world)
    table = rows.groupby([*COLUMNS])["value"].agg(total="sum", size="size").reset_index()
    dims = [column for column in COLUMNS if table[column].nunique() > 1]
    logging.getLogger().setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = explain_levels(table, dims, "total", "size", max_segments=1, max_depth=2).segments
        except ValueError:  # no segment survives its own selection
            found = []
    where = {column: str(name) for column, name in found[0]["segment"].items()} if found else {}
    return where, _latest(world, where)


def slice_line(world: World) -> tuple[dict, str | None]:
    """SliceLine with one slice of up to two columns, alpha 0.95."""
    from sliceline.slicefinder import Slicefinder

    rows = _shortfall(world)
    finder = Slicefinder(alpha=0.95, k=1, max_l=2, min_sup=max(10, len(rows) // 100), verbose=False)
    finder.fit(rows[[*COLUMNS]].to_numpy(), rows["value"].clip(lower=0).to_numpy())
    best = finder.top_slices_[0] if len(finder.top_slices_) else [None] * len(COLUMNS)
    where = {column: name for column, name in zip(COLUMNS, best) if name is not None}
    return where, _latest(world, where)


PEERS = {
    "latest change": latest_change, "before/after per column": before_after, "wise-pizza": wise_pizza,
    "SliceLine": slice_line,
}  # fmt: skip


def mask(world: World, where: dict) -> np.ndarray:
    """The requests of a `where`, models by their name without the version."""
    requests = world.tables["requests"]
    named = requests.assign(model=requests["model_id"].str.replace(r"-2026.*", "", regex=True))
    kept = np.ones(len(named), bool)
    for column, value in where.items():
        kept &= (named[column] == re.sub(r"-2026.*", "", str(value))).to_numpy()
    return kept


def _latest(world: World, where: dict) -> str | None:
    changes = world.tables["changes"]
    own = changes["feature_id"].isna() | (changes["feature_id"] == where.get("feature_id", changes["feature_id"]))
    before = changes[own & (changes["timestamp"] <= world.alert["fired_at"])].sort_values("timestamp")
    return before["change_id"].iloc[-1] if len(before) else None


def _welch(value: pd.Series, late: np.ndarray) -> float:
    p = stats.ttest_ind(value[late], value[~late], equal_var=False, alternative="greater").pvalue
    return 1.0 if np.isnan(p) else float(p)


def _shortfall(world: World) -> pd.DataFrame:
    rows, late = rows_of(world)
    usual = rows[~late].groupby([*COLUMNS])["value"].mean().rename("usual")
    since = rows[late].join(usual, on=[*COLUMNS]).dropna(subset="usual")
    return since.assign(value=since["value"] - since["usual"])
