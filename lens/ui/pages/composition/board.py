"""The Composition page: what is asked for, which pair is chosen, the matrix."""

from functools import partial
from typing import NamedTuple

import numpy as np
import streamlit as st
from plotly.graph_objects import Figure

from lens.analysis.composition import Composition, composition, feeders
from lens.analysis.head_weights import why_not_bilinear
from lens.analysis.names import Head
from lens.figures.pairs import Pairs, pair_matrix, selected_pair
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.pages.composition import MEASURES, TURNS, WEIGHTS, words
from lens.ui.shared import heads, repeats
from lens.ui.shared.wording import capital
from lens.ui.view import ViewState
from lens.ui.widgets import number, segmented, select

MODE_HELP = (
    "What the earlier head's output becomes in the later head. **Q:** what it looks for. **K:** what it is found by: "
    "an induction head is found through keys that a previous-token head wrote. **V:** what it moves on."
)
MEASURES_HELP = (
    "**− null:** the score minus what a random rotation between the two heads gives, exactly. **Score:** the share "
    "that passes, 0 to 1. **z in its layer:** against the other heads of the sender's layer, to the same receiver."
)
WEIGHTS_HELP = (
    "**Folded:** the gain of the norm in front of a head counts as part of what it reads; where LayerNorm takes out "
    "the mean, reads and writes have none. **Raw:** the weights as the model holds them."
)
TURN_HELP = (
    "δ, how far the key stands before its query: rotary positions turn the query by it. n − 1 is where an induction "
    "head looks on a block of n that repeats. It changes Q, K and prefix matching, not V."
)
N_HELP = (
    "Random tokens of the block that repeats, on which previous-token and induction scores are computed; with rotary "
    "positions also δ = n − 1."
)


class Board(NamedTuple):
    """What the page is about. ``sender`` is None for a receiver of layer 0."""

    model: HookedTransformer
    result: Composition  # of all pairs
    offset: int  # δ for whatever involves queries and keys, whatever the mode
    receiver: Head
    sender: Head | None


def read_board(view: ViewState, model: HookedTransformer) -> Board:
    """The row of widgets, all pairs, and the chosen one. The page ends, with the reason, where there is nothing."""
    cfg = model.cfg
    with st.container(horizontal=True, vertical_alignment="bottom", key="composition-controls"):
        segmented(view, "mode", ("Q", "K", "V"), "Through", MODE_HELP, format_func=words.MODES.get)
        segmented(view, "shown", tuple(MEASURES), "Shown", MEASURES_HELP, format_func=MEASURES.get)
        segmented(view, "weights", tuple(WEIGHTS), "Weights", WEIGHTS_HELP, format_func=WEIGHTS.get)
        if cfg.positions == "rotary":
            select(view, "turn", tuple(TURNS), "Distance δ", TURN_HELP, format_func=TURNS.get, width=190)
        n = int(number(view, "n", repeats.block_bounds(model, bos=True), "n", N_HELP, width=100))
        if cfg.positions == "rotary":
            _choose_offset(view, cfg.n_ctx - 1)
    offset = offset_of(view, model, n)
    if cfg.n_layers < 2:
        parts.empty_state(words.ONE_LAYER.format(model.name))
    result = read_pairs(view, model, offset)
    receiver = heads.current(view, result.strongest.receiver)
    return Board(model, result, offset, receiver, _sender(view, result, receiver))


def _choose_offset(view: ViewState, last: int) -> None:
    if view["turn"] == "chosen":
        number(view, "offset", (0, last), "δ", "Tokens from the key to its query.", width=110)


def offset_of(view: ViewState, model: HookedTransformer, n: int) -> int:
    """δ in tokens, within the model's context; 0 where positions do not turn queries. ``n``: of the repeated block."""
    offsets = {"repeat": n - 1, "next": 1, "ignored": 0, "chosen": view["offset"]}
    return min(int(offsets[view["turn"]]), model.cfg.n_ctx - 1) if model.cfg.positions == "rotary" else 0


def read_pairs(view: ViewState, model: HookedTransformer, offset: int) -> Composition:
    """All pairs. The page ends, with the reason, where queries and keys are no product of weights."""
    mode, reason = view["mode"], why_not_bilinear(model.cfg)
    if mode != "V" and reason is not None:
        parts.not_computed(f"{reason}. V-composition is not affected: choose V.")
        end_page()
    return analyse(composition, model, mode, 0 if mode == "V" else offset, view["weights"], progress=True)


def _sender(view: ViewState, result: Composition, receiver: Head) -> Head | None:
    """The chosen sender if it stands before the receiver, else the strongest feeder; None in layer 0."""
    if receiver[0] == 0:
        return None
    for sender in view["sender"]:
        if sender.layer < receiver[0] and sender.head < result.scores.shape[1]:
            return sender
        view.note(f"{sender} is no head before {receiver}: showing its strongest feeder")
        view.set(sender=None)
    return feeders(result, receiver)[0]


def measure(view: ViewState, result: Composition) -> Pairs:
    """The number that is drawn for every pair, with the others for its hover label."""
    if view["shown"] == "z" and not np.isfinite(result.z).any():
        view.note("this model has too few heads a layer for a spread among them: showing the score minus its null")
        view.set(shown=None)
    return measure_of(result, view["shown"])


def measure_of(result: Composition, kind: str) -> Pairs:
    """The number that ``kind``, a key of MEASURES, names."""
    name = f"{result.mode}-composition"
    numbers = {
        "score": (name, result.scores),
        "null": (f"{name} − null", result.scores - result.null),
        "z": (f"z of {name}", result.z),
    }
    title, values = numbers.pop(kind)
    extra = dict(pair for which, pair in numbers.items() if which != "null" or kind == "z")
    return Pairs(title, words.definition(result, kind), values, kind != "score", extra)


def show_matrix(view: ViewState, board: Board) -> Figure:
    """The clickable matrix of all pairs; returns the figure."""
    pairs = measure(view, board.result)
    title = f"{capital(pairs.name)} of all pairs of heads: {board.model.name}"
    chosen = None if board.sender is None else (*board.sender, *board.receiver)
    figure = pair_matrix(pairs, chosen=chosen, pinned=view["pins"], title=title)
    alt = f"{title}, senders down and receivers across. {words.notice(board.result)}"
    read = partial(selected_pair, heads=board.model.cfg.n_heads)
    parts.chart(figure, alt, "composition:matrix", partial(_click_pair, view), read=read)
    return figure


def choose_pair(view: ViewState, sender: Head, receiver: Head) -> None:
    """Make this the pair of the page; its receiver is selected."""
    view.set(sender=(sender,), layer=receiver[0], head=receiver[1])


def _click_pair(view: ViewState, pair: tuple[int, ...]) -> None:
    """A click on a pair chooses it; a second one pins or unpins its receiver."""
    if (view["sender"], view.selected) == ((pair[:2],), pair[2:]):
        view.toggle_pin(*pair[2:])
    else:
        choose_pair(view, Head(*pair[:2]), Head(*pair[2:]))
