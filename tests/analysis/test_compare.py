"""Matching two models and two texts: hand-made cases, and the identities that a difference must keep."""

from itertools import product

import numpy as np
import pytest
import torch

from lens import HookedTransformer
from lens.analysis.compare import (
    aligned,
    alike,
    by_depth,
    by_name,
    by_text,
    difference_over_pairs,
    largest,
    layer_depths,
    log_rank,
    paired_difference,
    per_layer,
    token_pieces,
)
from lens.analysis.interventions import Pairs
from lens.analysis.verdicts import which_differ_from_zero
from tests.ui.conftest import REAL

TEXTS = ("The cat sat on the mat. The cat sat on the", "naïve 🙂 déjà-vu 東京 1234", "def f(x):\n    return x", " ")


def pairs(match):
    return list(zip(match.first.tolist(), match.second.tolist()))


def test_a_counterpart_is_the_item_that_stands_for_it_or_none():
    match = by_name(["a", "b", "c"], ["c", "a"])
    assert [match.counterpart(place) for place in range(4)] == [1, None, 0, None]


def test_ranks_are_compared_by_the_logarithm_from_1_and_no_rank_is_no_number():
    assert np.array_equal(log_rank(np.array([0, 9, 99, -1])), [0, 1, 2, np.nan], equal_nan=True)


def test_layers_of_equal_depth_are_the_identity():
    for n in (1, 2, 30):
        match = by_depth(layer_depths(n), layer_depths(n))
        assert match.is_identity
        assert match.left_out == (0, 0)


def test_layers_stand_beside_the_nearest_in_depth():
    assert pairs(by_depth(layer_depths(2), layer_depths(4))) == [(0, 0), (0, 1), (1, 2), (1, 3)]
    assert pairs(by_depth(layer_depths(4), layer_depths(2))) == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert pairs(by_depth([0, 0.5, 1], [0, 1])) == [(0, 0), (1, 0), (2, 1)], "of two as near, the earlier"
    for n, m in ((1, 7), (3, 30), (12, 30)):
        match = by_depth(layer_depths(n), layer_depths(m))
        assert match.left_out == (0, 0)
        assert (match.first[0], match.first[-1], match.second[0], match.second[-1]) == (0, n - 1, 0, m - 1)
        assert (np.diff(match.first) >= 0).all()
        other = by_depth(layer_depths(m), layer_depths(n))
        assert pairs(other.swapped()) == pairs(match)


def test_names_that_come_again_are_matched_in_their_order():
    match = by_name(["a", "b", "a", "c"], ["a", "c", "a", "a", "d"])
    assert pairs(match) == [(0, 0), (2, 2), (3, 1)]
    assert match.left_out == (1, 2)


def test_tokens_are_matched_by_the_text_they_cover():
    assert pairs(by_text([b"", b"The", b" cat"], [b"", b"The", b" c", b"at"])) == [(0, 0), (1, 1)]
    assert pairs(by_text([b"The", b" cat"], [b"", b"The", b" cat"])) == [(0, 1), (1, 2)], "BOS of one only"
    assert pairs(by_text([b"ab", b"c"], [b"a", b"bc"])) == [], "the same text, cut everywhere else"
    two = by_text([b"", b"The", b" cat", b" sat", b"."], [b"", b"The", b" old", b" dog", b" sat", b"."])
    assert pairs(two) == [(0, 0), (1, 1), (3, 4), (4, 5)]
    assert two.left_out == (1, 2)
    smile = "🙂".encode()
    assert pairs(by_text([smile[:2], smile[2:], b"a"], [smile, b"a"])) == [(2, 1)], "a character cut into bytes"
    assert pairs(by_text([smile[:2], smile[2:], b"a"], [smile[:2], smile[2:3], smile[3:], b"a"])) == [(0, 0), (2, 3)]
    assert by_text([], []).is_identity


@pytest.mark.parametrize("text", TEXTS)
def test_one_text_in_one_model_is_the_identity_and_swapping_swaps(text):
    first, second = (HookedTransformer.from_pretrained(name) for name in ("lens-2l", REAL))
    pieces = [token_pieces(model, model.to_tokens(text)[0]) for model in (first, second)]
    for of in pieces:
        assert by_text(of, list(of)).is_identity
        assert b"".join(of) == text.encode()
    match = by_text(*pieces)
    assert pairs(by_text(*reversed(pieces)).swapped()) == pairs(match)
    assert (0, 0) in pairs(match), "BOS stands for BOS"
    for a, b in pairs(match):
        assert pieces[0][a] == pieces[1][b]
        assert len(b"".join(pieces[0][:a])) == len(b"".join(pieces[1][:b])), "in the same place"
    spans = [set(np.cumsum([0, *map(len, of)]).tolist()) for of in pieces]
    whole = [len(b"".join(of)) for of in pieces]
    assert whole[0] == whole[1]
    ends = sorted(spans[0] & spans[1])
    assert len(pairs(match)) <= len(ends), "one token between two places where both cut, and BOS"


