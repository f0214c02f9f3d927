"""What a judge is asked: dimensions with anchors, the flag rule, and the schema its answer has to fit."""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from llm_monitoring.errors import ConfigError, quote

Level = Annotated[int, Field(ge=1, le=5)]
Limit = Annotated[float, Field(ge=0, le=5)]
REASON = "reason"


class Dimension(BaseModel):
    """One thing that is rated from 1 to 5: its name, the question, and what some of the levels mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
    question: str = ""
    anchors: dict[Level, str] = {}


class FlagRule(BaseModel):
    """When an answer is flagged for people to look at; each limit is inclusive."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    quality_at_most: Limit | None = 2
    dimension_at_most: dict[str, Limit] = {}


class Rubric(BaseModel):
    """Dimensions, their anchors, the flag rule and a version; written as YAML.

    Parameters
    ----------
    name, version : str
        Change the version whenever the wording changes: a store refuses an edited rubric under an old version.
    task : str
        What the judge is told before the dimensions.
    dimensions : list of Dimension
        Each is rated 1 to 5; `quality_score` is their mean, rounded half up.
    flag : FlagRule

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
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    name: str = "rubric"
    version: Annotated[str, Field(min_length=1)]
    task: str = "You rate one answer that a software feature gave to one question of a user."
    dimensions: Annotated[tuple[Dimension, ...], Field(min_length=1)]
    flag: FlagRule = FlagRule()

    @field_validator("dimensions")
    @classmethod
    def _distinct(cls, dimensions: tuple[Dimension, ...]) -> tuple[Dimension, ...]:
        names = [dimension.name for dimension in dimensions]
        twice = sorted({name for name in names if names.count(name) > 1} | ({REASON} & set(names)))
        if twice:
            raise ValueError(f"dimension names have to be distinct and other than {REASON!r}: {', '.join(twice)}")
        return dimensions

    @model_validator(mode="after")
    def _flag_names(self) -> Rubric:
        unknown = sorted(set(self.flag.dimension_at_most) - set(self.names))
        if unknown:
            raise ValueError(
                f"flag.dimension_at_most names {quote(unknown[0])}; dimensions are {', '.join(self.names)}"
            )
        return self

    @property
    def names(self) -> list[str]:
        """The dimensions' names, in order."""
        return [dimension.name for dimension in self.dimensions]

    @property
    def label(self) -> str:
        """Name and version, as the judgements' `rubric_version` says it."""
        return f"{self.name}-{self.version}"

    def quality_score(self, scores: dict[str, int]) -> int:
        """Mean of the dimensions, rounded half up (2.5 is 3, and so is 3.49)."""
        return math.floor(sum(scores[name] for name in self.names) / len(self.names) + 0.5)

    def flag_reason(self, scores: dict[str, int]) -> str | None:
        """Which of the flag rule's limits the scores are under, or None."""
        quality, limit = self.quality_score(scores), self.flag.quality_at_most
        reasons = [f"quality_score {quality} <= {limit:g}"] if limit is not None and quality <= limit else []
        for name, most in self.flag.dimension_at_most.items():
            if scores[name] <= most:
                reasons.append(f"{name} {scores[name]} <= {most:g}")
        return "; ".join(reasons) or None

    @cached_property
    def answer_schema(self) -> dict[str, Any]:
        """JSON schema of the judge's answer: the reason first, then one integer from 1 to 5 per dimension."""
        properties: dict[str, Any] = {REASON: {"type": "string"}}
        properties |= {name: {"type": "integer", "enum": [1, 2, 3, 4, 5]} for name in self.names}
        return {
            "type": "object",
            "properties": properties,
            "required": [REASON, *self.names],
            "additionalProperties": False,
        }

    @cached_property
    def digest(self) -> str:
        """Hash of everything in the rubric, twelve hex digits."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
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
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            faults = error.errors()
            deepest = [f for f in faults if not any(_inside(other["loc"], f["loc"]) for other in faults)]
            raise ConfigError("\n".join(_line(where, fault) for fault in deepest)) from None

    def to_yaml(self) -> str:
        """The rubric as YAML text that `from_yaml` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)


def _inside(place: tuple, other: tuple) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _line(where: str, fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"] if part != "[key]")
    expected = str(fault.get("ctx", {}).get("error", "")) or EXPECTED.get(fault["type"], "expected {msg}")
    expected = expected.format(msg=fault["msg"].removeprefix("Input should be "), **fault.get("ctx", {}))
    if fault["type"] == "extra_forbidden":
        parents: list[type[BaseModel]] = [Rubric, FlagRule, Dimension]  # by their depth
        keys = list(parents[len(fault["loc"]) - 1].model_fields)
        close = difflib.get_close_matches(str(fault["loc"][-1]), keys, n=1, cutoff=0.5)
        expected += ", ".join(keys) + (f"; the nearest is {close[0]!r}" if close else "")
    if fault["type"] == "value_error":
        return f"{where}{', ' + place if place else ''}: {expected}"
    return f"{where}, {place}: {'missing' if fault['type'] == 'missing' else quote(fault['input'])}; {expected}"


EXPECTED = {  # what stands after the value, by pydantic's names of faults
    "missing": "every rubric has it",
    "extra_forbidden": "no key of a rubric; expected one of ",
    "string_pattern_mismatch": "expected a letter, then at most 39 letters, digits or _",
    "too_short": "expected at least one",
    "string_too_short": "expected a text",
    "int_parsing": "expected a level from 1 to 5",
    "greater_than_equal": "expected a number >= {ge:g}",
    "less_than_equal": "expected a number <= {le:g}",
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
