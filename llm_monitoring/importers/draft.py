"""What an importer fills while it reads: rows, what was set aside and why, what was guessed. Then a log and a report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_monitoring.errors import Fault, LogError
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.schema import FINISH_REASON_MAP, FINISH_REASONS, TABLES

if TYPE_CHECKING:
    from llm_monitoring.log import Log


@dataclass
class Draft:
    """Rows of a log in the making.

    Every record that is read ends in exactly one place: a row (`row`), `wrapper`, `other` (not a model call), or
    `aside` with a reason. `guess` notes a decision that the source does not state, once a kind, with its count.
    """

    format: str
    sources: list[str] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    judgements: list[dict[str, Any]] = field(default_factory=list)
    signals: list[dict[str, Any]] = field(default_factory=list)
    reviews: list[dict[str, Any]] = field(default_factory=list)
    set_aside: list[dict[str, Any]] = field(default_factory=list)
    guesses: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    rows_read: int = 0
    wrappers: int = 0
    scores: int = 0
    _ids: dict[str, dict[str, Any]] = field(default_factory=dict)

    def row(self, place: str, **values: Any) -> dict[str, Any] | None:
        """Add a request, or set it aside where its key or its time is unknown or its id is there already."""
        self.rows_read += 1
        for name in ("request_id", "timestamp"):
            if values.get(name) is None:
                self.aside(place, values.get("request_id"), f"no {name} in the source", read=False)
                return None
        if values["request_id"] in self._ids:
            self.aside(place, values["request_id"], "request_id is there already", read=False)
            return None
        for name in ("feature_id", "model_id"):
            if not values.get(name):
                self.guess(f"{name} is not in the source: 'unknown'")
                values[name] = "unknown"
        self._finish(values)
        self._cost(values)
        self.requests.append(values)
        self._ids[values["request_id"]] = values
        return values

    def request(self, request_id: str) -> dict[str, Any] | None:
        """The row of this id, once it has been added."""
        return self._ids.get(request_id)

    def _finish(self, values: dict[str, Any]) -> None:
        raw = values.get("finish_reason")
        if raw is None:
            return
        word = str(raw).strip().lower()
        known = word if word in FINISH_REASONS else FINISH_REASON_MAP.get(word)
        if known is None:
            self.guess(f"finish reason {raw!r} is not in the documented map: unknown")
        values["finish_reason"] = known
        values.setdefault("raw_finish_reason", str(raw))

    def _cost(self, values: dict[str, Any]) -> None:
        counts = [values.get(name) for name in ("input_tokens", "output_tokens")]
        cached = values.pop("answered_from_cache", False)
        if values.get("cost_usd") == 0 and not cached and (any(counts) or counts == [None, None]):
            what = (
                "beside tokens is a model without a price"
                if any(counts)
                else "beside unknown tokens was never worked out"
            )
            self.guess(f"a cost of 0 {what}: cost_usd unknown")
            values["cost_usd"] = None

    def aside(self, place: str, record: object, reason: str, read: bool = True) -> None:
        """Set a record aside with its reason."""
        self.rows_read += read
        self.set_aside.append({"place": place, "id": None if record is None else str(record), "reason": reason})

    def wrapper(self) -> None:
        """Count a record that repeats the work of another one inside it."""
        self.rows_read += 1
        self.wrappers += 1

    def score(self) -> None:
        """Count a score of a judge or a person that became part of a row."""
        self.rows_read += 1
        self.scores += 1

    def other(self, kind: str) -> None:
        """Count a record that is no call of a language model."""
        self.rows_read += 1
        self.others[kind] += 1

    def guess(self, sentence: str) -> None:
        """Note a decision that the source does not state."""
        self.guesses[sentence] += 1

    def finish(self) -> tuple[Log, ImportReport]:
        """Open the rows as a log; rows that break a rule of the schema are set aside with the rule."""
        from llm_monitoring.log import open_log

        if not self.rows_read:
            empty = "".join(f"; {entry['place']}: {entry['reason']}" for entry in self.set_aside)
            expected = f"nothing of the format {self.format!r} was found{empty}"
            raise LogError(Fault(", ".join(self.sources) or "source", expected=expected))
        self._note_unknown()
        log = open_log(self._frames(), on_error="quarantine")
        for table, rows in log.set_aside.items():
            key = TABLES[table].unique or "request_id"
            for _, row in rows.iterrows():
                self.aside(table, row.get(key), str(row.get("reason")), read=False)
        log.source = ", ".join(self.sources)
        made = {name: len(getattr(log, name)) for name in TABLES if log.has(name)}
        report = ImportReport(
            format=self.format,
            sources=self.sources,
            rows_read=self.rows_read,
            rows_made=made["requests"],
            wrappers=self.wrappers,
            scores=self.scores,
            not_requests=dict(sorted(self.others.items())),
            set_aside=self.set_aside,
            tables=made,
            guesses=[
                f"{sentence} ({count:,} times)" if count > 1 else sentence for sentence, count in self.guesses.items()
            ],
        )
        return log, report

    def _note_unknown(self) -> None:
        for name, words in (("latency_ms", "latency is"), ("cost_usd", "cost is"), ("output_tokens", "tokens are")):
            if self.requests and all(row.get(name) is None for row in self.requests):
                self.guess(f"{words} nowhere in the source: {name} unknown in every row")

    def _frames(self) -> dict[str, Any]:
        import pandas as pd

        names = TABLES["requests"].names
        extra = [name for row in self.requests for name in row if name not in names]
        tables = {"requests": pd.DataFrame(_encodable(self.requests), columns=[*names, *dict.fromkeys(extra)])}
        for name in ("judgements", "signals", "reviews"):
            if rows := getattr(self, name):
                tables[name] = pd.DataFrame(_encodable(rows))
        for name, frame in tables.items():
            time = TABLES[name].time
            frame = frame.sort_values([time, "request_id"], kind="stable", ignore_index=True)
            tables[name] = frame.assign(**{time: pd.to_datetime(frame[time], utc=True, format="ISO8601")})
        return tables


def _encodable(value: Any) -> Any:
    """The value with half a surrogate pair, which JSON can write and UTF-8 cannot, as ``?``."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_encodable(name): _encodable(item) for name, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value
