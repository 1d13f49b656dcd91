"""The Composition page: what is asked for, which pair is chosen, the matrix."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from lens.analysis.composition import composition, feeders
from lens.analysis.names import Head
from lens.figures.pairs import Pairs, pair_matrix, selected_pair
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.ending import end_page
from lens.ui.pages.composition import SHOWN, TURNS, WEIGHTS, words
from lens.ui.shared import heads, repeats
from lens.ui.view import ViewState
from lens.ui.widgets import number, segmented, select

MODE_HELP = (
    "What the earlier head's output becomes in the later head. **Q:** what it looks for. **K:** what it is found by: "
    "an induction head is found through keys that a previous-token head wrote. **V:** what it moves on."
)
SHOWN_HELP = (
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


class Asked(NamedTuple):
    """What the composition is computed for."""

    mode: str
    offset: int  # tokens between query and key; 0 where no rotation is involved
    weights: str


class Board(NamedTuple):
    """What the page shows. ``sender`` is None for a receiver of layer 0."""

    found: Any  # Composition
    asked: Asked
    offset: int  # δ for whatever involves queries and keys, whatever the mode
    receiver: Head
    sender: Head | None


def controls(view: ViewState, model: Any) -> tuple[Asked, int]:
    """The row of widgets; returns what is asked for, and δ."""
    offset = 0
    with st.container(horizontal=True, vertical_alignment="bottom", key="composition-controls"):
        mode = segmented(view, "mode", ("Q", "K", "V"), "Through", MODE_HELP, format_func=words.MODES.get)
        segmented(view, "shown", tuple(SHOWN), "Shown", SHOWN_HELP, format_func=SHOWN.get)
        weights = segmented(view, "weights", tuple(WEIGHTS), "Weights", WEIGHTS_HELP, format_func=WEIGHTS.get)
        if model.cfg.positions == "rotary":
            select(view, "turn", tuple(TURNS), "Distance δ", TURN_HELP, format_func=TURNS.get, width=190)
        n = int(number(view, "n", repeats.block_bounds(model, bos=True), "n", N_HELP, width=100))
        if model.cfg.positions == "rotary":
            offset = _offset(view, model, n)
    return Asked(mode, 0 if mode == "V" else offset, weights), offset


def read_board(view: ViewState, model: Any, asked: Asked, offset: int) -> Board:
    """Compute all pairs and settle which one is chosen. The page ends, with the reason, where there is nothing."""
    from lens.analysis.head_weights import why_not_bilinear

    if model.cfg.n_layers < 2:
        parts.empty_state(words.ONE_LAYER.format(model.name))
    reason = why_not_bilinear(model.cfg)
    if asked.mode != "V" and reason is not None:
        parts.not_computed(f"{reason}. V-composition is not affected: choose V.")
        end_page()
    found = analyse(composition, model, *asked, progress=True)
    receiver = shown_receiver(view, found)
    return Board(found, asked, offset, receiver, shown_sender(view, found, receiver))


def shown_receiver(view: ViewState, found: Any) -> Head:
    """The selected head, else the last one pinned, else the strongest pair's."""
    return heads.current(view, found.strongest.receiver)


def shown_sender(view: ViewState, found: Any, receiver: Head) -> Head | None:
    """The chosen sender if it stands before the receiver, else the strongest feeder; None in layer 0."""
    if receiver[0] == 0:
        return None
    n_heads = found.scores.shape[1]
    for layer, head in view["sender"]:
        if layer < receiver[0] and head < n_heads:
            return Head(layer, head)
        view.note(f"{layer}.{head} is no head before {receiver[0]}.{receiver[1]}: showing its strongest feeder")
        view.set(sender=None)
    return feeders(found, receiver)[0]


def feeders_agree(model: Any, board: Board, scores: Any) -> Any:
    """Whether what the earlier heads pass to the receiver and their previous-token scores order them alike."""
    from lens.analysis.rank_correlation import rank_correlation

    passed = board.found.scores[:, :, board.receiver[0], board.receiver[1]]
    return analyse(rank_correlation, passed, scores["previous"].score.mean, model.cfg.group_size)


def measure(view: ViewState, found: Any) -> Pairs:
    """The number that is drawn for every pair, with the others for its hover label."""
    name = f"{found.mode}-composition"
    all_of_it = {
        "score": (name, found.scores),
        "null": (f"{name} − null", found.scores - found.null),
        "z": (f"z of {name}", found.z),
    }
    title, values = all_of_it.pop(view["shown"])
    if view["shown"] == "z" and not np.isfinite(values).any():
        view.note("this model has too few heads a layer for a spread among them: showing the score minus its null")
        view.set(shown=None)
        return measure(view, found)
    extra = {label: array for which, (label, array) in all_of_it.items() if which != "null" or view["shown"] == "z"}
    return Pairs(title, words.definition(found, view["shown"]), values, view["shown"] != "score", extra)


def show_matrix(view: ViewState, model: Any, board: Board) -> Any:
    """The clickable matrix of all pairs; returns the figure."""
    pairs = measure(view, board.found)
    title = f"{pairs.name[:1].upper()}{pairs.name[1:]} of all pairs of heads: {model.name}"
    chosen = None if board.sender is None else (*board.sender, *board.receiver)
    figure = pair_matrix(pairs, chosen=chosen, pinned=view["pins"], title=title)
    alt = f"{title}, senders down and receivers across. {words.notice(board.found)}"
    read = partial(selected_pair, heads=board.found.scores.shape[1])
    parts.chart(figure, alt, "composition:matrix", partial(choose_clicked, view), read=read)
    return figure


def choose_pair(view: ViewState, sender: Head, receiver: Head) -> None:
    """Show this pair; its receiver is selected."""
    view.set(sender=(sender,), layer=receiver[0], head=receiver[1])


def choose_clicked(view: ViewState, pair: tuple[int, ...]) -> None:
    """A click on a pair chooses it; a second one pins or unpins its receiver."""
    if (view["sender"], view.selected) == ((pair[:2],), pair[2:]):
        view.toggle_pin(*pair[2:])
    else:
        choose_pair(view, Head(*pair[:2]), Head(*pair[2:]))


def _offset(view: ViewState, model: Any, n: int) -> int:
    """δ in tokens, within the model's context."""
    last = model.cfg.n_ctx - 1
    if view["turn"] == "chosen":
        return int(number(view, "offset", (0, last), "δ", "Tokens from the key to its query.", width=110))
    return min({"repeat": n - 1, "next": 1, "ignored": 0}[view["turn"]], last)
