"""Right cause, right slice, honest verdict? The stages on incidents of known truth, beside simpler ways and other tools.

    python benchmarks/incidents/run.py --each 10 --seed 1000

Prints the figures of the stages, one row per way, one per kind of incident and one per size. Seeds below 1000 were used
while developing. wise-pizza and SliceLine are run where they are installed (pip install wise-pizza sliceline).
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).parent))
from peers import PEERS, mask
from worlds import KINDS, World, make_world

from llm_monitoring import incident, open_log

NEEDS = {"wise-pizza": "wise_pizza", "SliceLine": "sliceline"}


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
        "jaccard": _jaccard(world, where),
        "verdict": triage.verdict,
        "onset_hours": abs((onset["at"] - world.onset).total_seconds()) / 3600 if world.onset is not None else np.nan,
        "onset_covers": bool(onset["low"] <= world.onset <= onset["high"]) if world.onset is not None else None,
        "seconds": seconds,
    }


def _jaccard(world: World, where: dict) -> float:
    named = mask(world, where)
    union = (named | world.hit).sum()
    return float((named & world.hit).sum() / union) if union else np.nan


def judge_peer(world: World, way: str) -> dict:
    """The first cause and the overlap of another way; all of them name a change whenever there is one."""
    where, blamed = PEERS[way](world)
    return {
        "way": way,
        "first": blamed in world.causes,
        "blamed": blamed is not None,
        "jaccard": _jaccard(world, where),
    }


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
        }
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=5, help="worlds of each kind")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--days-after", type=float, default=1.0, help="days between the alert and the end of the log")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    given = parser.parse_args()
    ways = [way for way in PEERS if way not in NEEDS or importlib.util.find_spec(NEEDS[way])]
    rows, beside = [], []
    for kind in tqdm(given.kinds):
        for seed in range(given.seed, given.seed + given.each):
            world = make_world(kind, seed, given.days_after)
            about = {
                "kind": kind, "seed": seed, "drop": world.drop, "judged": world.judged_a_day,
                "control": kind.startswith("control"), "metric": world.alert["metric"],
            }  # fmt: skip
            ours = judge_ours(world)
            rows.append({**about, **ours})
            beside.append({**about, "way": "llm_monitoring", **{k: ours[k] for k in ("first", "jaccard")}, "blamed": ours["named"] is not None})  # fmt: skip
            beside += [{**about, **judge_peer(world, way)} for way in ways]
    table, others = pd.DataFrame(rows), pd.DataFrame(beside)
    print(summary(table).round(3).to_string(), "\n")
    real = others[~others["control"]].groupby("way", sort=False)
    blamed = others[others["control"] & ~others["first"].astype(bool)].groupby("way", sort=False)["blamed"].sum()
    controls = max(int(table["control"].sum()), 1)
    print(
        pd.DataFrame(
            {
                "right cause first": real["first"].mean(),
                "Jaccard": real["jaccard"].mean(),
                "false cause in controls": blamed.reindex(real.groups).fillna(0) / controls,
            }
        )
        .astype(float)
        .round(2)
        .to_string(),
        "\n",
    )
    shown = ["first", "third", "named_right", "set_covers", "jaccard", "onset_covers"]
    by = table.groupby("kind", sort=False)
    told = by[shown].agg(lambda x: x.astype(float).mean()).round(2)
    print(told.assign(real=by["verdict"].agg(lambda v: (v == "real").mean())).to_string(), "\n")
    sizes = table[~table["control"]].groupby("drop")[shown]
    print(sizes.agg(lambda x: x.astype(float).mean()).round(2).to_string())


if __name__ == "__main__":
    main()
