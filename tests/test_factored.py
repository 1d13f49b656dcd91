"""FactoredMatrix against the dense matrix it stands for."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from lens import FactoredMatrix

SHAPES = {  # batch, ldim, mdim, rdim
    "low rank": ((), 7, 3, 5),
    "batch": ((2, 3), 6, 2, 6),
    "wide inside": ((2,), 3, 8, 4),
    "square": ((), 5, 5, 5),
}


def close(got, want, atol=1e-5):
    torch.testing.assert_close(got, want, atol=atol, rtol=1e-5)


@pytest.fixture(params=SHAPES, ids=list(SHAPES))
def pair(request):
    batch, ldim, mdim, rdim = SHAPES[request.param]
    torch.manual_seed(3)
    return torch.randn(*batch, ldim, mdim), torch.randn(*batch, mdim, rdim)


@pytest.fixture
def factored(pair):
    return FactoredMatrix(*pair)


@pytest.fixture
def dense(pair):
    return pair[0] @ pair[1]


def test_product_shape_and_transpose(factored, dense, pair):
    close(factored.AB, dense)
    assert factored.shape == dense.shape
    assert factored.ndim == dense.ndim
    assert (factored.ldim, factored.mdim, factored.rdim) == (*pair[0].shape[-2:], pair[1].shape[-1])
    assert factored.has_leading_dims == (dense.ndim > 2)
    close(factored.T.AB, dense.mT)
    assert factored.pair[0] is factored.A
    assert "Hidden Dim" in repr(factored)


def test_singular_value_decomposition(factored, dense):
    u, s, v = factored.svd()
    k = min(factored.ldim, factored.mdim, factored.rdim)
    assert u.shape[-1] == s.shape[-1] == v.shape[-1] == k
    close(u @ torch.diag_embed(s) @ v.mT, dense)
    close(u.mT @ u, torch.eye(k).expand(*s.shape[:-1], k, k))
    close(v.mT @ v, torch.eye(k).expand(*s.shape[:-1], k, k))
    close(s, torch.linalg.svdvals(dense)[..., :k])
    close(factored.S, s)
    close(factored.U, u)
    close(factored.Vh, v)
    close(factored.norm(), torch.linalg.matrix_norm(dense))


def test_rotations_removed(factored, dense):
    close(factored.collapse_l().mT @ factored.collapse_l(), dense.mT @ dense, 1e-4)
    close(factored.collapse_r() @ factored.collapse_r().mT, dense @ dense.mT, 1e-4)
    even = factored.make_even()
    close(even.AB, dense)
    close(even.A.mT @ even.A, even.B @ even.B.mT)


def test_eigenvalues_and_trace(factored, dense):
    if factored.ldim != factored.rdim:
        with pytest.raises(ValueError, match="square"):
            _ = factored.eigenvalues
        with pytest.raises(ValueError, match="square"):
            factored.trace()
        return
    k = factored.mdim
    want = torch.linalg.eigvals(dense)
    by_size = want.gather(-1, want.abs().argsort(-1, descending=True))[..., :k]
    close(factored.eigenvalues.abs().sort(descending=True).values, by_size.abs())
    close(factored.eigenvalues.sum(-1).real, factored.trace())
    close(factored.trace(), dense.diagonal(dim1=-2, dim2=-1).sum(-1))
    close(factored.BA, factored.B @ factored.A)


def test_products_stay_factored(factored, dense):
    right, left = torch.randn(factored.rdim, 2), torch.randn(2, factored.ldim)
    close((factored @ right).AB, dense @ right)
    close((left @ factored).AB, left @ dense)
    assert (factored @ right).mdim == min(factored.mdim, factored.rdim)
    assert (left @ factored).mdim == min(factored.mdim, factored.ldim)
    other = FactoredMatrix(torch.randn(factored.rdim, 2), torch.randn(2, 9))
    product = factored @ other
    close(product.AB, dense @ other.AB)
    assert product.mdim == min(factored.mdim, factored.rdim, 2)
    vector = torch.randn(factored.rdim)
    close(factored @ vector, dense @ vector)
    vector = torch.randn(factored.ldim)
    close(vector @ factored, vector @ dense)


def test_products_broadcast_over_batches():
    few = FactoredMatrix(torch.randn(4, 1, 6, 2), torch.randn(4, 1, 2, 6))
    many = FactoredMatrix(torch.randn(3, 6, 2), torch.randn(3, 2, 6))
    close((few @ many).AB, few.AB @ many.AB)
    shared = FactoredMatrix(torch.randn(6, 2), torch.randn(3, 2, 6))
    assert shared.shape == (3, 6, 6)
    assert shared[1].A.shape == (6, 2)


def test_scalars(factored, dense):
    for times_two in (2 * factored, factored * 2, factored * torch.tensor([2.0]), torch.tensor(2.0) * factored):
        close(times_two.AB, 2 * dense)
    close((np.float32(2) * factored).AB, 2 * dense)
    close((factored / 4).AB, dense / 4)
    close((factored / torch.tensor(4.0)).AB, dense / 4)
    with pytest.raises(ValueError, match="@"):
        factored * torch.ones(2)


ROW_OF = [slice(1, 3), slice(None), [0, 2], torch.tensor([2, 0])]


@pytest.mark.parametrize("row", ROW_OF, ids=str)
@pytest.mark.parametrize("column", ROW_OF, ids=str)
def test_rows_and_columns(row, column):
    factored = FactoredMatrix(torch.randn(2, 4, 3), torch.randn(2, 3, 5))
    close(factored[1, row].AB, factored.AB[1][row])
    close(factored[:, row, column].AB, factored.AB[:, row][:, :, column])
    close(factored[..., column].AB, factored.AB[..., column])


def test_indices():
    factored = FactoredMatrix(torch.randn(2, 3, 4, 2), torch.randn(2, 3, 2, 5))
    dense = factored.AB
    close(factored[1].AB, dense[1])
    close(factored[1, 2].AB, dense[1, 2])
    close(factored[-1, :2].AB, dense[-1, :2])
    close(factored[[1, 0], [2, 1]].AB, dense[[1, 0], [2, 1]])
    close(factored[torch.tensor([[True, False, True], [False, True, False]])].AB, dense[[0, 0, 1], [0, 2, 1]])
    close(factored[0, 1, 2].AB, dense[0, 1, 2:3])
    close(factored[0, 1, -1, -2].AB, dense[0, 1, -1:, -2:-1])
    close(factored[:, None].AB, dense[:, None])
    close(factored[0, None, 1].AB, dense[0, None, 1])
    close(factored[..., 0].AB, dense[..., 0:1])
    close(factored.get_corner(2), dense[:2, :2, :2, :2])
    close(factored.unsqueeze(1).AB, dense.unsqueeze(1))
    close(factored.unsqueeze(-3).AB, dense.unsqueeze(-3))
    with pytest.raises(IndexError, match="5 indices"):
        factored[0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="rows and columns"):
        factored.unsqueeze(3)


def test_what_does_not_multiply_is_said():
    factored = FactoredMatrix(torch.randn(4, 2), torch.randn(2, 5))
    with pytest.raises(ValueError, match="do not multiply"):
        FactoredMatrix(torch.randn(4, 2), torch.randn(3, 5))
    for product in (lambda: factored @ torch.randn(4, 4), lambda: torch.randn(5, 5) @ factored):
        with pytest.raises(ValueError, match="inner sizes"):
            product()
    with pytest.raises(TypeError):
        factored @ 3


def test_half_precision_is_decomposed_in_single():
    factored = FactoredMatrix(torch.randn(4, 2).bfloat16(), torch.randn(2, 4).bfloat16())
    close(factored.S, torch.linalg.svdvals(factored.A.float() @ factored.B.float())[:2], 1e-4)
    assert factored.eigenvalues.dtype == torch.complex64


def test_gradients_reach_both_factors():
    a, b = torch.randn(4, 2, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    FactoredMatrix(a, b).norm().backward()
    dense = (a @ b).detach()
    close(a.grad, dense / dense.norm() @ b.detach().T)
    close(b.grad, a.detach().T @ (dense / dense.norm()))


class Largest(TorchDispatchMode):
    """The most entries of a tensor that was computed inside the block; views are none."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(x, torch.Tensor) and not func.is_view:
                self.entries = max(self.entries, x.numel())
        return out


