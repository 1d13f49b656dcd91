"""What a model is made of, against the model itself."""

import math

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.anatomy import (
    embed_norms,
    folds,
    no_unigram_bias,
    parameters,
    unembed_norms,
    unigram_bias,
    vector_norms,
    weights_by_part,
)
from lens.process import center_unembed, fold_layer_norm
from tests.analysis.shaken import GROUPED, make_model
from tests.families.variants import VARIANTS
from tests.helpers import in_lens


def test_parameters_are_those_of_the_model():
    model = in_lens(VARIANTS["llama-wide-heads-tied"]())
    rows = parameters(model)
    assert [row.name for row in rows] == list(model.state_dict())
    assert all(tuple(model.state_dict()[row.name].shape) == row.shape for row in rows)
    shared = {row.name: row.shared for row in rows if row.shared}
    assert shared == {"unembed.W_U": "embed.W_E"}
    assert sum(row.bytes for row in rows) == 4 * (sum(row.n for row in rows) - model.W_U.numel())
    constant = {row.name.split(".")[-1] for row in rows if row.constant == "0"}
    assert constant == {"b_Q", "b_K", "b_V", "b_O", "b_in", "b_out", "b_gate", "b_U"}  # a llama has no biases


@pytest.mark.parametrize(
    ("variant", "folding", "staying"),
    [
        ("gpt2", {"ln1", "ln2", "ln_final"}, set()),
        ("bloom", {"ln1", "ln2", "ln_final"}, {"embed.ln"}),
        ("gemma3", {"ln1", "ln2", "ln_final"}, {"ln1_post", "ln2_post", "attn.q_norm", "attn.k_norm"}),
        ("olmo2", {"ln_final"}, {"ln1_post", "ln2_post", "attn.q_norm", "attn.k_norm"}),
    ],
)
def test_what_folds_is_what_folding_changes(variant, folding, staying):
    model = in_lens(VARIANTS[variant]())
    found = {fold.norm: fold for fold in folds(model)}
    assert {name for name, fold in found.items() if fold.into} == folding
    assert {name for name, fold in found.items() if fold.stays} == staying
    after = {fold.norm: fold for fold in folds(fold_layer_norm(model))}
    for name in folding:
        assert after[name].gain == (1.0, 1.0, 1.0)
        assert not after[name].bias
        assert found[name].gain[0] < found[name].gain[1] < found[name].gain[2]
    for name in staying:
        assert after[name].gain == found[name].gain
    assert found["ln_final"].count == 1


def test_a_model_that_does_not_fold_says_why():
    assert folds(make_model(norm=None)) == []
    (first, *_) = folds(make_model(positions="shortformer"))
    assert first.stays == "positions are added after the norm"


@pytest.mark.parametrize("variant", ["gpt2", "opt", "gptj", "bloom", "phi", "gpt-neox-no-bias-tied", "falcon-7b"])
def test_the_unigram_bias_is_b_U_after_folding(variant):
    model = in_lens(VARIANTS[variant]())
    want = center_unembed(fold_layer_norm(model)).b_U
    torch.testing.assert_close(unigram_bias(model).bias, want, atol=1e-5, rtol=0)


def test_it_is_the_ratio_of_probabilities_where_nothing_else_speaks():
    """A stream that the final norm makes zero leaves only b_U: the ratio of two tokens is exp of their difference."""
    model = make_model()
    with torch.no_grad():
        model.ln_final.w.zero_()
        probs = model(torch.tensor([[1, 2, 3]])).softmax(-1)[0, -1]
    bias = unigram_bias(model).bias
    assert probs[5] / probs[9] == pytest.approx(math.exp(bias[5] - bias[9]), rel=1e-4)
    assert abs(bias.mean().item()) < 1e-6


def test_models_without_one_say_why():
    rms = make_model(**GROUPED)
    assert no_unigram_bias(rms) == ""  # shaken: its b_U is not 0
    with torch.no_grad():
        rms.unembed.b_U.zero_()
    assert "RMSNorm, which has no bias" in no_unigram_bias(rms)
    with pytest.raises(ValueError, match="RMSNorm"):
        unigram_bias(rms)
    flat = make_model()
    with torch.no_grad():
        flat.unembed.b_U.zero_()
        assert no_unigram_bias(flat) == ""
        flat.ln_final.b.zero_()
    assert "0 everywhere" in no_unigram_bias(flat)
    bare = make_model(norm=None)
    with torch.no_grad():
        bare.unembed.b_U.zero_()
    assert "no norm before the unembedding" in no_unigram_bias(bare)


def test_norms_are_lengths_and_random_vectors_lie_in_the_band():
    torch.manual_seed(0)
    found = vector_norms(0.3 * torch.randn(20_000, 128))
    assert found.typical == pytest.approx(0.3 * math.sqrt(128), rel=0.01)
    assert found.inside == pytest.approx(0.95, abs=0.01)
    found = vector_norms(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    assert found.norms.tolist() == [5.0, 1.0]
    assert found.typical == pytest.approx(math.sqrt(13))


def test_norms_of_both_embeddings():
    model = make_model()
    assert embed_norms(model).norms[7].item() == pytest.approx(model.W_E[7].norm().item(), rel=1e-6)
    assert unembed_norms(model).norms[7].item() == pytest.approx(model.W_U[:, 7].norm().item(), rel=1e-6)


@pytest.mark.hub
def test_gpt2_small_has_the_published_unigram_bias():
    model = HookedTransformer.from_pretrained("gpt2")
    bias = unigram_bias(model).bias
    top = [model.to_single_str_token(i) for i in bias.topk(5).indices.tolist()]
    assert top == [",", " the", " and", ".", "\n"]
    assert bias.topk(5).values.tolist() == pytest.approx([7.03, 6.98, 6.68, 6.49, 6.48], abs=0.01)
    for a, b, ratio in ((" John", " Mary", 3.655), (" he", " she", 2.449)):
        difference = bias[model.to_single_token(a)] - bias[model.to_single_token(b)]
        assert math.exp(difference) == pytest.approx(ratio, abs=0.002)


def test_weights_by_part_count_every_trained_weight_once(tiny_gpt2, tiny_llama):
    for model in (tiny_gpt2, tiny_llama):
        rows = parameters(model)
        counts = weights_by_part(rows)
        assert sum(counts.values()) == sum(row.n for row in rows if not row.shared and not row.constant)
        heads = sum(row.n for row in rows if ".attn.W_" in row.name or (".attn.b_" in row.name and not row.constant))
        assert counts["attention"] == heads
