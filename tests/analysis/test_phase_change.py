"""The rules of birth and phase change, on curves made by hand."""

import math

import pytest
import torch

from lens.analysis.phase_change import birth, phase_window, rises

LABELS = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256]
SEQS, HEADS = 16, 4


def control(noise=0.002, labels=LABELS, seed=0):
    """Scores near chance, moving a little from checkpoint to checkpoint. [checkpoint, sequence, layer, head]"""
    generator = torch.Generator().manual_seed(seed)
    return 0.01 + noise * torch.randn(len(labels), SEQS, 2, HEADS, generator=generator)


def score(curve, head=(1, 2)):
    """One head with this curve, the others at zero. [checkpoint, layer, head]"""
    out = torch.zeros(len(curve), 2, HEADS)
    out[:, head[0], head[1]] = torch.tensor(curve)
    return out


STEP = [0.0, 0.0, 0.001, 0.0, 0.002, 0.03, 0.35, 0.52, 0.6, 0.59]


class TestWindow:
    def test_a_step_is_found_where_it_is(self):
        found = phase_window(LABELS, score(STEP), control(), 0.02)
        assert (found.first, found.last) == (5, 8)  # .03 is below .059 still, .6 the first above .53
        assert found.slope == pytest.approx(0.32, abs=1e-6)
        assert found.slope > found.null_slope
        assert "steepest rise 0.32 per doubling" in found.reason

    def test_a_step_between_two_checkpoints_is_as_narrow_as_they_are(self):
        found = phase_window(LABELS, score([0.0] * 4 + [0.5] * 6), control(), 0.02)
        assert (found.first, found.last) == (3, 4)

    def test_it_is_the_best_head_at_each_checkpoint_that_counts(self):
        curves = score(STEP) + score([0.0] * 6 + [0.1, 0.2, 0.2, 0.2], head=(0, 0))
        assert phase_window(LABELS, curves, control(), 0.02)[:2] == (5, 8)

    def test_flat_is_none(self):
        found = phase_window(LABELS, score([0.005] * 10), control(), 0.02)
        assert found.first is found.last is None
        assert "the final score is within chance" in found.reason

    def test_high_from_the_start_is_none(self):
        found = phase_window(LABELS, score([0.6] * 10), control(), 0.02)
        assert found.first is None
        assert "rises no faster than its control" in found.reason

    @pytest.mark.parametrize("seed", range(5))
    def test_noise_is_none(self, seed):
        generator = torch.Generator().manual_seed(100 + seed)
        noisy = 0.004 * torch.randn(10, 2, HEADS, generator=generator)
        assert phase_window(LABELS, noisy, control(seed=seed), 0.02).first is None

    def test_a_peak_that_is_gone_at_the_end_is_none(self):
        found = phase_window(LABELS, score([0, 0, 0, 0, 0.5, 0.5, 0.3, 0.1, 0.01, 0.0]), control(), 0.02)
        assert found.first is None
        assert "final score" in found.reason

    def test_a_rise_slower_than_the_control_moves_is_none(self):
        slow = [0.03 * i for i in range(10)]
        assert phase_window(LABELS, score(slow), control(0.001), 0.02).first is not None
        found = phase_window(LABELS, score(slow), control(0.05), 0.02)
        assert found.first is None
        assert "rises no faster than its control" in found.reason

    @pytest.mark.parametrize("labels", [[0], [512], [0, 512], [512, 600]])
    def test_without_a_slope_none(self, labels):
        found = phase_window(labels, score([0.6] * len(labels)), control(labels=labels), 0.02)
        assert found.first is None
        assert "no slope" in found.reason
        assert math.isnan(found.slope)

    def test_tokens_and_steps_give_the_same_window(self):
        in_tokens = phase_window([2048 * label for label in LABELS], score(STEP), control(), 0.02)
        in_steps = phase_window(LABELS, score(STEP), control(), 0.02)
        assert in_tokens == in_steps

    def test_rises_span_at_least_half_a_doubling(self):
        start, stop, spans = rises([0, 10, 11, 12, 13, 15, 20, 40])
        assert list(zip(start, stop)) == [(1, 5), (2, 6), (3, 6), (4, 6), (5, 7), (6, 7)]
        assert spans[-1] == 1.0
        assert spans.min() >= 0.5

    def test_dense_checkpoints_do_not_make_noise_steep(self):
        dense = [1000 + 10 * i for i in range(100)]
        noise = control(labels=dense)
        found = phase_window(dense, score([0.0] * 40 + [0.012 * i for i in range(60)]), noise, 0.02)
        assert found.null_slope < 0.03
        assert found.first is not None
        assert 0 < found.first - 40 <= 6
        assert found.last > 90


class TestBirth:
    null = torch.full((6,), 0.02)

    def test_the_interval(self):
        found = birth(torch.tensor([0.0, 0.01, 0.05, 0.3, 0.5, 0.6]), 0.1, self.null, 16)
        assert (found.last_below, found.first_above, found.below_again, found.reason) == (2, 3, None, "")

    def test_falling_back_is_told(self):
        found = birth(torch.tensor([0.0, 0.2, 0.05, 0.3, 0.01, 0.6]), 0.1, self.null, 16)
        assert (found.last_below, found.first_above, found.below_again) == (0, 1, 2)

    def test_never(self):
        found = birth(torch.tensor([0.0, 0.01, 0.1, 0.0, 0.0, 0.0]), 0.1, self.null, 16)
        assert (found.last_below, found.first_above) == (None, None)
        assert "stays below 0.1 at all 6 checkpoints; its largest is 0.1" in found.reason

    def test_from_the_first_checkpoint_on(self):
        found = birth(torch.full((6,), 0.5), 0.1, self.null, 16)
        assert (found.last_below, found.first_above) == (None, 0)
        assert "at the first checkpoint already" in found.reason

    def test_a_threshold_within_chance_dates_nothing(self):
        null = torch.tensor([0.02, 0.02, 0.15, 0.02, 0.02, 0.02])
        found = birth(torch.linspace(0, 1, 6), 0.1, null, 16)
        assert found.first_above is None
        assert "within chance: the null reaches 0.15" in found.reason
        assert found.state == "unknown"

    def test_few_sequences_date_nothing(self):
        for curve in (torch.linspace(0, 1, 6), torch.zeros(6)):
            found = birth(curve, 0.1, self.null, 8)
            assert (found.last_below, found.first_above, found.state) == (None, None, "unknown")
            assert "8 sequences; a verdict needs at least 16" in found.reason
        assert birth(torch.zeros(6), 0.1, self.null, 16).state == "none"
        assert birth(torch.linspace(0, 1, 6), 0.1, self.null, 16).state == "found"


def test_few_sequences_show_no_phase_change_and_none_that_is_missing():
    found = phase_window(LABELS, score(STEP), control()[:, :8], 0.02)
    assert (found.first, found.state) == (None, "unknown")
    assert "8 sequences; a verdict needs at least 16" in found.reason
    assert phase_window(LABELS, score(STEP), control(), 0.02).state == "found"
    assert phase_window(LABELS, score([0.005] * 10), control(), 0.02).state == "none"
