"""A set of heads as an explanation: is it enough, is it needed, is each member needed, and is that more than chance?"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.cells import Cell, Grid, heads_set
from lens.analysis.interventions.intervention import Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import Sweep
from lens.analysis.names import Head, check_heads
from lens.config import Config

N_RANDOM = 20  # the best of 20 random sets is the 95th percentile
SMALL = 1e-3  # share of the metric; a smaller gap between all heads and no heads explains nothing


class HeadSets(NamedTuple):
    """A sweep over sets of heads, and what its cells are: kept alone, removed, random sets likewise, minus one."""

    experiment: Experiment
    heads: tuple[Head, ...]
    n_random: int
    seed: int


class Faithfulness(NamedTuple):
    """Shares of what the heads do together: 0 as with no head, 1 as with all (means over pairs, unclipped)."""

    kept: float  # only the set works: is it enough?
    removed: float  # everything but the set works: is it needed? Near 1 means not needed
    random_kept: Float[Tensor, " draw"]
    random_removed: Float[Tensor, " draw"]
    without: Float[Tensor, " head"]  # only the set minus this head works; far below ``kept`` means it is needed
    all_heads: float  # metric, mean over pairs
    no_heads: float
    sentence: str


def head_sets(
    cfg: Config, pairs: Pairs, heads: Sequence[Head], metric: Metric, put: str = "other", seed: int = 0
) -> HeadSets:
    """The sweep that :func:`faithfulness` reads: run its ``experiment`` like any other.

    Heads that do not work are replaced in the clean run, by ``put``. Random sets have as many heads, drawn from all
    heads outside the set (from all, if too few are left).
    """
    chosen = tuple(dict.fromkeys(Head(*head) for head in heads))
    check_heads(list(chosen), cfg)
    every = [Head(layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads)]
    if not 0 < len(chosen) < len(every):
        raise ValueError(f"A set of {len(chosen)} of {len(every)} heads; choose at least one, and not all.")
    rest = [head for head in every if head not in chosen]
    pool, generator = rest if len(rest) >= len(chosen) else every, torch.Generator().manual_seed(seed)
    drawn = [[pool[i] for i in torch.randperm(len(pool), generator=generator)[: len(chosen)]] for _ in range(N_RANDOM)]
    cells: list[Cell] = [heads_set(every), *_both(every, chosen)]
    cells += [cell for one in drawn for cell in _both(every, one)]
    cells += [_both(every, [other for other in chosen if other != head])[0] for head in chosen]
    intervention = Intervention("z", put, into="clean")
    return HeadSets(Experiment(pairs, intervention, Grid(sets=tuple(cells)), metric), chosen, N_RANDOM, seed)


def _both(every: Sequence[Head], chosen: Sequence[Head]) -> tuple[Cell, Cell]:
    """Replaced when only ``chosen`` work, and when all but ``chosen`` do."""
    return heads_set([head for head in every if head not in chosen]), heads_set(chosen)


def faithfulness(sets: HeadSets, sweep: Sweep) -> Faithfulness:
    """How much of the work of all heads the set does. ValueError where the heads together do next to nothing."""
    means = torch.as_tensor(sweep.values).double().mean(-1)
    full, none = float(torch.as_tensor(sweep.base).double().mean()), float(means[0])
    if not abs(full - none) > SMALL * (abs(full) + abs(none)):
        raise ValueError(
            f"All heads together move the metric from {none:.4g} to {full:.4g} only; there is nothing to explain. "
            "Choose another metric or task."
        )
    share = ((means - none) / (full - none)).float()
    kept, removed = share[1:3].tolist()
    random = share[3 : 3 + 2 * sets.n_random].reshape(-1, 2)
    better = int((random[:, 0] >= kept).sum())
    names = ", ".join(map(str, sets.heads))
    sentence = (
        f"Alone, heads {names} do {kept:.0%} of what all heads do; {better} of {sets.n_random} random sets of as many "
        f"heads do as much (their mean: {float(random[:, 0].mean()):.0%}). Without them {removed:.0%} is left "
        f"(without random sets: {float(random[:, 1].mean()):.0%})."
    )
    without = share[3 + 2 * sets.n_random :]
    return Faithfulness(kept, removed, random[:, 0], random[:, 1], without, full, none, sentence)
