"""What heads match, from two moments of the embeddings, against the matrix of all pairs of tokens."""

import pytest
import torch

from lens.analysis.previous_from_weights import mean_inputs, positional_pattern, previous_from_weights
from lens.analysis.qk_circuit import full_qk, qk_circuits, top_pairs
from lens.positions import find_rotation, rotate
from tests.analysis import dense
from tests.analysis.shaken import GROUPED, make_model

MODELS = {
    "learned": {},
    "grouped": GROUPED,
    "partial": {"positions": "rotary", "rotary_dim": 4, "rotary_adjacent": True, "rotary_gain": 1.3},
    "local": {**GROUPED, "windows": (4, None, 4), "local_rotary_base": 100.0},
    "no_norm": {"norm": None, "d_mlp": 0, "positions": "shortformer"},
    "alibi": {"positions": "alibi", "embed_norm": True, "scale_by_layer": True},
}


@pytest.fixture(params=list(MODELS))
def model(request):
    return make_model(**MODELS[request.param])


def rotation_of(model, layer, distance):
    if model.cfg.positions != "rotary" or not distance:
        return None
    local = model.blocks[layer].attn.local_rotary
    far, near = (find_rotation(model.cfg, torch.tensor([[p]]), torch.float32, local) for p in (distance, 0))
    return lambda q, k: (rotate(q[None, :, None], far)[0, :, 0], rotate(k[None, :, None], near)[0, :, 0])


@torch.no_grad()
@pytest.mark.parametrize("distance", [0, 3])
@pytest.mark.parametrize("embedding", ["tokens", "first_mlp"])
def test_against_all_pairs_of_tokens(model, distance, embedding):
    if embedding == "first_mlp" and model.cfg.attn_only:
        with pytest.raises(ValueError, match="no first MLP"):
            qk_circuits(model, embedding)
        return
    found = qk_circuits(model, embedding, distance)
    for layer, head in ((0, 0), (1, 3), (2, 1)):
        want = dense.full_qk(model, layer, head, embedding, rotation_of(model, layer, distance))
        torch.testing.assert_close(full_qk(model, (layer, head), embedding, distance).AB, want, atol=1e-4, rtol=1e-3)
        # The mean over queries comes out as well: it is the same for all tokens and favours none.
        spread = want.square().mean().sqrt()
        same = (want.diagonal().mean() - want.mean()) / spread
        assert float(found.same_token[layer, head]) == pytest.approx(float(same), abs=1e-3)
        centred = want - want.mean(0)
        size = dense.sorted_sizes(torch.linalg.eigvals(centred.double()))[:8]
        torch.testing.assert_close(found.eigenvalues[layer, head].abs().double(), size, rtol=1e-3, atol=1e-2)
        trace = float(centred.diagonal().sum() / size.sum())
        assert float(found.score[layer, head]) == pytest.approx(trace, abs=2e-3)


@torch.no_grad()
def test_the_highest_pairs(model):
    want = dense.full_qk(model, 1, 2, "tokens", rotation_of(model, 1, 2))
    found = top_pairs(model, (1, 2), k=9, distance=2)
    torch.testing.assert_close(found.value, want.flatten().topk(9).values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(want[found.row, found.column], found.value, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_positional_pattern_is_that_of_the_mean_scores(model):
    """Scores of every pair of tokens at every pair of positions, averaged, then the softmax."""
    n_pos, d_vocab, layer = 7, model.cfg.d_vocab, 1
    attn, group = model.blocks[layer].attn, model.cfg.group_size
    places = model.places(torch.zeros(1, n_pos, 1))
    embed = model.embed(torch.arange(d_vocab)[None])[0]
    rows = embed[:, None].expand(-1, n_pos, -1)
    if model.cfg.positions == "learned":
        rows = rows + model.W_pos[:n_pos]
    x = model.blocks[layer].ln1(rows)
    if model.cfg.positions == "shortformer":
        x = x + model.W_pos[:n_pos]
    q = torch.einsum("tpm,hmd->tphd", x, attn.W_Q) + attn.b_Q
    k = torch.einsum("tpm,hmd->tphd", x, attn.W_K) + attn.b_K
    if model.cfg.positions == "rotary":
        rotation = places.local_rotation if attn.local_rotary else places.rotation
        q, k = rotate(q, rotation), rotate(k, rotation)
    scores = torch.einsum("tqhd,skhd->hqk", q, k.repeat_interleave(group, 2)) / d_vocab**2 / attn.scale
    if places.bias is not None:
        scores = scores + places.bias[0]
    want = scores.masked_fill(~places.allowed[attn.window][0], -torch.inf).softmax(-1)
    found = positional_pattern(model, layer, mean_inputs(model, n_pos, d_vocab))
    torch.testing.assert_close(found, want, atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_a_head_made_to_look_one_back():
    """Position p asks for position p − 1 and tokens say nothing: the score is 1 and its null 0."""
    model = make_model(d_mlp=0, norm=None, n_layers=1, d_model=64, d_head=64, n_ctx=40)
    attn = model.blocks[0].attn
    for parameter in attn.parameters():
        parameter.zero_()
    model.pos_embed.W_pos.copy_(20 * torch.eye(64)[:40])
    attn.W_Q[1] = torch.eye(64).roll(-1, 1)
    attn.W_K[1] = torch.eye(64)
    found = previous_from_weights(model)
    assert found.n_pos == 40
    assert found.score[0, 1] == pytest.approx(1, abs=1e-2)
    assert found.null[0, 1] == pytest.approx(0, abs=1e-2)
    uniform = sum(1 / (q + 1) for q in range(6, 40)) / 34
    assert found.score[0, 0] == pytest.approx(uniform, abs=1e-4)


@torch.no_grad()
def test_a_head_that_matches_equal_tokens_prefers_them():
    model = make_model(d_mlp=0, norm=None, n_layers=1, d_model=64, d_head=64, d_vocab=64)
    model.embed.W_E.copy_(torch.eye(64))
    attn = model.blocks[0].attn
    attn.W_Q[0] = attn.W_K[0] = torch.eye(64)
    attn.W_Q[1], attn.W_K[1] = torch.eye(64), -torch.eye(64)
    attn.b_Q.zero_()
    found = qk_circuits(model)
    assert (found.same_z.sign() == found.same_token.sign()).all()
    assert (found.same_z.abs() <= model.cfg.d_head + 1e-3).all()  # as far as a core can be from its rotations
    # One entry of 64 in each row is 1: its distance from the mean in standard deviations is √63.
    assert float(found.same_token[0, 0]) == pytest.approx(63**0.5, rel=1e-3)
    assert float(found.same_token[0, 1]) == pytest.approx(-(63**0.5), rel=1e-3)
    assert float(found.score[0, 0]) == pytest.approx(1, abs=1e-3)


def test_models_without_a_bilinear_score_are_refused():
    odd = make_model(**{**GROUPED, "qk_norm": "head"})
    for what in (qk_circuits, lambda model: full_qk(model, (0, 0)), previous_from_weights):
        with pytest.raises(ValueError, match="not computed because this model normalises queries and keys"):
            what(odd)


def test_a_context_too_short_for_a_previous_token():
    with pytest.raises(ValueError, match="at least 4"):
        previous_from_weights(make_model(n_ctx=2))
