"""Text files of a log by the byte: compression, byte order marks, headers, line numbers, and where a file is broken."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from llm_monitoring.errors import Fault, LogError

BOM = b"\xef\xbb\xbf"
MAGIC = {b"PAR1": "a Parquet file", b"\x1f\x8b": "a gzip file", b"\x28\xb5\x2f\xfd": "a zstd file"}
csv.field_size_limit(2**31 - 1)


def open_bytes(path: Path):
    """The file as bytes, unpacked where its name ends in .gz or .zst."""
    import pyarrow as pa

    packing = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix.lower())
    return pa.input_stream(str(path), compression=packing)


def broken_at_once(path: Path, kind: str, table: str) -> Fault | None:
    """What is wrong with a file by its first and last bytes: empty, cut short, or another kind than its name says."""
    size = path.stat().st_size
    if size == 0:
        return (
            None
            if kind == "jsonl" and path.parent.name == table
            else Fault(table, path.name, expected="the file is empty", remedy="Remove it where the table is absent")
        )
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, size - 4))
        tail = file.read(4)
    packing = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}.get(path.suffix.lower())
    expected = packing or (b"PAR1" if kind == "parquet" else None)
    found = next((words for magic, words in MAGIC.items() if head.startswith(magic)), None)
    if expected and not head.startswith(expected):
        what = MAGIC[expected]
        return Fault(
            table,
            path.name,
            value=head.decode("latin-1"),
            expected=f"the file's first bytes are not those of {what}",
            remedy="Give it the ending of what it holds",
        )
    if not expected and found:
        return Fault(
            table, path.name, expected=f"holds {found}, not {kind} text", remedy="Give it the ending of what it holds"
        )
    if kind == "parquet" and not packing and tail != b"PAR1":
        return Fault(
            table, path.name, expected="the Parquet file is cut short (its end is missing)", remedy="Write it again"
        )
    return None


def csv_header(path: Path, table: str) -> tuple[str, ...]:
    """Delimiter (comma, semicolon or tab) and column names of a CSV file."""
    try:
        with io.TextIOWrapper(io.BufferedReader(open_bytes(path)), "utf-8-sig", newline="") as lines:
            first = lines.readline()
            while first.count('"') % 2 and (more := lines.readline()):
                first += more
    except (UnicodeDecodeError, OSError) as error:
        raise LogError(
            list(broken_lines(path, "csv", table)) or Fault(table, path.name, expected=str(error))
        ) from error
    delimiter = max(",;\t", key=first.count)
    names = next(csv.reader([first], delimiter=delimiter), [])
    doubled = [name for name in names if names.count(name) > 1]
    if doubled or not all(names):
        name = doubled[0] if doubled else ""
        raise LogError(Fault(table, path.name, "line 1", value=name, expected="expected column names, each once"))
    return (delimiter, *names)


def without_mark(files: list[Path], kind: str) -> tuple[list[Path], list[str]]:
    """The files, those that start with a byte order mark replaced by copies without it where the reader minds it."""
    kept, marked = [], []
    for path in files:
        with open_bytes(path) as file:
            head = file.read(3) if kind != "parquet" else b""
        if head != BOM:
            kept.append(path)
            continue
        marked.append(path.name)
        kept.append(_copy(path, BOM) if kind == "jsonl" else path)
    return kept, marked


def _copy(path: Path, mark: bytes) -> Path:
    copy = Path(tempfile.mkdtemp(prefix="llm_monitoring-")) / path.name.removesuffix(
        path.suffix if path.suffix in (".gz", ".zst") else ""
    )
    with open_bytes(path) as source:
        copy.write_bytes(source.read().removeprefix(mark))
    return copy


def line_of(path: Path, row: int, kind: str) -> int:
    """Number of the line (from 1) on which a row (from 0) of a text file starts."""
    with io.TextIOWrapper(io.BufferedReader(open_bytes(path)), "utf-8", errors="replace", newline="") as lines:
        if kind == "csv":
            rows = csv.reader(lines)
            next(rows, None)
            before, count = rows.line_num, 0
            for cells in rows:
                if cells:
                    if count == row:
                        return before + 1
                    count += 1
                before = rows.line_num
            return before
        count = 0
        for number, line in enumerate(lines, 1):
            if line.strip():
                if count == row:
                    return number
                count += 1
    return row + 1


def broken_lines(path: Path, kind: str, table: str) -> Iterator[Fault]:
    """Every line that cannot be read: not UTF-8, not JSON, a wrong number of fields, or cut off by the end of the file."""
    number = 0
    try:
        with io.BufferedReader(open_bytes(path)) as lines:
            width = None
            for number, line in enumerate(lines, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    wrong = line[error.start : error.start + 4].decode("latin-1")
                    expected = f"byte {error.start + 1} is not UTF-8"
                    yield Fault(
                        table,
                        path.name,
                        f"line {number}",
                        value=wrong,
                        expected=expected,
                        remedy="Save the file as UTF-8",
                    )
                    continue
                if kind == "jsonl" and text.strip():
                    yield from _broken_json(text, path, number, table)
                elif kind == "csv" and '"' not in text and text.strip("\r\n"):
                    fields = (
                        len(next(csv.reader([text], delimiter=csv_header(path, table)[0])))
                        if width is None
                        else text.count(",") + 1
                    )
                    width = width or fields
                    if fields != width:
                        yield Fault(
                            table,
                            path.name,
                            f"line {number}",
                            value=text.strip(),
                            expected=f"expected {width} fields, found {fields}",
                        )
    except (OSError, EOFError) as error:
        yield Fault(
            table, path.name, f"line {number + 1}", expected=f"the file is cut short ({error})", remedy="Write it again"
        )


def _broken_json(text: str, path: Path, number: int, table: str) -> Iterator[Fault]:
    try:
        value = json.loads(text)
    except ValueError as error:
        yield Fault(
            table,
            path.name,
            f"line {number}",
            value=text.strip(),
            expected=f"expected one JSON object a line ({error})",
        )
        return
    if not isinstance(value, dict):
        yield Fault(table, path.name, f"line {number}", value=text.strip(), expected="expected a JSON object")
