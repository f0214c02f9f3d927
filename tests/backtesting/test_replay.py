import numpy as np
import pytest

import llm_monitoring as lm
from llm_monitoring.alerts.plan import read_plan
from llm_monitoring.backtesting.replay import KEPT, Replay


@pytest.fixture(scope="module")
def charts(tables):
    plan = read_plan({"cost": {"metrics": ["avg_cost_per_request_usd"]}})
    replay = Replay.of(lm.open_log(tables), plan)
    return [replay.watched(key) for key in replay.keys(("avg_cost_per_request_usd", "mean_quality"))]


def test_the_state_before_a_window_is_that_of_a_chart_that_took_every_window_before_it(charts):
    for watched in charts:
        last = len(watched.table) - 1
        chart, _ = watched._states[int(watched._nearest[last])]
        places = [at for at in range(last + 1) if watched._nearest[at] >= 0 and watched._before(at)[0] is chart]
        state = chart._blank()
        for place in places:
            assert watched._before(place)[1] == state
            position, value, n = watched._read[:, place].tolist()
            chart._step(state, None, int(position), value, n, [])


def test_few_states_are_kept(charts):
    for watched in charts:
        charted = int((watched._nearest >= 0).sum())
        assert len(watched._states) <= charted // KEPT + 3  # one more for each time that the chart was fitted
        assert np.all(watched._nearest <= np.arange(len(watched.table)))
