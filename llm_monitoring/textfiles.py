"""Text files of a log by the byte: compression, byte order marks, headers, line numbers, and where a file is broken."""

from __future__ import annotations

import atexit
import csv
import gzip
import io
import itertools
import json
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from llm_monitoring.errors import Fault, LogError, quote

BOM = b"\xef\xbb\xbf"
MAGIC = {b"PAR1": "a Parquet file", b"\x1f\x8b": "a gzip file", b"\x28\xb5\x2f\xfd": "a zstd file"}
MOST_CHARACTERS = 64_000_000  # of one object of a JSON list, as the engine reads it
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


class Scan(NamedTuple):
    """What one reading of a text file by the byte finds: a fault, a byte order mark, line ends that engines do not read."""

    fault: Fault | None
    mark: bool
    mixed: bool


def scan(path: Path, kind: str, table: str) -> Scan:
    """Read a text file through: engines read what is left of a file cut short, and fail at mixed line ends."""
    lines, returns, both, mark, before = 0, 0, 0, False, b""
    try:
        with open_bytes(path) as file:
            while block := file.read(1 << 22):
                mark = mark or (not before and block.startswith(BOM))
                lines += block.count(b"\n")
                returns += block.count(b"\r")
                both += block.count(b"\r\n") + (before.endswith(b"\r") and block.startswith(b"\n"))
                before = block[-1:]
    except (OSError, EOFError) as error:
        return Scan(_cut_short(path, table, lines + 1, error), mark, False)
    return Scan(None, mark, returns != both or (kind == "csv" and bool(both) and lines != both))


def _cut_short(path: Path, table: str, line: int, error: Exception) -> Fault:
    words = f"the file is cut short here ({error})"
    if path.suffix.lower() == ".gz" and _more_behind(path):
        words = "bytes that are not gzip stand behind the end of the packed data"
    return Fault(table, path.name, f"line {line}", expected=words, remedy="Write it again")


def _more_behind(path: Path) -> bool:
    try:
        with gzip.open(path) as file:
            while file.read(1 << 22):
                pass
    except gzip.BadGzipFile:
        return True
    except (OSError, EOFError, zlib.error):
        return False
    return False


def even(path: Path, kind: str, found: Scan) -> Path:
    """The file, or where its line ends are mixed or it starts with a mark that the reader minds, a copy without them."""
    if not found.mixed:
        return _copy(path) if found.mark and kind == "jsonl" else path
    copy = _beside(path)
    with (
        io.TextIOWrapper(io.BufferedReader(open_bytes(path)), "utf-8-sig", "surrogateescape", newline="") as source,
        copy.open("w", encoding="utf-8", errors="surrogateescape", newline="") as target,
    ):
        if kind == "csv":
            first = source.readline()
            delimiter = _delimiter(first)
            rows = csv.reader(itertools.chain([first], source), delimiter=delimiter)
            csv.writer(target, delimiter=delimiter, lineterminator="\n").writerows(rows)
        else:
            target.writelines(line.rstrip("\r\n") + "\n" for line in source)
    return copy


def _delimiter(first: str) -> str:
    return max(",;\t", key=first.count)


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
    delimiter = _delimiter(first)
    names = next(csv.reader([first], delimiter=delimiter), [])
    doubled = [name for name in names if names.count(name) > 1]
    if doubled or not all(names):
        name = doubled[0] if doubled else ""
        raise LogError(Fault(table, path.name, "line 1", value=name, expected="expected column names, each once"))
    return (delimiter, *names)


def _copy(path: Path) -> Path:
    """A copy without the byte order mark."""
    copy = _beside(path)
    with io.BufferedReader(open_bytes(path)) as source, copy.open("wb") as target:
        source.read(len(BOM))
        shutil.copyfileobj(source, target)
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
    """Where a JSON file that is one list breaks off, or what it holds in place of objects; read piece by piece."""
    row = 0
    try:
        with io.TextIOWrapper(io.BufferedReader(open_bytes(path)), "utf-8-sig") as text:
            for row, value in enumerate(_elements(text)):
                wrong = "expected a JSON object" if not isinstance(value, Mapping) else _unreadable(value)
                if wrong:
                    shown = None if isinstance(value, Mapping) else value
                    return Fault(table, path.name, f"row {row}", value=shown, expected=wrong)
    except _Broken as error:
        return Fault(table, path.name, error.place, expected=f"expected a list of JSON objects ({error})")
    except (ValueError, RecursionError, OSError, EOFError) as error:
        return Fault(table, path.name, f"row {row}", expected=f"expected a list of JSON objects ({error})")
    return None


class _Broken(ValueError):
    def __init__(self, reason: str, line: int):
        super().__init__(reason)
        self.place = f"line {line}"


