"""The slides of a talk, each a live page."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from lens.decks import Deck, read_deck, shipped, write_deck
from lens.ui import parts
from lens.ui.components import component
from lens.ui.embed import root_address
from lens.ui.menu import MENU
from lens.ui.pages.deck import FIRST, OWN, qr
from lens.ui.widgets import select

if TYPE_CHECKING:
    from lens.ui.view import ViewState

UPLOADED = "deck:own"
LARGEST = 500_000  # bytes of a deck's file
KEYS = (
    "Space, PageDown or → goes on (a question first, then its view), PageUp or ← back, N the note, Q the code of the "
    "address, T starts the clock again, Esc leaves on the view that stands there."
)
DECK_HELP = "A talk is a file of addresses: each slide is a live page, computed on this machine, without a network."
FILE_HELP = "JSON: a title, and slides with link, title, and if you like question and note."


def draw(view: ViewState) -> None:
    """The talk: its slides in a list, or, once it is started, nothing but the slides."""
    pages = {page.path for page in MENU} - {"deck"}
    deck = _choose(view, pages)
    at = int(view.within("slide", 1, len(deck.slides)))
    if view["play"]:
        _play(view, deck, at)
        return
    row = st.container(horizontal=True, vertical_alignment="center")
    row.button("Start", type="primary", icon=":material/play_arrow:", on_click=lambda: view.set(play=True))
    row.download_button("This deck as a file", write_deck(deck), "deck.json", "application/json", on_click="ignore")
    rows = pd.DataFrame({
        "slide": range(1, len(deck.slides) + 1),
        "title": [slide.title for slide in deck.slides],
        "asked first": [slide.question for slide in deck.slides],
        "view": [slide.link for slide in deck.slides],
        "note": [slide.note for slide in deck.slides],
    })  # fmt: skip
    parts.table(
        rows, f"The {len(rows)} slides of {deck.title}", key="deck:slides", on_row=lambda i: view.set(slide=i + 1)
    )
    st.caption(f"Begins at slide {at}: choose a row to begin elsewhere. {KEYS}")


def _choose(view: ViewState, pages: set[str]) -> Deck:
    """One of the shipped decks, or the visitor's own."""
    names = [*shipped()] + [OWN] * (UPLOADED in st.session_state)
    if view["deck"] not in names:
        view.note(f"there is no deck {view['deck']!r} here: showing {FIRST}")
        view.set(deck=None)
    if not view["play"]:
        left, right = st.columns([1, 2], gap="medium")
        with left:
            select(view, "deck", names, "Deck", DECK_HELP)
        with right:
            size = -(-LARGEST // 1_000_000)
            file = st.file_uploader("A deck of your own", "json", help=FILE_HELP, key="deck:file", max_upload_size=size)
        if file is not None and file.file_id != st.session_state.get("deck:read"):
            _open(view, file, pages)
    text = st.session_state[UPLOADED] if view["deck"] == OWN else shipped()[view["deck"]].read_text(encoding="utf-8")
    return read_deck(text, pages)


def _open(view: ViewState, file: Any, pages: set[str]) -> None:
    """Read an uploaded deck; what is wrong with it stands as a sentence, and the deck that was open stays."""
    st.session_state["deck:read"] = file.file_id
    if file.size > LARGEST:
        st.error(f"{file.name} has {file.size:,} bytes; a deck has at most {LARGEST:,}")
        return
    try:
        text = file.getvalue().decode("utf-8")
        read_deck(text, pages)
    except ValueError as error:
        st.error(f"{file.name}: {error}")
        return
    st.session_state[UPLOADED] = text
    view.set(deck=OWN, slide=1)
    st.rerun()


def _play(view: ViewState, deck: Deck, at: int) -> None:
    """Nothing but the slides: the one that is shown, and the next one behind it, being computed."""
    root = root_address(view)
    links = [f"{root}/{slide.link}" for slide in deck.slides]
    slides = [slide._asdict() | {"link": link, "qr": qr.svg(link)} for slide, link in zip(deck.slides, links)]
    key = hashlib.sha256(repr((deck, root)).encode()).hexdigest()[:16]
    data = {"slides": slides, "at": at - 1, "title": deck.title, "key": key}
    component("deck")(key="deck", data=data, height=1, on_at_change=lambda: _moved(view))


def _moved(view: ViewState) -> None:
    at = st.session_state["deck"].at
    if at is not None:
        view.set(slide=int(at) + 1)
