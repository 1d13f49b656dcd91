"""The previous-token score of patterns of any kind, and its null.

Key 0 is the resting place of attention, with or without BOS, so neither reads it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.instruments.previous import BACK
from lens.analysis.pattern_scores import stripe


class Previous(NamedTuple):
    """Attention to the token before, and to the token at that other distance which gets most of it. Probabilities."""

    score: Tensor  # mean A[q, q-1]
    null: Tensor  # the largest mean A[q, q-j] of all j in BACK, over the same queries


def first_query(n_pos: int) -> int:
    """The first query that the previous-token score reads: the first from which no distance of its null reaches key 0.

    That is 6; of fewer than 7 positions only the last query is read, and the distances that it has.
    """
    return min(BACK[-1] + 1, n_pos - 1)


def previous_token(pattern: Float[Tensor, "*batch query key"]) -> Previous:
    """The previous-token score and its null. ValueError for fewer than four positions, which have no null.

    Score and null average the same queries, and each distance stands for itself: with other queries, or with a mean
    over distances, a head that looks at all keys alike would score above its null.
    """
    n_pos = pattern.shape[-1]
    if n_pos < 4:
        raise ValueError(f"previous_token: {n_pos} positions; a distance of 2 besides key 0 needs at least 4.")
    first = first_query(n_pos)
    means = [stripe(pattern, back)[..., first - back :].mean(-1) for back in (1, *BACK) if back < first]
    return Previous(means[0], torch.stack(means[1:]).amax(0))
