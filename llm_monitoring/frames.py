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

MOST_PIECES = 1_000  # of rows that an engine gives at once, each in order


def load(rows: ir.Table, schema: Table) -> pd.DataFrame:
    """The rows in the order of their time, with the kinds of the schema."""
    return typed(_pieces_in_order(engines.run(rows), schema.time).to_pandas(), schema)


def pieces(rows: ir.Table, schema: Table) -> Iterator[pd.DataFrame]:
    """The same in frames of some thousand rows each, so that they never stand in memory together; the engine sorts.

    Whole numbers stay whole where some are unknown, so that a value does not depend on the rows beside it.
    """
    import pandas as pd
    import pyarrow as pa

    whole = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int64Dtype()}
    for batch in engines.batches(rows.order_by([schema.time, schema.columns[0].name])):
        yield typed(batch.to_pandas(types_mapper=whole.get), schema)


def _pieces_in_order(rows: pa.Table, time: str) -> pa.Table:
    """The rows in the order of their times, where they are pieces in order that an engine's threads gave as they came.

    Rows that are not come back as they are: sorting them is `typed`'s.
    """
    import numpy as np
    import pyarrow as pa

    if not rows.num_rows or not pa.types.is_timestamp(rows[time].type) or rows[time].null_count:
        return rows
    order = np.argsort(rows[time].cast(pa.int64()).to_numpy(), kind="stable")
    breaks = np.flatnonzero(np.diff(order) != 1) + 1
    if not 0 < len(breaks) < MOST_PIECES:
        return rows
    ends = pairwise([0, *breaks.tolist(), len(order)])
    return pa.concat_tables([rows.slice(order[start], end - start) for start, end in ends]).combine_chunks()


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
