"""A log opened: its tables validated, loaded when touched, cut at a moment. And the one door of the table functions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from llm_monitoring import frames, notices, validation
from llm_monitoring.errors import ConfigError, Fault, LogError, one_of
from llm_monitoring.schema import TABLES
from llm_monitoring.sources import Source, read_tables
from llm_monitoring.validation import UNITS, Options, Reading

if TYPE_CHECKING:
    from pathlib import Path

    import ibis.expr.types as ir
    import pandas as pd


def open_log(source, tz: str | None = None, timestamp_unit: str | None = None, on_error: str = "raise") -> Log:
    """Open a log. Columns and types are checked at once, rows on the first touch of a table.

    Parameters
    ----------
    source : path, URL, Ibis connection, dict of DataFrames or Ibis tables, or one DataFrame of requests
        A folder with one file or one folder of files per table (Parquet, JSON Lines or CSV; ``.gz`` and ``.zst`` too),
        a single such file, a DuckDB file, or a database that Ibis speaks.
    tz : str, optional
        Zone of times that name none, such as ``"Europe/Berlin"``; without it such times are refused.
    timestamp_unit : {"s", "ms", "us", "ns"}, optional
        Unit of times that are bare numbers (since 1970); without it such times are refused.
    on_error : {"raise", "quarantine"}
        Whether a broken row stops the reading, or is set aside, counted and written out with the reason.

    Returns
    -------
    Log

    Raises
    ------
    LogError
        With every fault: file, row, column, value, what was expected.

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
        one_of("timestamp_unit", timestamp_unit, tuple(UNITS))
    if tz is not None:
        _zone(tz)
    if isinstance(source, Log):
        return source
    found = read_tables(source, mend=on_error == "quarantine")
    options = Options(tz, timestamp_unit)
    readings: dict[str, Reading] = {}
    wrong: list[Fault] = []
    for name, raw in found.tables.items():
        try:
            readings[name] = validation.read(raw, options)
        except LogError as error:
            wrong.extend(error.faults)
    if wrong:
        raise LogError(wrong)
    return Log(found, readings, options, on_error)


