"""The files that `learn` exports are what the tools read; logged text in them stays text."""

import json
import subprocess
import sys

import pytest

from llm_monitoring import ConfigError, LogError, incident
from llm_monitoring.incident.suites import FORMATS, append_cases
from tests.incident.worlds import make_alert, make_world

EVIL = "{{ 7*7 }} {% endraw %} file:///etc/passwd <script>alert(1)</script> \x00 '; drop table"
CASES = [
    {"case_id": "r1", "kind": "failing", "input": EVIL, "bad_output": EVIL, "expected_property": "not: " + EVIL, "reviewed": True},
    {"case_id": "r2", "kind": "guard", "input": "how long?", "good_output": "30 days", "expected_property": "is as good", "reviewed": True},
]  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return make_world(hit={"feature_id": "support", "category": "returns"}, drop=1.2)


def written(name, folder):
    file, write = FORMATS[name]
    write(CASES, folder / file)
    return folder / file


def test_promptfoo_gets_a_list_of_tests_whose_texts_are_no_templates(tmp_path):
    tests = json.loads(written("promptfoo", tmp_path).read_text())
    jinja = pytest.importorskip("jinja2")  # the same syntax as promptfoo's Nunjucks for raw blocks
    shown = jinja.Template(tests[0]["vars"]["input"]).render()
    assert "{{ 7*7 }}" in shown
    assert not tests[0]["vars"]["input"].startswith("file://")
    assert tests[1]["assert"] == [{"type": "llm-rubric", "value": "{% raw %}is as good{% endraw %}"}]


def test_inspect_gets_one_sample_a_line(tmp_path):
    rows = [json.loads(line) for line in written("inspect", tmp_path).read_text().splitlines()]
    assert [row["id"] for row in rows] == ["r1", "r2"]
    assert rows[0]["input"] == EVIL
    assert set(rows[0]) == {"id", "input", "target", "metadata"}


def test_deepeval_gets_a_list_of_goldens(tmp_path):
    rows = json.loads(written("deepeval", tmp_path).read_text())
    assert rows[1]["input"] == "how long?"
    assert rows[1]["expected_output"] == "is as good"


def test_openai_gets_one_item_a_line(tmp_path):
    rows = [json.loads(line) for line in written("openai", tmp_path).read_text().splitlines()]
    assert rows[0]["item"]["input"] == EVIL


def test_the_pytest_module_runs_the_cases_with_two_fixtures_of_the_team(tmp_path):
    file = written("pytest", tmp_path)
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef answer():\n    return lambda question: 'fresh'\n\n"
        "@pytest.fixture\ndef holds():\n    return lambda expected, question, given: given == 'fresh'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", str(file)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert "2 passed" in done.stdout


def test_a_suite_gets_each_case_once(tmp_path):
    suite = tmp_path / "suite.jsonl"
    assert append_cases(CASES, suite) == 2
    before = suite.read_bytes()
    assert append_cases(CASES, suite) == 0
    assert suite.read_bytes() == before


def test_a_broken_suite_names_the_line(tmp_path):
    suite = tmp_path / "suite.jsonl"
    suite.write_text('{"case_id": "a"}\nnot json\n')
    with pytest.raises(LogError) as caught:
        append_cases(CASES, suite)
    assert str(caught.value) == "suite.jsonl line 2: 'not json'; expected one JSON object a line"


def test_every_format_is_written_and_named(world, tmp_path):
    lesson = incident.learn(world, make_alert(), None, tmp_path, tuple(FORMATS))
    assert set(lesson.exported) == set(FORMATS)
    assert all((tmp_path / name).stat().st_size for name in lesson.exported.values())


def test_an_incident_closes_by_a_named_person_and_the_record_stays(world, tmp_path):
    because = {"by": "ada", "because": "the feature was switched off"}
    lesson = incident.learn(world, make_alert(), None, tmp_path, override=because)
    assert lesson.closed
    assert lesson.override == because
    assert lesson.open_points
    with pytest.raises(ConfigError) as caught:
        incident.learn(world, make_alert(), None, tmp_path, override={"by": "", "because": "x"})
    assert str(caught.value) == "learn(override): expected a dict with by (a name) and because (a reason), both filled"


def test_personal_data_does_not_reach_the_cases(world, tmp_path):
    from llm_monitoring import open_log

    requests = world.requests.assign(user_input=world.requests["user_input"] + " mail ada@example.org")
    incident.learn(open_log({"requests": requests, "judgements": world.judgements}), make_alert(), None, tmp_path)
    text = (tmp_path / "eval_cases.jsonl").read_text()
    assert "[EMAIL]" in text
    assert "ada@example.org" not in text
