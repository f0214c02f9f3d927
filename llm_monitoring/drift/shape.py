"""The form of texts, apart from what they mean: length, language, format. Each has a p-value of its own."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.drift.two_sample import at_least
from llm_monitoring.intervals import bootstrap, newcombe
from llm_monitoring.plotting import axes, before_and_now, nothing, rows_that_fit
from llm_monitoring.results import Result
from llm_monitoring.wording import listed

if TYPE_CHECKING:
    import pandas as pd

COMMON_WORDS = {
    "en": "the a an and of to in is it that you for on with this are be have not what how why can do my i was",
    "de": "der die das und ist nicht ich zu ein eine wie mit auf für sie es den dem von kann mein meine ihre wir auch",
    "fr": "le la les et est je un une des que pour pas vous dans mon ma comment du ce avec sur ne au votre où",
    "es": "el la los las y es un una que de para no por con mi cómo se lo su del en está puedo qué tu",
    "it": "il lo la gli e è un una che di per non con mio mia come si del della sono ho posso questo nel alla",
    "pt": "o os as e é um uma que de para não com meu minha como se do da no na por está eu posso você",
    "nl": "de het een en is niet ik van te dat op met voor mijn hoe kan zijn je u er aan wat maar ook heb",
    "sv": "och är det att en ett jag inte på som för med av den hur kan min mitt vad har till om vi från",
    "pl": "i w nie na się jest to że z do jak mój moje czy co za o po jestem mam mogę dla od tak",
    "tr": "bir ve bu ne için ile nasıl mi de da değil var benim çok ben daha gibi mı olarak ama neden şu kadar en",
}
_WORDS = {language: set(words.split()) for language, words in COMMON_WORDS.items()}
_SCRIPTS = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh",
    "CYRILLIC": "ru",
    "GREEK": "el",
    "HEBREW": "he",
    "ARABIC": "ar",
    "DEVANAGARI": "hi",
    "THAI": "th",
}
_LIST_LINE = r"^[ \t]*(?:[-*•]|\d{1,4}[.)])[ \t].*"
FORMATS = (  # every pattern takes a number of steps in proportion to the text, whatever the text repeats
    (
        "code",
        re.compile(r"```|^[ \t]*(?:def |class |import |#include|SELECT |function |const |public )|[;{}][ \t]*$", re.M),
    ),
    ("markup", re.compile(r"</?[a-zA-Z][^<>]*>")),
    ("link", re.compile(r"https?://|www\.")),
    ("list", re.compile(rf"{_LIST_LINE}\n{_LIST_LINE[1:]}", re.M)),
)


def guess_language(text: str) -> str | None:
    """Language of a text by script and commonest words, as ISO 639-1 code; None where too little tells.

    Knows en, de, fr, es, it, pt, nl, sv, pl, tr by words and ja, ko, zh, ru, el, he, ar, hi, th by script (other
    languages of these scripts pass for them).

    >>> guess_language("Wo ist meine Bestellung und wann kommt sie an?"), guess_language("OK")
    ('de', None)
    """
    text = text[:2_000]
    foreign = Counter(
        language
        for char in text
        if ord(char) > 0x36F and char.isalpha() and (language := _SCRIPTS.get(unicodedata.name(char, "").split(" ")[0]))
    )
    letters = sum(map(str.isalpha, text))
    if foreign and sum(foreign.values()) > 0.3 * letters:
        return "ja" if foreign["ja"] else foreign.most_common(1)[0][0]
    words = re.findall(r"[^\W\d_]+", text.casefold())
    hits = {language: sum(word in known for word in words) for language, known in _WORDS.items()}
    first, second = sorted(hits, key=lambda language: -hits[language])[:2]
    return first if hits[first] > hits[second] else None


def format_of(text: str) -> str:
    """Form of a text: json, code, markup, link, list, lines, question, statement (3 words and more), keywords.

    >>> format_of("Where is it?"), format_of('{"a": 1}'), format_of("refund policy")
    ('question', 'json', 'keywords')
    """
    text = text[:4_000].strip()
    if text[:1] in ("[", "{") and text[-1:] in ("]", "}"):
        return "json"
    for name, pattern in FORMATS:
        if pattern.search(text):
            return name
    if "\n" in text:
        return "lines"
    if text.endswith(("?", "？")):
        return "question"
    return "statement" if len(text.split()) > 2 else "keywords"


@dataclass(frozen=True, repr=False)
class ShapeResult(Result):
    """Length, language and format of the queries, before and now, each with its own permutation p-value.

    Attributes
    ----------
    rows : list of dict
        feature (length, language, format), value (characters in the median, or the name of a kind), before, after
        (median, or shares), low, high (95 % interval of the change), p_value (of the whole feature).
    p_values : dict
        feature -> p-value. Three tests: divide alpha by three where one false alarm in all is to count.
    n_reference, n_current : int
    alpha : float
    """

    rows: list[dict[str, Any]]
    p_values: dict[str, float | None]
    n_reference: int
    n_current: int
    alpha: float = 0.05

    @property
    def headline(self) -> str:
        if not self.p_values:
            why = "no texts were given, or too few"
            return f"The form could not be compared ({why}; {self.n_current:,} queries against {self.n_reference:,})."
        changed = [name for name, p in self.p_values.items() if p is not None and p <= self.alpha / len(self.p_values)]
        p_values = ", ".join(
            f"{name} p = {'unknown' if p is None else f'{p:.3g}'}" for name, p in self.p_values.items()
        )
        said = f"{listed(changed)} changed" if changed else "No change of form found"
        return f"{said[0].upper()}{said[1:]} ({p_values}; {self.n_current:,} queries against {self.n_reference:,})."

    def to_frame(self) -> pd.DataFrame:
        """One row per feature and value, before and after."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=["feature", "value", "before", "after", "low", "high", "p_value"])

    def plot(self, ax=None):
        """Shares of languages and formats before (circle) and now (diamond)."""
        shown = [row for row in self.rows if row["feature"] != "length"][::-1]
        with axes(ax, size=(8.4, 1.4 + 0.3 * max(len(shown), 1))) as ax:
            if not shown:
                nothing(ax, self.headline)
                return ax
            shown = shown[-rows_that_fit(ax) :]
            names = [f"{row['feature']}: {row['value']}" for row in shown]
            before_and_now(ax, names, [row["before"] for row in shown], [row["after"] for row in shown])
            ax.set_xlabel("share of queries before (circle) and now (diamond)")
            ax.set_title("Form of the queries")
        return ax


