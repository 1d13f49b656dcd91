"""A matrix of low rank, kept as the product of its factors."""

from functools import cached_property
from math import prod
from typing import Self

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Svd = tuple[Tensor, Tensor, Tensor]
GRAM_ROWS = 4096  # of an outer factor that are held in float64 at once


class FactoredMatrix:
    """``A @ B`` [*batch, ldim, rdim] of rank mdim or less: A [*batch, ldim, mdim], B [*batch, mdim, rdim].

    Products with matrices stay factored, at the smallest inner dimension that they offer. A matrix that all of the
    batch shares, such as the embedding to the left of every head, is held once, apart: ``left`` in A and ``right`` in
    B, each None where there is none. It is multiplied out only for those who ask for ``A``, ``B``, ``AB`` or vectors;
    eigenvalues, singular values, norm and trace are taken of small matrices.
    """

    __array_ufunc__ = None  # numpy's numbers leave ``number * factored`` to __rmul__

    def __init__(
        self,
        A: Float[Tensor, "*batch left mdim"],
        B: Float[Tensor, "*batch mdim right"],
        left: Float[Tensor, "ldim left"] | None = None,
        right: Float[Tensor, "right rdim"] | None = None,
    ):
        if A.ndim < 2 or B.ndim < 2 or A.shape[-1] != B.shape[-2]:
            raise ValueError(
                f"FactoredMatrix: A {list(A.shape)} and B {list(B.shape)} do not multiply; "
                "wanted [..., ldim, mdim] and [..., mdim, rdim]."
            )
        batch = torch.broadcast_shapes(A.shape[:-2], B.shape[:-2])
        n_columns = prod(batch) * A.shape[-1]
        if left is not None and n_columns < left.shape[1]:  # then the product is smaller, and so is all work on it
            A, left = left @ A, None
        if right is not None and n_columns < right.shape[0]:
            B, right = B @ right, None
        self.left, self.right = left, right
        self.core = (A.expand(*batch, *A.shape[-2:]), B.expand(*batch, *B.shape[-2:]))
        self.ldim = A.shape[-2] if left is None else left.shape[0]
        self.mdim = A.shape[-1]
        self.rdim = B.shape[-1] if right is None else right.shape[1]
        self.shape = torch.Size((*batch, self.ldim, self.rdim))
        self.has_leading_dims = len(batch) > 0

    @cached_property
    def A(self) -> Float[Tensor, "*batch ldim mdim"]:
        """The left factor; an outer matrix is multiplied in when it is first asked for."""
        return self.core[0] if self.left is None else self.left @ self.core[0]

    @cached_property
    def B(self) -> Float[Tensor, "*batch mdim rdim"]:
        """The right factor; an outer matrix is multiplied in when it is first asked for."""
        return self.core[1] if self.right is None else self.core[1] @ self.right

    @property
    def ndim(self) -> int:
        """Number of axes of the product."""
        return len(self.shape)

    @property
    def pair(self) -> tuple[Tensor, Tensor]:
        """Both factors."""
        return self.A, self.B

    @property
    def AB(self) -> Float[Tensor, "*batch ldim rdim"]:
        """The product itself, dense."""
        return self.A @ self.B

    @property
    def BA(self) -> Float[Tensor, "*batch mdim mdim"]:
        """The product the other way round: small, with the same non-zero eigenvalues. ValueError unless square."""
        return self._read_by_B("BA") @ self.core[0]

    def _read_by_B(self, who: str) -> Float[Tensor, "*batch mdim left"]:
        """B and what stands left of A: BA without the core's A. Outer matrices meet each other, once for all heads."""
        if self.ldim != self.rdim:
            raise ValueError(f"{who} needs a square product; this one is {self.ldim} x {self.rdim}.")
        outer = [x for x in (self.right, self.left) if x is not None]
        return self.core[1] if not outer else self.core[1] @ (outer[0] if len(outer) == 1 else outer[0] @ outer[1])

    @property
    def T(self) -> Self:
        """The transpose of the last two axes."""
        A, B = self.core
        return type(self)(B.mT, A.mT, _transposed(self.right), _transposed(self.left))

    def __matmul__(self, other: "Tensor | FactoredMatrix") -> "Tensor | FactoredMatrix":
        """``self @ other``: factored, or a vector [*batch, ldim] if ``other`` is a vector [rdim]."""
        if isinstance(other, FactoredMatrix):
            return (self @ other.A) @ other.B
        if not isinstance(other, Tensor):
            return NotImplemented
        if self.rdim != other.shape[-2 if other.ndim > 1 else -1]:
            raise _do_not_meet(self.shape, other.shape, self.rdim, other.shape[-2 if other.ndim > 1 else -1])
        if other.ndim == 1:
            return self._on_vector(other)
        A, B = self.core
        if self.mdim > self.rdim:
            return FactoredMatrix(A @ self.B, other, self.left)
        if other.ndim > 2:
            return FactoredMatrix(A, self.B @ other, self.left)
        return FactoredMatrix(A, B, self.left, other if self.right is None else self.right @ other)

    def __rmatmul__(self, other: "Tensor | FactoredMatrix") -> "Tensor | FactoredMatrix":
        """``other @ self``: factored, or a vector [*batch, rdim] if ``other`` is a vector [ldim]."""
        if not isinstance(other, Tensor):
            return NotImplemented
        if other.shape[-1] != self.ldim:
            raise _do_not_meet(self.shape, other.shape, other.shape[-1], self.ldim)
        if other.ndim == 1:
            return self.T._on_vector(other)
        A, B = self.core
        if self.mdim > self.ldim:
            return FactoredMatrix(other, self.A @ B, None, self.right)
        if other.ndim > 2:
            return FactoredMatrix(other @ self.A, B, None, self.right)
        return FactoredMatrix(A, B, other if self.left is None else other @ self.left, self.right)

    def _on_vector(self, vector: Float[Tensor, " rdim"]) -> Float[Tensor, "*batch ldim"]:
        A, B = self.core
        x = A @ (B @ (vector if self.right is None else self.right @ vector)[:, None])
        return (x if self.left is None else self.left @ x)[..., 0]

    def __mul__(self, scalar: float | Tensor) -> "FactoredMatrix":
        """Every entry times one number."""
        if isinstance(scalar, Tensor) and scalar.numel() != 1:
            raise ValueError(f"* takes a single number, not a tensor {list(scalar.shape)}; a matrix product is @.")
        A, B = self.core
        return FactoredMatrix(
            A * (scalar.reshape(()) if isinstance(scalar, Tensor) else scalar), B, self.left, self.right
        )

    __rmul__ = __mul__

    def __truediv__(self, scalar: float | Tensor) -> "FactoredMatrix":
        """Every entry divided by one number."""
        return self * (1 / scalar)

    def __getitem__(self, index) -> "FactoredMatrix":
        """Entries of the batch axes, then rows, then columns. A row or column number keeps its axis, at length 1."""
        index = index if isinstance(index, tuple) else (index,)
        taken = [0 if part is None or part is ... else _axes(part) for part in index]
        free = self.ndim - sum(taken)
        if free < 0:
            raise IndexError(f"{len(index)} indices for a FactoredMatrix with {self.ndim} axes, {list(self.shape)}.")
        if ... not in [part for part in index if not isinstance(part, Tensor)]:
            index = (*index, ...)
        batch, last = [], []
        n_seen = 0
        for part in index:
            parts = [slice(None)] * free if part is ... else [part]
            for one in parts:
                (batch if n_seen < self.ndim - 2 or one is None else last).append(one)
                n_seen += 0 if one is None else _axes(one)
        rows, columns = (_kept(part) for part in last)
        A, B = (x[tuple(batch)] for x in self.core)
        left, right = self.left, self.right
        A, left = (A[..., rows, :], None) if left is None else (A, left[rows])
        B, right = (B[..., :, columns], None) if right is None else (B, right[:, columns])
        return FactoredMatrix(A, B, left, right)

    def _rotations(self) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """``AB`` as matrices of orthonormal columns, a small matrix, and orthonormal columns, to be transposed."""
        A, B = self.core
        left, r_left = _orthogonal(self.left, A)
        right, r_right = _orthogonal(_transposed(self.right), B.mT)
        return left, r_left @ r_right.mT, right

    def svd(self) -> Svd:
        """``U [*batch, ldim, k]``, ``S [*batch, k]`` from large to small, ``Vh [*batch, rdim, k]``; k the least.

        As in the classic library, ``Vh`` has its vectors in columns: ``AB = U @ S.diag() @ Vh.T``. Only the small
        matrix between two QR factors is decomposed.
        """
        left, small, right = self._rotations()
        u, s, vh = torch.linalg.svd(small, full_matrices=False)
        return _turned(left, u), s, _turned(right, vh.mT)

    @property
    def U(self) -> Float[Tensor, "*batch ldim k"]:
        """Left singular vectors, in columns."""
        return self.svd()[0]

    @property
    def S(self) -> Float[Tensor, "*batch k"]:
        """Singular values, from large to small."""
        return torch.linalg.svdvals(self._rotations()[1])

    @property
    def Vh(self) -> Float[Tensor, "*batch rdim k"]:
        """Right singular vectors, in columns."""
        return self.svd()[2]

    @property
    def eigenvalues(self) -> Complex[Tensor, "*batch mdim"]:
        """Eigenvalues of the square product, from its small ``BA``; the other ldim − mdim are 0."""
        small = self.BA
        return torch.linalg.eigvals(small.float() if small.dtype in (torch.float16, torch.bfloat16) else small)

    def norm(self) -> Float[Tensor, "*batch"]:
        """Frobenius norm, the root of the sum of all squared entries: ‖AB‖² = ⟨AᵀA, BBᵀ⟩, in float64."""
        A, B = self.core
        square = (_gram(self.left, A) * _gram(_transposed(self.right), B.mT)).sum((-2, -1))
        return square.clamp(min=0).sqrt().to(_at_least_single(A).dtype)

    def trace(self) -> Float[Tensor, "*batch"]:
        """Sum of the diagonal, which is the sum of the eigenvalues. ValueError unless square."""
        return (self.core[0] * self._read_by_B("A trace").mT).sum((-2, -1))

    def make_even(self) -> "FactoredMatrix":
        """The same product with orthogonal factors that share the singular values evenly: (U √S) @ (√S Vᵀ)."""
        u, s, v = self.svd()
        root = s.sqrt()
        return FactoredMatrix(u * root[..., None, :], root[..., :, None] * v.mT)

    def collapse_l(self) -> Float[Tensor, "*batch k rdim"]:
        """The product without its left rotation, S Vᵀ: what remains when only lengths on the left matter."""
        _, s, v = self.svd()
        return s[..., :, None] * v.mT

    def collapse_r(self) -> Float[Tensor, "*batch ldim k"]:
        """The product without its right rotation, U S."""
        u, s, _ = self.svd()
        return u * s[..., None, :]

    def get_corner(self, k: int = 3) -> Tensor:
        """The first ``k`` entries along every axis, dense."""
        return self[tuple(slice(k) for _ in range(self.ndim))].AB

    def unsqueeze(self, k: int) -> "FactoredMatrix":
        """The same with a new batch axis at place ``k``."""
        place = k + self.ndim + 1 if k < 0 else k
        if not 0 <= place <= self.ndim - 2:
            raise ValueError(f"unsqueeze({k}): a new axis goes before rows and columns, 0 … {self.ndim - 2}.")
        return FactoredMatrix(*(x.unsqueeze(place) for x in self.core), self.left, self.right)

    def __repr__(self) -> str:
        return f"FactoredMatrix: Shape({self.shape}), Hidden Dim({self.mdim})"


