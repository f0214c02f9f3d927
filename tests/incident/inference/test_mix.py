"""Other questions explain an alert from the day on from which they came, which is not the day of the worst answers."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from llm_monitoring import incident
from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.inference.mix import decompositions, moved_mix
from llm_monitoring.incident.inference.observations import observe
from tests.incident.worlds import START, make_alert, make_world


def at(day):
    return START + pd.Timedelta(days=day)


def test_the_mix_is_asked_where_the_questions_moved_not_in_the_window_in_which_the_answers_did_worst():
    log = make_world(mix=0.75, at=8, per_day=60)
    (asked,) = decompositions(observe(log, read_alert(make_alert(13))), [at(12.8)], ("category",))
    mix, since, _ = moved_mix(observe(log, read_alert(make_alert(13))), at(12.8), ("category",))
    assert since == at(8)
    assert mix.mix_effect / mix.mix_se < asked.mix_effect / asked.mix_se < 0
    found = incident.triage(log, make_alert(13))
    assert found.verdict == "false_positive"
    assert pd.Timestamp(found.since) == at(8)


def test_where_no_question_moved_the_start_of_the_answers_is_kept():
    seen = observe(make_world(drop=0.8), read_alert(make_alert()))
    mix, since, _ = moved_mix(seen, at(10.5), ("category",))
    assert not mix.moved
    assert since == at(10.5)


def test_what_is_left_within_has_the_error_of_the_answers_that_were_seen_however_few_there_are_of_each_kind():
    seen, rng = observe(make_world(per_day=16, days=14), read_alert(make_alert())), np.random.default_rng(1)
    drawn = [seen.frame.assign(value=rng.normal(size=len(seen.frame))) for _ in range(50)]
    found = [decompositions(replace(seen, frame=frame), [at(13)], ("category", "model"))[0] for frame in drawn]
    off = [mix.within_effect / mix.within_se for mix in found]
    assert np.std(off) == pytest.approx(1, abs=0.4)  # four standard errors of an sd of 50
