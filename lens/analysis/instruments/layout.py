"""Where queries and keys stand in sequences: what instruments of patterns choose their entries from.

Key 0 is the resting place of attention, with or without BOS, so no score but its own reads it (``inner``).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.pattern_scores import row_entropy


@dataclass(frozen=True)
class Pattern:
    """Attention of all heads of a layer; what several instruments read of it is computed once."""

    values: Float[Tensor, "batch head query key"]

    @cached_property
    def entropies(self) -> Float[Tensor, "batch head query"]:
        """Entropy of every query's attention, nats."""
        return row_entropy(self.values)

    def to_first(self, at: "Layout") -> Float[Tensor, "batch head query"]:
        """Attention of every query to position 0."""
        first = (at.real & (at.place == 0)).to(self.values.dtype)
        return torch.einsum("bhqk,bk->bhq", self.values, first.expand(len(self.values), -1))


class Entries(NamedTuple):
    """The entries of a pattern that a number adds up, in each query, and those of its null. Mean over ``queries``."""

    score: Float[Tensor, "row query key"]
    nulls: Float[Tensor, "null row query key"] | None  # the largest counts; None: the null is on other sequences
    queries: Bool[Tensor, "row query"]


@dataclass(frozen=True)
class Layout:
    """Positions count the real tokens of a row from 0. One row stands for all sequences that repeat alike."""

    real: Bool[Tensor, "row pos"]  # False at pads, which may be on either side
    tokens: Int[Tensor, "row pos"] | None = None  # of a text
    n: int = 0  # of [BOS] r₁…r_n r₁…r_n; 0: a text
    bos: int = 0  # positions before r₁

    @cached_property
    def place(self) -> Int[Tensor, "row pos"]:
        """Position of every token."""
        return self.real.cumsum(-1) - 1

    @cached_property
    def query(self) -> Int[Tensor, "row query 1"]:
        """Position of every query."""
        return self.place[:, :, None]

    @cached_property
    def key(self) -> Int[Tensor, "row 1 key"]:
        """Position of every key."""
        return self.place[:, None, :]

    @cached_property
    def distance(self) -> Int[Tensor, "row query key"]:
        """How many tokens back a key is."""
        return self.query - self.key

    @cached_property
    def allowed(self) -> Bool[Tensor, "row query key"]:
        """What a query may attend to."""
        return self.real[:, :, None] & self.real[:, None, :] & (self.distance >= 0)

    @cached_property
    def inner(self) -> Bool[Tensor, "row query key"]:
        """The same without key 0."""
        return self.allowed & (self.key >= 1)

    @cached_property
    def earlier(self) -> Bool[Tensor, "row query key"]:
        """The same without the query itself."""
        return self.inner & (self.distance >= 1)

    @property
    def second_copy(self) -> Bool[Tensor, "row query 1"]:
        """Queries of the second copy of repeats."""
        return self.query >= self.bos + self.n

    @cached_property
    def later(self) -> Bool[Tensor, "row pos"]:
        """Queries after the first, which have a choice."""
        return self.real & (self.place >= 1)

    def average(self, of_queries: Float[Tensor, "batch head query"]) -> Float[Tensor, "batch head"]:
        """Mean over q ≥ 1; 0 for a row that has no such query."""
        total = (of_queries * self.later[:, None]).sum(-1)
        return total / self.later.sum(-1, keepdim=True).clamp(min=1)

    def entries(self, cells: Bool[Tensor, "row query key"]) -> Entries:
        """Attention to ``cells``, mean over the queries that have one; the null is on other sequences."""
        return Entries(cells.float(), None, cells.any(-1))

    def stripe(self, back: int, others: tuple[int, ...]) -> Entries:
        """Attention to exactly ``back`` tokens ago; the null is the largest of that to any of ``others``.

        Score and null average the same queries: those for which no distance reaches key 0, or of a shorter text its
        last query, with the distances that it has. With other queries, or with a mean over distances, a head that
        looks at all keys alike would score above its null.
        """
        length = self.real.sum(-1)
        start = (length - 1).clamp(max=max(back, *others) + 1)
        enough = length > max(back, min(others)) + 1
        late = self.inner & ((self.place >= start[:, None]) & enough[:, None])[:, :, None]
        nulls = torch.stack([(late & (self.distance == other)).float() for other in others])
        cells = late & (self.distance == back)
        return Entries(cells.float(), nulls, cells.any(-1))

    def against_others(self, targets: Bool[Tensor, "row query key"]) -> Entries:
        """Attention to ``targets``; the null is that to as many of the other ``earlier`` keys of the same query."""
        others = self.earlier & ~targets
        counted = targets.any(-1, keepdim=True) & others.any(-1, keepdim=True)
        ratio = targets.sum(-1, keepdim=True) / others.sum(-1, keepdim=True).clamp(min=1)
        return Entries((targets & counted).float(), ((others & counted) * ratio)[None], counted[..., 0])


def repeats_layout(n: int, bos: int, device: torch.device | str = "cpu") -> Layout:
    """Of [BOS] r₁…r_n then n more tokens: a repeat of r, or the control."""
    return Layout(torch.ones(1, bos + 2 * n, dtype=torch.bool, device=device), n=n, bos=bos)


def text_layout(tokens: Int[Tensor, "row pos"], mask: Bool[Tensor, "row pos"]) -> Layout:
    """Of texts; ``mask`` is True at their real tokens, which must stand together."""
    return Layout(mask, tokens)


def even_pattern(layout: Layout) -> Float[Tensor, "row 1 query key"]:
    """The attention of a head that looks at all keys alike; rows of pads are 0."""
    return (layout.allowed / (layout.query.clamp(min=0) + 1))[:, None]
