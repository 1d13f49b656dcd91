"""The classic methods of a cache give the parts and readings of a stream, sliced as notebooks slice, in every block."""

from functools import partial

import pytest
import torch

from lens import decompose
from lens.compat.cache import ActivationCache
from lens.compat.slices import Slice
from tests.analysis.shaken import make_model
from tests.test_decompose import KINDS, TOKENS, close


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module", params=KINDS, ids=list(KINDS))
def run(request):
    """A shaken model and its classic cache."""
    model = make_model(**KINDS[request.param])
    with torch.no_grad():
        return model, ActivationCache(model.run_with_cache(TOKENS)[1], model)


@pytest.mark.parametrize("pos", [-1, (1, 4), (4,), (0, 5, 2), [0, 3]], ids=str)
def test_a_slice_of_positions_is_taken_before_the_sum(run, pos):
    _, cache = run
    whole, part = cache.get_full_resid_decomposition(), cache.get_full_resid_decomposition(pos_slice=pos)
    close(part, Slice(pos).apply(whole, -2))
    close(cache.apply_ln_to_stack(part, pos_slice=pos), Slice(pos).apply(cache.apply_ln_to_stack(whole), -2))


def test_every_method_gives_values_or_values_and_labels(run):
    model, cache = run
    n = model.cfg.n_layers * model.cfg.n_heads
    for method, args in (
        (cache.accumulated_resid, {"incl_mid": True}),
        (cache.decompose_resid, {}),
        (cache.decompose_resid, {"mode": "attn", "incl_embeds": False}),
        (cache.stack_head_results, {"layer": 2}),
        (cache.get_full_resid_decomposition, {"expand_neurons": False}),
    ):
        for apply_ln in (False, True):
            values, labels = method(**args, apply_ln=apply_ln, return_labels=True, pos_slice=-1)
            assert values.shape == (len(labels), 2, model.cfg.d_model)
            assert torch.equal(method(**args, apply_ln=apply_ln, pos_slice=-1), values)
    heads, labels = cache.stack_head_results(return_labels=True, incl_remainder=True)
    assert labels == [*model.all_head_labels(), "remainder"]
    assert len(heads) == n + 1
    close(heads.sum(0), cache["resid_post", -1])
    assert cache.stack_head_results(0).shape == (0, 2, 5, model.cfg.d_model)
    assert torch.equal(cache.stack_activation("pattern", 2)[1], cache["pattern", 1])
    with pytest.raises(ValueError, match="mode='heads'"):
        cache.decompose_resid(mode="heads")
    with pytest.raises(ValueError, match="layer=4"):
        cache.accumulated_resid(4)


def test_modes_of_layer_attribution(run):
    model, cache = run
    labels = cache.decompose_resid(2, mode="mlp", return_labels=True)[1]
    embeds = ["embed", "pos_embed"] if model.cfg.positions == "learned" else ["embed"]
    mlps = [] if model.cfg.attn_only else ["0_mlp_out", "1_mlp_out"]
    assert labels == embeds + mlps
    labels = cache.decompose_resid(2, mode="attn", incl_embeds=False, return_labels=True)[1]
    assert labels == ["0_attn_out", "1_attn_out"]


def test_neurons(run):
    model, cache = run
    if model.cfg.attn_only:
        return
    every = cache.stack_neuron_results(-1, incl_remainder=True)
    close(every.sum(0), cache["resid_post", 2])
    some, labels = cache.stack_neuron_results(2, neuron_slice=[5, 1], pos_slice=2, return_labels=True)
    assert labels == ["L0N5", "L0N1", "L1N5", "L1N1"]
    close(some[2], every[model.cfg.d_mlp + 5][:, 2])
    close(cache.get_neuron_results(1, neuron_slice=5)[..., 0, :], every[model.cfg.d_mlp + 5])


