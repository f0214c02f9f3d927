"""The rules of `schema` as expressions: raw columns -> clean columns, faults counted in one pass, bad rows found.

A rule is a Boolean expression that is true where a row breaks it, so that one query counts all of them together, and
a measurement can count those that matter to it in its own scan.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_monitoring import engines
from llm_monitoring.errors import SHOWN, Fault, LogError
from llm_monitoring.schema import FINISH_REASON_MAP, FINISH_REASONS, Column
from llm_monitoring.sources import RawTable

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": 0.001}
EARLIEST, LATEST = "2000-01-01", "2100-01-01"
QUARANTINE = 'on_error="quarantine" sets such rows aside'


@dataclass(frozen=True)
class Options:
    """What the caller said about times: the zone of naive ones, the unit of bare numbers."""

    tz: str | None = None
    timestamp_unit: str | None = None


@dataclass(frozen=True)
class Rule:
    """One way in which a row can be wrong: where `bad` is true, `shown` is the value to quote."""

    column: str
    bad: ir.BooleanValue
    shown: ir.Value
    expected: str
    remedy: str = QUARANTINE


@dataclass(frozen=True)
class Reading:
    """A raw table read by the schema: the clean columns, the rules broken or kept, and what was mended on the way."""

    raw: RawTable
    rows: ir.Table
    options: Options
    strict: bool
    values: dict[str, ir.Value] = field(default_factory=dict)
    rules: list[Rule] = field(default_factory=list)
    mended: list[tuple[str, ir.BooleanValue, str]] = field(default_factory=list)

    def clean(self, **extra: ir.Value) -> ir.Table:
        """All rows with the columns of the schema first, the table's own ones after them."""
        own = [name for name in self.rows.columns if name not in self.values]
        return self.rows.select(**self.values, **{name: self.rows[name] for name in own}, **extra)

    def bad(self, columns: set[str] | None = None) -> ir.BooleanValue:
        """Where any rule (about one of `columns`, where given) is broken."""
        import ibis

        asked = [rule.bad for rule in self.rules if columns is None or rule.column in columns]
        return ibis.or_(*asked).fill_null(False) if asked else ibis.literal(False)


def read(raw: RawTable, options: Options = Options(), strict: bool = True, rows: ir.Table | None = None) -> Reading:
    """Read a raw table by its schema.

    Parameters
    ----------
    raw : RawTable
    options : Options
    strict : bool
        Whether a required column that is missing is a fault (else it is unknown in every row).
    rows : Ibis table, optional
        Other rows of the same columns, such as ``raw.located()``.

    Raises
    ------
    LogError
        For every column that is missing or holds another kind of value.
    """
    rows = raw.rows if rows is None else rows
    reading = Reading(raw, rows, options, strict)
    faults = []
    for column in raw.schema.columns:
        if column.name not in rows.columns:
            if column.required and strict:
                there = ", ".join(name for name in rows.columns if name[0] != "_")
                faults.append(
                    Fault(
                        raw.schema.name,
                        raw.label,
                        column=column.name,
                        expected=f"this column must be there; found {there}",
                    )
                )
            reading.values[column.name] = engines.null(column.kind)
            continue
        try:
            _READERS[column.kind](reading, column, rows[column.name], options)
        except LogError as error:
            faults.extend(error.faults)
    if faults:
        raise LogError(faults)
    _finish_reason(reading)
    return reading


def counts(reading: Reading) -> dict[str, Any]:
    """Rows, broken rules, mended values, repeated keys and a few plausibility figures, by one query."""
    schema = reading.raw.schema
    asked = {f"rule_{i}": rule.bad.fill_null(False).sum() for i, rule in enumerate(reading.rules)}
    asked |= {f"mended_{i}": where.fill_null(False).sum() for i, (_, where, _) in enumerate(reading.mended)}
    asked["rows"] = reading.rows.count()
    if schema.unique and schema.unique in reading.rows.columns:
        asked["distinct"] = reading.values[schema.unique].nunique()
        asked["known"] = reading.values[schema.unique].count()
    if schema.time in reading.rows.columns:
        asked["last"] = reading.values[schema.time].max()
    if "latency_ms" in reading.rows.columns:
        asked["latency_mean"] = reading.values["latency_ms"].mean()
        asked["latency_max"] = reading.values["latency_ms"].max()
    if reading.raw.format == "csv":  # a field too many is met by the engine only where it reads the last column
        asked["whole"] = reading.rows[reading.rows.columns[-1]].count()
    return engines.run(reading.rows.aggregate(**asked)).to_pylist()[0]


