"""One row per answer: the value that each measure takes of it, its weight, and when it could be known.

Every room counts these rows: the windows of `metrics`, the charts of `alerts`, the stages of `incident`. Which
judgement, which thumb and which error count is decided here and nowhere else.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from llm_monitoring import engines, frames, windows
from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.keeping import once
from llm_monitoring.log import Log, as_table
from llm_monitoring.measures import BUILT_IN, Measure
from llm_monitoring.schema import FLAG, JUDGEMENTS, REQUESTS

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd

SIGNALS = ("correction", "follow_up", "retry", "abandoned")
OF_JUDGE = ("judge_model", "rubric_version")
EARLY_DAYS, SHARED_DAYS, SHARED_PART = 14, 3, 0.2


def requests_view(rows: ir.Table, present: Iterable[str]) -> ir.Table:
    """Requests with `__lm_error`, `__lm_refusal`, `__lm_truncation`: 1, 0, or null where nobody can say.

    A request is an error where `error` says so or its finish reason is ``error``. How a request ended is known where it
    has a finish reason or an error; without a column `error` that holds for errors too.
    """
    import ibis

    failed = rows["error"].notnull() | (rows["finish_reason"] == "error").fill_null(False)
    ended = rows["finish_reason"].notnull() | failed
    told = ibis.literal(True) if "error" in set(present) else ended
    flags = {"error": (failed, told), "refusal": (rows["finish_reason"] == "refusal", ended)}
    flags["truncation"] = (rows["finish_reason"] == "max_tokens", ended)
    return rows.mutate(
        **{
            f"__lm_{name}": ibis.cases((~known, ibis.null("int64")), (hit.fill_null(False), 1), else_=0)
            for name, (hit, known) in flags.items()
        }
    )


def own_values(rows: ir.Table, own: Iterable[Measure]) -> ir.Table:
    """The rows with `__lm_own_<name>` for each custom measure.

    Raises
    ------
    ConfigError
        A column that is missing or holds no numbers, or an expression that is more than a scalar over the columns.
    """
    for each in own:
        if each.sql is not None:
            rows = _computed(rows, each)
            continue
        if each.column not in rows.columns:
            raise ConfigError(f"measure {each.name!r}: requests have no column {each.column!r}")
        value, kind = rows[each.column], rows[each.column].type()
        if kind.is_string():  # files of text hold numbers as texts
            value = _number_of_text(rows, each)
        elif not (kind.is_numeric() or kind.is_boolean()):
            raise ConfigError(f"measure {each.name!r}: column {each.column!r} holds {kind}; expected numbers")
        rows = rows.mutate(**{f"__lm_own_{each.name}": _finite(value.cast("float64"))})
    return rows


def _number_of_text(rows: ir.Table, each: Measure) -> ir.Value:
    text = rows[each.column].strip().nullif("")
    number = engines.parse(text, "float64")
    wrong = rows.filter(text.notnull() & number.isnull()).select(text=text).limit(1)
    found = engines.run(wrong)["text"].to_pylist()
    if found:
        raise ConfigError(f"measure {each.name!r}: column {each.column!r} holds {quote(found[0])}; expected numbers")
    return number


def _finite(value: ir.FloatingValue) -> ir.FloatingValue:
    known = engines.known(value)
    return known.nullif(engines.infinity()).nullif(engines.infinity(-1))


def _computed(rows: ir.Table, each: Measure) -> ir.Table:
    import ibis
    import ibis.expr.operations as ops
    import sqlglot

    kind = check_sql(str(each.sql), each.name, rows.schema())
    number = f"CASE WHEN {each.sql} THEN 1 WHEN NOT ({each.sql}) THEN 0 END" if kind == "BOOLEAN" else each.sql
    name = "__lm_rows_" + re.sub(r"\W", "_", each.name)
    view = rows.alias(name)
    dialect = {"pyspark": "spark"}.get(engines.name(rows), engines.name(rows))
    text = f'SELECT *, CAST(({number}) AS DOUBLE) AS "__lm_made" FROM "{name}"'
    query = sqlglot.transpile(text, read="duckdb", write=dialect)[0]
    schema = ibis.schema({**dict(rows.schema().items()), "__lm_made": "float64"})
    made = ops.SQLStringView(parent=view.op(), query=query, schema=schema).to_expr()
    return made.mutate(**{f"__lm_own_{each.name}": _finite(made["__lm_made"])}).drop("__lm_made")


def check_sql(text: str, name: str, schema: Any) -> str:
    """The type that one scalar expression in DuckDB's dialect gives of a row with these columns; anything else is refused.

    >>> import ibis
    >>> check_sql("output_tokens / latency_ms", "speed", ibis.schema({"output_tokens": "int64", "latency_ms": "float64"}))
    'DOUBLE'
    >>> check_sql("(SELECT 1)", "speed", ibis.schema({"latency_ms": "float64"}))
    Traceback (most recent call last):
    ...
    llm_monitoring.errors.ConfigError: measure 'speed': sql holds a subquery; expected one scalar expression over the columns of requests
    """
    import duckdb
    import sqlglot
    from ibis.backends.sql.datatypes import DuckDBType
    from sqlglot import exp

    wanted = "expected one scalar expression over the columns of requests"
    try:
        trees = [tree for tree in sqlglot.parse(f"SELECT {text}", read="duckdb") if tree is not None]
    except (sqlglot.errors.ParseError, sqlglot.errors.TokenError) as error:
        raise ConfigError(f"measure {name!r}: sql cannot be parsed ({str(error).splitlines()[0]}); {wanted}") from None
    plain = len(trees) == 1 and isinstance(trees[0], exp.Select) and len(trees[0].expressions) == 1
    if not plain or any(part for key, part in trees[0].args.items() if key != "expressions" and part):
        raise ConfigError(f"measure {name!r}: sql is more than one expression; {wanted}")
    tree = trees[0].expressions[0]
    for words, kinds in {
        "a subquery": (exp.Subquery, exp.Select, exp.Exists),
        "an aggregate": (exp.AggFunc, exp.Window),
        "a star or an alias": (exp.Star, exp.Alias),
        "a random number or the present time": (exp.Rand, exp.CurrentTimestamp, exp.CurrentDate, exp.CurrentTime),
    }.items():
        if tree.find(*kinds):
            raise ConfigError(f"measure {name!r}: sql holds {words}; {wanted}")
    for call in tree.find_all(exp.Anonymous):
        if str(call.this).lower() in ("getenv", "current_setting", "nextval", "now", "today", "setseed"):
            raise ConfigError(f"measure {name!r}: sql calls {call.this}, which reads more than the row; {wanted}")
    empty = ", ".join(
        f'CAST(NULL AS {DuckDBType.to_string(kind)}) AS "{column}"'
        for column, kind in schema.items()
        if '"' not in column
    )
    with duckdb.connect(config={"enable_external_access": False}) as inside:
        try:
            kind = str(inside.execute(f"DESCRIBE SELECT {text} FROM (SELECT {empty})").fetchall()[0][1])
        except duckdb.Error as error:
            raise ConfigError(f"measure {name!r}: {str(error).splitlines()[0]}; {wanted}") from None
    if not kind.startswith(("DOUBLE", "FLOAT", "DECIMAL", "BOOLEAN", "HUGEINT", "UHUGEINT")) and "INT" not in kind:
        raise ConfigError(f"measure {name!r}: sql makes {kind}; expected a number")
    return kind


def judged_view(judgements: ir.Table, requests: ir.Table | None = None, more: Iterable[str] = ()) -> ir.Table:
    """The judgement that counts of each request and judge, with the request's `timestamp` and columns where it is known.

    Of several judgements of a request by one judge the latest that succeeded counts, a failed one only where none did.

    Returns
    -------
    Ibis table
        The judgements' columns, `timestamp` and `more` from the request (which must be in `requests`), `__lm_failed`,
        `__lm_flagged` (1, 0 or null), `__lm_weight` (one over the inclusion probability) and `__lm_session`.
    """
    return judged_rows(judgements, requests, more, latest=True)


def judged_rows(
    judgements: ir.Table, requests: ir.Table | None = None, more: Iterable[str] = (), latest: bool = False
) -> ir.Table:
    """Every judgement with the columns of `judged_view`; with `latest` only the one that counts of each request and judge."""
    import ibis

    unsaid = judgements["quality_score"].isnull().ifelse("failed", "ok")
    failed = judgements["status"].fill_null(unsaid) == "failed"
    rows = judgements.mutate(
        scale=judgements["scale"].fill_null("1..5"),
        __lm_failed=failed.ifelse(1, 0),
        __lm_flagged=ibis.cases((failed, ibis.null("int64")), (judgements["flagged"], 1), (~judgements["flagged"], 0)),
        __lm_score=ibis.ifelse(failed, ibis.null("float64"), judgements["quality_score"]),
        __lm_weight=1 / judgements["inclusion_probability"].fill_null(1.0),
        __lm_judge=judgements["judge_model"].fill_null(""),
    )
    rows = _latest(rows, ["request_id", "__lm_judge"]) if latest else rows
    if requests is None:
        return rows
    wanted = [name for name in dict.fromkeys(["timestamp", "feature_id", *more]) if name in requests.columns]
    taken = {name: requests[name] for name in wanted}
    if "session_id" in requests.columns:
        taken["__lm_session"] = requests["session_id"].cast("string").fill_null(requests["request_id"])
    right = requests.select(__lm_id=requests["request_id"], **taken)
    left = rows.drop(*[name for name in wanted if name in rows.columns])
    return left.inner_join(right, left["request_id"] == right["__lm_id"]).drop("__lm_id")


def weight_where(rows: ir.Table, value: ir.Value) -> ir.Value:
    """The weight of an answer (`__lm_weight`) where a value of it is known, else null."""
    import ibis

    return ibis.ifelse(value.notnull(), rows["__lm_weight"], ibis.null("float64"))


def succession(rows: ir.Table, keys: list[str]) -> ir.Table:
    """The judgements that counted of each request for a time, by the rule of `judged_view` as it stood at each moment.

    Returns
    -------
    Ibis table
        The rows with `__lm_known` and `__lm_replaced` (microseconds since 1970; null where nothing came after it).
    """
    import ibis

    known = ibis.greatest(engines.microseconds(rows["judged_at"]), engines.microseconds(rows["timestamp"]))
    rows = rows.mutate(__lm_known=known)
    so_far = ibis.window(group_by=keys, order_by=_earliest(rows), preceding=None, following=0)
    rows = rows.mutate(__lm_succeeded=(1 - rows["__lm_failed"]).sum().over(so_far))
    rows = rows.filter((rows["__lm_failed"] == 0) | (rows["__lm_succeeded"] == 0))
    after = rows["__lm_known"].lead().over(ibis.window(group_by=keys, order_by=_earliest(rows)))
    return rows.mutate(__lm_replaced=after)


def _earliest(rows: ir.Table) -> list[Any]:
    """The order in which judgements of one request came; of several at one moment the one that counts is the last."""
    return [
        rows["__lm_known"],
        rows["__lm_failed"].desc(),
        rows["judged_at"],
        rows["rubric_version"].asc(nulls_first=True),
        rows["quality_score"].asc(nulls_first=True),
    ]


def _latest(rows: ir.Table, keys: list[str]) -> ir.Table:
    import ibis

    order = [
        rows["__lm_failed"],
        rows["judged_at"].desc(),
        rows["rubric_version"].desc(nulls_first=False),
        rows["quality_score"].desc(nulls_first=False),
    ]
    ranked = rows.mutate(__lm_rank=ibis.row_number().over(ibis.window(group_by=keys, order_by=order)))
    return ranked.filter(ranked["__lm_rank"] == 0).drop("__lm_rank")


def by_series(rows: ir.Table, per_feature: bool = True, named: Mapping[tuple[Any, ...], str] | None = None) -> ir.Table:
    """Judged rows with `__lm_series`: empty for the first judge of a feature, else the judge's name.

    The first judge is the one with most judgements in the two weeks from the feature's first one (ties by name); a
    judge that took over from it on the same scale goes on with its series, one that judges beside it has its own. `named`:
    the series of each feature, judge and scale, where they are known.
    """
    import ibis
    import pyarrow as pa

    named = _series(_days_of_judges(rows, per_feature)) if named is None else named
    if not any(named.values()):
        series = rows.mutate(__lm_series=ibis.literal(""))
    else:
        listed = [(*key, name) for key, name in sorted(named.items())]
        columns = ("__lm_f", "__lm_j", "__lm_s", "__lm_series")
        named_rows = {name: pa.array([row[i] for row in listed], pa.string()) for i, name in enumerate(columns)}
        table = ibis.memtable(pa.table(named_rows))
        feature = rows["feature_id"] if per_feature else ibis.literal("")
        keyed = rows.mutate(__lm_of=feature)
        series = keyed.inner_join(
            table,
            [
                keyed["__lm_of"] == table["__lm_f"],
                keyed["__lm_judge"] == table["__lm_j"],
                keyed["scale"] == table["__lm_s"],
            ],
        ).drop("__lm_f", "__lm_j", "__lm_s", "__lm_of")
    return _latest(series, ["request_id", "__lm_series"])


def _days_of_judges(rows: ir.Table, per_feature: bool) -> pd.DataFrame:
    import ibis

    keyed, keys = windows.keyed(rows, "judged_at", "1d", ["feature_id"] if per_feature else [])
    if not per_feature:
        keyed = keyed.mutate(feature_id=ibis.literal(""))
    keys = [key for key in keys if key != "feature_id"]
    cells = keyed.group_by([*keys, "feature_id", "__lm_judge", "scale"]).aggregate(n=keyed.count())
    frame = engines.run(cells).to_pandas().rename(columns={keys[0]: "day", "__lm_judge": "judge"})
    return frame.sort_values(["feature_id", "judge", "scale", "day"], ignore_index=True)


def _series(days: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    named: dict[tuple[Any, ...], str] = {}
    for feature, own in days.groupby("feature_id", sort=True):
        judges: dict[tuple[Any, ...], pd.Series] = {
            key: part.set_index("day")["n"]  # type: ignore[misc]
            for key, part in own.groupby(["judge", "scale"], sort=True)
        }
        early = own["day"].min() + EARLY_DAYS
        first = min(judges, key=lambda key: (-judges[key][judges[key].index < early].sum(), key))
        together = judges[first]
        for key in sorted(judges, key=lambda key: (judges[key].index.min(), key)):
            n = judges[key]
            shared = n[n.index.isin(together.index)]
            part = shared.sum() / max(n.sum(), 1)
            mostly = part > 0.5 and together[together.index.isin(n.index)].sum() > 0.5 * together.sum()
            beside = mostly or (len(shared) >= SHARED_DAYS and part >= SHARED_PART)
            if key == first or (key[1] == first[1] and not beside):
                named[(str(feature), *key)] = ""
                together = together.add(n, fill_value=0)
            else:
                several = sum(judge == key[0] for judge, _ in judges) > 1
                named[(str(feature), *key)] = f"{key[0] or 'unnamed'} {key[1]}" if several else key[0] or "unnamed"
    return named


def signals_view(signals: ir.Table) -> ir.Table:
    """One row for each request that has signals: whether its last thumb is up, and which other signals it has.

    Columns `__lm_of` (the request), `__lm_up` (1, 0 or null without a thumb), one flag for each of `SIGNALS`, and
    `__lm_last` (the latest signal). Of two thumbs at the same moment the one down counts.
    """
    import ibis

    kind, at = signals["signal_type"], engines.microseconds(signals["timestamp"])
    last = {thumb: ibis.ifelse(kind == thumb, at, ibis.null("int64")).max() for thumb in ("thumbs_up", "thumbs_down")}
    marks = {f"__lm_{name}": (kind == name).ifelse(1, 0).max() for name in SIGNALS}
    if FLAG in signals.columns:
        marks["__lm_wrong_signal"] = signals[FLAG].ifelse(1, 0).max()
    grouped = signals.group_by("request_id").aggregate(**last, **marks, __lm_last=signals["timestamp"].max())
    up, down = grouped["thumbs_up"], grouped["thumbs_down"]
    thumb = ibis.cases((up.isnull() & down.isnull(), ibis.null("int64")), (down.isnull() | (up > down), 1), else_=0)
    return grouped.mutate(__lm_up=thumb).drop("thumbs_up", "thumbs_down").rename(__lm_of="request_id")


def dimension_names(rows: ir.Table) -> list[str]:
    """Names of the rubric's dimensions, by the distinct shapes of the JSON objects (their numbers left out)."""
    shape = rows["dimensions"].re_replace(r":\s*(-?[0-9.eE+-]+|null)", ":0")
    shapes = rows.select(shape=shape).filter(lambda t: t["shape"].notnull()).distinct()
    found: set[str] = set()
    for text in engines.run(shapes)["shape"].to_pylist():
        try:
            found.update(str(name) for name in json.loads(text))
        except ValueError:
            continue
    return sorted(found)