def shape_of(comparison: Comparison | None, n_reference: int, n_current: int, alpha: float) -> ShapeResult:
    """Compare the form of the texts of a comparison; `DriftResult.shape` calls it."""
    if comparison is None or comparison.now.texts is None or comparison.before.texts is None:
        return ShapeResult([], {}, n_reference, n_current, alpha)
    texts = [comparison.text(row) for row in range(len(comparison.order))]
    length = np.array([len(text) for text in texts], float)
    language = np.array([guess_language(text) or "unknown" for text in texts])
    form = np.array([format_of(text) for text in texts])
    rows: list[dict[str, Any]] = []
    p_values: dict[str, float | None] = {}
    p_values["length"] = p = _p(_spread(length), comparison.labels)
    rows.append(_length_row(length, comparison.current, p))
    for name, values in (("language", language), ("format", form)):
        p_values[name] = p = _p(_kinds(values), comparison.labels)
        rows += _share_rows(name, values, comparison.current, p)
    return ShapeResult(rows, p_values, n_reference, n_current, alpha)


def _spread(length: np.ndarray) -> np.ndarray:
    """Centred ranks and their squares: a move of the middle, or of the spread, shows in the sums."""
    from scipy.stats import rankdata

    rank = rankdata(length) / len(length) - 0.5
    columns = np.stack([rank, rank**2 - (rank**2).mean()], axis=1)
    return columns / np.where(columns.std(axis=0) > 0, columns.std(axis=0), 1)


def _kinds(values: np.ndarray) -> np.ndarray:
    """One column per kind, scaled so that the sum of squared sums is Pearson's chi-square but for a factor."""
    kinds, code = np.unique(values, return_inverse=True)
    share = np.bincount(code) / len(code)
    return (np.eye(len(kinds))[code] - share) / np.sqrt(share)


def _p(columns: np.ndarray, labels: np.ndarray) -> float:
    statistic = np.concatenate([((labels[i : i + 50] @ columns) ** 2).sum(axis=1) for i in range(0, len(labels), 50)])
    return float(at_least(statistic, statistic[:1])[0])


def _length_row(length: np.ndarray, current: np.ndarray, p: float) -> dict[str, Any]:
    now, before = (bootstrap(length[side], np.median) for side in (current, ~current))
    half = np.hypot(now.high - now.low, before.high - before.low) / 2
    change = now.estimate - before.estimate
    values = ["length", "median characters", before.estimate, now.estimate, change - half, change + half, p]
    return dict(
        zip(["feature", "value", "before", "after", "low", "high", "p_value"], map(_plain, values), strict=True)
    )


def _share_rows(name: str, values: np.ndarray, current: np.ndarray, p: float) -> list[dict[str, Any]]:
    rows = []
    for kind, _ in Counter(values.tolist()).most_common():
        k, m = int((values[current] == kind).sum()), int(current.sum())
        k0, n = int((values[~current] == kind).sum()), int((~current).sum())
        change = newcombe(k0, n, k, m)
        row = {"feature": name, "value": kind, "before": k0 / n, "after": k / m}
        rows.append(row | {"low": change.low, "high": change.high, "p_value": p})
    return rows


def _plain(value: Any) -> Any:
    return float(value) if isinstance(value, np.floating) else value
