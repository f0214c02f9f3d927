"""How not to meet it again: the failing answers become eval cases, and the incident says what keeps it open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from llm_monitoring import answers, disk
from llm_monitoring.alerts.alert import Alert
from llm_monitoring.alerts.checking import find_alert
from llm_monitoring.errors import ConfigError, one_of
from llm_monitoring.incident.inference.cells import requests_of
from llm_monitoring.incident.inference.inquiry import Inquiry, inquire
from llm_monitoring.incident.inference.reviewed import read_reviews
from llm_monitoring.incident.kinds import road_of
from llm_monitoring.incident.quotes import TEXTS, quotes_of
from llm_monitoring.incident.recovery import recovery, while_harmed
from llm_monitoring.incident.suites import FORMATS, MOST_OF_ONE, Distinct, append_cases, template_of, write_cases
from llm_monitoring.judging.redaction import redact
from llm_monitoring.results import Result, jsonable
from llm_monitoring.reviewing.verdicts import majority

if TYPE_CHECKING:
    from llm_monitoring.log import Log

MOST_CASES, GUARDS, SHOWN = 200, 0.2, 20
RULES = ("EMAIL", "PHONE", "CARD", "IBAN", "KEY")


@dataclass(frozen=True, repr=False)
class LearnResult(Result):
    """The eval cases of an incident.

    Attributes
    ----------
    cases : int
        Cases written.
    file : str
        Name of the file in the folder given.
    exported : dict
        Format -> file name.
    closed : bool
        False while anything is open.
    open_points : list of str
    examples : list of dict
        The first failing cases: request_id, timestamp, user_input, system_output, reviewed, verdict.
    override : dict or None
        by, because: the person who closed it all the same, kept on record.
    redacted : dict
        Rule (EMAIL, PHONE, CARD, IBAN, KEY) -> places where it took personal data out of the cases.
    left_out : list of dict
        template, found, kept: questions that differ only in numbers, names or quoted parts, of which 20 are kept.
    quotes : dict
        bad (two answers of the incident) and good (one of before, to a question like theirs), to show beside each other.
    summary : str
        The headline of an alert that leaves no case.
    """

    cases: int
    file: str
    exported: dict[str, str]
    closed: bool
    open_points: list[str]
    examples: list[dict[str, Any]]
    next: str
    override: dict[str, str] | None = None
    redacted: dict[str, int] = field(default_factory=dict)
    left_out: list[dict[str, Any]] = field(default_factory=list)
    quotes: dict[str, Any] = field(default_factory=lambda: {"bad": [], "good": None})
    summary: str = ""

    @property
    def headline(self) -> str:
        """Cases and what is open."""
        if self.summary:
            return self.summary
        points = f"{len(self.open_points)} point{'' if len(self.open_points) == 1 else 's'}"
        state = "closed" if self.closed else f"open, {points}"
        state = f"closed by {self.override['by']} with {points} open" if self.override else state
        return f"{self.cases} eval case{'' if self.cases == 1 else 's'} in {self.file}; {state}"

    def to_frame(self) -> pd.DataFrame:
        """The first cases."""
        columns = ["request_id", "timestamp", "user_input", "system_output", "reviewed", "verdict"]
        return pd.DataFrame(self.examples, columns=columns)

    def plot(self, ax=None, narrow: bool = False):
        """How many of the cases somebody has read."""
        from llm_monitoring.incident import drawing

        read, shown = sum(bool(example["reviewed"]) for example in self.examples), len(self.examples)
        words = f"{read} of {shown} cases shown were read by a person" if shown else "no case to read"
        return drawing.progress(read, shown, words, ax, of="cases")


def learn(
    log: Log,
    alert,
    reviews=None,
    out=".",
    formats: Sequence[str] = ("jsonl",),
    *,
    suite: str | Path | None = None,
    override: Mapping[str, str] | None = None,
    plan: Any = None,
) -> LearnResult:
    """Write the failing answers of the hit slice as eval cases, with good ones beside them as guards.

    Parameters
    ----------
    log : Log
    alert : row of `check`, dict or Alert
    reviews : DataFrame or path, optional
        Verdicts of people; default the log's own. Answers found bad (``real``) become cases; where nobody has read
        any, the flagged answers of the slice do, with ``reviewed: false``. Answers found good become guards, one for
        four cases: what a mend must not break.
    out : path
        Folder for ``eval_cases.jsonl``; made where absent.
    formats : sequence of str
        jsonl, promptfoo, inspect, deepeval, openai (evals) or pytest.
    suite : path, optional
        An eval suite of yours in our JSON Lines: cases that it lacks are appended.
    override : dict, optional
        ``by`` and ``because``: a named person closes the incident with points open; kept in the result.
    plan : Plan, dict or path, optional
        `[slices]` says which columns are of the question and which of the service; see `incident.inference.roles`.

    Returns
    -------
    LearnResult
        Closed only where the cases are in a suite, somebody has read them and the recovery test has passed, or by
        the override.

    Raises
    ------
    ConfigError
        An unknown format, or an override that names nobody or no reason.

    Notes
    -----
    Near-repeats of a question are merged (the same words in any order, rapidfuzz token-sort ratio of 90 or more, and the
    same numbers, names and quoted parts); of questions that differ in those alone 20 are kept, and `left_out` says of how
    many. At most 200 cases are kept, and e-mail addresses, phone, card and account numbers and keys are taken out of every text by
    pattern. What a person wrote as the right answer is the case's `expected_output`. A case whose question was not logged stays in ``eval_cases.jsonl``; no tool could ask it, so the other formats
    and the suite leave it out.

    Examples
    --------
    >>> import llm_monitoring as lm
    >>> log = lm.open_log("sample_data")        # doctest: +SKIP
    >>> alert = lm.check(log).iloc[0]           # doctest: +SKIP
    >>> lm.incident.learn(log, alert, out="evals").file              # doctest: +SKIP
    'evals/eval_cases.jsonl'
    """
    for name in formats:
        one_of("learn(formats)", name, list(FORMATS))
    check_override(override)
    alert = find_alert(log, alert, plan)
    road = road_of(log, alert, plan)
    folder = disk.make_folder(Path(out))
    if road is not None or alert.kind == "better":
        quotes = {} if road is None else road.quotes()
        return _without_cases(alert, [] if road is None else road.open_points(), folder, formats, override, quotes)
    inquiry = inquire(log, alert, plan=plan)
    assert inquiry is not None
    taken: Counter[str] = Counter()
    cases, left_out = _cases(log, alert, inquiry, reviews, taken)
    write_cases(cases, folder / FORMATS["jsonl"][0])
    asked = [case for case in cases if case["input"].strip()]
    for name in formats:
        FORMATS[name][1](cases if name == "jsonl" else asked, folder / FORMATS[name][0])
    if suite is not None:
        append_cases(asked, Path(suite))
    failing = [case for case in cases if case["kind"] == "failing"]
    points = _open_points(log, inquiry, failing, suite is not None)
    return LearnResult(
        **jsonable(
            {
                "cases": len(failing),
                "file": FORMATS["jsonl"][0],
                "exported": {name: FORMATS[name][0] for name in formats},
                "closed": not points or override is not None,
                "open_points": points,
                "examples": [_example(case) for case in failing[:SHOWN]],
                "next": "Run the cases on every change of prompt, model or index before it goes live.",
                "redacted": {rule: count for rule, count in sorted(taken.items()) if count > 0},
                "override": _recorded(override),
                "left_out": left_out,
                "quotes": _quotes(log, alert, inquiry, reviews),
            }
        )
    )


def _quotes(log: Log, alert: Alert, inquiry: Inquiry, reviews: Any) -> dict[str, Any]:
    rows = while_harmed(log, inquiry).frame
    rows = rows[inquiry.slice.mask(rows)]
    late = rows["timestamp"] >= inquiry.since
    return quotes_of(log, alert, rows[late], rows[~late], reviews)


def _recorded(override: Mapping[str, str] | None) -> dict[str, str] | None:
    return None if override is None else {key: str(override[key]) for key in ("by", "because")}


def _without_cases(
    alert: Alert,
    points: list[str],
    folder: Path,
    formats: Sequence[str],
    override: Mapping[str, str] | None,
    quotes: dict[str, Any],
) -> LearnResult:
    """A standing level, an improvement, or a metric that no answer has: no answer failed that could become a case."""
    for name in dict.fromkeys(["jsonl", *formats]):
        FORMATS[name][1]([], folder / FORMATS[name][0])
    closed = not points or override is not None
    why = {
        "standing": "A standing level: what you read there makes the cases, and the limit is yours to set.",
        "better": "It got better: no answer failed.",
    }.get(
        alert.kind or "change",
        "No single answer has this metric, or too few have it: there is no failing answer to keep.",
    )
    return LearnResult(
        cases=0,
        file=FORMATS["jsonl"][0],
        exported={name: FORMATS[name][0] for name in formats},
        closed=closed,
        open_points=points,
        examples=[],
        next=why,
        override=_recorded(override),
        quotes=jsonable(quotes) or {"bad": [], "good": None},
        summary=f"no eval case; {'closed' if closed else 'open'}: {why}",
    )


def check_override(override: Mapping[str, str] | None) -> None:
    """Refuse to close an incident for nobody, or for no reason.

    Raises
    ------
    ConfigError
        `by` or `because` is missing or empty.
    """
    if override is not None and not all(str(override.get(name) or "").strip() for name in ("by", "because")):
        raise ConfigError("learn(override): expected a dict with by (a name) and because (a reason), both filled")


def _cases(
    log: Log, alert: Alert, inquiry: Inquiry, reviews, taken: Counter[str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Failing cases with good ones beside them, and the templates of which more was found than is kept."""
    flagged = answers.flagged_ids(log)
    table = read_reviews(log, reviews)
    asked = pd.Series([*flagged, *table["request_id"]], dtype="str")
    rows = (inquiry.seen.source or requests_of(log)).among(asked, inquiry.slice, inquiry.since)
    said = table.reindex(columns=["request_id", "note", "expected_output"]).groupby("request_id", sort=False).last()
    read = rows.merge(majority(table)[["request_id", "verdict"]].merge(said, on="request_id"), on="request_id")
    bad = read[read["verdict"] == "real"]
    if not len(bad):
        unread = rows[rows["request_id"].isin(flagged) & ~rows["request_id"].isin(set(read["request_id"]))]
        bad = unread.assign(verdict=None, note=None, expected_output=None)
    bad = log.with_texts(bad, TEXTS)
    kept = _distinct(bad, MOST_CASES)
    failing = [_case(row, alert, "failing", taken) for row in kept]
    fine = log.with_texts(read[read["verdict"] == "false_positive"], TEXTS)
    good = _distinct(fine, ceil(GUARDS / (1 - GUARDS) * len(failing)))
    return [*failing, *(_case(row, alert, "guard", taken) for row in good)], _left_out(bad, kept)


