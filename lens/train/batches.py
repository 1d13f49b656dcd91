"""What the models read at every step: the same contexts in the same order for all of them, a few with a repeat."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor


class Plan(NamedTuple):
    """How the text is cut into contexts. ``repeat_share`` of them repeat one of their own passages later on."""

    batch: int
    n_ctx: int
    repeat_share: float
    shortest_repeat: int  # tokens
    data_seed: int  # of the order of contexts: the same for all shipped models
    repeat_seed: int  # of the repeats alone, so that changing them moves no context


class Contexts:
    """The batch of any step, computed from the step's number alone: a run that resumes reads what it would have read.

    A context is BOS and the next ``n_ctx - 1`` tokens of the text. Every epoch cuts the text at another offset and
    goes through the pieces in another random order.
    """

    def __init__(self, tokens: np.ndarray, plan: Plan, bos: int = 0):
        self.tokens, self.plan, self.bos = tokens, plan, bos
        self.length = plan.n_ctx - 1
        self.per_epoch = (len(tokens) - self.length) // self.length // plan.batch  # steps
        if self.per_epoch < 1:
            raise ValueError(f"{len(tokens)} tokens are too few for one batch of {plan.batch} × {plan.n_ctx}.")
        self._epoch, self._starts = -1, np.empty(0, np.int64)

    def starts(self, step: int) -> np.ndarray:
        """Where in the text each context of this step begins."""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            random = np.random.default_rng([self.plan.data_seed, epoch])
            offset = random.integers(self.length)
            self._starts = offset + self.length * random.permutation(self.per_epoch * self.plan.batch)
            self._epoch = epoch
        return self._starts[place * self.plan.batch : (place + 1) * self.plan.batch]

    def batch(self, step: int) -> Int[Tensor, "batch pos"]:
        """The contexts of this step, BOS first."""
        rows = np.stack([self.tokens[start : start + self.length] for start in self.starts(step)]).astype(np.int64)
        rows = np.concatenate([np.full((len(rows), 1), self.bos), rows], axis=1)
        return torch.from_numpy(with_repeats(rows, self.plan, step))


def with_repeats(rows: np.ndarray, plan: Plan, step: int) -> np.ndarray:
    """``rows`` in which each, with probability ``repeat_share``, has one passage copied over what stands later in it.

    The passage has ``shortest_repeat`` tokens to half a context; both copies lie anywhere that they do not touch BOS or
    each other. Only tokens of the row itself are written: nothing is random but the places.
    """
    random, rows = np.random.default_rng([plan.repeat_seed, step]), rows.copy()
    n_ctx = rows.shape[1]
    for row in rows:
        if random.random() >= plan.repeat_share:
            continue
        length = random.integers(plan.shortest_repeat, (n_ctx - 1) // 2 + 1)
        source = random.integers(1, n_ctx - 2 * length + 1)
        target = random.integers(source + length, n_ctx - length + 1)
        row[target : target + length] = row[source : source + length]
    return rows
