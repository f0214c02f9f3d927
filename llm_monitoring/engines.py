"""What engines say differently: the few expressions that Ibis has no common word for, and the one place that runs them."""

from __future__ import annotations

import atexit
import functools
import itertools
import operator
import re
import shutil
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_monitoring import textfiles
from llm_monitoring.errors import Fault, LogError

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd
    import pyarrow as pa


#: One query at a time: neither Ibis nor a connection may be used by two threads at once.
LOCK = threading.RLock()
_unused: deque[tuple[str, str]] = deque()  # kind and name of what nobody holds any more
_numbers = itertools.count()


@functools.cache
def _connection():
    import ibis

    folder = tempfile.mkdtemp(prefix="llm_monitoring-")  # private; what does not fit into memory is written there
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return ibis.duckdb.connect(temp_directory=folder)


def engine():
    """The DuckDB inside the process that reads files and DataFrames; made on first use. Hold `LOCK` while it works."""
    with LOCK:
        return _connection()


def in_memory(table: pa.Table) -> ir.Table:
    """An Arrow table as an Ibis table, forgotten by the engine once nobody holds it."""
    import ibis

    rows = ibis.memtable(table)
    weakref.finalize(rows.op(), _unused.append, ("", rows.get_name()))
    return rows


def in_process(rows: ir.Table) -> bool:
    """Whether rows are read by the DuckDB inside the process, as files and DataFrames are."""
    return _backend(rows) is engine()


def named(rows: ir.Table, copied: bool = False) -> ir.Table:
    """The same rows under a name in the engine, so that a query over them need not spell out what they are made of.

    A view, of which nothing is read; with `copied` a table, so that text files are read and parsed once. It is forgotten
    once nobody holds it. Rows of another engine are given back as they are.
    """
    import duckdb
    import ibis.expr.operations as ops

    with LOCK:
        if not in_process(rows):
            return rows
        backend = engine()
        kind, name = "TABLE" if copied else "VIEW", f"llm_monitoring_{next(_numbers)}"
        backend._register_in_memory_tables(rows)
        try:
            backend.raw_sql(f'CREATE TEMPORARY {kind} "{name}" AS {backend.compile(rows)}')
        except duckdb.Error as error:
            raise _broken_file(error) from error
        there = ops.DatabaseTable(name, schema=rows.schema(), source=backend, namespace=ops.Namespace())
        weakref.finalize(there, _forget, kind, name, None if copied else rows)
        return there.to_expr()


def _forget(kind: str, name: str, rows: ir.Table | None) -> None:
    """Have a view or table forgotten; the rows that a view is made of were held until now."""
    _unused.append((kind, name))


def stored(sql: str) -> ir.Table:
    """What a SELECT of DuckDB's gives, as an Ibis table, nothing loaded."""
    with LOCK:
        return engine().sql(sql)


def fetched(sql: str) -> list[tuple]:
    """The rows of a SELECT of DuckDB's."""
    with LOCK:
        return engine().raw_sql(sql).fetchall()


def name(expr) -> str:
    """Name of the engine that an expression runs on; DataFrames run on the DuckDB inside the process."""
    backends, _ = expr._find_backends()
    return backends[0].name if backends else "duckdb"


def run(expr) -> pa.Table:
    """The rows of an expression, fetched as Arrow; a file that breaks on the way is named, line by line."""
    import duckdb

    with LOCK:
        backend = _backend(expr)
        try:
            found = backend.to_pyarrow(expr)
        except duckdb.Error as error:
            if isinstance(error, duckdb.InternalException | duckdb.FatalException):
                _connection.cache_clear()  # a failure inside the engine leaves it unusable: the next log gets another
                words = f"the engine failed while it read the log ({str(error).splitlines()[0]})"
                raise LogError(Fault("log", expected=words, remedy="Open the log again")) from error
            raise _broken_file(error) from error
        for each in _sources(expr):
            each.add(found)
        return found


def count(rows: ir.Table) -> int:
    """How many rows a table has, counted where it lies."""
    return int(run(rows.aggregate(n=rows.count())).to_pylist()[0]["n"])


def batches(expr, size: int = 50_000) -> Iterator[pa.RecordBatch]:
    """The rows of an expression, `size` or fewer at a time, so that they never stand in memory together.

    Nothing else may be asked of an engine before the last batch is there.
    """
    import duckdb

    with LOCK:
        backend, sources = _backend(expr), _sources(expr)
        try:
            for batch in backend.to_pyarrow_batches(expr, chunk_size=size):
                for each in sources:
                    each.add(batch)
                yield batch
        except duckdb.Error as error:
            raise _broken_file(error) from error


