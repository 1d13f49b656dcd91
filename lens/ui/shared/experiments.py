"""Running one experiment of replaced activations, or of direct paths, for every page that runs one."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lens.analysis.interventions import PathSweep, Sweep
from lens.analysis.interventions.work import Work, joined, outline_of, runs_of
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, call_key, result_store
from lens.ui.limits import limits
from lens.ui.shared.computing import Cells
from lens.ui.store import to_torch


class Run(NamedTuple):
    """A sweep as far as it is computed; tensors."""

    sweep: Sweep | PathSweep
    complete: bool  # whether that is all of it
    started: bool  # whether any of it is computed


def run(
    model: HookedTransformer,
    work: Work,
    draw: Callable[[Sweep], object] | Callable[[PathSweep], object] | None = None,
    agreed: bool = False,
) -> Run:
    """Every replacement of an experiment, or every sender of a path; ``draw(sweep)`` while it fills.

    Long work waits for a click, unless the visitor has ``agreed`` to it already.
    """
    first, most = analyse(outline_of, model, work), limits().patched_rows
    empty = to_torch(first.empty)
    if first.n_computed > most:
        parts.not_computed(f"{first.n_computed:,} changed runs are needed, at most {most:,} here: use fewer pairs.")
        return Run(empty, complete=False, started=False)

    def join(done: Mapping) -> Sweep | PathSweep:
        return joined(empty, to_torch(list(done.values())))

    show = None if draw is None else lambda done: draw(join(done))
    done, missing = Cells(runs_of, range(first.n_groups), (model, work)).sweep(show, 0.0 if agreed else first.seconds)
    return Run(join(done), not missing, bool(done))


def is_computed(model: HookedTransformer, work: Work) -> bool:
    """Whether all of it has been computed before, by anyone."""
    first = result_store().get(call_key(outline_of, (model, work), {}))
    return first is not None and Cells(runs_of, range(first.value.n_groups), (model, work)).are_kept()