def _axes(part) -> int:
    """How many axes an index uses up: a boolean mask as many as it has."""
    return part.ndim if isinstance(part, Tensor) and part.dtype == torch.bool else 1


def _kept(part):
    """A row or column number as a range of length one, so that the product keeps two axes."""
    return slice(part, part + 1 or None) if isinstance(part, int) else part


def _do_not_meet(shape: torch.Size, other: torch.Size, left: int, right: int) -> ValueError:
    return ValueError(
        f"A FactoredMatrix {list(shape)} and a tensor {list(other)} do not multiply: inner sizes {left} and {right}."
    )


def _transposed(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.mT


def _at_least_single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _orthogonal(outer: Float[Tensor, "long short"] | None, inner: Tensor) -> tuple[list[Tensor], Tensor]:
    """``outer @ inner`` as matrices of orthonormal columns, one decomposition of ``outer`` for all, and the rest."""
    if outer is None:
        q, r = torch.linalg.qr(_at_least_single(inner))
        return [q], r
    whole, r = torch.linalg.qr(_at_least_single(outer))
    q, r = torch.linalg.qr(r @ _at_least_single(inner))
    return [whole, q], r


def _turned(rotations: list[Tensor], x: Tensor) -> Tensor:
    for rotation in reversed(rotations):
        x = rotation @ x
    return x


def _gram(outer: Float[Tensor, "long short"] | None, inner: Float[Tensor, "*batch short k"]) -> Tensor:
    """``PᵀP`` of ``P = outer @ inner`` in float64: there as exact as an orthogonal decomposition, and far faster."""
    exact = inner.double()
    if outer is None:
        return exact.mT @ exact
    parts = (part.double() for part in outer.split(GRAM_ROWS))
    return exact.mT @ (sum(part.mT @ part for part in parts) @ exact)
