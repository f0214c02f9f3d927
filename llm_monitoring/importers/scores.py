"""Scores that other tools keep beside an answer, one by one, gathered to judgements, thumbs and reviews."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from llm_monitoring.importers.draft import Draft
from llm_monitoring.importers.values import number, text

OVERALL = ("overall", "quality", "quality_score", "score", "overall_quality")
FEEDBACK = ("user-feedback", "user_feedback", "feedback", "thumbs", "user-rating", "user_score", "thumbs_up")


class Score(NamedTuple):
    """One score of a judge, with what it is about."""

    place: str
    request: str
    name: str
    value: float
    at: datetime
    label: str
    comment: str | None


@dataclass
class Scores:
    """The scores of a source. `judgements` makes one row of all of a request's."""

    draft: Draft
    found: list[Score] = field(default_factory=list)

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
    ) -> None:
        """Take one score of a judge; one of no known request, without number or time, is set aside."""
        score = number(value)
        if request is None:
            self.draft.aside(place, name, f"score {name!r} names no request of the source")
        elif score is None:
            self.draft.aside(place, request, f"score {name!r} is no number")
        elif at is None:
            self.draft.aside(place, request, f"score {name!r} has no time")
        else:
            self.found.append(Score(place, request, name, score, at, (label or "").lower(), comment))

    def judgements(self) -> None:
        """One judgement a request. Without an overall score it is the mean of the others, rounded half up."""
        scales: dict[str, list[float]] = {}
        for score in self.found:
            scales.setdefault(score.name, []).append(score.value)
        of: dict[str, list[Score]] = {}
        for score in self.found:
            values = scales[score.name]
            if min(values) < 1 or max(values) > 5 or max(values) <= 1:
                reason = (
                    f"score {score.name!r} is not on the scale 1 to 5: {min(values):g} to {max(values):g} in the source"
                )
                self.draft.aside(score.place, score.request, reason)
            else:
                self.draft.guess(
                    f"score {score.name!r} is on the scale 1 to 5, 5 best: {min(values):g} to {max(values):g} in the source"
                )
                self.draft.score()
                of.setdefault(score.request, []).append(score)
        for request, scores in of.items():
            self.draft.judgements.append(self._judgement(request, scores))

    def _judgement(self, request: str, scores: list[Score]) -> dict[str, Any]:
        row = self.draft.request(request)
        if row is None:
            self.draft.guess("a judged request is not in the source: its feature_id is 'unknown'")
        dimensions = {score.name: score.value for score in scores if score.name.lower() not in OVERALL}
        overall = [score.value for score in scores if score.name.lower() in OVERALL]
        if not overall:
            self.draft.guess("quality_score is the mean of the dimensions, rounded half up")
        quality = overall[-1] if overall else float(int(sum(dimensions.values()) / len(dimensions) + 0.5))
        self.draft.guess("flagged is a quality or a correctness of 2 or less, or the label fail")
        flagged = (
            quality <= 2
            or dimensions.get("correctness", 5) <= 2
            or any(score.label in ("fail", "failed") for score in scores)
        )
        said = "; ".join(score.comment for score in scores if score.comment)
        return {
            "request_id": request,
            "feature_id": row["feature_id"] if row else "unknown",
            "quality_score": quality,
            "dimensions": dimensions,
            "flagged": flagged,
            "flag_reason": (said or "Low quality score") if flagged else None,
            "judged_at": max(score.at for score in scores),
            "status": "ok",
        }

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
            reason = "names no request" if request is None else "has no time" if at is None else "is neither 1 nor 0"
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
    ) -> None:
        """A person's score from 1 to 5 as a review: real (bad) up to 2, false_positive (fine) from 4, unsure between."""
        score = number(value)
        if request is None or at is None or score is None or not 1 <= score <= 5 or name.lower() not in OVERALL:
            self.draft.aside(
                place, request or name, f"a person's score {name!r} is no overall score from 1 to 5 of a known request"
            )
            return
        self.draft.score()
        self.draft.guess("a person's score is a review: real up to 2, false_positive from 4, unsure between")
        verdict = "real" if score <= 2 else "false_positive" if score >= 4 else "unsure"
        row = {
            "request_id": request,
            "verdict": verdict,
            "reviewer": text(by),
            "reviewed_at": at,
            "note": comment,
            "quality_score": score,
        }
        self.draft.reviews.append(row)
