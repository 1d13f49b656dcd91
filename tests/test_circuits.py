"""QK, OV and composition from the weights, against dense products head by head."""

import pytest
import torch

from lens import FactoredMatrix
from lens.composition import composition_scores


def dense_heads(model, layer, head):
    """W_QK and W_OV of one head from the block's own weights: ``[d_model, d_model]`` each."""
    attn, group = model.blocks[layer].attn, model.cfg.group_size
    return attn.W_Q[head] @ attn.W_K[head // group].T, attn.W_V[head // group] @ attn.W_O[head]


@torch.no_grad()
def test_circuits_of_every_head(tiny):
    cfg = tiny.cfg
    assert tiny.QK.shape == tiny.OV.shape == (cfg.n_layers, cfg.n_heads, cfg.d_model, cfg.d_model)
    assert tiny.QK.mdim == cfg.d_head
    for layer, head in ((0, 0), (1, 3), (2, 2)):
        qk, ov = dense_heads(tiny, layer, head)
        torch.testing.assert_close(tiny.QK[layer, head].AB, qk)
        torch.testing.assert_close(tiny.OV[layer, head].AB, ov)


@torch.no_grad()
@pytest.mark.parametrize("mode", ["Q", "K", "V"])
def test_composition_of_all_pairs_against_the_dense_definition(tiny, mode):
    cfg = tiny.cfg
    got = tiny.all_composition_scores(mode)
    want = torch.zeros_like(got)
    for l1 in range(cfg.n_layers):
        for l2 in range(l1 + 1, cfg.n_layers):
            for h1 in range(cfg.n_heads):
                for h2 in range(cfg.n_heads):
                    ov = dense_heads(tiny, l1, h1)[1]
                    qk, receiver_ov = dense_heads(tiny, l2, h2)
                    reads = {"Q": qk, "K": qk.T, "V": receiver_ov}[mode]
                    want[l1, h1, l2, h2] = (ov @ reads).norm() / (ov.norm() * reads.norm())
    torch.testing.assert_close(got, want, atol=1e-6, rtol=1e-4)
    assert want[0, 0, 1].min() > 0.05


def test_an_unknown_mode_is_refused(tiny):
    with pytest.raises(ValueError, match="mode='O'"):
        tiny.all_composition_scores("O")


def test_scores_of_hand_made_matrices():
    e = torch.eye(4)

    def outer(i, j):
        return FactoredMatrix(e[:, i, None], e[None, j])

    assert composition_scores(outer(0, 1), outer(1, 2)) == 1
    assert composition_scores(outer(0, 1), outer(2, 3)) == 0
    half = FactoredMatrix(e[:, 0, None], (e[None, 1] + e[None, 2]) / 2)
    torch.testing.assert_close(composition_scores(half, outer(1, 3)), torch.tensor(0.5**0.5))
    assert composition_scores(half * 0, outer(1, 3)) == 0


def test_a_tiny_score_keeps_its_digits():
    """⟨PᵀP, SSᵀ⟩ alone would lose a score of 1e-4 in the rounding of float32."""
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(64, 64)).Q
    writes = FactoredMatrix(torch.randn(64, 1), directions[:, :1].T)
    reads = FactoredMatrix(directions[:, 1:2] + 1e-4 * directions[:, :1], torch.randn(1, 64))
    want = (writes.AB.double() @ reads.AB.double()).norm() / (writes.AB.double().norm() * reads.AB.double().norm())
    torch.testing.assert_close(composition_scores(writes, reads).double(), want, rtol=0.01, atol=0)


def test_every_left_meets_every_right():
    left = FactoredMatrix(torch.randn(2, 3, 70, 4), torch.randn(2, 3, 4, 70))
    right = FactoredMatrix(torch.randn(5, 70, 4), torch.randn(5, 4, 70))
    scores = composition_scores(left, right)
    assert scores.shape == (2, 3, 5)
    for index in ((0, 0, 0), (1, 2, 4)):
        a, b = left.AB[index[:2]], right.AB[index[2]]
        torch.testing.assert_close(scores[index], (a @ b).norm() / (a.norm() * b.norm()))
    with pytest.raises(ValueError, match="writes 70"):
        composition_scores(left, FactoredMatrix(torch.randn(3, 2), torch.randn(2, 3)))


@torch.no_grad()
def test_accumulated_bias_is_what_the_biases_alone_would_write(tiny_gpt2):
    blocks = tiny_gpt2.blocks
    zero = torch.zeros(tiny_gpt2.cfg.d_model)
    assert torch.equal(tiny_gpt2.accumulated_bias(0), zero)
    want = blocks[0].attn.b_O + blocks[0].mlp.b_out
    torch.testing.assert_close(tiny_gpt2.accumulated_bias(1), want)
    torch.testing.assert_close(tiny_gpt2.accumulated_bias(1, mlp_input=True), want + blocks[1].attn.b_O)
    torch.testing.assert_close(
        tiny_gpt2.accumulated_bias(2, include_mlp_biases=False), blocks[0].attn.b_O + blocks[1].attn.b_O
    )


def test_attention_only_models_have_attention_biases_only():
    from lens import Config, HookedTransformer

    model = HookedTransformer(Config(n_layers=2, n_heads=2, d_model=8, d_head=4, d_vocab=11, n_ctx=8))
    with torch.no_grad():
        for block in model.blocks:
            block.attn.b_O += 1
    assert torch.equal(model.accumulated_bias(2), torch.full((8,), 2.0))