def view_of(log: Log, of: str, own: Iterable[Measure] = (), more: Iterable[str] = ()) -> ir.Table:
    """The rows of one family of measures: one per answer that has a value, with `request_id`, `timestamp`, `feature_id`.

    Parameters
    ----------
    log : Log
    of : str
        requests, judgements, signals or thumbs.
    own : iterable of Measure
        Custom measures, to be worked out.
    more : iterable of str
        Columns of the requests to keep.
    """
    door = as_table(log, "requests")
    rows = door.rows
    if of == "judgements":
        return by_series(judged_view(as_table(log, "judgements").rows, rows, more), named=_series_of(log))
    if of in ("signals", "thumbs"):
        marks = signals_view(as_table(log, "signals").rows)
        joined = rows.left_join(marks, rows["request_id"] == marks["__lm_of"])
        filled = {f"__lm_{name}": joined[f"__lm_{name}"].fill_null(0) for name in SIGNALS}
        return joined.mutate(**filled)
    return own_values(requests_view(rows, door.present), own)


@once
def _series_of(log: Log) -> dict[tuple[Any, ...], str]:
    judged = judged_view(as_table(log, "judgements").rows, as_table(log, "requests").rows, ())
    return _series(_days_of_judges(judged, per_feature=True))


def value(rows: ir.Table, measure: Measure) -> ir.Value:
    """The value that a measure takes of each answer, null where it has none."""
    if measure.of == "judgements":
        named = {"quality_score": "__lm_score", "flagged": "__lm_flagged", "failed": "__lm_failed"}
        if measure.name.split("[")[0] in BUILT_IN:
            return rows[named[str(measure.column)]]
        return engines.json_number(rows["dimensions"], str(measure.column))
    if f"__lm_own_{measure.name}" in rows.columns:
        return rows[f"__lm_own_{measure.name}"]
    flag = f"__lm_{measure.column}"
    return rows[flag] if flag in rows.columns else rows[str(measure.column)]


