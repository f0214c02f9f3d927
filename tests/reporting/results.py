"""Stage results as the notebooks save them, made by hand: a provider's update hits one model in one feature.

Every builder takes fields by name in place of its defaults, so that a test shows only what it is about.
"""

from __future__ import annotations

from typing import Any

SINCE, FIRED, UNTIL = "2023-06-27T00:00:00Z", "2023-06-28T00:03:00Z", "2023-06-28T02:40:00Z"
HIT = {"feature_id": "opinionqa", "model_id": "gpt-4"}


def make_alert(**fields: Any) -> dict[str, Any]:
    return {
        "alert_id": "q-opinionqa-flagged_rate-20230627",
        "layer": "quality",
        "metric": "flagged_rate",
        "feature_id": "opinionqa",
        "fired_at": FIRED,
        "window_start": SINCE,
        "value": 0.333,
        "expected": 0.041,
        "low": 0.0,
        "high": 0.086,
        "direction": "up",
        "severity": "critical",
        "n": 198,
        "designed_false_alarms_per_month": 0.08,
        "message": "opinionqa: 33 % of 198 judged answers are flagged; 4.1 % is expected, up to 8.6 % by chance.",
        **fields,
    }


def make_triage(**fields: Any) -> dict[str, Any]:
    return {
        "verdict": "real",
        "probability_real": 0.9995,
        "metric": "flagged_rate",
        "unit": "share",
        "feature_id": "opinionqa",
        "direction": "up",
        "since": SINCE,
        "until": UNTIL,
        "change": {
            "estimate": 0.29, "low": 0.23, "high": 0.36,
            "before": 0.041, "before_low": 0.035, "before_high": 0.048,
            "after": 0.33, "after_low": 0.27, "after_high": 0.4, "n_before": 3012, "n_after": 210,
        },
        "reviewed": 20,
        "deserved": 18,
        "precision": {"estimate": 0.9, "low": 0.59, "high": 0.99},
        "reasons": [
            "18 of 20 flagged answers that were read deserved the flag.",
            "The share of bad answers rose with probability > 0.999.",
        ],
        "next": "Find out whom it hits.",
        "fired_at": FIRED,
        "message": make_alert()["message"],
        "designed_false_alarms_per_month": 0.08,
        "chart": make_chart(),
        "reviews": make_reviews(),
        "decided_at": 2,
        "wald": {"p_real": 0.8, "p_false": 0.1, "expected_n": 2.4},
        **fields,
    }  # fmt: skip


def make_chart(levels: tuple[float, ...] = (4.9, 4.8, 4.7, 4.0, 2.1, 5.2, 4.8, 4.4, 4.1, 6.0, 2.6, 3.4, 2.4, 2.2)):
    values = [*(level / 100 for level in levels), 0.333, 0.33]
    return [
        {
            "window_start": f"2023-06-{13 + day:02d}T00:00:00Z",
            "window_end": f"2023-06-{14 + day:02d}T00:00:00Z",
            "value": value,
            "n": 12 if day == 15 else 198 + day,
            "center": None if day == 15 else 0.041,
            "lower": None if day == 15 else 0.0,
            "upper": None if day == 15 else 0.086,
            "alarm": None if day == 15 else day == 14,
        }
        for day, value in enumerate(values)
    ]


def make_reviews(verdicts: str = "rrrrrurrrrrrrrrfrrrr", text: str = "How much of a problem is {i} in your community?"):
    words = {"r": "real", "f": "false_positive", "u": "unsure"}
    rows, deserved = [], 0
    for i, letter in enumerate(verdicts):
        deserved += letter == "r"
        share = deserved / (i + 1)
        rows.append(
            {
                "request_id": f"oqa-{i:04d}",
                "timestamp": f"2023-06-27T{i:02d}:15:00Z",
                "feature_id": "opinionqa",
                "user_input": text.format(i=i),
                "system_output": "This question is subjective and depends on the opinion of the person who is asked.",
                "verdict": words[letter],
                "note": None,
                "share": share,
                "low": max(0.0, share - 0.3),
                "high": min(1.0, share + 0.1),
            }
        )
    return rows


