import json

import numpy as np
import pytest

from lens.figures.thumbnails import GAP, mosaic, thumbnails


def tile_of(image, side, row, column):
    step = side + GAP
    return image[row * step : row * step + side, column * step : column * step + side]


@pytest.mark.parametrize("shape", [(2, 3), (12, 4)])
def test_a_pattern_lands_in_its_own_tile_and_nowhere_else(shape):
    patterns = np.zeros((*shape, 4, 4), np.float32)
    patterns[1, 2, 3, 1] = 0.5
    image, side, largest = mosaic(patterns, hide_first=False)
    row, column = (2, 1) if shape == (12, 4) else (1, 2)
    expected = np.zeros((4, 4), np.uint8)
    expected[3, 1] = 255
    assert side == 4
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(tile_of(image, side, row, column), expected)
    assert image.sum() == 255
    assert largest[1, 2] == 0.5
    assert largest.sum() == 0.5


def test_shrinking_keeps_a_thin_stripe_at_full_strength():
    patterns = np.zeros((1, 1, 96, 96), np.float32)
    patterns[0, 0, np.arange(1, 96), np.arange(95)] = 1
    image, side, _ = mosaic(patterns, tile=24, hide_first=False)
    assert side == 24
    assert (np.diag(image[:24, :24]) == 255).all()


def test_sizes_that_do_not_divide_keep_their_last_row():
    patterns = np.zeros((1, 1, 50, 50), np.float32)
    patterns[0, 0, 49, 49] = 1
    image, side, _ = mosaic(patterns, tile=24, hide_first=False)
    assert side == 17
    assert image[16, 16] == 255
    assert image.sum() == 255


def test_hiding_the_first_key_lets_the_rest_fill_the_scale():
    patterns = np.zeros((1, 1, 3, 3), np.float32)
    patterns[..., 0], patterns[0, 0, 2, 1] = 0.9, 0.1
    image, side, largest = mosaic(patterns)
    np.testing.assert_array_equal(image[:side, :side], [[0, 0], [255, 0]])
    assert largest[0, 0] == np.float32(0.1)


def test_tiles_lie_where_the_clicks_are():
    patterns = np.random.default_rng(0).random((2, 3, 8, 8)).astype(np.float32)
    figure = thumbnails(patterns, hide_first=False)
    heat, points = figure.data[0], next(trace for trace in figure.data if trace.customdata is not None)
    step = 8 + GAP
    for x, y, (layer, head) in zip(points.x, points.y, points.customdata):
        centre = heat.x0 + heat.dx * (head * step + 3.5), heat.y0 + heat.dy * (layer * step + 3.5)
        assert centre == pytest.approx((x, y), abs=1e-9)


@pytest.mark.parametrize("size", [4, 8, 24])
def test_labels_begin_inside_their_frames(size):
    figure = thumbnails(np.ones((2, 3, size, size), np.float32), hide_first=False, current=(1, 2))
    labels = next(trace for trace in figure.data if trace.type == "scatter" and trace.mode == "text")
    frame = figure.layout.shapes[-1]
    assert (labels.textposition, labels.text[-1]) == ("bottom left", "1.2")
    assert frame.x0 < labels.x[-1] < frame.x1
    assert frame.y0 < labels.y[-1] < frame.y1


def test_all_heads_of_a_real_model_are_small():
    figure = thumbnails(np.random.default_rng(0).random((30, 9, 64, 64)).astype(np.float32))
    text = figure.to_json()
    assert json.loads(text)["data"][0]["z"]["dtype"] == "u1"
    assert len(text) < 350_000


def test_patterns_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="layer, head, query, key"):
        mosaic(np.zeros((3, 4, 4)))
