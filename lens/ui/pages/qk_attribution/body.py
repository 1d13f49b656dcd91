"""Why does this head look there?"""

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui import parts
from lens.ui.explanation import Explanation, explain
from lens.ui.models import open_model
from lens.ui.pages.qk_attribution import compared, words
from lens.ui.pages.qk_attribution import draw as show
from lens.ui.pages.qk_attribution.request import Request, choose, compute
from lens.ui.shared.reasons import Answer
from lens.ui.widgets import show_tabs

if TYPE_CHECKING:
    from lens.ui.view import ViewState

TABS = {
    "pairs": ("Pairs of writes", show.show_pairs),
    "cuts": ("Every cut", show.show_cuts),
    "table": ("Table", show.show_table),
}


def draw(view: "ViewState") -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    request = choose(view, model)
    left, right = st.columns([1, 2], gap="medium")
    with left:
        show.show_pattern(view, request)
    with right:
        sides, below = st.columns(2, gap="medium"), st.container()
    with sides[0]:
        of = compute(view, request)
    if of is None:
        parts.provenance(view, model)
        return
    figures = {}
    for column, side in zip(sides, ("k", "q")):
        with column:
            figures[side] = show.show_side(request, of, side)
    with below:
        explain(view, model, explanation(view, request, of))
    beside = st.container()
    show_tabs(view, "more", TABS, view, request, of)
    show.draw_export(view, request, of, figures["k"])
    compared.draw(view, beside, request, of)


def explanation(view: "ViewState", request: Request, of: Answer) -> Explanation:
    """What is said of the bars."""
    return Explanation(
        words.notice(request, of),
        words.MISREADING,
        asides=(("What it writes", show.copying(view, request, of)),),
        measured=(("Sample", words.sample_words(request, of)),),
        formula=words.FORMULA,
        where=words.WHERE,
    )
