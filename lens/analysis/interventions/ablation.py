"""Parts of a model removed: the chosen ones together, each alone, and others of the same layers as their control."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.crossed import sampled, shortage, unit_note
from lens.analysis.interventions.cells import Cell, Grid, Place, heads_set
from lens.analysis.interventions.engine import Part
from lens.analysis.interventions.intervention import Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import Share, Sweep, effect, gap_of
from lens.analysis.names import Head, check_heads
from lens.analysis.verdicts import Gap, mean_over_pairs, rounding_of
from lens.arrays import as_tensor
from lens.config import Config

PUTS = ("other", "mean", "zero")  # in the order of trust
MOST_CONTROLS = 8
MOST_ALONE = 12  # members that are also removed one by one
NEGLIGIBLE = 0.01  # of the gap: rounding and noise of weights, whatever the interval says
PARTLY, MOSTLY = 0.1, 0.5  # shares of the gap: below the first "next to nothing"
Size = Literal["most", "some", "nothing", "better"]  # how far a removal goes towards the control run
Backup = Literal["no interval", "no gap", "none", "backup", "one path", "partial", ""]


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
        return tuple(target.cell for target in self.targets)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What each of them is."""
        return (self.target, *self.alone, *self.controls)


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
    values = as_tensor(empty.values).clone()
    flat = values.reshape(-1, values.shape[-1])
    for part in parts:
        flat[as_tensor(part.cell).long(), as_tensor(part.pair).long()] = as_tensor(part.value)
    return empty._replace(values=flat.reshape(values.shape))


def joint(sweep: Sweep, cells: Cells, seed: int = 0) -> Joint | None:
    """Whether the chosen parts stand in for each other: the effect together minus the sum of the effects alone.

    None where fewer than two were removed one by one. The interval resamples the pairs, the same for both terms.
    """
    if not cells.alone:
        return None
    change = (as_tensor(sweep.values) - as_tensor(sweep.base)).double()
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
    change = (as_tensor(sweep.values) - as_tensor(sweep.base)).double()
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
    base, other = as_tensor(sweep.base), as_tensor(sweep.other)
    found = sampled(as_tensor(sweep.values)[cell] - base, sweep.experiment.pairs, seed, other - base)
    low, high = found.interval()
    return Share(float(found.value), float(low), float(high))


class Removed(NamedTuple):
    """One way of removing: the mean change of every set with its interval, and the metric before."""

    value: Float[Tensor, " set"]
    low: Float[Tensor, " set"] | None
    high: Float[Tensor, " set"] | None
    n: int
    note: str
    base: Float[Tensor, " pair"]
    gap: Gap  # the control run's metric minus the clean run's
    share: Share | None  # of the gap, by the chosen ones; None unless the two runs differ
    rounding: float  # a change up to this size may be rounding

    def at(self, index: int) -> tuple[float, float | None, float | None]:
        """The change of one set and the ends of its interval."""
        ends = [None if end is None else float(end[index]) for end in (self.low, self.high)]
        return float(self.value[index]), *ends

    @property
    def before(self) -> float:
        """The metric of the clean run, mean over pairs."""
        return float(np.mean(np.asarray(self.base)))


def removal_rows(cells: Cells, ways: Mapping[str, Removed], unit: str) -> list[dict[str, Any]]:
    """One row per way of removing ("put") and set: its change with the ends of its interval, in ``unit``."""
    roles = ["chosen", *["alone"] * len(cells.alone), *["control"] * len(cells.controls)]
    return [
        {"put": put, "removed": target.label, "role": role}
        | dict(zip(("change", "CI low", "CI high"), way.at(index)))
        | {"unit": unit, "n": way.n}
        for put, way in ways.items()
        for index, (role, target) in enumerate(zip(roles, cells.targets))
    ]


class BesideControls(NamedTuple):
    """How the chosen set compares with its controls."""

    as_much: int  # controls whose change is as large
    n: int
    low: float  # the controls' changes
    high: float


class HeadChanges(NamedTuple):
    """What removing every head alone does, all heads together; see ``read_heads``."""

    largest: Head
    value: float  # its change
    share: float | None  # of the gap; None where there is none
    n: int  # heads that are computed
    beyond: int | None  # heads beyond chance; None where the pairs carry no interval
    total: float  # sum of the single changes


def removed(sweep: Sweep, seed: int = 0) -> Removed:
    """The effects of a sweep over sets, the chosen one first, with what they are held against."""
    found, base = effect(sweep, seed), as_tensor(sweep.base).double()
    gap, share = gap_of(sweep, seed), share_of_gap(sweep, 0, seed)
    rounding = rounding_of(sweep.base, sweep.values)
    return Removed(found.value, found.low, found.high, found.n, found.note, base, gap, share, rounding)


def size_of(share: float) -> Size:
    """How far a share of the gap goes, in classes."""
    if share >= MOSTLY:
        return "most"
    if share >= PARTLY:
        return "some"
    return "nothing" if share > -PARTLY else "better"


def beside_controls(one: Removed, n_alone: int) -> BesideControls | None:
    """The chosen set beside its controls, which stand after the ``n_alone`` members alone; None without controls."""
    controls = np.asarray(one.value)[1 + n_alone :]
    if not len(controls):
        return None
    as_much = int((np.abs(controls) >= abs(float(one.value[0]))).sum())
    return BesideControls(as_much, len(controls), float(controls.min()), float(controls.max()))


def disagreeing(ways: Mapping[str, Removed]) -> dict[str, float]:
    """The ways of removing that tell another story than resampling ("other"), beyond both intervals: their shares."""
    first = ways["other"]
    if first.share is None or first.low is None or first.high is None:
        return {}
    shares = {put: float(one.value[0]) / first.gap.mean for put, one in ways.items() if put != "other"}
    return {
        put: share
        for put, share in shares.items()
        if size_of(share) != size_of(first.share.value)
        and (ways[put].low[0] > first.high[0] or ways[put].high[0] < first.low[0])
    }


def backup(one: Removed, together: Joint | None) -> Backup:
    """Whether the chosen parts stand in for each other, or others for them.

    "backup": together they do more than each alone. "one path": less, so losing one already loses the others.
    "partial": of a single set, much of the way is left. "" where nothing can be said.
    """
    if together is None:
        partial = one.share is not None and one.share.low > PARTLY and one.share.high < 1 - PARTLY
        return "partial" if partial else ""
    if together.low is None or together.high is None:
        return "no interval"
    if not one.gap.found:
        return "no gap"
    if abs(together.extra) <= max(NEGLIGIBLE * abs(one.gap.mean), one.rounding):
        return "none"
    ends = sorted(end * (1 if one.gap.mean > 0 else -1) for end in (together.low, together.high))
    return "backup" if ends[0] > 0 else "one path" if ends[1] < 0 else "none"


def read_heads(
    values: Float[Tensor, "layer head"], reach: Float[Tensor, "layer head"] | None, gap: Gap
) -> HeadChanges | None:
    """Changes by single heads (NaN: not computed yet) beside ``reach``, see :func:`chance`; None if none is known."""
    values = np.asarray(values)
    known = np.isfinite(values)
    if not known.any():
        return None
    at = Head(*(int(i) for i in np.unravel_index(int(np.argmax(np.where(known, np.abs(values), -1))), values.shape)))
    beyond = None if reach is None else int((np.abs(values[known]) > np.asarray(reach)[known]).sum())
    share = float(values[at]) / gap.mean if gap.found else None
    return HeadChanges(at, float(values[at]), share, int(known.sum()), beyond, float(values[known].sum()))
