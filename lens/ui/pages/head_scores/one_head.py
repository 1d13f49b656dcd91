"""One head's attention on a sequence it was scored on, with the cells that the score averages."""

from typing import Any

import streamlit as st

from lens.analysis.names import Head
from lens.figures.cells import Marks
from lens.figures.fitted import small_matrix
from lens.figures.matrix import View, matrix
from lens.figures.theme import number as said
from lens.ui import parts
from lens.ui.labels import short_labels, token_labels
from lens.ui.pages.head_scores import PAIR
from lens.ui.shared import heads
from lens.ui.shared import score_words as scores
from lens.ui.shared.patterns import attention, marked
from lens.ui.shared.score_board import Board
from lens.ui.view import ViewState
from lens.ui.widgets import number, segmented

WIDTH = 390  # pixels of the matrix's column on the smallest screen
SIDE = 310  # pixels of the matrix


def show_head(view: ViewState, model: Any, board: Board, name: str, places: tuple[Any, Any]) -> None:
    """One head's attention on one of the sequences, in the second place; the choice and its score, in the first."""
    head = heads.current(view, heads.strongest(board.scores[name].score.mean))
    with places[0]:
        row, control = _choose_sequence(view, board)
        words = this_sequence(board.scores[name], row, head)
        st.caption(words)
        heads.pin_button(view, head, "scores:pin")
    tokens = (board.control if control else board.tokens)[row]
    cells, meaning = marked(name, tokens, board.sample)
    pattern = attention(model, tokens, head)
    where = f"{'control of ' if control else ''}sequence {row}" if board.sample else "your prompt"
    rests = name in ("first", "entropy", "entropy_normalised")
    figure = matrix(
        pattern,
        short_labels(token_labels(model, tokens)),
        title=f"Head {head} on {where}",
        marks=Marks(cells, "the same cells" if control else meaning) if cells else None,
        view=View(hide_first=not rests),
    )
    with places[1]:
        alt = f"Attention of head {head} on {where}. {words}"
        parts.chart(small_matrix(figure, SIDE, WIDTH), alt, key="scores:head")


def this_sequence(score: Any, row: int, head: Head) -> str:
    """The head's score on exactly the sequence that is shown, and its place among all heads."""
    found = scores.facts(score, *head)
    here = said(float(score.per_sequence[(row, *head)]))
    text = f"Head {head}, {'this text' if score.score.n == 1 else 'this sequence alone'}: {here}"
    if score.null_per_sequence is not None:
        text += f", its control {said(float(score.null_per_sequence[(row, *head)]))}"
    if score.score.n > 1:
        text += f". Mean of {score.score.n}: {said(found.value)}{scores.interval(found)}"
    text += f"; rank {found.rank}"
    verdict = {True: ", above the threshold", False: ", within chance", None: ""}[found.above]
    return f"{text} of {found.total}{verdict}."


def _choose_sequence(view: ViewState, board: Board) -> tuple[int, bool]:
    """Which sequence, and whether its control; the prompt leaves no choice."""
    if board.sample is None:
        return 0, False
    with st.container(horizontal=True, vertical_alignment="bottom"):
        last = len(board.tokens) - 1
        help = f"Which of the {last + 1} random sequences is shown, from 0."
        row = number(view, "sequence", (0, last), "Sequence", help, width=110) if last else 0
        help = "The repeated sequence, or its control, on which the same cells should be empty."
        side = segmented(view, "pair", tuple(PAIR), "Shown at the right", help, format_func=PAIR.get)
    return int(row), side == "control"
