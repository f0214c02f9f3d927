"""Chromium for the browser tests, with the network cut: no name resolves, and what a page asks outside is counted."""

from __future__ import annotations

import os
import shutil

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
CUT = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
INSIDE = ("file:", "data:", "blob:", "about:", "http://127.0.0.1:", "ws://127.0.0.1:")


@pytest.fixture(scope="module")
def browser():
    """Chromium for one file of tests: while it is open its event loop runs, and other tests start loops of their own."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None and not os.environ.get("CI"):
        pytest.skip("needs Chromium: apt-get install chromium, or CHROMIUM=path of one")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *CUT])
        yield started
        started.close()


LIGHTNESS = {"light": (200, 255), "dark": (0, 60)}  # between which the median brightness of a page is


def every_form(wide: int = 1000, narrow: int = 400):
    """Wide and narrow, light and dark: make test opens a page in two of the four forms, make test-long in the others."""
    others = [pytest.param(wide, "dark", marks=pytest.mark.long), pytest.param(narrow, "light", marks=pytest.mark.long)]
    return pytest.mark.parametrize(("width", "scheme"), [(wide, "light"), (narrow, "dark"), *others])


class Watch:
    """What a page did that it should not: requests to the outside, errors on the console, scripts of the log that ran."""

    def __init__(self, page):
        self.outside: list[str] = []
        self.errors: list[str] = []
        page.on("request", self._count)
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _count(self, request):
        if not request.url.startswith(INSIDE):
            self.outside.append(request.url)


@pytest.fixture
def open_page(browser):
    """Open a page of a given width and colour scheme; gives the page and its `Watch`."""
    contexts = []

    def open_one(width: int = 1000, height: int = 900, scheme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        return page, Watch(page)

    yield open_one
    for context in contexts:
        context.close()


def violations(page, context: str | None = None) -> list[str]:
    """What axe finds: rule and element, for every violation."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, context=context).response["violations"]
    return [f"{one['id']} ({one['impact']}): {node['html'][:160]}" for one in found for node in one["nodes"]]


def brightness(image: bytes) -> tuple[float, float]:
    """Median brightness (0 black to 255 white) of a screenshot, and its standard deviation: 0 for a blank one."""
    import io

    import numpy as np
    from PIL import Image

    grey = np.asarray(Image.open(io.BytesIO(image)).convert("L"), dtype=float)
    return float(np.median(grey)), float(grey.std())
