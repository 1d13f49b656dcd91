"""The map of interventions: strokes over cells with a reason, clicks on top, the chosen cell framed."""

import numpy as np
import pytest

from lens.figures.grid import selected_cell
from lens.figures.measure import Axes, Measure
from lens.figures.patch_map import patch_map

AXES = Axes("layer", "position", columns=["0 <b>", "1 a", "2 $x$"])


def measure(shape):
    return Measure("share", "what it is", np.arange(np.prod(shape), dtype=np.float32).reshape(shape), signed=True)


@pytest.mark.parametrize("n_layers", [2, 12])
def test_strokes_lie_on_the_cells_that_have_a_reason(n_layers):
    reasons = [["", "no change: <i>same</i>", ""] for _ in range(n_layers)]
    figure = patch_map(measure((n_layers, 3)), AXES, reasons, chosen=(1, 2))
    strokes, clicks = figure.data[-2:]
    places = np.stack([strokes.x, strokes.y], axis=1)
    layers, columns = places.T if n_layers == 12 else places.T[::-1]  # many layers lie across
    assert columns.tolist() == [1] * n_layers
    assert layers.tolist() == list(range(n_layers))
    assert sum("no change" in text for text in clicks.text) == n_layers
    assert not any("<i>" in text for text in clicks.text)
    pairs = np.asarray(clicks.customdata).tolist()
    assert sorted(pairs) == [[row, column] for row in range(n_layers) for column in range(3)]
    at = pairs.index([1, 2])
    for frame in figure.layout.shapes:
        assert ((frame.x0 + frame.x1) / 2, (frame.y0 + frame.y1) / 2) == (clicks.x[at], clicks.y[at])
        assert frame.fillcolor is None
    assert not figure.layout.annotations


def test_a_click_names_row_and_column():
    event = {"selection": {"points": [{"customdata": {"0": 1, "1": 2}}]}}
    assert selected_cell(event) == (1, 2)


def test_reasons_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="2 x 3 reasons"):
        patch_map(measure((3, 3)), AXES, [[""] * 3] * 2)
