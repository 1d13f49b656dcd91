"""How much easier a sequence of random tokens becomes the second time: the loss at every position."""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.loss import next_token_stats
from lens.analysis.random_tokens import RepeatedTokens, repeated_tokens
from lens.analysis.stats import Estimate, estimate
from lens.analysis.verdicts import Verdict, rounding_of
from lens.arrays import as_tensor
from lens.hooked import HookedTransformer
from lens.model import Transformer
from lens.progress import Progress, silent

DEFINITION = (
    "Mean loss (nats) on tokens 2 … n of the second copy, beside the same tokens of the first copy. The first token of "
    "a copy is left out of both: nothing announces that the repeat begins. Control: as many other random tokens."
)

LEAST_SAVING = 0.01  # nats a token: less is nothing, whatever the interval says


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
    over_control: Estimate  # control_second - second_copy: other tokens in the same places
    ln_set: float  # loss of guessing evenly among all ids the tokens were drawn from
    ln_n: float  # loss of guessing evenly among the n tokens of the first copy
    definition: str


class Repetition(NamedTuple):
    """What a model makes of a repetition."""

    verdict: Verdict
    control: float  # nats a token that other tokens in the second copy's place lose, mean
    needs_order: bool  # whether the second copy loses less than ln n: which token follows which must be known


class RepeatLosses(NamedTuple):
    """Loss on each repeated sequence and on its control, nats. Entry t is about the token at position t + 1."""

    repeated: Float[Tensor, "sequence predicted"]
    control: Float[Tensor, "sequence predicted"]


def loss_by_position(model: Transformer, repeated: RepeatedTokens, progress: Progress = silent) -> InductionLoss:
    """Loss at every position of the repeated sequences and of their control, with intervals over sequences.

    Reference lines: ``ln_set`` and ``ln_n``. A model that copies perfectly has a second-copy loss of 0.
    """
    losses = repeat_losses(model, repeated, progress)
    return summarise_repeats(losses, repeated.n, repeated.bos, repeated.seed, repeated.set_size)


def repeat_losses(model: Transformer, repeated: RepeatedTokens, progress: Progress = silent) -> RepeatLosses:
    """What :func:`summarise_repeats` summarises; sequences are independent, so they can be read in parts."""
    both = torch.cat([repeated.tokens, repeated.control])
    stats = next_token_stats(model, both, top_k=1, progress=progress)
    return RepeatLosses(*stats.loss[:, :-1].split(len(repeated.tokens)))


def repeat_losses_of(
    rows: tuple[int, int], model: HookedTransformer, n: int, seed: int, prepend_bos: bool
) -> RepeatLosses:
    """:func:`repeat_losses` of sequences ``rows`` = (first, last + 1) of ``repeated_tokens`` with these settings."""
    start, stop = rows
    all_of_them = repeated_tokens(model, n, stop, seed, prepend_bos)
    part = {"tokens": all_of_them.tokens[start:], "control": all_of_them.control[start:]}
    return repeat_losses(model, all_of_them._replace(**part))


def summarise_repeats(losses: RepeatLosses, n: int, bos: int, seed: int, set_size: int) -> InductionLoss:
    """Means with intervals over sequences, by position and by copy; the numbers are those of ``RepeatedTokens``."""
    loss, control = losses
    first = loss[:, bos : bos + n - 1].mean(1)  # the prediction at position p is about p + 1
    start = bos + n
    second, other = (x[:, start : start + n - 1].mean(1) for x in (loss, control))
    return InductionLoss(
        positions=list(range(1, bos + 2 * n)),
        repeated=estimate(loss, seed=seed),
        control=estimate(control, seed=seed),
        first_copy=first,
        second_copy=second,
        control_second=other,
        first=estimate(first, seed=seed),
        second=estimate(second, seed=seed),
        saving=estimate(first - second, seed=seed),
        over_control=estimate(other - second, seed=seed),
        ln_set=log(set_size),
        ln_n=log(n),
        definition=DEFINITION,
    )


def join_losses(parts: Sequence[RepeatLosses]) -> RepeatLosses:
    """Consecutive sequences as one."""
    return RepeatLosses(*(torch.cat([as_tensor(one) for one in column]) for column in zip(*parts, strict=True)))


def repetition(found: InductionLoss) -> Repetition:
    """The verdict on the repetition, and whether knowing which tokens occurred would explain as much."""
    verdict = uses_repetition(found.saving, found.over_control)
    return Repetition(verdict, float(found.control_second.mean()), float(found.second.mean) < found.ln_n)


@torch.no_grad()
def first_copy_losses(model: Transformer, repeated: RepeatedTokens) -> Float[Tensor, " sequence"]:
    """Mean loss on tokens 2 … n of the first copy, which needs the first copy alone."""
    whole = as_tensor(repeated.tokens)[:, : repeated.bos + repeated.n]
    return next_token_stats(model, whole, top_k=1).loss[:, repeated.bos : -1].mean(1)


def uses_repetition(saving: Estimate, over_control: Estimate) -> Verdict:
    """Whether a model makes use of what repeats: the second copy costs less than the first *and* than the control.

    ``saving`` is the first copy's loss minus the second's, ``over_control`` that of other tokens in the second's place,
    or of the same tokens after others, minus the second's; nats. Both intervals must lie above ``LEAST_SAVING``.
    """
    if saving.low is None or over_control.low is None:
        return Verdict("unknown", saving.note or over_control.note)
    numbers = [(float(one.mean), float(one.low), float(one.high)) for one in (saving, over_control)]
    least = max(LEAST_SAVING, rounding_of(*(mean for mean, _, _ in numbers)))
    if all(low > least for _, low, _ in numbers):
        return Verdict("found", "saves nats over the first copy and over the control")
    (first, first_low, first_high), (_, _, high) = numbers
    if first_high < -least:
        by = f"{-first:.2f} [{-first_high:.2f}, {-first_low:.2f}]"
        worse = f"is worse on the second copy than on the first, by {by} nats"
        if high < -least:
            return Verdict("none", f"{worse}, and worse than on the control: the repetition hurts")
        return Verdict("none", f"{worse}; the control in its place is no easier, so the place makes it hard")
    what = "first copy" if first_low <= least else "control"
    return Verdict("none", f"is not seen to use the repetition: what it saves over the {what} may be nothing")
