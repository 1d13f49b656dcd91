"""Where does the information sit, and where does it move?"""

from functools import partial

import streamlit as st

from lens.ui import parts
from lens.ui.models import open_model
from lens.ui.pages.patching import controls as page
from lens.ui.pages.patching import map as views
from lens.ui.pages.patching import words
from lens.ui.pages.patching.cell import show_cell
from lens.ui.pages.patching.read import read_found
from lens.ui.pages.patching.tabs import show_more
from lens.ui.view import ViewState


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
    parts.notice(views.say(model, found))
    if found.numbers.refused:
        parts.aside("Not shown as asked", f"{found.numbers.refused} The change itself is shown.")
    parts.misreading(words.MISREADING)
    parts.aside("Computed", words.sources(found))
    parts.provenance(view, model)
    parts.formula(words.FORMULA, words.FORMULA_WHERE)
    with right:
        show_cell(view, model, found, chosen)
    show_more(view, model, found, chosen)
    views.take_away(view, model, found, figure)
