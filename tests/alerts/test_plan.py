"""The plan: every key optional, every mistake named with its line."""

import tomllib

import pytest

from llm_monitoring.alerts.plan import Plan, default_plan_text, open_with, read_plan
from llm_monitoring.errors import ConfigError


def test_the_plan_that_init_writes_is_the_default():
    assert read_plan(tomllib.loads(default_plan_text())) == Plan()


def test_every_key_of_the_written_plan_says_what_it_does():
    settings = [line for line in default_plan_text().split("# Measures of your own")[0].splitlines() if "=" in line]
    assert len(settings) > 30
    assert all("  # " in line for line in settings)


def test_the_examples_of_the_written_plan_are_a_plan():
    shown = default_plan_text().split("# Measures of your own")[1].splitlines()[1:]
    lines = [line.removeprefix("# ") for line in shown if line.startswith(("# [", "# column", "# kind", "# my-judge"))]
    plan = read_plan(tomllib.loads("\n".join(lines)))
    assert list(plan.measures) == ["ttft"]
    assert plan.scales == {"my-judge": "0..10"}


def test_a_measure_that_the_plan_cannot_use_is_named():
    with pytest.raises(ConfigError) as caught:
        read_plan({"measures": {"ttft": {"colum": "ttft_ms"}}})
    assert str(caught.value) == "plan: measures: 'colum' is not a key of [measures.ttft]; the nearest is 'column'"


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_known_one(tmp_path):
    path = tmp_path / "monitoring.toml"
    path.write_text('[cost]\nwindow = "1h"\n\n[quality]\nfalse_alarm_per_month = 2\n')
    with pytest.raises(ConfigError) as caught:
        read_plan(path)
    assert str(caught.value) == (
        "monitoring.toml line 5: 'false_alarm_per_month' is not a key of [quality]; the nearest is 'false_alarms_per_month'"
    )


def test_an_unknown_section_is_named(tmp_path):
    path = tmp_path / "monitoring.toml"
    path.write_text("[qualty]\nwindow = '1d'\n")
    with pytest.raises(ConfigError) as caught:
        read_plan(path)
    assert str(caught.value) == "monitoring.toml line 1: 'qualty' is not a key of a plan; the nearest is 'quality'"


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"quality": {"window": "2h"}}, "plan: [quality] window = '2h'; expected 'auto', '1h', '6h' or '1d'"),
        ({"quality": 3}, "plan: [quality] = 3; expected a table of keys"),
        ({"infrastructure": {"for": 0}}, "plan: [infrastructure] for = 0; expected greater than or equal to 1"),
        (
            {"infrastructure": {"window": "x"}},
            "plan: [infrastructure] window = 'x'; expected a whole number of s, min, h, d or w, such as '1h'",
        ),
        (
            {"baseline": {"start": "2026-05-11T00:00:00"}},
            "plan: [baseline] start = '2026-05-11T00:00:00'; expected a time with a zone, such as 2026-05-11T00:00:00Z",
        ),
    ],
    ids=["choice", "section", "bound", "width", "zone"],
)
def test_a_value_that_cannot_be_used_is_quoted_with_what_was_expected(given, sentence):
    with pytest.raises(ConfigError) as caught:
        read_plan(given)
    assert str(caught.value) == sentence


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_plan(tmp_path / "none.toml")


def test_a_file_that_is_no_toml_is_named(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text("[quality\n")
    with pytest.raises(ConfigError, match=r"^plan.toml: not TOML: "):
        read_plan(path)


def test_none_gives_the_defaults_and_a_plan_stays_as_it_is():
    plan = Plan()
    assert read_plan(None) == plan
    assert read_plan(plan) is plan


def test_scales_named_on_opening_join_those_of_the_plan():
    plan = read_plan({"scales": {"a": "0..10", "b": "0..10"}})
    opened = open_with("sample_data", plan, scales={"b": "0..1", "c": "0..1"})
    assert opened.scales == {"a": "0..10", "b": "0..1", "c": "0..1"}
    joined = open_with("sample_data", plan, scales={"c": "0..1"})
    assert open_with(joined, plan) is joined
