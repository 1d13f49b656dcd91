"""How sure a mean over sequences is, and how large a score gets by chance somewhere among many heads."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

DRAWS = 2000  # resamples of the bootstrap
MIN_SAMPLES = 16  # below it, percentile intervals are too narrow to be shown
LEVEL = 0.95
BYTES = 64_000_000  # of resampled means held at once


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
    """Lower and upper end of the percentile bootstrap interval of the mean over the first axis.

    Every column sees the same resamples, so columns keep their correlation. Means are a matrix product with the
    multinomial weights, in chunks of at most ``BYTES``. Source: Efron and Tibshirani, "An Introduction to the
    Bootstrap" (1993), chapter 13.
    """
    flat = samples.reshape(len(samples), -1).double()
    weights = bootstrap_weights(len(flat), draws, seed)
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    width = max(1, BYTES // (8 * draws))
    low, high = torch.cat([percentiles(weights @ part, ends) for part in flat.split(width, dim=1)], dim=1)
    shape, dtype = samples.shape[1:], samples.dtype
    return low.reshape(shape).to(dtype), high.reshape(shape).to(dtype)


def percentiles(values: Float[Tensor, "draw column"], at: Float[Tensor, " end"]) -> Float[Tensor, "end column"]:
    """Interpolated percentiles of every column, at shares ``at`` of the draws."""
    # Sorting contiguous rows: five times faster than torch.quantile along the first axis.
    ordered = values.T.contiguous().sort(dim=1).values
    place = at * (len(values) - 1)
    below = place.floor().long()
    above = (below + 1).clamp(max=len(values) - 1)
    return torch.lerp(ordered[:, below], ordered[:, above], place - below).T


def estimate(samples: Float[Tensor, "sample *rest"], unit: str = "sequences", seed: int = 0) -> Estimate:
    """Mean over the first axis, whose entries are the independent ``unit``, with its 95% percentile bootstrap interval.

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
        unit = unit.removesuffix("s") if n == 1 else unit
        return Estimate(samples.mean(0), None, None, n, f"no interval: {n} {unit}, at least {MIN_SAMPLES} are needed")
    low, high = bootstrap_interval(samples, seed=seed)
    note = f"{LEVEL:.0%} percentile bootstrap over {n} {unit}, {DRAWS} resamples, seed {seed}"
    return Estimate(samples.mean(0), low, high, n, note)


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
