"""The instrument that dates: a training run whose one change, and its moment, are planted."""

import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from lens.analysis.checkpoint import OnRepeats
from lens.analysis.dynamics import Curves, Places, head_curve, strongest, summarise
from lens.analysis.names import Head
from lens.analysis.phase_change import Birth, rises
from lens.analysis.selftest.result import Reading
from lens.hooked import HookedTransformer

LABELS = (100, 200, 400, 800, 1600, 3200)  # steps of the planted run
BEFORE, AFTER = 2, 3  # the checkpoints between which layer 1 learns where to look


class Dated(NamedTuple):
    """Curves of a run with the window of its phase change, and the birth of the head that ends strongest."""

    curves: Curves
    head: Head
    birth: Birth


def dated(labels: Sequence[int], repeats: Mapping[int, OnRepeats]) -> Dated:
    """What the Training dynamics page says of a run with these checkpoints."""
    curves = summarise(labels, repeats, {}, Places())
    head = strongest(curves)
    return Dated(curves, head, head_curve(repeats, head).birth)


def untrained(model: HookedTransformer) -> HookedTransformer:
    """``model`` before its planted change: every head of layer 1 looks everywhere alike, as all its queries are 0."""
    early = copy.deepcopy(model)
    attn = early.blocks[1].attn
    for weight in (attn.W_Q, attn.b_Q):
        weight.data.zero_()
    return early


@torch.no_grad()
def phase_change(subject) -> Reading:  # a Subject, which imports this module
    """The steepest rise of the best head's score, 0 if no window is drawn for it; its date is checked as well."""
    stages = [subject.tools.checkpoint(one, subject.repeated) for one in (untrained(subject.model), subject.model)]
    repeats = {i: stages[i > BEFORE] for i in range(len(LABELS))}
    found = subject.tools.dated(LABELS, repeats)
    window, birth = found.curves.window, found.birth
    drawn = window.first is not None
    start, stop, doublings = rises(LABELS)
    best = found.curves.induction.flatten(1).amax(1)
    error = 0.0
    if drawn:
        said = (window.first, window.last, birth.last_below, birth.first_above)
        told = (BEFORE, AFTER, BEFORE, AFTER)
        error = float(sum(one != other for one, other in zip(said, told, strict=True)))
    return Reading(
        naive=float(((best[stop] - best[start]) / doublings).max()),
        value=window.slope if drawn else 0.0,
        control=window.null_slope,
        threshold=window.null_slope,
        where=str(found.head),
        n=len(LABELS),
        unit="checkpoints",
        error=error,
        note=f"steps {LABELS[window.first]} to {LABELS[window.last]}" if drawn else window.reason,
    )
