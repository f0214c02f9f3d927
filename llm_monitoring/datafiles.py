"""Files of one table as the engine reads them: Parquet, CSV and JSON Lines, alike or not, as one SELECT of DuckDB's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_monitoring import engines, textfiles
from llm_monitoring.errors import Fault, LogError
from llm_monitoring.schema import FILE, RESERVED, ROW, Table

if TYPE_CHECKING:
    import ibis.expr.types as ir

FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
}
PACKED = (".gz", ".zst")
UNNAMED = f"{RESERVED}unnamed"  # a column of CSV without a name: an index that pandas wrote
WHOLE_SAMPLE_BYTES = 64_000_000  # JSON Lines up to this size are read through to find every column


def format_of(path: Path) -> str | None:
    """Parquet, jsonl or csv, by the name of a file; None for any other."""
    suffixes = path.suffixes
    if suffixes and suffixes[-1].lower() in PACKED:
        suffixes = suffixes[:-1]
    return FORMATS.get(suffixes[-1].lower()) if suffixes else None


def parts_of(schema: Table, files: list[Path]) -> list[Part]:
    """The files of a table, those that are alike together.

    Raises
    ------
    LogError
        Where a file cannot be read, holds what the engine cannot, or names a column in other letters than another.
    """
    kinds = sorted({str(format_of(file)) for file in files})
    parts = [
        part for kind in kinds for part in _PARTS[kind](schema, [file for file in files if format_of(file) == kind])
    ]
    _one_case(schema, parts)
    return _as_one(parts)


def rows_of(parts: Sequence[Part]) -> ir.Table:
    """The rows of all parts, nothing loaded."""
    return engines.stored(f"SELECT * EXCLUDE ({FILE}) FROM ({_union(parts)})")


FILES = "/*files*/"  # where the list of files stands in a scan


@dataclass(frozen=True)
class Part:
    """Files of one kind that are alike, and how the engine reads them; `changed` are columns read as something else.

    `more` are columns that become text, since another part holds them as another type. A part of which no file is left
    has its columns and no row.
    """

    kind: str
    files: tuple[Path, ...]
    scan: str
    changed: Mapping[str, str]
    more: Mapping[str, str] = field(default_factory=dict)
    empty: bool = False

    def of(self, places: Mapping[Path, Path]) -> Part:
        """The same over some of its files only, each read where it lies now."""
        kept = tuple(places[file] for file in self.files if file in places)
        return replace(self, files=kept or self.files[:1], empty=not kept)

    def sql(self, rows: bool = False) -> str:
        changed = {**self.changed, **self.more}
        named = ", ".join(f"{each} AS {_name(column)}" for column, each in changed.items())
        star = f"* REPLACE ({named})" if named else "*"
        scan = self.scan.replace(FILES, _list(self.files), 1) + (" WHERE false" if self.empty else "")
        if not rows:
            return f"SELECT {star} FROM {scan}"
        if self.kind == "parquet":
            numbered = scan.replace(f"filename='{FILE}'", f"filename='{FILE}', file_row_number=true")
            star = star.replace("*", "* EXCLUDE (file_row_number)", 1)
            return f"SELECT {star}, file_row_number AS {ROW} FROM {numbered}"
        return f"SELECT *, row_number() OVER () - 1 AS {ROW} FROM (SELECT {star} FROM {scan})"


def located(parts: Sequence[Part]) -> ir.Table:
    """The rows with file and row; rows of text files are counted over all files of a part, so from each file's first on."""
    if all(part.kind == "parquet" for part in parts):
        return engines.stored(_union(parts, rows=True))
    row = f"{ROW} - min({ROW}) OVER (PARTITION BY {FILE}) AS {ROW}"
    return engines.stored(f"SELECT * EXCLUDE ({ROW}), {row} FROM ({_union(parts, rows=True)})")


def _union(parts: Sequence[Part], rows: bool = False) -> str:
    return " UNION ALL BY NAME ".join(part.sql(rows) for part in parts)


def _as_one(parts: list[Part]) -> list[Part]:
    """The parts so that they fit together: a column of several types becomes text, which `columns` reads value by value."""
    if len(parts) == 1:
        return parts
    types = [dict(engines.fetched(f"SELECT column_name, column_type FROM (DESCRIBE {part.sql()})")) for part in parts]
    together: dict[str, set[str]] = {}
    for each in types:
        for name, kind in each.items():
            together.setdefault(name, set()).add(kind)
    apart = {name for name, kinds in together.items() if len(kinds) > 1 and not kinds <= _NUMBERS}
    texts = [
        {name: _as_text(part.changed.get(name, _name(name)), kind) for name, kind in each.items() if name in apart}
        for part, each in zip(parts, types)
    ]
    return [replace(part, more=more) for part, more in zip(parts, texts)]


