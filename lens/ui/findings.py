"""What a visitor keeps: views with a claim and a note, in this tab, and the control that does it at the end of a page.

The list is the visitor's own, in the session; it ends with the tab, and the page Findings offers it as a file.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.findings import LONGEST, MOST, Finding, Findings
from lens.findings.safe import clean
from lens.ui.badge import own_figure, weights_named
from lens.ui.embed import is_embedded
from lens.ui.fields import common_fields
from lens.ui.limits import limits
from lens.ui.menu import MENU, page_link, present
from lens.ui.stage import on_stage
from lens.ui.view import say_next_run

if TYPE_CHECKING:
    from lens.ui.badge import Shown
    from lens.ui.page import Page
    from lens.ui.view import ViewState

KEPT = "lens:findings"
UNDONE = 5  # deletions that can be undone, one after the other
PAGE = "Findings"  # the page that lists them
FRAME = frozenset({"stage", "tour", "workshop_pages", "workshop_models"})  # of an address: how it is shown, not what
CLAIM_HELP = "What this view shows, in your words. It begins with the notice of the page."
NOTE_HELP = "Anything else: what would refute it, what to try next."


class Item(NamedTuple):
    """A finding and its number in this tab, which no other has had."""

    key: int
    finding: Finding


@dataclass
class Kept:
    """What one visitor has kept in this tab, in the order it is told."""

    title: str = ""
    items: list[Item] = field(default_factory=list)
    gone: list[tuple[int, Item]] = field(default_factory=list)  # from which place; last deleted, last here
    count: int = 0  # of all that was ever kept

    @property
    def findings(self) -> Findings:
        """As a file has them."""
        return Findings(self.title, tuple(item.finding for item in self.items))

    def problem(self, finding: Finding) -> str:
        """Why there is no room for another one, as a sentence; "" where there is."""
        if len(self.items) >= MOST:
            return f"{MOST} findings are kept, and no more: download them and delete some"
        if self.size + finding.size > limits().findings_bytes:
            most = limits().findings_bytes / 1e6
            return f"findings of one visitor take at most {most:g} MB, and these do: download them and delete some"
        return ""

    @property
    def size(self) -> int:
        """About how many bytes they take."""
        return sum(item.finding.size for item in self.items)

    def add(self, finding: Finding) -> None:
        """Keep one more, as the last."""
        self.items.append(Item(self.count, finding))
        self.count += 1

    def move(self, key: int, by: int) -> None:
        """Move one up (-1) or down (+1); the first and the last stay where they would leave the list."""
        at = self._place(key)
        to = min(max(at + by, 0), len(self.items) - 1)
        self.items.insert(to, self.items.pop(at))

    def change(self, key: int, claim: str, note: str) -> None:
        """Other words for what is kept."""
        at = self._place(key)
        self.items[at] = Item(key, self.items[at].finding._replace(claim=claim, note=note))

    def delete(self, key: int) -> None:
        """Take one out; ``undo`` puts it back, if not too many were since."""
        at = self._place(key)
        self.gone = [*self.gone[1 - UNDONE :], (at, self.items.pop(at))]

    def undo(self) -> None:
        """Put back what was deleted last, in its place."""
        at, item = self.gone.pop()
        self.items.insert(at, item)

    def _place(self, key: int) -> int:
        return next(at for at, item in enumerate(self.items) if item.key == key)


def kept() -> Kept:
    """What this visitor has kept."""
    return st.session_state.setdefault(KEPT, Kept())


def known_pages() -> dict[str, set[str]]:
    """The pages whose views can be kept, with the fields of their addresses."""
    shared = {one.name for one in common_fields(limits())} - FRAME
    return {page.path: shared | {one.name for one in page.options} for page in MENU if _can_keep(page)}


def _can_keep(page: Page) -> bool:
    return page.section != "Show"


def draw_pin(view: ViewState, page: Page) -> None:
    """The folded line at the end of a page: a claim, a note, and the button that keeps its view."""
    if on_stage() or is_embedded() or not _can_keep(page) or PAGE not in {one.title for one in present()}:
        return
    mine, shown = kept(), own_figure()
    turn = hashlib.sha256(f"{page.name}:{shown.notice}:{mine.count}".encode()).hexdigest()[:16]
    claim, note = f"finding:claim:{turn}", f"finding:note:{turn}"
    with st.expander("Keep this as a finding"):
        with st.form(f"finding:{page.name}", border=False):
            left, middle, right = st.columns([3, 2, 0.7], vertical_alignment="bottom")
            left.text_area("Claim", shown.notice[: LONGEST["claim"]], 82, LONGEST["claim"], claim, help=CLAIM_HELP)
            middle.text_area("Note", "", 82, LONGEST["note"], note, help=NOTE_HELP)
            finding = _finding(view, page, shown)
            right.form_submit_button("Keep", on_click=_keep, args=(finding, shown, claim, note), width="stretch")
    if mine.items:
        page_link(view, PAGE, f"Findings: {len(mine.items)} kept →")


def _finding(view: ViewState, page: Page, shown: Shown) -> Finding:
    """The view as it stands on the screen, with nothing claimed yet. Model and prompt are named even where they are the
    defaults: another day's may be others."""
    named = {"model": view["model"]} | ({"prompt": view["prompt"]} if page.prompt else {})
    query = {name: text for name, text in (named | view.canonical()).items() if name not in FRAME}
    model, dtype = weights_named() or ("", "")
    sample = shown.sample[: LONGEST["sample"]]
    code = shown.code if len(shown.code) <= LONGEST["code"] else ""
    return Finding(page.path, query, "", model=model, dtype=dtype, sample=sample, code=code)


def _keep(finding: Finding, shown: Shown, claim: str, note: str) -> None:
    mine, words = kept(), st.session_state[claim].strip()
    if not words:
        say_next_run("a finding needs a claim: nothing was kept")
        return
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    finding = finding._replace(claim=words, note=st.session_state[note].strip(), date=now)
    whole = _with_figure(finding, shown)
    if mine.problem(whole) and not mine.problem(finding):
        say_next_run(f"{mine.problem(whole)}. This one is kept without its figure")
        whole = finding
    if mine.problem(whole):
        say_next_run(f"{mine.problem(whole)}. Nothing was kept")
        return
    mine.add(whole)
    st.toast(f"Kept: {len(mine.items)} on the page Findings.", icon=":material/keep:")


def _with_figure(finding: Finding, shown: Shown) -> Finding:
    if isinstance(shown.figure, str):
        markup = clean(shown.figure)
        return finding._replace(html=markup) if len(markup) <= LONGEST["html"] else finding
    from lens.figures.kept import written  # brings plotly, which nothing of a frame may

    chart = written(shown.figure)
    return finding._replace(figure=chart) if len(chart) <= LONGEST["figure"] else finding
