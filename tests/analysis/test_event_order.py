"""The order of events of a run, on scores made by hand."""

import pytest
import torch

from lens.analysis.checkpoint import OnRepeats, OnSequences
from lens.analysis.event_order import (
    INDUCTION,
    LOSS,
    PREVIOUS,
    SINK,
    Event,
    events_of,
    order_of_events,
    resampled,
)
from lens.analysis.names import Head

EARLY = [0.0, 0.02, 0.3, 0.6, 0.8, 0.9]
LATE = [0.0, 0.0, 0.01, 0.02, 0.4, 0.9]


def event(name: str, curve: list[float], noise: float = 0.0, n: int = 16, null: float = 0.03, seed: int = 0) -> Event:
    """A score with this mean at each checkpoint, the same up to ``noise`` on all sequences; no other candidate."""
    draws = torch.randn(len(curve), n, 1, generator=torch.Generator().manual_seed(seed))
    samples = torch.tensor(curve)[:, None, None] + noise * (draws - draws.mean(1, keepdim=True))
    return Event(name, samples, torch.full((len(curve),), null))


def order(*events: Event, **rest):
    (pair,) = order_of_events(events, pairs=[(events[0].name, events[1].name)], **rest).pairs
    return pair


def test_what_is_clearly_earlier_is_said_to_be():
    found = order(event(PREVIOUS, EARLY), event(INDUCTION, LATE))
    assert (found.verdict.state, found.is_before, found.before, found.same) == ("found", True, 1.0, 0.0)
    turned = order(event(INDUCTION, LATE), event(PREVIOUS, EARLY))
    assert (turned.verdict.state, turned.is_before, turned.after) == ("found", False, 1.0)


def test_between_the_same_two_checkpoints_nobody_is_first():
    found = order(event(PREVIOUS, EARLY), event(INDUCTION, [0.0, 0.05, 0.9, 0.9, 0.9, 0.9]))
    assert (found.verdict.state, found.before, found.after, found.same) == ("unknown", 0.0, 0.0, 1.0)


def test_an_order_that_hangs_on_the_sequences_cannot_be_told():
    close = [0.0, 0.02, 0.1005, 0.6, 0.8, 0.9]
    found = order(event(PREVIOUS, close, noise=0.05), event(INDUCTION, [0.0, 0.02, 0.08, 0.6, 0.8, 0.9], noise=0.001))
    assert found.verdict.state == "unknown"
    assert 0.2 < found.before < 0.8
    assert "the intervals overlap" in found.verdict.reason


def test_an_event_that_is_not_there_has_no_order():
    found = order(event(PREVIOUS, EARLY), event(INDUCTION, [0.0] * 6))
    assert found.verdict.state == "none"
    assert "induction head: the score stays below 0.1" in found.verdict.reason
    unknown = order(event(PREVIOUS, EARLY), event(INDUCTION, LATE, null=0.2))
    assert unknown.verdict.state == "unknown"
    assert "lies within chance" in unknown.verdict.reason
    assert order(event(PREVIOUS, EARLY, n=8), event(INDUCTION, LATE, n=8)).verdict.state == "unknown"


def test_what_is_there_from_the_first_checkpoint_is_earlier_than_what_comes():
    found = order_of_events([event(SINK, [0.5] * 6), event(INDUCTION, LATE)])
    assert found.pairs[0].verdict.found
    assert (found.events[0].birth.last_below, found.events[0].birth.first_above) == (None, 0)


def test_the_interval_of_the_resamples_holds_the_birth():
    noisy = event(INDUCTION, [0.0, 0.05, 0.095, 0.105, 0.3, 0.5], noise=0.04)
    (dated,) = order_of_events([noisy]).events
    assert dated.birth.first_above == 3
    assert dated.earliest < 3 <= dated.latest
    first = resampled(noisy, 0.1)
    assert torch.equal(first, resampled(noisy, 0.1))
    assert not torch.equal(first, resampled(noisy, 0.1, seed=1))
    centre, far = (resampled(noisy, 0.1, wider=wider).double().std() for wider in (0.0, 2.0))
    assert centre == 0 < first.double().std() < far
    never = resampled(event(INDUCTION, [0.0] * 6), 0.1, draws=5)
    assert never.tolist() == [6] * 5


def test_more_pairs_ask_for_more():
    few, all_of_them = (
        order_of_events([event(name, EARLY) for name in names])
        for names in ((PREVIOUS, INDUCTION), (PREVIOUS, INDUCTION, LOSS, SINK))
    )
    assert (len(few.pairs), len(all_of_them.pairs)) == (1, 4)
    assert few.level == pytest.approx(0.975)
    assert all_of_them.level == pytest.approx(0.99375)


def test_the_events_of_a_run_are_its_scores():
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(16, *shape, generator=generator)

    repeats = {i: OnRepeats(*(rand(2, 3) for _ in range(4)), 5 + rand(), 3 + rand()) for i in (4, 1, 7)}
    sinks = {i: OnSequences(rand(2, 3), rand(2, 3), torch.tensor(0.04)) for i in repeats}
    events = {one.name: one for one in events_of(repeats, sinks)}
    first = repeats[1]
    induction = (first.induction - first.induction_control).mean(0)
    torch.testing.assert_close(events[INDUCTION].score[0], induction.max())
    assert events[INDUCTION].head(0) == Head(*divmod(int(induction.argmax()), 3))
    torch.testing.assert_close(events[PREVIOUS].score[0], (first.previous - first.previous_null).mean(0).max())
    saved = 1 - repeats[7].second_copy.mean() / repeats[7].first_copy.mean()
    torch.testing.assert_close(events[LOSS].score[2], saved)
    assert events[LOSS].head(2) is None
    torch.testing.assert_close(events[SINK].score[1], sinks[4].score.mean(0).max())
    assert [one.name for one in events_of(repeats)] == [PREVIOUS, INDUCTION, LOSS]
    del sinks[4]
    assert SINK not in {one.name for one in events_of(repeats, sinks)}
