"""Border probes: distances by batches, the tolerance, the daily chart. Shares are simulated, so the truth is known."""

import json

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.errors import ConfigError
from llm_monitoring.probes.daily import pass_rates, probe_distances
from llm_monitoring.probes.power import detectable_shifts, power_lines
from llm_monitoring.probes.shares import token_shares

START = pd.Timestamp("2026-05-01T06:00Z")


def border(shares, days, repeats=3, seed=0, first=0, spread=0.0, tokens=("tea", "coffee")):
    """probe_results: on each day each probe gives the first token with its share, moved by a day effect of sd `spread`."""
    rng = np.random.default_rng(seed)
    rows = []
    for day in range(first, first + days):
        today = np.clip(np.asarray(shares) + spread * rng.standard_normal(len(shares)), 0, 1)
        for number, share in enumerate(today):
            drawn = rng.random(repeats) < share
            rows += [(f"b{number}", START + pd.Timedelta(days=day), tokens[0] if hit else tokens[1]) for hit in drawn]
    frame = pd.DataFrame(rows, columns=["probe_id", "run_at", "output"])
    return frame.assign(model_id="m", kind="border", passed=pd.array([pd.NA] * len(frame), dtype="boolean"))


def late(frame, day):
    return (frame["run_at"] >= START + pd.Timedelta(days=day)).to_numpy()


def compare(frame, day, **options):
    return lm.compare_probes(frame, ~late(frame, day), late(frame, day), **options)


def test_a_swap_of_the_model_is_seen_on_its_first_day_with_fifteen_calls():
    frame = pd.concat([border([0.5] * 5, 14), border([0.5] * 5, 1, first=14, tokens=("yes", "no"))])
    result = compare(frame, 14)
    assert result.verdict == "changed"
    assert (result.sampling, result.batches_before, result.batches_after) == ("batches", 14, 1)
    assert result.change == result.distance > 0.8
    assert result.low > 0
    assert result.lost == [f"b{i}" for i in range(5)]


def test_shares_that_moved_by_three_points_are_below_tolerance():
    frame = pd.concat([border([0.5] * 20, 14, 40), border([0.53] * 20, 14, 40, first=14, seed=1)])
    result = compare(frame, 14, tolerance=0.05)
    assert result.verdict == "unchanged"
    assert "below tolerance (5 points)" in result.headline
    assert result.distance < 0.05


def test_shares_that_moved_by_fifteen_points_changed():
    frame = pd.concat([border([0.5] * 20, 14, 10), border([0.65] * 20, 5, 10, first=14, seed=1)])
    result = compare(frame, 14, tolerance=0.05)
    assert result.verdict == "changed"
    assert result.low < 0.15 < result.high


def test_a_spread_between_days_is_no_change():
    changed = 0
    for seed in range(30):
        frame = border(np.linspace(0.3, 0.7, 5), 17, 5, seed=seed, spread=0.35)
        changed += compare(frame, 14).verdict == "changed"
    assert changed <= 5  # 99 % quantile of Binomial(30, .05)
    assert lm.compare_probes(frame, ~late(frame, 14), late(frame, 14), batch="1w").sampling == "calls"


def test_below_five_quiet_batches_only_calls_are_compared_and_that_is_said():
    result = compare(border([0.5] * 5, 5, 10), 4)
    assert (result.sampling, result.batches_before) == ("calls", 4)
    assert "Only calls were compared, as if independent: 4 quiet batches, 5 are needed." in result.headline


def test_interval_and_p_value_rest_on_one_model():
    for seed in range(20):
        frame = pd.concat([border([0.5] * 4, 8, 5, seed=seed), border([0.62] * 4, 4, 5, first=8, seed=seed + 99)])
        result = compare(frame, 8, alpha=0.1)
        assert (result.p_value <= 0.1) == (result.low > 0)


