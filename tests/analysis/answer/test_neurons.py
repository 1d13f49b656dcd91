"""Neurons: their activations are those of the plain run, top contexts and deciles exact, weights the folded product."""

import numpy as np
import pytest
import torch

from lens.analysis.answer.neurons import (
    activity,
    decile_contexts,
    input_tokens,
    layer_activations,
    low_contexts,
    neuron_on_text,
    output_tokens,
    text_streams,
    top_contexts,
)
from lens.process import center_unembed, fold_layer_norm
from tests.analysis.shaken import GROUPED, make_model
from tests.families.conftest import lens_of
from tests.families.variants import VARIANTS

TOKENS = torch.randint(0, 110, (1, 11), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("variant", VARIANTS)
@torch.no_grad()
def test_activations_times_the_output_weights_are_what_the_mlp_writes(variant):
    model = lens_of(variant)
    layer = model.cfg.n_layers - 1
    _, cache = model.run_with_cache(TOKENS)
    block = model.blocks[layer]
    out = block.ln2_post(layer_activations(model, TOKENS, layer)[None] @ block.mlp.W_out + block.mlp.b_out)
    torch.testing.assert_close(out, cache["mlp_out", layer], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("sizes", [{}, GROUPED, {"parallel": True}], ids=["plain", "gated", "parallel"])
@torch.no_grad()
def test_a_neuron_on_the_shipped_text_is_that_of_one_run(tokenizer, sizes):
    model = make_model(tokenizer, d_vocab=len(tokenizer) + 8, **sizes)
    streams = text_streams(model, 1, 5, 30)
    found = neuron_on_text(model, streams, 1, 7)
    for chapter in range(5):
        real = int(streams.counted[chapter].sum()) + 1
        want = layer_activations(model, streams.tokens[chapter : chapter + 1, :real], 1)[:, 7]
        torch.testing.assert_close(found[chapter, :real], want, atol=1e-5, rtol=1e-4)


def test_top_contexts_and_deciles_are_exact():
    torch.manual_seed(0)
    values, counted = torch.randn(6, 50), torch.rand(6, 50) > 0.2
    found = top_contexts(values, counted, 9)
    want = values[counted].sort(descending=True).values[:9]
    torch.testing.assert_close(torch.tensor([one.value for one in found]), want)
    assert all(counted[one.chapter, one.pos] and values[one.chapter, one.pos] == one.value for one in found)
    tenths = decile_contexts(values, counted, 4, seed=1)
    edges = np.quantile(values[counted].numpy(), np.linspace(0, 1, 11))
    assert len(tenths) == 10
    for tenth, low, high in zip(tenths, edges, edges[1:]):
        assert len(tenth) == 4
        assert all(low - 0.1 <= one.value <= high + 0.1 for one in tenth)
        assert len(set(tenth)) == 4
    assert tenths == decile_contexts(values, counted, 4, seed=1) != decile_contexts(values, counted, 4, seed=2)
    tied = top_contexts(torch.zeros(2, 3), torch.ones(2, 3).bool(), 4)
    assert [(one.chapter, one.pos) for one in tied] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    lowest = values[counted].sort().values[:9]
    torch.testing.assert_close(torch.tensor([one.value for one in low_contexts(values, counted, 9)]), lowest)


def test_the_activity_of_hand_made_values():
    values = torch.tensor([[9.0, 1.0, -1.0], [9.0, 2.0, 4.0]]).repeat(8, 1)
    counted = torch.tensor([[False, True, True]]).repeat(16, 1)
    found = activity(values, counted)
    assert (found.n, found.largest) == (32, 4.0)
    assert found.active.mean == pytest.approx(0.75)
    assert found.mean.mean == pytest.approx(1.5)
    assert found.active.low < 0.75 < found.active.high
    assert found.edges[[0, -1]].tolist() == [-1, 4]


@pytest.mark.parametrize("sizes", [{}, GROUPED], ids=["LN", "RMS gated"])
@torch.no_grad()
def test_weights_as_tokens_are_those_of_the_folded_model(sizes):
    model = make_model(**sizes)
    folded = center_unembed(fold_layer_norm(model))
    out = folded.blocks[1].mlp.W_out[5] @ folded.W_U
    found = output_tokens(model, 1, 5, 6)
    top = (out - out.mean()).topk(6)
    assert torch.equal(found.high, top.indices)
    torch.testing.assert_close(found.high_value, top.values, atol=1e-4, rtol=1e-4)
    for gate in (False, *([True] if sizes else [])):
        weight = (folded.blocks[1].mlp.W_gate if gate else folded.blocks[1].mlp.W_in)[:, 5]
        reads = model.W_E @ weight
        found = input_tokens(model, 1, 5, 6, gate)
        low = (reads - reads.mean()).topk(6, largest=False)
        assert torch.equal(found.low, low.indices)
        torch.testing.assert_close(found.low_value, low.values, atol=1e-4, rtol=1e-4)


def test_neurons_that_are_not_there_are_refused():
    attention_only, model = make_model(d_mlp=0), make_model()
    with pytest.raises(ValueError, match="attention layers only"):
        layer_activations(attention_only, TOKENS % 97, 0)
    with pytest.raises(ValueError, match=r"no neuron 1\.24"):
        output_tokens(model, 1, 24)
    with pytest.raises(ValueError, match="no gate"):
        input_tokens(model, 1, 5, gate=True)


def test_progress_can_stop_it(tokenizer):
    def stop(fraction: float, stage: str) -> None:
        raise InterruptedError(stage)

    with pytest.raises(InterruptedError, match="layer 1 of"):
        text_streams(make_model(tokenizer, d_vocab=len(tokenizer) + 8), 1, 3, 20, stop)
