import json
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from judging.frames import judge_at

from llm_monitoring.errors import ConfigError
from llm_monitoring.judging.background import BackgroundJudge
from llm_monitoring.judging.store import Store
from llm_monitoring.sampling import should_sample

SCORES = {"correctness": 4, "completeness": 4, "tone": 4}


def submit(background, ids):
    return [
        background.submit(request_id=i, feature_id="search", user_input=f"question {i}", system_output="answer")
        for i in ids
    ]


def test_what_is_sampled_is_judged_and_the_rest_is_not_taken(server, tmp_path):
    ids = [f"req-{i:04d}" for i in range(60)]
    background = BackgroundJudge(judge_at(server), rate=0.3, out=tmp_path / "j.db")
    taken = submit(background, ids)
    background.close(timeout_s=20)
    assert taken == [should_sample(i, 0.3) for i in ids]
    with Store(tmp_path / "j.db") as store:
        found = store.judgements()
    assert found["request_id"].tolist() == [i for i in ids if should_sample(i, 0.3)]
    assert (found["inclusion_probability"] == 0.3).all()
    assert background.stats() == {"submitted": 60, "accepted": sum(taken), "dropped": 0}


def test_options_that_a_server_refuses_fail_no_item(server, tmp_path):
    server.configure(refuse_parameters=["max_tokens", "temperature", "json_schema"], latency=0.02)
    background = BackgroundJudge(judge_at(server), rate=1, out=tmp_path / "j.db", concurrency=8)
    submit(background, [f"req-{i}" for i in range(16)])
    background.close(timeout_s=20)
    with Store(tmp_path / "j.db") as store:
        assert store.judgements()["status"].tolist() == ["ok"] * 16


def test_with_the_judge_hanging_submit_returns_and_drops_are_counted(server, tmp_path):
    server.configure(mode="hang")
    background = BackgroundJudge(judge_at(server), rate=1, out=tmp_path / "j.db", queue_size=20, concurrency=4)
    taken = submit(background, [f"req-{i}" for i in range(500)])
    counts = background.stats()
    assert 20 <= sum(taken) == counts["accepted"] <= 24
    assert counts["dropped"] == 500 - sum(taken)
    started = time.monotonic()
    background.close(timeout_s=0.3)
    assert time.monotonic() - started < 5
    assert background.stats() == {"submitted": 500, "accepted": 0, "dropped": 500}
    assert submit(background, ["req-x"]) == [False]


def test_drops_lower_the_inclusion_probability_of_their_minute(tmp_path):
    open_now = threading.Event()

    def judge(user_input, system_output):
        open_now.wait(10)
        return SCORES

    background = BackgroundJudge(judge, rate=1, out=tmp_path / "j.db", queue_size=10, concurrency=1)
    taken = submit(background, [f"req-{i}" for i in range(40)])
    open_now.set()
    background.close(timeout_s=20)
    with Store(tmp_path / "j.db") as store:
        found = store.judgements()
    assert len(found) == sum(taken)
    assert (1 / found["inclusion_probability"]).sum() == pytest.approx(40)


def test_submit_never_raises(tmp_path):
    background = BackgroundJudge(lambda prompt: SCORES, rate=1, out=tmp_path / "j.db")
    assert background.submit(request_id="a", feature_id="f", user_input=None, system_output=b"\x00")
    assert background.submit(request_id="\ud800", feature_id="f", user_input="\ud800", system_output="\x00")
    background.close(timeout_s=20)
    with Store(tmp_path / "j.db") as store:
        assert sorted(store.judgements()["status"]) == ["failed", "ok"]


def test_a_file_that_cannot_be_written_for_a_while_does_not_end_the_judging(tmp_path, monkeypatch):
    broken = threading.Event()
    broken.set()
    writing = Store.writing

    def failing(self):
        if broken.is_set() and threading.current_thread().name == "background-judge":
            raise sqlite3.OperationalError("database or disk is full")
        return writing(self)

    background = BackgroundJudge(lambda prompt: SCORES, rate=1, out=tmp_path / "j.db")
    monkeypatch.setattr(Store, "writing", failing)
    submit(background, ["lost"])
    while background.error is None:
        time.sleep(0.01)
    broken.clear()
    submit(background, ["kept"])
    background.close(timeout_s=20)
    assert "database or disk is full" in background.error
    with Store(tmp_path / "j.db") as store:
        assert "kept" in store.judgements()["request_id"].tolist()


