import re

import numpy as np
import pytest

from lens.figures.grid import BESIDE, FULL, grid, is_wide, selected_cell
from lens.figures.measure import HEADS, LETTER, Axes, Measure
from lens.figures.patch_map import patch_map
from lens.figures.scatter import scatter
from lens.figures.theme import CORE, HALO, PIN
from lens.figures.thumbnails import thumbnails


def measure(values, **kwargs):
    return Measure("induction", "What it means.", np.asarray(values, np.float32), **kwargs)


def heatmaps(figure):
    return [trace for trace in figure.data if trace.type == "heatmap"]


def clicks(figure):
    return next(trace for trace in figure.data if trace.customdata is not None)


def event(*pairs):
    return {"selection": {"points": [{"x": 0, "customdata": {"0": row, "1": column}} for row, column in pairs]}}


def test_a_click_comes_back_as_its_row_and_column():
    assert selected_cell(event((18, 6))) == (18, 6)
    assert selected_cell(event((0, 0))) == (0, 0)


@pytest.mark.parametrize("nothing", [None, {}, {"selection": {"points": []}}, {"selection": {"points": [{"x": 1}]}}])
def test_no_selection_is_none(nothing):
    assert selected_cell(nothing) is None


@pytest.mark.parametrize("shape", [(3, 5), (30, 9)])
def test_every_cell_is_clickable_at_its_own_place(shape):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    figure = grid(measure(values))
    points, (heat,) = clicks(figure), heatmaps(figure)
    assert len(points.x) == values.size
    assert points.hoverinfo != "skip"
    assert heat.hoverinfo == "skip"
    for x, y, (row, column) in zip(points.x, points.y, points.customdata):
        assert heat.z[y][x] == values[row, column]


def test_many_layers_lie_across_and_few_lie_down():
    assert is_wide((30, 9))
    assert not is_wide((12, 12))
    assert not is_wide((2, 8))
    assert not is_wide((4, 2))


def test_hover_says_the_value_its_interval_control_and_rank():
    values = [[0.01, 0.91], [0.5, np.nan]]
    low, high, control = np.full((2, 2), 0.88), np.full((2, 2), 0.93), np.full((2, 2), 0.2)
    texts = clicks(grid(measure(values, low=low, high=high, control=control))).text
    assert texts[1] == "<b>head 0.1</b> · induction <b>0.91</b> [0.88, 0.93] · control 0.20 · rank 1 of 3"
    assert texts[3].startswith("<b>head 1.1</b> · induction <b>not computed</b>")
    assert "rank" not in texts[3]


def test_cells_at_or_below_the_null_have_no_colour_and_say_so():
    figure = grid(measure([[0.02, 0.5], [0.01, 0.03]], threshold=0.02))
    muted, coloured = heatmaps(figure)
    np.testing.assert_array_equal(np.isnan(coloured.z), [[True, False], [True, False]])
    np.testing.assert_array_equal(np.isnan(muted.z), [[False, True], [False, True]])
    assert "within chance" in clicks(figure).text[0]
    assert "within chance" not in clicks(figure).text[1]
    assert "null 0.02" in coloured.colorbar.title.text


def test_a_signed_quantity_is_symmetric_about_zero_whatever_its_values():
    (heat,) = heatmaps(grid(measure([[0.1, -3.0], [0.5, 0.2]], signed=True)))
    assert (heat.zmin, heat.zmax) == (-3.0, 3.0)
    assert heat.autocolorscale
    assert measure([[0.1, -3.0]], signed=True).ranks().tolist() == [[2, 1]]
    assert measure([[0.1, -3.0]], signed=True, threshold=0.2).below_null().tolist() == [[True, False]]


def test_an_unsigned_quantity_starts_at_zero():
    (heat,) = heatmaps(grid(measure([[0.4, 0.8]])))
    assert (heat.zmin, heat.zmax) == (0.0, np.float32(0.8))


def test_equal_values_share_a_rank():
    assert measure([[0.5, 0.5], [0.1, 0.9]]).ranks().tolist() == [[2, 2], [4, 1]]


