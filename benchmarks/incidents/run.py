"""Right cause, right slice, honest verdict? The stages on incidents of known truth, beside simpler ways and other tools.

    python benchmarks/incidents/run.py --seeds 1000-1009

Prints the figures of the stages beside those of `oracle`, which knows how the worlds are made, then one row per way, one per
kind of incident and one per size. Seeds below 1000 and from 7000 to 7999 were used while developing. wise-pizza and
SliceLine are run where they are installed (pip install wise-pizza sliceline).
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
from oracle import Answer, oracle
from peers import PEERS, mask
from worlds import KINDS, World, make_world

from llm_monitoring import incident, open_log

HARMLESS = ("none", "mix", "judge")
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
    onset = {k: pd.Timestamp(v) if v else pd.NaT for k, v in cause.onset.items() if k in ("at", "low", "high")}
    return {
        **_causes(world, ranking, named, cause.candidates),
        "jaccard": _jaccard(world, mask(world, where)),
        "p_real": triage.probability_real,
        "real": triage.verdict == "real",
        "cleared": triage.verdict == "false_positive",
        "onset_hours": _hours(world, onset["at"]),
        "onset_covers": bool(onset["low"] <= world.onset <= onset["high"]) if world.onset is not None else None,
        "seconds": seconds,
    }


def judge_oracle(world: World, answer: Answer) -> dict:
    """The same of the oracle; its verdicts are real from 0.8 on and cleared up to 0.2."""
    return {
        **_causes(world, [cause for cause, _ in answer.ranking], answer.named, answer.candidates),
        "jaccard": _jaccard(world, answer.mask),
        "p_real": answer.p_real,
        "real": answer.p_real >= 0.8,
        "cleared": answer.p_real <= 0.2,
        "onset_hours": _hours(world, answer.onset),
    }


def _causes(world: World, ranking: list[str], named: str | None, candidates: list[str]) -> dict:
    harm = [cause for cause in ranking if cause not in HARMLESS]
    return {
        "first": ranking[:1] != [] and ranking[0] in world.causes,
        "of_harm": harm[:1] != [] and harm[0] in world.causes,
        "third": any(c in world.causes for c in ranking[:3]),
        "named": named,
        "named_right": named in world.causes,
        "set_covers": any(c in world.causes for c in candidates),
    }


def _hours(world: World, at) -> float:
    return abs((at - world.onset).total_seconds()) / 3600 if world.onset is not None and at is not None else np.nan


def _jaccard(world: World, named: np.ndarray) -> float:
    union = (named | world.hit).sum()
    return float((named & world.hit).sum() / union) if union else np.nan


def judge_peer(world: World, way: str) -> dict:
    """The first cause and the overlap of another way; all of them name a change whenever there is one."""
    where, blamed = PEERS[way](world)
    return {
        "way": way,
        "first": blamed in world.causes,
        "blamed": blamed is not None,
        "jaccard": _jaccard(world, mask(world, where)),
    }


def summary(rows: pd.DataFrame) -> pd.Series:
    """The figures that the method promises."""
    real, control = rows[~rows["control"]], rows[rows["control"]]
    quality = real[real["metric"] == "mean_quality"]
    blamed = control["named"].notna() & ~control["named_right"]
    named = rows[rows["named"].notna()]
    cut = control["p_real"].quantile(0.97, interpolation="higher") if len(control) else np.nan
    return pd.Series(
        {
            "incidents": len(real),
            "right cause first among causes of harm": real["of_harm"].mean(),
            "right cause first": real["first"].mean(),
            "in the first three": real["third"].mean(),
            "90 % set covers": rows["set_covers"].mean(),
            "named": real["named"].notna().mean(),
            "wrong when named": 1 - named["named_right"].mean(),
            "controls": len(control),
            "false cause in controls": blamed.mean(),
            "scope Jaccard": real["jaccard"].mean(),
            "real called real": quality["real"].mean(),
            "controls called real": control["real"].mean(),
            "real called real, cut at 3 % of controls": (quality["p_real"] > cut).mean(),
            "real incidents cleared": quality["cleared"].mean(),
            "controls cleared": control["cleared"].mean(),
            "onset error, median h": real["onset_hours"].median(),
            "onset covered": real["onset_covers"].astype(float).mean(),
            "seconds, median": rows["seconds"].median(),
        }
    )


def seeds_of(text: str) -> list[int]:
    """Seeds from ``first-last`` or a list with commas."""
    first, _, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if last else [int(x) for x in text.split(",")]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-4", help="first-last, or a list with commas")
    parser.add_argument("--days-after", type=float, default=1.0, help="days between the alert and the end of the log")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    parser.add_argument("--save", help="file for the rows, one a world and way")
    given = parser.parse_args()
    ways = [way for way in PEERS if way not in NEEDS or importlib.util.find_spec(NEEDS[way])]
    rows, beside = [], []
    for kind in tqdm(given.kinds, disable=None):
        for seed in seeds_of(given.seeds):
            world = make_world(kind, seed, given.days_after)
            about = {
                "kind": kind, "seed": seed, "drop": world.drop, "judged": world.judged_a_day,
                "control": kind.startswith("control"), "metric": world.alert["metric"],
            }  # fmt: skip
            ours = judge_ours(world)
            rows.append({**about, "way": "llm_monitoring", **ours})
            if given.days_after == 1:
                told = oracle(world)
                rows += [{**about, "way": f"oracle, {prior}", **judge_oracle(world, told[prior])} for prior in told]
            beside.append({**about, "way": "llm_monitoring", **{k: ours[k] for k in ("first", "jaccard")}, "blamed": ours["named"] is not None})  # fmt: skip
            beside += [{**about, **judge_peer(world, way)} for way in ways]
    everything, others = pd.DataFrame(rows), pd.DataFrame(beside)
    if given.save:
        everything.to_csv(given.save, index=False)
    tables = {way: summary(part) for way, part in everything.groupby("way", sort=False)}
    print(pd.DataFrame(tables).round(3).to_string(), "\n")
    table = everything[everything["way"] == "llm_monitoring"]
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
    shown = ["first", "of_harm", "third", "set_covers", "jaccard", "onset_covers", "real", "cleared"]
    for by, part in (("kind", table), ("drop", table[~table["control"]])):
        told = part.groupby(by, sort=False)[shown].agg(lambda x: x.astype(float).mean())
        best = everything[everything["way"] == "oracle, fair"].groupby(by)[["first", "real", "cleared"]].mean()
        print(told.join(best.add_prefix("oracle ")).astype(float).round(2).to_string(), "\n")


if __name__ == "__main__":
    main()
