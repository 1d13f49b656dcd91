"""Rows of the growing batch, and their part of an activation of whole prompts."""

from typing import NamedTuple

from jaxtyping import Int
from torch import Tensor

from lens.analysis.interventions.cells import Cell


class Rows(NamedTuple):
    """Rows in the order in which they enter; all hold positions ``start`` … ``stop`` − 1."""

    pair: Int[Tensor, " row"]
    cells: tuple[Cell, ...]  # of each row: what is replaced
    join: tuple[int, ...]  # first layer of each row, ascending
    start: int
    stop: int
    ids: Int[Tensor, " row"]  # index of the row's own values, where the values belong to rows

    def cut(self, n: int) -> "list[Rows]":
        """The rows in at most ``n`` parts, in order."""
        size = -(-len(self.pair) // n)
        parts = (slice(first, first + size) for first in range(0, len(self.pair), size))
        return [
            self._replace(pair=self.pair[at], cells=self.cells[at], join=self.join[at], ids=self.ids[at])
            for at in parts
        ]


def cut_positions(x: Tensor, rows: Rows, name: str) -> Tensor:
    """The rows' positions of an activation of whole prompts; of a pattern its queries, and all keys before ``stop``."""
    if name.endswith("hook_pattern"):
        return x[:, :, rows.start : rows.stop, : rows.stop]
    return x[:, rows.start : rows.stop]
