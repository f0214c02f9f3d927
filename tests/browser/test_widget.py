"""The browser's side of the review widget, on a bare page, with the real kernel side behind it and no notebook."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

import llm_monitoring as lm
from llm_monitoring.reviewing import widget as kernel
from tests.browser.conftest import LIGHTNESS, brightness, every_form, violations
from tests.builders import make_judgements, make_requests

EVIL = (
    "<script>window.__pwned = 1</script><img src=x onerror='window.__pwned = 1'><svg onload='window.__pwned = 1'>"
    "</pre></textarea><iframe srcdoc='<script>parent.__pwned = 1</script>'></iframe>"
    "[link](javascript:window.__pwned=1) $\\href{javascript:window.__pwned=1}{x}$\x00"
)
PAGE = "<!doctype html><html lang='en'><title>Review</title><main><h1>Review</h1><div id='here'></div></main></html>"
NOTEBOOK = "main pre { word-break: break-all; }"  # as JupyterLab has it for whatever a cell shows
START = """async ([source, css]) => {
  const style = document.createElement("style");
  style.textContent = css;
  document.head.append(style);
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { default: widget } = await import(url);
  const hearers = [];
  window.hear = (message) => hearers.forEach((hearer) => hearer(message));
  const model = { send: (message) => window.toKernel(message), on: (_, hearer) => hearers.push(hearer), off() {} };
  widget.render({ model, el: document.getElementById("here") });
}"""


@pytest.fixture
def show(open_page, tmp_path):
    """Show a widget over `n` flagged answers and give the page, its root and the verdict file."""

    def show_one(
        n=20, out=None, scheme="light", width=1000, answers=True, rubric=None, reviewer="ann", ground="", **columns
    ):
        requests = make_requests(n, every="1h", **columns)
        log = lm.open_log({"requests": requests, "judgements": make_judgements(n, every="1h", quality_score=2.0)})
        out = out or tmp_path / "reviews.jsonl"
        review = lm.review(log, out=out, reviewer=reviewer, rubric=rubric)
        page, watch = open_page(width=width, scheme=scheme)
        pending = []
        review.send = lambda message, _buffers=None: pending.append(json.loads(json.dumps(message)))

        def to_kernel(message):
            if answers or message["kind"] == "hello":
                review._handle_custom_msg(message, [])
            while pending:
                page.evaluate("message => setTimeout(() => window.hear(message))", pending.pop(0))

        page.expose_function("toKernel", to_kernel)
        page.set_content(PAGE)
        page.add_style_tag(content=f"body {{ background: {ground or 'transparent'}; }}")
        page.evaluate(START, [(kernel.HERE / "widget.js").read_text(), (kernel.HERE / "widget.css").read_text()])
        root = page.locator(".lm-review:not([data-request-id=''])")
        root.wait_for()
        page.add_style_tag(content=NOTEBOOK)
        ids = review._draw["request_id"].tolist()
        return SimpleNamespace(page=page, root=root, out=out, ids=ids, watch=watch, review=review)

    return show_one


def lines(out):
    written = sorted(map(json.loads, out.read_text().splitlines()), key=lambda one: one["seq"])
    return [(one["request_id"], one["verdict"], one["note"]) for one in written]


def press(shown, *keys):
    for key in keys:
        shown.page.keyboard.press(key)


def wait_saved(shown):
    shown.root.locator("[role=status]", has_text="all saved").wait_for()


def at(shown):
    return shown.root.get_attribute("data-request-id")


def test_it_takes_the_focus_and_keys_answer_move_and_undo(show):
    shown = show()
    press(shown, "1", "2", "3", "u", "ArrowRight", "1", "ArrowLeft", "ArrowLeft")
    wait_saved(shown)
    a, b, c, d = shown.ids[:4]
    assert lines(shown.out) == [
        (a, "real", None),
        (b, "false_positive", None),
        (c, "unsure", None),
        (c, None, None),
        (d, "real", None),
    ]
    assert at(shown) == c


def test_a_burst_of_ten_keys_is_ten_verdicts_in_order(show):
    shown = show()
    press(shown, *"1231231231")
    wait_saved(shown)
    names = {"1": "real", "2": "false_positive", "3": "unsure"}
    assert lines(shown.out) == [(one, names[key], None) for one, key in zip(shown.ids, "1231231231")]


def test_buttons_do_what_keys_do_and_keys_go_on_working_after_a_click(show):
    shown = show()
    shown.root.get_by_role("button", name="false positive").click()
    press(shown, "1")
    wait_saved(shown)
    assert [verdict for _, verdict, _ in lines(shown.out)] == ["false_positive", "real"]


def test_keys_in_the_note_are_text_and_the_note_goes_with_the_verdict(show):
    shown = show()
    press(shown, "n", *"1 2 u dd?".replace(" ", ""), "Escape", "1")
    wait_saved(shown)
    assert lines(shown.out) == [(shown.ids[0], "real", "12udd?")]
    assert shown.root.get_by_label("note").input_value() == ""


def test_a_note_written_after_the_verdict_is_saved_with_it(show):
    shown = show()
    press(shown, "3", "ArrowLeft", "n", *"why", "Enter")
    wait_saved(shown)
    assert lines(shown.out) == [(shown.ids[0], "unsure", None), (shown.ids[0], "unsure", "why")]


@pytest.mark.parametrize("key", ["n", "e"])
def test_what_is_being_typed_stays_when_the_kernel_speaks_between_two_keys(show, key):
    shown = show()
    press(shown, "3", "ArrowLeft", key, "w")
    wait_saved(shown)
    shown.page.evaluate(
        "id => window.hear({kind: 'saved', id, verdict: 'real', session: 'other', seq: 9, highest: 9})", at(shown)
    )
    press(shown, "h", "y", "Escape")
    wait_saved(shown)
    last = json.loads(shown.out.read_text().splitlines()[-1])
    assert last["note" if key == "n" else "expected_output"] == "why"
    assert last["verdict"] == "real"
    assert at(shown) == shown.ids[0]


def test_the_answers_sent_once_more_move_nobody_who_reads_already(show):
    shown = show()
    again = shown.review._items()
    press(shown, "1", "ArrowRight", "n", "w")
    wait_saved(shown)
    place = at(shown)
    session = json.loads(shown.out.read_text())["session"]
    for asked_by in (session, "other"):
        shown.page.evaluate("message => window.hear(message)", {**again, "session": asked_by})
    press(shown, "h", "y", "Escape", "2")
    wait_saved(shown)
    assert place == shown.ids[2]
    assert lines(shown.out)[-1] == (place, "false_positive", "why")


def test_a_verdict_on_its_way_is_not_hidden_by_an_older_one_of_another_view(show):
    shown = show(answers=False)
    press(shown, "1", "ArrowLeft")
    other = {"kind": "saved", "id": shown.ids[0], "verdict": "unsure", "session": "other", "seq": 1, "highest": 1}
    shown.page.evaluate("message => window.hear(message)", other)
    pressed = shown.root.locator(".lm-choice[aria-pressed=true]")
    assert pressed.get_attribute("data-verdict") == "real"


def test_what_the_file_says_is_shown_once_all_that_was_pressed_is_there(show):
    shown = show()
    press(shown, "1", "ArrowLeft")
    wait_saved(shown)
    session = json.loads(shown.out.read_text())["session"]
    late = {"kind": "saved", "id": shown.ids[0], "verdict": "unsure", "session": session, "seq": 1, "highest": 3}
    shown.page.evaluate("message => window.hear(message)", late)
    assert shown.root.locator(".lm-choice[aria-pressed=true]").get_attribute("data-verdict") == "unsure"


def test_after_the_last_answer_keys_change_nothing_until_the_reader_moves(show):
    shown = show(n=3)
    press(shown, *"1111")
    wait_saved(shown)
    assert [verdict for _, verdict, _ in lines(shown.out)] == ["real"] * 3
    assert shown.root.get_by_text("All 3 are read.").is_visible()
    press(shown, "u", "2")
    wait_saved(shown)
    assert shown.review.to_frame()["verdict"].tolist() == ["real", "real", "false_positive"]


def test_undoing_a_correction_brings_the_first_verdict_back(show):
    shown = show()
    press(shown, "1", "ArrowLeft", "2", "u")
    wait_saved(shown)
    assert [verdict for _, verdict, _ in lines(shown.out)] == ["real", "false_positive", "real"]


def test_shown_again_it_opens_at_the_first_open_answer(show):
    first = show()
    press(first, "1", "1", "ArrowRight", "1")
    wait_saved(first)
    again = show(out=first.out)
    assert at(again) == again.ids[2]
    press(again, "3", "1")
    wait_saved(again)
    assert lines(again.out)[-2:] == [(again.ids[2], "unsure", None), (again.ids[4], "real", None)]
    assert again.review.to_frame()["request_id"].is_unique


def test_the_status_says_how_many_are_not_saved_while_the_kernel_is_silent(show):
    shown = show(answers=False)
    press(shown, "1", "2", "3")
    assert shown.root.locator("[role=status]").inner_text() == "saving 3"
    assert at(shown) == shown.ids[3]
    assert not shown.out.exists()


def test_a_verdict_that_was_not_written_is_told(show):
    shown = show()
    shown.out.mkdir()
    press(shown, "1")
    shown.root.get_by_role("alert").get_by_text("Not saved: reviews.jsonl").wait_for()
    assert shown.root.locator("[role=status]").inner_text() == "saving 1"


def test_a_held_key_and_shortcuts_of_the_page_give_no_verdict(show):
    shown = show()
    shown.page.keyboard.down("1")
    shown.page.keyboard.down("1")  # repeats, as a held key does
    shown.page.keyboard.up("1")
    press(shown, "Control+2", "x", "Delete")
    wait_saved(shown)
    assert len(lines(shown.out)) == 1


def test_keys_do_not_reach_the_notebook_around_it(show):
    shown = show()
    shown.page.evaluate(
        "window.reached = ''; document.addEventListener('keydown', (e) => { window.reached += e.key; })"
    )
    press(shown, "d", "d", "1", "Escape", "n", "d", "Escape", "Control+s")
    assert shown.page.evaluate("window.reached") == "Controls"


def test_score_and_reason_stay_hidden_until_the_verdict(show):
    shown = show()
    assert "The judge" not in shown.root.inner_text()
    press(shown, "1", "ArrowLeft")
    assert "The judge: score 2 · Low quality score · model-a-2026-01-01" in shown.root.inner_text()


def test_hostile_text_is_shown_as_it_was_logged_and_runs_nothing(show):
    shown = show(user_input=EVIL, system_output=EVIL, category=EVIL)
    press(shown, "1")
    for part in (".lm-question", ".lm-answer"):
        assert shown.root.locator(part).evaluate("(e) => e.textContent") == EVIL
    assert shown.root.locator("script, img, iframe, svg, a").count() == 0
    assert shown.page.evaluate("window.__pwned") is None
    assert (shown.watch.outside, shown.watch.errors) == ([], [])


@pytest.mark.parametrize(("ground", "scheme", "low", "high"), [("#fff", "dark", 200, 255), ("#181c1a", "light", 0, 60)])
def test_it_is_as_light_as_the_page_around_it_whatever_the_system_says(show, ground, scheme, low, high):
    shown = show(scheme=scheme, ground=ground)
    shown.page.locator(".lm-review[data-ground=light], .lm-review[data-ground=dark]").wait_for()
    median, _ = brightness(shown.root.screenshot())
    assert low <= median <= high


@every_form()
def test_light_dark_and_narrow_are_readable_and_accessible(show, tmp_path, width, scheme):
    shown = show(scheme=scheme, width=width, user_input="a" * 3000, system_output=["line\n" * 60, None])
    press(shown, "1", "2", "ArrowLeft", "?")
    image = shown.root.screenshot(path=tmp_path / f"{scheme}_{width}.png")
    low, high = LIGHTNESS[scheme]
    assert low <= brightness(image)[0] <= high
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(shown.page) == []


def test_an_answer_without_text_says_so(show):
    shown = show(n=1, system_output=None)
    assert shown.root.locator(".lm-answer").inner_text() == "(no text in the log)"


def test_axe_would_notice_a_nameless_button(show):
    shown = show()
    shown.page.evaluate("document.querySelector('.lm-review').append(document.createElement('button'))")
    assert [one.split()[0] for one in violations(shown.page)] == ["button-name"]


def test_every_control_is_reached_by_tab(show):
    shown = show()
    seen = []
    for _ in range(13):
        press(shown, "Tab")
        seen.append(
            shown.page.evaluate("document.activeElement.getAttribute('aria-label') || document.activeElement.className")
        )
    scores = [f"own score {score} of 5" for score in range(1, 6)]
    fields = ["lm-field lm-note", "lm-field lm-expected"]
    assert seen == ["Question", "Answer", "lm-choice", "lm-choice", "lm-choice", *scores, *fields, "lm-help"]


def test_words_are_kept_whole_and_hidden_parts_are_hidden(show):
    shown = show(width=400, system_output="unbroken words stay whole whatever the notebook around says " * 3)
    answer = shown.root.locator(".lm-answer")
    assert answer.evaluate("(e) => getComputedStyle(e).wordBreak") == "normal"
    keys = shown.root.locator(".lm-keys")
    assert not keys.is_visible()
    press(shown, "?")
    assert keys.is_visible()
    press(shown, "?")
    assert not keys.is_visible()
    assert not shown.root.locator(".lm-trouble").is_visible()
    assert not shown.root.locator(".lm-aside").is_visible()


def kept(out):
    lines = map(json.loads, out.read_text().splitlines())
    return [(one["request_id"], one["verdict"], one["quality_score"], one["expected_output"]) for one in lines]


def test_an_own_score_and_the_right_answer_go_with_the_verdict_and_can_be_added_later(show):
    shown = show()
    press(shown, "Shift+Digit4", "e", *"30 days 123", "Escape", "1", "Shift+Digit2", "2", "ArrowLeft", "Shift+Digit5")
    press(shown, "Shift+Digit5")
    wait_saved(shown)
    a, b = shown.ids[:2]
    assert kept(shown.out) == [
        (a, "real", 4, "30 days 123"),
        (b, "false_positive", 2, None),
        (b, "false_positive", 5, None),
        (b, "false_positive", None, None),
    ]


def test_digits_go_by_the_place_of_the_key(show):
    """A French keyboard gives & without and 1 with Shift."""
    shown = show()
    shown.page.evaluate(
        """() => {
          const press = (key, shiftKey) => document.activeElement.dispatchEvent(
            new KeyboardEvent("keydown", { key, code: "Digit1", shiftKey, bubbles: true }));
          press("1", true);
          press("&", false);
        }"""
    )
    wait_saved(shown)
    assert kept(shown.out) == [(shown.ids[0], "real", 1, None)]


@pytest.mark.parametrize(("key", "state"), [("1", "real"), ("2", "false_positive")])
def test_after_seven_verdicts_that_agree_it_says_that_one_may_stop(show, key, state):
    shown = show()
    assert shown.root.get_attribute("data-decided") == "open"
    press(shown, *(key * 6))
    wait_saved(shown)
    assert shown.root.get_attribute("data-decided") == "open"
    press(shown, key)
    shown.page.locator(f".lm-review[data-decided={state}]").wait_for()
    said = shown.root.locator(".lm-decided").inner_text()
    assert said.startswith(f"decided so far: {state.replace('_', ' ')}, you may stop (")
    press(shown, "u")
    shown.page.locator(".lm-review[data-decided=open]").wait_for()


def test_another_reader_starts_at_the_first_answer_and_sees_no_verdict_of_the_first(show):
    first = show()
    press(first, "1", "1", "1")
    wait_saved(first)
    second = show(out=first.out, reviewer="bob")
    assert at(second) == second.ids[0] == first.ids[0]
    assert second.root.locator(".lm-count").inner_text() == "0 real, 0 false positive, 0 unsure"


def test_an_undone_verdict_leaves_its_note_and_score_to_be_used_again(show):
    shown = show()
    press(shown, "n", *"why", "Escape", "Shift+Digit2", "1", "u", "2")
    wait_saved(shown)
    assert lines(shown.out) == [
        (shown.ids[0], "real", "why"), (shown.ids[0], None, None), (shown.ids[0], "false_positive", "why"),
    ]  # fmt: skip
    assert kept(shown.out)[-1][2] == 2


@every_form(1300)
def test_what_stands_beside_is_plain_text_readable_and_accessible(show, tmp_path, width, scheme):
    shown = show(scheme=scheme, width=width, rubric=EVIL, session_id="s", retrieved_text=EVIL, user_input=EVIL)
    press(shown, "1", "Shift+Digit3")
    wait_saved(shown)
    assert shown.root.locator(".lm-fold").count() == 3
    assert shown.root.locator(".lm-beside").first.evaluate("(e) => e.textContent") == EVIL
    assert shown.root.locator("script, img, iframe, svg, a").count() == 0
    assert shown.page.evaluate("window.__pwned") is None
    image = shown.root.screenshot(path=tmp_path / f"beside_{scheme}_{width}.png")
    low, high = LIGHTNESS[scheme]
    assert low <= brightness(image)[0] <= high
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(shown.page) == []
