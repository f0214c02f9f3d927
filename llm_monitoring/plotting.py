"""The look of every figure: colours by role, change marks, axes, and a figure as inline SVG.

before = blue, hollow circle; now, worse, alarm = vermilion, filled diamond; better = green; undecided = grey, hollow.
Never colour alone: shape, dash or a word says the same. Pyplot is imported inside the functions, never with the module.
"""

from __future__ import annotations

import io
import re
import warnings
from contextlib import contextmanager
from html import escape
from typing import Any

INK, MUTE, RULE, BAND, PAPER = "#1b1f24", "#5b6570", "#c9d0d6", "#e9edf0", "#fefefe"
BLUE, VERMILION, GREEN, AMBER = "#0072b2", "#d55e00", "#009e73", "#e69f00"  # Okabe and Ito
ROLES = {
    INK: "ink",
    MUTE: "mute",
    RULE: "rule",
    BAND: "band",
    PAPER: "paper",
    BLUE: "before",
    VERMILION: "now",
    GREEN: "good",
    AMBER: "warn",
}
TONE = {"worse": VERMILION, "better": GREEN}
STYLE: Any = {
    "text.parse_math": False,  # logged text may hold dollar signs
    "svg.fonttype": "none",
    "svg.hashsalt": "llm_monitoring",
    "font.family": "sans-serif",
    "font.sans-serif": ["Liberation Sans", "Arial", "DejaVu Sans"],
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTE,
    "axes.linewidth": 1,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.titlesize": 13,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": MUTE,
    "ytick.color": MUTE,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "lines.linewidth": 1.6,
}


@contextmanager
def axes(ax=None, size=(8.4, 3.2), filled: bool = False):
    """The axes given, or new ones in the house style (`filled`: over the whole figure); global settings stay as they were.

    Used as ``with axes(ax) as ax:`` by every ``plot`` method, which then returns `ax`.
    """
    from matplotlib import rc_context

    if ax is None:  # pyplot is for figures of its own: a figure made as SVG must not choose the backend of a notebook
        from matplotlib import pyplot as plt

        plt.draw_if_interactive()  # chooses the backend: chosen within the context, its settings would end with it
    with rc_context(STYLE):
        if ax is None:
            figure, ax = plt.subplots(figsize=size, layout="none" if filled else "constrained")
            if filled:
                ax.set_position((0.02, 0.04, 0.96, 0.94))
            figure.set_facecolor("white")
        yield ax
        wrap_words(ax)


def size_of(ax) -> tuple[float, float]:
    """Width and height of the axes in points: 72 are an inch."""
    extent = ax.get_window_extent()
    return extent.width * 72 / ax.figure.dpi, extent.height * 72 / ax.figure.dpi


def wrap_words(ax) -> None:
    """Break title and label of the x axis into lines that the figure can hold."""
    import textwrap

    room = ax.figure.get_size_inches()[0] * 72
    for text, share in ((ax.title, 0.72), (ax._left_title, 0.72), (ax.xaxis.label, 0.78)):  # the rest is for the y axis
        words = text.get_text()
        letters = max(int(share * room / (0.58 * text.get_fontsize())), 12)
        if len(words) > letters:
            text.set_text("\n".join(textwrap.wrap(words.replace("\n", " "), letters)))


def percent(ax, axis: str = "y"):
    """Write the ticks of an axis of shares as percent; a tick of 2.5 % keeps its half."""
    from matplotlib.ticker import FuncFormatter

    getattr(ax, f"{axis}axis").set_major_formatter(FuncFormatter(lambda share, _: f"{round(100 * share, 2):g} %"))


def days(ax, span, most: int = 8):
    """Dates on the x axis as ``12 May``, or with hours where the whole span (a Timedelta) is under three days; as many as fit."""
    from matplotlib import dates
    from matplotlib.ticker import MultipleLocator

    wide = span.total_seconds() / 86400
    steps = [hours / 24 for hours in (1, 2, 3, 6, 12)] + [1, 2, 4, 7, 14, 28, 91, 182, 364]
    room = {
        False: min(most, int(size_of(ax)[0] / 48)),
        True: min(most, int(size_of(ax)[0] / 86)),
    }  # of hours: long labels
    step = next(
        (step for step in steps if wide / step <= max(room[step < 1], 2) and (step >= 1 or wide <= 3)), wide / 2
    )
    ax.xaxis.set_major_locator(MultipleLocator(step))
    ax.xaxis.set_major_formatter(dates.DateFormatter("%-d %b" if step >= 1 else "%-d %b %H:%M"))


