import pytest

import llm_monitoring as lm


def test_a_wrong_kind_names_the_nearest():
    with pytest.raises(lm.ConfigError, match="the nearest is 'quality'"):
        lm.Injection(what="qualty", size=-0.2)


def test_every_wrong_parameter_is_named_at_once():
    with pytest.raises(lm.ConfigError) as error:
        lm.Injection("cost", -2, where="search", share=0, days=0)
    assert str(error.value).splitlines() == [
        "Injection('cost', size=-2); expected a factor, such as 1.5",
        "Injection(where='search'); expected a dict of column -> value or list of values",
        "Injection(share=0); expected a share above 0, at most 1",
        "Injection(days=0); expected a number above 0",
    ]


def test_the_defaults_are_those_of_the_design():
    one = lm.Injection("quality", -0.2)
    assert (one.where, one.share, one.days) == ({}, 1.0, 7)


def test_default_injections_take_a_slice():
    assert all(each.where == {"feature_id": "search"} for each in lm.default_injections({"feature_id": "search"}))


def test_an_unknown_column_or_value_of_a_slice_is_refused(tables):
    with pytest.raises(lm.ConfigError, match="no column 'regoin'; the nearest is 'region'"):
        lm.backtest(tables, inject=[lm.Injection("cost", 2, {"regoin": "eu"})])
    with pytest.raises(lm.ConfigError, match="no request is in this slice"):
        lm.backtest(tables, inject=[lm.Injection("cost", 2, {"region": "mars"})])


def test_something_else_than_injections_is_refused(tables):
    with pytest.raises(lm.ConfigError, match="expected a list of Injection"):
        lm.backtest(tables, inject=["quality"])
