"""The sections of the page, in the order in which people ask: when, real, whom, why, what to do, known when, how."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from llm_monitoring import wording as say
from llm_monitoring.reporting import stages
from llm_monitoring.reporting.blocks import Block, action, bar, bullets, command, figure, heading, table, text
from llm_monitoring.reporting.figures import MOST_SLICES
from llm_monitoring.reporting.moments import PAGE
from llm_monitoring.reporting.outcome import (
    STAGES,
    action_words,
    answers_of,
    candidates,
    capital,
    count_words,
    outcome_of,
    started,
    whole,
)

MOST_PROBES = 20
VERDICTS = {"real": "real", "false_positive": "false positive", "inconclusive": "inconclusive"}
UNITS = {
    "share": "% of answers",
    "score": "scores of 1 to 5",
    "ms": "time",
    "usd": "USD",
    "count": "count",
    "requests": "requests",
    "p": "p-value",
}


def all_of(story: str, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every section for which there are results, in the order of the page."""
    made: list[dict[str, Any] | None]
    if story == "quiet":
        made = [_quiet(results["triage"])]
    else:
        made = [_stopped(results), _time(results), _real(results), _whom(results)]
        made += [
            _probes(results) if story != "standing" else None,
            _why(story, results) if story != "standing" else None,
            _do(results),
        ]
        made += [_known(results["incident"]) if story != "standing" else None, stages.folded(results)]
    made += [_other_alerts(results["incident"]), _assumptions(story, results), _again(results["incident"])]
    return [section for section in made if section is not None]


def _section(ident: str, link: str, title: str, answer: str, blocks: list[Block]) -> dict[str, Any]:
    return {"id": ident, "link": link, "heading": title, "answer": answer, "blocks": blocks, "stages": []}


def _stopped(results: Mapping[str, Any]) -> dict[str, Any] | None:
    failure = results["incident"]["failure"]
    if not failure:
        return None
    left = [stage for stage in STAGES if results["incident"]["stages"].get(stage) == "not run"]
    answer = f"Stage {failure['stage']} stopped" + (f"; {say.listed(left)} did not run." if left else ".")
    where = f"{failure['notebook']}, cell {failure['cell']}"
    return _section("stopped", "What stopped", "What stopped", answer, [text(failure["error"], lead=f"{where}:")])


def _time(results: Mapping[str, Any]) -> dict[str, Any] | None:
    isolate = results.get("isolate")
    if not isolate or not isolate["answers"]:
        return None
    fired, start = results["triage"]["fired_at"], started(results)
    first, last = isolate["answers"][0]["timestamp"], isolate["answers"][-1]["timestamp"]
    label = _where_label(results)
    n = len(isolate["answers"])
    shown = figure(
        "time",
        capital(f"{label}"),
        f"{say.moment(first)} to {say.moment(last)}",
        f"n {n:,}. Each mark is one answer{_counted_as_bad(results['triage'])}. The band is the 90 % interval of the start; "
        "dashes are recorded changes.",
    )
    answer = f"It begins {say.moment(start)}, and the alert comes {say.lasting(start, fired)} later."
    return _section("time", "Time line", "Time line", answer, [shown])


def _counted_as_bad(triage: Mapping[str, Any]) -> str:
    """Of a measure without an end, what the marks above are."""
    return ", bad one of the worst 5 % of all" if triage["unit"] in ("usd", "ms", "count") else ""


def _real(results: Mapping[str, Any]) -> dict[str, Any] | None:
    triage = results.get("triage")
    if not triage:
        return None
    words = {"real": "Yes.", "false_positive": "No.", "inconclusive": "Not decided."}[triage["verdict"]]
    blocks: list[Block] = []
    if triage.get("kind") == "standing":
        if triage["chart"]:
            blocks.append(_level_figure(triage))
        blocks.append(bullets(triage["reasons"]))
        return _section(
            "real", "The level", "How high is it?", f"{capital(triage['summary'].split(': ', 1)[-1])}.", blocks
        )
    if triage["chart"]:
        blocks.append(_chart_figure(triage))
    blocks.append(bullets(triage["reasons"]))
    return _section("real", "Is it real?", "Is it real?", f"{words} {triage['message'] or triage['next']}", blocks)


