"""Distances |q − k| in bins that double: 0, 1, 2, 3–4, 5–8, …, so that a text of any length has few of them."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor


class DistanceBin(NamedTuple):
    """Distances from ``nearest`` to ``farthest``, both counted."""

    nearest: int
    farthest: int

    def __str__(self) -> str:
        return str(self.nearest) if self.nearest == self.farthest else f"{self.nearest}–{self.farthest}"


def distance_bins(n_pos: int) -> tuple[DistanceBin, ...]:
    """The bins of a text of ``n_pos`` tokens, the nearest first. The last one is cut where no key is farther."""
    bins, start = [DistanceBin(0, 0)], 1
    while start < n_pos:
        end = start if start < 2 else 2 * (start - 1)
        bins.append(DistanceBin(start, min(end, n_pos - 1)))
        start = end + 1
    return tuple(bins)


def bin_of(distance: Int[Tensor, "*rest"]) -> Int[Tensor, "*rest"]:
    """The place of each distance among the bins."""
    exact = torch.arange(int(distance.max()) + 1)
    places = torch.empty_like(exact)
    for place, one in enumerate(distance_bins(len(exact))):
        places[one.nearest : one.farthest + 1] = place
    return places.to(distance.device)[distance]


def bin_entries(n_pos: int, device: torch.device | str = "cpu") -> Float[Tensor, "query key bin"]:
    """1 where a key other than the first lies in a bin: attention times this, summed, is the share of each bin."""
    distance = torch.arange(n_pos)[:, None] - torch.arange(n_pos)
    entries = torch.zeros(n_pos, n_pos, len(distance_bins(n_pos)))
    entries.scatter_(2, bin_of(distance.clamp(min=0))[..., None], 1.0)
    entries[distance < 0] = 0
    entries[:, 0] = 0
    return entries.to(device)
