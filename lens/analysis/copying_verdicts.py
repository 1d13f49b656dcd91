"""Does a head copy? What its weights and what its writes on data can each carry, and whether the two differ.

By weights a head is held against random rotations of itself. On data it must do three things: leave the band that
rotations of all heads give, differ from its paired control over sequences or documents, and by enough to matter.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.analysis.ov_copying import NullBand, share_outside
from lens.analysis.rotation_test import beyond_rotations
from lens.analysis.score_results import HeadScore
from lens.analysis.stats import Estimate
from lens.analysis.verdicts import too_few

LEAST_SCORE = 0.1  # of a copying score, −1 … 1: less is no copying, however sure
LEAST_LOGITS = 0.02  # on data: less changes the odds of a token by less than 2%
IDLE_LOGITS = 1e-3  # root mean square of what a head writes: less changes no prediction
IDLE_SHARE = 1e-4  # of the largest eigenvalue of any head: less is dust beside the others
RULE = (
    f"By weights: outside the band that no head of all leaves in 95% of random rotations, and a score of at least "
    f"{LEAST_SCORE:g}. On data: the direct logit is beyond what rotations of all heads give, its interval over samples "
    f"excludes 0, and it is at least {LEAST_LOGITS:g} logits."
)
DIFFER = (
    f"Said where data show that a head raises what it attends to and its score by weights is below {LEAST_SCORE:g}, or "
    f"that it lowers it and the score is above −{LEAST_SCORE:g}. The reverse is no contradiction: a head that copies "
    "by its weights may not look there."
)


class Side(NamedTuple):
    """What one kind of evidence says of every head."""

    sign: Int[Tensor, "*head"]  # 1 it copies (raises what it attends to), −1 the opposite, 0 neither is shown
    idle: Bool[Tensor, "*head"]  # it writes next to nothing, so there is nothing that could be shown
    few: str  # why there is no verdict at all: too few samples; "" if there are enough


def by_weights(score: Float[Tensor, "*head"], largest: Float[Tensor, "*head"], band: NullBand) -> Side:
    """What eigenvalues say. ``largest``: the size of the largest eigenvalue of each head, which shows idle ones.

    For one head that was asked for, give a band whose ``family`` ends are its own.
    """
    idle = is_idle(score, largest)
    copies = (score > band.family_high) & (score >= LEAST_SCORE)
    opposite = (score < band.family_low) & (score <= -LEAST_SCORE)
    return Side((copies.int() - opposite.int()).masked_fill(idle, 0), idle, "")


def is_idle(score: Float[Tensor, "*head"], largest: Float[Tensor, "*head"]) -> Bool[Tensor, "*head"]:
    """Heads that write nothing, or dust beside what the others write; ``largest``: see :func:`by_weights`."""
    return ~score.isfinite() | (largest <= IDLE_SHARE * largest.max())


def by_data(
    effect: Estimate, z: Float[Tensor, "*head"], written: Float[Tensor, "*head"], unit: str, family: int | None = None
) -> Side:
    """What direct logits minus their control say; ``effect`` is over ``unit``, ``z`` under rotations.

    ``family``: heads that were looked at together, all by default; 1 for one that was asked for.
    """
    idle = (written < IDLE_LOGITS) | z.isnan()
    few = too_few(effect.n, unit)
    if few or effect.low is None:
        return Side(torch.zeros_like(z, dtype=torch.int), idle, few or effect.note)
    sign = beyond_rotations(z, family)
    sure = (effect.low > 0).int() - (effect.high < 0).int()
    enough = effect.mean.abs() >= LEAST_LOGITS
    return Side(torch.where((sign == sure) & enough & ~idle, sign, 0), idle, few)


def differ(score: Float[Tensor, "*head"], data: Side) -> Bool[Tensor, "*head"]:
    """Where data show what the weights do not say, see ``DIFFER``. False for a head without a score."""
    return (data.sign != 0) & (score * data.sign < LEAST_SCORE)


class HeadCopying(NamedTuple):
    """One head's copying score by weights; ``low`` to ``high`` is the central 95% of what random rotations score."""

    score: float  # Σλ / Σ|λ|, −1 … 1
    rank: int  # 1 is the largest score of all heads
    n_heads: int
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Where the score lies: above, below or within its null."""
        return "above" if self.score > self.high else "below" if self.score < self.low else "within"

    @property
    def sign(self) -> int:
        """1 it copies, −1 it writes the opposite: outside its null, and by enough; 0 neither is shown.

        For this one head, which was asked for: by chance about one in twenty, from 200 rotations.
        """
        enough = abs(self.score) >= LEAST_SCORE
        return enough * ((self.score > self.high) - (self.score < self.low))


def head_copying(
    scores: Float[Tensor, "layer head"], rotated: Float[Tensor, " draw"], head: tuple[int, int]
) -> HeadCopying | None:
    """One of all heads' ``scores`` beside those of its rotations; None for a head that writes nothing: 0 / 0."""
    scores = np.asarray(scores)
    score = float(scores[head])
    low, high = (float(end) for end in np.quantile(rotated, [0.025, 0.975]))
    return HeadCopying(score, 1 + int((scores > score).sum()), scores.size, low, high) if np.isfinite(score) else None


