"""What a judge is asked: dimensions with anchors, the flag rule, and the schema its answer has to fit."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llm_monitoring.errors import ConfigError, nearest, quote

Number = Annotated[float, Field(allow_inf_nan=False)]
Level = int | Number
PASS_FAIL = "pass_fail"
USUAL = (1.0, 5.0)
REASON, VERDICT = "reason", "verdict"


class Dimension(BaseModel):
    """One thing that is rated: its name, the question, and what some of the levels of the scale mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
    question: str = ""
    anchors: dict[Level, str] = {}


class FlagRule(BaseModel):
    """When an answer is flagged for people to look at; each limit is inclusive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quality_at_most: Number | None = 2
    dimension_at_most: dict[str, Number] = {}


class Rubric(BaseModel):
    """Dimensions, their anchors, the flag rule and a version; written as YAML.

    Parameters
    ----------
    name, version : str
        Change the version whenever the wording changes: a store refuses an edited rubric under an old version.
    task : str
        What the judge is told before the dimensions.
    scale : (low, high) or "pass_fail"
        1 to 5 unless given; ``0..10`` is understood in YAML. With ``"pass_fail"`` the judge gives one verdict and no
        score: its judgements have no `quality_score`, and `flagged` is the verdict.
    dimensions : list of Dimension
        Each is rated on the scale, from 1 to 5 in whole numbers. `quality_score` is their mean, on the scale 1 to 5
        rounded half up, on others as it is. With ``"pass_fail"`` they are what the judge looks at, and may be left out.
    flag : FlagRule
        Has to be written where the scale is not 1 to 5, and has no place with ``"pass_fail"``.

    Raises
    ------
    ConfigError
        One line per fault.

    Examples
    --------
    >>> rubric = Rubric.from_yaml('''
    ... name: support
    ... version: "2026-05"
    ... dimensions:
    ...   - {name: correctness, question: "Is it true?", anchors: {1: wrong, 5: right}}
    ...   - {name: politeness, question: "Is it polite?"}
    ... flag: {quality_at_most: 2, dimension_at_most: {correctness: 2}}
    ... ''')
    >>> rubric.quality_score({"correctness": 2, "politeness": 5})
    4
    >>> rubric.flag_reason({"correctness": 2, "politeness": 5})
    'correctness 2 <= 2'
    >>> Rubric(version="1", scale=(0, 10), dimensions=[{"name": "a"}, {"name": "b"}], flag={"quality_at_most": 4}
    ...     ).quality_score({"a": 7, "b": 8})
    7.5
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    name: str = "rubric"
    version: Annotated[str, Field(min_length=1)]
    task: str = "You rate one answer that a software feature gave to one question of a user."
    scale: tuple[Number, Number] | Literal["pass_fail"] = USUAL
    dimensions: tuple[Dimension, ...] = ()
    flag: FlagRule = FlagRule()

    def __init__(self, **content: Any) -> None:
        where = content.pop("_where", "Rubric")
        try:
            super().__init__(**content)
        except ValidationError as error:
            faults = error.errors()
            deepest = [f for f in faults if not any(_inside(other["loc"], f["loc"]) for other in faults)]
            raise ConfigError("\n".join(_line(where, fault) for fault in deepest)) from None

    @field_validator("scale", mode="before")
    @classmethod
    def _ends(cls, scale: Any) -> Any:
        ends = scale.split("..") if isinstance(scale, str) and scale != PASS_FAIL else scale
        try:
            if ends != PASS_FAIL:
                low, high = (float(end) for end in ends)
                if not -math.inf < low < high < math.inf:
                    raise ValueError
                return low, high
        except (TypeError, ValueError):
            raise ValueError(
                f"{quote(scale)}; expected two numbers, the worst and the best score, such as [0, 10], or pass_fail"
            ) from None
        return scale

    @field_validator("dimensions")
    @classmethod
    def _distinct(cls, dimensions: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
        names = [dimension.name for dimension in dimensions]
        twice = sorted({name for name in names if names.count(name) > 1} | ({REASON} & set(names)))
        if twice:
            raise ValueError(f"dimension names have to be distinct and other than {REASON!r}: {', '.join(twice)}")
        return dimensions

    @model_validator(mode="before")
    @classmethod
    def _only_limits_that_are_written(cls, content: Any) -> Any:
        """The usual limit of 2 belongs to the scale 1 to 5."""
        if not isinstance(content, dict) or _is_usual(content.get("scale", USUAL)):
            return content
        flag = content.get("flag")
        if isinstance(flag, FlagRule) and "quality_at_most" not in flag.model_fields_set:
            return {**content, "flag": flag.model_copy(update={"quality_at_most": None})}
        if isinstance(flag, dict):
            return {**content, "flag": {"quality_at_most": None, **flag}}
        return content

    @model_validator(mode="after")
    def _fits_its_scale(self) -> Rubric:
        unknown = sorted(set(self.flag.dimension_at_most) - set(self.names))
        if unknown:
            raise ValueError(
                f"flag.dimension_at_most names {quote(unknown[0])}; dimensions are {', '.join(self.names)}"
            )
        levels = [(f"anchors of {one.name}", level) for one in self.dimensions for level in one.anchors]
        if self.scale == PASS_FAIL:
            if levels or ("flag" in self.model_fields_set and self.flag != FlagRule(quality_at_most=None)):
                raise ValueError("a pass_fail rubric has a verdict in the place of levels; leave anchors and flag out")
            return self
        if not self.dimensions:
            raise ValueError("dimensions are missing; expected at least one")
        if not self.is_usual and "flag" not in self.model_fields_set:
            raise ValueError(
                f"flag is missing; on the scale {self.scale_label} it has to be written, such as "
                f"flag: {{quality_at_most: {self.ends[0] + 0.4 * (self.ends[1] - self.ends[0]):g}}}"
            )
        low, high = self.ends
        limits = [(f"flag.dimension_at_most.{name}", most) for name, most in self.flag.dimension_at_most.items()]
        limits += [("flag.quality_at_most", self.flag.quality_at_most)] if self.flag.quality_at_most is not None else []
        for place, value, least in [(*one, low) for one in levels] + [(*one, min(low, 0.0)) for one in limits]:
            if not least <= value <= high:
                raise ValueError(
                    f"{place}: {value:g}; expected a number from {least:g} to {high:g}, the rubric's scale"
                )
        return self

    @property
    def is_usual(self) -> bool:
        """Whether scores are whole numbers from 1 to 5."""
        return self.scale == USUAL

    @property
    def ends(self) -> tuple[float, float]:
        """The worst and the best score."""
        return USUAL if isinstance(self.scale, str) else self.scale

    @property
    def scale_label(self) -> str:
        """The scale as the judgements' column `scale` says it: ``1..5``, ``0..10``, ``pass_fail``."""
        return self.scale if isinstance(self.scale, str) else f"{self.scale[0]:g}..{self.scale[1]:g}"

    @property
    def names(self) -> list[str]:
        """The dimensions' names, in order."""
        return [dimension.name for dimension in self.dimensions]

    @property
    def label(self) -> str:
        """Name and version, as the judgements' `rubric_version` says it."""
        return f"{self.name}-{self.version}"

    def quality_score(self, scores: Mapping[str, float]) -> float:
        """Mean of the dimensions; on the scale 1 to 5 rounded half up (2.5 is 3, and so is 3.49)."""
        mean = sum(scores[name] for name in self.names) / len(self.names)
        return math.floor(mean + 0.5) if self.is_usual else mean

    def flag_reason(self, scores: Mapping[str, float]) -> str | None:
        """Which of the flag rule's limits the scores are under, or None."""
        quality, limit = self.quality_score(scores), self.flag.quality_at_most
        reasons = [f"quality_score {quality:g} <= {limit:g}"] if limit is not None and _at_most(quality, limit) else []
        for name, most in self.flag.dimension_at_most.items():
            if _at_most(scores[name], most):
                reasons.append(f"{name} {scores[name]:g} <= {most:g}")
        return "; ".join(reasons) or None

    @cached_property
    def answer_schema(self) -> dict[str, Any]:
        """JSON schema of the judge's answer: the reason first, then one score per dimension, or the verdict."""
        low, high = self.ends
        score: dict[str, Any] = {"type": "number", "minimum": low, "maximum": high}
        if self.is_usual:
            score = {"type": "integer", "enum": [1, 2, 3, 4, 5]}
        asked = dict.fromkeys(self.names, score)
        if self.scale == PASS_FAIL:
            asked = {VERDICT: {"type": "string", "enum": ["pass", "fail"]}}
        return {
            "type": "object",
            "properties": {REASON: {"type": "string"}, **asked},
            "required": [REASON, *asked],
            "additionalProperties": False,
        }

    @cached_property
    def digest(self) -> str:
        """Hash of everything in the rubric, twelve hex digits."""
        content = self.model_dump(mode="json", exclude={"scale"} if self.is_usual else None)
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @classmethod
    def from_yaml(cls, source: str | Path) -> Rubric:
        """Read a rubric from a YAML file (a path) or from YAML text (a string with a line break).

        Raises
        ------
        ConfigError
            One line per fault.
        """
        where, text = "rubric", str(source)
        if isinstance(source, Path) or "\n" not in source:
            where = str(source)
            if not Path(source).is_file():
                raise ConfigError(f"{where}: no such file; a rubric is a YAML file, DEFAULT_RUBRIC.to_yaml() shows one")
            try:
                text = Path(source).read_text(encoding="utf-8-sig")
            except UnicodeDecodeError as error:
                raise ConfigError(f"{where}: byte {error.start} is not UTF-8; expected a YAML file in UTF-8") from None
        try:
            content = yaml.load(text, _PlainLoader)
        except yaml.YAMLError as error:
            raise ConfigError(f"{where}: not YAML: {' '.join(str(error).split())}") from None
        if not isinstance(content, dict):
            raise ConfigError(f"{where}: {quote(content)}; expected a mapping with version and dimensions")
        return cls(_where=where, **{str(key): value for key, value in content.items()})

    def to_yaml(self) -> str:
        """The rubric as YAML text that `from_yaml` reads back."""
        content = self.model_dump(mode="json", exclude={"scale"} if self.is_usual else None)
        if self.scale == PASS_FAIL:
            content.pop("flag")
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _at_most(score: float, limit: float) -> bool:
    """A mean of .2 and .4 is at most .3, whatever its last binary digit says."""
    return score <= limit or math.isclose(score, limit, rel_tol=1e-9)


def _is_usual(scale: Any) -> bool:
    try:
        return tuple(float(end) for end in (scale.split("..") if isinstance(scale, str) else scale)) == USUAL
    except (TypeError, ValueError):
        return False


def _inside(place: tuple, other: tuple) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _line(where: str, fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"] if part != "[key]")
    given = str(fault.get("ctx", {}).get("error", ""))
    words = {"msg": fault["msg"].removeprefix("Input should be "), **fault.get("ctx", {})}
    expected = given or EXPECTED.get(fault["type"], "expected {msg}").format(**words)
    if fault["type"] == "extra_forbidden":
        parents: list[type[BaseModel]] = [Rubric, FlagRule, Dimension]  # by their depth
        keys = list(parents[len(fault["loc"]) - 1].model_fields)
        expected += ", ".join(keys) + nearest(fault["loc"][-1], keys, 0.5)
    if fault["type"] == "value_error":
        return f"{where}{', ' + place if place else ''}: {expected}"
    return f"{where}, {place}: {'missing' if fault['type'] == 'missing' else quote(fault['input'])}; {expected}"


EXPECTED = {  # what stands after the value, by pydantic's names of faults
    "missing": "every rubric has it",
    "extra_forbidden": "not a key of a rubric; expected one of ",
    "string_pattern_mismatch": "expected a letter, then at most 39 letters, digits or _",
    "too_short": "expected at least one",
    "string_too_short": "expected a text",
    "int_parsing": "expected a level of the scale, a number",
    "float_parsing": "expected a number",
    "tuple_type": "expected a list",
    "model_type": "expected a mapping with name, question, anchors",
}


class _PlainLoader(yaml.SafeLoader):
    """Texts stay as they are written: `version: 1.10` is not 1.1, `2026-05-01` no date, an anchor `yes` not true."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


DEFAULT_RUBRIC = Rubric.from_yaml(Path(__file__).with_name("default_rubric.yaml"))
