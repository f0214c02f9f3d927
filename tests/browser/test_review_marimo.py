"""The widget in marimo, which shows it without code of its own: keys reach the file, hostile answers stay text."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.browser.test_review_lab import lines, until, wait_saved, widget
from tests.browser.test_widget import EVIL
from tests.builders import make_judgements, make_requests

pytest.importorskip("marimo", reason="needs marimo")

APP = """import marimo

app = marimo.App()


@app.cell
def _():
    import llm_monitoring as lm

    lm.review("log", out="reviews.jsonl", reviewer="ann")
    return (lm,)


@app.cell
def _(lm):
    lm.check("log")
    return
"""


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:  # not up yet
        return False


@pytest.fixture
def app(tmp_path):
    """The address of a marimo app whose working directory holds a log."""
    (tmp_path / "log").mkdir()
    for name, table in {
        "requests": make_requests(25, every="1h", user_input=EVIL, system_output=EVIL, feature=EVIL),
        "judgements": make_judgements(25, every="1h", quality_score=2.0, feature=EVIL),
    }.items():
        table.to_json(tmp_path / "log" / f"{name}.jsonl", orient="records", lines=True, date_format="iso")
    (tmp_path / "app.py").write_text(APP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "marimo", "-q", "run", "app.py", "--headless", "--no-token"]
    with open(tmp_path / "server.log", "w") as log:
        server = subprocess.Popen([*command, "--port", str(port)], cwd=tmp_path, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        until("server", lambda: server.poll() is not None or answers(url))
        assert server.poll() is None, (tmp_path / "server.log").read_text()
        yield url
        server.terminate()
        server.wait(30)


def test_keys_reach_the_file_and_hostile_answers_stay_text(app, open_page, tmp_path):
    page, watch = open_page(1200, 1200)
    page.goto(app, wait_until="domcontentloaded")
    shown = widget(page)
    shown.focus()
    for key in ("1", "2", "3", "u"):
        page.keyboard.press(key)
    wait_saved(shown)
    page.screenshot(path=tmp_path / "marimo.png")
    a, b, c = json.loads((tmp_path / "reviews.draw.json").read_text())["request_ids"][:3]
    assert lines(tmp_path / "reviews.jsonl") == [(a, "real"), (b, "false_positive"), (c, "unsure"), (c, None)]
    assert shown.locator(".lm-text").first.evaluate("(e) => e.textContent") == EVIL
    assert page.evaluate("window.__pwned") is None
    assert watch.outside == []
