"""Stage results told as a page: sentences, facts, sections. Results in, a dict out; no HTML, nothing computed anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_monitoring import wording as say
from llm_monitoring.reporting import messages, sections
from llm_monitoring.reporting.outcome import (
    TONES,
    action_words,
    answers_of,
    capital,
    count_words,
    first_sentence,
    hit_level,
    level_sentence,
    lower,
    outcome_of,
    started,
    whole,
)

QUOTED = {
    "abandonment_rate": ("The user left after this", "The user went on after this"),
    "correction_rate": ("The user corrected this", "The user took this"),
    "retry_rate": ("The user asked again after this", "The user took this"),
}
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
        title, eyebrow, opening, tone, headline, lede, answers, quotes, facts, sections, messages: texts, and blocks of
        them (`reporting.blocks`).
    """
    story = outcome_of(results)
    opening, headline = first_sentence(results)
    incident = results["incident"]
    until = incident["log"]["until"]
    known = say.moment(until, year=True)
    told = "triage" in results and incident["alert"] is not None
    made = {
        "outcome": story,
        "title": f"{opening} {headline} ({known})",
        "eyebrow": f"Incident {incident['incident_id']}. Known at {known}.",
        "opening": opening,
        "tone": TONES.get(story, "now"),
        "headline": headline,
        "lede": _lede(story, results),
        "answers": _answers(story, results) if told else [],
        "quotes": _quotes(results) if told else [],
        "facts": _facts(story, results) if told else [],
        "typed": _typed(story, results) if told else [],
        "sections": sections.all_of(story, results),
    }
    return {**made, "messages": messages_of(made, results)}


def messages_of(told: Mapping[str, Any], results: Mapping[str, Any]) -> list[dict[str, str]]:
    """What to paste elsewhere: for a chat, and for a ticket."""
    return [
        {"name": "To paste into a chat", "words": messages.chat_text(told, results)},
        {"name": "To paste into a ticket", "words": messages.ticket_text(told, results)},
    ]


def _quotes(results: Mapping[str, Any]) -> list[dict[str, str]]:
    """Two bad answers and a good one, cut for the page, with the whole beside them."""
    found = (results.get("learn") or {}).get("quotes") or {}
    standing = results["triage"].get("kind") == "standing"
    bad, good = found.get("bad") or [], found.get("good")
    worse, other = QUOTED.get(results["triage"]["metric"], ("A bad answer", "A good one"))
    named = [(worse, row) for row in bad]
    named += [(f"{other}, of the same time" if standing else f"{other}, from before", good)] if good and bad else []
    return [
        {
            "name": f"{name}, {say.moment(row['timestamp'])}",
            "tone": "good" if row is good else "bad",
            "question": row["user_input"],
            "answer": row["system_output"],
            "why": row["why"],
            "question_cut": say.one_line(row["user_input"], 110),
            "answer_cut": say.one_line(row["system_output"], 190),
        }
        for name, row in named
    ]


def _lede(story: str, results: Mapping[str, Any]) -> str:
    if story == "failed":
        failure = results["incident"]["failure"]
        return f"{failure['notebook']}, cell {failure['cell']}: {failure['error']}"
    if story == "quiet":
        log = results["incident"]["log"]
        return f"The log holds {say.moment(log['from'], year=True)} to {say.moment(log['until'], year=True)}."
    triage, respond = results["triage"], results["respond"]
    doubted = story == "false_positive" or (story == "mix" and respond["action"] == "investigate")
    todo = "" if doubted else f"To do: {lower(action_words(respond))}."
    if story == "standing":
        return f"A level, not a change: no cause is looked for. {todo}"
    if story == "better":
        return f"Nothing to do, and waiting costs nothing. {' '.join(respond['wrong_if'][:1])}"
    if story in ("false_positive", "inconclusive", "judge", "mix"):
        return f"{triage['next']} {todo}".strip()
    if story == "recovered":
        return f"{capital(level_sentence(results))} {_blame(results)}"
    told = [capital(level_sentence(results))] if story in ("tie", "unrecorded") else [_blame(results)]
    told.append(todo)
    told.append(_recovery_state(respond))
    return " ".join(part for part in told if part)


