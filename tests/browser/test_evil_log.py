"""A log in which every free text of every table is out to run, through the page, all six notebooks and the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.reporting.folder import STAGES, notebook_of
from llm_monitoring.reporting.notebooks import Kernels, execute
from tests.browser.test_widget import EVIL
from tests.builders import make_probe_results, make_reviews, make_signals
from tests.exploring.test_explorer import FALL, tables

TEXT = "</style></script>" + EVIL.replace("\x00", "")
BLANK = dict.fromkeys(("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url", "jupyter_widgets_base_url"), "")


def evil(values) -> list[str]:
    """The values, each with the hostile text in front, so that those that differed still do."""
    return [f"{TEXT}{value}" for value in values]


def evil_tables() -> dict[str, pd.DataFrame]:
    """All six tables, every text that is not of a fixed list hostile."""
    made = tables(user_input="x", system_output="x", session_id=["a", "b", "c"], channel="web", error=None)
    ids = made["requests"]["request_id"]
    made["signals"] = make_signals(60, every="1h").assign(request_id=ids[:60], metadata=[{TEXT: TEXT}] * 60)
    made["probe_results"] = make_probe_results(20, start=FALL - pd.Timedelta("2D"), every="6h")
    made["changes"] = pd.DataFrame(
        {
            "change_id": ["c1", "c2"],
            "timestamp": [FALL, FALL - pd.Timedelta("3D")],
            "kind": "prompt",
            "description": "x",
        }
    )
    late = made["judgements"]["request_id"][made["judgements"]["quality_score"] == 2.0][:8]
    made["reviews"] = make_reviews(8).assign(request_id=late.tolist(), note="x", reviewed_at=FALL + pd.Timedelta("5D"))
    made["judgements"] = made["judgements"].assign(dimensions=[{TEXT: 3}] * len(made["judgements"]))
    fixed = {"finish_reason", "signal_type", "kind", "verdict", "status", "scale", "error"}
    for name, table in made.items():
        texts = [c for c in table if c not in fixed and table[c].map(lambda one: isinstance(one, str)).any()]
        made[name] = table.assign(**{column: evil(table[column]) for column in texts})
    return made


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    place = tmp_path_factory.mktemp("evil")
    (place / "log").mkdir()
    for name, table in evil_tables().items():
        table.to_json(place / "log" / f"{name}.jsonl", orient="records", lines=True, date_format="iso", date_unit="us")
    done = lm.report(place / "log", out=place / "reports", progress=False)
    assert done.failure is None
    with Kernels() as kernels:
        failure, _ = execute(["0_explore.ipynb"], done.folder, {"log": str(place / "log")}, kernels, progress=False)
    assert failure is None, str(failure)
    return done


def as_page(path: Path) -> str:
    """The notebook as nbconvert exports it by default, which runs whatever its outputs hold."""
    from nbconvert import HTMLExporter

    return HTMLExporter(template_name="lab", **BLANK).from_notebook_node(nbformat.read(path, as_version=4))[0]


@pytest.mark.parametrize("name", ["index.html", "0_explore.ipynb", *(notebook_of(stage) for stage in STAGES)])
def test_nothing_of_it_runs_or_is_fetched_and_it_is_shown_as_it_was_typed(report, open_page, tmp_path, name):
    path = report.folder / name
    if path.suffix == ".ipynb":
        (tmp_path / "page.html").write_text(as_page(path))
        path = tmp_path / "page.html"
    page, watch = open_page(1200)
    page.goto(path.as_uri())
    assert page.evaluate("window.__pwned") is None
    assert watch.outside == []
    assert page.locator("img[src=x], svg[onload], iframe, a[href^='javascript']").count() == 0
    assert "<script>window.__pwned = 1</script>" in page.locator("body").inner_text()


def test_the_page_quotes_it_and_what_is_pasted_from_it_is_plain(report, open_page):
    page, watch = open_page(1000)
    page.goto(report.path.as_uri())
    assert page.locator("script").count() == 0
    assert page.locator("blockquote.bad").count() >= 1  # equal questions are quoted once
    for words in page.locator("details.paste pre").all_text_contents():
        assert not re.search(r"[<>`]|@(?=\w)|://", words)
    assert (watch.outside, watch.errors) == ([], [])


def test_tables_and_results_hold_it_as_text(report):
    log = lm.open_log(report.folder.parent.parent / "log")
    alerts = lm.check(log)
    shown = [log, lm.show(alerts), lm.control_charts(log), lm.explore(log), lm.show(log.requests), lm.show(log.changes)]
    for one in shown:
        html = one._repr_html_() if hasattr(one, "_repr_html_") else one._repr_mimebundle_()[0]["text/html"]
        assert not re.search(r"<(script|img|svg|iframe|a)\b", html), type(one)
        assert "&lt;script&gt;" in html, type(one)
