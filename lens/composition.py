"""How strongly the output of one matrix feeds the input of another: composition scores of all pairs."""

import torch
from jaxtyping import Float
from torch import Tensor

from lens.factored import FactoredMatrix

ROWS = 32  # of the Gram matrices held at once
DIRECT_BELOW = 1e-2  # the identity takes the root of a difference in float32: small scores lose digits there
PAIRS = 1024  # multiplied directly at once


def composition_scores(left: FactoredMatrix, right: FactoredMatrix) -> Float[Tensor, "*left_and_right_batch"]:
    """``‖left right‖ / (‖left‖ ‖right‖)`` (Frobenius) for every pair: 0 = nothing passes, 1 = all of it does.

    Two random matrices score about 1/√d, d the dimension in between. 0 where a factor is 0.
    Exact, by ‖PS‖² = ⟨PᵀP, SSᵀ⟩: products of Gram matrices, no decomposition of the pairs.
    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", composition.
    """
    if left.rdim != right.ldim:
        raise ValueError(f"composition_scores: {left} writes {left.rdim} dimensions, {right} reads {right.ldim}.")
    writes, reads = _unit(_few_rows(left)), _unit(_few_rows(right.T)).mT
    squares = writes.new_zeros(len(writes), len(reads))
    for start in range(0, left.rdim, ROWS):
        rows = slice(start, start + ROWS)
        gram_left = writes[:, :, rows].mT @ writes
        gram_right = reads[:, rows] @ reads.mT
        squares += gram_left.flatten(1) @ gram_right.flatten(1).T
    scores = squares.clamp(min=0).sqrt()
    for pairs in (scores < DIRECT_BELOW).nonzero().split(PAIRS):
        i, j = pairs.unbind(1)
        scores[i, j] = torch.linalg.matrix_norm(writes[i] @ reads[j])
    return scores.reshape((*left.shape[:-2], *right.shape[:-2]))


def _few_rows(matrix: FactoredMatrix) -> Float[Tensor, "n few rdim"]:
    """A matrix P of few rows with the same PᵀP: a rotation on the left changes no norm."""
    rows = torch.linalg.qr(matrix.A).R @ matrix.B
    return rows.reshape(-1, *rows.shape[-2:])


def _unit(x: Float[Tensor, "n a b"]) -> Float[Tensor, "n a b"]:
    norm = torch.linalg.matrix_norm(x, keepdim=True)
    return x / norm.masked_fill(norm == 0, 1)
