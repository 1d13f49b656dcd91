"""What a sample can carry: the one place where numbers become verdicts.

A verdict is "found", "none" (looked for, and not there) or "unknown" (this sample cannot say). Every sentence of a page
that claims more than a number reads one from here, so that a claim is made by the same rule wherever it stands, and how
often a rule claims something about models of random weights is measured by tests.
"""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from scipy.special import ndtri
from torch import Tensor

from lens.analysis.crossed import Crossed, sampled, shortage, unit_note
from lens.analysis.stats import MIN_SAMPLES, Estimate, family_wise_threshold
from lens.arrays import as_tensor

State = Literal["found", "none", "unknown"]
ALPHA = 0.05  # how often a verdict may be given where there is nothing, for all heads that are asked together
LEARNED, NOT_LEARNED = 0.5, 0.75  # of what a guess costs, below and above which a task is and is not learned
ROUNDINGS = 64  # roundings of the number format that two computations of the same number may differ by


class Verdict(NamedTuple):
    """What can be said, and why: ``reason`` names the numbers that decided, or what the sample lacks."""

    state: State
    reason: str

    @property
    def found(self) -> bool:
        """Whether the claim may be made."""
        return self.state == "found"


def too_few(n: int, unit: str = "sequences") -> str:
    """Why ``n`` samples carry no verdict; "" if they carry one. ``unit`` in the plural."""
    if n >= MIN_SAMPLES:
        return ""
    return f"{n} {unit.removesuffix('s') if n == 1 else unit}; a verdict needs at least {MIN_SAMPLES}"


def rounding_of(*values: Tensor | float, dtype: torch.dtype = torch.float32) -> float:
    """Below this, a difference of numbers as large as ``values`` may be nothing but rounding, in their unit."""
    largest = max((float(as_tensor(one).abs().nan_to_num().max()) for one in values), default=0.0)
    return ROUNDINGS * torch.finfo(dtype).eps * largest


def exceeds(values: Tensor, threshold: float, dtype: torch.dtype | None = None) -> Tensor:
    """Where ``values`` lie above ``threshold`` by more than the rounding of ``dtype``, in which they were computed.

    None: the values' own. A mean of float32 numbers and a percentile of the same numbers differ in their last digits
    although they are equal: a bare comparison then finds heads that do nothing.
    """
    values = as_tensor(values)
    return values.double() > threshold + rounding_of(threshold, dtype=dtype or values.dtype)


class AboveChance(NamedTuple):
    """Which of many candidates exceed what the best of them all reaches by chance; both None without a verdict."""

    threshold: float | None
    above: Tensor | None  # bool, one per candidate
    reason: str  # why there is no verdict; "" where there is one


def above_chance(
    score: Float[Tensor, "*candidate"], null: Float[Tensor, "sample *candidate"], unit: str = "sequences"
) -> AboveChance:
    """Every candidate's mean score against the 95th percentile over samples of the largest null of any candidate.

    Below 16 samples there is neither threshold nor verdict: the largest of few maxima is no 95th percentile.
    """
    few = too_few(len(null), unit)
    if few:
        return AboveChance(None, None, few)
    threshold = family_wise_threshold(null)
    return AboveChance(threshold, exceeds(score, threshold), "")


def differs_from_zero(estimate: Estimate, rounding: float = 0.0, unit: str = "sequences") -> Verdict:
    """Whether a single mean is other than 0: its interval excludes 0, and it is larger than ``rounding``.

    For one number that was asked for; the best of many needs a threshold for the best of all.
    """
    few = too_few(estimate.n, unit)
    mean = float(estimate.mean)
    if few or estimate.low is None or estimate.high is None:
        return Verdict("unknown", few or estimate.note)
    low, high = float(estimate.low), float(estimate.high)
    numbers = f"{mean:.3g} [{low:.3g}, {high:.3g}]"
    if abs(mean) <= rounding:
        return Verdict("none", f"{numbers} is no more than rounding")
    if low <= 0 <= high:
        return Verdict("none", f"the interval of {numbers} includes 0")
    return Verdict("found", f"the interval of {numbers} excludes 0")


