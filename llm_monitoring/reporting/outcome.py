"""What came out, in one sentence: which story the results tell, and its first words. No HTML here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llm_monitoring import wording as say
from llm_monitoring.incident.inference.slices import Band
from llm_monitoring.reporting.folder import STAGES

UNNAMED = ("silent", "no recorded change fits")
SENTENCES = {
    "flagged_rate": "{after} of {who} are flagged since {since}; before, {before}",
    "error_rate": "{after} of {who} fail since {since}; before, {before}",
    "refusal_rate": "{after} of {who} are refused since {since}; before, {before}",
    "truncation_rate": "{after} of {who} are cut off since {since}; before, {before}",
    "abandonment_rate": "{after} of {who} are followed by people leaving since {since}; before, {before}",
    "mean_quality": "{who} score {after} of 5 since {since}; before, {before}",
}
PLAIN = "{metric} of {who} went from {before} to {after} on {since}"
LEVELS = {
    "flagged_rate": "{after} of {who} are flagged",
    "error_rate": "{after} of {who} fail",
    "refusal_rate": "{after} of {who} are refused",
    "truncation_rate": "{after} of {who} are cut off",
    "abandonment_rate": "{after} of {who} are followed by people leaving",
    "mean_quality": "{who} score {after} of 5",
}
PLAIN_LEVEL = "{metric} of {who} at {after}"
TONES = {
    "false_positive": "before",
    "judge": "before",
    "inconclusive": "mute",
    "standing": "now",
    "quiet": "good",
    "better": "good",
    "recovered": "good",
}
CHIPS = {
    "failed": "Not finished:",
    "quiet": "No alert:",
    "standing": "Standing:",
    "better": "Better:",
    "recovered": "Recovered:",
    "judge": "False positive:",
    "false_positive": "False positive:",
    "inconclusive": "Inconclusive:",
    "mix": "Real, but the questions changed:",
    "tie": "Real; cause open between {count}:",
    "unrecorded": "Real; no recorded change fits:",
    "real": "Real:",
}
COUNTS = {2: "two", 3: "three", 4: "four", 5: "five"}


def outcome_of(results: Mapping[str, Any]) -> str:
    """Which story it is: failed, quiet, standing, better, recovered, judge, false_positive, inconclusive, mix, tie, unrecorded or real.

    Parameters
    ----------
    results : mapping
        `incident` and, where they ran, the stage results by name, as their JSON has them.

    Returns
    -------
    str
    """
    if results["incident"].get("failure"):
        return "failed"
    if results["incident"]["alert"] is None:
        return "quiet"
    triage, scope, isolate, respond = (results[stage] for stage in STAGES[:4])
    if triage.get("kind", "change") != "change":
        return triage["kind"]
    if any(row["cause"] == isolate["verdict"] and row["kind"] == "judge" for row in isolate["ranking"]):
        return "judge"
    if scope["kind"] == "mix" or (isolate["verdict"] == "mix" and scope["mix_effect"] is not None):
        return "mix"
    if triage["verdict"] != "real":
        return triage["verdict"]
    if respond["recovery"]["recovered"]:
        return "recovered"
    if isolate["verdict"] == "cannot tell apart" and len(isolate["candidates"]) > 1:
        return "tie"
    return "unrecorded" if isolate["verdict"] in UNNAMED else "real"


def first_sentence(results: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict that stands in front, and the rest of the sentence.

    >>> first_sentence({"incident": {"alert": None, "failure": None}, "triage": {"charts": 24, "days": 31, "words": "60 a day judged"}})
    ('No alert:', '24 charts, 31 days, nothing outside the limits; 60 a day judged.')
    """
    story = outcome_of(results)
    rest = _REST[story](results)
    count = len(results["isolate"]["candidates"]) if story == "tie" else 0
    return CHIPS[story].format(count=COUNTS.get(count, str(count))), rest


