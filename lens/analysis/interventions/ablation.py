"""Parts of a model removed: the chosen ones together, each alone, and others of the same layers as their control."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.crossed import sampled, shortage, unit_note
from lens.analysis.interventions.cells import Cell, Grid, Place, heads_set
from lens.analysis.interventions.engine import Part
from lens.analysis.interventions.intervention import Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import Share, Sweep, gap_of
from lens.analysis.names import Head, check_heads
from lens.analysis.verdicts import mean_over_pairs, rounding_of
from lens.config import Config

PUTS = ("other", "mean", "zero")  # in the order of trust
MOST_CONTROLS = 8
MOST_ALONE = 12  # members that are also removed one by one


@dataclass(frozen=True)
class Target:
    """What is removed together: heads (site z), or the whole MLPs of some layers (site mlp_out)."""

    heads: tuple[tuple[int, int], ...] = ()
    mlps: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.heads) == bool(self.mlps):
            raise ValueError("Target: give heads, or layers of MLPs; one of the two.")
        # Plain pairs, whatever was given: the repr stands in the Python that a page exports.
        object.__setattr__(self, "heads", tuple((layer, head) for layer, head in self.heads))

    @property
    def site(self) -> str:
        """Where it is removed."""
        return "z" if self.heads else "mlp_out"

    @property
    def cell(self) -> Cell:
        """All of it, removed together."""
        return heads_set(self.heads) if self.heads else tuple(map(Place, self.mlps))

    @property
    def members(self) -> tuple["Target", ...]:
        """Its parts, one by one."""
        return (*(Target((head,)) for head in self.heads), *(Target(mlps=(layer,)) for layer in self.mlps))

    @property
    def label(self) -> str:
        """ "18.6, 17.3" or "MLP 4"."""
        heads = ", ".join(f"{layer}.{head}" for layer, head in self.heads)
        return heads or f"MLP {', '.join(map(str, self.mlps))}"


class Cells(NamedTuple):
    """The sets of one ablation: ``target`` together, its ``alone`` members (none if it is one), then ``controls``."""

    target: Target
    alone: tuple[Target, ...]
    controls: tuple[Target, ...]
    note: str  # what the controls are, or why there are none

    @property
    def sets(self) -> tuple[Cell, ...]:
        """One cell of a sweep for each."""
        return tuple(one.cell for one in (self.target, *self.alone, *self.controls))


class Joint(NamedTuple):
    """What removing several together does beyond the sum of removing each alone, in the metric's unit."""

    together: float
    sum_alone: float
    extra: float  # together − sum_alone
    low: float | None
    high: float | None


def cells_of(cfg: Config, target: Target, seed: int = 0) -> Cells:
    """The sets that one ablation needs. Controls have as many heads in each layer, none of them chosen.

    For an MLP, which its layer has only one of, the MLPs of other layers. ValueError for a head that does not exist.
    """
    if target.mlps:
        controls, note = _other_mlps(cfg, target, seed)
    else:
        check_heads([Head(*head) for head in target.heads], cfg)
        controls, note = _other_heads(cfg, target, seed)
    alone = target.members if 1 < len(target.members) <= MOST_ALONE else ()
    return Cells(target, alone, controls, note)


def _other_heads(cfg: Config, target: Target, seed: int) -> tuple[tuple[Target, ...], str]:
    generator = torch.Generator().manual_seed(seed)
    layers = sorted({layer for layer, _ in target.heads})
    free = {one: [h for h in range(cfg.n_heads) if (one, h) not in target.heads] for one in layers}
    wanted = {one: sum(layer == one for layer, _ in target.heads) for one in layers}
    short = [one for one in layers if len(free[one]) < wanted[one]]
    if short:
        left, need = len(free[short[0]]), wanted[short[0]]
        return (), f"no control: layer {short[0]} has {left} other heads, and {need} would be needed"
    many = 1
    for one in layers:
        many *= comb(len(free[one]), wanted[one])
    if len(layers) == 1 and many <= MOST_CONTROLS:
        found = [tuple((layers[0], h) for h in chosen) for chosen in combinations(free[layers[0]], wanted[layers[0]])]
        drawn = "every other head" if wanted[layers[0]] == 1 else "every other choice of as many heads"
        return tuple(map(Target, found)), f"control: {drawn} of the same layer"
    found = {}
    while len(found) < min(many, MOST_CONTROLS):
        parts = [[free[one][i] for i in _draw(len(free[one]), wanted[one], generator)] for one in layers]
        found[tuple((one, h) for one, part in zip(layers, parts) for h in sorted(part))] = None
    what = "heads" if len(target.heads) == 1 else "sets of as many heads"
    return tuple(map(Target, found)), f"control: {len(found)} other {what} of the same layers, seed {seed}"


