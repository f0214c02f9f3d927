"""Incidents of other shapes than those of `worlds`, each with its own question: did the stages see how production breaks?

    python benchmarks/incidents/shapes.py --seeds 7100-7104

One row a kind: the share of the worlds in which its question is answered well. The alert is that of a plain daily chart on
the feature that was hit (first day more than three standard deviations off after the baseline, else the worst).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

sys.path.insert(0, str(Path(__file__).parent))
from run import seeds_of
from worlds import START

from llm_monitoring import incident, open_log

FEATURES, CATEGORIES, BASELINE = ("support", "search"), ("returns", "billing", "other"), 21
ENGLISH = "Hello, I cannot find the invoice of my parcel in the account, could you please send it to me?"
FRENCH = "Bonjour, je ne trouve pas la facture de mon colis dans le compte, pouvez-vous me l'envoyer s'il vous plait ?"


@dataclass
class Shape:
    """A log in the making: requests, the mean of each answer, the day of the start, recorded changes."""

    rng: np.random.Generator
    days: float
    frame: pd.DataFrame
    mean: np.ndarray
    start: float
    own: np.ndarray
    changes: list[dict[str, Any]] = field(default_factory=list)
    spread: float = 0.85

    @property
    def day(self) -> np.ndarray:
        """Day of each request."""
        return self.frame["day"].to_numpy()

    def change(self, name: str, day: float, kind: str = "deployment", **scope) -> None:
        """Write a change down, minutes off."""
        at = START + pd.Timedelta(days=day + self.rng.normal(0, 4) / 1440)
        self.changes.append({"change_id": name, "timestamp": at, "kind": kind, "description": "a change", **scope})


def base(rng: np.random.Generator, per_day: int = 500, after: float = 5) -> Shape:
    """Quiet traffic of two features, three decoys in the log; `own` are the requests of support."""
    days = BASELINE + after
    n = int(days * per_day)
    day = np.sort(rng.uniform(0, days, n))
    frame = pd.DataFrame(
        {
            "day": day,
            "request_id": [f"req-{i:06d}" for i in range(n)],
            "timestamp": (START + pd.to_timedelta(day, unit="D")).floor("ms"),
            "session_id": [f"ses-{i:06d}" for i in range(n)],
            "feature_id": rng.choice(FEATURES, n, p=[0.65, 0.35]),
            "category": rng.choice(CATEGORIES, n),
            "model_id": rng.choice(["model-a", "model-b"], n),
            "input_tokens": np.round(np.exp(rng.normal(6.2, 0.5, n))) + 20,
            "finish_reason": "end_turn",
        }
    )
    daily = rng.normal(0, 0.04, int(days) + 1)[day.astype(int)]
    mean = 4.1 + frame["category"].map({c: rng.normal(0, 0.2) for c in CATEGORIES}).to_numpy() + daily
    shape = Shape(
        rng, days, frame, mean, BASELINE + rng.uniform(8, 18) / 24, (frame["feature_id"] == "support").to_numpy()
    )
    for i in range(6):
        shape.change(
            f"decoy-{i}",
            rng.uniform(2, days - 0.5),
            str(rng.choice(["deployment", "config", "prompt"])),
            feature_id="support",
        )
    return shape


def log_and_alert(
    shape: Shape, share: float = 0.3, passes: bool = False, until: float | None = None
) -> tuple[Any, dict]:
    """The log, cut a day after the alert (or at `until`), and the alert of a daily chart on support."""
    frame, rng = shape.frame, shape.rng
    score = np.clip(np.rint(shape.mean + rng.normal(0, shape.spread, len(frame))), 1, 5)
    taken = rng.uniform(size=len(frame)) < share
    rows = pd.DataFrame({"day": shape.day[taken & shape.own].astype(int), "value": score[taken & shape.own]})
    daily = rows.groupby("day")["value"].mean()
    quiet = daily[daily.index < BASELINE]
    z = (quiet.mean() - daily[daily.index >= BASELINE]) / quiet.std()
    fired = int(z[z > 3].index[0] if (z > 3).any() else z.idxmax()) + 1
    end = (START + pd.Timedelta(days=until or min(fired + 1, shape.days))).floor("s")
    metric = "flagged_rate" if passes else "mean_quality"
    alert = {
        "metric": metric, "feature_id": "support", "direction": "up" if passes else "down",
        "fired_at": START + pd.Timedelta(days=fired), "window_start": START + pd.Timedelta(days=fired - 1),
    }  # fmt: skip
    judgements = frame.loc[taken, ["request_id", "feature_id"]].assign(
        quality_score=np.nan if passes else score[taken], flagged=score[taken] <= 2, flag_reason=None,
        dimensions=[{}] * int(taken.sum()), judged_at=frame.loc[taken, "timestamp"] + pd.Timedelta("4min"), status="ok",
    )  # fmt: skip
    changes = pd.DataFrame(shape.changes).sort_values("timestamp")
    tables = {"requests": frame.drop(columns="day"), "judgements": judgements, "changes": changes}
    return open_log(tables).until(end), alert


def service_shift(rng) -> bool:
    """A bad pool goes from 1 to 20 % of the traffic: real, the pool first, the change at that minute its cause."""
    shape = base(rng)
    pool = rng.uniform(size=len(shape.mean)) < np.where(shape.day >= shape.start, 0.2, 0.01)
    shape.frame["pool"] = np.where(pool & shape.own, "long", "short")
    shape.mean -= 1.5 * (pool & shape.own)
    shape.change("culprit", shape.start, "config")
    log, alert = log_and_alert(shape)
    found = incident.scope(log, alert)
    first = found.slices[0]["where"] if found.slices else {}
    return incident.triage(log, alert).verdict == "real" and first.get("pool") == "long"


def slide(rng) -> bool:
    """A slide over days with an innocent change in it: the change is not named."""
    shape = base(rng, after=14)
    length = rng.uniform(4, 12)
    shape.mean -= rng.uniform(0.4, 1.0) * np.clip((shape.day - shape.start) / length, 0, 1) * shape.own
    shape.change("innocent", shape.start + rng.uniform(0.2, 0.6) * length, feature_id="support")
    log, alert = log_and_alert(shape, until=min(shape.start + length, shape.days))
    return incident.isolate(log, alert).verdict in ("no recorded change fits", "cannot tell apart", "none")


def two_shifts(rng) -> bool:
    """A second fall on top of the first, or a fix that cures half: both are found, the first at its change, the second within half a day."""
    shape = base(rng, after=10)
    later = shape.start + rng.uniform(2, 4)
    size = rng.uniform(0.5, 0.9)
    second = float(rng.choice([size, -size / 2]))
    shape.mean -= (size * (shape.day >= shape.start) + second * (shape.day >= later)) * shape.own
    shape.change("first", shape.start, "prompt", feature_id="support")
    shape.change("second", later, "prompt", feature_id="support")
    log, alert = log_and_alert(shape, until=later + 4)
    found = incident.isolate(log, alert).shifts
    near = [abs(pd.Timestamp(one["at"]) - START - pd.Timedelta(days=later)) <= pd.Timedelta("12h") for one in found[1:]]
    return len(found) == 2 and found[0]["cause"] == "first" and all(near)


def canary(rng) -> bool:
    """A version on 4 % of the traffic that answers badly: it is named, and it alone."""
    shape = base(rng)
    got = shape.own & (shape.day >= shape.start) & (rng.uniform(size=len(shape.mean)) < 0.04)
    shape.frame["prompt_version"] = np.where(got, "v9", "v8")
    shape.mean -= 2.0 * got
    shape.change("culprit", shape.start, "prompt", feature_id="support")
    log, alert = log_and_alert(shape, share=0.5, until=shape.start + 4)
    return incident.isolate(log, alert).verdict == "culprit"


def _narrow(rng, chosen: Callable[[Shape], np.ndarray], right: Callable[[dict], bool], drop: float = 1.6) -> bool:
    shape = base(rng)
    hit = chosen(shape) & shape.own & (shape.day >= shape.start)
    shape.mean -= drop * hit
    shape.change("culprit", shape.start, "rag_index")
    log, alert = log_and_alert(shape, share=0.5, until=shape.start + 4)
    found = incident.scope(log, alert)
    return bool(found.slices) and right(found.slices[0]["where"])


def tenant(rng) -> bool:
    """One tenant of fifty, with 12 % of the traffic: it is the first slice."""

    def chosen(shape: Shape) -> np.ndarray:
        often = np.r_[0.12, np.full(49, 0.88 / 49)]
        shape.frame["tenant"] = [f"t{k:02d}" for k in rng.choice(50, len(shape.mean), p=often)]
        return (shape.frame["tenant"] == "t00").to_numpy()

    return _narrow(rng, chosen, lambda where: where.get("tenant") == "t00")


def band(rng) -> bool:
    """Long inputs only: a band of the number is the first slice."""
    edge = float(rng.uniform(800, 1200))

    def right(where: dict) -> bool:
        found = where.get("input_tokens")
        return isinstance(found, dict) and found["to"] is None and abs(found["from"] - edge) < 250

    return _narrow(rng, lambda shape: (shape.frame["input_tokens"] > edge).to_numpy(), right)


def language(rng) -> bool:
    """Questions in one language, which no column holds: language (or the length that goes with it) is the first slice."""

    def chosen(shape: Shape) -> np.ndarray:
        french = rng.uniform(size=len(shape.mean)) < 0.2
        shape.frame["user_input"] = np.where(french, FRENCH, ENGLISH)
        return french

    return _narrow(rng, chosen, lambda where: bool({"language", "input_length"} & set(where)))


def sixth(rng) -> bool:
    """The slice that was hit is a value of the sixth column."""

    def chosen(shape: Shape) -> np.ndarray:
        for name in ("channel", "customer_tier", "device", "intent"):
            shape.frame[name] = rng.choice(["a", "b", "c"], len(shape.mean))
        return (shape.frame["intent"] == "b").to_numpy()

    return _narrow(rng, chosen, lambda where: where.get("intent") == "b", 0.9)


def pass_fail(rng) -> bool:
    """A judge that only passes or fails: the change of one feature is real, and named."""
    shape = base(rng)
    shape.mean -= 0.8 * (shape.own & (shape.day >= shape.start))
    shape.change("culprit", shape.start, "prompt", feature_id="support")
    log, alert = log_and_alert(shape, passes=True)
    return (
        incident.triage(log, alert).verdict == "real" and incident.isolate(log, alert).ranking[0]["cause"] == "culprit"
    )


def no_slice(rng) -> bool:
    """All answers of the feature fall alike: no narrower slice is named."""
    shape = base(rng)
    often = np.r_[0.12, np.full(49, 0.88 / 49)]
    shape.frame["tenant"] = [f"t{k:02d}" for k in rng.choice(50, len(shape.mean), p=often)]
    shape.mean -= 0.6 * (shape.own & (shape.day >= shape.start))
    shape.change("culprit", shape.start, "deployment", feature_id="support")
    log, alert = log_and_alert(shape)
    found = incident.scope(log, alert)
    return not found.slices or set(found.slices[0]["where"]) <= {"feature_id"}


def standing(rng) -> bool:
    """A level above a fixed limit that did not move is never called a false alarm."""
    shape = base(rng)
    shape.mean -= 1.0 * shape.own
    log, alert = log_and_alert(shape, passes=True)
    return incident.triage(log, {**alert, "kind": "standing", "limit": 0.1}).verdict != "false_positive"


def better(rng) -> bool:
    """Answers that got better are never called a false alarm."""
    shape = base(rng)
    shape.mean += 0.5 * (shape.own & (shape.day >= shape.start)) - 0.5
    log, alert = log_and_alert(shape, until=shape.start + 3)
    fired = START + pd.Timedelta(days=int(shape.start) + 2)
    alert |= {"direction": "up", "fired_at": fired, "window_start": fired - pd.Timedelta("1D")}
    return incident.triage(log, alert).verdict != "false_positive"


SHAPES: dict[str, Callable[[np.random.Generator], bool]] = {
    f.__name__: f
    for f in (
        service_shift,
        slide,
        two_shifts,
        canary,
        tenant,
        band,
        language,
        sixth,
        pass_fail,
        standing,
        better,
        no_slice,
    )
}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0-4", help="first-last, or a list with commas")
    parser.add_argument("--kinds", nargs="*", default=list(SHAPES), choices=list(SHAPES))
    given = parser.parse_args()
    rows = [
        {"kind": kind, "seed": seed, "right": SHAPES[kind](np.random.default_rng([seed, len(kind), ord(kind[0])]))}
        for kind in tqdm(given.kinds, disable=None)
        for seed in seeds_of(given.seeds)
    ]
    table = pd.DataFrame(rows).groupby("kind", sort=False)["right"].agg(["mean", "size"])
    asked = [(SHAPES[kind].__doc__ or "").strip() for kind in table.index]
    print(table.assign(question=asked).to_string(max_colwidth=None))


if __name__ == "__main__":
    main()
