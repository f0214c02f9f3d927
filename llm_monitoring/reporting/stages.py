"""The five stages, folded: verdict and clock in the summary, the evidence inside, the notebook beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from llm_monitoring import wording as say
from llm_monitoring.reporting.blocks import Block, bullets, figure, heading, link, table, text
from llm_monitoring.reporting.folder import STAGES, notebook_of
from llm_monitoring.reporting.outcome import candidates, capital, count_words

MINUTES = {"triage": 30, "scope": 60, "isolate": 120}
VERDICTS = {"real": "real", "false_positive": "false positive", "unsure": "unsure", "inconclusive": "inconclusive"}


def folded(results: Mapping[str, Any]) -> dict[str, Any]:
    """The section of the stages; a stage that failed or did not run says so."""
    made = []
    for number, stage in enumerate(STAGES, 1):
        state = results["incident"]["stages"].get(stage, "not run")
        result = results.get(stage)
        says, blocks = _TOLD[stage](result) if state == "done" and result else (state, [])
        if state == "failed":
            failure = results["incident"]["failure"]
            blocks = [text(failure["error"], lead=f"Cell {failure['cell']}:")]
        if state != "not run":
            blocks = [*blocks, link("Executed notebook", notebook_of(stage))]
        made.append(
            {
                "name": stage,
                "number": number,
                "says": says,
                "clock": _clock(stage, results),
                "blocks": blocks,
                "state": state,
            }
        )
    answer = "Each is an executed notebook. Clocks (30 minutes, 1 hour, 2 hours) are those of the person on call; they start at the alert."
    return {
        "id": "stages",
        "link": "Five stages",
        "heading": "The five stages",
        "answer": answer,
        "blocks": [],
        "stages": made,
    }


def _clock(stage: str, results: Mapping[str, Any]) -> str:
    alert = results["incident"]["alert"]
    if stage not in MINUTES or alert is None:
        return "no limit"
    due = pd.Timestamp(alert["fired_at"]) + pd.Timedelta(minutes=MINUTES[stage])
    budget = f"{MINUTES[stage]} min" if MINUTES[stage] < 60 else f"{MINUTES[stage] // 60} h"
    return f"{budget}, to {say.moment(due)}"


def _triage(triage: Mapping[str, Any]) -> tuple[str, list[Block]]:
    blocks: list[Block] = [text("Question: is it real? Input: the alert and the flagged answers that people read.")]
    if triage["reviews"]:
        blocks.append(_review_figure(triage))
        rows = [
            [
                str(i),
                say.one_line(r["user_input"] or "", 96),
                say.one_line(r["system_output"] or "", 140),
                VERDICTS[r["verdict"]],
                say.one_line(r["note"] or "", 80),
            ]
            for i, r in enumerate(triage["reviews"], 1)
        ]
        hit = [i for i, r in enumerate(triage["reviews"]) if r["verdict"] != "real"]
        head = ["No.", "Question (cut)", "Answer as logged (cut)", "Verdict", "Note"]
        if not any(row[-1] for row in rows):
            head, rows = head[:-1], [row[:-1] for row in rows]
        blocks.append(table(head, rows, "Answers that people read, in reading order", hit=hit))
    else:
        blocks.append(text("Nobody has read an answer of this period: open it with llm-monitoring review."))
    blocks.append(text(triage["next"], lead="Next:"))
    verdict = {"false_positive": "false positive"}.get(triage["verdict"], triage["verdict"])
    if triage.get("kind", "change") != "change":
        verdict = f"{triage['kind']}, {verdict}"
    p = say.probability(triage["probability_real"])
    return f"{verdict}, P {p}" if p[0] in "<>" else f"{verdict}, P = {p}", blocks


def _review_figure(triage: Mapping[str, Any]) -> Block:
    p, wald = triage["precision"], triage["wald"]
    share = say.amount(p["estimate"], "share")
    told = [f"{triage['deserved']} of {triage['reviewed']} deserved: {share} {say.span(p['low'], p['high'], 'share')}."]
    told.append(
        "Thin lines: interval valid whenever you stop. Below: diamond real, circle false positive, cross unsure."
    )
    if wald["p_real"] is not None and wald["p_false"] is not None:
        told.append(
            f"By the rate of earlier flags, {say.amount(wald['p_real'], 'share')} would be deserved; if all extra flags "
            f"were undeserved, {say.amount(wald['p_false'], 'share')}."
        )
    if triage["decided_at"]:
        told.append(f"The test could stop after {triage['decided_at']}.")
    return figure("tri", "Share of flags that were deserved", "after each review, with 95 % interval", " ".join(told))


def _scope(scope: Mapping[str, Any]) -> tuple[str, list[Block]]:
    unit = scope["unit"]
    known = {row["label"] for row in scope["slices"][:1]}
    rows = [*scope["slices"][:1], *(row for row in scope["leaves"] if row["label"] not in known)]
    apart = bool(rows) and "others" in rows[0]
    cells = [
        [
            row["label"],
            _level(row["others"], row["n_others"], unit) if apart else _level(row["before"], row["n_before"], unit),
            _level(row["after"], row["n_after"], unit),
            ""
            if row["change"] is None
            else f"{say.difference(row['change'], unit)} {say.span(row['low'], row['high'], unit, sign=True, like=row['change'])}",
            "" if row["share_of_change"] is None else say.amount(row["share_of_change"], "share"),
            row["verdict"],
        ]
        for row in rows
    ]
    head = ["Slice", "Before", "Since", "Change (95 %)", "Part of the change", "Verdict"]
    if apart:
        head[1:4] = ["All others", "Here", "Difference (95 %)"]
    blocks: list[Block] = [text("Question: whom does it hit? Input: every request, judged answers of both periods.")]
    if cells:
        hit = [i for i, row in enumerate(rows) if row["verdict"] == "worse"]
        blocks.append(table(head, cells, say.metric_words(scope["metric"]), numeric=(1, 2, 3, 4), hit=hit))
    blocks += [bullets(scope["reasons"]), text(scope["next"], lead="Next:")]
    return _scope_says(scope), blocks


def _level(value: float | None, n: int | None, unit: str) -> str:
    return "" if value is None else f"{say.amount(value, unit)} of {n:,}"


def _scope_says(scope: Mapping[str, Any]) -> str:
    if scope["kind"] == "slice":
        return f"one slice: {scope['slices'][0]['label']}"
    return {"all": "all answers", "mix": "other questions, no slice", "none": "no slice can be named"}[scope["kind"]]


def _isolate(isolate: Mapping[str, Any]) -> tuple[str, list[Block]]:
    rows = [
        [
            say.cause_line(row),
            say.moment(row["at"]) if row["at"] else "",
            say.probability(row["probability"]),
            say.likely(row["probability"]),
        ]
        for row in isolate["ranking"]
    ]
    hit = [i for i, row in enumerate(isolate["ranking"]) if row["cause"] in isolate["candidates"]]
    head = ["Cause", "At", "Probability", "In words"]
    blocks: list[Block] = [
        text("Question: what did it? Input: the change log, and every slice and time at which it could have begun.")
    ]
    if rows:
        blocks.append(
            table(head, rows, "Every cause considered; marked: the smallest set that holds 0.9", numeric=(2,), hit=hit)
        )
    onset = isolate["onset"] or {}
    if onset.get("low"):
        blocks.append(
            text(
                f"Start: {say.moment(onset['at'])}, 90 % interval {say.moment(onset['low'])} to {say.moment(onset['high'])}. "
                f"Recorded changes in reach: {isolate['changes_in_reach']}."
            )
        )
    blocks.append(text(isolate["next"], lead="Next:"))
    first = isolate["ranking"][0] if isolate["ranking"] else None
    if first and first["cause"] == isolate["verdict"]:
        return f"{say.cause_name(first['cause'], first['recorded'])}, {say.probability(first['probability'])}", blocks
    between = f": {candidates(isolate)}" if isolate["verdict"] == "cannot tell apart" and isolate["candidates"] else ""
    return f"{isolate['verdict']}{between}", blocks


def _respond(respond: Mapping[str, Any]) -> tuple[str, list[Block]]:
    rows = [
        [
            capital(say.metric_words(row["measure"])),
            f"{say.amount(row['before'], row['unit'])} {say.span(row['before_low'], row['before_high'], row['unit'], like=row['before'])}",
            f"{say.amount(row['after'], row['unit'])} {say.span(row['after_low'], row['after_high'], row['unit'], like=row['after'])}",
            row["reading"],
        ]
        for row in respond["measures"]
    ]
    blocks: list[Block] = [text("Question: what to do? Input: the cause, its reach, and every measure of the slice.")]
    if rows:
        head = ["Measure", "Before (95 %)", "Since (95 %)", "Reading"]
        blocks.append(table(head, rows, hit=[i for i, row in enumerate(rows) if row[-1].startswith("worse")]))
    blocks += [text(respond["because"]), text(respond["next"], lead="Next:")]
    if respond.get("summary") and respond["recovery"]["recovered"] is None and not respond["recovery"].get("days"):
        return ("nothing to do" if respond["action"] == "none" else respond["action"].replace("_", " ")), blocks
    recovered = {True: "recovered", False: "not recovered"}.get(respond["recovery"]["recovered"], "recovery open")
    return f"{respond['action'].replace('_', ' ')}; {recovered}", blocks


def _learn(learn: Mapping[str, Any]) -> tuple[str, list[Block]]:
    many = count_words(learn["cases"], "failing case")
    blocks: list[Block] = [text(f"Question: how to keep it from coming back? {many} in {learn['file']}.")]
    if learn["examples"]:
        rows = [
            [
                say.one_line(e["user_input"] or "", 96),
                say.one_line(e["system_output"] or "", 140),
                VERDICTS.get(e["verdict"], "not read") if e["reviewed"] else "not read",
            ]
            for e in learn["examples"][:5]
        ]
        blocks.append(table(["Question (cut)", "Answer as logged (cut)", "Review"], rows, "The first cases"))
    who = learn.get("override")
    if who:
        blocks.append(text(who["because"], lead=f"Closed with points open by {who['by']}:"))
    for one in learn.get("left_out") or []:
        words = f"{one['kept']} of {one['found']:,} questions are kept that differ only in numbers, names or quoted parts: {say.one_line(one['template'], 160)}"
        blocks.append(text(words, lead="Of one kind:"))
    if learn["open_points"]:
        blocks += [heading("Open before this closes"), bullets(learn["open_points"])]
    if learn["cases"]:
        blocks.append(link("Failing cases", learn["file"]))
    blocks.append(text(learn["next"], lead="Next:"))
    points = count_words(len(learn["open_points"]), "point")
    return ("closed by a person" if who else "closed") if learn["closed"] else f"open: {points}", blocks


_TOLD = {"triage": _triage, "scope": _scope, "isolate": _isolate, "respond": _respond, "learn": _learn}