def learned(loss: Estimate, guess: float, unit: str = "sequences") -> Verdict:
    """Whether a model does a task of which guessing costs ``guess``: its whole interval lies below half of that.

    "none" where the whole interval lies above three quarters of it, "unknown" in between. Losses in nats; of one run.
    """
    few = too_few(loss.n, unit)
    if few or loss.low is None or loss.high is None:
        return Verdict("unknown", few or loss.note)
    low, high = float(loss.low), float(loss.high)
    numbers = f"has a loss of {float(loss.mean):.3g} [{low:.3g}, {high:.3g}] nats, where a guess costs {guess:.3g}"
    if high < guess * LEARNED:
        return Verdict("found", numbers)
    return Verdict("none" if low > guess * NOT_LEARNED else "unknown", numbers)


def which_differ_from_zero(estimate: Estimate, rounding: float = 0.0) -> Bool[Tensor, "*candidate"] | None:
    """Which of many means are other than 0 and larger than ``rounding``; None where the sample carries no interval.

    The intervals of ``estimate`` must hold all means at once, as those of ``compare.paired_difference`` do.
    """
    if too_few(estimate.n) or estimate.low is None or estimate.high is None:
        return None
    mean, low, high = map(as_tensor, (estimate.mean, estimate.low, estimate.high))
    return ((low > 0) | (high < 0)) & (mean.abs() > rounding)


def normal_reach(family: int, level: float = ALPHA) -> float:
    """What the largest size of ``family`` standard normal numbers exceeds in at most ``level`` of cases (Bonferroni).

    However the numbers hang together: heads that share values, or read what others wrote, are covered.
    """
    return float(-ndtri(level / 2 / max(1, family)))


class Gap(NamedTuple):
    """How far a metric lies apart between two runs, mean over pairs, and whether anything may be told as a share of it.

    ``rounding``: a change of the metric up to this size may be nothing but rounding, in the metric's unit.
    """

    mean: float
    low: float | None
    high: float | None
    n: int
    rounding: float
    verdict: Verdict

    @property
    def found(self) -> bool:
        """Whether the two runs differ: shares, "of the way" and what is told from them need it."""
        return self.verdict.found


def mean_over_pairs(values: Tensor, pairs: Crossed, seed: int = 0) -> Estimate:
    """Mean over the last axis, whose entries are pairs, with its interval where the pairs carry one."""
    found, note = sampled(values, pairs, seed), unit_note(pairs, seed)
    if shortage(pairs):
        return Estimate(found.value, None, None, len(pairs), note)
    return Estimate(found.value, *found.interval(), len(pairs), note)


def gap_between(one: Tensor, other: Tensor, pairs: Crossed, unit: str = "", seed: int = 0) -> Gap:
    """The gap ``one`` − ``other`` of a metric [pair] between two runs: the one rule for all that is said of a gap.

    Found if its interval excludes 0 and it is more than rounding; unknown where the pairs carry no interval.
    """
    one, other = as_tensor(one).double(), as_tensor(other).double()
    rounding, found = rounding_of(one, other), mean_over_pairs(one - other, pairs, seed)
    mean, ends = float(found.mean), (None, None) if found.low is None else (float(found.low), float(found.high))
    said = f"{mean:.3g} {unit}".strip()
    if abs(mean) <= rounding:
        verdict = Verdict("none", f"the two runs do not differ in this metric: their gap, {said}, is rounding")
    elif found.low is None:
        verdict = Verdict("unknown", f"whether the two runs differ cannot be told: {shortage(pairs)}")
    elif ends[0] <= 0 <= ends[1]:
        verdict = Verdict("none", f"the gap between the two runs, {said} [{ends[0]:.3g}, {ends[1]:.3g}], may be 0")
    else:
        verdict = Verdict("found", f"the two runs differ by {said} [{ends[0]:.3g}, {ends[1]:.3g}]")
    return Gap(mean, *ends, len(pairs), rounding, verdict)
