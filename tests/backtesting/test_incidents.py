import json

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.backtesting.incidents import check_names, matched, read_incidents

DAY = pd.Timedelta("1D")
AT = pd.Timestamp("2026-05-20T08:00Z")


def an_alert(hours, feature="search", metric="mean_quality"):
    return {
        "alert_id": f"a{hours}",
        "fired_at": AT + pd.Timedelta(hours=hours),
        "feature_id": feature,
        "metric": metric,
    }


def alerts(*rows):
    return pd.DataFrame(list(rows)).astype({"feature_id": "string"})


def test_tables_and_files_read_alike(tmp_path):
    table = pd.DataFrame({"incident_id": ["B", "A"], "started_at": ["2026-05-20T08:00Z", "2026-05-12T00:00+02:00"],
                          "feature_id": [None, "search"]})  # fmt: skip
    table.to_csv(tmp_path / "incidents.csv", index=False)
    table.to_json(tmp_path / "incidents.jsonl", orient="records", lines=True)
    read = read_incidents(table)
    assert read["incident_id"].tolist() == ["A", "B"]
    for name in ("incidents.csv", "incidents.jsonl"):
        pd.testing.assert_frame_equal(read_incidents(tmp_path / name), read)


def faults_of(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(lm.ConfigError) as error:
        read_incidents(path)
    return str(error.value).splitlines()


def test_every_fault_is_a_line_that_names_file_line_and_column(tmp_path):
    first, second, third, fourth = faults_of(
        tmp_path / "i.csv",
        "incident_id,started_at,ended_at\nA,2026-05-20T08:00Z,2026-05-19T08:00Z\n\n,2026-05-20T08:00Z,\n"
        "B,yesterday,\nA,2026-05-20T08:00Z,\n",
    )
    assert first.startswith("i.csv line 2, ended_at:")
    assert second == "i.csv line 4, incident_id: unknown; expected a value in every row"
    assert third.startswith("i.csv line 5, started_at='yesterday' is not a time")
    assert fourth == "i.csv line 6, incident_id: 'A' stands in i.csv line 2 already; expected one row for each incident"


@pytest.mark.parametrize(("name", "text", "words"), [
    ("i.csv", "", ["i.csv line 1: no column 'incident_id' and no column 'started_at'; the file is empty"]),
    ("i.csv", "incident_id;started_at\nA;B\n", ["i.csv line 1: no column 'incident_id' and no column 'started_at'; the columns are 'incident_id;started_at'"]),
    ("i.csv", 'incident_id,started_at\nA,2026-05-20T08:00Z\n"B,2026-05-20T08:00Z\n', ["i.csv line 3: unexpected end of data"]),
    ("i.csv", "incident_id,started_at\nA,2026-05-20T08:00Z,x\n", ["i.csv line 2: 3 values; expected 2"]),
    ("i.csv", b"\xff\xfe\x00", ["i.csv: no UTF-8 text at byte 0"]),
    ("i.jsonl", '{"incident_id": "A"\n\n[1]\n', ["i.jsonl line 1: ", "i.jsonl line 3: '[1]'; expected one JSON object a line"]),
    ("i.jsonl", '\n{"incident_id": "A"}\n', ["i.jsonl line 2, started_at: unknown"]),
])  # fmt: skip
def test_a_file_that_cannot_be_read_says_where(tmp_path, name, text, words):
    found = faults_of(tmp_path / name, text)
    assert len(found) == len(words)
    assert all(line.startswith(start) for line, start in zip(found, words))


def test_tables_folders_and_paths_that_are_not_there_are_refused(tmp_path):
    with pytest.raises(lm.ConfigError, match="no column 'started_at'"):
        read_incidents(pd.DataFrame({"incident_id": ["A"]}))
    with pytest.raises(lm.ConfigError, match="incidents row 1, started_at: unknown"):
        read_incidents(pd.DataFrame({"incident_id": ["A", "B"], "started_at": [AT, None]}))
    with pytest.raises(lm.ConfigError, match="no such file or folder"):
        read_incidents(tmp_path / "none.csv")
    with pytest.raises(lm.ConfigError, match="no report is in this folder"):
        read_incidents(tmp_path)
    (tmp_path / "one" / "results").mkdir(parents=True)
    (tmp_path / "one" / "results" / "triage.json").write_text("{")
    with pytest.raises(lm.ConfigError, match=r"one/results/triage\.json: no JSON object"):
        read_incidents(tmp_path)


def test_a_name_that_the_log_does_not_have_is_refused_with_the_nearest(tmp_path):
    (tmp_path / "i.csv").write_text(
        "incident_id,started_at,feature_id,metric\nA,2026-05-20T08:00Z,serch,\nB,2026-05-20T08:00Z,search,flaged_rate\n"
    )
    with pytest.raises(lm.ConfigError) as error:
        check_names(read_incidents(tmp_path / "i.csv"), ["search", "other"])
    first, second = str(error.value).splitlines()
    assert first == "i.csv line 2, feature_id: the log has no feature 'serch'; the nearest is 'search'"
    assert second == "i.csv line 3, metric: there is no metric 'flaged_rate'; the nearest is 'flagged_rate'"


def test_an_incident_outside_of_the_log_is_neither_found_nor_missed():
    happened = read_incidents(
        pd.DataFrame({"incident_id": ["in", "after"], "started_at": [AT, AT + 90 * DAY], "ended_at": [AT + DAY, None]})
    )
    rows, _ = matched(happened, alerts(an_alert(6)), log=(AT - 14 * DAY, AT + 14 * DAY))
    assert rows["found"].tolist()[0] is True
    assert rows["found"].isna().tolist() == [False, True]


def test_a_folder_of_reports_gives_its_real_incidents(tmp_path):
    for name, verdict in (("20260520-search-mean_quality", "real"), ("20260530-all-quiet", "false_positive")):
        results = tmp_path / name / "results"
        results.mkdir(parents=True)
        triage = {
            "verdict": verdict,
            "feature_id": "search",
            "metric": "mean_quality",
            "fired_at": "2026-05-21T00:00:00Z",
        }
        (results / "triage.json").write_text(json.dumps(triage))
        (results / "isolate.json").write_text(json.dumps({"onset": {"at": "2026-05-20T08:00:00Z"}}))
    read = read_incidents(tmp_path)
    assert read[["incident_id", "started_at"]].values.tolist() == [["20260520-search-mean_quality", AT]]


def test_the_first_alert_of_the_feature_while_it_lasted_tells_of_it():
    happened = read_incidents(
        pd.DataFrame({"incident_id": ["A"], "started_at": [AT], "ended_at": [AT + DAY], "feature_id": ["search"]})
    )
    told = alerts(an_alert(-2), an_alert(5, "other"), an_alert(9), an_alert(6), an_alert(24 * 4))
    rows, explained = matched(happened, told)
    assert rows[["found", "delay_hours", "alert_id"]].values.tolist() == [[True, 6.0, "a6"]]
    assert explained.tolist() == [False, False, True, True, False]


def test_an_alert_on_another_metric_of_the_same_rows_counts_one_on_cost_does_not():
    happened = read_incidents(pd.DataFrame({"incident_id": ["A"], "started_at": [AT], "metric": ["mean_quality"]}))
    told = alerts(an_alert(1, metric="avg_cost_per_request_usd"), an_alert(2, metric="flagged_rate"))
    rows, _ = matched(happened, told)
    assert rows["alert_id"].tolist() == ["a2"]


def test_a_missed_incident_has_no_alert_and_no_delay():
    rows, explained = matched(
        read_incidents(pd.DataFrame({"incident_id": ["A"], "started_at": [AT]})), alerts(an_alert(-1))
    )
    assert rows["found"].tolist() == [False]
    assert rows[["delay_hours", "alert_id"]].isna().all(axis=None)
    assert not explained.any()
