"""The Head scores page: which instrument, and what it is measured on. Imports no torch."""

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui.limits import limits
from lens.ui.pages.head_scores import MEASURES, ON, SAMPLES
from lens.ui.shared import instrument_list, repeats
from lens.ui.widgets import number, segmented

if TYPE_CHECKING:
    from lens.analysis.instruments.instrument import Instrument, SampleName
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

LONGEST = 256  # tokens of a chapter
CHAPTERS = 16
ON_HELP = (
    "**Random:** random tokens that repeat, [BOS] r₁…r_n r₁…r_n, on which only a head's own habit can score, with a "
    "paired control whose second half is n other tokens. **Prompt:** the text above; a score that needs repeated "
    f"tokens is computed only if it has some, and one text gives no interval. **Held-out text:** the beginnings of "
    f"{CHAPTERS} chapters that come with Lens. **A task:** pairs of prompts; Random is then the loss of the repeat."
)
MEASURES_HELP = (
    "The score, with its control in the hover label, or the score minus the control of the same sequences: what "
    "the repetition adds."
)
SCORE_HELP = (
    "What is measured, under the link of the chain that it is evidence for; the definition stands above the grid. What "
    "takes long is measured on a click."
)


def controls(view: "ViewState", model: "HookedTransformer") -> "Instrument":
    """The row of widgets; returns the instrument."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="scores-controls"):
        instrument = instrument_list.choose(view, "Score", SCORE_HELP)
        offered = tuple(on for on, sample in SAMPLES.items() if sample in instrument.needs.samples)
        if len(offered) > 1:
            segmented(view, "on", offered, "Scored on", ON_HELP, format_func=ON.get)
        if instrument.pattern is not None:
            segmented(view, "shown", tuple(MEASURES), "Shown", MEASURES_HELP, format_func=MEASURES.get)
        if sample_name(view, instrument) == "repeats":
            bounds = repeats.block_bounds(model, bos=True)
            number(view, "n", bounds, "n", "Random tokens before they repeat; 2n + 1 tokens with BOS.", width=100)
            enough = "Random sequences; their number is the n of intervals and threshold. Intervals need 16."
            number(view, "seqs", (1, limits().sequences), "Sequences", enough, width=100)
            number(view, "seed", (0, 2**31 - 1), "Seed", "The same seed draws the same tokens.", width=100)
    return instrument


def sample_name(view: "ViewState", instrument: "Instrument") -> "SampleName":
    """What the instrument is measured on: the view's choice where it is one of its samples."""
    chosen = SAMPLES[view["on"]]
    if chosen in instrument.needs.samples:
        return chosen
    return "repeats" if "repeats" in instrument.needs.samples else instrument.needs.samples[0]
