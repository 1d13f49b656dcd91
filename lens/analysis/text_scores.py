"""Scores of all heads on somebody's own texts, padded or not, and only where the texts have something to score."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.instruments.layout import Entries, text_layout
from lens.analysis.instruments.patterns import measure_patterns
from lens.analysis.instruments.registry import HEAD_SCORES, instruments_named
from lens.analysis.instruments.sample import text
from lens.analysis.score_results import HeadScores
from lens.model import Transformer
from lens.progress import Progress, silent
from lens.tokens import TokenBatch


class Weights(NamedTuple):
    """How much each entry of a pattern counts towards a score, and towards its null: the largest of weighted sums."""

    score: Float[Tensor, "batch query key"]
    nulls: Float[Tensor, "null batch query key"]
    n_queries: Int[Tensor, " batch"]


def text_weights(tokens: Int[Tensor, "batch pos"], mask: Bool[Tensor, "batch pos"]) -> dict[str, Weights]:
    """Weights of the scores that read single entries of a pattern. Rows of a text without a query are zero.

    Real tokens must stand together; pads may be on either side. Positions are those of the real tokens.
    """
    layout = text_layout(tokens, mask)
    chosen = [one for one in instruments_named(HEAD_SCORES) if one.pattern.entries is not None]
    return {one.name: _weights(one.pattern.entries(layout)) for one in chosen}


def _weights(entries: Entries) -> Weights:
    n_queries = entries.queries.sum(-1)
    share = n_queries.clamp(min=1)[:, None, None]
    nulls = torch.zeros_like(entries.score)[None] if entries.nulls is None else entries.nulls
    return Weights(entries.score / share, nulls / share, n_queries)


def text_scores(
    model: Transformer,
    tokens: Int[Tensor, "batch pos"],
    mask: Bool[Tensor, "batch pos"],
    progress: Progress = silent,
    names: Sequence[str] = HEAD_SCORES,
) -> HeadScores:
    """Previous-, first-token and entropy scores of all heads on texts; induction and duplicate where tokens repeat.

    The unit is the text: a score averages over the texts that have queries for it, and 16 of them give an interval.
    ``mask`` is True at real tokens. A score without any query is in ``missing``, with the reason. ``names``: of
    instruments of patterns.
    """
    return measure_patterns(model, instruments_named(names), text(TokenBatch(tokens, mask)), progress)
