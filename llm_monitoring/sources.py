"""Where a log comes from: a folder, a file, a database or DataFrames -> one raw Ibis table for each table of the log.

Nothing is loaded and no value is judged here (`validation` does): files are found, told apart and described. Text
files (CSV, JSON Lines) give text columns, so that an id stays what was written.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_monitoring import addresses, engines, textfiles
from llm_monitoring.engines import engine
from llm_monitoring.errors import Fault, LogError
from llm_monitoring.schema import TABLES, Table

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
}
HOUR_LINES = re.compile(r"\d{8}T\d{2}(-\d+)?\.jsonl")
PACKED = (".gz", ".zst")
WHOLE_SAMPLE_BYTES = 64_000_000  # JSON Lines up to this size are read through to find every column


@dataclass(frozen=True)
class RawTable:
    """One table as its source holds it, nothing converted.

    `located` gives the same rows with ``_file`` and ``_row`` (from 0), for the errors only: it may be slower.
    """

    schema: Table
    label: str
    rows: ir.Table
    located: Callable[[], ir.Table]
    files: tuple[Path, ...] = ()
    format: str = "database"
    notices: tuple[str, ...] = ()
    broken: tuple[dict[str, Any], ...] = ()

    @property
    def call(self) -> str:
        """How the caller names the source in `open_log`, for remedies."""
        return repr(self.label) if self.files else "..."

    def places(self, rows: Iterable[tuple[str | None, int | None]]) -> list[tuple[str, str | None]]:
        """File and place of rows as people count: lines of text files from 1, rows of everything else from 0."""
        known = [(file, -1 if row is None or row != row else int(row)) for file, row in rows]
        texts = {file: _format(Path(file)) for file, _ in known if file}
        lines = {
            file: textfiles.lines_of(Path(file), [row for each, row in known if each == file], kind)
            for file, kind in texts.items()
            if kind == "csv" or (kind == "jsonl" and not textfiles.is_array(Path(file)))
        }
        told: list[tuple[str, str | None]] = []
        for file, row in known:
            label = f"{self.label}/{Path(file).name}" if file and len(self.files) > 1 else self.label
            line = lines.get(file or "", {}).get(row)
            told.append((label, f"line {line}" if line else f"row {row}" if row >= 0 else None))
        return told


@dataclass(frozen=True)
class Source:
    """What a log was opened from: its tables, and the words that name it to people."""

    name: str
    tables: dict[str, RawTable] = field(default_factory=dict)
    folder: Path | None = None


def read_tables(source: Any, mend: bool = False) -> Source:
    """Find the tables of a log in a folder, a single file, a database or a dict of DataFrames.

    Parameters
    ----------
    source : path, URL, Ibis connection, or dict of str to DataFrame or Ibis table
    mend : bool
        Read text files through once and leave out lines that cannot be read (`RawTable.broken`).

    Returns
    -------
    Source

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
        return Source("DataFrames", {name: _given(name, table) for name, table in source.items()})
    if isinstance(source, pd.DataFrame | ibis.Table):
        return Source("DataFrames", {"requests": _given("requests", source)})
    if not isinstance(source, str | Path):
        words = "expected a path, a URL, an Ibis connection, DataFrames by table, or one DataFrame of requests"
        raise LogError(Fault("log", value=type(source).__name__, expected=words))
    text = str(source)
    if "://" in text:
        return _database(_connected(text), addresses.place(text))
    path = Path(source)
    if path.suffix in (".duckdb", ".ddb") and path.is_file():
        return _database(ibis.duckdb.connect(path, read_only=True), text)
    return _files(path, mend)


def frame_table(frame: pd.DataFrame) -> ir.Table:
    """The frame as an Ibis table: nested values as JSON text, times in UTC to the microsecond, ``_row`` counted from 0.

    Columns whose values cannot be stored as one type become text, for `validation` to judge one by one.
    """
    import ibis
    import pyarrow as pa

    columns = {str(name): frame[name].reset_index(drop=True) for name in frame.columns}
    arrays = {name: _array(column) for name, column in columns.items()}
    arrays["_row"] = pa.array(range(len(frame)), pa.int64())
    return ibis.memtable(pa.table(arrays))


def _array(column: pd.Series):
    import pandas as pd
    import pyarrow as pa

    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pa.array(column.dt.tz_convert("UTC").dt.floor("us"), pa.timestamp("us", "UTC"))
    if pd.api.types.is_datetime64_dtype(column.dtype):
        return pa.array(column.dt.floor("us"), pa.timestamp("us"))
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    if column.dtype == object:
        kinds = {type(value) for value in column if not _unknown(value)}
        if not kinds or kinds - {bool}:
            return pa.array([_text(value) for value in column], pa.string())
    return pa.array(column, from_pandas=True)


def _unknown(value: Any) -> bool:
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def _text(value: Any) -> str | None:
    if _unknown(value):
        return None
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict | list | tuple):
        from llm_monitoring.results import jsonable

        value = json.dumps(jsonable(value), ensure_ascii=False)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.encode("utf-8", "replace").decode()  # a lone surrogate becomes "?"