def test_pinned_heads_are_outlined_and_named_in_the_margin():
    layout = grid(measure(np.zeros((2, 3))), pinned=[(1, 2)]).layout
    assert [(s.x0, s.x1, s.y0, s.y1) for s in layout.shapes] == [(1.5, 2.5, 0.5, 1.5)]
    assert re.sub("<.*?>", "", layout.annotations[0].text) == "□ pinned: 1.2"
    wide = grid(measure(np.zeros((30, 9))), pinned=[(18, 6)]).layout.shapes[0]
    assert (wide.x0, wide.y0) == (17.5, 5.5)


@pytest.mark.parametrize("shape", [(2, 3), (12, 12), (30, 9)])
def test_nothing_covers_a_cell_whatever_is_pinned(shape):
    every = [tuple(cell) for cell in np.argwhere(np.ones(shape))]
    patterns = np.ones((*shape, 4, 4), np.float32)
    for figure in (
        grid(measure(np.ones(shape)), pinned=every, current=(1, 1)),
        patch_map(measure(np.ones(shape)), HEADS, [[""] * shape[1]] * shape[0], pinned=every, chosen=(1, 1)),
        thumbnails(patterns, pinned=every, current=(1, 1)),
    ):
        (note,) = figure.layout.annotations
        assert (note.yref, note.y, note.yanchor) == ("paper", 1, "bottom")  # above the plot
        assert f"and {len(every) - 8} more" in note.text or len(every) <= 8
        frames = [shape for shape in figure.layout.shapes if shape.type == "rect"]
        assert len(frames) == len(every) + 1
        assert all(frame.fillcolor is None for frame in frames)


def test_the_selected_head_has_a_double_outline_and_a_pin_leaves_the_cells_in_their_place():
    plain, current, pinned, both = (
        grid(measure(np.zeros((2, 3))), **marks).layout
        for marks in ({}, {"current": (0, 1)}, {"pinned": [(0, 1)]}, {"current": (0, 1), "pinned": [(0, 1)]})
    )
    assert [[shape.line.color for shape in layout.shapes] for layout in (plain, current, pinned, both)] == [
        [], [HALO, CORE], [PIN], [PIN, CORE],
    ]  # fmt: skip
    assert len({(layout.margin.t, layout.height) for layout in (plain, current, pinned, both)}) == 1


def test_position_labels_are_escaped_in_ticks_and_hover():
    axes = Axes("layer", "position", columns=["<s>", "&", "a"])
    figure = grid(measure(np.zeros((2, 3))), axes)
    assert figure.layout.xaxis.ticktext == ("&lt;s&gt;", "&amp;", "a")
    assert "<s>" not in clicks(figure).text[0]
    assert "position &lt;s&gt;" in clicks(figure).text[0]


def test_wrong_shapes_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"low of shape \(1, 2\).*\(2, 2\)"):
        measure(np.zeros((2, 2)), low=np.zeros((1, 2)))
    with pytest.raises(ValueError, match="2 labels for 3 cells"):
        grid(measure(np.zeros((2, 3))), Axes("layer", "position", columns=["a", "b"]))
    with pytest.raises(ValueError, match="row, column"):
        measure(np.zeros(3))


def test_scatter_points_carry_their_head_and_leave_out_what_was_not_computed():
    x, y = measure([[0.1, 0.9], [0.2, np.nan]], threshold=0.3), measure([[1.0, 2.0], [3.0, 4.0]], signed=True)
    figure = scatter(x, y, pinned=[(0, 0)], current=(0, 1), n_labels=0)
    (points,) = figure.data
    assert [tuple(pair) for pair in points.customdata] == [(0, 0), (0, 1), (1, 0)]
    np.testing.assert_allclose(points.x, [0.1, 0.9, 0.2], rtol=1e-6)
    assert points.text[0] == "0.0"
    assert points.text[1] == "0.1"
    assert points.text[2] == ""
    assert points.marker.line.width == (0, 3, 0)
    assert points.marker.symbol == ("diamond", "circle", "circle")
    assert [shape.x0 for shape in figure.layout.shapes] == [0.3]


