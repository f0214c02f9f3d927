"""Numbers, times and probabilities as people read them: units, real minus signs, no -0, never a probability of 0 or 1."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from llm_monitoring.measures import is_known, measure

NBSP, MINUS = "\u00a0", "\u2212"


def number(value: float | None, digits: int = 0, sign: bool = False) -> str:
    """A number with thousands separated, a real minus sign and no -0; ``unknown`` where there is none.

    >>> number(-0.04, 1), number(1234.5, 0, sign=True), number(None)
    ('0.0', '+1,234', 'unknown')
    """
    if value is None or not math.isfinite(value):
        return "unknown"
    text = f"{abs(value):,.{digits}f}"
    zero = not any(mark in "123456789" for mark in text)
    front = "" if zero else MINUS if value < 0 else "+" if sign else ""
    return front + text


def rounded(value: float, digits: int = 2) -> str:
    """A number to so many digits that count, never as a power of ten.

    >>> rounded(100.0), rounded(1234.5), rounded(0.0123), rounded(0.291)
    ('100', '1,200', '0.012', '0.29')
    """
    if not value or not math.isfinite(value):
        return number(value)
    places = digits - 1 - math.floor(math.log10(abs(value)))
    short = round(value, places)
    return number(short, max(digits - 1 - math.floor(math.log10(abs(short))), 0))


def amount(value: float | None, unit: str, like: float | None = None) -> str:
    """A level with its unit: share, score, ms, usd, count, or a unit of your own.

    Parameters
    ----------
    like : float, optional
        Another level of the same sentence: where its unit is USD or seconds, so is this one's.

    >>> [amount(*pair).replace(NBSP, " ") for pair in [(0.67, "share"), (3.412, "score"), (1700, "ms"), (0.0042, "usd")]]
    ['67 %', '3.41', '1.7 s', '0.42 ct']
    >>> amount(0, "count"), amount(0.5, "count")
    ('0', '0.50')
    >>> amount(0.0124, "usd").replace(NBSP, " "), amount(0.124, "usd").replace(NBSP, " ")
    ('0.012 USD', '0.12 USD')
    >>> amount(0.0042, "usd", like=0.021).replace(NBSP, " "), amount(2600, "ms", like=900).replace(NBSP, " ")
    ('0.0042 USD', '2,600 ms')
    """
    if value is None or not math.isfinite(value):
        return "unknown"
    if unit == "share":
        digits = 1 if 0 < abs(value) < 0.1 else 0
        return f"{number(100 * value, digits)}{NBSP}%"
    if unit == "score":
        return number(value, 2)
    if unit in ("ms", "usd"):
        named, text = _sized(value, unit, like)
        return f"{text}{NBSP}{named}"
    text = number(value, 0 if abs(value) >= 100 or not value else 1 if abs(value) >= 1 else 2)
    return text if unit in PLAIN_UNITS else f"{text}{NBSP}{unit}"


def in_large_unit(value: float, unit: str) -> bool:
    """Whether milliseconds are written as seconds, and money as USD, not as ct."""
    return abs(value) >= (1000 if unit == "ms" else 0.01)


def _sized(value: float, unit: str, like: float | None = None, sign: bool = False) -> tuple[str, str]:
    """Milliseconds or USD: the unit that `like` (else the value) is written in, and the value in it."""
    lead = value if like is None or not math.isfinite(like) else like
    large = in_large_unit(lead, unit)
    if unit == "ms":
        named, size, digits = ("s", value / 1000, 1) if large else ("ms", value, 0)
    else:
        named, size, digits = ("USD", value, 2) if large else ("ct", 100 * value, 2)
    if named in ("s", "USD") and 0 < abs(size) < (1 if named == "s" else 0.1):  # two figures that count
        digits = min(1 - math.floor(math.log10(abs(size))), 6)
    return named, number(size, digits, sign)


PLAIN_UNITS = ("count", "requests", "tokens", "p")


def difference(value: float | None, unit: str, like: float | None = None) -> str:
    """A change with its sign; shares change by points, scores by score points.

    >>> difference(0.64, "share").replace(NBSP, " "), difference(-1.2, "score").replace(NBSP, " ")
    ('+64 points', '−1.20 points')
    """
    if value is None or not math.isfinite(value):
        return "unknown"
    if unit in ("share", "score"):
        digits = 2 if unit == "score" else 0 if abs(value) >= 0.1 else 1
        return f"{number(100 * value if unit == 'share' else value, digits, sign=True)}{NBSP}points"
    text = amount(abs(value), unit, like)
    return text if not any(mark in "123456789" for mark in text) else ("+" if value > 0 else MINUS) + text


def span(low: float | None, high: float | None, unit: str, sign: bool = False, like: float | None = None) -> str:
    """An interval in brackets, both ends in one unit: that of `like`, the estimate that stands before it, where given.

    >>> span(0.57, 0.75, "share").replace(NBSP, " "), span(850, 1700, "ms").replace(NBSP, " ")
    ('(57 to 75)', '(0.85 to 1.7 s)')
    >>> span(0.0041, 0.0166, "usd", like=0.0091).replace(NBSP, " ")
    '(0.41 to 1.66 ct)'
    """
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return "(too few for an interval)"
    if unit in ("share", "score"):
        scale, digits = (100, 0 if max(abs(low), abs(high)) >= 0.1 else 1) if unit == "share" else (1, 2)
        ends = [number(scale * end, digits, sign) for end in (low, high)]
    elif unit in ("ms", "usd"):
        lead = max(low, high, key=abs) if like is None or not math.isfinite(like) else like
        sized = [_sized(end, unit, lead, sign) for end in (low, high)]
        ends = [sized[0][1], f"{sized[1][1]}{NBSP}{sized[1][0]}"]
    else:
        ends = [difference(end, unit) if sign else amount(end, unit) for end in (low, high)]
    return f"({ends[0]}{NBSP}to{NBSP}{ends[1]})"


def probability(p: float | None) -> str:
    """A probability with two places, never 0 or 1.

    >>> probability(0.98765), probability(0.99999), probability(0.0002)
    ('0.99', '> 0.999', '< 0.001')
    """
    if p is None or not math.isfinite(p):
        return "unknown"
    if p > 0.999:
        return "> 0.999"
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p > 0.995 or p < 0.005 else f"{p:.2f}"


def likely(p: float) -> str:
    """A probability in words: almost certain .95, likely .8, more likely than not .5, possible .2, unlikely .05.

    >>> likely(0.97), likely(0.3)
    ('almost certain', 'possible')
    """
    words = (
        (0.95, "almost certain"),
        (0.8, "likely"),
        (0.5, "more likely than not"),
        (0.2, "possible"),
        (0.05, "unlikely"),
    )
    return next((word for limit, word in words if p >= limit), "very unlikely")


def moment(when, year: bool = False) -> str:
    """A time as ``28 Jun 00:03 UTC``, with the year on request.

    >>> moment("2023-06-28T00:03:00Z").replace(NBSP, " ")
    '28 Jun 00:03 UTC'
    """
    return _written(when, f"%-d{NBSP}%b{f'{NBSP}%Y' if year else ''}{NBSP}%H:%M{NBSP}UTC")


def day(when) -> str:
    """A date as ``27 June``.

    >>> day("2023-06-27T00:20:00Z").replace(NBSP, " ")
    '27 June'
    """
    return _written(when, f"%-d{NBSP}%B")


def _written(when, form: str) -> str:
    if when is None or pd.isna(when):
        return "unknown"
    return pd.Timestamp(when).tz_convert("UTC").strftime(form)


MARKS = str.maketrans(
    {"<": "\u2039", ">": "\u203a", "`": "\u02cb", "*": "\u2217", "~": "\u223c", "|": "\u00a6", "[": "(", "]": ")"}
)
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
UNSEEN = re.compile("[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]+")


def harmless(text: str) -> str:
    """A text on one line that a chat or a ticket shows as it is: no mention, no link, no Markdown, no HTML, no entity.

    Marks that would act are replaced by look-alikes; an `@`, a `://` or a `&` is parted from what follows by a space
    that nobody sees.

    >>> harmless("<b>@channel</b> *now* [here](https://x.test)\\n# top").replace("\\u2060", "|")
    '\u2039b\u203a@|channel\u2039/b\u203a \u2217now\u2217 (here)(https:|//x.test) # top'
    """
    line = " ".join(UNSEEN.sub(" ", str(text)).split(" ")).translate(MARKS)
    line = re.sub(r"[@&](?=\S)|:(?=//)|(?<=www)(?=\.)", lambda match: match[0] + "\u2060", line)
    line = re.sub(r"(?<!\w)_|_(?!\w)", "\u02cd", line)
    return re.sub(r"^(\s*)([#+=-]|!(?=\())", "\\1\u2060\\2", line)


def capital(words: str) -> str:
    """The words with a capital at their beginning; the rest as it stands."""
    return words[:1].upper() + words[1:]


def one_line(text: Any, most: int = 60) -> str:
    """A logged text on one line, without control characters and marks that turn the direction of writing, cut.

    >>> one_line("a  b\\nc"), one_line("search" * 20, 8)
    ('a b c', 'searchs…')
    """
    line = " ".join(CONTROL.sub(" ", str(text)).split())
    return line if len(line) <= most else line[: max(most - 1, 1)].rstrip() + "…"


def listed(words: list[str]) -> str:
    """Words as people list them.

    >>> listed(["triage", "scope", "isolate"])
    'triage, scope and isolate'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def cut(text: str, longest: int) -> str:
    """A text without lone surrogates, shortened where it is longer than anybody reads.

    >>> cut("ab" * 700, 3)
    'aba… (1,397 more characters in the log)'
    """
    more = f"… ({len(text) - longest:,} more characters in the log)" if len(text) > longest else ""
    return text[:longest].encode(errors="replace").decode() + more