def faults(reading: Reading, found: dict[str, Any]) -> tuple[list[Fault], int]:
    """The first faults in the order of the rows, and how many there are in all."""
    broken = [i for i in range(len(reading.rules)) if found[f"rule_{i}"]]
    doubled = repeated(found)
    total = sum(found[f"rule_{i}"] for i in broken) + doubled
    if not total:
        return [], 0
    located = read(reading.raw, reading.options, reading.strict, reading.raw.located())
    key = located.raw.schema.columns[0].name
    listed = []
    for i in broken:
        rule = located.rules[i]
        listed += _rows_where(located, rule.bad.fill_null(False), rule.shown, key, rule)
    if doubled:
        unique = str(reading.raw.schema.unique)
        rule = Rule(unique, again(located), located.values[unique], f"expected each {unique} once")
        listed += _rows_where(located, rule.bad, rule.shown, key, rule)
    listed.sort(key=lambda item: item[0])
    return [fault for _, fault in listed[:SHOWN]], total


def repeated(found: dict[str, Any]) -> int:
    """How many rows repeat a key that must be unique."""
    return (found.get("known") or 0) - (found.get("distinct") or 0)


def again(reading: Reading) -> ir.BooleanValue:
    """Where a row repeats the unique key of an earlier row."""
    import ibis

    key = reading.values[str(reading.raw.schema.unique)]
    order = [reading.rows[name] for name in ("_file", "_row") if name in reading.rows.columns]
    order = order if reading.raw.format != "database" else [reading.values[reading.raw.schema.time]]
    window = ibis.window(group_by=key, order_by=order)
    return (ibis.row_number().over(window) > 0) & key.notnull()


def _rows_where(located: Reading, bad, shown, key: str, rule: Rule) -> list[tuple[tuple, Fault]]:
    import ibis

    text = shown.cast("string")
    name = located.values[key].cast("string") if key in located.values else ibis.null("string")
    rows = located.rows.select(_file=located.rows["_file"], _row=located.rows["_row"], _shown=text, _key=name, _bad=bad)
    rows = rows.filter(rows["_bad"]).order_by(["_file", "_row"]).limit(SHOWN)
    listed = []
    found = engines.run(rows).to_pylist()
    for row, (file, place) in zip(found, located.raw.places((row["_file"], row["_row"]) for row in found)):
        place = place or (f"{key} {row['_key']!r}" if row["_key"] and rule.column != key else None)
        kind = located.raw.schema[rule.column].kind if rule.column in located.raw.schema.names else "text"
        value = _number(row["_shown"]) if kind in ("number", "time") else row["_shown"]
        expected = rule.expected if value is not None else rule.expected.replace("expected", "is null; expected", 1)
        fault = Fault(located.raw.schema.name, file, place, rule.column, value, expected, _remedy(rule, row["_shown"]))
        listed.append(((str(row["_file"]), row["_row"] or 0, rule.column), fault))
    return listed


def _number(text: str | None) -> object:
    """The text as the number that it is, so that an error quotes -5.0 and not '-5.0'; whole above a million, as moments are."""
    try:
        number = text if text is None or text.strip() != text else float(text)
    except ValueError:
        return text
    return int(number) if isinstance(number, float) and number.is_integer() and abs(number) > 1e6 else number


def _remedy(rule: Rule, shown: str | None) -> str:
    """The remedy in words; of a number that is no time as it was read, the unit that would make it one."""
    if not rule.remedy.startswith("unit"):
        return rule.remedy
    call, found = rule.remedy.removeprefix("unit").strip(), _unit(shown)
    if call:
        unit, when = found or ("s", "")
        return f'Name its unit: open_log({call}, timestamp_unit="{unit}")' + (f" makes it {when}" if when else "")
    return QUARANTINE if found is None else f'timestamp_unit="{found[0]}" would make it {found[1]}'


