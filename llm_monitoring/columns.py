"""One column of a table read by its kind: the clean value, the rules that a row may break, and what was mended.

A rule is a Boolean expression that is true where a row breaks it, so that one query counts all of them together, and
a measurement can count those that matter to it in its own scan. A value that was there and cannot be read is always a
fault, unless a rule of docs/log.md makes it null; each such rule is a notice with its count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_monitoring import engines, times
from llm_monitoring.errors import Fault, LogError
from llm_monitoring.measures import NO_ERROR
from llm_monitoring.schema import Column
from llm_monitoring.times import UNITS

if TYPE_CHECKING:
    import ibis.expr.types as ir

QUARANTINE = 'on_error="quarantine" sets such rows aside'
UNIT = "unit"  # a remedy that depends on the number: which unit would make it a time
LISTED = ("feature_id", "category", "model_id", "prompt_version")
SOME_ERROR = ("true", "1", "yes")
UNKNOWN = ("na", "n/a", "<na>", "null", "none", "nil", "-", "--", "unknown", "\\n")
DECIMAL_COMMA = r"^\s*[+-]?(\d+,(\d{1,2}|\d{4,})|0,\d+)\s*$"  # 1,250 may be a thousand: that is refused
TIME_RANGE = f"expected a time between {times.EARLIEST[:4]} and {times.LATEST[:4]}"


@dataclass(frozen=True)
class Options:
    """What the caller said: the zone of naive times, the unit of bare numbers, the scales of judges."""

    tz: str | None = None
    timestamp_unit: str | None = None
    scales: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """One way in which a row can be wrong: where `bad` is true, `shown` is the value to quote.

    `named` are values of the row that stand in `expected` and `remedy` as ``{name}``; a row that breaks the rule spoils
    figures over `column` and over the columns of `spoils`.
    """

    column: str
    bad: ir.BooleanValue
    shown: ir.Value
    expected: str
    remedy: str = QUARANTINE
    named: Mapping[str, ir.Value] = field(default_factory=dict)
    spoils: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mended:
    """Values that were read as something else by a rule of docs/log.md: `where`, and the rule in words."""

    column: str
    where: ir.BooleanValue
    words: str


@dataclass
class Read:
    """A column that was read."""

    value: ir.Value
    rules: list[Rule] = field(default_factory=list)
    mended: list[Mended] = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    """A column to be read: what the schema says of it, its raw values, the options, and the words for its source.

    `call` is how the caller names the source in `open_log`; `first` finds the first known value with file and place.
    """

    column: Column
    raw: ir.Value
    options: Options
    table: str
    label: str
    call: str
    first: Callable[[str], tuple]

    @property
    def name(self) -> str:
        return self.column.name

    def wrong_type(self, words: str) -> LogError:
        expected = f"holds {self.raw.type()}; expected {words}"
        return LogError(Fault(self.table, self.label, column=self.name, expected=expected))


def read(asked: Asked) -> Read:
    """Read a column by its kind.

    Raises
    ------
    LogError
        Where the column holds another kind of value.
    """
    if asked.name == "error":
        return _error(asked)
    readers = {"text": _text, "number": _number, "time": _time, "flag": _flag, "json": _json}
    return readers[asked.column.kind](asked)


def _plain_text(raw: ir.Value) -> ir.StringValue:
    """Any value as text; whole numbers without a point, so that an id is the same in every file."""
    import ibis

    kind = raw.type()
    if kind.is_string():
        return raw
    if kind.is_binary():
        return engines.decoded(raw)
    if kind.is_struct() or kind.is_map() or kind.is_array():
        return engines.json_text(raw)
    if kind.is_floating():
        small = ibis.ifelse(raw.abs() < 2**53, raw, ibis.null(kind))
        number = ibis.ifelse(small == small.floor(), small, ibis.null(kind)).cast("int64").cast("string")
        return ibis.ifelse(raw.isnan(), ibis.null("string"), ibis.coalesce(number, raw.cast("string")))
    return raw.cast("string")


def _text(asked: Asked) -> Read:
    import ibis

    column, raw = asked.column, asked.raw
    scope = asked.table == "changes" and column.name in LISTED
    value = joined(raw) if scope else _plain_text(raw)
    read = Read(value, mended=_not_a_number(asked))
    if scope:
        empty = raw.notnull() & value.isnull()
        read.mended.append(Mended(column.name, empty, "an empty list or text read as all"))
    if not column.nullable:
        empty = value.isnull() | (value == "")
        expected = f"expected a {'text' if not column.choices else 'value'} in every row"
        read.rules.append(Rule(column.name, empty, value, expected))
    if column.choices and column.nullable:
        blank = value.strip() == ""
        read.mended.append(Mended(column.name, blank, "empty text read as unknown"))
        read.value = value = ibis.ifelse(blank, ibis.null("string"), value)
    if column.name == "finish_reason":
        return read
    if column.choices:
        other = value.notnull() & value.notin(column.choices)
        read.rules.append(Rule(column.name, other, value, column.expected))
    return read


def joined(raw: ir.Value) -> ir.StringValue:
    """Several values of a scope as one text with commas between them, whether they are a list, a JSON list or such a text."""
    import ibis

    if raw.type().is_array():
        return raw.cast("array<string>").join(",").nullif("")
    text = _plain_text(raw)
    if not raw.type().is_string() or engines.name(raw) != "duckdb":
        return text.nullif("")
    written = ibis.ifelse(engines.is_json(text, "ARRAY"), text, ibis.null("string"))
    values = written.cast("json").try_cast("array<string>")
    return ibis.ifelse(values.notnull(), values.join(","), text).nullif("")  # of an empty list DuckDB 1.3 joins null


def _not_a_number(asked: Asked) -> list[Mended]:
    if not asked.raw.type().is_floating():
        return []
    return [Mended(asked.name, asked.raw.isnan().fill_null(False), "NaN read as unknown")]


def _error(asked: Asked) -> Read:
    """A message, or a flag in its place: false, 0, no, none, null, nan or nothing is no error, true, 1, yes is one."""
    import ibis

    raw = asked.raw
    if raw.type().is_null():
        return Read(engines.null("text"))
    text = _plain_text(raw)
    word = text.strip().lower()
    none, some = word.isin(NO_ERROR), word.isin(SOME_ERROR)
    if raw.type().is_struct():  # of which some writers make one with nothing in it where there is none
        none = none | word.re_search(r'^[{]("[^"]*":null,?)*[}]$')
    value = ibis.cases((none, ibis.null("string")), (some, "error"), else_=text)
    words = "flags in place of a message"
    return Read(value, mended=[Mended(asked.name, none | some, words), *_not_a_number(asked)])


def _number(asked: Asked) -> Read:
    import ibis

    column, raw = asked.column, asked.raw
    kind = raw.type()
    if kind.is_null():
        return Read(engines.null("number"))
    read = Read(raw)
    if kind.is_string() or kind.is_json():
        text = raw.cast("string").re_replace('^"|"$', "") if kind.is_json() else raw
        comma = text.re_search(DECIMAL_COMMA).fill_null(False)
        number = engines.parse(ibis.ifelse(comma, text.replace(",", "."), text), "float64")
        unread = text.notnull() & number.isnull() & (text.strip() != "")
        read.rules.append(Rule(column.name, unread, text, column.expected))
        read.mended.append(Mended(column.name, text.strip() == "", "empty text read as unknown"))
        read.mended.append(Mended(column.name, comma, "decimal commas read as points"))
        read.mended.append(Mended(column.name, number.isnan().fill_null(False), "NaN read as unknown"))
    elif kind.is_numeric() and not kind.is_boolean():
        number = raw if kind.is_float64() else raw.cast("float64")
        read.mended += _not_a_number(asked)
    else:
        raise asked.wrong_type("numbers")
    read.value = number if kind.is_integer() else engines.known(number)
    read.rules.append(Rule(column.name, _outside(column, number), raw, column.expected))
    return read


def _outside(column: Column, value: ir.FloatingValue) -> ir.BooleanValue:
    """Where a number is out of the column's range; asked of it as stored, since NaN costs less there."""
    if column.low is None:
        low = value == engines.infinity(-1)
    else:
        low = value <= column.low if column.open else value < column.low
    high = value == engines.infinity() if column.high is None else engines.known(value) > column.high
    return low | high


