"""Curves over training: head scores and losses at every checkpoint of one run, on the same tokens throughout."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lens.analysis.checkpoint import OnInstrument, OnRepeats, OnTexts, Setting
from lens.analysis.names import Head
from lens.analysis.phase_change import BORN_AT, Birth, Window, birth, phase_window
from lens.analysis.stats import Estimate, estimate, family_wise_threshold
from lens.analysis.training_run import Measured, TrainingRun
from lens.analysis.verdicts import too_few
from lens.finite import NotFinite
from lens.progress import Progress, silent
from lens.texts import BOOKS, UNIT

PREFIX = (
    "Prefix-matching score minus its control: the attention from a token of the second copy of repeated random tokens "
    "to the token after its first occurrence, minus the attention to the same place where other tokens follow."
)
PREVIOUS = (
    "Mean attention to the token before, A[q, q−1] over q ≥ 6, on random tokens. Null: the attention to exactly 2, 3, "
    "4 or 5 tokens back over the same queries; 95th percentile over sequences of the largest of any distance and head."
)
REPEATS = (
    "Loss on tokens 2 … n of the second copy of n random tokens, beside the loss on the same tokens of the first copy, "
    "which nothing predicts."
)
HELD_OUT = (
    "Mean loss on the beginnings of held-out chapters, each for itself with its own BOS; mean over chapters. They are "
    f"chapters of {len(BOOKS)} novels: their interval is about such chapters, not about text in general."
)
IN_CONTEXT = (
    "In-context learning score: loss at a late token minus loss at an early token, on the same held-out texts; below 0 "
    "where more context helps. Olsson et al. 2022 take tokens 500 and 50; a context of 256 holds 200 and 20."
)


class Places(NamedTuple):
    """Which predictions the in-context learning score compares: 0-based, BOS is position 0.

    ``around`` widens each to a mean over that many predictions on both sides; 0 is the single token.
    """

    late: int = 200
    early: int = 20
    around: int = 10


class Curves(NamedTuple):
    """One run. Every axis ``checkpoint`` is about the checkpoints ``indices``, ascending; nats and probabilities."""

    indices: list[int]
    labels: list[int]  # of these checkpoints
    induction: Float[Tensor, "checkpoint layer head"]  # prefix matching, not minus anything
    control: Float[Tensor, "checkpoint layer head"]
    null: Float[Tensor, " checkpoint"]  # 95th percentile over sequences of the largest control of any head; NaN for few
    previous: Float[Tensor, "checkpoint layer head"]
    previous_null: Float[Tensor, " checkpoint"]  # the same, of the largest attention of any head to 2, 3, 4 or 5 back
    first_copy: Estimate  # [checkpoint]
    second_copy: Estimate  # [checkpoint]
    held_out: Estimate | None  # [checkpoint]; None while no text is read, or for a model that reads none
    in_context: Estimate | None  # [checkpoint]; None where no text is long enough, too
    n_tokens: int  # predicted on held-out texts
    window: Window
    lost: tuple[str, ...] = ()  # why a checkpoint that was asked for is not here: a sentence each

    @property
    def effect(self) -> Float[Tensor, "checkpoint layer head"]:
        """Prefix-matching score minus control."""
        return self.induction - self.control


class HeadCurve(NamedTuple):
    """One head over training, with intervals over sequences, and when it was born."""

    effect: Estimate  # [checkpoint], prefix matching minus control
    previous: Estimate  # [checkpoint]
    birth: Birth


def summarise(
    labels: Sequence[int], repeats: Mapping[int, OnRepeats], texts: Mapping[int, OnTexts], places: Places, seed: int = 0
) -> Curves:
    """Curves through the checkpoints that are in ``repeats`` so far, by index; ``texts`` may hold fewer.

    ``labels``: of all checkpoints of the run. The losses on texts are curves only when every index has them.
    """
    indices = sorted(repeats)
    each = OnRepeats(*(torch.stack(column) for column in zip(*(repeats[i] for i in indices), strict=True)))
    here = [labels[i] for i in indices]
    induction, control = each.induction.mean(1), each.induction_control.mean(1)
    null = thresholds(each.induction_control)
    held_out = in_context = None
    n_tokens = 0
    if texts and set(indices) <= set(texts):
        loss = torch.stack([texts[i].loss for i in indices])
        n_tokens = int(loss[0].isfinite().sum())
        held_out = estimate(loss.nanmean(2).T, UNIT, seed)
        in_context = in_context_score(loss, places, seed)
    return Curves(
        indices=indices,
        labels=here,
        induction=induction,
        control=control,
        null=null,
        previous=each.previous.mean(1),
        previous_null=thresholds(each.previous_null),
        first_copy=estimate(each.first_copy.T, seed=seed),
        second_copy=estimate(each.second_copy.T, seed=seed),
        held_out=held_out,
        in_context=in_context,
        n_tokens=n_tokens,
        window=phase_window(here, induction - control, each.induction_control, float(null[-1])),
    )


def in_context_score(
    loss: Float[Tensor, "checkpoint text predicted"], places: Places, seed: int = 0
) -> Estimate | None:
    """Late minus early loss per text, then the mean over the texts that are long enough; None if none is."""
    late, early = (_mean_around(loss, place, places.around) for place in (places.late, places.early))
    score = (late - early).T  # [text, checkpoint]
    long_enough = score.isfinite().all(1)
    return estimate(score[long_enough], UNIT, seed) if long_enough.any() else None


def head_curve(repeats: Mapping[int, OnRepeats], head: Head, threshold: float = BORN_AT, seed: int = 0) -> HeadCurve:
    """One head at the checkpoints in ``repeats``, in their order; its ``birth`` speaks of places in that order."""
    indices = sorted(repeats)
    induction, control, previous = (
        torch.stack([getattr(repeats[i], name)[:, head.layer, head.head] for i in indices], 1)
        for name in ("induction", "induction_control", "previous")
    )
    null = thresholds(torch.stack([repeats[i].induction_control for i in indices]))
    effect = estimate(induction - control, seed=seed)
    return HeadCurve(effect, estimate(previous, seed=seed), birth(effect.mean, threshold, null, effect.n))


def strongest(curves: Curves) -> Head:
    """The head with the largest score minus control at the last of the checkpoints."""
    return heads_in_order(curves.effect)[0]


def strongest_previous(curves: Curves) -> Head:
    """The head that looks most at the token before at the last of the checkpoints."""
    return heads_in_order(curves.previous)[0]


def heads_in_order(scores: Float[Tensor, "checkpoint layer head"], count: int | None = None) -> list[Head]:
    """The heads by their score at the last checkpoint, the largest first; the ``count`` first of them."""
    last = np.asarray(scores[-1])
    order = np.argsort(-last, axis=None, kind="stable")[:count]
    return [Head(*divmod(int(place), last.shape[1])) for place in order]


def dynamics(
    run: TrainingRun,
    setting: Setting | None = None,
    places: Places | None = None,
    indices: Sequence[int] | None = None,
    progress: Progress = silent,
) -> Curves:
    """All curves of a run; results are kept on disk, so a second call reads them.

    ``indices``: of the checkpoints, all by default; one that is NaN or infinite is named in ``lost``. ``progress`` may
    raise to stop; what is done is kept.
    """
    setting, places = setting or Setting(), places or Places()
    labels = run.checkpoints.labels
    chosen = range(len(labels)) if indices is None else indices
    found: dict[int, Measured] = {}
    for done, index in enumerate(chosen):
        progress(done / len(chosen), f"checkpoint {done + 1} of {len(chosen)}")
        found[index] = run.measure(index, setting)
    lost = tuple(one.lost for one in found.values() if one.lost)
    repeats = {index: one.repeats for index, one in found.items() if not one.lost}
    if not repeats:
        raise NotFinite(f"No checkpoint of {run.checkpoints.entry.alias} can be measured. {lost[0]}")
    texts = {index: one.texts for index, one in found.items() if one.texts is not None}
    return summarise(labels, repeats, texts, places, setting.seed)._replace(lost=lost)


class InstrumentCurves(NamedTuple):
    """One instrument over a run, in its unit; NaN where a checkpoint has no such number, interval or threshold."""

    indices: list[int]
    labels: list[int]  # of these checkpoints
    value: Float[Tensor, "checkpoint layer head"]
    low: Float[Tensor, "checkpoint layer head"]
    high: Float[Tensor, "checkpoint layer head"]
    null: Float[Tensor, "checkpoint layer head"]
    threshold: Float[Tensor, " checkpoint"]
    above: Float[Tensor, "checkpoint layer head"]  # 1: beyond chance, 0: not


def instrument_curves(labels: Sequence[int], measured: Mapping[int, OnInstrument]) -> InstrumentCurves:
    """Curves through the checkpoints that are measured so far, by index; ``labels``: of all checkpoints of the run."""
    indices = sorted(measured)
    columns = zip(*(measured[index] for index in indices), strict=True)
    return InstrumentCurves(indices, [labels[index] for index in indices], *map(torch.stack, columns))


class InstrumentEnd(NamedTuple):
    """Where one instrument ends over a run. Places are those in its curves."""

    head: Head  # that stands out most at the last checkpoint
    value: float
    n_above: int | None  # checkpoints at which that head is beyond chance; None where no sample can say
    first_above: int | None


def instrument_end(curves: InstrumentCurves, head: Head | None = None, by_size: bool = False) -> InstrumentEnd:
    """The head that stands out most at the end, or ``head``, and since when it is beyond chance.

    ``by_size``: of a two-sided number. ValueError where no head has a number at the last checkpoint.
    """
    last = np.asarray(curves.value[-1])
    if np.isnan(last).all():
        raise ValueError("instrument_end: no head has a number at the last checkpoint; nothing can stand out.")
    best = heads_in_order(np.abs(last)[None] if by_size else last[None])[0] if head is None else head
    above = np.asarray(curves.above)[:, best.layer, best.head]
    places = np.flatnonzero(above == 1)
    first = int(places[0]) if places.size else None
    return InstrumentEnd(best, float(last[best]), None if np.isnan(above).all() else places.size, first)


def instrument_dynamics(
    run: TrainingRun,
    name: str,
    setting: Setting | None = None,
    indices: Sequence[int] | None = None,
    progress: Progress = silent,
) -> InstrumentCurves:
    """Any instrument at the checkpoints of a run, all by default; results are kept on disk. ``progress`` may raise."""
    chosen = range(len(run.checkpoints)) if indices is None else indices
    measured = {}
    for done, index in enumerate(chosen):
        progress(done / len(chosen), f"checkpoint {done + 1} of {len(chosen)}")
        measured[index] = run.instrument(index, name, setting or Setting())
    return instrument_curves(run.checkpoints.labels, measured)


def coarse_first(n: int) -> list[int]:
    """0 … n−1 in an order whose beginnings are spread over the whole: a curve that fills shows its shape early.

    First the two ends, then the multiples of the largest power of two, and so on down to the odd numbers.
    """
    return sorted(range(n), key=lambda i: (i not in (0, n - 1), -(i & -i), i))


def thresholds(control: Float[Tensor, "checkpoint sequence layer head"]) -> Float[Tensor, " checkpoint"]:
    """NaN below 16 sequences, which give no threshold."""
    if too_few(control.shape[1]):
        return torch.full((len(control),), torch.nan)
    return torch.tensor([family_wise_threshold(one) for one in control])


def _mean_around(loss: Tensor, place: int, around: int) -> Float[Tensor, "checkpoint text"]:
    """Mean over the predictions ``place`` ± ``around``; NaN for a text that ends before the last of them."""
    start, stop = place - around, place + around + 1
    if start < 0 or stop > loss.shape[2]:
        return torch.full(loss.shape[:2], torch.nan)
    return loss[:, :, start:stop].mean(2)