def _backend(expr):
    while _unused:
        kind, name = _unused.popleft()
        if kind:
            engine().raw_sql(f'DROP {kind} IF EXISTS "{name}"')
        else:
            engine().con.unregister(name)
    backends, _ = expr._find_backends()
    return backends[0] if backends else engine()


class Loaded:
    """How many rows, and bytes of Arrow, came out of an engine in answer to queries over a table."""

    def __init__(self) -> None:
        self.rows = self.bytes = 0

    def add(self, found: pa.Table | pa.RecordBatch) -> None:
        self.rows += found.num_rows
        self.bytes += found.nbytes


class Counted:
    """Stored tables and the count of what is loaded of them; they are held, so that no other one gets their identity."""

    def __init__(self, rows: ir.Table):
        self.stored: list = []
        self.loaded = Loaded()
        self.counts_too(rows)

    def counts_too(self, rows: ir.Table) -> None:
        """Count from now on what is loaded of these rows."""
        self.stored.append(rows.op())
        _counted[id(rows.op())] = self


_counted: weakref.WeakValueDictionary[int, Counted] = weakref.WeakValueDictionary()


def _sources(expr) -> list[Loaded]:
    """The counts of the tables that an expression reads."""
    import ibis.expr.operations as ops

    return [kept.loaded for each in expr.op().find(ops.Relation) if (kept := _counted.get(id(each)))]


def _broken_file(error: Exception) -> Exception:
    """What is wrong with the text file that an error of DuckDB names, or with a value; else the error itself."""
    import duckdb

    match = re.search(r'in file "([^"\n]+)"', str(error)) or re.search(r"^\s*file = (.+)$", str(error), re.MULTILINE)
    if not match or not Path(match[1]).is_file():
        if not isinstance(
            error, duckdb.ConversionException | duckdb.OutOfRangeException | duckdb.InvalidInputException
        ):
            return error
        words = f"holds a value that the engine cannot read ({str(error).splitlines()[0]})"
        return LogError(Fault("log", expected=words))
    path = Path(match[1])
    kind = "csv" if ".csv" in path.suffixes else "jsonl"
    found = textfiles.faults(path, kind, path.name.split(".")[0])
    return LogError(found or Fault(path.name, path.name, expected=str(error).splitlines()[0]), len(found) or 1)


def null(kind: str):
    """An unknown value of a kind of the schema."""
    import ibis

    types = {"text": "string", "number": "float64", "time": "timestamp('UTC', 6)", "flag": "boolean", "json": "string"}
    return ibis.null(types[kind])


def parse(text: ir.StringValue, kind: str):
    """The text as another type, null where it is none."""
    return text.try_cast(kind) if name(text) == "duckdb" else text.cast(kind)


def looked_up(text: ir.StringValue, meanings: Mapping[str, str]):
    """What a text means by a table, null where it is not in it; DuckDB looks each value of a packed column up once."""
    import ibis

    if name(text) == "duckdb":
        place = _builtin("list_position", ("array<string>", "string"), "int64")(ibis.array(list(meanings)), text)
        return _builtin("list_extract", ("array<string>", "int64"), "string")(
            ibis.array(list(meanings.values())), place
        )
    return ibis.cases(*[(text == word, meaning) for word, meaning in meanings.items()])


def known(value: ir.FloatingValue):
    """NaN as null: pandas and Polars write NaN where nothing is known."""
    import ibis

    return ibis.ifelse(value.isnan(), ibis.null("float64"), value)


def infinity(sign: int = 1):
    """Infinity as the engines know it, each by its text."""
    import ibis

    return ibis.literal("inf" if sign > 0 else "-inf").cast("float64")


@functools.cache
def _builtin(function: str, takes: tuple[str, ...], gives: str):
    import inspect

    import ibis

    def call(*args):  # pragma: no cover - the engine's own function
        ...

    names = [f"x{i}" for i in range(len(takes))]
    call.__name__ = function
    call.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in names]
    )
    types = tuple(ibis.dtype(kind) for kind in takes)
    return ibis.udf.scalar.builtin(call, name=function, signature=(types, ibis.dtype(gives)))


def instant(naive: ir.TimestampValue, zone: str):
    """A clock time of a zone as the moment it was."""
    if name(naive) == "pyspark":
        return _builtin("to_utc_timestamp", ("timestamp", "string"), "timestamp('UTC')")(naive, zone)
    return _builtin("timezone", ("string", "timestamp"), "timestamp('UTC')")(zone, naive)


def relabel_utc(value: ir.TimestampValue):
    """A moment whose column is labelled with another zone; engines store moments in UTC already."""
    return _builtin("timezone", ("string", "timestamp"), "timestamp('UTC')")("UTC", value.cast("timestamp('UTC')"))


