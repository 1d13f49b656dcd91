"""How strongly the output of one matrix feeds the input of another: composition scores of all pairs."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lens.batching import at_once
from lens.factored import FactoredMatrix

BYTES = 16_000_000  # of the Gram rows of one side held at once
DIRECT_BELOW = 1e-2  # the identity takes the root of a difference in float32: small scores lose digits there
PAIRS = 256  # multiplied directly at once


def composition_scores(left: FactoredMatrix, right: FactoredMatrix) -> Float[Tensor, "*left_and_right_batch"]:
    """``‖left right‖ / (‖left‖ ‖right‖)`` (Frobenius) for every pair: 0 = nothing passes, 1 = all of it does.

    Two random matrices score about 1/√d, d the dimension in between. 0 where a factor is 0.
    Exact, by ‖PS‖² = ⟨PᵀP, SSᵀ⟩: products of Gram matrices, no decomposition of the pairs.
    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", composition.
    """
    if left.rdim != right.ldim:
        raise ValueError(f"composition_scores: {left} writes {left.rdim} dimensions, {right} reads {right.ldim}.")
    writes, reads = (unit(few_rows(side)).flatten(0, -3) for side in (left[None], right.T[None]))
    return scores_of_rows(writes, reads).reshape((*left.shape[:-2], *right.shape[:-2]))


def few_rows(matrix: FactoredMatrix) -> Float[Tensor, "*batch few rdim"]:
    """A matrix P of few rows with the same PᵀP, float32 or finer: a rotation on the left changes no norm."""
    A, B = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in matrix.pair)
    if matrix.ldim <= matrix.mdim:
        return A @ B
    exact = A.double()
    root, failed = torch.linalg.cholesky_ex(exact.mT @ exact, upper=True)  # in float64 as exact as QR, and far faster
    root = root.to(A.dtype)
    if failed.any():  # columns that depend on each other have no Cholesky root
        root[failed > 0] = torch.linalg.qr(A[failed > 0]).R
    return root @ B


def unit(x: Float[Tensor, "*batch a b"]) -> Float[Tensor, "*batch a b"]:
    """Each matrix over its Frobenius norm; a zero matrix stays zero."""
    norm = torch.linalg.matrix_norm(x, keepdim=True)
    return x / norm.masked_fill(norm == 0, 1)


def scores_of_rows(
    writes: Float[Tensor, "sender few d"],
    reads: Float[Tensor, "receiver few d"],
    wanted: Bool[Tensor, "sender receiver"] | None = None,
    step: Callable[[float], None] = lambda fraction: None,
) -> Float[Tensor, "sender receiver"]:
    """``‖writes readsᵀ‖`` of every pair of ``unit`` matrices given by their ``few_rows``.

    Pairs that are not ``wanted`` may lack digits where they are small. ``step`` hears how far it is and may raise.
    """
    squares, d = writes.new_zeros(len(writes), len(reads)), writes.shape[-1]
    n_rows = at_once(BYTES // (writes.element_size() * d * max(len(writes), len(reads))))
    for start in range(0, d, n_rows):
        squares += _gram_rows(writes, start, n_rows) @ _gram_rows(reads, start, n_rows, mirrored=True).T
        step(1 - (1 - min(1.0, (start + n_rows) / d)) ** 2)  # later rows of the triangle are shorter
    scores = squares.clamp(min=0).sqrt()
    small = scores < DIRECT_BELOW if wanted is None else (scores < DIRECT_BELOW) & wanted
    for pairs in small.nonzero().split(PAIRS):
        i, j = pairs.unbind(1)
        scores[i, j] = torch.linalg.matrix_norm(writes[i] @ reads[j].mT)
    return scores


def _gram_rows(
    rows: Float[Tensor, "n few d"], start: int, n_rows: int, mirrored: bool = False
) -> Float[Tensor, "n entry"]:
    """Rows of PᵀP right of its diagonal block; ``mirrored``: entries beyond the block count for their mirror image."""
    gram = rows[:, :, start : start + n_rows].mT @ rows[:, :, start:]
    if mirrored:
        gram[:, :, n_rows:] *= 2
    return gram.flatten(1)
