"""A set of heads as an explanation: is it enough, is it needed, is each member needed, and is that more than chance?

Shares of what all heads do. Source: Wang et al. 2022, "Interpretability in the wild" (faithfulness, minimality).
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.crossed import sampled, unit_note
from lens.analysis.interventions.cells import Cell, Grid, heads_set
from lens.analysis.interventions.intervention import Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import Share, Sweep
from lens.analysis.names import Head, check_heads
from lens.analysis.verdicts import Gap, gap_between
from lens.arrays import as_tensor
from lens.config import Config

N_RANDOM = 20  # random sets, where there are as many: the best of 20 is the 95th percentile
RESAMPLED = Intervention("z", into="clean")  # heads that do not work write what they wrote in the other run


class HeadSets(NamedTuple):
    """A sweep over sets of heads: kept alone, removed, random sets likewise, each one short, and with one more head."""

    experiment: Experiment
    heads: tuple[Head, ...]
    random: tuple[tuple[Head, ...], ...]
    outsiders: tuple[Head, ...]  # of no set: what one more head adds
    seed: int


class Faithfulness(NamedTuple):
    """Shares of what the heads do together, unclipped: 0 as with no head, 1 as with all (ratio of sums over pairs)."""

    kept: Share  # only the set works: is it enough?
    removed: Share  # everything but the set works: is it needed? Near 1 means not needed
    random_kept: Float[Tensor, " draw"]
    random_removed: Float[Tensor, " draw"]
    own: tuple[Share, ...]  # by head: ``kept`` minus the same without this head. Near 0 means not needed in the set
    added: Float[Tensor, " outsider"]  # the null of ``own``: what one head from outside adds to ``kept``
    all_heads: float  # metric, mean over pairs
    no_heads: float
    n: int
    note: str  # how the intervals were made
    sentence: str

    @property
    def reach(self) -> float | None:
        """The most that one head from outside adds, at least 0; None where none is left outside."""
        return max(float(self.added.max()), 0.0) if len(self.added) else None

    @property
    def by_own(self) -> list[int]:
        """Members of the set, as places in ``own``, the one with the largest own share first."""
        return sorted(range(len(self.own)), key=lambda i: -self.own[i].value)

    @property
    def idle(self) -> list[int]:
        """Members, in that order, whose own share may be no more than what a head from outside adds."""
        return [] if self.reach is None else [i for i in self.by_own if self.own[i].low <= self.reach]


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
    outside the set (from all, if too few are left); all of them differ, so there may be fewer than 20.
    """
    chosen = tuple(dict.fromkeys(Head(*head) for head in heads))
    check_heads(list(chosen), cfg)
    every = [Head(layer, head) for layer in range(cfg.n_layers) for head in range(cfg.n_heads)]
    if not 0 < len(chosen) < len(every):
        raise ValueError(f"A set of {len(chosen)} of {len(every)} heads; choose at least one, and not all.")
    if intervention.site != "z":
        raise ValueError(f"head_sets: site={intervention.site!r}; heads are replaced at site 'z', their output.")
    rest, generator = [head for head in every if head not in chosen], torch.Generator().manual_seed(seed)
    random = _other_sets(rest if len(rest) >= len(chosen) else every, chosen, generator)
    outsiders = _draw(rest, N_RANDOM, generator)
    kept = [[other for other in chosen if other != head] for head in chosen]
    kept += [[*chosen, head] for head in outsiders]
    cells: list[Cell] = [heads_set(every)]
    cells += [cell for one in (chosen, *random) for cell in (_all_but(every, one), heads_set(one))]
    cells += [_all_but(every, one) for one in kept]
    experiment = Experiment(pairs, intervention, Grid(sets=tuple(cells)), metric)
    return HeadSets(experiment, chosen, random, outsiders, seed)