def clock(moment: ir.TimestampValue, zone: str):
    """What the clocks of a zone show at a moment; None where the engine has no word for it."""
    if name(moment) not in ("duckdb", "postgres"):
        return None
    return _builtin("timezone", ("string", "timestamp('UTC')"), "timestamp")(zone, moment)


def decoded(raw: ir.BinaryValue):
    """Bytes as the UTF-8 text that they are; DuckDB writes letters beyond ASCII of a cast as codes."""
    return _builtin("decode", ("binary",), "string")(raw) if name(raw) == "duckdb" else raw.cast("string")


def hashes(value: ir.Value):
    """A number of 64 bits in place of a value, for counting distinct ones in little memory; the value elsewhere."""
    return _builtin("hash", ("string",), "uint64")(value) if name(value) == "duckdb" else value


def moment(value: ir.TimestampValue):
    """The same value, known to Ibis as a moment and not as a clock time."""
    return _builtin("coalesce", ("timestamp",), "timestamp('UTC')")(value)


def microseconds(when: ir.TimestampValue):
    """Whole microseconds since 1970 (whole seconds, rounded down, on engines without a common word for them)."""
    engine = name(when)
    if engine in _MICROSECONDS:
        return _builtin(_MICROSECONDS[engine], ("timestamp('UTC')",), "int64")(when)
    if engine == "snowflake":
        return _builtin("date_part", ("string", "timestamp('UTC')"), "int64")("epoch_microsecond", when)
    if engine == "postgres":
        return (
            (_builtin("date_part", ("string", "timestamp('UTC')"), "float64")("epoch", when) * 1e6)
            .round()
            .cast("int64")
        )
    if engine == "trino":
        return (_builtin("to_unixtime", ("timestamp('UTC')",), "float64")(when) * 1e6).round().cast("int64")
    return when.truncate("s").epoch_seconds().cast("int64") * 1_000_000


