"""How well the instant approximation agrees with exact values."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.interventions.attribution import NOTE
from lens.analysis.interventions.results import Sweep
from lens.arrays import as_tensor


class Agreement(NamedTuple):
    """Attribution against exact values, effects averaged over pairs, in the metric's unit."""

    exact: Float[Tensor, " cell"]
    approximate: Float[Tensor, " cell"]
    correlation: float  # Pearson; NaN if one side is constant
    worst: tuple[int, ...]  # flat indices of the cells that disagree most, the worst first
    note: str

    @property
    def n(self) -> int:
        """Cells whose exact value is known."""
        return int(np.isfinite(np.asarray(self.exact)).sum())


def agreement(exact: Sweep, approximate: Sweep, n_worst: int = 5) -> Agreement:
    """How well the approximation does on the cells that both have."""
    both = [as_tensor(one.values) - as_tensor(one.base) for one in (exact, approximate)]
    if both[0].shape != both[1].shape:
        raise ValueError(f"agreement: sweeps of shapes {list(both[0].shape)} and {list(both[1].shape)}; use one grid.")
    a, b = (one.nanmean(-1).flatten() for one in both)
    there = ~(a.isnan() | b.isnan())
    r = float(torch.corrcoef(torch.stack([a[there], b[there]]))[0, 1]) if there.sum() > 1 else float("nan")
    order = (a - b).abs().nan_to_num(-1).argsort(descending=True)[: min(n_worst, int(there.sum()))]
    return Agreement(a, b, r, tuple(order.tolist()), f"{NOTE}; r = {r:.3f} over {int(there.sum())} cells")
