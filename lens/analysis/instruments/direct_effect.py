"""Direct effect: what a head adds to the answer's logit by itself."""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import FOUND, INSIDE, REJECTED, Expected, Instrument, Needs, by_model
from lens.planted import closed_form as exact
from lens.planted.layout import COPY, D_VOCAB

if TYPE_CHECKING:
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore
    from lens.hooked import HookedTransformer
    from lens.progress import Progress

LEAST = 0.02  # logits: less changes the odds of a token by less than 2%
ABOVE_AVERAGE = 1 - 1 / D_VOCAB  # of a planted logit: the average token has a share of it


def _measure(model: "HookedTransformer", sample: "Sample", progress: "Progress") -> "HeadScore":
    # The registry of instruments imports no torch.
    from lens.analysis.direct_effects import direct_effects
    from lens.analysis.instruments.on_task import task_score
    from lens.analysis.verdicts import rounding_of
    from lens.progress import part

    task = sample.task_of()
    clean, other = (
        direct_effects(model, task.pairs, task.metric, side, part(progress, start, start + 0.5))
        for side, start in (("clean", 0), ("corrupted", 0.5))
    )
    return task_score(DIRECT_EFFECT.kind("task"), clean, other, task.pairs, max(LEAST, rounding_of(clean, other)))


DIRECT_EFFECT = Instrument(
    name="direct_effect",
    title="Direct effect",
    unit="logits",
    link="matters",
    definition="What a head's write adds to the logit of the right answer above the wrong one (above the average token "
    "where the task has no wrong answer), through the final norm with its scale as in that run; mean over pairs.",
    null="the same answers in the pair's other run",
    source="Elhage et al. 2021; frozen scale of the final norm",
    formula=r"\frac{x_h}{\sigma} \cdot (\gamma \odot \Delta), \qquad \Delta = W_U[:, a] - W_U[:, b]",
    misreading="What a head adds by itself is not what the model would lose without it: later heads may read its write "
    "as well, and others may take over. Heads of early layers work mostly through others.",
    needs=Needs(("task", "repeats")),
    scale="two-sided",
    habit="write towards the right answer by themselves",
    fooled_by="Redundancy: planted-redundant's heads get half of the logit each, and the model does as well without "
    "either one.",
    expected=by_model(  # on repeats; planted-offset copies what the other run has not
        Expected(FOUND, COPY * ABOVE_AVERAGE),
        Expected(INSIDE, 0.0),
        Expected(FOUND, COPY * ABOVE_AVERAGE),
        Expected(REJECTED, -COPY * ABOVE_AVERAGE),
        Expected(FOUND, exact.twin_share() * ABOVE_AVERAGE),
    ),
    of_model=_measure,
)
