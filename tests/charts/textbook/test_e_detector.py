"""The e-detector keeps its run length whatever the scores look like."""

import numpy as np
import pytest

from llm_monitoring.charts.textbook.e_detector import EDetector
from llm_monitoring.errors import ConfigError


def test_e_detector_keeps_its_average_run_length_for_scores_of_any_shape():
    rng = np.random.default_rng(4)
    detector = EDetector(arl0=50, center=4.0)
    lengths = []
    for _ in range(100):
        alarm = detector.monitor(rng.choice([1.0, 5.0], 300, p=[0.25, 0.75])).to_frame()["alarm"].to_numpy()
        lengths.append(int(np.argmax(alarm)) + 1 if alarm.any() else 300)
    assert np.mean(lengths) >= 50


def test_e_detector_refuses_scores_off_its_scale():
    with pytest.raises(ConfigError) as error:
        EDetector(center=4.0).monitor([7.0])
    assert str(error.value) == "stream: 7.0; expected a score from 1 to 5"
