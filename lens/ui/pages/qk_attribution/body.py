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
    asked = choose(view, model)
    left, *sides = st.columns([1, 1, 1], gap="medium")
    with left:
        show.show_pattern(view, asked)
    with sides[0]:
        of = compute(view, asked)
    if of is None:
        parts.provenance(view, model)
        return
    figures = {}
    for column, side in zip(sides, ("k", "q")):
        with column:
            figures[side] = show.show_side(asked, of, side)
    beside = st.container()
    explain(view, model, explanation(view, asked, of))
    show_tabs(view, "more", TABS, view, asked, of)
    show.draw_export(view, asked, of, figures["k"])
    compared.draw(view, beside, asked, of)


def explanation(view: "ViewState", asked: Request, of: Answer) -> Explanation:
    """What is said of the bars."""
    return Explanation(
        words.notice(asked, of),
        words.MISREADING,
        asides=(("What it writes", show.copying(view, asked, of)),),
        measured=(("Sample", words.sample_words(asked, of)),),
        formula=words.FORMULA,
        where=words.WHERE,
    )
