"""Topic, language, format and length of every request, as columns that slices can be made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_monitoring.drift.contrast import terms
from llm_monitoring.drift.named_embedders import embedder_of
from llm_monitoring.drift.queries import Queries, read_queries, sample_places
from llm_monitoring.drift.shape import format_of, guess_language
from llm_monitoring.drift.two_sample import k_means
from llm_monitoring.drift.vector_cache import Embedder
from llm_monitoring.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

LENGTHS = [(0, "none"), (40, "to 40"), (100, "41 to 100"), (300, "101 to 300"), (1_000, "301 to 1,000")]
MOST_FITTED = 20_000  # queries of the reference that the topics are fitted on; of more a random sample
OTHER = "other"


def query_columns(
    requests: Any, reference: Any = None, topics: int = 12, embedder: Embedder | str | None = None, seed: int = 0
) -> pd.DataFrame:
    """Topic, language, format and length of each request's text.

    The topics are clusters of the reference's queries, named by the two words that most tell them from the others. A
    query that lies farther from every centre than 99 % of the reference's own queries from theirs is ``other``. The
    columns of a request depend on its text and the reference alone, so requests that come later change nothing.

    Parameters
    ----------
    requests : DataFrame or log
        `user_input` and, where there is one, `request_id`.
    reference : DataFrame, log or list of str, optional
        Queries that the topics are learnt from; by default the requests themselves, whose columns then depend on all
        of them.
    topics : int
        Number of topics, at most; 1 to 100.
    embedder, seed
        As for `DriftTest`.

    Returns
    -------
    DataFrame
        One row per request, in its order and with its index: `request_id` (where there is one), `topic`, `language`
        (ISO 639-1, see `guess_language`), `format` (see `format_of`), `length` (characters, in five bands); null where
        no text is logged or the language cannot be told.

    Raises
    ------
    ConfigError
        For tables without user_input, and for a number of topics out of range.

    Examples
    --------
    >>> import pandas as pd
    >>> asked = pd.DataFrame({"user_input": ["Where is my parcel?", "Wo ist mein Paket?", None]})
    >>> query_columns(asked, topics=1, embedder="hashing")[["language", "format", "length"]].values.tolist()
    [['en', 'question', 'to 40'], ['de', 'question', 'to 40'], [None, None, None]]
    """
    import pandas as pd

    if not 1 <= topics <= 100:
        raise ConfigError(f"query_columns(topics)={topics}; expected 1 to 100")
    frame = requests.requests if hasattr(requests, "requests") and not hasattr(requests, "columns") else requests
    embed = embedder_of(embedder)
    if not hasattr(frame, "columns") or "user_input" not in frame.columns:
        raise ConfigError("query_columns(requests): no column user_input; expected a requests table or a log")
    own = read_queries(frame[["user_input"]], embed, "requests")
    fitted = own if reference is None else read_queries(reference, embed, "reference")
    fitted = fitted.at(sample_places(fitted.sessions, fitted.keys, MOST_FITTED, seed))
    columns: dict[str, np.ndarray] = {
        name: np.full(len(frame), None, object) for name in ("topic", "language", "format", "length")
    }
    texts = own.texts or []
    columns["topic"][own.rows] = _topics(own, fitted, topics, seed)
    columns["language"][own.rows] = [guess_language(text) for text in texts]
    columns["format"][own.rows] = [format_of(text) for text in texts]
    columns["length"][own.rows] = [length_band(text) for text in texts]
    table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    table.index = frame.index
    if "request_id" in frame.columns:
        table.insert(0, "request_id", frame["request_id"])
    return table


def length_band(text: str) -> str:
    """Characters of a text, in bands.

    >>> length_band("a" * 50), length_band(""), length_band("a" * 5_000)
    ('41 to 100', 'none', 'over 1,000')
    """
    return next((name for most, name in LENGTHS if len(text) <= most), "over 1,000")


def _topics(own: Queries, fitted: Queries, topics: int, seed: int) -> np.ndarray:
    if not len(own) or not len(fitted):
        return np.full(len(own), None, object)
    order = np.argsort(fitted.keys, kind="stable")  # the order of the rows has no effect
    fitted = fitted.at(order)
    rows = _unit(fitted.vectors)
    count = int(np.clip(len(rows) // 20, 1, topics))
    cluster = k_means(rows, np.arange(len(rows)), count, seed, rounds=15, spread=True)
    centres = _unit(np.stack([rows[cluster == c].sum(axis=0) for c in range(count)]))
    usual = np.quantile((rows * centres[cluster]).sum(axis=1), 0.01)
    names = np.array([*_names(fitted.texts, cluster, count), OTHER], object)
    likeness = _unit(own.vectors) @ centres.T
    near = np.where(likeness.max(axis=1) >= usual - 1e-6, likeness.argmax(axis=1), count)
    return names[near]


def _names(texts: list[str] | None, cluster: np.ndarray, count: int) -> list[str]:
    """Two words each: in many texts of the cluster, in few others; a number where names would be the same."""
    held: list[dict[str, int]] = [{} for _ in range(count)]
    for text, number in zip(texts or [], cluster, strict=False):
        for word in terms(text):
            held[number][word] = held[number].get(word, 0) + 1
    size = np.bincount(cluster, minlength=count)
    names: list[str] = []
    for number in range(count):

        def lead(word: str, number: int = number) -> tuple[float, str]:
            elsewhere = sum(held[c].get(word, 0) for c in range(count) if c != number)
            return elsewhere / max(size.sum() - size[number], 1) - held[number][word] / max(size[number], 1), word

        words = sorted(held[number], key=lead)[:2]
        name = ", ".join(words) or "no words"
        names.append(name if name not in names else f"{name} ({number})")
    return names


def _unit(rows: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(length > 0, length, 1)