def make_slice(where=None, **fields: Any) -> dict[str, Any]:
    return {
        "where": HIT if where is None else where,
        "label": "gpt-4 in opinionqa",
        "verdict": "worse",
        "before": 0.022, "before_low": 0.015, "before_high": 0.03,
        "after": 0.667, "after_low": 0.57, "after_high": 0.752,
        "change": 0.645, "low": 0.547, "high": 0.73,
        "n_before": 1506, "n_after": 99,
        "share_of_change": 1.08,
        "probability": 0.97,
        **fields,
    }  # fmt: skip


def make_scope(**fields: Any) -> dict[str, Any]:
    few = {"verdict": "too few to tell", "probability": None, "share_of_change": None}
    others = [
        make_slice(
            {"feature_id": "opinionqa", "model_id": "gpt-3.5-turbo"}, label="gpt-3.5-turbo in opinionqa",
            verdict="no change seen", before=0.061, before_low=0.05, before_high=0.075, after=0.036, after_low=0.014,
            after_high=0.089, change=-0.025, low=-0.05, high=0.03, n_after=111, share_of_change=-0.04, probability=0.01,
        ),
        make_slice(
            {"feature_id": "sensitiveq", "model_id": "gpt-4"}, label="gpt-4 in sensitiveq", before=0.21,
            before_low=0.14, before_high=0.3, after=0.0, after_low=0.0, after_high=0.3, change=-0.21, low=-0.3,
            high=0.1, n_before=100, n_after=9, **few,
        ),
        make_slice(
            {"feature_id": "leetcode_easy", "model_id": "gpt-4"}, label="gpt-4 in leetcode_easy", before=0.48,
            before_low=0.35, before_high=0.61, after=0.0, after_low=0.0, after_high=0.79, change=-0.48, low=-0.6,
            high=0.32, n_before=50, n_after=1, **few,
        ),
    ]  # fmt: skip
    return {
        "kind": "slice",
        "metric": "flagged_rate",
        "unit": "share",
        "since": SINCE,
        "until": UNTIL,
        "slices": [make_slice(), others[0]],
        "leaves": [make_slice(), *others],
        "mix_effect": -0.017,
        "within_effect": 0.27,
        "reasons": ["gpt-4 in opinionqa carries 108 % of the rise; other slices fell."],
        "next": "Find out what did it.",
        **fields,
    }


def make_cause(cause: str = "chg-0613", probability: float = 0.98, **fields: Any) -> dict[str, Any]:
    return {
        "cause": cause,
        "kind": "model_version",
        "description": "provider moves gpt-4 and gpt-3.5-turbo from 0314 and 0301 to 0613",
        "at": SINCE,
        "probability": probability,
        "recorded": True,
        "evidence": ["Its time lies inside the start interval.", "gpt-3.5-turbo in opinionqa stayed."],
        **fields,
    }


def make_isolate(**fields: Any) -> dict[str, Any]:
    def unrecorded(cause, probability, evidence):
        return make_cause(
            cause, probability, kind=cause, description=None, at=None, recorded=False, evidence=[evidence]
        )

    return {
        "ranking": [
            make_cause(),
            unrecorded("silent", 0.018, "Fits in time, but needs an unlogged event within two hours of a logged one."),
            unrecorded("judge", 0.0004, "Would have moved gpt-3.5-turbo in opinionqa too; it stayed."),
            unrecorded("none", 0.0001, "Chance cannot explain the rise."),
        ],
        "onset": {"at": "2023-06-27T00:20:00Z", "low": "2023-06-26T23:50:00Z", "high": "2023-06-27T02:00:00Z"},
        "verdict": "chg-0613",
        "candidates": ["chg-0613"],
        "metric": "flagged_rate",
        "where": HIT,
        "changes_in_reach": 1,
        "answers": [
            {
                "timestamp": f"2023-06-{26 + i // 48:02d}T{i // 2 % 24:02d}:{30 * (i % 2):02d}:00Z",
                "bad": i > 49 and i % 3 > 0,
            }
            for i in range(24, 100)
        ],
        "what_would_change_this": ["An unlogged change of the gpt-4 route in the same two hours."],
        "next": "Decide what to do.",
        **fields,
    }


