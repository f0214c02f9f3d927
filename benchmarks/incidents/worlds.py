"""Incidents with a known truth, made without looking at how the package thinks the world works.

Latent quality of an answer = feature + category + model + session + weekday + a slow wave + Student noise; the judge adds
noise of its own and rounds; people see the latent quality. Effects, times, scopes and logged changes come from priors of
their own. Nothing but the effect tells a culprit from a decoy: both are of every kind and scope, go live in working hours,
and every logged change of a prompt or model is a new version in the traffic, harmful or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

KINDS = (
    "model_all", "model_one", "prompt", "silent", "rag", "two_changes", "cost", "latency", "errors",
    "control_mix", "control_chance", "control_judge",
)  # fmt: skip
START = pd.Timestamp("2026-03-02", tz="UTC")
CHANGE_KINDS = ("deployment", "prompt", "rag_index", "config", "model_version")


@dataclass
class World:
    """Tables of a log, the alert, and what is true."""

    kind: str
    tables: dict[str, pd.DataFrame]
    alert: dict
    causes: tuple[str, ...]
    hit: np.ndarray
    where: dict
    onset: pd.Timestamp | None
    drop: float
    judged_a_day: int
    baseline: int = 21


def make_world(kind: str, seed: int, days_after: float = 1.0) -> World:
    """One incident (or control) of a kind; the log ends `days_after` the alert."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    shape = _shape(rng)
    per_day, judged = shape["requests_a_day"], shape["judged_a_day"]
    baseline = int(rng.integers(14, 36))
    days = baseline + 8 + int(np.ceil(days_after))
    frame = _traffic(rng, shape, days, per_day)
    onset_day = baseline + _working_hour(rng)
    drop = float(rng.choice([0.15, 0.35, 0.8]))
    hit, where, ramp = _who(kind, rng, frame, shape)
    day = frame.pop("day").to_numpy()
    dose = np.clip((day - onset_day) / ramp, 0, 1) if ramp else (day >= onset_day) * 1.0
    if kind.startswith("control"):
        dose = dose * 0
    frame, quality = _mix(kind, rng, frame, day, onset_day, shape)
    quality = quality - (drop * dose * hit if kind not in ("cost", "latency", "errors") else 0)
    factor = 1 + drop * dose * hit
    frame["cost_usd"] *= factor if kind == "cost" else 1
    frame["latency_ms"] *= factor if kind == "latency" else 1
    failed = rng.uniform(size=len(frame)) < 0.01 + (0.15 * drop * dose * hit if kind == "errors" else 0)
    frame["error"] = np.where(failed, "upstream failed", None)
    frame["finish_reason"] = np.where(failed, "error", "end_turn")
    changes, causes = _changes(kind, rng, shape, onset_day, where, days)
    frame = _versions(frame, day, changes)
    judge_shift = (day >= onset_day) * drop if kind == "control_judge" else 0.0
    judgements = _judge(rng, frame, quality - judge_shift, judged / per_day)
    tables = {"requests": frame, "judgements": judgements, "changes": _logged(rng, changes)}
    onset = None if kind.startswith("control") else _time(onset_day)
    world = World(kind, tables, {}, causes, hit, where, onset, drop, judged, baseline)
    _fire(world, rng, day, quality, days_after)
    return world


def _working_hour(rng) -> float:
    return float(rng.uniform(8, 18)) / 24


def _shape(rng) -> dict:
    judged = int(np.exp(rng.uniform(np.log(50), np.log(500))))
    return {
        "features": [f"feature-{c}" for c in "abcdef"[: rng.integers(2, 6)]],
        "categories": [f"topic-{i}" for i in range(rng.integers(3, 7))],
        "models": [f"model-{c}" for c in "xyz"[: rng.integers(1, 4)]],
        "judged_a_day": judged,
        "requests_a_day": int(judged * rng.uniform(2, 5)),
    }


def _time(day: float) -> pd.Timestamp:
    return (START + pd.Timedelta(days=float(day))).floor("s")