class Log:
    """The tables of a log, validated. Made by `open_log`, cut by `until` and `between`.

    Attributes
    ----------
    requests, signals, judgements, changes, probe_results, reviews : DataFrame
        Loaded when touched; times in UTC, unknown numbers NaN, JSON objects as dicts; an absent table is empty.
    source : str
        What it was opened from, as people call it.

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"request_id": "r1", "timestamp": "2026-05-11T09:00:00Z", "feature_id": "search", "model_id": "model-a"}
    >>> log = open_log({"requests": pd.DataFrame([row])})
    >>> len(log.requests), len(log.until("2026-05-10T00:00Z").requests), log.has("judgements")
    (1, 0, False)
    """

    def __init__(self, source: Source, readings: dict[str, Reading], options: Options, on_error: str):
        self.source = source.name
        self._source, self._readings, self._options, self._on_error = source, readings, options, on_error
        self._found: dict[str, dict[str, Any]] = {}
        self._frames: dict[str, pd.DataFrame] = {}
        self._aside: dict[str, pd.DataFrame] = {}
        self._written: dict[str, Path | None] = {}
        self._whole: Log | None = None
        self._measures: tuple = ()
        self.checked: dict[str, pd.DataFrame] = {}  # alerts found, by plan
        self._from: pd.Timestamp | None = None
        self._to: pd.Timestamp | None = None

    def __repr__(self) -> str:
        return f"Log({self.source!r}: {', '.join(name for name in TABLES if self.has(name))})"

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

    @property
    def measures(self) -> tuple:
        """Measures of one's own, as `open_log` was given them."""
        return (self._whole or self)._measures

    @property
    def known_until(self) -> pd.Timestamp | None:
        """The moment that the log was cut at; None for a log as it was opened."""
        return self._to if self._to is not None or self._whole is None else self._whole.known_until

    @property
    def opening(self) -> dict[str, str]:
        """What opens the same log again: ``source`` and the options given; empty for a cut, a database and tables in memory."""
        if self._whole is not None or self._source.folder is None:
            return {}
        options = {"tz": self._options.tz, "timestamp_unit": self._options.timestamp_unit}
        named = {name: value for name, value in options.items() if value is not None}
        return {"source": self.source, **named, **({} if self._on_error == "raise" else {"on_error": self._on_error})}

    def has(self, name: str) -> bool:
        """Whether the source holds this table (an empty one counts)."""
        return one_of("table", name, tuple(TABLES)) in self._readings

    def table(self, name: str) -> ir.Table:
        """A table as an Ibis expression, nothing loaded; rows set aside are left out of it."""
        return self._rows(name, set()).drop("_bad")

    def until(self, when) -> Log:
        """The log as it was known at a moment: no row of any table from after it.

        Parameters
        ----------
        when : str, datetime or Timestamp
            With a zone, or in UTC. Judgements count by `judged_at`, probes by `run_at`, reviews by `reviewed_at`.
        """
        return self._cut(None, _moment(when), closed=True)

    def between(self, start, end) -> Log:
        """The rows of every table from `start` on and before `end`."""
        return self._cut(_moment(start), _moment(end), closed=False)

    def with_reviews(self, reviews: pd.DataFrame) -> Log:
        """The same log with these verdicts in place of its own, as every incident stage then reads them."""
        log = self._cut(None, None, closed=False)
        log._frames["reviews"] = reviews.reset_index(drop=True)
        return log

    @property
    def notices(self) -> list[str]:
        """What was mended, mapped or looks odd without being wrong, a sentence each. Counts rows on first use."""
        log = self._whole or self
        told = [notice for reading in log._readings.values() for notice in reading.raw.notices]
        for name in log._readings:
            log._set_aside(name)
            told += notices.of_table(
                log._readings[name], log._count(name), len(log._aside.get(name, ())), log._written.get(name)
            )
        return told + notices.orphans(log)

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

        log = self._whole or self
        listed: list[Fault] = []
        total, rows = 0, []
        for name, reading in log._readings.items():
            faults, count = log._faults(name)
            listed, total = listed + faults, total + count
            lost = len(reading.raw.broken)
            rows.append((name, log._count(name)["rows"] + lost, count + lost, reading.raw.label))
        if total and log._on_error == "raise":
            raise LogError(listed, total)
        for name in log._readings:
            log._set_aside(name)
        return pd.DataFrame(rows, columns=["table", "rows", "faults", "source"])

    @property
    def set_aside(self) -> dict[str, pd.DataFrame]:
        """With ``on_error="quarantine"``: the rows left out, by table, as they were, with ``reason``."""
        self.validate()
        return dict((self._whole or self)._aside)

    def _cut(self, start, end, closed: bool) -> Log:
        cut = Log(self._source, self._readings, self._options, self._on_error)
        cut._whole, cut._from, cut._to, cut._closed = self, start, end, closed
        return cut

    _closed = False

    def _before(self, times):
        return times <= self._to if self._closed else times < self._to

    def _frame(self, name: str) -> pd.DataFrame:
        if name not in self._frames:
            self._frames[name] = self._load(name)
        return self._frames[name].copy(deep=False)

    def _load(self, name: str) -> pd.DataFrame:
        schema = TABLES[name]
        if self._whole is not None:
            frame = self._whole._frame(name)
            keep = frame[schema.time].notna()
            keep &= True if self._from is None else frame[schema.time] >= self._from
            keep &= True if self._to is None else self._before(frame[schema.time])
            return frame[keep].reset_index(drop=True)
        if name not in self._readings:
            return frames.empty(schema)
        faults, count = self._faults(name)
        if count and self._on_error == "raise":
            raise LogError(faults, count)
        self._set_aside(name)
        return frames.load(self.table(name), schema)

    def _count(self, name: str) -> dict[str, Any]:
        if name not in self._found:
            self._found[name] = validation.counts(self._readings[name])
        return self._found[name]

    def _faults(self, name: str) -> tuple[list[Fault], int]:
        return validation.faults(self._readings[name], self._count(name))

    def _rows(self, name: str, checked: set[str]) -> ir.Table:
        """A table with ``_bad``, true where a rule about one of the columns to be checked is broken."""
        import ibis

        schema = TABLES[one_of("table", name, tuple(TABLES))]
        if self._whole is not None:
            rows = self._whole._rows(name, checked)
            rows = rows if self._from is None else rows.filter(rows[schema.time] >= self._from)
            return rows if self._to is None else rows.filter(self._before(rows[schema.time]))
        if name not in self._readings:
            return frames.empty_table(schema).mutate(_bad=ibis.literal(False))
        reading = self._readings[name]
        if self._on_error == "raise":
            return reading.clean(_bad=reading.bad(checked))
        keep = ~reading.bad()
        if validation.repeated(self._count(name)):
            keep = keep & ~validation.again(reading)
        marked = reading.clean(_keep=keep)
        return marked.filter(marked["_keep"]).drop("_keep").mutate(_bad=ibis.literal(False))

    def _set_aside(self, name: str) -> None:
        if self._on_error == "raise" or name in self._aside:
            return
        import pandas as pd

        _, count = self._faults(name)
        reading = self._readings[name]
        broken = pd.DataFrame(list(reading.raw.broken))
        if not count and broken.empty:
            return
        rows = broken
        if count:
            doubled = validation.repeated(self._count(name)) > 0
            rows = pd.concat([broken, validation.quarantined(reading, doubled)], ignore_index=True)
        self._aside[name] = rows
        if self._source.folder is not None:
            self._written[name] = frames.write_aside(rows, self._source.folder, name)


