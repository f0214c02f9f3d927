"""Where a log comes from: a folder, a file, a database or DataFrames -> one raw Ibis table for each table of the log.

Nothing is loaded and no value is judged here (`validation` does): files are found, told apart and described. Text
files (CSV, JSON Lines) give text columns, so that an id stays what was written.
"""

from __future__ import annotations

import functools
import json
import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_monitoring import addresses, engines, textfiles
from llm_monitoring.datafiles import PACKED, Part, format_of, located, parts_of, rows_of
from llm_monitoring.errors import ConfigError, Fault, LogError, quote
from llm_monitoring.partitions import Seen, Span, spans_of
from llm_monitoring.results import unknown
from llm_monitoring.schema import FILE, RESERVED, ROW, TABLES, Table

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd
    import pyarrow as pa
    from ibis.backends import BaseBackend

HOUR_LINES = re.compile(r"\d{8}T\d{2}(-\d+)?\.jsonl")
UNFINISHED = ".import-unfinished"  # stands in a folder while an import replaces the log in it
SAMPLE = "sample_data"  # where nothing here has that name, the log that comes with the package
PARSED_ONCE_BYTES = 64_000_000  # of text; more is parsed anew for each query, so that memory stays small
UNREAD = (".zip", ".bz2", ".xz", ".7z", ".tar", ".tgz", ".xlsx", ".xls", ".avro", ".orc", ".feather", ".arrow")


@dataclass(frozen=True)
class RawTable:
    """One table as its source holds it, nothing converted.

    `located` gives the same rows with their file and row (from 0), for the errors only: it may be slower. `parse_once`:
    whether the rows stand in text files small enough to be kept as a table once they were parsed.
    """

    schema: Table
    label: str
    rows: ir.Table
    located: Callable[[], ir.Table]
    files: tuple[Path, ...] = ()
    format: str = "database"
    notices: tuple[str, ...] = ()
    broken: tuple[dict[str, Any], ...] = ()
    parts: tuple[Part, ...] = ()
    spans: Mapping[Path, Span] = field(default_factory=dict)
    seen: Seen | None = None
    parse_once: bool = False

    @classmethod
    def absent(cls, schema: Table) -> RawTable:
        """The table of a source that does not have it: no rows, no columns."""
        import pyarrow as pa

        rows = engines.in_memory(pa.table({ROW: pa.array([], pa.int64())}))
        return cls(schema, schema.name, rows, lambda: rows)

    def within(self, first: int | None, last: int | None) -> RawTable:
        """The same over the files that may hold rows from `first` to `last` (microseconds since 1970), as they were when they were found."""
        if not self.parts:
            return self
        kept = [file for file in self.files if file not in self.spans or self.spans[file].meets(first, last)]
        places = {file: self.seen.place(file, self.label) if self.seen else file for file in kept}
        if list(places.items()) == [(file, file) for file in self.files]:
            return self
        parts = tuple(part.of(places) for part in self.parts)
        located_parts = functools.partial(located, parts)
        return replace(
            self, rows=rows_of(parts), located=located_parts, files=tuple(places.values()), parts=parts, seen=None,
            parse_once=False,
        )  # fmt: skip

    def first(self, column: str) -> tuple[Any, str, str | None]:
        """The first known value of a column, with its file and place."""
        located = self.located()
        rows = located.select(located[FILE], located[ROW], shown=located[column].cast("string"))
        found = engines.run(rows.filter(rows["shown"].notnull()).order_by([FILE, ROW]).limit(1)).to_pylist()
        if not found:
            return None, self.label, None
        return found[0]["shown"], *self.places([(found[0][FILE], found[0][ROW])])[0]

    @property
    def call(self) -> str:
        """How the caller names the source in `open_log`, for remedies."""
        return repr(self.label) if self.files else "..."

    def places(self, rows: Iterable[tuple[str | None, int | None]]) -> list[tuple[str, str | None]]:
        """File and place of rows as people count: lines of text files from 1, rows of everything else from 0."""
        known = [(file, -1 if row is None or row != row else int(row)) for file, row in rows]
        texts = {file: format_of(Path(file)) for file, _ in known if file}
        lines = {
            file: textfiles.lines_of(Path(file), [row for each, row in known if each == file], kind)
            for file, kind in texts.items()
            if kind == "csv" or (kind == "jsonl" and not textfiles.by_element(Path(file)))
        }
        told: list[tuple[str, str | None]] = []
        for file, row in known:
            label = f"{self.label}/{Path(file).name}" if file and len(self.files) > 1 else self.label
            line = lines.get(file or "", {}).get(row)
            told.append((label, f"line {line}" if line else f"row {self._before(label, row)}" if row >= 0 else None))
        return told

    def _before(self, label: str, row: int) -> int:
        """The number of a row as its source has it: elements of a JSON list that were set aside count."""
        lost = [each["place"] for each in self.broken if textfiles.unpacked_name(each["file"]) == label]
        for number in sorted(int(place.removeprefix("row ")) for place in lost if place.startswith("row ")):
            row += number <= row
        return row


