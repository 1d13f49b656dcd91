"""What the Attention page draws: the numbers of the chosen heads, and how much of them is sent to the browser."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lens.analysis.text_attention import TextAttention, head_numbers, layer_pattern, shrink
from lens.figures.theme import shorten
from lens.ui.calls import analyse
from lens.ui.store import to_numpy, to_torch

if TYPE_CHECKING:
    from lens.analysis.names import Head
    from lens.hooked import HookedTransformer

SIDE = 256  # queries and keys of a matrix: 350 kB
NUMBERS = 300_000  # of all heads on one text: 1.7 MB of JSON
CELLS = 60_000  # of all head maps, the enlarged one included: each is a shape of its own, some 2 s of drawing
OVERLAID = 9  # heads on one matrix, one hue each
STRIPS = 2000  # tokens in all strips together


class HeadValues(NamedTuple):
    """A number for every query and key of some heads, see ``lens.analysis.text_attention.head_numbers``."""

    heads: Sequence[Head]
    values: np.ndarray  # [head, query, key]
    hidden: np.ndarray | None  # [head, query]: the share that the hidden first token had; None when it is not hidden

    @property
    def names(self) -> list[str]:
        """ "18.6" for each head."""
        return [f"{layer}.{head}" for layer, head in self.heads]


class Part(NamedTuple):
    """What of a square of queries and keys is drawn."""

    values: np.ndarray  # [head, row, column]
    labels: Sequence[str]  # of rows and columns, unique
    start: int  # position of the first row
    block: int  # tokens per row; row 0 is then the first token alone
    words: str  # what is not drawn; "" when everything is

    def row(self, query: int | None) -> int | None:
        """The row that holds this query; None when it is not drawn."""
        if query is None:
            return None
        row = -(-query // self.block) if self.block > 1 else query - self.start
        return row if 0 <= row < len(self.labels) else None


def patterns(model: HookedTransformer, attention: TextAttention, heads: Sequence[Head]) -> np.ndarray:
    """Attention [head, query, key] of these heads: kept for a short text, one layer at a time for a long one."""
    if len(attention.pattern):
        return attention.pattern[tuple(zip(*heads))]
    layers = {
        layer: analyse(layer_pattern, model, to_torch(attention.streams[layer]), layer)
        for layer in sorted({layer for layer, _ in heads})
    }
    return np.stack([layers[layer][head] for layer, head in heads])


def values_of(
    model: HookedTransformer,
    attention: TextAttention,
    heads: Sequence[Head],
    measure: str,
    hide: bool,
    share: bool = False,
) -> HeadValues:
    """The numbers of ``heads``: attention, or with measure "moved" attention times the length of the values.

    ``hide`` the first token; ``share``: rows of lengths sum to 1, as those of attention do.
    """
    lengths = to_torch(attention.value_length[tuple(zip(*heads))]) if measure == "moved" else None
    pattern = to_torch(patterns(model, attention, heads))
    return HeadValues(heads, *to_numpy(head_numbers(pattern, lengths, hide, share)))


def blocks(of: HeadValues, labels: Sequence[str]) -> Part:
    """The whole text, the first token alone and then blocks of tokens: each cell the largest number of its pairs."""
    size = len(labels)
    block = -(-(size - 1) // SIDE)
    values = to_numpy(shrink(to_torch(of.values), block))
    names = [f"0: {shorten(labels[0])}"]
    for low in range(1, size, block):
        names.append(f"{low}–{min(low + block, size) - 1}: {shorten(labels[low], 9)}")
    words = (
        f"{size} tokens are drawn in blocks of {block}: a cell is the largest of its {block} × {block} pairs. "
        "'From token' draws a stretch pair by pair."
    )
    return Part(values, names, 0, block, words)


def stretch(of: HeadValues, labels: Sequence[str], start: int, at_most: int) -> Part:
    """Queries and keys from ``start`` on, and how much of these queries' numbers lies on earlier keys."""
    stop = min(start + at_most, len(labels))
    names = [f"{position}: {shorten(label)}" for position, label in enumerate(labels[start:stop], start)]
    if stop - start == len(labels):
        return Part(of.values, names, 0, 1, "")
    rows = of.values[:, start:stop]
    total = rows.sum()
    before = rows[:, :, :start].sum() / total if total else 0.0
    outside = f" {100 * before:.0f}% of what these queries look at lies before token {start}." if start else ""
    words = f"Tokens {start} to {stop - 1} of {len(labels)} are drawn.{outside}"
    return Part(rows[:, :, start:stop], names, start, 1, words)


def longest(look: str, n_heads: int) -> int:
    """How many tokens a view of so many heads can draw one by one."""
    if look == "matrix":
        return SIDE
    return isqrt(NUMBERS // n_heads if look == "text" else CELLS // (n_heads + 1))


def part_for(look: str, of: HeadValues, labels: Sequence[str], start: int | None) -> Part:
    """What of the numbers a view draws: all, a stretch from ``start`` on, or (a matrix) the whole text in blocks."""
    most = longest(look, len(of.heads))
    if look == "matrix" and start is None and len(labels) > most:
        return blocks(of, labels)
    return stretch(of, labels, start or 0, most)
