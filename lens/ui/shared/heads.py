"""Heads as every page names, chooses, pins and selects them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from lens.analysis.names import Head

if TYPE_CHECKING:
    import pandas as pd

    from lens.ui.view import ViewState


def strongest(values: np.ndarray) -> Head:
    """The head with the largest of ``values`` [layer, head]; NaN is never the largest."""
    values = np.asarray(values)
    known = np.where(np.isnan(values), -np.inf, values)
    return Head(*map(int, np.unravel_index(int(known.argmax()), known.shape)))


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
        st.button(f"{words} {label(best)}", key, "The largest induction score of all heads.", on_click=go,
                  args=(view, best))  # fmt: skip


def select_row(view: "ViewState", key: str, rows: "pd.DataFrame") -> None:
    """Select the head of the row that was clicked in the table ``key``, which has a row of ``rows`` per head."""
    chosen: Any = st.session_state[key]["selection"]["rows"]
    if chosen:
        row = rows.iloc[chosen[0]]
        go(view, Head(int(row["layer"]), int(row["index"])))
