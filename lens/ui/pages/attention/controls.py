"""The choosers of the Attention page: its fields of the address, and the widgets that change them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from lens.analysis.attention import SCORES_NOTE, VALUE_WEIGHTED_NOTE
from lens.analysis.content_dependence import CONTENT_DEPENDENCE, most_content_dependent
from lens.analysis.names import Head
from lens.ui.pages.attention import FIRST, GROUP, LOOKS, MEASURES, OVER
from lens.ui.parts import metric_help
from lens.ui.shared import heads
from lens.ui.widgets import bind, button, head_picker, segmented

if TYPE_CHECKING:
    import numpy as np

    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

LOOK_HELP = (
    "**Matrix:** one head, or several laid over each other. **On the text** and **Head maps:** CircuitsVis, several "
    "heads side by side. **All heads:** a small picture of every head; a click selects it, a second one pins it."
)
FIRST_HELP = (
    "The first token (BOS, when there is one) is where most heads rest. Hidden, each row is scaled to sum to 1 again, "
    "and the page says how much was hidden. Auto hides it only where all heads are shown small."
)
OVER_HELP = "One head; several heads of its layer; or the pinned heads of any layers. Several are laid over each other."
SEVERAL_HELP = "Which heads of the layer. None chosen means all of them."
START_HELP = "First token of the stretch that is drawn, token by token; or the whole text, thinned to blocks of tokens."
NONE = "none"
STEP = 64  # tokens between the starts on offer
LOCK_HELP = (
    "The token whose attention is followed: its row is framed, and the text takes the colours of that row. Click a row "
    "of the matrix or a token of the text, or choose it here."
)


def choose_look(view: ViewState) -> str:
    """Which view of the attention is open."""
    return segmented(view, "look", tuple(LOOKS), "View", LOOK_HELP, format_func=LOOKS.get)


def choose_head(view: ViewState, model: HookedTransformer, dependence: np.ndarray) -> Head:
    """The current head, with a button to pin it.

    Where none was chosen that is the most content-dependent one: most heads rest, and an idle one teaches nothing.
    ``dependence`` [layer, head]: the content dependence of every head on this text.
    """
    best = most_content_dependent(dependence)
    if view.selected is None:
        heads.go(view, heads.current(view, best))
    head = head_picker(view, model.cfg.n_layers, model.cfg.n_heads)
    heads.pin_button(view, head, "attention:pin")
    return head


def content_button(view: ViewState, dependence: np.ndarray) -> None:
    """The way to the most content-dependent head; ``dependence`` as above."""
    best = most_content_dependent(dependence)
    help = metric_help(CONTENT_DEPENDENCE, "nats per query", "0 for a head that never reads the text")
    words = f"Most content-dependent: {best} · {float(dependence[best]):.2f} nats"
    button(words, help, view.select, *best, icon=":material/auto_awesome:", key="attention:content")


def choose_heads(view: ViewState, field: str, n_heads: int) -> list[Head]:
    """The heads that are shown together, the current one first if it is among them.

    ``field`` is ``over`` or ``group``. Never empty.
    """
    layer, head = view["layer"], view["head"]
    over = segmented(view, field, tuple(OVER if field == "over" else GROUP), "Heads", OVER_HELP, format_func=OVER.get)
    offered = [Head(layer, index) for index in _several(view, n_heads)] if over == "layer" else list(view["pins"])
    if over != "head" and offered:
        return sorted(offered, key=lambda other: other != (layer, head))  # stable: only the current head moves
    if over == "pins":
        view.note("no head is pinned, so the current one is shown; its pin button stands beside it")
    return [Head(layer, head)]


def choose_measure(view: ViewState) -> str:
    """Which number is drawn."""
    help = f"**Log:** {SCORES_NOTE}\n\n**Value-weighted:** {VALUE_WEIGHTED_NOTE}"
    return segmented(view, "measure", tuple(MEASURES), "Number", help, format_func=MEASURES.get)


def choose_first(view: ViewState, small: bool = False) -> bool:
    """Whether the first token is hidden."""
    first = segmented(view, "first", tuple(FIRST), "First token", FIRST_HELP, format_func=FIRST.get)
    return first == "hide" or (first == "auto" and small)


def choose_query(view: ViewState, labels: Sequence[str]) -> int | None:
    """The locked query token, or None."""
    return _position(view, "query", "Locked query", NONE, labels, range(len(labels)), LOCK_HELP)


def choose_start(view: ViewState, labels: Sequence[str], longest: int, empty: str) -> int | None:
    """The first token of the stretch that is drawn, where ``longest`` tokens are not all; None is ``empty``."""
    start, n_tokens = view["start"], len(labels)
    if n_tokens <= longest:
        return None
    if start is not None and start > n_tokens - 2:
        view.note(f"start {start} leaves nothing to draw of {n_tokens} tokens: showing {empty}")
        view.set(start=None)
    places = sorted({*range(0, n_tokens - 1, STEP), view["start"] or 0})
    return _position(view, "start", "From token", empty, labels, places, START_HELP)


def _position(
    view: ViewState, name: str, title: str, none: str, labels: Sequence[str], places: Sequence[int], help: str
) -> int | None:
    """A list of positions, each "3: word", with ``none`` before them. A value always stands in it."""
    names = [none, *(f"{place}: {labels[place]}" for place in places)]
    chosen = none if view[name] is None else names[1 + list(places).index(view[name])]
    seed = bind(view, name, chosen, partial(_set_position, view, name))
    st.selectbox(title, names, names.index(chosen), help=help, width=170, **seed)
    return view[name]


def _set_position(view: ViewState, name: str, key: str) -> None:
    """The choice may still be a word of the prompt before, so only its position counts."""
    position = re.match(r"(\d+):", st.session_state[key])
    view.set(**{name: int(position[1]) if position else None})


def lock_row(view: ViewState, start: int, cell: tuple[int, ...]) -> None:
    """Lock the query of a clicked cell; a second click on its row unlocks. ``start``: the position of the first row."""
    query = cell[0] + start
    view.set(query=None if view["query"] == query else query)


def _several(view: ViewState, n_heads: int) -> list[int]:
    known = tuple(index for index in view["several"] if index < n_heads)
    if known != view["several"]:
        view.note(f"several names heads that this model does not have ({n_heads} heads a layer): left out")
        view.set(several=known)
    seed = bind(view, "several", list(known))
    all_of = f"all {n_heads}"
    st.multiselect("Which", range(n_heads), list(known), placeholder=all_of, help=SEVERAL_HELP, width=160, **seed)
    return sorted(view["several"]) or list(range(n_heads))
