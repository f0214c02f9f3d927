"""The page: a story and its figures as one HTML file. Nothing but escaping, templates and the content policy here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).parent / "templates"
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
LONGEST_WORD = 24  # longer ones may be broken anywhere, so that no cell pushes the page aside
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
GLUED = re.compile(r"(?<=\d) (?=%|s\b|h\b|ms\b|USD\b|ct\b|min\b|points?\b)")


def render(story: Mapping[str, Any], draw: Callable[[str], str]) -> str:
    """Write the story as a page that needs no script, no file and no network.

    Parameters
    ----------
    story : mapping
        What `story.tell` returns: texts only; all of them are escaped here.
    draw : callable
        Name of a figure -> its SVG.

    Returns
    -------
    str
        HTML.

    Examples
    --------
    >>> story = {"title": "Quiet <b>", "eyebrow": "", "opening": "No alert:", "tone": "good", "headline": "<img>",
    ...          "lede": "", "answers": [], "facts": [], "sections": []}
    >>> "&lt;img&gt;" in render(story, draw=str) and "<img" not in render(story, draw=str)
    True
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.tests["long"] = lambda text: any(len(word) > LONGEST_WORD for word in text.split(" "))
    style = Markup((TEMPLATES / "page.css").read_text("utf-8"))
    template = environment.get_template("page.html")
    return template.render(
        page=story, draw=lambda name: Markup(CONTROL.sub("\ufffd", draw(name))), style=style, policy=POLICY
    )


def printable(value: Any) -> Any:
    """Text as a page can hold it: control characters and half surrogates become a visible mark.

    >>> printable("a\\x00b"), printable("850 ms")
    ('a\\ufffdb', '850\\xa0ms')
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return GLUED.sub("\u00a0", CONTROL.sub("\ufffd", value))
