"""Which of several events of one training run came first, and how sure its sequences make that.

An event is the first checkpoint at which a score exceeds a threshold that was fixed beforehand, the rule of a birth.
What is resampled are the sequences on which the checkpoints are measured: the interval says how well this run's order
is known, not what another seed would do. For training the seed is the unit.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.special import ndtri, stdtrit  # not scipy.stats, which takes long to import
from torch import Tensor

from lens.analysis.checkpoint import OnRepeats, OnSequences, Setting
from lens.analysis.dynamics import thresholds
from lens.analysis.names import Head
from lens.analysis.phase_change import BORN_AT, Birth, birth
from lens.analysis.stats import DRAWS, LEVEL, bootstrap_weights
from lens.analysis.training_run import TrainingRun
from lens.analysis.verdicts import ALPHA, Verdict, exceeds

PREVIOUS, INDUCTION, LOSS, SINK = "previous", "induction", "loss", "sink"
PAIRS = ((PREVIOUS, INDUCTION), (INDUCTION, LOSS), (PREVIOUS, LOSS), (SINK, INDUCTION))
TITLES = {
    PREVIOUS: "previous-token head",
    INDUCTION: "induction head",
    LOSS: "loss drop",
    SINK: "attention sink",
}
SCORES = {
    PREVIOUS: "Attention to the token before, minus the largest of that to exactly 2, 3, 4 or 5 tokens back; the best "
    "head at each checkpoint.",
    INDUCTION: "Prefix-matching score minus its control; the best head at each checkpoint.",
    LOSS: "Share of the first copy's loss that the second copy saves, 1 − second / first.",
    SINK: "Share of queries with more than 0.3 of their attention on position 0; the best head at each checkpoint.",
}
ORDER_RULE = (
    "An event lies between the last checkpoint at which its score is below the threshold and the first above it; one "
    "threshold for all, each score being a share of the most that it can be. The order of two events is told only if "
    "it is the same in enough resamples of the sequences, spread as Student's t asks of so few "
    f"({ALPHA:.0%} in all may err, divided by the pairs that are asked). Where both fall between the same two "
    "checkpoints, which was first cannot be told."
)


class Event(NamedTuple):
    """One score over training. Its value at a checkpoint is the largest over candidates of the mean over sequences."""

    name: str
    samples: Float[Tensor, "checkpoint sequence candidate"]
    null: Float[Tensor, " checkpoint"]  # what chance reaches
    n_heads: int = 0  # of a layer, where candidates are heads; 0: there is one, the model

    @property
    def score(self) -> Float[Tensor, " checkpoint"]:
        """The best candidate at each checkpoint."""
        return self.samples.mean(1).amax(1)

    def head(self, place: int) -> Head | None:
        """The best head at one of the checkpoints; None where candidates are no heads."""
        if not self.n_heads:
            return None
        return Head(*divmod(int(self.samples[place].mean(0).argmax()), self.n_heads))


class Dated(NamedTuple):
    """When an event was, as places in the curve, and how sure its sequences make that."""

    name: str
    score: Float[Tensor, " checkpoint"]
    birth: Birth
    head: Head | None  # the best at the first checkpoint above the threshold
    earliest: int | None  # of the first checkpoint above it, in 95% of resamples; None where nothing is dated
    latest: int | None  # one past the last checkpoint: in some resamples never


class Order(NamedTuple):
    """Two events of one run: in which share of resamples ``first`` came before ``second``, and what that allows."""

    first: str
    second: str
    before: float
    after: float
    same: float  # between the same two checkpoints, or not both there
    verdict: Verdict  # "found": the order can be told; "none": an event is not there; "unknown": it cannot be told

    @property
    def is_before(self) -> bool:
        """Which of the two it is, where the order is found."""
        return self.before > self.after


class Orders(NamedTuple):
    """All events of one run and the pairs that were asked."""

    events: tuple[Dated, ...]
    pairs: tuple[Order, ...]
    threshold: float
    n: int  # sequences
    level: float  # the share of resamples that an order needs


def events_of(repeats: Mapping[int, OnRepeats], sinks: Mapping[int, OnSequences] | None = None) -> list[Event]:
    """The events of a run, from what was measured at its checkpoints, by index; sinks where they are measured at all.

    What chance reaches: of induction its control, of sinks an even pattern; of the others, which have their comparison
    inside them and so are about 0 where nothing is there, what the choice of sequences can do to their mean.
    """
    each = OnRepeats(*(torch.stack(column) for column in zip(*(repeats[i] for i in sorted(repeats)), strict=True)))
    n_heads = each.induction.shape[-1]
    steady = (each.previous - each.previous_null).flatten(2)
    saved = ((each.first_copy - each.second_copy) / each.first_copy.mean(1, keepdim=True))[..., None]
    events = [
        Event(PREVIOUS, steady, _spread(steady), n_heads),
        Event(INDUCTION, (each.induction - each.induction_control).flatten(2), thresholds(each.induction_control),
              n_heads),
        Event(LOSS, saved, _spread(saved)),
    ]  # fmt: skip
    if sinks is not None and set(repeats) <= set(sinks):
        score = torch.stack([sinks[i].score for i in sorted(repeats)]).flatten(2)
        uniform = torch.stack([sinks[i].uniform for i in sorted(repeats)])
        events.append(Event(SINK, score, uniform, n_heads))
    return events


def order_of_events(
    events: Sequence[Event],
    threshold: float = BORN_AT,
    seed: int = 0,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    draws: int = DRAWS,
) -> Orders:
    """Every event dated, and the order of those ``pairs`` whose events are both given.

    Every event sees the same resamples of the sequences, at every checkpoint, so what they share does not blur them.
    """
    n = events[0].samples.shape[1]
    asked = [pair for pair in pairs if set(pair) <= {event.name for event in events}]
    level = 1 - ALPHA / 2 / max(1, len(asked))  # either of two may seem the earlier by chance
    first = {event.name: resampled(event, threshold, seed, draws, _wider(n, level)) for event in events}
    dated = {event.name: _dated(event, first[event.name], threshold) for event in events}
    orders = tuple(_order([dated[name] for name in pair], [first[name] for name in pair], level) for pair in asked)
    return Orders(tuple(dated.values()), orders, threshold, n, level)


def order_of_run(
    repeats: Mapping[int, OnRepeats],
    sinks: Mapping[int, OnSequences] | None = None,
    threshold: float = BORN_AT,
    seed: int = 0,
) -> Orders:
    """:func:`order_of_events` of what was measured at the checkpoints of one run."""
    return order_of_events(events_of(repeats, sinks), threshold, seed)


def event_dynamics(
    run: TrainingRun,
    setting: Setting | None = None,
    threshold: float = BORN_AT,
    indices: Sequence[int] | None = None,
) -> Orders:
    """The events of a run in order, sinks among them; a checkpoint that is not finite is left out. Kept on disk."""
    setting = setting or Setting()
    chosen = range(len(run.checkpoints)) if indices is None else indices
    repeats = {index: run.measure(index, setting, texts=False).repeats for index in chosen}
    sinks = {index: run.sequences(index, SINK, setting).scores for index in chosen}
    finite = [index for index in chosen if repeats[index] is not None and sinks[index] is not None]
    return order_of_run(
        {index: repeats[index] for index in finite}, {index: sinks[index] for index in finite}, threshold, setting.seed
    )


def resampled(
    event: Event, threshold: float, seed: int = 0, draws: int = DRAWS, wider: float = 1.0
) -> Int[Tensor, " draw"]:
    """Place of the first checkpoint above the threshold in each resample of the sequences; past the end: never.

    ``wider``: by which factor a resample lies farther from the sample than its own draw would have it.
    """
    weights = bootstrap_weights(event.samples.shape[1], draws, seed)
    above = []
    for samples in event.samples.double():
        mean = samples.mean(0)
        means = mean + wider * (weights @ samples - mean)
        above.append(exceeds(means.amax(1), threshold, torch.float32))
    return torch.stack([*above, torch.ones(draws, dtype=torch.bool)]).int().argmax(0)


def _wider(n: int, level: float) -> float:
    """Resamples of few sequences lie too close together: by how much, at this level, for a mean of normal numbers.

    Their variance is divided by n, not n − 1, and their tails are not Student's.
    """
    return 1.0 if n < 2 else float(stdtrit(n - 1, level) / ndtri(level)) * (n / (n - 1)) ** 0.5


def _dated(event: Event, first: Int[Tensor, " draw"], threshold: float) -> Dated:
    born = birth(event.score, threshold, event.null, event.samples.shape[1])
    if born.first_above is None:
        return Dated(event.name, event.score, born, None, None, None)
    tail = (1 - LEVEL) / 2
    ends = np.quantile(first.numpy(), [tail, 1 - tail], method="inverted_cdf")
    return Dated(event.name, event.score, born, event.head(born.first_above), *map(int, ends))


def _order(events: Sequence[Dated], first: Sequence[Int[Tensor, " draw"]], level: float) -> Order:
    one, other = first
    never = len(events[0].score)
    both = (one < never) & (other < never)
    before, after = (float((both & here).double().mean()) for here in (one < other, other < one))
    lacking = [event for event in events if event.birth.first_above is None]
    if lacking:
        states = [event.birth.state for event in lacking]
        reason = "; ".join(f"{TITLES[event.name]}: {event.birth.reason}" for event in lacking)
        verdict = Verdict("none" if "none" in states else "unknown", reason)
    elif max(before, after) >= level:
        verdict = Verdict("found", f"the same order in {max(before, after):.1%} of the resamples")
    else:
        verdict = Verdict("unknown", f"the intervals overlap: neither order holds in {level:.1%} of the resamples")
    return Order(*(event.name for event in events), before, after, 1 - before - after, verdict)


def _spread(samples: Float[Tensor, "checkpoint sequence candidate"]) -> Float[Tensor, " checkpoint"]:
    """How far a mean over the sequences may lie off by their choice: of all candidates the largest, in 95%."""
    return thresholds(samples - samples.mean(1, keepdim=True)) / samples.shape[1] ** 0.5
