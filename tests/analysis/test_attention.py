import pytest
import torch

from lens.analysis.attention import head_patterns, hide_first, value_weighted_patterns
from lens.analysis.names import Head

HEADS = [Head(2, 1), Head(0, 3), Head(2, 0), Head(1, 2)]


@pytest.fixture
def tokens():
    return torch.randint(1, 90, (3, 11), generator=torch.Generator().manual_seed(1))


def cached(model, tokens, point):
    _, cache = model.run_with_cache(tokens, names_filter=lambda name: name.endswith(point))
    return {layer: cache[f"blocks.{layer}.attn.{point}"] for layer in range(model.cfg.n_layers)}


def test_patterns_are_those_of_the_cache_in_the_order_asked(model, tokens):
    found, all_of_them = head_patterns(model, tokens, HEADS), cached(model, tokens, "hook_pattern")
    assert found.heads == HEADS
    for place, (layer, head) in enumerate(HEADS):
        torch.testing.assert_close(found.pattern[:, place], all_of_them[layer][:, head], atol=1e-6, rtol=0)


def test_value_weighted_equals_each_key_written_alone(model, tokens):
    found = value_weighted_patterns(model, tokens, HEADS).pattern
    pattern, v = cached(model, tokens, "hook_pattern"), cached(model, tokens, "hook_v")
    for place, (layer, head) in enumerate(HEADS):
        for k in range(11):
            write = v[layer][:, k, head // model.cfg.group_size] @ model.W_O[layer, head]
            want = pattern[layer][:, head, :, k] * write.norm(dim=-1, keepdim=True)
            torch.testing.assert_close(found[:, place, :, k], want, atol=1e-5, rtol=1e-5)
    shares = value_weighted_patterns(model, tokens, HEADS, renormalise=True).pattern
    torch.testing.assert_close(shares.sum(-1), torch.ones(3, 4, 11))
    torch.testing.assert_close(shares, found / found.sum(-1, keepdim=True))


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(model, ragged, side):
    padded, mask, texts = ragged(side)
    for function in (head_patterns, value_weighted_patterns):
        found = function(model, padded, HEADS, mask).pattern
        for row, text in enumerate(texts):
            real = mask[row].nonzero()[:, 0]
            want = function(model, text[None], HEADS).pattern[0]
            torch.testing.assert_close(found[row][:, real][:, :, real], want, atol=1e-5, rtol=1e-5)


def test_hiding_the_first_token():
    pattern = torch.tensor([[1.0, 0, 0], [0.75, 0.25, 0], [0.5, 0.25, 0.25]])
    found = hide_first(pattern)
    assert torch.equal(found.pattern, torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0.5, 0.5]]))
    assert torch.equal(found.hidden, torch.tensor([1, 0.75, 0.5]))


def test_hiding_the_first_real_token_of_padded_texts(model, ragged):
    tokens, mask, _ = ragged("left")
    pattern = head_patterns(model, tokens, HEADS, mask).pattern
    found = hide_first(pattern, mask)
    first = mask.int().argmax(-1)
    for row in range(3):
        assert (found.pattern[row, :, :, first[row]] == 0).all()
        want = hide_first(pattern[row][:, first[row] :, first[row] :])
        torch.testing.assert_close(found.pattern[row][:, first[row] :, first[row] :], want.pattern)
        torch.testing.assert_close(found.hidden[row][:, first[row] :], want.hidden)


def test_heads_that_do_not_exist_and_no_heads_are_refused(model, tokens):
    with pytest.raises(ValueError, match=r"no head 3\.0"):
        head_patterns(model, tokens, [Head(3, 0)])
    with pytest.raises(ValueError, match="No heads"):
        value_weighted_patterns(model, tokens, [])
