"""Which heads do what, against chance?"""

import streamlit as st

from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.pieces.head_scores import OPTIONS, controls, explain, read_board, show_grid

with frame("Head scores", question="Which heads do what, against chance?", options=OPTIONS) as view:
    model = open_model(view)
    name = controls(view, model)
    left, right = st.columns([1.35, 1], gap="medium")
    place = left.empty()
    board = read_board(view, model, name, place)
    score = board.scores[name]
    with place.container():
        figure = show_grid(view, score, model)
    from lens.ui.pieces.head_scores_head import show_head
    from lens.ui.pieces.head_scores_more import show_more, take_away

    show_head(view, model, board, name, (left, right))
    explain(view, model, score, on_text=board.sample is None)
    show_more(view, model, board, name)
    take_away(view, board, name, figure)
