"""Means over pairs of prompts with studentised intervals; frames and names are samples too, each resampled on its own.

Prompts made of frames x names are not independent: 64 prompts of 8 frames say as much about frames as 8 do. So both
factors are drawn again, and each resample is measured in its own standard errors, which allows for their small number.
"""

from typing import NamedTuple, Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.analysis.counts import counted
from lens.analysis.least import MIN_LEVELS, MIN_SAMPLES
from lens.analysis.stats import BYTES, DRAWS, LEVEL, percentiles
from lens.batching import at_once

LEAST_ERROR = (
    0.1  # of the sample's own standard error: a resample of equal values would otherwise be infinitely far off
)
METHOD = "studentised bootstrap"


class Crossed(Protocol):
    """Prompts that say which frame and which name each was made from; empty where that is unknown."""

    frames: tuple[int, ...]
    names: tuple[int, ...]

    def __len__(self) -> int: ...


class Factor(NamedTuple):
    """One thing that was sampled: frames, names, or the prompts themselves."""

    unit: str  # plural
    level: Int[Tensor, " prompt"]  # which one each prompt has, counted from 0

    @property
    def size(self) -> int:
        """How many different ones there are."""
        return int(self.level.max()) + 1

    @property
    def counted(self) -> str:
        """ "8 frames"."""
        return f"{self.size} {self.unit.removesuffix('s') if self.size == 1 else self.unit}"


class Resamples(NamedTuple):
    """How often each level of each factor was drawn. ``weight`` of a prompt is the product over factors."""

    factors: tuple[Factor, ...]
    counts: tuple[Float[Tensor, "draw level"], ...]
    weight: Float[Tensor, "draw prompt"]


class Sampled(NamedTuple):
    """A ratio of sums over prompts (a mean, where the divisor is 1) and how far resamples of it lie from it.

    Cells whose prompts are too few for an interval have NaN as error.
    """

    value: Float[Tensor, "*axes"]
    error: Float[Tensor, "*axes"]  # standard error
    far: Float[Tensor, "draw *axes"]  # (resampled value - value) / the resample's own standard error

    def interval(self) -> tuple[Float[Tensor, "*axes"], Float[Tensor, "*axes"]]:
        """Lower and upper end of the 95% studentised interval."""
        ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
        low, high = percentiles(self.far.reshape(len(self.far), -1), ends).reshape(2, *self.value.shape)
        return self.value - high * self.error, self.value - low * self.error

    def reach(self) -> Float[Tensor, "*axes"]:
        """How far from its mean each cell may lie: what all of them keep to at once in 95% of resamples.

        Sizes of resampled distances are ranked cell by cell, so that one with heavy tails does not widen the others'.
        Source: Beran 1988, "Balanced simultaneous confidence sets".
        """
        size = self.far.reshape(len(self.far), -1).abs()
        varies, reach = size.amax(0) > 0, torch.zeros_like(size[0])
        if varies.any():
            ordered, order = size[:, varies].sort(dim=0)
            highest = order.argsort(dim=0).amax(1).double()  # of each resample, its highest rank in any cell
            reach[varies] = ordered[int(highest.quantile(LEVEL, interpolation="higher"))]
        return reach.reshape(self.error.shape) * self.error

    def furthest(self) -> float:
        """The 95th percentile over resamples of the largest distance of any cell, in its standard errors."""
        return float(self.far.reshape(len(self.far), -1).abs().amax(1).quantile(LEVEL))


def factors_of(prompts: Crossed) -> tuple[Factor, ...]:
    """What was sampled: frames and names; the coarser one, where it follows from the other; or the prompts alone."""
    known = [(unit, one) for unit, one in (("frames", prompts.frames), ("names", prompts.names)) if one]
    found = [Factor(unit, torch.tensor(one).unique(return_inverse=True)[1]) for unit, one in known]
    cells = len(set(zip(*(one.level.tolist() for one in found))))
    if any(one.size == cells for one in found):
        found = [min(found, key=lambda one: one.size)]
    if not found or found[0].size == len(prompts):
        return (Factor("pairs", torch.arange(len(prompts))),)
    return tuple(found)


