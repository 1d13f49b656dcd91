"""The fitted decoder: made once for a model, after a click, and how well it reads text that it was not fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from lens.analysis.answer.fitted_lens import (
    DEFINITION,
    LENGTH,
    FitQuality,
    fit_is_kept,
    fit_operations,
    fit_quality,
)
from lens.figures.lines import Axis, Line, lines
from lens.texts import held_out
from lens.ui import parts
from lens.ui.calls import analyse, call_key, is_kept
from lens.ui.estimate import forward_seconds, operation_seconds
from lens.ui.pages.logit_lens.position import X_MID, X
from lens.ui.waiting import started

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer

ASK = 5.0  # estimated seconds above which a fit waits for a click
OFFER = (
    "The fitted decoder of this model is not made yet: one affine map per row, mid-layer rows included, from half of "
    "the shipped text. It is kept on this machine. Until then the raw decoder is drawn."
)


def ready(model: HookedTransformer) -> bool:
    """Whether there is a fit; a long one waits for a click, and is made now once that was given."""
    model.needs_tokenizer()
    if is_kept(fit_quality, model):
        return True
    seconds = forward_seconds(model, len(held_out()) * LENGTH, False) + operation_seconds(
        model, fit_operations(model.cfg)
    )
    done = seconds <= ASK or fit_is_kept(model)
    if not started(call_key(fit_quality, (model,), {}), seconds, OFFER, done):
        return False
    with st.container():
        analyse(fit_quality, model, progress=True)
    return True


def draw_quality(model: HookedTransformer) -> FitQuality:
    """KL to the output by layer on the half that was not fitted, raw and fitted, with intervals."""
    quality = analyse(fit_quality, model, progress=True)
    x = np.array([row.layer - 0.5 * row.mid for row in quality.rows], np.float32)
    curves = [
        Line(name, of.mean, of.low, of.high, x=x) for name, of in (("fitted", quality.kl), ("raw", quality.raw_kl))
    ]
    axis = Axis(X_MID if any(row.mid for row in quality.rows) else X, "KL to the output (nats)")
    title = "Fitted and raw decoder on text that was not fitted"
    parts.chart(lines(curves, axis, title=title, definition=DEFINITION), f"{title}, by layer", key="logit_lens:fit")
    return quality
