"""The whole road: a log in, an incident folder out. The sample's report is made once, by the fixture `report_folder`."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from builders import make_judgements, make_requests

import llm_monitoring as lm
from llm_monitoring.reporting import notebooks, run
from llm_monitoring.reporting.case import open_case
from llm_monitoring.reporting.folder import STAGES, notebook_of
from llm_monitoring.reporting.run import write_page

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "sample_data"


def results(folder):
    return {path.stem: json.loads(path.read_text()) for path in (Path(folder) / "results").glob("*.json")}


def test_the_folder_holds_what_it_promises(report_folder):
    names = {path.name for path in report_folder.iterdir()}
    assert names == {
        "index.html", "results", "reviews.jsonl", "eval_cases.jsonl", "run.json", *map(notebook_of, STAGES),
    }  # fmt: skip
    assert set(results(report_folder)) == {"incident", *STAGES}


def test_the_incident_of_the_sample_is_found_with_its_slice_and_its_cause(report_folder):
    found = results(report_folder)
    truth = {"feature_id": "support", "category": "returns"}
    assert found["triage"]["verdict"] == "real"
    assert found["scope"]["slices"][0]["where"] == truth
    assert found["isolate"]["verdict"] == found["isolate"]["ranking"][0]["cause"]


def test_the_incident_file_says_what_the_report_rests_on(report_folder):
    incident = results(report_folder)["incident"]
    assert incident["incident_id"] == report_folder.name
    assert incident["log"]["tables"]["requests"]["rows"] == len(lm.open_log(SAMPLE).requests)
    assert all(len(table["sha256"]) == 64 for table in incident["log"]["tables"].values())
    assert incident["stages"] == dict.fromkeys(STAGES, "done")
    assert {"llm_monitoring", "pandas", "python"} <= set(incident["versions"])
    moments = [pd.Timestamp(row["at"]) for row in incident["timeline"] if row["at"]]
    assert moments == sorted(moments)


def test_what_was_known_when_ends_with_this_page_and_never_looks_ahead(report_folder):
    found = results(report_folder)
    rows = found["incident"]["known_when"]
    assert rows[0]["what"] == "alert"
    assert rows[-1]["what"] == "this page"
    assert [row["at"] for row in rows] == sorted(row["at"] for row in rows)
    at_alert = lm.open_log(SAMPLE).until(rows[0]["at"])
    then = lm.incident.scope(at_alert, found["incident"]["alert"])
    assert rows[0]["n"] == (then.slices[0]["n_after"] if then.kind in ("slice", "all") else rows[0]["n"])
    assert rows[-1]["verdict"] == found["triage"]["verdict"]


def test_the_page_can_be_written_again_from_the_results_alone(report_folder, tmp_path):
    shutil.copytree(report_folder / "results", tmp_path / "results")
    write_page(tmp_path)
    assert (tmp_path / "index.html").read_bytes() == (report_folder / "index.html").read_bytes()


ALERT = {"metric": "error_rate", "fired_at": "2026-05-11T04:00:00Z", "direction": "up", "feature_id": "search"}


def small_log():
    """Five hours of requests; the last one and a half of them fail."""
    return {"requests": make_requests(300, error=[None] * 210 + ["timeout"] * 90)}


def judged_log():
    flagged = [False] * 210 + [True] * 90
    return {**small_log(), "judgements": make_judgements(300, flagged=flagged)}


BECAUSE = 'it\'s "over" {{ x }}\n<b>done</b>'
CLOSED = {"alert": ALERT, "override": {"by": "ada", "because": BECAUSE}, "progress": False}


@pytest.fixture(scope="module")
def small_report(tmp_path_factory):
    """The report of the small log, in one kernel; ada closes the incident with points open."""
    return lm.report(judged_log(), out=tmp_path_factory.mktemp("small"), **CLOSED)


def test_an_open_log_is_read_where_it_lies_and_copied_only_where_its_path_does_not_say_all(small_report, tmp_path):
    lies = small_report.folder / "log"
    where = [run._keep_log(given, open_case(given, alert=ALERT), tmp_path) for given in (lm.open_log(lies), str(lies))]
    assert where == [str(lies.resolve())] * 2
    cut = lm.open_log(lies).until("2026-05-11T01:00Z")
    assert run._keep_log(cut, open_case(cut, alert=ALERT), tmp_path) == "log"
    assert lm.open_log(tmp_path / "log").requests.equals(cut.requests)


@pytest.mark.long  # of this version; .ci/run tries it on the lowest and the newest
@pytest.mark.versions
def test_a_kernel_for_each_stage_gives_the_same_bytes_as_one_for_all(small_report, tmp_path):
    one = small_report.folder
    five = lm.report(judged_log(), out=tmp_path, isolated=True, **CLOSED).folder
    names = [path.relative_to(one) for path in sorted(one.rglob("*")) if path.is_file() and path.name != "run.json"]
    assert len(names) >= 14
    for name in names:
        assert (five / name).read_bytes() == (one / name).read_bytes(), name


def test_tables_in_memory_are_kept_beside_the_results(small_report):
    done = small_report
    assert done.failure is None
    assert done.folder.name == "20260511-search-error_rate"
    kept = lm.open_log(done.folder / "log")
    assert len(kept.requests) == 300
    assert kept.requests["error"].notna().sum() == 90
    incident = results(done.folder)["incident"]
    assert incident["log"]["source"] == "tables in memory"
    assert incident["parameters"]["alert"]["metric"] == "error_rate"
    shown = done._repr_html_()
    assert f'href="{done.path.as_posix()}"' in shown


@pytest.mark.long
def test_the_real_update_of_a_provider_is_found_and_its_savings_are_no_success(drift_folder):
    found = results(drift_folder)
    assert found["incident"]["failure"] is None
    assert found["triage"]["verdict"] == "real"
    assert found["isolate"]["verdict"] == "chg-0613"
    onset = found["isolate"]["onset"]
    assert onset["low"] <= "2023-06-27T00:00:00Z" <= onset["high"]
    assert found["scope"]["slices"][0]["where"]["feature_id"] == "opinionqa"
    assert found["respond"]["action"] != "none"


def test_an_incident_is_closed_by_a_named_person(small_report):
    learned = results(small_report.folder)["learn"]
    assert learned["closed"]
    assert learned["override"] == CLOSED["override"]
    assert learned["open_points"]
    assert "Closed with points open by ada:" in small_report.path.read_text("utf-8")
    assert "&lt;b&gt;done&lt;/b&gt;" in small_report.path.read_text("utf-8")


@pytest.mark.long
def test_an_incident_that_was_closed_stays_closed_where_it_is_run_or_looked_at_again(tmp_path):
    from llm_monitoring.reporting.verifying import verify

    given = {"alert": ALERT, "out": tmp_path / "out", "progress": False, "suite": tmp_path / "suite.jsonl"}
    done = lm.report(judged_log(), override={"by": "ada", "because": "over"}, **given)
    cases = (tmp_path / "suite.jsonl").read_bytes()
    assert cases.count(b"\n") >= 1
    held = results(done.folder)
    assert not any("eval suite" in point for point in held["learn"]["open_points"])
    assert held["learn"]["override"] == {"by": "ada", "because": "over"}
    again = lm.report(judged_log(), force=True, **given)
    assert results(again.folder) == held  # the override too; and what was known when has nothing to add
    assert verify(again.folder).same
    assert (tmp_path / "suite.jsonl").read_bytes() == cases  # neither run added a line, nor did looking again


def test_an_override_without_a_name_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(lm.ConfigError) as caught:
        lm.report(small_log(), alert=ALERT, out=tmp_path / "out", progress=False, override={"by": " ", "because": "x"})
    assert str(caught.value) == "learn(override): expected a dict with by (a name) and because (a reason), both filled"
    assert not (tmp_path / "out").exists()


def broken_notebooks(folder, monkeypatch, source, name="1_triage"):
    """The notebooks, one of which ends in a cell of its own."""
    shutil.copytree(ROOT / "notebooks", folder)
    book = json.loads((folder / f"{name}.ipynb").read_text())
    cell = {"cell_type": "code", "id": "x", "outputs": [], "execution_count": None, "metadata": {}, "source": [source]}
    (folder / f"{name}.ipynb").write_text(json.dumps(book | {"cells": [*book["cells"], cell]}))
    monkeypatch.setattr(notebooks, "notebooks_folder", lambda: folder)


def test_a_stage_that_stops_leaves_a_page_that_says_so_and_no_file_holds_the_secret_of_a_url(tmp_path, monkeypatch):
    """DuckDB takes `secret_directory` in its URL, which stands in for a password here."""
    import duckdb

    small_log()["requests"].to_parquet(tmp_path / "requests.parquet")
    with duckdb.connect(tmp_path / "log.duckdb") as database:
        database.execute(f"CREATE TABLE requests AS FROM '{tmp_path}/requests.parquet'")
    url = f"duckdb://{tmp_path}/log.duckdb?read_only=True&secret_directory=Zq9xK2vT%2FZq8wL4nR"
    address = "__import__('os').environ['LLM_MONITORING_LOG']"
    source = f"print({address}); raise ValueError('<b>planted</b> ' + {address})"
    broken_notebooks(tmp_path / "notebooks", monkeypatch, source, "3_isolate")
    done = lm.report(url, alert=ALERT, out=tmp_path / "out", progress=False)
    assert done.failure is not None
    assert re.match(r"3_isolate failed in cell \d+: ValueError: <b>planted</b> duckdb://", done.failure)
    assert done.failure.endswith("log.duckdb?read_only=True&secret_directory=***")
    assert list(done.stages.values()) == ["done", "done", "failed", "not run", "not run"]
    page = done.path.read_text("utf-8")
    assert "Not finished:" in page
    assert "ValueError: &lt;b&gt;planted&lt;/b&gt;" in page
    assert {"incident", "scope", "triage"} <= set(results(done.folder)) <= {"incident", "scope", "triage", "isolate"}
    held = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert len(held) >= 6
    assert not [name for name, content in held.items() if b"Zq9xK2vT" in content or b"Zq8wL4nR" in content]
    assert b"secret_directory=***" in held["3_isolate.ipynb"]


@pytest.mark.long
def test_a_finished_report_outlives_one_over_its_own_log_or_suite_and_one_in_which_a_stage_stops(
    small_report, tmp_path, monkeypatch
):
    given = {"alert": ALERT, "out": tmp_path / "out", "progress": False}
    finished = tmp_path / "out" / small_report.folder.name
    shutil.copytree(small_report.folder, finished)
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert {path.stat().st_mode & 0o777 for path in before} == {0o600}
    with pytest.raises(
        lm.ConfigError, match=r"^log .*/log: lies in .*, the folder that this report is written to\. Move"
    ):
        lm.report(finished / "log", force=True, **given)
    with pytest.raises(lm.ConfigError, match=r"^suite .*eval_cases\.jsonl: lies in "):
        lm.report(judged_log(), force=True, suite=finished / "eval_cases.jsonl", **given)
    broken_notebooks(tmp_path / "notebooks", monkeypatch, "raise ValueError('planted')")
    again = lm.report(judged_log(), force=True, **given)
    assert again.failure is not None
    assert again.folder == finished.with_name(f"{finished.name}.failed")
    assert "Not finished:" in again.path.read_text("utf-8")
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before
