"""A figure with sliders: its static twin holds every picture, needs no network, and is the same byte for byte."""

import re
from html.parser import HTMLParser

import pytest

from blueberry_lib.config import BlueberryError
from blueberry_lib.interactive import interactive, start_at, static_twin

pyplot = pytest.importorskip("matplotlib.pyplot")
display = pytest.importorskip("IPython.display")


def draw(power, shift):
    figure, axis = pyplot.subplots(figsize=(3, 2))
    axis.plot([x**power + shift for x in range(5)], label="curve")
    axis.legend()
    return figure


def describe(power, shift):
    return f"x to the {power} plus {shift} < 99"


SETTINGS = {"power": [1, 2, 3], "shift": [0.5, 1.25]}


@pytest.mark.parametrize(
    "labels, start",
    [
        (["0", "20", "400"], 1),
        (["0.25", "0.5", "1", "4"], 2),
        (["8", "4", "2"], 1),
        (["4", "16"], 0),
        (["0.01", "0", "0.02"], 0),
        (["Euler", "midpoint", "Heun"], 0),
        (["1 step", "2 steps", "3 steps"], 0),
    ],
)
def test_a_scale_starts_in_its_middle_and_a_choice_at_its_first(labels, start):
    assert start_at(labels) == start


def test_the_twin_has_a_frame_for_each_combination_and_shows_that_of_the_start():
    html = static_twin(draw, describe, SETTINGS)
    frames = re.findall(r'<div class="frame"( hidden)?>.*?<figcaption[^>]*>(.*?)</figcaption>', html, re.DOTALL)
    shown = [caption for hidden, caption in frames if not hidden]
    assert shown == ["x to the 2 plus 0.5 &lt; 99"]
    assert re.findall(r' value="(\d)" .*?aria-valuetext="([^"]+)"', html) == [("1", "2"), ("0", "0.5")]
    assert "<output>2</output>" in html and "<output>0.5</output>" in html
    assert [caption for _, caption in frames] == [
        f"x to the {p} plus {s} &lt; 99" for p in SETTINGS["power"] for s in SETTINGS["shift"]
    ]
    assert len(re.findall('<input type="range"', html)) == 2
    assert html.count("aria-label=") == 6 and "aria-valuetext" in html
    for outside in ("http://cdn", "https://", "<script", "src="):
        assert outside not in html.replace("http://www.w3.org", "")
    HTMLParser().feed(html)


def test_it_can_start_elsewhere():
    html = static_twin(draw, describe, SETTINGS, {"power": 3})
    shown = re.findall(r'<div class="frame">.*?<figcaption[^>]*>(.*?)</figcaption>', html, re.DOTALL)
    assert shown == ["x to the 3 plus 0.5 &lt; 99"]
    assert re.findall(r' value="(\d)".*?<output>(.*?)</output>', html) == [("2", "3"), ("0", "0.5")]


def test_it_is_the_same_byte_for_byte_and_ids_do_not_clash():
    html = static_twin(draw, describe, SETTINGS)
    assert html == static_twin(draw, describe, SETTINGS)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:url\(#|href="#)([^)"]+)', html)
    assert set(used) <= set(ids)


def test_it_is_live_in_a_kernel_and_static_where_notebooks_are_stored(monkeypatch):
    shown = []
    monkeypatch.setattr(display, "display", shown.append)
    monkeypatch.setenv("BLUEBERRY_STORE", "1")
    interactive(draw, describe, **SETTINGS)
    assert shown[0].data == static_twin(draw, describe, SETTINGS)
    monkeypatch.delenv("BLUEBERRY_STORE")
    widgets = pytest.importorskip("ipywidgets")
    asked = {}
    monkeypatch.setattr(widgets, "interact", lambda function, **sliders: asked.update(sliders, function=function))
    interactive(draw, describe, **SETTINGS, solver=["Euler", "Heun"])
    assert [option for _, option in asked["shift"].options] == SETTINGS["shift"]
    assert asked["power"].value == 2 and isinstance(asked["power"], widgets.SelectionSlider)
    assert asked["solver"].value == "Euler" and isinstance(asked["solver"], widgets.ToggleButtons)
    asked["function"](power=1, shift=0.5)
    assert isinstance(shown[-1], pyplot.Figure)


def test_too_many_pictures_are_refused():
    with pytest.raises(BlueberryError, match="65 pictures"):
        static_twin(draw, describe, {"power": list(range(65)), "shift": [0]})