_NUMBERS = {
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "FLOAT",
    "DOUBLE",
}


def _as_text(column: str, kind: str) -> str:
    if kind.startswith(("STRUCT", "MAP")) or kind.endswith("[]"):
        return f"CAST(to_json({column}) AS VARCHAR)"
    if kind == "BLOB":
        return f"decode({column})"
    return f"CAST({column} AS VARCHAR)"


def _one_case(schema: Table, parts: list[Part]) -> None:
    """Refuse files that name one column in different letters: the engine takes them for one or for two, by its mood."""
    seen = {name.lower(): name for name in schema.names}
    for part in parts if len(parts) > 1 else ():
        for (name,) in engines.fetched(f"SELECT column_name FROM (DESCRIBE {part.sql()})"):
            if seen.setdefault(name.lower(), name) != name:
                expected = f"differs from {seen[name.lower()]} in the case of its letters only"
                raise LogError(
                    Fault(schema.name, part.files[0].name, column=name, expected=expected, remedy="Rename it")
                )


def _parquet(schema: Table, files: list[Path]) -> list[Part]:
    """Parquet files by their columns; what Arrow stores beside them (durations) is read, what the engine cannot hold refused."""
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    alike: dict[tuple, list[Path]] = {}
    for file in files:
        try:
            fields = pq.read_schema(file)
        except (ArrowException, OSError) as error:
            raise LogError(Fault(schema.name, file.name, expected=f"cannot be read as Parquet ({error})")) from error
        names = tuple((field.name, field.type) for field in fields)
        alike.setdefault((names, _keys(file)), []).append(file)
    parts = []
    for (names, _), group in alike.items():
        changed = {name: sql for name, kind in names if (sql := _of_arrow(schema, group[0], name, kind))}
        scan = f"read_parquet({FILES}, {_hive(group)}, union_by_name=true, filename='{FILE}')"
        empty = [name for name, kind in names if str(kind) == "null"] if len(alike) > 1 else []
        scan = f"(SELECT * EXCLUDE ({', '.join(map(_name, empty))}) FROM {scan})" if empty else scan
        parts.append(Part("parquet", tuple(group), scan, changed))
    return parts


def _of_arrow(schema: Table, file: Path, name: str, kind: Any) -> str | None:
    """How to read a column that the engine reads as something else than Arrow wrote, None where it does not."""
    import pyarrow as pa

    wide = pa.types.is_decimal(kind) and kind.precision > 38
    lasting = pa.types.is_duration(kind)
    if wide or (lasting and name in schema.names and not name.endswith("_ms")):
        expected = (
            f"holds {kind}; expected a number of at most 38 digits"
            if wide
            else f"holds {kind}; expected {schema[name].kind}"
        )
        remedy = "Write it as float64" if wide else "Write it as a number"
        raise LogError(Fault(schema.name, file.name, column=name, expected=expected, remedy=remedy))
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return f"coalesce(try(decode({_name(name)})), lower(hex({_name(name)})))"
    if not lasting:
        return None
    per_ms = {"s": 0.001, "ms": 1, "us": 1_000, "ns": 1_000_000}[kind.unit]
    if name.endswith("_ms"):
        return f"{_name(name)} / {per_ms}::DOUBLE"
    return f"to_microseconds(CAST({_name(name)} / {per_ms / 1000}::DOUBLE AS BIGINT))"


def _csv(schema: Table, files: list[Path]) -> list[Part]:
    alike: dict[tuple[textfiles.Header, tuple], list[Path]] = {}
    for file in files:
        alike.setdefault((textfiles.csv_header(file, schema.name), _keys(file)), []).append(file)
    parts = []
    for (header, _), group in alike.items():
        names = [name or f"{UNNAMED}{place}" for place, name in enumerate(header.names)]
        columns = ", ".join(f"{_quoted(name)}: 'VARCHAR'" for name in names)
        options = (
            f"{_hive(group)}, auto_detect=false, header=true, skip={header.before}, delim={_quoted(header.delimiter)}"
        )
        options += f", quote='\"', escape='\"', columns={{{columns}}}, filename='{FILE}', max_line_size=67108864"
        scan = f"read_csv({FILES}, {options})"
        unnamed = [_name(name) for name in names if name.startswith(UNNAMED)]
        scan = f"(SELECT * EXCLUDE ({', '.join(unnamed)}) FROM {scan})" if unnamed else scan
        parts.append(Part("csv", tuple(group), scan, {}))
    return parts


