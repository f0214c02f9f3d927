"""Text files of a log by the byte: compression, byte order marks, headers, line numbers, and where a file is broken."""

from __future__ import annotations

import atexit
import csv
import io
import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator
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
        if kind == "jsonl" and path.parent.name == table:
            return None
        return Fault(table, path.name, expected="the file is empty", remedy="Remove it where the table is absent")
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, size - 4))
        tail = file.read(4)
    packing = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}.get(path.suffix.lower())
    expected = packing or (b"PAR1" if kind == "parquet" else None)
    found = next((words for magic, words in MAGIC.items() if head.startswith(magic)), None)
    remedy = "Give it the ending of what it holds"
    if expected and not head.startswith(expected):
        words = f"the first bytes are not those of {MAGIC[expected]}"
        return Fault(table, path.name, value=head.decode("latin-1"), expected=words, remedy=remedy)
    if not expected and found:
        return Fault(table, path.name, expected=f"holds {found}, not {kind} text", remedy=remedy)
    if kind == "parquet" and not packing and (tail != b"PAR1" or size < 12):
        words = "the Parquet file is cut short (its end is missing)"
        return Fault(table, path.name, expected=words, remedy="Write it again")
    return None


def cut_short(path: Path, table: str) -> Fault | None:
    """Where a packed file breaks off: engines read what is left of it and say nothing."""
    lines = 1
    try:
        with open_bytes(path) as file:
            while block := file.read(1 << 22):
                lines += block.count(b"\n")
    except (OSError, EOFError) as error:
        words = f"the file is cut short here ({error})"
        return Fault(table, path.name, f"line {lines}", expected=words, remedy="Write it again")
    return None


def csv_header(path: Path, table: str) -> tuple[str, ...]:
    """Delimiter (comma, semicolon or tab) and column names of a CSV file."""
    try:
        with io.BufferedReader(open_bytes(path)) as lines:
            raw = lines.readline()
            while raw.count(b'"') % 2 and (more := lines.readline()):
                raw += more
        first = raw.decode("utf-8-sig")
    except (UnicodeDecodeError, OSError, EOFError) as error:
        expected = f"the header cannot be read as UTF-8 text ({error})"
        raise LogError(Fault(table, path.name, "line 1", expected=expected)) from error
    delimiter = max(",;\t", key=first.count)
    names = next(csv.reader([first], delimiter=delimiter), [])
    doubled = [name for name in names if names.count(name) > 1]
    if doubled or not all(names):
        name = doubled[0] if doubled else ""
        raise LogError(Fault(table, path.name, "line 1", value=name, expected="expected column names, each once"))
    return (delimiter, *names)


def without_mark(files: list[Path], kinds: list[str]) -> tuple[list[Path], list[str]]:
    """The files, those that start with a byte order mark replaced by copies without it where the reader minds it."""
    kept, marked = [], []
    for path, kind in zip(files, kinds):
        with open_bytes(path) as file:
            head = file.read(3) if kind != "parquet" else b""
        if head != BOM:
            kept.append(path)
            continue
        marked.append(path.name)
        kept.append(_copy(path, BOM) if kind == "jsonl" else path)
    return kept, marked


def _copy(path: Path, mark: bytes) -> Path:
    copy = _beside(path)
    with open_bytes(path) as source:
        copy.write_bytes(source.read().removeprefix(mark))
    return copy


