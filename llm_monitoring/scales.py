"""Judgements by the scale of their judge: `scale` and `status` filled in, scores held to their own row's scale."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import TYPE_CHECKING, Any

from llm_monitoring import engines
from llm_monitoring.columns import Mended, Read, Rule
from llm_monitoring.errors import ConfigError
from llm_monitoring.schema import DEFAULT_SCALE, PASS_FAIL, scale_ends, scale_text

if TYPE_CHECKING:
    import ibis.expr.types as ir

EVERY = "*"
SCORES = ("quality_score", "dimensions", "flagged")
_NUMBER = r"-?\d+(?:\.\d+)?"
_REMEDY = "Where the judge has another scale, name it: scales={{'{judge}': (0, 10)}} or --scale '{judge}=0..10'"


def texts(scales: Mapping[str, object] | None) -> dict[str, str]:
    """The scales that a caller names, by judge, as the log writes them.

    >>> texts({"my-judge": (0, 10), "*": "pass_fail"})
    {'my-judge': '0..10', '*': 'pass_fail'}
    """
    if scales is None:
        return {}
    if not isinstance(scales, Mapping):
        raise ConfigError(f"scales={scales!r}; expected scales by judge, such as {{'my-judge': (0, 10)}}")
    return {str(judge): scale_text(scale, f"scales[{judge!r}]") for judge, scale in scales.items()}


def judge(read: dict[str, Read], present: Set[str], given: Mapping[str, str]) -> None:
    """Fill `scale` and `status` of judgements, and add the rules that go by them.

    Parameters
    ----------
    read : dict of str to Read
        Every column of the table; changed in place.
    present : set of str
        The columns that the source really has.
    given : dict of str to str
        Scales by `judge_model`, ``*`` for all others.
    """
    scale, known = _scale(read, present, given)
    low, high = _ends(scale, known)
    name = read["judge_model"].value.fill_null("*")
    row = {"scale": scale, "judge": name}
    score = read["quality_score"].value
    passing = scale == PASS_FAIL
    outside = ((score < low) | (score > high)).fill_null(False)
    read["quality_score"].rules += [
        Rule(
            "quality_score", outside & ~passing, score, "expected a score on the scale {scale}, or null", _REMEDY, row
        ),
        Rule(
            "quality_score", passing & score.notnull(), score, "expected no score of a pass / fail judge", _REMEDY, row
        ),
    ]
    text = read["dimensions"].value
    beyond = engines.json_values_outside(text, low, high)
    if beyond is not None:
        words = "expected scores by name on the scale {scale}"
        read["dimensions"].rules.append(Rule("dimensions", beyond, text, words, _REMEDY, row))
    read["scale"] = Read(scale, read["scale"].rules, read["scale"].mended)
    _status(read, present, scale)


def _scale(
    read: dict[str, Read], present: Set[str], given: Mapping[str, str]
) -> tuple[ir.StringValue, set[str] | None]:
    """The scale of each row, and the scales that it can be by the options alone."""
    import ibis

    others = given.get(EVERY, DEFAULT_SCALE)
    named = {judge: scale for judge, scale in given.items() if judge != EVERY}
    model = read["judge_model"].value
    meant = ibis.literal(others)
    if named and "judge_model" in present:
        meant = ibis.cases(*[(model == judge, scale) for judge, scale in named.items()], else_=others)
    if "scale" not in present:
        return meant, {others, *named.values()}
    stored = read["scale"].value.strip().nullif("")
    own = (
        stored.re_replace(r"\s*[.][.]\s*", "..").re_replace(r"[.]0+[.][.]", "..").re_replace(r"([.][.].*)[.]0+$", r"\1")
    )
    low, high = (engines.parse(own.re_extract(_PARTS, part).nullif(""), "float64") for part in (1, 2))
    fits = (own == PASS_FAIL) | (low < high).fill_null(False)
    words = f"expected a scale such as '0..10', its lower end first, or '{PASS_FAIL}'"
    read["scale"].rules.append(Rule("scale", stored.notnull() & ~fits, stored, words, spoils=SCORES))
    return ibis.coalesce(ibis.ifelse(fits, own, ibis.null("string")), meant), None


_PARTS = rf"^({_NUMBER})[.][.]({_NUMBER})$"


def _ends(scale: ir.StringValue, known: set[str] | None) -> tuple[Any, Any]:
    """Lower and upper end of each row's scale, null where it cannot be read."""
    import ibis

    if known is not None:
        ends = {text: scale_ends(text) for text in known}
        if len(ends) == 1:
            return next(iter(ends.values()))
        return tuple(ibis.cases(*[(scale == text, pair[side]) for text, pair in ends.items()]) for side in (0, 1))
    parts = [engines.parse(scale.re_extract(_PARTS, part).nullif(""), "float64") for part in (1, 2)]
    return tuple(ibis.ifelse(scale == PASS_FAIL, float(end), part) for end, part in zip((0, 1), parts))


def _status(read: dict[str, Read], present: Set[str], scale: ir.StringValue) -> None:
    """What failed: the column says so, where it is there; else what has no score (of pass / fail: no flag)."""
    import ibis

    score, flag = read["quality_score"].value, read["flagged"].value
    unknown = ibis.ifelse(scale == PASS_FAIL, flag.isnull(), score.isnull())
    status = ibis.ifelse(unknown, "failed", "ok")
    if "status" in present:
        stored = read["status"].value
        status = ibis.coalesce(stored, status)
        neither = (stored == "ok").fill_null(False) & score.isnull() & flag.isnull()
        words = "expected a score or a flag of a judgement that succeeded"
        read["status"].rules.append(Rule("status", neither, stored, words, spoils=("quality_score", "flagged")))
    failed = status == "failed"
    lone = failed & (scale != PASS_FAIL) & flag.notnull() & score.isnull()
    if "status" not in present:
        words = f"flags without a score read as failed judgements (of a judge that only passes or fails, say scales={{'*': '{PASS_FAIL}'}})"
        read["flagged"].mended.append(Mended("flagged", lone, words))
    else:
        read["flagged"].mended.append(
            Mended("flagged", failed & flag.fill_null(False), "flags of failed judgements left out")
        )
    read["quality_score"].mended.append(
        Mended("quality_score", failed & score.notnull(), "scores of failed judgements left out")
    )
    read["status"] = Read(status, read["status"].rules, read["status"].mended)
    read["flagged"].value = ibis.ifelse(failed, ibis.null("boolean"), flag)
    read["quality_score"].value = ibis.ifelse(failed, ibis.null("float64"), score)
