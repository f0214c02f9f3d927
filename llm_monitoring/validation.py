"""A table by the rules of `schema`: clean columns, faults counted in one pass, bad rows found, named and set aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from llm_monitoring import engines, scales
from llm_monitoring.columns import Asked, Mended, Options, Read, Rule, as_number, in_words, joined, read
from llm_monitoring.errors import SHOWN, Fault, LogError
from llm_monitoring.schema import FILE, FINISH_REASON_MAP, FINISH_REASONS, FLAG, RESERVED, ROW, Table
from llm_monitoring.sources import RawTable
from llm_monitoring.times import LATEST

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd


DEFAULTS = Options()
INFINITY = float("inf")


@dataclass(frozen=True)
class CleanTable:
    """A table read by the schema: what every table function computes on.

    Attributes
    ----------
    rows : Ibis table
        The clean rows: the columns of the schema first, the table's own after them, and `schema.FLAG`, true where a
        row breaks a rule that matters to the caller.
    present : frozenset of str
        The columns that the source really has.
    raw, options, strict, stored, values, rules, mended
        The raw table and how it was read: `stored` are its raw rows, `values` the clean columns over them.
    """

    raw: RawTable
    options: Options
    strict: bool
    stored: ir.Table
    rows: ir.Table
    present: frozenset[str]
    values: Mapping[str, ir.Value]
    rules: tuple[Rule, ...] = ()
    mended: tuple[Mended, ...] = ()

    def refuse(self) -> NoReturn:
        """Raise the faults of the rows that were found bad."""
        found, count = self.faults(self.counts())
        if not count:
            raise LogError(Fault(self.raw.label, expected="the rows changed while they were read"))
        raise LogError(found, count)

    def checked(self, columns: Iterable[str] | None = None) -> ir.Table:
        """The clean rows, flagged where any rule (about one of `columns`, where given) is broken."""
        return _clean(self.stored, self.values, self.bad(columns))

    def bad(self, columns: Iterable[str] | None = None) -> ir.BooleanValue:
        """Where any rule (about one of `columns`, where given) is broken."""
        import ibis

        asked = None if columns is None else set(columns)
        rules = [rule.bad for rule in self.rules if asked is None or asked & {rule.column, *rule.spoils}]
        if self.raw.format == "csv":  # the engine meets a field too many only where it reads the last column
            rules.append(self.stored[self.raw.rows.columns[-1]] == f"{RESERVED}never")
        return ibis.or_(*rules).fill_null(False) if rules else ibis.literal(False)

    def sound(self, repeats: bool) -> ir.Table:
        """The clean rows without those that break a rule, or (with `repeats`) repeat the unique key of an earlier one."""
        import ibis

        keep = ~self.bad()
        if repeats:
            keep = keep & ~self._again()
        rows = _clean(self.stored, self.values, ~keep)
        return rows.filter(~rows[FLAG]).drop(FLAG).mutate(**{FLAG: ibis.literal(False)})

    def repeats(self) -> int:
        """How many rows repeat a key that must be unique, by one query over that column alone."""
        if self.raw.schema.unique not in self.present:
            return 0
        key = self.values[str(self.raw.schema.unique)]
        by_hash = self.stored.aggregate(known=key.count(), distinct=engines.hashes(key).nunique())
        found = engines.run(by_hash).to_pylist()[0]
        if found["known"] == found["distinct"]:
            return 0
        return repeated(engines.run(self.stored.aggregate(known=key.count(), distinct=key.nunique())).to_pylist()[0])

    def counts(self) -> dict[str, Any]:
        """Rows, broken rules, mended values, repeated keys and a few plausibility figures, by one query."""
        import ibis

        schema, rows = self.raw.schema, self.stored
        asked = {f"rule_{i}": rule.bad.fill_null(False).sum() for i, rule in enumerate(self.rules)}
        asked |= {f"mended_{i}": each.where.fill_null(False).sum() for i, each in enumerate(self.mended)}
        asked["rows"] = rows.count()
        if schema.unique in self.present:
            asked["distinct"] = self.values[str(schema.unique)].nunique()
            asked["known"] = self.values[str(schema.unique)].count()
        if schema.time in self.present:
            at = self.values[schema.time]
            asked["last"] = at.max(where=at < ibis.timestamp(LATEST, timezone="UTC"))
        if "latency_ms" in self.present:
            asked["latency_mean"] = self.values["latency_ms"].mean()
            asked["latency_max"] = self.values["latency_ms"].max()
        if self.raw.format == "csv":  # a field too many is met by the engine only where it reads the last column
            asked["whole"] = rows[self.raw.rows.columns[-1]].count()
        return engines.run(rows.aggregate(**asked)).to_pylist()[0]

    def faults(self, found: Mapping[str, Any]) -> tuple[list[Fault], int]:
        """The first faults in the order of the rows, and how many there are in all."""
        broken = [i for i in range(len(self.rules)) if found[f"rule_{i}"]]
        doubled = repeated(found)
        total = sum(found[f"rule_{i}"] for i in broken) + doubled
        if not total:
            return [], 0
        located = self._located()
        rules = [located.rules[i] for i in broken] + ([located._unique()] if doubled else [])
        listed = sorted((item for rule in rules for item in located._rows_where(rule)), key=lambda item: item[0])
        return [fault for _, fault in listed[:SHOWN]], total

    def quarantined(self, repeats: bool) -> pd.DataFrame:
        """The rows set aside, as they were, in their order, with file, place (as the errors name it) and the first reason each."""
        import ibis

        located = self._located()
        rules = [*located.rules, *([located._unique()] if repeats else [])]
        reasons = [(rule.bad.fill_null(False), f"{rule.column}: " + _filled(rule)) for rule in rules]
        rows = located.stored.mutate(reason=ibis.cases(*reasons))
        aside = engines.run(rows.filter(rows["reason"].notnull()).order_by([FILE, ROW]))
        places = self.raw.places(zip(aside[FILE].to_pylist(), aside[ROW].to_pylist()))
        frame = aside.drop_columns([FILE, ROW]).to_pandas()
        return frame.assign(file=[file for file, _ in places], place=[place for _, place in places])

    def _located(self) -> CleanTable:
        """The same over rows that know their file and place."""
        return clean(self.raw, self.options, self.strict, self.raw.located())

    def _unique(self) -> Rule:
        unique = str(self.raw.schema.unique)
        return Rule(unique, self._again(), self.values[unique], f"expected each {unique} once")

    def _again(self) -> ir.BooleanValue:
        """Where a row repeats the unique key of an earlier row."""
        import ibis

        key = self.values[str(self.raw.schema.unique)]
        order = [self.stored[name] for name in (FILE, ROW) if name in self.stored.columns]
        if self.raw.format == "database" or not order:
            order = [self.values[self.raw.schema.time]]
        window = ibis.window(group_by=key, order_by=order)
        return (ibis.row_number().over(window) > 0) & key.notnull()

    def _rows_where(self, rule: Rule) -> list[tuple[tuple, Fault]]:
        import ibis

        schema = self.raw.schema
        key = schema.columns[0].name
        named = {f"{RESERVED}{name}": value.cast("string") for name, value in rule.named.items()}
        rows = self.stored.select(
            self.stored[FILE],
            self.stored[ROW],
            shown=rule.shown.cast("string"),
            key=self.values[key].cast("string") if key in self.values else ibis.null("string"),
            bad=rule.bad.fill_null(False),
            **named,
        )
        found = engines.run(rows.filter(rows["bad"]).order_by([FILE, ROW]).limit(SHOWN)).to_pylist()
        kind = schema[rule.column].kind if rule.column in schema.names else "text"
        listed = []
        for row, (file, place) in zip(found, self.raw.places((row[FILE], row[ROW]) for row in found)):
            place = place or (f"{key} {row['key']!r}" if row["key"] and rule.column != key else None)
            value = as_number(row["shown"]) if kind in ("number", "time") else row["shown"]
            value = row["shown"] if kind == "time" and value in (INFINITY, -INFINITY) else value
            words = {name: row[f"{RESERVED}{name}"] for name in rule.named}
            expected, remedy = (text.format(**words) if words else text for text in (rule.expected, rule.remedy))
            expected = expected if value is not None else expected.replace("expected", "is null; expected", 1)
            fault = Fault(schema.name, file, place, rule.column, value, expected, in_words(remedy, row["shown"], kind))
            listed.append(((str(row[FILE]), row[ROW] or 0, rule.column), fault))
        return listed


def clean(
    raw: RawTable, options: Options = DEFAULTS, strict: bool = True, stored: ir.Table | None = None
) -> CleanTable:
    """Read a raw table by its schema.

    Parameters
    ----------
    raw : RawTable
    options : Options
    strict : bool
        Whether a required column that is missing is a fault (else it is unknown in every row).
    stored : Ibis table, optional
        Other rows of the same columns, such as ``raw.located()``.

    Raises
    ------
    LogError
        For every column that is missing or holds another kind of value.
    """
    rows = raw.rows if stored is None else stored
    present = frozenset(name for name in rows.columns if not name.startswith(RESERVED))
    faults, found = [], {}
    for column in raw.schema.columns:
        if column.name not in present:
            if column.required and strict:
                there = ", ".join(name for name in rows.columns if name in present)
                expected = f"this column must be there; found {there}"
                faults.append(Fault(raw.schema.name, raw.label, column=column.name, expected=expected))
            found[column.name] = Read(engines.null(column.kind))
            continue
        try:
            asked = Asked(column, rows[column.name], options, raw.schema.name, raw.label, raw.call, raw.first)
            found[column.name] = read(asked)
        except LogError as error:
            faults.extend(error.faults)
    if faults:
        raise LogError(faults)
    if raw.schema.name == "requests" and "finish_reason" in present:
        _finish_reason(found, present)
    if raw.schema.name == "judgements":
        scales.judge(found, present, options.scales)
    values = {name: each.value for name, each in found.items()}
    if raw.schema.name == "changes":  # any column of theirs may be a scope of several values
        own = [
            name
            for name in present
            if name not in values and (rows[name].type().is_string() or rows[name].type().is_array())
        ]
        values |= {name: joined(rows[name]) for name in sorted(own, key=rows.columns.index)}
    rules = tuple(rule for each in found.values() for rule in each.rules)
    mended = tuple(item for each in found.values() for item in each.mended)
    shown = _clean(rows, values)
    return CleanTable(raw, options, strict, rows, shown, present, values, rules, mended)


def absent(schema: Table) -> CleanTable:
    """A table that a log does not have: no rows, no columns of its own."""
    return clean(RawTable.absent(schema), strict=False)


def repeated(found: Mapping[str, Any]) -> int:
    """How many rows repeat a key that must be unique."""
    return (found.get("known") or 0) - (found.get("distinct") or 0)


def _clean(rows: ir.Table, values: Mapping[str, ir.Value], bad: ir.BooleanValue | None = None) -> ir.Table:
    """Rows with the columns of the schema first, the table's own ones after them, then the flag."""
    import ibis

    own = {name: rows[name] for name in rows.columns if name not in values and not name.startswith(RESERVED)}
    return rows.select(**values, **own, **{FLAG: ibis.literal(False) if bad is None else bad})


