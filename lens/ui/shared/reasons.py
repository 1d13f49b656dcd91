"""Why a head looks where it does, as the chain and its page ask: the repeats' stripe, or one cell of the prompt."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lens.analysis.answer.head_inputs import Write, why_not_a_sum
from lens.analysis.answer.mechanism import Kinds, Mechanism, Side, has_shares, kinds_of, mechanism, side_of
from lens.analysis.answer.reasons import Reasons, stripe_reasons
from lens.analysis.score_summary import standing
from lens.figures.bars import Bar
from lens.ui.calls import analyse, is_kept
from lens.ui.estimate import forward_seconds
from lens.ui.once import once
from lens.ui.shared.repeats import Sample
from lens.ui.store import to_torch

if TYPE_CHECKING:
    import torch

    from lens.analysis.names import Head
    from lens.analysis.stats import Estimate
    from lens.hooked import HookedTransformer

SCORE = "induction"
WAIT = 5.0  # estimated seconds above which it waits for a click
DRAWN = 7  # writes that have a bar of their own; the others share one
SIDES = {"q": "queries", "k": "keys"}


@dataclass(frozen=True)
class Answer:
    """The reasons of one head with what is said of them; arrays as numpy."""

    reasons: Reasons
    kinds: Kinds
    mechanism: Mechanism
    queries: Side
    keys: Side
    seed: int

    @property
    def total(self) -> float:
        """The contrast that the mechanism is read from."""
        return average(self.reasons.read.total)

    @once
    def has_shares(self) -> bool:
        """Whether the contrast has shares: its interval excludes 0."""
        return has_shares(self.reasons)


def average(values: "np.ndarray | torch.Tensor") -> float:
    """Mean over everything."""
    return float(np.mean(np.asarray(values)))


def why_not(model: "HookedTransformer") -> str:
    """Why this model's scores are no sum over writes; "" where they are."""
    reason = why_not_a_sum(model.cfg)
    return "" if reason is None else f"the scores of one head are no sum over writes here: {reason}."


def seconds(model: "HookedTransformer", layer: int, n_tokens: int) -> float:
    """Rough time: three runs of so many tokens up to the layer, and four from there on to the loss."""
    share = (layer + 1) / model.cfg.n_layers
    return forward_seconds(model, int(n_tokens * (3 * share + 4 * (1 - share))), unembed=False)


def known(sample: Sample) -> Kinds:
    """Which heads are previous-token and duplicate-token heads, by their own scores on the same repeats."""
    return kinds_of(*(sample.scores[name].above for name in ("previous", "duplicate")))


def stripe_seconds(model: "HookedTransformer", head: "Head", sample: Sample) -> float:
    """Rough time of ``stripe_answer``; 0 where anyone has asked before."""
    repeated = to_torch(sample.repeated)
    if is_kept(stripe_reasons, model, head, repeated):
        return 0.0
    estimated = seconds(model, head.layer, repeated.tokens.numel())
    return estimated if estimated > WAIT else 0.0


def stripe_answer(model: "HookedTransformer", head: "Head", sample: Sample, seed: int) -> Answer:
    """Why a head has its induction stripe on the repeats."""
    reasons = analyse(stripe_reasons, model, head, to_torch(sample.repeated), progress=True)
    return answer(reasons, known(sample), seed, standing(sample.scores[SCORE], head).above)


def answer(reasons: Reasons, kinds: Kinds, seed: int, looks: bool | None) -> Answer:
    """What the numbers come to. ``looks``: whether the head attends there beyond chance."""
    sides = (side_of(reasons, side, seed) for side in ("q", "k"))
    return Answer(reasons, kinds, mechanism(reasons, kinds, looks), *sides, seed)


def side_estimates(of: Answer, side: str) -> "tuple[Estimate, np.ndarray, Estimate]":
    """Each write's share of the contrast on one side, of the control's, and the difference; with intervals."""
    reasons = of.reasons
    control = reasons.control.query_side if side == "q" else reasons.control.key_side
    return reasons.text.side(side, of.seed), np.mean(control, 0), reasons.attribution.side(side, of.seed)


def side_bars(of: Answer, side: str, count: int = DRAWN) -> list[Bar]:
    """The largest writes of one side in the order of their size, and one bar for all others, so that they sum up."""
    values, control, _ = side_estimates(of, side)
    mean, low, high = (None if x is None else np.asarray(x, float) for x in (values.mean, values.low, values.high))
    order = np.argsort(-np.maximum(np.abs(mean), np.abs(control)), kind="stable")
    writes, first, rest = of.reasons.text.writes, order[:count], order[count:]
    rows = [
        Bar(
            write_label(writes[at]),
            float(mean[at]),
            None if low is None else float(low[at]),
            None if high is None else float(high[at]),
            float(control[at]),
        )
        for at in first
    ]
    if len(rest):
        label = str(writes[rest[0]]) if len(rest) == 1 else f"{len(rest)} others"
        rows.append(Bar(label, float(mean[rest].sum()), beside=float(control[rest].sum())))
    return rows


def write_label(write: Write) -> str:
    """A write as bars and tables name it."""
    return f"head {write}" if write.kind == "head" else str(write)
