"""What sentences name in a pattern, from hand-made patterns."""

import numpy as np
import pytest
import torch

from lens.analysis.habits import (
    compare_heads,
    content_rank,
    heads_by_habit,
    hidden_share,
    most_looked,
    on_cells,
    strongest_keys,
    strongest_pair,
)
from lens.analysis.streaming import uniform_pattern
from lens.analysis.text_attention import Habits, head_habits

PATTERN = torch.tensor([[1, 0, 0, 0], [0.9, 0.1, 0, 0], [0.1, 0.7, 0.2, 0], [0, 0.2, 0.2, 0.6]])


def test_every_query_looks_most_at_one_kind_of_key():
    assert most_looked(PATTERN) == (1, 1, 1, 0, 3)
    far = torch.eye(4).roll(2, 0).tril()  # queries 2 and 3 look two tokens back; query 1 at nothing
    assert most_looked(far) == (1, 0, 0, 1, 3)


def test_the_strongest_pair_lies_away_from_the_first_token():
    assert strongest_pair(PATTERN) == (2, 1, pytest.approx(0.7))
    assert strongest_pair(torch.tensor([[1.0, 0], [0, 1]]), hidden=True) is None
    assert strongest_pair(torch.tensor([[1.0, 0], [1, 0]])) is None
    before = PATTERN.clone()
    strongest_pair(PATTERN, hidden=True)
    assert torch.equal(PATTERN, before)


def test_the_strongest_keys_are_in_order_and_none_is_zero():
    assert [look.key for look in strongest_keys(PATTERN, 2)] == [1, 2, 0]
    assert [look.key for look in strongest_keys(PATTERN, 0)] == [0]


def test_a_head_agrees_with_itself_on_every_query():
    same = compare_heads(torch.stack([PATTERN, PATTERN]))
    assert (same.agree, same.n) == (3, 3)
    assert same.leads.tolist() == [same.strong, 0]
    other = compare_heads(np.stack([PATTERN, PATTERN.flip(0).tril()]))
    assert other.leads.sum() == other.strong
    assert compare_heads(torch.zeros(2, 4, 4)).strong == 0


def test_a_hidden_token_had_its_mean_share_and_leaves_crumbs():
    assert hidden_share(torch.tensor([1.0, 0.5, 0.995, 0.1])) == (pytest.approx(1.595 / 3), 3, 1)


def test_heads_are_counted_by_their_habit():
    columns = torch.tensor([[[0.9, 0.4]], [[0.05, 0.6]], [[0.0, float("nan")]], [[1.0, 2.0]]])
    assert heads_by_habit(Habits(*columns)) == (1, 1, 0, 2)
    even = head_habits(uniform_pattern(12)[None, None])
    assert heads_by_habit(even)[:3] == (0, 0, 0)


def test_the_head_that_depends_most_on_content_has_rank_one():
    scores = torch.tensor([[0.1, 0.5], [0.3, 0.2]])
    assert content_rank(scores, (0, 1)) == (0.5, 1, 4, (0, 1), 0.5, pytest.approx(0.3), pytest.approx(0.25))
    assert [content_rank(scores, divmod(i, 2)).rank for i in range(4)] == [4, 1, 2, 3]
    assert content_rank(torch.tensor([[0.7]]), (0, 0)).second is None


def test_what_lies_on_cells_is_a_mean_over_their_queries_and_even_attention_has_what_even_says():
    cells = [(1, 0), (3, 2), (3, 3)]
    found = on_cells(PATTERN.numpy(), cells)
    assert found.share == pytest.approx((0.9 + 0.8) / 2)
    assert found.even == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert found.n == 2
    assert on_cells(uniform_pattern(4).numpy(), cells).share == pytest.approx(found.even)
