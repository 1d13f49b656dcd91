import numpy as np
import pytest

from lens.figures.cells import Marks
from lens.figures.playing import Course, playing
from lens.figures.training import Axis, Level, Panel, Span, Trace, clicked, schedule, training

X = np.array([0.0, 10, 100, 1000])
POINTS = np.array([(1, i, 0, 2) for i in range(4)])


def trace(**changes):
    made = Trace("run head 0.2", X, np.array([0.0, 0.1, 0.5, 0.6]), POINTS, 1)
    return made._replace(**changes)


def test_a_click_returns_run_checkpoint_and_head():
    figure = training([Panel("score", [trace()])], Axis("tokens"), title="")
    assert figure.data[0].customdata.tolist() == POINTS.tolist()
    event = {"selection": {"points": [{"customdata": {"0": 1, "1": 3, "2": 0, "3": 2}}]}}
    assert clicked(event) == (1, 3, 0, 2)
    assert clicked({"selection": {"points": [{"customdata": [1, 3, -1, -1]}]}}) == (1, 3, -1, -1)
    assert clicked({"selection": {"points": []}}) is None
    assert clicked({"selection": {"points": [{"x": 1}]}}) is None


def test_what_lies_at_zero_is_left_out_of_a_logarithmic_axis_with_its_point():
    low, high = trace().y - 0.1, trace().y + 0.1
    figure = training([Panel("score", [trace(low=low, high=high)])], Axis("tokens", log=True), title="")
    band, line = figure.data
    assert list(line.x) == [10, 100, 1000]
    assert line.customdata[:, 1].tolist() == [1, 2, 3]
    assert list(band.x) == [10, 100, 1000, 1000, 100, 10]
    assert figure.layout.xaxis.type == "log"


def test_all_panels_share_the_axis_the_span_and_the_cursor():
    panels = [Panel("a", [trace()], [Level(0.1, "born")]), Panel("b", [], empty="nothing yet")]
    figure = training(panels, Axis("tokens"), title="", spans=[Span(10, 100, 1, "window")], cursor=100)
    assert figure.layout.xaxis.anchor == "y2"
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]
    assert figure.layout.yaxis2.domain[0] == pytest.approx(0)
    by_place = {(shape.x0, shape.x1): shape for shape in figure.layout.shapes}
    for place in ((10, 100), (100, 100)):
        assert (by_place[place].yref, by_place[place].y0, by_place[place].y1) == ("paper", 0, 1)
    assert by_place[0, 1].y0 == by_place[0, 1].y1 == 0.1
    assert {"<b>a</b>", "<b>b</b>", "born", "window", "nothing yet"} <= {n.text for n in figure.layout.annotations}


def test_a_span_is_named_where_it_begins_on_either_axis():
    for log, place in ((False, 10), (True, 1)):
        figure = training([Panel("a", [])], Axis("tokens", log), title="", spans=[Span(10, 100, 0, "window")])
        (note,) = [note for note in figure.layout.annotations if note.text == "window"]
        assert note.x == place


def test_a_cursor_at_zero_has_no_place_on_a_logarithmic_axis():
    panels = [Panel("a", [trace()])]
    assert training(panels, Axis("tokens"), title="", cursor=0.0).layout.shapes
    assert not training(panels, Axis("tokens", log=True), title="", cursor=0.0).layout.shapes


def test_axes_stand_still_while_curves_grow():
    panels = [Panel("score", [trace()], ends=(0.0, 1.0)), Panel("loss", [trace()])]
    figure = training(panels, Axis("steps", end=4000), title="")
    assert figure.layout.xaxis.range == (0, 4000)
    assert figure.layout.yaxis.range == (0, 1)
    assert figure.layout.yaxis2.range is None
    assert training(panels, Axis("steps", log=True, end=4000), title="").layout.xaxis.range is None


def test_names_are_escaped():
    figure = training([Panel("<i>", [trace(name="<b>")])], Axis("<x>"), title="")
    assert figure.data[0].name == "&lt;b&gt;"
    assert "&lt;b&gt;" in figure.data[0].hovertemplate
    assert figure.layout.xaxis.title.text == "&lt;x&gt;"
    assert figure.layout.annotations[0].text == "<b>&lt;i&gt;</b>"


def test_the_schedule_is_index_against_label():
    figure = schedule([trace(x=np.arange(4), y=X)], Axis("label", log=True), title="")
    assert list(figure.data[0].x) == [0, 1, 2, 3]
    assert list(figure.data[0].y) == list(X)
    assert figure.layout.yaxis.type == "log"


class TestPlaying:
    patterns = np.stack([np.tril(np.full((3, 3), share)) for share in (0.1, 0.2, 0.4)])
    course = Course(np.array([1.0, 2, 4]), np.array([0.0, 0.3, 0.5]), ["0", "1", "<2>"], "x", "y", False, 0.1)

    def test_a_frame_for_each_checkpoint_moves_the_pattern_and_the_point_together(self):
        figure = playing(self.patterns, ["a", "<s>", "a"], self.course, title="t", at=1)
        assert [frame.name for frame in figure.frames] == ["0", "1", "2"]
        for i, frame in enumerate(figure.frames):
            assert list(frame.traces) == [0, 2]
            z = np.asarray(frame.data[0].z)
            assert z[2, 1] == pytest.approx(self.patterns[i, 2, 1])
            assert np.isnan(z[0, 1])  # a key after its query
            assert np.isnan(z[1, 0])  # the first key
            assert (frame.data[1].x[0], frame.data[1].y[0]) == (self.course.x[i], self.course.score[i])
        assert figure.data[2].x[0] == 2.0
        assert figure.layout.sliders[0].active == 1

    def test_one_scale_for_all_and_labels_escaped(self):
        figure = playing(self.patterns, ["a", "<s>", "a"], self.course, title="t")
        assert figure.data[0].zmax == pytest.approx(0.4)
        assert list(figure.data[0].x) == ["0: a", "1: &lt;s&gt;", "2: a"]
        assert figure.layout.sliders[0].steps[2].label == "&lt;2&gt;"
        assert figure.layout.sliders[0].active == 2

    def test_marks_frame_their_cells(self):
        figure = playing(self.patterns, list("abc"), self.course, title="t", marks=Marks([(2, 1)], "m"))
        assert [shape.path for shape in figure.layout.shapes if shape.path] == ["M0.5,1.5H1.5V2.5H0.5Z"]

    def test_numbers_that_do_not_match_are_refused(self):
        with pytest.raises(ValueError, match="2 patterns for 3 scores"):
            playing(self.patterns[:2], list("abc"), self.course, title="t")
