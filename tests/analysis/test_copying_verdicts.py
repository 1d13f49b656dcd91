"""What the copying scores of all heads say together, from hand-made scores, verdicts and bands."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lens.analysis.copying_verdicts import (
    Side,
    agreed,
    as_much_on_control,
    by_weights,
    count_heads,
    farthest_apart,
    gaussian_beside,
    half_of_size,
    head_copying,
)
from lens.analysis.largest_head import largest_head
from lens.analysis.ov_copying import NullBand

SCORE = torch.tensor([[0.5, 0.05], [-0.4, torch.nan]])


def band_of(own: float = 0.1, family: float = 0.3) -> NullBand:
    return NullBand(*(torch.full((2, 2), end) for end in (-own, own, -family, family)), 3.0, 200)


def test_heads_are_counted_by_their_verdict():
    side = by_weights(SCORE, SCORE.abs().nan_to_num(0), band_of())
    assert count_heads(SCORE, side, band_of()) == (
        (0, 0),
        (1, 0),
        3,
        1,
        1,
        1,
        2,
        pytest.approx(3 * 2 * (1 + 0.025 * 199) / 201),
    )
    assert count_heads(SCORE) == ((0, 0), (1, 0), 3, 1, None, None, None, None)
    weak = by_weights(SCORE / 2, SCORE.abs().nan_to_num(0), band_of())
    assert count_heads(SCORE / 2, weak, band_of())[4:7] == (0, 0, 2)


def test_the_strongest_head_has_a_score():
    assert largest_head(SCORE) == (0, 0)
    assert largest_head(np.array([[np.nan, -3.0]])) == (0, 1)


def test_two_kinds_of_evidence_are_counted_head_by_head():
    idle = torch.tensor([[False, False], [False, True]])
    ours, theirs = Side(torch.tensor([[1, 0], [-1, 0]]), idle, ""), Side(torch.tensor([[1, 1], [0, 0]]), ~idle, "")
    found = agreed(ours, theirs, torch.tensor([[False, True], [False, False]]))
    assert found == (4, 1, 2, 1, 4, 1)


@pytest.mark.parametrize(("score", "control", "sign", "expected"), [
    (3.0, 2.9, 1, True), (3.0, 0.1, 1, False), (-3.0, -2.9, -1, True), (-3.0, -2.9, 1, False),
])  # fmt: skip
def test_a_head_does_as_much_on_the_control_only_in_the_same_direction(score, control, sign, expected):
    means = [torch.full((1, 1), value) for value in (score, control, score - control)]
    found = SimpleNamespace(
        score=SimpleNamespace(mean=means[0]), null_mean=means[1], effect=SimpleNamespace(mean=means[2])
    )
    assert as_much_on_control(found, (0, 0), sign) is expected


def test_half_of_the_size_of_the_eigenvalues():
    assert half_of_size(torch.tensor([4.0 + 0j, 1, 1, 1])) == 1
    assert half_of_size(torch.ones(4, dtype=torch.complex64)) == 2


def test_the_gaussian_band_is_too_wide_for_heads_with_a_narrower_one_of_their_own():
    low, high = (torch.tensor([[side * 0.1, side * 0.1], [side * 0.2, torch.nan]]) for side in (-1, 1))
    bands = band_of()._replace(low=low, high=high)
    score = torch.tensor([[0.5, 0.08], [0.15, torch.nan]])
    found = gaussian_beside(score, bands, -0.15, 0.14, np.array([True, True]))
    assert found == (pytest.approx(0.2), pytest.approx(0.4), 2, 3, 1)
    assert gaussian_beside(score, bands, -0.15, 0.14, np.array([True, False])).n == 2


def test_the_head_whose_scores_lie_farthest_apart():
    assert farthest_apart(SCORE, torch.zeros(2, 2)) == (0, 0)
    assert farthest_apart(SCORE, torch.full((2, 2), torch.nan)) is None


@pytest.mark.parametrize(
    ("null", "verdict", "sign"), [((-0.2, 0.2), "above", 1), ((0.3, 0.6), "within", 0), ((0.6, 0.9), "below", -1)]
)
def test_the_verdict_on_one_head_is_where_it_lies_beside_its_own_null(null, verdict, sign):
    one = head_copying(SCORE, torch.tensor(null), (0, 0))
    assert (one.score, one.rank, one.n_heads) == (0.5, 1, 4)
    assert (one.verdict, one.sign) == (verdict, sign)


def test_one_head_that_lowers_or_does_little_or_writes_nothing():
    assert head_copying(SCORE, torch.tensor([-0.1, 0.1]), (1, 0)).sign == -1
    assert head_copying(SCORE, torch.tensor([-0.01, 0.01]), (0, 1)).sign == 0  # outside its null, and too little
    assert head_copying(SCORE, torch.tensor([-0.1, 0.1]), (1, 1)) is None


def test_without_heads_there_is_nothing_beside_gaussian_weights():
    idle = np.full((1, 2), np.nan)
    band = NullBand(idle, idle, idle, idle, 0.0, 20)
    assert gaussian_beside(idle, band, -0.1, 0.1, np.array([True])) is None
