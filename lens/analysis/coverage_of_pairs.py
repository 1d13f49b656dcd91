"""How often the intervals of tasks made of frames x names hold the truth, measured in worlds where it is known."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.crossed import sampled
from lens.analysis.interventions.pairs import Pairs
from lens.analysis.stats import LEVEL

WORLDS = 600  # of each kind: a coverage of 95% is measured to ± 2%
SPREADS = {  # of frames, of names, of single pairs
    "frames": (1, 0, 0.05),
    "names": (0, 1, 0.05),
    "both": (0.7, 0.7, 0.3),
    "pairs": (0, 0, 1),
    "all": (0.5, 0.5, 1),
}
DESIGNS = ((8, 8, 2), (8, 8, 4), (8, 8, 8), (12, 8, 4), (16, 16, 8))  # frames, names, pairs of each frame
WHAT = (
    f"{WORLDS} worlds for each of {len(SPREADS)} kinds of spread: prompts that differ by their frame, their name, by "
    f"both, each for itself, or all of it, evenly or skewed (exponential). Printed is the share of worlds whose "
    f"{LEVEL:.0%} interval holds the true mean, over all kinds and in the worst kind."
)


class PairCoverage(NamedTuple):
    """What share of the intervals of one design of prompts holds the mean."""

    n_frames: int
    n_names: int
    n_pairs: int
    skewed: bool
    held: float  # over all kinds of spread
    worst: float  # in the kind of spread where it is least


MEASURED = (
    PairCoverage(8, 8, 16, False, 0.9757, 0.9633),
    PairCoverage(8, 8, 16, True, 0.9723, 0.9683),
    PairCoverage(8, 8, 32, False, 0.9653, 0.9517),
    PairCoverage(8, 8, 32, True, 0.9597, 0.9583),
    PairCoverage(8, 8, 64, False, 0.951, 0.945),
    PairCoverage(8, 8, 64, True, 0.9527, 0.9417),
    PairCoverage(12, 8, 48, False, 0.9533, 0.935),
    PairCoverage(12, 8, 48, True, 0.957, 0.945),
    PairCoverage(16, 16, 128, False, 0.955, 0.9433),
    PairCoverage(16, 16, 128, True, 0.959, 0.9483),
)  # a test measures them again


def design(n_frames: int, n_names: int, rounds: int) -> Pairs:
    """``rounds`` pairs of every frame, each with another name; their tokens are of no account."""
    frames = tuple(frame for _ in range(rounds) for frame in range(n_frames))
    names = tuple((frame + k) % n_names for k in range(rounds) for frame in range(n_frames))
    return Pairs(((1, 2),) * len(frames), ((1, 3),) * len(frames), frames=frames, names=names)


def worlds(
    pairs: Pairs, count: int, spread: tuple[float, float, float], skewed: bool, seed: int = 0
) -> Float[Tensor, "world pair"]:
    """Values whose true mean is 0: a part of the frame, a part of the name, a part of the pair itself."""
    generator = torch.Generator().manual_seed(seed)

    def noise(size: int) -> Tensor:
        x = torch.empty(count, size, dtype=torch.float64)
        return x.exponential_(generator=generator) - 1 if skewed else x.normal_(generator=generator)

    parts = noise(1 + max(pairs.frames))[:, list(pairs.frames)], noise(1 + max(pairs.names))[:, list(pairs.names)]
    return sum(scale * part for scale, part in zip(spread, (*parts, noise(len(pairs)))))


def held(n_frames: int, n_names: int, rounds: int, skewed: bool, count: int = WORLDS) -> dict[str, list[bool]]:
    """By kind of spread, whether the interval of each world holds the mean, 0."""
    pairs, found = design(n_frames, n_names, rounds), {}
    for seed, (kind, spread) in enumerate(SPREADS.items()):
        low, high = sampled(worlds(pairs, count, spread, skewed, seed), pairs).interval()
        found[kind] = ((low <= 0) & (high >= 0)).tolist()
    return found


def coverage_of_pairs(n_frames: int, n_names: int, rounds: int, skewed: bool) -> PairCoverage:
    """One row of ``MEASURED``, measured again."""
    shares = [sum(kind) / len(kind) for kind in held(n_frames, n_names, rounds, skewed).values()]
    n_pairs = n_frames * rounds
    return PairCoverage(n_frames, n_names, n_pairs, skewed, sum(shares) / len(shares), min(shares))


def summary(rows: tuple[PairCoverage, ...]) -> str:
    """The range of what was measured, as a sentence."""
    least = min(rows, key=lambda row: row.worst)
    return (
        f"Over frames and names, {LEVEL:.0%} intervals hold the mean in {min(row.held for row in rows):.1%} to "
        f"{max(row.held for row in rows):.1%} of worlds; least, {least.worst:.1%}, with {least.n_pairs} pairs of "
        f"{least.n_frames} frames and {least.n_names} names and {'skewed' if least.skewed else 'even'} spread."
    )


def table() -> list[dict[str, object]]:
    """One row per design of prompts: how often the interval held, over all kinds of spread and in the worst one."""
    return [
        {
            "prompts": f"{one.n_pairs} pairs of {one.n_frames} frames and {one.n_names} names",
            "spread": "skewed" if one.skewed else "even",
            "held": one.held,
            "in the worst kind": one.worst,
        }
        for one in MEASURED
    ]
