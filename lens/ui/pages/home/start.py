"""What stands on Home before any number: what Lens is, where to begin, and the boxes of the chain."""

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from lens.ui import workshop
from lens.ui.controls import EXAMPLES
from lens.ui.fields import DEFAULT_MODEL
from lens.ui.menu import page_of, present
from lens.ui.shared.chain.link import STYLE, Link, heading
from lens.ui.shared.reads import ON_REPEAT
from lens.ui.shared.tour.panel import start_link
from lens.ui.shared.tour.steps import CHAPTERS
from lens.ui.view import ViewState

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from lens.hooked import HookedTransformer

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
A_ROW = 4  # cards
BESIDE = 2  # links of the chain that stand side by side with a figure each; the others have boxes below
REAL = {"model": "smollm2-135m-instruct"}
IOI = dict(EXAMPLES)["Who gets the milk (IOI)"]
STAR = {"layer": "1", "head": "1"}  # of the default model: the induction head that its training made


class Preset(NamedTuple):
    """A way in. ``page`` is a title of the menu; what ``query`` leaves out is the default: its model, its prompt."""

    title: str
    words: str
    page: str
    icon: str  # one of Streamlit's bundled Material icons
    query: Mapping[str, str] = {}


STARTERS = (
    Preset("1 · See it", "Head 1.1 reads random words twice, and looks where they went on the first time.",
           "Attention", "grid_on", STAR | ON_REPEAT),
    Preset("2 · Test it", "Is that more than chance? Every head against its control, with intervals.",
           "Head scores", "leaderboard", STAR),
    Preset("3 · Date it: a head is born", "Scores and losses at every checkpoint of a training.",
           "Training dynamics", "timeline", STAR),
)  # fmt: skip
MORE = (
    Preset("One head, link by link", "The whole chain for the strongest induction head.",
           "One head", "center_focus_strong"),
    Preset("A decoy: it looks, and copies nothing", "The instruments on models with known answers.",
           "Method", "verified", {"instrument": "copying", "plant": "planted-decoy"}),
    Preset("Repeated random tokens", "The loss by position, first copy and second.",
           "Tokens", "show_chart", {"part": "repeat"}),
    Preset("Induction heads of a real language model", "Every head on random tokens that repeat, against chance.",
           "Head scores", "leaderboard", REAL),
    Preset("Indirect object: John and Mary", "Who gets the milk? One head that looks for the name.",
           "Attention", "grid_on", {**REAL, "prompt": IOI, "layer": "23", "query": "16", "first": "hide"}),
    Preset("Where is the model surprised?", "The loss of every token, in a text with one odd word.",
           "Tokens", "segment", {**REAL, "prompt": SURPRISE}),
    Preset("A prompt with code", "Two functions alike: a head that finds its place.", "Attention", "code",
           {**REAL, "prompt": dict(EXAMPLES)["Code"], "layer": "18", "head": "6", "query": "24", "first": "hide"}),
)  # fmt: skip


def introduce() -> None:
    """What Lens asks, and the three ways in, one after the other."""
    st.html(STYLE)
    ways = " · ".join(
        f'<a class="lens-go" href="{html.escape(start_link(chapter))}">{html.escape(chapter.title)}</a>'
        for chapter in CHAPTERS.values()
    )
    tour = f'<p class="lens-tours">A tour, five steps each: {ways}</p>'
    st.html(f'<div class="lens-hero"><h2>{html.escape(QUESTION)}</h2>{tour}</div>')
    _cards("starter", STARTERS, len(STARTERS))


def more() -> None:
    """Who finds what here, and cards that set model, prompt, page and options at once."""
    st.html('<div class="lens-begin">More</div>')
    lines = "".join(f"<dt>{html.escape(who)}</dt><dd>{html.escape(what)}</dd>" for who, what in READERS)
    st.html(f'<div class="lens-readers"><dl>{lines}</dl></div>')
    _cards("preset", MORE, A_ROW)


def _cards(name: str, presets: Sequence[Preset], a_row: int) -> None:
    """Those whose page exists; in a workshop, of its models."""
    there, models = {page.title for page in present()}, workshop.models()
    offered = [
        preset
        for preset in presets
        if preset.page in there and (not models or preset.query.get("model", DEFAULT_MODEL) in models)
    ]
    for first in range(0, len(offered), a_row):
        for number, column in enumerate(st.columns(a_row, gap="small")[: len(offered) - first], first):
            with column.container(border=True, key=f"{name}-{number}", height="stretch"):
                _card(offered[number])


def _card(preset: Preset) -> None:
    # The model is named even if it is the default: the menu writes no such query, so it is read anew.
    query = {"model": DEFAULT_MODEL, **preset.query}
    icon, page = f":material/{preset.icon}:", page_of(preset.page)
    label = f"{preset.title}\n\n{preset.words}"  # all of the card is the link, for a screen reader too
    st.page_link(page.file, label=label, icon=icon, query_params=query, width="stretch")


def status(place: "DeltaGenerator", view: ViewState, model: "HookedTransformer | None" = None) -> None:
    """The model the chain is about, or that it is being opened."""
    words = f"opening {view['model']} …"
    if model is not None:
        cfg = model.cfg
        # By address: tied embeddings are one tensor in memory.
        millions = sum({weight.data_ptr(): weight.numel() for weight in model.parameters()}.values()) / 1e6
        size = f"{millions:,.0f}" if millions >= 10 else f"{millions:.2f}"
        words = f"{model.name} · {cfg.n_layers} layers of {cfg.n_heads} heads · {size} M parameters"
    place.html(f'<div class="lens-begin">The chain of evidence, live <span>{html.escape(words)}</span></div>')


def boxes(links: Sequence[Link]) -> list["DeltaGenerator"]:
    """A box with its question for each of these links, side by side; returns the places of the answers."""
    places = []
    for column, link in zip(st.columns(len(links), gap="small"), links):
        with column.container(border=True, height="stretch"):
            st.html(heading(link))
            places.append(st.empty())
            places[-1].caption("computing …")
    return places
