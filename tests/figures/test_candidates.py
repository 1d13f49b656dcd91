import pytest

from lens.figures.candidates import Candidate, candidates
from lens.figures.theme import PIN

ROWS = [Candidate("·the", 0.5, 0), Candidate("<s>", 0.25, 1), Candidate("·milk", 0.0004, 812, True)]


def test_bars_are_the_probabilities_in_order():
    (bar,) = candidates(ROWS, title="t", definition="d").data
    assert list(bar.x) == [0.5, 0.25, 0.0004]
    assert list(bar.y) == sorted(bar.y)
    assert bar.text == ("50.0%", "25.0%", "0.04%  rank 812, what came")


def test_the_token_that_came_is_marked_and_stands_apart():
    (bar,) = candidates(ROWS, title="t", definition="d").data
    assert [colour == PIN for colour in bar.marker.color] == [False, False, True]
    assert bar.y[2] - bar.y[1] > bar.y[1] - bar.y[0]


def test_labels_are_escaped_and_kept_apart():
    figure = candidates([*ROWS, Candidate("<s>", 0.0001, 900)], title="<b>t</b>", definition="d")
    assert list(figure.layout.yaxis.ticktext)[1:4:2] == ["&lt;s&gt; ", "&lt;s&gt; "]
    assert len(set(figure.layout.yaxis.tickvals)) == 4
    assert "<b>t" not in figure.layout.title.text
    assert "<b>&lt;s&gt;</b>" in figure.data[0].hovertext[1]


def test_figures_that_are_compared_share_their_axis():
    one, other = (candidates(rows, title="t", definition="d", largest=0.5) for rows in (ROWS, ROWS[1:]))
    assert (
        one.layout.xaxis.range
        == other.layout.xaxis.range
        == candidates(ROWS, title="t", definition="d").layout.xaxis.range
    )
    assert max(candidates(ROWS[1:], title="t", definition="d").layout.xaxis.range) == 1.35 * 0.25


def test_nothing_to_show_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        candidates([], title="t", definition="d")
