"""A residual stream is the sum of its parts, and so is a logit: in every kind of block, whole, sliced and unbatched."""

from functools import partial

import pytest
import torch

from lens import decompose, readout
from lens.cache import ActivationCache
from lens.slices import Slice
from tests.analysis.shaken import make_model

KINDS = {
    "LN": {},
    "RMS, grouped": {"n_kv_heads": 2, "norm": "RMS", "act_fn": "silu", "gated_mlp": True, "positions": "rotary"},
    "attention only": {"d_mlp": 0},
    "parallel": {"parallel": True, "positions": "rotary"},
    "norms after": {"norm": "RMS", "post_norm": True, "positions": "rotary"},
    "only norms after": {"post_norm": True, "pre_norm": False},
    "no norm": {"norm": None, "positions": "shortformer"},
    "other final norm": {"final_rms": True},
    "normed MLP": {"act_fn": "solu", "mlp_norm": True, "positions": "alibi", "embed_norm": True},
    "capped logits": {"final_softcap": 3.0, "embed_scale": 2.0},
}
TOKENS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module", params=KINDS, ids=list(KINDS))
def run(request):
    """A shaken model, its logits before any cap, and its cache."""
    model = make_model(**KINDS[request.param])
    with torch.no_grad():
        final = model(TOKENS, stop_at_layer=3)
        _, cache = model.run_with_cache(TOKENS)
        read = model.ln_final(final)
        return model, read @ model.W_U + model.b_U, cache


def close(got, want):
    torch.testing.assert_close(got, want, atol=2e-5, rtol=2e-5)


class TestSums:
    @pytest.mark.parametrize("layer", [0, 1, 2, 3, -1, None])
    def test_parts_sum_to_the_stream(self, run, layer):
        _, _, cache = run
        want = decompose.stream(cache, layer)
        close(decompose.by_layer(cache, layer).values.sum(0), want)
        for expand in (True, False):
            stack = decompose.whole(cache, layer, expand_neurons=expand)
            close(stack.values.sum(0), want)
            assert len(stack.labels) == len(stack.values) == len(set(stack.labels))
        assert want.std() > 0.1

    def test_parts_sum_to_what_the_mlp_reads(self, run):
        model, _, cache = run
        if model.cfg.attn_only:
            with pytest.raises(ValueError, match="no MLP"):
                decompose.whole(cache, 1, mlp_input=True)
            return
        want = cache["resid_pre" if model.cfg.parallel else "resid_mid", 1]
        assert torch.equal(decompose.stream(cache, 1, mlp_input=True), want)
        close(decompose.whole(cache, 1, mlp_input=True).values.sum(0), want)
        close(decompose.by_layer(cache, 1, mlp_input=True).values.sum(0), want)
        with pytest.raises(ValueError, match="no MLP at layer 3"):
            decompose.stream(cache, 3, mlp_input=True)

    def test_heads_sum_to_what_attention_adds(self, run):
        model, _, cache = run
        norm = model.blocks[1].ln1_post
        heads = decompose.head_writes(cache, 1)
        alone = decompose.biases(cache, 2, incl_mlp=False) - decompose.biases(cache, 1, incl_mlp=False)
        close(heads.sum(-2) + alone, cache["attn_out", 1])
        if isinstance(norm, torch.nn.Identity):
            close(alone, model.blocks[1].attn.b_O.expand_as(alone))

    @pytest.mark.parametrize("pos", [-1, 2, (1, 4), [0, 3], slice(2, None)], ids=str)
    def test_a_slice_of_positions_is_taken_before_the_sum(self, run, pos):
        _, _, cache = run
        whole, part = decompose.whole(cache), decompose.whole(cache, pos=pos)
        close(part.values, Slice(pos).apply(whole.values, -2))
        seen = readout.scaled_components(cache, part.values, pos=pos)
        close(seen, Slice(pos).apply(readout.scaled_components(cache, whole.values), -2))

    def test_without_a_batch_axis(self, run):
        model, _, both = run
        _, cache = model.run_with_cache(TOKENS[1], remove_batch_dim=True)
        close(decompose.whole(cache).values, decompose.whole(both).values[:, 1])
        close(decompose.streams(cache, incl_mid=True).values, decompose.streams(both, incl_mid=True).values[:, 1])

    def test_streams_and_their_labels(self, run):
        model, _, cache = run
        mid = not (model.cfg.attn_only or model.cfg.parallel)
        stack = decompose.streams(cache, incl_mid=True)
        want = ["0_pre", "0_mid", "1_pre", "1_mid", "2_pre", "2_mid", "final_post"]
        assert stack.labels == (want if mid else want[::2])
        assert torch.equal(stack.values[stack.labels.index("1_pre")], cache["resid_post", 0])
        assert decompose.streams(cache, 1).labels == ["0_pre", "1_pre"]
        if mid:
            assert decompose.streams(cache, 1, mlp_input=True).labels == ["0_pre", "1_pre", "1_mid"]


