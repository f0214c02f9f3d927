"""Scores that other tools keep beside an answer, one by one, gathered to judgements, thumbs and reviews.

A score stays on its own scale. Those of one answer on one scale are one judgement; a mean is never taken over two scales.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from llm_monitoring.errors import ConfigError, quote
from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.values import number, text
from llm_monitoring.schema import DEFAULT_SCALE, PASS_FAIL, scale_ends, scale_text

OVERALL = ("overall", "quality", "quality_score", "score", "overall_quality")
FEEDBACK = ("user-feedback", "user_feedback", "feedback", "thumbs", "user-rating", "user_score", "thumbs_up")
PASS = ("pass", "passed", "true", "yes", "ok", "success", "1", "1.0")
FAIL = ("fail", "failed", "false", "no", "failure", "0", "0.0")
EVERY = "*"


class Score(NamedTuple):
    """One score of a judge, with what it is about. `value` of a pass / fail judge is 1 or 0."""

    place: str
    request: str
    name: str
    value: Any
    at: datetime
    label: str
    comment: str | None
    own: str | None


@dataclass
class Scores:
    """The scores of a source. `judgements` makes rows of them, one a request and scale.

    `scales` are the caller's: name of a score -> ``(0, 1)``, ``"0..1"`` or ``"pass_fail"``, ``*`` for all others.
    """

    draft: Draft
    scales: Mapping[str, Any] | None = None
    found: list[Score] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.scales is not None and not isinstance(self.scales, Mapping):
            raise ConfigError(
                f"scales={quote(self.scales)}; expected names of scores with their scales, {{'tone': (0, 1)}}"
            )
        self.scales = {
            str(name): scale_text(scale, f"scales[{name!r}]") for name, scale in dict(self.scales or {}).items()
        }

    def named(self, name: str) -> bool:
        """Whether the caller says by name what scale a score has: then it is a judge's."""
        return name in dict(self.scales or {})

    def add(
        self,
        place: str,
        request: str | None,
        *,
        name: str,
        value: Any,
        at: datetime | None,
        label: str | None = None,
        comment: str | None = None,
        own: str | None = None,
    ) -> None:
        """Take one score of a judge; one of no known request or without a time is set aside.

        `own` is the scale that the source itself states for it.
        """
        if request is None:
            self.draft.aside(place, name, f"score {name!r} names no request of the source")
        elif at is None:
            self.draft.aside(place, request, f"score {name!r} has no time")
        else:
            if own is None and (isinstance(value, bool) or (value is None and _verdict(label) is not None)):
                own = PASS_FAIL
            self.found.append(Score(place, request, name, value, at, str(label or "").lower(), comment, own))

    def judgements(self) -> None:
        """One judgement a request and scale; where a source has several scales, each names the judge it belongs to."""
        by_scale: dict[str, dict[str, list[Score]]] = {}
        by_name: dict[str, list[Score]] = {}
        for score in self.found:
            by_name.setdefault(score.name, []).append(score)
        for name, scores in by_name.items():
            for scale, known in self._on_their_scale(name, scores).items():
                for score in known:
                    by_scale.setdefault(scale, {}).setdefault(score.request, []).append(score)
        main = _main(by_scale)
        for scale, requests in by_scale.items():
            for request, scores in requests.items():
                self._rows(request, scores, scale, main)

    def _on_their_scale(self, name: str, scores: list[Score]) -> dict[str, list[Score]]:
        """The scores of one name by their scale; those that are not on it, or on none that is known, are set aside."""
        given = dict(self.scales or {})
        values = [value for score in scores if (value := number(score.value)) is not None]
        inferred = DEFAULT_SCALE if values and min(values) >= 1 and 1 < max(values) <= 5 else None
        kept: dict[str, list[Score]] = {}
        for score in scores:
            scale = given.get(name) or score.own or given.get(EVERY) or inferred
            value = _value(score, scale)
            if value is None:
                self.draft.aside(score.place, score.request, _why_not(score, scale, values))
                continue
            kept.setdefault(str(scale), []).append(score._replace(value=value))
            self.draft.score()
            self.draft.guess(_scale_words(name, str(scale), values))
        return kept

    def _rows(self, request: str, scores: list[Score], scale: str, main: str | None) -> None:
        """The judgement of one request on one scale: of all names on the main scale, else one of each name."""
        latest: dict[str, Score] = {}
        for score in sorted(scores, key=lambda each: (each.at, each.place)):
            if score.name in latest:
                self.draft.guess(f"score {score.name!r} is on an answer twice: the latest counts")
            latest[score.name] = score
        if main is None or scale == main:
            judge = None if main is None else self.draft.format
            self.draft.judgements.append(self._judgement(request, list(latest.values()), scale, judge))
        else:
            for name, score in latest.items():
                self.draft.judgements.append(self._judgement(request, [score], scale, name))

    def _judgement(self, request: str, scores: list[Score], scale: str, judge: str | None) -> dict[str, Any]:
        row = self.draft.request(request)
        if row is None:
            self.draft.guess("a judged request is not in the source: its feature_id is 'unknown'")
        scores = sorted(scores, key=lambda each: each.name)
        dimensions = {score.name: score.value for score in scores if score.name.lower() not in OVERALL}
        quality = None if scale == PASS_FAIL else self._quality(scores, dimensions, scale)
        flagged, why = self._flag(scores, dimensions, quality, scale)
        said = "; ".join(score.comment for score in scores if score.comment)
        return {
            "request_id": request,
            "feature_id": row["feature_id"] if row else "unknown",
            "quality_score": quality,
            "dimensions": dimensions,
            "flagged": flagged,
            "flag_reason": (said or why) if flagged else None,
            "judged_at": max(score.at for score in scores),
            "judge_model": judge,
            "status": "ok",
            "scale": scale,
        }

    def _quality(self, scores: list[Score], dimensions: Mapping[str, float], scale: str) -> float:
        overall = [score for score in scores if score.name.lower() in OVERALL]
        if overall:
            return max(overall, key=lambda each: each.at).value
        mean = sum(dimensions.values()) / len(dimensions)
        if scale != DEFAULT_SCALE:
            self.draft.guess(f"quality_score on {scale} is the mean of the dimensions")
            return mean
        self.draft.guess("quality_score is the mean of the dimensions, rounded half up")
        return float(int(mean + 0.5))

    def _flag(
        self, scores: list[Score], dimensions: Mapping[str, float], quality: float | None, scale: str
    ) -> tuple[bool | None, str | None]:
        """Whether the judge flags the answer and why; unknown where the source states no rule for its scale."""
        labels = [verdict for score in scores if (verdict := _verdict(score.label)) is not None]
        if scale == PASS_FAIL:
            failed = [score.name for score in scores if not score.value]
            self.draft.guess("flagged is a fail of a pass / fail score")
            return bool(failed), f"failed: {', '.join(failed)}"
        if scale == DEFAULT_SCALE:
            self.draft.guess("flagged is a quality or a correctness of 2 or less, or the label fail")
            low = (quality or 5) <= 2 or dimensions.get("correctness", 5) <= 2
            return low or not all(labels), "Low quality score"
        self.draft.guess(f"flagged on {scale} is the label fail; without a label it is unknown")
        return (not all(labels) if labels else None), "the label says fail"

    def thumb(
        self,
        place: str,
        request: str | None,
        session: str | None,
        *,
        name: str,
        value: Any,
        at: datetime | None,
        comment: str | None,
    ) -> None:
        """A user's yes or no as a thumbs_up or thumbs_down."""
        score = number(value) if not isinstance(value, bool) else float(value)
        if request is None or at is None or score not in (0, 1, -1):
            reason = (
                "names no request"
                if request is None
                else "has no time"
                if at is None
                else f"is neither 1 nor 0: {quote(value)}; on another scale it is read as a judgement with {_option(name)}"
            )
            self.draft.aside(place, request or name, f"feedback {name!r} {reason}")
            return
        self.draft.score()
        self.draft.guess(f"{name!r} is a user's thumb: 1 up, 0 or -1 down")
        said = {"source": name} | ({"comment": comment} if comment else {})
        kind = "thumbs_up" if score == 1 else "thumbs_down"
        row = {"request_id": request, "session_id": session, "signal_type": kind, "timestamp": at, "metadata": said}
        self.draft.signals.append(row)

    def review(
        self,
        place: str,
        request: str | None,
        *,
        name: str,
        value: Any,
        at: datetime | None,
        by: Any,
        comment: str | None,
        own: str | None = None,
    ) -> None:
        """A person's score as a review: real (bad) in the lowest quarter of its scale, false_positive (fine) in the highest."""
        given = dict(self.scales or {})
        scale = given.get(name) or own or given.get(EVERY) or DEFAULT_SCALE
        known = name.lower() in OVERALL or self.named(name)
        score = _value(Score(place, str(request), name, value, at or datetime.min, "", comment, own), scale)
        if request is None or at is None or score is None or not known:
            words = "a score of a known request on a scale that is named" if known else "an overall score"
            reason = f"a person's score {name!r} is no {words.removeprefix('an ').removeprefix('a ')}"
            self.draft.aside(place, request or name, f"{reason}; {_option(name)} reads it as a review")
            return
        self.draft.score()
        low, high = scale_ends(scale)
        at_place = (score - low) / (high - low)
        if scale == DEFAULT_SCALE:
            self.draft.guess("a person's score is a review: real up to 2, false_positive from 4, unsure between")
        else:
            self.draft.guess(
                f"a person's score on {scale} is a review: real in its lowest quarter, false_positive in its highest"
            )
        row = {
            "request_id": request,
            "verdict": "real" if at_place <= 0.25 else "false_positive" if at_place >= 0.75 else "unsure",
            "reviewer": text(by),
            "reviewed_at": at,
            "note": comment,
            "quality_score": score if scale == DEFAULT_SCALE else None,
        }
        self.draft.reviews.append(row)


