"""Two models on an eval suite: verdicts, error rates, what cannot be measured."""

import json

import numpy as np
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.errors import ConfigError, LogError


def suite(n, **columns):
    return pd.DataFrame(
        {"case_id": [f"c{i:03d}" for i in range(n)], "input": [f"question {i}" for i in range(n)]} | columns
    )


async def judge(user_input, system_output):
    if system_output == "odd":
        raise ValueError("no idea")
    return dict.fromkeys(("correctness", "completeness", "tone"), 5 if system_output == "right" else 1)


def model(answers):
    """An async client that answers question i with answers[i]."""

    async def client(text):
        return answers[int(text.split()[-1])]

    return client


def kinds(lost, won, both, neither):
    old = ["right"] * lost + ["wrong"] * won + ["right"] * both + ["wrong"] * neither
    new = ["wrong"] * lost + ["right"] * won + ["right"] * both + ["wrong"] * neither
    return suite(len(old)), model(old), model(new)


def test_a_model_that_passes_the_same_cases_is_promoted_before_all_are_asked():
    cases, old, new = kinds(0, 0, 90, 10)
    result = lm.compare_versions(cases, old, new, judge)
    assert (result.verdict, result.change, result.lost, result.won) == ("promote", 0.0, [], [])
    assert 29 <= result.n < 100  # .9 ** 29 < .05 <= .9 ** 28: fewer cannot refute a loss of one in ten
    assert result.low > -0.1
    assert result.needed_n == result.n
    assert result.passed_old == result.passed_new


def test_a_model_that_loses_many_is_held_and_the_lost_cases_are_named():
    cases, old, new = kinds(30, 2, 60, 8)
    result = lm.compare_versions(cases, old, new, judge)
    assert result.verdict == "hold"
    assert result.high < 0
    assert set(result.lost) <= {f"c{i:03d}" for i in range(30)}
    assert result.headline.startswith("Hold: the share of cases passed moves by -")


def test_few_cases_are_not_enough_and_say_how_many_are_needed():
    cases, old, new = kinds(1, 1, 16, 2)
    result = lm.compare_versions(cases, old, new, judge)
    assert (result.verdict, result.n, result.change) == ("not enough cases", 20, 0.0)
    # 1.15 x (z.05 + z.80)^2 x variance / margin^2 with (1 + 1 + 1) / 22 as variance
    assert result.needed_n == np.ceil(1.15 * (1.644854 + 0.841621) ** 2 * (3 / 22) / 0.01)
    assert f"About {result.needed_n} cases would decide, {result.needed_n - 20} more." in result.headline


def test_cases_that_would_hardly_decide_are_not_asked():
    cases, old, new = kinds(60, 50, 80, 10)  # half of the margin lost: 200 cases have a standard error of 5 points
    result = lm.compare_versions(cases, old, new, judge)
    assert (result.verdict, result.unmeasured) == ("not enough cases", 0)
    assert result.n < 200 < result.needed_n
    assert f"The {200 - result.n} left would hardly have decided and were not asked." in result.headline


@pytest.mark.parametrize("n", [40, 60])
def test_a_model_worse_by_the_margin_is_promoted_at_most_as_often_as_alpha_says(n):
    promoted = 0
    for seed in range(60):
        draws = np.random.default_rng(seed).random(n)
        old = np.where(draws < 0.85, "right", "wrong")
        new = np.where((draws > 0.1) & (draws < 0.85), "right", "wrong")
        promoted += lm.compare_versions(suite(n), model(old), model(new), judge, seed=seed).verdict == "promote"
    assert promoted <= 8  # 99 % quantile of Binomial(60, .05)


def test_answers_that_did_not_come_are_no_failures():
    cases, old, _ = kinds(0, 0, 60, 0)

    async def sometimes(text):
        if int(text.split()[-1]) % 2:
            raise ConnectionError("refused")
        return "right"

    result = lm.compare_versions(cases, old, sometimes, judge)
    assert (result.lost, result.change) == ([], 0.0)
    assert result.unmeasured > 0
    assert result.reason == "ConnectionError: refused"
    assert result.to_frame()["passed_new"].isna().sum() == result.unmeasured


