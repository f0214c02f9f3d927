"""Words that tell a group of queries from all others, where there are any."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np

from llm_monitoring.drift.comparison import Comparison
from llm_monitoring.drift.shape import COMMON_WORDS
from llm_monitoring.intervals import wilson

MOST_ELSEWHERE = 5_000  # queries that words are counted in for comparison
NAMES_NOTHING = (
    "about after again any anything at before both by could did does for from get give going got has hello hey hi how "
    "if into just know let like me more much need now one or our out please see should since some something still tell "
    "than them then there they those under up us want way we were when which who will would yet your"
)  # English words that mark how people ask, not what about
_COMMON = {word for words in [*COMMON_WORDS.values(), NAMES_NOTHING] for word in words.split()}


def contrast_words(comparison: Comparison, rows: np.ndarray, most: int = 5) -> list[str]:
    """Words in a fifth of the rows that are surely twice, and about three times, rarer elsewhere; the best first.

    Surely: the lower 95 % end of their share among the rows. Words such as `the` or `ist` are left out.
    """
    if comparison.now.texts is None or comparison.before.texts is None:
        return []
    count = Counter(word for row in rows for word in terms(comparison.text(row)))
    rest = np.setdiff1d(np.arange(len(comparison.order)), rows)
    rest = rest[:: len(rest) // MOST_ELSEWHERE + 1]
    elsewhere = Counter(word for row in rest for word in terms(comparison.text(row)))
    score = {}
    for word, k in count.items():
        usual = (elsewhere[word] + 0.5) / (len(rest) + 1)
        lift = (k / len(rows)) / usual
        if k >= max(2, 0.2 * len(rows)) and lift >= 3 and float(wilson(k, len(rows))[0]) >= 2 * usual:
            score[word] = k * math.log(lift)
    return sorted(score, key=lambda word: (-score[word], word))[:most]


def terms(text: str) -> set[str]:
    """Words of a text that are not among the commonest of their language; the `th` of 25th is none."""
    return set(re.findall(r"(?<!\d)[^\W\d_]{2,}", text[:8_000].casefold())) - _COMMON
