"""What is left of a task without the heads that score highest as function-vector or as induction heads.

The two sets share no head, and each stands beside random heads of the same layers. Source: Yin and Steinhardt 2025,
"Which attention heads matter for in-context learning?".
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.cells import Grid, heads_set
from lens.analysis.interventions.intervention import Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import Sweep
from lens.analysis.names import Head
from lens.analysis.stats import Estimate, share
from lens.analysis.verdicts import Verdict, differs_from_zero, mean_over_pairs, rounding_of
from lens.arrays import as_tensor
from lens.config import Config

KS = (1, 2, 4, 8, 16)  # heads removed together
SMALLEST_PART = 8  # no more than one head in so many is removed
DRAWS = 3  # random sets for each set
MEAN = Intervention("z", "mean", into="clean")
KINDS = {"vector": "function-vector heads", "induction": "induction heads"}


class HeadSet(NamedTuple):
    """Heads that are removed together; ``draw``: number of the random set beside them, None for the set itself."""

    kind: str  # key of KINDS
    k: int
    draw: int | None
    heads: tuple[Head, ...]


class RemovalSets(NamedTuple):
    """One sweep: run its ``experiment`` like any other."""

    experiment: Experiment
    sets: tuple[HeadSet, ...]
    ks: tuple[int, ...]
    shared: tuple[Head, ...]  # among the highest of both scores: in neither set
    seed: int


class Curve(NamedTuple):
    """Accuracy by number of heads removed, 0 first."""

    kind: str
    random: bool  # whether it is of random heads of the same layers, mean over draws
    accuracy: Estimate  # [k]


class Beside(NamedTuple):
    """A set beside random ones of its size, at the most heads."""

    as_costly: int  # random sets whose removal leaves as few right answers, or fewer
    n: int
    low: float  # accuracy without the random sets
    high: float


class RemovalCurves(NamedTuple):
    """Curves of both sets and of the random heads beside each, and what is said of the most heads removed."""

    ks: tuple[int, ...]  # 0 first
    curves: tuple[Curve, ...]
    beside: dict[str, Beside]  # by kind, where there are random sets
    between: Estimate  # accuracy without induction heads minus without function-vector heads, at the most heads
    verdict: Verdict  # whether ``between`` is other than 0


def disjoint(
    vector: Float[np.ndarray, "layer head"], induction: Float[np.ndarray, "layer head"], most: int
) -> tuple[list[Head], list[Head], tuple[Head, ...]]:
    """The heads of both scores, highest first, none in both; and those among the ``most`` highest of both.

    Those go to neither; every other head belongs to the list in which it stands higher.
    """
    ranks = [np.argsort(np.argsort(-np.asarray(one), axis=None, kind="stable")) for one in (vector, induction)]
    both = (ranks[0] < most) & (ranks[1] < most)
    first = ranks[0] <= ranks[1]
    width = np.asarray(vector).shape[1]

    def listed(rank: np.ndarray, mine: np.ndarray) -> list[Head]:
        return [Head(*divmod(int(at), width)) for at in np.argsort(rank) if mine[at] and not both[at]]

    shared = tuple(Head(*divmod(int(at), width)) for at in np.flatnonzero(both))
    return listed(ranks[0], first), listed(ranks[1], ~first), shared


def removal_sets(
    cfg: Config,
    pairs: Pairs,
    vector: Float[np.ndarray, "layer head"],
    induction: Float[np.ndarray, "layer head"],
    seed: int = 0,
) -> RemovalSets:
    """The sets to remove: the k highest of each score, for growing k, and random heads of the same layers.

    Random heads are of neither list's first ones; where a layer has too few left, they are of the nearest. Heads are
    replaced by their mean over the corrupted prompts, position by position.
    """
    ks = tuple(k for k in KS if k <= max(1, cfg.n_layers * cfg.n_heads // SMALLEST_PART))
    lists = disjoint(vector, induction, ks[-1])
    generator = torch.Generator().manual_seed(seed)
    busy = {head for one in lists[:2] for head in one[: ks[-1]]} | set(lists[2])
    sets = []
    for kind, heads in zip(KINDS, lists):
        for k in (k for k in ks if k <= len(heads)):
            chosen = tuple(heads[:k])
            sets.append(HeadSet(kind, k, None, chosen))
            for draw in range(DRAWS):
                if drawn := _matched(chosen, busy, cfg, generator):
                    sets.append(HeadSet(kind, k, draw, drawn))
    cells = tuple(heads_set(one.heads) for one in sets)
    return RemovalSets(Experiment(pairs, MEAN, Grid(sets=cells), Metric("lead")), tuple(sets), ks, lists[2], seed)


def _matched(heads: tuple[Head, ...], busy: set[Head], cfg: Config, generator: torch.Generator) -> tuple[Head, ...]:
    """As many heads in each layer, none of ``busy``; where a layer has too few left, of the nearest that has some.

    () where the model has too few.
    """
    free = {
        layer: [Head(layer, head) for head in range(cfg.n_heads) if Head(layer, head) not in busy]
        for layer in range(cfg.n_layers)
    }
    if sum(map(len, free.values())) < len(heads):
        return ()
    drawn, left = [], list(Counter(head.layer for head in heads).elements())
    for reach in range(cfg.n_layers):  # every layer first takes of its own
        for layer in list(left):
            pool = next((free[at] for at in (layer - reach, layer + reach) if free.get(at)), [])
            if pool:
                drawn.append(pool.pop(int(torch.randint(len(pool), (1,), generator=generator))))
                left.remove(layer)
    return tuple(sorted(drawn))


def removal_curves(sets: RemovalSets, sweep: Sweep) -> RemovalCurves:
    """Accuracy without the sets, with intervals over prompts; NaN: not computed, or no random heads are left."""
    pairs, seed = sets.experiment.pairs, sets.seed
    values, before = as_tensor(sweep.values), as_tensor(sweep.base)
    least = rounding_of(before)
    unfinished = values.isnan().any(-1, keepdim=True)  # a few prompts are no point beside all of them
    right = (values > least).double().masked_fill(unfinished, torch.nan)
    base = (before > least).double()
    by_curve = {
        (kind, random): torch.stack([base, *(_mean(sets, right, kind, k, random) for k in sets.ks)])
        for kind in KINDS
        for random in (False, True)
    }
    curves = tuple(Curve(*name, _accuracy(one)) for name, one in by_curve.items())
    between = mean_over_pairs(by_curve["induction", False][-1] - by_curve["vector", False][-1], pairs, seed)
    verdict = differs_from_zero(between, unit="prompts")
    if between.mean.isnan():
        verdict = Verdict("unknown", "too few heads are left for one of the sets")
    beside = {kind: found for kind in KINDS if (found := _beside(sets, right, kind)) is not None}
    return RemovalCurves((0, *sets.ks), curves, beside, between, verdict)


def _accuracy(right: Float[Tensor, "k pair"]) -> Estimate:
    """Share of right prompts with its exact interval, NaN where a point is missing; none for means over draws."""
    found, mean = share(right.T == 1, "prompts"), right.mean(-1)
    if found.low is None or not ((right == 0) | (right == 1) | right.isnan()).all():
        return Estimate(mean, None, None, found.n, found.note)
    low, high = (end.double().masked_fill(mean.isnan(), torch.nan) for end in (found.low, found.high))
    return Estimate(mean, low, high, found.n, found.note)


def _beside(sets: RemovalSets, right: Float[Tensor, "set pair"], kind: str) -> Beside | None:
    """How many random sets cost as much as the most heads of a kind."""
    last = [at for at, one in enumerate(sets.sets) if (one.kind, one.k) == (kind, sets.ks[-1])]
    own, *random = (float(one) for one in right[last].mean(-1)) if last else (torch.nan,)
    if not random:
        return None
    return Beside(sum(one <= own for one in random), len(random), min(random), max(random))


def _mean(
    sets: RemovalSets, right: Float[Tensor, "set pair"], kind: str, k: int, random: bool
) -> Float[Tensor, " pair"]:
    """Whether each prompt is right without a set, mean over draws where it is random; NaN where there is none."""
    rows = [at for at, one in enumerate(sets.sets) if (one.kind, one.k, one.draw is not None) == (kind, k, random)]
    return right[rows].mean(0) if rows else torch.full_like(right[0], torch.nan)
