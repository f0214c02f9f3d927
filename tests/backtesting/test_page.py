from html.parser import HTMLParser

import pandas as pd
import pytest
from click.testing import CliRunner

import llm_monitoring as lm
from llm_monitoring.backtesting.command import lines_of, read_options
from llm_monitoring.backtesting.page import write_page
from llm_monitoring.cli import main
from tests.backtesting.logs import make

EVIL = '<img src=x onerror="window.__pwned=1">'


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.names, self.targets = set(), []

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        self.targets += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]


def test_the_page_is_one_file_that_loads_nothing(found, tmp_path):
    path = write_page(found, tmp_path, "a log")
    assert path.name == "backtest.html"
    seen = Elements()
    seen.feed(path.read_text("utf-8"))
    assert seen.targets == []
    assert not seen.names & {"script", "img", "iframe", "link"}
    assert "Content-Security-Policy" in path.read_text("utf-8")


def test_logged_texts_stay_texts(tmp_path):
    tables = make(0, days=28)
    for name in ("requests", "judgements"):
        tables[name] = tables[name].replace({"feature_id": {"search": EVIL}})
    happened = pd.DataFrame({"incident_id": [EVIL], "started_at": ["2026-05-27T00:00Z"], "feature_id": [EVIL]})
    found = lm.backtest(tables, incidents=happened, inject=[lm.Injection("cost", 2, {"feature_id": EVIL})])
    text = write_page(found, tmp_path / "page.html", EVIL).read_text("utf-8")
    assert "<img" not in text
    assert "&lt;img" in text
    assert "<img" not in found._repr_html_()


def test_the_command_prints_the_sentence_and_the_page(tables, tmp_path):
    folder = tmp_path / "log"
    folder.mkdir()
    for name, table in tables.items():
        table.to_parquet(folder / f"{name}.parquet")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    (tmp_path / "incidents.csv").write_text(
        "incident_id,started_at,ended_at,feature_id\nINC-1,2026-06-01T00:00Z,2026-06-01T06:00Z,search\n"
    )
    page = tmp_path / "out" / "backtest.html"
    options = ["--incidents", str(tmp_path / "incidents.csv"), "--grid", "rate=0.25,0.8", "--out", str(page)]
    done = CliRunner().invoke(main, ["backtest", str(folder), *options])
    assert done.exit_code == 0, done.output
    lines = done.output.replace("\u00a0", " ").splitlines()
    assert lines[0].startswith("At 25 % sampling a fall of 0.2 in ")
    assert lines[1] == "incident INC-1  missed"
    assert lines[-1] == str(page)
    assert page.is_file()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize("grid", ["rate", "rate=a", "rates=0.1"])
def test_a_wrong_grid_is_exit_code_2(tables, tmp_path, grid):
    tables["requests"].head(100).to_csv(tmp_path / "requests.csv", index=False)
    done = CliRunner().invoke(main, ["backtest", str(tmp_path / "requests.csv"), "--grid", grid])
    assert done.exit_code == 2
    assert done.output.startswith("ConfigError")


def test_options_of_the_grid_add_up():
    assert read_options(("rate=0.1", "rate=0.2,0.3")) == {"rate": [0.1, 0.2, 0.3]}


def test_a_sentence_of_what_could_not_be_tried_is_not_cut(tables):
    found = lm.backtest({"requests": tables["requests"]}, inject=lm.default_injections()[:5], grid={"rate": [0.25]})
    last = list(lines_of(found))[-1]
    assert last.startswith("Not tried, no judged answers in the log: quality")
    assert last.endswith("quality −2 in 10 % of all answers.")
