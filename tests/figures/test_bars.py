"""Bars: a waterfall starts each where the last one ended, labels are escaped, the axis holds everything."""

import pytest

from lens.figures.bars import Bar, bars

ROWS = [Bar("head 1.1", 2.0, 1.5, 2.5, beside=0.1), Bar("<s>", -3.0), Bar("sum", -1.0, whole=True)]


def test_a_waterfall_ends_at_the_whole():
    figure = bars(ROWS, "logits", title="t", running=True)
    part = figure.data[0]
    assert list(part.base) == [0.0, 2.0, 0.0]
    assert list(part.x) == [2.0, -3.0, -1.0]
    assert part.base[1] + part.x[1] == part.x[2]
    assert len({part.marker.color[0], part.marker.color[1], part.marker.color[2]}) == 3


def test_bars_from_zero_have_intervals_and_the_control_beside_them():
    figure = bars(ROWS[:2], "score", title="t")
    part, beside = figure.data
    assert list(part.base) == [0.0, 0.0]
    assert part.error_x.array[0] == pytest.approx(0.5)
    assert part.error_x.arrayminus[0] == pytest.approx(0.5)
    assert (list(beside.x), list(beside.y)) == ([0.1], [0])


def test_labels_are_shown_as_they_are_and_the_axis_holds_every_end():
    figure = bars(ROWS, "logits", title="a < b", definition="x", running=True)
    assert "&lt;s&gt;" in figure.layout.yaxis.ticktext[1]
    assert figure.layout.yaxis.ticktext[2].startswith("<b>sum")
    low, high = figure.layout.xaxis.range
    assert low < -1
    assert high > 2.5
    with pytest.raises(ValueError, match="at least one"):
        bars([], "logits", title="t")


def test_a_number_that_the_diamond_would_cover_stands_behind_it():
    part, beside = bars([Bar("near", 10.0, beside=10.5), Bar("far", 10.0, beside=2.0)], "nats", title="t").data
    assert [text.strip() for text in part.text] == ["", "10.00"]
    assert [text.strip() for text in beside.text] == ["10.00", ""]


def test_a_bar_that_falls_back_to_zero_has_room_for_its_number():
    whole = [Bar("direct", 2.0, whole=True), Bar("later", -1.99), Bar("total", 0.01, whole=True)]
    assert bars(whole, "nats", title="", running=True).layout.xaxis.range[0] < -0.1
    assert bars(whole[:1], "nats", title="", running=True).layout.xaxis.range[0] == 0
