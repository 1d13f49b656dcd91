import pytest

from lens.figures.distances import DistanceShare, distances


def test_every_distance_has_a_bar_with_its_interval_and_both_marks():
    rows = [
        DistanceShare("<s>", 0.5, 0.4, 0.7, 0.1, 0.6, apart=True),
        DistanceShare("1", 0.2, 0.1, 0.3, 0.1, None),
    ]
    figure = distances(rows, title="<b>", definition="d")
    bars, first, even, prompt = figure.data
    assert (list(first.x), list(first.y)) == (["&lt;s&gt;"], [0.5])
    assert (list(bars.x), list(bars.y)) == (["1"], [0.2])
    assert list(first.error_y.array) == pytest.approx([0.2])
    assert list(first.error_y.arrayminus) == pytest.approx([0.1])
    assert list(figure.layout.xaxis.categoryarray) == ["&lt;s&gt;", "1"]
    assert list(even.y) == [0.1, 0.1]
    assert list(prompt.y) == [0.6, None]
    assert bars.marker.color != first.marker.color
    assert "<b>&lt;s&gt;</b><br>0.5" in first.hovertext[0]


def test_without_interval_and_prompt_there_are_neither():
    bars, even = distances([DistanceShare("0", 0.5, None, None, 0.5)], title="t", definition="d").data
    assert bars.error_y.array is None
    assert even.name == "looking at all keys alike"
    with pytest.raises(ValueError, match="no rows"):
        distances([], title="t", definition="d")
