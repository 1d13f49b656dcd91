import pytest
import torch

from lens.analysis import loss, padding
from lens.analysis.padding import padding_check


@pytest.mark.parametrize("side", ["left", "right"])
def test_pads_move_nothing(model, ragged, side):
    tokens, mask, texts = ragged(side)
    found = padding_check(model, tokens, mask)
    assert found.masked.shape == (3,)
    assert found.masked.max() < 1e-4
    assert found.attention == 0
    torch.testing.assert_close(found.loss, found.loss_alone, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        want = torch.stack([model(text[None], return_type="loss") for text in texts])
    torch.testing.assert_close(found.loss_alone, want, atol=1e-5, rtol=1e-5)
    assert found.scored.tolist() == [len(text) - 1 for text in texts]
    assert found.n_pads == 12 * 3 - sum(map(len, texts))


def test_without_the_mask_pads_on_the_left_are_read(model, ragged):
    tokens, mask, texts = ragged("left")
    found = padding_check(model, tokens, mask)
    with torch.no_grad():
        want = [(model(tokens)[row, -len(t) :] - model(t[None])[0]).abs().max() for row, t in enumerate(texts)]
    torch.testing.assert_close(found.unmasked, torch.stack(want), atol=1e-4, rtol=1e-4)
    assert found.unmasked[0] < 1e-4  # the longest text has no pad
    assert found.unmasked[1:].min() > 0.1


def test_pads_on_the_right_come_too_late_to_be_read(model, ragged):
    assert padding_check(model, *ragged("right")[:2]).unmasked.max() < 1e-4


def test_the_spread_is_that_of_the_logits(model, ragged):
    tokens, mask, texts = ragged("left")
    with torch.no_grad():
        want = torch.cat([model(t[None])[0] for t in texts]).var(-1).mean().sqrt()
    assert padding_check(model, tokens, mask).spread == pytest.approx(want.item(), rel=1e-4)


def test_attention_to_a_pad_would_be_seen(model, ragged):
    """The check itself: with every key visible, attention to the pads is far from 0."""
    tokens, mask, _ = ragged("left")
    peek = [(lambda name: name.endswith("hook_pattern"), lambda pattern, hook: torch.full_like(pattern, 0.25))]
    with model.hooks(fwd_hooks=peek):
        assert padding_check(model, tokens, mask).attention == 0.25


def test_chunks_change_nothing(model, ragged, monkeypatch):
    tokens, mask, _ = ragged("left")
    whole = padding_check(model, tokens, mask)
    monkeypatch.setattr(padding, "chunks", lambda n, d_vocab: loss.chunks(n, d_vocab, max_bytes=1))
    for a, b in zip(whole, padding_check(model, tokens, mask), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_text_of_one_token_has_no_loss(model):
    tokens, mask = torch.tensor([[3, 5, 7], [4, 2, 2]]), torch.tensor([[True, True, True], [True, False, False]])
    found = padding_check(model, tokens, mask)
    assert found.loss.isnan().tolist() == [False, True]
    assert found.scored.tolist() == [2, 0]
