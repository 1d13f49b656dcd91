import numpy as np
import pytest
import torch

from lens.analysis import stats


def test_interval_equals_a_naive_numpy_bootstrap_with_the_same_weights():
    samples = torch.randn(20, 3, 2)
    low, high = stats.bootstrap_interval(samples, draws=300, seed=5)
    weights = stats.bootstrap_weights(20, 300, 5).numpy()
    for i in range(3):
        for j in range(2):
            means = [sum(w * x for w, x in zip(row, samples[:, i, j].double().numpy())) for row in weights]
            np.testing.assert_allclose([low[i, j], high[i, j]], np.percentile(means, [2.5, 97.5]), atol=1e-6)


def test_weights_are_multinomial_counts():
    weights = stats.bootstrap_weights(17, 500, seed=1)
    assert torch.allclose(weights.sum(1), torch.ones(500, dtype=torch.float64))
    assert torch.allclose((weights * 17).round(), weights * 17)
    assert abs(weights.mean(0) - 1 / 17).max() < 0.01
    assert torch.equal(weights, stats.bootstrap_weights(17, 500, seed=1))
    assert not torch.equal(weights, stats.bootstrap_weights(17, 500, seed=2))


def test_chunks_change_nothing(monkeypatch):
    samples = torch.randn(16, 50)
    whole = stats.bootstrap_interval(samples)
    monkeypatch.setattr(stats, "BYTES", 8 * stats.DRAWS * 7)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(whole, stats.bootstrap_interval(samples)))


def test_estimate_brackets_the_mean_and_covers_the_truth():
    torch.manual_seed(0)
    found = stats.estimate(torch.randn(40, 400) + 3)
    assert ((found.low <= found.mean) & (found.mean <= found.high)).all()
    assert 0.88 < ((found.low <= 3) & (found.high >= 3)).float().mean() < 0.98


def test_no_interval_below_sixteen():
    few, enough = stats.estimate(torch.randn(15, 2), "texts"), stats.estimate(torch.randn(16, 2), "texts")
    assert few.low is None
    assert few.high is None
    assert "15 texts, at least 16" in few.note
    assert enough.low.shape == enough.high.shape == (2,)


def test_constant_samples_have_no_width():
    found = stats.estimate(torch.full((16, 2), 0.25))
    assert torch.allclose(found.low, found.high)


def test_samples_that_cannot_be_averaged_are_refused():
    with pytest.raises(ValueError, match="no samples"):
        stats.estimate(torch.empty(0, 3))
    with pytest.raises(ValueError, match="1 values over texts are not finite"):
        stats.estimate(torch.tensor([[1.0], [torch.nan]]), "texts")


def test_threshold_is_the_95th_percentile_of_the_maxima():
    control = torch.zeros(101, 4, 5)
    control[torch.arange(101), torch.arange(101) % 4, torch.arange(101) % 5] = torch.arange(101.0) / 100
    assert stats.family_wise_threshold(control) == pytest.approx(0.95)
    assert stats.family_wise_threshold(control[:, :1]) < 0.95
    with pytest.raises(ValueError, match="wanted"):
        stats.family_wise_threshold(torch.zeros(3))
