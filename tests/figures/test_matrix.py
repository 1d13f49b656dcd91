import json

import numpy as np
import pytest

from lens.figures.grid import selected_cell
from lens.figures.matrix import LOG_FLOOR, Marks, Quantity, View, causal, matrix, overlay


def pattern(size, seed=0):
    weights = np.tril(np.random.default_rng(seed).random((size, size))) + np.eye(size) * 1e-6
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def test_above_the_diagonal_is_nan_and_the_rest_is_untouched():
    p = pattern(6)
    z = np.asarray(matrix(p, list("abcdef")).data[0].z)
    np.testing.assert_array_equal(np.isnan(z), np.triu(np.ones((6, 6), bool), 1))
    np.testing.assert_array_equal(z[np.tril_indices(6)], p[np.tril_indices(6)])
    assert z.dtype == np.float32
    assert not np.isnan(p).any()


def test_hiding_the_first_key_rescales_the_rest_and_says_how_much_was_hidden():
    p = np.array([[1, 0, 0], [0.8, 0.2, 0], [0.6, 0.3, 0.1]], np.float32)
    figure = matrix(p, ["<s>", "a", "b"], view=View(hide_first=True))
    assert np.isnan(figure.data[0].z[:, 0]).all()
    assert figure.data[0].zmax == pytest.approx(0.3)
    assert "70.00&#37;" in figure.layout.title.subtitle.text


def test_equal_tokens_keep_their_own_place_and_are_escaped():
    heat = matrix(pattern(3), ["<s>", "<s>", "&"]).data[0]
    assert list(heat.x) == ["0: &lt;s&gt;", "1: &lt;s&gt;", "2: &amp;"] == list(heat.y)


def test_log_colours_are_floored_and_the_hover_keeps_the_real_nats():
    p = np.array([[1, 0], [1e-6, 1 - 1e-6]], np.float32)
    heat = matrix(p, ["a", "b"], view=View(log=True)).data[0]
    assert heat.z[1, 0] == pytest.approx(np.log(LOG_FLOOR)) == heat.zmin
    assert heat.z[0, 0] == 0 == heat.zmax
    assert heat.customdata[1, 0] == pytest.approx(np.log(1e-6))
    assert "customdata:.2f} nats" in heat.hovertemplate
    assert heat.colorbar.ticktext == ("0", "−2", "−4", "−6", "−8")
    assert "nats" in heat.colorbar.title.text


def test_clickable_log_cells_say_the_share_and_its_logarithm():
    p = np.array([[1, 0], [0.1, 0.9]], np.float32)
    points = matrix(p, ["a", "b"], view=View(log=True, clickable=True)).data[1]
    assert points.hovertext[1] == "-2.30 nats, 0.1000"
    assert "%{hovertext} of its attention" in points.hovertemplate


@pytest.mark.parametrize("label", ["a", "endoftext", "長長長長長"])
def test_cells_are_square_and_labels_have_room(label):
    layout = matrix(pattern(20), [label] * 20).layout
    margin = layout.margin
    assert layout.width - margin.l - margin.r == layout.height - margin.t - margin.b == 480
    widest = 11 * len(label) * (1 if label[0] == "長" else 0.5)
    assert margin.l > widest + 30
    assert margin.b > 0.87 * widest + 30
    assert not layout.yaxis.automargin


def test_another_quantity_names_itself_everywhere():
    length = Quantity("length (units)", "Each row: lengths.", "units moved")
    figure = matrix(4 * pattern(3), list("abc"), view=View(hide_first=True, quantity=length))
    assert figure.data[0].colorbar.title.text == "length (units)"
    assert figure.layout.title.subtitle.text == "Each row: lengths."
    assert "units moved" in figure.data[0].hovertemplate
    several = overlay(np.stack([pattern(3)] * 2), list("abc"), ["0.0", "0.1"], view=View(quantity=length))
    assert several.layout.title.subtitle.text.startswith("Each row: lengths. Hue: the head with the largest")


def test_labels_with_their_own_positions_are_kept_and_must_differ():
    view = View(numbered=False, locked=1)
    figure = matrix(pattern(3), ["0 <s>", "1–4", "5–8"], view=view)
    assert list(figure.data[0].x) == ["0 &lt;s&gt;", "1–4", "5–8"]
    assert figure.layout.annotations[0].text == "◂ query 1–4"
    with pytest.raises(ValueError, match="must differ"):
        matrix(pattern(3), ["a", "a", "b"], view=view)


