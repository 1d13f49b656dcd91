"""One finding of the list: its words, its figure, where it comes from, and what can be done with it."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import streamlit as st

from lens.figures.kept import restored
from lens.findings import LONGEST
from lens.ui import parts
from lens.ui.components import component
from lens.ui.findings import CLAIM_HELP, NOTE_HELP
from lens.ui.menu import MENU, present
from lens.ui.view import say_next_run

if TYPE_CHECKING:
    from lens.findings import Finding
    from lens.ui.findings import Item, Kept
    from lens.ui.view import ViewState

EDITED = "findings:edited"  # the key of the one whose words are being changed
AT_DESK = {"stage": "0"}  # no link of the menu says so: the view is opened as it was, whatever was left on its page


def draw(view: ViewState, mine: Kept, number: int, item: Item, figures: bool) -> None:
    """The whole of it."""
    finding = item.finding
    with st.container(border=True, key=f"finding-{item.key}"):
        if st.session_state.get(EDITED) == item.key:
            _edit(mine, item)
        else:
            note = f"<p>{html.escape(finding.note)}</p>" if finding.note else ""
            st.html(f'<div class="lens-finding"><h2>{number}. {html.escape(finding.claim)}</h2>{note}</div>')
        if figures:
            _figure(item)
        if finding.source:
            st.html(f'<p class="lens-finding-source">{html.escape(finding.source)}</p>')
        _deeds(mine, number, item)


def _figure(item: Item) -> None:
    """As it was when it was kept."""
    finding = item.finding
    if finding.figure:
        parts.chart(restored(finding.figure), finding.claim, f"finding:chart:{item.key}")
    elif finding.html:
        component("kept")(key=f"finding:kept:{item.key}", data={"html": finding.html}, height="content")


def _deeds(mine: Kept, number: int, item: Item) -> None:
    key = item.key
    with st.container(horizontal=True, vertical_alignment="center", key=f"finding-deeds-{key}"):
        _link(item.finding)
        for label, icon, act, args, off in (
            ("Up", "arrow_upward", mine.move, (key, -1), number == 1),
            ("Down", "arrow_downward", mine.move, (key, 1), number == len(mine.items)),
            ("Edit", "edit", st.session_state.__setitem__, (EDITED, key), False),
            ("Delete", "delete", mine.delete, (key,), False),
        ):
            st.button(
                label,
                f"finding:{label}:{key}",
                on_click=act,
                args=args,
                icon=f":material/{icon}:",
                disabled=off,
                type="tertiary",
            )
        if item.finding.code:
            with st.popover("Python"):
                st.code(item.finding.code, language="python")


def _link(finding: Finding) -> None:
    page = next(page for page in MENU if page.path == finding.page)
    if page not in present():
        st.caption(f"{page.title} is not offered here")
        return
    st.page_link(
        page.file, label=f"Open: {page.title}", icon=f":material/{page.icon}:", query_params={**finding.view, **AT_DESK}
    )


def _edit(mine: Kept, item: Item) -> None:
    """A form for its words in their place."""
    claim, note = f"finding:new-claim:{item.key}", f"finding:new-note:{item.key}"
    with st.form(f"finding:edit:{item.key}", border=False):
        st.text_area("Claim", item.finding.claim, 82, LONGEST["claim"], claim, help=CLAIM_HELP)
        st.text_area("Note", item.finding.note, 110, LONGEST["note"], note, help=NOTE_HELP)
        with st.container(horizontal=True):
            st.form_submit_button("Save", on_click=_save, args=(mine, item.key, claim, note), type="primary")
            st.form_submit_button("Cancel", on_click=st.session_state.pop, args=(EDITED,))


def _save(mine: Kept, key: int, claim: str, note: str) -> None:
    words = st.session_state[claim].strip()
    if not words:
        say_next_run("a finding needs a claim: its words are as they were")
        return
    mine.change(key, words, st.session_state[note].strip())
    st.session_state.pop(EDITED)
