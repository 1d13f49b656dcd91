"""A task: pairs of prompts that a circuit is looked for on, and whether the model can do it at all."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.crossed import crossed_weights, interval_of, unit_note
from lens.analysis.interventions.intervention import Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.runs import record
from lens.analysis.interventions.tasks.prompts import PromptPair, to_pairs
from lens.analysis.stats import MIN_SAMPLES
from lens.hooked import HookedTransformer
from lens.model import Transformer


class Task(NamedTuple):
    """Pairs of one task for one model. ``prompts`` is empty where they are random ids."""

    name: str
    pairs: Pairs
    prompts: tuple[PromptPair, ...]
    description: str  # how they were made, with seed and numbers
    left_out: tuple[str, ...]  # what was not used, each with its reason
    metric: Metric


class Ability(NamedTuple):
    """Whether the model does the task, before anything is patched. Values are logit differences, right − wrong."""

    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    mean: float  # of the clean runs
    low: float | None
    high: float | None
    share_right: float  # of the clean prompts on which the right answers win; 0.5 is chance for one against one
    can: bool
    sentence: str
    note: str


def make_task(
    model: HookedTransformer,
    name: str,
    prompts: list[PromptPair],
    description: str,
    left_out: list[str],
    metric: Metric = Metric(),  # noqa: B008 - a frozen value
) -> Task:
    """The task as ids; ValueError if nothing is left of it."""
    if not prompts:
        reasons = f" {'; '.join(left_out[:3])}." if left_out else ""
        raise ValueError(f"{name}: no prompt fits this model's tokenizer.{reasons} Try another task or your own pairs.")
    return Task(name, to_pairs(model, prompts), tuple(prompts), description, tuple(left_out), metric)


@torch.no_grad()
def ability(model: Transformer, pairs: Pairs, seed: int = 0) -> Ability:
    """The logit difference of both unchanged runs, and a sentence that says whether the model does the task.

    It does if the interval of the mean lies above 0; below 16 pairs, if the mean does and most prompts are right.
    """
    runs = {side: record(model, pairs, side, ()).final for side in ("clean", "corrupted")}
    clean, corrupted = (_logit_diff(model, pairs, side, final) for side, final in runs.items())
    n, mean, right = len(clean), float(clean.mean()), float((clean > 0).float().mean())
    low = high = None
    if n >= MIN_SAMPLES:
        low, high = (float(x) for x in interval_of((crossed_weights(pairs, seed) @ clean.double())[:, None]))
    can = mean > 0 and right > 0.5 and (low is None or low > 0)
    interval = "" if low is None else f" [{low:.2f}, {high:.2f}]"
    sentence = (
        f"The model {'does' if can else 'cannot do'} this task: the right answer leads by {mean:.2f} logits{interval} "
        f"on average and wins on {right:.0%} of {n} prompts."
    )
    if not can:
        sentence += " Patching would explain noise; choose another task or model."
    return Ability(clean, corrupted, mean, low, high, right, can, sentence, unit_note(pairs, n, seed))


def _logit_diff(model: Transformer, pairs: Pairs, side: str, final: Tensor) -> Float[Tensor, " pair"]:
    reader = Reader(model, pairs, side, Metric("logit_diff" if pairs.wrong else "logit"))
    pair, pos = reader.read.nonzero(as_tuple=True)
    return reader(model.ln_final(final)[pair, pos], pair, pos).cpu()