#: The words that name a source to people, its tables, and the folder that it lies in.
Found = tuple[str, dict[str, RawTable], Path | None]


def read_tables(source: Any, mend: bool = False, partition_time: str | None = None) -> Found:
    """Find the tables of a log in a folder, a single file, a database or a dict of DataFrames.

    Parameters
    ----------
    source : path, URL, Ibis connection, or dict of str to DataFrame or Ibis table
    mend : bool
        Read text files through once and leave out lines that cannot be read (`RawTable.broken`).
    partition_time : str, optional
        Key of folders such as ``date=2026-05-11`` that says of which day their rows are.

    Returns
    -------
    name : str
        The words that name the source to people.
    tables : dict of str to RawTable
    folder : Path or None
        Where its files lie.

    Raises
    ------
    LogError
        Where nothing is there, no table of a log is in it, or a file is not what its name says.
    """
    import ibis
    import pandas as pd

    if isinstance(source, ibis.BaseBackend):
        return _database(source, f"{source.name} connection")
    if isinstance(source, Mapping):
        return "DataFrames", {name: given(name, table) for name, table in source.items()}, None
    if isinstance(source, pd.DataFrame | ibis.Table):
        return "DataFrames", {"requests": given("requests", source)}, None
    if not isinstance(source, str | os.PathLike) or not str(source).strip():
        words = "expected a path, a URL, an Ibis connection, DataFrames by table, or one DataFrame of requests"
        raise LogError(Fault("log", value=source if isinstance(source, str) else type(source).__name__, expected=words))
    text = str(source)
    if "://" in text:
        return _database(_connected(text), addresses.place(text))
    path = Path(source)
    if text == SAMPLE and not path.exists():
        path = shipped(SAMPLE) or path
    if partition_time and not any(part.startswith(f"{partition_time}=") for part in _folders(path)):
        words = f"no folder in {quote(text)} is named {partition_time}=..., such as {partition_time}=2026-05-11"
        raise ConfigError(f"open_log(partition_time={quote(partition_time)}): {words}")
    if path.suffix in (".duckdb", ".ddb") and path.is_file():
        return _database(ibis.duckdb.connect(path, read_only=True), text)
    return _files(path, mend, partition_time)


def shipped(name: str | Path) -> Path | None:
    """What comes with the package under a name: inside it, or beside it in a clone; None where nothing does."""
    return next((path for folder in Path(__file__).parents[:2] if (path := folder / name).exists()), None)


def _folders(path: Path) -> Iterator[str]:
    return (each.name for each in path.rglob("*=*") if each.is_dir()) if path.is_dir() else iter(())


def frame_table(frame: pd.DataFrame) -> ir.Table:
    """The frame as an Ibis table: nested values as JSON text, times in UTC to the microsecond, rows counted from 0.

    Columns whose values cannot be stored as one type become text, for `validation` to judge one by one.
    """
    import pyarrow as pa

    columns = {str(name): frame[name].reset_index(drop=True) for name in frame.columns}
    arrays = {name: _array(column, name) for name, column in columns.items()}
    arrays[ROW] = pa.array(range(len(frame)), pa.int64())
    return engines.in_memory(pa.table(arrays))


