"""What the Attention page draws: the numbers of the chosen heads, and how much of them is sent to the browser."""

from math import isqrt
from typing import Any, NamedTuple

import numpy as np

from lens.analysis.names import Head
from lens.figures.theme import shorten
from lens.ui.calls import analyse
from lens.ui.store import to_numpy, to_torch

SIDE = 256  # queries and keys of a matrix: 350 kB
NUMBERS = 300_000  # of all heads on one text: 1.7 MB of JSON
CELLS = 60_000  # of all head maps, the enlarged one included: each is a shape of its own, some 2 s of drawing
OVERLAID = 9  # heads on one matrix, one hue each
STRIPS = 2000  # tokens in all strips together


class Shown(NamedTuple):
    """The numbers of some heads, as the page shows them."""

    heads: list[Head]
    values: np.ndarray  # [head, query, key]
    hidden: np.ndarray | None  # [head, query]: the share that the hidden first token had; None when it is shown

    @property
    def names(self) -> list[str]:
        """ "18.6" for each head."""
        return [f"{layer}.{head}" for layer, head in self.heads]


class Part(NamedTuple):
    """What of a square of queries and keys is drawn."""

    values: np.ndarray  # [head, row, column]
    labels: list[str]  # of rows and columns, unique
    start: int  # position of the first row
    block: int  # tokens per row; row 0 is then the first token alone
    words: str  # what is not drawn; "" when everything is

    def row(self, query: int | None) -> int | None:
        """The row that holds this query; None when it is not drawn."""
        if query is None:
            return None
        row = -(-query // self.block) if self.block > 1 else query - self.start
        return row if 0 <= row < len(self.labels) else None


def patterns(model: Any, seen: Any, heads: list[Head]) -> np.ndarray:
    """Attention [head, query, key] of these heads: kept for a short text, one layer at a time for a long one."""
    if len(seen.pattern):
        return np.stack([seen.pattern[layer, head] for layer, head in heads])
    from lens.analysis.text_attention import layer_pattern

    layers = {
        layer: analyse(layer_pattern, model, to_torch(seen.streams[layer]), layer)
        for layer in sorted({layer for layer, _ in heads})
    }
    return np.stack([layers[layer][head] for layer, head in heads])


def show(model: Any, seen: Any, heads: list[Head], measure: str, hide: bool, share: bool = False) -> Shown:
    """The numbers of ``heads``: attention, or with measure "moved" attention times the length of the values.

    A hidden first token leaves rows of attention that sum to 1 again. ``share`` makes rows of lengths sum to 1 too.
    """

    from lens.analysis.attention import hide_first

    values = patterns(model, seen, heads)
    if measure == "moved":
        values = values * np.stack([seen.value_length[layer, head] for layer, head in heads])[:, None, :]
        totals = values.sum(-1, keepdims=True)
        values = values / np.where(totals > 0, totals, 1) if share else values
    if not hide:
        return Shown(heads, values, None)
    rest = to_numpy(hide_first(to_torch(values)))
    if measure == "moved" and not share:  # lengths stay lengths
        totals = values.sum(-1)
        hidden = values[:, :, 0] / np.where(totals > 0, totals, 1)
        kept = values.copy()
        kept[:, :, 0] = 0
        return Shown(heads, kept, hidden)
    return Shown(heads, rest.pattern, rest.hidden)


def blocks(shown: Shown, labels: list[str]) -> Part:
    """The whole text, the first token alone and then blocks of tokens: each cell the largest number of its pairs."""
    from lens.analysis.text_attention import shrink

    size = len(labels)
    block = -(-(size - 1) // SIDE)
    values = to_numpy(shrink(to_torch(shown.values), block))
    names = [f"0: {shorten(labels[0])}"]
    for low in range(1, size, block):
        names.append(f"{low}–{min(low + block, size) - 1}: {shorten(labels[low], 9)}")
    words = (
        f"{size} tokens are drawn in blocks of {block}: a cell is the largest of its {block} × {block} pairs. "
        "'From token' draws a stretch pair by pair."
    )
    return Part(values, names, 0, block, words)


def stretch(shown: Shown, labels: list[str], start: int, at_most: int) -> Part:
    """Queries and keys from ``start`` on, and how much of these queries' numbers lies on earlier keys."""
    stop = min(start + at_most, len(labels))
    if stop - start == len(labels):
        return Part(shown.values, _numbered(labels, 0), 0, 1, "")
    rows = shown.values[:, start:stop]
    total = rows.sum()
    before = rows[:, :, :start].sum() / total if total else 0.0
    outside = f" {100 * before:.0f}% of what these queries look at lies before token {start}." if start else ""
    words = f"Tokens {start} to {stop - 1} of {len(labels)} are drawn.{outside}"
    return Part(rows[:, :, start:stop], _numbered(labels[start:stop], start), start, 1, words)


def longest(look: str, n_heads: int) -> int:
    """How many tokens a view of so many heads can draw one by one."""
    if look == "matrix":
        return SIDE
    return isqrt(NUMBERS // n_heads if look == "text" else CELLS // (n_heads + 1))


def part_for(look: str, shown: Shown, labels: list[str], start: int | None) -> Part:
    """What of the numbers a view draws: all, a stretch from ``start`` on, or (a matrix) the whole text in blocks."""
    most = longest(look, len(shown.heads))
    if look == "matrix" and start is None and len(labels) > most:
        return blocks(shown, labels)
    return stretch(shown, labels, start or 0, most)


def table(shown: Shown, labels: list[str], measure: str) -> Any:
    """One row per head, query and key that it may see."""
    import pandas as pd

    query, key = np.tril_indices(len(labels))
    tokens = np.array(labels, dtype=object)
    parts = [
        pd.DataFrame(
            {
                "head": name,
                "query": query,
                "query_token": tokens[query],
                "key": key,
                "key_token": tokens[key],
                NAMES[measure]: values[query, key] if measure != "log" else _log(values[query, key]),
            }
        )
        for name, values in zip(shown.names, shown.values)
    ]
    return pd.concat(parts, ignore_index=True)


NAMES = {"attention": "attention", "log": "log_attention_nats", "moved": "attention_times_value_length"}


def _log(values: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.log(values)


def _numbered(labels: list[str], start: int) -> list[str]:
    return [f"{position}: {shorten(label)}" for position, label in enumerate(labels, start)]
