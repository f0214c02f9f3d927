"""Right cause, right slice, honest verdict? The stages on incidents of known truth, beside simpler ways.

    python benchmarks/incidents/run.py --each 10 --seed 1000

Prints one row per way and one per kind of incident. Seeds below 1000 were used while developing.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).parent))
from worlds import KINDS, World, make_world

from llm_monitoring import incident, open_log


def judge_ours(world: World) -> dict:
    """The stages of the package on one world."""
    log = open_log(world.tables)
    began = time.perf_counter()
    scope = incident.scope(log, world.alert)
    cause = incident.isolate(log, world.alert, scope)
    seconds = time.perf_counter() - began
    triage = incident.triage(log, world.alert)
    ranking = [row["cause"] for row in cause.ranking]
    named = cause.verdict if cause.verdict not in ("cannot tell apart", "none", "mix") else None
    named = "silent" if named == "no recorded change fits" else named
    where = scope.slices[0]["where"] if scope.slices else {}
    onset = {k: pd.Timestamp(v) if v else pd.NaT for k, v in cause.onset.items()}
    return {
        "first": bool(ranking) and ranking[0] in world.causes,
        "third": any(c in world.causes for c in ranking[:3]),
        "named": named,
        "named_right": named in world.causes,
        "set_covers": any(c in world.causes for c in cause.candidates),
        "jaccard": _jaccard(world, log, where),
        "verdict": triage.verdict,
        "onset_hours": abs((onset["at"] - world.onset).total_seconds()) / 3600 if world.onset is not None else np.nan,
        "onset_covers": bool(onset["low"] <= world.onset <= onset["high"]) if world.onset is not None else None,
        "seconds": seconds,
    }


def _jaccard(world: World, log, where: dict) -> float:
    requests = world.tables["requests"]
    base = requests.assign(model=requests["model_id"].str.replace(r"-2026.*", "", regex=True))
    mask = np.ones(len(base), bool)
    for column, value in where.items():
        name = re.sub(r"-2026.*", "", str(value))
        mask &= (base[column] == name).to_numpy()
    union = (mask | world.hit).sum()
    return float((mask & world.hit).sum() / union) if union else np.nan


def latest_change(world: World) -> bool:
    """The change nearest before the alert."""
    changes = world.tables["changes"]
    before = changes[changes["timestamp"] <= world.alert["fired_at"]].sort_values("timestamp")
    return bool(len(before)) and before["change_id"].iloc[-1] in world.causes


def summary(rows: pd.DataFrame) -> pd.Series:
    """The figures that the method promises."""
    real, control = rows[~rows["control"]], rows[rows["control"]]
    quality = real[real["metric"] == "mean_quality"]
    blamed = control["named"].notna() & ~control["named_right"]
    named = rows[rows["named"].notna()]
    return pd.Series(
        {
            "incidents": len(real),
            "right cause first": real["first"].mean(),
            "in the first three": real["third"].mean(),
            "90 % set covers": rows["set_covers"].mean(),
            "wrong when named": 1 - named["named_right"].mean(),
            "controls": len(control),
            "false cause in controls": blamed.mean(),
            "scope Jaccard": real["jaccard"].mean(),
            "real called real": (quality["verdict"] == "real").mean(),
            "controls called real": (control["verdict"] == "real").mean(),
            "controls cleared": (control["verdict"] == "false_positive").mean(),
            "onset error, median h": real["onset_hours"].median(),
            "onset covered": real["onset_covers"].astype(float).mean(),
            "seconds, median": rows["seconds"].median(),
            "latest change first": real["latest"].mean(),
        }
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=5, help="worlds of each kind")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    given = parser.parse_args()
    rows = []
    for kind in tqdm(given.kinds):
        for seed in range(given.seed, given.seed + given.each):
            world = make_world(kind, seed)
            about = {
                "kind": kind, "seed": seed, "drop": world.drop, "judged": world.judged_a_day,
                "control": kind.startswith("control"), "metric": world.alert["metric"], "latest": latest_change(world),
            }  # fmt: skip
            rows.append({**about, **judge_ours(world)})
    table = pd.DataFrame(rows)
    print(summary(table).round(3).to_string())
    shown = ["first", "third", "named_right", "set_covers", "jaccard", "onset_covers"]
    by = table.groupby("kind", sort=False)
    print(
        by[shown]
        .agg(lambda x: x.astype(float).mean())
        .round(2)
        .assign(real=by["verdict"].agg(lambda v: (v == "real").mean()))
        .to_string()
    )
    real = table[~table["control"]]
    print(real.groupby("drop")[shown].agg(lambda x: x.astype(float).mean()).round(2).to_string())


if __name__ == "__main__":
    main()
