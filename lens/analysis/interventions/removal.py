"""One head removed on repeats: what the second copy costs without it, and whether the model needs it to repeat."""

from typing import Any, NamedTuple

from jaxtyping import Float
from torch import Tensor

from lens.analysis.induction_loss import uses_repetition
from lens.analysis.interventions.ablation import Cells, Target, ablation, cells_of, share_of_gap
from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.results import Share, Sweep, effect, gap_of
from lens.analysis.interventions.tasks import induction_on
from lens.analysis.random_tokens import RepeatedTokens
from lens.analysis.verdicts import Verdict, mean_over_pairs
from lens.arrays import as_tensor

NEGLIGIBLE = 0.01  # of what the repetition saves, and at least of 1 nat: less is nothing, whatever the interval says


class Removal(NamedTuple):
    """The change of the loss of the second copy without the head, nats, and what it is held against."""

    change: float
    low: float | None
    high: float | None
    others: Float[Tensor, " head"]  # the same for the controls
    base: float  # the loss with it
    saved: float  # loss in the control run, where nothing repeats, minus ``base``
    share: Share | None  # of that, by the head; None unless the two runs differ
    n: int
    note: str  # how the interval was made, or why there is none
    repeats: Verdict  # whether the model uses the repetition at all

    @property
    def least(self) -> float:
        """A change up to this size is nothing, nats."""
        return NEGLIGIBLE * max(1.0, abs(self.saved))

    @property
    def verdict(self) -> Verdict:
        """Whether the model needs the head to repeat; it can need it only if it repeats."""
        if self.low is None or self.repeats.state == "unknown":
            return Verdict("unknown", "Too few sequences for an interval: no verdict.")
        if not self.repeats.found:
            return Verdict("none", f"There is nothing it could need it for: the model {self.repeats.reason}.")
        if self.low > self.least:
            return Verdict("found", "The model needs it to repeat.")
        if self.high < -self.least:
            return Verdict("none", "The model repeats better without it.")
        if abs(self.change) <= self.least:
            return Verdict("none", f"Less than {self.least:.2g} nats is nothing: the model repeats as well without it.")
        return Verdict("none", "The interval reaches what counts as nothing: it cannot be said to matter.")


def removal_of(cfg: Any, repeated: RepeatedTokens, head: tuple[int, int], seed: int) -> tuple[Cells, Experiment]:
    """The head, then its controls, and the sweep that removes each of them."""
    task, cells = induction_on(repeated), cells_of(cfg, Target((head,)), seed)
    return cells, ablation(task.pairs, task.metric, cells)


def read_removal(sweep: Sweep, first_copy: Float[Tensor, " sequence"], seed: int = 0) -> Removal:
    """What a finished sweep says; ``first_copy`` is the loss of the first copy of each sequence, nats."""
    found, pairs = effect(sweep, seed), sweep.experiment.pairs
    ends = (None, None) if found.low is None else (float(found.low[0]), float(found.high[0]))
    base, other = as_tensor(sweep.base), as_tensor(sweep.other)
    savings = (mean_over_pairs(one - base, pairs, seed) for one in (as_tensor(first_copy), other))
    return Removal(
        float(found.value[0]),
        *ends,
        others=found.value[1:],
        base=float(base.mean()),
        saved=gap_of(sweep, seed).mean,
        share=share_of_gap(sweep, 0, seed),
        n=found.n,
        note=found.note,
        repeats=uses_repetition(*savings),
    )