def with_outer(left: bool = True, right: bool = True):
    """Six heads between an embedding and an unembedding of 23 tokens, and the dense matrices of the same."""
    torch.manual_seed(5)
    A, B, E, U = (torch.randn(*shape) for shape in ((2, 3, 8, 2), (2, 3, 2, 8), (23, 8), (8, 23)))
    full, dense = FactoredMatrix(A, B), A.double() @ B.double()
    full, dense = (E @ full, E.double() @ dense) if left else (full, dense)
    full, dense = (full @ U, dense @ U.double()) if right else (full, dense)
    return full, dense.float(), E, U


SIDES = pytest.mark.parametrize(("left", "right"), [(True, True), (True, False), (False, True)])


@SIDES
def test_a_matrix_that_all_heads_share_is_held_once(left, right):
    full, dense, E, U = with_outer(left, right)
    assert full.shape == dense.shape
    assert (full.ldim, full.mdim, full.rdim) == (dense.shape[-2], 2, dense.shape[-1])
    assert (full.left is E, full.right is U) == (left, right)
    close(full.AB, dense, 1e-4)
    assert full.A.shape == (2, 3, dense.shape[-2], 2)
    assert full.A is full.A
    close(full.T.AB, dense.mT, 1e-4)
    close((0.5 * full).AB, dense / 2, 1e-4)
    close(full.norm(), torch.linalg.matrix_norm(dense), 1e-4)
    u, s, v = full.svd()
    close(u * s[..., None, :] @ v.mT, dense, 1e-4)
    close(s, torch.linalg.svdvals(dense)[..., :2], 1e-4)
    close(u.mT @ u, torch.eye(2).expand(2, 3, 2, 2))
    close(full.make_even().AB, dense, 1e-4)
    if left and right:
        close(full.trace(), dense.diagonal(dim1=-2, dim2=-1).sum(-1), 1e-4)
        close(full.eigenvalues.sum(-1).real, full.trace(), 1e-4)
        by_size = torch.linalg.eigvals(dense).abs().sort(descending=True).values[..., :2]
        close(full.eigenvalues.abs().sort(descending=True).values, by_size, 1e-4)
        close(full.BA, full.B @ full.A, 1e-4)


