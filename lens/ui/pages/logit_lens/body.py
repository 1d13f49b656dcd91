"""When does the answer appear?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui import parts
from lens.ui.models import open_model, read_prompt
from lens.ui.outcome import Explanation, Outcome, conclude
from lens.ui.pages.logit_lens import LONGEST, compared, words
from lens.ui.pages.logit_lens import controls as choose
from lens.ui.pages.logit_lens.fit import draw_quality, ready
from lens.ui.pages.logit_lens.position import draw_numbers, draw_paths
from lens.ui.pages.logit_lens.reading import export_of, read_text, read_tokens
from lens.ui.pages.logit_lens.table import draw_table

if TYPE_CHECKING:
    from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    prompt = read_prompt(view, model, LONGEST)
    chosen = choose.choose(view, model)
    if chosen.fitted and not ready(model):
        chosen = chosen._replace(fitted=False)
    with st.container():  # keeps what follows in its place, whether or not a progress bar was drawn
        lens = read_text(model, prompt, chosen)
    if lens is None:
        parts.provenance(view, model)
        return
    place = choose.place_in(view, lens)
    html = draw_table(view, model, lens, place)
    beside = st.container()
    answer = choose.choose_answer(view, model)
    with st.container():
        followed = read_tokens(model, prompt, lens, place, answer)
    figure = draw_paths(model, lens, place, followed, view["number"])
    draw_numbers(view, model, lens, place, followed)
    quality = draw_quality(model) if chosen.fitted else None
    notice = [words.at_position(lens, place, followed), words.over_positions(lens)]
    notice += [] if quality is None else [words.quality(quality)]
    explanation = Explanation(
        tuple(filter(None, notice)),
        words.FITTED_MISREADING if chosen.fitted else words.MISREADING,
        asides=(("Read", words.source(lens)),),
        measured=(("Sample", words.sample(lens)), *(() if quality is None else (("Fit", words.fit(quality)),))),
        formula=words.FITTED_FORMULA if chosen.fitted else words.FORMULA,
        where=words.WHERE,
    )
    conclude(view, model, Outcome(explanation, export_of(lens, followed, html, figure)))
    compared.draw(view, model, beside, lens)
