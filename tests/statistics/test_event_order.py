"""A run of models of random weights has no order of events more often than is said."""

import pytest
import torch

from lens.analysis.checkpoint import measure_repeats
from lens.analysis.event_order import INDUCTION, PREVIOUS, Event, Orders, events_of, order_of_events
from lens.analysis.random_tokens import repeated_tokens
from tests.statistics.random_models import KINDS, SEEDS
from tests.statistics.rates import check_rate

CHECKPOINTS = 4  # of a run that learns nothing: each is drawn anew


def orders(kind: str, seed: int) -> Orders:
    """The events of a run whose checkpoints are models of random weights."""
    models = [KINDS[kind](100 * seed + index) for index in range(CHECKPOINTS)]
    repeated = repeated_tokens(models[0], 12, 16, seed, True)
    return order_of_events(events_of({i: measure_repeats(model, repeated) for i, model in enumerate(models)}))


@pytest.mark.statistics
@pytest.mark.parametrize("kind", KINDS)
def test_random_weights_have_no_order_of_events(kind):
    with torch.no_grad():
        found = [orders(kind, seed) for seed in SEEDS]
    check_rate([any(pair.verdict.found for pair in one.pairs) for one in found])


@pytest.mark.statistics
@pytest.mark.parametrize("noise", [0.05, 0.1, 0.2])
def test_two_events_at_the_same_time_are_seldom_ordered(noise):
    generator = torch.Generator().manual_seed(0)
    curve, null = torch.linspace(0.02, 0.3, 20), torch.full((20,), 0.05)

    def event(name: str) -> Event:
        of_sequence, own = (torch.randn(size, 16, 1, generator=generator) for size in (1, 20))
        return Event(name, curve[:, None, None] + noise * (of_sequence + 0.3 * own), null)

    pairs = [order_of_events([event(PREVIOUS), event(INDUCTION)], draws=1000).pairs[0] for _ in range(200)]
    check_rate([pair.verdict.found for pair in pairs])
