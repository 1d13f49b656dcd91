"""Which mechanism makes a head look where it looks, from what its queries and its keys read.

Two are known by name (Olsson et al. 2022): a previous-token head read by the keys, and a duplicate-token head read by
the queries. Which heads these are is decided by their own scores against chance, not here. A third is no reading of the
text at all: positions on both sides.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch

from lens.analysis.answer.feeder_cuts import FeederCuts
from lens.analysis.answer.head_inputs import Write
from lens.analysis.answer.reasons import Reasons, in_control
from lens.analysis.stats import Estimate, estimate, within
from lens.analysis.verdicts import Verdict, differs_from_zero, rounding_of, too_few
from lens.arrays import as_tensor

Name = Literal["previous", "duplicate", "both", "positions", "other"]
SHARE = 0.25  # of the contrast, that the heads of a kind must carry on their side for the mechanism to be named by them
RULE = (
    f"A mechanism is named where heads of its kind, each above chance in its own score, carry at least {SHARE:.0%} of "
    "the contrast on their side; explained is the share of the pairs of writes that one of them stands in."
)


class Kinds(NamedTuple):
    """Heads that score above chance, by what they do; None: that cannot be said of this sample."""

    previous: frozenset[tuple[int, int]] | None
    duplicate: frozenset[tuple[int, int]] | None

    def of(self, write: Write) -> str:
        """What a write is known for, in words; "" for nothing."""
        place = (write.layer, write.head)
        if write.kind != "head":
            return ""
        kinds = [name for name, heads in zip(("previous-token", "duplicate-token"), self) if heads and place in heads]
        return " and ".join(kinds) and f"{' and '.join(kinds)} head"


class Mechanism(NamedTuple):
    """What makes the contrast; shares are of the contrast that :attr:`Reasons.read` holds."""

    verdict: Verdict  # whether there is a contrast to explain
    name: Name
    by_keys: float  # share of the heads that name the mechanism, on the side of the keys
    by_queries: float
    explained: float  # share of the pairs that one of them stands in, or of positions with positions
    control_too: bool  # whether the control has at least half of the contrast

    @property
    def unexplained(self) -> float:
        """The share that is left."""
        return 1 - self.explained


def heads_above(above: torch.Tensor | None) -> frozenset[tuple[int, int]] | None:
    """The heads of a score that are above chance [layer, head]; None where no verdict is given."""
    return None if above is None else frozenset(map(tuple, np.argwhere(np.asarray(above)).tolist()))


def mechanism(reasons: Reasons, kinds: Kinds, looks: bool | None = True) -> Mechanism:
    """The mechanism of one head. ``looks``: whether it attends to the cells beyond chance; None: cannot be said."""
    read, control_too = reasons.read, in_control(reasons.text, reasons.control)
    total = float(as_tensor(read.total).mean())
    pairs = as_tensor(read.pairs)
    placed = torch.tensor([write.kind == "positions" for write in read.writes])
    previous = torch.tensor([(write.layer, write.head) in (kinds.previous or ()) for write in read.writes])
    duplicate = torch.tensor([(write.layer, write.head) in (kinds.duplicate or ()) for write in read.writes])
    verdict = _verdict(reasons, looks)
    if total <= 0 or not has_shares(reasons):
        return Mechanism(verdict, "other", 0.0, 0.0, 0.0, control_too)
    by_keys, by_queries = (float(pairs[:, previous].sum() / total), float(pairs[duplicate].sum() / total))
    alone = float(pairs[placed][:, placed].sum() / total)
    if alone >= 0.5:
        return Mechanism(verdict, "positions", by_keys, by_queries, alone, control_too)
    keys, queries = by_keys >= SHARE, by_queries >= SHARE
    name = "both" if keys and queries else "previous" if keys else "duplicate" if queries else "other"
    named = (previous & keys)[None, :] | (duplicate & queries)[:, None]
    return Mechanism(verdict, name, by_keys, by_queries, float(pairs[named].sum() / total), control_too)


def has_shares(reasons: Reasons) -> bool:
    """Whether the contrast has shares: its interval excludes 0."""
    plain = as_tensor(reasons.text.total)
    return differs_from_zero(estimate(plain), rounding_of(plain)).found


def _verdict(reasons: Reasons, looks: bool | None) -> Verdict:
    """Whether the contrast, less that of the control, is there at all; of a head that looks there beyond chance."""
    samples = as_tensor(reasons.attribution.total)
    few = too_few(len(samples))
    if few or looks is None:
        return Verdict("unknown", few or "whether it looks there beyond chance cannot be said")
    if not looks:
        return Verdict("none", "it does not look there more than chance allows")
    plain = as_tensor(reasons.text.total)
    found = differs_from_zero(estimate(samples), rounding_of(plain, as_tensor(reasons.control.total)))
    if found.found and float(samples.mean()) < 0:
        return Verdict("none", f"the score is lower there: {found.reason}")
    return found


class Side(NamedTuple):
    """The write with the largest share on one side, and what cutting it leaves."""

    write: Write
    share: float  # of the contrast
    left: Estimate | None  # of the attention on the cells; None for a write that is the same in the control
    lost: Verdict | None  # whether the attention falls by the cut

    @property
    def confirmed(self) -> bool | None:
        """Whether the cut says what attribution says; None where nothing can be cut or said."""
        if self.left is None or self.lost is None or self.lost.state == "unknown":
            return None
        return self.lost.found


def side_of(reasons: Reasons, side: Literal["q", "k"], seed: int = 0) -> Side:
    """The largest write of one side, and its cut: chosen by attribution, so the cut is a test of its own."""
    read = reasons.read
    (write, value), *_ = read.strongest(side, 1)
    total = float(as_tensor(read.total).mean())
    cuts = reasons.cut_from_queries if side == "q" else reasons.cut_from_keys
    return Side(write, value / total if total else 0.0, *_cut(cuts, write, seed))


def _cut(cuts: FeederCuts, write: Write, seed: int) -> tuple[Estimate | None, Verdict | None]:
    if write not in cuts.writes:
        return None, None
    at = cuts.writes.index(write)
    left, uncut = as_tensor(cuts.attention)[at], as_tensor(cuts.uncut)
    change = estimate(left - uncut, seed=seed)
    lost = differs_from_zero(change, rounding_of(uncut))
    if lost.found and float(change.mean) > 0:
        lost = Verdict("none", f"the attention rises: {lost.reason}")
    return within(estimate(left, seed=seed), 0, 1), lost


def kinds_of(previous: torch.Tensor | None, duplicate: torch.Tensor | None) -> Kinds:
    """Kinds from where each score is above chance [layer, head]; None where no verdict is given."""
    return Kinds(heads_above(previous), heads_above(duplicate))