def _other_sets(
    pool: Sequence[Head], chosen: tuple[Head, ...], generator: torch.Generator
) -> tuple[tuple[Head, ...], ...]:
    """Different sets of as many heads, none of them ``chosen``: all there are, or ``N_RANDOM`` drawn ones."""
    if comb(len(pool), len(chosen)) <= N_RANDOM + 1:
        return tuple(one for one in combinations(pool, len(chosen)) if set(one) != set(chosen))[:N_RANDOM]
    found: dict[tuple[Head, ...], None] = {}
    while len(found) < N_RANDOM:
        drawn = tuple(sorted(_draw(pool, len(chosen), generator)))
        if set(drawn) != set(chosen):
            found[drawn] = None
    return tuple(found)


def _draw(pool: Sequence[Head], most: int, generator: torch.Generator) -> tuple[Head, ...]:
    return tuple(pool[i] for i in torch.randperm(len(pool), generator=generator)[:most].tolist())


def _all_but(every: Sequence[Head], working: Sequence[Head]) -> Cell:
    """What is replaced when only ``working`` heads work."""
    left = set(working)
    return heads_set(head for head in every if head not in left)


def gap_of_heads(sweep: Sweep, seed: int = 0) -> Gap:
    """What all heads do together: the metric with all of them minus with none."""
    none = as_tensor(sweep.values)[0]
    return gap_between(sweep.base, none, sweep.experiment.pairs, sweep.experiment.metric.unit, seed)


def nothing_to_explain(sweep: Sweep, seed: int = 0) -> str:
    """Why there are no shares of what the heads do together; "" where they do enough."""
    gap = gap_of_heads(sweep, seed)
    if gap.found:
        return ""
    what = "with all heads and with none"
    return f"{gap.verdict.reason} ({what}). There is nothing to explain. Choose another metric or task, or more pairs"


def faithfulness(sets: HeadSets, sweep: Sweep) -> Faithfulness:
    """How much of the work of all heads the set does. ValueError where the heads together may do nothing."""
    refused = nothing_to_explain(sweep, sets.seed)
    if refused:
        raise ValueError(f"No shares: {refused}.")
    values, base, pairs = as_tensor(sweep.values), as_tensor(sweep.base), sweep.experiment.pairs
    kept, first = 1, 3 + 2 * len(sets.random)
    own, added = first + len(sets.heads), values[first + len(sets.heads) :] - values[kept]
    mine = torch.cat([values[kept : kept + 2] - values[0], values[kept] - values[first:own]])
    found = sampled(mine, pairs, sets.seed, base - values[0])
    shares = [Share(*map(float, one)) for one in zip(found.value, *found.interval())]
    gap = (base - values[0]).double().mean()
    random = ((values[3:first] - values[0]).double().mean(-1) / gap).reshape(-1, 2).float()
    result = Faithfulness(
        kept=shares[0],
        removed=shares[1],
        random_kept=random[:, 0],
        random_removed=random[:, 1],
        own=tuple(shares[2:]),
        added=(added.double().mean(-1) / gap).float(),
        all_heads=float(base.double().mean()),
        no_heads=float(values[0].double().mean()),
        n=len(base),
        note=unit_note(pairs, sets.seed),
        sentence="",
    )
    return result._replace(sentence=_sentence(sets, result))


class ShareRow(NamedTuple):
    """One set of heads and its share."""

    what: str  # "kept", "removed, random", "own share", …
    heads: str
    share: float
    low: float | None = None
    high: float | None = None


def share_rows(sets: HeadSets, found: Faithfulness) -> list[ShareRow]:
    """A table of the chosen set and random ones, kept and removed, of each head's own share, and of one head more."""

    def row(what: str, heads: Sequence[Head], share: float, *ends: float) -> ShareRow:
        return ShareRow(what, ", ".join(map(str, heads)), float(share), *ends)

    rows = [row("kept", sets.heads, *found.kept), row("removed", sets.heads, *found.removed)]
    for what, shares in (("kept, random", found.random_kept), ("removed, random", found.random_removed)):
        rows += [row(what, heads, share) for heads, share in zip(sets.random, shares)]
    rows += [row("own share", [head], *own) for head, own in zip(sets.heads, found.own)]
    return rows + [row("one more", [head], share) for head, share in zip(sets.outsiders, found.added)]


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
    return f"{_percent(share.value)} [{_percent(share.low)}, {_percent(share.high)}]"


def _percent(share: float) -> str:
    return f"{round(100 * share)}%".replace("-", "−")