def first_microsecond(at: pd.Timestamp) -> int:
    """The first whole microsecond, as `microseconds` counts them, that is not before a moment."""
    return -(-at.as_unit("ns").value // 1000)


_MICROSECONDS = {
    "duckdb": "epoch_us",
    "pyspark": "unix_micros",
    "databricks": "unix_micros",
    "bigquery": "unix_micros",
    "clickhouse": "toUnixTimestamp64Micro",
}


def precision(when: ir.TimestampValue) -> int:
    """Of how many microseconds the moments are that `microseconds` tells apart."""
    return 1 if name(when) in {*_MICROSECONDS, "snowflake", "postgres", "trino"} else 1_000_000


def quantiles(value: ir.NumericValue, shares: Sequence[float]):
    """Exact quantiles by linear interpolation, as a list."""
    import ibis

    engine = name(value)
    if engine in ("duckdb", "postgres", "pyspark", "databricks"):
        return value.quantile(list(shares))
    return ibis.array([quantile(value, share) for share in shares])


def quantile(value: ir.NumericValue, share: float):
    """One exact quantile by linear interpolation; of a sorted list on engines that know sketches alone."""
    engine = name(value)
    if engine in ("duckdb", "postgres", "pyspark", "databricks", "snowflake"):
        return value.quantile(share)
    ordered = value.collect().sort() if engine == "clickhouse" else value.collect(order_by=value)
    place = (value.count() - 1) * share
    below, above = (ordered[end.cast("int64")] for end in (place.floor(), place.ceil()))
    return below + (above - below) * (place - place.floor())


def total(value: ir.NumericValue):
    """The sum of a column in whole billionths, so that it is the same in every order: a parallel sum of doubles is not.

    Exact up to nine million; a larger sum is as good as one of doubles.
    """
    return (value * 1e9).round(0).sum() / 1e9


def exact_total(value: ir.NumericValue):
    """The sum of a column in whole trillionths by decimals of 38 digits: slower than `total`, and exact to 10^26."""
    return value.cast("decimal(38, 12)").sum().cast("float64")


def whole_parts(number: ir.IntegerValue, size: int):
    """How many whole times a number (0 or more) holds `size`; whole numbers throughout where the engine has the word."""
    if name(number) == "duckdb":
        return _builtin("divide", ("int64", "int64"), "int64")(number, size)
    return (number // size).cast("int64")


def from_microseconds(number: ir.IntegerValue):
    """The moment so many microseconds after 1970."""
    if name(number) == "duckdb":
        return instant(_builtin("make_timestamp", ("int64",), "timestamp")(number), "UTC")
    return number.as_timestamp("us").cast("timestamp('UTC')")


def json_text(value: ir.Value):
    """A struct, map, list or JSON value as JSON text."""
    if value.type().is_json():
        whole = value.cast("string")
        return (
            _builtin("json_extract_string", ("string", "string"), "string")(whole, "$")
            if name(value) == "duckdb"
            else whole
        )
    if name(value) in ("duckdb", "pyspark"):
        return _builtin("to_json", (str(value.type()),), "string")(value)
    return value.cast("json").cast("string")


def is_json(text: ir.StringValue, kind: str = "OBJECT"):
    """Whether a text holds a JSON object, or an ARRAY (on engines other than DuckDB: whether it looks like one)."""
    import ibis

    if name(text) != "duckdb":
        return text.re_search(r"^\s*\{.*\}\s*$" if kind == "OBJECT" else r"^\s*\[.*\]\s*$")
    valid = _builtin("json_valid", ("string",), "boolean")(text)
    found = _builtin("json_type", ("string",), "string")(text)
    return ibis.ifelse(valid, found == kind, False)


def json_values_outside(text: ir.StringValue, low, high):
    """Whether a JSON object holds anything but nulls and numbers from `low` to `high`; None where the engine cannot say."""
    import ibis

    if name(text) != "duckdb":
        return None
    safe = ibis.ifelse(is_json(text), text, ibis.null("string"))
    numbers = safe.cast("json").try_cast("map<string, float64>")
    values = numbers.values()
    unreadable = safe.notnull() & (numbers.isnull() | safe.re_search(r':\s*["\[{tf]'))
    return unreadable | (values.mins() < low) | (values.maxs() > high)


def json_number(text: ir.StringValue, key: str):
    """The number under a key of a JSON object, null where there is none."""
    if name(text) == "duckdb":
        return _builtin("json_extract_string", ("string", "string"), "string")(text, json_path(key)).try_cast("float64")
    return text.cast("json")[key].cast("string").nullif("null").cast("float64")


def json_path(key: str) -> str:
    """A key as a path of DuckDB's JSON functions, whatever letters it has."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def buckets(rows: ir.Table, column: str) -> ir.Table:
    """The rows with ``_bucket``, ``int(sha256(column), 16) % 100000``, folded four bytes at a time.

    The digest is a column of an inner query, so that the engine computes it once a row and not once a chunk.
    """
    import ibis

    engine = name(rows)
    hashed = rows.mutate(_digest=_sha256(rows[column]))
    if engine == "postgres":  # it would put the digest back into every chunk; a limit keeps it in its place
        hashed = hashed.limit(2**62)
    chunk = _four_bytes if engine == "postgres" else _eight_digits
    left = None
    for i in range(8):
        number = chunk(hashed["_digest"], i)
        left = (number if left is None else left * ibis.literal(2**32, "int64") + number) % 100_000
    return hashed.mutate(_bucket=left).drop("_digest")


def _sha256(text: ir.StringValue):
    """The SHA-256 of a text's UTF-8 bytes: in hex, on PostgreSQL as bytes."""
    engine, digest = name(text), _builtin("sha256", ("binary",), "binary")
    if engine == "postgres":
        return digest(_builtin("convert_to", ("string", "string"), "binary")(text, "UTF8"))
    if engine == "snowflake":
        return _builtin("sha2", ("string", "int32"), "string")(text, 256)
    if engine == "bigquery":
        return _builtin("to_hex", ("binary",), "string")(_builtin("sha256", ("string",), "binary")(text))
    if engine == "trino":
        raw = digest(_builtin("to_utf8", ("string",), "binary")(text))
        return _builtin("to_hex", ("binary",), "string")(raw).lower()
    if engine == "clickhouse":
        raw = _builtin("SHA256", ("string",), "binary")(text)
        return _builtin("hex", ("binary",), "string")(raw).lower()
    return text.hexdigest("sha256")


def _four_bytes(digest: ir.BinaryValue, i: int):
    """The i-th four bytes as a number."""
    byte = _builtin("get_byte", ("binary", "int32"), "int32")
    bytes_ = [byte(digest, 4 * i + k).cast("int64") for k in range(4)]
    return functools.reduce(lambda number, each: number * 256 + each, bytes_)


def _eight_digits(digest: ir.StringValue, i: int):
    """The i-th eight hex digits as a number."""
    import ibis

    digits = digest.substr(8 * i, 8)
    engine = name(digits)
    if engine in ("duckdb", "bigquery"):
        return (ibis.literal("0x") + digits).cast("int64")
    if engine == "trino":
        return _builtin("from_base", ("string", "int32"), "int64")(digits, 16)
    if engine in ("pyspark", "databricks"):
        return _builtin("conv", ("string", "int32", "int32"), "string")(digits, 16, 10).cast("int64")
    alphabet = ibis.literal("0123456789abcdef")
    places = [alphabet.find(digits.substr(k, 1)).cast("int32").cast("int64") * 16 ** (7 - k) for k in range(8)]
    return functools.reduce(operator.add, places)