def lasting(start, end) -> str:
    """The time from start to end in the unit that people would use: minutes, hours, from three days on days.

    >>> lasting("2023-06-27T00:00Z", "2023-06-28T00:03Z").replace(NBSP, " ")
    '24 h'
    """
    if start is None or end is None or pd.isna(start) or pd.isna(end):
        return "unknown"
    minutes = (pd.Timestamp(end) - pd.Timestamp(start)).total_seconds() / 60
    if abs(minutes) < 90:
        return f"{number(minutes)}{NBSP}min"
    hours = minutes / 60
    return f"{number(hours)}{NBSP}h" if abs(hours) < 72 else f"{number(hours / 24)}{NBSP}days"


def recovery_time(recovery: Mapping[str, Any]) -> str:
    """How far a recovery test is, as a time.

    >>> recovery_time({"recovered": None, "days": 2.4, "by": "2026-06-04T10:00Z", "fix": None}).replace(NBSP, " ")
    'a fix can be confirmed after about 3 days, by 4 June if fixed now'
    """
    if recovery.get("recovered") is not None:
        return "recovered" if recovery["recovered"] else "not recovered so far"
    if not recovery.get("days") or recovery.get("by") is None:
        return "no recovery test yet"
    long, quick = (_days(recovery.get(name)) for name in ("days", "days_if_all_judged"))
    quicker = f" ({quick} if every answer is judged)" if quick else ""
    if recovery.get("fix") is None:
        return f"a fix can be confirmed after about {long}{quicker}, by {day(recovery['by'])} if fixed now"
    return f"the fix can be confirmed after about {long}{quicker}, by {day(recovery['by'])}"


