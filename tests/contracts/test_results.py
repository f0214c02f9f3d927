"""What every result promises."""

import dataclasses
import importlib
import json
import pkgutil

import pandas as pd
import pytest

import llm_monitoring as lm
from llm_monitoring.results import Result
from tests.contracts.instances import NEED_A_FOLDER, NO_FIGURE, RESULTS

NAMES = [*RESULTS, *NEED_A_FOLDER]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every result, made once."""
    found = {}

    def make(name):
        if name not in found:
            in_folder = NEED_A_FOLDER.get(name)
            found[name] = in_folder(tmp_path_factory.mktemp("result")) if in_folder else RESULTS[name]()
        return found[name]

    return make


def subclasses(one):
    return {one, *(deeper for child in one.__subclasses__() for deeper in subclasses(child))}


def test_every_result_of_the_package_is_in_the_list():
    for module in pkgutil.walk_packages(lm.__path__, "llm_monitoring."):
        importlib.import_module(module.name)
    package = {one.__name__ for one in subclasses(Result) - {Result} if one.__module__.startswith("llm_monitoring")}
    assert package == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_a_frozen_dataclass_of_the_stated_class(made, name):
    result = made(name)
    assert type(result).__name__ == name
    assert dataclasses.is_dataclass(result)
    field = dataclasses.fields(result)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(result, field, None)


@pytest.mark.parametrize("name", NAMES)
def test_a_result_survives_json(made, name):
    told = made(name).to_dict()
    assert json.loads(json.dumps(told, allow_nan=False)) == told


@pytest.mark.parametrize("name", NAMES)
def test_a_result_says_in_one_line_what_it_found(made, name):
    result = made(name)
    assert result.headline.strip()
    assert "\n" not in result.headline
    assert "nan" not in result.headline.lower().split()


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_a_table_and_the_table_is_not_the_result_itself(made, name):
    result = made(name)
    frame = result.to_frame()
    assert isinstance(frame, pd.DataFrame)
    before = result.to_dict()
    for column in frame.columns:
        frame[column] = None
    assert result.to_dict() == before


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NO_FIGURE])
def test_a_result_draws_itself_on_axes_given_or_new_and_leaves_the_settings_alone(made, name):
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    before = dict(mpl.rcParams)
    try:
        drawn = made(name).plot()
        assert drawn is not None
        _, ax = plt.subplots()
        made(name).plot(ax=ax)
    finally:
        plt.close("all")
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_result_shown_in_a_notebook_holds_its_headline_and_no_script(made, name):
    html = made(name)._repr_html_()
    assert "<b>" in html
    assert "<script" not in html
