"""Write docs/page.png, the picture in the README: the first screen of the page that `llm-monitoring demo` makes."""

import sys
import tempfile
from io import BytesIO
from pathlib import Path

import llm_monitoring as lm

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 960, 1090


def picture(page: Path, chromium: str) -> bytes:
    """The first screen of a page as a small PNG of 128 colours."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto(page.resolve().as_uri())
        seen = tab.screenshot()
        browser.close()
    small = BytesIO()
    Image.open(BytesIO(seen)).convert("RGB").quantize(128, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        small, "PNG", optimize=True
    )
    return small.getvalue()


if __name__ == "__main__":
    import shutil

    with tempfile.TemporaryDirectory() as folder:
        page = Path(sys.argv[1]) if len(sys.argv) > 1 else lm.report("sample_data", out=folder).path
        (ROOT / "docs" / "page.png").write_bytes(picture(page, shutil.which("chromium") or "chromium"))
