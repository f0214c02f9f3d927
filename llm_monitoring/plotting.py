"""The look of every figure: colours by role, series, named rows, change marks, axes, and a figure as inline SVG.

before = blue, hollow circle; now, worse, alarm = vermilion, filled diamond; better = green; undecided = grey, hollow.
Never colour alone: shape, dash or a word says the same, so that a figure can be read in grey. Every figure fits 400
pixels. Pyplot is imported inside the functions, never with the module.
"""

from __future__ import annotations

import io
import itertools
import re
import textwrap
import warnings
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import numpy as np

from llm_monitoring.wording import one_line

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
SERIES_COLOURS, SERIES_MARKS = (BLUE, VERMILION, GREEN, AMBER, INK), ("o", "s", "D", "^", "v", "P", "X")
SERIES_DASHES = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1, 2)))
MOST_LINES = 8  # series of a figure: more cannot be told apart
SOFT: Any = {"fc": PAPER, "ec": "none", "alpha": 0.8, "pad": 1.5}  # ground under words that lie over lines
CENTRE: Any = (0, (2, 2))  # dots of a centre line
LETTER = 0.58  # mean width of a letter, in font sizes
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
    """Break title and label of the x axis into lines that the axes can hold beside the names of their rows."""
    names = max((len(label.get_text()) for label in ax.get_yticklabels()), default=0)
    place = ax.get_subplotspec()  # axes that have the figure to themselves will be laid out wider than they are
    alone = place is not None and place.get_gridspec().get_geometry() == (1, 1)
    whole = ax.figure.get_size_inches()[0] * 72
    room = min(0.9 * whole if alone else size_of(ax)[0], whole - LETTER * names * 12)
    for text, wide in ((ax.title, 0.66), (ax._left_title, 0.66), (ax.xaxis.label, LETTER)):
        text.set_parse_math(False)  # of axes that were made elsewhere
        words = text.get_text()
        letters = max(int(room / (wide * text.get_fontsize())), 12)
        if len(words) > letters:
            text.set_text("\n".join(textwrap.wrap(words.replace("\n", " "), letters)))


def percent(ax, axis: str = "y"):
    """Write the ticks of an axis of shares as percent; a tick of 2.5 % keeps its half."""
    from matplotlib.ticker import AutoLocator, FuncFormatter, MaxNLocator

    def say(share: float, _: int) -> str:
        return f"{round(100 * share, 2):g} %".replace("-", "\u2212")

    side = getattr(ax, f"{axis}axis")
    side.set_major_formatter(FuncFormatter(say))
    if axis == "x" and isinstance(side.get_major_locator(), AutoLocator):
        side.set_major_locator(MaxNLocator(int(np.clip(size_of(ax)[0] / 60, 2, 8)), steps=[1, 2, 2.5, 5, 10]))


def series(number: int) -> dict[str, Any]:
    """Colour, mark and dash of one of several lines: no two of the first 35 alike, the first four also without marks.

    >>> series(0)["marker"], series(1)["marker"], series(0)["linestyle"]
    ('o', 's', '-')
    """
    several = (SERIES_COLOURS, SERIES_MARKS, SERIES_DASHES)
    return dict(zip(("color", "marker", "linestyle"), (one[number % len(one)] for one in several), strict=True))


def key_below(ax, most: int = 3, title: str | None = None) -> None:
    """What each series is called, under the label of the x axis: within the axes it would hide what is drawn."""
    from matplotlib.transforms import ScaledTranslation

    wrap_words(ax)
    handles, names = ax.get_legend_handles_labels()
    if not names:
        return
    columns = int(np.clip(size_of(ax)[0] / (LETTER * 12 * max(map(len, names)) + 48), 1, most))
    lines = ax.get_xlabel().count("\n") + 1 if ax.get_xlabel() else 0
    down = (24 if len(ax.get_xticks()) else 8) + 16 * lines
    below = ax.transAxes + ScaledTranslation(0, -down / 72, ax.figure.dpi_scale_trans)
    ax.legend(
        handles, names, frameon=False, loc="upper left", bbox_to_anchor=(0, 0), bbox_transform=below, ncols=columns,
        borderaxespad=0, borderpad=0, title=title, alignment="left", handlelength=3,
        labelspacing=0.3, fontsize=12 if size_of(ax)[0] > 400 else 11,
    )  # fmt: skip


