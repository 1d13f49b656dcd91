import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lens.analysis import streaming
from lens.analysis.loss import next_token_stats, per_token, share_of_most_surprising, summarise
from tests.analysis.shaken import make_model


@pytest.fixture
def tokens():
    return torch.randint(1, 90, (3, 11), generator=torch.Generator().manual_seed(1))


def test_everything_equals_the_naive_way(model, tokens):
    with torch.no_grad():
        logits = model(tokens)
    found = next_token_stats(model, tokens, top_k=4)
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(3, 10)
    torch.testing.assert_close(found.loss[:, :-1], loss, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.prob[:, :-1], (-loss).exp(), atol=1e-6, rtol=1e-5)
    order = logits.argsort(-1, descending=True)
    rank = (order[:, :-1] == tokens[:, 1:, None]).int().argmax(-1)
    assert torch.equal(found.rank[:, :-1], rank)
    probs = logits.softmax(-1)
    torch.testing.assert_close(found.entropy, -(probs * probs.log()).sum(-1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.top_prob, probs.topk(4).values, atol=1e-6, rtol=1e-5)
    assert torch.equal(found.top, order[..., :4])


def test_nothing_follows_the_last_token(model, tokens):
    found = next_token_stats(model, tokens)
    assert found.loss[:, -1].isnan().all()
    assert (found.rank[:, -1] == -1).all()
    assert found.entropy.isfinite().all()
    assert not found.scored[:, -1].any()
    assert found.scored[:, :-1].all()


def test_chunks_change_nothing_and_stay_within_the_budget(model, tokens):
    whole, budget = next_token_stats(model, tokens), 4 * model.cfg.d_vocab * 7
    largest = []
    with model.hooks(fwd_hooks=[("ln_final.hook_normalized", lambda x, hook: largest.append(x.shape[0] * x.shape[1]))]):
        parts = next_token_stats(model, tokens, max_bytes=budget)
    assert max(largest) == 7
    for a, b in zip(whole, parts):
        torch.testing.assert_close(a, b, equal_nan=True, atol=1e-5, rtol=1e-5)


def test_ties_count_only_what_is_strictly_larger():
    model = make_model()
    with torch.no_grad():
        model.unembed.W_U.zero_()
        model.unembed.b_U.copy_(torch.tensor([2.0] * 3 + [1.0] * 94))
    found = next_token_stats(model, torch.tensor([[1, 2, 50, 60]]))
    assert found.rank[0].tolist() == [0, 3, 3, -1]
    assert found.tied[0].tolist() == [2, 93, 93, -1]
    assert summarise(found).accuracy == pytest.approx(1 / 3 / 3)  # one of three is on top, with two others


def test_equal_logits_are_no_right_guess():
    model = make_model()
    with torch.no_grad():
        model.unembed.W_U.zero_()
        model.unembed.b_U.zero_()
    found = summarise(next_token_stats(model, torch.tensor([[1, 2, 50, 60]])))
    assert found.accuracy == pytest.approx(1 / model.cfg.d_vocab)


def test_batches_change_nothing(model, tokens, monkeypatch):
    whole = next_token_stats(model, tokens)
    monkeypatch.setattr(streaming, "TOKENS", 2 * tokens.shape[1])
    for a, b in zip(whole, next_token_stats(model, tokens), strict=True):
        torch.testing.assert_close(a, b, equal_nan=True, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(model, ragged, side):
    tokens, mask, texts = ragged(side)
    found = next_token_stats(model, tokens, mask, top_k=3)
    for row, text in enumerate(texts):
        want = next_token_stats(model, text[None], top_k=3)
        for a, b in zip(found, want):
            torch.testing.assert_close(a[row, mask[row]], b[0], equal_nan=True, atol=1e-5, rtol=1e-5)
    assert found.loss[~mask].isnan().all()
    assert found.entropy[~mask].isnan().all()
    assert (found.top[~mask] == -1).all()
    assert summarise(found).n == sum(len(text) - 1 for text in texts)


def test_summary(model, tokens):
    found = next_token_stats(model, tokens)
    line = summarise(found)
    assert line.mean_loss == pytest.approx(model(tokens, return_type="loss").item(), abs=1e-5)
    assert line.perplexity == pytest.approx(torch.tensor(line.mean_loss).exp().item(), rel=1e-5)
    assert line.accuracy == pytest.approx((found.rank[:, :-1] == 0).float().mean().item())
    assert line.n == 30
    with pytest.raises(ValueError, match="no token is predicted"):
        summarise(next_token_stats(model, tokens[:, :1]))
    with pytest.raises(ValueError, match="top_k=98"):
        next_token_stats(model, tokens, top_k=98)


def test_progress_goes_through_the_layers_and_can_stop_there(model, tokens):
    seen = []
    next_token_stats(model, tokens[:1], max_bytes=4 * model.cfg.d_vocab, progress=lambda x, stage: seen.append(x))
    assert seen == sorted(seen)
    assert len(seen) == model.cfg.n_layers + 11 + 1  # layers, one chunk per position, the end
    assert seen[-1] == 1

    def stop(fraction, stage):
        if fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next_token_stats(model, tokens, progress=stop)
    torch.testing.assert_close(next_token_stats(model, tokens), next_token_stats(model, tokens), equal_nan=True)


def test_the_most_surprising_tokens_hold_their_share_of_the_loss():
    loss = torch.tensor([torch.nan, 1.0, 4.0, 0.0, 3.0, 2.0])
    assert share_of_most_surprising(loss, 2) == pytest.approx(0.7)
    assert share_of_most_surprising(loss, 9) == 1


def test_per_token_numbers_stand_at_the_token_they_are_about(tiny):
    tokens = tiny.to_tokens("The cat sat on the mat.")
    stats = next_token_stats(tiny, tokens)
    by = per_token(stats)
    np.testing.assert_array_equal(by.loss[1:], stats.loss[0, :-1])
    np.testing.assert_array_equal(by.rank[1:], stats.rank[0, :-1])
    assert np.isnan([by.loss[0], by.prob[0], by.entropy[0]]).all()
    assert (by.rank[0], by.tied[0], by.is_guess[0]) == (-1, -1, False)
    assert by.worst[0] == 1 + int(stats.loss[0, :-1].argmax())
