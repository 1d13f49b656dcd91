"""One head removed on repeats, beside other heads of its layer: what is run, and what it says."""

from typing import Any, NamedTuple

import numpy as np

from lens.analysis.interventions import Experiment, Sweep, effect
from lens.analysis.interventions.ablation import Cells, Target, ablation, cells_of, share_of_gap
from lens.analysis.interventions.tasks import induction_on
from lens.figures.theme import number
from lens.ui.pages.ablation import words

DEFINITION = (
    "Loss of the second copy without the head minus with it. Without: its output is that of a run whose first copy is "
    "of other tokens, so that nothing repeats (resample ablation)."
)


class Removal(NamedTuple):
    """The change of the loss without the head, nats, and what it is held against."""

    change: float
    low: float | None
    high: float | None
    others: np.ndarray  # the same for the controls [head]
    base: float  # the loss with it
    saved: float  # what the repetition saves in all
    share: float | None  # of that, by the head; None if it saves next to nothing
    n: int
    note: str  # how the interval was made, or why there is none

    @property
    def state(self) -> str:
        """Whether the model needs it: "found", "none", or "" without an interval."""
        return self._verdict()[0]

    @property
    def signed(self) -> str:
        """The change with its sign."""
        return signed(self.change)

    def told(self) -> str:
        """All of it in sentences."""
        text = (
            "With its output taken from a run whose first copy is of other tokens, the loss of the second copy goes "
            f"from {number(self.base)} to {number(self.base + self.change)} nats: {self.signed}"
            f"{words.interval(self.low, self.high)}"
        )
        text += ". " if self.share is None else f", {words.percent(self.share)} of the way to the control run. "
        if len(self.others):
            ends = f"{signed(float(self.others.min()))} to {signed(float(self.others.max()))}"
            as_much = int((np.abs(self.others) >= abs(self.change)).sum())
            text += f"Removed alike, {len(self.others)} other heads of its layer change it by {ends}; {as_much} of "
            text += "them do as much. "
        text += f"The repetition saves {number(self.saved)} in all; n = {self.n} sequences. "
        return text + self._verdict()[1]

    def _verdict(self) -> tuple[str, str]:
        least = words.NEGLIGIBLE * max(1.0, abs(self.saved))
        if self.low is None:
            return "", "Too few sequences for an interval: no verdict."
        if self.low > least:
            return "found", "The model needs it to repeat."
        if self.high < -least:
            return "none", "The model repeats better without it."
        if abs(self.change) <= least:
            return "none", f"Less than {number(least)} nats is nothing: the model repeats as well without it."
        return "none", "The interval reaches what counts as nothing: it cannot be said to matter."


def removal_of(cfg: Any, repeated: Any, head: tuple[int, int], seed: int) -> tuple[Cells, Experiment]:
    """The head, then its controls, and the sweep that removes each of them."""
    task, cells = induction_on(repeated), cells_of(cfg, Target((head,)), seed)
    return cells, ablation(task.pairs, task.metric, cells)


def read_removal(sweep: Sweep, seed: int) -> Removal:
    """What a finished sweep says."""
    found = effect(sweep, seed)
    values = np.asarray(found.value)
    ends = (None, None) if found.low is None else (float(found.low[0]), float(found.high[0]))
    base, saved = float(sweep.base.mean()), float(sweep.other.mean() - sweep.base.mean())
    change = float(values[0])
    return Removal(change, *ends, values[1:], base, saved, share_of_gap(change, sweep), found.n, found.note)


def signed(change: float) -> str:
    """A change in nats, with its sign."""
    return number(change) if change < 0 else f"+{number(change)}"
