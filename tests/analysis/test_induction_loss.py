import math

import pytest
import torch

from lens.analysis.induction_loss import (
    RepeatLosses,
    join_losses,
    loss_by_position,
    repeat_losses,
    repeat_losses_of,
    repetition,
    summarise_repeats,
)
from lens.analysis.random_tokens import repeated_tokens

N = 7


@pytest.mark.parametrize("bos", [0, 1])
def test_copies_are_the_same_tokens_read_by_plain_loops(model, bos):
    repeated = repeated_tokens(model, N, prepend_bos=bool(bos))
    found = loss_by_position(model, repeated)
    with torch.no_grad():
        logprobs, control = (model(tokens).log_softmax(-1) for tokens in (repeated.tokens, repeated.control))

    def mean(logprobs, tokens, start):
        about = range(start + 1, start + N)  # tokens 2 … n of a copy that starts there
        return torch.stack([-logprobs[torch.arange(16), p - 1, tokens[:, p]] for p in about]).mean(0)

    close = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(found.first_copy, mean(logprobs, repeated.tokens, bos), **close)
    torch.testing.assert_close(found.second_copy, mean(logprobs, repeated.tokens, bos + N), **close)
    torch.testing.assert_close(found.control_second, mean(control, repeated.control, bos + N), **close)
    torch.testing.assert_close(found.saving.mean, (found.first_copy - found.second_copy).mean(), **close)
    assert found.positions == list(range(1, bos + 2 * N))
    assert found.repeated.mean.shape == found.control.low.shape == (len(found.positions),)
    for t, position in enumerate(found.positions):
        want = -logprobs[torch.arange(16), position - 1, repeated.tokens[:, position]].mean()
        assert found.repeated.mean[t] == pytest.approx(want.item(), abs=1e-5)


def test_before_the_second_copy_repeats_and_control_are_equal(grouped):
    found = loss_by_position(grouped, repeated_tokens(grouped, N))
    torch.testing.assert_close(found.repeated.mean[:N], found.control.mean[:N], atol=1e-5, rtol=0)
    assert not torch.allclose(found.repeated.mean[N:], found.control.mean[N:], atol=1e-2)
    assert found.ln_n == pytest.approx(math.log(N))
    assert found.ln_set == pytest.approx(math.log(96))


def test_few_sequences_give_points_without_interval(grouped):
    assert loss_by_position(grouped, repeated_tokens(grouped, N, 3)).second.low is None


def test_smollm2_copies(smollm2):
    found = loss_by_position(smollm2, repeated_tokens(smollm2))
    assert found.first.mean > 10
    assert found.second.high < found.ln_n
    assert found.control_second.mean() > 10
    assert found.saving.low > 0


def test_parts_of_the_sequences_are_the_whole(grouped):
    repeated = repeated_tokens(grouped, N, 5, seed=3)
    whole = repeat_losses(grouped, repeated)
    parts = [repeat_losses_of(rows, grouped, N, 3, True) for rows in ((0, 2), (2, 4), (4, 5))]
    for a, b in zip(whole, join_losses(parts), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def by_hand(second: float, control: float, n_seqs: int = 16):
    """Losses of 2 nats everywhere but on the second copies of [BOS] r₁…r₄ r₁…r₄."""
    repeated, other = torch.full((n_seqs, 8), 2.0), torch.full((n_seqs, 8), 2.0)
    repeated[:, 5:], other[:, 5:] = second, control
    return summarise_repeats(RepeatLosses(repeated, other), n=4, bos=1, seed=0, set_size=100)


def test_what_a_model_makes_of_a_repetition():
    order = repetition(by_hand(0.5, 2.0))
    assert (order.verdict.state, order.control, order.needs_order) == ("found", 2.0, True)
    some = repetition(by_hand(1.5, 2.0))  # above ln 4 = 1.386
    assert (some.verdict.state, some.needs_order) == ("found", False)
    assert repetition(by_hand(2.0, 2.0)).verdict.state == "none"
    assert repetition(by_hand(0.5, 2.0, n_seqs=3)).verdict.state == "unknown"
