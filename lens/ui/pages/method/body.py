"""Do the instruments find a planted circuit and reject a decoy? Imports no torch before the page says what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui.pages.method import STYLE

if TYPE_CHECKING:
    from lens.ui.view import ViewState

INTRODUCTION = (
    "An instrument that finds something everywhere is worth nothing. Here every instrument of Lens is put to models "
    "whose weights were written by hand, so that the right answer is known: a circuit that is there, imitations that "
    "are not, and random weights. The same runs without the app as `python -m lens.selftest`."
)


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    st.html(STYLE)
    st.markdown(INTRODUCTION)
    place, below = st.empty(), st.container()
    # Only now, so that a visitor reads what the page does while torch is imported.
    from lens.ui.pages.method import card
    from lens.ui.widgets import show_tabs

    with below:
        seqs, seed = card.controls(view)
    scorecard = card.read_rows(view, seqs, seed, place)
    rows = scorecard.rows
    card.draw_card(view, rows, place)
    card.draw_measured(scorecard)
    card.draw_row(view, rows)
    show_tabs(view, "more", card.TABS, view, rows)
    card.draw_export(view, rows)
