"""One head: its attention on a sequence it was scored on, with the cells that are averaged, or its place among all."""

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from lens.analysis.instruments.registry import instrument
from lens.analysis.score_summary import standing, strongest
from lens.figures.cells import Marks
from lens.figures.fitted import narrow, small_matrix
from lens.figures.matrix import View, matrix
from lens.figures.ranked import ranked
from lens.figures.theme import number as written
from lens.ui import parts
from lens.ui.labels import short_labels, token_labels
from lens.ui.menu import page_link
from lens.ui.pages.head_scores import PAIR
from lens.ui.shared import heads
from lens.ui.shared import score_words as words
from lens.ui.shared.chain.link import LINKS, open_page
from lens.ui.shared.patterns import attention, marked
from lens.ui.shared.score_board import Board, measure
from lens.ui.widgets import number, segmented

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.names import Head
    from lens.analysis.score_results import HeadScore
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

WIDTH = 390  # pixels of the column on the smallest screen
SIDE = 310  # pixels of the matrix


def show_head(
    view: "ViewState",
    model: "HookedTransformer",
    board: Board,
    score: "HeadScore",
    places: "tuple[DeltaGenerator, DeltaGenerator]",
) -> None:
    """One head in the second place; the choice of a sequence and the head's score in the first."""
    head = heads.current(view, strongest(score))
    if board.tokens is None:
        _show_rank(view, score, head, places)
        return
    with places[0]:
        row, control = _choose_sequence(view, board)
        text = this_sequence(score, row, head)
        st.caption(text)
        with st.container(horizontal=True, vertical_alignment="center"):
            heads.pin_button(view, head, "scores:pin")
            open_page(view, LINKS[0], head, "prompt" if board.on == "text" else "repeat")
            page_link(
                view, "One head", f"All steps of {head}", with_icon=True, layer=str(head.layer), head=str(head.head)
            )
    tokens = (board.control if control else board.tokens)[row]
    tokens = tokens if board.mask is None else tokens[board.mask[row]]
    cells, meaning = marked(score.kind.name, tokens, board.sample)
    pattern = attention(model, tokens, head)
    text_name = "your prompt" if board.on == "text" else f"text {row}"
    where = f"{'control of ' if control else ''}sequence {row}" if board.sample else text_name
    rests = score.kind.name in ("first", "sink", "entropy", "entropy_normalised")
    figure = matrix(
        pattern,
        short_labels(token_labels(model, tokens)),
        title=f"Head {head} on {where}",
        marks=Marks(cells, "the same cells" if control else meaning) if cells else None,
        view=View(hide_first=not rests),
    )
    with places[1]:
        alt = f"Attention of head {head} on {where}. {text}"
        parts.chart(small_matrix(figure, SIDE, WIDTH), alt, key="scores:head")


def _show_rank(
    view: "ViewState", score: "HeadScore", head: "Head", places: "tuple[DeltaGenerator, DeltaGenerator]"
) -> None:
    """The place of the head among all, where no pattern is read."""
    text = among_all(score, head)
    with places[0]:
        st.caption(text)
        heads.pin_button(view, head, "scores:pin")
    if not standing(score, head).rank:
        return
    title = f"{words.title(score)}: head {head} among all"
    with places[1]:
        figure = narrow(ranked(measure(score), head, title=title), WIDTH)
        parts.head_grid(figure, view, "scores:rank", f"{title}, from the largest number down. {text}")


def among_all(score: "HeadScore", head: "Head") -> str:
    """The head's number, what chance gives it, and its place among all heads."""
    facts = standing(score, head)
    if not facts.rank:
        absent = instrument(score.kind.name).definition.partition("; none in ")[2].rstrip(".")
        return f"Head {head} has no such number: {f'there is none in {absent}' if absent else 'it is not defined'}."
    text = f"Head {head}: {written(facts.value)}{words.interval(facts)} {score.kind.unit}"
    if facts.control is not None:
        text += f", {'compared with' if score.effect is not None else 'by chance'} {written(facts.control)}"
    return f"{text}; rank {facts.rank} of {facts.total}{_verdict(facts.above, ', above chance')}."


def this_sequence(score: "HeadScore", row: int, head: "Head") -> str:
    """The head's score on exactly the sequence that is shown, and its place among all heads."""
    facts, here = standing(score, head), written(float(score.per_sequence[(row, *head)]))
    text = f"Head {head[0]}.{head[1]}, {'this text' if score.score.n == 1 else 'this sequence alone'}: {here}"
    if score.null_per_sequence is not None and np.isfinite(score.null_per_sequence[(row, *head)]):
        text += f", its control {written(float(score.null_per_sequence[(row, *head)]))}"
    if score.score.n > 1:
        text += f". Mean of {score.score.n}: {written(facts.value)}{words.interval(facts)}"
    return f"{text}; rank {facts.rank} of {facts.total}{_verdict(facts.above, ', above the threshold')}."


def _verdict(above: bool | None, yes: str) -> str:
    return {True: yes, False: ", within chance", None: ""}[above]


def _choose_sequence(view: "ViewState", board: Board) -> tuple[int, bool]:
    """Which sequence, and whether its control; a single text leaves no choice."""
    last = len(board.tokens) - 1
    if board.sample is None and not last:
        return 0, False
    with st.container(horizontal=True, vertical_alignment="bottom"):
        help = f"Which of the {last + 1} sequences is shown, from 0."
        row = number(view, "sequence", (0, last), "Sequence", help, width=110) if last else 0
        if board.sample is None:
            return int(row), False
        help = "The repeated sequence, or its control, on which the same cells should be empty."
        side = segmented(view, "pair", tuple(PAIR), "Shown at the right", help, format_func=PAIR.get)
    return int(row), side == "control"
