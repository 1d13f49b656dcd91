"""The links of the chain in their order, what a link found, and the outline of all of them. Imports no torch."""

import html
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import streamlit as st

from lens.ui.ending import PageOver
from lens.ui.links import with_links
from lens.ui.menu import page_link
from lens.ui.view import ViewState
from lens.ui.waiting import started

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.analysis.names import Head
    from lens.hooked import HookedTransformer
    from lens.ui.shared.repeats import Sample

STYLE = Path(__file__).parents[2] / "assets" / "home.css"


class Link(NamedTuple):
    """One claim about a head: ``find(case)`` and ``draw(case, finding)`` in the file of this folder that is called
    like it."""

    name: str  # completes "It …"
    question: str
    page: str  # title of the page that says more


LINKS = (
    Link("attends", "Where does it look?", "Attention"),
    Link("scores", "Is that more than chance?", "Head scores"),
    Link("looks there because", "Which earlier writes do its queries and its keys read?", "Why it looks there"),
    Link("copies", "By the eigenvalues of its OV weights: would it write the token it looks at?", "OV copying"),
    Link("is fed", "By composition of weights: which earlier head does it read most?", "Composition"),
    Link("matters", "By ablation: does the model need it to repeat?", "Ablation"),
    Link("was born", "By training checkpoints: when did it appear?", "Training dynamics"),
)
NAMES = tuple(link.name for link in LINKS)


class Finding(NamedTuple):
    """What a link found, in a few words. ``state``: "found", "none" (looked for and not found), "later" (not computed),
    "" (no verdict)."""

    words: str
    state: str = ""
    numbers: dict[str, Any] | None = None  # by name, for the export
    result: Any = None  # what ``draw`` draws


STATES = {  # of a finding, as the legend of the outline says them
    "found": "found, more than chance allows",
    "none": "looked for, not found",
    "later": "not asked yet, or no verdict",
}
NOT_YET = Finding("not computed yet", "later")


class Case(NamedTuple):
    """The head the chain is about, and what several links read."""

    view: ViewState
    model: "HookedTransformer"
    head: "Head"
    sample: "Sample"
    full: bool  # as One head draws it; else short, as Home does


def show(link: Link, case: Case) -> Finding:
    """Find and draw one link, with the way to its page.

    What is cancelled is offered again in its place: the other links do not depend on it. Its file is imported only
    here: what the later links need would hold up the first chart by half a second.
    """
    file = import_module(f"lens.ui.shared.chain.{link.name.replace(' ', '_')}")
    finding = NOT_YET
    with suppress(PageOver):
        finding = file.find(case)
        finding = file.draw(case, finding)
    open_page(case.view, link, case.head, case.view["reads"] if case.full else "repeat")
    return finding


def may_start(case: Case, key: str, seconds: float, sentence: str, done: bool = False) -> bool:
    """Whether work of a link is short, asked for, or ``done``; else its button is drawn under ``sentence``."""
    short = f"Not computed because it takes about {seconds:,.0f} s with this model."
    return started(key, seconds, sentence if case.full else short, done)


def explain_link(case: Case, *sentences: str, help: str = "") -> None:
    """What a link says under its figure: the first sentences on Home, in full all of them.

    ``help``: what the number means, as a tooltip in full. Only Markdown carries one: these sentences quote no prompt.
    """
    if not case.full:
        st.markdown(sentences[0])
    elif help:
        st.markdown(" ".join(sentences), help=help)
    else:
        for text in sentences:
            st.html(f'<p class="lens-finding">{with_links(case.view, case.model.cfg, text)}</p>')


def draw_outline(place: "DeltaGenerator", found: Mapping[str, Finding]) -> None:
    """All links in one line with what was found, and what its marks mean; what is not in ``found`` is computed."""
    items = ""
    for step, name in enumerate(NAMES, 1):
        finding = found.get(name, Finding("computing …"))
        words = html.escape(finding.words)
        title = f' title="{words}"' if name in found else ""  # where it is cut
        items += f'<li class="{finding.state}" data-step="{step}"><b>{name}</b><span{title}>{words}</span></li>'
    legend = "".join(f'<span class="{state}"><i></i>{text}</span>' for state, text in STATES.items())
    place.html(
        f'<ol class="lens-chain" aria-label="The chain of evidence for one head">{items}</ol>'
        f'<p class="lens-chain-states">{legend}</p>'
    )


def heading(link: Link) -> str:
    """Number, name and question of a link, as HTML."""
    number = 1 + LINKS.index(link)
    return f'<div class="lens-link"><b>{number} · It {link.name}</b>{html.escape(link.question)}</div>'


def open_page(view: ViewState, link: Link, head: "Head", reads: str = "repeat") -> None:
    """The link to the page that says more, with this head selected there, and where it attends on the same tokens."""
    fields = {"layer": str(head.layer), "head": str(head.head)}
    fields |= {"reads": reads} if link.name == "attends" else {}
    page_link(view, link.page, f"{link.page} of {head}", with_icon=True, **fields)