def test_calls_without_an_answer_and_row_order_do_not_matter():
    frame = pd.concat([border([0.5] * 5, 10), border([0.9] * 5, 4, first=10)], ignore_index=True)
    silent = frame.iloc[:20].assign(output=None, run_at=START + pd.Timedelta(days=12))
    first, second = compare(frame, 10), compare(pd.concat([silent, frame]).sample(frac=1, random_state=0), 10)
    assert second.unmeasured == 20
    assert {**first.to_dict(), "unmeasured": 20} == second.to_dict()
    json.dumps(first.to_dict(), allow_nan=False)


def test_nobody_answered_could_not_be_measured():
    frame = border([0.5] * 5, 8).assign(output=None)
    assert compare(frame, 5).headline.startswith("Could not measure: no probe has an answer on both sides (120 calls")


def test_log_probabilities_say_more_than_tokens():
    frame = border([0.5] * 3, 12, 1)
    rng = np.random.default_rng(0)
    share = np.where(late(frame, 10), 0.62, 0.5) + 0.005 * rng.standard_normal(len(frame))
    told = frame.assign(logprobs=[json.dumps({"tea": np.log(p), "coffee": np.log(1 - p)}) for p in share])
    assert compare(frame, 10).verdict != "changed"
    result = compare(told, 10)
    assert result.verdict == "changed"
    assert result.distance == pytest.approx(0.12, abs=0.01)


def test_border_and_property_probes_share_the_error_rate():
    frame = border([0.5] * 4, 12)
    rows = [(f"p{i}", START + pd.Timedelta(days=day), "x", True) for i in range(12) for day in (0, 11)]
    both = pd.concat(
        [frame, pd.DataFrame(rows, columns=["probe_id", "run_at", "output", "passed"]).assign(model_id="m")]
    )
    result = compare(both, 10)
    assert result.verdict == "unchanged"
    assert result.change == 0
    assert result.distance is not None
    assert set(result.to_frame()["kind"]) == {"border", "property"}
    result.plot()


def test_passes_are_tested_by_batches_where_a_batch_is_named():
    changed = {None: 0, "1d": 0}
    for seed in range(12):
        rng = np.random.default_rng(seed)
        share = np.clip(0.6 + 0.2 * rng.standard_normal(18), 0, 1)  # all probes of a day fail together
        rows = [(f"p{i}", START + pd.Timedelta(days=d), rng.random() < share[d]) for d in range(18) for i in range(40)]
        frame = pd.DataFrame(rows, columns=["probe_id", "run_at", "passed"]).assign(model_id="m")
        found = {batch: compare(frame, 16, batch=batch) for batch in changed}
        for batch, result in found.items():
            changed[batch] += result.verdict == "changed"
        assert found["1d"].low < found[None].low < found[None].high < found["1d"].high
    assert changed[None] >= 4 > 2 >= changed["1d"]  # taken as independent, calls cry wolf


def test_a_tolerance_holds_for_passes_too():
    before = [(f"p{i}", START, True) for i in range(200)]
    after = [(f"p{i}", START + pd.Timedelta(days=7), i >= 8) for i in range(200)]
    frame = pd.DataFrame(before + after, columns=["probe_id", "run_at", "passed"]).assign(model_id="m")
    assert compare(frame, 7).verdict == "changed"
    result = compare(frame, 7, tolerance=0.05)
    assert result.verdict == "unchanged"
    assert "below tolerance (5 points)" in result.headline


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch": "often"}, "compare_probes(batch='often'); expected a column of the results, or a span of run_at such as '1d'"),
        ({"tolerance": -0.1}, "compare_probes(tolerance=-0.1); expected a number from 0 to below 1"),
        ({"alpha": 2}, "compare_probes(alpha=2); expected a number from 0 to below 1"),
    ],
)  # fmt: skip
def test_errors_are_whole_sentences(options, sentence):
    with pytest.raises(ConfigError) as error:
        compare(border([0.5] * 5, 8), 6, **options)
    assert str(error.value) == sentence


