"""Build the documentation site into site/: `python docs/build_site.py`, or `make docs-site`. Nothing is fetched.

Pages come from docs/*.md and the README, the reference from the docstrings, the gallery from reports on the sample log and
on a made-up one.
Ends with exit code 1 where a page warns, a link leads nowhere, or a page would load something from elsewhere.
"""

from __future__ import annotations

import argparse
import html
import re
import shutil
import subprocess
import sys
from itertools import groupby
from pathlib import Path

import llm_monitoring as lm

ROOT = Path(__file__).parents[1]
STAGED, TREES, SITE = ROOT / "build" / "site-pages", ROOT / "build" / "site-trees", ROOT / "site"
PAGES = {
    "Tutorial": ["readme", "tutorial"],
    "How to": [
        "notebooks",
        "review",
        "report",
        "alerts",
        "watch",
        "backtest",
        "judging",
        "probes",
        "importers",
        "injection",
    ],
    "Reference": ["log", "engines", "metrics", "cli", "reference/index"],
    "Explanation": ["incident", "charts", "drift", "raters", "architecture"],
    "Gallery": ["gallery/index"],
}
MADE_ELSEWHERE = {"api", "index"}  # the reference takes the place of the list of names
ROOMS = {
    "The log": ("errors", "records", "recorder", "log", "measures", "importers"),
    "Measures and signals": ("metrics", "signals", "sampling"),
    "Judging": ("judging", "raters"),
    "Charts": ("charts",),
    "Drift": ("drift",),
    "Probes, pins, promotion": ("probes",),
    "Alerts": ("alerts", "watching", "backtesting"),
    "Incidents, reviews, notebooks": ("incident", "reviewing", "exploring", "reporting", "results"),
    "In a serving process": ("online",),
}
STAGES = ("triage", "scope", "isolate", "respond", "learn")
#: Name of a report of the gallery -> what it shows, and how it is made from the sample log.
REPORTS = {
    "incident": ("A fall of quality in one slice, and the prompt that did it", {"alert": "support"}),
    "standing": ("A level that is too high and did not move", {"alert": "summary"}),
    "quiet": (
        "Nothing alerted, and what would have been seen",
        {"until": "2026-05-17T12:00Z", "plan": {"baseline": {"days": 7}, "quality": {"abandonment_above": 0.6}}},
    ),
}
#: Name of a report on a log that `benchmarks/incidents` makes -> what it shows, the kind of the log and its seed.
WORLDS = {"cost": ("A request that became dearer, in a made-up log, and the model that did it", "cost", 3)}
#: What Sphinx, numpydoc and furo write, and what a screen reader, a keyboard and people need.
MENDED = {
    r"\[R[0-9a-f]{6,}-(\d+)\]": r"[\1]",
    r'<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    r'<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Pages">',
    r'<aside class="toc-drawer': '<aside aria-label="On this page" class="toc-drawer',
    r"<pre>": '<pre tabindex="0">',
    r'role="doc-biblioentry"': 'role="listitem"',
}


