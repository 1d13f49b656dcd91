"""Does the behaviour need it?"""

import streamlit as st

from lens.ui.models import open_model
from lens.ui.pages.ablation import read as page
from lens.ui.pages.ablation import result as show
from lens.ui.pages.ablation.tabs import TABS
from lens.ui.shared import tasks
from lens.ui.view import ViewState
from lens.ui.widgets import show_tabs


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    asked = page.choose(view, model)
    place, below = st.empty(), st.container()
    with below:
        tasks.show_ability(model, asked.task)

    guess = show.guess_first(view, model, asked)
    found = page.compute(view, model, asked, lambda found: show.draw_filling(place, asked, found, model))
    figure = show.figure_of(asked, found, model)
    with place.container():
        show.show_result(view, model, asked, found, figure, guess)
    show_tabs(view, "more", TABS, view, model, asked, found)
    show.take_away(view, model, asked, found, figure)