def _blame(results: Mapping[str, Any]) -> str:
    isolate = results["isolate"]
    first = isolate["ranking"][0] if isolate["ranking"] else None
    if first is None or isolate["verdict"] in ("none", "cannot tell apart"):
        return "No cause stands out."
    words = LIKELY.get(say.likely(first["probability"]), "Perhaps because of")
    return f"{words} {say.cause_line(first).rstrip('.')} (probability {say.probability(first['probability'])})."


def _recovery_state(respond: Mapping[str, Any]) -> str:
    recovery = respond["recovery"]
    if recovery["recovered"] is None and not recovery.get("days"):
        return ""
    return f"{capital(say.recovery_time(recovery))}."


def _answers(story: str, results: Mapping[str, Any]) -> list[dict[str, str]]:
    answers = [_is_it_real(results["triage"], story)]
    if "scope" in results:
        answers.append(_whom(results["scope"], story == "better"))
    if story == "false_positive":
        answers.append(
            {"question": "What to do?", "answer": "Nothing in the feature", "words": results["triage"]["next"]}
        )
    elif "respond" in results:
        answers.append(_what_to_do(results["respond"]))
    return answers


def _is_it_real(triage: Mapping[str, Any], story: str) -> dict[str, str]:
    words = {"real": "Yes", "false_positive": "No", "inconclusive": "Not decided"}[triage["verdict"]]
    p = say.probability(triage["probability_real"])
    means = {
        "standing": "P: the probability that the level is beyond its limit.",
        "better": "P: the probability that the level is better than before.",
    }.get(
        triage.get("kind", "change"),
        "P: the probability that answers got worse, and not by chance, by other questions or by the judge."
        if say.is_judged(triage["metric"])
        else f"P: the probability that {say.metric_words(triage['metric'])} got worse, and not by chance or by other questions.",
    )
    return {
        "question": "Did answers get worse?" if story == "mix" else "Is it real?",
        "answer": f"{words}, P {p}" if p[0] in "<>" else f"{words}, P = {p}",
        "words": f"{sections.review_words(triage)} {means}".strip(),
    }


