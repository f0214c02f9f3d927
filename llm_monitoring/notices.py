"""What a log tells about itself without being wrong: what was mended or mapped, and what looks odd."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llm_monitoring import engines
from llm_monitoring.columns import Mended
from llm_monitoring.errors import quote
from llm_monitoring.validation import CleanTable

if TYPE_CHECKING:
    from pathlib import Path

FIRST = 5


def of_table(table: CleanTable, found: dict[str, Any], aside: int, written: Path | None) -> list[str]:
    """Notices about one table, from the counts that `validation.counts` made and the rows that were set aside."""
    schema, label = table.raw.schema, table.raw.label
    told = []
    for i, each in enumerate(table.mended):
        if found[f"mended_{i}"]:
            told.append(f"{label}, {each.column}: {each.words}: {_by_value(table, each)}")
    if found.get("last") is not None and found["last"] > datetime.now(UTC):
        late = table.values[schema.time] > datetime.now(UTC)
        told.append(f"{label}, {schema.time}: {_first_ids(table, late, 'from after now')}")
    mean, most = found.get("latency_mean"), found.get("latency_max")
    if (
        schema.name == "requests"
        and mean is not None
        and most is not None
        and found["rows"] >= 20
        and mean < 20
        and most < 600
    ):
        told.append(
            f"{label}, latency_ms: mean {mean:.3g}, highest {most:.3g}: these look like seconds, read as milliseconds"
        )
    if aside:
        rows = found["rows"] + len(table.raw.broken)
        where = f"written to {written}" if written else f"in log.set_aside[{schema.name!r}]"
        told.append(f"{label}: {aside:,} of {rows:,} rows set aside, {where}")
    return told


def orphans(log: Any) -> list[str]:
    """Rows of other tables whose request is not in `requests`."""
    told = []
    for name in ("signals", "judgements", "reviews"):
        if not (log.has(name) and log.has("requests")):
            continue
        rows, requests = log.table(name), log.table("requests")
        lost = rows.anti_join(requests, "request_id").select("request_id")
        count = engines.count(lost)
        if count:
            first = engines.run(lost.distinct().order_by("request_id").limit(FIRST)).to_pylist()
            label = log._tables[name].raw.label
            ids = [row["request_id"] for row in first]
            told.append(f"{label}: {_counted(count, 'whose request_id is not in requests', ids)}")
    return told


def _by_value(table: CleanTable, each: Mended) -> str:
    """The values concerned, each with what it was read as and how often."""
    stored, read = table.stored[each.column].cast("string"), table.values[each.column].cast("string")
    rows = table.stored.select(stored=stored, read=read, where=each.where).filter(lambda t: t["where"])
    found = engines.run(rows.group_by(["stored", "read"]).aggregate(n=rows.count())).to_pylist()
    found.sort(key=lambda row: (-row["n"], str(row["stored"])))
    more = f", and {len(found) - FIRST} other values" if len(found) > FIRST else ""
    return (
        ", ".join(f"{quote(row['stored'])}{_read_as(row['read'], each)} ({row['n']:,})" for row in found[:FIRST]) + more
    )


def _read_as(read: str | None, each: Mended) -> str:
    if read is None:
        return "" if each.words.endswith("unknown") else " as unknown"
    return f" as {quote(read)}"


def _first_ids(table: CleanTable, where: Any, words: str) -> str:
    key = table.values[table.raw.schema.columns[0].name]
    rows = table.stored.select(id=key, where=where).filter(lambda t: t["where"])
    ids = [row["id"] for row in engines.run(rows.select("id").distinct().order_by("id").limit(FIRST)).to_pylist()]
    return _counted(engines.count(rows), words, ids)


def _counted(count: int, words: str, ids: list[str]) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'} {words}: {', '.join(ids)}{', ...' if count > FIRST else ''}"
