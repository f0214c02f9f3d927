"""Which model ids are one model over its versions, read off the traffic and the recorded changes."""

from __future__ import annotations

from os.path import commonprefix
from typing import Any

import pandas as pd

from llm_monitoring.incident.inference.slices import LAST, counts


def families(requests: pd.DataFrame) -> dict[str, str]:
    """The family of each model id of requests that hold both."""
    pairs = requests[["model_id", "model"]].drop_duplicates()
    return dict(zip(pairs["model_id"], pairs["model"]))


def lineage(requests: pd.DataFrame, changes: pd.DataFrame) -> dict[str, str]:
    """The family of each model id, so that a slice has a before and an after over a change of version.

    A `model_version` change that lists old ids, then new ones, is taken at its word; else a model that appears while
    the one with the most similar name vanishes (within a day) is its successor.

    >>> times = pd.to_datetime(["2026-05-01", "2026-05-02"], utc=True)
    >>> lineage(pd.DataFrame({"model_id": ["gpt-4-0314", "gpt-4-0613"], "timestamp": times}), pd.DataFrame())
    {'gpt-4-0314': 'gpt-4', 'gpt-4-0613': 'gpt-4'}
    """
    seen = _spans(requests).sort_values(["min"])
    parent = {model: model for model in seen.index}
    for old, new in [*_listed(changes, parent), *_successors(seen)]:
        if parent[new] == new and old != new:
            parent[new] = parent[old]
    families: dict[str, list[str]] = {}
    for model, root in parent.items():
        families.setdefault(root, []).append(model)
    return {model: _family_name(members) for members in families.values() for model in members}


def _spans(requests: pd.DataFrame) -> pd.DataFrame:
    """First and last time of each model id, and how many requests it had."""
    last = requests.get(LAST, requests["timestamp"])
    rows = pd.DataFrame(
        {"model_id": requests["model_id"], "min": requests["timestamp"], "max": last, "size": counts(requests)}
    )
    seen = rows.groupby("model_id", observed=True).agg({"min": "min", "max": "max", "size": "sum"})
    return seen.set_axis(seen.index.tolist())


def _listed(changes: pd.DataFrame, known: dict) -> list[tuple[str, str]]:
    if "model_id" not in changes or "kind" not in changes:
        return []
    pairs = []
    for row in changes[changes["kind"] == "model_version"].itertuples():
        given: Any = row.model_id
        listed = given.split(",") if isinstance(given, str) else list(given) if isinstance(given, list | tuple) else []
        ids = [name.strip() for name in listed if name.strip() in known]
        pairs += list(zip(ids[: len(ids) // 2], ids[len(ids) // 2 :]))
    return pairs


def _successors(seen: pd.DataFrame) -> list[tuple[str, str]]:
    from rapidfuzz import fuzz

    first, last, day = seen["min"].min(), seen["max"].max(), pd.Timedelta("1D")
    gap = ((seen["max"] - seen["min"]) / seen["size"] * 20).map(lambda g: min(max(g, pd.Timedelta("2h")), day))
    gone, came = seen[last - seen["max"] > gap], seen[seen["min"] - first > gap]
    alike = [
        (25 * away - fuzz.ratio(old, new) - 20 * (_letters(old) == _letters(new)), row["min"], new, old)
        for new, row in came.iterrows()
        for old, away in ((gone["max"] - row["min"]).abs() / day).items()
        if old != new and away <= 1
    ]
    pairs: dict[str, tuple[pd.Timestamp, str]] = {}
    for _, at, new, old in sorted(alike):  # the most similar and the nearest first, each id once as new and once as old
        if new not in pairs and old not in {taken for _, taken in pairs.values()}:
            pairs[new] = (at, old)
    return [(old, new) for new, (_, old) in sorted(pairs.items(), key=lambda pair: (pair[1][0], pair[0]))]


def _letters(name: str) -> str:
    """The name without its numbers: that of one model over its versions."""
    return "".join(c for c in name if not c.isdigit())


def _family_name(members: list[str]) -> str:
    if len(members) == 1:
        return members[0]
    prefix = commonprefix(members)
    if prefix not in members:  # cut inside a word or number: back to the last separator
        prefix = prefix[: max((prefix.rfind(mark) for mark in "-_@:/. "), default=-1) + 1]
    return prefix.rstrip("-_@:/. ") or " / ".join(sorted(members))