def nothing(ax, words: str) -> None:
    """In place of a figure without information: the words, and no empty axes."""
    ax.axis("off")
    letters = max(int(size_of(ax)[0] / (LETTER * 12)), 12)
    said = ax.text(0, 0.5, "\n".join(textwrap.wrap(words, letters)), transform=ax.transAxes, va="center")
    said.set_in_layout(False)


def name_rows(ax, names: Sequence[str], longest: int = 44) -> None:
    """Names of the rows 0, 1, ... upward: left of the axes, or above each row where there is no room beside them."""
    room = ax.figure.get_size_inches()[0] * 72
    names = [one_line(name, longest) for name in names]
    aside = LETTER * 12 * max(map(len, names), default=0) < room / (2 if room > 400 else 3)
    ax.set_ylim(-0.6, len(names) - (0.4 if aside else 0.15))
    ax.grid(False)
    ax.grid(True, axis="x")
    if aside:
        ax.set_yticks(range(len(names)), names)
        ax.tick_params(axis="y", labelcolor=INK)
        for label in ax.get_yticklabels():
            label.set_parse_math(False)
        return
    ax.set_yticks([])
    for y, name in enumerate(names):
        ax.annotate(
            one_line(name, int(room / (LETTER * 12))), (0, y), (0, 7), xycoords=ax.get_yaxis_transform(),
            textcoords="offset points", va="bottom", color=INK,
        )  # fmt: skip


def rows_that_fit(ax, wide: float = 18, narrow: float = 32) -> int:
    """How many named rows axes of this size can hold; a name above its row needs more room."""
    width, height = size_of(ax)
    return max(int(height / (wide if width > 400 else narrow)), 1)


def before_and_now(ax, names: Sequence[str], before: Iterable[float], now: Iterable[float], change=None) -> None:
    """A named row for each pair of shares: before (hollow circle), now (diamond); `change`: ends of its interval, a band."""
    for y, (was, is_) in enumerate(zip(before, now, strict=True)):
        if change is not None:
            ends = np.clip(np.asarray(change[y], float), 0, 1)
            ax.plot(ends, [y, y], color=VERMILION, lw=5, alpha=0.25, solid_capstyle="butt")
        ax.plot([was, is_], [y, y], color=VERMILION, lw=1)
        ax.plot(is_, y, "D", color=VERMILION, mec=PAPER, mew=0.8, ms=7, clip_on=False, zorder=3)
        ax.plot(was, y, "o", mfc="none", mec=BLUE, mew=1.4, ms=9, clip_on=False, zorder=4)  # seen where both are alike
    low, high = ax.get_xlim()
    wider = max(0.2 - (high - low), 0) / 2  # shares that hardly differ look so
    ax.set_xlim(max(low - wider, -0.03), min(high + wider, 1.03))
    name_rows(ax, names)
    percent(ax, "x")


def settle(ax) -> None:
    """Lay the figure out now, so that what is placed by the size of the axes stays where it was placed."""
    wrap_words(ax)
    engine = ax.figure.get_layout_engine()
    if engine is not None:
        engine.execute(ax.figure)


