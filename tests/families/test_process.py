"""Processing changes no probability, in any structure; what it cannot do exactly it refuses."""

import copy

import pytest
import torch

from lens import Config, HookedTransformer
from lens.process import (
    center_unembed,
    center_writing_weights,
    fold_layer_norm,
    fold_value_biases,
    refactor_factored_attn_matrices,
    why_inexact,
)

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
        assert done.get_parameter(name) is model.get_parameter(name)
    assert (done.get_parameter("unembed.W_U") != model.get_parameter("unembed.W_U")).any()
    assert done.tokenizer is model.tokenizer


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
