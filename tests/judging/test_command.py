from click.testing import CliRunner
from judging.frames import questions

import llm_monitoring as lm
from llm_monitoring.cli import main
from llm_monitoring.judging.store import Store


def run(*arguments):
    return CliRunner().invoke(main, ["judge", *map(str, arguments)])


def make_log(folder, marks=""):
    questions(20, marks).to_parquet(folder / "requests.parquet")
    return folder


def test_a_dry_run_asks_nothing_and_says_number_price_and_what_it_could_detect(tmp_path):
    log = make_log(tmp_path)
    done = run(log, "--model", "m", "--rate", 1, "--dry-run", "--input-price", 1, "--output-price", 4, "--budget", 0.01)
    lines = done.output.splitlines()
    assert done.exit_code == 0
    assert lines[0] == "20 answers would be judged at a rate of 1 by m, rubric default-1"
    assert lines[1].endswith(" USD without repeated calls")
    assert lines[2].startswith("the budget of 0.01 USD holds at least ")
    assert lines[3].startswith("20 a day: a day shows a fall of 0.56 points")
    assert not list(tmp_path.glob("*.db"))


def test_the_sample_is_judged_and_exported_into_the_log(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    log, out = make_log(tmp_path, ["[[prose]]"] + ["score=2"] * 3 + [""] * 16), tmp_path / "kept" / "j.db"
    table = tmp_path / "judgements.parquet"
    done = run(log, "--model", "fake", "--rate", 1, "--base-url", server.base_url, "--out", out, "--export", table)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        f"19 judged, 1 failed, 3 flagged; kept in {out}",
        "mean quality 3.68 before weighting; see quality_metrics",
        "failed: 1 not_json",
        str(table),
    ]
    assert lm.open_log(log).judgements["quality_score"].notna().sum() == 19


def test_a_server_that_refuses_the_key_is_exit_code_3(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    server.configure(mode="401")
    done = run(
        make_log(tmp_path), "--model", "fake", "--rate", 1, "--base-url", server.base_url, "--out", tmp_path / "j.db"
    )
    assert done.exit_code == 3
    assert done.output.splitlines()[-1].startswith("stopped: http_401: ")


def test_a_budget_without_prices_is_held_by_prices_that_are_too_high(server, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    log, out = make_log(tmp_path), tmp_path / "j.db"
    arguments = (log, "--model", "fake", "--rate", 1, "--budget", 0.1, "--base-url", server.base_url, "--out", out)
    said = (
        "no price was given: the budget counts 15 USD per million tokens in and 75 out, "
        "more than nearly any model costs. Give --input-price and --output-price"
    )
    planned = run(*arguments, "--dry-run")
    assert (planned.exit_code, planned.output.splitlines()[-1]) == (0, said)
    done = run(*arguments)
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, said)
    with Store(out) as store:
        assert 0.05 < store.spent_usd() <= 0.1
        assert store.judgements()["cost_usd"].isna().all()
