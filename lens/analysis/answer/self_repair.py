"""What a head does to the metric by itself, what the model loses without it, and which later parts make the difference.

Direct effect DE: only the head's write to the final stream is replaced, at the final norm's scale as it was. Total
effect TE: the head is replaced and everything after it reacts. Sources: McGrath et al. 2023, "The Hydra effect";
Rushing and Nanda 2024, "Explorations of self-repair in language models".
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.analysis.answer.head_inputs import Write
from lens.analysis.answer.writes import Writes, written
from lens.analysis.crossed import sampled, shortage
from lens.analysis.direct_paths import final_scale
from lens.analysis.interventions import (
    Effect,
    Experiment,
    Grid,
    Metric,
    Pairs,
    Path,
    PathSweep,
    Share,
    Sweep,
    heads_set,
)
from lens.analysis.interventions.ablation import NEGLIGIBLE, reach_by_chance
from lens.analysis.interventions.engine import BUDGET, prepare
from lens.analysis.interventions.results import gap_of, with_interval
from lens.analysis.interventions.rows import Rows
from lens.analysis.interventions.walk import changes
from lens.analysis.names import Head, check_heads
from lens.analysis.verdicts import Gap, Verdict, rounding_of
from lens.arrays import as_tensor
from lens.batching import at_once
from lens.components import Norm
from lens.config import Config
from lens.finite import require_finite
from lens.hooked import HookedTransformer
from lens.hooks import hooks

NODES = (8, 16, 32, 64)  # of the integral, more while it misses by more than CLOSE
CLOSE = 1e-3  # of the change that is split
MOST_PAIRED = 6  # heads that are removed two by two


def why_not(metric: Metric) -> str:
    """Why effects in this metric cannot be split over parts; "" where they can."""
    if metric.kind == "kl":
        return "the KL divergence is not read along single paths"
    return "a rank moves in steps, so no part has a share of it" if metric.kind == "rank" else ""


def direct_paths_of(pairs: Pairs, metric: Metric, put: str = "other") -> Path:
    """The direct effect of every head: its write alone is replaced in the clean run, the final scale as it was."""
    return Path(pairs, "final", metric=metric, put=put, frozen_scale=True)


class SelfRepair(NamedTuple):
    """Effects of every head in the metric's unit, means over pairs with intervals, each [layer, head]."""

    direct: Effect
    total: Effect
    rest: Effect  # total − direct: what later parts and the final scale do
    compensated: Bool[Tensor, "layer head"] | None  # None where the pairs carry no verdict
    through_others: Bool[Tensor, "layer head"] | None  # rest beyond chance, and no compensation
    gap: Gap
    note: str

    def verdict(self, head: Head) -> Verdict:
        """Whether later parts make up for this head."""
        if self.compensated is None:
            return Verdict("unknown", self.note)
        if not self.gap.found:
            return Verdict("none", f"there is nothing to compensate for: {self.gap.verdict.reason}")
        if bool(as_tensor(self.compensated)[head]):
            return Verdict("found", "later parts compensate for it")
        if bool(as_tensor(self.through_others)[head]):
            return Verdict("none", "what later parts do is no compensation for what it does itself")
        return Verdict("none", "no difference between the two that the sampling of pairs would not make")


def self_repair(paths: PathSweep, sweep: Sweep, seed: int = 0) -> SelfRepair:
    """Direct against total effects: ``paths`` of :func:`direct_paths_of`, ``sweep`` of every head removed alone.

    Compensated is a head against whose direct effect, of either sign, later parts work, both by more than the largest
    of all heads does by sampling pairs (see :func:`~.ablation.reach_by_chance`), where the two runs differ at all. A
    difference of less than 1% of theirs is nothing.
    """
    pairs, base = sweep.experiment.pairs, as_tensor(sweep.base)
    direct, total = ((as_tensor(one).double() - base) for one in (paths.heads, sweep.values))
    direct_effect, total_effect, rest = (
        with_interval(one.mean(-1), one, pairs, seed) for one in (direct, total, total - direct)
    )
    gap, short = gap_of(sweep, seed), shortage(pairs)
    found = (direct_effect, total_effect, rest)
    if short:
        return SelfRepair(*found, None, None, gap, rest.note)
    least = max(NEGLIGIBLE * abs(gap.mean), rounding_of(sweep.base, sweep.values, paths.heads))
    does, beyond = (
        effect.value.abs() > reach_by_chance(change, pairs, least, seed).reach
        for effect, change in ((direct_effect, direct), (rest, total - direct))
    )
    compensated = does & beyond & (direct_effect.value.sign() == -rest.value.sign())
    if not gap.found:
        compensated, beyond = torch.zeros_like(compensated), torch.zeros_like(beyond)
    return SelfRepair(*found, compensated, beyond & ~compensated, gap, rest.note)


