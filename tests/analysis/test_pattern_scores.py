import math

import pytest
import torch

from lens.analysis.head_scores import scores_from_pattern, uniform_scores
from lens.analysis.pattern_scores import row_entropy
from lens.analysis.previous_token import previous_token
from lens.analysis.streaming import uniform_pattern
from lens.analysis.verdicts import exceeds

N = 6


def looking(n_pos: int, back: int) -> torch.Tensor:
    """A head that looks exactly ``back`` tokens ago, and at position 0 where there is no such token."""
    pattern = torch.zeros(n_pos, n_pos)
    for q in range(n_pos):
        pattern[q, max(q - back, 0)] = 1
    return pattern


@pytest.mark.parametrize("bos", [0, 1])
@pytest.mark.parametrize(("name", "back"), [("induction", N - 1), ("duplicate", N), ("previous", 1)])
def test_a_stripe_scores_one_and_its_neighbours_zero(name, back, bos):
    n_pos = bos + 2 * N
    for shift in (-1, 0, 1):
        found = getattr(scores_from_pattern(looking(n_pos, back + shift), N, bos), name)
        assert found == (shift == 0)


@pytest.mark.parametrize("bos", [0, 1])
def test_the_whole_second_copy_is_read_and_nothing_else(bos):
    n_pos = bos + 2 * N
    queries = range(bos + N, bos + 2 * N)
    for name, back, used in (("induction", N - 1, queries), ("duplicate", N, [q for q in queries if q > N or bos])):
        for q in range(n_pos):
            for k in range(q + 1):
                one = torch.zeros(n_pos, n_pos)
                one[q, k] = 1
                want = 1 / len(used) if q in used and k == q - back else 0
                assert getattr(scores_from_pattern(one, N, bos), name) == pytest.approx(want)


@pytest.mark.parametrize("bos", [0, 1])
def test_scores_equal_loops_over_positions(bos):
    n_pos = bos + 2 * N
    pattern = torch.rand(n_pos, n_pos).tril()
    pattern /= pattern.sum(-1, keepdim=True)
    queries = range(bos + N, bos + 2 * N)
    entropy = [-sum(float(p) * math.log(p) for p in pattern[q, : q + 1] if p > 0) for q in range(n_pos)]
    null = [sum(pattern[q, q - j] for q in range(6, n_pos)) / (n_pos - 6) for j in (2, 3, 4, 5)]
    want = {
        "induction": sum(pattern[q, q - N + 1] for q in queries) / N,
        "previous": sum(pattern[q, q - 1] for q in range(6, n_pos)) / (n_pos - 6),
        "previous_null": max(null),
        "first": sum(pattern[q, 0] for q in range(1, n_pos)) / (n_pos - 1),
        "entropy": sum(entropy[1:]) / (n_pos - 1),
        "entropy_normalised": sum(entropy[q] / math.log(q + 1) for q in range(1, n_pos)) / (n_pos - 1),
    }
    found = scores_from_pattern(pattern, N, bos)
    for name, value in want.items():
        assert getattr(found, name) == pytest.approx(float(value), abs=1e-6), name


def test_first_token_head_and_extreme_entropies():
    found = scores_from_pattern(looking(1 + 2 * N, 99), N)
    assert found.first == 1
    assert found.entropy == 0
    assert found.previous == found.previous_null == found.induction == found.duplicate == 0
    even = uniform_scores(N)
    assert even.entropy_normalised == pytest.approx(1)
    assert even.induction == pytest.approx(sum(1 / (q + 1) for q in range(N + 1, 2 * N + 1)) / N)
    assert row_entropy(torch.full((1, 8), 1 / 8)) == pytest.approx(math.log(8))


def test_leading_axes_are_kept_and_a_wrong_size_is_refused():
    assert scores_from_pattern(torch.rand(3, 4, 13, 13), N).induction.shape == (3, 4)
    with pytest.raises(ValueError, match="13, 13"):
        scores_from_pattern(torch.rand(12, 12), N, bos=1)
    assert scores_from_pattern(torch.eye(4), 2, bos=0).previous_null == 0
    with pytest.raises(ValueError, match="at least 4"):
        previous_token(torch.eye(3))


@pytest.mark.parametrize("n_pos", [4, 5, 6, 7, 8, 51])
def test_a_head_that_looks_everywhere_alike_scores_no_more_than_its_null(n_pos):
    found = previous_token(uniform_pattern(n_pos))
    queries = range(min(6, n_pos - 1), n_pos)
    assert found.score == pytest.approx(sum(1 / (q + 1) for q in queries) / len(queries))
    assert not exceeds(found.score, float(found.null))


@pytest.mark.parametrize("back", [2, 3, 4, 5])
def test_every_distance_is_a_null_of_its_own(back):
    found = previous_token(looking(13, back))
    assert (found.score, found.null) == (0, 1)