def make_respond(**fields: Any) -> dict[str, Any]:
    return {
        "action": "rollback",
        "target": "chg-0613",
        "scope": HIT,
        "because": "chg-0613 is almost certainly the cause and reaches all of the slice.",
        "options": [
            {"do": "pin gpt-4-0314 in opinionqa", "costs": "1.7 s of median latency", "gains": "about 69 fewer flagged answers a day", "undo": "one line of configuration"},
            {"do": "wait", "costs": "about 69 more flagged answers a day", "gains": "nothing", "undo": "cannot be undone"},
        ],
        "measures": [
            {"measure": "refusal rate", "unit": "share", "before": 0.01, "before_low": 0.0, "before_high": 0.03, "after": 0.66, "after_low": 0.56, "after_high": 0.74, "reading": "worse: this is what the flags are"},
            {"measure": "median latency", "unit": "ms", "before": 3400, "before_low": 3300, "before_high": 3800, "after": 1700, "after_low": 1400, "after_high": 1900, "reading": "faster"},
        ],
        "cost_of_acting": {"text": "1.7 s of median latency", "latency_ms": 1700.0, "usd_per_1000": -0.39},
        "cost_of_waiting": {"affected_per_day": 69.0, "low": 59.0, "high": 78.0, "text": "about 69 more flagged answers a day (59 to 78)"},
        "recovery": {"test": "Recovered when at most 5 of the next 119 judged gpt-4 answers in opinionqa are flagged.", "needed_n": 119, "days": 1.2, "by": "2023-06-30T02:40:00Z", "fix": None, "margin": 0.0625, "n": 0, "recovered": None, "because": "no answer since the change was undone"},
        "wrong_if": ["gpt-4-0314 declines the failing questions as well."],
        "next": "Pin gpt-4-0314, then judge 119 answers.",
        **fields,
    }  # fmt: skip


def make_learn(**fields: Any) -> dict[str, Any]:
    return {
        "cases": 18,
        "file": "eval_cases.jsonl",
        "exported": {"jsonl": "eval_cases.jsonl"},
        "closed": False,
        "open_points": ["Pin in place and recovery test passed (119 answers).", "Failing cases in the eval suite."],
        "examples": [
            {"request_id": "oqa-0001", "timestamp": "2023-06-27T01:15:00Z", "user_input": "How much of a problem is 1?", "system_output": "This question is subjective.", "reviewed": True, "verdict": "real"}
        ],
        "next": "Add the cases to the eval suite.",
        **fields,
    }  # fmt: skip


def make_known(now: bool = True, **fields: Any) -> dict[str, Any]:
    return {
        "at": UNTIL if now else FIRED,
        "what": "this page" if now else "alert",
        "label": "gpt-4 in opinionqa",
        "unit": "share",
        "value": 0.667 if now else 0.66,
        "low": 0.57 if now else 0.56,
        "high": 0.75,
        "n": 99 if now else 94,
        "verdict": "real" if now else "inconclusive",
        "probability_real": 0.9995,
        "cause": "chg-0613",
        "probability": 0.98,
        **fields,
    }


def make_incident(**fields: Any) -> dict[str, Any]:
    respond = make_respond()
    return {
        "schema_version": 1,
        "incident_id": "20230628-opinionqa-flagged_rate",
        "log": {
            "source": "llmdrift",
            "from": "2023-06-13T00:05:00Z",
            "until": UNTIL,
            "tables": {
                "requests": {"rows": 3540, "sha256": "0a3b9006cfac" + "0" * 52},
                "judgements": {"rows": 3540, "sha256": "984b892c7c3b" + "0" * 52},
                "changes": {"rows": 1, "sha256": "f2935cf48713" + "0" * 52},
            },
        },
        "parameters": {"log": "llmdrift", "until": UNTIL, "alert": None, "reviews": None, "seed": 0},
        "versions": {"llm_monitoring": "0.1.0", "python": "3.11", "pandas": "3.1.0"},
        "seed": 0,
        "alert": make_alert(),
        "other_alerts": [],
        "timeline": [],
        "known_when": [make_known(False), make_known()],
        "cost_of_acting": respond["cost_of_acting"],
        "cost_of_waiting": respond["cost_of_waiting"],
        "stages": dict.fromkeys(("triage", "scope", "isolate", "respond", "learn"), "done"),
        "failure": None,
        **fields,
    }


def make_results(incident=None, triage=None, scope=None, isolate=None, respond=None, learn=None) -> dict[str, Any]:
    """All results of one incident; each argument is a dict of fields in place of the defaults."""
    return {
        "incident": make_incident(**(incident or {})),
        "triage": make_triage(**(triage or {})),
        "scope": make_scope(**(scope or {})),
        "isolate": make_isolate(**(isolate or {})),
        "respond": make_respond(**(respond or {})),
        "learn": make_learn(**(learn or {})),
    }
