"""What a head score is: its number per head, its null, its units and its definition in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from lens.analysis.stats import Estimate, estimate, family_wise_threshold


class Kind(NamedTuple):
    """A score in words. ``null``: what it is compared with; ``tested``: whether that gives a threshold."""

    name: str
    unit: str
    definition: str
    null: str
    tested: bool


class HeadScore(NamedTuple):
    """One score of every head. ``effect`` is score minus null, paired by sequence; None where there is no null."""

    kind: Kind
    per_sequence: Float[Tensor, "sequence layer head"]
    score: Estimate  # [layer, head]
    null_per_sequence: Float[Tensor, "sequence layer head"] | None
    null_mean: Float[Tensor, "layer head"] | None
    effect: Estimate | None
    threshold: float | None  # 95th percentile over sequences of the largest null of any head; None: not a test
    uniform: float  # the score of a head that looks at all keys alike
    n_queries: int  # queries averaged, all sequences together


@dataclass(frozen=True)
class HeadScores:
    """Scores by name; ``missing`` gives the reason for each that was not computed; ``source`` says on what tokens."""

    scores: Mapping[str, HeadScore]
    missing: Mapping[str, str]
    source: str
    seed: int | None  # of the tokens; None for a text

    def __getitem__(self, name: str) -> HeadScore:
        if name not in self.scores:
            why = self.missing.get(name, f"there is no such score; there are {', '.join(self.scores)}")
            raise KeyError(f"Score {name!r}: {why}")
        return self.scores[name]


class Samples(NamedTuple):
    """One score before its statistics: per sequence, with its null and uniform value."""

    score: Float[Tensor, "sequence layer head"]
    null: Float[Tensor, "sequence layer head"] | None
    uniform: float
    n_queries: int


def head_score(kind: Kind, samples: Samples, unit: str, seed: int = 0) -> HeadScore:
    """The statistics of one score over its independent ``unit`` ("sequences", "texts")."""
    score, null, uniform, n_queries = samples
    if null is None:
        return HeadScore(kind, score, estimate(score, unit, seed), None, None, None, None, uniform, n_queries)
    return HeadScore(
        kind,
        score,
        estimate(score, unit, seed),
        null,
        null.mean(0),
        estimate(score - null, unit, seed),
        family_wise_threshold(null) if kind.tested else None,
        uniform,
        n_queries,
    )
