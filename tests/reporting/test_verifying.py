"""A report run again: the same where nothing was touched, and whatever was touched is named."""

import json
import shutil

import pandas as pd
import pytest
from builders import make_judgements, make_requests
from click.testing import CliRunner

import llm_monitoring as lm
from llm_monitoring.cli import main
from llm_monitoring.errors import LogError
from llm_monitoring.reporting.verifying import differences, verify

ALERT = {"metric": "error_rate", "fired_at": "2026-05-11T04:00:00Z", "direction": "up", "feature_id": "search"}
REVIEWS = [
    {"request_id": f"req-0021{i}", "verdict": "real", "reviewer": "ada", "reviewed_at": f"2026-05-11T04:1{i}:00Z"}
    for i in range(3)
]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A log of files in which the last third of five hours fails, verdicts, and its report."""
    root = tmp_path_factory.mktemp("verify")
    requests = make_requests(300, error=[None] * 210 + ["timeout"] * 90)
    judged = make_judgements(300, flagged=[False] * 210 + [True] * 90)
    (root / "log").mkdir()
    write(root / "log" / "requests.jsonl", lm.open_log({"requests": requests}).requests.pipe(rows))
    write(root / "log" / "judgements.jsonl", rows(judged))
    ids = requests["request_id"].tolist()[-3:]
    write(root / "reviews.jsonl", [{**row, "request_id": one} for row, one in zip(REVIEWS, ids, strict=True)])
    lm.report(root / "log", alert=ALERT, reviews=root / "reviews.jsonl", out=root / "out", progress=False)
    return root


def rows(frame):
    from llm_monitoring.results import jsonable

    return jsonable(frame)


@pytest.fixture
def report(reported, tmp_path, monkeypatch):
    """A copy of the report; the log stays where it was."""
    (folder,) = (reported / "out").iterdir()
    shutil.copytree(folder, tmp_path / folder.name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / folder.name


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_was_edited_in_a_report_is_named_file_field_and_both_values(reported, report):
    edit(report / "results" / "scope.json", lambda one: one["slices"][0].update(n_after=7))
    edit(report / "results" / "incident.json", lambda one: one["known_when"][0].update(verdict="false_positive"))
    lines = (report / "reviews.jsonl").read_text().replace('"real"', '"unsure"', 1)
    (report / "reviews.jsonl").write_text(lines)
    (report / "index.html").write_text("<p>fine</p>")
    book = report / "2_scope.ipynb"
    edit(book, lambda one: one["cells"][0].update(source=["# nothing to see"]))
    found = verify(report)
    assert not found.same
    told = {(row["kind"], row["where"]): (row["recorded"], row["now"]) for row in found.altered}
    first = json.loads((report / "reviews.jsonl").read_text().splitlines()[0])["request_id"]
    assert told["review", f"{first} in {report / 'reviews.jsonl'}"] == ("real", "unsure")
    assert told["figure", "results/scope.json slices[0].n_after"] == ("'7'", "'90'")
    was, now = told["figure", "results/incident.json known_when[0].verdict"]
    assert (was, now) == ("'false_positive'", "'real'")
    assert ("page", "index.html") in told
    assert ("notebook", "2_scope.ipynb cell 1") in told
    assert not any(kind == "log" for kind, _ in told)
    assert found.said == []


@pytest.mark.long
def test_a_changed_table_is_named_with_its_rows_and_the_log_as_of_then_gives_the_same_wherever_it_lies(
    reported, report
):
    grown = report.parent / "grown"
    shutil.copytree(reported / "log", grown)
    last = json.loads((grown / "requests.jsonl").read_text().splitlines()[-1])
    with (grown / "requests.jsonl").open("a") as file:
        file.write(json.dumps({**last, "request_id": "new", "timestamp": "2026-05-12T00:00:00Z"}) + "\n")
    known = json.loads((report / "results" / "incident.json").read_text())["log"]["known"]
    found = verify(report, log=grown)
    (row,) = [row for row in found.altered if row["kind"] == "log"]
    assert row["where"] == "requests"
    assert row["recorded"].startswith("300 rows, SHA-256 ")
    assert row["now"].startswith("301 rows, SHA-256 ")
    assert row["now"].endswith(f"(rows came since; those known by {known} are the same: --until {known})")
    done = CliRunner().invoke(main, ["report", "grown", "--verify", str(report), "--until", known])
    assert (done.exit_code, done.output) == (0, f"the same: {report} run again gives every figure as it was recorded\n")


def test_an_edited_parameter_is_named_before_anything_is_run(report):
    edit(report / "results" / "incident.json", lambda one: one["parameters"].update(seed=3))
    found = verify(report)
    assert found.lines == [
        "parameter seed: '0' recorded, '3' now",
        "not run again: what to run is not what was recorded",
    ]
    assert found.headline == f"altered: {report} run again does not give what was recorded (1 parameter)"


def test_a_verdict_file_that_cannot_be_read_is_named_with_its_line(report):
    with (report / "reviews.jsonl").open("a") as file:
        file.write("not json\n")
    done = CliRunner().invoke(main, ["report", "--verify", str(report)])
    assert done.exit_code == 1
    expected = "review reviews.jsonl line 4: 'not json'; expected one JSON object a line: 3 verdicts recorded, cannot be read now"
    assert expected in done.output.splitlines()


def test_a_folder_without_a_report_and_a_log_that_is_gone_are_wrong_calls(report, tmp_path):
    done = CliRunner().invoke(main, ["report", "--verify", str(tmp_path)])
    assert done.exit_code == 2
    assert "no results/incident.json in it" in done.output
    edit(report / "results" / "incident.json", lambda one: _gone(one, tmp_path))
    with pytest.raises(LogError) as caught:
        verify(report)
    told = f"{tmp_path / 'gone'}: the log of this report is not there. Say where it is now: llm-monitoring report LOG --verify {report}"
    assert str(caught.value) == told


def _gone(incident, root):
    from llm_monitoring.reporting.folder import seal

    incident["log"]["path"] = incident["parameters"]["log"] = str(root / "gone")
    incident["inputs"]["parameters"]["log"] = seal(str(root / "gone"))


@pytest.mark.long
def test_a_later_run_adds_a_moment_and_rewrites_none(reported, report, tmp_path):
    first = json.loads((report / "results" / "incident.json").read_text())["known_when"]
    later = tmp_path / "log"
    shutil.copytree(reported / "log", later)
    last = json.loads((later / "requests.jsonl").read_text().splitlines()[-1])
    with (later / "requests.jsonl").open("a") as file:
        for i in range(30):
            one = {**last, "request_id": f"later-{i}", "timestamp": f"2026-05-11T06:{i:02d}:00Z", "error": None}
            file.write(json.dumps(one) + "\n")
    done = lm.report(
        later, alert=ALERT, reviews=reported / "reviews.jsonl", out=report.parent, force=True, progress=False
    )
    assert done.folder.resolve() == report.resolve()
    moments = json.loads((report / "results" / "incident.json").read_text())["known_when"]
    assert [row for row in moments if row["run"] == 1] == first
    (added,) = [row for row in moments if row["run"] == 2]
    assert added["at"] == "2026-05-11T06:29:00Z"
    assert "an earlier page" in done.path.read_text("utf-8")
    edit(report / "results" / "incident.json", lambda one: one["known_when"][1].update(verdict="real!"))
    assert [(row["kind"], row["where"]) for row in verify(report).altered] == [
        ("history", "known_when[1]")
    ]  # nothing else


def test_numbers_that_agree_to_nine_places_are_the_same_figure():
    was, now = {"a": [1.0, None], "b": True}, {"a": [1.0 + 1e-12, None], "b": 1, "c": 2}
    assert list(differences(was, now)) == [("b", True, 1), ("c", "absent", 2)]
    assert list(differences(pd.NaT, pd.NaT)) == [("", pd.NaT, pd.NaT)]  # not in JSON: never called the same