def _elements(text: io.TextIOBase) -> Iterator[object]:
    """The elements of a JSON list, each parsed as soon as it is there; one of more than `MOST_CHARACTERS` is refused."""
    decoder, held, line, size = json.JSONDecoder(object_pairs_hook=_Pairs.of), "", 1, 1 << 16
    held = text.read(size).lstrip()[1:]
    while True:
        held, line = _after(held, " \t\r\n,", line)
        if held.startswith("]"):
            return
        try:
            value, end = decoder.raw_decode(held)
            complete = end < len(held)
        except json.JSONDecodeError as error:
            complete, reason = False, f"{error.msg}, {quote(held, 40)}"
        else:
            reason = "the list is not closed"
        if not complete:
            more = text.read(max(size, len(held)))
            if not more:
                raise _Broken(reason, line)
            if len(held) > MOST_CHARACTERS:
                raise _Broken(f"an element of more than {MOST_CHARACTERS:,} characters", line)
            held += more
            continue
        yield value
        line += held.count("\n", 0, end)
        held = held[end:]


def _after(held: str, skipped: str, line: int) -> tuple[str, int]:
    rest = held.lstrip(skipped)
    return rest, line + held.count("\n", 0, len(held) - len(rest))


class _Pairs(dict):
    """A JSON object that remembers the first key that it names twice."""

    twice: str | None = None

    @classmethod
    def of(cls, pairs: list[tuple[str, object]]) -> _Pairs:
        made = cls(pairs)
        if len(made) < len(pairs):
            names = [name for name, _ in pairs]
            made.twice = next(name for name in names if names.count(name) > 1)
        return made


def _unreadable(value: Mapping) -> str | None:
    """Why the engine does not read an object that Python's reader takes: a key twice, half a character."""
    if isinstance(value, _Pairs) and value.twice is not None:
        return f"names the key {quote(value.twice)} twice; expected each key once"
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return r"holds half a character (one \u escape of a pair); expected whole ones"
    except RecursionError:
        return "is nested too deep"
    return None


def broken_lines(path: Path, kind: str, table: str) -> Iterator[tuple[range, bytes, Fault]]:
    """Every row that cannot be read, with its lines: not UTF-8, not JSON, a wrong number of fields, a quote or a file cut off."""
    last = 0
    try:
        with io.BufferedReader(open_bytes(path)) as lines:
            numbered = enumerate(lines, 1)
            rows = _csv_rows(numbered, csv_header(path, table)) if kind == "csv" else _json_rows(numbered)
            for number, row, wrong in rows:
                last = number + max(row.count(b"\n"), 1)
                if wrong:
                    value, expected = wrong
                    fault = Fault(table, path.name, f"line {number}", value=value, expected=expected)
                    yield range(number, last), row, fault
    except (OSError, EOFError) as error:
        last = last or 1
        yield range(last, last + 1), b"", _cut_short(path, table, last, error)


Row = tuple[int, bytes, tuple[str, str] | None]


def _json_rows(numbered: Iterator[tuple[int, bytes]]) -> Iterator[Row]:
    for number, line in numbered:
        yield number, line, _not_utf8(line) or _json_wrong(line)


def _csv_rows(numbered: Iterator[tuple[int, bytes]], header: tuple[str, ...]) -> Iterator[Row]:
    """The rows of a CSV file with their first line: a quoted field may run over several. One that never ends is a line."""
    waiting: deque[tuple[int, bytes]] = deque()
    taken: list[tuple[int, bytes]] = []
    delimiter, *names = header

    def lines() -> Iterator[str]:
        while (line := waiting.popleft() if waiting else next(numbered, None)) is not None:
            taken.append(line)
            yield line[1].decode("utf-8", "surrogateescape")

    while True:
        reader = csv.reader(lines(), delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                number, row = taken[0][0], b"".join(line for _, line in taken)
                taken.clear()
                wrong = _not_utf8(row)
                if not wrong and fields and len(fields) != len(names):
                    text = row.decode("utf-8-sig").strip()
                    wrong = text, f"expected {len(names)} fields, found {len(fields)}"
                yield number, row, wrong
            return
        except csv.Error:
            number, row = taken[0]
            waiting.extendleft(reversed(taken[1:]))
            taken.clear()
            yield number, row, (row.decode("utf-8-sig", "replace").strip(), "the quote is not closed")


def _not_utf8(line: bytes) -> tuple[str, str] | None:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = line[error.start : error.start + 4].decode("latin-1")
        return wrong, f"byte {error.start + 1} of the line is not UTF-8; expected UTF-8"
    return None


def _json_wrong(row: bytes) -> tuple[str, str] | None:
    text = row.decode("utf-8-sig").strip()
    if not text:
        return None
    try:
        value = json.loads(text, object_pairs_hook=_Pairs.of)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, Mapping):
        return text, "expected one JSON object a line"
    reason = _unreadable(value)
    return (text, reason) if reason else None


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
