"""A token strip whose tokens can be chosen, by click or by keyboard: arrows move, Enter chooses."""

from functools import lru_cache, partial
from pathlib import Path

import streamlit as st

from lens.ui.view import ViewState

ASSETS = Path(__file__).parent / "assets"


@lru_cache(maxsize=1)
def _component():
    css, js = ((ASSETS / f"chips.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    return st.components.v2.component("lens_chips", html='<div class="lens-chips"></div>', css=css, js=js)


def chips(view: ViewState, name: str, html: str, chosen: int | None, key: str) -> None:
    """``html`` of ``lens.figures.strip.token_strip``; the position of a chosen token goes to field ``name``.

    ``chosen`` is where the keyboard enters the strip, and is announced as selected.
    """
    data = {"html": html, "chosen": chosen or 0}
    _component()(key=key, data=data, height="content", on_chosen_change=partial(_choose, view, name, key))


def _choose(view: ViewState, name: str, key: str) -> None:
    chosen = st.session_state[key].chosen
    if chosen is not None:
        view.set(**{name: int(chosen)})
