"""One head's attention on one sequence, and the cells that a score averages there."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from lens.analysis.attention import head_patterns
from lens.analysis.names import Head
from lens.analysis.pattern_scores import first_query
from lens.analysis.text_scores import text_weights
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
    wanted = every if 4 * len(every) * len(tokens) ** 2 <= KEEP_BYTES else [Head(*head)]
    found = analyse(head_patterns, model, to_torch(tokens)[None], wanted)
    return found.pattern[0, wanted.index(head)]


def stripe(name: str, n: int, bos: int) -> Stripe:
    """What the score ``name`` averages on [BOS] r₁…r_n r₁…r_n; no cells for an entropy."""
    second, length = range(bos + n, bos + 2 * n), bos + 2 * n
    cells = {
        "induction": Stripe([(q, q - n + 1) for q in second], "after its first occurrence"),
        "duplicate": Stripe([(q, q - n) for q in second if q > n or bos], "its first occurrence"),
        "previous": Stripe([(q, q - 1) for q in range(first_query(length), length)], "the token before"),
        "first": Stripe([(q, 0) for q in range(1, length)], "the first token"),
    }
    return cells.get(name, Stripe([], ""))


def marked(name: str, tokens: np.ndarray, sample: "Sample | None") -> Stripe:
    """What the score ``name`` averages on ``tokens``: a sequence of ``sample``, or a text where that is None."""
    if sample is not None:
        return stripe(name, sample.settings.n, sample.repeated.bos)
    row = to_torch(tokens)[None]
    weights = analyse(text_weights, row, torch.ones_like(row, dtype=torch.bool))
    if name not in weights:
        return Stripe([], "")
    return Stripe([(int(q), int(k)) for q, k in np.argwhere(weights[name].score[0] > 0)], "what the score averages")
