"""Which part of an axis to take, in the classic notation: a tuple is a range, a list a choice, an int one entry."""

from typing import TypeAlias

import numpy as np
from torch import Tensor

from lens.arrays import as_tensor

SliceInput: TypeAlias = "int | slice | tuple | list | np.ndarray | Tensor | Slice | None"


class Slice:
    """One axis' part: int (drops the axis), ``(stop,)``, ``(start, stop)``, ``(start, stop, step)``, a slice, a list or
    array of indices or booleans, or None for all of it.
    """

    def __init__(self, input_slice: SliceInput = None):
        if isinstance(input_slice, Slice):
            self.slice, self.mode = input_slice.slice, input_slice.mode
        elif input_slice is None:
            self.slice, self.mode = slice(None), "identity"
        elif isinstance(input_slice, (int, np.integer)) and not isinstance(input_slice, bool):
            self.slice, self.mode = int(input_slice), "int"
        elif isinstance(input_slice, (tuple, slice)):
            self.slice = slice(*input_slice) if isinstance(input_slice, tuple) else input_slice
            self.mode = "slice"
        elif isinstance(input_slice, (list, np.ndarray, Tensor)):
            self.slice, self.mode = as_tensor(input_slice), "array"
        else:
            raise ValueError(
                f"Slice({input_slice!r}): wanted an int, a tuple (start, stop[, step]), a slice, indices or None."
            )

    def apply(self, tensor: Tensor, dim: int = 0) -> Tensor:
        """``tensor`` with this part of axis ``dim``; an int drops the axis, and all of it is ``tensor`` itself."""
        if self.mode == "identity":
            return tensor
        index: list = [slice(None)] * tensor.ndim
        index[dim] = self.slice.to(tensor.device) if self.mode == "array" else self.slice
        return tensor[tuple(index)]

    def indices(self, max_ctx: int | None = None) -> np.ndarray:
        """The indices that are taken of an axis of length ``max_ctx``; an int needs no length."""
        if self.mode == "int":
            return np.array([self.slice], dtype=np.int64)
        if max_ctx is None:
            raise ValueError(f"{self}: the indices depend on the length of the axis; give max_ctx.")
        part = self.slice.cpu().numpy() if self.mode == "array" else self.slice
        return np.arange(max_ctx, dtype=np.int64)[part]

    @classmethod
    def unwrap(cls, slice_input: SliceInput) -> "Slice":
        """``slice_input`` as a Slice that keeps the axis: an int takes a piece of length 1."""
        return cls([slice_input] if isinstance(slice_input, int) else slice_input)

    def __repr__(self) -> str:
        return f"Slice: {self.slice} Mode: {self.mode}"
