"""Running one experiment of replaced activations, for every page that runs one."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from lens.ui import parts
from lens.ui.calls import analyse, call_key, result_store, sweep
from lens.ui.limits import limits
from lens.ui.store import to_torch

if TYPE_CHECKING:
    from lens.analysis.interventions import Experiment, Sweep
    from lens.hooked import HookedTransformer


class Run(NamedTuple):
    """A sweep as far as it is computed; tensors."""

    sweep: "Sweep"
    complete: bool  # whether that is all of it


def run(
    model: "HookedTransformer",
    experiment: "Experiment",
    show: "Callable[[Sweep], object] | None" = None,
    agreed: bool = False,
) -> Run:
    """Every replacement of ``experiment``; ``show(sweep)`` while it fills.

    Long work waits for a click, unless the visitor has ``agreed`` to it already.
    """
    from lens.analysis.interventions import outline, sweep_group
    from lens.analysis.interventions.ablation import with_parts

    first = analyse(outline, model, experiment)
    empty = to_torch(first.empty)
    if first.n_computed > limits().patched_rows:
        most = limits().patched_rows
        parts.not_computed(f"{first.n_computed:,} changed runs are asked for, at most {most:,} here: use fewer pairs.")
        return Run(empty, complete=False)
    draw = None if show is None else lambda done: show(with_parts(empty, to_torch(list(done.values()))))
    estimate = 0.0 if agreed else first.seconds
    done = sweep(sweep_group, range(first.n_groups), model, experiment, show=draw, estimate=estimate)
    return Run(with_parts(empty, to_torch(list(done.done.values()))), not done.missing)


def is_computed(model: "HookedTransformer", experiment: "Experiment") -> bool:
    """Whether all of it has been computed before, by anyone."""
    from lens.analysis.interventions import outline, sweep_group

    first = result_store().get(call_key(outline, (model, experiment), {}))
    if first is None:
        return False
    keys = (call_key(sweep_group, (group, model, experiment), {}) for group in range(first.value.n_groups))
    return all(result_store().get(key) is not None for key in keys)