def test_two_texts_swap():
    a, b = [b"x ", b"a", b" b", b" a"], [b"a", b" b", b" a", b" b", b" a"]
    assert pairs(by_text(b, a).swapped()) == pairs(by_text(a, b))


def test_a_difference_with_itself_is_0_and_swapping_negates_it():
    x, y = np.random.default_rng(0).normal(size=(2, 4, 6))
    same = aligned(x, x, [alike(4), alike(6)])
    assert (same.difference == 0).all()
    assert largest(same.difference) is None
    match = [by_depth(layer_depths(4), layer_depths(4)), by_text([b"a", b"b"] * 3, [b"a", b"b"] * 3)]
    there, back = aligned(x, y, match), aligned(y, x, [of.swapped() for of in match])
    assert np.array_equal(there.difference, -back.difference)
    assert there.difference[largest(there.difference)] == pytest.approx(abs(y - x).max() * np.sign((y - x).ravel()[
        abs(y - x).argmax()]))  # fmt: skip
    with pytest.raises(ValueError, match="one match for each axis"):
        aligned(x, y, [alike(4), alike(5)])


def test_numbers_of_a_layer():
    values = np.array([[0.2, np.nan, 0.4], [np.nan] * 3, [-1.0, -2.0, -3.0]])
    assert per_layer(values) == pytest.approx(np.array([[0.4, 0.3], [np.nan] * 2, [-1.0, -2.0]]), nan_ok=True)


def test_a_paired_difference_has_an_interval_from_16_samples_on():
    torch.manual_seed(0)
    x = torch.randn(20, 2, 3)
    shift = torch.tensor([[0.0, 5.0, 0.0], [0.0, 0.0, -5.0]])
    estimate = paired_difference(x, x + shift)
    assert torch.allclose(estimate.mean.float(), shift, atol=1e-6)
    other = paired_difference(x + shift, x)
    assert torch.equal(other.mean, -estimate.mean)
    noisy = paired_difference(x, torch.randn(20, 2, 3) + shift)
    assert torch.equal(which_differ_from_zero(noisy), shift != 0)
    assert not which_differ_from_zero(paired_difference(x, x)).any()
    tiny = paired_difference(x, x + 1e-6)
    assert which_differ_from_zero(tiny).all()
    assert not which_differ_from_zero(tiny, rounding=1e-5).any()
    few = paired_difference(x[:15], x[:15])
    assert few.low is None
    assert which_differ_from_zero(few) is None


def crossed(frames: int, names: int) -> Pairs:
    cells = list(product(range(frames), range(names)))
    rows = tuple((cell,) for cell in range(len(cells)))
    return Pairs(rows, rows, frames=tuple(frame for frame, _ in cells), names=tuple(name for _, name in cells))


def test_the_difference_over_pairs_is_0_of_the_same_and_its_opposite_the_other_way_round():
    torch.manual_seed(0)
    design, (x, y) = crossed(8, 8), torch.randn(2, 3, 64)
    same = difference_over_pairs(x, x, design)
    assert not any(of.any() for of in (same.mean, same.low, same.high))
    there, back = difference_over_pairs(x, y + 3, design), difference_over_pairs(y + 3, x, design)
    assert all(torch.equal(a, -b) for a, b in [(there.mean, back.mean), (there.low, back.high), (there.high, back.low)])
    assert which_differ_from_zero(there).all()
    with pytest.raises(ValueError, match="give the same pairs"):
        difference_over_pairs(x, y[:, :9], design)


def test_pairs_that_share_a_frame_say_less_than_as_many_that_do_not():
    torch.manual_seed(0)
    by_frame = torch.randn(1, 8, 1).expand(1, 8, 8).flatten(1)
    designs = (crossed(8, 8), Pairs(((0,),) * 64, ((0,),) * 64))
    wide, narrow = (difference_over_pairs(0 * by_frame, by_frame, design) for design in designs)
    assert float(wide.high - wide.low) > 2 * float(narrow.high - narrow.low)
    few = difference_over_pairs(by_frame[:, :15], by_frame[:, :15], Pairs(((0,),) * 15, ((0,),) * 15))
    assert few.low is None
    assert few.note == "no interval: 15 pairs, at least 16 are needed"


def test_a_number_with_heavy_tails_widens_no_other_and_one_that_is_constant_has_no_width():
    torch.manual_seed(0)
    design, x = Pairs(((0,),) * 16, ((0,),) * 16), torch.randn(4, 16)
    x[2], x[3] = 0.01 * x[2] + 100 * (torch.arange(16) == 5), 1.0
    found = difference_over_pairs(torch.zeros_like(x), x, design)
    widths = (found.high - found.low) / 2 / (x.double().std(-1) / 4)
    assert (widths[:2] < 4).all()
    assert widths[2] > 2 * widths[:2].max()
    assert found.low[3] == found.high[3] == 1