def _array(column: pd.Series, name: str) -> pa.Array:
    import pandas as pd
    import pyarrow as pa

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pa.array(column.dt.tz_convert("UTC").dt.floor("us"), pa.timestamp("us", "UTC"))
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return pa.array(column.dt.floor("us"), pa.timestamp("us"))
    if pd.api.types.is_timedelta64_dtype(column.dtype) and name.endswith("_ms"):
        return pa.array(column.dt.total_seconds() * 1000, pa.float64(), from_pandas=True)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if column.dtype == object:
        kinds = {type(value) for value in column if not unknown(value)}
        if not kinds or kinds - {bool}:
            return pa.array([_text(value) for value in column], pa.string())
    array = pa.array(column, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _text(value: Any) -> str | None:
    if unknown(value):
        return None
    if isinstance(value, bytes):
        return _of_bytes(value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict | list | tuple):
        from llm_monitoring.results import jsonable

        value = json.dumps(jsonable(value), ensure_ascii=False)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.encode("utf-8", "replace").decode()  # a lone surrogate becomes "?"


def _of_bytes(value: bytes) -> str:
    """The UTF-8 text that bytes are, else their hex digits, as files of Parquet are read."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def given(name: str, table: Any) -> RawTable:
    """A DataFrame or an Ibis table as a table of the log."""
    import ibis
    import pandas as pd

    schema = _known(name)
    if isinstance(table, pd.DataFrame):
        doubled = table.columns[table.columns.duplicated()]
        if len(doubled):
            raise LogError(Fault(name, column=str(doubled[0]), expected="expected one column of this name, found more"))
        rows = frame_table(table)
        _own_names(schema, name, [str(column) for column in table.columns])
        return RawTable(schema, name, rows, lambda: rows.mutate(**{FILE: ibis.null("string")}), format="frame")
    if isinstance(table, ibis.Table):
        return _stored(schema, table)
    expected = "expected a pandas DataFrame or an Ibis table"
    raise LogError(Fault(name, value=type(table).__name__, expected=expected))


def _stored(schema: Table, rows: ir.Table) -> RawTable:
    import ibis

    _own_names(schema, schema.name, rows.columns)
    nowhere = rows.mutate(**{FILE: ibis.null("string"), ROW: ibis.null("int64")})
    return RawTable(schema, schema.name, rows, lambda: nowhere)


def _own_names(schema: Table, label: str, names: Iterable[str]) -> None:
    """Refuse columns that a log may not have: with the reserved prefix, or that differ from another in case only."""
    seen = {name.lower(): name for name in schema.names}
    faults = []
    for name in names:
        if name.lower().startswith(RESERVED):
            expected = f"names that start with {RESERVED!r} are kept for the package's own columns"
            faults.append(Fault(schema.name, label, column=name, expected=expected, remedy="Rename it"))
        elif seen.setdefault(name.lower(), name) != name:
            expected = f"differs from {seen[name.lower()]} in the case of its letters only"
            faults.append(Fault(schema.name, label, column=name, expected=expected, remedy="Rename it"))
    if faults:
        raise LogError(faults)


def _known(name: str) -> Table:
    if name in TABLES:
        return TABLES[name]
    raise LogError(Fault(str(name), expected=f"expected a table named one of {', '.join(TABLES)}"))


def _connected(url: str) -> BaseBackend:
    import ibis

    url = addresses.whole(url)
    try:
        connection = ibis.connect(url)
        close = getattr(getattr(connection, "con", None), "close", None)
        if close is not None:  # nobody else holds it: closed once no table of it is left
            weakref.finalize(connection, close)
        return connection
    except Exception as error:  # each database has its own; none of them may show the password of the URL
        reason = addresses.without_secrets((str(error).splitlines() or [type(error).__name__])[0], url)
    expected = f"cannot be opened ({reason}); expected a folder, a file or the URL of a database that can be reached"
    # out here, so that the driver's own error, which may hold the password, is not chained to this one
    raise LogError(Fault(addresses.place(url), expected=expected))


def _database(connection: BaseBackend, label: str) -> Found:
    there = set(connection.list_tables())
    found = {name: _stored(schema, _moments(connection, name)) for name, schema in TABLES.items() if name in there}
    if not found:
        raise LogError(Fault(label, expected=f"expected tables named {', '.join(TABLES)}; none of them is there"))
    return label, found, None


def _moments(connection: BaseBackend, name: str) -> ir.Table:
    """The stored table; Spark's times are labelled as moments where they are (Ibis calls both kinds naive)."""
    rows = connection.table(name)
    if connection.name != "pyspark":
        return rows
    kinds = dict(connection.raw_sql(f"SELECT * FROM `{name}` LIMIT 0").dtypes)
    return rows.mutate(
        **{column: engines.moment(rows[column]) for column, kind in kinds.items() if kind == "timestamp"}
    )


def _files(path: Path, mend: bool, partition_time: str | None) -> Found:
    if not path.exists():
        raise LogError(
            Fault(
                addresses.masked(path),
                expected="no such file or folder; expected a folder with requests.parquet, .jsonl or .csv",
            )
        )
    if path.is_file():
        name = path.name.split(".")[0]
        schema = TABLES.get(name, TABLES["requests"])
        return str(path), {schema.name: _table(schema, (path,), path.name, mend, partition_time)}, path.parent
    if (path / UNFINISHED).exists():
        words = "an import was stopped while it replaced this log; import it again with --force"
        raise LogError(Fault(str(path), expected=words))
    found = {}
    for name, schema in TABLES.items():
        places = [place for place in sorted(path.iterdir()) if place.name.split(".")[0] == name and _holds_rows(place)]
        if len(places) > 1:
            listed = ", ".join(place.name for place in places)
            raise LogError(
                Fault(name, expected=f"expected one file or folder, found {listed}", remedy="Keep one of them")
            )
        if places:
            files = tuple(_table_files(places[0])) if places[0].is_dir() else (places[0],)
            found[name] = _table(schema, files, places[0].name, mend, partition_time)
    _refuse_packed(path, found)
    if not found:
        expected = f"expected files named {', '.join(TABLES)} (.parquet, .jsonl, .csv); none is there"
        raise LogError(Fault(str(path), expected=expected))
    return str(path), found, path


def _refuse_packed(folder: Path, found: Mapping[str, RawTable]) -> None:
    """Refuse a table that lies there in a form that is not read, so that it is not taken for absent."""
    faults = []
    for place in sorted(folder.iterdir()):
        name = place.name.split(".")[0]
        if name in TABLES and name not in found and place.is_file() and place.suffix.lower() in UNREAD:
            expected = "is not read in this form; expected .parquet, .jsonl or .csv (also packed as .gz or .zst)"
            faults.append(Fault(name, place.name, expected=expected, remedy="Unpack or convert it"))
    if faults:
        raise LogError(faults)


def _holds_rows(place: Path) -> bool:
    return any(True for _ in _table_files(place)) if place.is_dir() else format_of(place) is not None


def _table_files(folder: Path) -> Iterator[Path]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and format_of(file))
    shown = (file for file in files if file.name[0] not in "._" and file.parent.name != "quarantine")
    return (file for file in shown if not _is_compacted(file))


