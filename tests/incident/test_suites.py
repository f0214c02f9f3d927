"""The files that `learn` exports are what the tools read; logged text in them stays text."""

import json
import os
import subprocess
import sys

import pytest

from llm_monitoring import ConfigError, LogError, incident
from llm_monitoring.incident.suites import FORMATS, MOST_OF_ONE, append_cases, same_question
from tests.incident.worlds import make_alert, make_world

EVIL = (
    "{{ 7*7 }} {%- endraw -%} file:///etc/passwd <script>alert(1)</script> \x00 \u2028 #} {{ env.HOME }} '; drop table"
)
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


@pytest.mark.parametrize(
    "text",
    [EVIL, "{{", "a {%", "{#", "{{{ a }}} {{{{", "}} %} #}", "{% raw %}a{% endraw %}b", "{%\nendraw\n%}", "file:///etc/passwd", "package:@x/y", "exec: id", "half \ud800"],
)  # fmt: skip
def test_promptfoo_renders_every_text_to_itself(text, tmp_path):
    jinja = pytest.importorskip("jinja2")  # the same marks as promptfoo's Nunjucks
    FORMATS["promptfoo"][1]([{**CASES[0], "input": text, "expected_property": text}], tmp_path / "p.json")
    test = json.loads((tmp_path / "p.json").read_text())[0]
    for given in (test["vars"]["input"], test["assert"][0]["value"]):
        assert not given.startswith(("file:", "package:", "exec:"))
        assert jinja.Template(given).render(env="leaked") == text.replace("\ud800", "\ufffd")
    assert test["assert"][0]["type"] == "llm-rubric"


def test_inspect_gets_one_sample_a_line(tmp_path):
    rows = [json.loads(line) for line in written("inspect", tmp_path).read_text().split("\n") if line]
    assert [row["id"] for row in rows] == ["r1", "r2"]
    assert rows[0]["input"] == EVIL
    assert set(rows[0]) == {"id", "input", "target", "metadata"}


def test_deepeval_gets_a_list_of_goldens(tmp_path):
    rows = json.loads(written("deepeval", tmp_path).read_text())
    assert rows[1]["input"] == "how long?"
    assert rows[1]["expected_output"] == "is as good"


def test_openai_gets_one_item_a_line(tmp_path):
    rows = [json.loads(line) for line in written("openai", tmp_path).read_text().split("\n") if line]
    assert rows[0]["item"]["input"] == EVIL
    openai = pytest.importorskip("openai.types.evals.create_eval_jsonl_run_data_source_param")
    from pydantic import TypeAdapter

    TypeAdapter(list[openai.SourceFileContentContent]).validate_python(rows)


def test_the_pytest_module_runs_the_cases_with_two_fixtures_of_the_team(tmp_path):
    file = written("pytest", tmp_path)
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n@pytest.fixture\ndef answer():\n    return lambda question: 'fresh'\n\n"
        "@pytest.fixture\ndef holds():\n    return lambda expected, question, given: given == 'fresh'\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(file)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        check=False,
    )
    assert "2 passed" in done.stdout


def test_a_suite_gets_each_case_once(tmp_path):
    suite = tmp_path / "suite.jsonl"
    assert append_cases(CASES, suite) == 2
    before = suite.read_bytes()
    assert append_cases(CASES, suite) == 0  # also where a text holds a line end that only Unicode knows
    assert suite.read_bytes() == before
    assert append_cases([{**CASES[1], "case_id": "r9", "input": "long"}], suite) == 1  # a part of a question is another


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
    log = open_log({"requests": requests, "judgements": world.judgements})
    lesson = incident.learn(log, make_alert(), None, tmp_path)
    text = (tmp_path / "eval_cases.jsonl").read_text()
    assert "[EMAIL]" in text
    assert "ada@example.org" not in text

    assert lesson.redacted["EMAIL"] > 0


def test_a_case_without_a_question_is_kept_on_record_and_given_to_no_tool(world, tmp_path):
    from llm_monitoring import open_log

    blank = world.requests["user_input"].where(world.requests.index % 2 == 0, None)
    log = open_log({"requests": world.requests.assign(user_input=blank), "judgements": world.judgements})
    lesson = incident.learn(log, make_alert(), None, tmp_path, ("inspect",), suite=tmp_path / "suite.jsonl")
    cases = [json.loads(line) for line in (tmp_path / "eval_cases.jsonl").read_text().splitlines()]
    silent = [case for case in cases if not case["input"]]
    assert silent
    rows = [json.loads(line) for line in (tmp_path / "eval_cases.inspect.jsonl").read_text().splitlines()]
    assert len(rows) == len(cases) - len(silent)
    assert (
        f"{len(silent)} of the {len(cases)} cases have no logged question: no suite can ask them." in lesson.open_points
    )


