"""The tour above a page: which step this is, what to do, whether it is done, and the way on. Imports no torch.

Where a visitor stands is in the address; every way on is a link with the values kept.
"""

import html
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import streamlit as st

from lens.ui.ending import part_of_page
from lens.ui.fields import address, short
from lens.ui.glossary import explained
from lens.ui.menu import page_of
from lens.ui.shared.tour.steps import CHAPTERS, MODEL, Chapter, place
from lens.ui.view import query_for
from lens.ui.waiting import remembered

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.ui.page import Page
    from lens.ui.shared.tour.check import Check
    from lens.ui.view import ViewState

KEPT = "lens:tour"  # what this visitor's steps came to, by name, as the page said last
DONE = "lens:tour-done"  # the steps that this visitor has done once
PENDING = "This is checked as soon as the page below stands."
AGAIN = "Both chapters begin on Home, beside its question, or here:"


def start_link(chapter: Chapter) -> str:
    """The address of a chapter's first step, without the server's: nothing that was set before is kept."""
    return _address(chapter, 1, {"model": MODEL})


def draw_tour(view: "ViewState", page: "Page") -> "DeltaGenerator | None":
    """The panel as it was when this step was checked last; None where no tour is on. ``check_tour`` draws it anew."""
    if not view["tour"]:
        return None
    slot = st.container(key="tour").empty()
    _draw(slot, view, page, _kept().get(view["tour"]), {})
    return slot


def check_tour(view: "ViewState", page: "Page", slot: "DeltaGenerator | None") -> None:
    """Check the step now that its page stands, from what the visitor has done there, and say so in the panel."""
    if slot is None:
        return
    chapter, number = place(view["tour"])
    if chapter.steps[number - 1].page != page.title or _why_elsewhere(view, chapter):
        return
    with part_of_page():
        case = import_module("lens.ui.shared.tour.check").case_of(view)
        check = import_module(f"lens.ui.shared.tour.{chapter.name}").CHECKS[number - 1](case, view)
        _kept()[view["tour"]] = check
        if check.done:
            remembered(DONE).add(view["tour"])
        _draw(slot, view, page, check, {"layer": str(case.head.layer), "head": str(case.head.head)})


def _kept() -> "dict[str, Check]":
    return st.session_state.setdefault(KEPT, {})


def _draw(
    slot: "DeltaGenerator", view: "ViewState", page: "Page", check: "Check | None", head: Mapping[str, str]
) -> None:
    chapter, number = place(view["tour"])
    step = chapter.steps[number - 1]
    where = _where(view, chapter, number, head)
    if elsewhere := _why_elsewhere(view, chapter):
        link = _link(_address(chapter, number, {"model": MODEL}), f"open {MODEL} at this step")
        body = f"<p>{html.escape(elsewhere)} {link}</p>"
    elif page.title != step.page:
        link = _link(_step_link(view, chapter, number, head), f"to {step.page}")
        body = f"<p>Step {number} is on another page: {link}</p>"
    else:
        body = f"<p>{explained(f'{step.do} {step.watch}')}</p>{_status(view, chapter, number, check, head)}"
    slot.html(
        f'<section class="lens-tour" aria-label="Tour: {html.escape(chapter.title)}">{where}<div>{body}</div></section>'
    )


def _where(view: "ViewState", chapter: Chapter, number: int, head: Mapping[str, str]) -> str:
    """The title of the chapter, its steps as links, and the way out."""
    items = ""
    for at, step in enumerate(chapter.steps, 1):
        done = f"{chapter.name}.{at}" in remembered(DONE)
        label = f"Step {at} of {len(chapter.steps)}, {step.ask}{' Done.' if done else ''}"
        here = ' aria-current="step"' if at == number else ""
        link = html.escape(_step_link(view, chapter, at, head))
        title = html.escape(label)
        items += (
            f'<li><a class="lens-go" href="{link}" title="{title}" aria-label="{title}"{here}'
            f"{' data-done' if done else ''}>{'✓' if done else at}</a></li>"
        )
    out = {name: text for name, text in view.canonical().items() if name != "tour"}
    leave = _link(address("", view.path, out).lstrip("/") or "?", "leave the tour")
    return f"<header><b>{html.escape(chapter.title)}</b><ol>{items}</ol>{leave}</header>"


def _status(view: "ViewState", chapter: Chapter, number: int, check: "Check | None", head: Mapping[str, str]) -> str:
    """Whether the step is done, what its data say, and the way on; after the last one, how to begin again."""
    done = check is not None and check.done
    words = PENDING if check is None else f"{'Done. ' if done else 'Not yet. '}{check.words}"
    said = f'<p role="status" data-done="{int(done)}"><i aria-hidden="true">{"✓" if done else "○"}</i>'
    said += f"<span>{html.escape(words)}</span></p>"
    if number < len(chapter.steps):
        label = f"{'Next' if done else 'Skip'}: {chapter.steps[number].ask} →"
        return f"{said} <p>{_link(_step_link(view, chapter, number + 1, head), label)}</p>"
    both = " · ".join(_link(start_link(of), of.title) for of in CHAPTERS.values())
    return f'{said}<p class="again">That was the last step. {AGAIN} {both}</p>' if done else said


def _why_elsewhere(view: "ViewState", chapter: Chapter) -> str:
    """Why the step cannot be checked on what is open; "" where it can."""
    if view["model"] != MODEL:
        return f"This chapter is about {MODEL}; {short(view['model'])} is open."
    if chapter.name == "why" and view["revision"]:
        return f"This chapter is about the final weights of {MODEL}; a checkpoint is open."
    return ""


def _step_link(view: "ViewState", chapter: Chapter, number: int, head: Mapping[str, str]) -> str:
    """The address of a step with the values kept, but for those that it begins with until it is done.

    ``head`` is selected after the first one.
    """
    step = chapter.steps[number - 1]
    page = page_of(step.page)
    without = () if f"{chapter.name}.{number}" in remembered(DONE) else step.without
    kept = {name: text for name, text in query_for(view, page.path, page.options).items() if name not in without}
    return _address(chapter, number, kept | (head if number > 1 else {}))


def _address(chapter: Chapter, number: int, query: Mapping[str, Any]) -> str:
    step = chapter.steps[number - 1]
    fields = {**query, **step.fields, "tour": f"{chapter.name}.{number}"}
    return address("", page_of(step.page).path, fields).lstrip("/")


def _link(link: str, words: str) -> str:
    return f'<a class="lens-go" href="{html.escape(link)}">{html.escape(words)}</a>'
