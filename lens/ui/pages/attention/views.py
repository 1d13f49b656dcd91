"""The three views of the Attention page: matrix or overlay, CircuitsVis, and the small pictures of all heads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from lens.figures.cells import MAX_CLICKABLE
from lens.figures.matrix import ATTENTION, Quantity, View, matrix, overlay
from lens.figures.strip import Scale, token_strip
from lens.figures.thumbnails import thumbnails
from lens.ui import circuitsvis, parts
from lens.ui.components import chips
from lens.ui.pages.attention import cells, numbers
from lens.ui.pages.attention.numbers import HeadValues, Part

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lens.analysis.names import Head
    from lens.analysis.text_attention import TextAttention
    from lens.hooked import HookedTransformer
    from lens.ui.view import ViewState

MOVED = Quantity(
    "attention × ‖v W_O‖ (residual-stream units)",
    "Each row is one query: its attention to each earlier token times the length of what that token's value writes.",
    "residual-stream units",
)
HIDDEN = Quantity(
    "attention, first token hidden",
    "Each row is one query: how it divides the attention that is not on the first token; rows sum to 1.",
    "of its attention that is not on the first token",
)
LONG = 120  # tokens of a text that scrolls in a window of its own


def strips(view: ViewState, of: HeadValues, labels: Sequence[str], measure: str) -> None:
    """The text, in the colours of the locked query's row; a click on a token locks it. One text per head."""
    locked = view["query"]
    if locked is None:
        strip = token_strip(labels, hover=[f"lock query {i}" for i in range(len(labels))])
        chips(view, "query", strip, None, "attention:strip")
        return
    most = max(1, numbers.STRIPS // len(labels))
    what = "length moved" if measure == "moved" else "attention"
    for place, (name, values) in enumerate(zip(of.names[:most], of.values)):
        row = np.where(np.arange(len(labels)) <= locked, values[locked], np.nan)
        scale = Scale(f"{name}: {what} from query {locked} '{labels[locked]}'", 0.0, float(np.nanmax(row)) or 1.0)
        strip = token_strip(labels, row, scale=scale, selected=[locked])
        window = f'<div class="lens-window">{strip}</div>' if len(labels) > LONG else strip
        chips(view, "query", window, locked, f"attention:strip:{place}")
    if len(of.names) > most:
        st.caption(f"{most} of {len(of.names)} heads have their strip; the text is long.")


def figure_of(model: HookedTransformer, of: HeadValues, part: Part, measure: str, locked: int | None) -> Figure:
    """The matrix of one head, or up to nine heads laid over each other."""
    how = View(
        log=measure == "log" and len(of.heads) == 1,
        hide_first=of.hidden is not None and part.start == 0,
        locked=part.row(locked),
        clickable=len(part.labels) <= MAX_CLICKABLE,
        numbered=False,
        quantity=MOVED if measure == "moved" else ATTENTION if of.hidden is None else HIDDEN,
    )
    if len(of.heads) == 1:
        return matrix(part.values[0], part.labels, title=f"Head {of.names[0]} · {model.name}", view=how)
    values, names = part.values[: numbers.OVERLAID], of.names[: numbers.OVERLAID]
    return overlay(values, part.labels, names, title=f"{len(names)} heads · {model.name}", view=how)


def draw_matrix(view: ViewState, figure: Figure, part: Part, alt: str) -> None:
    """The figure; where its cells can be clicked, what a click does is chosen below it."""
    clickable = len(part.labels) <= MAX_CLICKABLE
    figure = cells.mark_cut(view, figure, part)
    click = partial(cells.click, view, part.start) if clickable else None
    parts.chart(figure, alt, "attention:matrix" if clickable else None, click, width="content")
    if clickable:
        cells.choose_click(view)


def draw_circuitsvis(look: str, of: HeadValues, part: Part, labels: Sequence[str]) -> None:
    """CircuitsVis on the heads: all on one text, or a map for each."""
    tokens = labels[part.start : part.start + len(part.labels)]
    draw = circuitsvis.attention_patterns if look == "text" else circuitsvis.attention_heads
    draw(tokens, part.values, of.names, key=f"attention:{look}")


def all_figure(
    view: ViewState, model: HookedTransformer, attention: TextAttention, current: Head, hide: bool
) -> Figure:
    """The small pictures, the current head and the pinned ones framed."""
    pictures = attention.pictures
    title, tile = f"All {attention.content_dependence.size} heads · {model.name}", pictures.shape[-1]
    return thumbnails(pictures, title=title, pinned=view["pins"], current=current, tile=tile, hide_first=hide)
