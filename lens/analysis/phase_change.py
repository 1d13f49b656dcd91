"""When something began in training: the birth of one head, and whether a whole model had a phase change at all.

Both rules are fixed before any curve is seen. They answer "none" where a curve is flat, noisy or too short.
"""

from collections.abc import Sequence
from math import log2
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.analysis.verdicts import State, exceeds, too_few

BORN_AT = 0.1  # prefix-matching score minus its control: a tenth of the attention of the second copy
PERCENTILE = 0.99  # of the slopes of the control
LOW, HIGH = 0.1, 0.9  # of the final score: where a phase change begins and ends

BIRTH_RULE = (
    "Born: between the last checkpoint below the threshold and the first above it. The threshold is fixed beforehand; "
    "it must itself lie above the null."
)
STRETCH = 0.5  # doublings: between checkpoints that lie closer, noise would look steep

WINDOW_RULE = (
    "A phase change is drawn only if the steepest rise of the best head's score minus control beats the 99th "
    "percentile of the rises of the control between the same checkpoints (of all heads the largest, each sequence "
    "counted), and the final score exceeds its own null threshold. A rise is per doubling of training, from each "
    "checkpoint to the next that is at least half a doubling away. The phase change begins at the last checkpoint "
    "below 10% of the final score before the steepest rise ends, and ends at the first above 90% after it."
)


class Birth(NamedTuple):
    """Between which checkpoints a curve first exceeds a threshold. Indices of checkpoints, None where there is none."""

    last_below: int | None  # None: it was above from the first checkpoint on, or never
    first_above: int | None  # None: never above, or not computed
    threshold: float
    below_again: int | None  # a later checkpoint at which it is below again
    reason: str  # why there is no interval; "" if there is one
    state: State  # "none": it was looked for, and stays below; "unknown": the sample cannot say


class Window(NamedTuple):
    """A phase change, or why there is none. ``first`` and ``last`` are indices of checkpoints."""

    first: int | None
    last: int | None
    reason: str  # in words, with the numbers that decided, either way
    state: State  # "none": looked for, and not there; "unknown": the sample cannot say
    slope: float  # of the steepest rise, per doubling; NaN where there is no slope
    null_slope: float  # 99th percentile of the control's
    final: float
    threshold: float  # that the final score must exceed


def birth(score: Float[Tensor, " checkpoint"], threshold: float, null: Float[Tensor, " checkpoint"], n: int) -> Birth:
    """When ``score``, a mean over ``n`` sequences, first exceeds ``threshold``.

    ``null``: what chance reaches at each checkpoint; where the threshold does not exceed it, or of fewer than 16
    sequences, no birth can be told from chance, nor its absence. ``below_again`` tells of a curve that comes back down.
    """
    if too_few(n):
        return Birth(None, None, threshold, None, too_few(n), "unknown")
    chance = float(null.max())
    if threshold <= chance:
        why = f"the threshold {threshold:.3g} lies within chance: the null reaches {chance:.2g} at some checkpoint"
        return Birth(None, None, threshold, None, why, "unknown")
    above = exceeds(score, threshold).tolist()
    if not any(above):
        why = f"the score stays below {threshold:.3g} at all {len(above)} checkpoints; its largest is {score.max():.2g}"
        return Birth(None, None, threshold, None, why, "none")
    first = above.index(True)
    again = above.index(False, first) if False in above[first:] else None
    if first == 0:
        why = f"the score is above {threshold:.3g} at the first checkpoint already"
        return Birth(None, 0, threshold, again, why, "found")
    return Birth(first - 1, first, threshold, again, "", "found")


def lasting(above: Bool[np.ndarray, "checkpoint *candidate"]) -> Bool[np.ndarray, "checkpoint *candidate"]:
    """At which checkpoints a candidate is there: above at this one and all later ones, and at no fewer than two in all.

    Each checkpoint is a test of its own, so the first of many to be above is often chance; what lasts is above at the
    last one, and that is a single test.
    """
    there = np.logical_and.accumulate(above[::-1])[::-1].copy()
    there[-1] = there[-2] if len(there) > 1 else False
    return there


class Rises(NamedTuple):
    """Pairs of checkpoints between which a slope is taken, as places in the curve, and the doublings between them."""

    start: list[int]
    stop: list[int]
    doublings: Float[Tensor, " rise"]


def rises(labels: Sequence[int]) -> Rises:
    """From each checkpoint to the next at least ``STRETCH`` doublings later; none from 0, which no doubling leaves."""
    start, stop, spans = [], [], []
    for i, label in enumerate(labels):
        later = [j for j in range(i + 1, len(labels)) if label > 0 and log2(labels[j] / label) >= STRETCH]
        if later:
            start.append(i)
            stop.append(later[0])
            spans.append(log2(labels[later[0]] / label))
    return Rises(start, stop, torch.tensor(spans, dtype=torch.float64))


def phase_window(
    labels: Sequence[int],
    score: Float[Tensor, "checkpoint layer head"],
    control: Float[Tensor, "checkpoint sequence layer head"],
    threshold: float,
) -> Window:
    """The phase change of a score under ``WINDOW_RULE``; ``score`` is already minus the mean of its ``control``.

    ``labels`` are tokens or steps, ascending. ``threshold``: what the final score must exceed, of the final control.
    ``first`` and ``last`` are places in the curve.
    """
    best = score.flatten(1).amax(1).double()
    final = float(best[-1])
    start, stop, spans = rises(labels)
    few = too_few(control.shape[1])
    if not start:
        few = f"the score has no slope: {len(labels)} checkpoint{'s' * (len(labels) > 1)}, none half a doubling apart"
    if few:
        return Window(None, None, few, "unknown", torch.nan, torch.nan, final, threshold)
    slopes = (best[stop] - best[start]) / spans
    moved = (control[stop] - control[start]).double().flatten(2).amax(2) / spans[:, None]  # [rise, sequence]
    null_slope, steepest = float(moved.flatten().quantile(PERCENTILE)), int(slopes.argmax())
    slope = float(slopes[steepest])
    numbers = f"steepest rise {slope:.2g} per doubling, control's 99th percentile {null_slope:.2g}"
    ends = f"final score {final:.2g}, null threshold {threshold:.2g}"
    found = Window(None, None, f"{numbers}; {ends}", "none", slope, null_slope, final, threshold)
    if not exceeds(best[-1], threshold, torch.float32):
        return found._replace(reason=f"the final score is within chance ({ends})")
    if slope <= null_slope:
        return found._replace(reason=f"the score rises no faster than its control ({numbers})")
    low = [i for i in range(stop[steepest]) if best[i] <= LOW * final]
    first = low[-1] if low else 0
    high = [i for i in range(first + 1, len(labels)) if best[i] >= HIGH * final]
    return found._replace(first=first, last=high[0], state="found")
