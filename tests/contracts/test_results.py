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
from tests.drawings import hidden_by_words

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


def words_of(figure):
    """Every text that is seen, with its box."""
    from matplotlib.text import Text

    figure.canvas.draw()
    axes = [*figure.axes, *(child for ax in figure.axes for child in ax.child_axes)]
    ticks = {
        label: low <= tick.get_loc() <= high
        for ax in axes
        for axis in (ax.xaxis, ax.yaxis)
        for low, high in [sorted(axis.get_view_interval())]
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
    }
    hidden = {label for ax in axes if not ax.axison for axis in (ax.xaxis, ax.yaxis) for label in axis.findobj(Text)}
    shown = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in hidden and ticks.get(text, True)
    ]
    return [(text.get_text(), text.get_window_extent()) for text in shown]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Verification" and name != "Report"])
@pytest.mark.parametrize("inches", [(4, 3), (8.4, 4)])
def test_a_figure_fits_its_place_on_a_phone_too_and_no_words_lie_on_others(made, name, inches):
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=inches, layout="constrained")
    try:
        made(name).plot(ax=ax)
        words = words_of(figure)
        width, height = figure.canvas.get_width_height()
    finally:
        plt.close("all")
    outside = [text for text, box in words if box.x0 < -3 or box.y0 < -3 or box.x1 > width + 3 or box.y1 > height + 3]
    assert not outside
    boxes = [(text, box.shrunk(0.98, 0.8)) for text, box in words if box.width and box.height]
    touching = [
        (one, other)
        for k, (one, box) in enumerate(boxes)
        for other, second in boxes[:k]
        if box.x0 < second.x1 and second.x0 < box.x1 and box.y0 < second.y1 and second.y0 < box.y1
    ]
    assert not touching


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NO_FIGURE])
@pytest.mark.parametrize("inches", [(4, 3), (8.4, 4)])
def test_words_hide_no_mark_and_no_line_goes_through_them(made, name, inches):
    from matplotlib import pyplot as plt

    figure, ax = plt.subplots(figsize=inches, layout="constrained")
    try:
        made(name).plot(ax=ax)
        figure.canvas.draw()
        assert not hidden_by_words(figure)
    finally:
        plt.close("all")


def look(line):
    """Mark, dash and filling of a line, its width, and how light it is."""
    from matplotlib.colors import to_rgba

    drawn = line.get_linestyle() not in ("None", "")
    *rgb, alpha = to_rgba(line.get_color() if drawn else line.get_markeredgecolor(), line.get_alpha())
    light = 1 - alpha * (1 - sum(share * part for share, part in zip((0.3, 0.59, 0.11), rgb, strict=True)))
    filled = to_rgba(line.get_markerfacecolor())[:3] == to_rgba(line.get_markeredgecolor())[:3]
    marked = line.get_marker() not in ("None", "")
    shape = (line.get_marker(), filled, line.get_markersize()) if marked else None
    return shape, str(line._dash_pattern) if drawn else None, tuple(rgb), line.get_linewidth(), light


@pytest.mark.parametrize("name", [name for name in NAMES if name not in NO_FIGURE])
def test_lines_of_two_colours_are_told_apart_in_grey(made, name):
    from matplotlib import pyplot as plt

    _, ax = plt.subplots()
    try:
        made(name).plot(ax=ax)
        looks = [{look(line) for line in one.lines} for one in [ax, *ax.child_axes]]
    finally:
        plt.close("all")
    alike = [
        (one, other)
        for several in looks
        for one in several
        for other in several
        if one[:2] == other[:2] and one[2] < other[2] and abs(one[3] - other[3]) < 0.6 and abs(one[4] - other[4]) < 0.2
    ]
    assert not alike
