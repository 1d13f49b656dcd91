"""Everything known about this one head: the chain of evidence."""

from typing import TYPE_CHECKING

import streamlit as st

from lens.ui.models import open_model
from lens.ui.pages.head import chain, compared, on_text
from lens.ui.pages.head.table import show_table

if TYPE_CHECKING:
    from lens.ui.view import ViewState


def draw(view: "ViewState") -> None:
    """The page, from top to bottom."""
    model = open_model(view)
    above = chain.draw_row()
    case = chain.choose_head(view, model, above.picker)
    findings = chain.show_chain(case, above.outline)
    known = on_text.known_scores(case)
    shown = show_table(case, known)
    beside = st.container()
    chain.conclude(case, findings, shown.rows)
    read = on_text.draw(case)
    if known is None and read is not None:
        shown.draw(read)
    compared.draw(case, beside, shown.measured.scores)
