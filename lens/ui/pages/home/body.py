"""Home: what Lens is and where to begin."""

import streamlit as st

from lens.ui.models import open_model
from lens.ui.pages.home import class_link, start
from lens.ui.shared.chain.link import LINKS, draw_outline
from lens.ui.view import ViewState


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    start.introduce()
    left, right = st.columns([1, 1.2], gap="medium")
    places = left, right.container()
    with right.container(key="home-outline"):
        state, outline = st.empty(), st.empty()
    start.status(state, view)
    draw_outline(outline, {})
    answers = start.boxes(LINKS[start.BESIDE :])
    below = st.container()
    start.more()
    class_link.draw(view)
    with places[0]:
        model = open_model(view)
    start.status(state, view, model)
    # Only now, so that what Lens is stands on the screen while torch is imported.
    from lens.ui.pages.home.chain import conclude, show_first, show_later

    case, findings, figure = show_first(view, model, outline, places)
    with below:
        conclude(case, figure)
    show_later(case, findings, outline, answers)
