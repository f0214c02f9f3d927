"""What every function that takes tables and gives one promises."""

import pandas as pd
import pytest

import llm_monitoring as lm
from tests.builders import make_requests
from tests.contracts.instances import JUDGEMENTS, REQUESTS, SIGNALS, TABLE_FUNCTIONS


@pytest.mark.parametrize(("function", "tables"), TABLE_FUNCTIONS.values(), ids=TABLE_FUNCTIONS)
def test_tables_are_not_altered_their_order_is_nothing_and_empty_ones_give_an_empty_table(function, tables):
    copies = [table.copy(deep=True) for table in tables]
    filled = function(*tables)
    for table, copy in zip(tables, copies):
        pd.testing.assert_frame_equal(table, copy)
    turned = [table.sample(frac=1, random_state=3) for table in tables]
    pd.testing.assert_frame_equal(filled, function(*turned))
    empty = function(*(table.iloc[:0] for table in tables))
    assert empty.empty
    named = {column for column in filled.columns if not column.startswith("mean_")}  # dimensions come with the rows
    assert named <= set(empty.columns) | {"mean_quality"}


EVIL = "<script>1</script>=cmd|' /C calc'!A0\x00'; DROP TABLE requests; --"


def test_a_hostile_name_of_a_feature_is_a_name_like_any_other():
    requests = make_requests(3, feature_id=EVIL, error=EVIL)
    assert lm.window_metrics(requests)["feature_id"].unique().tolist() == [EVIL]
    assert lm.window_metrics(requests)["error_rate"].tolist() == [1.0]


def test_requests_that_repeat_push_no_rate_over_one():
    doubled = pd.concat([SIGNALS, SIGNALS, SIGNALS])
    found = lm.satisfaction_metrics(doubled, REQUESTS)
    rates = found[[column for column in found.columns if column.endswith("_rate")]]
    assert (rates.fillna(0) <= 1).all().all()


def test_unknown_is_null_and_never_nought():
    found = lm.window_metrics(make_requests(3, latency_ms=None, cost_usd=None))
    assert found[["latency_p50_ms", "avg_cost_per_request_usd"]].isna().all().all()
    assert lm.quality_metrics(JUDGEMENTS.assign(quality_score=None))["mean_quality"].isna().all()
