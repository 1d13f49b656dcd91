"""Does the behaviour need it?"""

from functools import partial

import streamlit as st

from lens.ui.models import open_model
from lens.ui.pages.ablation import result as results
from lens.ui.pages.ablation.request import choose, compute
from lens.ui.pages.ablation.tabs import TABS
from lens.ui.shared import tasks
from lens.ui.view import ViewState
from lens.ui.widgets import show_tabs


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    request = choose(view, model)
    place, below = st.empty(), st.container()
    with below:
        tasks.show_ability(model, request.task)

    guess = results.guess_first(view, model, request)
    result = compute(view, model, request, partial(results.draw_filling, place, model, request))
    figure = results.figure_of(model, request, result)
    with place.container():
        results.show_result(view, model, request, result, figure, guess)
    show_tabs(view, "more", TABS, view, model, request, result)
    results.draw_export(view, model, request, result, figure)
