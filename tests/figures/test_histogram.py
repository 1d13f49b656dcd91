import numpy as np
import pytest

from lens.figures.histogram import BINS, Band, Named, histogram


def test_every_value_is_counted_once_and_the_band_and_names_stand_where_they_belong():
    values = np.array([1.0] * 70 + [2.0] * 29 + [9.0])
    named = [Named(9.0, "<s>")]
    figure = histogram(values, "length", title="<b>", definition="d", band=Band(0.5, 2.5, "random"), named=named)
    bars, ticks = figure.data
    assert sum(bars.y) == 100
    assert len(bars.y) == BINS
    assert bars.y[0] == 70
    assert bars.y[-1] == 1
    assert (figure.layout.shapes[0].x0, figure.layout.shapes[0].x1) == (0.5, 2.5)
    assert list(ticks.x) == [9.0]
    assert "&lt;s&gt;" in ticks.hovertext[0]
    assert "<b>" not in figure.layout.title.text


@pytest.mark.parametrize("values", [[], [1.0, np.nan]])
def test_nothing_and_no_numbers_are_refused(values):
    with pytest.raises(ValueError, match="finite"):
        histogram(np.array(values), "length", title="t", definition="d")
