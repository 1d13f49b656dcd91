"""One head's attention on one sequence, and the cells that a score averages there."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from lens.analysis.attention import head_patterns
from lens.analysis.instruments.layout import repeats_layout, text_layout
from lens.analysis.instruments.registry import instrument
from lens.analysis.names import Head
from lens.ui.calls import analyse
from lens.ui.store import to_torch

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.shared.repeats import Sample

KEEP_BYTES = 32_000_000  # of the patterns of all heads on one sequence


class Stripe(NamedTuple):
    """The cells of a pattern that a score averages, and what the key of each is to its query."""

    cells: list[tuple[int, int]]  # (query, key)
    meaning: str


def attention(model: "HookedTransformer", tokens: np.ndarray, head: Head) -> np.ndarray:
    """Attention of one head on one sequence, [query, key].

    Of a short sequence all heads are computed together: then every further click costs nothing.
    """
    cfg = model.cfg
    every = [Head(*place) for place in np.ndindex(cfg.n_layers, cfg.n_heads)]
    heads = every if 4 * len(every) * len(tokens) ** 2 <= KEEP_BYTES else [Head(*head)]
    return analyse(head_patterns, model, to_torch(tokens)[None], heads).pattern[0, heads.index(head)]


def stripe(name: str, n: int, bos: int) -> Stripe:
    """What the score ``name`` averages on [BOS] r₁…r_n r₁…r_n; no cells for an entropy."""
    score = instrument(name)
    return Stripe(score.reads(repeats_layout(n, bos)), score.cells)


def marked(name: str, tokens: np.ndarray, sample: "Sample | None") -> Stripe:
    """What the score ``name`` averages on ``tokens``: a sequence of ``sample``, or a text where that is None."""
    if sample is not None:
        return stripe(name, sample.settings.n, sample.repeated.bos)
    row = to_torch(tokens)[None]
    layout = text_layout(row, torch.ones_like(row, dtype=torch.bool))
    return Stripe(instrument(name).reads(layout), "what the score averages")
