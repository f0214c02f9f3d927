"""The draw: which answers can be in it, with which chance, the same again from the same seed."""

import pandas as pd
import pytest

from llm_monitoring.reviewing import drawing
from tests.builders import START, make_judgements, make_requests, open_tables


def make_flagged_log(n=60, score=2.0, **columns):
    return open_tables(
        requests=make_requests(n, every="1h", **columns), judgements=make_judgements(n, every="1h", quality_score=score)
    )


def ids(draw):
    return draw["request_id"].tolist()


def test_only_flagged_answers_are_drawn_each_once():
    log = make_flagged_log(60, score=[2.0, 4.0, None])
    draw = drawing.draw_flagged(log, n=100)
    assert sorted(ids(draw)) == [f"req-{i:04d}" for i in range(0, 60, 3)]
    assert (draw["inclusion_probability"] == 1).all()


def test_of_two_judgements_the_last_counts():
    log = make_flagged_log(2)
    second = make_judgements(1, start=START + pd.Timedelta("9h"), quality_score=5.0)
    log = open_tables(requests=log.requests, judgements=pd.concat([second, log.judgements]))
    assert ids(drawing.draw_flagged(log)) == ["req-0001"]


def test_an_alert_narrows_the_draw_to_its_feature_and_to_the_time_since_its_window():
    log = make_flagged_log(60, feature_id=["search", "summary"])
    alert = {
        "feature_id": "search",
        "window_start": START + pd.Timedelta("40h"),
        "fired_at": START + pd.Timedelta("48h"),
    }
    draw = drawing.draw_flagged(log, alert, n=100)
    assert sorted(ids(draw)) == [f"req-{i:04d}" for i in range(40, 60, 2)]


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, "absent"], ids=str)
def test_an_alert_without_feature_and_window_takes_all_features_from_a_day_before_it_fired(nothing):
    log = make_flagged_log(60, feature_id=["search", "summary"])
    alert = {"feature_id": nothing, "window_start": nothing, "fired_at": "2026-05-13T00:00:00Z"}
    if isinstance(nothing, str):
        alert = {"fired_at": "2026-05-13T00:00:00Z"}
    assert sorted(ids(drawing.draw_flagged(log, pd.Series(alert), n=100))) == [f"req-{i:04d}" for i in range(24, 60)]


def test_the_draw_is_the_same_for_rows_in_another_order_and_another_with_another_seed():
    log = make_flagged_log(60, category=["returns", "billing", None])
    turned = open_tables(requests=log.requests[::-1], judgements=log.judgements.sample(frac=1, random_state=1))
    draw = drawing.draw_flagged(log, n=10)
    pd.testing.assert_frame_equal(draw, drawing.draw_flagged(turned, n=10))
    assert ids(draw) != ids(drawing.draw_flagged(log, n=10, seed=1))
    assert (draw["inclusion_probability"] == 10 / 60).all()


@pytest.mark.parametrize("seed", range(10))
def test_a_stratum_gets_its_share_of_the_draw_to_within_one_answer(seed):
    log = make_flagged_log(60, category=["returns", "returns", "billing"])
    draw = drawing.draw_flagged(log, n=12, seed=seed)
    assert draw["category"].value_counts()["returns"] in (7, 8, 9)


@pytest.mark.long
def test_every_flagged_answer_is_drawn_equally_often():
    """80 draws of 5 from 20: each is expected 20 times, sd sqrt(80 / 4 * 3 / 4) = 3.9; 5 sd are allowed."""
    log = make_flagged_log(20, category=["a", "a", "b", "c", "a"])
    draws = pd.concat(drawing.draw_flagged(log, n=5, seed=seed) for seed in range(80))
    assert draws["request_id"].value_counts().between(20 - 19, 20 + 19).all()


@pytest.mark.parametrize("log", [make_flagged_log(5, score=4.0), make_flagged_log(0)], ids=["none flagged", "empty"])
def test_with_nothing_flagged_the_draw_is_an_empty_table_with_its_columns(log):
    draw = drawing.draw_flagged(log)
    assert ids(draw) == []
    assert list(draw.columns) == [*drawing.COLUMNS, "inclusion_probability"]


def test_a_log_without_texts_or_categories_can_be_drawn_from():
    log = make_flagged_log(5, drop=["category", "user_input", "system_output"])
    assert drawing.draw_flagged(log)["system_output"].isna().all()


def test_the_draw_is_recorded_for_this_alert_n_and_seed_alone(tmp_path):
    log, out = make_flagged_log(9), tmp_path / "reviews.jsonl"
    alert = {"alert_id": "a-1", "fired_at": START}
    draw = drawing.draw_flagged(log, n=4)
    drawing.record(out, draw, alert, n=4, seed=0)
    assert drawing.recorded(out, alert, n=4, seed=0) == ids(draw)
    assert drawing.recorded(out, alert, n=5, seed=0) is None
    assert drawing.recorded(out, {**alert, "alert_id": "a-2"}, n=4, seed=0) is None
    assert ids(drawing.answers(log, ids(draw))) == ids(draw)
