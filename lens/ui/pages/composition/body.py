"""Which earlier head feeds it?"""

import streamlit as st

from lens.ui import parts
from lens.ui.models import open_model
from lens.ui.pages.composition import board as page
from lens.ui.pages.composition import words
from lens.ui.pages.composition.board import controls, read_board, show_matrix
from lens.ui.pages.composition.tabs import show_feeders, show_more, take_away
from lens.ui.shared import repeats
from lens.ui.view import ViewState


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
    parts.notice(words.notice(board.found))
    if board.sender is not None:
        agreement = page.feeders_agree(model, board, sample.scores)
        parts.aside("Beside activations", words.feeders_notice(board.found, board.receiver, sample.scores, agreement))
    if board.found.notes:
        parts.aside("In this model", " ".join(board.found.notes))
    parts.misreading(words.MISREADING)
    parts.aside("Previous-token scores", f"Computed on {sample.scores.source}.")
    parts.provenance(view, model)
    parts.formula(words.FORMULA, words.FORMULA_WHERE)
    more = show_more(view, model, board, sample.scores)
    take_away(view, board, sample, figure, more)
