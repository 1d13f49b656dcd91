"""Prefix matching from weights: the Gram way against the vocabulary's own square, a planted head, permuted tokens."""

import dataclasses

import pytest
import torch

from lens import Config, HookedTransformer
from lens.analysis.composition import composition
from lens.analysis.head_weights import head_weights, rotated
from lens.analysis.prefix_matching import PrefixMatching, embedding_gram, prefix_matching
from tests.analysis.shaken import GROUPED, make_model

KINDS = {
    "learned": {},
    "grouped": GROUPED,
    "embedding scaled": {**GROUPED, "embed_scale": 3.0, "post_norm": True},
    "embedding normed": {"embed_norm": True, "positions": "alibi"},
}


@pytest.fixture(scope="module", params=KINDS, ids=list(KINDS))
def shaken(request):
    return make_model(**KINDS[request.param])


def square(model, previous, layer, head, offset):
    """S = Σ prev(e) W_E W_QK W_OVᵀ W_Eᵀ, [token, token], written out."""
    embedding = model.embed(torch.arange(model.cfg.d_vocab)).double()
    QK = rotated(model, layer, head_weights(model, layer), offset).QK[head].AB.double()
    found = torch.zeros(model.cfg.d_vocab, model.cfg.d_vocab, dtype=torch.float64)
    for earlier in range(layer):
        for e in range(model.cfg.n_heads):
            OV = head_weights(model, earlier).OV[e].AB.double()
            found += previous[earlier, e] * embedding @ QK @ OV.T @ embedding.T
    return found


@torch.no_grad()
@pytest.mark.parametrize("offset", [0, 7])
def test_against_the_square_over_the_vocabulary(shaken, offset):
    torch.manual_seed(0)
    cfg = shaken.cfg
    previous = torch.rand(cfg.n_layers, cfg.n_heads)
    found = prefix_matching(shaken, previous, offset)
    assert found.score[0].isnan().all()
    for layer in range(1, cfg.n_layers):
        for head in range(cfg.n_heads):
            S = square(shaken, previous, layer, head, offset)
            centred = S - S.mean(0) - S.mean(1, keepdim=True) + S.mean()
            want = (S.trace() - cfg.d_vocab * S.mean()) / centred.norm()
            assert found.score[layer, head].item() == pytest.approx(want.item(), abs=1e-4)
            assert abs(found.score[layer, head]) <= cfg.d_head**0.5


@torch.no_grad()
def test_the_null_is_what_permuted_tokens_give():
    model = make_model()
    torch.manual_seed(0)
    previous = torch.rand(3, 4)
    found, S = prefix_matching(model, previous), square(model, previous, 2, 1, 0)
    centred = S - S.mean(0) - S.mean(1, keepdim=True) + S.mean()
    traces = torch.stack([centred[torch.arange(97), torch.randperm(97)].sum() for _ in range(8000)]) / centred.norm()
    assert traces.std().item() == pytest.approx(found.null_sd, rel=0.05)
    assert abs(traces.mean().item()) < 4 * found.null_sd / 8000**0.5


@torch.no_grad()
def test_z_is_against_rotations_between_the_earlier_heads_and_this_one():
    model = make_model(**GROUPED)
    torch.manual_seed(0)
    previous = torch.rand(3, 4)
    found, gram = prefix_matching(model, previous), embedding_gram(model)
    carried = sum(previous[layer, e] * head_weights(model, layer).OV[e].AB for layer in range(2) for e in range(4))
    QK = head_weights(model, 2).QK[3].AB
    turns = torch.linalg.qr(torch.randn(6000, 32, 32))
    turns = turns.Q * turns.R.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    traces = torch.einsum("ij,njk,ki->n", carried.T @ gram @ QK, turns, torch.eye(32))
    real = torch.trace(carried.T @ gram @ QK)
    assert found.z[2, 3].item() == pytest.approx((real / traces.std()).item(), rel=0.05)


@torch.no_grad()
def test_the_gram_matrix_is_that_of_the_centred_embedding(shaken):
    embedding = shaken.embed(torch.arange(97))
    centred = embedding - embedding.mean(0)
    torch.testing.assert_close(embedding_gram(shaken), centred.T @ centred, atol=1e-3, rtol=1e-4)


def planted(sign=1.0) -> HookedTransformer:
    """Head 0.1 moves a token's one-hot into a second place of the stream; 1.0 asks with the token, answers with that
    place; 1.1 asks with the token and answers with the token itself, which no earlier head writes."""
    n = 6
    cfg = Config(n_layers=2, n_heads=2, d_model=2 * n, d_head=n, d_vocab=n, n_ctx=8, norm=None)
    model = HookedTransformer(cfg).eval()
    token, second = torch.eye(2 * n)[:, :n], torch.eye(2 * n)[:, n:]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.embed.W_E.copy_(token.T)
        first, later = (block.attn for block in model.blocks)
        first.W_V[1], first.W_O[1] = token, second.T
        later.W_Q[0], later.W_K[0] = token, sign * second
        later.W_Q[1], later.W_K[1] = token, token
    return model


def test_a_planted_induction_head_has_the_largest_score_there_is():
    previous = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    score = prefix_matching(planted(), previous).score
    assert score[1, 0].item() == pytest.approx((6 - 1) ** 0.5)  # the centred identity over 6 tokens
    assert score[1, 1].isnan()  # nothing reaches it: no entry of S differs from another
    assert prefix_matching(planted(-1.0), previous).score[1, 0].item() == pytest.approx(-(5**0.5))
    without = prefix_matching(planted(), torch.tensor([[1.0, 0.0], [0.0, 0.0]])).score
    assert without[1].isnan().all()
    assert composition(planted(), "K").scores[0, 1, 1, 0] == pytest.approx(6**-0.5)


def test_refusals():
    model = make_model()
    with pytest.raises(ValueError, match=r"\[3, 5\]; wanted \[3, 4\]"):
        prefix_matching(model, torch.rand(3, 5))
    with pytest.raises(ValueError, match="normalises queries and keys"):
        prefix_matching(make_model(**GROUPED, qk_norm="all"), torch.rand(3, 4))
    with pytest.raises(ValueError, match="one layer"):
        prefix_matching(make_model(n_layers=1), torch.rand(1, 4))


@torch.no_grad()
def test_on_a_real_model_it_finds_the_induction_heads_that_activations_find(smollm2):
    """16.0 and 11.1 look at the token before; of 261 heads, 18.6 and 17.3 match prefixes on repeats."""
    previous = torch.zeros(30, 9)
    previous[16, 0], previous[11, 1] = 0.92, 0.85
    score = prefix_matching(smollm2, previous, 24).score.nan_to_num(-9)
    ranks = (score[..., None, None] < score).sum((-2, -1))
    assert ranks[18, 6] < 10
    assert ranks[17, 3] < 10


def test_the_strongest_head_its_rank_and_the_largest_of_another_number():
    nan = torch.nan
    score = torch.tensor([[nan, nan], [0.5, 2.0], [1.0, -1.0]])
    found = PrefixMatching(score, score * 3, 4.0, 0.1, None, "folded", 7, "")
    assert found.strongest == (1, 1)
    assert [found.rank(head) for head in ((1, 1), (2, 0), (1, 0), (2, 1))] == [1, 2, 3, 4]
    assert (found.beyond((1, 1)), found.beyond((2, 0))) == (True, False)
    assert found.largest_of(torch.tensor([[9.0, 9.0], [0.1, 0.2], [0.0, 0.3]])) == (2, 1)
    assert dataclasses.replace(found, score=torch.full((3, 2), nan)).strongest is None
