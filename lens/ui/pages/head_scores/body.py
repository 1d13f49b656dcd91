"""Which heads do what, against chance?"""

import streamlit as st

from lens.ui.models import open_model
from lens.ui.pages.head_scores.board import controls, explain_grid, read_board, show_grid
from lens.ui.pages.head_scores.one_head import show_head
from lens.ui.pages.head_scores.tabs import TABS
from lens.ui.shared.score_board import take_away
from lens.ui.view import ViewState
from lens.ui.widgets import show_tabs


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    name = controls(view, model)
    left, right = st.columns([1.35, 1], gap="medium")
    place = left.empty()
    board = read_board(view, model, name, place)
    score = board.scores[name]
    with place.container():
        figure = show_grid(view, score, model)

    show_head(view, model, board, name, (left, right))
    explain_grid(view, model, score, on_text=board.sample is None)
    show_tabs(view, "more", TABS, view, model, board, name)
    take_away(view, board, name, figure)
