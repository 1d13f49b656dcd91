"""Which earlier head feeds it?"""

import streamlit as st

from lens.ui import parts
from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.pieces import composition as page
from lens.ui.pieces import composition_words as words
from lens.ui.pieces import repeats
from lens.ui.pieces.composition import OPTIONS, controls, read_board, show_matrix

with frame("Composition", question="Which earlier head feeds it?", options=OPTIONS) as view:
    model = open_model(view)
    asked, offset = controls(view, model)
    board = read_board(view, model, asked, offset)
    left, right = st.columns([1.35, 1], gap="medium")
    with left:
        figure = show_matrix(view, model, board)
    from lens.ui.pieces.composition_views import show_feeders, show_more, take_away

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
