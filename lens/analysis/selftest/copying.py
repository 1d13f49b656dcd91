"""Copying scores of all heads from the weights, with draws of their null, as one function that can be tested."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.ov_copying import circuit_of, null_scores_of, ov_cores
from lens.hooked import HookedTransformer


class Copying(NamedTuple):
    """Σλ / Σ|λ| over the eigenvalues of the full OV circuit: 1 copies, −1 suppresses, 0 neither."""

    score: Float[Tensor, "layer head"]
    null: Float[Tensor, "draw layer head"]


def copying(model: HookedTransformer, draws: int, seed: int) -> Copying:
    """Copying scores and ``draws`` of their null, in which a rotation stands between what is read and written."""
    core = ov_cores(model).full
    return Copying(circuit_of(torch.linalg.eigvals(core)).score, null_scores_of((0, draws), core, seed))
