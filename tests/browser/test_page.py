"""The incident page in Chromium with the network cut: light, dark, print, narrow, accessible."""

from __future__ import annotations

import json
import re

import pytest

from llm_monitoring.reporting.figures import draw
from llm_monitoring.reporting.page import render
from llm_monitoring.reporting.story import tell
from tests.browser.conftest import LIGHTNESS, brightness, every_form, violations
from tests.reporting.results import make_alert, make_cause, make_known, make_results

WIDE, NARROW = 1000, 400


@pytest.fixture(scope="session")
def index(report_folder):
    return report_folder / "index.html"


@every_form(WIDE, NARROW)
def test_the_page_opens_without_error_or_request_in_every_form(index, open_page, tmp_path, width, scheme):
    page, watch = open_page(width, scheme=scheme)
    page.goto(index.as_uri())
    image = page.screenshot(path=tmp_path / f"{scheme}_{width}.png", full_page=True)
    median, spread = brightness(image)
    low, high = LIGHTNESS[scheme]
    assert low <= median <= high
    assert spread > 10
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (watch.outside, watch.errors) == ([], [])


@every_form(WIDE, NARROW)
def test_axe_finds_nothing_on_the_page(index, browser, width, scheme):
    # axe is a script; the content policy of the page forbids scripts, so this context alone sets it aside
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(index.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = violations(page)
    context.close()
    assert found == []


def test_the_page_tells_the_story_of_the_results(index, open_page):
    page, _ = open_page(WIDE)
    page.goto(index.as_uri())
    results = {path.stem: json.loads(path.read_text()) for path in (index.parent / "results").glob("*.json")}
    assert page.locator("h1").count() == 1
    assert page.locator("h1").inner_text().startswith("Real")
    assert results["isolate"]["verdict"] in page.locator("body").inner_text()
    assert page.locator("details").count() >= 5


def test_all_figures_are_drawn_and_told_to_those_who_do_not_see_them(index, open_page):
    page, _ = open_page(WIDE)
    page.goto(index.as_uri())
    figures = page.locator("svg[role=img]:visible")
    assert figures.count() >= 3
    for i in range(figures.count()):
        assert figures.nth(i).locator("title").first.text_content().strip()
        assert figures.nth(i).bounding_box()["width"] > 300


def test_on_paper_the_folded_parts_are_closed_and_the_paper_is_white(index, open_page):
    page, _ = open_page(WIDE, scheme="dark")
    page.emulate_media(media="print")
    page.goto(index.as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") in (
        "rgb(255, 255, 255)",
        "rgba(0, 0, 0, 0)",
    )
    assert not page.locator("#triage .in").is_visible()
    assert not page.locator("details.paste").first.is_visible()


def sheets(page, address, paper):
    page.goto(address)
    return len(re.findall(rb"/Type\s*/Page[^s]", page.pdf(format=paper, prefer_css_page_size=False)))


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_printed_it_is_five_sheets_at_most(index, paper, open_page):
    page, _ = open_page(WIDE)
    assert 1 <= sheets(page, index.as_uri(), paper) <= 5


@pytest.mark.long
@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_the_real_update_of_a_provider_is_five_sheets_too(drift_folder, paper, open_page):
    page, _ = open_page(WIDE)
    assert 1 <= sheets(page, (drift_folder / "index.html").as_uri(), paper) <= 5


@pytest.mark.parametrize("paper", ["A4", "Letter"])
def test_an_incident_in_which_everything_is_many_is_five_sheets_too_and_says_what_it_left_out(
    paper, open_page, tmp_path
):
    results = crowded()
    (tmp_path / "index.html").write_text(render(tell(results), lambda name: draw(name, results)), "utf-8")
    page, _ = open_page(WIDE)
    assert 1 <= sheets(page, (tmp_path / "index.html").as_uri(), paper) <= 5
    page.emulate_media(media="print")
    told = [words.replace("\u00a0", " ") for words in page.locator("p.paper:visible").all_inner_texts()]
    assert told == [f"{n} more rows on the page itself." for n in (10, 20, 15)]
    assert page.locator("#known ~ .scroll >> nth=0").get_by_text("this page").is_visible()
    page.emulate_media(media="screen")
    assert page.locator("p.paper:visible").count() == 0
    assert page.locator("tr.screen:visible").count() == 45


def crowded():
    """Twenty probes, thirty-one moments, forty other alerts with long messages, three causes that cannot be told apart."""
    probe = {"label": "contains, extraction of a long name, gpt-4", "before": 0.9, "n_before": 120, "after": 0.8, "n_after": 118,
             "change": -0.1, "low": -0.2, "high": 0.05, "verdict": "no change seen"}  # fmt: skip
    alert = make_alert(
        message="A feature with a long name: " + "one more measure of the same days left its limits; " * 3
    )
    evidence = [
        f"Sentence {i} about what speaks for this change and what speaks against it, with 12 of 99 answers."
        for i in range(5)
    ]
    causes = [make_cause(f"chg-{i}", 0.3, evidence=evidence) for i in range(3)]
    known = [make_known(False, at=f"2023-06-28T00:{i:02d}:00Z") for i in range(30)]
    return make_results(
        incident={"probes": [probe] * 20, "other_alerts": [alert] * 40, "known_when": [*known, make_known()]},
        isolate={"ranking": causes, "verdict": "cannot tell apart", "candidates": [row["cause"] for row in causes]},
    )


def test_the_first_screen_holds_what_a_manager_forwards(index, open_page):
    page, _ = open_page(1200, 900)
    page.goto(index.as_uri())
    for what in (
        "h1",
        ".lede",
        ".three .a >> nth=1",
        "blockquote.bad >> nth=0",
        "blockquote.bad >> nth=1",
        "blockquote.good",
    ):
        box = page.locator(what).bounding_box()
        assert box["y"] + box["height"] <= 900, what
    first = page.locator("header.top").inner_text()
    for words in ("Real", "chg-prompt-v8", "since 18 May", "more flagged answers a day", "To do: "):
        assert words in first.replace("\u00a0", " ")


def test_the_texts_to_paste_open_and_hold_the_story(index, open_page):
    page, _ = open_page(NARROW)
    page.goto(index.as_uri())
    for one in page.locator("details.paste").all():
        one.locator("summary").click()
        assert one.locator("pre").inner_text().startswith("Real: ")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW


def test_links_of_the_page_lead_somewhere(index, open_page):
    page, _ = open_page(WIDE)
    page.goto(index.as_uri())
    targets = page.locator("a[href]").evaluate_all("(links) => links.map((link) => link.getAttribute('href'))")
    ids = set(page.locator("[id]").evaluate_all("(all) => all.map((one) => one.id)"))
    anchors = [one[1:] for one in targets if one.startswith("#")]
    assert set(anchors) <= ids
    files = [one for one in targets if not one.startswith("#")]
    assert [one for one in files if not (index.parent / one).exists()] == []
