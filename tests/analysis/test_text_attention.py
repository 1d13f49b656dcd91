import math

import pytest
import torch

from lens.analysis.attention import head_patterns, value_weighted_patterns
from lens.analysis.content_dependence import content_dependence, zones
from lens.analysis.names import Head
from lens.analysis.streaming import uniform_pattern
from lens.analysis.text_attention import head_habits, head_numbers, layer_pattern, shrink, text_attention

P = 13


@pytest.fixture
def tokens():
    return torch.randint(1, 90, (1, P), generator=torch.Generator().manual_seed(2))


def every_head(model, tokens):
    heads = [Head(layer, head) for layer in range(model.cfg.n_layers) for head in range(model.cfg.n_heads)]
    shape = (model.cfg.n_layers, model.cfg.n_heads, P, P)
    return head_patterns(model, tokens, heads).pattern.view(shape), heads


def test_a_short_text_keeps_the_patterns_of_all_heads(model, tokens):
    found, (pattern, heads) = text_attention(model, tokens), every_head(model, tokens)
    torch.testing.assert_close(found.pattern, pattern, atol=1e-6, rtol=0)
    assert len(found.streams) == 0
    weighted = value_weighted_patterns(model, tokens, heads).pattern.view(pattern.shape)
    torch.testing.assert_close(pattern * found.value_length[:, :, None], weighted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        found.content_dependence, torch.stack([content_dependence(zones(layer)) for layer in pattern])
    )
    for got, want in zip(found.habits, head_habits(pattern)):
        torch.testing.assert_close(got, want)
    assert found.pictures.shape == (3, 4, P, P)
    assert found.block == 1


def test_a_long_text_keeps_the_streams_and_each_layer_comes_out_the_same(model, tokens):
    short, long = text_attention(model, tokens), text_attention(model, tokens, keep_bytes=100)
    assert len(long.pattern) == 0
    for layer in range(model.cfg.n_layers):
        torch.testing.assert_close(layer_pattern(model, long.streams[layer], layer), short.pattern[layer])
    for field in ("value_length", "content_dependence", "pictures"):
        torch.testing.assert_close(getattr(long, field), getattr(short, field))


def test_habits_of_hand_made_patterns():
    q = torch.arange(P)
    previous, first, itself = torch.zeros(3, P, P).unbind()
    previous[q, (q - 1).clamp(min=0)] = 1
    first[:, 0] = 1
    itself[q, q] = 1
    found = head_habits(torch.stack([previous, first, itself]))
    assert found.first.tolist() == pytest.approx([1 / (P - 1), 1, 0])
    assert found.previous.tolist() == [1, 0, 0]
    assert found.itself.tolist() == [0, 0, 1]
    assert found.entropy.tolist() == [0, 0, 0]
    uniform = head_habits(uniform_pattern(P))
    assert uniform.first.item() == pytest.approx(sum(1 / (k + 1) for k in range(1, P)) / (P - 1))
    assert uniform.entropy.item() == pytest.approx(sum(math.log(k + 1) for k in range(1, P)) / (P - 1))


def test_two_tokens_have_no_previous_one_apart_from_the_first():
    found = head_habits(uniform_pattern(2))
    assert found.first.item() == pytest.approx(0.5)
    assert found.previous.isnan()


@pytest.mark.parametrize(("n_pos", "block", "cells"), [(7, 2, 4), (8, 2, 5), (2, 1, 2), (6, 5, 2)])
def test_shrinking_keeps_the_first_token_alone_and_every_cell_its_largest(n_pos, block, cells):
    pattern = torch.rand(2, n_pos, n_pos, generator=torch.Generator().manual_seed(0))
    small = shrink(pattern, block)
    assert small.shape == (2, cells, cells)
    want = torch.zeros(2, cells, cells)
    for q in range(n_pos):
        for k in range(n_pos):
            row, column = -(-q // block), -(-k // block)
            want[:, row, column] = torch.maximum(want[:, row, column], pattern[:, q, k])
    torch.testing.assert_close(small, want)


def test_one_token_is_refused(model):
    with pytest.raises(ValueError, match="at least two"):
        text_attention(model, torch.tensor([[1]]))


def test_head_numbers_are_shares_or_lengths_and_say_what_was_hidden():
    pattern = torch.tensor([[[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.2, 0.2, 0.6]]])
    length = torch.tensor([[2.0, 1.0, 3.0]])
    lengths = pattern * length[:, None]
    assert head_numbers(pattern) == (pattern, None)
    torch.testing.assert_close(head_numbers(pattern, length).values, lengths)
    shares = head_numbers(pattern, length, share=True).values
    torch.testing.assert_close(shares.sum(-1), torch.ones(1, 3))
    hidden = head_numbers(pattern, hide=True)
    torch.testing.assert_close(hidden.values[0, 2], torch.tensor([0.0, 0.25, 0.75]))
    torch.testing.assert_close(hidden.hidden, pattern[:, :, 0])
    hidden = head_numbers(pattern, length, hide=True)  # lengths stay lengths
    torch.testing.assert_close(hidden.values[0, 2], torch.tensor([0.0, 0.2, 1.8]))
    torch.testing.assert_close(hidden.hidden, lengths[:, :, 0] / lengths.sum(-1))
