"""Which answers become eval cases, what a case says, and what keeps an incident open."""

from collections import Counter
from importlib import import_module

import pandas as pd
import pytest

from llm_monitoring import ConfigError
from llm_monitoring.alerts.alert import read_alert
from llm_monitoring.incident.learn import LearnResult, check_override
from llm_monitoring.incident.suites import MOST_OF_ONE
from tests.builders import START, make_requests
from tests.incident.worlds import make_alert, make_world

learning = import_module("llm_monitoring.incident.learn")  # the package gives the function of this name
ALERT = read_alert(make_alert() | {"alert_id": "q-search-1"})


def result(**fields):
    usual = {
        "cases": 3, "file": "eval_cases.jsonl", "exported": {}, "closed": False, "open_points": ["a", "b"],
        "examples": [], "next": "",
    }  # fmt: skip
    return LearnResult(**{**usual, **fields})


def case(kind="failing", taken=None, **fields):
    row = make_requests(1).to_dict("records")[0]
    row |= {"verdict": "real", "note": None, "expected_output": None, **fields}
    return learning._case(row, ALERT, kind, Counter() if taken is None else taken)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "3 eval cases in eval_cases.jsonl; open, 2 points"),
        ({"cases": 1, "open_points": ["a"]}, "1 eval case in eval_cases.jsonl; open, 1 point"),
        ({"closed": True, "open_points": []}, "3 eval cases in eval_cases.jsonl; closed"),
        (
            {"closed": True, "override": {"by": "Ada"}},
            "3 eval cases in eval_cases.jsonl; closed by Ada with 2 points open",
        ),
        ({"summary": "no eval case; closed: it got better"}, "no eval case; closed: it got better"),
    ],
)
def test_the_headline_counts_cases_and_says_what_is_open(fields, said):
    assert result(**fields).headline == said


@pytest.mark.parametrize(
    "given",
    [{}, {"by": "Ada"}, {"by": "Ada", "because": "  "}, {"by": None, "because": "done"}, {"by": "", "because": ""}],
)
def test_nobody_closes_an_incident_for_no_reason(given):
    with pytest.raises(ConfigError) as told:
        check_override(given)
    assert str(told.value) == "learn(override): expected a dict with by (a name) and because (a reason), both filled"


@pytest.mark.parametrize("given", [None, {"by": "Ada", "because": "a known outage"}])
def test_an_override_with_name_and_reason_or_none_at_all_is_taken(given):
    assert check_override(given) is None


def test_a_failing_case_says_what_a_person_said_and_a_guard_that_it_is_good():
    bad = case(note="invents a price", expected_output="Ask the shop.")
    assert bad["expected_property"] == "not: invents a price"
    assert bad["expected_output"] == "Ask the shop."
    assert (bad["case_id"], bad["incident_id"], bad["reviewed"]) == ("req-0000", "q-search-1", True)
    assert "good_output" not in bad
    good = case("guard", verdict="false_positive", note="fine")
    assert good["expected_property"] == "is as good as good_output"
    assert good["good_output"] == "answer 0"
    assert "bad_output" not in good


def test_a_case_that_nobody_read_says_so():
    unread = case(verdict=None)
    assert (unread["reviewed"], unread["verdict"]) == (False, None)
    assert unread["expected_property"] == "does not fail as bad_output does"
    assert "expected_output" not in unread


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_a_text_that_was_not_logged_is_empty_and_not_the_word_nan(missing):
    got = case(user_input=missing, system_output=missing, category=missing, note=missing)
    assert (got["input"], got["bad_output"], got["category"]) == ("", "", None)
    assert got["expected_property"] == "does not fail as bad_output does"


def test_personal_data_is_counted_by_rule_in_every_text_and_what_was_there_before_is_not():
    taken = Counter()
    got = case(
        taken=taken, user_input="I am ada@example.org, was [EMAIL]", system_output="Write to bob@example.org.",
        note="names eve@example.org", expected_output="Write to us at help@example.org.",
    )  # fmt: skip
    assert "example.org" not in str(got)
    assert taken["EMAIL"] == 4
    assert sum(taken.values()) == 4


def test_of_near_repeats_the_earliest_is_kept_and_no_more_than_asked_for():
    rows = make_requests(
        4, start=START, every="1h", user_input=["where is my parcel", "my parcel, where is", "cancel the order", "why?"]
    ).iloc[::-1]
    assert [row["request_id"] for row in learning._distinct(rows, 9)] == ["req-0000", "req-0002", "req-0003"]
    assert [row["request_id"] for row in learning._distinct(rows, 2)] == ["req-0000", "req-0002"]
    assert learning._distinct(rows, 0) == []


def test_questions_that_were_not_logged_are_no_repeats_of_each_other():
    rows = make_requests(3, user_input=[None, "", "  "])
    assert len(learning._distinct(rows, 9)) == 3
    assert learning._left_out(rows, learning._distinct(rows, 9)) == []


@pytest.mark.parametrize(("asked", "left"), [(MOST_OF_ONE, []), (MOST_OF_ONE + 3, [(MOST_OF_ONE + 3, MOST_OF_ONE)])])
def test_a_template_with_more_questions_than_are_kept_is_told_with_both_counts(asked, left):
    rows = make_requests(asked, user_input=[f"Is {1000 + i} a prime number?" for i in range(asked)])
    told = learning._left_out(rows, learning._distinct(rows, 200))
    assert [(row["found"], row["kept"]) for row in told] == left


def test_an_incident_stays_open_while_nobody_has_read_its_cases_and_no_suite_holds_them(tmp_path):
    log = make_world(days=14, per_day=60, hit={"feature_id": "support"}, drop=1.5)
    got = learning.learn(log, make_alert(), out=tmp_path)
    assert got.open_points[:2] == [
        f"Nobody has read the {got.cases} cases: review them, then run this stage again.",
        f"The {got.cases} cases are not yet in the eval suite.",
    ]
    assert not got.closed
    assert got.cases == sum('"failing"' in line for line in (tmp_path / got.file).read_text().splitlines())


def test_an_improvement_leaves_an_empty_file_and_closes(tmp_path):
    log = make_world(days=14, per_day=60, hit={"feature_id": "support"}, drop=-0.7)
    got = learning.learn(log, make_alert(direction="up"), out=tmp_path)
    assert got.headline == "no eval case; closed: It got better: no answer failed."
    assert (got.cases, got.closed, got.open_points) == (0, True, [])
    assert (tmp_path / "eval_cases.jsonl").read_text() == ""
