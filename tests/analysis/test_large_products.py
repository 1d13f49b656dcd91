"""Diagonals, ranks and largest entries by chunks, against the product formed in full."""

import pytest
import torch

from lens import FactoredMatrix
from lens.analysis import large_products
from lens.analysis.large_products import diagonal, ends, midrank, own_ranks, ranks, top_entries


@pytest.fixture(params=[1, 7, 10_000], ids=["a row at once", "seven entries", "all"])
def chunks(request, monkeypatch):
    monkeypatch.setattr(large_products, "ENTRIES", request.param * 23)


@pytest.fixture
def matrix():
    torch.manual_seed(1)
    return FactoredMatrix(torch.randn(23, 4) * torch.rand(23, 1) * 3, torch.randn(4, 23))


def test_the_diagonal_sums_to_the_eigenvalues(matrix):
    torch.testing.assert_close(diagonal(matrix), matrix.AB.diagonal())
    torch.testing.assert_close(diagonal(matrix).sum(), matrix.eigenvalues.real.sum())
    with pytest.raises(ValueError, match="square"):
        diagonal(matrix[:5])


@pytest.mark.parametrize("k", [1, 5, 60, 10_000])
def test_the_largest_entries(matrix, chunks, k):
    found, dense = top_entries(matrix, k), matrix.AB.flatten()
    n = min(k, dense.numel())
    torch.testing.assert_close(found.value, dense.topk(n).values)
    torch.testing.assert_close(matrix.AB[found.row, found.column], found.value)
    assert len(set(zip(found.row.tolist(), found.column.tolist(), strict=True))) == n


def test_the_search_ends_when_no_row_can_be_better(chunks):
    """Rows after the first are too short; what is read of them would raise."""
    A = torch.zeros(200, 2)
    A[5] = torch.tensor([100.0, 0])
    seen = []
    found = top_entries(FactoredMatrix(A, torch.randn(2, 23)), 3, lambda fraction, stage: seen.append(fraction))
    assert set(found.row.tolist()) == {5}
    assert len(seen) == 1


def test_ranks_within_rows(matrix, chunks):
    dense, rows = matrix.AB, torch.tensor([3, 0, 22, 3])
    columns = torch.tensor([1, 1, 5, 20])
    want = torch.tensor([(dense[r] > dense[r, c]).sum() for r, c in zip(rows, columns, strict=True)])
    assert torch.equal(ranks(matrix, rows, columns), want.float())
    own = torch.tensor([(dense[r] > dense[r, r]).sum() for r in rows])
    assert torch.equal(own_ranks(matrix, rows), own.float())


def test_equal_entries_share_their_mean_place():
    values = torch.tensor([[5.0, 3, 3, 1], [2, 2, 2, 2]])
    assert midrank(values, values[:, 1:2]).tolist() == [1.5, 1.5]
    assert midrank(values, values[:, :1]).tolist() == [0, 1.5]
    nothing = FactoredMatrix(torch.zeros(64, 2), torch.randn(2, 64))  # a head without output: no token is raised
    assert (own_ranks(nothing, torch.arange(5)) == 63 / 2).all()


def test_both_ends_of_a_row():
    found = ends(torch.tensor([3.0, -1, 7, 0]), 2)
    assert (found.high.tolist(), found.low.tolist()) == ([2, 0], [1, 3])
    assert (found.high_value.tolist(), found.low_value.tolist()) == ([7, 3], [-1, 0])
    assert len(ends(torch.zeros(3), 10).high) == 3