def _unit(shown: str | None) -> tuple[str, str] | None:
    """The unit in which a number is a time of this century, and that time."""
    from datetime import UTC, datetime

    value = _number(shown)
    if not isinstance(value, float | int):
        return None
    for unit, factor in UNITS.items():
        if 946_684_800 <= value * factor / 1e6 <= 4_102_444_800:
            return unit, f"{datetime.fromtimestamp(value * factor / 1e6, UTC):%Y-%m-%d %H:%M}"
    return None


def _text(reading: Reading, column: Column, raw: ir.Value, options: Options) -> None:
    kind = raw.type()
    if kind.is_array() and column.name in ("feature_id", "category", "model_id", "prompt_version"):
        value = raw.cast("array<string>").join(",")
    elif kind.is_struct() or kind.is_map() or kind.is_array():
        value = engines.json_text(raw)
    else:
        value = raw if kind.is_string() else raw.cast("string")
    reading.values[column.name] = value
    if column.name == "finish_reason":
        return
    if column.name == "error":
        reading.mended.append((column.name, value == "", "empty text read as no error"))
        reading.values[column.name] = value.nullif("")
    if not column.nullable:
        empty = value.isnull() | (value == "")
        reading.rules.append(
            Rule(column.name, empty, value, f"expected a {'text' if not column.choices else 'value'} in every row")
        )
    if column.choices:
        reading.rules.append(Rule(column.name, value.notnull() & value.notin(column.choices), value, column.expected))


def _numeric(reading: Reading, column: Column, raw: ir.Value, options: Options) -> None:
    import ibis

    kind = raw.type()
    if kind.is_string() or kind.is_json():
        text = raw.cast("string").re_replace('^"|"$', "") if kind.is_json() else raw
        value = engines.parse(text, "float64")
        wrong = raw.notnull() & value.isnull() & (text.strip() != "")
        reading.rules.append(Rule(column.name, wrong, text, column.expected))
    elif kind.is_numeric() and not kind.is_boolean():
        value = raw.cast("float64") if not kind.is_float64() else raw
    elif kind.is_null():
        value = ibis.null("float64")
    else:
        raise LogError(_type_fault(reading, column, kind, "numbers"))
    low = value == engines.infinity(-1) if column.low is None else value < column.low
    high = value == engines.infinity() if column.high is None else engines.known(value) > column.high
    bad = low | high  # on the number as it is stored: NaN is neither, and it costs less than on the known ones
    reading.values[column.name] = value if kind.is_integer() else engines.known(value)
    reading.rules.append(Rule(column.name, bad, raw, column.expected))


def _type_fault(reading: Reading, column: Column, kind, words: str) -> Fault:
    label = reading.raw.label
    return Fault(reading.raw.schema.name, label, column=column.name, expected=f"holds {kind}; expected {words}")


def _time(reading: Reading, column: Column, raw: ir.Value, options: Options) -> None:
    import ibis

    kind = raw.type()
    remedy, shown = QUARANTINE, raw
    if kind.is_string() or kind.is_json():
        value = _time_of_text(
            reading, column, raw.cast("string").re_replace('^"|"$', "") if kind.is_json() else raw, options
        )
    elif kind.is_timestamp() and kind.timezone is not None:
        value = raw if kind.timezone == "UTC" else engines.relabel_utc(raw)
    elif kind.is_timestamp() or kind.is_date():
        if options.tz is None:
            raise LogError(_naive_fault(reading, column, raw.cast("string")))
        value = engines.instant(raw.cast("timestamp"), options.tz)
    elif kind.is_numeric() and not kind.is_boolean():
        if options.timestamp_unit is None:
            raise LogError(_unit_fault(reading, column, raw))
        value, remedy = _time_of_number(raw, options.timestamp_unit), "unit"
        reading.rules.append(
            Rule(column.name, raw.notnull() & value.isnull(), raw, "expected a time between 2000 and 2100", remedy)
        )
    elif kind.is_null():
        value = engines.null("time")
    else:
        raise LogError(_type_fault(reading, column, kind, "times"))
    reading.values[column.name] = value
    if not column.nullable:
        missing = raw.isnull() if not kind.is_string() else raw.isnull() | (raw.strip() == "")
        reading.rules.append(Rule(column.name, missing, shown, "expected a time in every row"))
    first, last = (ibis.timestamp(day, timezone="UTC") for day in (EARLIEST, LATEST))
    outside = value.notnull() & ((value < first) | (value >= last))
    reading.rules.append(Rule(column.name, outside, shown, "expected a time between 2000 and 2100", remedy))


