"""Entries of a product of two thin factors that is too large to form: diagonals, rows, ranks, the largest entries.

For matrices such as the full OV and QK circuits, [d_vocab, d_vocab]: 10 GB for GPT-2, of which a page needs forty
numbers. Rows, columns and single entries are ``matrix[row]``, ``matrix[:, column]``; the rest is here.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lens.batching import at_once
from lens.factored import FactoredMatrix
from lens.progress import Progress, silent

ENTRIES = 25_000_000  # of the product held at once: 100 MB


class Entries(NamedTuple):
    """Some entries, the largest first."""

    row: Int[Tensor, " entry"]
    column: Int[Tensor, " entry"]
    value: Float[Tensor, " entry"]


class Ends(NamedTuple):
    """The largest and the smallest of many numbers, each from its extreme on."""

    high: Int[Tensor, "*row k"]
    high_value: Float[Tensor, "*row k"]
    low: Int[Tensor, "*row k"]
    low_value: Float[Tensor, "*row k"]


def ends(values: Float[Tensor, "*row n"], k: int) -> Ends:
    """Places and values of the ``k`` largest and the ``k`` smallest along the last axis (all, if there are fewer)."""
    k = min(k, values.shape[-1])
    high, low = values.topk(k), values.topk(k, largest=False)
    return Ends(high.indices, high.values, low.indices, low.values)


def diagonal(matrix: FactoredMatrix) -> Float[Tensor, " n"]:
    """The entries (i, i); their sum is the sum of the eigenvalues. ValueError unless square."""
    if matrix.ldim != matrix.rdim:
        raise ValueError(f"A diagonal needs a square product; this one is {matrix.ldim} x {matrix.rdim}.")
    return torch.einsum("nk,kn->n", matrix.A, matrix.B)


def midrank(values: Float[Tensor, "*row n"], own: Float[Tensor, "*row 1"]) -> Float[Tensor, "*row"]:
    """How many of ``values`` are larger than ``own``, one of them, and half of the others equal to it; 0: the largest.

    Equal values share their mean place, so that a row of equal values gives (n − 1)/2, what chance gives.
    """
    larger, equal = (values > own).sum(-1), (values == own).sum(-1)
    return larger + (equal - 1).clamp(min=0) / 2


def own_ranks(matrix: FactoredMatrix, rows: Int[Tensor, " row"], progress: Progress = silent) -> Float[Tensor, " row"]:
    """The :func:`midrank` of the entry on the diagonal in each of these rows; 0: it is the largest."""
    return ranks(matrix, rows, rows, progress)


def ranks(
    matrix: FactoredMatrix, rows: Int[Tensor, " row"], columns: Int[Tensor, " row"], progress: Progress = silent
) -> Float[Tensor, " row"]:
    """The :func:`midrank` of the entry in ``columns[i]`` among those of ``rows[i]``; 0: it is the largest."""
    found, step = torch.empty(len(rows), device=rows.device), at_once(ENTRIES // matrix.rdim)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        values = matrix.A[rows[part]] @ matrix.B
        found[part] = midrank(values, values.gather(1, columns[part, None]))
        progress(min(1.0, (start + step) / len(rows)), f"rows {min(start + step, len(rows)):,} of {len(rows):,}")
    return found


def top_entries(matrix: FactoredMatrix, k: int, progress: Progress = silent) -> Entries:
    """The ``k`` largest entries of the whole product, in chunks of rows with a running threshold.

    Rows come with the longest first: no entry of a row exceeds its length times that of the longest column (Cauchy and
    Schwarz), so the search ends as soon as no later row can hold one of the ``k``.
    """
    k = min(k, matrix.ldim * matrix.rdim)
    lengths = matrix.A.norm(dim=1)
    order, longest = lengths.argsort(descending=True), matrix.B.norm(dim=0).max()
    best, step = Entries(order[:0], order[:0], matrix.A.new_empty(0)), at_once(ENTRIES // matrix.rdim)
    for start in range(0, matrix.ldim, step):
        rows = order[start : start + step]
        full = len(best.value) == k
        if full and lengths[rows[0]] * longest <= best.value[-1]:
            break
        values = matrix.A[rows] @ matrix.B
        best = _merged(best, rows, values, k)
        progress(min(1.0, (start + step) / matrix.ldim), f"rows {min(start + step, matrix.ldim):,} of {matrix.ldim:,}")
    return best


def _merged(best: Entries, rows: Tensor, values: Float[Tensor, "row column"], k: int) -> Entries:
    """The ``k`` largest of what was found and a new chunk. Only entries that can be among them are sorted."""
    per_row = values.amax(1)
    floor = per_row.topk(k).values[-1] if len(per_row) >= k else values.new_tensor(-torch.inf)  # k entries reach it
    if len(best.value) == k:
        floor = torch.maximum(floor, best.value[-1])
    able = (per_row >= floor).nonzero()[:, 0]  # after the first chunks, few rows
    places = (values[able] >= floor).nonzero()
    places[:, 0] = able[places[:, 0]]
    found = Entries(
        torch.cat([best.row, rows[places[:, 0]]]),
        torch.cat([best.column, places[:, 1]]),
        torch.cat([best.value, values[places[:, 0], places[:, 1]]]),
    )
    keep = found.value.topk(min(k, len(found.value))).indices
    return Entries(*(one[keep] for one in found))
