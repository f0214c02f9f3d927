"""What the traffic itself shows of a change: a prompt version, model, fingerprint or judge that was not there before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from llm_monitoring.incident.inference.slices import LAST, counts

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


def find_traces(frame: pd.DataFrame, asked: Callable[..., pd.DataFrame] | None = None) -> list[Trace]:
    """Versions that appear after their owner, earliest first.

    Parameters
    ----------
    frame : DataFrame
        The rows of an alert's metric: `exposed` and `reach` speak of these.
    asked : callable, optional
        Gives all requests, judged or not, parted at some times (`Observations.asked`): when a version was first seen.
        Default `frame`.

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
    found: list[Trace] = []
    for column, of in VERSIONS.items():
        if column not in frame or (of is not None and of not in frame):
            continue
        came = _appeared(asked if asked is not None and column in asked() else lambda *_: frame, column, of)
        if not came:
            continue
        code, values = pd.factorize(frame[column])
        found += [
            _trace(code, values, column, str(value), owner, at, reach, first)
            for owner, reach in _owners(frame, of)
            for value, at, first in came.get(owner, [])
        ]
    return sorted((t for t in found if t.exposed.any()), key=lambda t: (t.at, t.column, t.value, str(t.owner)))


def _trace(
    code: np.ndarray, values: pd.Index, column: str, value: str, owner, at, reach: np.ndarray, first: pd.Series
) -> Trace:  # fmt: skip
    named = np.append(values.astype(str) == value, False)  # the last for rows without a version, whose code is -1
    later = np.append(values.isin(first.index[first >= at]), False)
    exposed = reach & named[code]
    return Trace(column, value, owner, at, exposed, exposed | reach & later[code], reach)


def _owners(frame: pd.DataFrame, of: str | None):
    if of is None:
        return [(None, np.ones(len(frame), bool))]
    code, values = pd.factorize(frame[of])
    return [(values[k], code == k) for k in sorted(range(len(values)), key=lambda k: str(values[k]))]


def _appeared(
    asked: Callable[..., pd.DataFrame], column: str, of: str | None
) -> dict[Any, list[tuple[Any, pd.Timestamp, pd.Series]]]:
    """By owner: each version that came later than others of its, when, and the first time of each of the owner's."""
    rows = asked()
    found: dict[Any, list] = {}
    if rows[column].nunique() < 2:
        return found
    table = pd.DataFrame({"version": rows[column], "at": rows["timestamp"], "n": counts(rows)})
    table["owner"] = 0 if of is None else rows[of]
    seen = table.groupby(["owner", "version"], observed=True).agg(first=("at", "min"), n=("n", "sum"))
    for owner, own in seen.groupby(level=0):
        first, total = own["first"].droplevel(0), int(own["n"].sum())
        for value, came, carry in zip(first.index, first, own["n"]):
            if came == first.min() or carry < LEAST_ROWS:
                continue
            enough = [_enough(early, carry, total) for early in _before(rows, came, of, owner)]
            if enough[0] is not enough[1]:  # it depends on the hour of its first day
                enough = [_enough(early, carry, total) for early in _before(asked(came), came, of, owner)]
            if enough[0]:
                found.setdefault(None if of is None else owner, []).append((value, came, first))
    return found


def _enough(early: int, carry: int, total: int) -> bool:
    """Whether a version came after others, and is a part of the traffic since."""
    return early >= LEAST_ROWS and carry >= LEAST_SHARE * (total - early)


def _before(rows: pd.DataFrame, at: pd.Timestamp, of: str | None, owner: Any) -> tuple[int, int]:
    """The least and the most requests that rows, or cells, of an owner have before a time."""
    own = rows if of is None else rows[rows[of] == owner]
    n = counts(own)
    surely, perhaps = own.get(LAST, own["timestamp"]) < at, own["timestamp"] < at
    return int(n[surely.to_numpy()].sum()), int(n[perhaps.to_numpy()].sum())