def test_the_rate_is_checked(tmp_path):
    with pytest.raises(ConfigError) as error:
        BackgroundJudge(lambda prompt: SCORES, rate=5, out=tmp_path / "j.db")
    assert str(error.value) == "BackgroundJudge(rate=5); expected a share from 0 to 1, such as 0.05"


def run(code, **values):
    code = textwrap.dedent(code)
    for name, value in values.items():
        code = code.replace(name, repr(value))
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_nothing_hangs_at_the_interpreters_exit(server, tmp_path):
    server.configure(mode="hang")
    code = """
        from llm_monitoring.judging.background import BackgroundJudge
        from llm_monitoring.judging.client import Judge
        import time
        one = BackgroundJudge(Judge("fake", base_url=URL, api_key="none"), rate=1, out=OUT)
        two = BackgroundJudge(lambda prompt: time.sleep(3600), rate=1, out=OUT)
        for i in range(50):
            one.submit(request_id=f"a{i}", feature_id="f", user_input="q", system_output="a")
            two.submit(request_id=f"b{i}", feature_id="f", user_input="q", system_output="a")
        time.sleep(0.5)
    """
    ended = run(code, URL=server.base_url, OUT=str(tmp_path / "j.db"))
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_judges_on_its_own(server, tmp_path):
    code = """
        import os, time
        from llm_monitoring.judging.background import BackgroundJudge
        from llm_monitoring.judging.client import Judge
        judge = BackgroundJudge(Judge("fake", base_url=URL, api_key="none"), rate=1, out=OUT)
        def submit(name):
            return judge.submit(request_id=name, feature_id="f", user_input="q", system_output="a")
        submit("parent-before")
        while not judge._judged:
            time.sleep(0.05)
        child = os.fork()
        submit("child" if child == 0 else "parent-after")
        judge.close(timeout_s=20)
        if child:
            os.waitpid(child, 0)
    """
    ended = run(code, URL=server.base_url, OUT=str(tmp_path / "j.db"))
    assert ended.returncode == 0, ended.stderr
    with Store(tmp_path / "j.db") as store:
        found = store.judgements()
    assert found["request_id"].tolist() == ["child", "parent-after", "parent-before"]
    assert (found["status"] == "ok").all()


def test_a_web_service_judges_a_share_of_its_answers(tmp_path):
    fastapi = pytest.importorskip("fastapi", reason="fastapi is in the dev group")
    page = (Path(__file__).parents[2] / "docs" / "judging.md").read_text(encoding="utf-8")
    code = page.split("<!-- example: serving -->")[1].split("```python\n")[1].split("```")[0]
    from fastapi.testclient import TestClient

    place = {"OUT": str(tmp_path / "j.db"), "judge": lambda user_input, system_output: SCORES}
    exec(compile(code, "docs/judging.md", "exec"), place)
    assert isinstance(place["app"], fastapi.FastAPI)
    with TestClient(place["app"]) as client:
        answer = client.post("/ask", json={"question": "2 + 2?"})
        assert json.loads(answer.text)["answer"]
    with Store(tmp_path / "j.db") as store:
        assert store.judgements()["quality_score"].tolist() == [4]


def test_submissions_of_many_threads_are_all_counted(tmp_path):
    background = BackgroundJudge(lambda user_input: SCORES, rate=0.5, out=tmp_path / "j.db", queue_size=3000)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda k: submit(background, [f"req-{k}-{i}" for i in range(100)]), range(16)))
    finally:
        sys.setswitchinterval(before)
    counts = background.stats()
    assert counts == {"submitted": 1600, "accepted": sum(map(sum, taken)), "dropped": 0}
    background.close(timeout_s=0.1)


def test_the_reason_why_an_answer_could_not_be_taken_is_kept_and_logged_once(tmp_path, caplog):
    background = BackgroundJudge(lambda user_input: SCORES, rate=0.5, out=tmp_path / "j.db")
    background._take = None
    assert submit(background, ["req-1", "req-2"]) == [False, False]
    background.close(timeout_s=1)
    assert background.error == "TypeError: 'NoneType' object is not callable"
    assert [record.getMessage() for record in caplog.records].count(background.error) == 1
    assert set(background.stats()) == {"submitted", "accepted", "dropped"}
