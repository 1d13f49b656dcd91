"""Heads as every page names, chooses, pins and selects them."""

from typing import TYPE_CHECKING

import streamlit as st

from lens.analysis.known_heads import WHAT
from lens.analysis.names import Head
from lens.ui import parts
from lens.ui.shared.known import COLUMN, with_roles

if TYPE_CHECKING:
    import pandas as pd

    from lens.ui.view import ViewState

TABLE_HEIGHT = 380  # pixels of a table of all heads


def current(view: "ViewState", best: Head) -> Head:
    """The head that a page is about: the selected one, else the last one pinned, else ``best``."""
    return view.current() or best


def label(head: tuple[int, int]) -> str:
    """layer.head"""
    return str(Head(*head))


def from_label(text: str) -> Head:
    """The head that a table's "18.6" names."""
    layer, head = text.split(".")
    return Head(int(layer), int(head))


def go(view: "ViewState", head: Head) -> None:
    """Select a head; pins stay as they are."""
    view.select(*head)


def pin_button(view: "ViewState", head: Head, key: str) -> None:
    """Pins the head that the page is about, or unpins it. A second click on the head in a figure does the same."""
    pinned = head in view["pins"]
    verb, help = ("Unpin", "Take it out of the pinned heads.") if pinned else ("Pin", "Keep it in view on every page.")
    st.button(f"{verb} {label(head)}", key, help, on_click=view.toggle_pin, args=tuple(head), icon=":material/keep:")


def best_button(view: "ViewState", head: Head, best: Head, words: str, key: str) -> None:
    """The way back to the strongest head; nothing where it is shown already. ``words`` stand before its name."""
    if head != best:
        help = "The largest induction score of all heads."
        st.button(f"{words} {label(best)}", key, help, on_click=go, args=(view, best))


def head_table(view: "ViewState", rows: "pd.DataFrame", key: str, columns: parts.Columns, alt: str) -> None:
    """A table with a row per head (columns "layer" and "index"); a click on a row selects its head.

    What papers call the heads stands at the end, where any of them is described.
    """

    def select(row: int) -> None:
        view.select(int(rows["layer"].iloc[row]), int(rows["index"].iloc[row]))

    columns = {COLUMN: st.column_config.TextColumn(help=WHAT)} | (columns or {})
    parts.table(with_roles(view, rows), alt, columns, height=TABLE_HEIGHT, key=key, on_row=select)
