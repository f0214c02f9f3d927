"""Every metric that `check` can alert on, and every kind of alert, goes through all five stages and makes a page."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring import incident
from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference.inquiry import inquire
from llm_monitoring.reporting import page, story
from llm_monitoring.results import jsonable
from tests.incident.worlds import START, make_world
from tests.reporting.results import make_incident

pytestmark = pytest.mark.xdist_group("kinds")

FALL = START + pd.Timedelta("10.5D")
FIRED = START + pd.Timedelta("12D")
METRICS = {
    "mean_quality": "down", "flagged_rate": "up", "failed_rate": "up", "mean_tone": "down", "error_rate": "up", "refusal_rate": "up",
    "truncation_rate": "up", "latency_p50_ms": "up", "latency_p95_ms": "up", "latency_p99_ms": "up",
    "avg_cost_per_request_usd": "up", "avg_input_tokens": "up", "avg_output_tokens": "up", "total_cost_usd": "up",
    "request_count": "down", "correction_rate": "up", "follow_up_rate": "up", "retry_rate": "up", "abandonment_rate": "up",
    "abandonment_risk": "up", "survivorship_bias_risk": "up", "explicit_positive_rate": "down", "probe_pass_rate": "down",
    "probe_distance": "up", "query_drift": "up", "ttft": "up", "useful": "down",
}  # fmt: skip
VERDICTS = {"change": {"real", "false_positive", "inconclusive"}, "standing": {"real", "inconclusive"}}
STAGES = ("triage", "scope", "isolate", "respond", "learn")


@pytest.fixture(scope="module")
def world():
    """A log that holds every metric; from day 10.5 on everything in `support` is worse."""
    rng = np.random.default_rng(4)
    log = make_world(hit={"feature_id": "support"}, drop=1.0, changes=[{"change_id": "chg-p", "kind": "prompt", "day": 10.5, "feature_id": "support", "description": "prompt v8"}])  # fmt: skip
    requests = log.requests
    n, hit = len(requests), ((requests["feature_id"] == "support") & (requests["timestamp"] >= FALL)).to_numpy()
    gone = (rng.uniform(size=n) < 0.5) & (requests["timestamp"] >= FALL).to_numpy()
    raised = 1 + 0.8 * hit
    requests = requests.assign(
        latency_ms=requests["latency_ms"] * raised,
        cost_usd=0.003 * rng.lognormal(0, 0.3, n) * raised,
        input_tokens=(200 * rng.lognormal(0, 0.3, n) * raised).round(),
        output_tokens=(300 * rng.lognormal(0, 0.3, n) * raised).round(),
        ttft_ms=300 * rng.lognormal(0, 0.3, n) * raised,
        useful=(rng.uniform(size=n) < 0.8 - 0.3 * hit).astype(float),
        error=np.where(rng.uniform(size=n) < 0.02 + 0.2 * hit, "timeout", None),
        finish_reason=np.select([rng.uniform(size=n) < 0.02 + 0.2 * hit, rng.uniform(size=n) < 0.02 + 0.2 * hit], ["refusal", "max_tokens"], "end_turn"),
    )  # fmt: skip
    judgements = log.judgements
    failed = rng.uniform(size=n) < 0.02 + 0.2 * hit
    judgements = judgements.assign(
        dimensions=[json.dumps({"tone": float(score)}) for score in judgements["quality_score"]],
        status=np.where(failed, "failed", "ok"),
        quality_score=judgements["quality_score"].where(~failed),
    )
    share = {
        "correction": 0.05,
        "follow_up": 0.1,
        "retry": 0.05,
        "abandoned": 0.35,
        "thumbs_up": 0.2,
        "thumbs_down": 0.03,
    }
    marks = []
    for kind, usual in share.items():
        moved = usual + (0.25 if kind not in ("thumbs_up",) else 0.0) * hit
        chosen = requests[rng.uniform(size=n) < moved]
        marks.append(pd.DataFrame({"request_id": chosen["request_id"], "session_id": chosen["session_id"], "signal_type": kind, "timestamp": chosen["timestamp"]}))  # fmt: skip
    kept = requests[~gone]
    signals = pd.concat(marks)[lambda t: t["request_id"].isin(set(kept["request_id"]))]
    tables = {"requests": kept, "judgements": judgements[judgements["request_id"].isin(set(kept["request_id"]))]}
    tables |= {"signals": signals, "changes": log.changes, "probe_results": make_probes(rng)}
    own = [lm.Measure("ttft", column="ttft_ms", kind="positive", unit="ms"), lm.Measure("useful", column="useful", kind="proportion", worse="down")]  # fmt: skip
    return lm.open_log(tables, measures=own)


def make_probes(rng) -> pd.DataFrame:
    """Forty probes a day of one model, fewer of them passed since the fall; and a border probe with its own shares."""
    rows = []
    for day in range(16):
        at = START + pd.Timedelta(days=day, hours=6)
        late = at >= FALL
        for i in range(40):
            passed = bool(rng.uniform() < (0.5 if late else 0.95))
            rows.append({"probe_id": f"p{i}", "run_at": at, "model_id": "model-a-2026-01-01", "input": "x", "output": "y", "passed": passed, "kind": "property"})  # fmt: skip
        for call in range(10):
            token = rng.choice(["yes", "no"], p=[0.2, 0.8] if late else [0.8, 0.2])
            rows.append({"probe_id": "b1", "run_at": at + pd.Timedelta(minutes=call), "model_id": "model-a-2026-01-01", "input": "x", "output": token, "passed": None, "kind": "border"})  # fmt: skip
    return pd.DataFrame(rows).astype({"passed": "boolean"})


def alert_on(metric: str, kind: str) -> dict:
    worse = METRICS[metric]
    direction = worse if kind != "better" else {"up": "down", "down": "up"}[worse]
    feature = None if metric.startswith("probe") else "support"
    known = {"value": 0.001, "expected": 0.01, "n": 200} if metric == "query_drift" else {}
    known |= {"value": 0.43, "expected": 0.3, "low": 0.4, "high": 0.46, "n": 200} if kind == "standing" else {}
    start = FALL.floor("D")
    return {"metric": metric, "kind": kind, "feature_id": feature, "fired_at": FIRED, "window_start": start, "direction": direction, **known}  # fmt: skip


def all_stages(log, alert, out) -> dict:
    triage, scope = incident.triage(log, alert), incident.scope(log, alert)
    isolate = incident.isolate(log, alert, scope)
    respond = incident.respond(log, alert, scope, isolate)
    learn = incident.learn(log, alert, out=out)
    return dict(zip(STAGES, (triage, scope, isolate, respond, learn)))


@pytest.fixture(scope="module")
def results(world, tmp_path_factory):
    """Metric and kind -> the five results, found once."""
    found: dict[tuple[str, str], dict] = {}

    def of(metric: str, kind: str) -> dict:
        key = metric, kind
        if key not in found:
            found[key] = all_stages(world, alert_on(metric, kind), tmp_path_factory.mktemp("case"))
        return found[key]

    return of


QUICK = ("mean_quality", "abandonment_rate", "request_count", "probe_pass_rate", "query_drift")
every = pytest.mark.parametrize("kind", ["change", "standing", "better"])
each = pytest.mark.parametrize(
    "metric", [metric if metric in QUICK else pytest.param(metric, marks=pytest.mark.long) for metric in METRICS]
)


@every
@each
def test_every_metric_goes_through_all_stages_in_every_kind(results, metric, kind):
    found = results(metric, kind)
    triage, scope, isolate, respond, learn = (found[stage] for stage in STAGES)
    assert triage.kind == kind
    assert triage.verdict in VERDICTS.get(kind, {"real", "inconclusive"})
    assert 0 <= triage.probability_real <= 1
    assert scope.kind in {"all", "slice", "mix", "none"}
    assert isolate.ranking
    assert sum(row["probability"] for row in isolate.ranking) == pytest.approx(1)
    assert respond.action in {"rollback", "hotfix", "revert_judge", "investigate", "none"}
    if kind != "change":
        assert isolate.verdict == "nothing to explain"
        assert (learn.closed, learn.cases) == (True, 0)
    if kind == "standing":
        assert respond.action == "investigate"
        assert isolate.onset is None
        assert [(row["cause"], row["probability"]) for row in isolate.ranking] == [("none", 1.0)]
        assert all(row["n_before"] is None for row in scope.slices)
    if kind == "better":
        assert respond.action == "none"
        assert respond.cost_of_waiting["text"] == "nothing"


@every
@each
def test_no_sentence_holds_unknown_and_every_result_is_json(results, metric, kind):
    for stage, result in results(metric, kind).items():
        told = json.dumps(result.to_dict(), allow_nan=False)
        assert type(result)(**json.loads(told)).headline == result.headline
        assert "unknown" not in result.headline, (stage, result.headline)
        sentences = [text for text in texts(result.to_dict()) if not text.startswith("http")]
        assert [text for text in sentences if re.search(r"\bunknown\b|\bnan\b", text)] == [], stage


@every
@each
def test_every_metric_in_every_kind_makes_a_page(results, metric, kind):
    from llm_monitoring.reporting import figures

    found = {stage: jsonable(result) for stage, result in results(metric, kind).items()}
    alert = {**read_alert(alert_on(metric, kind), OWN).to_dict(), "message": None}
    found["incident"] = make_incident(alert=alert, known_when=[])
    told = story.tell(found)
    html = page.render(told, lambda name: figures.draw(name, found))
    words = re.sub(r"<[^>]+>", " ", re.sub(r"<(style|svg).*?</\1>", " ", html, flags=re.DOTALL))
    assert "unknown" not in words
    if kind == "standing":
        assert told["opening"].startswith("Standing")
        assert not re.search(r"\b(before|since the start|Started)\b", told["headline"] + told["lede"])
    if kind == "better":
        assert told["opening"].startswith("Better")


OWN = [lm.Measure("ttft", column="ttft_ms", kind="positive", unit="ms"), lm.Measure("useful", column="useful", kind="proportion", worse="down")]  # fmt: skip


def texts(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in parts for text in texts(part)]


@pytest.mark.parametrize("metric", ["request_count", "probe_pass_rate", "probe_distance"])
def test_a_real_change_of_what_no_answer_has_is_real_with_its_start(results, metric):
    found = results(metric, "change")
    assert found["triage"].verdict == "real"
    onset = found["isolate"].onset
    assert pd.Timestamp(onset["low"]) <= FALL <= pd.Timestamp(onset["high"]) + pd.Timedelta("1D")


def test_the_standing_level_is_said_with_its_limit_and_where_it_is_highest(world):
    alert = {"metric": "abandonment_rate", "kind": "standing", "feature_id": None, "fired_at": FIRED, "window_start": FALL, "direction": "up", "expected": 0.3}  # fmt: skip
    triage, scope = incident.triage(world, alert), incident.scope(world, alert)
    assert (triage.verdict, triage.limit) == ("real", 0.3)
    assert triage.change["n_before"] == 0
    assert scope.slices[0]["where"] == {"feature_id": "support"}
    rows = world.requests[world.requests["timestamp"] >= FALL]
    left = set(world.signals.loc[world.signals["signal_type"] == "abandoned", "request_id"])
    by_hand = rows.loc[rows["feature_id"] == "support", "request_id"].isin(left)
    assert scope.slices[0]["after"] == pytest.approx(by_hand.mean())
    assert scope.slices[0]["n_after"] == len(by_hand)


def test_an_improvement_says_whether_a_fall_came_before_it():
    fall = make_world(hit={"feature_id": "support"}, drop=1.0, days=24)
    healed = fall.judgements.assign(
        quality_score=np.where(
            (fall.requests["timestamp"] >= START + pd.Timedelta("17D")) & (fall.requests["feature_id"] == "support"),
            np.clip(fall.judgements["quality_score"] + 1, 1, 5),
            fall.judgements["quality_score"],
        )
    )
    log = lm.open_log({"requests": fall.requests, "judgements": healed})
    alert = {"metric": "mean_quality", "feature_id": "support", "fired_at": START + pd.Timedelta("19D"), "direction": "up"}  # fmt: skip
    assert "the end of that incident" in " ".join(incident.triage(log, alert).reasons)
    quiet = make_world(hit={"feature_id": "support"}, drop=-0.7)
    alert |= {"fired_at": FIRED}
    assert "set [baseline]" in " ".join(incident.triage(quiet, alert).reasons)


def test_too_few_answers_leave_the_causes_their_priors_and_say_so(world):
    short = world.between(START, START + pd.Timedelta("1h"))
    alert = {"metric": "mean_quality", "feature_id": "support", "fired_at": START + pd.Timedelta("1h"), "direction": "down"}  # fmt: skip
    assert inquire(short, read_alert(alert)) is None
    isolate = incident.isolate(short, alert)
    assert {row["cause"] for row in isolate.ranking} == {"silent", "judge", "none"}
    assert all("prior" in row["evidence"][0] for row in isolate.ranking)


def test_volume_that_came_back_is_recovered(world):
    requests = make_world(days=20).requests
    at = requests["timestamp"]
    out = (at >= START + pd.Timedelta("15D")) & (at < START + pd.Timedelta("15D8h"))
    log = lm.open_log({"requests": requests[~out]})
    alert = {"metric": "request_count", "feature_id": None, "direction": "down", "window_start": START + pd.Timedelta("15D1h"), "fired_at": START + pd.Timedelta("15D2h")}  # fmt: skip
    found = all_stages(log, alert, "/tmp")
    assert found["triage"].verdict == "real"
    assert found["respond"].recovery["recovered"] is True
    assert found["learn"].closed