def _chart_figure(triage: Mapping[str, Any]) -> Block:
    rows = [row for row in triage["chart"] if row["center"] is not None]
    rate = triage["designed_false_alarms_per_month"]
    told = []
    if rows:
        told.append(f"Expected {say.amount(rows[-1]['center'], triage['unit'])}.")
    watched = any(row.get("statistic") is not None for row in rows)
    told.append("Dark line: the mean of recent windows, which the chart watches." if watched else "")
    told.append(f"Band: the limits of chance{' for it' if watched else ''}, widened for the error of the baseline.")
    if rate is not None:
        told.append(f"Expected false alarms of this chart: {say.number(rate, 2)} a month.")
    if any(row["alarm"] is None for row in triage["chart"]):
        told.append("Open diamond: the window is not over, so it is not charted.")
    of = f" in {triage['feature_id']}" if triage["feature_id"] else ""
    title = f"{capital(say.metric_words(triage['metric']))}{of}"
    return figure("chart", title, f"{unit_words(triage['unit'])}, one point a window", " ".join(filter(None, told)))


def _level_figure(triage: Mapping[str, Any]) -> Block:
    every = triage["chart"][0].get("every") or "window"
    of = f" in {triage['feature_id']}" if triage["feature_id"] else ""
    caption = f"Each mark one {every}, its line the 95 % interval. The dashed line is the limit. Below: the number of answers."
    title = f"{capital(say.metric_words(triage['metric']))}{of}"
    return figure("chart", title, f"{unit_words(triage['unit'])}, over the whole log", caption)


def unit_words(unit: str) -> str:
    """What a number is counted in, as it stands beside a figure's title."""
    return UNITS.get(unit, unit)


def _whom(results: Mapping[str, Any]) -> dict[str, Any] | None:
    scope = results.get("scope")
    if not scope:
        return None
    first = answers_of(scope["slices"][0]["where"]) if scope["slices"] else None
    answer = {
        "all": "All answers alike; no slice stands out.",
        "slice": f"{capital(str(first))}. {other_slices(scope)}",
        "mix": "Nobody gets worse answers than before: other questions came.",
        "none": f"No slice can be named. {other_slices(scope)}",
    }[scope["kind"]]
    blocks: list[Block] = []
    if scope["slices"] and "others" in scope["slices"][0]:
        return _section(
            "who",
            "Where it is highest",
            "Where is it highest?",
            scope["reasons"][0],
            [*_apart_figure(scope), *_looked(scope)],
        )
    rows = [*scope["slices"], *scope["leaves"]]
    if any(row["before"] is not None for row in rows) and scope["kind"] != "mix":
        start = say.moment(scope["since"])
        caption = (
            f"Circle: before {start}. Diamond: since then; hollow with a broken line where the data do not decide. "
            "Fewer than 20 answers since: too few to tell."
        )
        left = len({row["label"] for row in rows}) - MOST_SLICES
        caption += f" {count_words(left, 'more part')} of the traffic stand in stage 2." if left > 0 else ""
        title = f"{capital(say.metric_words(scope['metric']))} by slice"
        blocks.append(figure("who", title, f"{unit_words(scope['unit'])}, 95 % intervals, n before → since", caption))
    blocks += _looked(scope)
    title = whom_asked(results["scope"], results["triage"].get("kind") == "better")
    return _section("who", "Whom it hits", title, answer.strip(), blocks)


def _apart_figure(scope: Mapping[str, Any]) -> list[Block]:
    if not any(row.get("others") is not None for row in [*scope["slices"], *scope["leaves"]]):
        return []
    caption = "Diamond: this part of the traffic. Circle: all other answers of the same time. Fewer than 20 answers: too few to tell."
    title = f"{capital(say.metric_words(scope['metric']))} by part of the traffic"
    return [figure("who", title, f"{unit_words(scope['unit'])}, 95 % intervals, n others → here", caption)]


def _looked(scope: Mapping[str, Any]) -> list[Block]:
    """Which columns were searched for slices, and which were not, with the reason."""
    looked, left = scope.get("looked_at") or [], scope.get("not_looked_at") or {}
    told = []
    if looked:
        told.append(f"Looked at: {', '.join(looked)}.")
    if left:
        reasons: dict[str, list[str]] = {}
        for column, why in left.items():
            reasons.setdefault(why, []).append(column)
        told.append(
            f"Not looked at: {'; '.join(f'{say.listed(columns)} ({why})' for why, columns in reasons.items())}."
        )
    return [text(" ".join(told), quiet=True)] if told else []


