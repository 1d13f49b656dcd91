"""What a head score comes to, on numbers written by hand."""

import numpy as np
import pytest
import torch

from lens.analysis import score_results
from lens.analysis.names import Head
from lens.analysis.score_results import HeadScore, Kind, Samples, head_score, weights_score
from lens.analysis.score_summary import differences, ranks, shared, standing, strongest, summary

NAN = float("nan")


def sampled(values: list[list[float]], null: float | None = 0.125, n: int = 16) -> HeadScore:
    """A score that is the same on ``n`` sequences, against a control that is the same for all heads."""
    score = torch.tensor(values).repeat(n, 1, 1)
    control = None if null is None else torch.full_like(score, null)
    kind = Kind("induction", "probability", "", "", tested=null is not None)
    return head_score(kind, Samples(score, control, 0.05, 4 * n), "sequences")


def of_weights(values: list[list[float]], above: list[list[bool]], scale: str = "positive") -> HeadScore:
    kind = Kind("feeder_k", "share", "", "", True, scale)
    tested = score_results.Tested(torch.tensor(above), "a rule")
    return weights_score(kind, torch.tensor(values), torch.zeros(1, 2, 2), tested)


def test_equal_heads_share_the_better_rank_and_a_head_without_a_number_has_none():
    score = of_weights([[NAN, 0.5], [0.9, 0.5]], [[False, False], [True, False]])
    assert ranks(score).tolist() == [[0, 2], [1, 2]]
    assert strongest(score) == Head(1, 0)
    assert standing(score, Head(1, 1))[-3:] == (False, 2, 3)
    assert standing(score, Head(0, 0))[-2:] == (0, 3)
    assert np.isnan(standing(score, Head(0, 0)).value)


def test_a_two_sided_score_is_ranked_by_size_and_a_signed_one_is_not():
    values, above = [[-0.9, 0.5], [0.1, -0.2]], [[True, True], [False, False]]
    both, one = of_weights(values, above, "two-sided"), of_weights(values, above, "signed")
    assert ranks(both).tolist() == [[1, 2], [4, 3]]
    assert ranks(one).tolist() == [[4, 1], [2, 3]]
    assert (strongest(both), strongest(one)) == (Head(0, 0), Head(0, 1))
    assert (summary(both).n_lower, summary(one).n_lower) == (1, 0)


def test_the_ends_and_the_middle_leave_out_what_is_not_there():
    found = summary(of_weights([[NAN, 0.5], [0.9, 0.1]], [[False, True], [True, False]]))
    assert (found.largest, found.smallest, found.total) == (Head(1, 0), Head(1, 1), 3)
    assert found.median == pytest.approx(0.5)
    assert (found.n_above, found.n_whole) == (2, 0)  # weights have neither threshold nor interval
    with pytest.raises(ValueError, match="no head has a number"):
        summary(of_weights([[NAN, NAN], [NAN, NAN]], [[False] * 2] * 2))


def test_heads_above_the_threshold_are_counted_and_their_own_numbers_said():
    score = sampled([[0.9, 0.1], [0.2, 0.05]])
    assert summary(score)[-3:] == (2, 0, 2)
    here = standing(score, Head(0, 0))
    assert (here.above, here.rank, here.total) == (True, 1, 4)
    assert here.difference == pytest.approx(0.775)
    assert summary(sampled([[0.9, 0.1], [0.2, 0.05]], n=4)).n_above == 0


def test_differences_from_the_control_go_to_both_sides():
    found = differences(sampled([[0.9, 0.1], [0.31, -0.4]], null=0.3))
    assert (found.more, found.less, found.total) == (1, 1, 4)
    assert (found.largest, found.farthest) == (Head(0, 0), Head(1, 1))
    assert found.median_size == pytest.approx((0.2 + 0.6) / 2)
    with pytest.raises(ValueError, match="no paired control"):
        differences(sampled([[0.9]], null=None))


def test_heads_above_chance_in_both_scores():
    x, y = sampled([[0.9, 0.8], [0.05, 0.01]]), sampled([[0.9, 0.01], [0.4, 0.3]])
    assert shared(x, y) == (2, 3, 1)
    assert shared(x, sampled([[0.9, 0.01], [0.4, 0.3]], n=2)) is None


def test_numpy_gives_the_same():
    score = sampled([[0.9, 0.1], [0.2, 0.05]])
    arrays = score._replace(
        score=score.score._replace(**{name: getattr(score.score, name).numpy() for name in ("mean", "low", "high")}),
        effect=score.effect._replace(mean=score.effect.mean.numpy()),
        above=score.above.numpy(),
    )
    assert summary(arrays) == summary(score)
    assert differences(arrays) == differences(score)
