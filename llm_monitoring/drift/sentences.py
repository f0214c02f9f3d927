"""What is said of a topic that moved: how many questions, what they have in common, how many there were before."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from llm_monitoring.drift.shape import format_of, guess_language
from llm_monitoring.wording import one_line

SHARED_BY = 0.8  # share of a topic's questions that have a form in common at least
ELSEWHERE = 0.1  # share of all others that have it at most
LANGUAGES = {
    "en": "English", "de": "German", "fr": "French", "es": "Spanish", "it": "Italian", "pt": "Portuguese",
    "nl": "Dutch", "sv": "Swedish", "pl": "Polish", "tr": "Turkish", "ja": "Japanese", "ko": "Korean",
    "zh": "Chinese", "ru": "Russian", "el": "Greek", "he": "Hebrew", "ar": "Arabic", "hi": "Hindi",
    "th": "Thai",
}  # fmt: skip
FORMATS = {
    "markup": ("hold HTML or XML tags", "did"),
    "json": ("are JSON", "were"),
    "code": ("hold code", "did"),
    "link": ("hold a link", "did"),
    "list": ("hold a list", "did"),
}


class Form(NamedTuple):
    """What the questions of a topic have in common that few others have, apart from words.

    Attributes
    ----------
    said : str
        "are in German", "are empty", "hold HTML or XML tags".
    verb : str
        "were" or "did", as the earlier questions, many of them, continue `said`.
    before : float
        Share of all earlier questions of this form.
    worded : bool
        Whether the topic's words say something beside it.
    """

    said: str
    verb: str
    before: float
    worded: bool = False


def common_form(own: Sequence[str], others: Sequence[str], before: Sequence[str]) -> Form | None:
    """The form that most of a topic's own texts share and few others have; None where there is none.

    >>> common_form(["wo ist mein Paket", "wie ist das Wetter"], ["where is it"], ["where is it", "is it open"]).said
    'are in German'
    """
    for said, verb, has, worded in _forms(own):
        if _share(own, has) >= SHARED_BY and _share(others, has) <= ELSEWHERE:
            return Form(said, verb, _share(before, has), worded)
    return _language(own, others, before)


def _language(own: Sequence[str], others: Sequence[str], before: Sequence[str]) -> Form | None:
    """The language, of the texts that show one; half of a topic's own must."""
    sides = [[language for text in side if (language := guess_language(text))] for side in (own, others)]
    if 2 * len(sides[0]) < len(own):
        return None
    language, count = Counter(sides[0]).most_common(1)[0]
    if count < SHARED_BY * len(sides[0]) or sides[1].count(language) > ELSEWHERE * len(sides[1]):
        return None
    share = _share(before, lambda text: guess_language(text) == language)
    return Form(f"are in {LANGUAGES[language]}", "were", share, worded=True)


def _forms(own: Sequence[str]) -> list[tuple[str, str, Callable[[str], bool], bool]]:
    """Forms that the texts may share, the plainest first."""
    text, _ = Counter(_plain(text) for text in own).most_common(1)[0]
    form, _ = Counter(format_of(text) for text in own).most_common(1)[0]
    forms: list[tuple[str, str, Callable[[str], bool], bool]] = [
        ("are empty", "were", lambda other: not other.strip(), False),
        ("are one and the same text", "were", lambda other: _plain(other) == text, False),
    ]
    if form in FORMATS:
        forms.append((*FORMATS[form], lambda other: format_of(other) == form, False))
    forms.append(("hold no letters", "did", lambda other: not any(map(str.isalpha, other)), False))
    forms.append(("are in capitals", "were", lambda other: other.isupper(), True))
    return forms


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()


def _share(texts: Sequence[str], has: Callable[[str], bool]) -> float:
    return float(np.mean([has(text) for text in texts])) if len(texts) else 0.0


def topic_sentence(topic: Any, form: Form | None, looked_after: int, diffuse: bool = False) -> str:
    """One sentence on a row of the topics: how many questions, about what, and how many there were before.

    `diffuse` where the questions have nothing in common but to be far from all earlier ones.
    """
    words, before = ", ".join(topic["words"][:3]), percent(topic["share_before"])
    of_all = f"of {looked_after:,} questions"
    if topic["kind"] == "shrank":
        about = f"about {words or 'a topic without words of its own'}"
        if form:
            about = form.said.removeprefix("are ").replace("hold no", "without").replace("hold", "with")
        if not topic["n_after"]:
            return f"None {of_all} (before: {before}) is any longer {about}."
        left = f"{topic['n_after']:,} {of_all} ({percent(topic['share_after'])}, before: {before})"
        return f"Only {left} are still {about}."
    share = percent(topic["share_after"])
    counted = f"{topic['n_after']:,} {of_all} ({share}"
    if form:
        known = f"{percent(form.before)} {form.verb}" if form.before else f"none {form.verb}"
        often = f", often with the words {words}" if words and form.worded else ""
        return f"{counted}) {form.said}{often}; of all earlier questions {known}."
    if diffuse:
        return f"{counted}, before: {before}) are farther from the usual questions than most, each in its own way."
    if topic["kind"] == "grew":
        about = f"now ask about {words}" if words else "are of a kind that was known before, with no words in common"
        return f"{counted}, before: {before}) {about}."
    if not words:
        rare = f"was rare before ({before})" if topic["n_before"] else "was not there before"
        return f"{counted}) are of a kind that {rare}, with no words in common."
    near = (
        f"{before} of the earlier questions come near it" if topic["n_before"] else "no earlier question came near it"
    )
    return f"{counted}) are about {words}: a new topic ({near})."


def example(topic: Any) -> str:
    """One question of the topic, quoted."""
    text = one_line(topic["examples"][0], 100)
    return f" For example: “{text}”" if text.strip() else ""


def percent(share: float) -> str:
    """A share in percent; with a decimal near none and near all, so that neither is said of some.

    >>> [percent(share) for share in (0, 0.0001, 0.021, 0.25, 0.995, 1)]
    ['0 %', 'under 0.1 %', '2.1 %', '25 %', '99.5 %', '100 %']
    """
    if 0 < share < 0.0005:
        return "under 0.1 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.095 or 0.99 < share < 1 else f"{100 * share:.0f} %"
