"""The documentation site, built once without its gallery: no warning, no dead link, and a search that works from a file."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import llm_monitoring as lm
from tests.browser.conftest import violations

ROOT = Path(__file__).parents[2]
pytest.importorskip("furo", reason="needs furo and myst-parser: pip install furo myst-parser")


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    """The script that builds the site, with folders of its own; what it warned about is in `.told`."""
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    place = tmp_path_factory.mktemp("site")
    module.STAGED, module.TREES, module.SITE = place / "pages", place / "trees", place / "site"
    module.stage_pages(gallery=False)
    module.told = module.build()
    return module


def test_the_site_is_built_without_a_warning_and_without_a_dead_link(builder):
    assert builder.told == []
    assert builder.faults(builder.SITE) == []


def test_a_dead_link_and_something_loaded_from_elsewhere_would_be_found(builder, tmp_path):
    page = '<a href="nowhere.html">x</a> <a href="#absent">y</a> <script src="https://cdn.example/x.js"></script>'
    (tmp_path / "index.html").write_text(page)
    assert len(builder.faults(tmp_path)) == 3


def test_every_public_name_has_its_place_in_the_reference(builder):
    pages = "".join(path.read_text() for path in (builder.SITE / "reference").glob("*.html"))
    names = [*lm._HOME, *(f"incident.{stage}" for stage in builder.STAGES)]
    assert [name for name in names if f'id="llm_monitoring.{name}"' not in pages] == []
    told = (builder.SITE / "llms.txt").read_text()
    assert [name for name in names if f"lm.{name}" not in told] == []


def test_the_site_opens_searches_and_reads_well_from_a_file(builder, open_page, tmp_path):
    page, watch = open_page(1200)
    page.goto((builder.SITE / "index.html").as_uri())
    page.screenshot(path=tmp_path / "index.png")
    page.goto((builder.SITE / "search.html").as_uri() + "?q=false+alarm")
    page.locator("#search-results li a").first.wait_for()
    assert page.locator("#search-results li").count() >= 3
    assert (watch.outside, watch.errors) == ([], [])
    page.goto((builder.SITE / "index.html").as_uri())
    assert violations(page) == []  # axe asks for the style sheets, which a page from a file may not


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_are_accessible(builder, open_page, tmp_path, scheme):
    page, watch = open_page(400, scheme=scheme)
    pages = [(builder.SITE / f"{name}.html").as_uri() for name in ("readme", "reference/charts", "notebooks")]
    for number, address in enumerate(pages):
        page.goto(address)
        page.screenshot(path=tmp_path / f"{scheme}_{number}.png")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400, address
    assert (watch.outside, watch.errors) == ([], [])
    for address in pages:
        page.goto(address)
        assert violations(page) == [], address
