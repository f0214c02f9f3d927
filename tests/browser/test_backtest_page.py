"""The page of a back-test in Chromium with the network cut: light, dark, wide and narrow."""

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.backtesting.page import write_page
from tests.backtesting.logs import make
from tests.browser.conftest import LIGHTNESS, brightness, every_form


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    happened = pd.DataFrame({"incident_id": ["INC-1"], "started_at": ["2026-05-27T00:00Z"]})
    found = lm.backtest(
        make(0, days=35), incidents=happened, inject=[lm.Injection("cost", 2), lm.Injection("refusal", 0.1)]
    )
    return write_page(found, tmp_path_factory.mktemp("backtest"), "a log <b>")


@every_form()
def test_the_page_opens_without_error_or_request_in_every_form(page_file, open_page, tmp_path, width, scheme):
    page, watch = open_page(width, scheme=scheme)
    page.goto(page_file.as_uri())
    median, spread = brightness(page.screenshot(path=tmp_path / "page.png", full_page=True))
    low, high = LIGHTNESS[scheme]
    assert low <= median <= high
    assert spread > 10
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (watch.outside, watch.errors) == ([], [])