def test_marked_cells_are_one_path_around_each_cell():
    shapes = matrix(pattern(5), list("abcde"), marks=Marks([(3, 1), (4, 2)], "<b>stripe")).layout.shapes
    assert len(shapes) == 1
    assert shapes[0].path == "M0.5,2.5H1.5V3.5H0.5Z M1.5,3.5H2.5V4.5H1.5Z"


def test_a_locked_query_is_outlined_up_to_itself():
    (box,) = matrix(pattern(5), list("abcde"), view=View(locked=3)).layout.shapes
    assert (box.x0, box.x1, box.y0, box.y1) == (-0.5, 3.5, 2.5, 3.5)


def test_clickable_cells_are_exactly_the_causal_ones():
    figure = matrix(pattern(5), list("abcde"), view=View(clickable=True))
    cells = {tuple(pair) for pair in figure.data[1].customdata}
    assert cells == {(q, k) for q in range(5) for k in range(q + 1)}
    assert figure.data[0].hoverinfo == "skip"
    query, key = figure.data[1].customdata[7]
    assert (figure.data[1].y[7], figure.data[1].x[7]) == (f"{query}: {'abcde'[query]}", f"{key}: {'abcde'[key]}")
    point = {"customdata": {"0": int(query), "1": int(key)}}
    assert selected_cell({"selection": {"points": [point]}}) == (query, key)


def test_overlay_gives_each_cell_to_the_head_that_attends_most():
    heads = np.stack([np.eye(3), np.tril(np.ones((3, 3))) / [[1], [2], [3]]]).astype(np.float32)
    figure = overlay(heads, list("abc"), ["1.0", "<b>2.3"])
    first, second = (trace for trace in figure.data if trace.type == "heatmap")
    causal_cells = np.tril(np.ones((3, 3), bool))
    np.testing.assert_array_equal(~np.isnan(first.z), np.eye(3, dtype=bool))
    np.testing.assert_array_equal(~np.isnan(second.z), causal_cells & ~np.eye(3, dtype=bool))
    assert first.zmax == second.zmax == 1.0
    assert [trace.name for trace in figure.data if trace.type == "scatter"] == ["1.0", "&lt;b&gt;2.3"]


def test_a_clickable_overlay_says_every_head_in_its_hover():
    heads = np.stack([np.eye(3), np.tril(np.ones((3, 3))) / [[1], [2], [3]]]).astype(np.float32)
    points = overlay(heads, list("abc"), ["1.0", "<b>2.3"], view=View(clickable=True)).data[-1]
    assert {tuple(pair) for pair in points.customdata} == {(q, k) for q in range(3) for k in range(q + 1)}
    assert points.hovertext[1] == "1.0 0.000 · <b>&lt;b&gt;2.3 0.500</b>"


@pytest.mark.parametrize("shape", [(2, 3), (3,), (1, 3, 3)])
def test_a_pattern_that_is_not_square_is_refused(shape):
    with pytest.raises(ValueError, match="query, key"):
        causal(np.zeros(shape))


def test_wrong_counts_are_refused():
    with pytest.raises(ValueError, match="2 token labels for a pattern of 3"):
        matrix(pattern(3), ["a", "b"])
    with pytest.raises(ValueError, match="1 names for 2 heads"):
        overlay(np.stack([pattern(3)] * 2), list("abc"), ["1.0"])
    with pytest.raises(ValueError, match="at most 80"):
        matrix(pattern(81), ["a"] * 81, view=View(clickable=True))


def test_a_long_prompt_stays_binary_small_and_thinly_labelled():
    p, tokens = pattern(256), [f"t{i}" for i in range(256)]
    figure = matrix(p, tokens)
    text = figure.to_json()
    # 256² float32 in base64 is 350 kB, a fifth more with plotly's escapes; a list of numbers is over 600 kB.
    assert len(text) < 450_000
    assert "bdata" in json.loads(text)["data"][0]["z"]
    assert len(figure.layout.xaxis.tickvals) <= 48
