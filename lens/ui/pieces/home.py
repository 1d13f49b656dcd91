"""What stands on Home before any number: what Lens is, where to begin, which links of the chain there are."""

import html
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from lens.ui.controls import EXAMPLES
from lens.ui.fields import DEFAULT_MODEL
from lens.ui.menu import page_of, present
from lens.ui.view import ViewState

STYLE = Path(__file__).parents[1] / "assets" / "home.css"
QUESTION = "What is one attention head doing, and how sure can we be?"
READERS = (
    ("To learn", "Where one head of a real language model looks, and what it is good at."),
    ("To research", "Every score with its null, interval, n and seed, and the Python behind it."),
    ("To present", "Type what the audience says; each view is an address and needs no network."),
)
SURPRISE = (
    "The capital of France is Paris. The capital of Italy is Rome. The capital of Japan is a sandwich. "
    "The capital of Spain is"
)
LATER = (
    (
        "copies",
        "By the eigenvalues of its OV weights: would it write the token it looks at?",
        "Not computed yet: no page of this version reads weights.",
    ),
    (
        "matters",
        "By ablation and patching: does the model need it to repeat?",
        "Not computed yet: no page of this version changes activations.",
    ),
    (
        "was born",
        "By training checkpoints: at which step did it appear?",
        "Not computed yet: no page of this version follows a training.",
    ),
)


class Preset(NamedTuple):
    """A way in. ``page`` is a title of the menu; what ``query`` leaves out is the default: its model, its prompt."""

    title: str
    words: str
    page: str
    icon: str
    query: dict[str, str]


PRESETS = (
    Preset(
        "Induction heads of a real language model",
        "Every head on random tokens that repeat, against chance.",
        "Head scores",
        "leaderboard",
        {},
    ),
    Preset(
        "Indirect object: John and Mary",
        "Who gets the milk? One head that looks for the name.",
        "Attention",
        "grid_on",
        {"layer": "23", "query": "16", "first": "hide"},
    ),
    Preset(
        "Where is the model surprised?",
        "The loss of every token, in a text with one odd word.",
        "Tokens",
        "segment",
        {"prompt": SURPRISE},
    ),
    Preset(
        "Repeated random tokens",
        "The loss by position, first copy and second.",
        "Tokens",
        "show_chart",
        {"part": "repeat"},
    ),
    Preset(
        "A prompt with code",
        "Two functions alike: a head that finds its place.",
        "Attention",
        "code",
        {"prompt": dict(EXAMPLES)["Code"], "layer": "18", "head": "6", "query": "24", "first": "hide"},
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
    for number, (column, preset) in enumerate(zip(st.columns(len(offered), gap="small"), offered)):
        with column.container(border=True, key=f"preset-{number}", height="stretch"):
            # The model is named although it is the default: the menu writes no such query, so it is read anew.
            query = {"model": DEFAULT_MODEL, **preset.query}
            icon, page = f":material/{preset.icon}:", page_of(preset.page)
            st.page_link(page.file, label=preset.title, icon=icon, query_params=query, width="stretch")
            st.caption(preset.words)


def status(place: Any, view: ViewState, model: Any = None) -> None:
    """The model the chain is about, or that it is being opened."""
    words = f"opening {view['model']} …"
    if model is not None:
        cfg = model.cfg
        # By address: tied embeddings are one tensor in memory.
        weights = sum({weight.data_ptr(): weight.numel() for weight in model.parameters()}.values())
        words = f"{model.name} · {cfg.n_layers} layers of {cfg.n_heads} heads · {weights / 1e6:,.0f} M parameters"
    place.html(f'<div class="lens-begin">The chain of evidence, live <span>{html.escape(words)}</span></div>')


def chain(place: Any, attends: str = "", scores: str = "", found: bool | None = None) -> None:
    """The five links, with what was found for the first two; ``found`` is None while it is computed."""
    state = {None: "", True: "found", False: "none"}[found]
    links = [("attends", attends or "computing …", state), ("scores", scores or "computing …", state)]
    links += [(name, "not computed yet", "later") for name, _, _ in LATER]
    items = "".join(
        f'<li class="{kind}" data-step="{number}"><b>{name}</b><span>{html.escape(words)}</span></li>'
        for number, (name, words, kind) in enumerate(links, 1)
    )
    place.html(f'<ol class="lens-chain" aria-label="The chain of evidence for one head">{items}</ol>')


def later() -> None:
    """The links that are not computed, with the reason."""
    boxes = "".join(
        f"<div><b>{number} · It {name}</b>{html.escape(what)}<br><span>{html.escape(why)}</span></div>"
        for number, (name, what, why) in enumerate(LATER, 3)
    )
    st.html(f'<div class="lens-later">{boxes}</div>')