class Split(NamedTuple):
    """TE − DE of one head over what comes after it; in the metric's unit, each [pair]."""

    head: Head
    direct: Float[Tensor, " pair"]
    total: Float[Tensor, " pair"]
    writes: tuple[Write, ...]  # later heads and MLPs; "biases" where a norm follows what is written
    parts: Float[Tensor, "part pair"]  # by how much the direct effect of each changes
    scale: Float[Tensor, " pair"]  # what the final norm's new scale does

    @property
    def remainder(self) -> Float[Tensor, " pair"]:
        """What the parts leave unexplained: rounding, and of a metric that is not linear the integral's error."""
        named = as_tensor(self.parts).sum(0) + as_tensor(self.scale)
        return as_tensor(self.total) - as_tensor(self.direct) - named

    def share(self, pairs: Pairs, seed: int = 0) -> Share | None:
        """How much of the direct effect is made up for, ratio of sums; None where the pairs carry no interval."""
        if shortage(pairs):
            return None
        direct = as_tensor(self.direct).double()
        found = sampled(direct - as_tensor(self.total), pairs, seed, direct)
        return Share(float(found.value), *map(float, found.interval()))


class Part(NamedTuple):
    """By how much the direct effect of one later part changes, mean over pairs with its interval."""

    write: Write | None  # None: the final norm's new scale
    value: float
    low: float
    high: float
    beyond: bool  # by more than the largest of all parts does by sampling pairs


def largest_parts(apart: Split, pairs: Pairs, n: int, seed: int = 0) -> tuple[Part, ...]:
    """The ``n`` largest parts of a difference; none where the pairs carry no verdict."""
    if shortage(pairs):
        return ()
    scale = as_tensor(apart.scale)[None]
    values = torch.cat([as_tensor(apart.parts).reshape(-1, scale.shape[1]).to(scale), scale]).double()
    least = max(NEGLIGIBLE * abs(float(values.mean(-1).sum())), rounding_of(values, apart.direct, apart.total))
    found, reach = (
        with_interval(values.mean(-1), values, pairs, seed),
        reach_by_chance(values, pairs, least, seed).reach,
    )
    rows = zip((*apart.writes, None), found.value, found.low, found.high, found.value.abs() > reach)
    parts = [Part(write, float(value), float(low), float(high), bool(is_)) for write, value, low, high, is_ in rows]
    return tuple(sorted(parts, key=lambda part: -abs(part.value))[:n])


@torch.no_grad()
def split(model: HookedTransformer, experiment: Experiment, head: tuple[int, int]) -> Split:
    """Who compensates for one head, removed as ``experiment`` says (its pairs, metric and what is put in place).

    A later part's share is the change of its write times the slope of the metric, at the old final scale. The slope of
    a logit is one number; that of a loss or a probability is its mean along the straight way from the stream in which
    only the head's write is changed to that in which all are (Aumann and Shapley 1974; Sundararajan et al. 2017), so
    that shares sum up. The norm after attention of post-norm blocks belongs to the write of its layer.
    """
    head, why = Head(*head), why_not(experiment.metric)
    check_heads([head], model.cfg)
    if why:
        raise ValueError(f"split: {why}; choose another metric.")
    runs = _Both(model, experiment, head)
    own = runs.attention_change
    only_head = runs.clean.final + own
    ends = [(runs.clean.final, runs.scale), (only_head, runs.scale), (runs.changed.final, runs.scale)]
    ends.append((runs.changed.final, final_scale(model, runs.changed.final)))
    before, alone, all_writes, after = (runs.metric(*end) for end in ends)
    writes, linear = later_writes(model.cfg, head), is_linear(model, experiment.metric)
    for nodes in (1,) if linear else NODES:
        parts = _shares(runs, writes, runs.slope(only_head, runs.changed.final, nodes))
        missed = runs.per_pair(all_writes - alone - parts.sum(0)).abs().max()
        if missed <= CLOSE * runs.per_pair(all_writes - alone).abs().max():
            break
    direct, total, scale = (runs.per_pair(one) for one in (alone - before, after - before, after - all_writes))
    return Split(head, direct, total, writes, runs.per_pair(parts), scale)