def _is_compacted(file: Path) -> bool:
    """Whether these are lines of a recorded hour that stands beside them as Parquet: a compaction is about to remove them."""
    return bool(HOUR_LINES.fullmatch(file.name)) and file.with_suffix(".parquet").exists()


def _table(
    schema: Table, files: tuple[Path, ...], label: str, mend: bool = False, partition_time: str | None = None
) -> RawTable:
    seen = Seen.now(files)
    kinds = sorted({format_of(file) or "" for file in files})
    if kinds == [""]:
        raise LogError(Fault(schema.name, label, expected="expected a name that ends in .parquet, .jsonl or .csv"))
    faults = [fault for file in files if (fault := textfiles.broken_at_once(file, str(format_of(file)), schema.name))]
    if faults:
        raise LogError(faults)
    full = [file for file in files if file.stat().st_size]
    notices = [f"{label}/{file.name}: holds nothing" for file in files if file not in full]
    broken: list[dict[str, Any]] = []
    full = [
        _readable(file, schema.name, label if len(full) == 1 else f"{label}/{file.name}", mend, notices, broken)
        for file in full
    ]
    parts = parts_of(schema, full)
    rows = rows_of(parts)
    _own_names(schema, label, rows.columns)
    with_places = functools.partial(located, parts)
    spans = spans_of(full, schema.time, partition_time)
    told = (tuple(notices), tuple(broken), tuple(parts), spans, seen)
    small = "parquet" not in kinds and sum(_unpacked(file) for file in full) <= PARSED_ONCE_BYTES
    return RawTable(schema, label, rows, with_places, tuple(full), kinds[0], *told, parse_once=small and bool(full))


def _unpacked(file: Path) -> int:
    """About how many bytes of text a file holds."""
    return file.stat().st_size * (8 if file.suffix.lower() in PACKED else 1)


def _readable(file: Path, table: str, label: str, mend: bool, notices: list[str], broken: list[dict[str, Any]]) -> Path:
    """The file, or a copy as the engine reads it: even line ends, no mark, without broken lines where they are mended."""
    kind = str(format_of(file))
    if kind == "parquet":
        return file
    found = textfiles.scan(file, kind, table)
    if found.fault and not (mend and found.lines):
        raise LogError(found.fault)
    if (found.foreign or found.open_end) and not mend and (faults := textfiles.faults(file, kind, table)):
        raise LogError(faults)
    if found.mark:
        notices.append(f"{file.name}: a byte order mark at its start was left out")
    if found.fault is None:
        file = textfiles.even(file, kind, found)
        if kind == "csv" and "" in textfiles.csv_header(file, table).names:
            notices.append(f"{file.name}: a column without a name was left out, as an index")
    return _mended(file, table, label, broken) if mend else file


def _mended(file: Path, table: str, label: str, broken: list[dict[str, Any]]) -> Path:
    """The file, or a copy without the lines (of a JSON list: the elements) that cannot be read, noted in `broken`."""
    kind = str(format_of(file))
    if kind == "jsonl" and textfiles.by_element(file):
        copy, lost = textfiles.without_elements(file, table)
        broken += [_lost(label, f"row {row}", text, fault) for row, text, fault in lost]
        return copy
    wrong: set[int] = set()
    for lines, row, fault in textfiles.broken_lines(file, kind, table):
        broken.append(_lost(label, f"line {lines.start}", row.decode("utf-8", "replace"), fault))
        wrong.update(lines)
    return textfiles.without_lines(file, wrong) if wrong else file


def _lost(label: str, place: str, text: str, fault: Fault) -> dict[str, Any]:
    shown = text.rstrip().encode("utf-8", "replace").decode()
    return {"file": label, "place": place, "text": shown, "reason": fault.expected}