def shortage(prompts: Crossed) -> str:
    """Why these prompts carry neither interval nor verdict; "" if they do."""
    n, factors = len(prompts), factors_of(prompts)
    if n < MIN_SAMPLES:
        return f"{n} {'pair' if n == 1 else 'pairs'}, at least {MIN_SAMPLES} are needed"
    if len(factors) == 1:
        few = factors[0].size < MIN_SAMPLES
        return f"{factors[0].counted}, at least {MIN_SAMPLES} are needed" if few else ""
    if min(one.size for one in factors) >= MIN_LEVELS:
        return ""
    sizes = " and ".join(one.counted for one in factors)
    return f"{counted(n, 'pair')} of {sizes}, at least {MIN_LEVELS} of each are needed"


def unit_note(prompts: Crossed, seed: int = 0) -> str:
    """What was resampled, or why there is no interval."""
    short = shortage(prompts)
    if short:
        return f"no interval: {short}"
    factors = factors_of(prompts)
    what = " and ".join(one.counted for one in factors)
    what += f", resampled separately, {counted(len(prompts), 'pair')}" if len(factors) > 1 else ""
    return f"{LEVEL:.0%} {METHOD} over {what}, {DRAWS} resamples, seed {seed}"


def resamples(prompts: Crossed, seed: int = 0, draws: int = DRAWS) -> Resamples:
    """Levels drawn with replacement, every factor on its own. Source: Owen 2007, "The pigeonhole bootstrap"."""
    factors = factors_of(prompts)
    counts = [_counts(one.size, draws, seed + shift) for shift, one in enumerate(factors)]
    weight = torch.ones(draws, len(prompts), dtype=torch.float64)
    for factor, drawn in zip(factors, counts):
        weight *= drawn[:, factor.level]
    there = weight.sum(1) > 0  # a design with gaps can draw only cells that do not exist
    return Resamples(factors, tuple(one[there] for one in counts), weight[there])


def _counts(size: int, draws: int, seed: int) -> Float[Tensor, "draw level"]:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(size, (draws, size), generator=generator)
    counts = torch.zeros(draws, size, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(counts))