def _filled(rule: Rule) -> Any:
    """What a rule expects, with the values of the row that it names."""
    import ibis

    if not rule.named:
        return rule.expected
    text = ibis.literal(rule.expected)
    for name, value in rule.named.items():
        text = text.replace(f"{{{name}}}", value.cast("string"))
    return text


def _finish_reason(found: dict[str, Read], present: frozenset[str]) -> None:
    import ibis

    raw = found["finish_reason"].value
    own = [(raw == reason, reason) for reason in FINISH_REASONS]
    words = {**FINISH_REASON_MAP, **{reason: reason for reason in FINISH_REASONS}}
    meant = ibis.cases(*own, else_=engines.looked_up(raw.lower(), words))
    listed = ", ".join(repr(reason) for reason in FINISH_REASONS)
    expected = f"expected {listed}, or a provider's word from docs/log.md"
    mapped = Mended("finish_reason", meant.notnull() & raw.notin(FINISH_REASONS), "finish reasons mapped")
    unknown = Rule("finish_reason", raw.notnull() & meant.isnull(), raw, expected)
    found["finish_reason"] = Read(
        meant, [*found["finish_reason"].rules, unknown], [*found["finish_reason"].mended, mapped]
    )
    if "raw_finish_reason" not in present:
        found["raw_finish_reason"] = Read(raw)
