"""Text files of a log by the byte: compression, byte order marks, headers, line numbers, and where a file is broken."""

from __future__ import annotations

import atexit
import codecs
import csv
import gzip
import io
import itertools
import json
import re
import shutil
import tempfile
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from llm_monitoring.errors import Fault, LogError, quote

BOM = b"\xef\xbb\xbf"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
BLANK = " \t\r\n"  # what JSON takes for blanks
DELIMITERS = (",", ";", "\t", "|")
FOREIGN = re.compile("[\udc80-\udcff]")  # bytes that are not UTF-8, as Python's reader marks them
SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
MAGIC = {b"PAR1": "a Parquet file", b"\x1f\x8b": "a gzip file", b"\x28\xb5\x2f\xfd": "a zstd file"}
MOST_CHARACTERS = 64_000_000  # of one object of a JSON list, as the engine reads it
BEHIND_A_QUOTE = 'text follows the quote that closes a field; expected a quote inside a field to be doubled ("")'
csv.field_size_limit(2**31 - 1)


def open_bytes(path: Path) -> Any:
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
        return Fault(table, path.name, expected="the file is empty", remedy="Remove it if there is no such table")
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, size - 4))
        tail = file.read(4)
    packing = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd"}.get(path.suffix.lower())
    expected = packing or (b"PAR1" if kind == "parquet" else None)
    found = next((words for magic, words in MAGIC.items() if head.startswith(magic)), None)
    remedy = "Rename it with the ending of what it holds"
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
    """What one reading of a text file by the byte finds: a fault, a byte order mark, what engines do not read.

    `lines` are those that can be read, `mixed` line ends of several kinds, `foreign` bytes that are not UTF-8, and
    `open_end` a comma as the last character of JSON, behind which the rest of a list is missing.
    """

    fault: Fault | None
    lines: int
    mark: bool = False
    mixed: bool = False
    foreign: bool = False
    open_end: bool = False


def scan(path: Path, kind: str, table: str) -> Scan:
    """Read a text file through: engines read what is left of a file cut short, and fail at mixed ends and foreign bytes."""
    lines, returns, both, mark, foreign, before, last = 0, 0, 0, False, False, b"", b""
    letters = codecs.getincrementaldecoder("utf-8")()
    try:
        with open_bytes(path) as file:
            while block := file.read(1 << 22):
                if not before and block.startswith(UTF16):
                    words = "holds UTF-16 text; expected UTF-8"
                    return Scan(Fault(table, path.name, expected=words, remedy="Save it as UTF-8"), 0)
                mark = mark or (not before and block.startswith(BOM))
                lines += block.count(b"\n")
                returns += block.count(b"\r")
                both += block.count(b"\r\n") + (before.endswith(b"\r") and block.startswith(b"\n"))
                foreign = foreign or not _decodes(letters, block)
                before = block[-1:]
                last = block.rstrip()[-1:] or last
    except (OSError, EOFError) as error:
        return Scan(_cut_short(path, table, lines + 1, error), lines, mark, foreign=foreign)
    foreign = foreign or not _decodes(letters, b"", final=True)
    mixed = returns != both or (kind == "csv" and bool(both) and lines != both)
    return Scan(None, lines, mark, mixed, foreign, open_end=kind == "jsonl" and last == b",")


def _decodes(letters: codecs.IncrementalDecoder, block: bytes, final: bool = False) -> bool:
    try:
        letters.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


def _cut_short(path: Path, table: str, line: int, error: Exception) -> Fault:
    words = f"the file is cut short here ({error})"
    if path.suffix.lower() == ".gz" and _more_behind(path):
        words = "bytes that are not gzip follow the packed data"
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
            delimiter = delimiter_of(first)
            rows = csv.reader(itertools.chain([first], source), delimiter=delimiter)
            csv.writer(target, delimiter=delimiter, lineterminator="\n").writerows(rows)
        else:
            target.writelines(line.rstrip("\r\n") + "\n" for line in source)
    return copy


class Header(NamedTuple):
    """The names of a CSV file's columns ("" where one has none, as an index), what separates them, lines before them."""

    delimiter: str
    names: tuple[str, ...]
    before: int


def delimiter_of(first: str) -> str:
    """What separates the fields, by a first line: what ``sep=;`` says, else what gives most names; the comma if nothing.

    >>> delimiter_of("request_id;timestamp"), delimiter_of("sep=|")
    (';', '|')
    """
    said = SEPARATOR.fullmatch(first)
    return said[1] if said else max(DELIMITERS, key=lambda each: len(next(csv.reader([first], delimiter=each), [])))


