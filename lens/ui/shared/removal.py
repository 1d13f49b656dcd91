"""One head removed on repeats, beside other heads of its layer: what it says."""

from typing import Any

import numpy as np

from lens.analysis.induction_loss import first_copy_losses
from lens.analysis.interventions import Sweep
from lens.analysis.interventions.removal import Removal, read_removal, removal_of
from lens.figures.theme import number
from lens.ui.calls import analyse
from lens.ui.pages.ablation import words
from lens.ui.store import to_torch

DEFINITION = (
    "Loss of the second copy without the head minus with it. Without: its output is that of a run whose first copy is "
    "of other tokens, so that nothing repeats (resample ablation)."
)
STATES = {"found": "found", "none": "none", "unknown": ""}
__all__ = ["DEFINITION", "Removal", "removal", "removal_of", "signed", "state", "told"]


def removal(model: Any, repeated: Any, sweep: Sweep, seed: int) -> Removal:
    """What a finished sweep says, beside the loss of the first copy."""
    return read_removal(sweep, to_torch(analyse(first_copy_losses, model, repeated)), seed)


def state(found: Removal) -> str:
    """Whether the model needs it, as a link of the chain: "found", "none", or "" without a verdict."""
    return STATES[found.verdict.state]


def told(found: Removal) -> str:
    """All of it in sentences."""
    text = (
        "With its output taken from a run whose first copy is of other tokens, the loss of the second copy goes "
        f"from {number(found.base)} to {number(found.base + found.change)} nats: {signed(found.change)}"
        f"{words.interval(found.low, found.high)}"
    )
    text += ". " if found.share is None else f", {words.percent(found.share.value)} of the way to the control run. "
    if len(found.others):
        others = np.asarray(found.others)
        ends = f"{signed(float(others.min()))} to {signed(float(others.max()))}"
        as_much = int((np.abs(others) >= abs(found.change)).sum())
        text += f"Removed alike, {len(others)} other heads of its layer change it by {ends}"
        text += f"; {as_much} of them do as much. " if abs(found.change) > found.least else ". "
    if found.repeats.found:
        text += f"The repetition saves {number(found.saved)} in all; "
    return f"{text}n = {found.n} sequences. {found.verdict.reason}"


def signed(change: float) -> str:
    """A change in nats, with its sign."""
    return number(change) if change < 0 else f"+{number(change)}"
