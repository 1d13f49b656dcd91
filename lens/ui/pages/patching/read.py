"""Computing a sweep for the Patching page: an approximation at once, then exact values that fill the figure."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from lens.analysis.interventions.map import CellMap, cell_map
from lens.ui import parts
from lens.ui.calls import analyse, call_key, result_store, sweep
from lens.ui.ending import end_page
from lens.ui.limits import limits
from lens.ui.pages.patching.controls import Look
from lens.ui.store import to_numpy, to_torch
from lens.ui.view import ViewState

FIRST = 2  # pairs of which the map is drawn at once where all of them take long
LONGEST = 200_000  # cells times pairs of which an approximation is made without being asked


@dataclass(frozen=True)
class Found:
    """What a figure is drawn from."""

    look: Look
    sweep: Any  # lens.analysis.interventions.Sweep, arrays as numpy
    n_computed: int  # cells times pairs that need a run, of n_cells
    n_cells: int
    approximate: bool = False
    seed: int = 0  # of the intervals

    @property
    def complete(self) -> bool:
        """Whether every cell has its value."""
        return not (np.isnan(self.sweep.values) & (np.asarray(self.sweep.status) == 0)).any()

    @cached_property
    def cells(self) -> CellMap:
        """What is drawn, per cell: the bootstrap behind it is made once."""
        return cell_map(to_torch(self.sweep), self.look.shown == "share", self.seed)


def read_found(view: ViewState, model: Any, look: Look, draw: Callable[[Found], None]) -> Found:
    """The sweep, as far as it is computed. ``draw`` shows the approximation first, then what there is meanwhile.

    While long work waits for a click, or after a cancel, the exact map of the first pairs stands in for what nobody
    computed yet; where that is long too, the approximation.
    """
    from lens.analysis.interventions import assemble, outline, sweep_group

    plan, seed = analyse(outline, model, look.experiment), int(view["seed"])
    if plan.n_computed > limits().patched_rows:
        parts.not_computed(
            f"{plan.n_computed:,} changed runs are needed, and at most {limits().patched_rows:,} are made here. "
            "Take fewer pairs, or one layer."
        )
        end_page()
    groups = range(plan.n_groups)
    preview = None
    if not _all_there(groups, model, look):
        preview = _preview(model, look, plan, seed)
        if preview is not None:
            draw(preview)

    def show(done: dict) -> None:
        so_far = assemble(model, look.experiment, to_torch(tuple(done.values())))
        draw(Found(look, to_numpy(so_far), plan.n_computed, plan.n_cells, seed=seed))

    done = sweep(sweep_group, groups, model, look.experiment, show=show, estimate=plan.seconds).done
    if not done and preview is not None and plan.n_groups:
        return preview
    exact = analyse(assemble, model, look.experiment, to_torch(tuple(done.values())))
    return Found(look, exact, plan.n_computed, plan.n_cells, seed=seed)


def _preview(model: Any, look: Look, plan: Any, seed: int) -> Found | None:
    """What can be shown at once: all cells exactly for the first pairs, if all pairs are long, else approximately."""
    from lens.analysis.interventions import assemble, outline, sweep_group

    n = len(look.experiment.pairs)
    if n > FIRST and limits().ask_before < plan.seconds < limits().ask_before * n / FIRST:
        pairs = look.experiment.pairs.take(range(FIRST))
        first = look._replace(
            chosen=look.chosen._replace(pairs=pairs), experiment=replace(look.experiment, pairs=pairs)
        )
        few = analyse(outline, model, first.experiment)
        done = sweep(sweep_group, range(few.n_groups), model, first.experiment).done
        exact = analyse(assemble, model, first.experiment, to_torch(tuple(done.values())))
        return Found(first, exact, few.n_computed, few.n_cells, seed=seed)
    return approximation(model, look, seed) if plan.n_cells <= LONGEST else None


def approximation(model: Any, look: Look, seed: int = 0) -> Found | None:
    """Attribution patching of the same cells, from one forward and one backward pass; None for a rank."""
    if look.experiment.metric.kind == "rank":
        return None
    made = analyse(attribution_of, model, look.experiment)
    return Found(look, made, 0, made.values.size, approximate=True, seed=seed)


def attribution_of(model: Any, experiment: Any) -> Any:
    """Attribution patching of one experiment."""
    from lens.analysis.interventions import attribution

    return attribution(model, [experiment])[0]


def _all_there(groups: range, model: Any, look: Look) -> bool:
    from lens.analysis.interventions import sweep_group

    keys = (call_key(sweep_group, (group, model, look.experiment), {}) for group in groups)
    return all(result_store().get(key) is not None for key in keys)
