"""Figures as a paper prints them: size, letters, and the line below."""

import xml.etree.ElementTree as ET

import plotly.graph_objects as go
import pytest

from lens.figures.paper import INCH, Paper, foot_lines, on_paper, sheet
from lens.figures.theme import DARK, FONT_SIZE, LIGHT, base_layout

SVG = '<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="386" height="300"><g/></svg>'
LONG = "mean attention from a token of the second copy to the token after its first occurrence, over all queries"


def figure(definition: str = LONG, **layout) -> go.Figure:
    return go.Figure(go.Heatmap(z=[[1, 2]]), base_layout("A <b> & title", definition, height=200)).update_layout(layout)


@pytest.mark.parametrize(("inches", "points"), [(3.3, 8), (6.8, 10), (10, 24)])
def test_width_and_letters_are_those_that_were_asked_for(inches, points):
    paper = Paper(inches, points)
    assert paper.width * paper.scale == pytest.approx(inches * INCH, rel=0.01)
    assert FONT_SIZE * paper.scale * 72 / INCH == pytest.approx(points)


def test_a_title_that_was_broken_for_the_page_is_broken_for_the_paper_and_loses_no_word():
    narrow, wide = (on_paper(figure(), Paper(inches))[0] for inches in (3.3, 10))
    texts = [drawn.layout.title.subtitle.text for drawn in (narrow, wide)]
    assert [text.count("<br>") for text in texts] == [1, 0]
    assert {text.replace("<br>", " ") for text in texts} == {LONG}
    assert narrow.layout.title.text == "A &lt;b&gt; &amp; title"
    assert narrow.layout.height - wide.layout.height == narrow.layout.margin.t - wide.layout.margin.t == 18


def test_the_plot_keeps_its_height_whatever_stands_above_it():
    plots = []
    for title in (True, False):
        drawn, _, height = on_paper(figure(), Paper(3.3, title=title))
        plots.append(height - drawn.layout.margin.t)
    assert plots[0] == plots[1]


def test_a_small_map_is_not_stretched_and_a_large_one_fits():
    assert on_paper(figure(width=340), Paper(6.8))[1] == 340
    assert on_paper(figure(width=2000), Paper(3.3))[1] == Paper(3.3).width


def test_the_figure_of_the_page_stays_as_it_is():
    one = figure()
    before = one.to_json()
    on_paper(one, Paper(3.3, dark=True))
    assert one.to_json() == before


def test_the_line_below_is_text_whole_and_inside():
    foot = "lens-2l@step 3 · float32 · <script>alert(1)</script> & " + "http://localhost/head_scores?prompt=" + "x" * 90
    paper = Paper(3.3)
    drawn = sheet(SVG, (386, 300), foot, paper)
    root = ET.fromstring(drawn.svg)
    lines = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "".join(lines).replace(" ", "") == foot.replace(" ", "")
    assert root.get("width") == f"{386 * paper.scale / INCH:.4f}in"
    assert root.get("viewBox") == f"0 0 386 {300 + 14 * len(lines) + 6}"
    assert drawn.height == pytest.approx(paper.scale * (300 + 14 * len(lines) + 6))
    assert not list(root.iter("{http://www.w3.org/2000/svg}script"))


def test_without_a_line_below_the_picture_is_the_figure_alone():
    drawn = sheet(SVG, (386, 300), "", Paper(3.3))
    assert ET.fromstring(drawn.svg).get("viewBox") == "0 0 386 300"
    assert foot_lines("", 386) == []


@pytest.mark.parametrize(("dark", "palette"), [(False, LIGHT), (True, DARK)])
def test_paper_is_light_unless_asked(dark, palette):
    paper = Paper(3.3, dark=dark)
    assert f'fill="{palette.background}"' in sheet(SVG, (386, 300), "x", paper).svg
    assert on_paper(figure(), paper)[0].layout.paper_bgcolor == palette.background


def test_what_is_no_svg_is_refused():
    with pytest.raises(ValueError, match="an SVG was expected, got 'no picture'"):
        sheet("no picture", (1, 1), "", Paper(3.3))
