"""Sweeps of interventions: prepared once, computed group by group, equal to one forward pass per cell."""

import time
from collections.abc import MutableMapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.last_prepared import LastPrepared
from lens.analysis.interventions.plan import BUDGET, COMPUTED, Plan, make_plan
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.recording import FROM_OTHER, Run, base_names, frozen_names, other_names, record
from lens.analysis.interventions.results import Sweep
from lens.analysis.interventions.rows import Rows, cut_positions
from lens.analysis.interventions.sites import find_site
from lens.analysis.interventions.values import Values, values_of
from lens.analysis.interventions.walk import Setup, edit_of, walk
from lens.arrays import as_tensor
from lens.batching import at_once, n_parts
from lens.hooks import HookSpec, hooks
from lens.model import Transformer
from lens.progress import Progress, silent

FINAL = "ln_final.hook_scale"


class Prepared(NamedTuple):
    """Both runs, the plan, and what the metric says before anything is changed."""

    setup: Setup
    reader: Reader
    readings: Float[Tensor, "pair pos"]  # the metric of the unchanged base run at each position that is read
    base: Float[Tensor, " pair"]
    other: Float[Tensor, " pair"]
    plan: Plan


class Recorded(NamedTuple):
    """Both runs, whatever is put in the place of what and in whichever cells."""

    base: Run
    other: Run
    readings: Tensor
    metrics: tuple[Tensor, Tensor]  # of the base run and the other
    clean: Tensor | None  # normalised final stream of the clean run, where the metric needs it


class Planned(NamedTuple):
    """What else is kept of a preparation."""

    plan: Plan
    values: Values


class Part(NamedTuple):
    """The values of one group of rows."""

    group: int
    cell: Tensor  # Int [row]
    pair: Tensor  # Int [row]
    value: Float[Tensor, " row"]


class Outline(NamedTuple):
    """What is known before a sweep starts. ``other`` and ``base`` are the metric of the two unchanged runs."""

    n_groups: int
    n_computed: int  # of n_cells cells x pairs; the others are no-ops for a stated reason
    n_cells: int
    seconds: float  # estimate for all groups
    empty: Sweep  # with every no-op filled in


_recorded: LastPrepared[Recorded] = LastPrepared()
_planned: LastPrepared[Planned] = LastPrepared()


def prepare(model: Transformer, experiment: Experiment, budget: int = BUDGET) -> Prepared:
    """Run both sides and plan; the last of each of a model is kept, so that groups can be asked for one by one.

    The runs are those of every experiment on the same pairs, metric and site: other cells, or something else put in
    their place, only need another plan.
    """
    found, intervention = _record(model, experiment, budget), experiment.intervention
    reader = Reader(model, experiment.pairs, intervention.base, experiment.metric)
    reader.clean = found.clean
    planned = _planned.get(
        model,
        (experiment, budget),
        lambda: Planned(
            make_plan(model.cfg, experiment, reader, budget), values_of(intervention, found.other, model.cfg)
        ),
        lambda _: found.base.n_bytes,
    )
    setup = Setup(model, intervention, found.base, planned.values)
    return Prepared(setup, reader, found.readings, *found.metrics, planned.plan)


def _record(model: Transformer, experiment: Experiment, budget: int) -> Recorded:
    """Both runs of the experiment, from another one on the same pairs where they hold all that this one reads."""
    one = experiment.intervention
    same = (experiment.pairs, experiment.metric, one.site, one.into, one.freeze, budget)
    reads_other = one.put in FROM_OTHER
    kept = None if reads_other else _recorded.last(model, (same, True))
    if kept is not None:
        return kept
    return _recorded.get(
        model, (same, reads_other), lambda: _record_both(model, experiment, budget), lambda made: made.base.n_bytes
    )


@torch.no_grad()
def _record_both(model: Transformer, experiment: Experiment, budget: int) -> Recorded:
    intervention, pairs = experiment.intervention, experiment.pairs
    sides = (intervention.base, intervention.other)
    readers = [Reader(model, pairs, side, experiment.metric) for side in sides]
    names = (base_names(model, experiment), other_names(model, experiment))
    runs = [record(model, pairs, side, kept) for side, kept in zip(sides, names)]
    clean = None
    if experiment.metric.kind == "kl":
        clean = model.ln_final(runs[sides.index("clean")].final)
    for reader in readers:
        reader.clean = clean
    readings = [read_all(model, reader, run.final, budget) for reader, run in zip(readers, runs)]
    metrics = tuple(over_read(values, reader.read) for values, reader in zip(readings, readers))
    return Recorded(*runs, readings[0], metrics, clean)


def over_read(values: Float[Tensor, "row pos"], read: Tensor) -> Float[Tensor, " row"]:
    """Mean over the positions that are read."""
    return values.masked_fill(~read, 0).sum(-1) / read.sum(-1)


def read_all(model: Transformer, reader: Reader, final: Tensor, budget: int) -> Float[Tensor, "pair pos"]:
    """The metric of an unchanged run at each position that is read, 0 elsewhere."""
    pair, pos = reader.read.nonzero(as_tuple=True)
    values = _read(model.ln_final(final)[pair, pos], pair, pos, reader, budget)
    return values.new_zeros(reader.read.shape).index_put((pair, pos), values)


