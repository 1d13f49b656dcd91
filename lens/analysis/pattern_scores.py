"""Scores of attention patterns: pure functions of arrays, exact on hand-made patterns.

Positions count from 0. ``bos`` is the number of positions before the first random token: 1 with BOS, 0 without.
Key 0 is the resting place of attention, with or without BOS, so no score but its own reads it.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.streaming import uniform_pattern

BACK = (2, 3, 4, 5)  # distances of the previous-token null
PREVIOUS_NULL = (
    "the largest mean attention to exactly 2, 3, 4 or 5 tokens back, over the same queries, which leave key 0 out"
)


class PatternScores(NamedTuple):
    """One number per leading axis of a pattern (``[batch, head]``): probabilities, and entropies in nats."""

    induction: Tensor  # mean A[q, q-n+1] over the second copy: the token after the earlier occurrence
    duplicate: Tensor  # mean A[q, q-n] over the second copy: the earlier occurrence itself
    previous: Tensor  # mean A[q, q-1], q >= 6
    previous_null: Tensor  # the largest of the means of A[q, q-j], j = 2..5, over the same queries
    first: Tensor  # mean A[q, 0], q >= 1
    entropy: Tensor  # nats, mean over q >= 1
    entropy_normalised: Tensor  # entropy / ln(q+1), mean over q >= 1: 1 is uniform


def scores_from_pattern(pattern: Float[Tensor, "*batch query key"], n: int, bos: int = 1) -> PatternScores:
    """All scores of patterns on [BOS] r₁…r_n then n more tokens: a repeat of r, or the control.

    Queries of the second copy: bos+n … bos+2n-1. Without BOS the duplicate score leaves out the first of them, whose
    key is position 0. Source: Olsson et al., "In-context Learning and Induction Heads" (2022).
    """
    n_pos = bos + 2 * n
    if pattern.shape[-2:] != (n_pos, n_pos) or bos not in (0, 1) or n < 2:
        raise ValueError(
            f"scores_from_pattern: pattern of shape {list(pattern.shape)} with n={n}, bos={bos}; wanted "
            f"[..., bos + 2n, bos + 2n] = [..., {n_pos}, {n_pos}], bos 0 or 1 and n of at least 2."
        )
    entropies = row_entropy(pattern)[..., 1:]
    previous = previous_token(pattern)
    return PatternScores(
        induction=stripe(pattern, n - 1)[..., bos + 1 : bos + n + 1].mean(-1),
        duplicate=stripe(pattern, n)[..., max(bos, 1) : bos + n].mean(-1),
        previous=previous.score,
        previous_null=previous.null,
        first=pattern[..., 1:, 0].mean(-1),
        entropy=entropies.mean(-1),
        entropy_normalised=(entropies / torch.arange(2, n_pos + 1, device=pattern.device).log()).mean(-1),
    )


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


def stripe(pattern: Float[Tensor, "*batch query key"], back: int) -> Float[Tensor, "*batch key"]:
    """A[key+back, key] for every key that has such a query: the attention to exactly ``back`` tokens ago."""
    return pattern.diagonal(offset=-back, dim1=-2, dim2=-1)


def row_entropy(pattern: Float[Tensor, "*batch query key"]) -> Float[Tensor, "*batch query"]:
    """Entropy of every query's attention, nats: 0 looks at one key, ln(query+1) at all alike."""
    return torch.special.entr(pattern).sum(-1)


def uniform_scores(n: int, bos: int = 1) -> PatternScores:
    """The scores of a head that spreads its attention evenly: mean of 1/(q+1) over each score's queries."""
    return scores_from_pattern(uniform_pattern(bos + 2 * n), n, bos)
