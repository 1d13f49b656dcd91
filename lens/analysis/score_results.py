"""What a head score is: its number per head, its null, its units and its definition in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from lens.analysis.names import Head
from lens.analysis.stats import Estimate, estimate, within
from lens.analysis.verdicts import AboveChance, above_chance

SHARES = ("probability", "share of queries")  # units of numbers that lie within 0 … 1
UNTESTED = "it is a description, not a test"


Scale = Literal["positive", "signed", "two-sided"]
"""Positive: from 0 up, the largest number stands out. Signed: around 0, and still the largest. Two-sided: around 0, and
whatever lies far from it, to either side."""


class Kind(NamedTuple):
    """A score in words. ``null``: what it is compared with; ``tested``: whether that gives a verdict."""

    name: str
    unit: str
    definition: str
    null: str
    tested: bool
    scale: Scale = "positive"


class HeadScore(NamedTuple):
    """One score of every head. ``effect`` is score minus null, paired by sequence; None where there is no null."""

    kind: Kind
    per_sequence: Float[Tensor, "sequence layer head"]
    score: Estimate  # [layer, head]
    null_per_sequence: Float[Tensor, "sequence layer head"] | None
    null_mean: Float[Tensor, "layer head"] | None
    effect: Estimate | None
    threshold: float | None  # 95th percentile over sequences of the largest null of any head; None: no verdict
    above: Bool[Tensor, "layer head"] | None  # where the score exceeds it by more than rounding; None: no verdict
    no_verdict: str  # why there is none; "" where there is one
    uniform: float  # the score of a head that looks at all keys alike
    n_queries: int  # of patterns, averaged, all sequences together; 0 where no pattern is read
    rule: str = ""  # how ``above`` was decided where it is not by ``threshold``

    def strongest_above(self, count: int) -> list[Head]:
        """Of the ``count`` heads with the largest scores those above the threshold, the largest first; [] without one.

        Works on numpy arrays too.
        """
        if self.above is None:
            return []
        mean = np.asarray(self.score.mean)
        heads = [Head(*divmod(int(i), mean.shape[1])) for i in np.argsort(-mean, axis=None)[:count]]
        return [head for head in heads if self.above[head]]


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
    mean, paired = estimate(score, unit, seed), null is not None
    mean = within(mean, 0.0, 1.0) if kind.unit in SHARES else mean
    tested = above_chance(mean.mean, null, unit) if paired and kind.tested else AboveChance(None, None, UNTESTED)
    return HeadScore(
        kind,
        score,
        mean,
        null,
        null.mean(0) if paired else None,
        estimate(score - null, unit, seed) if paired else None,
        *tested,
        uniform,
        n_queries,
    )


class Tested(NamedTuple):
    """Which heads a rule of its own finds above chance, or why it cannot say; ``rule`` in words."""

    above: Bool[Tensor, "layer head"] | None
    rule: str
    no_verdict: str = ""


def weights_score(
    kind: Kind,
    values: Float[Tensor, "layer head"],
    null: Float[Tensor, "draw layer head"],
    tested: Tested,
    threshold: float | None = None,
) -> HeadScore:
    """A number that weights give exactly: no samples, so no interval. ``null``: one draw, or many. NaN: not defined."""
    exact = Estimate(values, None, None, 1, "no interval: the weights alone give it, nothing was sampled")
    verdict = (threshold, tested.above, tested.no_verdict)
    mean = null.mean(0)
    return HeadScore(kind, values[None], exact, null, mean, None, *verdict, float(mean.nanmean()), 0, tested.rule)