def _draw(size: int, count: int, generator: torch.Generator) -> list[int]:
    return torch.randperm(size, generator=generator)[:count].tolist()


def _other_mlps(cfg: Config, target: Target, seed: int) -> tuple[tuple[Target, ...], str]:
    others = [layer for layer in range(cfg.n_layers) if layer not in target.mlps]
    if len(target.mlps) != 1 or not others:
        return (), "no control: there is no other MLP to compare with"
    drawn = _draw(len(others), min(len(others), MOST_CONTROLS), torch.Generator().manual_seed(seed))
    chosen = tuple(Target(mlps=(others[i],)) for i in sorted(drawn))
    return chosen, f"control: the MLPs of {len(chosen)} other layers (a layer has one only), seed {seed}"


def ablation(pairs: Pairs, metric: Metric, cells: Cells, put: str = "other", frozen: bool = False) -> Experiment:
    """All sets of one ablation of the clean run. ``frozen``: all attention patterns stay as they were."""
    intervention = Intervention(cells.target.site, put, into="clean", freeze=("patterns",) if frozen else ())
    return Experiment(pairs, intervention, Grid(sets=cells.sets), metric)


def single_heads(pairs: Pairs, metric: Metric, put: str = "other", frozen: bool = False) -> Experiment:
    """Every head removed alone."""
    intervention = Intervention("z", put, into="clean", freeze=("patterns",) if frozen else ())
    return Experiment(pairs, intervention, Grid(("layer", "head")), metric)


def with_parts(empty: Sweep, parts: Iterable[Part]) -> Sweep:
    """A sweep with these groups filled in, from the empty one of its outline; needs no model."""
    values = torch.as_tensor(empty.values).clone()
    flat = values.reshape(-1, values.shape[-1])
    for part in parts:
        flat[torch.as_tensor(part.cell).long(), torch.as_tensor(part.pair).long()] = torch.as_tensor(part.value)
    return empty._replace(values=flat.reshape(values.shape))


def joint(sweep: Sweep, cells: Cells, seed: int = 0) -> Joint | None:
    """Whether the chosen parts stand in for each other: the effect together minus the sum of the effects alone.

    None where fewer than two were removed one by one. The interval resamples the pairs, the same for both terms.
    """
    if not cells.alone:
        return None
    change = (torch.as_tensor(sweep.values) - torch.as_tensor(sweep.base)).double()
    alone = change[1 : 1 + len(cells.alone)].sum(0)
    extra = mean_over_pairs(change[0] - alone, sweep.experiment.pairs, seed)
    ends = (None, None) if extra.low is None else (float(extra.low), float(extra.high))
    return Joint(float(change[0].mean()), float(alone.mean()), float(extra.mean), *ends)


class Chance(NamedTuple):
    """How far from 0 the mean effect of each head comes by sampling alone, as the largest of all heads.

    ``reach`` is None where the pairs carry no interval. Heads keep their own spread.
    """

    reach: Float[Tensor, "*axes"] | None
    note: str


def chance(sweep: Sweep, seed: int = 0) -> Chance:
    """The band that all heads without effect stay inside in 95% of samples of pairs: see :func:`reach_by_chance`."""
    change = (torch.as_tensor(sweep.values) - torch.as_tensor(sweep.base)).double()
    return reach_by_chance(change, sweep.experiment.pairs, rounding_of(sweep.base, sweep.values), seed)


def reach_by_chance(change: Float[Tensor, "*axes pair"], pairs: Pairs, rounding: float, seed: int = 0) -> Chance:
    """The band ±reach that the mean changes of all cells without effect stay inside in 95% of samples of pairs.

    The 95th percentile over resamples of the largest |resampled − mean| of any head, each in the standard errors of
    that resample, times each head's standard error; at least what ``rounding`` alone can do. Source: Westfall and
    Young 1993, maximum statistics; Romano and Wolf 2005 (studentised).
    """
    if shortage(pairs):
        return Chance(None, unit_note(pairs, seed))
    found = sampled(change.double(), pairs, seed)
    furthest = found.furthest()
    reach = (furthest * found.error).clamp(min=rounding).float()
    note = f"by chance, the largest of {reach.numel()} heads stays within ±{furthest:.1f} standard errors"
    return Chance(reach, f"{note}; {unit_note(pairs, seed)}")


def share_of_gap(sweep: Sweep, cell: int = 0, seed: int = 0) -> Share | None:
    """The effect of one set as a share of the way from the clean run to the other; None unless the two runs differ."""
    if not gap_of(sweep, seed).found:
        return None
    base, other = torch.as_tensor(sweep.base), torch.as_tensor(sweep.other)
    found = sampled(torch.as_tensor(sweep.values)[cell] - base, sweep.experiment.pairs, seed, other - base)
    low, high = found.interval()
    return Share(float(found.value), float(low), float(high))