def _given(name: str, table: Any) -> RawTable:
    import ibis
    import pandas as pd

    schema = _known(name)
    if isinstance(table, pd.DataFrame):
        doubled = table.columns[table.columns.duplicated()]
        if len(doubled):
            raise LogError(Fault(name, column=str(doubled[0]), expected="expected one column of this name, found more"))
        rows = frame_table(table)
        return RawTable(schema, name, rows.drop("_row"), lambda: rows.mutate(_file=ibis.null("string")), format="frame")
    if isinstance(table, ibis.Table):
        return _stored(schema, table)
    expected = "expected a pandas DataFrame or an Ibis table"
    raise LogError(Fault(name, value=type(table).__name__, expected=expected))


def _stored(schema: Table, rows: ir.Table) -> RawTable:
    import ibis

    nowhere = rows.mutate(_file=ibis.null("string"), _row=ibis.null("int64"))
    return RawTable(schema, schema.name, rows, lambda: nowhere)


def _known(name: str) -> Table:
    if name in TABLES:
        return TABLES[name]
    raise LogError(Fault(str(name), expected=f"expected a table named one of {', '.join(TABLES)}"))


def _connected(url: str):
    import ibis

    url = addresses.whole(url)
    try:
        return ibis.connect(url)
    except Exception as error:  # each database has its own; none of them may show the password of the URL
        reason = addresses.without_secrets((str(error).splitlines() or [type(error).__name__])[0], url)
    expected = f"cannot be opened ({reason}); expected a folder, a file or the URL of a database that can be reached"
    # out here, so that the driver's own error, which may hold the password, is not chained to this one
    raise LogError(Fault(addresses.place(url), expected=expected))


def _database(connection, label: str) -> Source:
    there = set(connection.list_tables())
    found = {name: _stored(schema, _moments(connection, name)) for name, schema in TABLES.items() if name in there}
    if not found:
        raise LogError(Fault(label, expected=f"expected tables named {', '.join(TABLES)}; none of them is there"))
    return Source(label, found)


def _moments(connection, name: str) -> ir.Table:
    """The stored table; Spark's times are labelled as moments where they are (Ibis calls both kinds naive)."""
    rows = connection.table(name)
    if connection.name != "pyspark":
        return rows
    kinds = dict(connection.raw_sql(f"SELECT * FROM `{name}` LIMIT 0").dtypes)
    return rows.mutate(
        **{column: engines.moment(rows[column]) for column, kind in kinds.items() if kind == "timestamp"}
    )


def _files(path: Path, mend: bool) -> Source:
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
        return Source(str(path), {schema.name: _table(schema, (path,), path.name, mend)}, path.parent)
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
            found[name] = _table(schema, files, places[0].name, mend)
    if not found:
        expected = f"expected files named {', '.join(TABLES)} (.parquet, .jsonl, .csv); none is there"
        raise LogError(Fault(str(path), expected=expected))
    return Source(str(path), found, path)


def _holds_rows(place: Path) -> bool:
    return any(True for _ in _table_files(place)) if place.is_dir() else _format(place) is not None


def _table_files(folder: Path) -> Iterator[Path]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file() and _format(file))
    shown = (file for file in files if file.name[0] not in "._" and file.parent.name != "quarantine")
    return (file for file in shown if not _is_compacted(file))


def _is_compacted(file: Path) -> bool:
    """Whether these are lines of a recorded hour that stands beside them as Parquet: a compaction is about to remove them."""
    return bool(HOUR_LINES.fullmatch(file.name)) and file.with_suffix(".parquet").exists()


def _format(path: Path) -> str | None:
    suffixes = path.suffixes
    if suffixes and suffixes[-1].lower() in PACKED:
        suffixes = suffixes[:-1]
    return FORMATS.get(suffixes[-1].lower()) if suffixes else None


def _table(schema: Table, files: tuple[Path, ...], label: str, mend: bool = False) -> RawTable:
    kinds = sorted({_format(file) or "" for file in files})
    if kinds == [""]:
        raise LogError(Fault(schema.name, label, expected="expected a name that ends in .parquet, .jsonl or .csv"))
    faults = [fault for file in files if (fault := textfiles.broken_at_once(file, str(_format(file)), schema.name))]
    packed = [file for file in files if file.suffix.lower() in PACKED] if not (faults or mend) else []
    faults += [fault for file in packed if (fault := textfiles.cut_short(file, schema.name))]
    if faults:
        raise LogError(faults)
    full = [file for file in files if file.stat().st_size]
    notices = [f"{label}/{file.name}: holds nothing" for file in files if file not in full]
    full, marked = textfiles.without_mark(full, [str(_format(file)) for file in full])
    notices += [f"{name}: a byte order mark at its start was left out" for name in marked]
    broken: list[dict[str, Any]] = []
    full = (
        [_mended(file, schema.name, label if len(full) == 1 else f"{label}/{file.name}", broken) for file in full]
        if mend
        else full
    )
    parts = [_READERS[kind](schema, [str(file) for file in full if _format(file) == kind]) for kind in kinds]
    sql = (
        parts[0]
        if len(parts) == 1
        else " UNION ALL BY NAME ".join(f"SELECT COLUMNS(*)::VARCHAR FROM ({part})" for part in parts)
    )
    rows = engine().sql(f"SELECT * EXCLUDE (_file) FROM ({sql})")
    located = functools.partial(_with_rows, sql, kinds[0] if len(kinds) == 1 else "mixed")
    return RawTable(schema, label, rows, located, tuple(full), kinds[0], tuple(notices), tuple(broken))


