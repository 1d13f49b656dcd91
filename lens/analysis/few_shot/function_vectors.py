"""Which heads carry a task: what each writes at the last token of right prompts, moved into prompts of shuffled labels.

Score of a head: how much the probability of the right answer rises. Source: Todd et al. 2024, "Function vectors in
large language models" (average indirect effect).
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.analysis.crossed import shortage
from lens.analysis.interventions.cells import Grid
from lens.analysis.interventions.intervention import Experiment, Intervention, Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.results import Effect, Sweep, effect
from lens.analysis.stats import DRAWS, LEVEL
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
    threshold: float | None  # score − null of the best of all heads by chance; None: too few prompts
    found: Bool[Tensor, "layer head"] | None  # heads above it that raise the probability: they carry the task
    note: str  # how ``threshold`` was made, or why there is none


def function_vectors(sweep: Sweep, null: Sweep, seed: int = 0) -> FunctionVectors:
    """The scores that two finished sweeps give, of :func:`vector_map` and :func:`vector_null`.

    A head is found if it raises the probability, and score − null exceeds what the best of all heads reaches by chance.
    """
    pairs, score = sweep.experiment.pairs, effect(sweep, seed)
    parts = score, effect(null, seed)
    if short := shortage(pairs):
        return FunctionVectors(*parts, None, None, f"no threshold: {short}")
    more, rounding = (as_tensor(sweep.values) - as_tensor(null.values)).double(), rounding_of(sweep.base, sweep.values)
    threshold = max(best_by_chance(more, seed), rounding)
    found = (more.mean(-1) > threshold) & (score.value > rounding)
    note = (
        f"by chance the best of {found.numel()} heads gains {threshold:.2g} over its null: 95th percentile of the "
        f"largest mean if the two are exchanged at random in each of {len(pairs)} prompts, {DRAWS} draws, seed {seed}"
    )
    return FunctionVectors(*parts, threshold, found, note)


def best_by_chance(more: Float[Tensor, "*axes pair"], seed: int = 0) -> float:
    """What the largest mean of any head stays below in 95% of cases, if score and null of a prompt may be exchanged.

    The signs of a prompt's differences are flipped for all heads together, so that heads keep what they share. Source:
    Westfall and Young 1993 (maximum statistics); Winkler et al. 2014 (sign flips).
    """
    generator = torch.Generator().manual_seed(seed)
    n = more.shape[-1]
    signs = 2.0 * torch.randint(2, (DRAWS, n), generator=generator).double() - 1
    return float((signs @ more.reshape(-1, n).T / n).amax(1).quantile(LEVEL))
