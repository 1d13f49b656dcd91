"""Reference numbers: how they are computed, on models that are here; the real ones are held to them on the Hub."""

import pytest
import torch

from lens import HookedTransformer
from lens.analysis.published import FLOAT, MODELS, PUBLISHED, REFERENCE, difference, loss, probability, recomputed
from lens.load.entries import ENTRIES
from lens.process import fold_layer_norm, fold_value_biases


def test_every_number_is_of_a_known_model_with_its_source():
    assert set(MODELS) <= {entry.alias for entry in ENTRIES}
    assert all(one.source and one.unit and one.tolerance > 0 for one in PUBLISHED)
    assert len({(one.model, one.what) for one in PUBLISHED}) == len(PUBLISHED)


def test_a_printed_number_is_held_to_half_a_unit_of_its_last_digit():
    for one in [one for one in PUBLISHED if one.source == REFERENCE]:
        digits = len(f"{one.value}".split(".")[1])
        assert one.tolerance == pytest.approx(0.5 * 10**-digits + FLOAT[one.unit])
        assert not one.agrees(one.value + 10**-digits + 2 * FLOAT[one.unit])


def test_the_planted_numbers_are_recomputed():
    numbers = recomputed("planted-induction")
    rows = [one for one in PUBLISHED if one.model == "planted-induction"]
    assert len(numbers) == len(rows) == 2
    for one, number in zip(rows, numbers):
        assert one.agrees(number)
        assert not one.agrees(number + 3 * one.tolerance)


@torch.no_grad()
def test_probabilities_differences_and_losses_are_those_of_the_logits():
    model = HookedTransformer.from_pretrained("lens-2l")
    logits = model(model.to_tokens("the cat"))[0, -1]
    a, b = model.to_single_token("a"), model.to_single_token("b")
    assert probability(model, "the cat", "a") == pytest.approx(float(logits.softmax(-1)[a]))
    assert difference(model, "the cat", "a", "b") == pytest.approx(float(logits[a] - logits[b]))
    assert loss(model, "the cat sat") == pytest.approx(float(model(model.to_tokens("the cat sat"), return_type="loss")))


@torch.no_grad()
def test_values_at_zero_mean_those_of_a_model_with_folded_biases(tiny_gpt2):
    folded = fold_value_biases(fold_layer_norm(tiny_gpt2))
    tokens = folded.to_tokens("the cat")

    def silence(v, hook):
        v[:, :, 1] = 0
        return v

    want = folded.run_with_hooks(tokens, return_type="loss", fwd_hooks=[("blocks.0.attn.hook_v", silence)])
    assert loss(tiny_gpt2, "the cat", silent=(0, 1)) == pytest.approx(float(want), abs=1e-4)
    assert loss(tiny_gpt2, "the cat") != pytest.approx(float(want), abs=1e-3)


@pytest.mark.hub
@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("planted")])
def test_the_real_models_give_the_reference_numbers(name):
    for one, number in zip([one for one in PUBLISHED if one.model == name], recomputed(name)):
        assert one.agrees(number), one.what
