"""The requests of a log as counted cells: how many a day of each version and slice. The engine counts them; no request is loaded.

A cell says how many requests it stands for (`n`), and the times of its first (`timestamp`) and last (`slices.LAST`). A day is
parted at a moment where somebody asks what came before and since it: then each cell lies on one side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from llm_monitoring import engines, frames, windows
from llm_monitoring.cuts import Cut
from llm_monitoring.incident.inference.lineage import lineage
from llm_monitoring.incident.inference.slices import LAST, PREFIX, TAKEN, Band, Slice, inside
from llm_monitoring.keeping import once
from llm_monitoring.log import as_table
from llm_monitoring.schema import REQUESTS, RESERVED

if TYPE_CHECKING:
    import ibis.expr.types as ir

    from llm_monitoring.log import Log

NOT_SLICED = {
    "request_id", "timestamp", "session_id", "user_input", "system_output", "error", "latency_ms", "input_tokens",
    "output_tokens", "cost_usd", "finish_reason", "raw_finish_reason", "prompt_version", "system_fingerprint", "model_id",
}  # fmt: skip
MOST_VALUES, MOST_OF_FIRST = 30, 200  # of a slice column, and of those that come first
PLAIN = ("feature_id", "category")  # columns that are the log's own, whatever the stages make of the others
OF_MODEL = ("model_id", "prompt_version", "system_fingerprint")
PART = f"{RESERVED}part"  # the first microsecond of the day, or part of one, that a cell is of
OF_CELLS = ("n", LAST, PART)
MOST_IDS = 100_000  # rows that are asked for one by one; of more the whole column comes
SECOND = pd.Timedelta("1s")  # of some engines all that a moment tells
ENDS, LAST_ROWS = 50, 30  # a fiftieth of the requests is the beginning of a log; so many are its end


@dataclass(frozen=True, eq=False)
class Requests:
    """The requests of a log where they are, and the cells that they are counted in.

    Attributes
    ----------
    rows : Ibis table
        Every column under the name that the stages keep it by (`slices.inside`).
    keys : tuple of str
        The columns that tell cells apart.
    named : tuple of str
        Those of them that recorded changes name as their scope.
    cells : DataFrame
        One row for each day and each combination of the keys and of `model`, the lineage.
    family : dict of str to str
        The lineage of each model id.
    told : tuple or None
        A column that was read off the texts, one value, and the ids that have it.
    """

    rows: ir.Table
    keys: tuple[str, ...]
    named: tuple[str, ...]
    cells: pd.DataFrame
    family: Mapping[str, str]
    told: tuple[str, object, pd.Series] | None = None
    found: dict[tuple, pd.DataFrame] = field(init=False, default_factory=dict, repr=False)

    def parted(self, cells: pd.DataFrame, times: Iterable[pd.Timestamp]) -> pd.DataFrame:
        """Cells that lie wholly before or since each of some times; those that do not are counted once more."""
        for at in times:
            moment = engines.first_microsecond(at)
            across = (cells["timestamp"] < at) & (cells[LAST] >= at)
            if not across.any():
                continue
            part = int(cells.loc[across, PART].iloc[0])
            whole = cells[PART] == part
            ends = cells.loc[whole, "timestamp"].min(), cells.loc[whole, LAST].max()
            both = self._sides(part, moment, *ends)
            cells = pd.concat([cells[~whole], both], ignore_index=True)
        return cells

    def _sides(self, part: int, moment: int, first: pd.Timestamp, last: pd.Timestamp) -> pd.DataFrame:
        """The cells of a part of the log from a first to a last time, parted at a moment."""
        key = (part, moment, first, last)
        if key not in self.found:
            near = Cut(first, last + SECOND, closed=True)  # of files, the parts that hold nothing of it are not read
            rows = self.rows.filter(near.keeps(self.rows["timestamp"]))
            rows = rows.filter(engines.microseconds(rows["timestamp"]) <= engines.first_microsecond(last))
            since = engines.microseconds(rows["timestamp"]) >= moment
            self.found[key] = self._modelled(_counted(rows, self.keys, since.ifelse(moment, part)))
        return self.found[key]

    def _modelled(self, cells: pd.DataFrame) -> pd.DataFrame:
        """The cells with their lineage, in the order of time."""
        cells = cells.sort_values([PART, "timestamp", LAST, "n"], ignore_index=True)
        return cells.assign(model=cells["model_id"].map(self.family))

    def within(self, group: Slice) -> ir.Table:
        """The requests of a slice, where they are."""
        rows = self.rows
        for column, value in group.where:
            rows = rows.filter(self._is(rows, column, value))
        return rows

    def _is(self, rows: ir.Table, column: str, value: object) -> Any:
        import ibis

        if isinstance(value, Band):
            number = rows[column].cast("float64")
            ends = [number >= value.low] if value.low is not None else []
            ends += [number < value.high] if value.high is not None else []
            return reduce(lambda a, b: a & b, ends, engines.known(number).notnull())
        wanted = value if isinstance(value, tuple) else (value,)
        if column == "model":
            column, wanted = "model_id", tuple(name for name, of in self.family.items() if of in wanted)
        same = [rows[column] == _plain_value(one) for one in wanted]
        return reduce(or_, same, ibis.literal(False))

    def beside(self, column: str, value: object, ids: pd.Series | None = None) -> Requests:
        """The same requests counted by one column more: whether it has a value. `ids` name those that have it where the log lacks it."""
        import ibis

        told: Any = value
        if isinstance(value, Band):
            told = float(value.low if value.low is not None else np.nextafter(value.high or 0.0, -np.inf))
        word = ibis.literal(_plain_value(told))
        if ids is None:
            has = self._is(self.rows, column, value)
            rows = self.rows.mutate(**{column: ibis.ifelse(has, word, ibis.null(word.type()))})
        else:
            holders = _listed(ids).rename(**{f"{RESERVED}of": "request_id"})
            joined = self.rows.left_join(holders, self.rows["request_id"] == holders[f"{RESERVED}of"])
            has = joined[f"{RESERVED}of"].notnull()
            rows = joined.mutate(**{column: ibis.ifelse(has, word, ibis.null(word.type()))}).drop(f"{RESERVED}of")
        keys = tuple(dict.fromkeys([*self.keys, column]))
        cells = self._modelled(_by_window(rows, keys))
        return Requests(rows, keys, self.named, cells, self.family, self.told if ids is None else (column, told, ids))

    def columns(self, ids: pd.Series, names: Iterable[str]) -> pd.DataFrame:
        """Columns of some requests, in the order of their ids."""
        rows = self.rows.select("request_id", *(name for name in dict.fromkeys(names) if name in self.rows.columns))
        if len(ids) <= MOST_IDS:
            rows = rows.semi_join(_listed(ids), "request_id")
        found = engines.run(rows).to_pandas()
        place = pd.Index(found.pop("request_id")).get_indexer(ids)
        kinds = {column.name: column.kind for column in REQUESTS.columns}
        for name in found.columns:
            if kinds.get(name) == "number":
                found[name] = found[name].astype("float64")
            elif isinstance(found[name].dtype, pd.DatetimeTZDtype):
                found[name] = found[name].dt.tz_convert("UTC").astype("datetime64[us, UTC]")
        return found.take(place).set_axis(ids.index)

    def among(self, ids: pd.Series, group: Slice, since: pd.Timestamp) -> pd.DataFrame:
        """Those of some requests that are of a slice since a time: `request_id`, `timestamp`, `feature_id`, `category`."""
        rows = self.within(group).semi_join(_listed(ids), "request_id")
        rows = rows.filter(engines.microseconds(rows["timestamp"]) >= engines.first_microsecond(since))
        return frames.load(rows.select("request_id", "timestamp", *PLAIN), REQUESTS)

    def paid(self, group: Slice, since: pd.Timestamp | None, before: pd.Timestamp | None = None) -> float:
        """What a request of a slice costs on average from a time on, and before another; NaN where no cost is logged."""
        rows = self.within(group)
        at = engines.microseconds(rows["timestamp"])
        rows = rows if since is None else rows.filter(at >= engines.first_microsecond(since))
        rows = rows if before is None else rows.filter(at < engines.first_microsecond(before))
        cost = rows["cost_usd"]
        found = engines.run(rows.aggregate(usd=engines.exact_total(cost), n=cost.count())).to_pylist()[0]
        return float(found["usd"]) / found["n"] if found["n"] else np.nan

    def every(self, width: str, group: Slice) -> pd.DataFrame:
        """The requests of a slice in cells of windows narrower than a day."""
        return self._modelled(_by_window(self.within(group), self.keys, width))

    def by_window(self, group: Slice, width: str, column: str | None = None) -> pd.DataFrame:
        """`window_start`, `n` and `usd` of a slice, window by window, and of each value of a column apart."""
        by = [] if column is None else [column]
        rows, keys = windows.keyed(self.within(group), "timestamp", width, by)
        usd = engines.exact_total(rows["cost_usd"])
        found = engines.run(rows.group_by(keys).aggregate(n=rows.count(), usd=usd)).to_pandas()
        return windows.labelled(found, width, by).astype({"usd": float})

    def ends(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The cells of the first fiftieth of the requests, 30 at least, and of the last 30."""
        n = self.cells.groupby(PART)["n"].sum()
        first, reached = max(LAST_ROWS, int(n.sum()) // ENDS), n.cumsum()
        whole = reached.index[reached <= first]
        early = self.cells[self.cells[PART].isin(whole)]
        rest = int(first - n[whole].sum())
        if rest and len(whole) < len(n):
            early = pd.concat([early, self._some(n.index[len(whole) :][:2], rest, latest=False)])
        back = n[::-1].cumsum()
        start = back.index[min(int((back < LAST_ROWS).sum()), len(back) - 1)]
        return early, self._some([start], LAST_ROWS, latest=True)

    def _some(self, parts: Iterable[int], most: int, latest: bool) -> pd.DataFrame:
        """Cells of the first, or latest, rows from the start of a part of the log on, up to the next one if that is given too."""
        import ibis

        start, *end = (pd.Timestamp(int(part), unit="us", tz="UTC") for part in parts)
        rows = self.rows.filter(self.rows["timestamp"] >= start)
        rows = rows.filter(rows["timestamp"] < end[0]) if end else rows
        order = [rows["timestamp"], rows["request_id"]]
        order = [column.desc() for column in order] if latest else order
        rows = rows.order_by(order).limit(most)
        return self._modelled(_counted(rows, self.keys, ibis.literal(int(start.timestamp()) * 1_000_000)))


def _listed(ids: pd.Series) -> ir.Table:
    return frames.small_table(pd.DataFrame({"request_id": ids.unique()}, dtype="str"))


def _by_window(rows: ir.Table, keys: tuple[str, ...], width: str = "1d") -> pd.DataFrame:
    keyed, (place,) = windows.keyed(rows, "timestamp", width, [])
    size = int(windows.width(width).total_seconds()) * 1_000_000
    start = int(windows.ANCHOR.timestamp()) * 1_000_000
    return _counted(keyed, keys, keyed[place] * size + start)


def _counted(rows: ir.Table, keys: tuple[str, ...], part: ir.Value) -> pd.DataFrame:
    """How many rows each part and combination of keys has, with the times of its first and last."""
    rows = rows.mutate(**{PART: part.cast("int64")})
    at = engines.microseconds(rows["timestamp"])
    grouped = rows.group_by([PART, *keys]).aggregate(n=rows.count(), timestamp=at.min(), **{LAST: at.max()})
    found = engines.run(grouped).to_pandas()
    for name in ("timestamp", LAST):
        moments = pd.to_datetime(found[name].astype("int64"), unit="us", utc=True)
        found[name] = moments.astype("datetime64[us, UTC]")
    return found


@once
def requests_of(log: Log) -> Requests:
    """The requests of a log, counted by the columns of few values and by the versions."""
    log.sound("requests")
    rows = log.table("requests")
    few = _few(rows)
    rows = rows.rename({inside(name): name for name in rows.columns if inside(name) != name})
    rows, named = _named(rows, log.changes, few)
    keys = tuple(
        name for name in dict.fromkeys(["feature_id", *map(inside, few), *named, *OF_MODEL]) if name in rows.columns
    )
    cells = _by_window(rows, keys)
    whole = Requests(rows, keys, (), cells, lineage(cells, log.changes))
    cells = whole._modelled(cells)
    kept = tuple(name for name in named if cells[name].notna().any())
    return Requests(rows, keys, kept, cells, whole.family)


def _few(rows: ir.Table) -> list[str]:
    """The columns of so few values that answers may be sliced by them, those without any left out."""
    import ibis

    kinds = rows.schema()
    sliced = [
        name
        for name in rows.columns
        if name not in NOT_SLICED and not _is_object(kinds[name]) and not kinds[name].is_floating()
    ]
    if not sliced:
        return []
    counted = []
    for name in sliced:
        values = rows.select(value=rows[name]).filter(lambda t: t["value"].notnull()).distinct()
        few = values.limit(_most(name) + 1)
        counted.append(few.aggregate(n=few.count()).mutate(column=ibis.literal(name)))
    found = engines.run(ibis.union(*counted) if len(counted) > 1 else counted[0]).to_pylist()
    n = {row["column"]: row["n"] for row in found}
    return [name for name in sliced if 0 < n[name] <= _most(name)]


def _most(name: str) -> int:
    return MOST_OF_FIRST if name in PLAIN else MOST_VALUES


def _is_object(kind: Any) -> bool:
    return kind.is_nested() or kind.is_json() or kind.is_binary()


def _named(rows: ir.Table, changes: pd.DataFrame, few: list[str]) -> tuple[ir.Table, list[str]]:
    """The columns that recorded changes name as their scope; of a long one a column of the values that they name.

    Whom a change reaches is the first question to ask of it: a tenant of five hundred for whom something was set apart is a slice.
    """
    import ibis

    named = []
    for name in changes.columns:
        if name in NOT_SLICED or name in TAKEN or name not in rows.columns or not changes[name].notna().any():
            continue
        kind = rows[name].type()
        if name in few or _is_object(kind):
            named.append(name)
            continue
        values = list(dict.fromkeys(v for given in changes[name].dropna()[::-1] for v in values_of(given)))
        values = [one for one in map(_plain_value, values[: MOST_VALUES - 1]) if _fits(one, kind)]
        if values:
            own = ibis.ifelse(rows[name].isin(values), rows[name], ibis.null(kind))
            rows = rows.mutate(**{PREFIX + name: own})
            named.append(PREFIX + name)
    return rows, [name for name in named if name in few or name.startswith(PREFIX)]


def _plain_value(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value may be one of a column of this kind."""
    if isinstance(value, str):
        return kind.is_string()
    return isinstance(value, int | float) and kind.is_numeric()


def values_of(given: Any) -> list:
    """The values that a scope column of a change names: one, a list, or a text of several joined by commas."""
    return [v.strip() for v in given.split(",")] if isinstance(given, str) else list(np.atleast_1d(given))


def unhappy_sessions(log: Log, rows: ir.Table, kinds: Iterable[str], at: pd.Timestamp) -> list[tuple[int, int]] | None:
    """Sessions of some requests with a signal of some kinds, and all sessions: before a time and since, counted where they are.

    A request without a session is one of its own. None where the log holds no such signal.
    """
    log.sound("signals")
    signals = as_table(log, "signals").rows
    hits = signals.filter(signals["signal_type"].isin(list(kinds))).select(__lm_of="request_id").distinct()
    if not engines.count(hits.limit(1)):
        return None
    joined = rows.left_join(hits, rows["request_id"] == hits["__lm_of"])
    by = joined.group_by(
        late=engines.microseconds(joined["timestamp"]) >= engines.first_microsecond(at),
        session=joined["session_id"].cast("string").fill_null(joined["request_id"]),
    ).aggregate(hit=joined["__lm_of"].notnull().ifelse(1, 0).max())
    found = engines.run(by.group_by("late").aggregate(hits=by["hit"].sum(), n=by.count())).to_pylist()
    told = {row["late"]: (int(row["hits"]), int(row["n"])) for row in found}
    return [told.get(late, (0, 0)) for late in (False, True)]