def stage_pages(gallery: bool) -> None:
    """Write the sources of all pages into one folder."""
    shutil.rmtree(STAGED, ignore_errors=True)
    (STAGED / "reference").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "site_parts" / "conf.py", STAGED)
    shutil.copy(ROOT / "docs" / "page.png", STAGED)
    texts = {path.stem: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.md")}
    texts |= {"readme": (ROOT / "README.md").read_text("utf-8")}
    texts |= {"sample_data": (ROOT / "sample_data" / "README.md").read_text("utf-8")}
    texts |= {"contributing": (ROOT / "CONTRIBUTING.md").read_text("utf-8")}
    listed = {page for pages in PAGES.values() for page in pages}
    pages = {
        **PAGES,
        "More": [
            "sample_data",
            "contributing",
            *sorted(set(texts) - listed - MADE_ELSEWHERE - {"sample_data", "contributing"}),
        ],
    }
    if not gallery:
        del pages["Gallery"]
    texts["index"] += "".join(_toctree(title, several) for title, several in pages.items())
    for name, text in texts.items():
        if name != "api":
            (STAGED / f"{name}.md").write_text(_links(text), "utf-8")
    _reference()


def _toctree(title: str, pages: list[str]) -> str:
    return f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n" + "\n".join(pages) + "\n```\n"


def _links(text: str) -> str:
    """Links as they lead within the site."""
    moved = {
        "../README.md": "readme.md",
        "../sample_data/README.md": "sample_data.md",
        "sample_data/README.md": "sample_data.md",
    }
    moved |= {
        "../CONTRIBUTING.md": "contributing.md",
        "CONTRIBUTING.md": "contributing.md",
        "api.md": "reference/index.md",
    }
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"!\[[^\]]*\]\(https://[^)]*\)\n?", "", text)  # badges are of the repository
    for old, new in moved.items():
        text = text.replace(f"]({old})", f"]({new})")
    return re.sub(r"\[(?:docs/)?[\w/]+\.md\]\(([\w/]+\.md)\)", r"[](\1)", text)  # a page is called by its title


def _reference() -> None:
    """One page per room of the package, each public name with its docstring and example."""
    homes = {name: home.split(".")[0] for name, home in lm._HOME.items()}
    homes |= {f"incident.{stage}": "incident" for stage in STAGES}
    rooms = {name: next(room for room, parts in ROOMS.items() if home in parts) for name, home in homes.items()}
    listed = []
    for room, several in groupby(
        sorted(rooms, key=lambda name: (list(ROOMS).index(rooms[name]), name)), rooms.__getitem__
    ):
        file = re.sub(r"\W+", "-", room.lower())
        listed.append(file)
        entries = "\n".join(_directive(name) for name in several)
        (STAGED / "reference" / f"{file}.md").write_text(f"# {room}\n\n```{{eval-rst}}\n{entries}\n```\n", "utf-8")
    head = "# Reference\n\nEvery public name, `import llm_monitoring as lm` gives them all. The [command line](../cli.md) has its own page.\n"
    tree = "\n```{toctree}\n:maxdepth: 2\n\n" + "\n".join(listed) + "\n```\n"
    (STAGED / "reference" / "index.md").write_text(head + tree, "utf-8")


def _directive(name: str) -> str:
    import inspect

    thing = lm
    for part in name.split("."):
        thing = getattr(thing, part)
    kind = "autoclass" if inspect.isclass(thing) else "autofunction" if callable(thing) else "autodata"
    extra = "   :members:\n" if kind == "autoclass" else "   :no-value:\n" if kind == "autodata" else ""
    return f".. {kind}:: llm_monitoring.{name}\n{extra}"


def make_gallery() -> None:
    """Reports on the sample log, and the first notebook executed, beside a page that leads to them."""
    place = STAGED / "gallery"
    place.mkdir()
    log = lm.open_log("sample_data")
    alerts = lm.check(log)
    lines = [
        "# Gallery",
        "",
        "Pages as the package writes them, made when this site was built: from the sample log, the last report from a made-up one.",
        "",
    ]
    asked = {name: (words, log, dict(options)) for name, (words, options) in REPORTS.items()}
    for _, _, options in asked.values():
        if "alert" in options:
            options["alert"] = alerts.loc[alerts["feature_id"] == options["alert"], "alert_id"].iloc[0]
    sys.path.insert(0, str(ROOT / "benchmarks" / "incidents"))
    from worlds import make_world

    for name, (words, kind, seed) in WORLDS.items():
        world = make_world(kind, seed)
        asked[name] = words, world.tables, {"alert": world.alert}
    for name, (words, source, options) in asked.items():
        done = lm.report(source, out=STAGED / "made", force=True, progress=False, **options)
        if done.failure:
            raise SystemExit(f"gallery, {name}: {done.failure}")
        shutil.copytree(done.folder, place / name)
        for path in (place / name, *(place / name).rglob("*")):  # a report is private, the site is not
            path.chmod(0o755 if path.is_dir() else 0o644)
        lines.append(f'- <a href="{name}/index.html">{words}</a>: {html.escape(done.headline)}')
    lines.append(
        '- <a href="explore.html">The first notebook, executed</a>: what a log holds, alerts, explorer, signals, drift'
    )
    (place / "index.md").write_text("\n".join(lines) + "\n", "utf-8")
    _notebook(place / "explore.html")
    shutil.rmtree(STAGED / "made")


def _notebook(target: Path) -> None:
    """The first notebook as a page that loads nothing."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    book = nbformat.read(ROOT / "notebooks" / "0_explore.ipynb", as_version=4)
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    addresses = dict.fromkeys(
        ("mathjax_url", "require_js_url", "jquery_url", "mermaid_js_url", "jupyter_widgets_base_url"), ""
    )
    exporter = HTMLExporter(template_name="lab", **addresses)
    book.metadata.pop("widgets", None)
    page, _ = exporter.from_notebook_node(book)
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)  # nothing on it needs one
    page = re.sub(r'<a href="\d_\w+\.ipynb">(.*?)</a>', r"\1", page)  # the notebooks themselves are not on the site
    target.write_text(page, "utf-8")


def build() -> list[str]:
    """Run Sphinx; what it warned about. In a process of its own: autodoc writes into the classes that it reads."""
    shutil.rmtree(SITE, ignore_errors=True)
    quiet = ["-W", "ignore"]  # myst-parser calls what Sphinx 11 will drop
    options = ["-b", "html", "-q", "-E", "--no-color", "-d", str(TREES)]
    run = [sys.executable, *quiet, "-m", "sphinx", *options, str(STAGED), str(SITE)]
    told = subprocess.run(run, check=True, stderr=subprocess.PIPE, text=True).stderr
    shutil.rmtree(SITE / "_sources", ignore_errors=True)
    for page in SITE.rglob("*.html"):
        text = page.read_text("utf-8")
        for wrong, right in MENDED.items():
            text = re.sub(wrong, right, text)
        page.write_text(text, "utf-8")
    if (STAGED / "gallery").exists():
        shutil.copytree(STAGED / "gallery", SITE / "gallery", dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.md"))
    (SITE / "llms.txt").write_text(llms_text(), "utf-8")
    return told.splitlines()


def llms_text() -> str:
    """What a language model should read first: every page with its first sentence."""
    lines = ["# llm_monitoring", "", f"> {(lm.__doc__ or '').splitlines()[0]}", ""]
    for path in sorted(STAGED.rglob("*.md")):
        text = path.read_text("utf-8")
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        names = re.findall(r":: llm_monitoring\.(\S+)", text)
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        first = re.search(r"^(?!#|\||!|\s*$|-|<)(.+?[.:?])(?:\s|$)", prose, re.MULTILINE | re.DOTALL)
        page = path.relative_to(STAGED).with_suffix(".html").as_posix()
        words = ", ".join(f"lm.{name}" for name in names) or (" ".join(first[1].split()) if first else "")
        lines.append(f"- [{title[1] if title else path.stem}]({page})" + (f": {words}" if words else ""))
    return "\n".join(lines) + "\n"


def faults(site: Path) -> list[str]:
    """Links that lead nowhere, and what a page would load from elsewhere."""
    pages = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    ids = {path: set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    found = []
    for path, text in pages.items():
        where = path.relative_to(site)
        for tag, link in re.findall(r'<(a|link|script|img|iframe|source)\b[^>]*?\b(?:href|src)="([^"]*)"', text):
            link = html.unescape(link)
            if re.match(r"(https?:)?//", link):
                found += [f"{where}: loads {link}"] if tag != "a" else []
                continue
            if not link or link.startswith(("data:", "mailto:", "javascript:")):
                continue
            file, _, anchor = link.partition("#")
            to = (path.parent / file.partition("?")[0]).resolve() if file else path.resolve()
            if to.is_dir():
                to = to / "index.html"
            known = {one.resolve(): names for one, names in ids.items()}
            if not to.exists():
                found.append(f"{where}: {link} leads nowhere")
            elif anchor and to in known and anchor not in known[to]:
                found.append(f"{where}: {link} names no place on that page")
    return sorted(set(found))


def main() -> int:
    """Build, check, and say how many pages there are."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--no-gallery", action="store_true", help="leave out the executed reports: quick")
    gallery = not asked.parse_args().no_gallery
    stage_pages(gallery)
    if gallery:
        make_gallery()
    told = [*build(), *faults(SITE)]
    for line in told:
        print(line, file=sys.stderr)
    print(f"{len(list(SITE.rglob('*.html')))} pages, {len(told)} faults: {SITE / 'index.html'}")
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
