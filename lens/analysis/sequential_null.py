"""The null of copying scores from fewer rotations: every head gets some, and more only until its verdict is clear.

All heads get ``FIRST`` and then ``COMMON`` rotations, whose largest says how far the farthest of all heads comes by
chance. After that only those heads go on whose distance from their own null cannot yet be told from that reach.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.analysis.copying_verdicts import LEAST_SCORE, is_idle
from lens.analysis.names import Head
from lens.analysis.ov_copying import DRAWS, Circuit, centre_and_spread, null_band, null_scores_of
from lens.analysis.verdicts import normal_reach
from lens.progress import Progress, silent

FIRST, COMMON = 20, 40  # rotations of every head: for a first verdict, and for the reach of all heads
LOOKS = (FIRST, COMMON, 80, 120, 160)  # numbers of rotations at which a verdict may be clear
RISK = 1e-3  # of one head, over all looks
STOPPING = (
    f"A head gets more than {COMMON} rotations, up to {DRAWS}, only until its verdict is clear: the risk that endless "
    f"rotations would say otherwise is at most {RISK:.1%} for each head (tolerance limits of normal draws)."
)


class Step(NamedTuple):
    """Rotations to compute next."""

    draws: tuple[int, int]  # (first, last + 1)
    heads: tuple[Head, ...] | None  # of these heads; None is all


def next_step(
    score: Float[Tensor, "layer head"], largest: Float[Tensor, "layer head"], draws: Float[Tensor, "draw layer head"]
) -> Step | None:
    """Which heads go on after these ``draws``, NaN where a head has stopped, and how far; None where all are clear.

    ``largest``: the size of the largest eigenvalue of each head, which shows idle ones.
    """
    n = len(draws)
    if n >= DRAWS:
        return None
    stop = next(look for look in (*LOOKS, DRAWS) if look > n)
    if stop <= COMMON:
        return Step((n, stop), None)
    heads = tuple(Head(*place) for place in unclear(score, largest, draws).nonzero().tolist())
    return Step((n, stop), heads) if heads else None


def unclear(
    score: Float[Tensor, "layer head"], largest: Float[Tensor, "layer head"], draws: Float[Tensor, "draw layer head"]
) -> Bool[Tensor, "layer head"]:
    """Heads that have all ``draws`` and whose verdict more of them could change.

    The distance of a score from its null, in standard deviations of n normal draws, is noncentral t over √n. Outside
    of the quantiles of that for the reach, the distance in endless draws is within the reach, or beyond it. The reach
    itself rests on few rotations, so that of normal draws must agree. A head too small to count needs no rotations.
    Source: tolerance limits, Owen 1968; the risk of resampling, Gandy 2009.
    """
    from scipy.stats import nct  # here: it takes half a second, and first charts do without it

    n, (centre, spread) = len(draws), centre_and_spread(draws.double())
    low, high = sorted((null_band(draws).reach, normal_reach(score.numel())))
    risk = RISK / len(LOOKS)
    within = nct.ppf(risk, n - 1, low * n**0.5) / n**0.5
    beyond = nct.ppf(1 - risk, n - 1, high * n**0.5) / n**0.5
    distance = ((score - centre) / spread).abs()
    counts = ~is_idle(score, largest) & (score.abs() >= LEAST_SCORE)
    return counts & draws[-1].isfinite() & (distance > within) & (distance < beyond)


def sequential_null(
    cores: Float[Tensor, "layer head d_head d_head"], circuit: Circuit, seed: int = 0, progress: Progress = silent
) -> Float[Tensor, "draw layer head"]:
    """Copying scores under rotations, for :func:`lens.analysis.ov_copying.null_band`: NaN where a head has stopped.

    ``circuit``: the scores that the rotations are for.
    """
    score, largest = circuit.score, circuit.eigenvalues[..., 0].abs()
    draws = null_scores_of((0, FIRST), cores, seed)
    while (step := next_step(score, largest, draws)) is not None:
        progress(len(draws) / DRAWS, f"{len(draws)} rotations")
        draws = torch.cat([draws, null_scores_of(step.draws, cores, seed, step.heads)])
    return draws
