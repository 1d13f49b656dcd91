"""Paths in a plane: what is drawn, and what a click returns."""

import numpy as np

from lens.figures.theme import PIN
from lens.figures.training import COLOURS, clicked
from lens.figures.trajectory import Path, trajectories

AT = np.array([[0.0, 0.0], [1.0, 2.0], [3.0, 1.0], [4.0, 4.0]])
POINTS = np.array([(2, index, -1, -1) for index in range(4)])
LABELS = ["<s>", "b", "c", "d"]


def drawn(**rest):
    return trajectories([Path("run", AT, LABELS, POINTS, 2, **rest)], ("one", "two"), title="Paths")


def test_the_stretch_is_drawn_over_the_path_and_the_open_point_has_a_ring():
    figure = drawn(first=1, last=2, opened=3)
    line, stretch, ring, points = figure.data
    assert line.x.tolist() == AT[:, 0].tolist()
    assert stretch.y.tolist() == [2.0, 1.0]
    assert (stretch.line.color, ring.marker.color, ring.x[0]) == (COLOURS[2], PIN, 4.0)
    assert list(points.marker.symbol) == ["circle-open", "circle", "circle", "diamond"]
    assert "&lt;s&gt;" in points.text[0]
    assert len(drawn().data) == 2


def test_a_click_is_the_checkpoint():
    chosen = drawn().data[-1].customdata[1]
    event = {"selection": {"points": [{"customdata": dict(enumerate(chosen.tolist()))}]}}
    assert clicked(event) == (2, 1, -1, -1)


def test_a_path_of_one_point_is_drawn():
    figure = trajectories([Path("run", AT[:1], LABELS[:1], POINTS[:1], 0)], ("one", "two"), title="Paths")
    assert len(figure.data[-1].marker.symbol) == 1