def _days(days: float | None) -> str:
    if days is None:
        return ""
    return "a day" if days <= 1 else f"{number(math.ceil(days))}{NBSP}days"


#: A cause that nobody recorded: in two words within a sentence, and as a line of its own.
UNRECORDED = {
    "silent": ("something unrecorded", "something that nobody recorded"),
    "judge": ("the judge", "the judge changed, not the answers"),
    "mix": ("other questions", "other questions came"),
    "none": ("chance", "chance: nothing changed"),
}


def cause_name(cause: str, recorded: bool) -> str:
    """A cause within a sentence: by its id, or in two words where nobody recorded it.

    >>> cause_name("chg-7", True), cause_name("none", False)
    ('chg-7', 'chance')
    """
    return UNRECORDED[cause][0] if not recorded and cause in UNRECORDED else cause


def cause_line(row: Mapping[str, Any]) -> str:
    """A cause as a line of its own: its id and what it was, or what it would be where nobody recorded it.

    >>> cause_line({"cause": "chg-7", "description": "prompt v7", "recorded": True})
    'chg-7: prompt v7'
    """
    if not row.get("recorded") and row["cause"] in UNRECORDED:
        return UNRECORDED[row["cause"]][1]
    description = row.get("description")
    return f"{row['cause']}: {description}" if description else str(row["cause"])


def metric_words(metric: str) -> str:
    """The metric's name in words; a dimension is ``mean correctness``.

    >>> metric_words("mean_correctness"), metric_words("flagged_rate"), metric_words("time_to_first_token")
    ('mean correctness', 'share of flagged answers', 'time to first token')
    """
    return measure(metric).words if is_known(metric) else metric.replace("_", " ")


def is_judged(metric: str) -> bool:
    """Whether a metric rests on judged answers.

    >>> is_judged("mean_tone"), is_judged("error_rate")
    (True, False)
    """
    return is_known(metric) and measure(metric).judged
