"""Names, files and the fingerprint of an incident."""

import json

import pandas as pd
import pytest
from builders import make_judgements, make_requests
from reporting.results import make_scope

from llm_monitoring import engines
from llm_monitoring.errors import ConfigError, LogError
from llm_monitoring.incident import ScopeResult
from llm_monitoring.log import open_log
from llm_monitoring.reporting import folder

NOON = pd.Timestamp("2026-05-19T12:00Z")


@pytest.mark.parametrize(
    ("feature", "name"),
    [
        ("search", "20260519-search-mean_quality"),
        (None, "20260519-all-mean_quality"),
        ("../../etc/passwd", "20260519-.._.._etc_passwd-mean_quality"),
        ("<b>ä</b>", "20260519-b_b-mean_quality"),
        ("日本", "20260519-x-mean_quality"),
    ],
)
def test_an_incident_is_named_by_date_feature_and_metric_in_safe_letters(feature, name):
    assert folder.incident_id("mean_quality", feature, NOON) == name


def test_a_result_comes_back_as_it_was_saved(tmp_path):
    saved = ScopeResult(**make_scope())
    assert folder.save_result(saved, tmp_path) == tmp_path / "results" / "scope.json"
    assert ScopeResult(**folder.load_result("scope", tmp_path)) == saved


def test_a_result_that_is_not_there_says_what_makes_it(tmp_path):
    with pytest.raises(LogError) as caught:
        folder.load_result("scope", tmp_path)
    assert str(caught.value) == f"{tmp_path}/results/scope.json: no such file. Run 2_scope.ipynb first"


def test_the_fingerprint_ignores_the_order_of_rows_and_columns():
    requests = make_requests(5)
    turned = requests[requests.columns[::-1]].iloc[::-1]
    prints = [folder.fingerprint(open_log({"requests": frame}), "x") for frame in (requests, turned)]
    assert prints[0] == prints[1]
    assert prints[0]["tables"]["requests"]["rows"] == 5


def test_the_fingerprint_does_not_depend_on_how_many_rows_are_read_at_once(monkeypatch):
    shelf = pd.array([1, None, 3, 4, 5, 6, 2**60], "Int64")
    log = open_log({"requests": make_requests(7, tokens=range(7)).assign(shelf=shelf)})
    whole = folder.fingerprint(log, "x")
    at_once = engines.batches
    monkeypatch.setattr(engines, "batches", lambda rows: at_once(rows, size=2))
    assert folder.fingerprint(log, "x") == whole


def test_the_fingerprint_is_that_of_the_loaded_rows_whether_whole_numbers_came_as_floats_or_not():
    rows = make_requests(4).assign(shelf=[1.0, None, 3.0, 4.0])
    logs = [open_log({"requests": one}) for one in (rows.astype({"shelf": "Int64"}), rows)]
    prints = [folder.fingerprint(log, "x") for log in logs]
    assert prints[0] == prints[1]
    assert prints[0]["tables"]["requests"]["sha256"] == folder.hash_rows(logs[0].requests)


def test_the_fingerprint_sees_a_single_changed_cell():
    scores = [{"judgements": make_judgements(3, quality_score=score), "requests": make_requests(3)} for score in (4, 5)]
    prints = [folder.fingerprint(open_log(tables), "x")["tables"] for tables in scores]
    assert prints[0]["judgements"]["sha256"] != prints[1]["judgements"]["sha256"]
    assert prints[0]["requests"] == prints[1]["requests"]


def test_lines_are_json_one_row_each(tmp_path):
    folder.write_lines(tmp_path / "r.jsonl", [{"at": NOON, "note": float("nan")}, {"note": "a\nb"}])
    assert [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()] == [
        {"at": "2026-05-19T12:00:00Z", "note": None},
        {"note": "a\nb"},
    ]


def test_a_time_that_cannot_be_read_says_how_to_write_one():
    with pytest.raises(ConfigError, match=r"^until='soon' is not a time; expected one such as '2026-05-12T09:31Z'$"):
        folder.read_time("until", "soon")
