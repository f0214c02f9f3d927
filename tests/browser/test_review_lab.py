"""The widget in JupyterLab: clicks and keys reach the file, a kernel that restarts or dies loses nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.browser.test_widget import EVIL
from tests.builders import make_judgements, make_requests
from tests.exploring.test_explorer import tables

pytest.importorskip("jupyterlab")

SET_UP = "import llm_monitoring as lm\nlog = lm.open_log('log')"
REVIEW = "lm.review(log, out='{out}', reviewer='ann')"
PID = "import os, pathlib\n_ = pathlib.Path('kernel.pid').write_text(str(os.getpid()))"
BUSY = "import time\nprint('BUSY-' + str(6 * 7), flush=True)\ntime.sleep(5)"


def get(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return json.load(answer)
    except OSError:  # not up yet; also the 500 while a kernel is being registered
        return []


def until(what, test, seconds=60):
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, f"timed out: {what}"
        time.sleep(0.1)


def notebook(path, *sources):
    cells = [
        {"cell_type": "code", "id": f"c{i}", "metadata": {}, "execution_count": None, "outputs": [], "source": source}
        for i, source in enumerate(sources)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(
        json.dumps({"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5})
    )


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    root = tmp_path_factory.mktemp("lab")
    (root / "log").mkdir()
    requests = make_requests(25, every="1h", user_input=[EVIL, "How do I return shoes?"], system_output=EVIL)
    requests.to_json(root / "log" / "requests.jsonl", orient="records", lines=True, date_format="iso")
    judgements = make_judgements(25, every="1h", quality_score=2.0)
    judgements.to_json(root / "log" / "judgements.jsonl", orient="records", lines=True, date_format="iso")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = {f"JUPYTER_{name}_DIR": str(root / f".{name}") for name in ("CONFIG", "DATA", "RUNTIME")}
    options = {
        "ip": "127.0.0.1",
        "port": port,
        "ServerApp.port_retries": 0,
        "IdentityProvider.token": "",
        "ServerApp.root_dir": root,
        "LabApp.news_url": None,
        "LabApp.workspaces_dir": root / ".ws",
        "LabApp.user_settings_dir": root / ".us",
    }
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with open(root / "server.log", "w") as log:
        server = subprocess.Popen(command, env={**os.environ, **home}, stdout=log, stderr=log)
        url = f"http://127.0.0.1:{port}"
        until("server", lambda: server.poll() is not None or get(url + "/api"))
        assert server.poll() is None, (root / "server.log").read_text()
        yield root, url
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def session_of(url, name):
    return next((one for one in get(url + "/api/sessions") if one["path"] == name), None)


def open_notebook(page, url, name):
    page.goto(f"{url}/lab/tree/{name}?reset", wait_until="domcontentloaded")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    wait_idle(url, name)


def wait_idle(url, name):
    def idle():
        kernel = (session_of(url, name) or {}).get("kernel", {})
        return kernel.get("connections", 0) >= 1 and kernel.get("execution_state") == "idle"

    until("kernel idle and connected", idle)


def run_all(page):
    page.locator("[role=menubar]").get_by_text("Run", exact=True).click()
    page.locator('.lm-Menu-item[data-command="runmenu:run-all"]').click()


def widget(page):
    root = page.locator(".lm-review:not([data-request-id=''])")
    try:
        root.wait_for()
    except Exception:
        pytest.fail(f"no widget; the cells say: {page.locator('.jp-OutputArea').all_inner_texts()}")
    return root


def wait_saved(root):
    root.locator("[role=status]", has_text="all saved").wait_for()


def lines(path):
    """What was pressed, in the order of the keys: messages of one browser may arrive in another."""
    written = sorted(map(json.loads, path.read_text().splitlines()), key=lambda one: one["seq"])
    return [(one["request_id"], one["verdict"]) for one in written]


def cells(page):
    return page.locator(".jp-Notebook .jp-CodeCell").count()


def test_clicks_and_keys_reach_the_file_the_notebook_takes_no_key_and_holds_no_logged_text(lab, open_page):
    root, url = lab
    notebook(root / "keys.ipynb", SET_UP, REVIEW.format(out="keys.jsonl"))
    page, watch = open_page(1400, 1200)
    open_notebook(page, url, "keys.ipynb")
    run_all(page)
    shown = widget(page)
    shown.get_by_role("button", name="real").click()
    for key in ("2", "3", "u", "ArrowRight", "1", "d", "d", "a"):
        page.keyboard.press(key)
    wait_saved(shown)
    drawn = json.loads((root / "keys.draw.json").read_text())["request_ids"]
    a, b, c, d = drawn[:4]
    expected = [(a, "real"), (b, "false_positive"), (c, "unsure"), (c, None), (d, "real")]
    assert lines(root / "keys.jsonl") == expected
    assert cells(page) == 2
    page.keyboard.press("Control+s")
    until("the notebook saved", lambda: "widget-view" in (root / "keys.ipynb").read_text())
    assert "pwned" not in (root / "keys.ipynb").read_text()
    assert page.evaluate("window.__pwned") is None
    assert watch.outside == []


def test_a_burst_is_kept_and_after_a_kill_and_a_restart_reading_goes_on_at_the_first_open_answer(lab, open_page):
    root, url = lab
    notebook(root / "burst.ipynb", PID, SET_UP, REVIEW.format(out="burst.jsonl"))
    page, _ = open_page(1400, 1200)
    open_notebook(page, url, "burst.ipynb")
    run_all(page)
    shown = widget(page)
    shown.focus()
    for key in "1112223331":
        page.keyboard.press(key)
    wait_saved(shown)
    drawn = json.loads((root / "burst.draw.json").read_text())["request_ids"]
    verdicts = ["real"] * 3 + ["false_positive"] * 3 + ["unsure"] * 3 + ["real"]
    assert lines(root / "burst.jsonl") == list(zip(drawn, verdicts))

    os.kill(int((root / "kernel.pid").read_text()), signal.SIGKILL)
    page.locator(".jp-Dialog .jp-mod-accept").click()  # the server starts it again and says so
    wait_idle(url, "burst.ipynb")
    run_all(page)
    page.locator(f".lm-review[data-request-id='{drawn[10]}']").wait_for()
    assert len(lines(root / "burst.jsonl")) == 10


@pytest.mark.long
def test_a_busy_kernel_does_not_hold_the_reader_up(lab, open_page):
    root, url = lab
    notebook(root / "busy.ipynb", SET_UP, REVIEW.format(out="busy.jsonl"), BUSY)
    page, _ = open_page(1400, 1200)
    open_notebook(page, url, "busy.ipynb")
    run_all(page)
    shown = widget(page)
    page.locator(".jp-OutputArea", has_text="BUSY-42").first.wait_for()
    shown.focus()
    drawn = json.loads((root / "busy.draw.json").read_text())["request_ids"]
    for key, following in zip("123", drawn[1:]):
        page.keyboard.press(key)
        assert shown.get_attribute("data-request-id") == following
    wait_saved(shown)
    assert lines(root / "busy.jsonl") == list(zip(drawn, ["real", "false_positive", "unsure"]))


def test_the_explorer_follows_its_controls_and_reads_hostile_answers_as_text(lab, open_page, tmp_path):
    root, url = lab
    (root / "long").mkdir()
    for name, table in tables(user_input=EVIL, system_output=EVIL).items():
        table.to_json(root / "long" / f"{name}.jsonl", orient="records", lines=True, date_format="iso")
    opened = "import llm_monitoring as lm\nexplorer = lm.explore('long', metric='mean_quality')\nexplorer"
    told = "print('STATE-' + explorer.state['metric'] + '-' + explorer.state['window'])\nexec(explorer.code())"
    notebook(root / "explore.ipynb", opened, told)
    page, watch = open_page(1400, 1600)
    open_notebook(page, url, "explore.ipynb")
    run_all(page)
    shown = page.locator(".lm-explore[data-metric=mean_quality]")
    shown.wait_for()
    page.get_by_label("metric").select_option("share of flagged answers (alarm)")
    page.locator(".lm-explore[data-metric=flagged_rate]").wait_for()
    page.get_by_label("window", exact=True).select_option("6h")
    shown = page.locator(".lm-explore[data-windows='95']")
    shown.wait_for()
    shown.get_by_role("slider").press("End")
    shown.locator("article").first.wait_for()
    page.screenshot(path=tmp_path / "explorer.png")
    assert shown.locator(".lm-text").first.evaluate("(e) => e.textContent") == EVIL
    assert page.evaluate("window.__pwned") is None
    assert watch.outside == []
    page.locator(".jp-CodeCell").last.click()
    page.keyboard.press("Control+Enter")
    page.locator(".jp-OutputArea", has_text="STATE-flagged_rate-6h").wait_for()
    assert page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_notebook_7_shows_the_widget_and_keys_reach_the_file(lab, open_page):
    pytest.importorskip("notebook", minversion="7", reason="needs notebook 7")
    root, url = lab
    notebook(root / "seven.ipynb", SET_UP, REVIEW.format(out="seven.jsonl"))
    page, watch = open_page(1200, 1000)
    page.goto(f"{url}/notebooks/seven.ipynb", wait_until="domcontentloaded")
    page.locator(".jp-Notebook .jp-Cell").first.wait_for()
    wait_idle(url, "seven.ipynb")
    run_all(page)
    shown = widget(page)
    shown.focus()
    for key in "123":
        page.keyboard.press(key)
    wait_saved(shown)
    drawn = json.loads((root / "seven.draw.json").read_text())["request_ids"]
    assert lines(root / "seven.jsonl") == list(zip(drawn, ["real", "false_positive", "unsure"]))
    assert page.evaluate("window.__pwned") is None
    assert watch.outside == []


def test_voila_serves_the_widget_and_the_explorer_to_readers_without_a_notebook(lab, open_page, tmp_path):
    pytest.importorskip("voila", reason="needs voila")
    root, url = lab
    (root / "served").mkdir()
    for name, table in tables(user_input=EVIL, system_output=EVIL).items():
        table.to_json(root / "served" / f"{name}.jsonl", orient="records", lines=True, date_format="iso")
    explorer = "lm.explore('served', metric='mean_quality')"
    notebook(root / "served.ipynb", SET_UP, REVIEW.format(out="served.jsonl"), explorer)
    page, _ = open_page(1200, 1600)
    page.goto(f"{url}/voila/render/served.ipynb", wait_until="domcontentloaded")
    shown = widget(page)
    shown.focus()
    for key in "12":
        page.keyboard.press(key)
    wait_saved(shown)
    assert [verdict for _, verdict in lines(root / "served.jsonl")] == ["real", "false_positive"]
    chart = page.locator(".lm-explore[data-windows]")
    chart.wait_for()
    chart.get_by_role("slider").press("End")
    chart.locator("article").first.wait_for()
    page.screenshot(path=tmp_path / "voila.png")
    assert page.evaluate("window.__pwned") is None
