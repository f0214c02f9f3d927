"""Which judge's scores are charted under which name, as it stood at each moment: chosen from the baseline, never from later days."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from llm_monitoring import engines, windows

if TYPE_CHECKING:
    import ibis.expr.types as ir

HOUR, DAY = pd.Timedelta("1h"), pd.Timedelta("1D")
SILENT, NEW = DAY, 3 * DAY  # a judge is gone after a day without a judgement; one that began then takes over from it
FOREVER = pd.Timestamp("2200-01-01", tz="UTC")
COLUMNS = ["feature_id", "judge", "scale", "since", "before", "series"]


def judging_hours(rows: ir.Table) -> pd.DataFrame:
    """Judgements per feature, judge, scale and hour of judging: `feature_id`, `judge`, `scale`, `hour`, `n`."""
    keyed, keys = windows.keyed(rows, "judged_at", "1h", ["feature_id", "__lm_judge", "scale"])
    found = engines.run(keyed.group_by(keys).aggregate(n=keyed.count())).to_pandas()
    found = windows.labelled(found, "1h", ["feature_id", "__lm_judge", "scale"])
    return found.rename(columns={"__lm_judge": "judge", "window_start": "hour"})[
        ["feature_id", "judge", "scale", "hour", "n"]
    ]


def series_of(hours: pd.DataFrame, days: int = 14) -> pd.DataFrame:
    """Whose judgements are which series, from when to when.

    The first judge of a feature (series "") is the one with most judgements in the first `days` (ties by name). Where
    it falls silent for a day, and for twice its longest pause of those days, one on the same scale that began then
    goes on with its series. Every other judge has a series of its own.

    Returns
    -------
    DataFrame
        `feature_id`, `judge`, `scale`, `since`, `before` (hours of judging), `series`.

    Examples
    --------
    >>> days = pd.date_range("2026-05-04", periods=20, tz="UTC")
    >>> first = pd.DataFrame({"feature_id": "f", "judge": "a", "scale": "1..5", "hour": days, "n": 9})
    >>> beside = first.assign(judge="b", n=3)
    >>> series_of(pd.concat([first, beside]))[["judge", "series"]].values.tolist()
    [['a', ''], ['b', 'b']]
    """
    rows = [row for feature, own in hours.groupby("feature_id", sort=True) for row in _of_feature(feature, own, days)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_feature(feature: object, own: pd.DataFrame, days: int) -> Iterator[tuple]:
    judges = {key: part.set_index("hour")["n"] for key, part in own.groupby(["judge", "scale"], sort=True)}
    begin = own["hour"].min()
    early = begin.floor("D") + days * DAY
    holder = min(judges, key=lambda key: (-judges[key][judges[key].index < early].sum(), key))
    several = pd.Series([str(judge) for judge, _ in judges]).value_counts()
    since: pd.Timestamp = begin
    taken: dict[tuple, pd.Timestamp] = {}
    while True:
        gap = _patience(judges[holder].index, early)
        after = _successor(judges, holder, since, gap, early, set(taken) | {holder})
        yield (feature, *holder, since if taken else begin, FOREVER if after is None else after[1], "")
        taken[holder] = since
        if after is None:
            break
        holder, since = after
    for key in judges:
        if key not in taken:
            name = key[0] or "unnamed"
            yield (feature, *key, begin, FOREVER, f"{name} {key[1]}" if several[str(key[0])] > 1 else name)


def _patience(hours: pd.Index, early: pd.Timestamp) -> pd.Timedelta:
    """How long a judge is silent before it counts as gone."""
    known = hours[hours < early].sort_values()
    longest = known.to_series().diff().max() if len(known) > 1 else pd.Timedelta(0)
    return max(SILENT, 2 * longest)


def _successor(judges: dict, holder: tuple, since: pd.Timestamp, gap: pd.Timedelta, early: pd.Timestamp, out: set):
    """The judge that goes on with the series of one that fell silent, and from which hour; None where none does."""
    own = np.sort(_nanoseconds(judges[holder].index[judges[holder].index >= since]))
    found = []
    for key, n in judges.items():
        if key in out or key[1] != holder[1]:
            continue
        at = n.index[n.index >= max(early, since)].sort_values()
        last = np.searchsorted(own, _nanoseconds(at)) - 1
        gone = at[(last >= 0) & (_nanoseconds(at) - own[np.maximum(last, 0)] > gap.value)]
        if len(gone) and gone[0] - n.index.min() <= gap + NEW:
            found.append((gone[0], key))
    return (min(found)[1], min(found)[0]) if found else None


def with_series(rows: ir.Table, days: int = 14, named: pd.DataFrame | None = None) -> ir.Table:
    """Judged rows with `__lm_series`; those that belong to none are left out. `named`: what `series_of` says of them, where known."""
    import ibis
    import pyarrow as pa

    named = series_of(judging_hours(rows), days) if named is None else named
    if named.empty or ((named["series"] == "").all() and not named.duplicated("feature_id").any()):
        return rows.mutate(__lm_series=ibis.literal(""))
    micro = {name: [int(at.value // 1000) for at in named[name]] for name in ("since", "before")}
    table = ibis.memtable(
        pa.table({
            "__lm_f": pa.array(named["feature_id"].tolist(), pa.string()),
            "__lm_j": pa.array(named["judge"].tolist(), pa.string()),
            "__lm_s": pa.array(named["scale"].tolist(), pa.string()),
            "__lm_since": pa.array(micro["since"], pa.int64()),
            "__lm_before": pa.array(micro["before"], pa.int64()),
            "__lm_series": pa.array(named["series"].tolist(), pa.string()),
        })
    )  # fmt: skip
    same = [
        rows["feature_id"] == table["__lm_f"], rows["__lm_judge"] == table["__lm_j"], rows["scale"] == table["__lm_s"],
    ]  # fmt: skip
    joined = rows.mutate(__lm_at=engines.microseconds(rows["judged_at"])).inner_join(table, same)
    inside = (joined["__lm_at"] >= joined["__lm_since"]) & (joined["__lm_at"] < joined["__lm_before"])
    return joined.filter(inside).drop("__lm_f", "__lm_j", "__lm_s", "__lm_since", "__lm_before", "__lm_at")


def _nanoseconds(times: pd.Index) -> np.ndarray:
    return pd.DatetimeIndex(times).as_unit("ns").asi8
