"""Does the behaviour need it?"""

import streamlit as st

from lens.ui.models import open_model
from lens.ui.pages.ablation import read as page
from lens.ui.pages.ablation import result as show
from lens.ui.shared import tasks
from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    asked = page.choose(view, model)
    tasks.show_ability(model, asked.task)

    guess = show.guess_first(view, model, asked)
    place = st.empty()
    found = page.compute(
        view, model, asked, lambda found: place.plotly_chart(show.figure_of(asked, found, model), alt="Filling")
    )
    figure = show.figure_of(asked, found, model)
    with place.container():
        show.show_result(view, asked, found, figure, guess)
    page.show_more(view, model, asked, found)
    show.explain(view, model, asked, found)
    show.take_away(view, model, asked, found, figure)
