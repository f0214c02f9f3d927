"""What a log holds at a glance: every figure by hand, every logged text on one line and escaped."""

import numpy as np
import pandas as pd
import pytest

from llm_monitoring.overview import MOST_FEATURES, overview
from tests.builders import (
    START,
    make_changes,
    make_judgements,
    make_probe_results,
    make_requests,
    make_signals,
    open_tables,
)


def plain(text):
    return text.replace("\u00a0", " ")


def of(**tables):
    return overview(open_tables(**tables))


def test_features_stand_by_their_traffic_with_what_of_them_is_judged():
    requests = make_requests(10, every="1h", feature_id=["search"] * 6 + ["a", "a", "b", "b"],
                             model_id=["m1", "m2", "m1", "m1", "m1", None, "m1", "m1", "m1", "m1"])  # fmt: skip
    judgements = make_judgements(4, feature_id="search", quality_score=[4, 1, 5, None])
    table = of(requests=requests, judgements=judgements).features.set_index("feature_id")
    assert table.index.tolist() == ["search", "a", "b"]
    assert table["requests"].tolist() == [6, 2, 2]
    assert table["share"].tolist() == [0.6, 0.2, 0.2]
    assert table["models"].tolist() == [2, 1, 1]
    assert table["judged"].tolist() == [4, 0, 0]
    assert table.loc["search", "judged_share"] == pytest.approx(4 / 6)
    assert np.isnan(table.loc["a", "flagged_rate"])
    assert table.loc["search", "first"] == START
    assert table.loc["b", "last"] == START + pd.Timedelta("9h")


def test_an_answer_judged_twice_is_one_judged_answer():
    judgements = make_judgements(4, request_id=["req-0000", "req-0000", "req-0001", "req-0001"], judge_model=["a", "b"])
    table = of(requests=make_requests(4), judgements=judgements).features
    assert table["judged"].tolist() == [2]
    assert table["judged_share"].tolist() == [0.5]


def test_without_judgements_none_is_judged_and_no_rate_is_known():
    told = of(requests=make_requests(3))
    assert told.features["judged"].tolist() == [0]
    assert told.features["flagged_rate"].isna().all()
    assert plain(told.headline).endswith("3 requests, 11 May 2026 00:00 UTC to 11 May 2026 00:02 UTC, none judged")


def test_a_log_without_a_request_says_so():
    told = of(requests=make_requests(0))
    assert told.headline.endswith(": no request")
    assert told.features.empty
    assert told.text() == told.headline
    assert "Features" not in told.html()


def test_a_table_tells_the_commonest_values_of_its_most_telling_column():
    tables = {
        "requests": make_requests(9, model_id=["m1", "m1", "m2", "m3", "m4", "m5", "m6", "m7", None]),
        "signals": make_signals(3, signal_type=["thumbs_up", "thumbs_down", "thumbs_up"]),
        "changes": make_changes(2), "probe_results": make_probe_results(4, probe_id=["p1", "p2"]),
    }  # fmt: skip
    holds = of(**tables).tables.set_index("table")["holds"]
    assert plain(holds["requests"]) == "model id: m1 2, m2 1, m3 1, m4 1, m5 1 and 2 more"
    assert plain(holds["signals"]) == "signal type: thumbs_up 2, thumbs_down 1"
    assert plain(holds["changes"]) == "kind: deployment 2"
    assert holds["probe_results"] == "2 probes"


def test_the_text_names_the_busiest_features_and_counts_the_others():
    requests = make_requests(14, feature_id=[f"f{i:02d}" for i in range(14)])
    line = plain(of(requests=requests).text()).splitlines()[1]
    assert line.startswith("  14 features: f00 1, f01 1")
    assert line.endswith(f"f{MOST_FEATURES - 1} 1 and 2 more")
    assert "  1 feature: search 2" in plain(of(requests=make_requests(2)).text())


def test_hostile_names_stay_text_on_one_line():
    evil = "<script>alert(1)</script>\nnext " + "x" * 80
    told = of(requests=make_requests(2, feature_id=evil, model_id=evil))
    assert "<script>" not in told.html()
    assert "&lt;script&gt;" in told.html()
    assert len(told.text().splitlines()) == 3
    assert "…" in told.text()