def _probes(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Passes of the probes before and since, for each feature, check and model."""
    probes = results["incident"].get("probes")
    if not probes:
        return None
    rows = [
        [
            row["label"],
            f"{say.amount(row['before'], 'share')} of {row['n_before']:,}",
            f"{say.amount(row['after'], 'share')} of {row['n_after']:,}",
            f"{say.difference(row['change'], 'share')} {say.span(row['low'], row['high'], 'share', sign=True)}",
            row["verdict"],
        ]
        for row in probes[:MOST_PROBES]
    ]
    said = {
        "passes less": ("is passed less often", "are passed less often"),
        "passes more": ("is passed more often", "are passed more often"),
    }
    told = {name: sum(row["verdict"] == name for row in probes) for name in said}
    counted = [f"{n} of {count_words(len(probes), 'check')} {said[name][n > 1]}" for name, n in told.items() if n]
    less = counted or [f"None of {count_words(len(probes), 'check')} is passed more or less often than before"]
    caption = f"Share passed, before and since {say.moment(results['scope']['since'])}; changes paired by probe, 95 %"
    left = f" The {MOST_PROBES} largest losses are shown." if len(probes) > MOST_PROBES else ""
    hit = [i for i, row in enumerate(probes[:MOST_PROBES]) if row["verdict"] == "passes less"]
    shown = table(["Probe", "Before", "Since", "Change", "Verdict"], rows, caption, numeric=(1, 2, 3), hit=hit)
    answer = f"{capital('; '.join(less))}.{left}"
    return _section("probes", "Probes", "What the probes say", answer, [shown])


def _why(story: str, results: Mapping[str, Any]) -> dict[str, Any] | None:
    isolate = results.get("isolate")
    if not isolate or not isolate["ranking"]:
        return None
    if story == "better" and not isolate["ranking"][0]["recorded"]:
        return None
    first = isolate["ranking"][0]
    blocks: list[Block] = []
    if story == "mix":
        blocks.append(
            figure(
                "mix",
                "What the traffic is made of",
                "share of the answers seen, 95 % intervals",
                "Circle: before. Diamond: since.",
            )
        )
    caption = "Hatched: not in the change log. Probabilities add up to 1 over the causes considered."
    blocks.append(figure("why", "Possible causes", "probability", caption))
    for row in isolate["ranking"]:
        if story != "better" and row["cause"] in isolate["candidates"] and row["evidence"]:
            blocks += [heading(f"Evidence: {_titled(row)}"), bullets(row["evidence"])]
    wrong = isolate["what_would_change_this"]
    if wrong and story != "better":
        blocks.append(text(" ".join(wrong), lead="What would make this wrong:"))
    p = f"{say.likely(first['probability'])} ({say.probability(first['probability'])})"
    answer = {
        "tie": f"Open between {candidates(isolate)}.",
        "unrecorded": f"Something that is not in the change log, {p}.",
        "better": f"Nothing to explain; nearest to the improvement: {_titled(first)}, {p}.",
        "judge": f"The judge, {p}.",
        "mix": f"Other questions, {p}.",
    }.get(story, f"{capital(_titled(first))}, {p}.")
    title = "What may have done it?" if story == "better" else "What did it?"
    return _section("why", "What did it", title, answer, blocks)


def _do(results: Mapping[str, Any]) -> dict[str, Any] | None:
    respond = results.get("respond")
    if not respond:
        return None
    blocks: list[Block] = [action(f"{action_words(respond)}."), text(capital(respond["because"]))]
    if outcome_of(results) == "false_positive":
        doubt = f"{capital(respond['because'])} {capital(action_words(respond))}."
        blocks = [
            action("Nothing in the feature."),
            text(results["triage"]["next"]),
            text(doubt, lead="If the verdict is wrong:"),
        ]
    if respond["options"]:
        rows = [[o["do"], o["costs"], o["gains"], o["undo"]] for o in respond["options"]]
        blocks.append(table(["If you", "it costs", "it gains", "undo"], rows, hit=(0,)))
    recovery = respond["recovery"]
    if recovery["test"] and (results["triage"].get("kind") != "better"):
        blocks += [heading("Recovery test"), text(recovery["test"])]
        if recovery["needed_n"] and recovery.get("fix") is not None:
            blocks.append(bar(recovery["n"] or 0, recovery["needed_n"], f"{capital(say.recovery_time(recovery))}."))
        if recovery["because"]:
            blocks.append(text(recovery["because"], quiet=True))
    told = (results.get("isolate") or {}).get("what_would_change_this") or []
    wrong = [one for one in respond["wrong_if"] if one not in told]
    if wrong:
        blocks.append(text(" ".join(wrong), lead="What would make this advice wrong:"))
    return _section("do", "What to do", "What to do", "", blocks)


def _known(incident: Mapping[str, Any]) -> dict[str, Any] | None:
    moments = incident["known_when"]
    if not moments:
        return None
    pages = [i for i, row in enumerate(moments) if row["what"] == PAGE and row["at"] == incident["log"]["until"]]
    this = pages[-1] if pages else len(moments) - 1
    rows = [
        [
            say.moment(row["at"]),
            "an earlier page" if row["what"] == PAGE and i != this else row["what"],
            row["label"] or "all answers",
            f"{whole(row['value'], row['unit'])} {say.span(row['low'], row['high'], row['unit'], like=row['value'])} of {row['n']:,}"
            if row["value"] is not None
            else "not yet measured",
            f"{VERDICTS[row['verdict']]}, {say.probability(row['probability_real'])}",
            f"{say.cause_line({'cause': row['cause'], 'recorded': False})}, {say.probability(row['probability'])}"
            if row["cause"]
            else "none named",
        ]
        for i, row in enumerate(moments)
    ]
    head = [
        "At",
        "What happened",
        "Whom it hit, on the data then",
        "Since the start (95 %)",
        "Verdict then",
        "First cause then",
    ]
    answer = "Each row uses only what had been seen, judged and reviewed by then."
    return _section("known", "Known when", "What was known when", answer, [table(head, rows, hit=(this,))])


def _other_alerts(incident: Mapping[str, Any]) -> dict[str, Any] | None:
    if not incident["other_alerts"]:
        return None
    rows = [
        [say.moment(row["fired_at"]), row["layer"] or "", row["feature_id"] or "all", row["message"] or row["metric"]]
        for row in incident["other_alerts"][:20]
    ]
    left = len(incident["other_alerts"]) - len(rows)
    more = f" The first 20 are shown; check lists {left:,} more." if left > 0 else ""
    answer = f"{count_words(len(incident['other_alerts']), 'alert')} beside this one.{more}"
    return _section(
        "others", "Other alerts", "Other alerts", answer, [table(["At", "Layer", "Feature", "Message"], rows, paper=5)]
    )


def _quiet(quiet: Mapping[str, Any]) -> dict[str, Any]:
    caption = (
        "Strong line: the mean of recent windows, which the chart watches; pale line: each window. Grey line and band: "
        "what is expected, and the limits of chance for that mean. Each chart has its own axis. The numbers are the "
        "expected level and the last one seen."
    )
    blocks: list[Block] = []
    if quiet["portfolio"]:
        drawn = len({(row["feature_id"], row["metric"]) for row in quiet["portfolio"]})
        title = "All charts" if drawn == quiet["charts"] else f"{drawn} of {quiet['charts']} charts, quality first"
        blocks.append(figure("portfolio", title, "one point a window", caption))
    answer = "No chart left its limits." if quiet["charts"] else "The log holds too little for a chart."
    return _section("charts", "Charts", "What was watched", answer, blocks)


def _assumptions(story: str, results: Mapping[str, Any]) -> dict[str, Any]:
    told = [
        "Times are UTC. Intervals are 95 %, that of the start 90 %; n is given beside every estimate.",
        "A failed judgement counts as missing, never as a score.",
        "Answers of one session may resemble each other; intervals take them as single answers unless a caption says otherwise.",
    ]
    if story not in ("quiet", "standing"):
        told.append(
            "Alarms pick extreme windows: the level since the start includes the window that fired, and may be nearer to the old level later."
        )
        told.append(
            "Probabilities of causes rest on equal priors of the recorded changes in reach, and on this log alone."
        )
    if results.get("triage", {}).get("change") and results["triage"]["unit"] == "share":
        told.append("Points are percentage points: from 4 % to 71 % is +67 points.")
    if results.get("triage", {}).get("change") and results["triage"]["unit"] == "score":
        told.append("Points are points of the judge's scale, as the scores themselves are.")
    told += [str(notice) for notice in results["incident"].get("notices", [])]
    return _section("assume", "Assumptions", "Assumptions", "", [bullets(told)])


def _again(incident: Mapping[str, Any]) -> dict[str, Any]:
    rows = [[name, f"{one['rows']:,}", one["sha256"][:12]] for name, one in incident["log"]["tables"].items()]
    versions = ", ".join(f"{name} {version}" for name, version in incident["versions"].items())
    blocks = [
        command(_call(incident["parameters"])),
        text("Same log, parameters and seed give the same page, byte for byte."),
        heading("Provenance"),
        table(["Table", "Rows known", "SHA-256 of the rows, first 12"], rows, numeric=(1,)),
        text(f"Seed {incident['seed']}. {versions}.", quiet=True),
    ]
    return _section("again", "Run it again", "Run it again", "", blocks)


def call_later(incident: Mapping[str, Any]) -> str:
    """What to type to look at the same incident once more, with all that the log holds by then."""
    given = {**incident["parameters"], "until": None, "override": None}
    if not isinstance(given.get("alert"), Mapping):
        given["alert"] = incident["alert"]["alert_id"]
    call = _call(given)
    return f"{call[:-1]}, force=True)" if call.startswith("lm.report(") else f"{call} --force"


def _call(given: Mapping[str, Any]) -> str:
    """What to type; in Python where tables or an alert were handed over that no shell can name."""
    opening = {name: given[name] for name in ("tz", "timestamp_unit", "on_error", "scales") if given.get(name)}
    named = ("alert", "until", "reviews", "plan", "seed", "suite", "override")
    options = {name: given[name] for name in named if given.get(name)}
    if given["log"] is None or isinstance(given.get("alert"), Mapping):
        log = "tables" if given["log"] is None else repr(given["log"])
        if opening:
            log = f"lm.open_log({', '.join([log, *(f'{name}={value!r}' for name, value in opening.items())])})"
        return f"lm.report({', '.join([log, *(f'{name}={value!r}' for name, value in options.items())])})"
    who = options.pop("override", None)
    options |= {} if who is None else {"close-by": who["by"], "because": who["because"]}
    scales = opening.pop("scales", {})
    pairs = [*opening.items(), *(("scale", f"{judge}={one}") for judge, one in scales.items()), *options.items()]
    flags = [part for name, value in pairs for part in (f"--{name.replace('_', '-')}", shlex.quote(str(value)))]
    return " ".join(["llm-monitoring", "report", shlex.quote(given["log"]), *flags])


def review_words(triage: Mapping[str, Any]) -> str:
    """What people read, in one sentence, with its interval."""
    if triage.get("kind", "change") != "change" or (not triage["reviewed"] and not say.is_judged(triage["metric"])):
        return triage["reasons"][0] if triage["reasons"] else ""
    if not triage["reviewed"]:
        return "Nobody has read a flagged answer of this period yet."
    p = triage["precision"]
    was = "was" if triage["deserved"] == 1 else "were"
    told = f"{triage['deserved']} of {triage['reviewed']} flags read in review {was} deserved"
    if p["low"] is None:
        return f"{told}."
    ends = f"{say.number(100 * p['low'])} to {say.number(100 * p['high'])} %"
    return f"{told} (95 % interval {ends}{_why_wide(triage['reviewed'])})."


def _why_wide(n: int) -> str:
    return f", wide because only {n} were read" if n < 40 else ""


def whom_asked(scope: Mapping[str, Any], better: bool) -> str:
    """The question that the slices answer."""
    if not better:
        return "Whom does it hit?"
    return "Who gets better answers?" if say.is_judged(scope["metric"]) else "Where is it better?"


def other_slices(scope: Mapping[str, Any]) -> str:
    """What can be said of the parts of the traffic that were not hit."""
    hit = scope["slices"][0]["label"] if scope["slices"] and scope["kind"] in ("slice", "all") else None
    rest = [row for row in scope["leaves"] if row["label"] != hit]
    if not rest:
        return ""
    counts = {
        verdict: [row["label"] for row in rest if row["verdict"] == verdict]
        for verdict in ("worse", "better", "no change seen", "too few to tell")
    }
    told = []
    for verdict, labels in counts.items():
        if labels:
            named = say.listed(labels) if len(labels) <= 2 else f"{len(labels)} {'other ' if hit else ''}slices"
            told.append(f"{named}: {verdict}")
    return f"{capital('; '.join(told))}."


def _titled(row: Mapping[str, Any]) -> str:
    """A cause by its id where it was recorded, else in words."""
    return str(row["cause"]) if row["recorded"] else say.cause_line(row).rstrip(".")


def _where_label(results: Mapping[str, Any]) -> str:
    return answers_of(results["isolate"]["where"])
