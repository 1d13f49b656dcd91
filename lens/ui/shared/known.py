"""What papers call a head: a badge with the citation, and a column of a table."""

from typing import TYPE_CHECKING

import streamlit as st

from lens.analysis.known_heads import WHAT, known_in
from lens.analysis.names import Head

if TYPE_CHECKING:
    import pandas as pd

    from lens.ui.view import ViewState

COLUMN = "known as"


def draw_badge(view: "ViewState", head: Head) -> None:
    """What papers call the head, the first in its line and all in its tooltip; nothing for one that none describes."""
    known = known_in(view["model"], view["revision"]).get(Head(*head), ())
    if not known:
        return
    more = f" +{len(known) - 1}" if len(known) > 1 else ""
    said = [f"{one.role}: {one.source}." + (f" {one.number}." if one.number else "") for one in known]
    help = "\n\n".join([*said, *([] if known[0].by_hand else [WHAT])])
    st.badge(f"{known[0].words}{more}", icon=":material/menu_book:", color="violet", help=help)


def with_roles(view: "ViewState", rows: "pd.DataFrame") -> "pd.DataFrame":
    """The rows (columns "layer" and "index") with what papers call their heads, where they describe any of them."""
    known = known_in(view["model"], view["revision"])
    heads = [Head(int(layer), int(index)) for layer, index in zip(rows["layer"], rows["index"])] if known else []
    roles = ["; ".join(one.words for one in known.get(head, ()) if not one.by_hand) for head in heads]
    return rows.assign(**{COLUMN: roles}) if any(roles) else rows
