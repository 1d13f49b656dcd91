"""Copying scores of all heads from the weights, with draws of their null."""

from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens.components import Norm
from lens.hooked import HookedTransformer


class Copying(NamedTuple):
    """Σλ / Σ|λ| over the eigenvalues of the full OV circuit: 1 copies, −1 suppresses, 0 neither."""

    score: Float[Tensor, "layer head"]
    null: Float[Tensor, "draw layer head"]


@lru_cache(maxsize=4)
def haar(n: int, rows: int, columns: int, seed: int) -> Float[Tensor, "n rows columns"]:
    """``n`` matrices with orthonormal columns, uniformly distributed (QR of Gaussian ones, signs of R undone)."""
    drawn = torch.randn(n, rows, columns, generator=torch.Generator().manual_seed(seed))
    Q, R = torch.linalg.qr(drawn)
    return Q * R.diagonal(dim1=-2, dim2=-1).sign()[:, None]


@torch.no_grad()
def copying(model: HookedTransformer, draws: int, seed: int) -> Copying:
    """Copying scores and ``draws`` of their null, in which a rotation stands between what is read and written.

    λ = eigvals(W_O M W_V), M = γ W_U (I − 11ᵀ/d_vocab) W_E: the vocabulary is never formed.
    Source: Elhage et al. 2021.
    """
    W_U = model.W_U - model.W_U.mean(1, keepdim=True)
    M = (_gain(model.ln_final, W_U) @ model.W_E).float()
    W_V = torch.stack([_gain(block.ln1, W) for block, W in zip(model.blocks, model.W_V, strict=True)])
    small = (model.W_O @ M @ W_V).float()
    rotations = haar(draws, model.cfg.d_head, model.cfg.d_head, seed).to(small.device)
    return Copying(_score(small), _score(small @ rotations[:, None, None]))


def _score(small: Float[Tensor, "*batch d_head d_head"]) -> Float[Tensor, "*batch"]:
    eigenvalues = torch.linalg.eigvals(small)
    return eigenvalues.sum(-1).real / eigenvalues.abs().sum(-1)


def _gain(norm: nn.Module, W: Tensor) -> Tensor:
    """What a reader ``W`` [..., d_model, d] makes of the stream, the gain of its norm included."""
    return norm.w[:, None] * W if isinstance(norm, Norm) else W