def _main(by_scale: Mapping[str, Mapping[str, list[Score]]]) -> str | None:
    """Of several scales the one with most scores: 1 to 5 before others of as many. None where there is one at most."""
    if len(by_scale) < 2:
        return None
    counts = Counter({scale: sum(map(len, requests.values())) for scale, requests in by_scale.items()})
    return min(counts, key=lambda scale: (-counts[scale], scale != DEFAULT_SCALE, scale))


def _value(score: Score, scale: str | None) -> float | None:
    """The score as a number on its scale, 1 or 0 where that is pass / fail; None where it is not on it."""
    if scale is None:
        return None
    if scale == PASS_FAIL:
        given = score.value if score.value is not None else score.label
        verdict = given if isinstance(given, bool) else _verdict(given)
        return None if verdict is None else float(verdict)
    value, (low, high) = number(score.value), scale_ends(scale)
    return value if value is not None and low <= value <= high else None


def _verdict(value: Any) -> bool | None:
    word = str(value).strip().lower()
    return True if word in PASS else False if word in FAIL else None


def _option(name: str, scale: str = "0..1") -> str:
    ends = f'"{PASS_FAIL}"' if scale == PASS_FAIL else f"({scale.replace('..', ', ')})"
    return f'scales={{"{name}": {ends}}}, on the command line --scale {name}={scale}'