def test_good_answers_are_kept_as_guards_one_for_four_cases(world, tmp_path):
    import pandas as pd

    late = world.requests["timestamp"] >= pd.Timestamp("2026-05-14T12:00Z")
    hit = world.requests[late & (world.requests["feature_id"] == "support") & (world.requests["category"] == "returns")]
    verdicts = ["real", "real", "real", "real", "real", "false_positive"] * 4
    table = pd.DataFrame({"request_id": hit["request_id"].head(24), "verdict": verdicts, "reviewer": "ada"})
    incident.learn(world, make_alert(), table.assign(reviewed_at=hit["timestamp"].max()), tmp_path)
    kinds = [json.loads(line)["kind"] for line in (tmp_path / "eval_cases.jsonl").read_text().splitlines()]
    assert kinds.count("guard") == min(4, -(-kinds.count("failing") // 4))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Is 20011 a prime number? Think step by step.", "Is 20021 a prime number? Think step by step."),
        ("how do I cancel order NW-211562 that I placed", "how do I cancel order NW-211563 that I placed"),
        ("please tell me where the parcel of Ada Lovelace is", "please tell me where the parcel of Alan Turing is"),
        ('translate the sentence "good morning" into French', 'translate the sentence "good evening" into French'),
        ("what will the weather be on 2026-05-11 in the north", "what will the weather be on 2026-05-12 in the north"),
    ],
)
def test_questions_that_differ_in_numbers_names_or_quoted_parts_are_two(a, b):
    assert not same_question(a, b)
    assert same_question(a, a.replace("?", " ?"))


def test_a_suite_holds_twenty_of_one_template_and_every_question_of_its_own(tmp_path):
    primes = [{"case_id": f"p{i}", "kind": "failing", "input": f"Is {20011 + i} a prime number?"} for i in range(1155)]
    others = [{"case_id": "o1", "kind": "failing", "input": "how long may I return boots?"}]
    suite = tmp_path / "suite.jsonl"
    assert append_cases([*primes, *others], suite) == MOST_OF_ONE + 1
    assert append_cases(primes, suite) == 0
    assert suite.stat().st_mode & 0o777 == 0o600


def primes(world):
    """The same world, where every question of the hit slice asks whether another number is prime."""
    from llm_monitoring import open_log

    asked = [f"Is {20011 + i} a prime number?" for i in range(len(world.requests))]
    return open_log({"requests": world.requests.assign(user_input=asked), "judgements": world.judgements})


def test_of_one_template_twenty_cases_are_kept_and_the_rest_is_told(world, tmp_path):
    lesson = incident.learn(primes(world), make_alert(), None, tmp_path)
    assert lesson.cases == MOST_OF_ONE
    (told,) = lesson.left_out
    assert (told["kept"], told["template"]) == (MOST_OF_ONE, "is … a prime number?")
    assert told["found"] > MOST_OF_ONE


def test_the_right_answer_that_a_person_wrote_reaches_every_tool(world, tmp_path):
    import pandas as pd

    late = world.requests["timestamp"] >= pd.Timestamp("2026-05-14T12:00Z")
    hit = world.requests[late & (world.requests["feature_id"] == "support") & (world.requests["category"] == "returns")]
    table = pd.DataFrame({"request_id": hit["request_id"].head(6), "verdict": "real", "reviewer": "ada"})
    table = table.assign(
        reviewed_at=hit["timestamp"].max(), expected_output="Thirty days, mail ada@example.org", note="wrong"
    )
    incident.learn(world, make_alert(), table, tmp_path, ("inspect", "deepeval", "promptfoo", "openai"))
    right = "Thirty days, mail [EMAIL]"
    cases = [json.loads(line) for line in (tmp_path / "eval_cases.jsonl").read_text().splitlines()]
    assert {case["expected_output"] for case in cases} == {right}
    assert json.loads((tmp_path / "eval_cases.inspect.jsonl").read_text().splitlines()[0])["target"] == right
    assert json.loads((tmp_path / "eval_cases.deepeval.json").read_text())[0]["expected_output"] == right
    assert json.loads((tmp_path / "eval_cases.openai.jsonl").read_text().splitlines()[0])["item"]["expected"] == right
    rubric = json.loads((tmp_path / "eval_cases.promptfoo.json").read_text())[0]["assert"][0]["value"]
    assert rubric.endswith(f": wrong; a right answer: {right}")


def test_files_of_cases_are_private(world, tmp_path):
    incident.learn(world, make_alert(), None, tmp_path / "new", tuple(FORMATS))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "new").iterdir()} == {0o600}


def test_two_bad_answers_and_a_good_one_of_before_are_kept_to_be_quoted(world, tmp_path):
    quotes = incident.learn(world, make_alert(), None, tmp_path).quotes
    flagged = set(world.judgements.loc[world.judgements["flagged"], "request_id"])
    start = "2026-05-14T12:00:00Z"
    assert len(quotes["bad"]) == 2
    assert all(one["request_id"] in flagged and one["timestamp"] >= start for one in quotes["bad"])
    assert quotes["good"]["request_id"] not in flagged
    assert quotes["good"]["timestamp"] < start
