"""A residual stream is the sum of its parts, and so is a logit: in every kind of block, whole, sliced and unbatched."""

import pytest
import torch

from lens import decompose, readout
from lens.decompose import indexed
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

    @pytest.mark.parametrize("pos", [-1, 2, slice(1, 4), [0, 3], slice(2, None)], ids=str)
    def test_a_slice_of_positions_is_taken_before_the_sum(self, run, pos):
        _, _, cache = run
        whole, part = decompose.whole(cache), decompose.whole(cache, pos=pos)
        close(part.values, indexed(whole.values, -2, pos))
        seen = readout.scaled_components(cache, part.values, pos=pos)
        close(seen, indexed(readout.scaled_components(cache, whole.values), -2, pos))

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


def test_places_of_an_axis():
    x = torch.arange(12).reshape(3, 4)
    assert indexed(x, 0, None) is x
    for index in (1, slice(1, 3), [3, 0], torch.tensor([2]), [True, False, True, False]):
        assert torch.equal(indexed(x, -1, index), x[:, index])
    assert indexed(x, 0, 1).tolist() == [4, 5, 6, 7]
    with pytest.raises(ValueError, match="a range or a choice"):
        indexed(x, 0, (1, 2))