class TestReadout:
    def test_contributions_sum_to_the_logit_difference(self, run):
        model, logits, cache = run
        a, b = TOKENS.roll(1, 1), TOKENS.roll(2, 1)
        delta = model.tokens_to_residual_directions(a) - model.tokens_to_residual_directions(b)
        for stack in (decompose.whole(cache), decompose.by_layer(cache)):
            parts = readout.logit_contributions(cache, stack.values, delta)
            norm = model.ln_final
            beta = norm.b @ delta.mT if getattr(norm, "centred", False) else torch.zeros(2, 5)
            want = logits.gather(-1, a[..., None])[..., 0] - logits.gather(-1, b[..., None])[..., 0]
            close(parts.sum(0) + beta + model.b_U[a] - model.b_U[b], want)
            assert want.std() > 0.1

    def test_each_stream_is_normalised_by_its_own_statistics(self, run):
        """The last row is what the unembedding reads; an earlier row does not depend on later layers."""
        model, logits, cache = run
        seen = readout.normalised_streams(cache, decompose.streams(cache).values)
        close(seen[-1] @ model.W_U + model.b_U, logits)
        early = model.ln_final(cache["resid_pre", 1])
        close(seen[1], early)

    def test_parts_as_a_layer_reads_them_sum_to_what_it_reads(self, run):
        model, _, cache = run
        for layer, mlp_input, name in ((1, False, "blocks.1.ln1"), (1, True, "blocks.1.ln2"), (3, False, "ln_final")):
            if f"{name}.hook_normalized" in cache:
                stack = decompose.whole(cache, layer, mlp_input)
                seen = readout.scaled_components(cache, stack.values, layer, mlp_input)
                close(seen.sum(0), cache[f"{name}.hook_normalized"])
        if model.cfg.norm is None:
            assert readout.scaled_components(cache, cache["resid_pre", 1]) is cache["resid_pre", 1]


class TestClassicMethods:
    def test_every_method_gives_values_or_values_and_labels(self, run):
        model, _, cache = run
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

    def test_modes_of_layer_attribution(self, run):
        model, _, cache = run
        labels = cache.decompose_resid(2, mode="mlp", return_labels=True)[1]
        embeds = ["embed", "pos_embed"] if model.cfg.positions == "learned" else ["embed"]
        mlps = [] if model.cfg.attn_only else ["0_mlp_out", "1_mlp_out"]
        assert labels == embeds + mlps
        labels = cache.decompose_resid(2, mode="attn", incl_embeds=False, return_labels=True)[1]
        assert labels == ["0_attn_out", "1_attn_out"]

    def test_neurons(self, run):
        model, _, cache = run
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
    def test_projected_components_are_the_components_times_the_directions(self, run, pos, n_outputs, apply_ln):
        """One direction or several; neurons of post-norm blocks too, whose norm is a linear map at each position."""
        model, _, cache = run
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

    def test_head_results_are_those_of_the_run(self, run):
        model, _, cache = run
        _, hooked = model.run_with_cache(
            TOKENS, names_filter=lambda name: "result" in name or "post.hook_scale" in name
        )
        own = ActivationCache(cache.cache_dict, model)
        own.compute_head_results()
        close(own["result", 1], hooked["result", 1])
        assert ("result", 1) not in cache
        close(decompose.by_head(own).values, decompose.by_head(cache).values)

    def test_attributions_take_one_token_each_sequence_or_each_position(self, run):
        _, _, cache = run
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

    def test_batch_slices(self, run):
        _, _, cache = run
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
            logits, cache = model.run_with_cache(TOKENS)
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