def csv_header(path: Path, table: str) -> Header:
    """Separator and column names of a CSV file."""
    try:
        with io.BufferedReader(open_bytes(path)) as lines:
            raw, said = lines.readline(), b""
            if SEPARATOR.fullmatch(raw.decode("utf-8-sig")):
                said, raw = raw, lines.readline()
            while raw.count(b'"') % 2 and (more := lines.readline()):
                raw += more
        first = raw.decode("utf-8-sig")
    except (UnicodeDecodeError, OSError, EOFError) as error:
        expected = f"the header cannot be read as UTF-8 text ({error})"
        raise LogError(Fault(table, path.name, "line 1", expected=expected)) from error
    delimiter = delimiter_of(said.decode("utf-8-sig") or first)
    names = tuple(name.strip() for name in next(csv.reader([first], delimiter=delimiter), []))
    doubled = [name for name in names if name and names.count(name) > 1]
    if doubled or not any(names):
        place = f"line {2 if said else 1}"
        name = doubled[0] if doubled else ""
        raise LogError(Fault(table, path.name, place, value=name, expected="expected column names, each once"))
    return Header(delimiter, names, 1 if said else 0)


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
    return folder / unpacked_name(path.name)


def unpacked_name(name: str) -> str:
    """The name of a file without the ending of its packing."""
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in (".gz", ".zst") else name


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
        yield from (number for number, line in enumerate(lines, 1) if line.strip(BLANK))
        return
    lines = iter(lines)
    first = next(lines, "")
    rows = csv.reader(itertools.chain([first], lines), delimiter=delimiter_of(first.removeprefix("\ufeff")))
    for _ in range(2 if SEPARATOR.fullmatch(first.removeprefix("\ufeff")) else 1):
        next(rows, None)
    before = rows.line_num
    for cells in rows:
        if cells:
            yield before + 1
        before = rows.line_num


def by_element(path: Path) -> bool:
    """Whether a JSON file is one list, or objects over many lines, and not an object a line."""
    if not unpacked_name(path.name).lower().endswith(".json"):
        return False
    with io.BufferedReader(open_bytes(path)) as file:
        first = file.read(1 << 16).removeprefix(BOM).lstrip(BLANK.encode())
    if first[:1] == b"[":
        return True
    line, more, _ = first.partition(b"\n")
    return bool(more) and _json_wrong(line) is not None


def elements(path: Path, table: str) -> Iterator[tuple[str, Fault | None]]:
    """The text of each object of a JSON file `by_element`, with what is wrong with it; read piece by piece."""
    row = 0
    try:
        with io.TextIOWrapper(io.BufferedReader(open_bytes(path)), "utf-8-sig", "surrogateescape") as text:
            for row, (element, value, line, broken) in enumerate(_elements(text)):
                if broken:
                    words = f"expected a list of JSON objects ({broken})"
                    yield element, Fault(table, path.name, f"line {line}", expected=words)
                    continue
                wrong = "expected a JSON object" if not isinstance(value, Mapping) else _unreadable(value)
                wrong = "holds bytes that are not UTF-8; expected UTF-8" if FOREIGN.search(element) else wrong
                shown = None if isinstance(value, Mapping) else value
                yield element, Fault(table, path.name, f"row {row}", value=shown, expected=wrong) if wrong else None
    except (OSError, EOFError, zlib.error) as error:
        words = f"expected a list of JSON objects ({error})"
        yield "", Fault(table, path.name, f"row {row}", expected=words)


def without_elements(path: Path, table: str) -> tuple[Path, list[tuple[int, str, Fault]]]:
    """The file, or a copy without the elements of its list that cannot be read; those with their numbers (from 0)."""
    broken = [(row, text, fault) for row, (text, fault) in enumerate(elements(path, table)) if fault]
    if not broken:
        return path, []
    copy = _beside(path)
    with copy.open("w", encoding="utf-8") as target:
        kept = (text for text, fault in elements(path, table) if not fault)
        first = next(kept, None)
        if first is None:
            raise LogError([fault for _, _, fault in broken])
        target.write("[" + first)
        target.writelines(",\n" + text for text in kept)
        target.write("]")
    return copy, broken


