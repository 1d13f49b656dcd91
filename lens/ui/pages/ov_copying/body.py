"""What would it copy and match, from weights alone?"""

import streamlit as st

from lens.ui import parts
from lens.ui.models import open_model
from lens.ui.pages.ov_copying import head as ov_head
from lens.ui.pages.ov_copying import read as page
from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    page.controls(view, model)
    left, right = st.columns([1.35, 1], gap="medium")
    place = left.empty()
    found = page.read_copying(view, model, place)

    head = page.shown_head(view, found.shown.score)
    with right:
        ov_head.show_eigenvalues(view, model, found, head)
        parts.pin_button(view, head, "ov:pin")
    with left:
        null = page.read_null(view, found, place, model)
    with place.container():
        figure = page.show_grid(view, found, model, null)
    with right:
        ov_head.show_numbers(found, null, head)
    ov_head.explain(view, model, found, null, head)
    more = page.show_more(view, model, found, null, head)
    ov_head.take_away(view, model, page.Shown(found, null, head, more), figure)
