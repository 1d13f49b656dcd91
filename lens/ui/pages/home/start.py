"""What stands on Home before any number: what Lens is, where to begin, which links of the chain there are."""

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from lens.ui.controls import EXAMPLES
from lens.ui.fields import DEFAULT_MODEL
from lens.ui.menu import page_of, present
from lens.ui.view import ViewState, query_for

STYLE = Path(__file__).parents[2] / "assets" / "home.css"
QUESTION = "What is one attention head doing, and how sure can we be?"
READERS = (
    ("To learn", "Where one head of a language model looks, and what it is good at."),
    ("To research", "Every score with its null, interval, n and seed, and the Python behind it."),
    ("To present", "Type what the audience says; each view is an address and needs no network."),
)
SURPRISE = (
    "The capital of France is Paris. The capital of Italy is Rome. The capital of Japan is a sandwich. "
    "The capital of Spain is"
)
LATER = (
    ("copies", "By the eigenvalues of its OV weights: would it write the token it looks at?"),
    ("matters", "By ablation: does the model need it to repeat?"),
    ("was born", "By training checkpoints: when did it appear?"),
)
NAMES = ("attends", "scores", *(name for name, _ in LATER))
PAGES = {
    "attends": "Attention",
    "scores": "Head scores",
    "copies": "OV copying",
    "matters": "Ablation",
    "was born": "Training dynamics",
}
A_ROW = 4  # cards
REAL = {"model": "smollm2-135m-instruct"}


class Found(NamedTuple):
    """What one link found. ``state``: "found", "none" (looked for and not found), "later" (not computed), ""."""

    words: str
    state: str = ""


class Preset(NamedTuple):
    """A way in. ``page`` is a title of the menu; what ``query`` leaves out is the default: its model, its prompt."""

    title: str
    words: str
    page: str
    icon: str  # one of Streamlit's bundled Material icons
    query: dict[str, str]


PRESETS = (
    Preset(
        "One head, link by link",
        "The whole chain for the strongest induction head.",
        "One head",
        "center_focus_strong",
        {},
    ),
    Preset(
        "A head is born",
        "Scores and losses at every checkpoint of a training.",
        "Training dynamics",
        "timeline",
        {},
    ),
    Preset(
        "A decoy: it looks, and copies nothing",
        "The instruments on models with known answers.",
        "Method",
        "verified",
        {"instrument": "copying", "plant": "planted-decoy"},
    ),
    Preset(
        "Repeated random tokens",
        "The loss by position, first copy and second.",
        "Tokens",
        "show_chart",
        {"part": "repeat"},
    ),
    Preset(
        "Induction heads of a real language model",
        "Every head on random tokens that repeat, against chance.",
        "Head scores",
        "leaderboard",
        REAL,
    ),
    Preset(
        "Indirect object: John and Mary",
        "Who gets the milk? One head that looks for the name.",
        "Attention",
        "grid_on",
        {**REAL, "layer": "23", "query": "16", "first": "hide"},
    ),
    Preset(
        "Where is the model surprised?",
        "The loss of every token, in a text with one odd word.",
        "Tokens",
        "segment",
        {**REAL, "prompt": SURPRISE},
    ),
    Preset(
        "A prompt with code",
        "Two functions alike: a head that finds its place.",
        "Attention",
        "code",
        {**REAL, "prompt": dict(EXAMPLES)["Code"], "layer": "18", "head": "6", "query": "24", "first": "hide"},
    ),
)


def introduce() -> None:
    """What Lens is, in three lines for three readers."""
    st.html(STYLE)
    lines = "".join(f"<dt>{html.escape(who)}</dt><dd>{html.escape(what)}</dd>" for who, what in READERS)
    st.html(f'<div class="lens-hero"><h2>{html.escape(QUESTION)}</h2><dl>{lines}</dl></div>')


def presets() -> None:
    """Cards that set model, prompt, page and options at once; those whose page exists."""
    there = {page.title for page in present()}
    offered = [preset for preset in PRESETS if preset.page in there]
    if not offered:
        return
    st.html('<div class="lens-begin">Begin with one of these</div>')
    for first in range(0, len(offered), A_ROW):
        for number, column in enumerate(st.columns(A_ROW, gap="small"), first):
            if number < len(offered):
                with column.container(border=True, key=f"preset-{number}", height="stretch"):
                    _card(offered[number])


def _card(preset: Preset) -> None:
    # The model is named even if it is the default: the menu writes no such query, so it is read anew.
    query = {"model": DEFAULT_MODEL, **preset.query}
    icon, page = f":material/{preset.icon}:", page_of(preset.page)
    label = f"{preset.title}\n\n{preset.words}"  # all of the card is the link, for a screen reader too
    st.page_link(page.file, label=label, icon=icon, query_params=query, width="stretch")


def status(place: Any, view: ViewState, model: Any = None) -> None:
    """The model the chain is about, or that it is being opened."""
    words = f"opening {view['model']} …"
    if model is not None:
        cfg = model.cfg
        # By address: tied embeddings are one tensor in memory.
        millions = sum({weight.data_ptr(): weight.numel() for weight in model.parameters()}.values()) / 1e6
        size = f"{millions:,.0f}" if millions >= 10 else f"{millions:.2f}"
        words = f"{model.name} · {cfg.n_layers} layers of {cfg.n_heads} heads · {size} M parameters"
    place.html(f'<div class="lens-begin">The chain of evidence, live <span>{html.escape(words)}</span></div>')


def chain(place: Any, found: Mapping[str, Found]) -> None:
    """The five links, with what was found; those that are not in ``found`` are being computed."""
    items = ""
    for step, name in enumerate(NAMES, 1):
        words, state = found.get(name, Found("computing …"))
        items += f'<li class="{state}" data-step="{step}"><b>{name}</b><span>{html.escape(words)}</span></li>'
    place.html(f'<ol class="lens-chain" aria-label="The chain of evidence for one head">{items}</ol>')


def later() -> tuple[Any, ...]:
    """Boxes for the links after the first two, with their questions; returns the places of the answers."""
    places = []
    for step, (column, (name, what)) in enumerate(zip(st.columns(len(LATER), gap="small"), LATER), 3):
        with column.container(border=True, height="stretch"):
            st.html(f'<div class="lens-link"><b>{step} · It {name}</b>{html.escape(what)}</div>')
            places.append(st.empty())
            places[-1].caption("computing …")
    return tuple(places)


def open_page(view: ViewState, name: str, head: tuple[int, int]) -> None:
    """The link to the page that says more about a link of the chain, with this head selected there."""
    page = page_of(PAGES[name])
    if page not in present():
        return
    query = query_for(view, page.path) | {"layer": str(head[0]), "head": str(head[1])}
    label = f"{page.title} of {head[0]}.{head[1]}"
    st.page_link(page.file, label=label, icon=f":material/{page.icon}:", query_params=query)
