"""The same tokens cost more than they did: told by the first full hour; not for long answers, odd fees or costs that no price list makes."""

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.prices import Priced, hours_of_models, price_tests
from tests.contracts.test_alerts_stay import STAYS

START, HOUR, DAY = pd.Timestamp("2026-05-04", tz="UTC"), pd.Timedelta("1h"), pd.Timedelta("1D")
SINCE = START + 30 * DAY + pd.Timedelta("10h50min")
KEY = ("search", "avg_cost_per_request_usd")


def requests(seed=0, days=32, a_day=600, models=("m-1", "m-2"), noise=0.0):
    """A quiet feature of two models with prices of their own; `noise` is what costs differ by beside."""
    rng = np.random.default_rng(seed)
    n = days * a_day
    at = START + pd.to_timedelta(np.sort(rng.uniform(0, days * 24, n)), unit="h")
    model = rng.choice(models, n)
    tokens = {name: np.ceil(np.exp(rng.normal(size, 0.6, n))) for name, size in (("input", 6), ("output", 5))}
    dear = np.where(model == models[0], 1.0, 4.0)
    usd = dear * (tokens["input"] * 2e-6 + tokens["output"] * 8e-6 + 1e-4) * np.exp(rng.normal(0, noise, n))
    return pd.DataFrame({
        "request_id": [f"r{i}" for i in range(n)], "timestamp": at, "feature_id": "search", "model_id": model,
        "input_tokens": tokens["input"], "output_tokens": tokens["output"], "cost_usd": usd.round(8),
    })  # fmt: skip


def dearer(rows, times=1.5, model=None, hit=None):
    """From `SINCE` on all requests, or some of them, cost so many times as much."""
    hit = (
        (rows["timestamp"] >= SINCE)
        & (True if model is None else rows["model_id"] == model)
        & (True if hit is None else hit)
    )
    return rows.assign(cost_usd=rows["cost_usd"].where(~hit, rows["cost_usd"] * times))


def told(rows, plan=None, **more):
    alerts = lm.check({"requests": rows}, plan, **more)
    return alerts[(alerts["metric"] == KEY[1]) & (alerts["kind"] == "change")]


def outside(rows, share=0.02):
    priced = Priced.of(hours_of_models(lm.open_log({"requests": rows})), START + 14 * DAY)
    return priced, priced.lots[priced.outside(priced.lots, share)]


def test_a_price_half_as_high_again_is_told_by_the_first_full_hour_and_named():
    for seed in range(2):
        found = told(dearer(requests(seed)))
        assert found["fired_at"].tolist() == [SINCE.ceil("h") + HOUR]
        message = found["message"].iloc[0]
        assert "the same tokens cost 1.50 times as much" in message, message


def test_a_new_price_of_one_of_two_models_is_told():
    found = told(dearer(requests(), 3, model="m-2"))
    assert found["fired_at"].iloc[0] - SINCE < 3 * HOUR
    assert "the same tokens cost" in found["message"].iloc[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_healthy_log_is_never_outside(seed):
    for noise in (0.0, 0.02):
        assert outside(requests(seed, noise=noise))[1].empty


def test_longer_answers_another_mix_of_models_and_single_fees_are_no_new_price():
    rows = requests()
    late = rows["timestamp"] >= SINCE
    longer = rows["output_tokens"].where(~late, 3 * rows["output_tokens"])
    price = np.where(rows["model_id"] == "m-1", 1.0, 4.0) * 8e-6
    assert outside(
        rows.assign(output_tokens=longer, cost_usd=rows["cost_usd"] + (longer - rows["output_tokens"]) * price)
    )[1].empty
    assert outside(rows[~late | (rows["model_id"] == "m-2")])[1].empty
    one_an_hour = ~rows["timestamp"].dt.floor("h").duplicated()
    assert outside(dearer(rows, 20, hit=one_an_hour))[1].empty
    runaway = np.random.default_rng(1).random(len(rows)) < 0.015
    assert outside(dearer(rows, 150, hit=runaway))[1].empty


def test_a_model_that_was_not_there_is_left_to_the_chart():
    rows = requests()
    late = rows["timestamp"] >= SINCE
    moved = dearer(rows, 3).assign(model_id=rows["model_id"].where(~late, "m-3"))
    assert outside(moved)[1].empty
    assert "the same tokens" not in told(moved)["message"].iloc[0]


def test_costs_that_no_price_list_makes_have_no_test_and_take_no_share():
    for rows, there in (
        (requests(), True),
        (requests(noise=0.5), False),
        (requests().drop(columns="output_tokens"), False),
    ):
        log, plan = lm.open_log({"requests": rows}), lm.alerts.plan.Plan()
        found = price_tests(log, plan, pd.Series({KEY: START}), {KEY: (START + 14 * DAY, True)})
        assert bool(found) is there
        assert any(key[-1] == "price list" for key in lm.control_charts(log).shares) is there


def test_at_every_moment_the_log_says_what_it_said_later_of_that_moment():
    rows = dearer(requests(1))
    every = told(rows)
    at = every["fired_at"].iloc[0]
    for moment in (at - pd.Timedelta("1s"), at):
        then = told(rows, until=moment)
        pd.testing.assert_frame_equal(
            pd.DataFrame(then[STAYS]), pd.DataFrame(every[every["fired_at"] <= moment][STAYS])
        )


def test_holidays_are_left_out_and_a_layer_that_is_off_has_no_test():
    rows = dearer(requests())
    day = {"baseline": {"holidays": [f"{SINCE:%Y-%m-%d}"]}}
    assert told(rows, day)["fired_at"].iloc[0] > SINCE.ceil("D")
    assert told(rows, {"cost": {"enabled": False}}).empty