def answers_of(where: Mapping[str, Any]) -> str:
    """A slice as people say it.

    >>> answers_of({"feature_id": "opinionqa", "model_id": "gpt-4"})
    'gpt-4 answers in opinionqa'
    >>> answers_of({}), answers_of({"feature_id": "search"}), answers_of({"prompt_version": "v7"})
    ('all answers', 'answers in search', 'answers with prompt_version v7')
    >>> answers_of({"feature_id": "chat", "input_tokens": {"from": 1000, "to": None}})
    'answers with input_tokens 1,000 or more in chat'
    """
    bare = ("category", "model_id", "model", "model_alias", "model_family")
    others = {name: value for name, value in where.items() if name not in bare and name != "feature_id"}
    kind = " ".join(_value(where[name]) for name in where if name in bare) or ("" if where else "all")
    having = f" with {say.listed([f'{name} {_value(value)}' for name, value in others.items()])}" if others else ""
    inside = f" in {_value(where['feature_id'])}" if where.get("feature_id") is not None else ""
    return f"{kind} answers{having}{inside}".strip()


def level_sentence(results: Mapping[str, Any]) -> str:
    """Who, which measure, now, before, since when: the sentence of an incident that is real."""
    triage = results["triage"]
    level = hit_level(results)
    who = answers_of(level.get("where", {"feature_id": triage["feature_id"]} if triage["feature_id"] else {}))
    unit, metric = triage["unit"], triage["metric"]
    per = triage["change"].get("per") or ""
    if level["after"] is None:
        return triage["reasons"][0]
    words = {
        "who": who,
        "metric": say.metric_words(metric),
        "after": whole(level["after"], unit) + per,
        "before": whole(level["before"], unit, level["after"]) + per,
        "since": _since(results),
    }
    if level["before"] is None:
        return LEVELS.get(metric, PLAIN_LEVEL).format(**words) + "."
    return SENTENCES.get(metric, PLAIN).format(**words) + "."