def _time(asked: Asked) -> Read:
    import ibis

    column, raw, options = asked.column, asked.raw, asked.options
    kind, remedy = raw.type(), QUARANTINE
    if kind.is_null():
        return Read(engines.null("time"), _every_row(column, raw))
    if kind.is_string() or kind.is_json():
        read = _time_of_text(asked, raw.cast("string").re_replace('^"|"$', "") if kind.is_json() else raw)
    elif kind.is_timestamp() and kind.timezone is not None:
        read = Read(raw if kind.timezone == "UTC" else engines.relabel_utc(raw))
    elif kind.is_timestamp() or kind.is_date():
        if options.tz is None:
            raise LogError(_naive(asked))
        read = _of_clock(asked, raw, raw.cast("timestamp"), options.tz)
    elif kind.is_numeric() and not kind.is_boolean():
        if options.timestamp_unit is None:
            raise LogError(_bare(asked))
        remedy = UNIT
        read = Read(times.of_number(raw, options.timestamp_unit))
        unread = raw.notnull() & read.value.isnull()
        read.rules.append(Rule(column.name, unread, raw, TIME_RANGE, UNIT))
    else:
        raise asked.wrong_type("times")
    first, last = (ibis.timestamp(day, timezone="UTC") for day in (times.EARLIEST, times.LATEST))
    outside = read.value.notnull() & ((read.value < first) | (read.value >= last))
    read.rules += [*_every_row(column, raw), Rule(column.name, outside, raw, TIME_RANGE, remedy)]
    return read


