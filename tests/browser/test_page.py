"""The incident page in Chromium with the network cut: light, dark, print, narrow, accessible."""

from __future__ import annotations

import json
import re

import pytest

from tests.browser.conftest import brightness, violations

WIDE, NARROW = 1000, 400


@pytest.fixture(scope="session")
def index(report_folder):
    return report_folder / "index.html"


@pytest.mark.parametrize(("scheme", "low", "high"), [("light", 200, 255), ("dark", 0, 60)])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_the_page_opens_without_error_or_request_in_every_form(index, open_page, tmp_path, scheme, low, high, width):
    page, watch = open_page(width, scheme=scheme)
    page.goto(index.as_uri())
    image = page.screenshot(path=tmp_path / f"{scheme}_{width}.png", full_page=True)
    median, spread = brightness(image)
    assert low <= median <= high
    assert spread > 10
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert (watch.outside, watch.errors) == ([], [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_axe_finds_nothing_on_the_page(index, browser, scheme, width):
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


def test_printed_it_is_five_pages_at_most_with_the_folded_parts_closed_and_white_paper(index, open_page):
    page, _ = open_page(WIDE, scheme="dark")
    page.emulate_media(media="print")
    page.goto(index.as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") in (
        "rgb(255, 255, 255)",
        "rgba(0, 0, 0, 0)",
    )
    assert not page.locator("#triage .in").is_visible()
    assert not page.locator("details.paste").first.is_visible()
    paper = page.pdf(format="A4", prefer_css_page_size=False)
    assert 1 <= len(re.findall(rb"/Type\s*/Page[^s]", paper)) <= 5


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
