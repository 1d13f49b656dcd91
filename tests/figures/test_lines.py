import numpy as np
import pytest

from lens.figures.lines import Axis, Line, lines, repeat_loss


def test_references_and_ranges_of_the_repeat():
    n = 10
    figure = repeat_loss([Line("a", np.linspace(9, 1, 2 * n))], n, n_sampled=39_000)
    notes = [note.text for note in figure.layout.annotations]
    heights = sorted(shape.y0 for shape in figure.layout.shapes if shape.y0 == shape.y1)
    assert heights == pytest.approx([np.log(n), np.log(39_000)])
    assert [(s.x0, s.x1) for s in figure.layout.shapes if s.x0 and s.y0 != s.y1] == [(0.5, 10.5), (10.5, 20.5)]
    assert {"first copy", "second copy"} <= set(notes)
    assert any("ln 39,000" in note for note in notes)
    assert list(figure.data[0].x) == list(range(1, 21))


def test_losses_of_another_length_are_refused():
    with pytest.raises(ValueError, match="19 losses; wanted 2n = 20"):
        repeat_loss([Line("a", np.zeros(19))], 10)


def test_the_band_runs_along_high_and_back_along_low():
    curve = Line("a", np.array([1.0, 2]), low=np.array([0.0, 1]), high=np.array([3.0, 4]))
    band, line = lines([curve], Axis("x", "y"), title="", definition="").data
    assert list(band.x) == [0, 1, 1, 0]
    assert list(band.y) == [3, 4, 1, 0]
    assert line.customdata.tolist() == [[0, 3], [1, 4]]
    assert band.fill == "toself"


def test_an_axis_of_shares_keeps_its_ends():
    curve, named = Line("a", np.ones(3)), Axis("x", "share")
    figure = lines([curve], named._replace(y_range=(0, 1)), title="", definition="")
    assert figure.layout.yaxis.range == (0, 1)
    assert lines([curve], named, title="", definition="").layout.yaxis.range is None


def test_names_are_escaped():
    figure = lines([Line("<b>", np.zeros(2))], Axis("<x>", "%{y}"), title="<i>", definition="")
    assert figure.data[0].name == "&lt;b&gt;"
    assert figure.layout.xaxis.title.text == "&lt;x&gt;"
    assert "&#37;{y}" in figure.data[0].hovertemplate


def test_curves_that_could_not_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="11 curves"):
        lines([Line(str(i), np.zeros(2)) for i in range(11)], Axis("x", "y"), title="", definition="")
