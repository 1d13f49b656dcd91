"""Patterns in numbers that a sentence can name: where the queries of a head look most, and how heads compare.

Arrays may be of torch or numpy. ``hidden`` says that the first token was taken out of the pattern.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from lens.analysis.content_dependence import most_content_dependent
from lens.analysis.names import Head
from lens.analysis.text_attention import Habits

STRONG = 0.1  # of the largest number: a pair with less is not where a head looks
CRUMBS = 0.99  # of a row on the hidden token: what is left is so little that scaling it up misleads


class Look(NamedTuple):
    """One query, one key, and the number that they have."""

    query: int
    key: int
    value: float


class MostLooked(NamedTuple):
    """How many queries, the first left out, look most at each kind of key."""

    first: int
    previous: int
    itself: int
    another: int
    n: int  # queries; more than the four together where a row holds nothing


class Compared(NamedTuple):
    """Several heads on one text, away from the first token."""

    strong: int  # pairs of query and key in which some head has at least ``STRONG`` of the largest number
    leads: np.ndarray  # [head] in how many of these pairs each head is the strongest
    agree: int  # queries whose strongest key is the same for all
    n: int  # queries


class Hidden(NamedTuple):
    """What the hidden first token had of one head."""

    mean: float  # share, over queries after the first
    n: int
    crumbs: int  # queries that had more than ``CRUMBS`` of it there


class OnCells(NamedTuple):
    """What a head gives to some cells of a pattern, mean over the queries that have one, 0 … 1."""

    share: float
    even: float  # of a head that looks at all keys alike
    n: int  # queries


class HeadsByHabit(NamedTuple):
    """How many heads give more than half of their attention to one kind of key."""

    first: int
    previous: int
    itself: int
    n: int


class ContentRank(NamedTuple):
    """One head's place among all by ``CONTENT_DEPENDENCE``."""

    value: float  # nats
    rank: int  # 1 is the largest
    n: int  # heads
    best: Head  # the one with the largest
    largest: float
    second: float | None  # None for a single head
    median: float


def on_cells(pattern: np.ndarray, cells: Sequence[tuple[int, int]]) -> OnCells:
    """How much of the attention ``pattern`` [query, key] lies on ``cells`` of (query, key), which may not be empty."""
    n = len({query for query, _ in cells})
    share, even = (sum(values) / n for values in zip(*((float(pattern[cell]), 1 / (cell[0] + 1)) for cell in cells)))
    return OnCells(share, even, n)


def most_looked(pattern: Float[Tensor, "query key"] | np.ndarray) -> MostLooked:
    """Where each query looks most. A first token that is the token before counts as the first."""
    rows = np.asarray(pattern)[1:]
    top, query = rows.argmax(-1), np.arange(1, len(rows) + 1)
    looks = rows.max(-1) > 0  # a row of which everything is hidden looks at nothing
    kinds = [(top == 0) & looks, (top == query - 1) & (top > 0), top == query]
    another = looks & ~np.any(kinds, axis=0)
    return MostLooked(*(int(kind.sum()) for kind in (*kinds, another)), len(rows))


def strongest_pair(pattern: Float[Tensor, "query key"] | np.ndarray, hidden: bool = False) -> Look | None:
    """The largest number away from the first token; None where there is none.

    ``hidden``: then the only key left to query 1 is itself, which says nothing.
    """
    inner = np.asarray(pattern)[1:, 1:].copy()
    inner[:1] *= not hidden
    if not inner.size or inner.max() <= 0:
        return None
    query, key = np.unravel_index(int(inner.argmax()), inner.shape)
    return Look(int(query) + 1, int(key) + 1, float(inner.max()))


def strongest_keys(pattern: Float[Tensor, "query key"] | np.ndarray, query: int, count: int = 3) -> list[Look]:
    """The keys that a query looks at most, the strongest first; none that has 0."""
    row = np.asarray(pattern)[query, : query + 1]
    return [Look(query, int(key), float(row[key])) for key in np.argsort(row)[::-1][:count] if row[key] > 0]


def compare_heads(patterns: Float[Tensor, "head query key"] | np.ndarray) -> Compared:
    """Which head is strongest where any is strong, and how often all agree on the strongest key."""
    inner = np.asarray(patterns)[:, 1:, 1:]
    n_heads, n = inner.shape[:2]
    if not inner.size:
        return Compared(0, np.zeros(n_heads, int), 0, n)
    top = inner.max()
    strong = inner.max(0) >= STRONG * top if top > 0 else np.zeros(inner.shape[1:], bool)
    leads = np.bincount(inner.argmax(0)[strong], minlength=n_heads)
    keys = inner.argmax(-1)
    return Compared(int(strong.sum()), leads, int((keys == keys[0]).all(0).sum()), n)


def hidden_share(share: Float[Tensor, " query"] | np.ndarray) -> Hidden:
    """``share``: of each query's numbers, what the hidden first token had."""
    later = np.asarray(share)[1:]
    return Hidden(float(later.mean()), len(later), int((later > CRUMBS).sum()))


def heads_by_habit(habits: Habits) -> HeadsByHabit:
    """``habits`` of all heads [layer, head]. Heads whose habit is not defined on so short a text do not count."""
    columns = [np.asarray(column) for column in habits[:3]]
    return HeadsByHabit(*(int((column > 0.5).sum()) for column in columns), columns[0].size)


def content_rank(scores: Float[Tensor, "layer head"] | np.ndarray, head: tuple[int, int]) -> ContentRank:
    """Where ``head`` stands among all; ``scores``: the content dependence of every head."""
    scores = np.asarray(scores)
    own, ranked = float(scores[head]), np.sort(scores, axis=None)[::-1]
    best = most_content_dependent(scores)
    second = float(ranked[1]) if len(ranked) > 1 else None
    rank = 1 + int((scores > scores[head]).sum())
    return ContentRank(own, rank, scores.size, best, float(ranked[0]), second, float(np.median(ranked)))
