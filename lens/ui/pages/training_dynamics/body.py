"""When was it born?"""

from functools import partial

import streamlit as st

from lens.ui.checkpoint_runs import longest_block, run_of
from lens.ui.models import source_named, source_of
from lens.ui.pages.training_dynamics import controls as choose
from lens.ui.pages.training_dynamics import draw as show
from lens.ui.pages.training_dynamics.run_curves import measure_instrument, measure_runs
from lens.ui.pages.training_dynamics.watching import watch
from lens.ui.view import ViewState
from lens.ui.widgets import show_tabs


def draw(view: ViewState) -> None:
    """The page, from top to bottom."""
    watch(view)
    with st.container(horizontal=True, vertical_alignment="bottom", key="dynamics-controls"):
        names = choose.choose_runs(view)

        run = run_of(source_of(view))
        longest = longest_block(run_of(source_named(name)) for name in names)
        choices = choose.controls(view, run.checkpoints, longest)

    show.clamp_heads(view, run)
    above = st.container()
    left, right = st.columns([1.5, 1], gap="medium")
    with left:
        place = st.empty()
        fill = partial(show.show_filling, place, view, choices)
        runs = measure_runs(view, names, choices, fill)
    with above:
        runs = measure_instrument(view, runs, choices, fill)
    with left:
        figure, notices = show.show_curves(place, view, runs, choices)
    with right:
        show.show_play(view, runs, choices)
    show.explain_curves(view, runs, choices, notices)
    show.draw_export(view, runs, choices, figure)  # before those of the tabs: the first is the page's own
    show_tabs(view, "more", show.TABS, view, runs, choices)
