"""The explorer's chart on a bare page, with the real kernel side behind it and no notebook."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

import llm_monitoring as lm
from llm_monitoring.exploring import chart_view as kernel
from tests.browser.conftest import LIGHTNESS, brightness, every_form, violations
from tests.browser.test_widget import EVIL, PAGE, START
from tests.exploring.test_explorer import tables


@pytest.fixture(scope="module")
def explorer():
    return lm.explore(lm.open_log(hostile()), feature=EVIL.replace("\x00", ""), metric="mean_quality")


def hostile():
    """A log in which every text is out to run."""
    evil, made = EVIL.replace("\x00", ""), tables(user_input=EVIL, system_output=EVIL, category=EVIL)
    for name in ("requests", "judgements"):
        made[name]["feature_id"] = made[name]["feature_id"].replace("search", evil)
    made["judgements"]["flag_reason"] = evil
    at = made["requests"]["timestamp"].iloc[500]
    made["changes"] = made["requests"].iloc[:1].assign(change_id=evil, timestamp=at, kind="prompt", description=evil)
    made["changes"] = made["changes"][["change_id", "timestamp", "kind", "description"]]
    return made


@pytest.fixture
def show(open_page, explorer):
    def show_one(scheme="light", width=1000):
        page, watch = open_page(width=width, scheme=scheme)
        view, pending = explorer._view, []
        view.send = lambda message, _buffers=None: pending.append(json.loads(json.dumps(message)))

        def to_kernel(message):
            view._handle_custom_msg(message, [])
            while pending:
                page.evaluate("message => setTimeout(() => window.hear(message))", pending.pop(0))

        page.expose_function("toKernel", to_kernel)
        page.set_content(PAGE)
        page.evaluate(
            START, [(kernel.HERE / "chart_view.js").read_text(), (kernel.HERE / "chart_view.css").read_text()]
        )
        root = page.locator(".lm-explore[data-windows]")
        root.wait_for()
        return SimpleNamespace(page=page, root=root, watch=watch)

    return show_one


def test_a_click_on_a_point_and_the_arrow_keys_show_the_answers_of_a_window(show, explorer):
    shown = show()
    frame, (x, y) = explorer.to_frame(), explorer._view._shown["chart"]["wide"]["points"][-2]
    drawn = shown.root.locator(".lm-wide")
    box = drawn.bounding_box()
    drawn.click(position={"x": box["width"] * x / 100, "y": box["height"] * y / 100})
    shown.page.locator(".lm-explore[data-window]").wait_for()
    assert explorer.state["point"] == shown.root.get_attribute("data-window")
    assert (
        frame["window_start"].iloc[-2]
        == lm.incident.read_alert(
            {"metric": "mean_quality", "direction": "down", "fired_at": explorer.state["point"]}
        ).fired_at
    )
    before = explorer.state["point"]
    shown.root.get_by_role("slider").focus()
    shown.page.keyboard.press("ArrowLeft")
    shown.page.wait_for_function(
        "before => document.querySelector('.lm-explore').dataset.window !== before", arg=before
    )
    words = shown.root.get_by_role("slider").get_attribute("aria-valuetext")
    assert words == explorer._view._shown["chart"]["words"][-3]
    assert shown.root.locator("article").count() == min(20, int(frame["n"].iloc[-3]))


def test_hostile_text_is_shown_as_it_was_logged_and_runs_nothing(show):
    shown = show()
    shown.root.get_by_role("slider").press("End")
    shown.root.locator("article").first.wait_for()
    assert shown.root.locator(".lm-text").first.evaluate("(e) => e.textContent") == EVIL
    assert "<img src=x" in shown.root.locator(".lm-headline").inner_text()
    assert shown.root.locator("script, img, iframe, a").count() == 0
    assert shown.page.evaluate("window.__pwned") is None
    assert (shown.watch.outside, shown.watch.errors) == ([], [])


@every_form()
def test_light_dark_and_narrow_are_readable_and_accessible(show, tmp_path, width, scheme):
    shown = show(scheme=scheme, width=width)
    shown.root.get_by_role("slider").press("End")
    shown.root.locator("article").first.wait_for()
    image = shown.root.screenshot(path=tmp_path / f"{scheme}_{width}.png")
    low, high = LIGHTNESS[scheme]
    assert low <= brightness(image)[0] <= high
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.root.locator("svg:visible").count() == 1
    assert violations(shown.page) == []
