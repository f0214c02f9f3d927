"""What is costly to make, made once: the executed report of the shipped sample."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def report_folder(tmp_path_factory) -> Path:
    """The incident folder that `report` writes for sample_data: notebooks executed, page written."""
    import llm_monitoring as lm

    return lm.report(ROOT / "sample_data", out=tmp_path_factory.mktemp("reports"), progress=False).folder
