import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.measurements import hourly
from llm_monitoring.backtesting.planting import judged_answers, judged_sums, planted, worse
from llm_monitoring.measures import measure
from tests.backtesting.logs import make

METRICS = ["mean_quality", "flagged_rate", "mean_tone"]


@pytest.fixture(scope="module")
def log(tables):
    return lm.open_log(tables)


@pytest.fixture(scope="module")
def rows(log):
    return judged_answers(log)


def test_sums_of_judged_answers_are_those_of_check(log, rows):
    order = ["metric", "feature_id", "hour", "known"]
    ours = judged_sums(rows, METRICS).sort_values(order, ignore_index=True)
    theirs = hourly(log, [measure(name) for name in METRICS]).sort_values(order, ignore_index=True)
    pd.testing.assert_frame_equal(ours, theirs, check_dtype=False)


@pytest.mark.parametrize("size", [-1.5, -0.4, -0.1, 0.2])
def test_the_mean_moves_by_the_size_and_no_score_leaves_the_scale(rows, size):
    hit = worse(rows, lm.Injection("quality", size), seed=0)
    assert hit["score"].mean() - rows["score"].mean() == pytest.approx(size, abs=0.01)
    assert hit["score"].between(1, 5).all()
    assert (hit["score"] % 1 == 0).all()


def test_flags_follow_the_scores_by_the_log_s_own_rule(rows):
    hit = worse(rows, lm.Injection("quality", -0.5), seed=0)
    assert (hit["flagged"] == (hit["score"] <= 2)).all()


def test_dimensions_move_with_the_score(rows):
    hit = worse(rows, lm.Injection("quality", -0.5), seed=0)
    assert [each["tone"] for each in hit["dimensions"]] == hit["score"].tolist()


def test_a_smaller_fault_hits_a_part_of_what_a_larger_one_hits(rows):
    small, large = (worse(rows, lm.Injection("quality", size), seed=0)["score"] for size in (-0.1, -0.4))
    assert (large <= small).all()


def test_only_the_slice_and_the_share_are_hit(log):
    rows = judged_answers(log, more=("region",))
    hit = worse(rows, lm.Injection("quality", -1, {"region": "eu"}, share=0.3), seed=0)
    moved = hit["score"] != rows["score"]
    assert not moved[rows["region"] == "us"].any()
    able = (rows["region"] == "eu") & (rows["score"] > 1)
    assert moved[able].mean() == pytest.approx(0.3, abs=0.04)


def test_a_pass_fail_judge_fails_the_share_of_the_size():
    tables = make(1, days=14, features=1)
    judgements = tables["judgements"].assign(quality_score=None, dimensions=None, scale="pass_fail", status="ok")
    rows = judged_answers(lm.open_log({**tables, "judgements": judgements}))
    hit = worse(rows, lm.Injection("quality", -0.2), seed=0)
    assert hit["flagged"].mean() - rows["flagged"].mean() == pytest.approx(0.2, abs=0.02)


def test_refusals_rise_by_the_added_share(log):
    wanted = [measure("refusal_rate")]
    before, after = hourly(log, wanted), planted(log, hourly(log, wanted), lm.Injection("refusal", 0.05), seed=0)
    assert after["total"].sum() / after["n"].sum() - before["total"].sum() / before["n"].sum() == pytest.approx(
        0.05, abs=0.005
    )


def test_cost_is_multiplied_in_the_slice_alone(log):
    wanted = [measure("avg_cost_per_request_usd")]
    base = hourly(log, wanted)
    before = base.groupby("feature_id")["plain"].sum()
    hit = planted(log, base, lm.Injection("cost", 1.5, {"feature_id": "search"}), seed=0)
    after = hit.groupby("feature_id")["plain"].sum()
    assert after["search"] == pytest.approx(1.5 * before["search"])
    assert "other" not in after
    half = planted(log, base, lm.Injection("cost", 1.5, {"feature_id": "search"}, share=0.5), seed=0)
    assert half["plain"].sum() == pytest.approx(1.25 * before["search"], rel=0.02)