def test_the_chart_sees_a_swap_on_its_first_day_and_a_shift_within_five():
    swapped = pd.concat([border([0.5] * 5, 14), border([0.5] * 5, 2, first=14, tokens=("yes", "no"))])
    found = probe_distances(swapped)
    assert found["alarm"].tolist() == [True, True]
    assert found["window_end"].iloc[0] == pd.Timestamp("2026-05-16T00:00Z")
    shifted = pd.concat([border([0.5] * 20, 14, 10), border([0.65] * 20, 5, 10, first=14, seed=1)])
    assert probe_distances(shifted)["alarm"].any()


def test_what_the_chart_says_of_a_day_never_changes():
    frame = pd.concat([border([0.5] * 5, 14, 3), border([0.9] * 5, 6, 3, first=14)], ignore_index=True)
    whole = probe_distances(frame, until=START + pd.Timedelta(days=30))
    for day in (15, 17, 20):
        until = START.floor("D") + pd.Timedelta(days=day)
        known = frame[frame["run_at"] < until]
        part = probe_distances(known, until=until)
        pd.testing.assert_frame_equal(part, whole[whole["window_end"] <= until])
    rates = pass_rates(frame.assign(kind="property", passed=frame["output"] == "tea"))
    part = frame[frame["run_at"] < START + pd.Timedelta(days=9)]
    known = pass_rates(part.assign(kind="property", passed=part["output"] == "tea"))
    pd.testing.assert_frame_equal(known, rates.head(len(known)))


def test_a_quiet_model_and_one_without_enough_days_give_no_alarm():
    assert len(probe_distances(border([0.5] * 5, 14))) == 0
    assert not probe_distances(border([0.5] * 5, 40, spread=0.2))["alarm"].any()
    assert len(pass_rates(border([0.5] * 5, 9))) == 0  # border probes have no pass rate


def test_a_probe_that_came_later_and_a_rare_token_are_no_alarm():
    frame = border([0.5] * 5, 17)
    new = border([0.5], 3, first=14).assign(probe_id="new")
    assert not probe_distances(pd.concat([frame, new]))["alarm"].any()
    odd = frame.reset_index(drop=True)
    odd.loc[odd.index[-1], "output"] = "cocoa"
    assert not probe_distances(odd)["alarm"].any()


def test_shares_of_hostile_tokens_add_up_to_one():
    tokens = ["<b>", "", " x ", "x", "\x00"] * 4
    frame = border([0.5], 4, 5).assign(output=tokens)
    shares = token_shares(frame, frame["run_at"])
    assert shares.values.sum(axis=1) == pytest.approx(1)


def test_what_the_chart_would_show_is_said_and_holds():
    found = detectable_shifts(border([0.5] * 5, 14, 40))
    assert found[["batches", "probes", "calls"]].values.tolist() == [[14, 5, 200]]
    assert 0.6 < found["spread"][0] < 1.4
    shift = found["detectable"][0]
    assert 0.07 <= shift <= 0.15
    seen = 0
    for seed in range(20):
        later = border([0.5 + shift, 0.5 - shift] * 2 + [0.5 + shift], 5, 40, seed=seed + 50, first=14)
        seen += probe_distances(pd.concat([border([0.5] * 5, 14, 40, seed=seed), later]))["alarm"].any()
    assert seen >= 11  # 1 % quantile of Binomial(20, .8)


def test_days_that_spread_more_hide_larger_shifts_and_more_repeats_are_advised():
    calm, rough = (detectable_shifts(border([0.5] * 5, 14, 40, spread=spread)) for spread in (0.0, 0.2))
    assert rough["spread"][0] > 2
    assert rough["detectable"][0] > 1.5 * calm["detectable"][0]
    (line,) = power_lines(rough)
    assert line.endswith("in `check` within 5 days, 8 times in 10; more repeats of each probe show smaller ones")
    assert not len(detectable_shifts(border([0.5] * 5, 4, 40)))
