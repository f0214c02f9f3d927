import json

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.backtesting.incidents import matched, read_incidents

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


def test_faults_name_file_and_row(tmp_path):
    (tmp_path / "i.csv").write_text(
        "incident_id,started_at,ended_at\nA,2026-05-20T08:00Z,2026-05-19T08:00Z\n,2026-05-20T08:00Z,\n"
    )
    with pytest.raises(lm.ConfigError) as error:
        read_incidents(tmp_path / "i.csv")
    first, second = str(error.value).splitlines()
    assert first.startswith("i.csv row 0, ended_at:")
    assert second == "i.csv row 1, incident_id: unknown; expected a value in every row"
    with pytest.raises(lm.ConfigError, match="no column 'started_at'"):
        read_incidents(pd.DataFrame({"incident_id": ["A"]}))
    with pytest.raises(lm.ConfigError, match="no such file or folder"):
        read_incidents(tmp_path / "none.csv")
    (tmp_path / "i.jsonl").write_text("{}\n[1]\n")
    with pytest.raises(lm.ConfigError, match=r"i\.jsonl line 2"):
        read_incidents(tmp_path / "i.jsonl")


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
