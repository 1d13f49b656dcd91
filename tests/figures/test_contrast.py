"""Contrast of the text of figures: by hand, and of what the themes give."""

import plotly.graph_objects as go
import pytest

from lens.figures.contrast import ENOUGH, THEMES, least_contrast, ratio, read_colour


@pytest.mark.parametrize(
    ("text", "paper", "value"),
    [
        ("#000", "#ffffff", 21.0), ("#767676", "#fff", 4.54), ("rgb(119,119,119)", "#fff", 4.48), ("#fff", "#fff", 1.0),
        ("rgba(0, 0, 0, 0.5)", "#fff", 3.95), ("black", "white", 21.0),
    ],
)  # fmt: skip
def test_contrast_by_hand(text, paper, value):
    assert ratio(text, paper) == pytest.approx(value, abs=0.05)


def test_what_is_no_colour_is_named():
    with pytest.raises(ValueError, match="'purplish' is no colour"):
        read_colour("purplish")


@pytest.mark.parametrize("palette", THEMES.values())
def test_text_of_both_themes_can_be_read(palette):
    assert ratio(palette.text, palette.background) >= ENOUGH


def test_the_text_that_stands_out_least_is_found():
    figure = go.Figure(go.Scatter(x=[1], y=[1], text=["a"], textfont={"color": "#000000"}))
    found = least_contrast(figure.to_plotly_json())
    assert (found.theme, found.where) == ("dark", "data[0].textfont")
    assert found.value < 1.3
    plain = least_contrast(go.Figure(layout={"title": {"text": "a"}}).to_plotly_json())
    assert plain.where == "text without a colour of its own"
    assert plain.value > ENOUGH


def test_a_label_with_a_background_of_its_own_is_held_against_that():
    label = {"text": "a", "bgcolor": "#ffffff", "font": {"color": "#000000"}}
    plain = least_contrast(go.Figure(layout={"annotations": [label]}).to_plotly_json())
    assert plain.where == "text without a colour of its own"
    clear = least_contrast(go.Figure(layout={"annotations": [label | {"bgcolor": "rgba(0,0,0,0)"}]}).to_plotly_json())
    assert clear.where == "layout.annotations[0].font"


def test_text_that_is_not_there_to_be_seen_does_not_count():
    figure = go.Figure(go.Scatter(x=[1], y=[1], text=["a"], textfont={"color": "rgba(0,0,0,0)"}))
    assert least_contrast(figure.to_plotly_json()).value > ENOUGH
