"""Stage results told as a page: sentences, facts, sections. Results in, a dict out; no HTML, nothing computed anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_monitoring import wording as say
from llm_monitoring.reporting import sections
from llm_monitoring.reporting.outcome import (
    TONES,
    action_words,
    answers_of,
    capital,
    count_words,
    first_sentence,
    level_sentence,
    lower,
    outcome_of,
    started,
    whole,
)

LIKELY = {
    "almost certain": "Almost certainly because of",
    "likely": "Likely because of",
    "more likely than not": "More likely than not because of",
    "possible": "Possibly because of",
}


def tell(results: Mapping[str, Any]) -> dict[str, Any]:
    """The story of an incident.

    Parameters
    ----------
    results : mapping
        `incident` (results/incident.json) and, where they ran, `triage`, `scope`, `isolate`, `respond`, `learn`.

    Returns
    -------
    dict
        title, eyebrow, verdict, tone, headline, lede, answers, facts, sections, stages: texts, and blocks of them
        (`reporting.blocks`).
    """
    story = outcome_of(results)
    verdict, headline = first_sentence(results)
    incident = results["incident"]
    until = incident["log"]["until"]
    known = say.moment(until, year=True)
    told = "triage" in results and incident["alert"] is not None
    return {
        "outcome": story,
        "title": f"{verdict} {headline} ({known})",
        "eyebrow": f"Incident {incident['incident_id']}. Known at {known}.",
        "verdict": verdict,
        "tone": TONES.get(story, "now"),
        "headline": headline,
        "lede": _lede(story, results),
        "answers": _answers(story, results) if told else [],
        "facts": _facts(results) if told else [],
        "sections": sections.all_of(story, results),
    }


def _lede(story: str, results: Mapping[str, Any]) -> str:
    if story == "failed":
        failure = results["incident"]["failure"]
        return f"{failure['notebook']}, cell {failure['cell']}: {failure['error']}"
    if story == "quiet":
        log = results["incident"]["log"]
        return f"The log holds {say.moment(log['from'], year=True)} to {say.moment(log['until'], year=True)}."
    triage, respond = results["triage"], results["respond"]
    if story in ("false_positive", "inconclusive", "judge", "mix"):
        return f"{triage['next']} To do: {lower(action_words(respond))}."
    if story == "recovered":
        return f"{capital(level_sentence(results))} {_blame(results)}"
    told = [capital(level_sentence(results))] if story in ("tie", "unrecorded") else [_blame(results)]
    told.append(f"To do: {lower(action_words(respond))}.")
    told.append(_recovery_state(respond))
    return " ".join(told)


def _blame(results: Mapping[str, Any]) -> str:
    isolate = results["isolate"]
    first = isolate["ranking"][0] if isolate["ranking"] else None
    if first is None or isolate["verdict"] in ("none", "cannot tell apart"):
        return "No cause stands out."
    words = LIKELY.get(say.likely(first["probability"]), "Perhaps because of")
    return f"{words} {sections.cause_name(first)} (probability {say.probability(first['probability'])})."


def _recovery_state(respond: Mapping[str, Any]) -> str:
    recovery = respond["recovery"]
    if recovery["recovered"]:
        return "The recovery test has passed."
    if recovery["recovered"] is False:
        return "The recovery test has failed so far."
    if not recovery["needed_n"]:
        return ""
    return f"Recovery test: {recovery['n'] or 0:,} of {count_words(recovery['needed_n'], 'answer')}."


def _answers(story: str, results: Mapping[str, Any]) -> list[dict[str, str]]:
    answers = [_is_it_real(results["triage"])]
    if "scope" in results:
        answers.append(_whom(results["scope"]))
    if "respond" in results:
        answers.append(_what_to_do(results["respond"]))
    return answers


def _is_it_real(triage: Mapping[str, Any]) -> dict[str, str]:
    words = {"real": "Yes", "false_positive": "No", "inconclusive": "Not decided"}[triage["verdict"]]
    p = say.probability(triage["probability_real"])
    return {
        "question": "Is it real?",
        "answer": f"{words}, P {p}" if p[0] in "<>" else f"{words}, P = {p}",
        "words": sections.review_words(triage),
    }


def _whom(scope: Mapping[str, Any]) -> dict[str, str]:
    if scope["kind"] == "mix":
        answer, words = "No slice: the questions changed", ""
    elif scope["kind"] == "none" or not scope["slices"]:
        answer, words = "No slice can be named", ""
    else:
        answer, words = capital(answers_of(scope["slices"][0]["where"])), _carries(scope)
    return {
        "question": "Whom does it hit?",
        "answer": answer,
        "words": f"{words} {sections.other_slices(scope)}".strip(),
    }


def _carries(scope: Mapping[str, Any]) -> str:
    share = scope["slices"][0]["share_of_change"]
    if scope["kind"] == "all" or share is None:
        return ""
    if share >= 0.95:
        return "This slice holds the whole change."
    return f"This slice holds {whole(share, 'share')} of the change."


def _what_to_do(respond: Mapping[str, Any]) -> dict[str, str]:
    acting = respond["options"][0]["costs"] if respond["options"] else (respond["cost_of_acting"] or {}).get("text")
    costs = {"Waiting": (respond["cost_of_waiting"] or {}).get("text"), "Acting": acting}
    told = [f"{what} costs: {lower(words.rstrip('.'))}." for what, words in costs.items() if words]
    return {"question": "What to do?", "answer": action_words(respond), "words": " ".join(told)}


def _facts(results: Mapping[str, Any]) -> list[dict[str, str]]:
    triage, respond = (results.get(stage) or {} for stage in ("triage", "respond"))
    onset = (results.get("isolate") or {}).get("onset") or {}
    start = started(results)
    unit = triage["unit"]
    level = sections.hit_level(results)
    ends = [say.moment(onset.get(name)).removesuffix(f"{say.NBSP}UTC") for name in ("low", "high")]
    interval = f"90 %: {' to '.join(ends)}" if onset.get("low") else "interval unknown"
    return [
        _fact("Started", say.moment(start), interval),
        _fact("Alert", say.moment(triage["fired_at"]), f"{say.lasting(start, triage['fired_at'])} after the start"),
        _fact(*_seen_since(triage, level)),
        _fact(
            "Change",
            say.difference(level["change"], unit),
            f"95 %: {say.span(level['low'], level['high'], unit, sign=True)[1:-1]}",
        ),
        _fact("Chance of a false alarm", _false_alarms(triage), "by design, this chart alone"),
        _fact("Status", _status(results), sections.recovery_count(respond)),
    ]


def _fact(name: str, value: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": note}


def _seen_since(triage: Mapping[str, Any], level: Mapping[str, Any]) -> tuple[str, str, str]:
    after, n, unit = level["after"], level["n_after"], triage["unit"]
    if after is None:
        return "Seen so far", "unknown", f"{count_words(n, 'answer')} since the start"
    if unit == "share":
        name = "Flagged so far" if triage["metric"] == "flagged_rate" else "Seen so far"
        expected = "unknown" if level["before"] is None else say.number(level["before"] * n)
        return name, f"{after * n:,.0f} of {count_words(n, 'answer')}", f"expected {expected} by the rate before"
    return (
        "Seen so far",
        f"{whole(after, unit)}, n {n:,}",
        f"{whole(level['before'], unit)} before, n {level['n_before']:,}",
    )


def _false_alarms(triage: Mapping[str, Any]) -> str:
    rate = triage["designed_false_alarms_per_month"]
    if rate is None:
        return "unknown"
    return f"{rate:.2f} a month" if rate >= 0.01 else "under 0.01 a month"


def _status(results: Mapping[str, Any]) -> str:
    if results["incident"].get("failure"):
        return "not finished"
    if results["learn"]["closed"]:
        return "closed"
    points = len(results["learn"]["open_points"])
    return f"open, {count_words(points, 'point')} to do" if points else "open"
