"""What repetition saves: the loss on repeated random tokens by position, as Tokens and Head scores draw it."""

from typing import TYPE_CHECKING

import numpy as np

from lens.analysis.counts import counted
from lens.analysis.induction_loss import InductionLoss, RepeatLosses, join_losses, repetition
from lens.analysis.stats import Estimate
from lens.figures.lines import Line, repeat_loss
from lens.ui.store import to_torch

if TYPE_CHECKING:
    import plotly.graph_objects as go

AT_ONCE = 1024  # tokens read between two drawings of the chart
MISREADING = (
    "A drop at the second copy shows that the model uses the repetition, not which heads do it: see the page of head "
    "scores. The drop at the copy's first token is no failure to copy, for nothing announces that the repeat begins."
)


def blocks(n_seqs: int, n: int) -> list[tuple[int, int]]:
    """The sequences in parts (first, last + 1) that are read between two drawings."""
    size = max(1, AT_ONCE // (4 * n))
    return [(start, min(start + size, n_seqs)) for start in range(0, n_seqs, size)]


def join(done: dict[tuple[int, int], RepeatLosses]) -> RepeatLosses:
    """The parts of the sequences that are read, one after the other."""
    return join_losses(to_torch(list(done.values())))


def figure(losses: InductionLoss) -> "go.Figure":
    """Loss by position of the repeated sequences and of their control, with intervals where there are."""
    n = (len(losses.positions) + 1) // 2

    def line(name: str, value: Estimate, dash: str | None = None) -> Line:
        return Line(name, *(None if y is None else _from_first(y, 2 * n) for y in value[:3]), dash=dash)

    curves = [line("repeated", losses.repeated), line("control: other random tokens", losses.control, "dot")]
    return repeat_loss(curves, n, n_sampled=round(np.exp(losses.ln_set)))


def notice(losses: InductionLoss, n: int) -> str:
    """What the chart shows, in its numbers."""

    def spoken(estimate: Estimate) -> str:
        bounds = "" if estimate.low is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
        return f"{estimate.mean:.2f}{bounds}"

    effect = repetition(losses)
    text = (
        f"The second copy loses {spoken(losses.second)} nats a token, the same tokens the first time "
        f"{spoken(losses.first)}; {n} other random tokens in its place lose {effect.control:.2f}. "
    )
    if effect.verdict.state == "unknown":
        return f"{text}With {counted(losses.second.n, 'sequence')} it cannot be said whether it uses the repetition."
    if not effect.verdict.found:
        return f"{text}This model {effect.verdict.reason}."
    saved = f"Repetition saves {spoken(losses.saving)} nats, and {spoken(losses.over_control)} beside the control. "
    if effect.needs_order:
        reason = "the model must know which token follows which, not only which ones occurred"
        return f"{text}{saved}That is below ln {n} = {losses.ln_n:.2f}: {reason}."
    return (
        f"{text}{saved}It stays above ln {n} = {losses.ln_n:.2f}: knowing which tokens occurred would explain as much."
    )


def _from_first(y: np.ndarray, width: int) -> np.ndarray:
    """Losses of tokens 1 … 2n: without BOS nothing predicts the first."""
    return np.concatenate([np.full(width - len(y), np.nan, np.float32), y])