def _whom(scope: Mapping[str, Any], better: bool = False) -> dict[str, str]:
    if scope["kind"] == "mix":
        answer, words = "No slice: the questions changed", ""
    elif scope["kind"] == "none" or not scope["slices"]:
        answer, words = "No slice can be named", ""
    else:
        answer = capital(answers_of(scope["slices"][0]["where"]))
        words = f"{scope.get('branch') or ''} {_carries(scope)}".strip()
    if scope["slices"] and "others" in scope["slices"][0]:
        return {"question": "Where is it highest?", "answer": answer, "words": scope["reasons"][0]}
    return {
        "question": sections.whom_asked(scope, better),
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
    first = respond["options"][0] if respond["options"] else None
    waiting = (respond["cost_of_waiting"] or {}).get("text")
    told = [] if not waiting else [f"Waiting costs {lower(waiting.rstrip('.'))}."]
    if first and first["do"] != "wait":
        told.append(f"Acting costs {lower(first['costs'].rstrip('.'))}.")
        saves = (respond["cost_of_acting"] or {}).get("saves")
        told += [f"{capital(saves)}."] if saves and first["costs"] == respond["cost_of_acting"]["text"] else []
    return {"question": "What to do?", "answer": action_words(respond), "words": " ".join(told)}


def _typed(story: str, results: Mapping[str, Any]) -> list[dict[str, str]]:
    """What to type next, each command with what it is for."""
    triage, incident = results["triage"], results["incident"]
    told = []
    if say.is_judged(triage["metric"]) and story != "better":
        told.append({"command": "jupyter lab 1_triage.ipynb", "words": "in this folder, to read flagged answers"})
    if triage.get("kind", "change") == "change":
        why = "after the fix, to see whether it worked"
        if story in ("false_positive", "inconclusive", "judge", "mix"):
            why = "later, to look again"
        told.append({"command": sections.call_later(incident), "words": why})
    return told


def _facts(story: str, results: Mapping[str, Any]) -> list[dict[str, str]]:
    """What is not known is left out."""
    triage, respond = (results.get(stage) or {} for stage in ("triage", "respond"))
    onset = (results.get("isolate") or {}).get("onset") or {}
    start = started(results)
    unit = triage["unit"]
    level = hit_level(results)
    facts = []
    if story == "standing":
        facts.append(
            _fact("Alert", say.moment(triage["fired_at"]), "the end of the first week or window beyond the limit")
        )
        if triage["change"]["after"] is not None:
            c = triage["change"]
            facts.append(
                _fact(
                    "Level",
                    f"{whole(c['after'], unit)}, n {c['n_after']:,}",
                    _interval(c["after_low"], c["after_high"], unit, c["n_after"]),
                )
            )
        if triage.get("limit") is not None:
            facts.append(_fact("Limit", whole(triage["limit"], unit), "set in the plan, or its default"))
    else:
        if onset.get("low"):
            ends = [say.moment(onset[name]).removesuffix(f"{say.NBSP}UTC") for name in ("low", "high")]
            facts.append(
                _fact(
                    "Better since" if story == "better" else "Started",
                    say.moment(start),
                    f"with 90 % probability between {' and '.join(ends)}",
                )
            )
        else:
            facts.append(
                _fact("Started", say.moment(start), "the window that alerted; its start was not narrowed down")
            )
        facts.append(
            _fact("Alert", say.moment(triage["fired_at"]), f"{say.lasting(start, triage['fired_at'])} after the start")
        )
        if level["after"] is not None and level["before"] is not None:
            facts.append(_fact(*_seen_since(triage, level)))
        if level["change"] is not None:
            sign = _interval(level["low"], level["high"], unit, min(level["n_before"], level["n_after"]), sign=True)
            shown = say.difference(level["change"], unit)
            chosen = bool(level.get("where")) and level["after"] is not None and level["before"] is not None
            if chosen and say.difference(level["after"] - level["before"], unit) != shown:
                sign += "; corrected for having picked the slice that moved most"
            facts.append(_fact("Change", shown, sign))
    if triage["designed_false_alarms_per_month"] is not None:
        facts.append(
            _fact(
                "Expected false alarms",
                _false_alarms(triage),
                "how often this chart or rule fires falsely, by design",
            )
        )
    facts.append(
        _fact(
            "Status",
            _status(results),
            say.recovery_time(respond["recovery"]) if respond and story not in ("standing", "better") else "",
        )
    )
    return facts


def _interval(low: float | None, high: float | None, unit: str, n: int, sign: bool = False) -> str:
    """A 95 % interval in words, and why it is wide where few answers are behind it."""
    if low is None or high is None:
        return "too few for an interval"
    told = f"95 % interval: {say.span(low, high, unit, sign=sign)[1:-1]}"
    return f"{told}; wide, as only {n:,} answers are on one side" if sign and n < 100 else told


def _fact(name: str, value: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": note}


def _seen_since(triage: Mapping[str, Any], level: Mapping[str, Any]) -> tuple[str, str, str]:
    after, n, unit = level["after"], level["n_after"], triage["unit"]
    per = triage["change"].get("per") or ""
    if unit == "share" and not per and triage["metric"] not in ("probe_pass_rate", "probe_distance"):
        name = "Flagged so far" if triage["metric"] == "flagged_rate" else "Seen so far"
        expected = say.number(level["before"] * n)
        return name, f"{after * n:,.0f} of {count_words(n, 'answer')}", f"{expected} would be by the rate before"
    return (
        "Level since",
        f"{whole(after, unit)}{per}, n {n:,}",
        f"{whole(level['before'], unit)}{per} before, n {level['n_before']:,}",
    )


def _false_alarms(triage: Mapping[str, Any]) -> str:
    rate = triage["designed_false_alarms_per_month"]
    return f"{rate:.2f} a month" if rate >= 0.01 else "under 0.01 a month"


def _status(results: Mapping[str, Any]) -> str:
    if results["incident"].get("failure"):
        return "not finished"
    if results["triage"].get("kind", "change") != "change":
        return {"standing": "it stands; no incident to close", "better": "no incident to close"}[
            results["triage"]["kind"]
        ]
    if results["learn"]["closed"]:
        return "closed"
    points = len(results["learn"]["open_points"])
    return f"open, {count_words(points, 'point')} to do" if points else "open"
