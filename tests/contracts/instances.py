"""Every chart, result, table function and command: what joins the package joins a list here, and is held to its promises."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import llm_monitoring as lm
from tests.builders import make_judgements, make_log, make_probe_results, make_requests, make_signals

SAMPLE = Path(__file__).parents[2] / "sample_data"
BASELINE = [4.1, 4.0, 4.2, 4.1, 3.9, 4.0, 4.15, 4.05, 4.1, 3.95, 4.0, 4.2, 4.05, 4.1]
STREAM = [4.1, 4.0, 3.2, 3.1, 3.0, 3.1, 3.0, 3.1]


def windows(values, start="2026-05-04", n=50) -> pd.DataFrame:
    """Measurements of days, as a chart takes them."""
    starts = pd.date_range(start, periods=len(values), freq="1D", tz="UTC")
    return pd.DataFrame({"window_start": starts, "value": values, "n": n, "sd": 0.8})


CHARTS: dict[str, Callable[[], Any]] = {
    "EWMAChart": lambda: lm.EWMAChart(arl0=500),
    "CUSUMChart": lambda: lm.CUSUMChart(),
    "XmRChart": lambda: lm.XmRChart(),
    "EDetector": lambda: lm.EDetector(center=4.0),
    "ControlChart": lambda: lm.ControlChart(low=1, high=5),
}


def long_form(values, start="2026-05-04") -> pd.DataFrame:
    """Measurements of two features, as a portfolio takes them."""
    parts = [windows(values, start).assign(feature_id=one, metric="mean_quality", kind="mean") for one in ("a", "b")]
    return pd.concat(parts, ignore_index=True)


# --- results -------------------------------------------------------------------------------------------------------


@functools.cache
def sample_log():
    return lm.open_log(SAMPLE)


@functools.cache
def sample_alert() -> dict[str, Any]:
    alerts = lm.check(sample_log())
    return alerts[alerts["feature_id"] == "support"].iloc[0].to_dict()


@functools.cache
def stages() -> dict[str, Any]:
    log, alert = sample_log(), sample_alert()
    scope = lm.incident.scope(log, alert)
    isolate = lm.incident.isolate(log, alert, scope)
    return {
        "TriageResult": lm.incident.triage(log, alert),
        "ScopeResult": scope,
        "IsolateResult": isolate,
        "RespondResult": lm.incident.respond(log, alert, scope, isolate),
    }


@functools.cache
def learned(out: Path):
    return lm.incident.learn(sample_log(), sample_alert(), None, out)


@functools.cache
def drifted():
    from llm_monitoring.drift.embedding import hash_embed

    before = [f"where is parcel number {i}" for i in range(60)]
    now = [f"where is parcel number {i}" for i in range(60, 70)] + [f"cancel plan {i} today" for i in range(10)]
    return lm.DriftTest(before, embedder=hash_embed).test(now)


def monitored():
    from llm_monitoring.drift.embedding import hash_embed

    texts = [f"where is parcel number {i}" for i in range(90)]
    frame = make_requests(90, every="1h", user_input=texts)
    return lm.DriftMonitor(frame[:60], by=[], embedder=hash_embed).monitor(frame[60:])


def quiet():
    from llm_monitoring.reporting.quiet import watched

    return watched(lm.open_log(make_log(400)))


def charted():
    from llm_monitoring.alerts.charting import control_charts

    return control_charts(lm.open_log(make_log(400)))


def steered():
    from llm_monitoring.judging.canaries import Steering

    rows = {"question": ["q"], "attempt": ["a"], "without": [2.0], "with_attempt": [2.5], "rise": [0.5]}
    return Steering(0.5, 0.1, 0.9, 1, 0, "a", 0.5, True, 0.3, pd.DataFrame(rows))


def reported():
    from llm_monitoring.reporting.run import Report

    return Report(Path("r/index.html"), Path("r"), "Real: it fell.", {"triage": "done"})


def imported():
    from llm_monitoring.importers.report import ImportReport

    return ImportReport("otel", ["a.json"], 3, 2, 1, 0, {"tool": 1}, [], {"requests": 2}, ["no cost is known"])


def probed():
    runs = [make_probe_results(4, probe_id=f"p{i}", model_id=["m1", "m2"], passed=[True, i > 3]) for i in range(8)]
    return lm.compare_probes(pd.concat(runs), "m1", "m2")


SCORES = np.array([4, 3, 5, 4, 2, 4, 1, 5, 3, 4])
HIGHER = np.minimum(SCORES + np.array([1, 0, 0, 1, 1, 0, 0, 0, 1, 0]), 5)


def verification():
    from llm_monitoring.reporting.verifying import Verification

    altered = [{"kind": "parameter", "where": "seed", "recorded": "0", "now": "1"}]
    return Verification(Path("r/i"), False, altered, ["version of numpy: 2.4.6 recorded, 2.5.0 now"])


def promoted():
    cases = pd.DataFrame({"case_id": [f"c{i}" for i in range(40)], "input": [f"question {i}" for i in range(40)]})
    scores = dict.fromkeys(("correctness", "completeness", "tone"), 4)
    return lm.compare_versions(
        cases, lambda text: "fine", lambda text: "fine", lambda user_input, system_output: scores
    )


def backtested():
    times = pd.date_range("2026-05-04", periods=35 * 48, freq="30min", tz="UTC")
    requests = pd.DataFrame({"timestamp": times, "feature_id": "search", "model_id": "m-1"})
    requests["request_id"] = [f"r{i}" for i in range(len(times))]
    requests["cost_usd"] = [0.002 + 0.0001 * (i % 7) for i in range(len(times))]
    return lm.backtest({"requests": requests}, inject=[lm.Injection("cost", 2)])


RESULTS: dict[str, Callable[[], Any]] = {
    "BacktestResult": backtested,
    "ChartResult": lambda: lm.EWMAChart().fit(BASELINE).monitor(STREAM),
    "PortfolioResult": lambda: lm.ChartPortfolio().fit(long_form(BASELINE)).monitor(long_form(STREAM, "2026-05-18")),
    "BaselineCheck": lambda: lm.check_baseline(BASELINE),
    "SamplingPlan": lambda: lm.plan_sampling(traffic=2_000, rate=[0.05, 0.2]),
    "DriftResult": drifted,
    "DriftExplanation": lambda: drifted().explain(),
    "ShapeResult": lambda: drifted().shape(),
    "DriftMonitorResult": monitored,
    "ProbeComparison": probed,
    "VersionComparison": promoted,
    "Agreement": lambda: lm.agreement(SCORES, HIGHER),
    "CorrectedMean": lambda: lm.corrected_mean(HIGHER, HIGHER[:6], SCORES[:6]),
    "Bridge": lambda: lm.bridge(SCORES, HIGHER),
    "TriageResult": lambda: stages()["TriageResult"],
    "ScopeResult": lambda: stages()["ScopeResult"],
    "IsolateResult": lambda: stages()["IsolateResult"],
    "RespondResult": lambda: stages()["RespondResult"],
    "QuietResult": quiet,
    "Verification": verification,
    "PlanCharts": charted,
    "Steering": steered,
    "Report": reported,
    "ImportReport": imported,
}
NEED_A_FOLDER: dict[str, Callable[[Path], Any]] = {"LearnResult": learned}
NO_FIGURE = {"Verification", "Report", "ImportReport"}  # they tell what was done, not what was measured

# --- table functions -----------------------------------------------------------------------------------------------

REQUESTS = make_requests(
    40,
    every="7min",
    feature_id=["search", "search", "summary"],
    session_id=[f"ses-{i // 4}" for i in range(40)],
    latency_ms=[800.0, None, 1200.0, 90.0],
    finish_reason=["end_turn", "error", "refusal", "max_tokens", "end_turn"],
    error=[None, "timeout", None, None, None],
)
SIGNALS = make_signals(20, every="7min", signal_type=["thumbs_up", "retry", "abandoned", "thumbs_down"])
JUDGEMENTS = make_judgements(40, every="7min", quality_score=[4.0, 2.0, None, 5.0])

#: name -> (function of the tables, the tables it takes)
TABLE_FUNCTIONS: dict[str, tuple[Callable[..., pd.DataFrame], tuple[pd.DataFrame, ...]]] = {
    "window_metrics": (lambda requests: lm.window_metrics(requests, intervals=True), (REQUESTS,)),
    "quality_metrics": (lm.quality_metrics, (JUDGEMENTS,)),
    "quality_metrics by request time": (lm.quality_metrics, (JUDGEMENTS, REQUESTS)),
    "satisfaction_metrics": (lm.satisfaction_metrics, (SIGNALS, REQUESTS)),
    "session_metrics": (lm.session_metrics, (REQUESTS, SIGNALS)),
    "derive_signals": (lm.derive_signals, (REQUESTS,)),
    "sample": (lambda requests: lm.sample(requests, rate=0.5), (REQUESTS,)),
    "unpinned_models": (lm.unpinned_models, (REQUESTS,)),
    "check": (
        lambda requests, judgements: lm.check(lm.open_log({"requests": requests, "judgements": judgements})),
        (REQUESTS, JUDGEMENTS),
    ),
    "draw_flagged": (
        lambda requests, judgements: draw(lm.open_log({"requests": requests, "judgements": judgements})),
        (REQUESTS, JUDGEMENTS),
    ),
}


def draw(log) -> pd.DataFrame:
    from llm_monitoring.reviewing.drawing import draw_flagged

    return draw_flagged(log, n=5)


def commands() -> dict[str, Any]:
    from llm_monitoring.cli import main

    return dict(main.commands)
