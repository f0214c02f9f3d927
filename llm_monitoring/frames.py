"""Clean rows of a table as the pandas frame that people work with, and rows set aside as a file."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from llm_monitoring import disk, engines
from llm_monitoring.schema import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    import ibis.expr.types as ir
    import numpy as np
    import pandas as pd
    import pyarrow as pa

MOST_PIECES = 1_000  # of rows that an engine gives, each in order; more where they are of `LEAST_ROWS` on average
LEAST_ROWS = 1_000  # threads take turns after some two thousand rows


def load(rows: ir.Table, schema: Table) -> pd.DataFrame:
    """The rows in the order of their time, with the kinds of the schema."""
    return typed(_frame(_columns(rows), schema.time), schema)


def _frame(parts: dict[str, list[pa.Array]], time: str) -> pd.DataFrame:
    """Columns in parts as a frame: one after the other, their parts given up, so that the rows do not stand in memory twice."""
    import pandas as pd
    import pyarrow as pa

    pieces, columns = _pieces_in_order(parts[time]), {}
    for name in list(parts):
        column = pa.chunked_array(parts.pop(name))
        if pa.types.is_string(column.type):  # a column of these holds no more than 2 GB of text
            column = column.cast(pa.large_string())
        ordered = [column[start:end] for start, end in pieces] or [column]
        whole = pa.chunked_array([chunk for part in ordered for chunk in part.chunks], column.type).combine_chunks()
        columns[name] = pa.table({name: whole}).to_pandas()[name]
        del column, ordered, whole
        pa.default_memory_pool().release_unused()
    return pd.DataFrame(columns, copy=False)


def _columns(rows: ir.Table) -> dict[str, list[pa.Array]]:
    """The columns in parts; from the engine inside the process some ten thousand rows at a time, each part copied.

    That engine gives all columns of a batch as one piece of memory, which the last of them would hold.
    """
    import pyarrow as pa

    kinds = dict(rows.schema().items())
    parts: dict[str, list[pa.Array]] = {name: [] for name in kinds}
    if not engines.in_process(rows) or any(kind.is_nested() or kind.is_json() for kind in kinds.values()):
        batches = iter(engines.run(rows).to_batches())
    else:
        batches = engines.batches(rows)
    for batch in batches:
        for name, kept in parts.items():
            kept.append(pa.concat_arrays([batch.column(name)]))
    if not parts[rows.columns[0]]:
        parts = {field.name: [pa.array([], field.type)] for field in rows.schema().to_pyarrow()}
    return parts


def pieces(rows: ir.Table, schema: Table) -> Iterator[pd.DataFrame]:
    """The same in frames of some thousand rows each, so that they never stand in memory together; the engine sorts.

    Whole numbers stay whole where some are unknown, so that a value does not depend on the rows beside it.
    """
    import pandas as pd
    import pyarrow as pa

    whole = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int64Dtype()}
    for batch in engines.batches(rows.order_by([schema.time, schema.columns[0].name])):
        yield typed(batch.to_pandas(types_mapper=whole.get), schema)


def _pieces_in_order(times: list[pa.Array]) -> list[tuple[int, int]]:
    """First and last row of each piece of rows in the order of their times, where an engine's threads gave them as they came.

    Empty where the rows are in order, or in no pieces: sorting them is `typed`'s.
    """
    import numpy as np
    import pyarrow as pa

    if not pa.types.is_timestamp(times[0].type) or any(part.null_count for part in times):
        return []
    order = np.argsort(np.concatenate([part.cast(pa.int64()).to_numpy() for part in times]), kind="stable")
    breaks = np.flatnonzero(np.diff(order) != 1) + 1
    if not 0 < len(breaks) < max(MOST_PIECES, len(order) // LEAST_ROWS):
        return []
    ends = pairwise([0, *breaks.tolist(), len(order)])
    return [(int(order[start]), int(order[start]) + end - start) for start, end in ends]


def typed(frame: pd.DataFrame, schema: Table) -> pd.DataFrame:
    """Times as UTC, numbers as floats, flags as booleans, JSON objects as dicts; sorted by time, then key.

    Columns of the schema that are not there stay away.
    """
    import pandas as pd

    unknown_text = "str" if int(pd.__version__.split(".")[0]) >= 3 else "object"
    for column in schema.columns:
        if column.name not in frame:
            continue
        values = frame[column.name]
        if column.kind == "time":
            frame[column.name] = pd.to_datetime(values, utc=True).astype("datetime64[us, UTC]")
        elif column.kind == "number":
            frame[column.name] = values.astype("float64")
        elif column.kind == "flag":
            frame[column.name] = values.astype("bool" if values.notna().all() else "boolean")
        elif column.kind == "json":
            frame[column.name] = _objects(values)
        elif values.isna().all():  # of pandas 2, "str" would make the text "None" of null
            frame[column.name] = values.astype(unknown_text)  # type: ignore[call-overload]
    order = [schema.time, schema.columns[0].name]
    return (
        frame
        if _in_order(*(frame[name] for name in order))
        else frame.sort_values(order, kind="stable", ignore_index=True)
    )


def _in_order(times: pd.Series, keys: pd.Series) -> bool:
    """Whether rows are sorted by time, those of one time by their key."""
    if not times.is_monotonic_increasing:
        return False
    at = times.astype("int64").to_numpy()  # of times with a zone, to_numpy would make an object each
    tied = (at[1:] == at[:-1]).nonzero()[0]
    return bool((keys.iloc[tied].array <= keys.iloc[tied + 1].array).all()) if len(tied) else True


def among(ids: pd.Series, wanted: pd.Series) -> np.ndarray:
    """Which of some texts are among others: `isin`, without a Python object for each of them.

    >>> import pandas as pd
    >>> among(pd.Series(["a", "b", None]), pd.Series(["b", "c"])).tolist()
    [False, True, False]
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    listed = pa.array(wanted.dropna().astype(object).to_numpy(), pa.large_string())
    return np.asarray(pc.is_in(pa.array(ids.array, pa.large_string()), value_set=listed))


