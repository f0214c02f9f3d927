"""The page: escaped, self-contained, the same bytes each time. What browsers make of it is in tests/browser."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reporting.results import make_cause, make_isolate, make_results, make_reviews, make_slice

from llm_monitoring.reporting import figures, page
from llm_monitoring.reporting.story import tell

EVIL = (
    "<script>window.__pwned=1</script>",
    "<img src=x onerror=window.__pwned=1>",
    "</script></style></title><svg onload=window.__pwned=1>",
    '"><iframe srcdoc="<script>window.__pwned=1</script>">',
    "</textarea>{{ 7 * 7 }}{% raw %}",
    "[x](javascript:window.__pwned=1) $\\href{javascript:1}{x}$ $5 and $6",
)


class Reader(HTMLParser):
    """Tags and texts of a page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attrs]

    def handle_data(self, data):
        self.text.append(data)


def write(results):
    return page.render(tell(results), lambda name: figures.draw(name, results))


@pytest.fixture(scope="module")
def html():
    return write(make_results())


def test_the_page_is_the_same_byte_for_byte(html):
    assert write(make_results()) == html


def test_the_page_needs_no_script_and_loads_nothing(html):
    reader = Reader(html)
    assert not {"script", "link", "iframe", "object", "img", "form", "base"} & set(reader.tags)
    targets = [value for _, name, value in reader.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert all(target.startswith("#") or target.endswith((".ipynb", ".jsonl")) for target in targets)
    assert "url(http" not in html
    assert "@import" not in html
    policy = next(value for tag, name, value in reader.attributes if tag == "meta" and "default-src" in (value or ""))
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_the_page_stays_under_one_and_a_half_megabytes():
    answers = make_isolate()["answers"] * 27
    assert len(write(make_results(isolate={"answers": answers[:2000]}))) < 1_500_000


def test_every_figure_is_drawn_twice_with_a_description(html):
    reader = Reader(html)
    classes = [value for tag, name, value in reader.attributes if tag == "svg" and name == "class"]
    assert classes.count("wide") == classes.count("narrow") == 5
    assert reader.tags.count("title") == 11
    assert reader.tags.count("desc") == 10


def test_ids_are_unique(html):
    ids = [value for _, name, value in Reader(html).attributes if name == "id"]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("evil", [" ".join(EVIL), *(pytest.param(each, marks=pytest.mark.long) for each in EVIL)])
def test_evil_text_comes_out_as_text(html, evil):
    where = {"feature_id": evil, "model_id": evil}
    results = make_results(
        incident={"incident_id": "20230628-x-flagged_rate", "notices": [evil]},
        triage={"reasons": [evil], "message": evil, "feature_id": evil, "reviews": make_reviews(text=evil.replace("{", "{{").replace("}", "}}"))},
        scope={"slices": [make_slice(where, label=evil)], "leaves": [make_slice(where, label=evil)]},
        isolate={"where": where, "ranking": [make_cause(evil, description=evil, evidence=[evil])], "candidates": [evil], "verdict": evil},
        respond={"because": evil, "target": evil},
        learn={"open_points": [evil], "examples": [{"request_id": evil, "timestamp": None, "user_input": evil, "system_output": evil, "reviewed": True, "verdict": "real"}]},
    )  # fmt: skip
    reader = Reader(write(results))
    assert {"script", "img", "iframe", "textarea"}.isdisjoint(reader.tags)
    assert not [name for _, name, _ in reader.attributes if name.startswith("on")]
    plain = " ".join("".join(reader.text).replace("\u00a0", " ").split())
    assert plain.count(" ".join(evil.split())) >= 5


@settings(max_examples=25, deadline=None, derandomize=True)
@given(text=st.text(max_size=60))
def test_any_text_comes_back_equal_and_makes_no_element(text):
    base = Reader(render_title("x"))
    reader = Reader(render_title(text))
    assert reader.tags == base.tags
    shown = "".join(reader.text).replace("\u00a0", " ")
    expected = page.CONTROL.sub("\ufffd", text).replace("\u00a0", " ").replace("\r\n", "\n").replace("\r", "\n")
    assert expected.strip() in shown.replace("\r\n", "\n").replace("\r", "\n")


def render_title(text):
    story = {
        "title": "t", "eyebrow": "", "opening": "Real:", "tone": "now", "headline": text, "lede": "", "answers": [],
        "facts": [], "sections": [],
    }  # fmt: skip
    return page.render(story, draw=str)


def test_control_characters_and_half_surrogates_leave_a_visible_mark():
    assert page.printable("a\x00b\ud800") == "a\ufffdb\ufffd"
    assert write(make_results(triage={"reasons": ["nul \x00 and \udfff"]})).encode("utf-8")