def _every_row(column: Column, raw: ir.Value) -> list[Rule]:
    if column.nullable:
        return []
    missing = raw.isnull() if not raw.type().is_string() else raw.isnull() | (raw.strip() == "")
    return [Rule(column.name, missing, raw, "expected a time in every row")]


def _of_clock(asked: Asked, raw: ir.Value, naive: ir.TimestampValue, tz: Any) -> Read:
    """Clock times of a zone: those that never were are faults, those that were twice are read with a notice."""
    read = Read(engines.instant(naive, tz))
    never, twice = (rule(read.value, naive, tz) for rule in (times.skipped, times.doubled))
    zone = tz if isinstance(tz, str) else "its zone"
    if never is not None and twice is not None:
        words = f"expected a time that the clocks of {zone} showed (they went forward over this one)"
        read.rules.append(Rule(asked.name, never, raw, words))
        words = f"times that the clocks of {zone} showed twice, as they went back, read as the second of the two"
        read.mended.append(Mended(asked.name, twice, words))
    return read


def _time_of_text(asked: Asked, raw: ir.StringValue) -> Read:
    import ibis

    name, options = asked.name, asked.options
    text = times.tidy(raw)
    zoned, bare, plain, other = times.kinds_of_text(text)
    value, naive = engines.parse(text, "timestamp('UTC')"), engines.parse(text, "timestamp")
    read = Read(value)
    branches = [(zoned, value)]
    if options.tz:
        local = _of_clock(asked, raw, ibis.ifelse(plain, naive, ibis.null("timestamp")), options.tz)
        read.rules, read.mended = local.rules, local.mended
        branches.append((plain, local.value))
    else:
        remedy = f'Name it: open_log({asked.call}, tz="Europe/Berlin")'
        read.rules.append(Rule(name, plain & naive.notnull(), raw, "has no time zone", remedy))
    if options.timestamp_unit:
        number = times.of_number(engines.parse(text, "float64"), options.timestamp_unit)
        branches.append((bare, number))
        read.rules.append(Rule(name, bare & number.isnull(), raw, TIME_RANGE, UNIT))
    else:
        read.rules.append(Rule(name, bare, raw, "is a bare number", f"{UNIT} {asked.call}"))
    read.value = ibis.cases(*branches)
    if asked.column.nullable:
        read.mended.append(Mended(name, text == "", "empty text read as unknown"))
    unread = (zoned & read.value.isnull()) | (plain & naive.isnull()) | other
    read.rules.append(Rule(name, unread, raw, "expected a time such as 2026-05-12T09:31:07Z"))
    _named_zones(asked, raw, text, read)
    return read


def _named_zones(asked: Asked, raw: ir.StringValue, text: ir.StringValue, read: Read) -> None:
    """Times that name their zone by its city go by its clocks, as those under `tz` do."""
    if engines.name(raw) != "duckdb":
        return
    city = times.named_zone(text)
    naive = engines.parse(text.re_replace(r" [A-Za-z_]+(/[A-Za-z0-9_+-]+)+$", ""), "timestamp")
    known = city.notnull() & read.value.notnull()
    never, twice = (known & rule(read.value, naive, city) for rule in (times.skipped, times.doubled))
    words = "expected a time that the clocks of its zone showed (they went forward over this one)"
    read.rules.append(Rule(asked.name, never, raw, words))
    words = "times that the clocks of their zone showed twice, as they went back, read as the second of the two"
    read.mended.append(Mended(asked.name, twice, words))


