"""Which earlier head feeds it?"""

from typing import Any

import streamlit as st

from lens.ui.explanation import Explanation, explain
from lens.ui.models import open_model
from lens.ui.pages.composition import words
from lens.ui.pages.composition.board import Board, controls, feeders_agree, read_board, show_matrix
from lens.ui.pages.composition.tabs import TABS, show_feeders, take_away
from lens.ui.shared import repeats
from lens.ui.view import ViewState
from lens.ui.widgets import show_tabs


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    asked, offset = controls(view, model)
    board = read_board(view, model, asked, offset)
    left, right = st.columns([1.35, 1], gap="medium")
    with left:
        figure = show_matrix(view, model, board)

    with right:
        place = st.empty()
        with place.container():
            show_feeders(view, board, None)
        sample = repeats.sample(model, repeats.settings(view, model))
        with place.container():
            show_feeders(view, board, sample.scores)
    explain(view, model, explanation(model, board, sample.scores))
    prefix = show_tabs(view, "more", TABS, view, model, board, sample.scores)
    take_away(view, board, sample, figure, prefix)


def explanation(model: Any, board: Board, scores: Any) -> Explanation:
    """What is said of the matrix, and of the chosen head's feeders."""
    beside = ""
    if board.sender is not None:
        beside = words.feeders_notice(board.found, board.receiver, scores, feeders_agree(model, board, scores))
    return Explanation(
        words.notice(board.found),
        words.MISREADING,
        asides=(("Beside activations", beside), ("In this model", " ".join(board.found.notes))),
        measured=(("Previous-token scores", f"Computed on {scores.source}."),),
        formula=words.FORMULA,
        where=words.FORMULA_WHERE,
    )