def is_linear(model: HookedTransformer, metric: Metric) -> bool:
    """Whether the metric is a sum over what is written, at a given final scale."""
    return metric.kind in ("logit_diff", "logit") and model.cfg.final_softcap is None


def later_writes(cfg: Config, head: Head) -> tuple[Write, ...]:
    """What can react to a head: heads of later layers, MLPs from its own on, and biases that a later norm scales."""
    heads = [Write("head", layer, one) for layer in range(head.layer + 1, cfg.n_layers) for one in range(cfg.n_heads)]
    mlps = [] if cfg.attn_only else [Write("mlp", layer) for layer in range(head.layer, cfg.n_layers)]
    return (*heads, *mlps, *([Write("biases")] if cfg.post_norm else []))


class _Both:
    """The clean run and the one without the head, where the metric is read: a row per pair and position."""

    def __init__(self, model: HookedTransformer, experiment: Experiment, head: Head) -> None:
        cell = heads_set([head])
        prepared = prepare(model, replace(experiment, grid=Grid(sets=(cell,))), BUDGET)
        setup, reader = prepared.setup, prepared.reader
        self.model, self.reader, self.head = model, reader, head
        self.pair, self.pos = reader.read.nonzero(as_tuple=True)
        self.count = reader.read.sum(-1)
        every = torch.arange(len(reader.tokens), device=model.device)
        n_pos = reader.tokens.shape[1]
        rows = Rows(every, (cell,) * len(every), (0,) * len(every), 0, n_pos, every)
        edits = [spec for layer in range(model.cfg.n_layers) for spec in changes(setup, rows, layer, len(every))]
        self.clean = self._run(setup.base.mask)
        with hooks(model, edits):
            self.changed = self._run(setup.base.mask)
        require_finite(model, reader.tokens, self.changed.final, what="final streams")
        self.scale = final_scale(model, self.clean.final)

    def _run(self, mask: Tensor) -> Writes:
        also = [f"blocks.{self.head.layer}.hook_attn_out"]
        mask = None if mask.all() else mask
        return Writes(self.model, self.reader.tokens, self.pos, mask, also, prompt=self.pair)

    @property
    def attention_change(self) -> Float[Tensor, "row d_model"]:
        """By how much the head's layer writes something else: the head's own write, past the norm that may follow."""
        name = f"blocks.{self.head.layer}.hook_attn_out"
        return self.changed[name] - self.clean[name]

    def metric(self, stream: Float[Tensor, "row d_model"], scale: Float[Tensor, "row 1"]) -> Float[Tensor, " row"]:
        """The metric of a final stream that the final norm divides by ``scale``."""
        return torch.cat([self._read(stream[at], scale[at], at) for at in self._batches()])

    def slope(self, start: Tensor, end: Tensor, nodes: int) -> Float[Tensor, "row d_model"]:
        """The metric's mean gradient along the straight way between two streams, at the clean run's scale."""
        places, weights = np.polynomial.legendre.leggauss(nodes)
        total = torch.zeros_like(start)
        for place, weight in zip((places + 1) / 2, weights / 2):
            stream = start + float(place) * (end - start)
            total += float(weight) * torch.cat([self._gradient(stream[at], at) for at in self._batches()])
        return total

    def _batches(self) -> list[slice]:
        size = at_once(max(1, BUDGET // (4 * self.reader.bytes_per_place())))
        return [slice(first, first + size) for first in range(0, len(self.pair), size)]

    @torch.enable_grad()
    def _gradient(self, stream: Tensor, at: slice) -> Tensor:
        stream = stream.detach().requires_grad_()
        return torch.autograd.grad(self._read(stream, self.scale[at], at).sum(), stream)[0]

    def _read(self, stream: Tensor, scale: Tensor, at: slice) -> Tensor:
        norm = self.model.ln_final
        if isinstance(norm, Norm):
            stream = norm.centre(stream) / scale * norm.w
            stream = stream + norm.b if norm.centred else stream
        return self.reader(stream.to(self.model.dtype), self.pair[at], self.pos[at])

    def per_pair(self, values: Float[Tensor, "*part row"]) -> Float[Tensor, "*part pair"]:
        """Means over the places of each pair."""
        total = values.new_zeros(*values.shape[:-1], len(self.count)).index_add_(-1, self.pair, values)
        return (total / self.count).cpu()


def _shares(runs: _Both, writes: Sequence[Write], slope: Float[Tensor, "row d_model"]) -> Float[Tensor, "part row"]:
    """By how much the product of each write with the slope changes."""
    moved: dict[Write, Tensor] = {}
    for (labels, old), (_, new) in zip(written(runs.clean, slope), written(runs.changed, slope)):
        moved |= dict(zip(labels, (new - old).T))
    if Write("biases") in writes:  # those of the head's own layer move with its write
        layer = sum(moved[Write("head", runs.head.layer, one)] for one in range(runs.model.cfg.n_heads))
        moved[Write("biases")] = moved[Write("biases")] - ((runs.attention_change * slope).sum(-1) - layer)
    if not writes:
        return slope.new_zeros(0, len(slope))
    return torch.stack([moved[write] for write in writes])


class Interaction(NamedTuple):
    """What removing two heads together does beyond the sum of removing each alone, in the metric's unit."""

    heads: tuple[Head, Head]
    together: float
    sum_alone: float
    extra: float  # together − sum_alone
    low: float | None
    high: float | None
    beyond: bool | None  # by more than the largest of all pairs of heads does by chance; None: no verdict


def two_by_two(experiment: Experiment, heads: Sequence[tuple[int, int]]) -> Experiment:
    """Each of some heads removed alone, then each two together, as ``experiment`` removes."""
    heads = heads[:MOST_PAIRED]
    sets = [[head] for head in heads] + [list(both) for both in combinations(heads, 2)]
    return replace(experiment, grid=Grid(sets=tuple(map(heads_set, sets))))


def interactions(sweep: Sweep, seed: int = 0) -> tuple[Interaction, ...]:
    """Joint − sum for every two heads of a finished :func:`two_by_two`, with its interval over pairs of prompts."""
    cells, pairs = sweep.experiment.grid.sets, sweep.experiment.pairs
    heads = [Head(cell[0].layer, cell[0].head) for cell in cells if len(cell) == 1]
    change = (as_tensor(sweep.values) - as_tensor(sweep.base)).double()
    alone, both = change[: len(heads)], change[len(heads) :]
    chosen = list(combinations(range(len(heads)), 2))
    sums = torch.stack([alone[i] + alone[j] for i, j in chosen])
    found, gap = with_interval((both - sums).mean(-1), both - sums, pairs, seed), gap_of(sweep, seed)
    least = max(NEGLIGIBLE * abs(gap.mean), rounding_of(sweep.base, sweep.values))
    reach = reach_by_chance(both - sums, pairs, least, seed).reach
    rows = []
    for at, (i, j) in enumerate(chosen):
        ends = (None, None) if found.low is None else (float(found.low[at]), float(found.high[at]))
        beyond = None if reach is None else gap.found and abs(float(found.value[at])) > float(reach[at])
        means = (float(both[at].mean()), float(sums[at].mean()), float(found.value[at]))
        rows.append(Interaction((heads[i], heads[j]), *means, *ends, beyond))
    return tuple(rows)