def _traffic(rng, shape, days, per_day) -> pd.DataFrame:
    volume = per_day * (1 + 0.35 * np.sin(2 * np.pi * (np.arange(days) + 2) / 7))
    day = np.sort(np.concatenate([d + _hours(rng, int(v)) for d, v in enumerate(volume)]))
    n = len(day)
    session = np.sort(rng.integers(0, max(n // 3, 1), n))
    pick = {
        name: rng.dirichlet(np.full(len(values), 4.0))
        for name, values in (
            ("features", shape["features"]),
            ("categories", shape["categories"]),
            ("models", shape["models"]),
        )
    }
    return pd.DataFrame(
        {
            "day": day,
            "request_id": [f"req-{i:06d}" for i in range(n)],
            "timestamp": (START + pd.to_timedelta(day, unit="D")).floor("ms"),
            "session_id": [f"ses-{s:06d}" for s in session],
            "feature_id": rng.choice(shape["features"], n, p=pick["features"]),
            "category": rng.choice(shape["categories"], n, p=pick["categories"]),
            "model_id": rng.choice(shape["models"], n, p=pick["models"]),
            "latency_ms": 1200 * np.exp(0.5 * rng.standard_t(4, n)),
            "cost_usd": 0.002 * np.exp(0.6 * rng.standard_normal(n)),
            "input_tokens": 200,
            "output_tokens": 100,
        }
    )


def _hours(rng, n: int) -> np.ndarray:
    hour = rng.beta(2.2, 1.8, n)
    return np.where(rng.uniform(size=n) < 0.15, rng.uniform(size=n), hour) * 0.9999


def _who(kind, rng, frame, shape) -> tuple[np.ndarray, dict, float]:
    everything = np.ones(len(frame), bool)
    feature, category, model = (rng.choice(shape[k]) for k in ("features", "categories", "models"))
    if kind in ("model_one", "silent"):
        where = {"model": model} if len(shape["models"]) > 1 else {}
        return (frame["model_id"] == model).to_numpy() if where else everything, where, 0.0
    if kind in ("prompt", "two_changes"):
        where = {"feature_id": feature, "category": category}
        return ((frame["feature_id"] == feature) & (frame["category"] == category)).to_numpy(), where, 0.0
    if kind == "rag":
        return (frame["feature_id"] == feature).to_numpy(), {"feature_id": feature}, rng.uniform(0.5, 3.0)
    if kind in ("cost", "latency", "errors"):
        return (frame["feature_id"] == feature).to_numpy(), {"feature_id": feature}, 0.0
    return everything, {}, 0.0


def _mix(kind, rng, frame, day, onset_day, shape) -> tuple[pd.DataFrame, np.ndarray]:
    """Latent quality before any harm; in the mix control a hard topic takes over from the onset on."""
    hard = {c: rng.normal(0, 0.3) for c in shape["categories"]}
    if kind == "control_mix":
        topic = shape["categories"][0]
        hard[topic] -= 1.0
        taken = (day >= onset_day) & (rng.uniform(size=len(frame)) < rng.uniform(0.25, 0.5))
        frame = frame.assign(category=np.where(taken, topic, frame["category"]))
    session = rng.normal(0, 0.25, frame["session_id"].nunique())[pd.factorize(frame["session_id"])[0]]
    daily = rng.normal(0, rng.choice([0.0, 0.03, 0.06]), int(day.max()) + 2)[day.astype(int)]
    wave = 0.05 * np.sin(2 * np.pi * day / rng.uniform(9, 20) + rng.uniform(0, 6))
    weekend = -0.05 * ((day.astype(int) % 7) >= 5)
    by = [
        frame[name].map({v: rng.normal(0, 0.15) for v in frame[name].unique()}).to_numpy()
        for name in ("feature_id", "model_id")
    ]
    noise = 0.75 * rng.standard_t(5, len(frame)) / np.sqrt(5 / 3)
    return frame, 4.0 + frame["category"].map(hard).to_numpy() + sum(by) + session + daily + wave + weekend + noise


def _judge(rng, frame, quality, rate) -> pd.DataFrame:
    taken = rng.uniform(size=len(frame)) < rate
    score = np.clip(np.rint(quality[taken] + rng.normal(0, 0.4, taken.sum())), 1, 5)
    lost = rng.uniform(size=taken.sum()) < 0.01
    return pd.DataFrame(
        {
            "request_id": frame.loc[taken, "request_id"],
            "feature_id": frame.loc[taken, "feature_id"],
            "quality_score": np.where(lost, np.nan, score),
            "dimensions": [{} for _ in range(taken.sum())],
            "flagged": (score <= 2) & ~lost,
            "flag_reason": None,
            "judged_at": frame.loc[taken, "timestamp"] + pd.Timedelta("4min"),
            "status": np.where(lost, "failed", "ok"),
        }
    )


def _changes(kind, rng, shape, onset_day, where, days) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """All changes with the day on which each went live; a prompt may name its category, a model version its model."""
    rows = []
    for i in range(int(rng.integers(5, 31))):
        of = str(rng.choice(CHANGE_KINDS))
        hit = {"feature_id": rng.choice(shape["features"]), "category": rng.choice(shape["categories"])}
        hit["model"] = rng.choice(shape["models"]) if rng.uniform() < 0.5 else None
        rows.append((f"chg-{i:02d}", rng.integers(1, days - 1) + _working_hour(rng), of, *_scope(rng, of, hit)))
    truth = {
        "model_all": "model_version", "model_one": "model_version", "prompt": "prompt", "two_changes": "prompt",
        "rag": "rag_index", "cost": "deployment", "latency": "deployment", "errors": "deployment",
    }.get(kind)  # fmt: skip
    causes = {
        "silent": ("silent",),
        "control_mix": ("mix", "none"),
        "control_chance": ("none",),
        "control_judge": ("judge",),
    }.get(kind, ("culprit",))
    if truth:
        named = {"model": rng.choice([None, *shape["models"]])} if len(shape["models"]) == 1 else {}
        rows.append(("culprit", onset_day, truth, *_scope(rng, truth, named | where)))
    if kind == "two_changes":
        away = rng.uniform(2, 10) / 24 * rng.choice([-1, 1])
        rows.append(("near", onset_day + away, "deployment", where["feature_id"], None, None))
    table = pd.DataFrame(rows, columns=["change_id", "day", "kind", "feature_id", "category", "model"])
    table = table.astype(object).where(table.notna(), None).astype({"day": float})
    return table.sort_values("day", ignore_index=True), causes


def _scope(rng, of: str, hit: dict) -> tuple[str | None, str | None, str | None]:
    """What a change of this kind writes down of whom it reaches: feature, category, model; one in ten writes nothing."""
    silent, narrow = rng.uniform() < 0.1, rng.uniform() < 0.2
    if of == "model_version":
        return None, None, hit.get("model")
    feature = None if silent or of == "config" else hit.get("feature_id")
    return feature, hit.get("category") if feature and narrow and of == "prompt" else None, None


def _versions(frame: pd.DataFrame, day: np.ndarray, changes: pd.DataFrame) -> pd.DataFrame:
    """Every change of a prompt or model is seen on the rows that it reaches, from the moment it goes live."""
    prompt, model = np.full(len(frame), "v1", object), np.full(len(frame), "-2026-01", object)
    for k, row in enumerate(changes.itertuples()):
        reached = day >= row.day
        for column, value in (("feature_id", row.feature_id), ("category", row.category), ("model_id", row.model)):
            reached &= (frame[column] == value).to_numpy() if value is not None else True
        if row.kind == "prompt":
            prompt[reached] = f"v{k + 2}"
        if row.kind == "model_version":
            model[reached] = _suffix(k)
    return frame.assign(prompt_version=prompt, model_id=frame["model_id"] + model)


def _logged(rng, changes: pd.DataFrame) -> pd.DataFrame:
    """The table of changes as people wrote it, minutes off; a model version by its new id."""
    at = changes["day"] + rng.normal(0, 4, len(changes)) / 1440
    ids = [None if model is None else model + _suffix(k) for k, model in enumerate(changes["model"])]
    table = changes.drop(columns=["day", "model"]).assign(
        timestamp=[_time(max(d, 0.01)) for d in at], model_id=ids, description="a change"
    )
    return table.sort_values("timestamp", ignore_index=True)


def _suffix(k: int) -> str:
    return f"-2026-02-{k:02d}"


def _fire(world: World, rng, day, quality, days_after) -> None:
    """The alert of a plain daily z-chart on the touched feature that shows it first, and 20 reviews; then the log ends."""
    metric, direction = {
        "cost": ("avg_cost_per_request_usd", "up"), "latency": ("latency_p95_ms", "up"), "errors": ("error_rate", "up"),
    }.get(world.kind, ("mean_quality", "down"))  # fmt: skip
    frame, judged = world.tables["requests"], world.tables["judgements"]
    if metric == "mean_quality":
        rows = judged.dropna(subset="quality_score")
        rows = rows.assign(day=day[rows.index].astype(int), value=-rows["quality_score"])
    else:
        value = {
            "cost": np.log(frame["cost_usd"]),
            "latency": np.log(frame["latency_ms"]),
            "errors": frame["error"].notna() * 1.0,
        }[world.kind]
        rows = frame.assign(day=day.astype(int), value=value)
    daily = rows.groupby(["feature_id", "day"])["value"].mean().unstack(0)
    base = daily[daily.index < world.baseline]
    z = (daily - base.mean()) / base.std()
    touched = frame.loc[world.hit, "feature_id"].unique() if world.onset is not None else daily.columns
    week = z.loc[world.baseline : world.baseline + 6, [name for name in z.columns if name in set(touched)]].stack()
    over = week[week > 3]
    fired_day, feature = over.index[0] if len(over) else week.idxmax()
    fired = START + pd.Timedelta(days=int(fired_day) + 1)
    world.alert = {
        "metric": metric, "direction": direction, "feature_id": feature, "fired_at": fired,
        "window_start": fired - pd.Timedelta("1D"),
    }  # fmt: skip
    now = fired + pd.Timedelta(days=days_after)
    world.tables = {
        "requests": frame[frame["timestamp"] <= now],
        "judgements": judged[judged["judged_at"] <= now],
        "changes": world.tables["changes"][world.tables["changes"]["timestamp"] <= now],
    }
    world.hit = world.hit[: len(world.tables["requests"])]
    if metric == "mean_quality":
        world.tables["reviews"] = _reviews(rng, world, quality, feature, fired)


def _reviews(rng, world: World, quality, feature, fired) -> pd.DataFrame:
    """People read 20 flagged answers of the last two days and 30 of before; they see the latent quality, with slips."""
    judged = world.tables["judgements"]
    flagged = judged[judged["flagged"] & (judged["feature_id"] == feature)]
    late = flagged["judged_at"] >= fired - pd.Timedelta("2D")
    chosen = [
        part.sample(min(len(part), most), random_state=int(rng.integers(1e9)))
        for part, most in ((flagged[late], 20), (flagged[~late], 30))
    ]
    rows = pd.concat(chosen)
    bad = (quality[rows.index] < 2.9) ^ (rng.uniform(size=len(rows)) < 0.05)
    return pd.DataFrame(
        {
            "request_id": rows["request_id"],
            "verdict": np.where(bad, "real", "false_positive"),
            "reviewer": "people",
            "reviewed_at": np.where(
                rows["judged_at"] >= fired - pd.Timedelta("2D"), fired + pd.Timedelta("3h"), fired - pd.Timedelta("3D")
            ),
        }
    )
