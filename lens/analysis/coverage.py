"""How often the intervals of means and shares hold the truth, measured on populations where it is known."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.stats import LEVEL, bootstrap_interval, bootstrap_weights, percentiles, share_interval

SIZES = (16, 32, 64)  # samples behind one interval
REPEATS = 2000  # intervals per population and size: a coverage of 95% is measured to ± 1%
DRAWS = 1000
WHAT = (
    f"Of {REPEATS:,} samples drawn from each population, the share whose {LEVEL:.0%} interval holds the mean of that "
    "population. Beside it the same of the percentile bootstrap, which is narrower and is not used."
)


class Population(NamedTuple):
    """Numbers that samples are drawn from."""

    draw: Callable[[torch.Generator, tuple[int, int]], Tensor]  # (generator, shape) → independent float64 values
    mean: float
    share: bool = False  # whether they are 0 or 1, so that their interval is the exact one of a share


class Coverage(NamedTuple):
    """What share of the intervals of samples of ``n`` holds the mean of a population."""

    population: str
    n: int
    held: float
    percentile: float  # the same of the percentile bootstrap


def _normal(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def _uniform(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def _heavy(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    chi = sum(_normal(generator, shape).square() for _ in range(3))
    return _normal(generator, shape) / (chi / 3).sqrt()


def _log_normal(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    return _normal(generator, shape).exp()


def _sparse(generator: torch.Generator, shape: tuple[int, int]) -> Tensor:
    return (_uniform(generator, shape) < 0.3) * _log_normal(generator, shape)


def _binary(p: float) -> Population:
    return Population(lambda generator, shape: (_uniform(generator, shape) < p).double(), p, share=True)


def resampled(scores: Float[Tensor, " sequence"]) -> Population:
    """What a model really gives: independent draws from its scores on many sequences."""
    values = scores.double()
    return Population(
        lambda generator, shape: values[torch.randint(len(values), shape, generator=generator)], float(values.mean())
    )


POPULATIONS = {
    "normal": Population(_normal, 0.0),
    "heavy tails (Student's t of 3)": Population(_heavy, 0.0),
    "skewed (exponential)": Population(lambda generator, shape: -_uniform(generator, shape).log(), 1.0),
    "very skewed (log-normal)": Population(_log_normal, math.exp(0.5)),
    "7 of 10 are 0, the others log-normal": Population(_sparse, 0.3 * math.exp(0.5)),
    "shares of successes, 1 of 2": _binary(0.5),
    "shares of successes, 1 of 20": _binary(0.05),
}
FROM_MODEL = {  # (score, layer, head) of lens-2l on MODEL_SEQUENCES sequences: what the app measures
    "lens-2l: prefix matching of 1.1": ("induction", 1, 1),
    "lens-2l: previous token of 0.1": ("previous", 0, 1),
    "lens-2l: prefix matching of 0.3, which does it once in a while": ("induction", 0, 3),
}
MODEL_SEQUENCES, MODEL_SEED = 1024, 7  # of 25 random tokens, twice


MEASURED = (
    Coverage("normal", 16, 0.9555, 0.914),
    Coverage("normal", 32, 0.9515, 0.9335),
    Coverage("normal", 64, 0.9545, 0.9455),
    Coverage("heavy tails (Student's t of 3)", 16, 0.96, 0.916),
    Coverage("heavy tails (Student's t of 3)", 32, 0.9625, 0.935),
    Coverage("heavy tails (Student's t of 3)", 64, 0.955, 0.9325),
    Coverage("skewed (exponential)", 16, 0.958, 0.893),
    Coverage("skewed (exponential)", 32, 0.9645, 0.9295),
    Coverage("skewed (exponential)", 64, 0.963, 0.942),
    Coverage("very skewed (log-normal)", 16, 0.927, 0.8405),
    Coverage("very skewed (log-normal)", 32, 0.9415, 0.8805),
    Coverage("very skewed (log-normal)", 64, 0.948, 0.9065),
    Coverage("7 of 10 are 0, the others log-normal", 16, 0.9385, 0.7985),
    Coverage("7 of 10 are 0, the others log-normal", 32, 0.9505, 0.846),
    Coverage("7 of 10 are 0, the others log-normal", 64, 0.9405, 0.8805),
    Coverage("shares of successes, 1 of 2", 16, 0.9785, 0.956),
    Coverage("shares of successes, 1 of 2", 32, 0.98, 0.956),
    Coverage("shares of successes, 1 of 2", 64, 0.9725, 0.9635),
    Coverage("shares of successes, 1 of 20", 16, 0.9955, 0.5605),
    Coverage("shares of successes, 1 of 20", 32, 0.9785, 0.8045),
    Coverage("shares of successes, 1 of 20", 64, 0.9875, 0.8365),
    Coverage("lens-2l: prefix matching of 1.1", 16, 0.9555, 0.9275),
    Coverage("lens-2l: prefix matching of 1.1", 32, 0.9515, 0.931),
    Coverage("lens-2l: prefix matching of 1.1", 64, 0.9515, 0.9365),
    Coverage("lens-2l: prefix matching of 0.3, which does it once in a while", 16, 0.8025, 0.7065),
    Coverage("lens-2l: prefix matching of 0.3, which does it once in a while", 32, 0.828, 0.7605),
    Coverage("lens-2l: prefix matching of 0.3, which does it once in a while", 64, 0.842, 0.7885),
    Coverage("lens-2l: previous token of 0.1", 16, 0.9465, 0.89),
    Coverage("lens-2l: previous token of 0.1", 32, 0.954, 0.917),
    Coverage("lens-2l: previous token of 0.1", 64, 0.9425, 0.925),
)  # seed 0; a test measures them again


def coverage(name: str, population: Population, n: int, repeats: int = REPEATS, seed: int = 0) -> Coverage:
    """Both intervals of ``repeats`` samples of ``n``, against the mean that is known."""
    samples = population.draw(torch.Generator().manual_seed(seed), (n, repeats))
    if population.share:
        ends = share_interval(samples.sum(0), n)
    else:
        ends = bootstrap_interval(samples, draws=DRAWS, seed=seed)
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    plain = percentiles(bootstrap_weights(n, DRAWS, seed) @ samples, tails)
    return Coverage(name, n, *(_held(low, high, population.mean) for low, high in (ends, plain)))


def _held(low: Tensor, high: Tensor, mean: float) -> float:
    return float(((low <= mean) & (mean <= high)).double().mean())


def summary(rows: tuple[Coverage, ...]) -> str:
    """The range of what was measured, as a sentence."""
    first = min(row.n for row in rows)
    small = [row for row in rows if row.n == first]
    worst = min(small, key=lambda row: row.held)
    return (
        f"At n = {first} the {LEVEL:.0%} intervals hold the mean in {worst.held:.0%} ({worst.population}) to "
        f"{max(row.held for row in small):.0%} of samples; percentile intervals would in "
        f"{min(row.percentile for row in small):.0%} to {max(row.percentile for row in small):.0%}."
    )


def table() -> list[dict[str, object]]:
    """One row per population, a column per size of the sample: how often the interval held the mean."""
    rows: dict[str, dict[str, object]] = {}
    for one in MEASURED:
        row = rows.setdefault(one.population, {"population": one.population})
        row[f"n = {one.n}"], row[f"percentile, n = {one.n}"] = one.held, one.percentile
    return list(rows.values())