def _mended(file: Path, table: str, label: str, broken: list[dict[str, Any]]) -> Path:
    """The file, or a copy without the lines that cannot be read, which are noted in `broken`."""
    kind = str(_format(file))
    if kind == "parquet" or (kind == "jsonl" and textfiles.is_array(file)):
        return file
    wrong: set[int] = set()
    for lines, row, fault in textfiles.broken_lines(file, kind, table):
        text = row.decode("utf-8", "replace").rstrip()
        broken.append({"file": label, "place": f"line {lines.start}", "text": text, "reason": fault.expected})
        wrong.update(lines)
    return textfiles.without_lines(file, wrong) if wrong else file


def _with_rows(sql: str, kind: str):
    if kind == "parquet":
        plain = sql.replace("filename='_file'", "filename='_file', file_row_number=true")
        return engine().sql(f"SELECT * EXCLUDE (file_row_number), file_row_number AS _row FROM ({plain})")
    numbered = f"SELECT *, row_number() OVER () AS _n FROM ({sql})"
    return engine().sql(f"SELECT * EXCLUDE (_n), _n - min(_n) OVER (PARTITION BY _file) AS _row FROM ({numbered})")


def _parquet(schema: Table, files: list[str]) -> str:
    return f"SELECT * FROM read_parquet({_list(files)}, union_by_name=true, filename='_file')"


def _csv(schema: Table, files: list[str]) -> str:
    alike: dict[tuple, list[str]] = {}
    for file in files:
        alike.setdefault(textfiles.csv_header(Path(file), schema.name), []).append(file)
    parts = []
    for (delimiter, *names), group in alike.items():
        columns = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in names)
        parts.append(
            f"SELECT * FROM read_csv({_list(group)}, auto_detect=false, header=true, delim={_quoted(delimiter)}, "
            f"quote='\"', escape='\"', columns={{{columns}}}, filename='_file', max_line_size=67108864)"
        )
    return " UNION ALL BY NAME ".join(parts)


def _json_lines(schema: Table, files: list[str]) -> str:
    size = sum(Path(file).stat().st_size for file in files)
    sample = -1 if size <= WHOLE_SAMPLE_BYTES else 200_000
    lines = "auto" if all(file.endswith((".json", ".json.gz", ".json.zst")) for file in files) else "newline_delimited"
    options = f"format='{lines}', records='true', maximum_depth=1, filename='_file', maximum_object_size=67108864"
    described = (
        f"DESCRIBE SELECT * FROM read_json({_list(files)}, {options}, sample_size={sample}, "
        "union_by_name=true, maximum_sample_files=100000, ignore_errors=true)"
    ).replace("ignore_errors=true", "ignore_errors=" + ("true" if lines != "auto" else "false"))
    found = _described(described, schema, files)
    sniffed = {name: kind for name, kind in found if name not in ("_file", "json")}
    kinds = {column.name: column.kind for column in schema.columns}
    types = {
        name: {"flag": "JSON", "json": "JSON"}.get(kinds[name], "VARCHAR")
        if name in kinds
        else (kind if sample == -1 else "VARCHAR")
        for name, kind in sniffed.items()
    }
    columns = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in types.items())
    return f"SELECT * FROM read_json({_list(files)}, {options}, columns={{{columns}}})"


def _described(sql: str, schema: Table, files: list[str]) -> list[tuple[str, str]]:
    """Names and types of the columns, by the engine; where it gives up, what is wrong with which file."""
    import duckdb

    try:
        return [(row[0], row[1]) for row in engine().raw_sql(sql).fetchall()]
    except duckdb.Error as error:
        faults: list[Fault] = []
        for file in map(Path, files):
            if textfiles.is_array(file):
                fault = textfiles.broken_array(file, schema.name)
                faults += [fault] if fault else []
            else:
                faults += [fault for _, _, fault in textfiles.broken_lines(file, "jsonl", schema.name)]
        first = Fault(schema.name, Path(files[0]).name, expected=str(error).splitlines()[0])
        raise LogError(faults or first, len(faults) or 1) from error


_READERS = {"parquet": _parquet, "csv": _csv, "jsonl": _json_lines}


def _list(files: list[str]) -> str:
    return f"[{', '.join(_quoted(file) for file in files)}]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
