import pytest
import torch

from lens.analysis.instruments.layout import even_pattern, repeats_layout, text_layout
from lens.analysis.instruments.patterns import PatternReader
from lens.analysis.instruments.two_back import TWO_BACK
from lens.analysis.verdicts import exceeds


def read(pattern, layout) -> tuple[float, float]:
    """Score and null of one pattern."""
    score, null = PatternReader([TWO_BACK], layout)(pattern[None, None])[:, 0, 0, 0].tolist()
    return score, null


@pytest.mark.parametrize(
    ("back", "want"), [(1, (0, 1)), (2, (1, 0)), (3, (0, 1)), (4, (0, 1)), (5, (0, 1)), (6, (0, 0))]
)
def test_it_reads_two_back_and_every_other_distance_is_a_null(back, want):
    pattern = torch.zeros(13, 13)
    for q in range(13):
        pattern[q, max(q - back, 0)] = 1
    assert read(pattern, repeats_layout(6, 1)) == (back == 2, back in (1, 3, 4, 5))


def test_it_averages_the_queries_from_six_on():
    assert TWO_BACK.reads(repeats_layout(4, 0)) == [(6, 4), (7, 5)]
    assert TWO_BACK.reads(text_layout(torch.arange(4)[None], torch.ones(1, 4, dtype=torch.bool))) == [(3, 1)]
    assert TWO_BACK.reads(text_layout(torch.arange(3)[None], torch.ones(1, 3, dtype=torch.bool))) == []


@pytest.mark.parametrize("n", [2, 3, 4, 25])
def test_a_head_that_looks_everywhere_alike_scores_no_more_than_its_null(n):
    layout = repeats_layout(n, 0)
    score, null = read(even_pattern(layout)[0, 0], layout)
    assert score > 0
    assert not exceeds(torch.tensor(score), null)
