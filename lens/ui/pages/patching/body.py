"""Where does the information sit, and where does it move?"""

from functools import partial
from typing import Any

import streamlit as st

from lens.ui.explanation import Explanation, explain
from lens.ui.models import open_model
from lens.ui.pages.patching import controls as page
from lens.ui.pages.patching import map as views
from lens.ui.pages.patching import words
from lens.ui.pages.patching.cell import show_cell
from lens.ui.pages.patching.read import Found, read_found
from lens.ui.pages.patching.tabs import TABS
from lens.ui.view import ViewState
from lens.ui.widgets import show_tabs


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    look = page.read_look(view, model)

    left, right = st.columns([1.6, 1], gap="medium")
    place = left.empty()
    with left:
        found = read_found(view, model, look, partial(views.draw_meanwhile, place, view, model))
    chosen = views.chosen_cell(view, found)
    with place.container():
        figure = views.show_map(view, model, found, chosen)
    explain(view, model, explanation(model, found))
    with right:
        show_cell(view, model, found, chosen)
    show_tabs(view, "more", TABS, view, model, found, chosen)
    views.take_away(view, model, found, figure)


def explanation(model: Any, found: Found) -> Explanation:
    """What is said of the map."""
    refused = found.cells.refused and f"{found.cells.refused} The change itself is shown."
    return Explanation(
        views.notice(model, found),
        words.MISREADING,
        asides=(("Not shown as asked", refused),),
        measured=(("Sample", words.sources(found)),),
        formula=words.FORMULA,
        where=words.FORMULA_WHERE,
    )
