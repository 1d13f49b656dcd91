"""Home: what Lens is and where to begin."""

import streamlit as st

from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.pages.home import start as home

with frame("Home", question="What is this, and where do I begin?") as view:
    home.introduce()
    home.presets()
    state, outline = st.empty(), st.empty()
    home.status(state, view)
    home.chain(outline, {})
    places = st.columns([1, 1.2], gap="medium")
    later = home.later()
    below = st.container()
    with places[0]:
        model = open_model(view)
        home.status(state, view, model)
        from lens.ui.pages.home.first_links import explain, show_chain

        shown = show_chain(view, model, outline, places)
    with below:
        explain(view, model, shown)
    from lens.ui.pages.home.later_links import show_links

    show_links(view, model, shown, outline, later)