def _naive(asked: Asked) -> Fault:
    value, file, place = asked.first(asked.name)
    remedy = f'Name it: open_log({asked.call}, tz="Europe/Berlin")'
    return Fault(asked.table, file, place, asked.name, value, "has no time zone", remedy)


def _bare(asked: Asked) -> Fault:
    value, file, place = asked.first(asked.name)
    remedy = in_words(f"{UNIT} {asked.call}", value, "time")
    return Fault(asked.table, file, place, asked.name, as_number(value), "is a bare number", remedy)


def _flag(asked: Asked) -> Read:
    import ibis

    column, raw = asked.column, asked.raw
    kind = raw.type()
    if kind.is_boolean():
        return Read(raw)
    if kind.is_null():
        return Read(ibis.null("boolean"))
    if kind.is_floating():  # how pandas stores a column of flags of which none is known
        return Read(ibis.null("boolean"), [Rule(column.name, engines.known(raw).notnull(), raw, column.expected)])
    if not (kind.is_string() or kind.is_json()):
        raise asked.wrong_type("true or false")
    stored = raw.cast("string")
    text = stored.re_replace('^"|"$', "").strip().lower() if kind.is_json() else raw.strip().lower()
    value = ibis.cases((text == "true", True), (text == "false", False))
    wrong = text.notnull() & text.notin(("true", "false", "") if kind.is_string() else ("true", "false"))
    as_text = stored.startswith('"') if kind.is_json() else text.notnull()
    mended = [Mended(column.name, as_text & ~wrong, "text read as true or false")]
    return Read(value, [Rule(column.name, wrong, raw, column.expected)], mended)


def _json(asked: Asked) -> Read:
    import ibis

    raw = asked.raw
    if raw.type().is_null():
        return Read(engines.null("json"))
    value = raw if raw.type().is_string() else engines.json_text(raw)
    blank = value.strip() == ""
    wrong = value.notnull() & ~blank & ~engines.is_json(value).fill_null(False)
    mended = [Mended(asked.name, blank, "empty text read as unknown")]
    return Read(
        ibis.ifelse(blank, ibis.null("string"), value), [Rule(asked.name, wrong, value, asked.column.expected)], mended
    )


def as_number(text: str | None) -> object:
    """The text as the number that it is, so that an error quotes -5.0 and not '-5.0'; whole above a million, as moments are."""
    try:
        number = text if text is None or text.strip() != text else float(text)
    except ValueError:
        return text
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) > 1e6 else number


def in_words(remedy: str, shown: str | None, kind: str) -> str:
    """The remedy in words; of a number that is no time as it was read, the unit that would make it one."""
    word = "" if shown is None else shown.strip()
    if kind == "number" and "," in word and word.replace(",", "", 1).lstrip("-").isdigit():
        return "Write it with a decimal point, and without a separator of thousands"
    if kind == "number" and word.lower() in UNKNOWN:
        return "Leave the field empty where it is unknown"
    if kind == "json" and word.startswith("{'"):
        return "Write it as JSON, with json.dumps"
    if not remedy.startswith(UNIT):
        return remedy
    call, found = remedy.removeprefix(UNIT).strip(), _unit(shown)
    if call:
        unit, when = found or ("s", "")
        return f'Name its unit: open_log({call}, timestamp_unit="{unit}")' + (f" makes it {when}" if when else "")
    return QUARANTINE if found is None else f'timestamp_unit="{found[0]}" would make it {found[1]}'


def _unit(shown: str | None) -> tuple[str, str] | None:
    """The unit in which a number is a time of this century, and that time."""
    from datetime import UTC, datetime

    value = as_number(shown)
    if not isinstance(value, float | int):
        return None
    for unit, factor in UNITS.items():
        if 946_684_800 <= value * factor / 1e6 <= 4_102_444_800:
            return unit, f"{datetime.fromtimestamp(value * factor / 1e6, UTC):%Y-%m-%d %H:%M}"
    return None
