"""Does the behaviour need it?"""

from typing import Any

import streamlit as st

from lens.ui.models import open_model
from lens.ui.pages.ablation import MORE, SHORT, words
from lens.ui.pages.ablation import read as page
from lens.ui.pages.ablation import result as show
from lens.ui.pages.ablation import tabs as more
from lens.ui.pages.ablation.head_set import show_set
from lens.ui.shared import tasks
from lens.ui.view import ViewState
from lens.ui.widgets import select, tabs


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
    show_more(view, model, asked, found)
    show.explain(view, model, asked, found)
    show.take_away(view, model, asked, found, figure)


def show_more(view: ViewState, model: Any, asked: page.Asked, found: page.Found) -> None:
    """The tabs below; only the open one is computed."""
    opened, body = tabs(view, "more", MORE)
    with body:
        if opened == "table":
            st.dataframe(words.table(found), hide_index=True, alt="Change by every set and way of removing")
            return
        select(view, "put", tuple(SHORT), "Put in place", words.PUT_HELP, format_func=words.PUTS.get, width=230)
        shown = {"grid": more.show_grid, "set": show_set, "tokens": more.show_tokens, "answers": more.show_answers}
        shown[opened](view, model, asked)
