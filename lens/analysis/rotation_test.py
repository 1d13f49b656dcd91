"""Is a head's number more than a random rotation inside the head would give? Exact, without drawing one."""

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.verdicts import ALPHA, normal_reach

NULL = (
    "a random rotation between the head's values and its output (Haar), which keeps where it looks, what it reads and "
    "where it can write, and loses which of it belongs together: mean 0, variance exact"
)


def rotation_z(core: Float[Tensor, "*head d_head d_head"]) -> Float[Tensor, "*head"]:
    """The trace of each core over its standard deviation when a Haar rotation R stands before it; NaN for a zero core.

    ``core`` is such that the number in question is its trace and that of a rotated head tr(R core): then the mean is 0
    and the variance exactly ‖core‖²/d_head. Close to normal, with shorter tails, from a few dimensions on.
    """
    size = torch.linalg.matrix_norm(core) / core.shape[-1] ** 0.5
    return core.diagonal(dim1=-2, dim2=-1).sum(-1) / torch.where(size > 0, size, torch.nan)


def beyond_rotations(z: Float[Tensor, "*head"], family: int | None = None, level: float = ALPHA) -> Tensor:
    """1 where ``z`` lies above what the largest of ``family`` heads (all) reaches by chance, −1 below, else 0."""
    family = int(z.isfinite().sum()) if family is None else family
    reach = normal_reach(family, level)
    return (z > reach).int() - (z < -reach).int()
