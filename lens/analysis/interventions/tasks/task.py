"""A task: pairs of prompts that a circuit is looked for on, and whether the model can do it at all."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.counts import share_of
from lens.analysis.crossed import shortage, unit_note
from lens.analysis.interventions.intervention import Metric
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.interventions.readers import Reader
from lens.analysis.interventions.recording import record
from lens.analysis.interventions.tasks.prompts import PromptPair, in_rounds, to_pairs
from lens.analysis.verdicts import Gap, Verdict, gap_between, mean_over_pairs
from lens.hooked import HookedTransformer
from lens.model import Transformer

LEAD = Metric("lead")
MOST = 0.5  # of the pairs must be right: an average may rest on a few


class Task(NamedTuple):
    """Pairs of one task for one model. ``prompts`` is empty where they are random ids.

    Every beginning of ``pairs`` uses the frames and the names about equally often.
    """

    name: str
    pairs: Pairs
    prompts: tuple[PromptPair, ...]
    description: str  # how they were made, with seed and numbers
    left_out: tuple[str, ...]  # what was not used, each with its reason
    metric: Metric
    swapped: bool = False  # whether the wrong answers are the right ones of the corrupted prompt


class Ability(NamedTuple):
    """Whether the model does the task, before anything is patched. Values are those of the task's own metric."""

    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    mean: float  # lead of the right answers in the clean runs: logits, or probability where that is the metric
    low: float | None
    high: float | None
    gap: Gap  # clean − corrupted
    share_right: float  # of the pairs that are right: see ``ability``
    verdict: Verdict  # "found": it does the task; "none": it does not; "unknown": too few pairs
    sentence: str
    note: str

    @property
    def can(self) -> bool:
        """Whether the model does the task."""
        return self.verdict.found


def make_task(
    model: HookedTransformer,
    name: str,
    prompts: list[PromptPair],
    description: str,
    left_out: list[str],
    metric: Metric = Metric(),  # noqa: B008 - a frozen value
    swapped: bool = False,
) -> Task:
    """The task as ids; ValueError if nothing is left of it."""
    if not prompts:
        reasons = f" {'; '.join(left_out[:3])}." if left_out else ""
        raise ValueError(f"{name}: no prompt fits this model's tokenizer.{reasons} Try another task or your own pairs.")
    ordered = in_rounds(prompts)
    return Task(name, to_pairs(model, ordered), tuple(ordered), description, tuple(left_out), metric, swapped)


@torch.no_grad()
def ability(
    model: Transformer,
    pairs: Pairs,
    metric: Metric = Metric(),  # noqa: B008 - a frozen value
    swapped: bool = False,
    seed: int = 0,
) -> Ability:
    """The task's metric in both unchanged runs, and a sentence that says whether the model does the task.

    A pair is right if the right answers lead in the clean run and the metric falls in the corrupted one; with
    ``swapped`` answers also if they no longer lead there. The model does the task if the mean lead is above 0, the mean
    fall is above 0 and, with swapped answers, the mean lead in the corrupted run is below 0, each with its 95%
    interval, and if more than half of the pairs are right. A tie is no lead. Too few pairs: no verdict.
    """
    runs = {side: record(model, pairs, side, ()).final for side in ("clean", "corrupted")}
    clean, corrupted = (_read(model, pairs, side, metric, final) for side, final in runs.items())
    leads = metric.kind.endswith("diff")
    lead, there = (clean, corrupted) if leads else (_read(model, pairs, side, LEAD, runs[side]) for side in runs)
    return judged((clean, corrupted), (lead, there), pairs, metric, swapped, seed)


def judged(
    values: tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]],
    leads: tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]],
    pairs: Pairs,
    metric: Metric,
    swapped: bool = False,
    seed: int = 0,
) -> Ability:
    """:func:`ability` from numbers: the metric, and how far the right answers lead, in the clean and corrupted run."""
    (clean, corrupted), (lead, there) = values, leads
    gap = gap_between(clean, corrupted, pairs, metric.unit, seed)
    right = (lead > gap.rounding) & (clean - corrupted > gap.rounding)
    right &= (there < -gap.rounding) if swapped else torch.ones_like(right)
    ends = [mean_over_pairs(one, pairs, seed) for one in (lead, there)]
    share = float(right.float().mean())
    verdict = _verdict(gap, ends, share, swapped, shortage(pairs))
    low, high = (None, None) if ends[0].low is None else (float(ends[0].low), float(ends[0].high))
    found = Ability(clean, corrupted, float(ends[0].mean), low, high, gap, share, verdict, "", unit_note(pairs, seed))
    unit = metric.unit if metric.kind.endswith("diff") else "logits"
    return found._replace(sentence=_sentence(found, unit, metric.unit))


def _verdict(gap: Gap, ends: list, share: float, swapped: bool, short: str) -> Verdict:
    if short:
        return Verdict("unknown", short)
    lead, there = ends
    if not float(lead.low) > gap.rounding:
        return Verdict("none", "the right answers do not lead in the clean run")
    if not (gap.found and gap.mean > 0):
        return Verdict("none", "the metric does not fall in the corrupted run")
    if swapped and not float(there.high) < -gap.rounding:
        return Verdict("none", "with the answers swapped, they do not lead in the corrupted run")
    if not share > MOST:
        return Verdict("none", "fewer than half of the pairs are right")
    return Verdict("found", "")


def _sentence(found: Ability, unit: str, gap_unit: str) -> str:
    gap, n = found.gap, found.gap.n
    right = share_of(round(found.share_right * n), n, "pair")
    numbers = (
        f"the right answer leads by {found.mean:.2f} {unit}{_ends(found.low, found.high)} in the clean run, the metric "
        f"falls by {gap.mean:.2f} {gap_unit}{_ends(gap.low, gap.high)} in the corrupted one, and "
        f"{right} {'is' if right.endswith('the one pair') else 'are'} right in both"
    )
    if found.verdict.state == "unknown":
        return f"With {found.verdict.reason}, it cannot be said whether the model does this task: {numbers}."
    if found.verdict.found:
        return f"The model does this task: {numbers}."
    text = f"The model does not do this task: {found.verdict.reason} ({numbers})."
    if gap.found:
        return f"{text} Yet its two runs differ: what is patched explains that difference, not the task."
    return f"{text} Patching would explain noise; choose another task or model."


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None else f" [{low:.2f}, {high:.2f}]"


def _read(model: Transformer, pairs: Pairs, side: str, metric: Metric, final: Tensor) -> Float[Tensor, " pair"]:
    reader = Reader(model, pairs, side, metric)
    pair, pos = reader.read.nonzero(as_tuple=True)
    return reader(model.ln_final(final)[pair, pos], pair, pos).cpu()
