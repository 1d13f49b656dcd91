"""Intervals over prompts made of frames x names: both are samples, and each is resampled on its own."""

from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.stats import DRAWS, LEVEL, MIN_SAMPLES, bootstrap_weights, percentiles


class Crossed(Protocol):
    """Prompts that say which frame and which name each was made from; empty where that is unknown."""

    frames: tuple[int, ...]
    names: tuple[int, ...]

    def __len__(self) -> int: ...


def crossed_weights(prompts: Crossed, seed: int = 0, draws: int = DRAWS) -> Float[Tensor, "draw prompt"]:
    """Share of each prompt in each resample (rows sum to 1).

    With frames and names, a prompt counts as often as its frame was drawn times as often as its name was drawn.
    Source: Owen 2007, "The pigeonhole bootstrap". Otherwise prompts are drawn independently.
    """
    if not (prompts.frames and prompts.names):
        return bootstrap_weights(len(prompts), draws, seed)
    total = torch.ones(draws, len(prompts), dtype=torch.float64)
    for shift, factor in enumerate((prompts.frames, prompts.names)):
        _, index = torch.tensor(factor).unique(return_inverse=True)
        total *= bootstrap_weights(int(index.max()) + 1, draws, seed + shift)[:, index]
    total = total[total.sum(1) > 0]  # a design with gaps can draw only cells that do not exist
    return total / total.sum(1, keepdim=True)


def interval_of(draws: Float[Tensor, "draw column"]) -> tuple[Float[Tensor, " column"], Float[Tensor, " column"]]:
    """Lower and upper end of the 95% percentile interval of resampled values."""
    ends = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = percentiles(draws, ends)
    return low, high


def unit_note(prompts: Crossed, n: int, seed: int = 0) -> str:
    """What was resampled, or why there is no interval."""
    if n < MIN_SAMPLES:
        return f"no interval: {n} {'pair' if n == 1 else 'pairs'}, at least {MIN_SAMPLES} are needed"
    if prompts.frames and prompts.names:
        what = f"{len(set(prompts.frames))} frames and {len(set(prompts.names))} names, resampled separately, {n} pairs"
    else:
        what = f"{n} pairs"
    return f"{LEVEL:.0%} percentile bootstrap over {what}, {DRAWS} resamples, seed {seed}"
