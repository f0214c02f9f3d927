"""What an importer fills while it reads: rows, what was set aside and why, what was guessed. Then a log and a report."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_monitoring.errors import Fault, LogError, quote
from llm_monitoring.importers.report import ImportReport
from llm_monitoring.schema import FINISH_REASON_MAP, FINISH_REASONS, TABLES

if TYPE_CHECKING:
    from llm_monitoring.log import Log


SEEN = 50


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
    seen: list[Any] = field(default_factory=list)
    _ids: dict[str, dict[str, Any]] = field(default_factory=dict)

    def remember(self, value: Any) -> None:
        """Keep the first values of a source, to say what it looks like where it holds no request."""
        if len(self.seen) < SEEN:
            self.seen.append(value)

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
        self._uncounted(values)
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
        if word not in FINISH_REASON_MAP and (again := re.fullmatch(r"([a-z_]{2,40}?)\1{1,20}", word)):
            word = again[1]  # chunks of a stream put together: "stopstop"
        known = word if word in FINISH_REASONS else FINISH_REASON_MAP.get(word)
        if known is None:
            self.guess(f"finish reason {raw!r} is not in the documented map: unknown")
        values["finish_reason"] = known
        values.setdefault("raw_finish_reason", str(raw))

    def _uncounted(self, values: dict[str, Any]) -> None:
        """Zeros that nobody counted: both counts of an answered call, and a cost of what has no price or no counts."""
        cached = values.pop("answered_from_cache", False)
        answered = values.get("error") is None and values.get("finish_reason") != "error"
        if answered and values.get("input_tokens") == 0 and values.get("output_tokens") == 0:
            self.guess(
                "0 tokens in and out of an answered call were never counted: input_tokens, output_tokens unknown"
            )
            values["input_tokens"] = values["output_tokens"] = None
        counts = [values.get(name) for name in ("input_tokens", "output_tokens")]
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

        if not self.requests:
            raise self._nothing()
        self._note_unknown()
        log = open_log(self._frames(), on_error="quarantine")
        for table, rows in log.set_aside.items():
            key = TABLES[table].unique or "request_id"
            for _, row in rows.iterrows():
                self.aside(table, row.get(key), str(row.get("reason")), read=False)
        if not len(log.requests):
            raise self._nothing()
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
            set_aside=_encodable(self.set_aside),
            tables=made,
            guesses=[
                f"{sentence} ({count:,} times)" if count > 1 else sentence
                for sentence, count in _encodable(dict(self.guesses)).items()
            ],
        )
        return log, report

    def _nothing(self) -> LogError:
        """Nothing of the format was found: what was read, what became of it, and which call would read the source."""
        from llm_monitoring.importers.recognising import advice

        counts = [f"{count:,} x {kind}" for kind, count in self.others.items()]
        counts += [f"{self.wrappers:,} x wrapper"] if self.wrappers else []
        reasons = Counter(str(entry["reason"]) for entry in self.set_aside)
        counts += [f"{count:,} x set aside: {reason}" for reason, count in reasons.most_common(3)]
        found = f" ({'; '.join(counts)})" if counts else ""
        records = f"{self.rows_read:,} record{'' if self.rows_read == 1 else 's'}"
        paths = [quote(source) for source in self.sources if source not in ("a list", "a dict")]
        given = "source" if not paths else paths[0] if len(paths) == 1 else f"[{paths[0]}, ...]"
        expected = (
            f"no request of the format {self.format!r} in {records}{found}{advice(self.format, self.seen, given)}"
        )
        return LogError(Fault(", ".join(self.sources[:3]) or "source", expected=_encodable(expected)))

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