def _beside(path: Path) -> Path:
    """A path of the same name, unpacked, in a temporary folder that goes when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="llm_monitoring-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder / (path.stem if path.suffix.lower() in (".gz", ".zst") else path.name)


def lines_of(path: Path, rows: Iterable[int], kind: str) -> dict[int, int]:
    """Number of the line (from 1) on which each of some rows (from 0) of a text file starts, by one reading of it."""
    wanted, found = set(rows), {}
    with io.TextIOWrapper(io.BufferedReader(open_bytes(path)), "utf-8", errors="replace", newline="") as lines:
        for row, number in enumerate(_starts(lines, kind)):
            if row in wanted:
                found[row] = number
                if len(found) == len(wanted):
                    break
    return found


def _starts(lines: Iterable[str], kind: str) -> Iterator[int]:
    if kind != "csv":
        yield from (number for number, line in enumerate(lines, 1) if line.strip())
        return
    rows = csv.reader(lines)
    next(rows, None)
    before = rows.line_num
    for cells in rows:
        if cells:
            yield before + 1
        before = rows.line_num


def is_array(path: Path) -> bool:
    """Whether a JSON file is one list of objects and not an object a line."""
    if not path.name.lower().endswith((".json", ".json.gz", ".json.zst")):
        return False
    with open_bytes(path) as file:
        return file.read(4096).removeprefix(BOM).lstrip()[:1] == b"["


def broken_array(path: Path, table: str) -> Fault | None:
    """Where a JSON file that is one list breaks off, or what it holds in place of objects."""
    try:
        with open_bytes(path) as file:
            rows = json.loads(file.read().decode("utf-8-sig"))
    except (ValueError, RecursionError, OSError, EOFError) as error:
        place = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else None
        return Fault(table, path.name, place, expected=f"expected a list of JSON objects ({error})")
    wrong = [(number, row) for number, row in enumerate(rows) if not isinstance(row, dict)]
    if not wrong:
        return None
    return Fault(table, path.name, f"row {wrong[0][0]}", value=wrong[0][1], expected="expected a JSON object")


def broken_lines(path: Path, kind: str, table: str) -> Iterator[tuple[range, bytes, Fault]]:
    """Every row that cannot be read, with its lines: not UTF-8, not JSON, a wrong number of fields, a quote or a file cut off."""
    last = 0
    try:
        with io.BufferedReader(open_bytes(path)) as lines:
            numbered = enumerate(lines, 1)
            header = csv_header(path, table) if kind == "csv" else ()
            for number, row in _records(numbered) if header else numbered:
                last = number + max(row.count(b"\n"), 1)
                wrong = _not_utf8(row) or (_fields_wrong(row, header) if header else _json_wrong(row))
                if wrong:
                    value, expected = wrong
                    fault = Fault(table, path.name, f"line {number}", value=value, expected=expected)
                    yield range(number, last), row, fault
    except (OSError, EOFError) as error:
        last = last or 1
        words = f"the file is cut short here ({error})"
        yield (
            range(last, last + 1),
            b"",
            Fault(table, path.name, f"line {last}", expected=words, remedy="Write it again"),
        )


def _records(numbered: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """The rows of a CSV file with their first line: a quoted field may run over several. One that never ends is a line."""
    held: list[tuple[int, bytes]] = []
    quotes = 0
    for number, line in numbered:
        held.append((number, line))
        quotes += line.count(b'"')
        if quotes % 2 == 0:
            yield held[0][0], b"".join(each for _, each in held)
            held, quotes = [], 0
    if held:
        yield held[0]
        yield from _records(iter(held[1:]))


def _not_utf8(line: bytes) -> tuple[str, str] | None:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = line[error.start : error.start + 4].decode("latin-1")
        return wrong, f"byte {error.start + 1} of the line is not UTF-8; expected UTF-8"
    return None


def _json_wrong(row: bytes) -> tuple[str, str] | None:
    text = row.decode("utf-8-sig").strip()
    try:
        fits = not text or isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        fits = False
    return None if fits else (text, "expected one JSON object a line")


def _fields_wrong(row: bytes, header: tuple[str, ...]) -> tuple[str, str] | None:
    text, (delimiter, *names) = row.decode("utf-8-sig"), header
    if not text.strip("\r\n"):
        return None
    if text.count('"') % 2:
        return text.strip(), "the quote is not closed"
    fields = len(next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)))
    return None if fields == len(names) else (text.strip(), f"expected {len(names)} fields, found {fields}")


def without_lines(path: Path, numbers: set[int]) -> Path:
    """A copy of a text file with some lines left blank, so that the numbers of the others stay."""
    copy = _beside(path)
    with io.BufferedReader(open_bytes(path)) as source, copy.open("wb") as target:
        try:
            for number, line in enumerate(source, 1):
                target.write(b"\n" if number in numbers else line.rstrip(b"\r\n") + b"\n")
        except (OSError, EOFError):
            return copy
    return copy
