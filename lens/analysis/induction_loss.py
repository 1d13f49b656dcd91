"""How much easier a sequence of random tokens becomes the second time: the loss at every position."""

from math import log
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.loss import next_token_stats
from lens.analysis.random_tokens import RepeatedTokens
from lens.analysis.stats import Estimate, estimate
from lens.analysis.streaming import Progress, silent
from lens.model import Transformer

DEFINITION = (
    "Mean loss (nats) on tokens 2 … n of the second copy, beside the same tokens of the first copy. The first token of "
    "a copy is left out of both: nothing announces that the repeat begins. Control: as many other random tokens."
)


class InductionLoss(NamedTuple):
    """Loss on repeated random tokens. Entry t of a by-position axis is about the token at position ``positions[t]``."""

    positions: list[int]  # of the predicted tokens, zero-based, BOS counted
    repeated: Estimate  # [predicted], nats
    control: Estimate  # [predicted], nats
    first_copy: Float[Tensor, " sequence"]  # nats, tokens 2 … n of the first copy
    second_copy: Float[Tensor, " sequence"]  # nats, the same tokens the second time
    control_second: Float[Tensor, " sequence"]  # nats, tokens 2 … n of the control's second block
    first: Estimate  # mean over sequences of first_copy
    second: Estimate
    saving: Estimate  # first_copy - second_copy, paired
    ln_set: float  # loss of guessing evenly among all ids the tokens were drawn from
    ln_n: float  # loss of guessing evenly among the n tokens of the first copy
    definition: str


def loss_by_position(model: Transformer, repeated: RepeatedTokens, progress: Progress = silent) -> InductionLoss:
    """Loss at every position of the repeated sequences and of their control, with intervals over sequences.

    Reference lines: ``ln_set`` and ``ln_n``. A model that copies perfectly has a second-copy loss of 0.
    """
    n, bos, n_seqs = repeated.n, repeated.bos, len(repeated.tokens)
    both = torch.cat([repeated.tokens, repeated.control])
    stats = next_token_stats(model, both, top_k=1, progress=progress)
    loss, control = stats.loss[:, :-1].split(n_seqs)
    first = loss[:, bos : bos + n - 1].mean(1)  # the prediction at position p is about p + 1
    start = bos + n
    second = loss[:, start : start + n - 1].mean(1)
    return InductionLoss(
        positions=list(range(1, bos + 2 * n)),
        repeated=estimate(loss, seed=repeated.seed),
        control=estimate(control, seed=repeated.seed),
        first_copy=first,
        second_copy=second,
        control_second=control[:, start : start + n - 1].mean(1),
        first=estimate(first, seed=repeated.seed),
        second=estimate(second, seed=repeated.seed),
        saving=estimate(first - second, seed=repeated.seed),
        ln_set=log(repeated.set_size),
        ln_n=log(n),
        definition=DEFINITION,
    )