def _elements(text: io.TextIOBase) -> Iterator[tuple[str, object, int, str | None]]:
    """Text, value and line of each element of a JSON list, each as soon as it is there, or why it is none.

    Behind an element that is broken the next one is where an object begins as the others do.
    """
    decoder, size = json.JSONDecoder(object_pairs_hook=_Pairs.of), 1 << 16
    held, line = _after(text.read(size), BLANK, 1)
    listed = held.startswith("[")
    held = held.removeprefix("[")
    indent = re.match(r"\s*", held)[0]  # type: ignore[index]
    between = r"\}\s*," if listed else r"\}\s*?"
    again = re.compile(between + (re.escape(indent) if "\n" in indent else r"\s*") + r"(?=\{)")
    searched, read = 0, 0
    while True:
        held, line = _after(held, BLANK, line)
        if listed and read and held.startswith(","):
            held, line = _after(held[1:], BLANK, line)
            if held.startswith("]"):
                yield ",", None, line, "a comma before the end of the list"
        if not held and (more := text.read(size)):
            held = more
            continue
        if not held:
            if listed:
                yield "", None, line, "the list is not closed"
            return
        if listed and held.startswith("]"):
            behind = (held[1:] + text.read(size)).strip(BLANK)
            if behind:
                yield behind, None, line, f"text behind the end of the list, {quote(behind, 40)}"
            elif not read:
                yield "", None, line, "the list is empty"
            return
        value, end, broken, cut = _first(decoder, held)
        if cut and len(held) <= MOST_CHARACTERS and (more := text.read(max(size, len(held)))):
            held += more
            continue
        if not listed and end == len(held):
            broken = None
        if broken and len(held) > MOST_CHARACTERS:
            broken = f"an element of more than {MOST_CHARACTERS:,} characters"
        while broken and (found := again.search(held, searched)) is None and (more := text.read(size)):
            searched, held = max(0, len(held) - len(indent) - 9), held + more
        if broken:
            end = found.start() + 1 if found else len(held)
        yield held[:end].rstrip(), value, line, broken
        searched, read = 0, read + 1
        line += held.count("\n", 0, end)
        held = held[end:]
        if not held and broken:
            return


def _first(decoder: json.JSONDecoder, held: str) -> tuple[object, int, str | None, bool]:
    """The first value of a text and where it ends, or why there is none; whether more of the text may change that."""
    try:
        value, end = decoder.raw_decode(held)
    except json.JSONDecodeError as error:
        near_end = error.pos > len(held) - 16 or error.msg.startswith("Unterminated")
        return None, 0, f"{error.msg}, {quote(held, 40)}", near_end
    except RecursionError:
        return None, 0, "nested too deep", False
    if end == len(held):
        return value, end, "the list is not closed", True
    return value, end, None, False


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


def faults(path: Path, kind: str, table: str) -> list[Fault]:
    """Everything in a text file that cannot be read."""
    if kind == "jsonl" and by_element(path):
        return [fault for _, fault in elements(path, table) if fault]
    return [fault for _, _, fault in broken_lines(path, kind, table)]


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


def _csv_rows(numbered: Iterator[tuple[int, bytes]], header: Header) -> Iterator[Row]:
    """The rows of a CSV file with their first line: a quoted field may run over several. One that never ends is a line."""
    waiting: deque[tuple[int, bytes]] = deque()
    taken: list[tuple[int, bytes]] = []
    for _ in range(header.before):
        next(numbered, None)

    def lines() -> Iterator[str]:
        while (line := waiting.popleft() if waiting else next(numbered, None)) is not None:
            taken.append(line)
            yield line[1].decode("utf-8", "surrogateescape")

    while True:
        reader = csv.reader(lines(), delimiter=header.delimiter, strict=True)
        try:
            for fields in reader:
                number, row = taken[0][0], b"".join(line for _, line in taken)
                taken.clear()
                wrong = _not_utf8(row)
                if not wrong and fields and len(fields) != len(header.names):
                    text = row.decode("utf-8-sig").strip()
                    wrong = text, f"expected {len(header.names)} fields, found {len(fields)}"
                yield number, row, wrong
            return
        except csv.Error as error:
            number, row = taken[0]
            waiting.extendleft(reversed(taken[1:]))
            taken.clear()
            words = BEHIND_A_QUOTE if "expected after" in str(error) else "the quote is not closed"
            yield number, row, (row.decode("utf-8-sig", "replace").strip(), words)


def _not_utf8(line: bytes) -> tuple[str, str] | None:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        wrong = line[error.start : error.start + 4].decode("latin-1")
        return wrong, f"byte {error.start + 1} of the line is not UTF-8; expected UTF-8"
    return None


def _json_wrong(row: bytes) -> tuple[str, str] | None:
    text = row.decode("utf-8-sig").strip(BLANK)
    if not text:
        return None
    try:
        value = json.loads(text, object_pairs_hook=_Pairs.of)
    except json.JSONDecodeError as error:
        return text, f"expected one JSON object a line ({error.msg}, character {error.colno})"
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list):
        return text, "expected one JSON object a line; a file that is one list is named .json"
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
