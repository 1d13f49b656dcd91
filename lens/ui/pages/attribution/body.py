"""Which component pushes it?"""

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui.explanation import Explanation, explain
from lens.ui.models import open_model
from lens.ui.pages.attribution import compared, words
from lens.ui.pages.attribution import draw as show
from lens.ui.pages.attribution.prompts import show_prompts
from lens.ui.pages.attribution.request import choose, compute, end_if_waiting
from lens.ui.shared import heads
from lens.ui.widgets import show_tabs

if TYPE_CHECKING:
    from lens.ui.view import ViewState

TABS = {
    "neurons": ("Neurons", show.show_neurons),
    "prompts": ("Over many prompts", show_prompts),
    "table": ("Table", show.show_table),
}


def draw(view: "ViewState") -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    request = choose(view, model)
    left, right = st.columns([1, 1.2], gap="medium")
    with left:
        found = end_if_waiting(view, request, compute(view, request))
        figure = show.show_waterfall(request, found)
    with right:
        show.show_grid(view, request, found)
        show.show_sources(view, request, found)
        heads.pin_button(view, found.head, "attribution:pin")
    explanation = Explanation(
        words.notice(request, found),
        words.MISREADING,
        measured=(("Sample", words.sample_words(request, found, int(view["seed"]))),),
        formula=words.FORMULA,
        where=words.WHERE,
    )
    explain(view, model, explanation)
    beside = st.container()
    show.draw_export(view, request, found, figure)
    show_tabs(view, "more", TABS, view, request, found)
    compared.draw(view, beside, request, found)
