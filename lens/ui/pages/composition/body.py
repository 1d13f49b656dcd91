"""Which earlier head feeds it?"""

import streamlit as st

from lens.analysis.rank_correlation import rank_correlation
from lens.analysis.score_results import HeadScores
from lens.ui.calls import analyse
from lens.ui.explanation import Explanation, explain
from lens.ui.models import open_model
from lens.ui.pages.composition import compared, words
from lens.ui.pages.composition.board import Board, read_board, show_matrix
from lens.ui.pages.composition.tabs import TABS, draw_export, show_feeders
from lens.ui.shared import repeats
from lens.ui.view import ViewState
from lens.ui.widgets import show_tabs


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    board = read_board(view, model)
    left, right = st.columns([1.35, 1], gap="medium")
    with left:
        figure = show_matrix(view, board)
    with right:
        place, chosen = st.empty(), repeats.settings(view, model)
        if not repeats.is_read(model, chosen):
            with place.container():
                show_feeders(view, board, None)
        sample = repeats.sample(model, chosen)
        with place.container():
            show_feeders(view, board, sample.scores)
    beside = st.container()
    explain(view, model, explanation(board, sample.scores))
    prefix = show_tabs(view, "more", TABS, view, board, sample.scores)
    draw_export(view, board, sample, figure, prefix)
    compared.draw(view, model, beside, board.result)


def explanation(board: Board, scores: HeadScores) -> Explanation:
    """What is said of the matrix, and of the chosen head's feeders."""
    beside, result, receiver = "", board.result, board.receiver
    if board.sender is not None:
        passed = result.scores[:, :, receiver.layer, receiver.head]
        agreement = analyse(rank_correlation, passed, scores["previous"].score.mean, board.model.cfg.group_size)
        beside = words.feeders_notice(result, receiver, scores, agreement)
    return Explanation(
        words.notice(result),
        words.MISREADING,
        asides=(("Beside activations", beside), ("In this model", " ".join(result.notes))),
        measured=(("Previous-token scores", f"Computed on {scores.source}."),),
        formula=words.FORMULA,
        where=words.FORMULA_WHERE,
    )