def judgements(log: Log, columns: Iterable[str] = JUDGEMENTS.names) -> pd.DataFrame:
    """The judgements that count, as the table `judgements`: one a request, of its feature's first judge.

    Of few `columns` no more is loaded than these, the id and the time; `timestamp` is that of the request.
    """
    names = [name for name in JUDGEMENTS.names if name in {"request_id", JUDGEMENTS.time, *columns}]
    names += ["timestamp"] if "timestamp" in columns else []
    if not log.has("judgements"):
        return frames.empty(JUDGEMENTS).reindex(columns=names)
    rows = view_of(log, "judgements")
    return frames.load(rows.filter(rows["__lm_series"] == "").select(*names), JUDGEMENTS)


def flags(
    log: Log, feature_id: str | None, since: pd.Timestamp, until: pd.Timestamp | None = None
) -> list[tuple[int, int]]:
    """How many judged answers are flagged, of how many, before a moment and since, up to another; counted in the engine."""
    if not log.has("judgements"):
        return [(0, 0), (0, 0)]
    rows = view_of(log, "judgements")
    rows = rows.filter(rows["__lm_series"] == "", rows["status"] == "ok", rows["flagged"].notnull())
    rows = rows if feature_id is None else rows.filter(rows["feature_id"] == feature_id)
    at = engines.microseconds(rows["timestamp"])
    rows = rows if until is None else rows.filter(at < engines.first_microsecond(until))
    late = engines.microseconds(rows["timestamp"]) >= engines.first_microsecond(since)
    counted = rows.group_by(late=late).aggregate(flagged=rows["flagged"].ifelse(1, 0).sum(), n=rows.count())
    found = {row["late"]: (int(row["flagged"]), int(row["n"])) for row in engines.run(counted).to_pylist()}
    return [found.get(side, (0, 0)) for side in (False, True)]


