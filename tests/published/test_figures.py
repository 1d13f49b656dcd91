"""The ways in which published figures are computed, tried on small models without a network."""

import pytest
import torch

from lens.compat.transformer import HookedTransformer
from lens.factored import FactoredMatrix
from tests.published import figures

PROMPTS = ("q=1&2", "q=7&2")  # one token apart


@pytest.fixture(scope="module")
def model(tiny_gpt2):
    return HookedTransformer.of(tiny_gpt2)


def test_probability_and_difference(model):
    logits = model("the cat", return_type="logits")[0, -1].log_softmax(-1)
    a, b = model.to_single_token("a"), model.to_single_token("b")
    assert figures.probability(model, "the cat", "a") == pytest.approx(logits[a].exp().item(), rel=1e-4)
    assert figures.difference(model, "the cat", "a", "b") == pytest.approx((logits[a] - logits[b]).item(), abs=1e-4)
    bare = model(model.to_tokens("the cat", prepend_bos=False))[0, -1]
    got = figures.difference(model, "the cat", "a", "b", prepend_bos=False)
    assert got == pytest.approx((bare[a] - bare[b]).item(), abs=1e-4)


def test_patching_recovers_all_at_the_changed_token_and_nothing_before_it(model):
    clean, corrupted = map(model.to_tokens, PROMPTS)
    (changed,) = (clean != corrupted)[0].nonzero()[:, 0].tolist()
    found = figures.recovered(model, *PROMPTS, "a", "b")
    assert found.shape == (3, clean.shape[1])
    assert found[0, changed] == pytest.approx(1, abs=1e-4)
    assert found[:, :changed].abs().max() < 1e-4


def test_silenced_values_are_those_of_a_model_without_them(model):
    text = "the cat sat on the mat"
    before = figures.loss_without_values(model, text, 1, 2)
    attn = model.blocks[1].attn
    kept = attn.W_V[2].clone(), attn.b_V[2].clone()
    with torch.no_grad():
        attn.W_V[2], attn.b_V[2] = 0, 0
        want = model(text, return_type="loss").item()
        attn.W_V[2], attn.b_V[2] = kept
    assert before == pytest.approx(want, abs=1e-5)
    assert abs(before - model(text, return_type="loss").item()) > 1e-3


def test_prefix_matching_reads_the_right_stripe(model):
    """A pattern of zeros but for 1 from each query of the second copy to the token after the first one scores 1."""
    n = 6

    def perfect(pattern, hook):
        pattern.zero_()
        for query in range(n + 1, 2 * n + 1):
            pattern[:, 2, query, query - n + 1] = 1

    random = torch.arange(10, 16).expand(2, n)
    tokens = torch.cat([torch.zeros(2, 1, dtype=torch.long), random, random], 1)
    with model.hooks(fwd_hooks=[("blocks.1.attn.hook_pattern", perfect)]):
        _, cache = model.run_with_cache(tokens)
        got = figures.stripe(cache["pattern", 1], n)
    assert got.tolist() == [0, 0, 1, 0]


def test_copying_scores_are_those_of_the_dense_products(model):
    alone, full = figures.copying(model)
    dense = model.W_V[1, 2] @ model.W_O[1, 2]
    values = torch.linalg.eigvals(dense.double())
    assert alone[1, 2] == pytest.approx((values.sum().real / values.abs().sum()).item(), abs=1e-3)
    whole = FactoredMatrix(model.W_E @ model.W_V[1, 2], model.W_O[1, 2] @ model.W_U).eigenvalues
    assert full[1, 2] == pytest.approx((whole.sum().real / whole.abs().sum()).item(), abs=1e-3)
