"""The logit lens: its last row is the output, its first the embedding, its numbers those of the plain way."""

import pytest
import torch

from lens.analysis.answer.logit_lens import STRETCH, _top, logit_lens


@pytest.fixture
def tokens(model):
    torch.manual_seed(1)
    return torch.randint(model.cfg.d_vocab, (3, 9))


def test_the_last_row_is_the_output(model, tokens):
    target = tokens.roll(-1, 1)
    found = logit_lens(model, tokens, target)
    output = model(tokens).log_softmax(-1)
    torch.testing.assert_close(found.logprob[-1], output.gather(-1, target[..., None])[..., 0], atol=1e-5, rtol=0)
    assert found.kl[-1].abs().max() == 0
    assert found.logprob.shape == (model.cfg.n_layers + 1, 3, 9)


def test_each_row_is_the_stream_through_the_final_norm(model, tokens):
    found = logit_lens(model, tokens, tokens)
    _, cache = model.run_with_cache(tokens)
    final = model(tokens).log_softmax(-1)
    for layer in range(model.cfg.n_layers + 1):
        stream = cache["resid_pre", layer] if layer < model.cfg.n_layers else cache["resid_post", layer - 1]
        logits = model.unembed(model.ln_final(stream))
        own = logits.log_softmax(-1)
        aim = tokens[..., None]
        torch.testing.assert_close(found.logprob[layer], own.gather(-1, aim)[..., 0], atol=1e-5, rtol=0)
        torch.testing.assert_close(found.rank[layer], (logits > logits.gather(-1, aim)).sum(-1))
        torch.testing.assert_close(found.kl[layer], (final.exp() * (final - own)).sum(-1), atol=1e-5, rtol=0)
    assert found.kl[:-1].min() > 1e-3


def test_chunks_change_nothing(model, tokens):
    whole = logit_lens(model, tokens, tokens)
    for one, other in zip(whole, logit_lens(model, tokens, tokens, max_bytes=8 * 4 * model.cfg.d_vocab)):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("d_vocab", [1, 100, STRETCH, STRETCH + 1, 3 * STRETCH, 3 * STRETCH + 70])
def test_the_top_is_the_first_of_the_largest(d_vocab):
    logits = torch.randint(0, 40, (50, d_vocab), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(_top(logits), (logits == logits.amax(-1, keepdim=True)).long().argmax(-1))
    distinct = torch.randn(50, d_vocab, generator=torch.Generator().manual_seed(1))
    assert torch.equal(_top(distinct), distinct.argmax(-1))


def test_a_target_of_another_shape_is_refused(model, tokens):
    with pytest.raises(ValueError, match="one per token"):
        logit_lens(model, tokens, tokens[:, 1:])


def test_progress_can_stop_it(model, tokens):
    def stop(fraction: float, stage: str) -> None:
        raise InterruptedError(stage)

    with pytest.raises(InterruptedError, match="stream 0 of"):
        logit_lens(model, tokens, tokens, progress=stop)
