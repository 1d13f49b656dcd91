"""One head among all: the order, the place that is marked, what a click returns."""

import numpy as np
import pytest

from lens.figures.grid import selected_cell
from lens.figures.measure import Measure
from lens.figures.ranked import ranked
from lens.figures.theme import CATEGORICAL, NEUTRAL, PIN

VALUES = np.array([[0.1, 0.7], [0.4, np.nan]])


def figure(head: tuple[int, int] = (1, 0), threshold: float | None = 0.2):
    return ranked(Measure("induction", "", VALUES, "probability", threshold=threshold), head, title="Among all")


def test_heads_stand_from_the_largest_down_and_one_is_marked():
    every, here = figure().data
    assert every.customdata.tolist() == [[0, 1], [1, 0], [0, 0]], "a head without a number has no rank"
    assert np.allclose(every.y, [0.7, 0.4, 0.1])
    assert list(every.marker.color) == [CATEGORICAL[0], CATEGORICAL[0], NEUTRAL]
    assert (list(here.x), here.marker.color, here.customdata.tolist()) == ([2], PIN, [[1, 0]])
    assert np.allclose(here.y, [0.4])
    assert "head 1.0</b>, 2 of 3" in here.text[0]


def test_the_threshold_is_a_line_where_there_is_one():
    assert [shape.y0 for shape in figure().layout.shapes] == [0.2]
    assert figure(threshold=None).layout.shapes == ()


def test_a_click_returns_the_head_as_a_grid_does():
    layer, head = figure().data[0].customdata[0].tolist()
    assert selected_cell({"selection": {"points": [{"customdata": {"0": layer, "1": head}}]}}) == (0, 1)


def test_a_head_without_a_number_is_refused():
    with pytest.raises(ValueError, match=r"head 1\.1 has no induction; wanted one of the 3"):
        figure(head=(1, 1))