def test_a_rule_that_is_no_threshold_hatches_its_own_cells_and_cells_without_a_number_have_a_cross():
    values = [[np.nan, 0.5], [0.9, 0.4]]
    within = np.array([[False, True], [False, False]])
    figure = grid(measure(values, within=within, absent="not applicable"))
    shown = heatmaps(figure)[-1].z
    assert np.isnan(shown).tolist() == [[True, True], [False, False]]
    cross = [trace for trace in figure.data if trace.type == "scatter" and trace.marker.symbol == "x-thin-open"]
    assert [(list(one.x), list(one.y)) for one in cross] == [([0], [0])]
    texts = figure.data[-1].text
    assert "not applicable" in texts[0]
    assert texts[1].endswith("within chance")
    assert "rank 1 of 3" in texts[2]
    assert "hatched: within chance" in heatmaps(figure)[-1].colorbar.title.text


def test_a_signed_quantity_of_which_one_end_stands_out_is_ranked_by_value():
    both, one = (measure([[-0.9, 0.5]], signed=True, ends=ends) for ends in (True, False))
    assert (both.ranks().tolist(), one.ranks().tolist()) == ([[1, 2]], [[2, 1]])
    assert both.limits() == one.limits() == pytest.approx((-0.9, 0.9))


def test_a_long_name_stands_over_its_unit():
    assert Measure("entropy", "", np.zeros((1, 1)), "nats").axis == "entropy (nats)"
    long = Measure("strongest feeder by k", "", np.zeros((1, 1)), "share of the product of norms")
    assert long.axis == "strongest feeder by k<br>(share of the product of norms)"


def test_cells_of_few_heads_keep_their_shape_and_those_of_many_fill_the_page():
    few = grid(Measure("score", "d", np.zeros((2, 4))))
    assert few.layout.width == FULL
    wide = few.layout.xaxis.domain[1] * (FULL - BESIDE) / 4
    high = (few.layout.height - few.layout.margin.t - few.layout.margin.b) / 2
    assert 0.5 < high / wide < 2
    assert few.data[0].colorbar.x > few.layout.xaxis.domain[1]  # beside the cells, not at the end of the page
    many = grid(Measure("score", "d", np.zeros((12, 12))))
    assert many.layout.width is None
    assert many.layout.xaxis.domain is None


def test_the_title_of_a_colour_bar_is_no_longer_than_the_bar():
    figure = grid(Measure("induction minus its control", "d", np.zeros((2, 4)), "probability"))
    height = figure.layout.height - figure.layout.margin.t - figure.layout.margin.b
    lines = figure.data[0].colorbar.title.text.split("<br>")
    assert max(map(len, lines)) * LETTER <= height
    assert " ".join(lines) == "induction minus its control (probability)"


@pytest.mark.parametrize("shape", [(2, 4), (12, 12), (30, 9), (6, 8)])
def test_layers_lie_the_same_way_in_every_figure_of_a_model(shape):
    values, across = np.zeros(shape), is_wide(shape)
    reasons = [[""] * shape[1]] * shape[0]
    figures = (
        grid(Measure("score", "d", values)),
        patch_map(Measure("score", "d", values), HEADS, reasons),
        thumbnails(np.zeros((*shape, 3, 3))),
    )
    for figure in figures:
        names = figure.layout.xaxis.title.text, figure.layout.yaxis.title.text
        assert names == (("layer", "head") if across else ("head", "layer"))


def test_columns_run_across_whatever_the_shape_where_they_are_time():
    values = np.zeros((30, 3))
    turned, kept = (
        grid(Measure("score", "", values), Axes("head", "checkpoint", turns=turns)) for turns in (True, False)
    )
    assert turned.layout.xaxis.title.text == "head"
    assert kept.layout.xaxis.title.text == "checkpoint"
    assert kept.data[-1].customdata[-1].tolist() == [29, 2]
    assert (kept.data[-1].x[-1], kept.data[-1].y[-1]) == (2, 29)
