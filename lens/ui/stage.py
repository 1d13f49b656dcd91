"""A page for a projector: large type, the figure, its notice as the subtitle, and no more. ``?stage=1``."""

from __future__ import annotations

import html
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from lens.ui.fields import address

if TYPE_CHECKING:
    from lens.ui.page import Page
    from lens.ui.view import ViewState

STYLE = Path(__file__).parent / "assets" / "stage.css"
LARGER = 1.6  # letters of figures
LONG = 260  # characters of a subtitle from which its letters are smaller
ON = "lens:stage"  # whether this run is on stage, and whether its subtitle stands


def start_stage(view: ViewState) -> bool:
    """Whether this run is on stage; from now on ``on_stage`` says the same."""
    st.session_state[ON] = {"subtitle": False} if view["stage"] else None
    return view["stage"]


def on_stage() -> bool:
    """Whether this run of a page is drawn for a projector."""
    return st.session_state.get(ON) is not None


def stage_link(view: ViewState) -> str:
    """The address of this view on stage, without the server's."""
    return address("", view.path, view.canonical() | {"stage": "1"})


def header(page: Page, question: str, view: ViewState) -> None:
    """The question of the page and the small way back to it as it is at a desk."""
    st.html(STYLE)
    st.html(f'<h1 class="lens-title">{html.escape(question)}<i> </i><small>{html.escape(page.title)}</small></h1>')
    here = {name: text for name, text in view.canonical().items() if name != "stage"}
    link = html.escape(address("", page.path, here))
    st.html(f'<p class="lens-stage"><a class="lens-go" id="lens-stage-off" href="{link}">leave the stage (Esc)</a></p>')


def subtitle(text: str, write: Callable[[str], str]) -> None:
    """The first notice of a page, at the foot of the screen; the others stand where the page is read."""
    if not st.session_state[ON]["subtitle"]:
        st.session_state[ON]["subtitle"] = True
        long = ' data-long="1"' if len(text) > LONG else ""
        st.html(f'<p class="lens-subtitle" role="status"{long}>{write(text)}</p>')
