"""Processing changes no probability, in any structure; what it cannot do exactly it refuses."""

import copy

import pytest
import torch

from lens import Config, HookedTransformer
from lens.folded import own_state
from lens.process import (
    center_unembed,
    center_writing_weights,
    fold_layer_norm,
    fold_value_biases,
    refactor_factored_attn_matrices,
    why_inexact,
)
from tests.helpers import hf_gpt2, in_lens

STEPS = (
    fold_layer_norm,
    center_writing_weights,
    center_unembed,
    fold_value_biases,
    refactor_factored_attn_matrices,
)


def logprobs(model, tokens):
    with torch.no_grad():
        return model(tokens).log_softmax(-1)


@pytest.fixture
def double(model):
    return copy.deepcopy(model).double()


@pytest.mark.parametrize("step", STEPS)
def test_each_step_alone(double, tokens, step):
    """In float64, so that nothing hides behind rounding; a step that is not exact says why instead."""
    reason = why_inexact(double.cfg, step.__name__)
    if reason is not None:
        with pytest.raises(ValueError, match=reason):
            step(double)
        return
    done = step(double)
    torch.testing.assert_close(logprobs(done, tokens), logprobs(double, tokens), atol=1e-9, rtol=0)
    assert step.__name__ in done.cfg.processed
    assert step(done) is done
    assert double.cfg.processed == ()


def test_all_steps_one_after_the_other(model, tokens):
    done = model
    for step in STEPS:
        if why_inexact(model.cfg, step.__name__) is None:
            done = step(done)
    torch.testing.assert_close(logprobs(done, tokens), logprobs(model, tokens), atol=5e-5, rtol=0)
    assert not done.cfg.tied
    _, cache = done.run_with_cache(tokens)
    assert set(cache) == {name for name, point in model.hook_dict.items() if not point.on_request}


def test_what_a_step_does_not_change_is_shared(model):
    if why_inexact(model.cfg, "fold_layer_norm") is not None:
        return
    done = fold_layer_norm(model)
    for name in ("embed.W_E", "blocks.0.attn.W_O", "blocks.1.attn.b_O"):
        assert done.get_parameter(name).data_ptr() == model.get_parameter(name).data_ptr()
    assert (done.W_U != model.W_U).any()
    assert done.tokenizer is model.tokenizer


def storages(model):
    """Bytes of every piece of memory that the model's tensors lie in."""
    return {x.untyped_storage().data_ptr(): x.untyped_storage().nbytes() for x in model.state_dict().values()}


def all_steps(model, steps=STEPS[:4]):
    for step in steps:
        model = model if why_inexact(model.cfg, step.__name__) else step(model)
    return model


def test_the_embedding_matrices_are_in_memory_once(model):
    done = all_steps(model)
    assert done.embed.stored.data_ptr() == model.W_E.data_ptr()
    assert done.unembed.stored.data_ptr() == model.W_U.data_ptr()


@pytest.mark.parametrize("tied", [True, False])
def test_a_processed_view_costs_a_small_part_of_a_large_vocabulary(tied):
    model = in_lens(hf_gpt2(vocab_size=50_000, tie_word_embeddings=tied))
    raw, seen = storages(model), storages(all_steps(model))
    extra = sum(size for place, size in seen.items() if place not in raw)
    n_bytes = model.W_E.nbytes
    b_U = model.b_U.nbytes  # with 32 dimensions the vector over the vocabulary is 1/32 of the matrix; with 768 nothing
    assert extra - b_U < 0.03 * n_bytes


def test_the_matrices_as_they_are_seen(double, tokens):
    """W_E, W_U, one direction, and what the classic names hold: all are those of the forward pass."""
    done = all_steps(double)
    x = torch.randn(3, double.cfg.d_model).double()
    if double.cfg.final_softcap is None:
        torch.testing.assert_close(done.unembed(x), x @ done.W_U + done.b_U)
    torch.testing.assert_close(done.unembed.directions(tokens), done.W_U.T[tokens])
    if not double.cfg.embed_norm:
        torch.testing.assert_close(done.embed(tokens), done.W_E[tokens] * double.cfg.embed_scale)
    owned = type(done).from_state(done.cfg, own_state(done))
    assert owned.state_dict().keys() == double.state_dict().keys()
    torch.testing.assert_close(owned(tokens), done(tokens), atol=1e-9, rtol=0)


def test_the_order_of_the_steps_does_not_matter(double):
    """Folding a centred unembedding, or centring a folded one."""
    if why_inexact(double.cfg, "fold_layer_norm") or why_inexact(double.cfg, "center_unembed"):
        return
    one, other = all_steps(double), all_steps(double, STEPS[3::-1])
    torch.testing.assert_close(one.W_U, other.W_U, atol=1e-9, rtol=0)
    torch.testing.assert_close(one.b_U, other.b_U, atol=1e-9, rtol=0)
    assert one.W_U.mean(-1).abs().max() < 1e-9


def test_moving_one_view_leaves_the_other(model, tokens):
    before = logprobs(model, tokens)
    moved = all_steps(model).double()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(logprobs(model, tokens), before)
    assert (moved.embed.stored.data_ptr() == moved.unembed.stored.data_ptr()) == model.cfg.tied
    torch.testing.assert_close(logprobs(moved, tokens).float(), before, atol=1e-4, rtol=0)


def test_folded_norms_do_nothing_but_centre_and_scale(double, tokens):
    if double.cfg.norm is None:
        return
    done = fold_layer_norm(double)
    norms = [done.ln_final] + [b.ln1 for b in done.blocks if done.cfg.pre_norm]
    assert all((norm.w == 1).all() and (not norm.centred or (norm.b == 0).all()) for norm in norms)
    if done.ln_final.centred:
        want = double.unembed.b_U + double.ln_final.b @ double.unembed.W_U
        torch.testing.assert_close(done.b_U, want)
        torch.testing.assert_close(done.W_U.mean(0), torch.zeros_like(done.b_U))


def test_centred_writers_keep_the_stream_at_mean_zero(double, tokens):
    if why_inexact(double.cfg, "center_writing_weights") is not None:
        return
    _, cache = center_writing_weights(double).run_with_cache(tokens)
    for layer in range(double.cfg.n_layers):
        assert cache["resid_post", layer].mean(-1).abs().max() < 1e-12


def test_refactored_heads_are_orthogonal_and_keep_their_circuits():
    torch.manual_seed(0)
    model = HookedTransformer(Config(n_layers=2, n_heads=3, d_model=12, d_head=4, d_vocab=17, n_ctx=16)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    done = refactor_factored_attn_matrices(model)
    torch.testing.assert_close(done.OV.AB, model.OV.AB)
    torch.testing.assert_close(done.QK.AB, model.QK.AB)
    gram = done.blocks[1].attn.W_V[2].T @ done.blocks[1].attn.W_V[2]
    torch.testing.assert_close(gram, torch.eye(4).double())
    assert (done.b_V == 0).all()


def test_raw_and_folded_run_side_by_side(model, tokens):
    """Hooks on one are not seen by the other, although they share weights."""
    if model.cfg.norm is None:
        return
    folded, seen = fold_layer_norm(model), []
    with model.hooks(fwd_hooks=[("blocks.0.hook_resid_pre", lambda x, hook: seen.append(hook.name))]):
        logprobs(folded, tokens)
    assert seen == []