def test_a_judgement_that_failed_is_missing():
    result = lm.compare_versions(suite(30), model(["right"] * 30), model(["odd"] * 30), judge)
    assert (result.verdict, result.n, result.change, result.needed_n) == ("not enough cases", 0, None, None)
    assert result.headline.startswith(
        "Not enough cases: none of 30 could be measured on both models (the judge failed: "
    )


def test_a_model_that_cannot_be_reached_is_not_asked_on_and_on():
    asked = []

    async def gone(text):
        asked.append(text)
        raise ConnectionError("refused")

    lm.compare_versions(suite(200), model(["right"] * 200), gone, judge)
    assert len(asked) == 20


def test_neither_the_order_of_the_rows_nor_a_repeated_question_matters():
    cases, old, new = kinds(3, 2, 40, 5)
    twice = pd.concat([cases.sample(frac=1, random_state=1), cases.assign(case_id="z" + cases["case_id"])])
    first, second = (lm.compare_versions(each, old, new, judge) for each in (cases, twice))
    assert first.to_dict() == second.to_dict()
    json.dumps(first.to_dict(), allow_nan=False)


def test_without_a_judge_each_case_uses_the_check_that_it_names(monkeypatch):
    monkeypatch.delenv("LLM_MONITORING_JUDGE_MODEL", raising=False)
    cases = suite(60, check_fn="check_contains", expected_property="right")
    assert lm.compare_versions(cases, model(["all right"] * 60), model(["right"] * 60)).verdict == "promote"
    with pytest.raises(ConfigError) as error:
        lm.compare_versions(suite(3), str, str)
    assert str(error.value).startswith("compare_versions(judge): no judge: call set_judge(...)")


def test_the_judge_of_set_judge_is_used():
    lm.set_judge(judge)
    try:
        cases, old, new = kinds(0, 0, 60, 0)
        assert lm.compare_versions(cases, old, new).verdict == "promote"
    finally:
        lm.set_judge(None)


def test_the_cases_that_learn_wrote_are_read_without_those_that_cannot_be_asked(tmp_path):
    lines = [{"case_id": f"r{i}", "kind": "failing", "input": f"question {i}"} for i in range(40)]
    lines.append({"case_id": "silent", "kind": "failing", "input": ""})
    (tmp_path / "eval_cases.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = lm.compare_versions(tmp_path, model(["right"] * 40), model(["right"] * 40), judge)
    assert (result.total, result.verdict) == (40, "promote")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"case_id": "a"}\n[1]\n', "cases.jsonl line 1, input: 'no input'; expected the text that the model is asked\n"
                                    "cases.jsonl line 2, input: [1]; expected the text that the model is asked"),
        ("{oops\n", "cases.jsonl line 1: '{oops'; expected one JSON object a line"),
        ("", "cases.jsonl: holds no case that can be asked; expected at least one with `case_id` and `input`"),
    ],
)  # fmt: skip
def test_faults_of_a_suite_are_named_with_their_lines(tmp_path, text, sentence):
    (tmp_path / "cases.jsonl").write_text(text)
    with pytest.raises(LogError) as error:
        lm.compare_versions(tmp_path / "cases.jsonl", str, str, judge)
    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"margin": 0}, "compare_versions(margin=0); expected a share of cases above 0 and below 1"),
        ({"alpha": 1}, "compare_versions(alpha=1); expected an error rate above 0 and below 0.5"),
        ({"old": 5}, "compare_versions(old): 5; expected a function text -> text, or lm.Judge(...)"),
        ({"cases": 5}, "compare_versions(cases): 5; expected a path or a DataFrame of eval cases"),
    ],
)
def test_errors_are_whole_sentences(given, sentence):
    with pytest.raises(ConfigError) as error:
        lm.compare_versions(**{"cases": suite(3), "old": str, "new": str, "judge": judge, **given})
    assert str(error.value) == sentence


def test_hostile_texts_stay_texts():
    texts = ["<script>alert(1)</script>", "$x$ \x00", "a" * 100_000]
    cases = pd.DataFrame({"case_id": texts, "input": [f"{text} {i}" for i, text in enumerate(texts)]})
    result = lm.compare_versions(cases, lambda text: text, lambda text: "right", judge)
    assert "<script>" not in result._repr_html_()
    assert set(result.won) == set(texts)
    result.plot()
