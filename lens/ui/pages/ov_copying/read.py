"""The OV copying page: which circuit, the grid of all heads, and its null that fills in."""

from typing import NamedTuple

import numpy as np
import streamlit as st
from plotly.graph_objects import Figure
from streamlit.delta_generator import DeltaGenerator

from lens.analysis.copying_verdicts import by_weights
from lens.analysis.head_vocabulary import TopShares
from lens.analysis.names import Head
from lens.analysis.ov_copying import Circuit, OVCopying, OVCores, copying_of, null_band, null_scores_of, ov_cores
from lens.figures.fitted import small_grid
from lens.figures.grid import grid
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, sweep
from lens.ui.pages.ov_copying import CIRCUITS, EMBEDDINGS, NULLS, RADIUS, WEIGHTS, words
from lens.ui.shared import heads
from lens.ui.shared.copying_words import Null, OnData
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.widgets import number, segmented

BLOCK, FIRST, ALL = 10, 40, 200  # rotations computed together, before anything else is asked for, and in all
EIG_SECONDS = 8e-4  # of one [64, 64] matrix with its rotation, measured on one slow core
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
    def shown(self) -> Circuit:
        """The circuit that is chosen."""
        return getattr(self.scores, self.circuit)


class Shown(NamedTuple):
    """All that the page says, for its export."""

    found: Copying
    null: Null | None  # None where it is not computed
    head: Head
    more: dict[str, OnData | TopShares]  # "text" and "top", where the table of all heads has them


def controls(view: ViewState, model: HookedTransformer) -> None:
    """The row of widgets above the grid."""
    if model.cfg.attn_only and view["embedding"] == "first_mlp":
        view.note(f"{model.name} has attention layers only, so there is no first MLP to add: showing tokens")
        view.set(embedding=None)
    offered = tuple(EMBEDDINGS)[: 1 if model.cfg.attn_only else 2]
    with st.container(horizontal=True, vertical_alignment="bottom", key="ov-controls"):
        segmented(view, "circuit", tuple(CIRCUITS), "Circuit", CIRCUIT_HELP, format_func=CIRCUITS.get)
        segmented(view, "embedding", offered, "Embedding", EMBEDDING_HELP, format_func=EMBEDDINGS.get)
        segmented(view, "weights", tuple(WEIGHTS), "Weights", WEIGHTS_HELP, format_func=WEIGHTS.get)
        segmented(view, "null", tuple(NULLS), "Null", NULL_HELP, format_func=NULLS.get)
        help = "The distance from the middle as it is, or its logarithm over three decades."
        segmented(view, "radius", tuple(RADIUS), "Radius", help, format_func=RADIUS.get)
        number(view, "seed", (0, 2**31 - 1), "Seed", "Of the random rotations and of random tokens.", width=100)


def read_copying(view: ViewState, model: HookedTransformer, place: DeltaGenerator) -> Copying:
    """The scores of all heads; the grid stands in ``place``, and can be clicked, before its null is computed."""
    cores = analyse(ov_cores, model, view["embedding"], view["weights"] == "folded", progress=True)
    found = Copying(analyse(copying_of, to_torch(cores)), cores, view["circuit"])
    with place.container():
        show_grid(view, found, model, None, key="ov:grid:0")
    return found


def read_null(view: ViewState, found: Copying, place: DeltaGenerator, model: HookedTransformer) -> Null | None:
    """The null of all heads, from as many rotations as there are; the grid in ``place`` is redrawn meanwhile."""
    cores = to_torch(getattr(found.cores, found.circuit))

    def band(done: dict) -> Null:
        drawn = analyse(null_band, to_torch(np.concatenate(list(done.values()))))
        largest = np.abs(found.shown.eigenvalues[..., 0])
        return Null(drawn, analyse(by_weights, *to_torch((found.shown.score, largest, drawn))))

    def show(done: dict) -> None:
        some = band(done)
        with place.container():  # a key of its own each time: one key is drawn once in a run
            show_grid(view, found, model, some, key=f"ov:grid:{some.band.n}")

    blocks = [(start, start + BLOCK) for start in range(0, ALL, BLOCK)]
    seconds = ALL * np.prod(cores.shape[:2]) * EIG_SECONDS * (cores.shape[-1] / 64) ** 3
    with st.container():
        st.caption(f"Null: {ALL} random rotations of each head between its values and its output, {BLOCK} a part.")
        first = sweep(null_scores_of, blocks[: FIRST // BLOCK], cores, view["seed"], show=show)
        if first.missing:
            return band(first.done) if first.done else None
        done = sweep(null_scores_of, blocks, cores, view["seed"], show=show, estimate=seconds).done
    return band(done)


def show_grid(
    view: ViewState, found: Copying, model: HookedTransformer, null: Null | None, key: str = "ov:grid"
) -> Figure:
    """The clickable grid; returns the figure."""
    figure = _grid(view, found, model, null)
    text = words.grid_words(found.shown.score, null)
    parts.head_grid(figure, view, key=key, alt=f"OV copying score of every head of {model.name}. {text}")
    return figure


def _grid(view: ViewState, found: Copying, model: HookedTransformer, null: Null | None) -> Figure:
    title = f"{CIRCUITS[found.circuit]} OV copying: every head of {model.name}"
    measure = words.measure(found.shown.score, null, found.circuit)
    current = heads.current(view, heads.strongest(found.shown.score))
    return small_grid(grid(measure, pinned=view["pins"], current=current, title=title), GRID_WIDTH)