def small_chart(ax, at, numbers, alarm) -> None:
    """A control chart small enough to stand among others: `numbers` has the limits, the centre, the values and what is watched."""
    ax.fill_between(at, numbers["lower"], numbers["upper"], color=BAND, lw=0)
    ax.plot(at, numbers["center"], color=MUTE, lw=0.8)
    ax.plot(at, numbers["value"], color=BLUE, lw=0.8, alpha=0.45)
    ax.plot(at, numbers["statistic"], color=BLUE, lw=1.4)
    ax.plot(at[alarm], numbers["value"][alarm], "D", ms=5, mfc=VERMILION, mec=PAPER, zorder=4, clip_on=False)


def mark_change(ax, when, words: str, height: float = 1.0, side: str = "left"):
    """A recorded change: a dashed line, and its words at `height` of the axes, left or right of it."""
    ax.axvline(when, color=INK, lw=1, ls=(0, (4, 3)))
    away = 5 if side == "left" else -5
    ax.annotate(
        words,
        (when, height),
        xycoords=("data", "axes fraction"),
        xytext=(away, 0),
        textcoords="offset points",
        ha=side,
        va="top",
        color=INK,
    )


def svg(
    draw,
    ident: str,
    title: str,
    description: str,
    size: tuple[int, int],
    margins: tuple[int, int, int, int],
    css: str = "",
) -> str:
    """Draw on axes of a fixed pixel size and return accessible inline SVG: same input, same bytes.

    Parameters
    ----------
    draw : callable
        Takes the axes.
    ident : str
        Prefix of the ids within the page, unique on it.
    title, description : str
        What a screen reader says.
    size : (width, height) in CSS pixels
    margins : (left, top, right, bottom) in CSS pixels
    css : str
        Class of the svg element.

    Colours become CSS variables by role (``var(--now)``), so that one SVG serves light, dark and print.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    width, height = size
    left, top, right, bottom = margins
    with rc_context({**STYLE, "figure.dpi": 72, "savefig.dpi": 72}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the browser has other fonts
        figure = Figure(figsize=(width / 72, height / 72))
        draw(figure.add_axes((left / width, bottom / height, 1 - (left + right) / width, 1 - (top + bottom) / height)))
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return (
        f'<svg class="{css}" role="img" aria-labelledby="{ident}-t {ident}-d" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><title id="{ident}-t">{escape(title)}</title>'
        f'<desc id="{ident}-d">{escape(description)}</desc>{_body(out.getvalue(), ident)}</svg>'
    )


def _body(text: str, ident: str) -> str:
    body = re.search(r"<svg[^>]*>(.*)</svg>", text, re.DOTALL).group(1)  # type: ignore[union-attr]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)

    def inside_tag(match: re.Match) -> str:
        tag = match[0]
        for colour, role in ROLES.items():
            tag = re.sub(colour, f"var(--{role})", tag, flags=re.IGNORECASE)
        if tag.startswith("<text"):
            tag = re.sub(r"var\(--(before|now|good)\)", r"var(--\1-ink)", tag)
        tag = re.sub(r"font: (?:(\w+) )?([\d.]+)px [^;\"]*", lambda m: f"font: {m[1] or 400} {m[2]}px var(--sans)", tag)
        tag = re.sub(r"font-family: [^;]*; ?", "", tag).replace(' transform="rotate(-0 ', ' transform="rotate(0 ')
        tag = re.sub(r'\bid="', f'id="{ident}-', tag)
        tag = re.sub(r'(href="#|url\(#)', rf"\g<1>{ident}-", tag)
        return re.sub(r"(\d+\.\d{2})\d+", r"\1", re.sub(r"\n\s*", "\n", tag))

    return re.sub(r"<[^>]*>", inside_tag, body).strip()
