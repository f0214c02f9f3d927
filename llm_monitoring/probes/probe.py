"""What a probe is. Suites, checks and runs are elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class ModelBehaviorProbe:
    """A fixed question to a model, and the check that its answer has to pass.

    Parameters
    ----------
    probe_id : str
        Unique in its suite; runs are compared by it.
    input : str
        What the model is asked.
    expected_property : str
        What the answer should contain or satisfy, for people; for `check_contains`, `check_exact`, `check_regex`,
        `check_language`, `check_judge` it is also the value where `params` names none. Of a border probe: the token
        that the reference gives most often, or nothing.
    check_fn : str
        Name of a registered check.
    params : dict
        Parameters of the check.
    repeats : int
        Times the model is asked in one run.
    kind : str
        `property`, or `border`: one token at temperature 0 to a question on which the model is undecided.
    feature_id : str, optional
        The feature that the probe stands for; written into the results.

    Examples
    --------
    >>> probe = ModelBehaviorProbe("capital-001", "What is the capital of France?", "Paris", "check_contains")
    >>> probe.repeats, probe.kind
    (1, 'property')
    """

    probe_id: str
    input: str
    expected_property: str
    check_fn: str
    params: dict[str, Any] = field(default_factory=dict)
    repeats: int = 1
    kind: str = "property"
    feature_id: str | None = None
