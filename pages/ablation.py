"""Does the behaviour need it?"""

import streamlit as st

from lens.ui.frame import frame
from lens.ui.models import open_model
from lens.ui.pieces import ablation as page
from lens.ui.pieces import tasks

with frame("Ablation", question="Does the behaviour need it?", options=page.OPTIONS) as view:
    model = open_model(view)
    asked = page.choose(view, model)
    tasks.show_ability(model, asked.task)
    from lens.ui.pieces import ablation_show as show

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
