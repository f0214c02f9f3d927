"""Every public function that takes a log, called on one, with what it gives as frames, dicts and lists."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pandas as pd

import llm_monitoring as lm
from llm_monitoring import incident
from llm_monitoring.results import jsonable
from llm_monitoring.schema import TABLES

MIDDLE, LATE = pd.Timestamp("2026-05-11T20:00Z"), pd.Timestamp("2026-05-12T06:00Z")
SPEED = lm.Measure("speed", sql="output_tokens / latency_ms", kind="positive", worse="down")
SLOW = lm.Measure("slow", sql="latency_ms > 400", kind="proportion")
ALERT = {"metric": "latency_p50_ms", "fired_at": "2026-05-12T06:00Z", "direction": "up", "feature_id": "summary"}


def judge(user_input: str, system_output: str) -> dict[str, int]:
    return dict.fromkeys(("correctness", "completeness", "tone"), 1 + len(user_input + system_output) % 5)


def judged(log: lm.Log) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        found = lm.judge_sample(log, judge, rate=0.1, out=f"{folder}/judgements.db", progress=False)
    return found.drop(columns="judged_at").sort_values("request_id", ignore_index=True)


def stages(log: lm.Log) -> dict:
    """The five stages on one alert, and the cases that the last one wrote."""
    scope = incident.scope(log, ALERT)
    cause = incident.isolate(log, ALERT, scope)
    with tempfile.TemporaryDirectory() as folder:
        learnt = incident.learn(log, ALERT, out=folder)
        cases = (Path(folder) / learnt.file).read_text()
    found = {"triage": incident.triage(log, ALERT), "scope": scope, "isolate": cause}
    found |= {"respond": incident.respond(log, ALERT, scope, cause), "learn": learnt}
    return {name: jsonable(result.to_dict()) for name, result in found.items()} | {"cases": cases}


def case_of(log: lm.Log) -> dict:
    case = lm.open_case(log)
    return jsonable({"incident_id": case.incident_id, "alert": case.alert, "others": case.others})


def sizes(log: lm.Log) -> dict:
    names = [name for name in TABLES if log.has(name)]
    return {name: (log.count(name), *log.span(name), log.until(MIDDLE).count(name)) for name in names}


def watched(log: lm.Log) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        return lm.watch(log, state=f"{folder}/watch.db")


CALLS = {
    "window_metrics by hour": lambda log: lm.window_metrics(log, "1h", intervals=True),
    "window_metrics of everything": lambda log: lm.window_metrics(log, None, by=[]),
    "window_metrics until": lambda log: lm.window_metrics(log.until(MIDDLE), "1h", fill=True),
    "window_metrics of custom measures": lambda log: lm.window_metrics(log, "6h", measures=[SPEED, SLOW]),
    "quality_metrics": lambda log: lm.quality_metrics(log, by=["feature_id", "category"]),
    "quality_metrics of everything": lambda log: lm.quality_metrics(log, window=None, by=[]),
    "satisfaction_metrics": lambda log: lm.satisfaction_metrics(log, window="1d"),
    "session_metrics": lambda log: lm.session_metrics(log),
    "derive_signals": lambda log: lm.derive_signals(log.table("requests")),
    "sample": lambda log: lm.sample(log, 0.2, boost={"category": {"returns": 0.5}}),
    "judge_sample": judged,
    "validate": lambda log: log.validate(),
    "frames": lambda log: {name: getattr(log, name) for name in TABLES},
    "frames between": lambda log: {name: getattr(log.between(MIDDLE, LATE), name) for name in TABLES},
    "sizes": sizes,
    "check": lambda log: lm.check(log),
    "control_charts": lambda log: lm.control_charts(log).to_frame(),
    "backtest": lambda log: lm.backtest(log).to_frame(),
    "watch": watched,
    "open_case": case_of,
    "stages": stages,
    "explore": lambda log: lm.explore(log).state,
    "review": lambda log: lm.review(log, ALERT, out=os.devnull, n=5)._draw["request_id"].tolist(),
    "unpinned_models": lambda log: lm.unpinned_models(log),
}
