"""A matrix of low rank, kept as the product of its two factors."""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

Svd = tuple[Tensor, Tensor, Tensor]


class FactoredMatrix:
    """``A @ B`` [*batch, ldim, rdim], held as A [*batch, ldim, mdim] and B [*batch, mdim, rdim].

    Products with matrices stay factored, at the smallest inner dimension that they offer. Nothing is remembered:
    each property is computed when it is asked for, without ever forming ``A @ B`` (only ``AB`` does).
    """

    __array_ufunc__ = None  # numpy's numbers leave ``number * factored`` to __rmul__

    def __init__(self, A: Float[Tensor, "*batch ldim mdim"], B: Float[Tensor, "*batch mdim rdim"]):
        if A.ndim < 2 or B.ndim < 2 or A.shape[-1] != B.shape[-2]:
            raise ValueError(
                f"FactoredMatrix: A {list(A.shape)} and B {list(B.shape)} do not multiply; "
                "wanted [..., ldim, mdim] and [..., mdim, rdim]."
            )
        batch = torch.broadcast_shapes(A.shape[:-2], B.shape[:-2])
        self.A, self.B = A.expand(*batch, *A.shape[-2:]), B.expand(*batch, *B.shape[-2:])
        self.ldim, self.mdim, self.rdim = A.shape[-2], A.shape[-1], B.shape[-1]
        self.shape = torch.Size((*batch, self.ldim, self.rdim))
        self.has_leading_dims = len(batch) > 0

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
        if self.ldim != self.rdim:
            raise ValueError(f"BA needs a square product; this one is {self.ldim} x {self.rdim}.")
        return self.B @ self.A

    @property
    def T(self) -> "FactoredMatrix":
        """The transpose of the last two axes."""
        return FactoredMatrix(self.B.mT, self.A.mT)

    def __matmul__(self, other: "Tensor | FactoredMatrix") -> "Tensor | FactoredMatrix":
        """``self @ other``: factored, or a vector [*batch, ldim] if ``other`` is a vector [rdim]."""
        if isinstance(other, FactoredMatrix):
            return (self @ other.A) @ other.B
        if not isinstance(other, Tensor):
            return NotImplemented
        self._meet(self.rdim, other.shape[-2 if other.ndim > 1 else -1], other)
        if other.ndim == 1:
            return self._on_vector(other)
        if self.mdim <= self.rdim:
            return FactoredMatrix(self.A, self.B @ other)
        return FactoredMatrix(self.AB, other)

    def __rmatmul__(self, other: "Tensor | FactoredMatrix") -> "Tensor | FactoredMatrix":
        """``other @ self``: factored, or a vector [*batch, rdim] if ``other`` is a vector [ldim]."""
        if not isinstance(other, Tensor):
            return NotImplemented
        self._meet(other.shape[-1], self.ldim, other)
        if other.ndim == 1:
            return self.T._on_vector(other)
        if self.mdim <= self.ldim:
            return FactoredMatrix(other @ self.A, self.B)
        return FactoredMatrix(other, self.AB)

    def _on_vector(self, vector: Float[Tensor, " rdim"]) -> Float[Tensor, "*batch ldim"]:
        return (self.A @ (self.B @ vector[:, None]))[..., 0]

    def _meet(self, left: int, right: int, other: Tensor) -> None:
        if left != right:
            raise ValueError(
                f"A FactoredMatrix {list(self.shape)} and a tensor {list(other.shape)} do not multiply: "
                f"inner sizes {left} and {right}."
            )

    def __mul__(self, scalar: float | Tensor) -> "FactoredMatrix":
        """Every entry times one number."""
        if isinstance(scalar, Tensor) and scalar.numel() != 1:
            raise ValueError(f"* takes a single number, not a tensor {list(scalar.shape)}; a matrix product is @.")
        return FactoredMatrix(self.A * (scalar.reshape(()) if isinstance(scalar, Tensor) else scalar), self.B)

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
        A, B = self.A[tuple(batch)], self.B[tuple(batch)]
        return FactoredMatrix(A[..., rows, :], B[..., :, columns])

    def _core(self) -> tuple[Tensor, Tensor, Tensor]:
        """Orthonormal columns, a small matrix, orthonormal columns: ``AB = left @ small @ right.mT``."""
        A, B = (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in self.pair)
        left, r_left = torch.linalg.qr(A)
        right, r_right = torch.linalg.qr(B.mT)
        return left, r_left @ r_right.mT, right

    def svd(self) -> Svd:
        """``U [*batch, ldim, k]``, ``S [*batch, k]`` from large to small, ``Vh [*batch, rdim, k]``; k the least.

        As in the classic library, ``Vh`` has its vectors in columns: ``AB = U @ S.diag() @ Vh.T``. Only the small
        matrix between two QR factors is decomposed.
        """
        left, small, right = self._core()
        u, s, vh = torch.linalg.svd(small, full_matrices=False)
        return left @ u, s, right @ vh.mT

    @property
    def U(self) -> Float[Tensor, "*batch ldim k"]:
        """Left singular vectors, in columns."""
        return self.svd()[0]

    @property
    def S(self) -> Float[Tensor, "*batch k"]:
        """Singular values, from large to small."""
        return torch.linalg.svdvals(self._core()[1])

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
        """Frobenius norm: the root of the sum of all squared entries."""
        return torch.linalg.matrix_norm(self._core()[1])

    def trace(self) -> Float[Tensor, "*batch"]:
        """Sum of the diagonal, which is the sum of the eigenvalues. ValueError unless square."""
        if self.ldim != self.rdim:
            raise ValueError(f"A trace needs a square product; this one is {self.ldim} x {self.rdim}.")
        return (self.A * self.B.mT).sum((-2, -1))

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
        return FactoredMatrix(self.A.unsqueeze(place), self.B.unsqueeze(place))

    def __repr__(self) -> str:
        return f"FactoredMatrix: Shape({self.shape}), Hidden Dim({self.mdim})"


def _axes(part) -> int:
    """How many axes an index uses up: a boolean mask as many as it has."""
    return part.ndim if isinstance(part, Tensor) and part.dtype == torch.bool else 1


def _kept(part):
    """A row or column number as a range of length one, so that the product keeps two axes."""
    return slice(part, part + 1 or None) if isinstance(part, int) else part
