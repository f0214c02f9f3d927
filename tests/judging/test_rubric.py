import pytest

from llm_monitoring.errors import ConfigError
from llm_monitoring.judging.prompt import prompt_hash
from llm_monitoring.judging.rubric import DEFAULT_RUBRIC, Rubric


@pytest.mark.parametrize(
    ("scores", "quality", "reason"),
    [
        ((3, 2, 2), 2, "quality_score 2 <= 2"),
        ((3, 3, 2), 3, None),
        ((2, 5, 5), 4, "correctness 2 <= 2"),
        ((1, 1, 1), 1, "quality_score 1 <= 2; correctness 1 <= 2"),
        ((3, 1, 3), 2, "quality_score 2 <= 2"),
        ((5, 5, 5), 5, None),
    ],
)
def test_quality_is_the_mean_and_flags_follow_the_rule(scores, quality, reason):
    dimensions = dict(zip(DEFAULT_RUBRIC.names, scores, strict=True))
    assert DEFAULT_RUBRIC.quality_score(dimensions) == quality
    assert DEFAULT_RUBRIC.flag_reason(dimensions) == reason


def test_halves_are_rounded_up():
    rubric = Rubric(version="1", dimensions=[{"name": "a"}, {"name": "b"}])
    assert [rubric.quality_score({"a": a, "b": a + 1}) for a in (1, 2, 3, 4)] == [2, 3, 4, 5]


def test_yaml_there_and_back_is_the_same_rubric():
    again = Rubric.from_yaml(DEFAULT_RUBRIC.to_yaml())
    assert again == DEFAULT_RUBRIC
    assert again.digest == DEFAULT_RUBRIC.digest


def test_every_fault_of_a_rubric_is_named():
    with pytest.raises(ConfigError) as error:
        Rubric.from_yaml("dimensions:\n- {name: 9a}\n- {name: tone}\nflags: {}\n")
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "rubric, version",
        "rubric, dimensions.0.name",
        "rubric, flags",
    ]


def test_a_flag_rule_has_to_name_a_dimension():
    with pytest.raises(ConfigError) as error:
        Rubric.from_yaml("version: 1\ndimensions: [{name: tone}]\nflag: {dimension_at_most: {tune: 2}}\n")
    assert "flag.dimension_at_most names 'tune'; dimensions are tone" in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError) as error:
        Rubric.from_yaml(tmp_path / "r.yaml")
    assert str(error.value) == (
        f"{tmp_path / 'r.yaml'}: no such file; a rubric is a YAML file, DEFAULT_RUBRIC.to_yaml() shows one"
    )


def test_the_schema_asks_for_the_reason_first():
    assert list(DEFAULT_RUBRIC.answer_schema["properties"]) == ["reason", "correctness", "completeness", "tone"]
    assert DEFAULT_RUBRIC.answer_schema["additionalProperties"] is False


def test_a_misspelt_key_is_told_with_the_nearest():
    with pytest.raises(ConfigError) as error:
        Rubric.from_yaml("version: 1\ndimensions: [{name: tone, anchor: {}}]\nflag: {quality: 9}\n")
    assert str(error.value) == (
        "rubric, dimensions.0.anchor: {}; not a key of a rubric; expected one of name, question, anchors; "
        "the nearest is 'anchors'\n"
        "rubric, flag.quality: '9'; not a key of a rubric; expected one of quality_at_most, dimension_at_most; "
        "the nearest is 'quality_at_most'"
    )


@pytest.mark.parametrize("version", ["1.10", "2026-05-01", "on"])
def test_a_version_stays_as_it_is_written(version):
    rubric = Rubric.from_yaml(f"version: {version}\ndimensions: [{{name: tone, anchors: {{5: yes}}}}]\n")
    assert (rubric.version, rubric.dimensions[0].anchors[5]) == (version, "yes")
    assert Rubric.from_yaml(rubric.to_yaml()) == rubric


def test_a_file_that_is_not_utf_8_is_told(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"version: 1\ntask: \xff\n")
    with pytest.raises(ConfigError) as error:
        Rubric.from_yaml(tmp_path / "r.yaml")
    assert str(error.value) == f"{tmp_path / 'r.yaml'}: byte 17 is not UTF-8; expected a YAML file in UTF-8"


def rubric(**content):
    return Rubric(**{"version": "1", "dimensions": [{"name": "a"}, {"name": "b"}], **content})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (
            {"dimensions": [{"name": "a", "anchors": {7: "good"}}]},
            "anchors of a: 7; expected a number from 1 to 5, the rubric's scale",
        ),
        (
            {"flag": {"quality_at_most": 6}},
            "flag.quality_at_most: 6; expected a number from 0 to 5, the rubric's scale",
        ),
        (
            {"scale": (0, 10)},
            "flag is missing; on the scale 0..10 it has to be written, such as flag: {quality_at_most: 4}",
        ),
        (
            {"scale": (0, 1)},
            "flag is missing; on the scale 0..1 it has to be written, such as flag: {quality_at_most: 0.4}",
        ),
        (
            {"scale": "pass_fail", "flag": {"quality_at_most": 2}},
            "a pass_fail rubric has a verdict in the place of levels; leave anchors and flag out",
        ),
        ({"dimensions": []}, "dimensions are missing; expected at least one"),
        (
            {"scale": (5, 1)},
            "(5, 1); expected two numbers, the worst and the best score, such as [0, 10], or pass_fail",
        ),
        (
            {"scale": "percent"},
            "'percent'; expected two numbers, the worst and the best score, such as [0, 10], or pass_fail",
        ),
    ],
)
def test_a_rubric_that_does_not_fit_its_scale_is_refused(content, expected):
    with pytest.raises(ConfigError) as error:
        rubric(**content)
    assert str(error.value).removeprefix("Rubric, scale: ").removeprefix("Rubric: ") == expected


def test_on_another_scale_the_score_is_the_plain_mean_and_only_written_limits_flag():
    tenths = rubric(scale=(0, 10), flag={"dimension_at_most": {"a": 1}})
    assert tenths.quality_score({"a": 2, "b": 1}) == 1.5
    assert tenths.flag_reason({"a": 2, "b": 1}) is None
    assert tenths.flag_reason({"a": 1, "b": 10}) == "a 1 <= 1"
    assert (tenths.scale_label, DEFAULT_RUBRIC.scale_label, rubric(scale=(0, 0.5), flag={}).scale_label) == (
        "0..10",
        "1..5",
        "0..0.5",
    )


@pytest.mark.parametrize("scale", ["[0, 1]", "0..1"])
def test_a_scale_is_read_from_yaml_and_written_back(scale):
    text = f"version: 1\nscale: {scale}\ndimensions: [{{name: a, anchors: {{0.5: so so}}}}]\nflag: {{quality_at_most: 0.3}}\n"
    read = Rubric.from_yaml(text)
    assert (read.scale, read.dimensions[0].anchors) == ((0, 1), {0.5: "so so"})
    assert Rubric.from_yaml(read.to_yaml()) == read


def test_a_pass_fail_rubric_needs_no_dimensions_and_is_written_back():
    read = Rubric.from_yaml("version: 1\nscale: pass_fail\n")
    assert Rubric.from_yaml(read.to_yaml()) == read
    assert read.answer_schema["required"] == ["reason", "verdict"]


def test_the_usual_rubric_is_worded_as_it_was_before_there_were_scales():
    assert prompt_hash(DEFAULT_RUBRIC) == "bb7712be0685"  # kept in the files of judgements that people have
