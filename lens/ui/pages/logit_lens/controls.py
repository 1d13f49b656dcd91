"""The choosers of the Logit lens page: its fields of the address, and the widgets that change them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.analysis.answer.fitted_lens import DEFINITION as FITTED
from lens.analysis.answer.fitted_lens import SOURCE as FITTED_SOURCE
from lens.analysis.answer.fitted_lens import fitted_rows
from lens.analysis.answer.lens_rows import PARTS, has_mid, lens_rows
from lens.analysis.answer.logit_lens import DEFINITION, SOURCE
from lens.analysis.loss import ENTROPY
from lens.ui.pages.logit_lens import ABOUT, COLUMNS, DECODERS, NUMBERS, SOURCES
from lens.ui.widgets import number, segmented, select, text_line, toggle

if TYPE_CHECKING:
    from lens.hooked import HookedTransformer
    from lens.ui.pages.logit_lens.reading import Lens
    from lens.ui.view import ViewState

NUMBER_HELP = f"""What the colour of a cell says. {DEFINITION}

**Rank:** counted from 1, the top.

**Its own top token:** the probability of the word that stands in the cell.

**Entropy:** {ENTROPY}

**KL to the output:** KL(output ‖ row), nats: what this row does not know yet.

**Source:** {SOURCE}."""
ABOUT_HELP = (
    "Whose probability, log-probability or rank is coloured: that of the token on top of the model's output at this "
    "position, or that of the token that really came next."
)
SOURCE_HELP = f"What is decoded: **Stream:** {PARTS['stream']}. **Attention:** {PARTS['attention']}. " + (
    f"**MLPs:** {PARTS['mlp']}. Parts have statistics of their own: their rows do not end at the output."
)
DECODER_HELP = f"**Raw:** the model's own final norm and unembedding. **Fitted:** {FITTED} Source: {FITTED_SOURCE}."
MID_HELP = "Also rows between attention and MLP of each layer; they take as long again."
NO_MID_MAPS = "the fitted maps of this model would be too large to keep with those of mid-layer rows, so there are none"
NO_MID = "blocks of this model have no place between attention and MLP, so there are no such rows"
FROM_HELP = "First position of the table, which holds at most {} of them."
ANSWER_HELP = (
    "A text that is one token, with its leading space if it has one: it is followed through the layers as well."
)


class Chosen(NamedTuple):
    """What is decoded, how, and which token it is held against."""

    source: str
    fitted: bool
    mid: bool
    about: str


class Place(NamedTuple):
    """The chosen cell; ``start`` and ``stop`` are the positions that the table shows."""

    row: int
    position: int
    start: int
    stop: int


def choose(view: ViewState, model: HookedTransformer) -> Chosen:
    """The row of choosers above the table."""
    sources = [name for name in SOURCES if name != "mlp" or not model.cfg.attn_only]
    if view["source"] == "mlp" and model.cfg.attn_only:
        view.note(f"{model.name} has no MLP: showing the stream")
        view.set(source="stream")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        select(view, "number", tuple(NUMBERS), "Colour", NUMBER_HELP, format_func=NUMBERS.get, width=180)
        about = select(view, "about", tuple(ABOUT), "of", ABOUT_HELP, format_func=ABOUT.get, width=190)
        source = segmented(view, "source", sources, "Read", SOURCE_HELP, format_func=SOURCES.get)
        decoder, mid = "raw", False
        if source == "stream":
            decoder = segmented(view, "decoder", tuple(DECODERS), "Decoder", DECODER_HELP, format_func=DECODERS.get)
            mid = _choose_mid(view, model, decoder == "fitted")
    return Chosen(source, decoder == "fitted", mid, about)


def _choose_mid(view: ViewState, model: HookedTransformer, fitted: bool) -> bool:
    if not has_mid(model.cfg):
        why = NO_MID
    elif fitted and fitted_rows(model.cfg) == lens_rows(model.cfg):
        why = NO_MID_MAPS
    else:
        return toggle(view, "mid", "Mid-layer rows", MID_HELP)
    if view["mid"]:
        view.note(why)
        view.set(mid=False)
    return False


def place_in(view: ViewState, lens: Lens) -> Place:
    """The cell that is followed: the last row of the last position unless the view names another."""
    n_rows, n_positions = lens.found.rank.shape[0], len(lens.prompt.labels)
    for name, size, what in (("position", n_positions, "this prompt"), ("row", n_rows, "this table")):
        if view[name] is not None and view[name] >= size:
            view.note(f"{name} {view[name]} does not exist in {what} ({size} {name}s): showing the last")
            view.set(**{name: None})
    position = n_positions - 1 if view["position"] is None else view["position"]
    start = 0
    if n_positions > COLUMNS:
        if view["start"] is None:
            view.set(start=min(max(position - COLUMNS + 1, 0), n_positions - COLUMNS))
        start = int(number(view, "start", (0, n_positions - COLUMNS), "From token", FROM_HELP.format(COLUMNS)))
    row = n_rows - 1 if view["row"] is None else view["row"]
    return Place(row, position, start, min(start + COLUMNS, n_positions))


def choose_answer(view: ViewState, model: HookedTransformer) -> int | None:
    """The token that the reader asks for; None without one, with a note where the text is not one token."""
    if model.tokenizer is None:
        return None
    text = text_line(view, "answer", "Follow also", ANSWER_HELP, width=260, placeholder="one token, such as ' mat'")
    if not text:
        return None
    ids = model.inner_ids(text)
    if len(ids) == 1:
        return ids[0]
    view.note(f"{text!r} is {len(ids)} tokens; one that can be followed is one token")
    return None
