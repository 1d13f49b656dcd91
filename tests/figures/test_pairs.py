"""The matrix of all pairs of heads, and the graph of the strongest."""

import numpy as np
import pytest

from lens.figures.layered import Edge, layered_graph
from lens.figures.pairs import Pairs, pair_matrix, selected_pair
from lens.figures.theme import CORE, HALO, NEUTRAL, PIN


def values(layers=3, heads=2):
    """sender layer, sender head, layer, head as the digits of a number; NaN unless the sender is earlier."""
    index = np.indices((layers, heads, layers, heads)).astype(float)
    number = 1000 * index[0] + 100 * index[1] + 10 * index[2] + index[3]
    return np.where(index[0] < index[2], number, np.nan)


def test_every_pair_is_a_point_that_says_which_it_is():
    figure = pair_matrix(Pairs("K − null", "share", values(), True, {"score": -values()}))
    heatmap, points = figure.data
    assert np.isnan(np.asarray(heatmap.z)).sum() == 36 - 12
    assert len(points.x) == 12
    for x, y, row in zip(points.x, points.y, points.customdata):
        s_layer, s_head, layer, head, value, score = row
        assert (y, x) == (2 * s_layer + s_head, 2 * layer + head)
        assert value == 1000 * s_layer + 100 * s_head + 10 * layer + head == heatmap.z[y][x] == -score
    assert "K − null" in points.hovertemplate
    assert "score" in points.hovertemplate


@pytest.mark.parametrize("signed", [True, False])
def test_zero_is_neutral_where_numbers_have_a_sign(signed):
    heatmap = pair_matrix(Pairs("z", "", -values(), signed)).data[0]
    assert heatmap.zmax == np.nanmax(values())
    assert heatmap.zmin == (-heatmap.zmax if signed else 0)
    assert heatmap.hoverinfo == "skip"


def test_the_chosen_pair_is_framed_around_its_cell():
    plain = pair_matrix(Pairs("K", "", values(), False))
    figure = pair_matrix(Pairs("K", "", values(), False), chosen=(0, 1, 2, 0))
    assert len(plain.layout.shapes) == 1  # the borders between layers
    frame = figure.layout.shapes[-1]
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (3.5, 4.5, 0.5, 1.5)
    colours = [
        [
            s.line.color
            for s in pair_matrix(Pairs("K", "", values(), False), chosen=(0, 1, 2, 0), pinned=pins).layout.shapes[1:]
        ]
        for pins in ([], [(2, 0)], [(0, 1)])
    ]
    assert colours == [[NEUTRAL, HALO, CORE], [PIN, PIN, CORE], [NEUTRAL, HALO, CORE]]


def test_names_and_values_that_do_not_fit_are_refused_or_escaped():
    with pytest.raises(ValueError, match=r"\(3, 2, 2, 3\); wanted"):
        pair_matrix(Pairs("K", "", np.zeros((3, 2, 2, 3)), False))
    assert "<b>x" not in str(pair_matrix(Pairs("<b>x", "", values(), False)).data[0].colorbar.title.text)


def test_a_selection_gives_the_pair():
    point = {"customdata": {"0": 16.0, "1": 0.0, "2": 18.0, "3": 6.0, "4": 0.12}}
    assert selected_pair({"selection": {"points": [point]}}) == (16, 0, 18, 6)
    assert selected_pair({"selection": {"points": []}}) is None
    assert selected_pair(None) is None


EDGES = [Edge((0, 0), (2, 1), 0.9), Edge((1, 1), (2, 1), 0.3), Edge((0, 1), (1, 0), 0.1)]


def test_the_graph_has_a_line_per_edge_and_a_point_per_head():
    figure = layered_graph(EDGES, (3, 2), name="K", pinned=(2, 1), title="t", definition="d")
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    drawn = {
        (trace.x[i], trace.y[i], trace.x[i + 1], trace.y[i + 1]): trace.line
        for trace in lines
        for i in range(0, len(trace.x), 3)
    }
    assert drawn.keys() == {(0, 0, 2, 1), (1, 1, 2, 1), (0, 1, 1, 0)}
    assert drawn[0, 0, 2, 1].width > drawn[1, 1, 2, 1].width
    assert drawn[0, 0, 2, 1].color == drawn[1, 1, 2, 1].color != drawn[0, 1, 1, 0].color
    nodes = figure.data[-1]
    assert sorted(map(tuple, nodes.customdata.tolist())) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 1)]
    assert "shown: 2 in, 0 out" in nodes.hovertext[-1]


def test_equal_edges_and_no_edges():
    same = layered_graph([edge._replace(value=0.5) for edge in EDGES], (3, 2), name="K", title="t", definition="d")
    assert len({trace.line.width for trace in same.data if trace.mode == "lines"}) == 1
    with pytest.raises(ValueError, match="no edges"):
        layered_graph([], (3, 2), name="K", title="t", definition="d")


def test_a_small_map_names_every_head():
    figure = pair_matrix(Pairs("K", "d", np.zeros((2, 4, 2, 4)), True))
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert axis.ticktext == tuple(f"{layer}.{head}" for layer in range(2) for head in range(4))
        assert axis.tickvals == tuple(range(8))