def _time_of_text(reading: Reading, column: Column, raw: ir.StringValue, options: Options) -> ir.Value:
    import ibis

    raw = raw.re_replace(r"([T ]\d{2}:\d{2})(Z|[+-]\d|$)", r"\1:00\2")  # engines want the seconds
    zoned = raw.re_search(r"\d{2}:\d{2}.*(Z|z| ?UTC|[+-]\d{2}(:?\d{2})?)$").fill_null(False)
    bare = raw.re_search(r"^\s*-?\d+(\.\d+)?(e\+?\d+)?\s*$").fill_null(False)
    plain = raw.notnull() & (raw.strip() != "") & ~zoned & ~bare
    name = reading.raw.call
    value = engines.parse(raw, "timestamp('UTC')")
    if options.tz:
        naive = engines.instant(engines.parse(raw, "timestamp"), options.tz)
        readable = ibis.cases((zoned, value), (plain, naive))
    else:
        readable = ibis.cases((zoned, value))
        remedy = f'Name it: open_log({name}, tz="Europe/Berlin")'
        parsed = engines.parse(raw, "timestamp").notnull()
        reading.rules.append(Rule(column.name, plain & parsed, raw, "has no time zone", remedy))
    if options.timestamp_unit:
        number = _time_of_number(engines.parse(raw, "float64"), options.timestamp_unit)
        readable = ibis.ifelse(bare, number, readable)
        reading.rules.append(
            Rule(column.name, bare & number.isnull(), raw, "expected a time between 2000 and 2100", "unit")
        )
    else:
        reading.rules.append(Rule(column.name, bare, raw, "is a bare number", f"unit {name}"))
    unreadable = (zoned | plain) & engines.parse(raw, "timestamp('UTC')").isnull()
    reading.rules.append(Rule(column.name, unreadable, raw, "expected a time such as 2026-05-12T09:31:07Z"))
    return readable


def _time_of_number(raw: ir.NumericValue, unit: str) -> ir.Value:
    import ibis

    microseconds = (
        (raw.cast("float64") * UNITS[unit]) if unit == "ns" or not raw.type().is_integer() else raw * int(UNITS[unit])
    )
    if not raw.type().is_integer() or unit in ("s", "ms"):
        microseconds = (raw.cast("float64") * UNITS[unit]).round()
    possible = (microseconds > -6.2e16) & (microseconds < 4.1024448e15)
    return engines.from_microseconds(ibis.ifelse(possible, microseconds, ibis.null("float64")).cast("int64"))


def _first(reading: Reading, raw: ir.Value) -> tuple[Any, str, str | None]:
    located = reading.raw.located()
    rows = located.select(_file=located["_file"], _row=located["_row"], _shown=located[raw.get_name()].cast("string"))
    rows = rows.filter(rows["_shown"].notnull()).order_by(["_file", "_row"]).limit(1)
    found = engines.run(rows).to_pylist()
    if not found:
        return None, reading.raw.label, None
    return found[0]["_shown"], *reading.raw.places([(found[0]["_file"], found[0]["_row"])])[0]


def _naive_fault(reading: Reading, column: Column, raw: ir.Value) -> Fault:
    value, file, place = _first(reading, reading.rows[column.name])
    remedy = f'Name it: open_log({reading.raw.call}, tz="Europe/Berlin")'
    return Fault(reading.raw.schema.name, file, place, column.name, value, "has no time zone", remedy)


