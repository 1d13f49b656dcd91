"""What a head score comes to: the place of one head among all, how many are above chance, its ends and its middle.

All functions take scores with tensors or with numpy arrays. Heads that have no number (NaN) have no rank and do not
count.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.analysis.score_results import HeadScore
from lens.analysis.verdicts import exceeds
from lens.arrays import as_tensor


class Standing(NamedTuple):
    """One head's numbers in one score; None where there are none."""

    value: float  # NaN for a head that has no such number
    low: float | None
    high: float | None
    control: float | None  # mean of what it is compared with
    difference: float | None  # value minus that, where the two are paired
    above: bool | None  # whether it exceeds chance; None where that cannot be said
    rank: int  # 1 stands out most, equal numbers share the better rank; 0 for a head without a number
    total: int  # heads that have a number


class Summary(NamedTuple):
    """All heads in one score. ``strongest`` stands out most, by size where the score is two-sided."""

    strongest: Head
    largest: Head
    smallest: Head
    median: float
    total: int  # heads that have a number
    n_above: int  # above chance; 0 where that cannot be said
    n_lower: int  # of those above chance, below what they are compared with: 0 but in a two-sided score
    n_whole: int  # of those above chance, with the whole interval above the threshold


class Differences(NamedTuple):
    """Score minus control of all heads."""

    largest: Head
    farthest: Head  # from 0
    median_size: float  # of the differences without their sign
    total: int
    more: int  # heads farther above their control than the threshold
    less: int  # heads farther below it


class Shared(NamedTuple):
    """Heads above chance in two scores."""

    x: int
    y: int
    both: int


def prominence(score: HeadScore) -> Float[np.ndarray, "layer head"]:
    """What heads are ranked by: the number, or its size where the score is two-sided. NaN where there is none."""
    values = np.asarray(score.score.mean)
    return np.abs(values) if score.kind.scale == "two-sided" else values


def ranks(score: HeadScore) -> Int[np.ndarray, "layer head"]:
    """Rank of each head, 1 stands out most; equal heads share the better rank, 0: it has no number."""
    size = prominence(score).astype(np.float64)
    known = np.sort(size[~np.isnan(size)])
    return np.where(np.isnan(size), 0, 1 + len(known) - np.searchsorted(known, size, side="right"))


def strongest(score: HeadScore) -> Head:
    """The head that stands out most; the first of equal ones."""
    return largest_head(prominence(score))


def standing(score: HeadScore, head: Head) -> Standing:
    """The numbers of one head and its place among all."""

    def at(array: "Float[np.ndarray, 'layer head'] | None") -> float | None:
        return None if array is None else float(array[head])

    head, placed = tuple(head), ranks(score)
    return Standing(
        float(score.score.mean[head]),
        at(score.score.low),
        at(score.score.high),
        at(score.null_mean),
        None if score.effect is None else at(score.effect.mean),
        None if score.above is None else bool(score.above[head]),
        int(placed[head]),
        int((placed > 0).sum()),
    )


def summary(score: HeadScore) -> Summary:
    """Ends, middle and verdicts of all heads. ValueError where no head has a number."""
    values = np.asarray(score.score.mean)
    compared = values if score.effect is None else np.asarray(score.effect.mean)
    known = values[~np.isnan(values)]
    if not known.size:
        raise ValueError(f"summary of {score.kind.name}: no head has a number; there is nothing to rank.")
    above = _above(score)
    whole = 0
    if score.threshold is not None and score.score.low is not None:
        whole = int((above & (np.asarray(score.score.low) > score.threshold)).sum())
    return Summary(
        strongest(score),
        largest_head(values),
        largest_head(-values),
        float(np.median(known)),
        known.size,
        int(above.sum()),
        int((above & (compared < 0)).sum()) if score.kind.scale == "two-sided" else 0,
        whole,
    )


def differences(score: HeadScore) -> Differences:
    """How far heads lie from their own controls. ValueError for a score without one."""
    if score.effect is None:
        raise ValueError(f"differences of {score.kind.name}: it has no paired control; read the score itself.")
    effect = np.asarray(score.effect.mean)
    size = np.abs(effect)
    beyond = np.zeros(size.shape, bool)
    if score.threshold is not None:
        beyond = exceeds(as_tensor(size), score.threshold).numpy()
    return Differences(
        largest_head(effect),
        largest_head(size),
        float(np.nanmedian(size)),
        int((~np.isnan(effect)).sum()),
        int((beyond & (effect > 0)).sum()),
        int((beyond & (effect < 0)).sum()),
    )


def shared(x: HeadScore, y: HeadScore) -> Shared | None:
    """How many heads are above chance in one score, in the other, and in both; None where a sample cannot say."""
    if x.above is None or y.above is None:
        return None
    one, other = _above(x), _above(y)
    return Shared(int(one.sum()), int(other.sum()), int((one & other).sum()))


def _above(score: HeadScore) -> Bool[np.ndarray, "layer head"]:
    shape = np.shape(score.score.mean)
    return np.zeros(shape, bool) if score.above is None else np.asarray(score.above)
