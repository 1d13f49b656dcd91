"""Figures of Neel Nanda's toy models that others have published, on the real weights: float32, default processing."""

import pytest

from lens.compat.evals import induction_loss
from lens.compat.transformer import HookedTransformer
from tests.published import figures

pytestmark = pytest.mark.hub


def test_two_layers_complete_a_pattern():
    model = HookedTransformer.from_pretrained("attn-only-2l")
    assert figures.probability(model, "A B C A B", " C") == pytest.approx(0.495, abs=0.001)
    logits = figures.last_logits(model, "A B C A B")
    assert logits[model.to_single_token(" C")].item() == pytest.approx(15.36, abs=0.01)


def test_one_layer_does_not():
    model = HookedTransformer.from_pretrained("attn-only-1l")
    assert figures.probability(model, "A B A B A", " B") == pytest.approx(0.0565, abs=0.0002)


def loss_at(name: str, tokens: int) -> float:
    from lens.load.checkpoints import checkpoints

    labels = checkpoints(name).labels
    nearest = min(range(len(labels)), key=lambda i: abs(labels[i] - tokens))
    model = HookedTransformer.from_pretrained(name, checkpoint_index=nearest)
    return induction_loss(model, subseq_len=200).item()


def test_induction_is_learned_between_200_and_500_million_tokens():
    before, start, end, late = (loss_at("solu-2l", int(tokens)) for tokens in (1e8, 2e8, 5e8, 1e9))
    assert start - end > 2 * max(before - start, end - late)
    assert start - end > 1


def test_the_phase_change_of_two_attention_layers():
    start, end = (loss_at("attn-only-2l", int(tokens)) for tokens in (3e8, 1.5e9))
    early, last = loss_at("attn-only-2l", int(1e8)), loss_at("attn-only-2l", int(2.1e10))
    assert start - end > max(early - start, end - last)