def _unit_fault(reading: Reading, column: Column, raw: ir.Value) -> Fault:
    value, file, place = _first(reading, reading.rows[column.name])
    remedy = _remedy(Rule(column.name, raw.isnull(), raw, "", f"unit {reading.raw.call}"), value)
    return Fault(reading.raw.schema.name, file, place, column.name, _number(value), "is a bare number", remedy)


def _flag(reading: Reading, column: Column, raw: ir.Value, options: Options) -> None:
    import ibis

    kind = raw.type()
    if kind.is_boolean():
        reading.values[column.name] = raw
        return
    if kind.is_null():
        reading.values[column.name] = ibis.null("boolean")
        return
    if not (kind.is_string() or kind.is_json()):
        raise LogError(_type_fault(reading, column, kind, "true or false"))
    stored = raw.cast("string")
    text = stored.re_replace('^"|"$', "").strip().lower() if kind.is_json() else raw.strip().lower()
    reading.values[column.name] = ibis.cases((text == "true", True), (text == "false", False))
    wrong = text.notnull() & text.notin(("true", "false", "") if kind.is_string() else ("true", "false"))
    reading.rules.append(Rule(column.name, wrong, raw, column.expected))
    as_text = stored.startswith('"') if kind.is_json() else text.notnull()
    reading.mended.append((column.name, as_text, "text read as true or false"))


def _json(reading: Reading, column: Column, raw: ir.Value, options: Options) -> None:
    value = raw if raw.type().is_string() else engines.json_text(raw)
    reading.values[column.name] = value
    wrong = value.notnull() & ~engines.is_json_object(value).fill_null(False)
    reading.rules.append(Rule(column.name, wrong, value, column.expected))
    if column.name == "dimensions":
        outside = engines.json_values_outside(value, 1, 5)
        if outside is not None:
            reading.rules.append(Rule(column.name, outside, value, "expected numbers from 1 to 5 by name"))


def _finish_reason(reading: Reading) -> None:
    if reading.raw.schema.name != "requests" or "finish_reason" not in reading.rows.columns:
        return
    import ibis

    raw = reading.values["finish_reason"]
    own = [(raw == reason, reason) for reason in FINISH_REASONS]
    words = {**FINISH_REASON_MAP, **{reason: reason for reason in FINISH_REASONS}}
    meant = ibis.cases(*own, else_=engines.looked_up(raw.lower(), words))
    listed = ", ".join(repr(reason) for reason in FINISH_REASONS)
    expected = f"expected {listed}, or a provider's word of docs/log.md"
    reading.rules.append(Rule("finish_reason", raw.notnull() & meant.isnull(), raw, expected))
    mapped = meant.notnull() & raw.notin(FINISH_REASONS)
    reading.mended.append(("finish_reason", mapped, "finish reasons mapped"))
    reading.values["finish_reason"] = meant
    if "raw_finish_reason" not in reading.rows.columns:
        reading.values["raw_finish_reason"] = raw


_READERS = {"text": _text, "number": _numeric, "time": _time, "flag": _flag, "json": _json}


def quarantined(reading: Reading, doubled: bool) -> pd.DataFrame:
    """The rows set aside, as they were, in their order, with file, place (as the errors name it) and the first reason each."""
    import ibis

    located = read(reading.raw, reading.options, reading.strict, reading.raw.located())
    rules = [(rule.bad.fill_null(False), f"{rule.column}: {rule.expected}") for rule in located.rules]
    if doubled:
        rules.append((again(located), f"{reading.raw.schema.unique}: expected each once"))
    rows = located.rows.mutate(reason=ibis.cases(*rules))
    aside = engines.run(rows.filter(rows["reason"].notnull()).order_by(["_file", "_row"]))
    places = reading.raw.places(zip(aside["_file"].to_pylist(), aside["_row"].to_pylist()))
    frame = aside.drop_columns(["_file", "_row"]).to_pandas()
    return frame.assign(file=[file for file, _ in places], place=[place for _, place in places])
