"""A task with as many pairs as were asked for, of enough frames and names that they can carry an interval."""

import math
from typing import Any

from lens.analysis.crossed import MIN_LEVELS
from lens.analysis.interventions.tasks.capitals import capitals
from lens.analysis.interventions.tasks.greater import greater_than
from lens.analysis.interventions.tasks.ioi import ioi
from lens.analysis.interventions.tasks.pronouns import pronouns
from lens.analysis.interventions.tasks.repeated import induction, repeated
from lens.analysis.interventions.tasks.task import Task
from lens.hooked import HookedTransformer

TASKS = {
    "ioi": ioi,
    "pronouns": pronouns,
    "greater_than": greater_than,
    "repeated": repeated,
    "capitals": capitals,
    "induction": induction,
}


def task_of(
    model: HookedTransformer,
    name: str,
    n_pairs: int,
    seed: int = 0,
    corruption: str = "swap",
    apostrophe: str = "curly",
    block: int = 10,
) -> Task:
    """The task ``name`` with at least ``n_pairs`` pairs, of at least 8 frames and 8 names where it has both.

    ``corruption`` is that of "ioi", ``apostrophe`` that of "pronouns", ``block`` the n of "repeated" and "induction".
    """
    side = max(MIN_LEVELS, math.ceil(math.sqrt(n_pairs / 2)))  # two pairs of each frame and name
    crossed = {"n_frames": side, "n_names": side}
    drawn: dict[str, Any] = {"n": block, "n_pairs": n_pairs, "seed": seed}
    sizes: dict[str, dict[str, Any]] = {
        "ioi": crossed | {"seed": seed, "corruption": corruption},
        "pronouns": crossed | {"apostrophe": apostrophe},
        "greater_than": {"n_frames": max(side, math.ceil(n_pairs / MIN_LEVELS)), "n_years": side, "seed": seed},
        "capitals": crossed | {"seed": seed},
        "repeated": drawn,
        "induction": drawn,
    }
    if name not in TASKS:
        raise ValueError(f"task_of: name={name!r}; it must be one of {', '.join(TASKS)}.")
    return TASKS[name](model, **sizes[name])


def task_or_reason(model: HookedTransformer, *settings: Any) -> Task | str:
    """:func:`task_of`, or why there is none for this model: an answer as well, which need not be sought again."""
    try:
        return task_of(model, *settings)
    except ValueError as error:
        return str(error)
