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


A_TIME = "a time with a zone, such as 2026-05-11T00:00:00Z"


@pytest.mark.parametrize(
    ("section", "key", "value", "expected"),
    [
        ("baseline", "days", "true", "a whole number"),
        ("baseline", "days", "2.5", "a whole number"),
        ("baseline", "start", "0", A_TIME),
        ("baseline", "end", '"7"', A_TIME),
        ("baseline", "end", "2026-05-11T00:00:00", A_TIME),
        ("cost", "enabled", "1", "true or false"),
        ("cost", "enabled", '"no"', "true or false"),
        ("cost", "critical_factor", "inf", "a number"),
        ("cost", "critical_factor", '"2"', "a number"),
        ("quality", "mean_quality_limit", "nan", "a number"),
        ("quality", "settle", "[1]", "a share above 0 and below 1, or a time such as '2h'"),
        ("watch", "reports", "7", "a text in quotes"),
        ("watch", "first_round", '"9999999w"', "ten years at most"),
    ],
)
def test_a_value_of_another_kind_is_one_line_in_plain_words(tmp_path, section, key, value, expected):
    path = tmp_path / "plan.toml"
    path.write_text(f"\n[{section}]\n{key} = {value}\n")
    with pytest.raises(ConfigError) as caught:
        read_plan(path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"plan.toml line 3: [{section}] {key} = ")
    assert str(caught.value).endswith(f"; expected {expected}")


@pytest.mark.parametrize("value", ['"x"', "-1", "1.5", "true", "[[]]", "{a = 1}", "2026-05-01", "nan", '""'])
def test_whatever_is_written_as_any_key_is_taken_or_named_in_one_line_that_has_the_place(tmp_path, value):
    path = tmp_path / "plan.toml"
    for section, field in Plan.model_fields.items():
        if isinstance(field.default, dict | list):
            continue
        for name, key in type(field.default).model_fields.items():
            written = key.alias or name
            path.write_text(f"[{section}]\n{written} = {value}\n")
            said = fault_of(path)
            if said is not None:
                assert said.startswith(f"plan.toml line 2: [{section}] {written} = ")
                assert "\n" not in said
                assert "valid" not in said


def fault_of(path):
    try:
        read_plan(path)
    except ConfigError as error:
        return str(error)
    return None


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


@pytest.mark.parametrize(("section", "first", "last"), [("[[silence]]", "from", "to"), ("[baseline]", "start", "end")])
def test_what_ends_before_it_starts_is_an_error_that_names_the_line(tmp_path, section, first, last):
    path = tmp_path / "monitoring.toml"
    path.write_text(f"{section}\n{first} = 2026-02-01T00:00:00Z\n{last} = 2026-01-01T00:00:00Z\n")
    with pytest.raises(ConfigError, match=rf"monitoring.toml line 3: .*{last} = 2026-01-01.*after its start"):
        read_plan(path)
    path.write_text(f"{section}\n{first} = 2026-01-01T00:00:00Z\n{last} = 2026-02-01T00:00:00Z\n")
    read_plan(path)
