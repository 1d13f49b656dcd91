"""What a sweep found: values per cell and pair, effects, and the recovered share with its interval."""

from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from lens.analysis.crossed import crossed_weights, interval_of, unit_note
from lens.analysis.interventions.intervention import Experiment
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.stats import MIN_SAMPLES

TINY = 1e-6  # a gap below this share of the metric's size is rounding


class Sweep(NamedTuple):
    """The metric of every changed run. Axes of ``values`` and ``status`` are those of ``axes``, then the pair."""

    values: Float[Tensor, "*axes pair"]  # NaN: not computed yet, or the prompt has no such position
    status: UInt8[Tensor, "*axes pair"]  # index into plan.STATUS: computed, or why it needs no computing
    base: Float[Tensor, " pair"]  # the metric of the run that is changed, before the change
    other: Float[Tensor, " pair"]  # the metric of the run that activations come from
    axes: dict[str, list[int]]
    experiment: Experiment


class Effect(NamedTuple):
    """A mean over pairs for every cell, with its 95% interval, or None and the reason in ``note``."""

    value: Float[Tensor, "*axes"]
    low: Float[Tensor, "*axes"] | None
    high: Float[Tensor, "*axes"] | None
    n: int
    note: str


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
    base, other = torch.as_tensor(sweep.base), torch.as_tensor(sweep.other)
    return (other, base) if sweep.experiment.intervention.into == "corrupted" else (base, other)


def effect(sweep: Sweep, seed: int = 0) -> Effect:
    """Metric after the change minus before, mean over pairs, in the metric's unit.

    Frames and names are resampled separately where the pairs have both. Cells that are not computed yet are NaN.
    """
    change = torch.as_tensor(sweep.values) - torch.as_tensor(sweep.base)
    mean = change.nanmean(-1).masked_fill(_unfinished(sweep), torch.nan)
    return with_interval(mean, change, sweep.experiment.pairs, seed)


def with_interval(mean: Tensor, change: Float[Tensor, "*axes pair"], pairs: Pairs, seed: int = 0) -> Effect:
    """A mean over pairs with its bootstrap interval; pairs that a cell lacks (NaN) do not count for it."""
    n = change.shape[-1]
    if n < MIN_SAMPLES:
        return Effect(mean, None, None, n, unit_note(pairs, n, seed))
    flat = change.reshape(-1, n).double()
    weights = crossed_weights(pairs, seed)
    there = (~flat.isnan()).double()
    draws = weights @ flat.nan_to_num().T / (weights @ there.T)
    low, high = (x.reshape(mean.shape).float() for x in interval_of(draws))
    return Effect(mean, low, high, n, unit_note(pairs, n, seed))


def _unfinished(sweep: Sweep) -> Tensor:
    return (torch.as_tensor(sweep.values).isnan() & (torch.as_tensor(sweep.status) == 0)).any(-1)


def recovered(sweep: Sweep, seed: int = 0) -> Recovered:
    """Σ(patched − corrupted) / Σ(clean − corrupted) over pairs: 1 is the clean run, 0 the corrupted one, unclipped.

    Refused, with the reason, when the interval of the gap includes 0. A ratio of sums: pairs with a small gap do not
    dominate.
    """
    clean, corrupted = clean_and_corrupted(sweep)
    pairs, n = sweep.experiment.pairs, len(clean)
    gaps = (clean - corrupted).double()
    gap, low, high = float(gaps.mean()), None, None
    note = unit_note(pairs, n, seed)
    weights = crossed_weights(pairs, seed) if n >= MIN_SAMPLES else None
    if weights is not None:
        low, high = (float(x) for x in interval_of((weights @ gaps)[:, None]))
    refused = _refusal(clean, corrupted, low, high, sweep.experiment.metric.unit)
    if refused:
        return Recovered(None, None, None, gap, low, high, n, refused)
    change = torch.as_tensor(sweep.values).double() - corrupted
    shape, flat = change.shape[:-1], change.reshape(-1, n)
    there = (~flat.isnan()).double()
    value = (flat.nan_to_num().sum(-1) / (there @ gaps)).reshape(shape).masked_fill(_unfinished(sweep), torch.nan)
    if weights is None:
        return Recovered(value.float(), None, None, gap, None, None, n, note)
    ends = interval_of((weights @ flat.nan_to_num().T) / (weights @ (there * gaps).T))
    return Recovered(value.float(), *(x.reshape(shape).float() for x in ends), gap, low, high, n, note)


def _refusal(clean: Tensor, corrupted: Tensor, low: float | None, high: float | None, unit: str) -> str:
    gap = float((clean - corrupted).mean())
    if low is not None and low <= 0 <= high:
        return (
            f"no recovered share: the gap between clean and corrupted runs is {gap:.3g} {unit} "
            f"[{low:.3g}, {high:.3g}], which includes 0. Look at the raw effect, or use other prompts."
        )
    if abs(gap) <= TINY * float(clean.abs().mean() + corrupted.abs().mean()):
        return f"no recovered share: clean and corrupted runs do not differ in this metric (gap {gap:.3g} {unit})."
    return ""
