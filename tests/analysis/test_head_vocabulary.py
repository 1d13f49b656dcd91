"""One head's full OV circuit token by token, against the matrix formed in full."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from lens.analysis import head_vocabulary
from lens.analysis.head_vocabulary import (
    OwnRanks,
    beyond_chance,
    copied_tokens,
    copying_accuracy,
    full_ov,
    most_top,
    own_ranks_of,
    written_for,
)
from lens.analysis.ov_copying import ov_copying
from tests.analysis import dense
from tests.analysis.shaken import GROUPED, make_model


@pytest.fixture(params=[{}, GROUPED, {"positions": "rotary", "post_norm": True}, {"d_mlp": 0, "norm": None}], ids=str)
def any_model(request):
    return make_model(**request.param)


@pytest.mark.parametrize("embedding", ["tokens", "first_mlp"])
@torch.no_grad()
def test_entries_rows_and_columns(any_model, embedding):
    if embedding == "first_mlp" and any_model.cfg.attn_only:
        with pytest.raises(ValueError, match="no first MLP"):
            full_ov(any_model, (1, 2), embedding)
        return
    want = dense.full_ov(any_model, 1, 2, embedding)
    found = full_ov(any_model, (1, 2), embedding)
    assert found.mdim == any_model.cfg.d_head
    torch.testing.assert_close(found.AB, want, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[5].AB[0], want[5], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found[:, 7].AB[:, 0], want[:, 7], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_tokens_it_copies_and_suppresses(any_model):
    want = dense.full_ov(any_model, 2, 1)
    found = copied_tokens(any_model, (2, 1), k=5)
    own = want.diagonal()
    assert found.ends.high.tolist() == own.topk(5).indices.tolist()
    assert found.ends.low.tolist() == own.topk(5, largest=False).indices.tolist()
    for ids, rank in ((found.ends.high, found.high_rank), (found.ends.low, found.low_rank)):
        assert rank.tolist() == [int((want[t] > want[t, t]).sum()) for t in ids]
    assert found.positive == pytest.approx(float((own > 0).float().mean()))
    eigenvalues = ov_copying(any_model).full.eigenvalues[2, 1]
    assert found.trace == pytest.approx(float(eigenvalues.real.sum()), rel=1e-3, abs=1e-2)


@torch.no_grad()
def test_what_it_writes_for_one_token(any_model):
    row = dense.full_ov(any_model, 1, 3)[17]
    found = written_for(any_model, (1, 3), 17, k=4)
    assert found.ends.high.tolist() == row.topk(4).indices.tolist()
    assert found.own == pytest.approx(float(row[17]), rel=1e-3, abs=1e-4)
    assert found.own_rank == int((row > row[17]).sum())
    with pytest.raises(ValueError, match="ids 0 … 96"):
        written_for(any_model, (1, 3), 97)
    with pytest.raises(ValueError, match=r"no head 1\.4"):
        written_for(any_model, (1, 4), 3)


@torch.no_grad()
def test_ranks_of_drawn_tokens(any_model, monkeypatch):
    found = own_ranks_of(1, any_model, n_tokens=20, seed=4)
    assert len(set(found.ids.tolist())) == 20
    assert 0 not in found.ids  # the beginning of a text
    for head in range(any_model.cfg.n_heads):
        want = dense.full_ov(any_model, 1, head)
        assert found.rank[head].tolist() == [int((want[t] > want[t, t]).sum()) for t in found.ids]
    assert torch.equal(own_ranks_of(1, any_model, n_tokens=20, seed=4, heads=(2,)).rank[0], found.rank[2])
    accuracy = copying_accuracy(found, 9)
    torch.testing.assert_close(accuracy.share, (found.rank < 9).float().mean(1))
    assert (accuracy.n, accuracy.chance) == (20, 9 / 97)
    assert (accuracy.low <= accuracy.share).all()
    assert (accuracy.high >= accuracy.share).all()
    assert len(own_ranks_of(0, any_model, n_tokens=10_000).ids) == 96


def test_the_vocabulary_is_read_in_parts(any_model, monkeypatch):
    whole = copied_tokens(any_model, (0, 0))
    monkeypatch.setattr("lens.analysis.circuit_weights.ROWS", 10)
    steps = []
    parts = copied_tokens(any_model, (0, 0), progress=lambda fraction, stage: steps.append(fraction))
    assert parts.ends.high.tolist() == whole.ends.high.tolist()
    assert steps == sorted(steps)
    assert steps[-1] == pytest.approx(1)
    assert head_vocabulary.UNIT


def test_a_head_that_writes_nothing_puts_no_token_in_the_top(any_model):
    model = deepcopy(any_model)
    with torch.no_grad():
        model.blocks[1].attn.W_O[2] = 0
    ranks = own_ranks_of(1, model, n_tokens=20)
    assert (ranks.rank[2] == 48).all()  # of 97 tokens that tie
    accuracy = copying_accuracy(ranks, 9)
    assert float(accuracy.share[2]) == 0
    assert float(accuracy.p[2]) == 1
    found = copied_tokens(model, (1, 2))
    assert (found.high_rank == 48).all()
    assert written_for(model, (1, 2), 17).own_rank == 48


def test_a_top_k_is_at_most_a_tenth_of_the_vocabulary(any_model):
    ranks = own_ranks_of(1, any_model, n_tokens=20)
    assert most_top(97) == 9
    assert most_top(64) == 6
    assert most_top(5) == 1
    with pytest.raises(ValueError, match="k=10; of a vocabulary of 97 at most a tenth says something: 1 … 9"):
        copying_accuracy(ranks, 10)


def test_shares_have_exact_intervals_and_a_test_against_chance():
    rank = torch.full((2, 64), 500.0)
    rank[0] = 0
    accuracy = copying_accuracy(OwnRanks(torch.arange(64), rank, 1000, 0, "all"), 10)
    assert accuracy.share.tolist() == [1, 0]
    assert float(accuracy.low[0]) == pytest.approx(0.025 ** (1 / 64), abs=1e-6)  # Clopper and Pearson
    assert float(accuracy.high[1]) == pytest.approx(1 - 0.025 ** (1 / 64), abs=1e-6)
    assert float(accuracy.p[0]) < 1e-30
    few = copying_accuracy(OwnRanks(torch.arange(15), rank[:, :15], 1000, 0, "all"), 10)
    assert few.low is None


def test_ranks_that_are_all_ties_and_their_median():
    ids = torch.arange(3)
    ranks = OwnRanks(ids, torch.tensor([[4.0, 4.0, 4.0]]), 9, 0, "")
    assert ranks.tied
    assert ranks.median.tolist() == [4]
    other = ranks._replace(rank=torch.tensor([[4.0, 4.0, 4.0], [0.0, 7.0, 1.0]]))
    assert not other.tied
    assert other.median.tolist() == [4, 1]


def test_the_best_of_the_heads_that_are_computed_needs_its_share_of_the_level():
    p = np.array([0.01, 0.03, np.nan, 0.012])
    assert beyond_chance(p).tolist() == [True, False, False, True]
