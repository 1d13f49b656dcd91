"""A small map beside others: the scale it is given, its labels, what its cells say."""

import numpy as np
import pytest

from lens.figures.measure import Axes, Measure
from lens.figures.panel import panel

AXES = Axes("query", "key", ["0: <s>", "1: $a"], ["0: <s>", "1: $a"])
VALUES = np.array([[1.0, np.nan], [0.25, -0.75]])


def test_the_scale_is_the_one_that_is_given():
    figure = panel(Measure("attention", "", VALUES, "probability"), AXES, (-2.0, 2.0), title="<b>x</b>")
    heat, points = figure.data
    assert (heat.zmin, heat.zmax) == (-2.0, 2.0)
    assert np.array_equal(heat.z, VALUES.astype(np.float32), equal_nan=True)
    assert figure.layout.title.text == "&lt;b&gt;x&lt;/b&gt;"
    assert list(figure.layout.xaxis.ticktext) == ["0: &lt;s&gt;", "1: &#36;a"]
    assert points.text[2] == "<b>query 1: &#36;a · key 0: &lt;s&gt;</b><br>attention <b>0.25</b> probability"


def test_rows_upwards_and_notes_of_cells():
    notes = [["a", "b"], ["c", "<i>"]]
    measure = Measure("difference", "", VALUES, "nats", signed=True)
    up, down = (panel(measure, AXES, (-1, 1), title="", notes=notes, upwards=way) for way in (True, False))
    assert up.layout.yaxis.range == (-0.5, 1.5)
    assert down.layout.yaxis.range == (1.5, -0.5)
    assert up.data[0].autocolorscale
    assert up.data[1].text[3].endswith("nats<br>&lt;i&gt;")


def test_a_name_that_the_bar_cannot_hold_gives_way_to_the_unit():
    long = Measure("a name of many words that no bar beside a small map holds in two lines", "", VALUES, "nats")
    assert panel(long, AXES, (0, 1), title="").data[0].colorbar.title.text == "nats"


def test_labels_must_fit():
    with pytest.raises(ValueError, match="one label each"):
        panel(Measure("x", "", np.ones((3, 2))), AXES, (0, 1), title="")
