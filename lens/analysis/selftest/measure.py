"""The instruments as functions of a subject: each reads the strongest candidate and its control."""

import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.names import Head
from lens.analysis.ov_copying import haar
from lens.analysis.selftest.result import Reading
from lens.analysis.selftest.subject import Subject
from lens.analysis.stats import estimate, family_wise_threshold

DRAWS = 50  # of the null of compositions
ROTATIONS = 20  # of the null of copying scores, each for all heads: eigenvalues are the slowest part of the test


def head_score(subject: Subject, name: str) -> Reading:
    """The head with the largest score ``name``, and what is left of it beside its null."""
    score = subject.scores[name]
    at = _strongest(score.score.mean)
    return Reading(
        naive=float(score.score.mean[at]),
        value=float(score.effect.mean[at]),
        control=float(score.null_mean[at]),
        threshold=score.threshold,
        where=str(at),
        n=score.score.n,
        unit="sequences",
        low=_at(score.effect.low, at),
        high=_at(score.effect.high, at),
    )


@torch.no_grad()
def composition(subject: Subject) -> Reading:
    """The pair of heads with the largest K-composition (layer 0 → 1), against rotated senders and its neighbours."""
    model = subject.model
    scores = subject.tools.k_composition(model)[0, :, 1]
    sender, receiver = divmod(int(scores.argmax()), scores.shape[1])
    others = torch.cat([scores[:sender, receiver], scores[sender + 1 :, receiver]])
    null = rotated_compositions(subject)
    z = float((scores[sender, receiver] - others.mean()) / others.std())
    return Reading(
        naive=float(scores[sender, receiver]),
        value=float(scores[sender, receiver]),
        control=model.cfg.d_model**-0.5,
        threshold=max(family_wise_threshold(null), float(others.mean() + 3 * others.std())),
        where=f"0.{sender} → 1.{receiver}",
        n=DRAWS,
        unit="rotations",
        note=f"z = {z:.1f} among the {len(scores)} senders of its layer",
    )


def rotated_compositions(subject: Subject) -> Float[Tensor, "draw sender receiver"]:
    """K-compositions of layer 0 with layer 1 when what the senders write is turned at random (Haar on d_model).

    Norms survive a QR on either side, so only small cores are multiplied.
    """
    cfg, W_V, W_O = subject.model.cfg, subject.model.W_V[0], subject.model.W_O[0]
    generator = torch.Generator().manual_seed(subject.repeated.seed)
    frames = haar((DRAWS,), cfg.d_model, generator)[:, None, :, : cfg.d_head]
    sends = _unit(torch.linalg.qr(W_V).R @ torch.linalg.qr(W_O.mT).R.mT)  # [sender, d_head, d_head]
    reads = _unit(subject.model.W_K[1] @ torch.linalg.qr(subject.model.W_Q[1]).R.mT)  # [receiver, d_model, d_head]
    return torch.linalg.matrix_norm(sends[:, None] @ (frames.mT @ reads)[:, None])


def _unit(x: Float[Tensor, "*batch rows columns"]) -> Float[Tensor, "*batch rows columns"]:
    return x / torch.linalg.matrix_norm(x, keepdim=True)


def copying_score(subject: Subject) -> Reading:
    """The head whose copying score is farthest from 0."""
    found = subject.tools.copying(subject.model, ROTATIONS, subject.repeated.seed)
    at = _strongest(found.score.abs())
    value = float(found.score[at])
    return Reading(
        naive=value,
        value=value,
        control=float(found.null[:, at.layer, at.head].mean()),
        threshold=family_wise_threshold(found.null.abs()),
        where=str(at),
        n=ROTATIONS,
        unit="rotations",
    )


@torch.no_grad()
def attribution(subject: Subject) -> Reading:
    """The head that adds most to the logit difference, beside what it adds to the same on the control.

    The identity is checked as well: all parts and Δb_U sum to the difference (no planted final norm has a bias).
    """
    model, n_heads = subject.model, subject.model.cfg.n_heads
    read, errors = [], []
    for _, logits, cache in subject.runs:
        parts = subject.tools.contributions(cache, subject.direction).values
        total = parts.sum(0) + model.b_U[subject.following(1)] - model.b_U[subject.following(2)]
        errors.append(float((total - subject.difference(logits)).abs().max()))
        read.append(subject.mean(parts[: model.cfg.n_layers * n_heads]).unflatten(0, (-1, n_heads)).movedim(-1, 0))
    at = _strongest(read[0].mean(0).abs())
    return _paired(
        *(one[:, at.layer, at.head] for one in read), family_wise_threshold(read[1].abs()), str(at)
    )._replace(error=max(errors), note=f"parts sum to the logit difference within {max(errors):.1g}")


def induction_loss(subject: Subject) -> Reading:
    """How much cheaper the second copy is, at the length where it is least so; the control repeats nothing."""
    found = [subject.tools.induction_loss(subject.model, repeated) for repeated in (subject.repeated, subject.other)]
    least = min(found, key=lambda one: float(one.saving.mean))
    control = found[0].first_copy - found[0].control_second
    return Reading(
        naive=float(found[0].saving.mean),
        value=float(least.saving.mean),
        control=float(control.mean()),
        threshold=family_wise_threshold(control.abs()[:, None]),
        where="the model",
        n=found[0].saving.n,
        unit="sequences",
        low=_at(least.saving.low, ()),
        high=_at(least.saving.high, ()),
        note=" and ".join(
            f"{float(one.saving.mean):.2f} at n = {n}"
            for one, n in zip(found, (subject.repeated.n, subject.other.n), strict=True)
        ),
    )


@torch.no_grad()
def logit_lens(subject: Subject) -> Reading:
    """How much the layers add to the log-probability of the next token of the block."""
    target, gains, errors = subject.following(1), [], []
    for tokens, logits, _ in subject.runs:
        lens = subject.tools.logit_lens(subject.model, tokens, target)
        output = logits.log_softmax(-1).gather(-1, target[..., None])[..., 0]
        errors.append(float((lens.logprob[-1] - output).abs().max()))
        gains.append(subject.mean(lens.logprob))
    repeat, control = (gain[-1] - gain[0] for gain in gains)
    jumps = gains[0].mean(1).diff()
    layer = int(jumps.abs().argmax())
    found = _paired(repeat, control, family_wise_threshold(control.abs()[:, None]), f"layer {layer}")
    return found._replace(error=max(errors), note=f"last row is the output within {max(errors):.1g}")


def _paired(repeat: Float[Tensor, " batch"], control: Float[Tensor, " batch"], threshold: float, where: str) -> Reading:
    return reading(repeat, repeat - control, control, threshold, where)


def reading(
    naive: Float[Tensor, " batch"], value: Float[Tensor, " batch"], control: Float[Tensor, " batch"], threshold: float,
    where: str,
) -> Reading:  # fmt: skip
    """Means over sequences, with the interval of ``value``."""
    effect = estimate(value)
    return Reading(
        naive=float(naive.mean()),
        value=float(effect.mean),
        control=float(control.mean()),
        threshold=threshold,
        where=where,
        n=effect.n,
        unit="sequences",
        low=_at(effect.low, ()),
        high=_at(effect.high, ()),
    )


def _strongest(scores: Float[Tensor, "layer head"]) -> Head:
    return Head(*divmod(int(scores.argmax()), scores.shape[1]))


def _at(values: Tensor | None, place: tuple[int, ...]) -> float | None:
    return None if values is None else float(values[place])
