"""A set of heads as an explanation: is it enough, is it needed, is each member needed, and is that more than chance?

Shares of what all heads do. Source: Wang et al. 2022, "Interpretability in the wild" (faithfulness, minimality).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.crossed import crossed_weights, interval_of, unit_note
from lens.analysis.interventions.cells import Cell, Grid, heads_set
from lens.analysis.interventions.intervention import Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import Sweep
from lens.analysis.names import Head, check_heads
from lens.analysis.stats import MIN_SAMPLES
from lens.config import Config

N_RANDOM = 20  # the best of 20 random sets is the 95th percentile
SMALL = 1e-3  # share of the metric; a smaller gap between all heads and no heads explains nothing
RESAMPLED = Intervention("z", into="clean")  # heads that do not work write what they wrote in the other run


class HeadSets(NamedTuple):
    """A sweep over sets of heads: kept alone, removed, random sets likewise, each one short, and with one more head."""

    experiment: Experiment
    heads: tuple[Head, ...]
    random: tuple[tuple[Head, ...], ...]
    outsiders: tuple[Head, ...]  # of no set: what one more head adds
    seed: int


class Share(NamedTuple):
    """A share of what all heads do together, unclipped, with its 95% interval, or None without one."""

    value: float
    low: float | None
    high: float | None


class Faithfulness(NamedTuple):
    """Shares of what the heads do together: 0 as with no head, 1 as with all (ratio of sums over pairs)."""

    kept: Share  # only the set works: is it enough?
    removed: Share  # everything but the set works: is it needed? Near 1 means not needed
    random_kept: Float[Tensor, " draw"]
    random_removed: Float[Tensor, " draw"]
    own: tuple[Share, ...]  # by head: ``kept`` minus the same without this head. Near 0 means not needed in the set
    added: Float[Tensor, " outsider"]  # the null of ``own``: what one head from outside adds to ``kept``
    all_heads: float  # metric, mean over pairs
    no_heads: float
    n: int
    note: str  # how the intervals were made, or why there are none
    sentence: str


def head_sets(
    cfg: Config,
    pairs: Pairs,
    heads: Sequence[Head],
    metric: Metric,
    intervention: Intervention = RESAMPLED,
    seed: int = 0,
) -> HeadSets:
    """The sweep that :func:`faithfulness` reads: run its ``experiment`` like any other.

    ``intervention`` says what heads that do not work write. Random sets have as many heads, drawn from all heads
    outside the set (from all, if too few are left).
    """
    chosen = tuple(dict.fromkeys(Head(*head) for head in heads))
    check_heads(list(chosen), cfg)
    every = [Head(layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads)]
    if not 0 < len(chosen) < len(every):
        raise ValueError(f"A set of {len(chosen)} of {len(every)} heads; choose at least one, and not all.")
    if intervention.site != "z":
        raise ValueError(f"head_sets: site={intervention.site!r}; heads are replaced at site 'z', their output.")
    rest, generator = [head for head in every if head not in chosen], torch.Generator().manual_seed(seed)
    pool = rest if len(rest) >= len(chosen) else every
    random = tuple(_draw(pool, len(chosen), generator) for _ in range(N_RANDOM))
    outsiders = _draw(rest, N_RANDOM, generator)
    kept = [[other for other in chosen if other != head] for head in chosen]
    kept += [[*chosen, head] for head in outsiders]
    cells: list[Cell] = [heads_set(every)]
    cells += [cell for one in (chosen, *random) for cell in (_all_but(every, one), heads_set(one))]
    cells += [_all_but(every, one) for one in kept]
    experiment = Experiment(pairs, intervention, Grid(sets=tuple(cells)), metric)
    return HeadSets(experiment, chosen, random, outsiders, seed)


def _draw(pool: Sequence[Head], most: int, generator: torch.Generator) -> tuple[Head, ...]:
    return tuple(pool[i] for i in torch.randperm(len(pool), generator=generator)[:most].tolist())


def _all_but(every: Sequence[Head], working: Sequence[Head]) -> Cell:
    """What is replaced when only ``working`` heads work."""
    left = set(working)
    return heads_set(head for head in every if head not in left)


def nothing_to_explain(sweep: Sweep, seed: int = 0) -> str:
    """Why the heads together do too little for shares of it; "" where they do enough."""
    full, none = torch.as_tensor(sweep.base).double(), torch.as_tensor(sweep.values)[0].double()
    gap, unit = full - none, sweep.experiment.metric.unit
    if not abs(float(gap.mean())) > SMALL * (abs(float(full.mean())) + abs(float(none.mean()))):
        return (
            f"all heads together move the metric from {float(none.mean()):.4g} to {float(full.mean()):.4g} only; "
            "there is nothing to explain. Choose another metric or task."
        )
    if len(gap) < MIN_SAMPLES:
        return ""
    low, high = (float(x) for x in interval_of((crossed_weights(sweep.experiment.pairs, seed) @ gap)[:, None]))
    if low > 0 or high < 0:
        return ""
    return (
        f"what all heads do together, {float(gap.mean()):.3g} {unit} [{low:.3g}, {high:.3g}], may be 0; there is "
        "nothing to explain. Choose another metric or task, or more pairs."
    )


def faithfulness(sets: HeadSets, sweep: Sweep) -> Faithfulness:
    """How much of the work of all heads the set does. ValueError where the heads together do next to nothing."""
    refused = nothing_to_explain(sweep, sets.seed)
    if refused:
        raise ValueError(f"No shares: {refused}")
    share, draws = _shares(sweep, sets.seed)
    kept, first = 1, 3 + 2 * len(sets.random)
    random = share[3:first].reshape(-1, 2).float()
    own = [first + at for at in range(len(sets.heads))]
    base, none = (torch.as_tensor(x).double() for x in (sweep.base, sweep.values[0]))
    found = Faithfulness(
        kept=_share(share, draws, kept),
        removed=_share(share, draws, kept + 1),
        random_kept=random[:, 0],
        random_removed=random[:, 1],
        own=tuple(_share(share[kept] - share, None if draws is None else draws[:, [kept]] - draws, at) for at in own),
        added=(share[first + len(sets.heads) :] - share[kept]).float(),
        all_heads=float(base.mean()),
        no_heads=float(none.mean()),
        n=len(base),
        note=unit_note(sweep.experiment.pairs, len(base), sets.seed),
        sentence="",
    )
    return found._replace(sentence=_sentence(sets, found))


def _shares(sweep: Sweep, seed: int) -> tuple[Float[Tensor, " cell"], Float[Tensor, "draw cell"] | None]:
    """What is left of the work of all heads in every cell, and the same in resamples of the pairs."""
    values, base = torch.as_tensor(sweep.values).double(), torch.as_tensor(sweep.base).double()
    left, gap = values - values[0], base - values[0]
    share = left.mean(-1) / gap.mean()
    if len(base) < MIN_SAMPLES:
        return share, None
    weights = crossed_weights(sweep.experiment.pairs, seed)
    return share, (weights @ left.T) / (weights @ gap)[:, None]


def _share(share: Tensor, draws: Tensor | None, at: int) -> Share:
    if draws is None:
        return Share(float(share[at]), None, None)
    low, high = interval_of(draws[:, [at]])
    return Share(float(share[at]), float(low), float(high))


def _sentence(sets: HeadSets, found: Faithfulness) -> str:
    better = int((found.random_kept >= found.kept.value).sum())
    as_needed = int((found.random_removed <= found.removed.value).sum())
    n, names = len(sets.random), ", ".join(map(str, sets.heads))
    who = f"head {names} does" if len(sets.heads) == 1 else f"heads {names} do"
    means = [_percent(float(one.mean())) for one in (found.random_kept, found.random_removed)]
    return (
        f"Alone, {who} {_said(found.kept)} of what all heads do; {better} of {n} random sets of as many heads do as "
        f"much (their mean: {means[0]}). With the set removed {_said(found.removed)} is left; {as_needed} of {n} "
        f"random removals leave as little (their mean: {means[1]})."
    )


def _said(share: Share) -> str:
    ends = "" if share.low is None else f" [{_percent(share.low)}, {_percent(share.high)}]"
    return f"{_percent(share.value)}{ends}"


def _percent(share: float) -> str:
    return f"{round(100 * share)}%".replace("-", "−")
