"""Rank correlations of heads: r against scipy, when it is said, and what counts as chance."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from lens.analysis.rank_correlation import rank_correlation


def test_r_is_spearmans_and_ties_share_their_rank():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, (4, 6)), rng.integers(0, 5, (4, 6))
    found = rank_correlation(x.astype(float), y.astype(float))
    assert found.r == pytest.approx(spearmanr(x.ravel(), y.ravel()).statistic)
    assert found.n == 24


def test_few_heads_and_constant_scores_are_not_said():
    few = rank_correlation(np.arange(8.0).reshape(2, 4), np.arange(8.0).reshape(2, 4))
    assert few.r == pytest.approx(1)
    assert few.verdict == ("unknown", "8 heads; a verdict needs at least 16")
    flat = rank_correlation(np.ones((4, 8)), np.random.default_rng(0).random((4, 8)))
    assert flat.verdict.state == "unknown"
    assert "the same for all heads" in flat.verdict.reason


def test_heads_without_a_score_are_left_out():
    x = np.random.default_rng(0).random((4, 6))
    y = x + 0.01
    x[0], x[1, 2] = np.nan, np.nan
    found = rank_correlation(x, y)
    assert (found.n, found.verdict.state) == (17, "found")


def test_a_difference_between_layers_is_no_agreement():
    rng = np.random.default_rng(1)
    by_layer = 10 * np.arange(4)[:, None]
    found = rank_correlation(by_layer + rng.random((4, 6)), by_layer + rng.random((4, 6)))
    assert found.r > 0.8
    assert found.verdict.state == "none"


def test_shared_weights_are_no_agreement():
    """Within groups all heads are alike: with four groups a layer, 16 of 64 values are independent."""
    rng, found = np.random.default_rng(2), []
    for _ in range(100):
        x, y = (np.repeat(rng.random((2, 4)), 4, axis=1) + 1e-3 * rng.random((2, 16)) for _ in range(2))
        found.append([rank_correlation(x, y, group).verdict.found for group in (1, 4)])
    alone, grouped = np.mean(found, axis=0)
    assert alone > 0.2
    assert grouped <= 0.12