def _json_lines(schema: Table, files: list[Path]) -> list[Part]:
    size = sum(file.stat().st_size for file in files)
    sample = -1 if size <= WHOLE_SAMPLE_BYTES else 200_000
    lists = all(file.name.lower().endswith((".json", ".json.gz", ".json.zst")) for file in files)
    lines, ignored = ("auto", "false") if lists else ("newline_delimited", "true")
    options = f"{_hive(files)}, format='{lines}', records='true', filename='{FILE}', maximum_object_size=67108864"
    sampled = f"sample_size={sample}, union_by_name=true, maximum_sample_files=100000, ignore_errors={ignored}"
    described = f"DESCRIBE SELECT * FROM read_json({_list(files)}, {options}, maximum_depth=2, {sampled})"
    found = {name: kind for name, kind in _described(described, schema, files) if name != FILE}
    found = {} if list(found) == ["json"] else found  # no line of an object: the engine's word for the whole line
    _true_names(schema, list(found), files)
    kinds = {column.name: column.kind for column in schema.columns}
    types = {name: _json_type(kinds.get(name), kind, whole=sample == -1) for name, kind in found.items()}
    columns = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in types.items())
    return [Part("jsonl", tuple(files), f"read_json({FILES}, {options}, columns={{{columns}}})", {})]


def _keys(file: Path) -> tuple[str, ...]:
    """Names of the columns that folders such as ``region=eu`` hold."""
    return tuple(part.partition("=")[0] for part in file.parent.parts if "=" in part)


def _hive(files: Sequence[Path]) -> str:
    """Whether folders hold columns: said, and as texts, so that a few of the files have the columns of all."""
    of_all = {_keys(file) for file in files}
    return f"hive_partitioning={'true' if len(of_all) == 1 and of_all != {()} else 'false'}, hive_types_autocast=false"


def _json_type(ours: str | None, found: str, whole: bool) -> str:
    """How to read a key: those of the schema as text, or JSON where quotes matter; own numbers as such, if all were seen."""
    if ours is not None:
        return "JSON" if ours in ("flag", "json") else "VARCHAR"
    return found if whole and found in ("BIGINT", "DOUBLE", "BOOLEAN") else "VARCHAR"


def _true_names(schema: Table, names: list[str], files: list[Path]) -> None:
    """Refuse keys that differ in the case of their letters only: the engine calls the second one ``name_1``."""
    lower = {name.lower() for name in names}
    if not any(re.sub(r"_\d+$", "", name) in lower for name in lower if re.search(r"_\d+$", name)):
        return
    keys = (
        f"SELECT DISTINCT unnest(json_keys(json)) FROM read_json_objects({_list(files)}, maximum_object_size=67108864)"
    )
    seen: dict[str, str] = {}
    for (name,) in sorted(engines.fetched(keys)):
        if seen.setdefault(name.lower(), name) != name:
            expected = f"differs from {seen[name.lower()]} in the case of its letters only"
            raise LogError(Fault(schema.name, files[0].name, column=name, expected=expected, remedy="Rename it"))


def _described(sql: str, schema: Table, files: list[Path]) -> list[tuple[str, str]]:
    """Names and types of the columns, by the engine; where it gives up, what is wrong with which file."""
    import duckdb

    try:
        return [(row[0], row[1]) for row in engines.fetched(sql)]
    except duckdb.Error as error:
        faults = [fault for file in files for fault in textfiles.faults(file, "jsonl", schema.name)]
        words = str(error).splitlines()[0]
        words = "holds no JSON object; expected one a line" if "non-record" in words else words
        first = Fault(schema.name, files[0].name, expected=words)
        raise LogError(faults or first, len(faults) or 1) from error


_PARTS = {"parquet": _parquet, "csv": _csv, "jsonl": _json_lines}


def _list(files: Iterable[Path]) -> str:
    """Paths as the engine takes them: a star in a path is a star and no pattern."""
    plain = (re.sub(r"[*?[]", r"[\g<0>]", str(file)) for file in files)
    return f"[{', '.join(_quoted(file) for file in plain)}]"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
