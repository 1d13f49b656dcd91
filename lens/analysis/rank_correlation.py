"""Do two numbers order the heads alike? Spearman's correlation, said only where enough heads and a test carry it."""

from typing import NamedTuple

import numpy as np

from lens.analysis.verdicts import ALPHA, Verdict, too_few

DRAWS = 999  # permutations
HOW = (
    "against permutations of heads within their layer (of groups that share keys and values, then within them), so "
    "that a difference between layers, or shared weights, is no agreement"
)


class RankCorrelation(NamedTuple):
    """Spearman's r of two numbers over heads; NaN where one is constant."""

    r: float
    p: float  # two-sided, from permutations; NaN where it is not tested
    n: int  # heads where both are known
    verdict: Verdict  # "found" if the heads are ordered alike, or against each other, more than chance orders them


def rank_correlation(x: np.ndarray, y: np.ndarray, group: int = 1, seed: int = 0) -> RankCorrelation:
    """Over the heads [layer, head] where both are finite; ``group`` query heads share keys and values.

    Permutations keep each layer's heads in their layer and groups together. Ties share their mean rank.
    """
    from scipy.stats import rankdata  # here: it takes half a second, and first charts do without it

    known = np.isfinite(x) & np.isfinite(y)
    n = int(known.sum())
    if n < 2 or np.ptp(x[known]) == 0 or np.ptp(y[known]) == 0:
        return RankCorrelation(np.nan, np.nan, n, Verdict("unknown", "one of the two is the same for all heads"))
    r = float(np.corrcoef(rankdata(x[known]), rankdata(y[known]))[0, 1])
    few = too_few(n, "heads")
    if few:
        return RankCorrelation(r, np.nan, n, Verdict("unknown", few))
    p = _permuted(np.where(known, x, np.nan), y, known, group, seed, r)
    sizes = f"r = {r:.2g}, p = {p:.2g} over {n} heads"
    return RankCorrelation(r, p, n, Verdict("found" if p <= ALPHA else "none", sizes))


def _permuted(x: np.ndarray, y: np.ndarray, known: np.ndarray, group: int, seed: int, r: float) -> float:
    """Share of permutations, the one that is there included, at least as far from their mean as ``r``."""
    from scipy.stats import rankdata  # here: it takes half a second, and first charts do without it

    ranks, other = np.full(x.shape, np.nan), rankdata(y[known])
    ranks[known] = rankdata(x[known])
    moved = _shuffled(ranks, known, group, np.random.default_rng(seed))[:, known]
    moved, other = (part - part.mean(-1, keepdims=True) for part in (moved, other))
    drawn = moved @ other / (np.linalg.norm(moved, axis=1) * np.linalg.norm(other))
    distance = np.abs(drawn - drawn.mean())
    return float((1 + (distance >= abs(r - drawn.mean()) - 1e-12).sum()) / (1 + DRAWS))


def _shuffled(ranks: np.ndarray, known: np.ndarray, group: int, rng: np.random.Generator) -> np.ndarray:
    """``DRAWS`` times ``ranks`` [layer, head], the groups of each layer permuted, and the heads of each group.

    A layer in which only some heads are known has those permuted alone.
    """
    found = np.repeat(ranks[None], DRAWS, axis=0)
    whole = known.all(1)
    groups = found[:, whole].reshape(DRAWS, int(whole.sum()), -1, group)
    groups = np.take_along_axis(groups, rng.random(groups.shape[:3]).argsort(-1)[..., None], -2)
    groups = np.take_along_axis(groups, rng.random(groups.shape).argsort(-1), -1)
    found[:, whole] = groups.reshape(DRAWS, -1, ranks.shape[1])
    for layer in np.flatnonzero(known.any(1) & ~whole):
        found[:, layer, known[layer]] = rng.permuted(found[:, layer, known[layer]], axis=-1)
    return found
