"""One hash, in Python and in the engine."""

from __future__ import annotations

import hashlib

import pandas as pd
import pytest

import llm_monitoring as lm
from tests.builders import make_requests


@pytest.mark.parametrize("rate", [0, 0.00001, 0.05, 0.29, 0.3, 0.57, 1])
def test_the_engine_draws_what_the_original_rule_draws(rate):
    ids = [*(f"req-{i}" for i in range(400)), "", "é😀", "a" * 300]
    frame = make_requests(len(ids), request_id=[each or "-" for each in ids])
    rule = [
        each
        for each in frame["request_id"]
        if int(hashlib.sha256(each.encode()).hexdigest(), 16) % 100_000 / 100_000.0 < rate
    ]
    assert sorted(lm.sample(frame, rate)["request_id"]) == sorted(rule)
    assert [each for each in frame["request_id"] if lm.should_sample(each, rate)] == rule


def test_a_smaller_sample_is_inside_a_larger_one_and_says_its_chance():
    frame = make_requests(300)
    small, large = lm.sample(frame, 0.1), lm.sample(frame, 0.4)
    assert set(small["request_id"]) <= set(large["request_id"])
    assert small["inclusion_probability"].unique().tolist() == [0.1]
    pd.testing.assert_frame_equal(lm.sample(frame[::-1], 0.1), small)


def test_a_rate_that_is_no_share_is_refused():
    with pytest.raises(lm.ConfigError, match=r"rate=5; expected a share from 0 to 1, such as 0.05"):
        lm.should_sample("r", 5)