def call_out(
    ax,
    spots: Sequence[tuple[Any, float]],
    words: str,
    colour: str,
    taken: list | None = None,
    weight: str = "bold",
    reach: int = 2,
):
    """Words beside one of some points, on the side where they hide least of the lines, on a soft ground.

    `taken` collects the boxes of such words (in pixels), so that several do not lie on one another; `reach` is how many
    heights of the words they may stand above or below the point. Of points that are as good the first is taken.
    """
    pixel = ax.figure.dpi / 72
    said = ax.annotate(
        words, spots[0], (0, 0), textcoords="offset points", va="center", color=colour, weight=weight, zorder=6
    )
    said.set_in_layout(False)
    measured = said.get_window_extent()
    wide, tall, near = measured.width + 4 * pixel, measured.height + 2 * pixel, 3 * pixel  # half a mark
    left, bottom = ax.transAxes.transform((0, 0))
    right, top = ax.transAxes.transform((1, 1))
    ax.get_xlim(), ax.get_ylim()  # limits that wait for what was drawn are set before anything is placed
    drawn = _on_lines(ax)
    best: tuple[float, Any] | None = None
    levels = sorted(np.arange(-reach, reach + 0.5, 0.5), key=abs)
    sides = [side * away for away in (1, 2, 4) for side in (-1, 1)]  # farther, where a line passes close by
    tried = ((k, side, level) for k in range(len(spots)) for side in (*sides, 0) for level in levels if side or level)
    places = [ax.transData.transform((ax.convert_xunits(x), ax.convert_yunits(y))) for x, y in spots]
    for k, side, level in tried:
        x, y = places[k]
        dx, dy = 12 * side * pixel, 0.9 * tall * level
        low_x = x + dx - wide * (1 - np.sign(side)) / 2
        box = (low_x, y + dy - tall / 2, low_x + wide, y + dy + tall / 2)
        beside = (drawn[:, 0] > box[0]) & (drawn[:, 0] < box[2])
        inside = beside & (drawn[:, 1] > box[1] - near) & (drawn[:, 1] < box[3] + near)
        out = max(left - box[0], 0) + max(box[2] - right, 0) + max(bottom - box[1], 0) + max(box[3] - top, 0)
        over = sum(box[0] < o[2] and o[0] < box[2] and box[1] < o[3] and o[1] < box[3] for o in taken or [])
        cost = inside.sum() + 20 * out + 500 * over + 2 * abs(level) + max(abs(side) - 1, 0) + k / len(spots)
        if best is None or cost < best[0]:
            best = cost, (box, k, (dx / pixel, dy / pixel), ("right", "center", "left")[int(np.sign(side)) + 1])
    box, chosen, away, align = best[1]  # type: ignore[index]
    if taken is not None:
        taken.append(box)
    said.xy, said.xyann = spots[chosen], away
    said.set(ha=align, bbox=SOFT)
    return said


def _on_lines(ax) -> np.ndarray:
    """Points in pixels along every line of the axes."""
    found = [np.empty((0, 2))]
    for line in ax.lines:
        at = line.get_transform().transform(np.asarray(line.get_xydata(), float))
        found += [at] * (
            20 if line.get_marker() not in ("None", "", None) else 4
        )  # a mark counts more than the way between
        for one, other in itertools.pairwise(at) if line.get_linestyle() != "None" else ():
            steps = int(np.nan_to_num(np.abs(other - one), nan=0, posinf=0, neginf=0).max() // 6)
            share = np.linspace(0, 1, min(steps, 400) + 2)[1:-1, None]
            found.append((1 - share) * one + share * other)
    points = np.concatenate(found)
    return points[np.isfinite(points).all(axis=1)]


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
    ax.plot(at, numbers["center"], color=MUTE, lw=1, ls=CENTRE)
    ax.plot(at, numbers["value"], color=BLUE, lw=0.8, alpha=0.45)
    ax.plot(at, numbers["statistic"], color=BLUE, lw=1.4)
    ax.plot(at[alarm], numbers["value"][alarm], "D", ms=5, mfc=VERMILION, mec=PAPER, zorder=4, clip_on=False)


def mark_change(ax, when, words: str, height: float = 1.0, side: str = "left", taken: list | None = None):
    """A recorded change: a dashed line, and its words at `height` of the axes, left or right of it; see `call_out`."""
    ax.axvline(when, color=INK, lw=1, ls=(0, (4, 3)))
    away, down = 5 if side == "left" else -5, 0
    if taken is not None:
        x, y = ax.transData.transform((ax.convert_xunits(when), 0))[0], ax.transAxes.transform((0, height))[1]
        pixel = ax.figure.dpi / 72
        wide = away * pixel + (1 if side == "left" else -1) * LETTER * 12 * len(words) * pixel
        start, end = min(x, x + wide), max(x, x + wide)
        while any(start < o[2] and o[0] < end and y - 15 * pixel < o[3] and o[1] < y for o in taken):
            y, down = y - 15 * pixel, down - 15
        taken.append((start, y - 15 * pixel, end, y))
    ax.annotate(
        words,
        (when, height),
        xycoords=("data", "axes fraction"),
        xytext=(away, down),
        textcoords="offset points",
        ha=side,
        va="top",
        color=INK,
        bbox=SOFT,
        zorder=6,
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