@SIDES
def test_products_and_parts_with_shared_matrices(left, right):
    full, dense, _, _ = with_outer(left, right)
    before, after = torch.randn(7, full.ldim), torch.randn(full.rdim, 7)
    close((before @ full @ after).AB, before @ dense @ after, 1e-3)
    many = torch.randn(2, 3, full.rdim, 4)
    close((full @ many).AB, dense @ many, 1e-3)
    close((many.mT @ full.T).AB, many.mT @ dense.mT, 1e-3)
    close((full @ full.T).AB, dense @ dense.mT, 1e-2)
    narrow = torch.randn(full.rdim, 1)
    wide = torch.randn(1, 5)
    close((full @ narrow @ wide).AB, dense @ narrow @ wide, 1e-3)
    vector = torch.randn(full.rdim)
    close(full @ vector, dense @ vector, 1e-4)
    vector = torch.randn(full.ldim)
    close(vector @ full, vector @ dense, 1e-4)
    for index in ((1,), (1, 2), ([0, 1], [2, 2]), (0, None, 1), (slice(None), 1, slice(3, 6)), (..., [5, 1])):
        close(full[index].AB, dense[index], 1e-4)
    close(full[0, 1, 4, -2].AB, dense[0, 1, 4:5, -2:-1], 1e-4)
    close(full.get_corner(2), dense[:2, :2, :2, :2], 1e-4)
    close(full.unsqueeze(0).AB, dense[None], 1e-4)


def test_few_heads_take_the_shared_matrix_in():
    """One head's factor is smaller than what it was multiplied with, so nothing is gained by holding both."""
    full, dense, _, _ = with_outer()
    one = full[1, 2]
    assert (one.left, one.right) == (None, None)
    assert [x.shape for x in one.pair] == [(23, 2), (2, 23)]
    close(one.AB, dense[1, 2], 1e-4)


@pytest.mark.parametrize("of", ["eigenvalues", "S", "norm", "trace"])
def test_small_numbers_need_no_factor_of_all_heads(of):
    torch.manual_seed(5)
    heads = FactoredMatrix(torch.randn(6, 8, 2), torch.randn(6, 2, 8))
    E, U = torch.randn(500, 8), torch.randn(8, 500)
    with Largest() as largest:
        found = getattr(E @ heads @ U, of)
        found() if callable(found) else found
    assert 0 < largest.entries <= E.numel()


def test_a_norm_keeps_its_digits_where_the_factors_hardly_meet():
    """Writes along one direction, read along another that is almost at right angles to it."""
    directions = torch.linalg.qr(torch.randn(64, 2, dtype=torch.float64)).Q
    reads = directions[:, 1:] + 1e-3 * directions[:, :1]
    A, B = torch.randn(40, 1, dtype=torch.float64) * directions[:, 0], reads * torch.randn(1, 5, dtype=torch.float64)
    found = FactoredMatrix(A.float(), B.float()).norm()
    close(found, torch.linalg.matrix_norm(A.float().double() @ B.float().double()).float(), 1e-6)
