"""The three commands against a server on the loopback: exit codes, what is written, what is printed."""

import itertools
import json

import pandas as pd
import pytest
from click.testing import CliRunner

import llm_monitoring as lm
from llm_monitoring.cli import main
from llm_monitoring.probes.suite import load_probes
from tests.probes.model_server import ModelServer

SUITE = [
    {"probe_id": f"p{i}", "input": f"Say {i}", "expected_property": str(i), "check_fn": "check_exact"} for i in range(8)
]


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "suite.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in SUITE))
    return path


def right(body):
    return body["messages"][-1]["content"].split()[-1]


def probe(server, suite, log, *more):
    return run("probe", "--suite", suite, "--model", "m", "--base-url", server.base_url, "--log", log, *more)


def test_a_model_that_answers_as_before_is_unchanged_and_one_that_does_not_is_found(tmp_path, suite):
    log = tmp_path / "log"
    with ModelServer(right) as server:
        first, second = probe(server, suite, log), probe(server, suite, log)
    with ModelServer(lambda body: "no") as server:
        third = probe(server, suite, log)
    assert (first.exit_code, second.exit_code, third.exit_code) == (0, 0, 1), third.output
    assert first.output.splitlines()[-1] == "m: the first run of these probes; later runs are compared with it"
    assert third.output.splitlines()[-1] == "lost: p0, p1, p2, p3, p4, p5, p6, p7"
    results = lm.open_log(log).probe_results
    assert len(results) == 24
    assert set(results["response_model"]) == {"m-2026-05-01"}
    assert results["passed"].tolist().count(False) == 8


def test_a_server_that_fails_could_not_be_measured(tmp_path, suite):
    with ModelServer(lambda body: (404, "no such model")) as server:
        done = probe(server, suite, tmp_path / "log")
    assert done.exit_code == 3
    assert "no answer: 8 NotFoundError" in done.output


def test_a_run_that_is_not_due_asks_nothing(tmp_path, suite):
    with ModelServer(right) as server:
        probe(server, suite, tmp_path / "log")
        done = probe(server, suite, tmp_path / "log", "--if-due", "7d")
        assert len(server.bodies) == 8
    assert done.exit_code == 0
    assert done.output.startswith("not due: the last run was ")


def test_a_suite_or_folder_that_is_wrong_is_a_wrong_call(tmp_path, suite):
    with ModelServer(right) as server:
        assert probe(server, tmp_path / "none.yaml", tmp_path / "log").exit_code == 2
        assert probe(server, suite, suite).exit_code == 2
        assert probe(server, suite, tmp_path / "log", "--if-due", "soon").exit_code == 2
        (tmp_path / "csv").mkdir()
        (tmp_path / "csv" / "probe_results.csv").write_text(
            "probe_id,run_at,model_id,input,output,passed\np0,2026-05-01T00:00Z,m,a,b,true\n"
        )
        done = probe(server, suite, tmp_path / "csv")
    assert done.exit_code == 2
    assert "nothing can be added to a .csv file" in done.output


def test_border_probes_are_found_written_and_asked_for_one_token_at_temperature_0(tmp_path):
    turns = itertools.cycle(["tea", "coffee", "tea"])
    out = tmp_path / "border.yaml"
    with ModelServer(lambda body: next(turns), refuse=["logprobs"]) as server:
        done = run(
            "probe", "--model", "m", "--base-url", server.base_url, "--discover", 3, "--budget-calls", 60, "--out", out
        )
        assert done.exit_code == 0, done.output
        assert len(server.bodies) <= 60 + 4  # the first calls are refused once for logprobs
        assert all(body["max_tokens"] == 1 and body["temperature"] == 0 for body in server.bodies)
        probes = load_probes(out)
        assert [p.kind for p in probes] == ["border"] * 3
        assert set(probes[0].params["shares"]) == {"tea", "coffee"}
        again = probe(server, out, tmp_path / "log")
    assert again.exit_code == 0, again.output
    results = lm.open_log(tmp_path / "log").probe_results
    assert results["kind"].tolist() == ["border"] * 9
    assert results["passed"].notna().all()


def test_a_model_that_is_never_undecided_has_no_border_probes(tmp_path):
    with ModelServer(lambda body: "tea") as server:
        done = run("probe", "--model", "m", "--base-url", server.base_url, "--discover", 3, "--budget-calls", 20, "--out", tmp_path / "b.yaml")  # fmt: skip
    assert done.exit_code == 3
    assert not (tmp_path / "b.yaml").exists()


def test_pins_names_file_line_alias_and_pinned_form(tmp_path):
    (tmp_path / "app.py").write_text('import openai\nopenai.chat(model="gpt-4o")\n')
    (tmp_path / "pinned.toml").write_text('model = "gpt-4o-2024-08-06"\n')
    done = run("pins", tmp_path)
    assert done.exit_code == 1
    assert done.output.startswith(f"{tmp_path}/app.py:2: gpt-4o is an alias of openai; pin it: gpt-4o-2024-08-06; ")
    assert done.output.splitlines()[-1] == "2 model ids, 1 not pinned"
    assert run("pins", tmp_path / "pinned.toml").exit_code == 0
    assert run("pins", tmp_path / "none").exit_code == 2
    (tmp_path / "empty.toml").write_text("a = 1\n")
    assert run("pins", tmp_path / "empty.toml").exit_code == 3
    assert [json.loads(line)["model_id"] for line in run("pins", tmp_path, "--json").output.splitlines()] == ["gpt-4o"]


def test_promote_says_promote_hold_and_not_enough_cases(tmp_path):
    cases = pd.DataFrame({"case_id": [f"c{i}" for i in range(60)], "input": [f"Say {i}" for i in range(60)]})
    cases = cases.assign(check_fn="check_exact", expected_property=[str(i) for i in range(60)])
    path = tmp_path / "cases.jsonl"
    cases.to_json(path, orient="records", lines=True)
    cases.head(5).to_json(tmp_path / "few.jsonl", orient="records", lines=True)
    answers = {"good": right, "other": right, "bad": lambda body: "no", "gone": lambda body: (404, "gone")}
    with ModelServer(lambda body: answers[body["model"]](body)) as server:

        def promote(file, old, new):
            return run("promote", file, "--old", old, "--new", new, "--base-url", server.base_url)

        assert promote(path, "good", "other").exit_code == 0
        held = promote(path, "good", "bad")
        few = promote(tmp_path / "few.jsonl", "good", "other")
        gone = promote(path, "good", "gone")
        wrong = promote(tmp_path / "none.jsonl", "good", "other")
    assert (held.exit_code, few.exit_code, gone.exit_code, wrong.exit_code) == (1, 3, 3, 2)
    assert held.output.startswith("Hold: the share of cases passed moves by -100.0 points")
    assert "About 33 cases would decide" in few.output or "cases would decide" in few.output
    assert gone.output.startswith("Not enough cases: none of 60 could be measured on both models (NotFoundError")