def copied(frame: pd.DataFrame, schema: Table) -> pd.DataFrame:
    """A copy that may be edited, its JSON objects too, without changing the frame."""
    copy = frame.copy()
    for column in schema.columns:
        if column.kind == "json":
            copy[column.name] = frame[column.name].map(dict).astype(object)
    return copy


def ordered(frame: pd.DataFrame, schema: Table) -> pd.DataFrame:
    """Rows made here (times in microseconds since 1970) in the order of a loaded table."""
    import pandas as pd

    at = pd.to_datetime(frame[schema.time].astype("int64"), unit="us", utc=True).astype("datetime64[us, UTC]")
    return frame.assign(**{schema.time: at}).sort_values(
        [schema.time, schema.columns[0].name], kind="stable", ignore_index=True
    )


def _objects(texts: pd.Series) -> pd.Series:
    import pandas as pd

    known = texts.dropna().unique()
    parsed = {text: json.loads(text) for text in known}
    return pd.Series([dict(parsed[text]) if text in parsed else {} for text in texts], index=texts.index, dtype=object)


def empty(schema: Table) -> pd.DataFrame:
    """The table without rows, with its columns."""
    import pandas as pd

    return typed(pd.DataFrame({column.name: pd.Series(dtype="object") for column in schema.columns}), schema)


def small_table(frame: pd.DataFrame) -> ir.Table:
    """A frame of plain texts and whole numbers, made here, as an Ibis table."""
    import pyarrow as pa

    kinds = {name: pa.string() if frame[name].dtype.kind not in "iu" else pa.int64() for name in frame.columns}
    arrays = {name: pa.array(frame[name].tolist(), kind) for name, kind in kinds.items()}
    return engines.in_memory(pa.table(arrays))


def write_aside(rows: pd.DataFrame, folder: Path, name: str) -> Path | None:
    """Write rows set aside to ``quarantine/<table>.jsonl`` beside the log, where that can be written."""
    target = folder / "quarantine" / f"{name}.jsonl"
    try:
        disk.make_folder(target.parent)
        disk.write(target, rows.to_json(None, orient="records", lines=True, date_format="iso", force_ascii=False))
    except OSError:
        return None
    return target


def none_aside(folder: Path, name: str) -> None:
    """Remove what an earlier opening set aside of a table that is sound now."""
    with contextlib.suppress(OSError):
        (folder / "quarantine" / f"{name}.jsonl").unlink(missing_ok=True)
