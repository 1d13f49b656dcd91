"""One text over training, token by token: where the loss falls between two checkpoints, and when a token is learned."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lens.analysis.checkpoint import OnTokens
from lens.analysis.training_run import TrainingRun

WORD = re.compile(r"[^\W\d_]{2,}")
REPEATED = (
    "A token is repeated here if the pair of it and the token before it stands earlier in the text: copying what "
    "followed last time, as induction does, would guess it. It may be guessed in other ways as well."
)
ACQUIRED = (
    "First: the first of these checkpoints at which the token is the model's top guess, no other token as likely. "
    "Stays: the first from which it is that at every later one."
)


class TokenCurves(NamedTuple):
    """The predictions of one text at the checkpoints ``indices``, ascending. Entry p is about position p + 1."""

    indices: list[int]
    labels: list[int]  # of these checkpoints
    loss: Float[np.ndarray, "checkpoint predicted"]  # nats
    is_top: Bool[np.ndarray, "checkpoint predicted"]  # the model's top guess, no other token as likely


class Acquired(NamedTuple):
    """When each token becomes the top guess, as places in the curves; −1: at none of the checkpoints."""

    first: Int[np.ndarray, " predicted"]
    stays: Int[np.ndarray, " predicted"]  # from here on at every later checkpoint

    @property
    def is_lost(self) -> Bool[np.ndarray, " predicted"]:
        """The top guess at some checkpoint, and not at the last."""
        return (self.first >= 0) & (self.stays < 0)


class Change(NamedTuple):
    """How the loss of a text moves from one checkpoint to another, nats; NaN for a mean over no tokens."""

    before: float  # mean over all predicted tokens
    after: float
    repeated: float  # mean change of the tokens whose pair stands earlier in the text
    others: float
    n_repeated: int
    n_others: int
    at: int  # the entry whose loss falls most: of repeated tokens, of all where there are none


def token_curves(labels: Sequence[int], measured: Mapping[int, OnTokens]) -> TokenCurves:
    """Curves through the checkpoints that are measured, by index; ``labels``: of all checkpoints of the run."""
    indices = sorted(measured)
    loss, rank, tied = (np.stack([np.asarray(one) for one in column])
                        for column in zip(*(measured[i] for i in indices), strict=True))  # fmt: skip
    return TokenCurves(indices, [labels[i] for i in indices], loss, (rank == 0) & (tied == 0))


def token_dynamics(run: TrainingRun, tokens: Int[Tensor, "1 pos"], indices: Sequence[int] | None = None) -> TokenCurves:
    """One text at the checkpoints of a run, all by default; one that is not finite is left out. Kept on disk."""
    chosen = range(len(run.checkpoints)) if indices is None else indices
    measured = {index: run.tokens(index, tokens).scores for index in chosen}
    finite = {index: scores for index, scores in measured.items() if scores is not None}
    return token_curves(run.checkpoints.labels, finite)


def is_repeated(ids: Sequence[int], skip: int = 0) -> Bool[np.ndarray, " predicted"]:
    """Whether the pair of a token and the one before it stands earlier; entry p is about position p + 1.

    ``skip``: positions at the start that belong to no pair, such as a BOS.
    """
    pairs = list(pairwise(ids))
    return np.array([pair in pairs[skip:at] if at >= skip else False for at, pair in enumerate(pairs)], bool)


def common_word(ids: Sequence[int], words: Sequence[str], skip: int = 0) -> Bool[np.ndarray, " predicted"]:
    """Where the word stands that occurs most often after ``skip``, of such the first; entry p is about position p + 1.

    ``words``: the text of each token; a word is two letters or more. Nowhere in a text that has none.
    """
    counts = Counter(i for i, word in list(zip(ids, words, strict=True))[skip:] if WORD.fullmatch(word.strip()))
    (most, _), *_ = counts.most_common(1) or [(None, 0)]
    return np.array([i == most for i in ids[1:]], bool)


def acquired(curves: TokenCurves) -> Acquired:
    """When every token becomes the top guess, and from when on it stays that."""
    top, n = curves.is_top, len(curves.is_top)
    first = np.where(top.any(0), top.argmax(0), -1)
    run_length = np.cumprod(top[::-1], axis=0).sum(0)
    return Acquired(first, np.where(run_length > 0, n - run_length, -1))


def change(curves: TokenCurves, before: int, after: int, repeated: Bool[np.ndarray, " predicted"]) -> Change:
    """From the place ``before`` in the curves to the place ``after``."""
    moved = curves.loss[after] - curves.loss[before]
    candidates = np.flatnonzero(repeated) if repeated.any() else np.arange(len(moved))
    means = (float(moved[group].mean()) if group.any() else np.nan for group in (repeated, ~repeated))
    return Change(
        *(float(curves.loss[place].mean()) for place in (before, after)),
        *means,
        int(repeated.sum()),
        int((~repeated).sum()),
        int(candidates[moved[candidates].argmin()]),
    )
