"""What a sweep found: values per cell and pair, effects, and the recovered share with its interval."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lens.analysis.crossed import sampled, shortage, unit_note
from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.verdicts import Gap, gap_between
from lens.arrays import as_tensor


class Sweep(NamedTuple):
    """The metric of every changed run. Axes of ``values`` and ``status`` are those of ``axes``, then the pair."""

    values: Float[Tensor, "*axes pair"]  # NaN: not computed yet, or the prompt has no such position
    status: UInt8[Tensor, "*axes pair"]  # index into plan.STATUS: computed, or why it needs no computing
    base: Float[Tensor, " pair"]  # the metric of the run that is changed, before the change
    other: Float[Tensor, " pair"]  # the metric of the run that activations come from
    axes: dict[str, list[int]]
    experiment: Experiment

    @property
    def complete(self) -> bool:
        """Whether every cell that needs computing is computed."""
        return not (np.isnan(np.asarray(self.values)) & (np.asarray(self.status) == 0)).any()


class Effect(NamedTuple):
    """A mean over pairs for every cell, with its 95% interval, or None and the reason in ``note``."""

    value: Float[Tensor, "*axes"]
    low: Float[Tensor, "*axes"] | None
    high: Float[Tensor, "*axes"] | None
    n: int
    note: str


class Share(NamedTuple):
    """A share of a gap between two runs, unclipped, with its 95% interval."""

    value: float
    low: float
    high: float


class Recovered(NamedTuple):
    """Share of the gap between corrupted (0) and clean (1), unclipped; ``value`` is None where it is refused."""

    value: Float[Tensor, "*axes"] | None
    low: Float[Tensor, "*axes"] | None
    high: Float[Tensor, "*axes"] | None
    gap: float  # mean of clean − corrupted, in the metric's unit
    gap_low: float | None
    gap_high: float | None
    n: int
    note: str  # how the interval was made; or why the share is refused


def clean_and_corrupted(sweep: Sweep) -> tuple[Float[Tensor, " pair"], Float[Tensor, " pair"]]:
    """The metric of the two unchanged runs, clean first."""
    base, other = as_tensor(sweep.base), as_tensor(sweep.other)
    return (other, base) if sweep.experiment.intervention.into == "corrupted" else (base, other)


def effect(sweep: Sweep, seed: int = 0) -> Effect:
    """Metric after the change minus before, mean over pairs, in the metric's unit.

    Frames and names are resampled separately where the pairs have both. Cells that are not computed yet are NaN.
    """
    change = as_tensor(sweep.values) - as_tensor(sweep.base)
    mean = change.nanmean(-1).masked_fill(_unfinished(sweep), torch.nan)
    return with_interval(mean, change, sweep.experiment.pairs, seed)


def with_interval(mean: Tensor, change: Float[Tensor, "*axes pair"], pairs: Pairs, seed: int = 0) -> Effect:
    """A mean over pairs with its interval; pairs that a cell lacks (NaN) do not count for it."""
    note = unit_note(pairs, seed)
    if shortage(pairs):
        return Effect(mean, None, None, len(pairs), note)
    low, high = sampled(change, pairs, seed).interval()
    return Effect(mean, low.float(), high.float(), len(pairs), note)


def _unfinished(sweep: Sweep) -> Tensor:
    return (as_tensor(sweep.values).isnan() & (as_tensor(sweep.status) == 0)).any(-1)


def gap_of(sweep: Sweep, seed: int = 0) -> Gap:
    """How far the other run lies from the run that is changed, and whether shares of that may be shown."""
    return gap_between(sweep.other, sweep.base, sweep.experiment.pairs, sweep.experiment.metric.unit, seed)


def recovered(sweep: Sweep, seed: int = 0) -> Recovered:
    """Σ(patched − corrupted) / Σ(clean − corrupted) over pairs: 1 is the clean run, 0 the corrupted one, unclipped.

    Refused, with the reason, unless the interval of the gap excludes 0. A ratio of sums: pairs with a small gap do not
    dominate.
    """
    clean, corrupted = clean_and_corrupted(sweep)
    pairs = sweep.experiment.pairs
    gap = gap_between(clean, corrupted, pairs, sweep.experiment.metric.unit, seed)
    ends = (gap.mean, gap.low, gap.high, gap.n)
    if not gap.found:
        reason = gap.verdict.reason
        return Recovered(None, None, None, *ends, f"no share of the gap: {reason}. Look at the change itself.")
    found = sampled(as_tensor(sweep.values) - corrupted, pairs, seed, clean - corrupted)
    unfinished = _unfinished(sweep)
    shares = [one.float().masked_fill(unfinished, torch.nan) for one in (found.value, *found.interval())]
    return Recovered(*shares, *ends, unit_note(pairs, seed))


def closed(sweep: Sweep, seed: int = 0) -> Recovered:
    """Share of the gap that each change closes: 0 as before, 1 all the way to the other run, unclipped.

    What is recovered in denoising; what is lost, 1 − recovered, in noising.
    """
    found = recovered(sweep, seed)
    if found.value is None or sweep.experiment.intervention.into == "corrupted":
        return found
    return found._replace(value=1 - found.value, low=1 - found.high, high=1 - found.low)
