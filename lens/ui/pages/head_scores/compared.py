"""The same score in another model or checkpoint, or on another prompt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from lens.analysis.compare import paired_difference
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.pages.head_scores.board import read_board
from lens.ui.shared import score_words as words
from lens.ui.shared.compare import pairs
from lens.ui.shared.compare.section import compare
from lens.ui.store import to_torch

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.instruments.instrument import Instrument
    from lens.analysis.score_results import HeadScore
    from lens.analysis.stats import Estimate
    from lens.hooked import HookedTransformer
    from lens.ui.shared.compare.pairs import Pair
    from lens.ui.shared.compare.section import Sides
    from lens.ui.shared.score_board import Board
    from lens.ui.view import ViewState

ON_A_TASK = "the pairs of a task are made for one model: choose another sample under 'Scored on'."
OTHER_TOKENS = "no interval of the difference: the two read different tokens"
CODE = """from lens.analysis.instruments.measure import measure
from lens.analysis.instruments.registry import instrument
{imports}
samples = {samples}
values = measure(model, [instrument("{name}")], samples)["{name}"].score.mean"""


def draw(
    view: ViewState, model: HookedTransformer, place: DeltaGenerator, instrument: Instrument, board: Board
) -> None:
    """The section."""
    numbers = partial(_board, instrument, board.on)
    compare(view, model, place, board, numbers, partial(_pairs, instrument), reads_prompt=board.on == "text")


def _board(instrument: Instrument, on: str, view: ViewState, model: HookedTransformer) -> Board:
    if on == "task":
        parts.not_computed(ON_A_TASK)
        end_page()
    place = st.empty()
    board = read_board(view, model, instrument, place)
    place.empty()
    return board


def _pairs(instrument: Instrument, sides: Sides, *boards: Board) -> list[Pair]:
    scores = [board.scores[instrument.name] for board in boards]
    kind, sampled = scores[0].kind, _sampled(boards, scores)
    codes = (CODE.format(**board.python._asdict(), name=instrument.name) for board in boards)
    quantity = pairs.Quantity(
        words.title(scores[0]).lower(), kind.unit, kind.definition, *codes, signed=kind.scale != "positive"
    )
    means = (np.asarray(score.score.mean) for score in scores)
    return [pairs.heads(quantity, *means, note=sampled.note, estimate=sampled.estimate)]


class Sampled(NamedTuple):
    """What the samples say of the difference."""

    note: str
    estimate: Estimate | None = None


def _sampled(boards: tuple[Board, ...], scores: list[HeadScore]) -> Sampled:
    if boards[0].on == "weights":
        return Sampled(pairs.EXACT)
    samples = [np.asarray(score.per_sequence) for score in scores]
    same = boards[0].tokens is not None and np.array_equal(boards[0].tokens, boards[1].tokens)
    if not same or samples[0].shape != samples[1].shape or not all(np.isfinite(of).all() for of in samples):
        return Sampled(OTHER_TOKENS)
    unit = "sequences" if boards[0].on == "repeats" else "texts"
    estimate = analyse(paired_difference, *map(to_torch, samples), unit)
    return Sampled(estimate.note, estimate)
