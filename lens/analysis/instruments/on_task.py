"""Scores over pairs of prompts: what the instruments of a task have in common."""

from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.ablation import reach_by_chance
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.score_results import HeadScore, Kind
from lens.analysis.stats import Estimate
from lens.analysis.verdicts import mean_over_pairs


def task_score(
    kind: Kind,
    values: Float[Tensor, "layer head pair"],
    null: Float[Tensor, "layer head pair"] | None,
    pairs: Pairs,
    least: float,
) -> HeadScore:
    """Means over pairs with their interval; frames and names are resampled separately where the pairs have both.

    A head is above chance where its mean, minus that of the ``null``, is farther from 0, to either side, than the
    largest of all heads gets by sampling alone, and than ``least``.
    """
    effect = values if null is None else values - null
    chance = reach_by_chance(effect, pairs, least)
    above = None if chance.reach is None else effect.mean(-1).abs() > chance.reach
    return HeadScore(
        kind,
        values.movedim(-1, 0),
        _estimate(values, pairs),
        None if null is None else null.movedim(-1, 0),
        None if null is None else null.mean(-1),
        None if null is None else _estimate(effect, pairs),
        None,
        above,
        chance.note.removeprefix("no interval: ") if above is None else "",
        0.0,
        0,
        "" if above is None else f"{chance.note}; no less than {least:.2g} {kind.unit} counts",
    )


def _estimate(values: Float[Tensor, "layer head pair"], pairs: Pairs) -> Estimate:
    found = mean_over_pairs(values, pairs)
    ends = (None if end is None else end.float() for end in (found.low, found.high))
    return Estimate(found.mean.float(), *ends, found.n, found.note)
