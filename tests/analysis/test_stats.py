import numpy as np
import pytest
import scipy.stats
import torch

from lens.analysis import stats


def test_interval_is_the_wider_of_a_naive_studentised_bootstrap_and_students_t():
    samples = torch.cat([torch.randn(20, 3, 2), torch.randn(20, 3, 2).exp()])[::2]
    low, high = stats.bootstrap_interval(samples, draws=300, seed=5)
    weights = stats.bootstrap_weights(20, 300, 5).numpy()
    for i in range(3):
        for j in range(2):
            x = samples[:, i, j].double().numpy()
            ratios = [(w @ x - x.mean()) / np.sqrt(max(w @ (x - w @ x) ** 2, x.var() / 20)) for w in weights]
            ends = np.percentile(ratios, [97.5, 2.5])
            t = scipy.stats.ttest_1samp(x, 0).confidence_interval(0.95)
            np.testing.assert_allclose(low[i, j], min(x.mean() - ends[0] * x.std(), t.low), atol=1e-6)
            np.testing.assert_allclose(high[i, j], max(x.mean() - ends[1] * x.std(), t.high), atol=1e-6)


def test_an_interval_does_not_depend_on_unit_and_zero():
    samples = torch.randn(16, 3, dtype=torch.float64).exp()
    low, high = stats.bootstrap_interval(samples)
    for scale, shift in ((1e-8, 0.0), (1e6, 0.0), (1.0, 1e6)):
        moved = stats.bootstrap_interval(scale * samples + shift)
        torch.testing.assert_close((moved[0] - shift) / scale, low, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close((moved[1] - shift) / scale, high, rtol=1e-6, atol=1e-6)
    turned = stats.bootstrap_interval(-samples)
    torch.testing.assert_close(turned[0], -high, rtol=1e-6, atol=1e-6)


def test_a_share_has_the_exact_interval():
    successes = torch.zeros(20, 4, dtype=torch.bool)
    successes[:7, 1] = successes[:, 2] = successes[0, 3] = True
    found = stats.share(successes, "tokens")
    for column, count in enumerate((0, 7, 20, 1)):
        want = scipy.stats.binomtest(count, 20).proportion_ci(0.95, method="exact")
        assert (found.low[column], found.high[column]) == (pytest.approx(want.low), pytest.approx(want.high))
    assert found.mean.tolist() == pytest.approx([0, 0.35, 1, 0.05])
    assert found.note == "95% exact binomial interval over 20 tokens"
    assert stats.share(successes[:15], "tokens").low is None
    with pytest.raises(ValueError, match="no samples"):
        stats.share(successes[:0])


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
    assert 0.93 < ((found.low <= 3) & (found.high >= 3)).float().mean() < 0.99


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