@dataclass(frozen=True)
class Door:
    """What came through `as_table`: clean rows with ``_bad``, the columns that the source really has, the rules."""

    rows: ir.Table
    present: frozenset[str]
    reading: Reading | None

    def refuse(self) -> NoReturn:
        """Raise the faults of the rows that were found bad."""
        if self.reading is None:
            raise LogError(Fault("log", expected="the rows changed while they were read"))
        faults, count = validation.faults(self.reading, validation.counts(self.reading))
        raise LogError(faults, count)


def as_table(data: Any, name: str = "requests", check: Iterable[str] = ()) -> Door:
    """The one door of the table functions: a log, an Ibis table or a DataFrame as clean rows of a table of the schema.

    Parameters
    ----------
    data : Log, Ibis table or DataFrame
        Columns that are missing are unknown in every row. Of rows of a DataFrame that repeat a unique key one is kept.
    name : str
        Table of the schema.
    check : iterable of str
        Columns whose rules matter to the caller: ``_bad`` is true where a row breaks one.
    """
    import ibis
    import pandas as pd

    checked = set(check)
    if isinstance(data, Log):
        reading = (data._whole or data)._readings.get(name)
        present = frozenset(reading.rows.columns if reading else ())
        return Door(data._rows(name, checked), present, reading)
    if not isinstance(data, pd.DataFrame | ibis.Table):
        raise ConfigError(f"{name}: {type(data).__name__}; expected a log, a pandas DataFrame or an Ibis table")
    if isinstance(data, pd.DataFrame):
        data = frames.without_repeats(data, TABLES[name])
    raw = read_tables({name: data}).tables[name]
    reading = validation.read(raw, strict=False)
    return Door(reading.clean(_bad=reading.bad(checked)), frozenset(reading.rows.columns), reading)


def _zone(tz: str) -> None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"tz={tz!r}; expected the name of a time zone, such as 'Europe/Berlin' or 'UTC'") from error


def _moment(when) -> pd.Timestamp:
    import pandas as pd

    try:
        moment = pd.Timestamp(when)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{when!r} is no time; expected one such as '2026-05-12T09:31Z'") from error
    if moment is pd.NaT:
        raise ConfigError(f"{when!r} is no time; expected one such as '2026-05-12T09:31Z'")
    return moment.tz_localize("UTC") if moment.tzinfo is None else moment.tz_convert("UTC")
