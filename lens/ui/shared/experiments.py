"""Running one experiment of replaced activations, or of direct paths, for every page that runs one."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, NamedTuple

from lens.analysis.interventions import (
    Experiment,
    Outline,
    Path,
    PathOutline,
    PathSweep,
    Sweep,
    outline,
    path_group,
    path_outline,
    sweep_group,
    with_senders,
)
from lens.analysis.interventions.ablation import with_parts
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, call_key, result_store, sweep
from lens.ui.limits import limits
from lens.ui.store import to_torch


class Engine(NamedTuple):
    """How one kind of work is planned, computed group by group, and joined from what is computed."""

    plan: Callable[..., Outline | PathOutline]
    group: Callable[..., Any]
    join: Callable[[Any, Iterable[Any]], Any]


ENGINES: dict[type, Engine] = {
    Experiment: Engine(outline, sweep_group, with_parts),
    Path: Engine(path_outline, path_group, lambda empty, groups: with_senders(empty, chain.from_iterable(groups))),
}


class Run(NamedTuple):
    """A sweep as far as it is computed; tensors."""

    sweep: Sweep | PathSweep
    complete: bool  # whether that is all of it
    started: bool  # whether any of it is computed


def plan(model: HookedTransformer, work: Experiment | Path) -> Outline | PathOutline:
    """How much there is to compute, and about how long it takes."""
    return analyse(ENGINES[type(work)].plan, model, work)


def run(
    model: HookedTransformer,
    work: Experiment | Path,
    draw: Callable[[Any], object] | None = None,
    agreed: bool = False,
) -> Run:
    """Every replacement of an experiment, or every sender of a path; ``draw(sweep)`` while it fills.

    Long work waits for a click, unless the visitor has ``agreed`` to it already.
    """
    engine, first = ENGINES[type(work)], plan(model, work)
    empty, most = to_torch(first.empty), limits().patched_rows
    if first.n_computed > most:
        parts.not_computed(f"{first.n_computed:,} changed runs are needed, at most {most:,} here: use fewer pairs.")
        return Run(empty, complete=False, started=False)

    def join(done: dict) -> Any:
        return engine.join(empty, to_torch(list(done.values())))

    show = None if draw is None else lambda done: draw(join(done))
    estimate = 0.0 if agreed else first.seconds
    done = sweep(engine.group, range(first.n_groups), model, work, show=show, estimate=estimate)
    return Run(join(done.done), not done.missing, bool(done.done))


def is_computed(model: HookedTransformer, work: Experiment | Path) -> bool:
    """Whether all of it has been computed before, by anyone."""
    engine = ENGINES[type(work)]
    first = result_store().get(call_key(engine.plan, (model, work), {}))
    if first is None:
        return False
    keys = (call_key(engine.group, (group, model, work), {}) for group in range(first.value.n_groups))
    return all(result_store().get(key) is not None for key in keys)
