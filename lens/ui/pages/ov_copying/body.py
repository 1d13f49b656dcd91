"""What would it copy and match, from weights alone?"""

from functools import partial
from typing import Any

import streamlit as st

from lens.analysis.names import Head
from lens.ui.models import open_model
from lens.ui.pages.ov_copying import MORE
from lens.ui.pages.ov_copying import data as ov_data
from lens.ui.pages.ov_copying import head as ov_head
from lens.ui.pages.ov_copying import match as ov_match
from lens.ui.pages.ov_copying import read as page
from lens.ui.pages.ov_copying import tabs as ov_more
from lens.ui.pages.ov_copying import tokens as ov_tokens
from lens.ui.shared import heads
from lens.ui.view import ViewState
from lens.ui.widgets import tabs


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    page.controls(view, model)
    left, right = st.columns([1.35, 1], gap="medium")
    place = left.empty()
    found = page.read_copying(view, model, place)

    head = heads.current(view, heads.strongest(found.shown.score))
    with right:
        ov_head.show_eigenvalues(view, model, found, head)
        heads.pin_button(view, head, "ov:pin")
    with left:
        null = page.read_null(view, found, place, model)
    with place.container():
        figure = page.show_grid(view, found, model, null)
    with right:
        ov_head.show_numbers(found, null, head)
    ov_head.explain(view, model, found, null, head)
    more = show_more(view, model, found, null, head)
    ov_head.take_away(view, model, page.Shown(found, null, head, more), figure)


def show_more(view: ViewState, model: Any, found: page.Copying, null: Any, head: Head) -> dict[str, Any]:
    """The tabs below; only the open one is computed. Returns the columns that it adds to the table of all heads."""
    more, body = tabs(view, "more", MORE)
    draw = {
        "tokens": partial(ov_tokens.show_tokens, view, model, head),
        "scatter": partial(ov_more.show_scatter, view, model, found),
        "data": partial(ov_data.show_data, view, model, found, null, head),
        "match": partial(ov_match.show_match, view, model, head),
        "directions": partial(ov_match.show_directions, view, model, head),
        "table": partial(ov_more.show_table, view, model, found, null),
    }
    with body:
        return draw[more]() or {}
