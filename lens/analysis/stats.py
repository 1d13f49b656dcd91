"""How sure a mean over sequences is, and how large a score gets by chance somewhere among many heads."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import betaincinv, stdtrit  # not scipy.stats, which takes two thirds of a second to import
from torch import Tensor

from lens.analysis.least import MIN_SAMPLES
from lens.batching import at_once

DRAWS = 2000  # resamples of the bootstrap
LEVEL = 0.95
BYTES = 64_000_000  # of resampled means held at once
INTERVAL = f"{LEVEL:.0%} studentised bootstrap, no narrower than Student's t,"  # of a mean, in notes


class Estimate(NamedTuple):
    """A mean over samples with its confidence interval. ``low`` and ``high`` are None where no interval is given."""

    mean: Tensor  # [...]
    low: Tensor | None  # [...]
    high: Tensor | None  # [...]
    n: int  # samples: sequences or documents
    note: str  # what the interval is, or why there is none


def bootstrap_weights(n: int, draws: int = DRAWS, seed: int = 0) -> Float[Tensor, "draw sample"]:
    """Share of each of ``n`` samples in each resample with replacement (rows sum to 1)."""
    if n < 1 or draws < 1:
        raise ValueError(f"bootstrap_weights: n={n}, draws={draws}; both must be at least 1.")
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(n, (draws, n), generator=generator)
    counts = torch.zeros(draws, n, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(counts)) / n


def bootstrap_interval(
    samples: Float[Tensor, "sample *rest"], draws: int = DRAWS, seed: int = 0, level: float = LEVEL
) -> tuple[Float[Tensor, "*rest"], Float[Tensor, "*rest"]]:
    """Lower and upper end of the interval of the mean over the first axis: the wider, at each end, of two.

    One is the studentised bootstrap, which follows skewed samples; the other Student's t, which holds where tails are
    heavy on both sides or few values differ. How often it holds the mean is measured in ``lens.analysis.coverage``.
    Every column sees the same resamples, so columns keep their correlation. Source: Efron and Tibshirani, "An
    Introduction to the Bootstrap" (1993), chapter 12.5.
    """
    flat = samples.reshape(len(samples), -1).double()
    if len(flat) < 2:
        raise ValueError(f"bootstrap_interval: {len(flat)} samples; a spread needs at least 2.")
    weights = bootstrap_weights(len(flat), draws, seed)
    width = at_once(BYTES // (8 * draws))
    low, high = torch.cat([_ends(part, weights, level) for part in flat.split(width, dim=1)], dim=1)
    shape, dtype = samples.shape[1:], samples.dtype
    return low.reshape(shape).to(dtype), high.reshape(shape).to(dtype)


def _ends(
    samples: Float[Tensor, "sample column"], weights: Float[Tensor, "draw sample"], level: float
) -> Float[Tensor, "end column"]:
    n, mean = len(samples), samples.mean(0)
    centred = samples - mean
    variance = centred.square().mean(0)
    shift = weights @ centred
    spread = weights @ centred.square() - shift.square()
    # A resample of n like values has no spread. Samples of n hold at least one value that differs, and so much spread:
    least = (variance / n).clamp(min=torch.finfo(torch.float64).tiny)
    ratio = shift / torch.maximum(spread, least).sqrt()
    share = (1 + level) / 2
    above, below = percentiles(ratio, torch.tensor([share, 1 - share], dtype=torch.float64))
    t = float(stdtrit(n - 1, share)) / (n - 1) ** 0.5  # of the spread that is divided by n
    return mean + variance.sqrt() * torch.stack([-above.clamp(min=t), (-below).clamp(min=t)])


def share_interval(
    successes: Int[Tensor, "*rest"], n: int, level: float = LEVEL
) -> tuple[Float[Tensor, "*rest"], Float[Tensor, "*rest"]]:
    """Exact interval of a share of successes out of ``n``: it holds the share in at least ``level`` of all samples.

    It has a width even where all or none succeed. Source: Clopper and Pearson 1934.
    """
    tail, k = (1 - level) / 2, successes.cpu().double().numpy()
    low = np.where(k > 0, betaincinv(k, n - k + 1, tail), 0.0)
    high = np.where(k < n, betaincinv(k + 1, n - k, 1 - tail), 1.0)
    return torch.from_numpy(low), torch.from_numpy(high)


def percentiles(values: Float[Tensor, "draw column"], at: Float[Tensor, " end"]) -> Float[Tensor, "end column"]:
    """Interpolated percentiles of every column, at shares ``at`` of the draws."""
    # numpy's sort of contiguous rows: a third of the time of torch's, a fifteenth of torch.quantile's along columns.
    ordered = torch.from_numpy(np.sort(values.T.contiguous().numpy(), axis=1))
    place = at * (len(values) - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=len(values) - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], place - below).T


def estimate(samples: Float[Tensor, "sample *rest"], unit: str = "sequences", seed: int = 0) -> Estimate:
    """Mean over the first axis, whose entries are the independent ``unit``, with its 95% interval.

    Below 16 samples there are points but no interval, and ``note`` says so. ValueError for no sample, NaN or infinity.
    """
    n = len(samples)
    if n == 0:
        raise ValueError(f"estimate: no samples; a mean over {unit} needs at least one.")
    if not samples.isfinite().all():
        raise ValueError(
            f"estimate: {int((~samples.isfinite()).sum())} values over {unit} are not finite; leave them out."
        )
    if n < MIN_SAMPLES:
        return Estimate(samples.mean(0), None, None, n, _too_few(n, unit))
    low, high = bootstrap_interval(samples, seed=seed)
    return Estimate(samples.mean(0), low, high, n, f"{INTERVAL} over {n} {unit}, {DRAWS} resamples, seed {seed}")


def means_within(
    samples: Float[Tensor, "sample *rest"], groups: Int[Tensor, " sample"]
) -> Float[Tensor, "group *rest"]:
    """The mean of the samples of each group, by ascending number of the group."""
    numbers, place = groups.unique(return_inverse=True)
    if len(numbers) == len(samples):
        return samples[groups.argsort()]
    counts = place.bincount().reshape(-1, *[1] * (samples.ndim - 1))
    return samples.new_zeros(len(numbers), *samples.shape[1:]).index_add_(0, place, samples) / counts


def share(successes: Bool[Tensor, "sample *rest"], unit: str = "sequences") -> Estimate:
    """Share of the first axis that succeeds, with its exact 95% interval; below 16 of them no interval."""
    n = len(successes)
    if n == 0:
        raise ValueError(f"share: no samples; a share of {unit} needs at least one.")
    counts = successes.sum(0)
    if n < MIN_SAMPLES:
        return Estimate(counts / n, None, None, n, _too_few(n, unit))
    low, high = (end.to(torch.get_default_dtype()) for end in share_interval(counts, n))
    return Estimate(counts / n, low, high, n, f"{LEVEL:.0%} exact binomial interval over {n} {unit}")


def _too_few(n: int, unit: str) -> str:
    unit = unit.removesuffix("s") if n == 1 else unit
    return f"no interval: {n} {unit}, at least {MIN_SAMPLES} are needed"


def within(found: Estimate, lowest: float, highest: float) -> Estimate:
    """``found`` with its interval cut at the ends of what the number can be, as of a probability."""
    if found.low is None or found.high is None:
        return found
    return found._replace(low=found.low.clamp(lowest, highest), high=found.high.clamp(lowest, highest))


def family_wise_threshold(control: Float[Tensor, "sample *rest"], level: float = LEVEL) -> float:
    """What the best of all heads reaches on a control sequence in all but 5% of cases.

    For each sequence the maximum over every other axis, then the 95th percentile (interpolated) over sequences. A score
    above it would be rare even as the best of all heads where there is nothing to find. Few sequences bring it close
    to the largest maximum.
    """
    if control.ndim < 2 or control.numel() == 0:
        raise ValueError(
            f"family_wise_threshold: control has shape {list(control.shape)}; wanted [sequence, layer, head]."
        )
    return float(control.reshape(len(control), -1).amax(1).double().quantile(level))
