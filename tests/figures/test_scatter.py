import itertools

import numpy as np

from lens.figures.measure import Measure
from lens.figures.scatter import FRAME, _box, _overlap, scatter


def boxes_of(figure) -> list:
    """Where the labels of a scatter stand, in the pixels of ``FRAME``."""
    (trace,) = figure.data
    points = np.stack([trace.x, trace.y], axis=1).astype(float)
    places = (points - points.min(0)) / np.ptp(points, axis=0) * FRAME
    return [_box(at, text, side) for at, text, side in zip(places, trace.text, trace.textposition) if text]


def test_labels_of_heads_that_lie_together_do_not_lie_over_each_other():
    rng = np.random.default_rng(0)
    cloud = rng.normal(size=(2, 12, 12)) * 0.02
    cloud[:, 0, 0] = 1  # one far away: all others lie within a few pixels
    figure = scatter(Measure("x", "", cloud[0]), Measure("y", "", cloud[1]), n_labels=40)
    boxes = boxes_of(figure)
    assert 3 < len(boxes) < 40
    assert not [pair for pair in itertools.combinations(boxes, 2) if _overlap(*pair)]
    assert "0.0" in figure.data[0].text


def test_pinned_heads_and_the_current_one_are_named_however_crowded():
    same = np.zeros((3, 4))
    same[2, 3] = 1
    pinned = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1)]
    figure = scatter(Measure("x", "", same), Measure("y", "", same), pinned=pinned, current=(1, 2), n_labels=1)
    named = {text for text in figure.data[0].text if text}
    assert {f"{layer}.{head}" for layer, head in [*pinned, (1, 2)]} <= named


def test_a_third_score_is_the_colour_of_the_heads_that_have_it():
    x, third = np.arange(6.0).reshape(2, 3), np.array([[0.5, np.nan, -2.0], [1.0, 0.0, np.nan]])
    colour = Measure("third", "", third, signed=True)
    known, rest = scatter(Measure("x", "", x), Measure("y", "", x), colour=colour, pinned=[(0, 1)], box=True).data
    assert list(known.marker.color) == [0.5, -2.0, 1.0, 0.0]
    assert (known.marker.cmin, known.marker.cmax) == (-2.0, 2.0)
    assert known.customdata.tolist() == [[0, 0], [0, 2], [1, 0], [1, 1]]
    assert rest.customdata.tolist() == [[0, 1], [1, 2]]
    assert list(rest.marker.symbol) == ["diamond", "circle"]
    assert "third <b>−2.00</b>" in known.hovertext[1]
    nowhere = Measure("third", "", np.full((2, 3), np.nan))
    (grey,) = scatter(Measure("x", "", x), Measure("y", "", x), colour=nowhere).data
    assert len(grey.x) == 6
