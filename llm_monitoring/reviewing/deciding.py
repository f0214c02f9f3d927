"""Whether enough answers are read: a sequential test, so that a reader may look at it after every verdict."""

from __future__ import annotations

from collections.abc import Iterable

from llm_monitoring.intervals import anytime_share

HALF = 0.5
WORDS = {"real": "real, you may stop", "false_positive": "false positive, you may stop", "open": "nothing yet"}


def decide(verdicts: Iterable[str | None]) -> tuple[str, str]:
    """What the verdicts so far decide about the flags, and the sentence that says so.

    Decided is `real` where the interval of the share of deserved flags lies above one half, `false_positive` where it
    lies below. The interval covers the share at 95 % however often you look [1]_, so one may stop as soon as it is
    decided: seven verdicts that agree are enough. An answer that a reader is unsure of counts for neither side: as not
    deserved on the way to real, as deserved on the way to false positive.

    Parameters
    ----------
    verdicts : iterable of str
        real, false_positive or unsure, of answers drawn at random; None is not read yet.

    Returns
    -------
    state : str
        open, real or false_positive.
    sentence : str

    References
    ----------
    .. [1] Robbins, Statistical methods related to the law of the iterated logarithm, Ann. Math. Stat. 41 (1970).

    Examples
    --------
    >>> decide(["real"] * 7)
    ('real', 'decided so far: real, you may stop (7 of 7 flags deserved, 95 % interval 52 to 100 %)')
    >>> decide(["real", "false_positive", None])
    ('open', 'decided so far: nothing yet (1 of 2 flags deserved, 95 % interval 1 to 99 %)')
    """
    read = [verdict for verdict in verdicts if verdict is not None]
    if not read:
        return "open", "decided so far: nothing yet (no answer is read)"
    n, real, unsure = len(read), read.count("real"), read.count("unsure")
    low, high = anytime_share(real, n)[0], anytime_share(real + unsure, n)[1]
    state = "real" if low > HALF else "false_positive" if high < HALF else "open"
    doubt = f", {unsure} unsure" if unsure else ""
    numbers = f"{real} of {n} flags deserved{doubt}, 95 % interval {low * 100:.0f} to {high * 100:.0f} %"
    return state, f"decided so far: {WORDS[state]} ({numbers})"
