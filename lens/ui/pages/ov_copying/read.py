"""The OV copying page: which circuit, the grid of all heads, and its null that fills in."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import streamlit as st
from plotly.graph_objects import Figure
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from lens.analysis.copying_verdicts import by_weights
from lens.analysis.head_vocabulary import TopShares
from lens.analysis.largest_head import largest_head
from lens.analysis.names import Head
from lens.analysis.ov_copying import DRAWS as ALL
from lens.analysis.ov_copying import (
    Circuit,
    OVCopying,
    OVCores,
    copying_of,
    null_band,
    null_scores_of,
    ov_cores,
    with_own,
)
from lens.analysis.sequential_null import COMMON, FIRST, STOPPING, Step, next_step, unclear
from lens.figures.fitted import small_grid
from lens.figures.grid import grid
from lens.hooked import HookedTransformer
from lens.ui import parts
from lens.ui.calls import analyse, call_key, sweep
from lens.ui.pages.ov_copying import CIRCUITS, EMBEDDINGS, NULLS, RADIUS, WEIGHTS, words
from lens.ui.shared import heads
from lens.ui.shared.copying_words import Null, OnData
from lens.ui.store import to_torch
from lens.ui.view import ViewState
from lens.ui.waiting import started
from lens.ui.widgets import number, segmented

BLOCK = 10  # rotations computed together
SOON = 3.0  # seconds up to which every head gets all rotations at once
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


class Filling(NamedTuple):
    """Where a null appears while it is computed: the grid of all heads, and the numbers of the one that is shown."""

    grid: DeltaGenerator
    numbers: DeltaGenerator


def read_null(view: ViewState, found: Copying, model: HookedTransformer, head: Head, places: Filling) -> Null | None:
    """The null of ``head`` from all rotations, and of all heads from as many as there are; both fill in meanwhile."""
    cores, shown = to_torch(getattr(found.cores, found.circuit)), to_torch(found.shown)
    own = _own_null(view, found, cores, head, places.numbers)
    largest = shown.eigenvalues[..., 0].abs()

    def null(draws: np.ndarray) -> Null:
        band = analyse(null_band, to_torch(draws))
        if own is not None:
            band = analyse(with_own, to_torch(band), head, to_torch(own))
        return Null(band, analyse(by_weights, shown.score, largest, to_torch(band)))

    def show(draws: np.ndarray) -> None:
        made = null(draws)  # outside of the container: what is computed draws a bar, and a grid would stand below it
        with places.grid.container():  # a key of its own each time: one key is drawn once in a run
            show_grid(view, found, model, made, key=f"ov:grid:{len(draws)}")

    rotations = Rotations(cores, view["seed"], show)
    if rotations.seconds(ALL) <= SOON:
        return _of(null, rotations.all_heads(ALL))
    draws = rotations.all_heads(FIRST)
    if len(draws) < FIRST:
        return _of(null, draws)
    return _of(null, _until_clear(view, rotations, draws, shown.score, largest))


def _own_null(view: ViewState, found: Copying, cores: Tensor, head: Head, place: DeltaGenerator) -> np.ndarray | None:
    """Scores of the head that is shown under all rotations [draw], the same that it has among all heads."""
    if not np.isfinite(found.shown.score[head]):
        return None
    own = analyse(null_scores_of, (0, ALL), cores, view["seed"], (head,))[:, *head]
    place.caption(words.own_words(found.shown, own, head))
    return own


def _of(null: Callable[[np.ndarray], Null], draws: np.ndarray) -> Null | None:
    return null(draws) if len(draws) else None


def _until_clear(
    view: ViewState, rotations: "Rotations", draws: np.ndarray, score: Tensor, largest: Tensor
) -> np.ndarray:
    """More rotations, of the heads whose verdict is not clear; then, if they are asked for, all of all heads."""
    step = next_step(score, largest, to_torch(draws))
    n_unclear = int(unclear(score, largest, to_torch(draws)).sum())
    most = rotations.seconds(COMMON - FIRST) + rotations.seconds(ALL - COMMON, n_unclear)
    key = f"ov-{call_key(next_step, (score, largest, to_torch(draws)), {})}"
    if not started(f"{key}-clear", most, f"{FIRST} rotations of every head so far. {STOPPING}"):
        return draws
    while step is not None:
        more = rotations.some(step, draws)
        draws = np.concatenate([draws, more])
        if len(draws) < step.draws[1]:
            return draws
        step = next_step(score, largest, to_torch(draws))
    told = f"Every verdict is clear or rests on {ALL} rotations; the other bands are from {COMMON} rotations or more."
    if not started(f"{key}-all", rotations.seconds(ALL - COMMON), told):
        return draws
    every = rotations.all_heads(ALL)
    return every if len(every) == ALL else draws


class Rotations(NamedTuple):
    """Rotations of the cores of all heads, computed ``BLOCK`` at a time; ``show(draws)`` is called while they come."""

    cores: Tensor
    seed: int
    show: Callable[[np.ndarray], None]

    def seconds(self, n: int, n_heads: int | None = None) -> float:
        """Rough time of ``n`` rotations of ``n_heads`` heads, by default all."""
        n_heads = self.cores.shape[0] * self.cores.shape[1] if n_heads is None else n_heads
        return n * n_heads * EIG_SECONDS * (self.cores.shape[-1] / 64) ** 3

    def all_heads(self, n: int) -> np.ndarray:
        """The first ``n`` rotations of every head, or those before a cancel."""
        return self._draws((0, n), np.empty((0, *self.cores.shape[:2]), np.float32), ())

    def some(self, step: Step, before: np.ndarray) -> np.ndarray:
        """The rotations of ``step``, or those before a cancel; they follow ``before``."""
        return self._draws(step.draws, before, () if step.heads is None else (step.heads,))

    def _draws(self, draws: tuple[int, int], before: np.ndarray, heads: tuple[tuple[Head, ...], ...]) -> np.ndarray:
        blocks = [(start, min(start + BLOCK, draws[1])) for start in range(*draws, BLOCK)]
        done = sweep(
            null_scores_of, blocks, self.cores, self.seed, *heads,
            show=lambda done: self.show(np.concatenate([before, *done.values()])),
        ).done  # fmt: skip
        return np.concatenate([before[:0], *done.values()])


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
    current = heads.current(view, largest_head(found.shown.score))
    return small_grid(grid(measure, pinned=view["pins"], current=current, title=title), GRID_WIDTH)
