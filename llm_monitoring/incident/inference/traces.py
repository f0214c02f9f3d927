"""What the traffic itself shows of a change: a prompt version, model, fingerprint or judge that was not there before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

# column that names a version -> column that says whose version it is (None: of everything)
VERSIONS = {
    "prompt_version": "feature_id", "model_id": "model", "system_fingerprint": "model_id", "judge_model": None,
    "rubric_version": None,
}  # fmt: skip
OF_JUDGE = ("judge_model", "rubric_version")
LEAST_ROWS, LEAST_SHARE = 3, 0.01


@dataclass(frozen=True, eq=False)
class Trace:
    """A version that appeared while its owner was already in use.

    Attributes
    ----------
    column, value, owner : str
        What appeared, and whose version it is (a feature, a model; None where it holds for all).
    at : Timestamp
        First seen.
    exposed : ndarray of bool
        The rows that carry it.
    since : ndarray of bool
        The rows that carry it or a version that came after it: what it did may have stayed.
    reach : ndarray of bool
        All rows of the owner, before and since.
    """

    column: str
    value: str
    owner: str | None
    at: pd.Timestamp
    exposed: np.ndarray
    since: np.ndarray
    reach: np.ndarray


def find_traces(frame: pd.DataFrame, requests: pd.DataFrame | None = None) -> list[Trace]:
    """Versions that appear after their owner, earliest first.

    Parameters
    ----------
    frame : DataFrame
        The rows of an alert's metric: `exposed` and `reach` speak of these.
    requests : DataFrame, optional
        All requests, judged or not: when a version was first seen. Default `frame`.

    Returns
    -------
    list of Trace
        A version of fewer than three rows, or of less than 1 % of its owner's rows since it came, leaves no trace:
        nothing could be told from it.

    Examples
    --------
    >>> times = pd.date_range("2026-05-01", periods=40, freq="h", tz="UTC")
    >>> versions = ["v7"] * 20 + ["v8"] * 20
    >>> frame = pd.DataFrame({"timestamp": times, "feature_id": "support", "prompt_version": versions})
    >>> [(t.value, t.owner, t.at.hour, int(t.exposed.sum())) for t in find_traces(frame)]
    [('v8', 'support', 20, 20)]
    """
    requests, found = frame if requests is None else requests, []
    for column, of in VERSIONS.items():
        if column not in frame or (of is not None and of not in frame):
            continue
        came = _appeared(requests if column in requests else frame, column, of)
        named = frame[column].astype(str)
        found += [
            _trace(frame, named, column, str(value), owner, at, reach, first)
            for owner, reach in _owners(frame, of)
            for value, at, first in came.get(owner, [])
        ]
    return sorted((t for t in found if t.exposed.any()), key=lambda t: (t.at, t.column, t.value, str(t.owner)))


def _trace(
    frame: pd.DataFrame, named: pd.Series, column: str, value: str, owner, at, reach: np.ndarray, first: pd.Series
) -> Trace:  # fmt: skip
    exposed = reach & (named == value).to_numpy(bool, na_value=False)
    later = reach & frame[column].isin(first.index[first >= at]).to_numpy(bool)
    return Trace(column, value, owner, at, exposed, exposed | later, reach)


def _owners(frame: pd.DataFrame, of: str | None):
    if of is None:
        return [(None, np.ones(len(frame), bool))]
    return [(owner, (frame[of] == owner).to_numpy(bool)) for owner in sorted(frame[of].dropna().unique(), key=str)]


def _appeared(rows: pd.DataFrame, column: str, of: str | None) -> dict[Any, list[tuple[Any, pd.Timestamp, pd.Series]]]:
    """By owner: each version that came later than others of its, when, and the first time of each of the owner's."""
    code, versions = pd.factorize(rows[column], sort=True)
    versions = pd.Index(versions.tolist())
    found: dict[Any, list] = {}
    if len(versions) < 2:
        return found
    whose, owners = (np.zeros(len(rows), int), [None]) if of is None else pd.factorize(rows[of])
    there, at = (code >= 0) & (whose >= 0), rows["timestamp"]
    if not there.all():
        code, whose, at = code[there], whose[there], at[there]
    seen = at.groupby(whose * len(versions) + code).agg(["min", "size"])
    k: Any
    for k, own in seen.groupby(seen.index // len(versions)):
        first = pd.Series(
            own["min"].to_numpy(), index=versions.take(own.index.to_numpy() % len(versions)), dtype=at.dtype
        )
        for value, came, carry in zip(first.index, own["min"], own["size"]):
            early = 0 if came == own["min"].min() else int((at[whose == k] < came).sum())
            if early >= LEAST_ROWS and carry >= max(LEAST_ROWS, LEAST_SHARE * (own["size"].sum() - early)):
                found.setdefault(owners[k], []).append((value, came, first))
    return found