@pytest.mark.parametrize("apply_ln", [False, True])
@pytest.mark.parametrize("n_outputs", [None, 2])
@pytest.mark.parametrize("pos", [None, -1])
def test_projected_components_are_the_components_times_the_directions(run, pos, n_outputs, apply_ln):
    """One direction or several; neurons of post-norm blocks too, whose norm is a linear map at each position."""
    model, cache = run
    onto = torch.randn(model.cfg.d_model, *([n_outputs] if n_outputs else []))
    asked = {"apply_ln": apply_ln, "pos_slice": pos}
    methods = [cache.get_full_resid_decomposition]
    if not model.cfg.attn_only:
        methods.append(partial(cache.stack_neuron_results, 2, neuron_slice=[5, 1], incl_remainder=True))
        whole = cache.get_neuron_results(1, neuron_slice=5, pos_slice=pos)
        part = cache.get_neuron_results(1, neuron_slice=5, pos_slice=pos, project_output_onto=onto)
        close(part, whole @ onto)
    for method in methods:
        close(method(**asked, project_output_onto=onto), method(**asked) @ onto)


def test_head_results_are_those_of_the_run(run):
    model, cache = run
    _, hooked = model.run_with_cache(TOKENS, names_filter=lambda name: "result" in name or "post.hook_scale" in name)
    own = ActivationCache(cache.cache_dict, model)
    own.compute_head_results()
    close(own["result", 1], hooked["result", 1])
    assert ("result", 1) not in cache
    close(decompose.by_head(own).values, decompose.by_head(cache).values)


def test_attributions_take_one_token_each_sequence_or_each_position(run):
    _, cache = run
    stack = cache.decompose_resid()
    every = torch.stack([cache.logit_attrs(stack, token) for token in range(10)])
    assert every.shape == (10, len(stack), 2, 5)
    got = cache.logit_attrs(stack, TOKENS, incorrect_tokens=TOKENS.roll(1, 1))
    close(got[:, 1, 2], every[6, :, 1, 2] - every[2, :, 1, 2])
    last = cache.decompose_resid(pos_slice=-1)
    per_sequence = torch.tensor([7, 8])
    close(cache.logit_attrs(last, per_sequence, pos_slice=-1)[:, 1], every[8, :, 1, -1])
    close(cache.logit_attrs(stack, per_sequence)[:, 0, 2], every[7, :, 0, 2])
    close(cache.logit_attrs(stack, torch.tensor([7]), batch_slice=1), every[7, :, 1])
    close(cache.logit_attrs(stack[:, 1], 7, batch_slice=1, has_batch_dim=False), every[7, :, 1])
    with pytest.raises(ValueError, match="wanted the same"):
        cache.logit_attrs(stack, 3, incorrect_tokens=per_sequence)


def test_batch_slices(run):
    _, cache = run
    stack = cache.decompose_resid()
    close(cache.apply_ln_to_stack(stack, batch_slice=1), cache.apply_ln_to_stack(stack)[:, 1])
    one = cache.apply_slice_to_batch_dim(1)
    assert not one.has_batch_dim
    close(one.decompose_resid(apply_ln=True), cache.decompose_resid(apply_ln=True)[:, 1])


def test_attributions_do_not_depend_on_where_the_gain_is_kept():
    """The final norm's gain in the norm, or multiplied into the unembedding: one function, one attribution."""
    plain = make_model()
    folded = make_model()
    with torch.no_grad():
        folded.unembed.b_U += folded.ln_final.b @ folded.W_U
        folded.unembed.W_U.copy_(folded.ln_final.w[:, None] * folded.W_U)
        folded.ln_final.w.fill_(1)
        folded.ln_final.b.fill_(0)
        results = []
        for model in (plain, folded):
            logits, activations = model.run_with_cache(TOKENS)
            cache = ActivationCache(activations, model)
            results.append((logits, cache.logit_attrs(cache.decompose_resid(), 3, incorrect_tokens=4)))
    close(results[0][0], results[1][0])
    close(results[0][1], results[1][1])


def test_a_slice_and_its_indices():
    x = torch.arange(12).reshape(3, 4)
    cases = [None, 1, (2,), (1, 3), (0, 4, 2), [3, 0], torch.tensor([2]), torch.tensor([True, False, True, False])]
    for given in cases:
        part = Slice(given)
        assert torch.equal(part.apply(x, -1).reshape(3, -1), x[:, part.indices(4)])
    assert Slice(1).apply(x).tolist() == [4, 5, 6, 7]
    assert Slice.unwrap(1).apply(x).shape == (1, 4)
    with pytest.raises(ValueError, match="max_ctx"):
        Slice((1, 2)).indices()
    with pytest.raises(ValueError, match="wanted an int"):
        Slice("1")