def sampled(
    values: Float[Tensor, "*axes prompt"],
    prompts: Crossed,
    seed: int = 0,
    divisor: Float[Tensor, "*axes prompt"] | Float[Tensor, " prompt"] | None = None,
) -> Sampled:
    """Σ values / Σ divisor over prompts for every cell; without a divisor the mean. NaN: a cell lacks that prompt.

    The standard error is that of sampled frames and names (multiway clustering; never less than that of either alone),
    of the residuals value − ratio · divisor. Source: Efron and Tibshirani 1993, chapter 12 (studentised bootstrap);
    Cameron, Gelbach and Miller 2011 (the error).
    """
    axes, n = values.shape[:-1], values.shape[-1]
    top = values.reshape(-1, n).double()
    there = ~top.isnan()
    bottom = torch.ones_like(top) if divisor is None else divisor.double().expand(values.shape).reshape(-1, n)
    drawn = resamples(prompts, seed)
    width = at_once(BYTES // (8 * len(drawn.weight)))
    columns = zip(*(x.T.split(width, dim=1) for x in (top.nan_to_num(), bottom * there, there.double())))
    value, error, far = (torch.cat(part, dim=-1) for part in zip(*(_columns(*one, drawn) for one in columns)))
    return Sampled(value.reshape(axes), error.reshape(axes), far.reshape(-1, *axes))


def _columns(
    top: Float[Tensor, "prompt cell"], bottom: Float[Tensor, "prompt cell"], there: Tensor, drawn: Resamples
) -> tuple[Tensor, Tensor, Tensor]:
    value = top.sum(0) / bottom.sum(0)
    top = top - value * bottom  # residuals: their sum is 0, and so is their ratio
    ones = Resamples(
        drawn.factors,
        tuple(torch.ones(1, one.size, dtype=torch.float64) for one in drawn.factors),
        torch.ones(1, len(top), dtype=torch.float64),
    )
    error = _error(top, bottom, torch.zeros(1, top.shape[1], dtype=torch.float64), ones)[0]
    moved = (drawn.weight @ top) / (drawn.weight @ bottom)
    own = _error(top, bottom, moved, drawn).maximum(LEAST_ERROR * error)
    far = torch.where(own > 0, moved / own, 0.0).nan_to_num()
    enough = torch.stack([_levels(there, one) for one in drawn.factors]).amin(0)
    least = MIN_SAMPLES if len(drawn.factors) == 1 else MIN_LEVELS
    return value, error.masked_fill((enough < least) | (there.sum(0) < MIN_SAMPLES), torch.nan), far


def _levels(there: Float[Tensor, "prompt cell"], factor: Factor) -> Float[Tensor, " cell"]:
    """How many levels have a prompt that the cell exists in."""
    return (_sums(there, factor) > 0).sum(0)


def _sums(values: Float[Tensor, "prompt cell"], factor: Factor) -> Float[Tensor, "level cell"]:
    return values.new_zeros(factor.size, values.shape[1]).index_add_(0, factor.level, values)


def _error(top: Tensor, bottom: Tensor, ratio: Float[Tensor, "draw cell"], drawn: Resamples) -> Tensor:
    """Standard error of each resample's ratio."""
    squares = [
        _squares(top, bottom, ratio, drawn, which) * one.size / (one.size - 1) if one.size > 1 else ratio * 0
        for which, one in enumerate(drawn.factors)
    ]
    if len(squares) > 1:
        squares.append(sum(squares) - _squares_of_cells(top, bottom, ratio, drawn))
    return torch.stack(squares).amax(0).clamp(min=0).sqrt() / (drawn.weight @ bottom).abs()


def _squares(top: Tensor, bottom: Tensor, ratio: Tensor, drawn: Resamples, which: int) -> Float[Tensor, "draw cell"]:
    """Sum over the drawn levels of one factor of the squared sum of its residuals."""
    factor, counts = drawn.factors[which], drawn.counts[which]
    if len(drawn.factors) == 1:
        return _weighted_squares(_sums(top, factor), _sums(bottom, factor), ratio, counts)
    other, total = drawn.factors[1 - which], torch.zeros_like(ratio)
    often = drawn.counts[1 - which][:, other.level]
    for level in range(factor.size):
        mine = factor.level == level
        residual = often[:, mine] @ top[mine] - ratio * (often[:, mine] @ bottom[mine])
        total += counts[:, [level]] * residual**2
    return total


def _squares_of_cells(top: Tensor, bottom: Tensor, ratio: Tensor, drawn: Resamples) -> Float[Tensor, "draw cell"]:
    """The same with every combination of frame and name as a level of its own."""
    first, second = drawn.factors
    where = torch.stack([first.level, second.level]).unique(dim=1, return_inverse=True)
    pairs, cell = where[0], Factor("cells", where[1])
    counts = drawn.counts[0][:, pairs[0]] * drawn.counts[1][:, pairs[1]]
    return _weighted_squares(_sums(top, cell), _sums(bottom, cell), ratio, counts)


def _weighted_squares(top: Tensor, bottom: Tensor, ratio: Tensor, counts: Tensor) -> Float[Tensor, "draw cell"]:
    """Σ counts · (top − ratio · bottom)², without an array of draws x levels x cells."""
    return counts @ top**2 - 2 * ratio * (counts @ (top * bottom)) + ratio**2 * (counts @ bottom**2)