def _read(normed: Tensor, pair: Tensor, pos: Tensor, reader: Reader, budget: int) -> Tensor:
    most = at_once(budget // (2 * reader.bytes_per_place()))
    parts = zip(normed.split(most), pair.split(most), pos.split(most))
    return torch.cat([reader(*part) for part in parts])


@torch.no_grad()
def compute_group(prepared: Prepared, group: int, budget: int = BUDGET) -> Part:
    """The metric of every row of one group.

    The group stands in a plan that parts are numbered by: where half as much is to be held, it is walked in two.
    """
    setup = prepared.setup
    rows = prepared.plan.rows(group, setup.model.device)
    only_last = not prepared.reader.read[rows.pair, rows.start : rows.stop - 1].any()
    values = [
        read_rows(setup, prepared.reader, prepared.readings, *walk(setup, some, only_last), budget)
        for some in rows.cut(n_parts())
    ]
    return Part(group, rows.ids.cpu(), rows.pair.cpu(), torch.cat(values).cpu())


def read_rows(
    setup: Setup, reader: Reader, readings: Tensor, rows: Rows, final: Tensor, budget: int = BUDGET
) -> Float[Tensor, " row"]:
    """The metric of rows whose final stream is ``final``; positions before them read as in the base run."""
    normed = normalise(setup, rows, final)
    read = reader.read[rows.pair]
    row, place = read[:, rows.start : rows.stop].nonzero(as_tuple=True)
    pos = place + rows.start
    values = _read(normed[row, place], rows.pair[row], pos, reader, budget)
    return over_read(readings[rows.pair].index_put((row, pos), values), read)


def normalise(setup: Setup, rows: Rows, final: Tensor) -> Tensor:
    """The final norm of the rows' streams, its scale frozen or replaced where the intervention says so."""
    with hooks(setup.model, final_changes(setup, rows, len(final))):
        return setup.model.ln_final(final)


def final_changes(setup: Setup, rows: Rows, n_rows: int) -> list[HookSpec]:
    """The hooks at the final norm."""
    specs: list[HookSpec] = []
    if FINAL in frozen_names(setup.model, setup.intervention.freeze):
        kept = cut_positions(setup.base.kept[FINAL][rows.pair], rows, FINAL)
        specs.append((FINAL, lambda scale, hook: kept))
    if setup.site.name == "final_scale":
        edit = edit_of(setup, rows, setup.model.cfg.n_layers, n_rows)
        specs += [] if edit is None else [(FINAL, edit)]
    return specs


def outline(model: Transformer, experiment: Experiment, budget: int = BUDGET) -> Outline:
    """Runs both sides; says how much there is to compute and about how long it takes."""
    prepared = prepare(model, experiment, budget)
    status = prepared.plan.status
    seconds = prepared.plan.token_layers(model.cfg.n_layers) * seconds_per_token_layer(model)
    n_computed = int((status == COMPUTED).sum())
    return Outline(
        len(prepared.plan.groups), n_computed, status.numel(), seconds, assemble(model, experiment, (), budget)
    )


def sweep_group(group: int, model: Transformer, experiment: Experiment, budget: int = BUDGET) -> Part:
    """One group of a sweep: each can be cached on its own, and :func:`assemble` puts any of them together."""
    return compute_group(prepare(model, experiment, budget), group, budget)


def assemble(model: Transformer, experiment: Experiment, parts, budget: int = BUDGET) -> Sweep:
    """The sweep as far as ``parts`` have it; what is not computed yet is NaN."""
    prepared = prepare(model, experiment, budget)
    plan, base = prepared.plan, prepared.base.cpu()
    values = base.expand(plan.status.shape).clone()
    values[(plan.status == COMPUTED) | (plan.status == 3)] = torch.nan
    for part in parts:
        values[as_tensor(part.cell), as_tensor(part.pair)] = as_tensor(part.value)
    site = find_site(experiment.intervention.site, model.cfg)
    axes = experiment.grid.axes(site, model.cfg, experiment.pairs.n_pos)
    shape = (*map(len, axes.values()), len(base))
    return Sweep(values.reshape(shape), plan.status.reshape(shape), base, prepared.other.cpu(), axes, experiment)


def run_sweep(
    model: Transformer,
    experiment: Experiment,
    progress: Progress = silent,
    done: MutableMapping[int, Part] | None = None,
    budget: int = BUDGET,
) -> Sweep:
    """The metric of every cell. ``done`` keeps the groups computed so far: hand it in again to go on after a cancel.

    ``progress`` may raise to stop.
    """
    done = {} if done is None else done
    prepared = prepare(model, experiment, budget)
    n_groups = len(prepared.plan.groups)
    for group in range(n_groups):
        if group not in done:
            done[group] = compute_group(prepared, group, budget)
        progress((group + 1) / n_groups, f"group {group + 1} of {n_groups}")
    return assemble(model, experiment, done.values(), budget)


_speed: WeakKeyDictionary[Transformer, float] = WeakKeyDictionary()


@torch.no_grad()
def seconds_per_token_layer(model: Transformer, n_tokens: int = 256) -> float:
    """How long one layer takes for one token, measured once on this machine."""
    if model not in _speed:
        n_pos = min(16, model.cfg.n_ctx)
        resid = torch.randn(n_tokens // n_pos, n_pos, model.cfg.d_model, device=model.device, dtype=model.dtype)
        places = model.places(resid)
        model.blocks[0](resid, places)
        start = time.perf_counter()
        model.blocks[0](resid, places)
        _speed[model] = (time.perf_counter() - start) / (len(resid) * n_pos)
    return _speed[model]
