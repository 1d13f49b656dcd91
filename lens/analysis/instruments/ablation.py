"""Ablation: what a task's metric loses or gains when one head's output is replaced, for every head alone."""

from typing import TYPE_CHECKING

from lens.analysis.instruments.instrument import FOUND, INSIDE, REJECTED, Cost, Expected, Instrument, Needs, by_model
from lens.planted import closed_form as exact
from lens.planted.layout import COPY

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Measure, Size
    from lens.analysis.instruments.sample import Sample
    from lens.analysis.score_results import HeadScore
    from lens.config import Config
    from lens.hooked import HookedTransformer
    from lens.progress import Progress

PUTS = {"resample": "other", "mean": "mean", "zero": "zero"}  # as the engine calls what is put there
REPLACED = {
    "resample": "what it wrote in the pair's other run",
    "mean": "its mean over all other runs of the pairs, position by position",
    "zero": "zero, which no run of the model has",
}


def _measure(how: str) -> "Measure":
    def measure(model: "HookedTransformer", sample: "Sample", progress: "Progress") -> "HeadScore":
        # The registry of instruments imports no torch.
        from lens.analysis.instruments.on_task import task_score
        from lens.analysis.interventions import run_sweep
        from lens.analysis.interventions.ablation import single_heads
        from lens.analysis.verdicts import rounding_of

        task = sample.task_of()
        sweep = run_sweep(model, single_heads(task.pairs, task.metric, PUTS[how]), progress)
        one = ABLATIONS[how].kind("task", task.metric.unit)
        return task_score(one, sweep.values - sweep.base, None, task.pairs, rounding_of(sweep.base, sweep.values))

    return measure


def _cost(cfg: "Config", size: "Size") -> Cost:
    changed = cfg.n_layers * cfg.n_heads * size.tokens // 2  # the run of one side, for every head
    return Cost(size.tokens + changed // 2)  # from the head's layer on


def _ablation(how: str, title: str, misreading: str) -> Instrument:
    return Instrument(
        name=f"ablation_{how}",
        title=title,
        unit="of the task's metric",
        link="matters",
        definition=f"The task's metric after one head's z is replaced everywhere by {REPLACED[how]}, minus the metric "
        "before; mean over pairs. A loss rises, a logit difference falls, without a head that the task needs.",
        null="0; by chance, the largest of all heads stays inside the band that resampling the pairs gives",
        source="Chan et al. 2022, causal scrubbing; Wang et al. 2022",
        formula=r"E_h = \operatorname{mean}_i \big( m_i(z_h \leftarrow z_h') - m_i \big)",
        misreading=misreading,
        needs=Needs(("task", "repeats")),
        cost=_cost,
        scale="two-sided",
        habit="are needed",
        fooled_by=f"Redundancy: either head of planted-redundant alone seems to matter by "
        f"{exact.saturated(2) - exact.saturated(1):.2f} of {exact.saturated(2):.2f} logits. And zero: planted-offset "
        "loses everything at z = 0, and nothing that has to do with repetition.",
        expected=EXPECTED,
        of_model=_measure(how),
    )


REDUNDANT = (
    "A head without effect may still do the work: others can stand in for it when it is gone. And an effect is of "
    "everything that the head does in these runs, not of one habit of it."
)
_SAVING = exact.saving(COPY)
EXPECTED = by_model(  # losses of the second copy of repeats; planted-offset copies what the other run has not
    Expected(FOUND, _SAVING),
    Expected(INSIDE, 0.0),
    Expected(FOUND),
    Expected(REJECTED, exact.saving(-COPY)),
    Expected(FOUND, exact.saving(exact.saturated(2))),  # of the previous-token head, which both heads need
)
RESAMPLE = _ablation("resample", "Ablation, resampled", REDUNDANT)
MEAN = _ablation("mean", "Ablation, mean", f"{REDUNDANT} A mean is no run of the model either.")
ZERO = _ablation(
    "zero",
    "Ablation, zero",
    f"{REDUNDANT} Zero is off-distribution: later parts may fail because of the zero itself, whatever the head did.",
)
ABLATIONS = {"resample": RESAMPLE, "mean": MEAN, "zero": ZERO}