def hit_level(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """Before, since, change and n of what was hit: the slice where one is named, else the feature that alerted.

    Of a branch of the service that takes more of the traffic the number of answers moved, not their level, so what moved is
    the level of the feature.
    """
    scope, triage = results.get("scope"), results["triage"]
    if scope and scope["slices"] and scope["kind"] in ("slice", "all") and triage.get("kind") != "standing":
        rerouted = scope.get("branch") and len(scope["slices"]) > 1
        row: Mapping[str, Any] = scope["slices"][0]
        if not rerouted and "others" not in row:
            return row
    return {**triage["change"], "change": triage["change"]["estimate"]}


def _since(results: Mapping[str, Any]) -> str:
    """Since when it was harmed; until the fix, where there is one."""
    fix = ((results.get("respond") or {}).get("recovery") or {}).get("fix")
    start = say.day(started(results))
    return f"{start}, until the fix of {say.day(fix['at'])}" if fix else start


def whole(value: float | None, unit: str, like: float | None = None) -> str:
    """A level for a headline: shares in whole percent, and with one place below 1 percent; `like` as for `amount`.

    >>> whole(0.022, "share").replace("\\u00a0", " "), whole(0.004, "share").replace("\\u00a0", " ")
    ('2 %', '0.4 %')
    """
    if unit == "share" and value is not None and value >= 0.01:
        return f"{say.number(100 * value)}{say.NBSP}%"
    return say.amount(value, unit, like)


def started(results: Mapping[str, Any]) -> str:
    """When it began: the onset that isolate found, else the start of the period that triage calls now."""
    onset = (results.get("isolate") or {}).get("onset") or {}
    return onset.get("at") or results["triage"]["since"]


def count_words(n: int, one: str, many: str | None = None) -> str:
    """A count with its noun.

    >>> count_words(1, "case"), count_words(1200, "case")
    ('1 case', '1,200 cases')
    """
    return f"{n:,}{say.NBSP}{one if n == 1 else many or one + 's'}".replace(say.NBSP, " ")


def action_words(respond: Mapping[str, Any]) -> str:
    """What to do, as an order: the words of the first option where there is one.

    >>> action_words({"action": "rollback", "target": "chg-7", "options": []})
    'Roll back chg-7'
    """
    if respond["options"]:
        return capital(respond["options"][0]["do"].rstrip("."))
    target = f" {respond['target']}" if respond["target"] else ""
    verbs = {
        "rollback": f"Roll back{target or ' the change'}",
        "hotfix": f"Fix{target or ' the slice'}",
        "revert_judge": "Put the judge back to its last version",
        "investigate": f"Look into{target or ' what changed'}",
        "none": "Nothing has to be done to the feature",
    }
    return verbs[respond["action"]]


def capital(words: str) -> str:
    """The words with a capital first letter; names such as gpt-4 keep theirs.

    >>> capital("roll back chg-7"), capital("gpt-4 answers in qa")
    ('Roll back chg-7', 'gpt-4 answers in qa')
    """
    first = words.split(" ", 1)[0]
    return words[:1].upper() + words[1:] if first.isalpha() else words


def lower(words: str) -> str:
    """The words with a small first letter, unless the first word is a name or an abbreviation."""
    first = words.split(" ", 1)[0]
    return words[:1].lower() + words[1:] if first[1:].islower() or len(first) == 1 else words


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return Band(value["from"], value["to"]).words
    return " or ".join(str(v) for v in value) if isinstance(value, list | tuple) else str(value)


def _feature(triage: Mapping[str, Any]) -> str:
    return triage["feature_id"] or "all features"


def _failed(results: Mapping[str, Any]) -> str:
    failure, stages = results["incident"]["failure"], results["incident"]["stages"]
    stand = [stage for stage in STAGES if stages.get(stage) == "done"]
    standing = f"{say.listed(stand)} {'stands' if len(stand) == 1 else 'stand'}" if stand else "no stage stands"
    return f"stage {STAGES.index(failure['stage']) + 1} stopped (message below); {standing}."


def _quiet(results: Mapping[str, Any]) -> str:
    quiet = results["triage"]
    if not quiet["charts"]:
        return "the log is too short or too thin to fit a chart, so a fall would not have been seen."
    told = f"{count_words(quiet['charts'], 'chart')}, {count_words(quiet['days'], 'day')}, nothing outside the limits"
    return (
        f"{told}; {quiet['words'] or 'no judged answers are charted, so a fall of quality would not have been seen'}."
    )


def _recovered(results: Mapping[str, Any]) -> str:
    because, learn = results["respond"]["recovery"]["because"].rstrip(".").removeprefix("Recovered: "), results["learn"]
    if learn["closed"]:
        return f"{because}; closed."
    verb = "is" if learn["cases"] == 1 else "are"
    return f"{because}; closed when {count_words(learn['cases'], 'case')} {verb} in the eval suite."


def _judge(results: Mapping[str, Any]) -> str:
    evidence: list[str] = next((row["evidence"] for row in results["isolate"]["ranking"] if row["kind"] == "judge"), [])
    told = f": {evidence[0]}" if evidence else "."
    return f"the judge changed, not the answers{told}"


def _false_positive(results: Mapping[str, Any]) -> str:
    triage = results["triage"]
    change, unit, flags = triage["change"], triage["unit"], triage["metric"] == "flagged_rate"
    rose = "rose" if triage["direction"] == "up" else "fell"
    if change["before"] is None or change["after"] is None:
        return triage["reasons"][0]
    what = f"flags in {_feature(triage)}" if flags else f"{say.metric_words(triage['metric'])} of {_feature(triage)}"
    moved = f"{what} {rose} from {whole(change['before'], unit, change['after'])} to {whole(change['after'], unit)} by {say.day(triage['fired_at'])}"
    if triage["reviewed"]:
        was = "was" if triage["deserved"] == 1 else "were"
        return f"{moved}, but only {triage['deserved']} of {triage['reviewed']} that were read {was} deserved; quality is not lower."
    return f"{moved}, which chance or other questions explain better than worse answers."


def _inconclusive(results: Mapping[str, Any]) -> str:
    triage = results["triage"]
    change, unit = triage["change"], triage["unit"]
    if change["low"] is None:
        return triage["reasons"][0]
    up = triage["direction"] == "up"
    least, most = (change["low"], change["high"]) if up else (-change["high"], -change["low"])
    ends = [say.amount(max(0.0, end), unit, like=most) for end in (least, most)]
    if unit in ("share", "score"):
        ends = [end.removesuffix(f"{say.NBSP}%") for end in ends]
    points = " points" if unit in ("share", "score") else ""
    verb = "risen" if up else "fallen"
    return (
        f"{say.metric_words(triage['metric'])} of {_feature(triage)} may have {verb} by {ends[0]} to {ends[1]}{points}."
    )


def _standing(results: Mapping[str, Any]) -> str:
    limit, unit = results["triage"].get("limit"), results["triage"]["unit"]
    told = level_sentence(results).rstrip(".")
    return f"{told} (limit {whole(limit, unit)})." if limit is not None else f"{told}."


def _mix(results: Mapping[str, Any]) -> str:
    scope = results["scope"]
    grown = grown_most(scope)
    worse = [row for row in scope["leaves"] if row["verdict"] == "worse"]
    last = "no slice got worse" if not worse else f"{say.listed([row['label'] for row in worse])} got worse too"
    if grown is None:
        return f"{last}." if scope["leaves"] else scope["reasons"][0]
    row, before, after = grown
    return f"{row['label']} went from {whole(before, 'share')} to {whole(after, 'share')} of the answers seen; {last}."


def grown_most(scope: Mapping[str, Any]) -> tuple[dict[str, Any], float, float] | None:
    """The part of the traffic that grew most, with its share of the answers seen before and since."""
    total_before, total_after = (sum(row[n] for row in scope["leaves"]) for n in ("n_before", "n_after"))
    if not total_before or not total_after:
        return None
    parts = [(row, row["n_before"] / total_before, row["n_after"] / total_after) for row in scope["leaves"]]
    return max(parts, key=lambda part: part[2] - part[1])


def _tie(results: Mapping[str, Any]) -> str:
    isolate = results["isolate"]
    rows = [row for row in isolate["ranking"] if row["cause"] in isolate["candidates"]]
    named = [f"{say.cause_name(row['cause'], row['recorded'])} ({say.probability(row['probability'])})" for row in rows]
    return (
        f"{say.listed(named)} cannot be told apart; {lower(say.one_line(results['respond']['next'], 160)).rstrip('.')}."
    )


def _unrecorded(results: Mapping[str, Any]) -> str:
    isolate, onset = results["isolate"], results["isolate"]["onset"]
    who = answers_of(isolate["where"])
    if onset.get("low") is None:
        return f"something unlogged moved {who}."
    return f"something unlogged moved {who} between {say.moment(onset['low'])} and {say.moment(onset['high'])}."


def candidates(isolate: Mapping[str, Any]) -> str:
    """The causes that cannot be told apart, as people list them."""
    recorded = {row["cause"]: row["recorded"] for row in isolate["ranking"]}
    return say.listed([say.cause_name(name, recorded.get(name, False)) for name in isolate["candidates"]])


_REST = {
    "failed": _failed,
    "quiet": _quiet,
    "standing": _standing,
    "better": level_sentence,
    "recovered": _recovered,
    "judge": _judge,
    "false_positive": _false_positive,
    "inconclusive": _inconclusive,
    "mix": _mix,
    "tie": _tie,
    "unrecorded": _unrecorded,
    "real": level_sentence,
}
