"""Does a head copy? What its weights and what its writes on data can each carry, and whether the two differ.

By weights a head is held against random rotations of itself. On data it must do three things: leave the band that
rotations of all heads give, differ from its paired control over sequences or documents, and by enough to matter.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.ov_copying import NullBand
from lens.analysis.rotation_test import beyond_rotations
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
    idle = ~score.isfinite() | (largest <= IDLE_SHARE * largest.max())
    copies = (score > band.family_high) & (score >= LEAST_SCORE)
    opposite = (score < band.family_low) & (score <= -LEAST_SCORE)
    return Side((copies.int() - opposite.int()).masked_fill(idle, 0), idle, "")


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
