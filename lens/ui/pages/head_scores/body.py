"""Which heads do what, against chance?"""

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui.models import open_model
from lens.ui.pages.head_scores import compared
from lens.ui.pages.head_scores.board import explain_grid, read_board, show_grid
from lens.ui.pages.head_scores.controls import controls
from lens.ui.pages.head_scores.one_head import show_head
from lens.ui.pages.head_scores.tabs import TABS
from lens.ui.shared.score_board import take_away
from lens.ui.widgets import show_tabs

if TYPE_CHECKING:
    from lens.ui.view import ViewState


def draw(view: "ViewState") -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    instrument = controls(view, model)
    above = st.container()
    left, right = st.columns([1.35, 1], gap="medium")
    place = left.empty()
    with above:
        board = read_board(view, model, instrument, place)
    score = board.scores[instrument.name]
    with place.container():
        figure = show_grid(view, board, score, model)

    show_head(view, model, board, score, (left, right))
    beside = st.container()
    explain_grid(view, model, board, score)
    show_tabs(view, "more", TABS, view, model, board, score)
    take_away(view, board, instrument.name, figure)
    compared.draw(view, model, beside, instrument, board)
