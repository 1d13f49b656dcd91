"""The OV copying page: which circuit, its scores, and the grid of all heads."""

from typing import NamedTuple

import streamlit as st
from plotly.graph_objects import Figure

from lens.analysis.largest_head import largest_head
from lens.analysis.ov_copying import (
    Circuit,
    OVCopying,
    OVCores,
    copying_of,
    ov_cores,
)
from lens.figures.fitted import small_grid
from lens.figures.grid import grid
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse
from lens.ui.pages.ov_copying import CIRCUITS, EMBEDDINGS, NULLS, RADIUS, WEIGHTS, words
from lens.ui.shared import heads
from lens.ui.shared.copying_words import Null
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import number, segmented

GRID_WIDTH = 540  # pixels of the grid's column on the smallest screen
CIRCUIT_HELP = (
    "**Full:** from a token's embedding through the head to the logits, W_E W_V W_O W_U. **Residual:** W_V W_O alone, "
    "from stream to stream."
)
EMBEDDING_HELP = (
    "**Tokens:** what the embedding alone says. **+ first MLP:** the embedding plus what the first MLP makes of it, "
    "which later layers see; layer 0 still reads the embedding."
)
WEIGHTS_HELP = (
    "**Folded:** the gains of the norms, and LayerNorm's centring, multiplied into what reads the stream. **Raw:** the "
    "weights of the file. The full circuit has the gains in it either way, so only the residual one changes."
)
NULL_HELP = (
    "What the eigenvalues at the right are shown against. A random rotation **in the head**, between its values and "
    "its output; or **in the stream**, between the head and the rest of the model (20 draws). **Gaussian:** weights of "
    "independent normal entries, a reference for teaching that misleads; the page says why."
)


class Copying(NamedTuple):
    """What the page is about: eigenvalues and scores (numpy), and the small matrices they come from."""

    scores: OVCopying
    cores: OVCores
    circuit: str

    @property
    def chosen(self) -> Circuit:
        """The circuit of the page."""
        return getattr(self.scores, self.circuit)


def controls(view: ViewState, model: HookedTransformer) -> None:
    """The row of widgets above the grid."""
    choose_embedding(view, model)
    offered = tuple(EMBEDDINGS)[: 1 if model.cfg.attn_only else 2]
    with st.container(horizontal=True, vertical_alignment="bottom", key="ov-controls"):
        segmented(view, "circuit", tuple(CIRCUITS), "Circuit", CIRCUIT_HELP, format_func=CIRCUITS.get)
        segmented(view, "embedding", offered, "Embedding", EMBEDDING_HELP, format_func=EMBEDDINGS.get)
        segmented(view, "weights", tuple(WEIGHTS), "Weights", WEIGHTS_HELP, format_func=WEIGHTS.get)
        segmented(view, "null", tuple(NULLS), "Null", NULL_HELP, format_func=NULLS.get)
        help = "The distance from the middle as it is, or its logarithm over three decades."
        segmented(view, "radius", tuple(RADIUS), "Radius", help, format_func=RADIUS.get)
        number(view, "seed", (0, 2**31 - 1), "Seed", "Of the random rotations and of random tokens.", width=100)


def choose_embedding(view: ViewState, model: HookedTransformer) -> None:
    """Tokens alone, with a note, where the model has no first MLP that could be added."""
    if model.cfg.attn_only and view["embedding"] == "first_mlp":
        view.note(f"{model.name} has attention layers only, so there is no first MLP to add: showing tokens")
        view.set(embedding=None)


def read_copying(view: ViewState, model: HookedTransformer) -> Copying:
    """The scores of all heads."""
    cores = analyse(ov_cores, model, view["embedding"], view["weights"] == "folded", progress=True)
    return Copying(analyse(copying_of, to_torch(cores)), cores, view["circuit"])


def show_grid(
    view: ViewState, copying: Copying, model: HookedTransformer, null: Null | None, key: str = "ov:grid"
) -> Figure:
    """The clickable grid; returns the figure."""
    title = f"{CIRCUITS[copying.circuit]} OV copying: every head of {model.name}"
    measure = words.measure(copying.chosen.score, null, copying.circuit)
    current = heads.current(view, largest_head(copying.chosen.score))
    figure = small_grid(grid(measure, pinned=view["pins"], current=current, title=title), GRID_WIDTH)
    text = words.grid_words(copying.chosen.score, null)
    parts.head_grid(figure, view, key=key, alt=f"OV copying score of every head of {model.name}. {text}")
    return figure
