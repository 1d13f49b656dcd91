"""The three views of the Attention page: matrix or overlay, CircuitsVis, and the small pictures of all heads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from lens.figures.cells import MAX_CLICKABLE, Marks
from lens.figures.matrix import ATTENTION, Quantity, View, matrix, overlay
from lens.figures.strip import Scale, token_strip
from lens.figures.theme import head_colours
from lens.figures.thumbnails import thumbnails
from lens.ui import circuitsvis, parts
from lens.ui.components import Pairs, chips
from lens.ui.pages.attention import cells, numbers
from lens.ui.pages.attention.numbers import HeadValues, Part

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from lens.analysis.names import Head
    from lens.analysis.text_attention import TextAttention
    from lens.hooked import HookedTransformer
    from lens.ui.shared.patterns import Stripe
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
MATRIX = "attention:matrix"  # key of the chart
LONG = 120  # tokens of a text that scrolls in a window of its own


def strips(view: ViewState, of: HeadValues, part: Part, labels: Sequence[str], measure: str) -> None:
    """The text, in the colours of the locked query's row; a click on a token locks it. One text per head.

    A hovered token marks what it looks at and who looks at it, here and in the matrix.
    """
    locked = view["query"]
    rows = [part.row(position) for position in range(len(labels))]
    if locked is None:
        strip = token_strip(labels, hover=[f"lock query {i}" for i in range(len(labels))])
        whose = f"head {of.names[0]}" if len(of.names) == 1 else f"the strongest of {len(of.names)} heads"
        pairs = Pairs(np.nanmax(np.nan_to_num(part.values), axis=0), rows, whose, MATRIX)
        chips(view, "query", strip, None, "attention:strip", pairs)
        return
    most = max(1, numbers.STRIPS // len(labels))
    what = "length moved" if measure == "moved" else "attention"
    for place, (name, values) in enumerate(zip(of.names[:most], of.values)):
        row = np.where(np.arange(len(labels)) <= locked, values[locked], np.nan)
        scale = Scale(f"{name}: {what} from query {locked} '{labels[locked]}'", 0.0, float(np.nanmax(row)) or 1.0)
        strip = token_strip(labels, row, scale=scale, selected=[locked])
        window = f'<div class="lens-window">{strip}</div>' if len(labels) > LONG else strip
        pairs = Pairs(part.values[place], rows, f"head {name}", MATRIX)
        chips(view, "query", window, locked, f"attention:strip:{place}", pairs)
    if len(of.names) > most:
        st.caption(f"{most} of {len(of.names)} heads have their strip; the text is long.")


def figure_of(
    model: HookedTransformer, of: HeadValues, part: Part, measure: str, locked: int | None, stripe: Stripe | None = None
) -> Figure:
    """The matrix of one head, or up to nine heads laid over each other; the cells of ``stripe`` outlined."""
    how = View(
        log=measure == "log" and len(of.heads) == 1,
        hide_first=of.hidden is not None and part.start == 0,
        locked=part.row(locked),
        clickable=len(part.labels) <= MAX_CLICKABLE,
        numbered=False,
        quantity=MOVED if measure == "moved" else ATTENTION if of.hidden is None else HIDDEN,
    )
    if len(of.heads) == 1:
        title = f"Head {of.names[0]} · {model.name}"
        return matrix(part.values[0], part.labels, title=title, marks=_marks(stripe, part), view=how)
    values, names = part.values[: numbers.OVERLAID], of.names[: numbers.OVERLAID]
    title, hues = f"{len(names)} heads · {model.name}", head_colours(of.heads[: numbers.OVERLAID])
    marks = _marks(stripe, part)
    return overlay(values, part.labels, names, title=title, marks=marks, view=how, colours=hues)


def _marks(stripe: Stripe | None, part: Part) -> Marks | None:
    """The cells of ``stripe`` that are drawn one by one; None where there are none."""
    if stripe is None or part.block > 1:
        return None
    cells = [(query - part.start, key - part.start) for query, key in stripe.cells]
    inside = [cell for cell in cells if min(cell) >= 0 and max(cell) < len(part.labels)]
    return Marks(inside, stripe.meaning) if inside else None


def draw_matrix(view: ViewState, figure: Figure, part: Part, alt: str) -> None:
    """The figure; where its cells can be clicked, what a click does is chosen below it."""
    clickable = len(part.labels) <= MAX_CLICKABLE
    figure = cells.mark_cut(view, figure, part)
    click = partial(cells.click, view, part.start) if clickable else None
    parts.chart(figure, alt, MATRIX, click, width="content")
    if clickable:
        cells.choose_click(view)


def draw_circuitsvis(layout: str, of: HeadValues, part: Part, labels: Sequence[str]) -> None:
    """CircuitsVis on the heads, in their order: all on one text, or a map for each with the current one enlarged."""
    tokens = labels[part.start : part.start + len(part.labels)]
    order = sorted(range(len(of.heads)), key=lambda i: of.heads[i])
    names, values, key = [of.names[i] for i in order], part.values[order], f"attention:{layout}"
    colours = head_colours(sorted(of.heads))
    if layout == "text":
        circuitsvis.attention_patterns(tokens, values, names, key=key, colours=colours)
    else:  # the current head stands first in ``of``
        circuitsvis.attention_heads(tokens, values, names, key=key, colours=colours, first=order.index(0))


def all_figure(
    view: ViewState, model: HookedTransformer, attention: TextAttention, current: Head, hide: bool
) -> Figure:
    """The small pictures, the current head and the pinned ones framed."""
    pictures = attention.pictures
    title, tile = f"All {attention.content_dependence.size} heads · {model.name}", pictures.shape[-1]
    return thumbnails(pictures, title=title, pinned=view["pins"], current=current, tile=tile, hide_first=hide)
