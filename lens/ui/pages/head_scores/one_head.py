"""One head's attention on a sequence it was scored on, with the cells that the score averages."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st
import torch

from lens.analysis.attention import head_patterns
from lens.analysis.instruments.layout import repeats_layout, text_layout
from lens.analysis.instruments.registry import instrument
from lens.analysis.names import Head
from lens.figures.cells import Marks
from lens.figures.fitted import small_matrix
from lens.figures.matrix import View, matrix
from lens.figures.theme import number as said
from lens.tokens import visible
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.pages.head_scores import PAIR
from lens.ui.pages.head_scores.board import Board, shown_head
from lens.ui.shared import score_words as scores
from lens.ui.view import ViewState
from lens.ui.widgets import number, segmented

WIDTH = 390  # pixels of the matrix's column on the smallest screen
KEEP_BYTES = 32_000_000  # of the patterns of all heads on one sequence
SIDE = 310  # pixels of the matrix


def show_head(view: ViewState, model: Any, board: Board, name: str, places: tuple[Any, Any]) -> None:
    """One head's attention on one of the sequences, in the second place; the choice and its score, in the first."""
    layer, head = shown_head(view, board.scores[name])
    with places[0]:
        row, control = _choose_sequence(view, board)
        words = this_sequence(board.scores[name], row, (layer, head))
        st.caption(words)
        parts.pin_button(view, (layer, head), "scores:pin")
    tokens = (board.control if control else board.tokens)[row]
    cells, meaning = marked(board, name, tokens)
    pattern = attention(model, tokens, layer, head)
    where = f"{'control of ' if control else ''}sequence {row}" if board.sample else "your prompt"
    rests = name in ("first", "entropy", "entropy_normalised")
    figure = matrix(
        pattern,
        [label if len(label) < 9 else label[:8] + "…" for label in labels(model, tokens)],
        title=f"Head {layer}.{head} on {where}",
        marks=Marks(cells, "the same cells" if control else meaning) if cells else None,
        view=View(hide_first=not rests),
    )
    with places[1]:
        alt = f"Attention of head {layer}.{head} on {where}. {words}"
        parts.chart(small_matrix(figure, SIDE, WIDTH), alt, key="scores:head")


def this_sequence(score: Any, row: int, head: tuple[int, int]) -> str:
    """The head's score on exactly the sequence that is shown, and its place among all heads."""
    found = scores.facts(score, *head)
    here = said(float(score.per_sequence[(row, *head)]))
    text = f"Head {head[0]}.{head[1]}, {'this text' if score.score.n == 1 else 'this sequence alone'}: {here}"
    if score.null_per_sequence is not None:
        text += f", its control {said(float(score.null_per_sequence[(row, *head)]))}"
    if score.score.n > 1:
        text += f". Mean of {score.score.n}: {said(found.value)}{scores.interval(found)}"
    text += f"; rank {found.rank}"
    verdict = {True: ", above the threshold", False: ", within chance", None: ""}[found.above]
    return f"{text} of {found.total}{verdict}."


def attention(model: Any, tokens: np.ndarray, layer: int, head: int) -> np.ndarray:
    """Attention of one head on one sequence, [query, key].

    Of a short sequence all heads are computed together: then every further click costs nothing.
    """
    cfg = model.cfg
    every = [Head(*place) for place in np.ndindex(cfg.n_layers, cfg.n_heads)]
    wanted = every if 4 * len(every) * len(tokens) ** 2 <= KEEP_BYTES else [Head(layer, head)]
    found = analyse(head_patterns, model, torch.tensor(tokens)[None], wanted)
    return found.pattern[0, wanted.index((layer, head))]


def labels(model: Any, tokens: np.ndarray) -> list[str]:
    """What the tokens look like, parts of characters as their bytes; their ids for a model without a tokenizer."""
    if model.tokenizer is None:
        return [str(token) for token in tokens]
    return list(map(visible, model.to_str_tokens(tokens.tolist())))


def stripe(name: str, n: int, bos: int) -> tuple[list[tuple[int, int]], str]:
    """The (query, key) cells that a score on repeated tokens averages, and what they are; none for an entropy."""
    one = instrument(name)
    return one.reads(repeats_layout(n, bos)), one.cells


def marked(board: Board, name: str, tokens: np.ndarray) -> tuple[Sequence[tuple[int, int]], str]:
    """The cells the score averages on these tokens."""
    if board.sample is not None:
        return stripe(name, board.sample.settings.n, board.sample.repeated.bos)

    row = torch.tensor(tokens)[None]
    layout = text_layout(row, torch.ones_like(row, dtype=torch.bool))
    return instrument(name).reads(layout), "what the score averages"


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
