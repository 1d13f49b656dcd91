"""What would it copy and match, from weights alone?"""

import streamlit as st

from lens.analysis.largest_head import largest_head
from lens.ui.calls import is_kept
from lens.ui.explanation import explain
from lens.ui.models import open_model
from lens.ui.pages.ov_copying import compared, words
from lens.ui.pages.ov_copying import head as ov_head
from lens.ui.pages.ov_copying import null as nulls
from lens.ui.pages.ov_copying.data import show_data
from lens.ui.pages.ov_copying.grid import controls, read_copying, show_grid
from lens.ui.pages.ov_copying.match import show_directions, show_match
from lens.ui.pages.ov_copying.tabs import show_scatter, show_table
from lens.ui.pages.ov_copying.together import show_together
from lens.ui.pages.ov_copying.tokens import show_tokens
from lens.ui.shared import heads
from lens.ui.view import ViewState
from lens.ui.widgets import show_tabs

TABS = {
    "tokens": ("Tokens it copies", show_tokens),
    "together": ("Pinned together", show_together),
    "scatter": ("Full against residual", show_scatter),
    "data": ("Copying on data", show_data),
    "match": ("What it matches", show_match),
    "directions": ("Directions", show_directions),
    "table": ("All heads", show_table),
}


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    controls(view, model)
    left, right = st.columns([1.35, 1], gap="medium")
    place = left.empty()
    copying = read_copying(view, model)
    head = heads.current(view, largest_head(copying.chosen.score))
    if not (nulls.is_computed(view, copying, head) and is_kept(*ov_head.null_call(view, model, copying, head))):
        with place.container():  # it can be clicked before its null is computed
            show_grid(view, copying, model, None, key="ov:grid:0")
    with right:
        ov_head.show_eigenvalues(view, model, copying, head)
        heads.pin_button(view, head, "ov:pin")
        numbers = st.empty()
    with left:
        null = nulls.read_null(view, copying, model, head, nulls.Filling(place, numbers))
    with place.container():
        figure = show_grid(view, copying, model, null)
    numbers.caption(words.head_words(copying.chosen, null, head))
    with left:  # what is said of the grid fills the place under it, beside the higher picture of one head
        explain(view, model, ov_head.explanation(view, model, copying, null, head))
    beside = st.container()
    columns = show_tabs(view, "more", TABS, view, model, copying, null, head) or {}
    ov_head.draw_export(view, model, ov_head.Findings(copying, null, head, columns), figure)
    compared.draw(view, model, beside, copying)