def flagged_ids(log: Log) -> set[str]:
    """The requests whose judgement that counts flags them."""
    if not log.has("judgements"):
        return set()
    rows = view_of(log, "judgements")
    rows = rows.filter(rows["__lm_series"] == "", rows["flagged"].fill_null(False))
    return set(engines.run(rows.select("request_id"))["request_id"].to_pylist())


def values(
    log: Log,
    measure: Measure,
    own: Iterable[Measure] = (),
    where: Mapping[str, str] | None = None,
    beside: Mapping[str, str] | None = None,
) -> pd.DataFrame | None:
    """What a measure says of each answer of a log; None where no single answer has a value (volume, totals, drift).

    `where` narrows the answers to a value of some columns; `beside` are columns of the requests to bring along, by the
    name that they are to have.

    Returns
    -------
    DataFrame
        `request_id`, `timestamp`, `value`, and for judged measures `weight`, `judge_model`, `rubric_version`, for scores
        `scale`, sorted by time and id.

    Raises
    ------
    ConfigError
        No judgement has this dimension.
    """
    if measure.of not in ("requests", "judgements", "signals", "thumbs") or measure.total:
        return None
    rows = view_of(log, measure.of, own)
    for column, one in (where or {}).items():
        rows = rows.filter(rows[column] == one)
    kept: dict[str, Any] = {"request_id": rows["request_id"], "value": value(rows, measure).cast("float64")}
    if measure.judged:
        rows = rows.filter(rows["__lm_series"] == (measure.judge or ""))
        kept = {"request_id": rows["request_id"], "value": value(rows, measure).cast("float64")}
        kept |= {"weight": rows["__lm_weight"], **{name: rows[name] for name in OF_JUDGE}}
        kept |= {} if measure.kind == "proportion" else {"scale": rows["scale"]}
    more = {"timestamp": "timestamp", **(beside or {})}
    if measure.judged:
        known = rows.select(**kept).filter(lambda t: t["value"].notnull())
        requests = as_table(log, "requests").rows
        right = requests.select(__lm_id=requests["request_id"], **{name: requests[of] for name, of in more.items()})
        known = known.inner_join(right, known["request_id"] == right["__lm_id"]).drop("__lm_id")
    else:
        kept |= {name: rows[of] for name, of in more.items()}
        known = rows.select(**kept).filter(lambda t: t["value"].notnull())
    found = frames.load(known, REQUESTS)
    if found.empty and measure.judged and measure.name.split("[")[0] not in BUILT_IN:
        _check_dimension(log, measure)
    return found


def _check_dimension(log: Log, measure: Measure) -> None:
    there = [f"mean_{name}" for name in dimension_names(log.table("judgements"))] if log.has("judgements") else []
    if f"mean_{measure.column}" not in there:
        near = difflib.get_close_matches(measure.name, [*BUILT_IN, *there], n=1, cutoff=0.0)[0]
        raise ConfigError(f"metric {measure.name!r}: no judgement has this dimension; the nearest metric is {near!r}")
