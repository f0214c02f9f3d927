"""A narrower slice inside the one that was hit: long columns, bands of numbers, and what can be read off the texts.

Each candidate is compared with the rest of the slice: how its answers changed, less how the others did. All candidates
together are held to one error of 0.05 (Bonferroni), so that a slice is rarely named where all answers changed alike. A slice of
two columns may have been hit in one of them by chance: the other is searched as a whole too, and what is found there takes its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy import stats

from llm_monitoring import engines
from llm_monitoring.incident.inference.cells import Requests
from llm_monitoring.incident.inference.observations import Observations, holds_objects, weighted_mean, weights_of
from llm_monitoring.incident.inference.slices import Band, Slice, inside, outside

LEAST_ROWS, MOST_TEXTS, ALPHA = 20, 30_000, 0.05
MOST_OF_HARM = 0.6  # what a narrower slice carries of the harm, where
MOVED = 2  # standard errors show that the rest moved too: beside many others a small slice carries little more than their chance
MOST_NUMBERS = 200  # values of a whole number, the most frequent, that are asked beside its bands
NAMES = {"request_id", "timestamp", "session_id", "model_id", "model", "prompt_version", "system_fingerprint"}
RESULTS = {"error", "latency_ms", "output_tokens", "cost_usd", "finish_reason", "raw_finish_reason", "system_output"}
EDGES = np.append(np.arange(0.05, 0.96, 0.05), [0.975, 0.99])


@dataclass(frozen=True)
class Finer:
    """What was searched beyond the short columns, and the narrower slice where there is one.

    Attributes
    ----------
    slice : Slice or None
    looked_at : tuple of str
    not_looked_at : dict
        Column -> why not.
    """

    slice: Slice | None
    looked_at: tuple[str, ...]
    not_looked_at: dict[str, str]


def find_finer(
    seen: Observations,
    chosen: Slice,
    since: pd.Timestamp,
    with_texts: Callable[[pd.DataFrame], pd.DataFrame] = lambda rows: rows,
) -> tuple[Observations, Finer]:
    """Look inside a slice and its parents; the rows come back with the column of the answer where one was found.

    `with_texts` gives requests their `user_input`, where they are without.
    """
    y, weight = seen.sign * seen.model_values(), weights_of(seen.frame)
    late = (seen.frame["timestamp"] >= since).to_numpy()
    found: list[tuple[float, Slice]] = []
    looks = 0
    columns: dict[str, pd.Series] = {}
    skipped: dict[str, str] = {}
    for group, beside in [(chosen, None), *_parents(chosen)]:
        rows = _of_feature(group, seen)
        chosen_too = None if beside is None else seen.mask(beside)[rows]
        if chosen_too is not None and len(set(zip(chosen_too, late[rows]))) < 4:
            continue
        asked = _beside(seen, seen.frame[rows]).reset_index(drop=True)
        extra, not_looked = _extra_columns(seen, asked, with_texts)
        columns, skipped = columns | extra, not_looked | skipped
        part = y[rows], weight[rows], late[rows]
        least = 0.0 if chosen_too is None else _compared(*part, chosen_too)[0]
        for column, values in extra.items():
            for value, mask in _candidates(values, late[rows]):
                looks += 1
                z, carries, rest = _compared(*part, mask)
                if (carries >= MOST_OF_HARM or rest < MOVED) and z > least:
                    found.append((z, Slice((*group.where, (column, value)))))
    best = None
    most, first = max(found, key=lambda one: one[0], default=(0.0, None))
    if first is not None and looks * stats.norm.sf(most) < ALPHA:
        best = first
        seen = counted(seen, Slice(best.where[:-1]), *best.where[-1], with_texts)
    looked = tuple(dict.fromkeys(outside(name) for name in (*seen.columns, *columns)))
    return seen, Finer(best, looked, {name: why for name, why in skipped.items() if name not in looked})


def _parents(chosen: Slice) -> Iterator[tuple[Slice, Slice]]:
    """Of a combination the slices without one of its columns, each with that one; a feature stays, since the alert is of one."""
    if len(chosen.where) > 1:
        for one in chosen.where:
            if one[0] != "feature_id":
                yield Slice(tuple(other for other in chosen.where if other != one)), Slice((one,))


def _of_feature(group: Slice, seen: Observations) -> np.ndarray:
    """The answers of a slice, of the feature that alerted."""
    rows, feature = seen.mask(group), seen.alert.feature_id
    return rows if feature is None else rows & (seen.frame["feature_id"] == feature).to_numpy()


def _beside(seen: Observations, rows: pd.DataFrame) -> pd.DataFrame:
    """Some answers with the columns of their requests that are searched."""
    known = {"user_input", "feature_id", "category", *NAMES, *RESULTS}
    names = [name for name in seen.names if name not in known and name not in rows]
    return rows if seen.source is None or not names else rows.assign(**seen.source.columns(rows["request_id"], names))


def counted(
    seen: Observations, chosen: Slice, column: str, value: object, with_texts: Callable[[pd.DataFrame], pd.DataFrame]
) -> Observations:
    """The same with a column more in the answers, and its value counted in the requests."""
    name, ids = (outside(column),), None
    if seen.names and column not in seen.names:
        texts = _of_texts(with_texts(seen.frame[["request_id"]]), name)[column]
        seen = replace(seen, frame=seen.frame.assign(**{column: texts}))
        ids = None if seen.source is None else _told(seen.source, chosen, column, value)
    elif column not in seen.frame and seen.source is not None:
        whole = seen.source.columns(seen.frame["request_id"], [column])[column]
        seen = replace(seen, frame=seen.frame.assign(**{column: whole}))
    if seen.source is None:
        return seen
    source = seen.source.beside(column, value, ids)
    return replace(seen, source=source, requests=source.cells)


def _told(source: Requests, chosen: Slice, column: str, value: object) -> pd.Series:
    """The requests of a slice whose texts have a value, read some thousand at a time."""
    found = []
    for batch in engines.batches(source.within(chosen).select("request_id", "user_input")):
        rows = batch.to_pandas()
        read = _of_texts(rows, (outside(column),), least=1).get(column)
        if read is not None:
            found.append(rows.loc[Slice(((column, value),)).mask(read.to_frame(column)), "request_id"])
    return pd.concat(found) if found else pd.Series(dtype="str")


def _extra_columns(
    seen: Observations, requests: pd.DataFrame, with_texts: Callable[[pd.DataFrame], pd.DataFrame]
) -> tuple[dict[str, pd.Series], dict[str, str]]:
    """Columns that the short ones leave out, by the name under which the stages keep them, and why others are not searched."""
    extra: dict[str, pd.Series] = {}
    skipped: dict[str, str] = {}
    for name in seen.names or seen.requests.columns:
        log_name = outside(name)
        if name in seen.columns or log_name in ("user_input", "feature_id", "category"):
            continue
        if name in NAMES:
            skipped[log_name] = "names single requests, or a version: versions are followed as causes"
            continue
        if name in RESULTS or (name == "input_tokens" and seen.scale == "log"):
            skipped[log_name] = "a result of the answer, not a group of questions"
            continue
        column = requests[name]
        if pd.api.types.is_datetime64_any_dtype(column) or holds_objects(column):
            skipped[log_name] = "a time, a list or an object"
        elif column.nunique() < 2:
            skipped[log_name] = "one value only"
        else:
            extra[name] = column
    if len(requests) > MOST_TEXTS:
        return extra, skipped | {"user_input": f"more than {MOST_TEXTS:,} texts to read"}
    return extra | _of_texts(with_texts(requests)), skipped


def _of_texts(
    requests: pd.DataFrame, names: tuple[str, ...] = ("input_length", "language", "format"), least: int = 2
) -> dict[str, pd.Series]:
    """Length, language and format of the input, where the log has no column of that name."""
    from llm_monitoring.drift.shape import format_of, guess_language

    if "user_input" not in requests or not requests["user_input"].notna().any():
        return {}
    texts = requests["user_input"].astype("object").where(requests["user_input"].notna(), "").map(str)
    distinct = pd.Series(texts.unique())
    read = {"input_length": len, "language": guess_language, "format": format_of}
    derived = {
        name: texts.map(dict(zip(distinct, (of(t) for t in distinct))))
        for name, of in read.items()
        if name in names and name not in requests
    }
    return {inside(name): column for name, column in derived.items() if column.nunique() >= least}


def _candidates(values: pd.Series, late: np.ndarray) -> Iterator[tuple[object, np.ndarray]]:
    """Values, and bands of a number, with enough answers on both sides of the start."""
    named: list[tuple[object, np.ndarray]] = []
    if _is_number(values) and values.nunique() > 20:
        x = values.to_numpy(float, na_value=np.nan)
        edges = np.unique(np.nanquantile(x, EDGES)) if np.isfinite(x).any() else np.array([])
        named = [
            (band, band.mask(values)) for edge in edges for band in (Band(float(edge), None), Band(None, float(edge)))
        ]
    if not named or (values.dropna() % 1 == 0).all():  # whole numbers may be names: customer 1007
        counts = values.value_counts().head(MOST_NUMBERS if named else len(values))
        often = sorted(counts.index[counts >= 2 * LEAST_ROWS], key=str)
        named += [(value, (values == value).to_numpy(bool, na_value=False)) for value in often]
    for value, mask in named:
        groups = (mask & late, mask & ~late, ~mask & late, ~mask & ~late)
        if min(group.sum() for group in groups) >= LEAST_ROWS:
            yield value, mask


def _is_number(values: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)


def _compared(y: np.ndarray, weight: np.ndarray, late: np.ndarray, mask: np.ndarray) -> tuple[float, float, float]:
    """How far the change inside exceeds that outside, in standard errors, the part of the harm that it carries, and how far that outside is from none."""
    (now, v_now), (then, v_then), (other, v_other), (before, v_before) = (
        weighted_mean(y[part], weight[part]) for part in (mask & late, mask & ~late, ~mask & late, ~mask & ~late)
    )
    change, elsewhere = now - then, other - before
    share = weight[mask & late].sum() / weight[late].sum()
    harm = share * change + (1 - share) * elsewhere
    z = (change - elsewhere) / np.sqrt(max(v_now + v_then + v_other + v_before, 1e-12))
    rest = elsewhere / np.sqrt(max(v_other + v_before, 1e-12))
    return float(z), float(share * change / harm) if harm > 0 else 0.0, float(rest)
