"""Which heads carry a task: what each writes at the last token of right prompts, moved into prompts of shuffled labels.

Score of a head: how much the probability of the right answer rises. Source: Todd et al. 2024, "Function vectors in
large language models" (average indirect effect).
"""

from dataclasses import replace
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor

from lens.analysis.interventions.ablation import reach_by_chance
from lens.analysis.interventions.cells import Grid
from lens.analysis.interventions.intervention import Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import Effect, Sweep, effect
from lens.analysis.verdicts import rounding_of
from lens.arrays import as_tensor

LAST = Intervention("z", "mean_last", into="corrupted")


def vector_map(pairs: Pairs) -> Experiment:
    """Every head's mean output at the last token of the clean prompts, put there into the corrupted ones.

    Each prompt gets the mean over the others: what answers have in common, not this answer.
    """
    return Experiment(pairs, LAST, Grid(("layer", "head"), pos=-1), Metric("prob"))


def vector_null(pairs: Pairs) -> Experiment:
    """The same with the mean over the corrupted prompts: what a head writes there without the task."""
    return vector_map(replace(pairs, clean=pairs.corrupted))


class FunctionVectors(NamedTuple):
    """The scores of all heads, and the same without the task."""

    score: Effect  # rise of the probability of the answer
    null: Effect  # the same with means over prompts of shuffled labels
    reach: Float[Tensor, "layer head"] | None  # what score − null stays below by chance; None: too few prompts
    found: Bool[Tensor, "layer head"] | None  # heads above both: they carry the task
    note: str  # how ``reach`` was made, or why there is none


def function_vectors(sweep: Sweep, null: Sweep, seed: int = 0) -> FunctionVectors:
    """The scores that two finished sweeps give, of :func:`vector_map` and :func:`vector_null`.

    A head is found if it raises the probability, and score − null, paired by prompt, exceeds what the largest of all
    heads reaches by chance (95%).
    """
    value, other = as_tensor(sweep.values), as_tensor(null.values)
    rounding = rounding_of(sweep.base, sweep.values)
    score = effect(sweep, seed)
    more = (value - other).double()
    band = reach_by_chance(more, sweep.experiment.pairs, rounding, seed)
    found = None if band.reach is None else (more.mean(-1) > band.reach) & (score.value > rounding)
    return FunctionVectors(score, effect(null, seed), band.reach, found, band.note)