class Counts(NamedTuple):
    """What the copying scores of all heads say together."""

    best: Head  # the largest score
    lowest: Head
    n: int  # heads that have a score
    idle: int
    copies: int | None  # None without a null
    opposite: int | None
    outside: int | None  # heads outside the central 95% of their own rotations
    by_chance: float | None  # as many are outside on average where nothing is to be found


class Agreed(NamedTuple):
    """How many heads copy by their weights, by data, and by both."""

    n: int
    weights: int
    data: int
    both: int
    idle: int  # by either
    differ: int


class GaussianBeside(NamedTuple):
    """The band of Gaussian weights beside the heads' own."""

    narrowest: float  # width of a head's own band
    widest: float
    narrower: int  # heads whose own band is narrower than the Gaussian one
    n: int
    differ: int  # heads that lie inside one band and outside the other


def count_heads(score: Float[Tensor, "layer head"], side: Side | None = None, band: NullBand | None = None) -> Counts:
    """``side`` and ``band`` of the same scores by weights; both None before the null is computed."""
    score = np.asarray(score)
    n = int(np.isfinite(score).sum())
    ends = largest_head(score), largest_head(-score)
    if side is None or band is None:
        return Counts(*ends, n, score.size - n, None, None, None, None)
    sign = np.asarray(side.sign)
    outside = int(((score > np.asarray(band.high)) | (score < np.asarray(band.low))).sum())
    draws = band.n + np.broadcast_to(np.asarray(band.more), score.shape)[np.isfinite(score)]
    by_chance = float(share_outside(draws).sum())
    return Counts(*ends, n, int(side.idle.sum()), int((sign > 0).sum()), int((sign < 0).sum()), outside, by_chance)


def agreed(weights: Side, data: Side, differing: Bool[Tensor, "*head"]) -> Agreed:
    """The verdicts of weights and data side by side; ``differing``: see :func:`differ`."""
    ours, theirs = np.asarray(weights.sign) > 0, np.asarray(data.sign) > 0
    idle = np.asarray(weights.idle) | np.asarray(data.idle)
    counts = (ours, theirs, ours & theirs, idle, np.asarray(differing))
    return Agreed(ours.size, *(int(one.sum()) for one in counts))


def as_much_on_control(score: HeadScore, head: tuple[int, int], sign: int) -> bool:
    """Whether a head raises (``sign`` 1) or lowers (−1) its target on the control as well, by more than they differ."""
    both = min(float(values[head]) * sign for values in (score.score.mean, score.null_mean))
    return both > abs(float(score.effect.mean[head]))


def half_of_size(eigenvalues: Complex[Tensor, " d_head"]) -> int:
    """How many of the eigenvalues, the largest first, make up half of the size of all."""
    size = np.abs(np.asarray(eigenvalues))
    return int(np.searchsorted(np.cumsum(size) / size.sum(), 0.5)) + 1


def gaussian_beside(
    score: Float[Tensor, "*head"], band: NullBand, low: float, high: float, same: Bool[np.ndarray, " layer"]
) -> GaussianBeside | None:
    """Heads by their own rotations, beside the one band ``low`` … ``high`` of Gaussian weights; None without heads.

    ``same``: the layers that read the same embedding, so that this band is about them.
    """
    score, lows, highs = (np.asarray(values)[same] for values in (score, band.low, band.high))
    known = np.isfinite(score)
    if not known.any():
        return None
    width = (highs - lows)[known]
    inside = (score >= lows) & (score <= highs)
    other = known & (inside != ((score >= low) & (score <= high)))
    narrower = int((width < high - low).sum())
    return GaussianBeside(float(width.min()), float(width.max()), narrower, len(width), int(other.sum()))


def farthest_apart(x: Float[Tensor, "layer head"], y: Float[Tensor, "layer head"]) -> Head | None:
    """The head whose two scores differ most; None where no head has both."""
    gap = np.abs(np.asarray(x) - np.asarray(y))
    return largest_head(gap) if np.isfinite(gap).any() else None
