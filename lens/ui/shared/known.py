"""What papers call a head, as a badge with its citation and as a column of a table."""

from typing import TYPE_CHECKING

import streamlit as st

from lens.analysis.known_heads import WHAT, known_in
from lens.analysis.names import Head

if TYPE_CHECKING:
    import pandas as pd

    from lens.ui.view import ViewState

COLUMN = "known as"


def draw_badges(view: "ViewState", head: Head) -> None:
    """A badge for each role of the head in a paper; nothing for a head that none describes."""
    for one in known_in(view["model"], view["revision"]).get(Head(*head), ()):
        number = f" {one.number}." if one.number else ""
        about = f"{one.source}.{number}" if one.by_hand else f"{one.source}.{number} {WHAT}"
        st.badge(one.words, icon=":material/menu_book:", color="violet", help=about)


def with_roles(view: "ViewState", rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows (columns "layer" and "index") with what papers call their heads, where they describe any of them."""
    known = known_in(view["model"], view["revision"])
    heads = [Head(int(layer), int(index)) for layer, index in zip(rows["layer"], rows["index"])] if known else []
    roles = ["; ".join(one.words for one in known.get(head, ()) if not one.by_hand) for head in heads]
    return rows.assign(**{COLUMN: roles}) if any(roles) else rows