def _why_not(score: Score, scale: str | None, values: list[float]) -> str:
    """Why a score is set aside, with the option that would have read it."""
    name = score.name
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = f"{low:g}" if low == high else f"{low:g} to {high:g}"
    if scale is not None and number(score.value) is not None:
        return f"score {name!r} is not on its scale {scale} ({span} in the source)"
    if scale is not None:
        given = score.value if score.value is not None else score.label or None
        shown = "unknown" if given is None else quote(given)
        return f"score {name!r} is {shown}, which is not on its scale {scale}"
    if not values or number(score.value) is None:
        return f"score {name!r} is no number" + (
            f"; {_option(name, PASS_FAIL)} reads it" if _verdict(score.value) is not None else ""
        )
    fits = next(
        (
            f"{least}..{most}"
            for least, most in ((0, 1), (0, 5), (0, 10), (0, 100), (-1, 1))
            if least <= low and high <= most
        ),
        f"{low:g}..{high:g}",
    )
    return f"score {name!r} is on no known scale ({span} in the source); if it is {fits}: {_option(name, fits)}"


def _scale_words(name: str, scale: str, values: list[float]) -> str:
    if scale == PASS_FAIL:
        return f"score {name!r} is pass / fail"
    low, high = scale.split("..")
    seen = f"{min(values):g} to {max(values):g} in the source"
    return f"score {name!r} is on the scale {low} to {high}, {high} best: {seen}"