def _scrub(text: str, taken: Counter[str]) -> str:
    """The text without personal data; `taken` counts what each rule replaced."""
    clean = redact(text)
    taken.update({rule: clean.count(f"[{rule}]") - text.count(f"[{rule}]") for rule in RULES})
    return clean


def _distinct(rows: pd.DataFrame, most: int) -> list[dict[str, Any]]:
    """The first rows, without near-repeats of an earlier question, and at most 20 of one template."""
    kept: list[dict[str, Any]] = []
    rows = rows.sort_values(["timestamp", "request_id"])
    rows = rows.reindex(columns=[*rows.columns.union(["user_input", "system_output", "category"], sort=False)])
    held = Distinct()
    for row in rows.to_dict("records"):
        if len(kept) >= most:
            break
        if held.add("", _text(row["user_input"])):
            kept.append({str(name): value for name, value in row.items()})
    return kept


def _left_out(rows: pd.DataFrame, kept: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Templates of which the cap of 20 left questions out: the template, distinct questions found, and kept."""
    found = Counter(
        template_of(text) for text in {_text(value) for value in rows.get("user_input", [])} if text.strip()
    )
    mine = Counter(template_of(_text(row["user_input"])) for row in kept)
    full = [name for name, count in found.most_common() if mine[name] >= MOST_OF_ONE and count > mine[name]]
    return [{"template": redact(name), "found": found[name], "kept": mine[name]} for name in full]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _case(row: dict[str, Any], alert: Alert, kind: str, taken: Counter[str]) -> dict[str, Any]:
    note = _scrub(row["note"], taken) if isinstance(row["note"], str) and row["note"] else None
    usual = "does not fail as bad_output does" if kind == "failing" else "is as good as good_output"
    return {
        "case_id": f"{row['request_id']}",
        "kind": kind,
        "incident_id": alert.alert_id,
        "input": _scrub(_text(row["user_input"]), taken),
        "bad_output" if kind == "failing" else "good_output": _scrub(_text(row["system_output"]), taken),
        "expected_property": f"not: {note}" if note and kind == "failing" else usual,
        **({"expected_output": _scrub(row["expected_output"], taken)} if _text(row["expected_output"]) else {}),
        "metric": alert.metric,
        "feature_id": row["feature_id"],
        "category": row["category"] if isinstance(row["category"], str) else None,
        "timestamp": row["timestamp"],
        "reviewed": isinstance(row["verdict"], str),
        "verdict": row["verdict"],
    }


def _example(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": case["case_id"],
        "timestamp": case["timestamp"],
        "user_input": case["input"],
        "system_output": case["bad_output"],
        "reviewed": case["reviewed"],
        "verdict": case["verdict"],
    }


def _open_points(log: Log, inquiry: Inquiry, cases: list[dict], in_suite: bool) -> list[str]:
    points = []
    if not cases:
        points.append("No failing case was found.")
    elif not any(case["reviewed"] for case in cases):
        points.append(f"Nobody has read the {len(cases)} cases: review them, then run this stage again.")
    silent = sum(not case["input"].strip() for case in cases)
    if silent:
        points.append(f"{silent} of the {len(cases)} cases have no logged question: no suite can ask them.")
    if cases and not in_suite:
        points.append(f"The {len(cases)} cases are not yet in the eval suite.")
    state = recovery(log, inquiry, inquiry.slice)
    if state["recovered"] is not True:
        points.append(state["because"])
    return points
