"""What the Attention page draws and gives away: the numbers of the chosen heads, how much of them the browser gets,
and the Python that computes them again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import isqrt
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from lens.analysis.text_attention import TextAttention, head_numbers, layer_pattern, shrink
from lens.figures.theme import shorten
from lens.ui.calls import analyse
from lens.ui.export import Export
from lens.ui.store import to_numpy, to_torch

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lens.analysis.names import Head
    from lens.hooked import HookedTransformer
    from lens.ui.shared.patterns import Reading

SIDE = 256  # queries and keys of a matrix: 350 kB
NUMBERS = 300_000  # of all heads on one text: 1.7 MB of JSON
CELLS = 60_000  # of all head maps, the enlarged one included: each is a shape of its own, some 2 s of drawing
OVERLAID = 9  # heads on one matrix, one hue each
STRIPS = 2000  # tokens in all strips together
NAMES = {"attention": "attention", "log": "log_attention_nats", "moved": "attention_times_value_length"}


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


def longest(layout: str, n_heads: int) -> int:
    """How many tokens a view of so many heads can draw one by one."""
    if layout == "matrix":
        return SIDE
    return isqrt(NUMBERS // n_heads if layout == "text" else CELLS // (n_heads + 1))


def part_for(layout: str, of: HeadValues, labels: Sequence[str], start: int | None) -> Part:
    """What of the numbers a view draws: all, a stretch from ``start`` on, or (a matrix) the whole text in blocks."""
    most = longest(layout, len(of.heads))
    if layout == "matrix" and start is None and len(labels) > most:
        return blocks(of, labels)
    return stretch(of, labels, start or 0, most)


def heads_export(of: HeadValues, reading: Reading, measure: str, share: bool, figure: Figure) -> Export:
    """The numbers of the heads that are drawn, of the whole text, also where the figure draws a part."""
    values, prompt = of.values, reading.prompt
    if measure == "log":
        with np.errstate(divide="ignore"):
            values = np.log(values)
    payload = {
        "tokens": prompt.labels,
        "heads": of.names,
        "number": "share of the length moved" if share and measure == "moved" else NAMES[measure],
        "first_token_hidden": of.hidden is not None,
        "values": values,
        "hidden": of.hidden,
    }
    rows = partial(_pairs, of.names, values, prompt.labels, NAMES[measure])
    code = reading.code + heads_code(of, measure, share, len(prompt.labels))
    return Export("attention", figure, rows, payload, code, reads_prompt=not reading.code)


def _pairs(names: list[str], values: np.ndarray, labels: list[str], measure: str) -> pd.DataFrame:
    """One row per head, query and key that it may see."""
    query, key = np.tril_indices(len(labels))
    tokens = np.array(labels, dtype=object)
    same = {"query": query, "query_token": tokens[query], "key": key, "key_token": tokens[key]}
    rows = [pd.DataFrame({"head": name, **same, measure: one[query, key]}) for name, one in zip(names, values)]
    return pd.concat(rows, ignore_index=True)


def heads_code(of: HeadValues, measure: str, share: bool, n_tokens: int) -> str:
    """``values`` [head, query, key] as the page draws them."""
    heads = ", ".join(f"Head({layer}, {head})" for layer, head in of.heads)
    function = "value_weighted_patterns" if measure == "moved" else "head_patterns"
    renormalise = ", renormalise=True" if share and measure == "moved" else ""
    scaled = measure != "moved" or share
    hide = of.hidden is not None
    imports = [function, *(["hide_first"] if hide and scaled else [])]
    lines = [
        f"from lens.analysis.attention import {', '.join(sorted(imports))}",
        "from lens.analysis.names import Head",
        "",
        f"heads = [{heads}]",
        f"values = {function}(model, tokens[:, :{n_tokens}], heads{renormalise}).pattern[0]  # [head, query, key]",
    ]
    if hide:
        lines.append("values = hide_first(values).pattern" if scaled else "values[:, :, 0] = 0")
    if measure == "log":
        lines.append("values = values.log()  # nats")
    lines.append(f"print(values[0, {n_tokens - 1}])  # where the last token looks")
    return "\n".join(lines)


def overview_export(attention: TextAttention, reading: Reading, figure: Figure) -> Export:
    """Habits and content dependence of every head."""
    prompt = reading.prompt
    columns = dict(zip(("first_token", "previous_token", "itself", "entropy_nats"), attention.habits))
    columns |= {"content_dependence_nats": attention.content_dependence}
    payload = {"tokens": prompt.labels, **columns, "queries": len(prompt.labels) - 1}
    code = reading.code + (
        "from lens.analysis.text_attention import text_attention\n\n"
        f"seen = text_attention(model, tokens[:, :{len(prompt.labels)}])\n"
        "layer, head = divmod(int(seen.content_dependence.argmax()), model.cfg.n_heads)\n"
        "print(layer, head, seen.content_dependence[layer, head], seen.habits.first[layer, head])"
    )
    return Export("attention_of_all_heads", figure, partial(_every_head, columns), payload, code, not reading.code)


def _every_head(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    layer, head = np.indices(columns["content_dependence_nats"].shape)
    return pd.DataFrame({name: np.ravel(of) for name, of in {"layer": layer, "head": head, **columns}.items()})
