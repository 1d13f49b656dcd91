import pytest

from lens.analysis.counts import counted, share_of


def test_one_is_no_plural():
    assert [counted(n, "pair") for n in (0, 1, 2, 1200)] == ["0 pairs", "1 pair", "2 pairs", "1,200 pairs"]
    assert [counted(n, "query", "queries") for n in (1, 2)] == ["1 query", "2 queries"]


def test_a_share_of_one_is_no_percentage():
    assert [share_of(n, 1, "prompt") for n in (0, 1)] == ["not the one prompt", "the one prompt"]
    assert [share_of(n, 3, "pair") for n in range(4)] == [
        "none of 3 pairs",
        "1 of 3 pairs",
        "2 of 3 pairs",
        "all 3 pairs",
    ]


def test_more_than_all_is_refused():
    with pytest.raises(ValueError, match="4 of 3 prompts"):
        share_of(4, 3, "prompt")
