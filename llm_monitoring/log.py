"""A log opened: its tables validated, loaded when touched, cut at a moment; and how every table function reads a table."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from llm_monitoring import engines, frames, notices, times, validation
from llm_monitoring.columns import Options
from llm_monitoring.cuts import Cut
from llm_monitoring.errors import ConfigError, Fault, LogError, one_of
from llm_monitoring.keeping import once
from llm_monitoring.measures import check_columns, declared
from llm_monitoring.scales import texts as scale_texts
from llm_monitoring.schema import FLAG, TABLES
from llm_monitoring.sources import given, read_tables
from llm_monitoring.validation import CleanTable

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path

    import ibis.expr.types as ir
    import numpy as np
    import pandas as pd
    from ibis.backends import BaseBackend

    from llm_monitoring.overview import Overview

#: What `open_log` takes, and with it every function that opens a log itself.
LogLike: TypeAlias = (
    "Log | str | Path | pd.DataFrame | ir.Table | BaseBackend | Mapping[str, pd.DataFrame] | Mapping[str, ir.Table]"
)
#: A moment: as text with its zone, or as a datetime of Python, NumPy or pandas.
Moment: TypeAlias = "str | date | np.datetime64"
#: One table: of a log, or as it is.
TableLike: TypeAlias = "Log | pd.DataFrame | ir.Table"


def open_log(
    source: LogLike,
    tz: str | None = None,
    timestamp_unit: str | None = None,
    on_error: str = "raise",
    measures: Sequence[Any] | None = None,
    scales: Mapping[str, Any] | None = None,
    partition_time: str | None = None,
) -> Log:
    """Open a log. Columns and types are checked at once, rows on the first touch of a table.

    Parameters
    ----------
    source : path, URL, Ibis connection, dict of DataFrames or Ibis tables, or one DataFrame of requests
        A folder with one file or one folder of files per table (Parquet, JSON Lines or CSV; ``.gz`` and ``.zst`` too),
        a single such file, a DuckDB file, or a database that Ibis speaks. A log that is open already is given back.
        ``"sample_data"`` is the log that comes with the package, unless something here has that name.
    tz : str, optional
        Zone of times that name none, such as ``"Europe/Berlin"``; without it such times are refused.
    timestamp_unit : {"s", "ms", "us", "ns"}, optional
        Unit of times that are bare numbers (since 1970); without it such times are refused.
    on_error : {"raise", "quarantine"}
        Whether a broken row stops the reading, or is set aside, counted and written out with the reason.
    measures : list of Measure, optional
        Custom measures over columns of `requests`.
    scales : dict, optional
        Scales of judges by `judge_model`, ``"*"`` for all others: ``(0, 10)``, ``"0..10"`` or ``"pass_fail"``. The
        column `scale` of the judgements wins; without either, scores run from 1 to 5.
    partition_time : str, optional
        Key of folders such as ``date=2026-05-11`` that says of which day their rows are: `Log.until` and `Log.between`
        leave out the folders that are more than a day away. Parquet files say so themselves.

    Returns
    -------
    Log
        As its source was when it was opened: files that are added later and lines that are appended are not read.

    Raises
    ------
    LogError
        With every fault: file, row, column, value, what was expected.
    ConfigError
        For an option that says something that cannot be done, or another one than an open log was opened with.

    Examples
    --------
    >>> import pandas as pd
    >>> requests = pd.DataFrame({"request_id": ["r1", "r2"], "feature_id": "search", "model_id": "m-1",
    ...     "timestamp": pd.to_datetime(["2026-05-11T09:00Z", "2026-05-11T09:30Z"]), "latency_ms": [800.0, None]})
    >>> log = open_log({"requests": requests})
    >>> log.requests["latency_ms"].tolist()
    [800.0, nan]
    """
    one_of("on_error", on_error, ("raise", "quarantine"))
    if timestamp_unit is not None:
        one_of("timestamp_unit", timestamp_unit, tuple(times.UNITS))
    options = Options(None if tz is None else times.zone(tz), timestamp_unit, scale_texts(scales))
    own = declared(measures)
    if isinstance(source, Log):
        return source._reopened(options, on_error, own, partition_time)
    label, tables, folder = read_tables(source, on_error == "quarantine", partition_time)
    found: dict[str, CleanTable] = {}
    wrong: list[Fault] = []
    for name, raw in tables.items():
        try:
            found[name] = validation.clean(raw, options)
        except LogError as error:
            wrong.extend(error.faults)
    if wrong:
        raise LogError(wrong)
    log = Log(label, folder, found, options, on_error, own, partition_time)
    check_columns(own, log.table("requests").columns if own else ())
    return log


class Log:
    """The tables of a log, validated. Made by `open_log`, cut by `until` and `between`. Threads may share it.

    Attributes
    ----------
    requests, signals, judgements, changes, probe_results, reviews : DataFrame
        Loaded when touched; times in UTC, unknown numbers NaN, JSON objects as dicts; an absent table is empty.
        Each is a copy: editing it leaves the log as it is.
    source : str
        What it was opened from, as people call it.
    scales : dict of str to str
        The scales of judges that it was opened with.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"request_id": "r1", "timestamp": "2026-05-11T09:00:00Z", "feature_id": "search", "model_id": "model-a"}
    >>> log = open_log({"requests": pd.DataFrame([row])})
    >>> len(log.requests), len(log.until("2026-05-10T00:00Z").requests), log.has("judgements")
    (1, 0, False)
    """

    def __init__(
        self,
        source: str,
        folder: Path | None,
        tables: Mapping[str, CleanTable],
        options: Options,
        on_error: str,
        measures: tuple = (),
        partition_time: str | None = None,
    ):
        self.source, self._folder, self._partition_time = source, folder, partition_time
        self._tables, self._options, self._on_error, self._measures = dict(tables), options, on_error, measures
        self._narrowed: dict[_Read, CleanTable] = {}
        self._found: dict[_Read, dict[str, Any]] = {}
        self._repeats: dict[_Read, int] = {}
        self._last: dict[_Read, pd.Timestamp | None] = {}
        self._views: dict[tuple, ir.Table] = {}  # clean rows by table, files and the columns whose rules are checked
        self._aside: dict[str, pd.DataFrame] = {}
        self._written: dict[str, Path | None] = {}
        self._frames: dict[str, pd.DataFrame] = {}
        self._cuts: tuple[Cut, ...] = ()
        self._uncut: Log | None = None  # of a cut: the log as it was opened
        self._overlaid = False
        self._names: dict[str, str] = {}  # other names of features
        self._seen: Overview | None = None
        self._loaded = {name: engines.Counted(table.raw.rows) for name, table in self._tables.items()}
        self.kept: dict[tuple, Any] = {}  # what was found once of it; see `keeping.once`
        self.checked: dict[str, Any] = {}  # alerts found and the charts behind them, by plan

    def __repr__(self) -> str:
        return self._overview().text()

    def _repr_html_(self) -> str:
        return self._overview().html()

    def _overview(self) -> Overview:
        from llm_monitoring.overview import overview

        with engines.LOCK:
            if self._seen is None:
                self._seen = overview(self)
        return self._seen

    @property
    def scales(self) -> dict[str, str]:
        return dict(self._options.scales)

    @property
    def requests(self) -> pd.DataFrame:
        return self._frame("requests")

    @property
    def signals(self) -> pd.DataFrame:
        return self._frame("signals")

    @property
    def judgements(self) -> pd.DataFrame:
        return self._frame("judgements")

    @property
    def changes(self) -> pd.DataFrame:
        return self._frame("changes")

    @property
    def probe_results(self) -> pd.DataFrame:
        return self._frame("probe_results")

    @property
    def reviews(self) -> pd.DataFrame:
        return self._frame("reviews")

    def with_texts(self, rows: pd.DataFrame, columns: Iterable[str] = ("user_input",)) -> pd.DataFrame:
        """Rows with a `request_id` in their order, with text columns of their requests; the others' texts are not loaded."""
        import pandas as pd

        requests = as_table(self, "requests").rows
        wanted = [name for name in columns if name in requests.columns]
        ids = frames.small_table(pd.DataFrame({"request_id": rows["request_id"].unique()}, dtype="str"))
        found = engines.run(requests.select("request_id", *wanted).semi_join(ids, "request_id")).to_pandas()
        place = pd.Index(found["request_id"]).get_indexer(rows["request_id"])
        return rows.assign(**{name: found[name].take(place).array for name in wanted})

    @property
    def measures(self) -> tuple:
        """Custom measures, as `open_log` was given them."""
        return self._measures

    @property
    def loaded(self) -> pd.DataFrame:
        """What came out of the engine so far, in answer to questions to this log and its cuts.

        One row for each table that is there (the index), with `rows` and `bytes` (of Arrow). Rows of a join count for
        every table in it, a row of sums as one row.
        """
        import pandas as pd

        counts = {name: (each.loaded.rows, each.loaded.bytes) for name, each in self._loaded.items()}
        return pd.DataFrame.from_dict(counts, orient="index", columns=["rows", "bytes"]).rename_axis("table")

    @property
    def known_until(self) -> pd.Timestamp | None:
        """The moment that the log was cut at; None for a log as it was opened."""
        return min((cut.end for cut in self._cuts), default=None)

    @property
    def whole(self) -> Log:
        """The log as it was opened, whatever this one was cut to."""
        if self._cuts and self._uncut is None:
            self._uncut = self._but(_cuts=())
        return self._uncut or self

    def _but(self, **changed: Any) -> Log:
        """The same log with some attributes changed; what was found of its rows as they were is forgotten."""
        log = copy.copy(self)
        log._frames, log._seen, log.kept, log.checked = {}, None, {}, {}
        log._uncut = None
        vars(log).update(changed)
        return log

    @property
    def opening(self) -> dict[str, Any]:
        """What opens the same log again: ``source`` and the options given; empty for a cut, a database and tables in memory."""
        if self._cuts or self._overlaid or self._folder is None:
            return {}
        options = {"tz": self._options.tz, "timestamp_unit": self._options.timestamp_unit, "scales": self.scales}
        options["partition_time"] = self._partition_time
        named = {name: value for name, value in options.items() if value}
        return {"source": self.source, **named, **({} if self._on_error == "raise" else {"on_error": self._on_error})}

    def has(self, name: str) -> bool:
        """Whether the source holds this table (an empty one counts)."""
        return _known(name) in self._tables

    def table(self, name: str) -> ir.Table:
        """A table as an Ibis expression, nothing loaded; rows set aside are left out of it."""
        return self._rows(name, ()).drop(FLAG)

    def sound(self, name: str) -> None:
        """Refuse a table with a broken row, or set such rows aside, as it is when it is touched; nothing is loaded."""
        table = self._read(name)
        faults, count = table.faults(self._counts(table))
        if count and self._on_error == "raise":
            raise LogError(faults, count)
        self._set_aside(name)

    def count(self, name: str) -> int:
        """How many rows a table has, nothing loaded."""
        return engines.count(self._rows(name, ()))

    @once
    def span(self, name: str) -> tuple[pd.Timestamp, pd.Timestamp] | tuple[None, None]:
        """First and last time of a table, nothing loaded; None twice where it has no row."""
        import pandas as pd

        rows = self._rows(name, ())
        at = engines.microseconds(rows[TABLES[name].time])
        found = engines.run(rows.aggregate(first=at.min(), last=at.max())).to_pylist()[0]
        if found["first"] is None:
            return None, None
        first, last = (pd.Timestamp(int(found[end]), unit="us", tz="UTC") for end in ("first", "last"))
        return first, last

    def until(self, when: Moment) -> Log:
        """The log as it was known at a moment: no row of any table from after it.

        Parameters
        ----------
        when : str, datetime or Timestamp
            With a zone, unless the log was opened with `tz`. Judgements count by `judged_at`, probes by `run_at`,
            reviews by `reviewed_at`.

        Raises
        ------
        ConfigError
            Where it is no time, or names no zone.
        """
        return self._cut(Cut(None, times.moment(when, "until", self._options.tz), closed=True))

    def between(self, start: Moment, end: Moment) -> Log:
        """The rows of every table from `start` on and before `end`."""
        first, last = (times.moment(each, name, self._options.tz) for name, each in (("start", start), ("end", end)))
        return self._cut(Cut(first, last, closed=False))

    def with_features(self, names: Mapping[str, Sequence[str]]) -> Log:
        """The same log with several names of a feature as one: `{"assistant": ["chat", "assistant"]}`."""
        named = {old: new for new, several in names.items() for old in several if old != new}
        return self if named == self._names else self._but(_names=named, _overlaid=True)

    def with_reviews(self, reviews: pd.DataFrame) -> Log:
        """The same log with these verdicts in place of its own, as every incident stage then reads them."""
        read = validation.clean(given("reviews", reviews), Options(), strict=False)
        log = self._but(
            _tables={**self._tables, "reviews": read},
            _overlaid=True,
            _loaded={**self._loaded, "reviews": engines.Counted(read.raw.rows)},
            checked=self.checked,  # no alert rests on reviews
        )
        for cache in ("_aside", "_written", "_frames"):
            setattr(log, cache, {name: value for name, value in getattr(self, cache).items() if name != "reviews"})
        for cache in ("_narrowed", "_found", "_repeats", "_last", "_views"):
            setattr(log, cache, {key: value for key, value in getattr(self, cache).items() if key[0] != "reviews"})
        return log

    @property
    def notices(self) -> list[str]:
        """What was mended, mapped or looks odd without being wrong, a sentence each. Counts rows on first use."""
        told = [notice for table in self._tables.values() for notice in table.raw.notices]
        for name in self._tables:
            self._set_aside(name)
            aside, table = len(self._aside.get(name, ())), self.whole._read(name)
            told += notices.of_table(table, self._counts(table), aside, self._written.get(name))
        return told + notices.orphans(self.whole)

    def validate(self) -> pd.DataFrame:
        """Check every row of every table.

        Returns
        -------
        DataFrame
            One row per table: ``table``, ``rows``, ``faults`` (0, or those set aside), ``source``.

        Raises
        ------
        LogError
            With all faults of all tables, unless ``on_error="quarantine"``.
        """
        import pandas as pd

        listed: list[Fault] = []
        total, rows = 0, []
        for name, table in self._tables.items():
            faults, count = self._faults(name)
            listed, total = listed + faults, total + count
            lost = len(table.raw.broken)
            rows.append((name, self._counts(self.whole._read(name))["rows"] + lost, count + lost, table.raw.label))
        if total and self._on_error == "raise":
            raise LogError(listed, total)
        for name in self._tables:
            self._set_aside(name)
        return pd.DataFrame(rows, columns=["table", "rows", "faults", "source"])

    @property
    def set_aside(self) -> dict[str, pd.DataFrame]:
        """With ``on_error="quarantine"``: the rows left out, by table, as they were, with ``reason``."""
        self.validate()
        return dict(self._aside)

    def _reopened(self, options: Options, on_error: str, measures: tuple, partition_time: str | None) -> Log:
        """This log, for `open_log`: with other measures where they are given, never with other options in silence."""
        asked = {"tz": options.tz, "timestamp_unit": options.timestamp_unit, "scales": dict(options.scales)}
        own = {"tz": self._options.tz, "timestamp_unit": self._options.timestamp_unit, "scales": self.scales}
        asked["partition_time"], own["partition_time"] = partition_time, self._partition_time
        asked["on_error"], own["on_error"] = on_error if on_error != "raise" else None, self._on_error
        if options.scales.items() <= self._options.scales.items():
            asked["scales"] = None
        other = [name for name, value in asked.items() if value and value != own[name]]
        if other:
            options_given = ", ".join(f"{name}={asked[name]!r}" for name in other)
            raise ConfigError(f"{options_given}: the log was opened without it; give the option to open_log")
        if not measures or measures == self._measures:
            return self
        return self._but(_measures=measures, _overlaid=True, _frames=self._frames, _seen=self._seen)

    def _cut(self, cut: Cut) -> Log:
        return self._but(_cuts=(*self._cuts, cut), _uncut=self.whole)

    def _frame(self, name: str) -> pd.DataFrame:
        with engines.LOCK:
            if name not in self._frames:
                self._frames[name] = self._load(name)
        return frames.copied(self._frames[name], TABLES[name])

    def _load(self, name: str) -> pd.DataFrame:
        if name not in self._tables:
            return frames.empty(TABLES[name])
        self.sound(name)
        return frames.load(self.table(name), TABLES[name])

    def _read(self, name: str) -> CleanTable:
        """A table over the files that may hold rows of the period, each as it was when the log was opened.

        With ``on_error="quarantine"`` every file is read, since rows are set aside once for the whole log.
        """
        whole = self._tables.get(_known(name)) or validation.absent(TABLES[name])
        cuts = self._cuts if self._on_error == "raise" else ()
        first = max((cut.start.value // 1000 for cut in cuts if cut.start is not None), default=None)
        raw = whole.raw.within(first, min((cut.end.value // 1000 for cut in cuts), default=None))
        if raw is whole.raw:
            return self._parsed(whole)
        with engines.LOCK:
            key = (name, raw.files)
            if key not in self._narrowed:
                self._loaded[name].counts_too(raw.rows)
                self._narrowed[key] = validation.clean(raw, self._options)
            return self._narrowed[key]

    def _parsed(self, whole: CleanTable) -> CleanTable:
        """The table, its rows parsed once where they stand in text files that are not large."""
        name = whole.raw.schema.name
        if not whole.raw.parse_once or name not in self._tables:
            return whole
        with engines.LOCK:
            if self._tables[name] is whole:
                raw = replace(whole.raw, rows=engines.named(whole.raw.rows, copied=True), parse_once=False)
                self._loaded[name].counts_too(raw.rows)
                self._tables[name] = validation.clean(raw, self._options)
            return self._tables[name]

    def _counts(self, table: CleanTable) -> dict[str, Any]:
        with engines.LOCK:
            key = (table.raw.schema.name, table.raw.files)
            if key not in self._found:
                self._found[key] = table.counts()
                self._repeats[key] = validation.repeated(self._found[key])
        return self._found[key]

    def _faults(self, name: str) -> tuple[list[Fault], int]:
        table = self.whole._read(name)
        return table.faults(self._counts(table))

    def _distinct(self, name: str) -> None:
        """Refuse a table that repeats a key; looked for once."""
        if self._on_error != "raise" or name not in self._tables:
            return
        table = self._read(name)
        with engines.LOCK:
            key = (name, table.raw.files)
            if key not in self._repeats:
                self._repeats[key] = table.repeats()
        if self._repeats[key]:
            table.refuse()

    def _rows(self, name: str, checked: Iterable[str]) -> ir.Table:
        """A table flagged where a rule about one of the columns to be checked is broken."""
        import ibis

        table = self._read(name)
        rows = self._clean(table, frozenset(checked))
        at = rows[TABLES[name].time]
        if table.raw.format == "database" and TABLES[name].time in table.present:
            last = self._last_seen(table)
            rows = rows.filter(at.isnull() if last is None else at.isnull() | (at <= last))
        for cut in self._cuts:
            rows = rows.filter(cut.keeps(rows[TABLES[name].time]))
        if self._names and "feature_id" in rows.columns:
            named = [(rows["feature_id"] == old, new) for old, new in self._names.items()]
            rows = rows.mutate(feature_id=ibis.cases(*named, else_=rows["feature_id"]))
        return rows

    def _clean(self, table: CleanTable, checked: frozenset[str]) -> ir.Table:
        """The clean rows of a table, flagged, under a name of their own once every row was looked at."""
        name, files = table.raw.schema.name, table.raw.files
        if name not in self._tables:
            return table.checked(checked)
        with engines.LOCK:
            strict = self._on_error == "raise"
            key = (name, files, checked if not strict or self._faulty(table) else frozenset())
            if key not in self._views:
                rows = table.checked(key[2]) if strict else table.sound(validation.repeated(self._counts(table)) > 0)
                # a table that is joined with one of another engine must stand as it is, or that engine lacks the name
                here = all(engines.in_process(each.raw.rows) for each in self._tables.values())
                self._views[key] = view = engines.named(rows) if here else rows
                if view is not rows:
                    self._loaded[name].counts_too(view)
            return self._views[key]

    def _faulty(self, table: CleanTable) -> bool:
        """Whether a row may break a rule: False once all rows were counted and none does. A database may get other rows."""
        found = self._found.get((table.raw.schema.name, table.raw.files))
        return found is None or table.raw.format == "database" or table.faults(found)[1] > 0

    def _last_seen(self, table: CleanTable) -> pd.Timestamp | None:
        """The newest time in a stored table when it was first asked of: rows that come in later are not read."""
        import pandas as pd

        with engines.LOCK:
            key = (table.raw.schema.name, table.raw.files)
            if key not in self._last:
                at = table.values[table.raw.schema.time]
                found = engines.run(table.stored.aggregate(last=engines.microseconds(at).max())).to_pylist()[0]["last"]
                end = 0 if found is None else int(found) + engines.precision(at) - 1
                self._last[key] = None if found is None else pd.Timestamp(end, unit="us", tz="UTC")
            return self._last[key]

    def _set_aside(self, name: str) -> None:
        if self._on_error == "raise" or name in self._aside:
            return
        import pandas as pd

        _, count = self._faults(name)
        table = self.whole._read(name)
        broken = pd.DataFrame(list(table.raw.broken))
        if not count and broken.empty:
            if self._folder is not None:
                frames.none_aside(self._folder, name)
            return
        rows = broken
        if count:
            repeats = validation.repeated(self._counts(table)) > 0
            rows = pd.concat([broken, table.quarantined(repeats)], ignore_index=True)
        self._aside[name] = rows
        if self._folder is not None:
            self._written[name] = frames.write_aside(rows, self._folder, name)


_Read: TypeAlias = "tuple[str, tuple[Path, ...]]"  # a table and the files of it that are read


def _known(name: str) -> str:
    return one_of("table", name, tuple(TABLES))


def as_table(data: Any, name: str = "requests", check: Iterable[str] = ()) -> CleanTable:
    """Read a table for a table function: a log, an Ibis table or a DataFrame as clean rows of a table of the schema.

    Parameters
    ----------
    data : Log, Ibis table or DataFrame
        Its time must be there; other columns that are missing are unknown in every row.
    name : str
        Table of the schema.
    check : iterable of str
        Columns whose rules matter to the caller: `schema.FLAG` is true where a row breaks one.

    Returns
    -------
    CleanTable
        Its `rows`, the columns `present`, and `refuse()`, which raises the faults of its rows.

    Raises
    ------
    LogError
        Where it has no times, or a row repeats a key that must be unique (`request_id` of requests, `change_id` of
        changes).
    """
    import ibis
    import pandas as pd

    if isinstance(data, Log):
        data._distinct(name)
        return replace(data._read(name), rows=data._rows(name, check))
    if not isinstance(data, pd.DataFrame | ibis.Table):
        raise ConfigError(f"{name}: {type(data).__name__}; expected a log, a pandas DataFrame or an Ibis table")
    table = validation.clean(given(name, data), strict=False)
    time = TABLES[name].time
    if len(data.columns) and time not in table.present:
        there = ", ".join(sorted(table.present))
        raise LogError(Fault(name, table.raw.label, column=time, expected=f"this column must be there; found {there}"))
    if table.repeats():
        table.refuse()
    return replace(table, rows=table.checked(check))
