"""How much one head copies by its weights, beside its null: what Home and the page of one head show."""

from typing import Any, NamedTuple

import numpy as np

from lens.analysis.copying_verdicts import LEAST_SCORE
from lens.analysis.ov_copying import DRAWS, circuit_of, copying_of, null_eigenvalues, ov_cores
from lens.figures.theme import number
from lens.ui.calls import analyse
from lens.ui.store import to_torch


class Copied(NamedTuple):
    """One head's full OV circuit; ``low`` to ``high`` is the central 95% of what random rotations of it score."""

    score: float  # Σλ / Σ|λ|, −1 … 1; NaN for a head that writes nothing
    rank: int  # 1 is the largest score of all heads
    n_heads: int
    low: float
    high: float
    eigenvalues: np.ndarray
    draws: np.ndarray  # eigenvalues [draw, d_head] under the rotations
    seed: int

    @property
    def verdict(self) -> str:
        """Where the score lies: above, below or within its null."""
        return "above" if self.score > self.high else "below" if self.score < self.low else "within"

    @property
    def sign(self) -> int:
        """1 it copies, −1 it writes the opposite: outside its null, and by enough; 0 neither is shown.

        For this one head, which was asked for: by chance at most one in twenty.
        """
        if abs(self.score) < LEAST_SCORE:
            return 0
        return {"above": 1, "below": -1, "within": 0}[self.verdict]

    @property
    def copies(self) -> bool:
        """Whether its eigenvalues say that it copies."""
        return self.sign > 0

    @property
    def chance(self) -> str:
        """The null in words."""
        return f"{number(self.low)} to {number(self.high)}"

    @property
    def told(self) -> str:
        """The score with its rank and its null."""
        return (
            f"Copying score {number(self.score)}, rank {self.rank} of {self.n_heads}, {self.verdict} what {DRAWS} "
            f"random rotations give ({self.chance}, seed {self.seed})."
        )


def copied(model: Any, head: tuple[int, int], seed: int) -> Copied | None:
    """The copying score of one head from weights alone; None for a head that writes nothing: its score is 0 / 0."""
    cores = analyse(ov_cores, model, progress=True)
    full = analyse(copying_of, to_torch(cores)).full
    score = float(full.score[head])
    if not np.isfinite(score):
        return None
    draws = analyse(null_eigenvalues, to_torch(cores.full[head]), DRAWS, seed)
    rotated = analyse(circuit_of, to_torch(draws)).score
    low, high = (float(end) for end in np.quantile(rotated, [0.025, 0.975]))
    rank = 1 + int((full.score > score).sum())
    return Copied(score, rank, full.score.size, low, high, full.eigenvalues[head], draws, seed)
