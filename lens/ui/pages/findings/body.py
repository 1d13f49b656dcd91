"""What was found: the views that a visitor kept, in an order of their own, and what they become outside the app."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from lens.figures.kept import restored
from lens.figures.theme import standalone
from lens.findings import LARGEST, LONGEST_TITLE, Findings, plain, read_findings, to_html, to_notebook, write_findings
from lens.ui import parts
from lens.ui.components import ASSETS
from lens.ui.embed import root_address
from lens.ui.findings import kept, known_pages
from lens.ui.pages.findings import item
from lens.ui.view import say_next_run
from lens.ui.widgets import toggle

if TYPE_CHECKING:
    from plotly.graph_objects import Figure
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from lens.ui.findings import Kept
    from lens.ui.view import ViewState

TITLE = "findings:title"
READ = "findings:read"  # which uploaded file was read
LIVES = (
    "Findings stand in this tab alone, and end with it: nothing of them is stored here or seen by others. Download the "
    "file to keep them; it can be opened again."
)
NONE_YET = (
    "Nothing is kept yet. At the end of every page stands “Keep this as a finding”: its view, with what you claim of "
    "it and a note, comes here."
)
TITLE_HELP = "Stands above them in the page and in the notebook."
FIGURES_HELP = "Whether each finding shows its figure, as it was when it was kept."
FILE_HELP = "A file that was downloaded here. What it holds is added to what stands here."
CODE_WARNING = "The Python of these findings came with the file: read it before you run it"


def draw(view: ViewState) -> None:
    """Where they live, what becomes of them, and one after the other."""
    st.html(ASSETS / "findings.css")
    mine = kept()
    left, right = st.columns([3, 2], gap="medium")
    with right:
        _add_file(mine)  # first: it may bring a title
    with left:
        st.caption(LIVES)
        mine.title = st.text_input("Title", mine.title, LONGEST_TITLE, TITLE, help=TITLE_HELP)
        _take_away(view, mine.findings)
    if mine.gone:
        _, gone = mine.gone[-1]
        st.button(f"Undo: {_short(gone.finding.claim)} was deleted", icon=":material/undo:", on_click=mine.undo)
    if not mine.items:
        parts.empty_state(NONE_YET)
    figures = toggle(view, "figures", "Figures", FIGURES_HELP)
    for number, one in enumerate(mine.items, 1):
        item.draw(view, mine, number, one, figures)


def _take_away(view: ViewState, findings: Findings) -> None:
    """All of them as a file, a page and a notebook, each made when it is asked for."""
    stem = re.sub(r"[^a-z0-9]+", "-", findings.title.lower()).strip("-")[:60] or "findings"
    root, nothing = root_address(view), not findings.items
    files = (
        ("File (JSON)", f"{stem}.json", "application/json", partial(write_findings, findings)),
        ("Page (HTML)", f"{stem}.html", "text/html", partial(to_html, findings, root, _on_paper)),
        ("Notebook", f"{stem}.ipynb", "application/x-ipynb+json", partial(to_notebook, findings, root)),
    )
    with st.container(horizontal=True):
        for label, name, mime, build in files:
            key = f"findings:{mime}"
            st.download_button(label, build, name, mime, key, name, on_click="ignore", disabled=nothing)


def _on_paper(chart: str) -> Figure:
    return standalone(restored(chart))


def _add_file(mine: Kept) -> None:
    """The findings of a file behind those that stand here; what is wrong with it is said, and nothing changes."""
    file = st.file_uploader(
        "Open a file of findings", "json", key="findings:file", help=FILE_HELP, max_upload_size=LARGEST // 1_000_000
    )
    if file is None or file.file_id == st.session_state.get(READ):
        return
    try:
        findings = read_findings(_text(file), known_pages())
    except ValueError as error:
        st.error(plain(f"{file.name}: {error}."), icon=":material/error:")
        return
    st.session_state[READ] = file.file_id
    say_next_run(_add(mine, findings, file.name))
    st.session_state[TITLE] = mine.title
    st.rerun()


def _text(file: UploadedFile) -> str:
    if file.size > LARGEST:
        raise ValueError(f"it has {file.size:,} bytes; a file of findings has at most {LARGEST:,}. Divide it")
    try:
        return file.getvalue().decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(
            "it is no text in UTF-8, as a file of findings is. Choose a file that Findings wrote"
        ) from None


def _add(mine: Kept, findings: Findings, name: str) -> str:
    """Keep what is not here yet, as far as there is room; says what became of the file."""
    here = list(mine.findings.items)
    new = [finding for finding in findings.items if finding not in here]
    added, problem = 0, ""
    for finding in new:
        problem = mine.problem(finding)
        if problem:
            break
        mine.add(finding)
        added += 1
    mine.title = mine.title or findings.title
    known = f", {len(findings.items) - len(new)} stood here already" if len(new) < len(findings.items) else ""
    rest = f"; the other {len(new) - added} are left out, as {problem}" if problem else ""
    code = f". {CODE_WARNING}" if any(finding.code for finding in new[:added]) else ""
    return f"{added} findings of {name} added{known}{rest}{code}"


def _short(claim: str) -> str:
    line = " ".join(claim.split())
    return f"“{plain(line if len(line) <= 50 else line[:49] + '…')}”"
